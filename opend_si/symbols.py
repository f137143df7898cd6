"""Symbols: `HK.00700`, `US.AAPL`. Checking them costs no request, so what can be known to be wrong is refused here.

One rule for Python and the console: blanks around a symbol are dropped, and nothing else is changed in silence. Answers
come back under OpenD's own spelling, so a table of the user's that has another one would not join them. Any other
notation is refused with the symbol that was meant, where that can be said: tests/values has the table.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache

from opend_si.errors import InvalidArgument
from opend_si_schema.calls import MARKETS
from opend_si_schema.definitions import Market

# Longest code accepted; the longest of the broker's equity codes have under 12 characters.
MAX_CODE_LENGTH = 32
_HK_DIGITS = 5
# What a market's codes look like, and how that is said. A ticker of letters has its class behind a point: BRK.B,
# BAC.PRL.
_SHAPES = {
    "HK": (re.compile(r"\d{5}"), "HK codes have five digits"),
    "US": (
        re.compile(r"(?!\d+$)[A-Z0-9](?:[^.,;:|/\\\s-]|\.(?=[A-Z0-9]))*"),
        "US codes are tickers such as AAPL or BRK.B",
    ),
}
_ANY_SHAPE = re.compile(r"\S+"), "it is no security code"
# How others name the markets, before or behind a code: 0700.HK, AAPL US Equity, NASDAQ:AAPL.
_MARKETS = {
    **dict.fromkeys(("HK", "HKG", "HKEX", "SEHK"), "HK"),
    **dict.fromkeys(("US", "NASDAQ", "NYSE", "AMEX", "NYSEARCA", "NYSEAMERICAN"), "US"),
}
_TICKER = re.compile(r"[A-Z]{1,5}(\.([A-C]|PR[A-Z]))?")
_PREFERRED = re.compile(r"[-/. ]P([A-Z])$")

_BY_PREFIX = {market.prefix: market for market in MARKETS}
# What stands behind a market in place of the point: `HK00700`, `US_AAPL`.
_NO_POINT = re.compile(rf"HK\d|(?:{'|'.join(_BY_PREFIX)})[\W_]", re.IGNORECASE)
# What stands between two symbols.
_ANOTHER = re.compile(rf"[,;]|\s(?:{'|'.join(_BY_PREFIX)})\.", re.IGNORECASE)
_BY_NUMBER = {market.number: market for market in MARKETS}
_EXAMPLES = " or ".join(market.example for market in MARKETS)
_PREFIXES = " and ".join(_BY_PREFIX)


@dataclass(frozen=True, slots=True)
class Symbol:
    """A security: its market and its code within the market."""

    market: Market
    code: str

    def __str__(self) -> str:
        return f"{self.market.prefix}.{self.code}"

    @classmethod
    def parse(cls, text: object) -> Symbol:
        """Read `HK.00700`; `InvalidArgument` says what is right."""
        if not isinstance(text, str):
            many = (
                "; for many symbols there are sync and panel" if isinstance(text, (list, tuple, set, frozenset)) else ""
            )
            raise InvalidArgument(f"code is {text!r}: a symbol is a text such as {_EXAMPLES}{many}")
        prefix, dot, code = text.strip().partition(".")
        fault = _fault(prefix, dot, code)
        if fault is None:
            return cls(_BY_PREFIX[prefix], code)
        if len(text) > 2 * MAX_CODE_LENGTH:
            raise InvalidArgument(f"code {text[:MAX_CODE_LENGTH]!r}…: it is no security code. Write it as {_EXAMPLES}.")
        guess = meant(text)
        advice = f", did you mean {guess}?" if guess else "."
        raise InvalidArgument(f"code {text!r}{fault}{advice} Symbols are written as {_EXAMPLES}.")

    @classmethod
    def of(cls, number: int, code: str) -> Symbol | None:
        """The symbol that a request names by OpenD's market number; None for a market that no call takes."""
        market = _BY_NUMBER.get(number)
        return cls(market, code) if market else None


@lru_cache(maxsize=4096)
def _fault(prefix: str, dot: str, code: str) -> str | None:
    """What is wrong with a symbol; None if nothing is."""
    if _ANOTHER.search(f"{prefix}.{code}"):
        return " holds more than one symbol: pass them one by one"
    if prefix in _BY_PREFIX and not dot:
        return " is a market, not a symbol"
    if not dot and _NO_POINT.match(prefix):
        return ": a point stands behind the market"
    if not dot or not prefix:
        return " lacks its market"
    if not code:
        return " lacks the code"
    if prefix not in _BY_PREFIX:
        if prefix.upper() in _BY_PREFIX:
            return ": markets are upper case"
        if _MARKETS.get(code.upper().rpartition(".")[2]) in _BY_PREFIX:
            return ": the market stands before the code"
        return f": market {prefix!r} is not covered, only {_PREFIXES} are"
    if len(code) > MAX_CODE_LENGTH or not code.isascii() or not code.isprintable() or " " in code:
        return f": {code!r} is no security code"
    if code != code.upper():
        return ": codes are upper case"
    if "." in code and {code.partition(".")[0], code.rpartition(".")[2]} & {*_BY_PREFIX}:
        return " names a market twice"
    shape, said = _SHAPES.get(prefix, _ANY_SHAPE)
    return None if shape.fullmatch(code) else f": {said}"


def meant(text: str) -> str | None:
    """The symbol that a text in another notation means; None where that is a guess."""
    plain = unicodedata.normalize("NFKC", text).upper().strip().strip("$'\"").removesuffix(" EQUITY")
    plain = re.sub(r"^HK(?=\d)", "HK.", plain)
    words = [word for word in re.split(r"[.:_\s]+", plain) if word]
    named = set()
    while words and words[0] in _MARKETS:
        named.add(_MARKETS[words.pop(0)])
    while words and words[-1] in _MARKETS:
        named.add(_MARKETS[words.pop()])
    code = ".".join(words)
    if code.isascii() and code.isdigit():
        found = f"HK.{code.lstrip('0').zfill(_HK_DIGITS)}"
    else:
        found = "US." + _PREFERRED.sub(r".PR\1", code).replace("-", ".").replace("/", ".")
    market, _, code = found.partition(".")
    is_plain = len(code) == _HK_DIGITS if market == "HK" else _TICKER.fullmatch(code)
    return found if market in _BY_PREFIX and is_plain and named <= {market} else None
