"""One rate budget for all processes of this machine, in a file of its own: clearing the cache does not reset it.

A slot is taken before a request is sent and stays taken until *more than* a window after its reply came. A slot that
counted from the sending would free itself early: the server counts when a request arrives, and saw 33 to 37 in a window
of 30. Proof that it never sees more than `requests`: of any `requests + 1` arrivals within a window let L be the one
whose slot was taken last. The other slots were then in flight or settled after their arrival, so all of them were still
taken, and L would not have got one.

Slots of a process that died free themselves, because a slot in flight carries the longest time it can last. Times are
those of the monotonic clock, which all processes share and no clock change moves.

A file that is deleted or replaced while it is in use takes the slots with it. So each file has a name of its own
inside, and the process that finds another name counts a whole window as used. Nothing waits for the disk: slots that
a power cut takes back are of before the start of the machine. A file that it left damaged is begun anew, with a
window used up; any other damaged file is an error, for somebody may have slots in it.
"""

from __future__ import annotations

import sqlite3
import time
from dataclasses import dataclass
from pathlib import Path

from opend_si.cache.database import Database, Layout
from opend_si.errors import CacheCorrupt
from opend_si.settings import BUDGET_FILE
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
    ),
    synchronous="OFF",
    if_damaged=" Remove it half a minute after the last request: it holds the times of those alone.",
)

_SELECT_FILE = "SELECT name, used_at, used_until FROM file"
# What a file without its one row in `file` is taken for: none that anybody has used.
_NO_FILE = (b"", 0.0, 0.0)
# Seconds by which a file must be older than the start of the machine, for nobody to have a slot in it.
_BOOT_MARGIN = 60.0
# The name of the file that this process has used at each path. Clients come and go; the process is what sends.
_NAMES: dict[str, bytes] = {}


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
        """Take a slot for a request that lasts `timeout` seconds at most, or say after how many seconds to try again."""
        try:
            return self._reserve(bucket, rate, timeout)
        except CacheCorrupt:
            if not self._begin_anew():
                raise
            return self._reserve(bucket, rate, timeout)

    def _reserve(self, bucket: str, rate: Rate, timeout: float) -> Slot | float:
        path = str(self._database.path)

        def take(connection: sqlite3.Connection) -> tuple[Slot | float, bytes]:
            now = time.monotonic()
            longest = now + timeout + rate.seconds
            name, used_at, used_until = connection.execute(_SELECT_FILE).fetchone() or _NO_FILE
            if _NAMES.get(path, name) != name:  # not the file that this process has used so far
                used_at, used_until = now, longest
                connection.execute("UPDATE file SET used_at = ?, used_until = ?", (used_at, used_until))
            # After a restart of the machine the clock begins anew: what was taken later than now is not in force.
            connection.execute(
                "DELETE FROM slot WHERE bucket = ? AND (free_at < ? OR taken_at > ?)", (bucket, now, now)
            )
            taken, first = connection.execute(
                "SELECT count(*), min(free_at) FROM slot WHERE bucket = ?", (bucket,)
            ).fetchone()
            found: Slot | float
            if used_at <= now < used_until:
                found = float(used_until - now)
            elif taken >= rate.requests:
                found = float(max(first - now, 0.0))
            else:
                cursor = connection.execute(
                    "INSERT INTO slot (bucket, taken_at, free_at) VALUES (?, ?, ?)", (bucket, now, longest)
                )
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
            now = time.monotonic()
            connection.execute(
                "INSERT OR REPLACE INTO slot (id, bucket, taken_at, free_at) VALUES (?, ?, ?, ?)",  # it may have lapsed
                (slot.id, slot.bucket, now, now + rate.seconds),
            )

        self._database.write(free_later)

    def cancel(self, slot: Slot) -> None:
        """Nothing was sent: the slot is free now."""
        self._database.write(lambda connection: connection.execute("DELETE FROM slot WHERE id = ?", (slot.id,)))

    def exhaust(self, bucket: str, rate: Rate) -> None:
        """OpenD says that the limit is used up, by other programs too: nothing is free before a full window has passed."""

        def take_all(connection: sqlite3.Connection) -> None:
            now = time.monotonic()
            free_at = now + rate.seconds
            # Slots in flight stay their holders': they are only kept for longer.
            connection.execute("UPDATE slot SET free_at = max(free_at, ?) WHERE bucket = ?", (free_at, bucket))
            taken = connection.execute("SELECT count(*) FROM slot WHERE bucket = ?", (bucket,)).fetchone()[0]
            connection.executemany(
                "INSERT INTO slot (bucket, taken_at, free_at) VALUES (?, ?, ?)",
                [(bucket, now, free_at)] * max(rate.requests - taken, 0),
            )

        self._database.write(take_all)

    def allowance(self, bucket: str, rate: Rate) -> Allowance:
        """What may be sent now. Nothing is taken for it."""

        def look(connection: sqlite3.Connection) -> Allowance:
            now = time.monotonic()
            _, used_at, used_until = connection.execute(_SELECT_FILE).fetchone() or _NO_FILE
            if used_at <= now < used_until:
                return Allowance(0, used_until - now)
            taken, first = connection.execute(
                "SELECT count(*), min(free_at) FROM slot WHERE bucket = ? AND free_at >= ? AND taken_at <= ?",
                (bucket, now, now),
            ).fetchone()
            left = max(rate.requests - int(taken), 0)
            return Allowance(left, 0.0 if left else float(first - now))

        return self._database.read(look)

    def close(self) -> None:
        self._database.close()
