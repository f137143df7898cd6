"""The screen of a market against a plain reading of the simulator's rows.

Ranked are rows of one time, by what was measured: the ages that are let through are written out here as days of the
exchanges' calendars, not computed.
"""

import warnings
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime
from math import inf, isinf, isnan, nan
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd
import pytest

import futu_si
from opend_si.pages.named import call_of
from opend_si.simulator import Simulator, Universe
from opend_si_schema.calls import SHORT_INTEREST

TABLES = {table.market.prefix: table for table in SHORT_INTEREST.tables}
COUNTS = {"HK": "aggregated_short", "US": "shares_short"}
# What rows of a market can be ranked by.
NUMBERS = {
    "HK": ("aggregated_short", "aggregated_short_ratio", "close_price", "last_close_price"),
    "US": (
        *(
            "shares_short",
            "short_percent",
            "avg_daily_share_volume",
            "days_to_cover",
            "close_price",
            "last_close_price",
        ),
    ),
}
CHANGES = ("change", "change_percent")
BY = [(market, by) for market, names in NUMBERS.items() for by in (*names, *CHANGES)]
SYMBOLS = {
    "HK": [f"HK.{number:05}" for number in range(1, 23)],
    "US": [f"US.{letter}" for letter in "ABCDEFGHIJKLMNOPQRSTUV"],
}

# A row by column, with what changed; None is what there is no value of.
Row = dict[str, Any]


def make_market(symbols: Sequence[str]) -> Universe:
    """A market in which values are equal, missing, NaN, 0 and infinite, and the first symbol has one row."""
    universe = Universe(symbols=symbols, most_rows=3)
    values = {"int64": (5, None, 0, 5, 2**53 + 1, 2**53), "float64": (1.25, None, nan, 0.0, -0.0, inf, 1.25)}
    for place, symbol in enumerate(symbols):
        for shift, column in enumerate(TABLES[symbol[:2]].columns):
            if place and column.name in NUMBERS[symbol[:2]]:
                some = values[column.dtype]
                for index in range(2):
                    value: Any = some[(place + shift + 4 * index) % len(some)]
                    universe.revise(symbol, index, **{column.field: value})
    for symbol in symbols[:1]:
        rows = universe.rows(symbol)
        assert isinstance(rows, list)
        del rows[1:]
    return universe


@pytest.fixture
def face(one_face: ModuleType) -> ModuleType:
    return one_face


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Universe, Path]:
    """A market, and a cache with all of it."""
    universe = make_market([*SYMBOLS["HK"], *SYMBOLS["US"]])
    cache = tmp_path_factory.mktemp("recorded") / "pages.sqlite3"
    with Simulator(universe) as opend, futu_si.Client(opend.host, opend.port, mode="online", cache=cache) as client:
        assert client.sync(universe.symbols).ok
    return universe, cache


@pytest.fixture
def offline(face: ModuleType, recorded: tuple[Universe, Path]) -> Iterator[Any]:
    """A client of what is recorded; there is no OpenD."""
    with face.Client(mode="offline", cache=recorded[1]) as opened:
        yield opened


@pytest.fixture
def universe(recorded: tuple[Universe, Path]) -> Universe:
    return recorded[0]


@pytest.fixture
def opend(start: Callable[..., Simulator]) -> Simulator:
    """A small market that is not recorded yet."""
    return start(universe=make_market([*SYMBOLS["HK"][:3], *SYMBOLS["US"][:8]]))


@pytest.fixture
def client(face: ModuleType, opend: Simulator, tmp_path: Path) -> Iterator[Any]:
    at = {"mode": "online", "max_age": 0, "cache": tmp_path / "pages.sqlite3"}
    with face.Client(opend.host, opend.port, **at) as opened:
        yield opened


def latest_rows(universe: Universe, market: str) -> list[Row]:
    """The latest row of each symbol that has one, in the order of symbols."""
    found = []
    for symbol in sorted(universe.symbols):
        rows = universe.rows(symbol)
        if symbol.startswith(market) and rows:
            row, *before = ({"symbol": symbol, **read(row, market)} for row in rows[:2])
            now, then = row[COUNTS[market]], before[0][COUNTS[market]] if before else None
            row["change"] = None if now is None or then is None else now - then
            row["change_percent"] = 100 * row["change"] / then if row["change"] is not None and then else None
            found.append(row)
    return found


def read(row: Any, market: str) -> Row:
    return {
        column.name: getattr(row, column.field) if row.HasField(column.field) else None
        for column in TABLES[market].columns
    }


def ranked(rows: list[Row], by: str, top: int = 20, sign: int = -1) -> list[Row]:
    there = [row for row in rows if row[by] is not None and not isnan(row[by])]
    missing = [row for row in rows if row not in there]
    measured = [row for row in there if not isinf(row[by])]
    return [*sorted(measured, key=lambda row: sign * row[by]), *missing][:top]


def assert_rows(frame: pd.DataFrame, wanted: list[Row]) -> None:
    """The frame has these rows, in this order, numbers to the last digit."""
    assert frame["symbol"].tolist() == [row["symbol"] for row in wanted]
    assert frame.index.tolist() == list(range(len(wanted)))
    for name in wanted[0]:
        for found, row in zip(frame[name].tolist(), wanted, strict=True):
            value = row[name]
            if value is None or value != value:
                assert pd.isna(found), name
            else:
                assert found == (pytest.approx(value, rel=1e-12) if name == "change_percent" else value), name
    assert frame["date"].dt.strftime("%Y-%m-%d").tolist() == [row["timestamp_str"] for row in wanted]


@pytest.mark.parametrize(("market", "by"), BY)
def test_each_number_ranks_the_latest_rows(offline: Any, universe: Universe, market: str, by: str) -> None:
    rows = latest_rows(universe, market)
    values = [row[by] for row in rows if row[by] is not None and not isnan(row[by])]
    assert len(set(values)) < len(values) < len(rows) == len(SYMBOLS[market])  # some are equal, some are missing
    endless = [row["symbol"] for row in rows if row[by] in (inf, -inf)]
    for top in (1, 5, len(values), len(values) + 1, 1000):
        for sign in (-1, 1):
            with warnings.catch_warnings(record=True) as told:
                warnings.simplefilter("always")
                frame = offline.screen(market, by, top, ascending=sign == 1)
            assert_rows(frame, ranked(rows, by, top, sign))
            assert [f"{by} of {len(endless)} of {len(rows)} symbols is" in str(one.message) for one in told] == (
                [True] if endless else []
            )
            assert all(name in str(told[0].message) for name in endless[:5])


def test_a_number_that_stands_for_all_above_is_no_measurement(client: Any, face: ModuleType, opend: Simulator) -> None:
    opend.universe.revise("US.B", 0, daysToCover=999.99, closePrice=999.99)
    opend.universe.revise("US.C", 0, daysToCover=999.98)
    opend.universe.revise("US.D", 0, daysToCover=1e6, closePrice=1.0)
    client.sync(["US.A", "US.B", "US.C", "US.D"])
    with pytest.warns(
        face.ShortInterestWarning, match=r"days_to_cover of 2 of 4 symbols.*: left out are US\.B, US\.D\."
    ) as told:
        frame = client.screen(by="days_to_cover")
    assert told[0].filename == __file__
    assert frame["symbol"].tolist() == ["US.C", "US.A"]
    assert client.screen(by="close_price")["symbol"].tolist()[0] == "US.B"  # a price may have any number


# The newest row of the simulator is of 2026-04-30. Rows of before these days are too old to stand beside it.
OLDEST = {
    ("US", "short_interest"): "2026-04-15",
    ("HK", "short_interest"): "2026-04-17",
    ("US", "daily_short_volume"): "2026-04-22",
    ("HK", "daily_short_volume"): "2026-04-23",
}


@pytest.mark.parametrize(("market", "kind"), OLDEST)
def test_rows_too_old_to_stand_beside_the_newest_are_left_out(
    face: ModuleType, start: Callable[..., Simulator], tmp_path: Path, market: str, kind: str
) -> None:
    codes = SYMBOLS[market][:20]
    opend = start(universe=Universe(symbols=codes, most_rows=40))
    dates = {}
    for behind, code in enumerate(codes):  # of each its newest rows never came
        rows = opend.universe.rows(code, call_of(kind))
        assert isinstance(rows, list)
        del rows[:behind]
        dates[code] = rows[0].timestampStr
    first = OLDEST[market, kind]
    assert dates[codes[0]] == "2026-04-30"
    old = [code for code in codes if dates[code] < first]
    assert first in dates.values()
    assert 5 < len(old) < 20
    with face.Client(opend.host, opend.port, mode="online", cache=tmp_path / "pages.sqlite3") as client:
        assert client.sync(codes, kind=kind).ok
        with pytest.warns(face.ShortInterestWarning, match=f"{len(old)} of 20 symbols have no row of {first}") as told:
            frame = client.screen(top=100, by="close_price", kind=kind)
        assert f"left out are {', '.join(old[:5])} and {len(old) - 5} more" in str(told[0].message)
        assert {*frame["symbol"]} == {*codes} - {*old}
        # Whose days are named decides, and nothing is said.
        for since in (first, "2026-04-30", "2000-01-01", dates[codes[7]], date(2026, 4, 20)):
            frame = client.screen(top=100, by="close_price", kind=kind, since=since)
            assert {*frame["symbol"]} == {code for code in codes if dates[code] >= str(since)}
        assert client.screen(kind=kind, since="2027-01-01").empty
        # Old rows stand beside each other.
        assert {*client.screen(codes=old[-2:], by="close_price", kind=kind)["symbol"]} == {*old[-2:]}


def test_a_watch_list_is_ranked_by_itself(offline: Any, universe: Universe, face: ModuleType) -> None:
    codes = ["US.V", "US.C", "US.C", "US.G"]
    rows = [row for row in latest_rows(universe, "US") if row["symbol"] in codes]
    assert len(rows) == 3
    for by in ("shares_short", "change"):
        assert_rows(offline.screen(codes=codes, by=by), ranked(rows, by))
        assert_rows(offline.screen(codes=codes, by=by, ascending=True, top=2), ranked(rows, by, 2, 1))
    assert offline.screen(codes="HK.00003", by="close_price")["symbol"].tolist() == ["HK.00003"]
    with pytest.raises(face.CacheMiss, match=r"US\.ZZ"):
        offline.screen(codes=["US.C", "US.ZZ"])
    with pytest.raises(face.InvalidArgument, match=r"^codes are of HK and US: a table is of one market"):
        offline.screen(codes=["US.C", "HK.00003"])
    with pytest.raises(face.InvalidArgument, match=r"^codes are of US, and market is 'HK': a table is of one market"):
        offline.screen("HK", codes=["US.C"])
    with pytest.raises(face.InvalidArgument, match=r"^codes is empty and no market is named"):
        offline.screen(codes=[])
    for since in ("0001-01-01T00:00+14:00", "9999-12-31T23:59-14:00"):
        with pytest.raises(face.InvalidArgument, match=r"^since is .* out of range"):
            offline.screen("US", since=since)
    with pytest.raises(face.InvalidArgument, match="nonsense"):
        offline.screen(codes=["nonsense"])


def test_unless_told_otherwise_twenty_are_ranked_by_what_changed(offline: Any, universe: Universe) -> None:
    frame = offline.screen("US")
    assert len(frame) == 20
    assert_rows(frame, ranked(latest_rows(universe, "US"), "change_percent"))


def test_a_screen_has_the_columns_of_panel_and_of_changes(offline: Any, face: ModuleType) -> None:
    for market in SYMBOLS:
        frame, whole = offline.screen(market, top=1000), face.with_changes(offline.panel(market=market))
        assert frame.dtypes.to_dict() == whole.dtypes.to_dict()
        assert list(frame) == list(whole)
        assert frame.attrs["market"] == market
        last = whole.groupby("symbol", observed=True).tail(1).reset_index(drop=True)
        again = frame.sort_values("symbol").reset_index(drop=True)
        pd.testing.assert_frame_equal(again, last, check_exact=True)


def test_a_market_need_not_be_named_where_there_is_one(client: Any, face: ModuleType, opend: Simulator) -> None:
    client.sync(SYMBOLS["HK"][:3])
    assert_rows(client.screen(), ranked(latest_rows(opend.universe, "HK"), "change_percent"))
    with pytest.raises(face.CacheMiss, match=r"US.*sync"):
        client.screen("US")
    client.sync(SYMBOLS["US"][:8])
    with pytest.raises(face.InvalidArgument, match="name one market"):
        client.screen()
    assert_rows(client.screen("HK"), ranked(latest_rows(opend.universe, "HK"), "change_percent"))


def test_as_of_ranks_what_was_latest_then(client: Any, opend: Simulator) -> None:
    client.sync(SYMBOLS["US"][:8])
    before, between = latest_rows(opend.universe, "US"), datetime.now(UTC)
    opend.universe.publish("US.A", 1)
    opend.universe.publish("US.C", 2)
    opend.universe.revise("US.D", 0, sharesShort=10**9)
    opend.universe.revise("US.E", 1, sharesShort=10**9)
    client.sync(SYMBOLS["US"][:8])
    now = latest_rows(opend.universe, "US")
    assert now != before
    for by in ("shares_short", "change", "change_percent"):
        assert_rows(client.screen("US", by, since="2000-01-01"), ranked(now, by))  # two reports lie between them
        assert_rows(client.screen("US", by, as_of=between), ranked(before, by))
        assert_rows(client.screen("US", by, as_of=str(between)), ranked(before, by))


def test_what_is_not_complete_is_left_out_and_told(
    face: ModuleType, start: Callable[..., Simulator], tmp_path: Path
) -> None:
    opend = start(universe=Universe(symbols=["US.A", "US.B"], most_rows=60))
    with face.Client(opend.host, opend.port, mode="online", cache=tmp_path / "pages.sqlite3") as client:
        client.get_page("US.B", num=50)
        with pytest.raises(face.CacheMiss, match=r"US\.B is not completely recorded"):
            client.screen()
        client.sync(["US.A"])
        with pytest.warns(face.ShortInterestWarning, match=r"US\.B is not completely recorded") as told:
            frame = client.screen()
        assert told[0].filename == __file__
        assert frame["symbol"].tolist() == ["US.A"]


def test_symbols_without_rows_are_in_no_screen(client: Any) -> None:
    client.sync(["HK.02840"])
    assert client.screen().empty
    client.sync(["HK.00001"])
    frame = client.screen()
    assert frame["symbol"].tolist() == ["HK.00001"]
    assert frame[["days_between", "change", "change_percent"]].isna().all(axis=None)


def test_wrong_arguments_are_refused(client: Any, face: ModuleType, opend: Simulator) -> None:
    with pytest.raises(face.CacheMiss, match="sync"):
        client.screen()
    client.sync(["HK.00001", "US.A"])
    opend.requests.clear()
    for market, names in NUMBERS.items():
        other = next(iter({*NUMBERS["HK"], *NUMBERS["US"]} - {*names}))
        for by in (
            "",
            "symbol",
            "date",
            "timestamp",
            "timestamp_str",
            "known_at",
            "days_between",
            None,
            1,
            ["change"],
            other,
        ):
            with pytest.raises(face.InvalidArgument, match=f"by is .*rows of {market}.*") as error:
                client.screen(market, by)
            assert str(error.value).endswith(", ".join((*names, *CHANGES)))
    for top in (0, -1, 2.0, "5", None, True):
        with pytest.raises(face.InvalidArgument, match=r"top is .*1 or more"):
            client.screen("HK", top=top)
    for wrong in ("XX", "hk", "", 1):
        with pytest.raises(face.InvalidArgument, match=r"market is .*(HK or US|US or HK)"):
            client.screen(wrong)
    for ascending in (1, None, "yes"):
        with pytest.raises(face.InvalidArgument, match="ascending is"):
            client.screen("HK", ascending=ascending)
    for since in ("soon", 7, ""):
        with pytest.raises(face.InvalidArgument, match="since is"):
            client.screen("HK", since=since)
    with pytest.raises(face.InvalidArgument, match="as_of"):
        client.screen("HK", as_of="soon")
    with face.Client(mode="bypass", cache=client._settings.cache) as bypass, pytest.raises(face.InvalidArgument):
        bypass.screen("HK")
    assert opend.requests == []


def test_by_is_checked_where_no_market_is_named(client: Any, face: ModuleType, opend: Simulator) -> None:
    client.sync(["HK.00001"])
    with pytest.raises(face.InvalidArgument, match=r"days_to_cover.*rows of HK"):
        client.screen(by="days_to_cover")
    assert len(client.screen(by="aggregated_short_ratio")) == 1
