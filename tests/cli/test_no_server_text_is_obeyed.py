"""What a server sends is data on a terminal, in a file and in a sheet, never an order to any of them."""

import csv
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from opend_si.simulator import Simulator, faults
from opend_si.simulator.faults import Fault
from tests.processes import Run, Terminal, at

EVIL = "\x1b]0;owned\x07\x1b[2J\x1b[31mFAKE\x1b[0m\r\nfutu-si: all is well\x08\x9b31m\u202egnp"
FORMULA = "=cmd|' /C calc'!A0"
OBEYED = "\x1b\x07\x08\x9b\u202e"


def evil_row(reply: Any) -> None:
    for rows in (reply.s2c.usItemList, reply.s2c.hkItemList):
        for row in rows:
            row.timestampStr = EVIL


def formula_row(reply: Any) -> None:
    for row in reply.s2c.hkItemList:
        row.timestampStr = FORMULA


def evil_cursor(reply: Any) -> None:
    reply.s2c.nextKey = f"{EVIL}; rm -rf ~ $(id)"


def infinite_row(reply: Any) -> None:
    for row, value in zip(reply.s2c.hkItemList, (float("inf"), float("-inf"), float("nan")), strict=False):
        row.closePrice = row.lastClosePrice = value


def on_terminal(*arguments: str, **environ: str) -> str:
    """All that a terminal gets, of both streams."""
    script = str(Path(sys.executable).with_name("futu-si"))
    with (
        closing(Terminal()) as terminal,
        subprocess.Popen(
            [script, *arguments],
            stdout=terminal.theirs,
            stderr=terminal.theirs,
            env={**os.environ, **environ, "TERM": "xterm", "COLUMNS": "500"},
        ),
    ):
        terminal.begun()
        return terminal.shown()


@pytest.mark.parametrize("fault", [faults.refuse(EVIL), Fault(alter=evil_row), Fault(alter=evil_cursor)])
@pytest.mark.parametrize(
    "command",
    [
        "get HK.00700",
        "get HK.00700 --csv",
        "get HK.00700 --json",
        "history HK.00700",
        "history HK.00700 --csv",
        "sync HK.00700",
    ],
)
def test_no_text_of_a_server_orders_a_terminal(
    start: Callable[..., Simulator], tmp_path: Path, fault: Any, command: str
) -> None:
    opend = start()
    opend.faults.extend([fault] * 3)
    shown = on_terminal(*command.split(), **at(opend), OPEND_SI_MODE="online", OPEND_SI_HOME=str(tmp_path))
    if "sync" in command:  # the bar itself moves the cursor
        assert "owned\x07" not in shown
        assert "\x1b[2J" not in shown
        assert "\x9b" not in shown
    else:
        assert not {*OBEYED} & {*shown}, shown
    assert "\nfutu-si: all is well" not in shown


def test_a_refusal_is_one_line(console: Run, start: Callable[..., Simulator], tmp_path: Path) -> None:
    opend = start()
    for command, code in (("get HK.00700", 6), ("history HK.00700", 6), ("sync HK.00700", 8)):
        opend.faults.append(faults.refuse(EVIL))
        home = {"OPEND_SI_MODE": "refresh", "OPEND_SI_HOME": str(tmp_path)}
        done = console(*command.split(), **at(opend), **home)
        assert (done.returncode, done.stderr.count("\n"), done.stderr.count("\r")) == (code, 1, 0)
        assert "\\x1b[31mFAKE" in done.stderr


def test_a_sheet_runs_no_cell(console: Run, start: Callable[..., Simulator], tmp_path: Path) -> None:
    opend = start()
    opend.faults.append(Fault(alter=formula_row))
    rows = list(csv.DictReader(io.StringIO(console("get", "HK.00700", "--csv", **at(opend)).stdout)))
    assert {row["timestamp_str"] for row in rows} == {f"'{FORMULA}"}
    home = {"OPEND_SI_MODE": "refresh", "OPEND_SI_HOME": str(tmp_path), **at(opend)}
    opend.faults.extend([Fault(alter=formula_row)] * 20)
    assert console("sync", "HK.00700", **home).returncode == 0
    opend.faults.clear()
    (file,) = console("export", str(tmp_path / "data"), "--format", "csv", **home).stdout.split()
    cells = [row["timestamp_str"] for row in csv.DictReader(io.StringIO(Path(file).read_text()))]
    assert {*cells} == {f"'{FORMULA}"}
    opend.faults.append(Fault(alter=formula_row))
    told = json.loads(console("get", "HK.00700", "--json", **at(opend)).stdout)
    assert {row["timestampStr"] for row in told["hkItemList"]} == {FORMULA}  # JSON runs nowhere: as it was sent


def test_json_is_json_whatever_the_numbers_are(console: Run, start: Callable[..., Simulator], tmp_path: Path) -> None:
    def refuse(name: str) -> None:
        raise ValueError(name)

    opend = start()
    home = {"OPEND_SI_MODE": "refresh", "OPEND_SI_HOME": str(tmp_path), **at(opend)}
    for command in ("history HK.00700 --json", "get HK.00700 --json --num 50"):
        opend.faults.append(Fault(alter=infinite_row))
        told = json.loads(console(*command.split(), **home).stdout, parse_constant=refuse)
        if isinstance(told, list):
            assert [row["close_price"] for row in told[-3:]] == [None, None, None]
    opend.faults.append(Fault(alter=evil_row))
    evil = console("get", "HK.00700", "--json", **home).stdout
    assert json.loads(evil)["hkItemList"][0]["timestampStr"] == EVIL
    assert not {*OBEYED} & {*evil}
