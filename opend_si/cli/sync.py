"""`sync`: many symbols, with progress that can be watched."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from contextlib import nullcontext
from typing import Any, TextIO

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from opend_si.cli import exits
from opend_si.cli.options import EPILOG, Brand, cache_options, opend_options
from opend_si.cli.output import WaitNotice, note
from opend_si.sync import SymbolReport, SyncReport

_FIELDS = ("symbol", "rows", "new_rows", "revised_rows", "requests", "error")


@click.command(epilog=EPILOG, short_help="Bring many histories up to date.")
@click.argument("codes", nargs=-1)
@click.option("--from", "file", type=click.File(encoding="utf-8-sig"), help="File with one symbol a line; - for stdin.")
@click.option("--json", "form", flag_value="json", help="Print the report of each symbol as JSON.")
@click.option("--csv", "form", flag_value="csv", help="Print the report of each symbol as CSV.")
@cache_options
@opend_options
@click.pass_obj
def sync(brand: Brand, /, codes: tuple[str, ...], file: TextIO | None, form: str | None, **settings: Any) -> None:
    """Bring the recorded histories of CODES up to date, one after the other.

    What is recorded stays: after an interrupt a second sync goes on where the first ended. One symbol that fails does not
    stop the rest.
    """
    wanted = list(dict.fromkeys([*codes, *_read(file or ())]))
    if not wanted:
        raise click.UsageError("name symbols, or a file of them with --from")
    watch = _Bar(len(wanted)) if sys.stderr.isatty() else _Lines()
    with watch.shown, brand.client(settings, watch.waiting) as client:
        report = client.sync(wanted, watch.advance)
    _print(report, form)
    if not report.ok:
        raise click.exceptions.Exit(exits.INCOMPLETE)


def _read(lines: Iterable[str]) -> list[str]:
    """One symbol a line; what stands behind # is a comment."""
    codes = (line.partition("#")[0].strip() for line in lines)
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
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[spent]} requests  {task.fields[rows]:,} rows"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[waiting]}"),
            console=Console(stderr=True),
        )
        self._task = self.shown.add_task("sync", total=total, spent=0, rows=0, waiting="")
        self._spent = self._rows = 0

    def waiting(self, seconds: float) -> None:
        self.shown.update(self._task, waiting=f"waiting {seconds:.0f} s for the rate budget")

    def advance(self, report: SymbolReport, done: int, _total: int) -> None:
        self._spent += report.requests
        self._rows += report.rows
        self.shown.update(
            self._task, completed=done, description=report.symbol, spent=self._spent, rows=self._rows, waiting=""
        )
        if report.error is not None:
            self.shown.console.print(_line(report), style="red", highlight=False)


def _line(report: SymbolReport) -> str:
    if report.error is not None:
        return f"{report.symbol}: {report.error}"
    return (
        f"{report.symbol}: {report.rows} rows, {report.new_rows} new, {report.revised_rows} revised, "
        f"{report.requests} requests"
    )


def _print(report: SyncReport, form: str | None) -> None:
    rows = [{name: getattr(entry, name) for name in _FIELDS} for entry in report]
    for row in rows:
        row["error"] = None if row["error"] is None else str(row["error"])
    if form == "json":
        click.echo(json.dumps(rows, indent=2, ensure_ascii=False))
    elif form == "csv":
        import pandas as pd

        pd.DataFrame(rows, columns=list(_FIELDS)).to_csv(sys.stdout, index=False)
    else:
        click.echo(str(report))
