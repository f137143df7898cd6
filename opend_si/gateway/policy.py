"""Which protocols of a client are taken out of its stream, and what is said to those that nothing answers. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Container
from typing import Final

from opend_si.pages.named import BY_PROTOCOL
from opend_si.wire.session import GATEWAY_STATUS, INIT_CONNECT

# Accounts, orders, unlocking: all that OpenD does with money.
TRADE: Final = range(2000, 3000)
_ALWAYS: Final = frozenset({INIT_CONNECT, GATEWAY_STATUS, *BY_PROTOCOL})

NO_TRADE: Final = (
    "Trade protocols are not passed by this gateway: connect to OpenD itself, or start it with --pass-trade"
)
NO_PLAIN_TRADE: Final = (
    "Trade protocols are passed from other machines only where the link is encrypted with OpenD's RSA key"
)
NO_STATUS: Final = "The gateway's status is given on its own machine alone"
AWAY: Final = "OpenD is away: this gateway answers from its record alone"


class _Everything:
    def __contains__(self, proto_id: object) -> bool:
        return True


EVERYTHING: Final[Container[int]] = _Everything()


def trade_refusal(pass_trade: bool, is_local: bool, is_plain: bool) -> str:
    """Why a client's trade protocols are refused; empty where they pass."""
    if not pass_trade:
        return NO_TRADE
    return NO_PLAIN_TRADE if is_plain and not is_local else ""


def websocket_refusal(pass_trade: bool) -> Callable[[int, bool], str]:
    """Why a request of a WebSocket client is refused, given its protocol and whether the client is trusted; else empty.

    The port's own links come from this machine, so it is asked there: what it passes would be taken for this machine's.
    """

    def refuse(proto_id: int, is_trusted: bool) -> str:
        if proto_id == GATEWAY_STATUS and not is_trusted:
            return NO_STATUS
        return trade_refusal(pass_trade, is_trusted, True) if proto_id in TRADE else ""

    return refuse


def taken(passes_trade: bool) -> Container[int]:
    """The protocols that are taken out of what a client sends to an OpenD that is there."""
    return _ALWAYS if passes_trade else _ALWAYS | frozenset(TRADE)
