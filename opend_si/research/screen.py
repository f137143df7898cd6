"""The latest row of each recorded symbol, ranked: of those that are rows of one time, by what was measured."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from typing import TYPE_CHECKING, Any

from opend_si.dates import AsOf, When, read_day
from opend_si.dates.calendars import oldest_beside
from opend_si.errors import InvalidArgument, warn
from opend_si.errors.texts import some
from opend_si.research.changes import with_changes
from opend_si.research.panel import panel
from opend_si.settings import Settings
from opend_si.tables import MOST_DAYS, measures
from opend_si_schema.definitions import CHANGE, CHANGE_PERCENT, DATE, MARKET, SYMBOL, Call, Table

if TYPE_CHECKING:
    import pandas as pd

# Of what `with_changes` adds, what rows can be ranked by.
_CHANGES = (CHANGE, CHANGE_PERCENT)


def screen(
    settings: Settings,
    call: Call,
    codes: Iterable[str] | None,
    market: str | None,
    by: str,
    top: int,
    ascending: bool,
    since: When | None,
    as_of: AsOf,
) -> pd.DataFrame:
    """The latest row of each recorded symbol of a market, with what changed since the row before; highest first.

    Rows without a value come last. Equal ones stay in the order of their symbols. A kind that counts nothing that is
    short has no changes. Rows of before `since` are left out; unless it is given, those that are too old to stand
    beside the newest row, with a warning.
    """
    if isinstance(top, bool) or not isinstance(top, int) or top < 1:
        raise InvalidArgument(f"top is {top!r}: it takes how many rows, 1 or more")
    if not isinstance(ascending, bool):
        raise InvalidArgument(f"ascending is {ascending!r}: it takes True for lowest first, or False")
    for table in call.tables:
        if since is not None:
            read_day("since", since, table.market)
        if table.market.prefix == market:
            check_by(table, by)
    frame = panel(settings, call, codes, market, as_of)
    table = next(table for table in call.tables if table.market.prefix == frame.attrs[MARKET])
    check_by(table, by)
    if table.short:
        frame = with_changes(frame)
    latest = frame[~frame[SYMBOL].duplicated(keep="last")]
    if len(latest):
        latest = _of_one_time(latest, table, since)
        latest = _measured(latest, table, by)
    ranked = latest.sort_values(by, ascending=ascending, kind="stable", na_position="last").head(top)
    return ranked.reset_index(drop=True)


def check_by(table: Table, by: object) -> None:
    """`InvalidArgument` lists what rows of this market can be ranked by."""
    names = [column.name for column in table.columns if measures(column)]
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
