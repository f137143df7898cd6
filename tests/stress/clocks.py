"""Random programs under clocks that step: `python -m tests.stress.clocks [--programs 3000] [--first 0]`.

Several clients of one record, each as if it were a process of its own, ask an OpenD whose rows are published and
revised, while the machine's clock is set ahead and back, by milliseconds and by days, between questions and under
them. The oracle knows what the server had, what each reply told, in which order, and what the clock showed then; it
shares no code with the engine. What it holds the engine to:

1. What is asked anew is what the server has; no value is older than the last that was told of its row.
2. Offline every row is as it was told last, and no question makes the answer smaller.
3. As of a moment, the answer is that of mode offline when the clock last showed it: rows, values, known_at, and errors.
   Whatever was asked and revised since, for one symbol and for a table.
4. Nothing is fresh for longer than `max_age` of real time, and what is fresh costs nothing while the clock is right.
5. known_at is the moment of the reply that brought the value; not known where a later one shows that the clock was
ahead.

The exit code is 1 if any was wrong; the program's number makes it again.
"""

import argparse
import os
import random
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import patch

import futu_si
import moomoo_si
from opend_si.client.steps import Account, Exchange, Step
from opend_si.pages import Content, PageKey
from opend_si.simulator import Simulator, Universe
from opend_si.simulator.server import CursorStyle
from opend_si.tables import read_columns
from opend_si_schema.calls import SHORT_INTEREST

CODE = "HK.02840"
HOUR, DAY = 3600.0, 86400.0
# By how much the clock is set: what NTP does, what a wrong time zone does, a battery that is empty.
STEPS = (0.005, 0.4, 1.5, 30.0, HOUR, 8 * HOUR, 3 * DAY, 400 * DAY)
Values = tuple[Any, ...]


class Wrong(AssertionError):
    """An answer that breaks a law."""


class World:
    """The machine's clocks, the server, and all that it told."""

    def __init__(self, chance: random.Random, cursor: CursorStyle) -> None:
        self.chance, self.cursor = chance, cursor
        self.true, self.offset = 1_800_000_000.0, 0.0  # real time, and what the clock shows too much
        self.universe = Universe()
        self.server = Simulator(self.universe, cursor=cursor)
        self.requests = 0
        self.had: dict[int, list[Values]] = {}
        # Every reply that was recorded: what the clock showed then, real time, the question, and the rows.
        self.told: list[tuple[int, float, str, int, list[Values]]] = []
        self.under: list[Callable[[], None]] = []  # what happens under the next requests
        # What mode offline answered after so many replies.
        self.offline: dict[int, list[Values] | None] = {}

    def clock(self) -> float:
        return self.true + self.offset

    def now(self) -> int:
        return int(self.clock() * 1000)

    def truth(self) -> list[Values]:
        table = PageKey.check(SHORT_INTEREST, CODE).table
        return list(zip(*read_columns(table, self.universe.rows(CODE) or ()), strict=True))

    def note(self) -> None:
        for row in self.truth():
            values = self.had.setdefault(row[0], [])
            if not values or values[-1] != row:
                values.append(row)

    def exchange(self, key: PageKey, *, is_recorded: bool) -> bytes:
        """A request; real time passes, and something may happen under it."""
        self.requests += 1
        self.true += 0.002
        if self.under:
            self.under.pop()()
        body = bytes(self.server.answer(key.call.proto_id, key.request()).SerializeToString())
        self.true += 0.002
        if self.chance.random() < 0.05:
            self.set_clock()
        if is_recorded:
            rows = [row.values for row in Content.read(key, body).rows(key.table)]
            self.told.append((self.now(), self.true, key.next_key, key.num, rows))
        return body

    # What happens -----------------------------------------------------------------------------------------------------

    def set_clock(self) -> None:
        step = self.chance.choice(STEPS) * self.chance.choice((1, -1))
        self.offset = 0.0 if self.chance.random() < 0.3 else self.offset + step

    def pass_time(self) -> None:
        self.true += self.chance.choice((0.001, 0.01, 1.0, 60.0, HOUR, 13 * HOUR, DAY))

    def publish(self) -> None:
        self.universe.publish(CODE, self.chance.choice((1, 1, 2, 30, 50, 60)))
        self.note()

    def revise(self) -> None:
        rows = self.universe.rows(CODE) or ()
        if not rows:
            return
        place = self.chance.choice((self.chance.randrange(len(rows)), self.chance.randrange(min(50, len(rows)))))
        first = self.had[rows[place].timestamp][0]  # A, B, A again
        value = self.chance.choice((first[2], self.chance.randrange(3)))
        self.universe.revise(CODE, place, aggregatedShort=value)
        self.note()

    # What is known ----------------------------------------------------------------------------------------------------

    def heard(self, count: int) -> dict[int, tuple[Values, int]]:
        """Of each row, after so many replies: its last value, and the number of the reply since which it had it."""
        found: dict[int, tuple[Values, int]] = {}
        for number, (_, _, _, _, rows) in enumerate(self.told[:count]):
            for row in rows:
                if row[0] not in found or found[row[0]][0] != row:
                    found[row[0]] = row, number
        return found

    def known_at(self, number: int, count: int, now: int) -> int | None:
        """When a reply came; None if the clock showed less at a later one, or now."""
        moment = self.told[number][0]
        later = (told[0] for told in self.told[number + 1 : count])
        return None if now < moment or any(at < moment for at in later) else moment

    def replies_at(self, moment: int) -> int:
        """How many replies had come when the clock last showed a moment."""
        return max((number + 1 for number, told in enumerate(self.told) if told[0] <= moment), default=0)


def client_of(face: Any, world: World, cache: Path, mode: str, max_age: float | None) -> Any:
    class Client(face.Client):  # type: ignore[misc]
        def _perform(self, step: Step) -> object:
            if isinstance(step, Exchange):
                return world.exchange(step.key, is_recorded=mode != "bypass"), 7
            if isinstance(step, Account):
                return 7
            raise Wrong("it waits, and nobody else asks")

    return Client("127.0.0.1", 9, mode=mode, max_age=max_age, cache=cache)


class Program:
    """A random program: what happens, what is asked, and what is seen to."""

    def __init__(self, chance: random.Random, folder: Path, counts: Counter[str]) -> None:
        self.chance, self.counts = chance, counts
        self.world = World(chance, chance.choice(("timestamp", "timestamp", "offset")))
        self.cache = folder / "pages.sqlite3"
        self.clients: dict[object, Any] = {}
        self.stack = ExitStack()
        self.largest = 0

    def client(self, mode: str, max_age: float | None = None) -> Any:
        name = self.chance.choice((futu_si, moomoo_si)), self.chance.randrange(2), mode, max_age
        if name not in self.clients or self.chance.random() < 0.1:  # a process that has just been started
            self.clients[name] = client_of(name[0], self.world, self.cache, mode, max_age)
            self.stack.callback(self.clients[name].close)
        return self.clients[name]

    def run(self, steps: int) -> None:
        world = self.world
        events = (world.set_clock, world.pass_time, world.publish, world.revise)
        questions = (self.ask_anew, self.ask_fresh, self.ask_pages, self.look_back, self.ask_offline)
        with self.stack, patch.object(time, "time", world.clock), patch.object(time, "monotonic_ns", self.monotonic):
            world.universe.publish(CODE, self.chance.choice((0, 1, 30, 50, 51, 120, 160)))
            world.note()
            for _ in range(steps):
                for _ in range(self.chance.randrange(3)):
                    self.chance.choice(events)()
                if self.chance.random() < 0.2:
                    world.under = [self.chance.choice(events)]
                self.chance.choice(questions)()
                world.under = []
                self.remember()
            self.look_back()
            for moment, *_ in world.told:
                self.check_as_of(moment)

    def monotonic(self) -> int:
        return int(self.world.true * 1e9)

    # Questions --------------------------------------------------------------------------------------------------------

    def rows_of(self, frame: Any) -> list[Values]:
        names = [column.name for column in PageKey.check(SHORT_INTEREST, CODE).table.columns]
        return [
            tuple(None if value != value else value for value in row)
            for row in frame[names].iloc[::-1].astype(object).itertuples(index=False, name=None)
        ]

    def ask_anew(self) -> None:
        mode, world = self.chance.choice(("online", "refresh", "bypass")), self.world
        before, begun, first = world.truth(), len(world.told), world.requests
        frame = self.client(mode, 0).history(CODE)
        self.counts["histories asked anew"] += 1
        rows, states = self.rows_of(frame), [before, world.truth()]
        self.require(world.requests > first, "nothing was asked")
        self.require(
            [row[0] for row in rows] in [[row[0] for row in state] for state in states], "its days are not the server's"
        )
        if mode != "online":
            if not world.under and before == states[1]:
                self.require(rows == before, "it is not what the server has")
        elif before == states[1]:
            self.require(rows[:50] == before[:50], "the newest page is not what the server has")
        if mode != "bypass":
            self.require_last_told(rows)
            self.largest = max(self.largest, len(rows))
            self.require(len(world.told) > begun, "nothing was recorded")
            self.check_known_at(frame, rows, len(world.told), world.now())

    def ask_fresh(self) -> None:
        """Within max_age of real time, and no longer, the record answers."""
        world, max_age = self.world, self.chance.choice((60.0, 12 * HOUR, 30 * DAY))
        first, begun = world.requests, world.true
        heads = [told for told in world.told if told[2] == ""]
        frame = self.client("online", max_age).history(CODE)
        self.counts["histories asked while fresh"] += 1
        if world.requests == first:
            self.require(bool(heads) and begun - heads[-1][1] < max_age + 0.01, "what is too old was fresh")
        self.require_last_told(self.rows_of(frame))

    def ask_pages(self) -> None:
        world, num = self.world, self.chance.choice((10, 50, 1, 37))
        mode = self.chance.choice(("online", "refresh"))
        next_key: str | None = None
        for _ in range(self.chance.choice((1, 2, 3))):
            first, state = world.requests, world.truth()
            page = self.client(mode, 0).get_page(CODE, next_key, num)
            self.counts["pages"] += 1
            self.require(world.requests > first, "a page was not asked for anew")
            rows = [row.values for row in page.content.rows(PageKey.check(SHORT_INTEREST, CODE).table)]
            if next_key is None and state == world.truth():
                self.require(rows == state[:num], "the newest page is not what the server has")
            self.require(all(row in world.had[row[0]] for row in rows), "a value that the server never had")
            next_key = page.next
            if next_key is None:
                break

    def ask_offline(self) -> None:
        self.remember()
        for max_age in (None, 0):
            with suppress(futu_si.CacheMiss):
                client = self.client("offline", max_age)
                self.require(
                    self.rows_of(client.history(CODE)) == self.world.offline[len(self.world.told)], "offline differs"
                )

    def remember(self) -> None:
        """What mode offline answers now. It has every row that it had, as it was told last."""
        world, count = self.world, len(self.world.told)
        first = world.requests
        try:
            frame = self.client("offline").history(CODE)
        except futu_si.CacheMiss:
            self.require(not self.largest, "offline has lost a history")
            self.require(world.offline.setdefault(count, None) is None, "offline has lost what it answered")
            return
        self.counts["answers offline"] += 1
        rows = self.rows_of(frame)
        self.require(world.requests == first, "offline asked")
        self.require(len(rows) >= self.largest, "offline has lost rows")
        self.require_last_told(rows)
        self.largest = max(self.largest, len(rows))
        self.require(world.offline.setdefault(count, rows) == rows, "offline says something else, though nothing came")
        self.check_known_at(frame, rows, count, world.now())

    def look_back(self) -> None:
        moments = [told[0] for told in self.world.told] or [self.world.now()]
        for _ in range(2):
            self.check_as_of(self.chance.choice(moments) + self.chance.choice((0, 0, -1, 1, 500, -500)))

    def check_as_of(self, moment: int) -> None:
        world = self.world
        count = world.replies_at(moment)
        if count not in world.offline and count:
            return  # in the middle of a walk: nobody asked then
        expected = world.offline.get(count)
        mode = self.chance.choice(("offline", "online", "refresh"))
        when = datetime.fromtimestamp(moment / 1000, UTC)
        first = world.requests
        self.counts["answers as of a moment"] += 1
        try:
            frame = self.client(mode, 0).history(CODE, as_of=when)
        except futu_si.CacheMiss:
            self.require(expected is None, "as_of has lost what offline answered")
            return
        self.require(world.requests == first, "looking back asked OpenD")
        rows = self.rows_of(frame)
        self.require(rows == expected, "as_of differs from what offline answered")
        self.check_known_at(frame, rows, count, moment)
        panel = self.client("offline").panel([CODE], as_of=when)
        self.require(self.rows_of(panel) == rows, "a table differs as of a moment")
        self.require(
            panel["known_at"].isna().tolist() == frame["known_at"].isna().tolist(), "known_at differs in a table"
        )

    # Laws -------------------------------------------------------------------------------------------------------------

    def require(self, holds: bool, text: str) -> None:
        if not holds:
            raise Wrong(text)

    def require_last_told(self, rows: list[Values]) -> None:
        heard = self.world.heard(len(self.world.told))
        if self.world.cursor == "timestamp":
            self.require(all(heard[row[0]][0] == row for row in rows), "a value is older than the last that was told")
        self.require(all(row in self.world.had[row[0]] for row in rows), "a value that the server never had")

    def check_known_at(self, frame: Any, rows: list[Values], count: int, now: int) -> None:
        if self.world.cursor != "timestamp":
            return
        heard = self.world.heard(count)
        told = [None if at != at else round(at.timestamp() * 1000) for at in frame["known_at"].iloc[::-1]]
        expected = [self.world.known_at(heard[row[0]][1], count, now) for row in rows]
        self.require(told == expected, "known_at is not when the value was told")


@contextmanager
def quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def run(number: int, counts: Counter[str], steps: int = 14) -> None:
    """One program, always the same for a number."""
    with quiet(), tempfile.TemporaryDirectory() as folder:
        Program(random.Random(f"clocks/{number}"), Path(folder), counts).run(steps)


def main() -> int:
    """Print what was asked, and what was wrong."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--programs", type=int, default=3000)
    parser.add_argument("--first", type=int, default=0)
    options = parser.parse_args()
    os.environ.update(OPEND_SI_RATE="off")
    counts: Counter[str] = Counter()
    wrong = 0
    begin = time.monotonic()
    for number in range(options.first, options.first + options.programs):
        try:
            run(number, counts)
        except Exception as error:
            wrong += 1
            print(f"program {number}: {type(error).__name__}: {str(error)[:300]}", flush=True)
        if (number + 1) % 250 == 0:
            print(f"… {number + 1 - options.first:,} programs, {wrong:,} wrong", flush=True)
    print(f"{options.programs:,} programs in {time.monotonic() - begin:,.0f} s: {wrong:,} wrong")
    for name, count in sorted(counts.items()):
        print(f"  {count:>9,} {name}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
