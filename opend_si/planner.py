"""Which recorded pages answer a question about a symbol's rows, and which pages must be fetched. No I/O.

Every recorded reply is a *statement*: at the moment it was checked, the rows below `hi`, down to its last, were exactly
these. Three facts make statements last: rows come newest first, new rows are added in front, old values can be revised.
So

- a head (the reply to no cursor) holds for all later time between its first and its last row, and until a publication
  for everything above;
- a page behind a cursor holds from just below the row before it down to its last row. The row before it is known where
  the cursor is *anchored* (it is that row's timestamp, as a reply proves whose cursor equals its own last row's) or
  where the page was walked right behind another (`behind`);
- two statements join where they touch or overlap, and every row they share has to be equal. Where they disagree, a value
  was revised: what was said before the later one is not trusted any more, and that run is walked anew.

A cursor that is not anchored leads on only within its generation: from the head of now, page by page.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right, insort
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, NamedTuple, TypeVar

from opend_si.errors import ProtocolError

TOP, BOTTOM = math.inf, -math.inf
# How often a walk begins again because rows were published or revised under it, before it gives up.
MAX_RESTARTS = 5

_T = TypeVar("_T")


class Row(NamedTuple):
    """One row: its timestamp, and all its values in the order of the table's columns."""

    at: int
    values: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Statement:
    """What one version of one page says. Times are milliseconds; `hi` is `TOP` for a head, None if it is not known."""

    next_key: str
    num: int
    hi: float | None
    rows: tuple[Row, ...]
    next: str | None
    fetched_at: int
    checked_at: int
    superseded_at: int = 0

    @property
    def is_current(self) -> bool:
        """Whether OpenD has not answered the same question differently since."""
        return self.superseded_at == 0

    @property
    def is_head(self) -> bool:
        return self.next_key == ""

    @property
    def lo(self) -> float:
        """Down to where it holds."""
        return BOTTOM if self.next is None or not self.rows else self.rows[-1].at

    @property
    def reach(self) -> float:
        """Up to where it holds for all later time: a row published since stands above a head, never below its first."""
        if not self.is_head:
            return BOTTOM if self.hi is None else self.hi
        return self.rows[0].at if self.rows else BOTTOM

    @property
    def is_anchored(self) -> bool | None:
        """Whether its cursor is proven to be its last row's timestamp; None if it has no cursor to judge by."""
        if self.next is None or not self.rows:
            return None
        return self.next == str(self.rows[-1].at)


@dataclass(frozen=True, slots=True)
class Fetch:
    """A step: ask OpenD for this page, whatever is recorded; the result is its `Statement`.

    `behind` is the timestamp of the row before the page, 0 for a head. Another's answer since `since` will do.
    """

    next_key: str
    behind: int
    since: float = 0


Plan = Generator[Fetch, Statement, _T]


@dataclass(frozen=True, slots=True)
class Cut:
    """A page cut from recorded rows, and the cursor that OpenD would have sent with it.

    The times are those of the oldest reply that it rests on.
    """

    rows: tuple[Row, ...]
    next: str | None
    fetched_at: int
    checked_at: int


@dataclass(frozen=True, slots=True)
class Change:
    """A row that OpenD sent differently later."""

    at: int
    before: Row
    after: Row
    seen_at: int


def check_page(rows: Sequence[Row], next_key: str | None, what: str) -> None:
    """A page that a walk can use: its rows descend strictly, and it has rows if it leads on."""
    for above, row in pairwise(rows):
        if row.at >= above.at:
            raise ProtocolError(f"{what}: rows are out of order or doubled at timestamp {row.at}")
    if next_key is not None and not rows:
        raise ProtocolError(f"{what}: a page without rows leads on to {next_key!r}; a walk would not end")


class Ledger:
    """All that the recorded replies say about one symbol."""

    def __init__(self, statements: Iterable[Statement], floor: int = 0) -> None:
        """`floor`: what was last checked before this moment is not trusted, whatever else speaks for it."""
        self._statements = sorted(statements, key=lambda said: said.checked_at)
        self._rows: dict[int, tuple[Row, int]] = {}
        self._least = floor
        self.floor = self._judge(floor)
        self._trusted = [said for said in self._usable() if said.checked_at >= self.floor]

    def _usable(self) -> list[Statement]:
        """The statements that may answer: those that OpenD has not taken back.

        A page that OpenD has since sent differently is used only where that later reply is here too and speaks of
        another place: of a time after a publication, at the top or behind a cursor that means another row now. So a
        later reply that was lost to damage never brings an old value back.
        """
        later = {(said.next_key, said.num, said.fetched_at): said for said in self._statements}

        def next_version(said: Statement) -> Statement | None:
            return later.get((said.next_key, said.num, said.superseded_at))

        def is_followed(said: Statement) -> bool:
            """Whether every later version is here, up to the current one."""
            follower: Statement | None = said
            while follower is not None and not follower.is_current:
                follower = next_version(follower)
            return follower is not None

        return [
            said
            for said in self._statements
            if said.is_current
            or (is_followed(said) and (said.is_head or (newer := next_version(said)) is None or newer.hi != said.hi))
        ]

    def with_statement(self, statement: Statement) -> Ledger:
        """The ledger after one more reply, which replaces an earlier one to the same question."""
        kept = []
        for said in self._statements:
            if said.is_current and (said.next_key, said.num) == (statement.next_key, statement.num):
                if said.rows == statement.rows and said.next == statement.next:
                    continue
                kept.append(replace(said, superseded_at=statement.fetched_at))
            else:
                kept.append(said)
        return Ledger([*kept, statement], self._least)

    @property
    def style(self) -> bool | None:
        """Whether cursors are anchored, by the newest reply that shows it; None if none does."""
        judged = (said.is_anchored for said in reversed(self._statements))
        return next((style for style in judged if style is not None), None)

    def _judge(self, floor: int) -> int:
        """The moment of the last revision: what was last checked before it is not trusted. Fills `_rows`."""
        while (later := self._first_contradiction(floor)) is not None:
            floor = later
        return floor

    def _first_contradiction(self, floor: int) -> int | None:
        """From when on to trust, if what was checked since `floor` does not agree with itself."""
        self._rows.clear()
        ats: list[int] = []
        covered: list[tuple[float, float, int]] = []
        for said in self._statements:
            if said.hi is None or said.checked_at < floor:
                continue
            older = self._contradicted(said, ats, covered)
            if older is not None:
                # The newer value is as old as its reply, but was not in force while the older one was still sent.
                return max(said.fetched_at, older + 1)
            for row in said.rows:
                if row.at not in self._rows:
                    insort(ats, row.at)
                self._rows[row.at] = row, said.checked_at
            covered.append((said.lo, said.reach, said.checked_at))
        return None

    def _contradicted(self, said: Statement, ats: list[int], covered: list[tuple[float, float, int]]) -> int | None:
        """When the latest of the earlier statements that `said` contradicts was checked."""
        conflicts, known = [], set()
        for row in said.rows:
            seen = self._rows.get(row.at)
            if seen is None:  # a row that appeared among known ones?
                conflicts += [checked_at for low, high, checked_at in covered if low <= row.at < high]
                continue
            known.add(row.at)
            if seen[0].values != row.values:
                conflicts.append(seen[1])
        low, high = bisect_left(ats, said.lo), len(ats) if said.is_head else bisect_left(ats, said.hi or TOP)
        if high - low != len(known):  # known rows that are gone
            conflicts += [self._rows[at][1] for at in ats[low:high] if at not in known]
        return max(conflicts, default=None)

    def head(self, since: float) -> Statement | None:
        """The newest head, if it was checked at or after `since`."""
        heads = [said for said in self._trusted if said.is_head and said.is_current and said.checked_at >= since]
        return heads[-1] if heads else None

    def below(self, lo: float, since: float = 0) -> Statement | None:
        """A statement that goes on below `lo`: the one that was checked last."""
        for said in reversed(self._trusted):
            if said.checked_at < since:
                return None
            if said.lo < lo <= said.reach:
                return said
        return None

    def following(self, said: Statement) -> Statement | None:
        """The page that was walked right behind another one, in the same generation."""
        for other in reversed(self._trusted):
            if (
                other.next_key == said.next
                and other.hi == said.lo
                and other.is_current
                and other.checked_at >= said.fetched_at
            ):
                return other
        return None

    def has_row(self, at: float) -> bool:
        return at in self._rows

    def cut(self, top: float, num: int, since: float) -> Cut | None:
        """The page of `num` rows below `top`, if statements checked at or after `since` hold all of it.

        A page that does not reach the end is only known where cursors are anchored: its own is then its last row's
        timestamp.
        """
        anchored = self.style is True
        if top != TOP and not (anchored and self.has_row(top)):
            return None  # no cursor that OpenD has sent: what it would answer is not known
        said = self.head(since) if top == TOP else self.below(top, since)
        rows: list[Row] = []
        used: list[Statement] = []
        while said is not None:
            used.append(said)
            lo = rows[-1].at if rows else top
            rows += [row for row in said.rows if row.at < lo]
            if len(rows) >= num or said.lo == BOTTOM:
                return _cut(rows, num, used, anchored=anchored)
            said = self.below(said.lo, since)
        return None

    def beginning(self, next_key: str, num: int, since: float) -> Cut | None:
        """A page that is the beginning of a longer recorded one: nothing is joined, so nothing else has to be trusted."""
        for said in reversed(self._statements):
            is_long_enough = len(said.rows) >= num or said.next is None
            if said.next_key == next_key and said.is_current and said.checked_at >= since and is_long_enough:
                return _cut(said.rows, num, [said], anchored=said.is_anchored is True)
        return None

    def frontier(self, top: float, since: float) -> float:
        """Down to where the rows below `top` are held without a gap by statements checked at or after `since`."""
        lo, said = top, self.head(since) if top == TOP else self.below(top, since)
        while said is not None and said.lo != BOTTOM:
            lo, said = said.lo, self.below(said.lo, since)
        return lo

    def history(self, also: Ledger | None = None, as_of: int | None = None) -> History:
        """When each value was first seen, and what was revised, by the replies (another ledger's too) up to `as_of`."""
        said = self._statements if also is None else {*self._statements, *also._statements}
        return History(entry for entry in said if as_of is None or entry.fetched_at <= as_of)

    def up_to(self, as_of: int) -> Ledger:
        """The ledger as it stood at a moment: a page that was the same before and after it was the same at it."""
        return Ledger((_as_of(said, as_of) for said in self._statements if said.fetched_at <= as_of), self._least)


class History:
    """How values came to be known."""

    def __init__(self, statements: Iterable[Statement]) -> None:
        self._known: dict[int, tuple[Row, int]] = {}
        self._first_seen: dict[int, int] = {}
        self.changes: list[Change] = []
        for said in sorted(statements, key=lambda said: said.fetched_at):
            for row in said.rows:
                seen = self._known.get(row.at)
                if seen is None:
                    self._known[row.at] = row, said.fetched_at
                    self._first_seen[row.at] = said.fetched_at
                elif seen[0].values != row.values:
                    self.changes.append(Change(row.at, seen[0], row, said.fetched_at))
                    self._known[row.at] = row, said.fetched_at

    def known_at(self, row: Row) -> int:
        """When this value was first seen here, in milliseconds."""
        return self._known[row.at][1]

    def first_seen_since(self, moment: int) -> int:
        """How many rows were first seen at or after a moment."""
        return sum(seen_at >= moment for seen_at in self._first_seen.values())


def _cut(rows: Sequence[Row], num: int, used: Sequence[Statement], *, anchored: bool) -> Cut | None:
    """The first `num` of the rows that some statements hold; None if the cursor behind them is not known."""
    fetched_at, checked_at = (min(getattr(said, time) for said in used) for time in ("fetched_at", "checked_at"))
    last = used[-1]
    if len(rows) > num or (len(rows) == num and last.lo != BOTTOM):
        return Cut(tuple(rows[:num]), str(rows[num - 1].at), fetched_at, checked_at) if anchored else None
    # The last row's page said itself that nothing follows, or an empty page behind it did.
    ends_here = not rows or bool(last.rows)
    return Cut(tuple(rows), None if ends_here else str(rows[-1].at), fetched_at, checked_at)


def _as_of(said: Statement, moment: int) -> Statement:
    """A statement as it stood at a moment after it was made."""
    superseded_at = said.superseded_at if said.superseded_at <= moment else 0
    return replace(said, checked_at=min(said.checked_at, moment), superseded_at=superseded_at)


@dataclass(frozen=True, slots=True)
class Walk:
    """What a walk found: the rows, newest first, and the ledger after it."""

    rows: tuple[Row, ...]
    ledger: Ledger


class _GenerationChanged(Exception):
    """Rows were published or revised under a walk, which has to begin again."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger


def walk(ledger: Ledger, since: float, down_to: float, now: float) -> Plan[Walk]:
    """All rows down to `down_to`, newest first, from a head that was checked at or after `since`.

    What is recorded and holds is used; the rest is fetched. `now` is when the question was asked: after rows were
    published under the walk, the head has to be newer.
    """
    for _ in range(MAX_RESTARTS):
        head = ledger.head(since)
        if head is None:
            ledger = ledger.with_statement((yield Fetch("", 0, since)))
            head = ledger.head(0)
            if head is None:
                raise ProtocolError(
                    "the record is dated later than now: was the clock set back? Wait, or use mode refresh"
                )
        try:
            return (yield from _walk_from(head, ledger, down_to))
        except _GenerationChanged as changed:
            ledger, since = changed.ledger, max(head.checked_at, now) + 1
    raise ProtocolError("rows kept changing while they were walked; ask again in a moment")


def _walk_from(head: Statement, ledger: Ledger, down_to: float) -> Plan[Walk]:
    rows, lo, trail = list(head.rows), head.lo, head
    asked: set[str] = set()
    while lo > down_to:
        said = ledger.below(lo)
        if said is not None:
            rows += [row for row in said.rows if row.at < lo]
            lo = said.lo
            continue
        while head.is_anchored is False and (following := ledger.following(trail)) is not None:
            trail = following
        cursor, behind = (str(int(lo)), int(lo)) if head.is_anchored else (trail.next, int(trail.lo))
        if cursor is None or cursor in asked:
            raise ProtocolError(f"the cursor {cursor!r} leads in a circle: the walk would not end")
        asked.add(cursor)
        # A cursor that is not anchored belongs to this head: what was sent before it is of another generation.
        reply = yield Fetch(cursor, behind, 0 if head.is_anchored else head.checked_at)
        if reply.rows and reply.rows[0].at >= behind:
            raise _GenerationChanged(ledger)
        ledger = ledger.with_statement(reply)
        if ledger.floor > head.checked_at:  # a revision: what stands above is of before
            raise _GenerationChanged(ledger)
        if not head.is_anchored:
            trail = reply
    first = bisect_right(rows, -down_to, key=lambda row: -row.at) if down_to != BOTTOM else len(rows)
    return Walk(tuple(rows[:first]), ledger)
