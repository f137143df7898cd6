"""Watching symbols: when to look, which of them to ask for, and what has not been reported yet.

Between two publications nothing is asked. While a publication may come, one symbol of a market is asked now and then,
the one that was asked longest ago; once it has news all others are asked. When a publication is over, each is asked
once more.

What was reported is a place in the record: of each symbol the newest row's day, and the last revision, which is found
again in the list of them. How many stand before it does not matter: prune and delete take some away, an import brings
some. A look reports what the record has beyond that place, whoever recorded it, and moves on line by line. So a
restart reports nothing twice and leaves nothing out. What is reported to somebody who confirms it is noted after that,
else right before: readers of a line may end the process as soon as they have it. A process that is killed in the
instant between the two reports a line again, or not at all.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from datetime import UTC, date, datetime, timedelta
from datetime import time as time_of_day
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeAlias
from zoneinfo import ZoneInfo

from opend_si.client.sync import SyncReport
from opend_si.dates import day_of, may_have_news
from opend_si.dates.calendars import published_by
from opend_si.errors import (
    CacheError,
    CacheMiss,
    InvalidArgument,
    NotPermitted,
    ShortInterestError,
    UnknownSymbol,
    Unsupported,
)
from opend_si.pages import Page, PageKey
from opend_si.pages.named import call_of
from opend_si.system.locks import lock
from opend_si.system.sharing import how_to_share, make_file, make_folder
from opend_si_schema.definitions import Table

# Seconds between two questions while a publication may come, and before what failed is tried again.
POLL, RETRY = 900.0, 60.0
# A symbol without rows is asked for so often: nothing tells when it may have some.
_WITHOUT_ROWS = timedelta(days=1)
# The longest sleep in one piece: a machine may be suspended, or its clock set.
_NAP = 300.0


# These are about the symbol, and stay. All else is about OpenD or the record, and may be over in a minute.
_OF_A_SYMBOL = (UnknownSymbol, NotPermitted, Unsupported, InvalidArgument)
_NEVER = datetime(1970, 1, 1, tzinfo=UTC)
# A new row or a revised one, for JSON: symbol, kind, date, what, before and after by column, seen_at, published_by.
Line: TypeAlias = dict[str, Any]


class Client(Protocol):
    """What a watch needs of a client."""

    def get_page(self, code: str, *, num: int, kind: Any) -> Page: ...
    def history(self, code: str, *, kind: Any) -> Any: ...
    def revisions(self, code: str, *, kind: Any) -> Any: ...
    def sync(self, codes: Sequence[str], *, kind: Any) -> SyncReport: ...


class Clock:
    """The one place where a watch meets time."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def sleep_until(self, moment: datetime) -> None:
        # The clock may be set back meanwhile: then the span is over before it says so.
        end = time.monotonic() + (moment - self.now()).total_seconds()
        while (left := min((moment - self.now()).total_seconds(), end - time.monotonic())) > 0:
            time.sleep(min(left, _NAP))


class Unreported(Exception):
    """A line could not be reported; it is tried again."""


class Watch:
    """A watch of some symbols.

    Args:
        online: A client that asks OpenD whatever is recorded (`max_age=0`).
        offline: A client of the same record that asks nothing.
        codes: The symbols.
        kind: What rows.
        state: The file in which the watch keeps how far it has reported.
        report: Called with each line, a dictionary for JSON, and with a function that it calls to note the line as
            reported. What it raises takes the note back; after `Unreported` the line is tried again.
        note: Called with a text when something is amiss, once until it changes.
        poll: Ask for each symbol every so many seconds, whatever the schedule. None: by the schedule.
        clock: What tells the time, and sleeps.
        whole: A context in which a line is reported and noted, such as one that no signal splits.

    """

    def __init__(
        self,
        online: Client,
        offline: Client,
        codes: Sequence[str],
        kind: str,
        state: Path,
        report: Callable[[Line, Callable[[], None]], object],
        note: Callable[[str], object],
        poll: float | None = None,
        clock: Clock | None = None,
        whole: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        call = call_of(kind)
        keys = [PageKey.longest(call, code) for code in codes]
        self._keys = {str(key.symbol): key for key in keys}
        self._online, self._offline, self._kind = online, offline, kind
        self._state, self._report, self._note = State(state, kind), report, note
        self._poll, self._clock = poll, clock or Clock()
        self._whole = whole
        # When each symbol was last asked for with an answer that tells of now; and when it was tried, whatever came.
        self._asked: dict[str, datetime] = {}
        self._tried: dict[str, datetime] = {}
        self._begun = _NEVER
        self._amiss: dict[str, str] = {}
        # Why the last look left something for another try; None if it did not.
        self.held_up_by: Exception | None = None

    def run(self) -> None:
        """Look and sleep in turn, until an exception ends it."""
        while True:
            self.look()
            if isinstance(self.held_up_by, InvalidArgument):  # that does not pass by itself
                raise self.held_up_by
            self._clock.sleep_until(self.next_look())

    def look(self) -> None:
        """Ask what is to be asked now, and report what is news."""
        self.held_up_by = None
        self._try("asking", self._look)

    def next_look(self) -> datetime:
        """When to look again."""
        now = self._clock.now()
        if self.held_up_by is not None:
            return now + timedelta(seconds=min(RETRY, self._poll or RETRY))
        if self._poll is not None:
            poll = timedelta(seconds=self._poll)
            # Those that the last look had no need to ask for come first.
            rest = [self._asked[code] for code in self._keys if self._asked.get(code, now) < self._begun]
            return max(min(rest, default=now) + poll, now + poll / 100)
        return min(self._next_due(key, now) for key in self._keys.values())

    def _look(self) -> None:
        with self._state.held():
            for code in self._keys:
                self._try(f"the place of {code}", lambda code=code: self._find_mark(code))  # type: ignore[misc]
            # What was recorded by others is reported, too, if OpenD is away.
            self._try("OpenD", self._ask_due)
            for code in self._keys:
                self._try(code, lambda code=code: self._report_news(code))  # type: ignore[misc]

    def _try(self, what: str, step: Callable[[], None]) -> None:
        """Take a step. What fails is noted, and left for another try."""
        try:
            step()
        except (Unreported, ShortInterestError) as error:
            self.held_up_by = self.held_up_by or error
            self._say(what, str(error))
        else:
            self._say(what, "")

    def _say(self, what: str, text: str) -> None:
        """Note what is amiss, once until it changes."""
        if text and self._amiss.get(what) != text:
            self._note(text)
        self._amiss[what] = text

    # Asking -----------------------------------------------------------------------------------------------------------

    def _ask_due(self) -> None:
        """Ask for each symbol that is due, the one that was tried longest ago first: no error of one starves others."""
        begun = self._begun = self._clock.now()
        for code in self._keys:
            self._meet(code)
        standing = {code: self._standing(key, begun) for code, key in self._keys.items()}
        due = sorted(standing, key=lambda code: max(self._tried.get(code, _NEVER), standing[code].checked))
        if self._poll is not None:
            poll = timedelta(seconds=self._poll)
            self._ask_all(code for code in due if begun - self._last_asked(code, begun) >= poll)
            return
        due = [code for code in due if standing[code].is_due(begun)]
        # More may come after an answer of now: then one symbol of the market asks for all of them.
        waiting = [code for code in due if standing[code]._replace(checked=begun).is_due(begun)]
        looked_at: set[Table] = set()
        for code in due:
            table = standing[code].table
            if code not in waiting:
                self._ask(code)
            elif table not in looked_at:
                looked_at.add(table)
                if self._ask(code):
                    self._ask_all(each for each in waiting if each != code and standing[each].table is table)

    def _ask_all(self, codes: Iterable[str]) -> None:
        for code in codes:
            self._ask(code)

    def _ask(self, code: str) -> bool:
        """Bring one symbol up to date; whether it has a new row."""
        before = self._checked(code)
        self._tried[code] = self._clock.now()
        (entry,) = self._online.sync([code], kind=self._kind)
        error = entry.error
        if error is not None and not isinstance(error, _OF_A_SYMBOL):
            raise error
        # A gateway whose OpenD is away answers with what it has: by the schedule that is no word of now.
        if error is not None or self._poll is not None or before is None or self._checked(code) != before:
            self._asked[code] = self._clock.now()
        self._say(f"asking {code}", "" if error is None else f"{code}: {error}")
        self._meet(code)
        return entry.new_rows > 0

    def _last_asked(self, code: str, now: datetime) -> datetime:
        """When a symbol was last asked for. What lies ahead is of a clock that was set back, and tells nothing."""
        asked = self._asked.get(code, _NEVER)
        return asked if asked <= now else _NEVER

    def _checked(self, code: str) -> datetime | None:
        try:
            return self._page(code).checked_at
        except CacheMiss:
            return None

    def _meet(self, code: str) -> None:
        """Begin with a symbol as soon as it is recorded: what is recorded of it counts as reported."""
        if self._state.place(code) is None:
            with suppress(CacheMiss):
                self._state.keep(code, self._place(code))

    def _place(self, code: str) -> Place:
        history = self._offline.history(code, kind=self._kind)
        newest = "" if history.empty else f"{history.index[-1]:%Y-%m-%d}"
        revisions = self._revisions(code)
        # Without a revision the place is the moment up to which the record has listened for some.
        last = revisions[-1][0] if revisions else Mark(self._page(code).checked_at.isoformat(), "")
        return Place(newest, last)

    def _find_mark(self, code: str) -> None:
        """Where an older file has a count, keep the revision that is meant, before more come."""
        place = self._state.place(code)
        if place is None or isinstance(place.last, Mark):
            return
        with suppress(CacheMiss):  # it was deleted; it is looked for again
            revisions, last = self._revisions(code), self._place(code).last
            counts = list(accumulate(len(changed) for _, changed in revisions))
            done = sum(count <= place.last for count in counts)
            if done < len(counts):
                last = revisions[done - 1][0] if done else Mark("", "")
            self._state.keep(code, Place(place.newest, last))

    def _page(self, code: str) -> Page:
        """What is recorded of a symbol's newest page."""
        return self._offline.get_page(code, num=self._keys[code].num, kind=self._kind)

    def _revisions(self, code: str) -> list[tuple[Mark, Any]]:
        """The recorded revisions in their order, each with the values that changed."""
        frame = self._offline.revisions(code, kind=self._kind)
        # Of some it is not known when they were seen.
        groups = frame.groupby(["date", "seen_at"], sort=False, dropna=False)
        return [(Mark.of(*key), changed) for key, changed in groups]

    def _next_due(self, key: PageKey, now: datetime) -> datetime:
        """When there may be news: now and then while a publication may come, else from a midnight of its market."""
        known = self._standing(key, now)
        if known.is_due(now):
            return now + timedelta(seconds=POLL)
        zone = ZoneInfo(key.symbol.market.timezone)
        today = now.astimezone(zone).date()
        midnights = (datetime.combine(today + timedelta(days=days), time_of_day(), zone) for days in range(1, 9))
        return next(midnight for midnight in midnights if known.is_due(midnight))

    def _standing(self, key: PageKey, now: datetime) -> Standing:
        """How it stands with a symbol, whoever recorded it."""
        code = str(key.symbol)
        asked = self._last_asked(code, now)
        try:
            page = self._page(code)
        except CacheMiss:
            return Standing(key.table, None, asked)
        newest = None
        if page.records:
            newest = day_of(page.records[0].timestamp, key.symbol.market)  # type: ignore[arg-type]
        return Standing(key.table, newest, max(asked, page.checked_at if page.checked_at <= now else _NEVER))

    # Reporting --------------------------------------------------------------------------------------------------------

    def _report_news(self, code: str) -> None:
        place = self._state.place(code)
        if place is None:
            return
        for line, reached in self._news(code, place):
            with self._whole(), self._state.moving(code, reached) as move:
                self._report(line, move)

    def _news(self, code: str, place: Place) -> Iterator[tuple[Line, Place]]:
        """Each line that was not reported, and the place that is reached with it."""
        history = self._offline.history(code, kind=self._kind)
        last = place.last
        assert isinstance(last, Mark)
        for mark, changed in self._beyond(code, last):
            last = mark
            if mark.day <= place.newest:  # else it is reported below, as a new row with the values of now
                before, after = (
                    dict(zip(changed["column"], changed[name], strict=True)) for name in ("before", "after")
                )
                first = changed.iloc[0]
                line = self._line(code, first["date"], "revised", before, after, first["seen_at"])
                yield line, Place(place.newest, last)
        columns = [column.name for column in self._keys[code].table.columns]
        for day, row in zip(history.index, history.to_dict("records"), strict=True):
            if f"{day:%Y-%m-%d}" > place.newest:
                after = {name: row[name] for name in columns}
                yield self._line(code, day, "new", None, after, row["known_at"]), Place(f"{day:%Y-%m-%d}", last)

    def _beyond(self, code: str, last: Mark) -> list[tuple[Mark, Any]]:
        """The revisions that come after the one that was reported last."""
        revisions = self._revisions(code)
        for place in range(len(revisions), 0, -1):
            if revisions[place - 1][0].is_same(last):
                return revisions[place:]
        # It is not there any more. Moments tell what came later, unless the clock was set back since.
        if revisions and last.seen_at and self._page(code).checked_at >= datetime.fromisoformat(last.seen_at):
            return [found for found in revisions if found[0].is_later(last)]
        return revisions

    def _line(self, code: str, day: Any, what: str, before: object, after: object, seen_at: object) -> Line:
        public = published_by(self._keys[code].table, day.date())
        return {
            "symbol": code,
            "kind": self._kind,
            "date": day,
            "what": what,
            "before": before,
            "after": after,
            "seen_at": seen_at,
            "published_by": datetime.combine(public, time_of_day()),
        }


class Standing(NamedTuple):
    """How it stands with a symbol: its newest row's day, and when it was last asked for."""

    table: Table
    newest: date | None
    checked: datetime

    def is_due(self, now: datetime) -> bool:
        """Whether it may have news."""
        if self.newest is None:
            return now - self.checked >= _WITHOUT_ROWS
        return may_have_news(self.table, self.newest, self.checked, now)


class Mark(NamedTuple):
    """A revision: when it was seen (`""`: not known), and the day of its row (`""`: none, the moment alone)."""

    seen_at: str
    day: str

    @classmethod
    def of(cls, day: Any, seen_at: Any) -> Mark:
        return cls("" if seen_at != seen_at else seen_at.isoformat(), f"{day:%Y-%m-%d}")  # NaT is not itself

    def is_same(self, other: Mark) -> bool:
        """Whether it is another, noted before: a clock may since have been found to have been ahead."""
        return self.day == other.day and self.seen_at in ("", other.seen_at)

    def is_later(self, other: Mark) -> bool:
        """Whether it was seen after another. What is seen at once is listed from the newest row down."""
        if not self.seen_at:
            return False
        mine, others = (datetime.fromisoformat(mark.seen_at) for mark in (self, other))
        return mine > others or (mine == others and self.day < other.day)


class Place(NamedTuple):
    """How far the record of a symbol was reported: up to the row of this day (`""`: none), and up to this revision.

    In older files the second is a number: so many values had been revised.
    """

    newest: str
    last: Mark | int

    @classmethod
    def read(cls, newest: str, last: Any) -> Place:
        """A place as it is kept in JSON."""
        date.fromisoformat(newest or "2000-01-01")
        if isinstance(last, int):
            return cls(newest, last)
        mark = Mark(*last)
        datetime.fromisoformat(mark.seen_at or "2000-01-01")
        date.fromisoformat(mark.day or "2000-01-01")
        return cls(newest, mark)


class State:
    """The file that keeps the places. One look at a time uses it; the places are read again for each."""

    def __init__(self, path: Path, kind: str) -> None:
        self._path, self._kind = path, kind
        self._places: dict[str, Any] = {}

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep other watches out."""
        with _translated(self._path):
            make_folder(self._path.parent)
            mark = self._path.with_name(f".{self._path.name}.lock")
            with suppress(FileExistsError):
                make_file(mark)
            file = mark.open("r+b")
        with file:
            try:
                lock(file.fileno(), 0)
            except OSError:
                raise Unreported(
                    f"another watch is at work with {self._path}: it reports; name another with --state"
                ) from None
            self._places = self._read()
            yield

    def place(self, code: str) -> Place | None:
        """How far a symbol was reported; None: it has not been met."""
        found = self._places.get(f"{self._kind} {code}")
        return None if found is None else Place.read(*found)

    def keep(self, code: str, place: Place) -> None:
        """Note a place."""
        with self.moving(code, place) as move:
            move()

    @contextmanager
    def moving(self, code: str, place: Place) -> Iterator[Callable[[], None]]:
        """A function that notes a place, by no more than a renaming. What is raised inside takes the note back."""
        before, after = self._places, {**self._places, f"{self._kind} {code}": place}
        half = self._written(after)

        def move() -> None:
            with _translated(self._path):
                half.replace(self._path)
            self._places = after

        try:
            yield move
        except BaseException:
            if self._places is after:
                self._places = before
                with _translated(self._path):
                    self._written(before).replace(self._path)
            raise

    def _written(self, places: dict[str, Any]) -> Path:
        half = self._path.with_name(f".{self._path.name}.new")
        with _translated(self._path):
            half.unlink(missing_ok=True)
            make_file(half)
            half.write_text(json.dumps(places, indent=0), encoding="utf-8")
        return half

    def _read(self) -> dict[str, Any]:
        with _translated(self._path):
            try:
                text = self._path.read_text(encoding="utf-8")
            except FileNotFoundError:
                return {}
        try:
            places: dict[str, Any] = json.loads(text)
            for newest, last in places.values():
                Place.read(newest, last)
        except (ValueError, TypeError, AttributeError):
            raise InvalidArgument(
                f"{self._path} does not hold what a watch keeps. Name another file with --state."
            ) from None
        return places


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise CacheError(
            f"The state of the watch cannot be kept in {path}: {error.strerror}.{how_to_share(path)}"
        ) from None
