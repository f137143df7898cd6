"""A row counts as reported only if its line was written; what cannot be written ends the watch, and it says so."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from opend_si.simulator import Simulator, Universe
from tests.processes import Run, at, need

pytestmark = pytest.mark.needs("sh")

CODE = "US.AAPL"
ONCE = ("watch", CODE, "--once", "--poll", "0.01")
# What becomes of stdout, and what is said of it: who reads no more, as `head`, is not told.
FATES = {
    ">&-": "futu-si: the output cannot be written: stdout is closed. Name a file, or a command with --run.\n",
    ">/dev/full": "futu-si: the output cannot be written: No space left on device\n",
    "1</dev/null": "futu-si: the output cannot be written: Bad file descriptor\n",
    "| true": "",
}


@pytest.fixture
def environ(start: Callable[..., Simulator], tmp_path: Path, console: Run) -> dict[str, str]:
    """Of a watch that has two rows to report."""
    opend = start(universe=Universe(symbols=[CODE], most_rows=5))
    environ = {"OPEND_SI_HOME": str(tmp_path / "kept"), **at(opend)}
    assert console(*ONCE, **environ).stdout == ""
    opend.universe.publish(CODE, 2)
    return environ


def with_output(fate: str, *arguments: str, **environ: str) -> tuple[int, str]:
    """The exit code of a console whose stdout has a fate, and what it says."""
    words = shlex.join([str(Path(sys.executable).with_name("futu-si")), *arguments])
    # A pipe's reader has gone before anything is written.
    script = f"{{ sleep 0.2; {words}; echo $? >&2; }} {fate}" if fate[0] == "|" else f"{words} {fate}; echo $? >&2"
    done = subprocess.run(
        ["sh", "-c", script], capture_output=True, text=True, timeout=60, env={**os.environ, **environ}
    )
    *said, code = done.stderr.splitlines(keepends=True)
    return int(code), "".join(said)


@pytest.mark.parametrize(("fate", "once"), [(fate, number % 2 == 0) for number, fate in enumerate(FATES)])
def test_it_comes_again_where_it_could_not_be_written(
    environ: dict[str, str], console: Run, fate: str, once: bool
) -> None:
    if "full" in fate:
        need("full")
    words = ONCE if once else tuple(word for word in ONCE if word != "--once")
    assert with_output(fate, *words, **environ) == (1, FATES[fate])
    lines = [json.loads(line) for line in console(*ONCE, **environ).stdout.splitlines()]
    assert [line["what"] for line in lines] == ["new", "new"]
    assert console(*ONCE, **environ).stdout == ""


def test_a_command_needs_no_stdout(environ: dict[str, str], console: Run, tmp_path: Path) -> None:
    command = f"cat >> {shlex.quote(str(tmp_path))}/lines"
    assert with_output(">&-", *ONCE, "--run", command, **environ) == (0, "")
    assert len((tmp_path / "lines").read_text().splitlines()) == 2
    assert console(*ONCE, **environ).stdout == ""
