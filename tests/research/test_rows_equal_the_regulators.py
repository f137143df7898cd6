"""Recorded rows against the regulators' files.

True positions agree, each difference is found, odd cells are understood or named.

The true values are in tests/data/regulators, each with its source. They are written here in the regulators' own
formats.
"""

import csv
from collections import defaultdict
from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd
import pytest

import futu_si
from opend_si.errors import InvalidArgument
from opend_si.research.panel import Choice, panel
from opend_si.research.regulators import key_of, read_report
from opend_si.research.verify import EQUAL, check, verify
from opend_si.settings import Settings
from opend_si.simulator import Simulator, Universe
from opend_si_schema.calls import SHORT_INTEREST
from tests.processes import ROOT

DATA = ROOT / "tests/data/regulators"
SFC = "Date,Stock Code,Stock Name,Aggregated Reportable Short Positions (Shares),Aggregated Reportable Short Positions (HK$)"
FINRA = (
    "accountingYearMonthNumber|symbolCode|issueName|issuerServicesGroupExchangeCode|marketClassCode|"
    "currentShortPositionQuantity|previousShortPositionQuantity|stockSplitFlag|averageDailyVolumeQuantity|"
    "daysToCoverQuantity|revisionFlag|changePercent|changePreviousNumber|settlementDate"
)


def facts(name: str) -> Iterator[dict[str, str]]:
    with (DATA / name).open(encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file)


def sfc_file(
    folder: Path, day: date, lines: list[tuple[str, str, str]], ending: str = "\r\n", bom: bool = True
) -> Path:
    """A weekly file as the SFC writes it; lines are stock code, shares, HK$."""
    path = folder / f"Short_Position_Reporting_Aggregated_Data_{day:%Y%m%d}.csv"
    text = [SFC, *(f'{day:%d/%m/%Y},{code},A NAME,"{shares}","{worth}"' for code, shares, worth in lines)]
    path.write_bytes((ending.join(text) + ending).encode("utf-8-sig" if bom else "utf-8"))
    return path


def finra_file(folder: Path, day: date, lines: list[tuple[str, str, str, str]]) -> Path:
    """A twice-monthly file as FINRA writes it; lines are symbol, shares, volume, days to cover."""
    path = folder / f"shrt{day:%Y%m%d}.csv"
    text = [FINRA, *(f"{day:%Y%m%d}|{c}|A NAME|A|NYSE|{s}|1||{v}|{d}||1|1|{day}" for c, s, v, d in lines)]
    path.write_text("\n".join(text) + "\n", encoding="utf-8")
    return path


def record(folder: Path, rows: dict[str, list[dict[str, Any]]], monkeypatch: pytest.MonkeyPatch) -> Choice:
    """A record of these rows, newest first, by symbol; each by proto field name."""
    most = max(map(len, rows.values()))
    for symbol, its in rows.items():
        universe = Universe(symbols=[symbol], most_rows=len(its))
        for number, values in enumerate(its):
            universe.revise(symbol, number, **values)
        with Simulator(universe) as opend, futu_si.Client(opend.host, opend.port, mode="online") as client:
            assert client.sync([symbol]).ok, most
    monkeypatch.setenv("OPEND_SI_MODE", "offline")
    return recorded()


def recorded() -> Choice:
    """All short interest that is recorded."""
    return Choice(Settings.resolve().cache, may_write=True, call=SHORT_INTEREST)


@pytest.fixture(autouse=True)
def _recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPEND_SI_MODE", "online")


def at(day: date, zone: str) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(zone)).timestamp())


def hk_row(day: date, shares: int, close: float) -> dict[str, Any]:
    return {
        "timestamp": at(day, "Asia/Hong_Kong"),
        "timestampStr": str(day),
        "aggregatedShort": shares,
        "closePrice": close,
    }


def us_row(day: date, shares: int, volume: int, days: float) -> dict[str, Any]:
    row = {"timestamp": at(day, "America/New_York"), "timestampStr": str(day), "sharesShort": shares}
    return {**row, "avgDailyShareVolume": volume, "daysToCover": days}


def test_the_brokers_documented_rows_are_the_sfcs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = [fact for fact in facts("hk_broker_sample_vs_sfc.csv") if fact["sfc_shares"]]
    files = [
        sfc_file(tmp_path, date.fromisoformat(fact["date"]), [("700", fact["sfc_shares"], fact["sfc_hkd"])])
        for fact in known
    ]
    with Simulator() as opend, futu_si.Client(opend.host, opend.port) as client:
        client.sync(["HK.00700"])
    frame = verify(recorded(), files)
    assert len(known) == 6
    assert frame.groupby("column")["result"].value_counts().to_dict() == {
        ("aggregated_short", "equal"): 6,
        ("close_price", "equal"): 6,
    }
    assert frame.attrs == {"not_recorded": 0, "ambiguous": [], "odd": [], "origin": "simulator"}


def test_true_positions_of_hong_kong_are_equal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    by_day: dict[date, list[tuple[str, str, str]]] = defaultdict(list)
    rows: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for fact in facts("hk_sfc_positions.csv"):
        day, shares = date.fromisoformat(fact["reporting_date"]), int(fact["shares"])
        by_day[day].append((fact["stock_code"].lstrip("0"), fact["shares"], fact["hkd"]))
        if shares:  # OpenD sends no row where there is nothing to report
            rows[f"HK.{fact['stock_code']}"].append(hk_row(day, shares, float(fact["hkd_per_share"])))
    newest_first = {symbol: sorted(its, key=lambda row: -row["timestamp"]) for symbol, its in rows.items()}
    choice = record(tmp_path, newest_first, monkeypatch)
    frame = verify(choice, [sfc_file(tmp_path, day, lines) for day, lines in by_day.items()])
    assert set(frame["result"]) == {"equal"}
    assert len(frame[frame["column"] == "close_price"]) == sum(map(len, rows.values()))


def test_true_positions_of_the_us_are_equal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files: list[Path] = []
    rows: dict[str, list[dict[str, Any]]] = {}
    for fact in facts("us_finra_positions.csv"):
        if not fact["days_to_cover"]:
            continue
        day = date.fromisoformat(fact["settlement_date"][:10])
        numbers = fact["current_short_position"], fact["average_daily_volume"], fact["days_to_cover"]
        rows.setdefault(f"US.{fact['symbol']}", []).append(
            us_row(day, int(numbers[0]), int(numbers[1]), float(numbers[2]))
        )
        folder = tmp_path / str(len(files))
        folder.mkdir()
        files.append(finra_file(folder, day, [(fact["symbol"], *numbers)]))
    frame = verify(record(tmp_path, rows, monkeypatch), files)
    equal = frame[frame["result"] == "equal"]
    assert len(equal) == 3 * len(files)
    # Two files are of one day here: in each of them the symbols of the other are missing.
    assert set(frame["result"]) <= {"equal", "only here"}
    findings = check(recorded()._replace(market="US"))
    assert list(findings["column"].unique()) in ([], ["date"])


def test_each_difference_is_found_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    day = date(2026, 5, 15)
    rows = {
        "HK.00001": [hk_row(day, 1000, 12.5)],
        "HK.00005": [hk_row(day, 2000, 80.0)],
        "HK.00388": [hk_row(day, 3000, 400.0)],
        "HK.00939": [hk_row(day, 0, 8.0)],
    }
    choice = record(tmp_path, rows, monkeypatch)
    lines = [("1", "1000", "12500"), ("5", "2001", "160080"), ("388", "3000", "1200600"), ("9999", "5", "50")]
    frame = verify(choice, sfc_file(tmp_path, day, lines)).set_index(["symbol", "column"])
    assert frame["result"].to_dict() == {
        ("HK.00001", "aggregated_short"): "equal",
        ("HK.00001", "close_price"): "equal",
        ("HK.00005", "aggregated_short"): "different",
        ("HK.00005", "close_price"): "equal",
        ("HK.00388", "aggregated_short"): "equal",
        ("HK.00388", "close_price"): "different",
        ("HK.00939", "aggregated_short"): "equal",  # nothing, and not listed
    }
    assert frame.attrs["not_recorded"] == 1
    assert frame["recorded"]["HK.00005", "aggregated_short"] == 2000
    assert frame["reported"]["HK.00005", "aggregated_short"] == 2001


def test_rows_of_one_side_only_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    day, other = date(2026, 5, 15), date(2026, 5, 29)
    rows = {"US.A": [us_row(other, 5, 5, 1.0), us_row(day, 5, 5, 1.0)], "US.B": [us_row(other, 7, 7, 1.0)]}
    choice = record(tmp_path, rows, monkeypatch)
    frame = verify(choice, finra_file(tmp_path, day, [("B", "9", "9", "1.00")]))
    assert dict(zip(frame["symbol"], frame["result"], strict=True)) == {"US.A": "only here", "US.B": "only there"}


def test_symbols_are_mapped_as_finra_writes_them_and_doubtful_ones_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert [key_of(symbol) for symbol in ("US.BRK.B", "HK.00700", "US.AAPL")] == ["BRKB", "00700", "AAPL"]
    day = date(2026, 5, 15)
    rows = {symbol: [us_row(day, 5, 5, 1.0)] for symbol in ("US.BRK.B", "US.AB.C", "US.ABC")}
    choice = record(tmp_path, rows, monkeypatch)
    frame = verify(choice, finra_file(tmp_path, day, [("BRKB", "5", "5", "1"), ("ABC", "5", "5", "1")]))
    assert set(frame["symbol"]) == {"US.BRK.B"}
    assert frame.attrs["ambiguous"] == ["US.AB.C", "US.ABC"]


@pytest.mark.parametrize(
    ("shares", "recorded", "result"),
    [
        ("1,234", 1234, "equal"),
        ("1.18734E+11", 118_734_012_345, "equal"),
        ("1.18734E+11", 118_736_012_345, "different"),
        ("$ 5", 5, "equal"),
        ("n.a.", 5, "different"),
    ],
)
def test_odd_cells_of_old_files_are_understood(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shares: str, recorded: int, result: str
) -> None:
    day = date(2013, 3, 1)
    choice = record(tmp_path, {"HK.00005": [hk_row(day, recorded, 1.0)]}, monkeypatch)
    frame = verify(choice, sfc_file(tmp_path, day, [("5", shares, "n.a.")], ending="\n", bom=False))
    assert frame["result"].tolist() == [result]


def test_what_is_not_understood_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    choice = record(tmp_path, {"HK.00005": [hk_row(date(2026, 5, 15), 5, 1.0)]}, monkeypatch)
    file = sfc_file(tmp_path, date(2026, 5, 15), [("5", "five", "5"), ("x", "1", "1")])
    odd = verify(choice, file).attrs["odd"]
    assert [text.split(":")[0] for text in odd] == [f"{file.name}, line 2", f"{file.name}, line 3"]


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"<!DOCTYPE html>", "HTML"),
        (b"a,b\n1,2\n", "neither"),
        (b"", "neither"),
    ],
)
def test_a_file_of_another_kind_is_refused(tmp_path: Path, content: bytes, text: str) -> None:
    path = tmp_path / "file.csv"
    path.write_bytes(content)
    with pytest.raises(InvalidArgument, match=text):
        read_report(path)
    with pytest.raises(InvalidArgument, match="cannot be read"):
        read_report(tmp_path / "missing.csv")


@pytest.mark.parametrize("lacks", ["sharesShort", "avgDailyShareVolume", "daysToCover"])
def test_a_value_that_opend_did_not_send_is_compared_with_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lacks: str
) -> None:
    days = [date(2026, 4, 30), date(2026, 4, 15)]
    rows = [us_row(day, 1000, 100, 10.0) for day in days]
    choice = record(tmp_path, {"US.AAPL": [{**rows[0], lacks: None}, rows[1]]}, monkeypatch)
    assert check(choice).empty
    dates = panel(choice._replace(market="US"))["date"]
    assert check(choice)["date"].dtype == verify(choice, finra_file(tmp_path, days[0], []))["date"].dtype == dates.dtype
    files = [finra_file(tmp_path, day, [("AAPL", "1000", "100", "10.00")]) for day in days]
    found = verify(choice, files)
    assert found.groupby("date")["result"].agg(lambda results: (results == EQUAL).sum()).tolist() == [3, 2]
    assert found[found["result"] != EQUAL]["recorded"].isna().all()


def test_check_finds_what_does_not_fit_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settled = date(2026, 5, 15)
    rows = {
        "US.A": [us_row(settled, 1000, 400, 2.5)],
        "US.B": [us_row(settled, 1000, 400, 2.6)],  # 2.5
        "US.C": [us_row(settled, 100, 400, 1.0)],  # FINRA writes 1.00 where it is less
        "US.D": [us_row(settled, 10**9, 1, 999.99)],
        "US.E": [us_row(date(2026, 5, 16), 1000, 400, 2.5)],  # a Saturday
    }
    findings = check(record(tmp_path, rows, monkeypatch)._replace(market="US"))
    assert list(zip(findings["symbol"], findings["column"], strict=True)) == [
        ("US.B", "days_to_cover"),
        ("US.E", "date"),
    ]
    assert findings["expected"].tolist()[0] == 2.5
    assert isinstance(findings, pd.DataFrame)
