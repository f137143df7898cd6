"""OpenD goes away in the middle of a sync: what was there comes back, and nothing is lost or doubled."""

import asyncio
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from opend_si.client.answers import Synced
from opend_si.client.steps import Account, Sleep
from opend_si.client.sync import Patience, report_symbol
from opend_si.errors import ConnectionFailed
from opend_si.simulator import Fault, Simulator, Universe, faults

CODES = [f"HK.{number:05d}" for number in range(1, 41)]


@pytest.fixture
def face(one_face: ModuleType) -> ModuleType:
    return one_face


def universe() -> Universe:
    return Universe(symbols=CODES, most_rows=60)


def sync(face: ModuleType, is_async: bool, at: dict[str, Any], codes: list[str]) -> Any:
    if not is_async:
        with face.Client(**at) as client:
            return client.sync(codes)

    async def ask() -> Any:
        async with face.AsyncClient(**at) as client:
            return await client.sync(codes)

    return asyncio.run(ask())


def assert_all_there(face: ModuleType, cache: Path, opend: Simulator) -> None:
    with face.Client(cache=cache, mode="offline") as client:
        for code in CODES:
            told = client.history(code)["timestamp"].tolist()[::-1]
            assert told == [row.timestamp for row in opend.universe.rows(code) or ()]


@pytest.mark.parametrize("is_async", [False, True])
def test_a_sync_survives_a_restart_of_opend(face: ModuleType, is_async: bool, tmp_path: Path) -> None:
    cache = tmp_path / "pages.sqlite3"
    with Simulator(universe(), latency=0.01) as first:
        at = {"host": first.host, "port": first.port, "mode": "online", "cache": cache, "timeout": 5}
        reports: list[Any] = []
        working = threading.Thread(target=lambda: reports.append(sync(face, is_async, at, CODES)))
        working.start()
        first.wait_for_requests(20)
    time.sleep(0.3)
    with Simulator(universe(), port=first.port) as second:
        working.join(60)
        assert [str(one.error) for one in reports[0].failed] == []
        assert reports[0].rows == 60 * len(CODES)
        assert len(first.requests) + len(second.requests) <= 2 * len(CODES) + 2
        assert_all_there(face, cache, second)


@pytest.mark.parametrize("is_async", [False, True])
def test_two_hundred_reconnects_lose_and_double_nothing(
    face: ModuleType, start: Callable[..., Simulator], is_async: bool, tmp_path: Path
) -> None:
    opend = start(universe=Universe(symbols=CODES, most_rows=240))
    for _ in range(100):
        opend.faults += [faults.cut(), Fault(), faults.cut_inside(), Fault()]
    cache = tmp_path / "pages.sqlite3"
    at = {"host": opend.host, "port": opend.port, "mode": "online", "cache": cache, "timeout": 5}
    report = sync(face, is_async, at, CODES)
    assert (report.failed, report.rows) == ([], 240 * len(CODES))
    assert opend.connections > 200 - 2
    assert len(opend.requests) == 5 * len(CODES) + 200
    assert_all_there(face, cache, opend)


def paused(patience: Patience, symbols: int) -> list[float]:
    """How long a sync of symbols sleeps while nobody answers."""

    def nobody() -> Any:
        raise ConnectionFailed("nobody")
        yield

    slept = []
    for number in range(symbols):
        steps = report_symbol(str(number), nobody, patience)
        for step in steps:
            assert isinstance(step, Sleep)
            slept.append(step.seconds)
    return slept


def test_an_opend_that_stays_away_costs_one_bounded_wait_and_none_if_it_never_was_there() -> None:
    never_there, gone = Patience(10.0), Patience(10.0)
    gone.met()
    assert paused(never_there, 5) == []
    assert paused(gone, 5) == [0.5, 1.0, 2.0, 4.0, 2.5]


def test_an_opend_that_answered_only_others_was_there() -> None:
    """A sync that waits for pages that other processes fetch sends nothing, and its connection stands all the same."""
    attempts = 0

    def waited_for_others() -> Any:
        nonlocal attempts
        attempts += 1
        yield Account()
        if attempts == 1:
            raise ConnectionFailed("it restarts")
        return Synced(rows=3)

    steps = report_symbol("HK.00700", waited_for_others, Patience())
    assert next(steps) == Account()
    assert steps.send(7) == Sleep(0.5)
    assert steps.send(None) == Account()
    with pytest.raises(StopIteration) as done:
        steps.send(7)
    assert (done.value.value.rows, done.value.value.error) == (3, None)


@pytest.mark.parametrize("is_async", [False, True])
def test_an_opend_that_greets_and_cuts_is_not_one_that_restarts(
    face: ModuleType, start: Callable[..., Simulator], is_async: bool, tmp_path: Path
) -> None:
    opend = start(universe=universe())
    opend.faults += [faults.cut() for _ in range(100)]
    at = {"host": opend.host, "port": opend.port, "mode": "online", "cache": tmp_path / "pages.sqlite3"}
    report = sync(face, is_async, at, CODES)
    assert (len(report.failed), len(opend.requests)) == (len(CODES), 6)  # three attempts, each repeated once
    assert all(isinstance(entry.error, face.ConnectionFailed) for entry in report)


def test_a_link_that_breaks_again_and_again_is_used_as_long_as_it_lasts(
    face: ModuleType, start: Callable[..., Simulator], tmp_path: Path
) -> None:
    opend = start(universe=Universe(symbols=CODES[:1], most_rows=240))
    for _ in range(4):  # each page costs an attempt: it was cut twice before it came
        opend.faults += [Fault(), faults.cut(), faults.cut()]
    at = {"host": opend.host, "port": opend.port, "mode": "online", "cache": tmp_path / "pages.sqlite3"}
    report = sync(face, False, at, CODES[:1])
    assert (report.failed, report.rows, len(opend.requests)) == ([], 240, 5 + 8)


def test_a_sync_of_an_opend_that_is_not_there_fails_at_once(face: ModuleType, tmp_path: Path) -> None:
    at = {"port": 1, "mode": "online", "cache": tmp_path / "pages.sqlite3"}
    for is_async in (False, True):
        report = sync(face, is_async, at, CODES)
        assert (len(report.failed), report.requests) == (len(CODES), 0)
