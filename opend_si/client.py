"""The blocking client that the faces render on: it drives the steps of a `PageSource` over one connection."""

from __future__ import annotations

import atexit
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from opend_si.cache.policy import Mode
from opend_si.clock import milliseconds, now
from opend_si.dates import midnight, read_day, read_moment
from opend_si.errors import InvalidArgument, ShortInterestError
from opend_si.pages import Page, PageKey
from opend_si.planner import BOTTOM, TOP
from opend_si.settings import Settings
from opend_si.source import PageSource, PageWalk
from opend_si.steps import Account, Exchange, Sleep, Step, Steps
from opend_si.sync import Progress, SymbolReport, SyncReport
from opend_si.tables import make_history, make_revisions
from opend_si.wire.blocking import BlockingConnection
from opend_si_schema.definitions import Call

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from opend_si.dates import When

_T = TypeVar("_T")


class BlockingClient:
    """Pages from one OpenD, or from the record. Threads may share it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._source = PageSource(settings)
        self._connection = BlockingConnection(settings.host, settings.port, settings.timeout)
        self._counts = threading.local()

    def close(self) -> None:
        """Close the connection and the files. The client stays usable: the next call opens them again."""
        self._connection.close()
        self._source.close()

    def __enter__(self) -> Any:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._settings.address}, mode={str(self._settings.mode)!r})"

    def _page(self, call: Call, code: object, next_key: object, num: object) -> Page:
        return self._drive(self._source.page(PageKey.check(call, code, next_key, num)))

    def _pages(self, call: Call, code: object) -> Iterator[Page]:
        walk = self._source.pages(_longest(call, code))
        return self._walk_pages(walk)  # arguments are checked now, pages are fetched as they are asked for

    def _walk_pages(self, walk: PageWalk) -> Iterator[Page]:
        while (page := self._drive(walk.advance())) is not None:
            yield page

    def _history(self, call: Call, code: object, start: object, end: object, as_of: object) -> pd.DataFrame:
        key = _longest(call, code)
        market = key.symbol.market
        try:
            down_to = BOTTOM if start is None else midnight(read_day("start", start, market), market)
            up_to = TOP if end is None else midnight(read_day("end", end, market), market)
            looking_back = None if as_of is None else milliseconds(read_moment("as_of", as_of, market))
        except InvalidArgument:
            raise
        except (OverflowError, ValueError) as error:  # days at the ends of the calendar
            raise InvalidArgument(f"start {start!r}, end {end!r} or as_of {as_of!r} is out of range: {error}") from None
        found, known = self._drive(self._source.history(key, down_to, looking_back))
        rows = [row for row in found.rows if row.at <= up_to]
        return make_history(key.table, rows, [known.known_at(row) for row in rows])

    def _revisions(self, call: Call, code: object) -> pd.DataFrame:
        key = _longest(call, code)
        return make_revisions(key.table, self._source.recorded_history(key).changes)

    # Of many symbols, from the record: nothing is fetched. What these need is imported when they are called.

    def _arrow_table(self, call: Call, codes: Iterable[str] | None, market: str | None, as_of: When | None) -> Any:
        from opend_si import panel

        return panel.arrow_table(self._settings, call, codes, market, as_of)

    def _panel(self, call: Call, codes: Iterable[str] | None, market: str | None, as_of: When | None) -> pd.DataFrame:
        from opend_si import panel

        return panel.panel(self._settings, call, codes, market, as_of)

    def _export(
        self,
        call: Call,
        path: str | os.PathLike[str],
        kind: object,
        codes: Iterable[str] | None,
        market: str | None,
        as_of: When | None,
    ) -> list[str]:
        from opend_si import export

        return export.export(self._settings, call, path, kind, codes, market, as_of)

    def _screen(self, call: Call, market: str | None, by: str, top: int, as_of: When | None) -> pd.DataFrame:
        from opend_si import screen

        return screen.screen(self._settings, call, market, by, top, as_of)

    def _plot(self, call: Call, code: object, start: object, end: object, as_of: object, source: str) -> Figure:
        from opend_si import chart

        chart.require_matplotlib()  # before a request is spent
        key = _longest(call, code)
        frame = self._history(call, code, start, end, as_of)
        return chart.draw(frame, key.table, str(key.symbol), source=source)

    def _sync(self, call: Call, codes: Iterable[str], progress: Progress | None) -> SyncReport:
        if self._settings.mode in (Mode.OFFLINE, Mode.BYPASS):
            raise InvalidArgument(f"a sync records what OpenD sends: mode {self._settings.mode} cannot")
        try:
            given = iter([codes] if isinstance(codes, str) else codes)
        except TypeError:
            raise InvalidArgument(f"codes is {codes!r}: it takes symbols, each a text such as HK.00700") from None
        # Each symbol once. What is no text is reported like any other bad symbol; it may not even be hashable.
        wanted = list({code if isinstance(code, str) else place: code for place, code in enumerate(given)}.values())
        report = SyncReport()
        for code in wanted:
            done = self._sync_one(call, code)
            report.symbols.append(done if isinstance(code, str) else replace(done, symbol=repr(code)))
            if progress is not None:
                progress(report.symbols[-1], len(report), len(wanted))
        return report

    def _sync_one(self, call: Call, code: str) -> SymbolReport:
        begun_at, before = now(), self._sent()
        try:
            found, known = self._drive(self._source.history(_longest(call, code), BOTTOM, may_fall_back=False))
        except ShortInterestError as error:
            return SymbolReport(code, requests=self._sent() - before, error=error)
        return SymbolReport(
            symbol=code,
            rows=len(found.rows),
            new_rows=known.first_seen_since(begun_at),
            revised_rows=len({change.at for change in known.changes if change.seen_at >= begun_at}),
            requests=self._sent() - before,
        )

    def _sent(self) -> int:
        """Page requests that this thread has sent."""
        return getattr(self._counts, "sent", 0)

    def _drive(self, steps: Steps[_T]) -> _T:
        try:
            step = next(steps)
            while True:
                try:
                    result = self._perform(step)
                except BaseException as error:
                    step = steps.throw(error)
                else:
                    step = steps.send(result)
        except StopIteration as done:
            return done.value  # type: ignore[no-any-return]

    def _perform(self, step: Step) -> object:
        match step:
            case Exchange(key):
                self._counts.sent = self._sent() + 1
                return self._connection.request(key.call.proto_id, key.request())
            case Account():
                return self._connection.server.user_id
            case Sleep(seconds, budget):
                if budget is not None and self._settings.on_wait is not None:
                    self._settings.on_wait(budget)
                time.sleep(seconds)
                return None


def _longest(call: Call, code: object) -> PageKey:
    """The key of a symbol's longest first page: whole histories are walked with it."""
    return PageKey.check(call, code, None, call.page_size.maximum)


_C = TypeVar("_C", bound=BlockingClient)


class Default(Generic[_C]):
    """The client behind a face's module-level functions: made at first use, closed at exit."""

    def __init__(self, make: Callable[..., _C]) -> None:
        self._make = make
        self._settings: dict[str, Any] = {}
        self._client: _C | None = None
        self._lock = threading.Lock()
        atexit.register(self.close)

    def get(self) -> _C:
        """The client, made now if it was not."""
        with self._lock:
            if self._client is None:
                self._client = self._make(**self._settings)
            return self._client

    def configure(self, settings: dict[str, Any]) -> None:
        """Use these settings, with those given before, from the next call on. A wrong setting changes nothing."""
        with self._lock:
            merged = {**self._settings, **settings}
            client = self._make(**merged)
            old, self._client, self._settings = self._client, client, merged
        if old is not None:
            old.close()

    def close(self) -> None:
        """Close the client, if there is one."""
        with self._lock:
            if self._client is not None:
                self._client.close()
