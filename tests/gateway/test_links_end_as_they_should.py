"""Each way in which a link can fail has its outcome.

An attached link ends with OpenD's, a detached one ends when OpenD is back, and a client of an OpenD that is away is
answered from the record. No link's end costs another anything.
"""

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from typing import Any

import pytest

import opend_si.gateway.links as links
from opend_si.gateway.server import Gateway
from opend_si.pages import PageKey
from opend_si.server.conversation import Conversation
from opend_si.simulator import Simulator
from opend_si.wire.framing import Frame, encode_frame
from opend_si.wire.session import GET_GLOBAL_STATE, INIT_CONNECT, Greeting
from opend_si_schema import get_global_state, keep_alive
from opend_si_schema.calls import SHORT_INTEREST
from tests.gateway.conftest import Start
from tests.gateway.raw import LIMIT, Asker, HeldOpenD, hello_body, read_frame

pytestmark = pytest.mark.filterwarnings("ignore:.* is answered from the record")

PAGE = SHORT_INTEREST.proto_id


class Nowhere:
    """The address of an OpenD that is away: nothing listens there, and nothing else gets the port meanwhile."""

    def __init__(self) -> None:
        self.taken = socket.socket()
        self.taken.bind(("127.0.0.1", 0))
        self.host, self.port = self.taken.getsockname()


@pytest.fixture
def nowhere() -> Iterator[Nowhere]:
    place = Nowhere()
    with closing(place.taken):
        yield place


def page_body(code: str = "HK.00700", num: int = 50) -> bytes:
    return PageKey.check(SHORT_INTEREST, code, None, num).request()


def said(body: bytes) -> tuple[int, str]:
    """What a reply of any call says: every reply shares these fields."""
    reply = keep_alive.Response.FromString(body)
    return reply.retType, reply.retMsg


def record(opend: Simulator, front: Start, code: str = "HK.00700") -> bytes:
    """Have a page recorded; gives its body."""
    gateway = front(opend)
    with Asker(gateway.host, gateway.port) as asker:
        asker.ask(PAGE, page_body(code))
        return asker.reply().body


def test_a_frame_inside_which_opend_dies_arrives_as_far_as_it_came(held: HeldOpenD, front: Start) -> None:
    gateway = front(held)
    with Asker(gateway.host, gateway.port) as asker:
        link, _ = held.held()
        with Asker(gateway.host, gateway.port) as other:
            held.held()
            whole, half = encode_frame(Frame(3005, 0, b"whole")), encode_frame(Frame(3005, 0, bytes(1000)))[:500]
            link.sendall(whole + half)
            assert asker.reply().data == whole
            link.shutdown(socket.SHUT_RDWR)
            rest = b""
            while piece := asker.link.recv(4096):
                rest += piece
            assert rest == half
            other.ask(PAGE, page_body())
            assert said(other.reply().body) == (0, "")


@pytest.mark.parametrize("attempt", range(8))  # a link that is closed too early is reset now and then
def test_what_opend_sent_before_its_end_arrives_though_the_client_still_speaks(
    held: HeldOpenD, front: Start, attempt: int
) -> None:
    del attempt
    gateway = front(held)
    with Asker(gateway.host, gateway.port) as asker:
        link, _ = held.held()
        sent = encode_frame(Frame(3005, 0, bytes(956))) * 100
        has_read = threading.Event()

        def speak() -> None:
            with suppress(OSError):
                while not has_read.is_set():
                    asker.link.sendall(b"".join(asker.frame(4711, bytes(200)) for _ in range(50)))

        speaking = threading.Thread(target=speak, daemon=True)
        speaking.start()
        read_frame(link)
        link.sendall(sent)
        link.shutdown(socket.SHUT_WR)
        wait_for(lambda: all(link._ended.done() for link in gateway._links))
        time.sleep(0.2)  # it goes on to speak, and has read nothing yet
        arrived = b""
        with suppress(ConnectionResetError):
            while piece := asker.link.recv(1 << 16):
                arrived += piece
        has_read.set()
        speaking.join(LIMIT)
        assert arrived == sent


def test_garbage_of_opend_ends_the_link_behind_what_is_sound(held: HeldOpenD, front: Start) -> None:
    gateway = front(held)
    with Asker(gateway.host, gateway.port) as asker:
        link, _ = held.held()
        whole = encode_frame(Frame(3005, 0, b"whole"))
        link.sendall(whole + whole + b"HTTP/1.1 200 OK\r\n\r\n")
        assert [asker.reply().data for _ in range(2)] == [whole, whole]
        assert asker.is_ended()
        assert read_frame(link) is None


@pytest.mark.parametrize("end", ["close", "reset"])
def test_a_client_that_goes_takes_its_link_to_opend_along(held: HeldOpenD, front: Start, end: str) -> None:
    gateway = front(held)
    asker = Asker(gateway.host, gateway.port)
    link, _ = held.held()
    asker.reset() if end == "reset" else asker.link.close()
    assert read_frame(link) is None


def test_a_client_that_says_no_more_still_gets_its_replies(held: HeldOpenD, front: Start) -> None:
    gateway = front(held)
    with Asker(gateway.host, gateway.port) as asker:
        link, _ = held.held()
        for _ in range(3):
            asker.ask(PAGE, page_body())
        asker.ask(4711, b"passes")
        asker.link.shutdown(socket.SHUT_WR)
        arrived = read_frame(link)
        assert arrived is not None
        assert [said(asker.reply().body)[0] for _ in range(3)] == [0, 0, 0]
        assert read_frame(link) is None  # the end of what it says has come through
        reply = encode_frame(Frame(4711, arrived.serial, b"the last"))
        link.sendall(reply)
        assert asker.reply().data == reply
        link.shutdown(socket.SHUT_RDWR)
        assert asker.is_ended()


@pytest.mark.parametrize("leaving", ["half-closes", "closes"])
def test_a_client_that_waits_for_the_end_of_a_frame_does_not_outlive_opend(
    held: HeldOpenD, front: Start, leaving: str
) -> None:
    gateway = front(held)
    with Asker(gateway.host, gateway.port) as asker:
        link, _ = held.held()
        half = encode_frame(Frame(3005, 0, bytes(1000)))[:500]
        link.sendall(half)
        assert asker.link.recv(500, socket.MSG_WAITALL) == half
        asker.ask(PAGE, page_body())  # answered in a task of its own, as what is not known yet is
        wait_for(lambda: is_waiting(gateway))
        asker.link.shutdown(socket.SHUT_WR)
        if leaving == "closes":
            asker.link.close()
        wait_for(lambda: all(link._reader.at_eof() for link in gateway._links))
        link.shutdown(socket.SHUT_RDWR)  # inside the frame
        assert leaving == "closes" or asker.is_ended()
        wait_for(lambda: not gateway._links)


def is_waiting(gateway: Gateway) -> bool:
    """Whether something of its own waits for the end of a frame that passes."""
    return any(link._opend is not None and link._opend._waiting for link in gateway._links)


def test_a_client_that_resets_its_link_while_it_waits_leaves_nothing_behind(held: HeldOpenD, front: Start) -> None:
    gateway = front(held)
    asker = Asker(gateway.host, gateway.port)
    link, _ = held.held()
    for _ in range(2):  # the second one is remembered
        asker.ask(PAGE, page_body())
        asker.reply()
    link.sendall(encode_frame(Frame(3005, 0, bytes(1000)))[:500])
    assert len(asker.link.recv(500, socket.MSG_WAITALL)) == 500
    asker.ask(PAGE, page_body())  # known: what the client says next has to wait for its turn
    wait_for(lambda: is_waiting(gateway))
    asker.reset()
    assert read_frame(link) is None
    wait_for(lambda: not gateway._links)


def test_a_client_that_goes_just_when_its_replies_come_is_no_news(
    opend: Simulator, front: Start, caplog: pytest.LogCaptureFixture
) -> None:
    """They come in one round of the event loop, in which it does not know yet that the client is gone."""
    gateway = front(opend)
    opend.latency = 1.0
    asker = Asker(gateway.host, gateway.port)
    asker.link.sendall(b"".join(asker.frame(PAGE, page_body()) for _ in range(40)))
    opend.wait_for_requests(1)
    [fetching] = gateway.answers._asked.values()

    def leave(_: object) -> None:
        asker.reset()
        time.sleep(0.1)  # until the system knows

    gateway._call(lambda: fetching.add_done_callback(leave))
    wait_for(lambda: asker.link.fileno() == -1)
    wait_for(lambda: not gateway._links)
    assert [told.getMessage() for told in caplog.records] == []


def test_a_detached_client_that_says_no_more_still_gets_its_replies(
    opend: Simulator, front: Start, nowhere: Nowhere
) -> None:
    body = record(opend, front)
    gateway = front(nowhere)
    with Asker(gateway.host, gateway.port) as asker:
        asker.ask(PAGE, page_body())
        asker.link.shutdown(socket.SHUT_WR)
        assert asker.reply().body == body
        assert asker.is_ended()


# Detached -------------------------------------------------------------------------------------------------------------


def test_with_opend_away_the_record_answers_and_the_rest_is_refused(
    opend: Simulator, front: Start, nowhere: Nowhere
) -> None:
    body = record(opend, front)
    gateway = front(nowhere)
    with Asker(gateway.host, gateway.port) as asker, Asker(gateway.host, gateway.port) as other:
        assert asker.greeting.retType == 0
        # The published clients keep their ciphers by it.
        assert 0 < asker.greeting.s2c.connID != other.greeting.s2c.connID < 2**63
        asker.ask(PAGE, page_body())
        assert asker.reply().body == body
        asker.ask(PAGE, page_body("US.AAPL"))
        ret, text = said(asker.reply().body)
        assert ret == -1
        assert "US.AAPL" in text
        assert "OpenD is away" in text
        asker.keep_alive()
        assert keep_alive.Response.FromString(asker.reply().body).s2c.time > 1_700_000_000
        asker.ask(GET_GLOBAL_STATE, b"")
        state = get_global_state.Response.FromString(asker.reply().body).s2c
        assert (state.qotLogined, state.trdLogined) == (False, False)
        for proto_id in (3001, 2005, 4711):
            serial = asker.ask(proto_id, b"")
            reply = asker.reply()
            assert (reply.proto_id, reply.serial, said(reply.body)[0]) == (proto_id, serial, -1)


def test_offline_opend_is_never_asked_and_links_stay(opend: Simulator, front: Start) -> None:
    body = record(opend, front)
    connections = opend.connections
    gateway = front(opend, mode="offline")
    with Asker(gateway.host, gateway.port) as asker:
        for _ in range(3):
            asker.keep_alive()
            assert said(asker.reply().body) == (0, "")
            asker.ask(PAGE, page_body())
            assert asker.reply().body == body
        asker.ask(PAGE, page_body("US.AAPL"))
        assert "offline" in said(asker.reply().body)[1]
    assert opend.connections == connections


def test_an_attached_link_ends_with_opends_and_the_next_is_served_from_the_record(
    front: Start, nowhere: Nowhere
) -> None:
    nowhere.taken.close()
    with Simulator(port=nowhere.port) as opend:
        gateway = front(opend)
        with Asker(gateway.host, gateway.port) as asker:
            asker.ask(PAGE, page_body())
            body = asker.reply().body
            opend.disconnect_all()
            assert asker.is_ended()
    with Asker(gateway.host, gateway.port) as asker:
        asker.ask(PAGE, page_body())
        assert asker.reply().body == body
        # OpenD is back: the link ends at the next that the record cannot answer, for clients subscribe on new links
        # alone.
        with Simulator(port=nowhere.port) as opend:
            assert ends_at_keep_alive(asker)
            with Asker(gateway.host, gateway.port) as again:
                again.ask(9999, b"")  # passed: the simulator's own words
                assert said(again.reply().body) == (-1, "Unknown protocol id")


def ends_at_keep_alive(asker: Asker) -> bool:
    """Whether a link ends while KeepAlive is sent over it again and again."""
    until = time.monotonic() + LIMIT
    while time.monotonic() < until:
        asker.keep_alive()
        if read_frame(asker.link) is None:
            return True
        time.sleep(0.1)
    return False


def test_an_opend_that_accepts_and_says_nothing_is_away(front: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(links, "GREETING_SECONDS", 0.3)
    with closing(HeldOpenD(greets=False)) as opend:
        gateway = front(opend)
        with Asker(gateway.host, gateway.port) as asker:
            assert asker.greeting.s2c.serverVer == 1011
            asker.ask(PAGE, page_body())
            assert said(asker.reply().body)[0] == 0


class Limited(Simulator):
    """An OpenD that takes so many links and no more."""

    def __init__(self, most: int, **named: Any) -> None:
        super().__init__(**named)
        self._most = most

    async def converse(self, number: int, reader: Any, writer: Any) -> None:
        if len(self._speaking) < self._most:
            await super().converse(number, reader, writer)


def test_where_opend_takes_no_more_links_a_client_is_served_detached(front: Start) -> None:
    with Limited(3) as opend:
        gateway = front(opend)
        askers = [Asker(gateway.host, gateway.port) for _ in range(5)]
        try:
            for asker in askers:
                asker.ask(PAGE, page_body())
                assert said(asker.reply().body) == (0, "")
            # The engine's own link comes first.
            assert [link.is_attached for link in gateway._links].count(True) == 2
            assert [link.is_attached for link in gateway._links].count(False) == 3
            askers[4].keep_alive()  # it stays: OpenD would let it in no more than before
            assert said(askers[4].reply().body) == (0, "")
        finally:
            for asker in askers:
                asker.link.close()


def test_a_detached_link_does_not_end_under_requests_that_are_answered(front: Start) -> None:
    with Limited(2, latency=1.0) as opend:
        gateway = front(opend)
        with Asker(gateway.host, gateway.port), Asker(gateway.host, gateway.port) as second:
            assert [link.is_attached for link in gateway._links].count(False) == 1
        # Now there is room for it, and nothing is said to it yet.
        with Asker(gateway.host, gateway.port) as first, Asker(gateway.host, gateway.port) as second:
            first.link.close()
            wait_for(lambda: len(opend._speaking) == 1)
            page = second.ask(PAGE, page_body())
            opend.wait_for_requests(1)
            alive = second.keep_alive()
            assert [second.reply().serial for _ in range(2)] == [alive, page]
            assert ends_at_keep_alive(second)


class SlowToGreet(Limited):
    """One that takes its time with clients, from a moment on."""

    seconds = 0.0

    async def converse(self, number: int, reader: Any, writer: Any) -> None:
        await asyncio.sleep(self.seconds)
        await super().converse(number, reader, writer)


def test_a_detached_link_does_not_end_under_a_request_that_came_while_it_looked(front: Start) -> None:
    with SlowToGreet(2, latency=1.0) as opend:
        gateway = front(opend)
        with Asker(gateway.host, gateway.port) as first, Asker(gateway.host, gateway.port) as second:
            assert [link.is_attached for link in gateway._links].count(False) == 1
            first.link.close()
            wait_for(lambda: len(opend._speaking) == 1)
            opend.seconds = 0.5
            looks = opend.connections
            alive = second.keep_alive()
            wait_for(lambda: opend.connections > looks)
            page = second.ask(PAGE, page_body())
            assert [second.reply().serial for _ in range(2)] == [alive, page]
            assert ends_at_keep_alive(second)


# InitConnect ----------------------------------------------------------------------------------------------------------


def test_an_opend_that_stops_inside_a_frame_before_it_has_greeted_ends_the_link(
    front: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(links, "GREETING_SECONDS", 0.3)
    with closing(HeldOpenD(greets=False)) as opend:
        gateway = front(opend)
        with Asker(gateway.host, gateway.port, hello=False) as asker:
            asker.ask(INIT_CONNECT, hello_body())
            link, _ = opend.held()
            half = encode_frame(Frame(1003, 0, bytes(1000)))[:500]
            link.sendall(half)
            assert asker.link.recv(500, socket.MSG_WAITALL) == half
            assert asker.link.recv(1) == b""  # no greeting of the gateway's own in the midst of it


def test_what_comes_in_one_packet_with_the_greeting_is_delivered(front: Start) -> None:
    with closing(HeldOpenD(greets=False)) as opend:
        gateway = front(opend)
        with Asker(gateway.host, gateway.port, hello=False) as asker:
            asker.ask(INIT_CONNECT, hello_body())
            link, hello = opend.held()
            greeting = Conversation(Greeting(1011, 5, 7, 10)).greet(Frame(*hello[:1], hello.serial, hello.body))
            push = encode_frame(Frame(1003, 0, b"notice"))
            link.sendall(push + greeting + push)
            assert [asker.reply().data for _ in range(3)] == [push, greeting, push]
            # A second one passes too.
            asker.ask(INIT_CONNECT, hello_body())
            assert read_frame(link).proto_id == INIT_CONNECT  # type: ignore[union-attr]
            link.sendall(greeting)
            assert asker.reply().data == greeting
            asker.ask(PAGE, page_body())
            assert said(asker.reply().body)[0] == 0


def test_a_refused_init_connect_is_passed_and_the_link_ends_with_opends(front: Start) -> None:
    with closing(HeldOpenD(greets=False)) as opend:
        gateway = front(opend)
        with Asker(gateway.host, gateway.port, hello=False) as asker:
            asker.ask(INIT_CONNECT, hello_body())
            link, hello = opend.held()
            refused = keep_alive.Response(retType=-1, retMsg="no").SerializeToString()
            link.sendall(encode_frame(Frame(INIT_CONNECT, hello.serial, refused)))
            assert said(asker.reply().body) == (-1, "no")
            link.shutdown(socket.SHUT_RDWR)
            assert asker.is_ended()


def test_clients_that_left_leave_nothing_behind(opend: Simulator, front: Start) -> None:
    gateway = front(opend)
    asking = [Asker(gateway.host, gateway.port) for _ in range(50)]
    for asker in asking:
        asker.ask(PAGE, page_body())
    assert {said(asker.reply().body) for asker in asking} == {(0, "")}
    for asker in asking:
        asker.link.close()
    wait_for(lambda: not gateway._links and not gateway._tasks)
    wait_for(lambda: len(opend._speaking) == 1)  # the engine's


def wait_for(holds: Callable[[], bool]) -> None:
    until = time.monotonic() + LIMIT
    while not holds():
        assert time.monotonic() < until, "it does not come to hold"
        time.sleep(0.01)


def test_a_gateway_that_ends_closes_its_links(opend: Simulator, front: Start) -> None:
    gateway: Gateway = front(opend)
    with Asker(gateway.host, gateway.port) as asker:
        gateway.__exit__(None, None, None)
        assert asker.is_ended()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((gateway.host, gateway.port), timeout=LIMIT)
    wait_for(lambda: not opend._speaking)
