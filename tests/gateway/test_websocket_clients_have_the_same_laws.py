"""A gateway's WebSocket port.

Its clients get pages from the record, what passes, and OpenD's end and return, as on TCP.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from opend_si.gateway import links, policy
from opend_si.pages import PageKey
from opend_si.pages.replies import write_refusal
from opend_si.server.websocket import Bridge
from opend_si.simulator import Simulator
from opend_si.wire.blocking import BlockingConnection
from opend_si.wire.session import GET_GLOBAL_STATE
from opend_si_schema import get_global_state
from opend_si_schema.calls import CALLS, SHORT_INTEREST
from tests.gateway.conftest import Start
from tests.processes import ROOT
from tests.server.client import GONE, Client, Reply

RSA = ROOT / "tests/data/keys/rsa-1024.pem"
OK = bytes(write_refusal(0, "").SerializeToString())
SUBSCRIBE, PUSH = 3001, 3005
STATE = b"\x0a\x02\x08\x00"


def page(num: int = 10, call: Any = SHORT_INTEREST) -> tuple[int, bytes]:
    return call.proto_id, PageKey.check(call, "HK.00700", None, num).request()


@pytest.mark.parametrize("rsa_key", [None, RSA], ids=["plain", "encrypted"])
def test_pages_are_opends_bytes_and_are_fetched_once(
    start: Callable[..., Simulator], front: Start, rsa_key: Path | None
) -> None:
    opend, bridge = start(rsa_key=rsa_key), Bridge(rsa_key=rsa_key)
    front(opend, rsa_key=rsa_key, websocket=bridge)
    direct = BlockingConnection(opend.host, opend.port, 5, rsa_key)
    with Client(bridge.address) as client:
        assert client.log_in().error == 0
        for _ in range(3):
            for call in CALLS:
                asked = page(50, call)
                assert client.ask(*asked).body == direct.request(*asked)
        assert client.ask(4321, b"").body == direct.request(4321, b"")
    direct.close()
    assert len(opend.requests) == 3 * len(CALLS) + len(CALLS)


def test_what_is_no_page_passes_and_pushes_come_back(start: Callable[..., Simulator], front: Start) -> None:
    opend, bridge = start(), Bridge()
    front(opend, websocket=bridge)

    def subscribe(body: bytes) -> bytes:
        opend.push(PUSH, body * 2)
        return OK

    opend.others[SUBSCRIBE] = subscribe
    with Client(bridge.address) as client:
        client.log_in()
        assert client.ask(SUBSCRIBE, b"tencent").body == OK
        assert client.receive() == Reply(PUSH, 0, 0, "", b"tencenttencent")


def test_the_end_of_opend_is_said_and_its_return_too(
    start: Callable[..., Simulator], front: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("opend_si.simulator.server.KEEP_ALIVE_SECONDS", 1)
    bridge = Bridge()
    with Simulator() as opend:
        front(opend, websocket=bridge)
        with Client(bridge.address) as client:
            client.log_in()
            rows = client.ask(*page()).body
            opend.disconnect_all()
            assert client.receive()[:4] == (GONE, 0, 3, "disconnected")
    with Client(bridge.address) as client:  # OpenD is away
        client.log_in()
        assert client.ask(*page()).body == rows
        state = get_global_state.Response.FromString(client.ask(GET_GLOBAL_STATE, STATE).body)
        assert not state.s2c.qotLogined
        assert policy.AWAY.encode() in client.ask(SUBSCRIBE, b"").body
        start(port=opend.port)
        # The client says nothing; the bridge's KeepAlive shows that OpenD is back.
        assert client.receive()[:4] == (GONE, 0, 3, "disconnected")
        with pytest.raises(ConnectionClosed):
            client.receive()
    with Client(bridge.address) as client:
        client.log_in()
        state = get_global_state.Response.FromString(client.ask(GET_GLOBAL_STATE, STATE).body)
        assert state.s2c.qotLogined


def test_a_client_that_would_give_up_is_refused_before(
    start: Callable[..., Simulator], front: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(links, "WEBSOCKET_PATIENCE", 0.1)
    opend, bridge = start(latency=3600), Bridge()
    front(opend, websocket=bridge, patience=3600)
    with Client(bridge.address) as client:
        client.log_in()
        assert b"OpenD did not answer in 0.1 seconds" in client.ask(*page()).body
