"""What a reply's bytes say: its content, a refusal, or nothing that OpenD sends."""

from __future__ import annotations

from typing import Any

from google.protobuf.message import DecodeError

from opend_si.errors import ProtocolError
from opend_si.refusals import refusal
from opend_si_schema import common


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


def read_text(message: Any, field: str) -> str:
    """A text field, whatever bytes were sent for it: protobuf's runtimes differ on what is no UTF-8."""
    try:
        value = getattr(message, field)
    except UnicodeDecodeError:
        return "\ufffd"
    return value if isinstance(value, str) else bytes(value).decode(errors="replace")
