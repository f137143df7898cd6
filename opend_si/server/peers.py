"""Who is at the other end of a link: a program of this machine or of another, and whether it is still there."""

from __future__ import annotations

import socket
from ipaddress import ip_address

# Seconds of silence after which the system looks after a peer, and between two looks; how often it looks.
_KEEP_ALIVE = {"TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 15, "TCP_KEEPCNT": 4}


def is_loopback(host: str) -> bool:
    """Whether an address is one that only this machine reaches, or comes from."""
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return host.lower() == "localhost"
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


def watch_for_death(link: socket.socket | None) -> None:
    """A client whose machine is gone says nothing more: have the system look after it."""
    if link is None:
        return
    link.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEP_ALIVE.items():
        if hasattr(socket, name):
            link.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
