"""The blocks of a symbol's past in the record's file: read, written, and grown by what leaves the present."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import suppress

from opend_si.cache import past
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
        bodies.update((past.name_of(version), version.body) for version, _ in versions)
        found = [*versions, *found]
    faults += not faults and past_digest(connection, protocol, symbol) != present.seal.past
    return found, faults


def leave(
    connection: sqlite3.Connection,
    leaving: Sequence[Version],
    event: Event,
    current: Callable[[sqlite3.Connection, tuple[int, str, str, int]], Version | None],
) -> None:
    """Move versions from the present to the past; they are made from what is current of the page of the last one."""
    owner = leaving[0].protocol, leaving[0].symbol
    versions = [PastVersion(version, event) for version in sorted(leaving, key=lambda row: row.first_seq)]
    number = 0
    last = connection.execute(_SELECT_LAST_BLOCK, owner).fetchone()
    if last is not None:
        number = last[0] + 1
        kept = _unfilled(connection, last, leaving)
        if kept:
            number, versions = last[0], [*kept, *versions]
    for version in leaving:
        connection.execute(_DELETE_VERSION, (*version.identity, version.version))
    base = current(connection, versions[-1].version.identity)
    write_blocks(connection, owner, number, versions, base if base is not None and base.is_sound else None)


def _unfilled(
    connection: sqlite3.Connection, block: tuple[int, bytes, bytes], leaving: Sequence[Version]
) -> list[PastVersion]:
    """The versions of a block that has room for more, none if it has not, or cannot be read."""
    protocol, symbol = leaving[0].protocol, leaving[0].symbol
    try:
        names, base = past.read_names(block[2])
        if not is_block(*block) or len(names) >= past.BLOCK_VERSIONS:
            return []
        bodies = {past.name_of(version): version.body for version in leaving}
        if base is not None and base not in bodies:
            row = connection.execute(_SELECT_BODY, (protocol, symbol, *base)).fetchone()
            bodies.update({base: row[0]} if row else {})
        return past.read_block(protocol, symbol, block[2], bodies)
    except past.Unreadable:
        return []


def write_blocks(
    connection: sqlite3.Connection,
    owner: tuple[int, str],
    number: int,
    versions: Sequence[PastVersion],
    base: Version | None,
) -> None:
    """Write versions, oldest first, as blocks; all but the last are made from the oldest of the block after them."""
    for place in range(0, len(versions), past.BLOCK_VERSIONS):
        own, rest = versions[place : place + past.BLOCK_VERSIONS], versions[place + past.BLOCK_VERSIONS :]
        _write_block(connection, owner[0], owner[1], number, own, rest[0].version if rest else base)
        number += 1


def _write_block(
    connection: sqlite3.Connection,
    protocol: int,
    symbol: str,
    number: int,
    versions: Sequence[PastVersion],
    base: Version | None,
) -> None:
    body = past.write_block(versions, base)
    connection.execute(WRITE_BLOCK, (protocol, symbol, number, len(versions), past.checksum(number, body), body))


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
