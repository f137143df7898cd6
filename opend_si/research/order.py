"""What the functions over frames have in common: how a frame's rows are read, and when they are refused.

Nothing is filled, resampled or sorted: a frame whose rows are not in order is refused, for a value taken backwards or
from one symbol to the next would be a wrong number that looks right. pandas is imported when a frame is given.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from opend_si.errors import InvalidArgument
from opend_si_schema.calls import CALLS
from opend_si_schema.definitions import DATE, SYMBOL

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd

    Days = npt.NDArray[np.datetime64]
    Mask = npt.NDArray[np.bool_]


def read_order(frame: pd.DataFrame, who: str) -> tuple[npt.NDArray[np.int64], Days, Mask]:
    """Of each row: where the row above it is, its day, and whether the row above is the same symbol's."""
    import numpy as np
    import pandas as pd

    dates: Any
    if not frame.columns.is_unique:
        refuse(who, "it has a column twice")
    if {SYMBOL, DATE} <= set(frame.columns):
        dates, codes = frame[DATE], _symbol_codes(frame[SYMBOL], who)
    elif isinstance(frame.index, pd.DatetimeIndex) and SYMBOL not in frame.columns:
        dates, codes = frame.index, np.zeros(len(frame), dtype="int8")
    else:
        refuse(who, "this one is neither")
    if not isinstance(dates.dtype, np.dtype) or dates.dtype.kind != "M":
        refuse(who, f"its dates are {dates.dtype}, not datetime64")
    days = dates.to_numpy().astype("datetime64[D]")
    above = np.maximum(np.arange(len(frame)) - 1, 0)
    same_symbol = codes == codes[above]
    same_symbol[:1] = False  # nothing is above the first row
    if not (days > days[above])[same_symbol].all() or np.isnat(days).any():
        refuse(who, "the dates of a symbol must ascend, each day once")
    if np.count_nonzero(~same_symbol) != np.count_nonzero(np.bincount(codes)):
        refuse(who, "the rows of a symbol must stand together")
    return above, days, same_symbol


def _symbol_codes(symbols: pd.Series[Any], who: str) -> npt.NDArray[Any]:
    """A number for each symbol."""
    import pandas as pd

    is_categorical = isinstance(symbols.dtype, pd.CategoricalDtype)
    codes = symbols.cat.codes.to_numpy() if is_categorical else pd.factorize(symbols)[0]
    if (codes < 0).any():
        refuse(who, "it has a row without a symbol")
    return codes


def position_of(frame: pd.DataFrame, who: str) -> str:
    """The column that counts what is short."""
    columns = sorted({table.short for call in CALLS for table in call.tables if table.short})
    found = [name for name in columns if name in frame.columns]
    if len(found) != 1:
        refuse(
            who,
            f"it must have one of the columns {', '.join(columns)}: of one market, and of a kind that counts what is short",
        )
    return found[0]


def refuse(who: str, found: str) -> NoReturn:
    """Raise for a frame that the function `who` cannot take."""
    raise InvalidArgument(
        f"{who} takes a frame of history (indexed by date) or of panel (with the columns symbol and date): {found}"
    )
