"""InitConnect, read in passing: what the client asked for, and the keys that OpenD's reply brings.

OpenD is the judge of it, so it is read leniently: some clients encrypt InitConnect and nothing else, some hash the
encrypted body instead of the plain one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from opend_si.errors import ProtocolError
from opend_si.pages.replies import read_text
from opend_si.server.conversation import read_body
from opend_si.wire.ciphers import Rsa
from opend_si.wire.framing import HEADER, Frame
from opend_si.wire.session import CLIENT_NAME, Greeting
from opend_si_schema import common, init_connect

# Longest InitConnect that is opened, encrypted: it has some hundred bytes, and every block costs time.
_MAX_BYTES = 2048


@dataclass(frozen=True, slots=True)
class Hello:
    """A client's InitConnect: the request unencrypted, and whether it came under the RSA key."""

    frame: Frame
    algorithm: int
    client: str  # how it calls itself
    key: Rsa | None  # None: it came unencrypted

    @property
    def is_own(self) -> bool:
        """Whether the client is one of this package."""
        return self.client.startswith(CLIENT_NAME)


@dataclass(frozen=True, slots=True)
class Secrets:
    """What OpenD's reply brings."""

    greeting: Greeting
    key: str
    iv: str


def read_request(data: bytes, key: Rsa | None) -> Hello | None:
    """The InitConnect request in a frame; None if it cannot be read with this key."""
    for frame, used in _readings(data, key):
        try:
            c2s = read_body(frame, init_connect.Request).c2s
        except ProtocolError:
            continue
        return Hello(frame, c2s.packetEncAlgo, read_text(c2s, "clientID"), used)
    return None


def read_secrets(data: bytes, key: Rsa | None) -> Secrets | None:
    """What OpenD's reply to InitConnect brings; None if it refuses, or cannot be read."""
    for frame, _ in _readings(data, key):
        try:
            reply: Any = read_body(frame, init_connect.Response)
        except ProtocolError:
            continue
        if reply.retType != common.RetType.SUCCEED:
            return None
        s2c = reply.s2c
        greeting = Greeting(s2c.serverVer, s2c.connID, s2c.loginUserID, s2c.keepAliveInterval)
        return Secrets(greeting, read_text(s2c, "connAESKey"), read_text(s2c, "aesCBCiv"))
    return None


def _readings(data: bytes, key: Rsa | None) -> Iterator[tuple[Frame, Rsa | None]]:
    """A frame as it may be meant: its body decrypted, if there is a key, and as it stands."""
    _, proto_id, body_format, _, serial, _, _, _ = HEADER.unpack_from(data)
    body = data[HEADER.size :]
    if len(body) > _MAX_BYTES:
        return
    if key is not None:
        with suppress(ValueError):  # it is not encrypted, or with another key
            yield Frame(proto_id, serial, key.decrypt(body), body_format), key
    yield Frame(proto_id, serial, body, body_format), None
