"""`cache`: looking after the page cache."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import click

from opend_si.cli import exits
from opend_si.cli.options import EPILOG, FILE, Number, cache_option, form_options
from opend_si.cli.output import Format, note, print_json, print_rows
from opend_si.cli.tables import Rows
from opend_si.client.sync import counted
from opend_si.errors.texts import one_line
from opend_si.history import overview, upkeep
from opend_si.history.joining import import_record
from opend_si.pages import SIMULATOR
from opend_si.pages.named import names_of
from opend_si.settings import Settings
from opend_si.system.files import user_path
from opend_si_schema.calls import CALLS


@click.group(epilog=EPILOG, short_help="Look after the page cache.")
@cache_option
@click.pass_context
def cache(context: click.Context, cache: str | None) -> None:
    """Look after the page cache."""
    context.obj = Settings.resolve(cache=cache, mode="offline").cache


def _name(context: click.Context, _option: click.Parameter, value: str | None) -> None:
    if value is not None:
        context.obj = Settings.resolve(cache=value, mode="offline").cache


# As with every other command, it may stand behind the command's name.
_named_here = click.option(
    "--cache", **FILE, expose_value=False, callback=_name, help="File of the page cache (OPEND_SI_CACHE)."
)


@cache.command()
@_named_here
@click.pass_obj
def path(file: Path, /) -> None:
    """Print the path of the file."""
    click.echo(file)


@cache.command()
@_named_here
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--check", is_flag=True, help="Read every page: damaged ones count as versions only.")
@click.pass_obj
def info(file: Path, /, as_json: bool, check: bool) -> None:
    """Print how much is in it."""
    told = overview.info(file, check=check)
    group = told.shared_with
    if as_json:
        print_json({**vars(told), "path": str(told.path), "columns": told.columns, "shared_with": group})
        return
    for name, value in (
        ("path", told.path),
        *([("shared", f"with the group {group}")] if group else []),
        ("size", f"{told.bytes:,} bytes ({told.body_bytes:,} of them replies as received)"),
        (
            "symbols",
            f"{told.symbols:,}{f' ({told.simulated:,} of them made up, by a simulator)' if told.simulated else ''}",
        ),
        ("pages", f"{told.pages:,}"),
        ("versions", f"{told.versions:,}"),
        ("rows", f"{told.rows:,}"),
        ("oldest", _moment(told.oldest)),
        ("newest", _moment(told.newest)),
        *(("columns", f"{file} ({size:,} bytes)") for file, size in told.columns.items()),
    ):
        click.echo(f"{name:<9}{value}")


@cache.command(name="list")
@_named_here
@form_options("Print JSON.")
@click.pass_obj
def list_(file: Path, /, form: Format | None) -> None:
    """Print what is recorded of each symbol.

    `rows` are those of its history, `asked at` says when OpenD last answered for it. A history that is not complete
    ends at a gap; the rows of a simulator are made up.
    """
    found, names = overview.overview(file), list(overview.Recorded._fields)
    columns = {name: [getattr(one, name) for one in found] for name in names}
    if form is None:
        columns["complete"] = ["yes" if one.complete else _gap(one) for one in found]
        has_made_up = any(one.origin == SIMULATOR for one in found)
        names = _for_people(has_made_up=has_made_up)
    print_rows(Rows(names, [columns[name] for name in names], fewest=4), form or "table", str(file))


def _for_people(*, has_made_up: bool) -> list[str]:
    """The columns, in the order in which a narrow terminal keeps them: what is made up is seen on each."""
    names = ["symbol", "kind", "rows", "last", "first", "complete", "asked_at", "versions", "market"]
    return [*names[:2], "origin", *names[2:]] if has_made_up else [*names, "origin"]


def _gap(one: overview.Recorded) -> str:
    return "no" if one.first is None else f"down to {one.first}"


@cache.command()
@_named_here
@click.pass_obj
def verify(file: Path, /) -> None:
    """Check every checksum, every reply and the file itself; exit code 3 if something is wrong."""
    is_sound = True
    for fault in upkeep.verify(file):
        click.echo(fault)
        is_sound = False
    if not is_sound:
        click.echo("Online, damaged pages are fetched again when they are asked for.", err=True)
        raise click.exceptions.Exit(exits.CACHE)
    click.echo(f"{file} is sound")


@cache.command()
@_named_here
@click.option("--older-than", type=Number(0, 36500), required=True, metavar="DAYS", help="Not needed for so long.")
@click.pass_obj
def prune(file: Path, /, older_than: float) -> None:
    """Delete versions of pages that no answer has needed for DAYS: newer ones replaced them, or others have their rows.

    Whatever an answer of now needs stays, and so does what shows that other versions are void.
    """
    deleted = upkeep.prune(file, datetime.now(UTC) - timedelta(days=older_than))
    click.echo(f"{counted(deleted, 'version')} deleted")


@cache.command()
@_named_here
@click.argument("target")
@click.argument("codes", nargs=-1)
@click.option("--force", is_flag=True, help="Replace a file that is there.")
@click.pass_obj
def export(file: Path, /, target: str, codes: tuple[str, ...], force: bool) -> None:
    """Write the pages of CODES (none given: all) to a new page cache TARGET, to hand on.

    Whoever gets it replays it with OPEND_SI_CACHE=TARGET and --offline. Others of the machine may read it, as far as
    the umask lets them.
    """
    written = upkeep.export(file, user_path("TARGET", target), names_of(codes), may_replace=force)
    click.echo(f"{counted(written, 'page')} written to {target}")


@cache.command()
@_named_here
@click.argument("codes", nargs=-1, required=True)
@click.option(
    "--kind", type=click.Choice([call.name for call in CALLS]), help="What rows; all kinds if it is not given."
)
@click.pass_obj
def delete(file: Path, /, codes: tuple[str, ...], kind: str | None) -> None:
    """Forget what is recorded of CODES, every version of it. Nothing else is touched.

    The files of columns beside the page cache go, for they have those rows, too. They are written anew when needed.
    """
    protocols = {call.proto_id for call in CALLS if kind in (None, call.name)}
    click.echo(f"{counted(upkeep.delete(file, names_of(codes), protocols), 'record')} deleted")


@cache.command(name="import")
@_named_here
@click.argument("sources", metavar="FILE...", nargs=-1, required=True)
@click.pass_obj
def import_(file: Path, /, sources: tuple[str, ...]) -> None:
    """Join other page caches, such as a colleague's, into this one; nothing that is here is lost.

    Versions and moments are kept. A symbol that both have is joined: it then has what both heard. One that is damaged,
    or made up by a simulator in one of the two alone, is left out and named; then the exit code is 3.
    """
    is_all = True
    for source in sources:
        report = import_record(file, user_path("FILE", source))
        became = {"joined": report.joined, "known": report.known, "left out": report.left_out}
        told = [
            f"{counted(len(report.taken), 'record')} taken",
            *(f"{len(one):,} {how}" for how, one in became.items()),
        ]
        click.echo(f"{one_line(source)}: {', '.join(told)}")
        for name, reason in report.left_out.items():
            note(f"{name} is left out: {reason}")
            is_all = False
    if not is_all:
        raise click.exceptions.Exit(exits.CACHE)


def _moment(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC" if moment else "–"
