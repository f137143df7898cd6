"""Recorded rows against the regulators' files, and against themselves. Nothing is fetched. Needs the extra `arrow`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opend_si.dates.calendars import add_business_days, is_due
from opend_si.errors import CacheMiss, InvalidArgument
from opend_si.research.panel import Choice, panel, recorded_markets
from opend_si.research.regulators import Number, Report, Reported, key_of, read_report, unambiguous
from opend_si.system.files import Files, user_path
from opend_si.tables import MOST_DAYS, default_unit
from opend_si_schema.definitions import Table

if TYPE_CHECKING:
    import pandas as pd

EQUAL, DIFFERENT, ONLY_HERE, ONLY_THERE = RESULTS = ("equal", "different", "only here", "only there")

# Which number of a regulator's line each column is held against. A file states days to cover with two decimals.
_COUNTERPARTS: dict[str, dict[str, tuple[str, float]]] = {
    "HK": {"aggregated_short": ("shares", 0.0)},
    "US": {
        "shares_short": ("shares", 0.0),
        "avg_daily_share_volume": ("volume", 0.0),
        "days_to_cover": ("days_to_cover", 0.005),
    },
}
_POSITIONS = {"HK": "aggregated_short", "US": "shares_short"}
# The SFC rounds the value to whole dollars.
_DOLLAR = 1.0


@dataclass(frozen=True)
class _Compared:
    """One value of a row, as recorded and as reported. None: there is no such row, or no such number."""

    symbol: str
    day: date
    column: str
    recorded: float | None
    reported: float | None
    result: str
    file: str


def verify(choice: Choice, files: Files) -> pd.DataFrame:
    """Each value of the files' rows, and of the recorded rows of their days, of every symbol that is recorded.

    `attrs` say what was not compared: `not_recorded`, how many lines are of symbols that are not recorded; `ambiguous`,
    the recorded symbols that the regulator writes alike; `odd`, the cells that could not be understood. `origin` says
    who sent the recorded rows.
    """
    reports = [read_report(path) for path in _paths(files)]
    compared: list[_Compared] = []
    left_out = {"not_recorded": 0, "ambiguous": [], "odd": []}  # type: dict[str, Any]
    origins = set()
    for market in sorted({report.market for report in reports}):
        rows = panel(choice._replace(market=market))
        origins |= _origins(rows)
        recorded = _rows_by_day(rows)
        names = sorted({symbol for rows in recorded.values() for symbol in rows})
        by_key = unambiguous(iter(names))
        left_out["ambiguous"] += sorted(set(names) - set(by_key.values()))
        for report in (report for report in reports if report.market == market):
            left_out["odd"] += [f"{report.path.name}, {where}" for where in report.odd]
            left_out["not_recorded"] += sum(line.key not in by_key for line in report.lines)
            compared += _compare(report, recorded, by_key)
    return _to_frame(compared, {**left_out, "origin": ", ".join(sorted(origins))})


def _origins(frame: pd.DataFrame) -> set[str]:
    return {one for one in frame.attrs["origin"].split(", ") if one}


def _paths(files: Any) -> list[Path]:
    try:
        given = [files] if isinstance(files, (str, os.PathLike)) else list(files)
        paths = [user_path("files", file) for file in given]
    except TypeError:
        raise InvalidArgument(f"files is {files!r}: it takes the paths of files of the SFC or of FINRA") from None
    if not paths:
        raise InvalidArgument("files is empty: name files of the SFC or of FINRA")
    return paths


def _rows_by_day(frame: pd.DataFrame) -> dict[date, dict[str, Any]]:
    """The rows of a panel by day and symbol."""
    days: dict[date, dict[str, Any]] = {}
    rows: Iterable[Any] = frame.itertuples(index=False)
    for row in rows:
        days.setdefault(row.date.date(), {})[str(row.symbol)] = row
    return days


def _compare(report: Report, recorded: dict[date, dict[str, Any]], by_key: dict[str, str]) -> Iterator[_Compared]:
    position, file = _POSITIONS[report.market], report.path.name
    for day in sorted(report.days):
        here = recorded.get(day, {})
        there = {line.key: line for line in report.lines if line.day == day}
        for key, symbol in by_key.items():
            row, line = here.get(symbol), there.get(key)
            if row is not None and line is not None:
                yield from _compare_row(report.market, symbol, row, line, file)
            elif row is not None:
                count = _number(row, position)
                result = EQUAL if report.market == "HK" and count == 0 else ONLY_HERE
                yield _Compared(symbol, day, position, count, None, result, file)
            elif line is not None:
                shares = line.numbers["shares"]
                count = None if shares is None else float(shares.value)
                # The SFC lists a stock with 0, or not at all. OpenD sends no row for either.
                result = EQUAL if report.market == "HK" and not count else ONLY_THERE
                yield _Compared(symbol, day, position, None, count, result, file)


def _compare_row(market: str, symbol: str, row: Any, line: Reported, file: str) -> Iterator[_Compared]:
    for column, (name, tolerance) in _COUNTERPARTS[market].items():
        value, stated = _number(row, column), line.numbers[name]
        if stated is None and value is None:
            continue
        agrees = (
            stated is not None and value is not None and stated.agrees_with(value, tolerance + 1e-9 * bool(tolerance))
        )
        reported = None if stated is None else float(stated.value)
        yield _Compared(symbol, line.day, column, value, reported, EQUAL if agrees else DIFFERENT, file)
    if market == "HK":
        yield from _compare_price(symbol, row, line, file)


def _compare_price(symbol: str, row: Any, line: Reported, file: str) -> Iterator[_Compared]:
    """The SFC states no price, but what the position is worth at the day's close."""
    shares, worth = line.numbers["shares"], line.numbers["value"]
    close = _number(row, "close_price")
    if shares is None or worth is None or close is None or not shares.value:
        return
    stated = Number(worth.value, worth.digits if shares.digits is None else min(worth.digits or 6, shares.digits))
    agrees = stated.agrees_with(float(shares.value) * close, _DOLLAR)
    reported = float(worth.value / shares.value)
    yield _Compared(symbol, line.day, "close_price", close, reported, EQUAL if agrees else DIFFERENT, file)


def _number(row: Any, column: str) -> float | None:
    """A value of a row; None where it is missing, however the column's type says that."""
    import pandas as pd

    value = getattr(row, column)
    return None if pd.isna(value) else float(value)


def _to_frame(compared: list[_Compared], left_out: dict[str, Any]) -> pd.DataFrame:
    import pandas as pd

    frame = pd.DataFrame(
        {
            "symbol": pd.Series([value.symbol for value in compared], dtype="str"),
            "date": pd.to_datetime(pd.Series([value.day for value in compared], dtype="object")).dt.as_unit(
                default_unit()
            ),
            "column": pd.Series([value.column for value in compared], dtype="str"),
            "recorded": pd.Series([value.recorded for value in compared], dtype="float64"),
            "reported": pd.Series([value.reported for value in compared], dtype="float64"),
            "result": pd.Series([value.result for value in compared], dtype="str"),
            "file": pd.Series([value.file for value in compared], dtype="str"),
        }
    )
    frame.attrs.update(left_out)
    return frame


# What needs no file ---------------------------------------------------------------------------------------------------


def check(choice: Choice) -> pd.DataFrame:
    """Each recorded value that does not fit the others:

    `symbol`, `date`, `column`, `recorded`, `expected`, `finding`.
    """
    import pandas as pd

    markets = [choice.market] if choice.market else recorded_markets(choice.record, choice.call)
    if not markets:
        raise CacheMiss(f"No {choice.call.title} is recorded in {choice.record}. Record some with sync first.")
    found: list[tuple[str, date, str, float | None, float | None, str]] = []
    origins = set()
    for prefix in markets:
        frame = panel(choice._replace(market=prefix))
        origins |= _origins(frame)
        table = choice.call.table_of(prefix)
        for symbol, rows in frame.groupby("symbol", observed=True):
            for row, before in _with_the_one_before(rows):
                found += [(str(symbol), row.date.date(), *odd) for odd in _odd(table, row, before)]
    names = ("symbol", "date", "column", "recorded", "expected", "finding")
    kinds = {"symbol": "str", "column": "str", "recorded": "float64", "expected": "float64", "finding": "str"}
    result = pd.DataFrame(found, columns=list(names)).astype(kinds)
    result["date"] = pd.to_datetime(result["date"]).dt.as_unit(default_unit())
    result.attrs["origin"] = ", ".join(sorted(origins))
    return result


def _with_the_one_before(rows: pd.DataFrame) -> Iterator[tuple[Any, Any]]:
    before = None
    for row in rows.itertuples(index=False):
        yield row, before
        before = row


def _odd(table: Table, row: Any, before: Any) -> Iterator[tuple[str, float | None, float | None, str]]:
    day = row.date.date()
    if not is_due(table, day):
        yield "date", None, None, f"not a day of the {table.schedule} schedule"
    if table.market.prefix == "US":
        yield from _odd_days_to_cover(row)
    if before is not None and add_business_days(table.market, before.date.date(), 1) == day:
        close, stated = _number(before, "close_price"), _number(row, "last_close_price")
        if close is not None and stated is not None and close != stated:
            yield "last_close_price", stated, close, "not the close price of the row of the day before"


def _odd_days_to_cover(row: Any) -> Iterator[tuple[str, float | None, float | None, str]]:
    shares, volume, stated = (
        _number(row, name) for name in ("shares_short", "avg_daily_share_volume", "days_to_cover")
    )
    if shares is None or not volume or stated is None:
        return
    expected = min(max(shares / volume, 1.0), MOST_DAYS)  # FINRA's: 1.00 where it is less
    if abs(stated - expected) > 0.00501:
        yield "days_to_cover", stated, round(expected, 2), "not the shares short over the average daily volume"


def summary(frame: pd.DataFrame) -> str:
    """How many values are equal, different, only here, only there."""
    counts = frame["result"].value_counts()
    return ", ".join(f"{int(counts.get(result, 0)):,} {result}" for result in RESULTS)


__all__ = ["DIFFERENT", "EQUAL", "ONLY_HERE", "ONLY_THERE", "check", "key_of", "summary", "verify"]
