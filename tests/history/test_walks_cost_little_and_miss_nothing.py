"""The planner's laws, one by one: what a walk costs, what is never missed, doubled or brought back, and what stops it.

Walks over statements are driven by hand, with no server; what clients make of them is counted at the simulator, in both
faces and with both kinds of cursor.
"""

import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from functools import partial
from math import ceil, nan
from pathlib import Path
from time import time_ns
from types import ModuleType
from typing import Any, TypeAlias
from zoneinfo import ZoneInfo

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import futu_si
from opend_si.cache.store import Store
from opend_si.cache.versions import Versions
from opend_si.dates import may_have_news, moment, read_midnight, read_milliseconds
from opend_si.errors import InvalidArgument, ProtocolError
from opend_si.history.ledger import Ledger
from opend_si.history.statements import BOTTOM, Statement, check_page
from opend_si.history.walk import Fetch, Told, Walk, walk
from opend_si.pages import Row
from opend_si.simulator import Fault, Simulator, Universe, faults
from opend_si.simulator.server import CursorStyle
from opend_si_schema.calls import HK, MARKETS, SHORT_INTEREST, US
from opend_si_schema.definitions import Market
from tests.cache.processes import OpenD
from tests.processes import ROOT

CODE, OTHER, EMPTY = "HK.00700", "US.AAPL", "HK.02840"
PAGE = 50
CURSORS: tuple[CursorStyle, ...] = ("timestamp", "offset")
Start: TypeAlias = Callable[..., Simulator]
Open: TypeAlias = Callable[..., Any]


@pytest.fixture
def face(one_face: ModuleType) -> ModuleType:
    return one_face


def pages(rows: int) -> int:
    """Requests that so many rows cost."""
    return max(1, ceil(rows / PAGE))


# Walks by hand --------------------------------------------------------------------------------------------------------


class Hand:
    """Answers a walk's steps from its rows, each as an event of its own, and does `after[n]` behind the n-th answer."""

    def __init__(self, rows: int, cursor: CursorStyle) -> None:
        self.rows = [Row(at, (at, 0)) for at in range(1000 * rows, 0, -1000)]
        self.cursor = cursor
        self.seq = self.asked = self.asked_seq = 0
        self.after: dict[int, Callable[[], None]] = {}
        self.ledger = Ledger()

    def publish(self, count: int = 1) -> None:
        for _ in range(count):
            at = self.rows[0].at + 1000 if self.rows else 1000
            self.rows.insert(0, Row(at, (at, 0)))

    def revise(self, place: int) -> None:
        at, (_, value) = self.rows[place]
        self.rows[place] = Row(at, (at, value + 1))

    def answer(self, step: Fetch) -> Told:
        self.asked += 1
        first = 0
        if step.next_key:
            below = (place for place, row in enumerate(self.rows) if row.at < int(step.next_key))
            first = int(step.next_key) if self.cursor == "offset" else next(below, len(self.rows))
        rows = tuple(self.rows[first : first + PAGE])
        end = first + len(rows)
        following = str(rows[-1].at if self.cursor == "timestamp" else end) if end < len(self.rows) else None
        sent_seq, self.seq = self.seq, self.seq + 1
        said = Statement(step.next_key, PAGE, step.after, rows, following, first_seq=self.seq, checked_seq=self.seq)
        known = self.ledger.recorded(step.next_key, PAGE)
        if known is not None and known.is_trusted and (known.rows, known.next) == (rows, following):
            said = replace(said, first_seq=known.first_seq)
        self.ledger = self.ledger.grown(said, self.ledger.judge(said, self.asked_seq, sent_seq))
        self.after.get(self.asked, lambda: None)()
        return Told(said, self.ledger)

    def walk(self, down_to: float = BOTTOM, *, is_fresh: bool = False) -> Walk:
        """Ask for a history now; what is recorded is fresh, or only what comes now."""
        self.asked_seq, self.asked = self.seq, 0
        since = 0 if is_fresh else self.asked_seq
        plan = walk(self.ledger, lambda said: said.checked_seq > since, down_to)
        try:
            step = next(plan)
            while True:
                step = plan.send(self.answer(step))
        except StopIteration as done:
            found: Walk = done.value
            return found


@pytest.fixture(params=CURSORS)
def cursor(request: pytest.FixtureRequest) -> CursorStyle:
    style: CursorStyle = request.param
    return style


@given(st.integers(0, 400), st.integers(0, 160), st.sampled_from(CURSORS))
def test_a_walk_costs_a_request_a_page_and_new_rows_those_that_reach_a_known_one(
    rows: int, new: int, cursor: CursorStyle
) -> None:
    hand = Hand(rows, cursor)
    assert list(hand.walk().rows) == hand.rows
    assert hand.asked == pages(rows)
    hand.publish(new)
    assert list(hand.walk().rows) == hand.rows
    assert hand.asked == (ceil((new + 1) / PAGE) if rows else pages(new))
    assert list(hand.walk(is_fresh=True).rows) == hand.rows
    assert hand.asked == 0


@given(st.integers(1, 300), st.integers(0, 299), st.sampled_from(CURSORS))
def test_a_walk_stops_at_the_page_that_reaches_its_start(rows: int, place: int, cursor: CursorStyle) -> None:
    hand = Hand(rows, cursor)
    place %= rows
    assert list(hand.walk(hand.rows[place].at).rows) == hand.rows[: place + 1]
    assert hand.asked == pages(place + 1)
    assert list(hand.walk(is_fresh=True).rows) == hand.rows
    assert hand.asked == pages(rows) - pages(place + 1)


@given(st.integers(1, 300), st.integers(0, PAGE - 1), st.integers(0, 299), st.sampled_from(CURSORS))
def test_a_revision_in_the_newest_page_makes_the_run_walked_anew(
    rows: int, newest: int, deep: int, cursor: CursorStyle
) -> None:
    hand = Hand(rows, cursor)
    hand.walk()
    hand.revise(newest % min(rows, PAGE))
    hand.revise(deep % rows)
    assert list(hand.walk().rows) == hand.rows
    assert hand.asked == pages(rows)
    assert list(hand.walk().rows) == hand.rows
    assert hand.asked == 1


@given(st.integers(1, 200), st.integers(50, 120), st.integers(0, 199), st.sampled_from(CURSORS))
def test_a_revision_behind_new_rows_costs_no_more_than_a_walk_without_a_record(
    rows: int, new: int, place: int, cursor: CursorStyle
) -> None:
    hand = Hand(rows, cursor)
    hand.walk()
    hand.revise(place % rows)
    hand.publish(new)
    assert [row.at for row in hand.walk().rows] == [row.at for row in hand.rows]
    assert hand.asked <= pages(rows + new)


@given(st.integers(51, 200), st.integers(1, 50), st.integers(1, 60), st.sampled_from(CURSORS))
def test_a_walk_never_gives_a_value_that_a_page_of_it_has_shown_to_be_revised(
    rows: int, place: int, new: int, cursor: CursorStyle
) -> None:
    hand = Hand(rows, cursor)
    hand.walk(hand.rows[10].at)  # the newest page: the rest is asked for later
    hand.revise(place)
    hand.publish(new)
    found = hand.walk()
    assert [row.at for row in found.rows] == [row.at for row in hand.rows]
    told = {row for said in found.ledger.statements if said.checked_seq > hand.asked_seq for row in said.rows}
    assert {row for row in found.rows if row.at in {row.at for row in told}} <= told


@given(
    st.integers(0, 250),
    st.dictionaries(st.integers(1, 8), st.integers(1, 60), max_size=3),
    st.sampled_from(CURSORS),
)
def test_rows_that_are_published_under_a_walk_are_neither_missed_nor_doubled(
    rows: int, published: dict[int, int], cursor: CursorStyle
) -> None:
    hand = Hand(rows, cursor)
    for number, count in published.items():
        hand.after[number] = lambda count=count: hand.publish(count)  # type: ignore[misc]
    found = hand.walk()
    assert list(found.rows) == hand.rows[len(hand.rows) - len(found.rows) :]
    assert len(found.rows) >= rows
    hand.after.clear()
    assert list(hand.walk().rows) == hand.rows


@pytest.mark.parametrize(("place", "new"), [(0, 0), (20, 60)])  # in the fresh head, or on the page behind it
def test_a_revised_row_is_walked_anew_wherever_it_shows(cursor: CursorStyle, place: int, new: int) -> None:
    hand = Hand(120, cursor)
    hand.walk()
    hand.revise(place)
    hand.publish(new)
    assert list(hand.walk().rows) == hand.rows


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_row_that_is_revised_under_a_walk_has_one_value_in_it(number: int) -> None:
    """A row is published under it, too, so that its pages overlap, and show the revised row twice."""
    hand = Hand(160, "offset")

    def change() -> None:
        hand.publish(1)
        hand.revise(50 * number)

    hand.after[number] = change
    found = hand.walk()
    assert list(found.rows) == hand.rows[len(hand.rows) - len(found.rows) :]
    assert len(found.rows) >= 160
    hand.after.clear()
    assert list(hand.walk().rows) == hand.rows


def say(seq: int, key: str, rows: Sequence[tuple[int, int]], following: str | None = None, after: int = 0) -> Statement:
    """A reply that was recorded as the event `seq`."""
    told = tuple(Row(at, (at, value)) for at, value in rows)
    return Statement(key, PAGE, after, told, following, first_seq=seq, checked_seq=seq)


def test_of_two_that_contradict_and_overlap_neither_is_trusted() -> None:
    head = say(1, "", [(4, 0), (3, 0)], "3")
    tail = say(2, "3", [(2, 0), (1, 0)], None, after=3)
    ledger = Ledger([head, tail])
    late = say(3, "4", [(3, 1), (2, 0)], "2", after=4)
    unknown = ledger.judge(late, asked_seq=0, sent_seq=0)  # it was sent before any of them came
    assert unknown.is_void
    assert [said.first_seq for said in unknown.void] == [1]
    newer = ledger.judge(late, asked_seq=2, sent_seq=2)
    assert not newer.is_void
    assert [said.first_seq for said in newer.void] == [1, 2]


def test_a_head_that_was_on_its_way_while_a_row_was_published_is_no_contradiction() -> None:
    newer = say(1, "", [(5, 0), (4, 0), (3, 0)], "3")
    ledger = Ledger([newer])
    older = say(2, "", [(4, 0), (3, 0), (2, 0)], "2")
    assert ledger.judge(replace(older, num=3), asked_seq=0, sent_seq=0).void == ()
    assert ledger.judge(replace(older, num=3), asked_seq=1, sent_seq=1).void == (newer,)


def test_what_is_void_answers_where_nothing_else_speaks_and_never_with_an_old_value() -> None:
    pages = [
        say(1, "", [(6, 0), (5, 0)], "5"),
        say(2, "5", [(4, 0), (3, 0)], "3", after=5),
        say(3, "3", [(2, 0), (1, 0)], None, after=3),
    ]
    late = say(4, "6", [(5, 0), (4, 1), (3, 0)], "3", after=6)
    ledger = Ledger(pages)
    ledger = ledger.grown(late, ledger.judge(late, 3, 3))
    assert ledger.head() is None
    rows = ledger.last_heard(BOTTOM)
    assert rows is not None
    assert [row.values for row in rows] == [(6, 0), (5, 0), (4, 1), (3, 0), (2, 0), (1, 0)]


def test_a_page_of_one_row_whose_cursor_leads_to_itself_ends_the_walk() -> None:
    def go() -> None:
        ledger = Ledger()
        plan = walk(ledger, lambda _: True, BOTTOM)
        step = next(plan)
        for seq in range(1, 100):
            said = Statement(step.next_key, PAGE, step.after, (Row(7, (7,)),), "x", first_seq=seq, checked_seq=seq)
            ledger = ledger.grown(said, ledger.judge(said, 0, seq - 1))
            step = plan.send(Told(said, ledger))

    with pytest.raises(ProtocolError):
        go()


@pytest.mark.parametrize("at", [253_402_300_800, -(10**12)])
def test_a_timestamp_of_no_day_is_refused(at: int) -> None:
    with pytest.raises(ProtocolError, match="of no day"):
        check_page((Row(at, ()),), None, "a page")


# Clients --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def opend(cursor: CursorStyle) -> Iterator[Simulator]:
    """An OpenD of 120 rows a symbol, with either kind of cursor."""
    with OpenD(Universe(most_rows=120), cursor=cursor) as opend:
        yield opend


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "pages.sqlite3"


@pytest.fixture
def ask(face: ModuleType, opend: Simulator, cache: Path) -> Iterator[Open]:
    """Opens clients of each face in turn, all with one record."""
    with ExitStack() as stack:

        def open_client(mode: str = "online", max_age: Any = 0, port: int | None = None) -> Any:
            at = {"mode": mode, "max_age": max_age, "cache": cache, "timeout": 10}
            return stack.enter_context(face.Client(opend.host, port or opend.port, **at))

        yield open_client


def spent(opend: Simulator) -> int:
    """Requests since the last time this was asked."""
    count = len(opend.requests)
    opend.requests.clear()
    return count


def truth(opend: Simulator, code: str = CODE) -> list[int]:
    """The timestamps that the server has, newest first."""
    return [row.timestamp for row in opend.universe.rows(code) or ()]


def assert_whole(frame: pd.DataFrame, opend: Simulator, code: str = CODE) -> None:
    """The history is what the server has, oldest first."""
    rows = list(opend.universe.rows(code) or ())[::-1]
    value = ("aggregated_short", "aggregatedShort") if code.startswith("HK") else ("shares_short", "sharesShort")
    for column, name in (("timestamp", "timestamp"), ("close_price", "closePrice"), value):
        assert frame[column].tolist() == [getattr(row, name) for row in rows]


def tick() -> datetime:
    """A moment that lies between what was recorded before and what is recorded after."""
    then = time_ns() // 1_000_000
    while time_ns() // 1_000_000 < then + 2:
        pass
    return datetime.fromtimestamp((then + 1) / 1000, UTC)


def test_seven_hundred_rows_cost_fourteen_requests_and_then_what_is_new(
    face: ModuleType, start: Start, cursor: CursorStyle, cache: Path
) -> None:
    opend = start(universe=Universe(most_rows=700), cursor=cursor)
    at = {"mode": "online", "cache": cache}
    with face.Client(opend.host, opend.port, **at, max_age=0) as client:
        client.history(CODE)
        assert spent(opend) == 14
        for new in (0, 1, 49, 50, 51, 59, 99, 100):
            opend.universe.publish(CODE, new)
            assert_whole(client.history(CODE), opend)
            assert spent(opend) == ceil((new + 1) / PAGE)
    with face.Client(opend.host, opend.port, **at, max_age=3600) as client:
        assert_whole(client.history(CODE), opend)
    assert spent(opend) == 0


def test_a_loop_with_the_default_page_costs_a_fifth_with_anchored_cursors(
    face: ModuleType, start: Start, cache: Path
) -> None:
    opend = start(universe=Universe(most_rows=700))
    seen: list[int] = []
    next_key = None
    with face.Client(opend.host, opend.port, mode="online", cache=cache) as client:
        while True:
            page = client.get_page(CODE, next_key)
            seen += [record.timestamp for record in page.records]
            next_key = page.next
            if next_key is None:
                break
    assert seen == truth(opend)
    assert spent(opend) <= 16


def test_pages_that_were_walked_are_not_asked_for_again_by_a_history(ask: Open, opend: Simulator) -> None:
    client = ask(max_age=3600)
    assert [len(page) for page in client.pages(CODE)] == [50, 50, 20]
    assert spent(opend) == 3
    assert_whole(client.history(CODE), opend)
    assert spent(opend) == 0


def test_after_a_refresh_everything_is_fresh_also_where_it_found_a_deep_revision(ask: Open, opend: Simulator) -> None:
    ask().history(CODE)
    tick()
    opend.universe.revise(CODE, 110, aggregatedShort=7)
    assert ask().history(CODE)["aggregated_short"].iloc[119 - 110] != 7
    spent(opend)
    assert_whole(ask("refresh").history(CODE), opend)
    assert spent(opend) == 3
    assert_whole(ask(max_age=3600).history(CODE), opend)
    assert_whole(ask("offline").history(CODE), opend)
    assert spent(opend) == 0


def test_a_refresh_of_pages_asks_for_every_page_again(ask: Open, opend: Simulator) -> None:
    ask().history(CODE)
    tick()
    opend.universe.revise(CODE, 110, aggregatedShort=7)
    spent(opend)
    values = [record.aggregated_short for page in ask("refresh").pages(CODE) for record in page.records]
    assert values == [row.aggregatedShort for row in opend.universe.rows(CODE) or ()]
    assert spent(opend) == 3


def test_a_smaller_page_is_never_older_than_what_a_longer_one_has_shown(
    ask: Open, start: Start, opend: Simulator
) -> None:
    opend.universe = Universe(most_rows=30)  # all on one page: whether cursors are anchored is not known yet
    client = ask(max_age=None)
    client.get_page(CODE, num=10)
    tick()
    opend.universe.revise(CODE, 3, aggregatedShort=7)
    assert_whole(ask().history(CODE), opend)
    page = client.get_page(CODE, num=10)
    if opend.cursor == "timestamp":  # with others the cursor behind its last row is only known by asking
        assert page.records[3].aggregated_short == 7
    assert_whole(client.history(CODE), opend)


def test_a_smaller_newest_page_has_the_rows_that_a_longer_one_has_shown(ask: Open, opend: Simulator) -> None:
    ask("refresh").get_page(CODE, num=10)
    opend.universe.publish(CODE)
    ask("refresh").get_page(CODE, num=PAGE)
    spent(opend)
    page = ask(max_age=None).get_page(CODE, num=10)
    assert [record.timestamp for record in page.records] == truth(opend)[:10]
    if opend.cursor == "timestamp":
        assert spent(opend) == 0


def test_as_of_answers_earlier_versions_and_known_at_says_when_a_value_was_first_seen(
    ask: Open, face: ModuleType, opend: Simulator
) -> None:
    client = ask()
    never = tick()
    before = client.history(CODE)
    first = tick()
    opend.universe.revise(CODE, 3, aggregatedShort=7)
    opend.universe.publish(CODE)
    after = client.history(CODE)
    second = tick()
    spent(opend)
    for asking in (client, ask("offline"), ask("refresh")):
        pd.testing.assert_frame_equal(asking.history(CODE, as_of=first), before)
        pd.testing.assert_frame_equal(asking.history(CODE, as_of=second), after)
        pd.testing.assert_frame_equal(asking.history(CODE, as_of=f"{second.date() + timedelta(days=2)}"), after)
        with pytest.raises(face.CacheMiss):
            asking.history(CODE, as_of=never)
    assert spent(opend) == 0
    assert before["known_at"].between(never, first).all()
    changed = after.index[after["known_at"] > first]
    assert list(changed) == [after.index[-5], after.index[-1]]
    assert (after["known_at"] < second).all()


def test_revisions_list_what_was_sent_differently_from_what_to_what(ask: Open, opend: Simulator) -> None:
    row = (opend.universe.rows(CODE) or ())[3]
    was, price = row.aggregatedShort, row.closePrice
    client, begun = ask(), tick()
    for change in ({"aggregatedShort": 7}, {"aggregatedShort": None, "closePrice": 1.5}, {"aggregatedShort": was}):
        client.history(CODE)
        tick()
        opend.universe.revise(CODE, 3, **change)
    client.history(CODE)
    spent(opend)
    told = ask("offline").revisions(CODE)
    assert spent(opend) == 0
    changes = [tuple(change) for change in told[["column", "before", "after"]].itertuples(index=False)]
    assert changes == [
        ("aggregated_short", was, 7),
        ("aggregated_short", 7, None),
        ("close_price", price, 1.5),
        ("aggregated_short", None, was),
    ]
    assert {str(day.date()) for day in told["date"]} == {row.timestampStr}
    assert told["seen_at"].is_monotonic_increasing
    assert told["seen_at"].between(begun, tick()).all()


def test_nan_is_a_value_like_another_and_no_revision(ask: Open, opend: Simulator) -> None:
    opend.universe.revise(CODE, 3, aggregatedShortRatio=nan)
    ask().history(CODE)
    spent(opend)
    for _ in range(2):
        frame = ask().history(CODE)
        assert list(frame.index[frame["aggregated_short_ratio"].isna()]) == [frame.index[-4]]
    opend.universe.publish(CODE)
    ask().history(CODE)
    assert spent(opend) == 3
    assert ask().revisions(CODE).empty


def test_a_start_stops_the_walk_and_an_end_cuts(ask: Open, opend: Simulator) -> None:
    days = [row.timestampStr for row in opend.universe.rows(CODE) or ()]
    for mode in ("bypass", "refresh"):
        for place, requests in ((0, 1), (48, 1), (49, 1), (50, 2), (99, 2), (100, 3), (119, 3)):
            frame = ask(mode).history(CODE, start=days[place])
            assert [str(day.date()) for day in frame.index] == days[: place + 1][::-1]
            assert spent(opend) == requests
    client = ask(max_age=None)
    for first, last in ((119, 119), (80, 10), (60, 60), (119, 0)):
        frame = client.history(CODE, days[first], days[last])
        assert [str(day.date()) for day in frame.index] == days[last : first + 1][::-1]
    for start, end in (("2200-01-01", None), (None, "1990-01-01")):
        nothing = client.history(CODE, start, end)
        assert nothing.empty
        assert list(nothing.dtypes) == list(frame.dtypes)
    assert spent(opend) == 0


def test_days_may_be_written_in_every_usual_way(ask: Open, opend: Simulator) -> None:
    client = ask(max_age=None)
    client.history(CODE)
    client.history(OTHER)
    spent(opend)
    for code, zone in ((CODE, ZoneInfo("Asia/Hong_Kong")), (OTHER, ZoneInfo("America/New_York"))):
        row = (opend.universe.rows(code) or ())[20]
        day, midnight = date.fromisoformat(row.timestampStr), datetime.fromtimestamp(row.timestamp, zone)
        expected = client.history(code, str(day), str(day))
        assert expected["timestamp"].tolist() == [row.timestamp]
        naive = midnight.replace(tzinfo=None)
        same = [day, naive, naive.replace(hour=23), midnight, midnight.astimezone(UTC), f"{day} 12:30", f" {day} "]
        same += [pd.Timestamp(day), pd.Timestamp(midnight), pd.Timestamp(midnight).tz_convert("UTC")]
        for when in same:
            pd.testing.assert_frame_equal(client.history(code, start=when, end=when), expected)
    assert spent(opend) == 0


@pytest.mark.parametrize(
    "wrong", ["", "soon", "30.04.2026", "2026-02-30", 20260430, 1.5, nan, b"2026-04-30", pd.NaT, True]
)
def test_what_is_no_day_costs_no_request(ask: Open, face: ModuleType, opend: Simulator, wrong: Any) -> None:
    for name in ("start", "end", "as_of"):
        with pytest.raises(face.InvalidArgument, match=rf"^{name} is "):
            ask().history(CODE, **{name: wrong})
    assert spent(opend) == 0


def test_a_moment_that_is_given_back_as_it_was_printed_finds_what_it_was_printed_for(ask: Open) -> None:
    client = ask()
    frame = client.history(CODE)
    printed = f"{frame['known_at'].max():%Y-%m-%d %H:%M:%SZ}"
    pd.testing.assert_frame_equal(client.history(CODE, as_of=printed), frame)
    market = SHORT_INTEREST.tables[0].market
    exact = "2026-04-30 12:30:15.000Z", "2026-04-30 12:30Z", datetime(2026, 4, 30, 12, 30, 15, tzinfo=UTC)
    assert [read_milliseconds("as_of", moment, market) % 1000 for moment in (printed, *exact)] == [999, 0, 0, 0]


def test_an_end_before_the_start_costs_no_request(ask: Open, face: ModuleType, opend: Simulator) -> None:
    for question in (ask().history, ask().plot):
        with pytest.raises(face.InvalidArgument, match=r"^end '2025-01-01' is before start '2026-05-01'"):
            question(CODE, start="2026-05-01", end="2025-01-01")
    assert spent(opend) == 0


def test_the_ends_of_the_calendar_are_days_or_are_refused(ask: Open, face: ModuleType, opend: Simulator) -> None:
    client = ask()
    everything = client.history(CODE)
    pd.testing.assert_frame_equal(client.history(CODE, start="0001-01-01", end="9999-12-31"), everything)
    spent(opend)
    for question in (partial(client.history, CODE), client.panel, client.screen):
        with pytest.raises(face.InvalidArgument, match=r"^as_of is '9999-12-31', which is out of range"):
            question(as_of="9999-12-31")
    assert spent(opend) == 0


@given(when=st.dates() | st.datetimes() | st.datetimes(timezones=st.timezones()), market=st.sampled_from(MARKETS))
def test_any_moment_is_read_or_refused_by_its_name(when: date, market: Market) -> None:
    with suppress(InvalidArgument):
        assert isinstance(read_midnight("start", when, market), int)
    with suppress(InvalidArgument):
        assert moment(read_milliseconds("as_of", when, market)).tzinfo is UTC


def swapped(reply: Any) -> None:
    rows = reply.s2c.hkItemList
    rows[3].timestamp, rows[4].timestamp = rows[4].timestamp, rows[3].timestamp


def doubled(reply: Any) -> None:
    reply.s2c.hkItemList[4].CopyFrom(reply.s2c.hkItemList[3])


def emptied(reply: Any) -> None:
    reply.s2c.ClearField("hkItemList")


@pytest.mark.parametrize("alter", [swapped, doubled, emptied])
@pytest.mark.parametrize("mode", ["online", "refresh", "bypass"])
@pytest.mark.parametrize("number", [1, 2])
def test_a_page_that_no_walk_can_use_ends_it_and_names_the_symbol(
    ask: Open, face: ModuleType, opend: Simulator, alter: Callable[[Any], None], mode: str, number: int
) -> None:
    opend.faults += [Fault()] * (number - 1) + [Fault(alter=alter)]
    with pytest.raises(face.ProtocolError, match=r"HK\.00700"):
        ask(mode).history(CODE)
    assert spent(opend) == number
    assert_whole(ask().history(CODE), opend)


@pytest.mark.parametrize("mode", ["online", "bypass"])
@pytest.mark.parametrize("how", ["history", "pages"])
@pytest.mark.parametrize("circle", [1, 2])
def test_a_cursor_that_does_not_advance_ends_the_walk_and_names_the_symbol(
    ask: Open, face: ModuleType, opend: Simulator, mode: str, how: str, circle: int
) -> None:
    client = ask(mode)
    heads_cursor = ask("bypass").get_page(CODE, num=PAGE).next
    spent(opend)
    # The second page leads on to itself; or every page does, and the newest one to where nothing is known.
    opend.faults += [Fault(), faults.next_key(heads_cursor)] if circle == 1 else [faults.next_key("7")] * 60
    with pytest.raises(face.ProtocolError, match=r"HK\.00700"):
        list(getattr(client, how)(CODE))
    assert spent(opend) <= 3


def publishing(opend: Simulator, count: int = 1) -> Fault:
    """No fault in the reply, but rows are published behind it."""
    return Fault(alter=lambda _: opend.universe.publish(CODE, count))


@pytest.mark.parametrize("mode", ["online", "refresh", "bypass"])
@pytest.mark.parametrize("published", [(1, 0), (0, 60), (50, 0), (1, 1), (2, 0, 0, 1), (0, 0, 5)])
def test_rows_that_are_published_in_the_middle_of_a_history_do_no_harm(
    ask: Open, opend: Simulator, mode: str, published: Sequence[int]
) -> None:
    opend.faults += [publishing(opend, count) for count in published]
    seen = ask(mode).history(CODE)["timestamp"].tolist()[::-1]
    assert seen == truth(opend)[-len(seen) :]
    assert len(seen) >= 120
    opend.faults.clear()
    assert_whole(ask().history(CODE), opend)
    assert_whole(ask("offline").history(CODE), opend)


def test_a_history_under_which_whole_pages_keep_appearing_names_the_symbol(
    ask: Open, face: ModuleType, opend: Simulator
) -> None:
    opend.faults += [publishing(opend, 60)] * 60
    for how in ("history", "pages"):
        if opend.cursor == "timestamp":
            list(getattr(ask(), how)(CODE))  # such cursors mean the same row for ever
        else:
            with pytest.raises(face.ProtocolError, match=r"HK\.00700"):
                list(getattr(ask(), how)(CODE))
    assert spent(opend) <= 20


@pytest.mark.parametrize("mode", ["online", "refresh", "bypass"])
@pytest.mark.parametrize("recorded", [False, True])
def test_pages_give_every_row_once_also_while_rows_are_published(
    ask: Open, opend: Simulator, mode: str, recorded: bool
) -> None:
    if recorded:
        ask().history(CODE)
        opend.universe.publish(CODE)
    known, seen = truth(opend), list[int]()
    for page in ask(mode).pages(CODE):
        seen += [record.timestamp for record in page.records]
        opend.universe.publish(CODE)
    assert seen == known


def test_pages_go_on_from_a_recorded_newest_page(ask: Open, opend: Simulator) -> None:
    known = truth(opend)
    client = ask(max_age=None)
    client.get_page(CODE, num=PAGE)
    opend.universe.publish(CODE)
    assert [record.timestamp for page in client.pages(CODE) for record in page.records] == known


def test_bypass_records_nothing_and_looks_back_on_nothing(
    ask: Open, face: ModuleType, opend: Simulator, cache: Path
) -> None:
    client = ask("bypass")
    assert_whole(client.history(CODE), opend)
    assert spent(opend) == 3
    with pytest.raises(face.InvalidArgument, match="bypass"):
        client.sync([CODE])
    with pytest.raises(face.InvalidArgument, match="bypass"):
        client.history(CODE, as_of="2026-01-01")
    with pytest.raises(face.InvalidArgument, match="bypass"):
        client.revisions(CODE)
    assert not cache.exists()
    assert spent(opend) == 0


def test_with_opend_gone_the_record_answers_with_its_age_and_a_refresh_does_not(
    ask: Open, face: ModuleType, opend: Simulator
) -> None:
    gone = ask(port=1)
    with pytest.raises(face.ConnectionFailed):
        gone.history(CODE)
    ask().history(CODE, start="2026-01-01")  # the newest page alone
    with pytest.raises(face.ConnectionFailed):
        gone.history(CODE)
    ask().history(CODE)
    with pytest.warns(face.ShortInterestWarning, match=r"HK\.00700 is answered from the record of \d+ s ago"):
        assert_whole(gone.history(CODE), opend)
    with pytest.raises(face.ConnectionFailed):
        ask("refresh", port=1).history(CODE)


def test_after_the_clock_was_set_back_the_record_is_asked_again_once(
    ask: Open, face: ModuleType, opend: Simulator, cache: Path
) -> None:
    ask().history(CODE)
    opend.universe.revise(CODE, 3, aggregatedShort=7)
    spent(opend)
    ahead = aged(cache, CODE, timedelta(days=-1))
    with face.Client(opend.host, opend.port, mode="online", cache=ahead, max_age=3600) as client:
        assert_whole(client.history(CODE), opend)
        assert spent(opend) == 3
        assert_whole(client.history(CODE), opend)
        assert len(client.get_page(CODE, num=PAGE)) == PAGE
        assert spent(opend) == 0


@pytest.mark.parametrize("num", [10, PAGE])
@pytest.mark.parametrize("new", [0, 60])  # the newest page then stands apart from what was recorded
def test_a_question_never_makes_the_record_smaller(ask: Open, opend: Simulator, num: int, new: int) -> None:
    ask().history(CODE)
    opend.universe.revise(CODE, 3, aggregatedShort=7)
    opend.universe.publish(CODE, new)
    ask().get_page(CODE, num=num)
    for client in (ask("offline"), ask(port=1)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            frame = client.history(CODE)
        assert frame["timestamp"].tolist() == truth(opend)[new:][::-1]
        assert (frame["aggregated_short"].iloc[-4] == 7) == (new == 0)
        assert len(ask("offline").panel([CODE])) == 120
    assert_whole(ask().history(CODE), opend)
    assert_whole(ask("offline").history(CODE), opend)


def test_a_page_behind_a_cursor_of_an_earlier_newest_page_is_asked_for_again(ask: Open, opend: Simulator) -> None:
    client = ask(max_age=None)
    cursor = client.get_page(CODE, num=PAGE).next
    before = client.get_page(CODE, cursor, PAGE)
    assert client.get_page(CODE, cursor, PAGE).source == "cache"
    opend.universe.publish(CODE)
    ask().get_page(CODE, num=PAGE)
    spent(opend)
    after = client.get_page(CODE, cursor, PAGE)
    if opend.cursor == "timestamp":
        assert (spent(opend), after.body) == (0, before.body)
    else:
        assert spent(opend) == 1
        assert after.records[1:] == before.records[:-1]
    assert ask("offline").get_page(CODE, cursor, PAGE).body == after.body


# Many symbols ---------------------------------------------------------------------------------------------------------


def test_a_sync_tells_what_became_of_each_symbol(ask: Open, opend: Simulator) -> None:
    heard: list[tuple[str, int, int]] = []
    client = ask()
    client.sync([CODE, OTHER, CODE], lambda one, done, all_: heard.append((one.symbol, done, all_)))
    assert heard == [(CODE, 1, 2), (OTHER, 2, 2)]
    tick()
    opend.universe.publish(CODE, 2)
    opend.universe.revise(OTHER, 5, sharesShort=7)
    report = client.sync([CODE, OTHER, EMPTY])
    told = [(one.symbol, one.rows, one.new_rows, one.revised_rows, one.requests, one.error) for one in report]
    assert told == [(CODE, 122, 2, 0, 1, None), (OTHER, 120, 0, 1, 3, None), (EMPTY, 0, 0, 0, 1, None)]
    assert (report.ok, report.rows, report.new_rows, report.revised_rows, report.requests) == (True, 242, 2, 1, 5)
    tick()
    again = ask(max_age=3600).sync(iter((CODE, OTHER, EMPTY)))
    assert (len(again), again.rows, again.new_rows, again.revised_rows, again.requests) == (3, 242, 0, 0, 0)


def test_one_bad_symbol_does_not_stop_a_sync(ask: Open, face: ModuleType, opend: Simulator) -> None:
    opend.faults += [faults.refuse("无权限")]
    report = ask().sync([EMPTY, "700", "HK.99999", CODE])
    kinds = [face.NotPermitted, face.InvalidArgument, face.UnknownSymbol, type(None)]
    assert [type(one.error) for one in report] == kinds
    assert [one.requests for one in report] == [1, 0, 1, 3]
    assert (report.ok, [one.symbol for one in report.failed]) == (False, [EMPTY, "700", "HK.99999"])


@pytest.mark.filterwarnings("ignore::opend_si.errors.ShortInterestWarning")
def test_a_sync_with_opend_gone_does_not_say_that_all_is_up_to_date(ask: Open, face: ModuleType) -> None:
    ask().sync([CODE])
    report = ask(port=1).sync([CODE, OTHER])
    assert [type(one.error) for one in report] == [face.ConnectionFailed] * 2


WORKER = """
import sys, futu_si
with futu_si.Client(sys.argv[1], int(sys.argv[2]), mode="online", cache=sys.argv[3], timeout=2) as client:
    client.sync(sys.argv[4:])
"""


def test_a_killed_sync_goes_on_and_costs_a_page_more_at_most(opend: Simulator, cache: Path) -> None:
    command = [sys.executable, "-c", WORKER, opend.host, str(opend.port), str(cache), CODE, OTHER]
    for kills, number in ((1, 2), (2, 5)):  # in the middle of either symbol
        already = len(opend.requests)
        opend.faults.extend([Fault()] * (number - already - 1) + [faults.silence()])
        with subprocess.Popen(command, cwd=ROOT) as worker:
            opend.wait_for_requests(number)
            worker.kill()
        assert len(opend.requests) == number, f"kill {kills}"
    with futu_si.Client(opend.host, opend.port, mode="online", cache=cache) as client:
        report = client.sync([CODE, OTHER])
        assert (report.ok, report.rows) == (True, 240)
        assert len(opend.requests) <= 6 + 2
        for code in (CODE, OTHER):
            assert_whole(client.history(code), opend, code)
    assert len(opend.requests) <= 6 + 2


# The publication rule -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("market", "newest", "checked", "now", "news"),
    [
        # HK: the row of Friday 15 May is due on Friday 22 May: looked for from the 21st. Monday the 25th is a holiday,
        # so by the 27th it came or never will.
        (HK, "05-08", "05-19T00:00", "05-20T23:59", False),
        (HK, "05-08", "05-19T00:00", "05-21T00:00", True),
        (HK, "05-08", "05-19T00:00+00:00", "05-20T15:59+00:00", False),  # the same midnight in UTC
        (HK, "05-08", "05-19T00:00+00:00", "05-20T16:00+00:00", True),
        (HK, "05-08", "05-22T09:00", "05-22T09:01", True),
        (HK, "05-08", "05-26T23:59", "05-28T00:00", True),
        (HK, "05-08", "05-27T00:00", "05-28T00:00", False),
        (HK, "05-08", "05-27T00:00", "05-29T00:00", True),  # the row after it
        # US: the row of Friday 15 May is due on Wednesday 27 May, since Monday the 25th is a holiday: looked for from
        # the 26th until the 29th begins.
        (US, "04-30", "05-19T00:00", "05-25T23:59", False),
        (US, "04-30", "05-19T00:00", "05-26T00:00", True),
        (US, "04-30", "05-28T23:59", "06-01T00:00", True),
        (US, "04-30", "05-29T00:00", "06-01T00:00", False),
        (US, "05-15", "06-02T00:00", "06-07T23:59", False),
        (US, "05-15", "06-02T00:00", "06-08T00:00", True),
        # A week without asking is the longest; with no row, or a clock set back, there is nothing to go by.
        (US, "05-15", "05-29T00:00", "06-04T23:59", False),
        (US, "05-15", "05-29T00:00", "06-05T00:00", True),
        (HK, None, "05-19T00:00", "05-19T00:01", True),
        (HK, "05-08", "05-19T00:01", "05-19T00:00", True),
    ],
)
def test_news_are_looked_for_when_the_rule_says_that_a_row_can_exist(
    market: Market, newest: str | None, checked: str, now: str, news: bool
) -> None:
    day = None if newest is None else date.fromisoformat(f"2026-{newest}")
    moments = (datetime.fromisoformat(f"2026-{text}") for text in (checked, now))
    zone = ZoneInfo(market.timezone)
    there = [moment if moment.tzinfo else moment.replace(tzinfo=zone) for moment in moments]
    table = next(table for table in SHORT_INTEREST.tables if table.market is market)
    assert may_have_news(table, day, *there) is news


def aged(cache: Path, code: str, age: timedelta) -> Path:
    """A copy of what is recorded of a symbol, as if it had been recorded some time ago."""
    old = cache.with_name(f"{age.total_seconds():g}-{code}.sqlite3")
    source, target = Store(cache), Store(old)
    back = age // timedelta(milliseconds=1)
    try:
        rows = source.symbol(SHORT_INTEREST.proto_id, code).rows
        moved = [row._replace(fetched_at=row.fetched_at - back, checked_at=row.checked_at - back) for row in rows]
        target.add(Versions(tuple(row.signed() for row in moved)))
    finally:
        source.close()
        target.close()
    return old


def test_by_the_publication_rule_nothing_is_asked_while_no_row_can_exist(
    face: ModuleType, opend: Simulator, cache: Path
) -> None:
    while opend.universe.rows(CODE)[0].timestamp < time_ns() / 1e9:  # type: ignore[index]
        opend.universe.publish(CODE)
    at = {"mode": "online", "cache": cache}
    with face.Client(opend.host, opend.port, **at) as client:
        client.sync([CODE, EMPTY])
    spent(opend)
    hours, week = timedelta(hours=13), timedelta(days=7, hours=1)
    for code, age, max_age, requests in (
        (CODE, hours, "publication", 0),
        (CODE, hours, 12 * 3600, 1),
        (CODE, week, "publication", 1),  # a week without asking is the longest
        (EMPTY, hours, "publication", 1),  # nothing to go by
        (EMPTY, timedelta(hours=11), "publication", 0),
    ):
        old = aged(cache, code, age)
        with face.Client(opend.host, opend.port, mode="online", cache=old, max_age=max_age) as client:
            assert_whole(client.history(code), opend, code)
        assert spent(opend) == requests, (code, age, max_age)
        old.unlink()


def test_revisions_of_what_is_not_recorded_are_an_error_and_not_none(
    ask: Open, face: ModuleType, opend: Simulator
) -> None:
    with pytest.raises(face.CacheMiss, match=f"No short interest of {CODE} is recorded"):
        ask().revisions(CODE)
    assert spent(opend) == 0
    ask().history(CODE)
    assert ask().revisions(CODE).empty


def test_what_a_clock_that_was_set_back_has_dated_is_asked_for_again_and_dates_nothing_else(
    ask: Open, opend: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = time.time
    with monkeypatch.context() as ahead:
        ahead.setattr(time, "time", lambda: real() + 3600)
        client = ask()
        client.history(CODE)
        client.history(OTHER)
        tick()
        opend.universe.revise(CODE, 1, closePrice=1.0)
        client.history(CODE)
    assert len(ask("offline").revisions(CODE)) == 1
    assert ask("offline").history(OTHER)["known_at"].isna().all()  # not known, and not invented
    for _ in range(2):
        assert ask().history(CODE)["close_price"].iloc[-2] == 1.0


def test_a_moment_that_a_clock_showed_before_it_was_set_back_is_looked_back_to(
    ask: Open, opend: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = time.time
    with monkeypatch.context() as ahead:
        ahead.setattr(time, "time", lambda: real() + 8 * 3600)
        expected = ask().history(CODE)["timestamp"].tolist()
        shown = datetime.fromtimestamp(time.time() + 1, UTC)
    for as_of in (shown, shown + timedelta(days=400)):
        with pytest.warns(futu_si.ShortInterestWarning, match="lies in the future"):
            found = ask("offline").history(CODE, as_of=as_of)
        assert found["timestamp"].tolist() == expected
    with pytest.raises(futu_si.CacheMiss):
        ask("offline").history(CODE, as_of=datetime.fromtimestamp(real() - 60, UTC))


@pytest.mark.parametrize(
    "odd", [{"codes": 5}, {"codes": [5]}, {"market": ["HK"]}, {"market": 5}, {"codes": ["HK.00700", "US.AAPL"]}]
)
def test_what_names_no_table_is_refused(ask: Open, face: ModuleType, opend: Simulator, odd: dict[str, Any]) -> None:
    for question in (ask().panel, ask().arrow_table, partial(ask().export, "files")):
        with pytest.raises(face.InvalidArgument):
            question(**odd)
    assert spent(opend) == 0
