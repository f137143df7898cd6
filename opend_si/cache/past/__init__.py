"""The past of a symbol: versions that no answer of now needs, packed so that they can be given back to the byte.

They are kept in blocks, and made from rows of the present or of a later block. A block has a checksum of its own.
Damage loses the versions of its block, and those that are made from what is lost, never anything of the present.

pieces      a reply's body as its rows, and what stands around them
block       a block: versions told by their rows
older       blocks as earlier releases wrote them
names       how versions are named
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from types import ModuleType

from opend_si.cache.past import block, older
from opend_si.cache.past.block import MOST_VERSIONS, read_bases, write
from opend_si.cache.past.names import Name, Page, Unreadable, name_of, page_of
from opend_si.cache.versions import DIGEST_BYTES, PastVersion

__all__ = [
    "MOST_VERSIONS",
    "Name",
    "Page",
    "Unreadable",
    "checksum",
    "digest",
    "is_open",
    "may_join",
    "name_of",
    "page_of",
    "read",
    "read_bases",
    "read_names",
    "read_sizes",
    "write",
]


def read_names(data: bytes) -> list[Name]:
    """Which versions a block holds."""
    names: list[Name] = _form(data).read_names(data)
    return names


def is_open(data: bytes) -> bool:
    """Whether a block that is the last one has room for more versions. Those of earlier releases have none."""
    return _form(data) is block and block.is_open(data)


def may_join(data: bytes, other: bytes) -> bool:
    """Whether the versions of another block can become a part of a block."""
    return _form(data) is _form(other) is block and block.may_join(data, other)


def read_sizes(data: bytes) -> tuple[int, int, int, int]:
    """How many versions a block holds, the size of their bodies, and when the first and the last of them came."""
    sizes: tuple[int, int, int, int] = _form(data).read_sizes(data)
    return sizes


def read(protocol: int, symbol: str, data: bytes, bodies: Mapping[Name, bytes]) -> list[PastVersion]:
    """The versions of a block, oldest first; `bodies` are those that are there already.

    What is made from one that is not there is left out.
    """
    versions: list[PastVersion] = _form(data).read(protocol, symbol, data, bodies)
    return versions


def _form(data: bytes) -> ModuleType:
    return block if data.startswith(block.MARK) else older


def checksum(number: int, data: bytes) -> bytes:
    """The checksum of a block."""
    return hashlib.blake2b(number.to_bytes(8, "big", signed=True) + data, digest_size=DIGEST_BYTES).digest()


def digest(checksums: Iterable[bytes]) -> bytes:
    """A digest over all blocks of a symbol, in order; nothing where there are none."""
    told = b"".join(checksums)
    return hashlib.blake2b(told, digest_size=DIGEST_BYTES).digest() if told else b""
