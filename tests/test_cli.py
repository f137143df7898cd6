"""The console: data on stdout and nothing else there, documented exit codes, real processes."""

import csv
import io
import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from opend_si.cli.exits import MEANINGS
from opend_si.simulator import Simulator
from opend_si_schema.definitions import Rate
from tests.processes import COMMANDS, Run, at


def test_get_prints_rows_on_stdout_and_the_way_on_on_stderr(console: Run, opend: Simulator) -> None:
    done = console("get", "HK.00700", **at(opend))
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert lines[0].startswith("HK.00700")
    assert [line[:10] for line in lines[2:]][:2] == ["2026-04-30", "2026-04-24"]
    assert len(lines) == 12
    assert "51,480,638" in lines[2]
    assert "--next-key 1772121600" in done.stderr


def test_csv_and_json_hold_the_same_rows(console: Run, opend: Simulator) -> None:
    page = ("get", "US.AAPL", "--num", "50", "--host", opend.host, "--port", str(opend.port))
    rows = list(csv.DictReader(io.StringIO(console(*page, "--csv").stdout)))
    told = json.loads(console(*page, "--json").stdout)
    assert len(rows) == len(told["usItemList"]) == 50
    assert [row["shares_short"] for row in rows] == [item["sharesShort"] for item in told["usItemList"]]
    assert [float(row["days_to_cover"]) for row in rows] == [item["daysToCover"] for item in told["usItemList"]]


def test_a_cursor_leads_on(console: Run, opend: Simulator) -> None:
    first = json.loads(console("get", "HK.00700", "--json", **at(opend)).stdout)
    second = json.loads(console("get", "HK.00700", "--json", "--next-key", first["nextKey"], **at(opend)).stdout)
    assert int(second["hkItemList"][0]["timestamp"]) < int(first["hkItemList"][-1]["timestamp"])


def test_every_failure_has_its_exit_code_and_leaves_stdout_empty(console: Run, start: Callable[..., Simulator]) -> None:
    opend, strict = start(), start(rate=Rate(1, 30.0))
    console("get", "HK.00700", **at(strict))
    for arguments, opend_at, code in (
        (["get"], at(opend), 2),
        (["get", "700"], at(opend), 2),
        (["get", "HK.00700", "--num", "51"], at(opend), 2),
        (["get", "HK.00700", "--next-key=-1"], at(opend), 2),
        (["get", "HK.00700"], {"OPEND_PORT": "1"}, 4),
        (["get", "HK.00700"], at(strict), 5),
        (["get", "HK.99999"], at(opend), 6),
    ):
        done = console(*arguments, **opend_at)
        assert (done.returncode, done.stdout) == (code, ""), arguments
        assert done.stderr
        assert "Traceback" not in done.stderr
        assert code in MEANINGS


def test_help_names_every_exit_code_and_loads_no_pandas(console: Run) -> None:
    told = console("--help").stdout
    for code, meaning in MEANINGS.items():
        assert f"{code} {meaning}" in " ".join(told.split())
    script = "import sys; from futu_si.__main__ import main\ntry: main()\nexcept SystemExit: pass\nprint('pandas' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script, "--help"], capture_output=True, text=True, timeout=30)
    assert done.stdout.splitlines()[-1] == "False"


def test_doctor_finds_nothing_wrong_with_a_sound_opend(console: Run, opend: Simulator) -> None:
    done = console("doctor", **at(opend))
    assert done.returncode == 0
    assert done.stdout.count("ok  ") == 3
    assert "version 10.11" in done.stdout
    assert opend.requests == []


def test_doctor_names_what_is_wrong_and_what_to_do(console: Run, start: Callable[..., Simulator]) -> None:
    for opend_at, code, told in (
        ({"OPEND_PORT": "1"}, 4, "Start OpenD"),
        (at(start(version=1005)), 6, "Update OpenD to 10.6"),
        (at(start(logged_in=False)), 6, "LOGIN_FAILED"),
    ):
        done = console("doctor", **opend_at)
        assert done.returncode == code
        assert "FAIL" in done.stdout
        assert told in done.stdout


def test_demo_prints_the_documented_rows_and_five_lines(console: Run) -> None:
    done = console("demo")
    assert done.returncode == 0
    assert [line[:10] for line in done.stdout.splitlines()[2:]] == [
        "2026-04-30",
        "2026-04-24",
        "2026-04-17",
        "2026-04-10",
        "2026-04-02",
        "2026-03-27",
        "2026-03-20",
        "2026-03-13",
        "2026-03-06",
        "2026-02-27",
    ]
    assert [line[:2] for line in done.stderr.splitlines()] == ["1.", "2.", "3.", "4.", "5."]


@pytest.mark.parametrize("command", COMMANDS)
def test_simulate_serves_until_it_is_interrupted(command: str, console: Run) -> None:
    script = Path(sys.executable).with_name(command)
    arguments = [str(script), "simulate", "--port", "0", "--rate", "2/30", "--cursor", "offset", "--seed", "7"]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as serving:
        assert serving.stdout is not None
        host, _, port = serving.stdout.readline().strip().partition(":")
        address = {"OPEND_HOST": host, "OPEND_PORT": port}
        assert json.loads(console("get", "US.GME", "--json", **address).stdout)["nextKey"] == "10"
        assert console("get", "US.GME", **address).returncode == 0
        assert console("get", "US.GME", **address).returncode == 5
        serving.send_signal(signal.SIGINT)
        assert serving.wait(timeout=30) == 130


def test_simulate_says_when_it_cannot_listen(console: Run, opend: Simulator) -> None:
    done = console("simulate", "--port", str(opend.port))
    assert done.returncode == 1
    assert f"cannot listen on 127.0.0.1:{opend.port}" in done.stderr
    assert console("simulate", "--rate", "fast").returncode == 2


@pytest.mark.parametrize("command", COMMANDS)
def test_a_reader_that_left_ends_the_console_quietly(command: str, opend: Simulator) -> None:
    script = str(Path(sys.executable).with_name(command))
    with subprocess.Popen(
        [script, "get", "US.AAPL", "--csv"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **at(opend)},
    ) as getting:
        assert getting.stdout is not None
        assert getting.stderr is not None
        getting.stdout.close()
        assert getting.wait(timeout=30) == 1
        assert getting.stderr.read() == ""


@pytest.fixture
def recorded(console: Run, opend: Simulator, tmp_path: Path) -> dict[str, str]:
    """The environment of a console that has recorded two pages, with OpenD gone."""
    environ = {"OPEND_SI_MODE": "online", "OPEND_SI_HOME": str(tmp_path / "kept")}
    for code in ("HK.00700", "US.AAPL"):
        assert console("get", code, **environ, **at(opend)).returncode == 0
    return {**environ, "OPEND_PORT": "1"}


def test_the_modes_reach_the_console(console: Run, opend: Simulator, recorded: dict[str, str]) -> None:
    live = console("get", "HK.00700", "--no-cache", "--csv", **{**recorded, **at(opend)}).stdout
    offline = console("get", "HK.00700", "--offline", "--csv", **recorded)
    assert (offline.returncode, offline.stdout) == (0, live)
    missing = console("get", "HK.00005", "--offline", **recorded)
    assert (missing.returncode, missing.stdout) == (3, "")
    assert "No short interest of HK.00005 is recorded" in missing.stderr
    stale = console("get", "HK.00700", "--max-age", "0", "--csv", **recorded)
    assert (stale.returncode, stale.stdout) == (0, live)
    assert "answered from the record" in stale.stderr
    assert console("get", "HK.00700", "--refresh", **recorded).returncode == 4


def test_the_cache_commands_look_after_the_file(
    console: Run, opend: Simulator, recorded: dict[str, str], tmp_path: Path
) -> None:
    file = tmp_path / "kept" / "pages.sqlite3"
    assert console("cache", "path", **recorded).stdout.strip() == str(file)
    told = dict(line.split(maxsplit=1) for line in console("cache", "info", **recorded).stdout.splitlines())
    assert (told["symbols"], told["pages"], told["versions"], told["rows"]) == ("2", "2", "2", "100")
    assert console("cache", "verify", **recorded).returncode == 0
    opend.universe.publish("HK.00700")
    assert console("get", "HK.00700", "--refresh", **{**recorded, **at(opend)}).returncode == 0
    assert console("cache", "prune", "--older-than", "0", **recorded).stdout == "1 superseded versions deleted\n"
    target = tmp_path / "handed on.sqlite3"
    assert console("cache", "export", str(target), "HK.00700", **recorded).returncode == 0
    replayed = console("get", "HK.00700", "--offline", "--cache", str(target), **recorded)
    assert replayed.returncode == 0
    assert console("cache", "export", str(target), **recorded).returncode == 2
    with sqlite3.connect(file) as connection:
        connection.execute("UPDATE page SET body = zeroblob(length(body)) WHERE symbol = 'US.AAPL'")
    connection.close()
    damaged = console("cache", "verify", **recorded)
    assert damaged.returncode == 3
    assert "US.AAPL, next_key '', num 50, version 1: does not match its checksum" in damaged.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_waiting_for_the_budget_is_said_and_ends_with_an_interrupt(
    command: str, console: Run, opend: Simulator, tmp_path: Path
) -> None:
    script = str(Path(sys.executable).with_name(command))
    environ = {**os.environ, **at(opend), "OPEND_SI_RATE": "1/3600", "OPEND_SI_HOME": str(tmp_path)}
    assert subprocess.run([script, "get", "HK.00700"], capture_output=True, timeout=30, env=environ).returncode == 0
    with subprocess.Popen(
        [script, "get", "HK.00700"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environ
    ) as waiting:
        assert waiting.stderr is not None
        assert waiting.stderr.readline().startswith("waiting 3")
        waiting.send_signal(signal.SIGINT)
        told, _ = waiting.communicate(timeout=30)
    assert (waiting.returncode, told) == (130, "")
    assert len(opend.requests) == 1
