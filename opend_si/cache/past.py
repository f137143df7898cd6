"""The past of a symbol: versions that no history of now needs, packed so that they can be given back to the byte.

A version is kept as what it takes to make it from the one that was current when it left the present: zlib, with that one
as the dictionary; zlib's own checksums are of the dictionary and of what is undone. A block holds the entries of many.
Damage loses the entries of its block and those that are made from them, never anything of the present.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from opend_si.cache.versions import DIGEST_BYTES, Event, PastVersion, Version

# Entries of a block. It is written again with each entry, and begun anew when it is full.
BLOCK_ENTRIES = 48
# The fields of a version that an entry holds as numbers; the others are texts and bytes, or the symbol's.
_NUMBERS = (
    *("num", "version", "behind", "first_seq", "fetched_at", "checked_seq", "checked_at"),
    *("superseded_seq", "superseded_at", "void_seq", "void_at", "sent"),
)
Identity = tuple[int, str, str, int]


class Entry(NamedTuple):
    """A version without its body: what its body is made from, 0 for nothing, and what that lacks."""

    version: Version
    left: Event
    base: int
    delta: bytes


class Unreadable(Exception):
    """A block is not what was written."""


def pack(version: Version, left: Event, base: Version | None) -> Entry:
    """A version as an entry, made from another version of the same page."""
    dictionary = b"" if base is None else base.body
    squeeze = zlib.compressobj(9, zdict=dictionary) if dictionary else zlib.compressobj(9)
    delta = squeeze.compress(version.body) + squeeze.flush()
    return Entry(version._replace(body=b"", checksum=b""), left, 0 if base is None else base.version, delta)


def write_block(entries: Sequence[Entry]) -> bytes:
    """A block of entries: their fields column by column, each number as what it adds to the one before, then the deltas."""
    columns: dict[str, Any] = {name: _steps([getattr(entry.version, name) for entry in entries]) for name in _NUMBERS}
    columns["left_seq"] = _steps([entry.left.seq for entry in entries])
    columns["left_at"] = _steps([entry.left.at for entry in entries])
    columns["base"] = [entry.base - entry.version.version if entry.base else None for entry in entries]
    columns["next_key"] = [entry.version.next_key for entry in entries]
    columns["origin"] = [entry.version.origin for entry in entries]
    columns["seen"] = [len(entry.version.seen) for entry in entries]
    columns["delta"] = [len(entry.delta) for entry in entries]
    head = json.dumps(columns, separators=(",", ":"), ensure_ascii=False).encode(errors="surrogatepass")
    seen = b"".join(entry.version.seen for entry in entries)
    squeezed = zlib.compress(len(head).to_bytes(4, "big") + head + seen, 9)
    return len(squeezed).to_bytes(4, "big") + squeezed + b"".join(entry.delta for entry in entries)


def read_block(protocol: int, symbol: str, data: bytes) -> list[Entry]:
    """The entries of a block; `Unreadable` if it is none."""
    try:
        end = 4 + int.from_bytes(data[:4], "big")
        plain = zlib.decompress(data[4:end])
        size = int.from_bytes(plain[:4], "big")
        columns = json.loads(plain[4 : 4 + size])
        numbers = zip(*(_sums(columns[name]) for name in _NUMBERS), strict=True)
        lefts = zip(_sums(columns["left_seq"]), _sums(columns["left_at"]), strict=True)
        rest = zip(*(columns[name] for name in ("base", "next_key", "origin", "seen", "delta")), strict=True)
        entries, at = [], 4 + size
        for values, left, (base, next_key, origin, seen, delta) in zip(numbers, lefts, rest, strict=True):
            fields = dict(zip(_NUMBERS, values, strict=True))
            version = Version(
                protocol, symbol, next_key, origin=origin, seen=plain[at : at + seen], checksum=b"", body=b"", **fields
            )
            entries.append(
                Entry(version, Event(*left), 0 if base is None else base + version.version, data[end : end + delta])
            )
            at, end = at + seen, end + delta
    except (ValueError, KeyError, TypeError, zlib.error, OverflowError) as error:
        raise Unreadable(str(error)) from None
    return entries


def undo(entries: Iterable[Entry], present: Mapping[tuple[Identity, int], bytes]) -> tuple[list[PastVersion], int]:
    """The versions of some entries, and how many are lost; `present` are the bodies that are there as they came."""
    bodies = dict(present)
    found, lost = [], 0
    # What one is made from always has a higher number.
    for entry in sorted(entries, key=lambda entry: -entry.version.version):
        identity = entry.version.identity
        dictionary = bodies.get((identity, entry.base)) if entry.base else b""
        try:
            if dictionary is None:
                raise zlib.error("what it is made from is not there")
            plain = zlib.decompressobj(zdict=dictionary) if dictionary else zlib.decompressobj()
            body = plain.decompress(entry.delta)
            if not plain.eof:
                raise zlib.error("it is cut off")
        except zlib.error:
            lost += 1
            continue
        bodies[identity, entry.version.version] = body
        found.append(PastVersion(entry.version._replace(body=body).signed(), entry.left))
    return found[::-1], lost


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
