"""Looking after a large cache while others write to it, and handing one on wherever it can be written."""

import ctypes
import errno
import os
import platform
import sqlite3
import struct
import sys
import tempfile
import threading
import time
import tracemalloc
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import futu_si
from opend_si.cache.store import Store
from opend_si.cache.versions import Versions
from opend_si.errors import CacheMiss, InvalidArgument, ShortInterestError
from opend_si.history import overview, upkeep
from opend_si.history.upkeep import prune
from opend_si.simulator import Simulator, Universe
from opend_si.simulator.server import CursorStyle
from tests.cache.processes import Process, assert_sound, beside, content, record_some, told

# The simulator's thread does nothing in the children.
pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")

SYMBOLS, PAGES = 1000, 10


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache that takes a while to read: one page of 50 rows under many symbols and cursors."""
    folder = tmp_path_factory.mktemp("large")
    with Simulator() as opend, closing(Store(record_some(opend, folder / "one.sqlite3"), may_write=False)) as store:
        page = next(row for row in store.symbol(3249, "HK.00700").rows if row.is_current)
    path = folder / "large.sqlite3"
    with closing(Store(path)) as store:
        store.database.read(lambda connection: connection.execute("PRAGMA synchronous = OFF"))
        for number in range(SYMBOLS):
            copies = (page._replace(symbol=f"HK.{number:05d}", next_key=f"{place or ''}") for place in range(PAGES))
            store.add(Versions(tuple(row.signed() for row in copies)))
    return path


def look(path: Path, name: str) -> object:
    if name == "export":
        return upkeep.export(path, path.with_name(f"{os.getpid()}-{time.monotonic_ns()}.sqlite3"))
    return list(upkeep.verify(path)) if name == "verify" else overview.info(path).pages


def look_when_told(link: Any, path: Path, name: str) -> None:
    link.send("ready")
    link.recv()
    link.send(look(path, name))


SEEN = {"info": SYMBOLS * PAGES, "verify": [], "export": SYMBOLS * PAGES}


@pytest.mark.parametrize("name", SEEN)
def test_who_writes_meanwhile_waits_for_one_symbol_and_not_for_all(large: Path, name: str) -> None:
    waits: list[float] = []
    seen: list[object] = []
    with Process(look_when_told, large, name) as looking:
        assert looking.hear() == "ready"
        hearing = threading.Thread(target=lambda: seen.append(looking.hear()))
        begin = time.monotonic()
        looking.tell()
        hearing.start()
        with closing(sqlite3.connect(large, timeout=60, isolation_level=None)) as connection:
            while hearing.is_alive():
                asked_at = time.monotonic()
                connection.execute("BEGIN IMMEDIATE")
                connection.execute("INSERT OR REPLACE INTO step VALUES (1, 1)")
                connection.execute("COMMIT")
                waits.append(time.monotonic() - asked_at)
                time.sleep(0.02)
        hearing.join()
    assert seen == [SEEN[name]]
    assert max(waits) < (time.monotonic() - begin) / 2
    assert len(waits) > 5


def test_a_reader_that_pauses_between_two_faults_holds_nobody_up(opend: Simulator, tmp_path: Path) -> None:
    cache = record_some(opend, tmp_path / "pages.sqlite3")
    with closing(sqlite3.connect(cache, timeout=0, isolation_level=None)) as connection:
        connection.execute("UPDATE body SET bytes = x'00'")
        faults = upkeep.verify(cache)
        assert "checksum" in next(faults)
        connection.execute("UPDATE body SET bytes = x'01'")
        assert len(list(faults)) == 2


def test_memory_holds_one_symbol_at_a_time(large: Path) -> None:
    tracemalloc.start()
    try:
        look(large, "export")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < large.stat().st_size / 10


def record_again_and_again(link: Any, opend: Simulator, cache: Path) -> None:
    with futu_si.Client(opend.host, opend.port, mode="refresh", cache=cache, timeout=30) as client:
        while True:
            for code in ("HK.00700", "US.AAPL", "HK.00001"):
                client.get_page(code, num=50)
                time.sleep(0.005)  # faster than any OpenD answers; without a pause the lock is hardly ever free
            link.send("recorded")


def test_while_others_record_a_sound_cache_is_sound(opend: Simulator, tmp_path: Path) -> None:
    cache = tmp_path / "pages.sqlite3"
    with told() as texts, Process(record_again_and_again, opend, cache) as recording:
        recording.hear()
        for _ in range(100):
            assert_sound(cache)
            assert overview.info(cache).symbols == 3
    assert texts == []


def test_symbols_come_in_order_whatever_their_names(opend: Simulator, tmp_path: Path) -> None:
    """A damaged name may be empty, or be no symbol; each is read once all the same."""
    cache = record_some(opend, tmp_path / "pages.sqlite3")
    names = ["", "A", "HK.00700", "HK.00700\0", "Z", "é", "\uffff", "\U0001f600"]
    with closing(sqlite3.connect(cache)) as connection, connection:
        connection.execute("DELETE FROM page WHERE symbol != 'US.AAPL'")
        for name in names:
            connection.execute(
                "CREATE TEMP TABLE copy AS SELECT * FROM page WHERE symbol = 'US.AAPL' AND protocol = 3249"
            )
            for protocol in (-(2**63), 0, 3249, 2**63 - 1):
                connection.execute("UPDATE copy SET symbol = ?, protocol = ?", (name, protocol))
                connection.execute("INSERT INTO page SELECT * FROM copy")
            connection.execute("DROP TABLE copy")
    assert len(list(upkeep.verify(cache))) == 4 * len(names)
    found = overview.info(cache)
    assert (found.symbols, found.versions) == (1, 4 * len(names) + 1)
    with closing(Store(cache, may_write=False)) as store:  # many at once: a NUL finds nothing, and nobody else's
        records = store.records(3249, names)
    assert [len(record.damaged) for record in records] == [int("\0" not in name) for name in names]
    assert not any(record.sound for record in records)


# Handing on -----------------------------------------------------------------------------------------------------------


def test_a_target_that_cannot_be_written_is_named_and_nothing_is_left(opend: Simulator, tmp_path: Path) -> None:
    cache = record_some(opend, tmp_path / "pages.sqlite3")
    (tmp_path / "file").touch()
    before = sorted(tmp_path.rglob("*"))
    for target in (tmp_path / "none" / "x", tmp_path / "file" / "x", Path("/proc/x"), tmp_path / ("x" * 300)):
        with pytest.raises(ShortInterestError, match="cannot be written") as caught:
            upkeep.export(cache, target)
        assert str(target) in str(caught.value)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_cache_without_pages_gives_no_export(opend: Simulator, tmp_path: Path) -> None:
    cache = record_some(opend, tmp_path / "pages.sqlite3")
    with closing(sqlite3.connect(cache)) as connection, connection:
        connection.execute("DELETE FROM page")
    with pytest.raises(CacheMiss, match="Nothing is recorded"):
        upkeep.export(cache, tmp_path / "x")
    assert not (tmp_path / "x").exists()


# prctl(2), seccomp(2) and the kernel's numbers of link and linkat.
_SET_NO_NEW_PRIVILEGES, _SET_SECCOMP, _FILTER = 38, 22, 2
_ALLOW, _FAIL = 0x7FFF0000, 0x00050000
_LINK_CALLS = {"x86_64": (86, 265), "aarch64": (37,)}.get(platform.machine(), ()) if sys.platform == "linux" else ()


def _forbid_links() -> None:
    """From now on the kernel refuses this process every hard link, as it does on file systems that have none."""
    steps = [(0x20, 0, 0, 0)]  # load the call's number
    steps += [(0x15, len(_LINK_CALLS) - place, 0, number) for place, number in enumerate(_LINK_CALLS)]
    steps += [(0x06, 0, 0, _ALLOW), (0x06, 0, 0, _FAIL | errno.EPERM)]
    program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
    filter_ = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(steps), ctypes.addressof(program)))
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.prctl(_SET_NO_NEW_PRIVILEGES, 1, 0, 0, 0) == 0
    assert libc.prctl(_SET_SECCOMP, _FILTER, filter_, 0, 0) == 0, os.strerror(ctypes.get_errno())


def export_without_links(link: Any, cache: Path, target: Path) -> None:
    _forbid_links()
    with pytest.raises(PermissionError):
        os.link(cache, cache.with_name("link"))
    link.send(upkeep.export(cache, target))
    target.write_text("precious")
    with pytest.raises(InvalidArgument, match="exists already"):
        upkeep.export(cache, target)
    link.send(upkeep.export(cache, target.with_name("another.sqlite3")))


@pytest.mark.skipif(not _LINK_CALLS, reason="the numbers of this machine's system calls are not known here")
def test_on_a_file_system_without_links_an_export_is_whole_and_replaces_nothing(
    opend: Simulator, tmp_path: Path
) -> None:
    cache, target = record_some(opend, tmp_path / "pages.sqlite3"), tmp_path / "handed-on.sqlite3"
    with Process(export_without_links, cache, target) as exporting:
        assert exporting.hear() == 3
        assert exporting.hear() == 3
    assert target.read_text() == "precious"
    another = target.with_name("another.sqlite3")
    assert len(content(another)) == 3
    assert_sound(another)
    assert beside(another) == []
    assert sorted(path.name for path in tmp_path.glob("*") if path.is_dir()) == []


def export_into_taken(link: Any, cache: Path, target: Path, *, links: bool) -> None:
    if not links:
        _forbid_links()
    try:
        upkeep.export(cache, target)
    except InvalidArgument as error:
        link.send(str(error))


@pytest.mark.parametrize("links", [True, False] if _LINK_CALLS else [True])
def test_what_is_made_meanwhile_under_the_targets_name_is_not_replaced(
    large: Path, tmp_path: Path, *, links: bool
) -> None:
    target = tmp_path / "handed-on.sqlite3"
    with Process(partial(export_into_taken, links=links), large, target) as exporting:
        while not list(tmp_path.iterdir()):  # until it is at work
            time.sleep(0.001)
        target.write_text("precious")
        assert "exists already" in exporting.hear()
    assert target.read_text() == "precious"
    assert list(tmp_path.iterdir()) == [target]


STEPS = st.one_of(
    st.tuples(st.just("publish"), st.integers(1, 60)),
    st.tuples(st.just("revise"), st.integers(0, 200)),
    st.tuples(st.just("history"), st.none()),
    st.tuples(st.just("page"), st.sampled_from((1, 10, 50))),
)


@settings(max_examples=25)
@given(st.lists(STEPS, min_size=4, max_size=14), st.integers(0, 14), st.sampled_from(("timestamp", "offset")))
@example(
    [("publish", 1), ("history", None), ("revise", 0), ("page", 1)], 5, "timestamp"
)  # one shows that others are void
@example([("publish", 30), ("page", 50), ("history", None)], 3, "timestamp")  # one joins what was walked anew later
def test_pruning_loses_no_row_of_now_nor_of_any_moment_since(
    steps: list[tuple[str, Any]], place: int, style: CursorStyle
) -> None:
    """A walk of publications, revisions and questions; what was superseded at some moment of it goes."""
    with tempfile.TemporaryDirectory() as folder, Simulator(Universe(most_rows=180), cursor=style) as opend:
        cache, moments = Path(folder, "pages.sqlite3"), [datetime.now(UTC)]
        with futu_si.Client(opend.host, opend.port, cache=cache, mode="refresh") as client:
            for step, number in [("history", None), *steps]:
                if step == "publish":
                    opend.universe.publish("HK.00700", number)
                elif step == "revise":
                    row = (opend.universe.rows("HK.00700") or ())[number % 180]
                    opend.universe.revise("HK.00700", number % 180, aggregatedShort=row.aggregatedShort + 1)
                elif step == "history":
                    client.history("HK.00700")
                else:
                    client.get_page("HK.00700", num=number)
                time.sleep(0.002)  # a moment between what came and what comes
                moments.append(datetime.now(UTC))
                time.sleep(0.002)
        since = moments[min(place, len(moments) - 1) :]
        before = [answer(cache, moment) for moment in (*since, None)]
        prune(cache, since[0])
        assert [answer(cache, moment) for moment in (*since, None)] == before
        assert list(upkeep.verify(cache)) == []
        assert prune(cache, since[0]) == 0


def answer(cache: Path, as_of: datetime | None) -> object:
    """A history as it was known at a moment, and when its values were first seen; None where it is not all recorded."""
    with futu_si.Client(cache=cache, mode="offline") as client:
        try:
            frame = client.history("HK.00700", as_of=as_of)
        except CacheMiss:
            return None
    return frame.to_csv()
