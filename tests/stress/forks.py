"""Forks under busy threads: `python -m tests.stress.forks [--count N]`.

Threads of a process ask without a pause, with each kind of client, one of them in an event loop. Meanwhile the process
forks, and in each child threads ask at once with the clients that it inherited. What comes has to be right, in the
child and in the parent, and no error comes at all. What is right was read off the simulator's universe beforehand. The
exit code is 1 if anything else came, or if anything hung.
"""

import argparse
import asyncio
import json
import os
import signal
import sys
import tempfile
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import futu_si
from opend_si.simulator import Simulator, Universe
from tests.stress.signals import CODES, Expected, expected

COUNT = 1_000
# Seconds after which a child is taken to hang.
PATIENCE = 60
_PAUSE = 0.005
# After so many there is nothing more to learn.
_MOST_ERRORS = 10

Question = Callable[[str], "list[int | None]"]


@dataclass
class Tally:
    """What became of it."""

    forks: int = 0
    answers: int = 0
    in_parent: int = 0
    errors: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        named = "; ".join(f"{count} x {text}" for text, count in self.errors.most_common(8))
        return (
            f"{self.forks:,} forks, {self.answers:,} right answers in children, {self.in_parent:,} beside them in the "
            f"parent; {self.errors.total()} errors{': ' if named else ''}{named}"
        )


class Asker:
    """The clients of a process, and what they should answer."""

    def __init__(self, port: int, rows: Expected) -> None:
        self._rows = rows
        at: dict[str, Any] = {"port": port, "timeout": 20}
        self._plain = futu_si.Client(**at, mode="bypass")
        self._recording = futu_si.Client(**at, mode="online")
        futu_si.configure(**at, mode="bypass")
        self.overlapping = futu_si.AsyncClient(**at, mode="bypass")

    def page(self, code: str) -> list[int | None]:
        return [record.timestamp for record in self._plain.get_page(code).records]

    def recorded(self, code: str) -> list[int | None]:
        return [record.timestamp for record in self._recording.get_page(code).records]

    def dropped_in(self, code: str) -> list[int | None]:
        ret, us, hk = futu_si.get_short_interest(code)
        if ret != futu_si.RET_OK or isinstance(us, str) or hk is None:
            raise ValueError(us)
        return [int(at) for at in (us if len(us) else hk)["timestamp"]]

    async def overlapped(self, code: str) -> list[int | None]:
        return [record.timestamp for record in (await self.overlapping.get_page(code)).records]

    def in_a_loop(self, code: str) -> list[int | None]:
        return asyncio.run(self.overlapped(code))

    def wrong(self, question: Question, code: str) -> str | None:
        """Ask; gives what is wrong with the answer."""
        try:
            found = question(code)
        except BaseException as error:
            return f"{question.__name__}: {error!r}"[:300]
        return None if found == self._rows[code][:10] else f"{question.__name__}: another answer"

    @contextmanager
    def at_work(self, tally: Tally) -> Iterator[None]:
        """Threads ask, each over and over, until the `with` ends."""
        done = threading.Event()

        def note(wrong: str | None) -> None:
            if wrong is None:
                tally.in_parent += 1
            else:
                tally.errors[f"in the parent: {wrong}"] += 1

        def work(question: Question) -> None:
            while not done.is_set():
                for code in CODES:
                    note(self.wrong(question, code))
                    time.sleep(_PAUSE)

        async def work_in_loop() -> None:
            while not done.is_set():
                for code in CODES:
                    try:
                        found = await self.overlapped(code)
                        note(None if found == self._rows[code][:10] else "another answer")
                    except Exception as error:
                        note(repr(error))
                    await asyncio.sleep(_PAUSE)
            await self.overlapping.close()

        threads = [threading.Thread(target=work, args=(q,)) for q in (self.page, self.recorded, self.dropped_in)]
        threads.append(threading.Thread(target=lambda: asyncio.run(work_in_loop())))
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            done.set()
            for thread in threads:
                thread.join()

    def answer_at_once(self) -> list[str | None]:
        """Ask from several threads of a child at the same moment; gives what is wrong with each answer."""
        found: list[str | None] = []
        together = threading.Barrier(6)

        def ask(question: Question, code: str) -> None:
            together.wait()
            found.append(self.wrong(question, code))

        questions = [self.page, self.page, self.recorded, self.dropped_in, self.dropped_in]
        threads = [threading.Thread(target=ask, args=(q, CODES[n % 3])) for n, q in enumerate(questions)]
        threads.append(threading.Thread(target=ask, args=(self.in_a_loop, CODES[0])))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return found


def fork(asker: Asker, tally: Tally) -> None:
    """Fork once, and note what a child's threads were answered."""
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(PATIENCE)
        try:
            os.write(theirs, json.dumps(asker.answer_at_once()).encode())
        finally:
            os._exit(0)
    os.close(theirs)
    with os.fdopen(ours, "rb") as told:
        said = told.read()
    os.waitpid(child, 0)
    tally.forks += 1
    for wrong in json.loads(said) if said else ["it hangs"]:
        if wrong is None:
            tally.answers += 1
        else:
            tally.errors[f"in a child: {wrong}"] += 1


def run(count: int) -> Tally:
    """Fork so many times."""
    tally = Tally()
    with Simulator(Universe(symbols=CODES, most_rows=120)) as opend:
        asker = Asker(opend.port, expected(opend.universe))
        for question in (asker.page, asker.recorded, asker.dropped_in):
            if (wrong := asker.wrong(question, CODES[0])) is not None:
                tally.errors[wrong] += 1
        with asker.at_work(tally):
            for _ in range(count):
                if tally.errors.total() >= _MOST_ERRORS:
                    break
                fork(asker, tally)
                opend.requests.clear()
                opend.asked_for.clear()
    return tally


def main() -> int:
    """Print what became of it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--count", type=int, default=COUNT)
    given = parser.parse_args()
    warnings.simplefilter("ignore", DeprecationWarning)  # of a fork under threads, which is what this is about
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as home:
        os.environ.update(OPEND_SI_HOME=home, OPEND_SI_RATE="off")
        tally = run(given.count)
    print(f"{tally}; {time.monotonic() - begun:.0f} s")
    return 1 if tally.errors else 0


if __name__ == "__main__":
    sys.exit(main())
