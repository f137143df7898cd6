"""What changed from row to row: a pure function over the frames that `history` and `panel` give.

Nothing is filled, resampled or sorted here: a frame whose rows are not in order is refused, for a change taken backwards
or from one symbol to the next would be a wrong number that looks right. pandas is imported when a frame is given.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from opend_si.errors import InvalidArgument
from opend_si.tables import copy_frame
from opend_si_schema.calls import CALLS
from opend_si_schema.definitions import CHANGE, CHANGE_PERCENT, DATE, DAYS_BETWEEN, SYMBOL

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd

    Days = npt.NDArray[np.datetime64]
    Mask = npt.NDArray[np.bool_]

_TAKES = "with_changes takes a frame of history (indexed by date) or of panel (with the columns symbol and date)"


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
            together, their dates ascending. Index, `attrs` and other columns are kept; the frame itself is not altered.

    Raises:
        InvalidArgument: The frame is neither, or its rows are not in order.

    """
    import numpy as np
    import pandas as pd

    if not isinstance(frame, pd.DataFrame):
        _refuse(f"it is a {type(frame).__name__}")
    above, days, same_symbol = _read_order(frame)
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
    return result


def _read_order(frame: pd.DataFrame) -> tuple[npt.NDArray[np.int64], Days, Mask]:
    """Of each row: where the row above it is, its day, and whether the row above is the same symbol's."""
    import numpy as np
    import pandas as pd

    dates: Any
    if not frame.columns.is_unique:
        _refuse("it has a column twice")
    if {SYMBOL, DATE} <= set(frame.columns):
        dates, codes = frame[DATE], _symbol_codes(frame[SYMBOL])
    elif isinstance(frame.index, pd.DatetimeIndex) and SYMBOL not in frame.columns:
        dates, codes = frame.index, np.zeros(len(frame), dtype="int8")
    else:
        _refuse("this one is neither")
    if not isinstance(dates.dtype, np.dtype) or dates.dtype.kind != "M":
        _refuse(f"its dates are {dates.dtype}, not datetime64")
    days = dates.to_numpy().astype("datetime64[D]")
    above = np.maximum(np.arange(len(frame)) - 1, 0)
    same_symbol = codes == codes[above]
    same_symbol[:1] = False  # nothing is above the first row
    if not (days > days[above])[same_symbol].all() or np.isnat(days).any():
        _refuse("the dates of a symbol must ascend, each day once")
    if np.count_nonzero(~same_symbol) != np.count_nonzero(np.bincount(codes)):
        _refuse("the rows of a symbol must stand together")
    return above, days, same_symbol


def _symbol_codes(symbols: pd.Series[Any]) -> npt.NDArray[Any]:
    """A number for each symbol."""
    import pandas as pd

    is_categorical = isinstance(symbols.dtype, pd.CategoricalDtype)
    codes = symbols.cat.codes.to_numpy() if is_categorical else pd.factorize(symbols)[0]
    if (codes < 0).any():
        _refuse("it has a row without a symbol")
    return codes


def _read_counts(frame: pd.DataFrame) -> tuple[npt.NDArray[np.int64], Mask]:
    """What is short in each row (0 where there is no number), and whether there is one."""
    columns = sorted({table.short for call in CALLS for table in call.tables if table.short})
    found = [name for name in columns if name in frame.columns]
    if len(found) != 1:
        _refuse(
            f"it must have one of the columns {', '.join(columns)}: of one market, "
            "and of a kind that counts what is short"
        )
    counts = frame[found[0]]
    try:
        if counts.dtype.kind == "f" and (counts.abs() >= 2.0**63).any():
            raise ValueError("pandas would cast it to a wrong number, with a warning")
        numbers = counts.astype("Int64").array  # also from the floats of a frame that was reindexed or read from CSV
    except (TypeError, ValueError):
        _refuse(f"its {found[0]} holds something else than whole numbers")
    return numbers.to_numpy(dtype="int64", na_value=0), ~numbers.isna()


def _refuse(found: str) -> NoReturn:
    raise InvalidArgument(f"{_TAKES}: {found}")
