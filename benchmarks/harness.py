"""Starts the simulator and the contenders, lets them take turns, and gathers medians."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from opend_si.simulator import Simulator

_T = TypeVar("_T")


class OpenD(Simulator):
    """An OpenD to whoever asks it, as users have one: of what a simulator made up a client first asks who is there."""

    account = 7_654_321


@contextmanager
def surroundings() -> Iterator[dict[str, str]]:
    """An environment with a home of its own, for the published client's logs and for our files; no limit is kept."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OPEND_")}
    with tempfile.TemporaryDirectory() as home:
        yield {**kept, "HOME": home, "OPEND_SI_HOME": home, "OPEND_SI_RATE": "off"}


@contextmanager
def new_home(environ: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """The same with another home, where nothing is recorded yet."""
    with tempfile.TemporaryDirectory() as home:
        yield {**environ, "HOME": home, "OPEND_SI_HOME": home}


class Contender:
    """A running contender: a process of its own. `under` is the command that it runs under, such as strace's."""

    def __init__(
        self, name: str, host: str, port: int, environ: Mapping[str, str], *, under: Sequence[str] = ()
    ) -> None:
        self.name = name
        self._log = Path(environ["HOME"], f"{name}.log")
        self._process = subprocess.Popen(
            [*under, sys.executable, "-m", "benchmarks.contenders", name, host, str(port)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log.open("w"),
            text=True,
            env=dict(environ),
        )

    def seconds(self, case: str, count: int) -> list[float]:
        """Make the case's call `count` times: the seconds of each."""
        return self._ask(case, count)

    def peak(self) -> float:
        """The most memory that it has taken, in MiB."""
        return self._ask("peak", 1)[0]

    def _ask(self, case: str, count: int) -> list[float]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with suppress(BrokenPipeError):  # it ended: it gives no answer, and its log says why
            print(case, count, file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"{self.name} ended while measuring {case}:\n{self._log.read_text()}")
        return [float(second) for second in json.loads(answer)]

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


def take_turns(measures: Mapping[_T, Callable[[], list[float]]], rounds: int) -> dict[_T, float]:
    """Medians of some measures, taken in turns after one uncounted round."""
    seconds: dict[_T, list[float]] = {name: [] for name in measures}
    for turn in range(rounds + 1):
        for name, measure in measures.items():
            found = measure()
            if turn:
                seconds[name] += found
    return {name: statistics.median(values) for name, values in seconds.items()}


@contextmanager
def contenders(
    names: Sequence[str],
    host: str,
    port: int,
    environ: Mapping[str, str],
    under: Mapping[str, Sequence[str]] | None = None,
) -> Iterator[dict[str, Contender]]:
    """Running contenders by their names, closed at the end."""
    made: dict[str, Contender] = {}
    try:
        for name in names:
            made[name] = Contender(name, host, port, environ, under=(under or {}).get(name, ()))
        yield made
    finally:
        for contender in made.values():
            contender.close()


def calls_in_turns(
    running: Mapping[str, Contender], cases: Mapping[str, str], rounds: int, calls: int
) -> dict[str, float]:
    """The median of a call of each contender, as its case names it."""

    def measure(name: str, case: str) -> Callable[[], list[float]]:
        return lambda: running[name].seconds(case, calls)

    return take_turns({name: measure(name, case) for name, case in cases.items()}, rounds)


def process_seconds(code: str, environ: Mapping[str, str], *arguments: str) -> float:
    """Wall seconds of an interpreter that runs some code."""
    return python_seconds(environ, "-c", code, *arguments)


def python_seconds(environ: Mapping[str, str], *arguments: str) -> float:
    """Wall seconds of an interpreter with these arguments."""
    begin = time.perf_counter()
    subprocess.run(
        [sys.executable, *arguments],
        check=True,
        env=dict(environ),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    return time.perf_counter() - begin
