# Rendered by codegen from templates/schema/%proto.pyi.j2. Do not edit: change the template, then run "python -m codegen".
from enum import IntEnum

from google.protobuf.message import Message

class QotMarket(IntEnum):
    """Markets as OpenD numbers them."""

    # Not told.
    UNKNOWN = 0
    # Hong Kong.
    HK_SECURITY = 1
    # Hong Kong futures; superseded by HK_Security.
    HK_FUTURE = 2
    # United States.
    US_SECURITY = 11
    # Shanghai.
    CNSH_SECURITY = 21
    # Shenzhen.
    CNSZ_SECURITY = 22
    # Singapore.
    SG_SECURITY = 31
    # Japan.
    JP_SECURITY = 41
    # Australia.
    AU_SECURITY = 51
    # Malaysia.
    MY_SECURITY = 61
    # Canada.
    CA_SECURITY = 71
    # Foreign exchange.
    FX_SECURITY = 81
    # Crypto currencies.
    CC_SECURITY = 91

class Security(Message):
    """One security."""

    # Market number, see QotMarket.
    market: int
    # Code within the market, such as 00700 or AAPL.
    code: str
    def __init__(
        self,
        *,
        market: int | None = ...,
        code: str | None = ...,
    ) -> None: ...
