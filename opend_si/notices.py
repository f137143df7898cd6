"""Warnings that point to the line of the user's program that asked, however deep in this package they come up."""

from __future__ import annotations

import inspect
import warnings

from opend_si.errors import ShortInterestWarning

_OURS = frozenset({"opend_si", "futu_si", "moomoo_si"})


def tell(text: str) -> None:
    """Warn, with `ShortInterestWarning`."""
    frame, level = inspect.currentframe(), 1
    while frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] in _OURS:
        frame, level = frame.f_back, level + 1
    warnings.warn(text, ShortInterestWarning, stacklevel=level)
