"""Replies that were given lately, for as long as the record has not changed and they are fresh: no thread, no database.

The record is the truth; this only spares looking into it. What a simulator made up is not kept: whether it answers
depends on who is asked then, and the engine looks each time. Whether the record has changed is seen from its file:
SQLite counts its transactions in the file's header, and reading that takes a few microseconds and waits for no lock.

The file's descriptor is kept until the end: to close any descriptor of a file gives up all locks that this process has
on it, those of SQLite's in the middle of a transaction too. tests/gateway/test_recent_replies_are_never_old.py fails
without.
"""

from __future__ import annotations

import math
import os
import time
from collections import OrderedDict
from collections.abc import Hashable
from pathlib import Path

from opend_si.pages import OPEND, Page
from opend_si.settings import PUBLICATION, Mode, Settings

# Replies that are kept, some 8 KB each, and the longest request that one is kept for.
_MOST, _LONGEST = 1024, 1024
# Where SQLite's header has its counter of transactions.
_COUNTER, _COUNTER_BYTES = 24, 4


class Recent:
    """The replies, by their requests' bodies."""

    def __init__(self, settings: Settings) -> None:
        self._file = _File(settings.cache)
        self._seconds = None if settings.mode is Mode.OFFLINE else settings.max_age
        self._kept: OrderedDict[tuple[int, bytes], tuple[Hashable, _Fresh, bytes]] = OrderedDict()

    def get(self, proto_id: int, request: bytes) -> bytes | None:
        """The reply's body; None if the record has to be asked."""
        found = self._kept.get((proto_id, request))
        if found is None:
            return None
        stamp, fresh, body = found
        if fresh.is_over() or stamp != self.stamp():
            del self._kept[proto_id, request]
            return None
        self._kept.move_to_end((proto_id, request))
        return body

    def keep(self, proto_id: int, request: bytes, page: Page, stamp: Hashable) -> None:
        """Keep a page that the record gave; `stamp` is from before it was asked."""
        if page.origin != OPEND:
            return
        fresh = _Fresh(self._seconds_left(page))
        if stamp is None or len(request) > _LONGEST or fresh.is_over() or stamp != self.stamp():
            return
        self._kept[proto_id, request] = stamp, fresh, page.body
        if len(self._kept) > _MOST:
            self._kept.popitem(last=False)

    def stamp(self) -> Hashable:
        """Changes whenever the record does; None while there is none."""
        return self._file.stamp()

    def close(self) -> None:
        """Let go of the file, once nothing of this process uses it any more."""
        self._kept.clear()
        self._file.close()

    def _seconds_left(self, page: Page) -> float:
        if self._seconds is None:
            return math.inf
        # By the publication rule that depends on the record: it is asked each time.
        if self._seconds == PUBLICATION:
            return 0.0
        return self._seconds - max(time.time() - page.checked_at.timestamp(), 0.0)


class _Fresh:
    """Lasts for so many seconds by both clocks: one that is set, back or ahead, makes nothing fresh for longer."""

    def __init__(self, seconds: float) -> None:
        self._seconds, self._begun = seconds, (time.time(), time.monotonic())

    def is_over(self) -> bool:
        wall, monotonic = time.time() - self._begun[0], time.monotonic() - self._begun[1]
        return wall < 0 or max(wall, monotonic) >= self._seconds


class _File:
    """A database, looked at from outside."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._identity: Hashable = None
        self._descriptors: list[int] = []  # the last is of the file that is there now

    def stamp(self) -> Hashable:
        """Changes with every transaction; None where that cannot be seen."""
        if not hasattr(os, "pread"):
            return None
        try:
            status = self._path.stat()
            if self._identity != (status.st_dev, status.st_ino):
                self._descriptors.append(os.open(self._path, os.O_RDONLY))
                status = os.fstat(self._descriptors[-1])
                self._identity = status.st_dev, status.st_ino
            counter = os.pread(self._descriptors[-1], _COUNTER_BYTES, _COUNTER)
        except OSError:
            return None
        return self._identity, counter, status.st_size, status.st_mtime_ns

    def close(self) -> None:
        while self._descriptors:
            os.close(self._descriptors.pop())
        self._identity = None
