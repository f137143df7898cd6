"""Kinds of errors that only this package tells apart; callers see what they derive from."""

from opend_si.errors import ConnectionFailed, ProtocolError


class LinkCut(ConnectionFailed):
    """The link broke after a request was sent and before its reply came. Reading calls may be repeated."""


class BodyMismatch(ProtocolError):
    """A body does not come out as its SHA-1 says: it is damaged, or the two sides do not encrypt alike."""
