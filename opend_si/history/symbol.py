"""What is recorded of one symbol: the pages that it answers, and what a new reply does to it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from opend_si.cache.runs import Runs, pack_runs, unpack_runs, write_runs
from opend_si.cache.store import Ruling
from opend_si.cache.versions import Event, Seal, Version, Versions
from opend_si.dates import milliseconds
from opend_si.errors import CacheCorrupt, ProtocolError
from opend_si.history.ledger import Fit, Judgement, Ledger, judged
from opend_si.history.memory import Memory
from opend_si.history.statements import (
    BOTTOM,
    TOP,
    Cut,
    Statement,
    check_days,
    check_page,
    is_timestamp,
)
from opend_si.pages import END, MAX_CURSOR_LENGTH, OPEND, Content, Page, PageKey, Row, Source, answers_for
from opend_si_schema import common
from opend_si_schema.definitions import Column, Table

# Decoded pages kept in memory, about 20 KB each when they have 50 rows.
MAX_PAGES = 512
# `json.loads` looks for blanks around it, too: there are none.
_read_json = json.JSONDecoder().raw_decode
# Cut pages kept for a symbol: about what a loop over a whole history with the default page asks for.
MAX_CUTS = 128


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply of OpenD, whether or not it could be kept, and what is recorded of its symbol after it."""

    key: PageKey
    content: Content
    version: Version
    source: Source
    standing: SymbolRecord
    is_kept: bool = True

    def page(self) -> Page:
        """It as a page."""
        return _page(self.key, self.content, self.version, self.source)

    def statement(self, after: int) -> Statement:
        """What it says, behind the row of this timestamp; `ProtocolError` if it is no use to a walk."""
        return make_statement(self.key, self.version._replace(behind=after or self.version.behind), self.content)


class Symbols:
    """Reads what is recorded of symbols. Pages that were decoded lately are not decoded again."""

    def __init__(self) -> None:
        self._contents: Memory[bytes, Content] = Memory(MAX_PAGES)

    def read(self, key: PageKey, versions: Versions) -> SymbolRecord:
        """What is recorded of a symbol, judged."""
        held = []
        for version in versions.rows:
            asked = key.at(version.next_key, version.num)
            held.append((version, self._content(asked, version)))
        return SymbolRecord.read(key, held, versions.seal, is_whole=versions.is_whole)

    def glance(self, key: PageKey, seal: Seal, version: Version, fit: Fit) -> tuple[Page, str] | None:
        """The page of a version and its origin, if what is noted beside the seal tells that it is the answer."""
        noted = noted_beside(seal) if seal.is_judged else {}
        if "head" not in noted or version.is_void or version.first_seq <= seal.floor or not fit(_bare(version)):
            return None
        content = self._content(key, version)
        if key.next_key:
            is_answer = bool(noted["anchored"]) and is_timestamp(key.next_key)
        else:
            rows = content.rows(key.table)
            is_answer = (rows[0].at if rows else None) == noted["newest"]
        return (_page(key, content, version, "cache"), version.origin) if is_answer else None

    def _content(self, key: PageKey, version: Version) -> Content:
        content = self._contents.get(version.checksum) if version.checksum else None
        if content is None:
            content = Content.read(key, version.body)
            if version.checksum:
                self._contents.keep(version.checksum, content)
        return content


def noted_beside(seal: Seal) -> dict[str, Any]:
    """What is noted of a symbol beside its seal, as `SymbolRecord` wrote it; nothing where nothing is."""
    noted: dict[str, Any] = _read_json(seal.summary)[0] if seal.summary else {}
    return noted


class SymbolRecord:
    """What is recorded of a symbol, as it was read or recorded. It is not changed once it is made."""

    def __init__(
        self,
        held: Mapping[int, tuple[Version, Content]],
        ledger: Ledger,
        seal: Seal | None,
        *,
        is_whole: bool,
        odd: ProtocolError | None = None,
    ) -> None:
        """`held`: the versions and what they contain, by the event that brought them."""
        self.ledger, self.seal, self.is_whole = ledger, seal, is_whole
        # Why the newest longest page is fit for no history, if it is not.
        self.odd = odd
        self._held = held
        self._current = {
            (version.next_key, version.num): (version, content)
            for version, content in sorted(held.values(), key=lambda entry: entry[0].first_seq)
            if version.is_current
        }
        self._cuts: Memory[tuple[str, int], tuple[Cut, Page]] = Memory(MAX_CUTS)
        self._pages: dict[tuple[str, int], Page] = {}

    @classmethod
    def read(cls, key: PageKey, held: Iterable[tuple[Version, Content]], seal: Seal, *, is_whole: bool) -> SymbolRecord:
        """From what the file holds."""
        entries = {version.first_seq: (version, content) for version, content in held}
        statements, odd = [], None
        for version, content in entries.values():
            try:
                said = make_statement(key.at(version.next_key, version.num), version, content)
            except ProtocolError as error:
                odd = error if _is_longest_head(key, version) else odd
                continue  # served as it is when it is asked for, but no part of a history
            if version.first_seq > seal.floor or not is_whole:
                statements.append(said)
        if not seal.is_judged:
            statements = judged(statements)
        epoch = int(noted_beside(seal).get("epoch", 0)) if is_whole else 0
        ledger = Ledger(statements, is_whole=is_whole, epoch=epoch)
        return cls(entries, ledger, seal, is_whole=is_whole, odd=odd)

    # Growing ----------------------------------------------------------------------------------------------------------

    def ruling(self, key: PageKey, reply: Version, content: Content, asked_seq: int, sent_seq: int) -> Ruling:
        """What a reply does to it; the reply's event is that of its first sight."""
        return self.ruled(key, reply, content, lambda ledger, said: ledger.judge(said, asked_seq, sent_seq))

    def ruled(
        self, key: PageKey, reply: Version, content: Content, judge: Callable[[Ledger, Statement], Judgement]
    ) -> Ruling:
        """The same where `judge` says what the reply makes void."""
        seq, at = reply.first_seq, reply.fetched_at
        newest, _ = self._current.get((key.next_key, key.num), (None, None))
        version = reply
        if (
            newest is not None
            and newest.body == reply.body
            and newest.origin == reply.origin
            and self._may_stay(newest)
        ):
            version = newest._replace(checked_seq=seq, checked_at=reply.checked_at, sent=reply.sent)
        is_new = version is reply
        old = newest if is_new else None
        changed = self._judged_late()
        try:
            said = make_statement(key, reply, content)
        except ProtocolError:
            # Whoever reads it need not look again: it is joined to nothing.
            version = version._replace(void_seq=seq, void_at=at) if is_new else version
            if old is not None:
                changed[old.first_seq] = changed.get(old.first_seq, old)._replace(superseded_seq=seq, superseded_at=at)
            return Ruling(version, is_new, tuple(changed.values()), (), self._summary(self.ledger, version.origin))
        behind = reply.behind if said.reach == reply.behind else version.behind or reply.behind
        if version is not reply or behind != reply.behind:
            version = version._replace(behind=behind)
            said = make_statement(key, version, content)
        judgement = judge(self.ledger, said)
        if is_new:
            runs = self._first_seen(said)
            said = replace(said, seen=runs)
            version = version._replace(seen=pack_runs(runs, (seq, at)))
        if judgement.is_void:
            version = version._replace(void_seq=seq, void_at=at)
        ledger = self.ledger.grown(said, judgement)
        for other in judgement.void:
            row = changed.get(other.first_seq, self._held[other.first_seq][0])
            changed[other.first_seq] = row._replace(void_seq=seq, void_at=at)
        if old is not None:
            changed[old.first_seq] = changed.get(old.first_seq, old)._replace(superseded_seq=seq, superseded_at=at)
        leaving, ledger = self._leaving(ledger, said, changed)
        stays = tuple(row for row in changed.values() if row.first_seq not in leaving)
        return Ruling(version, is_new, stays, tuple(leaving.values()), self._summary(ledger, version.origin))

    def grown(self, key: PageKey, ruling: Ruling, content: Content, seal: Seal | None) -> SymbolRecord:
        """It after a reply; without a seal for a question alone."""
        held = dict(self._held)
        for row in ruling.changed:
            held[row.first_seq] = row.signed() if seal else row, held[row.first_seq][1]
        for row in ruling.leaving:
            held.pop(row.first_seq, None)  # what was of another origin is not there
        held[ruling.version.first_seq] = ruling.version, content
        statements = []
        touched = {row.first_seq for row in ruling.changed} | {ruling.version.first_seq}
        same = {said.first_seq: said for said in self.ledger.statements if said.first_seq not in touched}
        odd = self.odd
        for first_seq, (version, its_content) in held.items():
            if first_seq in same:
                statements.append(same[first_seq])
                continue
            if first_seq not in touched:
                continue  # no statement, or of before something was lost
            try:
                said = make_statement(key.at(version.next_key, version.num), version, its_content)
            except ProtocolError as error:
                odd = error if _is_longest_head(key, version) else odd
                continue
            if _is_longest_head(key, version):
                odd = None
            statements.append(said)
        seq = ruling.version.checked_seq
        epoch = seq if any(row.void_seq == seq for row in (*ruling.changed, *ruling.leaving, ruling.version)) else 0
        ledger = Ledger(statements, is_whole=self.is_whole, epoch=max(epoch, self.ledger.epoch))
        return SymbolRecord(held, ledger, seal, is_whole=self.is_whole, odd=odd)

    @property
    def versions(self) -> tuple[Version, ...]:
        """The versions that it is made of."""
        return tuple(version for version, _ in self._held.values())

    @cached_property
    def origin(self) -> str | None:
        """Who sent it: an OpenD or a simulator; None where nothing is recorded."""
        newest = max((version for version, _ in self._held.values()), key=lambda one: one.first_seq, default=None)
        return None if newest is None else newest.origin

    def of(self, origin: str | None) -> SymbolRecord:
        """It, as far as it answers for who is asked: what is of another origin is not there."""
        return self if self.origin is None or answers_for(self.origin, origin) else self.nothing()

    def nothing(self) -> SymbolRecord:
        """It, as if nothing of the symbol were recorded."""
        return SymbolRecord({}, Ledger(), self.seal, is_whole=True)

    def replaced(self, event: Event) -> tuple[Version, ...]:
        """Its versions as they leave when another origin takes their place."""
        gone = []
        for row, _ in self._held.values():
            superseded = event if row.is_current else Event(row.superseded_seq, row.superseded_at)
            void = Event(row.void_seq, row.void_at) if row.is_void else event
            gone.append(
                row._replace(
                    superseded_seq=superseded.seq, superseded_at=superseded.at, void_seq=void.seq, void_at=void.at
                )
            )
        return tuple(gone)

    def _may_stay(self, newest: Version) -> bool:
        """Whether a version that OpenD sent again is only checked again: what is void comes back as a new one."""
        said = self.ledger.recorded(newest.next_key, newest.num)
        if said is None or said.first_seq != newest.first_seq:
            return self.seal is None or newest.first_seq > self.seal.floor  # no statement
        return said.is_trusted

    def _judged_late(self) -> dict[int, Version]:
        """The versions that are other than the file has them: those of earlier releases were not judged."""
        changed = {}
        for said in self.ledger.statements:
            row = self._held[said.first_seq][0]
            if said.void_seq != row.void_seq:
                event = self._held.get(said.void_seq)
                at = event[0].fetched_at if event is not None else row.fetched_at
                changed[said.first_seq] = row._replace(void_seq=said.void_seq, void_at=at)
        return changed

    def _first_seen(self, said: Statement) -> Runs:
        """When the rows of a new version were first seen with their values."""
        known: dict[int, tuple[Row, tuple[int, int]]] = {}
        wanted = {row.at for row in said.rows}
        low, high = min(wanted, default=TOP), max(wanted, default=BOTTOM)
        for other in sorted(self.ledger.statements, key=lambda other: -other.first_seq):
            if len(known) == len(wanted):
                break
            if other.first < low or not other.rows or other.rows[-1].at > high:
                continue
            for row, event in zip(other.rows, other.first_seen(), strict=True):
                if row.at in wanted:
                    known.setdefault(row.at, (row, event))
        now = said.first_seq, said.fetched_at
        events = []
        for row in said.rows:
            before = known.get(row.at)
            events.append(before[1] if before is not None and before[0].values == row.values else now)
        return write_runs(events)

    def _leaving(
        self, ledger: Ledger, said: Statement, changed: Mapping[int, Version]
    ) -> tuple[dict[int, Version], Ledger]:
        """The versions that no answer of now needs after a reply, as they leave, and the ledger without them."""
        leaving = {}
        for one in ledger.may_be_needless(said):
            if not ledger.is_needed(one):
                leaving[one.first_seq] = changed.get(one.first_seq) or self._held[one.first_seq][0]
                ledger = ledger.without(leaving) if one.is_trusted else ledger
        return leaving, ledger.without(leaving)

    def _summary(self, ledger: Ledger, origin: str) -> str:
        """What is noted beside the seal, for questions that need no page."""
        head = ledger.head()
        if head is None:
            return json.dumps({"epoch": ledger.epoch, "rows": ledger.count_rows(), "complete": False, "origin": origin})
        rows = ledger.rows_down_to(head, BOTTOM)
        told = {
            "epoch": ledger.epoch,
            "rows": ledger.count_rows(),
            "joined": len(rows),
            "complete": ledger.joined_down_to() == BOTTOM,
            "newest": rows[0].at if rows else None,
            "oldest": rows[-1].at if rows else None,
            "anchored": ledger.is_anchored,
            "origin": origin,
            "head": [head.first_seq, head.checked_seq, head.checked_at, head.sent],
        }
        return json.dumps(told, separators=(",", ":"))

    # Answers ----------------------------------------------------------------------------------------------------------

    @property
    def has_pages(self) -> bool:
        """Whether any page of the symbol is recorded."""
        return bool(self._current)

    @cached_property
    def trusted(self) -> Ledger:
        """What pages that are fetched now may be joined to: nothing, where something was lost."""
        return self.ledger if self.is_whole else Ledger()

    @cached_property
    def weight(self) -> int:
        """What it takes in memory, measured in bytes of replies."""
        return sum(len(version.body) + 200 for version, _ in self._held.values())

    def page(self, key: PageKey, fit: Fit, after: int = 0) -> Page | None:
        """The page that OpenD would send, if what is fit tells it.

        `after`: in a walk, the timestamp of the row before the page.
        """
        find = self.ledger.page if self.is_whole else self.ledger.beginning
        said = find(key.next_key, key.num, fit, after)
        if said is not None:
            return self.newest(key) if isinstance(said, Statement) else self.made(key, said, "cache")
        unfit = self._current.get((key.next_key, key.num))
        if unfit is None or self.ledger.recorded(key.next_key, key.num) is not None:
            return None
        return self.newest(key) if fit(_bare(unfit[0])) else None

    def newest(self, key: PageKey) -> Page | None:
        """The newest reply to this very question, whatever has been seen since."""
        place = key.next_key, key.num
        page = self._pages.get(place)
        if page is None and (found := self._current.get(place)) is not None:
            page = self._pages[place] = _page(key, found[1], found[0], "cache")
        return page

    def reply(self, key: PageKey) -> Reply:
        """The newest reply to a question that is recorded."""
        version, content = self._current[key.next_key, key.num]
        return Reply(key, content, version, "cache", self)

    def made(self, key: PageKey, cut: Cut, source: Source) -> Page:
        """The page of a cut, made once."""
        made = self._cuts.get((key.next_key, key.num))
        if made is None or (made[0].rows, made[0].next, made[0].attrs) != (cut.rows, cut.next, cut.attrs):
            made = cut, page_of(key, cut, source, self.origin or OPEND)
            self._cuts.keep((key.next_key, key.num), made)
        page = made[1]
        return Page.of(key, page.content, page.body, source, page.origin, cut.fetched_at, cut.checked_at)

    def damage(self, key: PageKey, path: Path) -> CacheCorrupt | None:
        """The error if what is missing may have been lost to damage."""
        if self.is_whole:
            return None
        return CacheCorrupt(
            f"{key}: the record in {path} is damaged, and what is left of it does not answer this. Ask for it in mode "
            "online, and it is recorded again."
        )


def make_statement(key: PageKey, version: Version, content: Content) -> Statement:
    """What a version says; `ProtocolError` if it is fit for no history."""
    next_key = content.next
    if next_key is not None and (len(next_key) > MAX_CURSOR_LENGTH or not next_key.isprintable()):
        raise ProtocolError(f"{key}: the cursor {next_key[:40]!r} is none that OpenD gives")
    seen = unpack_runs(version.seen, (version.first_seq, version.fetched_at)) if version.seen else ()
    rows = _rows_of_history(content, key.table, str(key))
    return _bare(version, rows, next_key, seen, content.attrs(key.table))


@lru_cache(maxsize=8)
def _rows_of_history(content: Content, table: Table, what: str) -> tuple[Row, ...]:
    """The rows of a page, if they are fit for a history. A reply becomes a statement more than once on its way."""
    rows = content.rows(table)
    check_page(rows, content.next, what)
    check_days(rows, table, what)
    return rows


def _bare(
    version: Version,
    rows: tuple[Row, ...] = (),
    next_key: str | None = None,
    seen: Runs = (),
    attrs: tuple[Any, ...] = (),
) -> Statement:
    """A version as a statement, without what it says where that is not given."""
    return Statement(
        next_key=version.next_key,
        num=version.num,
        after=version.behind,
        rows=rows,
        next=next_key,
        first_seq=version.first_seq,
        checked_seq=version.checked_seq,
        fetched_at=version.fetched_at,
        checked_at=version.checked_at,
        superseded_seq=version.superseded_seq,
        void_seq=version.void_seq,
        sent=version.sent,
        seen=seen,
        attrs=attrs,
    )


def _is_longest_head(key: PageKey, version: Version) -> bool:
    return version.is_current and (version.next_key, version.num) == ("", key.call.page_size.maximum)


def _page(key: PageKey, content: Content, version: Version, source: Source) -> Page:
    return Page.of(key, content, version.body, source, version.origin, version.fetched_at, version.checked_at)


def page_of(key: PageKey, cut: Cut, source: Source, origin: str) -> Page:
    """The page that OpenD would have sent for a cut."""
    return Page.of(key, _content_of(key, cut), encode_page(key, cut), source, origin, cut.fetched_at, cut.checked_at)


def without_rows_from(page: Page, key: PageKey, after: float) -> Page:
    """A page without the rows that a walk has already passed."""
    rows = page.content.rows(key.table)
    left = tuple(row for row in rows if row.at < after)
    if len(left) == len(rows):
        return page
    at = milliseconds(page.fetched_at), milliseconds(page.checked_at)
    return page_of(key, Cut(left, page.next, *at, page.content.attrs(key.table)), page.source, page.origin)


def _content_of(key: PageKey, cut: Cut) -> Content:
    """The content of a page with these rows of the symbol's market."""
    rows = cut.rows
    columns = tuple(map(list, zip(*(row.values for row in rows), strict=True)))
    tables = (
        (table, columns if rows and table is key.table else tuple([] for _ in table.columns))
        for table in key.call.tables
    )
    attrs = {table: cut.attrs if table is key.table else (None,) * len(table.attrs) for table in key.call.tables}
    return Content(cut.next, tuple(tables), attrs)


def encode_page(key: PageKey, cut: Cut) -> bytes:
    """The body of a reply with these rows, as OpenD sends one."""
    reply = key.call.response(retType=common.RetType.SUCCEED, retMsg="", errCode=0)
    items = getattr(reply.s2c, key.table.list_field)
    for row in cut.rows:
        _set(items.add(), key.table.columns, row.values)
    _set(reply.s2c, key.table.attrs, cut.attrs)
    reply.s2c.nextKey = cut.next or END
    return bytes(reply.SerializeToString())


def _set(message: Any, columns: tuple[Column, ...], values: tuple[Any, ...]) -> None:
    for column, value in zip(columns, values, strict=True):
        if value is not None:
            setattr(message, column.field, value)
