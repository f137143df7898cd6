"""`mcp` answers a language model: short CSV with units and source, errors in words, no request beyond the limit.

The SDK's own client asks, over the pipes of a real process.
"""

from __future__ import annotations

import asyncio
import csv
import io
import os
import sys
from collections.abc import Awaitable, Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

import pytest

from opend_si.simulator import Simulator, Universe
from opend_si_schema.definitions import Rate
from tests.cache.processes import OpenD
from tests.processes import COMMANDS, Run, at, without

if find_spec("mcp") is None:
    pytest.skip("mcp is not installed", allow_module_level=True)
_T = TypeVar("_T")


def asked(environ: dict[str, str], ask: Callable[[Any], Awaitable[_T]], *options: str) -> _T:
    """What comes of asking a server that is started for it."""
    import mcp  # it takes long to load, for all who collect tests

    script = str(Path(sys.executable).with_name(COMMANDS[0]))
    server = mcp.StdioServerParameters(command=script, args=["mcp", *options], env={**os.environ, **environ})

    async def run() -> _T:
        async with mcp.Client(server, read_timeout_seconds=60) as client:
            return await ask(client)

    return asyncio.run(run())


async def call(client: Any, tool: str, **arguments: Any) -> tuple[bool, str]:
    """Whether it is an error, and the text."""
    result = await client.call_tool(tool, arguments)
    (content,) = result.content
    return bool(result.is_error), str(content.text)


def read(text: str) -> tuple[list[str], list[dict[str, str]]]:
    """The lines about the rows, and the rows."""
    lines = text.splitlines()
    head = [line for line in lines if line.startswith("# ")]
    return head, list(csv.DictReader(io.StringIO("\n".join(lines[len(head) :]))))


@pytest.fixture
def kept(tmp_path: Path) -> dict[str, str]:
    return {"OPEND_SI_MODE": "online", "OPEND_SI_HOME": str(tmp_path / "kept")}


def test_tools_are_named_and_harmless(opend: Simulator, kept: dict[str, str]) -> None:
    async def ask(client: Any) -> Any:
        return (await client.list_tools()).tools

    tools = {tool.name: tool for tool in asked({**kept, **at(opend)}, ask)}
    assert set(tools) == {"history", "changes", "screen", "status"}
    for tool in tools.values():
        assert tool.annotations.read_only_hint is True
        assert tool.annotations.destructive_hint is False
    assert tools["history"].input_schema["required"] == ["code"]
    assert "Hong Kong" not in (tools["history"].description or "")
    assert opend.requests == []


def test_answers_are_short_and_say_what_they_are(opend: Simulator, kept: dict[str, str]) -> None:
    async def ask(client: Any) -> list[tuple[bool, str]]:
        history = await call(client, "history", code="HK.00700", rows=3)
        return [
            history,
            await call(client, "history", code="US.AAPL", start="2026-04-01"),
            await call(client, "changes", since="1h", codes=["HK.00700"], rows=5),
            await call(client, "screen", market="HK", top=1),
            await call(client, "status"),
        ]

    answers = asked({**kept, **at(opend)}, ask)
    assert [is_error for is_error, _ in answers] == [False] * 5
    history, apple, changes, screen, status = (text for _, text in answers)
    head, rows = read(history)
    assert "3 rows; 710 older left out" in head[0]
    assert "aggregated_short shares" in head[1]
    assert "get_short_interest" in head[2]
    assert [(row["date"], row["published_by"], row["aggregated_short"]) for row in rows] == [
        ("2026-04-17", "2026-04-24", "47974208"),
        ("2026-04-24", "2026-05-04", "51888755"),
        ("2026-04-30", "2026-05-08", "51480638"),
    ]
    assert "timestamp" not in rows[0]
    assert len(history) < 1500
    assert len(read(apple)[1]) == 2
    head, rows = read(changes)
    assert "5 rows; 708 further left out" in head[0]
    assert {row["what"] for row in rows} == {"new"}
    head, rows = read(screen)
    assert [row["symbol"] for row in rows] == ["HK.00700"]
    assert rows[0]["published_by"] == "2026-05-08"
    assert "recorded symbols: 2" in status
    assert len(opend.requests) == 15 + 1


def test_made_up_rows_are_no_market_data_to_a_model(opend: OpenD, kept: dict[str, str]) -> None:
    async def ask(client: Any) -> list[tuple[bool, str]]:
        return [
            await call(client, "history", code="US.AAPL", rows=3),
            await call(client, "screen"),
            await call(client, "changes", since="1h", rows=3),
        ]

    def heads(server: Simulator, home: Path) -> list[list[str]]:
        return [read(text)[0] for _, text in asked({**kept, "OPEND_SI_HOME": str(home), **at(server)}, ask)]

    home = Path(kept["OPEND_SI_HOME"])
    with Simulator() as simulator:
        for head in heads(simulator, home / "made-up"):
            assert any("rows of a simulator are made up" in line for line in head)
            assert any(line.startswith("# source: simulator, get_short_interest") for line in head)
            assert not any("source: OpenD" in line for line in head)
    for head in heads(opend, home / "real"):
        assert not any("made up" in line for line in head)
        assert any(line.startswith("# source: OpenD, get_short_interest") for line in head)


def test_errors_reach_the_model_in_words(opend: Simulator, kept: dict[str, str]) -> None:
    async def ask(client: Any) -> list[tuple[bool, str]]:
        return [
            await call(client, "history", code="HK.700"),
            await call(client, "history", code="US.NONE"),
            await call(client, "history", code="US.AAPL", rows=100_000),
            await call(client, "screen"),
            await call(client, "changes", since="soon"),
        ]

    answers = asked({**kept, **at(opend)}, ask)
    assert [is_error for is_error, _ in answers] == [True] * 5
    for (_, text), words in zip(answers, ("HK.00700", "US.NONE", "200", "sync", "36h"), strict=True):
        assert words in text

    async def ask_of_none(client: Any) -> list[tuple[bool, str]]:
        return [await call(client, "history", code="US.AAPL"), await call(client, "status")]

    away, status = asked({**kept, "OPEND_PORT": "1"}, ask_of_none)
    assert away[0]
    assert "OPEND_PORT" in away[1]
    assert not status[0]
    assert "not connected" in status[1]


def test_an_answer_from_an_old_record_says_so(kept: dict[str, str]) -> None:
    async def ask(client: Any) -> tuple[bool, str]:
        return await call(client, "history", code="US.AAPL", rows=1)

    with OpenD() as opend:
        assert not asked({**kept, **at(opend)}, ask)[0]
    is_error, text = asked({**kept, "OPEND_PORT": "1", "OPEND_SI_MAX_AGE": "0"}, ask)
    assert not is_error
    notes = [line for line in text.splitlines() if line.startswith("# note: ")]
    assert any("could not be asked" in note for note in notes)


def test_made_up_rows_do_not_answer_for_an_opend_that_is_away(kept: dict[str, str]) -> None:
    async def ask(client: Any) -> tuple[bool, str]:
        return await call(client, "history", code="US.AAPL", rows=1)

    with Simulator() as simulator:
        assert not asked({**kept, **at(simulator)}, ask)[0]
    is_error, text = asked({**kept, "OPEND_PORT": "1"}, ask)
    assert is_error
    assert "made up by a simulator" in text
    assert "mode offline reads it" in text


def test_a_hundred_calls_stay_within_the_limit(start: Callable[..., Simulator], kept: dict[str, str]) -> None:
    symbols = [f"US.T{number}" for number in range(100)]
    rate = Rate(15, 0.5)
    opend = start(universe=Universe(symbols=symbols, most_rows=3), rate=rate)

    async def ask(client: Any) -> list[tuple[bool, str]]:
        return list(await asyncio.gather(*(call(client, "history", code=symbol, rows=1) for symbol in symbols)))

    answers = asked({**kept, **at(opend), "OPEND_SI_RATE": "15/0.5"}, ask)
    assert not any(is_error for is_error, _ in answers)
    assert len(opend.requests) == 100
    assert all(request.accepted for request in opend.requests)  # none was one too many
    moments = [request.at for request in opend.requests]
    assert all(late - early > rate.seconds for early, late in zip(moments, moments[rate.requests :], strict=False))


def test_without_the_extra_it_says_what_to_install(console: Run, tmp_path: Path) -> None:
    done = console("mcp", **without(tmp_path, "mcp"))
    assert (done.returncode, done.stdout) == (1, "")
    assert "opend-short-interest[mcp]" in done.stderr
    assert done.stderr.count("\n") == 1
