"""What a server or a file name puts into an error is shown on one line, written out.

No terminal, log or sheet obeys it.
"""

import logging
import pickle
import traceback
import unicodedata
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from opend_si import errors
from opend_si.errors.texts import csv_text, one_line, quoted
from opend_si.simulator import Simulator, faults

EVIL = "\x1b]0;owned\x07\x1b[2J\x1b[31mFAKE\x1b[0m\r\nfutu-si: all is well\x08\x9b31m\u202egnp\u2028end"
EVERY = [
    kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.ShortInterestError)
]


def is_harmless(text: str) -> bool:
    return not any(unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp") for character in text)


def test_every_control_character_is_written_out_and_no_other() -> None:
    for number in range(0x110000):
        character = chr(number)
        shown = one_line(character)
        assert is_harmless(shown), hex(number)
        if unicodedata.category(character)[0] in "LMNPS" or unicodedata.category(character) == "Zs":
            assert shown == character
        else:
            assert shown.encode().decode("unicode_escape") == character
    assert one_line(one_line(EVIL)) == one_line(EVIL)


@pytest.mark.parametrize("kind", EVERY)
def test_every_error_is_one_line_and_travels(kind: type[errors.ShortInterestError]) -> None:
    make: Callable[..., Any] = kind
    is_refusal = issubclass(kind, errors.OpenDError)
    error = make(-1, 7, EVIL) if is_refusal else make(EVIL)
    for text in (str(error), *traceback.format_exception_only(error)):
        assert is_harmless(text.removesuffix("\n"))
    arrived = pickle.loads(pickle.dumps(error))
    assert (type(arrived), str(arrived), arrived.args) == (kind, str(error), error.args)
    if is_refusal:
        assert (arrived.ret_type, arrived.err_code, arrived.message) == (-1, 7, EVIL)


def test_a_refusal_quotes_the_server_and_is_one_line(
    face: ModuleType, start: Callable[..., Simulator], caplog: pytest.LogCaptureFixture
) -> None:
    opend = start()
    opend.faults.append(faults.refuse(EVIL))
    opend.faults.append(faults.refuse("很" * 100_000))
    with face.Client(opend.host, opend.port, mode="bypass") as client, caplog.at_level(logging.DEBUG):
        with pytest.raises(face.OpenDError, match="FAKE") as caught:
            client.get_page("HK.00700")
        assert is_harmless(str(caught.value))
        assert caught.value.message == EVIL
        with pytest.raises(face.OpenDError) as caught:
            client.get_page("HK.00700")
        assert len(str(caught.value)) < 1500
    assert all(is_harmless(record.getMessage()) for record in caplog.records)


def test_a_warning_is_one_line() -> None:
    with pytest.warns(errors.ShortInterestWarning) as caught:
        errors.warn(EVIL)
    assert is_harmless(str(caught[0].message))


@pytest.mark.parametrize("cell", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1+1", "＋1", "－1", "＠a"])
def test_a_spreadsheet_runs_no_cell(cell: str) -> None:
    assert csv_text(cell)[0] == "'"
    assert is_harmless(csv_text(cell))


@pytest.mark.parametrize("cell", ["2026-04-30", "", "US.AAPL", "a=b", "腾讯"])
def test_other_cells_stay_as_they_are(cell: str) -> None:
    assert csv_text(cell) == cell


def test_a_quotation_ends() -> None:
    assert len(quoted("\x1b" * 1_000_000)) <= 1001
    assert quoted("short") == "short"


def test_a_reports_frame_holds_what_is_no_text_written_out(face: ModuleType, opend: Simulator, tmp_path: Path) -> None:
    with face.Client(opend.host, opend.port, mode="online", cache=tmp_path / "pages.sqlite3") as client:
        frame = client.sync(["US.\udc80", "US.A\x1b[0m", "US.AAPL"]).to_frame()
    assert frame["symbol"].tolist() == ["US.\\udc80", "US.A\\x1b[0m", "US.AAPL"]
    assert [is_harmless(text) for text in frame["error"].dropna()] == [True, True]
