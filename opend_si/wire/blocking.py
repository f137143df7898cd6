"""The blocking connection: one TCP link to OpenD, opened when it is needed, with a bound on every wait.

No thread runs behind it, so nothing keeps a process alive; a link that OpenD dropped while it was idle is reopened
by the next request.
"""

from __future__ import annotations

import os
import socket
import threading
import time
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from opend_si.errors import ProtocolError, RequestTimeout
from opend_si.wire.ciphers import ASKED_FOR, Algorithm
from opend_si.wire.errors import CONNECT_TIMEOUT, LinkCut, NotSent, connect_failed, cut, garbled, hello_failed, silent
from opend_si.wire.keyfile import read_key
from opend_si.wire.log import logged
from opend_si.wire.session import Greeting, Session, read_hello

_CHUNK = 64 * 1024


class BlockingConnection:
    """A link to one OpenD. Threads may share it; their requests take turns.

    Args:
        host, port, timeout: As in `Settings`.
        rsa_key: File of the key that encrypts, read when the link is opened; None: it is not encrypted.
        asked_for: How bodies after InitConnect are to be encrypted.

    """

    def __init__(
        self,
        host: str,
        port: int,
        timeout: float,
        rsa_key: Path | None = None,
        asked_for: Algorithm = ASKED_FOR,
    ) -> None:
        self._host, self._port, self._timeout = host, port, timeout
        self._rsa_key, self._asked_for = rsa_key, asked_for
        self._lock = threading.Lock()
        self._pid = os.getpid()
        self._link: _Link | None = None

    def request(self, proto_id: int, body: bytes, what: str = "", seconds: float | None = None) -> bytes:
        """Send a request, give the body of its reply. `what` it asks for, in the log's words.

        It has `seconds` for that, the whole timeout if they are not given.

        Raises:
            ConnectionFailed: OpenD cannot be reached; as `LinkCut` when the link broke under the request.
            RequestTimeout: no reply within the timeout.
            ProtocolError: the bytes that came are not OpenD's, or not encrypted as ours.
            InvalidArgument, MissingExtra: the RSA key cannot be used.

        """
        with self._opened(seconds) as (link, deadline):
            try:
                serial, data = link.session.request(proto_id, body)
                with logged(serial, proto_id, what):
                    return link.exchange(serial, data, deadline)
            except ProtocolError as error:
                self._drop()
                raise garbled(f"{self._host}:{self._port}", what, error) from error
            except BaseException:
                # Whatever ended the exchange (an interrupt too), a late reply must not meet the next request.
                self._drop()
                raise

    @property
    def greeting(self) -> Greeting:
        """What OpenD says of itself; opens the link if need be."""
        with self._opened() as (link, _):
            return link.session.marked(link.greeting)

    @property
    def encryption(self) -> str | None:
        """How the link is encrypted, for people; None: it is not. Opens the link if need be."""
        with self._opened() as (link, _):
            return link.session.encryption

    @contextmanager
    def _opened(self, seconds: float | None = None) -> Iterator[tuple[_Link, float]]:
        """The link, this thread's alone, and until when all that is done with it has to end."""
        self._leave_parent()
        seconds = self._timeout if seconds is None else seconds
        deadline = time.monotonic() + seconds  # other threads' requests count: the wait has one bound
        if not self._lock.acquire(timeout=seconds):
            raise NotSent(
                f"OpenD at {self._host}:{self._port} was busy with requests of other threads for {seconds:.3g} s. See "
                "whether OpenD hangs, or raise `timeout`."
            )
        try:
            yield self._open(deadline), deadline
        finally:
            self._lock.release()

    def close(self) -> None:
        """Close the link. A later request opens a new one."""
        self._leave_parent()
        with self._lock:
            self._drop()

    def _open(self, deadline: float) -> _Link:
        if self._link is not None and not self._link.is_alive(deadline):
            self._drop()
        if self._link is None:
            key = None if self._rsa_key is None else read_key(self._rsa_key)
            session = Session(key, self._asked_for)
            self._link = _Link(self._host, self._port, deadline, session, self._rsa_key)
        return self._link

    def _drop(self) -> None:
        if self._link is not None:
            self._link.close()
            self._link = None

    def _leave_parent(self) -> None:
        """In a forked child: the link is the parent's, and so may be a held lock. Start afresh."""
        if self._pid != os.getpid():
            self._pid = os.getpid()
            self._lock = threading.Lock()
            self._drop()  # closes this process's handle; the parent's link stays up


class _Link:
    """An open socket and the session on it."""

    def __init__(self, host: str, port: int, deadline: float, session: Session, key_file: Path | None) -> None:
        self.session = session
        self._where = f"{host}:{port}"
        self._socket = _connect(host, port, deadline)
        # Closes the socket when nobody did: at garbage collection or at exit, without a ResourceWarning.
        self._closing = weakref.finalize(self, self._socket.close)
        try:
            self.greeting = read_hello(self.exchange(*self.session.hello(), deadline))
        except (LinkCut, RequestTimeout, ProtocolError) as error:
            self.close()
            raise hello_failed(self._where, key_file, error) from error
        except BaseException:
            self.close()
            raise

    def exchange(self, serial: int, data: bytes, deadline: float) -> bytes:
        """Send a request and wait for the reply to it."""
        try:
            self._socket.settimeout(self._left(deadline))
            self._socket.sendall(data)
            while (body := self.session.take(serial)) is None:
                self._socket.settimeout(self._left(deadline))
                received = self._socket.recv(_CHUNK)
                if not received:
                    raise ConnectionResetError("closed by OpenD")
                self.session.receive(received)
            return body
        except TimeoutError:
            raise silent(self._where) from None
        except OSError as error:
            raise cut(self._where, error) from error

    def is_alive(self, deadline: float) -> bool:
        """Whether the idle link still stands; reads away what OpenD pushed meanwhile, unless that has no end."""
        self._socket.setblocking(False)
        try:
            while time.monotonic() < deadline and (received := self._socket.recv(_CHUNK)):
                self.session.receive(received)
            return False
        except (BlockingIOError, InterruptedError):
            return True
        except (OSError, ProtocolError):
            return False

    def close(self) -> None:
        self._closing()

    def _left(self, deadline: float) -> float:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left


def _first_of(addresses: Sequence[tuple[Any, ...]], until: float) -> socket.socket:
    """A connection to the first address that takes one; the last one's error if none does."""
    last = len(addresses) - 1
    for place, (*_, address) in enumerate(addresses):
        try:
            return socket.create_connection(address[:2], timeout=max(0.001, until - time.monotonic()))
        except OSError:
            if place == last or time.monotonic() >= until:
                raise
    raise AssertionError("a name without addresses is an error of its own")


def _connect(host: str, port: int, deadline: float) -> socket.socket:
    where = f"{host}:{port}"
    until = min(time.monotonic() + CONNECT_TIMEOUT, deadline)  # for all addresses of a name together
    try:
        link = _first_of(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM), until)
    except (UnicodeError, OSError) as error:
        raise connect_failed(where, error) from error
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return link
