"""What a simulator sent never answers for OpenD, nor is it joined with OpenD's rows; nor the other way round.

OpenD is played by a simulator that is logged in with another account: that is what the two are told apart by.
"""

import asyncio
import json
import pickle
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

import futu_si
from opend_si.cli.output import note_age
from opend_si.errors import ConnectionFailed, ProtocolError, ShortInterestWarning
from opend_si.gateway.server import Gateway
from opend_si.history import upkeep
from opend_si.pages import PageKey
from opend_si.settings import Settings
from opend_si.simulator import Simulator, Universe
from opend_si_schema.calls import SHORT_INTEREST
from opend_si_schema.definitions import Rate
from tests.cache.processes import OpenD
from tests.cli.test_no_number_is_cut import on_terminal
from tests.gateway.raw import Asker
from tests.processes import COMMANDS, Run

CODES = ["HK.00700", "US.AAPL"]


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "pages.sqlite3"


KINDS = {"simulator": Simulator, "opend": OpenD}


class Server:
    """One of either kind, and clients of it."""

    def __init__(self, origin: str, universe: Universe) -> None:
        self.origin, self.universe, self.opend = origin, universe, KINDS[origin](universe)

    def client(self, cache: Path, **settings: Any) -> Any:
        return futu_si.Client(self.opend.host, self.opend.port, **{"mode": "online", "cache": cache, **settings})


def truth(server: Server, code: str = "US.AAPL") -> pd.DataFrame:
    with server.client(Path(), mode="bypass") as client:
        frame: pd.DataFrame = client.history(code)
    return frame


def values(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.drop(columns="known_at")


@pytest.fixture(params=["simulator", "opend"])
def servers(request: pytest.FixtureRequest) -> Iterator[tuple[Server, Server]]:
    """Who is recorded, and who is asked then: of other values, at the same dates."""
    origins = ["simulator", "opend"]
    if request.param == "opend":
        origins.reverse()
    first, second = (Server(origin, Universe(seed, most_rows=130)) for seed, origin in enumerate(origins))
    with first.opend, second.opend:
        yield first, second


def test_a_walk_gives_the_rows_of_who_is_asked(servers: tuple[Server, Server], cache: Path) -> None:
    first, second = servers
    expected = {server.origin: truth(server) for server in servers}
    assert not values(expected["opend"]).equals(values(expected["simulator"]))
    with first.client(cache) as client:
        client.sync(CODES)
    with second.client(cache, max_age=0) as client:
        with pytest.warns(ShortInterestWarning, match="does not answer for it"):
            frame = client.history("US.AAPL")
        assert_frame_equal(values(frame), values(expected[second.origin]))
        assert frame.attrs["origin"] == second.origin
        assert client.sync(["US.AAPL"]).revised_rows == 0  # it is told once
        assert client.revisions("US.AAPL").empty
        held = client.recorded().set_index("symbol")
        assert held.origin.to_dict() == {"HK.00700": first.origin, "US.AAPL": second.origin}
        assert held.rows.tolist() == [130, 130]
    assert list(upkeep.verify(cache)) == []


def test_a_fresh_record_of_a_simulator_does_not_answer_for_opend(servers: tuple[Server, Server], cache: Path) -> None:
    first, second = servers
    expected = truth(second)
    with first.client(cache) as client:
        client.sync(CODES)
    with second.client(cache) as client, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        if first.origin == "simulator":
            assert_frame_equal(values(client.history("US.AAPL")), values(expected))
        else:  # who is asked is not known before it is asked
            client.get_page("US.GME")
            assert_frame_equal(values(client.history("US.AAPL")), values(expected))
        assert client.get_page("US.AAPL", num=5).records[0].shares_short == expected.shares_short.iloc[-1]
        assert client.sync(CODES).new_rows == 130
    assert ["does not answer for it" in str(one.message) for one in caught] == [True]


async def asyncio_pages(codes: list[str], port: int, settings: dict[str, Any]) -> list[Any]:
    async with futu_si.AsyncClient("127.0.0.1", port, **settings) as client:
        return [await client.get_page(code, num=50) for code in codes]


def blocking_pages(codes: list[str], port: int, settings: dict[str, Any]) -> list[Any]:
    with futu_si.Client("127.0.0.1", port, **settings) as client:
        return [client.get_page(code, num=50) for code in codes]


@pytest.mark.parametrize("mode", ["online", "refresh", "bypass"])
@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("first", ["simulator", "opend"])
def test_one_that_came_while_a_slot_was_waited_for_is_named_and_counted(
    first: str, is_async: bool, mode: str, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By then another answers than the one that was asked for its account before the wait."""
    monkeypatch.setenv("OPEND_SI_RATE", "1/0.5")
    second = next(origin for origin in KINDS if origin != first)
    codes = ["US.AAPL", "US.GME", "HK.00700"]
    with ExitStack() as stack:
        old = stack.enter_context(KINDS[first](Universe(0, most_rows=60)))
        new = KINDS[second](Universe(1, most_rows=60), port=old.port, rate=Rate(1, 0.5))

        def change() -> None:
            stack.close()
            stack.enter_context(new)

        changes = iter([change])
        settings = {"mode": mode, "cache": cache, "on_wait": lambda _: next(changes, int)()}
        if is_async:
            pages = asyncio.run(asyncio_pages(codes, old.port, settings))
        else:
            pages = blocking_pages(codes, old.port, settings)
        assert [page.origin for page in pages] == [first, second, second]
        assert [request.accepted for request in new.requests] == [True, True]
        assert [request.symbol for request in new.requests] == codes[1:]
    if mode != "bypass":
        with futu_si.Client(mode="offline", cache=cache) as client:
            held = client.recorded().set_index("symbol").origin.to_dict()
        assert held == dict(zip(codes, [first, second, second], strict=True))


@pytest.mark.parametrize("mode", ["online", "refresh"])
@pytest.mark.parametrize("is_async", [False, True])
def test_a_gateway_that_came_while_a_slot_was_waited_for_keeps_the_record(
    is_async: bool, mode: str, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPEND_SI_RATE", "1/0.5")
    codes = ["US.AAPL", "US.GME", "HK.00700"]
    with ExitStack() as stack, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        old = stack.enter_context(OpenD(Universe(0, most_rows=60)))
        home = {"OPEND_SI_HOME": str(tmp_path / "gateway"), "OPEND_SI_RATE": "off"}

        def change() -> None:
            stack.close()
            behind = stack.enter_context(OpenD(Universe(0, most_rows=60)))
            settings = Settings.resolve(host=behind.host, port=behind.port, environ=home)
            stack.enter_context(Gateway(settings, port=old.port))

        changes = iter([change])
        asked = {"mode": mode, "cache": cache, "on_wait": lambda _: next(changes, int)()}
        if is_async:
            pages = asyncio.run(asyncio_pages(codes, old.port, asked))
        else:
            pages = blocking_pages(codes, old.port, asked)
        assert [page.origin for page in pages] == ["opend", "gateway", "gateway"]
    with futu_si.Client(mode="offline", cache=cache) as client:
        assert client.recorded().symbol.tolist() == codes[:1]


def test_a_page_by_itself_does_not_answer_for_opend(cache: Path) -> None:
    made_up, real = (Server(origin, Universe(seed, most_rows=60)) for seed, origin in enumerate(("simulator", "opend")))
    with made_up.opend, made_up.client(cache) as client:
        client.sync(["US.AAPL"])
    with real.opend, real.client(cache) as client:  # the first question: no other page of the symbol is read for it
        with pytest.warns(ShortInterestWarning, match="does not answer for it"):
            page = client.get_page("US.AAPL", num=50)
        assert (page.origin, page.records[0].shares_short) == ("opend", truth(real).shares_short.iloc[-1])


def test_a_page_that_is_missing_is_not_joined_to_the_others_rows(servers: tuple[Server, Server], cache: Path) -> None:
    first, second = servers
    expected = truth(second)
    with first.client(cache) as client:
        client.get_page("US.AAPL", num=50)  # the newest, which is fresh
    with second.client(cache) as client:
        with pytest.warns(ShortInterestWarning, match="does not answer for it"):
            frame = client.history("US.AAPL")
        assert_frame_equal(values(frame), values(expected))
    with first.client(cache) as client:
        client.get_page("US.GME", num=50)
    with second.client(cache) as client, pytest.warns(ShortInterestWarning, match="does not answer for it"):
        rows = [record for page in client.pages("US.GME") for record in page.records]
    assert [row.shares_short for row in rows] == truth(second, "US.GME").shares_short.tolist()[::-1]


def test_what_stood_before_is_in_the_past(servers: tuple[Server, Server], cache: Path) -> None:
    first, second = servers
    with first.client(cache) as client:
        client.sync(["US.AAPL"])
        before = client.history("US.AAPL")
    moment = before.known_at.max().to_pydatetime()
    with second.client(cache, max_age=0) as client, pytest.warns(ShortInterestWarning, match="does not answer"):
        client.sync(["US.AAPL"])
    with futu_si.Client(mode="offline", cache=cache) as client:
        assert len(client.history("US.AAPL")) == 130
        then = client.history("US.AAPL", as_of=moment)
        assert_frame_equal(then, before)
        assert then.attrs["origin"] == first.origin
    with first.client(cache, max_age=0) as client:
        with pytest.warns(ShortInterestWarning, match="does not answer"):
            assert client.sync(["US.AAPL"]).new_rows == 130
        assert_frame_equal(values(client.history("US.AAPL")), values(before))
    assert list(upkeep.verify(cache)) == []


def test_both_ask_at_the_same_time(servers: tuple[Server, Server], cache: Path) -> None:
    truths = {server.origin: truth(server) for server in servers}

    async def ask(server: Server) -> None:
        async with futu_si.AsyncClient(
            server.opend.host, server.opend.port, mode="online", cache=cache, max_age=0
        ) as client:
            for _ in range(5):
                try:
                    frame = await client.history("US.AAPL")
                except ProtocolError:  # its rows were taken away again and again
                    continue
                assert_frame_equal(values(frame), values(truths[server.origin]))

    async def both() -> None:
        await asyncio.gather(*map(ask, servers))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        asyncio.run(both())
    assert list(upkeep.verify(cache)) == []


def test_opend_gone_is_no_reason_to_answer_with_made_up_rows(cache: Path) -> None:
    made_up, real = (Server(origin, Universe(1, most_rows=60)) for origin in ("simulator", "opend"))
    with made_up.opend, made_up.client(cache) as client:
        client.sync(["US.AAPL"])
    with real.opend:
        client = real.client(cache)
        client.get_page("US.GME", num=2)
    with client, pytest.raises(ConnectionFailed):
        client.history("US.AAPL")
    with real.client(cache) as client:  # who is asked was never known
        questions: list[Callable[[], object]] = [
            lambda: client.history("US.AAPL"),
            lambda: client.get_page("US.AAPL"),
            lambda: next(iter(client.pages("US.AAPL"))),
        ]
        for question in questions:
            with pytest.raises(ConnectionFailed, match=r"made up by a simulator.* mode offline reads it"):
                question()
        [report] = client.sync(["US.AAPL"]).failed
        assert "made up" in str(report.error)
    with futu_si.Client(mode="offline", cache=cache) as offline:
        assert len(offline.history("US.AAPL")) == 60


def test_a_simulator_that_was_asked_and_is_gone_is_answered_for(cache: Path) -> None:
    made_up = Server("simulator", Universe(most_rows=60))
    with made_up.opend:
        client = made_up.client(cache, max_age=0)
        client.sync(["US.AAPL"])
    with client, pytest.warns(ShortInterestWarning, match="could not be asked"):
        assert len(client.history("US.AAPL")) == 60


def test_a_page_names_its_origin(servers: tuple[Server, Server], cache: Path) -> None:
    for server in servers:
        with server.client(cache, max_age=0) as client, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            pages = [client.get_page("US.AAPL"), client.get_page("US.AAPL", num=7), *client.pages("US.AAPL")]
            if server is servers[0]:
                with server.client(cache) as again:
                    pages += [again.get_page("US.AAPL"), again.get_page("US.AAPL", num=50)]
        with server.client(cache, mode="bypass") as client:
            pages.append(client.get_page("US.AAPL"))
        with futu_si.Client(mode="offline", cache=cache) as client:
            pages += [client.get_page("US.AAPL"), client.get_page("US.AAPL", num=50)]
        for page in [*pages, *pickle.loads(pickle.dumps(pages))]:
            assert (page.origin, page.us.attrs["origin"]) == (server.origin, server.origin)
            assert ("made up" in repr(page)) == (server.origin == "simulator")


def test_a_gateway_remembers_no_made_up_reply_for_an_opend(tmp_path: Path) -> None:
    request = PageKey.check(SHORT_INTEREST, "US.AAPL", None, 50).request()
    home = {"OPEND_SI_HOME": str(tmp_path), "OPEND_SI_RATE": "off"}

    def ask(gateway: Gateway) -> bytes:
        with Asker(gateway.host, gateway.port) as asker:
            bodies = set()
            for _ in range(3):
                asker.ask(SHORT_INTEREST.proto_id, request)
                bodies.add(asker.reply().body)
        [body] = bodies
        return body

    with ExitStack() as stack, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with Simulator(Universe(most_rows=60)) as simulator:
            settings = Settings.resolve(host=simulator.host, port=simulator.port, environ=home)
            gateway = stack.enter_context(Gateway(settings, port=0))
            made_up = ask(gateway)
        real = stack.enter_context(OpenD(Universe(1, most_rows=60), port=simulator.port))
        assert ask(gateway) == real.answer(SHORT_INTEREST.proto_id, request).SerializeToString() != made_up
    with ExitStack() as stack:  # offline nobody is asked, and what is recorded answers
        settings = Settings.resolve(mode="offline", environ=home)
        gateway = stack.enter_context(Gateway(settings, port=0))
        assert ask(gateway) == real.answer(SHORT_INTEREST.proto_id, request).SerializeToString()


@pytest.mark.parametrize("origin", ["opend", "simulator"])
def test_behind_a_gateway_opends_rows_answer_and_made_up_ones_do_not(cache: Path, tmp_path: Path, origin: str) -> None:
    recorded = Server(origin, Universe(most_rows=60))
    with recorded.opend, recorded.client(cache) as client:
        client.sync(["US.AAPL"])
    home = {"OPEND_SI_HOME": str(tmp_path / "gateway"), "OPEND_SI_RATE": "off"}
    with OpenD(Universe(1, most_rows=60)) as opend, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        settings = Settings.resolve(host=opend.host, port=opend.port, environ=home)
        with Gateway(settings, port=0) as gateway:
            client = futu_si.Client(gateway.host, gateway.port, mode="online", cache=cache)
            with client:
                client.get_page("US.GME")  # now it is known that a gateway is asked
                given = gateway.answers.given
                assert client.history("US.AAPL").attrs["origin"] == ("opend" if origin == "opend" else "gateway")
                assert (gateway.answers.given == given) == (origin == "opend")


def test_made_up_rows_are_named(cache: Path, console: Run) -> None:
    pytest.importorskip("pyarrow")
    pytest.importorskip("matplotlib")
    made_up = Server("simulator", Universe(most_rows=60))
    with made_up.opend, made_up.client(cache) as client:
        client.sync(["US.AAPL"])
        assert client.history("US.AAPL").attrs["origin"] == "simulator"
    with futu_si.Client(mode="offline", cache=cache) as client:
        frames = [client.panel(), client.history("US.AAPL"), client.revisions("US.AAPL"), client.check()]
        frames += [client.screen(), client.changes_since("1h"), client.get_page("US.AAPL").us]
        assert {frame.attrs["origin"] for frame in frames} == {"simulator"}
        texts = [text.get_text() for text in client.plot("US.AAPL").findobj() if hasattr(text, "get_text")]
    assert any(text.startswith("Source: simulator") for text in texts)
    assert "1 of them made up" in console("cache", "info", OPEND_SI_CACHE=str(cache)).stdout
    told = json.loads(console("cache", "list", "--json", OPEND_SI_CACHE=str(cache)).stdout)
    assert [one["origin"] for one in told] == ["simulator"]


MADE_UP = "origin: simulator, these rows are made up"


def test_the_console_names_made_up_rows(servers: tuple[Server, Server], cache: Path, console: Run) -> None:
    server, _ = servers
    asked = {"OPEND_SI_CACHE": str(cache), "OPEND_SI_MODE": "online", "OPEND_SI_RATE": "off"}
    live = {"OPEND_HOST": server.opend.host, "OPEND_PORT": str(server.opend.port), **asked}
    questions = [("get", "US.AAPL"), ("history", "US.AAPL"), ("history", "US.AAPL", "--offline", "--csv")]
    questions += [("get", "US.AAPL", "--offline", "--json"), ("screen",), ("changes", "--since", "1h")]
    questions += [("revisions", "US.AAPL"), ("check",), ("export", str(cache.with_name("data")))]
    questions += [("plot", "US.AAPL", "--out", str(cache.with_name("plot.svg")))]
    for question in questions:
        done = console(*question, **(live if question[0] in ("get", "history", "plot") else asked))
        assert done.returncode == 0
        assert (MADE_UP in done.stderr) == (server.origin == "simulator"), question
        assert "made up" not in done.stdout


def test_the_age_of_made_up_rows_is_not_said_of_opend(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    note_age(datetime(2026, 1, 1, tzinfo=UTC), "simulator")
    assert "from the record: a simulator sent this" in capsys.readouterr().err


@pytest.mark.parametrize("width", [60, 80, 120])
def test_a_list_names_what_is_made_up_on_any_terminal(servers: tuple[Server, Server], cache: Path, width: int) -> None:
    for server, codes in zip(servers, (["US.AAPL", "US.BRK.B"], ["HK.00700"]), strict=True):
        with server.client(cache) as client:
            client.sync(codes)
            client.get_page(codes[0], kind="daily_short_volume")
    lines, _ = on_terminal(COMMANDS[0], "cache", "list", width=width, OPEND_SI_CACHE=str(cache))
    made_up = [line.split()[0] for line in lines if " simulator" in line]
    expected = ["US.AAPL", "US.AAPL", "US.BRK.B"], ["HK.00700", "HK.00700"]
    assert made_up == expected[servers[0].origin != "simulator"]
    assert max(map(len, lines[1:])) <= width


def test_a_history_that_was_rewritten_is_told(cache: Path) -> None:
    one, other = (Server("opend", Universe(seed, most_rows=130)) for seed in (0, 1))
    with one.opend, one.client(cache) as client:
        client.sync(["US.AAPL"])
    with other.opend, other.client(cache, max_age=0) as client:
        with pytest.warns(ShortInterestWarning, match="130 of 130 recorded rows are other"):
            client.sync(["US.AAPL"])
        other.universe.revise("US.AAPL", 3, sharesShort=1)
        assert client.sync(["US.AAPL"]).revised_rows == 1


def test_it_is_told_to_everybody_who_is_given_it_also_where_another_fetched_the_pages(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = (Server("opend", Universe(seed, most_rows=300)) for seed in (0, 1))
    with one.opend, one.client(cache) as client:
        client.sync(["US.AAPL"])
    with other.opend, other.client(cache, max_age=0) as client, other.client(cache, max_age=0) as beside:
        ask, asked = client._connection.request, []

        def first_then_the_other_asks(*arguments: Any) -> bytes:
            body: bytes = ask(*arguments)
            asked.append(body)
            if len(asked) == 1:
                with pytest.warns(ShortInterestWarning, match="223 of 223 recorded rows are other"):
                    beside.history("US.AAPL")
            return body

        monkeypatch.setattr(client._connection, "request", first_then_the_other_asks)
        with pytest.warns(ShortInterestWarning, match=r"(\d+) of \1 recorded rows are other"):
            assert len(client.history("US.AAPL")) == 223
        assert len(asked) < 4
