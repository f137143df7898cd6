"""What a gateway does not take passes byte for byte and in order, in both directions and at any chunking; what it takes
never reaches OpenD as the client sent it, its serial and its format come back, and its reply stands between frames.
"""

import itertools
import os
import socket
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opend_si.errors import ProtocolError
from opend_si.gateway.cutter import MAX_TAKEN_BYTES, Cutter, Taken
from opend_si.pages import PageKey
from opend_si.pages.replies import read_reply
from opend_si.wire.session import INIT_CONNECT
from opend_si_schema.calls import SHORT_INTEREST
from tests.gateway.conftest import Start
from tests.gateway.raw import HEAD, Asker, HeldOpenD, hello_body, read_frame

# Protocols of today and of a day to come, and the numbers of the pages'.
PROTOCOLS = [1004, 3001, 3004, 3249, 3248, 2005, 7, 2**32 - 1]


def frame(proto_id: int, body: bytes, serial: int = 1) -> bytes:
    """A frame of which nothing but the length is right."""
    return HEAD.pack(b"FT", proto_id, 9, 8, serial, len(body), os.urandom(20), os.urandom(8)) + body


FRAMES = st.lists(st.tuples(st.sampled_from(PROTOCOLS), st.binary(max_size=300)), max_size=8)


@given(FRAMES, st.sets(st.sampled_from(PROTOCOLS)), st.lists(st.integers(0, 3000), max_size=15))
def test_a_stream_is_cut_at_the_same_places_at_any_chunking(
    frames: list[tuple[int, bytes]], taken: set[int], cuts: list[int]
) -> None:
    made = [(proto_id, frame(proto_id, body)) for proto_id, body in frames]
    stream = b"".join(data for _, data in made)
    places = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    cutter = Cutter(taken)
    pieces = [piece for a, b in itertools.pairwise(places) for piece in cutter.feed(stream[a:b])]
    assert cutter.left == 0
    # In their order, with what passes joined: the same as the frames'.
    grouped: list[bytes | Taken] = []
    for piece in pieces:
        if isinstance(piece, bytes) and grouped and isinstance(grouped[-1], bytes):
            grouped[-1] += piece
        else:
            grouped.append(piece)
    expected: list[bytes | Taken] = []
    for proto_id, data in made:
        if proto_id in taken:
            expected.append(Taken(proto_id, data))
        elif expected and isinstance(expected[-1], bytes):
            expected[-1] += data
        else:
            expected.append(data)
    assert grouped == expected


@given(FRAMES, st.binary(max_size=10), st.integers(1, 60))
def test_what_is_left_of_a_passing_frame_is_known(frames: list[tuple[int, bytes]], last: bytes, size: int) -> None:
    stream = b"".join(frame(proto_id, body) for proto_id, body in frames) + frame(3001, last)
    ends = list(itertools.accumulate(len(frame(proto_id, body)) for proto_id, body in [*frames, (3001, last)]))
    cutter, passed = Cutter(frozenset()), 0
    for place in range(0, len(stream), size):
        passed += sum(len(piece) for piece in cutter.feed(stream[place : place + size]) if isinstance(piece, bytes))
        end = next((end for end in ends if end >= passed), passed)
        assert cutter.left == (0 if passed in (0, *ends) else end - passed)


@pytest.mark.parametrize("garbage", [b"GET / HTTP/1.1\r\n", b"X", b"FX", frame(3249, b"")[:8] + b"\xff" * 36])
def test_garbage_ends_a_stream_behind_what_stands_before_it(garbage: bytes) -> None:
    cutter, passed = Cutter({3249}), bytearray()
    sound = frame(3001, b"abc") + frame(1004, b"")
    pieces = cutter.feed(sound + garbage)
    passed += next(pieces)  # type: ignore[arg-type]
    with pytest.raises(ProtocolError):
        next(pieces)
    assert passed == sound


def test_what_passes_may_have_any_length_and_what_is_taken_may_not() -> None:
    head = HEAD.pack(b"FT", 3001, 0, 0, 1, 2**32 - 1, bytes(20), bytes(8))
    cutter = Cutter({3249})
    assert list(cutter.feed(head)) == [head]
    assert list(cutter.feed(bytes(1000))) == [bytes(1000)]
    assert not cutter._held
    with pytest.raises(ProtocolError, match=str(MAX_TAKEN_BYTES)):
        list(Cutter({3249}).feed(HEAD.pack(b"FT", 3249, 0, 0, 1, MAX_TAKEN_BYTES + 1, bytes(20), bytes(8))))


def test_a_taken_frame_byte_by_byte_costs_no_more_than_its_length() -> None:
    cutter = Cutter({3249})
    data = frame(3249, bytes(MAX_TAKEN_BYTES))
    begun = time.process_time()
    pieces = [piece for place in range(len(data)) for piece in cutter.feed(data[place : place + 1])]
    assert pieces == [Taken(3249, data)]
    # Joined anew at each byte it would be 34 GB to copy: a bound, never a measure.
    assert time.process_time() - begun < 20


# Over sockets ---------------------------------------------------------------------------------------------------------


def page_body(code: str = "HK.00700", num: int = 50, next_key: str | None = None) -> bytes:
    return PageKey.check(SHORT_INTEREST, code, next_key, num).request()


def test_init_connect_and_all_that_follows_reaches_opend_as_it_was_sent(held: HeldOpenD, front: Start) -> None:
    gateway = front(held)
    asker = Asker(gateway.host, gateway.port, hello=False)
    # Its header is odd in every field that does not say where it ends.
    hello = HEAD.pack(b"FT", INIT_CONNECT, 0, 5, 77, len(hello_body()), bytes(20), b"reserved") + hello_body()
    passing = [frame(proto_id, os.urandom(size), 5) for proto_id in (3001, 1004, 9999, 3247) for size in (0, 1, 70_000)]
    with asker:
        asker.link.sendall(hello + b"".join(passing))
        link, arrived = held.held()
        assert arrived.data == hello
        assert [read(link) for _ in passing] == passing
        assert asker.reply().proto_id == INIT_CONNECT
        # A checksum that is wrong ends the link: what is taken is looked at.
        asker.link.sendall(frame(SHORT_INTEREST.proto_id, b""))
        assert read_frame(link) is None


def test_what_is_taken_never_reaches_opend(held: HeldOpenD, front: Start) -> None:
    gateway = front(held)
    with Asker(gateway.host, gateway.port) as asker:
        link, _ = held.held()
        serial = asker.ask(SHORT_INTEREST.proto_id, page_body())
        reply = asker.reply()
        assert (reply.proto_id, reply.serial, reply.body_format) == (SHORT_INTEREST.proto_id, serial, 0)
        read_reply(SHORT_INTEREST.response, reply.body, "it", "it")
        refused = asker.ask(2005, b"unlock")
        assert asker.reply().serial == refused
        last = asker.frame(4711, b"the next")
        asker.link.sendall(last)
        assert read(link) == last


def test_what_opend_sends_arrives_as_it_was_sent(held: HeldOpenD, front: Start) -> None:
    gateway = front(held)
    with Asker(gateway.host, gateway.port) as asker:
        link, _ = held.held()
        sent = [frame(proto_id, os.urandom(size)) for proto_id in (3005, 3249, 1003) for size in (0, 1, 1000, 300_000)]
        threading.Thread(target=link.sendall, args=(b"".join(sent),), daemon=True).start()
        assert [asker.reply().data for _ in sent] == sent


def test_a_reply_of_the_gateway_waits_for_the_end_of_a_frame_that_passes(held: HeldOpenD, front: Start) -> None:
    gateway = front(held)
    with Asker(gateway.host, gateway.port) as asker:
        link, _ = held.held()
        push = frame(3005, os.urandom(1_000_000))
        half = len(push) // 2
        link.sendall(push[:half])
        begun = _exactly(asker.link, half)
        for _ in range(3):
            asker.ask(SHORT_INTEREST.proto_id, page_body())
        # The answers are there: the page is fetched, and nothing of it may come.
        asker.link.settimeout(0.5)
        with pytest.raises(TimeoutError):
            asker.link.recv(1)
        asker.link.settimeout(30)
        assert len(held.requests) == 1
        # The rest of the frame comes with the beginning of the next, as a flood does.
        following = frame(3005, bytes(100))
        link.sendall(push[half:] + following[:60])
        assert begun + _exactly(asker.link, len(push) - half) == push
        replies = [asker.reply() for _ in range(3)]
        assert [reply.serial for reply in replies] == [3, 4, 5]
        link.sendall(following[60:])
        assert asker.reply().data == following


def test_byte_by_byte_and_all_at_once_are_the_same(held: HeldOpenD, front: Start) -> None:
    gateway = front(held)
    bodies = []
    for is_slow in (True, False):
        with Asker(gateway.host, gateway.port, hello=False) as asker:
            stream = asker.frame(INIT_CONNECT, hello_body())
            stream += b"".join(asker.frame(SHORT_INTEREST.proto_id, page_body(num=num)) for num in (50, 10, 1))
            asker.link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for place in range(0, len(stream), 1 if is_slow else len(stream)):
                asker.link.sendall(stream[place : place + (1 if is_slow else len(stream))])
            frames = [asker.reply() for _ in range(4)]
            assert frames[0].proto_id == INIT_CONNECT
            bodies.append(sorted((reply.serial, reply.body) for reply in frames[1:]))
    assert bodies[0] == bodies[1]


def read(link: socket.socket) -> bytes:
    """The next frame that reaches OpenD, as it came."""
    arrived = read_frame(link)
    assert arrived is not None
    return arrived.data


def _exactly(link: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        piece = link.recv(size - len(data))
        assert piece
        data += piece
    return bytes(data)
