"""The store with its failure policy.

Offline (`raises`), whatever is wrong with the file is the caller's error. Online the file is a convenience: what cannot
be read is fetched, what cannot be written is not kept, a damaged file is set aside, and a warning says so, once a
cause. A file that is another program's or a newer release's is refused in every mode: nothing of it was lost, and only
the user can say what to do.

A file that others hold costs one wait. For a while after that it is left aside where it is not free at once: a history
of many pages would wait anew at each step otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from opend_si.cache.store import Judge, Kept, Look, Store
from opend_si.cache.versions import Clock, PastVersion, Seal, Version, Versions
from opend_si.errors import CacheBusy, CacheCorrupt, CacheError, CacheMiss, CacheVersionMismatch, warn

_T = TypeVar("_T")
# Seconds for which a file that others hold is not waited for again: a wait of 5 s in each half minute at most.
_HURRY_SECONDS = 30.0


class GuardedStore:
    """What the client sees of the store."""

    def __init__(self, store: Store, *, raises: bool) -> None:
        self._store = store
        self._raises = raises
        self._told: set[type[CacheError]] = set()

    def record(self, identity: tuple[int, str, str, int], expected: Seal | None, judge: Judge) -> Kept | None:
        """Record a reply, as the judge says; None if it cannot be kept."""
        return self._guarded(lambda: self._store.record(identity, expected, judge), None)

    def symbol(self, protocol: int, symbol: str) -> Versions:
        """What is recorded of a symbol."""
        return self._guarded(lambda: self._store.symbol(protocol, symbol), Versions())

    def symbol_and_past(self, protocol: int, symbol: str) -> tuple[Versions, tuple[PastVersion, ...], Clock]:
        """The same, what the present does not need, and how the clock ran."""
        nothing: tuple[Versions, tuple[PastVersion, ...], Clock] = (Versions(), (), Clock())
        return self._guarded(lambda: self._store.symbol_and_past(protocol, symbol), nothing)

    def seal(self, protocol: int, symbol: str) -> Seal | None:
        """Changes whenever something of a symbol does; None where that cannot be told."""
        return self._guarded(lambda: self._store.seal(protocol, symbol), None)

    def summary(self, protocol: int, symbol: str) -> str:
        """What is noted of a symbol; nothing where its pages have to be read."""
        return self._guarded(lambda: self._store.summary(protocol, symbol), "")

    def glance(self, identity: tuple[int, str, str, int]) -> tuple[Seal, Version] | None:
        """The newest version of a page and its symbol's seal; None where its pages have to be read."""
        return self._guarded(lambda: self._store.glance(identity), None)

    def look(self, owner: tuple[int, str] | None, known: Hashable) -> Look:
        """The file's stamp; how the clock ran, and a symbol's seal, where the stamp is not the one that is known."""
        return self._guarded(lambda: self._store.look(owner, known), Look(None, Clock()))

    def stamp(self) -> Hashable:
        """Changes whenever the file does; None where that cannot be told."""
        return self._guarded(self._store.stamp, None)

    def need_writable(self) -> None:
        """`CacheError` where nothing that is fetched could be kept."""
        try:
            self._store.database.touch()
        except CacheCorrupt as error:
            self._set_aside(error)
            self._store.database.touch()

    @property
    def path(self) -> Path:
        return self._store.path

    def miss(self, identity: tuple[int, str, str, int], what: str) -> CacheMiss:
        return self._store.miss(identity, what)

    def close(self) -> None:
        self._store.close()

    def _guarded(self, use: Callable[[], _T], otherwise: _T) -> _T:
        try:
            return use()
        except CacheVersionMismatch:
            raise
        except CacheError as error:
            if self._raises:
                raise
            if isinstance(error, CacheCorrupt):
                self._set_aside(error)
            else:
                if isinstance(error, CacheBusy):
                    self._store.database.hurry(_HURRY_SECONDS)
                self._tell(error, f"{error} Until it can be used, pages are fetched and not kept.")
            return otherwise

    def _set_aside(self, error: CacheCorrupt) -> None:
        path = self._store.path
        aside = path.with_name(f"{path.name}.corrupt-{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}")
        try:
            moved = self._store.database.set_aside(aside)
        except OSError as failure:
            self._tell(
                error, f"{error} It could not be moved aside ({failure.strerror}); pages are fetched and not kept."
            )
            return
        if moved:
            warn(f"{error} It was moved to {aside}; a new one is begun.")

    def _tell(self, error: CacheError, text: str) -> None:
        if type(error) not in self._told:
            self._told.add(type(error))
            warn(text)
