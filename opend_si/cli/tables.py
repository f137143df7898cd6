"""Rows as a table for people: the date once, thousands marked, missing values as a dash, nothing cut.

A file or a pipe gets one line of headings, and every column. On a terminal the units stand under the headings. Where it
is too narrow, headings are folded; where that is not enough, the columns that matter least are left out, and a line on
stderr names them. What is shown is always whole.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

from opend_si.errors.texts import one_line
from opend_si_schema.definitions import Table

if TYPE_CHECKING:
    import pandas as pd

# Between two columns.
_GAP = "  "
# What goes first where a terminal is narrow; then the columns from the right, down to so many.
_LEAST = ("known_at", "seen_at", "last_close_price")
_FEWEST = 3
# Units as they stand under a heading; a day needs no word.
_UNITS = {"percent": "%", "YYYY-MM-DD": ""}


@dataclass(frozen=True)
class Rows:
    """Rows on their way out: a list a column, in Python's own types, None where there is no value."""

    names: list[str]
    columns: list[list[Any]]
    units: dict[str, str] = field(default_factory=dict)
    fewest: int = _FEWEST

    @classmethod
    def of_table(cls, table: Table, columns: Sequence[Sequence[Any]]) -> Rows:
        """The rows of a reply, or of a history."""
        return cls(
            [column.name for column in table.columns],
            list(map(list, columns)),
            units_of({column.name: column.unit for column in table.columns}),
        )

    @classmethod
    def of_frame(cls, frame: pd.DataFrame, units: dict[str, str] | None = None) -> Rows:
        columns = (frame[name].astype(object) for name in frame.columns)
        return cls(
            list(frame.columns), [column.where(column.notna(), None).tolist() for column in columns], units or {}
        )

    def __len__(self) -> int:
        return len(self.columns[0]) if self.columns else 0


def units_of(units: Mapping[str, str]) -> dict[str, str]:
    """Columns' units as a terminal shows them."""
    return {name: _UNITS.get(unit, unit) for name, unit in units.items()}


def lay_out(rows: Rows, title: str, width: int | None) -> tuple[list[str], list[str]]:
    """The lines of a table, and the headings that had to be left out. `width` is the terminal's, None for a file."""
    hidden = ("timestamp", "timestamp_str") if "date" in rows.names else ("timestamp",)
    columns = [_Column.of(*column, rows.units) for column in zip(rows.names, rows.columns, strict=True)]
    shown = [column for column in columns if column.name not in hidden]
    left_out: list[str] = []
    if width is None:
        return [one_line(title), *_lines([column.without_unit() for column in shown])], left_out
    if _width(shown) > width:
        shown = [column.folded() for column in shown]
    for column in _least_first(shown, rows.fewest):
        if _width(shown) <= width:
            break
        shown.remove(column)
        left_out.append(" ".join(column.head))
    return [one_line(title), *_lines(shown)], left_out


@dataclass(frozen=True)
class _Column:
    """One column as it is shown: its heading line by line, its unit, its cells."""

    name: str
    head: tuple[str, ...]
    unit: str
    cells: tuple[str, ...]
    is_text: bool

    @classmethod
    def of(cls, name: str, values: Sequence[Any], units: dict[str, str]) -> _Column:
        head = "date" if name == "timestamp_str" else one_line(name.replace("_", " "))
        is_text = all(value is None or isinstance(value, (str, date)) for value in values)
        return cls(name, (head,), units.get(name, ""), tuple(map(_cell, values)), is_text)

    def folded(self) -> _Column:
        return replace(self, head=tuple(self.head[0].split()))

    def without_unit(self) -> _Column:
        return replace(self, unit="")

    @property
    def width(self) -> int:
        return max(map(_wide, (*self.head, self.unit, *self.cells)))

    def lines(self, height: int, has_units: bool) -> list[str]:
        unit = [self.unit] if has_units else []
        width = self.width
        lines = (*self.head, *[""] * (height - len(self.head)), *unit, *self.cells)
        return [_padded(line, width, left=self.is_text) for line in lines]


def _least_first(shown: Sequence[_Column], fewest: int) -> list[_Column]:
    named = [column for name in _LEAST for column in shown[fewest:] if column.name == name]
    return [*named, *(column for column in reversed(shown[fewest:]) if column not in named)]


def _width(shown: Sequence[_Column]) -> int:
    return sum(column.width + len(_GAP) for column in shown) - len(_GAP)


def _lines(shown: Sequence[_Column]) -> list[str]:
    height = max((len(column.head) for column in shown), default=0)
    has_units = any(column.unit for column in shown)
    columns = [column.lines(height, has_units) for column in shown]
    return [_GAP.join(parts).rstrip() for parts in zip(*columns, strict=True)]


def _padded(text: str, width: int, *, left: bool) -> str:
    blank = " " * (width - _wide(text))
    return text + blank if left else blank + text


def _wide(text: str) -> int:
    """The columns of a terminal that a text takes: Chinese characters take two."""
    if text.isascii():
        return len(text)
    return sum(0 if unicodedata.combining(one) else 1 + (unicodedata.east_asian_width(one) in "WF") for one in text)


def _cell(value: object) -> str:
    if value is None or value != value:  # NaN differs from itself
        return "–"
    if isinstance(value, str):
        return one_line(value)
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, date) and not isinstance(value, datetime):
        return f"{value:%Y-%m-%d}"
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%SZ}" if value.tzinfo else f"{value:%Y-%m-%d}"
    return f"{value:,.2f}" if isinstance(value, float) else f"{value:,}"
