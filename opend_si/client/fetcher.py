"""The way to OpenD: who answers, and a request in its slot of the rate budget, sent in time or not at all.

A request is repeated where that is right. From the moment before a slot is reserved to the last byte sent one deadline
counts: a process that was stopped in between sends nothing late, for its slot may have lapsed meanwhile.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress

from opend_si.cache.budget import Allowance, Budget, Slot
from opend_si.cache.versions import GATEWAY, OPEND, SIMULATOR
from opend_si.client.claims import Claim, ClaimLost
from opend_si.client.steps import Account, Exchange, Sleep, Steps
from opend_si.errors import CacheError, ConnectionFailed, RateLimited, RequestTimeout, warn
from opend_si.history.record import Record
from opend_si.history.symbol import SymbolRecord
from opend_si.pages import Content, PageKey
from opend_si.settings import Mode, Settings
from opend_si.wire.errors import LinkCut, NotSent, TooLate, was_sent
from opend_si_schema.definitions import Call, Rate

# The account that the simulator is logged in with.
SIMULATED_ACCOUNT = 10_000_000
# Seconds between two looks at the budget: another process may give a slot back early.
_BUDGET_LOOK = 0.25
# Seconds after which a request is not sent any more: its slot is counted from before.
_SLACK = 1.0
# How often a request may be too late to be sent before it is given up.
_MOST_LATE = 10


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

    def origin(self) -> Steps[str]:
        """Who answers: an OpenD, a simulator, which is known by its account, or a gateway."""
        account = yield Account()
        if account is None:
            return GATEWAY
        return SIMULATOR if account == SIMULATED_ACCOUNT else OPEND

    def fetch(self, key: PageKey, claim: Claim | None, on_send: Callable[[], object]) -> Steps[tuple[bytes, Content]]:
        """Ask OpenD for a page; `on_send` is called right before each sending.

        A request that was cut off is repeated once; so is one that met the limit, a window later.
        """
        request = _Request(key, claim, self._timeout, on_send)
        cut = limited = False
        late = 0
        while True:
            try:
                body = yield from self._budget.spend(request)
                return body, Content.read(key, body)
            except TooLate:
                # Nothing was sent; what gave the right to it may have lapsed, and is taken anew.
                late += 1
                if late == _MOST_LATE:
                    raise NotSent(
                        f"{key} could not be asked for within {self._timeout:g} s: this machine or its disk is too slow, or the "
                        "timeout is too short."
                    ) from None
            except LinkCut:
                if cut:
                    raise
                cut = True
            except RateLimited:
                if limited or not (yield from self._budget.exhaust(key)):
                    raise
                limited = True
                request = _Request(key, claim, self._timeout, on_send)


class _Request:
    """One request. Sent again, it has what is left of its time: the caller waits for a reply, not for an attempt."""

    def __init__(self, key: PageKey, claim: Claim | None, seconds: float, on_send: Callable[[], object]) -> None:
        self.key, self.claim = key, claim
        self._left, self._on_send = seconds, on_send

    def send(self, right_since: float) -> Steps[bytes]:
        """Send it; `right_since` is when the monotonic clock stood before the right to it was taken."""
        if self.claim is not None:
            self.claim.hold()  # renewed: it now outlasts the request
        seconds = max(self._left, 0.0)
        self._on_send()
        begun = time.monotonic()
        try:
            body: bytes = yield Exchange(self.key, seconds, right_since + min(seconds, _SLACK))
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
        return request.send(time.monotonic())

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
        slot, reserving_since = yield from self._reserve(bucket, request, rate)
        try:
            body = yield from request.send(reserving_since)
        except BaseException as error:
            if isinstance(error, ClaimLost) or not was_sent(error):
                self._budget.cancel(slot)
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

    def _reserve(self, bucket: str, request: _Request, rate: Rate) -> Steps[tuple[Slot, float]]:
        """A slot, and when the monotonic clock stood before it was taken."""
        while True:
            since = time.monotonic()
            slot = self._budget.reserve(bucket, rate, self._settings.timeout)
            if isinstance(slot, Slot):
                return slot, since
            if request.claim is not None:
                request.claim.renew()
            yield Sleep(min(max(slot, 0.001), _BUDGET_LOOK), budget=slot)

    def _bucket(self, call: Call) -> Steps[str | None]:
        """OpenD counts each account and protocol by itself; None: a gateway answers, and counts what it sends."""
        account = yield Account()
        return None if account is None else f"{account}/{call.proto_id}"


# Made-up rows never answer for OpenD, nor are they joined with its rows.


class OtherServer(Exception):
    """Another answers than the one whose rows a walk stands on: a simulator in OpenD's place, or OpenD in its."""


def may_join(origin: str | None, other: str | None) -> bool:
    """Whether rows of two origins may stand in one history: a gateway's own record may stand before its replies."""
    return origin == other or None in (origin, other) or SIMULATOR not in (origin, other)


class Peer:
    """What is known of who answers at the address.

    Attributes:
        origin: Who answered last; None: not known yet.

    """

    def __init__(self, settings: Settings, fetcher: Fetcher) -> None:
        self._settings, self._fetcher = settings, fetcher
        self._has_warned = False
        self.origin: str | None = None

    def standing(self, key: PageKey, record: Record) -> SymbolRecord:
        """What is recorded of a symbol, as far as it answers for who is asked."""
        return record.symbol(key).of(None if self._settings.mode is Mode.OFFLINE else self.origin)

    def meet(self, key: PageKey, held: str | None, *, is_needed: bool = False) -> Steps[None]:
        """Learn who is asked, where what is `held` of a symbol depends on it.

        Nothing of OpenD's waits for this: where its rows are recorded, they answer without a connection.
        """
        if held is None or self._settings.mode is Mode.OFFLINE:
            return
        if held != SIMULATOR and self.origin in (None, held) and not is_needed:
            return
        try:
            origin = yield from self._fetcher.origin()
        except (ConnectionFailed, RequestTimeout):
            if held == SIMULATOR and self.origin is None:
                self._warn(
                    f"{key} is recorded from a simulator, and nobody answers at {self._settings.address}: its rows are made up."
                )
        else:
            self.note(key, held, origin)

    def note(self, key: PageKey, held: str | None, origin: str) -> None:
        """Note who answers; one warning where that is another than sent what is held."""
        self.origin = origin
        if held in (None, origin) or origin == GATEWAY:
            return
        here, there = ("a simulator", "an OpenD") if held == SIMULATOR else ("an OpenD", "a simulator")
        self._warn(
            f"{key} is recorded from {here}, and {self._settings.address} is {there}. What is recorded does not answer for it, "
            "and is replaced by what it sends. `cache list` names where each symbol is from."
        )

    def ask(self, key: PageKey, record: Record) -> Steps[None]:
        """Note who answers, before something is asked for."""
        self.note(key, record.symbol(key).origin, (yield from self._fetcher.origin()))

    def _warn(self, text: str) -> None:
        if not self._has_warned:
            self._has_warned = True
            warn(text)
