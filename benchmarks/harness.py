"""Starts the simulator and the contenders, lets them take turns, and gathers medians."""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def surroundings() -> Iterator[dict[str, str]]:
    """An environment with a home of its own, for the published client's logs and for our files; no limit is kept."""
    with tempfile.TemporaryDirectory() as home:
        yield {**os.environ, "HOME": home, "OPEND_SI_HOME": home, "OPEND_SI_RATE": "off"}


@contextmanager
def simulator(environ: dict[str, str]) -> Iterator[tuple[str, str]]:
    """A simulator without a limit in a process of its own: (host, port)."""
    command = [str(Path(sys.executable).with_name("futu-si")), "simulate", "--port", "0", "--rate", "off"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environ
    ) as process:
        assert process.stdout is not None
        host, _, port = process.stdout.readline().strip().partition(":")
        try:
            yield host, port
        finally:
            process.terminate()


class Contender:
    """A running contender."""

    def __init__(self, name: str, host: str, port: str, environ: dict[str, str]) -> None:
        self.name = name
        self._log = Path(environ["HOME"], f"{name}.log")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.contenders", name, host, port],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log.open("w"),
            text=True,
            env=environ,
        )

    def seconds(self, case: str, count: int) -> list[float]:
        """Make the case's call `count` times: the seconds of each."""
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


def take_turns(cases: Mapping[Contender, str], rounds: int, count: int) -> dict[Contender, float]:
    """Median seconds of each contender's case, measured in turns after one uncounted round."""
    seconds: dict[Contender, list[float]] = {contender: [] for contender in cases}
    for turn in range(rounds + 1):
        for contender, case in cases.items():
            measured = contender.seconds(case, count)
            if turn:
                seconds[contender] += measured
    return {contender: statistics.median(values) for contender, values in seconds.items()}


def import_seconds(modules: Sequence[str], rounds: int, environ: dict[str, str]) -> dict[str, float]:
    """Median wall seconds that importing each module adds to a bare interpreter, measured in turns."""
    seconds: dict[str, list[float]] = {module: [] for module in ("", *modules)}
    for turn in range(rounds + 1):
        for module, values in seconds.items():
            begin = time.perf_counter()
            subprocess.run(
                [sys.executable, "-c", f"import {module}" if module else ""],
                check=True,
                env=environ,
                stdout=subprocess.DEVNULL,
            )
            if turn:
                values.append(time.perf_counter() - begin)
    bare = statistics.median(seconds.pop(""))
    return {module: statistics.median(values) - bare for module, values in seconds.items()}
