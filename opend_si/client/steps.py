"""What has to be waited for.

The logic of pages and walks is written as generators that yield these steps and are sent the results, or thrown the
errors; so it exists once, for the blocking and the asyncio client that carry the steps out.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from math import ceil
from typing import Any, TypeAlias, TypeVar

from opend_si.errors import warn
from opend_si.pages import PageKey
from opend_si.settings import Wait, WaitCallback
from opend_si.wire.errors import AnotherAnswers
from opend_si.wire.log import log

_T = TypeVar("_T")
# Seconds up to which a wait needs no word.
_LONG = 3.0


@dataclass(frozen=True, slots=True)
class Account:
    """Connect if need be; the result is the account that OpenD is logged in with.

    It is None where a gateway of this package answers in OpenD's place: that keeps the budget and the record.
    """


@dataclass(frozen=True, slots=True)
class Exchange:
    """Send the request for a page; the result is the body of the reply, which has to come within so many seconds.

    Beside it stands the account that answered. It is begun before the monotonic clock shows `begin_by`, or not at all:
    then the result is `TooLate`. With `only`, it is sent to an account of those, else the result is `AnotherAnswers`:
    the link may be another than the one that was asked for its account.
    """

    key: PageKey
    seconds: float
    begin_by: float
    only: tuple[int | None, ...] | None = None

    def check(self, account: int | None) -> None:
        """Whether it may be sent to who has this account."""
        if self.only is not None and account not in self.only:
            raise AnotherAnswers


@dataclass(frozen=True, slots=True)
class Sleep:
    """Wait. `budget` is how long the rate budget will make us wait in all, None for another cause."""

    seconds: float
    budget: Wait | None = None


class Waits:
    """Says that the rate budget makes a call wait: in the log, and to the caller's function or by one warning."""

    def __init__(self, on_wait: WaitCallback | None) -> None:
        self._on_wait = on_wait
        self._left, self._has_warned = 0.0, False

    def say_of(self, step: Step, shown: WaitCallback | None) -> None:
        """Called before each step is carried out. `shown`: what shows waits already."""
        if isinstance(step, Sleep) and step.budget is not None:
            self._say(step.budget, shown)

    def _say(self, wait: Wait, shown: WaitCallback | None) -> None:
        is_long, self._left = wait > max(self._left, _LONG), wait
        told = f"waiting {ceil(wait)} s: {wait.why}"
        if is_long:
            log(told)
        for callback in (self._on_wait, shown):
            if callback is not None:
                callback(wait)
        if is_long and self._on_wait is None and shown is None and not self._has_warned:
            self._has_warned = True
            warn(
                f"{told}. This is said once; a function that is given as on_wait hears of each wait, and "
                "sync(…, progress=True) shows them."
            )


Step: TypeAlias = Account | Exchange | Sleep
Steps: TypeAlias = Generator[Step, Any, _T]
