"""What users have: the rate budget is kept, replies are recorded on a disk, and others write into the same record.

The budget's limit is one that no call waits for: its slots are taken and given back as ever. Whoever waits for a disk
waits for fsync and fdatasync, so these are counted, with strace; how long one takes is the disk's own.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from benchmarks.contenders import CODE, DAILY, OTHERS
from benchmarks.figures import Figure, times
from benchmarks.harness import Contender, OpenD, calls_in_turns, contenders, new_home, take_turns
from opend_si.simulator import Universe
from opend_si_schema.calls import CALLS, SHORT_INTEREST

# As many slots as OpenD's limit has, free again at once.
_RATE = "30/0.001"
_PAGE_ROUNDS, _PAGE_CALLS, _WALK_ROUNDS, _WALK_CALLS = 20, 10, 10, 2
# Symbols of which a page or a whole history is asked for once.
_PAGE_SYMBOLS, _WALK_SYMBOLS = OTHERS, OTHERS[:30]
# A daily series of twenty years: a hundred pages.
_DAILY_ROWS, _DAILY_ROUNDS = 5000, 5
_CLIENTS = ("published", "ours")
# How the figures end that are counts of fsync and fdatasync.
FSYNCS = ": fsyncs"
_NAMES = ("published", "ours", "floor")
_STRACE = ("strace", "--follow-forks", "--quiet=all", "--trace=fsync,fdatasync")


def everyday(environ: Mapping[str, str], notes: list[str]) -> Iterator[Figure]:
    """Figures with the budget kept."""
    kept = {**environ, "OPEND_SI_RATE": _RATE}
    with new_home(kept) as own:
        yield from _pages(own)
    with new_home(kept) as own:
        yield from _walks(own)
    with new_home(kept) as own:
        yield from _syncs_of_the_disk(own, notes)


def _opend(symbols: Sequence[str], most_rows: int | None = None) -> OpenD:
    universe = Universe(symbols=[CODE, *symbols], most_rows=most_rows)
    for symbol in symbols:
        universe.rows(symbol)  # made now, not when a contender waits for them
    return OpenD(universe)


def _pages(environ: Mapping[str, str]) -> Iterator[Figure]:
    """Pages of histories that have hardly more rows than a page."""
    with (
        _opend(_PAGE_SYMBOLS, SHORT_INTEREST.page_size.maximum) as opend,
        contenders(_NAMES, opend.host, opend.port, environ) as running,
    ):
        cases = dict.fromkeys(_NAMES, "page-50")
        yield _row("live page, budget on", calls_in_turns(running, cases, _PAGE_ROUNDS, _PAGE_CALLS))
        cases = {"published": "page-50", "ours": "fetched-page", "floor": "fetched-page"}
        yield _row("live page, recorded, budget on", calls_in_turns(running, cases, _PAGE_ROUNDS, _PAGE_CALLS))


def _walks(environ: Mapping[str, str]) -> Iterator[Figure]:
    with (
        _opend(_WALK_SYMBOLS) as opend,
        ExitStack() as stack,
    ):
        running = stack.enter_context(contenders(_NAMES, opend.host, opend.port, environ))
        cases = dict.fromkeys(_NAMES, "walk")
        yield _row("live history, budget on", calls_in_turns(running, cases, _WALK_ROUNDS, _WALK_CALLS))
        cases = {"published": "walk", "ours": "fetched-walk", "floor": "fetched-walk"}
        yield _row("live history, recorded, budget on", calls_in_turns(running, cases, _WALK_ROUNDS, 1))

        running["ours"].seconds("recorded-walk", 1)
        cases = {"published": "walk", "ours": "refresh", "floor": "refresh"}
        measures = {name: _after_new_row(opend, running[name], case) for name, case in cases.items()}
        yield _row("history, one new row, budget on", take_turns(measures, _WALK_ROUNDS))

        # The other writes before each look: what the reader has in memory is of a file that has changed since.
        writer = stack.enter_context(contenders(("ours",), opend.host, opend.port, environ))["ours"]
        running["ours"].seconds("recorded-page", 1)
        found = take_turns(
            {
                "published": lambda: running["published"].seconds("page-50", 1),
                "ours": _beside(writer, running["ours"]),
                "floor": lambda: running["floor"].seconds("recorded-page", 1),
            },
            len(_WALK_SYMBOLS) - 1,
        )
        yield _row("recorded page, beside a writer", found)


def _after_new_row(opend: OpenD, contender: Contender, case: str) -> Callable[[], list[float]]:
    def measure() -> list[float]:
        opend.universe.publish(CODE)
        return contender.seconds(case, 1)

    return measure


def _beside(writer: Contender, reader: Contender) -> Callable[[], list[float]]:
    def measure() -> list[float]:
        writer.seconds("sync-next", 1)
        return reader.seconds("recorded-page", 1)

    return measure


def daily(environ: Mapping[str, str]) -> Iterator[Figure]:
    """A daily series of so many rows: walks, and what a client has of it that has recorded it."""
    call = next(call for call in CALLS if call.name == DAILY)
    with OpenD() as opend, new_home(environ) as own:
        opend.universe.publish(CODE, _DAILY_ROWS - len(opend.universe.rows(CODE, call) or ()), call)
        with contenders(_CLIENTS, opend.host, opend.port, own) as running:
            found = calls_in_turns(running, dict.fromkeys(_CLIENTS, "daily-walk"), _DAILY_ROUNDS, 1)
            yield _row(f"live daily history of {_DAILY_ROWS:,} rows", found)
            running["ours"].seconds("daily-recorded-walk", 1)
            found = calls_in_turns(
                running, {"published": "daily-walk", "ours": "daily-recorded-walk"}, _DAILY_ROUNDS, 1
            )
            yield _row(f"recorded daily history of {_DAILY_ROWS:,} rows", found)

            def after_a_new_row(contender: Contender, case: str) -> Callable[[], list[float]]:
                def measure() -> list[float]:
                    opend.universe.publish(CODE, 1, call)
                    return contender.seconds(case, 1)

                return measure

            measures = {
                "published": after_a_new_row(running["published"], "daily-walk"),
                "ours": after_a_new_row(running["ours"], "daily-refresh"),
            }
            yield _row("daily history after one new row", take_turns(measures, _DAILY_ROUNDS))


def _syncs_of_the_disk(environ: Mapping[str, str], notes: list[str]) -> Iterator[Figure]:
    """How often a call waits for the disk."""
    if why := cannot_trace():
        notes.append(f"Calls of fsync and fdatasync are not measured: {why}.")
        return
    traces = {name: Path(environ["HOME"], f"{name}.strace") for name in ("ours", "floor")}
    under = {name: (*_STRACE, f"--output={path}") for name, path in traces.items()}
    with (
        _opend(_WALK_SYMBOLS) as opend,
        contenders(tuple(traces), opend.host, opend.port, environ, under) as running,
    ):

        def count(name: str, case: str) -> int:
            before = len(traces[name].read_text().splitlines())
            running[name].seconds(case, 1)
            return len(traces[name].read_text().splitlines()) - before

        for name in traces:
            running[name].seconds("fetched-page", 1)  # files are made once
        running["ours"].seconds("recorded-walk", 1)
        opend.universe.publish(CODE)
        pages = -(-len(opend.universe.rows(OTHERS[0]) or ()) // SHORT_INTEREST.page_size.maximum)
        for title, case, least in (
            (f"live page, not recorded{FSYNCS}", "page-50", None),
            (f"recorded page{FSYNCS}", "fetched-page", "fetched-page"),
            (f"history, one new row{FSYNCS}", "refresh", "fetched-page"),
            (f"history of {pages} pages{FSYNCS}", "fetched-walk", "fetched-walk"),
        ):
            yield Figure(title, "", None, count("ours", case), None if least is None else count("floor", least))


def cannot_trace() -> str:
    """Why system calls cannot be counted here; nothing if they can."""
    if shutil.which(_STRACE[0]) is None:
        return "strace is missing"
    done = subprocess.run([*_STRACE, "--output=/dev/null", "true"], capture_output=True, text=True)
    return "" if done.returncode == 0 else f"strace may not trace here ({done.stderr.strip()})"


def _row(name: str, found: Mapping[str, float]) -> Figure:
    return times(name, found["published"], found["ours"], found.get("floor"))
