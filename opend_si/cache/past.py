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
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import repeat
from typing import Any, NamedTuple

from opend_si.cache.versions import DIGEST_BYTES, Event, PastVersion, Version

# A block is written again with each version that comes, and begun anew when it has so many bytes, which just fit into
# one page of the file and a part of another, or so many versions.
BLOCK_BYTES, BLOCK_VERSIONS = 2100, 80
# The fields of a version that a block holds as numbers; the others are texts and bytes, or the symbol's. When a request
# was sent is of no use any more.
_NUMBERS = (
    *("num", "version", "behind", "first_seq", "fetched_at", "checked_seq", "checked_at"),
    *("superseded_seq", "superseded_at", "void_seq", "void_at"),
)
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


class Shares(NamedTuple):
    """What a version shares with the one before it: of its body, and of when its rows were seen."""

    body: Copy
    seen: Copy


_NOTHING = Copy(0, 0, 0)


def name_of(version: Version) -> Name:
    """Which of a symbol's versions it is."""
    return version.next_key, version.num, version.version


def page_of(version: Version) -> Page:
    """Of which page it is a version."""
    return version.next_key, version.num


def write_block(
    versions: Sequence[PastVersion], bases: Mapping[Page, Sequence[Version]], known: Sequence[Shares] = ()
) -> bytes:
    """A block: the fields column by column, each number as what it adds to the one before; then the bodies, by page.

    `bases`: what the versions of a page are made from; the most alike stands last. `known`: what the first versions
    share with those before them, as far as that is known.
    """
    told = [version for version, _ in versions]
    columns: dict[str, Any] = {name: _steps([getattr(version, name) for version in told]) for name in _NUMBERS}
    columns["left_seq"] = _steps([left.seq for _, left in versions])
    columns["left_at"] = _steps([left.at for _, left in versions])
    columns["next_key"] = [version.next_key for version in told]
    columns["origin"] = [version.origin for version in told]
    columns["seen"] = [len(version.seen) for version in told]
    columns["body"] = [len(version.body) for version in told]
    shares: list[Shares] = [*known, *repeat(Shares(_NOTHING, _NOTHING), len(told) - len(known))]
    streams, data = [], []
    for page, places in _by_page(columns["next_key"], [version.num for version in told]).items():
        own = bases.get(page, ())
        before, body, seen = -1, own[-1].body if own else b"", b""
        for place in places:
            if before < 0 or place >= len(known):
                shares[place] = Shares(_shared(told[place].body, body), _shared(told[place].seen, seen))
            before, body, seen = place, told[place].body, told[place].seen
        stream = zlib.compressobj(9, wbits=_RAW, zdict=b"".join(base.body for base in own))
        rests = (_rest(told[place].body, shares[place].body) for place in places)
        data.append(stream.compress(b"".join(rests)) + stream.flush())
        streams.append([len(data[-1]), *map(name_of, own)])
    columns["streams"] = streams
    columns["shares"] = [[number for copy in both for number in copy] for both in shares]
    head = json.dumps(columns, separators=(",", ":"), ensure_ascii=False).encode(errors="surrogatepass")
    seen = b"".join(_rest(version.seen, share.seen) for version, share in zip(told, shares, strict=True))
    squeezed = zlib.compress(len(head).to_bytes(4, "big") + head + seen, 9)
    return len(squeezed).to_bytes(4, "big") + squeezed + b"".join(data)


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


def read_names(data: bytes) -> tuple[list[Name], list[Name]]:
    """Which versions a block holds, and from which it is made."""
    try:
        columns, _, _ = _head(data)
        names = list(zip(columns["next_key"], _sums(columns["num"]), _sums(columns["version"]), strict=True))
        return names, [base for _, bases, _, _ in _streams(columns, b"") for base in bases]
    except (ValueError, KeyError, TypeError, IndexError, zlib.error) as error:
        raise Unreadable(str(error)) from None


def read_sizes(data: bytes) -> tuple[int, int, int, int]:
    """How many versions a block holds, the size of their bodies, and when the first and the last of them came."""
    try:
        columns, _, _ = _head(data)
        came = _sums(columns["fetched_at"])
        return len(came), sum(columns["body"]), min(came), max(came)
    except (ValueError, KeyError, TypeError, IndexError, zlib.error) as error:
        raise Unreadable(str(error)) from None


def read_block(protocol: int, symbol: str, data: bytes, bodies: Mapping[Name, bytes]) -> list[PastVersion]:
    """The versions of a block, oldest first; `bodies` are those that are there already.

    What is made from one that is not there is left out.
    """
    found, _ = read_to_grow(protocol, symbol, data, bodies)
    return [PastVersion(version.signed(), left) for version, left in found]


def read_to_grow(
    protocol: int, symbol: str, data: bytes, bodies: Mapping[Name, bytes]
) -> tuple[list[PastVersion], list[Shares]]:
    """The same without checksums, and what the first versions share with those before them, as far as that is told."""
    try:
        columns, seen, rest = _head(data)
        shares = [Shares(Copy(*told[:3]), Copy(*told[3:])) for told in columns.get("shares", ())]
        own: dict[int, bytes] = {}
        for places, bases, stream, wbits in _streams(columns, rest):
            dictionaries = [bodies.get(base) for base in bases]
            if None not in dictionaries:
                told = list(filter(None, dictionaries))
                sizes = {place: columns["body"][place] for place in places}
                own.update(_bodies(stream, told, wbits, sizes, shares))
        numbers = list(zip(*(_sums(columns[name]) for name in _NUMBERS), strict=True))
        lefts = map(Event, _sums(columns["left_seq"]), _sums(columns["left_at"]))
        pages = zip(columns["next_key"], (fields[0] for fields in numbers), strict=True)
        seens = _seens(seen, columns["seen"], list(pages), shares)
        found = []
        for place, (left, own_seen) in enumerate(zip(lefts, seens, strict=True)):
            if place in own:
                fields = dict(zip(_NUMBERS, numbers[place], strict=True))
                next_key, origin = columns["next_key"][place], columns["origin"][place]
                version = Version(
                    protocol,
                    symbol,
                    next_key,
                    origin=origin,
                    sent=0,
                    seen=own_seen,
                    checksum=b"",
                    body=own[place],
                    **fields,
                )
                found.append(PastVersion(version, left))
    except (ValueError, KeyError, TypeError, IndexError, zlib.error) as error:
        raise Unreadable(str(error)) from None
    return found, shares if len(shares) == len(found) else []


def _bodies(
    stream: bytes, bases: Sequence[bytes], wbits: int, sizes: Mapping[int, int], shares: Sequence[Shares]
) -> dict[int, bytes]:
    """The bodies of a stream; `sizes`: how long each is, oldest first."""
    dictionary = b"".join(bases)
    if wbits != _RAW and not dictionary:
        plain = zlib.decompressobj()
    else:
        plain = zlib.decompressobj(wbits=wbits, zdict=dictionary)
    text = plain.decompress(stream)
    found, at = {}, 0
    if not shares:  # the first blocks had whole bodies, and the oldest last
        sizes = {place: sizes[place] for place in reversed(list(sizes))}
    body = bases[-1] if bases else b""
    for place, size in sizes.items():
        copy = shares[place].body if shares else _NOTHING
        end = at + size - copy.length
        body = found[place] = _put_together(text[at:end], copy, body)
        at = end
    if not plain.eof or len(text) != at or any(len(found[place]) != size for place, size in sizes.items()):
        raise Unreadable("it is cut off")
    return found


def _seens(data: bytes, sizes: Sequence[int], pages: Sequence[Page], shares: Sequence[Shares]) -> Iterator[bytes]:
    """When the rows of each version were seen."""
    last: dict[Page, bytes] = {}
    at = 0
    for place, (size, page) in enumerate(zip(sizes, pages, strict=True)):
        copy = shares[place].seen if shares else _NOTHING
        end = at + size - copy.length
        last[page] = _put_together(data[at:end], copy, last.get(page, b""))
        yield last[page]
        at = end


def _streams(columns: dict[str, Any], data: bytes) -> list[tuple[list[int], list[Name], bytes, int]]:
    """The streams of a block: which versions it has, from which they are made, the bytes, how they are squeezed."""
    if "streams" not in columns:  # the first blocks had one for all
        base = columns["base"]
        return [(list(range(len(columns["body"]))), [] if base is None else [_name(base)], data, zlib.MAX_WBITS)]
    found, at = [], 0
    pages = _by_page(columns["next_key"], _sums(columns["num"]))
    for places, (size, *bases) in zip(pages.values(), columns["streams"], strict=True):
        found.append((places, list(map(_name, bases)), data[at : at + size], _RAW))
        at += size
    return found


def _by_page(next_keys: Sequence[str], nums: Sequence[int]) -> dict[Page, list[int]]:
    """The places of the versions of each page."""
    found: dict[Page, list[int]] = {}
    for place, page in enumerate(zip(next_keys, nums, strict=True)):
        found.setdefault(page, []).append(place)
    return found


def _name(told: Sequence[Any]) -> Name:
    return str(told[0]), int(told[1]), int(told[2])


def _head(data: bytes) -> tuple[dict[str, Any], bytes, bytes]:
    """The fields of a block, when rows were seen, and the squeezed bodies."""
    end = 4 + int.from_bytes(data[:4], "big")
    plain = zlib.decompress(data[4:end])
    size = int.from_bytes(plain[:4], "big")
    return json.loads(plain[4 : 4 + size]), plain[4 + size :], data[end:]


def checksum(block: int, data: bytes) -> bytes:
    """The checksum of a block."""
    return hashlib.blake2b(block.to_bytes(8, "big", signed=True) + data, digest_size=DIGEST_BYTES).digest()


def digest(checksums: Iterable[bytes]) -> bytes:
    """A digest over all blocks of a symbol, in order; nothing where there are none."""
    told = b"".join(checksums)
    return hashlib.blake2b(told, digest_size=DIGEST_BYTES).digest() if told else b""


def _steps(numbers: Sequence[int]) -> list[int]:
    return [number - before for before, number in zip((0, *numbers), numbers, strict=False)]


def _sums(steps: Sequence[int]) -> list[int]:
    numbers, last = [], 0
    for step in steps:
        last += step
        numbers.append(last)
    return numbers
