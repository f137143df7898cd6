"""Exit codes: what a script can tell from the console's end."""

from __future__ import annotations

from opend_si.errors import (
    CacheError,
    ConnectionFailed,
    InvalidArgument,
    OpenDError,
    ProtocolError,
    RateLimited,
    RequestTimeout,
    ShortInterestError,
)

OK = 0
UNFINISHED = 1
USAGE = 2
CACHE = 3
UNREACHABLE = 4
RATE_LIMITED = 5
REFUSED = 6
PROTOCOL = 7
INCOMPLETE = 8
INTERRUPTED = 130

MEANINGS = {
    OK: "done",
    UNFINISHED: "could not finish (an extra is not installed, the port is taken, a file cannot be written)",
    USAGE: "wrong usage or argument",
    CACHE: "offline and not recorded, or the page cache or rate budget cannot be used",
    UNREACHABLE: "OpenD cannot be reached or does not answer",
    RATE_LIMITED: "OpenD's limit is used up",
    REFUSED: "OpenD refused for another reason",
    PROTOCOL: "what answered does not speak OpenD's protocol",
    INCOMPLETE: "some symbols of a sync could not be brought up to date, or rows differ (verify, check)",
    INTERRUPTED: "interrupted",
}

# First match wins.
_BY_ERROR: tuple[tuple[type[ShortInterestError], int], ...] = (
    (InvalidArgument, USAGE),
    (ConnectionFailed, UNREACHABLE),
    (RequestTimeout, UNREACHABLE),
    (RateLimited, RATE_LIMITED),
    (OpenDError, REFUSED),
    (ProtocolError, PROTOCOL),
    (CacheError, CACHE),
)


def exit_code(error: ShortInterestError) -> int:
    """The exit code that stands for an error."""
    return next((code for kind, code in _BY_ERROR if isinstance(error, kind)), UNFINISHED)
