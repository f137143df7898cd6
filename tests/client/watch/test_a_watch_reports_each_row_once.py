"""A watch reports every row that is published or revised once, whatever happens to it or to OpenD, for few requests.

The schedule is tried on a clock of the test's own, which jumps where the watch would sleep. All else is tried on real
processes. The oracle is what the test published.
"""

from __future__ import annotations

import json
import random
import shlex
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, date, datetime, timedelta
from datetime import time as time_of_day
from functools import partial
from pathlib import Path
from threading import Thread
from types import ModuleType
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from opend_si.client.watch import schedule
from opend_si.client.watch.places import Unreported
from opend_si.client.watch.watching import Line, Watch
from opend_si.dates.calendars import add_business_days, is_due, publication, published_by
from opend_si.history.joining import import_record
from opend_si.history.upkeep import delete, prune
from opend_si.simulator import Simulator, Universe
from opend_si_schema.calls import CALLS, SHORT_INTEREST
from opend_si_schema.definitions import Call
from tests.client.watch.conftest import Jumping, NotLoggedIn, named, read
from tests.processes import Run, at, running

TABLES = {table.market.prefix: table for table in SHORT_INTEREST.tables}
FIELD = {"HK": "aggregatedShort", "US": "sharesShort"}
COLUMN = {"HK": "aggregated_short", "US": "shares_short"}


def due_days(prefix: str, start: date) -> Iterator[date]:
    day = start
    while True:
        if is_due(TABLES[prefix], day):
            yield day
        day += timedelta(days=1)


@pytest.mark.parametrize("prefix", ["US", "HK"])
def test_between_publications_it_sleeps_and_one_symbol_asks_for_all(
    prefix: str, start: Callable[..., Simulator], make: Callable[..., Watch], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schedule, "POLL", 3 * 3600.0)
    symbols = [
        f"{prefix}.{name}" for name in (["00700", "00001", "00005"] if prefix == "HK" else ["AAPL", "GME", "AMD"])
    ]
    table, market = TABLES[prefix], TABLES[prefix].market
    zone = ZoneInfo(market.timezone)
    opend = start(universe=Universe(symbols=symbols, most_rows=1))
    # All that is recorded was checked today; the clock begins in the future, between two publications.
    days = due_days(prefix, datetime.now(UTC).date() + timedelta(days=10))
    last, coming = next(days), next(days)
    for symbol in symbols:
        while str((opend.universe.rows(symbol) or ())[0].timestampStr) < str(last):
            opend.universe.publish(symbol)
    begin = add_business_days(market, published_by(table, last), 2)  # it is over: one day of margin
    public = published_by(table, coming)
    clock = Jumping(datetime.combine(begin, time_of_day(12), zone).astimezone(UTC))
    comes = datetime.combine(public, time_of_day(17), zone)
    clock.events += [(comes, partial(opend.universe.publish, symbol)) for symbol in symbols]
    lines: list[Line] = []
    watching = make(opend, symbols, lines, clock=clock)
    looks: list[tuple[datetime, int]] = []
    while clock.now() < datetime.combine(public, time_of_day(23), zone):
        before = len(opend.requests)
        watching.look()
        looks.append((clock.now(), len(opend.requests) - before))
        clock.sleep_until(watching.next_look())
    assert named(lines) == [(symbol, str(coming), "new") for symbol in symbols]
    opens = datetime.combine(add_business_days(market, publication(table, coming)[0], -1), time_of_day(), zone)
    first, *others = looks
    assert first[1] == len(symbols)
    quiet = [count for moment, count in others if moment < opens]
    waiting = [count for moment, count in others if opens <= moment < comes]
    (found, *after) = [count for moment, count in others if moment >= comes]
    assert sum(quiet) <= len(symbols) * ((opens - first[0]).days // 7)
    assert set(waiting) == {1}  # the fewest that can notice: one request
    since = max(opens, first[0])
    assert len(waiting) >= (comes - since) // timedelta(seconds=schedule.POLL) - 1  # it never looks away for longer
    assert found == len(symbols)
    assert sum(after) == 0


def test_it_reports_once_through_restarts_revisions_and_other_recorders(
    start: Callable[..., Simulator], make: Callable[..., Watch], one_face: ModuleType, record: dict[str, Any]
) -> None:
    chance = random.Random(20)
    symbols = ["HK.00005", "HK.00700", "US.AAPL", "US.GME"]
    opend = start(universe=Universe(symbols=symbols, most_rows=60))
    lines: list[Line] = []
    watching = make(opend, symbols, lines, poll=0.0)
    watching.look()
    assert lines == []  # what was there before is no news
    expected: list[tuple[str, str, str, Any]] = []
    with one_face.Client(port=opend.port, mode="refresh", **record) as other:
        for _ in range(40):
            symbol = chance.choice(symbols)
            field = FIELD[symbol[:2]]
            index = chance.randrange(5)
            match chance.choice(("publish", "revise", "restart", "other", "look")):
                case "publish":
                    opend.universe.publish(symbol)
                    row = (opend.universe.rows(symbol) or ())[0]
                    expected.append((symbol, row.timestampStr, "new", getattr(row, field)))
                case "revise":
                    opend.universe.revise(symbol, index, **dict[str, Any]({field: chance.randrange(10**6)}))
                    row = (opend.universe.rows(symbol) or ())[index]
                    expected.append((symbol, row.timestampStr, "revised", getattr(row, field)))
                case "restart":
                    watching = make(opend, symbols, lines, poll=0.0)
                    continue
                case "other":
                    other.sync([symbol])
                    continue
            watching.look()
    found = [(*entry, line["after"][COLUMN[entry[0][:2]]]) for entry, line in zip(named(lines), lines, strict=True)]
    assert found == expected


def test_a_line_that_could_not_be_reported_comes_again_and_no_other(
    start: Callable[..., Simulator], make: Callable[..., Watch]
) -> None:
    opend = start(universe=Universe(symbols=["US.AAPL"], most_rows=5))
    lines: list[Line] = []
    failures = [True, False, True, False, False]

    def report(line: Line, noted: Callable[[], None]) -> None:
        is_confirmed = len(lines) % 2 == 0  # else it is noted before, as what is printed
        if not is_confirmed:
            noted()
        if failures.pop(0):
            raise Unreported("the mail server is away")
        if is_confirmed:
            noted()
        lines.append(line)

    notes: list[str] = []
    watching = make(opend, ["US.AAPL"], lines, notes, report=report, poll=0.0)
    watching.look()
    opend.universe.publish("US.AAPL", 3)
    for _ in range(3):
        watching.look()
        if watching.held_up_by:
            assert (watching.next_look() - datetime.now(UTC)).total_seconds() <= schedule.RETRY
    assert [line["date"] for line in lines] == sorted(line["date"] for line in lines)
    assert len(named(lines)) == len(set(named(lines))) == 3
    assert notes == ["the mail server is away"]  # once, until it changes
    assert watching.held_up_by is None


def test_what_is_pruned_deleted_or_imported_moves_no_place(
    start: Callable[..., Simulator],
    make: Callable[..., Watch],
    one_face: ModuleType,
    record: dict[str, Any],
    tmp_path: Path,
) -> None:
    opend = start(universe=Universe(symbols=["US.AAPL"], most_rows=60))
    lines: list[Line] = []
    watching = make(opend, ["US.AAPL"], lines, poll=0.0)
    theirs = {**record, "cache": tmp_path / "theirs.sqlite3"}

    def revised(*values: int, row: int = 2) -> list[int]:
        """Which values are reported of those that a row is revised to."""
        lines.clear()
        for value in values:
            opend.universe.revise("US.AAPL", row, sharesShort=value)
            watching.look()
        return [line["after"]["shares_short"] for line in lines]

    with one_face.Client(port=opend.port, mode="refresh", **theirs) as other:
        other.sync(["US.AAPL"])
        watching.look()
        assert revised(100, 101, 102) == [100, 101, 102]
        prune(record["cache"], datetime.now(UTC) + timedelta(days=1))
        assert revised(200, 201) == [200, 201]
        delete(record["cache"], ["US.AAPL"], {SHORT_INTEREST.proto_id})
        watching.look()
        assert revised(300, 301) == [300, 301]
        for value in (11, 12):
            opend.universe.revise("US.AAPL", 4, sharesShort=value)
            other.sync(["US.AAPL"])
        assert revised(13, row=3) == [13, 12]
        assert import_record(record["cache"], theirs["cache"]).joined
        assert revised(14, row=3) == [14]


def test_a_state_that_counts_revisions_is_read_as_the_place_that_it_is(
    start: Callable[..., Simulator], make: Callable[..., Watch], record: dict[str, Any], tmp_path: Path
) -> None:
    opend = start(universe=Universe(symbols=["US.AAPL"], most_rows=60))
    lines: list[Line] = []
    watching = make(opend, ["US.AAPL"], lines, poll=0.0)
    watching.look()
    for value in (100, 101, 102):
        opend.universe.revise("US.AAPL", 2, sharesShort=value)
        watching.look()
    newest = (opend.universe.rows("US.AAPL") or ())[0].timestampStr

    def found(count: int) -> list[int]:
        lines.clear()
        (tmp_path / "watch.json").write_text(json.dumps({"short_interest US.AAPL": [newest, count]}))
        watching.look()
        watching.look()
        return [line["after"]["shares_short"] for line in lines]

    assert [found(count) for count in range(5)] == [[100, 101, 102], [101, 102], [102], [], []]
    prune(record["cache"], datetime.now(UTC) + timedelta(days=1))
    opend.universe.revise("US.AAPL", 2, sharesShort=103)
    assert found(3) == [103]


def test_a_refusal_that_passes_is_no_answer(make: Callable[..., Watch]) -> None:
    symbols = ["US.AAPL", "US.GME"]
    notes: list[str] = []
    with NotLoggedIn(Universe(symbols=symbols, most_rows=5)) as opend:
        clock = Jumping(datetime.now(UTC))
        watching = make(opend, symbols, [], notes, poll=3600.0, clock=clock)
        for _ in range(4):
            watching.look()
            assert watching.held_up_by is not None
            assert watching.next_look() - clock.now() == timedelta(seconds=schedule.RETRY)
            clock.sleep_until(watching.next_look())
        assert {request.symbol for request in opend.requests} == set(symbols)  # none waits for the other
        opend.is_refusing = False
        seen = len(opend.requests)
        watching.look()
        assert watching.held_up_by is None
        assert len(opend.requests) == seen + 2


def test_a_failing_report_costs_no_request(start: Callable[..., Simulator], make: Callable[..., Watch]) -> None:
    opend = start(universe=Universe(symbols=["US.AAPL", "US.GME"], most_rows=5))

    def report(_line: Line, _noted: Callable[[], None]) -> None:
        raise Unreported("the mail server is away")

    clock = Jumping(datetime.now(UTC))
    begun = clock.now()
    watching = make(opend, ["US.AAPL", "US.GME"], [], report=report, poll=3600.0, clock=clock)
    watching.look()
    opend.universe.publish("US.AAPL")
    seen = len(opend.requests)
    while clock.now() - begun < timedelta(hours=3):
        clock.sleep_until(watching.next_look())
        watching.look()
    assert len(opend.requests) - seen == 3 * 2


def test_a_clock_that_is_set_back_stops_nothing(start: Callable[..., Simulator], make: Callable[..., Watch]) -> None:
    opend = start(universe=Universe(symbols=["US.AAPL"], most_rows=5))
    lines: list[Line] = []
    clock = Jumping(datetime.now(UTC))
    watching = make(opend, ["US.AAPL"], lines, poll=3600.0, clock=clock)
    watching.look()
    opend.universe.publish("US.AAPL")
    clock.at -= timedelta(days=3)
    watching.look()
    assert len(lines) == 1

    class SetBack(schedule.Clock):
        times = 0

        def now(self) -> datetime:
            self.times += 1
            return super().now() - timedelta(days=self.times > 1)

    sleeping = Thread(target=SetBack().sleep_until, args=(datetime.now(UTC) + timedelta(seconds=0.1),), daemon=True)
    sleeping.start()
    sleeping.join(20)
    assert not sleeping.is_alive()


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.name)
def test_every_kind_can_be_watched(start: Callable[..., Simulator], make: Callable[..., Watch], call: Call) -> None:
    opend = start(universe=Universe(symbols=["US.AAPL", "HK.00005"], most_rows=5))
    lines: list[Line] = []
    watching = make(opend, ["US.AAPL", "HK.00005"], lines, kind=call.name, poll=0.0)
    watching.look()
    opend.universe.publish("HK.00005", call=call)
    opend.universe.publish("US.AAPL", call=call)
    watching.look()
    watching.look()
    assert [(line["symbol"], line["kind"], line["what"]) for line in lines] == [
        ("US.AAPL", call.name, "new"),
        ("HK.00005", call.name, "new"),
    ]
    for line in lines:
        newest = (opend.universe.rows(line["symbol"], call) or ())[0]
        assert line["after"]["timestamp"] == newest.timestamp


def test_processes_that_are_killed_and_an_opend_that_goes_report_each_row_once(tmp_path: Path) -> None:
    universe = Universe(symbols=["US.AAPL", "HK.00005"], most_rows=60)
    environ = {"OPEND_SI_HOME": str(tmp_path / "kept")}
    command = ("watch", "US.AAPL", "HK.00005", "--poll", "0.05")
    told = []

    def published(symbol: str) -> str:
        universe.publish(symbol)
        return str((universe.rows(symbol) or ())[0].timestampStr)

    with ExitStack() as first:
        opend = first.enter_context(Simulator(universe))
        port = opend.port
        with running("futu-si", *command, **environ, **at(opend)) as watching:
            opend.wait_for_requests(5)
            for symbol in ("US.AAPL", "HK.00005", "US.AAPL"):
                day = published(symbol)
                told.append(read(watching))
                assert (told[-1]["symbol"], told[-1]["date"], told[-1]["what"]) == (symbol, day, "new")
            watching.kill()  # right behind a line
            rest = watching.stdout.read() if watching.stdout else ""
        assert rest == ""
        missed = published("HK.00005")
        with running("moomoo-si", *command, **environ, **at(opend)) as watching:
            told.append(read(watching))
            assert (told[-1]["symbol"], told[-1]["date"]) == ("HK.00005", missed)
            seen = len(opend.requests)
            opend.wait_for_requests(seen + 4)
            first.close()
            assert watching.stderr is not None
            away = watching.stderr.readline()
            assert f"127.0.0.1:{port}" in away
            later = published("US.AAPL")
            with Simulator(universe, port=port):
                told.append(read(watching))
                assert (told[-1]["symbol"], told[-1]["date"]) == ("US.AAPL", later)
                watching.send_signal(signal.SIGTERM)
                rest, notes = watching.communicate(timeout=30)
            assert (watching.returncode, rest) == (0, "")
            assert "goes on where it was" in notes
    assert len({(line["symbol"], line["date"]) for line in told}) == len(told)


def test_ctrl_c_ends_it_while_it_sleeps(opend: Simulator, tmp_path: Path) -> None:
    environ = {"OPEND_SI_HOME": str(tmp_path / "kept"), **at(opend)}
    with running("futu-si", "watch", "HK.02840", "--poll", "86400", **environ) as watching:
        opend.wait_for_requests(1)
        watching.send_signal(signal.SIGINT)
        rest, notes = watching.communicate(timeout=30)
    assert (watching.returncode, rest, notes.count("\n")) == (130, "", 1)


def test_a_command_gets_each_line_and_failing_is_tried_again(console: Run, tmp_path: Path) -> None:
    with Simulator(Universe(symbols=["US.AAPL"], most_rows=5)) as opend:
        environ = {"OPEND_SI_HOME": str(tmp_path / "kept"), **at(opend)}
        codes = tmp_path / "codes.txt"
        codes.write_text("# mine\nUS.AAPL\n")
        once = ("watch", "--from", str(codes), "--poll", "1", "--once")
        assert console(*once, **environ).returncode == 0
        opend.universe.publish("US.AAPL", 2)
        failing = console(*once, "--run", f"{shlex.quote(sys.executable)} -c 'import sys; sys.exit(3)'", **environ)
        assert (failing.returncode, failing.stdout) == (1, "")
        assert "exit code 3" in failing.stderr
        done = console(*once, "--run", f"cat >> {shlex.quote(str(tmp_path))}/lines", **environ)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        lines = [json.loads(line) for line in (tmp_path / "lines").read_text().splitlines()]
        assert [line["what"] for line in lines] == ["new", "new"]
        assert console(*once, **environ).stdout == ""


def test_two_watches_of_one_state_do_not_share_a_row(opend: Simulator, console: Run, tmp_path: Path) -> None:
    environ = {"OPEND_SI_HOME": str(tmp_path / "kept"), **at(opend)}
    (tmp_path / "hold").touch()
    folder = shlex.quote(str(tmp_path))
    wait = f"while [ -e {folder}/hold ]; do sleep 0.05; done"
    assert console("watch", "US.AAPL", "--once", **environ).returncode == 0
    opend.universe.publish("US.AAPL")
    once = ("watch", "US.AAPL", "--once", "--poll", "1")
    with running("futu-si", *once, "--run", f"touch {folder}/begun; {wait}", **environ) as first:
        while not (tmp_path / "begun").exists():
            assert first.poll() is None
        second = console(*once, **environ)
        assert (second.returncode, second.stdout) == (1, "")
        assert "another watch is at work" in second.stderr
        assert "--state" in second.stderr
        (tmp_path / "hold").unlink()
        assert first.wait(timeout=30) == 0
    own = console(*once, "--state", str(tmp_path / "own.json"), **environ)
    assert (own.returncode, own.stdout) == (0, "")  # it begins now
    assert console(*once, **environ).stdout == ""


def test_what_is_wrong_is_named(opend: Simulator, console: Run, tmp_path: Path) -> None:
    environ = {"OPEND_SI_HOME": str(tmp_path / "kept"), **at(opend)}
    assert console("watch", **environ).returncode == 2
    wrong = console("watch", "US.AAPL", "HK.700", **environ)
    assert wrong.returncode == 2
    assert "HK.00700" in wrong.stderr
    assert opend.requests == []
    foreign = tmp_path / "notes.json"
    for text in ('{"some": "thing"}', "[1, 2]", "no JSON"):
        foreign.write_text(text)
        refused = console("watch", "US.AAPL", "--once", "--state", str(foreign), **environ)
        assert refused.returncode == 2
        assert str(foreign) in refused.stderr
        assert foreign.read_text() == text
    unknown = console("watch", "US.NONE", "US.AAPL", "--once", **environ)
    assert unknown.returncode == 0
    assert "US.NONE" in unknown.stderr
    nowhere = console("watch", "US.AAPL", "--once", "--state", "/proc/none/x.json", **environ)
    assert nowhere.returncode == 3
    assert "/proc/none/x.json" in nowhere.stderr
