"""Pages: what OpenD sent is what users get, in frames, records and JSON, typed also when a value is missing."""

import json
import math
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd
import pytest

from opend_si import tables
from opend_si.simulator import Simulator, faults
from opend_si.simulator.universe import WITHOUT_ROWS
from opend_si_schema.calls import SHORT_INTEREST

# The broker's page "Get Short Interest": the first row of the HK.00700 sample, as its JavaScript sample prints it.
DOCUMENTED = {
    "timestamp": "1777478400",
    "timestampStr": "2026-04-30",
    "closePrice": 467.8,
    "lastClosePrice": 479.2,
    "aggregatedShort": "51480638",
    "aggregatedShortRatio": 0.56,
}
DTYPES = {
    "us": {
        "timestamp": "int64",
        "timestamp_str": "str",
        "shares_short": "int64",
        "short_percent": "float64",
        "avg_daily_share_volume": "int64",
        "days_to_cover": "float64",
        "close_price": "float64",
        "last_close_price": "float64",
    },
    "hk": {
        "timestamp": "int64",
        "timestamp_str": "str",
        "aggregated_short": "int64",
        "aggregated_short_ratio": "float64",
        "close_price": "float64",
        "last_close_price": "float64",
    },
}


def text_dtype() -> str:
    """What pandas calls a text column: `str` since pandas 3."""
    return str(pd.array(["a"], dtype="str").dtype) if pd.__version__ >= "3" else "object"


def dtypes(frame: pd.DataFrame) -> dict[str, str]:
    return {str(name): "str" if str(dtype) == text_dtype() else str(dtype) for name, dtype in frame.dtypes.items()}


def test_a_page_says_what_was_asked_and_where_it_came_from(client: Any) -> None:
    now = datetime.now(UTC)
    before = now.replace(microsecond=now.microsecond // 1000 * 1000)  # a page's moments are whole milliseconds
    page = client.get_page("HK.00700")
    assert (page.symbol, page.next_key, page.num, page.next, page.source) == (
        "HK.00700",
        "",
        10,
        "1772121600",
        "opend",
    )
    assert timedelta(0) <= page.fetched_at - before < timedelta(seconds=60)
    following = client.get_page("HK.00700", page.next)
    assert following.next_key == page.next
    assert following.hk["timestamp"].max() < page.hk["timestamp"].min()


@pytest.mark.parametrize("code", ["HK.00700", "US.AAPL", *WITHOUT_ROWS])
def test_both_frames_are_typed_whatever_they_hold(client: Any, code: str) -> None:
    page = client.get_page(code)
    assert dtypes(page.us) == DTYPES["us"]
    assert dtypes(page.hk) == DTYPES["hk"]
    for frame in (page.us, page.hk):
        assert frame.attrs["next_key"] == (page.next or "-1")
        assert list(frame.index) == list(range(len(frame)))


def test_frames_say_what_they_are(face: ModuleType, opend: Simulator, tmp_path: Path) -> None:
    """In words that JSON has: pandas and pyarrow write them into files."""
    at = {"mode": "online", "cache": tmp_path / "pages.sqlite3"}
    with face.OpenQuoteContext(opend.host, opend.port, **at) as context:
        for source in ("opend", "cache"):
            for code, kind in (("HK.00700", "short_interest"), ("US.AAPL", "daily_short_volume")):
                call = getattr(context, f"get_{kind}")
                before = pd.Timestamp.now("UTC")
                ret, *frames = call(code)
                assert ret == face.RET_OK
                for market, frame in zip(("US", "HK"), frames, strict=True):
                    said = frame.attrs
                    told = (said["symbol"], said["market"], said["kind"], said["source"])
                    assert told == (code, market, kind, source)
                    assert said["units"]["close_price"] == {"US": "USD", "HK": "HKD"}[market]
                    assert {*said["units"]} <= {
                        *frame.columns,
                        "aggregated_short",
                        "aggregated_short_ratio",
                        "new_time_str",
                    }
                    since = pd.Timestamp(said["checked_at"]) - before.floor("ms")
                    assert (since >= pd.Timedelta(0)) == (source == "opend")
                    assert json.loads(json.dumps(said)) == said
                    frame.to_parquet(tmp_path / "frame.parquet")
                    assert pd.read_parquet(tmp_path / "frame.parquet").attrs == said
                frames[0].attrs["units"]["close_price"] = "shells"
                assert call(code)[1].attrs["units"]["close_price"] == "USD"
    with face.Client(opend.host, opend.port, **at) as client:
        history = client.history("US.AAPL")
        history.to_parquet(tmp_path / "history.parquet")
        assert pd.read_parquet(tmp_path / "history.parquet").attrs == history.attrs


@pytest.mark.parametrize("lacks", [None, "shares_short", "short_percent", "timestamp_str"])
@pytest.mark.parametrize("code", ["US.AAPL", "HK.00700", *WITHOUT_ROWS])
def test_a_frame_of_blocks_is_what_pandas_makes_of_columns(
    client: Any, monkeypatch: pytest.MonkeyPatch, code: str, lacks: str | None
) -> None:
    """What is built of blocks, as pandas 3 can, and what earlier ones build."""
    page = client.get_page(code)
    for table in SHORT_INTEREST.tables:
        columns = [list(values) for values in page.content.columns(table)]
        for column, values in zip(table.columns, columns, strict=True):
            if column.name == lacks and values:
                values[len(values) // 2] = None
        index = pd.DatetimeIndex(pd.date_range("2026-01-01", periods=len(columns[0]), tz="UTC"), name="date")
        more = {"noted": index.tz_localize(None).to_numpy(), "at": index}
        made = []
        for make in (tables._from_blocks(), None):
            monkeypatch.setattr(tables, "_from_blocks", lambda make=make: make)
            made += [tables.build_frame(table, tuple(columns)), tables.build_frame(table, tuple(columns), index, more)]
        for ours, theirs in zip(made[:2], made[2:], strict=True):
            pd.testing.assert_frame_equal(ours, theirs, check_exact=True)
            pd.testing.assert_frame_equal(ours.copy(), theirs)
            assert ours.index.equals(theirs.index)
            assert type(ours.index) is type(theirs.index)
        monkeypatch.undo()


def test_a_missing_number_makes_its_column_nullable_and_loses_no_digit(client: Any, opend: Simulator) -> None:
    large = 2**53 + 1  # the first integer that a float cannot hold
    opend.universe.revise("US.AAPL", 0, sharesShort=None, shortPercent=None, timestampStr=None)
    opend.universe.revise("US.AAPL", 1, sharesShort=large, shortPercent=0.0, avgDailyShareVolume=0)
    page = client.get_page("US.AAPL")
    frame = page.us
    assert str(frame["shares_short"].dtype) == "Int64"
    assert frame["shares_short"].isna().tolist()[:2] == [True, False]
    assert frame["shares_short"][1] == large
    assert str(frame["avg_daily_share_volume"].dtype) == "int64"
    assert frame["avg_daily_share_volume"][1] == 0
    assert math.isnan(frame["short_percent"][0])
    assert frame["short_percent"][1] == 0.0
    assert pd.isna(frame["timestamp_str"][0])
    first, second, *_ = page.records
    assert (first.shares_short, first.short_percent, first.timestamp_str) == (None, None, None)
    assert (second.shares_short, second.short_percent, second.avg_daily_share_volume) == (large, 0.0, 0)


def test_records_hold_what_the_frames_hold(client: Any, face: ModuleType) -> None:
    for code, market, kind in (("HK.00700", "hk", face.HkShortInterest), ("US.AAPL", "us", face.UsShortInterest)):
        page = client.get_page(code, num=50)
        frame = getattr(page, market)
        assert all(type(record) is kind for record in page.records)
        rows = [tuple(getattr(record, name) for name in frame.columns) for record in page.records]
        assert rows == list(frame.itertuples(index=False, name=None))


def test_json_is_what_the_brokers_samples_print(client: Any) -> None:
    page = client.get_page("HK.00700")
    told = json.loads(page.to_json())
    assert list(told) == ["hkItemList", "nextKey"]
    assert told["hkItemList"][0] == DOCUMENTED
    assert told["nextKey"] == "1772121600"
    assert "\n" not in page.to_json(indent=None)


def test_frames_are_the_callers_to_change(client: Any) -> None:
    page = client.get_page("HK.00700")
    kept = page.hk
    changed = page.hk
    changed.loc[0, "close_price"] = -1.0
    changed.attrs["next_key"] = "changed"
    pd.testing.assert_frame_equal(page.hk, kept)
    assert page.hk.attrs == kept.attrs


def test_a_walk_to_the_end_gives_every_row_once(client: Any, opend: Simulator) -> None:
    for code in ("HK.00700", "US.AAPL"):
        dates: list[str] = []
        cursor = None
        while True:
            page = client.get_page(code, cursor, 50)
            dates += [record.timestamp_str for record in page.records]
            cursor = page.next
            if cursor is None:
                break
        rows = opend.universe.rows(code)
        assert rows is not None
        assert dates == [row.timestampStr for row in rows]


@pytest.mark.parametrize("cursor", [None, "", "-1"])
def test_no_cursor_is_the_end(client: Any, opend: Simulator, face: ModuleType, cursor: str | None) -> None:
    opend.faults += [faults.next_key(cursor), faults.next_key(cursor)]
    assert client.get_page("HK.00700").next is None
    with face.OpenQuoteContext(opend.host, opend.port) as context:
        _, us, hk = context.get_short_interest("HK.00700")
    assert us.attrs["next_key"] == hk.attrs["next_key"] == "-1"


def test_a_number_that_no_column_holds_is_named(client: Any, opend: Simulator, face: ModuleType) -> None:
    opend.universe.revise("US.AAPL", 3, sharesShort=2**63)
    with pytest.raises(face.ProtocolError, match="shares_short"):
        client.get_page("US.AAPL")
