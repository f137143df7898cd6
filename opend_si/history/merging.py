"""What two records heard of one symbol, each by itself, made into what one record would hold. No I/O.

Each record numbers its events by itself, and no clock is common to them. So the replies of both are put in one order,
and ruled on one after the other, as if one record had heard them:

1. The order of each record stays. A reply that both have, as one had it from the other, is one event: what one of them
   heard before it comes before all that the other heard after it.
2. Elsewhere the moment decides. But of two newest pages the one with newer rows came later, whatever clocks say: rows
   are added in front.
3. What a record had found void is void, and so is what the other heard before it.
4. A reply that contradicts what only the other record heard shows that a value was revised: all of before that the
   other alone heard is void. Where the two came within a day of each other, clocks do not tell which is the older one:
   all of before is void, and so is what came within a day after them. OpenD is asked again for what is void; where it
   cannot be asked, the last that was heard answers.
5. A value was first seen when the first of the two saw it, unless another value was seen in between.

All of it rests on what was heard, not on whose record it is: so it does not matter which is joined into which.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import accumulate
from typing import Any, NamedTuple, TypeAlias

from opend_si.cache.reading import Whole
from opend_si.cache.runs import pack_runs, unpack_runs, write_runs
from opend_si.cache.versions import Event, PastVersion, Seal, Version, Versions
from opend_si.errors import ProtocolError
from opend_si.history.ledger import Judgement, Ledger
from opend_si.history.statements import BOTTOM, TOP, Statement, contradicts
from opend_si.history.symbol import SymbolRecord, Symbols, make_statement
from opend_si.pages import Content, PageKey, Row

# So far apart may two clocks be, in milliseconds: a time zone that was set wrong is hours.
_APART = 86_400_000

# What tells a reply in any record: its page, its bytes, its moment.
Mark: TypeAlias = tuple[Any, ...]


class _Heard(NamedTuple):
    """An event of a record, and what came with it.

    Attributes:
        version: What came; None where it is not there any more, and others tell of it that they repeat its rows.
        newest: The timestamp of the newest row, of a newest page.

    """

    seq: int
    at: int
    version: Version | None = None
    newest: float = BOTTOM

    @property
    def mark(self) -> Mark:
        return () if self.version is None else (self.version.identity, self.version.body, self.at)


# The event of each of the two records that is one of the merged: of one of them, or of both.
_Pair: TypeAlias = tuple[_Heard | None, _Heard | None]


class _Side:
    """What one record heard: its events in their order, and which of them made what void."""

    def __init__(self, whole: Whole, rows_of: Mapping[tuple[Any, ...], tuple[Row, ...]]) -> None:
        self.versions = _judged(whole)
        found: dict[int, _Heard] = {}
        for row in self.versions:
            found.update(
                (seq, _Heard(seq, at)) for _, seq, at in unpack_runs(row.seen, (row.first_seq, row.fetched_at))
            )
        for row in self.versions:
            rows = rows_of[row.identity, row.body]
            newest = rows[0].at if rows and not row.next_key else BOTTOM
            found[row.first_seq] = _Heard(row.first_seq, row.fetched_at, row, newest)
            if row.checked_seq > row.first_seq:
                found[row.checked_seq] = _Heard(row.checked_seq, row.checked_at, row, newest)
        self.events = [found[seq] for seq in sorted(found)]
        self.places = {heard.mark: place for place, heard in enumerate(self.events) if heard.version is not None}
        # The newest row of the newest pages that come at a place or after it: the least of them.
        heads = (heard.newest if heard.newest != BOTTOM else TOP for heard in reversed(self.events))
        self._oldest_heads = list(accumulate(heads, min))[::-1]
        # What is void, by the event that made it so; and where it stands in the merged record.
        self.voids = sorted((row.void_seq, row.first_seq) for row in self.versions if row.void_seq > row.first_seq)
        self.merged: dict[int, int] = {}

    def awaits(self, heard: _Heard, place: int) -> bool:
        """Whether an event of the other record comes here, too, at a place or after it."""
        return heard.version is not None and self.places.get(heard.mark, -1) >= place

    def has_older_head(self, heard: _Heard, place: int) -> bool:
        """Whether a newest page comes, at a place or after it, that lacks rows of this one."""
        return self._oldest_heads[place] < heard.newest

    def taken_back(self, seq: int) -> Iterator[int]:
        """What was found void up to an event, by its event in the merged record; each is given once."""
        while self.voids and self.voids[0][0] <= seq:
            _, first_seq = self.voids.pop(0)
            if first_seq in self.merged:
                yield self.merged[first_seq]


def merge(ours: Whole, theirs: Whole) -> Whole:
    """What one record would hold; its events are numbered from 1 on.

    Neither has lost anything, and all of both is of one origin. When a request was sent is known of ours alone.
    """
    replies = {(row.identity, row.body): row for row in _versions(ours, theirs)}
    contents = {name: Content.read(PageKey.of_identity(row.identity), row.body) for name, row in replies.items()}
    rows_of = {name: _rows(row, contents[name]) for name, row in replies.items()}
    sides = _Side(ours, rows_of), _Side(theirs, rows_of)
    order = list(_in_order(*sides))
    seen = _first_seen(sides, order, rows_of)
    state = SymbolRecord({}, Ledger(), None, is_whole=True)
    judge = _Judge(sides)
    numbers: Counter[tuple[Any, ...]] = Counter()
    past: list[PastVersion] = []
    summary = ""
    for seq, pair in enumerate(order, 1):
        heard = [(which, one) for which, one in enumerate(pair) if one is not None and one.version is not None]
        if not heard:
            continue
        reply = _reply(seq, pair)
        name = reply.identity, reply.body
        reply = reply._replace(version=numbers[reply.identity] + 1)
        key = PageKey.of_identity(reply.identity)
        ruling = state.ruled(key, reply, contents[name], partial(judge.judge, heard))
        kept = ruling.version
        if ruling.is_new:
            numbers[reply.identity] += 1
            kept = kept._replace(seen=seen.of(rows_of[name], seq, reply.fetched_at))
            ruling = ruling._replace(version=kept)
        state = state.grown(key, ruling, contents[name], None)
        past += [PastVersion(row, Event(seq, reply.fetched_at)) for row in ruling.leaving]
        summary = ruling.summary
        for which, one in heard:
            assert one.version is not None
            sides[which].merged[one.version.first_seq] = kept.first_seq
            judge.heard_by[kept.first_seq].add(which)
    last = max(one.at for pair in order for one in pair if one is not None)
    return Whole(state.versions, tuple(past), Seal(len(order), last, 0, 1, b"", summary))


class _Judge:
    """Says what a reply makes void: what its own record found so, and what it contradicts of the other's."""

    def __init__(self, sides: tuple[_Side, _Side]) -> None:
        self._sides = sides
        # By which records each version was heard, by its event in the merged record.
        self.heard_by: defaultdict[int, set[int]] = defaultdict(set)
        # Up to this moment nobody knows what came before a revision, and what after it.
        self._unsure_until = -1

    def judge(self, heard: Sequence[tuple[int, _Heard]], ledger: Ledger, said: Statement) -> Judgement:
        """What a reply makes void that was `heard` by one of the two records, or by both."""
        told, at = {which for which, _ in heard}, heard[0][1].at
        trusted = [other for other in ledger.statements if other.is_trusted and other.first_seq != said.first_seq]
        void = {first_seq for which, one in heard for first_seq in self._sides[which].taken_back(one.seq)}
        is_void = any(one.version is not None and one.version.void_seq == one.seq for _, one in heard)
        others = [other for other in trusted if not self.heard_by[other.first_seq] & told]
        against = [other for other in others if contradicts(said, other)]
        at_once = [other for other in against if abs(at - other.checked_at) < _APART]
        # Of those that came at about the same time, one that it does not contradict in turn is the newer one.
        newer = {other.first_seq for other in at_once if not contradicts(other, said)}
        against = [other for other in against if other.first_seq not in newer]
        last = max((other.checked_seq for other in trusted if other.first_seq in void), default=0)
        if len(at_once) > len(newer):
            self._unsure_until = max(at, *(other.checked_at for other in at_once)) + _APART
            last = said.checked_seq
        elif against:
            last = max(last, *(other.checked_seq for other in against))
            void.update(other.first_seq for other in others)
        is_void = is_void or at < self._unsure_until
        if is_void:  # all of before is in doubt, whoever heard it
            last = said.checked_seq
        void.update(other.first_seq for other in trusted if other.checked_seq <= last)
        return Judgement(tuple(other for other in trusted if other.first_seq in void), is_void)


def _in_order(ours: _Side, theirs: _Side) -> Iterator[_Pair]:
    """The events of both in one order."""
    here = there = 0
    while here < len(ours.events) and there < len(theirs.events):
        mine, other = ours.events[here], theirs.events[there]
        if mine.mark and mine.mark == other.mark:
            here, there = here + 1, there + 1
            yield mine, other
            continue
        awaited, awaits = theirs.awaits(mine, there), ours.awaits(other, here)
        is_mine = (mine.at, mine.mark) < (other.at, other.mark)
        if awaited != awaits:
            is_mine = awaits
        elif theirs.has_older_head(mine, there) != ours.has_older_head(other, here):
            is_mine = not theirs.has_older_head(mine, there)
        if is_mine:
            here += 1
            yield mine, None
        else:
            there += 1
            yield None, other
    yield from ((mine, None) for mine in ours.events[here:])
    yield from ((None, other) for other in theirs.events[there:])


def _reply(seq: int, pair: _Pair) -> Version:
    """The reply of an event, not yet kept."""
    mine = pair[0]
    told = [one for one in pair if one is not None and one.version is not None]
    versions = [one.version for one in told if one.version is not None]
    version, at = versions[0], told[0].at
    is_last = mine is not None and mine.version is not None and mine.version.checked_seq == mine.seq
    checked = [row.checked_at for one, row in zip(told, versions, strict=True) if row.checked_seq == one.seq]
    return version._replace(
        behind=max(row.behind for row in versions),
        first_seq=seq,
        fetched_at=at,
        checked_seq=seq,
        checked_at=checked[0] if checked else at,
        superseded_seq=0,
        superseded_at=0,
        void_seq=0,
        void_at=0,
        sent=version.sent if is_last else 0,
        seen=b"",
        checksum=b"",
    )


class _Seen:
    """When each row was first seen with each of its values, as far as both records tell."""

    def __init__(self, points: Mapping[int, list[tuple[int, int, tuple[Any, ...]]]]) -> None:
        """`points`: for each row, in order, the events at which it had a value: number, moment, value."""
        self._seqs, self._begun = {}, {}
        for row_at, told in points.items():
            begun: list[tuple[int, int]] = []
            for place, (seq, at, values) in enumerate(told):
                begun.append(begun[-1] if place and told[place - 1][2] == values else (seq, at))
            self._seqs[row_at], self._begun[row_at] = [seq for seq, _, _ in told], begun

    def of(self, rows: Sequence[Row], seq: int, at: int) -> bytes:
        """When the rows of a version that came with an event were first seen, as the record keeps it."""
        runs = write_runs([self._begun[row.at][bisect_left(self._seqs[row.at], seq)] for row in rows])
        return pack_runs(runs, (seq, at))


def _first_seen(
    sides: tuple[_Side, _Side], order: Sequence[_Pair], rows_of: Mapping[tuple[Any, ...], tuple[Row, ...]]
) -> _Seen:
    points: defaultdict[int, list[tuple[int, int, tuple[Any, ...]]]] = defaultdict(list)
    for which, side in enumerate(sides):
        seqs = {one.seq: seq for seq, pair in enumerate(order, 1) if (one := pair[which]) is not None}
        for version in side.versions:
            rows = rows_of[version.identity, version.body]
            own = (version.first_seq, version.fetched_at), (version.checked_seq, version.checked_at)
            runs = unpack_runs(version.seen, own[0]) or ((len(rows), *own[0]),)
            first = [(seq, at) for count, seq, at in runs for _ in range(count)]
            for row, begun in zip(rows, first, strict=True):
                points[row.at] += [(seqs[seq], at, row.values) for seq, at in (begun, *own)]
    return _Seen({at: sorted(told, key=lambda point: point[0]) for at, told in points.items()})


def _versions(*records: Whole) -> Iterator[Version]:
    for whole in records:
        yield from whole.rows
        yield from (version for version, _ in whole.past)


def _rows(version: Version, content: Content) -> tuple[Row, ...]:
    """The rows of a reply; none of one that is fit for no history."""
    try:
        return make_statement(PageKey.of_identity(version.identity), version, content).rows
    except ProtocolError:
        return ()


def _judged(whole: Whole) -> list[Version]:
    """The versions of a record. Files of earlier releases do not say which are void: they are judged now."""
    versions = list(_versions(whole))
    if whole.seal.is_judged or not versions:
        return versions
    record = Symbols().read(PageKey.of_identity(versions[0].identity), Versions(tuple(versions), (), whole.seal))
    void = {said.first_seq: said.void_seq for said in record.ledger.statements}
    at = {row.checked_seq: row.checked_at for row in versions} | {row.first_seq: row.fetched_at for row in versions}
    return [
        row._replace(void_seq=void.get(row.first_seq, 0), void_at=at.get(void.get(row.first_seq, 0), 0))
        for row in versions
    ]
