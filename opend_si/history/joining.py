"""One record joined into another: a colleague's symbols come with every version, moment and value, and nothing is lost.

What becomes of a symbol that the other record has:

- All of it is here already: nothing has to be done. So a second import of the same file changes nothing.
- It is not recorded here, or all that is here is there, too: it is taken as it is there.
- Otherwise both went on by themselves, and one record is made of the two (`opend_si.history.merging`).
- What is damaged, of a clock that was set back, or made up in one of the two alone is left out, and named: what is
  recorded here stays as it is.

Its events get numbers behind all of this record's, in their own order; a reply came when the machine's clock that
heard it said so. What another machine's monotonic clock showed means nothing here, and is dropped. A symbol is written
in one transaction.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from opend_si.cache.reading import Found, Whole, opened, put, symbols
from opend_si.cache.runs import Runs, pack_runs, unpack_runs
from opend_si.cache.store import Store
from opend_si.cache.versions import Clock, Event, PastVersion, Seal, Version
from opend_si.dates import now
from opend_si.errors import InvalidArgument, ShortInterestError
from opend_si.history.merging import merge
from opend_si.history.overview import kind_of
from opend_si.pages import SIMULATOR, Content, PageKey


@dataclass
class ImportReport:
    """What became of the symbols of a record that was joined into one's own; each with its kind.

    Attributes:
        taken: Those that are here now as they are there.
        joined: Those that both records had something of: here is now what both heard.
        known: Those of which all was here already.
        left_out: Those that were left out, and why.

    """

    taken: list[str] = field(default_factory=list)
    joined: list[str] = field(default_factory=list)
    known: list[str] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)


class _LeftOut(Exception):
    """Why a symbol cannot be joined."""


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
                try:
                    _join(ours, found, clock, report, name)
                except _LeftOut as why:
                    report.left_out[name] = str(why)
        finally:
            ours.close()
    return report


def _join(ours: Store, found: Found, clock: Clock, report: ImportReport, name: str) -> None:
    """Take a symbol, make one of two, or leave it out."""
    there = Whole(found.record.rows, found.past, found.record.seal)
    if found.damaged or found.lost or not found.record.is_whole:
        raise _LeftOut("its record is damaged")
    _check_replies(there)
    if not _is_sound(there, clock):
        raise _LeftOut("the clock was set back while it was recorded")
    present = ours.symbol(found.protocol, found.symbol)
    past, lost = ours.past(found.protocol, found.symbol, present)
    if lost or not present.is_whole:
        raise _LeftOut("what is recorded of it here is damaged; delete it first")
    here = Whole(present.rows, tuple(past), present.seal)
    if _has_all(here, there):
        report.known.append(name)
        return
    _check_origins(here, there)
    if not here.rows or (_has_all(there, here) and not there.seal.floor):
        whole, told = _heard_elsewhere(there), report.taken
    else:
        _check_joint(here, there, ours.clock())
        whole, told = merge(here, _heard_elsewhere(there)), report.joined
        if _has_all(here, whole):
            report.known.append(name)
            return
    if not put(ours, found.protocol, found.symbol, here.seal, partial(_moved, whole)):
        raise _LeftOut("it was recorded meanwhile; import it again")
    told.append(name)


# What cannot be joined ------------------------------------------------------------------------------------------------


def _check_replies(whole: Whole) -> None:
    try:
        for row in _versions(whole):
            Content.read(PageKey.of_identity(row.identity), row.body)
    except ShortInterestError as error:
        raise _LeftOut(str(error)) from None


def _check_origins(here: Whole, there: Whole) -> None:
    """Made-up rows and OpenD's are not joined, nor does one take the other's place."""
    mine, others = {row.origin for row in here.rows}, {row.origin for row in there.rows}
    if mine - others:
        raise _LeftOut(
            f"its rows are OpenD's in one record, and a simulator's {'here' if SIMULATOR in mine else 'there'}"
        )


def _check_joint(here: Whole, there: Whole, clock: Clock) -> None:
    """Whether two records that both went on by themselves can be made one."""
    for whole, where in ((here, "here"), (there, "there")):
        if whole.seal.floor:
            raise _LeftOut(f"some of it was lost {where} to damage, and both records went on")
        if len({row.origin for row in _versions(whole)}) > 1:
            raise _LeftOut(f"its past has both made-up rows and OpenD's {where}: `cache prune` deletes the past")
    _check_replies(here)
    if not _is_sound(here, clock):
        raise _LeftOut("the clock was set back while it was recorded here, and both records went on")
    if max(at for _, at in _events(there)) > now():
        raise _LeftOut("it has moments that are still to come: this clock or the other one is wrong")


def _is_sound(whole: Whole, clock: Clock) -> bool:
    """Whether no event of a symbol is of a time at which the clock was ahead, as a later event shows."""
    return not any(clock.was_ahead(event, max(event[1], clock.last.at)) for event in _events(whole))


def _events(whole: Whole) -> Iterator[tuple[int, int]]:
    for row in _versions(whole):
        yield row.first_seq, row.fetched_at
        yield row.checked_seq, row.checked_at
        yield from ((seq, at) for _, seq, at in _runs(row))


# What is known --------------------------------------------------------------------------------------------------------


def _has_all(one: Whole, other: Whole) -> bool:
    """Whether a record has heard all that another heard: each reply, at its moment, and each first sight of a row."""
    heard: defaultdict[tuple[Any, ...], list[Version]] = defaultdict(list)
    for row in _versions(one):
        heard[row.identity, row.origin, row.body].append(row)
    return all(_is_covered(row, heard.get((row.identity, row.origin, row.body), ())) for row in _versions(other))


def _is_covered(row: Version, versions: Iterable[Version]) -> bool:
    """Whether some versions with the same bytes tell all that a version tells: what was so all the time was so then."""
    same = [other for other in versions if _was_so(other, row.fetched_at)]
    is_checked = any(_was_so(other, row.checked_at) for other in versions)
    return is_checked and any(_is_seen_by(row, other) for other in same)


def _was_so(row: Version, moment: int) -> bool:
    """Whether a moment is between the two at which a version was heard; clocks may show the later one before."""
    first, last = sorted((row.fetched_at, row.checked_at))
    return first <= moment <= last


def _is_seen_by(row: Version, other: Version) -> bool:
    """Whether a version says of each row that it was first seen when another with the same bytes says so, or before."""
    later, earlier = _moments(row), _moments(other)
    size = max(len(later), len(earlier), 1)
    pairs = zip(earlier or [other.fetched_at] * size, later or [row.fetched_at] * size, strict=True)
    return all(begun <= at for begun, at in pairs)


def _moments(row: Version) -> list[int]:
    """When each row of a version was first seen; nothing where all came with it."""
    return [at for count, _, at in _runs(row) for _ in range(count)]


def _runs(row: Version) -> Runs:
    return unpack_runs(row.seen, (row.first_seq, row.fetched_at))


def _versions(whole: Whole) -> Iterator[Version]:
    yield from whole.rows
    yield from (version for version, _ in whole.past)


# What is put ----------------------------------------------------------------------------------------------------------


def _heard_elsewhere(whole: Whole) -> Whole:
    """A symbol without what the other machine's monotonic clock showed."""
    seal = whole.seal
    if seal.summary:
        noted = json.loads(seal.summary)
        if "head" in noted:
            noted["head"][3] = 0
        seal = seal._replace(summary=json.dumps(noted, separators=(",", ":")))
    past = tuple(PastVersion(version._replace(sent=0), left) for version, left in whole.past)
    return Whole(tuple(row._replace(sent=0) for row in whole.rows), past, seal)


def _moved(whole: Whole, behind: int) -> Whole:
    """A symbol with its events numbered behind an event."""

    def place(seq: int) -> int:
        return seq + behind if seq else 0

    def version(row: Version) -> Version:
        runs = tuple((count, place(seq), at) for count, seq, at in _runs(row))
        return row._replace(
            first_seq=place(row.first_seq),
            checked_seq=place(row.checked_seq),
            superseded_seq=place(row.superseded_seq),
            void_seq=place(row.void_seq),
            seen=pack_runs(runs, (place(row.first_seq), row.fetched_at)),
        )

    def left(one: PastVersion) -> PastVersion:
        return PastVersion(version(one.version), Event(place(one.left.seq), one.left.at))

    seal: Seal = whole.seal._replace(seq=place(whole.seal.seq), floor=place(whole.seal.floor))
    if seal.summary:
        noted = json.loads(seal.summary)
        noted["epoch"] = place(noted["epoch"])
        if "head" in noted:
            noted["head"][:2] = map(place, noted["head"][:2])
        seal = seal._replace(summary=json.dumps(noted, separators=(",", ":")))
    return Whole(tuple(map(version, whole.rows)), tuple(map(left, whole.past)), seal)
