"""What a mode makes of what is recorded. Pure: no clock, no file, no socket."""

from __future__ import annotations

from enum import StrEnum

from opend_si.errors import InvalidArgument

# What the files are called, unless the user names another page cache.
PAGES_FILE, BUDGET_FILE = "pages.sqlite3", "budget.sqlite3"
# Longest time in seconds that a request, and so the right to fetch a page, may last.
MAX_TIMEOUT = 3600.0


class Mode(StrEnum):
    """How the page cache is used.

    online: a fresh recorded page answers; otherwise the page is fetched and recorded.
    refresh: the page is fetched and recorded.
    offline: a recorded page answers, whatever its age; no socket is opened.
    bypass: the page is fetched; nothing is read from or written to the cache.
    """

    ONLINE = "online"
    REFRESH = "refresh"
    OFFLINE = "offline"
    BYPASS = "bypass"

    @classmethod
    def parse(cls, name: str, value: object) -> Mode:
        """Read a mode; `InvalidArgument` lists them."""
        try:
            return cls(value)  # type: ignore[arg-type]
        except ValueError:
            raise InvalidArgument(f"{name} is {value!r}: it takes {', '.join(cls)}") from None


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
