"""What changed from row to row: a pure function over the frames that `history` and `panel` give."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opend_si.research.order import position_of, read_order, refuse
from opend_si.tables import add_units, copy_frame
from opend_si_schema.definitions import CHANGE, CHANGE_PERCENT, DAYS_BETWEEN

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd

    Mask = npt.NDArray[np.bool_]

_WHO = "with_changes"


def with_changes(frame: pd.DataFrame) -> pd.DataFrame:
    """A copy of a `history` or `panel` frame, with what changed since the row before.

    A row is compared with the row before it of the same symbol, however long ago that was. A week without a row stays
    without one: the change reaches over the gap, and `days_between` tells how far. Where the row before has no number
    there is no change either; the search does not go further back.

    Columns appended (one that is already there is computed anew, in its place):

    - `days_between` (`Int64`): calendar days since the row before; missing in a symbol's first row.
    - `change` (`Int64`): what is short less that of the row before, in shares. For short interest that is the column
      `aggregated_short` in HK frames and `shares_short` in US frames, for daily short volume `short_sell_shares_traded`
      and `total_shares_short`.
    - `change_percent` (`float64`): the change in percent of the row before: 12.34 is 12.34 %. Missing where the row
      before has no number, or 0; never infinite.

    Args:
        frame: What `history` or `panel` of any kind gave, or rows picked from it: of one market, each symbol's rows
            together, their dates ascending. Index, `attrs` and other columns are kept, and the units in
            `attrs` name the new columns, too; the frame itself is not altered.

    Raises:
        InvalidArgument: The frame is neither, or its rows are not in order.

    """
    import numpy as np
    import pandas as pd

    if not isinstance(frame, pd.DataFrame):
        refuse(_WHO, f"it is a {type(frame).__name__}")
    above, days, same_symbol = read_order(frame, _WHO)
    counts, known = _read_counts(frame)
    comparable = same_symbol & known & known[above]
    before = np.where(comparable, counts[above], 0)
    change = np.where(comparable, counts - before, 0)
    percent = np.full(len(frame), np.nan)
    np.divide(change * 100.0, before, out=percent, where=before != 0)
    result = copy_frame(frame)
    result[DAYS_BETWEEN] = pd.arrays.IntegerArray((days - days[above]).astype("int64"), ~same_symbol)
    result[CHANGE] = pd.arrays.IntegerArray(change, ~comparable)
    result[CHANGE_PERCENT] = percent
    add_units(result, {DAYS_BETWEEN: "days", CHANGE: "shares", CHANGE_PERCENT: "percent"})
    return result


def _read_counts(frame: pd.DataFrame) -> tuple[npt.NDArray[np.int64], Mask]:
    """What is short in each row (0 where there is no number), and whether there is one."""
    name = position_of(frame, _WHO)
    counts = frame[name]
    try:
        if counts.dtype.kind == "f" and (counts.abs() >= 2.0**63).any():
            raise ValueError("pandas would cast it to a wrong number, with a warning")
        numbers = counts.astype("Int64").array  # also from the floats of a frame that was reindexed or read from CSV
    except (TypeError, ValueError):
        refuse(_WHO, f"its {name} holds something else than whole numbers")
    return numbers.to_numpy(dtype="int64", na_value=0), ~numbers.isna()
