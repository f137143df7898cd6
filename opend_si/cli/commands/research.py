"""`plot`, `screen` and `export`: what is done with what was recorded."""

from __future__ import annotations

from typing import Any

import click

from opend_si.cli.options import (
    EPILOG,
    FILE,
    Brand,
    as_of_option,
    cache_option,
    cache_options,
    form_options,
    from_option,
    kind_option,
    market_option,
    named_codes,
    opend_options,
)
from opend_si.cli.output import Format, WaitNotice, note, note_no_rows, note_origin, print_frame
from opend_si.cli.tables import units_of
from opend_si.pages.named import call_of
from opend_si_schema.definitions import CHANGE, CHANGE_PERCENT, DATE, DAYS_BETWEEN, MARKET, PUBLISHED_BY, SYMBOL, Table

# Columns of a screen's table.
_SHOWN = 7


@click.command(epilog=EPILOG, short_help="Draw a symbol's history.")
@click.argument("code")
@click.option("--out", required=True, **FILE, help="File to write: .png, .svg or .pdf.")
@click.option("--start", help="First day, such as 2020-01-01.")
@click.option("--end", help="Last day.")
@kind_option
@as_of_option
@cache_options
@opend_options
@click.pass_obj
def plot(
    brand: Brand,
    /,
    code: str,
    out: str,
    start: str | None,
    end: str | None,
    kind: str,
    as_of: str | None,
    as_of_by: Any,
    **settings: Any,
) -> None:
    """Draw what is short of CODE with its close price, and days to cover or a ratio below. Needs the extra plot."""
    import numpy as np

    from opend_si.research import chart

    chart.image_format(out)  # before a request is spent
    with brand.client(settings, WaitNotice()) as client:
        figure = client.plot(code, start, end, as_of, by=as_of_by, kind=kind)
    chart.save(figure, out)
    note(f"{code} drawn to {out}")
    note_origin(figure.get_label())
    if not any(np.size(line.get_xdata()) for line in figure.axes[1].lines):  # the prices' days: those of all rows
        note_no_rows(code, start, end, as_of)


@click.command(epilog=EPILOG, short_help="Rank the latest rows of a market.")
@click.argument("codes", nargs=-1)
@from_option
@market_option
@click.option("--by", default="change_percent", show_default=True, help="Column of numbers, change or change_percent.")
@click.option("--top", type=click.IntRange(1), default=20, show_default=True, help="How many rows.")
@click.option("--ascending", is_flag=True, help="Lowest first.")
@click.option("--since", metavar="DAY", help="First day whose rows are ranked; else what stands beside the newest row.")
@kind_option
@as_of_option
@form_options("Print JSON: a list of rows.")
@cache_option
@click.pass_obj
def screen(
    brand: Brand,
    /,
    codes: tuple[str, ...],
    file: str | None,
    market: str | None,
    by: str,
    top: int,
    ascending: bool,
    since: str | None,
    kind: str,
    as_of: str | None,
    as_of_by: Any,
    form: Format | None,
    cache: str | None,
) -> None:
    """Print the latest row of each recorded symbol, or of CODES, highest first. Needs the extra arrow.

    Nothing is fetched: sync first. Rows that are too old to stand beside the others are left out.
    """
    named = named_codes(codes, file, is_needed=False)
    with brand.client({"cache": cache, "mode": "offline"}, WaitNotice()) as client:
        frame = client.screen(
            market,
            by,
            top,
            as_of,
            codes=named or None,
            ascending=ascending,
            since=since,
            as_of_by=as_of_by,
            kind=kind,
        )
    call = call_of(kind)
    table = call.table_of(frame.attrs[MARKET])
    if form is None:
        frame = frame[_for_people(table, by)]
    title = f"{call.title} of {table.market.prefix} by {by.replace('_', ' ')}{', lowest first' if ascending else ''}"
    print_frame(frame, form or "table", title, units_of(frame.attrs["units"]))
    note_origin(frame.attrs["origin"])


def _for_people(table: Table, by: str) -> list[str]:
    """The columns of a screen that are read for it, as many as a terminal of 80 columns holds.

    CSV and JSON have all.
    """
    short = (CHANGE_PERCENT, DAYS_BETWEEN, table.short, CHANGE) if table.short else (table.ratio, table.price)
    names = dict.fromkeys((SYMBOL, DATE, PUBLISHED_BY, by, *short))
    return [name for name in names if name][:_SHOWN]


@click.command(epilog=EPILOG, short_help="Write what is recorded into Parquet or CSV files.")
@click.argument("path")
@click.option("--format", "form", type=click.Choice(["parquet", "csv"]), default="parquet", show_default=True)
@market_option
@kind_option
@as_of_option
@cache_option
@click.pass_obj
def export(
    brand: Brand,
    /,
    path: str,
    form: str,
    market: str | None,
    kind: str,
    as_of: str | None,
    as_of_by: Any,
    cache: str | None,
) -> None:
    """Write all recorded histories into a data set at PATH, a folder or a URL.

    Its files are PATH/market=HK/... Needs the extra arrow.

    Nothing is fetched: sync first.
    """
    with brand.client({"cache": cache, "mode": "offline"}, WaitNotice()) as client:
        for file in client.export(path, form, market, as_of=as_of, by=as_of_by, kind=kind):
            click.echo(file)
        origins = {one.origin for one in client.recorded(kind=kind).itertuples() if market in (None, one.market)}
        note_origin(", ".join(sorted(origins)))
