"""The latest row of each recorded symbol, ranked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opend_si.dates import AsOf
from opend_si.errors import InvalidArgument
from opend_si.research.changes import with_changes
from opend_si.research.panel import panel
from opend_si.settings import Settings
from opend_si.tables import measures
from opend_si_schema.definitions import CHANGE, CHANGE_PERCENT, MARKET, SYMBOL, Call, Table

if TYPE_CHECKING:
    import pandas as pd

# Of what `with_changes` adds, what rows can be ranked by.
_CHANGES = (CHANGE, CHANGE_PERCENT)


def screen(settings: Settings, call: Call, market: str | None, by: str, top: int, as_of: AsOf) -> pd.DataFrame:
    """The latest row of each recorded symbol of a market, with what changed since the row before; highest first.

    Rows without a value come last. Equal ones stay in the order of their symbols. A kind that counts nothing that is
    short has no changes.
    """
    if isinstance(top, bool) or not isinstance(top, int) or top < 1:
        raise InvalidArgument(f"top is {top!r}: it takes how many rows, 1 or more")
    for table in call.tables:
        if table.market.prefix == market:
            check_by(table, by)
    frame = panel(settings, call, None, market, as_of)
    table = next(table for table in call.tables if table.market.prefix == frame.attrs[MARKET])
    check_by(table, by)
    if table.short:
        frame = with_changes(frame)
    latest = frame[~frame[SYMBOL].duplicated(keep="last")]
    ranked = latest.sort_values(by, ascending=False, kind="stable", na_position="last").head(top)
    return ranked.reset_index(drop=True)


def check_by(table: Table, by: object) -> None:
    """`InvalidArgument` lists what rows of this market can be ranked by."""
    names = [column.name for column in table.columns if measures(column)]
    names += _CHANGES if table.short else ()
    if by not in names:
        raise InvalidArgument(f"by is {by!r}: rows of {table.market.prefix} are ranked by {', '.join(names)}")
