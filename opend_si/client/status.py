"""Where a client stands: what it would ask, what it has recorded, and what the rate budget has left."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from opend_si.errors import ShortInterestError


@dataclass(frozen=True)
class Status:
    """Where a client stands.

    Attributes:
        address: `host:port` of the OpenD that it asks.
        mode: How the page cache is used.
        cache: The page cache's file; None in mode bypass.
        symbols: Of how many symbols something is recorded.
        is_connected: Whether OpenD answers. Offline it is not asked.
        requests_left: How many requests the rate budget of this machine has left now; None where that is not known
            (offline, or OpenD does not answer) or not limited.
        wait: Seconds until the next request may be sent, 0.0 while there are some left; None as `requests_left`.
        error: Why OpenD could not be asked; None if it could, and offline.

    """

    address: str
    mode: str
    cache: Path | None
    symbols: int
    is_connected: bool = False
    requests_left: int | None = None
    wait: float | None = None
    error: ShortInterestError | None = None
