"""One rate budget for all processes that share a folder, in a file of its own: clearing the cache does not reset it.

A user's processes share their default folder; several users share one that was opened for them
(`opend_si.cache.files`). What is counted belongs to OpenD's account, whichever user and address it is asked by.

A slot is taken before a request is sent and stays taken until *more than* a window after its reply came. A slot that
counted from the sending would free itself early: the server counts when a request arrives, and saw 33 to 37 in a window
of 30. Proof that it never sees more than `requests`: of any `requests + 1` arrivals within a window let L be the one
whose slot was taken last. The other slots were then in flight or settled after their arrival, so all of them were still
taken, and L would not have got one.

Slots of a process that died free themselves, because a slot in flight carries the longest time it can last. Times are
those of the monotonic clock, which no clock change moves. All processes of a system share it; a container, a virtual
machine or another Python on the same folder may have one of its own. So a slot carries the wall clock's time, too, and
is free when both clocks say so: neither another monotonic clock nor a wall clock that is set frees it early.

A file that is deleted or replaced while it is in use takes the slots with it. So each file has a name of its own
inside, and the process that finds another name counts a whole window as used. Nothing waits for the disk: slots that
a power cut takes back are of before the start of the machine. A file that it left damaged is begun anew, with a
window used up; any other damaged file is an error, for somebody may have slots in it.
"""

from __future__ import annotations

import sqlite3
import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

from opend_si.cache.database import Database, Layout
from opend_si.errors import CacheCorrupt
from opend_si.system.home import BUDGET_FILE
from opend_si_schema.definitions import Rate

# "OPSB": marks the file as ours.
LAYOUT = Layout(
    "rate budget",
    BUDGET_FILE,
    0x4F505342,
    (
        """
        CREATE TABLE slot (
          id       INTEGER PRIMARY KEY AUTOINCREMENT,
          bucket   TEXT NOT NULL,
          taken_at REAL NOT NULL,
          free_at  REAL NOT NULL
        ) STRICT;
        CREATE INDEX slot_bucket ON slot (bucket, free_at)
        """,
        """
        CREATE TABLE file (name BLOB NOT NULL, used_at REAL NOT NULL, used_until REAL NOT NULL) STRICT;
        INSERT INTO file (name, used_at, used_until) VALUES (randomblob(16), 0, 0)
        """,
        """
        ALTER TABLE slot ADD COLUMN wall REAL NOT NULL DEFAULT 0;
        ALTER TABLE file ADD COLUMN wall REAL NOT NULL DEFAULT 0
        """,
    ),
    synchronous="OFF",
    if_damaged=" Remove it half a minute after the last request: it holds the times of those alone.",
)

_SELECT_SLOTS = "SELECT id, taken_at, free_at, wall FROM slot WHERE bucket = ?"
_INSERT = "INSERT OR REPLACE INTO slot (id, bucket, taken_at, free_at, wall) VALUES (?, ?, ?, ?, ?)"
_SELECT_FILE = "SELECT name, used_at, used_until, wall FROM file"
# Seconds to wait where a window is over, but for the clock's next step.
_TICK = 1e-3
# What a file without its one row in `file` is taken for: none that anybody has used.
_NO_FILE = (b"", 0.0, 0.0, 0.0)
# Seconds by which a file must be older than the start of the machine, for nobody to have a slot in it.
_BOOT_MARGIN = 60.0
# The name of the file that this process has used at each path. Clients come and go; the process is what sends.
_NAMES: dict[str, bytes] = {}


if sys.platform == "win32":
    _MONOTONIC, _WALL = time.monotonic, time.time
else:
    # The system's own: a library that freezes time for tests replaces Python's, and would empty the budget of all.
    _MONOTONIC = partial(time.clock_gettime, time.CLOCK_MONOTONIC)
    _WALL = partial(time.clock_gettime, time.CLOCK_REALTIME)


class _Moment(NamedTuple):
    """What both clocks show at once."""

    mono: float
    wall: float

    @classmethod
    def now(cls) -> _Moment:
        return cls(_MONOTONIC(), _WALL())

    def left(self, taken_at: float, free_at: float, wall: float) -> float:
        """Seconds until what was taken then is free by both clocks; 0 if it is.

        The monotonic clock began anew with the machine, or is another one, where it shows less than then. A wall clock
        that shows far less was set back, and tells nothing.
        """
        lasts = free_at - taken_at
        by_mono = free_at - self.mono if taken_at <= self.mono else -1.0
        by_wall = wall + lasts - self.wall if wall <= self.wall + lasts else -1.0
        left = max(by_mono, by_wall)
        return max(left, _TICK) if left >= 0 else 0.0  # a window is over when *more* than it has passed


@dataclass(frozen=True, slots=True)
class Slot:
    """The right to send one request."""

    id: int
    bucket: str


@dataclass(frozen=True, slots=True)
class Allowance:
    """How many requests may be sent now, and after how many seconds the next may, if none."""

    requests: int
    wait: float


class Budget:
    """The budget file. If it cannot be used its `CacheError` is the caller's: without it nothing may be sent."""

    def __init__(self, path: Path) -> None:
        self._database = Database(path, LAYOUT)

    def reserve(self, bucket: str, rate: Rate, timeout: float) -> Slot | float:
        """Take a slot for a request that lasts `timeout` seconds at most, or say how many seconds to wait."""
        try:
            return self._reserve(bucket, rate, timeout)
        except CacheCorrupt:
            if not self._begin_anew():
                raise
            return self._reserve(bucket, rate, timeout)

    def _reserve(self, bucket: str, rate: Rate, timeout: float) -> Slot | float:
        path = str(self._database.path)

        def take(connection: sqlite3.Connection) -> tuple[Slot | float, bytes]:
            now = _Moment.now()
            longest = now.mono + timeout + rate.seconds
            name, *used = connection.execute(_SELECT_FILE).fetchone() or _NO_FILE
            if _NAMES.get(path, name) != name:  # not the file that this process has used so far
                used = [now.mono, longest, now.wall]
                connection.execute("UPDATE file SET used_at = ?, used_until = ?, wall = ?", used)
            left = _left(connection, bucket, now)
            connection.executemany(
                "DELETE FROM slot WHERE id = ?", [(slot,) for slot, wait in left.items() if not wait]
            )
            waits = sorted(filter(None, left.values()))
            found: Slot | float
            if until_unused := now.left(*used):
                found = until_unused
            elif len(waits) >= rate.requests:
                found = _soonest(waits, rate)
            else:
                cursor = connection.execute(_INSERT, (None, bucket, now.mono, longest, now.wall))
                assert cursor.lastrowid is not None
                found = Slot(cursor.lastrowid, bucket)
            return found, name

        found, _NAMES[path] = self._database.write(take)  # the file says now what this process knows of it
        return found

    def _begin_anew(self) -> bool:
        """Make room for a new file, with a window used up, where the damaged one is older than the machine's start."""
        path = self._database.path
        aside = path.with_name(f"{path.name}.damaged")
        try:
            booted = time.time() - time.monotonic()
            if path.stat().st_mtime > booted - _BOOT_MARGIN or not self._database.set_aside(aside):
                return False
            aside.unlink()
        except OSError:
            return False
        _NAMES[str(path)] = b""  # what is made now is not the file that was used so far
        return True

    def settle(self, slot: Slot, rate: Rate) -> None:
        """The reply has come, or never will: the slot is free a window from now."""

        def free_later(connection: sqlite3.Connection) -> None:
            now = _Moment.now()
            # It may have lapsed.
            connection.execute(_INSERT, (slot.id, slot.bucket, now.mono, now.mono + rate.seconds, now.wall))

        self._database.write(free_later)

    def cancel(self, slot: Slot) -> None:
        """Nothing was sent: the slot is free now."""
        self._database.write(lambda connection: connection.execute("DELETE FROM slot WHERE id = ?", (slot.id,)))

    def exhaust(self, bucket: str, rate: Rate) -> None:
        """OpenD says that the limit is used up, by other programs too.

        Nothing is free before a full window has passed.
        """

        def take_all(connection: sqlite3.Connection) -> None:
            now = _Moment.now()
            taken = {slot: wait for slot, wait in _left(connection, bucket, now).items() if wait}
            # Slots in flight stay their holders': they are only kept for longer.
            waits = [*taken.items(), *[(None, 0.0)] * (rate.requests - len(taken))]
            free = [(slot, bucket, now.mono, now.mono + max(wait, rate.seconds), now.wall) for slot, wait in waits]
            connection.executemany(_INSERT, free)

        self._database.write(take_all)

    def allowance(self, bucket: str, rate: Rate) -> Allowance:
        """What may be sent now. Nothing is taken for it."""

        def look(connection: sqlite3.Connection) -> Allowance:
            now = _Moment.now()
            _, *used = connection.execute(_SELECT_FILE).fetchone() or _NO_FILE
            if until_unused := now.left(*used):
                return Allowance(0, until_unused)
            waits = sorted(filter(None, _left(connection, bucket, now).values()))
            left = max(rate.requests - len(waits), 0)
            return Allowance(left, 0.0 if left else _soonest(waits, rate))

        return self._database.read(look)

    def close(self) -> None:
        self._database.close()


def _left(connection: sqlite3.Connection, bucket: str, now: _Moment) -> dict[int, float]:
    """Of each slot, how many seconds it is still taken."""
    return {slot: now.left(*times) for slot, *times in connection.execute(_SELECT_SLOTS, (bucket,)).fetchall()}


def _soonest(waits: list[float], rate: Rate) -> float:
    """Seconds until a slot can be free, of these that are taken: one in flight may be settled at any moment."""
    return min(waits[0], rate.seconds)
