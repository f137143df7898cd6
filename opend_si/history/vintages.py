"""When each value of a symbol was first seen, and which were revised later. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from opend_si.cache.versions import Clock
from opend_si.history.statements import Change, Statement
from opend_si.pages import Row


def first_seen(statements: Iterable[Statement], rows: Iterable[Row]) -> dict[int, tuple[int, int]]:
    """For each of some rows the event that brought its value, by the newest statement that holds it.

    A, B, A again is seen three times: the third A is new.
    """
    left = {row.at: row for row in rows}
    found: dict[int, tuple[int, int]] = {}
    for said in sorted(statements, key=lambda said: -said.first_seq):
        if not left:
            break
        for row, event in zip(said.rows, said.first_seen(), strict=True):
            wanted = left.get(row.at)
            if wanted is not None and (wanted is row or wanted.values == row.values):
                found[row.at] = event
                del left[row.at]
    return found


def as_first_seen(statements: Iterable[Statement]) -> list[tuple[Row, int]]:
    """Every row with the values that it was first sent with, and the moment of that; oldest row first."""
    found: dict[int, tuple[Row, int]] = {}
    for said in sorted(statements, key=lambda said: said.first_seq):
        for row, (_, at) in zip(said.rows, said.first_seen(), strict=True):
            found.setdefault(row.at, (row, at))
    return [found[at] for at in sorted(found)]


def known_at(statements: Iterable[Statement], rows: Sequence[Row], clock: Clock, now: int) -> list[int | None]:
    """For each row when its value was first seen; None where a later event, or `now`, shows a clock that was ahead."""
    seen = first_seen(statements, rows)
    events = (seen[row.at] for row in rows)
    return [None if clock.was_ahead(event, now) else event[1] for event in events]


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
