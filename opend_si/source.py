"""How questions are answered: from the record, or from OpenD, by the rules of a mode.

Looking into the record is short and done at once; what has to be waited for is yielded as a step (see `steps`).
"""

from __future__ import annotations

import warnings
from contextlib import suppress
from dataclasses import replace

from opend_si.cache.guard import GuardedStore
from opend_si.cache.policy import Decision, Mode, decide
from opend_si.cache.store import Store
from opend_si.clock import milliseconds, moment, now
from opend_si.dates import day_of, may_have_news
from opend_si.errors import (
    CacheError,
    CacheMiss,
    ConnectionFailed,
    InvalidArgument,
    ProtocolError,
    RequestTimeout,
    ShortInterestWarning,
)
from opend_si.fetcher import Fetcher
from opend_si.pages import Page, PageKey
from opend_si.planner import TOP, History, Ledger, Walk, walk
from opend_si.settings import DEFAULT_MAX_AGE, PUBLICATION, Settings
from opend_si.shelf import Shelf, Shelved, is_timestamp, statement_of
from opend_si.steps import Steps


class PageSource:
    """Gives pages and histories by the rules of some settings."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._fetcher = Fetcher(settings)
        self._shelf: Shelf | None = None
        if settings.mode is not Mode.BYPASS:
            store = Store(settings.cache, may_write=settings.mode is not Mode.OFFLINE)
            self._shelf = Shelf(GuardedStore(store, settings.mode))

    def close(self) -> None:
        """Close the files."""
        if self._shelf is not None:
            self._shelf.store.close()
        self._fetcher.close()

    # One page ---------------------------------------------------------------------------------------------------------

    def page(self, key: PageKey) -> Steps[Page]:
        """One page: as recorded, cut from recorded ones, or fetched."""
        shelf = self._shelf
        if shelf is None:
            return (yield from self._fetcher.unrecorded(key))
        asked_at = now()
        recorded = shelf.store.recall(key)
        checked_at = recorded.checked_at if recorded else None
        max_age = self._max_age(key, shelf, asked_at)
        decision = decide(self._settings.mode, checked_at, asked_at, now(), max_age)
        if recorded is not None and decision is Decision.SERVE:
            return shelf.page(key, recorded)
        shelved, since = shelf.symbol(key), self._since(asked_at, max_age)
        if (page := shelved.cut(key, since, "cache")) is not None:
            return page
        if decision is Decision.MISS:
            raise shelved.damage(key, shelf.store.path) or shelf.store.miss(key)
        try:
            return (yield from self._fetch_page(key, shelf, shelved.ledger, asked_at, since))
        except (ConnectionFailed, RequestTimeout) as error:
            if self._settings.mode is Mode.REFRESH:
                raise
            page = shelf.page(key, recorded) if recorded else shelved.cut(key, 0, "cache")
            if page is None:
                raise
            self._tell_age(key, milliseconds(page.checked_at), error)
            return page

    def _fetch_page(self, key: PageKey, shelf: Shelf, ledger: Ledger, asked_at: int, since: float) -> Steps[Page]:
        """Fetch a page; where cursors are anchored the longest one, from which this and later ones are cut."""
        style = ledger.style
        is_cuttable = style is True and is_timestamp(key.next_key) if key.next_key else style is not False
        if key.num < key.call.page_size.maximum and is_cuttable:
            # What is fresh of the rows wanted is not fetched again.
            frontier = ledger.frontier(float(key.next_key) if key.next_key else TOP, since)
            next_key = "" if frontier == TOP else str(int(frontier))
            wanted = replace(key, next_key=next_key, num=key.call.page_size.maximum)
            fetched = yield from self._fetcher.once(wanted, shelf, asked_at, 0)
            with suppress(ProtocolError):  # not fit for a history, but a page all the same
                statement = statement_of(wanted, fetched, frontier)
                page = Shelved(None, ledger.with_statement(statement)).cut(
                    key, min(since, statement.checked_at), fetched.source
                )
                if page is not None:
                    return page
        return (yield from self._fetcher.once(key, shelf, asked_at, 0))

    # A history --------------------------------------------------------------------------------------------------------

    def history(
        self, key: PageKey, down_to: float, as_of: int | None = None, *, may_fall_back: bool = True
    ) -> Steps[tuple[Walk, History]]:
        """All rows down to a timestamp, and how their values came to be known.

        `key` is that of the longest first page; `as_of` looks back, in milliseconds. With OpenD gone the record answers if
        it `may_fall_back`.
        """
        asked_at = now()
        shelf = self._shelf
        if shelf is None:
            if as_of is not None:
                raise InvalidArgument("as_of looks back on what is recorded: mode bypass has no record")
            found = yield from self._walk(key, None, Ledger(()), down_to, asked_at, asked_at)
            return found, found.ledger.history()
        shelved = shelf.symbol(key)
        if as_of is not None:
            try:
                found = self._recorded_walk(key, shelf, shelved, shelved.ledger.up_to(as_of), down_to)
            except CacheMiss:
                raise CacheMiss(
                    f"As of {moment(as_of):%Y-%m-%d %H:%M:%S} UTC, {key} was not completely recorded in {shelf.store.path}. Name a later "
                    "moment, or a later start."
                ) from None
        elif self._settings.mode is Mode.OFFLINE:
            found = self._recorded_walk(key, shelf, shelved, shelved.ledger, down_to)
        else:
            found = yield from self._walk_or_recall(key, shelf, shelved, down_to, asked_at, may_fall_back)
        # What was fetched may be more than what could be recorded.
        return found, shelf.symbol(key).ledger.history(found.ledger, as_of)

    def recorded_history(self, key: PageKey) -> History:
        """How the recorded values of a symbol came to be known."""
        if self._shelf is None:
            raise InvalidArgument("mode bypass has no record to look back on")
        return self._shelf.symbol(key).ledger.history()

    def _walk_or_recall(
        self, key: PageKey, shelf: Shelf, shelved: Shelved, down_to: float, asked_at: int, may_fall_back: bool
    ) -> Steps[Walk]:
        try:
            since = self._since(asked_at, self._max_age(key, shelf, asked_at))
            # To refresh is to ask for every page again.
            ledger = Ledger(()) if self._settings.mode is Mode.REFRESH else shelved.ledger
            return (yield from self._walk(key, shelf, ledger, down_to, asked_at, since))
        except (ConnectionFailed, RequestTimeout) as error:
            if self._settings.mode is not Mode.ONLINE or not may_fall_back:
                raise
            try:
                shelved = shelf.symbol(key)
                found = self._recorded_walk(key, shelf, shelved, shelved.ledger, down_to)
            except CacheError:
                raise error from None
            head = found.ledger.head(0)
            self._tell_age(key, head.checked_at if head else 0, error)
            return found

    def _walk(
        self, key: PageKey, shelf: Shelf | None, ledger: Ledger, down_to: float, asked_at: int, since: float
    ) -> Steps[Walk]:
        plan = walk(ledger, since, down_to, asked_at)
        try:
            step = next(plan)
            while True:
                wanted = replace(key, next_key=step.next_key)
                if shelf is None:
                    page = yield from self._fetcher.unrecorded(wanted)
                else:
                    page = yield from self._fetcher.once(wanted, shelf, max(asked_at, int(step.since)), step.behind)
                step = plan.send(statement_of(wanted, page, step.behind or TOP))
        except StopIteration as done:
            found: Walk = done.value
            return found
        except ProtocolError as error:
            raise error if str(key) in str(error) else ProtocolError(f"{key}: {error}") from None

    def _recorded_walk(self, key: PageKey, shelf: Shelf, shelved: Shelved, ledger: Ledger, down_to: float) -> Walk:
        """A walk that must not fetch."""
        plan = walk(ledger, 0, down_to, 0)
        try:
            step = next(plan)
        except StopIteration as done:
            found: Walk = done.value
            return found
        raise shelved.damage(key, shelf.store.path) or shelf.store.miss(replace(key, next_key=step.next_key))

    def following_page(self, key: PageKey, head: Page) -> Steps[Page]:
        """The page behind a cursor, in a walk that began with `head`: what is recorded and still holds is as good."""
        shelf = self._shelf
        if shelf is None:
            return (yield from self._fetcher.unrecorded(key))
        begun_at = milliseconds(head.fetched_at)
        shelved = shelf.symbol(key)
        if self._settings.mode is not Mode.REFRESH:
            if (page := shelved.cut(key, 0, "cache")) is not None:
                return page
            # A cursor that is not anchored leads on within its generation only.
            recorded = shelf.store.recall(key)
            if recorded is not None and (self._settings.mode is Mode.OFFLINE or recorded.checked_at >= begun_at):
                return shelf.page(key, recorded)
            if self._settings.mode is Mode.OFFLINE:
                raise shelved.damage(key, shelf.store.path) or shelf.store.miss(key)
        return (yield from self._fetcher.once(key, shelf, milliseconds(head.checked_at), 0))

    # The record -------------------------------------------------------------------------------------------------------

    def _max_age(self, key: PageKey, shelf: Shelf, asked_at: int) -> float | None:
        """How old a page may be, in seconds; by the publication rule it depends on what is recorded."""
        max_age = self._settings.max_age
        if max_age != PUBLICATION:
            return max_age
        if self._settings.mode is not Mode.ONLINE:
            return DEFAULT_MAX_AGE
        head = shelf.symbol(key).ledger.head(0)
        if head is None:
            return DEFAULT_MAX_AGE
        table = key.table
        newest = day_of(head.rows[0].at, table.market) if head.rows else None
        news = may_have_news(table.schedule, table.market, newest, moment(head.checked_at), moment(asked_at))
        return DEFAULT_MAX_AGE if news else None

    def _since(self, asked_at: int, max_age: float | None) -> float:
        """From when on a recorded page is fresh, by the mode; see `decide`."""
        if self._settings.mode is Mode.REFRESH:
            return asked_at + 1
        if self._settings.mode is Mode.OFFLINE or max_age is None:
            return 0
        return asked_at - max_age * 1000 + 1

    def _tell_age(self, key: PageKey, checked_at: int, error: Exception) -> None:
        warnings.warn(
            f"{key} is answered from the record of {_age(now() - checked_at)} ago, because OpenD could not be asked: {error}",
            ShortInterestWarning,
            stacklevel=2,
        )


def _age(milliseconds: int) -> str:
    """`45 s`, `12 min`, `3 h 20 min`, `9 days`."""
    minutes, seconds = divmod(milliseconds // 1000, 60)
    hours, minutes = divmod(minutes, 60)
    if hours >= 48:
        return f"{hours // 24} days"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min" if minutes else f"{seconds} s"
