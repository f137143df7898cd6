"""One client of a gateway, and its own link to OpenD.

A link is *attached* while OpenD is there: InitConnect goes to OpenD as it came, and so does everything that is not
taken. It is *detached* while OpenD is away: the gateway answers InitConnect itself, and what the record cannot answer
is refused. It never turns from one into the other, because clients subscribe anew only on a new connection: an attached
link ends with OpenD's, and a detached one ends when OpenD is back. The client then connects again.
"""

from __future__ import annotations

import asyncio
import json
import math
import secrets
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from typing import Protocol

from opend_si.errors import ProtocolError, ShortInterestError
from opend_si.gateway import policy
from opend_si.gateway.answers import PageAnswers
from opend_si.gateway.cutter import Cutter, Taken
from opend_si.gateway.hello import Hello, read_request, read_secrets
from opend_si.pages.named import BY_PROTOCOL
from opend_si.pages.replies import write_refusal
from opend_si.server import websocket
from opend_si.server.conversation import Conversation, read_body, write_body
from opend_si.server.peers import is_loopback, watch_for_death
from opend_si.server.state import keep_alive_reply, state_reply
from opend_si.wire.ciphers import Rsa
from opend_si.wire.framing import PROTOBUF, Frame, encode_frame
from opend_si.wire.session import GATEWAY_STATUS, GET_GLOBAL_STATE, INIT_CONNECT, KEEP_ALIVE, MET_GATEWAY, Greeting
from opend_si_schema import common
from opend_si_schema.definitions import Call

# Seconds for a client's InitConnect to come, and for OpenD's reply to it.
FIRST_SECONDS = 10.0
GREETING_SECONDS = 3.0
# Seconds that OpenD has for what it still owes to a client that says no more, and a client for what it still has to
# take.
LAST_SECONDS = 5.0
# Seconds until a client of the WebSocket port is refused a page: the npm packages wait 5 s for a reply.
WEBSOCKET_PATIENCE = 4.0
# How often a client may send InitConnect on one link: each costs the work of the RSA key. The official ones send one.
MOST_GREETINGS = 16
# Requests of one client that are being answered; its next bytes are read when there is room.
MOST_ANSWERS = 64
_CHUNK = 256 * 1024
_CONNECTION_IDS = 2**62
_NOTICE = encode_frame(Frame(MET_GATEWAY, 0, b""))  # without a body it is the same under every cipher


class Surroundings(Protocol):
    """What a link finds around it: the gateway."""

    answers: PageAnswers
    pass_trade: bool
    greeting: Greeting

    def log(self, text: str) -> None:
        """Report something to the machine's operator."""

    def key(self) -> Rsa | None:
        """OpenD's RSA key, read from its file."""

    async def open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        """A new connection to OpenD; None: it is away."""

    def greeted(self, greeting: Greeting | None) -> None:
        """OpenD has answered a link's InitConnect; None: it did not."""

    async def is_back(self) -> bool:
        """Whether OpenD lets a new link in."""

    async def status(self, asking: Link) -> dict[str, object]:
        """The status, as JSON takes it."""


class Link:
    """A client.

    Args:
        gateway: What it finds around it.
        reader, writer: The client.

    """

    def __init__(self, gateway: Surroundings, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._gateway, self._reader, self._writer = gateway, reader, writer
        self._cutter = Cutter(policy.EVERYTHING)
        self._conversation: Conversation | None = None
        self._opend: _Upstream | None = None
        self._greetings, self._patience = 0, math.inf
        self._trade_refusal = policy.NO_TRADE
        self._answers: set[asyncio.Task[None]] = set()
        self._room = asyncio.Semaphore(MOST_ANSWERS)
        self._ended = asyncio.get_running_loop().create_future()  # OpenD has ended its link, or is back
        peer = writer.get_extra_info("peername")
        self._peer = str(peer[0]) if peer else "?"
        self._is_local = is_loopback(self._peer)
        watch_for_death(writer.get_extra_info("socket"))

    @property
    def is_attached(self) -> bool | None:
        """Whether OpenD is behind it; None before InitConnect."""
        return None if self._conversation is None else self._opend is not None

    async def run(self) -> None:
        """Serve the client to the end of its link."""
        impatience = asyncio.get_running_loop().call_later(FIRST_SECONDS, self._give_up)
        speaking, gone = asyncio.create_task(self._speak()), asyncio.create_task(self._writer.wait_closed())
        try:
            await asyncio.wait((speaking, gone, self._ended), return_when=asyncio.FIRST_COMPLETED)
            if speaking.done():
                speaking.result()  # raises what ended it
        except ShortInterestError as error:
            self._gateway.log(f"the link of a client at {self._peer} was closed: {error}")
        except OSError:  # the client is gone, or its link to OpenD
            pass
        finally:
            # All of it at once: this task may be cancelled while it waits below.
            impatience.cancel()
            tasks = [speaking, gone, *self._answers]
            for task in tasks:
                task.cancel()
            if self._opend is not None:
                self._opend.abort()
            await asyncio.gather(*tasks, return_exceptions=True)
        await self._flush()

    def _give_up(self) -> None:
        if self._conversation is None:
            self._writer.transport.abort()

    async def _speak(self) -> None:
        """Answer what the client says, until it has nothing more to say and has heard all."""
        await self._listen()
        # It may still listen.
        if self._answers:
            await asyncio.wait(self._answers)
        if self._opend is not None:
            await self._opend.finish()

    async def _flush(self) -> None:
        """Give the client what it was sent, if it takes it, and wait for its end.

        A link that is closed while its client still says something is reset, and what the client has not read is lost.
        """
        self._writer.transport.set_write_buffer_limits(high=0)
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(LAST_SECONDS):
                await self._writer.drain()
                self._writer.write_eof()
                while await self._reader.read(_CHUNK):
                    pass

    # What the client sends --------------------------------------------------------------------------------------------

    async def _listen(self) -> None:
        while data := await self._reader.read(_CHUNK):
            for piece in self._cutter.feed(data):
                if isinstance(piece, bytes):
                    assert self._opend is not None
                    await self._opend.send(piece)
                elif piece.proto_id == INIT_CONNECT:
                    await self._greet(piece)
                else:
                    await self._take(piece)

    async def _greet(self, taken: Taken) -> None:
        """InitConnect: to OpenD as it came, or answered here."""
        self._greetings += 1
        if self._greetings > MOST_GREETINGS:
            raise ProtocolError(f"it has sent InitConnect more than {MOST_GREETINGS} times")
        key = self._gateway.key()
        hello = read_request(taken.data, key)
        if hello is None:
            raise ProtocolError(
                "its InitConnect cannot be read. If it encrypts, its RSA key file, OpenD's (rsa_private_key) and the "
                "gateway's (--rsa-key, OPEND_RSA_KEY) must be the same"
            )
        if hello.client == websocket.CLIENT_NAME and self._is_local:
            self._patience = WEBSOCKET_PATIENCE
        is_first = self._conversation is None
        if self._answers:  # they are under the cipher that ends here
            await asyncio.wait(self._answers)
        greeting = replace(self._gateway.greeting, connection_id=secrets.randbelow(_CONNECTION_IDS))
        self._conversation = Conversation(greeting, hello.key)
        if hello.is_own:
            await self._send(_NOTICE)
        if is_first:
            self._opend = await self._attach(hello, taken.data)
        elif self._opend is not None and not await self._opend.greet(hello, taken.data, self._conversation):
            raise ProtocolError("OpenD did not answer its second InitConnect")
        if self._opend is None:
            if hello.key is None and key is not None:
                raise ProtocolError(
                    "it does not encrypt, as OpenD and this gateway do: name OpenD's RSA key file in it"
                )
            await self._send(self._conversation.greet(hello.frame))
        is_plain = self._conversation.is_plain
        self._trade_refusal = policy.trade_refusal(self._gateway.pass_trade, self._is_local, is_plain)
        if self._opend is not None:
            self._cutter.taken = policy.taken(passes_trade=not self._trade_refusal)

    async def _attach(self, hello: Hello, data: bytes) -> _Upstream | None:
        """A link to OpenD on which it has answered InitConnect; None if it does not let this client in."""
        opened = await self._gateway.open()
        if opened is None:
            return None
        assert self._conversation is not None
        opend = _Upstream(*opened, self._writer)
        try:
            if await opend.greet(hello, data, self._conversation):
                if opend.greeting is not None:
                    self._gateway.greeted(opend.greeting)
                opend.ended.add_done_callback(self._end)
                return opend
        except BaseException:
            opend.abort()
            raise
        # Its end is not the client's: nobody waits for it yet.
        opend.abort()
        self._gateway.greeted(None)
        if opend.is_inside:  # the client cannot be told anything any more
            raise ConnectionResetError("OpenD ended inside a frame")
        return None

    def _end(self, _: object = None) -> None:
        if not self._ended.done():
            self._ended.set_result(None)

    async def _take(self, taken: Taken) -> None:
        """A frame that does not pass: answered in a task of its own, when there is room for it."""
        if self._conversation is None:
            raise ProtocolError(f"its first request is of protocol {taken.proto_id}, not InitConnect")
        for frame in self._conversation.receive(taken.data):
            answer = self._answer_of(frame)
            if answer is None:
                await self._send(self._refusal_of(frame))
                continue
            if (known := self._known(frame)) is not None:
                await self._send(self._conversation.reply(frame, known))
                continue
            await self._room.acquire()
            task = asyncio.create_task(self._answer(frame, answer))
            self._answers.add(task)
            task.add_done_callback(self._answered)

    def _answer_of(self, frame: Frame) -> Callable[[Frame], Awaitable[bytes]] | None:
        """What answers a request; None where it is refused at once."""
        if frame.proto_id in BY_PROTOCOL:
            return self._page
        if frame.proto_id == GATEWAY_STATUS:
            return self._status if self._is_local else None
        if frame.proto_id in policy.TRADE and self._trade_refusal:
            return None
        return self._state

    def _refusal_of(self, frame: Frame) -> bytes:
        assert self._conversation is not None
        text = policy.NO_STATUS if frame.proto_id == GATEWAY_STATUS else self._trade_refusal
        return self._conversation.reply(frame, write_refusal(common.RetType.FAILED, text))

    # What is answered here --------------------------------------------------------------------------------------------

    async def _answer(self, frame: Frame, answer: Callable[[Frame], Awaitable[bytes]]) -> None:
        assert self._conversation is not None
        with suppress(OSError):  # the client is gone
            await self._send(self._conversation.reply(frame, await answer(frame)))

    def _answered(self, task: asyncio.Task[None]) -> None:
        self._answers.discard(task)
        self._room.release()
        if not task.cancelled() and (error := task.exception()) is not None:
            self._gateway.log(f"a request of a client at {self._peer} was not answered: {error!r}")
            self._writer.transport.abort()

    def _known(self, frame: Frame) -> bytes | None:
        """The body of a page's reply that is known at once."""
        call = BY_PROTOCOL.get(frame.proto_id)
        return None if call is None or frame.body_format != PROTOBUF else self._gateway.answers.known(call, frame.body)

    async def _page(self, frame: Frame) -> bytes:
        call: Call = BY_PROTOCOL[frame.proto_id]
        if frame.body_format == PROTOBUF:
            return await self._gateway.answers.reply(call, frame.body, self._patience)
        try:
            asked = write_body(read_body(frame, call.request), PROTOBUF)
        except ProtocolError:
            return write_body(write_refusal(common.RetType.INVALID, ""), frame.body_format)
        body = await self._gateway.answers.reply(call, asked, self._patience)
        return write_body(call.response.FromString(body), frame.body_format)

    async def _state(self, frame: Frame) -> bytes:
        """What a detached client asks that is no page. If OpenD is back, that ends the link instead."""
        # A look takes time: the client may ask for more meanwhile.
        if self._is_last() and await self._gateway.is_back() and self._is_last():
            self._end()
            raise ConnectionResetError("OpenD is back")
        if frame.proto_id == KEEP_ALIVE:
            reply = keep_alive_reply()
        elif frame.proto_id == GET_GLOBAL_STATE:
            reply = state_reply(self._gateway.greeting.version, False)
        else:
            reply = write_refusal(common.RetType.FAILED, policy.AWAY)
        return write_body(reply, frame.body_format)

    def _is_last(self) -> bool:
        """Whether nothing else is being answered."""
        return not self._answers - {asyncio.current_task()}

    async def _status(self, frame: Frame) -> bytes:
        del frame
        return json.dumps(await self._gateway.status(self)).encode()

    async def _send(self, data: bytes) -> None:
        """Send the client something of the gateway's own: between two of OpenD's frames."""
        if self._opend is not None:
            await self._opend.between(data)
        else:
            _write(self._writer, data)
        await self._writer.drain()


class _Upstream:
    """A client's own link to OpenD.

    Attributes:
        ended: Done when OpenD has ended the link, or sent what it should not.
        greeting: What OpenD said of itself; None if it refused the client.

    """

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        client: asyncio.StreamWriter,
    ) -> None:
        self._reader, self._writer, self._client = reader, writer, client
        self._cutter = Cutter(frozenset({INIT_CONNECT}))
        self._waiting: list[tuple[bytes, asyncio.Future[None]]] = []  # for the end of a frame that is passing
        self._greeted: tuple[Hello, Conversation] | None = None
        self._is_greeted = asyncio.Event()
        self.greeting: Greeting | None = None
        self.ended = asyncio.create_task(self._pass())

    async def greet(self, hello: Hello, data: bytes, conversation: Conversation) -> bool:
        """Pass InitConnect on; whether OpenD has answered it. The conversation then goes by the answer."""
        self._greeted = hello, conversation
        self._is_greeted.clear()
        answered = asyncio.create_task(self._is_greeted.wait())
        try:
            await self.send(data)
            await asyncio.wait({answered, self.ended}, timeout=GREETING_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        except OSError:  # OpenD is gone already
            return False
        finally:
            answered.cancel()
        return self._is_greeted.is_set()

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    @property
    def is_inside(self) -> bool:
        """Whether the client has the beginning of a frame and not its end."""
        return self._cutter.left > 0

    async def between(self, data: bytes) -> None:
        """Send the client something between two frames."""
        if not self.is_inside:
            _write(self._client, data)
        elif self.ended.done():
            raise ConnectionResetError("OpenD ended inside a frame")
        else:
            passed = asyncio.get_running_loop().create_future()
            self._waiting.append((data, passed))
            await passed

    async def finish(self) -> None:
        """Say to OpenD that the client says no more, and let it end."""
        with suppress(OSError, TimeoutError):
            self._writer.write_eof()
            async with asyncio.timeout(LAST_SECONDS):
                await asyncio.wait([self.ended])

    def abort(self) -> None:
        """End the link now."""
        self.ended.cancel()
        self._writer.transport.abort()

    async def _pass(self) -> None:
        """Pass what OpenD sends on to the client, to the end."""
        with suppress(OSError, ProtocolError):
            while data := await self._reader.read(_CHUNK):
                left = self._cutter.left
                if self._waiting and left < len(data):  # a frame ends in here
                    self._put(data[:left])
                    data = data[left:]
                self._put(data)
                await self._client.drain()

    def _put(self, data: bytes) -> None:
        try:
            for piece in self._cutter.feed(data):
                if isinstance(piece, Taken):
                    self._read_greeting(piece.data)
                    piece = piece.data
                _write(self._client, piece)
        finally:
            if not self._cutter.left:
                for own, passed in self._waiting:
                    _write(self._client, own)
                    if not passed.done():
                        passed.set_result(None)
                self._waiting.clear()

    def _read_greeting(self, data: bytes) -> None:
        """OpenD's reply to InitConnect: what follows goes by it."""
        if self._greeted is None:
            return
        hello, conversation = self._greeted
        said = read_secrets(data, hello.key)
        if said is not None:
            self.greeting = said.greeting
            conversation.agree(hello.algorithm, said.key, said.iv)
        self._is_greeted.set()


def _write(client: asyncio.StreamWriter, data: bytes) -> None:
    """Write to a client, whose end asyncio tells others only a round later: meanwhile it would log each write."""
    if client.is_closing():
        raise ConnectionResetError("the client is gone")
    client.write(data)
