"""How a page is fetched: once a machine, and within the rate budget."""

from __future__ import annotations

import os
import time
from contextlib import suppress

from opend_si.cache.budget import Allowance, Budget, Slot
from opend_si.cache.guard import GuardedStore
from opend_si.cache.store import Version
from opend_si.client.steps import Account, Exchange, Sleep, Steps
from opend_si.dates import now
from opend_si.errors import CacheError, ConnectionFailed, RateLimited
from opend_si.history.record import Record, Reply
from opend_si.pages import Content, PageKey
from opend_si.settings import Mode, Settings
from opend_si.wire.errors import LinkCut, NotSent, TooLate
from opend_si_schema.definitions import Call, Rate

# Seconds between two looks at the budget: another process may give a slot back early.
_BUDGET_LOOK = 0.25
# Seconds after which a request is not begun any more: its slot and its right to fetch are counted from before.
_SLACK = 1.0
# Seconds between two looks for the page that another thread or process is fetching; it doubles up to the last.
_FIRST_LOOK, _LAST_LOOK = 0.005, 0.08


class Fetcher:
    """Asks OpenD."""

    def __init__(self, settings: Settings) -> None:
        self._timeout = settings.timeout
        # Offline nothing is sent, so the budget is not even opened.
        counts = settings.rate is not None and settings.mode is not Mode.OFFLINE
        self._budget = _Metered(settings) if counts else _Unmetered()

    def close(self) -> None:
        """Close the budget's file."""
        self._budget.close()

    def allowance(self, call: Call) -> Steps[Allowance | None]:
        """Connects, and says how many requests the budget has left; None: there is no limit."""
        return self._budget.allowance(call)

    def unrecorded(self, key: PageKey, asked_at: int) -> Steps[Reply]:
        """Fetch a page, and keep nothing."""
        body, content = yield from self._fetch(key, None)
        return Reply(key, content, Version.reply(key, body, asked_at, max(now(), asked_at + 1), 0), "opend")

    def once(self, key: PageKey, record: Record, asked_at: int, since: float, after: int) -> Steps[Reply]:
        """Fetch and record a page, unless another thread or process does: then wait for theirs.

        Theirs will do if it was checked at or after `since`. `after`: the timestamp of the row before the page.
        """

        def theirs() -> Reply | None:
            reply = record.recall(key)
            if reply is None or not since <= reply.version.checked_at <= now() + 1:
                return None
            return reply

        claim = _Claim(record.store, key, self._timeout)
        pause = _FIRST_LOOK
        while True:
            try:
                while not claim.take():
                    yield Sleep(pause)
                    pause = min(2 * pause, _LAST_LOOK)
                    if (reply := theirs()) is not None:
                        return reply
                if (reply := theirs()) is not None:  # it came between the first look and the claim
                    return reply
                body, content = yield from self._fetch(key, claim)
                return record.record(key, body, content, asked_at, after)
            except _ClaimLost:
                continue  # it lapsed while we waited, and another took it
            finally:
                claim.give_back()

    def _fetch(self, key: PageKey, claim: _Claim | None) -> Steps[tuple[bytes, Content]]:
        """Ask OpenD. A request that was cut off is repeated once; so is one that met the limit, a window later."""
        request = _Request(key, claim, self._timeout)
        cut = limited = False
        while True:
            try:
                body = yield from self._budget.spend(request)
                return body, Content.read(key, body)
            except TooLate:
                continue  # nothing was sent; what gave the right to it may have lapsed, and is taken anew
            except LinkCut:
                if cut:
                    raise
                cut = True
            except RateLimited:
                if limited or not (yield from self._budget.exhaust(key)):
                    raise
                limited = True
                request = _Request(key, claim, self._timeout)


class _Request:
    """One request. Sent again, it has what is left of its time: the caller waits for an reply, not for an attempt."""

    def __init__(self, key: PageKey, claim: _Claim | None, seconds: float) -> None:
        self.key, self.claim = key, claim
        self._left = seconds

    def send(self) -> Steps[bytes]:
        if self.claim is not None:
            self.claim.hold()  # renewed: it now outlasts the request
        begun = time.monotonic()
        try:
            seconds = max(self._left, 0.0)
            body: bytes = yield Exchange(self.key, seconds, begun + min(seconds, _SLACK))
        except TooLate:
            begun = time.monotonic()  # that was not OpenD's time
            raise
        finally:
            self._left -= time.monotonic() - begun
        return body


class _Unmetered:
    """For a server without a limit."""

    def close(self) -> None:
        pass

    def spend(self, request: _Request) -> Steps[bytes]:
        """Send a request; gives the body of its reply."""
        return request.send()

    def allowance(self, call: Call) -> Steps[Allowance | None]:
        """What may be sent now."""
        del call
        yield Account()
        return None

    def exhaust(self, key: PageKey) -> Steps[bool]:
        """OpenD says that its limit for a call is used up: whether the request can be repeated a window later."""
        del key
        yield from ()
        return False


class _Metered(_Unmetered):
    """Each request in a slot of the machine's budget."""

    def __init__(self, settings: Settings) -> None:
        self._budget, self._settings = Budget(settings.budget), settings

    def _rate(self, call: Call) -> Rate:
        rate = self._settings.rate
        return rate if isinstance(rate, Rate) else call.rate

    def close(self) -> None:
        self._budget.close()

    def spend(self, request: _Request) -> Steps[bytes]:
        bucket = yield from self._bucket(request.key.call)
        if bucket is None:
            return (yield from super().spend(request))
        rate = self._rate(request.key.call)
        slot = yield from self._reserve(bucket, request, rate)
        try:
            body = yield from request.send()
        except BaseException as error:
            is_unsent = isinstance(error, (_ClaimLost, TooLate, NotSent))
            if is_unsent or (isinstance(error, ConnectionFailed) and not isinstance(error, LinkCut)):
                self._budget.cancel(slot)  # nothing was sent
            else:
                self._budget.settle(slot, rate)
            raise
        with suppress(CacheError):  # the reply is here and paid for; the slot frees itself
            self._budget.settle(slot, rate)
        return body

    def allowance(self, call: Call) -> Steps[Allowance | None]:
        bucket = yield from self._bucket(call)
        return None if bucket is None else self._budget.allowance(bucket, self._rate(call))

    def exhaust(self, key: PageKey) -> Steps[bool]:
        bucket = yield from self._bucket(key.call)
        if bucket is None:
            return False
        self._budget.exhaust(bucket, self._rate(key.call))
        return True

    def _reserve(self, bucket: str, request: _Request, rate: Rate) -> Steps[Slot]:
        while True:
            slot = self._budget.reserve(bucket, rate, self._settings.timeout)
            if isinstance(slot, Slot):
                return slot
            if request.claim is not None:
                request.claim.renew()
            yield Sleep(min(max(slot, 0.001), _BUDGET_LOOK), budget=slot)

    def _bucket(self, call: Call) -> Steps[str | None]:
        """OpenD counts each account and protocol by itself; None: a gateway answers, and counts what it sends."""
        account = yield Account()
        return None if account is None else f"{account}/{call.proto_id}"


class _ClaimLost(Exception):
    """Another has the right to fetch the page now."""


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

    def hold(self) -> None:
        """Renew it for its full time."""
        if not self.take():
            raise _ClaimLost

    def renew(self) -> None:
        """Renew it if half of its time has passed."""
        if time.monotonic() - self._taken_at > self._seconds / 2:
            self.hold()

    def give_back(self) -> None:
        self._store.release(self._key, self._owner)
