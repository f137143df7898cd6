"""What a stranger sends to a gateway does no harm.

Garbage ends its own link alone, a slow reader costs no other anything, no trade protocol passes unless that was asked
for, and no text names a path or a key of the machine.
"""

import asyncio
import hashlib
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack, closing, suppress
from pathlib import Path

import pytest

import opend_si.gateway.links as links
from opend_si.errors import ConnectionFailed
from opend_si.gateway import answers, policy
from opend_si.gateway.hello import read_request
from opend_si.gateway.server import Gateway
from opend_si.pages import PageKey
from opend_si.server.peers import is_loopback
from opend_si.settings import Settings
from opend_si.simulator import Simulator, Universe
from opend_si.wire.blocking import BlockingConnection
from opend_si.wire.framing import HEADER, Frame, encode_frame
from opend_si.wire.keyfile import read_key
from opend_si.wire.session import GATEWAY_STATUS, INIT_CONNECT
from opend_si_schema import keep_alive
from opend_si_schema.calls import SHORT_INTEREST
from tests.cache.processes import OpenD
from tests.gateway.conftest import Start
from tests.gateway.raw import HEAD, LIMIT, Asker, HeldOpenD, hello_body, read_frame
from tests.processes import COMMANDS, ROOT, at

pytestmark = pytest.mark.filterwarnings("ignore:.* is answered from the record")

PAGE = SHORT_INTEREST.proto_id
KEY_FILE = ROOT / "tests/data/keys/rsa-1024.pem"
HELLO = encode_frame(Frame(INIT_CONNECT, 1, hello_body()))


def page_body(code: str = "HK.00700", num: int = 50) -> bytes:
    return PageKey.check(SHORT_INTEREST, code, None, num).request()


def said(body: bytes) -> tuple[int, str]:
    reply = keep_alive.Response.FromString(body)
    return reply.retType, reply.retMsg


GARBAGE = {
    "another protocol": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "wrong magic": b"TF" + HELLO[2:],
    "4 GB announced": HEAD.pack(b"FT", INIT_CONNECT, 0, 0, 1, 2**32 - 1, bytes(20), bytes(8)),
    "no InitConnect": encode_frame(Frame(PAGE, 1, page_body())),
    "an InitConnect of nothing": encode_frame(Frame(INIT_CONNECT, 1, b"\xff\xff\xff")),
    "an InitConnect that has no end": encode_frame(Frame(INIT_CONNECT, 1, bytes(100_000))),
    "a page whose checksum is wrong": HELLO + HEADER.pack(b"FT", PAGE, 0, 0, 2, 3, bytes(20), bytes(8)) + b"abc",
    "a page of 1 MB": HELLO + HEADER.pack(b"FT", PAGE, 0, 0, 2, 2**20, bytes(20), bytes(8)),
    "InitConnect without end": HELLO * 20,
    "garbage behind a greeting": HELLO + b"garbage that is longer than a header of 44 bytes",
}


@pytest.mark.parametrize("garbage", GARBAGE)
@pytest.mark.parametrize("is_away", [False, True], ids=["attached", "detached"])
def test_garbage_ends_the_link_and_no_other(opend: Simulator, front: Start, garbage: str, is_away: bool) -> None:
    gateway = front(opend, mode="offline" if is_away else "online")
    with Asker(gateway.host, gateway.port) as other, Asker(gateway.host, gateway.port, hello=False) as asker:
        asker.link.sendall(GARBAGE[garbage])
        assert asker.is_ended()
        other.ask(PAGE, page_body())
        assert said(other.reply().body)[0] == (-1 if is_away else 0)
    assert opend.connections <= (0 if is_away else 3)


def test_silence_before_the_first_request_has_a_bound(
    opend: Simulator, front: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(links, "FIRST_SECONDS", 0.2)
    gateway = front(opend)
    with Asker(gateway.host, gateway.port, hello=False) as silent, Asker(gateway.host, gateway.port) as greeted:
        silent.link.sendall(b"F")
        assert silent.is_ended()
        greeted.ask(PAGE, page_body())  # who has been greeted may be silent for as long as it likes
        assert said(greeted.reply().body) == (0, "")


def test_a_request_that_cannot_be_read_is_refused_and_the_link_goes_on(opend: Simulator, front: Start) -> None:
    gateway = front(opend)
    with Asker(gateway.host, gateway.port) as asker:
        for body in (b"\xff", b"", b"\x0a\x00", os.urandom(200_000)):
            asker.ask(PAGE, body)
            assert said(asker.reply().body)[0] in (-1, -500)
        asker.ask(PAGE, page_body())
        assert said(asker.reply().body) == (0, "")


def test_more_clients_than_the_gateway_takes_are_turned_away(opend: Simulator, front: Start) -> None:
    gateway = front(opend, most_clients=2)
    with Asker(gateway.host, gateway.port) as one, Asker(gateway.host, gateway.port):
        with Asker(gateway.host, gateway.port, hello=False) as third:
            assert third.is_ended()
        one.ask(PAGE, page_body())
        assert said(one.reply().body) == (0, "")


@pytest.mark.needs("limits", "signals")
@pytest.mark.parametrize("hard", [256, 4096])
def test_clients_never_take_the_descriptors_that_answers_need(opend: Simulator, home: Path, hard: int) -> None:
    """A process that may have 256 files open, and one that may have that raised."""
    served = 200 if hard == 4096 else 64
    limited = [sys.executable, "-c", LIMITED, str(hard), COMMANDS[0], "gateway", "--port", "0"]
    environ = {"OPEND_SI_HOME": str(home), "OPEND_SI_MODE": "online", "OPEND_SI_RATE": "off", **at(opend)}
    with (
        subprocess.Popen(
            limited, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, **environ}
        ) as gateway,
        ExitStack() as stack,
    ):
        stack.callback(gateway.kill)
        assert gateway.stdout is not None
        assert gateway.stderr is not None
        host, port = gateway.stdout.readline().decode().strip().split(":")
        askers = [stack.enter_context(Asker(host, int(port), hello=False)) for _ in range(210)]
        for asker in askers:
            with suppress(ConnectionError):
                asker.ask(INIT_CONNECT, hello_body())
                asker.ask(PAGE, page_body())
        replies = [(read_frame(asker.link), read_frame(asker.link)) for asker in askers]
        assert sum(greeting is not None for greeting, _ in replies) == served
        assert [said(page.body) for _, page in replies if page is not None] == [(0, "")] * served
        gateway.terminate()
        told = gateway.stderr.read().decode()
    assert "Traceback" not in told
    assert ("too few files open" in told) == (hard == 256)


LIMITED = """
import resource, runpy, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (256, int(sys.argv[1])))
sys.argv = [sys.prefix + "/bin/" + sys.argv[2], *sys.argv[3:]]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def test_who_asks_without_reading_is_not_read_and_gets_all_replies(opend: Simulator, front: Start) -> None:
    gateway = front(opend)
    count = 3000
    with Asker(gateway.host, gateway.port) as asker, Asker(gateway.host, gateway.port) as other:
        other.ask(PAGE, page_body())
        other.reply()
        frames = b"".join(asker.frame(PAGE, page_body()) for _ in range(count))
        writing = threading.Thread(target=asker.link.sendall, args=(frames,), daemon=True)
        writing.start()
        for _ in range(20):
            other.ask(PAGE, page_body())
            assert said(other.reply().body) == (0, "")
        assert all(len(link._answers) <= links.MOST_ANSWERS for link in gateway._links)
        serials = [asker.reply().serial for _ in range(count)]
        assert sorted(serials) == list(range(3, count + 3))
        writing.join(LIMIT)


def test_a_flood_that_is_not_read_is_not_taken_from_opend(held: HeldOpenD, front: Start) -> None:
    gateway = front(held)
    with Asker(gateway.host, gateway.port) as asker:
        link, _ = held.held()
        pushes = [encode_frame(Frame(3005, number, bytes(10_000))) for number in range(2000)]  # 20 MB
        flood = threading.Thread(target=link.sendall, args=(b"".join(pushes),), daemon=True)
        flood.start()
        flood.join(1.0)
        assert flood.is_alive(), "all of it went somewhere"
        with Asker(gateway.host, gateway.port) as other:
            other.ask(PAGE, page_body())
            assert said(other.reply().body) == (0, "")
        digest = hashlib.sha256()
        for _ in pushes:
            digest.update(asker.reply().data)
        assert digest.digest() == hashlib.sha256(b"".join(pushes)).digest()


def test_more_pages_than_can_be_fetched_are_refused_at_once(
    start: Callable[..., Simulator], front: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers, "MOST_FETCHES", 5)
    codes = [f"HK.{number:05d}" for number in range(1, 13)]
    opend = start(universe=Universe(symbols=codes, most_rows=20), latency=1.0)
    gateway = front(opend)
    with Asker(gateway.host, gateway.port) as asker:
        for code in codes:
            asker.ask(PAGE, page_body(code))
        said_to_all = [said(asker.reply().body) for _ in codes]
    assert said_to_all == [(-1, "获取空头持仓频率太高，请求失败，每30秒最多30次。")] * 7 + [(0, "")] * 5
    assert len(opend.requests) == 5


@pytest.mark.parametrize("mode", ["online", "offline"])
def test_what_is_recorded_is_given_to_all_at_once_however_much_is_fetched(
    start: Callable[..., Simulator], front: Start, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    monkeypatch.setattr(answers, "MOST_FETCHES", 3)
    codes = [f"HK.{number:05d}" for number in range(1, 41)]
    with OpenD(universe=Universe(symbols=codes, most_rows=20)) as opend:
        recording = front(opend)
        with Asker(recording.host, recording.port) as asker:
            for code in codes[:30]:
                asker.ask(PAGE, page_body(code))
                assert said(asker.reply().body) == (0, "")
        opend.latency = 3.0
        gateway = front(opend, mode=mode)  # it has given none of them yet
        with Asker(gateway.host, gateway.port) as cold, Asker(gateway.host, gateway.port) as asker:
            if mode == "online":
                cold.link.sendall(b"".join(cold.frame(PAGE, page_body(code)) for code in codes[30:]))
                assert said(cold.reply().body)[0] == -1  # there is no room for another
            asker.link.sendall(b"".join(asker.frame(PAGE, page_body(code)) for code in codes[:30]))
            assert [said(asker.reply().body) for _ in range(30)] == [(0, "")] * 30


def test_who_looks_into_the_record_waits_where_it_can_be_given_up(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else all that is asked for stands before the threads: the end waits for it, and so does what passes."""
    begun: list[PageKey] = []

    async def ask_all() -> None:
        settings = Settings.resolve(mode="offline", environ={"OPEND_SI_HOME": str(home)})
        asked = answers.PageAnswers(settings, 30, begun.append)  # type: ignore[arg-type]
        questions = asked._engine._ask
        page_of = questions.page_of
        monkeypatch.setattr(questions, "page_of", lambda key: begun.append(key) or page_of(key))  # type: ignore[func-returns-value]
        bodies = [page_body(f"HK.{number:05d}") for number in range(1, 2001)]
        asking = [asyncio.create_task(asked.reply(SHORT_INTEREST, body)) for body in bodies]
        for _ in range(3):
            await asyncio.sleep(0)
        await asked.close()
        ended = await asyncio.gather(*asking, return_exceptions=True)
        assert sum(isinstance(reply, asyncio.CancelledError) for reply in ended) > 1000

    asyncio.run(ask_all())
    assert 0 < len(begun) < 1000


def test_the_operator_is_not_flooded_with_lines(opend: Simulator, front: Start) -> None:
    gateway = front(opend)
    for number in range(100):
        with Asker(gateway.host, gateway.port, hello=False) as asker:
            asker.link.sendall(encode_frame(Frame(5000 + number, 1, b"")))
            assert asker.is_ended()
    lines = gateway.lines  # type: ignore[attr-defined]
    assert 30 <= len(lines) <= 32
    assert lines[-1] == "more than that is not written for a minute"


# Trade ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_away", [False, True], ids=["attached", "detached"])
def test_trade_protocols_are_refused_unless_they_are_to_pass(opend: Simulator, front: Start, is_away: bool) -> None:
    opend.others.update(dict.fromkeys(policy.TRADE, bytes))
    gateway = front(opend, mode="offline" if is_away else "online")
    with Asker(gateway.host, gateway.port) as asker:
        for proto_id in (2000, 2001, 2005, 2202, 2999):
            asker.ask(proto_id, b"")
            assert said(asker.reply().body) == (-1, policy.NO_TRADE)
    if not is_away:
        gateway = front(opend, pass_trade=True)
        with Asker(gateway.host, gateway.port) as asker:
            asker.ask(2005, b"secret")
            assert asker.reply().body == b"secret"  # it came from OpenD


def own_address() -> str:
    """An address of this machine that is not the loopback's."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # nothing is sent
        except OSError:
            return "127.0.0.1"
        return str(probe.getsockname()[0])


@pytest.mark.skipif(is_loopback(own_address()), reason="this machine has no address but the loopback's")
def test_trade_protocols_never_pass_for_a_plain_link_from_another_machine(
    start: Callable[..., Simulator], front: Start
) -> None:
    opend = start()
    opend.others[2005] = bytes
    gateway = front(opend, host="0.0.0.0", pass_trade=True)
    with Asker(own_address(), gateway.port) as far, Asker("127.0.0.1", gateway.port) as near:
        far.ask(2005, b"unlock")
        assert said(far.reply().body) == (-1, policy.NO_PLAIN_TRADE)
        near.ask(2005, b"unlock")
        assert near.reply().body == b"unlock"
        # Nor is the machine's own business anybody else's.
        far.ask(GATEWAY_STATUS, b"")
        assert said(far.reply().body) == (-1, policy.NO_STATUS)
        far.ask(PAGE, page_body())
        assert said(far.reply().body) == (0, "")
    encrypted = start(rsa_key=KEY_FILE)
    encrypted.others[2005] = bytes
    gateway = front(encrypted, host="0.0.0.0", pass_trade=True, rsa_key=KEY_FILE)
    with closing(BlockingConnection(own_address(), gateway.port, LIMIT, KEY_FILE)) as connection:
        assert connection.request(2005, b"unlock") == b"unlock"


@pytest.mark.parametrize(
    ("pass_trade", "is_local", "is_plain", "refusal"),
    [
        (False, True, False, policy.NO_TRADE),
        (False, False, True, policy.NO_TRADE),
        (True, True, True, ""),
        (True, True, False, ""),
        (True, False, False, ""),
        (True, False, True, policy.NO_PLAIN_TRADE),
    ],
)
def test_the_policy_as_a_table(pass_trade: bool, is_local: bool, is_plain: bool, refusal: str) -> None:
    assert policy.trade_refusal(pass_trade, is_local, is_plain) == refusal
    assert (2005 in policy.taken(passes_trade=not refusal)) is bool(refusal)


@pytest.mark.parametrize(
    ("host", "is_local"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("::ffff:10.0.0.1", False),
        ("10.0.0.1", False),
        ("fe80::1%eth0", False),
        ("0.0.0.0", False),
        ("?", False),
    ],
)
def test_what_this_machine_is(host: str, is_local: bool) -> None:
    assert is_loopback(host) is is_local


# Keys and texts -------------------------------------------------------------------------------------------------------


def test_a_client_with_another_key_or_none_is_closed_with_a_line_for_the_operator(
    start: Callable[..., Simulator], front: Start
) -> None:
    opend = start(rsa_key=KEY_FILE)
    for mode in ("online", "offline"):
        gateway = front(opend, rsa_key=KEY_FILE, mode=mode)
        other = ROOT / "tests/data/keys/rsa-2048.pem"
        connection = BlockingConnection(gateway.host, gateway.port, LIMIT, other)
        with closing(connection), pytest.raises(ConnectionFailed, match="closed the connection during InitConnect"):
            connection.request(PAGE, page_body())
        with Asker(gateway.host, gateway.port, hello=False) as plain:
            plain.ask(INIT_CONNECT, hello_body())
            assert plain.is_ended()
        lines = gateway.lines  # type: ignore[attr-defined]
        assert any("InitConnect cannot be read" in line and "--rsa-key" in line for line in lines)
        assert any("does not encrypt" in line for line in lines)


def test_an_opend_that_encrypts_needs_a_gateway_that_has_its_key(start: Callable[..., Simulator], front: Start) -> None:
    opend = start(rsa_key=KEY_FILE)
    with pytest.raises(ConnectionFailed, match="rsa_private_key"):
        front(opend)


def test_an_init_connect_that_hashes_the_encrypted_body_is_read() -> None:
    key = read_key(KEY_FILE)
    sealed = key.encrypt(hello_body("nautilus"))
    head = HEADER.pack(b"FT", INIT_CONNECT, 0, 0, 9, len(sealed), hashlib.sha1(sealed).digest(), bytes(8))
    hello = read_request(head + sealed, key)
    assert hello is not None
    assert (hello.frame.body, hello.frame.serial, hello.key) == (hello_body("nautilus"), 9, key)
    assert read_request(head + sealed, None) is None
    plain = read_request(HELLO, key)
    assert plain is not None
    assert plain.key is None


def test_no_text_names_a_path_or_a_key(opend: Simulator, front: Start, home: Path, tmp_path: Path) -> None:
    texts = []

    def ask_all(gateway: Gateway, code: str = "HK.00001") -> None:
        with Asker(gateway.host, gateway.port) as asker:
            for proto_id, body in ((PAGE, page_body(code)), (PAGE, b"\xff"), (2005, b""), (4711, b"")):
                asker.ask(proto_id, body)
                texts.append(said(asker.reply().body)[1])

    ask_all(front(opend, mode="offline"))
    gateway = front(opend)
    ask_all(gateway)
    # The budget is no database: it cannot be used.
    home.mkdir(exist_ok=True)
    (home / "budget.slots").unlink(missing_ok=True)
    (home / "budget.slots").write_bytes(b"no database, but longer than a header" * 100)
    broken = front(opend, rate="30/30")
    ask_all(broken, "HK.00005")
    assert any("cannot be used" in text for text in texts)
    assert any(str(home) in line for line in broken.lines)  # type: ignore[attr-defined]
    for text in texts:
        assert str(tmp_path) not in text
        assert "sqlite" not in text
        assert "PRIVATE" not in text
