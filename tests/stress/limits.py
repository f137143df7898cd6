"""OpenD's limit, whatever becomes of its users: `python -m tests.stress.limits [--seconds N] [--seed N]`.

Processes with rates and timeouts of their own share a budget and ask without a pause. They are killed (`kill -9`),
interrupted, stopped for longer than a window, fork while they ask, and have clocks that are set. Requests are under way
for a while, and some are not answered. The server notes when each arrives. The exit code is 1 if more came within a
window than the limit, or if an error came that nothing explains.
"""

import argparse
import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import futu_si
from opend_si.simulator import Simulator, faults
from opend_si.system import clocks
from opend_si_schema.definitions import Rate

SECONDS = 300.0
# OpenD's limit, and what users may have in its place: each alone keeps it.
LIMIT = Rate(6, 1.2)
RATES = ("6/1.2", "6/1.2", "3/0.6", "2/0.4", "1/0.2", "5/1.2", "3/1", "1/0.5", "6/3")
TIMEOUTS = (0.5, 1.0, 5.0, 600.0)
_USERS = 5
# Seconds for which a request may be under way: less than the shortest timeout.
_FAR = 0.2
# Longer than a window and the shortest timeouts, shorter than others wait for a file that a stopped process holds.
_LONGEST_STOP = 4.0
# What a user may be told: a stopped process holds the file, a request was not answered, or was too late.
_EXPECTED = ("CacheBusy", "RequestTimeout", "NotGreeted", "NotSent")


@dataclass
class Tally:
    """What became of it."""

    arrivals: list[float] = field(default_factory=list)
    kills: int = 0
    interrupts: int = 0
    stops: int = 0
    users: int = 0
    errors: Counter[str] = field(default_factory=Counter)

    @property
    def most(self) -> int:
        """The most requests that arrived within a window."""
        at = sorted(self.arrivals)
        return max(
            (sum(0 <= other - one <= LIMIT.seconds for other in at[n : n + 50]) for n, one in enumerate(at)), default=0
        )

    @property
    def is_good(self) -> bool:
        return self.most <= LIMIT.requests and not self.errors

    def __str__(self) -> str:
        named = "; ".join(f"{count} x {text}" for text, count in self.errors.most_common(5))
        return (
            f"{len(self.arrivals):,} requests of {self.users} users, at most {self.most} within {LIMIT.seconds:g} s (the limit "
            f"is {LIMIT.requests}); {self.kills} killed, {self.interrupts} interrupted, {self.stops} stopped, errors: {named or 'none'}"
        )


class Asker:
    """A user: a process that asks until it is killed."""

    def __init__(self, port: int, seed: int, rate: str, timeout: float) -> None:
        self._chance, self._shift, self._asks = random.Random(seed), 0.0, False
        os.environ["OPEND_SI_RATE"] = rate
        self._client = futu_si.Client(port=port, mode="bypass", timeout=timeout, on_wait=lambda _: None)
        wall = clocks.wall
        signal.signal(signal.SIGINT, self._interrupt)
        clocks.wall = lambda: wall() + self._shift  # type: ignore[assignment]

    def run(self) -> None:
        _say("user", os.getpid())
        while True:
            if self._chance.random() < 0.1:
                self._shift = self._chance.uniform(-5, 5)  # its clock is set
            if self._chance.random() < 0.03 and not os.fork():
                _say("user", os.getpid())
            try:
                self._asks = True
                self._client.get_page("HK.00700")
                self._asks = False
            except KeyboardInterrupt:
                pass
            except futu_si.ShortInterestError as error:
                if type(error).__name__ not in _EXPECTED:
                    _say("error", f"{type(error).__name__}: {error}")
            except BaseException as error:
                _say("error", repr(error))

    def _interrupt(self, *_: object) -> None:
        if self._asks:
            self._asks = False
            raise KeyboardInterrupt


class Far(Simulator):
    """An OpenD at the end of a slow line."""

    async def converse(self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        read = reader.read

        async def read_late(n: int = -1) -> bytes:
            data = await read(n)
            await asyncio.sleep(random.uniform(0, _FAR))
            return data

        reader.read = read_late  # type: ignore[method-assign]
        await super().converse(number, reader, writer)


def _serve(port: int) -> None:
    """Fork a user for each line that comes."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # who was killed is gone at once
    for line in sys.stdin:
        if not os.fork():
            try:
                Asker(port, *json.loads(line)).run()
            finally:
                os._exit(1)


def _say(what: str, told: object) -> None:
    os.write(1, (json.dumps([what, told]) + "\n").encode())


class Storm:
    """What is done to the users."""

    def __init__(self, opend: Simulator, forker: "subprocess.Popen[str]", seed: int) -> None:
        self._opend, self._forker, self._chance = opend, forker, random.Random(seed)
        self._living, self._stopped = set[int](), dict[int, float]()
        self.tally = Tally()

    def listen(self) -> None:
        assert self._forker.stdout is not None
        for line in self._forker.stdout:
            what, told = json.loads(line)
            if what == "user":
                self._living.add(told)
                self.tally.users += 1
            else:
                self.tally.errors[told] += 1

    def blow(self) -> None:
        """Do one thing."""
        now, chance = time.monotonic(), self._chance
        for pid in [pid for pid, until in self._stopped.items() if until < now]:
            del self._stopped[pid]
            os.kill(pid, signal.SIGCONT)
        living = [pid for pid in list(self._living) if pid not in self._stopped]
        if len(living) < _USERS:
            self._begin()
        elif chance.random() < 0.3 or len(living) > 2 * _USERS:
            pid = chance.choice(living)
            self._living.discard(pid)
            self._signal(pid, signal.SIGKILL)
            self.tally.kills += 1
        elif chance.random() < 0.4:
            self._signal(chance.choice(living), signal.SIGINT)
            self.tally.interrupts += 1
        elif chance.random() < 0.6:
            pid = chance.choice(living)
            self._signal(pid, signal.SIGSTOP)
            self._stopped[pid] = now + chance.uniform(0, _LONGEST_STOP)
            self.tally.stops += 1
        elif chance.random() < 0.3 and not self._opend.faults:
            self._opend.faults.append(faults.silence())

    def _begin(self) -> None:
        assert self._forker.stdin is not None
        told: list[Any] = [self._chance.randrange(10**9), self._chance.choice(RATES), self._chance.choice(TIMEOUTS)]
        self._forker.stdin.write(json.dumps(told) + "\n")
        self._forker.stdin.flush()

    def _signal(self, pid: int, which: signal.Signals) -> None:
        try:
            os.kill(pid, which)
        except ProcessLookupError:
            self._living.discard(pid)
            self.tally.errors["a user is gone that nobody ended"] += 1


def run(seconds: float, seed: int = 1) -> Tally:
    """Let it blow for so many seconds."""
    with tempfile.TemporaryDirectory() as home, Far(latency=0.02) as opend:
        environ = {**os.environ, "OPEND_SI_HOME": home, "PYTHONWARNINGS": "ignore"}
        command = [sys.executable, "-m", "tests.stress.limits", "--child", str(opend.port)]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environ, text=True, start_new_session=True
        ) as forker:
            storm = Storm(opend, forker, seed)
            listening = threading.Thread(target=storm.listen)
            listening.start()
            try:
                until = time.monotonic() + seconds
                while time.monotonic() < until:
                    storm.blow()
                    time.sleep(storm._chance.expovariate(1 / 0.15))
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(forker.pid, signal.SIGKILL)  # all of them
                listening.join()
        storm.tally.arrivals = [request.at for request in opend.requests]
    return storm.tally


def main() -> int:
    """Print what became of it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        _serve(given.child)
        return 0
    tally = run(given.seconds, given.seed)
    print(tally)
    return 0 if tally.is_good else 1


if __name__ == "__main__":
    sys.exit(main())
