"""`mcp`: the record and the one budget for a language model, as tools over the Model Context Protocol.

It needs the extra `mcp`.

An answer is text: lines that begin with `#` say what the rows are, in which units, from where, and how many were left
out; CSV follows. An error of this package reaches the model with its text, which says what to do.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, ParamSpec

import click

from opend_si import __version__
from opend_si.cli.options import EPILOG, Brand, cache_options, opend_options
from opend_si.cli.output import WaitNotice
from opend_si.cli.stdio import end_with_sigterm, serve_stdio
from opend_si.client.sync import counted
from opend_si.dates.calendars import published_by_days
from opend_si.errors import InvalidArgument, MissingExtra, ShortInterestError
from opend_si.pages import OPEND, SIMULATOR, PageKey
from opend_si.pages.named import call_of
from opend_si_schema.calls import SHORT_INTEREST, Kind
from opend_si_schema.definitions import Call, Table

if TYPE_CHECKING:
    import pandas as pd

_P = ParamSpec("_P")
# The most rows of an answer: models read slowly, and pay for each.
_MOST_ROWS = 200
# Columns that say what others say.
_LEFT_OUT = ("timestamp", "timestamp_str")
_RULE = (
    "published_by is the day, in the market's time zone, by whose end the row was public by the exchange's rule; "
    "before it nobody knew the row"
)
_INSTRUCTIONS = (
    "Short interest of Hong Kong and US securities, from the user's OpenD and from what was recorded of it. Symbols "
    f"are written HK.00700 and US.AAPL. A row's date is the day it speaks of; {_RULE}. OpenD takes 30 requests in 30 "
    "seconds: a call that needs more waits. All that is recorded is answered without a request."
)
# What was warned of while a tool was at work; each call has its own.
_warned: ContextVar[list[str]] = ContextVar("_warned")


@click.command(epilog=EPILOG, short_help="Serve a language model (Model Context Protocol).")
@cache_options
@opend_options
@click.pass_obj
def mcp(brand: Brand, /, **settings: Any) -> None:
    """Serve the tools history, changes, screen and status to a language model on stdin and stdout. Needs the extra mcp.

    Programs such as Claude start this command themselves: name it in their configuration. It ends when its stdin does,
    and with Ctrl-C or SIGTERM; calls that are under way end with it.
    """
    end_with_sigterm()
    try:
        from mcp.server import MCPServer
        from mcp_types import ToolAnnotations
    except ImportError as error:
        raise MissingExtra(
            f"`{brand.command} mcp` needs the package mcp ({error}): pip install 'opend-short-interest[mcp]'"
        ) from None
    warnings.showwarning = lambda message, *_args, **_more: _warned.get([]).append(str(message))
    server = MCPServer("short-interest", version=__version__, instructions=_INSTRUCTIONS, log_level="WARNING")
    client = brand.asyncio_client(settings, WaitNotice())
    tools = Tools(client)
    for tool, asks in ((tools.history, True), (tools.changes, False), (tools.screen, False), (tools.status, True)):
        hints = ToolAnnotations(read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=asks)
        server.tool(annotations=hints, structured_output=False)(_answering(tool))

    async def serve() -> None:
        async with client:
            await server.run_stdio_async()

    serve_stdio(serve)


def _answering(tool: Callable[_P, Awaitable[str]]) -> Callable[_P, Awaitable[str]]:
    """The tool; its errors are answers that the model can read, and its warnings a part of them."""
    from mcp.server.mcpserver.exceptions import ToolError

    @functools.wraps(tool)
    async def answer(*arguments: _P.args, **named: _P.kwargs) -> str:
        warned: list[str] = []
        _warned.set(warned)
        try:
            text = await tool(*arguments, **named)
        except ShortInterestError as error:
            raise ToolError("\n".join([str(error), *warned])) from None
        return "".join(f"# note: {note}\n" for note in warned) + text

    return answer


class Tools:
    """What a model can ask for. The docstrings are written for it."""

    def __init__(self, client: Any) -> None:
        self._client = client

    async def history(
        self,
        code: str,
        start: str | None = None,
        end: str | None = None,
        as_of: str | None = None,
        rows: int = 20,
        kind: Kind = "short_interest",
    ) -> str:
        """The history of a symbol, oldest row first: the newest `rows` of it.

        Args:
            code: A symbol such as HK.00700 or US.AAPL.
            start: First day, such as 2026-01-31.
            end: Last day.
            as_of: Answer from what had been recorded here by this moment.
            rows: How many rows, at most 200; the newest ones are given.
            kind: short_interest, or daily_short_volume.

        """
        rows = _check_rows(rows)
        call = call_of(kind)
        frame = await self._client.history(code, start, end, as_of, kind=kind)
        key = PageKey.check(call, code)
        shown = _with_publication(frame.reset_index().tail(rows), key.table)
        return _written(shown, call, key.table, f"{key}, oldest first", len(frame), "older")

    async def changes(
        self, since: str, codes: list[str] | None = None, rows: int = 50, kind: Kind = "short_interest"
    ) -> str:
        """What is new in the record since a moment, and what was revised. Nothing is fetched.

        Args:
            since: A day such as 2026-04-30, a moment, or how long ago, such as 36h or 7d.
            codes: Only these symbols.
            rows: How many changes, at most 200.
            kind: short_interest, or daily_short_volume.

        """
        rows = _check_rows(rows)
        call = call_of(kind)
        frame = await self._client.changes_since(since, codes, kind=kind)
        title = f"{call.title}: what is new or was revised since {since}, by symbol"
        return _written(frame.head(rows), call, None, title, len(frame), "further")

    async def screen(self, market: str | None = None, by: str = "change_percent", top: int = 20) -> str:
        """The latest row of each recorded symbol of a market, highest first. Nothing is fetched.

        Args:
            market: HK or US. It can be left out where only one is recorded.
            by: The column to rank by: change_percent, change, or a column of the history.
            top: How many rows, at most 200.

        """
        call = SHORT_INTEREST
        frame = await self._client.screen(market, by, _check_rows(top))
        table = call.table_of(frame.attrs["market"])
        shown = _with_publication(frame, table)
        return _written(shown, call, table, f"{call.title} of {table.market.prefix} by {by}, highest first", None, "")

    async def status(self) -> str:
        """Whether OpenD answers, how many requests are left, and of how many symbols something is recorded."""
        status = await self._client.status()
        lines = {
            "OpenD": f"{status.address}, {'connected' if status.is_connected else 'not connected'}",
            "mode": status.mode,
            "recorded symbols": status.symbols,
            "requests left": "not known" if status.requests_left is None else status.requests_left,
            "seconds until the next request": "not known" if status.wait is None else f"{status.wait:.0f}",
        }
        if status.error is not None:
            lines["error"] = str(status.error)
        return "".join(f"{name}: {value}\n" for name, value in lines.items())


def _check_rows(rows: int) -> int:
    if not 1 <= rows <= _MOST_ROWS:
        raise InvalidArgument(
            f"rows is {rows}: it takes 1 to {_MOST_ROWS}; for more, narrow the question and ask again"
        )
    return rows


def _with_publication(frame: pd.DataFrame, table: Table) -> pd.DataFrame:
    """The rows with the day by whose end each was public."""
    if "published_by" in frame:
        return frame
    return frame.assign(published_by=published_by_days(table, frame["date"].to_numpy()))


def _written(
    frame: pd.DataFrame, call: Call, table: Table | None, title: str, all_rows: int | None, others: str
) -> str:
    """What the rows are, and the rows as CSV."""
    left_out = 0 if all_rows is None else all_rows - len(frame)
    count = counted(len(frame), "row") + (f"; {left_out:,} {others} left out" if left_out else "")
    origin = str(frame.attrs.get("origin", OPEND))
    whose = "OpenD" if SIMULATOR not in origin else origin
    head = [f"{title}: {count}", f"source: {whose}, get_{call.name} (protocol {call.proto_id})", _RULE]
    if SIMULATOR in origin:
        head.insert(2, f"origin: {origin}; rows of a simulator are made up: they are no market data")
    if table is not None:
        units = [f"{column.name} {column.unit}" for column in table.columns if column.name in frame and column.unit]
        head.insert(1, "units: " + ", ".join(unit for unit in units if not unit.startswith(_LEFT_OUT)))
    shown = frame.drop(columns=[name for name in _LEFT_OUT if name in frame])
    for name in shown.columns:
        if shown[name].dtype.kind == "M":
            has_zone = getattr(shown[name].dtype, "tz", None) is not None
            shown[name] = shown[name].dt.strftime("%Y-%m-%dT%H:%M:%SZ" if has_zone else "%Y-%m-%d")
    return "".join(f"# {line}\n" for line in head) + shown.to_csv(index=False, lineterminator="\n")
