"""A WebSocket client of a gateway gets what a TCP client gets, and no more than its machine and its key allow."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from opend_si.gateway import links, policy
from opend_si.pages import PageKey
from opend_si.server.websocket import Bridge
from opend_si.simulator import Simulator, faults
from opend_si.wire.session import GATEWAY_STATUS
from opend_si_schema import keep_alive
from opend_si_schema.calls import SHORT_INTEREST
from tests.gateway.conftest import Start
from tests.gateway.raw import Asker
from tests.processes import ROOT, running
from tests.server.client import Client

PAGE = SHORT_INTEREST.proto_id
REQUEST = PageKey.check(SHORT_INTEREST, "HK.00700", None, 50).request()
KEY_FILE = ROOT / "tests/data/keys/rsa-1024.pem"


@pytest.mark.parametrize("key_file", [None, KEY_FILE])
def test_pages_passed_calls_and_pushes_arrive(
    start: Callable[..., Simulator], front: Start, key_file: Path | None
) -> None:
    opend = start(rsa_key=key_file)
    opend.others[9999] = lambda body: body[::-1]
    bridge = Bridge(rsa_key=key_file, refuse=policy.websocket_refusal(False))
    gateway = front(opend, rsa_key=key_file, websocket=bridge)
    with Client(bridge.address) as client:
        assert client.log_in().error == 0
        bodies = {client.ask(PAGE, REQUEST).body for _ in range(3)}
        assert client.ask(9999, b"abc").body == b"cba"
        assert keep_alive.Response.FromString(client.ask(2005, b"").body).retMsg == policy.NO_TRADE
        opend.push(3005, b"pushed")
        came = client.receive()
        assert (came.command, came.section, came.body) == (3005, 0, b"pushed")
    assert len(opend.requests) == gateway.answers.spent == 1
    if key_file is None:
        with Asker(gateway.host, gateway.port) as asker:
            asker.ask(PAGE, REQUEST)
            assert {asker.reply().body} == bodies


def test_a_page_is_refused_before_the_client_gives_up(
    opend: Simulator, front: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(links, "WEBSOCKET_PATIENCE", 0.2)
    bridge = Bridge()
    gateway = front(opend, websocket=bridge)
    opend.faults.append(faults.silence(1.0))
    with Client(bridge.address) as client:
        client.log_in()
        reply = keep_alive.Response.FromString(client.ask(PAGE, REQUEST).body)
        assert "did not answer in 0.2 seconds" in reply.retMsg
        while gateway.answers._asked:
            time.sleep(0.01)
        assert keep_alive.Response.FromString(client.ask(PAGE, REQUEST).body).retType == 0


@pytest.mark.parametrize("pass_trade", [False, True])
@pytest.mark.parametrize("is_trusted", [False, True])
def test_what_a_websocket_client_is_refused(pass_trade: bool, is_trusted: bool) -> None:
    refuse = policy.websocket_refusal(pass_trade)
    assert (refuse(2005, is_trusted) == "") is (pass_trade and is_trusted)
    assert (refuse(GATEWAY_STATUS, is_trusted) == "") is is_trusted
    assert refuse(PAGE, is_trusted) == refuse(3001, is_trusted) == ""


def test_the_console_opens_both_ports(opend: Simulator, tmp_path: Path) -> None:
    options = ["--port", "0", "--opend", f"{opend.host}:{opend.port}", "--websocket-port", "0"]
    with running("moomoo-si", "gateway", *options, OPEND_SI_HOME=str(tmp_path / "desk")) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("127.0.0.1:")
        with Client(process.stdout.readline().strip()) as client:
            assert client.log_in().error == 0
            assert keep_alive.Response.FromString(client.ask(PAGE, REQUEST).body).retType == 0
            assert keep_alive.Response.FromString(client.ask(2005, b"").body).retMsg == policy.NO_TRADE
        process.terminate()
        assert process.wait(30) == 130
