"""Many symbols in one record.

Histories in turn, a sync with nothing to ask for, the screen and the sums of the record.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from benchmarks import panel
from benchmarks.contenders import CACHE, CODE, MANY, TURNS
from benchmarks.figures import Figure, times
from benchmarks.harness import OpenD, calls_in_turns, contenders, new_home
from opend_si.simulator import Universe

_TURN_ROUNDS, _ROUNDS = 5, 5


def market(environ: Mapping[str, str]) -> Iterator[Figure]:
    """Figures of a record of a thousand symbols."""
    with new_home(environ) as own, OpenD(Universe(symbols=[CODE], most_rows=panel.ROWS)) as opend:
        panel.make(Path(own["HOME"], CACHE), len(MANY))
        with contenders(("published", "ours", "floor"), opend.host, opend.port, own) as running:
            for count in TURNS:
                cases = {"published": "walk", "ours": f"turn-{count}", "floor": f"turn-{count}"}
                for name in ("ours", "floor"):
                    running[name].seconds(cases[name], 2 * count)  # each was asked for twice before
                found = calls_in_turns(running, cases, _TURN_ROUNDS, count // _TURN_ROUNDS)
                yield times(f"recorded histories, {count} in turn", found["published"], found["ours"], found["floor"])
            for name, case, share in (
                ("sync within max_age, a symbol", "sync-many", len(MANY)),
                (f"screen of {len(MANY):,} symbols", "screen", 1),
                (f"cache info of {len(MANY):,} symbols", "info", 1),
            ):
                found = calls_in_turns(running, {"ours": case, "floor": case}, _ROUNDS, 1)
                yield times(name, None, found["ours"] / share, found["floor"] / share)
