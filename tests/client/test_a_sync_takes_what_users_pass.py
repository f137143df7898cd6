"""A sync of what users pass, and how its report reads."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from opend_si.client.sync import SymbolReport, SyncReport
from opend_si.simulator import Simulator


@pytest.fixture
def recording(face: ModuleType, opend: Simulator, tmp_path: Path) -> Iterator[Any]:
    """A client that records, of each face in turn."""
    with face.Client(opend.host, opend.port, mode="online", cache=tmp_path / "pages.sqlite3") as client:
        yield client


def test_what_is_no_symbol_is_reported_and_does_not_stop_the_rest(
    face: ModuleType, opend: Simulator, recording: Any
) -> None:
    codes = ["US.AAPL", ["x"], None, {"a": 1}, 700, "HK.700", "US.AAPL", b"US.GME", ("US.GME",), float("nan"), "US.GME"]
    report = recording.sync(codes)
    assert [entry.symbol for entry in report] == [
        *("US.AAPL", "['x']", "None", "{'a': 1}", "700", "HK.700", "b'US.GME'", "('US.GME',)", "nan", "US.GME")
    ]
    assert [entry.symbol for entry in report if entry.error is None] == ["US.AAPL", "US.GME"]
    assert all(isinstance(entry.error, face.InvalidArgument) for entry in report.failed)
    assert len(opend.requests) == 10


def test_what_holds_no_symbols_is_an_error(face: ModuleType, opend: Simulator, recording: Any) -> None:
    for codes in (None, 5, object()):
        with pytest.raises(face.InvalidArgument, match="it takes symbols"):
            recording.sync(codes)
    assert [entry.symbol for entry in recording.sync("US.AAPL")] == ["US.AAPL"]
    assert len(recording.sync([])) == 0


def test_a_generators_own_error_is_its_own(recording: Any) -> None:
    def codes() -> Iterator[str]:
        yield "US.AAPL"
        raise TypeError("the caller's")

    with pytest.raises(TypeError, match="the caller's"):
        recording.sync(codes())


def test_a_report_counts_one_as_one() -> None:
    one = SyncReport([SymbolReport("US.AAPL", 1, 1, 1, 1)])
    assert str(one) == "1 symbol: 1 row, 1 new, 1 revised, 1 request"
    assert str(SyncReport()) == "0 symbols: 0 rows, 0 new, 0 revised, 0 requests"
    many = SyncReport([SymbolReport("US.AAPL", 1000, 2, 0, 20), SymbolReport("US.GME", 223)])
    assert str(many) == "2 symbols: 1,223 rows, 2 new, 0 revised, 20 requests"


@pytest.mark.parametrize("client", ["Client", "AsyncClient"])
def test_where_nothing_can_be_kept_a_sync_spends_nothing(
    face: ModuleType, start: Callable[..., Simulator], tmp_path: Path, client: str
) -> None:
    opend = start()
    (tmp_path / "file").touch()
    at = {"host": opend.host, "port": opend.port, "mode": "online", "cache": tmp_path / "file" / "pages.sqlite3"}

    def ask() -> None:
        with face.Client(**at) as asking:
            asking.sync(["HK.00700"])

    async def ask_and_wait() -> None:
        async with face.AsyncClient(**at) as asking:
            await asking.sync(["HK.00700"])

    with pytest.raises(face.CacheError, match="pages"):
        ask() if client == "Client" else asyncio.run(ask_and_wait())
    assert opend.requests == []


def test_a_damaged_cache_is_set_aside_before_a_sync(
    face: ModuleType, start: Callable[..., Simulator], tmp_path: Path
) -> None:
    opend, cache = start(), tmp_path / "pages.sqlite3"
    cache.write_bytes(bytes(5000))
    with face.Client(opend.host, opend.port, mode="online", cache=cache) as asking:
        with pytest.warns(face.ShortInterestWarning, match="moved"):
            assert asking.sync(["HK.00700"]).ok
        assert len(asking.panel()) > 0
