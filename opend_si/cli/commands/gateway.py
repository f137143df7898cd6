"""`gateway`: an OpenD in front of OpenD."""

from __future__ import annotations

import json
import warnings
from typing import TYPE_CHECKING, Any

import click

from opend_si.cli.options import EPILOG, FILE, Number, cache_option, max_age_option
from opend_si.cli.output import note
from opend_si.cli.serving import read_port, serve, websocket_options
from opend_si.errors import InvalidArgument, ShortInterestWarning
from opend_si.gateway import DEFAULT_MOST_CLIENTS, DEFAULT_PATIENCE
from opend_si.gateway import DEFAULT_PORT as DEFAULT_GATEWAY_PORT
from opend_si.settings import DEFAULT_PORT, Settings

if TYPE_CHECKING:
    from opend_si.gateway.server import Gateway

# Longest patience: what clients are told to wait is theirs to set, up to this.
_LONGEST_PATIENCE = 600


@click.command(epilog=EPILOG, short_help="Run an OpenD in front of OpenD, for many clients in any language.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=DEFAULT_GATEWAY_PORT,
    show_default=True,
    help="Port to listen on; 0 takes a free one.",
)
@click.option("--opend", metavar="HOST:PORT", help=f"OpenD (OPEND_HOST and OPEND_PORT, else 127.0.0.1:{DEFAULT_PORT}).")
@click.option("--rsa-key", **FILE, help="RSA private key file that OpenD has, too (OPEND_RSA_KEY).")
@click.option("--offline", is_flag=True, help="Answer from what is recorded; never ask OpenD.")
@max_age_option
@cache_option
@click.option(
    "--patience",
    type=Number(0.1, _LONGEST_PATIENCE),
    default=DEFAULT_PATIENCE,
    show_default=True,
    help="Seconds until a client that waits for a page is refused.",
)
@click.option(
    "--max-clients", type=click.IntRange(1), default=DEFAULT_MOST_CLIENTS, show_default=True, help="Clients at a time."
)
@click.option("--pass-trade", is_flag=True, help="Pass trade protocols: from this machine, else only if encrypted.")
@websocket_options
@click.option("--status", is_flag=True, help="Print the status of the gateway that listens at --host and --port.")
@click.option("--json", "as_json", is_flag=True, help="With --status: as JSON.")
def gateway(
    host: str,
    port: int,
    opend: str | None,
    rsa_key: str | None,
    offline: bool,
    max_age: Any,
    cache: str | None,
    patience: float,
    max_clients: int,
    pass_trade: bool,
    status: bool,
    as_json: bool,
    **websocket: Any,
) -> None:
    """Run an OpenD in front of OpenD: clients in any language get recorded pages, the rest passes through.

    Prints its address on stdout when it listens, on a second line that of the WebSocket port if there is one, and runs
    until it is interrupted or terminated.
    """
    from opend_si.gateway.server import Gateway

    given = {"rsa_key": rsa_key, "cache": cache, "max_age": max_age}
    named = {name: value for name, value in given.items() if value is not None}
    if status:
        _print_status(Settings.resolve(host=host, port=port, **named), as_json)
        return
    settings = Settings.resolve(**_address(opend), mode="offline" if offline else "online", **named)
    if (settings.host, settings.port) == (host, port):
        raise InvalidArgument(f"--port and --opend both are {settings.address}: name another port for the gateway")
    opened = read_port(**websocket)
    server = Gateway(
        settings,
        host=host,
        port=port,
        patience=patience,
        most_clients=max_clients,
        pass_trade=pass_trade,
        log=note,
    )
    if opened is not None:
        server.add_websocket(opened.number, key=opened.key, tls=opened.tls, rsa_key=settings.rsa_key)
    # With OpenD away every page would say so, at every answer; the gateway says it once.
    warnings.filterwarnings("ignore", ".* is answered from the record of", ShortInterestWarning)
    _run(server, settings)


def _print_status(settings: Settings, as_json: bool) -> None:
    from opend_si.client.doctor import gateway_status, status_line

    found = gateway_status(settings)
    click.echo(json.dumps(found, indent=2) if as_json else status_line(found))


def _address(text: str | None) -> dict[str, Any]:
    """`HOST:PORT` as settings take it."""
    if text is None:
        return {}
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isascii() or not port.isdigit():
        raise InvalidArgument(f"--opend is {text!r}: it takes the address of OpenD, such as 127.0.0.1:{DEFAULT_PORT}")
    return {"host": host.strip("[]"), "port": int(port)}


def _run(server: Gateway, settings: Settings) -> None:
    def started() -> None:
        click.echo(server.address)
        if server.websocket is not None:
            click.echo(server.websocket.address)
        behind = "OpenD is never asked (--offline)" if settings.mode == "offline" else f"OpenD at {settings.address}"
        note(f"Gateway in front of: {behind}. Record: {settings.cache}")
        trade = "pass for clients of this machine, and for others if encrypted" if server.pass_trade else "are refused"
        note(f"Pages come from the record; trade protocols {trade}; everything else passes.")
        if not server.is_loopback:
            note(
                f"Other machines can connect to {server.host}: who can reach this port gets what OpenD's account may see."
            )
        note("Stop it: Ctrl-C.")

    serve(server.serve, started, server.address)
