"""An SQLite file of ours: opened, checked, migrated, and its errors told apart.

Rollback journal, not WAL: a file can be copied and opened read-only while it is in use, and SQLite before 3.51.3 can
corrupt a WAL that several processes write (https://sqlite.org/wal.html#the_wal_reset_bug). Writers take the lock at
once (`BEGIN IMMEDIATE`) and do nothing slow under it.
"""

from __future__ import annotations

import errno
import math
import os
import sqlite3
import time
import weakref
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeAlias, TypeVar

from opend_si.cache.connection import Connection
from opend_si.cache.files import check_sqlite, lacks_locks, move_database, sqlite_uri, with_folder_locked
from opend_si.errors import CacheError, CacheMiss
from opend_si.system import forks, ours
from opend_si.system.ours import OurFile
from opend_si.system.sharing import make_file, make_folder

# Seconds of waiting for other threads that are not worth a change of SQLite's own patience.
_NOTICED = 0.1
_BEGIN, _BEGIN_TO_WRITE = "BEGIN", "BEGIN IMMEDIATE"
# A reply of 50 rows has 2.5 to 4 KB. Spread over small pages little of the last one is unused: 1.13 times the replies'
# bytes for 200 replies, against 1.54 with SQLite's own 4096, where only one reply fits into each.
_PAGE_BYTES = 2048

# Where in an SQLite file `application_id` stands (https://sqlite.org/fileformat2.html, 1.3).
_MARK_AT = 68

_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
# What only a damaged file gives. Nothing else may be taken for damage: online a damaged file is set aside.
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
# The file or its folder cannot be used, but nothing says that its content is damaged.
_UNUSABLE = {
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_AUTH,
}

_T = TypeVar("_T")


# A step from one version of a file to the next: statements, or what does more than statements can.
Migration: TypeAlias = str | Callable[[sqlite3.Connection], None]


class NothingRecorded(CacheMiss):
    """There is no file, or nothing has been written into it yet, and the caller does not write."""


@dataclass(frozen=True)
class Layout:
    """What a file of ours looks like: its mark, and the steps from each version to the next."""

    file: OurFile
    application_id: int
    migrations: tuple[Migration, ...]

    @property
    def version(self) -> int:
        return len(self.migrations)

    @cached_property
    def objects(self) -> frozenset[str]:
        """The tables and indexes of the newest version, as SQLite notes them."""
        with closing(sqlite3.connect(":memory:")) as scratch:
            for migration in self.migrations:
                _migrate(scratch, migration)
            return _objects(scratch)


def _migrate(connection: sqlite3.Connection, migration: Migration) -> None:
    if callable(migration):
        migration(connection)
        return
    for statement in migration.split(";"):
        connection.execute(statement)


class Database:
    """One file. Threads take turns; a forked child and a replaced file get a new connection.

    What is done with a connection is a function that is handed to `read`, `snapshot` or `write`. So the lock and the
    transaction are held by a `with` on objects whose `__enter__` and `__exit__` are C, in one frame: an interrupt gives
    both back wherever it comes. (tests/cache/test_an_interrupt_leaves_nothing_locked.py fails with a context manager
    written in Python in the place of either.)
    """

    def __init__(self, path: Path, layout: Layout, *, may_write: bool = True) -> None:
        self.path, self._where = path, os.fspath(path)
        self._layout = layout
        self._may_write = may_write
        self._lock = forks.new_lock_for_files()
        self._connection: sqlite3.Connection | None = None
        self._closing: weakref.finalize[[], Database] | None = None
        self.openings = 0  # how often a connection was opened: what is remembered of an earlier one may not hold
        self._file: tuple[int, int] | None = None
        self._patience = 0  # milliseconds that SQLite now waits for another process's lock
        self._hurries_until = -math.inf
        forks.leave_in_child(self)

    def read(self, use: Callable[[sqlite3.Connection], _T]) -> _T:
        """Read with a connection; single statements see one state of the file."""
        asked_at = time.monotonic()
        with self._lock:
            connection = self._ready(time.monotonic() - asked_at)
            return self._translated(lambda: use(connection), connection)

    def snapshot(self, use: Callable[[sqlite3.Connection], _T]) -> _T:
        """Read with a connection whose statements all see one state of the file. Writers wait: keep it short."""
        return self._within(_BEGIN, use)

    def write(self, use: Callable[[sqlite3.Connection], _T]) -> _T:
        """Do something in a write transaction: all of it is written or nothing."""
        return self._within(_BEGIN_TO_WRITE, use)

    def _within(self, begin: str, use: Callable[[sqlite3.Connection], _T]) -> _T:
        asked_at = time.monotonic()
        with self._lock:
            connection = self._ready(time.monotonic() - asked_at)
            if connection.in_transaction and begin == _BEGIN:  # a snapshot inside another
                return self._translated(lambda: use(connection), connection)

            def transact() -> _T:
                with connection:  # the connection's own: it commits, or rolls back
                    connection.execute(begin)
                    return use(connection)

            return self._translated(transact, connection)

    def hurry(self, seconds: float) -> None:
        """For so many seconds wait for no other process: what is not free at once is `CacheBusy`."""
        self._hurries_until = time.monotonic() + seconds

    def touch(self) -> None:
        """Write what is there already: an error now, where the file cannot be written."""
        self.write(lambda connection: connection.execute(f"PRAGMA user_version = {self._layout.version}"))

    def close(self) -> None:
        """Close the connection; the next use opens a new one."""
        with self._lock:
            self._close()

    def set_aside(self, new_path: Path) -> bool:
        """Move a damaged file out of the way. False if another process has done it already."""
        with self._lock:
            damaged = self._file
            self._close()
            if damaged is None or self._identity() != damaged:
                return False

            def move() -> bool:
                if self._identity() != damaged:
                    return False
                move_database(self.path, new_path)
                return True

            # Of the processes that meet the damage one moves the file.
            return with_folder_locked(self.path.parent, move, ours.BUSY_SECONDS)

    def leave_parent(self) -> None:
        """In a forked child: SQLite's connection may neither be used nor closed."""
        connection, self._connection = self._connection, None
        if connection is not None:
            forks.leave_alone(connection)
        if self._closing is not None:
            self._closing.detach()

    def _translated(self, use: Callable[[], _T], connection: sqlite3.Connection | None) -> _T:
        """SQLite's errors in our words. Whatever else is raised is the caller's, and stays as it is."""
        try:
            return use()
        except sqlite3.Error as error:
            raise self._explained(error, connection) from error
        except Exception:
            raise
        except BaseException:  # an interrupt, of which a console keeps the traceback
            if isinstance(connection, Connection):
                connection.stop_reading()
            raise

    def _explained(self, error: sqlite3.Error, connection: sqlite3.Connection | None) -> CacheError:
        file, path, kind = self._layout.file, self.path, _kind(error)
        if kind in _BUSY:
            if time.monotonic() < self._hurries_until:
                return file.busy(path, waited=False)
            return file.lockless(path, waited=True) if lacks_locks(path.parent) else file.busy(path)
        if kind in _UNUSABLE:
            is_barred = kind == sqlite3.SQLITE_CANTOPEN and path.exists() and not os.access(path, os.R_OK)
            return file.unusable(path, os.strerror(errno.EACCES) if is_barred else error)
        if kind in _DAMAGED and not self._is_ours(connection):
            return file.foreign(path)
        if kind in _DAMAGED or (kind == sqlite3.SQLITE_ERROR and self._lacks_tables(connection)):
            return file.damaged(path, error)
        name = getattr(error, "sqlite_errorname", type(error).__name__)
        return file.strange(path, f"SQLite {sqlite3.sqlite_version} says {name}: {error}")

    def _is_ours(self, connection: sqlite3.Connection | None) -> bool:
        """Whether a damaged file is one of ours: its usual name says so, or the mark in its header.

        Any other may be a user's, who named the wrong file. What is in it tells nothing: others have such content, too.
        """
        if self.path.name == self._layout.file.name:
            return True
        try:
            if connection is not None:
                return _pragma(connection, "application_id") == self._layout.application_id
        except sqlite3.Error:  # it does not even take it for a database: then there are no locks on it
            pass
        try:
            with self.path.open("rb") as file:
                head = file.read(_MARK_AT + 4)
        except OSError:
            return False
        return head[_MARK_AT:] == self._layout.application_id.to_bytes(4, "big")

    def _lacks_tables(self, connection: sqlite3.Connection | None) -> bool:
        """Whether a statement of ours failed because the file's tables are not those that it was made with."""
        if connection is None:
            return False
        try:
            expected = self._layout.objects
        except sqlite3.Error:  # this SQLite is too old for them, whatever is in the file
            return False
        try:
            return _objects(connection) != expected
        except sqlite3.Error as error:
            return _kind(error) in {sqlite3.SQLITE_ERROR, *_DAMAGED}

    def _identity(self) -> tuple[int, int] | None:
        """Which file stands at the path; None if none does."""
        try:
            status = os.stat(self._where)  # noqa: PTH116 (a `Path` takes as long again)
        except OSError:
            return None
        return status.st_dev, status.st_ino

    def _ready(self, waited: float) -> sqlite3.Connection:
        """The connection, for a caller that waited so many seconds for other threads: SQLite waits as much less."""
        patience = max(int((ours.BUSY_SECONDS - (waited if waited > _NOTICED else 0)) * 1000), 0)
        if time.monotonic() < self._hurries_until:
            patience = 0
        try:
            connection = self._open(patience)
        except OSError as error:
            raise self._layout.file.unusable(self.path, error.strerror or error) from error
        if patience != self._patience:
            connection.execute(f"PRAGMA busy_timeout = {patience}")
            self._patience = patience
        return connection

    def _open(self, patience: int) -> sqlite3.Connection:
        if self._connection is not None and self._identity() != self._file:
            self._close()  # the file was removed, or another took its place
        if self._connection is None:
            check_sqlite()
            if self._identity() is None:
                if not self._may_write:
                    self._refuse_dangling()
                    raise self._absent()
                self._create()
            self._file = self._identity()
            self._refuse_others()
            connection = self._connect(patience)
            self.openings += 1
            # Closes it when nobody did: at garbage collection or at exit, without a ResourceWarning.
            self._closing = weakref.finalize(self, connection.close)
            self._patience = patience
            self._connection = connection  # last: an interrupt before it leaves nothing half open
        return self._connection

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _create(self) -> None:
        try:
            make_folder(self.path.parent)
            make_file(self.path)
        except FileExistsError:
            self._refuse_dangling()
        except OSError as error:
            raise self._layout.file.not_created(self.path, error) from error

    def _refuse_dangling(self) -> None:
        if self.path.is_symlink() and not self.path.exists():
            raise self._layout.file.dangling(self.path)

    def _connect(self, patience: int) -> sqlite3.Connection:

        def connect() -> sqlite3.Connection:
            return sqlite3.connect(
                # mode=rw never creates, and lets SQLite finish what a killed writer left, even for a reader.
                f"{sqlite_uri(self.path.absolute())}?mode=rw",
                uri=True,
                timeout=patience / 1000,
                isolation_level=None,  # transactions are begun by hand
                check_same_thread=False,  # threads take turns
                factory=Connection,
            )

        def prepare() -> sqlite3.Connection:
            connection.execute("PRAGMA trusted_schema = OFF")
            connection.execute("PRAGMA synchronous = FULL")
            if not self._may_write:
                connection.execute("PRAGMA query_only = ON")
            return connection if self._check(connection) else self._up_to_date(connection)

        connection = self._translated(connect, None)
        try:
            return self._translated(prepare, connection)
        except BaseException:
            connection.close()
            raise

    def _up_to_date(self, connection: sqlite3.Connection) -> sqlite3.Connection:
        """A copy in memory of a file of an older version, brought up to date there: this mode does not write."""
        copy = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False, factory=Connection)
        connection.backup(copy)
        for migration in self._layout.migrations[self._version(connection) :]:
            _migrate(copy, migration)
        connection.close()
        return copy

    def _check(self, connection: sqlite3.Connection) -> bool:
        """Refuse what is not ours or from the future; bring what is old up to date.

        False: it is old, and may not be written.
        """
        with connection:
            connection.execute(_BEGIN)  # one state of the file: another process may be making it at this moment
            version = self._version(connection)
        if version == self._layout.version:
            return True
        if not self._may_write:
            if version:
                return False
            raise self._absent()
        if not version:
            # Only an empty file can take these; both are no-ops for another process that made the same file meanwhile.
            connection.execute(f"PRAGMA page_size = {_PAGE_BYTES}")
            connection.execute("PRAGMA journal_mode = DELETE")
        with connection:
            connection.execute(_BEGIN_TO_WRITE)
            # Another process may have migrated while this one waited for the lock.
            for number in range(self._version(connection), self._layout.version):
                _migrate(connection, self._layout.migrations[number])
            connection.execute(f"PRAGMA application_id = {self._layout.application_id}")
            connection.execute(f"PRAGMA user_version = {self._layout.version}")
        return True

    def _refuse_others(self) -> None:
        """Refuse a file in which another program has unfinished work: SQLite would finish it.

        The file itself is never opened but by SQLite: closing a descriptor of ours would drop the locks that this
        process's other connections hold (https://sqlite.org/howtocorrupt.html, 2.2).
        """
        # SQLite looks beside the file, not beside a link to it.
        path = os.path.realpath(self.path) if self.path.is_symlink() else self.path
        with suppress(FileNotFoundError):
            if Path(f"{path}-wal").stat().st_size:  # no file of ours has one
                raise self._layout.file.foreign(self.path)

    def _version(self, connection: sqlite3.Connection) -> int:
        """The file's version, 0 for an empty one. Refuses files that are not ours, and tells damaged ones."""
        application, version = _pragma(connection, "application_id"), _pragma(connection, "user_version")
        objects = _objects(connection)
        if not objects and application == version == 0 and _pragma(connection, "page_count") <= 1:
            return 0
        ours = application == self._layout.application_id
        if ours and objects and 0 < version <= self._layout.version:
            return version
        # With our tables, or with our mark and none, the file is ours: its header or its list of tables is damaged.
        too_new = ours and version > self._layout.version
        is_marked = ours or self.path.name == self._layout.file.name
        is_bare = not objects and application in (0, self._layout.application_id) and not too_new
        if is_marked and (objects == self._layout.objects or is_bare):
            raise self._layout.file.damaged(self.path, "its header does not fit its tables")
        if ours:
            raise self._layout.file.too_new(self.path, version, self._layout.version)
        raise self._layout.file.foreign(self.path)

    def _absent(self) -> NothingRecorded:
        return NothingRecorded(f"There is no {self._layout.file.what} at {self.path}")


def _kind(error: sqlite3.Error) -> int | None:
    """SQLite's code; the extended ones carry it in their low byte. None if Python found the fault."""
    code = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF


def _objects(connection: sqlite3.Connection) -> frozenset[str]:
    """Tables and indexes as SQLite notes them."""
    found = connection.execute("SELECT name, sql FROM sqlite_schema").fetchall()
    return frozenset(f"{name}: {sql}" for name, sql in found)


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])
