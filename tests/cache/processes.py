"""What the tests of a cache that meets with faults share.

Other processes, and how an answer is held against the truth.
"""

import multiprocessing
import sqlite3
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest

import futu_si
from opend_si.cache.store import Store
from opend_si.errors import ShortInterestWarning
from opend_si.history import upkeep
from opend_si.pages import PageKey
from opend_si.simulator import Simulator
from opend_si_schema.calls import SHORT_INTEREST
from tests.processes import need

OpenClient = Callable[..., Any]

# Seconds after which a process that says nothing is taken to hang: a bound, never a measure.
PATIENCE = 60


class OpenD(Simulator):
    """An OpenD to whoever asks it: no account of a simulator is logged in."""

    account = 7_654_321


class Process:
    """A forked process that does `work(link, *arguments)` and tells things over `link`. With the `with` it is gone."""

    def __init__(self, work: Callable[..., object], *arguments: object) -> None:
        need("fork")
        context = multiprocessing.get_context("fork")
        self._link, theirs = context.Pipe()
        self._process = context.Process(target=_work, args=(self._link, theirs, work, arguments), daemon=True)
        self._process.start()
        theirs.close()

    def __enter__(self) -> "Process":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        self._process.close()
        self._link.close()

    def hear(self, patience: float = PATIENCE) -> Any:
        """The next thing that it tells."""
        assert self._link.poll(patience), "the process hangs"
        told = self._link.recv()
        if isinstance(told, _Failure):
            pytest.fail(told.text)
        return told

    def tell(self, what: object = None) -> None:
        self._link.send(what)

    def kill(self) -> None:
        """As `kill -9` does: it can clean nothing up."""
        self._process.kill()
        self._process.join()


class _Failure:
    def __init__(self, text: str) -> None:
        self.text = text


def _work(ours: Any, theirs: Any, work: Callable[..., object], arguments: tuple[object, ...]) -> None:
    ours.close()
    try:
        work(theirs, *arguments)
    except BaseException:
        theirs.send(_Failure(traceback.format_exc()))


@contextmanager
def told() -> Iterator[list[str]]:
    """The texts of our warnings, when the `with` has ended; any other warning is an error."""
    texts: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ShortInterestWarning)
        yield texts
        texts += [str(warning.message) for warning in caught]


def truth(opend: Simulator, code: str, next_key: str | None = None, num: int = 50) -> bytes:
    """The body of the reply that OpenD would give now. It does not count as a request."""
    key = PageKey.check(SHORT_INTEREST, code, next_key, num)
    reply = Simulator(opend.universe).answer(key.call.proto_id, key.request())
    return bytes(reply.SerializeToString())


def ask(client: Any, opend: Simulator, code: str, next_key: str | None = None, num: int = 50) -> str:
    """Ask for a page and hold it against what OpenD has; gives where it came from."""
    page = client.get_page(code, next_key, num)
    assert page.symbol == code
    assert page.body == truth(opend, code, next_key, num)
    return str(page.source)


def record_some(opend: Simulator, cache: Path) -> Path:
    """Record HK.00700 in two versions, of which the first alone holds its last row, and US.AAPL."""
    with futu_si.Client(opend.host, opend.port, mode="refresh", cache=cache) as client:
        client.get_page("HK.00700", num=50)
        opend.universe.publish("HK.00700")
        opend.universe.revise("HK.00700", 3, aggregatedShort=7)
        client.get_page("HK.00700", num=50)
        client.get_page("US.AAPL", num=50)
    opend.requests.clear()
    return cache


def assert_sound(cache: Path) -> None:
    assert list(upkeep.verify(cache)) == []


def beside(cache: Path) -> list[str]:
    """The files beside the cache whose names begin with its name: journals, and files set aside."""
    return sorted(path.name for path in cache.parent.glob(f"{cache.name}?*"))


def content(cache: Path) -> list[tuple[object, ...]]:
    """Every row of the page table and the bytes of its reply, read with nothing of ours."""
    with closing(sqlite3.connect(cache)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return connection.execute("SELECT page.*, bytes FROM page LEFT JOIN body ON id = body ORDER BY body").fetchall()


def changed(change: str, where: str = "TRUE") -> str:
    """A statement that changes rows of the page table, or the bytes of their replies, with nothing of ours."""
    if change.startswith("bytes"):
        return f"UPDATE body SET {change} WHERE id IN (SELECT body FROM page WHERE {where})"
    return f"UPDATE page SET {change} WHERE {where}"


def write_half(link: Any, cache: Path) -> None:
    """Overwrite and add more than fits into SQLite's memory, so that half of it is in the file, and do not finish."""

    def write(connection: sqlite3.Connection) -> None:
        connection.execute("PRAGMA cache_size = 1")
        connection.execute("UPDATE page SET superseded_at = 1 - (superseded_at != 0)")
        connection.execute("UPDATE body SET bytes = x'00'")
        connection.execute("CREATE TABLE half (body BLOB)")
        connection.executemany("INSERT INTO half VALUES (zeroblob(30000))", [()] * 30)
        link.send("half written")
        link.recv()

    Store(cache).database.write(write)


def kill_writer(cache: Path) -> None:
    """Kill a process inside a write transaction.

    Half of it is in the file, and a journal that undoes it is beside it.
    """
    before = cache.read_bytes()
    with Process(write_half, cache) as writer:
        writer.hear()
        writer.kill()
    assert cache.read_bytes() != before
    assert beside(cache) == [f"{cache.name}-journal"]
