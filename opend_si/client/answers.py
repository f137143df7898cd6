"""How questions are answered: from the record, or from OpenD, by the rules of a mode.

Looking into the record is short and done at once; what has to be waited for is yielded as a step (see `steps`).
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from opend_si.cache.budget import Budget
from opend_si.cache.claims import Claims
from opend_si.cache.versions import Clock, Event, Version
from opend_si.client.claims import Claim, once
from opend_si.client.doctor import Status, recorded_symbols
from opend_si.client.fetcher import Came, Fetcher
from opend_si.client.standing import Freshness, OtherServer, Peer, has_no_news, may_join
from opend_si.client.steps import Account, Steps
from opend_si.dates import BY_PUBLICATION, milliseconds, now, span_text
from opend_si.dates import moment as dates_moment
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
from opend_si.history.kept import Ground
from opend_si.history.ledger import Ledger, anything
from opend_si.history.record import Asked, Record
from opend_si.history.statements import BOTTOM, TOP, Change, Statement, is_timestamp
from opend_si.history.symbol import Reply, SymbolRecord, page_of
from opend_si.history.vintages import changes, known_at
from opend_si.history.walk import MAX_RESTARTS, Fetch, Told, Walk, recorded_walk, walk
from opend_si.pages import GATEWAY, Page, PageKey, Row
from opend_si.settings import DEFAULT_MAX_AGE, PUBLICATION, Mode, Settings
from opend_si.wire.errors import naming
from opend_si_schema.definitions import Call

_T = TypeVar("_T")

# Rows of a history that is long: that most of so many are revised is worth a warning.
_LONG = 20
# What is recorded where nothing is.
_NOTHING = SymbolRecord({}, Ledger(), None, is_whole=True)


@dataclass(frozen=True, slots=True)
class History:
    """The rows of a history, newest first, when each value was first seen, and whether all of it is in the record."""

    rows: tuple[Row, ...]
    known_at: list[int | None]
    is_kept: bool = True
    checked_at: int | None = None  # when OpenD last sent the newest page as it is
    origin: str | None = None  # who sent the rows
    heard: int | None = None  # how many rows the pages had that were fetched for it; None: none was
    ground: Ground | None = None  # what it is made of, where that alone makes it


@dataclass(frozen=True, slots=True)
class Synced:
    """What a sync found: all rows, those that were first seen, and those that OpenD sent differently before.

    `is_kept`: whether the record has them now.
    """

    rows: int
    new_rows: int = 0
    revised_rows: int = 0
    is_kept: bool = True


class Answers:
    """Gives pages and histories by the rules of some settings. Without a record, mode bypass, nothing is kept."""

    def __init__(self, settings: Settings, record: Record | None, claims: Claims, budget: Budget) -> None:
        self._settings, self._record, self._claims = settings, record, claims
        self._fetcher = Fetcher(settings, budget)
        self._has_warned = False
        self._peer = Peer(settings, self._fetcher)

    def status(self, call: Call) -> Steps[Status]:
        """Look at the record and the budget, and connect; no request of a limit is spent."""
        settings = self._settings
        cache = None if settings.mode is Mode.BYPASS else settings.cache
        here = settings.address, str(settings.mode), cache, recorded_symbols(cache, call)
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
        asked = self.asked(key)
        return (yield from self.page_after(key, asked, self._fresh(key, asked), 0, asked.stamp))

    def meet_for_walk(self, key: PageKey) -> Steps[None]:
        """Learn who is asked, where a walk of pages may have to ask: its first page has to be of the same origin."""
        if self._record is not None:
            recorded = self._record.symbol(key)
            head = recorded.ledger.head()
            is_short = head is None or not recorded.ledger.reaches(head, BOTTOM)
            yield from self._peer.meet(key, recorded.origin, is_needed=is_short)

    def origin_of(self, key: PageKey) -> str | None:
        """Who sent what answers for a symbol."""
        return None if self._record is None else self._peer.standing(key, self._record).origin

    def asked(self, key: PageKey | None = None) -> Asked:
        """Now, as the beginning of a question, which may be about the symbol of `key`."""
        return Asked(0, now(), time.monotonic_ns()) if self._record is None else self._record.asked(key)

    def page_after(
        self, key: PageKey, asked: Asked, fresh: Freshness, after: int, stamp: Hashable = None
    ) -> Steps[Page]:
        """A page that is fresh. `after`: in a walk, the timestamp of the row before it, else 0.

        `stamp` is that of the record's file, where it has just been looked at.
        """
        record = self._record
        if record is None:
            return (yield from self._unrecorded(key, asked)).page()
        if not after and (glanced := record.glance(key, fresh)) is not None:
            found, origin = glanced
            yield from self._peer.meet(key, origin)
            if self._peer.takes(origin):
                return found
        held = record.symbol(key, stamp)
        yield from self._peer.meet(key, held.origin)
        recorded = self._peer.seen(held)
        if (page := recorded.page(key, fresh, after)) is not None:
            return page
        if self._settings.mode is Mode.OFFLINE:
            page = _replayed(key, recorded, after)
            if page is None:
                raise recorded.damage(key, record.store.path) or record.store.miss(key.identity, str(key))
            return page
        try:
            if (yield Account()) is None:  # a gateway: it sees to it by itself that a page is asked for once
                place = after or (recorded.trusted.row_before(key.next_key) if key.next_key else 0)
                came = yield from self._fetcher.fetch(key, None, self.asked)
                return self._took(key, record, asked, place, came).page()
            yield from self._peer.ask(key, record)
            recorded = self._peer.standing(key, record)
            return (yield from self._fetch_page(key, record, recorded.trusted, asked, fresh, after))
        except (ConnectionFailed, RequestTimeout) as error:
            page = _replayed(key, recorded, after)
            if self._settings.mode is Mode.REFRESH or page is None:
                raise
            self._tell_age(key, milliseconds(page.checked_at), error)
            return page

    def _fetch_page(
        self, key: PageKey, record: Record, ledger: Ledger, asked: Asked, fresh: Freshness, after: int
    ) -> Steps[Page]:
        """Fetch a page; where cursors are anchored the longest one, from which this and later ones are cut."""

        def look() -> Page | None:
            return self._peer.standing(key, record).page(key, fresh, after)

        longest, style = key.call.page_size.maximum, ledger.is_anchored
        # A cursor behind no row that is known is asked for as it is: nothing tells what it leads to.
        is_known = style is not False and is_timestamp(key.next_key) and ledger.row_before(key.next_key) > 0
        is_cuttable = is_known if key.next_key else style is not False
        if key.num < longest and is_cuttable:
            # What is fresh of the rows wanted is not fetched again.
            top = float(key.next_key) if key.next_key else TOP
            frontier = ledger.frontier(top, fresh) if style else TOP
            next_key = "" if frontier == TOP else str(int(frontier))
            place = ledger.row_before(next_key) if next_key else 0
            found = yield from self._once(key.at(next_key, longest), record, asked, place, look)
            if isinstance(found, Page):
                return found
            # Not fit for a history, it is a page all the same, and nothing is cut from it.
            cut = found.standing.trusted.cut(top, key.num, fresh)
            if cut is not None:
                return page_of(key, cut, found.source, found.version.origin)
        place = after or (ledger.row_before(key.next_key) if key.next_key else 0)
        answer = yield from self._once(key, record, asked, place, look)
        return answer if isinstance(answer, Page) else answer.page()

    def _unrecorded(self, key: PageKey, asked: Asked) -> Steps[Reply]:
        """Fetch a page, and keep nothing."""
        return _unkept(key, asked, (yield from self._fetcher.fetch(key, None, self.asked)))

    def _once(
        self, key: PageKey, record: Record, asked: Asked, after: int, look: Callable[[], _T | None]
    ) -> Steps[Reply | _T]:
        """Fetch and record a page; or what is found when another thread or process has fetched it.

        `after`: the timestamp of the row before the page.
        """

        def fetch(claim: Claim) -> Steps[Reply | _T]:
            return self._took(key, record, asked, after, (yield from self._fetcher.fetch(key, claim, self.asked)))

        return once(self._claims, key, self._settings.timeout, look, fetch)

    def _took(self, key: PageKey, record: Record, asked: Asked, after: int, came: Came) -> Reply:
        """What came; it is recorded, if it is not a gateway's. Which of them answers may have changed meanwhile.

        A gateway keeps the record: what it once checked is not recorded as checked now.
        """
        held, (body, content, origin, sent) = record.symbol(key), came
        if origin != GATEWAY:
            self._peer.note(key, held.origin, origin)
            return record.record(key, body, content, asked=asked, sent=sent, after=after, origin=origin)
        here = held.page(key, anything, after)  # where the record is the gateway's own, too, it has that by now
        if not self._has_warned and (here is None or here.content.columns(key.table) != content.columns(key.table)):
            self._has_warned = True
            warn(
                f"{self._settings.address} is a gateway, which keeps the record: what it answers is not recorded here. "
                "mode bypass asks it without this warning."
            )
        return record.unkept(key, held, body, content, asked=asked, sent=sent, after=after, origin=origin)

    # Histories --------------------------------------------------------------------------------------------------------

    def history(
        self, key: PageKey, down_to: float, as_of: int | None, look: Callable[[Ground], _T | None]
    ) -> Steps[History | _T]:
        """All rows down to a timestamp. `key` is that of the longest first page; `as_of` looks back, in milliseconds.

        `look`: what answers already, where nothing has to be asked for. With OpenD gone the record answers.
        """
        asked, record = self.asked(key), self._record
        if record is None:
            if as_of is not None:
                raise InvalidArgument("as_of looks back on what is recorded: mode bypass has no record")
            return (yield from self._history_of_now(key, _NOTHING, down_to, asked))
        if as_of is not None:
            return self._history_as_of(key, record, down_to, as_of)
        held = record.symbol(key, asked.stamp)
        yield from self._peer.meet(key, held.origin)
        recorded = self._peer.seen(held)
        ground = Ground(recorded, asked.clock.steps, asked.at)
        may_stand = self._settings.mode is not Mode.REFRESH and recorded.odd is None
        is_fresh = may_stand and recorded.trusted.head(self._fresh(key, asked)) is not None
        if is_fresh and (kept := look(ground)) is not None:
            return kept
        if self._settings.mode is Mode.OFFLINE:
            return replace(self._recorded_history(key, record, recorded, down_to, asked, asked.clock), ground=ground)
        try:
            return (yield from self._history_of_now(key, recorded, down_to, asked))
        except (ConnectionFailed, RequestTimeout) as error:
            if self._settings.mode is not Mode.ONLINE:
                raise
            try:
                recorded = self._peer.standing(key, record)
                found = self._recorded_history(key, record, recorded, down_to, asked)
            except CacheError:
                raise error from None
            head = recorded.ledger.head()
            self._tell_age(key, head.checked_at if head else 0, error)
            return found

    def sync(self, key: PageKey) -> Steps[Synced]:
        """Bring a symbol's whole history up to date, and tell what that changed."""
        asked, record = self.asked(), self._record
        assert record is not None
        noted = json.loads(record.store.summary(*key.owner) or "{}")
        held = noted["origin"] if noted else record.symbol(key).origin
        yield from self._peer.meet(key, held)
        if noted and self._peer.origin in (None, held) and (rows := self._up_to_date(noted, record, asked)) is not None:
            return Synced(rows)
        yield from self._peer.meet(key, held, is_needed=True)  # what is new is so beside rows of the same origin
        recorded = self._peer.standing(key, record)
        before = recorded.ledger.known()
        found = yield from self._history_of_now(key, recorded, BOTTOM, asked)
        if not found.is_kept and found.origin != GATEWAY:  # what a gateway sends is in its own record
            raise CacheError(f"{key}: what OpenD sent could not all be recorded in {record.store.path}. Sync it again.")
        known = [before.get(row.at) for row in found.rows]
        revised = [
            row for old, row in zip(known, found.rows, strict=True) if old is not None and old.values != row.values
        ]
        # A gateway's record may be this one, where others may have recorded more by now.
        held = before if found.is_kept else record.symbol(key).ledger.known()
        is_kept = found.is_kept or (
            all(row.at in held for row in found.rows)
            and all(held[row.at].values != before[row.at].values for row in revised)
        )
        return Synced(len(found.rows), known.count(None), len(revised), is_kept)

    def _up_to_date(self, noted: dict[str, Any], record: Record, asked: Asked) -> int | None:
        """How many rows a symbol's history has, if what is noted of it says that it is whole and fresh."""
        if self._settings.mode is not Mode.ONLINE or self._settings.max_age == PUBLICATION:
            return None
        if not noted["complete"]:
            return None
        _, checked_seq, checked_at, sent = noted["head"]
        head = Statement("", 0, 0, (), None, checked_seq=checked_seq, checked_at=checked_at, sent=sent)
        is_fresh = Freshness(Mode.ONLINE, asked, self._settings.max_age, record.clock())
        return int(noted["joined"]) if is_fresh(head) else None

    def need_record(self) -> None:
        """`CacheError` where nothing that is fetched could be kept."""
        if self._record is not None:
            self._record.store.need_writable()

    def revisions(self, key: PageKey) -> list[Change]:
        """The recorded values of a symbol that OpenD sent differently later."""
        record = self._record
        if record is None:
            raise InvalidArgument("mode bypass has no record to look back on")
        recorded = record.everything(key)
        if not recorded.has_pages:
            raise recorded.damage(key, record.store.path) or record.store.miss(key.identity, str(key))
        return changes(recorded.ledger.statements, record.clock(), now())

    def _history_of_now(self, key: PageKey, recorded: SymbolRecord, down_to: float, asked: Asked) -> Steps[History]:
        fresh = self._fresh(key, asked)
        if recorded.odd is not None and self._settings.mode is Mode.ONLINE:
            # The newest page is fit for no history: what stands below it may not be joined to another one.
            fresh = Freshness(Mode.REFRESH, asked, None, fresh.clock)
        for _ in range(MAX_RESTARTS):
            try:
                found = yield from self._walk(key, recorded.trusted, down_to, asked, fresh, recorded.origin)
            except OtherServer:
                recorded = self._peer.standing(key, self._record) if self._record is not None else recorded
                continue
            self._tell_rewritten(key, recorded.ledger, found)
            return found
        raise ConnectionFailed(f"{key}: at {self._settings.address} an OpenD and a simulator answer in turn.")

    def _tell_rewritten(self, key: PageKey, before: Ledger, found: History) -> None:
        """Warn where most of a long history is other than it was: that is no correction of a value."""
        # Most that is asked for are a few new rows. They cannot be half of all that is known of a long history, unless
        # others heard of revisions meanwhile.
        may_be = found.heard is not None and 3 * found.heard > len(found.rows)
        if found.heard is not None and self._record is not None and not may_be:
            may_be = self._peer.standing(key, self._record).ledger.epoch != before.epoch
        known = before.known() if may_be else {}
        old = [(known[row.at], row) for row in found.rows if row.at in known]
        # Most are the very same: looking at their values would take longer than all the rest.
        revised = sum(one is not row and one.values != row.values for one, row in old)
        if len(old) >= _LONG and 2 * revised > len(old):
            warn(
                f"{key}: {revised:,} of {len(old):,} recorded rows are other than OpenD sent them before. Was another server "
                "asked then, or was the share split? `revisions` lists what changed."
            )

    def _walk(
        self,
        key: PageKey,
        ledger: Ledger,
        down_to: float,
        asked: Asked,
        fresh: Freshness,
        origin: str | None = None,
    ) -> Steps[History]:
        """Carry out a walk. One that may not use what is recorded, or whose replies cannot be kept, has its own ledger.

        `origin` is that of the ledger; `OtherServer` if another one answers.
        """
        is_kept, is_own = True, self._settings.mode in (Mode.REFRESH, Mode.BYPASS)
        plan = walk(Ledger() if is_own else ledger, fresh, down_to)
        ledger = Ledger() if is_own else ledger
        origin, heard = None if is_own else origin, None
        try:
            step = next(plan)
            while True:
                page = key.at(step.next_key)
                reply = yield from self._fetch(page, asked, step, is_own=is_own, fresh=fresh, origin=origin)
                if not may_join(reply.version.origin, origin):
                    self._peer.note(key, None, reply.version.origin)
                    raise OtherServer
                origin, heard = reply.version.origin, (heard or 0) + len(reply.content)
                said = reply.statement(step.after)
                if not reply.is_kept:
                    is_kept, is_own = False, True
                if is_own:
                    seq = max(ledger.seq + 1, said.checked_seq)
                    said = replace(said, checked_seq=seq, superseded_seq=0, void_seq=0)
                    ledger = ledger.grown(said, ledger.judge(said, asked.seq, seq - 1))
                else:
                    ledger = reply.standing.trusted
                step = plan.send(Told(said, ledger))
        except StopIteration as done:
            found: Walk = done.value
        except ProtocolError as error:
            raise naming(key, error) from None
        known, clock, ground = found.ledger.statements, Clock(), None
        if self._record is not None:
            seen_now = self._record.asked(key)
            standing, clock = self._peer.seen(self._record.symbol(key, seen_now.stamp)), seen_now.clock
            if standing.ledger is not found.ledger:
                known = (*standing.ledger.statements, *known)
            elif heard is None:
                ground = Ground(standing, clock.steps, asked.at)
        head = found.ledger.head()
        seen = known_at(known, found.rows, clock, max(now(), asked.at))
        return History(found.rows, seen, is_kept, head.checked_at if head else None, origin, heard, ground)

    def _fetch(
        self, key: PageKey, asked: Asked, step: Fetch, *, is_own: bool, fresh: Freshness, origin: str | None
    ) -> Steps[Reply]:
        record = self._record
        if record is None:
            return (yield from self._unrecorded(key, asked))
        if (yield Account()) is None:
            return self._took(key, record, asked, step.after, (yield from self._fetcher.fetch(key, None, self.asked)))
        yield from self._peer.ask(key, record)
        if not may_join(self._peer.origin, origin):
            raise OtherServer  # before a request is spent

        def look() -> Reply | None:
            standing = self._peer.standing(key, record)
            said = standing.ledger.recorded(key.next_key, key.num)
            if said is None or not said.is_trusted or said.after != step.after or not step.fit(said):
                return None
            if is_own or not key.next_key:
                is_of_use = fresh.was_said_after(said) if is_own else standing.ledger.head(step.fit) is not None
            else:
                is_of_use = fresh.was_said_after(said) or said.lo < step.after <= said.reach
            return standing.reply(key) if is_of_use else None

        return (yield from self._once(key, record, asked, step.after, look))

    def _recorded_history(
        self,
        key: PageKey,
        record: Record,
        recorded: SymbolRecord,
        down_to: float,
        asked: Asked,
        clock: Clock | None = None,
    ) -> History:
        if recorded.odd is not None:
            raise recorded.odd
        found = recorded_walk(recorded.ledger, down_to)
        if isinstance(found, Fetch):
            asked_for = key.at(found.next_key)
            raise recorded.damage(key, record.store.path) or record.store.miss(asked_for.identity, str(key))
        seen = known_at(recorded.ledger.statements, found.rows, clock or record.clock(), asked.at)
        head = recorded.ledger.head()
        return History(found.rows, seen, checked_at=head.checked_at if head else None, origin=recorded.origin)

    def _history_as_of(self, key: PageKey, record: Record, down_to: float, moment: int) -> History:
        recorded, clock = record.as_of(key, moment)
        try:
            return self._recorded_history(key, record, recorded, down_to, Asked(0, moment, 0, clock), clock)
        except CacheMiss:
            raise CacheMiss(
                f"As of {dates_moment(moment):%Y-%m-%d %H:%M:%S} UTC, {key} was not completely recorded in {record.store.path}. "
                f"Name a later moment or a later start. Or look back by {BY_PUBLICATION!r}: at what was public by then."
            ) from None

    # Freshness --------------------------------------------------------------------------------------------------------

    def _fresh(self, key: PageKey, asked: Asked) -> Freshness:
        """What may answer; by the publication rule that depends on the record."""
        max_age = self._settings.max_age
        if max_age == PUBLICATION:
            head = self._peer.standing(key, self._record).ledger.head() if self._record is not None else None
            is_current = self._settings.mode is Mode.ONLINE and head is not None and has_no_news(head, key, asked)
            max_age = None if is_current else DEFAULT_MAX_AGE
        return Freshness(self._settings.mode, asked, max_age, asked.clock)

    def lasting(self, asked: Asked) -> Freshness:
        """What may answer below a newest page that is fresh."""
        clock = Clock() if self._record is None else self._record.clock()
        return Freshness(self._settings.mode, asked, None, clock)

    def _tell_age(self, key: PageKey, checked_at: int, error: Exception) -> None:
        age = span_text((now() - checked_at) // 1000)
        warn(f"{key} is answered from the record of {age} ago, because OpenD could not be asked: {error}")


def _unkept(key: PageKey, asked: Asked, came: Came) -> Reply:
    """A reply that is not recorded."""
    event = Event(asked.seq + 1, now())
    version = Version.reply(key.identity, came.body, event, sent=came.sent.mono, origin=came.origin)
    return Reply(key, came.content, version, "opend", _NOTHING, is_kept=False)


def _replayed(key: PageKey, recorded: SymbolRecord, after: int) -> Page | None:
    """What is recorded of a page when OpenD cannot be asked: its rows in a walk, else what it last was."""
    page = recorded.page(key, anything, after)
    if page is None and after:
        chunk = recorded.ledger.chunk(after)
        return recorded.made(key, chunk, "cache") if chunk is not None else None
    return page or recorded.newest(key)
