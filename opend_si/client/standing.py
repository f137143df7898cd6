"""What of the record may answer a question: what is fresh enough for its mode, and what is of who is asked.

Whether something was said after the question was asked is told by the record's sequence and by the monotonic clock.
How old something is is told by clocks, and judged when the question is asked: what a wrong clock dated is of no age
that is known, and not fresh.

Made-up rows never answer for OpenD, nor are they joined with its rows.
"""

from __future__ import annotations

from dataclasses import dataclass

from opend_si.cache.versions import Clock
from opend_si.client.fetcher import Fetcher
from opend_si.client.steps import Steps
from opend_si.dates import day_of, may_have_news, moment
from opend_si.errors import ConnectionFailed, RequestTimeout, warn
from opend_si.history.record import Asked, Record
from opend_si.history.statements import Statement
from opend_si.history.symbol import SymbolRecord
from opend_si.pages import GATEWAY, SIMULATOR, PageKey, answers_for
from opend_si.settings import Mode, Settings


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
        """Whether OpenD said it after the question was asked.

        Its request was sent after that, and its reply recorded.
        """
        return said.checked_seq > self.asked.seq and said.sent >= self.asked.mono


def age_of(said: Statement, asked: Asked, clock: Clock) -> float | None:
    """How old a statement was when a question was asked, in milliseconds; None where clocks do not tell.

    The monotonic clock is a second witness. It began anew with the machine, so it never shows more than the age. Of
    what was recorded after the question was asked it is the only one: it knows when the request was sent. What another
    machine recorded has the clock alone.
    """
    since_sent = (asked.mono - said.sent) / 1_000_000 if said.sent else 0.0
    if said.checked_seq > asked.seq and said.sent:
        return max(since_sent, 0.0)
    if clock.was_ahead((said.checked_seq, said.checked_at), asked.at):
        return None
    return max(asked.at - said.checked_at, since_sent)


def has_no_news(head: Statement, key: PageKey, asked: Asked) -> bool:
    """Whether, by the market's rule, nothing can have been published since a newest page was last checked."""
    if age_of(head, asked, asked.clock) is None:
        return False
    newest = day_of(head.rows[0].at, key.table.market) if head.rows else None
    return not may_have_news(key.table, newest, moment(head.checked_at), moment(asked.at))


class OtherServer(Exception):
    """Another answers than the one whose rows a walk stands on: a simulator in OpenD's place, or OpenD in its."""


def may_join(origin: str | None, other: str | None) -> bool:
    """Whether rows of two origins may stand in one history: a gateway's own record may stand before its replies."""
    return answers_for(origin, other) or answers_for(other, origin)


class Peer:
    """What is known of who answers at the address.

    Attributes:
        origin: Who answered last; None: not known yet.

    """

    def __init__(self, settings: Settings, fetcher: Fetcher) -> None:
        self._settings, self._fetcher = settings, fetcher
        self._has_warned = False
        self.origin: str | None = None

    def standing(self, key: PageKey, record: Record) -> SymbolRecord:
        """What is recorded of a symbol, as far as it answers for who is asked."""
        return self.seen(record.symbol(key))

    def seen(self, held: SymbolRecord) -> SymbolRecord:
        """What is held of a symbol, as far as it answers for who is asked."""
        return held.of(self.origin)

    def takes(self, origin: str) -> bool:
        """Whether what is of an origin answers for who is asked; offline that is nobody."""
        return answers_for(origin, self.origin)

    def meet(self, key: PageKey, held: str | None, *, is_needed: bool = False) -> Steps[None]:
        """Learn who is asked, where what is `held` of a symbol depends on it.

        Nothing of OpenD's waits for this: where its rows are recorded, they answer without a connection. Made-up rows
        answer where a simulator is known to be asked.
        """
        if held is None or self._settings.mode is Mode.OFFLINE:
            return
        if held != SIMULATOR and self.origin in (None, held) and not is_needed:
            return
        try:
            origin = yield from self._fetcher.origin()
        except (ConnectionFailed, RequestTimeout) as error:
            if held == SIMULATOR and self.origin is None:  # it may be an OpenD that is gone
                raise type(error)(
                    f"{error} What is recorded of {key} was made up by a simulator, and does not answer for an OpenD; mode "
                    "offline reads it."
                ) from error
        else:
            self.note(key, held, origin)

    def note(self, key: PageKey, held: str | None, origin: str) -> None:
        """Note who answers; one warning where that is another than sent what is held."""
        self.origin = origin
        if held in (None, origin) or origin == GATEWAY:
            return
        here, there = ("a simulator", "an OpenD") if held == SIMULATOR else ("an OpenD", "a simulator")
        self._warn(
            f"{key} is recorded from {here}, and {self._settings.address} is {there}. What is recorded does not answer for it, "
            "and is replaced by what it sends. `cache list` names where each symbol is from."
        )

    def ask(self, key: PageKey, record: Record) -> Steps[None]:
        """Note who answers, before something is asked for."""
        self.note(key, record.symbol(key).origin, (yield from self._fetcher.origin()))

    def _warn(self, text: str) -> None:
        if not self._has_warned:
            self._has_warned = True
            warn(text)
