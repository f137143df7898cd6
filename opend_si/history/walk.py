"""Which recorded pages answer a question about a symbol's rows, and which pages must be fetched. No I/O.

What the recorded pages say is the ledger's to tell. A walk goes down from the newest page, along what the ledger
holds, and asks for a page where that has a gap. When something that it stands on becomes void, it begins again with
what is left.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from opend_si.errors import ProtocolError
from opend_si.history.ledger import Fit, Ledger, anything
from opend_si.history.statements import Statement
from opend_si.pages import Row

# How often a walk begins again because rows were revised under it, before it gives up.
MAX_RESTARTS = 5
# Pages that one walk asks for at most. A daily series of four centuries is shorter; one without an end is made up.
MAX_PAGES = 2000

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Fetch:
    """A step: ask OpenD for this page, whatever is recorded; the result is what was `Told`.

    `after` is the timestamp of the row before the page, 0 for a head. Another's answer to the same question will do
    where it is trusted and stands behind the same row; for a head where it is `fit`.
    """

    next_key: str
    after: int
    fit: Fit


class Told(NamedTuple):
    """A reply, and the ledger after it."""

    said: Statement
    ledger: Ledger


Plan = Generator[Fetch, Told, _T]


@dataclass(frozen=True, slots=True)
class Walk:
    """What a walk found: the rows, newest first, and the ledger after it."""

    rows: tuple[Row, ...]
    ledger: Ledger


class _Changed(Exception):
    """What a walk stands on is not trusted any more, or rows are published faster than it goes: it begins again."""

    def __init__(self, ledger: Ledger, since: int = 0) -> None:
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


def walk(ledger: Ledger, fit: Fit, down_to: float) -> Plan[Walk]:
    """All rows down to `down_to`, newest first, from a head that is fit.

    What is recorded and trusted is used; the rest is fetched.
    """
    since = 0  # a head that was last checked up to this event has been passed by
    for _ in range(MAX_RESTARTS):
        try:
            return (yield from _walk_once(ledger, _newer(fit, since), down_to))
        except _Changed as changed:
            ledger, since = changed.ledger, max(since, changed.since)
    raise ProtocolError("rows kept changing while they were walked; ask again in a moment")


def _newer(fit: Fit, since: int) -> Fit:
    return lambda said: said.checked_seq > since and fit(said)


def _walk_once(ledger: Ledger, fit: Fit, down_to: float) -> Plan[Walk]:
    head = ledger.head(fit)
    if head is None:
        _, ledger = yield Fetch("", 0, fit)
        head = ledger.head(fit)
        if head is None:
            raise _Changed(ledger)
    lo, last, trail, epoch = head.lo, head, head, ledger.epoch
    cursors = Cursors()
    while lo > down_to:
        said = ledger.below(lo)
        if said is not None:
            lo, last = said.lo, said
            continue
        if not last.is_anchored:
            trail = ledger.end_of_generation(trail)
        before = last if last.is_anchored else trail
        cursor = cursors.follow(before.next)
        after = before.rows[-1].at
        reply, ledger = yield Fetch(cursor, after, anything)
        if ledger.epoch != epoch:  # a revision: some of what stands above may be of before
            raise _Changed(ledger)
        if reply.rows and reply.rows[0].at >= after:
            if before.is_anchored:
                raise ProtocolError(f"the cursor {cursor!r} leads to rows from before it: the walk would not end")
            if reply.rows[-1].at >= after:  # a whole page was published since the one before it
                raise _Changed(ledger, head.checked_seq)
        trail = reply
    if not (ledger.reaches(head, down_to) and ledger.holds(head)):  # what it stands on was taken away under it
        raise _Changed(ledger)
    return Walk(ledger.rows_down_to(head, down_to), ledger)


def recorded_walk(ledger: Ledger, down_to: float) -> Walk | Fetch:
    """A walk that must not fetch: what it found, or the page that it lacks."""
    plan = walk(ledger, anything, down_to)
    try:
        missing = next(plan)
    except StopIteration as done:
        found: Walk = done.value
        return found
    rows = ledger.last_heard(down_to)
    return missing if rows is None else Walk(rows, ledger)
