"""What the console prints: whole numbers on any terminal, and JSON as programs expect it."""

import os
import pty
import re
import subprocess
import sys
import termios
from collections.abc import Callable
from pathlib import Path

import pytest

from opend_si.simulator import Simulator, Universe
from tests.processes import Run, at


@pytest.fixture
def environ(start: Callable[..., Simulator], tmp_path: Path) -> dict[str, str]:
    """An environment that records, and asks a simulator with numbers as large as they come."""
    universe = Universe(most_rows=4)
    universe.revise("US.AAPL", 0, sharesShort=1_234_567_890, avgDailyShareVolume=9_876_543_210, closePrice=734_850.25)
    universe.revise("HK.00005", 0, closePrice=None)
    home = {"OPEND_SI_MODE": "online", "OPEND_SI_HOME": str(tmp_path / "kept")}
    return {**home, **at(start(universe=universe))}


def on_terminal(command: str, *arguments: str, width: int, **environ: str) -> list[str]:
    """The lines that a terminal shows, colors and the like taken out."""
    terminal, theirs = pty.openpty()
    termios.tcsetwinsize(terminal, (24, width))
    script = str(Path(sys.executable).with_name(command))
    settings = {**os.environ, **environ, "TERM": "xterm"}
    settings.pop("COLUMNS", None)
    with subprocess.Popen([script, *arguments], stdout=theirs, env=settings) as process:
        os.close(theirs)
        shown = b""
        while True:
            try:
                shown += os.read(terminal, 1 << 16)
            except OSError:  # how a terminal ends
                break
    os.close(terminal)
    assert process.returncode == 0
    return re.sub(r"\x1b\[[0-9;]*m", "", shown.decode()).splitlines()


@pytest.mark.parametrize("width", [40, 80, 120, 250])
@pytest.mark.parametrize(
    "arguments",
    [
        ["get", "US.AAPL", "--num", "3"],
        ["get", "HK.00005", "--num", "3"],
        ["get", "HK.00005", "--num", "3", "--kind", "daily_short_volume"],
        ["history", "US.AAPL"],
        ["history", "US.AAPL", "--kind", "daily_short_volume"],
    ],
    ids=" ".join,
)
def test_a_terminal_shows_each_number_and_date_whole(
    console: Run, environ: dict[str, str], arguments: list[str], width: int
) -> None:
    piped = console(*arguments, **environ).stdout.splitlines()
    title, heading, *rows = [line.split() for line in piped]
    shown = on_terminal("futu-si", *arguments, width=width, **environ)
    lines = [line.split() for line in shown if line and not line.startswith("next page: ")]
    assert lines[0] == title
    assert lines[-len(rows) :] == rows
    folded = lines[1 : -len(rows)]
    assert sorted(word for line in folded for word in line) == sorted(heading)
    # They are folded where they do not fit, and only there.
    assert (len(folded) > 1) == (max(map(len, piped)) > width)
    assert "…" not in "".join([*piped, *shown])


def test_revisions_are_whole_on_a_narrow_terminal(
    console: Run, start: Callable[..., Simulator], tmp_path: Path
) -> None:
    opend = start()
    environ = {"OPEND_SI_MODE": "refresh", "OPEND_SI_HOME": str(tmp_path / "kept"), **at(opend)}
    assert console("get", "US.AAPL", **environ).returncode == 0
    opend.universe.revise("US.AAPL", 0, avgDailyShareVolume=9_876_543_210)
    assert console("get", "US.AAPL", **environ).returncode == 0
    row = on_terminal("futu-si", "revisions", "US.AAPL", width=30, **environ)[-1].split()
    assert row[:4] == ["2026-04-30", "avg_daily_share_volume", "31204052", "9876543210"]
    assert len(row) == 6
