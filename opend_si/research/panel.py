"""The recorded histories of many symbols as one Arrow table. Nothing is fetched. Needs the extra `arrow`.

What a symbol's rows are is the planner's to say. For most symbols there is nothing to decide, and that is seen for
many at once, in arrays (`batch`); every other symbol goes the planner's way, as `history` does.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

from opend_si.cache.store import Store
from opend_si.cache.versions import BODY, Clock, RawVersion, Version, Versions
from opend_si.cache.versions import as_of as versions_as_of
from opend_si.dates import AsOf, now
from opend_si.errors import CacheMiss, InvalidArgument, warn
from opend_si.errors.texts import some
from opend_si.history.statements import BOTTOM
from opend_si.history.symbol import Symbols
from opend_si.history.vintages import known_at
from opend_si.history.walk import Walk, recorded_walk
from opend_si.pages import PageKey
from opend_si.research.arrow import days, decode, need_arrow, nullable_dtypes, public_days, table_schema
from opend_si.research.batch import resolve
from opend_si.settings import Mode, Settings
from opend_si.tables import default_unit, describe
from opend_si_schema.definitions import DATE, KNOWN_AT, MARKET, PUBLISHED_BY, SYMBOL, Call, Table

if TYPE_CHECKING:
    import pandas as pd

    from opend_si.research.arrow import ArrowTable, Decoded, Flags, Ints

# Symbols that are read and decoded at once: those of so many pages, enough to keep the arrays long, and few in memory.
# How many pages a symbol has is known from the ones before; so many symbols are read first.
_PAGES, _FIRST = 3500, 25
# A moment that is not known, as NumPy and Arrow write it.
_NOT_KNOWN = -(2**63)
# Where a version has its origin.
_ORIGIN = Version._fields.index("origin")
# How many symbols a text names.
_SHOWN = 5


def arrow_table(
    settings: Settings, call: Call, codes: Iterable[str] | None, market: str | None, as_of: AsOf
) -> ArrowTable:
    """All rows of the symbols, by symbol and date."""
    need_arrow("arrow_table")
    if settings.mode is Mode.BYPASS:
        raise InvalidArgument("a table is made of what is recorded: mode bypass has no record")
    with closing(Store(settings.cache, may_write=False)) as store:
        table, names = _choose(store, call, codes, market)
        looking_back, public = as_of.recorded(table.market), as_of.public(table.market)
        clock = store.clock()
        if looking_back is not None:
            clock = clock.up_to(looking_back)
        build = _Build(call, table, clock, now() if looking_back is None else looking_back)
        done, size = 0, _FIRST
        while batch := names[done : done + size]:
            records = (
                store.records(call.proto_id, batch)
                if looking_back is None
                else _as_of(store, call, batch, looking_back)
            )
            build.add(batch, records)
            done += len(batch)
            size = max(1, _PAGES * len(batch) // max(1, sum(len(record.sound) for record in records)))
        if build.incomplete:  # of nothing no table is made: an export would replace a full one by it
            needed = codes is not None or len(build.incomplete) == len(names)
            _tell_incomplete(store, call, build.incomplete, is_needed=needed)
    return build.finish() if public is None else _published(build.finish(), public)


def panel(settings: Settings, call: Call, codes: Iterable[str] | None, market: str | None, as_of: AsOf) -> pd.DataFrame:
    """The same as a DataFrame; its `attrs` say what it is."""
    need_arrow("panel")
    table = arrow_table(settings, call, codes, market, as_of)
    frame = to_frame(table)
    of_market = next(each for each in call.tables if each.market.prefix == frame.attrs[MARKET])
    frame.attrs.update(describe(call, of_market))
    return frame


def _published(table: ArrowTable, day: date) -> ArrowTable:
    """The rows that were public at the end of a day."""
    import pyarrow as pa
    import pyarrow.compute as pc

    return table.filter(pc.less_equal(table[PUBLISHED_BY], pa.scalar(day, pa.date32())))


def to_frame(table: ArrowTable) -> pd.DataFrame:
    """A table of ours as a DataFrame, with the column types of `history`.

    Takes the table apart: do not use it after.
    """
    import pandas as pd
    import pyarrow as pa

    names, metadata = table.column_names, table.schema.metadata
    nullable = {kind: pd.api.types.pandas_dtype(dtype) for kind, dtype in nullable_dtypes().items()}
    missing = [name for name in names if table.schema.field(name).type in nullable and table[name].null_count]
    unit = default_unit()
    # Days and moments as `history` has them. The detour over seconds is free: 32-bit days have no shorter way.
    for name in (DATE, PUBLISHED_BY):
        table = table.set_column(names.index(name), name, table[name].cast(pa.timestamp("s")).cast(pa.timestamp(unit)))
    table = table.set_column(names.index(KNOWN_AT), KNOWN_AT, table[KNOWN_AT].cast(pa.timestamp(unit, "UTC")))
    apart = {name: table[name].to_pandas(types_mapper=nullable.get) for name in missing}
    table = table.drop_columns(missing)
    frame: pd.DataFrame = table.to_pandas(self_destruct=True, split_blocks=True)
    for name, numbers in apart.items():
        frame.insert(names.index(name), name, numbers)
    frame.attrs[MARKET] = metadata[b"market"].decode()
    frame.attrs["origin"] = metadata[b"origin"].decode()
    return frame


def recorded_markets(settings: Settings, call: Call) -> list[str]:
    """The markets of which something is recorded."""
    with closing(Store(settings.cache, may_write=False)) as store:
        markets = [table.market.prefix for table in call.tables]
        return sorted(market for market in markets if store.symbols(call.proto_id, market))


# Which symbols --------------------------------------------------------------------------------------------------------


def _choose(store: Store, call: Call, codes: Iterable[str] | None, market: str | None) -> tuple[Table, list[str]]:
    """The table, and the symbols in order."""
    tables = sorted(call.tables, key=lambda table: table.market.prefix)
    known = {table.market.prefix: table for table in tables}
    if market is not None and not (isinstance(market, str) and market in known):
        raise InvalidArgument(f"market is {market!r}: it takes {' or '.join(known)}")
    if codes is None:
        recorded = {prefix: store.symbols(call.proto_id, prefix) for prefix in ([market] if market else known)}
        there = [prefix for prefix, names in recorded.items() if names]
        if not there:
            raise CacheMiss(
                f"No {call.title}{f' of {market}' if market else ''} is recorded in {store.path}. Record some with sync first."
            )
        if len(there) > 1:
            raise InvalidArgument(f"name one market: {' and '.join(there)} are recorded, and their columns differ")
        return known[there[0]], recorded[there[0]]
    try:
        given = [codes] if isinstance(codes, str) else list(codes)
    except TypeError:
        raise InvalidArgument(f"codes is {codes!r}: it takes symbols, each a text such as HK.00700") from None
    keys = [PageKey.check(call, code) for code in given]
    symbols = [key.symbol for key in keys]
    markets = {symbol.market.prefix for symbol in symbols} | ({market} if market else set())
    if len(markets) != 1:
        raise InvalidArgument(
            f"codes are of {' and '.join(sorted(markets))}: a table is of one market, for their columns differ"
            if markets
            else "codes is empty and no market is named: a table is of one market"
        )
    return known[markets.pop()], sorted({str(symbol) for symbol in symbols})


def _tell_incomplete(store: Store, call: Call, names: Sequence[str], *, is_needed: bool) -> None:
    text = f"{call.title} of {some(names)} is not completely recorded in {store.path}"
    if is_needed:
        raise CacheMiss(f"{text}. Bring it up to date with sync.")
    warn(f"{text}, and left out. Bring it up to date with sync.")


# Rows -----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Part:
    """Rows of some symbols, in order: the symbols' numbers, the table's columns, and when each value was first seen."""

    numbers: Ints
    columns: dict[str, Any]
    known_at: Ints


class _Build:
    """Puts the table together, batch by batch."""

    def __init__(self, call: Call, table: Table, clock: Clock, moment: int) -> None:
        """`clock` is what is known of the clock at the moment of which the table is."""
        self._call, self._table = call, table
        self._clock, self._moment = clock, moment
        self._symbols = Symbols()
        self._names: list[str] = []
        self._chunks: list[ArrowTable] = []
        self._origins: set[str] = set()
        self.incomplete: list[str] = []

    def add(self, names: Sequence[str], records: Sequence[Versions]) -> None:
        """Add a batch of symbols, in order."""
        import numpy as np
        import pyarrow as pa

        pages: list[RawVersion] = []
        owners: list[int] = []
        for number, record in enumerate(records):
            self._origins.update(page[_ORIGIN] for page in record.sound)
            # Otherwise not all that is left is trusted, or nobody has judged yet.
            if record.is_whole and not record.seal.floor and record.seal.is_judged:
                pages += record.sound
                owners += [number] * len(record.sound)
        decoded, pages, owners = self._decode(pages, owners)
        found = resolve(len(names), owners, pages, decoded)
        places = pa.array(found.rows)
        columns = {name: values.take(places) for name, values in decoded.columns.items()}
        parts = [_Part(found.symbols, columns, self._known_at(found.seen_seq, found.seen_at))]
        complete = np.ones(len(names), dtype=bool)
        for number in np.flatnonzero(~found.is_plain).tolist():
            part = self._walk(number, names[number], records[number])
            if part is None:
                complete[number] = False
                self.incomplete.append(names[number])
            else:
                parts.append(part)
        self._chunks.append(self._chunk(parts, complete))
        self._names += [name for name, is_complete in zip(names, complete, strict=True) if is_complete]

    def finish(self) -> ArrowTable:
        """The table of all batches."""
        import pyarrow as pa

        schema = table_schema(self._table, call=self._call)
        schema = schema.with_metadata({**schema.metadata, b"origin": ", ".join(sorted(self._origins)).encode()})
        symbols = pa.array(self._names, type=pa.string())
        tables = []
        for columns in self._chunks:
            columns[SYMBOL] = symbols.take(columns[SYMBOL])
            tables.append(pa.Table.from_arrays([columns[name] for name in schema.names], schema=schema))
        return pa.concat_tables(tables) if tables else schema.empty_table()

    def _chunk(self, parts: Sequence[_Part], complete: Flags) -> dict[str, Any]:
        import numpy as np
        import pyarrow as pa

        numbers = np.concatenate([part.numbers for part in parts])
        known_at = np.concatenate([part.known_at for part in parts])
        columns = parts[0].columns
        if len(parts) > 1:
            order = np.argsort(numbers, kind="stable")
            numbers, known_at = numbers[order], known_at[order]
            columns = {
                name: pa.concat_arrays([part.columns[name] for part in parts]).take(pa.array(order)) for name in columns
            }
        places = len(self._names) + np.cumsum(complete) - 1
        dates = days(columns["timestamp"].to_numpy(), self._table)
        return {
            SYMBOL: pa.array(places[numbers].astype(np.int32)),
            DATE: dates,
            **columns,
            PUBLISHED_BY: public_days(dates, self._table),
            KNOWN_AT: pa.array(known_at, mask=known_at == _NOT_KNOWN)
            .view(pa.timestamp("ms", "UTC"))
            .cast(pa.timestamp("us", "UTC")),
        }

    def _walk(self, number: int, name: str, record: Versions) -> _Part | None:
        """One symbol's rows as the planner finds them; None if they are not all recorded."""
        import numpy as np
        import pyarrow as pa

        try:
            key = PageKey.check(self._call, name, None, self._call.page_size.maximum)
        except InvalidArgument:  # a damaged name
            return None
        recorded = self._symbols.read(key, record)
        found = recorded_walk(recorded.ledger, BOTTOM) if recorded.odd is None else None
        if not isinstance(found, Walk):
            return None
        rows = found.rows[::-1]
        seen = known_at(recorded.ledger.statements, rows, self._clock, self._moment)
        schema = table_schema(self._table, call=self._call)
        columns = {
            column.name: pa.array([row.values[place] for row in rows], type=schema.field(column.name).type)
            for place, column in enumerate(self._table.columns)
        }
        known = np.array(seen, dtype="datetime64[ms]").view(np.int64)
        return _Part(np.full(len(rows), number, dtype=np.int64), columns, known)

    def _decode(self, pages: list[RawVersion], owners: list[int]) -> tuple[Decoded, list[RawVersion], list[int]]:
        """The pages decoded, without those of symbols whose replies hold what this decoder does not take."""
        try:
            return decode(self._call, self._table, [page[BODY] for page in pages]), pages, owners
        except ValueError:
            odd = {number for number in set(owners) if not self._is_decodable(pages, owners, number)}
        chosen = [place for place, number in enumerate(owners) if number not in odd]
        pages, owners = [pages[place] for place in chosen], [owners[place] for place in chosen]
        return decode(self._call, self._table, [page[BODY] for page in pages]), pages, owners

    def _is_decodable(self, pages: Sequence[RawVersion], owners: Sequence[int], number: int) -> bool:
        bodies = [page[BODY] for page, owner in zip(pages, owners, strict=True) if owner == number]
        try:
            decode(self._call, self._table, bodies)
        except ValueError:
            return False
        return True

    def _known_at(self, seqs: Ints, ats: Ints) -> Ints:
        """When values were first seen; not known where a later event shows that the clock was ahead."""
        import numpy as np

        known = ats.copy()
        known[ats > self._moment] = _NOT_KNOWN
        if self._clock.steps:
            steps, least = np.array([step.seq for step in self._clock.steps]), np.array(self._clock.least)
            places = np.searchsorted(steps, seqs, "right")
            later = places < len(steps)
            later[later] = least[places[later]] < ats[later]
            known[later] = _NOT_KNOWN
        return known


def _as_of(store: Store, call: Call, names: Sequence[str], moment: int) -> list[Versions]:
    """What was recorded of some symbols when the clock showed a moment."""
    return [
        versions_as_of(versions, past, clock, moment)
        for versions, past, clock in (store.symbol_and_past(call.proto_id, name) for name in names)
    ]
