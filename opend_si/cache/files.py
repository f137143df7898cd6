"""What systems do differently with a file of SQLite's: name, library, locks, and who may move it."""

from __future__ import annotations

import os
import sqlite3
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path, PurePath
from typing import TypeVar
from urllib.parse import quote

from opend_si.errors import CacheError
from opend_si.system.files import open_folder
from opend_si.system.locks import has_no_locks, lock

# Tables here are STRICT (https://sqlite.org/stricttables.html); Python uses the system's SQLite where there is one.
OLDEST_SQLITE = (3, 37, 0)

_T = TypeVar("_T")


def check_sqlite() -> None:
    """Refuse a library that is too old, before any file is made.

    Raises:
        CacheError: It is older than 3.37.

    """
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        raise CacheError(
            f"This Python uses SQLite {sqlite3.sqlite_version}; the tables of the page cache need {OLDEST_SQLITE[0]}."
            f"{OLDEST_SQLITE[1]} or later. Use a Python that brings a newer one, such as one from uv, conda or python.org."
        )


def sqlite_uri(path: PurePath) -> str:
    """An absolute path as a URI of SQLite's. The server of a Windows share stands in its path, not before it."""
    text = path.as_posix()
    return f"file://{'' if text.startswith('/') else '/'}{quote(os.fsencode(text), safe='/:')}"


def move_database(path: Path, new_path: Path) -> None:
    """Move a file and its journal together, or neither: Windows moves no file that another process has open."""
    journal, new_journal = (place.with_name(f"{place.name}-journal") for place in (path, new_path))
    with suppress(FileNotFoundError):  # left behind, it would be rolled back into the next file
        journal.replace(new_journal)
    try:
        path.replace(new_path)
    except OSError:
        with suppress(FileNotFoundError):
            new_journal.replace(journal)
        raise


def with_folder_locked(folder: Path, act: Callable[[], _T], seconds: float) -> _T:
    """Do something while a folder is held, where the system can; elsewhere an open file cannot be moved anyway."""
    if sys.platform == "win32":
        return act()
    with open_folder(folder) as handle:
        lock(handle, seconds)
        return act()


def lacks_locks(folder: Path) -> bool:
    """Whether files in a folder cannot be locked: SQLite takes that for a lock of another process, and waits.

    It is tried on a file of its own, for closing the other one would drop the locks that this process has on it.
    """
    if sys.platform == "win32":
        return False
    import fcntl

    try:
        with tempfile.TemporaryFile(dir=folder) as scratch:
            fcntl.lockf(scratch, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return has_no_locks(error)
    return False
