"""The asyncio client works on any event loop: loops and transports are used by what they can do, not by their class."""

import asyncio
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from opend_si.simulator import Simulator, faults


class OtherTransport:
    """A transport of a class of its own, with what the documentation of asyncio says that one can do."""

    def __init__(self, transport: Any) -> None:
        self.write, self.abort, self.close = transport.write, transport.abort, transport.close
        self.get_extra_info, self.is_closing = transport.get_extra_info, transport.is_closing


class OtherProtocol(asyncio.Protocol):
    """Gives a protocol an `OtherTransport`."""

    def __init__(self, protocol: Any) -> None:
        self._protocol = protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._protocol.connection_made(OtherTransport(transport))

    def data_received(self, data: bytes) -> None:
        self._protocol.data_received(data)

    def connection_lost(self, error: Exception | None) -> None:
        self._protocol.connection_lost(error)


class OtherLoop(asyncio.SelectorEventLoop):
    """An event loop whose transports are of another class."""

    async def create_connection(self, factory: Any, *where: Any, **named: Any) -> Any:  # type: ignore[override]
        protocol = factory()
        transport, _ = await super().create_connection(lambda: OtherProtocol(protocol), *where, **named)
        return OtherTransport(transport), protocol


def uvloops() -> asyncio.AbstractEventLoop:
    uvloop = pytest.importorskip("uvloop")
    return uvloop.new_event_loop()  # type: ignore[no-any-return]


LOOPS = [
    asyncio.SelectorEventLoop,
    OtherLoop,
    pytest.param(uvloops, marks=pytest.mark.skipif(sys.platform == "win32", reason="there is no uvloop for Windows")),
]


@pytest.mark.parametrize("loop", LOOPS)
def test_pages_histories_errors_and_broken_links_are_as_ever(
    face: ModuleType, opend: Simulator, loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    rows = opend.universe.rows("US.AAPL")
    assert rows is not None

    async def ask() -> None:
        async with face.AsyncClient(opend.host, opend.port, timeout=5) as client:
            pages = await asyncio.gather(*(client.get_page(code) for code in ("HK.00700", "US.AAPL", "HK.00005")))
            assert [page.symbol for page in pages] == ["HK.00700", "US.AAPL", "HK.00005"]
            assert len(await client.history("US.AAPL")) == len(rows)
            with pytest.raises(face.UnknownSymbol):
                await client.get_page("US.NOSUCH")
            opend.disconnect_all()
            assert len(await client.get_page("HK.00700")) == 10
            for fault in (faults.garbage(), faults.wrong_checksum()):
                opend.faults.append(fault)
                with pytest.raises(face.ProtocolError):
                    await client.get_page("HK.00700")
            opend.latency = 0.2
            asked = asyncio.create_task(client.get_page("HK.00700"))
            await asyncio.sleep(0.05)
            asked.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asked
            assert len(await client.get_page("HK.00700")) == 10
        with pytest.raises(face.ConnectionFailed):
            await face.AsyncClient("127.0.0.1", 1).get_page("HK.00700")

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(ask())


@pytest.mark.parametrize("loop", LOOPS)
def test_a_second_loop_gets_a_link_of_its_own(
    face: ModuleType, opend: Simulator, loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    client = face.AsyncClient(opend.host, opend.port, timeout=5)
    for _ in range(2):
        with asyncio.Runner(loop_factory=loop) as runner:
            assert len(runner.run(client.get_page("HK.00700"))) == 10
            runner.run(client.close())
    assert opend.connections == 2
