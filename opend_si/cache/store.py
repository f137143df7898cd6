"""The record's file: each reply's bytes as received, under the key they were asked with, and in which order they came.

A reply that differs from the one before is a new version beside it; one that is equal only moves when it was checked.
What histories of now need is the present: what is known of each version in table `page`, its bytes in table `body`, so
that who needs the first alone reads little. Versions that they do not need are the past (`opend_si.cache.past`). The
checksum of a row covers all of it: key, version, events and bytes. The seal of a symbol covers the checksums of its
present and its past, so that a row that is lost, or one of before that comes back, is missed or seen.

What a page means is not known here: which versions a new one makes void, and which of them leave the present, is said
by the judge that `record` is given, under the write lock.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeAlias, TypeVar

from opend_si.cache import blocks
from opend_si.cache.database import Database, NothingRecorded
from opend_si.cache.layout import LAYOUT
from opend_si.cache.past import name_of
from opend_si.cache.sequence import clock_of, next_event, read_clock, write_clock
from opend_si.cache.versions import (
    BODY,
    CHECKSUM,
    SYMBOL,
    UNSEALED,
    Clock,
    Event,
    PastVersion,
    RawVersion,
    Seal,
    Version,
    Versions,
    is_sound,
)
from opend_si.errors import CacheBusy, CacheMiss

# Statements are written out in full: nothing is ever put together from text that came from outside.
# Many symbols at once, as a JSON array: a statement for each takes a third longer.
_SELECT_SYMBOLS = """
    SELECT protocol, symbol, next_key, num, version, origin, behind, first_seq, fetched_at, checked_seq, checked_at,
        superseded_seq, superseded_at, void_seq, void_at, sent, seen, checksum, bytes
    FROM page LEFT JOIN body ON id = body
    WHERE protocol = ? AND symbol IN (SELECT value FROM json_each(?))
"""
_SELECT_SYMBOL = """
    SELECT protocol, symbol, next_key, num, version, origin, behind, first_seq, fetched_at, checked_seq, checked_at,
        superseded_seq, superseded_at, void_seq, void_at, sent, seen, checksum, bytes
    FROM page LEFT JOIN body ON id = body WHERE protocol = ? AND symbol = ?
"""
_SELECT_KEYS = """
    SELECT next_key, num FROM page WHERE protocol = ? AND symbol = ? AND superseded_seq = 0
    ORDER BY next_key, num LIMIT ?
"""
_SELECT_NAMES = "SELECT DISTINCT symbol FROM page WHERE protocol = ? AND symbol > ? AND symbol < ? ORDER BY symbol"
_COUNT_NAMES = "SELECT count(*) FROM seal WHERE protocol = ? AND symbol > ? AND symbol < ?"
_INSERT_BODY = "INSERT INTO body (bytes) VALUES (?)"
_INSERT = """
    INSERT INTO page
    (protocol, symbol, next_key, num, version, origin, behind, first_seq, fetched_at, checked_seq, checked_at,
        superseded_seq, superseded_at, void_seq, void_at, sent, seen, checksum, size, body)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_UPDATE = """
    UPDATE page SET behind = ?, checked_seq = ?, checked_at = ?, superseded_seq = ?, superseded_at = ?, void_seq = ?,
        void_at = ?, sent = ?, checksum = ?
    WHERE protocol = ? AND symbol = ? AND next_key = ? AND num = ? AND version = ?
"""
_NEWEST_VERSION = """
    SELECT COALESCE(MAX(version), 0) FROM page WHERE protocol = ? AND symbol = ? AND next_key = ? AND num = ?
"""
_SELECT_CHECKSUMS = "SELECT checksum FROM page WHERE protocol = ? AND symbol = ?"
_SELECT_SEAL = """
    SELECT seq, at, floor, is_judged, past, summary, digest FROM seal WHERE protocol = ? AND symbol = ?
"""
_SELECT_SEALS = """
    SELECT symbol, seq, at, floor, is_judged, past, summary, digest FROM seal
    WHERE protocol = ? AND symbol IN (SELECT value FROM json_each(?))
"""
_SEAL = """
    INSERT OR REPLACE INTO seal (protocol, symbol, seq, at, floor, is_judged, past, summary, digest)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_SELECT_WHOLE_BLOCKS = """
    SELECT block, entries, checksum, body FROM past WHERE protocol = ? AND symbol = ? ORDER BY block
"""
_DELETE_BLOCKS = "DELETE FROM past WHERE protocol = ? AND symbol = ?"
_SELECT_PASTS = "SELECT DISTINCT protocol, symbol FROM past ORDER BY protocol, symbol"
_SELECT_LOOK = """
    SELECT sequence.seq, sequence.at, sequence.checksum,
        EXISTS (SELECT 1 FROM step),
        seal.seq, seal.at, floor, is_judged, past, summary, digest
    FROM (SELECT ? AS protocol, ? AS symbol) AS asked
        LEFT JOIN sequence ON id = 1
        LEFT JOIN seal ON seal.protocol = asked.protocol AND seal.symbol = asked.symbol
"""
_T = TypeVar("_T")

# How many recorded pages a miss names.
_SHOWN = 5
# Seconds for which a reply, which is paid for, waits for its turn to be recorded while others write.
_TURN_SECONDS = 60.0


class Ruling(NamedTuple):
    """What a reply does to what is recorded of its symbol.

    Attributes:
        version: The version to keep: the one before, checked again, or a new one.
        is_new: Which of the two.
        changed: Versions of the present that are other than they were.
        leaving: Versions of the present that go to the past.
        summary: What is to be noted of the symbol.

    """

    version: Version
    is_new: bool
    changed: tuple[Version, ...] = ()
    leaving: tuple[Version, ...] = ()
    summary: str = ""


# Gives the ruling on a reply. It is given what is recorded of the symbol, None where that is what the caller knows of;
# the event; and the number that a new version would have.
Judge: TypeAlias = Callable[[Versions | None, Event, int], Ruling]


@dataclass(frozen=True, slots=True)
class Kept:
    """A reply that was recorded, and after it the symbol's seal, how the clock ran, and the file's stamp."""

    ruling: Ruling
    seal: Seal
    clock: Clock
    stamp: Hashable


class Look(NamedTuple):
    """What a question finds when it looks at the file.

    Attributes:
        stamp: Changes whenever the file does.
        clock: How the clock ran while the record was written; None where the file is as it was known.
        seal: The seal of the symbol that is asked for, as it stands there; None where that was not read.

    """

    stamp: Hashable
    clock: Clock | None = None
    seal: Seal | None = None


class Store:
    """The pages of one file.

    Every method can raise `CacheError`; what that means for a caller is the guard's to say.
    """

    def __init__(self, path: Path, *, may_write: bool = True) -> None:
        self.database = Database(path, LAYOUT, may_write=may_write)

    @property
    def path(self) -> Path:
        return self.database.path

    # Reading ----------------------------------------------------------------------------------------------------------

    def symbol(self, protocol: int, symbol: str) -> Versions:
        """The present of a symbol."""
        return self._read_at_once(lambda connection: _read_symbol(connection, protocol, symbol), Versions())

    def symbol_and_past(self, protocol: int, symbol: str) -> tuple[Versions, tuple[PastVersion, ...], Clock]:
        """The present and the past of a symbol, and the clock, as of one moment."""

        def read(connection: sqlite3.Connection) -> tuple[Versions, tuple[PastVersion, ...], Clock]:
            present = _read_symbol(connection, protocol, symbol)
            found, _ = blocks.read_past(connection, present, protocol, symbol)
            return present, tuple(found), read_clock(connection)

        nothing: tuple[Versions, tuple[PastVersion, ...], Clock] = (Versions(), (), Clock())
        return self._read_at_once(read, nothing)

    def records(self, protocol: int, symbols: Sequence[str]) -> list[Versions]:
        """The presents of some symbols, each named once, as of one moment."""
        nothing = [Versions()] * len(symbols)
        return self._read_at_once(lambda connection: _read_symbols(connection, protocol, symbols), nothing)

    def symbols(self, protocol: int, market: str) -> list[str]:
        """The symbols of a market of which something is recorded, in order."""
        names = (protocol, f"{market}.", f"{market}/")  # "/" comes right after "."
        # Out of a damaged index a name may come twice, or out of order.
        nothing: list[tuple[str]] = []
        found = self._read(lambda connection: connection.execute(_SELECT_NAMES, names).fetchall(), nothing)
        return sorted({name for (name,) in found})

    def count_symbols(self, protocol: int, market: str) -> int:
        """Of how many symbols of a market something is recorded."""
        names = (protocol, f"{market}.", f"{market}/")
        return self._read(lambda connection: int(connection.execute(_COUNT_NAMES, names).fetchone()[0]), 0)

    def seal(self, protocol: int, symbol: str) -> Seal:
        """The seal of a symbol, as it stands there."""
        return self._read(lambda connection: select_seal(connection, protocol, symbol), UNSEALED)

    def summary(self, protocol: int, symbol: str) -> str:
        """What is noted of a symbol, if its seal fits what is there; else nothing."""

        def read(connection: sqlite3.Connection) -> str:
            seal, is_sealed = _read_seal(connection, protocol, symbol)
            return seal.summary if is_sealed else ""

        return self._read_at_once(read, "")

    def glance(self, identity: tuple[int, str, str, int]) -> tuple[Seal, Version] | None:
        """The newest version of a page and its symbol's seal, if that fits what is there. No other page is read."""

        def read(connection: sqlite3.Connection) -> tuple[Seal, Version] | None:
            seal, is_sealed = _read_seal(connection, *identity[:2])
            newest = blocks.current(connection, identity) if is_sealed else None
            return None if newest is None or not newest.is_sound else (seal, newest)

        return self._read_at_once(read, None)

    def clock(self) -> Clock:
        """How the clock ran while the record was written."""
        return self._read_at_once(read_clock, Clock())

    def look(self, owner: tuple[int, str] | None, known: Hashable) -> Look:
        """The file's stamp, and what is asked first where that is not the one that is known.

        The stamp is read first: what is remembered under it is never older than it says.
        """

        def read(connection: sqlite3.Connection) -> Look:
            stamp = self._stamp(connection)
            if stamp == known:
                return Look(stamp)
            # One statement, which sees one state of the file: a transaction takes as long again.
            seq, at, checksum, has_steps, *seal = connection.execute(_SELECT_LOOK, owner or (0, "")).fetchone()
            # A clock is seldom set back. Steps may be newer than the last event: they only show more of the clock.
            clock = read_clock(connection) if has_steps else clock_of(connection, seq, at, checksum, ())
            return Look(stamp, clock, Seal.read(seal))

        return self._read(read, Look(None, Clock()))

    def stamp(self) -> Hashable:
        """Changes whenever the file does."""
        return self._read(self._stamp, None)

    def miss(self, identity: tuple[int, str, str, int], what: str) -> CacheMiss:
        """The error for a page, of what is called `what`, that is not recorded: it says what is."""
        *owner, next_key, num = identity
        asked = (*owner, _SHOWN + 1)
        rows = self._read(lambda connection: connection.execute(_SELECT_KEYS, asked).fetchall(), None)
        if rows is None:
            return CacheMiss(f"No {what} is recorded: there is no page cache at {self.path}. {_HOW_TO_RECORD}")
        if not rows:
            return CacheMiss(f"No {what} is recorded in {self.path}. {_HOW_TO_RECORD}")
        there = ", ".join(f"next_key {other!r} with num {size}" for other, size in rows[:_SHOWN])
        more = " and others" if len(rows) > _SHOWN else ""
        return CacheMiss(
            f"The page of {what} with next_key {next_key!r} and num {num} is not recorded in {self.path}; recorded are "
            f"{there}{more}. {_HOW_TO_RECORD}"
        )

    # Writing ----------------------------------------------------------------------------------------------------------

    def record(self, identity: tuple[int, str, str, int], expected: Seal | None, judge: Judge) -> Kept:
        """Record a reply to a question, as the judge says; `expected` is the seal of what the judge knows already.

        While others write, it waits for its turn: the reply is paid for.
        """
        until = time.monotonic() + _TURN_SECONDS
        while True:
            before = self._written_at()
            try:
                return self._record(identity, expected, judge)
            except CacheBusy:  # who holds the file and writes nothing is not waited for again
                if self._written_at() == before or time.monotonic() > until:
                    raise

    def _record(self, identity: tuple[int, str, str, int], expected: Seal | None, judge: Judge) -> Kept:
        owner = identity[:2]

        def decide(connection: sqlite3.Connection) -> Kept:
            seal, is_sealed = _read_seal(connection, *owner)
            clock = next_event(connection, seal.seq if is_sealed else 0)
            event = clock.last
            newest = blocks.current(connection, identity)
            known: Versions | None = None
            if not is_sealed or seal != expected or (newest is not None and not newest.is_sound):
                known = _read_symbol(connection, *owner)
                seal = known.seal
                if not known.is_whole:
                    # What was lost may have taken back what is left: nothing of before this event is joined any more.
                    for name in known.damaged:
                        blocks.delete_damaged(connection, (*owner, *name))
                    seal = seal._replace(floor=event.seq - 1, summary="")
                    known = replace(known, damaged=(), seal=seal, is_whole=True)
                    newest = next((row for row in known.rows if row.identity == identity and row.is_current), None)
            number = newest.version + 1 if newest is not None else _next_number(connection, identity, event, seal)
            ruling = judge(known, event, number)
            kept = ruling.version.signed()
            for row in (*ruling.changed, *(() if ruling.is_new else (kept,))):
                _update(connection, row.signed())
            for row in ruling.leaving:  # first of all: what is new takes their place in the file
                blocks.delete(connection, (*row.identity, row.version))
            if ruling.is_new:
                insert(connection, kept)
            if ruling.leaving:
                blocks.leave(connection, ruling.leaving, event)
            gone = seal.past if not ruling.leaving else blocks.past_digest(connection, *owner)
            after = write_seal(connection, *owner, Seal(*event, seal.floor, 1, gone, ruling.summary))
            return Kept(ruling._replace(version=kept), after, clock, self._stamp(connection))

        return self.database.write(decide)

    def add(
        self, record: Versions, *, of_past: Iterable[tuple[int, int, bytes, bytes]] = (), clock: Clock | None = None
    ) -> None:
        """Take over all that another store has of a symbol, which this one has nothing of."""

        def take_over(connection: sqlite3.Connection) -> None:
            rows = record.rows
            for row in rows:
                insert(connection, row)
            for protocol, symbol in {(row.protocol, row.symbol) for row in rows}:
                for block in of_past:
                    connection.execute(blocks.WRITE_BLOCK, (protocol, symbol, *block))
                own = [row for row in rows if (row.protocol, row.symbol) == (protocol, symbol)]
                last = max(Event(row.checked_seq, row.checked_at) for row in own)
                seal = record.seal if record.seal.seq else Seal(*last, 0, 0, b"", "")
                if not record.is_whole:
                    seal = seal._replace(floor=max(seal.seq, last.seq), summary="")
                write_seal(
                    connection, protocol, symbol, seal._replace(past=blocks.past_digest(connection, protocol, symbol))
                )
                known = read_clock(connection)
                write_clock(connection, max(known.last, clock.last if clock is not None else last))
            for step in clock.steps if clock is not None else ():
                connection.execute("INSERT OR REPLACE INTO step (seq, at) VALUES (?, ?)", step)

        self.database.write(take_over)

    def blocks(self, protocol: int, symbol: str) -> list[tuple[int, int, bytes, bytes]]:
        """The sound blocks of a symbol's past, as they stand there: number, entries, checksum and body."""

        def read(connection: sqlite3.Connection) -> list[tuple[int, int, bytes, bytes]]:
            rows = connection.execute(_SELECT_WHOLE_BLOCKS, (protocol, symbol)).fetchall()
            return [row for row in rows if blocks.is_block(row[0], *row[2:])]

        return self._read_at_once(read, [])

    def past(self, protocol: int, symbol: str, present: Versions) -> tuple[list[PastVersion], int]:
        """The past of a symbol, and how many of its blocks are lost."""
        nothing: tuple[list[PastVersion], int] = ([], 0)
        return self._read_at_once(lambda connection: blocks.read_past(connection, present, protocol, symbol), nothing)

    def prune(self, goes: Callable[[Event, Clock], bool]) -> int:
        """Delete the versions of the past that `goes` says of the event since which they are past; gives how many.

        A symbol with damage is left alone. Each is written by itself: who records meanwhile waits for one.
        """

        def delete(owner: tuple[int, str], connection: sqlite3.Connection) -> int:
            present = _read_symbol(connection, *owner)
            versions, faults = blocks.read_past(connection, present, *owner)
            if not present.is_whole or faults:
                return 0
            clock = read_clock(connection)
            left = [version for version in versions if not goes(version.left, clock)]
            if len(left) < len(versions):
                connection.execute(_DELETE_BLOCKS, owner)
                blocks.write_blocks(connection, owner, 0, left)
                write_seal(connection, *owner, present.seal._replace(past=blocks.past_digest(connection, *owner)))
            return len(versions) - len(left)

        owners = self.database.read(lambda connection: connection.execute(_SELECT_PASTS).fetchall())
        deleted = sum(self.database.write(partial(delete, owner)) for owner in owners)
        self.database.read(lambda connection: connection.execute("VACUUM"))
        return deleted

    def close(self) -> None:
        self.database.close()

    def _stamp(self, connection: sqlite3.Connection) -> Hashable:
        # What other connections, and what this one, have written since it was opened. A connection's own commit is in
        # the second: it is the same right before the commit and after it.
        version = connection.execute("PRAGMA data_version").fetchone()[0]
        return self.database.openings, version, connection.total_changes

    def _written_at(self) -> int:
        """When the file was last written; 0 where that is not known."""
        try:
            return self.path.stat().st_mtime_ns
        except OSError:
            return 0

    def _read(self, use: Callable[[sqlite3.Connection], _T], nothing: _T) -> _T:
        """What a look into the file gives; `nothing` where there is none and none is made."""
        try:
            return self.database.read(use)
        except NothingRecorded:
            return nothing

    def _read_at_once(self, use: Callable[[sqlite3.Connection], _T], nothing: _T) -> _T:
        """The same for several statements, which see one state of the file."""
        try:
            return self.database.snapshot(use)
        except NothingRecorded:
            return nothing


_HOW_TO_RECORD = "Ask for it once in mode online, with OpenD running, and it is recorded."


def _next_number(connection: sqlite3.Connection, identity: tuple[int, str, str, int], event: Event, seal: Seal) -> int:
    """The number of a next version where no current one is there: above those of the past, too.

    What is lost may be named by blocks of the past, and no other may take its name: the number of the event is higher.
    """
    newest: int = connection.execute(_NEWEST_VERSION, identity).fetchone()[0]
    past = None if seal.floor else blocks.newest_number(connection, identity, seal.past)
    return event.seq if past is None else max(newest, past) + 1


def insert(connection: sqlite3.Connection, row: Version) -> None:
    """Write a version that is not there."""
    body = connection.execute(_INSERT_BODY, (row.body,)).lastrowid
    connection.execute(_INSERT, (*row[:BODY], len(row.body), body))


def _update(connection: sqlite3.Connection, row: Version) -> None:
    changed = (row.behind, row.checked_seq, row.checked_at, row.superseded_seq, row.superseded_at, row.void_seq)
    connection.execute(_UPDATE, (*changed, row.void_at, row.sent, row.checksum, *row.identity, row.version))


# Symbols --------------------------------------------------------------------------------------------------------------


def _read_symbols(connection: sqlite3.Connection, protocol: int, symbols: Sequence[str]) -> list[Versions]:
    asked = protocol, json.dumps(symbols)
    found: dict[str, list[RawVersion]] = {name: [] for name in symbols}
    for row in connection.execute(_SELECT_SYMBOLS, asked).fetchall():
        # A damaged row may have another name than the index, and a NUL in a damaged name ends it for SQLite in JSON.
        if row[SYMBOL] in found:
            found[row[SYMBOL]].append(row)
    seals = {name: Seal.read(seal) for name, *seal in connection.execute(_SELECT_SEALS, asked).fetchall()}
    return [_symbol_record(rows, seals.get(name, UNSEALED)) for name, rows in found.items()]


def _read_symbol(connection: sqlite3.Connection, protocol: int, symbol: str) -> Versions:
    owner = protocol, symbol
    found = connection.execute(_SELECT_SYMBOL, owner).fetchall()
    return _symbol_record(found, select_seal(connection, *owner))


def _symbol_record(found: Sequence[RawVersion], seal: Seal) -> Versions:
    sound = tuple(filter(is_sound, found))
    damaged = (
        tuple(name_of(Version._make(row)) for row in found if not is_sound(row)) if len(sound) < len(found) else ()
    )
    is_whole = not damaged and seal == seal.over(row[CHECKSUM] for row in sound)
    return Versions(sound, damaged, seal, is_whole)


def select_seal(connection: sqlite3.Connection, protocol: int, symbol: str) -> Seal:
    """The seal of a symbol, as it stands there."""
    row = connection.execute(_SELECT_SEAL, (protocol, symbol)).fetchone()
    return Seal.read(row) if row else UNSEALED


def _read_seal(connection: sqlite3.Connection, protocol: int, symbol: str) -> tuple[Seal, bool]:
    """The seal of a symbol, and whether the rows' checksums are those that were there at the last writing."""
    seal = select_seal(connection, protocol, symbol)
    return seal, seal == seal.over(_checksums(connection, protocol, symbol))


def write_seal(connection: sqlite3.Connection, protocol: int, symbol: str, seal: Seal) -> Seal:
    """Note what is there now, so that a row that is lost later is missed."""
    sealed = seal.over(_checksums(connection, protocol, symbol))
    connection.execute(_SEAL, (protocol, symbol, *sealed))
    return sealed


def _checksums(connection: sqlite3.Connection, protocol: int, symbol: str) -> list[bytes]:
    found = connection.execute(_SELECT_CHECKSUMS, (protocol, symbol)).fetchall()
    return [checksum if isinstance(checksum, bytes) else b"damaged" for (checksum,) in found]
