"""The blocks of a symbol's past in the record's file: read, written, and grown by what leaves the present."""

from __future__ import annotations

import sqlite3
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from contextlib import suppress
from types import MappingProxyType

from opend_si.cache import past
from opend_si.cache.versions import Event, PastVersion, Version, Versions

_SELECT_BLOCKS = "SELECT block, checksum, body FROM past WHERE protocol = ? AND symbol = ? ORDER BY block"
_SELECT_LAST_BLOCKS = """
    SELECT block, checksum, body FROM past WHERE protocol = ? AND symbol = ? ORDER BY block DESC LIMIT 2
"""
_SELECT_BLOCK_CHECKSUMS = "SELECT checksum FROM past WHERE protocol = ? AND symbol = ? ORDER BY block"
WRITE_BLOCK = """
    INSERT OR REPLACE INTO past (protocol, symbol, block, entries, checksum, body) VALUES (?, ?, ?, ?, ?, ?)
"""
_DELETE_BLOCK = "DELETE FROM past WHERE protocol = ? AND symbol = ? AND block = ?"
_SELECT_BODY = """
    SELECT bytes FROM page JOIN body ON id = body
    WHERE protocol = ? AND symbol = ? AND next_key = ? AND num = ? AND version = ?
"""
_SELECT_PAGES = "SELECT DISTINCT next_key, num FROM page WHERE protocol = ? AND symbol = ?"
_SELECT_CURRENT = """
    SELECT protocol, symbol, next_key, num, version, origin, behind, first_seq, fetched_at, checked_seq, checked_at,
        superseded_seq, superseded_at, void_seq, void_at, sent, seen, checksum, bytes
    FROM page LEFT JOIN body ON id = body
    WHERE protocol = ? AND symbol = ? AND next_key = ? AND num = ? AND superseded_seq = 0 ORDER BY version DESC LIMIT 1
"""
_SELECT_SUPERSEDED = """
    SELECT protocol, symbol, next_key, num, version, origin, behind, first_seq, fetched_at, checked_seq, checked_at,
        superseded_seq, superseded_at, void_seq, void_at, sent, seen, checksum, bytes
    FROM page LEFT JOIN body ON id = body
    WHERE protocol = ? AND symbol = ? AND next_key = ? AND num = ? AND version < ? AND superseded_seq != 0
    ORDER BY version DESC LIMIT ?
"""
# A block: its number, its checksum, and what it holds.
_Block = tuple[int, bytes, bytes]
# How many of them the versions of a block are made from.
_OLDER = 3
_DELETE_BODY = """
    DELETE FROM body WHERE id =
        (SELECT body FROM page WHERE protocol = ? AND symbol = ? AND next_key = ? AND num = ? AND version = ?)
"""
# What is damaged may stand where its key is not looked for: all of the symbol is looked through.
_SELECT_NAMED = (
    "SELECT body FROM page WHERE protocol = ? AND symbol = ? AND +next_key = ? AND +num = ? AND +version = ?"
)
_DELETE_DAMAGED = "DELETE FROM page WHERE protocol = ? AND symbol = ? AND +next_key = ? AND +num = ? AND +version = ?"
_DELETE_UNNAMED = "DELETE FROM body WHERE id = ? AND id NOT IN (SELECT body FROM page)"
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
            versions = past.read(protocol, symbol, body, bodies)
        except past.Unreadable:
            faults += 1
            continue
        faults += len(versions) < len(past.read_names(body))
        bodies.update((past.name_of(version), version.body) for version, _ in versions)
        found = [*versions, *found]
    faults += not faults and past_digest(connection, protocol, symbol) != present.seal.past
    return found, faults


def current(connection: sqlite3.Connection, identity: tuple[int, str, str, int]) -> Version | None:
    """The newest version of a page, as the file has it."""
    row = connection.execute(_SELECT_CURRENT, identity).fetchone()
    return Version._make(row) if row else None


def leave(connection: sqlite3.Connection, leaving: Sequence[Version], event: Event) -> None:
    """Write versions that were deleted from the present into the past."""
    owner = leaving[0].protocol, leaving[0].symbol
    versions = [PastVersion(version, event) for version in sorted(leaving, key=lambda row: row.first_seq)]
    last = [*connection.execute(_SELECT_LAST_BLOCKS, owner).fetchall()]
    number = last[0][0] + 1 if last else 0
    with suppress(past.Unreadable):
        if last and is_block(*last[0]):
            if past.is_open(last[0][2]):
                _grow(connection, owner, last[0], versions)
                return
            if len(last) > 1 and is_block(*last[1]) and past.may_join(last[1][2], last[0][2]):
                _join(connection, owner, last[1], last[0], leaving)
    write_blocks(connection, owner, number, versions)


def _grow(
    connection: sqlite3.Connection,
    owner: tuple[int, str],
    block: _Block,
    versions: Sequence[PastVersion],
    bases: Sequence[Version] = (),
) -> None:
    """Add versions to a block."""
    number, _, body = block
    newest = {past.page_of(version): version.version for version, _ in versions}
    grown = past.write(versions, [*bases, *_alike(connection, owner, newest)], body)
    _write_block(connection, owner, number, len(past.read_names(body)) + len(versions), grown)


def _join(
    connection: sqlite3.Connection, owner: tuple[int, str], block: _Block, last: _Block, leaving: Sequence[Version]
) -> None:
    """Make the last block a part of the one before it. What is `leaving` stands in a later block from now on."""
    bodies = {past.name_of(version): version.body for version in leaving}
    for name in past.read_bases(last[2]):
        row = connection.execute(_SELECT_BODY, (*owner, *name)).fetchone()
        bodies.update({name: row[0]} if row else {})
    versions = past.read(*owner, last[2], bodies)
    if len(versions) == len(past.read_names(last[2])):
        connection.execute(_DELETE_BLOCK, (*owner, last[0]))  # first of all: the other takes its place in the file
        _grow(connection, owner, block, versions, leaving)


def delete(connection: sqlite3.Connection, version: tuple[int, str, str, int, int]) -> None:
    """Delete a sound version of the present."""
    connection.execute(_DELETE_BODY, version)
    connection.execute(_DELETE_VERSION, version)


def delete_damaged(connection: sqlite3.Connection, version: tuple[int, str, str, int, int]) -> None:
    """Delete a damaged version of the present; a body that it names may be another one's."""
    named = connection.execute(_SELECT_NAMED, version).fetchone()
    connection.execute(_DELETE_DAMAGED, version)
    connection.execute(_DELETE_UNNAMED, named or (None,))


def write_blocks(
    connection: sqlite3.Connection, owner: tuple[int, str], number: int, versions: Sequence[PastVersion]
) -> None:
    """Write versions, oldest first, as blocks.

    A page's are made from what is left of it in the present, and from the oldest of it in a later block; those of the
    last, from the nearest of the present.
    """
    later: dict[past.Page, Version] = {}
    for place in reversed(range(0, len(versions), past.MOST_VERSIONS)):
        own = versions[place : place + past.MOST_VERSIONS]
        newest = {past.page_of(version): version.version for version, _ in own}
        body = past.write(own, _alike(connection, owner, newest, later))
        _write_block(connection, owner, number + place // past.MOST_VERSIONS, len(own), body)
        later.update({past.page_of(version): version for version, _ in reversed(own)})


def _write_block(
    connection: sqlite3.Connection, owner: tuple[int, str], number: int, entries: int, body: bytes
) -> None:
    connection.execute(WRITE_BLOCK, (*owner, number, entries, past.checksum(number, body), body))


def _alike(
    connection: sqlite3.Connection,
    owner: tuple[int, str],
    newest: Mapping[past.Page, int],
    later: Mapping[past.Page, Version] = MappingProxyType({}),
) -> list[Version]:
    """What versions of pages are to be made from, the best one first; `newest`: the number of the last of each.

    `later` has the oldest of a page in a later block.
    """
    keys = sorted(connection.execute(_SELECT_PAGES, owner).fetchall(), key=_order)
    found: dict[past.Name, Version] = {}
    for page, number in newest.items():
        # The last that the present still needs: rows that a newer page lacks are in them.
        rows = connection.execute(_SELECT_SUPERSEDED, (*owner, *page, number, _OLDER)).fetchall()
        older = [version for version in map(Version._make, rows) if version.is_sound]
        alike = [*([later[page]] if page in later else []), *_nearest(connection, owner, page, keys), *older]
        found.update((past.name_of(version), version) for version in alike)
    return list(found.values())


def _nearest(
    connection: sqlite3.Connection, owner: tuple[int, str], page: past.Page, keys: Sequence[past.Page]
) -> list[Version]:
    """The pages of the present that are most like a page: itself, and those whose cursors stand beside its own."""
    place = bisect_left(keys, _order(page), key=_order)
    found = (current(connection, (*owner, *other)) for other in reversed(keys[max(place - 1, 0) : place + 1]))
    return [version for version in found if version is not None and version.is_sound]


def _order(page: past.Page) -> tuple[bool, int, str, int]:
    """Cursors as numbers, the newest page above all."""
    next_key, num = page
    return not next_key, len(next_key), next_key, num


def past_digest(connection: sqlite3.Connection, protocol: int, symbol: str) -> bytes:
    """A digest over all blocks of a symbol."""
    found = connection.execute(_SELECT_BLOCK_CHECKSUMS, (protocol, symbol)).fetchall()
    return past.digest(checksum for (checksum,) in found)


def newest_number(connection: sqlite3.Connection, identity: tuple[int, str, str, int], digest: bytes) -> int | None:
    """The highest number of a page's versions in the past, 0 for none; None where some of it is lost."""
    if past_digest(connection, *identity[:2]) != digest:
        return None
    newest = 0
    for block in connection.execute(_SELECT_BLOCKS, identity[:2]).fetchall():
        try:
            if not is_block(*block):
                return None
            names = past.read_names(block[2])
        except past.Unreadable:
            return None
        newest = max(newest, *(version for *page, version in names if page == [*identity[2:]]), 0)
    return newest
