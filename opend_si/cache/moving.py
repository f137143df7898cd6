"""Taking a symbol out of a record, and putting one in that another record has. Each is one transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import NamedTuple

from opend_si.cache import blocks, store
from opend_si.cache.store import Store
from opend_si.cache.versions import Event, PastVersion, Seal, Version
from opend_si.dates import now

_DELETES = (
    # Where a name of a body is damaged it may be another symbol's.
    """
    DELETE FROM body WHERE id IN (SELECT body FROM page WHERE protocol = ?1 AND symbol = ?2)
        AND id NOT IN (SELECT body FROM page WHERE protocol != ?1 OR symbol != ?2)
    """,
    "DELETE FROM page WHERE protocol = ? AND symbol = ?",
    "DELETE FROM past WHERE protocol = ? AND symbol = ?",
    "DELETE FROM seal WHERE protocol = ? AND symbol = ?",
)


class Whole(NamedTuple):
    """All that is recorded of a symbol: its present, its past, and its seal."""

    rows: tuple[Version, ...]
    past: tuple[PastVersion, ...]
    seal: Seal


def forget(records: Store, protocol: int, symbol: str) -> None:
    """Delete all that is recorded of a symbol, and nothing else."""
    records.database.write(lambda connection: _forget(connection, protocol, symbol))


def put(records: Store, protocol: int, symbol: str, seal: Seal | None, moved: Callable[[int], Whole]) -> bool:
    """Put a symbol in the place of what is recorded of it; False where that has another seal than this one.

    Then nothing is done.

    `moved` gives it with its events numbered from behind an event of this record on.
    """

    def write(connection: sqlite3.Connection) -> bool:
        if store._select_seal(connection, protocol, symbol) != seal:
            return False
        clock = store._read_clock(connection)
        whole = moved(clock.last.seq)
        _forget(connection, protocol, symbol)
        for row in whole.rows:
            store.insert(connection, row.signed())
        blocks.write_blocks(connection, (protocol, symbol), 0, whole.past)
        digest = blocks.past_digest(connection, protocol, symbol)
        store._seal(connection, protocol, symbol, whole.seal._replace(past=digest))
        # The clock of this machine showed its own moments only: those of another are no steps of it.
        at = max(clock.last.at, 0) if clock.last.seq else now()
        store._write_clock(connection, Event(whole.seal.seq, at))
        return True

    return records.database.write(write)


def _forget(connection: sqlite3.Connection, protocol: int, symbol: str) -> None:
    for statement in _DELETES:
        connection.execute(statement, (protocol, symbol))
