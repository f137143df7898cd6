"""Days and moments: what users write, and when a market publishes. Pure.

Rows are stamped with midnight in their market's time zone. Publication follows rules, not calendars: HK weekly, about a
week after the last trading day of the week (SFC); US twice a month, after the close of the 7th business day behind the
settlement date (FINRA). Weekdays stand for business days, and one of them is left as margin on both sides.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from datetime import time as time_of_day
from typing import TypeAlias
from zoneinfo import ZoneInfo

from opend_si.errors import InvalidArgument, warn
from opend_si_schema.definitions import Market, Schedule

# What users may pass for a day or a moment; pandas' Timestamp is a datetime. NumPy's datetime64 is taken, too: what a
# column of days gives.
When: TypeAlias = str | date | datetime
# A day as some write it: the year first, so that nothing has to be guessed.
_WITH_SLASHES = re.compile(r"(\d{4})/(\d{1,2})/(\d{1,2})")
# How far from now a day may begin that is named as of when: days begin at other moments elsewhere.
_DAYS_AHEAD = timedelta(days=2)

_WEEK = timedelta(days=7)
_TO_THE_SECOND = re.compile(r":\d\d:\d\d(?![.,\d])")
# Business days between a row's date and its publication.
_DELAY: dict[Schedule, int] = {"daily": 1, "weekly": 5, "semimonthly": 7}
_MARGIN = 1


def now() -> int:
    """This moment, in the record's unit: milliseconds since 1970, UTC."""
    return int(time.time() * 1000)


def moment(milliseconds: int) -> datetime:
    """A moment of the record, as users get it."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def milliseconds(moment: datetime) -> int:
    """A user's moment, as the record keeps it."""
    return round(moment.timestamp() * 1000)


def read_day(name: str, value: object, market: Market) -> date:
    """The day that `value` names, in the market's time zone where it is a moment."""
    found = _read(name, value)
    if isinstance(found, datetime):
        return (found.astimezone(ZoneInfo(market.timezone)) if found.tzinfo else found).date()
    return found


def read_moment(name: str, value: object, market: Market) -> datetime:
    """The moment that `value` names: a day and a text to the second mean their ends, a time without a zone is the market's."""
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


def read_as_of(value: object, market: Market) -> int:
    """The moment to look back from. One in the future is now, with a warning: the same question would have another answer then."""
    found, present = read_milliseconds("as_of", value, market), now()
    given = _read("as_of", value)
    if not isinstance(given, datetime):
        if midnight(given, market) > (moment(present) + _DAYS_AHEAD).timestamp():
            warn(f"as_of is {value!r}, which lies in the future: the answer is as of now.")
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
    return datetime.fromtimestamp(timestamp, ZoneInfo(market.timezone)).date()


def may_have_news(schedule: Schedule, market: Market, newest: date | None, checked: datetime, now: datetime) -> bool:
    """Whether a row newer than `newest` can have been published since OpenD was asked at `checked`.

    A row's publication is looked for from one business day before it is due; asked one business day after it was due or
    later, OpenD has it or never will. A week without asking is the longest.
    """
    if newest is None or now - checked >= _WEEK or checked > now:
        return True
    zone = ZoneInfo(market.timezone)
    for day in _due_days(schedule, newest, now.astimezone(zone).date()):
        opens = datetime.combine(add_business_days(day, _DELAY[schedule] - _MARGIN), time_of_day(), zone)
        closes = datetime.combine(add_business_days(day, _DELAY[schedule] + _MARGIN + 1), time_of_day(), zone)
        if opens <= now and checked < closes:
            return True
    return False


def _due_days(schedule: Schedule, after: date, until: date) -> Iterator[date]:
    day = after + timedelta(days=1)
    while day <= until:
        if is_due(schedule, day):
            yield day
        day += timedelta(days=1)


def is_due(schedule: Schedule, day: date) -> bool:
    """Whether the schedule has a row on this day, weekdays standing for trading days."""
    if day.weekday() > 4:
        return False
    if schedule == "daily":
        return True
    if schedule == "weekly":
        return day.weekday() == 4
    month_end = (day.replace(day=28) + timedelta(days=4)).replace(day=1) - timedelta(days=1)
    return day in (_weekday_before(day.replace(day=15)), _weekday_before(month_end))


def add_business_days(day: date, count: int) -> date:
    """The day that many weekdays later."""
    while count > 0:
        day += timedelta(days=1)
        count -= day.weekday() <= 4
    return day


def _weekday_before(day: date) -> date:
    """`day`, or the weekday before it."""
    return day - timedelta(days=max(0, day.weekday() - 4))
