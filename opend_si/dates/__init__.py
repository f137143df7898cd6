"""Days and moments: what users write, and when a market publishes. Pure.

Rows are stamped with midnight in their market's time zone. When a market publishes is the rule of `calendars`; here one
business day is left as margin on both sides of it.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from datetime import time as time_of_day
from functools import lru_cache
from typing import TYPE_CHECKING, Literal, TypeAlias
from zoneinfo import ZoneInfo

from opend_si.dates.calendars import add_business_days, is_due, publication
from opend_si.errors import InvalidArgument, warn
from opend_si_schema.definitions import Market, Table

# What users may pass for a day or a moment; pandas' Timestamp is a datetime. NumPy's datetime64 is what a column of
# days gives; NumPy is not imported for its name.
if TYPE_CHECKING:
    from numpy import datetime64

    When: TypeAlias = str | date | datetime | datetime64
    # A moment, or how long ago it was.
    Since: TypeAlias = When | timedelta
else:
    When = str | date | datetime
    Since = When | timedelta
# A day as some write it: the year first, so that nothing has to be guessed.
_WITH_SLASHES = re.compile(r"(\d{4})/(\d{1,2})/(\d{1,2})")
# How far from now a day may begin that is named as of when: days begin at other moments elsewhere.
_DAYS_AHEAD = timedelta(days=2)

# Moments are counted from here: `fromtimestamp` knows none before it on Windows.
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# How `as_of` looks back: at what had been recorded by then, or at what was public by then.
BY_RECORD, BY_PUBLICATION = "record", "publication"
PointInTime: TypeAlias = Literal["record", "publication"]
_WEEK = timedelta(days=7)
_TO_THE_SECOND = re.compile(r":\d\d:\d\d(?![.,\d])")
_MARGIN = 1  # business days
_MILLISECOND = timedelta(milliseconds=1)
_SPAN = re.compile(r"(\d+(?:\.\d+)?) ?([smhdw])", re.IGNORECASE)
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def now() -> int:
    """This moment, in the record's unit: milliseconds since 1970, UTC."""
    return int(time.time() * 1000)


def moment(milliseconds: int) -> datetime:
    """A moment of the record, as users get it."""
    return _EPOCH + timedelta(milliseconds=milliseconds)


@lru_cache(maxsize=1024)
def moment_text(moment: datetime) -> str:
    """A moment as `attrs` have it: `2026-05-05T08:00:00.000Z`."""
    return f"{moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec='milliseconds')}Z"


def milliseconds(moment: datetime) -> int:
    """A user's moment, as the record keeps it: never later than it was meant."""
    since = moment.astimezone(UTC) - _EPOCH
    return since // _MILLISECOND


# The first and the last moment that Python's calendar has, in the record's unit.
FIRST, LAST = (milliseconds(day.replace(tzinfo=UTC)) for day in (datetime.min, datetime.max))


def read_day(name: str, value: object, market: Market) -> date:
    """The day that `value` names, in the market's time zone where it is a moment."""
    found = _read(name, value)
    if isinstance(found, datetime):
        with _in_range(name, value):
            return (found.astimezone(ZoneInfo(market.timezone)) if found.tzinfo else found).date()
    return found


def read_moment(name: str, value: object, market: Market) -> datetime:
    """The moment that `value` names.

    A day and a text to the second mean their ends, a time without a zone is the market's.
    """
    found = _read(name, value)
    if isinstance(value, str) and isinstance(found, datetime) and _TO_THE_SECOND.search(value):
        found = found.replace(microsecond=999_000)  # moments are printed to the second, and may be given back
    zone = ZoneInfo(market.timezone)
    if isinstance(found, datetime):
        return found if found.tzinfo else found.replace(tzinfo=zone)
    return datetime.combine(found + timedelta(days=1), time_of_day(), zone) - timedelta(milliseconds=1)


def read_midnight(name: str, value: object, market: Market) -> int:
    """The timestamp of the rows of the day that `value` names."""
    with _in_range(name, value):
        return midnight(read_day(name, value, market), market)


def read_milliseconds(name: str, value: object, market: Market) -> int:
    """The moment that `value` names, as the record keeps it."""
    with _in_range(name, value):
        found = milliseconds(read_moment(name, value, market))
        moment(found)  # it is told as one, in UTC
        return found


@dataclass(frozen=True, slots=True)
class AsOf:
    """A point in time to look back from. None for `when`: now.

    `by` is `record`: what had been recorded by then; or `publication`: what was public by then, by the exchange's rule,
    with the values that are recorded now.
    """

    when: When | None = None
    by: str = BY_RECORD

    @classmethod
    def read(cls, when: When | None, by: object, name: str = "by") -> AsOf:
        """What a user passed, `by` as the argument `name`. `InvalidArgument` says what is right."""
        if not isinstance(by, str) or by not in (BY_RECORD, BY_PUBLICATION):
            raise InvalidArgument(f"{name} is {by!r}: it takes {BY_RECORD} or {BY_PUBLICATION}, of the moment as_of")
        if when is None and by == BY_PUBLICATION:
            raise InvalidArgument(f"{name} is {by!r}, which needs a moment: name it, too, with as_of")
        return cls(when, by)

    def recorded(self, market: Market) -> int | None:
        """The moment by which something had to be recorded, in milliseconds; None: it does not matter when."""
        if self.when is None or self.by == BY_PUBLICATION:
            return None
        read_as_of(self.when, market)  # warns of one that is to come
        # It may have been here before: the clock was set back since.
        return read_milliseconds("as_of", self.when, market)

    def public(self, market: Market) -> date | None:
        """The last day that had ended by then, in the market's time zone; None: it does not matter what was public."""
        if self.when is None or self.by == BY_RECORD:
            return None
        with _in_range("as_of", self.when):
            following = moment(read_as_of(self.when, market) + 1)
            return following.astimezone(ZoneInfo(market.timezone)).date() - timedelta(days=1)


def read_span(value: object) -> timedelta | None:
    """A length of time written as `90m`, `36h` or `7d`; None for anything else."""
    found = _SPAN.fullmatch(value.strip()) if isinstance(value, str) else None
    try:
        return timedelta(**{_UNITS[found[2].lower()]: float(found[1])}) if found else None
    except OverflowError:
        return timedelta.max


def span_text(seconds: int) -> str:
    """A length of time as people say it: `45 s`, `12 min`, `3 h 20 min`, `9 days`."""
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    if hours >= 48:
        return f"{hours // 24} days"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min" if minutes else f"{seconds} s"


def read_since(name: str, value: object) -> int:
    """The moment from which on something is wanted, as the record keeps it.

    The record's moments are this machine's. So a day means its beginning here, and a time without a zone is this
    machine's. A timedelta, and a text such as `36h` or `7d`, means so long ago.
    """
    with _in_range(name, value):
        ago = value if isinstance(value, timedelta) else read_span(value)
        if ago is not None:
            return now() - round(ago.total_seconds() * 1000)
        try:
            found = _read(name, value)
        except InvalidArgument as error:
            raise InvalidArgument(f"{error}, or how long ago, such as 36h or 7d") from None
        if isinstance(found, datetime):
            # Without a zone Python reads it as this machine's; pandas' Timestamp would be read as UTC.
            return milliseconds(found if found.tzinfo else datetime.combine(found.date(), found.time()))
        return milliseconds(datetime.combine(found, time_of_day()))


def read_as_of(value: object, market: Market) -> int:
    """The moment to look back from.

    One in the future is now, with a warning: the same question would have another answer then.
    """
    found, present = read_milliseconds("as_of", value, market), now()
    given = _read("as_of", value)
    if not isinstance(given, datetime):
        if midnight(given, market) > (moment(present) + _DAYS_AHEAD).timestamp():
            warn(f"as_of is {value!r}, which lies in the future: the answer is as of now.")
            return present
        return found
    if found - present >= 1000:  # a text to the second means the end of that second
        zone = (
            ""
            if given.tzinfo
            else f" (without a time zone it is a time in {market.timezone}; datetime.now(UTC) has one)"
        )
        warn(f"as_of is {value!r}, which lies in the future{zone}: the answer is as of now.")
        return present
    return found


@contextmanager
def _in_range(name: str, value: object) -> Iterator[None]:
    try:
        yield
    except InvalidArgument:
        raise
    except (OverflowError, ValueError) as error:  # at the ends of the calendar
        raise InvalidArgument(f"{name} is {value!r}, which is out of range: {error}") from None


def _read(name: str, value: object) -> date | datetime:
    text = _text(value)
    if text is not None:
        try:
            return date.fromisoformat(text) if len(text) <= 10 else datetime.fromisoformat(text)
        except ValueError:
            pass
    elif isinstance(value, date) and value == value:  # pandas' NaT differs from itself
        return value
    raise InvalidArgument(
        f"{name} is {value!r}: it takes a date, a datetime, or a text such as 2026-04-30 or 2026-04-30 16:00+00:00"
    )


def _text(value: object) -> str | None:
    """A day or moment as ISO 8601 writes it; None for what is no text."""
    if getattr(getattr(value, "dtype", None), "kind", None) == "M" and getattr(value, "ndim", 0) == 0:
        return str(value)  # NumPy's datetime64, NaT and months included, which are no days
    if not isinstance(value, str):
        return None
    text = value.strip()
    if found := _WITH_SLASHES.fullmatch(text):
        return f"{found[1]}-{found[2]:0>2}-{found[3]:0>2}"
    return text


def midnight(day: date, market: Market) -> int:
    """The timestamp of a day's rows."""
    return int(datetime.combine(day, time_of_day(), ZoneInfo(market.timezone)).timestamp())


def day_of(timestamp: int, market: Market) -> date:
    """The day of a row's timestamp."""
    return (_EPOCH + timedelta(seconds=timestamp)).astimezone(ZoneInfo(market.timezone)).date()


def may_have_news(table: Table, newest: date | None, checked: datetime, now: datetime) -> bool:
    """Whether a row newer than `newest` can have been published since OpenD was asked at `checked`.

    A row's publication is looked for from one business day before it is due; asked one business day after it was due or
    later, OpenD has it or never will. A week without asking is the longest.
    """
    if newest is None or now - checked >= _WEEK or checked > now:
        return True
    market = table.market
    zone = ZoneInfo(market.timezone)
    day = now.astimezone(zone).date()
    while day > newest:  # back from today, since what is due at all is due within weeks
        if is_due(table, day):
            earliest, latest = publication(table, day)
            if checked >= datetime.combine(add_business_days(market, latest, _MARGIN + 1), time_of_day(), zone):
                return False  # and so it is for all rows before this one
            if now >= datetime.combine(add_business_days(market, earliest, -_MARGIN), time_of_day(), zone):
                return True
        day -= timedelta(days=1)
    return False
