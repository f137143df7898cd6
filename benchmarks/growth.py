"""`python -m benchmarks.growth [SYNCS]`.

A record that was synced weekly for years, against a fresh one of the same rows.

Each week the symbol has a new row and is synced once: so the record has a superseded reply a week. *Plain* syncs meet
no revisions; the others meet one every ten weeks. A client that syncs the same symbol at the end has the same history
in its first replies. What stands in the column of the floor is of that fresh record.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import futu_si
from benchmarks.contenders import CACHE, CODE
from benchmarks.figures import Figure, table, times
from benchmarks.harness import Contender, OpenD, calls_in_turns, contenders, new_home, surroundings, take_turns
from opend_si_schema.calls import SHORT_INTEREST

SYNCS = 250
# Every so many weeks the row of the week before has another value.
_REVISED_EVERY = 10
_ROUNDS, _CALLS = 10, 5
_CASES = {
    "new client's page": "recorded-page-anew",
    "new client's history": "recorded-walk-anew",
    "history again": "recorded-walk",
    "panel of the symbol": "panel",
    "idle sync": "sync",
    "history, nothing new": "refresh",
}
# What is measured of a record without revisions, too.
_PLAIN = ("new client's history", "panel of the symbol")


def main(syncs: int = SYNCS) -> int:
    """Print the figures."""
    print("\n".join(table([])))
    with surroundings() as environ:
        os.environ.update(environ)
        for figure in growth(environ, syncs):
            print(list(table([figure]))[1], flush=True)
    return 0


def growth(environ: Mapping[str, str], syncs: int = SYNCS) -> Iterator[Figure]:
    """The old records' figures, the fresh ones' as their floors."""
    yield from _against_fresh(environ, syncs, f"{syncs} plain syncs", None, _PLAIN)
    yield from _against_fresh(environ, syncs, f"{syncs} syncs", _REVISED_EVERY, tuple(_CASES))


def _against_fresh(
    environ: Mapping[str, str], syncs: int, title: str, revised_every: int | None, cases: tuple[str, ...]
) -> Iterator[Figure]:
    with OpenD() as opend, ExitStack() as stack:
        environs = {name: stack.enter_context(new_home(environ)) for name in ("old", "fresh")}
        caches = {name: Path(own["HOME"], CACHE) for name, own in environs.items()}
        _live(opend, caches["old"], syncs, revised_every)
        _sync(opend, caches["fresh"])
        _check_rows(opend, caches)
        sizes = {name: cache.stat().st_size / 1024 for name, cache in caches.items()}
        yield Figure(f"{title}: file", "KiB", None, sizes["old"], sizes["fresh"])

        running: dict[str, Contender] = {}
        for name, own in environs.items():
            running[name] = stack.enter_context(contenders(("ours",), opend.host, opend.port, own))["ours"]
        for name in cases:
            case = _CASES[name]
            found = calls_in_turns(running, dict.fromkeys(running, case), _ROUNDS, _CALLS)
            yield times(f"{title}: {name}", None, found["old"], found["fresh"])
        yield _after_one_row(f"{title}: history, one new row", opend, running)


def _live(opend: OpenD, cache: Path, syncs: int, revised_every: int | None) -> None:
    """What happens to a record in so many weeks."""
    table = next(table for table in SHORT_INTEREST.tables if CODE.startswith(f"{table.market.prefix}."))
    field = table.column(table.short).field
    with futu_si.Client(opend.host, opend.port, cache=cache, max_age=0) as client:
        client.sync([CODE])
        for week in range(1, syncs + 1):
            if revised_every is not None and week % revised_every == 0:
                newest = (opend.universe.rows(CODE) or ())[0]
                opend.universe.revise(CODE, 0, **{field: getattr(newest, field) + 1})
            opend.universe.publish(CODE)
            report = client.sync([CODE])
            if not report.ok or report.new_rows != 1:
                raise RuntimeError(report)


def _sync(opend: OpenD, cache: Path) -> None:
    with futu_si.Client(opend.host, opend.port, cache=cache) as client:
        client.sync([CODE])


def _check_rows(opend: OpenD, caches: Mapping[str, Path]) -> None:
    """Both records have every row: else two different things were measured."""
    expected = len(opend.universe.rows(CODE) or ())
    for name, cache in caches.items():
        with futu_si.Client(cache=cache, mode="offline") as client:
            found = len(client.history(CODE))
        if found != expected:
            raise RuntimeError(f"the {name} record has {found} rows of {expected}")


def _after_one_row(name: str, opend: OpenD, running: Mapping[str, Contender]) -> Figure:
    def old() -> list[float]:
        opend.universe.publish(CODE)  # the fresh record, asked right after, meets the same row
        return running["old"].seconds("refresh", 1)

    found = take_turns({"old": old, "fresh": lambda: running["fresh"].seconds("refresh", 1)}, _ROUNDS)
    return times(name, None, found["old"], found["fresh"])


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
