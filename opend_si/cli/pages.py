"""`get`, `history` and `revisions`: a page, all rows of a symbol, and what became of their values."""

from __future__ import annotations

from functools import partial
from importlib.util import find_spec
from typing import Any

import click

from opend_si.cli.options import (
    EPILOG,
    Brand,
    as_typed,
    cache_options,
    exclude_others,
    form_options,
    given_again,
    kind_option,
    opend_options,
)
from opend_si.cli.output import Format, WaitNotice, note, note_no_rows, print_frame, print_page, write_frame
from opend_si.client.sync import counted
from opend_si.errors import MissingExtra
from opend_si.files import put_in_place, user_path
from opend_si.symbols import call_of
from opend_si_schema.calls import SHORT_INTEREST


@click.command(epilog=EPILOG, short_help="Print one page of a symbol.")
@click.argument("code")
@click.option("--num", type=int, default=SHORT_INTEREST.page_size.default, show_default=True, help="Rows, 1 to 50.")
@click.option("--next-key", help="Cursor that the page before gave.")
@kind_option
@form_options("Print what OpenD sent as JSON.")
@cache_options
@opend_options
@click.pass_obj
def get(
    brand: Brand, /, code: str, num: int, next_key: str | None, kind: str, form: Format | None, **settings: Any
) -> None:
    """Print one page of CODE, newest row first.

    CODE is a symbol such as HK.00700 or US.AAPL.
    """
    with brand.client(settings, WaitNotice()) as client:
        page = client.get_page(code, next_key, num, kind=kind)
    print_page(page, form or "table")
    if not len(page):
        note(f"OpenD has no rows for {code}" + (f" behind next_key {next_key}" if next_key else ""))
    if page.next is not None:
        words = [*given_again(click.get_current_context(), "next_key"), "--next-key", page.next]
        note(f"next page: {as_typed(words)}")


@click.command(epilog=EPILOG, short_help="Print or save all rows of a symbol.")
@click.argument("code")
@click.option("--start", help="First day, such as 2020-01-01.")
@click.option("--end", help="Last day.")
@click.option("--as-of", help="Answer as of this moment, from what had been recorded by then.")
@kind_option
@form_options("Print JSON: a list of rows.")
@click.option(
    "--parquet",
    callback=partial(exclude_others, "form"),
    metavar="FILE",
    help="Write a Parquet file instead.",
)
@cache_options
@opend_options
@click.pass_obj
def history(
    brand: Brand,
    /,
    code: str,
    start: str | None,
    end: str | None,
    as_of: str | None,
    kind: str,
    form: Format | None,
    parquet: str | None,
    **settings: Any,
) -> None:
    """Print all rows of CODE, oldest first, for the fewest requests.

    CODE is a symbol such as HK.00700 or US.AAPL.
    """
    target = None if parquet is None else user_path("--parquet", parquet, "a file")
    if target is not None:
        _need_pyarrow()
    with brand.client(settings, WaitNotice()) as client:
        frame = client.history(code, start, end, as_of, kind=kind)
    if target is None:
        write_frame(frame.reset_index(), form or "table", f"{code}  {call_of(kind).title}")
    else:
        put_in_place(target, frame.to_parquet)
        note(f"{counted(len(frame), 'row')} written to {parquet}")
    if frame.empty:
        note_no_rows(code, start, end, as_of)


@click.command(epilog=EPILOG, short_help="Print what was revised.")
@click.argument("code")
@kind_option
@form_options("Print JSON: a list of values.")
@click.option("--cache", type=click.Path(), help="File of the page cache (OPEND_SI_CACHE).")
@click.pass_obj
def revisions(brand: Brand, /, code: str, kind: str, form: Format | None, cache: str | None) -> None:
    """Print which recorded values of CODE OpenD sent differently later. Nothing is fetched."""
    with brand.client({"cache": cache, "mode": "offline"}, WaitNotice()) as client:
        frame = client.revisions(code, kind=kind)
    if form is None:
        print_frame(frame.astype({"before": str, "after": str}), f"{code}  revisions")
    else:
        write_frame(frame, form, code)
    if frame.empty:
        note(f"nothing was revised in what is recorded of {code}")


def _need_pyarrow() -> None:
    if find_spec("pyarrow") is None:
        raise MissingExtra(
            "--parquet needs pyarrow: pip install 'opend-short-interest[arrow]'; --csv and --json work without it"
        )
