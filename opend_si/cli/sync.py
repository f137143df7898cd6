"""`sync`: many symbols, with progress that can be watched."""

from __future__ import annotations

import json
import sys
from contextlib import nullcontext
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from opend_si.cli import exits
from opend_si.cli.options import EPILOG, Brand, cache_options, form_options, kind_option, opend_options
from opend_si.cli.output import WaitNotice, note, note_doctor, print_csv, said
from opend_si.client.sync import SymbolReport, SyncReport, counted
from opend_si.errors import InvalidArgument

_FIELDS = ("symbol", "rows", "new_rows", "revised_rows", "requests", "error")


@click.command(epilog=EPILOG, short_help="Bring many histories up to date.")
@click.argument("codes", nargs=-1)
@click.option("--from", "file", type=click.Path(allow_dash=True), help="File with one symbol a line; - for stdin.")
@kind_option
@form_options("Print the report of each symbol as JSON.", "Print the report of each symbol as CSV.")
@cache_options
@opend_options
@click.pass_obj
def sync(
    brand: Brand, /, codes: tuple[str, ...], file: str | None, kind: str, form: str | None, **settings: Any
) -> None:
    """Bring the recorded histories of CODES up to date, one after the other.

    What is recorded stays: after an interrupt a second sync goes on where the first ended. One symbol that fails does not
    stop the rest.
    """
    wanted = list(dict.fromkeys([*codes, *(() if file is None else _read(file))]))
    if not wanted:
        raise click.UsageError("name symbols, or a file of them with --from")
    watch = _Bar(len(wanted)) if sys.stderr.isatty() else _Lines()
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
    _print(report, form)
    if any(exits.exit_code(entry.error) == exits.UNREACHABLE for entry in report.failed if entry.error is not None):
        note_doctor(brand.command)
    if not report.ok:
        raise click.exceptions.Exit(exits.INCOMPLETE)


def _read(file: str) -> list[str]:
    """One symbol a line; what stands behind # is a comment."""
    try:
        with click.open_file(file, "rb") as stream:
            text = stream.read().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise InvalidArgument(f"--from {file}: line {line} is no UTF-8 text. Save the file as UTF-8.") from None
    except (OSError, RuntimeError) as error:  # RuntimeError: there is no stdin
        told = getattr(error, "strerror", None) or error
        raise InvalidArgument(
            f"--from {file}: {told}. It takes a file with one symbol a line, or - for stdin."
        ) from None
    codes = (line.partition("#")[0].strip() for line in text.splitlines())
    return [code for code in codes if code]


class _Lines:
    """Progress as plain lines: for files, pipes and logs."""

    shown = nullcontext()

    def __init__(self) -> None:
        self.waiting = WaitNotice()

    def advance(self, report: SymbolReport, done: int, total: int) -> None:
        note(f"{done}/{total} {_line(report)}")


class _Bar:
    """Progress as a bar: for people."""

    def __init__(self, total: int) -> None:
        self.shown = Progress(
            TextColumn("{task.description}", markup=False),  # symbols as they were given
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[sums]}", markup=False),
            TimeRemainingColumn(),
            TextColumn("{task.fields[waiting]}", markup=False),
            console=Console(stderr=True),
        )
        self._spent = self._rows = 0
        self._task = self.shown.add_task("sync", total=total, sums=self._sums(), waiting="")

    def waiting(self, seconds: float) -> None:
        self.shown.update(self._task, waiting=f"waiting {seconds:.0f} s for the rate budget")

    def advance(self, report: SymbolReport, done: int, _total: int) -> None:
        self._spent += report.requests
        self._rows += report.rows
        self.shown.update(self._task, completed=done, description=report.symbol, sums=self._sums(), waiting="")
        if report.error is not None:
            self.shown.console.print(Text(_line(report), "red"))

    def _sums(self) -> str:
        return f"{counted(self._spent, 'request')}  {counted(self._rows, 'row')}"


def _line(report: SymbolReport) -> str:
    if report.error is not None:
        return f"{report.symbol}: {said(report.error)}"
    return (
        f"{report.symbol}: {counted(report.rows, 'row')}, {report.new_rows:,} new, {report.revised_rows:,} revised, "
        f"{counted(report.requests, 'request')}"
    )


def _print(report: SyncReport, form: str | None) -> None:
    rows = [{name: getattr(entry, name) for name in _FIELDS} for entry in report]
    for row in rows:
        row["error"] = None if row["error"] is None else said(row["error"])
    if form == "json":
        click.echo(json.dumps(rows, indent=2, ensure_ascii=False))
    elif form == "csv":
        import pandas as pd

        print_csv(pd.DataFrame(rows, columns=list(_FIELDS)))
    else:
        click.echo(str(report))
