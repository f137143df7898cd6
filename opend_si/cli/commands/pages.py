"""`get`, `history` and `revisions`: a page, all rows of a symbol, and what became of their values."""

from __future__ import annotations

from functools import partial
from importlib.util import find_spec
from typing import Any

import click

from opend_si.cli.options import (
    EPILOG,
    FILE,
    Brand,
    as_of_option,
    as_typed,
    cache_option,
    cache_options,
    exclude_others,
    form_options,
    given_again,
    kind_option,
    opend_options,
)
from opend_si.cli.output import Format, WaitNotice, note, note_age, note_no_rows, note_origin, print_page, print_rows
from opend_si.cli.tables import Rows
from opend_si.client.blocking import history_rows
from opend_si.client.questions import HistoryRows
from opend_si.client.sync import counted
from opend_si.dates import AsOf, day_of, moment
from opend_si.dates.calendars import published_by
from opend_si.errors import MissingExtra
from opend_si.history.frames import make_history
from opend_si.pages.named import call_of
from opend_si.system.files import put_in_place, user_path
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
    note_origin(page.origin)
    if page.source == "cache":
        note_age(page.checked_at, page.origin)


@click.command(epilog=EPILOG, short_help="Print or save all rows of a symbol.")
@click.argument("code")
@click.option("--start", help="First day, such as 2020-01-01.")
@click.option("--end", help="Last day.")
@as_of_option
@kind_option
@form_options("Print JSON: a list of rows.")
@click.option(
    "--parquet",
    callback=partial(exclude_others, "form"),
    **FILE,
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
    as_of_by: str,
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
    call = call_of(kind)
    with brand.client(settings, WaitNotice()) as client:
        found = history_rows(client, call, code, start, end, AsOf.read(as_of, as_of_by, "--as-of-by"))
    if target is None:
        print_rows(_oldest_first(found), form or "table", f"{code.strip()}  {call.title}")
    else:
        put_in_place(target, make_history(call, found.table, found.rows, found.known_at).to_parquet)
        note(f"{counted(len(found.rows), 'row')} written to {parquet}")
    note_origin(found.origin)
    if not found.rows:
        note_no_rows(code, start, end, as_of)
    elif found.checked_at is not None and as_of is None:
        note_age(moment(found.checked_at), found.origin)


@click.command(epilog=EPILOG, short_help="Print what was revised.")
@click.argument("code")
@kind_option
@form_options("Print JSON: a list of values.")
@cache_option
@click.pass_obj
def revisions(brand: Brand, /, code: str, kind: str, form: Format | None, cache: str | None) -> None:
    """Print which recorded values of CODE OpenD sent differently later. Nothing is fetched."""
    with brand.client({"cache": cache, "mode": "offline"}, WaitNotice()) as client:
        frame = client.revisions(code, kind=kind)
    rows = Rows.of_frame(frame)
    if form is None:  # values of many columns: no heading tells how they are to be written
        texts = [
            list(map(str, column)) if name in ("before", "after") else column
            for name, column in zip(rows.names, rows.columns, strict=True)
        ]
        rows = Rows(rows.names, texts, fewest=4)  # a change is nothing without what it became
    print_rows(rows, form or "table", f"{code.strip()}  revisions")
    if frame.empty:
        note(f"nothing was revised in what is recorded of {code}")
    note_origin(frame.attrs["origin"])


def _oldest_first(found: HistoryRows) -> Rows:
    """The rows of a history as its frame has them."""
    table, rows = found.table, found.rows[::-1]
    columns = list(zip(*(row.values for row in rows), strict=True)) or [()] * len(table.columns)
    own = Rows.of_table(table, columns)
    days = [day_of(row.at, table.market) for row in rows]
    public = [published_by(table, day) for day in days]
    moments = [None if known_at is None else moment(known_at) for known_at in reversed(found.known_at)]
    return Rows(["date", *own.names, "published_by", "known_at"], [days, *own.columns, public, moments], own.units)


def _need_pyarrow() -> None:
    if find_spec("pyarrow") is None:
        raise MissingExtra(
            "--parquet needs pyarrow: pip install 'opend-short-interest[arrow]'; --csv and --json work without it"
        )
