"""What a reply's bytes say: its content, a refusal, or nothing that OpenD sends; and how a refusal is written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from google.protobuf.message import DecodeError

from opend_si.errors import NotPermitted, OpenDError, ProtocolError, RateLimited, UnknownSymbol, Unsupported
from opend_si.errors.texts import quoted
from opend_si_schema import common, keep_alive


def read_reply(response: Any, body: bytes, call: str, asked: str) -> Any:
    """The content (`s2c`) of a reply to `call`, a message of the class `response`. `asked`: what a refusal refused.

    Raises:
        OpenDError: the reply is a refusal.
        ProtocolError: the bytes are no reply to this call, or a success that says nothing.

    """
    try:
        reply = response.FromString(body)
    except (DecodeError, UnicodeDecodeError) as error:  # the second from pure Python protobuf
        raise ProtocolError(f"the reply to {call} cannot be read: {error}") from None
    if reply.retType != common.RetType.SUCCEED:
        raise refusal(asked, reply.retType, reply.errCode, read_text(reply, "retMsg"))
    if not reply.HasField("s2c"):
        raise ProtocolError(f"the reply to {call} says that it succeeded and has no content")
    return reply.s2c


def write_refusal(ret_type: int, text: str, err_code: int = 0) -> Any:
    """The reply that refuses a request of any call: every reply shares these three fields, so any class serves."""
    return keep_alive.Response(retType=ret_type, retMsg=text, errCode=err_code)


def read_text(message: Any, field: str) -> str:
    """A text field, whatever bytes were sent for it: protobuf's runtimes differ on what is no UTF-8."""
    try:
        value = getattr(message, field)
    except UnicodeDecodeError:
        return "\ufffd"
    return value if isinstance(value, str) else bytes(value).decode(errors="replace")


@dataclass(frozen=True)
class _Kind:
    """One kind of refusal: any of `marks` in the lower-cased text."""

    error: type[OpenDError]
    marks: tuple[str, ...]
    advice: str


# OpenD gives no codes that tell refusals apart, only texts in the language that it is set to. Each mark has its source:
#   [page]     the brokers' page of the call
#   [sample]   a text that OpenD sent, as users quoted it in public
#   [likely]   no text is known in this language: the words that say the same
# First match wins.
_KINDS = (
    _Kind(
        RateLimited,
        (
            "频率太高",  # [sample] …频率太高，请求失败，每30秒最多30次。
            "太频繁",  # [sample] 此协议请求太频繁，触发了频率限制，请稍后再试. 频繁 alone is in an SMS login error, too.
            "频率限制",  # [sample] the same
            "/30",  # [likely]
            "frequen",  # [likely] too frequent, frequency limit
            "too high",  # [likely]
            "too many",  # [likely] too many requests
            "rate limit",  # [likely]
        ),
        "OpenD's limit for this call is used up: wait for its window to pass. Other programs on the same account count too.",
    ),
    _Kind(
        Unsupported,
        ("unknown protocol", "未知协议"),  # [sample] Unknown protocol id, from an OpenD before 10.6; [likely]
        "This OpenD is too old for the call: update it.",
    ),
    _Kind(
        UnknownSymbol,
        (
            "未知股票",  # [sample]
            "unknown stock",  # [sample]
            "unknown security",  # [likely]
            "unknown symbol",  # [likely]
            "股票不存在",  # [likely]
            "代码不存在",  # [likely]
        ),
        "OpenD does not know this code. Look it up in the broker's app: HK codes have five digits (HK.00700), US codes are "
        "tickers (US.AAPL, US.BRK.B).",
    ),
    _Kind(
        NotPermitted,
        (
            "no right",  # [sample] No right to subscribe 00700
            "no quote right",  # [likely]
            "权限",  # [sample] 无权限, 没有行情权限, 权限不足
            "permission",  # [sample]
            "authority",  # [sample]
            "not authorized",  # [likely]
            "unauthorized",  # [likely]
        ),
        "The account lacks the quote right: see the quote rights in OpenD or in the broker's app.",
    ),
    _Kind(
        Unsupported,
        (
            "仅支持正股",  # [sample] 该接口仅支持正股
            "不支持",  # [sample]
            "not support",  # [likely]
            "unsupported",  # [likely]
        ),
        "The call covers equities and funds of HK and US, not options, warrants, futures or indices.",
    ),
    _Kind(
        OpenDError,
        ("nextkey",),  # [sample] nextKey参数错误
        "A cursor is the `next` of the page before, as it came.",
    ),
    _Kind(
        OpenDError,
        # [sample] all four
        ("nn_protoret_timeout", "nn_protoret_svrfailed", "nn_protoret_bydisconn", "网络中断"),
        "OpenD's back end did not answer: try again in a moment. If it persists, a missing quote right can be the cause.",
    ),
)
_OTHER = _Kind(OpenDError, (), "OpenD's log has more.")


def refusal(what: str, ret_type: int, err_code: int, message: str) -> OpenDError:
    """The error for a reply whose retType is not 0. `what` was asked for: `short interest of HK.00700`."""
    text = message.lower()
    kind = next((kind for kind in _KINDS if any(mark in text for mark in kind.marks)), _OTHER)
    said = quoted(message) if message.strip() else f"no text, retType {ret_type}"
    return kind.error(ret_type, err_code, message, f"OpenD refused {what}: {said} — {kind.advice}")
