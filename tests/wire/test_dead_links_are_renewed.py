"""A link that died without a word is renewed: what is between the two sides forgot it, or the machine slept."""

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from types import ModuleType
from typing import Any

import pytest

from opend_si.simulator import Simulator, faults

WAYS = ["blocking", "asyncio"]


class Router:
    """Stands between a client and OpenD, and can forget the links that go through it.

    They stay open, and say nothing.
    """

    def __init__(self, port: int) -> None:
        self._to, self._links = port, list[tuple[socket.socket, socket.socket, threading.Event]]()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    @property
    def links(self) -> int:
        return len(self._links)

    def forget(self) -> None:
        for *_, forgotten in self._links:
            forgotten.set()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._threads[0].join()
        for ours, theirs, _ in self._links:
            for end in (ours, theirs):
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        for ours, theirs, _ in self._links:
            ours.close()
            theirs.close()

    def _accept(self) -> None:
        while True:
            try:
                ours, _ = self._listener.accept()
            except OSError:
                return
            theirs, forgotten = socket.create_connection(("127.0.0.1", self._to)), threading.Event()
            self._links.append((ours, theirs, forgotten))
            for ends in ((ours, theirs), (theirs, ours)):
                self._threads.append(threading.Thread(target=self._pass_on, args=(*ends, forgotten)))
                self._threads[-1].start()

    def _pass_on(self, one: socket.socket, other: socket.socket, forgotten: threading.Event) -> None:
        with suppress(OSError):
            while data := one.recv(1 << 16):
                if not forgotten.is_set():
                    other.sendall(data)
            if not forgotten.is_set():
                other.shutdown(socket.SHUT_WR)


@pytest.fixture
def face(one_face: ModuleType) -> ModuleType:
    return one_face


@pytest.fixture
def router(opend: Simulator) -> Iterator[Router]:
    router = Router(opend.port)
    yield router
    router.close()


def ask_in_turn(
    face: ModuleType, way: str, port: int, *codes: str, between: Callable[[], object], **named: Any
) -> list[str]:
    """Ask for pages one after the other, with something done after each; gives their symbols."""
    if way == "blocking":
        with face.Client(port=port, mode="bypass", **named) as client:
            return [(client.get_page(code).symbol, between())[0] for code in codes]

    async def overlapped() -> list[str]:
        async with face.AsyncClient(port=port, mode="bypass", **named) as client:
            return [((await client.get_page(code)).symbol, between())[0] for code in codes]

    return asyncio.run(overlapped())


@pytest.mark.parametrize("way", WAYS)
def test_a_request_on_a_link_that_is_dead_is_repeated_on_a_new_one_within_its_time(
    face: ModuleType, opend: Simulator, router: Router, way: str
) -> None:
    codes = ("HK.00700", "US.AAPL", "HK.00005")
    assert ask_in_turn(face, way, router.port, *codes, between=router.forget, timeout=6) == [*codes]
    assert router.links == 3
    assert [str(request.symbol) for request in opend.requests] == [*codes]  # what was sent into the void never came


@pytest.mark.parametrize("way", WAYS)
def test_a_request_that_opend_is_slow_to_answer_is_not_repeated(face: ModuleType, opend: Simulator, way: str) -> None:
    """It answers KeepAlive meanwhile: the link is there."""

    def slow() -> None:
        opend.faults.append(faults.silence(4.5))

    assert ask_in_turn(face, way, opend.port, "HK.00700", "US.AAPL", between=slow, timeout=10) == [
        "HK.00700",
        "US.AAPL",
    ]
    assert len(opend.requests) == 2
    assert opend.connections == 1


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("hours", "links"), [(0, 1), (8, 2)])
def test_a_link_that_was_idle_for_longer_than_keep_alive_is_renewed_before_it_is_used(
    face: ModuleType, opend: Simulator, monkeypatch: pytest.MonkeyPatch, way: str, hours: int, links: int
) -> None:
    """A machine that slept shows it on the wall clock alone."""
    real = time.time

    def sleep() -> None:
        monkeypatch.setattr(time, "time", lambda: real() + hours * 3600)

    assert ask_in_turn(face, way, opend.port, "HK.00700", "US.AAPL", between=sleep) == ["HK.00700", "US.AAPL"]
    assert (opend.connections, len(opend.requests)) == (links, 2)
