"""A second kind of data through the same engine: recorded, budgeted by itself, walked, replayed, tabled."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd
import pytest

from opend_si.cache.budget import Budget
from opend_si.errors import InvalidArgument
from opend_si.history import overview
from opend_si.pages import PageKey
from opend_si.simulator import Simulator, Universe
from opend_si.simulator.server import CursorStyle
from opend_si_schema.calls import CALLS, DAILY_SHORT_VOLUME, SHORT_INTEREST
from opend_si_schema.definitions import Call, Rate
from tests.processes import Run, at

KIND = "daily_short_volume"
HK, US = "HK.00700", "US.AAPL"


@pytest.fixture
def face(one_face: ModuleType) -> ModuleType:
    return one_face


@pytest.fixture(params=["timestamp", "offset"])
def opend(request: pytest.FixtureRequest, start: Callable[..., Simulator]) -> Simulator:
    cursor: CursorStyle = request.param
    return start(universe=Universe(most_rows=120), cursor=cursor)


@pytest.fixture
def client(face: ModuleType, opend: Simulator, tmp_path: Path) -> Iterator[Any]:
    with face.Client(opend.host, opend.port, mode="online", max_age=0, cache=tmp_path / "pages.sqlite3") as opened:
        yield opened


def spent(opend: Simulator) -> list[str]:
    """The kinds of the requests since the last time this was asked."""
    kinds = [request.call for request in opend.requests]
    opend.requests.clear()
    return kinds


def values(opend: Simulator, code: str, kind: str) -> list[tuple[Any, ...]]:
    """All that the server has of a symbol, newest first."""
    call = next(call for call in CALLS if call.name == kind)
    table = next(table for table in call.tables if code.startswith(table.market.prefix))
    rows = opend.universe.rows(code, call) or ()
    return [tuple(getattr(row, column.field) for column in table.columns) for row in rows]


@pytest.mark.parametrize("code", [HK, US])
def test_a_history_of_any_kind_costs_a_request_a_page_and_then_what_is_new(
    client: Any, opend: Simulator, code: str
) -> None:
    frame = client.history(code, kind=KIND)
    told = [tuple(row) for row in frame.drop(columns=["published_by", "known_at"]).iloc[::-1].itertuples(index=False)]
    assert told == values(opend, code, KIND)
    assert spent(opend) == [KIND] * 3
    opend.universe.publish(code, 2, DAILY_SHORT_VOLUME)
    assert len(client.history(code, kind=KIND)) == 122
    assert spent(opend) == [KIND]
    assert [len(page) for page in type(client)(mode="offline", cache=client._settings.cache).pages(code, kind=KIND)]
    assert len(type(client)(mode="offline", cache=client._settings.cache).history(code, kind=KIND)) == 122
    assert spent(opend) == []


def test_kinds_do_not_mix(client: Any, face: ModuleType, opend: Simulator) -> None:
    page = client.get_page(HK, num=50, kind=KIND)
    assert (page.kind, type(page.records[0])) == (KIND, face.HkDailyShortVolume)
    with pytest.raises(face.CacheMiss, match=r"short interest of HK\.00700"):
        type(client)(mode="offline", cache=client._settings.cache).get_page(HK, num=50)
    assert client.get_page(HK, num=50).kind == "short_interest"
    assert spent(opend) == [KIND, "short_interest"]
    opend.universe.revise(HK, 0, DAILY_SHORT_VOLUME, turnover=7.0)
    client.history(HK, kind=KIND)
    client.history(HK)
    assert client.revisions(HK, kind=KIND)["column"].tolist() == ["turnover"]
    assert client.revisions(HK).empty


def test_values_beside_the_rows_come_back_from_the_record(client: Any, face: ModuleType, opend: Simulator) -> None:
    told = client.get_page(HK, num=50, kind=KIND).hk.attrs
    assert list(told)[:4] == ["next_key", "aggregated_short", "aggregated_short_ratio", "new_time_str"]
    assert told["new_time_str"] == (opend.universe.rows(HK, DAILY_SHORT_VOLUME) or ())[0].timestampStr
    offline = type(client)(mode="offline", cache=client._settings.cache)
    assert told["source"] == "opend"
    told["source"] = "cache"
    assert offline.get_page(HK, num=50, kind=KIND).hk.attrs == told
    if opend.cursor == "timestamp":
        cut = offline.get_page(HK, num=10, kind=KIND)
        assert {**cut.hk.attrs, "next_key": ""} == {**told, "next_key": ""}
        assert '"newTimeStr"' in cut.to_json()
    assert "aggregated_short" not in offline.get_page(HK, num=50, kind=KIND).us.attrs


def test_a_sync_and_a_panel_of_a_kind_are_of_that_kind(client: Any, face: ModuleType, opend: Simulator) -> None:
    report = client.sync([HK, "HK.00005"], kind=KIND)
    assert (report.ok, report.rows) == (True, 240)
    assert set(spent(opend)) == {KIND}
    panel = client.panel(kind=KIND)
    for code, rows in panel.groupby("symbol", observed=True):
        history = client.history(code, kind=KIND)
        pd.testing.assert_frame_equal(
            rows.drop(columns="symbol").set_index("date"), history, check_freq=False, check_column_type=False
        )
    assert client.arrow_table(kind=KIND, as_of=datetime.now(UTC)).num_rows == 240
    with pytest.raises(face.CacheMiss):
        client.panel()
    files = client.export(client._settings.cache.with_name("data"), kind=KIND)
    assert [Path(file).name for file in files] == [f"{KIND}.parquet"]
    with pytest.raises(face.InvalidArgument, match=rf"holds {KIND}\.parquet"):
        client.export(client._settings.cache.with_name("data"), "csv", kind=KIND)


# What the broker's columns of each market are, by its own page.
ROLES = {
    HK: ("shortSellSharesTraded", "closePrice", "dailyTradeAvgRatio"),
    US: ("totalSharesShort", "closePrice", "shortPercent"),
}


@pytest.mark.parametrize("code", ROLES)
def test_a_screen_and_a_picture_of_a_kind_are_of_that_kind(client: Any, opend: Simulator, code: str) -> None:
    codes = [code, "HK.00005" if code == HK else "US.GME"]
    client.sync(codes, kind=KIND)
    rows = {
        one: [getattr(row, ROLES[code][0]) for row in opend.universe.rows(one, DAILY_SHORT_VOLUME) or ()]
        for one in codes
    }
    changes = {one: 100 * (now - before) / before for one, (now, before, *_) in rows.items()}
    frame = client.screen(code[:2], kind=KIND)
    assert frame["symbol"].tolist() == sorted(codes, key=lambda one: -changes[one])
    assert frame["change_percent"].tolist() == pytest.approx(sorted(changes.values(), reverse=True))
    assert frame["change"].tolist() == [rows[one][0] - rows[one][1] for one in frame["symbol"]]
    figure = client.plot(code, kind=KIND)
    shown = opend.universe.rows(code, DAILY_SHORT_VOLUME) or ()
    assert figure.axes[1].lines[0].get_ydata()[-1] == getattr(shown[0], ROLES[code][1])
    assert figure.axes[2].lines[0].get_ydata()[-1] == getattr(shown[0], ROLES[code][2])
    assert figure.axes[0].collections[0].get_datalim(figure.axes[0].transData).y1 == max(rows[code])
    legend = [text.get_text() for axes in figure.axes[1:] for text in axes.get_legend().get_texts()]
    assert legend[0] == "Daily short volume"
    assert "get_daily_short_volume" in figure.get_supxlabel()


def test_an_unknown_kind_is_told_and_costs_no_request(client: Any, face: ModuleType, opend: Simulator) -> None:
    asks = (client.get_page, client.history, client.pages, client.revisions, client.sync, client.panel, client.plot)
    for ask in (*asks, client.screen):
        for wrong in ("short", None, 3248, ["short_interest"]):
            with pytest.raises(face.InvalidArgument, match="short_interest or daily_short_volume"):
                ask(HK, kind=wrong)
    assert spent(opend) == []


def test_each_kind_has_its_own_budget(
    face: ModuleType, start: Callable[..., Simulator], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPEND_SI_RATE", "2/30")
    opend = start(rate=Rate(2, 30.0))
    with face.Client(opend.host, opend.port, mode="bypass") as client:
        for kind in (KIND, "short_interest", KIND, "short_interest"):
            client.get_page(HK, kind=kind)
    assert [request.accepted for request in opend.requests] == [True] * 4
    from opend_si.settings import Settings

    budget = Budget(Settings.resolve().budget)
    for call in (SHORT_INTEREST, DAILY_SHORT_VOLUME):
        assert budget.allowance(f"10000000/{call.proto_id}", call.rate).requests == call.rate.requests - 2


def test_the_console_takes_a_kind(console: Run, start: Callable[..., Simulator], tmp_path: Path) -> None:
    opend = start(universe=Universe(most_rows=120))
    kept = {"OPEND_SI_MODE": "online", "OPEND_SI_HOME": str(tmp_path), **at(opend)}
    page = console("get", HK, "--kind", KIND, "--csv", **kept)
    assert page.stdout.splitlines()[0].split(",")[2] == "shares_traded"
    assert f"get {HK} --kind {KIND} --csv --next-key " in page.stderr
    table = console("get", HK, "--kind", KIND, **kept)
    assert table.stdout.startswith(f"{HK}  daily short volume")
    assert console("sync", HK, "--kind", KIND, **kept).stdout.startswith("1 symbol: 120 rows")
    history = console("history", HK, "--kind", KIND, "--csv", "--offline", **kept)
    assert len(history.stdout.splitlines()) == 121
    assert console("revisions", HK, "--kind", KIND, **kept).returncode == 0
    ranking = console("screen", "--kind", KIND, "--csv", "--by", "turnover", **kept)
    assert ranking.stdout.splitlines()[0].split(",")[-3:] == ["days_between", "change", "change_percent"]
    shown = console("screen", "--kind", KIND, **kept).stdout
    assert shown.startswith("daily short volume of HK by change percent\n")
    assert shown.splitlines()[1].split() == [
        *("symbol", "date", "published", "by", "change", "percent", "days", "between"),
        *("short", "sell", "shares", "traded", "change"),
    ]
    drawn = console("plot", HK, "--kind", KIND, "--out", str(tmp_path / "a.svg"), **kept)
    assert (drawn.returncode, (tmp_path / "a.svg").exists()) == (0, True), drawn.stderr
    assert console("get", HK, "--kind", "x", **kept).returncode == 2


def test_a_symbol_of_two_kinds_is_one_symbol(client: Any) -> None:
    for kind in ("short_interest", KIND):
        client.history(HK, kind=kind)
    assert overview.info(client._settings.cache).symbols == 1


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("code", [HK, US])
def test_a_page_is_found_again_under_the_name_that_it_was_recorded_by(call: Call, code: str) -> None:
    for key in (PageKey.check(call, code, "1777507200", 7), PageKey.longest(call, code)):
        assert key.identity == (call.proto_id, code, key.next_key, key.num)
        assert key.owner == key.identity[:2]
        assert PageKey.of_identity(key.identity) == key
    with pytest.raises(InvalidArgument, match=rf"^{code}: protocol 1 is not bound"):
        PageKey.of_identity((1, code, "", 7))
