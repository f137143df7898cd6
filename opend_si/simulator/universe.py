"""What the simulator knows: the ten HK.00700 rows of the broker's page, and a synthetic market made from a seed.

Synthetic values follow the units of the columns, so a call that is bound later has data at once; prices move together,
a percentage moves with its shares, and the sample's symbol goes on from the sample. The same seed gives the same market
on every machine. Publications and revisions are made from outside, as time passes at an exchange.
"""

from __future__ import annotations

import json
import pkgutil
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property
from math import sin, tau
from typing import Any
from zlib import crc32

from google.protobuf.json_format import ParseDict

from opend_si.dates import day_of, midnight
from opend_si.dates.calendars import is_due
from opend_si.pages import PageKey
from opend_si.system import forks
from opend_si_schema.calls import SHORT_INTEREST
from opend_si_schema.definitions import Call, Column, Table

# The newest row of the broker's sample; the synthetic rows end with it.
UNTIL = date(2026, 4, 30)
# Where the exchanges' own histories begin: the SFC's first reporting week, FINRA's consolidated data.
_SINCE = {"HK": date(2012, 8, 31), "US": date(2017, 1, 13)}
SYMBOLS = (
    *("HK.00700", "HK.00001", "HK.00005", "HK.00388", "HK.00939", "HK.01299", "HK.01810", "HK.02318", "HK.03690"),
    *("HK.09988", "US.AAPL", "US.AMD", "US.AMZN", "US.BRK.B", "US.GME", "US.GOOGL", "US.META", "US.MSFT", "US.NVDA"),
    "US.TSLA",
)
# Known, and never reported: the exchanges list only securities above a threshold.
WITHOUT_ROWS = ("HK.02840", "US.SPHY")
_SAMPLE_SYMBOL = "HK.00700"

Row = Any  # a row message of the call, such as Qot_GetShortInterest.HkShortInterestItem


class Universe:
    """Rows by call and symbol, newest first. Threads may read while another publishes.

    Args:
        seed: Which synthetic market.
        symbols: Which symbols are known, besides those without rows.
        most_rows: How many rows a symbol begins with at most, the newest; None for its exchange's whole history.

    """

    def __init__(self, seed: int = 0, symbols: Sequence[str] = SYMBOLS, most_rows: int | None = None) -> None:
        self._seed, self._most_rows = seed, most_rows
        self._known = dict.fromkeys((*symbols, *WITHOUT_ROWS))
        self._rows: dict[tuple[str, str], list[Row]] = {}
        self._paths: dict[str, _Path] = {}
        self._lock = forks.new_lock()

    @property
    def symbols(self) -> list[str]:
        """Every symbol that is known."""
        return list(self._known)

    def rows(self, symbol: str, call: Call = SHORT_INTEREST) -> Sequence[Row] | None:
        """All rows of a symbol, newest first; None if the symbol is not known."""
        if symbol not in self._known:
            return None
        key = (call.name, symbol)
        with self._lock:
            if key not in self._rows:
                self._rows[key] = [] if symbol in WITHOUT_ROWS else self._history(symbol, call)
            return self._rows[key]

    def publish(self, symbol: str, count: int = 1, call: Call = SHORT_INTEREST) -> None:
        """Put `count` new rows in front, each a period later than the newest."""
        table = _table(call, symbol)
        rows = list(self.rows(symbol, call) or ())
        for _ in range(count):
            newest = _date(rows[0], table) if rows else UNTIL
            day = next(day for day in _days_after(table, newest))
            rows.insert(0, self._row(symbol, call, table, day))
        with self._lock:
            self._rows[call.name, symbol] = rows

    def revise(self, symbol: str, index: int, call: Call = SHORT_INTEREST, /, **values: Any) -> None:
        """Give the row at `index` (0 is the newest) other values, by proto field name; None takes a value away."""
        rows = list(self.rows(symbol, call) or ())
        row = type(rows[index])()
        row.CopyFrom(rows[index])
        for field, value in values.items():
            if value is None:
                row.ClearField(field)
            else:
                setattr(row, field, value)
        rows[index] = row
        with self._lock:
            self._rows[call.name, symbol] = rows

    def beside(self, symbol: str, call: Call = SHORT_INTEREST) -> dict[str, Any]:
        """What a reply says beside its rows, by proto field name: of the day of the newest row."""
        rows, table = self.rows(symbol, call), _table(call, symbol)
        fields = call.response().s2c.DESCRIPTOR.fields_by_name
        return {
            column.field: _fitted(fields[column.field], self._value(symbol, table, column, _date(rows[0], table)))
            for column in table.attrs
            if rows
        }

    def _history(self, symbol: str, call: Call) -> list[Row]:
        table = _table(call, symbol)
        rows = _sample(call) if symbol == _SAMPLE_SYMBOL and call.name == SHORT_INTEREST.name else []
        newest = _date(rows[-1], table) if rows else UNTIL + timedelta(days=1)
        days = [day for day in _days_after(table, _SINCE[table.market.prefix], newest) if day < newest]
        wanted = days[::-1] if self._most_rows is None else days[::-1][: max(self._most_rows - len(rows), 0)]
        return [*rows, *(self._row(symbol, call, table, day) for day in wanted)][: self._most_rows]

    def _row(self, symbol: str, call: Call, table: Table, day: date) -> Row:
        row = getattr(call.response().s2c, table.list_field).add()
        fields = row.DESCRIPTOR.fields_by_name
        for column in table.columns:
            value = self._value(symbol, table, column, day)
            setattr(row, column.field, _fitted(fields[column.field], value))
        return row

    def _value(self, symbol: str, table: Table, column: Column, day: date) -> Any:
        if column.is_moment:
            return midnight(day, table.market)
        if column.dtype == "str":
            return day.isoformat()
        value = self._level(symbol, table, column, day)
        if symbol == _SAMPLE_SYMBOL:
            value *= self._joints[day > UNTIL].get(table.price if _is_price(table, column) else column.name, 1.0)
        return round(value, 2) if column.dtype == "float64" else int(value)

    def _level(self, symbol: str, table: Table, column: Column, day: date) -> float:
        traded = [other for other in table.columns if other.unit == "shares" and other.name != table.short]
        if column.unit == "days" and table.short and traded:  # what is short, by the volume of an average day
            short = self._level(symbol, table, table.column(table.short), day)
            return max(1.0, short / self._level(symbol, table, traded[0], day))
        if _is_price(table, column):
            low, times = 5.0, 120.0
            day -= timedelta(days=column.name != table.price)
        else:
            low, times = {"percent": 0.1, "days": 1.0, table.market.currency: 1e8}.get(column.unit, 2e6), 45.0
        return float(low * times ** self._path(symbol, _followed(table, column)).at(day))

    @cached_property
    def _joints(self) -> tuple[dict[str, float], dict[str, float]]:
        """By what values of the sample's symbol are multiplied, by column.

        To end where the sample begins, and to go on from it.
        """
        table, (newest, *_, oldest) = _table(SHORT_INTEREST, _SAMPLE_SYMBOL), _sample(SHORT_INTEREST)
        columns = [column for column in table.columns if column.is_measure]

        def scales(row: Row) -> dict[str, float]:
            levels = {column: self._level(_SAMPLE_SYMBOL, table, column, _date(row, table)) for column in columns}
            return {column.name: getattr(row, column.field) / level for column, level in levels.items()}

        return scales(oldest), scales(newest)

    def _path(self, symbol: str, name: str) -> _Path:
        key = f"{self._seed}/{symbol}/{name}"
        if key not in self._paths:
            self._paths[key] = _Path.seeded(key)
        return self._paths[key]


@dataclass(frozen=True)
class _Path:
    """A smooth way through the years between 0 and 1, with a little noise.

    A value for every day, whichever comes first.
    """

    key: str
    waves: tuple[tuple[float, float, float], ...]  # weight, days, phase

    @classmethod
    def seeded(cls, key: str) -> _Path:
        chance = random.Random(key)
        waves = ((0.25, 2300.0), (0.12, 700.0), (0.06, 150.0))
        return cls(
            key, tuple((weight, days * chance.uniform(0.7, 1.3), chance.uniform(0, tau)) for weight, days in waves)
        )

    def at(self, day: date) -> float:
        smooth = sum(weight * sin(tau * day.toordinal() / days + phase) for weight, days, phase in self.waves)
        noise = crc32(f"{self.key}/{day}".encode()) / 2**32 - 0.5
        return 0.5 + smooth + 0.02 * noise


def _table(call: Call, symbol: str) -> Table:
    return PageKey.check(call, symbol).table


def _is_price(table: Table, column: Column) -> bool:
    return column.name in (table.price, *table.other_prices)


def _followed(table: Table, column: Column) -> str:
    """Which path a column follows: prices move together, and a percentage moves with what is short."""
    if _is_price(table, column):
        return "price"
    return table.short if column.unit == "percent" and table.short else column.name


def _fitted(field: Any, value: Any) -> Any:
    """A value that a field of the proto can hold: a made-up number knows nothing of its type."""
    if field.enum_type:
        return field.enum_type.values[value % len(field.enum_type.values)].number
    if field.cpp_type == field.CPPTYPE_BOOL:
        return bool(value % 2)
    highest = {field.CPPTYPE_INT32: 2**31 - 1, field.CPPTYPE_UINT32: 2**32 - 1}.get(field.cpp_type)
    return value if highest is None else value % highest


def _sample(call: Call) -> list[Row]:
    data = pkgutil.get_data(__name__, "sample_hk_00700.json")
    assert data is not None, "the sample is part of the package"
    return list(ParseDict(json.loads(data), call.response().s2c).hkItemList)


def _date(row: Row, table: Table) -> date:
    return day_of(row.timestamp, table.market)


def _days_after(table: Table, start: date, end: date | None = None) -> Iterator[date]:
    """The dates of the table's schedule after `start`; the start itself, too, where a history begins there."""
    day = start + timedelta(days=1)
    while end is None or day < end:
        if is_due(table, day):
            yield day
        day += timedelta(days=1)
