"""A daily series of 5,000 rows: twenty years of one symbol, a hundred pages."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from benchmarks.contenders import CODE, DAILY
from benchmarks.figures import Figure, times
from benchmarks.harness import Contender, calls_in_turns, contenders, new_home, take_turns
from opend_si.simulator import Simulator
from opend_si_schema.calls import CALLS

ROWS = 5000
_ROUNDS = 5
_NAMES = ("published", "ours")


def daily(environ: Mapping[str, str]) -> Iterator[Figure]:
    """Its walks, and what a client has of it that has recorded it."""
    call = next(call for call in CALLS if call.name == DAILY)
    with Simulator() as opend, new_home(environ) as own:
        opend.universe.publish(CODE, ROWS - len(opend.universe.rows(CODE, call) or ()), call)
        with contenders(_NAMES, opend.host, opend.port, own) as running:
            found = calls_in_turns(running, dict.fromkeys(_NAMES, "daily-walk"), _ROUNDS, 1)
            yield _row(f"live daily history of {ROWS:,} rows", found)
            running["ours"].seconds("daily-recorded-walk", 1)
            found = calls_in_turns(running, {"published": "daily-walk", "ours": "daily-recorded-walk"}, _ROUNDS, 1)
            yield _row(f"recorded daily history of {ROWS:,} rows", found)

            def after_a_new_row(contender: Contender, case: str) -> Callable[[], list[float]]:
                def measure() -> list[float]:
                    opend.universe.publish(CODE, 1, call)
                    return contender.seconds(case, 1)

                return measure

            measures = {
                "published": after_a_new_row(running["published"], "daily-walk"),
                "ours": after_a_new_row(running["ours"], "daily-refresh"),
            }
            yield _row("daily history after one new row", take_turns(measures, _ROUNDS))


def _row(name: str, found: Mapping[str, float]) -> Figure:
    return times(name, found["published"], found["ours"], None)
