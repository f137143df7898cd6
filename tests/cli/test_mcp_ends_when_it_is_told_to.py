"""`mcp` ends with one Ctrl-C, one SIGTERM, or its client, whatever it waits for; what is recorded stays."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import futu_si
from opend_si.cache.claims import Claims
from opend_si.pages import PageKey
from opend_si.simulator import Simulator, faults
from opend_si_schema.calls import SHORT_INTEREST
from tests.processes import COMMANDS, at

if find_spec("mcp") is None:
    pytest.skip("mcp is not installed", allow_module_level=True)

# How it is ended, and with which exit code that is.
ENDS: list[tuple[Callable[[Any], object], int]] = [
    (lambda process: process.send_signal(signal.SIGINT), 130),
    (lambda process: process.send_signal(signal.SIGTERM), 0),
    (lambda process: process.stdin.close(), 0),
]
NAMES = ["Ctrl-C", "SIGTERM", "stdin"]
ended = pytest.mark.parametrize(("end", "code"), ENDS, ids=NAMES)
# All ways lead to the same end: here one is enough.
ended_somehow = pytest.mark.parametrize(("end", "code"), ENDS[1:2], ids=NAMES[1:2])
SYMBOL = "US.AAPL"


@pytest.fixture
def kept(tmp_path: Path) -> dict[str, str]:
    return {"OPEND_SI_MODE": "online", "OPEND_SI_HOME": str(tmp_path / "kept")}


@contextmanager
def serving(**environ: str) -> Iterator[subprocess.Popen[str]]:
    """The server, with pipes for its client."""
    command = [str(Path(sys.executable).with_name(COMMANDS[0])), "mcp"]
    pipes: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    settings = {**os.environ, **environ, "PYTHONWARNINGS": "error::ResourceWarning"}
    with subprocess.Popen(command, text=True, env=settings, **pipes) as process:
        try:
            yield process
        finally:
            process.kill()
            process.stdin.close()  # type: ignore[union-attr]


def say(process: Any, method: str, number: int | None = None, **params: Any) -> None:
    message = {"jsonrpc": "2.0", "method": method, "params": params}
    process.stdin.write(json.dumps(message if number is None else {**message, "id": number}) + "\n")
    process.stdin.flush()


def greet(process: Any) -> None:
    """Begin a session, as each client does."""
    client = {"name": "test", "version": "1"}
    say(process, "initialize", 1, protocolVersion="2025-06-18", capabilities={}, clientInfo=client)
    assert json.loads(process.stdout.readline())["id"] == 1
    say(process, "notifications/initialized")


def ask_history(process: Any, number: int = 2) -> None:
    say(process, "tools/call", number, name="history", arguments={"code": SYMBOL})


def assert_ended(process: Any, code: int) -> None:
    assert process.wait(timeout=30) == code
    assert process.stderr.read().strip() == ""


def assert_nobody_fetches(kept: dict[str, str]) -> None:
    """The right to fetch the page was given back: nobody has to wait until it lapses."""
    claims = Claims(Path(kept["OPEND_SI_HOME"], "pages.sqlite3"))
    assert claims.held(PageKey.longest(SHORT_INTEREST, SYMBOL).identity) is None


@pytest.mark.needs("signals", "proc")
@ended
def test_before_the_first_message(end: Callable[[Any], object], code: int, kept: dict[str, str]) -> None:
    with serving(**kept) as process:
        status = Path(f"/proc/{process.pid}/status")
        for _ in range(1000):  # until it has said what SIGTERM is to do
            (caught,) = (line.split()[1] for line in status.read_text().splitlines() if line.startswith("SigCgt"))
            if int(caught, 16) >> (signal.SIGTERM - 1) & 1:
                break
            time.sleep(0.01)
        end(process)
        assert_ended(process, code)


@pytest.mark.needs("signals")
@ended_somehow
def test_while_nothing_is_asked(end: Callable[[Any], object], code: int, kept: dict[str, str]) -> None:
    with serving(**kept) as process:
        greet(process)
        end(process)
        assert_ended(process, code)


@pytest.mark.needs("signals")
@ended
def test_while_a_call_waits_for_the_budget(
    end: Callable[[Any], object], code: int, opend: Simulator, kept: dict[str, str]
) -> None:
    with serving(**kept, **at(opend), OPEND_SI_RATE="2/3600") as process:
        greet(process)
        ask_history(process)
        assert process.stderr is not None
        assert process.stderr.readline().startswith("waiting ")
        end(process)
        assert_ended(process, code)
    assert_nobody_fetches(kept)
    with futu_si.Client(opend.host, opend.port, mode="online", cache=Path(kept["OPEND_SI_HOME"], "pages.sqlite3")) as c:
        assert len(c.history(SYMBOL)) == 223
    assert len(opend.requests) == 5  # two of them are recorded


@pytest.mark.needs("signals")
@ended
def test_while_opend_does_not_answer(
    end: Callable[[Any], object], code: int, opend: Simulator, kept: dict[str, str]
) -> None:
    opend.faults.append(faults.silence())
    with serving(**kept, **at(opend)) as process:
        greet(process)
        ask_history(process)
        opend.wait_for_requests(1)
        end(process)
        assert_ended(process, code)
    assert_nobody_fetches(kept)


def test_where_the_client_is_gone_with_both_pipes(opend: Simulator, kept: dict[str, str]) -> None:
    opend.faults.append(faults.silence())
    with serving(**kept, **at(opend)) as process:
        greet(process)
        ask_history(process)
        opend.wait_for_requests(1)
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.close()
        process.stdin.close()
        assert_ended(process, 0)


@pytest.mark.needs("signals")
@ended_somehow
def test_where_the_client_does_not_read(
    end: Callable[[Any], object], code: int, opend: Simulator, kept: dict[str, str]
) -> None:
    with serving(**kept, **at(opend)) as process:
        greet(process)
        for number in range(2, 200):
            say(process, "tools/list", number)
        end(process)
        assert_ended(process, code)
