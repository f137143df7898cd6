"""Connecting: a name is looked up and its addresses are tried within one bound.

No lack of anything gives a bare error.

Only the resolver is stood in for, for names that the tests make up; every connection is a real one.
"""

import asyncio
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from opend_si.simulator import Simulator
from opend_si.wire import aio
from opend_si.wire.aio import AsyncioConnection
from opend_si.wire.dial import dial_beside

NAME = "opend.lan"
ASK = ["blocking", "asyncio"]


@pytest.fixture
def face(one_face: ModuleType) -> ModuleType:
    return one_face


def ask(face: ModuleType, way: str, host: str, port: int, timeout: float = 10) -> int:
    """Ask for a page with one of the two clients; gives how many rows it has."""
    if way == "blocking":
        with face.Client(host, port, mode="bypass", timeout=timeout) as client:
            return len(client.get_page("HK.00700"))

    async def overlapped() -> int:
        async with face.AsyncClient(host, port, mode="bypass", timeout=timeout) as client:
            return len(await client.get_page("HK.00700"))

    return asyncio.run(overlapped())


@pytest.fixture
def resolve(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], Any]], None]:
    """Has the made-up name looked up by a function."""
    real = socket.getaddrinfo

    def use(look_up: Callable[[], Any]) -> None:
        monkeypatch.setattr(
            socket,
            "getaddrinfo",
            lambda host, *rest, **named: look_up() if host == NAME else real(host, *rest, **named),
        )

    return use


def at(host: str, port: int) -> tuple[Any, ...]:
    return socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port)


@contextmanager
def silent_host(port: int) -> Iterator[str]:
    """An address that answers no SYN: what listens there takes nobody, and its queue is full."""
    with ExitStack() as stack:
        hole = stack.enter_context(socket.socket())
        hole.bind(("127.0.0.2", port))
        hole.listen(0)
        for _ in range(4):
            filling = stack.enter_context(socket.socket())
            filling.setblocking(False)
            filling.connect_ex(("127.0.0.2", port))
        yield "127.0.0.2"


@pytest.mark.skipif(sys.platform != "linux", reason="a full queue drops connections on Linux, others refuse them")
@pytest.mark.parametrize("way", ASK)
def test_a_silent_address_does_not_hide_the_next(
    face: ModuleType, opend: Simulator, resolve: Callable[..., None], way: str
) -> None:
    with silent_host(opend.port) as silent:
        resolve(lambda: [at(silent, opend.port), at("127.0.0.1", opend.port)])
        assert ask(face, way, NAME, opend.port) == 10
        resolve(lambda: [at(silent, opend.port)])
        with pytest.raises(face.ConnectionFailed, match=f"{NAME}:{opend.port} .no answer"):
            ask(face, way, NAME, opend.port)


@pytest.mark.parametrize("way", ASK)
def test_an_address_that_refuses_or_that_this_machine_cannot_use_does_not_hide_the_next(
    face: ModuleType, opend: Simulator, resolve: Callable[..., None], way: str
) -> None:
    unusable = (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("100::1", opend.port, 0, 0))
    resolve(lambda: [at("127.0.0.3", opend.port), unusable, at("127.0.0.1", opend.port)])
    assert ask(face, way, NAME, opend.port) == 10


@pytest.mark.parametrize("way", ASK)
def test_a_resolver_that_hangs_is_not_waited_for(face: ModuleType, resolve: Callable[..., None], way: str) -> None:
    released, ended = threading.Event(), threading.Event()

    def hang() -> Any:
        released.wait(60)
        ended.set()
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    resolve(hang)
    try:
        with pytest.raises(face.ConnectionFailed, match=rf"{NAME} could not be looked up in time"):
            ask(face, way, NAME, 11111, timeout=0.3)
        assert not ended.is_set()
    finally:
        released.set()
        ended.wait(60)


HANGING = """
import asyncio, socket, sys, time
import futu_si
socket.getaddrinfo = lambda *_, **__: time.sleep(600)
try:
    if sys.argv[1] == "blocking":
        futu_si.Client("opend.lan", timeout=0.2, mode="bypass").get_page("HK.00700")
    else:
        asyncio.run(futu_si.AsyncClient("opend.lan", timeout=0.2, mode="bypass").get_page("HK.00700"))
except futu_si.ConnectionFailed:
    print("named")
"""


@pytest.mark.parametrize("way", ASK)
def test_a_resolver_that_hangs_keeps_no_process_alive(way: str) -> None:
    ended = subprocess.run([sys.executable, "-c", HANGING, way], capture_output=True, text=True, timeout=60)
    assert (ended.stdout, ended.stderr) == ("named\n", "")


def link_local() -> str | None:
    """A link-local address of this machine with its scope, as Linux lists them."""
    try:
        lines = Path("/proc/net/if_inet6").read_text().splitlines()
    except OSError:
        return None
    for number, _, _, scope, _, interface in map(str.split, lines):
        if scope == "20":
            return f"{socket.inet_ntop(socket.AF_INET6, bytes.fromhex(number))}%{interface}"
    return None


@pytest.mark.parametrize("way", ASK)
def test_the_scope_of_an_address_is_passed_on(face: ModuleType, start: Callable[..., Simulator], way: str) -> None:
    if (address := link_local()) is None:
        pytest.skip("this machine has no link-local address")
    assert ask(face, way, address, start(host="::").port) == 10


LACKING = """
import os, resource, sys, warnings
import futu_si
warnings.simplefilter("ignore", futu_si.ShortInterestWarning)  # the record cannot be used
host, port, mode, left = sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
with futu_si.OpenQuoteContext(host, port, mode=mode, timeout=5) as context:
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    taken = []
    try:
        while True:
            taken.append(os.open(os.devnull, os.O_RDONLY))
    except OSError:
        for number in taken[len(taken) - left:]:
            os.close(number)
    ret, text, _ = context.get_short_interest("HK.00700")
    print(text if ret else "answered")
    for number in taken[:len(taken) - left]:
        os.close(number)
    print(*context.get_short_interest("HK.00700")[:1])
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no such limit to set")
@pytest.mark.parametrize("mode", ["bypass", "online"])
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
@pytest.mark.parametrize("left", range(3))
def test_descriptors_that_are_used_up_are_a_named_error(opend: Simulator, mode: str, host: str, left: int) -> None:
    """In a process of its own: what it has not imported yet needs descriptors, too."""
    command = [sys.executable, "-c", LACKING, host, str(opend.port), mode, str(left)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert ended.stderr == ""
    text, after = ended.stdout.splitlines()
    assert text == "answered" or "open files" in text or "cannot be used" in text
    assert after == "0"


def test_a_process_that_cannot_encode_names_has_a_named_error(opend: Simulator) -> None:
    """Python remembers that a codec could not be loaded."""
    lost = "import encodings; encodings._cache['idna'] = None; import futu_si, sys; "
    ask = "print(futu_si.OpenQuoteContext('localhost', int(sys.argv[1]), mode='bypass').get_short_interest('HK.00700')[:2])"
    command = [sys.executable, "-c", lost + ask, str(opend.port)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert ended.stderr == ""
    assert "(-1, " in ended.stdout
    assert "open files" in ended.stdout


def test_a_socket_that_came_in_the_moment_of_a_cancellation_is_closed(
    opend: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody gets it any more: the task ends with its cancellation, though what it waited for is there."""
    dialled: list[socket.socket] = []

    async def ask() -> None:
        loop, connection = asyncio.get_running_loop(), AsyncioConnection(opend.host, opend.port, 5.0)

        def dial_and_cancel(
            host: str, port: int, deadline: float, hand_over: Callable[[socket.socket | Exception], None]
        ) -> None:
            def handed_over(found: socket.socket | Exception) -> None:
                assert isinstance(found, socket.socket)
                dialled.append(found)
                loop.call_soon_threadsafe(both, found)

            def both(found: socket.socket) -> None:
                hand_over(found)
                loop.call_soon(task.cancel)

            dial_beside(host, port, deadline, handed_over)

        monkeypatch.setattr(aio, "dial_beside", dial_and_cancel)
        task = asyncio.create_task(connection.greeting())
        with suppress(asyncio.CancelledError):
            await task
        await connection.close()

    for _ in range(5):
        asyncio.run(ask())
    assert [found.fileno() for found in dialled] == [-1] * 5
