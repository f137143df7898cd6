"""`python -m benchmarks.budget`: many processes at OpenD's strict limit, counted at the simulator's server.

First 12 processes of 4 threads want the same cold page; then 8 processes keep asking for pages that nobody has, over
four windows of 30 seconds. Takes a little over two minutes.
"""

import sys
import tempfile
from collections import Counter

from benchmarks.together import ask_together
from opend_si.simulator import Simulator
from opend_si_schema.calls import SHORT_INTEREST
from opend_si_schema.definitions import Rate

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


def _windows(rate: Rate) -> bool:
    pages = rate.requests * _WINDOWS // _PROCESSES
    with Simulator(rate=rate) as opend, tempfile.TemporaryDirectory() as home:
        environ = {
            "OPEND_SI_MODE": "bypass",
            "OPEND_SI_HOME": home,
            "OPEND_SI_RATE": f"{rate.requests}/{rate.seconds:g}",
        }
        total = ask_together(_PROCESSES, opend.host, opend.port, "HK.00700", threads=1, pages=pages, **environ)
    begin = opend.requests[0].at
    counts = Counter(int((request.at - begin) // rate.seconds) for request in opend.requests)
    refused = sum(not request.accepted for request in opend.requests)
    took = opend.requests[-1].at - begin
    print(
        f"{_PROCESSES} processes at {rate.requests} per {rate.seconds:g} s: {refused} refusals, requests per window "
        f"{[counts[number] for number in range(_WINDOWS)]}, {took:.2f} s from first to last; answers {dict(total)}"
    )
    return refused == 0 and all(counts[number] >= rate.requests - 1 for number in range(_WINDOWS))


if __name__ == "__main__":
    sys.exit(main())
