"""The blocking connection: one TCP link to OpenD, opened when it is needed, with a bound on every wait.

No thread runs behind it, so nothing keeps a process alive; a link that OpenD dropped while it was idle is reopened
by the next request.
"""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable
from math import inf
from pathlib import Path
from typing import TypeVar

from opend_si.errors import ProtocolError, RequestTimeout
from opend_si.errors.texts import address_text
from opend_si.system import forks
from opend_si.wire.address import LONGEST_WAIT
from opend_si.wire.ciphers import ASKED_FOR, Algorithm
from opend_si.wire.dial import dial
from opend_si.wire.errors import LinkCut, connect_failed, cut, garbled, half_open, hello_failed, not_sent, silent
from opend_si.wire.keyfile import read_key
from opend_si.wire.log import logged
from opend_si.wire.session import Greeting, Idle, Session, anybody, patience, read_hello
from opend_si.wire.turns import Turn, Turns

_CHUNK = 64 * 1024
# Seconds for which a link that was seen to stand is not looked at again: before a request it is asked who is there.
_JUST_NOW = 1e-3

_T = TypeVar("_T")


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
        self._turns = Turns()
        # The link while nobody uses it. It is put back when what was asked has been answered whole: however a request
        # ended otherwise (an interrupt too), half a reply or a late one does not meet the next request.
        self._link: _Link | None = None
        forks.leave_in_child(self)

    def request(self, proto_id: int, body: bytes, what: str = "", seconds: float | None = None) -> bytes:
        """Send a request, give the body of its reply: see `ask`."""
        return self.ask(proto_id, body, what, seconds)[0]

    def ask(
        self,
        proto_id: int,
        body: bytes,
        what: str = "",
        seconds: float | None = None,
        check: Callable[[int | None], object] = anybody,
    ) -> tuple[bytes, int | None]:
        """Send a request, give the body of its reply, and the account that answered.

        `what` it asks for, in the log's words. It has `seconds` for that, the whole timeout if they are not given.
        `check` is given the account before anything is sent: what it raises is raised.

        Raises:
            ConnectionFailed: OpenD cannot be reached; as `LinkCut` when the link broke under the request.
            RequestTimeout: no reply within the timeout.
            ProtocolError: the bytes that came are not OpenD's, or not encrypted as ours.
            InvalidArgument, MissingExtra: the RSA key cannot be used.

        """

        def ask(link: _Link, deadline: float) -> tuple[bytes, int | None]:
            self._link = link  # nothing was sent: it stands, whatever `check` says
            check(link.greeting.account)
            self._link = None
            try:
                serial, data = link.session.request(proto_id, body)
                with logged(serial, proto_id, what):
                    return link.exchange(serial, data, deadline), link.greeting.account
            except ProtocolError as error:
                raise garbled(address_text(self._host, self._port), what, error) from error

        return self._use(ask, self._timeout if seconds is None else seconds)

    @property
    def greeting(self) -> Greeting:
        """What OpenD says of itself; opens the link if need be."""
        return self.greet(self._timeout)

    def greet(self, seconds: float) -> Greeting:
        """The same within so many seconds."""
        return self._use(lambda link, _: link.greeting, seconds)

    @property
    def encryption(self) -> str | None:
        """How the link is encrypted, for people; None: it is not. Opens the link if need be."""
        return self._use(lambda link, _: link.session.encryption, self._timeout)

    def close(self) -> None:
        """Close the link. A later request opens a new one."""
        turn = Turn()
        with turn.bell, turn.lasts:
            # A request that has lasted for the whole timeout is as good as over, and its link with it.
            if self._turns.begin(turn, time.monotonic() + self._timeout):
                self._drop()

    def _use(self, use: Callable[[_Link, float], _T], seconds: float) -> _T:
        """Do something with the link, which is this thread's alone meanwhile. All of it has so many seconds."""
        deadline = time.monotonic() + seconds  # other threads' requests count: the wait has one bound
        turn = Turn()
        with turn.bell, turn.lasts:
            if seconds <= 0 or not self._turns.begin(turn, deadline):
                raise not_sent(address_text(self._host, self._port), seconds)
            link = self._open(deadline)
            try:
                used = use(link, deadline)
                self._link = link
                return used
            finally:
                if self._link is None:
                    link.close()

    def _open(self, deadline: float) -> _Link:
        """The link, which is put back by who is done with it."""
        link, self._link = self._link, None
        if link is not None:
            if link.is_alive(deadline):
                return link
            link.close()
        key = None if self._rsa_key is None else read_key(self._rsa_key)
        return _Link(self._host, self._port, deadline, Session(key, self._asked_for), self._rsa_key)

    def _drop(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            link.close()

    def leave_parent(self) -> None:
        """In a forked child: the link is the parent's, and whose turn it is, is of no concern."""
        self._link = None
        self._turns.leave_parent()


class _Link:
    """An open socket and the session on it."""

    def __init__(self, host: str, port: int, deadline: float, session: Session, key_file: Path | None) -> None:
        self.session = session
        self._where = address_text(host, port)
        try:
            self._socket = dial(host, port, deadline)
        except (OSError, UnicodeError, LookupError) as error:
            raise connect_failed(self._where, error) from error
        # Closes the socket when nobody did: at garbage collection or at exit, without a ResourceWarning.
        self._closing = weakref.finalize(self, self._socket.close)
        self._idle, self._replies = Idle(), 0
        self._stands_until = -inf  # of the monotonic clock
        forks.leave_in_child(self)
        try:
            self.greeting = self.session.marked(read_hello(self.exchange(*self.session.hello(), deadline)))
        except (LinkCut, RequestTimeout, ProtocolError) as error:
            self.close()
            raise hello_failed(self._where, key_file, error) from error
        except BaseException:
            self.close()
            raise

    def exchange(self, serial: int, data: bytes, deadline: float) -> bytes:
        """Send a request and wait for the reply to it.

        Where routers forget a link without a word, it only looks like one. So a link that has answered before and is
        silent now is asked whether it is still there; if that has no answer either, it is `LinkCut`, in time for
        another try over a new link.
        """
        try:
            self._send(data, deadline)
            silence = patience(self._left(deadline))
            # Only where there was more than InitConnect's reply.
            look_at = min(time.monotonic() + silence, deadline) if self._replies > 1 else deadline
            is_asked = False
            while (body := self.session.take(serial)) is None:
                try:
                    self._socket.settimeout(min(LONGEST_WAIT, self._left(look_at)))
                    received = self._socket.recv(_CHUNK)
                except TimeoutError:
                    if time.monotonic() < look_at:
                        continue
                    if look_at >= deadline:
                        raise silent(self._where) from None
                    if is_asked:
                        raise half_open(self._where) from None
                    self._send(self.session.keep_alive(), deadline)
                    is_asked, look_at = True, min(look_at + silence, deadline)
                    continue
                if not received:
                    raise ConnectionResetError("closed by OpenD")
                self.session.receive(received)
                look_at = deadline  # the link is there
            self._idle.begin()
            self._replies += 1
            return body
        except TimeoutError:
            raise silent(self._where) from None
        except OSError as error:
            raise cut(self._where, error) from error

    def is_alive(self, deadline: float) -> bool:
        """Whether the idle link still stands; reads away what OpenD pushed meanwhile, unless that has no end."""
        if self._idle.is_over(self.greeting):
            return False
        if time.monotonic() < self._stands_until:
            return True
        try:
            self._socket.setblocking(False)
            while time.monotonic() < deadline and (received := self._socket.recv(_CHUNK)):
                self.session.receive(received)
            return False
        except (BlockingIOError, InterruptedError):
            self._stands_until = time.monotonic() + _JUST_NOW
            return True
        except (OSError, ProtocolError):
            return False

    def close(self) -> None:
        self._closing()

    def leave_parent(self) -> None:
        """In a forked child: close its handle. The parent's link stays up."""
        self._socket.close()

    def _send(self, data: bytes, deadline: float) -> None:
        self._socket.settimeout(self._left(deadline))
        self._socket.sendall(data)

    def _left(self, deadline: float) -> float:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left
