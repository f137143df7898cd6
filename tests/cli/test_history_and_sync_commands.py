"""The console's `history`, `revisions` and `sync`: real processes, data on stdout, progress on stderr."""

import csv
import io
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack, closing, suppress
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from opend_si.simulator import Simulator, Universe
from tests.processes import COMMANDS, Run, Terminal, at, need, run_console, running, without


@pytest.fixture
def kept(tmp_path: Path) -> dict[str, str]:
    """An environment that records."""
    return {"OPEND_SI_MODE": "online", "OPEND_SI_HOME": str(tmp_path / "kept")}


def test_history_prints_all_rows_oldest_first(console: Run, opend: Simulator, kept: dict[str, str]) -> None:
    done = console("history", "HK.00700", "--csv", **kept, **at(opend))
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    told = [row.timestampStr for row in opend.universe.rows("HK.00700") or ()]
    assert [row["date"] for row in rows] == told[::-1]
    assert [list(rows[0])[place] for place in (0, -1)] == ["date", "known_at"]
    assert len(opend.requests) == 15
    part = console("history", "HK.00700", "--start", "2026-04-01", "--end", "2026-04-24", "--json", **kept, **at(opend))
    assert [row["date"] for row in json.loads(part.stdout)] == [
        "2026-04-02",
        "2026-04-10",
        "2026-04-17",
        "2026-04-24",
    ]
    table = console("history", "HK.00700", "--start", "2026-04-01", "--offline", **kept)
    assert table.stdout.splitlines()[-1].startswith("2026-04-30")
    assert len(opend.requests) == 15


def test_history_answers_as_of_a_moment_and_names_what_was_revised(
    console: Run,
    opend: Simulator,
    kept: dict[str, str],
) -> None:
    assert console("history", "HK.00700", **kept, **at(opend)).returncode == 0
    opend.universe.revise("HK.00700", 0, aggregatedShort=7)
    assert console("history", "HK.00700", "--refresh", **kept, **at(opend)).returncode == 0
    revised = list(csv.DictReader(io.StringIO(console("revisions", "HK.00700", "--csv", **kept).stdout)))
    assert [(row["date"], row["column"], row["before"], row["after"]) for row in revised] == [
        ("2026-04-30", "aggregated_short", "51480638", "7")
    ]
    seen_at = datetime.fromisoformat(revised[0]["seen_at"])
    for moment, value in ((seen_at - timedelta(milliseconds=1), 51480638), (seen_at, 7)):
        told = console("history", "HK.00700", "--as-of", str(moment), "--start", "2026-04-30", "--json", **kept)
        assert [row["aggregated_short"] for row in json.loads(told.stdout)] == [value]
    missing = console("history", "HK.00700", "--as-of", "2001-01-01", **kept)
    assert missing.returncode == 3
    assert "As of 2001-01-01" in missing.stderr


@pytest.mark.parametrize("option", ["--start", "--end", "--as-of"])
def test_a_date_that_is_none_is_named(console: Run, opend: Simulator, option: str) -> None:
    done = console("history", "HK.00700", option, "soon", **at(opend))
    assert (done.returncode, done.stdout) == (2, "")
    assert "'soon'" in done.stderr
    assert opend.requests == []


def test_sync_reports_each_symbol_and_goes_on_after_a_bad_one(
    console: Run,
    opend: Simulator,
    kept: dict[str, str],
    tmp_path: Path,
) -> None:
    file = tmp_path / "symbols.txt"
    file.write_text("# my universe\nUS.AAPL  # apple\n\nUS.NONE\nHK.700\nUS.AAPL\n")
    done = console("sync", "HK.00700", "--from", str(file), "--json", **kept, **at(opend))
    assert done.returncode == 8
    told = {entry["symbol"]: entry for entry in json.loads(done.stdout)}
    assert list(told) == ["HK.00700", "US.AAPL", "US.NONE", "HK.700"]
    assert (told["HK.00700"]["rows"], told["HK.00700"]["requests"], told["HK.00700"]["error"]) == (713, 15, None)
    assert "未知股票" in told["US.NONE"]["error"]
    assert "did you mean HK.00700" in told["HK.700"]["error"]
    # What is no symbol is said before the first request.
    assert [line.split()[0] for line in done.stderr.splitlines()] == ["HK.700:", "1/4", "2/4", "3/4"]
    spent = len(opend.requests)
    opend.universe.publish("US.AAPL", 2)
    again = console("sync", "HK.00700", "US.AAPL", "--max-age", "0", "--csv", **kept, **at(opend))
    assert again.returncode == 0
    rows = list(csv.DictReader(io.StringIO(again.stdout)))
    assert [(row["symbol"], row["new_rows"], row["requests"]) for row in rows] == [
        ("HK.00700", "0", "1"),
        ("US.AAPL", "2", "1"),
    ]
    assert len(opend.requests) == spent + 2
    assert console("sync", **kept).returncode == 2


def sync_on_terminal(command: str, *codes: str, **environ: str) -> tuple[int, str, str]:
    """The exit code, what came on stdout, and what a terminal was sent."""
    settings = {**environ, "TERM": "xterm", "COLUMNS": "120"}
    with (
        closing(Terminal()) as terminal,
        running(command, "sync", *codes, stderr=terminal.theirs, **settings) as syncing,
    ):
        terminal.begun()
        shown = terminal.shown()
        assert syncing.stdout is not None
        told = syncing.stdout.read()
        return syncing.wait(timeout=30), told, shown


@pytest.mark.parametrize("command", COMMANDS)
def test_on_a_terminal_sync_shows_a_bar(command: str, opend: Simulator, kept: dict[str, str]) -> None:
    code, told, shown = sync_on_terminal(command, "US.AAPL", "US.GME", **kept, **at(opend))
    assert (code, told) == (0, "2 symbols: 446 rows, 446 new, 0 revised, 10 requests\n")
    assert "2/2" in shown
    assert "━" in shown
    assert "10 requests  446 rows" in shown


def test_on_a_terminal_no_symbol_is_taken_for_markup(opend: Simulator, kept: dict[str, str]) -> None:
    codes = ["[/x]", "[red]", "HK.[bold]"]
    code, told, shown = sync_on_terminal("futu-si", *codes, "US.AAPL", **kept, **at(opend))
    assert (code, told) == (8, "4 symbols, 3 failed: 223 rows, 223 new, 0 revised, 5 requests\n")
    for symbol in codes:
        assert f"{symbol}: code '{symbol}'" in shown


def test_one_is_not_told_as_many(console: Run, start: Callable[..., Simulator], kept: dict[str, str]) -> None:
    opend = start(universe=Universe(most_rows=1))
    done = console("sync", "HK.00001", **kept, **at(opend))
    assert done.stdout == "1 symbol: 1 row, 1 new, 0 revised, 1 request\n"
    assert done.stderr == "1/1 HK.00001: 1 row, 1 new, 0 revised, 1 request\n"
    _, _, shown = sync_on_terminal("futu-si", "HK.00005", **kept, **at(opend))
    assert "1 request  1 row " in shown


def test_a_file_of_symbols_that_cannot_be_read_is_named(
    console: Run, opend: Simulator, kept: dict[str, str], tmp_path: Path
) -> None:
    latin, wide = tmp_path / "latin.txt", tmp_path / "wide.txt"
    latin.write_bytes("US.AAPL\n# Société Générale\n".encode("latin-1"))
    wide.write_text("US.AAPL\n", encoding="utf-16")
    for file, told in (
        (latin, "line 2 is no UTF-8 text"),
        (wide, "line 1 is no UTF-8 text"),
        (tmp_path, "Is a directory"),
        (tmp_path / "none", "No such file"),
    ):
        done = console("sync", "--from", str(file), **kept, **at(opend))
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
        assert f"--from {file}: {told}" in done.stderr
    assert "--from is ''" in console("sync", "--from", "", **kept, **at(opend)).stderr
    assert opend.requests == []


def test_symbols_come_from_stdin_too(opend: Simulator, kept: dict[str, str]) -> None:
    script = str(Path(sys.executable).with_name("futu-si"))
    environ = {**os.environ, **kept, **at(opend)}
    for given, code in ((b"\xef\xbb\xbfUS.AAPL\r\nUS.GME # two\r\n", 0), (b"US.AAPL\n\xff\n", 2)):
        done = subprocess.run(
            [script, "sync", "--from", "-"], input=given, capture_output=True, timeout=60, env=environ
        )
        assert done.returncode == code
        assert b"Traceback" not in done.stderr
    assert len(opend.requests) == 10
    need("sh")
    shell = ["sh", "-c", 'exec "$0" sync --from - <&-', script]
    done = subprocess.run(shell, capture_output=True, timeout=60, env=environ)
    assert (done.returncode, done.stderr.count(b"\n")) == (2, 1)


def test_that_there_are_no_rows_is_said(console: Run, opend: Simulator, kept: dict[str, str]) -> None:
    for options, told in (
        ([], "OpenD has no rows for US.SPHY"),
        (["--offline"], "OpenD has no rows for US.SPHY"),
        (
            ["--start", "2026-01-01", "--end", "2026-02-01"],
            "OpenD has no rows for US.SPHY from 2026-01-01 until 2026-02-01",
        ),
    ):
        done = console("history", "US.SPHY", "--csv", *options, **kept, **at(opend))
        assert (done.returncode, len(done.stdout.splitlines())) == (0, 1)
        assert done.stderr == f"{told}\n"
    done = console("history", "HK.00700", "--start", "2027-01-01", "--json", **kept, **at(opend))
    assert (done.returncode, json.loads(done.stdout)) == (0, [])
    assert done.stderr == "OpenD has no rows for HK.00700 from 2027-01-01\n"


def test_revisions_tells_none_from_never_recorded(console: Run, opend: Simulator, kept: dict[str, str]) -> None:
    never = console("revisions", "US.AAPL", "--csv", **kept)
    assert (never.returncode, never.stdout, never.stderr.count("\n")) == (3, "", 1)
    assert "No short interest of US.AAPL is recorded" in never.stderr
    assert console("get", "HK.00700", **kept, **at(opend)).returncode == 0
    none = console("revisions", "HK.00700", "--csv", **kept)
    assert (none.returncode, none.stdout) == (0, "date,column,before,after,seen_at\n")
    assert none.stderr == "nothing was revised in what is recorded of HK.00700\n"
    assert console("revisions", "US.AAPL", "--csv", **kept).returncode == 3
    assert console("revisions", "AAPL", **kept).returncode == 2


@pytest.mark.needs("signals")
@pytest.mark.parametrize("command", COMMANDS)
def test_an_interrupted_sync_leaves_everything_recorded(command: str, opend: Simulator, kept: dict[str, str]) -> None:
    environ = {**kept, **at(opend), "OPEND_SI_RATE": "7/3600"}
    with running(command, "sync", "US.AAPL", "US.GME", **environ) as syncing:
        assert syncing.stderr is not None
        assert syncing.stderr.readline().startswith("1/2 US.AAPL: 223 rows")
        assert syncing.stderr.readline().startswith("waiting ")
        syncing.send_signal(signal.SIGINT)
        told, noted = syncing.communicate(timeout=30)
    assert (syncing.returncode, told) == (130, "")
    assert noted == "interrupted: 1 of 2 symbols done; run it again to go on\n"
    assert len(opend.requests) == 7
    done = run_console(command, "sync", "US.AAPL", "US.GME", **{**environ, "OPEND_SI_RATE": "off"})
    assert done.stdout == "2 symbols: 446 rows, 123 new, 0 revised, 3 requests\n"
    assert len(opend.requests) == 10


@pytest.mark.needs("signals", "terminals")
def test_an_interrupted_bar_says_how_far_it_came(opend: Simulator, kept: dict[str, str]) -> None:
    environ = {**kept, **at(opend), "OPEND_SI_RATE": "7/3600", "TERM": "xterm", "COLUMNS": "120"}
    codes = ("US.AAPL", "HK.700", "US.GME")
    with (
        closing(Terminal()) as terminal,
        running("futu-si", "sync", *codes, stderr=terminal.theirs, **environ) as syncing,
    ):
        terminal.begun()
        assert "waiting " in terminal.shown(until="waiting ")
        syncing.send_signal(signal.SIGINT)
        # A symbol that failed is not done.
        assert terminal.shown().endswith("interrupted: 1 of 3 symbols done; run it again to go on\r\n")
        assert syncing.wait(timeout=30) == 130


def test_a_sync_without_opend_is_one_line_and_an_exit_code_of_its_own(
    console: Run, opend: Simulator, kept: dict[str, str]
) -> None:
    codes = [f"US.A{letter}" for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"]
    assert console("sync", "US.GME", **kept, **at(opend)).returncode == 0
    done = console("sync", *codes, "US.GME", "US.AAPL", **kept, OPEND_PORT="1")
    assert (done.returncode, done.stdout.partition(":")[0]) == (4, "28 symbols, 27 failed")
    assert "27 of 28 symbols could not be brought up to date" in done.stderr
    assert done.stderr.count("No OpenD at") == 1
    assert done.stderr.count("doctor` checks the way to OpenD step by step") == 1
    assert "doctor" not in console("sync", "US.NONE", **kept, **at(opend)).stderr


def test_a_sync_asks_a_server_that_says_nothing_once(kept: dict[str, str]) -> None:
    """As an OpenD that hangs: each symbol would cost a timeout."""
    links = []

    def serve() -> None:
        with suppress(OSError):
            while True:
                links.append(stack.enter_context(listening.accept()[0]))

    with socket.create_server(("127.0.0.1", 0)) as listening, ExitStack() as stack:
        server = threading.Thread(target=serve)
        server.start()
        codes = [f"US.A{letter}" for letter in "ABCDE"]
        port = str(listening.getsockname()[1])
        done = run_console("futu-si", "sync", *codes, "--timeout", "1", **kept, OPEND_PORT=port)
        got = run_console("futu-si", "get", "US.AA", "--timeout", "1", **kept, OPEND_PORT=port)
        listening.shutdown(socket.SHUT_RDWR)
        server.join()
    assert (done.returncode, done.stdout.partition(":")[0]) == (4, "5 symbols, 5 failed")
    assert got.returncode == 4
    assert done.stderr.count("\n") == 1
    assert len(links) == 2


def test_a_quiet_sync_says_only_what_went_wrong(console: Run, opend: Simulator, kept: dict[str, str]) -> None:
    good = console("sync", "--quiet", "US.AAPL", "US.GME", **kept, **at(opend))
    assert (good.returncode, good.stdout, good.stderr) == (0, "", "")
    bad = console("sync", "-q", "US.AAPL", "US.NONE", "us.gme", "HK.00700", **kept, **at(opend))
    assert (bad.returncode, bad.stdout) == (8, "")
    assert [line.split(" ")[0] for line in bad.stderr.splitlines()] == ["us.gme:", "2/4"]
    assert json.loads(console("sync", "-q", "US.AAPL", "--json", **kept, **at(opend)).stdout)[0]["rows"] > 100


def test_a_sync_says_what_was_fresh(console: Run, opend: Simulator, kept: dict[str, str]) -> None:
    assert "fresh" not in console("sync", "US.AAPL", "US.GME", **kept, **at(opend)).stderr
    opend.universe.publish("US.GME")
    again = console("sync", "US.AAPL", "US.GME", **kept, **at(opend))
    assert "2 symbols of these were not asked for, as the record is fresh: --max-age 0 asks now" in again.stderr
    assert "fresh" not in console("sync", "US.AAPL", "US.GME", "--max-age", "0", **kept, **at(opend)).stderr


@pytest.mark.needs("sh")
@pytest.mark.parametrize("closed", ["2>&-", ">&-", "<&- >&- 2>&-", "2>/dev/full"])
def test_a_stream_that_is_not_there_is_no_error(opend: Simulator, kept: dict[str, str], closed: str) -> None:
    if "full" in closed:
        need("full")  # as root, a shell would make a file of that name
    script = shlex.quote(str(Path(sys.executable).with_name("futu-si")))
    environ = {**os.environ, **kept, **at(opend)}
    for command in ("sync US.GME US.NONE", "history US.GME --csv", "doctor"):
        done = subprocess.run(f"{script} {command} {closed}", shell=True, env=environ, capture_output=True, timeout=60)
        assert done.returncode == (8 if "NONE" in command else 0), (command, done.stderr)
        assert b"Traceback" not in done.stderr
        assert bool(done.stdout) == closed.startswith("2>")
    assert run_console("futu-si", "history", "US.GME", "--offline", **kept).returncode == 0


def test_parquet_needs_an_extra_and_says_so(
    console: Run, opend: Simulator, kept: dict[str, str], tmp_path: Path
) -> None:
    file = tmp_path / "rows.parquet"
    blocked = {**kept, **at(opend), **without(tmp_path, "pyarrow")}
    absent = console("history", "HK.00700", "--parquet", str(file), **blocked)
    assert absent.returncode == 1
    assert "opend-short-interest[arrow]" in absent.stderr
    assert opend.requests == []
    done = console("history", "HK.00700", "--parquet", str(file), **kept, **at(opend))
    assert (done.returncode, done.stdout) == (0, "")
    read = f"import pandas; frame = pandas.read_parquet({str(file)!r}); print(len(frame), frame.index[-1], frame.iloc[-1, 2])"
    told = subprocess.run(
        [sys.executable, "-c", read],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert told.stdout.split() == ["713", "2026-04-30", "00:00:00", "51480638"]
    (tmp_path / "file").touch()
    for target in (tmp_path / "none" / "x", tmp_path / "file" / "x", Path("/proc/x")):
        nowhere = console(*("history", "HK.00700", "--parquet", str(target)), **kept, **at(opend))
        assert (nowhere.returncode, nowhere.stdout, nowhere.stderr.count("\n")) == (1, "", 1)
        assert f"cannot write {target}: " in nowhere.stderr
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".new"] == []
