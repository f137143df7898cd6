"""A child forked at any moment goes on, its threads asking at once, and its parent does not notice.

`tests.stress.forks` does the same a thousand times.
"""

import asyncio
import os
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from opend_si.simulator import Simulator
from tests.cache.processes import Process
from tests.stress import forks

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning"),
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork"),
]


def test_children_forked_while_threads_ask_answer_right_and_so_does_the_parent() -> None:
    tally = forks.run(40)
    assert not tally.errors
    assert tally.answers == 40 * 6
    assert tally.in_parent > 0


def use_in_a_loop(link: Any, client: Any) -> None:
    asyncio.events._set_running_loop(None)  # the parent's is in the middle of a step

    async def ask() -> int:
        return len(await client.get_page("HK.00005"))

    link.send(asyncio.run(ask()))


def close_in_a_loop(link: Any, client: Any) -> None:
    asyncio.events._set_running_loop(None)
    asyncio.run(client.close())
    link.send("closed")


@pytest.mark.parametrize("work", [use_in_a_loop, close_in_a_loop])
def test_a_parents_event_loop_does_not_notice_what_a_child_does_with_its_client(
    one_face: ModuleType, opend: Simulator, work: Any
) -> None:
    async def main() -> None:
        async with one_face.AsyncClient(opend.host, opend.port, mode="bypass", timeout=10) as client:
            await client.get_page("HK.00700")
            for _ in range(3):
                with Process(work, client) as child:
                    assert await asyncio.to_thread(child.hear) in (10, "closed")
                assert len(await client.get_page("HK.00001")) == 10

    asyncio.run(main())
    assert opend.connections == (4 if work is use_in_a_loop else 1)  # the parent's stayed up


OPEN_FILES = Path("/proc/self/fd")


def sockets() -> set[str]:
    """This process's sockets, each by its number in the kernel."""
    found = set()
    for name in OPEN_FILES.iterdir():
        with suppress(FileNotFoundError):  # the folder itself was open
            found.add(str(name.readlink()))
    return {name for name in found if name.startswith("socket:")}


def send_sockets(link: Any) -> None:
    link.send(sockets())


@pytest.mark.skipif(not OPEN_FILES.is_dir(), reason="sockets are counted as Linux shows them")
def test_a_child_keeps_no_link_of_its_parents_open(one_face: ModuleType, opend: Simulator) -> None:
    """Or OpenD would not see that the parent has closed it."""

    async def main() -> None:
        at = {"host": opend.host, "port": opend.port, "mode": "bypass"}
        async with one_face.AsyncClient(**at) as overlapping:
            with one_face.Client(**at) as blocking:
                before = sockets()
                blocking.get_page("HK.00700")
                await overlapping.get_page("HK.00700")
                links = sockets() - before
                with Process(send_sockets) as child:
                    left = links & await asyncio.to_thread(child.hear)
        assert len(links) == 4  # the simulator runs in this process, and its ends are in the child
        assert len(left) == 2

    asyncio.run(main())
