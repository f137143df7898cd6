"""Data on its way to stdout, everything else on its way to stderr. Either may be absent, closed, or of any code page.

No text of a server reaches either raw: control characters are written out. JSON is what every program reads: infinite
numbers and NaN, which it does not have, are null.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
import sys
from contextlib import suppress
from datetime import UTC, date, datetime
from math import ceil, isfinite
from typing import TYPE_CHECKING, Any, Literal, TextIO

import click

from opend_si.cli.tables import Rows, lay_out
from opend_si.dates import moment_text, span_text
from opend_si.errors.texts import csv_text, one_line
from opend_si.pages import SIMULATOR, Page
from opend_si.pages.named import call_of
from opend_si.settings import Wait

if TYPE_CHECKING:
    import pandas as pd

Format = Literal["table", "csv", "json"]
# What json leaves as it is, and a terminal may obey.
_OBEYED = re.compile(r"[\x7f-\x9f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]")

# Seconds in which nobody minds that an answer is not from now.
_MOMENT = 60.0


def print_page(page: Page, form: Format) -> None:
    """Print a page's rows on stdout."""
    if form == "json":
        click.echo(_harmless(page.to_json()))
        return
    call = call_of(page.kind)
    table = next(table for table in call.tables if page.symbol.startswith(f"{table.market.prefix}."))
    print_rows(Rows.of_table(table, page.content.columns(table)), form, f"{page.symbol}  {call.title}")


def print_frame(frame: pd.DataFrame, form: Format, title: str, units: dict[str, str] | None = None) -> None:
    """Print a frame on stdout, without its index."""
    print_rows(Rows.of_frame(frame, units), form, title)


def print_rows(rows: Rows, form: Format, title: str) -> None:
    """Print rows on stdout."""
    if form == "json":
        print_json([dict(zip(rows.names, row, strict=True)) for row in zip(*rows.columns, strict=True)])
    elif form == "csv":
        _print_csv(rows)
    else:
        lines, left_out = lay_out(rows, title, terminal_width())
        click.echo("\n".join(lines))
        if left_out:
            note(
                f"not shown in {terminal_width()} columns: {', '.join(left_out)}. A wider terminal, --csv and --json have them."
            )


def print_json(value: Any) -> None:
    """Print JSON on stdout."""
    click.echo(_harmless(json.dumps(plain(value), indent=2, ensure_ascii=False, allow_nan=False)))


def _harmless(text: str) -> str:
    """JSON whose texts no terminal obeys: the same to whoever reads it."""
    return _OBEYED.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _print_csv(rows: Rows) -> None:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(rows.names)
    for row in zip(*rows.columns, strict=True):
        writer.writerow([csv_text(value) if isinstance(value, str) else _written(value) for value in row])
    click.echo(stream.getvalue(), nl=False)


def _written(value: object) -> object:
    """A value as a cell of CSV: what is missing is empty."""
    return "" if value is None or value != value else _plain_moment(value)


def plain(value: Any) -> Any:
    """A value as JSON has it."""
    if isinstance(value, dict):
        return {name: plain(one) for name, one in value.items()}
    if isinstance(value, list):
        return [plain(one) for one in value]
    if isinstance(value, float):
        return value if isfinite(value) else None
    return _plain_moment(value)


def _plain_moment(value: Any) -> Any:
    """A day as `YYYY-MM-DD`, a moment with milliseconds and `Z`, anything else as it is."""
    if isinstance(value, datetime) and value.tzinfo is not None:
        return moment_text(value)
    return f"{value:%Y-%m-%d}" if isinstance(value, date) else value


def is_terminal(stream: TextIO | None) -> bool:
    """Whether a person sees what is written to a stream. There may be none: `2>&-`, pythonw, some schedulers."""
    try:
        return stream is not None and stream.isatty() and os.environ.get("TERM") != "dumb"
    except (OSError, ValueError):  # it was closed
        return False


def terminal_width() -> int | None:
    """The columns of the terminal that stdout is; None if it is none."""
    return shutil.get_terminal_size().columns if is_terminal(sys.stdout) else None


def note(text: str) -> None:
    """Say something that is no data: one line on stderr. Where that cannot be written the work goes on all the same."""
    with suppress(OSError, ValueError):
        click.echo(one_line(text), err=True)


def note_origin(origin: str | None) -> None:
    """Say that rows are made up: `origin` is what `attrs` say, of several symbols perhaps several."""
    if origin == SIMULATOR:
        note("origin: simulator, these rows are made up")
    elif origin is not None and SIMULATOR in origin:
        note(f"origin: {origin}; what is the simulator's is made up, and `cache list` names it")


def note_age(checked_at: datetime, origin: str | None) -> None:
    """Say that an answer was not asked for now. One that was given a moment ago is as good as now's."""
    seconds, who = (datetime.now(UTC) - checked_at).total_seconds(), "a simulator" if origin == SIMULATOR else "OpenD"
    if seconds >= _MOMENT:
        note(
            f"from the record: {who} sent this {span_text(int(seconds))} ago ({checked_at:%Y-%m-%d %H:%MZ}); --refresh asks now"
        )


def note_no_rows(code: str, start: str | None, end: str | None, as_of: str | None) -> None:
    """Say that there are none within the limits that were asked for."""
    limits = [f" {word} {day}" for word, day in (("from", start), ("until", end), ("as of", as_of)) if day]
    note(f"OpenD has no rows for {code}{''.join(limits)}")


def note_doctor(command: str) -> None:
    """Say who knows more when OpenD cannot be reached."""
    note(f"{command}: `{command} doctor` checks the way to OpenD step by step.")


class WaitNotice:
    """Says on stderr, once a wait, that the rate budget makes a call wait."""

    def __init__(self) -> None:
        self._left = 0.0

    def __call__(self, seconds: Wait) -> None:
        if seconds > self._left:
            note(f"waiting {ceil(seconds)} s: {seconds.why}")
        self._left = seconds
