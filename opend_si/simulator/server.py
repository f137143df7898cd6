"""The simulator's side of the wire: an asyncio server that any number of clients may use at once."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from opend_si.errors import InvalidArgument, ProtocolError
from opend_si.pages import END, PageKey
from opend_si.pages.named import BY_PROTOCOL
from opend_si.pages.replies import write_refusal
from opend_si.server.conversation import Conversation, read_body, write_body
from opend_si.server.listener import Listener
from opend_si.server.refusals import (
    BAD_CURSOR,
    BAD_PAGE_SIZE,
    ONLY_EQUITIES,
    UNKNOWN_PROTOCOL,
    UNKNOWN_STOCK,
    rate_text,
)
from opend_si.server.state import keep_alive_reply, state_reply
from opend_si.server.websocket import Bridge
from opend_si.simulator.faults import Close, Fault, Wait
from opend_si.simulator.universe import Row, Universe
from opend_si.wire.ciphers import SPOKEN, Algorithm
from opend_si.wire.framing import PROTOBUF, Frame
from opend_si.wire.keyfile import read_key
from opend_si.wire.session import CLIENT_VERSION, GET_GLOBAL_STATE, INIT_CONNECT, KEEP_ALIVE, Greeting
from opend_si_schema import common
from opend_si_schema.calls import CALLS
from opend_si_schema.definitions import Call, Rate

CursorStyle = Literal["timestamp", "offset"]

KEEP_ALIVE_SECONDS = 10
_USER = 10_000_000
_CHUNK = 64 * 1024


class SlidingWindow:
    """Takes a request if the one `requests` before it is *more than* `seconds` ago. Refused ones do not count."""

    def __init__(self, rate: Rate) -> None:
        self._rate = rate
        self._taken: deque[float] = deque(maxlen=rate.requests)

    def take(self, now: float) -> bool:
        full = len(self._taken) == self._rate.requests
        if full and now - self._taken[0] <= self._rate.seconds:
            return False
        self._taken.append(now)
        return True


@dataclass(frozen=True)
class SeenRequest:
    """A page request as it arrived.

    Attributes:
        at: Seconds of the monotonic clock.
        accepted: Whether it was answered with rows.

    """

    at: float
    call: str
    symbol: str
    next_key: str
    num: int
    accepted: bool


class Refused(Exception):
    """A business refusal: retType -1 with a text."""


class Simulator(Listener):
    """An OpenD on a TCP port. Use it with `with` (a thread serves) or `await serve()`.

    Args:
        universe: What it knows.
        host, port: Where it listens; port 0 takes a free one.
        rate: The limit of each call; None for none.
        cursor: What a nextKey is: the last row's timestamp, as OpenD sends it for this call, or an offset, as for its
        siblings.
        version: OpenD's version, major * 100 + minor; calls that are newer are unknown to it.
        latency: Seconds before each reply.
        logged_in: Whether OpenD is logged in to the quote servers.
        rsa_key: File of the RSA private key; only clients that have it, too, are let in. None: only such as do not
        encrypt.
        algorithms: What it encrypts with after InitConnect; to a client that asks for AES_CBC without it there being,
            it speaks FTAES_ECB.
        websocket: A WebSocket port to be opened beside it.

    Attributes:
        others: What it answers to protocols that it does not know itself, by their ids: a function of the request's
            body.

    """

    # Who is logged in. Made-up rows are known by it; a subclass with another one passes for an OpenD.
    account = _USER

    def __init__(
        self,
        universe: Universe | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        rate: Rate | None = None,
        cursor: CursorStyle = "timestamp",
        version: int = CLIENT_VERSION,
        latency: float = 0.0,
        logged_in: bool = True,
        rsa_key: str | os.PathLike[str] | None = None,
        algorithms: Sequence[Algorithm] = SPOKEN,
        websocket: Bridge | None = None,
    ) -> None:
        self.universe = universe or Universe()
        super().__init__(host, port, websocket)
        self.rate, self.cursor, self.version = rate, cursor, version
        self.latency, self.logged_in = latency, logged_in
        self.key = None if rsa_key is None else read_key(Path(rsa_key))
        self.algorithms = algorithms
        self.asked_for: list[int] = []
        self.faults: deque[Fault] = deque()
        self.requests: list[SeenRequest] = []
        self.others: dict[int, Callable[[bytes], bytes]] = {}
        self._arrived = threading.Condition()
        self._speaking: set[_Speaker] = set()
        self._calls = {call.proto_id: call for call in CALLS if call.since <= version}
        self._windows = {call.proto_id: SlidingWindow(rate) for call in CALLS} if rate else {}

    async def converse(self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        greeting = Greeting(self.version, number, self.account, KEEP_ALIVE_SECONDS)
        speaker = _Speaker(self, Conversation(greeting, self.key, self.algorithms), reader, writer)
        self._speaking.add(speaker)
        try:
            await speaker.run()
        finally:
            self._speaking.discard(speaker)

    def wait_for_requests(self, count: int, timeout: float = 30.0) -> None:
        """Return when so many page requests have arrived; `TimeoutError` after a while."""
        with self._arrived:
            if not self._arrived.wait_for(lambda: len(self.requests) >= count, timeout):
                raise TimeoutError(f"{len(self.requests)} of {count} requests arrived")

    def push(self, proto_id: int, body: bytes, body_format: int = PROTOBUF) -> None:
        """Send every client something that it did not ask for, between two replies."""

        def push() -> None:
            for speaker in tuple(self._speaking):
                speaker.push(proto_id, body, body_format)

        self._call(push)

    def answer(self, proto_id: int, body: bytes) -> Any:
        """The reply to a request that is not about the connection itself."""
        try:
            if proto_id == KEEP_ALIVE:
                return keep_alive_reply()
            if proto_id == GET_GLOBAL_STATE:
                return state_reply(self.version, self.logged_in)
            if proto_id in self._calls:
                return self._page(self._calls[proto_id], body)
            raise Refused(UNKNOWN_PROTOCOL)
        except Refused as refusal:
            return write_refusal(common.RetType.FAILED, str(refusal))

    def _page(self, call: Call, body: bytes) -> Any:
        key: PageKey | None
        try:
            key = PageKey.of_request(call, body)
        except ProtocolError:
            return write_refusal(common.RetType.INVALID, "")
        except InvalidArgument:  # another market
            key = None
        now = time.monotonic()
        accepted = False
        try:
            if call.proto_id in self._windows and not self._windows[call.proto_id].take(now):
                assert self.rate is not None
                raise Refused(rate_text(call, self.rate))
            reply = self._rows(key)
            accepted = True
            return reply
        finally:
            asked = (str(key.symbol), key.next_key, key.num) if key else ("", "", 0)
            with self._arrived:
                self.requests.append(SeenRequest(now, call.name, *asked, accepted))
                self._arrived.notify_all()

    def _rows(self, key: PageKey | None) -> Any:
        if key is None or key.symbol.market not in [table.market for table in key.call.tables]:
            raise Refused(ONLY_EQUITIES)
        call, code = key.call, str(key.symbol)
        rows = self.universe.rows(code, call)
        if rows is None:
            raise Refused(UNKNOWN_STOCK)
        if not call.page_size.minimum <= key.num <= call.page_size.maximum:
            raise Refused(BAD_PAGE_SIZE)
        first = self._first(rows, key.next_key)
        page = rows[first : first + key.num]
        reply = call.response(retType=common.RetType.SUCCEED, retMsg="", errCode=0)
        getattr(reply.s2c, key.table.list_field).extend(page)
        for field, value in self.universe.beside(code, call).items():
            setattr(reply.s2c, field, value)
        end = first + len(page)
        if end >= len(rows):
            reply.s2c.nextKey = END
        else:
            reply.s2c.nextKey = str(page[-1].timestamp if self.cursor == "timestamp" else end)
        return reply

    def _first(self, rows: Sequence[Row], next_key: str) -> int:
        """Index of the first row behind a cursor."""
        if not next_key:
            return 0
        if not next_key.isascii() or not next_key.isdigit():
            raise Refused(BAD_CURSOR)
        if self.cursor == "offset":
            return int(next_key)
        return next((index for index, row in enumerate(rows) if row.timestamp < int(next_key)), len(rows))


class _Speaker:
    """One client's connection."""

    def __init__(
        self,
        simulator: Simulator,
        conversation: Conversation,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self._simulator, self._conversation = simulator, conversation
        self._reader, self._writer = reader, writer
        self._replies: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Answer until the client leaves or sends what no client of OpenD sends."""
        try:
            while data := await self._reader.read(_CHUNK):
                for frame in self._conversation.receive(data):
                    await self._take(frame)
        except (ProtocolError, ConnectionError):  # the second: the client left
            return
        finally:
            for task in tuple(self._replies):
                task.cancel()

    def push(self, proto_id: int, body: bytes, body_format: int) -> None:
        if self._conversation.is_open and not self._writer.is_closing():
            self._writer.write(self._conversation.push(proto_id, body, body_format))

    async def _take(self, frame: Frame) -> None:
        simulator = self._simulator
        if frame.proto_id == INIT_CONNECT:
            data = self._conversation.greet(frame)
            assert self._conversation.asked_for is not None
            simulator.asked_for.append(self._conversation.asked_for)
            await self._send(data)
            return
        if frame.proto_id in simulator.others:
            await self._send(self._conversation.reply(frame, simulator.others[frame.proto_id](frame.body)))
            return
        reply = simulator.answer(frame.proto_id, self._body(frame))
        is_page = frame.proto_id not in (KEEP_ALIVE, GET_GLOBAL_STATE)
        fault = simulator.faults.popleft() if is_page and simulator.faults else None
        if fault is None and not simulator.latency:
            await self._send(self._conversation.reply(frame, reply))
            return
        # Requests may overlap: one that waits does not hold up the next.
        task = asyncio.create_task(self._send_late(frame, reply, fault or Fault()))
        self._replies.add(task)
        task.add_done_callback(self._replies.discard)

    def _body(self, frame: Frame) -> bytes:
        """A request's body as protobuf."""
        call = BY_PROTOCOL.get(frame.proto_id)
        if frame.body_format == PROTOBUF or call is None:
            return frame.body
        return write_body(read_body(frame, call.request), PROTOBUF)

    async def _send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def _send_late(self, frame: Frame, reply: Any, fault: Fault) -> None:
        await asyncio.sleep(self._simulator.latency)
        fault.alter(reply)
        for step in fault.deliver(self._conversation.reply(frame, reply)):
            if isinstance(step, Wait):
                await asyncio.sleep(step.seconds)
            elif isinstance(step, Close) or self._writer.is_closing():
                self._writer.close()
                return
            else:
                await self._send(step)
