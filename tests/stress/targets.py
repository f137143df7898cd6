"""What is fed with bytes that are nearly right, and the law that has to hold.

A round returns how many frames it fed.
"""

from __future__ import annotations

import random
import socket
import struct
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

from opend_si.client.questions import Questions
from opend_si.client.steps import Account, Exchange
from opend_si.dates import AsOf
from opend_si.errors import OpenDError, ProtocolError, ShortInterestError
from opend_si.gateway.cutter import Cutter, Taken
from opend_si.gateway.server import Gateway
from opend_si.history.ledger import Ledger
from opend_si.history.statements import BOTTOM, Statement, check_page
from opend_si.history.walk import MAX_RESTARTS, Told, walk
from opend_si.pages import END, Content, Page, PageKey, Row
from opend_si.settings import Settings
from opend_si.simulator import Simulator, Universe
from opend_si.wire.ciphers import AesCbc, Cipher, FtAesEcb
from opend_si.wire.framing import HEADER, MAX_BODY_BYTES, FrameDecoder, encode_frame
from opend_si.wire.session import GATEWAY_STATUS, INIT_CONNECT, MET_GATEWAY, NOTIFY, Session, read_hello
from opend_si_schema.calls import CALLS
from tests.stress.mutate import chunks, mutated, sealed

Round: TypeAlias = Callable[[random.Random], int]

_HELLO = Session().hello()[1]
# Requests of one walk. A hostile peer below has at most 30 cursors, each asked for once, and a walk begins anew 5
# times.
MOST_REQUESTS = 200
_CODES = ("HK.00700", "US.AAPL")
_ROWS = 120


@cache
def samples() -> tuple[tuple[PageKey, bytes], ...]:
    """Sound replies, and what they answer.

    Of each call and market, first pages, last pages, empty ones and refusals.
    """
    simulator = Simulator(Universe(symbols=_CODES, most_rows=_ROWS))
    found = []
    for call in CALLS:
        for code in (*_CODES, "HK.02840", "US.NONE"):
            for num, cursor in ((2, ""), (50, ""), (10, "1500000000")):
                key = PageKey.check(call, code, cursor, num)
                reply = simulator.answer(call.proto_id, key.request())
                found.append((key, bytes(reply.SerializeToString())))
    return tuple(found)


def frames(chance: random.Random) -> int:
    """Spoiled frames in any pieces: frames come out, or a ProtocolError and then nothing more. Nothing piles up."""
    bodies = [chance.choice(samples()) for _ in range(4)]
    sound = [sealed(key.call.proto_id, number, body) for number, (key, body) in enumerate(bodies)]
    stream = b"".join(mutated(frame, chance) if chance.random() < 0.7 else frame for frame in sound)
    decoder = FrameDecoder()
    given, failed = [], False
    for chunk in chunks(stream, chance):
        try:
            for frame in decoder.feed(chunk):
                assert not failed, "a frame came after an error"
                given.append(frame)
        except ProtocolError:
            failed = True
    # What came out is what stands there, but for the bytes of a header that say nothing.
    place = 0
    for frame in given:
        again = encode_frame(frame)
        assert stream[place + HEADER.size : place + len(again)] == frame.body, "a body that was not sent"
        place += len(again)
    assert len(decoder._buffer) <= len(stream) <= MAX_BODY_BYTES
    return len(sound)


def replies(chance: random.Random) -> int:
    """Sound frames with spoiled bodies: content that can be used in every way, ProtocolError, or OpenDError."""
    key, sound = chance.choice(samples())
    body = mutated(sound, chance)
    session = Session()
    serial, _ = session.request(key.call.proto_id, key.request())
    stream = sealed(NOTIFY, serial, b"") + sealed(key.call.proto_id, serial, body)
    for chunk in chunks(stream, chance):
        session.receive(chunk)
    assert session.take(serial) == body
    with suppress(ProtocolError, OpenDError):
        content = Content.read(key, body)
        page = Page.of(key, content, body, "opend", "opend", 0, 0)
        assert len(page.records) == len(page)
        assert len(page.hk) + len(page.us) == len(page)
        assert page.next is None or isinstance(page.next, str)
        rows = content.rows(key.table)
        check_page(rows, content.next, str(key))
    with suppress(ProtocolError, OpenDError):
        read_hello(body)
    return 2


def sessions(chance: random.Random) -> int:
    """Any frames for a session that waits for replies.

    Each reply is one that was sent for it, or there is a ProtocolError.
    """
    session = Session()
    waiting: dict[int, int] = {}
    sent: dict[int, list[bytes]] = {}
    for _ in range(3):
        key, body = chance.choice(samples())
        serial, _ = session.request(key.call.proto_id, key.request())
        waiting[serial] = key.call.proto_id
        sent.setdefault(serial, []).append(body)
    stream = b""
    for _ in range(6):
        serial = chance.choice((*waiting, 99, 0, 2**32 - 1))
        proto_id = waiting.get(serial, NOTIFY) if chance.random() < 0.95 else chance.choice((NOTIFY, 1, 3249))
        body = chance.choice(sent.get(serial, [b""]))
        stream += sealed(proto_id, serial, body)
    taken: set[int] = set()

    def take() -> None:
        for serial in waiting:
            if (reply := session.take(serial)) is not None:
                assert reply in sent[serial], "a reply that was not sent for it"
                assert serial not in taken, "a reply came twice"
                taken.add(serial)

    with suppress(ProtocolError):
        for chunk in chunks(stream, chance):
            session.receive(chunk)
            if chance.random() < 0.5:
                take()
    take()
    return 6


def ciphers(chance: random.Random) -> int:
    """Spoiled encrypted bodies: the body that was sent, or a ProtocolError."""
    key, iv = chance.randbytes(16), chance.randbytes(16)
    cipher: Cipher = chance.choice((AesCbc(key, iv), FtAesEcb(key)))
    _, body = chance.choice(samples())
    body = body[: chance.choice((0, 1, 15, 16, 17, len(body)))]
    good = cipher.encrypt(body)
    bad = mutated(good, chance) if chance.random() < 0.9 else good
    try:
        cipher.decrypt(bad)
    except ValueError:
        assert bad != good
    try:
        [frame] = FrameDecoder(cipher).feed(sealed(1, 1, bad, body))
    except ProtocolError:
        assert bad != good
    else:
        assert frame.body == body
    return 1


def walks(chance: random.Random) -> int:
    """A walk over hostile pages, by the planner alone.

    It ends, after a bounded number of requests, with rows that descend.
    """
    times = sorted({chance.randrange(-3, 60) * chance.choice((1, 1, 1000)) for _ in range(40)}, reverse=True)
    cursors: list[str | None] = [None, *(str(time) for time in times), "x", "y"]
    cursors = chance.sample(cursors, chance.randrange(1, min(30, len(cursors))))
    ledger, seq = Ledger(), 0
    plan = walk(ledger, lambda _: True, chance.choice((BOTTOM, 0, 20)))
    asked: Counter[str] = Counter()
    # Rows that go on where the last page ended, so that only its cursors can tell a circle.
    leads_on = chance.random() < 0.3
    try:
        step = next(plan)
        while True:
            asked[step.next_key] += 1
            assert asked[step.next_key] <= MAX_RESTARTS, "it goes in a circle"
            sent_seq, seq = seq, seq + 1
            rows = tuple(_hostile_rows(chance, times, step.after if leads_on else None))
            following = chance.choice(cursors) if rows else None
            if rows and chance.random() < 0.6:
                following = str(rows[-1].at)
            said = Statement(step.next_key, 50, step.after, rows, following, first_seq=seq, checked_seq=seq)
            ledger = ledger.grown(said, ledger.judge(said, 0, chance.choice((sent_seq, 0))))
            step = plan.send(Told(said, ledger))
    except StopIteration as done:
        ats = [row.at for row in done.value.rows]
        assert ats == sorted(set(ats), reverse=True), "rows are doubled or out of order"
    except ProtocolError:
        pass
    return asked.total()


def _hostile_rows(chance: random.Random, times: list[int], after: int | None) -> Iterator[Row]:
    first = chance.randrange(len(times))
    if after is not None:
        first = times.index(after) + 1 if after in times else 0
    for time in times[first : first + chance.randrange(6)]:
        yield Row(time, (time, chance.randrange(50) == 0))


def questions(chance: random.Random) -> int:
    """Histories and pages of a peer that answers with anything: right for the caller, or a named error; and it ends."""
    asked = Questions(_settings())
    code = chance.choice(_CODES)
    call = CALLS[0]
    known = [body for key, body in samples() if key.call is call and str(key.symbol) == code]
    replies = [_turned(call, body, chance) for body in chance.choices(known, k=8)]
    is_history = chance.random() < 0.5
    steps: Any = asked.history(call, code, None, None, AsOf()) if is_history else asked.pages(call, code)
    requests = 0
    with suppress(ShortInterestError):
        if is_history:
            _, requests = _drive(steps, replies, chance, MOST_REQUESTS)
        else:
            page = steps
            while page is not None:
                page, spent = _drive(steps.advance(), replies, chance, MOST_REQUESTS - requests)
                requests += spent
    return max(requests, 1)


@cache
def _settings() -> Settings:
    return Settings.resolve(mode="bypass", environ={"OPEND_SI_RATE": "off"})


def _turned(call: Any, body: bytes, chance: random.Random) -> bytes:
    """A reply with rows moved, another cursor, odd times."""
    reply = call.response.FromString(body)
    for field, rows in reply.s2c.ListFields():
        if field.message_type is None or not rows:
            continue
        if chance.random() < 0.3 and len(rows) > 1:
            del rows[chance.randrange(1, len(rows)) :]
        if chance.random() < 0.2:
            row = chance.choice(rows)
            near = row.timestamp
            row.timestamp = chance.choice((0, 1, -1, 2**62, near - 1, near + 1, near + 86400))
        if chance.random() < 0.6:
            reply.s2c.nextKey = chance.choice((END, "", "1", str(rows[-1].timestamp), str(rows[0].timestamp), "x"))
    turned: bytes = reply.SerializeToString()
    return turned


def _drive(steps: Any, replies: list[bytes], chance: random.Random, most: int) -> tuple[Any, int]:
    requests = 0
    try:
        step = next(steps)
        while True:
            if isinstance(step, Account):
                step = steps.send(7)
                continue
            assert isinstance(step, Exchange), step
            requests += 1
            assert requests <= most, "it does not end"
            step = steps.send((chance.choice(replies), 7))
    except StopIteration as done:
        return done.value, requests


def cuts(chance: random.Random) -> int:
    """A spoiled stream through a gateway's cutter.

    What passes and what is taken is the stream, in its order, and no more.
    """
    bodies = [chance.choice(samples()) for _ in range(4)]
    stream = b""
    for number, (key, body) in enumerate(bodies):
        frame = sealed(chance.choice((key.call.proto_id, 3001, 1004, 2005)), number, body)
        stream += mutated(frame, chance) if chance.random() < 0.4 else frame
    taken = {key.call.proto_id for key, _ in bodies}
    cutter, given = Cutter(taken), b""
    with suppress(ProtocolError):
        for chunk in chunks(stream, chance):
            for piece in cutter.feed(chunk):
                if isinstance(piece, Taken):
                    assert piece.proto_id in taken
                    assert len(piece.data) == HEADER.size + HEADER.unpack_from(piece.data)[5]
                given += piece if isinstance(piece, bytes) else piece.data
        assert given + bytes(cutter._held) == stream, "something was lost"
    assert stream.startswith(given), "something came that was not sent"
    return len(bodies)


def links(chance: random.Random) -> int:
    """Spoiled streams of clients to a gateway.

    Sound frames for requests that were made, and then the end of the link.
    """
    streams = []
    for _ in range(10):
        hello = mutated(_HELLO, chance) if chance.random() < 0.2 else _HELLO
        keys = [chance.choice(samples())[0] for _ in range(4)]
        frames = [sealed(key.call.proto_id, number, key.request()) for number, key in enumerate(keys, 2)]
        frames.append(sealed(chance.choice((1004, 2005, 3001, 1002, GATEWAY_STATUS)), 6, b""))
        streams.append(hello + b"".join(mutated(f, chance) if chance.random() < 0.3 else f for f in frames))
    with Gateway(_offline(), port=0) as gateway:
        for stream in streams:
            with socket.create_connection((gateway.host, gateway.port), timeout=60) as link:
                with suppress(OSError):  # it may be closed already
                    for chunk in chunks(stream, chance):
                        link.sendall(chunk)
                    link.shutdown(socket.SHUT_WR)
                came = b""
                with suppress(ConnectionResetError):
                    while piece := link.recv(1 << 16):
                        came += piece
            decoder = FrameDecoder()
            with suppress(ProtocolError):  # a reply in JSON, for a header that asks for it
                for frame in decoder.feed(came):
                    known = frame.proto_id in (MET_GATEWAY, INIT_CONNECT)
                    assert known or struct.pack("<I", frame.proto_id) in stream, "a reply to nothing"
    return 5 * len(streams)


@cache
def _offline() -> Settings:
    # There is no such folder, and offline none is made.
    environ = {"OPEND_SI_HOME": str(Path(tempfile.gettempdir()) / "opend-si-no-record"), "OPEND_SI_RATE": "off"}
    return Settings.resolve(mode="offline", environ=environ)


TARGETS: dict[str, Round] = {
    target.__name__: target for target in (frames, replies, sessions, ciphers, walks, questions, cuts, links)
}


class Failed(Exception):
    """A round that breaks its law: the target's name and the round's number tell which."""


def run(name: str, first: int, count: int) -> int:
    """Rounds `first`, `first + 1` … until `count` frames are fed; gives the number of the round after the last."""
    fed, number = 0, first
    while fed < count:
        try:
            fed += TARGETS[name](random.Random(f"{name}/{number}"))
        except Exception as error:
            told = f"{type(error).__name__}: {error}"
            raise Failed(
                f"{told}; again with: python -m tests.stress.fuzz {name} --first {number} --count 1"
            ) from error
        number += 1
    return number
