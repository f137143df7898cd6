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

from opend_si import __version__ as __version__

TYPE_CHECKING = False  # checkers take it for true by its name; typing itself takes longer to load than all of this

if TYPE_CHECKING:
    from moomoo_si._aio import AsyncClient as AsyncClient
    from moomoo_si._client import Client as Client
    from moomoo_si._client import arrow_table as arrow_table
    from moomoo_si._client import changes_since as changes_since
    from moomoo_si._client import check as check
    from moomoo_si._client import configure as configure
    from moomoo_si._client import delete as delete
    from moomoo_si._client import export as export
    from moomoo_si._client import history as history
    from moomoo_si._client import import_record as import_record
    from moomoo_si._client import panel as panel
    from moomoo_si._client import plot as plot
    from moomoo_si._client import recorded as recorded
    from moomoo_si._client import revisions as revisions
    from moomoo_si._client import screen as screen
    from moomoo_si._client import status as status
    from moomoo_si._client import sync as sync
    from moomoo_si._client import verify as verify
    from moomoo_si._quote import OpenQuoteContext as OpenQuoteContext
    from moomoo_si._quote import get_daily_short_volume as get_daily_short_volume
    from moomoo_si._quote import get_short_interest as get_short_interest
    from opend_si.client.doctor import Status as Status
    from opend_si.client.dropin import RET_ERROR as RET_ERROR
    from opend_si.client.dropin import RET_OK as RET_OK
    from opend_si.client.sync import SymbolReport as SymbolReport
    from opend_si.client.sync import SyncReport as SyncReport
    from opend_si.errors import CacheBusy as CacheBusy
    from opend_si.errors import CacheCorrupt as CacheCorrupt
    from opend_si.errors import CacheError as CacheError
    from opend_si.errors import CacheMiss as CacheMiss
    from opend_si.errors import CacheVersionMismatch as CacheVersionMismatch
    from opend_si.errors import ConnectionFailed as ConnectionFailed
    from opend_si.errors import InvalidArgument as InvalidArgument
    from opend_si.errors import MissingExtra as MissingExtra
    from opend_si.errors import NotPermitted as NotPermitted
    from opend_si.errors import OpenDError as OpenDError
    from opend_si.errors import ProtocolError as ProtocolError
    from opend_si.errors import RateLimited as RateLimited
    from opend_si.errors import RequestTimeout as RequestTimeout
    from opend_si.errors import ShortInterestError as ShortInterestError
    from opend_si.errors import ShortInterestWarning as ShortInterestWarning
    from opend_si.errors import UnknownSymbol as UnknownSymbol
    from opend_si.errors import Unsupported as Unsupported
    from opend_si.history.joining import ImportReport as ImportReport
    from opend_si.pages import Page as Page
    from opend_si.research.changes import with_changes as with_changes
    from opend_si.research.features import rank as rank
    from opend_si.research.features import with_history as with_history
    from opend_si_schema.records import HkDailyShortVolume as HkDailyShortVolume
    from opend_si_schema.records import HkShortInterest as HkShortInterest
    from opend_si_schema.records import UsDailyShortVolume as UsDailyShortVolume
    from opend_si_schema.records import UsShortInterest as UsShortInterest

# The names that the broker documents: what `from moomoo_si import *` brings. A script may do that beside the star of
# the published client, so no other name of it is replaced; and who does it does not pay for asyncio.
__all__ = [
    "RET_ERROR",
    "RET_OK",
    "OpenQuoteContext",
    "get_daily_short_volume",
    "get_short_interest",
]

# Where each name is.
_HOMES = {
    "AsyncClient": "moomoo_si._aio",
    "Client": "moomoo_si._client",
    "arrow_table": "moomoo_si._client",
    "changes_since": "moomoo_si._client",
    "check": "moomoo_si._client",
    "configure": "moomoo_si._client",
    "delete": "moomoo_si._client",
    "export": "moomoo_si._client",
    "history": "moomoo_si._client",
    "import_record": "moomoo_si._client",
    "panel": "moomoo_si._client",
    "plot": "moomoo_si._client",
    "recorded": "moomoo_si._client",
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
    "Status": "opend_si.client.doctor",
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
    "ImportReport": "opend_si.history.joining",
    "Page": "opend_si.pages",
    "with_changes": "opend_si.research.changes",
    "rank": "opend_si.research.features",
    "with_history": "opend_si.research.features",
    "UsShortInterest": "opend_si_schema.records",
    "HkShortInterest": "opend_si_schema.records",
    "UsDailyShortVolume": "opend_si_schema.records",
    "HkDailyShortVolume": "opend_si_schema.records",
}
# The public names that the star does not bring.
_OTHERS = ["__version__", *(name for name in _HOMES if name not in __all__)]


def __dir__() -> list[str]:
    """The public names, those that were not asked for yet among them, and Python's own."""
    return sorted({*(name for name in globals() if name.startswith("_")), *_HOMES})


def __getattr__(name: str) -> object:
    """A name when it is first asked for."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(home), name)
    globals()[name] = value
    return value
