"""What can be asked, as steps: the blocking and the asyncio client drive the same ones.

A question checks its arguments before its first step, so that bad input costs no request.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from opend_si.calendars import published_by
from opend_si.client.answers import Answers, Synced
from opend_si.client.doctor import Status
from opend_si.client.pagewalk import PageWalk
from opend_si.client.steps import Steps
from opend_si.client.sync import Patience, SymbolReport, report_symbol
from opend_si.dates import AsOf, Since, When, day_of, moment, moment_text, read_day, read_midnight
from opend_si.errors import InvalidArgument
from opend_si.files import Files, user_path
from opend_si.history.frames import make_history, make_recorded, make_revisions
from opend_si.history.joining import ImportReport, delete, import_record
from opend_si.history.overview import overview
from opend_si.history.record import Shared
from opend_si.history.statements import BOTTOM, TOP
from opend_si.pages import SIMULATOR, Page, PageKey, Row
from opend_si.settings import Mode, Settings
from opend_si.symbols import call_of
from opend_si.tables import describe
from opend_si_schema.calls import CALLS
from opend_si_schema.definitions import Call, Table

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


class HistoryRows(NamedTuple):
    """What a history is made of: its rows, newest first, and when each value was known, in milliseconds.

    `checked_at`: when OpenD last sent the newest page as it is; None where there is none. `origin`: who sent the rows.
    """

    symbol: str
    table: Table
    rows: list[Row]
    known_at: list[int | None]
    checked_at: int | None
    origin: str | None


class Questions:
    """The questions that one client answers."""

    def __init__(self, settings: Settings, shared: Shared | None = None) -> None:
        self._settings = settings
        self._shared = Shared(settings) if shared is None else shared
        self._answers = Answers(settings, self._shared)

    def by(self, settings: Settings) -> Questions:
        """The same questions by the rules of other settings: of the same files."""
        return Questions(settings, self._shared)

    def close(self) -> None:
        """Close the files."""
        self._shared.close()

    def page(self, call: Call, code: object, next_key: object, num: object) -> Steps[Page]:
        return self.page_of(PageKey.check(call, code, next_key, num))

    def page_of(self, key: PageKey) -> Steps[Page]:
        """The page of a key that has been checked."""
        return self._answers.page(key)

    def pages(self, call: Call, code: object) -> PageWalk:
        return self._answers.pages(_longest(call, code))

    def history(self, call: Call, code: object, start: object, end: object, as_of: AsOf) -> Steps[pd.DataFrame]:
        found = yield from self.history_rows(call, code, start, end, as_of)
        frame = make_history(found.table, found.rows, found.known_at)
        checked = None if found.checked_at is None else moment_text(moment(found.checked_at))
        frame.attrs.update(symbol=found.symbol, **describe(call, found.table), origin=found.origin, checked_at=checked)
        return frame

    def history_rows(self, call: Call, code: object, start: object, end: object, as_of: AsOf) -> Steps[HistoryRows]:
        """What a history is made of."""
        key = _longest(call, code)
        market = key.symbol.market
        down_to = BOTTOM if start is None else read_midnight("start", start, market)
        up_to = TOP if end is None else read_midnight("end", end, market)
        if up_to < down_to:
            raise InvalidArgument(f"end {end!r} is before start {start!r}: no day is in between")
        found = yield from self._answers.history(key, down_to, as_of.recorded(market))
        public, table = as_of.public(market), key.table
        chosen = [
            (row, known)
            for row, known in zip(found.rows, found.known_at, strict=True)
            if row.at <= up_to and (public is None or published_by(table, day_of(row.at, market)) <= public)
        ]
        rows, known_at = [row for row, _ in chosen], [known for _, known in chosen]
        return HistoryRows(str(key.symbol), table, rows, known_at, found.checked_at, found.origin)

    def plot(self, call: Call, code: object, start: object, end: object, as_of: AsOf, source: str) -> Steps[Figure]:
        from opend_si.research import chart

        chart.require_matplotlib()  # before a request is spent
        key = _longest(call, code)
        chart.drawn_columns(key.table)
        public = as_of.public(key.symbol.market)
        if public is None:
            frame = yield from self.history(call, code, start, end, as_of)
        else:  # what was not public yet is drawn, too, and as such
            last = public if end is None else min(public, read_day("end", end, key.symbol.market))
            frame = yield from self.history(call, code, start, last, AsOf())
        whose = f"{SIMULATOR}, get_{call.name}" if frame.attrs["origin"] == SIMULATOR else source
        return chart.draw(frame, key.table, str(key.symbol), source=whose, public=public)

    def symbols(self, codes: Iterable[str]) -> list[object]:
        """What a sync goes through: each symbol once, in the order they are given."""
        if self._settings.mode in (Mode.OFFLINE, Mode.BYPASS):
            raise InvalidArgument(f"a sync records what OpenD sends: mode {self._settings.mode} cannot")
        try:
            given = iter([codes] if isinstance(codes, str) else codes)
        except TypeError:
            raise InvalidArgument(f"codes is {codes!r}: it takes symbols, each a text such as HK.00700") from None
        # What is no text is reported like any other bad symbol; it may not even be hashable.
        wanted = {code if isinstance(code, str) else place: code for place, code in enumerate(given)}
        self._answers.need_record()  # before a request is spent
        return list(wanted.values())

    def symbol(self, call: Call, code: object, patience: Patience) -> Steps[SymbolReport]:
        """Bring one symbol up to date. Its errors are in the report."""

        def sync() -> Steps[Synced]:
            return (yield from self._answers.sync(_longest(call, code)))

        return report_symbol(code if isinstance(code, str) else repr(code), sync, patience)

    def status(self, call: Call) -> Steps[Status]:
        return self._answers.status(call)

    # From the record alone: there is nothing to wait for but the disk. What these need is imported when they are asked.

    def revisions(self, call: Call, code: object) -> pd.DataFrame:
        key = _longest(call, code)
        return make_revisions(key.table, self._answers.revisions(key))

    def recorded(self, kind: str | None) -> pd.DataFrame:
        return make_recorded(overview(self._record(), None if kind is None else call_of(kind).name))

    def delete(self, codes: Iterable[str], kind: str | None) -> int:
        calls = CALLS if kind is None else (call_of(kind),)
        return delete(
            self._record(), [codes] if isinstance(codes, str) else list(codes), {call.proto_id for call in calls}
        )

    def import_record(self, file: str | os.PathLike[str]) -> ImportReport:
        return import_record(self._record(), user_path("file", file))

    def _record(self) -> Path:
        """The record's file."""
        if self._settings.mode is Mode.BYPASS:
            raise InvalidArgument("mode bypass has no record to look at")
        return self._settings.cache

    def changes_since(self, call: Call, since: Since, codes: Iterable[str] | None) -> pd.DataFrame:
        from opend_si.research import news

        return news.changes_since(self._settings, call, since, codes)

    def verify(self, files: Files) -> pd.DataFrame:
        from opend_si.research import verify

        return verify.verify(self._settings, files)

    def check(self, market: str | None) -> pd.DataFrame:
        from opend_si.research import verify

        return verify.check(self._settings, market)

    def arrow_table(self, call: Call, codes: Iterable[str] | None, market: str | None, as_of: AsOf) -> Any:
        from opend_si.research import panel

        return panel.arrow_table(self._settings, call, codes, market, as_of)

    def panel(self, call: Call, codes: Iterable[str] | None, market: str | None, as_of: AsOf) -> pd.DataFrame:
        from opend_si.research import panel

        return panel.panel(self._settings, call, codes, market, as_of)

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

        return export.export(self._settings, call, path, form, codes, market, as_of)

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

        return screen.screen(self._settings, call, codes, market, by, top, ascending, since, as_of)


def _longest(call: Call, code: object) -> PageKey:
    """The key of a symbol's longest first page: whole histories are walked with it."""
    return PageKey.check(call, code, None, call.page_size.maximum)
