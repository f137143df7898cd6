"""The way to OpenD: a request in its slot of the rate budget, in time or not at all, and repeated where that is right.

From the moment before a slot is reserved to the last byte sent one deadline counts: a process that was stopped in
between sends nothing late, for its slot may have lapsed meanwhile.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from math import inf
from typing import NamedTuple

from opend_si.cache.budget import Allowance, Budget, Slot
from opend_si.client.claims import Claim, ClaimLost
from opend_si.client.steps import Account, Exchange, Sleep, Steps
from opend_si.errors import CacheError, RateLimited
from opend_si.history.record import Asked
from opend_si.pages import GATEWAY, OPEND, SIMULATOR, Content, PageKey
from opend_si.settings import Mode, Settings, Wait
from opend_si.wire.errors import AnotherAnswers, LinkCut, NotSent, TooLate, was_sent
from opend_si_schema.definitions import Call, Rate

# The account that the simulator is logged in with.
SIMULATED_ACCOUNT = 10_000_000
# Seconds between two looks at the budget: another process may give a slot back early.
_BUDGET_LOOK = 0.25
# Seconds after which a request is not sent any more: its slot is counted from before.
_SLACK = 1.0
# Seconds after which a request has arrived, or never will, when it was given up without a reply.
_UNDER_WAY = 1.0
# How often a request may be too late to be sent before it is given up.
_MOST_LATE = 10


class Came(NamedTuple):
    """A reply: its body, what that contains, who sent it, and when the request was sent that it answers."""

    body: bytes
    content: Content
    origin: str
    sent: Asked


class Fetcher:
    """Asks OpenD."""

    def __init__(self, settings: Settings, budget: Budget) -> None:
        self._timeout = settings.timeout
        # Offline nothing is sent, so the budget is not even opened.
        counts = settings.rate is not None and settings.mode is not Mode.OFFLINE
        self._budget = _Metered(settings, budget) if counts else _Unmetered()

    def allowance(self, call: Call) -> Steps[Allowance | None]:
        """Connects, and says how many requests the budget has left; None: there is no limit."""
        return self._budget.allowance(call)

    def origin(self) -> Steps[str]:
        """Who answers: an OpenD, a simulator, which is known by its account, or a gateway."""
        return origin_of((yield Account()))

    def fetch(self, key: PageKey, claim: Claim | None, asked: Callable[[], Asked]) -> Steps[Came]:
        """Ask OpenD for a page; `asked` is called right before each sending, and says what the record then was.

        A request that was cut off is repeated once; so is one that met the limit, a window later.
        """
        request = _Request(key, claim, self._timeout, asked)
        cut = limited = False
        late = 0
        while True:
            try:
                body, account = yield from self._budget.spend(request)
                return Came(body, Content.read(key, body), origin_of(account), request.sent)
            except TooLate:
                # Nothing was sent; what gave the right to it may have lapsed, or another counts it: it is taken anew.
                late += 1
                if late == _MOST_LATE:
                    raise NotSent(
                        f"{key} could not be asked for within {self._timeout:g} s: this machine or its disk is too slow, another "
                        "server answers each time, or the timeout is too short."
                    ) from None
            except LinkCut:
                if cut:
                    raise
                cut = True
            except RateLimited:
                if limited or not self._budget.exhaust(key, account):
                    raise
                limited = True
                request = _Request(key, claim, self._timeout, asked)


def origin_of(account: int | None) -> str:
    """Who answers with this account; None: a gateway, which names none."""
    if account is None:
        return GATEWAY
    return SIMULATOR if account == SIMULATED_ACCOUNT else OPEND


class _Request:
    """One request. Sent again, it has what is left of its time: the caller waits for a reply, not for an attempt."""

    def __init__(self, key: PageKey, claim: Claim | None, seconds: float, asked: Callable[[], Asked]) -> None:
        self.key, self.claim = key, claim
        self._left, self._asked = seconds, asked
        self.sent = Asked(0, 0, 0)

    def send(self, right_since: float, only: tuple[int | None, ...] | None = None) -> Steps[tuple[bytes, int | None]]:
        """Send it to anybody, or to `only` these accounts; gives the body of its reply, and the account that sent it.

        `right_since` is when the monotonic clock stood before the right to it was taken.
        """
        if self.claim is not None:
            self.claim.hold()  # renewed: it now outlasts the request
        seconds = max(self._left, 0.0)
        self.sent = self._asked()
        begun = time.monotonic()
        try:
            answer: tuple[bytes, int | None]
            answer = yield Exchange(self.key, seconds, right_since + min(seconds, _SLACK), only)
        except TooLate as error:
            if not isinstance(error, AnotherAnswers):
                begun = time.monotonic()  # that was not OpenD's time
            raise
        finally:
            self._left -= time.monotonic() - begun
        return answer


class _Unmetered:
    """For a server without a limit."""

    def spend(self, request: _Request) -> Steps[tuple[bytes, int | None]]:
        """Send a request; gives the body of its reply, and the account that sent it."""
        return request.send(time.monotonic())

    def allowance(self, call: Call) -> Steps[Allowance | None]:
        """What may be sent now."""
        del call
        yield Account()
        return None

    def exhaust(self, key: PageKey, account: int | None) -> bool:
        """OpenD says that its limit for a call is used up: whether the request can be repeated a window later."""
        del key, account
        return False


class _Metered(_Unmetered):
    """Each request in a slot of the rate budget."""

    def __init__(self, settings: Settings, budget: Budget) -> None:
        self._budget, self._settings = budget, settings
        self._refused_until = -inf  # of the monotonic clock: so long a wait is not of our own making

    def _rate(self, call: Call) -> Rate:
        rate = self._settings.rate
        return rate if isinstance(rate, Rate) else call.rate

    def spend(self, request: _Request) -> Steps[tuple[bytes, int | None]]:
        # Who counts it, and in whose slot it stands, is the one account; which of them answers may change meanwhile.
        account = yield Account()
        bucket = _bucket(account, request.key.call)
        if bucket is None:
            return (yield from request.send(time.monotonic(), (account,)))
        slot, reserving_since = yield from self._reserve(bucket, request)
        try:
            answer = yield from request.send(reserving_since, (account,))
        except BaseException as error:
            with suppress(CacheError):  # else it would take the place of an interrupt
                if isinstance(error, ClaimLost) or not was_sent(error):
                    self._budget.cancel(slot)
                else:
                    self._budget.settle(slot, _UNDER_WAY)
            raise
        with suppress(CacheError):  # the reply is here and paid for; the slot frees itself
            self._budget.settle(slot)
        return answer

    def allowance(self, call: Call) -> Steps[Allowance | None]:
        bucket = _bucket((yield Account()), call)
        return None if bucket is None else self._budget.allowance(bucket, self._rate(call))

    def exhaust(self, key: PageKey, account: int | None) -> bool:
        bucket = _bucket(account, key.call)
        if bucket is None:
            return False
        rate = self._rate(key.call)
        self._budget.exhaust(bucket, rate, key.call.rate.seconds)
        self._refused_until = time.monotonic() + rate.seconds
        return True

    def _reserve(self, bucket: str, request: _Request) -> Steps[tuple[Slot, float]]:
        """A slot, and when the monotonic clock stood before it was taken."""
        call = request.key.call
        while True:
            since = time.monotonic()
            slot = self._budget.reserve(bucket, self._rate(call), self._settings.timeout + _SLACK, call.rate.seconds)
            if isinstance(slot, Slot):
                return slot, since
            if request.claim is not None:
                request.claim.hold()
            yield Sleep(min(max(slot, 0.001), _BUDGET_LOOK), budget=Wait(slot, since < self._refused_until))


def _bucket(account: int | None, call: Call) -> str | None:
    """OpenD counts each account and protocol by itself; None: a gateway answers, and counts what it sends."""
    return None if account is None else f"{account}/{call.proto_id}"
