"""An output is there whole or not at all, and what stands in its place keeps what it is.

A link is followed, a file keeps its mode, a device and a pipe are written to. What a killed process left is gone with
the next output, what a living one writes stays. An error names the output.
"""

import errno
import os
import re
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import IO, Any

import pytest

from opend_si.errors import InvalidArgument, ShortInterestError
from opend_si.history import upkeep
from opend_si.simulator import Simulator
from opend_si.system.files import new_file, put_in_place, user_path
from tests.processes import Run, need

CONTENT = b"x" * 200_000


def write(file: IO[bytes]) -> None:
    file.write(CONTENT[:5])
    assert not file.seekable() or file.tell() == 5
    file.write(CONTENT[5:])


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def record(opend: Simulator, tmp_path: Path) -> Path:
    """A page cache with a symbol in it."""
    import futu_si

    file = tmp_path / "record" / "pages.sqlite3"
    with futu_si.Client(opend.host, opend.port, mode="online", cache=file) as client:
        client.sync(["US.GME"])
    return file


@pytest.mark.needs("links")
def test_a_link_is_written_through_wherever_it_leads(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "real").write_text("old")
    (tmp_path / "near").symlink_to("far/real")
    (tmp_path / "first").symlink_to(tmp_path / "near")
    put_in_place(tmp_path / "first", write)
    assert (tmp_path / "far" / "real").read_bytes() == CONTENT
    (tmp_path / "dangling").symlink_to("far/new")
    put_in_place(tmp_path / "dangling", write)
    assert (tmp_path / "far" / "new").read_bytes() == CONTENT
    assert all((tmp_path / name).is_symlink() for name in ("first", "near", "dangling"))
    assert names(tmp_path / "far") == ["new", "real"]


@pytest.mark.needs("permissions")
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o666, 0o755])
def test_a_file_keeps_its_mode_and_a_new_one_follows_the_umask(tmp_path: Path, mode: int) -> None:
    (tmp_path / "old").touch()
    (tmp_path / "old").chmod(mode)
    before = os.umask(0o027)
    try:
        put_in_place(tmp_path / "old", write)
        put_in_place(tmp_path / "new", write)
    finally:
        os.umask(before)
    assert [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("old", "new")] == [mode, 0o640]


@pytest.mark.needs("several users")  # only root makes devices and gives files away
def test_a_file_keeps_its_owner_and_a_device_stays_one(tmp_path: Path) -> None:
    (tmp_path / "theirs").touch()
    os.chown(tmp_path / "theirs", 65534, 65534)
    put_in_place(tmp_path / "theirs", write)
    assert ((tmp_path / "theirs").stat().st_uid, (tmp_path / "theirs").stat().st_gid) == (65534, 65534)
    os.mknod(tmp_path / "null", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    (tmp_path / "link").symlink_to("null")
    for name in ("null", "link"):
        put_in_place(tmp_path / name, write)
    assert stat.S_ISCHR((tmp_path / "null").stat().st_mode)
    os.mknod(tmp_path / "full", 0o666 | stat.S_IFCHR, os.makedev(1, 7))
    with pytest.raises(OSError, match="full") as caught:
        put_in_place(tmp_path / "full", write)
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(tmp_path / "full"))


@pytest.mark.needs("pipes")
def test_a_pipe_gets_the_content(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append((tmp_path / "pipe").read_bytes()), daemon=True)
    reader.start()
    put_in_place(tmp_path / "pipe", write)
    reader.join(10)
    assert read == [CONTENT]
    assert names(tmp_path) == ["pipe"]


@pytest.mark.needs("pipes")
def test_what_is_no_file_is_refused_by_name_where_it_takes_a_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="pipe") as caught, new_file(tmp_path / "pipe"):
        pytest.fail("it was begun")
    assert caught.value.filename == str(tmp_path / "pipe")
    for target in (tmp_path, tmp_path / "no" / "x"):
        with pytest.raises(OSError, match=re.escape(str(tmp_path))):
            put_in_place(target, write)
    assert names(tmp_path) == ["pipe"]


@pytest.mark.needs("links", "proc")
@pytest.mark.parametrize(
    ("arguments", "suffix", "stdouts"),
    [
        (["history", "US.GME", "--parquet"], ".parquet", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"]),
        (["plot", "US.GME", "--out"], ".svg", []),
    ],
)
def test_stdout_by_its_name_gets_the_file(
    record: Path, tmp_path: Path, arguments: list[str], suffix: str, stdouts: list[str]
) -> None:
    link, whole = tmp_path / f"link{suffix}", tmp_path / f"whole{suffix}"
    link.symlink_to("/dev/stdout")

    def run(target: str, stdout: Any = subprocess.PIPE) -> bytes:
        script = Path(sys.executable).with_name("futu-si")
        environ = {**os.environ, "OPEND_SI_CACHE": str(record), "OPEND_SI_MODE": "offline"}
        command = [str(script), *arguments, target]
        done = subprocess.run(command, env=environ, stdout=stdout, stderr=subprocess.PIPE, timeout=60)
        assert done.returncode == 0, done.stderr
        return bytes(done.stdout or b"")

    assert run(str(whole)) == b""
    for target in (str(link), *stdouts):
        assert run(target) == whole.read_bytes()
    (tmp_path / "log").write_bytes(b"before\n")
    with (tmp_path / "log").open("ab") as log:  # >> log
        run(str(link), log)
    assert (tmp_path / "log").read_bytes() == b"before\n" + whole.read_bytes()
    assert link.is_symlink()


def test_a_tilde_is_the_home_in_every_path(
    console: Run, record: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, one_face: ModuleType
) -> None:
    for variable in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(variable, str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "home").mkdir()
    for arguments in (
        ["history", "US.GME", "--offline", "--parquet=~/a.parquet"],
        ["plot", "US.GME", "--offline", "--out=~/a.png"],
        ["export", "~/data"],
        ["cache", "export", "~/a.sqlite3"],
    ):
        done = console(*arguments, OPEND_SI_CACHE=str(record))
        assert done.returncode == 0, done.stderr
    with one_face.Client(mode="offline", cache="~/a.sqlite3") as client:
        client.export("~/data")
        assert not client.history("US.GME").empty
    assert names(tmp_path / "home") == ["a.parquet", "a.png", "a.sqlite3", "data"]
    assert names(tmp_path) == ["home", "record"]
    assert user_path("path", "a/~").parts == ("a", "~")
    for wrong in ("", " ", None, 5, b"x", "a\0b", "~nobody-of-this-name/x"):
        with pytest.raises(InvalidArgument, match=r"path is .*: it takes a path"):
            user_path("path", wrong)


# Begins an output and says so; then it is killed, or goes on.
WRITE = """
import sys
from pathlib import Path
from opend_si.system.files import put_in_place
def write(file):
    file.write(b"half")
    file.flush()
    print("at work", flush=True)
    sys.stdin.readline()
put_in_place(Path(sys.argv[1]), write)
"""


@pytest.fixture
def writer(tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    with subprocess.Popen(
        [sys.executable, "-c", WRITE, str(tmp_path / "first")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "at work\n"
        yield process
        process.kill()


def test_what_a_killed_process_left_goes_with_the_next_output(tmp_path: Path, writer: Any) -> None:
    writer.kill()
    writer.wait()
    (left,) = names(tmp_path)
    assert left.startswith(".")
    put_in_place(tmp_path / "second", write)
    assert names(tmp_path) == ["second"]


def test_what_a_living_process_writes_stays(tmp_path: Path, writer: Any) -> None:
    for _ in range(3):
        put_in_place(tmp_path / "second", write)
    writer.communicate("go on\n")
    assert (tmp_path / "first").read_bytes() == b"half"
    assert names(tmp_path) == ["first", "second"]


def test_many_that_write_into_one_folder_at_once_do_not_clear_away_each_others_beginnings(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from opend_si.system.files import put_in_place\n"
        "for number in range(100): put_in_place(Path(sys.argv[1], f'{sys.argv[2]}-{number}'), lambda file: file.write(b'x'))"
    )
    writers = [
        subprocess.Popen([sys.executable, "-c", script, tmp_path, str(number)], stderr=subprocess.PIPE, text=True)
        for number in range(4)
    ]
    assert [writer.communicate()[1] for writer in writers] == [""] * 4
    assert len(names(tmp_path)) == 400


def test_an_output_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "old").write_text("old")

    def fail(file: IO[bytes]) -> None:
        file.write(CONTENT)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), file.name)

    with pytest.raises(OSError, match="old") as caught:
        put_in_place(tmp_path / "old", fail)
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(tmp_path / "old"))
    with pytest.raises(ZeroDivisionError):
        put_in_place(tmp_path / "old", lambda _: 1 / 0)
    assert (names(tmp_path), (tmp_path / "old").read_text()) == (["old"], "old")


@pytest.mark.needs("permissions")
def test_a_record_that_is_handed_on_can_be_read_by_others_and_replaced(
    console: Run, record: Path, tmp_path: Path
) -> None:
    target = tmp_path / "handed-on.sqlite3"
    before = os.umask(0o022)
    try:
        assert upkeep.export(record, target) > 0
        assert stat.S_IMODE(target.stat().st_mode) == 0o644
        target.chmod(0o640)
        old = target.stat().st_ino
        again = console("cache", "export", str(target), OPEND_SI_CACHE=str(record))
        assert (again.returncode, "--force" in again.stderr) == (2, True)
        assert target.stat().st_ino == old
        assert console("cache", "export", str(target), "--force", OPEND_SI_CACHE=str(record)).returncode == 0
    finally:
        os.umask(before)
    assert stat.S_IMODE(target.stat().st_mode) == 0o640
    assert target.stat().st_ino != old
    for itself in (record, record.parent / ".." / "record" / record.name):
        with pytest.raises(InvalidArgument, match="itself"):
            upkeep.export(record, itself, may_replace=True)
    with pytest.raises(ShortInterestError, match=r"/dev/null cannot be written"):
        upkeep.export(record, Path("/dev/null"), may_replace=True)
    assert "TARGET is ''" in console("cache", "export", "", OPEND_SI_CACHE=str(record)).stderr


@pytest.fixture
def full(tmp_path: Path) -> Iterator[Path]:
    """A folder on a full file system, with a mount of its own that has room below."""
    need("permissions")
    outer = tmp_path / "outer"
    outer.mkdir()
    mounted: list[Path] = []
    try:
        for folder, size in ((outer, "64k"), (outer / "data", "8m")):
            folder.mkdir(exist_ok=True)
            if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], capture_output=True).returncode:  # fmt: skip
                pytest.skip("nothing can be mounted here")
            mounted.append(folder)
        with (outer / "fill").open("wb", buffering=0) as fill:
            try:
                while True:
                    fill.write(bytes(4096))
            except OSError:
                pass
        yield outer
    finally:
        for folder in reversed(mounted):
            subprocess.run(["umount", folder], check=True)


def test_an_output_is_begun_on_the_file_system_that_it_goes_to(full: Path, record: Path) -> None:
    import futu_si

    with futu_si.Client(mode="offline", cache=record) as client:
        assert len(client.export(full / "data")) == 1
        with pytest.raises(OSError, match="short_interest") as caught:
            client.export(full / "other")
        assert (caught.value.errno, str(full / "other") in str(caught.value.filename)) == (errno.ENOSPC, True)
    with pytest.raises(ShortInterestError, match=rf"{re.escape(str(full / 'x.sqlite3'))} cannot be written"):
        upkeep.export(record, full / "x.sqlite3")
    assert names(full) == ["data", "fill"]
