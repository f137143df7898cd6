"""A history and its revisions as DataFrames. pandas is imported when the first one is made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from opend_si.history.statements import Change
from opend_si.pages import Row
from opend_si.tables import build_frame, text_dtype
from opend_si_schema.definitions import Table

if TYPE_CHECKING:
    import pandas as pd


def make_history(table: Table, rows: Sequence[Row], known_at: Sequence[int | None]) -> pd.DataFrame:
    """A DataFrame by date, ascending: the table's columns, and when each value was first seen (UTC, milliseconds).

    Where the clock was ahead that is not known: NaT.
    """
    import numpy as np
    import pandas as pd

    columns = tuple(map(list, zip(*(row.values for row in reversed(rows)), strict=True)))
    frame = build_frame(table, columns or tuple([] for _ in table.columns))
    times = pd.DatetimeIndex(np.array([row.at for row in reversed(rows)], dtype="datetime64[s]"), tz="UTC")
    frame.index = times.tz_convert(table.market.timezone).tz_localize(None).normalize().rename("date")
    known = np.array(known_at[::-1], dtype="datetime64[ms]")
    frame["known_at"] = pd.DatetimeIndex(known, tz="UTC")
    return frame


def make_revisions(table: Table, changes: Sequence[Change]) -> pd.DataFrame:
    """One row a value that changed: `date`, `column`, `before`, `after`, `seen_at` (UTC), in the order they were seen."""
    import numpy as np
    import pandas as pd

    changed = [
        (change, column.name, before, after)
        for change in changes
        for column, before, after in zip(table.columns, change.before.values, change.after.values, strict=True)
        if before is not after and before != after
    ]
    days = pd.DatetimeIndex(np.array([change.at for change, *_ in changed], dtype="datetime64[s]"), tz="UTC")
    return pd.DataFrame(
        {
            "date": days.tz_convert(table.market.timezone).tz_localize(None).normalize(),
            "column": pd.array([name for _, name, _, _ in changed], dtype=text_dtype()),
            "before": pd.Series([before for _, _, before, _ in changed], dtype=object),
            "after": pd.Series([after for _, _, _, after in changed], dtype=object),
            "seen_at": pd.DatetimeIndex(
                np.array([change.seen_at for change, *_ in changed], dtype="datetime64[ms]"), tz="UTC"
            ),
        }
    )
