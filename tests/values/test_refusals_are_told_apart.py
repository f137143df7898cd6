"""OpenD's refusals, in each wording that is known, become the error that fits.

A text that nobody knows is shown as it is.
"""

from collections.abc import Callable
from types import ModuleType

import pytest

from opend_si.pages.replies import refusal
from opend_si.simulator import Simulator, faults

WORDINGS = [
    # As OpenD sent them, from public reports and the brokers' pages.
    ("获取卖空数据频率太高，请求失败，每30秒最多30次。", "RateLimited"),
    ("此协议请求太频繁，触发了频率限制，请稍后再试", "RateLimited"),
    ("No right to subscribe 00700", "NotPermitted"),
    ("无权限获取US.AAPL的行情，请检查美股市场股票行情权限", "NotPermitted"),
    ("未知股票 HK.99999", "UnknownSymbol"),
    ("Unknown stock HK.99999", "UnknownSymbol"),
    ("该接口仅支持正股", "Unsupported"),
    ("Unknown protocol id", "Unsupported"),
    ("nextKey参数错误", "OpenDError"),
    ("NN_ProtoRet_TimeOut", "OpenDError"),
    ("网络中断", "OpenDError"),
    # 频繁 alone is no mark of the limit.
    ("短信验证码操作频繁", "OpenDError"),
    # Nobody has seen these.
    ("天气不好", "OpenDError"),
    ("The moon is full", "OpenDError"),
]


@pytest.mark.parametrize(("text", "kind"), WORDINGS)
@pytest.mark.parametrize("change", [str, str.upper, str.lower])
def test_each_wording_is_its_kind_and_is_quoted(
    face: ModuleType, text: str, kind: str, change: Callable[[str], str]
) -> None:
    error = refusal("short interest of HK.00700", -1, 3, change(text))
    assert type(error) is getattr(face, kind)
    assert change(text) in str(error)
    assert "short interest of HK.00700" in str(error)
    assert (error.message, error.ret_type, error.err_code) == (change(text), -1, 3)


@pytest.mark.parametrize("text", ["", " ", "\n"])
def test_a_refusal_without_a_text_says_so(text: str) -> None:
    assert "no text, retType -400" in str(refusal("short interest of HK.00700", -400, 0, text))


def test_the_other_wording_of_the_limit_is_waited_for_and_asked_once_more(
    face: ModuleType, start: Callable[..., Simulator], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPEND_SI_RATE", "30/1")
    opend = start()
    opend.faults.append(faults.refuse("此协议请求太频繁，触发了频率限制，请稍后再试"))
    with face.Client(opend.host, opend.port, mode="bypass") as client:
        assert len(client.get_page("US.TSLA")) == 10
    assert len(opend.requests) == 2
