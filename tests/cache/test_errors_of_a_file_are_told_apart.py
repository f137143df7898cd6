"""How the errors of a file are told apart.

What only damage gives is damage, what the caller raised stays the caller's.
"""

import signal
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from opend_si.cache.database import Database, Layout
from opend_si.errors import CacheCorrupt, CacheError
from opend_si.system.ours import OurFile

LAYOUT = Layout(
    OurFile("test file", "file.sqlite3"),
    0x54455354,
    ("CREATE TABLE note (id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE) STRICT",),
)

_TEXTS = "SELECT text FROM note"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "notes.sqlite3"


@pytest.fixture
def database(path: Path) -> Iterator[Database]:
    with closing(Database(path, LAYOUT)) as database:
        database.write(lambda connection: connection.execute("INSERT INTO note (text) VALUES ('kept')"))
        yield database


def texts(database: Database) -> list[str]:
    return [text for (text,) in database.read(lambda connection: connection.execute(_TEXTS).fetchall())]


CALLERS_OWN = [
    MemoryError("the caller's"),
    OverflowError("the caller's"),
    UnicodeDecodeError("utf-8", b"\xff", 0, 1, "the caller's"),
    FileNotFoundError(2, "the caller's"),
    KeyError("the caller's"),
    KeyboardInterrupt("the caller's"),
]


@pytest.mark.parametrize("error", CALLERS_OWN, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("way", ["read", "snapshot", "write"])
def test_what_the_callers_block_raises_is_left_as_it_is(database: Database, way: str, error: BaseException) -> None:
    def fail(_: sqlite3.Connection) -> None:
        raise error

    with pytest.raises(type(error)) as caught:
        getattr(database, way)(fail)
    assert caught.value is error
    assert not database.read(lambda connection: connection.in_transaction)  # nothing is left open
    assert texts(database) == ["kept"]


def test_a_number_that_sqlite_cannot_hold_is_the_callers_error(database: Database) -> None:
    with pytest.raises(OverflowError):
        database.read(lambda connection: connection.execute("SELECT ?", (2**70,)))


def interrupted(connection: sqlite3.Connection) -> None:
    connection.set_progress_handler(lambda: 1, 1)
    try:
        connection.execute("SELECT * FROM note").fetchall()
    finally:
        connection.set_progress_handler(None, 0)


NO_DAMAGE: dict[str, Callable[[sqlite3.Connection], object]] = {
    "SQLITE_ERROR": lambda connection: connection.execute("SELECT * FROM nowhere"),
    "SQLITE_ERROR: a syntax error": lambda connection: connection.execute("SELEC 1"),
    "SQLITE_TOOBIG": lambda connection: connection.execute("SELECT length(zeroblob(2000000000))").fetchone(),
    "SQLITE_INTERRUPT": interrupted,
    "SQLITE_CONSTRAINT": lambda connection: connection.execute("INSERT INTO note (text) VALUES ('kept')"),
    "SQLITE_MISMATCH": lambda connection: connection.execute("INSERT INTO note VALUES ('no number', 'new')"),
    "ProgrammingError": lambda connection: connection.execute("SELECT ?", ()),
}


@pytest.mark.parametrize("name", NO_DAMAGE)
def test_what_says_nothing_of_damage_is_not_taken_for_damage(database: Database, name: str) -> None:
    with pytest.raises(CacheError, match=name.partition(":")[0]) as caught:
        database.write(NO_DAMAGE[name])
    assert type(caught.value) is CacheError
    assert str(database.path) in str(caught.value)
    assert texts(database) == ["kept"]


DAMAGE = {
    "a table is missing": "DROP TABLE note",
    "a table has another name": "ALTER TABLE note RENAME TO notes",
    "a column has another name": "ALTER TABLE note RENAME COLUMN text TO texts",
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_schema_that_is_not_ours_any_more_is_damage(database: Database, path: Path, name: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(DAMAGE[name])
        connection.execute("CREATE TABLE other (id INTEGER)")  # or the file would have no tables
        connection.commit()
    with pytest.raises(CacheCorrupt, match="no such"):
        texts(database)


def test_a_text_that_is_no_text_is_damage(database: Database, path: Path) -> None:
    database.close()
    path.write_bytes(path.read_bytes().replace(b"kept", b"k\xff\xfet"))
    for fetch in (lambda cursor: cursor.fetchone(), lambda cursor: cursor.fetchall(), next):
        with pytest.raises(CacheCorrupt, match="decode"):
            database.read(lambda connection, fetch=fetch: fetch(connection.execute(_TEXTS)))  # type: ignore[misc]


def test_tables_that_this_sqlite_does_not_know_are_no_damage(path: Path) -> None:
    """As STRICT is none to SQLite before 3.37."""
    newer = Layout(OurFile("test file", "file.sqlite3"), 0x54455354, ("CREATE TABLE note (id INTEGER) TIMELESS",))
    with closing(Database(path, newer)) as database:
        with pytest.raises(CacheError, match="TIMELESS") as caught:
            database.touch()
        assert type(caught.value) is CacheError


def test_a_snapshot_sees_one_state_of_the_file(database: Database, path: Path) -> None:
    count = "SELECT count(*) FROM note"

    def look(connection: sqlite3.Connection) -> None:
        assert connection.execute(count).fetchone() == (1,)
        with closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            other.execute("INSERT INTO note (text) VALUES ('new')")
            with pytest.raises(sqlite3.OperationalError, match="locked"):
                other.execute("COMMIT")
            assert connection.execute(count).fetchone() == (1,)
            other.execute("ROLLBACK")

    database.snapshot(look)
    with closing(sqlite3.connect(path, timeout=0)) as other, other:
        other.execute("INSERT INTO note (text) VALUES ('new')")
    assert database.snapshot(lambda connection: connection.execute(count).fetchone()) == (2,)


@pytest.mark.needs("signals")
def test_an_interrupt_while_it_waits_for_another_leaves_no_transaction(path: Path) -> None:
    """SQLite goes on waiting under a signal: Python tells it when the transaction has begun."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        with (
            closing(Database(path, LAYOUT)) as database,
            closing(sqlite3.connect(path, check_same_thread=False)) as other,
        ):
            database.write(lambda connection: connection.execute("INSERT INTO note (text) VALUES ('first')"))
            for use in (database.write, database.snapshot):
                other.execute("BEGIN EXCLUSIVE")
                ending = threading.Timer(0.3, other.commit)
                ending.start()
                signal.setitimer(signal.ITIMER_REAL, 0.1)
                with pytest.raises(KeyboardInterrupt):
                    use(lambda connection: connection.execute(_TEXTS).fetchall())
                ending.join()
                assert not database.read(lambda connection: connection.in_transaction)
            database.write(lambda connection: connection.execute("INSERT INTO note (text) VALUES ('second')"))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_a_folder_in_the_place_of_the_file_is_named_as_one(tmp_path: Path) -> None:
    with closing(Database(tmp_path, LAYOUT)) as database:
        for use in (texts, lambda it: it.write(lambda connection: connection.execute(_TEXTS))):
            with pytest.raises(CacheError, match="that is a folder") as caught:
                use(database)
            assert str(tmp_path / "file.sqlite3") in str(caught.value)
