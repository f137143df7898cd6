"""An SQLite file of ours: opened, checked, migrated, and its errors told apart.

Rollback journal, not WAL: a file can be copied and opened read-only while it is in use, and SQLite before 3.51.3 can
corrupt a WAL that several processes write (https://sqlite.org/wal.html#the_wal_reset_bug). Writers take the lock at
once (`BEGIN IMMEDIATE`) and do nothing slow under it.
"""

from __future__ import annotations

import os
import sqlite3
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property, wraps
from pathlib import Path
from typing import Any, Literal, ParamSpec, TypeAlias, TypeVar

from opend_si.errors import CacheBusy, CacheCorrupt, CacheError, CacheMiss, CacheVersionMismatch

BUSY_MILLISECONDS = 5000
# A fork waits for at most so long until no thread uses a file.
_FORK_SECONDS = 10
# A reply of 50 rows has 2.5 to 4 KB. Spread over small pages little of the last one is unused: 1.13 times the replies'
# bytes for 200 replies, against 1.54 with SQLite's own 4096, where only one reply fits into each.
_PAGE_BYTES = 2048

# How each SQLite file begins, and where in it `application_id` stands (https://sqlite.org/fileformat2.html, 1.3).
_MAGIC, _MARK_AT = b"SQLite format 3\0", 68

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

_P = ParamSpec("_P")
_T = TypeVar("_T")


# A step from one version of a file to the next: statements, or what does more than statements can.
Migration: TypeAlias = str | Callable[[sqlite3.Connection], None]


class NothingRecorded(CacheMiss):
    """There is no file, or nothing has been written into it yet, and the caller does not write."""


@dataclass(frozen=True)
class Layout:
    """What a file of ours looks like: its mark, and the steps from each version to the next.

    `file` is its usual name; `named_by` are the variables that can name another; `if_damaged` is what to do then;
    `synchronous` is whether a write waits for the disk: OFF where nobody needs the content after a power cut.
    """

    what: str
    file: str
    application_id: int
    migrations: tuple[Migration, ...]
    named_by: tuple[str, ...] = ("OPEND_SI_HOME",)
    if_damaged: str = ""
    synchronous: Literal["FULL", "OFF"] = "FULL"

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


class _Forks:
    """No file is in use at a fork: SQLite's notes of its locks are copied into the child, where nobody would undo them."""

    def __init__(self) -> None:
        self._held: list[Database] = []
        self.registering = threading.Lock()

    def before(self) -> None:
        self.registering.acquire()
        databases = sorted(_DATABASES, key=lambda database: str(database.path))
        self._held = [database for database in databases if database._lock.acquire(timeout=_FORK_SECONDS)]

    def in_parent(self) -> None:
        for database in self._held:
            database._lock.release()
        self.registering.release()

    def in_child(self) -> None:
        for database in _DATABASES:
            database._leave_parent()
        self.registering = threading.Lock()


_DATABASES: weakref.WeakSet[Database] = weakref.WeakSet()
_forks = _Forks()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_forks.before, after_in_parent=_forks.in_parent, after_in_child=_forks.in_child)


class Database:
    """One file. Threads take turns; a forked child and a replaced file get a new connection."""

    def __init__(self, path: Path, layout: Layout, *, may_write: bool = True) -> None:
        self.path = path
        self._layout = layout
        self._may_write = may_write
        self._lock = threading.RLock()
        self._pid = os.getpid()
        self._connection: sqlite3.Connection | None = None
        with _forks.registering:
            _DATABASES.add(self)
        self.openings = 0  # how often a connection was opened: what is remembered of an earlier one may not hold
        self._file: tuple[int, int] | None = None

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A connection to read with; single statements see one state of the file."""
        with self._lock:
            connection = self._ready()
            with self._telling(connection):
                yield connection

    @contextmanager
    def snapshot(self) -> Iterator[sqlite3.Connection]:
        """A connection to read with, whose statements all see one state of the file. Writers wait: keep it short."""
        with self.reading() as connection:
            if connection.in_transaction:  # inside another
                yield connection
                return
            try:
                connection.execute("BEGIN")  # an interrupt meanwhile is told when it has begun
                yield connection
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A connection inside a write transaction: all of it or nothing."""
        with self.reading() as connection:
            try:
                connection.execute("BEGIN IMMEDIATE")
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def touch(self) -> None:
        """Write what is there already: an error now, where the file cannot be written."""
        with self.writing() as connection:
            connection.execute(f"PRAGMA user_version = {self._layout.version}")

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
            with _folder_locked(self.path.parent):  # of the processes that meet the damage one moves the file
                if self._identity() != damaged:
                    return False
                journal = self.path.with_name(f"{self.path.name}-journal")
                with suppress(FileNotFoundError):  # left behind, it would be rolled back into the next file
                    journal.replace(new_path.with_name(f"{new_path.name}-journal"))
                self.path.replace(new_path)
                return True

    def _leave_parent(self) -> None:
        """In a forked child neither the lock nor SQLite's connection may be used, nor may it be closed."""
        self._pid, self._lock = os.getpid(), threading.RLock()
        _LEFT_BY_PARENT.append(self._connection)
        self._connection = None

    @contextmanager
    def _telling(self, connection: sqlite3.Connection | None) -> Iterator[None]:
        """SQLite's errors in our words. Whatever else the caller's block raises is the caller's, and stays as it is."""
        try:
            yield
        except sqlite3.Error as error:
            raise self._explained(error, connection) from error

    def _explained(self, error: sqlite3.Error, connection: sqlite3.Connection | None) -> CacheError:
        what, kind = f"The {self._layout.what} {self.path}", _kind(error)
        if kind in _BUSY:
            return CacheBusy(
                f"{what} was locked by another process for {BUSY_MILLISECONDS / 1000:g} s. Try again, or see what holds it."
            )
        if kind in _UNUSABLE:
            return CacheError(
                f"{what} cannot be used ({error}). See its folder, its permissions and the free space on its disk."
            )
        if kind == sqlite3.SQLITE_NOTADB and not self._was_ours():
            return self._foreign()
        if kind in _DAMAGED or (kind == sqlite3.SQLITE_ERROR and self._lacks_tables(connection)):
            return CacheCorrupt(f"{what} is damaged ({error}).{self._layout.if_damaged}")
        name = getattr(error, "sqlite_errorname", type(error).__name__)
        return CacheError(
            f"{what} cannot be used (SQLite {sqlite3.sqlite_version} says {name}: {error}). It was left as it is; if it "
            f"stays so, name another place with {' or '.join(self._layout.named_by)}."
        )

    def _was_ours(self) -> bool:
        """Whether a file that SQLite does not take for a database was one of ours: its name says so, or what is left of its head.

        Any other may be a user's, who named the wrong file. No lock is lost by reading it here: there are none on what is no database.
        """
        if self.path.name == self._layout.file:
            return True
        try:
            with self.path.open("rb") as file:
                head = file.read(_PAGE_BYTES)
        except OSError:
            return True
        mark = self._layout.application_id.to_bytes(4, "big")
        is_blank = not head.strip(b"\0")  # what a disk leaves of a file that it lost
        return is_blank or head.startswith(_MAGIC) or head[_MARK_AT:][:4] == mark or b"CREATE TABLE" in head

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
        return _identity(self.path)

    def _ready(self) -> sqlite3.Connection:
        try:
            return self._open()
        except OSError as error:
            raise CacheError(
                f"The {self._layout.what} {self.path} cannot be used ({error.strerror or error}). See its folder and permissions."
            ) from error

    def _open(self) -> sqlite3.Connection:
        if self._connection is not None and self._identity() != self._file:
            self._close()  # the file was removed, or another took its place
        if self._connection is None:
            if self._may_write:
                self._create()
            elif self._identity() is None:
                raise self._absent()
            self._file = self._identity()
            self._refuse_others()
            connection = self._connection = self._connect()
            self.openings += 1
            # Closes it when nobody did: at garbage collection or at exit, without a ResourceWarning.
            self._closing = weakref.finalize(self, _close_own, connection, self._pid)
        return self._connection

    def _close(self) -> None:
        if self._connection is not None:
            self._closing()
            self._connection = None

    def _create(self) -> None:
        """An empty file that only its owner can read; SQLite gives its journal the same mode."""
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        except FileExistsError:
            pass
        except OSError as error:
            raise CacheError(
                f"The {self._layout.what} {self.path} cannot be created ({error.strerror}). See its folder and permissions, "
                f"or name another place with {' or '.join(self._layout.named_by)}."
            ) from error

    def _connect(self) -> sqlite3.Connection:
        with self._telling(None):
            connection = sqlite3.connect(
                # mode=rw never creates, and lets SQLite finish what a killed writer left, even for a reader.
                f"{self.path.absolute().as_uri()}?mode=rw",
                uri=True,
                timeout=BUSY_MILLISECONDS / 1000,
                isolation_level=None,  # transactions are begun by hand
                check_same_thread=False,  # threads take turns
                factory=_Connection,
            )
        try:
            with self._telling(connection):
                connection.execute("PRAGMA trusted_schema = OFF")
                connection.execute(f"PRAGMA synchronous = {self._layout.synchronous}")
                if not self._may_write:
                    connection.execute("PRAGMA query_only = ON")
                if self._check(connection):
                    return connection
                return self._up_to_date(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _up_to_date(self, connection: sqlite3.Connection) -> sqlite3.Connection:
        """A copy in memory of a file of an older version, brought up to date there: this mode does not write."""
        copy = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False, factory=_Connection)
        connection.backup(copy)
        for migration in self._layout.migrations[self._version(connection) :]:
            _migrate(copy, migration)
        connection.close()
        return copy

    def _check(self, connection: sqlite3.Connection) -> bool:
        """Refuse what is not ours or from the future; bring what is old up to date. False: it is old, and may not be written."""
        connection.execute("BEGIN")  # one state of the file: another process may be making it at this moment
        try:
            version = self._version(connection)
        finally:
            connection.execute("ROLLBACK")
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
        connection.execute("BEGIN IMMEDIATE")
        try:
            # Another process may have migrated while this one waited for the lock.
            for number in range(self._version(connection), self._layout.version):
                _migrate(connection, self._layout.migrations[number])
            connection.execute(f"PRAGMA application_id = {self._layout.application_id}")
            connection.execute(f"PRAGMA user_version = {self._layout.version}")
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        return True

    def _refuse_others(self) -> None:
        """Refuse a file in which another program has unfinished work: SQLite would finish it.

        The file itself is never opened but by SQLite: closing a descriptor of ours would drop the locks that this
        process's other connections hold (https://sqlite.org/howtocorrupt.html, 2.2).
        """
        wal = self.path.with_name(f"{self.path.name}-wal")
        if wal.exists() and wal.stat().st_size:  # no file of ours has one
            raise self._foreign()

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
        is_bare = not objects and application in (0, self._layout.application_id) and not too_new
        if objects == self._layout.objects or is_bare:
            raise CacheCorrupt(f"The {self._layout.what} {self.path} is damaged (its header does not fit its tables).")
        if ours:
            raise self._too_new(version)
        raise self._foreign()

    def _foreign(self) -> CacheVersionMismatch:
        return CacheVersionMismatch(
            f"{self.path} is a file of another program; it was left as it is. Name another file for the {self._layout.what}."
        )

    def _absent(self) -> NothingRecorded:
        return NothingRecorded(f"There is no {self._layout.what} at {self.path}")

    def _too_new(self, version: int) -> CacheVersionMismatch:
        return CacheVersionMismatch(
            f"The {self._layout.what} {self.path} was written by another release (version {version}, this one knows "
            f"{self._layout.version}); it was left as it is. Update this package, or name another file."
        )


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


class _Connection(sqlite3.Connection):
    """A connection whose errors can be told from those of the code that uses it."""

    def execute(self, *arguments: Any) -> sqlite3.Cursor:
        return self.cursor(_Cursor).execute(*arguments)

    def executemany(self, *arguments: Any) -> sqlite3.Cursor:
        return self.cursor(_Cursor).executemany(*arguments)


def _kind(error: sqlite3.Error) -> int | None:
    """SQLite's code; the extended ones carry it in their low byte. None if Python found the fault."""
    code = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF


def _objects(connection: sqlite3.Connection) -> frozenset[str]:
    """Tables and indexes as SQLite notes them."""
    return frozenset(f"{name}: {sql}" for name, sql in connection.execute("SELECT name, sql FROM sqlite_schema"))


# Connections that a forked child inherited: closing them would drop the parent's file locks, so they are kept.
_LEFT_BY_PARENT: list[sqlite3.Connection | None] = []


@contextmanager
def _folder_locked(folder: Path) -> Iterator[None]:
    """Hold a folder, where the system can; elsewhere an open file cannot be moved anyway."""
    if sys.platform == "win32":
        yield
        return
    import fcntl

    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _identity(path: Path) -> tuple[int, int] | None:
    """Which file stands at a path; None if none does."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _close_own(connection: sqlite3.Connection, pid: int) -> None:
    if os.getpid() == pid:
        connection.close()


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])
