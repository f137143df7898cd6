"""The surface that the broker documents: `(ret, us_df, hk_df)` instead of exceptions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from opend_si.errors import InvalidArgument, ShortInterestError
from opend_si_schema.definitions import Call

if TYPE_CHECKING:
    import pandas as pd

    from opend_si.client.blocking import BlockingClient

#: The page came.
RET_OK: Literal[0] = 0
#: It did not: the text says why.
RET_ERROR: Literal[-1] = -1

# An error is a text and None. It is typed Any, since no type checker ties `hk_df` to `ret` once the tuple is unpacked:
# the broker's sample, `ret, us_df, hk_df = …`, `if ret == RET_OK: hk_df["close_price"]`, would be an error of types.
Answer: TypeAlias = "tuple[Literal[0], pd.DataFrame, pd.DataFrame] | tuple[Literal[-1], Any, Any]"


def answer(
    client: BlockingClient, call: Call, code: object, stock_code: object, next_key: object, num: object
) -> Answer:
    """One page of a call; an error of this package comes back as `(RET_ERROR, text, None)`.

    `code` and `stock_code` are the two documented names of one argument.
    """
    try:
        if code is not None and stock_code is not None:
            raise InvalidArgument("code and stock_code are two names of one argument: pass one of them")
        page = client._page(call, stock_code if code is None else code, next_key, num)
        return RET_OK, page.us, page.hk
    except ShortInterestError as error:
        return RET_ERROR, str(error), None
    except (OSError, ImportError) as error:
        # The first frame imports pandas, which takes open files.
        reason = getattr(error, "strerror", None) or error
        return RET_ERROR, f"The answer could not be made ({reason}). See how many files this process has open.", None
