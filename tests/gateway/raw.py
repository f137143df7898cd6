"""Both ends of a gateway as bare sockets: a client that speaks bytes, and an OpenD that a test holds in its hand.

Headers are cut here by code of their own, which shares nothing with the engine's.
"""

import queue
import socket
import struct
import threading
from contextlib import suppress
from typing import NamedTuple, Self

from opend_si.server.conversation import Conversation
from opend_si.simulator import Simulator, Universe
from opend_si.wire.framing import Frame, encode_frame
from opend_si.wire.session import CLIENT_NAME, INIT_CONNECT, KEEP_ALIVE, Greeting
from opend_si_schema import init_connect, keep_alive

# Seconds after which a test is taken to hang.
LIMIT = 30
HEAD = struct.Struct("<2sIBBII20s8s")


class Raw(NamedTuple):
    """A frame as it came."""

    proto_id: int
    body_format: int
    serial: int
    body: bytes
    data: bytes


def read_frame(link: socket.socket) -> Raw | None:
    """The next frame; None at the end of the stream."""
    head = _exactly(link, HEAD.size)
    if head is None:
        return None
    magic, proto_id, body_format, _, serial, length, _, _ = HEAD.unpack(head)
    assert magic == b"FT", f"inside a frame: {head[:20]!r}"
    body = _exactly(link, length) if length else b""
    assert body is not None, "the stream ended inside a frame"
    return Raw(proto_id, body_format, serial, body, head + body)


def _exactly(link: socket.socket, size: int) -> bytes | None:
    data = b""
    while len(data) < size:
        try:
            piece = link.recv(size - len(data))
        except ConnectionResetError:
            piece = b""
        if not piece:
            assert not data, "the stream ended inside a frame"
            return None
        data += piece
    return data


def hello_body(client_id: str = "raw") -> bytes:
    """The body of an InitConnect request that asks for no encryption."""
    request = init_connect.Request()
    request.c2s.clientVer, request.c2s.clientID = 1011, client_id
    request.c2s.recvNotify, request.c2s.packetEncAlgo = True, -1
    return bytes(request.SerializeToString())


def keep_alive_body() -> bytes:
    request = keep_alive.Request()
    request.c2s.time = 1
    return bytes(request.SerializeToString())


class Asker:
    """A client without encryption, other than ours. Greeted, unless `hello` is False."""

    def __init__(self, host: str, port: int, hello: bool = True) -> None:
        self.link = socket.create_connection((host, port), timeout=LIMIT)
        self._serial = 1
        if hello:
            self.ask(INIT_CONNECT, hello_body())
            reply = self.reply()
            assert reply.proto_id == INIT_CONNECT
            self.greeting = init_connect.Response.FromString(reply.body)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.link.close()

    def frame(self, proto_id: int, body: bytes, body_format: int = 0) -> bytes:
        self._serial += 1
        return encode_frame(Frame(proto_id, self._serial, body, body_format))

    def ask(self, proto_id: int, body: bytes, body_format: int = 0) -> int:
        """Send a request; gives its serial."""
        self.link.sendall(self.frame(proto_id, body, body_format))
        return self._serial

    def keep_alive(self) -> int:
        return self.ask(KEEP_ALIVE, keep_alive_body())

    def reply(self) -> Raw:
        """The next frame that comes."""
        frame = read_frame(self.link)
        assert frame is not None, "the link has ended"
        return frame

    def is_ended(self) -> bool:
        """Wait for the end of the link, whatever comes before it."""
        with suppress(ConnectionResetError):
            while self.link.recv(1 << 16):
                pass
        return True

    def reset(self) -> None:
        """End the link as a killed program on a slow network does."""
        self.link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.link.close()


class HeldOpenD:
    """An OpenD whose links to clients other than ours are the test's to read and write, once they are greeted.

    Our own clients, which the gateway's engine is, are answered as a simulator answers.
    """

    def __init__(self, universe: Universe | None = None, greets: bool = True) -> None:
        self._simulator = Simulator(universe)
        self._greets = greets
        self._server = socket.create_server(("127.0.0.1", 0))
        self.host, self.port = self._server.getsockname()[:2]
        self._held: queue.Queue[tuple[socket.socket, Raw]] = queue.Queue()
        self._links: set[socket.socket] = set()
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    @property
    def requests(self) -> list[object]:
        return [*self._simulator.requests]

    def held(self) -> tuple[socket.socket, Raw]:
        """The next link of a client, and its InitConnect as it came."""
        return self._held.get(timeout=LIMIT)

    def close(self) -> None:
        with suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        for link in tuple(self._links):
            with suppress(OSError):
                link.shutdown(socket.SHUT_RDWR)
            link.close()
        for thread in self._threads:
            thread.join(LIMIT)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                link, _ = self._server.accept()
                link.settimeout(LIMIT)
                self._links.add(link)
                thread = threading.Thread(target=self._serve, args=(link,), daemon=True)
                self._threads.append(thread)
                thread.start()

    def _serve(self, link: socket.socket) -> None:
        with suppress(OSError, AssertionError):
            hello = read_frame(link)
            if hello is None:
                return
            conversation = Conversation(Greeting(1011, len(self._links), 7, 10))
            name = init_connect.Request.FromString(hello.body).c2s.clientID
            is_engine = name.startswith(CLIENT_NAME)
            if is_engine or self._greets:
                link.sendall(conversation.greet(Frame(hello.proto_id, hello.serial, hello.body)))
            if not is_engine:
                self._held.put((link, hello))
                return
            while (asked := read_frame(link)) is not None:
                reply = self._simulator.answer(asked.proto_id, asked.body)
                link.sendall(encode_frame(Frame(asked.proto_id, asked.serial, reply.SerializeToString())))
            link.close()
