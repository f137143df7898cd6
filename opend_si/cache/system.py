"""What systems do differently with a file of SQLite's: its name, its library, who may move it."""

from __future__ import annotations

import os
import sqlite3
from contextlib import suppress
from pathlib import Path, PurePath
from urllib.parse import quote

from opend_si.errors import CacheError

# Tables here are STRICT (https://sqlite.org/stricttables.html); Python uses the system's SQLite where there is one.
OLDEST_SQLITE = (3, 37, 0)


def check_sqlite() -> None:
    """Refuse a library that is too old, before any file is made.

    Raises:
        CacheError: It is older than 3.37.

    """
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        raise CacheError(
            f"This Python uses SQLite {sqlite3.sqlite_version}; the page cache and the rate budget need "
            f"{OLDEST_SQLITE[0]}.{OLDEST_SQLITE[1]} or later. Use a Python that brings a newer one, such as "
            "one from uv, conda or python.org."
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
