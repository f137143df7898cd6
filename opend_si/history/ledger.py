"""What the recorded pages of a symbol say together: its rows, how far they reach, what can be trusted. No I/O.

Every recorded reply is a *statement*: when it was sent, these were the rows, without a gap, from its first to its
last; down to the end if it says that nothing follows. Three facts make statements last: rows come newest first, new
rows are added in front, old values can be revised. The rules, and the tests (in tests/history) that hold each:

1. A row never gets another neighbour below it: what a page says of the rows below a row stays, whatever is published. A
   head (the reply to no cursor) speaks of what is above its first row until a publication only. A page behind a cursor
   holds from right below the row before it, where that row is known (`after`).
   (test_rows_that_are_published_under_a_walk_are_neither_missed_nor_doubled)
2. Statements join where they touch or overlap. Those that are trusted agree on every row that two of them hold: that is
   seen to when a reply is recorded, not when the record is read. So a ledger is no more than the join.
   (test_a_walk_costs_a_request_a_page_and_new_rows_those_that_reach_a_known_one)
3. A reply that contradicts what is recorded shows that a value was revised in between. What was sent before the
   question that found it is void from then on, and with it what still was sent with the old value; a walk's own pages
   stay.
   (test_a_revision_in_the_newest_page_makes_the_run_walked_anew)
4. Where two contradict each other and were on their way at the same time, nobody knows which is the older: both are
   void.
   (test_of_two_that_contradict_and_overlap_neither_is_trusted)
5. What came before and after is told by the record's sequence, never by a clock.
   (test_every_answer_is_right_whatever_the_clock_does)
6. What is void answers for rows that nothing trusted speaks of, where OpenD cannot be asked: the last that was heard of
   them. So a question never makes the record smaller. (test_a_question_never_makes_the_record_smaller)
7. A cursor is *anchored* where a reply proves it: it is the timestamp of the reply's last row, and leads on for ever.
   Any other leads on only within its generation: from the head of now, page by page.
   (test_a_page_behind_a_cursor_of_an_earlier_newest_page_is_asked_for_again)
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Container, Iterable, Sequence
from copy import copy
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import TypeAlias

from opend_si.history.statements import BOTTOM, TOP, Cut, Statement, contradicts, is_timestamp
from opend_si.pages import Row

# Whether a statement may answer a question: how old it is, and where it comes from.
Fit: TypeAlias = Callable[[Statement], bool]


def anything(said: Statement) -> bool:
    """Every statement will do."""
    del said
    return True


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a reply makes void: of the statements that were trusted, and whether itself."""

    void: tuple[Statement, ...] = ()
    is_void: bool = False


_NOTHING_VOID = Judgement()


class Ledger:
    """What the statements of a symbol say together. It is not changed once it is made."""

    def __init__(self, statements: Iterable[Statement] = (), *, is_whole: bool = True, epoch: int = 0) -> None:
        """Not `is_whole`: something was lost that may have taken back what is left, so nothing is joined.

        `epoch` is the last event that made something void which is not there any more.
        """
        self.statements = tuple(statements)
        self.is_whole = is_whole
        trusted = [said for said in self.statements if said.is_trusted] if is_whole else []
        # In the order in which a walk down meets them, and for each the one so far that goes furthest down.
        self._trusted = sorted(trusted, key=_on_the_way_down)
        self._reaches = [-said.reach for said in self._trusted]
        self._furthest = list(accumulate(self._trusted, _further))
        self._current = {(said.next_key, said.num): said for said in self.statements if said.is_current}
        heads = [said for said in trusted if said.is_head and said.is_current]
        self._head = max(heads, key=_newest, default=None)
        styles = [said for said in self.statements if said.is_anchored is not None]
        self._style = max(styles, key=lambda said: said.first_seq, default=None)
        self.is_anchored = None if self._style is None else self._style.is_anchored
        # The last event that made something void: what stood together before it may not do so after it.
        self.epoch = max((said.void_seq for said in self.statements), default=0)
        self.epoch = max(self.epoch, epoch)
        self.seq = max((max(said.checked_seq, said.void_seq) for said in self.statements), default=0)

    # Growing ----------------------------------------------------------------------------------------------------------

    def judge(self, said: Statement, asked_seq: int, sent_seq: int) -> Judgement:
        """What a reply makes void.

        The question began when the record stood at `asked_seq`, and the request was sent when it stood at `sent_seq`.
        """
        contradicted, is_void = [], False
        for other in self._overlapping(said):
            if not contradicts(said, other):
                continue
            if other.checked_seq > sent_seq:  # they were on their way at the same time
                if not contradicts(other, said):
                    continue  # that one is the newer, and was published under
                is_void = True
            contradicted.append(other.checked_seq)
        if not contradicted:
            return Judgement()
        last = max(asked_seq, *contradicted)
        return Judgement(tuple(other for other in self._trusted if other.checked_seq <= last), is_void)

    def _overlapping(self, said: Statement) -> list[Statement]:
        """The trusted statements that may speak of the same rows; of a long walk, a few."""
        high = TOP if said.is_head else said.hi
        begin = bisect_left(self._furthest, True, key=lambda other: other.lo < high)
        return self._trusted[begin : bisect_right(self._reaches, -said.lo)]

    def grown(self, said: Statement, judgement: Judgement) -> Ledger:
        """The ledger after one more reply, whose event is that of its last check."""
        if judgement == _NOTHING_VOID and (said.next_key, said.num) not in self._current:
            return self._joined(said)
        seq, void = said.checked_seq, set(map(id, judgement.void))
        kept = []
        for other in self.statements:
            if other.is_current and (other.next_key, other.num) == (said.next_key, said.num):
                if other.first_seq == said.first_seq:
                    continue
                other = replace(other, superseded_seq=seq, void_seq=seq if id(other) in void else other.void_seq)
            elif id(other) in void:
                other = replace(other, void_seq=seq)
            kept.append(other)
        own = replace(said, void_seq=seq) if judgement.is_void else said
        return Ledger((*kept, own), is_whole=self.is_whole, epoch=seq if void or judgement.is_void else self.epoch)

    def without(self, gone: Container[int]) -> Ledger:
        """It without some of its statements, named by the events that brought them."""
        stays = tuple(said for said in self.statements if said.first_seq not in gone)
        return self if len(stays) == len(self.statements) else Ledger(stays, is_whole=self.is_whole, epoch=self.epoch)

    def _joined(self, said: Statement) -> Ledger:
        """It with the answer to a new question that nothing contradicts: what a walk does page by page."""
        ledger = copy(self)
        ledger.statements = (*self.statements, said)
        ledger._current = {**self._current, (said.next_key, said.num): said} if said.is_current else self._current
        ledger.seq = max(self.seq, said.checked_seq, said.void_seq)
        ledger.epoch = max(self.epoch, said.void_seq)
        if said.is_anchored is not None and (self._style is None or said.first_seq > self._style.first_seq):
            ledger._style, ledger.is_anchored = said, said.is_anchored
        if self.is_whole and said.is_trusted:
            place = bisect_right(self._trusted, _on_the_way_down(said), key=_on_the_way_down)
            ledger._trusted = [*self._trusted[:place], said, *self._trusted[place:]]
            ledger._reaches = [*self._reaches[:place], -said.reach, *self._reaches[place:]]
            above = self._furthest[:place]
            ledger._furthest = [*above[:-1], *accumulate((*above[-1:], *ledger._trusted[place:]), _further)]
            if said.is_head and said.is_current and (self._head is None or _newest(said) > _newest(self._head)):
                ledger._head = said
        return ledger

    # Pages ------------------------------------------------------------------------------------------------------------

    def recorded(self, next_key: str, num: int) -> Statement | None:
        """The newest reply to a question, trusted or not."""
        return self._current.get((next_key, num))

    def page(self, next_key: str, num: int, fit: Fit, after: int = 0) -> Statement | Cut | None:
        """The answer to a question that OpenD would give, if what is fit tells it.

        `after`: in a walk, the timestamp of the row before the page.
        """
        exact = self.recorded(next_key, num)
        if exact is not None and not (self.is_whole and exact.is_trusted and fit(exact)):
            exact = None
        head = self._head
        if next_key == "":
            # A page of another size may have shown newer rows.
            is_newest = exact is not None and head is not None and exact.first == head.first
            return exact if is_newest else self.cut(TOP, num, fit)
        if self.is_anchored is not False and is_timestamp(next_key):
            if exact is not None and self.is_anchored:
                return exact
            if (cut := self.cut(int(next_key), num, fit)) is not None:
                return cut
        # Such a cursor leads to other rows once rows were published: the newest page then is another.
        if exact is None or (head is not None and exact.checked_seq < head.first_seq):
            return None
        place = after or self.row_before(next_key)
        return exact if not place or exact.reach == place or exact.first >= place else None

    def beginning(self, next_key: str, num: int, fit: Fit, after: int = 0) -> Statement | Cut | None:
        """A page as recorded, or the beginning of a longer one: nothing is joined, and nothing else is trusted."""

        def is_fit(said: Statement) -> bool:
            return fit(said) and (not after or said.reach == after)

        exact = self.recorded(next_key, num)
        if exact is not None and is_fit(exact):
            return exact
        for said in sorted(self._current.values(), key=lambda said: -said.checked_seq):
            is_long_enough = len(said.rows) >= num or said.next is None
            if said.next_key == next_key and is_long_enough and is_fit(said):
                return _cut(said.rows, num, [said], anchored=said.is_anchored)
        return None

    def cut(self, top: float, num: int, fit: Fit) -> Cut | None:
        """The page of `num` rows below `top`, if what is fit holds all of it.

        A page that does not reach the end is known where cursors are anchored: its own is then its last row's
        timestamp. So it is where no cursor has come yet and the end is held: whatever the style, the rest is cut from
        the same rows.
        """
        if self.is_anchored is False or (top != TOP and not self._has_row(top)):
            return None  # no cursor that OpenD has sent: what it would answer is not known
        said = self.head(fit) if top == TOP else self.below(top, fit)
        rows: list[Row] = []
        used: list[Statement] = []
        while said is not None:
            used.append(said)
            rows += said.below(rows[-1].at if rows else top)
            if len(rows) >= num or said.lo == BOTTOM:
                return _cut(rows, num, used, anchored=self.is_anchored)
            said = self.below(said.lo, fit)
        return None

    def chunk(self, top: float) -> Cut | None:
        """Rows right below a row, by one statement, with the cursor that was sent with them."""
        said = self.below(top)
        return None if said is None else Cut(said.below(top), said.next, said.fetched_at, said.checked_at, said.attrs)

    def row_before(self, next_key: str) -> int:
        """The timestamp of the row behind which a cursor leads on; 0 if it is not known."""
        if self.is_anchored is not False and is_timestamp(next_key) and self._has_row(int(next_key)):
            return int(next_key)
        head = self._head
        if self.is_anchored or head is None:
            return 0
        before = (said for said in self._trusted if said.next == next_key and said.is_current and said.rows)
        newest = max(before, key=lambda said: said.checked_seq, default=None)
        return int(newest.lo) if newest is not None and newest.checked_seq >= head.first_seq else 0

    def _has_row(self, at: float) -> bool:
        """Whether a trusted statement holds a row of this timestamp."""
        return any(said.lo <= at <= said.first and said.between(at, at + 1) for said in self._trusted)

    # Walks ------------------------------------------------------------------------------------------------------------

    def head(self, fit: Fit = anything) -> Statement | None:
        """The newest head, if it is fit."""
        return self._head if self._head is not None and fit(self._head) else None

    def below(self, lo: float, fit: Fit = anything) -> Statement | None:
        """The statement that goes on below `lo`, and furthest down."""
        place = bisect_right(self._reaches, -lo)
        if not place or not self._furthest[place - 1].lo < lo:
            return None
        if fit(self._furthest[place - 1]):
            return self._furthest[place - 1]
        onward = (said for said in self._trusted[:place] if said.lo < lo and fit(said))
        return min(onward, key=lambda said: said.lo, default=None)

    def rows_down_to(self, top: Statement, down_to: float) -> tuple[Row, ...]:
        """The rows from the first of a statement on, as far as they are held without a gap, or down to a timestamp."""
        rows, lo = list(top.rows), top.lo
        while lo > down_to and (said := self.below(lo)) is not None:
            rows += said.below(lo)
            lo = said.lo
        first = bisect_right(rows, -down_to, key=lambda row: -row.at) if down_to != BOTTOM else len(rows)
        return tuple(rows[:first])

    def reaches(self, top: Statement, down_to: float) -> bool:
        """Whether the rows from a statement on are held without a gap down to a timestamp."""
        lo = top.lo
        while lo > down_to and (said := self.below(lo)) is not None:
            lo = said.lo
        return lo <= down_to

    def holds(self, said: Statement) -> bool:
        """Whether it is a statement of this ledger, or others hold its rows."""
        is_here = any(other.first_seq == said.first_seq for other in self.statements)
        return is_here or all(self._has_row(row.at) for row in said.rows)

    def end_of_generation(self, said: Statement) -> Statement:
        """The last of the pages that were walked one behind the other from `said` on, while nothing was published."""
        while (following := self._following(said)) is not None:
            said = following
        return said

    def _following(self, said: Statement) -> Statement | None:
        for other in self._trusted:
            is_next = other.next_key == said.next and other.lo < other.reach == other.after == said.lo
            if is_next and other.is_current and other.checked_seq >= said.first_seq:
                return other
        return None

    def frontier(self, top: float, fit: Fit) -> float:
        """Down to where the rows below `top` are held without a gap by what is fit."""
        lo, said = top, self.head(fit) if top == TOP else self.below(top, fit)
        while said is not None and said.lo != BOTTOM:
            lo, said = said.lo, self.below(said.lo, fit)
        return lo

    def last_heard(self, down_to: float) -> tuple[Row, ...] | None:
        """The rows down to a timestamp by what was heard last of each, void or not; None where there is a gap.

        What is void is laid down in the order in which it was last checked, and what is trusted on top of it. They
        begin at the newest head from which no gap leads down: newer pages may stand apart.
        """
        if not self.is_whole:
            return None
        void = sorted((said for said in self.statements if not said.is_trusted), key=lambda said: said.checked_seq)
        rows: dict[int, Row] = {}
        for said in (*void, *self._trusted):
            is_top = said.is_head and said.is_current and (not said.is_trusted or said is self._head)
            high = TOP if is_top else said.hi
            for at in [at for at in rows if said.lo <= at < high]:
                del rows[at]
            rows.update((row.at, row) for row in said.rows)
        top, lo = BOTTOM, TOP
        is_headed = False
        for said in sorted((*void, *self._trusted), key=lambda said: (-said.reach, said.lo)):
            if said.reach < lo:  # there is a gap above it
                if is_headed and lo <= down_to:
                    break
                top, lo, is_headed = BOTTOM, TOP, False
            if said.is_head and not is_headed:
                top, is_headed = said.first, True
            lo = min(lo, said.lo)
        if not is_headed or lo > down_to:
            return None
        return tuple(rows[at] for at in sorted(rows, reverse=True) if down_to <= at <= top)

    # What is held -----------------------------------------------------------------------------------------------------

    def joined_down_to(self) -> float:
        """Down to where rows are held without a gap from the newest head on; TOP without one."""
        lo, said = TOP, self.head()
        while said is not None and lo != BOTTOM:
            lo, said = said.lo, self.below(said.lo)
        return lo

    def may_be_needless(self, said: Statement) -> list[Statement]:
        """The statements that may not be needed any more after a reply: what is superseded, what speaks of its rows.

        In the order in which they are to be looked at: each that goes may make another one needed.
        """
        superseded = [other for other in self.statements if not other.is_current]
        touched = [other for other in self.statements if other.is_current and _touch(other, said)]
        return [
            *sorted(superseded, key=lambda other: -other.first_seq),
            *sorted(touched, key=lambda other: other.checked_seq),
        ]

    def is_needed(self, said: Statement) -> bool:
        """Whether an answer of now needs a statement.

        It does not where the others answer the same question. What is trusted stays until they were checked later, for
        nothing is to become less fresh by it; so does a newest page. What was superseded is asked for no more: it is
        needed where others do not hold all its rows without a gap.
        """
        since = said.checked_seq if said.is_current and said.is_trusted else 0

        def is_other(other: Statement) -> bool:
            return other is not said and other.checked_seq > since

        if said.is_current:
            if not self.is_anchored or (said.is_head and said.is_trusted):
                return True
            if not said.is_head and not is_timestamp(said.next_key):
                return True
            return self.cut(TOP if said.is_head else int(said.next_key), said.num, is_other) is None
        if said.is_head and said.first < self.joined_down_to():
            return True  # newer pages stand apart: a history of what it begins would have no head
        above = self._trusted[: bisect_right(self._reaches, -said.reach)]
        lo = min((other.lo for other in above if other.hi >= said.hi and is_other(other)), default=TOP)
        while said.lo < lo < TOP and (following := self.below(lo, is_other)) is not None:
            lo = following.lo
        return lo > said.lo

    def known(self) -> dict[int, Row]:
        """Every row that is recorded, as it was last heard."""
        rows: dict[int, Row] = {}
        for said in sorted(self.statements, key=lambda said: said.checked_seq):
            rows.update((row.at, row) for row in said.rows)
        return rows

    def count_rows(self) -> int:
        """How many different rows are recorded."""
        if len(self._trusted) < len(self.statements):
            return len({row.at for said in self.statements for row in said.rows})
        count, lo = 0, TOP
        for said in self._trusted:
            count += len(said.below(lo))
            lo = min(lo, said.rows[-1].at) if said.rows else lo
        return count


def judged(statements: Iterable[Statement]) -> list[Statement]:
    """Statements of which nobody has judged yet which are void: as if they were recorded one after the other."""
    told = [(said.first_seq, said) for said in statements]
    told += [(said.checked_seq, said) for _, said in told if said.checked_seq > said.first_seq]
    known: dict[int, Statement] = {}
    for seq, said in sorted(told, key=lambda entry: entry[0]):
        others = Ledger(other for first_seq, other in known.items() if first_seq != said.first_seq)
        now = replace(said, checked_seq=seq)
        judgement = others.judge(now, seq - 1, seq - 1)
        known.update((other.first_seq, replace(other, void_seq=seq)) for other in judgement.void)
        known[said.first_seq] = now
    return list(known.values())


def _on_the_way_down(said: Statement) -> tuple[float, float]:
    """Sorts statements as a walk down meets them."""
    return -said.reach, said.lo


def _further(one: Statement, other: Statement) -> Statement:
    """The one of two that goes further down; the first where both go as far."""
    return other if other.lo < one.lo else one


def _newest(said: Statement) -> tuple[float, int]:
    """Sorts heads: the last is the newest."""
    return said.first, said.checked_seq


def _touch(one: Statement, other: Statement) -> bool:
    """Whether two different statements speak of the same rows, or of rows right beside each other."""
    return one.first_seq != other.first_seq and one.lo <= other.hi and other.lo <= one.hi


def _cut(rows: Sequence[Row], num: int, used: Sequence[Statement], *, anchored: bool | None) -> Cut | None:
    """The first `num` of the rows that some statements hold; None if the cursor behind them is not known."""
    last, newest = used[-1], max(used, key=lambda said: said.checked_seq)
    oldest = min(used, key=lambda said: said.checked_seq)
    times = min(said.fetched_at for said in used), oldest.checked_at
    if len(rows) > num or (len(rows) == num and last.lo != BOTTOM):
        is_known = anchored or (anchored is None and last.lo == BOTTOM)
        return Cut(tuple(rows[:num]), str(rows[num - 1].at), *times, newest.attrs) if is_known else None
    # The last row's page said itself that nothing follows, or an empty page behind it did.
    ends_here = not rows or bool(last.rows)
    return Cut(tuple(rows), None if ends_here else str(rows[-1].at), *times, newest.attrs)
