"""Threads that share a link take turns on it, and none waits longer than its own deadline."""

from __future__ import annotations

import threading
import time

from opend_si.system import forks

# Seconds after which a thread looks again although nothing woke it up.
_LOOK = 0.05


class Turn:
    """One thread's turn. It lasts for as long as both locks are held: `with turn.bell, turn.lasts:`.

    Only the thread itself takes `lasts`: whether it is held is the truth. `bell` wakes up who waits, who takes it for a
    moment. An interrupt just then leaves the bell taken, and the others are woken up by `_LOOK` instead.
    """

    __slots__ = ("bell", "lasts")

    def __init__(self) -> None:
        self.bell, self.lasts = threading.Lock(), threading.Lock()


class Turns:
    """One turn after the other."""

    def __init__(self) -> None:
        self._lock = forks.new_lock()
        self._last = Turn()

    def begin(self, turn: Turn, deadline: float) -> bool:
        """Wait until the turn before is over; False: it was not by the deadline. The caller holds the turn's two locks.

        No lock with a bound on its wait can be taken by a `with` that an interrupt cannot split. So nothing is taken
        here that would have to be given back: the end of the `with` around the caller's work ends the turn, however it
        comes about.
        """
        while True:
            with self._lock:
                before = self._last
                if not before.lasts.locked():
                    self._last = turn
                    return True
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            if before.bell.acquire(timeout=min(left, _LOOK)):
                before.bell.release()

    def leave_parent(self) -> None:
        """In a forked child: the thread whose turn it was is the parent's."""
        self._last = Turn()
