"""The asyncio client: the same answers as the blocking one, overlapping on one connection, and what a cancel leaves."""

import asyncio
import gc
import inspect
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd
import pytest

from opend_si.cache.budget import Budget
from opend_si.client.steps import Exchange
from opend_si.settings import Settings
from opend_si.simulator import Fault, Simulator, Universe, faults
from opend_si.simulator.faults import Wait
from opend_si_schema.calls import SHORT_INTEREST
from opend_si_schema.definitions import Rate
from tests.processes import ROOT

CODE, OTHER = "HK.00700", "US.AAPL"


@pytest.fixture
def opend(start: Callable[..., Simulator]) -> Simulator:
    return start(universe=Universe(most_rows=120))


@pytest.fixture
def at(opend: Simulator, tmp_path: Path) -> dict[str, Any]:
    return {"host": opend.host, "port": opend.port, "mode": "online", "cache": tmp_path / "pages.sqlite3", "timeout": 5}


def late(seconds: float) -> Fault:
    """A reply that takes its time."""
    return Fault(deliver=lambda data: [Wait(seconds), data])


def run(main: Callable[[], Awaitable[Any]]) -> Any:
    """Run a coroutine; one that hangs fails."""

    async def bounded() -> Any:
        return await asyncio.wait_for(main(), 30)

    return asyncio.run(bounded())


@asynccontextmanager
async def client_of(face: ModuleType, at: dict[str, Any], **more: Any) -> AsyncIterator[Any]:
    async with face.AsyncClient(**{**at, **more}) as client:
        yield client


def test_it_answers_what_the_blocking_client_answers(
    face: ModuleType, opend: Simulator, at: dict[str, Any], tmp_path: Path
) -> None:
    async def ask() -> Any:
        async with client_of(face, at) as client:
            return (
                await client.get_page(CODE, num=50),
                [page.body async for page in client.pages(CODE)],
                await client.history(CODE),
                await client.history(OTHER, "2025-01-01", "2026-01-01"),
                str(await client.sync([CODE, OTHER, "x"])),
                await client.revisions(CODE),
                await client.panel([OTHER]),
                await client.export(tmp_path / "a", "csv"),
                await client.screen("US", top=1),
                len((await client.plot(CODE)).axes),
            )

    theirs = run(ask)
    spent = [(seen.symbol, seen.next_key, seen.num) for seen in opend.requests]
    opend.requests.clear()
    with face.Client(**{**at, "cache": tmp_path / "blocking.sqlite3"}) as client:
        ours = (
            client.get_page(CODE, num=50),
            [page.body for page in client.pages(CODE)],
            client.history(CODE),
            client.history(OTHER, "2025-01-01", "2026-01-01"),
            str(client.sync([CODE, OTHER, "x"])),
            client.revisions(CODE),
            client.panel([OTHER]),
            client.export(tmp_path / "b", "csv"),
            client.screen("US", top=1),
            len(client.plot(CODE).axes),
        )
    assert [(seen.symbol, seen.next_key, seen.num) for seen in opend.requests] == spent
    assert theirs[0].body == ours[0].body
    assert (theirs[1], theirs[4], theirs[9]) == (ours[1], ours[4], ours[9])
    for place in (2, 3, 5, 6, 8):
        assert_same(theirs[place], ours[place])
    assert [Path(file).name for file in theirs[7]] == [Path(file).name for file in ours[7]]


def assert_same(theirs: Any, ours: Any) -> None:
    """All but when it was seen."""
    drop = [name for name in ("known_at",) if name in ours]
    pd.testing.assert_frame_equal(theirs.drop(columns=drop), ours.drop(columns=drop))


def test_both_clients_have_the_same_methods_and_documentation(face: ModuleType) -> None:
    def public(kind: type) -> dict[str, Any]:
        return {name: value for name, value in vars(kind).items() if not name.startswith("_")}

    blocking, overlapping = public(face.Client), public(face.AsyncClient)
    assert list(blocking) == list(overlapping)
    for name, method in blocking.items():
        assert method.__doc__ == overlapping[name].__doc__
        ours, theirs = inspect.signature(method), inspect.signature(overlapping[name])
        assert ours.parameters == theirs.parameters
        assert inspect.iscoroutinefunction(overlapping[name]) or name in ("pages", "with_options")
    assert inspect.signature(face.Client).parameters == inspect.signature(face.AsyncClient).parameters
    assert set(dir(face)) >= {*face.__all__, *face._OTHERS}


def test_requests_overlap_on_one_connection(face: ModuleType, opend: Simulator, at: dict[str, Any]) -> None:
    opend.latency = 0.2
    codes = opend.universe.symbols[:10]

    async def ask() -> list[Any]:
        async with client_of(face, at, mode="bypass") as client:
            return await asyncio.gather(*(client.get_page(code, num=num) for code in codes for num in (10, 20, 30)))

    pages = run(ask)
    assert [page.symbol for page in pages] == [code for code in codes for _ in range(3)]
    assert [len(page) for page in pages] == [
        min(num, len(opend.universe.rows(code) or ())) for code in codes for num in (10, 20, 30)
    ]
    assert opend.connections == 1
    arrived = [seen.at for seen in opend.requests]
    assert max(arrived) - min(arrived) < 30 * opend.latency, "one after the other they would take that long"


def test_replies_in_any_order_reach_their_requests(face: ModuleType, opend: Simulator, at: dict[str, Any]) -> None:
    opend.faults.extend([late(0.3), late(0.2), late(0.1)])

    async def ask() -> list[Any]:
        async with client_of(face, at, mode="bypass") as client:
            return await asyncio.gather(*(client.get_page(CODE, num=num) for num in (1, 2, 3)))

    assert [len(page) for page in run(ask)] == [1, 2, 3]


def test_tasks_that_want_one_page_wait_for_the_first(face: ModuleType, opend: Simulator, at: dict[str, Any]) -> None:
    opend.latency = 0.1

    async def ask() -> list[Any]:
        async with client_of(face, at, max_age=0) as client:
            return await asyncio.gather(*(client.get_page(CODE, num=50) for _ in range(8)))

    assert {page.body for page in run(ask)} == {run_one(face, at).body}
    assert len(opend.requests) <= 2


def run_one(face: ModuleType, at: dict[str, Any]) -> Any:
    with face.Client(**{**at, "mode": "offline"}) as client:
        return client.get_page(CODE, num=50)


def test_a_cancelled_task_leaves_the_connection_the_claim_and_the_budget_right(
    face: ModuleType, opend: Simulator, at: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPEND_SI_RATE", "30/30")
    opend.faults.append(late(0.4))

    async def ask() -> None:
        async with client_of(face, at) as client:
            slow = asyncio.create_task(client.get_page(CODE, num=50))
            while not opend.requests:
                await asyncio.sleep(0.01)
            other = asyncio.create_task(client.get_page(OTHER, num=50))
            slow.cancel()
            with pytest.raises(asyncio.CancelledError):
                await slow
            assert len(await other) == 50  # on the same connection
            again = await asyncio.wait_for(client.get_page(CODE, num=50), 3)  # its claim was given back
            assert again.source == "opend"
            await asyncio.sleep(0.4)  # the late reply comes, and nobody minds
            assert len(await client.history(CODE)) == 120

    run(ask)
    assert opend.connections == 1
    budget = Budget(Settings.resolve().budget)
    left = budget.allowance(f"10000000/{SHORT_INTEREST.proto_id}", SHORT_INTEREST.rate).requests
    assert left == SHORT_INTEREST.rate.requests - len(opend.requests)


@pytest.mark.parametrize("pause", [0.0, 0.001, 0.003, 0.01, 0.03])
def test_a_task_may_be_cancelled_at_any_moment(
    face: ModuleType, opend: Simulator, at: dict[str, Any], pause: float
) -> None:
    opend.latency = 0.005

    async def ask() -> None:
        async with client_of(face, at, max_age=0) as client:
            for _ in range(5):
                task = asyncio.create_task(client.history(CODE))
                await asyncio.sleep(pause)
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
            assert len(await asyncio.wait_for(client.history(CODE), 3)) == 120

    run(ask)


def test_while_the_budget_makes_it_wait_the_loop_goes_on(
    face: ModuleType, start: Callable[..., Simulator], at: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPEND_SI_RATE", "1/0.6")
    opend = start(rate=Rate(1, 0.6))
    waits: list[float] = []

    async def ask() -> int:
        ticks = 0
        async with client_of(face, {**at, "port": opend.port}, on_wait=waits.append) as client:
            walking = asyncio.create_task(client.history(OTHER, "2023-01-01"))
            while not walking.done():
                await asyncio.sleep(0.01)
                ticks += 1
            assert len(await walking)
        return ticks

    assert run(ask) > 10
    assert waits
    assert all(seen.accepted for seen in opend.requests)


def test_an_opend_that_is_away_hangs_or_restarts_is_one_named_error_or_none(
    face: ModuleType, opend: Simulator, at: dict[str, Any]
) -> None:
    async def ask() -> None:
        async with client_of(face, at, port=1) as client:
            with pytest.raises(face.ConnectionFailed, match="Start OpenD"):
                await client.get_page(CODE)
        async with client_of(face, at, mode="bypass", timeout=0.5) as client:
            assert await client.get_page(CODE)
            opend.disconnect_all()
            assert await client.get_page(CODE)  # a link that was cut while idle is opened again
            opend.faults.append(faults.cut())
            assert await client.get_page(CODE)  # and a request that was cut off is repeated
            opend.faults.append(faults.silence())
            with pytest.raises(face.RequestTimeout):
                await client.get_page(CODE)
            assert await client.get_page(CODE)
            opend.faults.append(Fault(alter=lambda reply: setattr(reply, "retType", -1)))
            with pytest.raises(face.OpenDError):
                await client.get_page(CODE)
            assert await client.get_page(CODE)

    run(ask)


# A link that was left open warns when it is collected, as every asyncio transport does.
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_client_may_be_used_in_one_event_loop_after_the_other(
    face: ModuleType, opend: Simulator, at: dict[str, Any]
) -> None:
    def use() -> None:
        client = face.AsyncClient(**{**at, "mode": "bypass"})
        for _ in range(3):
            assert len(run(lambda: client.get_page(CODE))) == 10
        run(client.close)

    use()
    gc.collect()


def test_tasks_that_wait_for_one_connection_share_its_error(
    face: ModuleType, at: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPEND_SI_RATE", "30/30")  # who reserves asks for the account first

    async def ask(port: int) -> list[Any]:
        async with client_of(face, at, port=port, mode="bypass", timeout=0.4) as client:
            return await asyncio.gather(
                *(client.get_page(CODE, num=num) for num in range(1, 6)), return_exceptions=True
            )

    assert [type(error) for error in run(lambda: ask(1))] == [face.ConnectionFailed] * 5
    with socket.create_server(("127.0.0.1", 0)) as silent:
        errors = run(lambda: ask(silent.getsockname()[1]))
    assert [isinstance(error, face.RequestTimeout) for error in errors] == [True] * 5
    assert all("InitConnect" in str(error) for error in errors)


@pytest.mark.parametrize("named", ["rsa-2048.pem", None])
def test_an_encrypted_link_is_that_of_the_blocking_client(
    face: ModuleType, start: Callable[..., Simulator], at: dict[str, Any], named: str | None
) -> None:
    keys = ROOT / "tests/data/keys"
    key = keys / "rsa-2048.pem"
    opend = start(universe=Universe(most_rows=120), rsa_key=key)
    more = {"port": opend.port, "rsa_key": None if named is None else keys / named, "timeout": 2}

    async def ask() -> Any:
        async with client_of(face, at, **more) as client:
            return await asyncio.gather(*(client.history(code) for code in (CODE, OTHER)), return_exceptions=True)

    told = run(ask)
    if named is None:
        assert all(isinstance(one, face.ShortInterestError) and "OPEND_RSA_KEY" in str(one) for one in told)
    else:
        assert [len(frame) for frame in told] == [120, 120]


def test_bad_input_costs_no_request_and_settings_are_checked_at_once(
    face: ModuleType, opend: Simulator, at: dict[str, Any]
) -> None:
    with pytest.raises(face.InvalidArgument):
        face.AsyncClient(port=0)

    async def ask() -> None:
        async with client_of(face, at) as client:
            for wrong in (
                client.get_page("700"),
                client.get_page(CODE, num=0),
                client.history(CODE, "soon"),
                client.panel(market="x"),
                client.get_page(CODE, kind="x"),
            ):
                with pytest.raises(face.InvalidArgument):
                    await wrong
            with pytest.raises(face.InvalidArgument):
                client.pages("700")

    run(ask)
    assert opend.requests == []


def test_who_does_not_use_it_does_not_import_asyncio_and_who_forgets_to_close_it_ends() -> None:
    program = """
import sys, futu_si, moomoo_si
assert "asyncio" not in sys.modules
import asyncio
from opend_si.simulator import Simulator
with Simulator() as opend:
    client = futu_si.AsyncClient(opend.host, opend.port, mode="bypass")
    async def ask():
        return await client.get_page("HK.00700")
    assert len(asyncio.run(ask())) == 10
print("done")
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_a_silent_request_lets_the_others_on_its_connection_be_answered(
    face: ModuleType, opend: Simulator, at: dict[str, Any]
) -> None:
    codes = [symbol for symbol in opend.universe.symbols if opend.universe.rows(symbol)][:6]

    async def ask() -> None:
        async with client_of(face, at, timeout=1) as client:
            await client.get_page(codes[0], num=50)
            opend.latency = 0.6
            opend.faults.append(faults.silence())
            silent = asyncio.create_task(client.get_page(codes[1], num=50))
            await asyncio.sleep(0.6)
            others = [asyncio.create_task(client.get_page(code, num=50)) for code in codes[2:]]
            with pytest.raises(face.RequestTimeout):
                await silent
            assert all(page.source == "opend" for page in await asyncio.gather(*others))
            opend.latency = 0.0
            await client.get_page(codes[1], num=50)

    run(ask)
    asked = [request.symbol for request in opend.requests]
    assert sorted(asked) == sorted([*codes, codes[1]])


def test_a_request_that_the_event_loop_held_up_takes_a_new_slot(
    face: ModuleType, start: Callable[..., Simulator], at: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its slot has been given to another meanwhile: sent on the old one, OpenD would see too many."""
    rate = Rate(2, 1.0)
    monkeypatch.setenv("OPEND_SI_RATE", f"{rate.requests}/{rate.seconds}")
    opend = start(rate=rate)
    settings = {**at, "host": opend.host, "port": opend.port, "timeout": 0.5}

    async def ask() -> None:
        async with client_of(face, settings) as client:
            await client.status()  # connected
            loop, perform = asyncio.get_running_loop(), client._perform

            async def held_up(step: Any) -> Any:
                if isinstance(step, Exchange) and not opend.requests:
                    loop.call_soon(time.sleep, 2.0)
                    await asyncio.sleep(0)
                return await perform(step)

            client._perform = held_up
            with ThreadPoolExecutor(1) as pool:
                others = loop.run_in_executor(pool, ask_others)
                await asyncio.gather(client.get_page(CODE), client.get_page(OTHER), others)

    def ask_others() -> None:
        time.sleep(1.7)  # the slots of the others have lapsed
        with face.Client(**settings) as client:
            for code in ("US.GME", "HK.00005"):
                client.get_page(code)

    run(ask)
    assert [request.accepted for request in opend.requests] == [True] * 4
