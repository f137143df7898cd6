"""The screen of a market against a plain reading of the simulator's rows."""

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from math import inf, isnan, nan
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd
import pytest

import futu_si
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


def ranked(rows: list[Row], by: str, top: int = 20) -> list[Row]:
    there = [row for row in rows if row[by] is not None and not isnan(row[by])]
    missing = [row for row in rows if row not in there]
    return [*sorted(there, key=lambda row: -row[by]), *missing][:top]


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
    for top in (1, 5, len(values), len(values) + 1, 1000):
        assert_rows(offline.screen(market, by, top), ranked(rows, by, top))


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
        assert_rows(client.screen("US", by), ranked(now, by))
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
