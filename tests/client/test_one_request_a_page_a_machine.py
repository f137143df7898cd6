"""Threads and processes together: one request per page per machine, one rate budget, whoever dies."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import futu_si
from opend_si.cache.budget import Budget, Slot
from opend_si.simulator import Fault, Simulator, faults
from opend_si.simulator.faults import Wait
from opend_si_schema.definitions import Rate
from tests.processes import ROOT
from tests.stress.together import ask_together

Start = Callable[..., Simulator]


def test_processes_and_threads_that_want_one_cold_page_send_one_request(start: Start, tmp_path: Path) -> None:
    opend = start(latency=0.2)
    total = ask_together(
        4, opend.host, opend.port, "HK.00700", threads=4, pages=1, OPEND_SI_MODE="online", OPEND_SI_HOME=str(tmp_path)
    )
    assert total == {"opend": 1, "cache": 15}
    assert len(opend.requests) == 1


def test_threads_of_one_client_that_want_one_cold_page_send_one_request(start: Start, tmp_path: Path) -> None:
    opend = start(latency=0.1)
    with (
        futu_si.Client(opend.host, opend.port, mode="online", cache=tmp_path / "pages.sqlite3") as client,
        ThreadPoolExecutor(8) as pool,
    ):
        pages = list(pool.map(lambda _: client.get_page("HK.00700"), range(8)))
    assert len(opend.requests) == 1
    assert {page.body for page in pages} == {pages[0].body}


def test_a_refresh_that_waited_for_anothers_takes_its_result(start: Start, tmp_path: Path) -> None:
    opend = start(latency=0.2)
    together = threading.Barrier(4)
    with (
        futu_si.Client(opend.host, opend.port, mode="refresh", cache=tmp_path / "pages.sqlite3") as client,
        ThreadPoolExecutor(4) as pool,
    ):

        def ask(_: int) -> Any:
            together.wait()
            return client.get_page("HK.00700")

        list(pool.map(ask, range(4)))
        first = len(opend.requests)
        client.get_page("HK.00700")
    assert first < 4
    assert len(opend.requests) == first + 1


def test_when_a_fetch_fails_the_next_in_line_fetches(start: Start, tmp_path: Path) -> None:
    opend = start()
    opend.faults += [faults.refuse("NN_ProtoRet_TimeOut"), Fault(deliver=lambda data: (Wait(0.1), data))]
    with (
        futu_si.Client(opend.host, opend.port, mode="online", cache=tmp_path / "pages.sqlite3") as client,
        ThreadPoolExecutor(4) as pool,
    ):

        def ask(_: int) -> str:
            try:
                return client.get_page("HK.00700").source
            except futu_si.OpenDError:
                return "refused"

        told = list(pool.map(ask, range(4)))
    assert told.count("refused") == 1
    assert told.count("opend") >= 1
    assert len(opend.requests) == 1 + told.count("opend")


def kill_while_it_fetches(opend: Simulator, cache: Path, timeout: float, kill: int) -> None:
    """Have a process ask for a page, and end it before the reply comes."""
    opend.faults.append(faults.silence())
    script = (
        "import futu_si, sys; host, port, cache, timeout = sys.argv[1:];"
        " futu_si.Client(host, int(port), mode='online', timeout=float(timeout), cache=cache).get_page('HK.00700')"
    )
    command = [sys.executable, "-c", script, opend.host, str(opend.port), str(cache), str(timeout)]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL) as doomed:
        opend.wait_for_requests(1)
        doomed.send_signal(kill)
        doomed.wait()


@pytest.mark.needs("signals")
@pytest.mark.parametrize("kill", ["SIGKILL", "SIGTERM"])
def test_when_the_one_that_fetches_is_killed_another_takes_over(start: Start, tmp_path: Path, kill: str) -> None:
    opend = start()
    cache = tmp_path / "pages.sqlite3"
    kill_while_it_fetches(opend, cache, timeout=1, kill=getattr(signal, kill))
    with futu_si.Client(opend.host, opend.port, mode="online", timeout=1, cache=cache) as client:
        assert client.get_page("HK.00700").source == "opend"
    assert len(opend.requests) == 2


@pytest.mark.needs("signals")
def test_nobody_waits_for_as_long_as_one_that_was_killed_would_have(start: Start, tmp_path: Path) -> None:
    opend = start()
    cache = tmp_path / "pages.sqlite3"
    kill_while_it_fetches(opend, cache, timeout=3600, kill=signal.SIGKILL)
    with (
        futu_si.Client(opend.host, opend.port, mode="online", timeout=1, cache=cache) as client,
        ThreadPoolExecutor(4) as pool,
    ):
        asked = [pool.submit(client.get_page, "HK.00700") for _ in range(4)]
        try:
            pages = [page.result(20) for page in asked]
        finally:
            cache.with_suffix(".claims").unlink()  # nobody holds anything any more: a test that failed ends, too
    assert [page.source for page in pages].count("opend") == 1
    assert len(opend.requests) == 2


def test_who_waits_for_the_budget_with_a_long_timeout_is_not_robbed(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPEND_SI_RATE", "1/5")
    opend = start()
    where: dict[str, Any] = {
        "mode": "online",
        "cache": tmp_path / "pages.sqlite3",
        "on_wait": lambda _: None,
    }
    with (
        futu_si.Client(opend.host, opend.port, timeout=3600, **where) as patient,
        futu_si.Client(opend.host, opend.port, timeout=0.5, **where) as hasty,
        ThreadPoolExecutor(2) as pool,
    ):
        patient.get_page("US.AAPL")
        waits = pool.submit(patient.get_page, "HK.00700")
        time.sleep(0.5)
        assert hasty.get_page("HK.00700").source == "cache"
        assert waits.result().source == "opend"
    assert len(opend.requests) == 2


# The budget ----------------------------------------------------------------------------------------------------------


def test_many_processes_never_meet_the_limit(start: Start, tmp_path: Path) -> None:
    opend = start(rate=Rate(6, 0.5))
    total = ask_together(
        4,
        opend.host,
        opend.port,
        "HK.00700",
        threads=2,
        pages=4,
        OPEND_SI_MODE="bypass",
        OPEND_SI_RATE="6/0.5",
        OPEND_SI_HOME=str(tmp_path),
    )
    assert total == {"opend": 32}
    assert [request.accepted for request in opend.requests] == [True] * 32


@settings(deadline=None, max_examples=60)
@given(steps=st.lists(st.sampled_from(["reserve", "settle", "cancel", "die"]), max_size=40))
def test_no_more_slots_are_out_than_the_rate_allows(tmp_path_factory: pytest.TempPathFactory, steps: list[str]) -> None:
    budget = Budget(tmp_path_factory.mktemp("budget") / "budget.slots")
    rate, out, taken = Rate(3, 3600.0), [], 0
    for step in steps:
        if step == "reserve":
            slot = budget.reserve("account/3249", rate, timeout=10.0)
            assert isinstance(slot, Slot) == (taken < rate.requests)
            if isinstance(slot, Slot):
                out.append(slot)
                taken += 1
            else:
                assert 0 < slot <= rate.seconds
        elif out:
            slot = out.pop()
            if step == "settle":
                budget.settle(slot)
            elif step == "cancel":
                budget.cancel(slot)
                taken -= 1
        allowed = budget.allowance("account/3249", rate)
        assert allowed.requests == rate.requests - taken
        assert (allowed.wait == 0) == (taken < rate.requests)
        assert 0 <= allowed.wait <= rate.seconds
    assert isinstance(budget.reserve("other/3249", rate, timeout=10.0), Slot)


def test_a_slot_counts_from_the_reply_on(tmp_path: Path) -> None:
    budget, rate = Budget(tmp_path / "budget.slots"), Rate(1, 100.0)
    slot = budget.reserve("a", rate, timeout=50.0)
    assert isinstance(slot, Slot)
    in_flight = budget.reserve("a", rate, timeout=50.0)
    budget.settle(slot)
    settled = budget.reserve("a", rate, timeout=50.0)
    assert not isinstance(in_flight, Slot)
    assert not isinstance(settled, Slot)
    assert in_flight == 100.0  # at the soonest: it may be settled at once
    assert 0.0 < settled <= 100.0


def test_after_a_restart_of_the_machine_old_slots_are_not_in_force(tmp_path: Path) -> None:
    budget, rate = Budget(tmp_path / "budget.slots"), Rate(2, 30.0)
    with pytest.MonkeyPatch.context() as patch:
        # What the clocks of a machine that ran for 31 years had shown, before.
        patch.setattr("opend_si.system.clocks.monotonic", lambda: 1e9)
        patch.setattr("opend_si.system.clocks.wall", lambda: time.time() - 60)
        assert [isinstance(budget.reserve("a", rate, timeout=12.0), Slot) for _ in range(3)] == [True, True, False]
    assert isinstance(budget.reserve("a", rate, timeout=12.0), Slot)


WINDOW, LASTS = 30.0, 10.0


@settings(deadline=None, max_examples=150)
@given(
    clocks=st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=3),
    steps=st.lists(
        st.one_of(
            st.tuples(st.just("reserve"), st.integers(0, 2)),
            st.tuples(st.just("settle"), st.integers(0, 2)),
            st.tuples(st.just("pass"), st.floats(0, 25)),
            st.tuples(st.just("set the clock"), st.floats(-1e5, 1e5)),
        ),
        max_size=40,
    ),
)
def test_processes_with_clocks_of_their_own_keep_one_limit(
    tmp_path_factory: pytest.TempPathFactory, clocks: list[float], steps: list[tuple[str, Any]]
) -> None:
    """Containers, virtual machines, two Pythons: monotonic clocks that differ by a constant. Or one, and a wall clock
    that is set: where it is set while others have another clock, nothing tells how long a slot of theirs has lasted.
    """
    budget, rate = Budget(tmp_path_factory.mktemp("budget") / "budget.slots"), Rate(3, WINDOW)
    at, wall, whose = 1e6, 1e9, clocks[0]
    out: list[Slot] = []
    taken: dict[bytes, float] = {}  # until when, by the clock of the test
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("opend_si.system.clocks.monotonic", lambda: at + whose)
        patch.setattr("opend_si.system.clocks.wall", lambda: at + wall)
        for step, value in steps:
            if step == "pass":
                at += value
            elif step == "set the clock":
                wall += value if len(clocks) == 1 else 0
            elif step == "settle":
                whose = clocks[value % len(clocks)]
                if out:
                    slot = out.pop(0)
                    budget.settle(slot)
                    taken[slot.holder] = at + WINDOW
            else:
                whose = clocks[value % len(clocks)]
                found = budget.reserve("a", rate, timeout=LASTS)
                if isinstance(found, Slot):
                    assert sum(until > at for until in taken.values()) < rate.requests
                    out.append(found)
                    taken[found.holder] = at + WINDOW + LASTS
        for whose in clocks:  # noqa: B007
            # Nothing is taken for ever, whatever the clocks showed. Where a clock comes to where another was when
            # it took a slot, the slot looks as if it had been taken just now: once.
            free = []
            for _ in range(5):
                at += 2 * (WINDOW + LASTS)
                free.append(budget.allowance("a", rate).requests > 0)
            assert any(free)


RESERVES = """
import sys
from pathlib import Path
from opend_si.cache.budget import Budget, Slot
from opend_si_schema.definitions import Rate
budget = Budget(Path(sys.argv[1]))
print(sum(isinstance(budget.reserve("a", Rate(5, 60.0), timeout=10.0), Slot) for _ in range(5)))
"""


def test_a_container_with_a_clock_of_its_own_takes_no_more(tmp_path: Path) -> None:
    def reserve(*before: str) -> int:
        command = [*before, sys.executable, "-c", RESERVES, str(tmp_path / "budget.slots")]
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
        if before and done.returncode:
            pytest.skip(f"no time namespaces here: {done.stderr.strip()[-200:]}")
        return int(done.stdout)

    other = ("unshare", "--time", "--fork", "--monotonic")
    if shutil.which("unshare") is None:
        pytest.skip("no time namespaces here: unshare is missing")
    assert [reserve(), reserve(*other, "100000"), reserve(*other, "-10"), reserve()] == [5, 0, 0, 0]


def test_a_program_that_freezes_pythons_time_empties_nobodys_budget(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    budget, rate = Budget(tmp_path / "budget.slots"), Rate(2, 30.0)
    for frozen in (None, 0.0, 1.6e9, 4e9):
        if frozen is not None:
            monkeypatch.setattr(time, "monotonic", lambda frozen=frozen: frozen)
            monkeypatch.setattr(time, "time", lambda frozen=frozen: frozen)
        found = [budget.reserve("a", rate, timeout=12.0) for _ in range(2)]
        assert [isinstance(one, Slot) for one in found] == [frozen is None] * 2


@pytest.mark.parametrize("how", ["deleted", "replaced"])
def test_a_budget_file_that_is_taken_away_while_in_use_begins_no_new_allowance(tmp_path: Path, how: str) -> None:
    path, rate = tmp_path / "budget.slots", Rate(3, 0.4)
    first, second = Budget(path), Budget(path)
    for budget in (first, second, first):
        assert isinstance(budget.reserve("a", rate, timeout=0.1), Slot)
    path.unlink()
    if how == "replaced":
        Budget(tmp_path / "other.sqlite3").reserve("b", rate, timeout=0.1)
        (tmp_path / "other.sqlite3").rename(path)
    for budget, bucket in ((first, "a"), (second, "a"), (Budget(path), "another's")):
        assert not isinstance(budget.reserve(bucket, rate, timeout=0.1), Slot)
        assert budget.allowance(bucket, rate).requests == 0
    while not isinstance(wait := second.reserve("a", rate, timeout=0.1), Slot):
        assert 0 <= wait <= 0.5


@pytest.mark.parametrize("content", [b"", bytes(2048)])
def test_a_budget_file_that_was_emptied_begins_no_new_allowance_for_who_never_used_it(
    tmp_path: Path, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, rate = tmp_path / "budget.slots", Rate(3, 0.4)
    for _ in range(3):
        assert isinstance(Budget(path).reserve("a", rate, timeout=0.1), Slot)
    path.write_bytes(content)
    monkeypatch.setattr("opend_si.cache.budget._NAMES", {})  # as in another process
    assert not isinstance(Budget(path).reserve("a", rate, timeout=0.1), Slot)
    while not isinstance(wait := Budget(path).reserve("a", rate, timeout=0.1), Slot):
        assert 0 <= wait <= 0.5


def test_who_has_less_time_does_not_shorten_a_window_that_counts_as_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, rate, waits = tmp_path / "budget.slots", Rate(3, 30.0), []
    for timeout in (60.0, 0.1):
        monkeypatch.setattr("opend_si.cache.budget._NAMES", {path: b"another file"})
        waits.append(Budget(path).reserve("a", rate, timeout))
    assert all(isinstance(wait, float) and wait > 80 for wait in waits)


def test_a_budget_file_that_a_power_cut_damaged_is_begun_anew_with_a_window_used(tmp_path: Path) -> None:
    path, rate = tmp_path / "budget.slots", Rate(3, 0.3)
    path.write_bytes(b"no database" * 100)
    budget = Budget(path)
    with pytest.raises(futu_si.CacheCorrupt):  # somebody may have slots in it
        budget.reserve("a", rate, timeout=0.1)
    os.utime(path, (1, 1))  # of before the machine was started
    assert not isinstance(budget.reserve("a", rate, timeout=0.1), Slot)
    assert [file.name for file in tmp_path.iterdir()] == ["budget.slots"]
    while not isinstance(wait := budget.reserve("a", rate, timeout=0.1), Slot):
        assert 0 <= wait <= 0.4


def test_a_request_that_was_never_sent_costs_nothing(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPEND_SI_RATE", "2/3600")
    opend = start()
    with futu_si.Client("127.0.0.1", 1) as client:
        for _ in range(5):
            with pytest.raises(futu_si.ConnectionFailed):
                client.get_page("HK.00700")
    with futu_si.Client(opend.host, opend.port) as client:
        client.get_page("HK.00700")
        client.get_page("HK.00700")
        waits: list[float] = []
    with (
        pytest.raises(InterruptedError),
        futu_si.Client(opend.host, opend.port, on_wait=lambda left: waits.append(left) or interrupt()) as client,  # type: ignore[func-returns-value]
    ):
        client.get_page("HK.00700")
    assert len(opend.requests) == 2
    assert 0 < waits[0] <= 3600


def interrupt() -> None:
    raise InterruptedError


def test_recorded_pages_cost_no_slot(start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPEND_SI_RATE", "1/3600")
    opend = start()
    with futu_si.Client(opend.host, opend.port, mode="online", cache=tmp_path / "pages.sqlite3") as client:
        for _ in range(5):
            client.get_page("HK.00700")
    assert len(opend.requests) == 1


def test_clearing_the_cache_does_not_reset_the_budget(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPEND_SI_RATE", "1/3600")
    opend = start()
    cache = tmp_path / "pages.sqlite3"
    with futu_si.Client(opend.host, opend.port, mode="online", cache=cache) as client:
        client.get_page("HK.00700")
    cache.unlink()
    with (
        pytest.raises(InterruptedError),
        futu_si.Client(
            opend.host, opend.port, mode="online", cache=tmp_path / "other.sqlite3", on_wait=lambda _: interrupt()
        ) as client,
    ):
        client.get_page("HK.00700")


def test_the_limit_met_all_the_same_costs_one_window_and_one_more_try(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPEND_SI_RATE", "5/0.3")
    opend = start()
    waits: list[float] = []
    refused = faults.refuse("获取空头持仓频率太高，请求失败，每30秒最多30次。")
    with futu_si.Client(opend.host, opend.port, on_wait=waits.append) as client:
        opend.faults.append(refused)
        assert len(client.get_page("HK.00700")) == 10
        assert 0.0 < waits[0] <= 0.3
        assert len(opend.requests) == 2
        opend.faults += [refused, refused]
        with pytest.raises(futu_si.RateLimited):
            client.get_page("HK.00700")
    assert len(opend.requests) == 4


def test_without_a_usable_budget_nothing_is_sent(start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opend = start()
    home = tmp_path / "home"
    home.mkdir()
    (home / "budget.slots").write_bytes(b"this is no database " * 100)
    monkeypatch.setenv("OPEND_SI_HOME", str(home))
    monkeypatch.setenv("OPEND_SI_RATE", "30/30")
    with futu_si.Client(opend.host, opend.port) as client, pytest.raises(futu_si.CacheCorrupt, match="rate budget"):
        client.get_page("HK.00700")
    monkeypatch.setenv("OPEND_SI_HOME", str(home / "budget.slots" / "below a file"))
    with futu_si.Client(opend.host, opend.port) as client, pytest.raises(futu_si.CacheError, match="rate budget"):
        client.get_page("HK.00700")
    assert opend.requests == []


@pytest.mark.needs("signals")
def test_an_interrupt_ends_the_wait_at_once(start: Start, tmp_path: Path) -> None:
    opend = start()
    script = (
        "import futu_si, sys\n"
        "client = futu_si.Client(sys.argv[1], int(sys.argv[2]), on_wait=lambda left: print(left, flush=True))\n"
        "client.get_page('HK.00700'); client.get_page('HK.00700')"
    )
    environ = {"OPEND_SI_RATE": "1/3600", "OPEND_SI_MODE": "bypass", "OPEND_SI_HOME": str(tmp_path), "PATH": ""}
    with subprocess.Popen(
        [sys.executable, "-c", script, opend.host, str(opend.port)],
        cwd=ROOT,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as waiting:
        assert waiting.stdout is not None
        assert 0 < float(waiting.stdout.readline()) <= 3600
        waiting.send_signal(signal.SIGINT)
        _, told = waiting.communicate(timeout=30)
    assert b"KeyboardInterrupt" in told
    assert len(opend.requests) == 1
