"""Blocks of the past as earlier releases wrote them: they are read, and not grown.

In a block a version is told as what it shares with the version before it of the same page, and the rest. The rests of a
page's versions are squeezed together, with versions as dictionary that are of the present or of a later block.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from opend_si.cache.past.names import FAULTS, Name, Page, Unreadable, read_name, sums
from opend_si.cache.versions import Event, PastVersion, Version

# The fields of a version that a block holds as numbers; the others are texts and bytes, or the symbol's.
_OF_VERSIONS = (
    *("num", "version", "behind", "first_seq", "fetched_at", "checked_seq", "checked_at"),
    *("superseded_seq", "superseded_at", "void_seq", "void_at"),
)
# Deflate without a header of its own: the block has a checksum.
_RAW = -15


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


def _put_together(rest: bytes, copy: Copy, before: bytes) -> bytes:
    start, length, behind = copy
    return rest[:behind] + before[start : start + length] + rest[behind:]


def read_names(data: bytes) -> list[Name]:
    """Which versions a block holds."""
    columns = _open(data).columns
    return [(*page, version) for page, version in zip(_pages(columns), sums(columns["version"]), strict=True)]


def read_sizes(data: bytes) -> tuple[int, int, int, int]:
    """How many versions a block holds, the size of their bodies, and when the first and the last of them came."""
    columns = _open(data).columns
    came = sums(columns["fetched_at"])
    return len(came), sum(columns["body"]), min(came), max(came)


def read(protocol: int, symbol: str, data: bytes, bodies: Mapping[Name, bytes]) -> list[PastVersion]:
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
        events = list(zip(*(sums(columns[name]) for name in _OF_VERSIONS[2:]), strict=True))
        lefts = list(map(Event, sums(columns["left_seq"]), sums(columns["left_at"])))
        seens, found = _seens(opened), []
        for place, name in enumerate(read_names(data)):
            if place in own:
                fields = *name, columns["origin"][place], *events[place]
                version = Version(protocol, symbol, *fields, 0, seens[place], b"", own[place])  # type: ignore[call-arg]
                found.append(PastVersion(version.signed(), lefts[place]))
    except FAULTS as error:
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
    except FAULTS as error:
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


@lru_cache(maxsize=2)  # what is in a block is asked more than once
def _open(data: bytes) -> _Opened:
    """A block, taken apart; nobody may change what is given."""
    try:
        end = 4 + int.from_bytes(data[:4], "big")
        plain = zlib.decompress(data[4:end])
        size = int.from_bytes(plain[:4], "big")
        columns = json.loads(plain[4 : 4 + size])
        return _Opened(columns, plain[4 + size :], _streams(columns, data[end:]))
    except FAULTS as error:
        raise Unreadable(str(error)) from None


def _streams(columns: dict[str, Any], data: bytes) -> dict[Page, _Stream]:
    pages = _by_page(columns)
    if "streams" not in columns:  # the first blocks had one for all
        base, places = columns["base"], list(range(len(columns["body"])))
        bases = [] if base is None else [read_name(base)]
        return {next(iter(pages)): _Stream(places, bases, data, zlib.MAX_WBITS)}
    found, at = {}, 0
    for (page, places), (size, *bases) in zip(pages.items(), columns["streams"], strict=True):
        found[page] = _Stream(places, list(map(read_name, bases)), data[at : at + size], _RAW)
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
    return list(zip(columns["next_key"], sums(columns["num"]), strict=True))
