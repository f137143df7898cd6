"""When each value of a symbol was first seen, and which were revised later. No I/O."""

from __future__ import annotations

from collections.abc import Iterable

from opend_si.history.statements import Change, Statement
from opend_si.pages import Row


class Vintages:
    """How values came to be known."""

    def __init__(self, statements: Iterable[Statement]) -> None:
        self._known: dict[int, tuple[Row, int]] = {}
        self._first_seen: dict[int, int] = {}
        self.changes: list[Change] = []
        # A page that was sent twice says twice what it says.
        told = [
            (time, said) for said in statements for time in {said.fetched_at, max(said.fetched_at, said.checked_at)}
        ]
        for time, said in sorted(told, key=lambda entry: entry[0]):
            for row in said.rows:
                seen = self._known.get(row.at)
                if seen is None:
                    self._known[row.at] = row, time
                    self._first_seen[row.at] = time
                elif seen[0] is not row and seen[0].values != row.values:
                    self.changes.append(Change(row.at, seen[0], row, time))
                    self._known[row.at] = row, time

    def known_at(self, row: Row) -> int:
        """When this value was first seen here, in milliseconds."""
        return self._known[row.at][1]

    def as_first_seen(self) -> list[tuple[Row, int]]:
        """Every row with the values that it was first sent with, and when that was; oldest row first."""
        first = {change.at: change.before for change in reversed(self.changes)}
        return [(first.get(at, self._known[at][0]), seen_at) for at, seen_at in sorted(self._first_seen.items())]

    def first_seen_since(self, moment: int) -> int:
        """How many rows were first seen at or after a moment."""
        return sum(seen_at >= moment for seen_at in self._first_seen.values())
