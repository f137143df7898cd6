"""The system's own clocks: a library that freezes time for tests replaces Python's alone."""

from __future__ import annotations

import sys
import time
from functools import partial
from typing import NamedTuple

if sys.platform == "win32":
    monotonic, wall = time.monotonic, time.time
else:
    monotonic = partial(time.clock_gettime, time.CLOCK_MONOTONIC)
    wall = partial(time.clock_gettime, time.CLOCK_REALTIME)

# Seconds that are left of what is over but for the clock's next step.
TICK = 1e-3


class Moment(NamedTuple):
    """What both clocks show at once.

    No clock change moves the monotonic clock, and all processes of a system share it; a container, a virtual machine or
    another Python may have one of its own. So what lasts carries the wall clock's time, too, and is over when both
    clocks say so: neither another monotonic clock nor a wall clock that is set ends it early.
    """

    monotonic: float
    wall: float

    @classmethod
    def now(cls) -> Moment:
        return cls(monotonic(), wall())

    def left(self, since: float, until: float, wall: float) -> float:
        """Seconds left of what lasts from `since` to `until` by the monotonic clock; `wall` is `since` by the other.

        The monotonic clock began anew with the machine, or is another one, where it shows less than then. A wall clock
        that shows far less was set back, and tells nothing.
        """
        lasts = until - since
        by_monotonic = until - self.monotonic if since <= self.monotonic else -1.0
        by_wall = wall + lasts - self.wall if wall <= self.wall + lasts else -1.0
        left = max(by_monotonic, by_wall)
        return max(left, TICK) if left >= 0 else 0.0  # it is over when *more* than its time has passed
