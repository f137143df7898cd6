"""Point in time by publication.

No row is answered before the exchange had published it, and frames join with prices as they come.

The oracle of publication days is the library `holidays` with NumPy's business days; joins are those of pandas and
Polars.
"""

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import polars as pl
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

import futu_si
from opend_si.dates import AsOf
from opend_si.simulator import Simulator
from opend_si_schema.calls import HK, US
from tests.values.test_dates_are_the_exchanges import count

SYMBOLS = ("HK.00005", "HK.00700", "US.AAPL", "US.NVDA")
DELAY = {"HK": 5, "US": 7}
ZONES = {"HK": ZoneInfo("Asia/Hong_Kong"), "US": ZoneInfo("America/New_York")}


def public_on(market: str, day: pd.Timestamp) -> date:
    return count(HK if market == "HK" else US, day.date(), DELAY[market])


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("record")
    with (
        Simulator() as opend,
        futu_si.Client(opend.host, opend.port, mode="online", cache=folder / "pages.sqlite3") as client,
    ):
        assert client.sync(SYMBOLS).ok
    return folder / "pages.sqlite3"


@pytest.fixture
def client(home: Path) -> Iterator[Any]:
    with futu_si.Client(mode="offline", cache=home) as client:
        yield client


@pytest.mark.parametrize("symbol", SYMBOLS)
def test_every_row_says_by_when_it_was_public(client: Any, symbol: str) -> None:
    frame, market = client.history(symbol), symbol[:2]
    assert [day.date() for day in frame["published_by"]] == [public_on(market, day) for day in frame.index]
    assert frame["published_by"].dtype == frame.index.dtype


@pytest.mark.parametrize("symbol", SYMBOLS)
def test_only_what_was_public_by_the_end_of_a_day_is_answered(client: Any, symbol: str) -> None:
    frame, market = client.history(symbol), symbol[:2]
    first, last = frame.index[0].date(), frame["published_by"].max().date() + timedelta(days=2)
    for number in range(0, (last - first).days, 97):
        day = first + timedelta(days=number)
        wanted = [each for each in frame.index if public_on(market, each) <= day]
        found = client.history(symbol, as_of=day, by="publication")
        assert list(found.index) == wanted
        panel = client.panel([symbol], as_of=day, by="publication")
        assert list(panel["date"]) == wanted


def test_at_noon_of_the_day_a_row_is_not_public_yet(client: Any) -> None:
    frame = client.history("US.AAPL")
    day, public = frame.index[-1], frame["published_by"].iloc[-1].date()
    noon = datetime.combine(public, time(12), ZONES["US"])
    assert day not in client.history("US.AAPL", as_of=noon, by="publication").index
    assert day in client.history("US.AAPL", as_of=public, by="publication").index
    midnight = datetime.combine(public + timedelta(days=1), time(), ZONES["US"])
    assert day in client.history("US.AAPL", as_of=midnight.astimezone(UTC), by="publication").index


@given(st.datetimes(datetime(2013, 1, 1), datetime(2025, 12, 31)), st.sampled_from([HK, US]))
def test_a_moment_makes_public_what_the_day_before_ended_with(moment: datetime, market: Any) -> None:
    aware = moment.replace(tzinfo=ZONES[market.prefix])
    last = AsOf.read(aware, "publication").public(market)
    assert last is not None
    end = datetime.combine(last + timedelta(days=1), time(), ZONES[market.prefix])
    assert end <= aware + timedelta(milliseconds=1)
    assert aware < end + timedelta(days=1, hours=2)  # a day may be longer than 24 hours


def test_every_table_takes_it(client: Any, tmp_path: Path) -> None:
    day = date(2020, 6, 30)
    panel = client.panel(market="US", as_of=day, by="publication")
    assert set(panel["symbol"]) == {"US.AAPL", "US.NVDA"}
    assert client.arrow_table(market="US", as_of=day, by="publication").num_rows == len(panel)
    (file,) = client.export(tmp_path, market="US", as_of=day, by="publication")
    assert pq.read_metadata(file).num_rows == len(panel)
    screen = client.screen("US", as_of=day, as_of_by="publication", by="shares_short")
    latest = panel.groupby("symbol").tail(1)
    assert sorted(screen["date"]) == sorted(latest["date"])


def test_wrong_questions_are_refused(client: Any) -> None:
    for ask in (client.history, lambda code, **named: client.panel([code], **named)):
        with pytest.raises(futu_si.InvalidArgument, match="needs a moment"):
            ask("US.AAPL", by="publication")
        with pytest.raises(futu_si.InvalidArgument, match="record or publication"):
            ask("US.AAPL", as_of="2020-01-01", by="exchange")
    # Of a screen `by` is another argument.
    with pytest.raises(futu_si.InvalidArgument, match=r"^as_of_by is 'publication', which needs a moment"):
        client.screen("US", as_of_by="publication")
    with pytest.raises(futu_si.InvalidArgument, match=r"^as_of_by is 'exchange': it takes record or publication"):
        client.screen("US", as_of="2020-01-01", as_of_by="exchange")


def test_who_asks_for_a_time_before_the_record_is_told_of_the_other_way_to_look_back(client: Any) -> None:
    with pytest.raises(futu_si.CacheMiss, match="look back by 'publication'"):
        client.history("US.AAPL", as_of="2020-06-30")
    assert len(client.history("US.AAPL", as_of="2020-06-30", by="publication"))


def prices() -> pd.DataFrame:
    days = pd.bdate_range("2025-01-01", "2026-06-30")
    return pd.DataFrame({"date": days, "price": np.arange(len(days)) / 4})


def test_pandas_joins_them_as_they_come(client: Any) -> None:
    history, daily = client.history("US.AAPL"), prices()
    by_column = pd.merge_asof(daily, history.reset_index(), left_on="date", right_on="published_by")
    by_index = pd.merge_asof(
        daily.set_index("date"), history.set_index("published_by"), left_index=True, right_index=True
    )
    assert by_column["shares_short"].tolist() == by_index["shares_short"].tolist()
    panel = client.panel(market="US").sort_values("published_by")
    both = pd.concat([daily.assign(symbol=symbol) for symbol in ("US.AAPL", "US.NVDA")]).sort_values("date")
    joined = pd.merge_asof(both, panel, left_on="date", right_on="published_by", by="symbol", suffixes=("", "_of_row"))
    apple = joined[joined["symbol"] == "US.AAPL"]
    assert apple["shares_short"].tolist() == by_column["shares_short"].tolist()
    rows: Any = joined.itertuples()
    for row in rows:
        assert row.published_by <= row.date
    seen = pd.DataFrame({"moment": pd.to_datetime(["2026-12-01", "2100-01-01"], utc=True)})
    assert (
        pd.merge_asof(seen, history.sort_values("known_at"), left_on="moment", right_on="known_at")["shares_short"]
        .notna()
        .iloc[1]
    )
    merged = daily.merge(history.reset_index(), on="date", how="inner")
    assert len(merged) == history.index.isin(daily["date"]).sum()


def test_polars_joins_them_as_they_come(client: Any, tmp_path: Path) -> None:
    daily = pl.DataFrame({"date": [day.date() for day in prices()["date"]]}).with_columns(symbol=pl.lit("US.AAPL"))
    wanted = pd.merge_asof(prices(), client.history("US.AAPL").reset_index(), left_on="date", right_on="published_by")
    (file,) = client.export(tmp_path, market="US")
    for rows in (pl.from_arrow(client.arrow_table(market="US")), pl.read_parquet(file)):
        assert isinstance(rows, pl.DataFrame)
        joined = daily.join_asof(
            rows.sort("published_by"), left_on="date", right_on="published_by", by="symbol", check_sortedness=False
        )
        assert joined["shares_short"].to_list() == wanted["shares_short"].astype("int64").tolist()


def test_frames_say_what_they_are(client: Any, one_face: ModuleType) -> None:
    attrs = client.history("US.AAPL").attrs
    assert (attrs["symbol"], attrs["market"], attrs["kind"]) == ("US.AAPL", "US", "short_interest")
    assert attrs["units"]["days_to_cover"] == "days"
    assert attrs["source"] == "OpenD protocol 3249"
    assert pd.Timestamp(attrs["checked_at"]) <= pd.Timestamp.now("UTC")
    panel = client.panel(market="HK").attrs
    assert (panel["market"], panel["kind"], panel["units"]["close_price"]) == ("HK", "short_interest", "HKD")
