"""The file of columns beside the record is there whole or not at all, where it may be, and goes with what it is of.

What is in its place and not ours is left as it is. Whatever happens while it is written, tables are what they are.
"""

import asyncio
import json
import os
import random
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from opend_si.simulator import Simulator, Universe
from tests.processes import Run
from tests.research.columns import (
    CODES,
    MARK,
    ROWS,
    answers,
    assert_same,
    beside,
    client,
    is_read,
    without_file,
)

# A process that makes the file and the table again and again; each table is compared by what it gave first.
WORK = """
import sys, pathlib, futu_si
cache, rounds = pathlib.Path(sys.argv[1]), int(sys.argv[2])
file = cache.with_name(cache.name + "-short_interest-HK.columns")
with futu_si.Client(cache=cache, mode="online") as client:
    first = client.arrow_table()
    print("at work", flush=True)
    for _ in range(rounds):
        file.unlink(missing_ok=True)
        assert client.arrow_table().equals(first)
"""


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def worker(cache: Path, rounds: int) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", WORK, str(cache), str(rounds)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


# While it is written --------------------------------------------------------------------------------------------------


def test_processes_may_write_it_at_once(cache: Path, tmp_path: Path) -> None:
    expected, there = without_file(cache, tmp_path / "plain"), names(cache.parent)
    whole = beside(cache).read_bytes()
    workers = [worker(cache, 8) for _ in range(3)]
    for one in workers:
        out, _ = one.communicate(timeout=120)
        assert (out, one.returncode) == ("at work\n", 0)
    assert_same(answers(cache), expected)
    assert beside(cache).read_bytes() == whole
    assert names(cache.parent) == there


@pytest.mark.needs("signals")
def test_a_killed_writer_leaves_a_whole_file_or_none(cache: Path, tmp_path: Path) -> None:
    expected, there = without_file(cache, tmp_path / "plain"), names(cache.parent)
    whole = beside(cache).read_bytes()
    pick = random.Random(11)
    left = 0
    for _ in range(6):
        with worker(cache, 1000) as one:
            assert one.stdout is not None
            one.stdout.readline()
            time.sleep(pick.random() / 4)
            one.send_signal(signal.SIGKILL)
        left += any(name.startswith(".opend-si-") for name in names(cache.parent))
        if beside(cache).exists():
            assert beside(cache).read_bytes() == whole
        assert_same(answers(cache), expected)
    assert left  # of some the half-written file was left
    beside(cache).unlink(missing_ok=True)
    answers(cache, "online")
    assert names(cache.parent) == there  # and the next one to write has removed it
    assert beside(cache).read_bytes() == whole


@pytest.mark.needs("limits")
def test_a_full_disk_costs_the_file_alone(cache: Path, tmp_path: Path) -> None:
    beside(cache).unlink()
    program = f"""
import resource, futu_si
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
with futu_si.Client(cache={str(cache)!r}, mode="online") as client:
    assert len(client.panel()) == {len(CODES) * ROWS}
"""
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True, timeout=60)
    assert not list(cache.parent.glob("*.columns"))


# Where it may be ------------------------------------------------------------------------------------------------------


def stranger(kind: str, path: Path, aside: Path) -> Callable[[], Any]:
    """Something else in the place of the file; gives a look at it."""
    aside.write_bytes(b"a user's")
    match kind:
        case "folder":
            path.mkdir()
            (path / "note").write_text("a user's")
            return lambda: names(path)
        case "link":
            path.symlink_to(aside)
            return lambda: (path.readlink(), aside.read_bytes())
        case "dangling":
            path.symlink_to(aside.with_name("nothing"))
            return lambda: (path.readlink(), aside.with_name("nothing").exists())
        case "pipe":
            os.mkfifo(path)
            return lambda: stat.S_ISFIFO(path.lstat().st_mode)
        case _:
            path.write_bytes(b"opend-si column of a user's" * 100)
            return path.read_bytes


@pytest.mark.needs("fork")
@pytest.mark.parametrize("kind", ["folder", "link", "dangling", "pipe", "file", "good link"])
def test_what_is_somebody_elses_is_left_alone(cache: Path, tmp_path: Path, console: Run, kind: str) -> None:
    expected = without_file(cache, tmp_path / "plain")
    aside = tmp_path / "aside"
    good = beside(cache).read_bytes()
    beside(cache).unlink()
    if kind == "good link":  # to a file of ours, elsewhere
        kept = tmp_path / "kept.columns"
        kept.write_bytes(good)
        beside(cache).symlink_to(kept)

        def look() -> Any:
            return (beside(cache).readlink(), kept.read_bytes() == good)
    else:
        look = stranger(kind, beside(cache), aside)
    there, before = names(cache.parent), look()
    for mode in ("offline", "online"):
        assert_same(answers(cache, mode), expected)
    assert json.loads(console("cache", "info", "--json", OPEND_SI_CACHE=str(cache)).stdout)["columns"] == {}
    console("cache", "delete", CODES[0], OPEND_SI_CACHE=str(cache))
    assert (names(cache.parent), look()) == (there, before)


@pytest.mark.needs("permissions")
@pytest.mark.parametrize("which", ["folder", "record"])
def test_nothing_is_written_where_one_may_not_write(cache: Path, tmp_path: Path, which: str) -> None:
    expected = without_file(cache, tmp_path / "plain")
    beside(cache).unlink()
    barred, mode = (cache.parent, 0o555) if which == "folder" else (cache, 0o444)
    before = stat.S_IMODE(barred.stat().st_mode)
    barred.chmod(mode)
    try:
        assert_same(answers(cache, "online"), expected)
        assert not list(cache.parent.glob("*.columns"))
    finally:
        barred.chmod(before)


@pytest.mark.needs("permissions")
def test_it_has_the_mode_of_the_record(cache: Path) -> None:
    for mode in (0o600, 0o640, 0o664):
        cache.chmod(mode)
        file = beside(cache)
        file.write_bytes(file.read_bytes()[:1000])
        answers(cache, "online")
        assert (stat.S_IMODE(file.stat().st_mode), file.stat().st_size > 1000) == (mode, True)


def test_it_lies_beside_the_record_itself(cache: Path, tmp_path: Path) -> None:
    """Not beside a link to it: so there is one, whatever way leads to the record."""
    beside(cache).unlink()
    link = tmp_path / "elsewhere" / "link.sqlite3"
    link.parent.mkdir()
    link.symlink_to(cache)
    answers(link, "online")
    assert names(link.parent) == [link.name]
    assert is_read(cache, tmp_path / "gone")


# What it goes with ----------------------------------------------------------------------------------------------------


def test_cache_info_names_it(cache: Path, console: Run) -> None:
    size = beside(cache).stat().st_size
    environ = {"OPEND_SI_CACHE": str(cache)}
    assert json.loads(console("cache", "info", "--json", **environ).stdout)["columns"] == {str(beside(cache)): size}
    assert f"columns  {beside(cache)} ({size:,} bytes)\n" in console("cache", "info", **environ).stdout
    beside(cache).unlink()
    assert "columns" not in console("cache", "info", **environ).stdout


def test_what_is_deleted_or_pruned_is_not_kept_in_it(cache: Path, tmp_path: Path, console: Run) -> None:
    environ = {"OPEND_SI_CACHE": str(cache)}
    console("cache", "prune", "--older-than", "365", **environ)
    assert beside(cache).exists()  # nothing went
    assert CODES[5].encode() in beside(cache).read_bytes()
    console("cache", "delete", CODES[5], **environ)
    assert not beside(cache).exists()
    found = answers(cache, "online")
    assert_same(found, without_file(cache, tmp_path / "plain"))
    assert CODES[5] not in found[1]["symbol"].unique()
    assert CODES[5].encode() not in beside(cache).read_bytes()


def test_a_prune_takes_it_with_what_it_is_of(tmp_path: Path, console: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("opend_si.research.columns._WORTH_PAGES", 1)
    cache = tmp_path / "record" / "pages.sqlite3"
    with (
        Simulator(Universe(most_rows=60)) as opend,
        client(cache, "online", host=opend.host, port=opend.port, max_age=0) as asked,
    ):
        for _ in range(3):
            asked.sync(["HK.00700"])
            opend.universe.publish("HK.00700")
    assert beside(cache).read_bytes().startswith(MARK)
    told = console("cache", "prune", "--older-than", "0", OPEND_SI_CACHE=str(cache))
    assert "1 version deleted" in told.stdout
    assert not beside(cache).exists()
    assert_same(answers(cache, "online"), without_file(cache, tmp_path / "plain"))


def test_an_asyncio_sync_writes_it_too(one_face: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("opend_si.research.columns._WORTH_PAGES", 1)
    cache = tmp_path / "record" / "pages.sqlite3"

    async def work(opend: Simulator) -> None:
        async with one_face.AsyncClient(opend.host, opend.port, mode="online", cache=cache) as asked:
            await asked.sync(["HK.00700", "HK.00001"])

    with Simulator(Universe(most_rows=60)) as opend:
        asyncio.run(work(opend))
    assert is_read(cache, tmp_path / "gone")
    assert_same(answers(cache), without_file(cache, tmp_path / "plain"))


def test_a_sync_that_asks_nothing_reads_and_writes_nothing(cache: Path) -> None:
    beside(cache).unlink()
    with (
        Simulator(Universe(symbols=CODES, most_rows=ROWS)) as opend,
        client(cache, "online", host=opend.host, port=opend.port, max_age="7d") as asked,
    ):
        assert asked.sync(CODES).requests == 0
    assert not beside(cache).exists()
