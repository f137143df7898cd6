"""Bad input is refused before a request is spent, with a text that says what is right."""

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest

from opend_si.simulator import Simulator

WRONG = [
    # (arguments, what the text must say)
    ({"code": "00700"}, "HK.00700 or US.AAPL"),
    ({"code": "AAPL"}, "lacks its market"),
    ({"code": ""}, "lacks its market"),
    ({"code": ".AAPL"}, "lacks its market"),
    ({"code": "HK."}, "lacks the code"),
    ({"code": "hk.00700"}, "did you mean HK.00700?"),
    ({"code": "US.aapl"}, "did you mean US.AAPL?"),
    ({"code": "HK.700"}, "did you mean HK.00700?"),
    ({"code": "SH.600519"}, "only HK and US"),
    ({"code": "JP.7203"}, "only HK and US"),
    ({"code": "US.A APL"}, "no security code"),
    ({"code": "US.\x00"}, "no security code"),
    ({"code": "US." + "A" * 99}, "no security code"),
    ({"code": None}, "code is None"),
    ({"code": 700}, "code is 700"),
    ({"code": b"HK.00700"}, "a text such as"),
    ({"code": "HK.00700", "num": 0}, "1 to 50"),
    ({"code": "HK.00700", "num": 51}, "follow next_key"),
    ({"code": "HK.00700", "num": -3}, "1 to 50"),
    ({"code": "HK.00700", "num": 10.0}, "an integer"),
    ({"code": "HK.00700", "num": "10"}, "an integer"),
    ({"code": "HK.00700", "num": True}, "an integer"),
    ({"code": "HK.00700", "next_key": "-1"}, "the last"),
    ({"code": "HK.00700", "next_key": 1772121600}, "the text"),
    ({"code": "HK.00700", "next_key": "1\n2"}, "as it came"),
    ({"code": "HK.00700", "next_key": "9" * 300}, "as it came"),
]


@pytest.mark.parametrize(("arguments", "told"), WRONG)
def test_a_wrong_argument_costs_no_request(
    face: ModuleType, opend: Simulator, client: Any, arguments: dict[str, Any], told: str
) -> None:
    with pytest.raises(face.InvalidArgument) as caught:
        client.get_page(**arguments)
    assert told in str(caught.value)
    assert isinstance(caught.value, ValueError)
    with face.OpenQuoteContext(opend.host, opend.port) as context:
        ret, text, nothing = context.get_short_interest(**arguments)
    assert (ret, nothing) == (face.RET_ERROR, None)
    assert told in text
    assert opend.requests == []
    assert opend.connections == 0


def test_every_right_page_size_is_taken(client: Any, opend: Simulator) -> None:
    for num in (1, 10, 50, np.int64(7)):
        assert len(client.get_page("HK.00700", num=num)) == num


def test_stock_code_is_another_name_for_code(face: ModuleType, opend: Simulator) -> None:
    with face.OpenQuoteContext(opend.host, opend.port) as context:
        ret, _, by_stock_code = context.get_short_interest(stock_code="HK.00700", num=3)
        assert ret == face.RET_OK
        assert by_stock_code.equals(context.get_short_interest("HK.00700", num=3)[2])
        ret, text, nothing = context.get_short_interest("HK.00700", stock_code="HK.00700")
        assert (ret, nothing) == (face.RET_ERROR, None)
        assert "pass one of them" in text


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"port": 0}, "1 to 65535"),
        ({"port": 65536}, "1 to 65535"),
        ({"port": "abc"}, "'abc'"),
        ({"port": 11111.0}, "1 to 65535"),
        ({"port": True}, "1 to 65535"),
        ({"host": ""}, "host"),
        ({"host": 127}, "host"),
        ({"timeout": 0}, "seconds"),
        ({"timeout": float("nan")}, "seconds"),
        ({"timeout": float("inf")}, "seconds"),
        ({"timeout": "5"}, "seconds"),
        ({"timeout": pd.NA}, "seconds"),
        ({"max_age": pd.NA}, "max_age is <NA>: it takes seconds"),
        ({"max_age": -1}, "seconds"),
    ],
)
def test_a_wrong_setting_is_refused_when_it_is_set(face: ModuleType, settings: dict[str, Any], told: str) -> None:
    with pytest.raises(face.InvalidArgument, match=told):
        face.Client(**settings)
    with pytest.raises(face.InvalidArgument, match=told):
        face.configure(**settings)


def test_numbers_of_numpy_are_numbers(face: ModuleType, opend: Simulator) -> None:
    settings = {"port": np.int64(opend.port), "timeout": np.float32(5), "max_age": np.int64(0)}
    with face.Client(opend.host, **settings) as client:
        for _ in range(2):
            assert client.get_page("HK.00700").source == "opend"


def test_a_path_from_a_folder_that_is_gone_is_refused(
    face: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(face.InvalidArgument, match=r"^cache is 'pages\.sqlite3': it takes a path"):
        face.Client(cache="pages.sqlite3")


def test_the_environment_goes_before_the_default_and_an_argument_before_both(
    face: ModuleType, opend: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPEND_HOST", opend.host)
    monkeypatch.setenv("OPEND_PORT", str(opend.port))
    with face.Client() as client:
        assert len(client.get_page("HK.00700")) == 10
    monkeypatch.setenv("OPEND_PORT", "1")
    with face.Client(port=opend.port) as client:
        assert len(client.get_page("HK.00700")) == 10
    monkeypatch.setenv("OPEND_PORT", "eleven")
    with pytest.raises(face.InvalidArgument, match="OPEND_PORT is 'eleven'"):
        face.Client()


def test_configure_moves_the_module_level_function_and_keeps_what_is_not_given(
    face: ModuleType, opend: Simulator
) -> None:
    face.configure(host=opend.host, port=opend.port)
    face.configure(timeout=3)
    with pytest.raises(face.InvalidArgument):
        face.configure(port=0)
    ret, us, hk = face.get_short_interest("HK.00700")
    assert (ret, len(us), len(hk)) == (face.RET_OK, 0, 10)
