"""A task has its environment alone, whole, and of the Python that runs it; it removes no other folder.

`tasks.py` runs in processes of its own, on folders of the tests. Nothing is fetched: an index that is not there is what
an interruption is to an installation.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes import ROOT

LIMIT = 60
# Two parts that take a moment, in the place of those that fetch.
PARTS = """
import os, sys, time
import tasks

def part(name):
    def install():
        tasks.PYTHON.parent.mkdir(exist_ok=True)
        tasks.PYTHON.touch()
        with open(sys.argv[1], "a") as log:
            log.write(f"{name} begun by {os.getpid()}\\n")
            log.flush()
            time.sleep(0.2)
            log.write(f"{name} ended by {os.getpid()}\\n")
    return install

tasks.INSTALLS = {name: part(name) for name in ("python", "base")}
tasks.set_up("base")
"""


def begin(folder: Path | str, *words: object, **environ: str) -> "subprocess.Popen[str]":
    """A process that finds `tasks`, with the variable VENV."""
    return subprocess.Popen(
        [sys.executable, *map(str, words)],
        env={**os.environ, "VENV": str(folder), "PYTHONPATH": str(ROOT), **environ},
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def task(folder: Path | str, *words: str, **environ: str) -> tuple[int, str]:
    """Exit code and stderr of a task."""
    process = begin(folder, ROOT / "tasks.py", *words, **environ)
    told = process.communicate(timeout=LIMIT)[1]
    return process.returncode, told


def test_of_several_at_once_one_sets_up_and_the_others_wait(tmp_path: Path) -> None:
    log = tmp_path / "log"
    several = [begin(tmp_path / "venv", "-c", PARTS, log) for _ in range(4)]
    told = [process.communicate(timeout=LIMIT)[1] for process in several]
    assert [process.returncode for process in several] == [0] * 4
    lines = log.read_text().split("\n")[:-1]
    assert [line.rpartition(" by ")[0] for line in lines] == [
        "python begun",
        "python ended",
        "base begun",
        "base ended",
    ]
    assert len({line.rpartition(" by ")[2] for line in lines}) == 1
    assert set(told) <= {"", f"waiting for another task, which sets up {tmp_path / 'venv'}\n"}


def test_who_is_ended_holds_nobody_up(tmp_path: Path) -> None:
    log = tmp_path / "log"
    first = begin(tmp_path / "venv", "-c", PARTS.replace("sleep(0.2)", "sleep(600)"), log)
    while not log.exists() or "begun" not in log.read_text():
        assert first.poll() is None
    first.kill()
    first.communicate()
    second = begin(tmp_path / "venv", "-c", PARTS, log)
    assert second.communicate(timeout=LIMIT)[1] == ""
    assert second.returncode == 0


def test_what_an_interrupted_task_left_is_made_anew(tmp_path: Path) -> None:
    venv = tmp_path / "venv"
    for path in ("unfinished", "pyvenv.cfg", "lib/rubbish.py", "base.stamp"):
        (venv / path).parent.mkdir(parents=True, exist_ok=True)
        (venv / path).touch()
    code, told = task(venv, "demo", PIP_NO_INDEX="1", PIP_FIND_LINKS="", PIP_CONFIG_FILE=os.devnull)
    assert code, "there is no index"
    assert "No matching distribution" in told
    assert not (venv / "lib/rubbish.py").exists()
    assert not list(venv.glob("*.stamp"))
    places = (venv / "Scripts/python.exe", venv / "bin/python")
    (python,) = filter(Path.exists, places)
    assert subprocess.run([python, "-m", "pip", "--version"], capture_output=True).returncode == 0


@pytest.mark.parametrize("name", ["demo", "clean"])
def test_a_folder_that_is_no_environment_is_left_alone(tmp_path: Path, name: str) -> None:
    (tmp_path / "of_the_user").touch()
    assert task(tmp_path, name) == (
        1,
        f"{tmp_path} is no virtual environment, so nothing is done there: what does the variable VENV name?\n",
    )
    assert list(tmp_path.iterdir()) == [tmp_path / "of_the_user"]


def test_no_name_is_the_folder_of_the_repository_and_not_the_repository() -> None:
    process = begin("", "-c", "import tasks; print(tasks.VENV)")
    assert process.communicate(timeout=LIMIT)[0].strip() == str((ROOT / ".venv").resolve())


@pytest.mark.parametrize("key", ["version", "version_info"])
def test_another_pythons_environment_is_refused(tmp_path: Path, key: str) -> None:
    for path in ("bin/python", "Scripts/python.exe"):
        (tmp_path / path).parent.mkdir()
        (tmp_path / path).touch()
    (tmp_path / "pyvenv.cfg").write_text(f"home = /usr/bin\n{key} = 3.9.18\n", encoding="utf-8")
    code, told = task(tmp_path, "demo")
    assert code == 1
    assert told.startswith(f"{tmp_path} has Python 3.9, and this is Python {sys.version_info[0]}.{sys.version_info[1]}")
