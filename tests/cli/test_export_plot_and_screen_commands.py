"""The console's `export`, `plot` and `screen`: real processes, data on stdout, notes on stderr."""

import io
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest

import futu_si
from opend_si.simulator import Simulator, Universe
from tests.cache.processes import OpenD
from tests.cli.test_no_number_is_cut import on_terminal
from tests.processes import COMMANDS, Run, at, run_console, without

SYMBOLS = ["HK.00001", "HK.00005", "HK.00700", "US.AAPL", "US.BRK.B", "US.GME"]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache with some symbols of both markets, among them numbers as large as they come."""
    universe = Universe(most_rows=60)
    for row, count in enumerate((1_234_567_890, 1_334_567_890)):
        universe.revise("HK.00005", row, aggregatedShort=count, aggregatedShortRatio=45.67)
        universe.revise("US.BRK.B", row, sharesShort=count, closePrice=734_850.25)
    file = tmp_path_factory.mktemp("recorded") / "pages.sqlite3"
    with OpenD(universe) as opend, futu_si.Client(opend.host, opend.port, mode="online", cache=file) as client:
        assert client.sync(SYMBOLS).ok
    return file


@pytest.fixture
def recorded(cache: Path) -> dict[str, str]:
    """An environment in which those are recorded."""
    return {"OPEND_SI_CACHE": str(cache)}


@pytest.fixture
def client(cache: Path) -> futu_si.Client:
    return futu_si.Client(mode="offline", cache=cache)


def assert_ended(done: "subprocess.CompletedProcess[str]", code: int, *told: str) -> None:
    """It ended with an exit code, nothing on stdout, and one line on stderr that tells why."""
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    for text in told:
        assert text in done.stderr


# export ---------------------------------------------------------------------------------------------------------------


def test_export_prints_the_files_it_wrote(
    console: Run, recorded: dict[str, str], client: futu_si.Client, tmp_path: Path
) -> None:
    root = tmp_path / "data"
    done = console("export", str(root), **recorded)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        str(root / f"market={market}" / "short_interest.parquet") for market in ("HK", "US")
    ]
    for file, market in zip(done.stdout.splitlines(), ("HK", "US"), strict=True):
        assert pq.read_table(file, partitioning=None).num_rows == len(client.panel(market=market)) == 180


def test_export_takes_a_format_a_market_and_a_moment(recorded: dict[str, str], tmp_path: Path) -> None:
    file = tmp_path / "market=US" / "short_interest.csv"
    done = run_console("futu-si", "export", str(tmp_path), "--format", "csv", "--market", "US", **recorded)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{file}\n", "")
    assert len(pd.read_csv(file)) == 180
    past = "export", f"file://{tmp_path}/past", "--as-of", "2001-01-01", "--market", "US"
    told = "US.AAPL, US.BRK.B, US.GME is not completely recorded"
    assert_ended(run_console("futu-si", *past, **recorded), 3, "futu-si: ", told)
    assert not (tmp_path / "past").exists()


def test_export_takes_a_kind(start: Callable[..., Simulator], tmp_path: Path) -> None:
    environ = {"OPEND_SI_MODE": "online", "OPEND_SI_HOME": str(tmp_path / "kept"), **at(start())}
    kind = ("--kind", "daily_short_volume")
    assert_ended(run_console("futu-si", "export", str(tmp_path), *kind, **environ), 3, "sync")
    assert run_console("futu-si", "sync", "US.AAPL", *kind, **environ).returncode == 0
    file = tmp_path / "market=US" / "daily_short_volume.parquet"
    done = run_console("futu-si", "export", str(tmp_path), *kind, **environ)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{file}\n", "")
    assert "total_shares_short" in pq.read_schema(file).names
    assert run_console("futu-si", "export", str(tmp_path / "short interest"), **environ).returncode == 3


def test_what_cannot_be_exported_is_one_line_and_an_exit_code(recorded: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    blocked = {**recorded, **without(tmp_path, "s3fs")}
    for path, options, environ, code, told in (
        (str(tmp_path / "file"), (), recorded, 1, f"{tmp_path}/file/market=HK/short_interest.parquet: "),
        ("gopher://x", (), recorded, 2, "gopher"),
        ("s3://bucket/x", (), blocked, 1, "s3fs"),
        (str(tmp_path / "new"), ("--as-of", "soon"), recorded, 2, "'soon'"),
        (str(tmp_path / "new"), (), {"OPEND_SI_CACHE": str(tmp_path / "none.sqlite3")}, 3, "sync"),
    ):
        assert_ended(run_console("moomoo-si", "export", path, *options, **environ), code, "moomoo-si: ", told)
    assert not (tmp_path / "new").exists()


# screen ---------------------------------------------------------------------------------------------------------------


def test_screen_gives_programs_all_columns(console: Run, recorded: dict[str, str], client: futu_si.Client) -> None:
    frame = client.screen("US", "days_to_cover", 2)
    done = console("screen", "--market", "US", "--by", "days_to_cover", "--top", "2", "--csv", **recorded)
    assert (done.returncode, done.stderr) == (0, "")
    found = pd.read_csv(io.StringIO(done.stdout))
    assert list(found) == list(frame)
    for name in found.select_dtypes("number"):
        assert found[name].tolist() == frame[name].tolist()
    told = console("screen", "--market", "US", "--by", "days_to_cover", "--top", "2", "--json", **recorded)
    rows = json.loads(told.stdout)
    assert [list(row) for row in rows] == [list(frame)] * 2
    assert [row["shares_short"] for row in rows] == frame["shares_short"].tolist()
    assert [row["date"] for row in rows] == frame["date"].dt.strftime("%Y-%m-%d").tolist()


def test_screen_is_a_table_in_a_pipe(recorded: dict[str, str], client: futu_si.Client) -> None:
    done = run_console("futu-si", "screen", "--market", "HK", "--top", "2", **recorded)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0] == "short interest of HK by change percent"
    assert [line.split()[0] for line in lines[-2:]] == client.screen("HK", top=2)["symbol"].tolist()


@pytest.mark.parametrize(
    ("market", "by", "heading"),
    [
        ("US", "change_percent", "symbol date published by change percent days between shares short change"),
        (
            "HK",
            "change_percent",
            "symbol date published by change percent days between aggregated short change",
        ),
        (
            "US",
            "avg_daily_share_volume",
            "symbol date published by avg daily share volume change percent days between shares short",
        ),
        (
            "HK",
            "last_close_price",
            "symbol date published by last close price change percent days between aggregated short",
        ),
    ],
)
def test_a_terminal_of_80_columns_shows_each_number_whole(
    recorded: dict[str, str], client: futu_si.Client, market: str, by: str, heading: str
) -> None:
    lines, _ = on_terminal("futu-si", "screen", "--market", market, "--by", by, width=80, **recorded)
    assert max(map(len, lines)) <= 80
    assert lines[0].rstrip() == f"short interest of {market} by {by.replace('_', ' ')}"
    *headings, units = lines[1:-3]
    assert sorted(" ".join(headings).split()) == sorted(heading.split())
    assert {*units.split()} <= {"shares", "%", "days", "USD", "HKD"}
    frame = client.screen(market, by)
    for line, row in zip(lines[-3:], frame.to_dict("records"), strict=True):
        symbol, day, public, ranked_by, *others = line.split()
        assert (symbol, day, public) == (row["symbol"], f"{row['date']:%Y-%m-%d}", f"{row['published_by']:%Y-%m-%d}")
        assert ranked_by == number(row[by])
        names = [name for name in row if name != by and number(row[name]) in others]
        assert len(others) == 3
        assert {"days_between", {"HK": "aggregated_short", "US": "shares_short"}[market]} <= {*names}


def test_a_screen_of_a_watch_list_lowest_first(
    console: Run, recorded: dict[str, str], client: futu_si.Client, tmp_path: Path
) -> None:
    (tmp_path / "list").write_text("US.GME # games\nUS.AAPL\n", encoding="utf-8")
    options = ("--from", str(tmp_path / "list"), "US.GME", "--by", "shares_short", "--ascending")
    done = console("screen", *options, "--csv", **recorded)
    assert (done.returncode, done.stderr) == (0, "")
    frame = client.screen(codes=["US.GME", "US.AAPL"], by="shares_short", ascending=True)
    assert [line.split(",")[0] for line in done.stdout.splitlines()[1:]] == frame["symbol"].tolist()
    assert console("screen", *options, **recorded).stdout.startswith(
        "short interest of US by shares short, lowest first\n"
    )
    none = console("screen", "US.GME", "--since", "2100-01-01", "--csv", **recorded)
    assert (none.returncode, none.stderr, len(none.stdout.splitlines())) == (0, "", 1)
    (tmp_path / "list").write_text("# nothing\n", encoding="utf-8")
    assert console("screen", "--from", str(tmp_path / "list"), **recorded).returncode == 2


def number(value: Any) -> str:
    return f"{value:,.2f}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)


def test_a_missing_number_is_a_dash(start: Callable[..., Simulator], tmp_path: Path) -> None:
    universe = Universe(most_rows=2)
    universe.revise("US.AAPL", 1, sharesShort=None)
    opend = start(universe=universe)
    file = tmp_path / "pages.sqlite3"
    with futu_si.Client(opend.host, opend.port, mode="online", cache=file) as online:
        online.sync(["US.AAPL", "US.GME"])
    done = run_console("futu-si", "screen", OPEND_SI_CACHE=str(file))
    assert (done.returncode, done.stderr) == (0, "")
    last = done.stdout.splitlines()[-1].split()
    assert (last[0], last[3], last[6]) == ("US.AAPL", "–", "–")


def test_what_cannot_be_screened_is_one_line_and_an_exit_code(recorded: dict[str, str], tmp_path: Path) -> None:
    nothing = {"OPEND_SI_CACHE": str(tmp_path / "none.sqlite3")}
    wrong: list[tuple[list[str], dict[str, str], int, str]] = [
        (["--market", "US", "--by", "symbol"], recorded, 2, "days_to_cover"),
        ([], recorded, 2, "name one market"),
        (["--market", "HK", "--as-of", "soon"], recorded, 2, "'soon'"),
        ([], nothing, 3, "sync"),
    ]
    for options, environ, code, told in wrong:
        assert_ended(run_console("moomoo-si", "screen", *options, **environ), code, "moomoo-si: ", told)
    for name, value in (("--market", "XX"), ("--top", "0")):
        done = run_console("moomoo-si", "screen", name, value, **recorded)
        assert (done.returncode, done.stdout) == (2, "")
        assert name in done.stderr
    past = run_console("moomoo-si", "screen", "--market", "US", "--as-of", "2001-01-01", "--csv", **recorded)
    assert_ended(past, 3, "moomoo-si: ", "US.AAPL, US.BRK.B, US.GME is not completely recorded")


# plot -----------------------------------------------------------------------------------------------------------------


def test_plot_draws_into_a_file(console: Run, opend: Simulator, tmp_path: Path) -> None:
    file = tmp_path / "chart.png"
    done = console("plot", "US.AAPL", "--out", str(file), OPEND_SI_MODE="online", **at(opend))
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.splitlines()[-1] == f"US.AAPL drawn to {file}"  # matplotlib may tell that it looks for fonts
    assert file.read_bytes().startswith(b"\x89PNG\r\n")
    assert len(opend.requests) == 5


def test_plot_draws_a_part_from_the_record(recorded: dict[str, str], tmp_path: Path) -> None:
    file = tmp_path / "chart.svg"
    part = ("--start", "2026-01-01", "--end", "2026-03-31", "--offline")
    done = run_console("futu-si", "plot", "US.AAPL", "--out", str(file), *part, **recorded)
    assert (done.returncode, done.stdout) == (0, "")
    assert file.read_bytes().startswith(b"<?xml")


def test_that_there_is_nothing_to_draw_is_said(recorded: dict[str, str], tmp_path: Path) -> None:
    file = tmp_path / "chart.png"
    limits = ("--start", "2030-01-01", "--end", "2031-01-01", "--offline")
    done = run_console("futu-si", "plot", "US.AAPL", "--out", str(file), *limits, **recorded)
    assert (done.returncode, done.stdout) == (0, "")
    told = [f"US.AAPL drawn to {file}", "OpenD has no rows for US.AAPL from 2030-01-01 until 2031-01-01"]
    assert done.stderr.splitlines()[-2:] == told
    done = run_console("futu-si", "plot", "US.AAPL", "--out", str(file), "--offline", **recorded)
    assert done.stderr == f"US.AAPL drawn to {file}\n"


def test_what_cannot_be_drawn_is_one_line_and_an_exit_code(opend: Simulator, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    chart = str(tmp_path / "chart.png")
    for arguments, code, told in (
        (("US.AAPL", "--out", "chart.gif"), 2, "chart.gif: a chart is written as .png, .svg, .pdf"),
        (("US.AAPL", "--out", "chart"), 2, ".png, .svg, .pdf"),
        (("AAPL", "--out", chart), 2, "'AAPL'"),
        (("US.AAPL", "--out", chart, "--start", "soon"), 2, "'soon'"),
        (("US.AAPL", "--out", chart, "--offline"), 3, "US.AAPL"),
        (("US.AAPL", "--out", chart, "--as-of", "2001-01-01"), 3, "As of 2001-01-"),
    ):
        environ = {"OPEND_SI_MODE": "online", **at(opend)}
        assert_ended(run_console("futu-si", "plot", *arguments, **environ), code, told)
    assert opend.requests == []
    target = str(tmp_path / "file" / "chart.png")
    assert_ended(run_console("futu-si", "plot", "US.AAPL", "--out", target, **at(opend)), 1, f"cannot write {target}: ")
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "home") == ["file"]


# All three ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("modules", "arguments", "extra"),
    [
        (["pyarrow"], ["export", "DATA"], "arrow"),
        (["fsspec"], ["export", "memory://DATA"], "arrow"),
        (["pyarrow"], ["screen", "--market", "US"], "arrow"),
        (["matplotlib"], ["plot", "US.AAPL", "--out", "DATA.png"], "plot"),
    ],
)
def test_an_extra_that_is_not_there_is_named_and_costs_no_request(
    modules: list[str], arguments: list[str], extra: str, opend: Simulator, recorded: dict[str, str], tmp_path: Path
) -> None:
    command = COMMANDS[len(arguments) % 2]
    given = [argument.replace("DATA", str(tmp_path / "data")) for argument in arguments]
    environ = {**recorded, **at(opend), "OPEND_SI_MODE": "refresh", **without(tmp_path, *modules)}
    assert_ended(run_console(command, *given, **environ), 1, f"{command}: ", *modules, f"opend-short-interest[{extra}]")
    assert opend.requests == []
    assert [path.name for path in tmp_path.iterdir()] == ["without"]


def test_help_tells_what_is_needed() -> None:
    for command, words in (
        ("export", ("Needs the extra arrow", "Nothing is fetched", "market=HK", "parquet|csv", "URL")),
        ("screen", ("Needs the extra arrow", "Nothing is fetched", "change_percent", "--market")),
        ("plot", ("Needs the extra plot", ".png, .svg or .pdf", "--offline")),
    ):
        done = run_console("futu-si", command, "--help")
        told = " ".join(done.stdout.split())
        assert (done.returncode, done.stderr) == (0, "")
        assert all(word in told for word in (*words, "an extra is not installed")), told
