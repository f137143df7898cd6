"""One record joined into another: a colleague's symbols come with every version, moment and value, and nothing is lost.

Two records number their events each by itself, and no clock orders them: where both went on from what they had, nobody
can say which value is the older one. So a symbol is taken whole or not at all:

- It is not recorded here: it is taken.
- Here is nothing that is not in the other record, and it was asked later there: the other takes its place.
- There is nothing that is not here: nothing has to be done. So a second import of the same file changes nothing.
- Otherwise it is left out, and named: what is recorded here stays as it is.

Its events get numbers behind all of this record's, in their own order; a reply came when the other machine's clock said
so. What its monotonic clock showed means nothing here, and is dropped.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from opend_si.cache.moving import Whole, clock_is_sound, forget, put, read_whole
from opend_si.cache.store import Store
from opend_si.cache.upkeep import Found, drop_columns, key_of, opened, symbols
from opend_si.cache.versions import SIMULATOR, Event, PastVersion, Seal, Version
from opend_si.errors import CacheMiss, InvalidArgument, ShortInterestError
from opend_si.history.overview import kind_of
from opend_si.history.statements import pack_runs, unpack_runs
from opend_si.pages import Content
from opend_si.symbols import Symbol


@dataclass
class ImportReport:
    """What became of the symbols of a record that was joined into one's own; each with its kind.

    Attributes:
        taken: Those that are here now as they are there.
        known: Those of which all was here already.
        left_out: Those that were left out, and why.

    """

    taken: list[str] = field(default_factory=list)
    known: list[str] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)


def import_record(path: Path, file: Path) -> ImportReport:
    """Join the record in a file into the one at `path`, which is made if need be.

    Raises:
        InvalidArgument: The file is the record itself.
        CacheMiss, CacheCorrupt, CacheVersionMismatch, CacheError: The file, or the record, cannot be used.

    """
    if path.exists() and file.exists() and file.samefile(path):
        raise InvalidArgument(f"{file} is the page cache itself: name another file")
    report = ImportReport()
    with opened(file) as theirs:
        clock = theirs.clock()
        ours = Store(path)
        try:
            for found in symbols(theirs):
                name = f"{found.symbol} {kind_of(found.protocol)}"
                whole = read_whole(theirs, found.protocol, found.symbol)
                reason = _fault(found)
                if not reason and not clock_is_sound(whole, clock):
                    reason = "the clock was set back while it was recorded"
                if not reason:
                    reason = _join(ours, found, whole, report, name)
                if reason:
                    report.left_out[name] = reason
        finally:
            ours.close()
    return report


def _join(ours: Store, found: Found, whole: Whole, report: ImportReport, name: str) -> str:
    """Take a symbol if that is right; else why not."""
    here = ours.symbol(found.protocol, found.symbol)
    past, lost = ours.past(found.protocol, found.symbol, here)
    if lost or not here.is_whole:
        return "what is recorded of it here is damaged; delete it first"
    mine = _marks((*here.rows, *(version for version, _ in past)))
    others = _marks((*found.record.rows, *(version for version, _ in found.past)))
    if others.keys() <= mine.keys():
        report.known.append(name)
        return ""
    if {row.origin for row in here.rows} - {row.origin for row in found.record.rows}:
        made_up = "here" if any(row.origin == SIMULATOR for row in here.rows) else "there"
        return f"its rows are OpenD's in one record, and a simulator's {made_up}"
    if any(mark not in others or others[mark] < checked for mark, checked in mine.items()):
        return "it is recorded here, too, and each record has something that the other does not have"
    if not put(ours, found.protocol, found.symbol, here.seal, partial(_moved, whole)):
        return "it was recorded meanwhile; import it again"
    report.taken.append(name)
    return ""


def _marks(versions: tuple[Version, ...]) -> dict[tuple[object, ...], int]:
    """What tells versions apart in any record, and when each was last checked."""
    return {(row.identity, row.fetched_at, row.origin, row.body): row.checked_at for row in versions}


def _fault(found: Found) -> str:
    """Why a symbol of another record cannot be taken."""
    if found.damaged or found.lost or not found.record.is_whole:
        return "its record is damaged"
    try:
        for row in (*found.record.rows, *(version for version, _ in found.past)):
            Content.read(key_of(row), row.body)
    except ShortInterestError as error:
        return str(error)
    return ""


def _moved(whole: Whole, behind: int) -> Whole:
    """A symbol with its events numbered behind an event."""

    def place(seq: int) -> int:
        return seq + behind if seq else 0

    def version(row: Version) -> Version:
        runs = tuple((count, place(seq), at) for count, seq, at in unpack_runs(row.seen))
        return row._replace(
            first_seq=place(row.first_seq),
            checked_seq=place(row.checked_seq),
            superseded_seq=place(row.superseded_seq),
            void_seq=place(row.void_seq),
            sent=0,
            seen=pack_runs(runs),
        )

    def left(one: PastVersion) -> PastVersion:
        return PastVersion(version(one.version), Event(place(one.left.seq), one.left.at))

    seal: Seal = whole.seal._replace(seq=place(whole.seal.seq), floor=place(whole.seal.floor))
    if seal.summary:
        noted = json.loads(seal.summary)
        first_seq, checked_seq, checked_at, _ = noted["head"]
        noted["head"] = [place(first_seq), place(checked_seq), checked_at, 0]
        seal = seal._replace(summary=json.dumps(noted, separators=(",", ":")))
    return Whole(tuple(map(version, whole.rows)), tuple(map(left, whole.past)), seal)


def delete(path: Path, codes: list[str], protocols: set[int]) -> int:
    """Forget some symbols: all versions of their pages, in one transaction each; gives how many records went.

    Raises:
        InvalidArgument: A code is no symbol.
        CacheMiss: Nothing of a symbol is recorded; nothing was deleted then.
        CacheError: The page cache cannot be used.

    """
    wanted = list(dict.fromkeys(str(Symbol.parse(code)) for code in codes))
    with opened(path, may_write=True) as store:
        there = [(protocol, name) for name in wanted for protocol in sorted(protocols) if _has(store, protocol, name)]
        missing = sorted(set(wanted) - {name for _, name in there})
        if missing:
            raise CacheMiss(f"{', '.join(missing)}: nothing is recorded in {path}. Nothing was deleted.")
        for protocol, name in there:
            forget(store, protocol, name)
    drop_columns(path)  # which have their rows
    return len(there)


def _has(store: Store, protocol: int, symbol: str) -> bool:
    found = store.symbol(protocol, symbol)
    return bool(found.sound or found.damaged or found.seal.seq)
