"""The texts of a Chinese OpenD that refuses. Those that are not known from OpenD are marked as our own wording."""

from __future__ import annotations

from opend_si_schema.definitions import Call, Rate

UNKNOWN_STOCK = "未知股票"
ONLY_EQUITIES = "该接口仅支持正股"
UNKNOWN_PROTOCOL = "Unknown protocol id"
BAD_CURSOR = "nextKey参数错误"  # our own wording
BAD_PAGE_SIZE = "num参数错误"  # our own wording
BAD_CIPHER = "packetEncAlgo参数错误"  # our own wording


def rate_text(call: Call, rate: Rate) -> str:
    """How OpenD refuses what exceeds the limit."""
    return f"{call.refusal_name}频率太高，请求失败，每{rate.seconds:g}秒最多{rate.requests}次。"
