"""The console: data on stdout and nothing else there, documented exit codes, real processes."""

import csv
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from opend_si.cli.exits import MEANINGS
from opend_si.simulator import Simulator
from opend_si_schema.definitions import Rate

COMMANDS = ("futu-si", "moomoo-si")
Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(params=COMMANDS)
def console(request: pytest.FixtureRequest) -> Run:
    """Runs the installed console script of each face."""
    script = Path(sys.executable).with_name(request.param)

    def run(*arguments: str, **settings: str) -> "subprocess.CompletedProcess[str]":
        environ = {**os.environ, **settings, "PYTHONWARNINGS": "error"}
        return subprocess.run([script, *arguments], capture_output=True, text=True, timeout=30, env=environ)

    return run


def at(opend: Simulator) -> dict[str, str]:
    return {"OPEND_HOST": opend.host, "OPEND_PORT": str(opend.port)}


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
    arguments = [script, "simulate", "--port", "0", "--rate", "2/30", "--cursor", "offset", "--seed", "7"]
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


def test_a_reader_that_has_seen_enough_ends_the_console_quietly(opend: Simulator) -> None:
    script = Path(sys.executable).with_name("futu-si")
    environ = {**os.environ, **at(opend)}
    pipeline = f'"{script}" get US.AAPL --num 50 --csv | head -1; exit ${{PIPESTATUS[0]}}'
    done = subprocess.run(["bash", "-c", pipeline], capture_output=True, text=True, timeout=30, env=environ)
    assert (done.returncode, done.stderr) == (1, "")
