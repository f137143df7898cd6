"""Encrypted links: what goes over the wire is what OpenD and the published clients send, whatever the key's size.

A key that does not fit is an error in seconds that says what to change. No secret gets into a text, a log or a file.
"""

import base64
import itertools
import logging
import os
import re
import secrets
import socket
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from hashlib import sha1
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given, settings
from hypothesis import strategies as st

import futu_si
from opend_si.errors import OpenDError, ProtocolError, ShortInterestError
from opend_si.settings import Settings
from opend_si.simulator import Fault, Simulator, faults
from opend_si.simulator.faults import Close
from opend_si.wire.blocking import BlockingConnection
from opend_si.wire.ciphers import AesCbc, Algorithm, Cipher, FtAesEcb, Rsa
from opend_si.wire.framing import HEADER, Frame, FrameDecoder, encode_frame
from opend_si.wire.keyfile import read_key
from opend_si.wire.session import GET_GLOBAL_STATE, INIT_CONNECT, NOTIFY, Session, read_hello
from opend_si_schema import get_global_state, init_connect
from tests.processes import ROOT, Run, at, running, without
from tests.simulator import published as calls
from tests.simulator import test_published_clients_agree as against
from tests.wire.test_every_wait_has_a_bound import peer

KEYS = ROOT / "tests/data/keys"
SIZES = (1024, 2048, 4096)
ALGORITHMS = (Algorithm.AES_CBC, Algorithm.FTAES_ECB)

AES_KEY, IV = "0123456789abcdef", "fedcba9876543210"
# Body, AES_CBC, FTAES_ECB: of futu-api 10.11's own functions (on pycryptodome), the CBC ones of `openssl enc` too.
VECTORS = [
    (b"", "3c492cedd954cc383f3d3ee93e728484", "00000000000000000000000000000000"),
    (
        b"short interest",
        "a087661877d9ccd7c87e895d96dbef01",
        "394175efd07123d7ee5e8672c02242030000000000000000000000000000000e",
    ),
    (
        bytes(range(16)),
        "fb01c02499f87b46c2a7b96a1ca5303b14dba62a014eba6611ecd4ab19c29e67",
        "a07999f0e2bfbe16f99593e984a449b700000000000000000000000000000000",
    ),
    (
        bytes(range(33)),
        "fb01c02499f87b46c2a7b96a1ca5303b63cc4c74dbddbc0cfef618e64f4d349945300e07156a285ce0f3b407213cf969",
        "a07999f0e2bfbe16f99593e984a449b7cada65093bdfede24f6df5db60ae4e18a89c440ca472e36db166007c3e1ad1df"
        "00000000000000000000000000000001",
    ),
]
# bytes(range(150)) by futu-api 10.11's RsaCrypt with the key of 1024 bits: two blocks, of 100 and of 50 bytes.
RSA_VECTOR = (
    "34c9eb4c82edc3295417cd2af28d743c8195d8e762036885d74ccb45439c54c751c3136e0a4eb5ad9ee72f36db08c77b"
    "3490a13199aa85241d38376eaee130e3b6cd03ac7e8d38c7e414fde8bd527dfbd8640cf696182c234e68ef90256bd7bf"
    "50286db4efb9024d42d1b70850800aa03aea9bf2be011d7b2a97c2d9782830118394101631716fa98bc658375c1b6d5e"
    "4dffe748c62989ad0a666b5248ad063668c7911b64331fb4ec794f80fd22b809a050ccbaff507564d9e7b36861b0d96c"
    "f36d644160b5b6d2c7e45140d1474560c722fe4b7f8cc8432cd82313eef390356359d2e60a5b629508f5b57b551eb869"
    "430c3e6c4a9345f96045e24bdf7574aa"
)

# Each published client is started once for the file, so the faces take turns file-wide.
face = against.face
published = against.published


def key_file(bits: int) -> Path:
    return KEYS / f"rsa-{bits}.pem"


@cache
def key(bits: int) -> Rsa:
    return read_key(key_file(bits))


@pytest.fixture(autouse=True)
def _no_key_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPEND_RSA_KEY", raising=False)


@pytest.fixture(scope="session")
def other_key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key that no other side has."""
    path = tmp_path_factory.mktemp("keys") / "other.pem"
    path.write_bytes(pem(rsa.generate_private_key(65537, 1024)))
    return path


@pytest.fixture
def encrypted(start: Callable[..., Simulator]) -> Simulator:
    """A simulator with a key of 1024 bits."""
    return start(rsa_key=key_file(1024))


def pem(
    private: Any,
    form: serialization.PrivateFormat = serialization.PrivateFormat.TraditionalOpenSSL,
    passphrase: bytes = b"",
) -> bytes:
    protection = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    text: bytes = private.private_bytes(serialization.Encoding.PEM, form, protection)
    return text


def made_secrets(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A list that every AES key and iv which a simulator makes is put into."""
    made: list[str] = []
    make = secrets.token_hex

    def note(size: int) -> str:
        made.append(make(size))
        return made[-1]

    monkeypatch.setattr(secrets, "token_hex", note)
    return made


def private_key(bits: int = 1024) -> Any:
    return serialization.load_pem_private_key(key_file(bits).read_bytes(), None)


# What goes over the wire.


@pytest.mark.parametrize(("body", "cbc", "ftaes"), VECTORS)
def test_aes_is_that_of_the_published_clients(body: bytes, cbc: str, ftaes: str) -> None:
    for cipher, sealed in (
        (AesCbc(AES_KEY.encode(), IV.encode()), bytes.fromhex(cbc)),
        (FtAesEcb(AES_KEY.encode()), bytes.fromhex(ftaes)),
    ):
        for _ in range(2):  # each message by itself
            assert cipher.encrypt(body) == sealed
            assert cipher.decrypt(sealed) == body


def test_rsa_is_that_of_the_published_clients() -> None:
    assert key(1024).decrypt(bytes.fromhex(RSA_VECTOR)) == bytes(range(150))
    assert len(key(1024).encrypt(bytes(range(150)))) == 256
    assert [len(key(bits).encrypt(bytes(100 * bits // 1024))) for bits in SIZES] == [bits // 8 for bits in SIZES]


def test_a_frame_has_the_checksum_of_the_plain_body_and_the_length_on_the_wire() -> None:
    body, cbc, _ = VECTORS[2]
    head = b"FT" + bytes.fromhex("b10c0000 00 00 07000000 20000000") + sha1(body).digest() + bytes(8)
    assert encode_frame(Frame(3249, 7, body), AesCbc(AES_KEY.encode(), IV.encode())) == head + bytes.fromhex(cbc)


CIPHERS: dict[str, Callable[[], Cipher]] = {
    "AES_CBC": lambda: AesCbc(AES_KEY.encode(), IV.encode()),
    "FTAES_ECB": lambda: FtAesEcb(AES_KEY.encode()),
    **{f"RSA-{bits}": (lambda bits=bits: key(bits)) for bits in SIZES},  # type: ignore[misc]
}


@pytest.mark.parametrize("name", CIPHERS)
def test_a_body_of_any_length_comes_back(name: str) -> None:
    cipher = CIPHERS[name]()
    for length in (*range(101), 117, 200, 201, 245, 400, 401, 1000):
        for body in (bytes(length), os.urandom(length)):
            assert cipher.decrypt(cipher.encrypt(body)) == body, body


@pytest.mark.parametrize("name", ["AES_CBC", "FTAES_ECB", "RSA-1024", "RSA-2048"])
@settings(max_examples=50)
@given(bodies=st.lists(st.binary(max_size=300), max_size=5), cuts=st.lists(st.integers(0, 3000), max_size=8))
def test_any_chunking_of_encrypted_frames_gives_the_same_frames(
    name: str, bodies: list[bytes], cuts: list[int]
) -> None:
    cipher = CIPHERS[name]()
    frames = [Frame(3249, serial, body) for serial, body in enumerate(bodies)]
    data = b"".join(encode_frame(frame, cipher) for frame in frames)
    places = [0, *sorted(cut for cut in cuts if cut < len(data)), len(data)]
    decoder = FrameDecoder(cipher)
    chunks = [data[first:last] for first, last in itertools.pairwise(places)]
    assert [frame for chunk in chunks for frame in decoder.feed(chunk)] == frames


@pytest.mark.parametrize("name", ["AES_CBC", "FTAES_ECB", "RSA-1024"])
@settings(max_examples=100)
@given(body=st.binary(min_size=1, max_size=150), data=st.data())
def test_a_changed_byte_never_gives_another_body(name: str, body: bytes, data: st.DataObject) -> None:
    cipher = CIPHERS[name]()
    stream = bytearray(encode_frame(Frame(3249, 1, body), cipher))
    place = data.draw(st.integers(HEADER.size - 28, len(stream) - 1))  # from the SHA-1 on
    stream[place] ^= data.draw(st.integers(1, 255))
    try:
        (frame,) = FrameDecoder(cipher).feed(bytes(stream))
    except ProtocolError as error:
        assert "keys of the two sides differ" in str(error)  # noqa: PT017
    else:
        assert frame.body == body  # the reserved bytes, and those before the length mark, say nothing


@pytest.mark.parametrize("name", ["AES_CBC", "FTAES_ECB", "RSA-1024"])
@given(sealed=st.binary(max_size=300))
def test_any_bytes_are_a_body_or_a_value_error(name: str, sealed: bytes) -> None:
    with suppress(ValueError):
        CIPHERS[name]().decrypt(sealed)


def test_rsa_blocks_that_would_take_minutes_are_refused_at_once() -> None:
    begun = time.process_time()
    with pytest.raises(ValueError, match="more than InitConnect ever has"):
        key(4096).decrypt(bytes(4 * 1024 * 1024))
    assert time.process_time() - begun < 5  # a bound, never a measure


# The conversation.


def hello(session: Session, asked: Frame, **s2c: Any) -> tuple[bytes, Any]:
    """OpenD's reply to an InitConnect, and its message."""
    reply = init_connect.Response(retType=0, retMsg="", errCode=0)
    given = {"connAESKey": AES_KEY, "aesCBCiv": IV, **s2c}
    for field, value in {"serverVer": 1011, "loginUserID": 1, "connID": 1, "keepAliveInterval": 10, **given}.items():
        if value is not None:
            setattr(reply.s2c, field, value)
    return encode_frame(Frame(INIT_CONNECT, asked.serial, reply.SerializeToString()), key(1024)), reply


def begin(asked_for: Algorithm = Algorithm.AES_CBC) -> tuple[Session, Frame]:
    """A session that has said hello, and that as OpenD reads it."""
    session = Session(key(1024), asked_for)
    (asked,) = FrameDecoder(key(1024)).feed(session.hello()[1])
    return session, asked


@pytest.mark.parametrize("asked_for", ALGORITHMS)
def test_init_connect_is_encrypted_and_asks_for_the_algorithm(asked_for: Algorithm) -> None:
    _, asked = begin(asked_for)
    assert init_connect.Request.FromString(asked.body).c2s.packetEncAlgo == asked_for
    (plain,) = FrameDecoder().feed(Session().hello()[1])
    assert init_connect.Request.FromString(plain.body).c2s.packetEncAlgo == -1


def test_a_frame_right_behind_the_reply_to_init_connect_is_under_the_new_key() -> None:
    session, asked = begin()
    cipher = AesCbc(AES_KEY.encode(), IV.encode())
    first, _ = hello(session, asked)
    session.receive(first + encode_frame(Frame(NOTIFY, 1, b"news"), cipher))
    serial, sent = session.request(GET_GLOBAL_STATE, b"ask")
    assert [frame.body for frame in FrameDecoder(cipher).feed(sent)] == [b"ask"]
    session.receive(encode_frame(Frame(GET_GLOBAL_STATE, serial, b"told"), cipher))
    assert session.take(serial) == b"told"


@pytest.mark.parametrize(
    ("asked_for", "iv"),
    [
        (Algorithm.AES_CBC, None),
        (Algorithm.AES_CBC, ""),
        (Algorithm.FTAES_ECB, None),
        (Algorithm.FTAES_ECB, ""),
        (Algorithm.FTAES_ECB, IV),
    ],
)
def test_without_an_iv_or_where_it_was_asked_for_ftaes_is_spoken(asked_for: Algorithm, iv: str | None) -> None:
    session, asked = begin(asked_for)
    session.receive(hello(session, asked, aesCBCiv=iv)[0])
    assert session.encryption == "RSA with 1024 bits, then FTAES_ECB"
    _, sent = session.request(GET_GLOBAL_STATE, b"ask")
    assert [frame.body for frame in FrameDecoder(FtAesEcb(AES_KEY.encode())).feed(sent)] == [b"ask"]


@pytest.mark.parametrize(
    ("s2c", "told"),
    [
        ({"connAESKey": ""}, "AES key of 0 bytes, not of 16"),
        ({"connAESKey": "Geheim" * 4}, "AES key of 24 bytes"),
        ({"connAESKey": "é" * 16}, "AES key of 32 bytes"),
        ({"aesCBCiv": "Geheim"}, "iv of 6 bytes"),
    ],
)
def test_a_key_that_is_none_is_told_without_showing_it(s2c: dict[str, str], told: str) -> None:
    session, asked = begin()
    with pytest.raises(ProtocolError, match=told) as caught:
        session.receive(hello(session, asked, **s2c)[0])
    assert not any(value and value in str(caught.value) for value in (*s2c.values(), AES_KEY, IV))


def test_a_key_that_is_no_text_is_told() -> None:
    session, asked = begin()
    _, reply = hello(session, asked)
    body = reply.SerializeToString().replace(AES_KEY.encode(), b"\xff" * len(AES_KEY))

    def meet() -> None:
        session.receive(encode_frame(Frame(INIT_CONNECT, asked.serial, body), key(1024)))
        read_hello(body)

    with pytest.raises(ProtocolError, match=r"InitConnect (has an AES key of|cannot be read)"):  # upb, pure Python
        meet()


def test_a_refused_init_connect_is_told_in_opends_words() -> None:
    session, asked = begin()
    refused = init_connect.Response(retType=-1, retMsg="not today", errCode=0).SerializeToString()
    session.receive(encode_frame(Frame(INIT_CONNECT, asked.serial, refused), key(1024)))
    body = session.take(asked.serial)
    assert body is not None
    with pytest.raises(OpenDError, match="not today"):
        read_hello(body)


# Ours and the published clients on the simulator.


@pytest.mark.parametrize("bits", SIZES)
@pytest.mark.parametrize("asked_for", ALGORITHMS)
def test_every_key_size_and_algorithm_works(start: Callable[..., Simulator], bits: int, asked_for: Algorithm) -> None:
    opend = start(rsa_key=key_file(bits))
    connection = BlockingConnection(opend.host, opend.port, 5, key_file(bits), asked_for)
    request = get_global_state.Request()
    request.c2s.userID = 0
    for _ in range(2):
        reply = get_global_state.Response.FromString(connection.request(GET_GLOBAL_STATE, request.SerializeToString()))
        assert reply.s2c.qotLogined
    assert connection.encryption == f"RSA with {bits} bits, then {asked_for.name}"
    assert opend.asked_for == [asked_for]
    connection.close()


@pytest.mark.parametrize("bits", SIZES)
def test_pages_are_those_of_a_link_that_is_not_encrypted(
    face: ModuleType, start: Callable[..., Simulator], opend: Simulator, bits: int
) -> None:
    secret = start(rsa_key=key_file(bits))
    with (
        face.Client(secret.host, secret.port, rsa_key=key_file(bits)) as encrypted,
        face.Client(opend.host, opend.port) as plain,
    ):
        for code in ("HK.00700", "US.AAPL", "US.SPHY"):
            assert encrypted.get_page(code, num=50).body == plain.get_page(code, num=50).body
    assert secret.asked_for == [Algorithm.AES_CBC]


def test_an_opend_without_aes_cbc_is_spoken_to_in_ftaes(face: ModuleType, start: Callable[..., Simulator]) -> None:
    opend = start(rsa_key=key_file(1024), algorithms=[Algorithm.FTAES_ECB])
    with face.Client(opend.host, opend.port, rsa_key=key_file(1024)) as client:
        assert len(client.get_page("HK.00700", num=50)) == 50
        assert client._connection.encryption == "RSA with 1024 bits, then FTAES_ECB"
    assert opend.asked_for == [Algorithm.AES_CBC]


@pytest.mark.parametrize("algorithms", [ALGORITHMS, ALGORITHMS[1:]], ids=["AES_CBC", "FTAES_ECB"])
@pytest.mark.parametrize("code", ["HK.00700", "US.AAPL"])
def test_the_published_client_is_given_the_same_pages_and_so_are_we(
    face: ModuleType,
    published: against.Published,
    start: Callable[..., Simulator],
    opend: Simulator,
    code: str,
    algorithms: list[Algorithm],
) -> None:
    secret = start(rsa_key=key_file(1024), algorithms=algorithms)
    plain = published.ask(opend, calls.walk, code=code, num=50)
    theirs = published.ask(secret, calls.walk, code=code, num=50, rsa_key=str(key_file(1024)))
    with face.OpenQuoteContext(secret.host, secret.port, True, rsa_key=key_file(1024)) as context:
        ours = calls.walk(context, code, num=50)
    assert len(plain) > 3
    assert against.all_values(ours) == against.all_values(theirs) == against.all_values(plain)
    assert secret.asked_for == [Algorithm.AES_CBC] * 2


def test_many_connections_at_once_have_keys_of_their_own(encrypted: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    given = made_secrets(monkeypatch)
    codes = ["HK.00700", "US.AAPL", "HK.00005", "US.GME"] * 6

    def walk(number: int) -> list[str]:
        with futu_si.Client(encrypted.host, encrypted.port, rsa_key=key_file(1024)) as client:
            return [client.get_page(code).symbol for code in codes[number:] + codes[:number]]

    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(walk, range(6))) == [codes[number:] + codes[:number] for number in range(6)]
    assert encrypted.connections == 6
    assert len(set(given)) == 12  # a key and an iv each


def test_threads_may_share_an_encrypted_client(encrypted: Simulator) -> None:
    codes = ["HK.00700", "US.AAPL", "HK.00005", "US.GME"] * 10
    with (
        futu_si.Client(encrypted.host, encrypted.port, rsa_key=key_file(1024)) as client,
        ThreadPoolExecutor(8) as pool,
    ):
        assert [page.symbol for page in pool.map(client.get_page, codes)] == codes
    assert encrypted.connections == 1


@pytest.mark.parametrize("fault", [faults.cut, faults.cut_inside, faults.dribble])
def test_a_broken_link_is_opened_and_encrypted_again(encrypted: Simulator, fault: Callable[[], Fault]) -> None:
    with futu_si.Client(encrypted.host, encrypted.port, rsa_key=key_file(1024)) as client:
        encrypted.faults.append(fault())
        assert len(client.get_page("HK.00700")) == 10
        encrypted.disconnect_all()
        assert len(client.get_page("HK.00700")) == 10


@pytest.mark.parametrize("algorithms", [ALGORITHMS, ALGORITHMS[1:]], ids=["AES_CBC", "FTAES_ECB"])
def test_tampered_bytes_are_an_error_and_the_next_call_works(
    face: ModuleType, start: Callable[..., Simulator], algorithms: list[Algorithm]
) -> None:
    opend = start(rsa_key=key_file(1024), algorithms=algorithms)

    def tamper(data: bytes) -> tuple[bytes]:
        place = HEADER.size + 5
        return (data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :],)

    with face.Client(opend.host, opend.port, rsa_key=key_file(1024)) as client:
        opend.faults.append(Fault(deliver=tamper))
        with pytest.raises(face.ProtocolError, match=r"3249.*keys of the two sides differ, or bytes were changed"):
            client.get_page("HK.00700")
        assert len(client.get_page("HK.00700")) == 10


def test_a_plain_reply_on_an_encrypted_link_is_no_answer(face: ModuleType, encrypted: Simulator) -> None:
    with face.Client(encrypted.host, encrypted.port, rsa_key=key_file(1024)) as client:
        encrypted.faults.append(faults.undecodable())  # which comes unencrypted
        with pytest.raises(face.ProtocolError, match="came unencrypted on an encrypted connection"):
            client.get_page("HK.00700")


# Keys that do not fit.

SAME_KEY = "rsa_private_key in OpenD's configuration must name the same key"


def failure(port: int, rsa_key: Path | None, timeout: float = 60) -> ShortInterestError:
    """The error of a first call. It comes long before a timeout would."""
    begun = time.monotonic()
    with (
        futu_si.Client("127.0.0.1", port, rsa_key=rsa_key, timeout=timeout) as client,
        pytest.raises(ShortInterestError) as caught,
    ):
        client.get_page("HK.00700")
    assert time.monotonic() - begun < 30
    return caught.value


def test_a_wrong_key_is_named(encrypted: Simulator, other_key: Path) -> None:
    error = failure(encrypted.port, other_key)
    assert isinstance(error, futu_si.ConnectionFailed)
    assert re.search(f"127.0.0.1:{encrypted.port}.*{other_key}.*{SAME_KEY}", str(error))
    assert encrypted.asked_for == []


def test_a_key_of_another_size_is_named(encrypted: Simulator) -> None:
    assert SAME_KEY in str(failure(encrypted.port, key_file(2048)))


def test_an_encrypting_client_and_a_plain_opend_do_not_meet(opend: Simulator) -> None:
    error = failure(opend.port, key_file(1024))
    assert isinstance(error, futu_si.ConnectionFailed)
    assert "If OpenD is not to encrypt, name none here (rsa_key, OPEND_RSA_KEY)" in str(error)


def test_a_plain_client_and_an_encrypting_opend_do_not_meet(face: ModuleType, encrypted: Simulator) -> None:
    error = failure(encrypted.port, None)
    assert isinstance(error, futu_si.ConnectionFailed)
    assert "name the same key file with rsa_key (or OPEND_RSA_KEY)" in str(error)
    with face.OpenQuoteContext(encrypted.host, encrypted.port) as context:
        ret, text, nothing = context.get_short_interest("HK.00700")
    assert (ret, text, nothing) == (-1, str(error), None)


def answering(reply: Callable[[Frame], bytes], cipher: Cipher | None) -> Callable[[socket.socket], None]:
    """A peer that reads one InitConnect and answers in its way."""

    def serve(link: socket.socket) -> None:
        decoder = FrameDecoder() if cipher is None else FrameDecoder(cipher)
        data = link.recv(1 << 16)
        try:
            (asked,) = decoder.feed(data)
        except ProtocolError:
            asked = Frame(INIT_CONNECT, HEADER.unpack_from(data)[4], b"")
        link.sendall(reply(asked))
        link.recv(1)

    return serve


def refusal(cipher: Cipher | None) -> Callable[[Frame], bytes]:
    """A reply under another cipher."""
    body = init_connect.Response(retType=-500, retMsg="", errCode=0).SerializeToString()

    def reply(asked: Frame) -> bytes:
        frame = Frame(INIT_CONNECT, asked.serial, body)
        return encode_frame(frame) if cipher is None else encode_frame(frame, cipher)

    return reply


@pytest.mark.parametrize("rsa_key", [None, key_file(1024)], ids=["plain", "encrypting"])
def test_an_opend_that_says_nothing_is_named(rsa_key: Path | None) -> None:
    with peer(lambda link: link.recv(1 << 16) and link.recv(1)) as port:  # type: ignore[arg-type]
        error = failure(port, rsa_key, timeout=0.3)
    assert isinstance(error, futu_si.RequestTimeout)
    assert f"127.0.0.1:{port} did not answer InitConnect in time" in str(error)
    assert "rsa_private_key" in str(error)
    assert "OPEND_RSA_KEY" in str(error)


def test_an_opend_that_answers_unencrypted_is_named() -> None:
    with peer(answering(refusal(None), key(1024))) as port:
        error = failure(port, key_file(1024))
    assert isinstance(error, futu_si.ProtocolError)
    assert re.search(f"127.0.0.1:{port}.*came unencrypted.*{SAME_KEY}.*OPEND_RSA_KEY", str(error))


@pytest.mark.parametrize("bits", [1024, 2048])
def test_an_opend_that_answers_under_another_key_is_named(other_key: Path, bits: int) -> None:
    with peer(answering(refusal(read_key(other_key)), key(bits))) as port:
        error = failure(port, key_file(bits))
    assert isinstance(error, futu_si.ProtocolError)
    assert re.search(f"127.0.0.1:{port}.*the keys of the two sides differ.*{SAME_KEY}", str(error))


def test_an_opend_that_answers_a_plain_client_encrypted_is_named() -> None:
    with peer(answering(refusal(key(1024)), None)) as port:
        error = failure(port, None)
    assert isinstance(error, futu_si.ProtocolError)
    assert re.search(f"127.0.0.1:{port}.*set to encrypt.*rsa_key .or OPEND_RSA_KEY.", str(error))


@pytest.mark.parametrize("algorithm", [Algorithm.AES_ECB, 7])
def test_the_simulator_refuses_an_algorithm_that_it_does_not_speak(encrypted: Simulator, algorithm: int) -> None:
    session = Session(key(1024))
    session._asked_for = algorithm  # type: ignore[assignment]
    with socket.create_connection((encrypted.host, encrypted.port)) as link:
        serial, data = session.hello()
        link.sendall(data)
        while (body := session.take(serial)) is None:
            session.receive(link.recv(1 << 16))
    with pytest.raises(OpenDError, match="packetEncAlgo"):
        read_hello(body)


# Key files.


def damaged() -> bytes:
    """A key with one wrong bit, in its modulus."""
    first, *lines, last = key_file(1024).read_bytes().splitlines()
    numbers = bytearray(base64.b64decode(b"".join(lines)))
    numbers[40] ^= 1
    return b"\n".join([first, base64.encodebytes(bytes(numbers)) + last])


TRADITIONAL = serialization.PrivateFormat.TraditionalOpenSSL
PKCS8 = serialization.PrivateFormat.PKCS8
SSH = serialization.PrivateFormat.OpenSSH
WRONG_KEYS: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty": (lambda: b"", "no RSA private key in PEM form"),
    "garbage": (lambda: os.urandom(2000), "no RSA private key in PEM form"),
    "text": (
        lambda: b"-----BEGIN RSA PRIVATE KEY-----\nTm90IGE=\n-----END RSA PRIVATE KEY-----\n",
        "no RSA private key",
    ),
    "cut": (lambda: key_file(1024).read_bytes()[:600], "no RSA private key in PEM form"),
    "der": (
        lambda: private_key().private_bytes(serialization.Encoding.DER, TRADITIONAL, serialization.NoEncryption()),
        "no RSA private key in PEM form",
    ),
    "damaged": (damaged, "is damaged"),
    "passphrase": (lambda: pem(private_key(), TRADITIONAL, b"Geheim"), "protected with a passphrase"),
    "passphrase-pkcs8": (lambda: pem(private_key(), PKCS8, b"Geheim"), "protected with a passphrase"),
    "openssh": (lambda: pem(private_key(), SSH), "ssh-keygen -p -m PEM"),
    "public": (
        lambda: (
            private_key()
            .public_key()
            .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        ),
        "holds a public key",
    ),
    "public-pkcs1": (
        lambda: private_key().public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.PKCS1),
        "holds a public key",
    ),
    "elliptic": (lambda: pem(ec.generate_private_key(ec.SECP256R1())), "not an RSA key"),
}


@pytest.mark.parametrize("kind", WRONG_KEYS)
def test_a_file_that_has_no_such_key_is_told(opend: Simulator, tmp_path: Path, kind: str) -> None:
    make, told = WRONG_KEYS[kind]
    path = tmp_path / "key.pem"
    path.write_bytes(data := make())
    error = failure(opend.port, path)
    assert isinstance(error, futu_si.InvalidArgument)
    assert told in str(error)
    assert str(path) in str(error)
    assert not any(line in str(error) for line in data.decode("latin-1").splitlines() if len(line) > 20)
    assert opend.connections == 0


@pytest.mark.skipif(os.name != "posix", reason="files as POSIX has them")
@pytest.mark.parametrize("kind", ["missing", "folder", "pipe", "unreadable", "too-long"])
def test_a_file_that_cannot_be_read_is_told(opend: Simulator, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "key.pem"
    told = {"missing": "There is no RSA key file", "folder": "is a folder", "pipe": "no file that can be read again"}
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)  # whoever opens it waits for a writer
    elif kind == "unreadable":
        path.symlink_to(path)  # a loop: root reads whatever has mere permissions
    elif kind == "too-long":
        path = tmp_path / ("k" * 300)
    error = failure(opend.port, path)
    assert isinstance(error, futu_si.InvalidArgument)
    assert told.get(kind, "cannot be read") in str(error)
    assert str(path) in str(error)
    assert str(error).count("rsa_key (or OPEND_RSA_KEY) names") == 1


@pytest.mark.parametrize(
    "data",
    [
        pem(private_key(), PKCS8),
        b"\xef\xbb\xbf" + key_file(1024).read_bytes().replace(b"\n", b"\r\n"),
        b"# OpenD's key\n" + key_file(1024).read_bytes() + b"\n\n",
    ],
    ids=["PKCS#8", "Windows", "comment"],
)
def test_a_key_may_be_written_in_other_ways(encrypted: Simulator, tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "key.pem"
    path.write_bytes(data)
    with futu_si.Client(encrypted.host, encrypted.port, rsa_key=str(path)) as client:
        assert len(client.get_page("HK.00700")) == 10


def test_the_key_is_read_when_the_connection_opens(encrypted: Simulator, tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    with futu_si.Client(encrypted.host, encrypted.port, rsa_key=path) as client:
        with pytest.raises(futu_si.InvalidArgument, match="There is no RSA key file"):
            client.get_page("HK.00700")
        path.write_bytes(key_file(1024).read_bytes())
        assert len(client.get_page("HK.00700")) == 10
        path.unlink()
        assert len(client.get_page("HK.00700")) == 10  # the link stands
        client.close()
        with pytest.raises(futu_si.InvalidArgument, match="There is no RSA key file"):
            client.get_page("HK.00700")


def test_without_cryptography_the_extra_is_named(console: Run, encrypted: Simulator, tmp_path: Path) -> None:
    environ = {**at(encrypted), **without(tmp_path, "cryptography")}
    done = console("get", "HK.00700", "--rsa-key", str(key_file(1024)), **environ)
    assert (done.returncode, done.stdout) == (1, "")
    assert "pip install 'opend-short-interest[encrypt]'" in done.stderr
    assert encrypted.connections == 0


# Settings.


def test_an_argument_goes_before_the_environment(tmp_path: Path) -> None:
    env = {"OPEND_RSA_KEY": str(tmp_path / "env.pem")}
    assert Settings.resolve(environ={}).rsa_key is None
    assert Settings.resolve(environ={"OPEND_RSA_KEY": "  "}).rsa_key is None
    assert Settings.resolve(environ=env).rsa_key == tmp_path / "env.pem"
    assert Settings.resolve(rsa_key=tmp_path / "argument.pem", environ=env).rsa_key == tmp_path / "argument.pem"
    assert Settings.resolve(rsa_key="~/key.pem", environ={}).rsa_key == Path.home() / "key.pem"
    assert Settings.resolve(rsa_key=None, environ=env).rsa_key is None


SECRET = "".join(key_file(1024).read_text().splitlines()[1:-1])


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (5, "of type int"),
        (True, "of type bool"),
        (b"key.pem", "of type bytes"),
        (private_key(), "of type"),
        ("", "it takes a path"),
        ("a\0b", "it takes a path"),
        (key_file(1024).read_text(), "looks like a key itself"),
        (SECRET, "looks like a key itself"),
    ],
    ids=["int", "bool", "bytes", "object", "empty", "null", "PEM", "base64"],
)
def test_what_is_no_path_is_refused_at_once_and_not_shown(
    face: ModuleType, value: Any, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for make in (face.Client, face.OpenQuoteContext):
        with pytest.raises(face.InvalidArgument, match=told) as caught:
            make(rsa_key=value)
        assert "rsa_key is" in str(caught.value) or "rsa_key looks" in str(caught.value)
        assert SECRET[:40] not in str(caught.value)
    if isinstance(value, str) and value and "\0" not in value:
        monkeypatch.setenv("OPEND_RSA_KEY", value)
        with pytest.raises(face.InvalidArgument, match="OPEND_RSA_KEY looks like a key itself") as caught:
            face.Client()
        assert SECRET[:40] not in str(caught.value)


@pytest.mark.parametrize("named", ["argument", "environment", "nowhere"])
@pytest.mark.parametrize("is_encrypt", [True, False, None])
def test_is_encrypt_is_the_published_clients_argument(
    face: ModuleType,
    encrypted: Simulator,
    opend: Simulator,
    monkeypatch: pytest.MonkeyPatch,
    is_encrypt: bool | None,
    named: str,
) -> None:
    given = {"rsa_key": key_file(1024)} if named == "argument" else {}
    if named == "environment":
        monkeypatch.setenv("OPEND_RSA_KEY", str(key_file(1024)))
    if is_encrypt and named == "nowhere":
        with pytest.raises(face.InvalidArgument, match=r"rsa_key .or OPEND_RSA_KEY. takes the path"):
            face.OpenQuoteContext(is_encrypt=True)
        return
    at_work = encrypted if is_encrypt or (is_encrypt is None and named != "nowhere") else opend
    with face.OpenQuoteContext(host=at_work.host, port=at_work.port, is_encrypt=is_encrypt, **given) as context:
        ret, us, hk = context.get_short_interest("HK.00700")
        assert ret == face.RET_OK, us
        assert len(hk) == 10


@pytest.mark.parametrize("value", [1, 0, "True", "yes"])
def test_is_encrypt_is_true_false_or_none(face: ModuleType, value: Any) -> None:
    with pytest.raises(face.InvalidArgument, match="is_encrypt"):
        face.OpenQuoteContext(is_encrypt=value, rsa_key=key_file(1024))


def test_configure_sets_the_key_of_the_functions(face: ModuleType, encrypted: Simulator, opend: Simulator) -> None:
    try:
        face.configure(host=encrypted.host, port=encrypted.port, rsa_key=key_file(1024))
        assert face.get_short_interest("HK.00700")[0] == face.RET_OK
        face.configure(timeout=3)  # what is not given stays
        assert face.get_short_interest("HK.00700")[0] == face.RET_OK
        face.configure(port=opend.port, rsa_key=None)
        assert face.get_short_interest("HK.00700")[0] == face.RET_OK
    finally:
        module = __import__(f"{face.__name__}._client", fromlist=["DEFAULT"])
        module.DEFAULT.close()
        module.DEFAULT._client, module.DEFAULT._settings = None, {}


# The console.


def test_the_console_speaks_encrypted_with_its_simulator(console: Run, other_key: Path) -> None:
    path = str(key_file(2048))
    with running("futu-si", "simulate", "--port", "0", "--rsa-key", path) as process:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        host, port = address.split(":")
        where = {"OPEND_HOST": host, "OPEND_PORT": port}
        done = console("doctor", "--rsa-key", path, **where)
        assert (done.returncode, done.stderr) == (0, "")
        assert f" answers at {address} (encrypted: RSA with 2048 bits, then AES_CBC)" in done.stdout
        assert console("get", "HK.00700", OPEND_RSA_KEY=path, **where).returncode == 0
        for given in ({}, {"OPEND_RSA_KEY": str(other_key)}):
            done = console("doctor", **given, **where)
            assert done.returncode == 4
            assert "rsa_private_key" in done.stdout


def test_doctor_says_that_a_link_is_not_encrypted(console: Run, opend: Simulator) -> None:
    assert "(not encrypted)" in console("doctor", **at(opend)).stdout


def test_doctor_tells_of_a_key_that_cannot_be_used(console: Run, opend: Simulator, tmp_path: Path) -> None:
    done = console("doctor", "--rsa-key", str(tmp_path / "none.pem"), **at(opend))
    assert done.returncode == 2
    assert "FAIL  the connection cannot be encrypted\n      There is no RSA key file" in done.stdout


def test_a_simulator_whose_key_cannot_be_used_does_not_start(console: Run, tmp_path: Path) -> None:
    done = console("simulate", "--port", "0", "--rsa-key", str(tmp_path / "none.pem"))
    assert (done.returncode, done.stdout) == (2, "")
    assert "There is no RSA key file" in done.stderr


@pytest.mark.parametrize("command", ["get", "history", "sync", "doctor", "plot"])
def test_every_command_that_talks_to_opend_takes_the_key(console: Run, command: str) -> None:
    assert "--rsa-key" in console(command, "--help").stdout


# Secrets.


def test_nothing_secret_is_shown_logged_or_recorded(
    start: Callable[..., Simulator],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    hidden = made_secrets(monkeypatch)
    opend, file = start(rsa_key=key_file(1024)), tmp_path / "pages.sqlite3"
    numbers = private_key().private_numbers()
    for number in (numbers.p, numbers.q, numbers.d, numbers.dmp1, numbers.dmq1, numbers.iqmp):
        hidden += [str(number), f"{number:x}"]
    hidden += [line for line in key_file(1024).read_text().splitlines() if "-----" not in line]
    shown = []
    with futu_si.Client(opend.host, opend.port, mode="online", cache=file, max_age=0, rsa_key=key_file(1024)) as client:
        client.get_page("HK.00700")
        link = client._connection._link
        assert link is not None
        session = link.session
        for part in (client, client._settings, client._connection, link, session, session._cipher, session._key):
            shown += [repr(part), str(part)]
        shown += [repr(link.greeting), str(client._connection.encryption)]
        for fault in (faults.wrong_checksum(), faults.undecodable(), Fault(deliver=lambda _: (Close(),))):
            opend.faults += [fault, fault]
            try:
                client.get_page("HK.00700")
            except ShortInterestError as error:
                shown += traceback.format_exception(error)
    shown += [*caplog.messages, *capfd.readouterr()]
    shown += [path.read_bytes().decode("latin-1") for path in tmp_path.rglob("*") if path.is_file()]
    assert file.exists()
    assert len(hidden) > 20
    for secret in hidden:
        assert not any(secret in text for text in shown), secret


def test_a_plain_client_needs_no_cryptography(console: Run, opend: Simulator, tmp_path: Path) -> None:
    done = console("get", "HK.00700", **at(opend), **without(tmp_path, "cryptography"))
    assert done.returncode == 0
