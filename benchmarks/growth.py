"""`python -m benchmarks.growth [SYNCS]`: a record that was synced weekly for years, against a fresh one of the same rows.

Each week the symbol has a new row, and now and then a revised one, and is synced once: so the record has a superseded
reply a week. A client that syncs the same symbol at the end has the same history in its first replies. What stands in the
column of the floor is of that fresh record.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import futu_si
from benchmarks.contenders import CACHE, CODE
from benchmarks.figures import Figure, table, times
from benchmarks.harness import Contender, calls_in_turns, contenders, surroundings, take_turns
from opend_si.simulator import Simulator
from opend_si_schema.calls import SHORT_INTEREST

SYNCS = 250
# Every so many weeks the row of the week before has another value.
_REVISED_EVERY = 10
_ROUNDS, _CALLS = 10, 5
_CASES = {
    "page by a new client": "recorded-page-anew",
    "history by a new client": "recorded-walk-anew",
    "history again": "recorded-walk",
    "panel of the symbol": "panel",
    "idle sync": "sync",
    "history, nothing new": "refresh",
}


def main(syncs: int = SYNCS) -> int:
    """Print the figures."""
    print("\n".join(table([])))
    with surroundings() as environ:
        os.environ.update(environ)
        for figure in growth(environ, syncs):
            print(list(table([figure]))[1], flush=True)
    return 0


def growth(environ: Mapping[str, str], syncs: int = SYNCS) -> Iterator[Figure]:
    """The old record's figures, the fresh one's as their floors."""
    with Simulator() as opend, tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        homes = {name: Path(folder, name) for name in ("old", "fresh")}
        for home in homes.values():
            home.mkdir()
        _live(opend, homes["old"] / CACHE, syncs)
        _sync(opend, homes["fresh"] / CACHE)
        _check_rows(opend, homes)
        sizes = {name: (home / CACHE).stat().st_size / 1024 for name, home in homes.items()}
        yield Figure(f"{syncs} syncs: file", "KiB", None, sizes["old"], sizes["fresh"])

        running: dict[str, Contender] = {}
        for name, home in homes.items():
            own = {**environ, "HOME": str(home), "OPEND_SI_HOME": str(home)}
            running[name] = stack.enter_context(contenders(("ours",), opend.host, opend.port, own))["ours"]
        for name, case in _CASES.items():
            found = calls_in_turns(running, dict.fromkeys(running, case), _ROUNDS, _CALLS)
            yield times(f"{syncs} syncs: {name}", None, found["old"], found["fresh"])
        yield _after_one_row(f"{syncs} syncs: history, one new row", opend, running)


def _live(opend: Simulator, cache: Path, syncs: int) -> None:
    """What happens to a record in so many weeks."""
    table = next(table for table in SHORT_INTEREST.tables if CODE.startswith(f"{table.market.prefix}."))
    field = table.column(table.short).field
    with futu_si.Client(opend.host, opend.port, cache=cache, max_age=0) as client:
        client.sync([CODE])
        for week in range(1, syncs + 1):
            if week % _REVISED_EVERY == 0:
                newest = (opend.universe.rows(CODE) or ())[0]
                opend.universe.revise(CODE, 0, **{field: getattr(newest, field) + 1})
            opend.universe.publish(CODE)
            report = client.sync([CODE])
            if not report.ok or report.new_rows != 1:
                raise RuntimeError(report)


def _sync(opend: Simulator, cache: Path) -> None:
    with futu_si.Client(opend.host, opend.port, cache=cache) as client:
        client.sync([CODE])


def _check_rows(opend: Simulator, homes: Mapping[str, Path]) -> None:
    """Both records have every row: else two different things were measured."""
    expected = len(opend.universe.rows(CODE) or ())
    for name, home in homes.items():
        with futu_si.Client(cache=home / CACHE, mode="offline") as client:
            found = len(client.history(CODE))
        if found != expected:
            raise RuntimeError(f"the {name} record has {found} rows of {expected}")


def _after_one_row(name: str, opend: Simulator, running: Mapping[str, Contender]) -> Figure:
    def old() -> list[float]:
        opend.universe.publish(CODE)  # the fresh record, asked right after, meets the same row
        return running["old"].seconds("refresh", 1)

    found = take_turns({"old": old, "fresh": lambda: running["fresh"].seconds("refresh", 1)}, _ROUNDS)
    return times(name, None, found["old"], found["fresh"])


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
