"""What the fetcher does where its right to fetch lapses: driven by hand, on real files."""

import time
from asyncio import CancelledError
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from opend_si.cache.budget import Budget
from opend_si.cache.claims import Claims
from opend_si.client.claims import Claim, once
from opend_si.client.fetcher import Fetcher
from opend_si.client.steps import Account, Exchange, Sleep, Steps
from opend_si.errors import RequestTimeout
from opend_si.history.record import Asked
from opend_si.pages import Identity, PageKey
from opend_si.settings import NOT_GIVEN, Settings
from opend_si.system.leases import NAME_BYTES
from opend_si.wire.errors import LinkCut
from opend_si_schema.calls import SHORT_INTEREST
from opend_si_schema.definitions import Rate

TIMEOUT = 0.2
ANOTHER = bytes(NAME_BYTES)


def just_now() -> Asked:
    return Asked(0, 0, time.monotonic_ns())


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    environ = {"OPEND_SI_HOME": str(tmp_path), "OPEND_SI_RATE": "1/30"}
    return Settings.resolve(mode="online", timeout=TIMEOUT, environ=environ)


@pytest.mark.parametrize("when", ["while it waits for the budget", "right before it sends"])
def test_who_lost_the_right_to_fetch_waits_for_the_one_who_has_it(settings: Settings, when: str) -> None:
    key, theirs = PageKey.check(SHORT_INTEREST, "HK.00700", None, 50), list[str]()
    claims, budget = Claims(settings.cache), Budget(settings.budget)
    fetcher = Fetcher(settings, budget)
    bucket, rate = f"7/{SHORT_INTEREST.proto_id}", settings.rate
    assert isinstance(rate, Rate)
    if when == "while it waits for the budget":
        budget.exhaust(bucket, rate)
    steps = fetched_once(claims, fetcher, key, theirs)
    assert next(steps) == Account()
    time.sleep(3 * TIMEOUT)  # its right lapses meanwhile, and another takes it
    assert claims.take(key.identity, ANOTHER, 3600) is True
    step: Any = steps.send(7)
    while isinstance(step, Sleep) and step.budget is not None:
        step = steps.send(None)
    assert isinstance(step, Sleep), "it does not send"
    assert step.budget is None
    if when == "right before it sends":
        assert budget.allowance(bucket, rate).requests == 1, "its slot is free again"
    theirs.append("another's")
    with pytest.raises(StopIteration) as done:
        steps.send(None)
    assert done.value.value == "another's"


def fetched_once(claims: Claims, fetcher: Fetcher, key: PageKey, theirs: list[str]) -> Steps[Any]:
    def fetch(claim: Claim) -> Steps[Any]:
        return fetcher.fetch(key, claim, just_now)

    return once(claims, key, TIMEOUT, lambda: theirs[0] if theirs else None, fetch)


def wait_through(steps: Steps[Any], answer: object) -> object:
    """The first step after an answer that is no wait."""
    step = steps.send(answer)
    while isinstance(step, Sleep):
        step = steps.send(None)
    return step


@pytest.mark.parametrize("stop", ["before it sends", "while it renews its right"])
def test_from_the_slot_to_the_sending_one_deadline_counts(settings: Settings, stop: str) -> None:
    """Wherever a process is stopped in between, for longer than its slot lasts.

    The step to send says that it is too late.
    """
    settings = settings.with_options(None, 2.0, NOT_GIVEN)
    key, claims, budget = (
        PageKey.check(SHORT_INTEREST, "HK.00700", None, 50),
        Claims(settings.cache),
        Budget(settings.budget),
    )
    fetcher = Fetcher(settings, budget)

    class Stopped(Claims):
        def take(self, identity: Identity, owner: bytes, seconds: float, *, anew: bool = True) -> bool:
            time.sleep(0 if anew else 1.1)
            return super().take(identity, owner, seconds, anew=anew)

    stopped = Stopped(settings.cache) if stop != "before it sends" else claims
    steps = once(stopped, key, settings.timeout, lambda: None, lambda claim: fetcher.fetch(key, claim, just_now))
    assert next(steps) == Account()
    time.sleep(0.6)  # the right has to be renewed
    before = time.monotonic()
    step: Any = steps.send(7)
    assert isinstance(step, Exchange)
    assert before <= step.begin_by <= before + 1.1
    if stop != "before it sends":
        assert time.monotonic() > step.begin_by
    steps.close()


def test_an_interrupt_while_a_page_is_claimed_gives_it_back(settings: Settings) -> None:
    class Interrupted(Claims):
        def take(self, identity: Identity, owner: bytes, seconds: float, *, anew: bool = True) -> bool:
            assert super().take(identity, owner, seconds, anew=anew)
            raise KeyboardInterrupt

    key, claims, others = (
        PageKey.check(SHORT_INTEREST, "HK.00700", None, 50),
        Interrupted(settings.cache),
        Claims(settings.cache),
    )
    budget = Budget(settings.budget)
    fetcher = Fetcher(settings, budget)
    with pytest.raises(KeyboardInterrupt):
        next(fetched_once(claims, fetcher, key, []))
    assert others.take(key.identity, ANOTHER, 1)


@pytest.mark.parametrize("when", ["while it waits for the budget", "right before it sends"])
def test_who_was_stopped_for_so_long_that_the_page_came_meanwhile_sends_nothing(settings: Settings, when: str) -> None:
    """Another took the right when it lapsed, fetched the page, and gave the right back: nobody has it now."""
    key, theirs = PageKey.check(SHORT_INTEREST, "HK.00700", None, 50), list[str]()
    claims, budget = Claims(settings.cache), Budget(settings.budget)
    bucket, rate = f"7/{SHORT_INTEREST.proto_id}", settings.rate
    assert isinstance(rate, Rate)
    if when == "while it waits for the budget":
        budget.exhaust(bucket, rate)
    steps = fetched_once(claims, Fetcher(settings, budget), key, theirs)
    assert next(steps) == Account()
    time.sleep(3 * TIMEOUT)
    assert claims.take(key.identity, ANOTHER, 3600)
    theirs.append("another's")
    claims.release(key.identity, ANOTHER)
    with pytest.raises(StopIteration) as done:
        wait_through(steps, 7)
    assert done.value.value == "another's"


@pytest.mark.parametrize("what", ["a place", "all of it", "it is no file"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, CancelledError])
def test_an_interrupt_is_one_also_where_the_budget_cannot_be_used_any_more(
    settings: Settings, what: str, error: type[BaseException]
) -> None:
    key, budget = PageKey.check(SHORT_INTEREST, "HK.00700", None, 50), Budget(settings.budget)
    steps = Fetcher(settings, budget).fetch(key, None, just_now)
    assert next(steps) == Account()
    assert isinstance(steps.send(7), Exchange)
    content = settings.budget.read_bytes()
    settings.budget.unlink()
    if what == "it is no file":
        settings.budget.mkdir()
    else:
        settings.budget.write_bytes(content[:70] + b"?" + content[71:] if what == "a place" else b"damaged")
    with pytest.raises(error):
        steps.throw(error())


def test_a_slot_outlasts_whatever_is_sent_in_it(settings: Settings) -> None:
    key, budget = PageKey.check(SHORT_INTEREST, "HK.00700", None, 50), Budget(settings.budget)
    steps = Fetcher(settings, budget).fetch(key, None, just_now)
    assert next(steps) == Account()
    step = steps.send(7)
    assert isinstance(step, Exchange)
    [lease] = budget._leases.use(lambda board: list(board.taken.values()))
    assert isinstance(settings.rate, Rate)
    assert lease.until >= step.begin_by + step.seconds + settings.rate.seconds


@pytest.mark.parametrize("error", [KeyboardInterrupt(), CancelledError(), RequestTimeout("silent"), LinkCut("cut")])
def test_a_request_that_was_given_up_may_still_arrive(settings: Settings, error: BaseException) -> None:
    """It was sent a moment ago: its slot counts from when it must have arrived, and not from now."""
    key, budget = PageKey.check(SHORT_INTEREST, "HK.00700", None, 50), Budget(settings.budget)
    steps = Fetcher(settings, budget).fetch(key, None, just_now)
    assert next(steps) == Account()
    assert isinstance(steps.send(7), Exchange)
    with suppress(type(error)):
        steps.throw(error)  # one that was cut off is repeated
    steps.close()
    [lease] = budget._leases.use(lambda board: list(board.taken.values()))
    assert isinstance(settings.rate, Rate)
    assert lease.until >= lease.since + 1.0 + settings.rate.seconds
    assert lease.until < lease.since + 1.0 + 2 * settings.rate.seconds


def test_who_was_taken_for_dead_and_lives_sends_nothing(settings: Settings) -> None:
    """It was stopped for longer than one with less time waits for it; its right would have lasted far longer."""
    key, theirs = PageKey.check(SHORT_INTEREST, "HK.00700", None, 50), list[str]()
    claims, budget = Claims(settings.cache), Budget(settings.budget)
    slow = Fetcher(settings.with_options(None, 3600.0, NOT_GIVEN), budget)
    steps = once(
        claims,
        key,
        3600.0,
        lambda: theirs[0] if theirs else None,
        lambda claim: slow.fetch(key, claim, just_now),
    )
    assert next(steps) == Account()
    hasty = fetched_once(claims, Fetcher(settings, budget), key, [])
    begun = time.monotonic()
    step: Any = next(hasty)
    while isinstance(step, Sleep):
        time.sleep(step.seconds)
        assert time.monotonic() - begun < 10, "it waits for the dead"
        step = next(hasty)
    assert time.monotonic() - begun > TIMEOUT
    assert step == Account()  # it has the right now, and fetches
    step = steps.send(7)
    assert isinstance(step, Sleep)
    assert step.budget is None
    theirs.append("another's")
    with pytest.raises(StopIteration) as done:
        steps.send(None)
    assert done.value.value == "another's"
    hasty.close()
