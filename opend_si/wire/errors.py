"""Kinds of errors that only this package tells apart; callers see what they derive from."""

from opend_si.errors import ConnectionFailed, ProtocolError, RequestTimeout


class LinkCut(ConnectionFailed):
    """The link broke after a request was sent and before its reply came. Reading calls may be repeated."""


class NotSent(RequestTimeout):
    """The time for a request was over before it could be sent."""


class TooLate(Exception):
    """A request was not sent, because the moment by which it had to be had passed. It never reaches a caller."""


class BodyMismatch(ProtocolError):
    """A body does not come out as its SHA-1 says: it is damaged, or the two sides do not encrypt alike."""
