"""A history and its revisions as DataFrames. pandas is imported when the first one is made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from opend_si.dates import milliseconds as to_milliseconds
from opend_si.dates.calendars import published_by_days
from opend_si.history.overview import Recorded
from opend_si.history.statements import Change
from opend_si.pages import Row
from opend_si.tables import build_frame, default_unit, text_dtype
from opend_si_schema.definitions import DATE, KNOWN_AT, PUBLISHED_BY, Table

if TYPE_CHECKING:
    import pandas as pd


def make_history(table: Table, rows: Sequence[Row], known_at: Sequence[int | None]) -> pd.DataFrame:
    """A DataFrame by date, ascending: the table's columns, `published_by`, and `known_at`.

    `known_at` are milliseconds, None where that is not known (NaT).
    """
    columns = tuple(map(list, zip(*(row.values for row in reversed(rows)), strict=True)))
    frame = build_frame(table, columns or tuple([] for _ in table.columns))
    days = _days(table, [row.at for row in reversed(rows)])
    frame.index = days.rename(DATE)
    published = published_by_days(table, days.to_numpy())
    frame[PUBLISHED_BY] = published.astype(f"datetime64[{default_unit()}]")
    frame[KNOWN_AT] = _moments(known_at[::-1])
    return frame


def make_revisions(table: Table, changes: Sequence[Change]) -> pd.DataFrame:
    """One row a value that changed:

    `date`, `column`, `before`, `after`, `seen_at` (UTC), in the order they were seen.
    """
    import pandas as pd

    changed = [
        (change, column.name, before, after)
        for change in changes
        for column, before, after in zip(table.columns, change.before.values, change.after.values, strict=True)
        if before is not after and before != after
    ]
    return pd.DataFrame(
        {
            DATE: _days(table, [change.at for change, *_ in changed]),
            "column": pd.array([name for _, name, _, _ in changed], dtype=text_dtype()),
            "before": pd.Series([before for _, _, before, _ in changed], dtype=object),
            "after": pd.Series([after for _, _, _, after in changed], dtype=object),
            "seen_at": _moments([change.seen_at for change, *_ in changed]),
        }
    )


def make_recorded(found: Sequence[Recorded]) -> pd.DataFrame:
    """One row a symbol and kind, with the fields of `Recorded`."""
    import pandas as pd

    def texts(name: str) -> Any:
        return pd.array([getattr(one, name) for one in found], dtype=text_dtype())

    def days(name: str) -> pd.DatetimeIndex:
        return pd.DatetimeIndex([getattr(one, name) for one in found]).as_unit(default_unit())

    asked = [None if one.asked_at is None else to_milliseconds(one.asked_at) for one in found]
    return pd.DataFrame(
        {
            **{name: texts(name) for name in ("symbol", "kind", "market")},
            **{name: days(name) for name in ("first", "last")},
            "rows": pd.array([one.rows for one in found], dtype="int64"),
            "complete": pd.array([one.complete for one in found], dtype="bool"),
            "asked_at": _moments(asked),
            "versions": pd.array([one.versions for one in found], dtype="int64"),
            "origin": texts("origin"),
        }
    )


def _days(table: Table, timestamps: Sequence[int]) -> pd.DatetimeIndex:
    """The days of rows, as midnights without a time zone."""
    import numpy as np
    import pandas as pd

    times = pd.DatetimeIndex(np.array(timestamps, dtype="datetime64[s]"), tz="UTC")
    return times.tz_convert(table.market.timezone).tz_localize(None).normalize().as_unit(default_unit())


def _moments(milliseconds: Sequence[int | None]) -> pd.DatetimeIndex:
    import numpy as np
    import pandas as pd

    return pd.DatetimeIndex(np.array(milliseconds, dtype="datetime64[ms]"), tz="UTC").as_unit(default_unit())
