"""One rate budget for all processes of this machine, in a file of its own: clearing the cache does not reset it.

A slot is taken before a request is sent and stays taken until *more than* a window after its reply came. A slot that
counted from the sending would free itself early: the server counts when a request arrives, and saw 33 to 37 in a window
of 30. Proof that it never sees more than `requests`: of any `requests + 1` arrivals within a window let L be the one
whose slot was taken last. The other slots were then in flight or settled after their arrival, so all of them were still
taken, and L would not have got one.

Slots of a process that died free themselves, because a slot in flight carries the longest time it can last. Times are
those of the monotonic clock, which all processes share and no clock change moves.
"""

from __future__ import annotations

import sqlite3
import time
from dataclasses import dataclass
from pathlib import Path

from opend_si.cache.database import Database, Layout
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
    ),
    if_damaged=" Remove it half a minute after the last request: it holds the times of those alone.",
)


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

        def take(connection: sqlite3.Connection) -> Slot | float:
            now = time.monotonic()
            longest = now + timeout + rate.seconds
            # After a restart of the machine the clock begins anew: what was taken later than now is not in force.
            connection.execute(
                "DELETE FROM slot WHERE bucket = ? AND (free_at < ? OR taken_at > ?)", (bucket, now, now)
            )
            taken, first = connection.execute(
                "SELECT count(*), min(free_at) FROM slot WHERE bucket = ?", (bucket,)
            ).fetchone()
            if taken >= rate.requests:
                return float(max(first - now, 0.0))
            cursor = connection.execute(
                "INSERT INTO slot (bucket, taken_at, free_at) VALUES (?, ?, ?)", (bucket, now, longest)
            )
            assert cursor.lastrowid is not None
            return Slot(cursor.lastrowid, bucket)

        return self._database.write(take)

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
            taken, first = connection.execute(
                "SELECT count(*), min(free_at) FROM slot WHERE bucket = ? AND free_at >= ? AND taken_at <= ?",
                (bucket, now, now),
            ).fetchone()
            left = max(rate.requests - int(taken), 0)
            return Allowance(left, 0.0 if left else float(first - now))

        return self._database.read(look)

    def close(self) -> None:
        self._database.close()
