"""Whole histories: every row once, for the fewest requests, counted at the server, in both faces."""

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd
import pytest

from opend_si.dates import may_have_news
from opend_si.simulator import Fault, Simulator, Universe, faults
from opend_si_schema.calls import HK, US
from tests.processes import ROOT

CODE = "HK.00700"
Start = Callable[..., Simulator]
Open = Callable[..., Any]


@pytest.fixture(params=["timestamp", "offset"])
def opend(request: pytest.FixtureRequest, start: Start) -> Simulator:
    """A simulator of 700 rows a symbol, with either kind of cursor."""
    return start(universe=Universe(most_rows=700), cursor=request.param)


@pytest.fixture
def ask(face: ModuleType, opend: Simulator, tmp_path: Path) -> Iterator[Open]:
    """Opens clients of `opend` on one page cache."""
    with ExitStack() as stack:
        yield lambda mode="online", max_age=0, **more: stack.enter_context(
            face.Client(
                opend.host,
                opend.port,
                **{"mode": mode, "max_age": max_age, "cache": tmp_path / "pages.sqlite3", "timeout": 10, **more},
            )
        )


def spent(opend: Simulator) -> int:
    """Requests since the last time this was asked."""
    count = len(opend.requests)
    opend.requests.clear()
    return count


def assert_whole(frame: pd.DataFrame, opend: Simulator, code: str = CODE) -> None:
    """The history is what the server has, oldest first."""
    rows = list(opend.universe.rows(code) or ())[::-1]
    assert frame["timestamp"].tolist() == [row.timestamp for row in rows]
    assert frame["aggregated_short"].tolist() == [row.aggregatedShort for row in rows]
    assert frame["close_price"].tolist() == [row.closePrice for row in rows]
    assert frame.index.is_monotonic_increasing
    assert frame.index.is_unique
    assert [str(day.date()) for day in frame.index] == [row.timestampStr for row in rows]


def test_a_cold_history_costs_a_request_a_page_and_a_recorded_one_nothing(ask: Open, opend: Simulator) -> None:
    client = ask(max_age=3600)
    assert_whole(client.history(CODE), opend)
    assert spent(opend) == 14
    assert_whole(client.history(CODE), opend)
    assert_whole(ask("offline").history(CODE), opend)
    assert spent(opend) == 0


@pytest.mark.parametrize("new", [0, 1, 49, 50, 59, 99, 100])
def test_new_rows_cost_no_more_than_the_pages_that_reach_a_known_one(ask: Open, opend: Simulator, new: int) -> None:
    client = ask()
    client.history(CODE)
    spent(opend)
    opend.universe.publish(CODE, new)
    assert_whole(client.history(CODE), opend)
    assert spent(opend) == -(-(new + 1) // 50)
    client.history(CODE)
    assert spent(opend) == 1


def test_a_loop_with_the_default_page_costs_a_fifth(face: ModuleType, start: Start, tmp_path: Path) -> None:
    opend = start(universe=Universe(most_rows=700))
    dates: list[str] = []
    with face.OpenQuoteContext(opend.host, opend.port, mode="online", cache=tmp_path / "pages.sqlite3") as context:
        next_key = None
        while next_key != "-1":
            ret, _, frame = context.get_short_interest(CODE, next_key=next_key)
            assert ret == face.RET_OK
            dates += frame["timestamp_str"].tolist()
            next_key = frame.attrs["next_key"]
    assert dates == [row.timestampStr for row in opend.universe.rows(CODE) or ()]
    assert spent(opend) <= 16


def test_a_revision_in_the_newest_page_is_seen_and_the_run_is_walked_anew(ask: Open, opend: Simulator) -> None:
    client = ask()
    client.history(CODE)
    opend.universe.revise(CODE, 300, aggregatedShort=5)
    opend.universe.revise(CODE, 3, aggregatedShort=7, closePrice=1.5)
    spent(opend)
    assert_whole(client.history(CODE), opend)
    assert spent(opend) == 14
    # The pages above the deeper one were checked before it showed: they are asked for once more, and then trusted.
    assert_whole(client.history(CODE), opend)
    assert spent(opend) <= 7
    assert_whole(client.history(CODE), opend)
    assert spent(opend) == 1
    told = client.revisions(CODE)
    assert sorted(told["column"]) == ["aggregated_short", "aggregated_short", "close_price"]
    assert set(told["after"]) == {5, 7, 1.5}
    assert spent(opend) == 0


def test_a_deep_revision_is_found_by_a_refresh(ask: Open, opend: Simulator) -> None:
    ask().history(CODE)
    opend.universe.revise(CODE, 300, aggregatedShort=5)
    spent(opend)
    assert_whole(ask("refresh").history(CODE), opend)
    assert spent(opend) == 14
    # The pages above the revised one were checked before it showed: they are asked for once more, and then trusted.
    assert_whole(ask().history(CODE), opend)
    assert spent(opend) <= 7
    assert_whole(ask().history(CODE), opend)
    assert spent(opend) == 1


def test_as_of_answers_what_was_known_then(ask: Open, opend: Simulator) -> None:
    client = ask()
    before = client.history(CODE)
    first = client.get_page(CODE, num=50).checked_at
    opend.universe.publish(CODE, 2)
    opend.universe.revise(CODE, 5, aggregatedShort=7)
    after = client.history(CODE)
    spent(opend)
    pd.testing.assert_frame_equal(client.history(CODE, as_of=first), before)
    pd.testing.assert_frame_equal(client.history(CODE, as_of=datetime.now(UTC)), after)
    assert spent(opend) == 0
    changed = after["known_at"] > pd.Timestamp(first)
    assert changed.sum() == 3
    assert changed.iloc[[-1, -2, -6]].all()


@pytest.mark.parametrize(
    ("first", "last"),
    [
        ("2026-01-01", "2026-03-01"),
        (date(2026, 1, 1), date(2026, 3, 1)),
        (datetime(2026, 1, 1, 9, 30), datetime(2026, 3, 1)),
        (datetime(2025, 12, 31, 20, tzinfo=UTC), datetime(2026, 2, 28, 20, tzinfo=UTC)),  # the next day in Hong Kong
        (pd.Timestamp("2026-01-01"), pd.Timestamp("2026-03-01", tz="Asia/Hong_Kong")),
    ],
)
def test_a_walk_stops_when_its_start_is_reached(ask: Open, opend: Simulator, first: Any, last: Any) -> None:
    frame = ask().history(CODE, start=first, end=last)
    assert [str(day.date()) for day in frame.index[[0, -1]]] == ["2026-01-02", "2026-02-27"]
    assert spent(opend) == 1


@pytest.mark.parametrize("wrong", ["soon", "2026-13-01", 20260101, b"2026-01-01", pd.NaT, 1.5])
def test_what_is_no_date_costs_no_request(ask: Open, face: ModuleType, opend: Simulator, wrong: Any) -> None:
    for name in ("start", "end", "as_of"):
        with pytest.raises(face.InvalidArgument, match=name):
            ask().history(CODE, **{name: wrong})
    assert spent(opend) == 0


def publishing(opend: Simulator, count: int = 1) -> Fault:
    """A fault that does no harm to its reply, but rows are published behind it."""

    def alter(_reply: Any) -> None:
        opend.universe.publish(CODE, count)

    return Fault(alter=alter)


def test_rows_that_are_published_under_a_walk_are_neither_missed_nor_doubled(ask: Open, opend: Simulator) -> None:
    opend.faults += [Fault(), Fault(), publishing(opend, 3), Fault(), publishing(opend, 1)]
    frame = ask().history(CODE)
    rows = [row.timestamp for row in opend.universe.rows(CODE) or ()][::-1]
    assert frame["timestamp"].tolist() == rows[: len(frame)]
    assert len(frame) >= 700
    assert_whole(ask().history(CODE), opend)


def test_rows_that_are_published_under_pages_are_neither_missed_nor_doubled(ask: Open, opend: Simulator) -> None:
    known = [row.timestamp for row in opend.universe.rows(CODE) or ()]
    opend.faults += [Fault(), publishing(opend, 3)]
    seen: list[Any] = []
    for page in ask().pages(CODE):
        seen += [record.timestamp for record in page.records]
    assert list(dict.fromkeys(seen)) == known
    if opend.cursor == "timestamp":
        assert seen == known


def out_of_order(reply: Any) -> None:
    rows = list(reply.s2c.hkItemList)[::-1]
    del reply.s2c.hkItemList[:]
    reply.s2c.hkItemList.extend(rows)


def doubled(reply: Any) -> None:
    reply.s2c.hkItemList.insert(0, reply.s2c.hkItemList[0])


def empty(reply: Any) -> None:
    del reply.s2c.hkItemList[:]


@pytest.mark.parametrize("alter", [out_of_order, doubled, empty])
def test_pages_that_cannot_be_walked_are_an_error_of_the_symbol(
    ask: Open, face: ModuleType, opend: Simulator, alter: Callable[[Any], None]
) -> None:
    opend.faults += [Fault(), Fault(alter=alter)]
    with pytest.raises(face.ProtocolError, match=r"HK\.00700"):
        ask().history(CODE)
    assert spent(opend) == 2
    assert_whole(ask("refresh").history(CODE), opend)


def test_a_cursor_that_leads_in_a_circle_ends_the_walk(ask: Open, face: ModuleType, opend: Simulator) -> None:
    opend.faults += [faults.next_key("7")] * 60
    with pytest.raises(face.ProtocolError):
        ask().history(CODE)
    assert spent(opend) <= 30
    opend.faults.clear()
    opend.faults += [faults.next_key("7")] * 60
    with pytest.raises(face.ProtocolError):
        list(ask("refresh").pages(CODE))
    assert spent(opend) <= 30


def test_nan_is_no_revision(ask: Open, opend: Simulator) -> None:
    opend.universe.revise(CODE, 2, closePrice=float("nan"))
    client = ask()
    client.history(CODE)
    spent(opend)
    client.history(CODE)
    opend.universe.publish(CODE)
    client.history(CODE)
    assert spent(opend) == 2
    assert client.revisions(CODE).empty


def test_with_opend_gone_the_record_answers_with_a_warning(
    ask: Open, face: ModuleType, opend: Simulator, tmp_path: Path
) -> None:
    ask().history(CODE)
    cache = tmp_path / "pages.sqlite3"
    with (
        face.Client("127.0.0.1", 1, mode="online", max_age=0, cache=cache) as client,
        pytest.warns(face.ShortInterestWarning, match="answered from the record"),
    ):
        assert_whole(client.history(CODE), opend)
    with (
        face.Client("127.0.0.1", 1, mode="refresh", cache=cache) as client,
        pytest.raises(face.ConnectionFailed),
    ):
        client.history(CODE)


def test_bypass_walks_and_records_nothing(ask: Open, face: ModuleType, opend: Simulator) -> None:
    client = ask("bypass")
    assert_whole(client.history(CODE), opend)
    assert spent(opend) == 14
    with pytest.raises(face.InvalidArgument, match="bypass"):
        client.history(CODE, as_of="2026-01-01")
    with pytest.raises(face.CacheMiss):
        ask("offline").history(CODE)


def test_a_sync_reports_each_symbol_and_a_bad_one_stops_nothing(ask: Open, opend: Simulator) -> None:
    told: list[tuple[str, int, int]] = []
    codes = [CODE, "US.NONE", "700", "US.AAPL", CODE]
    report = ask().sync(codes, lambda one, done, total: told.append((one.symbol, done, total)))
    assert told == [(CODE, 1, 4), ("US.NONE", 2, 4), ("700", 3, 4), ("US.AAPL", 4, 4)]
    assert [(one.rows, one.new_rows, one.requests) for one in report] == [
        (700, 700, 14),
        (0, 0, 1),
        (0, 0, 0),
        (223, 223, 5),
    ]
    assert [one.symbol for one in report.failed] == ["US.NONE", "700"]
    opend.universe.publish(CODE, 2)
    opend.universe.revise(CODE, 4, aggregatedShort=1)
    again = ask().sync([CODE])
    assert (again.ok, again.new_rows, again.revised_rows) == (True, 2, 1)


def test_killed_syncs_cost_at_most_a_page_each(opend: Simulator, tmp_path: Path) -> None:
    cache = tmp_path / "pages.sqlite3"
    script = (
        "import futu_si, sys; futu_si.Client(sys.argv[1], int(sys.argv[2]), mode='online', cache=sys.argv[3], "
        "timeout=2).sync(['HK.00700', 'HK.00005'])"
    )
    command = [sys.executable, "-c", script, opend.host, str(opend.port), str(cache)]
    opend.latency = 0.02
    for kills in range(1, 4):
        with subprocess.Popen(command, cwd=ROOT) as doomed:
            opend.wait_for_requests(6 * kills)
            doomed.send_signal(signal.SIGKILL)
    subprocess.run(command, cwd=ROOT, check=True, timeout=60)
    assert len(opend.requests) <= 28 + 3


@pytest.mark.parametrize(
    ("schedule", "market", "newest", "checked", "now", "news"),
    [
        # HK: the row of Friday 8 May 2026 is due on Friday 15 May; looked for from the 14th, surely there on the 19th.
        ("weekly", HK, date(2026, 5, 1), "2026-05-12", "2026-05-13", False),
        ("weekly", HK, date(2026, 5, 1), "2026-05-12", "2026-05-15", True),
        ("weekly", HK, date(2026, 5, 8), "2026-05-19", "2026-05-20", False),
        # US: the row of Friday 15 May 2026 is due behind the close of Wednesday 27 May, the 8th business day or so.
        ("semimonthly", US, date(2026, 4, 30), "2026-05-18", "2026-05-21", False),
        ("semimonthly", US, date(2026, 4, 30), "2026-05-21", "2026-05-27", True),
        ("semimonthly", US, date(2026, 5, 15), "2026-05-28", "2026-06-02", False),
        # A week without asking is the longest, and with no row there is nothing to go by.
        ("semimonthly", US, date(2026, 5, 15), "2026-05-28", "2026-06-04", True),
        ("weekly", HK, None, "2026-05-12", "2026-05-13", True),
    ],
)
def test_publication_rules(schedule: Any, market: Any, newest: date | None, checked: str, now: str, news: bool) -> None:
    moments = [datetime.fromisoformat(f"{day}T12:00:00+00:00") for day in (checked, now)]
    assert may_have_news(schedule, market, newest, *moments) is news


def test_by_the_publication_rule_nothing_is_asked_while_no_row_can_exist(
    ask: Open, face: ModuleType, opend: Simulator
) -> None:
    rows = opend.universe.rows(CODE) or ()
    while date.fromisoformat(rows[0].timestampStr) < datetime.now(UTC).date() - timedelta(days=6):
        opend.universe.publish(CODE)
        rows = opend.universe.rows(CODE) or ()
    ask().history(CODE)
    spent(opend)
    ask(max_age="publication").history(CODE)
    assert spent(opend) == 0
    with pytest.raises(face.InvalidArgument, match="publication"):
        ask(max_age="weekly")
