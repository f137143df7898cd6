"""The simulator: OpenD's limit, its refusals, its cursors, and a market that moves when a test says so."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import futu_si
from opend_si.simulator import Simulator, Universe
from opend_si.simulator.server import SlidingWindow
from opend_si.simulator.universe import SYMBOLS, WITHOUT_ROWS
from opend_si_schema.definitions import Rate

Start = Callable[..., Simulator]


def walk(client: futu_si.Client, code: str, num: int) -> list[Any]:
    records: list[Any] = []
    cursor = None
    while True:
        page = client.get_page(code, cursor, num)
        records += page.records
        cursor = page.next
        if cursor is None:
            return records


@given(st.lists(st.floats(0, 5), max_size=60), st.integers(1, 5))
def test_no_window_holds_more_than_the_limit(gaps: list[float], requests: int) -> None:
    window, now = SlidingWindow(Rate(requests, 10.0)), 0.0
    taken: list[float] = []
    for gap in gaps:
        now += gap
        within = [time for time in taken if now - time <= 10.0]
        assert window.take(now) == (len(within) < requests)
        if len(within) < requests:
            taken.append(now)


def test_the_limit_is_one_for_all_connections_and_refuses_in_opends_words(start: Start) -> None:
    opend = start(rate=Rate(3, 30.0))
    with futu_si.Client(opend.host, opend.port) as first, futu_si.Client(opend.host, opend.port) as second:
        for client in (first, second, first):
            client.get_page("HK.00700")
        with pytest.raises(futu_si.RateLimited) as caught:
            second.get_page("HK.00700")
    assert caught.value.message == "获取空头持仓频率太高，请求失败，每30秒最多3次。"
    assert [request.accepted for request in opend.requests] == [True, True, True, False]


def test_an_old_opend_does_not_know_the_call(start: Start) -> None:
    opend = start(version=1005)
    with futu_si.Client(opend.host, opend.port) as client, pytest.raises(futu_si.Unsupported, match="update it"):
        client.get_page("HK.00700")


def test_an_unknown_symbol_is_refused_in_opends_words(start: Start) -> None:
    opend = start()
    with futu_si.Client(opend.host, opend.port) as client, pytest.raises(futu_si.UnknownSymbol, match="未知股票"):
        client.get_page("HK.99999")


@pytest.mark.parametrize("cursor", ["timestamp", "offset"])
@pytest.mark.parametrize("num", [1, 37, 50])
def test_pages_join_to_the_whole_history(start: Start, cursor: str, num: int) -> None:
    opend = start(cursor=cursor)
    code = "US.AAPL"
    with futu_si.Client(opend.host, opend.port) as client:
        records = walk(client, code, num)
    assert [record.timestamp for record in records] == [row.timestamp for row in opend.universe.rows(code) or ()]


def test_every_symbol_has_several_hundred_rows_newest_first() -> None:
    universe = Universe()
    assert set(universe.symbols) == {*SYMBOLS, *WITHOUT_ROWS}
    for symbol in ("HK.00700", "HK.00005", "US.AAPL", "US.BRK.B"):
        dates = [row.timestampStr for row in universe.rows(symbol) or ()]
        assert len(dates) > 200
        assert dates == sorted(set(dates), reverse=True)


def test_a_seed_gives_the_same_market_again_and_another_seed_another(forget_markets: Callable[[], None]) -> None:
    def make(seed: int) -> list[Any]:
        forget_markets()
        return list(Universe(seed).rows("US.GME") or ())

    first, again, other = make(1), make(1), make(2)
    assert first == again
    assert first[0] is not again[0]
    assert first != other


def test_the_made_up_rows_go_on_from_those_of_the_brokers_page() -> None:
    universe = Universe()
    universe.publish("HK.00700", 3)
    rows = universe.rows("HK.00700") or ()
    for newer, row in pairwise(rows[:60]):
        for field in ("aggregatedShort", "aggregatedShortRatio", "closePrice"):
            assert 0.7 < getattr(newer, field) / getattr(row, field) < 1.3, (row.timestampStr, field)


@pytest.mark.parametrize("symbol", SYMBOLS)
def test_the_columns_of_a_made_up_row_agree(symbol: str) -> None:
    rows = Universe().rows(symbol) or ()
    for row in rows:
        if symbol.startswith("US."):
            assert row.daysToCover == pytest.approx(max(1, row.sharesShort / row.avgDailyShareVolume), abs=0.006)
    short, percent = (
        ("sharesShort", "shortPercent") if symbol.startswith("US.") else ("aggregatedShort", "aggregatedShortRatio")
    )
    issued = [getattr(row, short) / getattr(row, percent) for row in rows if getattr(row, percent) > 0.5]
    assert max(issued) < 1.05 * min(issued)


def test_a_publication_goes_in_front_and_a_revision_changes_one_row(start: Start) -> None:
    opend = start()
    with futu_si.Client(opend.host, opend.port) as client:
        before = client.get_page("HK.00700", num=50).records
        opend.universe.publish("HK.00700", 2)
        after = client.get_page("HK.00700", num=50).records
        assert after[2:] == before[:48]
        assert after[0].timestamp > after[1].timestamp > before[0].timestamp  # type: ignore[operator]
        opend.universe.revise("HK.00700", 5, aggregatedShort=1)
        revised = client.get_page("HK.00700", num=50).records
        assert [place for place in range(50) if revised[place] != after[place]] == [5]
