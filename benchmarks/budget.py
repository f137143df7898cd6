"""`python -m benchmarks.budget`: many processes at OpenD's strict limit, counted at the simulator's server.

First 12 processes of 4 threads want the same cold page; then 8 processes sync symbols that nobody has, over four
windows of 30 seconds. Takes a little over two minutes.
"""

import sys
import tempfile
from collections import Counter
from dataclasses import dataclass

from opend_si.simulator import Simulator, Universe
from opend_si_schema.calls import SHORT_INTEREST
from opend_si_schema.definitions import Rate
from tests.stress.together import ask_together, sync_together

_WINDOWS = 4
_PROCESSES = 8


def main() -> int:
    """Print both counts; exit code 1 if a law is broken."""
    return 0 if all([_cold_page(), _windows(SHORT_INTEREST.rate)]) else 1


def _cold_page() -> bool:
    with Simulator(latency=0.05) as opend, tempfile.TemporaryDirectory() as home:
        environ = {"OPEND_SI_MODE": "online", "OPEND_SI_HOME": home}
        total = ask_together(12, opend.host, opend.port, "HK.00700", threads=4, pages=1, **environ)
    print(
        f"12 processes of 4 threads on one cold page: {len(opend.requests)} request at the server; answers {dict(total)}"
    )
    return len(opend.requests) == 1 and total.total() == 48


@dataclass(frozen=True)
class AtTheLimit:
    """What the server saw: requests of each window, refusals, and seconds from the first to the last."""

    windows: list[int]
    refused: int
    seconds: float
    answers: dict[str, int]


def at_the_limit(rate: Rate, processes: int, windows: int) -> AtTheLimit:
    """Processes that sync as many symbols as so many windows have room for, one page each."""
    symbols = [f"HK.{number:05d}" for number in range(1, rate.requests * windows + 1)]
    universe = Universe(symbols=symbols, most_rows=SHORT_INTEREST.page_size.maximum)
    with Simulator(universe, rate=rate) as opend, tempfile.TemporaryDirectory() as home:
        environ = {
            "OPEND_SI_MODE": "online",
            "OPEND_SI_HOME": home,
            "OPEND_SI_RATE": f"{rate.requests}/{rate.seconds:g}",
        }
        total = sync_together(processes, opend.host, opend.port, symbols, **environ)
    begin = opend.requests[0].at
    counts = Counter(int((request.at - begin) // rate.seconds) for request in opend.requests)
    refused = sum(not request.accepted for request in opend.requests)
    took = opend.requests[-1].at - begin
    return AtTheLimit([counts[number] for number in range(windows)], refused, took, dict(total))


def _windows(rate: Rate) -> bool:
    found = at_the_limit(rate, _PROCESSES, _WINDOWS)
    print(
        f"{_PROCESSES} processes at {rate.requests} per {rate.seconds:g} s: {found.refused} refusals, requests per window "
        f"{found.windows}, {found.seconds:.2f} s from first to last; answers {found.answers}"
    )
    return found.refused == 0 and all(count >= rate.requests - 1 for count in found.windows)


if __name__ == "__main__":
    sys.exit(main())
