"""Calls through chaos: `python -m tests.stress.chaos [calls]`.

A simulator spoils half of its replies, each kind of fault by its weight. Half of the calls are the blocking client's,
one after the other; half the asyncio client's, several at a time. An answer has to be what the simulator knows, or what
one of its altered replies said; an error has to be one of this package, and for a reason; and memory has to stay as it
is. The exit code is 1 if anything was wrong, or if memory grew by more than `MOST_GROWTH` after the first tenth.
"""

import asyncio
import logging
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import pandas as pd

import futu_si
from benchmarks.memory import resident
from opend_si.errors import RequestTimeout, ShortInterestError
from opend_si.pages import Page
from opend_si.simulator import Simulator, Universe
from opend_si.simulator.chaos import Chaos

CALLS = 10_000
# MiB that resident memory may grow by once all is warm.
MOST_GROWTH = 8.0
TIMEOUT = 0.5
_AT_ONCE = 4
_ROWS = 120  # three pages
_SYMBOLS = ("HK.00700", "HK.00005", "US.AAPL", "US.GME")
_SHARES = {"page": 8, "history": 1, "pages": 1}

Question: TypeAlias = tuple[str, str, int]


@dataclass
class Tally:
    """What became of the calls."""

    calls: int = 0
    right: int = 0
    altered: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        named = ", ".join(f"{name} {count:,}" for name, count in self.errors.most_common())
        return (
            f"{self.calls:,} calls: {self.right:,} right answers, {self.altered:,} as an altered reply said; {named or 'no error'}; "
            f"wrong: {len(self.wrong)}"
        )


class Judge:
    """Knows what is right, and tallies what came."""

    def __init__(self, opend: Simulator, chaos: Chaos) -> None:
        self._chaos = chaos
        self.tally = Tally()
        self._pages: dict[Question, bytes] = {}
        # What there is to know, from a simulator that spoils nothing.
        with Simulator(opend.universe) as sound, futu_si.Client(sound.host, sound.port, mode="bypass") as client:
            self._histories = {code: client.history(code).drop(columns="known_at") for code in _SYMBOLS}
            for code in _SYMBOLS:
                for num in (10, 50):
                    self._pages[code, "page", num] = client.get_page(code, num=num).body

    @property
    def ends(self) -> int:
        """How many replies made a history end early."""
        return self._chaos.drawn["no_next_key"] + self._chaos.drawn["no_rows"]

    def answer(self, question: Question, answer: Any, ends: int) -> None:
        """Hold an answer against what is right. `ends`: as it was before the question."""
        code, kind, _ = question
        is_right = is_told = False
        if kind == "page":
            is_right = answer.body == self._pages[question]
            is_told = answer.body in tuple(self._chaos.told)
        else:
            whole = self._histories[code]
            whole = whole if kind == "history" else whole.drop(columns="published_by")
            given = answer.drop(columns="known_at") if kind == "history" else _joined(answer, whole)
            is_right = given.equals(whole)
            # A reply without nextKey is the end, and so is a last page without rows: what came before it is the answer.
            is_told = len(given) % 50 == 0 and self.ends > ends and given.equals(whole.tail(len(given)))
        self.tally.calls += 1
        self.tally.right += is_right
        self.tally.altered += is_told and not is_right
        if not is_right and not is_told:
            self.tally.wrong.append(f"{question}: another answer came")

    def error(self, question: Question, error: BaseException, spoiled: int) -> None:
        """Hold an error against the faults there were for it."""
        self.tally.calls += 1
        told = f"{question}: {type(error).__name__}: {error}"
        if not isinstance(error, ShortInterestError):
            self.tally.wrong.append(f"no named error: {told}")
        elif not spoiled and not isinstance(error, RequestTimeout):  # a machine may be too busy to answer in time
            self.tally.wrong.append(f"an error for no reason: {told}")
        self.tally.errors[type(error).__name__] += 1


def _joined(pages: list[Page], whole: pd.DataFrame) -> pd.DataFrame:
    frame = pd.concat([page.hk if len(page.hk) else page.us for page in pages if len(page)]).iloc[::-1]
    return frame.set_axis(whole.index[len(whole) - len(frame) :])


def _questions(calls: int, seed: int) -> Iterator[Question]:
    chance = random.Random(seed)
    for _ in range(calls):
        [kind] = chance.choices(list(_SHARES), list(_SHARES.values()))
        yield chance.choice(_SYMBOLS), kind, chance.choice((10, 50)) if kind == "page" else 50


def ask_blocking(client: Any, opend: Simulator, chaos: Chaos, judge: Judge, calls: int, seed: int) -> Iterator[int]:
    """Ask one question after the other; yields how many were asked."""
    for number, question in enumerate(_questions(calls, seed), 1):
        code, kind, num = question
        before, ends = chaos.spoiled, judge.ends
        try:
            if kind == "page":
                answer = client.get_page(code, num=num)
            else:
                answer = client.history(code) if kind == "history" else list(client.pages(code))
        except Exception as error:
            judge.error(question, error, chaos.spoiled - before)
        else:
            judge.answer(question, answer, ends)
        opend.requests.clear()
        opend.asked_for.clear()
        yield number


async def ask_overlapping(
    client: Any, opend: Simulator, chaos: Chaos, judge: Judge, calls: int, seed: int, progress: Callable[[int], object]
) -> None:
    """Ask several questions at a time."""
    questions = list(_questions(calls, seed))
    for first in range(0, calls, _AT_ONCE):
        batch = questions[first : first + _AT_ONCE]
        before, ends = chaos.spoiled, judge.ends
        answers = await asyncio.gather(*(_ask(client, question) for question in batch), return_exceptions=True)
        for question, answer in zip(batch, answers, strict=True):
            if isinstance(answer, BaseException):
                judge.error(question, answer, chaos.spoiled - before)
            else:
                judge.answer(question, answer, ends)
        opend.requests.clear()
        opend.asked_for.clear()
        progress(first + len(batch))


async def _ask(client: Any, question: Question) -> Any:
    code, kind, num = question
    asked: Awaitable[Any]
    if kind == "pages":
        return [page async for page in client.pages(code)]
    asked = client.get_page(code, num=num) if kind == "page" else client.history(code)
    return await asked


def universe() -> Universe:
    """What the simulator knows."""
    return Universe(symbols=_SYMBOLS, most_rows=_ROWS)


class _Memory:
    """Prints resident memory as calls go on."""

    def __init__(self, calls: int) -> None:
        self._every = max(calls // 10, 1)
        self._next = self._every
        self._first: float | None = None
        self.growth = 0.0

    def look(self, done: int) -> None:
        if done < self._next:
            return
        self._next += self._every
        now = resident() / 1024
        self._first = now if self._first is None else self._first
        self.growth = now - self._first
        print(f"{done:>7,} calls: {now:7.1f} MiB", flush=True)


def main() -> int:
    """Print what became of the calls, and the memory that they took."""
    calls = int(sys.argv[1]) if len(sys.argv) > 1 else CALLS
    is_wrong = False
    # The simulator's event loop tells of each write to a client that has left.
    logging.getLogger("asyncio").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as name:
        os.environ.update(OPEND_SI_HOME=name, OPEND_SI_RATE="off")
        for client in ("blocking", "asyncio"):
            print(f"{client} client")
            is_wrong |= _measure(client, calls // 2)
    return 1 if is_wrong else 0


def _measure(kind: str, calls: int) -> bool:
    chaos, memory = Chaos(1), _Memory(calls)
    with Simulator(universe()) as opend:
        judge = Judge(opend, chaos)
        opend.faults = chaos
        at: dict[str, Any] = {"host": opend.host, "port": opend.port, "mode": "bypass", "timeout": TIMEOUT}
        begun = time.perf_counter()
        if kind == "blocking":
            with futu_si.Client(**at) as client:
                for done in ask_blocking(client, opend, chaos, judge, calls, 1):
                    memory.look(done)
        else:

            async def ask() -> None:
                async with futu_si.AsyncClient(**at) as client:
                    await ask_overlapping(client, opend, chaos, judge, calls, 1, memory.look)

            asyncio.run(ask())
        seconds = time.perf_counter() - begun
    print(f"{judge.tally}; {seconds:.0f} s")
    print(f"{chaos.drawn.total():,} replies, of which {chaos.spoiled:,} were spoiled, in {len(chaos.drawn) - 1} ways")
    print(f"memory grew by {memory.growth:.1f} MiB")
    for wrong in judge.tally.wrong[:5]:
        print(wrong)
    return bool(judge.tally.wrong) or memory.growth > MOST_GROWTH


if __name__ == "__main__":
    sys.exit(main())
