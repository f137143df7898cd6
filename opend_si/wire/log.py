"""One line a request in the standard `logging` tree, at DEBUG: silent unless a program asks for it, never a secret."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager


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


def _debug(serial: int, proto_id: int, what: str, begun: float, outcome: str) -> None:
    # Nothing is imported for it: a program that listens has imported logging.
    logging = sys.modules.get("logging")
    if logging is not None:
        milliseconds = (time.perf_counter() - begun) * 1000
        logging.getLogger("opend_si.wire").debug(
            "serial %d, protocol %d, %s: %s in %.1f ms", serial, proto_id, what, outcome, milliseconds
        )
