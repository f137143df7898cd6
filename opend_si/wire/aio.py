"""The asyncio connection: one TCP link to OpenD on which requests overlap, matched by their serials.

No task and no timer runs while nothing is asked. A link that OpenD dropped while it was idle is reopened by the next
request, and so is one that belongs to an event loop that has ended.
"""

from __future__ import annotations

import asyncio
import math
import os
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import cast

from opend_si.errors import ProtocolError, RequestTimeout, ShortInterestError
from opend_si.errors.texts import address_text
from opend_si.system import forks
from opend_si.wire.ciphers import ASKED_FOR, Algorithm
from opend_si.wire.dial import dial_beside
from opend_si.wire.errors import (
    LinkCut,
    TooLate,
    connect_failed,
    cut,
    garbled,
    half_open,
    hello_failed,
    not_sent,
    silent,
)
from opend_si.wire.keyfile import read_key
from opend_si.wire.log import logged
from opend_si.wire.session import Greeting, Idle, Session, anybody, patience, read_hello

# Seconds that a thread has to report that the time is over.
_FIRST_WORD = 0.1


class AsyncioConnection:
    """A link to one OpenD. Tasks of one event loop may share it. The arguments are those of `BlockingConnection`."""

    def __init__(
        self,
        host: str,
        port: int,
        timeout: float,
        rsa_key: Path | None = None,
        asked_for: Algorithm = ASKED_FOR,
    ) -> None:
        self._host, self._port, self._timeout = host, port, timeout
        self._where = address_text(host, port)
        self._rsa_key, self._asked_for = rsa_key, asked_for
        self._link: _Link | None = None
        self._retired: set[_Link] = set()
        self._opening: asyncio.Future[ShortInterestError | None] | None = None
        forks.leave_in_child(self)

    async def request(self, proto_id: int, body: bytes, what: str = "", seconds: float | None = None) -> bytes:
        """Send a request, give the body of its reply: see `ask`."""
        return (await self.ask(proto_id, body, what, seconds))[0]

    async def ask(
        self,
        proto_id: int,
        body: bytes,
        what: str = "",
        seconds: float | None = None,
        check: Callable[[int | None], object] = anybody,
        begin_by: float = math.inf,
    ) -> tuple[bytes, int | None]:
        """Send a request, give the body of its reply, and the account that answered.

        `what` it asks for, in the log's words. It has `seconds` for that, the whole timeout if they are not given;
        `TooLate` if `begin_by` has passed before it is sent, because the event loop was kept busy. `check` is given the
        account before anything is sent: what it raises is raised.

        Raises:
            ConnectionFailed: OpenD cannot be reached; as `LinkCut` when the link broke under the request.
            RequestTimeout: no reply within the timeout.
            ProtocolError: the bytes that came are not OpenD's.

        """
        seconds = self._timeout if seconds is None else seconds
        if seconds <= 0:
            raise not_sent(self._where, seconds)
        deadline = asyncio.get_running_loop().time() + seconds
        link = await self._open(deadline)
        if time.monotonic() > begin_by:
            raise TooLate
        check(link.greeting.account)
        try:
            serial, data = link.session.request(proto_id, body)
            with logged(serial, proto_id, what):
                return await link.exchange(serial, data, deadline), link.greeting.account
        except TimeoutError:
            # It took the request and is silent. What else waits for replies on this link is not asked for twice.
            self._retire(link)
            raise silent(self._where) from None
        except LinkCut:
            self._retire(link)
            raise
        except ProtocolError as error:
            self._drop(link)
            raise garbled(self._where, what, error) from error

    async def greeting(self, seconds: float | None = None) -> Greeting:
        """What OpenD says of itself; opens the link if need be. It has `seconds` for that, else the whole timeout."""
        link = await self._open(asyncio.get_running_loop().time() + (self._timeout if seconds is None else seconds))
        return link.greeting

    async def close(self) -> None:
        """Close the link. A later request opens a new one."""
        self._drop()
        for link in self._retired:
            link.close()
        self._retired.clear()
        await asyncio.sleep(0)  # the transport closes its socket in the loop's next round

    def _drop(self, link: _Link | None = None) -> None:
        """Close the link; one that another has taken the place of, if it is named."""
        link = self._link if link is None else link
        if link is not None:
            link.close()
        if link is self._link:
            self._link = None

    def _retire(self, link: _Link) -> None:
        """Send no more over a link; it is closed when the last request under way on it has ended."""
        if link is self._link:
            self._link = None
        link.retire()
        self._retired = {other for other in {*self._retired, link} if not other.is_closed}

    async def _open(self, deadline: float) -> _Link:
        """The link; tasks that find none wait for the one that opens it, and share its error."""
        loop = asyncio.get_running_loop()
        await asyncio.sleep(0)  # what the loop already knows of the link's end is told first
        while True:
            if self._link is not None:
                if self._link.is_usable(loop):
                    return self._link
                self._drop()
            opening = self._opening
            if opening is None or opening.get_loop() is not loop:
                break
            await asyncio.wait([opening], timeout=max(0.0, deadline - loop.time()))
            if not opening.done():
                raise hello_failed(self._where, self._rsa_key, RequestTimeout())
            if (failed := opening.result()) is not None:
                raise failed
        opening = self._opening = loop.create_future()
        failed = None
        try:
            self._link = await self._connect(loop, deadline)
            return self._link
        except ShortInterestError as error:
            failed = error
            raise
        finally:
            self._opening = None
            opening.set_result(failed)  # None also where this task was cancelled: then another tries

    async def _connect(self, loop: asyncio.AbstractEventLoop, deadline: float) -> _Link:
        where = self._where
        key = None if self._rsa_key is None else read_key(self._rsa_key)
        session = Session(key, self._asked_for)
        try:
            # The thread that dials keeps the deadline, and knows what it waited for; so it has the first word.
            async with asyncio.timeout_at(deadline + _FIRST_WORD):
                connection = await self._dial(loop, deadline)
                try:
                    _, link = await loop.create_connection(lambda: _Link(loop, where, session), sock=connection)
                except BaseException:
                    connection.close()
                    raise
        except (OSError, UnicodeError, LookupError, RuntimeError) as error:  # TimeoutError is an OSError
            raise connect_failed(where, error) from error
        try:
            link.greeting = session.marked(read_hello(await link.exchange(*session.hello(), deadline)))
        except TimeoutError:
            link.close()
            raise hello_failed(where, self._rsa_key, RequestTimeout()) from None
        except (LinkCut, ProtocolError) as error:
            link.close()
            raise hello_failed(where, self._rsa_key, error) from error
        except BaseException:
            link.close()
            raise
        return link

    async def _dial(self, loop: asyncio.AbstractEventLoop, deadline: float) -> socket.socket:
        """A connected socket. What a loop offers to connect with differs from one kind of loop to the other."""
        dialled: asyncio.Future[socket.socket] = loop.create_future()

        def take(found: socket.socket | Exception) -> None:
            if isinstance(found, Exception):
                if not dialled.done():
                    dialled.set_exception(found)
            elif dialled.done():  # nobody waits for it any more
                found.close()
            else:
                dialled.set_result(found)

        def hand_over(found: socket.socket | Exception) -> None:
            try:
                loop.call_soon_threadsafe(take, found)
            except RuntimeError:  # the loop is closed
                if not isinstance(found, Exception):
                    found.close()

        dial_beside(self._host, self._port, time.monotonic() + deadline - loop.time(), hand_over)
        try:
            return await dialled
        except asyncio.CancelledError:  # it may have come in the same moment
            if dialled.done() and not dialled.cancelled() and dialled.exception() is None:
                dialled.result().close()
            raise

    def leave_parent(self) -> None:
        """In a forked child: the link is the parent's, and so is the event loop that it belongs to."""
        self._link = self._opening = None
        self._retired = set()


class _Link(asyncio.Protocol):
    """An open socket and the session on it."""

    greeting: Greeting

    def __init__(self, loop: asyncio.AbstractEventLoop, where: str, session: Session) -> None:
        self.session = session
        self._loop, self._where = loop, where
        # What it can do is used, whatever its class: other event loops have transports of their own.
        self._transport: asyncio.Transport | None = None
        self._waiting: dict[int, asyncio.Future[bytes]] = {}
        self._abandoned: set[int] = set()  # their replies are still to come, and nobody wants them
        self._error: Exception | None = None
        self._is_retired = False
        self._idle, self._replies, self._bytes = Idle(), 0, 0
        forks.leave_in_child(self)

    def is_usable(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Whether a request can be sent in this event loop."""
        if loop is not self._loop or self._error is not None:
            return False
        return bool(self._waiting) or not self._idle.is_over(self.greeting)

    async def exchange(self, serial: int, data: bytes, deadline: float) -> bytes:
        """Send a request and wait for the reply to it. Who is cancelled meanwhile does not touch the others.

        A link that has answered before and is silent now is looked after as the blocking connection does.
        """
        if self._error is not None:
            raise self._error
        reply: asyncio.Future[bytes] = self._loop.create_future()
        self._waiting[serial] = reply
        try:
            self._write(data)
            async with asyncio.timeout_at(deadline):
                silence = patience(deadline - self._loop.time())
                if self._replies > 1 and silence < math.inf:  # more than InitConnect's
                    await self._look_after(reply, silence)
                body = await reply
            self._replies += 1
            return body
        finally:
            self._waiting.pop(serial, None)
            if not reply.done() or reply.cancelled():
                self._abandoned.add(serial)
            if self._is_retired and not self._waiting:
                self.close()

    async def _look_after(self, reply: asyncio.Future[bytes], silence: float) -> None:
        """Wait until something comes; `LinkCut` if nothing does, not even for KeepAlive."""
        received = self._bytes
        for is_asked in (False, True):
            await asyncio.wait([reply], timeout=silence)
            if reply.done() or self._bytes != received:
                return
            if is_asked:
                raise half_open(self._where)
            self._write(self.session.keep_alive())

    def _write(self, data: bytes) -> None:
        if self._transport is not None:  # else `_fail` has answered, or will
            self._transport.write(data)

    def retire(self) -> None:
        """Close when nobody waits for a reply any more."""
        self._is_retired = True
        if not self._waiting:
            self.close()

    @property
    def is_closed(self) -> bool:
        return self._transport is None

    def close(self) -> None:
        self._fail(LinkCut(f"The link to OpenD at {self._where} was closed under a request."))
        if self._transport is not None and not self._loop.is_closed():
            self._transport.abort()
        # A link that outlived its event loop is closed when it is collected, with asyncio's warning.
        self._transport = None

    def leave_parent(self) -> None:
        """In a forked child: let go of the descriptor, and of nothing else.

        The transport would take its socket out of the parent's selector, which the two processes share. So it is left
        alone, and its descriptor is made one of nothing: the number stays taken, and nothing else is closed by it.
        """
        transport, self._transport = self._transport, None
        self._waiting, self._error = {}, LinkCut(f"The link to OpenD at {self._where} is the parent process's.")
        if transport is None:
            return
        forks.leave_alone((transport, self._loop))
        with suppress(OSError, AttributeError, ValueError):
            number = transport.get_extra_info("socket").fileno()
            nothing = os.open(os.devnull, os.O_RDWR)
            try:
                os.dup2(nothing, number, inheritable=False)
            finally:
                os.close(nothing)

    # What the event loop tells.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._bytes += len(data)
        self._idle.begin()
        try:
            self.session.receive(data)
        except ProtocolError as error:
            self._hand_out()  # what came whole before it is good
            self._fail(error)
            if self._transport is not None:
                self._transport.abort()
        else:
            self._hand_out()

    def _hand_out(self) -> None:
        for serial, reply in self._waiting.items():
            if not reply.done() and (body := self.session.take(serial)) is not None:
                reply.set_result(body)
        self._abandoned = {serial for serial in self._abandoned if self.session.take(serial) is None}

    def connection_lost(self, error: Exception | None) -> None:
        self._fail(cut(self._where, error))

    def _fail(self, error: Exception) -> None:
        if self._error is None:
            self._error = error
        for reply in self._waiting.values():
            if not reply.done():
                reply.set_exception(self._error)
