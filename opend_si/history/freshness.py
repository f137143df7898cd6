"""What a mode makes of what is recorded: which of it is fresh enough for a question. No file, no socket.

Whether something was said after the question was asked is told by the record's sequence and by the monotonic clock. How old
something is is told by clocks, and judged when the question is asked: what a wrong clock dated is of no age that is known,
and not fresh.
"""

from __future__ import annotations

from dataclasses import dataclass

from opend_si.cache.versions import Clock
from opend_si.history.record import Asked
from opend_si.history.statements import Statement
from opend_si.settings import Mode


@dataclass(frozen=True, slots=True)
class Freshness:
    """Whether a statement may answer a question in a mode. `max_age` is in seconds; None: pages do not expire."""

    mode: Mode
    asked: Asked
    max_age: float | None
    clock: Clock

    def __call__(self, said: Statement) -> bool:
        if self.mode is Mode.OFFLINE or self.was_said_after(said):
            return True
        if self.mode is not Mode.ONLINE:
            return False
        if self.max_age is None:
            return True
        age = age_of(said, self.asked, self.clock)
        return age is not None and age < self.max_age * 1000

    def was_said_after(self, said: Statement) -> bool:
        """Whether OpenD said it after the question was asked: its request was sent, and its reply recorded after that."""
        return said.checked_seq > self.asked.seq and said.sent >= self.asked.mono


def age_of(said: Statement, asked: Asked, clock: Clock) -> float | None:
    """How old a statement was when a question was asked, in milliseconds; None where clocks do not tell.

    The monotonic clock is a second witness. It began anew with the machine, so it never shows more than the age. Of what
    was recorded after the question was asked it is the only one: it knows when the request was sent. What another machine
    recorded has the clock alone.
    """
    since_sent = (asked.mono - said.sent) / 1_000_000 if said.sent else 0.0
    if said.checked_seq > asked.seq and said.sent:
        return max(since_sent, 0.0)
    if clock.was_ahead((said.checked_seq, said.checked_at), asked.at):
        return None
    return max(asked.at - said.checked_at, since_sent)
