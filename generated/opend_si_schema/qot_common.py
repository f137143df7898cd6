# Rendered by codegen from templates/schema/%proto.py.j2. Do not edit: change the template, then run "python -m codegen".
"""What the quote interfaces share: markets and the name of a security. Written out from the documented interface:
https://openapi.futunn.com/futu-api-doc/en/

Classes of `Qot_Common.proto`; the stub beside this module has their fields.
"""

from enum import IntEnum

from opend_si_schema._pool import message_class


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


Security = message_class("Qot_Common.Security")
