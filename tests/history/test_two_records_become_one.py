"""Two records of one symbol, each of which heard OpenD at its own times, become what one record would hold.

Rows are published and revised; each record asks now and then; at any time one is joined into the other. The oracle
knows what each reply said, when, and to whom; it shares no code with the engine. What it holds the engine to:

1. No row is lost: a history has every row that either had, offline and as of every moment.
2. Its values are those that were heard last, whoever heard them; none that the server did not have.
3. A value is known since the first of the two heard it; each change that the two heard together is a revision.
4. A second time changes nothing, not a byte; and either joined into the other answers alike.
5. What is asked after it is what a record gets that was always one: the newest page is the server's.
6. Nothing is joined that was heard before a revision that either noticed.
7. Where one of the two clocks is wrong by hours, 4 holds, no row of now is lost, and nothing comes up that the server
   never had. What was known as of a moment is told by clocks alone.
"""

import itertools
import random
import shutil
import sqlite3
import tempfile
import time
from collections import Counter
from contextlib import ExitStack, closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal

import futu_si
from opend_si.cache import reading
from opend_si.history import upkeep
from opend_si.pages import Content, PageKey
from opend_si_schema.calls import SHORT_INTEREST
from tests.stress.clocks import CODE, DAY, HOUR, Values, World, client_of, quiet

TABLE = PageKey.check(SHORT_INTEREST, CODE).table
# A reply that was recorded: what the clock of its record showed, and the rows.
Reply = tuple[int, list[Values]]


class Joint(World):
    """The world with two records, of which one asks at a time; each machine has a clock of its own."""

    def __init__(self, chance: random.Random, skew: float) -> None:
        super().__init__(chance, chance.choice(("timestamp", "timestamp", "timestamp", "offset")))
        self.asking = 0
        self.skews: tuple[float, ...] = 0.0, skew
        self.heard_by: tuple[list[Reply], ...] = [], []
        self.is_repeating = chance.random() < 0.3  # values that were there before may come again

    def clock(self) -> float:
        return self.true + self.skews[self.asking]

    def exchange(self, key: PageKey, *, is_recorded: bool) -> bytes:
        self.requests += 1
        self.true += 0.002
        body = bytes(self.server.answer(key.call.proto_id, key.request()).SerializeToString())
        self.true += 0.002
        rows = [row.values for row in Content.read(key, body).rows(key.table)]
        self.heard_by[self.asking].append((self.now(), rows))
        return body

    def revise(self) -> None:
        rows = self.universe.rows(CODE) or ()
        if rows:
            place = self.chance.choice((self.chance.randrange(len(rows)), self.chance.randrange(min(50, len(rows)))))
            value = self.chance.randrange(3) if self.is_repeating else 10**6 + sum(map(len, self.had.values()))
            self.universe.revise(CODE, place, aggregatedShort=value)
            self.note()


def joined(*logs: list[Reply]) -> list[Reply]:
    """What several heard, by moment; what one has from the other stands there once."""
    return sorted({reply[0]: reply for log in logs for reply in log}.values(), key=lambda reply: reply[0])


def values_of(log: list[Reply]) -> dict[int, list[tuple[int, Values]]]:
    """Of each row, the values that were heard one after the other, and since when."""
    found: dict[int, list[tuple[int, Values]]] = {}
    for moment, rows in log:
        for row in rows:
            told = found.setdefault(row[0], [])
            if not told or told[-1][1] != row:
                told.append((moment, row))
    return found


def dump(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        return list(connection.iterdump())


def rows_of(frame: Any) -> list[Values]:
    names = [column.name for column in TABLE.columns]
    return [
        tuple(None if value != value else value for value in row)
        for row in frame[names].astype(object).itertuples(index=False, name=None)
    ]


class Program:
    """A random program: what happens, who asks, and who is joined into whom."""

    def __init__(self, chance: random.Random, folder: Path, counts: Counter[str], skew: float = 0.0) -> None:
        self.chance, self.folder, self.counts = chance, folder, counts
        self.world = Joint(chance, skew)
        self.is_skewed = skew != 0
        # Of an offset nobody knows what it led to once rows were published.
        self.is_exact = not self.is_skewed and self.world.cursor == "timestamp"
        self.files = folder / "one.sqlite3", folder / "two.sqlite3"
        self.stack = ExitStack()

    def run(self, steps: int) -> None:
        world = self.world
        with self.stack, patch.object(time, "time", world.clock), patch.object(time, "monotonic_ns", self.monotonic):
            world.universe.publish(CODE, self.chance.choice((1, 30, 50, 51, 120, 160)))
            world.note()
            for _ in range(steps):
                self.chance.choice((world.publish, world.revise, world.revise, self.pass_time, self.pass_time, bool))()
                world.asking = self.chance.randrange(2)
                self.chance.choice((self.ask, self.ask, self.ask_what_is_held, self.ask_pages, self.join))()
            self.join()

    def monotonic(self) -> int:
        return int(self.world.true * 1e9)

    def pass_time(self) -> None:
        self.world.true += self.chance.choice((0.01, 60.0, HOUR, 13 * HOUR, 3 * DAY, 30 * DAY))

    def client(self, path: Path, mode: str = "offline", max_age: float | None = 0) -> Any:
        client = client_of(futu_si, self.world, path, mode, max_age)
        self.stack.callback(client.close)
        return client

    # Questions --------------------------------------------------------------------------------------------------------

    def ask(self) -> None:
        mode = self.chance.choice(("online", "online", "refresh"))
        path = self.files[self.world.asking]
        rows = rows_of(self.client(path, mode).history(CODE))[::-1]
        truth = self.world.truth()
        assert rows[:50] == truth[:50], "the newest page is not what the server has"
        assert [row[0] for row in rows] == [row[0] for row in truth]
        assert mode == "online" or rows == truth
        self.check_last_heard(rows, self.world.heard_by[self.world.asking])
        self.check_unmixed(rows, self.world.heard_by[self.world.asking])
        self.counts["histories asked"] += 1

    def ask_what_is_held(self) -> None:
        """Pages that do not expire: what is trusted answers, and the rest is asked for."""
        first = self.world.requests
        rows = rows_of(self.client(self.files[self.world.asking], "online", None).history(CODE))
        self.check_last_heard(rows, self.world.heard_by[self.world.asking])
        self.check_unmixed(rows, self.world.heard_by[self.world.asking])
        self.counts["histories held" if self.world.requests == first else "histories held in part"] += 1

    def ask_pages(self) -> None:
        next_key, path = None, self.files[self.world.asking]
        num = self.chance.choice((10, 50, 1, 37))
        for _ in range(self.chance.choice((1, 2, 3))):
            page = self.client(path, "refresh").get_page(CODE, next_key, num)
            next_key = page.next
            if next_key is None:
                break
        self.counts["pages asked"] += 1

    def answer(self, path: Path, moment: int | None = None) -> Any:
        """What is answered offline, now or as of a moment; None if the history is not complete."""
        when = None if moment is None else datetime.fromtimestamp(moment / 1000, UTC)
        with suppress(futu_si.CacheMiss):
            return self.client(path).history(CODE, as_of=when)
        return None

    # Joining ----------------------------------------------------------------------------------------------------------

    def join(self) -> None:
        world = self.world
        here = world.asking
        target, source = self.files[here], self.files[1 - here]
        if not source.exists():
            return
        logs = world.heard_by[here], world.heard_by[1 - here]
        moments = [None, *self.chance.choices([moment for log in logs for moment, _ in log], k=2)]
        before = {moment: [self.answer(path, moment) for path in (target, source)] for moment in moments}
        other = self.folder / f"other-{self.counts['joined']}.sqlite3"
        shutil.copy(source, other)
        own = self.folder / "own.sqlite3"
        shutil.copy(target, own) if target.exists() else own.unlink(missing_ok=True)
        report = self.client(target, "online").import_record(source)
        for file in (target, other):
            assert not file.exists() or list(upkeep.verify(file)) == []
        if report.left_out:
            assert self.is_skewed
            return
        self.counts["joined" if report.joined else "taken or known"] += 1
        self.counts["with what was void"] += any(row.is_void for row in self.versions(target))
        log = joined(*logs)
        for moment, answers in before.items():
            self.check(target, answers, log, moment)
        if self.is_exact:
            self.check_revisions(target, log)
        told = dump(target)
        again = self.client(target, "online").import_record(source)
        assert (again.known, again.joined, again.taken) == ([f"{CODE} short_interest"], [], [])
        assert dump(target) == told
        if own.exists():
            self.client(other, "online").import_record(own)
            for moment in moments:
                self.assert_alike(self.answer(target, moment), self.answer(other, moment))
            assert_frame_equal(self.client(other).revisions(CODE), self.client(target).revisions(CODE))
            assert self.client(other, "online").import_record(target).joined == []
        world.heard_by[here][:] = log

    def versions(self, path: Path) -> list[Any]:
        with reading.opened(path) as store:
            return [row for found in reading.symbols(store) for row in found.record.rows]

    def check(self, path: Path, answers: list[Any], log: list[Reply], moment: int | None) -> None:
        frame = self.answer(path, moment)
        for answer in answers if moment is None or not self.is_skewed else ():
            assert answer is None or (frame is not None and set(answer.index) <= set(frame.index)), "a row is lost"
        if frame is None:
            return
        rows = rows_of(frame)
        assert all(row in self.world.had[row[0]] for row in rows), "a value that the server never had"
        if not self.is_exact:
            return
        known = [reply for reply in log if moment is None or reply[0] <= moment]
        self.check_last_heard(rows, known)
        heard = values_of(known)
        since = [round(at.timestamp() * 1000) for at in frame["known_at"]]
        for row, at in zip(rows, since, strict=True):
            first = heard[row[0]][-1][0]
            if (
                self.world.is_repeating
            ):  # of what was heard again and again the record knows the first time and the last
                assert at >= first
                assert row in dict(known)[at]
            else:
                assert at == first, "known_at is not when the first of the two heard it"

    def check_last_heard(self, rows: list[Values], log: list[Reply]) -> None:
        if self.is_exact:
            heard = values_of(log)
            assert all(heard[row[0]][-1][1] == row for row in rows), "a value is older than the last that was heard"

    def check_unmixed(self, rows: list[Values], log: list[Reply]) -> None:
        """No row was heard before a revision that was noticed: it might be of before."""
        if not self.is_exact or self.world.is_repeating:
            return
        last = {(at, row): moment for moment, told in log for row in told for at in row[:1]}
        old = [last[at, row] for at, told in values_of(log).items() for _, row in told[:-1]]
        assert all(last[row[0], row] > max(old, default=0) for row in rows), (
            "a row of before a revision that was noticed"
        )

    def check_revisions(self, path: Path, log: list[Reply]) -> None:
        if self.world.is_repeating:
            return
        heard = {at: told for at, told in values_of(log).items() if len(told) > 1}
        place = [column.name for column in TABLE.columns].index("aggregated_short")
        expected = Counter(
            (one[1][place], other[1][place], other[0])
            for told in heard.values()
            for one, other in itertools.pairwise(told)
        )
        frame = self.client(path).revisions(CODE)
        frame = frame[frame.column == "aggregated_short"]
        seen = [round(at.timestamp() * 1000) for at in frame.seen_at]
        assert Counter(zip(frame.before, frame.after, seen, strict=True)) == expected
        self.counts["revisions"] += len(frame)

    def assert_alike(self, one: Any, other: Any) -> None:
        assert (one is None) == (other is None)
        if one is not None:
            assert_frame_equal(one, other)


def run(chance: random.Random, counts: Counter[str], skew: float = 0.0, steps: int = 12) -> None:
    with quiet(), tempfile.TemporaryDirectory() as folder:
        Program(chance, Path(folder), counts, skew).run(steps)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.randoms(use_true_random=False))
def test_two_records_become_what_one_would_hold(chance: random.Random) -> None:
    run(chance, Counter())


# The other, whose clock is behind, had checked again what this one heard first: in the version of both the check has
# the earlier moment.
@example(chance=random.Random(89), skew=-HOUR)
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.randoms(use_true_random=False), st.sampled_from((-0.5, 1.0, -HOUR, 8 * HOUR, -3 * DAY)))
def test_a_clock_that_is_wrong_loses_nothing(chance: random.Random, skew: float) -> None:
    run(chance, Counter(), skew)


@pytest.mark.parametrize(("apart", "requests"), [(3 * DAY, 3), (HOUR, 4)])
@pytest.mark.parametrize("into", [0, 1])
def test_what_the_other_heard_before_a_revision_is_asked_for_again(
    tmp_path: Path, apart: float, requests: int, into: int
) -> None:
    """One heard all of a history; then the other heard of a revision in its newest page, and another was made below."""
    world = Joint(random.Random(0), 0.0)
    world.universe.publish(CODE, 170)
    files = tmp_path / "one.sqlite3", tmp_path / "two.sqlite3"

    def client(number: int, mode: str = "online", max_age: float | None = None) -> Any:
        world.asking = number
        return closing(client_of(futu_si, world, files[number], mode, max_age))

    with (
        quiet(),
        patch.object(time, "time", world.clock),
        patch.object(time, "monotonic_ns", lambda: int(world.true * 1e9)),
    ):
        with client(0) as asked:
            asked.history(CODE)
        for place in (3, 60):
            world.universe.revise(CODE, place, aggregatedShort=10**6 + place)
        world.true += apart
        with client(1, "refresh") as asked:
            asked.get_page(CODE, num=50)
        with client(into) as asked:
            assert asked.import_record(files[1 - into]).joined
        with client(into, "offline") as asked:
            offline = asked.history(CODE).aggregated_short
        assert offline.iloc[-4] == 10**6 + 3  # the later one
        assert offline.iloc[-61] != 10**6 + 60  # nobody has heard of it
        before = world.requests
        with client(into) as asked:
            assert rows_of(asked.history(CODE))[::-1] == world.truth()
        assert world.requests - before == requests  # all but the newest page where clocks tell that it is the newer one


def test_what_a_revision_does_not_touch_costs_nothing(tmp_path: Path) -> None:
    """Two that heard the same at their own times: nothing is asked for again."""
    world = Joint(random.Random(0), 0.0)
    world.universe.publish(CODE, 170)
    files = tmp_path / "one.sqlite3", tmp_path / "two.sqlite3"
    with (
        quiet(),
        patch.object(time, "time", world.clock),
        patch.object(time, "monotonic_ns", lambda: int(world.true * 1e9)),
    ):
        for number, file in enumerate(files):
            world.asking = number
            with closing(client_of(futu_si, world, file, "online", 0)) as asked:
                asked.history(CODE)
            world.true += HOUR
            world.universe.publish(CODE, 3)
        world.asking = 0
        with closing(client_of(futu_si, world, files[0], "online", None)) as asked:
            assert asked.import_record(files[1]).joined
            before = world.requests
            assert len(asked.history(CODE)) == 173
            assert world.requests == before
            assert asked.sync([CODE]).new_rows == 0
        with closing(client_of(futu_si, world, files[0], "online", 3 * HOUR)) as asked:  # the later one's age counts
            asked.history(CODE)
            assert world.requests == before


class Chain:
    """A random program of three records that hear OpenD at about the same time, each some pages, and are joined."""

    def __init__(self, chance: random.Random, folder: Path) -> None:
        self.chance, self.world = chance, Joint(chance, 0.0)
        self.world.skews, self.world.heard_by = (0.0,) * 3, ([], [], [])
        self.world.cursor = self.world.server.cursor = chance.choice(("offset", "offset", "timestamp"))
        self.files = [folder / f"{number}.sqlite3" for number in range(3)]
        self.stack = ExitStack()

    def run(self, steps: int) -> None:
        world = self.world
        with (
            self.stack,
            patch.object(time, "time", world.clock),
            patch.object(time, "monotonic_ns", lambda: int(world.true * 1e9)),
        ):
            world.universe.publish(CODE, self.chance.choice((1, 30, 50, 51, 60, 100)))
            world.note()
            for _ in range(steps):
                for _ in range(self.chance.choice((1, 2, 4))):
                    for _ in range(self.chance.randrange(3)):
                        self.chance.choice((world.publish, world.revise, self.pass_time))()
                    self.ask()
                self.join()

    def pass_time(self) -> None:
        self.world.true += self.chance.choice((0.01, 1.0, 60.0, HOUR))

    def client(self, number: int, mode: str) -> Any:
        client = client_of(futu_si, self.world, self.files[number], mode, 0)
        self.stack.callback(client.close)
        return client

    def ask(self) -> None:
        number = self.world.asking = self.chance.randrange(3)
        client, num = self.client(number, self.chance.choice(("online", "refresh"))), self.chance.choice((1, 3, 10, 50))
        if self.chance.random() < 0.4:
            client.history(CODE)
            return
        next_key = None
        for _ in range(self.chance.choice((1, 2, 3, 6))):
            if (next_key := client.get_page(CODE, next_key, num).next) is None:
                break

    def answers(self, number: int, moments: list[int | None]) -> list[set[Any]]:
        """The days that are answered offline, now and as of some moments."""
        found = []
        for moment in moments:
            when = None if moment is None else datetime.fromtimestamp(moment / 1000, UTC)
            found.append(set[Any]())
            with suppress(futu_si.CacheMiss):
                found[-1] |= set(self.client(number, "offline").history(CODE, as_of=when).index)
        return found

    def join(self) -> None:
        heard = [moment for log in self.world.heard_by for moment, _ in log]
        moments = [None, *self.chance.sample(heard, min(len(heard), 6))]
        before = [self.answers(number, moments) for number in range(3)]
        told = [{number} for number in range(3)]
        for _ in range(self.chance.choice((1, 2, 3, 4))):  # no question between them
            into, other = self.chance.sample(range(3), 2)
            if self.files[other].exists():
                assert not self.client(into, "online").import_record(self.files[other]).left_out
                told[into] |= told[other]
        for number in range(3):
            after = self.answers(number, moments)
            for other in told[number]:
                assert all(old <= new for old, new in zip(before[other], after, strict=True)), "a row is lost"


def chain(chance: random.Random, steps: int = 3) -> None:
    with quiet(), tempfile.TemporaryDirectory() as folder:
        Chain(chance, Path(folder)).run(steps)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.randoms(use_true_random=False))
def test_of_three_records_that_are_joined_in_any_order_no_row_is_lost(chance: random.Random) -> None:
    chain(chance)


def test_what_is_in_doubt_stays_so_when_a_third_record_is_joined(tmp_path: Path) -> None:
    """The newest page of two was heard within a day of a contradiction; the third has one of before, of its own."""
    world = Joint(random.Random(0), 0.0)
    world.cursor, world.skews, world.heard_by = "offset", (0.0,) * 3, ([], [], [])
    world.server.cursor = "offset"
    world.universe.publish(CODE, 60)
    files = [tmp_path / f"{number}.sqlite3" for number in range(3)]

    def client(number: int, mode: str) -> Any:
        world.asking = number
        world.true += 60
        return closing(client_of(futu_si, world, files[number], mode, 0))

    with (
        quiet(),
        patch.object(time, "time", world.clock),
        patch.object(time, "monotonic_ns", lambda: int(world.true * 1e9)),
    ):
        with client(0, "online") as asked:
            asked.history(CODE)
        world.universe.revise(CODE, 1, aggregatedShort=7)
        with client(1, "online") as asked:
            asked.history(CODE)
        with client(2, "online") as asked:
            asked.history(CODE)
        with client(2, "refresh") as asked:
            asked.get_page(CODE, num=10)
        world.universe.publish(CODE)
        with client(1, "online") as asked:
            asked.history(CODE)
        for other in (0, 2):
            with client(1, "online") as asked:
                assert asked.import_record(files[other]).joined
            with client(1, "offline") as asked:
                assert len(asked.history(CODE)) == 61
        with client(1, "online") as asked:
            assert rows_of(asked.history(CODE))[::-1] == world.truth()
