"""The regulators' own files, as users download them: the SFC's weekly CSV and FINRA's twice-monthly file.

Read, never fetched.

- SFC, `Short_Position_Reporting_Aggregated_Data_YYYYMMDD.csv`: one reporting day, comma, dates as dd/mm/yyyy, stock
  codes without leading zeros (`700` is HK.00700). A stock may be listed with 0, or not at all: both say the same. Old
  files have odd cells: `n.a.`, `1,234`, `$ 5`, and `1.18734E+11`, of which six digits survive.
- FINRA, `shrtYYYYMMDD.csv`: one settlement day, a vertical bar between its 14 columns, symbols without separators
  (`BRKB` is US.BRK.B).

Source: https://www.sfc.hk and https://www.finra.org, the pages on short position reporting and on equity short
    interest.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from opend_si.errors import InvalidArgument

_SFC = (
    "Date",
    "Stock Code",
    "Aggregated Reportable Short Positions (Shares)",
    "Aggregated Reportable Short Positions (HK$)",
)
_FINRA = (
    *("settlementDate", "symbolCode", "currentShortPositionQuantity", "averageDailyVolumeQuantity"),
    "daysToCoverQuantity",
)
# Cells that stand for no number.
_NOTHING = {"", "-", "n.a.", "n/a", "na"}
_LONGEST_LINE = 64 * 1024


@dataclass(frozen=True)
class Number:
    """A number as a cell states it. `digits`: how many of its digits can be relied on; None for all."""

    value: Decimal
    digits: int | None = None

    def agrees_with(self, other: float, tolerance: float = 0.0) -> bool:
        """Whether another number is this one, as far as this one is known."""
        if self.digits is not None and self.value:
            tolerance = max(tolerance, 0.5 * 10.0 ** (self.value.adjusted() - self.digits + 1))
        return abs(Decimal(other) - self.value) <= Decimal(tolerance)


@dataclass(frozen=True)
class Reported:
    """One line of a regulator's file.

    `key` names the security as `key_of` does; `numbers` are by the file's own meaning: shares, value (HK), volume and
    days_to_cover (US). None: the file states no number.
    """

    day: date
    key: str
    numbers: Mapping[str, Number | None]


@dataclass(frozen=True)
class Report:
    """A regulator's file."""

    path: Path
    market: str
    lines: tuple[Reported, ...]
    days: frozenset[date]
    odd: tuple[str, ...]  # cells that could not be understood, each with its line


def key_of(symbol: str) -> str:
    """How the regulators write a symbol: `HK.00700` is `00700`, `US.BRK.B` is `BRKB`."""
    market, _, code = symbol.partition(".")
    return code if market == "HK" else re.sub(r"[^A-Za-z0-9]", "", code)


def read_report(path: Path) -> Report:
    """Read a file of the SFC or of FINRA; its header says which it is.

    Raises:
        InvalidArgument: It is neither, or cannot be read.

    """
    try:
        with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
            head = file.readline(_LONGEST_LINE)
            file.seek(0)
            if all(name in head for name in _SFC):
                return _read(path, "HK", csv.DictReader(file, delimiter=","), _sfc)
            if all(name in head for name in _FINRA):
                return _read(path, "US", csv.DictReader(file, delimiter="|"), _finra)
    except (OSError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or error
        raise InvalidArgument(f"{path} cannot be read ({reason}): name a file of the SFC or of FINRA") from None
    seen = "an HTML page: a wrong date is answered so" if head.lstrip()[:1] == "<" else f"its header is {head[:60]!r}"
    raise InvalidArgument(
        f"{path} is neither the SFC's weekly CSV nor FINRA's short interest file ({seen}). Download it again from the regulator."
    )


def _read(path: Path, market: str, lines: csv.DictReader[str], read: Any) -> Report:
    found, odd = [], []
    for line in lines:
        try:
            found.append(read(line))
        except ValueError as error:
            odd.append(f"line {lines.line_num}: {error}")
    return Report(path, market, tuple(found), frozenset(line.day for line in found), tuple(odd))


def _sfc(line: Mapping[str, str]) -> Reported:
    day = datetime.strptime(line["Date"].strip(), "%d/%m/%Y").date()
    code = line["Stock Code"].strip()
    if not code.isdigit() or len(code) > 5:
        raise ValueError(f"the stock code {code!r} is none")
    return Reported(day, code.zfill(5), {"shares": _number(line[_SFC[2]]), "value": _number(line[_SFC[3]])})


def _finra(line: Mapping[str, str]) -> Reported:
    code = line["symbolCode"].strip()
    if not code:
        raise ValueError("the symbol is missing")
    return Reported(
        date.fromisoformat(line["settlementDate"].strip()[:10]),
        code,
        {
            "shares": _number(line["currentShortPositionQuantity"]),
            "volume": _number(line["averageDailyVolumeQuantity"]),
            "days_to_cover": _number(line["daysToCoverQuantity"]),
        },
    )


def _number(cell: str | None) -> Number | None:
    text = "" if cell is None else cell.strip().lstrip("$").replace(",", "").strip()
    if text.lower() in _NOTHING:
        return None
    try:
        value = Decimal(text)
    except InvalidOperation:
        raise ValueError(f"{cell!r} is no number") from None
    if not value.is_finite() or value < 0:
        raise ValueError(f"{cell!r} is no number")
    mantissa, exponent, _ = text.upper().partition("E")
    return Number(value, len(re.sub(r"\D", "", mantissa)) if exponent else None)


def unambiguous(symbols: Iterator[str]) -> dict[str, str]:
    """The symbol of each key; a key that two symbols share names neither."""
    found: dict[str, list[str]] = {}
    for symbol in symbols:
        found.setdefault(key_of(symbol), []).append(symbol)
    return {key: names[0] for key, names in found.items() if len(names) == 1}
