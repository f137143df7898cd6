"""A child that was forked while another thread held a lock goes on: real forks, while threads are at work."""

import threading
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from opend_si.simulator import Simulator
from tests.cache.processes import Process

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


@pytest.fixture
def face(one_face: ModuleType) -> ModuleType:
    return one_face


def ask_again(link: Any, client: Any, face: ModuleType) -> None:
    link.send((len(client.get_page("HK.00700")), len(face.history("HK.00700", "2026-04-01"))))


def test_a_child_forked_while_threads_ask_goes_on(face: ModuleType, opend: Simulator, tmp_path: Path) -> None:
    at = {"host": opend.host, "port": opend.port, "mode": "online", "cache": tmp_path / "pages.sqlite3"}
    face.configure(**at)
    done = threading.Event()
    with face.Client(**at) as client:

        def work() -> None:
            while not done.is_set():
                client.get_page("HK.00700")
                client.history("US.AAPL")

        client.history("HK.00700")
        threads = [threading.Thread(target=work) for _ in range(3)]
        for thread in threads:
            thread.start()
        try:
            for _ in range(20):
                with Process(ask_again, client, face) as child:
                    assert child.hear(20) == (10, 5)
        finally:
            done.set()
            for thread in threads:
                thread.join()
