"""Ctrl-C at any moment: `python -m tests.stress.signals [--count N]`.

A process asks, and gets SIGINT from outside at random moments, a few to a call. After each such call another is left in
peace: it has to give the right answer, and so has the end of the process to come, under SIGINT too. What is right was
read off the simulator's universe beforehand. The exit code is 1 if a call hung, was wrong, or ended with an error.
"""

import argparse
import faulthandler
import itertools
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
from collections.abc import Callable
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

import futu_si
from opend_si.errors import ShortInterestError
from opend_si.simulator import Simulator, Universe

COUNT = 10_000
CODES = ("HK.00700", "HK.00005", "US.AAPL")
# Seconds after which a call is taken to hang, a bound for one that may wait out another's right to fetch.
PATIENCE = 60
TIMEOUT = 2.0
# Seconds between two signals, on average.
_PAUSE = 0.003

Expected = dict[str, list[int]]


@dataclass
class Tally:
    """What became of it."""

    interrupts: int = 0
    answers: int = 0
    has_ended: bool = False
    errors: Counter[str] = field(default_factory=Counter)
    hangs: list[str] = field(default_factory=list)

    @property
    def is_good(self) -> bool:
        return self.has_ended and not self.errors and not self.hangs

    def __str__(self) -> str:
        named = "; ".join(f"{count} x {text}" for text, count in self.errors.most_common(5))
        return f"{self.interrupts:,} SIGINTs, {self.answers:,} right answers, {len(self.hangs)} hangs, errors: {named or 'none'}"


def expected(universe: Universe) -> Expected:
    """The timestamps of each symbol's history, newest first, as the universe has them."""
    return {code: [row.timestamp for row in universe.rows(code) or ()] for code in CODES}


class Storm:
    """The process that is interrupted."""

    def __init__(self, port: int, rows: Expected, count: int, seed: int) -> None:
        self._rows, self._count = rows, count
        self._chance = random.Random(seed)
        at: dict[str, Any] = {"port": port, "timeout": TIMEOUT}
        self._at = at
        self._clients = [futu_si.Client(**at, mode=mode, max_age=0) for mode in ("bypass", "online", "refresh")]
        futu_si.configure(**at, mode="bypass")
        self._left = self._raised = 0

    def _interrupt(self, _: int, frame: FrameType | None) -> None:
        """Interrupts the engine, as Python's own handler does, and nothing of this file."""
        if self._left and frame is not None and frame.f_code.co_filename != __file__:
            self._left -= 1
            self._raised += 1
            raise KeyboardInterrupt

    def _ask(self) -> str | None:
        """Ask anything; gives what is wrong with the answer."""
        code, client = self._chance.choice(CODES), self._chance.choice(self._clients)
        rows = self._rows[code]
        match self._chance.choice(("page", "page", "drop-in", "history", "configure")):
            case "page":
                found = [record.timestamp for record in client.get_page(code).records]
                return None if found == rows[:10] else f"another page of {code}"
            case "history":
                return None if len(client.history(code)) == len(rows) else f"another history of {code}"
            case "configure":
                futu_si.configure(**self._at)
        ret, us, hk = futu_si.get_short_interest(code)
        if ret != futu_si.RET_OK or isinstance(us, str) or hk is None:
            return f"the drop-in failed: {us}"
        found = [int(at) for at in (us if len(us) else hk)["timestamp"]]
        return None if found == rows[:10] else f"another frame of {code}"

    def _attempt(self, ask: Callable[[], str | None]) -> str | None:
        try:
            return ask()
        except KeyboardInterrupt:
            return None
        except ShortInterestError as error:
            return f"{type(error).__name__}: {error}"
        except BaseException as error:
            return f"no named error: {error!r}"

    def _work_beside(self) -> None:
        """Another thread that uses the same clients, so that locks are wanted."""
        for client in itertools.cycle(self._clients[:2]):
            self._attempt(lambda client=client: client.get_page("HK.00700") and None)  # type: ignore[misc]
            time.sleep(0.005)

    def run(self) -> None:
        signal.signal(signal.SIGINT, self._interrupt)
        for _ in range(20):  # all is imported
            self._attempt(self._ask)
        threading.Thread(target=self._work_beside, daemon=True).start()
        _say("ready")
        while self._raised < self._count:
            self._left = self._chance.randint(1, 4)
            while self._left:
                wrong = self._attempt(self._ask)
                if wrong is not None and not wrong.startswith("RequestTimeout"):  # a right to fetch may have to lapse
                    _say(f"wrong under SIGINT: {wrong}")
            wrong = self._attempt(self._ask)
            _say(f"answer {self._raised}" if wrong is None else f"wrong: {wrong}")
        _say("ending")
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _say(text: str) -> None:
    os.write(1, f"{text}\n".encode())


def run(count: int, seed: int = 1) -> Tally:
    """Let a process be interrupted so many times."""
    tally, chance, at = Tally(), random.Random(seed), time.monotonic()
    with Simulator(Universe(symbols=CODES, most_rows=120)) as opend, tempfile.TemporaryDirectory() as home:
        environ = {**os.environ, "OPEND_SI_HOME": home, "OPEND_SI_RATE": "off", "PYTHONWARNINGS": "ignore"}
        told = json.dumps({"port": opend.port, "rows": expected(opend.universe), "count": count, "seed": seed})
        command = [sys.executable, "-m", "tests.stress.signals", "--child", told]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environ, text=True) as child:
            ready = threading.Event()
            said = [at]

            def listen() -> None:
                assert child.stdout is not None
                for line in child.stdout:
                    said[0] = time.monotonic()
                    what, _, rest = line.strip().partition(" ")
                    match what:
                        case "ready":
                            ready.set()
                        case "answer":
                            tally.answers, tally.interrupts = tally.answers + 1, int(rest)
                        case "ending":
                            tally.has_ended = True
                        case "wrong" | "wrong:":
                            tally.errors[rest] += 1

            errors: list[str] = []
            threads = [
                threading.Thread(target=listen),
                threading.Thread(target=lambda: errors.append(child.stderr.read() if child.stderr else "")),
            ]
            for thread in threads:
                thread.start()
            while child.poll() is None:
                if ready.is_set():
                    child.send_signal(signal.SIGINT)
                    opend.requests.clear()
                    opend.asked_for.clear()
                if time.monotonic() - said[0] > PATIENCE:
                    child.send_signal(signal.SIGUSR1)  # it writes where it hangs
                    time.sleep(1)
                    child.kill()
                    tally.hangs.append("hang")
                    break
                time.sleep(chance.expovariate(1 / _PAUSE) if ready.is_set() else 0.05)
            for thread in threads:
                thread.join()
            tally.hangs = errors if tally.hangs else []
    return tally


def main() -> int:
    """Print what became of it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--count", type=int, default=COUNT)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        faulthandler.register(signal.SIGUSR1, all_threads=True)
        Storm(**json.loads(given.child)).run()
        return 0
    begun = time.monotonic()
    tally = run(given.count, given.seed)
    print(f"{tally}; {time.monotonic() - begun:.0f} s")
    print(*tally.hangs, sep="\n")
    return 0 if tally.is_good else 1


if __name__ == "__main__":
    sys.exit(main())
