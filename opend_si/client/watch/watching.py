"""Watching symbols: when to look, which of them to ask for, and what has not been reported yet.

Between two publications nothing is asked. While a publication may come, one symbol of a market is asked now and then,
the one that was asked longest ago; once it has news all others are asked. When a publication is over, each is asked
once more.

What was reported is a place in the record: of each symbol the newest row's day, and the last revision, which is found
again in the list of them. How many stand before it does not matter: prune and delete take some away, an import brings
some. OpenD's rows have a place, and those of a simulator have another: what is made up takes no row of OpenD's away. A
look reports what the record has beyond that place, whoever recorded it, and moves on line by line. So a restart reports
nothing twice and leaves nothing out. What is reported to somebody who confirms it is noted after that,
else right before: readers of a line may end the process as soon as they have it. A process that is killed in the
instant between the two reports a line again, or not at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from datetime import UTC, datetime, timedelta
from datetime import time as time_of_day
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeAlias

from opend_si.client.sync import SyncReport
from opend_si.client.watch.places import Mark, Place, State, Unreported
from opend_si.client.watch.schedule import RETRY, Clock, Standing
from opend_si.dates import day_of
from opend_si.dates.calendars import published_by
from opend_si.errors import CacheMiss, InvalidArgument, NotPermitted, ShortInterestError, UnknownSymbol, Unsupported
from opend_si.pages import SIMULATOR, Page, PageKey
from opend_si.pages.named import call_of
from opend_si.wire.errors import nobody_answers
from opend_si_schema.definitions import Table

# These are about the symbol, and stay. All else is about OpenD or the record, and may be over in a minute.
_OF_A_SYMBOL = (UnknownSymbol, NotPermitted, Unsupported, InvalidArgument)
_NEVER = datetime(1970, 1, 1, tzinfo=UTC)
# A new row or a revised one, for JSON: symbol, kind, origin, date, what, before and after by column, seen_at,
# published_by.
Line: TypeAlias = dict[str, Any]


class Client(Protocol):
    """What a watch needs of a client."""

    def get_page(self, code: str, *, num: int, kind: Any) -> Page: ...
    def history(self, code: str, *, kind: Any) -> Any: ...
    def revisions(self, code: str, *, kind: Any) -> Any: ...
    def sync(self, codes: Sequence[str], *, kind: Any) -> SyncReport: ...


class Held(NamedTuple):
    """What is recorded of a symbol, all of one origin: its history, and the revisions with the values that changed."""

    origin: str
    history: Any
    revisions: list[tuple[Mark, Any]]


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
        """Look and sleep in turn, until something is wrong that does not pass by itself."""
        while True:
            self.look()
            if isinstance(self.held_up_by, InvalidArgument):
                return
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
        return min(self._standing(key, now).next_due(now) for key in self._keys.values())

    def _look(self) -> None:
        with self._state.held():
            for code in self._keys:
                self._try(f"the place of {code}", lambda code=code: self._meet(code))  # type: ignore[misc]
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
        if error is not None and (nobody_answers(error) or not isinstance(error, _OF_A_SYMBOL)):
            raise error
        if not entry.is_kept:
            raise InvalidArgument(
                f"{code}: a gateway answers that keeps another record than this watch reads, so nothing of it can be "
                "reported. Run the watch on the gateway's machine with its record (OPEND_SI_HOME), or let it ask OpenD "
                "itself with host and port (or OPEND_HOST and OPEND_PORT)."
            )
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
        """Begin with a symbol as soon as it is recorded: what an origin has of it by then counts as reported.

        Where an older file has a count, keep the revision that is meant, before more come.
        """
        with suppress(CacheMiss):
            place = self._state.place(code, self._page(code).origin)
            if place is None or isinstance(place.last, int):
                held = self._held(code)
                place = self._state.place(code, held.origin)
                if place is None:
                    self._state.keep(code, held.origin, self._end(code, held))
                elif isinstance(place.last, int):
                    self._state.keep(code, held.origin, self._counted(code, held, place.newest, place.last))

    def _end(self, code: str, held: Held) -> Place:
        """The place at which all is reported."""
        newest = "" if held.history.empty else f"{held.history.index[-1]:%Y-%m-%d}"
        # Without a revision the place is the moment up to which the record has listened for some.
        last = held.revisions[-1][0] if held.revisions else Mark(self._page(code).checked_at.isoformat(), "")
        return Place(newest, last)

    def _counted(self, code: str, held: Held, newest: str, count: int) -> Place:
        """The place at which so many values were revised."""
        counts = list(accumulate(len(changed) for _, changed in held.revisions))
        done = sum(each <= count for each in counts)
        if done == len(counts):
            return Place(newest, self._end(code, held).last)
        return Place(newest, held.revisions[done - 1][0] if done else Mark("", ""))

    def _held(self, code: str) -> Held:
        """What is recorded of a symbol."""
        history = self._offline.history(code, kind=self._kind)
        frame = self._offline.revisions(code, kind=self._kind)
        origin = history.attrs["origin"]
        if frame.attrs["origin"] != origin:
            raise Unreported(f"{code}: an OpenD and a simulator are recorded in turn; it is looked at again")
        # Of some it is not known when they were seen.
        groups = frame.groupby(["date", "seen_at"], sort=False, dropna=False)
        return Held(origin, history, [(Mark.of(*key), changed) for key, changed in groups])

    def _page(self, code: str) -> Page:
        """What is recorded of a symbol's newest page."""
        return self._offline.get_page(code, num=self._keys[code].num, kind=self._kind)

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
        checked = max(asked, page.checked_at if page.checked_at <= now else _NEVER)
        return Standing(key.table, newest, checked, page.origin == SIMULATOR)

    # Reporting --------------------------------------------------------------------------------------------------------

    def _report_news(self, code: str) -> None:
        self._meet(code)
        try:
            held = self._held(code)
        except CacheMiss:
            return
        place = self._state.place(code, held.origin)
        if place is None:
            return
        for line, reached in self._news(code, held, place):
            with self._whole(), self._state.moving(code, held.origin, reached) as move:
                self._report(line, move)

    def _news(self, code: str, held: Held, place: Place) -> Iterator[tuple[Line, Place]]:
        """Each line that was not reported, and the place that is reached with it."""
        history, last = held.history, place.last
        assert isinstance(last, Mark)
        for mark, changed in self._beyond(code, held.revisions, last):
            last = mark
            if mark.day <= place.newest:  # else it is reported below, as a new row with the values of now
                before, after = (
                    dict(zip(changed["column"], changed[name], strict=True)) for name in ("before", "after")
                )
                first = changed.iloc[0]
                line = self._line(code, held.origin, first["date"], "revised", before, after, first["seen_at"])
                yield line, Place(place.newest, last)
        columns = [column.name for column in self._keys[code].table.columns]
        for day, row in zip(history.index, history.to_dict("records"), strict=True):
            if f"{day:%Y-%m-%d}" > place.newest:
                after = {name: row[name] for name in columns}
                line = self._line(code, held.origin, day, "new", None, after, row["known_at"])
                yield line, Place(f"{day:%Y-%m-%d}", last)

    def _beyond(self, code: str, revisions: list[tuple[Mark, Any]], last: Mark) -> list[tuple[Mark, Any]]:
        """The revisions that come after the one that was reported last."""
        for place in range(len(revisions), 0, -1):
            if revisions[place - 1][0].is_same(last):
                return revisions[place:]
        # It is not there any more. Moments tell what came later, unless the clock was set back since.
        if revisions and last.seen_at and self._page(code).checked_at >= datetime.fromisoformat(last.seen_at):
            return [found for found in revisions if found[0].is_later(last)]
        return revisions

    def _line(
        self, code: str, origin: str, day: Any, what: str, before: object, after: object, seen_at: object
    ) -> Line:
        public = published_by(self._keys[code].table, day.date())
        return {
            "symbol": code,
            "kind": self._kind,
            "origin": origin,
            "date": day,
            "what": what,
            "before": before,
            "after": after,
            "seen_at": seen_at,
            "published_by": datetime.combine(public, time_of_day()),
        }
