"""`history` and `revisions`: all rows of a symbol, and what became of their values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from opend_si.cli.options import EPILOG, Brand, cache_options, opend_options
from opend_si.cli.output import Format, WaitNotice, note, print_frame, write_frame


@click.command(epilog=EPILOG, short_help="Print or save all rows of a symbol.")
@click.argument("code")
@click.option("--start", help="First day, such as 2020-01-01.")
@click.option("--end", help="Last day.")
@click.option("--as-of", help="Answer as of this moment, from what had been recorded by then.")
@click.option("--json", "form", flag_value="json", help="Print JSON: a list of rows.")
@click.option("--csv", "form", flag_value="csv", help="Print CSV.")
@click.option("--parquet", type=click.Path(dir_okay=False, path_type=Path), help="Write a Parquet file instead.")
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
    form: Format | None,
    parquet: Path | None,
    **settings: Any,
) -> None:
    """Print all rows of CODE, oldest first, for the fewest requests.

    CODE is a symbol such as HK.00700 or US.AAPL.
    """
    if parquet is not None:
        _need_pyarrow()
    with brand.client(settings, WaitNotice()) as client:
        frame = client.history(code, start, end, as_of)
    if parquet is None:
        write_frame(frame.reset_index(), form or "table", f"{code}  short interest")
        return
    scratch = parquet.with_name(f".{parquet.name}.new")
    try:
        frame.to_parquet(scratch)
        scratch.replace(parquet)
    except OSError as error:
        scratch.unlink(missing_ok=True)
        raise click.ClickException(f"cannot write {parquet}: {error.strerror or error}") from None
    note(f"{len(frame)} rows written to {parquet}")


@click.command(epilog=EPILOG, short_help="Print what was revised.")
@click.argument("code")
@click.option("--json", "form", flag_value="json", help="Print JSON: a list of values.")
@click.option("--csv", "form", flag_value="csv", help="Print CSV.")
@click.option("--cache", type=click.Path(), help="File of the page cache (OPEND_SI_CACHE).")
@click.pass_obj
def revisions(brand: Brand, /, code: str, form: Format | None, cache: str | None) -> None:
    """Print which recorded values of CODE OpenD sent differently later. Nothing is fetched."""
    with brand.client({"cache": cache, "mode": "offline"}, WaitNotice()) as client:
        frame = client.revisions(code)
    if form is None:
        print_frame(frame.astype({"before": str, "after": str}), f"{code}  revisions")
    else:
        write_frame(frame, form, code)


def _need_pyarrow() -> None:
    try:
        import pyarrow  # type: ignore[import-not-found]  # noqa: F401
    except ImportError:
        raise click.ClickException(
            "Parquet needs pyarrow: install opend-short-interest[arrow]; --csv and --json work without it"
        ) from None
