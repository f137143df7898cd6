"""What one recorded reply says of a symbol's rows, and when a reply is fit for a history. No I/O."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from opend_si.errors import ProtocolError
from opend_si.pages import Row

TOP, BOTTOM = math.inf, -math.inf
# The years 2 to 9998: every time zone has all of their days.
_FIRST_DAY, _LAST_DAY = -62_104_060_800, 253_370_764_799


@dataclass(frozen=True, slots=True)
class Statement:
    """What one version of one page says.

    Times are milliseconds. `after` is the timestamp of the row before the page, 0 for a head or where it is not known;
    `asked_at` is when the question was asked that brought this version.
    """

    next_key: str
    num: int
    after: int
    rows: tuple[Row, ...]
    next: str | None
    asked_at: int
    fetched_at: int
    checked_at: int
    superseded_at: int = 0
    attrs: tuple[Any, ...] = ()  # what the reply says beside its rows; it is no part of a history

    @property
    def is_current(self) -> bool:
        """Whether OpenD has not answered the same question differently since."""
        return self.superseded_at == 0

    @property
    def is_head(self) -> bool:
        return self.next_key == ""

    @property
    def lo(self) -> float:
        """Down to where it holds."""
        return BOTTOM if self.next is None or not self.rows else self.rows[-1].at

    @property
    def reach(self) -> float:
        """Up to where it holds for all later time."""
        first = self.rows[0].at if self.rows else BOTTOM
        # Rows from before the row that it should stand behind: some were published under the walk, and moved it.
        return self.after if self.after and first < self.after else first

    @property
    def is_anchored(self) -> bool | None:
        """Whether its cursor is proven to be its last row's timestamp; None if it has no cursor to judge by."""
        if self.next is None or not self.rows:
            return None
        return self.next == str(self.rows[-1].at)


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
    """A row that OpenD sent differently later."""

    at: int
    before: Row
    after: Row
    seen_at: int


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


def is_timestamp(next_key: str) -> bool:
    """Whether a cursor can be a row's timestamp, written as OpenD writes it."""
    return len(next_key) <= 20 and next_key.isascii() and next_key.isdigit() and str(int(next_key)) == next_key
