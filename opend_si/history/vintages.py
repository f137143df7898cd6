"""When each value of a symbol was first seen, and which were revised later. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import chain, repeat
from typing import Final, TypeVar

from opend_si.cache.versions import Clock
from opend_si.history.statements import Change, Statement, count_from
from opend_si.pages import Row

_T = TypeVar("_T")
_OPEN: Final[object] = object()


def first_seen(statements: Iterable[Statement], rows: Sequence[Row]) -> list[tuple[int, int]]:
    """For each of a history's rows, newest first, the event that brought its value, by the newest statement of it.

    A, B, A again is seen three times: the third A is new.
    """
    return _seen(statements, tuple(rows), lambda seq, at: (seq, at))


def _seen(statements: Iterable[Statement], rows: tuple[Row, ...], of: Callable[[int, int], _T]) -> list[_T]:
    """For each row what `of` makes of that event, which it is asked once for rows that came together."""
    found: list[object] = [_OPEN] * len(rows)
    left = len(rows)
    for said in sorted((said for said in statements if said.rows), key=lambda said: -said.first_seq):
        begin, end = count_from(rows, said.first + 1), count_from(rows, said.rows[-1].at)
        wanted = found[begin:end].count(_OPEN)
        if not wanted:
            continue
        seen = list(chain.from_iterable(repeat(of(seq, at), count) for count, seq, at in said.runs))
        if len(seen) != len(said.rows):
            raise ValueError("a page says of more or fewer rows than it has when they were first seen")
        if wanted == end - begin and rows[begin:end] == said.rows:  # as nearly always
            found[begin:end] = seen
            left -= wanted
        else:
            theirs = {row.at: (row, event) for row, event in zip(said.rows, seen, strict=True)}
            for place, row in enumerate(rows[begin:end], begin):
                same, event = theirs.get(row.at, (None, None))
                if found[place] is _OPEN and same is not None and same.values == row.values:
                    found[place] = event
                    left -= 1
        if not left:
            break
    return [event for event in found if event is not _OPEN]  # type: ignore[misc]


def as_first_seen(statements: Iterable[Statement]) -> list[tuple[Row, int]]:
    """Every row with the values that it was first sent with, and the moment of that; oldest row first."""
    found: dict[int, tuple[Row, int]] = {}
    for said in sorted(statements, key=lambda said: said.first_seq):
        for row, (_, at) in zip(said.rows, said.first_seen(), strict=True):
            found.setdefault(row.at, (row, at))
    return [found[at] for at in sorted(found)]


def known_at(statements: Iterable[Statement], rows: Sequence[Row], clock: Clock, now: int) -> list[int | None]:
    """For each row when its value was first seen; None where a later event, or `now`, shows a clock that was ahead."""
    is_ascending = len(rows) > 1 and rows[0].at < rows[-1].at
    known = _seen(
        statements,
        tuple(rows[::-1] if is_ascending else rows),
        lambda seq, at: None if clock.was_ahead((seq, at), now) else at,
    )
    return known[::-1] if is_ascending else known


def changes(statements: Iterable[Statement], clock: Clock, now: int) -> list[Change]:
    """The rows that OpenD sent differently later, in the order in which that was seen."""
    found, known = [], dict[int, Row]()
    for said in sorted(statements, key=lambda said: said.first_seq):
        event = said.first_seq, said.fetched_at
        for row in said.rows:
            before = known.get(row.at)
            if before is not None and before is not row and before.values != row.values:
                at = None if clock.was_ahead(event, now) else event[1]
                found.append(Change(row.at, before, row, at))
            known[row.at] = row
    return found
