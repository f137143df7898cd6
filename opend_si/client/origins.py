"""Who is asked, an OpenD or a simulator: made-up rows never answer for OpenD, nor are they joined with its rows."""

from __future__ import annotations

from opend_si.cache.versions import GATEWAY, SIMULATOR
from opend_si.client.fetcher import Fetcher
from opend_si.client.steps import Steps
from opend_si.errors import ConnectionFailed, RequestTimeout, warn
from opend_si.history.record import Record
from opend_si.history.symbol import SymbolRecord
from opend_si.pages import PageKey
from opend_si.settings import Mode, Settings


class OtherServer(Exception):
    """Another answers than the one whose rows a walk stands on: a simulator in OpenD's place, or OpenD in its."""


def may_join(origin: str | None, other: str | None) -> bool:
    """Whether rows of two origins may stand in one history: a gateway's own record may stand before its replies."""
    return origin == other or None in (origin, other) or SIMULATOR not in (origin, other)


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
        return record.symbol(key).of(None if self._settings.mode is Mode.OFFLINE else self.origin)

    def meet(self, key: PageKey, held: str | None, *, is_needed: bool = False) -> Steps[None]:
        """Learn who is asked, where what is `held` of a symbol depends on it.

        Nothing of OpenD's waits for this: where its rows are recorded, they answer without a connection.
        """
        if held is None or self._settings.mode is Mode.OFFLINE:
            return
        if held != SIMULATOR and self.origin in (None, held) and not is_needed:
            return
        try:
            origin = yield from self._fetcher.origin()
        except (ConnectionFailed, RequestTimeout):
            if held == SIMULATOR and self.origin is None:
                self._warn(
                    f"{key} is recorded from a simulator, and nobody answers at {self._settings.address}: its rows are made up."
                )
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
