"""One line a request in the standard `logging` tree, at DEBUG: silent unless a program asks for it, never a secret."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import logging

_DEBUG, _INFO = 10, 20  # logging.DEBUG, logging.INFO
_made: logging.Logger | None = None


@contextmanager
def logged(serial: int, proto_id: int, what: str) -> Iterator[None]:
    """Log a request to `opend_si.wire` when its reply has come, or has not."""
    begun = time.perf_counter()
    try:
        yield
    except BaseException as error:
        _debug(serial, proto_id, what, begun, type(error).__name__)
        raise
    _debug(serial, proto_id, what, begun, "ok")


def log(text: str) -> None:
    """Log a line at INFO."""
    if (logger := _heard(_INFO)) is not None:
        logger.info("%s", text)


def _debug(serial: int, proto_id: int, what: str, begun: float, outcome: str) -> None:
    if (logger := _heard(_DEBUG)) is None:
        return
    milliseconds = (time.perf_counter() - begun) * 1000
    logger.debug("serial %d, protocol %d, %s: %s in %.1f ms", serial, proto_id, what, outcome, milliseconds)


def _heard(level: int) -> logging.Logger | None:
    """The logger, if somebody hears what it says at a level."""
    logger = _logger()
    # Asked of the logger without a lock: `isEnabledFor` and `getLogger` take logging's own in a way that an interrupt
    # can split, and then every thread that logs hangs (tests.stress.signals finds it).
    is_heard = logger is not None and logger.getEffectiveLevel() <= level and logger.manager.disable < level
    return logger if is_heard else None


def _logger() -> logging.Logger | None:
    """The logger, made once. Nothing is imported for it: a program that listens has imported logging."""
    global _made
    if _made is None and (module := sys.modules.get("logging")) is not None:
        _made = module.getLogger("opend_si.wire")
    return _made
