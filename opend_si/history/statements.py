"""What one recorded reply says of a symbol's rows, and when a reply is fit for a history. No I/O."""

from __future__ import annotations

import math
import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache
from itertools import chain, pairwise, repeat
from typing import Any

from opend_si.cache.runs import Runs
from opend_si.dates import day_of
from opend_si.errors import ProtocolError
from opend_si.pages import Row
from opend_si_schema.definitions import Market, Table

TOP, BOTTOM = math.inf, -math.inf
# How OpenD writes a day; more may follow.
_DAY = re.compile(r"\d{4}-\d\d-\d\d(?!\d)")
# The years 2 to 9998: every time zone has all of their days.
_FIRST_DAY, _LAST_DAY = -62_104_060_800, 253_370_764_799


@dataclass(frozen=True, slots=True)
class Statement:
    """What one version of one page says.

    Events have a number (`…_seq`: 0 if it has not happened) and a moment in milliseconds. `after` is the timestamp of
    the row before the page, 0 for a head or where it is not known; `sent` is when the last request that it answered
    was sent, by the machine's monotonic clock.

    It holds for the rows from `lo` to below `hi`, for all later time; a head at its own time for all above, too.
    """

    next_key: str
    num: int
    after: int
    rows: tuple[Row, ...]
    next: str | None
    first_seq: int = 0
    checked_seq: int = 0
    fetched_at: int = 0
    checked_at: int = 0
    superseded_seq: int = 0
    void_seq: int = 0
    sent: int = 0
    seen: Runs = ()
    attrs: tuple[Any, ...] = ()  # what the reply says beside its rows; it is no part of a history
    lo: float = field(init=False, repr=False, compare=False)
    first: float = field(init=False, repr=False, compare=False)
    reach: float = field(init=False, repr=False, compare=False)
    hi: float = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        rows = self.rows
        first = rows[0].at if rows else BOTTOM
        # Rows from before the row that it should stand behind: some were published under the walk, and moved it.
        is_below = bool(self.after) and first < self.after
        put = object.__setattr__
        put(self, "lo", BOTTOM if self.next is None or not rows else rows[-1].at)
        put(self, "first", first)
        put(self, "reach", self.after if is_below else first)
        put(self, "hi", self.after if is_below else first + 1)

    @property
    def runs(self) -> Runs:
        """When its rows were first seen with their values."""
        return self.seen or ((len(self.rows), self.first_seq, self.fetched_at),)

    @property
    def is_current(self) -> bool:
        """Whether OpenD has not answered the same question differently since."""
        return self.superseded_seq == 0

    @property
    def is_trusted(self) -> bool:
        """Whether nothing has shown that it may not be joined to others."""
        return self.void_seq == 0

    @property
    def is_head(self) -> bool:
        return self.next_key == ""

    @property
    def is_anchored(self) -> bool | None:
        """Whether its cursor is proven to be its last row's timestamp; None if it has no cursor to judge by."""
        if self.next is None or not self.rows:
            return None
        return self.next == str(self.rows[-1].at)

    def between(self, low: float, high: float) -> tuple[Row, ...]:
        """Its rows from `low` to below `high`."""
        return self.rows[count_from(self.rows, high) : count_from(self.rows, low)]

    def below(self, at: float) -> tuple[Row, ...]:
        """Its rows below a timestamp."""
        return self.rows[count_from(self.rows, at) :]

    def first_seen(self) -> Iterator[tuple[int, int]]:
        """For each row, when it was first seen with this value: the number of the event, and its moment."""
        return chain.from_iterable(repeat((seq, at), count) for count, seq, at in self.runs)


def count_from(rows: Sequence[Row], at: float) -> int:
    """How many of the rows are at or above a timestamp."""
    return bisect_left(rows, True, key=lambda row: row.at < at)


def contradicts(newer: Statement, older: Statement) -> bool:
    """Whether a statement says of rows that both speak of what cannot be, if the other held before it."""
    low = max(newer.lo, older.lo)
    high = min(TOP if newer.is_head else newer.hi, older.hi)
    if low >= high:
        return False
    mine, theirs = newer.between(low, high), older.between(low, high)
    return mine is not theirs and mine != theirs


@dataclass(frozen=True, slots=True)
class Cut:
    """A page cut from recorded rows, and the cursor that OpenD would have sent with it.

    The times are those of the oldest reply that it rests on.
    """

    rows: tuple[Row, ...]
    next: str | None
    fetched_at: int
    checked_at: int
    attrs: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class Change:
    """A row that OpenD sent differently later; when is not known (None) where the clock was ahead."""

    at: int
    before: Row
    after: Row
    seen_at: int | None


def check_page(rows: tuple[Row, ...], next_key: str | None, what: str) -> None:
    """A page that a walk can use: its rows are of days and descend strictly, and it has rows if it leads on."""
    for row in rows[:1] + rows[-1:]:
        if not _FIRST_DAY <= row.at <= _LAST_DAY:
            raise ProtocolError(f"{what}: the timestamp {row.at} is of no day")
    for above, row in pairwise(rows):
        if row.at >= above.at:
            raise ProtocolError(f"{what}: rows are out of order or doubled at timestamp {row.at}")
    if next_key is not None and not rows:
        raise ProtocolError(f"{what}: a page without rows leads on to {next_key!r}; a walk would not end")


def check_days(rows: tuple[Row, ...], table: Table, what: str) -> None:
    """Each row is of another day of its market, and of the day that it says in words, where it says one."""
    market, words = table.market, _place_of_words(table)
    days = [_day_text(row.at, market) for row in rows]
    for above, day in pairwise(days):
        if day == above:
            raise ProtocolError(f"{what}: two rows are of one day, {day}")
    if words is None:
        return
    for row, day in zip(rows, days, strict=True):
        said = row.values[words]
        if said != day and said is not None and _DAY.match(said) and said[: len(day)] != day:
            raise ProtocolError(
                f"{what}: the row of {said} is stamped with a moment of another day, {day} in {market.timezone}"
            )


@cache
def _place_of_words(table: Table) -> int | None:
    """Where a row has its day in words."""
    names = [column.name for column in table.columns]
    return names.index("timestamp_str") if "timestamp_str" in names else None


@lru_cache(maxsize=20_000)
def _day_text(at: int, market: Market) -> str:
    return day_of(at, market).isoformat()


def is_timestamp(next_key: str) -> bool:
    """Whether a cursor can be a row's timestamp, written as OpenD writes it."""
    return len(next_key) <= 20 and next_key.isascii() and next_key.isdigit() and str(int(next_key)) == next_key
