"""Which pages are being fetched now: a list in a file of its own beside the page cache.

Nobody needs it after a power cut, so nothing of it waits for the disk; and it is a convenience: where it cannot be
used, everybody may fetch, and a page may be fetched twice. Times are those of the monotonic clock, which all
processes of a system share.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from opend_si.cache.database import Database, Layout
from opend_si.errors import CacheCorrupt, CacheError
from opend_si.system.home import PAGES_FILE


def _beside(pages: Path) -> Path:
    """Where the list of a page cache is."""
    return pages.with_name(f"{pages.stem}.claims{pages.suffix}")


# "OPSC": marks the file as ours.
LAYOUT = Layout(
    "list of pages being fetched",
    _beside(Path(PAGES_FILE)).name,
    0x4F505343,
    (
        """
        CREATE TABLE claim (
          protocol  INTEGER NOT NULL,
          symbol    TEXT    NOT NULL,
          next_key  TEXT    NOT NULL,
          num       INTEGER NOT NULL,
          owner     TEXT    NOT NULL,
          taken_at  REAL    NOT NULL,
          seconds   REAL    NOT NULL,
          PRIMARY KEY (protocol, symbol, next_key, num)
        ) STRICT, WITHOUT ROWID
        """,
    ),
    named_by=("OPEND_SI_CACHE", "OPEND_SI_HOME"),
    synchronous="OFF",
)

_SELECT = "SELECT owner, taken_at, seconds FROM claim WHERE protocol = ? AND symbol = ? AND next_key = ? AND num = ?"
_TAKE = """
    INSERT OR REPLACE INTO claim (protocol, symbol, next_key, num, owner, taken_at, seconds)
    VALUES (?, ?, ?, ?, ?, ?, ?)
"""
_RELEASE = "DELETE FROM claim WHERE protocol = ? AND symbol = ? AND next_key = ? AND num = ? AND owner = ?"

# Seconds for which a list that cannot be used is left alone: a wait for it costs up to five, and brings little.
_LEFT_ALONE = 60.0


class Claims:
    """The list beside one page cache. `longest` is for how many seconds a page may be held at most."""

    def __init__(self, pages: Path, longest: float) -> None:
        self.path = _beside(pages)
        self._database = Database(self.path, LAYOUT)
        self._longest, self._unusable_until = longest, 0.0

    def take(self, identity: tuple[int, str, str, int], owner: str, seconds: float) -> bool:
        """Take or renew the right to fetch a page, for `seconds` from now. False: another has it."""
        return self._use(lambda: self._take(identity, owner, seconds), otherwise=True)

    def release(self, identity: tuple[int, str, str, int], owner: str) -> None:
        """Give the right back."""
        self._use(lambda: self._release(identity, owner), otherwise=True)

    def close(self) -> None:
        self._database.close()

    def _take(self, identity: tuple[int, str, str, int], owner: str, seconds: float) -> bool:

        def take(connection: sqlite3.Connection) -> bool:
            now = time.monotonic()  # read under the lock: waiting for it may have taken long
            held = connection.execute(_SELECT, identity).fetchone()
            # A clock that stands before taken_at was restarted with the machine; nobody may hold a page for so long.
            if held is not None and held[0] != owner and 0 <= now - held[1] < held[2] <= self._longest:
                return False
            connection.execute(_TAKE, (*identity, owner, now, seconds))
            return True

        return self._database.write(take)

    def _release(self, identity: tuple[int, str, str, int], owner: str) -> bool:
        self._database.write(lambda connection: connection.execute(_RELEASE, (*identity, owner)))
        return True

    def _use(self, use: Callable[[], bool], *, otherwise: bool) -> bool:
        if time.monotonic() < self._unusable_until:
            return otherwise
        try:
            return use()
        except CacheCorrupt:  # as a power cut leaves it: nothing in it is worth keeping
            aside = self.path.with_name(f"{self.path.name}.damaged")
            with suppress(OSError, CacheError):
                if self._database.set_aside(aside):
                    aside.unlink()
                return use()
        except CacheError:
            pass  # the page cache beside it cannot be used either, and says so; or another program's file is there
        self._unusable_until = time.monotonic() + _LEFT_ALONE
        return otherwise
