"""`with_history` and `rank` use no later row, and give what DuckDB's windows and Polars give."""

from collections.abc import Callable
from datetime import date, timedelta
from itertools import accumulate
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import futu_si
from opend_si.errors import InvalidArgument
from opend_si.research.features import rank, with_history

ADDED = ["percentile", "z_score", "streak", "since_high"]
REPORTS = 4
# Few different values, so that ties and equal windows are common.
numbers = st.integers(0, 6) | st.integers(0, 10**10)
symbols = st.lists(st.lists(numbers | st.none(), max_size=14), min_size=1, max_size=4)


def panel_of(of: list[list[int | None]]) -> pd.DataFrame:
    names = [f"US.{chr(65 + number)}" for number in range(len(of))]
    values = [value for its in of for value in its]
    return pd.DataFrame(
        {
            "symbol": pd.Series([name for name, its in zip(names, of, strict=True) for _ in its], dtype="str"),
            "date": pd.to_datetime(
                pd.Series(
                    [date(2024, 1, 12) + timedelta(15 * n) for its in of for n in range(len(its))], dtype="object"
                )
            ),
            "shares_short": pd.array(values, dtype="Int64"),
        }
    )


def known(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows with a number, as plain floats: what another engine is given."""
    rows = frame.dropna(subset="shares_short")[["symbol", "date", "shares_short"]].reset_index(drop=True)
    return rows.assign(x=rows["shares_short"].astype("float64"), place=np.arange(len(rows), dtype="int64"))


@given(symbols)
def test_duckdb_windows_give_the_same(of: list[list[int | None]]) -> None:
    frame = panel_of(of)
    rows = known(frame)  # noqa: F841 - DuckDB finds it by its name
    query = f"""
        WITH steps AS (
          SELECT *, coalesce(sign(x - lag(x) OVER s), 0) AS way, row_number() OVER s AS n FROM rows
          WINDOW s AS (PARTITION BY symbol ORDER BY date)
        ), runs AS (
          SELECT *, sum(CASE WHEN way IS DISTINCT FROM before THEN 1 ELSE 0 END) OVER s AS run
          FROM (SELECT *, lag(way) OVER (PARTITION BY symbol ORDER BY date) AS before FROM steps)
          WINDOW s AS (PARTITION BY symbol ORDER BY date)
        )
        SELECT
          (SELECT 100 * (count(*) FILTER (o.x < r.x) + (count(*) FILTER (o.x = r.x) + 1) / 2) / count(*)
           FROM rows o WHERE o.symbol = r.symbol AND o.date <= r.date) AS percentile,
          CASE WHEN n > {REPORTS} AND min(x) OVER w <> max(x) OVER w
               THEN (x - avg(x) OVER w) / stddev_samp(x) OVER w END AS z_score,
          way * row_number() OVER (PARTITION BY symbol, run ORDER BY date) AS streak,
          n - (SELECT max(o.n) FROM steps o WHERE o.symbol = r.symbol AND o.date <= r.date AND o.x =
                (SELECT max(p.x) FROM rows p WHERE p.symbol = r.symbol AND p.date <= r.date)) AS since_high
        FROM runs r
        WINDOW w AS (PARTITION BY symbol ORDER BY date ROWS BETWEEN {REPORTS} PRECEDING AND 1 PRECEDING)
        ORDER BY place
    """
    found: Any = duckdb.sql(query)
    theirs = found.df()
    ours = with_history(frame, reports=REPORTS).dropna(subset="shares_short")[ADDED]
    for name in ADDED:
        np.testing.assert_allclose(
            ours[name].to_numpy(dtype="float64", na_value=np.nan),
            theirs[name].to_numpy(dtype="float64", na_value=np.nan),
            rtol=1e-6, atol=1e-6, err_msg=name,
        )  # fmt: skip


@given(symbols)
def test_polars_gives_the_same(of: list[list[int | None]]) -> None:
    frame = panel_of(of)
    rows = pl.DataFrame(
        {name: values.to_list() for name, values in known(frame)[["symbol", "x"]].items()},
        schema={"symbol": pl.String, "x": pl.Float64},
    )
    window = pl.col("x").shift(1).rolling_mean(REPORTS), pl.col("x").shift(1).rolling_std(REPORTS)
    theirs = rows.with_columns(
        z=((pl.col("x") - window[0]) / window[1]).over("symbol"),
        way=pl.col("x").diff().sign().fill_null(0).over("symbol"),
    ).with_columns(
        streak=(pl.col("way") * (pl.int_range(pl.len()).over("symbol", pl.col("way").rle_id().over("symbol")) + 1))
    )
    ours = with_history(frame, reports=REPORTS).dropna(subset="shares_short")
    assert ours["streak"].tolist() == theirs["streak"].cast(pl.Int64).to_list()
    for mine, other in zip(ours["z_score"], theirs["z"].to_list(), strict=True):
        if mine == mine:
            assert other == pytest.approx(mine, rel=1e-5, abs=1e-5)
    ranks = rank(frame).dropna(subset="shares_short")["rank_percent"]
    dated = pl.DataFrame(
        {"date": known(frame)["date"].dt.date.tolist(), "x": known(frame)["x"].tolist()},
        schema={"date": pl.Date, "x": pl.Float64},
    )
    expected = dated.select((100 * pl.col("x").rank("average") / pl.len()).over("date")).to_series()
    np.testing.assert_allclose(ranks.to_numpy(), expected.to_numpy().astype("float64"), rtol=1e-12)


@given(symbols, st.data())
def test_no_value_uses_a_later_row(of: list[list[int | None]], data: st.DataObject) -> None:
    """The future is drawn anew: what was said of the past stays as it was."""
    cut = data.draw(st.integers(0, 13))
    drawn = [data.draw(st.lists(numbers | st.none(), max_size=5)) for _ in of]
    other = [its[:cut] + (more if len(its) >= cut else []) for its, more in zip(of, drawn, strict=True)]
    one, two = (with_history(panel_of(each), reports=REPORTS) for each in (of, other))
    until = pd.Timestamp(date(2024, 1, 12) + timedelta(15 * cut))
    past, again = (frame[frame["date"] < until].reset_index(drop=True) for frame in (one, two))
    pd.testing.assert_frame_equal(past, again)


@given(st.lists(st.integers(0, 5), max_size=20))
def test_streak_and_high_against_a_plain_reading(values: list[int]) -> None:
    frame = with_history(panel_of([list(values)]), reports=REPORTS)
    streak, streaks = 0, []
    for number, value in enumerate(values):
        way = 0 if number == 0 else int(np.sign(value - values[number - 1]))
        streak = way if way == 0 or streak * way <= 0 else streak + way
        streaks.append(streak)
    assert frame["streak"].tolist() == streaks
    highs = list(accumulate(values, max))
    assert frame["since_high"].tolist() == [
        min(n - m for m in range(n + 1) if values[m] == highs[n]) for n in range(len(values))
    ]


@pytest.mark.parametrize(("days", "reports"), [(15, 24), (7, 52), (1, 250)])
def test_the_default_looks_back_a_year(days: int, reports: int) -> None:
    index = pd.DatetimeIndex(pd.date_range("2020-01-01", periods=reports + 1, freq=f"{days}D"), name="date")
    frame = pd.DataFrame({"shares_short": np.arange(reports + 1) ** 2}, index=index)
    assert with_history(frame)["z_score"].notna().tolist() == [False] * reports + [True]


@pytest.mark.parametrize("odd", [np.inf, -np.inf, np.nan])
def test_what_is_no_measurement_counts_as_not_there(odd: float) -> None:
    frame = panel_of([[1, 5, 3]]).assign(days_to_cover=[1.0, odd, 3.0])
    result = with_history(frame, "days_to_cover", 2)
    assert result["percentile"].fillna(-1).tolist() == [100, -1, 100]
    assert rank(frame, "days_to_cover")["rank_percent"].fillna(-1).tolist() == [100, -1, 100]


@pytest.mark.parametrize("wrong", ["symbol", "nothing", 7, True])
def test_a_wrong_column_is_refused_and_the_right_ones_are_named(wrong: Any) -> None:
    with pytest.raises(InvalidArgument, match="shares_short"):
        with_history(panel_of([[1]]), wrong)


@pytest.mark.parametrize("reports", [1, 0, True, 2.5, "24"])
def test_a_wrong_number_of_reports_is_refused(reports: Any) -> None:
    with pytest.raises(InvalidArgument, match="reports"):
        with_history(panel_of([[1]]), reports=reports)


@pytest.mark.parametrize("function", [with_history, rank])
def test_frames_out_of_order_are_refused_under_the_function_s_own_name(function: Callable[..., Any]) -> None:
    frame = panel_of([[1, 2, 3]])
    with pytest.raises(InvalidArgument, match=function.__name__):
        function(frame.iloc[::-1])


def test_the_faces_have_them() -> None:
    assert futu_si.with_history is with_history
    assert futu_si.rank is rank


def test_the_units_of_new_columns_stand_beside_those_of_the_others() -> None:
    frame = panel_of([[1, 2, 3]])
    frame.attrs["units"] = {"close_price": "USD"}
    before = frame.attrs["units"]
    assert with_history(frame).attrs["units"] == before | {
        "percentile": "percent",
        "streak": "rows",
        "since_high": "rows",
    }
    assert rank(frame).attrs["units"] == before | {"rank_percent": "percent"}
    assert frame.attrs["units"] == before == {"close_price": "USD"}
    frame.attrs.clear()  # as of a frame that was read from CSV
    assert not rank(frame).attrs
