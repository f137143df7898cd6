"""When a symbol may have news: by the exchanges' calendars, and by what is recorded of it."""

from __future__ import annotations

import time
from datetime import UTC, date, datetime, timedelta
from datetime import time as time_of_day
from typing import NamedTuple
from zoneinfo import ZoneInfo

from opend_si.dates import may_have_news
from opend_si_schema.definitions import Table

# Seconds between two questions while a publication may come, and before what failed is tried again.
POLL, RETRY = 900.0, 60.0
# A symbol without rows of OpenD is asked for so often: nothing tells when it may have some.
_WITHOUT_ROWS = timedelta(days=1)
# The longest sleep in one piece: a machine may be suspended, or its clock set.
_NAP = 300.0


class Clock:
    """The one place where a watch meets time."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def sleep_until(self, moment: datetime) -> None:
        # The clock may be set back meanwhile: then the span is over before it says so.
        end = time.monotonic() + (moment - self.now()).total_seconds()
        while (left := min((moment - self.now()).total_seconds(), end - time.monotonic())) > 0:
            time.sleep(min(left, _NAP))


class Standing(NamedTuple):
    """How it stands with a symbol: its newest row's day, when it was last asked for, whether its rows are made up."""

    table: Table
    newest: date | None
    checked: datetime
    is_made_up: bool = False

    def is_due(self, now: datetime) -> bool:
        """Whether it may have news."""
        if (self.newest is None or self.is_made_up) and now - self.checked >= _WITHOUT_ROWS:
            return True
        return self.newest is not None and may_have_news(self.table, self.newest, self.checked, now)

    def next_due(self, now: datetime) -> datetime:
        """When there may be news: now and then while a publication may come, else from a midnight of its market."""
        if self.is_due(now):
            return now + timedelta(seconds=POLL)
        zone = ZoneInfo(self.table.market.timezone)
        today = now.astimezone(zone).date()
        midnights = (datetime.combine(today + timedelta(days=days), time_of_day(), zone) for days in range(1, 9))
        return next(midnight for midnight in midnights if self.is_due(midnight))
