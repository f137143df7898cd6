"""A block of the past: versions told by their rows.

Each row of a block has a number: it is the row's bytes, and the event that first brought them. Where the rows stand is
told once: in versions that are of the present or of a later block, or in the block itself. A version is the numbers of
its rows, which mostly follow on each other, and what stands around them. So what is told of a version never changes
when others come to the block: only where rows stand does, when a version that has them is one of these.

What is told is kept by column, numbers as what each adds to the one before: nearly all are the same, and take no room.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import chain, groupby, pairwise, repeat
from typing import Any, NamedTuple

from opend_si.cache.past.names import FAULTS, Name, Unreadable, name_of, read_name, steps, sums
from opend_si.cache.past.pieces import Pieces, cut, join
from opend_si.cache.runs import pack_runs, unpack_runs, write_runs
from opend_si.cache.versions import NEVER, Event, PastVersion, Version

# What this form begins with. The first forms began with a length.
MARK = b"\0\0\0\0"
# The last block is written again with each version that comes, until it has so many. Then it becomes a part of the one
# before it, which has so many versions at most, and about so many bytes: they just fit into one page of the file and a
# part of another.
_OPEN_VERSIONS, MOST_VERSIONS, _MOST_BYTES = 32, 192, 2400
# The columns of versions: numbers, which are kept as steps; events, by their numbers in the block; and others.
_NUMBERS = ("num", "version", "behind", "size")
_EVENTS = ("first", "checked", "superseded", "void", "left")
_OF_VERSIONS = (*_NUMBERS, *_EVENTS, "next_key", "origin", "around", "number", "rows", "seen")
# What they are told by: what stands around rows, events, and rows.
_SHARED = ("arounds", "seq", "at", "since", "own", "bases", "places")
_Columns = dict[str, list[Any]]
# A cursor that is longer is no number.
_MOST_DIGITS = 20
# Where a row stands: in which version, and as which of its rows. Without a name: as which of the block's own.
_Place = tuple[Name | None, int]


class _Opened(NamedTuple):
    """A block: its columns, and the rows that stand in it."""

    columns: _Columns
    own: list[bytes]


# Writing --------------------------------------------------------------------------------------------------------------


def write(versions: Sequence[PastVersion], bases: Sequence[Version], grown: bytes = b"") -> bytes:
    """A block of versions, oldest first.

    `bases` are what they may be made from, the best one first. `grown` is the block to which they are added.
    """
    before = _open(grown) if grown else _Opened({name: [] for name in (*_OF_VERSIONS, *_SHARED)}, [])
    columns, own = {name: [*values] for name, values in before.columns.items()}, [*before.own]
    cuts = {name_of(version): cut(version.body) for version, _ in versions}
    places, since = list(_read_places(columns)), _read_since(columns)
    events = {event: number for number, event in enumerate(_read_events(columns))}
    # The rows that stand in these versions or in the block. Of others it is not known here whether they are the same.
    texts = {number: text for number, place in enumerate(places) if (text := _row_at(place, own, cuts)) is not None}
    numbers = {(text, since[number]): number for number, text in texts.items()}
    for version, left in versions:
        name, rows = name_of(version), []
        pieces = cuts[name]
        seen = _seen(version, len(pieces.rows))
        for place in reversed(range(len(seen))):  # what stands above came later
            text, event = pieces.rows[place], events.setdefault(seen[place], len(events))
            number = numbers.setdefault((text, event), len(places))
            if number == len(places):
                places.append((name, place))
                since.append(event)
                texts[number] = text
            rows.append(number)
        _tell(columns, version, pieces)
        _tell_events(columns, version, left, events)
        columns["rows"].append(_runs(rows[::-1], sum(runs[0] for runs in columns["rows"] if runs)))
        if _pack(seen, Event(version.first_seq, version.fetched_at)) != version.seen:
            columns["seen"].append([len(columns["rows"]) - 1, _text(version.seen)])
    # A row that stood in one of these versions now stands in another one, or in the block.
    moving = [number for number, (named, _) in enumerate(places) if named in cuts]
    found = _find({texts[number] for number in moving}, bases)
    for number in moving:
        text = texts[number]
        if text not in found:
            found[text] = None, len(own)
            own.append(text)
        places[number] = found[text]
    columns["seq"], columns["at"] = steps([event.seq for event in events]), steps([event.at for event in events])
    columns["since"] = _since_runs(since)
    columns["bases"] = list(dict.fromkeys(name for name, _ in places if name is not None))
    columns["places"] = _place_runs(places, columns["bases"])
    columns["own"] = list(map(len, own))
    head = json.dumps(columns, separators=(",", ":"), ensure_ascii=False).encode(errors="surrogatepass")
    return MARK + zlib.compress(len(head).to_bytes(4, "big") + head + b"".join(own), 9)


def _tell(columns: _Columns, version: Version, pieces: Pieces) -> None:
    """Tell of a version what it has by itself."""
    cursor = _number_of(version.next_key)
    _add_step(columns, "next_key", version.next_key if cursor is None else cursor)
    _add_step(columns, "num", version.num)
    _add_step(columns, "version", version.version)
    _add_step(columns, "behind", version.behind - (cursor or 0))
    _add_step(columns, "size", len(version.body))
    _add_step(columns, "number", pieces.number)
    columns["origin"].append(version.origin)
    around = list(map(_text, pieces.around))
    if around not in columns["arounds"]:
        columns["arounds"].append(around)
    columns["around"].append(columns["arounds"].index(around))


def _tell_events(columns: _Columns, version: Version, left: Event, events: dict[Event, int]) -> None:
    """Tell when a version came, and what became of it."""
    told = (
        Event(version.first_seq, version.fetched_at),
        Event(version.checked_seq, version.checked_at),
        Event(version.superseded_seq, version.superseded_at),
        Event(version.void_seq, version.void_at),
        left,
    )
    for name, event in zip(_EVENTS, told, strict=True):
        _add_step(columns, name, None if event == NEVER else events.setdefault(event, len(events)))


def _add_step(columns: _Columns, name: str, value: int | str | None) -> None:
    """A number as what it adds to the last one; another value as it is."""
    values = columns[name]
    last = sum(other for other in values if isinstance(other, int))
    values.append(value - last if isinstance(value, int) else value)


def _number_of(next_key: str) -> int | None:
    """A cursor as the number that it is; None where it is none."""
    is_one = len(next_key) < _MOST_DIGITS and next_key.isascii() and next_key.isdigit()
    return int(next_key) if is_one and str(int(next_key)) == next_key else None


def _seen(version: Version, count: int) -> list[Event]:
    """When each of a version's rows was first seen; with the version, where it says that of other rows."""
    own = Event(version.first_seq, version.fetched_at)
    try:
        runs = unpack_runs(version.seen, own) if version.seen else ()
    except FAULTS:
        runs = ()
    if sum(length for length, _, _ in runs) != count:
        return [own] * count
    return [Event(seq, at) for length, seq, at in runs for _ in range(length)]


def _pack(seen: Sequence[Event], own: Event) -> bytes:
    """When rows were first seen, as it stands beside a version that came with its `own` event."""
    return pack_runs(write_runs(seen), own)


def _runs(rows: Sequence[int], top: int) -> list[int]:
    """Numbers of rows as runs that go down: what the first one of each adds to the one that is due, and how many."""
    runs: list[int] = []
    due = top
    for row in rows:
        if runs and row == due:
            runs[-1] += 1
        else:
            runs += row - due, 1
        due = row - 1
    return runs


def _find(texts: set[bytes], bases: Sequence[Version]) -> dict[bytes, _Place]:
    """Where rows stand."""
    found: dict[bytes, _Place] = {}
    for base in bases:
        if len(found) == len(texts):
            break
        for place, text in enumerate(cut(base.body).rows):
            if text in texts:
                found.setdefault(text, (name_of(base), place))
    return found


def _since_runs(since: Sequence[int]) -> list[int]:
    """Which event first brought each row, as runs: what it adds to the last one, and for how many rows."""
    runs = [(event, len(list(same))) for event, same in groupby(since)]
    return [*chain.from_iterable(zip(steps([event for event, _ in runs]), (length for _, length in runs), strict=True))]


def _place_runs(places: Sequence[_Place], names: Sequence[Name]) -> list[int]:
    """Where rows stand, as runs: in which of the versions, from which of its rows on upwards, and how many."""
    bases: dict[Name | None, int] = {name: number for number, name in enumerate(names)}
    runs: list[int] = []
    due: _Place | None = None
    for name, place in places:
        if (name, place) == due:
            runs[-1] += 1
        else:
            runs += bases.get(name, -1), place, 1
        due = name, place + (1 if name is None else -1)
    return runs


def _text(data: bytes) -> str:
    return data.decode("latin-1")


# Reading --------------------------------------------------------------------------------------------------------------


def read_names(data: bytes) -> list[Name]:
    """Which versions a block holds."""
    columns = _open(data).columns
    cursors = map(str, _read_steps(columns["next_key"]))
    return list(zip(cursors, sums(columns["num"]), sums(columns["version"]), strict=True))


def read_bases(data: bytes) -> list[Name]:
    """From which versions those of a block are made."""
    return list(map(read_name, _open(data).columns["bases"]))


def is_open(data: bytes) -> bool:
    """Whether a block is the last one, and has room for more versions."""
    return len(data) < _MOST_BYTES and len(_open(data).columns["rows"]) < _OPEN_VERSIONS


def may_join(data: bytes, other: bytes) -> bool:
    """Whether the versions of another block can become a part of a block."""
    count = sum(len(_open(each).columns["rows"]) for each in (data, other))
    return count <= MOST_VERSIONS and len(data) + len(other) // 4 <= _MOST_BYTES


def read_sizes(data: bytes) -> tuple[int, int, int, int]:
    """How many versions a block holds, the size of their bodies, and when the first and the last of them came."""
    columns = _open(data).columns
    moments = sums(columns["at"])
    came = [moments[first] for first in sums(columns["first"])]
    return len(came), sum(sums(columns["size"])), min(came), max(came)


def read(protocol: int, symbol: str, data: bytes, bodies: Mapping[Name, bytes]) -> list[PastVersion]:
    """The versions of a block, oldest first; `bodies` are those that are there already.

    What is made from one that is not there is left out.
    """
    columns, own = _open(data)
    found = []
    try:
        places, since, events = list(_read_places(columns)), _read_since(columns), _read_events(columns)
        cuts = {name: cut(bodies[name]) for name in {name for name, _ in places if name is not None} & bodies.keys()}
        texts = [_row_at(place, own, cuts) for place in places]
        behinds, sizes, numbers = sums(columns["behind"]), sums(columns["size"]), _read_steps(columns["number"])
        arounds = [tuple(map(_bytes, around)) for around in columns["arounds"]]
        seens = {place: _bytes(seen) for place, seen in columns["seen"]}
        told = zip(read_names(data), _read_rows(columns), _read_events_of(columns, events), strict=True)
        for place, (name, rows, (first, *later, left)) in enumerate(told):
            there = [text for row in rows if (text := texts[row]) is not None]
            if len(there) < len(rows):
                continue
            body = join(there, arounds[columns["around"][place]], numbers[place])
            if len(body) != sizes[place]:
                raise Unreadable(f"{name} has another length")
            seen = seens.get(place)
            if seen is None:
                seen = _pack([events[since[row]] for row in rows], first)
            behind = behinds[place] + (_number_of(name[0]) or 0)
            fields = *name, columns["origin"][place], behind, *chain(first, *later), 0, seen, b"", body
            found.append(PastVersion(Version._make((protocol, symbol, *fields)).signed(), left))
    except FAULTS as error:
        raise Unreadable(str(error)) from None
    return found


@lru_cache(maxsize=2)  # what is in a block is asked more than once where it grows
def _open(data: bytes) -> _Opened:
    """A block, taken apart; nobody may change what is given."""
    try:
        plain = zlib.decompress(data[len(MARK) :])
        end = 4 + int.from_bytes(plain[:4], "big")
        columns = json.loads(plain[4:end])
        stops = sums([end, *columns["own"]])
        return _Opened(columns, [plain[start:stop] for start, stop in pairwise(stops)])
    except FAULTS as error:
        raise Unreadable(str(error)) from None


def _read_steps(values: Sequence[Any]) -> list[Any]:
    """Numbers of steps; other values as they are."""
    numbers = iter(sums([value for value in values if isinstance(value, int)]))
    return [next(numbers) if isinstance(value, int) else value for value in values]


def _read_events(columns: _Columns) -> list[Event]:
    return list(map(Event, sums(columns["seq"]), sums(columns["at"])))


def _read_events_of(columns: _Columns, events: Sequence[Event]) -> Iterator[list[Event]]:
    """The events of each version."""
    for numbers in zip(*(_read_steps(columns[name]) for name in _EVENTS), strict=True):
        yield [NEVER if number is None else events[number] for number in numbers]


def _read_rows(columns: _Columns) -> Iterator[list[int]]:
    """The numbers of each version's rows."""
    top = 0
    for runs in columns["rows"]:
        rows: list[int] = []
        due = top
        for step, length in zip(runs[::2], runs[1::2], strict=True):
            rows += range(due + step, due + step - length, -1)
            due = rows[-1] - 1
        top = rows[0] if rows else top
        yield rows


def _read_since(columns: _Columns) -> list[int]:
    """Which event first brought each row."""
    runs = columns["since"]
    return list(chain.from_iterable(map(repeat, sums(runs[::2]), runs[1::2])))


def _read_places(columns: _Columns) -> Iterator[_Place]:
    """Where each row stands."""
    names, runs = list(map(read_name, columns["bases"])), columns["places"]
    for base, place, length in zip(runs[::3], runs[1::3], runs[2::3], strict=True):
        if base < 0:
            yield from ((None, number) for number in range(place, place + length))
        else:
            yield from ((names[base], number) for number in range(place, place - length, -1))


def _row_at(place: _Place, own: Sequence[bytes], cuts: Mapping[Name, Pieces]) -> bytes | None:
    """A row, if what it stands in is at hand."""
    name, number = place
    if name is None:
        return own[number]
    return cuts[name].rows[number] if name in cuts else None


def _bytes(text: str) -> bytes:
    return text.encode("latin-1")
