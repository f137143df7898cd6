"""What OpenD says of itself when it is asked: the time, and whether it is logged in."""

from __future__ import annotations

import time
from typing import Any

from opend_si_schema import common, get_global_state, keep_alive


def keep_alive_reply() -> Any:
    """The reply to KeepAlive."""
    reply = keep_alive.Response(retType=common.RetType.SUCCEED, retMsg="", errCode=0)
    reply.s2c.time = int(time.time())
    return reply


def state_reply(version: int, is_logged_in: bool) -> Any:
    """The reply to GetGlobalState of an OpenD that knows of no market being open."""
    reply = get_global_state.Response(retType=common.RetType.SUCCEED, retMsg="", errCode=0)
    s2c = reply.s2c
    s2c.marketHK = s2c.marketUS = s2c.marketSH = s2c.marketSZ = s2c.marketHKFuture = 0
    s2c.qotLogined = s2c.trdLogined = is_logged_in
    s2c.serverVer, s2c.serverBuildNo = version, 0
    s2c.time = int(time.time())
    kinds = common.ProgramStatusType
    s2c.programStatus.type = kinds.READY if is_logged_in else kinds.LOGIN_FAILED
    return reply
