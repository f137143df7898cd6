"""Looking after a page cache: what is in it, whether it is sound, what can go, and a smaller one to hand on."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from opend_si.cache.store import CURRENT, Recorded, Store, SymbolRecord
from opend_si.clock import milliseconds, moment
from opend_si.errors import CacheMiss, InvalidArgument, ShortInterestError
from opend_si.pages import Content, PageKey
from opend_si.symbols import Symbol
from opend_si_schema.calls import CALLS


@dataclass(frozen=True)
class CacheInfo:
    """What a page cache holds.

    Attributes:
        path: The file.
        bytes: Its size.
        symbols: How many symbols have pages.
        pages: How many pages there are, in their newest version.
        versions: How many versions there are in all.
        rows: How many different rows (symbol and date) the newest versions hold.
        body_bytes: Size of all replies as received.
        oldest, newest: When the first and the last version came; None for an empty cache.

    """

    path: Path
    bytes: int
    symbols: int
    pages: int
    versions: int
    rows: int
    body_bytes: int
    oldest: datetime | None
    newest: datetime | None


def info(path: Path) -> CacheInfo:
    """Read a whole page cache and sum it up. Damaged pages count as versions only."""
    versions = body_bytes = pages = 0
    times: list[int] = []
    dates: dict[tuple[int, str], set[object]] = {}
    for row in _rows(path):
        versions += 1
        if not row.is_sound:
            continue
        body_bytes += len(row.body)
        times.append(row.fetched_at)
        if row.superseded_at == CURRENT:
            pages += 1
            seen = dates.setdefault((row.protocol, row.symbol), set())
            seen.update(record.timestamp for record in Content.read(key_of(row), row.body).records)
    return CacheInfo(
        path=path,
        bytes=path.stat().st_size,
        symbols=len(dates),
        pages=pages,
        versions=versions,
        rows=sum(map(len, dates.values())),
        body_bytes=body_bytes,
        oldest=moment(min(times)) if times else None,
        newest=moment(max(times)) if times else None,
    )


def verify(path: Path) -> Iterator[str]:
    """Every fault of a page cache, in words: SQLite's own check, each checksum, each reply, and what is missing."""
    store = Store(_existing(path), may_write=False)
    try:
        with store.database.reading() as connection:
            for (found,) in connection.execute("PRAGMA integrity_check(20)"):
                if found != "ok":
                    yield f"SQLite: {found}"
        names, damaged = set(), 0
        for row in store.rows():
            where = f"{row.symbol}, next_key {row.next_key!r}, num {row.num}, version {row.version}"
            if not row.is_sound:
                damaged += 1
                yield f"{where}: does not match its checksum"
                continue
            names.add((row.protocol, row.symbol))
            try:
                Content.read(key_of(row), row.body)
            except ShortInterestError as error:
                yield f"{where}: {error}"
        if not damaged:  # a damaged row is missing where it belongs, and was named
            for name in sorted(names):
                if not store.symbol(*name).is_whole:
                    yield f"{name[1]}: something of what was recorded is missing"
    finally:
        store.close()


def prune(path: Path, before: datetime) -> int:
    """Delete the versions that were superseded before a moment; gives how many."""
    store = Store(_existing(path))
    try:
        return store.prune(milliseconds(before))
    finally:
        store.close()


def export(path: Path, target: Path, codes: Sequence[str] = ()) -> int:
    """Write the pages of some symbols (none given: of all), every version, to a new page cache; gives how many.

    The file appears whole or not at all. Damaged pages are left out.

    Raises:
        InvalidArgument: `target` exists, or a code is no symbol.
        CacheMiss: a symbol has no pages.

    """
    if target.exists():
        raise InvalidArgument(f"{target} exists already: name a new file")
    wanted = {str(Symbol.parse(code)) for code in codes}
    records = [record for record in _records(path) if not wanted or record.rows[0].symbol in wanted]
    if missing := wanted - {record.rows[0].symbol for record in records}:
        raise CacheMiss(
            f"{', '.join(sorted(missing))}: nothing is recorded in {path}. Ask for it in mode online first."
        )
    with tempfile.TemporaryDirectory(dir=target.absolute().parent, prefix=f".{target.name}.") as scratch:
        half = Path(scratch, target.name)
        store = Store(half)
        try:
            for record in records:
                store.add(record)
        finally:
            store.close()
        try:
            os.link(half, target)  # fails if someone made the file meanwhile
        except FileExistsError:
            raise InvalidArgument(f"{target} exists already: name a new file") from None
    return sum(len(record.rows) for record in records)


def key_of(row: Recorded) -> PageKey:
    """The key that a row was recorded under."""
    call = next((call for call in CALLS if call.proto_id == row.protocol), None)
    if call is None:
        raise InvalidArgument(f"{row.symbol}: protocol {row.protocol} is not bound in this release")
    return PageKey(call, Symbol.parse(row.symbol), row.next_key, row.num)


def _rows(path: Path) -> Iterable[Recorded]:
    store = Store(_existing(path), may_write=False)
    try:
        yield from store.rows()
    finally:
        store.close()


def _records(path: Path) -> Iterable[SymbolRecord]:
    """All that is recorded, symbol by symbol; symbols without a sound page are left out."""
    store = Store(_existing(path), may_write=False)
    try:
        names = sorted({(row.protocol, row.symbol) for row in store.rows() if row.is_sound})
        yield from (store.symbol(*name) for name in names)
    finally:
        store.close()


def _existing(path: Path) -> Path:
    if not path.exists():
        raise CacheMiss(f"There is no page cache at {path}. It is made when the first page is fetched in mode online.")
    return path
