"""The WebSocket port that JavaScript clients speak to: a bridge to the TCP port beside it.

OpenD's own is one too. Each client gets a TCP link of its own, so that pushes, limits and replies are those of the TCP
port; the bridge turns messages into frames and back, encrypts where the TCP port does, and keeps the link alive, which
these clients do not. One port serves a simulator and a gateway.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, suppress
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias
from weakref import WeakSet

from opend_si.errors import InvalidArgument, MissingExtra, OpenDError, ProtocolError, ShortInterestError
from opend_si.errors.texts import address_text
from opend_si.pages.replies import write_refusal
from opend_si.server.messages import (
    DISCONNECTED,
    FIRST_PROTOCOL,
    INIT_WEBSOCKET,
    MAX_MESSAGE_BYTES,
    OPEND_GONE,
    PUSHED,
    REFUSED,
    Message,
    gives_key,
    read_request,
    write_reply,
)
from opend_si.server.peers import is_loopback, watch_for_death
from opend_si.server.refusals import UNKNOWN_PROTOCOL
from opend_si.wire.framing import Frame
from opend_si.wire.keyfile import read_key
from opend_si.wire.session import INIT_CONNECT, KEEP_ALIVE, Greeting, Session, read_hello
from opend_si_schema import common, init_web_socket, keep_alive

if TYPE_CHECKING:
    from websockets.asyncio.server import ServerConnection
    from websockets.http11 import Request, Response

# Seconds for a client's handshake and for its first message, for the TCP link to be made, for OpenD's reply to
# InitConnect, and for what is sent last.
FIRST_SECONDS = 10.0
DIAL_SECONDS = 3.0
GREETING_SECONDS = 10.0
LAST_SECONDS = 2.0
# Requests of one client that wait for a reply; more end its link. 2,000 at once are no rarity.
MOST_WAITING = 16_384
DEFAULT_MOST_CLIENTS = 200
# What the bridge calls itself in InitConnect, on behalf of its client.
CLIENT_NAME = "WebSocket"
_QUEUE = 2  # messages that were read from a client and are not on their way to OpenD yet: each may be of the longest
_CHUNK = 64 * 1024
# Rounds of the event loop in which links that were being accepted when the port was closed come up.
_ROUNDS = 10
_GONE = "OpenD has ended the link"
# Why a link is closed (RFC 6455, section 7.4.1, and its registry). After the last of them a client may try again.
_GOING_AWAY, _BAD_MESSAGE, _NOT_LET_IN, _BROKEN, _LATER = 1001, 1002, 1008, 1011, 1013
# Without it websockets would print what ails a handshake on stderr. A program that listens gets it.
_LOGGER = logging.getLogger("opend_si.server.websocket")
_LOGGER.addHandler(logging.NullHandler())

# Frames, and whether each is the reply to a request.
Frames: TypeAlias = AsyncIterator[tuple[Frame, bool]]


class Bridge:
    """A WebSocket port. A `Listener` opens it beside its own port.

    Args:
        host, port: Where it listens; port 0 takes a free one. Other machines reach it only with `tls`.
        key: What clients have to know (OpenD's `websocket_key_md5` is its MD5). None: every program of the machine is
            let in, and no web page.
        tls: For `wss://`, see `tls_context`.
        rsa_key: File of the RSA key, where the TCP port has one. It is read for each client and then forgotten.
        refuse: Why a request does not pass, given its protocol and whether its client is trusted, which one of this
            machine is and one that gave the key; an empty text where it passes.
        most_clients: How many clients are let in at a time.
        log: Takes lines for the machine's operator.

    Raises:
        InvalidArgument: other machines would reach it without TLS.
        MissingExtra: `websockets` is not installed.

    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        key: str | None = None,
        tls: ssl.SSLContext | None = None,
        rsa_key: Path | None = None,
        refuse: Callable[[int, bool], str] = lambda _proto_id, _is_trusted: "",
        most_clients: int = DEFAULT_MOST_CLIENTS,
        log: Callable[[str], object] = lambda _: None,
    ) -> None:
        _require_websockets()
        if tls is None and not is_loopback(host):
            raise InvalidArgument(
                f"A WebSocket port at {host}, which other machines reach, needs TLS: --tls-cert and --tls-key name the files."
            )
        self.host, self.port = host, port
        self.key, self.rsa_key, self.refuse, self.log = key, rsa_key, refuse, log
        self.most_clients, self._tls = most_clients, tls
        self._opend = "", 0
        self._clients: set[ServerConnection] = set()

    @property
    def address(self) -> str:
        """`ws://127.0.0.1:33333`."""
        return f"{'wss' if self._tls else 'ws'}://{address_text(self.host, self.port)}"

    @asynccontextmanager
    async def open(self, host: str, port: int) -> AsyncIterator[None]:
        """Serve in front of a TCP port, to the end of the `async with`."""
        from websockets.asyncio.server import ServerConnection, serve

        class Accepted(ServerConnection):
            def __init__(self, *arguments: Any, **named: Any) -> None:
                super().__init__(*arguments, **named)
                accepted.add(self)

        accepted: WeakSet[ServerConnection] = WeakSet()
        self._opend = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host), port  # noqa: S104 (our own)
        serving = serve(
            self._converse,
            self.host,
            self.port,
            ssl=self._tls,
            process_request=self._admit,
            create_connection=Accepted,
            logger=_LOGGER,
            compression=None,  # on one machine it costs more than it saves
            ping_interval=None,  # OpenD sends none
            open_timeout=FIRST_SECONDS,
            close_timeout=LAST_SECONDS,
            max_size=MAX_MESSAGE_BYTES,
            max_queue=_QUEUE,
            server_header=None,
            ssl_handshake_timeout=None if self._tls is None else FIRST_SECONDS,
        )
        async with AsyncExitStack() as stack:
            try:
                server = await stack.enter_async_context(serving)
            except OSError as error:
                raise OSError(error.errno, error.strerror or str(error), address_text(self.host, self.port)) from None
            self.port = server.sockets[0].getsockname()[1]
            try:
                yield
            finally:
                server.close()
                await _abort_strangers(accepted)

    async def dial(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        """A new connection to the TCP port; None if it takes none."""
        try:
            async with asyncio.timeout(DIAL_SECONDS):
                return await asyncio.open_connection(*self._opend)
        except OSError as error:  # TimeoutError is one
            self.log(f"a WebSocket client was turned away: no OpenD at {self._opend[0]}:{self._opend[1]} ({error})")
            return None

    def _admit(self, client: ServerConnection, request: Request) -> Response | None:
        """Before the handshake: None lets it go on."""
        # Browsers send it, whatever page asks: without a key any page that is open could ask this machine's OpenD.
        if "Origin" in request.headers and self.key is None:
            return client.respond(
                HTTPStatus.FORBIDDEN, "A web page is let in only where the WebSocket port has a key.\n"
            )
        if len(self._clients) >= self.most_clients:
            self.log(f"a WebSocket client was turned away: {self.most_clients} are there")
            return client.respond(HTTPStatus.SERVICE_UNAVAILABLE, "Too many clients.\n")
        return None

    async def _converse(self, client: ServerConnection) -> None:
        from websockets.exceptions import ConnectionClosed

        self._clients.add(client)
        watch_for_death(client.transport.get_extra_info("socket"))
        try:
            await _Crossing(self, client).run()
        except ProtocolError as error:
            self.log(f"the link of a WebSocket client at {_peer(client)} was closed: {error}")
            await client.close(_BAD_MESSAGE, "not a message of OpenD's clients")
        except ShortInterestError as error:  # the RSA key cannot be read any more
            self.log(f"a WebSocket client at {_peer(client)} was turned away: {error}")
            await client.close(_BROKEN, "the server's log says why")
        except (ConnectionClosed, OSError):  # it is gone; or it says nothing
            pass
        finally:
            self._clients.discard(client)


class _Crossing:
    """One client and its TCP link."""

    def __init__(self, bridge: Bridge, client: ServerConnection) -> None:
        self._bridge, self._client = bridge, client
        self._is_trusted = bridge.key is not None or is_loopback(_peer(client))
        self._session = Session(None if bridge.rsa_key is None else read_key(bridge.rsa_key))
        self._waiting: dict[int, Message] = {}  # serial -> what its reply answers

    async def run(self) -> None:
        """Serve the client to the end of its link, or of OpenD's."""
        async with asyncio.timeout(FIRST_SECONDS):
            hello = await self._next()
        if hello.command != INIT_WEBSOCKET:
            raise ProtocolError(f"the first message is {hello.command}, not InitWebSocket")
        if self._bridge.key is not None and not gives_key(hello.body, self._bridge.key):
            self._bridge.log(f"a WebSocket client at {_peer(self._client)} was turned away: it gave another key")
            await self._turn_away(hello, "wrong key")
            return
        opened = await self._bridge.dial()
        if opened is None:
            await self._client.close(_LATER, "OpenD is away")  # the client tries again, as it would not after a reply
            return
        reader, writer = opened
        try:
            async with aclosing(self._frames(reader)) as frames:
                greeting = await self._greet(hello, frames, writer)
                if greeting is not None:
                    await self._cross(frames, writer, greeting.keep_alive_seconds)
        finally:
            writer.transport.abort()

    async def _turn_away(self, hello: Message, text: str) -> None:
        """Refuse InitWebSocket. The published client does not try again."""
        body = write_refusal(common.RetType.FAILED, text).SerializeToString()
        short = text.encode()[:20].decode(errors="ignore")
        await self._client.send(write_reply(hello.command, hello.section, body, REFUSED, short))
        await self._client.close(_NOT_LET_IN, short)

    async def _greet(self, hello: Message, frames: Frames, writer: asyncio.StreamWriter) -> Greeting | None:
        """Open OpenD's link and answer InitWebSocket. None: OpenD does not let the client in, and the client knows."""
        serial, data = self._session.hello(client=CLIENT_NAME, language="JavaScript", takes_pushes=True)
        writer.write(data)
        try:
            async with asyncio.timeout(GREETING_SECONDS):
                greeting = await self._greeting(serial, frames)
        except OpenDError as refused:
            await self._turn_away(hello, refused.message)
            return None
        except (ProtocolError, TimeoutError) as error:
            self._bridge.log(f"OpenD does not answer the WebSocket port's InitConnect: {error or 'no reply in time'}")
            await self._client.close(_LATER, "OpenD is away")
            return None
        reply = init_web_socket.Response(retType=common.RetType.SUCCEED, retMsg="", errCode=0)
        reply.s2c.serverTime, reply.s2c.connID = int(time.time()), greeting.connection_id
        await self._client.send(write_reply(hello.command, hello.section, reply.SerializeToString()))
        return greeting

    async def _cross(self, frames: Frames, writer: asyncio.StreamWriter, keep_alive_seconds: int) -> None:
        """Pass messages and frames, until the client leaves or OpenD does."""
        passing = asyncio.create_task(self._pass(frames))
        listening = asyncio.create_task(self._listen(writer))
        beating = asyncio.create_task(self._keep_alive(writer, keep_alive_seconds))
        try:
            await asyncio.wait((passing, listening), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (passing, listening, beating):
                task.cancel()
            await asyncio.gather(passing, listening, beating, return_exceptions=True)
        if not listening.cancelled():
            listening.result()  # raises what ended it
        passing.result()
        await self._say_farewell()

    # What the client sends --------------------------------------------------------------------------------------------

    async def _next(self) -> Message:
        """The next message. Texts are passed over, as the published client does."""
        while isinstance(data := await self._client.recv(), str):
            pass
        return read_request(data)

    async def _listen(self, writer: asyncio.StreamWriter) -> None:
        while True:
            message = await self._next()
            if text := self._refusal(message.command):
                body = write_refusal(common.RetType.FAILED, text).SerializeToString()
                await self._client.send(write_reply(message.command, message.section, body))
                continue
            if len(self._waiting) >= MOST_WAITING:
                raise ProtocolError(f"more than {MOST_WAITING} of its requests wait for a reply")
            serial, data = self._session.request(message.command, message.body)
            self._waiting[serial] = Message(message.command, message.section, b"")
            await self._send(writer, data)

    def _refusal(self, command: int) -> str:
        # InitConnect is the bridge's own business.
        if command < FIRST_PROTOCOL or command == INIT_CONNECT:
            return UNKNOWN_PROTOCOL
        return self._bridge.refuse(command, self._is_trusted)

    async def _keep_alive(self, writer: asyncio.StreamWriter, seconds: int) -> None:
        while True:
            await asyncio.sleep(max(seconds, 1) * 4 / 5)  # as the published clients do
            request = keep_alive.Request()
            request.c2s.time = int(time.time())
            await self._send(writer, self._session.request(KEEP_ALIVE, request.SerializeToString())[1])

    async def _send(self, writer: asyncio.StreamWriter, data: bytes) -> None:
        """Send OpenD something, when it takes it. That it is gone is said by `_pass`, after what it sent before."""
        if not writer.is_closing():
            writer.write(data)
            with suppress(OSError):
                await writer.drain()

    # What OpenD sends -------------------------------------------------------------------------------------------------

    async def _frames(self, reader: asyncio.StreamReader) -> AsyncGenerator[tuple[Frame, bool], None]:
        """OpenD's frames to the end of its link, and whether each is the reply to a request."""
        with suppress(OSError):
            while data := await reader.read(_CHUNK):
                for arrived in self._session.arrived(data):
                    yield arrived

    async def _greeting(self, serial: int, frames: Frames) -> Greeting:
        async for frame, is_reply in frames:
            if is_reply and frame.serial == serial:
                return read_hello(frame.body)
        raise ProtocolError("it ended the link")

    async def _pass(self, frames: Frames) -> None:
        """Pass on what OpenD sends, to the end of its link.

        While the client takes nothing, nothing is read from OpenD.
        """
        try:
            async for frame, is_reply in frames:
                if not is_reply:
                    await self._client.send(write_reply(frame.proto_id, PUSHED, frame.body))
                elif (asked := self._waiting.pop(frame.serial, None)) is not None:  # or it is KeepAlive's
                    await self._client.send(write_reply(asked.command, asked.section, frame.body))
        except ProtocolError as error:
            self._bridge.log(f"OpenD sent the WebSocket port what it should not: {error}")

    async def _say_farewell(self) -> None:
        """OpenD is gone: refuse what it did not answer, say so, and end the link.

        The published client connects again.
        """
        body = write_refusal(common.RetType.DIS_CONNECT, _GONE).SerializeToString()
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_SECONDS):
                for asked in self._waiting.values():
                    reply = write_reply(asked.command, asked.section, body, DISCONNECTED, "disconnected")
                    await self._client.send(reply)
                await self._client.send(write_reply(OPEND_GONE, PUSHED, b"", DISCONNECTED, "disconnected"))
        await self._client.close(_GOING_AWAY, _GONE)


async def _abort_strangers(accepted: WeakSet[ServerConnection]) -> None:
    """End the links on which no handshake has come: the server would wait for that, up to its time."""
    from websockets.protocol import State

    for _ in range(_ROUNDS):
        for client in tuple(accepted):
            if client.state is State.CONNECTING and hasattr(client, "transport"):
                client.transport.abort()
        await asyncio.sleep(0)


def tls_context(cert: Path, key: Path) -> ssl.SSLContext:
    """What a server needs for TLS.

    Its certificate, with those between it and a known one, and its private key, both PEM.

    Raises:
        InvalidArgument: the files do not give that.

    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    files = f"--tls-cert {cert} and --tls-key {key}"
    try:
        context.load_cert_chain(cert, key, password=lambda: "")  # else the terminal would be asked for one
    except ssl.SSLError as error:
        raise InvalidArgument(
            f"{files} are not a certificate and its private key without a passphrase, in PEM form ({error.reason or error})."
        ) from None
    except OSError as error:
        raise InvalidArgument(f"{files} cannot be read ({error.strerror or error}).") from None
    return context


def _peer(client: ServerConnection) -> str:
    return str(client.remote_address[0]) if client.remote_address else "?"


def _require_websockets() -> None:
    try:
        import websockets.asyncio.server  # noqa: F401
    except ImportError as error:
        raise MissingExtra(
            f"a WebSocket port needs websockets ({error}): pip install 'opend-short-interest[gateway]'"
        ) from None
