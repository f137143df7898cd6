"""What of a record can go: the past that no history of now, nor of any moment since a given one, needs."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from opend_si.cache.upkeep import drop_columns, opened
from opend_si.dates import milliseconds


def prune(path: Path, before: datetime) -> int:
    """Delete the versions that left the present before a moment; gives how many.

    What stays in the present are the current versions and, where rows are held by superseded ones only, as few as
    hold them all. So histories of now and of any moment since are what they were, and when each value was first seen;
    what was revised before is not listed any more.
    """
    until = milliseconds(before)
    with opened(path, may_write=True) as store:
        deleted = store.prune(lambda left, clock: clock.has_been(left, until))
    if deleted:
        drop_columns(path)  # they are of seals that are no more
    return deleted
