"""Business days, the days that rows speak of, and the day by whose end a row is public by the exchange's rule.

The laws:
- Every date that is known from a public source comes out: tests/data/calendars, each row with its source.
- Holidays are those of the library `holidays`, without what it knows of ad hoc closures; counting is numpy's.
- Where the holidays are not known, the bound is never too early, and at most three business days late.
- Many days at once are what each of them is.
- By the publication rule a question is not answered from the record before the row could have come.
- What the simulator makes up stands on days that exist.
- The table of a market holds the year after in good time.
"""

import csv
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from datetime import time as clock
from functools import cache
from pathlib import Path
from zoneinfo import ZoneInfo

import holidays
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tests
from opend_si.dates import may_have_news
from opend_si.dates.calendars import (
    add_business_days,
    days_of,
    is_business_day,
    is_due,
    publication,
    published_by,
    published_by_days,
)
from opend_si.history import frames
from opend_si.history.memory import Memory
from opend_si.simulator.universe import SYMBOLS, Universe
from opend_si_schema.calendars import HOLIDAYS
from opend_si_schema.calls import CALLS, DAILY_SHORT_VOLUME, HK, MARKETS, SHORT_INTEREST, US
from opend_si_schema.definitions import Market, Table

FACTS = Path(tests.__file__).parent / "data/calendars"
TABLES = [table for call in CALLS for table in call.tables]
(HK_WEEKLY,) = (table for table in SHORT_INTEREST.tables if table.market is HK)
(US_SEMIMONTHLY,) = (table for table in SHORT_INTEREST.tables if table.market is US)
DELAYS = {"daily": 1, "weekly": 5, "semimonthly": 7}
KNOWN = range(2012, 2028)
DAY = timedelta(days=1)
YEAR_ENDS = date(2012, 1, 1), date(2027, 12, 31)
# What the library calls the planned holidays of New York; all that it calls otherwise are closures.
NEW_YORK = {
    *("New Year's Day", "Martin Luther King Jr. Day", "Washington's Birthday", "Good Friday", "Memorial Day"),
    *("Juneteenth National Independence Day", "Independence Day", "Labor Day", "Thanksgiving Day", "Christmas Day"),
}


def facts(name: str) -> list[dict[str, str]]:
    with (FACTS / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows
    return rows


# The oracle: the library's holidays, and numpy's counting ------------------------------------------------------------


@cache
def planned(market: Market, year: int) -> frozenset[date]:
    """The weekdays of a year on which the exchange is closed by plan."""
    if market is US:
        named = holidays.financial_holidays("NYSE", years=year, language="en_US")
        found = {day for day, name in named.items() if name.removesuffix(" (observed)") in NEW_YORK}
    elif year >= 2014:
        named = holidays.financial_holidays("XHKG", years=year, language="en_US")
        found = {day for day, name in named.items() if "Trading Suspended" not in name}
    else:  # the exchange is known from 2014; before, the general holidays, of which banks alone keep some
        kinds = ("public", "optional")
        found = {day for kind in kinds for day in holidays.country_holidays("HK", years=year, categories=(kind,))}
    return frozenset(day for day in found if day.year == year and day.weekday() < 5)


@cache
def business(market: Market) -> np.busdaycalendar:
    years = range(1998, 2100)
    return np.busdaycalendar(holidays=sorted(day for year in years for day in planned(market, year)))


def count(market: Market, day: date, days: int) -> date:
    """The business day that is so many after a day, or before it."""
    roll = "backward" if days > 0 else "forward"
    return np.busday_offset(np.datetime64(day), days, roll=roll, busdaycal=business(market)).astype(object)  # type: ignore[no-any-return,call-overload]


def rolled_back(market: Market, day: date) -> date:
    return np.busday_offset(np.datetime64(day), 0, roll="backward", busdaycal=business(market)).astype(object)  # type: ignore[no-any-return]


def every_day(first: date, last: date) -> Iterator[date]:
    return (first + offset * DAY for offset in range((last - first).days + 1))


# What is known from public sources -----------------------------------------------------------------------------------


@pytest.mark.parametrize("row", facts("us_publication"), ids=lambda row: row["settlement_date"])
def test_known_publication_dates_of_the_us_come_out(row: dict[str, str]) -> None:
    day = date.fromisoformat(row["settlement_date"])
    assert is_due(US_SEMIMONTHLY, day)
    assert published_by(US_SEMIMONTHLY, day) == date.fromisoformat(row["publication_date"])
    if row["due_date"]:  # firms report by the 2nd business day
        assert add_business_days(US, day, 2) == date.fromisoformat(row["due_date"])


def test_known_settlement_dates_of_the_us_are_due_and_no_others_of_their_half_months() -> None:
    for row in facts("us_settlement_dates"):
        day = date.fromisoformat(row["settlement_date"])
        half = range(1, 16) if day.day <= 15 else range(16, 32)
        month = every_day(day.replace(day=1), day.replace(day=28) + 3 * DAY)
        in_half = [other for other in month if other.month == day.month and other.day in half]
        assert [other for other in in_half if is_due(US_SEMIMONTHLY, other)] == [day], row


def test_known_reporting_dates_of_hong_kong_are_due_and_no_others_of_their_weeks() -> None:
    for row in facts("hk_reporting_dates"):
        day = date.fromisoformat(row["reporting_date"])
        monday = day - day.weekday() * DAY
        assert [other for other in every_day(monday, monday + 6 * DAY) if is_due(HK_WEEKLY, other)] == [day], row


@pytest.mark.parametrize("row", facts("hk_reporting_publication"), ids=lambda row: row["reporting_date"])
def test_known_publication_dates_of_hong_kong_come_out(row: dict[str, str]) -> None:
    bound = published_by(HK_WEEKLY, date.fromisoformat(row["reporting_date"]))
    if row["published_on"]:
        assert bound == date.fromisoformat(row["published_on"])
    if row["not_yet_at"]:
        assert datetime.fromisoformat(row["not_yet_at"]).date() <= bound
    if row["there_at"]:
        assert bound <= datetime.fromisoformat(row["there_at"]).date()


# Holidays ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("market", "years"), [(HK, KNOWN), (US, range(1998, 2036))], ids=["HK", "US"])
def test_holidays_are_those_of_an_independent_library(market: Market, years: range) -> None:
    for year in years:
        weekdays = [day for day in every_day(date(year, 1, 1), date(year, 12, 31)) if day.weekday() < 5]
        closed = {day for day in weekdays if not is_business_day(market, day)}
        assert closed == planned(market, year), year


@pytest.mark.parametrize(
    ("market", "day", "is_business"),
    [
        (US, "2025-01-09", True),  # a day of mourning
        (US, "2012-10-29", True),  # a hurricane
        (US, "2021-12-31", True),  # New Year's Day on a Saturday is not moved
        (US, "2021-06-18", True),  # Juneteenth, before the exchange kept it
        (US, "2022-06-20", False),
        (US, "2026-10-12", True),  # Columbus Day
        (US, "2026-11-11", True),  # Veterans Day
        (US, "2026-11-27", True),  # half a day
        (US, "2026-07-03", False),
        (HK, "2023-09-01", True),  # a typhoon
        (HK, "2023-09-08", True),  # a rainstorm
        (HK, "2025-12-24", True),  # half a day
        (HK, "2026-02-16", True),  # half a day, before Lunar New Year
        (HK, "2021-04-06", False),  # the day after Easter Monday, for Ching Ming
        (HK, "2015-09-03", False),  # added to the holidays of that year, in advance
    ],
)
def test_only_planned_closures_are_no_business_days(market: Market, day: str, is_business: bool) -> None:
    assert is_business_day(market, date.fromisoformat(day)) is is_business


def test_every_market_has_a_rule_or_a_table() -> None:
    assert {market for market in MARKETS if not is_business_day(market, date(2026, 1, 1))} == set(MARKETS)
    assert all(len(years) == max(years) - min(years) + 1 for years in HOLIDAYS.values())


def test_the_table_of_a_market_holds_the_year_after_in_good_time() -> None:
    """Fails from September on while the year after is missing:

    Hong Kong gazettes a year in spring of the year before.
    """
    today = datetime.now(UTC).date()
    needed = today.year + (today.month >= 9)
    for market, years in HOLIDAYS.items():
        assert needed in years, f"codegen/calendars/{market}.toml lacks {needed}: append it from the Government's page"


# Counting and schedules ----------------------------------------------------------------------------------------------


@given(st.sampled_from(MARKETS), st.dates(date(2012, 3, 1), date(2027, 10, 31)), st.integers(-30, 30))
def test_business_days_are_counted_as_numpy_counts_them(market: Market, day: date, days: int) -> None:
    assert add_business_days(market, day, days) == (count(market, day, days) if days else day)


@pytest.mark.parametrize("table", TABLES, ids=lambda table: f"{table.market.prefix}-{table.schedule}")
def test_rows_are_due_on_the_days_of_the_schedule_and_on_no_others(table: Table) -> None:
    days = list(every_day(*YEAR_ENDS))
    ends = {
        "daily": [day for day in days if day.weekday() < 5],
        "weekly": [day for day in days if day.weekday() == 4],
        "semimonthly": [day for day in days if day.day == 15 or (day + DAY).day == 1],
    }
    wanted = {rolled_back(table.market, end) for end in ends[table.schedule]}
    assert {day for day in days if is_due(table, day)} == {day for day in wanted if day >= days[0]}


@pytest.mark.parametrize("table", TABLES, ids=lambda table: f"{table.market.prefix}-{table.schedule}")
def test_rows_are_public_so_many_business_days_later_whatever_their_day(table: Table) -> None:
    for day in every_day(YEAR_ENDS[0], date(2027, 12, 10)):
        wanted = count(table.market, day, DELAYS[table.schedule])
        assert publication(table, day) == (wanted, wanted), day


@pytest.mark.parametrize("table", [HK_WEEKLY, DAILY_SHORT_VOLUME.tables[1]], ids=["weekly", "daily"])
@pytest.mark.parametrize("first", [date(1999, 1, 1), date(2027, 12, 1)], ids=["before the table", "after the table"])
def test_where_holidays_are_not_known_the_bound_is_never_too_early(table: Table, first: date) -> None:
    assert table.market is HK
    for day in every_day(first, first.replace(year=first.year + 33)):
        earliest, latest = publication(table, day)
        wanted = count(HK, day, DELAYS[table.schedule])
        assert earliest <= wanted <= latest, day
        assert np.busday_count(np.datetime64(wanted), np.datetime64(latest), busdaycal=business(HK)) <= 3, day
        assert latest == published_by(table, day)


# Many days at once ---------------------------------------------------------------------------------------------------

_SOME_DAY = st.dates(date(1990, 1, 1), date(2060, 12, 31)) | st.none()


@given(st.sampled_from(TABLES), st.lists(_SOME_DAY), st.sampled_from(["D", "s", "ms", "us", "ns"]))
def test_many_days_at_once_are_what_each_of_them_is(table: Table, days: list[date | None], unit: str) -> None:
    asked = np.array(days, dtype="datetime64[D]").astype(f"datetime64[{unit}]")
    found = published_by_days(table, asked)
    assert found.dtype == np.dtype("datetime64[D]")
    assert found.tolist() == [None if day is None else published_by(table, day) for day in days]


@given(
    market=st.sampled_from(MARKETS),
    timestamps=st.lists(st.integers(int(datetime(1883, 1, 1).timestamp()), int(datetime(9998, 1, 1).timestamp()))),
)
def test_the_days_of_many_timestamps_are_those_of_each(market: Market, timestamps: list[int]) -> None:
    zone = ZoneInfo(market.timezone)
    expected = [datetime.fromtimestamp(at, UTC).astimezone(zone).date() for at in timestamps]
    assert days_of(np.array(timestamps, dtype=np.int64), market).tolist() == expected


def test_a_day_that_is_none_of_pythons_has_no_publication_and_spoils_no_other() -> None:
    asked: npt.NDArray[np.datetime64] = np.array(["2026-05-15", "9999-12-31", "20000-01-01"], dtype="datetime64[D]")
    assert published_by_days(US_SEMIMONTHLY, asked).tolist() == [date(2026, 5, 27), None, None]
    with pytest.raises(OverflowError):
        published_by(US_SEMIMONTHLY, date(9999, 12, 31))


@given(
    table=st.sampled_from(TABLES),
    days=st.lists(st.dates(date(1971, 1, 1), date(2261, 12, 31)), min_size=1, max_size=8, unique=True),
    seconds=st.integers(0, 86_399),
    cuts=st.lists(st.integers(0, 8), max_size=4),
)
def test_the_days_of_a_history_that_grew_are_those_of_one_that_is_new(
    table: Table, days: list[date], seconds: int, cuts: list[int]
) -> None:
    zone = ZoneInfo(table.market.timezone)
    begins = [datetime.combine(day, clock(), zone) + timedelta(seconds=seconds) for day in sorted(days)]
    timestamps = [int(begin.timestamp()) for begin in begins]
    expected = [datetime.fromtimestamp(at, UTC).astimezone(zone).date() for at in timestamps]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(frames, "_KNOWN", Memory(2**21))
        for size in (*sorted(cuts), len(timestamps)):
            both = frames._dates(table, timestamps[:size])
            found, public = (np.asarray(known).astype("datetime64[D]").tolist() for known in both)
            assert found == expected[:size]
            assert public == [published_by(table, day) for day in found]


# What goes by the rule -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("table", [HK_WEEKLY, US_SEMIMONTHLY], ids=["HK", "US"])
def test_until_a_row_is_public_the_record_does_not_answer_in_its_place(table: Table) -> None:
    """Asked before the end of the day of publication, OpenD is asked again; some days later it is not, for this row."""
    zone = ZoneInfo(table.market.timezone)
    due = [day for day in every_day(*YEAR_ENDS) if is_due(table, day)]
    for before, day, after in zip(due, due[1:], due[2:], strict=False):
        if after.year == 2027 and after.month == 12:
            break  # the wait leads beyond the table
        public = count(table.market, day, DELAYS[table.schedule])
        asked = datetime.combine(public, clock(23, 59), zone)
        assert may_have_news(table, before, asked, asked + timedelta(days=4)), day
        opens = datetime.combine(count(table.market, day, DELAYS[table.schedule] - 1), clock(), zone)
        assert not may_have_news(table, before, opens - timedelta(hours=2), opens - timedelta(hours=1)), day
        closed = datetime.combine(count(table.market, public, 2), clock(), zone)
        next_opens = datetime.combine(count(table.market, after, DELAYS[table.schedule] - 1), clock(), zone)
        if closed < next_opens:
            assert not may_have_news(table, before, closed, min(next_opens, closed + timedelta(days=6)) - DAY / 24), day


def test_what_the_simulator_makes_up_stands_on_days_that_exist() -> None:
    universe = Universe()
    for call in CALLS:
        for table in call.tables:
            symbol = next(symbol for symbol in SYMBOLS[1:] if symbol.startswith(table.market.prefix))
            universe.publish(symbol, 10, call)
            days = [date.fromisoformat(row.timestampStr) for row in universe.rows(symbol, call) or ()]
            assert len(days) > 100
            assert [day for day in days if rolled_back(table.market, day) != day] == []
    reported = [date.fromisoformat(row.timestampStr) for row in universe.rows("HK.00001") or ()]
    assert {date(2026, 4, 30), date(2025, 12, 24), date(2023, 9, 1)} <= set(reported)
