"""Recorded pages: each reply's bytes as received, under the key they were asked with.

A reply that differs from the one before is a new version beside it; one that is equal only moves `checked_at`. The
checksum of a row covers all of it: key, version, times and bytes. A row that a later version has replaced says so
itself (`superseded_at`), so a damaged index can hide a page but never bring an old value back.
"""

from __future__ import annotations

import hashlib
import sqlite3
import time
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from opend_si.cache.database import Database, Layout
from opend_si.errors import CacheCorrupt, CacheMiss
from opend_si.pages import PageKey

# "OPSI": marks the file as ours.
LAYOUT = Layout(
    "page cache",
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
        ) STRICT, WITHOUT ROWID
        """,
    ),
)
# superseded_at of the newest version.
CURRENT = 0
_DIGEST_BYTES = 16

# Statements are written out in full: nothing is ever put together from text that came from outside.
_SELECT_CURRENT = """
    SELECT protocol, symbol, next_key, num, version, fetched_at, checked_at, superseded_at, behind, checksum, body FROM page
    WHERE protocol = ? AND symbol = ? AND next_key = ? AND num = ? AND superseded_at = 0 ORDER BY version DESC LIMIT 1
"""
_SELECT_ALL = """
    SELECT protocol, symbol, next_key, num, version, fetched_at, checked_at, superseded_at, behind, checksum, body FROM page
    ORDER BY protocol, symbol, next_key, num, version
"""
_SELECT_SYMBOL = """
    SELECT protocol, symbol, next_key, num, version, fetched_at, checked_at, superseded_at, behind, checksum, body FROM page
    WHERE protocol = ? AND symbol = ?
"""
_SELECT_SYMBOLS = "SELECT DISTINCT symbol FROM page WHERE protocol = ? ORDER BY symbol"
_SELECT_LAST_VERSION = """
    SELECT max(version) FROM page WHERE protocol = ? AND symbol = ? AND next_key = ? AND num = ?
"""
_SELECT_KEYS = """
    SELECT next_key, num FROM page WHERE protocol = ? AND symbol = ? AND superseded_at = 0
    ORDER BY next_key, num LIMIT ?
"""
_INSERT = """
    INSERT INTO page
    (protocol, symbol, next_key, num, version, fetched_at, checked_at, superseded_at, behind, checksum, body)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_UPDATE = """
    UPDATE page SET checked_at = ?, superseded_at = ?, behind = ?, checksum = ?
    WHERE protocol = ? AND symbol = ? AND next_key = ? AND num = ? AND version = ?
"""
_DELETE = "DELETE FROM page WHERE protocol = ? AND symbol = ? AND next_key = ? AND num = ? AND version = ?"
_SELECT_CLAIM = """
    SELECT owner, taken_at, seconds FROM claim WHERE protocol = ? AND symbol = ? AND next_key = ? AND num = ?
"""
_CLAIM = """
    INSERT OR REPLACE INTO claim (protocol, symbol, next_key, num, owner, taken_at, seconds)
    VALUES (?, ?, ?, ?, ?, ?, ?)
"""
_RELEASE = "DELETE FROM claim WHERE protocol = ? AND symbol = ? AND next_key = ? AND num = ? AND owner = ?"
# How many recorded pages a miss names.
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Recorded:
    """One recorded version of a page.

    Times are milliseconds since 1970, UTC. `behind` is the timestamp of the row that stood right before the page when it
    was walked, 0 where that is not known: it is what joins pages whose cursors say nothing.
    """

    protocol: int
    symbol: str
    next_key: str
    num: int
    version: int
    fetched_at: int
    checked_at: int
    superseded_at: int
    behind: int
    checksum: bytes
    body: bytes

    def values(self) -> tuple[object, ...]:
        return tuple(getattr(self, name) for name in self.__slots__)

    @property
    def is_sound(self) -> bool:
        """Whether the row is what was written."""
        return self.checksum == self._digest()

    def signed(self) -> Recorded:
        """The same row with its checksum."""
        return self._with(checksum=self._digest())

    def checked(self, at: int, behind: int) -> Recorded:
        """The row after OpenD sent the same bytes again."""
        return self._with(checked_at=at, behind=behind or self.behind).signed()

    def superseded(self, at: int) -> Recorded:
        """The row after OpenD sent other bytes."""
        return self._with(superseded_at=at).signed()

    def _with(self, **changes: object) -> Recorded:
        return Recorded(**{**{name: getattr(self, name) for name in self.__slots__}, **changes})

    def _digest(self) -> bytes:
        digest = hashlib.blake2b(digest_size=_DIGEST_BYTES)
        # repr separates fields and types without ambiguity, whatever a damaged row holds.
        digest.update(
            repr(
                (
                    *(self.protocol, self.symbol, self.next_key, self.num),
                    *(self.version, self.fetched_at, self.checked_at, self.superseded_at, self.behind),
                )
            ).encode(errors="surrogatepass")
        )
        digest.update(self.body if isinstance(self.body, bytes) else b"")
        return digest.digest()


def _key(key: PageKey) -> tuple[int, str, str, int]:
    return key.call.proto_id, str(key.symbol), key.next_key, key.num


class DamagedPage(CacheCorrupt):
    """One row is damaged; the file as a whole may be sound."""


class Store:
    """The pages of one file. Every method can raise `CacheError`; what that means for a caller is the guard's to say."""

    def __init__(self, path: Path, *, may_write: bool = True) -> None:
        self.database = Database(path, LAYOUT, may_write=may_write)
        self._may_write = may_write

    @property
    def path(self) -> Path:
        return self.database.path

    def recall(self, key: PageKey) -> Recorded | None:
        """The newest version of a page; `CacheCorrupt` if its row is damaged."""
        if not self._may_write and self._is_absent():
            return None
        with self.database.reading() as connection:
            found = _current(connection, _key(key))
        if found is not None and not found.is_sound:
            raise DamagedPage(
                f"The recorded {key} (next_key {key.next_key!r}) in {self.path} does not match its checksum."
            )
        return found

    def record(self, key: PageKey, body: bytes, at: int, behind: int = 0) -> Recorded:
        """Keep a reply that came `at`. `behind`: the timestamp of the row before the page, 0 if it is not known."""
        identity = _key(key)
        with self.database.writing() as connection:
            newest = _current(connection, identity)
            if newest is not None and not newest.is_sound:
                connection.execute(_DELETE, (*identity, newest.version))
                newest = None
            if newest is not None and newest.body == body:
                row = newest.checked(max(at, newest.checked_at), behind)
                _update(connection, row)
                return row
            if newest is not None:
                _update(connection, newest.superseded(at))
            last = connection.execute(_SELECT_LAST_VERSION, identity).fetchone()[0]
            row = Recorded(*identity, (last or 0) + 1, at, at, CURRENT, behind, b"", body).signed()
            connection.execute(_INSERT, row.values())
            return row

    def add(self, rows: Iterable[Recorded]) -> None:
        """Take over rows as they are, from another store."""
        with self.database.writing() as connection:
            connection.executemany(_INSERT, (row.values() for row in rows))

    def claim(self, key: PageKey, owner: str, seconds: float) -> bool:
        """Take or renew the right to fetch a page, for `seconds` from now. False: another has it."""
        identity = _key(key)
        with self.database.writing() as connection:
            now = time.monotonic()  # read under the lock: waiting for it may have taken long
            held = connection.execute(_SELECT_CLAIM, identity).fetchone()
            # A clock that stands before taken_at was restarted with the machine.
            if held is not None and held[0] != owner and 0 <= now - held[1] < held[2]:
                return False
            connection.execute(_CLAIM, (*identity, owner, now, seconds))
            return True

    def release(self, key: PageKey, owner: str) -> None:
        """Give the right back."""
        with self.database.writing() as connection:
            connection.execute(_RELEASE, (*_key(key), owner))

    def miss(self, key: PageKey) -> CacheMiss:
        """The error for a page that is not recorded: it says what is."""
        if self._is_absent():
            return CacheMiss(f"No {key} is recorded: there is no page cache at {self.path}. {_HOW_TO_RECORD}")
        with self.database.reading() as connection:
            rows = connection.execute(_SELECT_KEYS, (key.call.proto_id, str(key.symbol), _SHOWN + 1)).fetchall()
        if not rows:
            return CacheMiss(f"No {key} is recorded in {self.path}. {_HOW_TO_RECORD}")
        there = ", ".join(f"next_key {next_key!r} with num {num}" for next_key, num in rows[:_SHOWN])
        more = " and others" if len(rows) > _SHOWN else ""
        return CacheMiss(
            f"The page of {key} with next_key {key.next_key!r} and num {key.num} is not recorded in {self.path}; recorded are "
            f"{there}{more}. {_HOW_TO_RECORD}"
        )

    def versions(self, protocol: int, symbol: str) -> list[Recorded]:
        """Every version of every page of a symbol; damaged ones too."""
        if not self._may_write and self._is_absent():
            return []
        with self.database.reading() as connection:
            return [Recorded(*row) for row in connection.execute(_SELECT_SYMBOL, (protocol, symbol))]

    def symbols(self, protocol: int) -> list[str]:
        """Every symbol with recorded pages."""
        if not self._may_write and self._is_absent():
            return []
        with self.database.reading() as connection:
            return [row[0] for row in connection.execute(_SELECT_SYMBOLS, (protocol,))]

    def stamp(self) -> Hashable:
        """Changes whenever the file does."""
        if not self._may_write and self._is_absent():
            return "absent"
        with self.database.reading() as connection:
            other_writers = connection.execute("PRAGMA data_version").fetchone()[0]
            return id(connection), other_writers, connection.total_changes

    def rows(self) -> Iterator[Recorded]:
        """Every version of every page, by key; damaged ones too."""
        with self.database.reading() as connection:
            for row in connection.execute(_SELECT_ALL):
                yield Recorded(*row)

    def close(self) -> None:
        self.database.close()

    def _is_absent(self) -> bool:
        """Whether there is no file, or one in which nothing has been written yet."""
        try:
            return self.path.stat().st_size == 0
        except FileNotFoundError:
            return True


_HOW_TO_RECORD = "Ask for it once in mode online, with OpenD running, and it is recorded."


def _current(connection: sqlite3.Connection, identity: tuple[int, str, str, int]) -> Recorded | None:
    row = connection.execute(_SELECT_CURRENT, identity).fetchone()
    return Recorded(*row) if row else None


def _update(connection: sqlite3.Connection, row: Recorded) -> None:
    changed = (row.checked_at, row.superseded_at, row.behind, row.checksum)
    connection.execute(_UPDATE, (*changed, row.protocol, row.symbol, row.next_key, row.num, row.version))
