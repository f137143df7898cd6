"""Whenever Ctrl-C comes, a command ends with exit code 130 and without a traceback.

An interrupt that comes before the first guarded line is Python's: what Python then prints names no other code of ours
than that which leads to this line.
"""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from opend_si.simulator import Simulator
from tests.processes import COMMANDS, at

pytestmark = pytest.mark.needs("signals")

ASKED = [["--version"], ["cache", "info"], ["get", "US.AAPL"]]
# Run by Python before anything else: the process interrupts itself at a moment that is named.
INTERRUPTS = """
import atexit, os, signal, sys

moment, loaded = os.environ["MOMENT"], []

def interrupt(*_):
    signal.raise_signal(signal.SIGINT)

class Dropped:
    __del__ = interrupt

class Named:
    __set_name__ = interrupt

def imported(event, names):
    if event != "import" or not (loaded or names[0] == "opend_si.cli.app"):
        return
    loaded.append(names[0])
    if str(len(loaded)) == moment:
        interrupt()
    if moment == "a destructor" and len(loaded) == 1:
        Dropped()
    if moment == "a class" and len(loaded) == 1:
        type("Made", (), {"name": Named()})

sys.addaudithook(imported)
if moment == "the end":
    atexit.register(interrupt)
if moment == "none":
    atexit.register(lambda: print(len(loaded), file=sys.stderr))
"""
# Files whose own lines, outside of functions, Python runs before the first guarded line.
UNGUARDED = [f"{top}/{name}.py" for top in ("futu_si", "moomoo_si") for name in ("__init__", "__main__")]
UNGUARDED += ["opend_si/__init__.py", "opend_si/cli/__init__.py"]
FRAME = re.compile(r'File "([^"]+)", line \d+, in (.+)\n(.*)')
IMPORTS, MOMENTS = 8, 12


def interrupted(folder: Path, moment: str, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """A command that interrupts itself."""
    (folder / "sitecustomize.py").write_text(INTERRUPTS)
    settings = {**os.environ, **environ, "PYTHONPATH": str(folder), "MOMENT": moment}
    script = Path(sys.executable).with_name(COMMANDS[0])
    return subprocess.run([script, *arguments], capture_output=True, text=True, timeout=60, env=settings)


@pytest.mark.parametrize("arguments", ASKED, ids=" ".join)
def test_while_modules_are_loaded(arguments: list[str], opend: Simulator, tmp_path: Path) -> None:
    uninterrupted = interrupted(tmp_path, "none", *arguments, **at(opend))
    assert uninterrupted.returncode in (0, 3)
    imports = int(uninterrupted.stderr.split()[-1])
    assert imports > 100
    for number in sorted({1, *random.sample(range(2, imports + 1), IMPORTS)}):
        done = interrupted(tmp_path, str(number), *arguments, **at(opend))
        assert (done.returncode, done.stderr.strip()) == (130, ""), number


@pytest.mark.parametrize("moment", ["a destructor", "a class", "the end"])
def test_where_python_prints_it_or_makes_another_error_of_it(moment: str, tmp_path: Path) -> None:
    done = interrupted(tmp_path, moment, "--version")
    assert (done.returncode, done.stderr) == (130, "")


@pytest.mark.parametrize("arguments", ASKED, ids=" ".join)
def test_at_any_moment(arguments: list[str], opend: Simulator) -> None:
    command = [sys.executable, "-m", "futu_si", *arguments]
    environ = {**os.environ, **at(opend)}
    begun = time.monotonic()
    whole = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environ)
    lasts = time.monotonic() - begun
    ours = 0
    for _ in range(MOMENTS):
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environ
        ) as process:
            time.sleep(random.uniform(0, lasts))
            process.send_signal(signal.SIGINT)
            told, noted = process.communicate(timeout=60)
        if "Traceback" in noted or "KeyboardInterrupt" in noted:  # a fatal error of Python has but the second
            assert is_pythons(noted), noted
            assert process.returncode != 0
        elif process.returncode == whole.returncode:  # it was over
            assert told == whole.stdout
        else:
            assert process.returncode in (130, -signal.SIGINT)  # the latter where Python has no handler yet, or no more
            assert whole.stderr.strip().startswith(noted.strip())
            ours += process.returncode == 130
    assert ours > 0


def is_pythons(traceback: str) -> bool:
    """Whether no guarded line of ours stands in a traceback."""
    for file, where, line in FRAME.findall(traceback):
        ours = re.search(r"(opend_si|futu_si|moomoo_si|opend_si_schema)[/\\](?!.*site-packages).*", file)
        # Where a function begins, what came right before it counts.
        is_guarded = where != "<module>" and not line.strip().startswith("def ")
        if ours is not None and (is_guarded or Path(ours[0]).as_posix() not in UNGUARDED):
            return False
    return True
