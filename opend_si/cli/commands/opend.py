"""`doctor`, `simulate`, `demo`: the OpenD that is asked, and one that is made up."""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click

from opend_si.cli import exits
from opend_si.cli.options import EPILOG, FILE, Brand, Number, opend_options
from opend_si.cli.output import note, print_json, print_page
from opend_si.cli.serving import read_port, serve, websocket_options
from opend_si.client.sync import counted
from opend_si.errors.texts import one_line
from opend_si.settings import DEFAULT_PORT, parse_rate
from opend_si_schema.calls import SHORT_INTEREST


@click.command(epilog=EPILOG, short_help="Check the way to OpenD.")
@opend_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON: a list of steps.")
@click.pass_obj
def doctor(brand: Brand, /, as_json: bool, **opend: Any) -> None:
    """Check the way to OpenD step by step: there, new enough, logged in."""
    from opend_si.client.doctor import examine
    from opend_si.settings import Settings

    code = exits.OK
    settings = Settings.resolve(**{name: value for name, value in opend.items() if value is not None})
    steps = []
    for finding in examine(settings, SHORT_INTEREST):
        steps.append({"ok": finding.ok, "text": one_line(finding.text), "advice": one_line(finding.advice)})
        if not as_json:
            click.echo(f"{'ok  ' if finding.ok else 'FAIL'}  {steps[-1]['text']}")
        if not finding.ok:
            if not as_json:
                click.echo(f"      {steps[-1]['advice']}")
            code = exits.exit_code(finding.error) if finding.error else exits.REFUSED
    if as_json:
        print_json(steps)
    elif code == exits.OK:
        click.echo(f"      Try: {brand.command} get {SHORT_INTEREST.tables[0].market.example}")
    raise click.exceptions.Exit(code)


@click.command(epilog=EPILOG, short_help="Run an OpenD stand-in.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=DEFAULT_PORT,
    show_default=True,
    help="Port to listen on; 0 takes a free one.",
)
@click.option("--rate", default="30/30", show_default=True, help="Limit, requests/seconds, or off.")
@click.option(
    "--cursor",
    type=click.Choice(["timestamp", "offset"]),
    default="timestamp",
    show_default=True,
    help="What a next_key is.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Which synthetic market.")
@click.option("--latency", type=Number(0, 3600), default=0.0, show_default=True, help="Seconds before each reply.")
@click.option("--rsa-key", **FILE, help="RSA private key file: only encrypted clients are let in.")
@click.option("--chaos", type=int, metavar="SEED", help="Spoil half of the replies, in every way there is.")
@websocket_options
def simulate(
    host: str,
    port: int,
    rate: str,
    cursor: Any,
    seed: int,
    latency: float,
    rsa_key: str | None,
    chaos: int | None,
    **websocket: Any,
) -> None:
    """Run an OpenD stand-in: the real wire, made-up data (but for the broker's ten HK.00700 rows).

    Prints its address on stdout when it listens, on a second line that of the WebSocket port if there is one, and runs
    until it is interrupted or terminated. The record knows its rows as made up: they never answer for an OpenD.
    """
    from opend_si.simulator import Simulator, Universe

    opened = read_port(**websocket)
    simulator = Simulator(
        Universe(seed),
        host=host,
        port=port,
        rate=parse_rate("--rate", rate),
        cursor=cursor,
        latency=latency,
        rsa_key=rsa_key,
    )
    if opened is not None:
        rsa = None if rsa_key is None else Path(rsa_key)
        simulator.add_websocket(opened.number, key=opened.key, tls=opened.tls, rsa_key=rsa, log=note)
    if chaos is not None:
        from opend_si.simulator.chaos import Chaos

        simulator.faults = Chaos(chaos)

    def started() -> None:
        click.echo(simulator.address)
        if simulator.websocket is not None:
            click.echo(simulator.websocket.address)
        note(
            f"Simulator with {counted(len(simulator.universe.symbols), 'symbol')}: {', '.join(simulator.universe.symbols)}"
        )
        note(
            "Its rows are made up: record them apart from OpenD's, with OPEND_SI_HOME=<some folder> in front of the commands "
            "that ask it."
        )
        key = f" OPEND_RSA_KEY={rsa_key}" if rsa_key else ""
        note(f"Use it: OPEND_PORT={simulator.port}{key}. Stop it: Ctrl-C.")

    serve(simulator.serve, started, simulator.address)


@click.command(epilog=EPILOG, short_help="Fetch documented rows from a simulator.")
@click.pass_obj
def demo(brand: Brand) -> None:
    """Fetch the broker's documented HK.00700 rows from a simulator started for it, and say what happened."""
    from opend_si.simulator import Simulator

    with Simulator(rate=SHORT_INTEREST.rate) as simulator, TemporaryDirectory() as folder:
        os.environ["OPEND_SI_HOME"] = folder  # nothing of a demonstration stays
        at = {"host": simulator.host, "port": simulator.port, "cache": Path(folder, "pages.sqlite3")}
        with brand.client({**at, "mode": "online"}) as client:
            page = client.get_page("HK.00700")
        with brand.client({**at, "mode": "offline"}) as client:
            again = client.get_page("HK.00700")
        print_page(again, "table")
        for line in (
            f"1. An OpenD simulator was started at {simulator.host}:{simulator.port}; it speaks OpenD's real wire.",
            f"2. `from {brand.package} import Client` opened a connection (InitConnect) and asked protocol "
            f"{SHORT_INTEREST.proto_id} for {counted(simulator.requests[-1].num, 'row')} of {page.symbol} in one request; "
            f"the table above shows the newest {len(page)}, those that the broker documents.",
            f"3. The reply was recorded; the table was answered from the record, offline (source: {again.source}).",
            f"4. OpenD counted {counted(len(simulator.requests), 'request')} of the {SHORT_INTEREST.rate.requests} it takes in "
            f"{SHORT_INTEREST.rate.seconds:g} seconds; next_key {page.next} leads to the rows before these.",
            f"5. With your own OpenD running and logged in: {brand.command} get HK.00700",
        ):
            note(line)
