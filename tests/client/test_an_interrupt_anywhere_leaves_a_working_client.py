"""Ctrl-C between any two steps of a call leaves nothing locked.

The next call answers, in any thread, and the file is free.

Python raises KeyboardInterrupt right after a call into C has returned, or where a function of Python's begins. Here it
is raised at each such place of a call in turn; what raised it is kept, as a console keeps the last traceback. So a lock
or a transaction that is only given back when the traceback is forgotten is found, too.
"""

import contextlib
import gc
import sqlite3
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

import pytest

import opend_si
from opend_si.simulator import Simulator
from opend_si.system.sharing import make_file
from tests.stress import signals

# Python drops an interrupt that comes while it forgets a generator, and says so.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

ENGINE = str(Path(opend_si.__file__).parent)
# The engine, and what of the standard library its locks and blocks could go through.
WATCHED = (ENGINE, contextlib.__file__, threading.__file__)
# Seconds after which a call is taken to hang: a bound, never a measure.
PATIENCE = 30


class Interrupt:
    """Raises KeyboardInterrupt at a step, counted from 1; counts the steps."""

    def __init__(self, at: int, events: tuple[str, ...]) -> None:
        self._at, self._events, self.steps = at, events, 0

    def __call__(self, frame: FrameType, event: str, _: object) -> None:
        if event in self._events and frame.f_code.co_filename.startswith(WATCHED):
            self.steps += 1
            if self.steps == self._at:
                raise KeyboardInterrupt(f"{frame.f_code.co_filename}:{frame.f_lineno}, {event}")


def steps_of(call: Callable[[], object], at: int, events: tuple[str, ...] = ("call", "c_return")) -> int:
    """Make a call, interrupted at a step; gives how many steps it made."""
    interrupt = Interrupt(at, events)
    sys.setprofile(interrupt)
    try:
        call()
    finally:
        sys.setprofile(None)
    return interrupt.steps


def interrupted(call: Callable[[], object], every: int) -> Iterator[KeyboardInterrupt]:
    """Interrupt a call at every so-many-th of its steps, a step further each time."""
    at = 1
    while True:
        try:
            if steps_of(call, at) < at:
                return
        except KeyboardInterrupt as error:
            yield error
        at += every


def answer(client: Any, opend: Simulator) -> str:
    """What became of a call, held against what OpenD has."""
    rows = opend.universe.rows("HK.00700")
    assert rows is not None
    try:
        page = client.get_page("HK.00700")
    except BaseException:
        return traceback.format_exc()
    is_right = [record.timestamp for record in page.records] == [row.timestamp for row in rows[:10]]
    return "right" if is_right else "wrong"


def answers_in_a_thread(client: Any, opend: Simulator, error: KeyboardInterrupt) -> None:
    found = ["none: something is still locked"]
    thread = threading.Thread(target=lambda: found.append(answer(client, opend)), daemon=True)
    thread.start()
    thread.join(PATIENCE)
    assert found[-1] == "right", f"after {error}: {found[-1]}"


@pytest.mark.parametrize(("mode", "every"), [("bypass", 1), ("online", 11)])
def test_the_next_call_answers_in_any_thread_and_the_file_is_free(
    one_face: ModuleType, opend: Simulator, tmp_path: Path, mode: str, every: int
) -> None:
    cache, kept = tmp_path / "pages.sqlite3", []
    with one_face.Client(opend.host, opend.port, mode=mode, cache=cache, max_age=0, timeout=1) as client:
        client.get_page("HK.00700")
        for error in interrupted(lambda: client.get_page("HK.00700"), every):
            kept.append(error)
            answers_in_a_thread(client, opend, error)
            if cache.exists():
                with closing(sqlite3.connect(cache, timeout=0, isolation_level=None)) as other:
                    other.execute("BEGIN EXCLUSIVE")
    assert len(kept) > 50


def test_the_default_client_answers_after_an_interrupt(one_face: ModuleType, opend: Simulator) -> None:
    kept = []
    one_face.configure(host=opend.host, port=opend.port, mode="bypass", timeout=1)
    for error in interrupted(lambda: one_face.get_short_interest("HK.00700"), 7):
        kept.append(error)
        answers_in_a_thread(one_face.Client(opend.host, opend.port, mode="bypass"), opend, error)
        ret, _, frame = one_face.get_short_interest("HK.00700")
        assert (ret, len(frame)) == (one_face.RET_OK, 10)
    for error in interrupted(lambda: one_face.configure(max_age=1), 1):
        kept.append(error)
        assert one_face.get_short_interest("HK.00700")[0] == one_face.RET_OK
    assert len(kept) > 50


@pytest.mark.needs("proc")
@pytest.mark.parametrize("content", [b"", b"something"])
def test_an_interrupt_while_a_file_is_made_leaves_nothing_open(tmp_path: Path, content: bytes) -> None:
    """What comes where a generator is closed is left out: there this way to raise it skips what the generator does."""
    for at in range(1, 500):
        (folder := tmp_path / str(at)).mkdir()
        before, told = {*Path("/proc/self/fd").iterdir()}, ""
        try:
            if steps_of(lambda folder=folder: make_file(folder / "file", content), at, ("c_return",)) < at:  # type: ignore[misc]
                return
        except KeyboardInterrupt as error:
            told = str(error)
        gc.collect()
        assert {*Path("/proc/self/fd").iterdir()} == before, told
    raise AssertionError("it does not end")


@pytest.mark.skipif(sys.platform == "win32", reason="a process cannot be sent SIGINT there")
def test_signals_from_outside_at_random_moments_leave_a_process_that_answers_and_ends() -> None:
    """`tests.stress.signals` does the same ten thousand times."""
    tally = signals.run(120)
    assert tally.is_good, tally
    assert tally.interrupts >= 120
