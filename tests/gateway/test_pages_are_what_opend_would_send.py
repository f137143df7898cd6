"""A page through a gateway is the bytes that OpenD would have sent, however it is asked for and wherever it comes from.

It is fetched once for all clients and gateways, within one budget. Whoever waits too long is refused in OpenD's words.
"""

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from opend_si.gateway.server import Gateway
from opend_si.pages import PageKey
from opend_si.settings import Settings
from opend_si.simulator import Simulator, Universe, faults
from opend_si.simulator.server import SeenRequest
from opend_si.wire.blocking import BlockingConnection
from opend_si.wire.ciphers import Algorithm
from opend_si_schema import keep_alive
from opend_si_schema.calls import CALLS, SHORT_INTEREST
from opend_si_schema.definitions import Call, Rate
from tests.cache.processes import OpenD
from tests.gateway.conftest import Address, Start
from tests.gateway.raw import LIMIT, Asker
from tests.processes import ROOT

KEYS = ROOT / "tests/data/keys"
PAGE = SHORT_INTEREST.proto_id
LINKS = [(None, Algorithm.NONE), (1024, Algorithm.AES_CBC), (1024, Algorithm.FTAES_ECB), (2048, Algorithm.AES_CBC)]


def walk(ask: Callable[[bytes], bytes], call: Call, code: str, num: int) -> list[bytes]:
    """The bodies of a symbol's pages to the end."""
    key, bodies = PageKey.check(call, code, None, num), list[bytes]()
    while True:
        bodies.append(ask(key.request()))
        s2c = call.response.FromString(bodies[-1]).s2c
        if s2c.nextKey in ("", "-1"):
            return bodies
        key = replace(key, next_key=s2c.nextKey)


def asking(server: Address, call: Call, bits: int | None, algorithm: Algorithm) -> Callable[[bytes], bytes]:
    """How a client asks a server: no record, no budget, the bytes alone."""
    key_file = None if bits is None else KEYS / f"rsa-{bits}.pem"
    connection = BlockingConnection(server.host, server.port, LIMIT, key_file, algorithm if bits else Algorithm.AES_CBC)
    return partial(connection.request, call.proto_id)


@pytest.mark.parametrize(("bits", "algorithm"), LINKS)
def test_every_reply_is_the_one_that_opend_sends(
    start: Callable[..., Simulator], front: Start, bits: int | None, algorithm: Algorithm
) -> None:
    key_file = None if bits is None else KEYS / f"rsa-{bits}.pem"
    opend = start(universe=Universe(symbols=("HK.00700", "US.AAPL", "HK.01810"), most_rows=160), rsa_key=key_file)
    gateway = front(opend, rsa_key=key_file)
    for call in CALLS:
        direct, through = (asking(server, call, bits, algorithm) for server in (opend, gateway))
        for code in ("HK.00700", "US.AAPL"):
            for num in (50, 10, 49, 7, 1):
                assert walk(through, call, code, num) == walk(direct, call, code, num), f"{call.name} {code} {num}"
    # What it refuses, too: a code that there is none of, a kind of security that is not covered, a cursor from
    # elsewhere.
    through, direct = (asking(server, SHORT_INTEREST, bits, algorithm) for server in (gateway, opend))
    for key in (
        PageKey.check(SHORT_INTEREST, "HK.99999"),
        replace(PageKey.check(SHORT_INTEREST, "HK.00700"), next_key="abc"),
        PageKey.check(SHORT_INTEREST, "HK.01810", "1600000000", 50),
    ):
        assert through(key.request()) == direct(key.request())


class Refusing(OpenD):
    """An OpenD that answers each request for a page with the same bytes."""

    body = b""

    def answer(self, proto_id: int, body: bytes) -> Any:
        if proto_id != PAGE:
            return super().answer(proto_id, body)
        self.requests.append(SeenRequest(0.0, "", "", "", 0, False))
        return keep_alive.Response.FromString(self.body)


@pytest.mark.parametrize("num", [50, 10])
def test_a_refusal_of_opends_is_the_bytes_that_it_sent(front: Start, num: int) -> None:
    short = keep_alive.Response(retType=-1, retMsg="no\nnew\tline \x1b[1m ")  # without errCode
    bare = keep_alive.Response(retType=-400)
    longer = short.SerializePartialToString() + bytes.fromhex("18079a06020102")  # with a field of a day to come
    with Refusing() as opend:
        gateway = front(opend)
        request = PageKey.check(SHORT_INTEREST, "HK.00700", None, num).request()
        with Asker(opend.host, opend.port) as direct, Asker(gateway.host, gateway.port) as through:
            for opend.body in (short.SerializePartialToString(), bare.SerializePartialToString(), longer):
                replies = []
                for asker in (direct, through):
                    asker.ask(PAGE, request)
                    replies.append(asker.reply().body)
                assert replies == [opend.body] * 2
        assert len(opend.requests) == 6


def test_a_body_in_json_is_answered_in_json(opend: Simulator, front: Start) -> None:
    gateway = front(opend)
    with Asker(gateway.host, gateway.port) as through, Asker(opend.host, opend.port) as direct:
        replies = []
        for asker in (direct, through):
            body = json.dumps({"c2s": {"security": {"market": 1, "code": "00700"}, "num": 50}}).encode()
            serial = asker.ask(PAGE, body, body_format=1)
            reply = asker.reply()
            assert (reply.serial, reply.body_format) == (serial, 1)
            replies.append(json.loads(reply.body))
            asker.ask(PAGE, b"{", body_format=1)
            refused = json.loads(asker.reply().body) if asker is through else None
        assert replies[0] == replies[1]
        assert refused is not None
        assert refused["retType"] == -500


def test_a_request_that_cannot_be_right_costs_none(opend: Simulator, front: Start) -> None:
    gateway = front(opend)
    message = SHORT_INTEREST.request()
    message.c2s.security.market, message.c2s.security.code = 21, "600519"
    with Asker(gateway.host, gateway.port) as asker:
        bodies = [message.SerializeToString(), b"\xff\xff"]
        key = PageKey.check(SHORT_INTEREST, "HK.00700")
        bodies += [replace(key, num=num).request() for num in (0, 51, -1)]
        bodies += [replace(key, next_key=cursor).request() for cursor in ("-1", "1\n", "1" * 300)]
        said = []
        for body in bodies:
            asker.ask(PAGE, body)
            said.append(keep_alive.Response.FromString(asker.reply().body))
    assert [reply.retType for reply in said] == [-1, -500, -1, -1, -1, -1, -1, -1]
    assert "market 21" in said[0].retMsg
    assert "num is 51" in said[3].retMsg
    assert all("next_key" in reply.retMsg for reply in said[5:])
    assert opend.requests == []


def ask_together(gateways: list[Gateway], clients: int, code: str) -> list[list[bytes]]:
    """Walks of so many clients at once, the gateways in turn."""

    def one(number: int) -> list[bytes]:
        gateway = gateways[number % len(gateways)]
        with Asker(gateway.host, gateway.port) as asker:

            def ask(body: bytes) -> bytes:
                asker.ask(PAGE, body)
                return asker.reply().body

            return walk(ask, SHORT_INTEREST, code, 50)

    with ThreadPoolExecutor(clients) as pool:
        return list(pool.map(one, range(clients)))


@pytest.mark.parametrize("gateways", [1, 2])
def test_opend_sees_a_cold_page_once_however_many_ask(
    start: Callable[..., Simulator], front: Start, gateways: int
) -> None:
    opend = start(universe=Universe(symbols=("HK.00700",), most_rows=300), latency=0.02)
    walks = ask_together([front(opend) for _ in range(gateways)], 20, "HK.00700")
    assert len(opend.requests) == len(walks[0])
    assert all(bodies == walks[0] for bodies in walks)


def test_opend_never_sees_more_than_the_budget_and_who_waits_is_refused_in_its_words(
    start: Callable[..., Simulator], front: Start
) -> None:
    rate = Rate(4, 4)
    codes = [f"HK.{number:05d}" for number in range(1, 13)]
    opend = start(universe=Universe(symbols=codes, most_rows=20), rate=rate)
    gateways = [front(opend, rate="4/4", patience=1.5) for _ in range(2)]

    def ask(place: int) -> tuple[int, str]:
        gateway = gateways[place % 2]
        with Asker(gateway.host, gateway.port) as asker:
            asker.ask(PAGE, PageKey.check(SHORT_INTEREST, codes[place], None, 50).request())
            reply = keep_alive.Response.FromString(asker.reply().body)
            return reply.retType, reply.retMsg

    with ThreadPoolExecutor(len(codes)) as pool:
        first = list(pool.map(ask, range(len(codes))))
    assert {ret for ret, _ in first} == {0, -1}
    assert {text for ret, text in first if ret} == {"获取空头持仓频率太高，请求失败，每4秒最多4次。"}
    opend.wait_for_requests(len(codes), LIMIT)  # the fetch of who was refused goes on
    while not all(gateway.answers._asked == {} for gateway in gateways):
        time.sleep(0.01)
    with ThreadPoolExecutor(len(codes)) as pool:
        assert list(pool.map(ask, range(len(codes)))) == [(0, "")] * len(codes)
    assert len(opend.requests) == len(codes)
    assert all(request.accepted for request in opend.requests)


def test_an_opend_that_is_slow_is_refused_within_the_patience(opend: Simulator, front: Start) -> None:
    gateway = front(opend, patience=0.2)
    opend.faults.append(faults.silence(1.0))
    key = PageKey.check(SHORT_INTEREST, "HK.00700", None, 50)
    with Asker(gateway.host, gateway.port) as asker:
        asker.ask(PAGE, key.request())
        reply = keep_alive.Response.FromString(asker.reply().body)
        assert (reply.retType, reply.retMsg) == (
            -1,
            "short interest of HK.00700: OpenD did not answer in 0.2 seconds",
        )
        while gateway.answers._asked:
            time.sleep(0.01)
        asker.ask(PAGE, key.request())
        assert keep_alive.Response.FromString(asker.reply().body).retType == 0
    assert len(opend.requests) == 1


def test_requests_of_one_client_overlap(opend: Simulator, front: Start) -> None:
    gateway = front(opend)
    opend.faults.append(faults.silence(1.0))
    with Asker(gateway.host, gateway.port) as asker:
        slow = asker.ask(PAGE, PageKey.check(SHORT_INTEREST, "HK.00700", None, 50).request())
        opend.wait_for_requests(1)
        quick = asker.ask(PAGE, PageKey.check(SHORT_INTEREST, "US.AAPL", None, 50).request())
        assert [asker.reply().serial for _ in range(2)] == [quick, slow]


def test_a_program_of_the_machine_and_a_gateway_share_record_and_budget(
    opend: Simulator, front: Start, home: Path, one_face: object
) -> None:
    gateway = front(opend, rate="30/30")
    with Asker(gateway.host, gateway.port) as asker:
        asker.ask(PAGE, PageKey.check(SHORT_INTEREST, "HK.00700", None, 50).request())
        asker.reply()
    settings = Settings.resolve(environ={"OPEND_SI_HOME": str(home)})
    with one_face.Client(opend.host, opend.port, mode="online", cache=settings.cache) as client:  # type: ignore[attr-defined]
        assert client.get_page("HK.00700", num=50).source == "cache"
    assert len(opend.requests) == 1
