"""A sync of what users pass, and how its report reads."""

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from opend_si.simulator import Simulator
from opend_si.sync import SymbolReport, SyncReport


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
