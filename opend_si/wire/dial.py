"""A TCP connection to OpenD: a name is looked up, its addresses are tried, and one deadline holds for all of it."""

from __future__ import annotations

# The codec that names are encoded with: a process that lacks descriptors when it is first wanted lacks it for good.
import encodings.idna  # noqa: F401
import os
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any, TypeAlias

from opend_si.wire.address import ordered

# Seconds for the TCP connection alone: OpenD is on this machine or near it.
CONNECT_TIMEOUT = 3.0
# Seconds that an address has for itself before the next one is tried beside it (RFC 8305, section 5).
_HEAD_START = 0.25

# As `socket.getaddrinfo` gives them.
_Address: TypeAlias = tuple[Any, ...]


class NameNotFound(OSError):
    """The name was not looked up within the time."""


def dial(host: str, port: int, deadline: float) -> socket.socket:
    """A connection to the first address of a host that takes one, by the monotonic clock's deadline.

    Raises:
        OSError: there is none; `NameNotFound` if the name could not be looked up in time.
        UnicodeError, LookupError: the name is none, or the codec for names could not be loaded.

    """
    addresses = _look_up(host, port, deadline)
    connection = _first_of(addresses, min(time.monotonic() + CONNECT_TIMEOUT, deadline))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def dial_beside(host: str, port: int, deadline: float, hand_over: Callable[[socket.socket | Exception], None]) -> None:
    """Dial on a thread, and hand over what comes of it. The thread ends by the deadline and keeps no process alive."""

    def work() -> None:
        try:
            found: socket.socket | Exception = dial(host, port, deadline)
        except Exception as error:
            found = error
        hand_over(found)

    threading.Thread(target=work, name="opend-si-dial", daemon=True).start()


def _look_up(host: str, port: int, deadline: float) -> Sequence[_Address]:
    """The addresses of a host.

    Resolvers have no bound, so a name is looked up on a thread, which may be left behind.
    """
    if _is_address(host):
        return _addresses(host, port)
    came: SimpleQueue[Sequence[_Address] | Exception] = SimpleQueue()

    def work() -> None:
        try:
            came.put(_addresses(host, port))
        except Exception as error:
            came.put(error)

    try:
        threading.Thread(target=work, name="opend-si-look-up", daemon=True).start()
    except RuntimeError:  # no more threads, or the interpreter is ending: without a bound rather than not at all
        return _addresses(host, port)
    try:
        found = came.get(timeout=max(0.0, deadline - time.monotonic()))
    except Empty:
        raise NameNotFound(f"the name {host} could not be looked up in time") from None
    if isinstance(found, Exception):
        raise found
    return found


def _addresses(host: str, port: int) -> Sequence[_Address]:
    try:
        return ordered(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
    except socket.gaierror:
        # A resolver that cannot open its files says that there is no such name. This says what is lacking, if it is
        # that.
        os.close(os.open(os.devnull, os.O_RDONLY))
        raise


def _is_address(host: str) -> bool:
    """Whether there is nothing to look up. The scope of a link-local address (`fe80::1%eth0`) is part of it."""
    for family, text in ((socket.AF_INET, host), (socket.AF_INET6, host.partition("%")[0])):
        try:
            socket.inet_pton(family, text)
        except (OSError, ValueError):
            continue
        return True
    return False


def _first_of(addresses: Sequence[_Address], until: float) -> socket.socket:
    """The first connection that comes about; the last error if none does.

    A silent address does not hold up the next.
    """
    waiting = deque(addresses)
    # The selectors that take no descriptor of their own.
    with getattr(selectors, "PollSelector", selectors.SelectSelector)() as trying:
        try:
            return _race(waiting, trying, until)
        finally:
            for key in list(trying.get_map().values()):
                key.fileobj.close()


def _race(waiting: deque[_Address], trying: selectors.BaseSelector, until: float) -> socket.socket:
    failure: OSError = TimeoutError()
    while waiting or trying.get_map():
        if waiting:
            try:
                trying.register(_begin(waiting.popleft()), selectors.EVENT_WRITE)
            except OSError as error:
                failure = error
                continue
        left = until - time.monotonic()
        for key, _ in trying.select(min(left, _HEAD_START) if waiting else left):
            attempt: Any = key.fileobj
            trying.unregister(attempt)
            code = attempt.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if not code:
                attempt.setblocking(True)
                return attempt  # type: ignore[no-any-return]
            attempt.close()
            failure = OSError(code, os.strerror(code))
        if time.monotonic() >= until:
            raise TimeoutError
    raise failure


def _begin(address: _Address) -> socket.socket:
    """A socket that is connecting; the address is passed on as it came, scope and flow of IPv6 with it."""
    family, kind, protocol, _, where = address
    attempt = socket.socket(family, kind, protocol)
    try:
        attempt.setblocking(False)
        with suppress(BlockingIOError):
            attempt.connect(where)
    except BaseException:
        attempt.close()
        raise
    return attempt
