"""What a row is against its symbol's own past, and against the other symbols of its date. Pure functions over frames.

No value uses a later row: what is appended to a row is the same whatever comes after it. pandas is imported when a
frame is given.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

from opend_si.errors import InvalidArgument
from opend_si.research.order import position_of, read_order
from opend_si.tables import add_units, copy_frame

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd

    Floats = npt.NDArray[np.float64]

# Reports of a year, by how many days usually lie between two of them: trading days, weeks, half months.
_A_YEAR = ((4.0, 250), (10.0, 52), (400.0, 24))
_FEWEST = 2


def with_history(frame: pd.DataFrame, column: str | None = None, reports: int | None = None) -> pd.DataFrame:
    """A copy of a `history` or `panel` frame, with what each row is against its symbol's rows up to it.

    A row without a number (missing, infinite) counts as if it were not there, and gets none of the new values.

    Columns appended (one that is already there is computed anew, in its place):

    - `percentile` (`float64`): the row's rank among the symbol's rows up to and including it, in percent of their
      number. Equal values share the mean of their ranks; the highest value so far has 100.
    - `z_score` (`float64`): the value less the mean of the `reports` rows before it, over their standard deviation (of
      a sample). Missing where fewer rows come before, or where they are all equal.
    - `streak` (`Int64`): for how many rows in a row the value has risen (positive) or fallen (negative); 0 in a
      symbol's first row and where it did not change.
    - `since_high` (`Int64`): how many rows ago the highest value so far was; 0 where this row has it. Of equal highs
      the latest counts.

    Args:
        frame: What `history` or `panel` gave, or rows picked from it: of one market, each symbol's rows together, their
            dates ascending. Index, `attrs` and other columns are kept, and the units in `attrs` name the new
            columns, too; the frame itself is not altered.
        column: The column of numbers to look at. None: the short interest, or what the kind counts instead.
        reports: How many rows `z_score` looks back, 2 or more. None: about a year of them (24 of the US, 52 of Hong
            Kong, 250 of daily rows).

    Raises:
        InvalidArgument: The frame is neither, its rows are not in order, or an argument is wrong.

    """
    import numpy as np
    import pandas as pd

    _, days, same_symbol = read_order(frame, "with_history")
    values = _values(frame, column, "with_history")
    look_back = _look_back(reports, days, same_symbol)
    known = np.isfinite(values)
    symbols = np.cumsum(~same_symbol)[known]
    x = pd.Series(values[known])
    numbers: Floats = values[known]
    result = copy_frame(frame)
    result["percentile"] = _spread(
        np.asarray(100 * x.groupby(symbols).expanding().rank(pct=True), dtype="float64"), known
    )
    result["z_score"] = _spread(_z_scores(numbers, symbols, look_back), known)
    result["streak"] = _spread_integers(_streaks(numbers, symbols), known)
    result["since_high"] = _spread_integers(_since_high(x, symbols), known)
    add_units(result, {"percentile": "percent", "streak": "rows", "since_high": "rows"})
    return result


def rank(panel: pd.DataFrame, column: str | None = None) -> pd.DataFrame:
    """A copy of a `panel`, with each row's rank among the symbols of its date.

    Column appended: `rank_percent` (`float64`), the row's rank among the rows of its date that have a number, in
    percent of their number. Equal values share the mean of their ranks; the highest has 100. A row without a number has
    none.

    Args:
        panel: What `panel` gave, or rows picked from it, of one market. It is not altered.
        column: The column of numbers to rank by. None: the short interest, or what the kind counts instead.

    Raises:
        InvalidArgument: It is no panel, or the column is wrong.

    """
    import numpy as np
    import pandas as pd

    read_order(panel, "rank")
    if "date" not in panel.columns:
        raise InvalidArgument("rank takes a frame of panel: it has no column date")
    values = pd.Series(_values(panel, column, "rank"))
    values[~np.isfinite(values)] = np.nan
    result = copy_frame(panel)
    result["rank_percent"] = 100 * values.groupby(panel["date"].to_numpy()).rank(pct=True).to_numpy()
    add_units(result, {"rank_percent": "percent"})
    return result


def _values(frame: pd.DataFrame, column: str | None, who: str) -> Floats:
    import pandas as pd

    name = position_of(frame, who) if column is None else column
    if not isinstance(name, str) or name not in frame.columns or not pd.api.types.is_numeric_dtype(frame[name]):
        numbers = [str(each) for each in frame.columns if pd.api.types.is_numeric_dtype(frame[each])]
        raise InvalidArgument(
            f"column is {name!r}: it takes a column of numbers, {', '.join(numbers) or 'and there is none'}"
        )
    return frame[name].to_numpy(dtype="float64", na_value=float("nan"))


def _look_back(reports: object, days: Any, same_symbol: Any) -> int:
    import numpy as np

    if reports is not None:
        if isinstance(reports, bool) or not isinstance(reports, (int, np.integer)) or reports < _FEWEST:
            raise InvalidArgument(f"reports is {reports!r}: it takes how many rows to look back, {_FEWEST} or more")
        return int(reports)
    gaps = np.diff(days.astype("int64"), prepend=0)[same_symbol]
    usual = float(np.median(gaps)) if len(gaps) else 0.0
    return next((count for most, count in _A_YEAR if usual <= most), _A_YEAR[-1][1])


def _z_scores(values: Floats, symbols: Any, look_back: int) -> Floats:
    """Computed window by window: a sum that is carried along loses digits where values of very different size meet."""
    import numpy as np
    from numpy.lib.stride_tricks import sliding_window_view

    found = np.full(len(values), np.nan)
    ends = np.flatnonzero(np.diff(symbols, append=symbols[-1:] + 1)) + 1
    for first, end in pairwise([0, *ends.tolist()]):
        if end - first <= look_back:
            continue
        windows = sliding_window_view(values[first : end - 1], look_back)
        spread = windows.std(axis=1, ddof=1)
        spread[windows.min(axis=1) == windows.max(axis=1)] = np.nan
        found[first + look_back : end] = (values[first + look_back : end] - windows.mean(axis=1)) / spread
    return found


def _streaks(values: Floats, symbols: Any) -> npt.NDArray[np.int64]:
    import numpy as np

    count = len(values)
    numbers = np.arange(count)
    is_first = np.concatenate([[True], symbols[1:] != symbols[:-1]])[:count]
    signs = np.where(is_first, 0, np.sign(np.diff(values, prepend=values[:1] if count else 0)))
    # A run begins where the direction changes; its rows are counted from there.
    begins = is_first | np.concatenate([[True], signs[1:] != signs[:-1]])[:count]
    begun = np.maximum.accumulate(np.where(begins, numbers, 0)) if count else numbers
    return ((numbers - begun + 1) * signs).astype(np.int64)


def _since_high(values: pd.Series[float], symbols: Any) -> npt.NDArray[np.int64]:
    import numpy as np

    numbers = np.arange(len(values))
    is_high = values.to_numpy() == values.groupby(symbols).cummax().to_numpy()
    latest = np.maximum.accumulate(np.where(is_high, numbers, 0)) if len(values) else numbers
    return (numbers - latest).astype(np.int64)


def _spread(values: Floats, known: Any) -> Floats:
    import numpy as np

    spread = np.full(len(known), np.nan)
    spread[known] = values
    return spread


def _spread_integers(values: npt.NDArray[np.int64], known: Any) -> Any:
    import numpy as np
    import pandas as pd

    spread = np.zeros(len(known), dtype=np.int64)
    spread[known] = values
    return pd.arrays.IntegerArray(spread, ~known)
