# Rendered by codegen from templates/brand/__init__.py.j2. Do not edit: change the template, then run "python -m codegen".
"""Short interest from moomoo's OpenD: the documented call, and a client that reports errors as exceptions.

The broker's documented surface, usable as a drop-in::

    from moomoo_si import *

    quote_ctx = OpenQuoteContext(host='127.0.0.1', port=11111)
    ret, us_df, hk_df = quote_ctx.get_short_interest("HK.00700")

The same page with exceptions, records and JSON, and the whole history::

    from moomoo_si import Client

    with Client() as client:
        page = client.get_page("HK.00700", num=50)
        frame = client.history("HK.00700", start="2020-01-01")

Importing this package costs next to nothing: each name is loaded when it is first used. It writes nothing and starts nothing.
"""

from importlib import import_module

from opend_si import __version__

TYPE_CHECKING = False  # checkers take it for true by its name; typing itself takes longer to load than all of this

if TYPE_CHECKING:
    from moomoo_si._aio import AsyncClient as AsyncClient
    from moomoo_si._client import (
        Client,
        arrow_table,
        changes_since,
        check,
        configure,
        export,
        history,
        panel,
        plot,
        revisions,
        screen,
        status,
        sync,
        verify,
    )
    from moomoo_si._quote import OpenQuoteContext, get_daily_short_volume, get_short_interest
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
    from opend_si.research.features import rank, with_history
    from opend_si_schema.records import HkDailyShortVolume, HkShortInterest, UsDailyShortVolume, UsShortInterest

# Not AsyncClient: who takes all names with a star does not pay for asyncio.
__all__ = [
    "RET_ERROR",
    "RET_OK",
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
    "OpenQuoteContext",
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
    "check",
    "configure",
    "export",
    "get_daily_short_volume",
    "get_short_interest",
    "history",
    "panel",
    "plot",
    "rank",
    "revisions",
    "screen",
    "status",
    "sync",
    "verify",
    "with_changes",
    "with_history",
]

# Where each name is.
_HOMES = {
    "AsyncClient": "moomoo_si._aio",
    "Client": "moomoo_si._client",
    "arrow_table": "moomoo_si._client",
    "changes_since": "moomoo_si._client",
    "check": "moomoo_si._client",
    "configure": "moomoo_si._client",
    "export": "moomoo_si._client",
    "history": "moomoo_si._client",
    "panel": "moomoo_si._client",
    "plot": "moomoo_si._client",
    "revisions": "moomoo_si._client",
    "screen": "moomoo_si._client",
    "status": "moomoo_si._client",
    "sync": "moomoo_si._client",
    "verify": "moomoo_si._client",
    "OpenQuoteContext": "moomoo_si._quote",
    "get_short_interest": "moomoo_si._quote",
    "get_daily_short_volume": "moomoo_si._quote",
    "RET_ERROR": "opend_si.client.dropin",
    "RET_OK": "opend_si.client.dropin",
    "Status": "opend_si.client.status",
    "SymbolReport": "opend_si.client.sync",
    "SyncReport": "opend_si.client.sync",
    "CacheBusy": "opend_si.errors",
    "CacheCorrupt": "opend_si.errors",
    "CacheError": "opend_si.errors",
    "CacheMiss": "opend_si.errors",
    "CacheVersionMismatch": "opend_si.errors",
    "ConnectionFailed": "opend_si.errors",
    "InvalidArgument": "opend_si.errors",
    "MissingExtra": "opend_si.errors",
    "NotPermitted": "opend_si.errors",
    "OpenDError": "opend_si.errors",
    "ProtocolError": "opend_si.errors",
    "RateLimited": "opend_si.errors",
    "RequestTimeout": "opend_si.errors",
    "ShortInterestError": "opend_si.errors",
    "ShortInterestWarning": "opend_si.errors",
    "UnknownSymbol": "opend_si.errors",
    "Unsupported": "opend_si.errors",
    "Page": "opend_si.pages",
    "with_changes": "opend_si.research.changes",
    "rank": "opend_si.research.features",
    "with_history": "opend_si.research.features",
    "UsShortInterest": "opend_si_schema.records",
    "HkShortInterest": "opend_si_schema.records",
    "UsDailyShortVolume": "opend_si_schema.records",
    "HkDailyShortVolume": "opend_si_schema.records",
}


def __dir__() -> list[str]:
    """With the names that were not asked for yet."""
    return sorted({*globals(), *_HOMES})


def __getattr__(name: str) -> object:
    """A name when it is first asked for."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(home), name)
    globals()[name] = value
    return value
