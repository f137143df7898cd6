"""How questions are answered: from the record, or from OpenD, by the rules of a mode.

Looking into the record is short and done at once; what has to be waited for is yielded as a step (see `steps`).
"""

from __future__ import annotations

from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path

from opend_si.cache.claims import Claims
from opend_si.cache.guard import GuardedStore
from opend_si.cache.store import Store, Version
from opend_si.client.claims import Claim, once
from opend_si.client.fetcher import Fetcher
from opend_si.client.freshness import fresh_since
from opend_si.client.status import Status
from opend_si.client.steps import Steps
from opend_si.dates import day_of, may_have_news, milliseconds, moment, now
from opend_si.errors import (
    CacheError,
    CacheMiss,
    ConnectionFailed,
    InvalidArgument,
    ProtocolError,
    RequestTimeout,
    ShortInterestError,
    warn,
)
from opend_si.history.ledger import Ledger
from opend_si.history.record import Record, Reply, SymbolRecord, page_of, without_rows_from
from opend_si.history.statements import BOTTOM, TOP, check_page, is_timestamp
from opend_si.history.vintages import Vintages
from opend_si.history.walk import MAX_RESTARTS, Cursors, Walk, recorded_walk, walk
from opend_si.pages import Page, PageKey
from opend_si.settings import DEFAULT_MAX_AGE, PUBLICATION, Mode, Settings
from opend_si_schema.definitions import Call


class Answers:
    """Gives pages and histories by the rules of some settings."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._fetcher = Fetcher(settings)
        self._record: Record | None = None
        if settings.mode is not Mode.BYPASS:
            store = Store(settings.cache, may_write=settings.mode is not Mode.OFFLINE)
            self._record = Record(GuardedStore(store, settings.mode))
            self._claims = Claims(settings.cache)

    def close(self) -> None:
        """Close the files."""
        if self._record is not None:
            self._record.store.close()
            self._claims.close()
        self._fetcher.close()

    def status(self, call: Call) -> Steps[Status]:
        """Look at the record and the budget, and connect; no request of a limit is spent."""
        settings = self._settings
        cache = None if settings.mode is Mode.BYPASS else settings.cache
        here = settings.address, str(settings.mode), cache, _recorded(cache, call)
        if settings.mode is Mode.OFFLINE:
            return Status(*here)
        try:
            allowance = yield from self._fetcher.allowance(call)
        except ShortInterestError as error:
            return Status(*here, error=error)
        if allowance is None:
            return Status(*here, is_connected=True)
        return Status(*here, is_connected=True, requests_left=allowance.requests, wait=allowance.wait)

    # Pages ------------------------------------------------------------------------------------------------------------

    def page(self, key: PageKey) -> Steps[Page]:
        """One page: as recorded, cut from recorded ones, or fetched."""
        asked_at = now()
        return (yield from self.page_after(key, asked_at, self._fresh_since(key, asked_at), 0))

    def pages(self, key: PageKey) -> PageWalk:
        """A walk from the newest page to the end; `key` is that of the newest."""
        return PageWalk(self, self._settings.mode, key)

    def page_after(self, key: PageKey, asked_at: int, since: float, after: int) -> Steps[Page]:
        """A page that was checked at or after `since`. `after`: in a walk, the timestamp of the row before it, else 0."""
        record = self._record
        if record is None:
            return (yield from self._unrecorded(key, asked_at)).page()
        recorded = record.symbol(key)
        if (page := recorded.page(key, since, after)) is not None:
            return page
        if self._settings.mode is Mode.OFFLINE:
            page = self._replayed(key, recorded, after)
            if page is None:
                raise recorded.damage(key, record.store.path) or record.store.miss(key)
            return page
        try:
            return (yield from self._fetch_page(key, record, recorded.trusted, asked_at, since, after))
        except (ConnectionFailed, RequestTimeout) as error:
            page = self._replayed(key, recorded, after)
            if self._settings.mode is Mode.REFRESH or page is None:
                raise
            self._tell_age(key, milliseconds(page.checked_at), error)
            return page

    def _replayed(self, key: PageKey, recorded: SymbolRecord, after: int) -> Page | None:
        """What is recorded of a page when OpenD cannot be asked: its rows in a walk, else what it last was."""
        page = recorded.page(key, 0, after)
        if page is None and after:
            chunk = recorded.ledger.chunk(after)
            return recorded.made(key, chunk, "cache") if chunk is not None else None
        return page or recorded.newest(key)

    def _fetch_page(
        self, key: PageKey, record: Record, ledger: Ledger, asked_at: int, since: float, after: int
    ) -> Steps[Page]:
        """Fetch a page; where cursors are anchored the longest one, from which this and later ones are cut."""
        style = ledger.is_anchored
        # A cursor behind no row that is known is asked for as it is: nothing tells what it leads to.
        is_known = style is True and is_timestamp(key.next_key) and ledger.row_before(key.next_key) > 0
        is_cuttable = is_known if key.next_key else style is not False
        if key.num < key.call.page_size.maximum and is_cuttable:
            # What is fresh of the rows wanted is not fetched again.
            top = float(key.next_key) if key.next_key else TOP
            frontier = ledger.frontier(top, since)
            next_key = "" if frontier == TOP else str(int(frontier))
            wanted = replace(key, next_key=next_key, num=key.call.page_size.maximum)
            place = ledger.row_before(next_key) if next_key else 0
            answer = yield from self._once(wanted, record, asked_at, asked_at + 1, place)
            with suppress(ProtocolError):  # not fit for a history, but a page all the same
                statement = answer.statement(place)
                cut = ledger.with_statement(statement).cut(top, key.num, min(since, statement.checked_at))
                if cut is not None:
                    return page_of(key, cut, answer.source)
        place = after or (ledger.row_before(key.next_key) if key.next_key else 0)
        return (yield from self._once(key, record, asked_at, asked_at + 1, place)).page()

    def _unrecorded(self, key: PageKey, asked_at: int) -> Steps[Reply]:
        """Fetch a page, and keep nothing."""
        body, content = yield from self._fetcher.fetch(key, None, lambda: None)
        return Reply(key, content, Version.reply(key, body, asked_at, max(now(), asked_at + 1), 0), "opend")

    def _once(self, key: PageKey, record: Record, asked_at: int, since: float, after: int) -> Steps[Reply]:
        """Fetch and record a page, unless another thread or process does: then wait for theirs.

        Theirs will do if it was checked at or after `since`. `after`: the timestamp of the row before the page.
        """

        def look() -> Reply | None:
            reply = record.recall(key)
            if reply is None or not since <= reply.version.checked_at <= now() + 1:
                return None
            return reply

        def fetch(claim: Claim) -> Steps[Reply]:
            body, content = yield from self._fetcher.fetch(key, claim, lambda: None)
            return record.record(key, body, content, asked_at, after)

        return once(self._claims, key, self._settings.timeout, look, fetch)

    # Histories --------------------------------------------------------------------------------------------------------

    def history(
        self, key: PageKey, down_to: float, as_of: int | None = None, *, may_fall_back: bool = True
    ) -> Steps[tuple[Walk, Vintages]]:
        """All rows down to a timestamp, and how their values came to be known.

        `key` is that of the longest first page; `as_of` looks back, in milliseconds. With OpenD gone the record answers if
        it `may_fall_back`.
        """
        asked_at = now()
        record = self._record
        if record is None:
            if as_of is not None:
                raise InvalidArgument("as_of looks back on what is recorded: mode bypass has no record")
            found = yield from self._walk(key, Ledger(), down_to, asked_at, asked_at + 1)
            return found, found.ledger.vintages()
        recorded = record.symbol(key)
        if as_of is not None:
            try:
                found = self._recorded_walk(key, record, recorded, recorded.ledger.up_to(as_of), down_to)
            except CacheMiss:
                raise CacheMiss(
                    f"As of {moment(as_of):%Y-%m-%d %H:%M:%S} UTC, {key} was not completely recorded in {record.store.path}. Name a later "
                    "moment, or a later start."
                ) from None
        elif self._settings.mode is Mode.OFFLINE:
            found = self._recorded_walk(key, record, recorded, recorded.ledger, down_to)
        else:
            found = yield from self._walk_or_recall(key, record, recorded, down_to, asked_at, may_fall_back)
        # What was fetched may be more than what could be recorded.
        return found, record.symbol(key).ledger.vintages(found.ledger, as_of)

    def need_record(self) -> None:
        """`CacheError` where nothing that is fetched could be kept."""
        if self._record is not None:
            self._record.store.need_writable()

    def recorded_history(self, key: PageKey) -> Vintages:
        """How the recorded values of a symbol came to be known."""
        if self._record is None:
            raise InvalidArgument("mode bypass has no record to look back on")
        recorded = self._record.symbol(key)
        if not recorded.has_pages:
            raise recorded.damage(key, self._record.store.path) or self._record.store.miss(key)
        return recorded.ledger.vintages()

    def _walk_or_recall(
        self, key: PageKey, record: Record, recorded: SymbolRecord, down_to: float, asked_at: int, may_fall_back: bool
    ) -> Steps[Walk]:
        # To refresh is to ask for every page again.
        ledger = Ledger() if self._settings.mode is Mode.REFRESH else recorded.trusted
        try:
            return (yield from self._walk(key, ledger, down_to, asked_at, self._fresh_since(key, asked_at)))
        except (ConnectionFailed, RequestTimeout) as error:
            if self._settings.mode is not Mode.ONLINE or not may_fall_back:
                raise
            try:
                recorded = record.symbol(key)
                found = self._recorded_walk(key, record, recorded, recorded.ledger, down_to)
            except CacheError:
                raise error from None
            head = found.ledger.head(0)
            self._tell_age(key, head.checked_at if head else 0, error)
            return found

    def _walk(self, key: PageKey, ledger: Ledger, down_to: float, asked_at: int, since: float) -> Steps[Walk]:
        plan = walk(ledger, since, down_to, asked_at)
        try:
            step = next(plan)
            while True:
                answer = yield from self._fetch(replace(key, next_key=step.next_key), asked_at, step.since, step.after)
                step = plan.send(answer.statement(step.after))
        except StopIteration as done:
            found: Walk = done.value
            return found
        except ProtocolError as error:
            raise _naming(key, error) from None

    def _fetch(self, key: PageKey, asked_at: int, since: float, after: int) -> Steps[Reply]:
        if self._record is None:
            return (yield from self._unrecorded(key, asked_at))
        return (yield from self._once(key, self._record, asked_at, since, after))

    def _recorded_walk(
        self, key: PageKey, record: Record, recorded: SymbolRecord, ledger: Ledger, down_to: float
    ) -> Walk:
        found = recorded_walk(ledger, down_to)
        if isinstance(found, Walk):
            return found
        raise recorded.damage(key, record.store.path) or record.store.miss(replace(key, next_key=found.next_key))

    # Freshness --------------------------------------------------------------------------------------------------------

    def _fresh_since(self, key: PageKey, asked_at: int) -> float:
        """When a recorded page must have been checked to answer; by the publication rule that depends on the record."""
        max_age = self._settings.max_age
        if max_age == PUBLICATION:
            max_age = None if self._is_current(key, asked_at) else DEFAULT_MAX_AGE
        return fresh_since(self._settings.mode, asked_at, max_age)

    def _is_current(self, key: PageKey, asked_at: int) -> bool:
        """Whether, by the market's rule, nothing can have been published since the newest page was last checked."""
        head = self._record.symbol(key).ledger.head(0) if self._record is not None else None
        if head is None or self._settings.mode is not Mode.ONLINE:
            return False
        table = key.table
        newest = day_of(head.rows[0].at, table.market) if head.rows else None
        return not may_have_news(table.schedule, table.market, newest, moment(head.checked_at), moment(asked_at))

    def _tell_age(self, key: PageKey, checked_at: int, error: Exception) -> None:
        age = _age(now() - checked_at)
        warn(f"{key} is answered from the record of {age} ago, because OpenD could not be asked: {error}")


class PageWalk:
    """The pages of a symbol one after the other. Every row comes once, also while rows are published.

    The newest page is as fresh as the mode asks for; what is recorded below it is as good as a walk would give.
    """

    def __init__(self, source: Answers, mode: Mode, key: PageKey) -> None:
        self._source, self._mode, self._key = source, mode, key
        self._asked_at = 0
        self._behind: float = TOP
        self._cursors = Cursors()
        self._is_over = False

    def advance(self) -> Steps[Page | None]:
        """The next page; None at the end."""
        try:
            return (yield from self._advance())
        except ProtocolError as error:
            raise _naming(self._key, error) from None

    def _advance(self) -> Steps[Page | None]:
        passed_by = 0
        while not self._is_over:
            page = yield from self._next()
            rows = page.content.rows(self._key.table)
            check_page(rows, page.next, str(self._key))
            left = without_rows_from(page, self._key, self._behind)
            self._behind = min(self._behind, rows[-1].at if rows else BOTTOM)
            self._turn_to(page)
            # Every row of it has come before: a whole page was published since the one before it.
            if len(page) and not len(left) and page.next is not None:
                passed_by += 1
                if passed_by > MAX_RESTARTS:
                    raise ProtocolError("the cursors do not lead further; the walk would not end")
                continue
            return left
        return None

    def _next(self) -> Steps[Page]:
        if self._behind == TOP:
            self._asked_at = now()
            return (yield from self._source.page(self._key))
        # What is recorded below the newest page is as good as a walk would give; to refresh is to ask again.
        since = fresh_since(self._mode, self._asked_at, None)
        return (yield from self._source.page_after(self._key, self._asked_at, since, int(self._behind)))

    def _turn_to(self, page: Page) -> None:
        """The next page is the one behind this."""
        if page.next is None:
            self._is_over = True
            return
        if page.source == "opend":
            self._cursors.follow(page.next)
        self._key = replace(self._key, next_key=page.next)


def _recorded(cache: Path | None, call: Call) -> int:
    """Of how many symbols something is recorded."""
    if cache is None:
        return 0
    with closing(Store(cache, may_write=False)) as store:
        return sum(len(store.symbols(call.proto_id, table.market.prefix)) for table in call.tables)


def _naming(key: PageKey, error: ProtocolError) -> ProtocolError:
    """The error; one that does not know its symbol is told with it."""
    return error if str(key) in str(error) else ProtocolError(f"{key}: {error}")


def _age(milliseconds: int) -> str:
    """`45 s`, `12 min`, `3 h 20 min`, `9 days`."""
    minutes, seconds = divmod(milliseconds // 1000, 60)
    hours, minutes = divmod(minutes, 60)
    if hours >= 48:
        return f"{hours // 24} days"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min" if minutes else f"{seconds} s"
