"""The latest row of each recorded symbol, ranked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opend_si.dates import When
from opend_si.errors import InvalidArgument
from opend_si.research.changes import with_changes
from opend_si.research.panel import panel
from opend_si.settings import Settings
from opend_si_schema.definitions import Call, Table

if TYPE_CHECKING:
    import pandas as pd

# Of what `with_changes` adds, what rows can be ranked by.
_CHANGES = ("change", "change_percent")


def screen(settings: Settings, call: Call, market: str | None, by: str, top: int, as_of: When | None) -> pd.DataFrame:
    """The latest row of each recorded symbol of a market, with what changed since the row before; highest first.

    Rows without a value come last; equal ones stay in the order of their symbols.
    """
    if isinstance(top, bool) or not isinstance(top, int) or top < 1:
        raise InvalidArgument(f"top is {top!r}: it takes how many rows, 1 or more")
    for table in call.tables:
        if table.market.prefix == market:
            check_by(table, by)
    frame = with_changes(panel(settings, call, None, market, as_of))
    check_by(next(table for table in call.tables if table.market.prefix == frame.attrs["market"]), by)
    latest = frame[~frame["symbol"].duplicated(keep="last")]
    ranked = latest.sort_values(by, ascending=False, kind="stable", na_position="last").head(top)
    return ranked.reset_index(drop=True)


def check_by(table: Table, by: object) -> None:
    """`InvalidArgument` lists what rows of this market can be ranked by."""
    numbers = [column.name for column in table.columns if column.dtype != "str" and column.unit != "Unix seconds"]
    names = [*numbers, *_CHANGES]
    if by not in names:
        raise InvalidArgument(f"by is {by!r}: rows of {table.market.prefix} are ranked by {', '.join(names)}")
