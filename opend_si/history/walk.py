"""Which recorded pages answer a question about a symbol's rows, and which pages must be fetched. No I/O.

What the recorded pages say is the ledger's to tell. A walk goes down from the newest page, along what the ledger holds, and
asks for a page where that has a gap.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Generator
from dataclasses import dataclass
from typing import TypeVar

from opend_si.errors import ProtocolError
from opend_si.history.ledger import Ledger
from opend_si.history.statements import BOTTOM, Statement
from opend_si.pages import Row

# How often a walk begins again because rows were revised under it, before it gives up.
MAX_RESTARTS = 5
# Pages that one walk asks for at most. A daily series of four centuries is shorter; one without an end is made up.
MAX_PAGES = 2000

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Fetch:
    """A step: ask OpenD for this page, whatever is recorded; the result is its `Statement`.

    `after` is the timestamp of the row before the page, 0 for a head. Another's answer that was checked at or after
    `since` will do.
    """

    next_key: str
    after: int
    since: float


Plan = Generator[Fetch, Statement, _T]


@dataclass(frozen=True, slots=True)
class Walk:
    """What a walk found: the rows, newest first, and the ledger after it."""

    rows: tuple[Row, ...]
    ledger: Ledger


class _Changed(Exception):
    """What a walk stands on is not trusted any more, or rows are published faster than it goes: it begins again."""

    def __init__(self, ledger: Ledger, since: float) -> None:
        self.ledger, self.since = ledger, since


class Cursors:
    """The cursors that one walk has asked for: none of them twice, and not without end."""

    def __init__(self) -> None:
        self._asked: set[str] = set()

    def follow(self, cursor: str | None) -> str:
        """The cursor, now asked for; `ProtocolError` if it cannot lead to an end."""
        if cursor is None or cursor in self._asked:
            raise ProtocolError(f"the cursor {cursor!r} leads in a circle: the walk would not end")
        if len(self._asked) == MAX_PAGES:
            raise ProtocolError(f"no end after {MAX_PAGES:,} pages: no history is that long")
        self._asked.add(cursor)
        return cursor


def walk(ledger: Ledger, since: float, down_to: float, asked_at: int) -> Plan[Walk]:
    """All rows down to `down_to`, newest first, from a head that was checked at or after `since`.

    What is recorded and holds is used; the rest is fetched. `asked_at` is when the question was asked.
    """
    for _ in range(MAX_RESTARTS):
        try:
            return (yield from _walk_once(ledger, since, down_to, asked_at))
        except _Changed as changed:
            ledger, since = changed.ledger, max(since, changed.since)
    raise ProtocolError("rows kept changing while they were walked; ask again in a moment")


def _walk_once(ledger: Ledger, since: float, down_to: float, asked_at: int) -> Plan[Walk]:
    head = ledger.head(since)
    if head is None:
        head = yield Fetch("", 0, max(since, asked_at + 1))
        ledger = ledger.with_statement(head)
        if head.checked_at < ledger.floor:  # within one tick of the clock, it said something else
            raise _Changed(ledger, ledger.floor)
    rows, lo, last, trail = list(head.rows), head.lo, head, head
    oldest = head.checked_at  # of what the rows rest on
    cursors = Cursors()
    while lo > down_to:
        said = ledger.below(lo)
        if said is not None:
            rows += [row for row in said.rows if row.at < lo]
            lo, last, oldest = said.lo, said, min(oldest, said.checked_at)
            continue
        if not last.is_anchored:
            trail = ledger.end_of_generation(trail)
        before = last if last.is_anchored else trail
        cursor = cursors.follow(before.next)
        after = before.rows[-1].at
        # A cursor that is not anchored belongs to this head: what was sent before it is of another generation.
        reply = yield Fetch(cursor, after, max(asked_at + 1, 0 if before.is_anchored else head.checked_at))
        ledger = ledger.with_statement(reply)
        if ledger.floor > oldest:  # a revision: some of what stands above is of before
            raise _Changed(ledger, ledger.floor if ledger.floor > head.checked_at else since)
        if reply.rows and reply.rows[0].at >= after:
            if before.is_anchored:
                raise ProtocolError(f"the cursor {cursor!r} leads to rows from before it: the walk would not end")
            if reply.rows[-1].at >= after:  # a whole page was published since the one before it
                raise _Changed(ledger, head.checked_at + 1)
        trail = reply
    first = bisect_right(rows, -down_to, key=lambda row: -row.at) if down_to != BOTTOM else len(rows)
    return Walk(tuple(rows[:first]), ledger)


def recorded_walk(ledger: Ledger, down_to: float) -> Walk | Fetch:
    """A walk that must not fetch: what it found, or the page that it lacks."""
    plan = walk(ledger, 0, down_to, 0)
    try:
        return next(plan)
    except StopIteration as done:
        found: Walk = done.value
        return found
