"""The record as questions use it: what is recorded of a symbol is read once, and grows in memory with what is recorded.

A symbol's seal is the stamp of what is remembered of it: what is written of other symbols drops nothing.
"""

from __future__ import annotations

import time
from collections.abc import Hashable
from dataclasses import dataclass
from typing import NamedTuple

from opend_si.cache.guard import GuardedStore
from opend_si.cache.store import Ruling
from opend_si.cache.versions import Clock, Event, Version, Versions, as_of
from opend_si.dates import now
from opend_si.history.ledger import Fit
from opend_si.history.memory import Memory
from opend_si.history.symbol import Reply, SymbolRecord, Symbols
from opend_si.pages import OPEND, Content, Page, PageKey

# What is remembered, in bytes of replies: in memory they take about eight times as much.
MAX_BYTES = 8_000_000
# Symbols of which it is remembered that a page of them was asked for.
MAX_GLANCES = 4096


class Asked(NamedTuple):
    """When a question was asked.

    Attributes:
        seq: The last event of the record.
        at: What the clock showed, in milliseconds.
        mono: What the monotonic clock showed, in nanoseconds.
        clock: How the clock had run until then.
        stamp: The record's file as it was then. Who has waited since looks at it again.

    """

    seq: int
    at: int
    mono: int
    clock: Clock = Clock()
    stamp: Hashable = None


@dataclass(frozen=True, slots=True)
class _Remembered:
    """A symbol's record, and the stamp of the file under which it was last seen to hold."""

    stamp: Hashable
    record: SymbolRecord


class Record:
    """The record, with what was read lately kept in memory."""

    def __init__(self, store: GuardedStore) -> None:
        self.store = store
        self._symbols = Symbols()
        self._kept: Memory[tuple[int, str], _Remembered] = Memory(MAX_BYTES)
        self._glanced: Memory[tuple[int, str], bool] = Memory(MAX_GLANCES)
        self._clock: tuple[Hashable, Clock] = (None, Clock())

    def asked(self, key: PageKey | None = None) -> Asked:
        """Now, as the record orders it. Of the symbol of `key` it is seen at once whether what is remembered holds."""
        stamp, clock = self._look(key)
        return Asked(clock.last.seq, now(), time.monotonic_ns(), clock, stamp)

    def clock(self) -> Clock:
        """How the clock ran while the record was written."""
        return self._look(None)[1]

    def _look(self, key: PageKey | None) -> tuple[Hashable, Clock]:
        """The stamp of the file, and the clock, read again only when the file has changed."""
        known, clock = self._clock
        name = None if key is None else key.owner
        found = self.store.look(name, known)
        if found.clock is None:
            return found.stamp, clock
        self._clock = found.stamp, found.clock
        kept = None if name is None else self._kept.get(name)
        if name is not None and kept is not None and kept.record.is_whole and kept.record.seal == found.seal:
            self._remember(name, kept.record, found.stamp)
        return self._clock

    def symbol(self, key: PageKey, stamp: Hashable = None) -> SymbolRecord:
        """What is recorded of a symbol, read again only when it has changed.

        `stamp` is the file's, where it has just been looked at.
        """
        name, stamp = key.owner, self.store.stamp() if stamp is None else stamp
        kept = self._kept.get(name)
        if kept is not None and stamp is not None:
            if kept.stamp == stamp:
                return kept.record
            if kept.record.is_whole and self.store.seal(*name) == kept.record.seal:
                self._remember(name, kept.record, stamp)
                return kept.record
        record = self._symbols.read(key, self.store.symbol(*name))
        self._remember(name, record, stamp)
        return record

    def glance(self, key: PageKey, fit: Fit) -> tuple[Page, str] | None:
        """A page by itself and its origin, where the seal tells that it answers.

        Nothing was asked of its symbol before.

        What stands beside the seal says what the newest row is, and whether cursors are anchored: so the other pages
        need not be read. None: they have to be.
        """
        name = key.owner
        if self._kept.get(name) is not None or self._glanced.get(name):
            return None
        self._glanced.keep(name, True)
        found = self.store.glance(key.identity)
        return None if found is None else self._symbols.glance(key, *found, fit)

    def as_of(self, key: PageKey, moment: int) -> tuple[SymbolRecord, Clock]:
        """What was recorded of a symbol when the clock showed a moment, and what was known of the clock then."""
        versions, past, clock = self.store.symbol_and_past(*key.owner)
        return self._symbols.read(key, as_of(versions, past, clock, moment)), clock.up_to(moment)

    def everything(self, key: PageKey) -> SymbolRecord:
        """All that was ever recorded of a symbol, the past too; nothing of another origin than it has now."""
        versions, past, _ = self.store.symbol_and_past(*key.owner)
        origins = {row.origin for row in versions.rows}
        rows = (*versions.rows, *(version for version, _ in past if version.origin in origins))
        return self._symbols.read(key, Versions(rows, versions.damaged, versions.seal, versions.is_whole))

    def record(
        self, key: PageKey, body: bytes, content: Content, *, asked: Asked, sent: Asked, after: int, origin: str = OPEND
    ) -> Reply:
        """Keep a reply that has just come, if it can be kept.

        `asked` is when the question was asked, `sent` when the request was sent that it answers. `after` is the
        timestamp of the row before the page.
        """
        name, came = key.owner, time.monotonic_ns()
        kept = self._kept.get(name)
        standing = None if kept is None or not kept.record.is_whole else kept.record
        stood: list[SymbolRecord] = []

        def judge(known: Versions | None, event: Event, number: int) -> Ruling:
            late = (time.monotonic_ns() - came) // 1_000_000
            checked_at = event.at if late < 1000 else event.at - late  # it waited for its turn
            reply = Version.reply(key.identity, body, event, after=after, sent=sent.mono, origin=origin)
            reply = reply._replace(version=number, checked_at=checked_at)
            is_read = known is not None or standing is None
            all_of_it = self._symbols.read(key, known or Versions()) if is_read or standing is None else standing
            stood.append(all_of_it.of(origin))
            ruling = stood[-1].ruling(key, reply, content, asked.seq, sent.seq)
            if stood[-1] is all_of_it:
                return ruling
            return ruling._replace(leaving=all_of_it.replaced(event))  # made up, or what something made up stood for

        result = self.store.record(key.identity, None if standing is None else standing.seal, judge)
        if result is None:
            held = standing or self.symbol(key)
            return self.unkept(key, held, body, content, asked=asked, sent=sent, after=after, origin=origin)
        grown = stood[-1].grown(key, result.ruling, content, result.seal)
        self._clock = result.stamp, result.clock
        self._remember(name, grown, result.stamp)
        return Reply(key, content, result.ruling.version, "opend", grown)

    def unkept(
        self,
        key: PageKey,
        held: SymbolRecord,
        body: bytes,
        content: Content,
        *,
        asked: Asked,
        sent: Asked,
        after: int,
        origin: str,
    ) -> Reply:
        """A reply that cannot be kept, or is not to be: beside what is held it stands for its question alone."""
        before = held.of(origin)
        event = Event(max(asked.seq, before.ledger.seq) + 1, now())
        reply = Version.reply(key.identity, body, event, after=after, sent=sent.mono, origin=origin)
        ruling = before.ruling(key, reply, content, asked.seq, sent.seq)
        return Reply(key, content, ruling.version, "opend", before.grown(key, ruling, content, None), is_kept=False)

    def _remember(self, name: tuple[int, str], record: SymbolRecord, stamp: Hashable) -> None:
        self._kept.keep(name, _Remembered(stamp, record), record.weight)
