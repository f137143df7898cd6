"""A connection to SQLite whose failures are all `sqlite3.Error`, so that they can be told from those of the caller."""

from __future__ import annotations

import sqlite3
import weakref
from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

_P = ParamSpec("_P")
_T = TypeVar("_T")


def _sqlites_own(call: Callable[_P, _T]) -> Callable[_P, _T]:
    """A call into SQLite whose failures are all `sqlite3.Error`; Python tells of some with errors of other kinds."""

    @wraps(call)
    def told(*arguments: _P.args, **options: _P.kwargs) -> _T:
        try:
            return call(*arguments, **options)
        except MemoryError as error:
            raise _error(sqlite3.SQLITE_NOMEM, "SQLITE_NOMEM", "out of memory") from error
        except UnicodeDecodeError as error:  # SQLite's text quotes tables whose names are no text
            raise _error(sqlite3.SQLITE_CORRUPT, "SQLITE_CORRUPT", f"malformed text: {error}") from error
        except sqlite3.OperationalError as error:
            if hasattr(error, "sqlite_errorcode") or "decode to UTF-8" not in str(error):
                raise
            raise _error(sqlite3.SQLITE_CORRUPT, "SQLITE_CORRUPT", str(error)) from error  # a text that is no text

    return told


def _error(code: int, name: str, text: str) -> sqlite3.Error:
    error = sqlite3.OperationalError(text)
    error.sqlite_errorcode, error.sqlite_errorname = code, name
    return error


_next_row: Callable[[sqlite3.Cursor], Any] = _sqlites_own(sqlite3.Cursor.__next__)


class _Cursor(sqlite3.Cursor):
    execute = _sqlites_own(sqlite3.Cursor.execute)
    executemany = _sqlites_own(sqlite3.Cursor.executemany)
    fetchone = _sqlites_own(sqlite3.Cursor.fetchone)
    fetchall = _sqlites_own(sqlite3.Cursor.fetchall)

    def __next__(self) -> Any:
        return _next_row(self)


class Connection(sqlite3.Connection):
    """A connection whose errors can be told from those of the code that uses it."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._cursors: set[weakref.ref[_Cursor]] = set()

    def execute(self, *arguments: Any) -> sqlite3.Cursor:
        return self._cursor().execute(*arguments)

    def executemany(self, *arguments: Any) -> sqlite3.Cursor:
        return self._cursor().executemany(*arguments)

    def stop_reading(self) -> None:
        """End every statement.

        A cursor that was not read to its end holds the file, and a traceback can hold the cursor.
        """
        for known in tuple(self._cursors):
            if (cursor := known()) is not None:
                cursor.close()

    def _cursor(self) -> _Cursor:
        cursor = self.cursor(_Cursor)
        self._cursors.add(weakref.ref(cursor, self._cursors.discard))
        return cursor
