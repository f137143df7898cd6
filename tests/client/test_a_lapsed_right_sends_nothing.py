"""What the fetcher does where its right to fetch lapses: driven by hand, on real files."""

import time
from pathlib import Path
from typing import Any

import pytest

from opend_si.cache.budget import Budget
from opend_si.cache.guard import GuardedStore
from opend_si.cache.store import Store, Version
from opend_si.client.fetcher import Fetcher
from opend_si.client.steps import Account, Sleep
from opend_si.dates import now
from opend_si.history.record import Record
from opend_si.pages import Content, PageKey
from opend_si.settings import Mode, Settings
from opend_si.simulator import Simulator
from opend_si_schema.calls import SHORT_INTEREST
from opend_si_schema.definitions import Rate

TIMEOUT = 0.2


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    environ = {"OPEND_SI_HOME": str(tmp_path), "OPEND_SI_RATE": "1/30"}
    return Settings.resolve(mode="online", timeout=TIMEOUT, environ=environ)


@pytest.mark.parametrize("when", ["while it waits for the budget", "right before it sends"])
def test_who_lost_the_right_to_fetch_waits_for_the_one_who_has_it(settings: Settings, when: str) -> None:
    key, asked_at = PageKey.check(SHORT_INTEREST, "HK.00700", None, 50), now()
    body = bytes(Simulator().answer(SHORT_INTEREST.proto_id, key.request()).SerializeToString())
    store, budget = Store(settings.cache), Budget(settings.budget)
    fetcher, shelf = Fetcher(settings), Record(GuardedStore(Store(settings.cache), Mode.ONLINE))
    rate = settings.rate
    assert isinstance(rate, Rate)
    try:
        assert store.claim(key, "another", 3600) is True  # the store is there, and so is the other
        store.release(key, "another")
        if when == "while it waits for the budget":
            budget.exhaust(f"7/{SHORT_INTEREST.proto_id}", rate)
        steps = fetcher.once(key, shelf, asked_at, asked_at + 1, 0)
        assert next(steps) == Account()
        time.sleep(TIMEOUT)  # its right lapses meanwhile, and another takes it
        assert store.claim(key, "another", 3600) is True
        step: Any = steps.send(7)
        while isinstance(step, Sleep) and step.budget is not None:
            step = steps.send(None)
        assert isinstance(step, Sleep), "it does not send"
        assert step.budget is None
        if when == "right before it sends":
            assert budget.allowance(f"7/{SHORT_INTEREST.proto_id}", rate).requests == 1, "its slot is free again"
        store.record(Version.reply(key, body, asked_at, asked_at + 2, 0), thorough=False)
        while now() < asked_at + 2:
            time.sleep(0.001)
        with pytest.raises(StopIteration) as done:
            steps.send(None)
        answer = done.value.value
        assert (answer.source, answer.version.body) == ("cache", body)
    finally:
        for opened in (store, budget, fetcher, shelf.store):
            opened.close()


def test_a_reply_is_dated_after_its_question_also_within_one_tick(settings: Settings) -> None:
    key, asked_at = PageKey.check(SHORT_INTEREST, "HK.00700", None, 50), now() + 1000
    body = bytes(Simulator().answer(SHORT_INTEREST.proto_id, key.request()).SerializeToString())
    shelf = Record(GuardedStore(Store(settings.cache), Mode.ONLINE))
    try:
        answer = shelf.record(key, body, Content.read(key, body), asked_at, 0)
        assert answer.version.checked_at == asked_at + 1
    finally:
        shelf.store.close()


def test_an_interrupt_while_a_page_is_claimed_gives_it_back(settings: Settings) -> None:
    class Interrupted(GuardedStore):
        def claim(self, key: PageKey, owner: str, seconds: float) -> bool:
            assert super().claim(key, owner, seconds)
            raise KeyboardInterrupt

    key, asked_at, store = PageKey.check(SHORT_INTEREST, "HK.00700", None, 50), now(), Store(settings.cache)
    fetcher, shelf = Fetcher(settings), Record(Interrupted(Store(settings.cache), Mode.ONLINE))
    try:
        with pytest.raises(KeyboardInterrupt):
            next(fetcher.once(key, shelf, asked_at, asked_at + 1, 0))
        assert store.claim(key, "another", 1)
    finally:
        fetcher.close()
        shelf.store.close()
        store.close()
