"""The body of a reply as its rows, and what stands around them.

Only how protobuf writes a field is known here, not what the fields mean: rows are the fields of one number that stand
one behind the other in the longest message of the reply. What cannot be cut so is one piece.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from opend_si.cache.runs import put_varint

_VARINT, _LONG, _BYTES, _SHORT = 0, 1, 2, 5
_LENGTHS = {_LONG: 8, _SHORT: 4}
# The last digits: of the cursor that leads on.
_DIGITS = re.compile(rb"[1-9][0-9]{0,17}(?=[^0-9]*\Z)")


class Pieces(NamedTuple):
    """A body.

    Attributes:
        rows: The rows, each as it stands there.
        around: What stands before the message's length, before the rows, behind them up to the last number, and behind
            that: inside the message, and behind it.
        number: The last number behind the rows; None: there is none.

    """

    rows: tuple[bytes, ...]
    around: tuple[bytes, ...]
    number: int | None


def cut(body: bytes) -> Pieces:
    """A body in pieces."""
    try:
        found = _cut(body)
        return found if join(*found) == body else _whole(body)
    except (IndexError, KeyError, ValueError):
        return _whole(body)


def _whole(body: bytes) -> Pieces:
    return Pieces((), (body,), None)


def join(rows: Sequence[bytes], around: Sequence[bytes], number: int | None) -> bytes:
    """The body of some pieces."""
    if len(around) == 1:
        return around[0]
    lead, begin, behind, end, trail = around
    inner = b"".join((begin, *rows, behind, b"" if number is None else b"%d" % number, end))
    return b"".join((lead, _write_varint(len(inner)), inner, trail))


def _cut(body: bytes) -> Pieces:
    size, start, stop = max((stop - start, start, stop) for _, _, start, stop in _fields(body, 0, len(body)))
    runs: list[list[tuple[int, int, int, int]]] = []
    due = -1, -1
    for field in _fields(body, start, stop):
        if field[:2] == due:
            runs[-1].append(field)
        else:
            runs.append([field])
        due = field[0], field[3]
    rows = max(runs, key=lambda run: run[-1][3] - run[0][1])
    rest = body[rows[-1][3] : stop]
    number = _DIGITS.search(rest)
    behind, trail = (rest, b"") if number is None else (rest[: number.start()], rest[number.end() :])
    lead = body[: start - len(_write_varint(size))]
    around = lead, body[start : rows[0][1]], behind, trail, body[stop:]
    return Pieces(tuple(body[at:end] for _, at, _, end in rows), around, None if number is None else int(number[0]))


def _fields(body: bytes, at: int, end: int) -> list[tuple[int, int, int, int]]:
    """The fields that have a length: what each begins with, where it begins, and where its value begins and ends."""
    found = []
    while at < end:
        begin = at
        tag = body[at]
        if tag & 0x87 == _BYTES and body[at + 1] < 0x80:  # as nearly always
            start = at + 2
            at = start + body[at + 1]
            found.append((tag, begin, start, at))
            continue
        tag, at = _read_varint(body, at)
        kind = tag & 7
        if kind == _BYTES:
            size, start = _read_varint(body, at)
            at = start + size
            found.append((tag, begin, start, at))
        elif kind == _VARINT:
            _, at = _read_varint(body, at)
        else:
            at += _LENGTHS[kind]
    if at != end:
        raise ValueError("a field is cut off")
    return found


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    number = data[at] & 0x7F
    shift = 7
    while data[at] >= 0x80:
        at += 1
        number |= (data[at] & 0x7F) << shift
        shift += 7
    return number, at + 1


def _write_varint(number: int) -> bytes:
    parts = bytearray()
    put_varint(parts, number)
    return bytes(parts)
