"""Which of a name's addresses is tried first, and how long a wait may be that nothing interrupts."""

import socket
from collections.abc import Iterable
from typing import Any

# Seconds. Windows reports Ctrl-C between two waits of a socket, not within one.
LONGEST_WAIT = 0.5


def ordered(found: Iterable[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """What `getaddrinfo` found, IPv4 first: OpenD listens there, and Windows takes two seconds to refuse ::1."""
    return sorted(found, key=lambda entry: entry[0] != socket.AF_INET)
