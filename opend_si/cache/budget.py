"""One rate budget for all processes that share a folder, in a file of its own: clearing the cache does not reset it.

A user's processes share their default folder; several users share one that was opened for them
(`opend_si.system.sharing`). What is counted belongs to OpenD's account, whichever user and address it is asked by.

A slot is taken before a request is sent and stays taken until *more than* a window after its reply came. A slot that
counted from the sending would free itself early: the server counts when a request arrives, and saw 33 to 37 in a window
of 30. Proof that it never sees more than `requests`: of any `requests + 1` arrivals within a window let L be the one
whose slot was taken last. The other slots were then in flight or settled after their arrival, so all of them were still
taken, and L would not have got one. What is not covered is an OpenD that stands still for longer than a request and a
window together, and reads then what it was sent before: nobody can know when that will have arrived.

Slots of a process that died free themselves, because a slot in flight carries the longest time it can last: slots are
leases (`opend_si.system.leases`), whose times no clock change moves.

A file that is deleted or replaced while it is in use takes the slots with it. So each file has a name of its own
inside, and the process that finds another name counts a whole window as used; so it does where it finds a file that was
emptied. Only who has never used the file that was deleted takes the next one for the first. A file that a power cut
left damaged is begun anew, with a window used up; any other damaged file is an error, for somebody may have slots in
it.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from opend_si.system.clocks import Moment
from opend_si.system.home import BUDGET_FILE
from opend_si.system.leases import NAME_BYTES, Board, Leases
from opend_si.system.ours import OurFile
from opend_si_schema.definitions import Rate

FILE = OurFile(
    "rate budget",
    BUDGET_FILE,
    if_damaged=" Remove it half a minute after the last request: it holds the times of those alone.",
)
_MARK = b"OPSB"

# The key of what keeps every bucket's requests back: a window of which nobody knows what was sent in it.
_ALL = b"every bucket".ljust(NAME_BYTES)
# Seconds by which a file must be older than the start of the machine, for nobody to have a slot in it.
_BOOT_MARGIN = 60.0
# The name of the file that this process has used at each path. Clients come and go; the process is what sends.
_NAMES: dict[Path, bytes] = {}


@dataclass(frozen=True, slots=True)
class Slot:
    """The right to send one request."""

    bucket: str
    holder: bytes


@dataclass(frozen=True, slots=True)
class Allowance:
    """How many requests may be sent now, and after how many seconds the next may, if none."""

    requests: int
    wait: float


class Budget:
    """The budget file. If it cannot be used its `CacheError` is the caller's: without it nothing may be sent."""

    def __init__(self, path: Path) -> None:
        self._leases = Leases(path, FILE, _MARK, _is_of_before)

    def reserve(self, bucket: str, rate: Rate, timeout: float) -> Slot | float:
        """Take a slot for a request that lasts `timeout` seconds at most, or say how many seconds to wait."""
        path = self._leases.path

        def take(board: Board) -> Slot | float:
            longest = timeout + rate.seconds
            if board.has_lost or _NAMES.get(path, board.name) != board.name:
                # Not the file that this process, or another, has used so far.
                before = [*board.of(_ALL)]
                board.put(_ALL, bytes(NAME_BYTES), max([longest, *board.left(before)]), next(iter(before), None))
            _NAMES[path] = board.name  # it says now what this process knows of it
            key = _key(bucket)
            if wait := _wait(board, key, rate):
                return wait
            slot = Slot(bucket, os.urandom(NAME_BYTES))
            board.put(key, slot.holder, longest)
            return slot

        return self._leases.use(take)

    def settle(self, slot: Slot, rate: Rate) -> None:
        """The reply has come, or never will: the slot is free a window from now."""

        def free_later(board: Board) -> None:
            key = _key(slot.bucket)
            board.put(key, slot.holder, rate.seconds, _place(board, key, slot.holder))  # it may have lapsed

        self._leases.use(free_later)

    def cancel(self, slot: Slot) -> None:
        """Nothing was sent: the slot is free now."""

        def free(board: Board) -> None:
            place = _place(board, _key(slot.bucket), slot.holder)
            if place is not None:
                board.end(place)

        self._leases.use(free)

    def exhaust(self, bucket: str, rate: Rate) -> None:
        """OpenD says that the limit is used up, by other programs too.

        Nothing is free before a full window has passed.
        """

        def take_all(board: Board) -> None:
            key = _key(bucket)
            taken = board.of(key)
            for place, lease in taken.items():  # slots in flight stay their holders': they are only kept for longer
                board.put(key, lease.holder, max(*board.left([place]), rate.seconds), place)
            for _ in range(rate.requests - len(taken)):
                board.put(key, os.urandom(NAME_BYTES), rate.seconds)

        self._leases.use(take_all)

    def allowance(self, bucket: str, rate: Rate) -> Allowance:
        """What may be sent now. Nothing is taken for it."""

        def look(board: Board) -> Allowance:
            wait = _wait(board, _key(bucket), rate)
            return Allowance(0 if wait else rate.requests - len(board.of(_key(bucket))), wait)

        return self._leases.use(look)


def _wait(board: Board, key: bytes, rate: Rate) -> float:
    """Seconds until a slot can be free; 0 if one is."""
    if unknown := board.left([*board.of(_ALL)]):
        return unknown[-1]
    waits = board.left([*board.of(key)])
    if len(waits) < rate.requests:
        return 0.0
    return min(waits[0], rate.seconds)  # one in flight may be settled at any moment


def _place(board: Board, key: bytes, holder: bytes) -> int | None:
    return next((place for place, lease in board.of(key).items() if lease.holder == holder), None)


def _key(bucket: str) -> bytes:
    return hashlib.blake2b(bucket.encode(), digest_size=NAME_BYTES).digest()


def _is_of_before(status: os.stat_result) -> bool:
    """Whether a file was last written before the machine was started, so that nobody has a slot in it."""
    now = Moment.now()
    return status.st_mtime <= now.wall - now.monotonic - _BOOT_MARGIN
