"""Who listens at the address is another one from some step of a call on: a simulator, OpenD, or a gateway.

What is answered is all of one server, what is recorded bears the name of who sent it, and what a gateway sent is not
recorded. An error is one that is documented.
"""

import asyncio
import itertools
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, nullcontext, suppress
from pathlib import Path
from threading import Timer
from typing import Any

import pytest

import futu_si
from opend_si.client.steps import Exchange, Step
from opend_si.errors import ConnectionFailed
from opend_si.gateway.server import Gateway
from opend_si.settings import Settings
from opend_si.simulator import Simulator, Universe
from tests.cache.processes import OpenD

CODE, ROWS, STEPS = "US.AAPL", 130, 8
# What each of them sends: behind the gateway there is an OpenD with the rows of the other one.
SEEDS = {"simulator": 2, "opend": 1, "gateway": 1}
CALLS = ("page", "short page", "pages", "history", "sync")


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    home = {"OPEND_SI_HOME": str(tmp_path_factory.mktemp("gateway")), "OPEND_SI_RATE": "off"}
    with ExitStack() as stack, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found: dict[str, Any] = {"simulator": stack.enter_context(Simulator(Universe(2, most_rows=ROWS)))}
        found["opend"] = stack.enter_context(OpenD(Universe(1, most_rows=ROWS)))
        behind = stack.enter_context(OpenD(Universe(1, most_rows=ROWS)))
        settings = Settings.resolve(host=behind.host, port=behind.port, environ=home)
        found["gateway"] = stack.enter_context(Gateway(settings, port=0))
        yield found


def truth(seed: int) -> list[int]:
    return [row.sharesShort for row in Universe(seed, most_rows=ROWS).rows(CODE) or ()]


def client_of(is_async: bool, ports: Iterator[int], first: int, settings: dict[str, Any]) -> Any:
    """A client for which, before each step, the address leads to the next of some ports."""

    class Blocking(futu_si.Client):
        def _perform(self, step: Step) -> object:
            if (port := next(ports)) != self._connection._port:
                self._connection.close()
                self._connection._port = port
            return super()._perform(step)

    class Asyncio(futu_si.AsyncClient):
        async def _perform(self, step: Step) -> object:
            if (port := next(ports)) != self._connection._port:
                await self._connection.close()
                self._connection._port = port
            return await super()._perform(step)

    return (Asyncio if is_async else Blocking)("127.0.0.1", first, **settings)


def answer_of(call: str, is_async: bool, ports: list[int], settings: dict[str, Any]) -> Any:
    """What a call gives, whose steps meet the servers at these ports, and the last of them from then on."""
    following = itertools.chain(ports, itertools.repeat(ports[-1]))
    if is_async:
        return asyncio.run(_asked(call, client_of(True, following, ports[0], settings)))
    with client_of(False, following, ports[0], settings) as client:
        match call:
            case "history":
                return client.history(CODE)
            case "sync":
                return client.sync([CODE])
            case "pages":
                return list(client.pages(CODE))
        return [client.get_page(CODE, num=20 if call == "short page" else 50)]


async def _asked(call: str, client: Any) -> Any:
    async with client:
        match call:
            case "history":
                return await client.history(CODE)
            case "sync":
                return await client.sync([CODE])
            case "pages":
                return [page async for page in client.pages(CODE)]
        return [await client.get_page(CODE, num=20 if call == "short page" else 50)]


def check(call: str, told: Any, cache: Path, *, is_recorded: bool) -> None:
    if call == "history":
        assert told.shares_short.tolist()[::-1] == truth(SEEDS[told.attrs["origin"]])
    elif call == "sync":
        assert told.ok or "Sync it again" in str(told.symbols[0].error)
    else:
        rows = [row.shares_short for page in told for row in page.records]
        seeds = {SEEDS[page.origin] for page in told}
        assert len(seeds) == 1, "rows of two servers in one walk"
        expected = truth(*seeds)
        assert rows == (expected if call == "pages" else expected[: len(rows)])
    if not cache.exists():
        return
    with futu_si.Client(mode="offline", cache=cache) as offline:
        held = offline.recorded()
        assert "gateway" not in held.origin.tolist()
        for origin, count in zip(held.origin, held.rows, strict=True):
            if not count:
                continue  # the newest page is not there
            page: Any = offline.get_page(CODE, num=min(count, 50))
            assert page.origin == origin
            assert [row.shares_short for row in page.records] == truth(SEEDS[origin])[: len(page)]
        if call == "sync" and told.ok and is_recorded:
            assert len(offline.history(CODE)) == ROWS, "a sync that went well left its rows in the record"


@pytest.mark.parametrize("rate", ["off", "1000/0.01"])
@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(("first", "last"), list(itertools.permutations(SEEDS, 2)))
def test_who_answers_may_change_at_any_step(
    servers: dict[str, Any],
    first: str,
    last: str,
    call: str,
    rate: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPEND_SI_RATE", rate)
    modes = ["online", "refresh"] if call == "sync" else ["online", "refresh", "bypass"]
    turn = ["off", "1000/0.01"].index(rate) + CALLS.index(call)
    for step in range(STEPS):
        cache = tmp_path / f"{step}.sqlite3"
        settings = {"mode": modes[(step + turn) % len(modes)], "cache": cache}
        ports = [servers[first].port] * step + [servers[last].port]
        # Only a walk page by page cannot begin again.
        may_fail = suppress(ConnectionFailed) if call == "pages" else nullcontext()
        with warnings.catch_warnings(), may_fail:
            warnings.simplefilter("ignore")
            told = answer_of(call, bool((step // 2 + turn) % 2), ports, settings)
            check(call, told, cache, is_recorded="gateway" not in (first, last))


@pytest.mark.parametrize("call", ["page", "history", "sync"])
def test_opend_that_comes_while_a_gateway_is_asked_is_recorded(call: str, tmp_path: Path) -> None:
    """The link to the gateway breaks under a request, and OpenD takes the repeated one."""
    home = {"OPEND_SI_HOME": str(tmp_path / "gateway"), "OPEND_SI_RATE": "off"}
    cache = tmp_path / "pages.sqlite3"
    with OpenD(Universe(1, most_rows=ROWS)) as opend, OpenD(Universe(1, most_rows=ROWS), latency=5.0) as behind:
        settings = Settings.resolve(host=behind.host, port=behind.port, environ=home)
        with Gateway(settings, port=0) as gateway:

            class Client(futu_si.Client):
                def _perform(self, step: Step) -> object:
                    if isinstance(step, Exchange) and self._connection._port == gateway.port:
                        self._connection._port = opend.port  # where the next link leads to
                        Timer(0.2, gateway.disconnect_all).start()
                    return super()._perform(step)

            with Client(gateway.host, gateway.port, mode="online", cache=cache) as client, warnings.catch_warnings():
                warnings.simplefilter("error")
                match call:
                    case "page":
                        assert client.get_page(CODE, num=50).origin == "opend"
                    case "history":
                        assert client.history(CODE).attrs["origin"] == "opend"
                    case "sync":
                        assert client.sync([CODE]).ok
        with futu_si.Client(mode="offline", cache=cache) as offline:
            assert len(offline.get_page(CODE, num=50)) == 50
            assert call == "page" or len(offline.history(CODE)) == ROWS
        assert len(opend.requests) == (1 if call == "page" else 3)


@pytest.mark.parametrize("is_recorded", [False, True])
@pytest.mark.parametrize("mode", ["online", "refresh"])
@pytest.mark.parametrize("rate", ["off", "1000/0.01"])
def test_a_gateway_that_comes_at_any_step_is_asked_once_for_a_page(
    servers: dict[str, Any], rate: str, mode: str, is_recorded: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What would be cut from OpenD's longest page is cut from the gateway's, too: the first page, and one below it."""
    monkeypatch.setenv("OPEND_SI_RATE", rate)
    opend, gateway = servers["opend"], servers["gateway"]
    for step in range(STEPS):
        cache = tmp_path / f"{step}.sqlite3"
        first = None
        if is_recorded:
            with futu_si.Client(opend.host, opend.port, cache=cache) as client:
                first = client.get_page(CODE, num=50).next
        for cursor in {None, first}:
            given, asked = gateway.answers.given, len(opend.requests)
            ports = itertools.chain([opend.port] * step, itertools.repeat(gateway.port))
            with (
                warnings.catch_warnings(),
                client_of(False, ports, opend.port, {"mode": mode, "cache": cache}) as client,
            ):
                warnings.simplefilter("ignore")
                page = client.get_page(CODE, cursor, num=20)
            place = 50 if cursor else 0
            assert [row.shares_short for row in page.records] == truth(1)[place : place + 20]
            assert page.next == str(page.records[-1].timestamp)
            assert gateway.answers.given - given + len(opend.requests) - asked <= 1


@pytest.mark.parametrize("is_async", [False, True])
def test_an_address_where_another_answers_each_time_costs_no_more_than_its_time(
    is_async: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each link is another account's than the one that was asked for it: nothing is sent, and there is an end."""
    monkeypatch.setenv("OPEND_SI_RATE", "1000/0.01")
    accounts = itertools.cycle((1, 2))

    class Turning(Simulator):
        async def converse(self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self.account = next(accounts)
            await super().converse(number, reader, writer)

    with Turning(Universe(1, most_rows=ROWS)) as opend:
        steps = itertools.count()

        class Blocking(futu_si.Client):
            def _perform(self, step: Step) -> object:
                next(steps)
                self._connection._drop()
                return super()._perform(step)

        class Asyncio(futu_si.AsyncClient):
            async def _perform(self, step: Step) -> object:
                next(steps)
                self._connection._drop()
                return await super()._perform(step)

        def ask() -> None:
            with Blocking(opend.host, opend.port, mode="bypass") as client:
                client.get_page(CODE)

        async def ask_async() -> None:
            async with Asyncio(opend.host, opend.port, mode="bypass") as client:
                await client.get_page(CODE)

        with pytest.raises(futu_si.RequestTimeout, match="another server answers each time"):
            asyncio.run(ask_async()) if is_async else ask()
        assert opend.requests == []
        assert next(steps) < 50
