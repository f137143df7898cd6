"""`with_changes` against a plain reading of what it promises, over random histories and panels."""

import copy
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import date, timedelta
from itertools import chain, pairwise
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from opend_si.errors import InvalidArgument
from opend_si.research.changes import with_changes
from opend_si.simulator import Simulator
from opend_si_schema.calls import CALLS
from opend_si_schema.definitions import ADDED

COLUMNS = {"HK": "aggregated_short", "US": "shares_short"}
DERIVED = ["days_between", "change", "change_percent"]
DERIVED_UNITS = {"days_between": "days", "change": "shares", "change_percent": "percent"}

# A symbol's rows: days since the row before (a gap is many), and a number, none, or 0.
Rows = list[tuple[int, int | None]]
# Up to what OpenD's wire can carry.
counts = st.none() | st.just(0) | st.integers(0, 50) | st.integers(0, 2**63 - 1)
rows = st.lists(st.tuples(st.sampled_from([1, 6, 7, 8, 14, 400]), counts), max_size=8)
markets = st.sampled_from(list(COLUMNS))


def dates(of: Rows) -> list[date]:
    day, days = date(2020, 1, 3), []
    for after, _ in of:
        day += timedelta(after)
        days.append(day)
    return days


def make_panel(market: str, symbols: list[Rows], categorical: bool = True) -> pd.DataFrame:
    """A panel as the package makes them; a symbol may be among the categories and have no row."""
    names = [f"{market}.{number:05}" for number in range(len(symbols))]
    values = [count for of in symbols for _, count in of]
    symbol = [name for name, of in zip(names, symbols, strict=True) for _ in of]
    frame = pd.DataFrame(
        {
            "symbol": pd.Categorical(symbol, categories=names) if categorical else pd.Series(symbol, dtype="str"),
            "date": np.array(list(chain.from_iterable(map(dates, symbols))), dtype="datetime64[s]"),
            COLUMNS[market]: pd.array(values, dtype="Int64" if None in values else "int64"),
            "close_price": np.arange(len(values)) / 8,
            "known_at": pd.DatetimeIndex(np.zeros(len(values), dtype="datetime64[ms]"), tz="UTC"),
        }
    )
    frame.attrs.update(as_of=["2026-05-01"], units={"close_price": "USD"})
    return frame


def make_history(market: str, of: Rows) -> pd.DataFrame:
    return make_panel(market, [of]).drop(columns="symbol").set_index("date")


def expected(of: Rows) -> list[tuple[int | None, int | None, float | None]]:
    """The derived columns of a symbol's rows."""
    if not of:
        return []
    found: list[tuple[int | None, int | None, float | None]] = [(None, None, None)]
    for (_, before), (days, count) in pairwise(of):
        change = None if before is None or count is None else count - before
        found.append((days, change, 100 * change / before if change is not None and before else None))
    return found


def assert_derived(frame: pd.DataFrame, of: list[Rows]) -> None:
    assert [str(frame[name].dtype) for name in DERIVED] == ["Int64", "Int64", "float64"]
    wanted = list(chain.from_iterable(map(expected, of)))
    for index, name in enumerate(DERIVED[:2]):
        assert [None if value is pd.NA else value for value in frame[name].tolist()] == [row[index] for row in wanted]
    percent = [np.nan if row[2] is None else row[2] for row in wanted]
    np.testing.assert_allclose(frame["change_percent"], percent, rtol=1e-12)


# What is computed


@given(market=markets, of=rows)
def test_a_row_is_compared_with_the_row_before(market: str, of: Rows) -> None:
    assert_derived(with_changes(make_history(market, of)), [of])


@given(market=markets, symbols=st.lists(rows, max_size=5), categorical=st.booleans())
def test_no_comparison_crosses_symbols(market: str, symbols: list[Rows], categorical: bool) -> None:
    assert_derived(with_changes(make_panel(market, symbols, categorical)), symbols)


@given(symbols=st.lists(rows, min_size=1, max_size=4), picked=st.data())
def test_rows_picked_from_a_panel_are_compared_as_they_stand(symbols: list[Rows], picked: st.DataObject) -> None:
    panel = make_panel("US", symbols)
    keep = np.array(picked.draw(st.lists(st.booleans(), min_size=len(panel), max_size=len(panel))), dtype=bool)
    some = panel[keep]
    parts = [with_changes(part) for _, part in some.groupby("symbol", observed=True)]
    pd.testing.assert_frame_equal(with_changes(some), pd.concat(parts) if parts else with_changes(panel[:0]))


def test_missing_weeks_as_users_insert_them_stay_missing() -> None:
    frame = make_history("HK", [(7, 100), (7, 110), (21, 88)])
    weekly = with_changes(frame.reindex(pd.date_range(frame.index[0], frame.index[-1], freq="7D")))
    assert weekly["aggregated_short"].dtype == "float64"
    assert weekly["change"].tolist() == [pd.NA, 10, pd.NA, pd.NA, pd.NA]
    assert with_changes(frame)["change_percent"].tolist()[1:] == [10.0, -20.0]
    assert with_changes(frame)["days_between"].tolist()[1:] == [7, 21]


def test_the_changes_of_a_real_history_add_up(face: ModuleType, opend: Simulator) -> None:
    with face.Client(opend.host, opend.port) as client:
        for code, name in (("HK.00700", "aggregated_short"), ("US.AAPL", "shares_short")):
            frame = client.history(code)
            changed = with_changes(frame)
            assert list(changed) == [*frame, *DERIVED]
            assert changed["change"].sum() == frame[name].iloc[-1] - frame[name].iloc[0]
            assert changed["days_between"].sum() == (frame.index[-1] - frame.index[0]).days
        assert list(with_changes(client.history("US.SPHY"))) == [*frame, *DERIVED]


# What is short, of each kind, as the broker describes the columns.
SHORT = {
    "short_interest": COLUMNS,
    "daily_short_volume": {"HK": "short_sell_shares_traded", "US": "total_shares_short"},
}


@pytest.mark.parametrize("kind", SHORT)
@pytest.mark.parametrize("code", ["HK.00700", "US.AAPL"])
def test_frames_of_any_kind_get_the_changes_of_what_is_short(one_face: ModuleType, code: str, kind: str) -> None:
    with Simulator() as opend, one_face.Client(opend.host, opend.port, mode="bypass") as client:
        frame = client.history(code, kind=kind)
    counts = frame[SHORT[kind][code[:2]]].tolist()
    assert len(counts) > 100
    assert with_changes(frame)["change"].tolist()[1:] == [now - before for before, now in pairwise(counts)]


def test_every_kind_says_what_is_short() -> None:
    assert {call.name: {table.market.prefix: table.short for table in call.tables} for call in CALLS} == SHORT


def test_no_column_of_a_call_is_called_like_one_that_is_added() -> None:
    added = {*with_changes(HISTORY)} - {*HISTORY}
    assert added == {*DERIVED} <= {*ADDED}
    assert not {column.name for call in CALLS for table in call.tables for column in table.columns} & {*ADDED}


# What is left alone


@given(market=markets, symbols=st.lists(rows, min_size=1, max_size=3), is_panel=st.booleans())
def test_the_argument_and_all_that_was_in_it_stay(market: str, symbols: list[Rows], is_panel: bool) -> None:
    frame = make_panel(market, symbols) if is_panel else make_history(market, symbols[0])
    before, attrs = frame.copy(), copy.deepcopy(frame.attrs)
    changed = with_changes(frame)
    pd.testing.assert_frame_equal(changed[list(frame)], before)
    assert list(changed) == [*before, *DERIVED]
    assert changed.attrs.pop("units") == attrs["units"] | DERIVED_UNITS
    assert changed.attrs == {name: said for name, said in attrs.items() if name != "units"}
    changed.loc[:, "close_price"] = -1.0
    changed.attrs["as_of"].append("later")
    pd.testing.assert_frame_equal(frame, before)
    assert frame.attrs == attrs


@given(market=markets, symbols=st.lists(rows, min_size=1, max_size=3))
def test_a_second_time_computes_anew_and_doubles_nothing(market: str, symbols: list[Rows]) -> None:
    once = with_changes(make_panel(market, symbols))
    pd.testing.assert_frame_equal(with_changes(once), once)
    stale = once.assign(change=1, change_percent="x")
    pd.testing.assert_frame_equal(with_changes(stale), once)


# What is refused

HISTORY = make_history("HK", [(7, 1), (7, 2), (7, 3)])
PANEL = make_panel("HK", [[(7, 1), (7, 2)], [(7, 3), (7, 4)]])
WRONG: list[tuple[str, str, Callable[[], Any]]] = [
    ("a series", "is a Series", lambda: HISTORY["aggregated_short"]),
    ("a list", "is a list", lambda: [HISTORY]),
    ("a page's frame", "is neither", lambda: HISTORY.reset_index(drop=True)),
    ("a panel by date", "is neither", lambda: PANEL.set_index("date")),
    ("dates as text", "dates are", lambda: PANEL.assign(date=pd.Series(["2026"] * 4, dtype="str"))),
    ("moments", "Hong_Kong], not datetime64", lambda: HISTORY.tz_localize("Asia/Hong_Kong")),
    ("newest first", "must ascend", lambda: HISTORY[::-1]),
    ("a day twice", "each day once", lambda: pd.concat([HISTORY, HISTORY]).sort_index()),
    ("a panel, newest first", "must ascend", lambda: PANEL[::-1]),
    ("no day", "must ascend", lambda: PANEL.assign(date=np.full(4, "NaT", dtype="datetime64[s]"))),
    ("no first day", "must ascend", lambda: HISTORY[:1].set_axis(pd.DatetimeIndex([pd.NaT]))),
    ("symbols mixed", "must stand together", lambda: PANEL.iloc[[0, 2, 1, 3]]),
    ("no symbol", "without a symbol", lambda: PANEL.assign(symbol=PANEL["symbol"].cat.remove_categories(["HK.00001"]))),
    ("no symbol, text", "without a symbol", lambda: PANEL.assign(symbol=pd.Series(["HK.00001"] + 3 * [None]))),
    (
        "no count",
        "aggregated_short, shares_short, short_sell_shares_traded, total_shares_short",
        lambda: HISTORY.drop(columns="aggregated_short"),
    ),
    ("two markets", "of one market", lambda: HISTORY.assign(shares_short=1)),
    ("a column twice", "a column twice", lambda: pd.concat([HISTORY, HISTORY], axis=1)),
    ("fractions", "else than whole numbers", lambda: HISTORY.assign(aggregated_short=0.5)),
    ("infinity", "else than whole numbers", lambda: HISTORY.assign(aggregated_short=np.inf)),
    ("too large", "else than whole numbers", lambda: HISTORY.assign(aggregated_short=2.0**63)),
    ("words", "else than whole numbers", lambda: HISTORY.assign(aggregated_short="many")),
]


@pytest.mark.parametrize(("told", "make"), [pytest.param(told, make, id=what) for what, told, make in WRONG])
def test_a_frame_of_another_shape_is_refused(told: str, make: Callable[[], Any]) -> None:
    with pytest.raises(InvalidArgument, match=f"takes a frame of history .* or of panel .*: .*{re.escape(told)}"):
        with_changes(make())


def test_pandas_and_matplotlib_wait_until_they_are_needed() -> None:
    script = "import sys, opend_si.research.changes, opend_si.research.chart; sys.exit(bool({'pandas', 'numpy', 'matplotlib'} & {*sys.modules}))"
    assert subprocess.run([sys.executable, "-c", script]).returncode == 0
