"""What a mode makes of what is recorded. Pure: no clock, no file, no socket."""

from __future__ import annotations

from opend_si.settings import Mode


def fresh_since(mode: Mode, asked_at: int, max_age: float | None) -> float:
    """When a recorded page must have been checked, at the earliest, to answer a question that was asked at `asked_at`.

    Times are milliseconds, `max_age` seconds (None: pages do not expire). What was checked after the question was asked,
    by another thread or process, is as good as fetched in every mode.
    """
    if mode is Mode.OFFLINE:
        return 0
    if mode is not Mode.ONLINE:
        return asked_at + 1
    return 0 if max_age is None else asked_at - max_age * 1000 + 1
