"""The past of a symbol: versions that no answer of now needs, packed so that they can be given back to the byte.

They are kept in blocks. In a block a version is told as what it shares with the version before it of the same page, and
the rest. The rests of a page's versions are squeezed together, with versions as dictionary that are of the present or
of a later block and have the same rows: a body is then little more than how to put it together. A block has a checksum
of its own. Damage loses the versions of its block, and those that are made from what is lost, never anything of the
present.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import accumulate
from typing import Any, NamedTuple

from opend_si.cache.versions import DIGEST_BYTES, Event, PastVersion, Version

# A block is written again with each version that comes, and begun anew when it has so many bytes, which just fit into
# one page of the file and a part of another, or so many versions.
BLOCK_BYTES, BLOCK_VERSIONS = 2100, 80
# The fields of a version that a block holds as numbers; the others are texts and bytes, or the symbol's. When a request
# was sent is of no use any more.
_OF_VERSIONS = (
    *("num", "version", "behind", "first_seq", "fetched_at", "checked_seq", "checked_at"),
    *("superseded_seq", "superseded_at", "void_seq", "void_at"),
)
_COLUMNS = *_OF_VERSIONS, "left_seq", "left_at", "next_key", "origin", "seen", "body", "shares"
# What damage does to one who reads a block.
_FAULTS = ValueError, KeyError, TypeError, IndexError, zlib.error
# Deflate without a header of its own: the block has a checksum.
_RAW = -15
# How many bytes in a row two versions must share for it to be seen, and where in one it is looked for.
_PROBE, _PLACES = 16, (0.25, 0.5, 0.75, 1)
# Which version of which page.
Name = tuple[str, int, int]
Page = tuple[str, int]


class Unreadable(Exception):
    """A block is not what was written, or what it is made from is not there."""


class Copy(NamedTuple):
    """What some bytes share with others: from where on there, so many, and behind how many of their own."""

    start: int
    length: int
    behind: int


_NOTHING = Copy(0, 0, 0)


class _Stream(NamedTuple):
    """The bodies of a page in a block: which versions, from which they are made, the bytes, how they are squeezed."""

    places: list[int]
    bases: list[Name]
    data: bytes
    wbits: int


class _Opened(NamedTuple):
    """A block: its fields by column, what is told of when rows were seen, and the bodies by page."""

    columns: dict[str, Any]
    seen: bytes
    streams: dict[Page, _Stream]


def name_of(version: Version) -> Name:
    """Which of a symbol's versions it is."""
    return version.next_key, version.num, version.version


def page_of(version: Version) -> Page:
    """Of which page it is a version."""
    return version.next_key, version.num


# Writing --------------------------------------------------------------------------------------------------------------


def write_block(
    versions: Sequence[PastVersion],
    bases: Mapping[Page, Sequence[Version]],
    grown: bytes = b"",
    bodies: Mapping[Name, bytes] | None = None,
) -> bytes:
    """A block: the fields column by column, each number as what it adds to the one before; then the bodies, by page.

    `bases`: what the versions of a page are made from; the most alike stands last. `grown` is the block to which the
    versions are added: of pages that have no bases here it is left as it is. `bodies` has what the others of it are
    made from.
    """
    old = _open(grown) if grown else _Opened({name: [] for name in _COLUMNS}, b"", {})
    first, told = len(old.columns["body"]), [version for version, _ in versions]
    added = {name: [getattr(version, name) for version in told] for name in _OF_VERSIONS}
    added["left_seq"], added["left_at"] = [left.seq for _, left in versions], [left.at for _, left in versions]
    columns: dict[str, Any] = {
        name: old.columns[name] + _steps(numbers, sum(old.columns[name])) for name, numbers in added.items()
    }
    columns["next_key"] = old.columns["next_key"] + [version.next_key for version in told]
    columns["origin"] = old.columns["origin"] + [version.origin for version in told]
    columns["seen"] = old.columns["seen"] + [len(version.seen) for version in told]
    columns["body"] = old.columns["body"] + [len(version.body) for version in told]
    copies = [Copy(*share[:3]) for share in old.columns["shares"]] + [_NOTHING] * len(told)

    streams = []
    for page, places in _by_page(columns).items():
        if page not in bases:
            streams.append(old.streams[page])
            continue
        held = {place: told[place - first].body for place in places if place >= first}
        held.update(_bodies(old, page, bodies or {}) if page in old.streams else {})
        own = bases[page]
        body = own[-1].body if own else b""
        for place in places:
            if place == places[0] or place >= first:
                copies[place] = _shared(held[place], body)
            body = held[place]
        squeeze = zlib.compressobj(9, wbits=_RAW, zdict=b"".join(base.body for base in own))
        rests = b"".join(_rest(held[place], copies[place]) for place in places)
        streams.append(_Stream(places, list(map(name_of, own)), squeeze.compress(rests) + squeeze.flush(), _RAW))
    columns["streams"] = [[len(stream.data), *stream.bases] for stream in streams]

    seen, last = [old.seen], dict(zip(_pages(old.columns), _seens(old), strict=True))
    columns["shares"] = [[*copy, *share[3:]] for copy, share in zip(copies, old.columns["shares"], strict=False)]
    for copy, version in zip(copies[first:], told, strict=True):
        of_seen = _shared(version.seen, last.get(page_of(version), b""))
        columns["shares"].append([*copy, *of_seen])
        seen.append(_rest(version.seen, of_seen))
        last[page_of(version)] = version.seen
    head = json.dumps(columns, separators=(",", ":"), ensure_ascii=False).encode(errors="surrogatepass")
    squeezed = zlib.compress(len(head).to_bytes(4, "big") + head + b"".join(seen), 9)
    return len(squeezed).to_bytes(4, "big") + squeezed + b"".join(stream.data for stream in streams)


def _shared(data: bytes, before: bytes) -> Copy:
    """The longest that some bytes share with others, as far as a few looks find it."""
    found = _NOTHING
    for share in _PLACES:
        place = max(int((len(data) - _PROBE) * share), 0)
        at = before.find(data[place : place + _PROBE])
        if found.behind <= place < found.behind + found.length or at < 0:
            continue
        onward = _alike(data[place:], before[at:])
        back = _alike(data[:place][::-1], before[:at][::-1])
        found = max(found, Copy(at - back, back + onward, place - back), key=lambda copy: copy.length)
    return found


def _alike(one: bytes, other: bytes) -> int:
    """With how many of the same bytes two begin."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _rest(data: bytes, copy: Copy) -> bytes:
    return data[: copy.behind] + data[copy.behind + copy.length :]


def _put_together(rest: bytes, copy: Copy, before: bytes) -> bytes:
    start, length, behind = copy
    return rest[:behind] + before[start : start + length] + rest[behind:]


# Reading --------------------------------------------------------------------------------------------------------------


def read_names(data: bytes) -> list[Name]:
    """Which versions a block holds."""
    columns = _open(data).columns
    return [(*page, version) for page, version in zip(_pages(columns), _sums(columns["version"]), strict=True)]


def read_bases(data: bytes) -> dict[Page, list[Name]]:
    """From which versions those of each page in a block are made."""
    return {page: stream.bases for page, stream in _open(data).streams.items()}


def may_grow(data: bytes) -> bool:
    """Whether there is room for more versions in a block. The first blocks had another form."""
    columns = _open(data).columns
    return "shares" in columns and len(data) < BLOCK_BYTES and len(columns["body"]) < BLOCK_VERSIONS


def read_sizes(data: bytes) -> tuple[int, int, int, int]:
    """How many versions a block holds, the size of their bodies, and when the first and the last of them came."""
    columns = _open(data).columns
    came = _sums(columns["fetched_at"])
    return len(came), sum(columns["body"]), min(came), max(came)


def read_block(protocol: int, symbol: str, data: bytes, bodies: Mapping[Name, bytes]) -> list[PastVersion]:
    """The versions of a block, oldest first; `bodies` are those that are there already.

    What is made from one that is not there is left out.
    """
    opened = _open(data)
    columns = opened.columns
    own: dict[int, bytes] = {}
    for page, stream in opened.streams.items():
        if all(base in bodies for base in stream.bases):
            own.update(_bodies(opened, page, bodies))
    try:
        events = list(zip(*(_sums(columns[name]) for name in _OF_VERSIONS[2:]), strict=True))
        lefts = list(map(Event, _sums(columns["left_seq"]), _sums(columns["left_at"])))
        seens, found = _seens(opened), []
        for place, name in enumerate(read_names(data)):
            if place in own:
                fields = *name, columns["origin"][place], *events[place]
                version = Version(protocol, symbol, *fields, 0, seens[place], b"", own[place])  # type: ignore[call-arg]
                found.append(PastVersion(version.signed(), lefts[place]))
    except _FAULTS as error:
        raise Unreadable(str(error)) from None
    return found


def _bodies(opened: _Opened, page: Page, bodies: Mapping[Name, bytes]) -> dict[int, bytes]:
    """The bodies of a page in a block; `bodies` has what they are made from."""
    places, names, stream, wbits = opened.streams[page]
    try:
        bases = [bodies[name] for name in names]
        dictionary = b"".join(bases)
        with_header = wbits != _RAW and not dictionary
        plain = zlib.decompressobj() if with_header else zlib.decompressobj(wbits=wbits, zdict=dictionary)
        text = plain.decompress(stream)
        shares = opened.columns.get("shares")
        found, at = {}, 0
        body = bases[-1] if bases else b""
        for place in places if shares else reversed(places):  # the first blocks had whole bodies, and the oldest last
            copy, size = Copy(*shares[place][:3]) if shares else _NOTHING, opened.columns["body"][place]
            end = at + size - copy.length
            body = found[place] = _put_together(text[at:end], copy, body)
            at = end
            if len(body) != size:
                raise Unreadable("it is cut off")
    except _FAULTS as error:
        raise Unreadable(str(error)) from None
    if not plain.eof or len(text) != at:
        raise Unreadable("it is cut off")
    return found


def _seens(opened: _Opened) -> list[bytes]:
    """When the rows of each version were seen, as it says so."""
    columns, shares = opened.columns, opened.columns.get("shares")
    last: dict[Page, bytes] = {}
    found, at = [], 0
    for place, (size, page) in enumerate(zip(columns["seen"], _pages(columns), strict=True)):
        copy = Copy(*shares[place][3:]) if shares else _NOTHING
        end = at + size - copy.length
        last[page] = _put_together(opened.seen[at:end], copy, last.get(page, b""))
        found.append(last[page])
        at = end
    return found


@lru_cache(maxsize=2)  # what is in a block is asked more than once where it grows
def _open(data: bytes) -> _Opened:
    """A block, taken apart; nobody may change what is given."""
    try:
        end = 4 + int.from_bytes(data[:4], "big")
        plain = zlib.decompress(data[4:end])
        size = int.from_bytes(plain[:4], "big")
        columns = json.loads(plain[4 : 4 + size])
        return _Opened(columns, plain[4 + size :], _streams(columns, data[end:]))
    except _FAULTS as error:
        raise Unreadable(str(error)) from None


def _streams(columns: dict[str, Any], data: bytes) -> dict[Page, _Stream]:
    pages = _by_page(columns)
    if "streams" not in columns:  # the first blocks had one for all
        base, places = columns["base"], list(range(len(columns["body"])))
        bases = [] if base is None else [_name(base)]
        return {next(iter(pages)): _Stream(places, bases, data, zlib.MAX_WBITS)}
    found, at = {}, 0
    for (page, places), (size, *bases) in zip(pages.items(), columns["streams"], strict=True):
        found[page] = _Stream(places, list(map(_name, bases)), data[at : at + size], _RAW)
        at += size
    return found


def _by_page(columns: dict[str, Any]) -> dict[Page, list[int]]:
    """The places of the versions of each page."""
    found: dict[Page, list[int]] = {}
    for place, page in enumerate(_pages(columns)):
        found.setdefault(page, []).append(place)
    return found


def _pages(columns: dict[str, Any]) -> list[Page]:
    """Of which page each version is."""
    return list(zip(columns["next_key"], _sums(columns["num"]), strict=True))


def _name(told: Sequence[Any]) -> Name:
    return str(told[0]), int(told[1]), int(told[2])


def checksum(block: int, data: bytes) -> bytes:
    """The checksum of a block."""
    return hashlib.blake2b(block.to_bytes(8, "big", signed=True) + data, digest_size=DIGEST_BYTES).digest()


def digest(checksums: Iterable[bytes]) -> bytes:
    """A digest over all blocks of a symbol, in order; nothing where there are none."""
    told = b"".join(checksums)
    return hashlib.blake2b(told, digest_size=DIGEST_BYTES).digest() if told else b""


def _steps(numbers: Sequence[int], before: int) -> list[int]:
    return [number - last for last, number in zip((before, *numbers), numbers, strict=False)]


def _sums(steps: Sequence[int]) -> list[int]:
    return list(accumulate(steps))
