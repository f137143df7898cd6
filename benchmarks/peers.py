"""`python -m benchmarks.peers`.

Caches that people put in front of a call by hand, where they are installed. None is needed here.

A page of 50 rows from each cache, as a DataFrame, in turns with a recorded page of this package. What stands in the
column of the floor is the peer's.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping

from benchmarks.contenders import PEERS, is_installed
from benchmarks.figures import Figure, table, times
from benchmarks.harness import OpenD, calls_in_turns, contenders, new_home, surroundings

_ROUNDS, _CALLS = 20, 50


def peers(environ: Mapping[str, str], notes: list[str]) -> Iterator[Figure]:
    """A recorded page against each peer's; a note names those that are not installed."""
    with (
        OpenD() as opend,
        new_home(environ) as own,
        contenders(("ours", "peers"), opend.host, opend.port, own) as running,
    ):
        for name in PEERS:
            if is_installed(name):
                found = calls_in_turns(running, {"ours": "recorded-page", "peers": name}, _ROUNDS, _CALLS)
                yield times(figure_name(name), None, found["ours"], found["peers"])
    if missing := [name for name in PEERS if not is_installed(name)]:
        notes.append(f"Not installed, so not measured: {', '.join(missing)}.")


def main() -> int:
    """Print the figures."""
    notes: list[str] = []
    with surroundings() as environ:
        print("\n".join(table(list(peers(environ, notes)))))
    print("\n".join(notes))
    return 0


def figure_name(peer: str) -> str:
    """How a peer's figure is called."""
    return f"recorded page, against {peer}"


if __name__ == "__main__":
    sys.exit(main())
