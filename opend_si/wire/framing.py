"""Frames: a 44-byte header and a body. Bytes in, frames out; no socket, no clock.

Header, little-endian: `FT`, protocol id u32, body format u8, version u8, serial u32, body length on the wire u32, SHA-1
of the plain body, 8 reserved zero bytes. What a body is on the wire is a cipher's business.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from opend_si.errors import ProtocolError
from opend_si.wire.ciphers import Cipher, Plain
from opend_si.wire.errors import BodyMismatch

HEADER = struct.Struct("<2sIBBII20s8s")
MAGIC = b"FT"
PROTOBUF, JSON = 0, 1
PLAIN = Plain()
# Longest body accepted. A page of 50 rows has under 8 KB; OpenD's largest replies stay far below this.
MAX_BODY_BYTES = 4 * 1024 * 1024
_VERSION = 0
_RESERVED = bytes(8)


@dataclass(frozen=True, slots=True)
class Frame:
    """One message."""

    proto_id: int
    serial: int
    body: bytes
    body_format: int = PROTOBUF


def encode_frame(frame: Frame, cipher: Cipher = PLAIN) -> bytes:
    """The bytes of `frame`."""
    digest = _sha1(frame.body)
    body = cipher.encrypt(frame.body)
    head = frame.proto_id, frame.body_format, _VERSION, frame.serial, len(body), digest, _RESERVED
    return HEADER.pack(MAGIC, *head) + body


class FrameDecoder:
    """Cuts a byte stream into frames. Any chunking gives the same frames; after an error it gives no more.

    It never holds more than one body beyond what was fed, and refuses a length above `MAX_BODY_BYTES` on sight.

    Args:
        cipher: Decrypts frames; also an attribute, which may be changed between two frames that `feed` yields.
        formats: The body formats that are let in. OpenD answers in the format of the request, so a client takes its
            own.

    """

    def __init__(self, cipher: Cipher = PLAIN, formats: Collection[int] = (PROTOBUF,)) -> None:
        self.cipher = cipher
        self._formats = formats
        self._buffer = bytearray()
        self._error: ProtocolError | None = None

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Take bytes; yields the frames that they complete."""
        if self._error is None:
            self._buffer += data
        while (frame := self._next()) is not None:
            yield frame

    def _next(self) -> Frame | None:
        if self._error is not None:
            raise type(self._error)(*self._error.args)
        buffer = self._buffer
        if not MAGIC.startswith(bytes(buffer[:2])) and bytes(buffer[:2]) != MAGIC:
            raise self._fail(f"a frame begins with {bytes(buffer[:2])!r}, not with {MAGIC!r}: this is no OpenD")
        if len(buffer) < HEADER.size:
            return None
        _, proto_id, body_format, _, serial, length, digest, _ = HEADER.unpack_from(buffer)
        if body_format not in self._formats:
            raise self._fail(f"a frame of protocol {proto_id} has body format {body_format}, not protobuf")
        if length > MAX_BODY_BYTES:
            raise self._fail(f"a frame of protocol {proto_id} announces {length} bytes, more than {MAX_BODY_BYTES}")
        end = HEADER.size + length
        if len(buffer) < end:
            return None
        body = self._open(proto_id, bytes(memoryview(buffer)[HEADER.size : end]), digest)
        del buffer[:end]
        return Frame(proto_id, serial, body, body_format)

    def _open(self, proto_id: int, sealed: bytes, digest: bytes) -> bytes:
        try:
            body = self.cipher.decrypt(sealed)
        except ValueError:
            pass
        else:
            if _sha1(body) == digest:
                return body
        what = f"a frame of protocol {proto_id}"
        if _sha1(sealed) == digest:
            raise self._fail(f"{what} came unencrypted on an encrypted connection", BodyMismatch)
        raise self._fail(f"{what} has a body that {self.cipher.mismatch}", BodyMismatch)

    def _fail(self, text: str, kind: type[ProtocolError] = ProtocolError) -> ProtocolError:
        self._error = kind(text)
        self._buffer.clear()
        return self._error


def _sha1(body: bytes) -> bytes:
    return hashlib.sha1(body, usedforsecurity=False).digest()
