"""How one page is got: from the record, or from OpenD, once a machine and within the rate budget.

Written as a generator of steps, so that it exists once for the blocking and the asyncio client: it yields what has to be
waited for (`Account`, `Exchange`, `Sleep`) and is sent the result, or thrown the error. What it does itself is short:
looking into the record and the budget.
"""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Generator, Hashable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias, TypeVar

from opend_si.cache.budget import Budget, Slot
from opend_si.cache.guard import GuardedStore
from opend_si.cache.memory import Memory
from opend_si.cache.policy import Decision, Mode, decide
from opend_si.cache.store import Recorded, Store
from opend_si.dates import day_of, may_have_news, utc
from opend_si.errors import (
    CacheCorrupt,
    CacheError,
    CacheMiss,
    ConnectionFailed,
    InvalidArgument,
    ProtocolError,
    RateLimited,
    RequestTimeout,
    ShortInterestWarning,
)
from opend_si.pages import MAX_CURSOR_LENGTH, Content, Page, PageKey, Source, encode_page
from opend_si.planner import TOP, Cut, History, Ledger, Statement, Walk, check_page, walk
from opend_si.settings import DEFAULT_MAX_AGE, PUBLICATION, Settings
from opend_si.wire.link import LinkCut

_T = TypeVar("_T")

# Decoded pages kept in memory, about 20 KB each when they have 50 rows; and symbols whose whole record is.
MAX_PAGES, MAX_SYMBOLS = 512, 16
# Seconds between two looks at the budget: another process may give a slot back early.
_BUDGET_LOOK = 0.25
# Seconds between two looks for the page that another thread or process is fetching; it doubles up to the last.
_FIRST_LOOK, _LAST_LOOK = 0.005, 0.08


@dataclass(frozen=True, slots=True)
class Account:
    """Connect if need be; the result is the account that OpenD is logged in with."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """Send the request for a page; the result is the body of the reply."""

    key: PageKey


@dataclass(frozen=True, slots=True)
class Sleep:
    """Wait. `budget` is how long the rate budget will make us wait in all, None for another cause."""

    seconds: float
    budget: float | None = None


Step: TypeAlias = Account | Exchange | Sleep
Steps: TypeAlias = Generator[Step, Any, _T]


class PageSource:
    """Gives pages and histories by the rules of some settings."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._store: GuardedStore | None = None
        if settings.mode is not Mode.BYPASS:
            store = Store(settings.cache, may_write=settings.mode is not Mode.OFFLINE)
            self._store = GuardedStore(store, settings.mode)
        # Offline nothing is sent, so the budget is not even opened.
        counts = settings.rate is not None and settings.mode is not Mode.OFFLINE
        self._budget = Budget(settings.budget) if counts else None
        self._memory: Memory[bytes, Content] = Memory(MAX_PAGES)
        self._shelf: Memory[tuple[str, str], _Shelved] = Memory(MAX_SYMBOLS)

    def close(self) -> None:
        """Close the files."""
        if self._store is not None:
            self._store.close()
        if self._budget is not None:
            self._budget.close()

    # One page ---------------------------------------------------------------------------------------------------------

    def page(self, key: PageKey) -> Steps[Page]:
        """One page: as recorded, cut from recorded ones, or fetched."""
        store = self._store
        if store is None:
            return (yield from self._fetch_unrecorded(key))
        asked_at = _now()
        recorded = store.recall(key)
        checked_at = recorded.checked_at if recorded else None
        max_age = self._max_age(key, store, asked_at)
        decision = decide(self._settings.mode, checked_at, asked_at, _now(), max_age)
        if recorded is not None and decision is Decision.SERVE:
            return self._recalled(key, recorded)
        shelved, since = self._shelved(key, store), self._since(asked_at, max_age)
        if (page := shelved.cut(key, since, "cache")) is not None:
            return page
        if decision is Decision.MISS:
            raise shelved.damage(key, store) or store.miss(key)
        try:
            return (yield from self._fetch_page(key, store, shelved.ledger, asked_at, since))
        except (ConnectionFailed, RequestTimeout) as error:
            if self._settings.mode is Mode.REFRESH:
                raise
            page = self._recalled(key, recorded) if recorded else shelved.cut(key, 0, "cache")
            if page is None:
                raise
            self._tell_age(key, int(page.checked_at.timestamp() * 1000), error)
            return page

    def _fetch_page(
        self, key: PageKey, store: GuardedStore, ledger: Ledger, asked_at: int, since: float
    ) -> Steps[Page]:
        """Fetch a page; where cursors are anchored the longest one, from which this and later ones are cut."""
        style = ledger.style
        is_cuttable = style is True and _is_timestamp(key.next_key) if key.next_key else style is not False
        if key.num < key.call.page_size.maximum and is_cuttable:
            # What is fresh of the rows wanted is not fetched again.
            frontier = ledger.frontier(float(key.next_key) if key.next_key else TOP, since)
            next_key = "" if frontier == TOP else str(int(frontier))
            wanted = replace(key, next_key=next_key, num=key.call.page_size.maximum)
            fetched = yield from self._fetch_once(wanted, store, asked_at, 0)
            with suppress(ProtocolError):  # not fit for a history, but a page all the same
                statement = _statement(wanted, fetched, frontier)
                page = _Shelved(None, ledger.with_statement(statement), 0).cut(key, since, fetched.source)
                if page is not None:
                    return page
        return (yield from self._fetch_once(key, store, asked_at, 0))

    # A history --------------------------------------------------------------------------------------------------------

    def history(self, key: PageKey, down_to: float, as_of: int | None = None) -> Steps[tuple[Walk, History]]:
        """All rows down to a timestamp, and how their values came to be known.

        `key` is that of the longest first page; `as_of` looks back, in milliseconds.
        """
        asked_at = _now()
        store = self._store
        if store is None:
            if as_of is not None:
                raise InvalidArgument("as_of looks back on what is recorded: mode bypass has no record")
            found = yield from self._walk(key, None, Ledger(()), down_to, asked_at, asked_at)
            return found, found.ledger.history()
        shelved = self._shelved(key, store)
        if as_of is not None:
            try:
                found = self._recorded_walk(key, store, shelved, shelved.ledger.up_to(as_of), down_to)
            except CacheMiss:
                raise CacheMiss(
                    f"As of {utc(as_of):%Y-%m-%d %H:%M:%S} UTC, {key} was not completely recorded in {store.path}. Name a later "
                    "moment, or a later start."
                ) from None
        elif self._settings.mode is Mode.OFFLINE:
            found = self._recorded_walk(key, store, shelved, shelved.ledger, down_to)
        else:
            found = yield from self._walk_or_recall(key, store, shelved, down_to, asked_at)
        # What was fetched may be more than what could be recorded.
        return found, self._shelved(key, store).ledger.history(found.ledger, as_of)

    def recorded_history(self, key: PageKey) -> History:
        """How the recorded values of a symbol came to be known."""
        if self._store is None:
            raise InvalidArgument("mode bypass has no record to look back on")
        return self._shelved(key, self._store).ledger.history()

    def _walk_or_recall(
        self, key: PageKey, store: GuardedStore, shelved: _Shelved, down_to: float, asked_at: int
    ) -> Steps[Walk]:
        try:
            since = self._since(asked_at, self._max_age(key, store, asked_at))
            # To refresh is to ask for every page again.
            ledger = Ledger(()) if self._settings.mode is Mode.REFRESH else shelved.ledger
            return (yield from self._walk(key, store, ledger, down_to, asked_at, since))
        except (ConnectionFailed, RequestTimeout) as error:
            if self._settings.mode is not Mode.ONLINE:
                raise
            try:
                shelved = self._shelved(key, store)
                found = self._recorded_walk(key, store, shelved, shelved.ledger, down_to)
            except CacheError:
                raise error from None
            head = found.ledger.head(0)
            self._tell_age(key, head.checked_at if head else 0, error)
            return found

    def _walk(
        self, key: PageKey, store: GuardedStore | None, ledger: Ledger, down_to: float, asked_at: int, since: float
    ) -> Steps[Walk]:
        plan = walk(ledger, since, down_to, asked_at)
        try:
            step = next(plan)
            while True:
                wanted = replace(key, next_key=step.next_key)
                if store is None:
                    page = yield from self._fetch_unrecorded(wanted)
                else:
                    page = yield from self._fetch_once(wanted, store, max(asked_at, int(step.since)), step.behind)
                step = plan.send(_statement(wanted, page, step.behind or TOP))
        except StopIteration as done:
            found: Walk = done.value
            return found

    def _recorded_walk(
        self, key: PageKey, store: GuardedStore, shelved: _Shelved, ledger: Ledger, down_to: float
    ) -> Walk:
        """A walk that must not fetch."""
        plan = walk(ledger, 0, down_to, 0)
        try:
            step = next(plan)
        except StopIteration as done:
            found: Walk = done.value
            return found
        raise shelved.damage(key, store) or store.miss(replace(key, next_key=step.next_key))

    def following_page(self, key: PageKey, head: Page) -> Steps[Page]:
        """The page behind a cursor, in a walk that began with `head`: what is recorded and still holds is as good."""
        store = self._store
        if store is None:
            return (yield from self._fetch_unrecorded(key))
        begun_at = int(head.fetched_at.timestamp() * 1000)
        shelved = self._shelved(key, store)
        if self._settings.mode is not Mode.REFRESH:
            if (page := shelved.cut(key, 0, "cache")) is not None:
                return page
            # A cursor that is not anchored leads on within its generation only.
            recorded = store.recall(key)
            if recorded is not None and (self._settings.mode is Mode.OFFLINE or recorded.checked_at >= begun_at):
                return self._recalled(key, recorded)
            if self._settings.mode is Mode.OFFLINE:
                raise shelved.damage(key, store) or store.miss(key)
        return (yield from self._fetch_once(key, store, begun_at, 0))

    # The record -------------------------------------------------------------------------------------------------------

    def _max_age(self, key: PageKey, store: GuardedStore, asked_at: int) -> float | None:
        """How old a page may be, in seconds; by the publication rule it depends on what is recorded."""
        max_age = self._settings.max_age
        if max_age != PUBLICATION:
            return max_age
        if self._settings.mode is not Mode.ONLINE:
            return DEFAULT_MAX_AGE
        head = self._shelved(key, store).ledger.head(0)
        if head is None:
            return DEFAULT_MAX_AGE
        table = key.table
        newest = day_of(head.rows[0].at, table.market) if head.rows else None
        news = may_have_news(table.schedule, table.market, newest, utc(head.checked_at), utc(asked_at))
        return DEFAULT_MAX_AGE if news else None

    def _since(self, asked_at: int, max_age: float | None) -> float:
        """From when on a recorded page is fresh, by the mode; see `decide`."""
        if self._settings.mode is Mode.REFRESH:
            return asked_at + 1
        if self._settings.mode is Mode.OFFLINE or max_age is None:
            return 0
        return asked_at - max_age * 1000 + 1

    def _shelved(self, key: PageKey, store: GuardedStore) -> _Shelved:
        """What is recorded of a symbol, read again only when the file has changed."""
        name = (key.call.name, str(key.symbol))
        stamp = store.stamp()
        shelved = self._shelf.get(name)
        if shelved is None or stamp is None or shelved.stamp != stamp:
            shelved = self._read_ledger(key, store, stamp)
            self._shelf.keep(name, shelved)
        return shelved

    def _read_ledger(self, key: PageKey, store: GuardedStore, stamp: Hashable) -> _Shelved:
        now, damaged = _now(), 0
        found: list[tuple[Recorded, Content]] = []
        for row in store.versions(key.call.proto_id, str(key.symbol)):
            if not row.is_sound:
                damaged += 1
                continue
            found.append((row, self._content(replace(key, next_key=row.next_key, num=row.num), row)))
        statements: list[Statement] = []
        style: bool | None = None
        for row, content in sorted(found, key=lambda entry: entry[0].checked_at):
            # After a clock was set back, the page's age is not known.
            checked_at = row.checked_at if row.checked_at <= now else 0
            try:
                said = _say(key, row, content, checked_at)
            except ProtocolError:
                continue  # served as it is when it is asked for, but no part of a history
            statements.append(said)
            style = said.is_anchored if said.is_anchored is not None else style
        placed = (replace(said, hi=_place(said, style)) for said in statements)
        return _Shelved(stamp, Ledger(placed), damaged)

    def _content(self, key: PageKey, recorded: Recorded) -> Content:
        content = self._memory.get(recorded.checksum)
        if content is None:
            content = Content.read(key, recorded.body)
            self._memory.keep(recorded.checksum, content)
        return content

    def _recalled(self, key: PageKey, recorded: Recorded) -> Page:
        content = self._content(key, recorded)
        return Page.of(key, content, recorded.body, "cache", recorded.fetched_at, recorded.checked_at)

    def _tell_age(self, key: PageKey, checked_at: int, error: Exception) -> None:
        warnings.warn(
            f"{key} is answered from the record of {_age(_now() - checked_at)} ago, because OpenD could not be asked: {error}",
            ShortInterestWarning,
            stacklevel=2,
        )

    # OpenD ------------------------------------------------------------------------------------------------------------

    def _fetch_unrecorded(self, key: PageKey) -> Steps[Page]:
        body, content = yield from self._fetch(key, None)
        now = _now()
        return Page.of(key, content, body, "opend", now, now)

    def _fetch_once(self, key: PageKey, store: GuardedStore, asked_at: int, behind: int) -> Steps[Page]:
        """Fetch and record a page, unless another thread or process does: then wait for theirs."""

        def theirs() -> Page | None:
            recorded = store.recall(key)
            if recorded is None or not asked_at < recorded.checked_at <= _now():
                return None
            return self._recalled(key, recorded)

        claim = _Claim(store, key, self._settings.timeout)
        pause = _FIRST_LOOK
        while not claim.take():
            yield Sleep(pause)
            pause = min(2 * pause, _LAST_LOOK)
            if (page := theirs()) is not None:
                return page
        try:
            if (page := theirs()) is not None:  # it came between the first look and the claim
                return page
            body, content = yield from self._fetch(key, claim)
            now = _now()
            written = store.record(key, body, now, behind)
            if written is not None:
                self._memory.keep(written.checksum, content)
            return Page.of(key, content, body, "opend", written.fetched_at if written else now, now)
        finally:
            claim.give_back()

    def _fetch(self, key: PageKey, claim: _Claim | None) -> Steps[tuple[bytes, Content]]:
        """Ask OpenD. A request that was cut off is repeated once; so is one that met the limit, a window later."""
        cut = limited = False
        while True:
            try:
                body = yield from self._exchange(key, claim)
                return body, Content.read(key, body)
            except LinkCut:
                if cut:
                    raise
                cut = True
            except RateLimited:
                if limited or self._budget is None:
                    raise
                limited = True
                yield from self._exhaust(key)

    def _exchange(self, key: PageKey, claim: _Claim | None) -> Steps[bytes]:
        if self._budget is None:
            return (yield from self._send(key, claim))
        slot = yield from self._reserve(self._budget, key, claim)
        try:
            body = yield from self._send(key, claim)
        except BaseException as error:
            if isinstance(error, ConnectionFailed) and not isinstance(error, LinkCut):
                self._budget.cancel(slot)  # nothing was sent
            else:
                self._settle(slot)
            raise
        self._settle(slot)
        return body

    def _send(self, key: PageKey, claim: _Claim | None) -> Steps[bytes]:
        if claim is not None:
            claim.take()  # renewed: it now outlasts the request
        body: bytes = yield Exchange(key)
        return body

    def _reserve(self, budget: Budget, key: PageKey, claim: _Claim | None) -> Steps[Slot]:
        assert self._settings.rate is not None
        bucket = yield from self._bucket(key)
        while True:
            slot = budget.reserve(bucket, self._settings.rate, self._settings.timeout)
            if isinstance(slot, Slot):
                return slot
            if claim is not None:
                claim.renew()
            yield Sleep(min(max(slot, 0.001), _BUDGET_LOOK), budget=slot)

    def _settle(self, slot: Slot) -> None:
        assert self._budget is not None
        assert self._settings.rate is not None
        self._budget.settle(slot, self._settings.rate)

    def _exhaust(self, key: PageKey) -> Steps[None]:
        assert self._budget is not None
        assert self._settings.rate is not None
        bucket = yield from self._bucket(key)
        self._budget.exhaust(bucket, self._settings.rate)

    def _bucket(self, key: PageKey) -> Steps[str]:
        """OpenD counts each account and protocol by itself."""
        account = yield Account()
        return f"{account}/{key.call.proto_id}"


@dataclass(frozen=True, slots=True)
class _Shelved:
    """What is recorded of a symbol, as it was read."""

    stamp: Hashable
    ledger: Ledger
    damaged: int
    cuts: dict[tuple[str, int], tuple[Cut, Content, bytes]] = field(default_factory=dict)

    def cut(self, key: PageKey, since: float, source: Source) -> Page | None:
        """A page cut from larger recorded ones that were checked at or after `since`; None if they do not hold it."""
        name = (key.next_key, key.num)
        known = self.cuts.get(name)
        if known is None or known[0].checked_at < since:
            top = float(key.next_key) if _is_timestamp(key.next_key) else TOP
            cut = None if key.next_key and top == TOP else self.ledger.cut(top, key.num, since)
            if cut is None:
                return None
            content = Content.of_rows(key, cut.rows, cut.next)
            known = self.cuts[name] = cut, content, encode_page(key, cut.rows, cut.next)
        cut, content, body = known
        return Page.of(key, content, body, source, cut.fetched_at, cut.checked_at)

    def damage(self, key: PageKey, store: GuardedStore) -> CacheCorrupt | None:
        """The error if what is missing may have been lost to damage."""
        if not self.damaged:
            return None
        return CacheCorrupt(
            f"{key}: {self.damaged} recorded pages in {store.path} do not match their checksums, and what was asked is not "
            "among the others. Ask for it in mode online, and it is recorded again."
        )


def _is_timestamp(next_key: str) -> bool:
    return next_key.isascii() and next_key.isdigit()


def _position(next_key: str, behind: int, style: bool | None) -> float | None:
    """Below which row a page stands; None where that is not known."""
    if not next_key:
        return TOP
    if behind:
        return behind
    return int(next_key) if style and _is_timestamp(next_key) else None


def _place(said: Statement, style: bool | None) -> float | None:
    """The position of a recorded page, unless its own rows say otherwise: then rows were published under its walk."""
    hi = _position(said.next_key, int(said.hi or 0) if said.hi != TOP else 0, style)
    return None if hi is not None and said.rows and said.rows[0].at >= hi else hi


def _say(key: PageKey, row: Recorded, content: Content, checked_at: int) -> Statement:
    rows = content.rows(key.table)
    check_page(rows, content.next, f"recorded {key}")
    return Statement(
        row.next_key, row.num, row.behind, rows, content.next, row.fetched_at, checked_at, row.superseded_at
    )


def _statement(key: PageKey, page: Page, hi: float | None) -> Statement:
    """What a page that was just fetched says."""
    rows = page.content.rows(key.table)
    check_page(rows, page.next, str(key))
    if page.next is not None and (len(page.next) > MAX_CURSOR_LENGTH or not page.next.isprintable()):
        raise ProtocolError(f"{key}: the cursor {page.next[:40]!r} is none that OpenD gives")
    fetched_at, checked_at = (int(time.timestamp() * 1000) for time in (page.fetched_at, page.checked_at))
    return Statement(key.next_key, key.num, hi, rows, page.next, fetched_at, checked_at)


class _Claim:
    """This thread's right to fetch a page. It lapses by itself after the longest time that a request can last."""

    def __init__(self, store: GuardedStore, key: PageKey, seconds: float) -> None:
        self._store, self._key, self._seconds = store, key, seconds
        self._owner = f"{os.getpid()}-{os.urandom(8).hex()}"
        self._taken_at = 0.0

    def take(self) -> bool:
        """Take or renew it. False: another has it."""
        self._taken_at = time.monotonic()
        return self._store.claim(self._key, self._owner, self._seconds)

    def renew(self) -> None:
        """Renew it if half of its time has passed."""
        if time.monotonic() - self._taken_at > self._seconds / 2:
            self.take()

    def give_back(self) -> None:
        self._store.release(self._key, self._owner)


def _now() -> int:
    return int(time.time() * 1000)


def _age(milliseconds: int) -> str:
    """`45 s`, `12 min`, `3 h 20 min`, `9 days`."""
    minutes, seconds = divmod(milliseconds // 1000, 60)
    hours, minutes = divmod(minutes, 60)
    if hours >= 48:
        return f"{hours // 24} days"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min" if minutes else f"{seconds} s"
