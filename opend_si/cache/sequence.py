"""The record's sequence: each reply that is recorded is an event with a number of its own, whatever the clock shows."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterable

from opend_si.cache.versions import DIGEST_BYTES, NEVER, Clock, Event
from opend_si.dates import now

_SELECT_SEQUENCE = "SELECT seq, at, checksum FROM sequence WHERE id = 1"
_SELECT_STEPS = "SELECT seq, at FROM step ORDER BY seq"
_COUNT_AGAIN = (
    "SELECT MAX(first_seq, checked_seq, superseded_seq, void_seq), fetched_at FROM page ORDER BY 1 DESC LIMIT 1"
)


def read_clock(connection: sqlite3.Connection) -> Clock:
    """How the clock ran while the record was written."""
    seq, at, checksum = connection.execute(_SELECT_SEQUENCE).fetchone() or (0, 0, None)
    return clock_of(connection, seq, at, checksum, map(Event._make, connection.execute(_SELECT_STEPS).fetchall()))


def clock_of(
    connection: sqlite3.Connection, seq: int, at: int, checksum: bytes | None, steps: Iterable[Event]
) -> Clock:
    """The clock of what stands there; of a damaged last event, of the rows."""
    steps = tuple(steps)
    if not all(isinstance(step.at, int) for step in steps):  # another page of the file stands in their place
        error = sqlite3.DatabaseError("a step of the clock is no moment")
        error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
        raise error
    last = Event(seq, at)
    if checksum != _checksum(last):
        # It is damaged: the numbers that were given are in the rows.
        found = connection.execute(_COUNT_AGAIN).fetchone()
        last = Event(*found) if found else NEVER
    return Clock(last, steps)


def next_event(connection: sqlite3.Connection, known: int) -> Clock:
    """The clock with what is recorded now as its last event; `known` is one that was given, whatever the file says."""
    before = read_clock(connection)
    event, steps = Event(max(before.last.seq, known) + 1, now()), before.steps
    if event.at < before.last.at:
        connection.execute("INSERT OR REPLACE INTO step (seq, at) VALUES (?, ?)", event)
        steps = (*(step for step in steps if step.seq != event.seq), event)
    write_clock(connection, event)
    return Clock(event, steps)


def write_clock(connection: sqlite3.Connection, last: Event) -> None:
    """Note the last event."""
    checked = (*last, _checksum(last))
    connection.execute("INSERT OR REPLACE INTO sequence (id, seq, at, checksum) VALUES (1, ?, ?, ?)", checked)


def _checksum(last: Event) -> bytes:
    return hashlib.blake2b(repr(tuple(last)).encode(), digest_size=DIGEST_BYTES).digest()
