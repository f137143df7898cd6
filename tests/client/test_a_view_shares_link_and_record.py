"""`with_options` gives what a client of its own with these options gives, over the same link and the same record."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd
import pytest

from opend_si.simulator import Simulator, faults

CODE = "HK.00700"


@pytest.fixture
def client(face: ModuleType, opend: Simulator, tmp_path: Path) -> Iterator[Any]:
    with face.Client(opend.host, opend.port, mode="online", cache=tmp_path / "pages.sqlite3") as opened:
        yield opened


def test_each_option_holds_for_the_view_alone(client: Any, face: ModuleType, opend: Simulator) -> None:
    first = client.history(CODE)
    spent = len(opend.requests)
    assert client.get_page(CODE).source == "cache"
    assert client.with_options(max_age=0).get_page(CODE).source == "opend"
    assert client.with_options(mode="refresh").get_page(CODE).source == "opend"
    assert client.with_options(mode="bypass").get_page(CODE).source == "opend"
    assert client.get_page(CODE).source == "cache"
    assert len(opend.requests) == spent + 3
    opend.universe.publish(CODE)
    fresh = client.with_options(max_age=0).history(CODE)
    assert len(fresh) == len(first) + 1
    pd.testing.assert_frame_equal(client.history(CODE), fresh)  # what a view records, the client has
    for view, is_in_time in ((client.with_options(timeout=0.1), False), (client, True)):
        opend.faults.append(faults.late(1.0))
        if is_in_time:
            assert len(view.get_page("US.AAPL")) == 10
        else:
            with pytest.raises(face.RequestTimeout):
                view.get_page("US.AAPL")


def test_there_is_one_link_and_closing_a_view_closes_nothing(client: Any, opend: Simulator) -> None:
    client.get_page(CODE)
    for mode in ("refresh", "bypass", "offline", "online"):
        with client.with_options(mode=mode) as view:
            assert len(view.get_page(CODE)) == 10
            view.with_options(max_age=0).close()
        assert len(client.with_options(max_age=0).get_page(CODE)) == 10
    assert len(opend.asked_for) == 1
    client.close()
    assert len(client.with_options(mode="offline").get_page(CODE)) == 10
    assert len(opend.asked_for) == 1


def test_a_view_offline_opens_no_socket_and_knows_what_the_client_recorded(
    face: ModuleType, client: Any, opend: Simulator
) -> None:
    offline = client.with_options(mode="offline")
    with pytest.raises(face.CacheMiss):
        offline.get_page(CODE)
    assert len(opend.asked_for) == 0
    client.get_page(CODE)
    opend.requests.clear()
    assert offline.get_page(CODE).records == client.get_page(CODE).records
    assert opend.requests == []


def test_an_asyncio_view_is_alike(face: ModuleType, opend: Simulator, tmp_path: Path) -> None:
    async def ask() -> None:
        at = {"mode": "online", "cache": tmp_path / "pages.sqlite3"}
        async with face.AsyncClient(opend.host, opend.port, **at) as client:
            await client.get_page(CODE)
            async with client.with_options(max_age=0) as view:
                assert isinstance(view, face.AsyncClient)
                assert (await view.get_page(CODE)).source == "opend"
            assert (await client.with_options(mode="offline").get_page(CODE)).source == "cache"
            assert (await client.with_options(mode="bypass").get_page(CODE)).source == "opend"
            assert (await client.get_page(CODE)).source == "cache"

    asyncio.run(ask())
    assert len(opend.requests) == 3
    assert len(opend.asked_for) == 1


def test_wrong_options_are_refused(face: ModuleType, client: Any, tmp_path: Path) -> None:
    for wrong in ({"mode": "fast"}, {"timeout": 0}, {"timeout": "1"}, {"max_age": -1}, {"max_age": "soon"}):
        with pytest.raises(face.InvalidArgument, match=next(iter(wrong))):
            client.with_options(**wrong)
    with face.Client(mode="offline", cache=tmp_path / "pages.sqlite3") as offline:
        assert repr(offline.with_options(timeout=3)) == repr(offline)
        for mode in ("online", "refresh", "bypass"):
            with pytest.raises(face.InvalidArgument, match="never opens a socket"):
                offline.with_options(mode=mode)


def test_raw_is_the_reply_as_it_came(client: Any, start: Callable[..., Simulator]) -> None:
    page = client.with_options(mode="bypass").get_page(CODE, num=50)
    key = page._call.response.FromString(page.raw)
    assert page.raw == page.body
    assert [row.timestampStr for row in key.s2c.hkItemList] == [row.timestamp_str for row in page.records]
