"""A history and its revisions as DataFrames. pandas is imported when the first one is made."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from opend_si.dates import day_of
from opend_si.dates import milliseconds as to_milliseconds
from opend_si.dates.calendars import days_of, published_by, published_by_days
from opend_si.history.memory import Memory
from opend_si.history.statements import Change
from opend_si.pages import Row
from opend_si.tables import Columns, build_frame, default_unit, describe, text_column
from opend_si_schema.definitions import DATE, KNOWN_AT, PUBLISHED_BY, SYMBOL, Call, Table

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from opend_si.dates.calendars import Days
    from opend_si.history.overview import Recorded

# What gives a row's values, without a step of Python for each.
_VALUES: Callable[[Row], tuple[Any, ...]] = itemgetter(Row._fields.index("values"))
# The days of rows, and by when each is public, by timestamps: symbols of a market have rows of the same days. So many
# bytes of them; and how many rows more than a known one has a history of which the rest is known.
_KNOWN: Memory[tuple[Table, bytes], tuple[pd.DatetimeIndex, Days]] = Memory(2**21)
_MOST_NEW = 3
# A moment that is not known, as NumPy writes it.
_NOT_KNOWN = -(2**63)


def make_history(call: Call, table: Table, rows: Sequence[Row], known_at: Sequence[int | None]) -> pd.DataFrame:
    """A DataFrame by date, ascending: the table's columns, `published_by`, and `known_at`. Its `attrs` say what it is.

    `known_at` are milliseconds, None where that is not known (NaT).
    """
    # Not by `zip(*rows)`: an iterator for each row makes the garbage collector look through all of them.
    values = list(chain.from_iterable(map(_VALUES, reversed(rows))))
    columns: Columns = tuple(values[place :: len(table.columns)] for place in range(len(table.columns)))
    days, public = _days_of(table, columns)
    frame = build_frame(table, columns, days, {PUBLISHED_BY: public, KNOWN_AT: _moments(known_at[::-1])})
    frame.attrs.update(describe(call, table))
    return frame


def make_rows(table: Table, symbols: Sequence[str], columns: Columns, known_at: Sequence[int | None]) -> pd.DataFrame:
    """Rows of many symbols with the columns of a panel; one of `symbols` and of `known_at` for each."""
    days, public = _days_of(table, columns)
    frame = build_frame(table, columns, None, {PUBLISHED_BY: public, KNOWN_AT: _moments(known_at)})
    frame.insert(0, SYMBOL, text_column(symbols))
    frame.insert(1, DATE, days)
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
            DATE: _dates(table, [change.at for change, *_ in changed])[0],
            "column": text_column([name for _, name, _, _ in changed]),
            "before": pd.Series([before for _, _, before, _ in changed], dtype=object),
            "after": pd.Series([after for _, _, _, after in changed], dtype=object),
            "seen_at": _moments([change.seen_at for change, *_ in changed]),
        }
    )


def make_recorded(found: Sequence[Recorded]) -> pd.DataFrame:
    """One row a symbol and kind, with the fields of `Recorded`."""
    import pandas as pd

    def texts(name: str) -> Any:
        return text_column([getattr(one, name) for one in found])

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


def _days_of(table: Table, columns: Columns) -> tuple[pd.DatetimeIndex, Days]:
    """The days of rows in their market, and by when each is public, in the unit of dates."""
    return _dates(table, columns[[column.name for column in table.columns].index("timestamp")])


def _dates(table: Table, timestamps: Sequence[int]) -> tuple[pd.DatetimeIndex, Days]:
    """The same, by the rows' timestamps."""
    import numpy as np
    import pandas as pd

    asked = np.array(timestamps, dtype=np.int64).tobytes()
    found = _KNOWN.get((table, asked))
    if found is None:
        worked_out, public = _grown(table, asked) or _worked_out(table, np.frombuffer(asked, dtype=np.int64))
        found = pd.DatetimeIndex(worked_out, name=DATE), public
        _KNOWN.keep((table, asked), found, 3 * len(asked))
    days, public = found
    return days.copy(deep=True), public.copy()


def _grown(table: Table, asked: bytes) -> tuple[Days, Days] | None:
    """The same for a history that has a few rows more than a known one: those are looked at one by one."""
    import numpy as np

    unit = f"datetime64[{default_unit()}]"
    for size in range(len(asked) - 8, max(len(asked) - 8 * (_MOST_NEW + 1), 0), -8):
        if (before := _KNOWN.get((table, asked[:size]))) is not None:
            days = [day_of(at, table.market) for at in np.frombuffer(asked[size:], dtype=np.int64).tolist()]
            new = np.array([days, [published_by(table, day) for day in days]], dtype="datetime64[D]").astype(unit)
            return np.concatenate((before[0].to_numpy(), new[0])), np.concatenate((before[1], new[1]))
    return None


def _worked_out(table: Table, timestamps: np.ndarray[Any, np.dtype[np.int64]]) -> tuple[Days, Days]:
    """The same, all at once."""
    days = days_of(timestamps, table.market)
    unit = f"datetime64[{default_unit()}]"
    return days.astype(unit), published_by_days(table, days).astype(unit)


def _moments(milliseconds: Sequence[int | None]) -> pd.DatetimeIndex:
    import numpy as np
    import pandas as pd

    if None in milliseconds:
        milliseconds = [_NOT_KNOWN if moment is None else moment for moment in milliseconds]
    times = np.array(milliseconds, dtype=np.int64).view("datetime64[ms]")
    return pd.DatetimeIndex(times, tz="UTC").as_unit(default_unit())
