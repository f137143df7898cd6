"""One client's link as OpenD has it, without a socket: bytes in, requests out; replies in, bytes out.

A listener moves the bytes. The client's first request is InitConnect; the reply to it, `greet`, decides how the rest of
the link is encrypted. Bodies are protobuf or JSON, as each request has them, and a reply has its request's format.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from typing import Any

from google.protobuf.message import DecodeError

from opend_si.errors import ProtocolError
from opend_si.pages.replies import write_refusal
from opend_si.server.refusals import BAD_CIPHER
from opend_si.wire.ciphers import SPOKEN, Algorithm, Cipher, Plain, Rsa, connection_cipher
from opend_si.wire.framing import JSON, PLAIN, PROTOBUF, Frame, FrameDecoder, encode_frame
from opend_si.wire.session import INIT_CONNECT, Greeting
from opend_si_schema import common, init_connect

# What stands in the reply to InitConnect where nothing is encrypted: the published clients want sixteen characters.
_NO_SECRET = "0" * 16
_RANDOM_BYTES = 8  # as hexadecimal digits: sixteen characters


class Conversation:
    """OpenD's side of one link.

    Args:
        greeting: What OpenD says of itself in the reply to InitConnect.
        key: The RSA key that the client has too; None: InitConnect comes unencrypted, and so does all that follows.
        algorithms: What is spoken after InitConnect. A client that asks for AES_CBC gets FTAES_ECB where that is
            missing.

    Attributes:
        asked_for: The algorithm that InitConnect asked for, a number of `PacketEncAlgo`; None before it came.

    """

    def __init__(self, greeting: Greeting, key: Rsa | None = None, algorithms: Sequence[Algorithm] = SPOKEN) -> None:
        self._greeting, self._key, self._algorithms = greeting, key, algorithms
        self._cipher: Cipher = key or PLAIN
        self._decoder = FrameDecoder(self._cipher, (PROTOBUF, JSON))
        self._is_open = False
        self.asked_for: int | None = None

    @property
    def is_open(self) -> bool:
        """Whether InitConnect was answered."""
        return self._is_open

    @property
    def is_plain(self) -> bool:
        """Whether bodies go over the wire unencrypted."""
        return isinstance(self._cipher, Plain)

    def receive(self, data: bytes) -> Iterator[Frame]:
        """Take bytes; yields the requests that they complete. Each is answered, or waits, before the next is decrypted.

        Raises:
            ProtocolError: the bytes are no client's, or the first request is not InitConnect.

        """
        for frame in self._decoder.feed(data):
            if not self._is_open and frame.proto_id != INIT_CONNECT:
                raise ProtocolError(f"the first request is of protocol {frame.proto_id}, not InitConnect")
            yield frame

    def reply(self, asked: Frame, reply: Any) -> bytes:
        """The bytes of a reply: a message, which gets the request's format, or a body that has it already."""
        body = reply if isinstance(reply, bytes) else write_body(reply, asked.body_format)
        return encode_frame(Frame(asked.proto_id, asked.serial, body, asked.body_format), self._cipher)

    def push(self, proto_id: int, body: bytes, body_format: int = PROTOBUF) -> bytes:
        """The bytes of something that nobody asked for."""
        return encode_frame(Frame(proto_id, 0, body, body_format), self._cipher)

    def greet(self, asked: Frame) -> bytes:
        """The reply to InitConnect, as bytes. What follows it is encrypted as it says."""
        self._is_open = True
        self.asked_for = algorithm = read_body(asked, init_connect.Request).c2s.packetEncAlgo
        is_encrypted = self._key is not None and algorithm != Algorithm.NONE
        if is_encrypted and algorithm not in SPOKEN:
            return self.reply(asked, write_refusal(common.RetType.FAILED, BAD_CIPHER))
        reply = init_connect.Response(retType=common.RetType.SUCCEED, retMsg="", errCode=0)
        s2c = reply.s2c
        s2c.serverVer = self._greeting.version
        s2c.loginUserID = self._greeting.user_id
        s2c.connID = self._greeting.connection_id
        s2c.keepAliveInterval = self._greeting.keep_alive_seconds
        s2c.connAESKey = secrets.token_hex(_RANDOM_BYTES) if is_encrypted else _NO_SECRET
        if not is_encrypted:
            s2c.aesCBCiv = _NO_SECRET
        elif algorithm == Algorithm.AES_CBC and algorithm in self._algorithms:
            s2c.aesCBCiv = secrets.token_hex(_RANDOM_BYTES)
        data = self.reply(asked, reply)  # under the cipher of the request
        self.agree(algorithm, s2c.connAESKey, s2c.aesCBCiv)
        return data

    def agree(self, algorithm: int, secret: str, iv: str) -> None:
        """What follows is encrypted with what a reply to InitConnect brought, for the algorithm that was asked for."""
        self._is_open = True
        is_encrypted = self._key is not None and algorithm != Algorithm.NONE
        if is_encrypted and algorithm not in SPOKEN:
            raise ProtocolError(f"the client asked for algorithm {algorithm}, which is not spoken here")
        self._cipher = connection_cipher(Algorithm(algorithm), secret, iv) if is_encrypted else PLAIN
        self._decoder.cipher = self._cipher


def read_body(frame: Frame, message: Any) -> Any:
    """A frame's body as a message of a class; `ProtocolError` if it is none."""
    try:
        return message.FromString(frame.body) if frame.body_format == PROTOBUF else _read_json(frame.body, message())
    except (DecodeError, UnicodeDecodeError) as error:  # the second from pure Python protobuf
        raise ProtocolError(f"a body of protocol {frame.proto_id} cannot be read: {error}") from None


def _read_json(body: bytes, message: Any) -> Any:
    from google.protobuf.json_format import Error, Parse

    try:
        Parse(body, message, ignore_unknown_fields=True)
    except (Error, UnicodeDecodeError, RecursionError) as error:
        raise DecodeError(str(error)) from None
    if not message.IsInitialized():
        raise DecodeError("a required field is missing")
    return message


def write_body(message: Any, body_format: int) -> bytes:
    """A message as a body of a format."""
    if body_format == PROTOBUF:
        return bytes(message.SerializeToString())
    from google.protobuf.json_format import MessageToJson

    return MessageToJson(message).encode()
