"""A file that others hold costs one wait.

Then it is left aside where it is not free at once, and one warning names the cause.
"""

import errno
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from opend_si.cache import database, files
from opend_si.simulator import Simulator
from opend_si.system import ours
from tests.cache.processes import Process, content, told

SYMBOLS = ("HK.00700", "HK.00005", "US.AAPL", "US.GME")

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Short waits for a lock; gives the folder of each file that was waited for in vain."""
    seen: list[Path] = []
    real = files.lacks_locks

    def look(folder: Path) -> bool:
        seen.append(folder)
        return real(folder)

    monkeypatch.setattr(ours, "BUSY_SECONDS", 0.1)
    monkeypatch.setattr(database, "lacks_locks", look)
    return seen


def hold(link: Any, cache: Path, begin: str) -> None:
    with closing(sqlite3.connect(cache, isolation_level=None)) as connection:
        connection.execute(begin)
        link.send("held")
        link.recv()
        connection.execute("ROLLBACK")
        link.send("let go")
        link.recv()


@contextmanager
def held(cache: Path, begin: str) -> Iterator[None]:
    """Another program's transaction on a file, for as long as the `with` lasts."""
    with Process(hold, cache, begin) as other:
        other.hear()
        yield
        other.tell()
        other.hear()


def client_of(face: ModuleType, opend: Simulator, cache: Path) -> Any:
    return face.Client(opend.host, opend.port, mode="online", cache=cache, timeout=5)


@pytest.mark.parametrize("begin", ["BEGIN IMMEDIATE", "BEGIN EXCLUSIVE"])
def test_many_pages_cost_one_wait_and_one_warning(
    one_face: ModuleType, opend: Simulator, tmp_path: Path, waits: list[Path], begin: str
) -> None:
    cache = tmp_path / "pages.sqlite3"
    with client_of(one_face, opend, cache) as client:
        client.get_page("HK.00700", num=50)
        with told() as texts, held(cache, begin):
            rows = [len(client.history(code)) for code in SYMBOLS]
        assert rows == [len(opend.universe.rows(code) or ()) for code in SYMBOLS]
        assert waits == [tmp_path]
        assert len(texts) == 1
        assert str(cache) in texts[0]
        assert "locked by another process" in texts[0]
        assert "pages are fetched and not kept" in texts[0]


def test_what_is_recorded_answers_while_another_writes(one_face: ModuleType, opend: Simulator, tmp_path: Path) -> None:
    cache = tmp_path / "pages.sqlite3"
    with client_of(one_face, opend, cache) as client:
        client.get_page("HK.00700", num=50)
        with told() as texts, held(cache, "BEGIN IMMEDIATE"):
            assert client.get_page("US.AAPL").source == "opend"
            assert client.get_page("HK.00700", num=50).source == "cache"
        assert len(texts) == 1


def test_it_is_used_again_as_soon_as_it_is_free(
    one_face: ModuleType, opend: Simulator, tmp_path: Path, waits: list[Path]
) -> None:
    cache = tmp_path / "pages.sqlite3"
    with client_of(one_face, opend, cache) as client:
        client.get_page("HK.00700", num=50)
        recorded = content(cache)
        with told(), held(cache, "BEGIN IMMEDIATE"):
            client.get_page("US.AAPL", num=50)
        assert content(cache) == recorded
        client.get_page("US.AAPL", num=50)
        assert len(content(cache)) == len(recorded) + 1
        assert client.get_page("US.AAPL", num=50).source == "cache"
    assert len(waits) == 1


def test_what_was_waited_for_once_is_not_waited_for_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither by a thread that waited for another thread, nor for a while after a wait in vain."""
    monkeypatch.setattr(ours, "BUSY_SECONDS", 1)
    layout = database.Layout(ours.OurFile("test file", "file.sqlite3"), 1, ("CREATE TABLE t (n INTEGER)",))
    with closing(database.Database(tmp_path / "file.sqlite3", layout)) as file:
        file.touch()

        def patience(waited: float = 0.0) -> int:
            return int(file._ready(waited).execute("PRAGMA busy_timeout").fetchone()[0])

        assert [patience(), patience(0.4), patience(5.0), patience()] == [1000, 600, 0, 1000]
        file.hurry(30)
        assert patience() == 0
        now = time.monotonic()
        monkeypatch.setattr(time, "monotonic", lambda: now + 31)
        assert patience() == 1000


def test_a_file_system_without_locks_is_named(
    one_face: ModuleType, opend: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite takes its refusal for another's lock."""

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    fcntl, cache = pytest.importorskip("fcntl"), tmp_path / "pages.sqlite3"
    with client_of(one_face, opend, cache) as client:
        client.get_page("HK.00700")
        monkeypatch.setattr(fcntl, "lockf", refuse)
        with told() as texts, held(cache, "BEGIN IMMEDIATE"):
            client.get_page("US.AAPL")
    assert len(texts) == 1
    assert "file system without locks" in texts[0]
    assert "OPEND_SI_CACHE" in texts[0]
