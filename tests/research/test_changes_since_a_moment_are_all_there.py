"""`changes_since` names each row that came and each value that was revised since a moment, once, and no other.

The oracle is what the test itself published and revised at the simulator.
"""

from __future__ import annotations

import asyncio
import json
import os
import pickle
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd
import pytest

from opend_si.dates.calendars import published_by
from opend_si.simulator import Simulator, Universe
from opend_si_schema.calls import CALLS, SHORT_INTEREST
from opend_si_schema.definitions import Call
from tests.processes import Run

SYMBOLS = ["HK.00005", "HK.00700", "US.AAPL", "US.GME"]
FIELD = {"HK": "aggregatedShort", "US": "sharesShort"}
COLUMN = {"HK": "aggregated_short", "US": "shares_short"}
COLUMNS = ["symbol", "date", "what", "column", "before", "after", "previous", "seen_at", "published_by"]


@pytest.fixture
def small(start: Any) -> Simulator:
    opend: Simulator = start(universe=Universe(symbols=SYMBOLS, most_rows=60))
    return opend


@pytest.fixture
def recorder(one_face: ModuleType, small: Simulator, tmp_path: Path) -> Iterator[Any]:
    """A client that asks each time and records."""
    cache = tmp_path / "pages.sqlite3"
    with one_face.Client(port=small.port, mode="online", max_age=0, cache=cache, timeout=5) as client:
        client.sync(SYMBOLS)
        time.sleep(0.002)  # the record's moments are whole milliseconds
        yield client


def told(frame: pd.DataFrame) -> list[tuple[Any, ...]]:
    return [(*row[:2], *row[2:7]) for row in frame.astype({"date": str}).itertuples(index=False)]


def position(opend: Simulator, symbol: str, index: int) -> int:
    rows = opend.universe.rows(symbol)
    assert rows is not None
    return int(getattr(rows[index], FIELD[symbol[:2]]))


def day(opend: Simulator, symbol: str, index: int) -> str:
    rows = opend.universe.rows(symbol)
    assert rows is not None
    return str(rows[index].timestampStr)


def test_new_rows_and_revisions_of_all_symbols_are_in_one_frame(recorder: Any, small: Simulator) -> None:
    began = datetime.now(UTC)
    small.universe.publish("US.AAPL", 2)
    before = position(small, "HK.00700", 1)
    small.universe.revise("HK.00700", 1, aggregatedShort=7, closePrice=None)
    price = {
        row["timestamp_str"]: row["close_price"] for row in recorder.get_page("HK.00700", num=2).hk.to_dict("records")
    }
    report = recorder.sync(SYMBOLS)
    frame = recorder.changes_since(began)
    assert list(frame.columns) == COLUMNS
    revised, above = day(small, "HK.00700", 1), day(small, "HK.00700", 0)
    assert above > revised
    expected = [
        ("HK.00700", revised, "revised", "aggregated_short", before, 7, position(small, "HK.00700", 2)),
        *(
            ("US.AAPL", day(small, "US.AAPL", i), "new", "shares_short", None, position(small, "US.AAPL", i),
             position(small, "US.AAPL", i + 1))
            for i in (1, 0)
        ),
    ]  # fmt: skip
    found = told(frame)
    assert [entry for entry in found if entry[3] != "close_price"] == expected
    assert [entry[2] for entry in found if entry[3] == "close_price"] == ["revised"]
    assert revised in price
    assert (report.new_rows, report.revised_rows) == (2, 0)  # the page before the sync had seen the revision
    assert all(frame["seen_at"] >= began)
    tables = {table.market.prefix: table for table in SHORT_INTEREST.tables}
    public = [published_by(tables[symbol[:2]], date.fromisoformat(at)) for symbol, at, *_ in found]
    assert [at.date() for at in frame["published_by"]] == public


def test_each_row_and_each_value_is_told_once_whatever_happens(recorder: Any, small: Simulator) -> None:
    """A week of publications and revisions: the changes from the end of each sync to the next make up all changes."""
    begin = datetime.now(UTC)
    expected: list[tuple[str, str, str, Any, Any]] = []
    parts = []
    for turn in range(12):
        at = datetime.now(UTC)
        symbol = SYMBOLS[turn % 3]
        if turn % 2:
            old = position(small, symbol, turn % 4)
            small.universe.revise(symbol, turn % 4, **dict[str, Any]({FIELD[symbol[:2]]: turn + 1}))
            expected.append((symbol, day(small, symbol, turn % 4), "revised", old, turn + 1))
        else:
            small.universe.publish(symbol)
            expected.append((symbol, day(small, symbol, 0), "new", None, position(small, symbol, 0)))
        report = recorder.sync(SYMBOLS)
        parts.append(recorder.changes_since(at))
        pd.testing.assert_frame_equal(parts[-1], report.changes)
        assert len(report.changes) == report.new_rows + report.revised_rows == 1
        time.sleep(0.002)
    found = [
        (row.symbol, f"{row.date:%Y-%m-%d}", row.what, row.before, row.after)
        for part in parts
        for row in part.itertuples()
    ]
    assert found == expected
    whole = recorder.changes_since(begin)
    # Without `previous`, which is the value of now: the row before may have been revised in between.
    apart = [entry[:6] for part in parts for entry in told(part)]
    assert sorted(map(str, (entry[:6] for entry in told(whole)))) == sorted(map(str, apart))


def test_moments_are_those_of_this_machine(recorder: Any, small: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    small.universe.publish("US.GME")
    recorder.sync(SYMBOLS)
    monkeypatch.setenv("TZ", "Pacific/Kiritimati")  # 14 hours before UTC: a day that has just begun is today there
    time.tzset()
    try:
        here = datetime.now()
        seen = recorder.changes_since("1h")["seen_at"].max()
        assert len(recorder.changes_since(seen)) == 1
        assert len(recorder.changes_since(seen + pd.Timedelta(milliseconds=1))) == 0
        every = len(recorder.changes_since(timedelta(days=1)))
        assert every == 60 * len(SYMBOLS) + 1
        for moment in (
            here - timedelta(hours=1),
            pd.Timestamp(here) - pd.Timedelta(hours=1),
            f"{here - timedelta(hours=1):%Y-%m-%d %H:%M}",
            (here - timedelta(hours=1)).date(),
            str((here - timedelta(days=1)).date()),
            "90m",
            "1.5h",
            "1w",
        ):
            assert len(recorder.changes_since(moment)) == every
        for later in (here + timedelta(minutes=1), here + timedelta(days=1), f"{here + timedelta(days=1):%Y-%m-%d}"):
            assert len(recorder.changes_since(later)) == 0
    finally:
        monkeypatch.undo()
        time.tzset()


def test_wrong_questions_are_refused_by_name(recorder: Any, one_face: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(one_face.InvalidArgument, match=r"'soon'.*36h"):
        recorder.changes_since("soon")
    with pytest.raises(one_face.InvalidArgument, match="market"):
        recorder.changes_since("1h", ["SH.600000"])
    with pytest.raises(one_face.CacheMiss, match=r"US\.TSLA"):
        recorder.changes_since("1h", "US.TSLA")
    with pytest.raises(one_face.InvalidArgument, match="bypass"):
        one_face.Client(mode="bypass").changes_since("1h")
    with pytest.raises(one_face.CacheMiss, match="sync"):
        one_face.Client(mode="offline", cache=tmp_path / "none").changes_since("1h")


def test_nothing_is_typed_too_and_joins(recorder: Any) -> None:
    empty, full = recorder.changes_since("2100-01-01"), recorder.changes_since("1h", "US.AAPL")
    assert len(empty) == 0
    assert len(full) == 60
    assert empty.dtypes.to_dict() == full.dtypes.to_dict()
    prices = pd.DataFrame({"at": pd.bdate_range("2024-01-01", "2026-06-01"), "price": 1.0})
    assert prices["at"].dtype == full["date"].dtype
    joined = pd.merge_asof(prices, full, left_on="at", right_on="published_by")
    assert joined["after"].notna().any()


def test_asyncio_and_the_module_give_the_same(recorder: Any, one_face: ModuleType, small: Simulator) -> None:
    frame = recorder.changes_since("1h", kind="short_interest")
    settings = {"mode": "offline", "cache": recorder._settings.cache}

    async def ask() -> pd.DataFrame:
        async with one_face.AsyncClient(**settings) as client:
            found: pd.DataFrame = await client.changes_since("1h")
            return found

    pd.testing.assert_frame_equal(asyncio.run(ask()), frame)


def test_a_report_shows_itself(recorder: Any, small: Simulator) -> None:
    small.universe.publish("US.AAPL")
    report = recorder.sync(["US.AAPL", "US.GME", "US.<b>"])
    frame = report.to_frame()
    assert list(frame.columns) == ["symbol", "rows", "new_rows", "revised_rows", "requests", "error"]
    assert frame["rows"].tolist() == [61, 60, 0]
    assert frame["error"].isna().tolist() == [True, True, False]
    html = report._repr_html_()
    assert str(report) in html
    assert "US.AAPL" in html
    assert "US.GME" not in html  # there is nothing to say of it
    assert "<b>" not in html
    again = pickle.loads(pickle.dumps(report))
    pd.testing.assert_frame_equal(again.changes, report.changes)
    assert report.changes["symbol"].tolist() == ["US.AAPL"]


def test_the_console_prints_them(console: Run, recorder: Any, small: Simulator) -> None:
    began = datetime.now(UTC)
    small.universe.publish("US.AAPL")
    recorder.sync(SYMBOLS)
    record = {"OPEND_SI_CACHE": os.fspath(recorder._settings.cache)}
    done = console("changes", "--since", str(began), "--json", **record)
    assert [(row["symbol"], row["date"], row["what"], row["after"]) for row in json.loads(done.stdout)] == [
        ("US.AAPL", day(small, "US.AAPL", 0), "new", position(small, "US.AAPL", 0))
    ]
    table = console("changes", "US.AAPL", "--since", str(began), **record)
    assert table.stdout.splitlines()[-1].split()[:4] == ["US.AAPL", day(small, "US.AAPL", 0), "new", "shares_short"]
    assert max(map(len, table.stdout.splitlines())) <= 80
    none = console("changes", "US.GME", "--since", str(began), **record)
    assert (none.returncode, none.stdout) == (0, "")
    assert "nothing has changed" in none.stderr
    assert console("changes", **record).returncode == 2


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.name)
def test_every_kind_has_its_changes(recorder: Any, small: Simulator, call: Call) -> None:
    recorder.sync(SYMBOLS, kind=call.name)
    began = datetime.now(UTC)
    time.sleep(0.002)
    for symbol in SYMBOLS:
        small.universe.publish(symbol, call=call)
    report = recorder.sync(SYMBOLS, kind=call.name)
    assert report.changes["symbol"].tolist() == SYMBOLS
    frame = recorder.changes_since(began, kind=call.name)
    pd.testing.assert_frame_equal(frame, report.changes)
    for row in frame.itertuples():
        table = next(table for table in call.tables if row.symbol.startswith(table.market.prefix))
        (column,) = (column for column in table.columns if column.name == row.column)
        newest = (small.universe.rows(row.symbol, call) or ())[0]
        assert (column.unit, row.after) == ("shares", getattr(newest, column.field))
