"""When the rows of a page were first seen with their values, as it stands beside a version."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

# So many rows, the number of the event that brought them, and its moment.
Runs: TypeAlias = tuple[tuple[int, int, int], ...]
# What runs begin with that are kept as steps. The first form began with a count, which is never 0.
_BY_STEPS = b"\0"


def write_runs(seen: Sequence[tuple[int, int]]) -> Runs:
    """When the rows of a page were first seen, rows of one event together."""
    runs: list[tuple[int, int, int]] = []
    for seq, at in seen:
        if runs and runs[-1][1:] == (seq, at):
            runs[-1] = (runs[-1][0] + 1, seq, at)
        else:
            runs.append((1, seq, at))
    return tuple(runs)


def pack_runs(runs: Runs, own: tuple[int, int]) -> bytes:
    """Runs as the record keeps them; nothing where all rows came with the page, whose own event is given.

    Each event is kept as what differs from the one before, and the first from the page's own: most rows come one by
    one, and who asks every week asks at about the same hour.
    """
    if len(runs) == 1 and runs[0][1:] == own:
        return b""
    parts = bytearray(_BY_STEPS if runs else b"")
    (seq, at), step = own, 0
    for count, own_seq, own_at in runs:
        is_long = count != 1
        put_varint(parts, _zigzag(own_seq - seq) << 1 | is_long)
        if is_long:
            put_varint(parts, count)
        put_varint(parts, _zigzag(own_at - at - step))
        seq, at, step = own_seq, own_at, own_at - at
    return bytes(parts)


def unpack_runs(data: bytes, own: tuple[int, int]) -> Runs:
    """Runs as they were kept with a page, whose own event is given; none where all rows came with it."""
    numbers = _varints(data)
    if not data.startswith(_BY_STEPS):  # the first form: each number as it is
        return tuple(zip(numbers[::3], numbers[1::3], numbers[2::3], strict=True))
    following = iter(numbers[1:])
    (seq, at), step = own, 0
    runs = []
    for number in following:
        count = next(following) if number & 1 else 1
        step += _unzigzag(next(following))
        seq, at = seq + _unzigzag(number >> 1), at + step
        runs.append((count, seq, at))
    return tuple(runs)


def _varints(data: bytes) -> list[int]:
    numbers: list[int] = []
    number = shift = 0
    for byte in data:
        number |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            numbers.append(number)
            number = shift = 0
    return numbers


def put_varint(parts: bytearray, number: int) -> None:
    """Add a number as protobuf writes one: seven bits a byte, the lowest first."""
    while number >= 0x80:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    parts.append(number)


def _zigzag(number: int) -> int:
    """A number without a sign, small where it is small."""
    return number << 1 if number >= 0 else ~number << 1 | 1


def _unzigzag(number: int) -> int:
    return ~(number >> 1) if number & 1 else number >> 1
