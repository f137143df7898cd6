"""What changed in the record since a moment: the rows that are new, and the values that OpenD sent differently.

A row is new when it was first seen here, and a value is revised when OpenD was first seen to send another one. Both are
moments of this machine, not of the exchange. Nothing is fetched. pandas is imported when the frame is made.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

from opend_si.cache.guard import GuardedStore
from opend_si.cache.store import Store
from opend_si.cache.versions import Clock
from opend_si.dates import Since, day_of, moment, read_since
from opend_si.dates.calendars import published_by
from opend_si.errors import CacheMiss, ShortInterestError, warn
from opend_si.history.record import Record
from opend_si.history.statements import Statement
from opend_si.history.vintages import as_first_seen, changes
from opend_si.pages import PageKey
from opend_si.pages.named import listed
from opend_si.tables import text_column
from opend_si_schema.definitions import Call

if TYPE_CHECKING:
    import pandas as pd


_Day: TypeAlias = date


# Later than any moment of a record, in milliseconds.
_FOREVER = 2**63


class News(NamedTuple):
    """One new row, or one value that was revised: a row of the frame that `Client.changes_since` describes."""

    symbol: str
    date: _Day
    what: Literal["new", "revised"]
    column: str
    before: Any
    after: Any
    previous: Any
    seen_at: int
    published_by: _Day | None


def changes_since(record: Path, call: Call, since: Since, codes: Iterable[str] | None) -> pd.DataFrame:
    """What was seen from a moment on, of the symbols or of all that are recorded."""
    begin = read_since("moment", since)
    with closing(Store(record, may_write=False)) as store:
        names = _recorded(store, call) if codes is None else _named(store, call, codes)
    return news(record, call, dict.fromkeys(names, (begin, None)))


def news(cache: Path, call: Call, wanted: Mapping[str, tuple[int, int | None]]) -> pd.DataFrame:
    """What was seen of each symbol from one moment to another (None: until now), by symbol, date and moment."""
    found: list[News] = []
    origins: set[str] = set()
    store = Store(cache, may_write=False)
    with closing(store):
        record = Record(GuardedStore(store, raises=True))
        for name, (begin, end) in sorted(wanted.items()):
            try:
                key = PageKey.longest(call, name)
                everything = record.everything(key)
                seen = _news(key, everything.ledger.statements, begin, math.inf if end is None else end)
                found += seen
                origins.update({everything.origin or ""} if seen else ())
            except ShortInterestError as error:
                warn(f"{name} is left out of the changes: {error}")
    frame = _frame(found)
    frame.attrs.update(kind=call.name, origin=", ".join(sorted(origins)))
    return frame


def _recorded(store: Store, call: Call) -> list[str]:
    names = [name for table in call.tables for name in store.symbols(call.proto_id, table.market.prefix)]
    if not names:
        raise CacheMiss(f"No {call.title} is recorded in {store.path}. Record some with sync first.")
    return names


def _named(store: Store, call: Call, codes: Iterable[str]) -> list[str]:
    keys = [PageKey.check(call, code) for code in listed(codes)]
    recorded = {prefix: store.symbols(call.proto_id, prefix) for prefix in {key.symbol.market.prefix for key in keys}}
    for key in keys:
        if str(key.symbol) not in recorded[key.symbol.market.prefix]:
            raise store.miss(key.identity, str(key))
    return [str(key.symbol) for key in keys]


def _news(key: PageKey, statements: Sequence[Statement], begin: float, end: float) -> list[News]:
    """What was seen of a symbol from one moment to another, in the order of dates and moments."""
    table, symbol = key.table, str(key.symbol)
    columns = [column.name for column in table.columns]
    position = columns.index(table.short)
    # Moments as the clock showed them then, right or not: what is reported by them is reported once.
    every = changes(statements, Clock(), _FOREVER)
    current = {change.at: change.after for change in every}
    below: dict[int, tuple[Any, ...]] = {}
    entries: list[News] = []
    values: tuple[Any, ...] = (None,) * len(columns)
    for row, seen_at in as_first_seen(statements):
        below[row.at], values = values, current.get(row.at, row).values
        if begin <= seen_at <= end:
            day, value, previous = day_of(row.at, table.market), row.values[position], below[row.at][position]
            entries.append(
                News(symbol, day, "new", columns[position], None, value, previous, seen_at, _public(table, day))
            )
    for change in every:
        if change.seen_at is None or not begin <= change.seen_at <= end:
            continue
        day = day_of(change.at, table.market)
        for name, before, after, previous in zip(
            columns, change.before.values, change.after.values, below[change.at], strict=True
        ):
            if before is not after and before != after:
                entries.append(
                    News(symbol, day, "revised", name, before, after, previous, change.seen_at, _public(table, day))
                )
    return sorted(entries, key=lambda entry: (entry.date, entry.seen_at))


def _public(table: Any, day: date) -> date | None:
    try:
        return published_by(table, day)
    except OverflowError:  # at the end of Python's calendar
        return None


def _frame(found: list[News]) -> pd.DataFrame:
    import pandas as pd

    unit = pd.to_datetime(["2000-01-01"]).unit  # that pandas makes by itself, so that the frame joins with others

    def texts(name: str) -> Any:
        return text_column([getattr(entry, name) for entry in found])

    def values(name: str) -> pd.Series[Any]:
        return pd.Series([getattr(entry, name) for entry in found], dtype=object)

    def days(name: str) -> pd.DatetimeIndex:
        return pd.to_datetime([getattr(entry, name) for entry in found]).as_unit(unit)

    return pd.DataFrame(
        {
            "symbol": texts("symbol"),
            "date": days("date"),
            "what": texts("what"),
            "column": texts("column"),
            "before": values("before"),
            "after": values("after"),
            "previous": values("previous"),
            "seen_at": pd.to_datetime([moment(entry.seen_at) for entry in found], utc=True).as_unit(unit),
            "published_by": days("published_by"),
        }
    )
