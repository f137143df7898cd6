"""Recorded pages: each reply's bytes as received, under the key they were asked with.

A reply that differs from the one before is a new version beside it; one that is equal only moves `checked_at`. The
checksum of a row covers all of it: key, version, times and bytes. A row that a later version has replaced says so
itself (`superseded_at`), so a damaged index can hide a page but never bring an old value back.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias, TypeVar

from opend_si.cache.database import Database, Layout, NothingRecorded
from opend_si.errors import CacheCorrupt, CacheMiss
from opend_si.pages import PageKey
from opend_si.settings import PAGES_FILE

# "OPSI": marks the file as ours.
LAYOUT = Layout(
    "page cache",
    PAGES_FILE,
    0x4F505349,
    (
        """
        CREATE TABLE page (
          id            INTEGER PRIMARY KEY,
          protocol      INTEGER NOT NULL,
          symbol        TEXT    NOT NULL,
          next_key      TEXT    NOT NULL,
          num           INTEGER NOT NULL,
          version       INTEGER NOT NULL,
          asked_at      INTEGER NOT NULL,
          fetched_at    INTEGER NOT NULL,
          checked_at    INTEGER NOT NULL,
          superseded_at INTEGER NOT NULL,
          behind        INTEGER NOT NULL,
          checksum      BLOB    NOT NULL,
          body          BLOB    NOT NULL,
          UNIQUE (protocol, symbol, next_key, num, version)
        ) STRICT;
        CREATE TABLE claim (
          protocol  INTEGER NOT NULL,
          symbol    TEXT    NOT NULL,
          next_key  TEXT    NOT NULL,
          num       INTEGER NOT NULL,
          owner     TEXT    NOT NULL,
          taken_at  REAL    NOT NULL,
          seconds   REAL    NOT NULL,
          PRIMARY KEY (protocol, symbol, next_key, num)
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE seal (
          protocol INTEGER NOT NULL,
          symbol   TEXT    NOT NULL,
          floor    INTEGER NOT NULL,
          digest   BLOB    NOT NULL,
          PRIMARY KEY (protocol, symbol)
        ) STRICT, WITHOUT ROWID
        """,
    ),
    named_by=("OPEND_SI_CACHE", "OPEND_SI_HOME"),
)
# superseded_at of the newest version.
CURRENT = 0
_DIGEST_BYTES = 16

# Statements are written out in full: nothing is ever put together from text that came from outside.
_SELECT_CURRENT = """
    SELECT protocol, symbol, next_key, num, version, asked_at, fetched_at, checked_at, superseded_at, behind,
        checksum, body FROM page
    WHERE protocol = ? AND symbol = ? AND next_key = ? AND num = ? AND superseded_at = 0 ORDER BY version DESC LIMIT 1
"""
# Many symbols at once, as a JSON array: a statement for each takes a third longer.
_SELECT_SYMBOLS = """
    SELECT protocol, symbol, next_key, num, version, asked_at, fetched_at, checked_at, superseded_at, behind,
        checksum, body FROM page
    WHERE protocol = ? AND symbol IN (SELECT value FROM json_each(?))
"""
_SELECT_SEALS = """
    SELECT symbol, floor, digest FROM seal WHERE protocol = ? AND symbol IN (SELECT value FROM json_each(?))
"""
_SELECT_SYMBOL = """
    SELECT id, protocol, symbol, next_key, num, version, asked_at, fetched_at, checked_at, superseded_at, behind,
        checksum, body
    FROM page WHERE protocol = ? AND symbol = ?
"""
_SELECT_KEYS = """
    SELECT next_key, num FROM page WHERE protocol = ? AND symbol = ? AND superseded_at = 0
    ORDER BY next_key, num LIMIT ?
"""
_SELECT_NAMES = "SELECT DISTINCT symbol FROM page WHERE protocol = ? AND symbol > ? AND symbol < ? ORDER BY symbol"
_INSERT = """
    INSERT INTO page
    (protocol, symbol, next_key, num, version, asked_at, fetched_at, checked_at, superseded_at, behind,
        checksum, body)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_UPDATE = """
    UPDATE page SET checked_at = ?, superseded_at = ?, behind = ?, checksum = ?
    WHERE protocol = ? AND symbol = ? AND next_key = ? AND num = ? AND version = ?
"""
_DELETE = "DELETE FROM page WHERE id = ?"
# Checksums stand before the bodies: the bodies' own pages of the file are not read for them.
_SELECT_CHECKSUMS = "SELECT checksum FROM page WHERE protocol = ? AND symbol = ?"
_NEXT_VERSION = """
    SELECT COALESCE(MAX(version), 0) + 1 FROM page WHERE protocol = ? AND symbol = ? AND next_key = ? AND num = ?
"""
_SELECT_SEAL = "SELECT floor, digest FROM seal WHERE protocol = ? AND symbol = ?"
_SEAL = "INSERT OR REPLACE INTO seal (protocol, symbol, floor, digest) VALUES (?, ?, ?, ?)"
_DELETE_VERSION = "DELETE FROM page WHERE protocol = ? AND symbol = ? AND next_key = ? AND num = ? AND version = ?"
_SELECT_SUPERSEDED = "SELECT DISTINCT protocol, symbol FROM page WHERE superseded_at != 0 AND superseded_at < ?"
_T = TypeVar("_T")

# How many recorded pages a miss names.
_SHOWN = 5


class Version(NamedTuple):
    """One recorded version of a page.

    Times are milliseconds since 1970, UTC; `asked_at` is when the question was asked that brought this version.
    `after` is the timestamp of the row that stood right before the page when it was walked, 0 where that is not known:
    it is what joins pages whose cursors say nothing.
    """

    protocol: int
    symbol: str
    next_key: str
    num: int
    version: int
    asked_at: int
    fetched_at: int
    checked_at: int
    superseded_at: int
    after: int
    checksum: bytes
    body: bytes

    @classmethod
    def reply(cls, key: PageKey, body: bytes, asked_at: int, at: int, after: int) -> Version:
        """A reply that came `at`, not yet kept."""
        return cls(*_key(key), 0, asked_at, at, at, CURRENT, after, b"", body)

    @property
    def identity(self) -> tuple[int, str, str, int]:
        """Which page it is a version of."""
        return self.protocol, self.symbol, self.next_key, self.num

    @property
    def is_current(self) -> bool:
        """Whether OpenD has not sent other bytes since."""
        return self.superseded_at == CURRENT

    @property
    def is_sound(self) -> bool:
        """Whether the row is what was written."""
        return _is_sound(self)

    def signed(self) -> Version:
        """The same row with its checksum."""
        return self._replace(checksum=_digest(self))

    def checked(self, at: int, after: int) -> Version:
        """The row after OpenD sent the same bytes again."""
        return self._replace(checked_at=at, after=after or self.after).signed()

    def numbered(self, version: int) -> Version:
        """The reply as a version of its page."""
        return self._replace(version=version).signed()

    def superseded(self, at: int) -> Version:
        """The row after OpenD sent other bytes."""
        return self._replace(superseded_at=at).signed()


# A row as SQLite gives it: what `Version` is made of.
RawVersion: TypeAlias = tuple[Any, ...]
# Where a row has its symbol, its checksum, which covers all before it and the body, and its body.
_SYMBOL, _CHECKSUM, BODY = map(Version._fields.index, ("symbol", "checksum", "body"))


def _is_sound(row: RawVersion) -> bool:
    return bool(row[_CHECKSUM] == _digest(row))


def _digest(row: RawVersion) -> bytes:
    # repr separates fields and types without ambiguity, whatever a damaged row holds.
    digest = hashlib.blake2b(repr(row[:_CHECKSUM]).encode(errors="surrogatepass"), digest_size=_DIGEST_BYTES)
    digest.update(row[BODY] if isinstance(row[BODY], bytes) else b"")
    return digest.digest()


def _key(key: PageKey) -> tuple[int, str, str, int]:
    return key.call.proto_id, str(key.symbol), key.next_key, key.num


@dataclass(frozen=True, slots=True)
class Versions:
    """All that is recorded of a symbol.

    Attributes:
        sound: Every sound version of every page, as the file has it. Plain tuples, for there can be very many: the garbage
            collector soon leaves them alone, named ones never.
        damaged: RawVersion ids of those that are not what was written.
        floor: Nothing that was last checked before this moment may be joined to anything: something of that time is lost.
        is_whole: Whether nothing has been lost since `floor`: the seal over all rows fits.

    """

    sound: tuple[RawVersion, ...] = ()
    damaged: tuple[int, ...] = ()
    floor: int = 0
    is_whole: bool = True

    @property
    def rows(self) -> tuple[Version, ...]:
        """Every sound version of every page."""
        return tuple(map(Version._make, self.sound))


class DamagedPage(CacheCorrupt):
    """One row is damaged; the file as a whole may be sound."""


class Store:
    """The pages of one file. Every method can raise `CacheError`; what that means for a caller is the guard's to say."""

    def __init__(self, path: Path, *, may_write: bool = True) -> None:
        self.database = Database(path, LAYOUT, may_write=may_write)

    @property
    def path(self) -> Path:
        return self.database.path

    def recall(self, key: PageKey) -> Version | None:
        """The newest version of a page; `DamagedPage` if its row is damaged."""
        found = self._read(lambda connection: _current(connection, _key(key)), None)
        if found is not None and not found.is_sound:
            raise DamagedPage(
                f"The recorded {key} (next_key {key.next_key!r}) in {self.path} does not match its checksum."
            )
        return found

    def record(self, reply: Version, *, thorough: bool) -> Version:
        """Keep a reply; gives it as it was kept.

        `thorough`: something of this symbol was seen to be damaged. All that is recorded of it is read again, what is
        damaged deleted, and nothing from before this moment is joined any more: what was lost may have taken it back.
        """
        owner, identity, at = (reply.protocol, reply.symbol), reply.identity, reply.checked_at
        with self.database.writing() as connection:
            floor, is_sealed = _read_seal(connection, *owner)
            newest = _current(connection, identity)
            if thorough or not is_sealed or (newest is not None and not newest.is_sound):
                record = _read_symbol(connection, *owner)
                connection.executemany(_DELETE, ((damaged,) for damaged in record.damaged))
                floor = record.floor if record.is_whole else at
                newest = next((row for row in record.rows if row.identity == identity and row.is_current), None)
            if newest is not None and newest.body == reply.body and newest.fetched_at <= at:
                kept = newest.checked(at, reply.after)
                _update(connection, kept)
            else:
                if newest is not None:
                    _update(connection, newest.superseded(at))
                kept = reply.numbered(connection.execute(_NEXT_VERSION, identity).fetchone()[0])
                connection.execute(_INSERT, kept)
            # A floor of the future is of a clock that was set back since.
            _seal(connection, *owner, min(floor, at))
            return kept

    def add(self, record: Versions) -> None:
        """Take over all that another store has of a symbol."""
        with self.database.writing() as connection:
            rows = record.rows
            connection.executemany(_INSERT, rows)
            for protocol, symbol in {(row.protocol, row.symbol) for row in rows}:
                newest = max(row.checked_at for row in rows)
                _seal(connection, protocol, symbol, record.floor if record.is_whole else newest)

    def prune(self, before: int, choose: Callable[[Versions], Iterable[Version]]) -> int:
        """Delete the versions that are chosen of each symbol that has some superseded before a moment; gives how many.

        A symbol with damage is left alone. Each is written by itself: who records meanwhile waits for one.
        """
        deleted = 0
        with self.database.reading() as connection:
            owners = connection.execute(_SELECT_SUPERSEDED, (before,)).fetchall()
        for protocol, symbol in owners:
            with self.database.writing() as connection:
                record = _read_symbol(connection, protocol, symbol)
                chosen = [(*row.identity, row.version) for row in choose(record)] if record.is_whole else []
                if chosen:
                    connection.executemany(_DELETE_VERSION, chosen)
                    _seal(connection, protocol, symbol, record.floor)
                    deleted += len(chosen)
        with self.database.reading() as connection:
            connection.execute("VACUUM")
        return deleted

    def miss(self, key: PageKey) -> CacheMiss:
        """The error for a page that is not recorded: it says what is."""
        asked = (key.call.proto_id, str(key.symbol), _SHOWN + 1)
        rows = self._read(lambda connection: connection.execute(_SELECT_KEYS, asked).fetchall(), None)
        if rows is None:
            return CacheMiss(f"No {key} is recorded: there is no page cache at {self.path}. {_HOW_TO_RECORD}")
        if not rows:
            return CacheMiss(f"No {key} is recorded in {self.path}. {_HOW_TO_RECORD}")
        there = ", ".join(f"next_key {next_key!r} with num {num}" for next_key, num in rows[:_SHOWN])
        more = " and others" if len(rows) > _SHOWN else ""
        return CacheMiss(
            f"The page of {key} with next_key {key.next_key!r} and num {key.num} is not recorded in {self.path}; recorded are "
            f"{there}{more}. {_HOW_TO_RECORD}"
        )

    def symbol(self, protocol: int, symbol: str) -> Versions:
        """All that is recorded of a symbol."""
        return self._read_at_once(lambda connection: _read_symbol(connection, protocol, symbol), Versions())

    def symbols(self, protocol: int, market: str) -> list[str]:
        """The symbols of a market of which something is recorded, in order."""
        names = (protocol, f"{market}.", f"{market}/")  # "/" comes right after "."
        # Out of a damaged index a name may come twice, or out of order.
        return self._read(lambda connection: sorted({name for (name,) in connection.execute(_SELECT_NAMES, names)}), [])

    def records(self, protocol: int, symbols: Sequence[str]) -> list[Versions]:
        """All that is recorded of some symbols, each named once, as of one moment."""
        nothing = [Versions()] * len(symbols)
        return self._read_at_once(lambda connection: _read_symbols(connection, protocol, symbols), nothing)

    def stamp(self) -> Hashable:
        """Changes whenever the file does."""
        return self._read(lambda connection: (self.database.openings, *_changes(connection)), None)

    def close(self) -> None:
        self.database.close()

    def _read(self, use: Callable[[sqlite3.Connection], _T], nothing: _T) -> _T:
        """What a look into the file gives; `nothing` where there is none and none is made."""
        try:
            with self.database.reading() as connection:
                return use(connection)
        except NothingRecorded:
            return nothing

    def _read_at_once(self, use: Callable[[sqlite3.Connection], _T], nothing: _T) -> _T:
        """The same for several statements, which see one state of the file."""
        try:
            with self.database.snapshot() as connection:
                return use(connection)
        except NothingRecorded:
            return nothing


_HOW_TO_RECORD = "Ask for it once in mode online, with OpenD running, and it is recorded."


def _current(connection: sqlite3.Connection, identity: tuple[int, str, str, int]) -> Version | None:
    row = connection.execute(_SELECT_CURRENT, identity).fetchone()
    return Version._make(row) if row else None


def _read_symbols(connection: sqlite3.Connection, protocol: int, symbols: Sequence[str]) -> list[Versions]:
    asked = protocol, json.dumps(symbols)
    found: dict[str, list[RawVersion]] = {name: [] for name in symbols}
    for row in connection.execute(_SELECT_SYMBOLS, asked).fetchall():
        # A damaged row may have another name than the index, and a NUL in a damaged name ends it for SQLite in JSON.
        if row[_SYMBOL] in found:
            found[row[_SYMBOL]].append(row)
    seals = {name: seal for name, *seal in connection.execute(_SELECT_SEALS, asked).fetchall()}
    return [
        _symbol_record(connection, (protocol, name), rows, *seals.get(name, _UNSEALED)) for name, rows in found.items()
    ]


def _read_symbol(connection: sqlite3.Connection, protocol: int, symbol: str) -> Versions:
    owner = protocol, symbol
    found = [row[1:] for row in connection.execute(_SELECT_SYMBOL, owner).fetchall()]
    seal = connection.execute(_SELECT_SEAL, owner).fetchone() or _UNSEALED
    return _symbol_record(connection, owner, found, *seal)


def _symbol_record(
    connection: sqlite3.Connection, owner: tuple[int, str], found: Sequence[RawVersion], floor: int, digest: bytes
) -> Versions:
    sound, damaged = tuple(filter(_is_sound, found)), ()
    if len(sound) < len(found):
        again = connection.execute(_SELECT_SYMBOL, owner).fetchall()
        damaged = tuple(row[0] for row in again if not _is_sound(row[1:]))
    is_whole = not damaged and digest == _seal_digest(floor, [row[_CHECKSUM] for row in sound])
    return Versions(sound, damaged, floor if is_whole else 0, is_whole)


def _read_seal(connection: sqlite3.Connection, protocol: int, symbol: str) -> tuple[int, bool]:
    """From when on rows may be joined, and whether the rows' checksums are those that were there at the last writing."""
    floor, digest = connection.execute(_SELECT_SEAL, (protocol, symbol)).fetchone() or _UNSEALED
    return floor, digest == _seal_digest(floor, _checksums(connection, protocol, symbol))


def _seal(connection: sqlite3.Connection, protocol: int, symbol: str, floor: int) -> None:
    """Note what is there now, so that a row that is lost later is missed."""
    digest = _seal_digest(floor, _checksums(connection, protocol, symbol))
    connection.execute(_SEAL, (protocol, symbol, floor, digest))


def _checksums(connection: sqlite3.Connection, protocol: int, symbol: str) -> list[bytes]:
    found = connection.execute(_SELECT_CHECKSUMS, (protocol, symbol))
    return [checksum if isinstance(checksum, bytes) else b"damaged" for (checksum,) in found]


def _seal_digest(floor: int, checksums: Iterable[bytes]) -> bytes:
    digest = hashlib.blake2b(repr(floor).encode(), digest_size=_DIGEST_BYTES)
    for checksum in sorted(checksums):
        digest.update(checksum)
    return digest.digest()


# The seal of a symbol of which nothing is recorded.
_UNSEALED = (0, _seal_digest(0, ()))


def _changes(connection: sqlite3.Connection) -> tuple[int, int]:
    """Counts what other connections, and what this one, have written since it was opened."""
    return connection.execute("PRAGMA data_version").fetchone()[0], connection.total_changes


def _update(connection: sqlite3.Connection, row: Version) -> None:
    changed = (row.checked_at, row.superseded_at, row.after, row.checksum)
    connection.execute(_UPDATE, (*changed, row.protocol, row.symbol, row.next_key, row.num, row.version))
