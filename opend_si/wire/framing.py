"""Frames: a 44-byte header and a body. Bytes in, frames out; no socket, no clock.

Header, little-endian: `FT`, protocol id u32, body format u8, version u8, serial u32, body length u32, SHA-1 of the
plain body, 8 reserved zero bytes.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from opend_si.errors import ProtocolError

HEADER = struct.Struct("<2sIBBII20s8s")
MAGIC = b"FT"
PROTOBUF = 0
# Longest body accepted. A page of 50 rows has under 8 KB; OpenD's largest replies stay far below this.
MAX_BODY_BYTES = 4 * 1024 * 1024
_VERSION = 0
_RESERVED = bytes(8)


@dataclass(frozen=True, slots=True)
class Frame:
    """One message on the wire."""

    proto_id: int
    serial: int
    body: bytes


def encode_frame(frame: Frame) -> bytes:
    """The bytes of `frame`."""
    digest = hashlib.sha1(frame.body, usedforsecurity=False).digest()
    length = len(frame.body)
    header = HEADER.pack(MAGIC, frame.proto_id, PROTOBUF, _VERSION, frame.serial, length, digest, _RESERVED)
    return header + frame.body


class FrameDecoder:
    """Cuts a byte stream into frames. Any chunking gives the same frames; after an error it gives no more.

    It never holds more than one body beyond what was fed, and refuses a length above `MAX_BODY_BYTES` on sight.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._error: str | None = None

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Take bytes; yields the frames that they complete."""
        self._buffer += data
        while (frame := self._next()) is not None:
            yield frame

    def _next(self) -> Frame | None:
        if self._error is not None:
            raise ProtocolError(self._error)
        buffer = self._buffer
        if not MAGIC.startswith(bytes(buffer[:2])) and bytes(buffer[:2]) != MAGIC:
            raise self._fail(f"a frame begins with {bytes(buffer[:2])!r}, not with {MAGIC!r}: this is no OpenD")
        if len(buffer) < HEADER.size:
            return None
        _, proto_id, body_format, _, serial, length, digest, _ = HEADER.unpack_from(buffer)
        if body_format != PROTOBUF:
            raise self._fail(f"a frame of protocol {proto_id} has body format {body_format}, not protobuf")
        if length > MAX_BODY_BYTES:
            raise self._fail(f"a frame of protocol {proto_id} announces {length} bytes, more than {MAX_BODY_BYTES}")
        end = HEADER.size + length
        if len(buffer) < end:
            return None
        body = bytes(memoryview(buffer)[HEADER.size : end])
        if hashlib.sha1(body, usedforsecurity=False).digest() != digest:
            raise self._fail(f"a frame of protocol {proto_id} has a body that does not match its SHA-1")
        del buffer[:end]
        return Frame(proto_id, serial, body)

    def _fail(self, text: str) -> ProtocolError:
        self._error = text
        self._buffer.clear()
        return ProtocolError(text)
