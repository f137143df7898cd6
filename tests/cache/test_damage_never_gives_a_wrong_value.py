"""Damaged, foreign and newer cache files: whatever their bytes are, no wrong value and no superseded one is answered.

Online a damaged file is set aside with its bytes as they are, a damaged row is fetched again; offline both are errors
and nothing is touched. A file that is another program's or a newer release's is refused in every mode, untouched.
`python -m tests.stress.damage` does the last test with more copies.
"""

import random
import sqlite3
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from pandas.testing import assert_frame_equal

from opend_si.cache.claims import Claims
from opend_si.cache.layout import LAYOUT
from opend_si.errors import CacheVersionMismatch
from opend_si.history import overview, upkeep
from opend_si.history.upkeep import prune
from opend_si.pages import PageKey
from opend_si.simulator import Simulator
from opend_si.system.leases import NAME_BYTES
from opend_si_schema.calls import SHORT_INTEREST
from tests.cache.processes import (
    OpenClient,
    Process,
    ask,
    assert_sound,
    beside,
    changed,
    content,
    record_some,
    told,
    truth,
)
from tests.stress import damage

# The simulator's thread does nothing in the children.
pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


@pytest.fixture
def face(one_face: ModuleType) -> ModuleType:
    return one_face


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "pages.sqlite3"


@pytest.fixture
def open_client(face: ModuleType, opend: Simulator) -> Iterator[OpenClient]:
    """Opens clients of `opend`, of each face in turn; what is recorded counts as fresh."""
    with ExitStack() as stack:
        yield lambda mode, cache, **settings: stack.enter_context(
            face.Client(opend.host, opend.port, mode=mode, cache=cache, **{"timeout": 5, "max_age": None, **settings})
        )


@pytest.fixture
def recorded(opend: Simulator, cache: Path) -> Path:
    return record_some(opend, cache)


def execute(path: Path, *statements: str) -> None:
    """Change a database with nothing of ours."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


# Damaged files -------------------------------------------------------------------------------------------------------


def xor(data: bytes, place: int, mask: int = 0x40) -> bytes:
    return data[:place] + bytes([data[place] ^ mask]) + data[place + 1 :]


def page_size(data: bytes) -> int:
    return int.from_bytes(data[16:18])


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "16 bytes are left": lambda data: data[:16],
    "99 bytes are left": lambda data: data[:99],
    "100 bytes are left": lambda data: data[:100],
    "511 bytes are left": lambda data: data[:511],
    "one page is left": lambda data: data[: page_size(data)],
    "half is left": lambda data: data[: len(data) // 2],
    "half and a bit is left": lambda data: data[: len(data) // 2 + 700],
    "the last page is gone": lambda data: data[: -page_size(data)],
    "noise": lambda data: random.Random(0).randbytes(len(data)),
    "noise behind the header": lambda data: data[:100] + random.Random(0).randbytes(len(data) - 100),
    "noise behind the first page": lambda data: (
        data[: page_size(data)] + random.Random(0).randbytes(len(data) - page_size(data))
    ),
    "text": lambda _: b"<html><body>502 Bad Gateway</body></html>\n" * 100,
    "zeros": lambda data: bytes(len(data)),
    "zeros behind the first page": lambda data: data[: page_size(data)].ljust(len(data), b"\0"),
    "zeros in the first 1024 bytes": lambda data: bytes(1024) + data[1024:],
    "SQLite's mark": lambda data: xor(data, 3),
    "the page size": lambda data: data[:16] + (512).to_bytes(2) + data[18:],
    "the text encoding": lambda data: xor(data, 59, 3),
    "our mark": lambda data: xor(data, 70),
    "our mark is gone": lambda data: data[:68] + bytes(4) + data[72:],
    "the version is gone": lambda data: data[:60] + bytes(4) + data[64:],
    "the version is high": lambda data: xor(data, 60),
    "our mark and the version": lambda data: xor(xor(data, 70), 61),
    "the list of tables is empty": lambda data: data[:103] + bytes(2) + data[105:],
    "the list of tables is empty, and our mark is gone": lambda data: (
        data[:60] + bytes(4) + data[64:68] + bytes(4) + data[72:103] + bytes(2) + data[105:]
    ),
    "a table's definition": lambda data: data.replace(b"CREATE TABLE page", b"CREATE TABLE pagf"),
    "a table's name is no text": lambda data: data.replace(b"TABLE page", b"TABLE \xff\xfe\xff\xfe"),
    "a table's definition is no text": lambda data: data.replace(b"STRICT", b"STR\xccCT"),
    "a column's name": lambda data: data.replace(b"superseded_at INTEGER", b"superseded_by INTEGER"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_online_a_damaged_file_is_set_aside_as_it_is_and_a_new_one_begun(
    open_client: OpenClient, opend: Simulator, recorded: Path, name: str
) -> None:
    damaged = DAMAGES[name](recorded.read_bytes())
    assert damaged != recorded.read_bytes()
    recorded.write_bytes(damaged)
    client = open_client("online", recorded)
    with told() as texts:
        assert [ask(client, opend, "HK.00700") for _ in range(2)] == ["opend", "cache"]
        assert ask(open_client("online", recorded), opend, "HK.00700") == "cache"
    aside = beside(recorded)
    assert len(aside) == 1
    assert aside[0].startswith("pages.sqlite3.corrupt-")
    assert recorded.with_name(aside[0]).read_bytes() == damaged
    assert len(texts) == 1
    assert f"{recorded} is damaged" in texts[0]
    assert str(recorded.with_name(aside[0])) in texts[0]
    assert len(content(recorded)) == 1
    assert_sound(recorded)


@pytest.mark.parametrize("name", DAMAGES)
def test_offline_a_damaged_file_is_an_error_and_is_left_as_it_is(
    open_client: OpenClient, face: ModuleType, opend: Simulator, recorded: Path, name: str
) -> None:
    damaged = DAMAGES[name](recorded.read_bytes())
    recorded.write_bytes(damaged)
    client = open_client("offline", recorded)
    for code in ("HK.00700", "HK.00700", "US.GME"):
        with pytest.raises(face.CacheCorrupt, match="is damaged"):
            client.get_page(code, num=50)
    assert recorded.read_bytes() == damaged
    assert beside(recorded) == []
    assert opend.requests == []


def test_damage_that_sqlite_takes_for_a_lack_of_memory_is_an_error_of_the_cache(
    open_client: OpenClient, face: ModuleType, opend: Simulator, recorded: Path
) -> None:
    data = recorded.read_bytes()
    place = data.index(b"CREATE TABLE past")
    recorded.write_bytes(data[: place - 75] + b"\xff" * 64 + data[place - 11 :])
    with pytest.raises(face.CacheError):
        open_client("offline", recorded).get_page("HK.00700", num=50)
    client = open_client("online", recorded)
    with told() as texts:
        assert [ask(client, opend, code) for code in ("HK.00700", "US.GME")] == ["opend", "opend"]
    assert len(texts) == 1


def test_of_a_file_of_any_length_no_wrong_page_is_answered(
    open_client: OpenClient, face: ModuleType, opend: Simulator, recorded: Path, tmp_path: Path
) -> None:
    data = recorded.read_bytes()
    for number, length in enumerate((*range(1, len(data), 397), len(data) - 1)):
        copy = tmp_path / f"{number}.sqlite3"
        copy.write_bytes(data[:length])
        client = open_client("offline", copy)
        for code in ("HK.00700", "US.AAPL"):
            try:
                assert ask(client, opend, code) == "cache"
            except (face.CacheCorrupt, face.CacheMiss):
                continue  # a file of one byte is an empty one to SQLite
        client.close()


def test_a_file_that_is_damaged_while_it_is_open_is_seen_to_be(
    open_client: OpenClient, face: ModuleType, opend: Simulator, recorded: Path
) -> None:
    online, offline = open_client("online", recorded), open_client("offline", recorded)
    assert [ask(client, opend, "HK.00700") for client in (online, offline)] == ["cache", "cache"]
    noise = random.Random(1).randbytes(recorded.stat().st_size)
    with recorded.open("r+b") as file:
        file.write(noise)
    with pytest.raises(face.CacheCorrupt):
        offline.get_page("HK.00700", num=50)
    with told() as texts:
        assert [ask(online, opend, "HK.00700") for _ in range(2)] == ["opend", "cache"]
    assert len(texts) == 1
    assert ask(offline, opend, "HK.00700") == "cache"
    assert recorded.with_name(beside(recorded)[0]).read_bytes() == noise


def test_each_file_that_is_set_aside_is_named_in_a_warning(
    open_client: OpenClient, opend: Simulator, cache: Path
) -> None:
    client = open_client("online", cache)
    with told() as texts:
        for turn in range(3):
            cache.write_bytes(b"no database %d" % turn * 500)
            assert [ask(client, opend, "HK.00700") for _ in range(2)] == ["opend", "cache"]
    aside = [str(cache.with_name(name)) for name in beside(cache)]
    assert len(aside) == 3
    assert len(texts) == 3
    assert all(name in text for name, text in zip(aside, texts, strict=True))


@pytest.mark.parametrize("kind", ["empty file", "empty database"])
def test_an_empty_file_is_as_good_as_none(
    open_client: OpenClient, face: ModuleType, opend: Simulator, cache: Path, kind: str
) -> None:
    cache.touch()
    if kind == "empty database":
        execute(cache, "VACUUM")
        assert cache.stat().st_size > 0
    before = cache.read_bytes()
    with pytest.raises(face.CacheMiss, match="mode online"):
        open_client("offline", cache).get_page("HK.00700", num=50)
    assert cache.read_bytes() == before
    client = open_client("online", cache)
    with told() as texts:
        assert [ask(client, opend, "HK.00700") for _ in range(2)] == ["opend", "cache"]
    assert texts == []
    assert beside(cache) == []
    assert_sound(cache)


# Files that are not ours ---------------------------------------------------------------------------------------------

OUR_MARK = f"PRAGMA application_id = {LAYOUT.application_id}"
NEWER = f"PRAGMA user_version = {LAYOUT.version + 1}"
# The file's tables as they are, read from one that is empty.
OUR_TABLES = tuple(sorted(text.split(": ", 1)[1] for text in LAYOUT.objects if not text.endswith(": None")))
OTHERS: dict[str, tuple[str, ...]] = {
    "another program's": ("PRAGMA application_id = 77", "CREATE TABLE mail (subject TEXT)"),
    "another program's, with our version": (
        *("PRAGMA application_id = 77", "PRAGMA user_version = 1"),
        *("CREATE TABLE page (body BLOB)", "INSERT INTO page VALUES ('precious')"),
    ),
    "another program's, which has no mark": ("CREATE TABLE mail (subject TEXT)",),
    "another program's, still without tables": ("PRAGMA application_id = 77",),
    "another program's, in WAL mode": ("PRAGMA journal_mode = WAL", "CREATE TABLE mail (subject TEXT)"),
    "a newer release's": (
        *(OUR_MARK, NEWER),
        *("CREATE TABLE reply (id INTEGER PRIMARY KEY, body BLOB)", "INSERT INTO reply VALUES (1, 'precious')"),
    ),
    "a newer release's, with one more table": (
        *(OUR_MARK, NEWER, *OUR_TABLES),
        "CREATE TABLE note (text TEXT)",
    ),
    "a newer release's, with one more column": (
        *(OUR_MARK, NEWER, *OUR_TABLES),
        "ALTER TABLE page ADD COLUMN account TEXT",
    ),
    "a newer release's, with one more index": (
        *(OUR_MARK, NEWER, *OUR_TABLES),
        "CREATE INDEX page_fetched_at ON page (fetched_at)",
    ),
    "a newer release's, still without tables": (OUR_MARK, NEWER),
}


@pytest.mark.parametrize("mode", ["online", "refresh", "offline"])
@pytest.mark.parametrize("whose", OTHERS)
def test_a_file_that_is_not_ours_is_refused_and_untouched(
    open_client: OpenClient, face: ModuleType, opend: Simulator, cache: Path, whose: str, mode: str
) -> None:
    execute(cache, *OTHERS[whose])
    before = cache.read_bytes()
    client = open_client(mode, cache)
    with told() as texts:
        for _ in range(2):
            with pytest.raises(face.CacheVersionMismatch, match="it was left as it is"):
                client.get_page("HK.00700", num=50)
        client.close()
    assert texts == []
    assert cache.read_bytes() == before
    assert beside(cache) == []
    assert opend.requests == []


NO_DATABASES = {
    "a note": b"my notes\n",
    "Parquet": b"PAR1" + random.Random(0).randbytes(9000) + b"PAR1",
    "noise": random.Random(1).randbytes(5000),
}


@pytest.mark.parametrize("mode", ["online", "refresh", "offline"])
@pytest.mark.parametrize("what", NO_DATABASES)
def test_a_users_file_that_was_named_by_mistake_is_refused_and_untouched(
    open_client: OpenClient, face: ModuleType, opend: Simulator, cache: Path, what: str, mode: str
) -> None:
    mine = cache.with_name("mine.txt")
    mine.write_bytes(NO_DATABASES[what])
    with (
        open_client(mode, mine) as client,
        pytest.raises(face.CacheVersionMismatch, match=r"mine\.txt is a file of another"),
    ):
        client.get_page("HK.00700", num=50)
    assert mine.read_bytes() == NO_DATABASES[what]
    assert [path.name for path in mine.parent.iterdir() if path.is_file()] == ["mine.txt"]
    assert opend.requests == []


def test_whatever_its_name_a_damaged_cache_that_bears_our_mark_is_set_aside(
    open_client: OpenClient, opend: Simulator, cache: Path
) -> None:
    own = record_some(opend, cache).rename(cache.with_name("shorts.db"))
    own.write_bytes(DAMAGES["noise behind the header"](own.read_bytes()))
    with told() as texts, open_client("online", own) as client:
        assert [ask(client, opend, "HK.00700") for _ in range(2)] == ["opend", "cache"]
    assert len(texts) == 1
    assert len(beside(own)) == 1


def test_a_file_of_zeros_under_a_name_of_the_users_may_be_anybodys(
    open_client: OpenClient, opend: Simulator, cache: Path
) -> None:
    own = record_some(opend, cache).rename(cache.with_name("shorts.db"))
    zeros = DAMAGES["zeros"](own.read_bytes())
    own.write_bytes(zeros)
    with open_client("online", own) as client, pytest.raises(CacheVersionMismatch, match="Name another file"):
        ask(client, opend, "HK.00700")
    assert own.read_bytes() == zeros
    assert beside(own) == []


def write_and_stay(link: Any, path: Path) -> None:
    """Another program at work: what it wrote last is in its WAL only."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("CREATE TABLE mail (subject TEXT)")
    connection.execute("INSERT INTO mail VALUES ('precious')")
    link.send("written")
    link.recv()


@pytest.mark.parametrize("mode", ["online", "offline"])
@pytest.mark.parametrize("owner", ["lives", "was killed"])
def test_another_programs_file_is_untouched_while_there_is_unfinished_work_in_it(
    open_client: OpenClient, face: ModuleType, cache: Path, owner: str, mode: str
) -> None:
    with Process(write_and_stay, cache) as program:
        program.hear()
        if owner == "was killed":
            program.kill()
        files = {name: cache.with_name(name).read_bytes() for name in (cache.name, f"{cache.name}-wal")}
        client = open_client(mode, cache)
        with pytest.raises(face.CacheVersionMismatch):
            client.get_page("HK.00700", num=50)
        client.close()
        assert {name: cache.with_name(name).read_bytes() for name in files} == files
    with closing(sqlite3.connect(cache)) as connection:
        assert connection.execute("SELECT subject FROM mail").fetchall() == [("precious",)]


# Damaged rows --------------------------------------------------------------------------------------------------------

GREATEST = 2**63 - 1
CHANGES = (
    *("protocol = 3250", "protocol = -1"),
    *("symbol = 'HK.00001'", "symbol = 'US.AAPL', version = 9", "symbol = 'no symbol'", "symbol = ''"),
    *("next_key = '1'", "next_key = '-1'", "num = 10", "num = 0", "behind = 1"),
    *("version = 0", "version = 3", "version = -1", f"version = {GREATEST}"),
    *("fetched_at = 0", "fetched_at = fetched_at - 1", f"fetched_at = {GREATEST}"),
    *("checked_at = 0", "checked_at = checked_at + 1", f"checked_at = {GREATEST}"),
    *("superseded_at = 1", "superseded_at = -1", f"superseded_at = {GREATEST}"),
    *("superseded_seq = 1", "superseded_seq = -1", "first_seq = 0", f"first_seq = {GREATEST}", "checked_seq = 0"),
    *("void_seq = 1", f"void_seq = {GREATEST}", "origin = 'x'", "sent = 1", "seen = x'ff'"),
    *("checksum = zeroblob(16)", "checksum = x''", "checksum = CAST(checksum || x'00' AS BLOB)"),
    *("bytes = x''", "bytes = substr(bytes, 1, 100)", "bytes = CAST(bytes || x'00' AS BLOB)"),
    "bytes = CAST(substr(bytes, 1, 30) || x'ff' || substr(bytes, 32) AS BLOB)",
    *("body = 0", "body = 1000", f"body = {GREATEST}"),
    # Of the version before: nothing of it may come back.
    "body = (SELECT body FROM page WHERE superseded_at != 0)",
    "(body, checksum) = (SELECT body, checksum FROM page WHERE superseded_at != 0)",
    "(fetched_at, checked_at, checksum, body) = (SELECT fetched_at, checked_at, checksum, body FROM page WHERE version = 1)",
)
# Every page that a damaged row may now seem to be; the first one is cut from the second where that is recorded.
CUT = ("HK.00700", None, 10)
PAGES: tuple[tuple[str, str | None, int], ...] = (
    *(("HK.00700", None, 50), ("HK.00001", None, 50)),
    *(("HK.00700", "1", 50), ("HK.00700", "1", 10)),
)
SOUND = ("US.AAPL", None, 50)


@pytest.mark.parametrize("change", CHANGES)
def test_offline_a_damaged_row_is_never_a_page(
    open_client: OpenClient, face: ModuleType, opend: Simulator, recorded: Path, change: str
) -> None:
    execute(recorded, changed(change, "symbol = 'HK.00700' AND superseded_at = 0"))
    before = recorded.read_bytes()
    client = open_client("offline", recorded)
    for page in (CUT, *PAGES):
        with pytest.raises((face.CacheCorrupt, face.CacheMiss)):
            client.get_page(*page)
    if "US.AAPL" not in change:
        assert ask(client, opend, *SOUND) == "cache"
    assert recorded.read_bytes() == before


@pytest.mark.parametrize("change", CHANGES)
def test_online_a_damaged_row_is_fetched_again_and_replaced(
    open_client: OpenClient, face: ModuleType, opend: Simulator, recorded: Path, change: str
) -> None:
    execute(recorded, changed(change, "symbol = 'HK.00700' AND superseded_at = 0"))
    client = open_client("online", recorded)
    with told() as texts:
        assert [ask(client, opend, *CUT) for _ in range(2)] == ["opend", "cache"]
        for page in PAGES:
            ask(client, opend, *page)
            assert ask(client, opend, *page) == "cache"
        assert ask(client, opend, *SOUND) == "cache"
    assert texts == []
    assert beside(recorded) == []
    offline = open_client("offline", recorded)
    assert ask(offline, opend, *PAGES[0]) == "cache"
    # A row that seems to be a page which others make up was not fetched again. It is still damaged.
    for page in (CUT, *PAGES, SOUND):
        with suppress(face.CacheCorrupt):
            assert ask(offline, opend, *page) == "cache"
    # It goes on: a next version takes the place of the one that was repaired.
    opend.universe.revise("HK.00700", 2, aggregatedShort=12)
    refreshing = open_client("refresh", recorded)
    for page in (*PAGES, SOUND):
        assert ask(refreshing, opend, *page) == "opend"
        assert ask(offline, opend, *page) == "cache"


@pytest.mark.parametrize("change", CHANGES)
def test_damage_to_a_superseded_version_brings_it_not_back_and_stops_no_recording(
    open_client: OpenClient, opend: Simulator, recorded: Path, change: str
) -> None:
    execute(recorded, changed(change.replace(", version = 9", ", version = 0"), "superseded_at != 0"))
    offline = open_client("offline", recorded)
    for page in (CUT, PAGES[0], SOUND):
        assert ask(offline, opend, *page) == "cache"
    opend.universe.revise("HK.00700", 2, aggregatedShort=12)
    with told() as texts:
        refreshing = open_client("refresh", recorded)
        for page in (*PAGES, SOUND):
            assert ask(refreshing, opend, *page) == "opend"
            assert ask(offline, opend, *page) == "cache"
    assert texts == []
    assert beside(recorded) == []


NEWEST_IS_GONE = {
    "deleted": "DELETE FROM page WHERE symbol = 'HK.00700' AND superseded_at = 0",
    "deleted, and the one before says that it is current": (
        "DELETE FROM page WHERE symbol = 'HK.00700' AND superseded_at = 0;"
        "UPDATE page SET superseded_seq = 0, superseded_at = 0 WHERE symbol = 'HK.00700'"
    ),
    "hidden behind the one before": (
        "UPDATE page SET superseded_seq = 9, superseded_at = 1, version = 3 WHERE symbol = 'HK.00700' AND superseded_at = 0;"
        "UPDATE page SET superseded_seq = 0, superseded_at = 0 WHERE symbol = 'HK.00700' AND version = 1"
    ),
    "below the one before": (
        "UPDATE page SET version = 0 WHERE symbol = 'HK.00700' AND superseded_at = 0;"
        "UPDATE page SET superseded_seq = 0, superseded_at = 0 WHERE symbol = 'HK.00700' AND version = 1"
    ),
    "in the place of the one before": (
        "UPDATE page SET version = -version WHERE symbol = 'HK.00700';"
        "UPDATE page SET version = 3 + version WHERE symbol = 'HK.00700'"
    ),
}


@pytest.mark.parametrize("fate", NEWEST_IS_GONE)
def test_when_the_newest_version_is_gone_the_one_before_never_comes_back(
    open_client: OpenClient, face: ModuleType, opend: Simulator, recorded: Path, fate: str
) -> None:
    execute(recorded, *NEWEST_IS_GONE[fate].split(";"))
    offline = open_client("offline", recorded)
    for page in (CUT, PAGES[0]):
        with pytest.raises((face.CacheCorrupt, face.CacheMiss)):
            offline.get_page(*page)
    client = open_client("online", recorded)
    assert [ask(client, opend, *page) for page in (PAGES[0], PAGES[0], CUT)] == ["opend", "cache", "cache"]
    assert [ask(offline, opend, *page) for page in (PAGES[0], CUT)] == ["cache", "cache"]


@pytest.mark.parametrize("mode", ["offline", "online"])
@pytest.mark.parametrize(
    "fate",
    [
        "DELETE FROM page WHERE version = 3",
        changed("bytes = substr(bytes, 1, 100)", "version = 3"),
        "UPDATE page SET symbol = 'HK.00001' WHERE version = 3",
        "UPDATE page SET superseded_seq = 9 WHERE version = 3",
        "DELETE FROM page WHERE version > 1",
        "UPDATE page SET checksum = zeroblob(16) WHERE version > 1",
    ],
)
def test_nor_do_any_earlier_ones_in_pages_that_are_cut(
    open_client: OpenClient, face: ModuleType, opend: Simulator, cache: Path, fate: str, mode: str
) -> None:
    """After the first version a row was published, which takes nothing back; after the second one was revised."""
    recorder = open_client("refresh", cache)
    assert ask(recorder, opend, "HK.00700") == "opend"
    opend.universe.publish("HK.00700")
    assert ask(recorder, opend, "HK.00700") == "opend"
    opend.universe.revise("HK.00700", 8, aggregatedShort=7)
    assert ask(recorder, opend, "HK.00700") == "opend"
    rows = opend.universe.rows("HK.00700") or ()
    execute(cache, fate)
    client = open_client(mode, cache)
    for index in (5, 2, 0, 7):
        try:
            ask(client, opend, "HK.00700", str(rows[index].timestamp), 10)
        except (face.CacheCorrupt, face.CacheMiss):
            assert mode == "offline"


def ask_in_peace(link: Any, face: ModuleType, opend: Simulator, cache: Path) -> None:
    with told() as texts, face.Client(opend.host, opend.port, mode="online", cache=cache, timeout=0.5) as client:
        page = client.get_page("HK.00700", num=50)
    link.send((page.source, page.body, texts))


@pytest.mark.parametrize("damage", ["a place", "its header", "its end", "all of it"])
def test_a_damaged_list_of_claims_holds_nobody_up(face: ModuleType, opend: Simulator, cache: Path, damage: str) -> None:
    claims, other = Claims(cache), bytes(NAME_BYTES)
    for num in (10, 50):  # by a process that died
        assert claims.take(PageKey.check(SHORT_INTEREST, "HK.00700", None, num).identity, other, 3600)
    content = claims.path.read_bytes()
    claims.path.write_bytes(
        {
            "a place": content[:100] + b"?" + content[101:],
            "its header": content[:9] + b"?" + content[10:],
            "its end": content[:-1],
            "all of it": b"no list",
        }[damage]
    )
    with Process(ask_in_peace, face, opend, cache) as asking:
        assert asking.hear(patience=10) == ("opend", truth(opend, "HK.00700"), [])


# Looking after a damaged cache ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("change", CHANGES)
def test_looking_after_a_cache_with_a_damaged_row(
    opend: Simulator, recorded: Path, tmp_path: Path, change: str
) -> None:
    execute(recorded, changed(change, "symbol = 'HK.00700' AND superseded_at = 0"))
    assert len(list(upkeep.verify(recorded))) == 1
    told = overview.info(recorded, check=True)
    assert (told.symbols, told.pages, told.versions, told.rows) == (1, 1, 3, 50)
    assert overview.info(recorded).versions == 3  # as it stands there
    exported = tmp_path / "exported.sqlite3"
    assert upkeep.export(recorded, exported) == 2
    assert_sound(exported)
    prune(recorded, datetime.now(UTC) + timedelta(days=1))
    assert len(list(upkeep.verify(recorded))) <= 1


# Damage at random ----------------------------------------------------------------------------------------------------

COPIES, PARTS = 60, 3


@pytest.mark.parametrize("part", range(PARTS))
def test_of_a_copy_that_is_damaged_at_random_no_wrong_page_is_answered(
    face: ModuleType, opend: Simulator, tmp_path: Path, part: int
) -> None:
    recording = damage.record(opend, tmp_path, face.Client)
    for seed in range(part, COPIES, PARTS):
        for finding in damage.ask_of_copy(seed, recording, opend, tmp_path, face.Client):
            assert finding.outcome is not damage.Outcome.WRONG, finding.text


@pytest.mark.parametrize("mode", ["online", "offline"])
def test_a_name_that_is_damaged_hides_its_page_and_no_other(
    open_client: OpenClient, face: ModuleType, opend: Simulator, cache: Path, mode: str
) -> None:
    """The name stands in the row and in the index.

    Either may be damaged, so that they differ, or names are out of order.
    """
    with open_client("online", cache) as client:
        client.sync(["HK.00001", "HK.00005"])
        expected = {code: client.history(code) for code in ("HK.00001", "HK.00005")}
    whole = cache.read_bytes()
    places = [place for place in range(len(whole)) if whole[place:].startswith(b"HK.00001")]
    assert len(places) > 3
    for place in places[:: max(1, len(places) // 8)]:
        for offset, mask in ((1, 1), (3, 1), (7, 4), (7, 0x31)):  # HJ.00001, HK.10001, HK.00005, a NUL
            cache.write_bytes(xor(whole, place + offset, mask))
            with open_client(mode, cache) as client, warnings.catch_warnings():
                warnings.simplefilter("ignore")
                for code, frame in expected.items():
                    with suppress(face.CacheMiss, face.CacheCorrupt):
                        assert_frame_equal(
                            client.history(code).drop(columns="known_at"), frame.drop(columns="known_at")
                        )
                with suppress(face.CacheMiss, face.CacheCorrupt):
                    panel = client.panel(market="HK").drop(columns="known_at")
                    for code, rows in panel.groupby("symbol", observed=True):
                        assert rows["close_price"].tolist() == expected[str(code)]["close_price"].tolist()
                    assert not panel.duplicated(["symbol", "date"]).any()
            list(upkeep.verify(cache))


def test_a_cursor_that_is_damaged_is_repaired_once(open_client: OpenClient, opend: Simulator, cache: Path) -> None:
    """It stands where its page is looked for, or out of its order there, and in the reply of the page before."""
    with open_client("online", cache) as client:
        expected = client.history("HK.00700").drop(columns="known_at")
        cursor = opend.requests[len(opend.requests) // 2].next_key.encode()
    whole = cache.read_bytes()
    places = [place for place in range(len(whole)) if whole[place:].startswith(cursor)]
    assert len(places) > 1
    for place in places:
        for offset, mask in ((0, 0x40), (0, 2), (9, 1)):
            cache.write_bytes(xor(whole, place + offset, mask))
            for requests in (range(1, 99), range(1)):
                opend.requests.clear()
                with open_client("online", cache) as client:
                    assert_frame_equal(client.history("HK.00700").drop(columns="known_at"), expected)
                assert len(opend.requests) in requests
            opend.requests.clear()
            with open_client("online", cache, max_age=0) as client:
                client.history("HK.00700")
            assert len(opend.requests) == 1
            assert list(upkeep.verify(cache)) == []


@pytest.mark.parametrize("max_age", [None, 0])
@pytest.mark.parametrize(
    "statement",
    [
        changed("bytes = x'00'", "next_key = ''"),
        changed("bytes = x'00'", "next_key != ''"),
        "DELETE FROM page WHERE body = 3",
        "DELETE FROM seal",
    ],
)
def test_online_a_damaged_history_is_walked_anew_at_once(
    open_client: OpenClient, opend: Simulator, cache: Path, statement: str, max_age: float | None
) -> None:
    with open_client("online", cache) as client:
        expected = client.history("HK.00700").drop(columns="known_at")
    cost = len(opend.requests)
    with closing(sqlite3.connect(cache)) as connection, connection:
        connection.execute(statement)
    opend.requests.clear()
    with open_client("online", cache, max_age=max_age) as client:
        assert_frame_equal(client.history("HK.00700").drop(columns="known_at"), expected)
        assert len(opend.requests) == cost
        assert len(client.get_page("HK.00700", num=10)) == 10
        assert len(opend.requests) == cost + (max_age == 0)
    assert_sound(cache)
    with open_client("offline", cache) as client:
        assert_frame_equal(client.history("HK.00700").drop(columns="known_at"), expected)


def test_online_a_page_of_a_damaged_symbol_costs_one_request(
    open_client: OpenClient, opend: Simulator, cache: Path
) -> None:
    with open_client("online", cache) as client:
        client.history("HK.00700")
    with closing(sqlite3.connect(cache)) as connection, connection:
        connection.execute(changed("bytes = x'00'"))
    opend.requests.clear()
    with open_client("online", cache) as client:
        assert len(client.get_page("HK.00700", num=10)) == 10
    assert len(opend.requests) == 1


# The past ------------------------------------------------------------------------------------------------------------

PAST = {
    "a bit": "UPDATE past SET body = CAST(substr(body, 1, 40) || x'00' || substr(body, 42) AS BLOB)",
    "the end": "UPDATE past SET body = CAST(substr(body, 1, 100) AS BLOB)",
    "the checksum": "UPDATE past SET checksum = zeroblob(16)",
    "all of it": "DELETE FROM past",
    "its number": "UPDATE past SET block = block + 7",
    "another symbol's": "UPDATE past SET symbol = 'US.AAPL'",
}


@pytest.mark.parametrize("what", PAST)
def test_damage_in_the_past_never_touches_the_present(
    open_client: OpenClient, face: ModuleType, opend: Simulator, cache: Path, what: str
) -> None:
    with open_client("refresh", cache) as client:
        for _ in range(6):
            client.get_page("HK.00700", num=50)
            opend.universe.publish("HK.00700")
        opend.universe.revise("HK.00700", 9, aggregatedShort=7)
        frame = client.history("HK.00700")
        revisions = client.revisions("HK.00700")
    assert len(revisions) == 1
    bodies = [row[-1] for row in content(cache)]
    execute(cache, PAST[what])
    assert [row[-1] for row in content(cache)] == bodies
    with open_client("offline", cache) as client:
        assert_frame_equal(client.history("HK.00700"), frame)
        assert client.revisions("HK.00700")["after"].tolist() in ([7], [])
    assert len(list(upkeep.verify(cache))) == 1
    opend.universe.publish("HK.00700", 2)
    with open_client("refresh", cache) as client:
        assert len(client.history("HK.00700")) == len(frame) + 2
    with open_client("offline", cache) as client:
        assert len(client.history("HK.00700")) == len(frame) + 2


def test_a_sequence_that_was_damaged_is_counted_again(open_client: OpenClient, opend: Simulator, cache: Path) -> None:
    with open_client("refresh", cache) as client:
        client.get_page("HK.00700", num=50)
        for statement in (
            "UPDATE sequence SET seq = 0",
            "DELETE FROM sequence",
            "UPDATE sequence SET seq = 10000000000",
        ):
            opend.universe.revise("HK.00700", 2, aggregatedShort=len(statement))
            execute(cache, statement)
            assert ask(client, opend, "HK.00700") == "opend"
            assert ask(open_client("offline", cache), opend, "HK.00700") == "cache"
    assert_sound(cache)


# What can become of each field of a seal; `STRICT` keeps no disk from making a text of a number.
SEALS = [
    *("summary = substr(summary, 1, 17)", "summary = 'x'", "summary = '{}'", "summary = ''", "summary = x'ff'"),
    *(
        "floor = 10000000000",
        "floor = x'ff'",
        "floor = 'x'",
        "seq = 'x'",
        "seq = 0",
        "is_judged = x'00'",
        "is_judged = 7",
    ),
    *("at = -1", "at = 9223372036854775807", "at = 'x'", "past = x'00'", "past = 'x'", "past = 5"),
    *("digest = zeroblob(16)", "digest = 'x'", "digest = x''"),
]


@pytest.mark.parametrize("what", SEALS)
def test_a_damaged_seal_of_a_symbol_is_an_error_of_the_cache_or_none(
    open_client: OpenClient, face: ModuleType, opend: Simulator, cache: Path, what: str
) -> None:
    """Of this symbol alone; and it is repaired by what OpenD sends."""
    codes = ["HK.00700", "HK.00001"]
    with open_client("online", cache) as client:
        assert client.sync(codes).ok
        whole = {code: client.history(code) for code in codes}
    sql = execute_unchecked(cache, "seal", f"UPDATE seal SET {what} WHERE symbol = 'HK.00700'")
    assert "STRICT" in sql
    with open_client("offline", cache) as client, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        questions: list[Callable[[], object]] = [
            *(lambda: client.history("HK.00700"), lambda: client.get_page("HK.00700", num=5)),
            *(lambda: client.revisions("HK.00700"), lambda: client.history("HK.00700", as_of=datetime.now(UTC))),
            *(client.recorded, lambda: client.screen(market="HK"), lambda: client.panel(market="HK")),
            *(
                lambda: overview.info(cache),
                lambda: overview.info(cache, check=True),
                lambda: list(upkeep.verify(cache)),
            ),
        ]
        for question in questions:
            with suppress(face.CacheError):
                question()
        assert_frame_equal(client.history("HK.00001"), whole["HK.00001"])
    opend.universe.publish("HK.00700")
    with open_client("refresh", cache) as client:
        assert client.sync(codes).ok
        assert len(client.history("HK.00700")) == len(whole["HK.00700"]) + 1
    with open_client("offline", cache) as client:
        assert len(client.history("HK.00700")) == len(whole["HK.00700"]) + 1
        assert client.recorded().set_index("symbol").complete.to_dict() == dict.fromkeys(codes, True)


def execute_unchecked(path: Path, table: str, statement: str) -> str:
    """Change a table as if SQLite did not look at types; gives how it was made."""
    [(sql,)] = content_of(path, f"SELECT sql FROM sqlite_schema WHERE name = '{table}'")
    loose = sql.replace("STRICT, ", "")
    for made, then in ((loose, statement), (sql, "SELECT 1")):
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("PRAGMA writable_schema = ON")
            connection.execute("UPDATE sqlite_schema SET sql = ? WHERE name = ?", (made, table))
        execute(path, then)
    return str(sql)


def content_of(path: Path, question: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(question).fetchall()
