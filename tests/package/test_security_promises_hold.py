"""What docs/security.md promises.

Nothing is executed, SQL takes parameters, files are their owner's, a key stays put.
"""

import ast
import stat
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from opend_si.simulator import Simulator
from tests.processes import ROOT, Run, at

PACKAGES = ("opend_si", "futu_si", "moomoo_si", "generated/opend_si_schema")
SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
EXECUTING = {"eval", "exec", "compile", "__import__", "loads", "load", "system", "popen"}
# Names of modules through which data becomes code, or a shell is reached.
FORBIDDEN = {"pickle", "marshal", "shelve", "dill", "subprocess", "ctypes", "yaml"}
# `watch --run` starts the user's own command. What came from outside is on its stdin, in none of its words.
STARTING = {("watch.py", "subprocess")}
# `loads` of these reads text into plain values.
PLAIN = {"json.loads", "json.load", "tomllib.loads"}


def nodes() -> Iterator[tuple[Path, ast.AST]]:
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            yield path, node


def test_nothing_that_comes_from_outside_is_executed() -> None:
    found = []
    for path, node in nodes():
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names = [name.name for name in node.names] + [getattr(node, "module", None) or ""]
            found += [(path.name, name) for name in names if name.partition(".")[0] in FORBIDDEN]
            found = [each for each in found if each not in STARTING]
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            if called.rpartition(".")[2] in EXECUTING and called not in PLAIN | {"re.compile"}:
                found.append((path.name, called))
    assert SOURCES
    assert found == []


def test_a_command_of_the_user_is_started_as_it_was_given(console: Run, opend: Simulator, tmp_path: Path) -> None:
    """No text of a reply gets into the words of the command."""
    opend.universe.rows("US.AAPL")
    environ = {"OPEND_SI_HOME": str(tmp_path / "own"), **at(opend)}
    once = ("watch", "US.AAPL", "--once", "--poll", "1", "--run", f"cat > {tmp_path}/line")
    assert console(*once, **environ).returncode == 0
    opend.universe.publish("US.AAPL")
    opend.universe.revise("US.AAPL", 0, timestampStr=f"$(touch {tmp_path}/broken); `touch {tmp_path}/broken`")
    assert console(*once, **environ).returncode == 0
    assert "touch" in (tmp_path / "line").read_text()
    assert not (tmp_path / "broken").exists()


def test_sql_is_never_put_together_from_text() -> None:
    """The first argument of execute is a literal or one of the module's constants, never made with values."""
    found, seen = [], 0
    for path, node in nodes():
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute) or not node.args:
            continue
        if node.func.attr not in ("execute", "executemany", "executescript"):
            continue
        seen += 1
        statement = node.args[0]
        made = [part for part in ast.walk(statement) if isinstance(part, (ast.JoinedStr, ast.BinOp, ast.Call))]
        # PRAGMA takes no parameters: what goes in is one of our own numbers.
        is_pragma = isinstance(statement, ast.JoinedStr) and ast.unparse(statement)[2:8] == "PRAGMA"
        if made and not is_pragma:
            found.append((path.name, node.lineno, ast.unparse(statement)))
    assert seen > 20
    assert found == []


@pytest.mark.needs("permissions")
@pytest.mark.parametrize("name", ["pages.sqlite3", "budget.slots"])
def test_the_files_are_their_owners_alone(
    face: ModuleType, opend: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("OPEND_SI_HOME", str(tmp_path / "own"))
    monkeypatch.setenv("OPEND_SI_RATE", "30/30")
    with face.Client(opend.host, opend.port, mode="online") as client:
        client.get_page("HK.00700")
    assert stat.S_IMODE((tmp_path / "own" / name).stat().st_mode) == 0o600


def test_a_key_is_in_no_file_that_is_written(face: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = ROOT / "tests" / "data" / "keys" / "rsa-1024.pem"
    secret = key.read_text(encoding="ascii").splitlines()[2].encode()
    monkeypatch.setenv("OPEND_SI_HOME", str(tmp_path / "own"))
    monkeypatch.setenv("OPEND_SI_RATE", "30/30")
    with Simulator(rsa_key=key) as opend, face.Client(opend.host, opend.port, mode="online", rsa_key=key) as client:
        client.history("HK.00700")
    written = [path for path in (tmp_path / "own").rglob("*") if path.is_file()]
    assert len(written) >= 2
    assert all(secret not in path.read_bytes() and b"PRIVATE" not in path.read_bytes() for path in written)


def test_the_page_says_what_is_tested() -> None:
    """docs/security.md names the cap that the wire has."""
    from opend_si.wire.framing import MAX_BODY_BYTES

    assert f"{MAX_BODY_BYTES // 2**20} MiB a body" in (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
