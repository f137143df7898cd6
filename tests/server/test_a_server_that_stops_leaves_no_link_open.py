"""A server that stops closes every link, also one that it is just accepting."""

import gc
import socket
import sys
import threading
from contextlib import suppress

import pytest

from opend_si.server import websocket
from opend_si.server.websocket import Bridge
from opend_si.simulator import Simulator
from tests.server.client import Client

STOPS, CLIENTS, LINKS = 15, 3, 30


@pytest.mark.filterwarnings("error::ResourceWarning")
def test_no_socket_is_left_to_the_garbage_collector(monkeypatch: pytest.MonkeyPatch) -> None:
    left: list[object] = []
    gc.collect()  # what other tests left is not ours
    monkeypatch.setattr(sys, "unraisablehook", lambda told: left.append(told.exc_value))
    for _ in range(STOPS):
        connected = threading.Event()
        with Simulator() as opend:
            address = opend.host, opend.port

            def connect(address: tuple[str, int] = address, connected: threading.Event = connected) -> None:
                links = []
                with suppress(OSError):
                    for _ in range(LINKS):
                        links.append(socket.create_connection(address, 1))
                        connected.set()
                for link in links:
                    link.close()

            clients = [threading.Thread(target=connect) for _ in range(CLIENTS)]
            for client in clients:
                client.start()
            connected.wait()
        for client in clients:
            client.join()
    gc.collect()
    assert left == []


@pytest.mark.parametrize("said", [b"", b"GET / HTTP/1.1\r\nHost: x\r\n"], ids=["nothing", "half a handshake"])
def test_who_never_ends_a_handshake_does_not_hold_up_the_end(monkeypatch: pytest.MonkeyPatch, said: bytes) -> None:
    monkeypatch.setattr(websocket, "FIRST_SECONDS", 10_000.0)
    opend = Simulator(websocket=Bridge())
    opend.__enter__()
    assert opend.websocket is not None
    with socket.create_connection((opend.websocket.host, opend.websocket.port), 30) as stranger:
        stranger.sendall(said)
        with Client(opend.websocket.address) as client:  # it came after the stranger: both are there
            assert client.log_in().error == 0
            ending = threading.Thread(target=opend.__exit__, args=(None, None, None), daemon=True)
            ending.start()
            ending.join(30)
            assert not ending.is_alive()
        with suppress(ConnectionResetError):
            assert stranger.recv(1) == b""
