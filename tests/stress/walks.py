"""Processes that walk one record at the same time: `python -m tests.stress.walks [--minutes 5] [--cursor timestamp]`.

A server publishes and revises rows all the while; processes ask for histories and pages of it, in modes online and
refresh, with offline looks between. The oracle knows every state that the server had and when: the rows of a history
must be of days that one of the states had while it was walked, without a gap and without a double, and each value one
that its row had. No call may fail. The exit code is 1 if any was wrong.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path

import futu_si
from opend_si.errors import CacheMiss, ShortInterestError
from opend_si.simulator import Simulator, Universe

CODE, ROWS = "HK.00700", 260


def ask(host: str, port: int, cache: str, seconds: float, seed: int) -> None:
    """One process: print a line for each history, and for each error."""
    warnings.simplefilter("ignore")
    chance, until = random.Random(seed), time.monotonic() + seconds
    clients = [
        futu_si.Client(host, port, cache=cache, timeout=30, mode="online", max_age=0),
        futu_si.Client(host, port, cache=cache, timeout=30, mode="online", max_age=0.3),
        futu_si.Client(host, port, cache=cache, timeout=30, mode="refresh"),
        futu_si.Client(host, port, cache=cache, timeout=30, mode="offline"),
    ]
    while time.monotonic() < until:
        client = chance.choice(clients)
        begun = time.time()
        told: dict[str, object] = {"begun": begun, "mode": str(client._settings.mode)}
        try:
            if chance.random() < 0.3:
                page = client.get_page(CODE, num=chance.choice((10, 50)))
                if page.next and chance.random() < 0.5:
                    client.get_page(CODE, page.next, page.num)
                continue
            frame = client.history(CODE)
            told["rows"] = list(zip(frame["timestamp"].tolist(), frame["aggregated_short"].tolist(), strict=True))
        except CacheMiss:
            continue
        except ShortInterestError as error:
            told["error"] = f"{type(error).__name__}: {error}"
        print(json.dumps({**told, "ended": time.time()}), flush=True)
        time.sleep(0.005)


def main() -> int:
    """Print what was asked, and what was wrong."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--cursor", choices=("timestamp", "offset"), default="timestamp")
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--worker", nargs=5, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        host, port, cache, seconds, seed = options.worker
        ask(host, int(port), cache, float(seconds), int(seed))
        return 0
    os.environ.update(OPEND_SI_RATE="off")
    with tempfile.TemporaryDirectory() as folder, Simulator(Universe(most_rows=ROWS), cursor=options.cursor) as opend:
        states, lines = _drive(opend, Path(folder), options.minutes * 60, options.processes)
    return _judge(states, lines, f"{options.minutes:g} min, {options.processes} processes, {options.cursor} cursors")


State = tuple[float, dict[int, int]]


def _drive(opend: Simulator, folder: Path, seconds: float, count: int) -> tuple[list[State], list[str]]:
    """Publish and revise while processes ask; gives what the server had since when, and what they print."""

    def state() -> State:
        return time.time(), {row.timestamp: row.aggregatedShort for row in opend.universe.rows(CODE) or ()}

    command = [sys.executable, "-m", "tests.stress.walks", "--worker", opend.host, str(opend.port)]
    workers = []
    for number in range(count):
        with (folder / f"{number}.out").open("w") as out:
            arguments = [*command, str(folder / "pages.sqlite3"), str(seconds), str(number)]
            workers.append(subprocess.Popen(arguments, stdout=out))
    chance, states = random.Random(0), [state()]
    while any(worker.poll() is None for worker in workers):
        time.sleep(0.1 + chance.random() * 0.3)
        if chance.random() < 0.5 and len(states[-1][1]) < 4 * ROWS:
            opend.universe.publish(CODE, chance.choice((1, 1, 2, 55)))
        else:
            place = chance.randrange(len(states[-1][1]))
            opend.universe.revise(CODE, place, aggregatedShort=chance.randrange(1000))
        states.append(state())
    return states, [line for number in range(count) for line in (folder / f"{number}.out").read_text().splitlines()]


def _judge(states: list[State], lines: list[str], title: str) -> int:
    counts: Counter[str] = Counter()
    had: dict[int, set[int]] = {}
    for _, rows in states:
        for at, value in rows.items():
            had.setdefault(at, set()).add(value)
    days = [(since, sorted(rows)) for since, rows in states]
    for line in lines:
        told = json.loads(line)
        counts[f"histories in mode {told['mode']}"] += 1
        fault = told.get("error")
        if fault is not None and "kept changing" in fault:  # and so they did
            counts["walks given up, for rows kept changing"] += 1
            continue
        if fault is None:
            fault = _fault(told, days, had)
        if fault:
            counts["wrong"] += 1
            print(f"{told['mode']}: {fault}", flush=True)
    wrong = counts.pop("wrong", 0)
    print(f"{title}, {len(states):,} changes: {wrong} wrong")
    for name, count in sorted(counts.items()):
        print(f"  {count:>8,} {name}")
    return int(bool(wrong))


def _fault(told: dict[str, object], days: list[tuple[float, list[int]]], had: dict[int, set[int]]) -> str:
    rows = told["rows"]
    assert isinstance(rows, list)
    ats = [at for at, _ in rows]
    begun, ended = float(str(told["begun"])), float(str(told["ended"]))
    first = max((place for place, (since, _) in enumerate(days) if since <= begun - 0.5), default=0)
    if told["mode"] == "offline":
        first = 0
    if not any(state == ats for since, state in days[first:] if since <= ended):
        last = next(state for since, state in reversed(days) if since <= ended)
        missing = [last.index(at) for at in last if at not in set(ats)]
        return f"{len(ats)} rows, which the server never had while it was walked; of its {len(last)} not the {missing[:20]}th"
    if any(value not in had[at] for at, value in rows):
        return "a value that the server never had"
    return ""


if __name__ == "__main__":
    sys.exit(main())
