"""What a simulator sent is reported under its name, and beside what OpenD sends: each row of each is reported once.

OpenD and the simulator answer at one port in turn, as where somebody tries the watch before OpenD is there. The oracle
is what each of them published.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from opend_si.client.watch.watching import Line, Watch
from opend_si.simulator import Simulator, Universe
from tests.cache.processes import OpenD
from tests.client.watch.conftest import Jumping, gateway, read
from tests.processes import Run, at, running

CODE = "US.AAPL"
KINDS = {"opend": OpenD, "simulator": Simulator}
Told = tuple[str, str, str]


class Port:
    """One port at which OpenD and a simulator answer in turn, each with rows of its own. The simulator is ahead."""

    def __init__(self) -> None:
        self.universes = {"opend": Universe(1, [CODE], 60), "simulator": Universe(2, [CODE], 60)}
        self.universes["simulator"].publish(CODE, 7)
        self._port = 0

    @contextmanager
    def answers(self, origin: str) -> Iterator[Simulator]:
        with KINDS[origin](self.universes[origin], port=self._port) as server:
            self._port = server.port
            yield server

    def published(self, origin: str) -> Told:
        self.universes[origin].publish(CODE)
        return origin, self._day(origin, 0), "new"

    def revised(self, origin: str, value: int) -> Told:
        self.universes[origin].revise(CODE, 3, sharesShort=value)
        return origin, self._day(origin, 3), "revised"

    def rows(self, origin: str) -> dict[str, int]:
        return {str(row.timestampStr): row.sharesShort for row in self.universes[origin].rows(CODE) or ()}

    def _day(self, origin: str, index: int) -> str:
        return str((self.universes[origin].rows(CODE) or ())[index].timestampStr)


def named(lines: list[Line]) -> list[Told]:
    return [(line["origin"], f"{line['date']:%Y-%m-%d}", line["what"]) for line in lines]


def told(text: str) -> list[Told]:
    lines = [json.loads(line) for line in text.splitlines()]
    return [(line["origin"], line["date"], line["what"]) for line in lines]


def test_each_row_of_each_is_reported_once_whoever_came_between(console: Run, tmp_path: Path) -> None:
    port = Port()

    def look(origin: str) -> list[Told]:
        with port.answers(origin) as server:
            done = console(
                "watch", CODE, "--once", "--poll", "0.01", OPEND_SI_HOME=str(tmp_path / "kept"), **at(server)
            )
        assert done.returncode == 0, done.stderr
        return told(done.stdout)

    assert look("opend") == []
    first = port.published("opend")
    assert look("opend") == [first]
    assert look("simulator") == []  # it begins there: what was there before is no news
    made_up = port.published("simulator")
    missed = [port.published("opend"), port.published("opend")]
    assert look("simulator") == [made_up]
    assert look("opend") == missed
    revised = [port.revised("opend", 11), port.revised("simulator", 12)]
    assert look("simulator") == revised[1:]
    assert look("simulator") == []
    later = port.published("opend")
    assert look("opend") == [revised[0], later]
    assert look("opend") == look("simulator") == look("opend") == []


@pytest.mark.filterwarnings("ignore:.*What is recorded does not answer for it")
def test_in_any_order(make: Callable[..., Watch]) -> None:
    chance = random.Random(7)
    port, lines = Port(), list[Line]()
    seen: dict[str, dict[str, int]] = {}
    expected: list[tuple[str, str, str, int]] = []
    origin, counts = "opend", Counter[str]()
    for step in range(60):
        other = chance.choice(list(KINDS))
        match chance.choice(("change", "publish", "revise", "look", "look")):
            case "change":
                origin = other
            case "publish":
                port.published(other)
            case "revise":
                port.revised(other, 1000 + step)
            case "look":
                with port.answers(origin) as server:
                    make(server, [CODE], lines, poll=0.0).look()
                now = port.rows(origin)
                before = seen.get(origin, now)
                expected += [(origin, day, "revised", now[day]) for day in before if now[day] != before[day]]
                expected += [(origin, day, "new", now[day]) for day in sorted(now) if day not in before]
                counts[origin] += origin in seen
                seen[origin] = now
                found = [(*one, line["after"]["shares_short"]) for one, line in zip(named(lines), lines, strict=True)]
                assert sorted(found) == sorted(expected)
    assert min(counts[origin] for origin in KINDS) > 3
    assert {one[::2] for one in found} == {(origin, what) for origin in KINDS for what in ("new", "revised")}


def test_it_notices_while_it_runs_that_another_answers(tmp_path: Path) -> None:
    port = Port()
    with ExitStack() as stack:
        turn = stack.enter_context(ExitStack())
        server = turn.enter_context(port.answers("opend"))
        environ = {"OPEND_SI_HOME": str(tmp_path / "kept"), **at(server)}
        process = stack.enter_context(running("futu-si", "watch", CODE, "--poll", "0.05", **environ))
        server.wait_for_requests(5)
        row = port.published("opend")
        assert told(json.dumps(read(process))) == [row]
        for origin in ("simulator", "opend", "simulator", "opend"):
            turn.close()
            server = turn.enter_context(port.answers(origin))
            server.wait_for_requests(5)
            row = port.published(origin)
            assert told(json.dumps(read(process))) == [row]


@pytest.mark.parametrize("place", [0, "mark"])
def test_a_state_that_names_no_origin_is_of_opend(console: Run, tmp_path: Path, place: Any) -> None:
    """It was written before origins were known, and is read while what is recorded is the simulator's."""
    port, home = Port(), tmp_path / "kept"

    def look(origin: str) -> list[Told]:
        with port.answers(origin) as server:
            done = console("watch", CODE, "--once", "--poll", "0.01", OPEND_SI_HOME=str(home), **at(server))
        assert done.returncode == 0, done.stderr
        return told(done.stdout)

    assert look("opend") == []
    newest = next(iter(port.rows("opend")))
    last = [datetime.now(UTC).isoformat(), ""] if place == "mark" else place
    (home / "watch-short_interest.json").write_text(json.dumps({f"short_interest {CODE}": [newest, last]}))
    assert look("simulator") == []
    missed = [port.revised("opend", 11), port.published("opend")]
    made_up = port.published("simulator")
    assert look("simulator") == [made_up]
    assert look("opend") == missed
    assert look("opend") == []


def test_a_symbol_that_is_met_under_the_simulator_begins_under_opend_with_what_that_has(
    console: Run, tmp_path: Path
) -> None:
    port = Port()

    def look(origin: str) -> list[Told]:
        with port.answers(origin) as server:
            done = console(
                "watch", CODE, "--once", "--poll", "0.01", OPEND_SI_HOME=str(tmp_path / "kept"), **at(server)
            )
        return told(done.stdout)

    assert look("simulator") == look("opend") == []
    row = port.published("opend")
    assert look("opend") == [row]


@pytest.mark.filterwarnings("ignore:.*What is recorded does not answer for it")
def test_rows_that_are_made_up_do_not_say_when_opend_publishes(
    make: Callable[..., Watch], one_face: ModuleType, record: dict[str, Any]
) -> None:
    """They are ahead of OpenD's: by their schedule nothing would be asked for months."""
    port = Port()
    port.universes["simulator"].publish(CODE, 40)
    lines: list[Line] = []
    with port.answers("opend") as server:
        make(server, [CODE], lines, poll=0.0).look()
    with port.answers("simulator") as server, one_face.Client(port=server.port, mode="refresh", **record) as client:
        client.sync([CODE])
    row = port.published("opend")
    with port.answers("opend") as server:
        clock = Jumping(datetime.now(UTC))
        watching = make(server, [CODE], lines, clock=clock)
        end = clock.now() + timedelta(days=2)
        while clock.now() < end:
            watching.look()
            clock.sleep_until(watching.next_look())
        assert len(server.requests) < 10
    assert named(lines) == [row]


def test_a_gateway_that_has_made_up_rows(console: Run, tmp_path: Path) -> None:
    """Its record is the watch's, too, and says what is made up."""
    port = Port()

    def look(origin: str) -> list[Told]:
        with port.answers(origin) as server, gateway(server, tmp_path / "desk") as address:
            done = console("watch", CODE, "--once", "--poll", "0.01", OPEND_SI_HOME=str(tmp_path / "desk"), **address)
        assert done.returncode == 0, done.stderr
        return told(done.stdout)

    assert look("opend") == look("simulator") == []
    rows = {origin: port.published(origin) for origin in KINDS}
    assert look("simulator") == [rows["simulator"]]
    assert look("opend") == [rows["opend"]]
    assert look("simulator") == look("opend") == []
