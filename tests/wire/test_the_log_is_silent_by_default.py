"""The log: one line a request, at DEBUG, silent by default, no secret in it."""

import asyncio
import logging
import re
import subprocess
import sys
from collections.abc import Callable
from types import ModuleType

import pytest

from opend_si.simulator import Simulator, faults
from tests.processes import ROOT, Run

LINE = re.compile(
    r"serial \d+, protocol 3249, short interest of HK\.00700, next_key '\d*', num \d+: (\w+) in \d+\.\d ms"
)


@pytest.mark.parametrize("is_async", [False, True])
def test_each_request_is_one_line(
    face: ModuleType, start: Callable[..., Simulator], caplog: pytest.LogCaptureFixture, is_async: bool
) -> None:
    key = ROOT / "tests/data/keys" / "rsa-1024.pem"
    opend = start(rsa_key=key)
    opend.faults.append(faults.cut())
    caplog.set_level(logging.DEBUG, "opend_si")
    at = {"host": opend.host, "port": opend.port, "mode": "bypass", "rsa_key": key}
    if is_async:

        async def ask() -> None:
            async with face.AsyncClient(**at) as client:
                await client.history("HK.00700")

        asyncio.run(ask())
    else:
        with face.Client(**at) as client:
            client.history("HK.00700")
    lines = [record.getMessage() for record in caplog.records if record.name.startswith("opend_si")]
    outcomes = [found[1] for line in lines if (found := LINE.fullmatch(line))]
    assert outcomes == ["LinkCut", *["ok"] * (len(opend.requests) - 1)]
    assert len(lines) == len(outcomes)
    assert not re.search(r"PRIVATE KEY|pem", caplog.text)


def test_the_console_logs_where_it_is_told_to(console: Run, opend: Simulator) -> None:
    get = ("get", "HK.00700", "--csv", "--host", opend.host, "--port", str(opend.port))
    silent = console(*get)
    assert silent.returncode == 0
    assert silent.stderr.startswith("next page: ")
    for words, environ in (
        (("-v", *get), {}),
        ((*get, "--verbose"), {}),
        (("-v", *get, "-v"), {"OPEND_SI_LOG": "debug"}),
        (get, {"OPEND_SI_LOG": " DEBUG "}),
    ):
        done = console(*words, **environ)
        assert (done.returncode, done.stdout) == (0, silent.stdout)
        line, *notes = done.stderr.splitlines()
        assert notes[0].startswith("next page: ")
        assert notes[1:] == silent.stderr.splitlines()[1:]
        assert re.search(r" opend_si\.wire: ", line)
        found = LINE.search(line)
        assert found
        assert found[1] == "ok"
    assert console(*get, OPEND_SI_LOG="warning").stderr == silent.stderr
    wrong = console(*get, OPEND_SI_LOG="loud")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert "OPEND_SI_LOG is 'loud': it takes debug, info, warning, error" in wrong.stderr


def test_without_a_listener_nothing_is_said_or_imported(opend: Simulator) -> None:
    program = f"""
import sys, futu_si
with futu_si.Client({opend.host!r}, {opend.port}, mode="bypass") as client:
    assert len(client.get_page("HK.00700")) == 10
assert "logging" not in sys.modules or "pandas" in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
