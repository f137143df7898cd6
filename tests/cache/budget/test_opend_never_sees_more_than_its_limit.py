"""OpenD never sees more than its limit, whatever mix of users shares a budget; and nobody waits without need.

The oracle counts arrivals in windows of OpenD's own limit. Users' rates are other forms of it, or stricter.
"""

from itertools import pairwise
from math import ceil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from opend_si.cache.budget import Budget, Slot
from opend_si_schema.definitions import Rate
from tests.stress import limits

# OpenD's limit, and the window that the budget takes it to have at most.
TRUTH, WINDOW = Rate(6, 6.0), 30.0
RATES = [
    *(Rate(6, 6.0), Rate(3, 3.0), Rate(2, 2.0), Rate(1, 1.0), Rate(2, 2.5), Rate(1, 1.3), Rate(5, 6.0), Rate(3, 5.9)),
    *(Rate(6, 60.0), Rate(1, 20.0)),
]
TIMEOUTS = [0.5, 4.0, 40.0]

STEP = st.one_of(
    st.tuples(st.just("reserve"), st.integers(0, 2)),
    st.tuples(st.just("settle"), st.integers(0, 9)),
    st.tuples(st.just("cancel"), st.integers(0, 9)),
    st.tuples(st.just("pass"), st.sampled_from([0.2, 1.0, 1.01, 2.01, 3.0, 3.01, 5.9, 6.01])),
    st.tuples(st.sampled_from(["all", "burst"]), st.integers(0, 2)),
)


def most_within(arrivals: list[float], seconds: float) -> int:
    arrivals = sorted(arrivals)
    return max((sum(0 <= other - first <= seconds for other in arrivals) for first in arrivals), default=0)


class Clock:
    """A budget in a file of its own, and a clock that the test sets."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.at, self.wall, self.budget = 1e5, 1e9, Budget(folder / "budget.slots")
        patch.setattr("opend_si.system.clocks.monotonic", lambda: self.at)
        patch.setattr("opend_si.system.clocks.wall", lambda: self.at + self.wall)


def test_the_rates_of_the_model_are_within_opends_limit() -> None:
    assert all(rate.requests * ceil(TRUTH.seconds / rate.seconds) <= TRUTH.requests for rate in RATES)


@settings(deadline=None, max_examples=400)
@given(
    rates=st.lists(st.sampled_from(RATES), min_size=1, max_size=3),
    steps=st.lists(st.one_of(STEP, st.tuples(st.just("set the clock"), st.floats(-50, 50))), max_size=50),
    late=st.randoms(use_true_random=False),
)
@example([Rate(6, 6.0), Rate(3, 3.0)], [("burst", 0), ("pass", 3.01), ("burst", 1)], None)
@example([Rate(6, 6.0), Rate(3, 3.0)], [("burst", 1), ("pass", 3.01), ("burst", 1), ("burst", 0)], None)
@example([Rate(3, 3.0), Rate(2, 2.0)], [("burst", 0), ("pass", 3.01), ("burst", 1), ("pass", 2.01), ("burst", 1)], None)
def test_users_of_different_rates_keep_one_limit(
    tmp_path_factory: pytest.TempPathFactory, rates: list[Rate], steps: list[tuple[str, Any]], late: Any
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        clock = Clock(tmp_path_factory.mktemp("budget"), patch)
        out, arrivals = list[tuple[Slot, float]](), list[float]()

        def arrive(taken_at: float) -> None:
            """A request arrives between the moments when its slot is taken and when it ends."""
            arrivals.append(late.uniform(taken_at, clock.at) if late and late.random() < 0.5 else taken_at)

        for step, value in steps:
            if step == "pass":
                clock.at += value
            elif step == "set the clock":
                clock.wall += value
            elif step == "cancel" and out:
                clock.budget.cancel(out.pop(value % len(out))[0])
            elif step == "settle" and out:
                slot, taken_at = out.pop(value % len(out))
                clock.budget.settle(slot)
                arrive(taken_at)
            elif step in ("reserve", "all", "burst"):
                rate = rates[value % len(rates)]
                for _ in range(1 if step == "reserve" else rate.requests):
                    found = clock.budget.reserve("a", rate, TIMEOUTS[value % 3], WINDOW)
                    if isinstance(found, Slot) and step == "burst":
                        clock.budget.settle(found)
                        arrive(clock.at)
                    elif isinstance(found, Slot):
                        out.append((found, clock.at))
        for _, taken_at in out:  # killed: it may have arrived at once, or never
            arrivals.append(taken_at)
        assert most_within(arrivals, TRUTH.seconds) <= TRUTH.requests


@settings(deadline=None, max_examples=300)
@given(
    rate=st.sampled_from([*RATES, Rate(30, 30.0), Rate(5, 0.5), Rate(7, 11.0)]),
    timeout=st.sampled_from(TIMEOUTS),
    steps=st.lists(STEP, max_size=50),
)
def test_who_has_the_rate_of_all_others_waits_for_its_own_window_alone(
    tmp_path_factory: pytest.TempPathFactory, rate: Rate, timeout: float, steps: list[tuple[str, Any]]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        clock = Clock(tmp_path_factory.mktemp("budget"), patch)
        out, taken = list[Slot](), dict[bytes, float]()  # until when each counts

        def reserve() -> None:
            free = rate.requests - sum(until >= clock.at for until in taken.values())
            assert clock.budget.allowance("a", rate).requests == free
            slot = clock.budget.reserve("a", rate, timeout, WINDOW)
            assert isinstance(slot, Slot) == (free > 0)
            if isinstance(slot, Slot):
                out.append(slot)
                taken[slot.holder] = clock.at + timeout + rate.seconds
            else:
                soonest = min(until for until in taken.values() if until >= clock.at) - clock.at
                assert slot == pytest.approx(min(soonest, rate.seconds), abs=2e-3)

        for step, value in steps:
            if step == "pass":
                clock.at += value * 1.001
            elif step == "settle" and out:
                slot = out.pop(value % len(out))
                # One that has lapsed is another slot's by now.
                if taken[slot.holder] > clock.at:
                    clock.budget.settle(slot)
                    taken[slot.holder] = clock.at + rate.seconds
            elif step == "cancel" and out:
                slot = out.pop(value % len(out))
                clock.budget.cancel(slot)
                del taken[slot.holder]
            elif step in ("reserve", "all", "burst"):
                for _ in range(1 if step == "reserve" else rate.requests):
                    reserve()


def test_a_refusal_keeps_each_user_back_for_its_own_window(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(tmp_path, monkeypatch)
    hasty, patient = Rate(3, 3.0), Rate(6, 6.0)
    clock.budget.exhaust("a", hasty, WINDOW)
    waits = [clock.budget.reserve("a", rate, 1.0, WINDOW) for rate in (hasty, patient)]
    assert waits == [pytest.approx(3.0), pytest.approx(6.0)]
    assert isinstance(clock.budget.reserve("b", hasty, 1.0, WINDOW), Slot)
    clock.at += 3.01
    assert [clock.budget.allowance("a", rate).requests for rate in (hasty, patient)] == [3, 0]
    clock.at += 3.0
    assert [clock.budget.allowance("a", rate).requests for rate in (hasty, patient)] == [3, 6]


def test_a_window_of_which_nothing_is_known_is_opends_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever noticed that the file is another one: also a user with a shorter window keeps everybody back for it."""
    clock, hasty = Clock(tmp_path, monkeypatch), Rate(3, 3.0)
    monkeypatch.setattr("opend_si.cache.budget._NAMES", {tmp_path / "budget.slots": b"another file"})
    assert clock.budget.reserve("a", hasty, 1.0, WINDOW) == pytest.approx(1.0 + WINDOW)
    clock.at += 1.0 + WINDOW
    assert not isinstance(clock.budget.reserve("a", Rate(6, 6.0), 1.0, WINDOW), Slot)
    clock.at += 0.01
    assert isinstance(clock.budget.reserve("a", Rate(6, 6.0), 1.0, WINDOW), Slot)


def test_waits_that_are_told_suffice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing is in flight, a user whose rate is not that of the others gets a slot when its wait is over."""
    clock, told = Clock(tmp_path, monkeypatch), []
    for number in range(40):
        rate = RATES[number % len(RATES)]
        while not isinstance(slot := clock.budget.reserve("a", rate, 1.0, WINDOW), Slot):
            told.append(clock.at)
            clock.at += slot + 1e-3
        clock.budget.settle(slot)
    assert all(later > before for before, later in pairwise(told))
    assert len(told) <= 40, "one wait a slot"


@pytest.mark.needs("fork", "signals")
def test_whatever_becomes_of_users_a_server_counts_no_more() -> None:
    """`tests.stress.limits` does the same for minutes."""
    tally = limits.run(5.0)
    assert tally.is_good, tally
    assert len(tally.arrivals) > 10
