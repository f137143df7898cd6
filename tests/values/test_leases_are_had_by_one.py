"""Leases: what one process has no other gets, whatever happens to processes, clocks and the file."""

import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from io import FileIO
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opend_si.errors import CacheBusy, CacheCorrupt, CacheError, CacheVersionMismatch
from opend_si.system import clocks, ours
from opend_si.system.leases import NAME_BYTES, Board, Leases
from opend_si.system.locks import lock
from opend_si.system.ours import OurFile
from tests.cache.processes import Process
from tests.processes import need

FILE, MARK = OurFile("list for a test", "test.leases"), b"TEST"


def named(text: str) -> bytes:
    return text.encode().ljust(NAME_BYTES)


KEYS = [named(text) for text in "abc"]


def at(path: Path, *, anew: bool = False) -> Leases:
    return Leases(path, FILE, MARK, lambda _: anew)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "test.leases"


def taken(leases: Leases) -> dict[tuple[bytes, bytes], float]:
    """Key and holder of each lease, and until when it lasts."""
    return leases.use(lambda board: {(lease.key, lease.holder): lease.until for lease in board.taken.values()})


def take(leases: Leases, key: bytes, holder: bytes, seconds: float) -> bool:
    """As claims are taken: by one at a time."""

    def use(board: Board) -> bool:
        own = None
        for place, lease in board.of(key).items():
            if lease.holder != holder:
                return False
            own = place
        board.put(key, holder, seconds, own)
        return True

    return leases.use(use)


def end(key: bytes, board: Board) -> None:
    """End a lease of a key, if there is one."""
    for place in list(board.of(key))[:1]:
        board.end(place)


# A model --------------------------------------------------------------------------------------------------------------

STEPS = st.one_of(
    st.tuples(st.just("put"), st.sampled_from(KEYS), st.floats(0.1, 50)),
    st.tuples(st.just("end"), st.sampled_from(KEYS), st.none()),
    st.tuples(st.just("pass"), st.none(), st.floats(0, 20)),
    st.tuples(st.just("many"), st.sampled_from(KEYS), st.integers(1, 40)),
)


@settings(deadline=None, max_examples=100)
@given(steps=st.lists(STEPS, max_size=30))
def test_all_who_open_the_file_see_the_same_leases(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, Any, Any]]
) -> None:
    path = tmp_path_factory.mktemp("leases") / "test.leases"
    now, model, made = 1000.0, dict[tuple[bytes, bytes], float](), 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clocks, "monotonic", lambda: now)
        patch.setattr(clocks, "wall", lambda: now + 1.7e9)
        for step, key, value in steps:
            leases = at(path)
            if step == "pass":
                now += value
                model = {lease: until for lease, until in model.items() if until >= now}
            elif step == "end":
                held = [holder for of, holder in model if of == key]
                if held:
                    leases.use(partial(end, key))
                    left = taken(at(path))
                    assert len(left) == len(model) - 1
                    assert left.items() <= model.items()
                    model = left
            else:
                count, seconds = (value, 30.0) if step == "many" else (1, value)
                for _ in range(count):
                    made += 1
                    holder = named(str(made))
                    leases.use(partial(Board.put, key=key, holder=holder, seconds=seconds))
                    model[key, holder] = now + seconds
            assert taken(at(path)) == model


def test_a_lease_is_had_by_one_and_ends_by_itself(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    moment = 50.0
    monkeypatch.setattr(clocks, "monotonic", lambda: moment)
    monkeypatch.setattr(clocks, "wall", lambda: moment)
    key, mine, theirs = KEYS
    assert [take(at(path), key, mine, 10), take(at(path), key, theirs, 10), take(at(path), key, mine, 10)] == [
        *(True, False, True)
    ]
    moment = 60.0
    assert not take(at(path), key, theirs, 10)  # not before more than its time has passed
    moment = 60.1
    assert take(at(path), key, theirs, 10)
    assert taken(at(path)) == {(key, theirs): 70.1}


def test_a_file_that_grew_is_small_again_when_nothing_is_taken(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    moment = 50.0
    monkeypatch.setattr(clocks, "monotonic", lambda: moment)
    monkeypatch.setattr(clocks, "wall", lambda: moment)
    taken(at(path))
    small = path.stat().st_size
    for _ in range(2):
        for number in range(200):
            assert take(at(path), named(str(number)), KEYS[0], 10)
        assert path.stat().st_size > 200 * 64
        assert len(taken(at(path))) == 200
        moment += 11
        assert taken(at(path)) == {}
        assert path.stat().st_size == small


# Damage ---------------------------------------------------------------------------------------------------------------


def damages(content: bytes) -> Iterator[tuple[str, bytes]]:
    for place in range(len(content)):
        yield f"byte {place}", content[:place] + bytes([content[place] ^ 0x41]) + content[place + 1 :]
    for length in range(1, len(content), 7):
        yield f"{length} bytes are left", content[:length]
    yield "other content", b"no leases" * 300
    yield "a block of zeros", bytes(512) + content[512:]
    yield "all behind its header is zeros", content[:64].ljust(len(content), b"\0")
    yield "two places exchanged", content[:64] + content[128:192] + content[64:128] + content[192:]


def test_damage_is_an_error_or_changes_nothing(path: Path) -> None:
    for number in range(20):
        assert take(at(path), named(str(number)), KEYS[0], 3600)
    before, content, errors = taken(at(path)), path.read_bytes(), 0
    for name, damaged in damages(content):
        path.write_bytes(damaged)
        try:
            assert taken(at(path)) == before, name
        except CacheCorrupt as error:
            said, errors = str(error), errors + 1
        else:
            continue
        assert str(path) in said
        assert path.read_bytes() == damaged, "left as it was"
        assert taken(at(path, anew=True)) == {}
    assert errors > len(content) / 2


@pytest.mark.parametrize("content", [b"", bytes(100), bytes(2048)])
def test_a_file_that_was_emptied_is_begun_anew_and_says_that_it_has_lost_what_was_there(
    path: Path, content: bytes
) -> None:
    assert not at(path).use(lambda board: board.has_lost)
    name = at(path).use(lambda board: board.name)
    path.write_bytes(content)
    assert at(path).use(lambda board: (board.has_lost, board.name != name)) == (True, True)
    assert not at(path).use(lambda board: board.has_lost)


def test_a_file_of_another_program_or_release_is_left_as_it_is(tmp_path: Path) -> None:
    header = MARK + (2).to_bytes(4, "little") + bytes(4 + NAME_BYTES)
    newer = header + crc32(header).to_bytes(4, "little") + b"a form of its own"
    for name, content in [("own.leases", b"my notes"), ("zeros.leases", bytes(100_000)), ("test.leases", newer)]:
        path = tmp_path / name
        path.write_bytes(content)
        for anew in (False, True):
            with pytest.raises(CacheVersionMismatch, match=str(path)):
                taken(at(path, anew=anew))
        assert path.read_bytes() == content


@pytest.mark.needs("links")
def test_what_is_no_file_is_named(tmp_path: Path) -> None:
    folder, dangling = tmp_path / "folder", tmp_path / "dangling"
    folder.mkdir()
    dangling.symlink_to(tmp_path / "nowhere")
    with pytest.raises(CacheError, match=str(folder)):
        taken(at(folder))
    with pytest.raises(CacheError, match=r"dangling is a link to .*nowhere, where no file is"):
        taken(at(dangling))
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(CacheError, match="pipe"):
            taken(at(tmp_path / "pipe"))


def limited(link: Connection, path: Path, limit: int, keys: list[bytes]) -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    told: list[str] = []
    for key in keys:
        try:
            told.append(str(take(at(path), key, key, 3600)))
        except CacheError as error:
            told.append(str(error))
    link.send(told)


def test_a_disk_that_fills_takes_nothing_away(path: Path) -> None:
    keys = [named(f"key {number}") for number in range(40)]
    with Process(limited, path, 1000, keys[:1]) as process:
        [text] = process.hear()
    assert str(path) in text
    assert taken(at(path)) == {}
    with Process(limited, path, 32 * 64 + 100, keys) as process:
        told = process.hear()
    assert told[:31] == ["True"] * 31
    assert all(str(path) in text for text in told[31:])
    assert {key for key, _ in taken(at(path))} == set(keys[:31])
    for key in keys:
        assert take(at(path), key, key, 3600)
    assert {key for key, _ in taken(at(path))} == set(keys)


# Processes ------------------------------------------------------------------------------------------------------------


def hammer(link: Connection, path: Path, seed: int) -> None:
    """Take and give back, and say of each lease that is had for good."""
    chance, own = random.Random(seed), named(f"process {seed}")
    for number in range(10**9):
        key = named(f"{seed} {number}")
        leases = at(path)
        if number % 50 == 0 and number < 1500:
            link.send(key)  # before: what is said may not have been taken yet, what was taken has been said
            assert take(leases, key, own, 3600)
        elif take(leases, KEYS[chance.randrange(3)], own, 0.001):
            leases.use(partial(end, KEYS[0]))


@pytest.mark.needs("signals")
def test_who_is_killed_harms_no_lease_and_holds_no_lock(path: Path) -> None:
    chance = random.Random(7)
    had: set[bytes] = set()
    for seed in range(25):
        with Process(hammer, path, 2 * seed) as one, Process(hammer, path, 2 * seed + 1) as two:
            said = [*(process.hear() for process in (one, two))]
            time.sleep(chance.random() / 50)
            one.kill()
            two.kill()
        found = {key for key, _ in taken(at(path))}
        assert had <= found
        assert len(found & set(said)) <= 2
        had = {key for key in found if b" " in key.strip()}
    assert len(had) > 25


@contextmanager
def held(path: Path) -> Iterator[None]:
    with FileIO(path, "r+b") as file:
        lock(file.fileno(), 0)
        yield


def test_a_file_that_is_held_costs_one_wait_and_is_named(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ours, "BUSY_SECONDS", 0.2)
    leases, errors, slept = at(path), list[CacheBusy](), Counter[int]()
    assert take(leases, KEYS[0], KEYS[1], 3600)
    sleep = time.sleep

    def wait(seconds: float) -> None:
        slept[threading.get_ident()] += int(seconds * 1e6)
        sleep(seconds)

    monkeypatch.setattr("opend_si.system.locks.time.sleep", wait)

    def ask() -> None:
        try:
            taken(leases)
        except CacheBusy as error:
            errors.append(error)

    with held(path):
        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(errors) == 4
    assert all(str(path) in str(error) and "0.2 s" in str(error) for error in errors)
    assert len(slept) == 4
    assert max(slept.values()) < 250_000  # who waits for the file does not wait for other threads besides
    assert taken(leases).keys() == {(KEYS[0], KEYS[1])}


def test_a_fork_waits_for_no_file_that_another_process_holds(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    need("fork")
    monkeypatch.setattr(ours, "BUSY_SECONDS", 3)
    leases, found = at(path), list[object]()
    taken(leases)

    def ask() -> None:
        try:
            found.append(take(leases, KEYS[0], KEYS[1], 3600))
        except CacheBusy as error:
            found.append(error)

    asking = threading.Thread(target=ask)
    with held(path):
        asking.start()
        time.sleep(0.1)  # it waits
        if not (child := os.fork()):
            os._exit(0)
        os.waitpid(child, 0)
    asking.join()
    assert found == [True], "the fork was there before the file was let go"


def test_a_forked_child_holds_no_lock_of_its_parents(path: Path) -> None:
    need("fork")
    leases, stop = at(path), threading.Event()

    def use() -> None:
        while not stop.is_set():
            take(leases, KEYS[0], KEYS[0], 3600)

    threads = [threading.Thread(target=use) for _ in range(3)]
    for thread in threads:
        thread.start()
    children: list[int] = []
    try:
        for number in range(30):
            child = os.fork()
            if not child:
                code = 1
                try:
                    code = not take(leases, named(str(number)), KEYS[1], 3600)
                    time.sleep(60)  # alive: what it had of its parent's it would still have
                finally:
                    os._exit(code)
            children.append(child)
        while len(taken(leases)) < 31:  # `CacheBusy` where a child holds the file
            time.sleep(0.01)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
        for child in children:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


@pytest.mark.parametrize("fails", [KeyboardInterrupt, MemoryError, KeyError])
def test_what_the_caller_raises_is_the_callers_and_leaves_no_lock(path: Path, fails: type[BaseException]) -> None:
    error = fails("the caller's")

    def fail(board: Board) -> None:
        board.put(KEYS[0], KEYS[1], 3600)
        raise error

    with pytest.raises(fails) as caught:
        at(path).use(fail)
    assert caught.value is error
    assert taken(at(path)).keys() == {(KEYS[0], KEYS[1])}
