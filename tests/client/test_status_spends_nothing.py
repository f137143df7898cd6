"""What a client says of itself: nothing is spent for it, and OpenD away is an answer, too."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from opend_si.simulator import Simulator
from opend_si_schema.definitions import Rate


@pytest.fixture(params=["blocking", "asyncio"])
def ask(request: pytest.FixtureRequest, one_face: ModuleType) -> Callable[..., Any]:
    """The status of a client, after some pages."""

    def blocking(*codes: str, kind: str = "short_interest", **settings: Any) -> Any:
        with one_face.Client(**settings) as client:
            for code in codes:
                client.get_page(code)
            return client.status(kind=kind)

    async def awaited(*codes: str, kind: str = "short_interest", **settings: Any) -> Any:
        async with one_face.AsyncClient(**settings) as client:
            for code in codes:
                await client.get_page(code)
            return await client.status(kind=kind)

    if request.param == "blocking":
        return blocking
    return lambda *codes, **settings: asyncio.run(awaited(*codes, **settings))


@pytest.fixture
def at(start: Callable[..., Simulator], tmp_path: Path) -> dict[str, Any]:
    opend = start(rate=Rate(3, 30.0))
    return {"host": opend.host, "port": opend.port, "mode": "online", "cache": tmp_path / "pages.sqlite3"}


@pytest.fixture
def absent(at: dict[str, Any], nobody: int) -> dict[str, Any]:
    """An address at which nothing listens."""
    return {**at, "port": nobody}


def test_it_tells_what_is_recorded_and_what_is_left(
    ask: Callable[..., Any], at: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPEND_SI_RATE", "3/30")
    new = ask(**at)
    assert (new.address, new.mode, new.cache) == (f"127.0.0.1:{at['port']}", "online", at["cache"])
    assert (new.symbols, new.is_connected, new.requests_left, new.wait, new.error) == (0, True, 3, 0.0, None)
    assert not at["cache"].exists()

    some = ask("HK.00700", "US.AAPL", "US.AAPL", **at)
    assert (some.symbols, some.requests_left, some.wait) == (2, 1, 0.0)
    other = ask(kind="daily_short_volume", **at)
    assert (other.symbols, other.requests_left) == (0, 3)

    spent = ask("US.GME", **at)
    assert (spent.symbols, spent.requests_left) == (3, 0)
    assert 25 < spent.wait <= 30.1  # a window after the first reply of these, which have just come


def test_it_spends_nothing(ask: Callable[..., Any], start: Callable[..., Simulator], tmp_path: Path) -> None:
    opend = start()
    for mode in ("online", "refresh", "bypass"):
        ask(host=opend.host, port=opend.port, mode=mode, cache=tmp_path / "pages.sqlite3")
    assert opend.requests == []
    assert not (tmp_path / "pages.sqlite3").exists()


def test_without_a_limit_none_is_told(ask: Callable[..., Any], at: dict[str, Any]) -> None:
    found = ask("HK.00700", **at)
    assert (found.is_connected, found.requests_left, found.wait) == (True, None, None)


def test_opend_away_is_no_error(
    one_face: ModuleType, ask: Callable[..., Any], at: dict[str, Any], absent: dict[str, Any]
) -> None:
    ask("HK.00700", **at)
    found = ask(**absent)
    assert (found.symbols, found.is_connected, found.requests_left, found.wait) == (1, False, None, None)
    assert isinstance(found.error, one_face.ConnectionFailed)
    assert str(absent["port"]) in str(found.error)


def test_offline_opend_is_not_asked(ask: Callable[..., Any], at: dict[str, Any], absent: dict[str, Any]) -> None:
    ask("HK.00700", **at)
    found = ask(**{**absent, "mode": "offline"})
    assert (found.symbols, found.is_connected, found.requests_left, found.error) == (1, False, None, None)


def test_bypass_has_no_record(ask: Callable[..., Any], at: dict[str, Any]) -> None:
    ask("HK.00700", **at)
    found = ask(**{**at, "mode": "bypass"})
    assert (found.cache, found.symbols, found.is_connected) == (None, 0, True)


def test_a_cache_that_cannot_be_read_is_an_error(
    one_face: ModuleType, ask: Callable[..., Any], at: dict[str, Any]
) -> None:
    at["cache"].write_bytes(b"SQLite format 3\0" + bytes(4000))
    with pytest.raises(one_face.CacheError):
        ask(**at)


def test_a_wrong_kind_is_refused(one_face: ModuleType, ask: Callable[..., Any], at: dict[str, Any]) -> None:
    with pytest.raises(one_face.InvalidArgument, match="kind"):
        ask(kind="short", **at)
