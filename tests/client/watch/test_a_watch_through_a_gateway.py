"""Through a gateway of the same record a watch reports each row once; one of another record is refused, not watched.

A gateway keeps the record: what it sends is recorded nowhere else, so there is nothing that a watch could report.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from opend_si.simulator import Simulator, Universe
from tests.client.watch.conftest import gateway, read
from tests.processes import Run, at, running

CODES = ("US.AAPL", "HK.00005")
WATCH = ("watch", *CODES, "--poll", "0.05")
REFUSED = "a gateway answers that keeps another record"


@pytest.fixture
def opend(start: Callable[..., Simulator]) -> Simulator:
    return start(universe=Universe(symbols=CODES, most_rows=60))


def published(opend: Simulator, code: str) -> tuple[str, str, str]:
    opend.universe.publish(code)
    return code, str((opend.universe.rows(code) or ())[0].timestampStr), "new"


def told(text: str) -> list[tuple[str, str, str]]:
    lines = [json.loads(line) for line in text.splitlines()]
    return [(line["symbol"], line["date"], line["what"]) for line in lines]


def test_each_row_is_reported_once(opend: Simulator, console: Run, tmp_path: Path) -> None:
    home = {"OPEND_SI_HOME": str(tmp_path / "desk")}
    with gateway(opend, tmp_path / "desk") as address:
        once = console(*WATCH, "--once", **home, **address)
        assert (once.returncode, once.stdout, once.stderr) == (0, "", "")
        with running("futu-si", *WATCH, **home, **address) as process:
            for code in (*CODES, *CODES):
                row = published(opend, code)
                assert told(json.dumps(read(process))) == [row]
            opend.universe.revise("US.AAPL", 2, sharesShort=7)
            revised = read(process)
            assert (revised["what"], revised["after"]["shares_short"]) == ("revised", 7)
            process.terminate()
            assert process.communicate(timeout=30)[0] == ""
        # What other clients of the gateway asked for, and what was asked without it, is the same record's.
        rows = [published(opend, "HK.00005")]
        assert console("get", "HK.00005", "--num", "50", "--no-cache", **address).returncode == 0
        rows += [published(opend, "US.AAPL")]
        assert console("sync", "US.AAPL", OPEND_SI_MODE="refresh", **home, **at(opend)).returncode == 0
        assert sorted(told(console(*WATCH, "--once", **home, **address).stdout)) == sorted(rows)
        assert told(console(*WATCH, "--once", **home, **at(opend)).stdout) == []


def test_a_gateway_of_another_record_is_refused(opend: Simulator, console: Run, tmp_path: Path) -> None:
    home = {"OPEND_SI_HOME": str(tmp_path / "own")}
    with gateway(opend, tmp_path / "desk") as address:
        for words in ((*WATCH, "--once"), WATCH):
            refused = console(*words, **home, **address)
            assert (refused.returncode, refused.stdout) == (2, "")
            assert refused.stderr.count(REFUSED) == 1
            assert "OPEND_SI_HOME" in refused.stderr
        # Where OpenD itself was asked before, it shows with the first row that does not come here.
        assert console(*WATCH, "--once", **home, **at(opend)).returncode == 0
        row = published(opend, "US.AAPL")
        refused = console(*WATCH, **home, **address)
        assert (refused.returncode, refused.stdout, refused.stderr.count(REFUSED)) == (2, "", 1)
        opend.universe.revise("HK.00005", 0, aggregatedShort=7)
        refused = console("watch", "HK.00005", "--once", "--poll", "0.05", **home, **address)
        assert (refused.returncode, refused.stdout, refused.stderr.count(REFUSED)) == (2, "", 1)
    lines = told(console(*WATCH, "--once", **home, **at(opend)).stdout)
    assert lines[0] == row
    assert [line[2] for line in lines] == ["new", "revised"]
