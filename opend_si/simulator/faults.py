"""What can go wrong with one reply. A fault is used once; tests queue as many as they need."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from opend_si.wire.framing import HEADER, Frame, encode_frame
from opend_si.wire.session import NOTIFY


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


def cut() -> Fault:
    """The connection closes before the reply."""
    return Fault(deliver=lambda _: (Close(),))


def cut_inside() -> Fault:
    """The connection closes in the middle of the reply."""
    return Fault(deliver=lambda data: (data[: len(data) // 2], Close()))


def silence(seconds: float = 3600.0) -> Fault:
    """The reply does not come."""
    return Fault(deliver=lambda data: (Wait(seconds), data))


def dribble() -> Fault:
    """The reply comes one byte at a time."""
    return Fault(deliver=lambda data: (data[place : place + 1] for place in range(len(data))))


def wrong_checksum() -> Fault:
    """The body does not match its SHA-1."""
    return Fault(deliver=lambda data: (data[:-1] + bytes([data[-1] ^ 1]),))


def garbage(data: bytes = b"HTTP/1.1 400 Bad Request\r\n\r\n") -> Fault:
    """Something else than a frame comes."""
    return Fault(deliver=lambda _: (data,))


def undecodable() -> Fault:
    """A sound frame whose body is no message."""

    def deliver(data: bytes) -> Iterable[Step]:
        _, proto_id, _, _, serial, *_ = HEADER.unpack_from(data)
        return (encode_frame(Frame(proto_id, serial, b"\xff" * 9)),)

    return Fault(deliver=deliver)


def push_before(count: int = 3) -> Fault:
    """Notices that nobody asked for come before the reply, some with the request's own serial."""

    def deliver(data: bytes) -> Iterable[Step]:
        serial = HEADER.unpack_from(data)[4]
        return (*(encode_frame(Frame(NOTIFY, serial + number, b"")) for number in range(count)), data)

    return Fault(deliver=deliver)


def refuse(text: str, ret_type: int = -1) -> Fault:
    """OpenD refuses."""

    def alter(reply: Any) -> None:
        reply.Clear()
        reply.retType, reply.retMsg, reply.errCode = ret_type, text, 0

    return Fault(alter=alter)


def next_key(text: str | None) -> Fault:
    """The reply carries this cursor; None: no cursor at all."""

    def alter(reply: Any) -> None:
        reply.s2c.ClearField("nextKey")
        if text is not None:
            reply.s2c.nextKey = text

    return Fault(alter=alter)
