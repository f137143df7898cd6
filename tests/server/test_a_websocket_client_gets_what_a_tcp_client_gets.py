"""The WebSocket port: its clients get what clients of the TCP port beside it get, and nobody else gets anything.

A reply has the bytes that the TCP port sends, at the section of its request; pushes arrive in their order between
replies; OpenD's end is said. The key is checked as OpenD does. One bad message ends one link and no other.
"""

import asyncio
import hashlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.exceptions import ConnectionClosed, InvalidMessage, InvalidStatus
from websockets.sync.client import ClientConnection

from opend_si.errors import InvalidArgument, ProtocolError
from opend_si.pages import PageKey
from opend_si.pages.replies import write_refusal
from opend_si.server import websocket
from opend_si.server.conversation import Conversation
from opend_si.server.listener import Listener
from opend_si.server.messages import MAX_REQUEST_BYTES, Message, read_request, write_reply
from opend_si.server.peers import is_loopback
from opend_si.server.websocket import Bridge, tls_context
from opend_si.simulator import Simulator
from opend_si.wire.blocking import BlockingConnection
from opend_si.wire.framing import Frame
from opend_si.wire.session import GET_GLOBAL_STATE, INIT_CONNECT, KEEP_ALIVE, Greeting
from opend_si_schema import init_web_socket
from opend_si_schema.calls import CALLS
from tests.processes import ROOT
from tests.server.certificates import certificate
from tests.server.client import GONE, Client, Reply, reply, request

KEY = "7522027ccf5a06b1"
RSA = ROOT / "tests/data/keys/rsa-1024.pem"
PUSH, SUBSCRIBE = 3005, 3001
OK = bytes(write_refusal(0, "").SerializeToString())


@contextmanager
def port(**settings: Any) -> Iterator[tuple[Simulator, str]]:
    """A simulator with a WebSocket port, and its URL."""
    rsa_key = settings.pop("rsa_key", None)
    latency = settings.pop("latency", 0.0)
    bridge = Bridge(rsa_key=rsa_key, **settings)
    with Simulator(rsa_key=rsa_key, latency=latency, websocket=bridge) as opend:
        yield opend, bridge.address


def keys(code: str) -> Iterator[tuple[Any, bytes]]:
    """Requests for the first pages of a symbol, of both calls."""
    for call in CALLS:
        for num in (1, 10, 50):
            yield call, PageKey.check(call, code, None, num).request()


# Requests and replies


@pytest.mark.parametrize("rsa_key", [None, RSA], ids=["plain", "encrypted"])
def test_replies_are_the_bytes_that_the_tcp_port_sends(rsa_key: Path | None) -> None:
    with port(rsa_key=rsa_key) as (opend, url), Client(url) as client:
        direct = BlockingConnection(opend.host, opend.port, 5, rsa_key)
        welcome = client.log_in()
        s2c = init_web_socket.Response.FromString(welcome.body).s2c
        assert (welcome.error, s2c.connID > 0, s2c.serverTime > 1_700_000_000) == (0, True, True)
        for code in ("HK.00700", "US.AAPL"):
            for call, body in keys(code):
                came = client.ask(call.proto_id, body)
                assert (came.error, came.text) == (0, "")
                assert came.body == direct.request(call.proto_id, body)
        assert client.ask(4321, b"").body == direct.request(4321, b"")  # a protocol that nobody knows
        assert client.ask(CALLS[0].proto_id, b"\xff").body == direct.request(CALLS[0].proto_id, b"\xff")
        assert client.ask(GET_GLOBAL_STATE, b"\x0a\x02\x08\x00").body[:2] == b"\x08\x00"
        direct.close()


def test_requests_overlap_and_each_reply_has_its_section() -> None:
    with port(latency=0.01) as (opend, url), Client(url) as client:
        client.log_in()
        asked = {}
        for number in range(500):
            call, body = (
                CALLS[number % len(CALLS)],
                PageKey.check(CALLS[0], "HK.00700", None, number % 50 + 1).request(),
            )
            asked[client.send(call.proto_id, body)] = number
        came = {arrived.section: arrived for arrived in (client.receive() for _ in asked)}
        assert came.keys() == asked.keys()
        for section, number in asked.items():
            page = CALLS[number % len(CALLS)].response.FromString(came[section].body)
            [rows] = [value for field, value in page.s2c.ListFields() if field.name == "hkItemList"]
            assert len(rows) == number % 50 + 1
        assert len(opend.requests) == 500


def test_sections_of_64_bits_come_back() -> None:
    with port() as (_, url), Client(url) as client:
        client.log_in()
        for section in (0, 1, 2**32, 2**64 - 1):
            client.link.send(request(KEEP_ALIVE, section, b"\x0a\x02\x08\x07"))
            assert client.receive()[:3] == (KEEP_ALIVE, section, 0)


def test_pushes_stand_in_their_order_among_replies() -> None:
    with port() as (opend, url), Client(url) as client, Client(url) as other:

        def subscribe(body: bytes) -> bytes:
            # Called in the simulator's loop: what it sends next is this reply, and then the pushes.
            for number in range(100):
                opend.push(PUSH, body + bytes([number]))
            return OK

        opend.others[SUBSCRIBE] = subscribe
        client.log_in()
        other.log_in()
        assert client.ask(SUBSCRIBE, b"to me").body == OK
        for link in (client, other):  # the simulator pushes to all
            for number in range(100):
                assert link.receive() == Reply(PUSH, 0, 0, "", b"to me" + bytes([number]))


class Announcer(Listener):
    """An OpenD that sends a push before each reply, with the serial of the request."""

    def __init__(self, websocket: Bridge) -> None:
        super().__init__("127.0.0.1", 0, websocket)

    async def converse(self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        conversation = Conversation(Greeting(1011, number, 0, 10))
        while data := await reader.read(1 << 16):
            for asked in conversation.receive(data):
                writer.write(conversation.reply(Frame(PUSH, asked.serial, b""), b"news"))
                is_hello = asked.proto_id == INIT_CONNECT
                writer.write(conversation.greet(asked) if is_hello else conversation.reply(asked, OK))
                await writer.drain()


def test_a_push_with_the_serial_of_a_request_is_no_reply() -> None:
    bridge = Bridge()
    with Announcer(bridge), Client(bridge.address) as client:
        assert client.log_in().error == 0
        for _ in range(3):
            section = client.send(SUBSCRIBE, b"")
            assert client.receive() == Reply(PUSH, 0, 0, "", b"news")
            assert client.receive() == Reply(SUBSCRIBE, section, 0, "", OK)


def test_the_bridge_keeps_the_link_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    beats = threading.Semaphore(0)

    def beat(_: bytes) -> bytes:
        beats.release()
        return OK

    monkeypatch.setattr("opend_si.simulator.server.KEEP_ALIVE_SECONDS", 1)
    with port() as (opend, url), Client(url) as client:
        opend.others[KEEP_ALIVE] = beat
        client.log_in()
        assert all(beats.acquire(timeout=30) for _ in range(2))  # the client itself sends none
        assert client.ask(4321, b"").command == 4321  # and gets no reply to them


# OpenD's end


def test_the_end_of_opend_is_said_and_what_it_owes_is_refused() -> None:
    with port(latency=3600) as (opend, url), Client(url) as client:
        client.log_in()
        section = client.send(CALLS[0].proto_id, PageKey.check(CALLS[0], "HK.00700", None, 1).request())
        opend.wait_for_requests(1)
        opend.disconnect_all()
        refused, gone = client.receive(), client.receive()
        assert refused[:4] == (CALLS[0].proto_id, section, 3, "disconnected")
        assert CALLS[0].response.FromString(refused.body).retType == -200
        assert gone == Reply(GONE, 0, 3, "disconnected", b"")
        with pytest.raises(ConnectionClosed) as closed:
            client.receive()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1001
        with Client(url) as again:  # the port is still there, and so is OpenD
            assert again.log_in().error == 0


@pytest.mark.parametrize("leave", [lambda link: link.close(), lambda link: link.socket.shutdown(2)])
def test_a_client_that_leaves_takes_its_tcp_link_along(leave: Callable[[ClientConnection], object]) -> None:
    ended = threading.Event()

    class Watched(Simulator):
        async def converse(self, *link: Any) -> None:
            try:
                await super().converse(*link)
            finally:
                ended.set()

    bridge = Bridge()
    with Watched(websocket=bridge), Client(bridge.address) as client:
        client.log_in()
        assert not ended.is_set()
        leave(client.link)
        assert ended.wait(30)


def test_where_no_opend_is_the_client_is_sent_away_to_try_again() -> None:
    log = list[str]()
    bridge = Bridge(log=log.append)
    with socket.socket() as taken:  # it does not listen
        taken.bind(("127.0.0.1", 0))
        address = taken.getsockname()

        async def serve() -> None:
            async with bridge.open(*address):
                await asyncio.to_thread(attempt)

        def attempt() -> None:
            with Client(bridge.address) as client, pytest.raises(ConnectionClosed) as ended:
                client.log_in()
            assert ended.value.rcvd is not None
            assert ended.value.rcvd.code == 1013

        asyncio.run(serve())
    assert len(log) == 1
    assert "no OpenD" in log[0]


# Who is let in


@pytest.mark.parametrize(
    ("given_key", "is_right"), [(KEY, True), ("wrong", False), (None, False), (KEY.upper(), False), (KEY + " ", False)]
)
def test_the_key_opens_the_port_and_nothing_else_does(given_key: str | None, is_right: bool) -> None:
    with port(key=KEY) as (opend, url), Client(url) as client:
        welcome = client.log_in(given_key)
        assert (welcome.error == 0) == is_right
        assert (opend.connections == 1) == is_right
        if not is_right:
            assert welcome.text == "wrong key"
            with pytest.raises(ConnectionClosed):
                client.receive()


def test_a_digest_is_taken_in_either_case_and_the_key_itself_is_not() -> None:
    digest = hashlib.md5(KEY.encode()).hexdigest()
    with port(key=KEY) as (_, url):
        for text, error in ((digest, 0), (digest.upper(), 0), (KEY, -1), (digest + "0", -1), ("é" * 16, -1)):
            message = init_web_socket.Request()
            message.c2s.websocketKey = text
            with Client(url) as client:
                assert client.ask(1, message.SerializeToString()).error == error


def test_without_a_key_any_program_is_let_in_whatever_key_it_gives() -> None:
    with port() as (_, url):
        for given_key in (None, KEY):
            with Client(url) as client:
                assert client.log_in(given_key).error == 0


@pytest.mark.parametrize("origin", ["https://example.org", "null", "http://127.0.0.1"])
def test_a_web_page_is_let_in_only_with_a_key(origin: str) -> None:
    with port() as (opend, url):
        with pytest.raises(InvalidStatus) as refused, Client(url, origin=origin):
            pass
        assert refused.value.response.status_code == 403
        assert opend.connections == 0
    with port(key=KEY) as (_, url), Client(url, origin=origin) as client:
        assert client.log_in(KEY).error == 0


def test_more_clients_than_the_limit_are_turned_away_and_let_in_when_one_has_left() -> None:
    with port(most_clients=2) as (_, url), Client(url) as one, Client(url) as two:
        one.log_in()
        two.log_in()
        with pytest.raises(InvalidStatus) as refused, Client(url):
            pass
        assert refused.value.response.status_code == 503
        one.link.close()
        for _ in range(300):  # its end may not have come to an end here
            try:
                with Client(url) as three:
                    assert three.log_in().error == 0
                    break
            except InvalidStatus:
                threading.Event().wait(0.1)
        else:
            pytest.fail("nobody was let in again")


def test_what_the_owner_refuses_does_not_reach_opend() -> None:
    said = list[tuple[int, bool]]()

    def refuse(proto_id: int, is_trusted: bool) -> str:
        said.append((proto_id, is_trusted))
        return "no trade here" if 2000 <= proto_id < 3000 else ""

    with port(refuse=refuse) as (opend, url), Client(url) as client:
        opend.others[2001] = lambda body: OK
        client.log_in()
        came = client.ask(2001, b"")
        assert b"no trade here" in came.body
        assert came.error == 0
        assert client.ask(SUBSCRIBE, b"").command == SUBSCRIBE
        assert said == [(2001, True), (SUBSCRIBE, True)]


@pytest.mark.parametrize("command", [0, 1, 2, 99, INIT_CONNECT])
def test_what_is_the_ports_own_business_is_refused(command: int) -> None:
    with port() as (opend, url), Client(url) as client:
        client.log_in()
        assert b"Unknown protocol id" in client.ask(command, b"").body
        assert len(opend.asked_for) == 1  # the bridge's own InitConnect
        assert client.ask(KEEP_ALIVE, b"\x0a\x02\x08\x07").error == 0


# TLS


def trusting(cert: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(cert))


def test_tls_carries_the_same(tmp_path: Path) -> None:
    cert, key = certificate(tmp_path)
    with port(tls=tls_context(cert, key), key=KEY) as (_, url):
        assert url.startswith("wss://127.0.0.1:")
        with Client(url, trusting(cert)) as client:
            assert client.log_in(KEY).error == 0
            assert CALLS[0].response.FromString(client.ask(*page()).body).s2c.nextKey
        for wrong, context in ((url, ssl.create_default_context()), (url.replace("wss", "ws"), None)):
            with pytest.raises((ssl.SSLError, InvalidMessage)), Client(wrong, context):
                pass


def page() -> tuple[int, bytes]:
    return CALLS[0].proto_id, PageKey.check(CALLS[0], "HK.00700", None, 10).request()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "opend.example.org", ""])
def test_other_machines_reach_the_port_only_with_tls(host: str, tmp_path: Path) -> None:
    assert not is_loopback(host)
    with pytest.raises(InvalidArgument, match="--tls-cert"):
        Bridge(host)
    assert Bridge(host, tls=tls_context(*certificate(tmp_path))).host == host


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost", "::ffff:127.0.0.1"])
def test_an_address_of_this_machine_alone_needs_no_tls(host: str) -> None:
    assert is_loopback(host)
    assert Bridge(host, 33333).address == f"ws://{f'[{host}]' if ':' in host else host}:33333"


def test_a_port_for_all_machines_reaches_the_tcp_port_beside_it(tmp_path: Path) -> None:
    cert, key = certificate(tmp_path)
    bridge = Bridge("0.0.0.0", tls=tls_context(cert, key))
    with (
        Simulator(host="0.0.0.0", websocket=bridge),
        Client(f"wss://127.0.0.1:{bridge.port}", trusting(cert)) as client,
    ):
        assert client.log_in().error == 0


def test_files_that_give_no_tls_are_named(tmp_path: Path) -> None:
    cert, key = certificate(tmp_path)
    with pytest.raises(InvalidArgument, match=r"gone\.pem"):
        tls_context(tmp_path / "gone.pem", key)
    with pytest.raises(InvalidArgument, match=r"cert\.pem"):
        tls_context(cert, cert)
    cert, key = certificate(tmp_path, b"secret")
    with pytest.raises(InvalidArgument, match="passphrase"):
        tls_context(cert, key)


# Messages that no client sends


BAD: dict[str, Callable[[Client], object]] = {
    "magic": lambda client: client.link.send(b"ft-v2.0\0" + bytes(12)),
    "short": lambda client: client.link.send(b"ft-v1.0\0" + bytes(11)),
    "empty": lambda client: client.link.send(b""),
    "oversized": lambda client: client.link.send(request(3249, 9, bytes(MAX_REQUEST_BYTES + 1))),
}


@pytest.mark.parametrize("is_first", [True, False], ids=["at-once", "after-the-login"])
@pytest.mark.parametrize("send", BAD.values(), ids=BAD)
def test_one_bad_message_ends_one_link(send: Callable[[Client], object], is_first: bool) -> None:
    with port() as (_, url), Client(url) as good, Client(url) as bad:
        good.log_in()
        if not is_first:
            bad.log_in()
        send(bad)
        with pytest.raises(ConnectionClosed) as closed:
            bad.receive()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code in (1002, 1009)
        assert good.ask(*page()).error == 0
        with Client(url) as another:
            assert another.log_in().error == 0


@pytest.mark.parametrize("body", [b"\xff", b"\x0a\x05ab"])
def test_a_first_message_that_is_none_ends_the_link(body: bytes) -> None:
    with port(key=KEY) as (opend, url):
        with Client(url) as client, pytest.raises(ConnectionClosed):
            client.ask(1, body)
        with Client(url) as client, pytest.raises(ConnectionClosed):
            client.ask(*page())  # before InitWebSocket
        assert opend.connections == 0


def test_a_message_of_the_longest_body_passes() -> None:
    with port() as (opend, url), Client(url) as client:
        opend.others[SUBSCRIBE] = lambda body: OK + len(body).to_bytes(4, "big")
        client.log_in()
        assert client.ask(SUBSCRIBE, bytes(MAX_REQUEST_BYTES)).body == OK + MAX_REQUEST_BYTES.to_bytes(4, "big")


def test_texts_are_passed_over() -> None:
    with port() as (_, url), Client(url) as client:
        client.link.send("hello")
        client.log_in()
        client.link.send("ft-v1.0")
        assert client.ask(*page()).error == 0


def test_a_client_that_says_nothing_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket, "FIRST_SECONDS", 0.1)
    with port() as (opend, url), Client(url) as client:
        with pytest.raises(ConnectionClosed):
            client.receive()
        assert opend.connections == 0


def test_more_requests_than_can_wait_end_the_link(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket, "MOST_WAITING", 5)
    log = list[str]()
    with port(latency=3600, log=log.append) as (_, url), Client(url) as client:
        client.log_in()
        for _ in range(6):
            client.send(*page())
        with pytest.raises(ConnectionClosed):
            client.receive()
    assert "more than 5" in log[0]


# Heads, without a socket


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1), st.binary(max_size=100))
def test_a_request_is_read_as_the_published_client_writes_it(command: int, section: int, body: bytes) -> None:
    assert read_request(request(command, section, body)) == Message(command, section, body)


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1), st.integers(-(2**31), 2**31 - 1), st.binary(max_size=100))
def test_a_reply_is_written_as_the_published_client_reads_it(
    command: int, section: int, error: int, body: bytes
) -> None:
    assert reply(write_reply(command, section, body, error, "why")) == Reply(command, section, error, "why", body)


@given(st.binary(max_size=30))
def test_other_bytes_are_a_protocol_error(data: bytes) -> None:
    if data.startswith(b"ft-v1.0\0") and len(data) >= 20:
        return
    with pytest.raises(ProtocolError):
        read_request(data)
