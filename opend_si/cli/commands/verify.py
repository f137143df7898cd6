"""`verify` and `check`: recorded rows against the regulators' files, and against themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from opend_si.cli import exits
from opend_si.cli.options import EPILOG, Brand, cache_option, form_options, market_option
from opend_si.cli.output import Format, WaitNotice, note, note_origin, print_frame

if TYPE_CHECKING:
    import pandas as pd


@click.command(epilog=EPILOG, short_help="Compare recorded rows with the regulators' files.")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@form_options("Print JSON: a list of all compared values.", "Print all compared values as CSV.")
@cache_option
@click.pass_obj
def verify(brand: Brand, /, files: tuple[str, ...], form: Format | None, cache: str | None) -> None:
    """Compare recorded short interest with FILEs of the SFC or of FINRA, as they give them. Needs the extra arrow.

    Nothing is fetched: download the files, and sync first. The table shows what is not equal; exit code 8 if there is
    any.
    """
    from opend_si.research.verify import EQUAL, summary

    with brand.client({"cache": cache, "mode": "offline"}, WaitNotice()) as client:
        frame = client.verify(files)
    unequal = frame[frame["result"] != EQUAL]
    if form is not None:
        print_frame(frame, form, "")
    elif not unequal.empty:
        print_frame(unequal.drop(columns="file"), "table", "rows that are not equal")
    note(f"{summary(frame)} ({', '.join(sorted(set(frame['file']))) or 'no file has a day of the record'})")
    _note_left_out(frame)
    note_origin(frame.attrs["origin"])
    if not unequal.empty:
        raise click.exceptions.Exit(exits.INCOMPLETE)


def _note_left_out(frame: pd.DataFrame) -> None:
    for text in frame.attrs["odd"]:
        note(f"not understood: {text}")
    if frame.attrs["ambiguous"]:
        note(f"left out, for the regulator writes them alike: {', '.join(frame.attrs['ambiguous'])}")


@click.command(epilog=EPILOG, short_help="Look for recorded values that do not fit each other.")
@market_option
@form_options("Print JSON: a list of findings.")
@cache_option
@click.pass_obj
def check(brand: Brand, /, market: str | None, form: Format | None, cache: str | None) -> None:
    """Check recorded short interest against itself: days to cover, dates, previous close. Needs the extra arrow.

    Exit code 8 if there is a finding. A finding is no error: rows are OpenD's.
    """
    with brand.client({"cache": cache, "mode": "offline"}, WaitNotice()) as client:
        frame = client.check(market)
    note_origin(frame.attrs["origin"])
    if form is not None or not frame.empty:
        print_frame(frame, form or "table", "" if form else "findings")
    if not frame.empty:
        raise click.exceptions.Exit(exits.INCOMPLETE)
    note("all recorded values fit each other")
