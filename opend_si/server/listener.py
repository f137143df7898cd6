"""A TCP port for any number of clients, on asyncio. What is said to each is a subclass's business."""

from __future__ import annotations

import asyncio
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import nullcontext, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from opend_si.errors.texts import address_text
from opend_si.server.websocket import Bridge, tls_context

# Rounds of the event loop that each step of stopping takes: a link that is just being accepted has no task for some of
# them, and one that was closed is gone a round later.
_ROUNDS = 10


class Listener(ABC):
    """Serves on a port. Use it with `with` (a thread serves) or `await serve()`.

    Args:
        host, port: Where it listens; port 0 takes a free one.
        websocket: A WebSocket port to be opened beside it.

    Attributes:
        connections: How many clients have connected so far.

    """

    def __init__(self, host: str, port: int, websocket: Bridge | None = None) -> None:
        self.host, self.port = host, port
        self.websocket = websocket
        self.connections = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._thread: threading.Thread | None = None
        self._call: Callable[[Callable[[], object]], object] = lambda _: None
        self._done: Callable[[], object] = lambda: None

    @property
    def address(self) -> str:
        """`127.0.0.1:11110`."""
        return address_text(self.host, self.port)

    def add_websocket(
        self,
        port: int,
        *,
        key: str | None = None,
        tls: tuple[Path, Path] | None = None,
        rsa_key: Path | None = None,
        log: Callable[[str], object] = lambda _: None,
    ) -> None:
        """Have a WebSocket port opened beside it, at the same address; see `Bridge`.

        `tls` are the files of a certificate and its private key, see `tls_context`.
        """
        context = None if tls is None else tls_context(*tls)
        self.websocket = self.ruled(Bridge(self.host, port, key=key, tls=context, rsa_key=rsa_key, log=log))

    def ruled(self, websocket: Bridge) -> Bridge:
        """A WebSocket port with the rules of this one, where a subclass has some."""
        return websocket

    @abstractmethod
    async def converse(self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve the client of a number. When this returns, the link is closed."""

    async def serve(self, started: Callable[[], object] = lambda: None) -> None:
        """Serve until cancelled. `started` is called when the ports are open; `port` is then the real one."""
        server = await asyncio.start_server(self._accept, self.host, self.port)
        self.port = server.sockets[0].getsockname()[1]
        loop, done = asyncio.get_running_loop(), asyncio.Event()
        self._call, self._done = loop.call_soon_threadsafe, done.set
        try:
            async with self.websocket.open(self.host, self.port) if self.websocket else nullcontext():
                started()
                await done.wait()
        finally:
            for port in server.sockets:
                with suppress(NotImplementedError):  # on Windows
                    loop.remove_reader(port)
            for _ in range(_ROUNDS):  # a server that is closed under one that is being accepted leaves its socket open
                await asyncio.sleep(0)
            server.close()
            for _ in range(_ROUNDS):
                for task in tuple(self._tasks):
                    task.cancel()
                await asyncio.gather(*self._tasks, return_exceptions=True)
                await asyncio.sleep(0)

    def __enter__(self) -> Self:
        ready = threading.Event()
        errors: list[BaseException] = []

        def run() -> None:
            try:
                asyncio.run(self.serve(ready.set))
            except BaseException as error:
                errors.append(error)
                ready.set()

        self._thread = threading.Thread(target=run, name=type(self).__name__, daemon=True)
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
        self._call = lambda _: None  # the loop is closed

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
        task = asyncio.get_running_loop().create_task(self.converse(self.connections, reader, writer))
        self._tasks.add(task)
        task.add_done_callback(lambda task: self._leave(task, writer))  # also if it ends before it has begun

    def _leave(self, task: asyncio.Task[None], writer: asyncio.StreamWriter) -> None:
        self._tasks.discard(task)
        writer.close()
        if writer.transport.get_write_buffer_size():  # the client does not take it
            writer.transport.abort()
        if not task.cancelled():
            task.result()
