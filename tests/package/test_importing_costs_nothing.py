"""Importing a face costs nothing and leaves nothing: no heavy package, no file, no output, no thread, no connection. A
script that forgets `close()` ends by itself and in silence. An OpenD that is absent is an error, not a wait for it.

Each law is looked at in a fresh interpreter, with warnings as errors and the interpreter's development mode.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from opend_si.simulator import Simulator

# Seconds until a process counts as stuck.
LIMIT = 30
STRICT = ("-X", "dev", "-W", "error")


@pytest.fixture(autouse=True)
def _as_users_have_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An empty home to be in, and no setting but the folder of the cache and the port of OpenD."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    for variable in ("OPEND_SI_MODE", "OPEND_SI_RATE"):
        monkeypatch.delenv(variable, raising=False)


def run(script: str, *arguments: object) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a script."""
    done = subprocess.run(
        [sys.executable, *STRICT, "-c", script, *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=LIMIT,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def test_import_loads_no_heavy_package(face: ModuleType) -> None:
    script = f"""
import sys, {face.__name__}
heavy = sys.modules.keys() & {{"pandas", "numpy", "click", "rich"}}
sys.exit(f"loaded: {{heavy}}" if heavy else 0)
"""
    assert run(script) == (0, "", "")


def test_import_writes_nothing_prints_nothing_and_starts_nothing(face: ModuleType, tmp_path: Path) -> None:
    script = f"""
import os, sys, threading

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_TRUNC
STARTING = ("os.fork", "os.posix_spawn", "os.system", "subprocess.", "socket.", "_thread.", "sqlite3.", "tempfile.")
CHANGING = ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.truncate", "shutil.")
seen = []

def watch(event, arguments):
    if event == "open" and arguments[2] & WRITING or event.startswith((*STARTING, *CHANGING)):
        seen.append((event, arguments))

sys.addaudithook(watch)
threading.setprofile(lambda *call: seen.append(call))  # called in every thread that begins
import {face.__name__}
assert not seen, seen
assert threading.enumerate() == [threading.main_thread()]
"""
    assert run(script) == (0, "", "")
    assert list(tmp_path.iterdir()) == []


def test_a_face_works_without_a_home(face: ModuleType, opend: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("HOME", "OPEND_SI_HOME"):
        monkeypatch.delenv(variable)
    # What would be written would go into the machine's own home.
    monkeypatch.setenv("OPEND_SI_MODE", "bypass")
    monkeypatch.setenv("OPEND_SI_RATE", "off")
    monkeypatch.setenv("OPEND_PORT", str(opend.port))
    script = f"""
import {face.__name__} as face
ret, us, hk = face.get_short_interest("HK.00700")
print(ret, len(hk))
"""
    assert run(script) == (0, "0 10\n", "")


@pytest.mark.parametrize(
    "fetch",
    [
        "face.get_short_interest(code)[2]",
        "face.Client().get_page(code).hk",
        "face.OpenQuoteContext().get_short_interest(code)[2]",
        "(client := face.Client()).get_page(code).hk",
        "(context := face.OpenQuoteContext()).get_short_interest(code)[2]",
    ],
    ids=["function", "Client-dropped", "OpenQuoteContext-dropped", "Client-kept", "OpenQuoteContext-kept"],
)
def test_a_script_that_forgets_close_ends_by_itself_in_silence(
    one_face: ModuleType, opend: Simulator, monkeypatch: pytest.MonkeyPatch, fetch: str
) -> None:
    monkeypatch.setenv("OPEND_PORT", str(opend.port))
    script = f"""
import threading
import {one_face.__name__} as face
code = "HK.00700"
hk = {fetch}
print(len(hk))
assert threading.enumerate() == [threading.main_thread()]
"""
    assert run(script) == (0, "10\n", "")


def test_an_absent_opend_is_an_error_text_with_its_address(
    face: ModuleType, nobody: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPEND_PORT", str(nobody))
    script = f"""
import sys
import {face.__name__} as face
contexts = face, face.OpenQuoteContext(), face.OpenQuoteContext("127.0.0.1", int(sys.argv[1]))
for context in contexts:
    for _ in range(2):
        ret, text, nothing = context.get_short_interest("HK.00700")
        assert (ret, nothing) == (face.RET_ERROR, None)
        assert f"127.0.0.1:{{sys.argv[1]}}" in text, text
        assert "Start OpenD" in text, text
"""
    assert run(script, nobody) == (0, "", "")


def test_an_absent_opend_is_a_failed_connection_to_a_client(face: ModuleType, nobody: int) -> None:
    script = f"""
import sys
import {face.__name__} as face
with face.Client("127.0.0.1", int(sys.argv[1])) as client:
    try:
        client.get_page("HK.00700")
    except face.ConnectionFailed as error:
        assert f"127.0.0.1:{{sys.argv[1]}}" in str(error), error
        print("failed")
"""
    assert run(script, nobody) == (0, "failed\n", "")
