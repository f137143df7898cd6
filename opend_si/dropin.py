"""The surface that the broker documents: `(ret, us_df, hk_df)` instead of exceptions."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, TypeAlias

from opend_si.errors import InvalidArgument, ShortInterestError
from opend_si.pages import Page

if TYPE_CHECKING:
    import pandas as pd

#: The page came.
RET_OK: Literal[0] = 0
#: It did not: the text says why.
RET_ERROR: Literal[-1] = -1

Answer: TypeAlias = "tuple[Literal[0], pd.DataFrame, pd.DataFrame] | tuple[Literal[-1], str, None]"


def answer(fetch: Callable[[], Page]) -> Answer:
    """Fetch a page; what would be an exception of this package comes back as `(RET_ERROR, text, None)`."""
    try:
        page = fetch()
    except ShortInterestError as error:
        return RET_ERROR, str(error), None
    return RET_OK, page.us, page.hk


def one_code(code: object, stock_code: object) -> object:
    """The symbol, under whichever of its two documented names it was passed."""
    if code is not None and stock_code is not None:
        raise InvalidArgument("code and stock_code are two names of one argument: pass one of them")
    return stock_code if code is None else code
