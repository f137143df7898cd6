"""What can go wrong with one reply.

A fault is used once; tests queue as many as they need, `chaos` draws them without end.

Most spoil what goes over the wire. Some make the reply itself say what no sound OpenD says: rows in the wrong order, a
cursor that leads in a circle. What no client can see is not here: a value that is wrong, a row that is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import repeat
from typing import Any, NamedTuple

from opend_si.wire.framing import HEADER, Frame, encode_frame
from opend_si.wire.session import KEEP_ALIVE, NOTIFY
from opend_si_schema import common

# Seconds that outlast every test; a client that waits that long hangs.
_FOR_EVER = 3600.0
# The highest bit of a serial: no client that begins at 1 comes that far.
_STRANGE = 2**31
# Notices that are sent at once: quicker than any client takes them in.
_FLOOD = 5000


@dataclass(frozen=True)
class Wait:
    """Say nothing for a while."""

    seconds: float


@dataclass(frozen=True)
class Close:
    """Close the connection."""


Step = bytes | Wait | Close


@dataclass(frozen=True)
class Fault:
    """How one reply is spoiled: `alter` changes the message, `deliver` changes what goes over the wire."""

    alter: Callable[[Any], None] = lambda _reply: None
    deliver: Callable[[bytes], Iterable[Step]] = lambda data: (data,)


class _Head(NamedTuple):
    """The fields of a frame's header."""

    magic: bytes
    proto_id: int
    body_format: int
    version: int
    serial: int
    length: int
    digest: bytes
    reserved: bytes


def _head(data: bytes) -> _Head:
    return _Head(*HEADER.unpack_from(data))


def _with_head(data: bytes, **fields: Any) -> bytes:
    return HEADER.pack(*_head(data)._replace(**fields)) + data[HEADER.size :]


def _notice(serial: int, body: bytes = b"") -> bytes:
    return encode_frame(Frame(NOTIFY, serial, body))


# The link -------------------------------------------------------------------------------------------------------------


def cut() -> Fault:
    """The connection closes before the reply."""
    return Fault(deliver=lambda _: (Close(),))


def cut_inside() -> Fault:
    """The connection closes in the middle of the reply."""
    return Fault(deliver=lambda data: (data[: len(data) // 2], Close()))


def truncated() -> Fault:
    """Half of the reply comes, and then nothing."""
    return Fault(deliver=lambda data: (data[: len(data) // 2], Wait(_FOR_EVER)))


def silence(seconds: float = _FOR_EVER) -> Fault:
    """The reply does not come."""
    return Fault(deliver=lambda data: (Wait(seconds), data))


def dribble() -> Fault:
    """The reply comes one byte at a time."""
    return Fault(deliver=lambda data: (data[place : place + 1] for place in range(len(data))))


def late(seconds: float = 0.05) -> Fault:
    """The reply comes behind those to later requests."""
    return silence(seconds)


def flood() -> Fault:
    """Notices without end instead of the reply."""
    return Fault(deliver=lambda data: repeat(_notice(_head(data).serial) * _FLOOD))


# Frames ---------------------------------------------------------------------------------------------------------------


def wrong_checksum() -> Fault:
    """The body does not match its SHA-1."""
    return Fault(deliver=lambda data: (data[:-1] + bytes([data[-1] ^ 1]),))


def garbage(data: bytes = b"HTTP/1.1 400 Bad Request\r\n\r\n") -> Fault:
    """Something else than a frame comes."""
    return Fault(deliver=lambda _: (data,))


def wrong_magic() -> Fault:
    """The frame begins with other letters."""
    return Fault(deliver=lambda data: (_with_head(data, magic=b"TF"),))


def json_body() -> Fault:
    """The frame says that its body is JSON."""
    return Fault(deliver=lambda data: (_with_head(data, body_format=1),))


def announce(length: int = 2**32 - 1) -> Fault:
    """The frame says that its body has so many bytes."""
    return Fault(deliver=lambda data: (_with_head(data, length=length),))


def short_by_one() -> Fault:
    """The frame announces one byte more than comes."""
    return Fault(deliver=lambda data: (_with_head(data, length=_head(data).length + 1),))


def begun_anew() -> Fault:
    """The reply breaks off in its middle and is sent again from its beginning."""
    return Fault(deliver=lambda data: (data[: len(data) // 2], data))


def another_protocol(proto_id: int = KEEP_ALIVE) -> Fault:
    """The reply is of another protocol than the request."""
    return Fault(deliver=lambda data: (_with_head(data, proto_id=proto_id),))


def unknown_serial() -> Fault:
    """The reply is to a request that nobody made; the one that was made gets none."""
    return Fault(deliver=lambda data: (_with_head(data, serial=_head(data).serial ^ _STRANGE),))


def stranger_before() -> Fault:
    """A reply to a request that nobody made comes first."""
    return Fault(deliver=lambda data: (_with_head(data, serial=_head(data).serial ^ _STRANGE), data))


def twice() -> Fault:
    """The reply comes two times."""
    return Fault(deliver=lambda data: (data, data))


def push_before(count: int = 3) -> Fault:
    """Notices that nobody asked for come before the reply, some with the request's own serial."""
    return Fault(deliver=lambda data: (*(_notice(_head(data).serial + number) for number in range(count)), data))


def push_around() -> Fault:
    """Notices before and behind the reply, in pieces that end in the middle of frames."""

    def deliver(data: bytes) -> Iterator[Step]:
        notice = _notice(_head(data).serial, b"\xff" * 100)
        stream = notice + data + notice
        yield stream[:70]
        yield stream[70 : len(notice) + 10]
        yield stream[len(notice) + 10 :]

    return Fault(deliver=deliver)


# Bodies ---------------------------------------------------------------------------------------------------------------


def undecodable() -> Fault:
    """A sound frame whose body is no message."""
    return Fault(deliver=lambda data: (_with_body(data, b"\xff" * 9),))


def broken_text() -> Fault:
    """The texts of all rows are no UTF-8. Only for a link that is not encrypted."""
    return Fault(deliver=lambda data: (_with_body(data, data[HEADER.size :].replace(b"\x0a20", b"\x0a\xff0")),))


def no_content() -> Fault:
    """The reply says that it succeeded, and nothing else."""
    return Fault(alter=lambda reply: reply.ClearField("s2c"))


def _with_body(data: bytes, body: bytes) -> bytes:
    head = _head(data)
    return encode_frame(Frame(head.proto_id, head.serial, body))


# What the reply says --------------------------------------------------------------------------------------------------


def refuse(text: str, ret_type: int = -1) -> Fault:
    """OpenD refuses."""

    def alter(reply: Any) -> None:
        reply.Clear()
        reply.retType, reply.retMsg, reply.errCode = ret_type, text, 0

    return Fault(alter=alter)


def next_key(text: str | None) -> Fault:
    """The reply carries this cursor; None: no cursor at all."""

    def alter(reply: Any) -> None:
        if reply.retType != common.RetType.SUCCEED:
            return  # a refusal has none
        reply.s2c.ClearField("nextKey")
        if text is not None:
            reply.s2c.nextKey = text

    return Fault(alter=alter)


def leads_back() -> Fault:
    """The cursor leads to the page that it came with. Where every reply has this fault, nextKey repeats."""

    def alter(reply: Any) -> None:
        first = next((row for rows in _rows(reply) for row in rows), None)
        if first is not None:
            reply.s2c.nextKey = str(first.timestamp + 1)

    return Fault(alter=alter)


def no_next_key() -> Fault:
    """The reply has no cursor, which means the end."""
    return next_key(None)


def no_rows() -> Fault:
    """The reply has a cursor and no rows."""
    return Fault(alter=lambda reply: _change_rows(reply, lambda _: []))


def rows_out_of_order() -> Fault:
    """The oldest row comes first."""
    return Fault(alter=lambda reply: _change_rows(reply, lambda rows: rows[::-1]))


def row_doubled() -> Fault:
    """The first row comes two times."""
    return Fault(alter=lambda reply: _change_rows(reply, lambda rows: [*rows[:1], *rows]))


def row_without_time() -> Fault:
    """The last row has no timestamp."""
    return Fault(alter=lambda reply: _change_rows(reply, lambda rows: [*rows[:-1], *map(_without_time, rows[-1:])]))


def row_from_afar(timestamp: int = 2**62) -> Fault:
    """The first row is of a day that no calendar has."""
    return Fault(
        alter=lambda reply: _change_rows(reply, lambda rows: [*(_at(row, timestamp) for row in rows[:1]), *rows[1:]])
    )


def _rows(reply: Any) -> list[Any]:
    """The lists of rows that a reply has."""
    return [rows for field, rows in reply.s2c.ListFields() if field.message_type is not None]


def _change_rows(reply: Any, change: Callable[[list[Any]], list[Any]]) -> None:
    for rows in _rows(reply):
        changed = change([_copy(row) for row in rows])
        del rows[:]
        rows.extend(changed)


def _copy(row: Any) -> Any:
    copied = type(row)()
    copied.CopyFrom(row)
    return copied


def _without_time(row: Any) -> Any:
    row.ClearField("timestamp")
    return row


def _at(row: Any, timestamp: int) -> Any:
    row.timestamp = timestamp
    return row
