"""The record in view: how much there is of each symbol and in all, from when, from whom, and the newest pages.

What stands beside a symbol's seal tells it, and sums in SQL, without a reply being read. Of symbols whose seal does
not fit what is there, or whose history is not whole, the pages are read.

What is checked of the others is the seal: over the checksums of the pages, and over those of the past's blocks.
Whether each page is what its checksum says is not: for that all of it has to be read.

Symbols are read some at a time, each lot in one short transaction: who records meanwhile hardly waits.
"""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeAlias

from opend_si.cache import past
from opend_si.cache.blocks import is_block
from opend_si.cache.reading import columns_files, file_size, opened, seals_and_checksums
from opend_si.cache.store import Store
from opend_si.cache.versions import UNSEALED, Seal, Version, Versions
from opend_si.dates import FIRST, LAST, day_of, moment
from opend_si.errors import CacheCorrupt, ShortInterestError
from opend_si.history.statements import BOTTOM
from opend_si.history.symbol import Symbols, noted_beside
from opend_si.history.walk import Walk, recorded_walk
from opend_si.pages import SIMULATOR, Content, PageKey
from opend_si.pages.named import BY_PROTOCOL, call_of_protocol
from opend_si.system.sharing import shared_with

# Symbols of a lot; of one of which pages are read, too.
_LOT, _LOT_OF_FIRST_PAGES = 250, 500
# A look-up in the index of the pages' keys, however long the list of symbols is.
_SELECT_SUMS = """
    SELECT protocol, symbol, count(*), sum(superseded_seq = 0), sum(size), min(fetched_at), max(fetched_at),
        max(origin = 'simulator'), max(CASE WHEN void_seq != 0 THEN next_key = '' AND superseded_seq = 0 ELSE FALSE END),
        COALESCE(CAST(group_concat(checksum) AS BLOB), x'')
    FROM page WHERE (protocol, symbol) > (?, ?) GROUP BY protocol, symbol ORDER BY protocol, symbol LIMIT ?
"""
_SELECT_SEALS = """
    SELECT protocol, symbol, seq, at, floor, is_judged, past, summary, digest FROM seal
    WHERE (protocol, symbol) > (?, ?) AND (protocol, symbol) <= (?, ?)
"""
_SELECT_BLOCKS = """
    SELECT protocol, symbol, block, entries, checksum, body FROM past
    WHERE (protocol, symbol) > (?, ?) AND (protocol, symbol) <= (?, ?) ORDER BY protocol, symbol, block
"""
# Of some symbols, as a JSON array.
_SELECT_FIRST_PAGES = """
    SELECT protocol, symbol, next_key, num, version, origin, behind, first_seq, fetched_at, checked_seq, checked_at,
        superseded_seq, superseded_at, void_seq, void_at, sent, seen, checksum, bytes
    FROM page LEFT JOIN body ON id = body
    WHERE protocol = ? AND symbol IN (SELECT value FROM json_each(?)) AND next_key = '' AND superseded_seq = 0
"""
# Before every name: protocols are whole numbers.
_BEFORE_ALL = -math.inf, ""
# Number, versions, checksum and body of a block.
_Block: TypeAlias = tuple[int, int, bytes, bytes]


# The record in all ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class CacheInfo:
    """What a page cache holds.

    Attributes:
        path: The file.
        bytes: Its size.
        symbols: How many symbols have pages.
        pages: How many pages there are, in their newest version.
        versions: How many versions there are in all.
        rows: How many different rows (symbol and date) they hold.
        body_bytes: Size of all replies as received.
        simulated: How many of the symbols have made-up rows, of a simulator.
        oldest, newest: When the first and the last version came; None for an empty cache.

    """

    path: Path
    bytes: int
    symbols: int
    pages: int
    versions: int
    rows: int
    body_bytes: int
    simulated: int
    oldest: datetime | None
    newest: datetime | None

    @property
    def shared_with(self) -> str | None:
        """The group that it is shared with; None: it is its owner's alone, or the system knows no groups."""
        return shared_with(self.path)

    @property
    def columns(self) -> dict[str, int]:
        """The files of columns beside it, from which panels are read, and their sizes."""
        sizes: dict[str, int] = {}
        for file in columns_files(self.path):
            with suppress(FileNotFoundError):  # it can be deleted at any time
                sizes[str(file)] = file.stat().st_size
        return sizes


def info(path: Path, *, check: bool = False) -> CacheInfo:
    """Sum up a page cache. Each symbol is counted as of one moment; what is recorded meanwhile may be counted or not.

    Where a symbol's seal fits what stands below it, that is counted, and no reply is read: a page that was damaged
    under its checksum is counted like any other. `check` reads every page; damaged ones then count as versions only.
    """
    sums: list[_Sums] = []
    with opened(path) as store:
        for tally in _tallies(store):
            told = None if check else _noted(tally)
            sums.append(_read_sums(store, tally.protocol, tally.symbol) if told is None else told)
    moments = [moment for told in sums for moment in told.moments]
    return CacheInfo(
        path=path,
        bytes=file_size(path),
        symbols=len({told.symbol for told in sums if told.pages}),  # one may have records of several kinds
        pages=sum(told.pages for told in sums),
        versions=sum(told.versions for told in sums),
        rows=sum(told.rows for told in sums),
        body_bytes=sum(told.body_bytes for told in sums),
        simulated=len({told.symbol for told in sums if told.is_simulated}),
        oldest=moment(min(moments)) if moments else None,
        newest=moment(max(moments)) if moments else None,
    )


class _Sums(NamedTuple):
    """What one record adds up to: `CacheInfo` has what each is. `moments` are when versions came."""

    symbol: str
    pages: int
    versions: int
    rows: int
    body_bytes: int
    is_simulated: bool
    moments: tuple[int, ...]


def _noted(tally: _Tally) -> _Sums | None:
    """What stands beside a symbol's seal and in its blocks; None where its replies have to be read."""
    if not tally.is_sealed or not tally.seal.summary:
        return None
    versions, body_bytes, moments = tally.versions, tally.body_bytes, (tally.oldest, tally.newest)
    try:
        for number, _, checksum, body in tally.blocks:
            if not is_block(number, checksum, body):
                return None
            more, more_bytes, *came = past.read_sizes(body)
            versions, body_bytes = versions + more, body_bytes + more_bytes
            moments = min(moments[0], *came), max(moments[1], *came)
        is_damaged = not FIRST <= moments[0] <= moments[1] <= LAST
    except (past.Unreadable, TypeError):
        is_damaged = True
    if is_damaged:  # under a checksum
        return None
    rows = int(noted_beside(tally.seal)["rows"])
    return _Sums(tally.symbol, tally.pages, versions, rows, body_bytes, tally.is_simulated, moments)


def _read_sums(store: Store, protocol: int, symbol: str) -> _Sums:
    """What a symbol's replies add up to. Damaged pages count as versions only."""

    def read(_: sqlite3.Connection) -> _Sums:
        record = store.symbol(protocol, symbol)
        held = [*record.rows, *(version for version, _ in store.past(protocol, symbol, record)[0])]
        return _Sums(
            symbol,
            sum(row.is_current for row in record.rows),
            len(held) + len(record.damaged),
            _count_rows(record),
            sum(len(row.body) for row in held),
            any(row.origin == SIMULATOR for row in record.rows),
            tuple(row.fetched_at for row in held),
        )

    return store.database.snapshot(read)


def _count_rows(record: Versions) -> int:
    """How many different rows a symbol has: as noted beside its seal, or counted."""
    if record.is_whole and record.seal.summary:
        return int(noted_beside(record.seal)["rows"])
    rows = (row for row in record.rows if row.is_current or record.is_whole)
    return len(
        {entry.timestamp for row in rows for entry in Content.read(PageKey.of_identity(row.identity), row.body).records}
    )


# Symbol by symbol -----------------------------------------------------------------------------------------------------


class Recorded(NamedTuple):
    """What is recorded of a symbol: a row of the frame that `Client.recorded` describes."""

    symbol: str
    kind: str
    market: str
    first: date | None
    last: date | None
    rows: int
    complete: bool
    asked_at: datetime | None
    versions: int
    origin: str


def overview(path: Path, kind: str | None = None) -> list[Recorded]:
    """What is recorded of each symbol, by symbol and kind; of all kinds or of one."""
    with opened(path) as store:
        found = [_look(store, tally) for tally in _tallies(store)]
    return sorted(one for one in found if kind in (None, one.kind))


def kind_of(protocol: int) -> str:
    """The kind of rows of a protocol."""
    call = BY_PROTOCOL.get(protocol)
    return f"protocol {protocol}" if call is None else call.name


def _look(store: Store, tally: _Tally) -> Recorded:
    protocol, symbol, seal = tally.protocol, tally.symbol, tally.seal
    call = call_of_protocol(protocol, symbol)
    key = PageKey.longest(call, symbol)
    noted = noted_beside(seal) if tally.is_sealed else {}
    if noted.get("complete") and not tally.is_doubtful:
        newest, oldest, rows = noted["newest"], noted["oldest"], noted["joined"]
        is_complete, origin = True, noted["origin"]
    else:
        newest, oldest, rows, is_complete, origin = _read(store, key)
    market = key.symbol.market
    first, last = (None if at is None else day_of(at, market) for at in (oldest, newest))
    asked = moment(seal.at) if tally.is_sealed and seal.at else None
    versions = tally.versions + sum(entries for _, entries, _, _ in tally.blocks)
    return Recorded(symbol, call.name, market.prefix, first, last, rows, is_complete, asked, versions, origin)


def _read(store: Store, key: PageKey) -> tuple[int | None, int | None, int, bool, str]:
    """The newest and the oldest row of what its history has down to a gap, how many they are, whether there is none."""
    versions = store.symbol(*key.owner)
    newest = max(versions.rows, key=lambda version: version.checked_seq, default=None)
    origin = "" if newest is None else newest.origin
    try:
        record = Symbols().read(key, versions)
    except ShortInterestError:  # a reply that this release cannot read
        return None, None, 0, False, origin
    ledger = record.ledger
    found, head = recorded_walk(ledger, BOTTOM), ledger.head()
    is_complete = isinstance(found, Walk) and record.odd is None
    above_gap = () if head is None else ledger.rows_down_to(head, BOTTOM)
    rows = found.rows if isinstance(found, Walk) else above_gap
    return rows[0].at if rows else None, rows[-1].at if rows else None, len(rows), is_complete, origin


# What stands there ----------------------------------------------------------------------------------------------------


class _Tally(NamedTuple):
    """What a symbol's record adds up to.

    Attributes:
        protocol, symbol: Whose record it is.
        versions: How many versions are in the present.
        pages: How many of them are current.
        body_bytes: The size of their replies.
        oldest, newest: When the first and the last of them came.
        is_simulated: Whether some are made up, by a simulator.
        is_doubtful: Whether a first page is void: it may be fit for no history.
        seal: The symbol's seal.
        is_sealed: Whether it fits the checksums that stand there.
        blocks: The past's blocks.

    """

    protocol: int
    symbol: str
    versions: int
    pages: int
    body_bytes: int
    oldest: int
    newest: int
    is_simulated: bool
    is_doubtful: bool
    seal: Seal
    is_sealed: bool
    blocks: list[_Block]


def _tallies(store: Store) -> Iterator[_Tally]:
    """Each symbol's, by protocol and name; each sees one state of the file."""
    name: tuple[float, str] = _BEFORE_ALL
    while found := store.database.snapshot(partial(_next, name)):
        for tally in found:
            following = tally.protocol, tally.symbol
            if not following > name:  # or this might never end
                raise CacheCorrupt(f"The page cache {store.path} is damaged (the index of its pages is out of order).")
            name = following
            yield tally


def _next(name: tuple[float, str], connection: sqlite3.Connection) -> list[_Tally]:
    sums = connection.execute(_SELECT_SUMS, (*name, _LOT)).fetchall()
    if not sums:
        return []
    between = *name, *sums[-1][:2]
    seals = {tuple(row[:2]): Seal.read(row[2:]) for row in connection.execute(_SELECT_SEALS, between).fetchall()}
    blocks: dict[tuple[int, str], list[_Block]] = {}
    for protocol, symbol, *block in connection.execute(_SELECT_BLOCKS, between).fetchall():
        blocks.setdefault((protocol, symbol), []).append((block[0], block[1], block[2], block[3]))
    found = []
    for *told, checksums in sums:
        seal, past_blocks = seals.get((told[0], told[1]), UNSEALED), blocks.get((told[0], told[1]), [])
        is_sealed = seal.fits(checksums) and seal.past == past.digest(block[2] for block in past_blocks)
        found.append(_Tally._make((*told, seal, is_sealed, past_blocks)))
    return found


def first_pages(store: Store, protocol: int, symbols: Sequence[str]) -> Iterator[tuple[str, Seal, list[Version]]]:
    """Of each symbol whose seal fits what is there: the seal, and the current first pages, of whatever length.

    Whether such a page is sound is for the caller to see.
    """
    for place in range(0, len(symbols), _LOT_OF_FIRST_PAGES):
        lot = json.dumps(symbols[place : place + _LOT_OF_FIRST_PAGES])
        yield from store.database.snapshot(partial(_first_pages, (protocol, lot)))


def _first_pages(asked: tuple[int, str], connection: sqlite3.Connection) -> list[tuple[str, Seal, list[Version]]]:
    pages: dict[str, list[Version]] = {}
    for row in map(Version._make, connection.execute(_SELECT_FIRST_PAGES, asked).fetchall()):
        pages.setdefault(row.symbol, []).append(row)
    seals, checksums = seals_and_checksums(connection, *asked)
    sealed = ((name, seal) for name, seal in seals.items() if name in pages and seal.fits(checksums.get(name, b"")))
    return [(name, seal, pages[name]) for name, seal in sealed]
