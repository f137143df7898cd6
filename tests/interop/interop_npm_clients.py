"""The published npm packages on the simulator's WebSocket port.

They log in, ask, subscribe and come back after an outage.

What they get is what this package's client gets from the TCP port. They need Node and the npm registry; where these are
not, the tests say so. The packages run with the preload of examples/javascript, which gives what they lack.
"""

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from futu_si import Client
from opend_si.pages.replies import write_refusal
from opend_si.server.websocket import Bridge, tls_context
from opend_si.simulator import Simulator
from opend_si_schema.init_web_socket import Response
from tests.interop.conftest import skipping
from tests.interop.npm import Package
from tests.interop.servers import KEY
from tests.processes import ROOT
from tests.server.certificates import certificate

HK = 1
CALLS = {"short_interest": "GetShortInterest", "daily_short_volume": "GetDailyShortVolume"}
RSA = ROOT / "tests/data/keys/rsa-1024.pem"
SUBSCRIBE, PUSH = 3001, 3005


@pytest.fixture(scope="session", params=["futu", "moomoo"])
def package(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Package:
    """Each of the two packages, installed in a folder of its own."""
    with skipping():
        return Package(request.param, tmp_path_factory.mktemp(request.param))


@contextmanager
def port(rsa_key: Path | None = None, latency: float = 0.0, **settings: Any) -> Iterator[tuple[Simulator, Bridge]]:
    """A simulator with a WebSocket port."""
    bridge = Bridge(rsa_key=rsa_key, **settings)
    with Simulator(rsa_key=rsa_key, latency=latency, websocket=bridge) as opend:
        yield opend, bridge


def pages_of_ours(opend: Simulator, kind: Any, rsa_key: Path | None = None) -> list[Any]:
    """The pages as this package gets them from the TCP port, in the JSON that the page's JavaScript sample prints."""
    with Client(opend.host, opend.port, mode="bypass", rsa_key=rsa_key) as client:
        return [json.loads(page.to_json()) for page in client.pages("HK.00700", kind=kind)]


@pytest.mark.parametrize("link", ["ws", "ws with a key", "wss", "ws before RSA"])
def test_both_calls_are_walked_to_the_end_and_give_what_tcp_gives(package: Package, link: str, tmp_path: Path) -> None:
    cert, secret = certificate(tmp_path)
    key = KEY if link in ("ws with a key", "wss") else ""
    rsa_key = RSA if link == "ws before RSA" else None
    settings: dict[str, Any] = {"tls": tls_context(cert, secret)} if link == "wss" else {}
    with port(rsa_key, key=key or None, **settings) as (opend, bridge):
        walks = [["walk", method, HK, "00700", 50] for method in CALLS.values()]
        connection, state, *walked = package.run(
            bridge.port, ["connection"], ["state"], *walks, key=key, ca=cert if link == "wss" else None
        )
        assert int(connection) >= 1
        assert (state["qotLogined"], state["serverVer"]) == (True, opend.version)
        for kind, pages in zip(CALLS, walked, strict=True):
            assert pages == pages_of_ours(opend, kind, rsa_key)
            assert len(pages) > 1


@pytest.mark.parametrize("key", ["wrong", "", KEY.upper()])
def test_a_wrong_key_is_a_login_that_failed(package: Package, key: str) -> None:
    with port(key=KEY) as (opend, bridge):
        assert package.run(bridge.port, ["login"], key=key) == [[-1]]
        assert opend.connections == 0


def test_refusals_reject_the_promise_in_opends_words(package: Package) -> None:
    with port() as (_, bridge):
        unknown, wrong_market = package.run(
            bridge.port, ["refused", "GetShortInterest", HK, "99999"], ["refused", "GetShortInterest", 21, "600519"]
        )
        assert (unknown["retType"], unknown["retMsg"]) == (-1, "未知股票")
        assert (wrong_market["retType"], wrong_market["retMsg"]) == (-1, "该接口仅支持正股")


def test_pushes_of_a_subscription_arrive_in_their_order(package: Package) -> None:
    with port() as (opend, bridge):

        def subscribe(_: bytes) -> bytes:
            for number in range(50):  # errCode and all, but no quote: the simulator has none
                opend.push(PUSH, bytes(Response(retType=0, retMsg="", errCode=number).SerializeToString()))
            return bytes(write_refusal(0, "").SerializeToString())

        opend.others[SUBSCRIBE] = subscribe
        [[ret_type, pushes]] = package.run(bridge.port, ["subscribe", 50])
        assert ret_type == 0
        assert [command for command, _ in pushes] == [PUSH] * 50
        assert [message["errCode"] for _, message in pushes] == list(range(50))


def test_the_program_of_the_guide_walks_to_the_oldest_row(package: Package) -> None:
    text = (ROOT / "docs/javascript.md").read_text(encoding="utf-8")
    [program] = re.findall(r"^```js\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    (package.folder / "history.mjs").write_text(program.replace("futu-api", f"{package.brand}-api"), encoding="utf-8")
    with port() as (opend, bridge):
        printed = package.node("history.mjs", environ={"OPEND_WEBSOCKET": bridge.address})
        rows = [row for page in pages_of_ours(opend, "short_interest") for row in page["hkItemList"]]
    newest = rows[0]
    assert printed == f"{len(rows)} {newest['timestampStr']} {newest['aggregatedShort']}\n"


def test_two_thousand_requests_at_once_are_all_answered(package: Package) -> None:
    with port() as (_, bridge):
        [[counts, _]] = package.run(bridge.port, ["together", "GetShortInterest", HK, "00700", 2000])
        assert counts == [number % 50 + 1 for number in range(2000)]


def test_an_outage_rejects_what_was_asked_and_the_client_is_back_by_itself(package: Package) -> None:
    with port(latency=3600) as (opend, bridge):

        def end() -> None:
            opend.wait_for_requests(1)
            opend.disconnect_all()

        outage = threading.Thread(target=end)
        outage.start()
        [[refusal, logins]] = package.run(bridge.port, ["outage", "GetShortInterest", HK, "00700"])
        outage.join()
        assert (refusal["retType"], refusal["retMsg"]) == (-200, "OpenD has ended the link")
        assert logins == [True, True]
        assert opend.connections == 2
