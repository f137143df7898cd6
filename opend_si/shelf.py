"""What is recorded of a symbol, read for the planner and made into pages."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field, replace
from pathlib import Path

from opend_si.cache.guard import GuardedStore
from opend_si.cache.memory import Memory
from opend_si.cache.store import Recorded
from opend_si.clock import milliseconds, now
from opend_si.errors import CacheCorrupt, ProtocolError
from opend_si.pages import MAX_CURSOR_LENGTH, Content, Page, PageKey, Source, encode_page
from opend_si.planner import TOP, Cut, Ledger, Statement, check_page

# Decoded pages kept in memory, about 20 KB each when they have 50 rows; and symbols whose whole record is.
MAX_PAGES, MAX_SYMBOLS = 512, 16


class Shelf:
    """The record, with what was read lately kept in memory."""

    def __init__(self, store: GuardedStore) -> None:
        self.store = store
        self._memory: Memory[bytes, Content] = Memory(MAX_PAGES)
        self._symbols: Memory[tuple[str, str], Shelved] = Memory(MAX_SYMBOLS)

    def page(self, key: PageKey, recorded: Recorded) -> Page:
        """A recorded page."""
        content = self._content(key, recorded)
        return Page.of(key, content, recorded.body, "cache", recorded.fetched_at, recorded.checked_at)

    def record(self, key: PageKey, body: bytes, content: Content, behind: int) -> Page:
        """Keep a reply that has just come; gives its page, also where it cannot be kept."""
        at = now()
        written = self.store.record(key, body, at, behind)
        if written is not None:
            self._memory.keep(written.checksum, content)
        return Page.of(key, content, body, "opend", written.fetched_at if written else at, at)

    def symbol(self, key: PageKey) -> Shelved:
        """What is recorded of a symbol, read again only when the file has changed."""
        name = (key.call.name, str(key.symbol))
        stamp = self.store.stamp()
        shelved = self._symbols.get(name)
        if shelved is None or stamp is None or shelved.stamp != stamp:
            shelved = self._read(key, stamp)
            self._symbols.keep(name, shelved)
        return shelved

    def _read(self, key: PageKey, stamp: Hashable) -> Shelved:
        at, record = now(), self.store.symbol(key.call.proto_id, str(key.symbol))
        statements: list[Statement] = []
        style: bool | None = None
        for row in sorted(record.rows, key=lambda row: row.checked_at):
            content = self._content(replace(key, next_key=row.next_key, num=row.num), row)
            # After a clock was set back, the page's age is not known.
            checked_at = row.checked_at if row.checked_at <= at else 0
            try:
                said = _say(key, row, content, checked_at)
            except ProtocolError:
                continue  # served as it is when it is asked for, but no part of a history
            statements.append(said)
            style = said.is_anchored if said.is_anchored is not None else style
        placed = (replace(said, hi=_place(said, style)) for said in statements)
        # What was lost may have taken back what is left: then pages are only good by themselves.
        return Shelved(stamp, Ledger(placed, record.floor if record.is_whole else at + 1), record.is_whole)

    def _content(self, key: PageKey, recorded: Recorded) -> Content:
        content = self._memory.get(recorded.checksum)
        if content is None:
            content = Content.read(key, recorded.body)
            self._memory.keep(recorded.checksum, content)
        return content


@dataclass(frozen=True, slots=True)
class Shelved:
    """What is recorded of a symbol, as it was read."""

    stamp: Hashable
    ledger: Ledger
    is_whole: bool = True
    cuts: dict[tuple[str, int], tuple[Cut, Content, bytes]] = field(default_factory=dict)

    def cut(self, key: PageKey, since: float, source: Source) -> Page | None:
        """A page cut from larger recorded ones that were checked at or after `since`; None if they do not hold it."""
        name = (key.next_key, key.num)
        known = self.cuts.get(name)
        if known is None or known[0].checked_at < since:
            cut = self._cut(key, since)
            if cut is None:
                return None
            content = Content.of_rows(key, cut.rows, cut.next)
            known = self.cuts[name] = cut, content, encode_page(key, cut.rows, cut.next)
        cut, content, body = known
        return Page.of(key, content, body, source, cut.fetched_at, cut.checked_at)

    def _cut(self, key: PageKey, since: float) -> Cut | None:
        if not self.is_whole:
            return self.ledger.beginning(key.next_key, key.num, since)
        if not key.next_key:
            return self.ledger.cut(TOP, key.num, since)
        return self.ledger.cut(int(key.next_key), key.num, since) if is_timestamp(key.next_key) else None

    def damage(self, key: PageKey, path: Path) -> CacheCorrupt | None:
        """The error if what is missing may have been lost to damage."""
        if self.is_whole:
            return None
        return CacheCorrupt(
            f"{key}: the record in {path} is damaged, and what is left of it does not answer this. Ask for it in mode "
            "online, and it is recorded again."
        )


def is_timestamp(next_key: str) -> bool:
    """Whether a cursor can be a row's timestamp, written as OpenD writes it."""
    return next_key.isascii() and next_key.isdigit() and str(int(next_key)) == next_key


def _position(next_key: str, behind: int, style: bool | None) -> float | None:
    """Below which row a page stands; None where that is not known."""
    if not next_key:
        return TOP
    if behind:
        return behind
    return int(next_key) if style and is_timestamp(next_key) else None


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


def statement_of(key: PageKey, page: Page, hi: float | None) -> Statement:
    """What a page that was just fetched says."""
    rows = page.content.rows(key.table)
    check_page(rows, page.next, str(key))
    if page.next is not None and (len(page.next) > MAX_CURSOR_LENGTH or not page.next.isprintable()):
        raise ProtocolError(f"{key}: the cursor {page.next[:40]!r} is none that OpenD gives")
    fetched_at, checked_at = map(milliseconds, (page.fetched_at, page.checked_at))
    return Statement(key.next_key, key.num, hi, rows, page.next, fetched_at, checked_at)
