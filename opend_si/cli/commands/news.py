"""`changes`: what is new or was revised since a moment."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from opend_si.cli.options import EPILOG, Brand, cache_option, form_options, kind_option
from opend_si.cli.output import Format, WaitNotice, note, note_origin, print_frame
from opend_si.pages.named import call_of

if TYPE_CHECKING:
    import pandas as pd


# Columns of the table, as many as a terminal of 80 columns holds; CSV and JSON have all.
_SHOWN = ["symbol", "date", "what", "column", "before", "after", "previous"]


@click.command(epilog=EPILOG, short_help="Print what is new or was revised since a moment.")
@click.argument("codes", nargs=-1)
@click.option(
    "--since",
    required=True,
    metavar="MOMENT",
    help="From when on: a day such as 2026-04-30, a moment such as '2026-04-30 18:00', or how long ago: 36h, 7d.",
)
@kind_option
@form_options("Print JSON: a list of changes.")
@cache_option
@click.pass_obj
def changes(
    brand: Brand, /, codes: tuple[str, ...], since: str, kind: str, form: Format | None, cache: str | None
) -> None:
    """Print which rows of CODES (none given: all) are new in the record, and which values OpenD sent differently.

    Nothing is fetched: sync first. A day, and a time without a zone, is this machine's.
    """
    with brand.client({"cache": cache, "mode": "offline"}, WaitNotice()) as client:
        frame = client.changes_since(since, codes or None, kind=kind)
    if form is not None:
        print_frame(frame, form, "")
    elif not frame.empty:
        print_frame(_for_people(frame), "table", f"{call_of(kind).title}: changes since {since}")
    if frame.empty:
        note(f"nothing has changed since {since}")
    note_origin(frame.attrs["origin"])


def _for_people(frame: pd.DataFrame) -> pd.DataFrame:
    """The columns that are read, without those that are empty."""
    return frame[[name for name in _SHOWN if frame[name].notna().any()]]
