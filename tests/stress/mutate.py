"""Bytes that are nearly right."""

from __future__ import annotations

import hashlib
import random

from opend_si.wire.framing import HEADER

# Lengths and numbers at which code goes wrong.
_EDGES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 1)


def mutated(data: bytes, chance: random.Random) -> bytes:
    """The bytes with one to four changes."""
    spoiled = bytearray(data)
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        if not spoiled:
            return chance.randbytes(chance.randrange(64))
        place = _place(spoiled, chance)
        end = place + chance.choice((1, 1, 2, 4, 8, 16, 100))
        match chance.randrange(7):
            case 0:
                spoiled[place] ^= 1 << chance.randrange(8)
            case 1:
                spoiled[place:end] = chance.randbytes(end - place)
            case 2:
                del spoiled[place:end]
            case 3:
                spoiled[place:place] = spoiled[place:end]
            case 4:
                spoiled[place:end] = _varint(chance.choice(_EDGES))
            case 5:
                size = chance.choice((1, 2, 4, 8))
                spoiled[place : place + size] = (chance.choice(_EDGES) % 2 ** (8 * size)).to_bytes(size, "little")
            case _:
                del spoiled[place:]
    return bytes(spoiled)


def _place(data: bytearray, chance: random.Random) -> int:
    """Anywhere; a third of all changes meet the first bytes, where headers and tags are."""
    return chance.randrange(min(len(data), HEADER.size) if chance.random() < 0.33 else len(data))


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def chunks(data: bytes, chance: random.Random) -> list[bytes]:
    """The bytes in pieces as they may come over a wire."""
    cuts = sorted(chance.randrange(len(data) + 1) for _ in range(chance.choice((0, 0, 1, 3, 10))))
    return [data[first:last] for first, last in zip([0, *cuts], [*cuts, len(data)], strict=True)]


def sealed(proto_id: int, serial: int, body: bytes, plain: bytes | None = None) -> bytes:
    """A frame whose header says nothing wrong of its body."""
    digest = hashlib.sha1(body if plain is None else plain, usedforsecurity=False).digest()
    return HEADER.pack(b"FT", proto_id, 0, 0, serial, len(body), digest, bytes(8)) + body
