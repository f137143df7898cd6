"""Pages: which one is asked for (`PageKey`), and the one that came (`Page`)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from operator import index
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Generic, Literal, NamedTuple, TypeAlias, TypeVar

from google.protobuf.message import DecodeError

from opend_si.dates import milliseconds, moment, moment_text
from opend_si.errors import InvalidArgument, ProtocolError
from opend_si.pages.named import call_of, call_of_protocol
from opend_si.pages.replies import read_reply, read_text
from opend_si.symbols import Symbol
from opend_si.tables import Columns, describe, frame_maker, make_frame, make_records, read_columns
from opend_si_schema.definitions import Call, Table
from opend_si_schema.records import Record

if TYPE_CHECKING:
    import pandas as pd
    import typing_extensions

    # `Page` alone means all records; Python knows defaults of type variables from 3.13 on.
    RecordT = typing_extensions.TypeVar("RecordT", bound=Record, default=Record, covariant=True)
else:
    RecordT = TypeVar("RecordT")

# The cursor that means "no more"; OpenD sends it with the last page.
END = "-1"
# Longest cursor accepted, in characters.
MAX_CURSOR_LENGTH = 256
# OpenD's cursors are timestamps or offsets. Should a server give others, those that came are taken back: the last so
# many.
_NUMBER = re.compile(r"[0-9]{1,19}")
_MAX_GIVEN = 4096
_given: dict[str, None] = {}

Source = Literal["opend", "cache"]
# A key as the record has it: protocol, symbol, cursor and page size.
Identity: TypeAlias = tuple[int, str, str, int]
# Who sent the rows: an OpenD, a simulator, or a gateway, which does not say what stands behind it.
OPEND, SIMULATOR, GATEWAY = "opend", "simulator", "gateway"


def answers_for(held: str | None, origin: str | None) -> bool:
    """Whether what is held of an origin answers for who is asked (None: not known).

    What stands behind a gateway is not known; what is made up does not answer for it.
    """
    return origin in (None, held) or (origin, held) == (GATEWAY, OPEND)


@dataclass(frozen=True, slots=True)
class PageKey:
    """Which page: a call, a symbol, a cursor (`""` for the first page) and a page size."""

    call: Call
    symbol: Symbol
    next_key: str
    num: int

    @classmethod
    def check(cls, call: Call, code: object, next_key: object = None, num: object = None) -> PageKey:
        """A key from what a user passed. `InvalidArgument` says what is right."""
        symbol = Symbol.parse(code)
        markets = [table.market for table in call.tables]
        if symbol.market not in markets:
            there = " and ".join(market.prefix for market in markets)
            raise InvalidArgument(f"{symbol}: {call.title} is there for securities of {there}")
        return cls(call, symbol, _check_cursor(next_key), _check_num(call, num))

    @classmethod
    def longest(cls, call: Call, code: object) -> PageKey:
        """The key of a symbol's longest first page: whole histories are walked with it."""
        return cls.check(call, code, None, call.page_size.maximum)

    @classmethod
    def of_identity(cls, identity: Identity) -> PageKey:
        """The key that a page was recorded under, the inverse of `identity`."""
        protocol, symbol, next_key, num = identity
        return cls(call_of_protocol(protocol, symbol), Symbol.parse(symbol), next_key, num)

    def at(self, next_key: str, num: int | None = None) -> PageKey:
        """The page of another cursor, and of another size where one is given."""
        return PageKey(self.call, self.symbol, next_key, self.num if num is None else num)

    @property
    def identity(self) -> Identity:
        """The key as the record has it."""
        return self.call.proto_id, str(self.symbol), self.next_key, self.num

    @property
    def owner(self) -> tuple[int, str]:
        """Whose page it is, as the record has it: a call's protocol, and a symbol."""
        return self.call.proto_id, str(self.symbol)

    def __str__(self) -> str:
        return f"{self.call.title} of {self.symbol}"

    @property
    def told(self) -> str:
        """The whole key, for a log."""
        return f"{self}, next_key {self.next_key!r}, num {self.num}"

    @property
    def table(self) -> Table:
        """The table of the symbol's market."""
        return next(table for table in self.call.tables if table.market is self.symbol.market)

    def request(self) -> bytes:
        """The body of the request for this page."""
        message = self.call.request()
        c2s = message.c2s
        c2s.security.market = self.symbol.market.number
        c2s.security.code = self.symbol.code
        if self.next_key:
            c2s.nextKey = self.next_key
        c2s.num = self.num
        return bytes(message.SerializeToString())

    @classmethod
    def of_request(cls, call: Call, body: bytes) -> PageKey:
        """The page that a request's body asks for, the inverse of `request`. What it asks for is not checked.

        Raises:
            ProtocolError: the bytes are no request of this call.
            InvalidArgument: the security is of a market that no call covers.

        """
        try:
            c2s = call.request.FromString(body).c2s
        except (DecodeError, UnicodeDecodeError) as error:  # the second from pure Python protobuf
            raise ProtocolError(f"the request for {call.title} cannot be read: {error}") from None
        market, code = c2s.security.market, read_text(c2s.security, "code")
        symbol = Symbol.of(market, code)
        if symbol is None:
            raise InvalidArgument(f"{call.title}: the security {code!r} is of market {market}, which is not covered")
        num = c2s.num if c2s.HasField("num") else call.page_size.default
        return cls(call, symbol, read_text(c2s, "nextKey"), num)


def _check_cursor(next_key: object) -> str:
    if next_key is None:
        return ""
    if not isinstance(next_key, str):
        raise InvalidArgument(
            f"next_key is {next_key!r}: it takes the text that the previous page gave as its next_key, or None for the first page"
        )
    if next_key == END:
        raise InvalidArgument(
            'next_key "-1" means that the previous page was the last: there is nothing more to ask for'
        )
    if not (next_key == "" or _NUMBER.fullmatch(next_key) or next_key in _given):
        raise InvalidArgument(
            f"next_key {next_key[:40]!r} is none that OpenD gives: its cursors are whole numbers; pass the previous page's "
            "as it came"
        )
    return str.__str__(next_key)  # plain: what is recorded says how its text is written


def _note_given(next_key: str) -> None:
    """A cursor that a server gave is one that may be asked with."""
    if _NUMBER.fullmatch(next_key) or len(next_key) > MAX_CURSOR_LENGTH or not next_key.isprintable():
        return
    _given[next_key] = None
    while len(_given) > _MAX_GIVEN:
        _given.pop(next(iter(_given), ""), None)


def _check_num(call: Call, num: object) -> int:
    size = call.page_size
    if num is None:
        return size.default
    try:
        if isinstance(num, bool):
            raise TypeError
        rows = index(num)  # type: ignore[arg-type]
    except TypeError:
        raise InvalidArgument(
            f"num is {num!r}: it takes an integer from {size.minimum} to {size.maximum}, the rows of a page"
        ) from None
    if not size.minimum <= rows <= size.maximum:
        raise InvalidArgument(
            f"num is {rows}: a page has {size.minimum} to {size.maximum} rows; for more, follow next_key from page to page"
        )
    return rows


class Row(NamedTuple):
    """One row: its timestamp, and all its values in the order of the table's columns."""

    at: int
    values: tuple[Any, ...]


class Content:
    """What a reply holds, decoded once. It may be kept and shared: what it gives out is never an alias of it."""

    __slots__ = ("_attrs", "_frames", "_tables", "next")

    def __init__(
        self, next_key: str | None, tables: tuple[tuple[Table, Columns], ...], attrs: Mapping[Table, tuple[Any, ...]]
    ) -> None:
        self.next = next_key
        self._tables = tables
        self._attrs = attrs
        self._frames: dict[str, Callable[[], pd.DataFrame] | None] = {}

    @classmethod
    def read(cls, key: PageKey, body: bytes) -> Content:
        """Decode a reply's body.

        Raises:
            OpenDError: the reply is a refusal.
            ProtocolError: the bytes are no reply to this call.

        """
        s2c = _read_s2c(key.call, body, str(key))
        next_key = read_text(s2c, "nextKey")
        _note_given(next_key)
        tables = tuple((table, read_columns(table, getattr(s2c, table.list_field))) for table in key.call.tables)
        attrs = {table: tuple(_read_value(s2c, column.field) for column in table.attrs) for table in key.call.tables}
        return cls(next_key if next_key not in ("", END) else None, tables, attrs)

    def attrs(self, table: Table) -> tuple[Any, ...]:
        """The values beside the rows, in the order of the table's `attrs`."""
        return self._attrs[table]

    @property
    def records(self) -> tuple[Record, ...]:
        return tuple(record for table, columns in self._tables for record in make_records(table, columns))

    def columns(self, table: Table) -> Columns:
        """The columns of one table."""
        return next(columns for own, columns in self._tables if own is table)

    def rows(self, table: Table) -> tuple[Row, ...]:
        """The rows of one table; `ProtocolError` for a row without a timestamp."""
        columns = self.columns(table)
        times = columns[[column.name for column in table.columns].index("timestamp")]
        if None in times:
            raise ProtocolError("a row has no timestamp: it cannot be placed in a history")
        return tuple(map(Row, times, zip(*columns, strict=True)))

    def frame(self, market: str, said: Mapping[str, Any] = MappingProxyType({})) -> pd.DataFrame:
        """The rows of one market, a new frame each time, with what its `attrs` are to say besides.

        The first is made of the rows; with the second it is kept what gives more of them in half of the time.
        """
        make = self._frames.get(market)
        if make is None:
            table, columns = next((entry for entry in self._tables if entry[0].market.prefix == market), (None, ()))
            make = partial(make_frame, table, columns)
            if table is not None and market in self._frames:
                make = self._frames[market] = frame_maker(table, columns)
            elif columns and columns[0]:  # an empty frame is one of its table
                self._frames[market] = None  # a page that came from OpenD is mostly asked once
        frame = make()
        attrs = frame.attrs
        attrs["next_key"] = self.next or END
        for table, values in self._attrs.items():
            if table.attrs and table.market.prefix == market:
                attrs.update(zip((column.name for column in table.attrs), values, strict=True))
        attrs.update(said)
        return frame

    def __len__(self) -> int:
        return sum(len(columns[0]) for _, columns in self._tables)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Page(Generic[RecordT]):
    """One page of rows, newest first.

    Attributes:
        symbol: The symbol, such as `HK.00700`.
        next_key: The cursor that was asked with; `""` for the first page.
        num: The page size that was asked with.
        next: The cursor of the page after this one; None at the end.
        source: `opend` if it was fetched for this call, `cache` if it had been recorded.
        origin: Who sent the rows: `opend`, `simulator` (they are made up), or `gateway`, which does not say what stands
            behind it.
        fetched_at: When OpenD sent it, UTC.
        checked_at: When OpenD last sent the same, UTC.
        body: The reply's bytes as received; of a page that was cut from larger recorded ones, as OpenD would send it.

    """

    symbol: str
    next_key: str
    num: int
    next: str | None
    source: Source
    origin: str
    fetched_at: datetime
    checked_at: datetime
    body: bytes
    _call: Call
    content: Content

    @classmethod
    def of(
        cls, key: PageKey, content: Content, body: bytes, source: Source, origin: str, fetched_at: int, checked_at: int
    ) -> Page:
        """The page of decoded content; times are milliseconds since 1970."""
        return cls(
            symbol=str(key.symbol),
            next_key=key.next_key,
            num=key.num,
            next=content.next,
            source=source,
            origin=origin,
            fetched_at=moment(fetched_at),
            checked_at=moment(checked_at),
            body=body,
            _call=key.call,
            content=content,
        )

    @property
    def raw(self) -> bytes:
        """The reply as received, byte for byte: the same as `body`."""
        return self.body

    @property
    def kind(self) -> str:
        """What its rows are: the name of the call, such as `short_interest`."""
        return self._call.name

    @property
    def us(self) -> pd.DataFrame:
        """The US rows; empty for a HK symbol. A new frame each time, the caller's to change.

        Its `attrs` have `next_key` and what OpenD sent beside the rows, as the published client's; and they say what
        the rows are: `symbol`, `market`, `kind`, `units`, `source`, `origin`, and `checked_at`, a text such as
        `2026-05-05T08:00:00.000Z`.
        """
        return self._frame("US")

    @property
    def hk(self) -> pd.DataFrame:
        """The HK rows; empty for a US symbol. Else as `us`."""
        return self._frame("HK")

    def _frame(self, market: str) -> pd.DataFrame:
        table = next((table for table in self._call.tables if table.market.prefix == market), None)
        said = {} if table is None else describe(self._call, table)
        said.update(symbol=self.symbol, source=self.source, origin=self.origin, checked_at=moment_text(self.checked_at))
        return self.content.frame(market, said)

    @property
    def records(self) -> tuple[RecordT, ...]:
        """The rows as frozen dataclasses; type checkers know those of the kind that was asked for."""
        return self.content.records  # type: ignore[return-value]

    def to_json(self, indent: int | None = 2) -> str:
        """The reply's data as JSON, as the broker's Java and JavaScript samples print it: 64-bit integers are texts."""
        from google.protobuf.json_format import MessageToJson

        s2c = _read_s2c(self._call, self.body, self.symbol)
        return MessageToJson(s2c, indent=indent, ensure_ascii=False)

    def __len__(self) -> int:
        return len(self.content)

    def __repr__(self) -> str:
        return (
            f"Page({self.symbol}, next_key={self.next_key!r}, num={self.num}: {len(self)} rows, next={self.next!r}, "
            f"from {self.source}{', made up' if self.origin == SIMULATOR else ''})"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        # Message classes of a private pool cannot be pickled; the bytes can.
        times = milliseconds(self.fetched_at), milliseconds(self.checked_at)
        said = self.body, self.source, self.origin
        return _unpickled, (self._call.name, self.symbol, self.next_key, self.num, *said, *times)


def _unpickled(
    call_name: str, code: str, next_key: str, num: int, body: bytes, source: Source, origin: str, *times: int
) -> Page:
    key = PageKey(call_of(call_name), Symbol.parse(code), next_key, num)
    fetched_at, checked_at = times
    return Page.of(key, Content.read(key, body), body, source, origin, fetched_at, checked_at)


def _read_value(message: Any, field: str) -> Any:
    """A field's value, None if it was not sent."""
    if not message.HasField(field):
        return None
    value = getattr(message, field)
    return read_text(message, field) if isinstance(value, (str, bytes)) else value


def _read_s2c(call: Call, body: bytes, asked: str) -> Any:
    return read_reply(call.response, body, f"{call.name} ({call.proto_id}), asked for {asked},", asked)
