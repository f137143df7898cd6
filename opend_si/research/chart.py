"""A picture of a symbol's history, for notebooks and for print.

`draw` makes a figure from a frame that `history` gave, `save` writes it. Figures are made without pyplot: no window, no
list of open figures that grows, and no backend to choose. matplotlib, an extra, is imported when a figure is made.

The colours are told apart by colour-blind readers, and on a grey print as a light area and a dark line.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date
from functools import partial
from io import BytesIO
from math import floor, log10
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opend_si.dates import When, read_day
from opend_si.errors import InvalidArgument, MissingExtra
from opend_si.system import forks
from opend_si.system.files import put_in_place, user_path
from opend_si_schema.calls import CALLS
from opend_si_schema.definitions import PUBLISHED_BY, Column, Schedule, Table

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

    Days = npt.NDArray[np.datetime64]

_AREA, _PRICE, _RATIO = "#a6cee3", "#a63603", "#1f5f8b"
_INK, _FAINT, _GRID = "#222222", "#666666", "#dddddd"
_TITLE_SIZE, _TEXT_SIZE, _SMALL_SIZE = 11, 8.5, 7  # points
_LINE, _DOT, _BAR = 1.1, 3.0, 3.0  # points
_MARGIN = 0.1  # inches around the picture
_HEADROOM = 1.08  # of the highest value
# Up to so many numbers each is marked: two years of a US symbol.
_FEW = 60

# The longest distance of two rows that follow each other, in days: weekends and holidays move dates. One missing row
# makes less than twice of it, two make more.
_USUAL_DAYS: dict[Schedule, int] = {"daily": 5, "weekly": 8, "semimonthly": 18}
# What an axis of shares counts in.
_MULTIPLES = ((1e9, "billion "), (1e6, "million "), (1e3, "thousand "))

# What matplotlib writes into a file of itself: the moment, unless told otherwise.
_METADATA: dict[str, dict[str, Any]] = {"png": {}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}
_PNG_DPI = 200
# Settings of the user's that hold for a chart too: fonts (a Chinese name may need one), the dots of a screen, and what
# has nothing to do with looks. All others are matplotlib's own. Styles ask for TeX, for ticks on all sides, for lines
# as drawn by hand: that would break a chart whose look is said here.
_KEPT = (
    "font.",
    "figure.dpi",
    "backend",
    "interactive",
    "toolbar",
    "date.epoch",
    "tk.",
    "webagg.",
    "keymap.",
    "animation.",
)
# Ids in SVG files are random without a salt. Type 42 embeds fonts so that editors and printers can use them.
_WRITING: dict[Any, Any] = {"svg.hashsalt": "short interest", "svg.fonttype": "path", "pdf.fonttype": 42}
_settings = forks.new_lock()  # matplotlib's are the process's


def draw(
    frame: pd.DataFrame,
    table: Table,
    symbol: str,
    *,
    start: When | None = None,
    end: When | None = None,
    name: str | None = None,
    source: str | None = None,
    public: date | None = None,
    size: tuple[float, float] = (7.5, 4.8),
) -> Figure:
    """What is short of a symbol as an area, its price as a line, and below days to cover or a ratio.

    Nothing is smoothed or filled: each number is drawn where it was reported, and over more than one missing row area
    and lines break. A number that stands alone is a bar or a dot. A frame without rows gives a picture that says so,
    as `history` gives an empty frame for a symbol that was never reported.

    The figure shows itself in notebooks (`_repr_png_`), also where pyplot was never imported. Its `axes` are, in this
    order, short interest, price, and what is below; x values are dates, y values those of the frame. The layout is
    fixed: after changes of your own, call `figure.set_layout_engine("constrained")`.

    Args:
        frame: What `history` gave.
        table: The table of the symbol's market.
        symbol: What the title says, such as `HK.00700`.
        start: First day drawn; None for the frame's first.
        end: Last day drawn; None for the frame's last.
        name: The security's name, for the title. OpenD sends none with these rows.
        source: Whose data it is, for the line at the bottom. None: OpenD's, with the name of the call.
        public: A day. The rows that were not public at its end, by the exchange's rule, are drawn hollow, and the
            legend says so. None: all alike.
        size: Width and height in inches.

    Raises:
        MissingExtra: matplotlib is not installed.
        InvalidArgument: The frame is no history of that table, the table has no such columns, or a day is no day.

    """
    require_matplotlib()
    days, rows = _read_rows(frame, table, drawn_columns(table), start, end)
    span = "".join(
        f" {word} {read_day(word, day, table.market)}"
        for word, day in (("from", start), ("to", end))
        if day is not None
    )
    call = next(call for call in CALLS if table in call.tables)
    with _own_look():
        figure = _draw(days, rows, table, call.title.capitalize(), size, public)
        if not len(days):
            over = figure.axes[1]
            over.text(0.5, 0.5, f"no rows{span}", transform=over.transAxes, ha="center", **_text(_TEXT_SIZE, _FAINT))
        at_left = {"x": _MARGIN / size[0], "ha": "left"}
        figure.suptitle(f"{symbol}  {name}" if name else symbol, **at_left, **_text(_TITLE_SIZE), fontweight="bold")
        through = f", through {days[-1]}" if len(days) else ""
        whose = f"Source: {source or f'OpenD get_{call.name}'}{through}"
        figure.supxlabel(whose, **at_left, **_text(_SMALL_SIZE, _FAINT))
        figure.draw_without_rendering()
    figure.set_layout_engine("none")  # a second layout differs in the last bit, and so would the file
    # IPython shows a figure by itself only after pyplot was imported.
    figure._repr_png_ = partial(_render, figure, "png", "figure")  # type: ignore[attr-defined]
    return figure


def save(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Write a figure as PNG (200 dots per inch), SVG or PDF, as the path's suffix says.

    The same figure gives the same bytes, today and tomorrow. Fonts are in the file. The file is there whole or not at
    all; one that was there before is replaced.

    Raises:
        InvalidArgument: Another suffix.
        OSError: The file cannot be written.

    """
    path = user_path("out", path)
    image = _render(figure, image_format(path), _PNG_DPI)
    put_in_place(path, lambda file: file.write(image))


def image_format(path: str | os.PathLike[str]) -> str:
    """The format that a path's suffix names; `InvalidArgument` if `save` does not write it."""
    suffix = Path(path).suffix
    if suffix[1:].lower() not in _METADATA:
        raise InvalidArgument(f"{os.fspath(path)}: a chart is written as {', '.join(f'.{form}' for form in _METADATA)}")
    return suffix[1:].lower()


def require_matplotlib() -> None:
    """`MissingExtra` if matplotlib is not there: for asking before a request is spent."""
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError as error:
        raise MissingExtra(
            f"a chart needs matplotlib ({error}): pip install 'opend-short-interest[plot]'; history works without it"
        ) from None


def _render(figure: Figure, form: str, dpi: float | str) -> bytes:
    image = BytesIO()
    with _own_look():
        figure.savefig(image, format=form, dpi=dpi, facecolor="auto", metadata=_METADATA[form])
    return image.getvalue()


@contextmanager
def _own_look() -> Iterator[None]:
    """What matplotlib does by itself, whatever style the user has set, but for what `_KEPT` names."""
    from matplotlib import rc_context, rcParamsDefault

    look = {name: value for name, value in rcParamsDefault.items() if not name.startswith(_KEPT)}
    with _settings, rc_context({**look, **_WRITING}):
        yield


# What is drawn


def _draw(
    days: Days, rows: pd.DataFrame, table: Table, title: str, size: tuple[float, float], public: date | None
) -> Figure:
    """The figure without the texts around it."""
    import numpy as np
    from matplotlib.figure import Figure

    short, price, ratio = drawn_columns(table)
    counted, close, below = (_Series.read(days, rows[column.name], table) for column in (short, price, ratio))
    figure = Figure(figsize=size, facecolor="white")
    figure.set_layout_engine("constrained", w_pad=_MARGIN, h_pad=_MARGIN / 2)
    grid = figure.add_gridspec(2, 1, height_ratios=(3, 1))
    upper = figure.add_subplot(grid[0])
    over = upper.twinx()
    lower = figure.add_subplot(grid[1], sharex=upper)
    upper.tick_params(labelbottom=False)
    # Rows become public in the order of their days: those that were not are the last ones.
    is_public = np.full(len(rows), True) if public is None else (rows[PUBLISHED_BY].dt.date <= public).to_numpy()
    hidden = days[is_public.argmin()] if not is_public.all() else None
    area, hollow = _draw_area(upper, counted, hidden)
    _dress(upper, short, counted, ticks=6, from_zero=True)
    _draw_line(over, close, _PRICE, hidden)
    # A price that fell to less than half would seem to fall to nothing.
    _dress(over, price, close, ticks=6, from_zero=close.lowest < close.highest / 2)
    _draw_line(lower, below, _RATIO, hidden)
    _dress(lower, ratio, below, ticks=4, from_zero=True)
    _dress_dates(lower, days, _USUAL_DAYS[table.schedule])
    _dress_second(over, _PRICE)
    not_public = {} if hollow is None else {f"Not public yet on {public}": hollow}
    _explain(over, {title: area, _words(price): over.lines[0], **not_public})
    _explain(lower, {_words(ratio): lower.lines[0]})
    figure.align_ylabels([upper, lower])
    return figure


def drawn_columns(table: Table) -> tuple[Column, Column, Column]:
    """What is short, the price and the ratio; `InvalidArgument` for a table whose binding does not name all three."""
    if not (table.short and table.price and table.ratio):
        call = next(call for call in CALLS if table in call.tables)
        raise InvalidArgument(
            f"{call.title} of {table.market.prefix} cannot be drawn: a chart needs what is short, a price and a ratio"
        )
    return table.column(table.short), table.column(table.price), table.column(table.ratio)


def _read_rows(
    frame: pd.DataFrame, table: Table, columns: Sequence[Column], start: When | None, end: When | None
) -> tuple[Days, pd.DataFrame]:
    """The rows from `start` to `end`, and their days."""
    import numpy as np
    import pandas as pd

    lacking = [column.name for column in columns if column.name not in frame]
    if lacking or not isinstance(frame.index, pd.DatetimeIndex) or not frame.index.is_monotonic_increasing:
        raise InvalidArgument(
            f"a chart is drawn from a frame of history: by date, ascending, with {table.market.title}'s columns"
            + (f"; {', '.join(lacking)} is not there" if lacking else "")
        )
    days = frame.index.to_numpy().astype("datetime64[D]")
    first = 0 if start is None else days.searchsorted(np.datetime64(read_day("start", start, table.market)))
    last = len(days) if end is None else days.searchsorted(np.datetime64(read_day("end", end, table.market)), "right")
    return days[first:last], frame.iloc[first:last]


@dataclass(frozen=True, slots=True)
class _Series:
    """One column's numbers and their days, with a NaN in each gap, and those that stand between gaps alone."""

    days: Days
    values: npt.NDArray[np.float64]
    alone: npt.NDArray[np.intp]

    @classmethod
    def read(cls, days: Days, column: pd.Series[Any], table: Table) -> _Series:
        import numpy as np

        values = column.to_numpy(dtype="float64", na_value=np.nan)
        is_number = np.isfinite(values)
        days, values = days[is_number], values[is_number]
        gaps = 1 + np.flatnonzero(np.diff(days).astype(int) > 2 * _USUAL_DAYS[table.schedule])
        days, values = np.insert(days, gaps, days[gaps - 1] + np.timedelta64(1, "D")), np.insert(values, gaps, np.nan)
        return cls.of(days, values)

    @classmethod
    def of(cls, days: Days, values: npt.NDArray[np.float64]) -> _Series:
        import numpy as np

        edged = np.pad(np.isnan(values), 1, constant_values=True)
        return cls(days, values, np.flatnonzero(edged[:-2] & ~edged[1:-1] & edged[2:]))

    def split(self, day: np.datetime64 | None) -> tuple[_Series, _Series]:
        """What is before a day, and the rest; the rest begins with what it is joined to, a number or a gap."""
        place = len(self.days) if day is None else int(self.days.searchsorted(day))
        joint = max(place - 1, 0)
        return _Series.of(self.days[:place], self.values[:place]), _Series.of(self.days[joint:], self.values[joint:])

    @property
    def lowest(self) -> float:
        """The lowest number; 0 if there is none."""
        return min(self._numbers(), default=0.0)

    @property
    def highest(self) -> float:
        """The highest number; 0 if there is none."""
        return max(self._numbers(), default=0.0)

    def _numbers(self) -> list[float]:
        return [value for value in self.values.tolist() if value == value]  # NaN differs from itself


def _draw_area(axes: Axes, series: _Series, hidden: np.datetime64 | None) -> tuple[Artist, Artist | None]:
    """The area; and the hollow one from the day on that was `hidden`, if there was one."""
    shown, rest = series.split(hidden)
    area = axes.fill_between(shown.days, shown.values, color=_AREA, linewidth=0)
    axes.vlines(shown.days[shown.alone], 0, shown.values[shown.alone], colors=_AREA, linewidth=_BAR)
    if hidden is None:
        return area, None
    hollow = axes.fill_between(
        rest.days, rest.values, facecolor="white", edgecolor=_AREA, linewidth=_LINE, hatch="/////"
    )
    axes.vlines(rest.days[rest.alone], 0, rest.values[rest.alone], colors=_AREA, linewidth=_BAR, linestyles="dotted")
    return area, hollow


def _draw_line(axes: Axes, series: _Series, color: str, hidden: np.datetime64 | None) -> None:
    """A line; from the day on that was `hidden` a dotted one with hollow dots."""
    shown, rest = series.split(hidden)
    marked = None if len(series.days) <= _FEW else shown.alone.tolist()
    (line,) = axes.plot(shown.days, shown.values, color=color, linestyle="-", linewidth=_LINE)
    line.set(marker="o", markersize=_DOT, markeredgewidth=0, markevery=marked)
    if hidden is not None:
        (dotted,) = axes.plot(rest.days, rest.values, color=color, linestyle=":", linewidth=_LINE)
        hollow = (rest.days >= hidden).nonzero()[0].tolist()
        dotted.set(marker="o", markersize=_DOT, markeredgewidth=_LINE, markerfacecolor="white", markevery=hollow)


# How it looks: all of it is said here, so that a dark theme of the user's does not paint black on black


def _text(size: float, color: str = _INK) -> dict[str, Any]:
    return {"fontsize": size, "color": color, "parse_math": False}  # a $ in a name is a dollar


def _dress(axes: Axes, column: Column, series: _Series, *, ticks: int, from_zero: bool) -> None:
    """The y axis in the column's unit, a grid behind what is drawn, and no frame."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    scale, unit = _scale(column, series.highest)
    axes.set_ylabel(unit, **_text(_TEXT_SIZE))
    axes.patch.set_visible(False)
    axes.set_axisbelow(True)
    axes.grid(visible=False, axis="x")
    axes.grid(visible=True, axis="y", color=_GRID, linewidth=0.6, linestyle="-")
    for side, spine in axes.spines.items():
        spine.set(visible=side == "bottom", color=_FAINT, linewidth=0.8)
    axes.tick_params(color=_FAINT, labelcolor=_INK, labelsize=_TEXT_SIZE, length=3, width=0.8, direction="out")
    axes.tick_params(axis="y", length=0)
    if not len(series.days):
        axes.set_yticks([])
        return
    axes.margins(y=_HEADROOM - 1)
    if from_zero:
        axes.set_ylim(0, series.highest * _HEADROOM or 1)
    axes.yaxis.set_major_locator(MaxNLocator(ticks, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_formatter(FuncFormatter(partial(_number, axes.yaxis, scale)))


def _dress_second(axes: Axes, color: str) -> None:
    """An axis on the right: marks in its line's colour instead of a second grid."""
    axes.grid(visible=False)
    axes.tick_params(axis="y", length=3, color=color, labelcolor=color)
    axes.yaxis.label.set_color(color)


def _dress_dates(axes: Axes, days: Days, usual_days: int) -> None:
    import numpy as np
    from matplotlib.dates import AutoDateLocator
    from matplotlib.ticker import FuncFormatter

    if not len(days):
        axes.set_xticks([])
        return
    axes.xaxis.set_major_locator(AutoDateLocator(minticks=3, maxticks=10))  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_formatter(FuncFormatter(_DayText(axes.xaxis)))
    edge = max((days[-1] - days[0]) // 100, np.timedelta64(usual_days // 2, "D"))
    axes.set_xlim(days[0] - edge, days[-1] + edge)


def _explain(axes: Axes, drawn: dict[str, Artist]) -> None:
    """A legend above the axes. Lines are shown without their dots: most have none."""
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=artist.get_color(), linewidth=_LINE) if isinstance(artist, Line2D) else artist
        for artist in drawn.values()
    ]
    axes.legend(
        handles,
        list(drawn),
        loc="lower left",
        bbox_to_anchor=(0, 1),
        borderaxespad=0.2,
        borderpad=0,
        frameon=False,
        fontsize=_TEXT_SIZE,
        labelcolor=_INK,
        handlelength=1.4,
        ncols=len(drawn),
    )


def _words(column: Column) -> str:
    return column.name.replace("_", " ").capitalize()


def _scale(column: Column, highest: float) -> tuple[float, str]:
    """What an axis' numbers are divided by, and its unit in words."""
    if column.unit == "shares":
        return next(((scale, f"{word}shares") for scale, word in _MULTIPLES if highest >= scale), (1.0, "shares"))
    return 1.0, "%" if column.unit == "percent" else column.unit


def _number(axis: Axis, scale: float, value: float, _position: int | None = None) -> str:
    """A number on an axis, with the decimals that tell it from its neighbours."""
    step = _step(axis.get_majorticklocs().tolist()) / scale
    return f"{value / scale:,.{max(0, -floor(log10(step) + 1e-9))}f}"


@dataclass(eq=False)
class _DayText:
    """The dates of an axis: years; or months or days, with the year below the first and where it changes.

    matplotlib's ConciseDateFormatter leaves the year of the first months to be guessed.
    """

    axis: Axis
    ticks: list[float] = field(default_factory=list)

    def __call__(self, value: float, position: int | None = None) -> str:
        """The text of one tick; ticks come in rounds that begin with position 0."""
        from matplotlib.dates import num2date

        if not position:  # once a round: dates take long to place
            self.ticks = self.axis.get_majorticklocs().tolist()
        first, _ = self.axis.get_view_interval()
        ticks = (value, *(tick for tick in self.ticks if first <= tick < value))
        day, *earlier = map(partial(num2date, tz=UTC), ticks)  # not in a zone of the user's settings
        step = _step(self.ticks)
        if step > 360:
            return str(day.year)
        text = f"{day:%b}" if step > 27 else f"{day.day} {day:%b}"
        return f"{text}\n{'' if any(other.year == day.year for other in earlier) else day.year}"


def _step(ticks: Sequence[float]) -> float:
    """From one tick to the next; 1 if there are not two."""
    return (abs(ticks[1] - ticks[0]) if len(ticks) > 1 else 0) or 1
