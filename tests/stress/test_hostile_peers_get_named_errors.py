"""Hostile peers: whatever comes over the wire, a call gives the right answer or one named error.

The next call works.

Each kind of fault by itself, for the blocking and the asyncio client; then all of them at random. No test looks at a
clock: a call that hangs meets a bound that is far away.
"""

import asyncio
import queue
import socket
import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from itertools import count
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

import pytest

import futu_si
import moomoo_si
from opend_si.errors import OpenDError, ProtocolError, RequestTimeout, ShortInterestError
from opend_si.simulator import Fault, Simulator, Universe, faults
from opend_si.simulator.chaos import WEIGHTS, Chaos, sound
from opend_si.wire.framing import HEADER, MAX_BODY_BYTES, Frame, FrameDecoder, encode_frame
from opend_si.wire.session import INIT_CONNECT, KEEP_ALIVE, NOTIFY
from opend_si_schema.calls import HK, SHORT_INTEREST
from tests.processes import ROOT
from tests.stress import chaos as benchmark

CODE, OTHER = "HK.00700", "US.AAPL"
ROWS = 120  # three pages
# Seconds after which a call is taken to hang: a bound, never a measure.
PATIENCE = 30.0
# Calls of each client through chaos; `python -m tests.stress.chaos` makes 10,000.
CALLS = 200
MakeFault = Callable[[], Fault]

# What changes nothing, what is a ProtocolError, what never comes whole, and replies that no history can be made of.
HARMLESS = [
    *(faults.cut, faults.cut_inside, faults.late, faults.dribble),
    *(faults.push_before, faults.push_around, faults.stranger_before, faults.twice),
]
FOREIGN = [
    *(faults.wrong_checksum, faults.wrong_magic, faults.garbage, faults.json_body, faults.announce, faults.begun_anew),
    *(faults.another_protocol, faults.undecodable, faults.broken_text, faults.no_content),
]
SILENT = [faults.silence, faults.truncated, faults.short_by_one, faults.unknown_serial, faults.flood]
UNFIT = [faults.no_rows, faults.rows_out_of_order, faults.row_doubled, faults.row_without_time]


class Asker(Protocol):
    """A client of either sort, asked in the same way."""

    def page(self, code: str, num: int = 50) -> Any: ...

    def history(self, code: str) -> Any: ...

    def pages(self, code: str) -> list[Any]: ...

    def together(self, codes: Sequence[str]) -> list[Any]:
        """Pages that are asked for at the same time: each a page or an error."""

    def close(self) -> None: ...


class Blocking:
    face: ModuleType = futu_si

    def __init__(self, **settings: Any) -> None:
        self._client = self.face.Client(**settings)

    def page(self, code: str, num: int = 50) -> Any:
        return bounded(lambda: self._client.get_page(code, num=num))

    def history(self, code: str) -> Any:
        return bounded(lambda: self._client.history(code))

    def pages(self, code: str) -> list[Any]:
        return bounded(lambda: list(self._client.pages(code)))  # type: ignore[no-any-return]

    def together(self, codes: Sequence[str]) -> list[Any]:
        waiting = [started(lambda code=code: self._client.get_page(code, num=50)) for code in codes]  # type: ignore[misc]
        return [answer.get(timeout=PATIENCE) for answer in waiting]

    def close(self) -> None:
        self._client.close()


class Overlapping:
    face: ModuleType = moomoo_si

    def __init__(self, **settings: Any) -> None:
        self._client = self.face.AsyncClient(**settings)
        self._runner = asyncio.Runner()

    def _run(self, ask: Any) -> Any:
        async def within_reason() -> Any:
            return await asyncio.wait_for(ask, PATIENCE)

        return self._runner.run(within_reason())

    def page(self, code: str, num: int = 50) -> Any:
        return self._run(self._client.get_page(code, num=num))

    def history(self, code: str) -> Any:
        return self._run(self._client.history(code))

    def pages(self, code: str) -> list[Any]:
        async def ask() -> list[Any]:
            return [page async for page in self._client.pages(code)]

        return self._run(ask())  # type: ignore[no-any-return]

    def together(self, codes: Sequence[str]) -> list[Any]:
        async def ask() -> list[Any]:
            pages = (self._client.get_page(code, num=50) for code in codes)
            return await asyncio.gather(*pages, return_exceptions=True)

        return self._run(ask())  # type: ignore[no-any-return]

    def close(self) -> None:
        self._run(self._client.close())
        self._runner.close()


def started(ask: Callable[[], Any]) -> "queue.SimpleQueue[Any]":
    """Ask on a thread that no exit waits for: the answer, or the error, comes out of the queue."""
    answers: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def run() -> None:
        try:
            answers.put(ask())
        except BaseException as error:
            answers.put(error)

    threading.Thread(target=run, daemon=True).start()
    return answers


def bounded(ask: Callable[[], Any]) -> Any:
    """Ask; a call that hangs fails."""
    answer = started(ask).get(timeout=PATIENCE)
    if isinstance(answer, BaseException):
        raise answer
    return answer


@pytest.fixture
def opend(start: Callable[..., Simulator]) -> Simulator:
    return start(universe=Universe(symbols=(CODE, OTHER), most_rows=ROWS))


@pytest.fixture(params=[Blocking, Overlapping])
def make(request: pytest.FixtureRequest, start: Callable[..., Simulator]) -> Iterator[Callable[..., Asker]]:
    """Makes clients; each sort is of another face, which are the same but for the name.

    They leave before OpenD stops.
    """
    made: list[Asker] = []

    def make(**settings: Any) -> Asker:
        made.append(request.param(**settings))
        return made[-1]

    yield make
    for asker in made:
        asker.close()


@pytest.fixture
def asker(make: Callable[..., Asker], opend: Simulator) -> Asker:
    return make(host=opend.host, port=opend.port, timeout=10)


def assert_works(asker: Asker, opend: Simulator) -> None:
    """It answers as if nothing had happened."""
    opend.faults.clear()
    page = asker.page(CODE)
    assert [record.timestamp for record in page.records] == times(opend)[:50]
    assert page.next == str(times(opend)[49])


def times(opend: Simulator, code: str = CODE) -> list[int]:
    return [row.timestamp for row in opend.universe.rows(code) or ()]


def history_times(frame: Any) -> list[int]:
    return list(frame["timestamp"][::-1])


# Each kind by itself --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", HARMLESS)
def test_what_is_only_odd_changes_no_answer(asker: Asker, opend: Simulator, fault: MakeFault) -> None:
    plain = asker.page(CODE)
    opend.faults.append(fault())
    assert asker.page(CODE).body == plain.body
    opend.faults.extend([Fault(), fault(), Fault(), fault()])
    assert history_times(asker.history(CODE)) == times(opend)
    opend.faults.extend([fault(), Fault(), fault()])
    assert sum(map(len, asker.pages(OTHER))) == ROWS
    assert_works(asker, opend)


@pytest.mark.parametrize("fault", FOREIGN)
def test_what_opend_does_not_send_is_a_protocol_error(asker: Asker, opend: Simulator, fault: MakeFault) -> None:
    opend.faults.append(fault())
    with pytest.raises(ProtocolError):
        asker.page(CODE)
    assert_works(asker, opend)
    for walk in (asker.history, asker.pages):
        opend.faults.extend([Fault(), fault()])
        with pytest.raises(ProtocolError):
            walk(CODE)
        assert not opend.faults
        assert_works(asker, opend)


@pytest.mark.parametrize("fault", SILENT)
def test_what_never_comes_whole_is_a_timeout(make: Callable[..., Asker], opend: Simulator, fault: MakeFault) -> None:
    asker = make(host=opend.host, port=opend.port, timeout=1)
    opend.faults.append(fault())
    with pytest.raises(RequestTimeout):
        asker.page(CODE)
    assert_works(asker, opend)


def test_a_request_that_is_cut_late_has_no_more_time_when_it_is_repeated(
    make: Callable[..., Asker], opend: Simulator
) -> None:
    asker = make(host=opend.host, port=opend.port, timeout=1)
    assert len(asker.page(CODE)) == 50
    opend.faults.extend([Fault(deliver=lambda _: (faults.Wait(0.7), faults.Close())), faults.late(0.7)])
    with pytest.raises(RequestTimeout):
        asker.page(CODE)
    assert not opend.faults
    assert_works(asker, opend)


def test_a_peer_that_never_stops_pushing_does_not_hold_a_call(make: Callable[..., Asker], opend: Simulator) -> None:
    asker = make(host=opend.host, port=opend.port, timeout=1)

    def deliver(data: bytes) -> Iterator[bytes]:
        yield data
        yield from faults.flood().deliver(data)  # type: ignore[misc]

    opend.faults.append(Fault(deliver=deliver))
    assert len(asker.page(CODE)) == 50
    with suppress(ShortInterestError):  # the answer may come between the notices, or not in time
        assert len(asker.page(CODE)) == 50
    other = make(host=opend.host, port=opend.port, timeout=10)
    assert_works(other, opend)


@pytest.mark.parametrize("fault", UNFIT)
def test_rows_that_no_history_is_made_of_are_a_protocol_error(asker: Asker, opend: Simulator, fault: MakeFault) -> None:
    for walk in (asker.history, asker.pages):
        for before in range(2):
            opend.faults.extend([Fault()] * before + [fault()])
            with pytest.raises(ProtocolError):
                walk(CODE)
            assert not opend.faults
    assert_works(asker, opend)
    assert history_times(asker.history(CODE)) == times(opend)


@pytest.mark.parametrize("fault", UNFIT)
def test_what_no_history_is_made_of_does_not_stay_in_the_way(
    make: Callable[..., Asker], opend: Simulator, tmp_path: Path, fault: MakeFault
) -> None:
    asker = make(host=opend.host, port=opend.port, timeout=10, mode="online", cache=tmp_path / "pages.sqlite3")
    for walk in (asker.history, asker.pages):
        opend.faults.append(fault())
        with suppress(ShortInterestError):
            walk(CODE)
        opend.faults.clear()
        assert history_times(asker.history(CODE)) == times(opend)


@pytest.mark.parametrize("fault", [faults.rows_out_of_order, faults.row_without_time])
def test_an_error_of_pages_names_the_symbol(asker: Asker, opend: Simulator, fault: MakeFault) -> None:
    opend.faults.append(fault())
    with pytest.raises(ProtocolError, match=CODE):
        asker.pages(CODE)


@pytest.mark.parametrize("timestamp", [2**62, -(2**62), 253_402_300_800, 0])
def test_a_day_that_no_calendar_has_is_given_or_refused_by_name(asker: Asker, opend: Simulator, timestamp: int) -> None:
    opend.faults.append(faults.row_from_afar(timestamp))
    with suppress(ProtocolError):
        assert history_times(asker.history(CODE)) == [timestamp, *times(opend)[1:]]
    assert_works(asker, opend)


def test_a_day_beyond_the_calendar_of_new_york_is_given_or_refused_by_name(asker: Asker, opend: Simulator) -> None:
    opend.faults.append(faults.row_from_afar(253_402_300_800))
    with suppress(ShortInterestError):
        asker.history(OTHER)


_CIRCLE = """
from opend_si.errors import ProtocolError
from opend_si.history.ledger import Ledger
from opend_si.history.statements import BOTTOM, Statement
from opend_si.pages import Row
from opend_si.history.walk import Told, walk

ledger = Ledger()
plan = walk(ledger, lambda _: True, BOTTOM)
step = next(plan)
try:
    for seq in range(1, 100):
        reply = Statement(step.next_key, 50, step.after, (Row(7, (7,)),), "x", first_seq=seq, checked_seq=seq)
        ledger = ledger.grown(reply, ledger.judge(reply, 0, seq - 1))
        step = plan.send(Told(reply, ledger))
except ProtocolError:
    print("refused")
"""


def test_a_page_of_one_row_whose_cursor_leads_to_itself_is_a_protocol_error() -> None:
    # In a process of its own: what hangs there is killed.
    command = [sys.executable, "-c", _CIRCLE]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE)
    assert found.stdout == "refused\n", found.stderr


def test_a_reply_without_next_key_is_the_end(asker: Asker, opend: Simulator) -> None:
    opend.faults.append(faults.no_next_key())
    page = asker.page(CODE)
    assert (page.next, page.hk.attrs["next_key"]) == (None, "-1")
    opend.faults.append(faults.no_next_key())
    assert history_times(asker.history(CODE)) == times(opend)[:50]
    opend.faults.extend([Fault(), faults.no_next_key()])
    assert [len(page) for page in asker.pages(CODE)] == [50, 50]
    assert_works(asker, opend)


@pytest.mark.parametrize("cursor", ["1", "9" * 5000, "\N{WHITE SMILING FACE}", "timestamp", " ", "-2", "1777478401"])
@pytest.mark.parametrize("mode", ["bypass", "online"])
def test_a_next_key_that_repeats_or_leads_nowhere_ends_in_a_named_error(
    make: Callable[..., Asker], opend: Simulator, tmp_path: Path, mode: str, cursor: str
) -> None:
    asker = make(host=opend.host, port=opend.port, timeout=10, mode=mode, cache=tmp_path / "pages.sqlite3")
    for walk in (asker.history, asker.pages):
        opend.faults.extend([faults.next_key(cursor)] * 40)
        opend.requests.clear()
        with suppress(ShortInterestError):  # "1" leads behind the last row, and the end is an answer
            walk(CODE)
            assert cursor == "1"
        assert len(opend.requests) < 20
        opend.faults.clear()
    other = make(host=opend.host, port=opend.port, timeout=10, mode="refresh", cache=tmp_path / "pages.sqlite3")
    assert history_times(other.history(CODE)) == times(opend)
    assert history_times(asker.history(CODE)) == times(opend)


@pytest.mark.parametrize(("cursor", "told", "asked"), [("same", "circle", 2), ("lowest", "no end after 20 pages", 21)])
def test_a_history_without_an_end_is_a_protocol_error(
    asker: Asker, opend: Simulator, monkeypatch: pytest.MonkeyPatch, cursor: str, told: str, asked: int
) -> None:
    monkeypatch.setattr("opend_si.history.walk.MAX_PAGES", 20)
    days = count(times(opend)[0], -86_400)
    [table] = [table for table in SHORT_INTEREST.tables if table.market == HK]

    def go_on(reply: Any) -> None:
        rows = getattr(reply.s2c, table.list_field)
        del rows[:]
        for _ in range(50):
            rows.add(timestamp=next(days))
        reply.s2c.nextKey = str(rows[-1].timestamp) if cursor == "lowest" else "7"

    for walk in (asker.history, asker.pages):
        opend.faults.extend([Fault(alter=go_on)] * 30)
        opend.requests.clear()
        with pytest.raises(ProtocolError, match=f"{CODE}.*{told}"):
            walk(CODE)
        assert len(opend.requests) == asked
        opend.faults.clear()
    assert_works(asker, opend)


def test_a_refusal_leaves_the_link(asker: Asker, opend: Simulator) -> None:
    for text in ("", "未知股票", "x" * 100_000):
        opend.faults.append(faults.refuse(text))
        with pytest.raises(OpenDError):
            asker.history(CODE)
    assert_works(asker, opend)
    assert opend.connections == 1


@pytest.mark.parametrize("fault", [faults.cut, *FOREIGN])
def test_a_fault_under_calls_that_share_the_link_is_an_answer_or_an_error_for_each(
    asker: Asker, opend: Simulator, fault: MakeFault
) -> None:
    codes = [CODE, OTHER] * 4
    opend.faults.extend([faults.late(), faults.late(0.02), fault(), Fault()])
    for code, answer in zip(codes, asker.together(codes), strict=True):
        if isinstance(answer, BaseException):
            assert isinstance(answer, ShortInterestError), answer
        else:
            assert [record.timestamp for record in answer.records] == times(opend, code)[:50]
    opend.faults.clear()
    for code, page in zip(codes, asker.together(codes), strict=True):
        assert [record.timestamp for record in page.records] == times(opend, code)[:50]


def test_replies_in_any_order_reach_their_requests(opend: Simulator) -> None:
    asker = Overlapping(host=opend.host, port=opend.port, timeout=10)
    opend.faults.extend([faults.late(0.15), faults.late(0.1), faults.twice(), faults.late(0.05)])
    codes = [CODE, OTHER, OTHER, CODE]
    pages = asker.together(codes)
    assert [[record.timestamp for record in page.records] for page in pages] == [
        times(opend, code)[:50] for code in codes
    ]
    asker.close()


# InitConnect ----------------------------------------------------------------------------------------------------------


class Listener:
    """A port that meets each client with `greet`, until OpenD is started on it."""

    def __init__(self, greet: Callable[[socket.socket, bytes], object]) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._thread = threading.Thread(target=self._serve, args=(greet,), daemon=True)
        self._thread.start()

    def _serve(self, greet: Callable[[socket.socket, bytes], object]) -> None:
        with suppress(OSError):
            while True:
                link, _ = self._listener.accept()
                threading.Thread(target=self._meet, args=(link, greet), daemon=True).start()

    def _meet(self, link: socket.socket, greet: Callable[[socket.socket, bytes], object]) -> None:
        with link, suppress(OSError):
            greet(link, link.recv(1 << 16))
            while link.recv(1 << 16):
                pass

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()


def hello(body: bytes, proto_id: int = INIT_CONNECT, serial: int = 1) -> bytes:
    return encode_frame(Frame(proto_id, serial, body))


FAILED = b"\x08" + b"\xff" * 9 + b"\x01"  # retType -1
GREETINGS: dict[str, tuple[bytes, type[ShortInterestError]]] = {
    "garbage": (b"HTTP/1.1 400 Bad Request\r\n\r\n", ProtocolError),
    "no message": (hello(b"\xff" * 9), ProtocolError),
    "nothing": (hello(b""), OpenDError),
    "half a message": (hello(b"\x08\x00\x22\x10\x08"), ProtocolError),
    "another protocol": (hello(b"\x08\x00", proto_id=KEEP_ALIVE), ProtocolError),
    "absurd length": (HEADER.pack(b"FT", INIT_CONNECT, 0, 0, 1, 2**32 - 1, bytes(20), bytes(8)), ProtocolError),
    "wrong checksum": (hello(b"\x08\x00")[:-1] + b"\x01", ProtocolError),
    "refusal": (hello(FAILED + b"\x12\x02no"), OpenDError),
    "refusal in no UTF-8": (hello(FAILED + b"\x12\x02\xff\xfe"), OpenDError),
    "unknown serial": (hello(b"\x08\x00", serial=77), RequestTimeout),
    "silence": (b"", RequestTimeout),
}


# With a budget, the account is asked for first. What waits for a timeout is tried in that way only.
GREETED = [(name, "1000/1") for name in GREETINGS]
GREETED += [(name, "off") for name, (_, error) in GREETINGS.items() if error is not RequestTimeout]


@pytest.mark.parametrize(("greeting", "rate"), GREETED)
def test_a_hostile_hello_is_one_named_error_and_the_next_call_works(
    make: Callable[..., Asker],
    start: Callable[..., Simulator],
    monkeypatch: pytest.MonkeyPatch,
    greeting: str,
    rate: str,
) -> None:
    monkeypatch.setenv("OPEND_SI_RATE", rate)
    data, error = GREETINGS[greeting]
    with closing(Listener(lambda link, _: link.sendall(data))) as listener:
        asker = make(host="127.0.0.1", port=listener.port, timeout=1 if error is RequestTimeout else 10)
        with pytest.raises(error):
            asker.page(CODE)
        for answer in asker.together([CODE, OTHER, CODE]):
            assert isinstance(answer, ShortInterestError), repr(answer)
    opend = start(port=listener.port)
    assert [record.timestamp for record in asker.page(CODE).records] == times(opend)[:50]


# Memory ---------------------------------------------------------------------------------------------------------------


def peak(work: Callable[[], object]) -> int:
    """Most bytes of Python's that are in use at once while it works."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def announced(length: int) -> bytes:
    return HEADER.pack(b"FT", NOTIFY, 0, 0, 1, length, bytes(20), bytes(8))


@pytest.mark.parametrize("length", [MAX_BODY_BYTES, MAX_BODY_BYTES + 1, 2**31, 2**32 - 1])
def test_nothing_is_allocated_for_what_is_only_announced(length: int) -> None:
    def feed() -> None:
        with suppress(ProtocolError):
            list(FrameDecoder().feed(announced(length)))

    feed()  # what is imported and cached on the way is no part of it
    assert peak(feed) < 64 * 1024


def test_a_peer_that_never_stops_sending_gets_no_more_memory_than_the_longest_body() -> None:
    chunk = bytes(64 * 1024)

    def feed() -> None:
        decoder = FrameDecoder()
        for data in [announced(MAX_BODY_BYTES), *[chunk] * (3 * MAX_BODY_BYTES // len(chunk))]:
            with suppress(ProtocolError):  # by its SHA-1; whoever fed it goes on all the same
                list(decoder.feed(data))

    assert peak(feed) < 4 * MAX_BODY_BYTES


def test_many_small_frames_at_once_are_decoded_one_by_one() -> None:
    notices = encode_frame(Frame(NOTIFY, 1, b"")) * 20_000
    decoder, count = FrameDecoder(), 0

    def feed() -> None:
        nonlocal count
        for _ in decoder.feed(notices):
            count += 1

    assert peak(feed) < 4 * len(notices)
    assert count == 20_000


# Chaos ----------------------------------------------------------------------------------------------------------------


def test_a_seed_draws_the_same_faults_again_and_every_kind_in_time() -> None:
    def kinds(seed: int) -> list[dict[str, int]]:
        chaos = Chaos(seed)
        drawn = []
        for _ in range(3000):
            assert chaos
            chaos.popleft()
            drawn.append(dict(chaos.drawn))
        return drawn

    assert kinds(1) == kinds(1)
    assert kinds(1) != kinds(2)
    assert set(kinds(1)[-1]) == {kind.__name__ for kind in WEIGHTS}


def test_what_is_queued_comes_before_what_is_drawn() -> None:
    chaos, queued = Chaos(1), sound()
    chaos.append(queued)
    assert chaos.popleft() is queued
    assert not chaos.drawn


@pytest.mark.parametrize("kind", ["blocking", "asyncio"])
def test_through_chaos_come_right_answers_and_named_errors_only(start: Callable[..., Simulator], kind: str) -> None:
    opend, chaos = start(universe=benchmark.universe()), Chaos(7)
    judge = benchmark.Judge(opend, chaos)
    opend.faults = chaos
    at: dict[str, Any] = {"host": opend.host, "port": opend.port, "timeout": benchmark.TIMEOUT}
    if kind == "blocking":
        with futu_si.Client(**at) as client:
            for _ in benchmark.ask_blocking(client, opend, chaos, judge, CALLS, 7):
                pass
    else:

        async def ask() -> None:
            async with moomoo_si.AsyncClient(**at) as client:
                await benchmark.ask_overlapping(client, opend, chaos, judge, CALLS, 7, lambda _: None)

        asyncio.run(asyncio.wait_for(ask(), 10 * PATIENCE))
    assert judge.tally.wrong == []
    assert judge.tally.calls == CALLS
    assert judge.tally.right > CALLS // 10
    assert judge.tally.errors.total() > CALLS // 20
