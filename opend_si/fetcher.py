"""How a page is fetched: once a machine, and within the rate budget."""

from __future__ import annotations

import os
import time
from contextlib import suppress

from opend_si.cache.budget import Budget, Slot
from opend_si.cache.guard import GuardedStore
from opend_si.cache.policy import Mode
from opend_si.clock import now
from opend_si.errors import CacheError, ConnectionFailed, RateLimited
from opend_si.pages import Content, Page, PageKey
from opend_si.settings import Settings
from opend_si.shelf import Shelf
from opend_si.steps import Account, Exchange, Sleep, Steps
from opend_si.wire.link import LinkCut

# Seconds between two looks at the budget: another process may give a slot back early.
_BUDGET_LOOK = 0.25
# Seconds between two looks for the page that another thread or process is fetching; it doubles up to the last.
_FIRST_LOOK, _LAST_LOOK = 0.005, 0.08


class Fetcher:
    """Asks OpenD."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        # Offline nothing is sent, so the budget is not even opened.
        counts = settings.rate is not None and settings.mode is not Mode.OFFLINE
        self._budget = Budget(settings.budget) if counts else None

    def close(self) -> None:
        """Close the budget's file."""
        if self._budget is not None:
            self._budget.close()

    def unrecorded(self, key: PageKey) -> Steps[Page]:
        body, content = yield from self._fetch(key, None)
        at = now()
        return Page.of(key, content, body, "opend", at, at)

    def once(self, key: PageKey, shelf: Shelf, asked_at: int, behind: int) -> Steps[Page]:
        """Fetch and record a page, unless another thread or process does: then wait for theirs."""

        def theirs() -> Page | None:
            recorded = shelf.store.recall(key)
            if recorded is None or not asked_at < recorded.checked_at <= now():
                return None
            return shelf.page(key, recorded)

        claim = _Claim(shelf.store, key, self._settings.timeout)
        pause = _FIRST_LOOK
        while not claim.take():
            yield Sleep(pause)
            pause = min(2 * pause, _LAST_LOOK)
            if (page := theirs()) is not None:
                return page
        try:
            if (page := theirs()) is not None:  # it came between the first look and the claim
                return page
            body, content = yield from self._fetch(key, claim)
            return shelf.record(key, body, content, behind)
        finally:
            claim.give_back()

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
        with suppress(CacheError):  # the reply is here and paid for; the slot frees itself
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
        self._owner = f"{os.getpid()}-{os.urandom(8).hex()}"
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
