"""One rate budget for all processes that share a folder, in a file of its own: clearing the cache does not reset it.

A user's processes share their default folder; several users share one that was opened for them
(`opend_si.system.sharing`). What is counted belongs to OpenD's account, whichever user and address it is asked by.

A slot is taken before a request is sent, and counts until *more than* a window after its reply came. A slot that
counted from the sending would free itself early: the server counts when a request arrives, and saw 33 to 37 in a window
of 30. What was given up without a reply counts as under way for a second more. What is not covered is an OpenD that
stands still for longer than a request and a window together, and reads then what it was sent before: nobody can know
when that will have arrived.

Users may have different rates. At a rate of `n` requests in `w` seconds one takes a slot where, for every whole `k`,
fewer than `k * n` slots are in flight or ended in the last `k * w` seconds, whoever took them. Proof that OpenD never
sees more than `N` in `W` seconds, if each user alone would keep that, which is `n * ceil(W / w) <= N`: of any `N + 1`
arrivals within `W` let L be the one whose slot was taken last, at the rate `n` in `w`, and `k` be `ceil(W / w)`. The
other `N`, at least `k * n`, were then in flight or ended after their arrival, in the last `k * w` seconds, so L would
not have got one. Where all have one rate, `k = 1` decides: each slot of the last `k * w` seconds counted in `w` at one
of `k` moments, the last of them now, at none of them more than `n` did, and now there are fewer.

So each slot is remembered for OpenD's own window, where its rate has a shorter one. Only a rate of very many requests,
as for a test server, is not: the slots of a second would take longer to read than it lasts. There all have one rate.

Slots of a process that died free themselves, because a slot in flight carries the longest time it can last: slots are
leases (`opend_si.system.leases`), whose times no clock change moves. That time is the dead one's own. Who waits counts
it no longer than its own, and then a window from when it sees that the process is gone.

A file that is deleted or replaced while it is in use takes the slots with it. So each file has a name of its own
inside, and the process that finds another name counts a whole window as used; so it does where it finds a file that was
emptied. Only who has never used the file that was deleted takes the next one for the first. A file that a power cut
left damaged is begun anew, with a window used up; any other damaged file is an error, for somebody may have slots in
it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import ceil
from pathlib import Path

from opend_si.system.clocks import TICK, Moment
from opend_si.system.home import BUDGET_FILE
from opend_si.system.leases import NAME_BYTES, Board, Lease, Leases, has_died, is_ours, new_holder
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
# Who holds what stands for a refusal: as many slots as a limit has.
_REFUSAL = bytes(NAME_BYTES)
# Slots that a bucket may have beside those of its own window. They are read in about a millisecond.
_MOST_REMEMBERED = 1000
# Seconds by which a file must be older than the start of the machine, for nobody to have a slot in it.
_BOOT_MARGIN = 60.0
# The name of the file that this process has used at each path. Clients come and go; the process is what sends.
_NAMES: dict[Path, bytes] = {}


@dataclass(frozen=True, slots=True)
class Slot:
    """The right to send one request. `remembered`: for how many seconds it counts when its request has ended."""

    bucket: str
    holder: bytes
    remembered: float


@dataclass(frozen=True, slots=True)
class Allowance:
    """How many requests may be sent now, and after how many seconds the next may, if none."""

    requests: int
    wait: float


class Budget:
    """The budget file. If it cannot be used its `CacheError` is the caller's: without it nothing may be sent.

    `window`, where it is taken: the seconds of OpenD's own limit, of which a user's `rate` may be another form.
    """

    def __init__(self, path: Path) -> None:
        self._leases = Leases(path, FILE, _MARK, _is_of_before)

    def reserve(self, bucket: str, rate: Rate, timeout: float, window: float = 0.0) -> Slot | float:
        """Take a slot for a request that lasts `timeout` seconds at most, or say how many seconds to wait."""
        path = self._leases.path

        def take(board: Board) -> Slot | float:
            remembered = _remembered(rate, window)
            if board.has_lost or _NAMES.get(path, board.name) != board.name:
                # Not the file that this process, or another, has used so far.
                before = [*board.of(_ALL)]
                longest = max([timeout + remembered, *board.left(before)])
                board.put(_ALL, bytes(NAME_BYTES), longest, next(iter(before), None))
            _NAMES[path] = board.name  # it says now what this process knows of it
            key = _key(bucket)
            if wait := _wait(board, key, rate):
                _settle_those_of_the_dead(board, key, timeout)
                return wait
            slot = Slot(bucket, new_holder(), remembered)
            board.put(key, slot.holder, timeout, remembered=remembered)
            return slot

        return self._leases.use(take)

    def settle(self, slot: Slot, seconds: float = 0.0) -> None:
        """The reply has come: the slot is free a window from now.

        Where none came, a window from when the request must have arrived, in so many `seconds`.
        """

        def end(board: Board) -> None:
            key = _key(slot.bucket)
            board.put(key, slot.holder, seconds, _place(board, key, slot.holder), slot.remembered)  # it may have lapsed

        self._use_own(slot, end)

    def cancel(self, slot: Slot) -> None:
        """Nothing was sent: the slot is free now."""

        def free(board: Board) -> None:
            place = _place(board, _key(slot.bucket), slot.holder)
            if place is not None:
                board.end(place)

        self._use_own(slot, free)

    def _use_own(self, slot: Slot, use: Callable[[Board], None]) -> None:
        if is_ours(slot.holder):  # a forked child lets go of what was asked: the request is its parent's
            self._leases.use(use)

    def exhaust(self, bucket: str, rate: Rate, window: float = 0.0) -> None:
        """OpenD says that the limit is used up, by other programs too.

        Nothing is free before a full window has passed, whichever a user has.
        """

        def refuse(board: Board) -> None:
            key = _key(bucket)
            board.put(key, _REFUSAL, 0.0, _place(board, key, _REFUSAL), _remembered(rate, window))

        self._leases.use(refuse)

    def allowance(self, bucket: str, rate: Rate) -> Allowance:
        """What may be sent now. Nothing is taken for it."""

        def look(board: Board) -> Allowance:
            if wait := _wait(board, _key(bucket), rate):
                return Allowance(0, wait)
            ages = _ages(board, board.of(_key(bucket)).values())
            room = (max(ceil(age / rate.seconds), 1) * rate.requests - rank for rank, age in enumerate(ages, 1))
            return Allowance(min([rate.requests, *room]), 0.0)

        return self._leases.use(look)


def _remembered(rate: Rate, window: float) -> float:
    """For how many seconds a slot counts in somebody's window, when its request has ended."""
    is_few = rate.requests * window <= _MOST_REMEMBERED * rate.seconds
    return max(rate.seconds, window) if is_few else rate.seconds


def _wait(board: Board, key: bytes, rate: Rate) -> float:
    """Seconds until a slot can be free at the soonest; 0 if one is."""
    if unknown := board.left([*board.of(_ALL)]):
        return unknown[-1]
    leases = board.of(key).values()
    waits = [rate.seconds - board.over(lease) for lease in leases if lease.holder == _REFUSAL]
    if len(leases) >= rate.requests:
        # Of two in a window the second has to be older than one window, and so has the third; the fourth, than two.
        ages, first = _ages(board, leases), rate.requests
        waits += [rank // first * rate.seconds - age for rank, age in enumerate(ages[first - 1 :], first)]
    return max((max(wait, TICK) for wait in waits if wait >= 0), default=0.0)


def _ages(board: Board, leases: Iterable[Lease]) -> list[float]:
    """For how many seconds the request of each slot has been over, the last first; 0 for one in flight."""
    return sorted(board.over(lease) for lease in leases if lease.holder != _REFUSAL)


def _settle_those_of_the_dead(board: Board, key: bytes, timeout: float) -> None:
    """End the slots of processes that are gone, where theirs would last for longer than one of ours."""
    for place, lease in board.of(key).items():
        if not board.over(lease) and board.lasted(lease) > timeout and has_died(lease.holder):
            board.put(key, lease.holder, 0.0, place, lease.remembered / 1000)


def _place(board: Board, key: bytes, holder: bytes) -> int | None:
    return next((place for place, lease in board.of(key).items() if lease.holder == holder), None)


def _key(bucket: str) -> bytes:
    return hashlib.blake2b(bucket.encode(), digest_size=NAME_BYTES).digest()


def _is_of_before(status: os.stat_result) -> bool:
    """Whether a file was last written before the machine was started, so that nobody has a slot in it."""
    now = Moment.now()
    return status.st_mtime <= now.wall - now.monotonic - _BOOT_MARGIN
