"""What the recorded pages of a symbol say together: its rows, how far they reach, and what of it can be trusted. No I/O.

Every recorded reply is a *statement*: at the moment it was checked, these were the rows, without a gap, from its first
to its last; down to the end if it says that nothing follows. Three facts make statements last: rows come newest first,
new rows are added in front, old values can be revised. So

- a row never gets another neighbour below it: what a page says of the rows below a row stays, whatever is published;
- of what stands above its first row a head (the reply to no cursor) speaks until a publication only. A page behind a
  cursor holds from right below the row before it, where that row is known (`after`);
- two statements join where they touch or overlap, and every row they share has to be equal. Where they disagree, a value
  was revised: what was said before the question that found it is not trusted any more, and that run is walked anew.

A cursor is *anchored* where a reply proves it: it is the timestamp of the reply's last row, and leads on for ever. Any
other leads on only within its generation: from the head of now, page by page.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Sequence
from dataclasses import replace

from opend_si.history.statements import BOTTOM, TOP, Cut, Statement, is_timestamp
from opend_si.history.vintages import Vintages
from opend_si.pages import Row


class Ledger:
    """All that the recorded replies say about one symbol. It is not changed once it is made."""

    def __init__(self, statements: Iterable[Statement] = (), floor: int = 0) -> None:
        """`floor`: what was last checked before this moment is not trusted, whatever else speaks for it."""
        self._statements = sorted(statements, key=lambda said: said.checked_at)
        self._least = self.floor = floor
        # What the trusted statements say together: each row, and when it was last checked; and what they cover.
        self._rows: dict[int, tuple[Row, int]] = {}
        self._ats: list[int] = []
        self._covered: list[tuple[float, float, int]] = []
        self._vintages: Vintages | None = None
        # Those that contradict each other: without them, what a revision made void would be trusted again.
        self._evidence: list[Statement] = []
        for said in self._statements:
            self._take(said)
        self._settle()

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
        if kept and kept[-1].checked_at > statement.checked_at:
            return Ledger([*kept, statement], self._least)
        grown = Ledger(floor=self._least)
        grown._statements = [*kept, statement]
        grown.floor = self.floor
        grown._rows, grown._ats, grown._covered = self._rows.copy(), self._ats.copy(), self._covered.copy()
        grown._evidence = self._evidence.copy()
        grown._take(statement)
        grown._settle()
        return grown

    def _take(self, said: Statement) -> None:
        """Add what one more statement says, unless it is not trusted; distrust what it contradicts."""
        older = self._contradicted(said) if said.checked_at >= self.floor else []
        if older:
            self._evidence += [said, *(other for other in self._statements if other.checked_at in older)]
            # The revision was made before `said` was sent. Nothing shows that what was checked before that walk began is
            # of after it, and what still was checked with the old value is of before it.
            self.floor = max(said.asked_at, *older) + 1
            self._rows = {at: seen for at, seen in self._rows.items() if seen[1] >= self.floor}
            self._ats = sorted(self._rows)
            self._covered = [place for place in self._covered if place[2] >= self.floor]
        if said.checked_at < self.floor:
            return
        for row in said.rows:
            if row.at not in self._rows:
                insort(self._ats, row.at)
            self._rows[row.at] = row, said.checked_at
        self._covered.append((said.lo, said.reach, said.checked_at))

    def _contradicted(self, said: Statement) -> list[int]:
        """When the earlier statements that `said` contradicts were checked."""
        conflicts, known = [], 0
        for row in said.rows:
            seen = self._rows.get(row.at)
            if seen is None:  # a row that appeared among known ones?
                conflicts += [checked_at for low, high, checked_at in self._covered if low <= row.at < high]
                continue
            known += 1
            if seen[0].values != row.values:
                conflicts.append(seen[1])
        # Known rows that are gone from where it speaks?
        low, ats = bisect_left(self._ats, said.lo), self._ats
        high = len(ats) if said.is_head else max(bisect_left(ats, said.reach), bisect_right(ats, _first(said)))
        if high - low > known:
            own = {row.at for row in said.rows}
            conflicts += [self._rows[at][1] for at in ats[low:high] if at not in own]
        return conflicts

    def _settle(self) -> None:
        self._trusted = [said for said in self._statements if said.checked_at >= self.floor]
        self._current = {(said.next_key, said.num): said for said in self._statements if said.is_current}
        self._head = next((said for said in reversed(self._trusted) if said.is_head and said.is_current), None)
        judged = (said.is_anchored for said in reversed(self._statements))
        self.is_anchored = next((style for style in judged if style is not None), None)

    # Pages ------------------------------------------------------------------------------------------------------------

    def recorded(self, next_key: str, num: int) -> Statement | None:
        """The newest reply to a question, trusted or not."""
        return self._current.get((next_key, num))

    def page(self, next_key: str, num: int, since: float, after: int = 0) -> Statement | Cut | None:
        """The answer to a question that OpenD would give, if what was checked at or after `since` tells it.

        `after`: in a walk, the timestamp of the row before the page.
        """
        exact = self.recorded(next_key, num)
        if exact is not None and exact.checked_at < max(since, self.floor):
            exact = None
        head = self._head
        if next_key == "":
            # A page of another size may have shown newer rows.
            is_newest = exact is not None and head is not None and exact.rows[:1] == head.rows[:1]
            return exact if is_newest else self.cut(TOP, num, since)
        if self.is_anchored and is_timestamp(next_key):
            return exact or self.cut(int(next_key), num, since)
        # Such a cursor leads to other rows once rows were published: the newest page then is another.
        if exact is None or (head is not None and exact.checked_at < head.fetched_at):
            return None
        return exact if not after or exact.reach == after else None

    def beginning(self, next_key: str, num: int, since: float, after: int = 0) -> Statement | Cut | None:
        """A page as recorded, or the beginning of a longer one: nothing is joined, so nothing else has to be trusted."""

        def is_fit(said: Statement) -> bool:
            return said.checked_at >= since and (not after or said.reach == after)

        exact = self.recorded(next_key, num)
        if exact is not None and is_fit(exact):
            return exact
        for said in reversed(self._statements):
            is_long_enough = len(said.rows) >= num or said.next is None
            if said.next_key == next_key and said.is_current and is_long_enough and is_fit(said):
                return _cut(said.rows, num, [said], anchored=said.is_anchored is True)
        return None

    def cut(self, top: float, num: int, since: float) -> Cut | None:
        """The page of `num` rows below `top`, if statements checked at or after `since` hold all of it.

        A page that does not reach the end is only known where cursors are anchored: its own is then its last row's
        timestamp.
        """
        anchored = self.is_anchored is True
        if top != TOP and not (anchored and top in self._rows):
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

    def chunk(self, top: float) -> Cut | None:
        """Rows right below a row, by one statement, with the cursor that was sent with them."""
        said = self.below(top)
        if said is None:
            return None
        rows = tuple(row for row in said.rows if row.at < top)
        return Cut(rows, said.next, said.fetched_at, said.checked_at, said.attrs)

    def row_before(self, next_key: str) -> int:
        """The timestamp of the row behind which a cursor leads on; 0 if it is not known."""
        if self.is_anchored and is_timestamp(next_key):
            return int(next_key) if int(next_key) in self._rows else 0
        head = self._head
        if head is None:
            return 0
        before = (said for said in reversed(self._trusted) if said.next == next_key and said.is_current)
        return next((int(said.lo) for said in before if said.checked_at >= head.fetched_at), 0)

    # Walks ------------------------------------------------------------------------------------------------------------

    def head(self, since: float) -> Statement | None:
        """The newest head, if it was checked at or after `since`."""
        return self._head if self._head is not None and self._head.checked_at >= since else None

    def below(self, lo: float, since: float = 0) -> Statement | None:
        """A statement that goes on below `lo`: the one that was checked last."""
        for said in reversed(self._trusted):
            if said.checked_at < since:
                return None
            if said.lo < lo <= said.reach:
                return said
        return None

    def end_of_generation(self, said: Statement) -> Statement:
        """The last of the pages that were walked one behind the other from `said` on, while nothing was published."""
        while (following := self._following(said)) is not None:
            said = following
        return said

    def _following(self, said: Statement) -> Statement | None:
        for other in reversed(self._trusted):
            is_next = other.next_key == said.next and other.lo < other.reach == other.after == said.lo
            if is_next and other.is_current and other.checked_at >= said.fetched_at:
                return other
        return None

    def frontier(self, top: float, since: float) -> float:
        """Down to where the rows below `top` are held without a gap by statements checked at or after `since`."""
        lo, said = top, self.head(since) if top == TOP else self.below(top, since)
        while said is not None and said.lo != BOTTOM:
            lo, said = said.lo, self.below(said.lo, since)
        return lo

    def needed(self, before: int) -> list[Statement]:
        """Of the statements that were superseded before a moment, those without which the ledger would say something else.

        They show that a revision made others void, or they join what would have a gap without them: rows that were pushed
        off the head are often held by many versions of it and by nothing else; then as few stay as will do.
        """

        def is_old(said: Statement) -> bool:
            return 0 < said.superseded_at < before

        found, lo = self._evidence.copy(), TOP
        while lo > BOTTOM:
            onward = [said for said in self._trusted if said.lo < lo <= said.reach]
            if not onward:  # the next piece below, if there is one
                lower = [said for said in self._trusted if said.reach < lo]
                top = max((said.reach for said in lower), default=BOTTOM)
                onward = [said for said in lower if said.reach == top]
                if not onward:
                    break
            furthest = min(onward, key=lambda said: (is_old(said), said.lo))
            found.append(furthest)
            lo = furthest.lo
        return [said for said in found if is_old(said)]

    # Time -------------------------------------------------------------------------------------------------------------

    def vintages(self, also: Ledger | None = None, as_of: int | None = None) -> Vintages:
        """When each value was first seen, and what was revised, by the replies (another ledger's too) up to `as_of`."""
        if as_of is None and also in (None, self):
            if self._vintages is None:
                self._vintages = Vintages(self._statements)
            return self._vintages
        said = self._statements if also is None else {*self._statements, *also._statements}
        return Vintages(said if as_of is None else _as_of(said, as_of))

    def up_to(self, as_of: int) -> Ledger:
        """The ledger as it stood at a moment: a page that was the same before and after it was the same at it."""
        return Ledger(_as_of(self._statements, as_of), self._least)


def _first(said: Statement) -> float:
    return said.rows[0].at if said.rows else BOTTOM


def _cut(rows: Sequence[Row], num: int, used: Sequence[Statement], *, anchored: bool) -> Cut | None:
    """The first `num` of the rows that some statements hold; None if the cursor behind them is not known."""
    fetched_at, checked_at = (min(getattr(said, time) for said in used) for time in ("fetched_at", "checked_at"))
    last, attrs = used[-1], max(used, key=lambda said: said.checked_at).attrs
    if len(rows) > num or (len(rows) == num and last.lo != BOTTOM):
        return Cut(tuple(rows[:num]), str(rows[num - 1].at), fetched_at, checked_at, attrs) if anchored else None
    # The last row's page said itself that nothing follows, or an empty page behind it did.
    ends_here = not rows or bool(last.rows)
    return Cut(tuple(rows), None if ends_here else str(rows[-1].at), fetched_at, checked_at, attrs)


def _as_of(statements: Iterable[Statement], moment: int) -> Iterable[Statement]:
    """What was said up to a moment, as it stood then."""
    return [
        replace(
            said,
            checked_at=min(said.checked_at, moment),
            superseded_at=said.superseded_at if said.superseded_at <= moment else 0,
        )
        for said in statements
        if said.fetched_at <= moment
    ]
