"""What users hold goes to other processes and comes back: clients as their settings, answers and errors as they are."""

import asyncio
import copy
import multiprocessing
import pickle
import pkgutil
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd
import pytest

import opend_si
from opend_si.errors import OpenDError, ShortInterestError
from opend_si.settings import Settings
from opend_si.simulator import Simulator

CODES = ["US.AAPL", "US.GME", "HK.00700"]


def history_of(client: Any, code: str) -> Any:
    return client.history(code)


def page_of(context: Any, code: str) -> Any:
    return context.get_short_interest(code)


def awaited_history_of(client: Any, code: str) -> Any:
    async def ask() -> Any:
        async with client:
            return await client.history(code)

    return asyncio.run(ask())


def give(thing: Any) -> Any:
    return thing


def fail(code: str) -> Any:
    import futu_si

    return futu_si.Client(mode="bypass").get_page(code)


@pytest.fixture(
    scope="module", params=[method for method in multiprocessing.get_all_start_methods() if method != "fork"]
)
def workers(request: pytest.FixtureRequest) -> Iterator[ProcessPoolExecutor]:
    """Two processes that share nothing with this one."""
    context = multiprocessing.get_context(request.param)
    with ProcessPoolExecutor(2, mp_context=context) as pool:
        yield pool


@pytest.fixture
def settings(opend: Simulator, tmp_path: Path) -> dict[str, Any]:
    return {
        "host": opend.host,
        "port": opend.port,
        "mode": "online",
        "cache": tmp_path / "pages.sqlite3",
        "max_age": 3600,
        "timeout": 20,
    }


def test_a_client_goes_to_other_processes_as_its_settings(
    face: ModuleType, settings: dict[str, Any], workers: ProcessPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    with face.Client(**settings) as client:
        client.get_page("US.AAPL")  # it has a link and open files
        away = [workers.submit(history_of, client, code) for code in CODES]
        for code, future in zip(CODES, away, strict=True):
            pd.testing.assert_frame_equal(future.result(60), client.history(code))
    monkeypatch.setenv("OPEND_PORT", "1")  # what the environment says later does not change it
    monkeypatch.setenv("OPEND_SI_MODE", "offline")
    for other in (pickle.loads(pickle.dumps(client)), copy.copy(client), copy.deepcopy(client)):
        assert (type(other), other._settings, repr(other)) == (face.Client, client._settings, repr(client))
        with other:
            assert len(other.history("US.AAPL")) > 100


def test_an_asyncio_client_and_a_context_travel_alike(
    face: ModuleType, settings: dict[str, Any], workers: ProcessPoolExecutor
) -> None:
    with face.Client(**settings) as client:
        expected, page = client.history("US.GME"), client.get_page("US.GME").us
    away = workers.submit(awaited_history_of, face.AsyncClient(**settings), "US.GME")
    pd.testing.assert_frame_equal(away.result(60), expected)
    with face.OpenQuoteContext(**settings) as context:
        ret, us, hk = workers.submit(page_of, context, "US.GME").result(60)
    assert (ret, len(hk), us.attrs) == (0, 0, page.attrs)
    pd.testing.assert_frame_equal(us, page)


def test_answers_travel(face: ModuleType, settings: dict[str, Any], workers: ProcessPoolExecutor) -> None:
    with face.Client(**settings) as client:
        page = client.get_page("HK.00700", num=50)
        report, status = client.sync(["US.GME", "HK.700"]), client.status()
        frames = [client.history("US.GME"), client.revisions("US.GME"), client.panel(market="US"), client.screen("US")]
    for name in ("symbol", "next_key", "num", "next", "body", "kind", "source", "fetched_at", "checked_at", "records"):
        assert getattr(workers.submit(give, page).result(60), name) == getattr(page, name)
    for frame in (page.hk, *frames):
        back = workers.submit(give, frame).result(60)
        pd.testing.assert_frame_equal(back, frame)
        assert back.attrs == frame.attrs
    for thing in (report, status, Settings.resolve(**settings), page.records[0]):
        back = workers.submit(give, thing).result(60)
        assert (type(back), str(back)) == (type(thing), str(thing))
    assert str(workers.submit(give, report).result(60).failed[0].error) == str(report.failed[0].error)


def test_an_error_comes_back_as_it_was_raised(face: ModuleType, workers: ProcessPoolExecutor) -> None:
    with pytest.raises(face.InvalidArgument, match=r"did you mean HK\.00700\?"):
        workers.submit(fail, "700").result(60)


def every_error() -> list[type[ShortInterestError]]:
    """All there are, private ones too: each may be caught by a worker and sent home."""
    for module in pkgutil.walk_packages(opend_si.__path__, "opend_si."):
        import_module(module.name)
    found: list[Any] = [ShortInterestError]
    for kind in found:
        found += [one for one in kind.__subclasses__() if one not in found]
    return found


@pytest.mark.parametrize("kind", every_error())
def test_every_kind_of_error_travels(kind: type[ShortInterestError]) -> None:
    make: Callable[..., Any] = kind
    error = make(-1, 3, "未知股票", "explained") if issubclass(kind, OpenDError) else make("what happened")
    back = pickle.loads(pickle.dumps(error))
    assert (type(back), str(back), vars(back)) == (kind, str(error), vars(error))
