"""What a sync reports: what became of each symbol, and of all of them; and how it is shown while it lasts."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, TypeVar

from opend_si.client.steps import Account, Exchange, Sleep, Steps
from opend_si.dates import now
from opend_si.errors import InvalidArgument, ShortInterestError
from opend_si.errors.texts import one_line
from opend_si.pages.named import call_of
from opend_si.settings import Wait, WaitCallback
from opend_si.wire.errors import LinkCut, nobody_answers, was_sent
from opend_si_schema.calls import SHORT_INTEREST

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

    from opend_si.client.answers import Synced

_T = TypeVar("_T")

# Seconds that one sync waits in all for an OpenD that went away, and between its attempts: doubled up to the last.
_PATIENCE_SECONDS = 60.0
_FIRST_PAUSE, _LAST_PAUSE = 0.5, 8.0
# Attempts in a row that an OpenD may greet and cut without an answer. One that restarts does not greet meanwhile.
_MOST_CUTS = 2
# Columns of a terminal in which a bar has no room for all that it can say.
_NARROW = 80
# Symbols that a notebook shows of a report.
_SHOWN = 50


@dataclass(frozen=True)
class SymbolReport:
    """What became of one symbol.

    Attributes:
        symbol: The symbol, as it was given; what is no text, as Python writes it.
        rows: Rows of its history now.
        new_rows: Rows that were first seen in this sync.
        revised_rows: Rows whose values OpenD sent differently in this sync.
        requests: Requests that were spent on it.
        error: Why it could not be brought up to date; None if it was.
        is_kept: Whether the record has what is new: not where a gateway answered that keeps another record.
        seen: From when to when it was walked, in milliseconds since 1970.

    """

    symbol: str
    rows: int = 0
    new_rows: int = 0
    revised_rows: int = 0
    requests: int = 0
    error: ShortInterestError | None = None
    is_kept: bool = True
    seen: tuple[int, int] = field(default=(0, 0), repr=False, compare=False)


@dataclass(repr=False)
class SyncReport:
    """What became of every symbol of a sync, in the order they were given.

    Attributes:
        symbols: The report of each.
        cache: The page cache's file.
        kind: What rows were asked for.

    """

    symbols: list[SymbolReport] = field(default_factory=list)
    cache: Path | None = None
    kind: str = SHORT_INTEREST.name

    @property
    def ok(self) -> bool:
        """Whether every symbol is up to date."""
        return not self.failed

    @property
    def failed(self) -> list[SymbolReport]:
        """The symbols that are not."""
        return [report for report in self.symbols if report.error is not None]

    @property
    def requests(self) -> int:
        """Requests that were spent in all."""
        return sum(report.requests for report in self.symbols)

    @property
    def rows(self) -> int:
        """Rows of all histories together."""
        return sum(report.rows for report in self.symbols)

    @property
    def new_rows(self) -> int:
        """Rows that were first seen in this sync."""
        return sum(report.new_rows for report in self.symbols)

    @property
    def revised_rows(self) -> int:
        """Rows whose values OpenD sent differently in this sync."""
        return sum(report.revised_rows for report in self.symbols)

    @property
    def changes(self) -> pd.DataFrame:
        """The rows that were new and the values that were revised, from the record: a frame as of `changes_since`."""
        from opend_si.research.news import news

        if self.cache is None:
            raise InvalidArgument("this report is of no record: its changes are not known")
        seen = {entry.symbol: entry.seen for entry in self.symbols if entry.new_rows or entry.revised_rows}
        return news(self.cache, call_of(self.kind), seen)

    def to_frame(self) -> pd.DataFrame:
        """A DataFrame with one row a symbol: `symbol`, `rows`, `new_rows`, `revised_rows`, `requests`, `error`.

        The counts are int64. `error` is a text, missing where the symbol was brought up to date.
        """
        import pandas as pd

        from opend_si.tables import text_column

        counts = ("rows", "new_rows", "revised_rows", "requests")
        columns: dict[str, Any] = {"symbol": text_column([one_line(entry.symbol) for entry in self.symbols])}
        for name in counts:
            columns[name] = pd.array([getattr(entry, name) for entry in self.symbols], dtype="int64")
        errors = [None if entry.error is None else one_line(str(entry.error)) for entry in self.symbols]
        return pd.DataFrame({**columns, "error": text_column(errors)})

    def _repr_html_(self) -> str:
        """In a notebook: the sums, and the symbols of which there is something to say."""
        frame = self.to_frame()
        shown = frame[(frame["new_rows"] > 0) | (frame["revised_rows"] > 0) | frame["error"].notna()]
        table = shown.to_html(index=False, na_rep="", max_rows=_SHOWN) if len(shown) else ""
        return f"<p>{self}</p>{table}"

    def __iter__(self) -> Iterator[SymbolReport]:
        return iter(self.symbols)

    def __len__(self) -> int:
        return len(self.symbols)

    def __repr__(self) -> str:
        return f"<SyncReport: {self}>"

    def __str__(self) -> str:
        failed = f", {len(self.failed):,} failed" if self.failed else ""
        return (
            f"{counted(len(self), 'symbol')}{failed}: {counted(self.rows, 'row')}, {self.new_rows:,} new, "
            f"{self.revised_rows:,} revised, {counted(self.requests, 'request')}"
        )


def counted(count: int, noun: str) -> str:
    """`1 row`, `2 rows`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


# Called after each symbol with its report, and how many of how many symbols are done.
Progress: TypeAlias = Callable[[SymbolReport, int, int], object]


class View(NamedTuple):
    """What shows a sync: a function for each symbol, and one for the waits."""

    advance: Progress | None
    waiting: WaitCallback | None


def read_progress(progress: object) -> Any:
    """What a user passed as `progress`. `InvalidArgument` says what is right."""
    if progress is None or isinstance(progress, bool) or callable(progress):
        return progress or None
    raise InvalidArgument(f"progress is {progress!r}: it takes True for a bar, or a function of report, done and total")


@contextmanager
def watching(progress: Progress | bool | None, total: int) -> Iterator[View]:
    """What shows a sync while it lasts. True: a bar."""
    if progress is True:
        bar = Bar(total)
        with bar.shown:
            yield View(bar.advance, bar.waiting)
    else:
        yield View(progress or None, None)


class Bar:
    """Progress as a bar: for people. The bar gives way where the terminal is narrow, and then the sums; nothing is cut.

    It is drawn on stderr, or below the cell of a notebook. Where stderr is a file it is drawn once, at the end.
    """

    def __init__(self, total: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Drawn

        is_notebook = Console().is_jupyter
        # As a notebook's own text, without colours: rich's widgets need ipywidgets, which may not be there.
        plain: dict[str, Any] = {"force_jupyter": False, "force_terminal": False, "color_system": None}
        console = Console(file=io.StringIO(), width=_NARROW, **plain) if is_notebook else Console(stderr=True)
        self._drawn = Drawn(
            TextColumn("{task.description}", markup=False),  # symbols as they were given
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("{task.fields[state]}", markup=False),
            TimeRemainingColumn(),
            console=console,
            expand=True,
        )
        self.shown: AbstractContextManager[Any] = nullcontext() if is_notebook else self._drawn
        self._is_narrow = console.width < _NARROW
        self._spent = self._rows = 0
        self._task = self._drawn.add_task("sync", total=total, state=self._sums())
        self._cell = _Cell(console) if is_notebook else None

    def waiting(self, seconds: Wait) -> None:
        told = f"waiting {ceil(seconds)} s"
        because = " as others use OpenD's limit" if seconds.is_refused else " for the rate budget"
        self._update(state=told if self._is_narrow else told + because)

    def advance(self, report: SymbolReport, done: int, _total: int) -> None:
        from rich.text import Text

        self._spent += report.requests
        self._rows += report.rows
        self._update(completed=done, description=one_line(report.symbol)[:12], state=self._sums())
        if report.error is not None and not is_said_elsewhere(report):
            self._drawn.console.print(Text(line_of(report), "red"))

    def _update(self, **fields: Any) -> None:
        self._drawn.update(self._task, **fields)
        if self._cell is not None:
            self._cell.show(self._drawn.get_renderable())

    def _sums(self) -> str:
        rows = counted(self._rows, "row")
        return rows if self._is_narrow else f"{counted(self._spent, 'request')}  {rows}"


class _Cell:
    """A text below a notebook's cell that is written anew."""

    def __init__(self, console: Console) -> None:
        from IPython.display import display

        self._console = console
        self._handle = display({"text/plain": ""}, raw=True, display_id=True)  # type: ignore[no-untyped-call]

    def show(self, drawn: Any) -> None:
        with self._console.capture() as text:
            self._console.print(drawn)
        self._handle.update({"text/plain": text.get().rstrip()}, raw=True)


def is_gone(report: SymbolReport) -> bool:
    """Whether it failed because nobody answers, which ends the asking."""
    return nobody_answers(report.error)


def is_said_elsewhere(report: SymbolReport) -> bool:
    """Whether its error was said before the sync, or is said once after it."""
    return is_gone(report) or isinstance(report.error, InvalidArgument)


def line_of(report: SymbolReport) -> str:
    """A report as one line."""
    symbol = one_line(report.symbol)
    if report.error is not None:
        return f"{symbol}: {report.error}"
    return (
        f"{symbol}: {counted(report.rows, 'row')}, {report.new_rows:,} new, {report.revised_rows:,} revised, "
        f"{counted(report.requests, 'request')}"
    )


class Patience:
    """How long a sync waits for an OpenD that was there and is gone, as while it restarts.

    Bounded over the whole sync.
    """

    def __init__(self, seconds: float = _PATIENCE_SECONDS) -> None:
        self._left, self._pause = seconds, _FIRST_PAUSE
        self._cuts = 0
        self.was_there = False  # a connection to OpenD stood
        self.gone: ShortInterestError | None = None  # why nobody is asked any more

    def met(self) -> None:
        """OpenD was there."""
        self.was_there, self._pause, self._cuts = True, _FIRST_PAUSE, 0

    def wait(self, error: ShortInterestError) -> Steps[bool]:
        """Wait before the next attempt, after one that ended with an error; False: it is not worth one."""
        self._cuts = self._cuts + 1 if isinstance(error, LinkCut) else 0
        if not self.was_there or self._left <= 0 or self._cuts > _MOST_CUTS:
            return False
        seconds = min(self._pause, self._left)
        self._left -= seconds
        self._pause = min(2 * self._pause, _LAST_PAUSE)
        yield Sleep(seconds)
        return True


def report_symbol(symbol: str, sync: Callable[[], Steps[Synced]], patience: Patience) -> Steps[SymbolReport]:
    """Bring a symbol up to date, and report on it. Once OpenD is gone only the record is asked."""
    begun_at, spent = now(), _Spent()
    while True:
        spent.is_answered = False
        try:
            steps = sync() if patience.gone is None else _unasked(sync(), patience.gone)
            found = yield from spent.counting(steps)
        except ShortInterestError as error:
            if nobody_answers(error):
                patience.was_there |= spent.has_met
                if spent.is_answered:
                    patience.met()
                if patience.gone is None and (yield from patience.wait(error)):
                    continue
                patience.gone = error
            return SymbolReport(symbol, requests=spent.requests, error=error)
        else:
            break
    if spent.has_met:
        patience.met()
    return SymbolReport(
        symbol=symbol,
        rows=found.rows,
        new_rows=found.new_rows,
        revised_rows=found.revised_rows,
        requests=spent.requests,
        is_kept=found.is_kept,
        seen=(begun_at, now()),
    )


def _unasked(steps: Steps[_T], error: ShortInterestError) -> Steps[_T]:
    """The same steps, with every question to OpenD answered by an error."""
    try:
        step = next(steps)
        while True:
            step = steps.send((yield step)) if isinstance(step, Sleep) else steps.throw(type(error)(str(error)))
    except StopIteration as done:
        return done.value  # type: ignore[no-any-return]


class _Spent:
    """Counts the page requests that were sent.

    Attributes:
        requests: How many.
        has_met: Whether a connection to OpenD stood, be it that others sent all requests.
        is_answered: Whether one was answered, in this attempt.

    """

    def __init__(self) -> None:
        self.requests, self.has_met, self.is_answered = 0, False, False

    def counting(self, steps: Steps[_T]) -> Steps[_T]:
        """The same steps."""
        try:
            step = next(steps)
            while True:
                try:
                    result = yield step
                except BaseException as error:
                    self.requests += isinstance(step, Exchange) and was_sent(error)
                    step = steps.throw(error)
                else:
                    self.requests += isinstance(step, Exchange)
                    self.has_met |= isinstance(step, (Account, Exchange))
                    self.is_answered |= isinstance(step, Exchange)
                    step = steps.send(result)
        except StopIteration as done:
            return done.value  # type: ignore[no-any-return]
