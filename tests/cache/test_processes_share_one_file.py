"""Several processes and one cache file, and processes that die.

Nothing half-written is seen, nobody waits for the dead.

Processes are real, and so is `kill -9`. The same for one page that many want: `test_together.py`.
"""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from opend_si.cache.budget import Budget, Slot
from opend_si.cache.store import Store
from opend_si.pages import PageKey
from opend_si.simulator import Fault, Simulator
from opend_si.simulator.faults import Wait
from opend_si_schema.calls import SHORT_INTEREST
from opend_si_schema.definitions import Rate
from tests.cache.processes import (
    PATIENCE,
    OpenClient,
    Process,
    ask,
    assert_sound,
    beside,
    content,
    kill_writer,
    record_some,
    told,
    truth,
)

CODES = ("HK.00700", "HK.00001", "HK.00005", "HK.00388", "US.AAPL", "US.AMD", "US.GME", "US.TSLA")

# The simulator's thread does nothing in the children.
pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


@pytest.fixture
def face(one_face: ModuleType) -> ModuleType:
    return one_face


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "pages.sqlite3"


@pytest.fixture
def open_client(face: ModuleType, opend: Simulator) -> Iterator[OpenClient]:
    """Opens clients of `opend`, of each face in turn: `open_client(mode, cache, …)`."""
    with ExitStack() as stack:
        yield lambda mode, cache, **settings: stack.enter_context(
            face.Client(opend.host, opend.port, mode=mode, cache=cache, **{"timeout": 5, **settings})
        )


@pytest.fixture
def recorded(opend: Simulator, cache: Path) -> Path:
    return record_some(opend, cache)


# Killed processes -----------------------------------------------------------------------------------------------------


@pytest.fixture
def half_written(recorded: Path) -> Path:
    kill_writer(recorded)
    return recorded


@pytest.mark.parametrize("first", ["offline", "online", "refresh"])
def test_after_a_writer_was_killed_nothing_of_its_half_is_seen(
    open_client: OpenClient, opend: Simulator, half_written: Path, first: str
) -> None:
    with told() as texts:
        client = open_client(first, half_written)
        assert ask(client, opend, "HK.00700") == ("opend" if first == "refresh" else "cache")
        assert ask(open_client("offline", half_written), opend, "HK.00700") == "cache"
        writer = open_client("online", half_written)
        assert [ask(writer, opend, "US.GME") for _ in range(2)] == ["opend", "cache"]
    assert texts == []
    assert beside(half_written) == []
    with closing(sqlite3.connect(half_written)) as connection:
        assert connection.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'half'").fetchone() == (0,)
    assert [(row[1], row[4]) for row in content(half_written)] == [
        ("HK.00700", 1),
        ("HK.00700", 2),
        ("US.AAPL", 1),
        ("US.GME", 1),
    ]
    assert_sound(half_written)


@pytest.mark.parametrize("mode", ["online", "offline"])
def test_the_journal_of_a_deleted_file_never_reaches_the_next_one(
    open_client: OpenClient, face: ModuleType, opend: Simulator, half_written: Path, mode: str
) -> None:
    half_written.unlink()
    if mode == "offline":
        with pytest.raises(face.CacheMiss):
            open_client("offline", half_written).get_page("HK.00700", num=50)
    client = open_client("online", half_written)
    assert [ask(client, opend, "HK.00700") for _ in range(2)] == ["opend", "cache"]
    assert len(content(half_written)) == 1
    assert_sound(half_written)


def begin_file(link: Any, cache: Path) -> None:
    """Die while the file is made: nothing is committed, but pages of it are on the disk."""
    connection = sqlite3.connect(cache, isolation_level=None)
    connection.execute("PRAGMA cache_size = 1")
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("CREATE TABLE page (body BLOB)")
    connection.executemany("INSERT INTO page VALUES (zeroblob(9000))", [()] * 50)
    link.send("begun")
    link.recv()


@pytest.mark.parametrize("mode", ["online", "offline"])
def test_a_file_whose_maker_was_killed_is_as_good_as_none(
    open_client: OpenClient, face: ModuleType, opend: Simulator, cache: Path, mode: str
) -> None:
    with Process(begin_file, cache) as maker:
        maker.hear()
        maker.kill()
    assert cache.stat().st_size > 0
    assert beside(cache) == [f"{cache.name}-journal"]
    if mode == "offline":
        with pytest.raises(face.CacheMiss):
            open_client("offline", cache).get_page("HK.00700", num=50)
    with told() as texts:
        client = open_client("online", cache)
        assert [ask(client, opend, "HK.00700") for _ in range(2)] == ["opend", "cache"]
    assert texts == []
    assert beside(cache) == []
    assert_sound(cache)


def record_for_ever(link: Any, face: ModuleType, opend: Simulator, cache: Path) -> None:
    # The killed one may hold a claim: the next one waits for as long as its request could have lasted.
    with face.Client(opend.host, opend.port, mode="refresh", cache=cache, timeout=2) as client:
        while True:
            for code in CODES:
                client.get_page(code, num=50)
                link.send(code)


def test_a_recorder_killed_at_any_moment_leaves_a_sound_file(
    face: ModuleType, open_client: OpenClient, opend: Simulator, cache: Path
) -> None:
    for turn in range(8):
        with Process(record_for_ever, face, opend, cache) as recorder:
            for _ in range(1 + turn):
                recorder.hear()
            recorder.kill()
        assert ask(open_client("offline", cache), opend, CODES[0]) == "cache"
        assert_sound(cache)
        opend.universe.revise(CODES[0], 3, aggregatedShort=turn)
        with told() as texts:
            assert ask(open_client("refresh", cache), opend, CODES[0]) == "opend"
        assert texts == []
    assert [name for name in beside(cache) if "corrupt" in name] == []


def get_one(link: Any, face: ModuleType, opend: Simulator, cache: Path, code: str) -> None:
    """Say that it is there, wait for the word, get a page, and tell its source, its body and the warnings."""
    link.send("ready")
    link.recv()
    with told() as texts, face.Client(opend.host, opend.port, mode="online", cache=cache, timeout=2) as client:
        page = client.get_page(code, num=50)
    link.send((page.source, page.body, texts))


def test_when_the_process_that_fetches_a_page_is_killed_one_of_those_who_wait_fetches_it(
    face: ModuleType, open_client: OpenClient, opend: Simulator, cache: Path
) -> None:
    arrived = threading.Event()
    opend.faults.append(Fault(alter=lambda _: arrived.set(), deliver=lambda data: (Wait(3600.0), data)))
    expected = truth(opend, "HK.00700")
    with ExitStack() as stack:
        holder, *waiting = (stack.enter_context(Process(get_one, face, opend, cache, "HK.00700")) for _ in range(4))
        for process in (holder, *waiting):
            assert process.hear() == "ready"
        holder.tell()
        assert arrived.wait(PATIENCE)
        for process in waiting:
            process.tell()
        holder.kill()
        answers = [process.hear() for process in waiting]
    assert sorted(answers) == [("cache", expected, [])] * 2 + [("opend", expected, [])]
    assert len(opend.requests) == 2
    assert ask(open_client("online", cache), opend, "HK.00700") == "cache"


# Several processes, one file ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [2, 8])
def test_processes_that_make_the_file_at_once_all_record_into_it(
    face: ModuleType, open_client: OpenClient, opend: Simulator, cache: Path, count: int
) -> None:
    expected = {code: truth(opend, code) for code in CODES[:count]}
    with ExitStack() as stack:
        processes = [stack.enter_context(Process(get_one, face, opend, cache, code)) for code in expected]
        for process in processes:
            assert process.hear() == "ready"
        for process in processes:
            process.tell()
        answers = [process.hear() for process in processes]
    assert answers == [("opend", body, []) for body in expected.values()]
    assert beside(cache) == []
    assert_sound(cache)
    offline = open_client("offline", cache)
    assert [ask(offline, opend, code) for code in expected] == ["cache"] * count
    assert len(opend.requests) == count


FILES, DAMAGED, OPENERS = 40, 12, 6


def open_many(link: Any, folder: Path) -> None:
    """Open each of many new files when told its number; tell the error, or None."""
    key = PageKey.check(SHORT_INTEREST, "HK.00700")
    rate = Rate(30, 30)
    for number in range(FILES):
        link.send("ready")
        link.recv()
        error = None
        store, budget = Store(folder / f"{number}.pages"), Budget(folder / f"{number}.budget")
        try:
            store.symbol(key.call.proto_id, str(key.symbol))
            slot = budget.reserve("bucket", rate, 1)
            assert isinstance(slot, Slot)  # there are enough for all
            budget.settle(slot)
        except Exception as caught:
            error = f"{type(caught).__name__}: {caught}"
        finally:
            store.close()
        link.send(error)


def test_a_file_that_another_process_is_making_is_never_taken_for_damaged(tmp_path: Path) -> None:
    with ExitStack() as stack:
        openers = [stack.enter_context(Process(open_many, tmp_path)) for _ in range(OPENERS)]
        for number in range(FILES):
            for opener in openers:
                assert opener.hear() == "ready"
            for opener in openers:
                opener.tell()
            assert [opener.hear() for opener in openers] == [None] * OPENERS, f"file {number}"


def meet_damage(link: Any, face: ModuleType, opend: Simulator, folder: Path, code: str) -> None:
    """Ask for a page of each of many damaged files when told to; tell its body and the warnings."""
    for number in range(DAMAGED):
        link.send("ready")
        link.recv()
        cache = folder / f"{number}" / "pages.sqlite3"
        with told() as texts, face.Client(opend.host, opend.port, mode="online", cache=cache, timeout=10) as client:
            page = client.get_page(code, num=50)
        link.send((page.body, texts))


def test_processes_that_meet_a_damaged_file_at_once_set_it_aside_once(
    face: ModuleType, open_client: OpenClient, opend: Simulator, tmp_path: Path
) -> None:
    codes = CODES[:OPENERS]
    expected = [truth(opend, code) for code in codes]
    with ExitStack() as stack:
        processes = [stack.enter_context(Process(meet_damage, face, opend, tmp_path, code)) for code in codes]
        for number in range(DAMAGED):
            cache = tmp_path / f"{number}" / "pages.sqlite3"
            cache.parent.mkdir()
            cache.write_bytes(b"no database" * 1000)
            for process in processes:
                assert process.hear() == "ready"
            for process in processes:
                process.tell()
            answers = [process.hear() for process in processes]
            assert [body for body, _ in answers] == expected
            aside = beside(cache)
            assert len(aside) == 1
            assert [aside[0] in text for _, texts in answers for text in texts].count(True) == 1
            client = open_client("online", cache)
            ask(client, opend, codes[0])
            assert ask(client, opend, codes[0]) == "cache"
            assert_sound(cache)


def go_on_as_child(link: Any, client: Any) -> None:
    with told() as texts:
        pages = [client.get_page(code, num=50) for code in ("HK.00700", "US.GME", "HK.00005")]
    client.close()
    link.send(([(page.source, page.body) for page in pages], texts))


def test_a_forked_child_and_its_parent_both_go_on_with_the_file(
    open_client: OpenClient, opend: Simulator, cache: Path
) -> None:
    client = open_client("online", cache)
    assert ask(client, opend, "HK.00700") == "opend"
    expected = [("cache", truth(opend, "HK.00700"))]
    expected += [("opend", truth(opend, code)) for code in ("US.GME", "HK.00005")]
    with Process(go_on_as_child, client) as child:
        assert child.hear() == (expected, [])
    with told() as texts:
        assert [ask(client, opend, code) for code in ("HK.00700", "US.GME", "US.AAPL")] == ["cache", "cache", "opend"]
    assert texts == []
    assert len(opend.requests) == 4
    assert opend.connections == 2  # the parent's link is still the first one
    assert_sound(cache)
