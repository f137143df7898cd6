"""Business days, the days that rows speak of, and the day by whose end a row is public. Pure: rules and a table.

A row's date is the day that it speaks of. Nobody knew the row on that day; `published_by` says by when the exchange's
rule has made it public. It is a bound by rule, not an observation.

A business day of a market is a weekday that is no regular holiday of its exchange. Half trading days are business days.
So are the days on which the exchange was closed ad hoc (a typhoon, a day of mourning): the rules do not move for them.

- US holidays are computed, for every year: the New York Stock Exchange's, https://www.nyse.com/markets/hours-calendars.
  New Year's Day is not moved to a Friday. Columbus Day and Veterans Day are business days.
- HK holidays are a table, rendered from codegen/calendars/HK.toml, since they follow the moon and the Government's
  gazette. In the years that it lacks, no holiday is known, and a row counts as public three weekdays later: at most
  three holidays can fall into the wait. So the bound is never too early there, and at most three business days late.

Rows speak of these days, each moved back to a business day if it is none:

- semimonthly (US): the 15th and the month's last day, the settlement dates of FINRA's Rule 4560
- weekly (HK): the Friday, so the week's last scheduled trading day, the reporting days of the Securities and Futures
  (Short Position Reporting) Rules, Cap. 571AJ
- daily: every business day

They are public by the end, in the market's own time zone, of the business day that follows after so many others:

- semimonthly: the 7th, in the evening of New York (FINRA's schedule of publication; right on all dates of 2007 to 2027
  that are known)
- weekly: the 5th, in the daytime of Hong Kong (the Securities and Futures Commission publishes one week later; for
  weeks with holidays no date is known, and the 5th business day is the later reading)
- daily: the next, though both exchanges mean to publish in the evening of the day itself

What the rule does not cover: an exchange that is late; the time that the broker takes until OpenD has the row; values
that were revised later; holidays and rules that are yet to be made; US rows of before September 2007, when there was
one a month.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias
from zoneinfo import ZoneInfo

from opend_si_schema.calendars import HOLIDAYS
from opend_si_schema.definitions import Market, Schedule, Table

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Days: TypeAlias = npt.NDArray[np.datetime64]

_DAY: Final = timedelta(days=1)
# For so long a row may be behind the others: a symbol may miss a report, and is asked less often than others.
_WEEK: Final = timedelta(days=7)
_MONDAY, _THURSDAY, _FRIDAY = 0, 3, 4
# Business days between a row's date and its publication.
_DELAY: Final[dict[Schedule, int]] = {"daily": 1, "weekly": 5, "semimonthly": 7}
# The most holidays of a market with a table between a row's date and its publication: the new year's three days, or
# Good Friday, Easter Monday and Ching Ming.
_MOST_HOLIDAYS: Final = 3


# Business days --------------------------------------------------------------------------------------------------------


def is_business_day(market: Market, day: date) -> bool:
    """Whether a day is a weekday and no regular holiday of the market, as far as holidays are known."""
    return day.weekday() <= _FRIDAY and day not in (_holidays(market.prefix, day.year) or ())


def add_business_days(market: Market, day: date, count: int) -> date:
    """The `count`th business day after `day`, or before it where `count` is negative; `day` itself for 0.

    Raises:
        OverflowError: Python's calendar ends before.

    """
    step = _DAY if count > 0 else -_DAY
    left = abs(count)
    while left:
        day += step
        left -= is_business_day(market, day)
    return day


@cache
def _holidays(prefix: str, year: int) -> frozenset[date] | None:
    """The regular holidays of a market in a year; None if they are not known."""
    by_rule = _BY_RULE.get(prefix)
    return by_rule(year) if by_rule else HOLIDAYS.get(prefix, {}).get(year)


def _new_york(year: int) -> frozenset[date]:
    new_year = date(year, 1, 1)
    holidays = {
        new_year + _DAY if new_year.weekday() == 6 else new_year,  # on a Saturday it is not moved
        _nth(year, 2, _MONDAY, 3),  # Washington's Birthday
        _easter(year) - 2 * _DAY,  # Good Friday
        _nth(year, 6, _MONDAY, 1) - 7 * _DAY,  # Memorial Day, the last Monday of May
        _observed(date(year, 7, 4)),
        _nth(year, 9, _MONDAY, 1),  # Labor Day
        _nth(year, 11, _THURSDAY, 4),  # Thanksgiving
        _observed(date(year, 12, 25)),
    }
    if year >= 1998:
        holidays.add(_nth(year, 1, _MONDAY, 3))  # Martin Luther King Jr. Day
    if year >= 2022:
        holidays.add(_observed(date(year, 6, 19)))  # Juneteenth
    return frozenset(holidays)


# Every other market has a table.
_BY_RULE: Final[dict[str, Callable[[int], frozenset[date]]]] = {"US": _new_york}


def _nth(year: int, month: int, weekday: int, nth: int) -> date:
    """The nth Monday, say, of a month."""
    first = date(year, month, 1)
    return first + ((weekday - first.weekday()) % 7 + 7 * (nth - 1)) * _DAY


def _observed(day: date) -> date:
    """A Saturday is moved to the Friday, a Sunday to the Monday."""
    return day + {5: -1, 6: 1}.get(day.weekday(), 0) * _DAY


def _easter(year: int) -> date:
    """Easter Sunday of the Gregorian calendar: Meeus, Astronomical Algorithms, chapter 8."""
    golden, (century, rest) = year % 19, divmod(year, 100)
    shift = (century - (century + 8) // 25 + 1) // 3
    epact = (19 * golden + century - century // 4 - shift + 15) % 30
    to_sunday = (32 + 2 * (century % 4) + 2 * (rest // 4) - epact - rest % 4) % 7
    late = (golden + 11 * epact + 22 * to_sunday) // 451
    month, day = divmod(epact + to_sunday - 7 * late + 114, 31)
    return date(year, month, day + 1)


# Schedules ------------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=65_536)
def is_due(table: Table, day: date) -> bool:
    """Whether the table's schedule has a row of this day, as far as holidays are known."""
    if not is_business_day(table.market, day):
        return False
    following = add_business_days(table.market, day, 1)
    return any(_ends_period(table.schedule, day + offset * _DAY) for offset in range((following - day).days))


def _ends_period(schedule: Schedule, day: date) -> bool:
    """Whether rows speak of this day, if it is a business day, or else of the one before it."""
    if schedule == "semimonthly":
        return day.day == 15 or (day + _DAY).day == 1
    return schedule == "daily" or day.weekday() == _FRIDAY


# Publication ----------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=65_536)
def publication(table: Table, day: date) -> tuple[date, date]:
    """The first and the last day on which a row of `day` can become public by the rule.

    They are the same wherever the market's holidays are known. A day that the schedule does not have is counted from as
    it is; one that is no business day counts like the business day before it.

    Raises:
        OverflowError: Python's calendar ends before.

    """
    market, delay = table.market, _DELAY[table.schedule]
    first = add_business_days(market, day, delay)
    if all(_holidays(market.prefix, year) is not None for year in (day.year, first.year)):
        return first, first
    return first, add_business_days(market, day, delay + _MOST_HOLIDAYS)


def published_by(table: Table, day: date) -> date:
    """The day, in the market's own time zone, by whose end a row of `day` is public by the exchange's rule.

    Args:
        table: The table that the row is of: its market and its schedule count.
        day: The row's date.

    Raises:
        OverflowError: Python's calendar ends before.

    """
    return publication(table, day)[1]


def oldest_beside(table: Table, newest: date) -> date:
    """The first day whose rows are not too old to stand beside a row of `newest`.

    It is the newest day of the schedule whose row was public more than a week before that of `newest`: what is older
    lacks a row that all others have had for a week. `newest` itself where Python's calendar has no such day.
    """
    try:
        long_public, day = published_by(table, newest) - _WEEK, newest
        while not (is_due(table, day) and published_by(table, day) < long_public):
            day -= _DAY
    except OverflowError:
        return newest
    return day


def days_of(timestamps: np.ndarray[Any, np.dtype[np.int64]], market: Market) -> Days:
    """`day_of` of many timestamps at once: datetime64[D]."""
    import pandas as pd

    times = pd.DatetimeIndex(timestamps.astype("datetime64[s]"), tz="UTC")
    # Not by the zone's name: with that, pandas before 3 knows no summer after 2037.
    return times.tz_convert(ZoneInfo(market.timezone)).tz_localize(None).to_numpy().astype("datetime64[D]")


def published_by_days(table: Table, days: Days) -> Days:
    """`published_by` of many days at once.

    Args:
        table: The table that the rows are of.
        days: The rows' dates in the market's time zone, datetime64 of any unit, one dimension. NaT may be among them.

    Returns:
        datetime64[D], as long as `days`: NaT for NaT, and where Python's calendar has no such day.

    """
    import numpy as np

    asked = _of_pythons_calendar(days.astype("datetime64[D]"))
    years = np.unique(asked.astype("datetime64[Y]"))
    known = _business_days(table.market.prefix, tuple(years[~np.isnat(years)].tolist()))
    delay = _DELAY[table.schedule]
    public = np.busday_offset(asked, delay, roll="backward", busdaycal=known.calendar)
    if known.lacking.size:
        is_lacking = np.isin(asked.astype("datetime64[Y]"), known.lacking)
        is_lacking |= np.isin(public.astype("datetime64[Y]"), known.lacking)
        late = delay + _MOST_HOLIDAYS
        public[is_lacking] = np.busday_offset(asked[is_lacking], late, roll="backward", busdaycal=known.calendar)
    return _of_pythons_calendar(public)


def _of_pythons_calendar(days: Days) -> Days:
    """Days, NaT where Python's calendar lacks them."""
    import numpy as np

    first, last = np.datetime64(date.min, "D"), np.datetime64(date.max, "D")
    return np.where((days >= first) & (days <= last), days, np.datetime64("NaT", "D"))


class _BusinessDays(NamedTuple):
    """A market's business days in and beside some years, for NumPy, and the years of which no holiday is known."""

    calendar: np.busdaycalendar
    lacking: Days


@lru_cache(maxsize=1024)
def _business_days(prefix: str, firsts: tuple[date, ...]) -> _BusinessDays:
    """`firsts`: the first day of each of the years."""
    import numpy as np

    beside = {day.year + step for day in firsts for step in (-1, 0, 1)}
    holidays = {year: _holidays(prefix, year) for year in beside if date.min.year <= year <= date.max.year}
    there = [day for known in holidays.values() if known is not None for day in known]
    lacking = [f"{year:04}" for year, known in holidays.items() if known is None]
    return _BusinessDays(np.busdaycalendar(holidays=there), np.array(lacking, dtype="datetime64[Y]"))
