"""What a mode makes of what is recorded. Pure: no clock, no file, no socket."""

from __future__ import annotations

from enum import Enum, StrEnum

from opend_si.errors import InvalidArgument

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


class Decision(Enum):
    """What to do about a page."""

    SERVE = "answer from the record"
    FETCH = "ask OpenD"
    MISS = "say that it is not recorded"


def decide(mode: Mode, checked_at: int | None, asked_at: int, now: int, max_age: float | None) -> Decision:
    """What to do, given when the page was last checked with OpenD (None: it is not recorded).

    Times are milliseconds, `max_age` seconds (None: pages do not expire). A page that was checked after the question
    was asked, by another thread or process, is as good as a fetched one in every mode that records.
    """
    if mode is Mode.BYPASS:
        return Decision.FETCH
    if mode is Mode.OFFLINE:
        return Decision.MISS if checked_at is None else Decision.SERVE
    if checked_at is None:
        return Decision.FETCH
    if checked_at > now:  # a clock was set back: the page's age is not known
        return Decision.FETCH
    if checked_at > asked_at:
        return Decision.SERVE
    if mode is Mode.REFRESH:
        return Decision.FETCH
    fresh = max_age is None or now - checked_at < max_age * 1000
    return Decision.SERVE if fresh else Decision.FETCH
