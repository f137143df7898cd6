"""A face loads a name when it is first asked for.

A star leaves asyncio out; the console prints without pandas and rich.
"""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from opend_si.simulator import Simulator
from tests.processes import at

HEAVY = "{'asyncio', 'ssl', 'pandas', 'numpy', 'rich', 'click', 'google.protobuf', 'typing', 'dataclasses'}"


def run(script: str, *arguments: object, **environ: str) -> str:
    import os

    command = [sys.executable, "-W", "error", "-c", script, *map(str, arguments)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=60, env={**os.environ, **environ}, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_a_face_loads_next_to_nothing(face: ModuleType) -> None:
    script = f"""
import sys
before = set(sys.modules)
import {face.__name__}
loaded = set(sys.modules) - before
assert not loaded & {HEAVY}, loaded & {HEAVY}
assert len(loaded) < 8, loaded
"""
    run(script)


def test_a_star_brings_every_name_but_no_event_loop(face: ModuleType) -> None:
    script = f"""
import sys
from {face.__name__} import *
assert not set(sys.modules) & {{"asyncio", "ssl", "pandas", "numpy", "rich"}}
assert OpenQuoteContext and RET_OK == 0
from {face.__name__} import AsyncClient
assert "asyncio" in sys.modules
"""
    run(script)


def test_every_name_is_there_and_no_other(face: ModuleType) -> None:
    for name in dir(face):
        assert getattr(face, name) is getattr(face, name)
    # What `dir` lists is public (docs/versions.md).
    public = {name for name in dir(face) if not name.startswith("_")} | {"__version__"}
    assert public == {*face.__all__, *face._OTHERS}
    with pytest.raises(AttributeError, match="get_market_snapshot"):
        face.get_market_snapshot  # noqa: B018


@pytest.mark.parametrize(
    "command",
    [
        ["--help"],
        ["--version"],
        ["get", "US.GME"],
        ["get", "US.GME", "--csv"],
        ["get", "US.GME", "--json"],
        ["history", "US.GME"],
        ["history", "US.GME", "--csv"],
        ["history", "US.GME", "--json"],
        ["sync", "US.GME", "--csv"],
        ["cache", "info"],
        ["doctor"],
    ],
    ids=" ".join,
)
def test_the_console_prints_without_pandas_and_rich(
    start: Callable[..., Simulator], tmp_path: Path, command: list[str]
) -> None:
    home = {"OPEND_SI_MODE": "online", "OPEND_SI_HOME": str(tmp_path), **at(start())}
    script = """
import sys
from futu_si.__main__ import main
try:
    main()
except SystemExit as left:
    assert not left.code, left.code
assert not set(sys.modules) & {"pandas", "numpy", "rich", "asyncio"}, set(sys.modules) & {"pandas", "numpy", "rich", "asyncio"}
"""
    if "cache" in command:
        run(script, "get", "US.GME", **home)
    assert run(script, *command, **home)


def test_a_command_loads_the_commands_of_its_own_file_alone(tmp_path: Path) -> None:
    script = """
import sys
from futu_si.__main__ import main
try:
    main()
except SystemExit as left:
    assert not left.code, left.code
print(sorted(name.rpartition(".")[2] for name in sys.modules if name.startswith("opend_si.cli.commands.")))
print("opend_si.history.joining" in sys.modules)
"""
    told = run(script, "cache", "path", OPEND_SI_HOME=str(tmp_path))
    assert told.splitlines()[-2:] == ["['cache']", "True"]
    told = run(script, "get", "--help", OPEND_SI_HOME=str(tmp_path))
    assert told.splitlines()[-2:] == ["['pages']", "False"]
