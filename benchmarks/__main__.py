"""`python -m benchmarks`: the published client and this package, on the same server in the same run, in turns.

Prints a row a case: medians of both, our share of the published client's, the least that the answer takes (a bare
socket, bare SQLite, protobuf's decoding and one DataFrame), and how many times that it takes here. `--write` keeps the
figures and writes docs/performance.md and the README's; `--compare` holds them against those that were kept, as shares
of the floor. Takes five minutes, one of them at OpenD's real limit.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import click

import futu_si
from benchmarks import budget, panel
from benchmarks.contenders import CACHE, CODE, PEERS, is_installed
from benchmarks.everyday import FSYNCS, cannot_trace, daily, everyday
from benchmarks.figures import COMMITTED, Figure, Run, compare, table, times, written
from benchmarks.growth import growth
from benchmarks.harness import (
    Contender,
    OpenD,
    calls_in_turns,
    contenders,
    new_home,
    process_seconds,
    python_seconds,
    surroundings,
    take_turns,
)
from benchmarks.market import market
from benchmarks.peers import figure_name, peers
from opend_si.history import overview
from opend_si_schema.calls import SHORT_INTEREST

_PACKAGES = ("futu-api", "protobuf", "pandas", "pyarrow", "ptars")
_STARTS, _PAGE_ROUNDS, _PAGE_CALLS, _WALK_ROUNDS, _WALK_CALLS = 10, 20, 50, 10, 5
_SYMBOLS = 1000
_WINDOWS = 2

_FIRST_CALL = """
import os, sys
import {module} as quote
context = quote.OpenQuoteContext(sys.argv[1], int(sys.argv[2]){settings})
ret, _, frame = context.get_short_interest({code!r})
context.close()
os._exit(0 if ret == 0 and len(frame) == 10 else 1)
"""
_FIRST_FLOOR = "import os, sys; from benchmarks.contenders import floor; "
_FIRST_FLOOR += "floor(sys.argv[1], int(sys.argv[2]))['page-10'](); os._exit(0)"
# What speaking protobuf over a socket and keeping replies needs.
# Others that give a panel as a DataFrame, where they are installed.
_ENGINES = {
    "duckdb": "DuckDB reads the same panel from Parquet into a DataFrame",
    "arcticdb": "ArcticDB, which wants a pandas before 3, reads the same panel, kept as one symbol,",
}
_IMPORT_FLOOR = "import hashlib, socket, sqlite3, google.protobuf.message_factory"
# What a command needs to read a page of the record and to print it.
_CONSOLE_FLOOR = f"{_IMPORT_FLOOR}, click"
_PUBLISHED_CALL = "import os, sys; from benchmarks.contenders import published; "
_PUBLISHED_CALL += "published(sys.argv[1], int(sys.argv[2]))[sys.argv[3]](); os._exit(0)"
_NOTES = (
    "The floor of a page or a history is a bare socket or a bare SQLite read, protobuf's decoding and one DataFrame; of an import, "
    "protobuf, sqlite3, socket and hashlib, of a command click, too; of requests, pages of 50 rows; of a panel, pandas reading it from Parquet; of bytes, "
    "the replies as they came.",
    "The published client keeps nothing: its recorded page and history are live ones, and it walks again for a new row. Its panel is "
    "a loop over the recorded histories of this package and `pandas.concat`. A first panel writes the file of columns that "
    "the next ones are read from.",
    "A recorded page is answered from memory where this process has seen it before; *anew* is a new client on the same "
    "file, which reads all that is recorded of the symbol once, and so does its floor. A history that was asked for in just the "
    "same way twice before, and of which nothing has changed, is a copy of what was given (*repeated*). A history after a new row is on the disk when "
    "it is answered; its floor writes nothing.",
    "With the *budget on* there are slots as at OpenD's limit, free again at once, so that no call waits for one. The floor of a "
    "reply that is *recorded* is the same replies in a bare SQLite file, each in a transaction of its own. fsyncs count "
    "fdatasync, too.",
    "*Beside a writer*: another process has written of another symbol before each look.",
    "*250 syncs*: a record that was synced weekly while a row came each week and a revision every ten weeks (*plain*: no "
    "revision). Its floor is a fresh record of the same rows.",
    "Where a peer is named, its figure stands in the column of the floor: diskcache has the frame pickled, joblib the call, "
    "requests-cache the page as JSON.",
    "*In turn*: histories of so many symbols, one after the other, each asked for twice before: a frame is kept from the second time on. The floor of a sync is a look at "
    "each seal, of a screen the newest page of each symbol, of cache info the sums of the pages in SQL.",
)


@click.command(help=__doc__)
@click.option("--write", is_flag=True, help="Keep the figures, and write them into docs/performance.md and README.md.")
@click.option("--compare", "is_compared", is_flag=True, help="Hold them against those that were kept.")
@click.pass_context
def main(context: click.Context, write: bool, is_compared: bool) -> None:
    notes = list(_NOTES)
    print("\n".join(table([])))
    figures = []
    with surroundings() as environ:
        os.environ.update(environ)
        for figure in _measure(environ, notes):
            figures.append(figure)
            print(list(table([figure]))[1], flush=True)
    run = Run(_machine(), _versions(), f"{datetime.now(UTC):%Y-%m-%d}", figures, notes)
    print(f"\n{run.machine}; {run.versions}")
    for note in notes:
        print(f"- {note}")
    if write:
        run.save()
        for path, text in written(run).items():
            path.write_text(text, encoding="utf-8")
    if is_compared:
        then = Run.load()
        print(f"\nas shares of the floor, {COMMITTED.name} of {then.day} -> now")
        lines = list(compare(run, then, [*_unmeasurable(then)]))
        print("\n".join(line for line, _ in lines))
        context.exit(int(any(is_worse for _, is_worse in lines)))


def _unmeasurable(then: Run) -> Iterator[str]:
    """The figures that cannot be measured here: strace, or a peer, is missing."""
    if cannot_trace():
        yield from (figure.name for figure in then.figures if figure.name.endswith(FSYNCS))
    yield from (figure_name(peer) for peer in PEERS if not is_installed(peer))


def _machine() -> str:
    found = [line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    return f"{found[0] if found else platform.machine()}, {os.cpu_count()} cores, {platform.system()}"


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines() if Path(path).exists() else []


def _versions() -> str:
    packages = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in _PACKAGES)
    return f"Python {platform.python_version()}, {packages}"


def _measure(environ: dict[str, str], notes: list[str]) -> Iterator[Figure]:
    with OpenD() as opend:
        yield from _starts(opend, environ)
        yield from _console(opend, environ)
        yield from _calls(opend, environ)
        yield from _memory(opend, environ)
    yield from daily(environ)
    yield from everyday(environ, notes)
    yield from growth(environ)
    yield from market(environ)
    yield from _panel(notes)
    yield from peers(environ, notes)
    yield from _bytes(notes)
    yield from _limits(environ, notes)


def _starts(opend: OpenD, environ: Mapping[str, str]) -> Iterator[Figure]:
    def imports(code: str) -> Callable[[], list[float]]:
        return lambda: [process_seconds(code, environ)]

    cases = {"": "", "published": "import futu", "ours": "import futu_si", "floor": _IMPORT_FLOOR}
    found = take_turns({name: imports(code) for name, code in cases.items()}, _STARTS)
    yield times("import", *(found[name] - found[""] for name in ("published", "ours", "floor")))

    at = (opend.host, str(opend.port))
    codes = {
        "published": _FIRST_CALL.format(module="futu", settings="", code=CODE),
        "ours": _FIRST_CALL.format(module="futu_si", settings=", mode='bypass'", code=CODE),
    }
    measures = {name: (lambda code=code: [process_seconds(code, environ, *at)]) for name, code in codes.items()}
    found = take_turns({**measures, "floor": lambda: [process_seconds(_FIRST_FLOOR, environ, *at)]}, _STARTS)
    yield times("first call, from the start of Python", found["published"], found["ours"], found["floor"])


def _console(opend: OpenD, environ: Mapping[str, str]) -> Iterator[Figure]:
    """Commands that print what is recorded, against programs that have the published client fetch it."""
    at = (opend.host, str(opend.port))
    with new_home(environ) as own:
        cache = Path(own["HOME"], CACHE)
        with futu_si.Client(opend.host, opend.port, cache=cache) as client:
            client.sync([CODE])

        def published(case: str) -> Callable[[], list[float]]:
            return lambda: [process_seconds(_PUBLISHED_CALL, own, *at, case)]

        def ours(*command: str) -> Callable[[], list[float]]:
            return lambda: [python_seconds(own, "-m", "futu_si", *command, CODE, "--offline", f"--cache={cache}")]

        for name, case, command in (
            ("futu-si get, of 50 recorded rows", "page-50", ("get", "--num=50")),
            ("futu-si history, recorded", "walk", ("history",)),
            ("futu-si history --csv, recorded", "walk", ("history", "--csv")),
        ):
            measures = {"published": published(case), "ours": ours(*command)}
            found = take_turns({**measures, "floor": lambda: [process_seconds(_CONSOLE_FLOOR, own)]}, _STARTS)
            yield times(name, found["published"], found["ours"], found["floor"])


@contextmanager
def _contenders(opend: OpenD, environ: Mapping[str, str]) -> Iterator[dict[str, Contender]]:
    with contenders(("published", "ours", "floor"), opend.host, opend.port, environ) as running:
        running["ours"].seconds("recorded-walk", 1)  # what the floor reads, too
        yield running


def _calls(opend: OpenD, environ: Mapping[str, str]) -> Iterator[Figure]:
    rows = len(opend.universe.rows(CODE) or ())
    with _contenders(opend, environ) as running:

        def turns(cases: Mapping[str, str], rounds: int, calls: int) -> list[float]:
            found = calls_in_turns(running, cases, rounds, calls)
            return [found[name] for name in ("published", "ours", "floor")]

        for num in (10, 50):
            case = f"page-{num}"
            cases = dict.fromkeys(running, case)
            yield times(f"live page of {num} rows", *turns(cases, _PAGE_ROUNDS, _PAGE_CALLS))
        for name, case, least in (
            ("", "recorded-page", "recorded-page"),
            (", anew", "recorded-page-anew", "recorded-walk"),
        ):
            cases = {"published": "page-50", "ours": case, "floor": least}
            yield times(f"recorded page of 50 rows{name}", *turns(cases, _PAGE_ROUNDS, _PAGE_CALLS))
        cases = dict.fromkeys(running, "walk")
        yield times(f"live history of {rows} rows", *turns(cases, _WALK_ROUNDS, _WALK_CALLS))
        for name, case in ((f"recorded history of {rows} rows", "-first"), ("recorded history, repeated", "")):
            cases = {"published": "walk", "ours": f"recorded-walk{case}", "floor": "recorded-walk"}
            yield times(name, *turns(cases, _WALK_ROUNDS, _WALK_CALLS))

        def refresh(name: str, case: str) -> Callable[[], list[float]]:
            def measure() -> list[float]:
                opend.universe.publish(CODE)
                return running[name].seconds(case, 1)

            return measure

        measures = {name: refresh(name, "walk" if name == "published" else "refresh") for name in running}
        found = take_turns(measures, _WALK_ROUNDS)
        yield times("history after one new row", found["published"], found["ours"], found["floor"])

        def requests(name: str, case: str) -> int:
            opend.requests.clear()
            running[name].seconds(case, 1)
            return len(opend.requests)

        opend.universe.publish(CODE)
        pages = -(-len(opend.universe.rows(CODE) or ()) // 50)
        yield Figure(
            "history after one new row, requests", "", requests("published", "walk"), requests("ours", "refresh"), 1
        )
        yield Figure(
            "loop with the default page, requests", "", requests("published", "loop"), requests("ours", "loop"), pages
        )


def _memory(opend: OpenD, environ: Mapping[str, str]) -> Iterator[Figure]:
    with _contenders(opend, environ) as running:
        for contender in running.values():
            contender.seconds("walk", _WALK_CALLS)
        peaks = (running[name].peak() for name in ("published", "ours", "floor"))
        yield Figure("most memory, live histories", "MiB", *peaks)


def _panel(notes: list[str]) -> Iterator[Figure]:
    others = [name for name in _ENGINES if is_installed(name)]
    told = panel.measure(_SYMBOLS, ("first", "export", "loop", "panel", "parquet", *others))
    milliseconds = {name: found["seconds"] * 1e3 for name, found in told.items()}
    loop, first, again, parquet = (milliseconds[name] for name in ("loop", "first", "panel", "parquet"))
    yield Figure(f"panel of {_SYMBOLS:,} recorded symbols", "ms", loop, again, parquet)
    yield Figure(f"panel of {_SYMBOLS:,} recorded symbols, first", "ms", loop, first, parquet)
    notes += [f"{_ENGINES[name]} in {milliseconds[name]:,.0f} ms." for name in others]


def _bytes(notes: list[str]) -> Iterator[Figure]:
    """The whole simulated market, recorded: the file against the replies as they came, and against Parquet."""
    with OpenD() as opend, tempfile.TemporaryDirectory() as folder:
        cache = Path(folder, "pages.sqlite3")
        with futu_si.Client(opend.host, opend.port, cache=cache) as client:
            client.sync(opend.universe.symbols)
            files = [client.export(Path(folder, "data"), market=market) for market in ("HK", "US")]
        told = overview.info(cache)
        parquet = sum(Path(path).stat().st_size for paths in files for path in paths)
    notes.append(f"Of the bytes a row: Parquet, which keeps no versions and no replies, has {parquet / told.rows:.1f}.")
    yield Figure("page cache, bytes a row", "B", None, told.bytes / told.rows, told.body_bytes / told.rows)


def _limits(environ: Mapping[str, str], notes: list[str]) -> Iterator[Figure]:
    """Twice as many requests as a window has room for: what the server had to refuse."""
    rate = SHORT_INTEREST.rate
    with OpenD(rate=rate) as opend:
        contender = Contender("published", opend.host, opend.port, environ)
        try:
            contender.seconds("limit", 2 * rate.requests)
        finally:
            contender.close()
        refused = sum(not request.accepted for request in opend.requests)
    told = []
    for processes in (1, 8):
        found = budget.at_the_limit(rate, processes, _WINDOWS)
        name = f"sync at the limit, refusals, {processes} process{'es' if processes > 1 else ''}"
        yield Figure(name, "", refused if processes == 1 else None, found.refused, None)
        told.append(f"{found.windows} from {processes}")
    notes.append(
        f"At OpenD's limit ({rate.requests} in {rate.seconds:g} s) windows of a sync took these requests: {', '.join(told)}."
    )


if __name__ == "__main__":
    sys.exit(main())
