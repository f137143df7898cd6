"""A typed program that moves over from the published client stays clean under strict checkers, with each face.

The program is `programs/typed_program.py`. The checkers are not installed with the tests; where one is missing its test
says so. `make check` runs mypy over that program in any case.
"""

import json
import os
import shutil
import subprocess
import sys
from importlib.metadata import distributions
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.conftest import FACES
from tests.processes import ROOT

PROGRAM = Path(__file__).with_name("programs") / "typed_program.py"
# What no program may do, and a checker has to say.
WRONG = """
from {face} import Client, get_short_interest
Client(mode="sometimes")
Client().get_page("HK.00700", kind="none")
Client().get_page(700)
get_short_interest("HK.00700")[0] + "text"
"""
# Each line of it but the first two.
MISTAKES = {(f"wrong_{face}.py", line) for face in FACES for line in (3, 4, 5, 6)}


def has_stubs() -> bool:
    """Whether pandas has types here."""
    return bool(list(distributions(name="pandas-stubs")))


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A folder with both programs for each face, away from this repository."""
    for face in FACES:
        text = PROGRAM.read_text(encoding="utf-8").replace("futu_si", face)
        (tmp_path / f"right_{face}.py").write_text(text, encoding="utf-8")
        (tmp_path / f"wrong_{face}.py").write_text(WRONG.format(face=face), encoding="utf-8")
    return tmp_path


def test_mypy_finds_what_is_wrong_and_nothing_else(programs: Path) -> None:
    if not find_spec("mypy") or not has_stubs():
        pytest.skip("mypy and pandas-stubs are not installed")
    environment = {**os.environ, "MYPYPATH": os.pathsep.join([str(ROOT), str(ROOT / "generated")])}
    command = [sys.executable, "-m", "mypy", "--config-file", os.devnull, "--strict", "--output", "json", "."]
    done = subprocess.run(command, cwd=programs, env=environment, capture_output=True, text=True, timeout=300)
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert {(Path(each["file"]).name, each["line"]) for each in found} == MISTAKES, done.stdout + done.stderr


def test_pyright_finds_what_is_wrong_and_nothing_else(programs: Path) -> None:
    pyright = shutil.which("pyright")
    if pyright is None or not has_stubs():
        pytest.skip("pyright and pandas-stubs are not installed")
    settings = {
        "typeCheckingMode": "strict",
        "pythonVersion": "3.11",
        "extraPaths": [str(ROOT), str(ROOT / "generated")],
    }
    (programs / "pyrightconfig.json").write_text(json.dumps(settings), encoding="utf-8")
    command = [pyright, "--outputjson", "--pythonpath", sys.executable, "--project", str(programs)]
    done = subprocess.run(command, cwd=programs, capture_output=True, text=True, timeout=300)
    found = json.loads(done.stdout)["generalDiagnostics"]
    assert {(Path(each["file"]).name, each["range"]["start"]["line"] + 1) for each in found} == MISTAKES, done.stdout
