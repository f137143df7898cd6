"""The past of a symbol: versions that no history of now needs, packed so that they can be given back to the byte.

They are kept in blocks. The bodies of a block are squeezed together, the newest first, with a version as dictionary
that is of the present or of a later block: a body is then little more than the rows that the one after it lacks. A
block has a checksum of its own. Damage loses the versions of its block, and of the blocks that are made from it,
never anything of the present.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from opend_si.cache.versions import DIGEST_BYTES, Event, PastVersion, Version

# Versions of a block. It is written again with each that comes, and begun anew when it is full.
BLOCK_VERSIONS = 48
# The fields of a version that a block holds as numbers; the others are texts and bytes, or the symbol's.
_NUMBERS = (
    *("num", "version", "behind", "first_seq", "fetched_at", "checked_seq", "checked_at"),
    *("superseded_seq", "superseded_at", "void_seq", "void_at", "sent"),
)
# Which version of which page.
Name = tuple[str, int, int]


class Unreadable(Exception):
    """A block is not what was written, or what it is made from is not there."""


def name_of(version: Version) -> Name:
    """Which of a symbol's versions it is."""
    return version.next_key, version.num, version.version


def write_block(versions: Sequence[PastVersion], base: Version | None) -> bytes:
    """A block: the fields column by column, each number as what it adds to the one before; then the bodies."""
    told = [version for version, _ in versions]
    columns: dict[str, Any] = {name: _steps([getattr(version, name) for version in told]) for name in _NUMBERS}
    columns["left_seq"] = _steps([left.seq for _, left in versions])
    columns["left_at"] = _steps([left.at for _, left in versions])
    columns["next_key"] = [version.next_key for version in told]
    columns["origin"] = [version.origin for version in told]
    columns["seen"] = [len(version.seen) for version in told]
    columns["body"] = [len(version.body) for version in told]
    columns["base"] = None if base is None else name_of(base)
    head = json.dumps(columns, separators=(",", ":"), ensure_ascii=False).encode(errors="surrogatepass")
    seen = b"".join(version.seen for version in told)
    squeezed = zlib.compress(len(head).to_bytes(4, "big") + head + seen, 9)
    stream = zlib.compressobj(6, zdict=base.body) if base is not None and base.body else zlib.compressobj(6)
    bodies = stream.compress(b"".join(version.body for version in reversed(told))) + stream.flush()
    return len(squeezed).to_bytes(4, "big") + squeezed + bodies


def read_names(data: bytes) -> tuple[list[Name], Name | None]:
    """Which versions a block holds, and from which it is made."""
    try:
        columns, _, _ = _head(data)
        names = list(zip(columns["next_key"], _sums(columns["num"]), _sums(columns["version"]), strict=True))
        base = columns["base"]
        return names, None if base is None else (str(base[0]), int(base[1]), int(base[2]))
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
    """The versions of a block, oldest first; `bodies` are those that are there already."""
    _, base = read_names(data)
    dictionary = b"" if base is None else bodies.get(base)
    if dictionary is None:
        raise Unreadable("what it is made from is not there")
    try:
        columns, seen, stream = _head(data)
        plain = zlib.decompressobj(zdict=dictionary) if dictionary else zlib.decompressobj()
        text = plain.decompress(stream)
        if not plain.eof or len(text) != sum(columns["body"]):
            raise Unreadable("it is cut off")
        numbers = list(zip(*(_sums(columns[name]) for name in _NUMBERS), strict=True))
        lefts = list(map(Event, _sums(columns["left_seq"]), _sums(columns["left_at"])))
        found, at, end = [], 0, len(text)  # the oldest body stands last
        for place, left in enumerate(lefts):
            fields = dict(zip(_NUMBERS, numbers[place], strict=True))
            length, size = columns["seen"][place], columns["body"][place]
            version = Version(
                protocol,
                symbol,
                columns["next_key"][place],
                origin=columns["origin"][place],
                seen=seen[at : at + length],
                checksum=b"",
                body=text[end - size : end],
                **fields,
            )
            found.append(PastVersion(version.signed(), left))
            at, end = at + length, end - size
    except (ValueError, KeyError, TypeError, IndexError, zlib.error) as error:
        raise Unreadable(str(error)) from None
    return found


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
