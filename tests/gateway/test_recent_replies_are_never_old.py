"""What a gateway remembers of replies never outlives the record.

What another process records is answered at once, what is no longer fresh is asked for again, and looking at the file
takes no lock away from who has it.
"""

import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import ModuleType

import pytest

from opend_si.gateway.recent import Recent
from opend_si.pages import PageKey
from opend_si.settings import Settings
from opend_si.simulator import Simulator
from opend_si_schema.calls import SHORT_INTEREST
from tests.gateway.conftest import Start
from tests.gateway.raw import Asker

PAGE = SHORT_INTEREST.proto_id
REQUEST = PageKey.check(SHORT_INTEREST, "HK.00700", None, 50).request()


def ask(asker: Asker, times: int = 1) -> bytes:
    """The body that is given so many times."""
    bodies = set()
    for _ in range(times):
        asker.ask(PAGE, REQUEST)
        bodies.add(asker.reply().body)
    [body] = bodies
    return body


def test_what_another_program_records_is_answered_at_once(
    opend: Simulator, front: Start, home: Path, one_face: ModuleType
) -> None:
    gateway = front(opend)
    with Asker(gateway.host, gateway.port) as asker:
        before = ask(asker, 5)
        for price in (1.0, 2.0, 3.0):
            opend.universe.revise("HK.00700", 0, closePrice=price)
            with one_face.Client(opend.host, opend.port, mode="refresh", cache=home / "pages.sqlite3") as client:
                revised = client.get_page("HK.00700", num=50)
            assert ask(asker, 5) == revised.body != before
            before = revised.body
    assert len(opend.requests) == 4


def test_what_is_no_longer_fresh_is_asked_for_again(opend: Simulator, front: Start) -> None:
    gateway = front(opend, max_age=0.5)
    with Asker(gateway.host, gateway.port) as asker:
        ask(asker, 5)
        requests = len(opend.requests)
        time.sleep(0.6)
        ask(asker)
    assert len(opend.requests) > requests


@pytest.mark.parametrize(("seconds", "shown"), [(0.0, -3600.0), (1.2, -0.8), (0.0, 7200.0)])
def test_a_clock_that_is_set_makes_nothing_fresh_for_longer(
    opend: Simulator, front: Start, monkeypatch: pytest.MonkeyPatch, seconds: float, shown: float
) -> None:
    clock, step = time.time, 0.0
    monkeypatch.setattr(time, "time", lambda: clock() + step)
    gateway = front(opend, max_age=1.0)
    with Asker(gateway.host, gateway.port) as asker:
        ask(asker, 3)
        requests = len(opend.requests)
        time.sleep(seconds)
        step = shown
        ask(asker)
    assert len(opend.requests) == requests + 1


@pytest.mark.parametrize("max_age", [0, "publication"])
def test_where_age_is_not_a_number_of_seconds_the_record_is_asked(
    opend: Simulator, front: Start, max_age: object
) -> None:
    gateway = front(opend, max_age=max_age)
    with Asker(gateway.host, gateway.port) as asker:
        ask(asker, 3)
    assert gateway.answers._recent._kept == {}


@pytest.fixture
def recent(home: Path) -> Iterator[Recent]:
    home.mkdir()
    with closing(Recent(Settings.resolve(environ={"OPEND_SI_HOME": str(home)}))) as recent:
        yield recent


def test_each_transaction_changes_the_stamp_however_quickly(recent: Recent, home: Path) -> None:
    assert recent.stamp() is None
    with closing(sqlite3.connect(home / "pages.sqlite3")) as record:
        record.execute("CREATE TABLE numbers (number)")
        stamps = [recent.stamp()]
        for number in range(300):
            with record:
                record.execute("UPDATE numbers SET number = ?", (number,))
                record.execute("INSERT OR REPLACE INTO numbers (rowid, number) VALUES (1, ?)", (number,))
            stamps.append(recent.stamp())
    assert len(set(stamps)) == len(stamps)


def test_a_file_that_takes_the_place_of_another_is_seen(recent: Recent, home: Path) -> None:
    path = home / "pages.sqlite3"
    path.write_bytes(bytes(1000))
    first = recent.stamp()
    path.rename(home / "aside")
    assert recent.stamp() is None
    path.write_bytes(bytes(1000))
    assert recent.stamp() not in (first, None)


def test_a_look_takes_no_lock_away(recent: Recent, home: Path) -> None:
    path = home / "pages.sqlite3"
    other = "import sqlite3, sys; sqlite3.connect(sys.argv[1], timeout=0).execute('BEGIN IMMEDIATE')"

    def write() -> int:
        """The exit code of a process that wants the file's lock."""
        command = [sys.executable, "-c", other, str(path)]
        return subprocess.run(command, stderr=subprocess.DEVNULL, check=False).returncode

    with closing(sqlite3.connect(path, isolation_level=None)) as record:
        record.execute("CREATE TABLE numbers (number)")
        assert write() == 0
        record.execute("BEGIN IMMEDIATE")
        assert write() == 1
        for _ in range(3):
            recent.stamp()
        assert write() == 1, "the lock is gone"
