"""Nothing that users see differs between Linux, Windows and macOS, nor with old libraries.

Where the behaviour is Windows' own it is put in by its data (a share's path, the words of a shell). Where it is a state
that other systems have too (a file that cannot be moved, two addresses of a name), the real thing is used.
"""

import ast
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import chain
from pathlib import Path, PurePosixPath, PureWindowsPath
from types import ModuleType
from urllib.parse import unquote, urlsplit

import pytest

from opend_si.cache.files import OLDEST_SQLITE, move_database, sqlite_uri
from opend_si.cli.options import as_typed
from opend_si.dates import day_of, moment, read_milliseconds
from opend_si.simulator import Simulator, faults
from opend_si.wire.address import LONGEST_WAIT, ordered
from opend_si_schema.calls import HK, US
from tests.processes import ROOT

# Moments


@pytest.mark.parametrize("day", ["0001-01-03", "1900-01-01", "1960-02-29", "1969-12-31", "1970-01-01", "2026-04-30"])
def test_moments_before_1970_are_moments(day: str) -> None:
    expected = datetime.fromisoformat(day).replace(tzinfo=UTC)
    days = (expected.date() - datetime(1970, 1, 1).date()).days
    assert moment(days * 86_400_000) == expected
    assert moment(days * 86_400_000 + 1) - expected == timedelta(milliseconds=1)


def test_days_before_1970_are_their_markets() -> None:
    assert day_of(-1, HK).isoformat() == "1970-01-01"  # Hong Kong is ahead of UTC
    assert day_of(-1, US).isoformat() == "1969-12-31"


def test_a_moment_before_1970_may_be_asked_for(face: ModuleType, tmp_path: Path) -> None:
    assert read_milliseconds("as_of", "1960-01-01T00:00:00+00:00", HK) < 0
    with face.Client(mode="offline", cache=tmp_path / "none") as client, pytest.raises(face.CacheMiss):
        client.history("HK.00700", as_of="1960-01-01")


def test_the_engine_reads_no_moment_as_windows_cannot() -> None:
    """`fromtimestamp` of a negative number is an OSError there until Python 3.15."""
    sources = [
        path for path in (ROOT / "opend_si").rglob("*.py") if "fromtimestamp(" in path.read_text(encoding="utf-8")
    ]
    assert sources == []


# Files


@pytest.mark.parametrize(
    "path",
    [
        PureWindowsPath(r"\\server\share\a folder\pages.sqlite3"),
        PureWindowsPath(r"C:\Users\空\100% of it?\pages.sqlite3"),
        PurePosixPath("/home/a user/pages#1.sqlite3"),
        PurePosixPath("//server/pages.sqlite3"),
    ],
    ids=str,
)
def test_sqlite_finds_every_path_in_its_uri(path: PureWindowsPath | PurePosixPath) -> None:
    """As https://sqlite.org/uri.html reads it: no server but in the path, where a drive stands behind one slash."""
    parts = urlsplit(sqlite_uri(path))
    assert (parts.scheme, parts.netloc, parts.query, parts.fragment) == ("file", "", "", "")
    read = unquote(parts.path)
    assert (read[1:] if path.drive.endswith(":") else read) == path.as_posix()


def test_a_journal_stays_with_a_file_that_cannot_be_moved(tmp_path: Path) -> None:
    """A folder in its way keeps a file from being moved, as an open handle does on Windows."""
    file, journal = tmp_path / "pages.sqlite3", tmp_path / "pages.sqlite3-journal"
    file.write_bytes(b"file")
    journal.write_bytes(b"journal")
    in_the_way = tmp_path / "aside"
    (in_the_way / "full").mkdir(parents=True)
    with pytest.raises(OSError, match="aside"):
        move_database(file, in_the_way)
    assert (file.read_bytes(), journal.read_bytes()) == (b"file", b"journal")
    move_database(file, tmp_path / "moved")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["aside", "moved", "moved-journal"]


def test_an_sqlite_that_is_too_old_is_named_before_a_file_is_made(
    face: ModuleType, opend: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = OLDEST_SQLITE[0], OLDEST_SQLITE[1] - 1, 9
    home = tmp_path / "own"
    monkeypatch.setenv("OPEND_SI_HOME", str(home))
    monkeypatch.setattr(sqlite3, "sqlite_version_info", version)
    monkeypatch.setattr(sqlite3, "sqlite_version", ".".join(map(str, version)))
    with (
        face.Client(opend.host, opend.port, mode="offline") as client,
        pytest.raises(face.CacheError, match=r"uses SQLite 3\.36\.9; .* need 3\.37 or later"),
    ):
        client.get_page("HK.00700")
    assert not home.exists()


def test_the_oldest_sqlite_is_the_one_that_strict_tables_need() -> None:
    with sqlite3.connect(":memory:") as connection:
        for source in (ROOT / "opend_si/cache").glob("*.py"):
            if "STRICT" in source.read_text(encoding="utf-8"):
                break
        else:
            pytest.fail("no table is STRICT: an older SQLite would do")
        connection.execute("CREATE TABLE t (a INTEGER) STRICT")
    connection.close()
    assert sqlite3.sqlite_version_info >= OLDEST_SQLITE


# The network


def test_of_a_names_addresses_ipv4_goes_first() -> None:
    import socket

    six, four = (socket.AF_INET6, 1, 6, "", ("::1", 5, 0, 0)), (socket.AF_INET, 1, 6, "", ("127.0.0.1", 5))
    assert ordered([six, four, six]) == [four, six, six]
    assert ordered([six]) == [six]


def test_localhost_is_where_opend_is(face: ModuleType, opend: Simulator) -> None:
    with face.Client("localhost", opend.port, timeout=5) as client:
        assert len(client.get_page("HK.00700")) == 10


def test_a_reply_may_take_longer_than_the_longest_wait(face: ModuleType, opend: Simulator) -> None:
    """A wait is cut into pieces, so that Ctrl-C is seen between them; only the timeout ends it."""
    opend.faults.append(faults.late(2 * LONGEST_WAIT))
    with face.Client(opend.host, opend.port, timeout=30) as client:
        assert len(client.get_page("HK.00700")) == 10
    assert len(opend.requests) == 1


# The console


def test_words_are_quoted_as_the_systems_shell_reads_them() -> None:
    words = ["futu-si", "get", "HK.00700", "--cache", r"C:\my data\p.sqlite3", "--next-key", "1753804800"]
    assert as_typed(words, "nt") == r'futu-si get HK.00700 --cache "C:\my data\p.sqlite3" --next-key 1753804800'
    assert as_typed(words, "posix") == r"futu-si get HK.00700 --cache 'C:\my data\p.sqlite3' --next-key 1753804800"


@pytest.mark.parametrize("level", ["-O", "-OO"])
def test_the_package_works_without_its_asserts_and_docstrings(opend: Simulator, tmp_path: Path, level: str) -> None:
    code = "import futu_si; print(len(futu_si.Client().get_page('HK.00700')))"
    environment = {**os.environ, "OPEND_HOST": opend.host, "OPEND_PORT": str(opend.port)}
    run = subprocess.run(
        [sys.executable, level, "-W", "error", "-c", code],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert (run.returncode, run.stdout, run.stderr) == (0, "10\n", "")


# The tests


POSIX_ONLY = {"curses", "fcntl", "grp", "posix", "pty", "pwd", "resource", "syslog", "termios", "tty"}
# What `os`, `signal` and `socket` have on POSIX alone, of what this project may want.
POSIX_NAMES = {
    *("chown", "fork", "getegid", "geteuid", "getgid", "getuid", "mkfifo", "mknod", "register_at_fork", "setsid"),
    *("statvfs", "sysconf", "uname", "wait4", "alarm", "pthread_kill", "setitimer", "AF_UNIX"),
    *("SIGALRM", "SIGCHLD", "SIGHUP", "SIGKILL", "SIGPIPE", "SIGQUIT", "SIGSTOP", "SIGUSR1", "SIGXFSZ"),
}
FOLDERS = ("opend_si", "codegen", "docs", "tests")


@cache
def sources() -> list[tuple[Path, ast.Module]]:
    files = chain.from_iterable((ROOT / folder).rglob("*.py") for folder in FOLDERS)
    return [(path, ast.parse(path.read_text(encoding="utf-8"))) for path in files]


def run_at_import(node: ast.AST) -> Iterator[ast.AST]:
    """What an import of a module evaluates: nothing in functions, and nothing behind a look whether it is there."""
    for part in ast.iter_child_nodes(node):
        if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef):
            for outside in (*part.decorator_list, part.args):
                yield from run_at_import(outside)
        elif isinstance(part, ast.BoolOp | ast.If) and "hasattr" in ast.dump(part):
            continue
        elif not isinstance(part, ast.Lambda):
            yield part
            yield from run_at_import(part)


def test_what_windows_lacks_is_imported_by_no_module_as_such() -> None:
    """A test that needs it imports it itself, behind `need`; else no test could be collected there."""
    found = []
    for path, module in sources():
        for node in module.body:
            names = [name.name for name in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            found += [(str(path), name) for name in names if name.partition(".")[0] in POSIX_ONLY]
    assert found == []


def test_what_windows_lacks_is_asked_of_no_module_as_it_is_imported() -> None:
    found = [
        (str(path), ast.unparse(node))
        for path, module in sources()
        for node in run_at_import(module)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id in ("os", "signal", "socket")
        and node.attr in POSIX_NAMES
    ]
    assert found == []
