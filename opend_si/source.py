"""How one page is got: from the record, or from OpenD, once a machine and within the rate budget.

Written as a generator of steps, so that it exists once for the blocking and the asyncio client: it yields what has to be
waited for (`Account`, `Exchange`, `Sleep`) and is sent the result, or thrown the error. What it does itself is short:
looking into the record and the budget.
"""

from __future__ import annotations

import os
import time
import uuid
import warnings
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

from opend_si.cache.budget import Budget, Slot
from opend_si.cache.guard import GuardedStore
from opend_si.cache.memory import Memory
from opend_si.cache.policy import Decision, Mode, decide
from opend_si.cache.store import Recorded, Store
from opend_si.errors import ConnectionFailed, RateLimited, RequestTimeout, ShortInterestWarning
from opend_si.pages import Content, Page, PageKey
from opend_si.settings import Settings
from opend_si.wire.link import LinkCut

_T = TypeVar("_T")

# Seconds between two looks at the budget: another process may give a slot back early.
_BUDGET_LOOK = 0.25
# Seconds between two looks for the page that another thread or process is fetching; it doubles up to the last.
_FIRST_LOOK, _LAST_LOOK = 0.005, 0.08


@dataclass(frozen=True, slots=True)
class Account:
    """Connect if need be; the result is the account that OpenD is logged in with."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """Send the request for a page; the result is the body of the reply."""

    key: PageKey


@dataclass(frozen=True, slots=True)
class Sleep:
    """Wait. `budget` is how long the rate budget will make us wait in all, None for another cause."""

    seconds: float
    budget: float | None = None


Step: TypeAlias = Account | Exchange | Sleep
Steps: TypeAlias = Generator[Step, Any, _T]


class PageSource:
    """Gives pages by the rules of some settings."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._store: GuardedStore | None = None
        if settings.mode is not Mode.BYPASS:
            store = Store(settings.cache, may_write=settings.mode is not Mode.OFFLINE)
            self._store = GuardedStore(store, settings.mode)
        # Offline nothing is sent, so the budget is not even opened.
        counts = settings.rate is not None and settings.mode is not Mode.OFFLINE
        self._budget = Budget(settings.budget) if counts else None
        self._memory = Memory()

    def close(self) -> None:
        """Close the files."""
        if self._store is not None:
            self._store.close()
        if self._budget is not None:
            self._budget.close()

    def page(self, key: PageKey) -> Steps[Page]:
        """One page."""
        if self._store is None:
            body, content = yield from self._fetch(key, None)
            now = _now()
            return Page.of(key, content, body, "opend", now, now)
        asked_at = _now()
        recorded = self._store.recall(key)
        decision = self._decide(recorded, asked_at)
        if decision is Decision.FETCH:
            return (yield from self._fetch_once(key, self._store, asked_at))
        if recorded is None:
            raise self._store.miss(key)
        return self._recalled(key, recorded)

    def _decide(self, recorded: Recorded | None, asked_at: int) -> Decision:
        checked_at = recorded.checked_at if recorded else None
        return decide(self._settings.mode, checked_at, asked_at, _now(), self._settings.max_age)

    def _fetch_once(self, key: PageKey, store: GuardedStore, asked_at: int) -> Steps[Page]:
        """Fetch and record a page, unless another thread or process does: then wait for theirs."""
        claim = _Claim(store, key, self._settings.timeout)
        pause = _FIRST_LOOK
        while not claim.take():
            yield Sleep(pause)
            pause = min(2 * pause, _LAST_LOOK)
            recorded = store.recall(key)
            if recorded is not None and self._decide(recorded, asked_at) is Decision.SERVE:
                return self._recalled(key, recorded)
        try:
            recorded = store.recall(key)  # it may have come between the first look and the claim
            if recorded is not None and self._decide(recorded, asked_at) is Decision.SERVE:
                return self._recalled(key, recorded)
            try:
                body, content = yield from self._fetch(key, claim)
            except (ConnectionFailed, RequestTimeout) as error:
                if recorded is None or self._settings.mode is Mode.REFRESH:
                    raise
                age = _age(_now() - recorded.checked_at)
                warnings.warn(
                    f"{key} is answered from the record of {age} ago, because OpenD could not be asked: {error}",
                    ShortInterestWarning,
                    stacklevel=2,
                )
                return self._recalled(key, recorded)
            now = _now()
            written = store.record(key, body, now)
            if written is not None:
                self._memory.keep(written.checksum, content)
            return Page.of(key, content, body, "opend", written.fetched_at if written else now, now)
        finally:
            claim.give_back()

    def _recalled(self, key: PageKey, recorded: Recorded) -> Page:
        content = self._memory.get(recorded.checksum)
        if content is None:
            content = Content.read(key, recorded.body)
            self._memory.keep(recorded.checksum, content)
        return Page.of(key, content, recorded.body, "cache", recorded.fetched_at, recorded.checked_at)

    def _fetch(self, key: PageKey, claim: _Claim | None) -> Steps[tuple[bytes, Content]]:
        """Ask OpenD. A request that was cut off is repeated once; so is one that met the limit, a window later."""
        cut = limited = False
        while True:
            try:
                body = yield from self._exchange(key, claim)
                return body, Content.read(key, body)
            except LinkCut:
                if cut:
                    raise
                cut = True
            except RateLimited:
                if limited or self._budget is None:
                    raise
                limited = True
                yield from self._exhaust(key)

    def _exchange(self, key: PageKey, claim: _Claim | None) -> Steps[bytes]:
        if self._budget is None:
            return (yield from self._send(key, claim))
        slot = yield from self._reserve(self._budget, key, claim)
        try:
            body = yield from self._send(key, claim)
        except BaseException as error:
            if isinstance(error, ConnectionFailed) and not isinstance(error, LinkCut):
                self._budget.cancel(slot)  # nothing was sent
            else:
                self._settle(slot)
            raise
        self._settle(slot)
        return body

    def _send(self, key: PageKey, claim: _Claim | None) -> Steps[bytes]:
        if claim is not None:
            claim.take()  # renewed: it now outlasts the request
        body: bytes = yield Exchange(key)
        return body

    def _reserve(self, budget: Budget, key: PageKey, claim: _Claim | None) -> Steps[Slot]:
        assert self._settings.rate is not None
        bucket = yield from self._bucket(key)
        while True:
            slot = budget.reserve(bucket, self._settings.rate, self._settings.timeout)
            if isinstance(slot, Slot):
                return slot
            if claim is not None:
                claim.renew()
            yield Sleep(min(max(slot, 0.001), _BUDGET_LOOK), budget=slot)

    def _settle(self, slot: Slot) -> None:
        assert self._budget is not None
        assert self._settings.rate is not None
        self._budget.settle(slot, self._settings.rate)

    def _exhaust(self, key: PageKey) -> Steps[None]:
        assert self._budget is not None
        assert self._settings.rate is not None
        bucket = yield from self._bucket(key)
        self._budget.exhaust(bucket, self._settings.rate)

    def _bucket(self, key: PageKey) -> Steps[str]:
        """OpenD counts each account and protocol by itself."""
        account = yield Account()
        return f"{account}/{key.call.proto_id}"


class _Claim:
    """This thread's right to fetch a page. It lapses by itself after the longest time that a request can last."""

    def __init__(self, store: GuardedStore, key: PageKey, seconds: float) -> None:
        self._store, self._key, self._seconds = store, key, seconds
        self._owner = f"{os.getpid()}-{uuid.uuid4().hex}"
        self._taken_at = 0.0

    def take(self) -> bool:
        """Take or renew it. False: another has it."""
        self._taken_at = time.monotonic()
        return self._store.claim(self._key, self._owner, self._seconds)

    def renew(self) -> None:
        """Renew it if half of its time has passed."""
        if time.monotonic() - self._taken_at > self._seconds / 2:
            self.take()

    def give_back(self) -> None:
        self._store.release(self._key, self._owner)


def _now() -> int:
    return int(time.time() * 1000)


def _age(milliseconds: int) -> str:
    """`45 s`, `12 min`, `3 h 20 min`, `9 days`."""
    minutes, seconds = divmod(milliseconds // 1000, 60)
    hours, minutes = divmod(minutes, 60)
    if hours >= 48:
        return f"{hours // 24} days"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min" if minutes else f"{seconds} s"
