"""Symbols: `HK.00700`, `US.AAPL`. Checking them costs no request, so what can be known to be wrong is refused here."""

from __future__ import annotations

from dataclasses import dataclass

from opend_si.errors import InvalidArgument
from opend_si_schema.calls import CALLS, MARKETS
from opend_si_schema.definitions import Call, Market

# Longest code accepted; the longest of the broker's equity codes have under 12 characters.
MAX_CODE_LENGTH = 32
_HK_DIGITS = 5

_BY_PREFIX = {market.prefix: market for market in MARKETS}
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
            raise InvalidArgument(f"code is {text!r}: a symbol is a text such as {_EXAMPLES}")
        prefix, dot, code = text.partition(".")
        if not dot or not prefix or not code:
            raise InvalidArgument(
                f"code {text!r} lacks {'the code' if dot and prefix else 'its market'}: write it as {_EXAMPLES}"
            )
        market = _BY_PREFIX.get(prefix)
        if market is None:
            raise InvalidArgument(f"code {text!r}: {_wrong_market(prefix, code)}")
        if len(code) > MAX_CODE_LENGTH or not code.isascii() or not code.isprintable() or " " in code:
            raise InvalidArgument(f"code {text!r}: {code!r} is no security code; write it as {_EXAMPLES}")
        if code != code.upper():
            raise InvalidArgument(f"code {text!r}: codes are upper case, did you mean {prefix}.{code.upper()}?")
        if prefix == "HK" and code.isdigit() and len(code) < _HK_DIGITS:
            raise InvalidArgument(
                f"code {text!r}: HK codes have five digits, did you mean HK.{code.zfill(_HK_DIGITS)}?"
            )
        return cls(market, code)

    @classmethod
    def of(cls, number: int, code: str) -> Symbol | None:
        """The symbol that a request names by OpenD's market number; None for a market that no call takes."""
        market = _BY_NUMBER.get(number)
        return cls(market, code) if market else None


def _wrong_market(prefix: str, code: str) -> str:
    if prefix.upper() in _BY_PREFIX:
        return f"markets are upper case, did you mean {prefix.upper()}.{code.upper()}?"
    return f"market {prefix!r} is not covered, only {_PREFIXES} are (such as {_EXAMPLES})"


def call_of(kind: object) -> Call:
    """The call that gives a kind of data; `InvalidArgument` lists them."""
    for call in CALLS:
        if call.name == kind:
            return call
    raise InvalidArgument(f"kind is {kind!r}: it takes {' or '.join(call.name for call in CALLS)}")
