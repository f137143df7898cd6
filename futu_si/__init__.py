# Rendered by codegen from templates/brand/__init__.py.j2. Do not edit: change the template, then run "python -m codegen".
"""Short interest from Futu's OpenD: the documented call, and a client that reports errors as exceptions.

The broker's documented surface, usable as a drop-in::

    from futu_si import *

    quote_ctx = OpenQuoteContext(host='127.0.0.1', port=11111)
    ret, us_df, hk_df = quote_ctx.get_short_interest("HK.00700")

The same page with exceptions, records and JSON, and the whole history::

    from futu_si import Client

    with Client() as client:
        page = client.get_page("HK.00700", num=50)
        frame = client.history("HK.00700", start="2020-01-01")

Importing this package loads no pandas, writes nothing and starts nothing.
"""

from typing import TYPE_CHECKING

from futu_si._client import (
    Client,
    arrow_table,
    changes_since,
    configure,
    export,
    history,
    panel,
    plot,
    revisions,
    screen,
    status,
    sync,
)
from futu_si._quote import (
    OpenQuoteContext,
    get_daily_short_volume,
    get_short_interest,
)
from opend_si import __version__
from opend_si.client.dropin import RET_ERROR, RET_OK
from opend_si.client.status import Status
from opend_si.client.sync import SymbolReport, SyncReport
from opend_si.errors import (
    CacheBusy,
    CacheCorrupt,
    CacheError,
    CacheMiss,
    CacheVersionMismatch,
    ConnectionFailed,
    InvalidArgument,
    MissingExtra,
    NotPermitted,
    OpenDError,
    ProtocolError,
    RateLimited,
    RequestTimeout,
    ShortInterestError,
    ShortInterestWarning,
    UnknownSymbol,
    Unsupported,
)
from opend_si.pages import Page
from opend_si.research.changes import with_changes
from opend_si_schema.records import (
    HkDailyShortVolume,
    HkShortInterest,
    UsDailyShortVolume,
    UsShortInterest,
)

if TYPE_CHECKING:
    from futu_si._aio import AsyncClient

# The names that the broker documents: what `from futu_si import *` brings. A script may do that beside the star of
# the published client, so no other name of it is replaced.
__all__ = [
    "RET_ERROR",
    "RET_OK",
    "OpenQuoteContext",
    "get_daily_short_volume",
    "get_short_interest",
]
# The other public names.
_OTHERS = [
    "CacheBusy",
    "CacheCorrupt",
    "CacheError",
    "CacheMiss",
    "CacheVersionMismatch",
    "AsyncClient",
    "Client",
    "ConnectionFailed",
    "InvalidArgument",
    "MissingExtra",
    "NotPermitted",
    "OpenDError",
    "Page",
    "ProtocolError",
    "RateLimited",
    "RequestTimeout",
    "ShortInterestError",
    "ShortInterestWarning",
    "Status",
    "SymbolReport",
    "SyncReport",
    "UnknownSymbol",
    "Unsupported",
    "__version__",
    "arrow_table",
    "changes_since",
    "configure",
    "export",
    "history",
    "panel",
    "plot",
    "revisions",
    "screen",
    "status",
    "sync",
    "with_changes",
    "UsShortInterest",
    "HkShortInterest",
    "UsDailyShortVolume",
    "HkDailyShortVolume",
]
if TYPE_CHECKING:  # what a type checker lets be imported
    __all__ += [
        "AsyncClient",
        "CacheBusy",
        "CacheCorrupt",
        "CacheError",
        "CacheMiss",
        "CacheVersionMismatch",
        "Client",
        "ConnectionFailed",
        "HkDailyShortVolume",
        "HkShortInterest",
        "InvalidArgument",
        "MissingExtra",
        "NotPermitted",
        "OpenDError",
        "Page",
        "ProtocolError",
        "RateLimited",
        "RequestTimeout",
        "ShortInterestError",
        "ShortInterestWarning",
        "Status",
        "SymbolReport",
        "SyncReport",
        "UnknownSymbol",
        "Unsupported",
        "UsDailyShortVolume",
        "UsShortInterest",
        "__version__",
        "arrow_table",
        "changes_since",
        "configure",
        "export",
        "history",
        "panel",
        "plot",
        "revisions",
        "screen",
        "status",
        "sync",
        "with_changes",
    ]


def __dir__() -> list[str]:
    """With `AsyncClient`, which is not here before it is asked for."""
    return sorted({*globals(), *_OTHERS})


def __getattr__(name: str) -> object:
    """`AsyncClient` when it is asked for: it imports asyncio."""
    if name == "AsyncClient":
        from futu_si._aio import AsyncClient

        return AsyncClient
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
