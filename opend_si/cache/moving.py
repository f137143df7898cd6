"""Taking a symbol out of a record, and putting one in that another record has. Each is one transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from typing import NamedTuple

from opend_si.cache import past, store
from opend_si.cache.past import Entry
from opend_si.cache.store import Store
from opend_si.cache.versions import Clock, Event, Seal, Version
from opend_si.dates import now

_DELETES = (
    "DELETE FROM page WHERE protocol = ? AND symbol = ?",
    "DELETE FROM past WHERE protocol = ? AND symbol = ?",
    "DELETE FROM seal WHERE protocol = ? AND symbol = ?",
)


class Whole(NamedTuple):
    """All that is recorded of a symbol: its present, its past as it is packed, and its seal."""

    rows: tuple[Version, ...]
    entries: tuple[Entry, ...]
    seal: Seal


def forget(records: Store, protocol: int, symbol: str) -> None:
    """Delete all that is recorded of a symbol, and nothing else."""
    records.database.write(lambda connection: _forget(connection, protocol, symbol))


def read_whole(records: Store, protocol: int, symbol: str) -> Whole:
    """All of a symbol that is sound, as of one moment."""

    def read(connection: sqlite3.Connection) -> Whole:
        present = records.symbol(protocol, symbol)
        entries, _ = store._read_entries(connection, protocol, symbol)
        return Whole(present.rows, tuple(entries), present.seal)

    return records.database.snapshot(read)


def put(records: Store, protocol: int, symbol: str, seal: Seal | None, moved: Callable[[int], Whole]) -> bool:
    """Put a symbol in the place of what is recorded of it; False: that is not what it was, by its seal, and nothing is done.

    `moved` gives it with its events numbered from behind an event of this record on.
    """

    def write(connection: sqlite3.Connection) -> bool:
        if store._select_seal(connection, protocol, symbol) != seal:
            return False
        clock = store._read_clock(connection)
        whole = moved(clock.last.seq)
        _forget(connection, protocol, symbol)
        connection.executemany(store._INSERT, (row.signed() for row in whole.rows))
        for number, place in enumerate(range(0, len(whole.entries), past.BLOCK_ENTRIES)):
            entries: Sequence[Entry] = whole.entries[place : place + past.BLOCK_ENTRIES]
            store._write_block(connection, protocol, symbol, number, entries)
        digest = store._past_digest(connection, protocol, symbol)
        store._seal(connection, protocol, symbol, whole.seal._replace(past=digest))
        # The clock of this machine showed its own moments only: those of another are no steps of it.
        at = max(clock.last.at, 0) if clock.last.seq else now()
        store._write_clock(connection, Event(whole.seal.seq, at))
        return True

    return records.database.write(write)


def clock_is_sound(whole: Whole, clock: Clock) -> bool:
    """Whether no event of a symbol is of a time at which the clock was ahead, as a later event shows."""
    versions = (*whole.rows, *(entry.version for entry in whole.entries))
    events = [(row.first_seq, row.fetched_at) for row in versions] + [
        (row.checked_seq, row.checked_at) for row in versions
    ]
    return not any(clock.was_ahead(event, max(event[1], clock.last.at)) for event in events)


def _forget(connection: sqlite3.Connection, protocol: int, symbol: str) -> None:
    for statement in _DELETES:
        connection.execute(statement, (protocol, symbol))
