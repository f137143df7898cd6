"""Cuts a stream of frames: what passes goes on in long pieces, frames that are taken come out whole. No socket.

Only headers are read. A body that passes is never gathered, so it may have any length.
"""

from __future__ import annotations

import struct
from collections.abc import Container, Iterator
from dataclasses import dataclass

from opend_si.errors import ProtocolError
from opend_si.wire.framing import HEADER, MAGIC

# Magic, protocol id and body length of a header; what stands between them is not looked at.
_HEAD = struct.Struct("<2sI6xI")
# Longest body that is taken: requests have some hundred bytes.
MAX_TAKEN_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class Taken:
    """A whole frame that does not pass, as it came."""

    proto_id: int
    data: bytes


class Cutter:
    """Cuts a stream at any chunking of it.

    Attributes:
        taken: The protocols whose frames are taken out. It may be changed whenever `feed` has yielded a taken frame.
        left: How many bytes of a passing frame are still to come; 0 between frames.

    """

    def __init__(self, taken: Container[int]) -> None:
        self.taken = taken
        self.left = 0
        self._held = bytearray()  # the beginning of a frame of which it is not known yet, or whole enough
        self._needed = 0

    def feed(self, data: bytes) -> Iterator[bytes | Taken]:
        """Take bytes; yields what passes, and the frames that are taken, in their order.

        Raises:
            ProtocolError: the stream is not one of frames, or a frame to be taken is too long. What stands before
                passes.

        """
        if self._held:
            self._held += data
            if len(self._held) < self._needed:
                return
            data = bytes(self._held)
            self._held.clear()
        size = len(data)
        begin, place = 0, min(self.left, size)
        self.left -= place
        while place < size:
            needed, fault = HEADER.size, ""
            if not MAGIC.startswith(data[place : place + 2]):
                fault = f"a frame begins with {data[place : place + 2]!r}, not with {MAGIC!r}"
            elif size - place >= needed:
                _, proto_id, length = _HEAD.unpack_from(data, place)
                needed += length
                if proto_id not in self.taken:
                    place += needed
                    if place > size:
                        self.left, place = place - size, size
                    continue
                if length > MAX_TAKEN_BYTES:
                    fault = f"a frame of protocol {proto_id} announces {length} bytes, more than {MAX_TAKEN_BYTES}"
            if place > begin:
                yield data[begin:place]
                begin = place
            if fault:
                raise ProtocolError(fault)
            if size - place < needed:
                self._held += data[place:]
                self._needed = needed
                return
            begin = place = place + needed
            yield Taken(proto_id, data[place - needed : place])
        if place > begin:
            yield data[begin:place]
