"""A record symbol by symbol: read, taken out and put in; which files of columns lie beside it.

Each symbol is read in one short transaction: who records meanwhile hardly waits, and memory holds one symbol at a
time. So each symbol is seen as of one moment, and two symbols may be seen as of different ones.
"""

from __future__ import annotations

import json
import os
import sqlite3
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeVar

from opend_si.cache import blocks
from opend_si.cache.database import NothingRecorded
from opend_si.cache.sequence import read_clock, write_clock
from opend_si.cache.store import Store, insert, select_seal, write_seal
from opend_si.cache.versions import DIGEST_BYTES, Event, PastVersion, Seal, Version, Versions
from opend_si.dates import now
from opend_si.errors import CacheCorrupt, CacheError, CacheMiss

# From one symbol to the next: a look-up in the index of the pages' keys, however long the list of symbols is.
_FIRST_SYMBOL = "SELECT protocol, symbol FROM page ORDER BY protocol, symbol LIMIT 1"
_NEXT_SYMBOL = """
    SELECT protocol, symbol FROM page WHERE (protocol, symbol) > (?, ?) ORDER BY protocol, symbol LIMIT 1
"""
# Many symbols at once, as a JSON array. SQLite joins texts only, and changes none of the bytes that it takes for one.
_SELECT_SEALS = """
    SELECT symbol, seq, at, floor, is_judged, past, summary, digest FROM seal
    WHERE protocol = ? AND symbol IN (SELECT value FROM json_each(?))
"""
_SELECT_CHECKSUMS = """
    SELECT symbol, COALESCE(CAST(group_concat(checksum) AS BLOB), x'') FROM page
    WHERE protocol = ? AND symbol IN (SELECT value FROM json_each(?)) GROUP BY symbol
"""
_SELECT_DIGESTS = "SELECT symbol, digest FROM seal WHERE protocol = ? AND symbol > ? AND symbol < ?"
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
# What a file of columns beside the record begins and ends with: such a file is ours.
COLUMNS_MARK = b"opend-si columns"
_COLUMNS = ".columns"
_T = TypeVar("_T")


@dataclass(frozen=True)
class Found:
    """What there is under the name of one symbol: its record, and where in it damaged rows stand."""

    protocol: int
    symbol: str
    record: Versions
    damaged: tuple[str, ...]
    past: tuple[PastVersion, ...]
    lost: int


def symbols(store: Store, wanted: set[str] | None = None) -> Iterator[Found]:
    """Symbol by symbol, or only those that are wanted (none: all)."""

    def look(_: sqlite3.Connection, protocol: int, symbol: str) -> Found | None:
        if wanted and symbol not in wanted:
            return None
        record = store.symbol(protocol, symbol)
        past, lost = store.past(protocol, symbol, record)
        places = tuple(sorted(place_of(symbol, *name) for name in record.damaged))
        return Found(protocol, symbol, record, places, tuple(past), lost)

    return (found for found in each_symbol(store, look) if found is not None)


def each_symbol(store: Store, look: Callable[[sqlite3.Connection, int, str], _T]) -> Iterator[_T]:
    """What a look at each symbol gives, by protocol and name; each look sees one state of the file."""
    name: tuple[int, str] | None = None

    def advance(connection: sqlite3.Connection) -> tuple[tuple[int, str], _T] | None:
        asked = connection.execute(_NEXT_SYMBOL, name) if name else connection.execute(_FIRST_SYMBOL)
        following = asked.fetchone()
        if following is None:
            return None
        if not _is_behind(following, name):  # or this might never end
            raise CacheCorrupt(f"The page cache {store.path} is damaged (the index of its pages is out of order).")
        return following, look(connection, *following)

    while (looked := store.database.snapshot(advance)) is not None:
        name, found = looked
        yield found


class Standing(NamedTuple):
    """How a symbol stands in the record.

    Attributes:
        seal: The digest of its seal, if that fits the checksums of what is there; else empty.
        pages: How many versions its present has.

    """

    seal: bytes
    pages: int


def standing(store: Store, protocol: int, symbols: Sequence[str]) -> dict[str, Standing]:
    """How symbols stand, as of one moment. Those of which nothing is recorded are not there; no page is read."""

    def read(connection: sqlite3.Connection) -> dict[str, Standing]:
        asked = protocol, json.dumps(symbols)
        found = {}
        seals, checksums = seals_and_checksums(connection, *asked)
        for symbol, told in checksums.items():
            seal = seals.get(symbol)
            digest = seal.digest if seal is not None and seal.fits(told) else b""
            found[symbol] = Standing(digest, -(-len(told) // (DIGEST_BYTES + 1)))
        return found

    try:
        return store.database.snapshot(read)
    except NothingRecorded:
        return {}


def seals_and_checksums(
    connection: sqlite3.Connection, protocol: int, symbols: str
) -> tuple[dict[str, Seal], dict[str, bytes]]:
    """Of some symbols, as a JSON array: their seals, and the checksums of their pages, as `Seal.fits` takes them."""
    asked = protocol, symbols
    checksums = dict(connection.execute(_SELECT_CHECKSUMS, asked).fetchall())
    return {name: Seal.read(seal) for name, *seal in connection.execute(_SELECT_SEALS, asked).fetchall()}, checksums


def seals(store: Store, protocol: int, market: str) -> dict[str, bytes]:
    """The digests of all seals of a market, as they stand there."""
    asked = (protocol, f"{market}.", f"{market}/")  # "/" comes right after "."
    try:
        return store.database.read(lambda connection: dict(connection.execute(_SELECT_DIGESTS, asked).fetchall()))
    except NothingRecorded:
        return {}


# Beside the record: files of columns, which can be deleted at any time -----------------------------------------------


def columns_file(path: Path, kind: str, market: str) -> Path:
    """Where the columns of a kind and a market are, if they are written: beside the file itself, not a link to it."""
    real = Path(os.path.realpath(path))
    return real.with_name(f"{real.name}-{kind}-{market}{_COLUMNS}")


def columns_files(path: Path) -> list[Path]:
    """The files of columns beside a record."""
    real = Path(os.path.realpath(path))
    try:
        names = sorted(entry.name for entry in os.scandir(real.parent))
    except OSError:
        return []
    mine = [name for name in names if name.startswith(f"{real.name}-") and name.endswith(_COLUMNS)]
    return [real.with_name(name) for name in mine if is_columns(real.with_name(name))]


def is_columns(file: Path) -> bool:
    """Whether a file is one of ours, whatever became of it. Anything else in its place is somebody else's."""
    try:
        if not stat.S_ISREG(file.lstat().st_mode):
            return False
        with file.open("rb") as opened_file:
            head = opened_file.read(len(COLUMNS_MARK))
    except OSError:
        return False
    return COLUMNS_MARK.startswith(head)  # one that was cut off may have less than its mark


def drop_columns(path: Path) -> None:
    """Delete the files of columns beside a record: what is written there is not to be kept.

    Raises:
        CacheError: One cannot be deleted.

    """
    for file in columns_files(path):
        try:
            file.unlink(missing_ok=True)
        except OSError as error:
            raise CacheError(
                f"The file of columns {file} cannot be deleted ({error.strerror}). It has rows of what was deleted: delete it."
            ) from None


def _is_behind(following: tuple[object, object], name: tuple[int, str] | None) -> bool:
    match following:
        case (int() as protocol, str() as symbol):
            return name is None or (protocol, symbol) > name
        case _:
            return False


def place_of(symbol: str, next_key: str, num: int, version: int) -> str:
    """Where a version stands, in words."""
    return f"{symbol}, next_key {next_key!r}, num {num}, version {version}"


@contextmanager
def opened(path: Path, *, may_write: bool = False) -> Iterator[Store]:
    """The store in an existing file."""
    file_size(path)
    with closing(Store(path, may_write=may_write)) as store:
        yield store


def file_size(path: Path) -> int:
    """The size of an existing file."""
    try:
        return path.stat().st_size
    except (FileNotFoundError, NotADirectoryError):
        raise CacheMiss(
            f"There is no page cache at {path}. It is made when the first page is fetched in mode online."
        ) from None
    except OSError as error:
        raise CacheError(
            f"The page cache {path} cannot be used ({error.strerror}). See its folder and permissions."
        ) from None


# Taking a symbol out, and putting one in that another record has: each is one transaction -----------------------------


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
        if select_seal(connection, protocol, symbol) != seal:
            return False
        clock = read_clock(connection)
        whole = moved(clock.last.seq)
        _forget(connection, protocol, symbol)
        for row in whole.rows:
            insert(connection, row.signed())
        blocks.write_blocks(connection, (protocol, symbol), 0, whole.past)
        digest = blocks.past_digest(connection, protocol, symbol)
        write_seal(connection, protocol, symbol, whole.seal._replace(past=digest))
        # The clock of this machine showed its own moments only: those of another are no steps of it.
        at = max(clock.last.at, 0) if clock.last.seq else now()
        write_clock(connection, Event(whole.seal.seq, at))
        return True

    return records.database.write(write)


def _forget(connection: sqlite3.Connection, protocol: int, symbol: str) -> None:
    for statement in _DELETES:
        connection.execute(statement, (protocol, symbol))
