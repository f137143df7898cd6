"""Pages on their way to a person or a pipe."""

from __future__ import annotations

import json
import re
import sys
from datetime import UTC, datetime
from math import ceil
from numbers import Integral
from typing import TYPE_CHECKING, Literal

import click

from opend_si.pages import Page
from opend_si.symbols import call_of

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table

Format = Literal["table", "csv", "json"]
# What errors call settings that are options here; nothing follows the sign, as something does where a value is told.
_ARGUMENT = re.compile(r"\b(host|port|rsa_key)=(?=[ ,])")
# More columns than any table has.
_ENDLESS = 100_000


def print_page(page: Page, form: Format) -> None:
    """Print a page's rows on stdout."""
    if form == "json":
        click.echo(page.to_json())
        return
    frame = page.us if page.symbol.startswith("US.") else page.hk
    write_frame(frame, form, f"{page.symbol}  {call_of(page.kind).title}")


def write_frame(frame: pd.DataFrame, form: Format, title: str) -> None:
    """Print a frame on stdout."""
    if form == "json":
        # pandas writes 135.77 as 135.77000000000001, and a day as a moment.
        rows = [{name: _plain(value) for name, value in row.items()} for row in frame.to_dict("records")]
        click.echo(json.dumps(rows, indent=2, ensure_ascii=False))
    elif form == "csv":
        print_csv(frame)
    else:
        print_frame(frame, title)


def print_csv(frame: pd.DataFrame) -> None:
    """Print a frame as CSV, without its index."""
    click.echo(frame.to_csv(index=False, lineterminator="\n"), nl=False)


def print_frame(frame: pd.DataFrame, title: str) -> None:
    """Print a frame as a table for people: the date once, thousands marked, missing values as a dash.

    No cell is cut: where a terminal is too narrow the headings are folded, and if that is not enough lines run past its edge.
    Files and pipes fold nothing.
    """
    from rich.console import Console

    console = Console()
    is_terminal = sys.stdout is not None and sys.stdout.isatty()
    table = _table(frame, title, " ")
    endless = console.options.update(max_width=_ENDLESS)
    if is_terminal and console.measure(table, options=endless).maximum > console.width:
        table = _table(frame, title, "\n")
    console.width = console.measure(table, options=endless).maximum  # else cells would be cut, of which nobody learns
    with console.capture() as captured:
        console.print(table)
    click.echo("\n".join(line.rstrip() for line in captured.get().rstrip().splitlines()))


def _table(frame: pd.DataFrame, title: str, between: str) -> Table:
    """The frame's table, with something between the words of a heading."""
    from rich.table import Table
    from rich.text import Text

    # Texts, not strings: rich would read what came from outside as its markup.
    table = Table(title=Text(title, "table.title"), title_justify="left", header_style="bold", box=None, pad_edge=False)
    shown = [name for name in frame.columns if name not in ("timestamp", "timestamp_str" if "date" in frame else "")]
    for name in shown:
        is_text = frame[name].dtype.kind in "OTUM" or frame[name].dtype == "category"
        header = Text("date" if name == "timestamp_str" else name.replace("_", between))
        table.add_column(header, justify="left" if is_text else "right", no_wrap=True)
    for row in frame[shown].itertuples(index=False):
        table.add_row(*(Text(_cell(value)) for value in row))
    return table


def _cell(value: object) -> str:
    if _is_missing(value):
        return "–"
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%SZ}" if value.tzinfo else f"{value:%Y-%m-%d}"
    if isinstance(value, float):
        return f"{value:,.2f}"
    # NumPy's truth values are no numbers, Python's are.
    return f"{value:,}" if isinstance(value, Integral) and not isinstance(value, bool) else str(value)


def _plain(value: object) -> object:
    """A value as JSON has it: a day as `YYYY-MM-DD`, a moment with milliseconds and `Z`, what is missing as null."""
    if _is_missing(value):
        return None
    if not isinstance(value, datetime):
        return value
    if value.tzinfo is None:
        return f"{value:%Y-%m-%d}"
    return f"{value.astimezone(UTC).replace(tzinfo=None).isoformat(timespec='milliseconds')}Z"


def _is_missing(value: object) -> bool:
    import pandas as pd

    return value is None or value is pd.NA or value != value  # NaN and NaT differ from themselves


def said(error: object) -> str:
    """An error's text, with the console's options where it names a client's arguments."""
    return _ARGUMENT.sub(lambda found: f"--{found[1].replace('_', '-')}", str(error))


def note(text: str) -> None:
    """Tell something that is no data: on stderr."""
    click.echo(text, err=True)


def note_no_rows(code: str, start: str | None, end: str | None, as_of: str | None) -> None:
    """Tell that there are none within the limits that were asked for."""
    limits = [f" {word} {day}" for word, day in (("from", start), ("until", end), ("as of", as_of)) if day]
    note(f"OpenD has no rows for {code}{''.join(limits)}")


def note_doctor(command: str) -> None:
    """Tell who knows more when OpenD cannot be reached."""
    note(f"{command}: `{command} doctor` checks the way to OpenD step by step.")


class WaitNotice:
    """Says on stderr, once a wait, that the rate budget makes a call wait."""

    def __init__(self) -> None:
        self._left = 0.0

    def __call__(self, seconds: float) -> None:
        if seconds > self._left:
            note(f"waiting {ceil(seconds)} s for the rate budget")
        self._left = seconds
