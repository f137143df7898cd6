"""A server that stops closes every link, also one that it is just accepting."""

import gc
import socket
import sys
import threading
from contextlib import suppress

import pytest

from opend_si.simulator import Simulator

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
