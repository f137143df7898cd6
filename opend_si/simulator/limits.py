"""The limit that OpenD keeps: a sliding window over the requests it has taken."""

from __future__ import annotations

from collections import deque

from opend_si_schema.definitions import Rate


class SlidingWindow:
    """Takes a request if the one `requests` before it is *more than* `seconds` ago. Refused ones do not count."""

    def __init__(self, rate: Rate) -> None:
        self._rate = rate
        self._taken: deque[float] = deque(maxlen=rate.requests)

    def take(self, now: float) -> bool:
        full = len(self._taken) == self._rate.requests
        if full and now - self._taken[0] <= self._rate.seconds:
            return False
        self._taken.append(now)
        return True
