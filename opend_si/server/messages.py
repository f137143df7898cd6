"""Messages of OpenD's WebSocket port: a head and a body. Bytes in, messages out; no socket.

Big-endian. A request begins with `ft-v1.0` and a zero byte, its command u32 and its section u64. A reply begins alike,
followed by an error i32 and the error's text in 20 bytes. Bodies are protobuf. A command is a frame's protocol id, but
for two of the port's own; a section is to a message what a serial is to a frame, and a push has section 0.
"""

from __future__ import annotations

import hashlib
import hmac
import struct
from dataclasses import dataclass

from google.protobuf.message import DecodeError

from opend_si.errors import ProtocolError
from opend_si.pages.replies import read_text
from opend_si_schema import init_web_socket

INIT_WEBSOCKET, OPEND_GONE = 1, 2
# Commands below this are the port's own.
FIRST_PROTOCOL = 100
# The errors of a head. The published client knows 1 (no reply in time), 2 (OpenD's time-out) and 3; what OpenD sends
# for a wrong key is not known.
DISCONNECTED, REFUSED = 3, -1
PUSHED = 0
# Longest body of a request: they have some hundred bytes.
MAX_REQUEST_BYTES = 256 * 1024
_MAGIC = b"ft-v1.0\0"
_REQUEST = struct.Struct(">8sIQ")
_REPLY = struct.Struct(">8sIQi20s")
MAX_MESSAGE_BYTES = _REQUEST.size + MAX_REQUEST_BYTES


@dataclass(frozen=True, slots=True)
class Message:
    """A request."""

    command: int
    section: int
    body: bytes


def read_request(data: bytes) -> Message:
    """The request in a message; `ProtocolError` if there is none."""
    if len(data) < _REQUEST.size:
        raise ProtocolError(f"a message has {len(data)} bytes, fewer than its head ({_REQUEST.size})")
    magic, command, section = _REQUEST.unpack_from(data)
    if magic != _MAGIC:
        raise ProtocolError(f"a message begins with {magic!r}, not with {_MAGIC!r}")
    return Message(command, section, data[_REQUEST.size :])


def write_reply(command: int, section: int, body: bytes = b"", error: int = 0, text: str = "") -> bytes:
    """The message that answers a request, or a push: section `PUSHED`."""
    return _REPLY.pack(_MAGIC, command, section, error, text.encode()) + body


def gives_key(body: bytes, key: str) -> bool:
    """Whether an InitWebSocket request gives the port's key: its MD5, as OpenD has it.

    Raises:
        ProtocolError: the body is no such request.

    """
    try:
        given = read_text(init_web_socket.Request.FromString(body).c2s, "websocketKey")
    except (DecodeError, UnicodeDecodeError) as error:  # the second from pure Python protobuf
        raise ProtocolError(f"InitWebSocket cannot be read: {error}") from None
    expected = hashlib.md5(key.encode(), usedforsecurity=False).hexdigest()
    return hmac.compare_digest(given.lower().encode(), expected.encode())
