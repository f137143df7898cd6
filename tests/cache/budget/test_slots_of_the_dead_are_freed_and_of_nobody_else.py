"""A slot of a killed process keeps nobody back for as long as its own request could have lasted; who lives keeps it.

Processes are real, the clock is the test's.
"""

import os
import shutil
import subprocess
import sys
import time
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from opend_si.cache.budget import Budget, Slot
from opend_si.cache.claims import Claims
from opend_si.client.claims import once
from opend_si.client.fetcher import Fetcher
from opend_si.client.steps import Account, Exchange
from opend_si.history.record import Asked
from opend_si.pages import PageKey
from opend_si.settings import Settings
from opend_si_schema.calls import SHORT_INTEREST
from opend_si_schema.definitions import Rate
from tests.cache.processes import Process
from tests.processes import ROOT, need

RATE, LONG, MINE = Rate(1, 3.0), 600.0, 10.0


class Clock:
    at = 1e5


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("opend_si.system.clocks.monotonic", lambda: clock.at)
    monkeypatch.setattr("opend_si.system.clocks.wall", lambda: clock.at + 1e9)
    return clock


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "budget.slots"


def is_free(path: Path) -> bool:
    """Whether one who waits with a timeout of its own gets a slot."""
    budget = Budget(path)
    found = budget.reserve("a", RATE, MINE)
    if isinstance(found, Slot):
        budget.cancel(found)
    return isinstance(found, Slot)


def reserve(link: Connection, path: Path) -> None:
    link.send(isinstance(Budget(path).reserve("a", RATE, LONG), Slot))
    link.recv()


@pytest.mark.needs("proc")
def test_a_slot_of_one_that_was_killed_counts_no_longer_than_ones_own(path: Path, clock: Clock) -> None:
    with Process(reserve, path) as doomed:
        assert doomed.hear()
        doomed.kill()
        clock.at += 5
        assert not is_free(path)
        clock.at += 4.9
        assert not is_free(path)  # its request may still be on its way, as one's own would
        clock.at += 0.2
        assert not is_free(path)  # it is seen now that the process is gone: a window from now
        clock.at += 2.9
        assert not is_free(path)
        clock.at += 0.2
        assert is_free(path)


@pytest.mark.needs("proc")
def test_a_slot_of_one_that_lives_counts_for_as_long_as_its_request(path: Path, clock: Clock) -> None:
    with Process(reserve, path) as patient:
        assert patient.hear()
        for _ in range(10):
            clock.at += LONG / 10
            assert not is_free(path)
        clock.at += RATE.seconds + 0.1
        assert is_free(path)


HIDDEN = """
import os, sys, time
from pathlib import Path
from opend_si.cache.budget import Budget, Slot
from opend_si_schema.definitions import Rate
while (child := os.fork()) and child < int(sys.argv[2]):
    os.waitpid(child, 0)
if child:
    os.waitpid(child, 0)
elif os.getpid() == int(sys.argv[2]):
    print(isinstance(Budget(Path(sys.argv[1])).reserve("a", Rate(1, 0.5), timeout=600.0), Slot), flush=True)
    sys.stdin.read()
os._exit(0)
"""


def test_one_in_a_container_of_its_own_is_not_taken_for_dead(path: Path) -> None:
    """The number that its process has there is nobody's here."""
    need("proc")
    if shutil.which("unshare") is None:
        pytest.skip("no containers here: unshare is missing")
    number = next(number for number in range(3, 10_000) if not Path(f"/proc/{number}").exists())
    command = ["unshare", "--pid", "--fork", sys.executable, "-c", HIDDEN, str(path), str(number)]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as hidden:
        assert hidden.stdout is not None
        said = hidden.stdout.readline()
        if not said:
            pytest.skip(f"no containers here: {hidden.communicate()[1].strip()[-200:]}")
        assert said == "True\n"
        until = time.monotonic() + 1.5
        while time.monotonic() < until:
            assert not isinstance(Budget(path).reserve("a", Rate(1, 0.5), timeout=0.1), Slot)
            time.sleep(0.05)
        hidden.communicate("")


def test_a_forked_child_gives_back_nothing_of_its_parents(tmp_path: Path) -> None:
    """A child ends with `sys.exit`, or forgets the tasks of an event loop: they are closed there, not in the parent."""
    need("fork")
    environ = {"OPEND_SI_HOME": str(tmp_path), "OPEND_SI_RATE": "1/30"}
    settings = Settings.resolve(mode="online", timeout=5.0, environ=environ)
    key = PageKey.check(SHORT_INTEREST, "HK.00700", None, 50)
    claims, budget = Claims(settings.cache), Budget(settings.budget)
    fetcher = Fetcher(settings, budget)
    steps = once(
        claims,
        key,
        5.0,
        lambda: None,
        lambda claim: fetcher.fetch(key, claim, lambda: Asked(0, 0, time.monotonic_ns())),
    )
    assert next(steps) == Account()
    assert isinstance(steps.send(7), Exchange)

    def state() -> object:
        leases = budget._leases.use(lambda board: list(board.taken.values()))
        return leases, claims.held(key.identity)

    before = state()
    if not (child := os.fork()):
        steps.close()
        os._exit(0)
    os.waitpid(child, 0)
    assert state() == before
    steps.close()
    assert state() != before
    assert claims.held(key.identity) is None
