"""What the console prints: whole numbers on any terminal, and JSON as programs expect it."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from opend_si.simulator import Simulator, Universe
from tests.processes import Run, Terminal, at


@pytest.fixture
def environ(start: Callable[..., Simulator], tmp_path: Path) -> dict[str, str]:
    """An environment that records, and asks a simulator with numbers as large as they come."""
    universe = Universe(most_rows=4)
    universe.revise("US.AAPL", 0, sharesShort=1_234_567_890, avgDailyShareVolume=9_876_543_210, closePrice=734_850.25)
    universe.revise("HK.00005", 0, closePrice=None)
    home = {"OPEND_SI_MODE": "online", "OPEND_SI_HOME": str(tmp_path / "kept")}
    return {**home, **at(start(universe=universe))}


def on_terminal(command: str, *arguments: str, width: int, **environ: str) -> tuple[list[str], list[str]]:
    """The lines that a terminal shows, and those on stderr."""
    script = str(Path(sys.executable).with_name(command))
    settings = {**os.environ, **environ, "TERM": "xterm"}
    settings.pop("COLUMNS", None)
    with closing(Terminal()) as terminal:
        import termios

        termios.tcsetwinsize(terminal.theirs, (24, width))
        command_line = [script, *arguments]
        with subprocess.Popen(
            command_line, stdout=terminal.theirs, stderr=subprocess.PIPE, env=settings, text=True
        ) as process:
            terminal.begun()
            told = terminal.shown()
            assert process.stderr is not None
            notices = process.stderr.read().splitlines()
    assert process.returncode == 0
    return told.splitlines(), notices


ASKED = [
    ["get", "US.AAPL", "--num", "3"],
    ["get", "HK.00005", "--num", "3"],
    ["get", "HK.00005", "--num", "3", "--kind", "daily_short_volume"],
    ["get", "US.AAPL", "--num", "3", "--kind", "daily_short_volume"],
    ["history", "US.AAPL"],
    ["history", "US.AAPL", "--kind", "daily_short_volume"],
]
# The headings of columns that no terminal is too narrow for.
MOST = 3
# What is left out before anything else is.
LEAST = ["known at", "last close price"]
UNITS = {"shares", "%", "USD", "HKD", "days"}


@pytest.mark.parametrize("arguments", ASKED, ids=" ".join)
def test_a_terminal_shows_each_number_and_date_whole(
    console: Run, environ: dict[str, str], arguments: list[str]
) -> None:
    """Every column that is shown is whole; those that are not are the least, and are named on stderr."""
    piped = console(*arguments, **environ).stdout.splitlines()
    for width in (40, 60, 80, 120, 250):
        assert_whole(width, piped, *on_terminal("futu-si", *arguments, width=width, **environ))


def assert_whole(width: int, piped: list[str], shown: list[str], notices: list[str]) -> None:
    """A terminal of a width shows of what a pipe gets as much as fits."""
    title, heading, *rows = piped
    columns = columns_of(heading, rows)
    assert shown[0] == title
    left_out = (
        next((line for line in notices if "not shown in" in line), "").partition(" columns: ")[2].partition(".")[0]
    )
    out = left_out.split(", ") if left_out else []
    kept = [name for name in columns if name not in out]
    assert [*columns][:MOST] == kept[:MOST]
    assert [line.split() for line in shown[-len(rows) :]] == [
        " ".join(columns[name][place] for name in kept).split() for place in range(len(rows))
    ]
    *folded, units = [line.split() for line in shown[1 : -len(rows)]]
    assert sorted(word for line in folded for word in line) == sorted(" ".join(kept).split())
    assert {*units} <= UNITS
    assert units
    assert "…" not in "".join(shown)
    # It fits, or there is nothing more to leave out; nothing is folded or left out that need not be.
    assert max(map(len, shown[1:])) <= width or len(kept) == MOST
    if out:
        assert len(folded) > 1 or len(kept) == MOST
        assert [name for name in out if name in LEAST] == [name for name in LEAST if name in columns][: len(out)]
    assert (len(folded) == 1) == (max(map(len, (heading, *rows))) <= width)


def columns_of(heading: str, rows: list[str]) -> dict[str, list[str]]:
    """The columns of a table that a pipe got, by their headings: two blanks part them, one is within."""
    names = re.split(r" {2,}", heading)
    cells = [re.split(r" {2,}", row) for row in rows]
    return {name: [row[place] for row in cells] for place, name in enumerate(names)}


def test_revisions_are_whole_on_a_narrow_terminal(
    console: Run, start: Callable[..., Simulator], tmp_path: Path
) -> None:
    opend = start()
    environ = {"OPEND_SI_MODE": "refresh", "OPEND_SI_HOME": str(tmp_path / "kept"), **at(opend)}
    assert console("get", "US.AAPL", **environ).returncode == 0
    opend.universe.revise("US.AAPL", 0, avgDailyShareVolume=9_876_543_210)
    assert console("get", "US.AAPL", **environ).returncode == 0
    row = ["2026-04-30", "avg_daily_share_volume", "31204052", "9876543210"]
    shown, _ = on_terminal("futu-si", "revisions", "US.AAPL", width=30, **environ)
    assert shown[-1].split() == row  # what changed, from what to what: all of it, past the edge
    shown, notices = on_terminal("futu-si", "revisions", "US.AAPL", width=80, **environ)
    *same, day, time = shown[-1].split()
    assert (same, notices) == (row, [])
    assert_is_now(f"{day} {time}", "%Y-%m-%d %H:%M:%SZ")


def assert_is_now(told: str, form: str) -> None:
    """It is a moment of this test, in UTC."""
    moment = datetime.strptime(told, form).replace(tzinfo=UTC)
    assert timedelta(minutes=-1) < moment - datetime.now(UTC) < timedelta(minutes=1)


def test_a_moment_tells_its_zone_on_any_clock(console: Run, environ: dict[str, str]) -> None:
    elsewhere = {**environ, "TZ": "Asia/Hong_Kong"}
    table = console("history", "US.AAPL", **elsewhere).stdout
    assert_is_now(" ".join(table.splitlines()[-1].split()[-2:]), "%Y-%m-%d %H:%M:%SZ")
    rows = json.loads(console("history", "US.AAPL", "--json", **elsewhere).stdout)
    assert_is_now(rows[-1]["known_at"], "%Y-%m-%dT%H:%M:%S.%fZ")
    assert re.fullmatch(r".*\.\d{3}Z", rows[-1]["known_at"])
    csv = console("history", "US.AAPL", "--csv", **elsewhere).stdout
    assert csv.splitlines()[-1].endswith(f",{rows[-1]['known_at']}")  # JSON and CSV write moments alike


def test_json_has_the_shortest_numbers_days_as_days_and_null(
    console: Run, start: Callable[..., Simulator], tmp_path: Path
) -> None:
    universe = Universe(most_rows=2)
    universe.revise("US.AAPL", 1, closePrice=135.77, lastClosePrice=0.1 + 0.2, daysToCover=None, sharesShort=None)
    universe.revise("US.AAPL", 0, closePrice=135.77, sharesShort=2**53 + 1)
    environ = {"OPEND_SI_MODE": "refresh", "OPEND_SI_HOME": str(tmp_path / "kept"), **at(start(universe=universe))}
    told = console("history", "US.AAPL", "--json", **environ).stdout
    older, newer = json.loads(told)
    days = [row.timestampStr for row in universe.rows("US.AAPL") or ()]
    assert [newer["date"], older["date"]] == days
    assert '"close_price": 135.77,' in told
    assert '"last_close_price": 0.30000000000000004,' in told
    assert (older["days_to_cover"], older["shares_short"], newer["shares_short"]) == (None, None, 2**53 + 1)
    ranked = console("screen", "--by", "close_price", "--json", OPEND_SI_HOME=environ["OPEND_SI_HOME"]).stdout
    (latest,) = json.loads(ranked)
    assert (latest["symbol"], latest["date"], latest["known_at"]) == ("US.AAPL", days[0], newer["known_at"])
    assert '"close_price": 135.77,' in ranked
    assert latest["change"] is None
    universe.revise("US.AAPL", 0, closePrice=None, sharesShort=5)
    assert console("history", "US.AAPL", **environ).returncode == 0
    revised = json.loads(console("revisions", "US.AAPL", "--json", **environ).stdout)
    assert [[row[name] for name in ("date", "column", "before", "after")] for row in revised] == [
        [days[0], "shares_short", 2**53 + 1, 5],
        [days[0], "close_price", 135.77, None],
    ]
    assert {row["seen_at"][-1] for row in revised} == {"Z"}


def test_json_of_no_rows_is_an_empty_list(console: Run, environ: dict[str, str]) -> None:
    assert console("history", "US.AAPL", "--start", "2030-01-01", "--json", **environ).stdout == "[]\n"
    assert console("revisions", "US.AAPL", "--json", **environ).stdout == "[]\n"
