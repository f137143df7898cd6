"""What can be asked, as steps: the blocking and the asyncio client drive the same ones.

A question checks its arguments before its first step, so that bad input costs no request.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from datetime import date
from itertools import compress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from opend_si.cache.budget import Budget
from opend_si.cache.claims import Claims
from opend_si.cache.guard import GuardedStore
from opend_si.cache.store import Store
from opend_si.client.answers import Answers, History, Synced
from opend_si.client.doctor import Status
from opend_si.client.pagewalk import PageWalk
from opend_si.client.steps import Steps
from opend_si.client.sync import Patience, SymbolReport, SyncReport, report_symbol
from opend_si.dates import AsOf, Since, When, day_of, moment, moment_text, read_day, read_midnight
from opend_si.dates.calendars import published_by
from opend_si.errors import InvalidArgument
from opend_si.history.frames import make_history, make_recorded, make_revisions
from opend_si.history.kept import Frames
from opend_si.history.record import Record
from opend_si.history.statements import BOTTOM, TOP, count_from
from opend_si.pages import SIMULATOR, Page, PageKey, Row
from opend_si.pages.named import call_of, listed, names_of
from opend_si.settings import Mode, Settings
from opend_si.system import forks
from opend_si.system.files import Files, user_path
from opend_si_schema.calls import CALLS, SHORT_INTEREST
from opend_si_schema.definitions import Call, Table

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from opend_si.history.joining import ImportReport
    from opend_si.research.panel import Choice


class HistoryRows(NamedTuple):
    """What a history is made of: its rows, newest first, and when each value was known, in milliseconds.

    `checked_at`: when OpenD last sent the newest page as it is; None where there is none. `origin`: who sent the rows.
    """

    symbol: str
    table: Table
    rows: Sequence[Row]
    known_at: list[int | None]
    checked_at: int | None
    origin: str | None


class _Wanted(NamedTuple):
    """Which rows of a history are asked for: timestamps, and the last day on whose end they were public.

    `as_of` is the moment to look back from, in milliseconds.
    """

    key: PageKey
    down_to: float
    up_to: float
    as_of: int | None
    public: date | None

    @classmethod
    def check(cls, call: Call, code: object, start: object, end: object, as_of: AsOf) -> _Wanted:
        """What a user passed. `InvalidArgument` says what is right."""
        key = PageKey.longest(call, code)
        market = key.symbol.market
        down_to = BOTTOM if start is None else read_midnight("start", start, market)
        up_to = TOP if end is None else read_midnight("end", end, market)
        if up_to < down_to:
            raise InvalidArgument(f"end {end!r} is before start {start!r}: no day is in between")
        return cls(key, down_to, up_to, as_of.recorded(market), as_of.public(market))

    @property
    def asked(self) -> tuple[PageKey, float, int | None]:
        """What it asks of the answers."""
        return self.key, self.down_to, self.as_of

    def choose(self, found: History) -> HistoryRows:
        """The rows of a history that are asked for."""
        table, begin = self.key.table, 0 if self.up_to == TOP else count_from(found.rows, self.up_to + 1)
        rows, known_at = found.rows[begin:], found.known_at[begin:]
        if (public := self.public) is not None:
            days = [day_of(row.at, table.market) for row in rows]
            chosen = [published_by(table, day) <= public for day in days]
            rows, known_at = tuple(compress(rows, chosen)), list(compress(known_at, chosen))
        return HistoryRows(str(self.key.symbol), table, rows, known_at, found.checked_at, found.origin)


class _Files:
    """The files of a client, which its views (`with_options`) use, too. The client closes them; a use opens them."""

    def __init__(self, settings: Settings) -> None:
        self._cache = settings.cache
        self.is_offline = settings.mode is Mode.OFFLINE
        self.claims, self.budget = Claims(settings.cache), Budget(settings.budget)
        self.frames = Frames()
        self._records: dict[Mode, Record] = {}
        self._lock = forks.new_lock()

    def record(self, mode: Mode) -> Record | None:
        """The record as a mode uses it: offline it is only read, and its faults are errors. None: the mode has none."""
        if self.is_offline and mode is not Mode.OFFLINE:
            # Its settings name no OpenD, and not the budget that other clients keep.
            raise InvalidArgument(f"mode is {mode!s}: an offline client never opens a socket. Make a Client for it.")
        if mode is Mode.BYPASS:
            return None
        kind = Mode.OFFLINE if mode is Mode.OFFLINE else Mode.ONLINE
        with self._lock:
            if kind not in self._records:
                store = Store(self._cache, may_write=kind is Mode.ONLINE)
                self._records[kind] = Record(GuardedStore(store, raises=kind is Mode.OFFLINE))
            return self._records[kind]

    def close(self) -> None:
        """Close the files."""
        with self._lock:
            records = list(self._records.values())
        for record in records:
            record.store.close()


class Questions:
    """The questions that one client answers."""

    def __init__(self, settings: Settings, files: _Files | None = None) -> None:
        self._settings = settings
        self._files = _Files(settings) if files is None else files
        files = self._files
        self._answers = Answers(settings, files.record(settings.mode), files.claims, files.budget)

    def by(self, settings: Settings) -> Questions:
        """The same questions by the rules of other settings: of the same files."""
        return Questions(settings, self._files)

    def close(self) -> None:
        """Close the files."""
        self._files.close()

    def page(self, call: Call, code: object, next_key: object, num: object) -> Steps[Page]:
        return self.page_of(PageKey.check(call, code, next_key, num))

    def page_of(self, key: PageKey) -> Steps[Page]:
        """The page of a key that has been checked."""
        return self._answers.page(key)

    def pages(self, call: Call, code: object) -> PageWalk:
        return PageWalk(self._answers, PageKey.longest(call, code))

    def history(self, call: Call, code: object, start: object, end: object, as_of: AsOf) -> Steps[pd.DataFrame]:
        wanted, frames = _Wanted.check(call, code, start, end, as_of), self._files.frames
        found = yield from self._answers.history(*wanted.asked, lambda ground: frames.get(wanted, ground))
        if not isinstance(found, History):
            return found  # a kept frame
        chosen = wanted.choose(found)
        frame = make_history(call, chosen.table, chosen.rows, chosen.known_at)
        checked = None if chosen.checked_at is None else moment_text(moment(chosen.checked_at))
        frame.attrs.update(symbol=chosen.symbol, origin=chosen.origin, checked_at=checked)
        if found.ground is not None:
            frames.keep(wanted, found.ground, chosen.known_at, frame)
        return frame

    def history_rows(self, call: Call, code: object, start: object, end: object, as_of: AsOf) -> Steps[HistoryRows]:
        """What a history is made of."""
        wanted = _Wanted.check(call, code, start, end, as_of)
        found: History = yield from self._answers.history(*wanted.asked, lambda _: None)
        return wanted.choose(found)

    def plot(self, call: Call, code: object, start: object, end: object, as_of: AsOf, source: str) -> Steps[Figure]:
        from opend_si.research import chart

        chart.require_matplotlib()  # before a request is spent
        key = PageKey.longest(call, code)
        chart.drawn_columns(key.table)
        public = as_of.public(key.symbol.market)
        if public is None:
            frame = yield from self.history(call, code, start, end, as_of)
        else:  # what was not public yet is drawn, too, and as such
            last = public if end is None else min(public, read_day("end", end, key.symbol.market))
            frame = yield from self.history(call, code, start, last, AsOf())
        whose = f"{SIMULATOR}, get_{call.name}" if frame.attrs["origin"] == SIMULATOR else source
        figure = chart.draw(frame, key.table, str(key.symbol), source=whose, public=public)
        figure.set_label(frame.attrs["origin"] or "")
        return figure

    def symbols(self, codes: Iterable[str]) -> list[object]:
        """What a sync goes through: each symbol once, in the order they are given."""
        if self._settings.mode in (Mode.OFFLINE, Mode.BYPASS):
            raise InvalidArgument(f"a sync records what OpenD sends: mode {self._settings.mode} cannot")
        # What is no text is reported like any other bad symbol; it may not even be hashable.
        wanted = {code if isinstance(code, str) else place: code for place, code in enumerate(listed(codes))}
        self._answers.need_record()  # before a request is spent
        return list(wanted.values())

    def symbol(self, call: Call, code: object, patience: Patience) -> Steps[SymbolReport]:
        """Bring one symbol up to date. Its errors are in the report."""

        def sync() -> Steps[Synced]:
            return (yield from self._answers.sync(PageKey.longest(call, code)))

        return report_symbol(code if isinstance(code, str) else repr(code), sync, patience)

    def synced(self, call: Call, report: SyncReport) -> None:
        """After a sync: what tables are read from holds what was recorded, where that is much."""
        if report.requests:
            from opend_si.research import columns

            columns.refresh(self._record(), call)

    def status(self, call: Call) -> Steps[Status]:
        return self._answers.status(call)

    # From the record alone: there is nothing to wait for but the disk. What these need is imported when they are asked.

    def revisions(self, call: Call, code: object) -> pd.DataFrame:
        key = PageKey.longest(call, code)
        frame = make_revisions(key.table, self._answers.revisions(key))
        said = {"symbol": str(key.symbol), "market": key.table.market.prefix, "kind": call.name}
        frame.attrs.update(said, origin=self._answers.origin_of(key))
        return frame

    def recorded(self, kind: str | None) -> pd.DataFrame:
        from opend_si.history.overview import overview

        return make_recorded(overview(self._record(), None if kind is None else call_of(kind).name))

    def delete(self, codes: Iterable[str], kind: str | None) -> int:
        from opend_si.history.upkeep import delete

        calls = CALLS if kind is None else (call_of(kind),)
        return delete(self._record(), names_of(codes), {call.proto_id for call in calls})

    def import_record(self, file: str | os.PathLike[str]) -> ImportReport:
        from opend_si.history.joining import import_record

        return import_record(self._record(), user_path("file", file))

    def _record(self) -> Path:
        """The record's file."""
        if self._settings.mode is Mode.BYPASS:
            raise InvalidArgument("mode bypass has no record to look at")
        return self._settings.cache

    def _choice(self, who: str, call: Call, codes: Iterable[str] | None, market: str | None, as_of: AsOf) -> Choice:
        """Which rows of the record the question `who` makes a table of; it needs the extra."""
        from opend_si.research.arrow import need_arrow
        from opend_si.research.panel import Choice

        need_arrow(who)
        may_write = self._settings.mode in (Mode.ONLINE, Mode.REFRESH)
        return Choice(self._record(), may_write, call, codes, market, as_of)

    def changes_since(self, call: Call, since: Since, codes: Iterable[str] | None) -> pd.DataFrame:
        from opend_si.research import news

        return news.changes_since(self._record(), call, since, codes)

    def verify(self, files: Files) -> pd.DataFrame:
        from opend_si.research import verify

        return verify.verify(self._choice("verify", SHORT_INTEREST, None, None, AsOf()), files)

    def check(self, market: str | None) -> pd.DataFrame:
        from opend_si.research import verify

        return verify.check(self._choice("check", SHORT_INTEREST, None, market, AsOf()))

    def arrow_table(self, call: Call, codes: Iterable[str] | None, market: str | None, as_of: AsOf) -> Any:
        from opend_si.research import panel

        return panel.arrow_table(self._choice("arrow_table", call, codes, market, as_of))

    def panel(self, call: Call, codes: Iterable[str] | None, market: str | None, as_of: AsOf) -> pd.DataFrame:
        from opend_si.research import panel

        return panel.panel(self._choice("panel", call, codes, market, as_of))

    def export(
        self,
        call: Call,
        path: str | os.PathLike[str],
        form: object,
        codes: Iterable[str] | None,
        market: str | None,
        as_of: AsOf,
    ) -> list[str]:
        from opend_si.research import export

        return export.export(self._choice("export", call, codes, market, as_of), path, form)

    def screen(
        self,
        call: Call,
        codes: Iterable[str] | None,
        market: str | None,
        by: str,
        top: int,
        ascending: bool,
        since: When | None,
        as_of: AsOf,
    ) -> pd.DataFrame:
        from opend_si.research import screen

        return screen.screen(self._choice("screen", call, codes, market, as_of), by, top, ascending, since)
