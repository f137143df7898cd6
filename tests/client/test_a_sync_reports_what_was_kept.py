"""A symbol counts as brought up to date when its rows are in the file: on a disk that is full it fails by name."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import futu_si
from opend_si.simulator import Simulator, Universe
from tests.processes import ROOT

# In a process of its own: from now on no file of it may grow beyond what the record needs for a symbol or two.
_SYNC = """
import resource, signal, sys, warnings
import futu_si
warnings.simplefilter("ignore")
host, port, cache, *codes = sys.argv[1:]
with futu_si.Client(host, int(port), mode="online", cache=cache, timeout=30) as client:
    client.sync(codes[:1])
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))
    report = client.sync(codes)
for one in report:
    print(one.symbol, "kept" if one.error is None else type(one.error).__name__)
print(report.ok)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs limits of files")
def test_a_symbol_that_could_not_be_recorded_fails_by_name(start: Callable[..., Simulator], tmp_path: Path) -> None:
    opend, cache = start(universe=Universe(most_rows=300)), tmp_path / "pages.sqlite3"
    codes = ["HK.00700", "HK.00001", "HK.00005", "HK.00388", "HK.00939"]
    command = [sys.executable, "-c", _SYNC, opend.host, str(opend.port), str(cache), *codes]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=True)
    *lines, ok = found.stdout.splitlines()
    told = dict(line.split() for line in lines)
    assert list(told) == codes
    assert ok == "False"
    assert told["HK.00700"] == "kept"
    assert set(told.values()) == {"kept", "CacheError"}
    with futu_si.Client(mode="offline", cache=cache) as client:
        for code, fate in told.items():
            if fate == "kept":
                assert len(client.history(code)) == 300
