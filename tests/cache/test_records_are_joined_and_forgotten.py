"""Joining a record into another and forgetting a symbol change what they are asked for.

Nothing else that is there.
"""

import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

import futu_si
from opend_si.errors import CacheMiss, CacheVersionMismatch, InvalidArgument, ShortInterestWarning
from opend_si.history import upkeep
from opend_si.history.upkeep import prune as upkeep_prune
from opend_si.simulator import Simulator, Universe
from tests.cache.processes import OpenD
from tests.processes import COMMANDS, Run

CODES = ["HK.00700", "US.AAPL"]
Open = Callable[..., Any]


@pytest.fixture
def universe() -> Universe:
    return Universe(most_rows=130)


@pytest.fixture
def opend(universe: Universe) -> Iterator[Simulator]:
    with Simulator(universe) as simulator:
        yield simulator


@pytest.fixture
def at(opend: Simulator) -> Open:
    """A client with a record of its own."""
    return lambda path, mode="online": futu_si.Client(opend.host, opend.port, mode=mode, cache=path, max_age=0)


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    return tmp_path / "mine.sqlite3", tmp_path / "theirs.sqlite3"


def told(path: Path, codes: list[str] | None = None) -> dict[str, list[pd.DataFrame]]:
    """What a record answers of each symbol."""
    with futu_si.Client(mode="offline", cache=path) as client:
        names = codes or client.recorded().symbol.tolist()
        return {name: [client.history(name), client.revisions(name)] for name in names}


def assert_same(found: dict[str, list[pd.DataFrame]], expected: dict[str, list[pd.DataFrame]]) -> None:
    assert found.keys() == expected.keys()
    for name, frames in expected.items():
        for one, other in zip(found[name], frames, strict=True):
            assert_frame_equal(one, other)


def content(path: Path, symbol: str = "%") -> list[tuple[Any, ...]]:
    """Every row of the file of some symbols."""
    with closing(sqlite3.connect(path)) as connection:
        return [
            row
            for table in ("page", "past", "seal")
            for row in connection.execute(f"SELECT * FROM {table} WHERE symbol LIKE ?", (symbol,)).fetchall()
        ]


def grow(universe: Universe, client: Any, codes: list[str]) -> None:
    """New rows, and a value that was revised."""
    for code, field in ((code, "sharesShort" if code.startswith("US") else "aggregatedShort") for code in codes):
        universe.publish(code, 3)
        universe.revise(code, 5, **{field: 77})
    assert client.sync(codes).ok
    for code in codes:
        universe.publish(code)
    assert client.sync(codes).ok


def test_a_symbol_is_forgotten_and_no_other(at: Open, files: tuple[Path, Path], universe: Universe) -> None:
    path, _ = files
    with at(path) as client:
        client.sync([*CODES, "US.GME"])
        client.sync(["US.AAPL"], kind="daily_short_volume")
        grow(universe, client, ["US.AAPL"])
        others = content(path, "US.GME") + content(path, "HK.00700")
        with pytest.raises(CacheMiss, match=r"US\.TSLA: nothing is recorded"):
            client.delete(["US.AAPL", "US.TSLA"])
        assert client.delete(["US.AAPL"], kind="daily_short_volume") == 1
        assert len(client.history("US.AAPL")) == 134
        assert client.delete("US.AAPL") == 1
        assert content(path, "US.AAPL") == []
        assert content(path, "US.GME") + content(path, "HK.00700") == others
        with futu_si.Client(mode="offline", cache=path) as offline, pytest.raises(CacheMiss):
            offline.history("US.AAPL")
        assert client.sync(["US.AAPL"]).rows == 134  # the client that remembers it asks again
        assert client.revisions("US.AAPL").empty
    assert list(upkeep.verify(path)) == []


def test_what_is_not_here_comes_with_versions_and_moments(
    at: Open, files: tuple[Path, Path], universe: Universe
) -> None:
    mine, theirs = files
    with at(theirs) as client:
        client.sync(CODES)
        grow(universe, client, CODES)
    with at(mine) as client:
        client.sync(["US.GME"])
        before = content(mine)
        expected = {**told(theirs), **told(mine)}
        report = client.import_record(theirs)
        assert (report.taken, report.known, report.left_out) == (
            ["HK.00700 short_interest", "US.AAPL short_interest"],
            [],
            {},
        )
        assert_same(told(mine, [*expected]), expected)
        assert set(before) <= set(content(mine))
        after = content(mine)
        again = client.import_record(theirs)
        assert (again.taken, len(again.known), again.left_out) == ([], 2, {})
        assert content(mine) == after
        universe.revise("US.AAPL", 7, sharesShort=78)  # and it goes on from there
        assert client.sync(CODES).revised_rows == 1
        assert client.history("US.AAPL").shares_short.iloc[-8] == 78
    assert list(upkeep.verify(mine)) == []


def test_what_went_on_there_alone_is_taken_and_what_went_on_in_both_is_joined(
    at: Open, files: tuple[Path, Path], universe: Universe
) -> None:
    mine, theirs = files
    with at(theirs) as other, at(mine) as client:
        other.sync(CODES)
        client.import_record(theirs)
        grow(universe, other, CODES)
        assert client.import_record(theirs).taken == ["HK.00700 short_interest", "US.AAPL short_interest"]
        assert_same(told(mine), told(theirs))
        universe.revise("US.AAPL", 2, sharesShort=5)
        other.sync(["US.AAPL"])
        universe.publish("US.AAPL")
        universe.revise("US.AAPL", 3, sharesShort=6)
        client.sync(["US.AAPL"])
        known = client.history("US.AAPL").known_at
        report = client.import_record(theirs)
        assert (report.known, report.joined) == (["HK.00700 short_interest"], ["US.AAPL short_interest"])
        assert client.history("US.AAPL").shares_short.iloc[-4] == 6
        assert client.revisions("US.AAPL").after.tolist()[-2:] == [5, 6]
        assert (client.history("US.AAPL").known_at <= known).all()
        assert other.import_record(mine).taken == ["US.AAPL short_interest"]  # it has all that the other has
        assert_same(told(theirs), told(mine))
    assert list(upkeep.verify(mine)) == []


def test_a_second_import_does_not_grow_the_file(at: Open, files: tuple[Path, Path], universe: Universe) -> None:
    mine, theirs = files
    for path in files:
        universe.publish("US.AAPL")
        with at(path) as client:
            client.sync(CODES)
    with at(mine) as client:
        assert len(client.import_record(theirs).joined) == 2
        size, before = mine.stat().st_size, content(mine)
        for _ in range(3):
            assert len(client.import_record(theirs).known) == 2
        assert (mine.stat().st_size, content(mine)) == (size, before)


def test_what_is_imported_is_as_old_as_it_is(at: Open, files: tuple[Path, Path], universe: Universe) -> None:
    mine, theirs = files
    with at(theirs) as client:
        client.sync(["US.AAPL"])
    universe.publish("US.AAPL")
    with at(mine) as client:
        client.import_record(theirs)
        assert len(client.history("US.AAPL")) == 131


def test_what_is_no_record_or_is_damaged_is_refused_by_name(at: Open, files: tuple[Path, Path], tmp_path: Path) -> None:
    mine, theirs = files
    with at(theirs) as client:
        client.sync(CODES)
    with closing(sqlite3.connect(theirs)) as connection, connection:
        connection.execute(
            "UPDATE body SET bytes = x'00' WHERE id IN (SELECT body FROM page WHERE symbol = 'US.AAPL' AND next_key = '')"
        )
    with at(mine) as client:
        report = client.import_record(theirs)
        assert report.taken == ["HK.00700 short_interest"]
        assert "damaged" in report.left_out["US.AAPL short_interest"]
        with pytest.raises(InvalidArgument, match="itself"):
            client.import_record(mine)
        with pytest.raises(CacheMiss, match=r"none\.sqlite3"):
            client.import_record(tmp_path / "none.sqlite3")
        text = tmp_path / "text.sqlite3"
        text.write_text("no record\n" * 1000)
        with pytest.raises(CacheVersionMismatch, match=r"text\.sqlite3"):
            client.import_record(text)
        foreign = tmp_path / "foreign.sqlite3"
        with closing(sqlite3.connect(foreign)) as connection, connection:
            connection.execute("CREATE TABLE page (id INTEGER)")
        with pytest.raises(CacheVersionMismatch, match=r"foreign\.sqlite3"):
            client.import_record(foreign)
        assert told(mine).keys() == {"HK.00700"}


def both_went_on(at: Open, files: tuple[Path, Path], universe: Universe, codes: list[str] = CODES) -> None:
    """Two records, each of which has something that the other does not have."""
    for path in files:
        for code in codes:
            universe.publish(code)
        with at(path) as client:
            assert client.sync(codes).ok


def reasons(at: Open, files: tuple[Path, Path]) -> str:
    """Why US.AAPL is left out, whichever of two is joined into the other; nothing changes then."""
    found = set()
    for mine, theirs in (files, files[::-1]):
        before = content(mine)
        with at(mine) as client:
            report = client.import_record(theirs)
        found.add(report.left_out["US.AAPL short_interest"].replace("here", "there").split(",")[0])
        assert (report.taken, report.joined, content(mine)) == ([], [], before)
    return " | ".join(found)


def test_what_was_made_up_in_one_of_two_is_left_out(at: Open, files: tuple[Path, Path], universe: Universe) -> None:
    mine, theirs = files
    with at(theirs) as client:
        client.sync(["US.AAPL"])
    with OpenD(universe) as opend, futu_si.Client(opend.host, opend.port, mode="online", cache=mine) as client:
        client.sync(["US.AAPL"])
    assert "its rows are OpenD's in one record" in reasons(at, files)
    with (
        OpenD(universe) as opend,
        futu_si.Client(opend.host, opend.port, mode="online", cache=theirs, max_age=0) as client,
    ):
        universe.publish("US.AAPL")
        with pytest.warns(ShortInterestWarning, match="does not answer"):
            client.sync(["US.AAPL"])
    assert "its past has both made-up rows and OpenD's" in reasons(at, files)
    upkeep_prune(theirs, datetime.now(UTC) + timedelta(days=1))
    with futu_si.Client(mode="offline", cache=mine) as client:
        report = client.import_record(theirs)
        assert report.taken + report.joined == ["US.AAPL short_interest"]
        assert client.history("US.AAPL").attrs["origin"] == "opend"


@pytest.mark.parametrize("which", [0, 1])
def test_what_was_recorded_under_a_wrong_clock_is_left_out(
    at: Open, files: tuple[Path, Path], universe: Universe, which: int
) -> None:
    begun = time.time()
    for number, path in enumerate(files):
        with at(path) as client:
            for ahead in (3600, 0) if number == which else (0,):
                universe.publish("US.AAPL")
                with patch.object(time, "time", lambda ahead=ahead: begun + ahead):
                    client.sync(["US.AAPL"])
    assert "the clock was set back while it was recorded" in reasons(at, files)


def test_moments_that_are_still_to_come_are_not_joined(at: Open, files: tuple[Path, Path], universe: Universe) -> None:
    mine, theirs = files
    both_went_on(at, files, universe, ["US.AAPL"])
    later = time.time() + 3600
    with patch.object(time, "time", lambda: later), at(theirs) as client:
        universe.publish("US.AAPL")
        client.sync(["US.AAPL"])
    with at(mine) as client:
        assert "still to come" in client.import_record(theirs).left_out["US.AAPL short_interest"]
        with patch.object(time, "time", lambda: later + 1):
            assert client.import_record(theirs).joined == ["US.AAPL short_interest"]


def test_what_lost_something_to_damage_is_not_joined(at: Open, files: tuple[Path, Path], universe: Universe) -> None:
    _mine, theirs = files
    both_went_on(at, files, universe, ["US.AAPL"])
    with closing(sqlite3.connect(theirs)) as connection, connection:
        connection.execute("UPDATE body SET bytes = x'00' WHERE id IN (SELECT body FROM page WHERE next_key = '')")
    universe.publish("US.AAPL")
    with at(theirs) as client:
        client.sync(["US.AAPL"])  # it goes on from what is left
    assert "some of it was lost there to damage" in reasons(at, files)


def test_a_longer_record_that_lost_something_does_not_take_the_place_of_a_sound_one(
    at: Open, files: tuple[Path, Path], universe: Universe
) -> None:
    mine, theirs = files
    with at(theirs) as client:
        client.sync(["US.AAPL"])
    shutil.copy(theirs, mine)
    for version in (2, None):
        universe.publish("US.AAPL")
        with at(theirs) as client:
            client.sync(["US.AAPL"])
        with closing(sqlite3.connect(theirs)) as connection, connection:
            connection.execute(
                "UPDATE body SET bytes = x'00' WHERE id IN (SELECT body FROM page WHERE next_key = '' AND version = ?)",
                (version,),
            )
    assert list(upkeep.verify(theirs)) == []  # it goes on from what is left
    before = told(mine)
    with at(mine) as client:
        assert "lost there to damage" in client.import_record(theirs).left_out["US.AAPL short_interest"]
    assert_same(told(mine), before)


def test_what_another_machines_monotonic_clock_showed_means_nothing(
    at: Open, files: tuple[Path, Path], opend: Simulator
) -> None:
    mine, theirs = files
    with at(theirs) as client:
        client.sync(CODES)
    begun, requests = time.monotonic_ns(), len(opend.requests)
    with (
        patch.object(time, "monotonic_ns", lambda: begun + 10**18),  # this machine has been up for longer
        futu_si.Client(opend.host, opend.port, mode="online", cache=mine, max_age=3600) as client,
    ):
        client.import_record(theirs)
        assert client.sync(CODES).ok
        assert len(client.history("US.AAPL")) == 130
    assert len(opend.requests) == requests


def test_when_a_row_was_first_seen_comes_though_the_reply_is_known(files: tuple[Path, Path]) -> None:
    """The other saw the row first, in a version that was pruned since; all that is left of it was heard here, too."""
    mine, theirs = files
    universe = Universe(symbols=["US.AAPL"], most_rows=30)
    with Simulator(universe) as opend:

        def sync(path: Path) -> None:
            with futu_si.Client(opend.host, opend.port, mode="online", cache=path, max_age=0) as client:
                client.sync(["US.AAPL"])

        sync(theirs)
        universe.publish("US.AAPL")
        for path in (mine, theirs, mine):
            sync(path)
        upkeep_prune(theirs, datetime.now(UTC) + timedelta(days=1))
    known = {path: told(path)["US.AAPL"][0].known_at for path in files}
    assert (known[theirs].iloc[:-1] < known[mine].iloc[:-1]).all()
    with futu_si.Client(mode="online", cache=mine) as client:
        assert client.import_record(theirs).joined == ["US.AAPL short_interest"]
        found = told(mine)["US.AAPL"][0].known_at
        assert found.tolist() == [*known[theirs].iloc[:-1], known[mine].iloc[-1]]
        assert client.import_record(theirs).known == ["US.AAPL short_interest"]


def test_a_record_of_an_earlier_release_is_joined(files: tuple[Path, Path]) -> None:
    old = Path(__file__).parents[1] / "data" / "cache" / "pages-v1.sqlite3"
    with OpenD() as opend:
        for mine, theirs, is_old in ((*files, True), (*files[::-1], False)):
            mine.unlink(missing_ok=True)
            theirs.unlink(missing_ok=True)
            shutil.copy(old, mine if is_old else theirs)
            with futu_si.Client(opend.host, opend.port, mode="online", cache=theirs if is_old else mine) as client:
                client.sync(CODES)
            with futu_si.Client(mode="online", cache=mine) as client:
                assert len(client.import_record(theirs).joined) == 2
                assert len(client.import_record(theirs).known) == 2
                held = client.recorded().set_index("symbol")
            assert held.complete.all()
            assert held.rows.to_dict() == {code: len(opend.universe.rows(code) or ()) for code in CODES}
            assert list(upkeep.verify(mine)) == []


def test_an_import_that_is_killed_loses_nothing(at: Open, files: tuple[Path, Path], tmp_path: Path) -> None:
    codes = [f"US.T{number}" for number in range(30)]
    universe = Universe(symbols=codes, most_rows=130)
    with Simulator(universe) as opend:
        both_went_on(
            lambda path: futu_si.Client(opend.host, opend.port, mode="online", cache=path, max_age=0),
            files,
            universe,
            codes,
        )
    mine, theirs = files
    whole = tmp_path / "whole.sqlite3"
    shutil.copy(mine, whole)
    before = told(mine)
    with futu_si.Client(mode="online", cache=whole) as client:
        assert len(client.import_record(theirs).joined) == len(codes)
    after, seen = told(whole), set()
    command = [str(Path(sys.executable).with_name(COMMANDS[0])), "cache", "--cache", str(mine), "import", str(theirs)]
    for tenths in range(3, 13):
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
            with suppress(subprocess.TimeoutExpired):
                process.wait(tenths / 10)
            process.kill()
        assert list(upkeep.verify(mine)) == []
        for name, frames in told(mine).items():
            is_joined = frames[0].equals(after[name][0])
            seen.add(is_joined)
            assert_same({name: frames}, {name: (after if is_joined else before)[name]})
    with futu_si.Client(mode="online", cache=mine) as client:
        client.import_record(theirs)
    assert_same(told(mine), after)
    assert seen


def test_the_console_joins_and_forgets(console: Run, at: Open, files: tuple[Path, Path], universe: Universe) -> None:
    mine, theirs = files
    with at(theirs) as client:
        client.sync(CODES)
    asked = {"OPEND_SI_CACHE": str(mine)}
    done = console("cache", "import", str(theirs), **asked)
    assert (done.returncode, done.stdout) == (0, f"{theirs}: 2 records taken, 0 joined, 0 known, 0 left out\n")
    for path in files:
        universe.publish("HK.00700")
        with at(path) as client:
            client.sync(["HK.00700"])
    done = console("cache", "import", str(theirs), **asked)
    assert (done.returncode, done.stdout) == (0, f"{theirs}: 0 records taken, 1 joined, 1 known, 0 left out\n")
    with closing(sqlite3.connect(theirs)) as connection, connection:
        connection.execute(
            "UPDATE body SET bytes = x'00' WHERE id IN (SELECT body FROM page WHERE symbol = 'HK.00700')"
        )
    done = console("cache", "import", str(theirs), **asked)
    assert (done.returncode, done.stdout) == (3, f"{theirs}: 0 records taken, 0 joined, 1 known, 1 left out\n")
    assert done.stderr == "HK.00700 short_interest is left out: its record is damaged\n"
    assert console("cache", "delete", "US.AAPL", **asked).stdout == "1 record deleted\n"
    gone = console("cache", "delete", "US.AAPL", **asked)
    assert gone.returncode == 3
    assert "US.AAPL" in gone.stderr
