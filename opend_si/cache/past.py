"""The past of a symbol: versions that no answer of now needs, packed so that they can be given back to the byte.

They are kept in blocks. In a block the versions of one page are squeezed together, the newest first, with versions as
dictionary that are of the present or of a later block and say nearly the same: a body is then little more than the
rows that those lack. A block has a checksum of its own. Damage loses the versions of its block, and those that are
made from what is lost, never anything of the present.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from opend_si.cache.versions import DIGEST_BYTES, Event, PastVersion, Version

# Versions of a block. It is written again with each that comes, and begun anew when it is full. So many weeks of a
# newest page just fit into one page of the file, and a part of another.
BLOCK_VERSIONS = 30
# The fields of a version that a block holds as numbers; the others are texts and bytes, or the symbol's. When a request
# was sent is of no use any more.
_NUMBERS = (
    *("num", "version", "behind", "first_seq", "fetched_at", "checked_seq", "checked_at"),
    *("superseded_seq", "superseded_at", "void_seq", "void_at"),
)
# Deflate without a header of its own: the block has a checksum.
_RAW = -15
# Which version of which page.
Name = tuple[str, int, int]
Page = tuple[str, int]


class Unreadable(Exception):
    """A block is not what was written, or what it is made from is not there."""


def name_of(version: Version) -> Name:
    """Which of a symbol's versions it is."""
    return version.next_key, version.num, version.version


def page_of(version: Version) -> Page:
    """Of which page it is a version."""
    return version.next_key, version.num


def write_block(versions: Sequence[PastVersion], bases: Mapping[Page, Sequence[Version]]) -> bytes:
    """A block: the fields column by column, each number as what it adds to the one before; then the bodies, by page.

    `bases`: what the versions of a page are made from; the most alike stands last.
    """
    told = [version for version, _ in versions]
    columns: dict[str, Any] = {name: _steps([getattr(version, name) for version in told]) for name in _NUMBERS}
    columns["left_seq"] = _steps([left.seq for _, left in versions])
    columns["left_at"] = _steps([left.at for _, left in versions])
    columns["next_key"] = [version.next_key for version in told]
    columns["origin"] = [version.origin for version in told]
    columns["seen"] = [len(version.seen) for version in told]
    columns["body"] = [len(version.body) for version in told]
    streams, data = [], []
    for page, places in _by_page(columns["next_key"], [version.num for version in told]).items():
        own = bases.get(page, ())
        stream = zlib.compressobj(6, wbits=_RAW, zdict=b"".join(base.body for base in own))
        data.append(stream.compress(b"".join(told[place].body for place in reversed(places))) + stream.flush())
        streams.append([len(data[-1]), *map(name_of, own)])
    columns["streams"] = streams
    head = json.dumps(columns, separators=(",", ":"), ensure_ascii=False).encode(errors="surrogatepass")
    seen = b"".join(version.seen for version in told)
    squeezed = zlib.compress(len(head).to_bytes(4, "big") + head + seen, 9)
    return len(squeezed).to_bytes(4, "big") + squeezed + b"".join(data)


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
    try:
        columns, seen, rest = _head(data)
        own: dict[int, bytes] = {}
        for places, bases, stream, wbits in _streams(columns, rest):
            dictionaries = [bodies.get(base) for base in bases]
            if None not in dictionaries:
                dictionary = b"".join(filter(None, dictionaries))
                own.update(_bodies(stream, dictionary, wbits, {place: columns["body"][place] for place in places}))
        numbers = list(zip(*(_sums(columns[name]) for name in _NUMBERS), strict=True))
        lefts = list(map(Event, _sums(columns["left_seq"]), _sums(columns["left_at"])))
        found, at = [], 0
        for place, left in enumerate(lefts):
            fields = dict(zip(_NUMBERS, numbers[place], strict=True))
            length = columns["seen"][place]
            if place in own:
                version = Version(
                    protocol,
                    symbol,
                    columns["next_key"][place],
                    origin=columns["origin"][place],
                    sent=0,
                    seen=seen[at : at + length],
                    checksum=b"",
                    body=own[place],
                    **fields,
                )
                found.append(PastVersion(version.signed(), left))
            at += length
    except (ValueError, KeyError, TypeError, IndexError, zlib.error) as error:
        raise Unreadable(str(error)) from None
    return found


def _bodies(stream: bytes, dictionary: bytes, wbits: int, sizes: Mapping[int, int]) -> dict[int, bytes]:
    """The bodies of a stream; `sizes`: how long each is, oldest first."""
    if wbits != _RAW and not dictionary:
        plain = zlib.decompressobj()
    else:
        plain = zlib.decompressobj(wbits=wbits, zdict=dictionary)
    text = plain.decompress(stream)
    if not plain.eof or len(text) != sum(sizes.values()):
        raise Unreadable("it is cut off")
    found, end = {}, len(text)  # the oldest body stands last
    for place, size in sizes.items():
        found[place] = text[end - size : end]
        end -= size
    return found


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
