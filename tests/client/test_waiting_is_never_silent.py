"""A wait of more than a few seconds is said: once by a warning, in the log, by `on_wait`, or by the bar of a sync.

What is said tells the own budget from a refusal, which others caused.
"""

import asyncio
import logging
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from opend_si.simulator import Simulator, faults
from tests.processes import ROOT

REFUSED = faults.refuse("获取空头持仓频率太高，请求失败，每30秒最多30次。")
OWN, OTHERS = "the rate budget", "programs that do not share this rate budget"


@pytest.fixture
def face(one_face: ModuleType) -> ModuleType:
    return one_face


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPEND_SI_RATE", "1/3.2")


@pytest.mark.parametrize("is_async", [False, True])
def test_the_first_long_wait_is_a_warning_and_a_line_of_the_log(
    face: ModuleType, opend: Simulator, slow: None, caplog: pytest.LogCaptureFixture, is_async: bool
) -> None:
    caplog.set_level(logging.INFO, "opend_si")

    async def ask() -> None:
        async with face.AsyncClient(opend.host, opend.port) as client:
            for code in ("HK.00001", "HK.00005", "HK.00388"):
                await client.get_page(code)

    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        if is_async:
            asyncio.run(ask())
        else:
            with face.Client(opend.host, opend.port) as client:
                for code in ("HK.00001", "HK.00005", "HK.00388"):
                    client.get_page(code)
    (warning,) = told
    assert warning.category is face.ShortInterestWarning
    assert warning.filename == __file__
    assert str(warning.message).startswith(f"waiting 4 s: {OWN}. This is said once")
    lines = [record.getMessage() for record in caplog.records if record.levelno == logging.INFO]
    assert lines == [f"waiting 4 s: {OWN}"] * 2


def test_who_hears_of_waits_is_not_warned_and_knows_why(
    opend: Simulator, face: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPEND_SI_RATE", "2/0.3")
    waits: list[Any] = []
    with face.Client(opend.host, opend.port, on_wait=waits.append) as client:
        opend.faults.append(REFUSED)
        client.get_page("HK.00001")
        refused = len(waits)
        while len(waits) == refused:  # on a slow machine two requests may be further apart than the budget wants
            client.get_page("HK.00005")
    assert 0 < refused < len(waits)
    assert all(
        wait.is_refused and wait.why.startswith("OpenD refused: ") and OTHERS in wait.why for wait in waits[:refused]
    )
    assert not any(wait.is_refused for wait in waits[refused:])
    assert all(wait.why == OWN for wait in waits[refused:])
    assert all(isinstance(wait, float) for wait in waits)


BAR = """
import sys, futu_si
with futu_si.Client(sys.argv[1], int(sys.argv[2])) as client:
    assert client.sync(sys.argv[3:], progress=True).requests
"""
AWAITED_BAR = """
import asyncio, sys, futu_si
async def main():
    async with futu_si.AsyncClient(sys.argv[1], int(sys.argv[2])) as client:
        assert (await client.sync(sys.argv[3:], progress=True)).requests
asyncio.run(main())
"""


@pytest.mark.parametrize("program", [BAR, AWAITED_BAR])
def test_progress_true_is_a_bar_on_stderr(start: Callable[..., Simulator], tmp_path: Path, program: str) -> None:
    done = run(start(), tmp_path, [sys.executable, "-W", "error", "-c", program])
    assert (done.returncode, done.stdout) == (0, "")
    assert "US.AAPL" in done.stderr
    assert "2/2" in done.stderr
    assert "rows" in done.stderr


NOTEBOOK = """
import sys
from ipykernel.zmqshell import ZMQInteractiveShell
from IPython.core.displaypub import CapturingDisplayPublisher

shell = ZMQInteractiveShell.instance()  # what a notebook runs, with its output kept here
shell.display_pub = CapturingDisplayPublisher()
result = shell.run_cell('''
import futu_si
with futu_si.Client(sys.argv[1], int(sys.argv[2])) as client:
    client.sync(sys.argv[3:], progress=True)
''' if shell.push({"sys": sys}) is None else "")
result.raise_error()
texts = [output["data"]["text/plain"] for output in shell.display_pub.outputs]
print(len(texts))
print(texts[-1])
"""


def test_progress_true_is_a_bar_below_a_notebooks_cell(start: Callable[..., Simulator], tmp_path: Path) -> None:
    pytest.importorskip("ipykernel")
    done = run(start(), tmp_path, [sys.executable, "-c", NOTEBOOK])
    assert done.returncode == 0, done.stderr
    count, last = done.stdout.strip().splitlines()
    assert int(count) > 2
    assert last.startswith("US.AAPL")
    assert "2/2" in last
    assert "rows" in last
    assert len(last) <= 80


def run(opend: Simulator, folder: Path, command: list[str]) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "OPEND_SI_MODE": "online", "OPEND_SI_CACHE": str(folder / "pages.sqlite3")}
    words = [*command, opend.host, str(opend.port), "HK.00700", "US.AAPL"]
    return subprocess.run(words, env=environ, cwd=ROOT, capture_output=True, encoding="utf-8", timeout=120)


def test_what_is_no_progress_is_refused_before_the_first_request(
    face: ModuleType, opend: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPEND_SI_MODE", "online")
    with face.Client(opend.host, opend.port) as client:
        wrong: Any
        for wrong in (1, "yes", []):
            with pytest.raises(face.InvalidArgument, match=r"progress is .*True for a bar"):
                client.sync(["US.AAPL"], progress=wrong)
        assert opend.requests == []
        assert client.sync(["US.AAPL"], progress=False).ok
