"""When each value of a symbol was first seen, and which were revised later. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby

from opend_si.cache.versions import Clock
from opend_si.history.statements import Change, Statement, count_from
from opend_si.pages import Row


def first_seen(statements: Iterable[Statement], rows: Sequence[Row]) -> list[tuple[int, int]]:
    """For each of a history's rows, newest first, the event that brought its value, by the newest statement of it.

    A, B, A again is seen three times: the third A is new.
    """
    rows = tuple(rows)
    found: list[tuple[int, int] | None] = [None] * len(rows)
    left = len(rows)
    for said in sorted((said for said in statements if said.rows), key=lambda said: -said.first_seq):
        begin, end = count_from(rows, said.first + 1), count_from(rows, said.rows[-1].at)
        wanted = found[begin:end].count(None)
        if wanted == end - begin and rows[begin:end] == said.rows:  # as nearly always
            events = list(said.first_seen())
            if len(events) != wanted:
                raise ValueError("a page says of more or fewer rows than it has when they were first seen")
            found[begin:end] = events
        elif wanted:
            theirs = {row.at: (row, event) for row, event in zip(said.rows, said.first_seen(), strict=True)}
            for place, row in enumerate(rows[begin:end], begin):
                same, event = theirs.get(row.at, (None, None))
                if found[place] is None and same is not None and same.values == row.values:
                    found[place] = event
        left -= wanted - found[begin:end].count(None)
        if not left:
            break
    return [event for event in found if event is not None]


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
    known: list[int | None] = []
    for event, same in groupby(first_seen(statements, rows[::-1] if is_ascending else rows)):
        known += [None if clock.was_ahead(event, now) else event[1]] * len(list(same))
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
