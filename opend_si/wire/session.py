"""One conversation with OpenD, without a socket: what to send, and which reply belongs to which request.

A connection (blocking or asyncio) moves the bytes and keeps the time. With an RSA key it is encrypted.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from opend_si.errors import OpenDError, ProtocolError
from opend_si.pages.replies import read_reply, read_text
from opend_si.wire.ciphers import ASKED_FOR, SPOKEN, AesCbc, Algorithm, Cipher, Plain, Rsa, connection_cipher
from opend_si.wire.framing import PLAIN, Frame, FrameDecoder, encode_frame
from opend_si_schema import init_connect, keep_alive

INIT_CONNECT = 1001
GET_GLOBAL_STATE = 1002
NOTIFY = 1003
KEEP_ALIVE = 1004
# Of our own, above every id of OpenD's, which never sees them. A gateway of this package sends the first, empty, to
# clients of this package, before the reply to InitConnect; they ask it the second: its status, as JSON.
MET_GATEWAY = 932_490
GATEWAY_STATUS = 932_491
# How the clientID of this package's clients begins.
CLIENT_NAME = "opend-short-interest-"

# The interface version spoken: major * 100 + minor of the published clients that this was held against.
CLIENT_VERSION = 1011
_MAX_SERIAL = 2**32 - 1
# A link on which nothing went on for so many of OpenD's keep-alive intervals may be gone: OpenD drops clients that are
# silent, and so do the routers in between, some without a word.
_INTERVALS = 3
# Seconds; OpenD's own interval, for one that names none.
_KEEP_ALIVE_SECONDS = 10
# A link that answered before and is silent now is asked whether it is still there after a third of the time for a
# request, and has as long to answer; the last third is for another try. So many seconds at most, and at least: a slow
# OpenD is no dead one, and in less time there is no telling them apart.
_MOST_PATIENCE, _LEAST_PATIENCE = 2.0, 1.0
# Until InitConnect is answered, an OpenD that encrypts is what a body that does not fit most likely comes from.
_PLAIN_HELLO = Plain(
    "does not match its SHA-1. If this OpenD is set to encrypt (rsa_private_key in its configuration), name the same key file "
    "with rsa_key (or OPEND_RSA_KEY)"
)


@dataclass(frozen=True, slots=True)
class Greeting:
    """What OpenD says of itself when a connection opens."""

    version: int
    connection_id: int
    user_id: int
    keep_alive_seconds: int
    is_gateway: bool = False  # whether a gateway of this package answers in OpenD's place

    @property
    def account(self) -> int | None:
        """The account that OpenD is logged in with; None where a gateway answers: it names none of its own."""
        return None if self.is_gateway else self.user_id

    @property
    def version_text(self) -> str:
        return version_text(self.version)


def version_text(version: int) -> str:
    """1006 -> `10.6`, as OpenD's releases are named."""
    return f"{version // 100}.{version % 100}"


class Session:
    """Numbers requests and matches replies. One a connection; a broken connection takes its session along.

    Args:
        key: The RSA key that OpenD has too; None: nothing is encrypted.
        asked_for: How bodies after InitConnect are to be encrypted, one of `SPOKEN`.

    Attributes:
        is_gateway: Whether a gateway of this package is at the other end; known when InitConnect is answered.

    """

    def __init__(self, key: Rsa | None = None, asked_for: Algorithm = ASKED_FOR) -> None:
        assert asked_for in SPOKEN
        self._key, self._asked_for = key, asked_for
        self._cipher: Cipher = PLAIN if key is None else key
        self._decoder = FrameDecoder(_PLAIN_HELLO if key is None else key)
        self._serial = 0
        self.is_gateway = False
        self._waiting: dict[int, int] = {}  # serial -> protocol id
        self._replies: dict[int, bytes] = {}

    @property
    def encryption(self) -> str | None:
        """How the link is encrypted, for people; None: it is not. Known when InitConnect is answered."""
        if self._key is None:
            return None
        algorithm = Algorithm.AES_CBC if isinstance(self._cipher, AesCbc) else Algorithm.FTAES_ECB
        return f"RSA with {self._key.bits} bits, then {algorithm.name}"

    def hello(
        self, client: str | None = None, language: str = "Python", takes_pushes: bool = False
    ) -> tuple[int, bytes]:
        """The InitConnect request that opens every connection: (serial, bytes to send). `client` is its name."""
        request = init_connect.Request()
        request.c2s.clientVer = CLIENT_VERSION
        request.c2s.clientID = client or f"{CLIENT_NAME}{os.getpid()}"
        request.c2s.recvNotify = takes_pushes
        request.c2s.packetEncAlgo = Algorithm.NONE if self._key is None else self._asked_for
        request.c2s.programmingLanguage = language
        return self.request(INIT_CONNECT, request.SerializeToString())

    def request(self, proto_id: int, body: bytes) -> tuple[int, bytes]:
        """A request: (serial, bytes to send). Its reply comes from `take`."""
        self._serial = self._serial % _MAX_SERIAL + 1
        self._waiting[self._serial] = proto_id
        return self._serial, encode_frame(Frame(proto_id, self._serial, body), self._cipher)

    def keep_alive(self) -> bytes:
        """The bytes of a question whether OpenD is still there, which counts for no limit.

        Its answer is waited for by nobody.
        """
        request = keep_alive.Request()
        request.c2s.time = int(time.time())
        self._serial = self._serial % _MAX_SERIAL + 1
        return encode_frame(Frame(KEEP_ALIVE, self._serial, request.SerializeToString()), self._cipher)

    def receive(self, data: bytes) -> None:
        """Take bytes from the wire. Pushes and replies that nobody waits for are dropped."""
        for frame, is_reply in self.arrived(data):
            self.is_gateway |= frame.proto_id == MET_GATEWAY
            if is_reply:
                self._replies[frame.serial] = frame.body
            elif frame.serial in self._waiting and frame.proto_id != NOTIFY:
                expected = self._waiting[frame.serial]
                raise ProtocolError(
                    f"the reply to request {frame.serial} is of protocol {frame.proto_id}, asked was {expected}"
                )

    def arrived(self, data: bytes) -> Iterator[tuple[Frame, bool]]:
        """Take bytes from the wire; yields what they complete, and whether it is the reply to a request.

        Else it is a push.
        """
        for frame in self._decoder.feed(data):
            is_reply = self._waiting.get(frame.serial) == frame.proto_id
            if is_reply:
                del self._waiting[frame.serial]
                if frame.proto_id == INIT_CONNECT:
                    self._begin(frame.body)
            yield frame, is_reply

    def take(self, serial: int) -> bytes | None:
        """The body of the reply to `serial`, once it has come."""
        return self._replies.pop(serial, None)

    def marked(self, greeting: Greeting) -> Greeting:
        """The greeting of this link, which says too whether a gateway gave it."""
        return replace(greeting, is_gateway=self.is_gateway)

    def _begin(self, hello: bytes) -> None:
        """What follows is under the key that OpenD's first reply brought; the very next frame may be."""
        if self._key is None:
            self._decoder.cipher = PLAIN
            return
        try:
            s2c = _hello_of(hello)
        except (OpenDError, ProtocolError):
            return  # whoever reads the hello tells it
        secret, iv = read_text(s2c, "connAESKey"), read_text(s2c, "aesCBCiv")
        self._cipher = self._decoder.cipher = connection_cipher(self._asked_for, secret, iv)


class Idle:
    """For how long nothing has gone on on a link.

    The wall clock counts the hours that a machine slept, which the monotonic one leaves out. If it was set, a link is
    renewed without need, or by the other clock.
    """

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """The link has just worked."""
        self._since = time.monotonic(), time.time()

    def is_over(self, greeting: Greeting) -> bool:
        """Whether the link has to be renewed before it is used."""
        seconds = max(time.monotonic() - self._since[0], time.time() - self._since[1])
        interval = greeting.keep_alive_seconds
        return seconds > _INTERVALS * (interval if interval > 0 else _KEEP_ALIVE_SECONDS)


def anybody(account: int | None) -> None:
    """A request may be sent to any account."""
    del account


def patience(seconds: float) -> float:
    """How long, of so many seconds for a request, a link may be silent before it is asked whether it is still there."""
    share = seconds / 3
    return min(share, _MOST_PATIENCE) if share >= _LEAST_PATIENCE else math.inf


def read_hello(body: bytes) -> Greeting:
    """What OpenD answered to InitConnect."""
    s2c = _hello_of(body)
    return Greeting(s2c.serverVer, s2c.connID, s2c.loginUserID, s2c.keepAliveInterval)


def _hello_of(body: bytes) -> Any:
    return read_reply(init_connect.Response, body, "InitConnect", "the connection")
