"""What has to be waited for.

The logic of pages and walks is written as generators that yield these steps and are sent the results, or thrown the
errors; so it exists once, for the blocking and the asyncio client that carry the steps out.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

from opend_si.pages import PageKey

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Account:
    """Connect if need be; the result is the account that OpenD is logged in with.

    It is None where a gateway of this package answers in OpenD's place: that keeps the budget and the record.
    """


@dataclass(frozen=True, slots=True)
class Exchange:
    """Send the request for a page; the result is the body of the reply, which has to come within so many seconds.

    It is begun before the monotonic clock shows `begin_by`, or not at all: then the result is `TooLate`.
    """

    key: PageKey
    seconds: float
    begin_by: float


@dataclass(frozen=True, slots=True)
class Sleep:
    """Wait. `budget` is how long the rate budget will make us wait in all, None for another cause."""

    seconds: float
    budget: float | None = None


Step: TypeAlias = Account | Exchange | Sleep
Steps: TypeAlias = Generator[Step, Any, _T]
