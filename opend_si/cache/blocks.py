"""The blocks of a symbol's past in the record's file: read, written, and grown by what leaves the present."""

from __future__ import annotations

import sqlite3
from bisect import bisect_left
from collections.abc import Sequence
from contextlib import suppress

from opend_si.cache import past
from opend_si.cache.past import Shares
from opend_si.cache.versions import Event, PastVersion, Version, Versions

_SELECT_BLOCKS = "SELECT block, checksum, body FROM past WHERE protocol = ? AND symbol = ? ORDER BY block"
_SELECT_LAST_BLOCK = """
    SELECT block, checksum, body FROM past WHERE protocol = ? AND symbol = ? ORDER BY block DESC LIMIT 1
"""
_SELECT_BLOCK_CHECKSUMS = "SELECT checksum FROM past WHERE protocol = ? AND symbol = ? ORDER BY block"
WRITE_BLOCK = """
    INSERT OR REPLACE INTO past (protocol, symbol, block, entries, checksum, body) VALUES (?, ?, ?, ?, ?, ?)
"""
_SELECT_BODY = """
    SELECT body FROM page WHERE protocol = ? AND symbol = ? AND next_key = ? AND num = ? AND version = ?
"""
_SELECT_PAGES = "SELECT DISTINCT next_key, num FROM page WHERE protocol = ? AND symbol = ?"
_SELECT_CURRENT = """
    SELECT protocol, symbol, next_key, num, version, origin, behind, first_seq, fetched_at, checked_seq, checked_at,
        superseded_seq, superseded_at, void_seq, void_at, sent, seen, checksum, body FROM page
    WHERE protocol = ? AND symbol = ? AND next_key = ? AND num = ? AND superseded_seq = 0 ORDER BY version DESC LIMIT 1
"""
_SELECT_SUPERSEDED = """
    SELECT protocol, symbol, next_key, num, version, origin, behind, first_seq, fetched_at, checked_seq, checked_at,
        superseded_seq, superseded_at, void_seq, void_at, sent, seen, checksum, body FROM page
    WHERE protocol = ? AND symbol = ? AND next_key = ? AND num = ? AND version < ? AND superseded_seq != 0
    ORDER BY version DESC LIMIT ?
"""
# How many of them the versions of a block are made from.
_OLDER = 3
_DELETE_VERSION = "DELETE FROM page WHERE protocol = ? AND symbol = ? AND next_key = ? AND num = ? AND version = ?"


def is_block(number: int, checksum: bytes, body: bytes) -> bool:
    """Whether a block is what was written."""
    return checksum == past.checksum(number, body)


def read_past(
    connection: sqlite3.Connection, present: Versions, protocol: int, symbol: str
) -> tuple[list[PastVersion], int]:
    """The versions of a symbol's past, and how many of its blocks are lost."""
    if not present.seal.past:
        return [], 0
    bodies = {past.name_of(row): row.body for row in present.rows}
    found: list[PastVersion] = []
    faults = 0
    # What a block is made from is of the present, or of a later block.
    for number, checksum, body in reversed(connection.execute(_SELECT_BLOCKS, (protocol, symbol)).fetchall()):
        try:
            if not is_block(number, checksum, body):
                raise past.Unreadable
            versions = past.read_block(protocol, symbol, body, bodies)
        except past.Unreadable:
            faults += 1
            continue
        faults += len(versions) < len(past.read_names(body)[0])
        bodies.update((past.name_of(version), version.body) for version, _ in versions)
        found = [*versions, *found]
    faults += not faults and past_digest(connection, protocol, symbol) != present.seal.past
    return found, faults


def current(connection: sqlite3.Connection, identity: tuple[int, str, str, int]) -> Version | None:
    """The newest version of a page, as the file has it."""
    row = connection.execute(_SELECT_CURRENT, identity).fetchone()
    return Version._make(row) if row else None


def leave(connection: sqlite3.Connection, leaving: Sequence[Version], event: Event) -> None:
    """Move versions from the present to the past."""
    owner = leaving[0].protocol, leaving[0].symbol
    number = 0
    versions: list[PastVersion] = []
    known: list[Shares] = []
    last = connection.execute(_SELECT_LAST_BLOCK, owner).fetchone()
    if last is not None:
        versions, known = _unfilled(connection, last, leaving)
        number = last[0] if versions else last[0] + 1
    for version in leaving:
        connection.execute(_DELETE_VERSION, (*version.identity, version.version))
    versions += (PastVersion(version, event) for version in sorted(leaving, key=lambda row: row.first_seq))
    write_blocks(connection, owner, number, versions, known)


def _unfilled(
    connection: sqlite3.Connection, block: tuple[int, bytes, bytes], leaving: Sequence[Version]
) -> tuple[list[PastVersion], list[Shares]]:
    """The versions of a block that has room for more, and what they share; none if it has not, or cannot be read."""
    protocol, symbol = leaving[0].protocol, leaving[0].symbol
    try:
        names, bases = past.read_names(block[2])
        is_full = len(block[2]) >= past.BLOCK_BYTES or len(names) >= past.BLOCK_VERSIONS
        if is_full or not is_block(*block):
            return [], []
        bodies = {past.name_of(version): version.body for version in leaving}
        for base in bases:
            row = connection.execute(_SELECT_BODY, (protocol, symbol, *base)).fetchone()
            bodies.update({base: row[0]} if row else {})
        versions, shares = past.read_to_grow(protocol, symbol, block[2], bodies)
        return (versions, shares) if len(versions) == len(names) else ([], [])
    except past.Unreadable:
        return [], []


def write_blocks(
    connection: sqlite3.Connection,
    owner: tuple[int, str],
    number: int,
    versions: Sequence[PastVersion],
    known: Sequence[Shares] = (),
) -> None:
    """Write versions, oldest first, as blocks.

    A page's are made from what is left of it in the present, and from the oldest of it in a later block; those of the
    last, from the nearest of the present.
    """
    keys = sorted(connection.execute(_SELECT_PAGES, owner).fetchall(), key=_order)
    later: dict[past.Page, Version] = {}
    for place in reversed(range(0, len(versions), past.BLOCK_VERSIONS)):
        own = versions[place : place + past.BLOCK_VERSIONS]
        newest = {past.page_of(version): version for version, _ in own}
        bases: dict[past.Page, list[Version]] = {}
        for page, version in newest.items():
            alike = [later[page]] if page in later else _nearest(connection, owner, page, keys)
            bases[page] = [*_superseded(connection, version), *alike]
        body = past.write_block(own, bases, known[place : place + len(own)])
        block = number + place // past.BLOCK_VERSIONS
        connection.execute(WRITE_BLOCK, (*owner, block, len(own), past.checksum(block, body), body))
        later.update({past.page_of(version): version for version, _ in reversed(own)})


def _superseded(connection: sqlite3.Connection, version: Version) -> list[Version]:
    """The last versions of a page before one that the present needs yet: rows that a newer page lacks are in them."""
    asked = (*version.identity, version.version, _OLDER)
    found = map(Version._make, connection.execute(_SELECT_SUPERSEDED, asked).fetchall())
    return [older for older in found if older.is_sound][::-1]


def _nearest(
    connection: sqlite3.Connection, owner: tuple[int, str], page: past.Page, keys: Sequence[past.Page]
) -> list[Version]:
    """The pages of the present that are most like a page: those whose cursors stand beside its own, itself the last."""
    place = bisect_left(keys, _order(page), key=_order)
    found = (current(connection, (*owner, *other)) for other in keys[max(place - 1, 0) : place + 1])
    return [version for version in found if version is not None and version.is_sound]


def _order(page: past.Page) -> tuple[bool, int, str, int]:
    """Cursors as numbers, the newest page above all."""
    next_key, num = page
    return not next_key, len(next_key), next_key, num


def past_digest(connection: sqlite3.Connection, protocol: int, symbol: str) -> bytes:
    """A digest over all blocks of a symbol."""
    found = connection.execute(_SELECT_BLOCK_CHECKSUMS, (protocol, symbol))
    return past.digest(checksum for (checksum,) in found)


def newest_number(connection: sqlite3.Connection, identity: tuple[int, str, str, int]) -> int:
    """The highest number of a page's versions in the past, 0 for none."""
    newest = 0
    for _, _, body in connection.execute(_SELECT_BLOCKS, identity[:2]).fetchall():
        with suppress(past.Unreadable):
            names, _ = past.read_names(body)
            newest = max(newest, *(version for *page, version in names if page == [*identity[2:]]), 0)
    return newest
