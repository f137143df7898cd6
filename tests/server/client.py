"""A client of a WebSocket port as the npm packages are one, on the `websockets` library.

It shares no code with the port.
"""

import hashlib
import ssl
from typing import Any, NamedTuple

from websockets.sync.client import ClientConnection, connect

INIT, GONE = 1, 2


class Reply(NamedTuple):
    """What came: the head's fields and the body."""

    command: int
    section: int
    error: int
    text: str
    body: bytes


def request(command: int, section: int, body: bytes) -> bytes:
    """A message as packBuff makes it."""
    return b"ft-v1.0\0" + command.to_bytes(4, "big") + section.to_bytes(8, "big") + body


def reply(data: bytes | str) -> Reply:
    """A message as unpackBuff takes it apart."""
    assert isinstance(data, bytes)
    assert data[:8] == b"ft-v1.0\0"
    error = int.from_bytes(data[20:24], "big", signed=True)
    head = int.from_bytes(data[8:12], "big"), int.from_bytes(data[12:20], "big"), error
    return Reply(*head, data[24:44].rstrip(b"\0").decode(), data[44:])


def text_field(number: int, value: bytes) -> bytes:
    """A field of a protobuf message that has a length, which has to be below 128."""
    assert len(value) < 128
    return bytes([number << 3 | 2, len(value)]) + value


class Client:
    """A client that has not said anything yet. It connects with `with`."""

    link: ClientConnection

    def __init__(self, url: str, tls: ssl.SSLContext | None = None, **options: Any) -> None:
        self._connecting = connect(url, ssl=tls, compression=None, proxy=None, **options)
        self._section = 1

    def __enter__(self) -> "Client":
        self.link = self._connecting.__enter__()
        return self

    def __exit__(self, *left: Any) -> None:
        self._connecting.__exit__(*left)

    def send(self, command: int, body: bytes) -> int:
        """Send a request; its section."""
        self._section += 1
        self.link.send(request(command, self._section, body))
        return self._section

    def receive(self) -> Reply:
        return reply(self.link.recv(timeout=30))

    def ask(self, command: int, body: bytes) -> Reply:
        """Send a request and take the next message, which has to be its reply."""
        section = self.send(command, body)
        came = self.receive()
        assert (came.command, came.section) == (command, section)
        return came

    def log_in(self, key: str | None = None) -> Reply:
        """InitWebSocket as `start(host, port, ssl, key)` sends it."""
        digest = hashlib.md5(key.encode()).hexdigest().encode() if key else b""
        return self.ask(INIT, text_field(1, text_field(4, digest) + text_field(6, b"JavaScript")))
