"""Whatever is published, revised and asked for, in any order.

Every answer is what the server has, or had when last asked.

A state machine per cursor style drives clients of every mode, which share one record, against the simulator. The oracle
is the simulator's own rows; requests are counted where they arrive. What may lag behind is said by the laws themselves:
with `max_age=None` and offline an answer is as old as the last look at the newest page, and a revision below the newest
50 rows is found by mode refresh only.
"""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from math import ceil
from pathlib import Path
from tempfile import TemporaryDirectory
from time import sleep, time_ns
from types import ModuleType
from typing import Any, TypeAlias

import pandas as pd
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

import futu_si
import moomoo_si
from opend_si.pages import Content, Page, PageKey
from opend_si.simulator import Simulator
from opend_si.simulator.server import CursorStyle
from opend_si.tables import read_columns
from opend_si_schema.calls import SHORT_INTEREST
from tests.cache.processes import OpenD

# Known and without rows: their histories are as long as the machine publishes them.
HK, US = "HK.02840", "US.SPHY"
REVISED_FIELD = {HK: "aggregatedShort", US: "sharesShort"}

Values: TypeAlias = tuple[Any, ...]  # one row, its timestamp first
Part: TypeAlias = tuple[int | None, int | None]
Asking: TypeAlias = tuple[str, float | None]  # mode, max_age

STALE: tuple[Asking, ...] = (("online", None), ("online", 3600))
FRESH: tuple[Asking, ...] = (("online", 0), ("refresh", 0), ("bypass", 0))
OFFLINE: Asking = ("offline", None)
# Seconds for which pages are fresh, where a test lets time pass.
A_WHILE = 0.05

faces = st.sampled_from((futu_si, moomoo_si))
lengths = st.one_of(st.integers(51, 160), st.sampled_from((0, 1, 50, 51, 100, 101)))
counts = st.one_of(st.just(0), st.integers(0, 3), st.sampled_from((49, 50, 51, 99, 100, 101)), st.integers(0, 120))
values = st.one_of(st.integers(0, 2), st.sampled_from((None, "first")))
places = st.one_of(st.integers(0, 49), st.integers(50, 160), st.just(-1))
# Places of the first and the last row asked for; mostly all of them.
parts = st.sampled_from(((None, None), (None, None), (None, None), (60, None), (None, 10), (120, 55), (0, 0), (-1, -1)))


def pages(rows: int) -> int:
    """Requests that so many rows cost."""
    return max(1, ceil(rows / 50))


def dates(rows: Sequence[Values]) -> list[int]:
    return [row[0] for row in rows]


def plain(value: Any) -> Any:
    return None if pd.isna(value) else value


def now() -> int:
    return time_ns() // 1_000_000


@dataclass
class Past:
    """What became of one symbol so far.

    Attributes:
        had: Every value that the server had for a row, oldest first.
        told: What a recording client was last told of a row.
        placed: The same, by pages whose place is known: not behind an offset that nobody walked to.
        told_since: When a row's value was first told to a recording client.
        checked: The whole history when a recording client last asked for the newest page.
        longest: The same of the longest newest page; with cursors that say nothing, shorter ones are pages of their
        own.
        answers: What each request of a recording client was last answered: the rows, and the next cursor.
        complete: The whole history when it was last recorded, if nothing but whole histories were asked for since.
        is_revised: Whether a value was revised since, or had been before without being noticed.
        is_doubted: Whether a reply contradicted what was told before, and no whole history was walked since.

    """

    had: dict[int, list[Values]] = field(default_factory=dict)
    told: dict[int, Values] = field(default_factory=dict)
    placed: dict[int, Values] = field(default_factory=dict)
    told_since: dict[Values, int] = field(default_factory=dict)
    checked: list[Values] | None = None
    longest: list[Values] | None = None
    answers: dict[tuple[str, int], tuple[list[Values], str | None]] = field(default_factory=dict)
    complete: list[Values] | None = None
    is_revised: bool = False
    is_doubted: bool = False


class Model(RuleBasedStateMachine):
    cursor: CursorStyle

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        self.cache = Path(self.stack.enter_context(TemporaryDirectory()), "pages.sqlite3")
        self.serving = self.stack.enter_context(ExitStack())  # what a restart ends
        self.opend: Simulator = self.serving.enter_context(OpenD(cursor=self.cursor))
        self.clients: dict[object, Any] = {}
        self.pasts = {HK: Past(), US: Past()}
        self.code = HK
        self.moments = [now()]

    def teardown(self) -> None:
        self.stack.close()

    @property
    def past(self) -> Past:
        return self.pasts[self.code]

    # The server -------------------------------------------------------------------------------------------------------

    def key(self, next_key: str | None = None, num: int = 50) -> PageKey:
        return PageKey.check(SHORT_INTEREST, self.code, next_key, num)

    def truth(self) -> list[Values]:
        """All rows as the server has them, newest first."""
        return list(zip(*read_columns(self.key().table, self.opend.universe.rows(self.code) or ()), strict=True))

    def reply(self, key: PageKey) -> bytes:
        """What the server would answer now, without being asked."""
        twin = Simulator(self.opend.universe, cursor=self.cursor)
        return bytes(twin.answer(key.call.proto_id, key.request()).SerializeToString())

    def note_change(self) -> None:
        for row in self.truth():
            values = self.past.had.setdefault(row[0], [])
            if not values or values[-1] != row:
                values.append(row)
        then = now()
        while now() == then:  # the record counts milliseconds: what changes within one cannot be told apart
            pass

    @initialize(hk=lengths, us=lengths)
    def begin(self, hk: int, us: int) -> None:
        self.publish(hk)
        self.switch_symbols()
        self.publish(us)
        self.switch_symbols()

    def publish(self, count: int) -> None:
        self.opend.universe.publish(self.code, count)
        self.note_change()

    @rule(count=counts, revised=st.lists(st.tuples(places, values), max_size=2))
    def publish_and_revise(self, count: int, revised: list[tuple[int, Any]]) -> None:
        self.publish(count)
        for place, value in revised if self.truth() else ():
            self.revise(place % len(self.truth()), value)

    def revise(self, place: int, value: Any) -> None:
        name = REVISED_FIELD[self.code]
        if value == "first":  # what it was at first
            column = [column.field for column in self.key().table.columns].index(name)
            value = self.past.had[self.truth()[place][0]][0][column]
        self.opend.universe.revise(self.code, place, **{name: value})
        self.past.is_revised = True
        self.note_change()

    @rule(restarts=st.booleans())
    def turn_to_the_other_symbol(self, restarts: bool) -> None:
        self.switch_symbols()
        if restarts:  # OpenD comes back at another port; who asked before asks there
            self.serving.close()
            self.clients.clear()
            self.opend = self.serving.enter_context(OpenD(self.opend.universe, cursor=self.cursor))

    def switch_symbols(self) -> None:
        self.code = US if self.code == HK else HK

    # Clients ----------------------------------------------------------------------------------------------------------

    def client(self, face: ModuleType, mode: str, max_age: float | None = None, port: int | None = None) -> Any:
        name = (face, mode, max_age, port)
        if name not in self.clients:
            at = {"mode": mode, "max_age": max_age, "cache": self.cache, "timeout": 10}
            client = face.Client(self.opend.host, port or self.opend.port, **at)
            self.clients[name] = self.serving.enter_context(client)
        return self.clients[name]

    @contextmanager
    def asking(self, mode: str, *, is_history: bool = False) -> Iterator[list[int]]:
        """Count the requests of a call, and note what they told. The list gets its one entry when the `with` ends."""
        cost: list[int] = []
        begun_at, before, past = now(), len(self.opend.requests), self.past
        yield cost
        asked = self.opend.requests[before:]
        cost.append(len(asked))
        assert all(request.accepted and request.symbol == self.code for request in asked)
        if mode not in ("online", "refresh"):
            return
        for request in asked:
            key = self.key(request.next_key or None, request.num)
            content = Content.read(key, self.reply(key))
            told = [row.values for row in content.rows(key.table)]
            past.answers[request.next_key, request.num] = told, content.next
            for row in told:
                past.is_doubted |= past.told.get(row[0], row) != row
                past.told_since.setdefault(row, begun_at)
                past.told[row[0]] = row
            if not request.next_key:
                past.checked = self.truth()
                past.longest = past.checked if request.num == 50 else past.longest
            in_place = is_history and dates(past.checked or ()) == dates(self.truth())
            if not request.next_key or self.cursor == "timestamp" or in_place:
                past.placed.update((row[0], row) for row in told)

    # Histories --------------------------------------------------------------------------------------------------------

    def rows_of(self, frame: pd.DataFrame) -> list[Values]:
        """A history's rows, newest first."""
        names = [column.name for column in self.key().table.columns]
        return [tuple(map(plain, row)) for row in frame[names].iloc[::-1].itertuples(index=False, name=None)]

    def check_frame(self, frame: pd.DataFrame, begun_at: int, mode: str) -> list[Values]:
        """What holds for every history; gives its rows."""
        rows, past = self.rows_of(frame), self.past
        assert frame.index.is_monotonic_increasing
        assert frame.index.is_unique
        assert [day.date().isoformat() for day in frame.index[::-1]] == [row[1] for row in rows]
        known_at = [int(moment.timestamp() * 1000) for moment in frame["known_at"][::-1]]
        for row, moment in zip(rows, known_at, strict=True):
            assert row in past.had[row[0]]
            assert (begun_at if mode == "bypass" else past.told_since[row]) <= moment <= now()
            if mode != "bypass":
                assert row in (past.told[row[0]], past.placed.get(row[0]))  # never older than what was told last
        return rows

    @rule(face=faces, asking=st.sampled_from(FRESH), part=parts)
    def ask_for_the_history_of_now(self, face: ModuleType, asking: Asking, part: Part) -> None:
        mode, past, truth = asking[0], self.past, self.truth()
        start, end = (truth[place % len(truth)] if truth and place is not None else None for place in part)
        if start is not None and end is not None:
            start, end = sorted((start, end))
        frame = self.ask_for_history(face, asking, start, end)
        if mode == "bypass":
            return
        past.complete, past.is_revised = None, True
        if start is None:
            past.complete, past.is_revised = truth, any(past.told[row[0]] != row for row in truth)
            past.is_doubted = False
            self.check_record(face, frame if end is None else None)

    @rule(face=faces, part=parts)
    def let_time_pass(self, face: ModuleType, part: Part) -> None:
        """What was fresh for a while is not any more: it is asked for again as if nothing of it were fresh."""
        sleep(A_WHILE * 1.2)
        self.ask_for_the_history_of_now(face, ("online", A_WHILE), part)

    def ask_for_history(
        self, face: ModuleType, asking: Asking, start: Values | None, end: Values | None
    ) -> pd.DataFrame:
        (mode, max_age), past, truth = asking, self.past, self.truth()
        shown = any(past.placed.get(row[0], row) != row for row in truth[:50])
        was_asked, begun_at = bool(past.answers), now()
        with self.asking(mode, is_history=True) as cost:
            frame = self.client(face, mode, max_age).history(self.code, start and start[1], end and end[1])
        rows = self.check_frame(frame, begun_at, mode)
        expected = [row for row in truth if (not start or row[0] >= start[0]) and (not end or row[0] <= end[0])]
        if mode != "online" or shown:
            assert rows == expected
        else:
            newest = set(dates(truth[:50]))
            assert dates(rows) == dates(expected)
            assert [row for row in rows if row[0] in newest] == [row for row in expected if row[0] in newest]
        stops = (page for page in range(1, pages(len(truth))) if start and truth[50 * page - 1][0] <= start[0])
        walked = next(stops, pages(len(truth)))  # what it costs without a record
        assert cost[0] <= walked
        if mode != "online" or not was_asked:
            assert cost[0] == walked
        elif past.complete is not None and not past.is_revised:
            new = len(truth) - len(past.complete)
            assert cost[0] == min(walked, ceil((new + 1) / 50))
        return frame  # type: ignore[no-any-return]

    def check_record(self, face: ModuleType, frame: pd.DataFrame | None) -> None:
        """What was just walked to its end answers again for nothing, and all changes that it tells were made."""
        before = len(self.opend.requests)
        for mode, max_age in (*STALE, OFFLINE):
            again = self.client(face, mode, max_age).history(self.code)
            pd.testing.assert_frame_equal(again, again if frame is None else frame)
        revisions = self.client(face, "offline").revisions(self.code)
        assert len(self.opend.requests) == before
        names = [column.name for column in self.key().table.columns]
        had = {values[0][1]: values for values in self.past.had.values()}
        for change in revisions.itertuples():
            place = names.index(change.column)
            seen = [row[place] for row in had[change.date.date().isoformat()]]
            assert plain(change.before) in seen
            assert plain(change.after) in seen
            assert plain(change.before) != plain(change.after)
            assert change.seen_at.timestamp() * 1000 <= now()

    @rule(face=faces, asking=st.sampled_from(STALE), part=parts)
    def ask_for_a_recorded_history(self, face: ModuleType, asking: Asking, part: Part) -> None:
        """Offline, with OpenD gone, and online: as OpenD was when it was last asked for the newest page."""
        (mode, max_age), past, truth = asking, self.past, self.truth()
        begun_at, before = now(), len(self.opend.requests)
        start = truth[part[0] % len(truth)] if truth and part[0] is not None else None
        of = self.code, start and start[1]
        recorded: pd.DataFrame | None = None
        gone = self.client(face, "online", 0, port=1)
        try:
            recorded = self.client(face, "offline").history(*of)
        except futu_si.CacheMiss:
            assert past.complete is None
            with pytest.raises(futu_si.ConnectionFailed):
                gone.history(*of)
        else:
            with pytest.warns(futu_si.ShortInterestWarning, match=self.code):
                pd.testing.assert_frame_equal(gone.history(*of), recorded)
        assert len(self.opend.requests) == before
        heard = None if recorded is None else dates(self.check_frame(recorded, begun_at, "offline"))
        with self.asking(mode, is_history=True) as cost:
            frame = self.client(face, mode, max_age).history(*of)
        assert past.checked is not None
        expected = [row[0] for row in past.checked if not start or row[0] >= start[0]]
        if recorded is None:
            assert cost[0] > 0
        else:
            # Offline also answers what stands below newer pages, or was contradicted: online that is walked anew.
            assert cost[0] == 0 or past.is_doubted or heard != expected
        if cost[0] == 0 and recorded is not None:
            pd.testing.assert_frame_equal(frame, recorded)
        else:
            past.complete = None
        assert dates(self.check_frame(frame, begun_at, mode)) == expected

    # Tables -----------------------------------------------------------------------------------------------------------

    @rule(face=faces, back=st.integers(0, 5))
    def ask_for_tables(self, face: ModuleType, back: int) -> None:
        """Of many symbols, now and as of a moment: what `history` gives of each, or nothing where it gives nothing."""
        self.moments.append(now())
        moment = None if back == 0 else datetime.fromtimestamp(self.moments[-back:][0] / 1000, UTC)
        client, before = self.client(face, "offline"), len(self.opend.requests)
        for code, market in ((HK, "HK"), (US, "US")):
            try:
                history = client.history(code, as_of=moment)
            except futu_si.CacheMiss:
                with pytest.raises(futu_si.CacheMiss):
                    client.panel([code], as_of=moment)
                continue
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                panel = client.panel(market=market, as_of=moment)
            pd.testing.assert_frame_equal(panel, client.panel([code], as_of=moment))
            assert set(panel["symbol"]) <= {code}
            alone = panel.drop(columns="symbol").set_index("date")
            pd.testing.assert_frame_equal(alone, history, check_freq=False)
        assert len(self.opend.requests) == before

    # Pages ------------------------------------------------------------------------------------------------------------

    def rows_on(self, page: Page) -> list[Values]:
        return [row.values for row in page.content.rows(self.key().table)]

    def ask_for_page(self, face: ModuleType, asking: Asking, next_key: str | None, num: int) -> Page | None:
        """One page, held against the server's reply to the same request; None if it is not recorded."""
        (mode, max_age), past, key = asking, self.past, self.key(next_key, num)
        with self.asking(mode) as cost:
            try:
                page: Page = self.client(face, mode, max_age).get_page(self.code, next_key, num)
            except futu_si.CacheMiss:
                assert mode == "offline"
                assert (key.next_key, num) not in past.answers
                assert self.cursor == "offset" or len(past.complete or ()) <= 50
                return None
        if mode != "bypass" and cost[0]:
            past.complete = None
        assert (page.symbol, page.next_key, page.num) == (self.code, key.next_key, num)
        if asking in FRESH:
            body = self.reply(key)
            expected = Content.read(key, body)
            if self.cursor == "offset" and page.body != body:
                return self.check_cut(page, [row.at for row in expected.rows(self.key().table)])
            assert (page.body, page.next, page.source) == (body, expected.next, "opend")
            for market in ("US", "HK"):
                frame = getattr(page, market.lower())
                pd.testing.assert_frame_equal(frame, expected.frame(market))
                assert frame.attrs.items() >= expected.frame(market).attrs.items()
            return page
        assert mode != "offline" or cost[0] == 0
        rows, known = self.rows_on(page), dates(past.checked or ())
        assert all(row in past.had[row[0]] for row in rows)
        if self.cursor == "timestamp":
            below = [at for at in known if not next_key or at < int(next_key)]
            assert (dates(rows), page.next) == (below[:num], str(below[num - 1]) if len(below) > num else None)
            assert all(row == past.placed[row[0]] for row in rows)
        elif (rows, page.next) != past.answers.get((key.next_key, num)):
            return self.check_cut(page, known)
        return page

    def check_cut(self, page: Page, known: Sequence[int]) -> Page | None:
        """A page cut from one that has the whole history: it tells nothing of the server's cursors, and OpenD's are
        timestamps. Where it leads to is not followed: no server that counts rows takes it."""
        ats = dates(self.rows_on(page))
        assert page.next_key == ""
        assert ats == known[: page.num]
        assert page.next in (None, *map(str, ats[-1:]))
        return None

    @rule(
        face=faces,
        asking=st.sampled_from((*STALE, *FRESH, OFFLINE)),
        num=st.sampled_from((10, 50, 1, 49, 37)),
        depth=st.sampled_from((1, 2, 3, "all", "iterator")),
    )
    def ask_for_pages(self, face: ModuleType, asking: Asking, num: int, depth: int | str) -> None:
        if isinstance(depth, int):
            self.ask_for_some_pages(face, asking, num, depth)
        elif asking != OFFLINE:
            (self.loop_over_default_pages if depth == "all" else self.follow_the_iterator)(face, asking)

    def ask_for_some_pages(self, face: ModuleType, asking: Asking, num: int, depth: int) -> None:
        next_key: str | None = None
        for _ in range(depth):
            page = self.ask_for_page(face, asking, next_key, num)
            if page is None or page.next is None:
                break
            next_key = page.next

    def loop_over_default_pages(self, face: ModuleType, asking: Asking) -> None:
        if asking in STALE and self.cursor == "offset":
            return  # where such cursors lead is only known of the time when they were sent
        rows: list[Values] = []
        next_key: str | None = None
        before, was_asked = len(self.opend.requests), bool(self.past.answers)
        while True:
            page = self.ask_for_page(face, asking, next_key, 10)
            if page is None and self.cursor == "offset":
                return  # it was cut
            assert page is not None
            rows += self.rows_on(page)
            if page.next is None:
                break
            next_key = page.next
        if asking in FRESH:
            assert rows == self.truth()
        else:
            assert dates(rows) == dates(self.past.checked or ())
            assert was_asked or len(self.opend.requests) - before <= pages(len(rows)) + 2

    def follow_the_iterator(self, face: ModuleType, asking: Asking) -> None:
        (mode, max_age), past, truth = asking, self.past, self.truth()
        shown = any(past.placed.get(row[0], row) != row for row in truth[:50])
        with self.asking(mode) as cost:
            rows = [row for page in self.client(face, mode, max_age).pages(self.code) for row in self.rows_on(page)]
        if mode != "bypass" and cost[0]:
            past.complete = None
        if asking in FRESH:
            assert dates(rows) == dates(truth)
        else:
            stands_for = past.checked if self.cursor == "timestamp" else past.longest
            assert dates(rows) in (dates(stands_for or ()), dates(past.checked or ()))
        assert all(row in past.had[row[0]] for row in rows)
        if asking in FRESH and (mode != "online" or shown):
            assert rows == truth
        assert asking in STALE or cost[0] <= pages(len(rows))


class AnchoredCursors(Model):
    cursor: CursorStyle = "timestamp"


class OffsetCursors(Model):
    cursor: CursorStyle = "offset"


QUICK = settings(
    max_examples=40,
    stateful_step_count=15,
    deadline=None,
    print_blob=True,
    report_multiple_bugs=False,
    suppress_health_check=[HealthCheck.too_slow],
)
TestAnchoredCursors = AnchoredCursors.TestCase
TestAnchoredCursors.settings = QUICK
TestOffsetCursors = OffsetCursors.TestCase
TestOffsetCursors.settings = QUICK
