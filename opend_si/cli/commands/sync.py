"""`sync`: many symbols, with progress that can be watched."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from typing import Any

import click

from opend_si.cli import exits
from opend_si.cli.options import (
    EPILOG,
    Brand,
    cache_options,
    form_options,
    from_option,
    kind_option,
    named_codes,
    opend_options,
)
from opend_si.cli.output import WaitNotice, is_terminal, note, print_json, print_rows
from opend_si.cli.tables import Rows
from opend_si.client.sync import Bar, SymbolReport, SyncReport, counted, is_gone, is_said_elsewhere, line_of
from opend_si.errors import InvalidArgument
from opend_si.errors.texts import one_line
from opend_si.pages import PageKey
from opend_si.pages.named import call_of

_FIELDS = ("symbol", "rows", "new_rows", "revised_rows", "requests", "error")


@click.command(epilog=EPILOG, short_help="Bring many histories up to date.")
@click.argument("codes", nargs=-1)
@from_option
@kind_option
@form_options("Print the report of each symbol as JSON.", "Print the report of each symbol as CSV.")
@click.option("--quiet", "-q", is_flag=True, help="Say only what went wrong.")
@cache_options
@opend_options
@click.pass_obj
def sync(
    brand: Brand, /, codes: tuple[str, ...], file: str | None, kind: str, form: str | None, quiet: bool, **settings: Any
) -> None:
    """Bring the recorded histories of CODES up to date, one after the other.

    What is recorded stays: after an interrupt a second sync goes on where the first ended. One symbol that fails does
    not stop the rest; an OpenD that cannot be reached does.
    """
    wanted = named_codes(codes, file)
    _note_wrong(wanted, kind)
    watch = _watch(len(wanted), quiet)
    current = 0

    def advance(report: SymbolReport, done: int, total: int) -> None:
        nonlocal current
        current += report.error is None
        watch.advance(report, done, total)

    try:
        with watch.shown, brand.client(settings, watch.waiting) as client:
            report = client.sync(wanted, advance, kind=kind)
    except KeyboardInterrupt:
        note(f"interrupted: {current:,} of {counted(len(wanted), 'symbol')} done; run it again to go on")
        raise click.exceptions.Exit(exits.INTERRUPTED) from None
    _print(report, form, quiet)
    if (code := _left_with(report, brand.command)) != exits.OK:
        raise click.exceptions.Exit(code)


def _left_with(report: SyncReport, command: str) -> int:
    """The exit code; says why, where that was not said symbol by symbol."""
    gone = [entry.error for entry in report if entry.error is not None and is_gone(entry)]
    if gone:
        note(
            f"{command}: {gone[0]} {len(gone):,} of {counted(len(report), 'symbol')} could not be brought up to date. "
            f"`{command} doctor` checks the way to OpenD step by step."
        )
        return exits.exit_code(gone[0])
    return exits.OK if report.ok else exits.INCOMPLETE


def _note_wrong(codes: list[str], kind: str) -> None:
    """Say what is no symbol, before the first request: a sync may take hours."""
    for code in codes:
        try:
            PageKey.check(call_of(kind), code)
        except InvalidArgument as error:
            note(f"{one_line(code)}: {error}")


def _watch(total: int, quiet: bool) -> _Lines | Bar:
    if not quiet and is_terminal(sys.stderr):
        return Bar(total)
    return _Lines(quiet)


class _Lines:
    """Progress as plain lines: for files, pipes and logs."""

    shown = nullcontext()

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet
        self.waiting = (lambda _: None) if quiet else WaitNotice()

    def advance(self, report: SymbolReport, done: int, total: int) -> None:
        if not is_said_elsewhere(report) and not (self._quiet and report.error is None):
            note(f"{done}/{total} {line_of(report)}")


def _print(report: SyncReport, form: str | None, quiet: bool) -> None:
    rows = [{name: getattr(entry, name) for name in _FIELDS} for entry in report]
    for row in rows:
        row["error"] = None if row["error"] is None else str(row["error"])
    if form == "json":
        print_json(rows)
    elif form == "csv":
        print_rows(Rows(list(_FIELDS), [[row[name] for row in rows] for name in _FIELDS]), "csv", "")
    elif not quiet:
        click.echo(str(report))
        fresh = sum(entry.error is None and not entry.requests for entry in report)
        if fresh:
            note(
                f"{counted(fresh, 'symbol')} of these {'was' if fresh == 1 else 'were'} not asked for, as the record is fresh: --max-age 0 asks now"
            )
