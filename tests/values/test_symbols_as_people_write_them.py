"""A symbol in anyone's notation is taken as what was meant, or refused with it, and no request is spent on a wrong one.

Blanks around it are dropped. Everything else that differs from OpenD's spelling is refused: the text names the symbol
that was meant, where the notation leaves no doubt.
"""

from types import ModuleType
from typing import Any

import pytest

from opend_si import pages
from opend_si.errors import InvalidArgument
from opend_si.simulator import Simulator
from opend_si.symbols import Symbol

TAKEN = ["HK.00700", "US.AAPL", "US.BRK.B", "US.BAC.PRL", "US.A", "HK.99999"]

# What was written, and the symbol that it means.
MEANT = [
    ("0700.HK", "HK.00700"),  # Yahoo
    ("9988.HK", "HK.09988"),
    ("0700.hk", "HK.00700"),
    ("AAPL.US", "US.AAPL"),  # EODHD
    ("BRK.B.US", "US.BRK.B"),
    ("700 HK", "HK.00700"),  # Bloomberg
    ("700 HK Equity", "HK.00700"),
    ("AAPL US Equity", "US.AAPL"),
    ("BRK/B US Equity", "US.BRK.B"),
    ("HKG:0700", "HK.00700"),  # Google
    ("NASDAQ:AAPL", "US.AAPL"),
    ("NYSE:BRK.B", "US.BRK.B"),
    ("BRK-B", "US.BRK.B"),
    ("US.BRK-B", "US.BRK.B"),
    ("BRK.B", "US.BRK.B"),
    ("BAC-PL", "US.BAC.PRL"),
    ("$AAPL", "US.AAPL"),
    ("TSLA", "US.TSLA"),
    ("tsla", "US.TSLA"),
    ("700", "HK.00700"),
    ("00700", "HK.00700"),
    ("HK.700", "HK.00700"),
    ("HK.000700", "HK.00700"),
    ("hk.00700", "HK.00700"),
    ("us.aapl", "US.AAPL"),
    ("US.aapl", "US.AAPL"),
    ("US..AAPL", "US.AAPL"),
    ("US.AAPL.", "US.AAPL"),
    ("HK.00700.HK", "HK.00700"),
    ("ＨＫ．００７００", "HK.00700"),
    ("HK00700", "HK.00700"),  # Sina
    ("hk700", "HK.00700"),
    ("US_AAPL", "US.AAPL"),
    ("BRK_B", "US.BRK.B"),
    ("AAPL_US", "US.AAPL"),  # Trading 212
]

# Lists in the place of one symbol.
MANY = ["US.AAPL,US.MSFT", "HK.00700;HK.00005", "AAPL, MSFT", "US.AAPL US.MSFT", "HK.00700\nUS.AAPL", "US.AAPL hk.700"]

# What no OpenD can know, and that means no symbol.
UNKNOWABLE = [
    *("HK.12345678", "HK.0070O", "HK.AAPL", "US.00700", "US.AAPL,US.MSFT", "US.AAPL;US.MSFT", "US.AAPL US.MSFT"),
    *("US.-", "US.HK.00700", "SH.600519", "VOD.L", "", " ", "HK", "HK.٠٠٧٠٠", "A" * 5000),
]

CURSORS = ["abc", "1.5", "1772121600 ", " 1772121600", "-5", "1e9", "0x10", "１２", "1,2", "9" * 20, "\n"]


@pytest.mark.parametrize("code", TAKEN)
@pytest.mark.parametrize("around", ["{}", " {}", "{} ", "\t{}\r\n", "\u00a0{}\u3000"])
def test_blanks_around_a_symbol_mean_nothing(code: str, around: str) -> None:
    assert str(Symbol.parse(around.format(code))) == code


@pytest.mark.parametrize(("code", "symbol"), MEANT)
def test_another_notation_is_refused_with_the_symbol_that_was_meant(code: str, symbol: str) -> None:
    for written in (code, f" {code} "):
        with pytest.raises(InvalidArgument, match=f"did you mean {symbol}\\?"):
            Symbol.parse(written)
    assert str(Symbol.parse(symbol)) == symbol


@pytest.mark.parametrize("code", UNKNOWABLE)
def test_what_means_no_symbol_is_refused_without_a_guess(code: str) -> None:
    with pytest.raises(InvalidArgument, match=r"HK\.00700 or US\.AAPL") as caught:
        Symbol.parse(code)
    assert "did you mean" not in str(caught.value)
    assert len(str(caught.value)) < 250


@pytest.mark.parametrize("codes", MANY)
def test_a_list_in_the_place_of_a_symbol_is_named_as_one(codes: str) -> None:
    with pytest.raises(InvalidArgument, match="holds more than one symbol: pass them one by one") as caught:
        Symbol.parse(codes)
    assert "did you mean" not in str(caught.value)


@pytest.mark.parametrize("code", [" HK", "US"])
def test_a_market_in_the_place_of_a_symbol_is_named_as_one(code: str) -> None:
    with pytest.raises(InvalidArgument, match="is a market, not a symbol"):
        Symbol.parse(code)


def test_no_wrong_symbol_or_cursor_costs_a_request(
    face: ModuleType, client: Any, opend: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "_given", {})  # a spoiled reply of another test may have had such a cursor
    for code in (*UNKNOWABLE, *(code for code, _ in MEANT)):
        with pytest.raises(face.InvalidArgument):
            client.get_page(code)
        with pytest.raises(face.InvalidArgument):
            client.history(code)
    for cursor in CURSORS:
        with pytest.raises(face.InvalidArgument, match="pass the previous page's as it came"):
            client.get_page("HK.00700", cursor)
    assert (opend.requests, opend.connections) == ([], 0)
    assert client.get_page(" HK.00700 ").symbol == "HK.00700"
