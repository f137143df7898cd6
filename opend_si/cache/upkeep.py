"""Looking after a page cache: whether it is sound, and a smaller one to hand on.

A cache is read symbol by symbol, each in one short transaction: who records meanwhile hardly waits, and memory holds
one symbol at a time. So each symbol is seen as of one moment, and two symbols may be seen as of different ones.
"""

from __future__ import annotations

import json
import os
import sqlite3
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeVar

from opend_si.cache.database import NothingRecorded
from opend_si.cache.store import Store
from opend_si.cache.versions import PastVersion, Seal, Version, Versions
from opend_si.errors import CacheCorrupt, CacheError, CacheMiss, InvalidArgument, ShortInterestError
from opend_si.files import new_file
from opend_si.pages import Content, PageKey
from opend_si.symbols import Symbol
from opend_si_schema.calls import CALLS

# From one symbol to the next: a look-up in the index of the pages' keys, however long the list of symbols is.
_FIRST_SYMBOL = "SELECT protocol, symbol FROM page ORDER BY protocol, symbol LIMIT 1"
_NEXT_SYMBOL = """
    SELECT protocol, symbol FROM page WHERE (protocol, symbol) > (?, ?) ORDER BY protocol, symbol LIMIT 1
"""
# Many symbols at once, as a JSON array.
_SELECT_SEALS = """
    SELECT symbol, seq, at, floor, is_judged, past, summary, digest FROM seal
    WHERE protocol = ? AND symbol IN (SELECT value FROM json_each(?))
"""
_SELECT_CHECKSUMS = """
    SELECT symbol, group_concat(hex(checksum)) FROM page
    WHERE protocol = ? AND symbol IN (SELECT value FROM json_each(?)) GROUP BY symbol
"""
_SELECT_DIGESTS = "SELECT symbol, digest FROM seal WHERE protocol = ? AND symbol > ? AND symbol < ?"
# What a file of columns beside the record begins and ends with: such a file is ours.
COLUMNS_MARK = b"opend-si columns"
_COLUMNS = ".columns"
_T = TypeVar("_T")


def verify(path: Path) -> Iterator[str]:
    """Every fault of a page cache, in words: SQLite's own check, each checksum, each reply, and what is missing.

    Each symbol is checked as of one moment. SQLite's own check comes first and sees the whole file as of one; writers
    wait for it, which is the time that it takes to read the file once.
    """
    with opened(path) as store:
        check = store.database.read(lambda connection: connection.execute("PRAGMA integrity_check(20)").fetchall())
        yield from (f"SQLite: {fault}" for (fault,) in check if fault != "ok")
        missing, damaged = [], False
        for found in symbols(store):
            damaged = damaged or bool(found.damaged)
            yield from (f"{where}: does not match its checksum" for where in found.damaged)
            faults = [f"{found.symbol}: {found.lost} blocks of its past are lost"] if found.lost else []
            yield from faults
            for row in (*found.record.rows, *(version for version, _ in found.past)):
                try:
                    Content.read(key_of(row), row.body)
                except ShortInterestError as error:
                    yield f"{_where(row.symbol, row.next_key, row.num, row.version)}: {error}"
            if not found.record.is_whole:
                missing.append(found.symbol)
        if not damaged:  # a damaged row is missing where it belongs, and was named
            yield from (f"{symbol}: something of what was recorded is missing" for symbol in missing)


def export(path: Path, target: Path, codes: Sequence[str] = (), *, may_replace: bool = False) -> int:
    """Write the pages of some symbols (none given: of all), every version, to a new page cache; gives how many.

    The file appears whole or not at all; each symbol in it is as of one moment. Damaged pages are left out. It is made
    to be handed on: others of the machine may read it, as far as the umask lets them.

    Raises:
        InvalidArgument: `target` exists and is not to be replaced, or is the page cache itself, or a code is no symbol.
        CacheMiss: a symbol has no pages, or nothing has.
        ShortInterestError: `target` cannot be written.

    """
    wanted = {str(Symbol.parse(code)) for code in codes}
    written, missing = 0, set(wanted)
    with opened(path) as store, _cache_to_hand_on(path, target, may_replace) as half:
        with closing(Store(half)) as copy:
            # The disk is waited for once, when the file is whole.
            with _naming(target):
                copy.database.read(lambda connection: connection.execute("PRAGMA synchronous = OFF"))
            for found in symbols(store, wanted):
                if found.record.rows:
                    with _naming(target):
                        past = store.blocks(found.protocol, found.symbol)
                        copy.add(found.record, of_past=past, clock=store.clock())
                    written += len(found.record.rows) + len(found.past)
                    missing.discard(found.symbol)
        if missing or not written:
            whose = f"{', '.join(sorted(missing))}: nothing" if missing else "Nothing"
            raise CacheMiss(f"{whose} is recorded in {path}. Ask for it in mode online first.")
    return written


def key_of(row: Version) -> PageKey:
    """The key that a row was recorded under."""
    call = next((call for call in CALLS if call.proto_id == row.protocol), None)
    if call is None:
        raise InvalidArgument(f"{row.symbol}: protocol {row.protocol} is not bound in this release")
    return PageKey(call, Symbol.parse(row.symbol), row.next_key, row.num)


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
        places = tuple(sorted(_where(symbol, *name) for name in record.damaged))
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
            found[symbol] = Standing(seal.digest if seal is not None and seal.fits(told) else b"", told.count(",") + 1)
        return found

    try:
        return store.database.snapshot(read)
    except NothingRecorded:
        return {}


def seals_and_checksums(
    connection: sqlite3.Connection, protocol: int, symbols: str
) -> tuple[dict[str, Seal], dict[str, str]]:
    """Of some symbols, as a JSON array: their seals, and the checksums of their pages, as `Seal.fits` takes them."""
    asked = protocol, symbols
    checksums = dict(connection.execute(_SELECT_CHECKSUMS, asked).fetchall())
    return {name: Seal(*seal) for name, *seal in connection.execute(_SELECT_SEALS, asked).fetchall()}, checksums


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


@contextmanager
def _naming(target: Path) -> Iterator[None]:
    """Errors that name the target, not the file that it is not yet: that one is gone when they are read."""
    try:
        yield
    except CacheError as error:
        raise _cannot_write(target, error.__cause__ or error) from error


def _where(symbol: str, next_key: str, num: int, version: int) -> str:
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


@contextmanager
def _cache_to_hand_on(path: Path, target: Path, may_replace: bool) -> Iterator[Path]:
    with suppress(OSError):  # nothing is there
        if target.samefile(path):
            raise InvalidArgument(f"{target} is the page cache itself: name another file")
    try:
        with new_file(target, may_replace=may_replace) as half:
            half.touch()  # with the mode of a user's file: a page cache's own is its owner's alone
            yield half
    except FileExistsError:
        raise InvalidArgument(f"{target} exists already: name a new file, or have it replaced with --force") from None
    except OSError as error:
        raise _cannot_write(target, error) from None


def _cannot_write(target: Path, error: BaseException) -> ShortInterestError:
    told = error.strerror if isinstance(error, OSError) and error.strerror else error
    return ShortInterestError(
        f"{target} cannot be written ({told}). See its folder, its permissions and the free space on its disk."
    )
