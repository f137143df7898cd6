"""The console: data on stdout and nothing else there, documented exit codes, real processes."""

import csv
import io
import json
import os
import re
import shlex
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

import futu_si
from opend_si.cli.exits import MEANINGS
from opend_si.simulator import Simulator
from opend_si_schema.definitions import Rate
from tests.processes import COMMANDS, Run, at, need, run_console, running


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


def test_the_next_page_is_asked_for_with_what_was_given(console: Run, opend: Simulator, tmp_path: Path) -> None:
    home = {"OPEND_SI_MODE": "online", "OPEND_SI_HOME": str(tmp_path / "kept"), "OPEND_PORT": "1"}
    file = tmp_path / "my pages.sqlite3"
    at_opend = ["--host", opend.host, "--port", str(opend.port)]
    given = ["HK.00700", "--num", "3", "--kind", "daily_short_volume", "--csv", "--cache", str(file), *at_opend]
    times: list[int] = []
    for _ in range(3):
        done = console("get", *given, **home)
        assert done.returncode == 0
        times += pd.read_csv(io.StringIO(done.stdout))["timestamp"].tolist()
        _, command, *given = shlex.split(done.stderr.removeprefix("next page: "))
        assert command == "get"
    assert given.count("--next-key") == 1
    assert times == sorted({*times}, reverse=True)
    assert len(times) == 9
    offline = console("get", *given, "--offline", "--max-age", "5", "--timeout", "3", **home)
    options = shlex.split(offline.stderr)
    assert "--offline" in options
    assert [options[options.index(name) + 1] for name in ("--max-age", "--timeout")] == ["5.0", "3.0"]
    short = console("get", "HK.00700", **at(opend)).stderr.split()
    assert short[2:-1] == [short[2], "get", "HK.00700", "--next-key"]


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


def test_errors_name_settings_in_words_that_fit_python_and_the_console(
    console: Run, opend: Simulator, tmp_path: Path
) -> None:
    recording = {"OPEND_SI_MODE": "online", "OPEND_SI_HOME": str(tmp_path / "kept")}
    no_key = str(tmp_path / "none.pem")
    for arguments, environ, told in (
        (["get", "HK.00700", "--port", "1"], {}, "host and port (or OPEND_HOST and OPEND_PORT)"),
        (["sync", "HK.00700", "--port", "1"], recording, "host and port (or OPEND_HOST and OPEND_PORT)"),
        (["doctor", "--port", "1"], {}, "host and port (or OPEND_HOST and OPEND_PORT)"),
        (["get", "HK.00700", "--host", "no such machine"], {}, "host"),
        (["get", "HK.00700", "--rsa-key", no_key], at(opend), "rsa_key (or OPEND_RSA_KEY)"),
        (["doctor", "--rsa-key", no_key], at(opend), "rsa_key (or OPEND_RSA_KEY)"),
    ):
        done = console(*arguments, **environ)
        shown = done.stdout + done.stderr
        assert done.returncode != 0
        assert told in shown, (arguments, shown)
        assert not re.search(r"\b(host|port|rsa_key)=", shown), arguments


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
    assert f"ok    OpenD answers at {opend.address} (" in done.stdout
    assert opend.requests == []


def test_doctor_takes_a_simulator_for_no_opend(console: Run) -> None:
    with Simulator() as simulator:
        done = console("doctor", **at(simulator))
    assert f"ok    a simulator, whose rows are made up, answers at {simulator.address} (" in done.stdout


def test_doctor_says_where_nothing_can_be_kept(console: Run, opend: Simulator, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.write_text("a file in the place of a folder")
    done = console("doctor", **at(opend), OPEND_SI_HOME=str(home))
    assert (done.returncode, done.stderr) == (3, "")
    for what, name in (("record", "pages.sqlite3"), ("rate budget", "budget.slots")):
        assert f"FAIL  the {what} {home / name} cannot be used (" in done.stdout
    assert done.stdout.count("OPEND_SI_HOME") == 2


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
    # What was asked of OpenD, and what is shown of it.
    assert "for 50 rows of HK.00700 in one request; the table above shows the newest 10" in done.stderr
    assert "OpenD counted 1 request of the 30" in done.stderr


@pytest.mark.needs("signals")
@pytest.mark.parametrize("command", COMMANDS)
def test_simulate_serves_until_it_is_interrupted(command: str, console: Run) -> None:
    arguments = ["simulate", "--port", "0", "--rate", "2/30", "--cursor", "offset", "--seed", "7"]
    with running(command, *arguments) as serving:
        assert serving.stdout is not None
        host, _, port = serving.stdout.readline().strip().partition(":")
        address = {"OPEND_HOST": host, "OPEND_PORT": port}
        assert json.loads(console("get", "US.GME", "--json", **address).stdout)["nextKey"] == "10"
        assert console("get", "US.GME", **address).returncode == 0
        assert console("get", "US.GME", **address).returncode == 5
        serving.send_signal(signal.SIGINT)
        assert serving.wait(timeout=30) == 130


@pytest.mark.needs("signals")
def test_simulate_spoils_replies_if_it_is_asked_to() -> None:
    with running("futu-si", "simulate", "--port", "0", "--rate", "off", "--chaos", "3") as serving:
        assert serving.stdout is not None
        port = int(serving.stdout.readline().rpartition(":")[2])
        came: Counter[str] = Counter()
        with futu_si.Client(port=port, mode="bypass", timeout=0.3) as client:
            for _ in range(60):
                try:
                    came[f"{len(client.get_page('US.GME'))} rows"] += 1
                except futu_si.ShortInterestError as error:
                    came[type(error).__name__] += 1
        assert came["10 rows"] > 20
        assert came["ProtocolError"] > 5
        serving.send_signal(signal.SIGINT)
        assert serving.wait(timeout=30) == 130


@pytest.mark.needs("signals")
@pytest.mark.parametrize("found", [signal.SIG_DFL, signal.SIG_IGN])
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_simulate_ends_quietly_also_where_a_shell_started_it_in_the_background(
    sent: signal.Signals, found: signal.Handlers
) -> None:
    with running("futu-si", "simulate", "--port", "0", sigint=found) as serving:
        assert serving.stdout is not None
        assert serving.stderr is not None
        assert serving.stdout.readline().startswith("127.0.0.1:")
        told = [serving.stderr.readline() for _ in range(3)]
        assert [line.split()[0] for line in told] == ["Simulator", "Its", "Use"]
        assert "made up" in told[1]
        assert "OPEND_SI_HOME=" in told[1]
        serving.send_signal(sent)
        assert "".join(serving.communicate(timeout=30)).strip() == ""
        assert serving.returncode == 130


def test_simulate_says_when_it_cannot_listen(console: Run, opend: Simulator) -> None:
    done = console("simulate", "--port", str(opend.port))
    assert done.returncode == 1
    assert f"cannot listen on 127.0.0.1:{opend.port}" in done.stderr
    assert console("simulate", "--rate", "fast").returncode == 2


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["simulate", "--port", "99999"], 2),
        (["simulate", "--port", "-1"], 2),
        (["simulate", "--port", "0", "--latency", "nan"], 2),
        (["simulate", "--port", "0", "--latency", "-1"], 2),
        (["simulate", "--port", "0", "--host", "a" * 70], 1),
        (["cache", "prune", "--older-than", "nan"], 2),
        (["cache", "prune", "--older-than", "1e9"], 2),
        (["history", "HK.00700", "--parquet", ""], 2),
        (["get"], 2),
        (["get", "HK.00700", "HK.00005"], 2),
        (["get", "HK.00700", "--num", "x"], 2),
        (["sync"], 2),
        (["frobnicate"], 2),
        (["--frobnicate"], 2),
    ],
)
def test_an_argument_that_cannot_be_is_said_in_words(console: Run, arguments: list[str], code: int) -> None:
    done = console(*arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert "Traceback" not in done.stderr
    (line,) = done.stderr.splitlines()
    assert re.match(r"(futu|moomoo)-si[\w ]*: ", line)
    assert re.fullmatch(r".*[\w)'\]]\. See `[\w -]+ --help`\.", line) or " See `" not in line, line


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["get", "US.AAPL", "--json", "--csv"], "--csv and --json"),
        (["get", "US.AAPL", "--offline", "--refresh"], "--offline and --refresh"),
        (["get", "US.AAPL", "--no-cache", "--offline"], "--no-cache and --offline"),
        (["history", "US.AAPL", "--csv", "--parquet", "x"], "--csv and --parquet"),
        (["history", "US.AAPL", "--parquet", "x", "--json"], "--json and --parquet"),
        (["history", "US.AAPL", "--refresh", "--no-cache"], "--no-cache and --refresh"),
        (["revisions", "US.AAPL", "--csv", "--json"], "--csv and --json"),
        (["sync", "US.AAPL", "--csv", "--json"], "--csv and --json"),
        (["screen", "--csv", "--json"], "--csv and --json"),
        (["plot", "US.AAPL", "--out", "x.png", "--refresh", "--offline"], "--offline and --refresh"),
    ],
    ids=lambda given: " ".join(given) if isinstance(given, list) else "",
)
def test_options_that_contradict_each_other_are_named(
    console: Run, opend: Simulator, arguments: list[str], told: str
) -> None:
    done = console(*arguments, **at(opend))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.split(": ")[1:] == [f"{told} exclude each other\n"]
    assert opend.requests == []


def test_an_option_may_be_given_twice(console: Run, opend: Simulator) -> None:
    once = console("get", "US.AAPL", "--csv", "--no-cache", **at(opend))
    twice = console("get", "US.AAPL", "--csv", "--no-cache", "--csv", "--no-cache", **at(opend))
    assert (twice.returncode, twice.stdout) == (0, once.stdout)


# Prints a page as each form does, reports, and what is no data: everything that can meet a full disk.
PRINTING = [
    *(
        ["get", "HK.00700"],
        ["get", "HK.00700", "--csv"],
        ["get", "HK.00700", "--json"],
        ["history", "US.AAPL", "--csv"],
    ),
    *(["sync", "US.AAPL"], ["sync", "US.AAPL", "--csv"], ["cache", "path"], ["doctor"], ["--help"], ["simulate"]),
]


@pytest.mark.needs("sh")
@pytest.mark.parametrize("arguments", PRINTING, ids=" ".join)
@pytest.mark.parametrize("fate", ["full", "closed"])
def test_an_output_that_cannot_be_written_is_said_in_one_line(
    opend: Simulator, tmp_path: Path, arguments: list[str], fate: str
) -> None:
    if fate == "full":
        need("full")  # as root, a shell would make a file of that name
    script = Path(sys.executable).with_name("futu-si")
    if arguments == ["simulate"]:
        if fate == "closed":
            return  # it serves all the same
        arguments = [*arguments, "--port", "0"]
    shell = f'exec "$0" "$@" {">/dev/full" if fate == "full" else ">&-"}'
    environ = {**os.environ, **at(opend), "OPEND_SI_MODE": "online", "OPEND_SI_HOME": str(tmp_path)}
    done = subprocess.run(
        ["sh", "-c", shell, script, *arguments], capture_output=True, text=True, timeout=60, env=environ
    )
    assert "Traceback" not in done.stderr
    assert "Exception" not in done.stderr
    if fate == "full":
        assert done.returncode == 1
        assert done.stderr.splitlines()[-1] == "futu-si: the output cannot be written: No space left on device"
    else:
        assert done.returncode == 0


@pytest.mark.needs("sh")
def test_a_folder_that_is_gone_is_said_in_one_line(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    # Not by the console script: in a path with blanks that is a shell's, which says so too.
    shell = 'rmdir "$PWD"; exec "$0" -P -m futu_si cache --cache x info'
    done = subprocess.run(["sh", "-c", shell, sys.executable], capture_output=True, text=True, timeout=60, cwd=gone)
    assert done.returncode in (1, 2, 3)
    assert len(done.stderr.splitlines()) == 1
    assert "No such file or directory" in done.stderr


def test_a_terminal_without_the_characters_is_no_obstacle(console: Run, opend: Simulator) -> None:
    opend.universe.revise("HK.00700", 0, closePrice=None, timestampStr="四月")
    done = console("get", "HK.00700", **at(opend), PYTHONIOENCODING="latin-1")
    assert done.returncode == 0
    assert done.stdout.splitlines()[2].startswith("\\u56db\\u6708")


MARKED_UP = ["[red]", "[/x]", "[bold]2026[/bold]", ":smile:", "[link=x]"]


def test_texts_of_opend_are_printed_as_they_are(console: Run, opend: Simulator, recorded: dict[str, str]) -> None:
    for row, text in enumerate(MARKED_UP):
        opend.universe.revise("HK.00700", row, timestampStr=text)
    shown = console("get", "HK.00700", "--refresh", **{**recorded, **at(opend)})
    assert shown.returncode == 0
    assert [line.split()[0] for line in shown.stdout.splitlines()[2:7]] == MARKED_UP
    revised = console("revisions", "HK.00700", **recorded)
    assert revised.returncode == 0
    assert sorted(line.split()[3] for line in revised.stdout.splitlines()[2:]) == sorted(MARKED_UP)


@pytest.mark.parametrize("text", MARKED_UP)
def test_texts_of_the_user_are_printed_as_they_are(console: Run, recorded: dict[str, str], text: str) -> None:
    for arguments in (["get", text], ["get", f"HK.{text}", "--offline"], ["sync", text]):
        done = console(*arguments, **recorded)
        assert done.returncode != 0
        assert text.upper() in done.stderr.upper()
        assert "Traceback" not in done.stderr


def test_that_there_are_no_rows_is_said(console: Run, opend: Simulator) -> None:
    for arguments, told in (
        (["get", "US.SPHY"], "OpenD has no rows for US.SPHY"),
        (["get", "HK.00700", "--next-key", "1"], "OpenD has no rows for HK.00700 behind next_key 1"),
    ):
        done = console(*arguments, "--csv", **at(opend))
        assert (done.returncode, len(done.stdout.splitlines())) == (0, 1)
        assert done.stderr == f"{told}\n"


@pytest.mark.parametrize("command", COMMANDS)
def test_a_reader_that_left_ends_the_console_quietly(command: str, opend: Simulator) -> None:
    with running(command, "get", "US.AAPL", "--csv", **at(opend)) as getting:
        assert getting.stdout is not None
        assert getting.stderr is not None
        getting.stdout.close()
        assert getting.wait(timeout=30) == 1
        assert getting.stderr.read() == ""


@pytest.fixture
def recorded(opend: Simulator, tmp_path: Path) -> dict[str, str]:
    """The environment of a console that has recorded two pages, with OpenD gone."""
    kept = tmp_path / "kept"
    with futu_si.Client(opend.host, opend.port, mode="online", cache=kept / "pages.sqlite3") as client:
        for code in ("HK.00700", "US.AAPL"):
            client.get_page(code)
    return {"OPEND_SI_MODE": "online", "OPEND_SI_HOME": str(kept), "OPEND_PORT": "1"}


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
    for _ in range(2):  # the rows that are pushed off the page stay with the first version
        opend.universe.publish("HK.00700")
        assert console("get", "HK.00700", "--refresh", **{**recorded, **at(opend)}).returncode == 0
    assert console("cache", "prune", "--older-than", "0", **recorded).stdout == "1 version deleted\n"
    target = tmp_path / "handed on.sqlite3"
    exported = console("cache", "export", str(target), "HK.00700", **recorded)
    assert (exported.returncode, exported.stdout) == (0, f"2 pages written to {target}\n")
    replayed = console("get", "HK.00700", "--offline", "--cache", str(target), **recorded)
    assert replayed.returncode == 0
    assert console("cache", "export", str(target), **recorded).returncode == 2
    nowhere = console("cache", "export", "/nonexistent/dir/x", **recorded)
    assert (nowhere.returncode, nowhere.stdout, nowhere.stderr.count("\n")) == (1, "", 1)
    assert "/nonexistent/dir/x cannot be written (No such file or directory)" in nowhere.stderr
    with sqlite3.connect(file) as connection:
        connection.execute(
            "UPDATE body SET bytes = zeroblob(length(bytes)) WHERE id IN (SELECT body FROM page WHERE symbol = 'US.AAPL')"
        )
    connection.close()
    damaged = console("cache", "verify", **recorded)
    assert damaged.returncode == 3
    assert "US.AAPL, next_key '', num 50, version 1: does not match its checksum" in damaged.stdout


@pytest.mark.needs("signals")
@pytest.mark.parametrize("command", COMMANDS)
def test_waiting_for_the_budget_is_said_and_ends_with_an_interrupt(
    command: str, opend: Simulator, tmp_path: Path
) -> None:
    environ = {**at(opend), "OPEND_SI_RATE": "1/3600", "OPEND_SI_HOME": str(tmp_path)}
    assert run_console(command, "get", "HK.00700", **environ).returncode == 0
    with running(command, "get", "HK.00700", **environ) as waiting:
        assert waiting.stderr is not None
        assert waiting.stderr.readline().startswith("waiting 3")
        waiting.send_signal(signal.SIGINT)
        told, _ = waiting.communicate(timeout=30)
    assert (waiting.returncode, told) == (130, "")
    assert len(opend.requests) == 1
