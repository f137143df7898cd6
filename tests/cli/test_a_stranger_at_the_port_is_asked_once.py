"""Many symbols are asked of a server that is no OpenD: it is met once, that is said once, and it ends as `get` does."""

from __future__ import annotations

import asyncio
import signal
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from opend_si.simulator import Simulator, faults
from tests.processes import Run, at, running, without
from tests.server.certificates import certificate

CODES = [f"US.A{letter}" for letter in "ABCDE"]


@pytest.fixture
def kept(tmp_path: Path) -> dict[str, str]:
    return {"OPEND_SI_MODE": "online", "OPEND_SI_HOME": str(tmp_path / "kept")}


class Stranger:
    """A server on a port of its own; its links one after the other are answered by a function.

    `said`, `error` and `code` are what is said of it, raised and exited with.
    """

    def __init__(self, answer: Callable[[socket.socket], object], said: str, error: str, code: int) -> None:
        self._answer, self._came = answer, threading.Condition()
        self.said, self.error, self.code = said, error, code
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self.links = 0

    def serve(self) -> None:
        while True:
            try:
                link, _ = self._listening.accept()
            except OSError:
                return
            with self._came:
                self.links += 1
                self._came.notify_all()
            with link, suppress(OSError):
                self._answer(link)

    def wait_for_links(self, count: int) -> None:
        with self._came:
            assert self._came.wait_for(lambda: self.links >= count, timeout=60)

    def stop(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()


@contextmanager
def stranger(
    answer: Callable[[socket.socket], object],
    said: str = "does not answer as OpenD does",
    error: str = "ProtocolError",
    code: int = 7,
) -> Iterator[Stranger]:
    server = Stranger(answer, said, error, code)
    serving = threading.Thread(target=server.serve)
    serving.start()
    try:
        yield server
    finally:
        server.stop()
        serving.join()


def web(link: socket.socket) -> None:
    link.recv(1024)
    link.sendall(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")


def garbage(link: socket.socket) -> None:
    link.recv(1024)
    link.sendall(bytes(range(256)))


@pytest.fixture(params=["web", "TLS", "garbage"])
def other(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stranger]:
    """A server that is no OpenD."""
    if request.param == "TLS":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate(tmp_path))

        def close(link: socket.socket) -> None:
            """As OpenSSL has it where what came first is no TLS."""
            with context.wrap_socket(link, server_side=True):
                pass

        with stranger(close, "closed the connection during InitConnect", "ConnectionFailed", 4) as server:
            yield server
    else:
        with stranger({"web": web, "garbage": garbage}[request.param]) as server:
            yield server


def sync(face: ModuleType, is_async: bool, **at: Any) -> Any:
    if not is_async:
        with face.Client(**at) as client:
            return client.sync(CODES)

    async def ask() -> Any:
        async with face.AsyncClient(**at) as client:
            return await client.sync(CODES)

    return asyncio.run(ask())


def test_a_sync_says_it_once_and_ends_as_get_does(other: Stranger, console: Run, kept: dict[str, str]) -> None:
    got = console("get", CODES[0], **kept, OPEND_PORT=str(other.port))
    before = other.links
    done = console("sync", *CODES, **kept, OPEND_PORT=str(other.port))
    assert (got.returncode, done.returncode) == (other.code, other.code)
    assert done.stdout.partition(":")[0] == "5 symbols, 5 failed"
    assert done.stderr.count(other.said) == done.stderr.count("\n") == 1
    assert "5 of 5 symbols could not be brought up to date" in done.stderr
    assert (before, other.links) == (1, 2)


@pytest.mark.parametrize("is_async", [False, True])
def test_both_clients_ask_it_once(other: Stranger, is_async: bool, one_face: ModuleType, tmp_path: Path) -> None:
    report = sync(one_face, is_async, port=other.port, mode="online", cache=tmp_path / "pages.sqlite3")
    assert all(isinstance(entry.error, getattr(one_face, other.error)) for entry in report)
    assert (other.links, report.requests) == (1, 0)


def test_what_no_connection_can_be_made_with_is_said_once(
    opend: Simulator, console: Run, kept: dict[str, str], tmp_path: Path
) -> None:
    key = ("--rsa-key", str(tmp_path / "none.pem"))
    got = console("get", CODES[0], *key, **kept, **at(opend))
    done = console("sync", *CODES, *key, **kept, **at(opend))
    assert (got.returncode, done.returncode, done.stdout.partition(":")[0]) == (2, 2, "5 symbols, 5 failed")
    assert done.stderr.count("There is no RSA key file") == done.stderr.count("\n") == 1
    without_it = console("sync", *CODES, *key, **kept, **at(opend), **without(tmp_path, "cryptography"))
    assert (without_it.returncode, without_it.stderr.count("opend-short-interest[encrypt]")) == (1, 1)
    assert opend.connections == 0


@pytest.mark.needs("signals")
def test_a_watch_says_it_once_and_meets_it_once_a_look(other: Stranger, kept: dict[str, str]) -> None:
    watch = ("watch", *CODES, "--poll", "0.05")
    with running("futu-si", *watch, **kept, OPEND_PORT=str(other.port)) as watching:
        other.wait_for_links(12)  # more looks than there are symbols
        watching.send_signal(signal.SIGTERM)
        told, noted = watching.communicate(timeout=30)
    assert (watching.returncode, told, noted.count("\n")) == (0, "", 2)
    assert noted.count(other.said) == 1


@pytest.mark.parametrize("spoilt", [faults.garbage, faults.another_protocol, faults.undecodable])
def test_a_damaged_reply_of_an_opend_is_one_symbols(
    spoilt: Callable[[], Any], opend: Simulator, console: Run, kept: dict[str, str]
) -> None:
    opend.faults.append(spoilt())
    done = console("sync", "US.AAPL", "US.GME", "HK.00700", **kept, **at(opend))
    assert (done.returncode, done.stdout.partition(":")[0]) == (8, "3 symbols, 1 failed")
    assert [line.split(": ")[0] for line in done.stderr.splitlines()] == ["1/3 US.AAPL", "2/3 US.GME", "3/3 HK.00700"]
