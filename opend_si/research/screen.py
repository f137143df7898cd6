"""The latest row of each recorded symbol, ranked: of those that are rows of one time, by what was measured."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import date
from typing import TYPE_CHECKING, Any

from opend_si.cache.runs import unpack_runs
from opend_si.cache.store import Store
from opend_si.cache.versions import Seal, Version
from opend_si.dates import When, now, read_day
from opend_si.dates.calendars import oldest_beside
from opend_si.errors import InvalidArgument, warn
from opend_si.errors.texts import some
from opend_si.history.frames import make_rows
from opend_si.history.overview import first_pages
from opend_si.history.symbol import noted_beside
from opend_si.research.changes import with_changes
from opend_si.research.panel import Choice, choose, panel
from opend_si.tables import MOST_DAYS, describe, read_columns
from opend_si_schema.definitions import CHANGE, CHANGE_PERCENT, DATE, MARKET, SYMBOL, Call, Table

if TYPE_CHECKING:
    import pandas as pd

# A symbol's newest row, and the one before it.
_ROWS = 2
# Of what `with_changes` adds, what rows can be ranked by.
_CHANGES = (CHANGE, CHANGE_PERCENT)


def screen(choice: Choice, by: str, top: int, ascending: bool, since: When | None) -> pd.DataFrame:
    """The latest row of each recorded symbol of a market, with what changed since the row before; highest first.

    Rows without a value come last. Equal ones stay in the order of their symbols. A kind that counts nothing that is
    short has no changes. Rows of before `since` are left out; unless it is given, those that are too old to stand
    beside the newest row, with a warning.
    """
    if isinstance(top, bool) or not isinstance(top, int) or top < 1:
        raise InvalidArgument(f"top is {top!r}: it takes how many rows, 1 or more")
    if not isinstance(ascending, bool):
        raise InvalidArgument(f"ascending is {ascending!r}: it takes True for lowest first, or False")
    for table in choice.call.tables:
        if since is not None:
            read_day("since", since, table.market)
        if table.market.prefix == choice.market:
            check_by(table, by)
    if isinstance(choice.codes, Iterator):
        choice = choice._replace(codes=list(choice.codes))  # they may be read twice
    frame = _newest_rows(choice)
    if frame is None:
        frame = panel(choice)
    table = choice.call.table_of(frame.attrs[MARKET])
    check_by(table, by)
    if table.short:
        frame = with_changes(frame)
    latest = frame[~frame[SYMBOL].duplicated(keep="last")]
    if len(latest):
        latest = _of_one_time(latest, table, since)
        latest = _measured(latest, table, by)
    ranked = latest.sort_values(by, ascending=ascending, kind="stable", na_position="last").head(top)
    return ranked.reset_index(drop=True)


def _newest_rows(choice: Choice) -> pd.DataFrame | None:
    """The last two rows that `panel` has of each symbol, from first pages alone; None if more has to be read.

    What stands beside a symbol's seal says which page its history begins with, whether that history is whole, and of
    which day its newest row is. Where that page bears it out, its first rows are those of the history. `known_at` is
    that of the last row.
    """
    if choice.as_of.when is not None:
        return None
    call = choice.call
    items: list[Any] = []
    symbols: list[str] = []
    known_at: list[int | None] = []
    origins = set()
    with closing(Store(choice.record, may_write=False)) as store:
        table, names = choose(store, choice)
        clock, moment = store.clock(), now()
        told = {name: (seal, pages) for name, seal, pages in first_pages(store, call.proto_id, names)}
    for name in names:
        found = _beginning(call, table, *told[name]) if name in told else None
        if found is None:
            return None
        page, newest = found
        own = page.first_seq, page.fetched_at
        event = unpack_runs(page.seen, own)[0][1:] if page.seen else own
        items += reversed(newest)
        symbols += [name] * len(newest)
        known_at += [None if clock.was_ahead(event, moment) else event[1]] * len(newest)
        origins.add(page.origin)
    frame = make_rows(table, symbols, read_columns(table, items), known_at)
    frame.attrs.update({MARKET: table.market.prefix, "origin": ", ".join(sorted(origins)), **describe(call, table)})
    return frame


def _beginning(call: Call, table: Table, seal: Seal, pages: Sequence[Version]) -> tuple[Version, Sequence[Any]] | None:
    """The page that a whole history begins with, and its newest rows as they were sent; None where that is in doubt."""
    noted = noted_beside(seal) if seal.is_judged and not seal.floor else {}
    # A page that is void may be one that is fit for no history.
    if not noted.get("complete") or any(page.is_void or not page.is_sound for page in pages):
        return None
    page = next((page for page in pages if page.first_seq == noted["head"][0]), None)
    if page is None:
        return None
    items = getattr(call.response.FromString(page.body).s2c, table.list_field)
    if len(items) < min(_ROWS, noted["joined"]) or (items[0].timestamp if items else None) != noted["newest"]:
        return None
    return page, items[:_ROWS]


def check_by(table: Table, by: object) -> None:
    """`InvalidArgument` lists what rows of this market can be ranked by."""
    names = [column.name for column in table.columns if column.is_measure]
    names += _CHANGES if table.short else ()
    if by not in names:
        raise InvalidArgument(f"by is {by!r}: rows of {table.market.prefix} are ranked by {', '.join(names)}")


def _of_one_time(latest: pd.DataFrame, table: Table, since: When | None) -> pd.DataFrame:
    """The rows that are not too old."""
    newest: date = latest[DATE].max().date()
    first = oldest_beside(table, newest) if since is None else read_day("since", since, table.market)
    is_old = latest[DATE].dt.date < first
    chosen: pd.DataFrame = latest[~is_old]
    if since is None and is_old.any():
        are = "symbol has" if is_old.sum() == 1 else "symbols have"
        warn(
            f"{is_old.sum():,} of {len(latest):,} {are} no row of {first} or later, and the newest row of all is of "
            f"{newest}: left out are {_names(latest, is_old)}. An earlier day for since (such as 2000-01-01) ranks them, "
            "too."
        )
    return chosen


def _measured(latest: pd.DataFrame, table: Table, by: str) -> pd.DataFrame:
    """The rows whose number says how much, or that have none."""
    values = latest[by]
    is_more = values.abs() == float("inf")
    if any(column.name == by and column.unit == "days" for column in table.columns):
        is_more |= values >= MOST_DAYS
    is_more = is_more.fillna(False).astype(bool)
    if is_more.any():
        warn(
            f"{by} of {is_more.sum():,} of {len(latest):,} symbols is no measurement (infinite, or {MOST_DAYS} days, "
            f"which stands for all that is more): left out are {_names(latest, is_more)}."
        )
    return latest[~is_more]


def _names(latest: pd.DataFrame, chosen: Any) -> str:
    return some(latest.loc[chosen, SYMBOL].tolist())
