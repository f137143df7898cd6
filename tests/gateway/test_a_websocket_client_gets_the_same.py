"""A WebSocket client of a gateway gets what a TCP client gets, and no more than its machine and its key allow.

Its pages come from the record with the bytes of OpenD, all else passes, and OpenD's end and return are said.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from opend_si.gateway import links, policy
from opend_si.pages import PageKey
from opend_si.pages.replies import write_refusal
from opend_si.server.websocket import Bridge
from opend_si.simulator import Simulator, faults
from opend_si.wire.blocking import BlockingConnection
from opend_si.wire.session import GATEWAY_STATUS, GET_GLOBAL_STATE
from opend_si_schema import get_global_state, keep_alive
from opend_si_schema.calls import CALLS, SHORT_INTEREST
from tests.gateway.conftest import Start
from tests.processes import ROOT, running
from tests.server.client import GONE, Client, Reply

OK = bytes(write_refusal(0, "").SerializeToString())
SUBSCRIBE, PUSH, UNLOCK_TRADE = 3001, 3005, 2005
STATE = b"\x0a\x02\x08\x00"

with_and_without_key = pytest.mark.parametrize(
    "rsa_key", [None, ROOT / "tests/data/keys/rsa-1024.pem"], ids=["plain", "encrypted"]
)


def page(num: int = 10, call: Any = SHORT_INTEREST) -> tuple[int, bytes]:
    return call.proto_id, PageKey.check(call, "HK.00700", None, num).request()


@with_and_without_key
def test_pages_are_opends_bytes_and_are_fetched_once(
    start: Callable[..., Simulator], front: Start, rsa_key: Path | None
) -> None:
    opend, bridge = start(rsa_key=rsa_key), Bridge(rsa_key=rsa_key)
    gateway = front(opend, rsa_key=rsa_key, websocket=bridge)
    direct = BlockingConnection(opend.host, opend.port, 5, rsa_key)
    with Client(bridge.address) as client:
        assert client.log_in().error == 0
        for _ in range(3):
            for call in CALLS:
                asked = page(50, call)
                assert client.ask(*asked).body == direct.request(*asked)
        assert client.ask(4321, b"").body == direct.request(4321, b"")
    direct.close()
    assert gateway.answers.spent == len(CALLS)
    assert len(opend.requests) == 3 * len(CALLS) + len(CALLS)


@with_and_without_key
def test_what_is_no_page_passes_and_pushes_come_back(
    start: Callable[..., Simulator], front: Start, rsa_key: Path | None
) -> None:
    opend, bridge = start(rsa_key=rsa_key), Bridge(rsa_key=rsa_key)
    front(opend, rsa_key=rsa_key, websocket=bridge)

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


def test_a_page_is_refused_before_the_client_gives_up_and_is_kept_when_it_comes(
    opend: Simulator, front: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(links, "WEBSOCKET_PATIENCE", 0.2)
    bridge = Bridge()
    gateway = front(opend, websocket=bridge)
    opend.faults.append(faults.silence(1.0))
    with Client(bridge.address) as client:
        client.log_in()
        reply = keep_alive.Response.FromString(client.ask(*page()).body)
        assert "did not answer in 0.2 seconds" in reply.retMsg
        while gateway.answers._asked:
            time.sleep(0.01)
        assert keep_alive.Response.FromString(client.ask(*page()).body).retType == 0
    assert len(opend.requests) == 1


@pytest.mark.parametrize("pass_trade", [False, True])
@pytest.mark.parametrize("is_trusted", [False, True])
def test_what_a_websocket_client_is_refused(pass_trade: bool, is_trusted: bool) -> None:
    refuse = policy.websocket_refusal(pass_trade)
    assert (refuse(UNLOCK_TRADE, is_trusted) == "") is (pass_trade and is_trusted)
    assert (refuse(GATEWAY_STATUS, is_trusted) == "") is is_trusted
    assert refuse(SHORT_INTEREST.proto_id, is_trusted) == refuse(SUBSCRIBE, is_trusted) == ""


def test_the_console_opens_both_ports_and_passes_no_trade(opend: Simulator, tmp_path: Path) -> None:
    options = ["--port", "0", "--opend", f"{opend.host}:{opend.port}", "--websocket-port", "0"]
    with running("moomoo-si", "gateway", *options, OPEND_SI_HOME=str(tmp_path / "desk")) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("127.0.0.1:")
        with Client(process.stdout.readline().strip()) as client:
            assert client.log_in().error == 0
            assert keep_alive.Response.FromString(client.ask(*page()).body).retType == 0
            assert keep_alive.Response.FromString(client.ask(UNLOCK_TRADE, b"").body).retMsg == policy.NO_TRADE
        process.terminate()
        assert process.wait(30) == 130


def test_a_port_that_a_gateway_is_given_has_its_rules(opend: Simulator, front: Start) -> None:
    bridge = Bridge()
    front(opend, websocket=bridge, pass_trade=True, most_clients=3)
    assert bridge.refuse(UNLOCK_TRADE, False)
    assert not bridge.refuse(UNLOCK_TRADE, True)
    assert bridge.most_clients == 3
