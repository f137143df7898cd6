"""What of a record can go: the superseded versions that no history needs."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from opend_si.cache.store import CURRENT, Version, Versions
from opend_si.cache.upkeep import key_of, opened
from opend_si.dates import milliseconds
from opend_si.errors import InvalidArgument
from opend_si.history.record import make_ledger
from opend_si.pages import Content


def prune(path: Path, before: datetime) -> int:
    """Delete the versions that were superseded before a moment; gives how many.

    Some stay: those that show that a revision made others void, and, where rows are held by superseded versions only, as few
    as hold them all. So histories of now and of any moment since are what they were, but for when a value was first seen.
    """
    until = milliseconds(before)
    with opened(path, may_write=True) as store:
        return store.prune(until, lambda record: _dispensable(record, until))


def _dispensable(record: Versions, before: int) -> list[Version]:
    """The versions superseded before a moment that no history needs, neither as of now nor as of any moment since."""
    old = [row for row in record.rows if CURRENT < row.superseded_at < before]
    if not old:
        return []
    try:
        key = key_of(old[0])
    except InvalidArgument:  # of a call that only another release knows
        return []
    ledger = make_ledger(key, record, lambda page, row: Content.read(page, row.body))
    needed = {
        (said.next_key, said.num, said.fetched_at)
        for said in (*ledger.needed(before), *ledger.up_to(before).needed(before))
    }
    return [row for row in old if (row.next_key, row.num, row.fetched_at) not in needed]
