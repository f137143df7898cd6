"""What is recorded of a symbol, read for the planner and made into pages."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

from opend_si.cache.guard import GuardedStore
from opend_si.cache.store import Version, Versions
from opend_si.dates import milliseconds, now
from opend_si.errors import CacheCorrupt, ProtocolError
from opend_si.history.ledger import Ledger
from opend_si.history.statements import Cut, Statement, check_page
from opend_si.pages import END, MAX_CURSOR_LENGTH, Content, Page, PageKey, Source
from opend_si_schema import common
from opend_si_schema.definitions import Column

# Decoded pages kept in memory, about 20 KB each when they have 50 rows; and symbols whose whole record is.
MAX_PAGES, MAX_SYMBOLS = 512, 16
# Cut pages kept for a symbol: about what a loop over a whole history with the default page asks for.
MAX_CUTS = 128
# A page that was checked later than now, by more than this, was dated by a clock that was set back since: milliseconds.
CLOCK_TOLERANCE = 1000


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply of OpenD, whether or not it could be kept."""

    key: PageKey
    content: Content
    version: Version
    source: Source

    def page(self) -> Page:
        """It as a page."""
        at = self.version.fetched_at, self.version.checked_at
        return Page.of(self.key, self.content, self.version.body, self.source, *at)

    def statement(self, after: int) -> Statement:
        """What it says, behind the row of this timestamp; `ProtocolError` if it is no use to a walk."""
        next_key = self.content.next
        if next_key is not None and (len(next_key) > MAX_CURSOR_LENGTH or not next_key.isprintable()):
            raise ProtocolError(f"{self.key}: the cursor {next_key[:40]!r} is none that OpenD gives")
        return _statement(self.key, self.version, self.content, after, self.version.checked_at)


class Record:
    """The record, with what was read lately kept in memory."""

    def __init__(self, store: GuardedStore) -> None:
        self.store = store
        self._contents: Memory[bytes, Content] = Memory(MAX_PAGES)
        self._symbols: Memory[tuple[str, str], SymbolRecord] = Memory(MAX_SYMBOLS)

    def recall(self, key: PageKey) -> Reply | None:
        """The newest reply to one question, read from the file as it is now."""
        recorded = self.store.recall(key)
        return None if recorded is None else Reply(key, self._content(key, recorded), recorded, "cache")

    def record(self, key: PageKey, body: bytes, content: Content, asked_at: int, after: int) -> Reply:
        """Keep a reply that has just come, if it can be kept."""
        recorded = self._symbols.get(_name(key))
        # What came after the question is dated after it, also within one tick of the clock.
        reply = Version.reply(key, body, asked_at, max(now(), asked_at + 1), after)
        kept = self.store.record(reply, thorough=recorded is not None and not recorded.is_whole)
        if kept.checksum:
            self._contents.keep(kept.checksum, content)
        return Reply(key, content, kept, "opend")

    def symbol(self, key: PageKey) -> SymbolRecord:
        """What is recorded of a symbol, read again only when the file has changed."""
        stamp = self.store.stamp()
        recorded = self._symbols.get(_name(key))
        if recorded is None or stamp is None or recorded.stamp != stamp:
            recorded = self._read(key, stamp)
            self._symbols.keep(_name(key), recorded)
        return recorded

    def _read(self, key: PageKey, stamp: Hashable) -> SymbolRecord:
        record = self.store.symbol(key.call.proto_id, str(key.symbol))
        current = {
            (row.next_key, row.num): (row, self._content(replace(key, next_key=row.next_key, num=row.num), row))
            for row in record.rows
            if row.is_current
        }
        return SymbolRecord(stamp, make_ledger(key, record, self._content), current, record.is_whole)

    def _content(self, key: PageKey, recorded: Version) -> Content:
        content = self._contents.get(recorded.checksum)
        if content is None:
            content = Content.read(key, recorded.body)
            self._contents.keep(recorded.checksum, content)
        return content


class SymbolRecord:
    """What is recorded of a symbol, as it was read."""

    def __init__(
        self,
        stamp: Hashable,
        ledger: Ledger,
        current: Mapping[tuple[str, int], tuple[Version, Content]],
        is_whole: bool,
    ) -> None:
        self.stamp, self.ledger, self.is_whole = stamp, ledger, is_whole
        self._current = current
        self._cuts: Memory[tuple[str, int], tuple[Cut, Page]] = Memory(MAX_CUTS)

    @property
    def has_pages(self) -> bool:
        """Whether any page of the symbol is recorded."""
        return bool(self._current)

    @property
    def trusted(self) -> Ledger:
        """What pages that are fetched now may be joined to: nothing, where something was lost."""
        return self.ledger if self.is_whole else Ledger()

    def page(self, key: PageKey, since: float, after: int = 0) -> Page | None:
        """The page that OpenD would send, if what was checked at or after `since` tells it.

        `after`: in a walk, the timestamp of the row before the page.
        """
        find = self.ledger.page if self.is_whole else self.ledger.beginning
        said = find(key.next_key, key.num, since, after)
        if said is not None:
            return self.newest(key) if isinstance(said, Statement) else self.made(key, said, "cache")
        unfit = self._current.get((key.next_key, key.num))
        is_statement = self.ledger.recorded(key.next_key, key.num) is not None
        return None if unfit is None or is_statement or unfit[0].checked_at < since else self.newest(key)

    def newest(self, key: PageKey) -> Page | None:
        """The newest reply to this very question, whatever has been seen since."""
        found = self._current.get((key.next_key, key.num))
        return None if found is None else Reply(key, found[1], found[0], "cache").page()

    def made(self, key: PageKey, cut: Cut, source: Source) -> Page:
        """The page of a cut, made once."""
        made = self._cuts.get((key.next_key, key.num))
        if made is None or (made[0].rows, made[0].next, made[0].attrs) != (cut.rows, cut.next, cut.attrs):
            made = cut, page_of(key, cut, source)
            self._cuts.keep((key.next_key, key.num), made)
        page = made[1]
        return Page.of(key, page.content, page.body, source, cut.fetched_at, cut.checked_at)

    def damage(self, key: PageKey, path: Path) -> CacheCorrupt | None:
        """The error if what is missing may have been lost to damage."""
        if self.is_whole:
            return None
        return CacheCorrupt(
            f"{key}: the record in {path} is damaged, and what is left of it does not answer this. Ask for it in mode "
            "online, and it is recorded again."
        )


def make_ledger(key: PageKey, record: Versions, read: Callable[[PageKey, Version], Content]) -> Ledger:
    """What is recorded of a symbol, as the planner takes it."""
    at, statements = now(), []
    for row in record.rows:
        # After a clock was set back, the page's age is not known.
        checked_at = row.checked_at if row.checked_at <= at + CLOCK_TOLERANCE else 0
        try:
            content = read(replace(key, next_key=row.next_key, num=row.num), row)
            statements.append(_statement(key, row, content, row.after, checked_at))
        except ProtocolError:
            continue  # served as it is when it is asked for, but no part of a history
    # What was lost may have taken back what is left: then pages are only good by themselves.
    return Ledger(statements, min(record.floor, at) if record.is_whole else at + CLOCK_TOLERANCE + 1)


def page_of(key: PageKey, cut: Cut, source: Source) -> Page:
    """The page that OpenD would have sent for a cut."""
    return Page.of(key, _content_of(key, cut), encode_page(key, cut), source, cut.fetched_at, cut.checked_at)


def without_rows_from(page: Page, key: PageKey, after: float) -> Page:
    """A page without the rows that a walk has already passed."""
    rows = page.content.rows(key.table)
    left = tuple(row for row in rows if row.at < after)
    if len(left) == len(rows):
        return page
    at = milliseconds(page.fetched_at), milliseconds(page.checked_at)
    return page_of(key, Cut(left, page.next, *at, page.content.attrs(key.table)), page.source)


def _name(key: PageKey) -> tuple[str, str]:
    return key.call.name, str(key.symbol)


def _statement(key: PageKey, recorded: Version, content: Content, after: int, checked_at: int) -> Statement:
    rows = content.rows(key.table)
    check_page(rows, content.next, str(key))
    return Statement(
        next_key=recorded.next_key,
        num=recorded.num,
        after=after,
        rows=rows,
        next=content.next,
        asked_at=min(recorded.asked_at, checked_at),  # what is dated by a clock that was set back dates nothing else
        fetched_at=recorded.fetched_at,
        checked_at=checked_at,
        superseded_at=recorded.superseded_at,
        attrs=content.attrs(key.table),
    )


def _content_of(key: PageKey, cut: Cut) -> Content:
    """The content of a page with these rows of the symbol's market."""
    rows = cut.rows
    columns = tuple(map(list, zip(*(row.values for row in rows), strict=True)))
    tables = (
        (table, columns if rows and table is key.table else tuple([] for _ in table.columns))
        for table in key.call.tables
    )
    attrs = {table: cut.attrs if table is key.table else (None,) * len(table.attrs) for table in key.call.tables}
    return Content(cut.next, tuple(tables), attrs)


def encode_page(key: PageKey, cut: Cut) -> bytes:
    """The body of a reply with these rows, as OpenD sends one."""
    reply = key.call.response(retType=common.RetType.SUCCEED, retMsg="", errCode=0)
    items = getattr(reply.s2c, key.table.list_field)
    for row in cut.rows:
        _set(items.add(), key.table.columns, row.values)
    _set(reply.s2c, key.table.attrs, cut.attrs)
    reply.s2c.nextKey = cut.next or END
    return bytes(reply.SerializeToString())


def _set(message: Any, columns: Sequence[Column], values: Sequence[Any]) -> None:
    for column, value in zip(columns, values, strict=True):
        if value is not None:
            setattr(message, column.field, value)


_K = TypeVar("_K")
_V = TypeVar("_V")


class Memory(Generic[_K, _V]):
    """The values that were used last. What is kept must not change: threads share it.

    There is no lock: each step is one call into C, and whatever comes between two of them (another thread, an interrupt,
    a fork) costs at most a value that has to be read again.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: OrderedDict[_K, _V] = OrderedDict()

    def get(self, key: _K) -> _V | None:
        """The value, None if it is not kept."""
        value = self._kept.get(key)
        if value is not None:
            with suppress(KeyError):  # another thread let go of it just now
                self._kept.move_to_end(key)
        return value

    def keep(self, key: _K, value: _V) -> None:
        """Keep a value, and let go of the one that was not used for longest."""
        self._kept[key] = value
        while len(self._kept) > self._most:
            with suppress(KeyError):  # another thread let go of the last one
                self._kept.popitem(last=False)
