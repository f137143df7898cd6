"""What the connections, blocking or asyncio, have in common: how a link ends."""

from opend_si.errors import ConnectionFailed

# Seconds for the TCP connection alone: OpenD is on this machine or near it.
CONNECT_TIMEOUT = 3.0


class LinkCut(ConnectionFailed):
    """The link broke after a request was sent and before its reply came. Reading calls may be repeated."""
