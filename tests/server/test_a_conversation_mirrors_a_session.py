"""OpenD's side of a link and a client's side, joined without a socket: each reads what the other writes.

Whatever the cipher, the body format and the cuts of the stream: a request arrives as it was asked, a reply arrives for
its request, and what reads a request or a refusal is the inverse of what writes it.
"""

import itertools
import json
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opend_si.errors import InvalidArgument, OpenDError, ProtocolError
from opend_si.pages import PageKey
from opend_si.pages.replies import read_reply, write_refusal
from opend_si.server.conversation import Conversation, read_body, write_body
from opend_si.symbols import Symbol
from opend_si.wire.ciphers import SPOKEN, AesCbc, Algorithm, FtAesEcb, Rsa
from opend_si.wire.framing import HEADER, JSON, PLAIN, PROTOBUF, Frame, FrameDecoder, encode_frame
from opend_si.wire.keyfile import read_key
from opend_si.wire.session import INIT_CONNECT, Greeting, Session, read_hello
from opend_si_schema import init_connect, keep_alive
from opend_si_schema.calls import CALLS
from tests.processes import ROOT

GREETING = Greeting(version=1011, connection_id=2**62 - 1, user_id=2**63, keep_alive_seconds=10)
KEY_FILE = Path(ROOT / "tests/data/keys/rsa-1024.pem")
LINKS = [(False, Algorithm.AES_CBC), (True, Algorithm.AES_CBC), (True, Algorithm.FTAES_ECB)]


@cache
def key() -> Rsa:
    return read_key(KEY_FILE)


def joined(
    is_encrypted: bool, asked_for: Algorithm, spoken: tuple[Algorithm, ...] = SPOKEN
) -> tuple[Session, Conversation]:
    """Both sides of one link, InitConnect done."""
    session = Session(key() if is_encrypted else None, asked_for)
    conversation = Conversation(GREETING, key() if is_encrypted else None, spoken)
    serial, data = session.hello()
    [hello] = conversation.receive(data)
    session.receive(conversation.greet(hello))
    body = session.take(serial)
    assert body is not None
    assert read_hello(body) == GREETING
    return session, conversation


@pytest.mark.parametrize(("is_encrypted", "asked_for"), LINKS)
@given(
    bodies=st.lists(st.binary(max_size=200), min_size=1, max_size=5),
    cuts=st.lists(st.integers(0, 2000), max_size=8),
)
def test_requests_and_replies_arrive_at_any_chunking(
    is_encrypted: bool, asked_for: Algorithm, bodies: list[bytes], cuts: list[int]
) -> None:
    session, conversation = joined(is_encrypted, asked_for)
    asked = [(proto_id, *session.request(proto_id, body)) for proto_id, body in enumerate(bodies, 3000)]
    stream = b"".join(data for _, _, data in asked)
    places = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    pieces = [stream[first:last] for first, last in itertools.pairwise(places)]
    arrived = [frame for piece in pieces for frame in conversation.receive(piece)]
    assert [(frame.proto_id, frame.serial, frame.body) for frame in arrived] == [
        (proto_id, serial, body) for (proto_id, serial, _), body in zip(asked, bodies, strict=True)
    ]
    for frame in reversed(arrived):  # replies may overtake each other
        session.receive(conversation.push(3005, b"pushed") + conversation.reply(frame, frame.body[::-1]))
    assert [session.take(serial) for _, serial, _ in asked] == [body[::-1] for body in bodies]


def test_what_is_not_spoken_is_replaced_or_refused() -> None:
    _, conversation = joined(True, Algorithm.AES_CBC, (Algorithm.FTAES_ECB,))
    assert isinstance(conversation._cipher, FtAesEcb)
    _, conversation = joined(True, Algorithm.AES_CBC)
    assert isinstance(conversation._cipher, AesCbc)
    assert not conversation.is_plain
    _, conversation = joined(False, Algorithm.AES_CBC)
    assert conversation.is_plain


def test_an_algorithm_that_nobody_speaks_is_refused() -> None:
    request = init_connect.Request()
    request.c2s.clientVer, request.c2s.clientID, request.c2s.packetEncAlgo = 1, "x", 1
    conversation = Conversation(GREETING, key())
    asked = Frame(INIT_CONNECT, 1, request.SerializeToString())
    [hello] = conversation.receive(encode_frame(asked, key()))
    [refused] = FrameDecoder(key()).feed(conversation.greet(hello))
    with pytest.raises(OpenDError, match="packetEncAlgo"):
        read_hello(refused.body)
    with pytest.raises(ProtocolError, match="algorithm 1"):
        conversation.agree(1, "0" * 16, "0" * 16)


def test_the_first_request_is_init_connect() -> None:
    with pytest.raises(ProtocolError, match="1004"):
        list(Conversation(GREETING).receive(encode_frame(Frame(1004, 1, b""))))


def test_a_reply_has_the_format_of_its_request() -> None:
    request = init_connect.Request()
    request.c2s.clientVer, request.c2s.clientID = 1, "x"
    conversation = Conversation(GREETING)
    asked = Frame(INIT_CONNECT, 7, write_body(request, JSON), JSON)
    [hello] = conversation.receive(encode_frame(asked))
    assert hello == asked
    [reply] = FrameDecoder(PLAIN, (JSON,)).feed(conversation.greet(hello))
    assert (reply.serial, reply.body_format) == (7, JSON)
    assert json.loads(reply.body)["s2c"]["connID"] == str(GREETING.connection_id)  # 64-bit numbers are texts
    # The same message comes out of both formats.
    for body_format in (PROTOBUF, JSON):
        assert read_body(Frame(1, 1, write_body(request, body_format), body_format), init_connect.Request) == request


@pytest.mark.parametrize(
    ("body", "body_format"), [(b"\xff", PROTOBUF), (b"\xff", JSON), (b"[", JSON), (b"[" * 9999, JSON)]
)
def test_a_body_that_is_no_message_is_a_protocol_error(body: bytes, body_format: int) -> None:
    with pytest.raises(ProtocolError, match="1001"):
        read_body(Frame(1001, 1, body, body_format), init_connect.Request)


def test_a_client_takes_no_other_format_than_it_asked_in() -> None:
    frame = encode_frame(Frame(3249, 1, b"{}", JSON))
    assert HEADER.unpack_from(frame)[2] == JSON
    with pytest.raises(ProtocolError, match="format 1"):
        list(FrameDecoder().feed(frame))


@pytest.mark.parametrize("call", CALLS)
@given(st.data())
def test_of_request_is_the_inverse_of_request(call: object, data: st.DataObject) -> None:
    table = data.draw(st.sampled_from(call.tables))  # type: ignore[attr-defined]
    code = data.draw(st.text(st.characters(codec="utf-8"), max_size=12))
    key = PageKey(
        call,  # type: ignore[arg-type]
        Symbol(table.market, code),
        data.draw(st.text(st.characters(codec="utf-8"), max_size=12)),
        data.draw(st.integers(-(2**31), 2**31 - 1)),
    )
    assert PageKey.of_request(key.call, key.request()) == key


def test_of_request_refuses_what_is_none() -> None:
    call = CALLS[0]
    with pytest.raises(ProtocolError, match="cannot be read"):
        PageKey.of_request(call, b"\xff")
    message = call.request()
    message.c2s.security.market, message.c2s.security.code = 21, "600519"
    with pytest.raises(InvalidArgument, match="market 21"):
        PageKey.of_request(call, message.SerializeToString())
    message.c2s.security.market = call.tables[0].market.number
    key = PageKey.of_request(call, message.SerializeToString())
    assert (key.next_key, key.num) == ("", call.page_size.default)


@given(st.integers(-1000, -1), st.text(st.characters(codec="utf-8"), max_size=40), st.integers(-(2**31), 2**31 - 1))
def test_read_reply_reads_what_write_refusal_writes(ret_type: int, text: str, err_code: int) -> None:
    body = write_refusal(ret_type, text, err_code).SerializeToString()
    with pytest.raises(OpenDError) as refused:
        read_reply(keep_alive.Response, body, "KeepAlive", "the time")
    assert (refused.value.ret_type, refused.value.message, refused.value.err_code) == (ret_type, text, err_code)
