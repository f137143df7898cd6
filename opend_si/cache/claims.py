"""Which pages are being fetched now: leases in a file of their own beside the page cache.

It is a convenience: where it cannot be used, everybody may fetch, and a page may be fetched twice.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from opend_si.errors import CacheError
from opend_si.system.clocks import monotonic
from opend_si.system.home import PAGES_FILE
from opend_si.system.leases import NAME_BYTES, Board, Lease, Leases
from opend_si.system.ours import OurFile


def _beside(pages: Path) -> Path:
    """Where the list of a page cache is."""
    return pages.with_name(f"{pages.name if pages.suffix == _SUFFIX else pages.stem}{_SUFFIX}")


_SUFFIX = ".claims"
FILE = OurFile(
    "list of pages being fetched", _beside(Path(PAGES_FILE)).name, named_by=("OPEND_SI_CACHE", "OPEND_SI_HOME")
)
_MARK = b"OPSC"
_T = TypeVar("_T")

# Seconds for which a list that cannot be used is left alone: a wait for it costs up to five, and brings little.
_LEFT_ALONE = 60.0


class Claims:
    """The list beside one page cache."""

    def __init__(self, pages: Path) -> None:
        # Nothing in a damaged one is worth keeping.
        self._leases = Leases(_beside(pages), FILE, _MARK, lambda _: True)
        self._pages = pages.name  # two may share a list: it is called by the name without its ending
        self._unusable_until = 0.0

    @property
    def path(self) -> Path:
        return self._leases.path

    def take(self, identity: tuple[int, str, str, int], owner: bytes, seconds: float, *, anew: bool = True) -> bool:
        """Take or renew the right to fetch a page, for `seconds` from now. False: another has it.

        Not `anew`: it can only be renewed. False where it lapsed, for then another may have had it, and be done.
        """

        def take(board: Board) -> bool:
            key, own = self._key(identity), None
            for place, lease in board.of(key).items():
                if lease.holder != owner:
                    return False
                own = place
            if own is None and not anew:
                return False
            board.put(key, owner, seconds, own)
            return True

        return self._use(take, otherwise=True)

    def release(self, identity: tuple[int, str, str, int], owner: bytes) -> None:
        """Give the right back."""

        def release(board: Board) -> bool:
            for place, lease in board.of(self._key(identity)).items():
                if lease.holder == owner:
                    board.end(place)
            return True

        self._use(release, otherwise=True)

    def held(self, identity: tuple[int, str, str, int]) -> Lease | None:
        """The right to fetch a page as somebody has it now. A renewed one differs."""
        return self._use(lambda board: next(iter(board.of(self._key(identity)).values()), None), otherwise=None)

    def end(self, identity: tuple[int, str, str, int], held: Lease) -> None:
        """End somebody's right, if it is still as it was: who renewed it or took it anew keeps it."""

        def end(board: Board) -> bool:
            for place, lease in board.of(self._key(identity)).items():
                if lease == held:
                    board.end(place)
            return True

        self._use(end, otherwise=True)

    def _use(self, use: Callable[[Board], _T], otherwise: _T) -> _T:
        """What comes of the use of the list; `otherwise` where it cannot be used."""
        if monotonic() < self._unusable_until:
            return otherwise
        try:
            return self._leases.use(use)
        except CacheError:  # the page cache beside it cannot be used either, and says so; or it is another program's
            self._unusable_until = monotonic() + _LEFT_ALONE
            return otherwise

    def _key(self, identity: tuple[int, str, str, int]) -> bytes:
        named = repr((self._pages, *identity)).encode(errors="surrogatepass")
        return hashlib.blake2b(named, digest_size=NAME_BYTES).digest()
