"""Every exception that the package raises on purpose, in one tree:

    ShortInterestError
    ├── InvalidArgument (ValueError)   an argument or setting is wrong; no request was spent
    ├── MissingExtra (ImportError)     what was asked for needs a package that is not installed
    ├── ConnectionFailed               OpenD cannot be reached, or the link broke
    ├── RequestTimeout                 OpenD did not answer in time
    ├── ProtocolError                  what came over the wire is not what OpenD sends
    ├── OpenDError                     OpenD answered and refused
    │   ├── RateLimited                too many requests
    │   ├── UnknownSymbol              OpenD does not know the symbol
    │   ├── NotPermitted               the account has no right to these quotes
    │   └── Unsupported                this OpenD or this kind of security lacks the call
    └── CacheError                     the page cache or the rate budget cannot be used
        ├── CacheMiss                  offline, and the page is not recorded
        ├── CacheCorrupt               the file, or a page in it, is damaged
        ├── CacheVersionMismatch       the file is another program's, or of another release
        └── CacheBusy                  another process holds the file

and one warning, `ShortInterestWarning`: an answer came, but not as asked for.

Every text says what happened, to which symbol or address, and what to do. It is one line, whatever a server or a file
name put into it: control characters are written out, so that no terminal and no log obeys them.
"""

import sys
import warnings

from opend_si.errors.texts import one_line, quoted

_OURS = frozenset({"opend_si", "futu_si", "moomoo_si"})


class ShortInterestError(Exception):
    """Base of all exceptions of this package."""

    def __init__(self, text: object = "") -> None:
        super().__init__(one_line(str(text)))


class InvalidArgument(ShortInterestError, ValueError):
    """An argument or a setting is wrong. It was refused before a request was spent."""


class MissingExtra(ShortInterestError, ImportError):
    """What was asked for needs an extra of this package that is not installed; the text names it."""


class ConnectionFailed(ShortInterestError):
    """OpenD cannot be reached, or the link to it broke."""


class RequestTimeout(ShortInterestError):
    """OpenD was there but did not answer within the timeout."""


class ProtocolError(ShortInterestError):
    """The other side sent bytes that OpenD does not send."""


class OpenDError(ShortInterestError):
    """OpenD answered and refused.

    Attributes:
        ret_type: `Common.RetType` of the reply; -1 for a business refusal.
        err_code: OpenD's own error code, for logs.
        message: OpenD's text as it came, in the language that OpenD is set to. It may hold anything; the error's own
            text quotes it in a form that can be shown.

    """

    def __init__(self, ret_type: int, err_code: int, message: str, explanation: str | None = None) -> None:
        super().__init__(explanation or quoted(message))
        self.ret_type = ret_type
        self.err_code = err_code
        self.message = message

    def __reduce__(self) -> tuple[type["OpenDError"], tuple[int, int, str, str]]:
        return type(self), (self.ret_type, self.err_code, self.message, str(self))


class RateLimited(OpenDError):
    """More requests than OpenD takes within its window."""


class UnknownSymbol(OpenDError):
    """OpenD does not know the symbol."""


class NotPermitted(OpenDError):
    """The account has no right to these quotes."""


class Unsupported(OpenDError):
    """This OpenD does not know the call, or the call does not cover this kind of security."""


class CacheError(ShortInterestError):
    """The page cache or the rate budget cannot be used."""


class CacheMiss(CacheError):
    """Mode offline, and what was asked for is not recorded."""


class CacheCorrupt(CacheError):
    """The file, or a page in it, is damaged."""


class CacheVersionMismatch(CacheError):
    """The file is another program's or of another release; it was left as it is."""


class CacheBusy(CacheError):
    """Another process held the file for too long."""


class ShortInterestWarning(UserWarning):
    """An answer came, but not as asked for: from an expired page, or without being recorded."""


def warn(text: str) -> None:
    """Warn with `ShortInterestWarning`, pointing at the line of the user's program that asked."""
    frame, level = sys._getframe(), 1
    while frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] in _OURS:
        frame, level = frame.f_back, level + 1  # type: ignore[assignment]
    warnings.warn(one_line(text), ShortInterestWarning, stacklevel=level)
