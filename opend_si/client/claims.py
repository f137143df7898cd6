"""Once a record: of the threads and processes that want a page one fetches it, and the others wait for theirs."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from opend_si.cache.claims import Claims
from opend_si.client.steps import Sleep, Steps
from opend_si.pages import PageKey
from opend_si.settings import MAX_TIMEOUT
from opend_si.system.leases import Lease, is_ours, new_holder

_T = TypeVar("_T")

# Seconds between two looks for the page that another thread or process is fetching; it doubles up to the last.
_FIRST_LOOK, _LAST_LOOK = 0.005, 0.08
# A right that was taken no longer ago than this is not taken again before a request is sent, and lasts so much longer.
_GRACE = 0.5
# From its last renewal until it renews again, or has sent, who lives takes less than this besides what OpenD takes: a
# grace, a look at the budget, or the time in which a request is sent or not at all.
_SIGN_OF_LIFE = 3 * _GRACE


class ClaimLost(Exception):
    """Another has the right to fetch the page now."""


class Claim:
    """This thread's right to fetch a page. It lapses by itself after the longest time that a request can last.

    That is the holder's own time, which may be far longer than another's who waits for it: see `doubt`.
    """

    def __init__(self, claims: Claims, key: PageKey, seconds: float) -> None:
        self._grace = min(_GRACE, seconds, MAX_TIMEOUT - seconds)
        self._claims, self._page, self._seconds = claims, key.identity, seconds + self._grace
        self._owner = new_holder()
        self._taken_at = 0.0
        self._patience = seconds + _SIGN_OF_LIFE
        self._seen: Lease | None = None  # another's right, and when it was first seen as it is
        self._seen_at = 0.0

    def take(self, *, anew: bool = True) -> bool:
        """Take it, or renew it. False: another has it, or may have had it where it is only to be renewed."""
        taken_at = time.monotonic()
        if not self._claims.take(self._page, self._owner, self._seconds, anew=anew):
            return False
        self._taken_at = taken_at
        return True

    def hold(self) -> None:
        """Have it for the longest time of a request from now; `ClaimLost` if it lapsed: the page may be there.

        Whoever waits before a request is sent calls it at each look: those who wait for the page see that it lives.
        """
        if time.monotonic() - self._taken_at > self._grace and not self.take(anew=False):
            raise ClaimLost

    def doubt(self) -> None:
        """End another's right that was not renewed for as long as a request of ours could have lasted.

        Its holder has died, or waits for OpenD longer than we would. If it lives, its next `hold` tells it.
        """
        held, at = self._claims.held(self._page), time.monotonic()
        if held is None or held != self._seen:
            self._seen, self._seen_at = held, at
        elif at - self._seen_at > self._patience:
            self._claims.end(self._page, held)

    def give_back(self) -> None:
        """Whoever wants it may take it. In a forked child it is the parent's."""
        if is_ours(self._owner):
            self._claims.release(self._page, self._owner)


def once(
    claims: Claims, key: PageKey, seconds: float, look: Callable[[], _T | None], fetch: Callable[[Claim], Steps[_T]]
) -> Steps[_T]:
    """What `fetch` gives; or what `look` finds, once another thread or process has fetched the page.

    `seconds` is how long a request lasts at most, and how long one that fetches may give no sign of life.
    """
    claim = Claim(claims, key, seconds)
    pause = _FIRST_LOOK
    while True:
        try:
            while not claim.take():
                claim.doubt()
                yield Sleep(pause)
                pause = min(2 * pause, _LAST_LOOK)
                if (found := look()) is not None:
                    return found
            if (found := look()) is not None:  # it came between the first look and the claim
                return found
            return (yield from fetch(claim))
        except ClaimLost:
            continue  # it lapsed while we waited, and another took it
        finally:
            claim.give_back()
