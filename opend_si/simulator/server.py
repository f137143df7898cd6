"""The simulator's side of the wire: an asyncio server that any number of clients may use at once."""

from __future__ import annotations

import asyncio
import os
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from google.protobuf.message import DecodeError

from opend_si.errors import ProtocolError
from opend_si.pages import END
from opend_si.simulator.faults import Close, Fault, Wait
from opend_si.simulator.universe import Row, Universe
from opend_si.symbols import Symbol
from opend_si.wire.ciphers import SPOKEN, Algorithm, Cipher, connection_cipher
from opend_si.wire.framing import PLAIN, Frame, FrameDecoder, encode_frame
from opend_si.wire.keyfile import read_key
from opend_si.wire.session import CLIENT_VERSION, GET_GLOBAL_STATE, INIT_CONNECT, KEEP_ALIVE
from opend_si_schema import common, get_global_state, init_connect, keep_alive
from opend_si_schema.calls import CALLS
from opend_si_schema.definitions import Call, Rate

CursorStyle = Literal["timestamp", "offset"]

# The texts of a Chinese OpenD, where they are known (see the interface's facts); the rest is marked as our own.
UNKNOWN_STOCK = "未知股票"
ONLY_EQUITIES = "该接口仅支持正股"
UNKNOWN_PROTOCOL = "Unknown protocol id"
BAD_CURSOR = "nextKey参数错误"  # our own wording
BAD_PAGE_SIZE = "num参数错误"  # our own wording
BAD_CIPHER = "packetEncAlgo参数错误"  # our own wording
KEEP_ALIVE_SECONDS = 10
_CHUNK = 64 * 1024


def rate_text(call: Call, rate: Rate) -> str:
    """How OpenD refuses what exceeds the limit."""
    return f"{call.refusal_name}频率太高，请求失败，每{rate.seconds:g}秒最多{rate.requests}次。"


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


class Simulator:
    """An OpenD on a TCP port. Use it with `with` (a thread serves) or `await serve()`.

    Args:
        universe: What it knows.
        host, port: Where it listens; port 0 takes a free one.
        rate: The limit of each call; None for none.
        cursor: What a nextKey is: the last row's timestamp, as OpenD sends it for this call, or an offset, as for its siblings.
        version: OpenD's version, major * 100 + minor; calls that are newer are unknown to it.
        latency: Seconds before each reply.
        logged_in: Whether OpenD is logged in to the quote servers.
        rsa_key: File of the RSA private key; only clients that have it, too, are let in. None: only such as do not encrypt.
        algorithms: What it encrypts with after InitConnect; to a client that asks for AES_CBC without it there being, it
            speaks FTAES_ECB.

    """

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
    ) -> None:
        self.universe = universe or Universe()
        self.host, self.port = host, port
        self.rate, self.cursor, self.version = rate, cursor, version
        self.latency, self.logged_in = latency, logged_in
        self.key = None if rsa_key is None else read_key(Path(rsa_key))
        self.algorithms = algorithms
        self.asked_for: list[int] = []
        self.faults: deque[Fault] = deque()
        self.requests: list[SeenRequest] = []
        self._arrived = threading.Condition()
        self.connections = 0
        self._calls = {call.proto_id: call for call in CALLS if call.since <= version}
        self._windows = {call.proto_id: SlidingWindow(rate) for call in CALLS} if rate else {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._thread: threading.Thread | None = None
        self._call: Callable[[Callable[[], object]], object] = lambda _: None
        self._done: Callable[[], object] = lambda: None

    async def serve(self, started: Callable[[], object] = lambda: None) -> None:
        """Serve until cancelled. `started` is called when the port is open; `port` is then the real one."""
        server = await asyncio.start_server(self._accept, self.host, self.port)
        self.port = server.sockets[0].getsockname()[1]
        loop, done = asyncio.get_running_loop(), asyncio.Event()
        self._call, self._done = loop.call_soon_threadsafe, done.set
        started()
        try:
            await done.wait()
        finally:
            server.close()
            for task in tuple(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def __enter__(self) -> Simulator:
        ready = threading.Event()
        errors: list[BaseException] = []

        def run() -> None:
            try:
                asyncio.run(self.serve(ready.set))
            except BaseException as error:
                errors.append(error)
                ready.set()

        self._thread = threading.Thread(target=run, name="opend-simulator", daemon=True)
        self._thread.start()
        ready.wait()
        if errors:
            raise errors[0]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._call(self._done)
        if self._thread is not None:
            self._thread.join()

    def wait_for_requests(self, count: int, timeout: float = 30.0) -> None:
        """Return when so many page requests have arrived; `TimeoutError` after a while."""
        with self._arrived:
            if not self._arrived.wait_for(lambda: len(self.requests) >= count, timeout):
                raise TimeoutError(f"{len(self.requests)} of {count} requests arrived")

    def disconnect_all(self) -> None:
        """Close every connection, as OpenD does when it restarts; returns when they are closed."""
        closed = threading.Event()
        self._call(lambda: self._close_all(closed))
        closed.wait()

    def _close_all(self, closed: threading.Event) -> None:
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        ended = asyncio.gather(*tasks, return_exceptions=True)
        ended.add_done_callback(lambda _: closed.set())

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.get_running_loop().create_task(_Conversation(self, self.connections, reader, writer).run())
        self._tasks.add(task)
        task.add_done_callback(lambda task: self._leave(task, writer))  # also if it ends before it has begun

    def _leave(self, task: asyncio.Task[None], writer: asyncio.StreamWriter) -> None:
        self._tasks.discard(task)
        writer.close()
        if writer.transport.get_write_buffer_size():  # the client does not take it
            writer.transport.abort()
        if not task.cancelled():
            task.result()

    def answer(self, proto_id: int, body: bytes) -> Any:
        """The reply to a request that is not about the connection itself."""
        try:
            if proto_id == KEEP_ALIVE:
                return _keep_alive()
            if proto_id == GET_GLOBAL_STATE:
                return self._global_state()
            if proto_id in self._calls:
                return self._page(self._calls[proto_id], body)
            raise Refused(UNKNOWN_PROTOCOL)
        except Refused as refusal:
            # Every reply shares these three fields, so any class serves.
            return keep_alive.Response(retType=common.RetType.FAILED, retMsg=str(refusal), errCode=0)

    def _page(self, call: Call, body: bytes) -> Any:
        try:
            c2s = call.request.FromString(body).c2s
        except DecodeError:
            return call.response(retType=common.RetType.INVALID, retMsg="", errCode=0)
        symbol = Symbol.of(c2s.security.market, c2s.security.code)
        name = str(symbol) if symbol else f"{c2s.security.market}.{c2s.security.code}"
        num = c2s.num if c2s.HasField("num") else call.page_size.default
        now = time.monotonic()
        accepted = False
        try:
            if call.proto_id in self._windows and not self._windows[call.proto_id].take(now):
                assert self.rate is not None
                raise Refused(rate_text(call, self.rate))
            reply = self._rows(call, symbol, c2s.nextKey, num)
            accepted = True
            return reply
        finally:
            with self._arrived:
                self.requests.append(SeenRequest(now, call.name, name, c2s.nextKey, num, accepted))
                self._arrived.notify_all()

    def _rows(self, call: Call, symbol: Symbol | None, next_key: str, num: int) -> Any:
        if symbol is None or symbol.market not in [table.market for table in call.tables]:
            raise Refused(ONLY_EQUITIES)
        rows = self.universe.rows(str(symbol), call)
        if rows is None:
            raise Refused(UNKNOWN_STOCK)
        if not call.page_size.minimum <= num <= call.page_size.maximum:
            raise Refused(BAD_PAGE_SIZE)
        first = self._first(rows, next_key)
        page = rows[first : first + num]
        table = next(table for table in call.tables if table.market == symbol.market)
        reply = call.response(retType=common.RetType.SUCCEED, retMsg="", errCode=0)
        getattr(reply.s2c, table.list_field).extend(page)
        for field, value in self.universe.beside(str(symbol), call).items():
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

    def _global_state(self) -> Any:
        reply = get_global_state.Response(retType=common.RetType.SUCCEED, retMsg="", errCode=0)
        s2c = reply.s2c
        s2c.marketHK = s2c.marketUS = s2c.marketSH = s2c.marketSZ = s2c.marketHKFuture = 0
        s2c.qotLogined = s2c.trdLogined = self.logged_in
        s2c.serverVer, s2c.serverBuildNo = self.version, 0
        s2c.time = int(time.time())
        status = common.ProgramStatusType.READY if self.logged_in else common.ProgramStatusType.LOGIN_FAILED
        s2c.programStatus.type = status
        return reply


class _Conversation:
    """One client's connection."""

    def __init__(
        self, simulator: Simulator, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._simulator, self._number = simulator, number
        self._reader, self._writer = reader, writer
        self._open = False
        self._cipher: Cipher = simulator.key or PLAIN
        self._decoder = FrameDecoder(self._cipher)
        self._replies: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Answer until the client leaves or sends what no client of OpenD sends."""
        try:
            while data := await self._reader.read(_CHUNK):
                for frame in self._decoder.feed(data):
                    if not self._open and frame.proto_id != INIT_CONNECT:
                        return
                    await self._take(frame)
        except (ProtocolError, ConnectionError):  # the second: the client left
            return
        finally:
            for task in tuple(self._replies):
                task.cancel()

    async def _take(self, frame: Frame) -> None:
        if frame.proto_id == INIT_CONNECT:
            self._open = True
            reply, cipher = self._hello(frame.body)
            await self._send(frame, reply)
            self._cipher = self._decoder.cipher = cipher
            return
        reply = self._simulator.answer(frame.proto_id, frame.body)
        is_page = frame.proto_id not in (KEEP_ALIVE, GET_GLOBAL_STATE)
        fault = self._simulator.faults.popleft() if is_page and self._simulator.faults else None
        if fault is None and not self._simulator.latency:
            await self._send(frame, reply)
            return
        # Requests may overlap: one that waits does not hold up the next.
        task = asyncio.create_task(self._send_late(frame, reply, fault or Fault()))
        self._replies.add(task)
        task.add_done_callback(self._replies.discard)

    async def _send(self, frame: Frame, reply: Any) -> None:
        self._writer.write(self._encode(frame, reply))
        await self._writer.drain()

    async def _send_late(self, frame: Frame, reply: Any, fault: Fault) -> None:
        await asyncio.sleep(self._simulator.latency)
        fault.alter(reply)
        for step in fault.deliver(self._encode(frame, reply)):
            if isinstance(step, Wait):
                await asyncio.sleep(step.seconds)
            elif isinstance(step, Close) or self._writer.is_closing():
                self._writer.close()
                return
            else:
                self._writer.write(step)
                await self._writer.drain()

    def _encode(self, asked: Frame, reply: Any) -> bytes:
        return encode_frame(Frame(asked.proto_id, asked.serial, reply.SerializeToString()), self._cipher)

    def _hello(self, body: bytes) -> tuple[Any, Cipher]:
        """The reply to InitConnect, and what encrypts after it."""
        try:
            c2s = init_connect.Request.FromString(body).c2s
        except DecodeError as error:
            raise ProtocolError(str(error)) from None
        self._simulator.asked_for.append(c2s.packetEncAlgo)
        reply = init_connect.Response(retType=common.RetType.SUCCEED, retMsg="", errCode=0)
        s2c = reply.s2c
        s2c.serverVer = self._simulator.version
        s2c.loginUserID = 10_000_000
        s2c.connID = self._number
        s2c.keepAliveInterval = KEEP_ALIVE_SECONDS
        s2c.connAESKey = "0" * 16
        if self._simulator.key is None or c2s.packetEncAlgo == Algorithm.NONE:
            s2c.aesCBCiv = "0" * 16
            return reply, PLAIN
        if c2s.packetEncAlgo not in SPOKEN:
            return init_connect.Response(retType=common.RetType.FAILED, retMsg=BAD_CIPHER, errCode=0), self._cipher
        s2c.connAESKey = secrets.token_hex(8)
        algorithm = Algorithm(c2s.packetEncAlgo)
        if algorithm is Algorithm.AES_CBC and algorithm in self._simulator.algorithms:
            s2c.aesCBCiv = secrets.token_hex(8)
        return reply, connection_cipher(algorithm, s2c.connAESKey, s2c.aesCBCiv)


def _keep_alive() -> Any:
    reply = keep_alive.Response(retType=common.RetType.SUCCEED, retMsg="", errCode=0)
    reply.s2c.time = int(time.time())
    return reply
