"""The tables of the record's file, and the steps from one version of them to the next."""

from __future__ import annotations

import hashlib
import sqlite3
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

from opend_si.cache.database import Layout
from opend_si.cache.versions import Event, Seal, Version
from opend_si.system.home import PAGES_FILE
from opend_si.system.ours import OurFile

_VERSION_1 = """
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
        """
_VERSION_2 = """
    DROP TABLE claim;
    DROP TABLE seal;
    ALTER TABLE page RENAME TO page_1;
    CREATE TABLE page (
      id             INTEGER PRIMARY KEY,
      protocol       INTEGER NOT NULL,
      symbol         TEXT    NOT NULL,
      next_key       TEXT    NOT NULL,
      num            INTEGER NOT NULL,
      version        INTEGER NOT NULL,
      origin         TEXT    NOT NULL,
      behind         INTEGER NOT NULL,
      first_seq      INTEGER NOT NULL,
      fetched_at     INTEGER NOT NULL,
      checked_seq    INTEGER NOT NULL,
      checked_at     INTEGER NOT NULL,
      superseded_seq INTEGER NOT NULL,
      superseded_at  INTEGER NOT NULL,
      void_seq       INTEGER NOT NULL,
      void_at        INTEGER NOT NULL,
      sent           INTEGER NOT NULL,
      seen           BLOB    NOT NULL,
      checksum       BLOB    NOT NULL,
      body           BLOB    NOT NULL,
      UNIQUE (protocol, symbol, next_key, num, version)
    ) STRICT;
    CREATE TABLE past (
      protocol INTEGER NOT NULL,
      symbol   TEXT    NOT NULL,
      block    INTEGER NOT NULL,
      entries  INTEGER NOT NULL,
      checksum BLOB    NOT NULL,
      body     BLOB    NOT NULL,
      PRIMARY KEY (protocol, symbol, block)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE seal (
      protocol  INTEGER NOT NULL,
      symbol    TEXT    NOT NULL,
      seq       INTEGER NOT NULL,
      at        INTEGER NOT NULL,
      floor     INTEGER NOT NULL,
      is_judged INTEGER NOT NULL,
      past      BLOB    NOT NULL,
      summary   TEXT    NOT NULL,
      digest    BLOB    NOT NULL,
      PRIMARY KEY (protocol, symbol)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE sequence (id INTEGER PRIMARY KEY, seq INTEGER NOT NULL, at INTEGER NOT NULL, checksum BLOB NOT NULL) STRICT;
    CREATE TABLE step (seq INTEGER PRIMARY KEY, at INTEGER NOT NULL) STRICT
"""
# The bodies apart from what is known of them: who needs that alone reads one page of the file a symbol, not six.
_VERSION_3 = """
    ALTER TABLE page RENAME TO page_2;
    CREATE TABLE body (id INTEGER PRIMARY KEY, bytes BLOB NOT NULL) STRICT;
    CREATE TABLE page (
      protocol INTEGER NOT NULL, symbol TEXT NOT NULL, next_key TEXT NOT NULL, num INTEGER NOT NULL,
      version INTEGER NOT NULL, origin TEXT NOT NULL, behind INTEGER NOT NULL,
      first_seq INTEGER NOT NULL, fetched_at INTEGER NOT NULL,
      checked_seq INTEGER NOT NULL, checked_at INTEGER NOT NULL,
      superseded_seq INTEGER NOT NULL, superseded_at INTEGER NOT NULL,
      void_seq INTEGER NOT NULL, void_at INTEGER NOT NULL,
      sent INTEGER NOT NULL, seen BLOB NOT NULL, checksum BLOB NOT NULL, size INTEGER NOT NULL, body INTEGER NOT NULL,
      PRIMARY KEY (protocol, symbol, next_key, num, version)
    ) STRICT, WITHOUT ROWID;
    INSERT INTO body SELECT id, body FROM page_2;
    INSERT OR IGNORE INTO page SELECT protocol, symbol, next_key, num, version, origin, behind, first_seq, fetched_at,
      checked_seq, checked_at, superseded_seq, superseded_at, void_seq, void_at, sent, seen, checksum, length(body), id
      FROM page_2;
    DROP TABLE page_2
"""
# Who sent the pages of version 1: nobody else was told apart then. A step is history, and follows no later name.
_SENDER = "opend"
_SELECT_OLD = """
    SELECT protocol, symbol, next_key, num, version, asked_at, fetched_at, checked_at, superseded_at, behind, checksum, body
    FROM page_1 ORDER BY id
"""
_INSERT = """
    INSERT INTO page VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""


def _migrate_1(connection: sqlite3.Connection) -> None:
    """What version 1 holds, in the order that its row ids tell; its clocks say only when pages were checked again.

    Who of them is void was not written down then: the room of histories judges it as it reads.
    """
    seals = {
        (protocol, symbol): seal for protocol, symbol, *seal in connection.execute("SELECT * FROM seal").fetchall()
    }
    for statement in _VERSION_2.split(";"):
        connection.execute(statement)
    old = connection.execute(_SELECT_OLD).fetchall()
    sound = [row for row in old if row[-2] == _old_checksum(row)]
    first_seqs, checked_seqs = _number(sound)
    versions: dict[tuple[int, str], list[Version]] = {}
    following: dict[tuple[int, str, str, int], Event] = {}  # what superseded the version before
    for row, first, checked in reversed(list(zip(sound, first_seqs, checked_seqs, strict=True))):
        number, _, fetched_at, checked_at, superseded_at, behind, _, body = row[4:]
        identity = row[:4]
        superseded = following.get(identity, Event(first, superseded_at)) if superseded_at else Event(0, 0)
        following[identity] = Event(first, fetched_at)
        events = first, fetched_at, checked, checked_at if checked != first else fetched_at, *superseded, *Event(0, 0)
        version = Version._make((*identity, number, _SENDER, behind, *events, 0, b"", b"", body))
        versions.setdefault(identity[:2], []).append(version.signed())
    for owner, rows in versions.items():
        connection.executemany(_INSERT, rows)
        last = max(Event(row.checked_seq, row.checked_at) for row in rows)
        floor, digest = seals.get(owner, (0, b""))
        checksums = [row[-2] for row in old if (row[0], row[1]) == owner]
        is_whole = not floor and digest == _old_seal(floor, checksums) and len(checksums) == len(rows)
        seal = Seal(*last, 0 if is_whole else last.seq, 0, b"", "").over(row.checksum for row in rows)
        connection.execute("INSERT INTO seal VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", (*owner, *seal))
    connection.execute("DROP TABLE page_1")


def _number(rows: Sequence[tuple[Any, ...]]) -> tuple[list[int], list[int]]:
    """The numbers of the events at which the versions of a file came, and at which they were last checked."""
    order = list(accumulate((row[6] for row in rows), max))  # moments at which they came, as far as clocks agree
    events: list[tuple[int, int, int]] = [(place, 0, place) for place in range(len(rows))]
    for place, row in enumerate(rows):
        if row[7] > row[6]:
            newer = next((other for other in range(place + 1, len(rows)) if rows[other][:4] == row[:4]), len(rows))
            events.append((min(max(bisect_right(order, row[7]) - 1, place), newer - 1), 1, place))
    firsts, checks = [0] * len(rows), [0] * len(rows)
    for number, (_, kind, place) in enumerate(
        sorted(events, key=lambda event: (event[0], event[1], rows[event[2]][7])), 1
    ):
        checks[place] = number
        if kind == 0:
            firsts[place] = number
    return firsts, checks


def _old_checksum(row: Sequence[Any]) -> bytes:
    digest = hashlib.blake2b(repr(tuple(row[:-2])).encode(errors="surrogatepass"), digest_size=16)
    digest.update(row[-1])
    return digest.digest()


def _old_seal(floor: int, checksums: Sequence[bytes]) -> bytes:
    digest = hashlib.blake2b(repr(floor).encode(), digest_size=16)
    for checksum in sorted(checksums):
        digest.update(checksum)
    return digest.digest()


# "OPSI": marks the file as ours.
LAYOUT = Layout(
    OurFile("page cache", PAGES_FILE, named_by=("OPEND_SI_CACHE", "OPEND_SI_HOME")),
    0x4F505349,
    (_VERSION_1, _migrate_1, _VERSION_3),
)
