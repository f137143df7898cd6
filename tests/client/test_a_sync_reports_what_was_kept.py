"""A symbol counts as brought up to date when its rows are in the file: on a disk that is full it fails by name."""

import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

import futu_si
from opend_si.gateway.server import Gateway
from opend_si.settings import Settings
from opend_si.simulator import Simulator, Universe
from tests.processes import ROOT

# In a process of its own: from now on no file of it may grow beyond what the record needs for a symbol or two.
_SYNC = """
import resource, signal, sys, warnings
import futu_si
warnings.simplefilter("ignore")
host, port, cache, *codes = sys.argv[1:]
with futu_si.Client(host, int(port), mode="online", cache=cache, timeout=30) as client:
    print(client.sync(codes[:1]).ok, flush=True)
    input()
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))
    report = client.sync(codes)
for one in report:
    print(one.symbol, "kept" if one.error is None else type(one.error).__name__)
print(report.ok)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs limits of files")
@pytest.mark.parametrize("first", ["OpenD", "a gateway, which keeps the record, and OpenD after it"])
def test_a_symbol_that_could_not_be_recorded_fails_by_name(
    start: Callable[..., Simulator], tmp_path: Path, first: str
) -> None:
    opend, cache = start(universe=Universe(most_rows=300)), tmp_path / "pages.sqlite3"
    codes = ["HK.00700", "HK.00001", "HK.00005", "HK.00388", "HK.00939"]
    with ExitStack() as stack, ExitStack() as before:
        asked: Any = opend
        if first != "OpenD":
            home = {"OPEND_SI_HOME": str(tmp_path / "gateway"), "OPEND_SI_RATE": "off"}
            settings = Settings.resolve(host=opend.host, port=opend.port, environ=home)
            asked = before.enter_context(Gateway(settings, port=0))
        command = [sys.executable, "-c", _SYNC, asked.host, str(asked.port), str(cache), *codes]
        process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        stack.callback(process.kill)
        assert process.stdout is not None
        assert process.stdout.readline() == "True\n"
        if asked is not opend:
            before.close()
            start(universe=Universe(most_rows=300), port=asked.port)
        out, errors = process.communicate("\n", timeout=120)
    *lines, ok = out.splitlines()
    assert not errors
    told = dict(line.split() for line in lines)
    assert list(told) == codes
    assert ok == "False"
    assert told["HK.00700"] == "kept"
    assert set(told.values()) == {"kept", "CacheError"}
    with futu_si.Client(mode="offline", cache=cache) as client:
        for code, fate in told.items():
            if fate == "kept":
                assert len(client.history(code)) == 300
