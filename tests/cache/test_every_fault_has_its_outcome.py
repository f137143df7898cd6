"""What befalls a cache file while it is used: every fault has the outcome that the law names.

Online the file is a convenience: whatever happens to it, the page that OpenD holds is answered, and a warning says what
was not kept. Offline the file is all there is: its page, or an error of the `CacheError` tree. In both, what was
recorded before stays sound. Files, locks, permissions and full disks are real.
"""

import os
import shutil
import signal
import sqlite3
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from opend_si.errors import CacheError, CacheMiss, ShortInterestWarning
from opend_si.simulator import Simulator
from opend_si.system import ours
from tests.cache.processes import (
    OpenClient,
    Process,
    ask,
    assert_sound,
    beside,
    content,
    kill_writer,
    record_some,
    told,
    truth,
    write_half,
)

# Of the user "nobody", whom permissions bind even where the tests run as root.
NOBODY = 65534
# The source of each page or the type of its error, and the warnings.
AskAsNobody = Callable[..., list[tuple[Any, list[str]]]]

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
    """Opens clients of `opend`, of each face in turn: `open_client(mode, cache, …)`."""
    with ExitStack() as stack:
        yield lambda mode, cache, **settings: stack.enter_context(
            face.Client(opend.host, opend.port, mode=mode, cache=cache, **{"timeout": 5, **settings})
        )


@pytest.fixture
def recorded(opend: Simulator, cache: Path) -> Path:
    return record_some(opend, cache)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lock is waited for 50 ms instead of 5 s."""
    monkeypatch.setattr(ours, "BUSY_SECONDS", 0.05)


# Locks ----------------------------------------------------------------------------------------------------------------


def hold(link: Any, cache: Path, *statements: str) -> None:
    with closing(sqlite3.connect(cache, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement).fetchall()
        link.send("held")
        link.recv()


@pytest.mark.usefixtures("impatient")
def test_while_another_process_holds_the_file_online_pages_are_fetched_and_not_kept(
    open_client: OpenClient, opend: Simulator, recorded: Path
) -> None:
    before = content(recorded)
    client = open_client("online", recorded)
    with Process(hold, recorded, "BEGIN EXCLUSIVE") as holder:
        holder.hear()
        with told() as texts:
            assert ask(client, opend, "HK.00700") == "opend"
            assert ask(client, opend, "US.GME") == "opend"
    assert len(texts) == 1  # once a cause
    assert "locked by another process" in texts[0]
    assert str(recorded) in texts[0]
    assert content(recorded) == before
    assert [ask(client, opend, code) for code in ("HK.00700", "US.GME", "US.GME")] == ["cache", "opend", "cache"]
    assert_sound(recorded)


@pytest.mark.usefixtures("impatient")
def test_while_another_process_holds_the_file_offline_is_busy(
    open_client: OpenClient, face: ModuleType, opend: Simulator, recorded: Path
) -> None:
    opened_before, opened_later = open_client("offline", recorded), open_client("offline", recorded)
    assert ask(opened_before, opend, "HK.00700") == "cache"
    with Process(hold, recorded, "BEGIN EXCLUSIVE") as holder:
        holder.hear()
        for client in (opened_before, opened_later):
            for code in ("HK.00700", "US.GME"):
                with pytest.raises(face.CacheBusy, match="locked by another process"):
                    client.get_page(code, num=50)
    for client in (opened_before, opened_later):
        assert ask(client, opend, "HK.00700") == "cache"
    assert not opend.requests


@pytest.mark.usefixtures("impatient")
def test_beside_a_writer_that_has_not_finished_what_is_recorded_is_read(
    open_client: OpenClient, opend: Simulator, recorded: Path
) -> None:
    online, offline = open_client("online", recorded), open_client("offline", recorded)
    with Process(hold, recorded, "BEGIN IMMEDIATE", "UPDATE body SET bytes = x'00'") as holder:
        holder.hear()
        assert ask(online, opend, "HK.00700") == "cache"
        assert ask(offline, opend, "HK.00700") == "cache"
        with pytest.warns(ShortInterestWarning, match="locked"):
            assert ask(online, opend, "US.GME") == "opend"
    assert [ask(online, opend, "US.GME") for _ in range(2)] == ["opend", "cache"]


@pytest.mark.usefixtures("impatient")
def test_a_reader_that_does_not_finish_holds_up_no_answer(
    open_client: OpenClient, opend: Simulator, recorded: Path
) -> None:
    before = content(recorded)
    client = open_client("online", recorded)
    with Process(hold, recorded, "BEGIN", "SELECT * FROM page") as holder:
        holder.hear()
        with pytest.warns(ShortInterestWarning, match="locked"):
            assert ask(client, opend, "US.GME") == "opend"
        assert ask(client, opend, "HK.00700") == "cache"
        assert content(recorded) == before
    assert [ask(client, opend, "US.GME") for _ in range(2)] == ["opend", "cache"]


# Permissions and places -----------------------------------------------------------------------------------------------


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user can reach: pytest's own are closed to all but theirs."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder
        folder.chmod(0o755)


def unprivileged(link: Any, face: ModuleType, opend: Simulator, mode: str, cache: Path, codes: tuple[str, ...]) -> None:
    """Tell, for each code, where its page came from, its body, and the warnings; or the error's type and text."""
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    with face.Client(opend.host, opend.port, mode=mode, cache=cache, timeout=5) as client:
        for code in codes:
            with told() as texts:
                try:
                    page = client.get_page(code, num=50)
                    answer: tuple[object, object] = page.source, page.body
                except Exception as error:
                    answer = type(error), str(error)
            link.send((*answer, texts))


@pytest.fixture
def ask_as_nobody(face: ModuleType, opend: Simulator) -> AskAsNobody:
    """`ask_as_nobody(mode, cache, *codes)`: each page's source or the type of its error, and the warnings."""

    def ask_all(mode: str, cache: Path, *codes: str) -> list[tuple[Any, list[str]]]:
        # Imported before the child gives up its rights: it may not be able to read our files any more.
        with face.Client(opend.host, opend.port, mode="bypass") as client:
            expected = {code: client.get_page(code, num=50).body for code in codes}
        answers = []
        with Process(unprivileged, face, opend, mode, cache, codes) as nobody:
            for code in codes:
                outcome, value, texts = nobody.hear()
                if isinstance(outcome, str):
                    assert value == expected[code]
                answers.append((outcome, texts))
        return answers

    return ask_all


def test_in_a_folder_that_cannot_be_written_online_answers_with_a_warning(
    ask_as_nobody: AskAsNobody, open_folder: Path
) -> None:
    open_folder.chmod(0o555)
    cache = open_folder / "pages.sqlite3"
    (first, texts), (second, no_texts) = ask_as_nobody("online", cache, "HK.00700", "HK.00700")
    assert (first, second) == ("opend", "opend")
    assert len(texts) == 1
    assert str(cache) in texts[0]
    assert "Permission denied" in texts[0]
    assert no_texts == []
    [(outcome, _)] = ask_as_nobody("online", open_folder / "new" / "pages.sqlite3", "HK.00700")
    assert outcome == "opend"
    [(outcome, texts)] = ask_as_nobody("offline", cache, "HK.00700")
    assert (outcome, texts) == (CacheMiss, [])
    assert list(open_folder.iterdir()) == []


@pytest.mark.parametrize("file_mode", [0o444, 0o666])
def test_what_was_recorded_is_served_from_a_folder_that_cannot_be_written(
    ask_as_nobody: AskAsNobody, recorded: Path, open_folder: Path, file_mode: int
) -> None:
    cache = open_folder / "pages.sqlite3"
    shutil.copyfile(recorded, cache)
    cache.chmod(file_mode)  # where the file could be written, its journal could not be made
    open_folder.chmod(0o555)
    before = cache.read_bytes()
    codes = ("HK.00700", "US.GME", "HK.00700")
    (first, nothing), (new, texts), (again, _) = ask_as_nobody("online", cache, *codes)
    assert (first, nothing, new, again) == ("cache", [], "opend", "cache")
    assert len(texts) == 1
    assert str(cache) in texts[0]
    assert [outcome for outcome, _ in ask_as_nobody("offline", cache, *codes)] == ["cache", CacheMiss, "cache"]
    assert cache.read_bytes() == before
    assert beside(cache) == []


def test_a_file_that_cannot_be_read_is_no_damaged_file(
    ask_as_nobody: AskAsNobody, recorded: Path, open_folder: Path
) -> None:
    cache = open_folder / "pages.sqlite3"
    shutil.copyfile(recorded, cache)
    open_folder.chmod(0o777)
    cache.chmod(0)
    [(outcome, texts)] = ask_as_nobody("online", cache, "HK.00700")
    assert outcome == "opend"
    assert len(texts) == 1
    [(outcome, _)] = ask_as_nobody("offline", cache, "HK.00700")
    assert outcome is CacheError
    cache.chmod(0o644)
    assert cache.read_bytes() == recorded.read_bytes()
    assert beside(cache) == []


def test_a_folder_that_cannot_be_entered_is_an_error_of_the_cache(
    ask_as_nobody: AskAsNobody, recorded: Path, open_folder: Path
) -> None:
    inner = open_folder / "inner"
    inner.mkdir()
    cache = inner / "pages.sqlite3"
    shutil.copyfile(recorded, cache)
    inner.chmod(0)
    try:
        [(outcome, texts)] = ask_as_nobody("online", cache, "HK.00700")
        assert outcome == "opend"
        assert len(texts) == 1
        [(outcome, _)] = ask_as_nobody("offline", cache, "HK.00700")
        assert issubclass(outcome, CacheError), outcome
    finally:
        inner.chmod(0o755)


def test_a_damaged_file_that_cannot_be_set_aside_is_left_and_pages_are_fetched(
    ask_as_nobody: AskAsNobody, open_folder: Path
) -> None:
    cache = open_folder / "pages.sqlite3"
    cache.write_bytes(b"no database" * 1000)
    cache.chmod(0o666)
    open_folder.chmod(0o555)
    (first, texts), (second, no_texts) = ask_as_nobody("online", cache, "HK.00700", "US.AAPL")
    assert (first, second, no_texts) == ("opend", "opend", [])
    assert len(texts) == 1
    assert "could not be moved aside" in texts[0]
    assert cache.read_bytes() == b"no database" * 1000
    assert beside(cache) == []


def test_where_a_killed_writers_half_cannot_be_undone_it_is_not_read_either(
    ask_as_nobody: AskAsNobody, recorded: Path, open_folder: Path
) -> None:
    kill_writer(recorded)
    cache = open_folder / "pages.sqlite3"
    for suffix in ("", "-journal"):
        shutil.copyfile(f"{recorded}{suffix}", f"{cache}{suffix}")
        Path(f"{cache}{suffix}").chmod(0o444)
    open_folder.chmod(0o555)
    [(outcome, texts)] = ask_as_nobody("online", cache, "HK.00700")
    assert outcome == "opend"
    assert len(texts) == 1
    [(outcome, _)] = ask_as_nobody("offline", cache, "HK.00700")
    assert outcome is CacheError


@pytest.mark.parametrize("place", ["file/pages.sqlite3", "file/folder/pages.sqlite3", "folder"])
def test_a_place_where_no_file_can_be_is_a_warning_online_and_an_error_offline(
    open_client: OpenClient, opend: Simulator, tmp_path: Path, place: str
) -> None:
    (tmp_path / "file").write_text("a regular file")
    (tmp_path / "folder").mkdir()
    cache = tmp_path / place
    client = open_client("online", cache)
    with told() as texts:
        assert [ask(client, opend, "HK.00700") for _ in range(2)] == ["opend", "opend"]
    assert len(texts) == 1
    assert str(cache) in texts[0]
    with pytest.raises(CacheError, match="page cache"):
        open_client("offline", cache).get_page("HK.00700", num=50)
    assert (tmp_path / "file").read_text() == "a regular file"
    assert list((tmp_path / "folder").iterdir()) == []


# A full disk ----------------------------------------------------------------------------------------------------------


def ask_on_full_disk(link: Any, face: ModuleType, opend: Simulator, cache: Path, limit: int) -> None:
    """No file may grow beyond `limit` bytes, as on a full disk; tell each page's source and body, and the warnings."""
    import resource

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    with told() as texts, face.Client(opend.host, opend.port, mode="online", cache=cache, timeout=5) as client:
        pages = [client.get_page(code, num=50) for code in ("US.GME", "US.TSLA", "US.GME")]
    link.send(([(page.source, page.body) for page in pages], texts))


def assert_answered_on_full_disk(face: ModuleType, opend: Simulator, cache: Path, limit: int) -> None:
    expected = [("opend", truth(opend, code)) for code in ("US.GME", "US.TSLA", "US.GME")]
    with Process(ask_on_full_disk, face, opend, cache, limit) as poor:
        answers, texts = poor.hear()
    assert answers == expected
    assert len(texts) == 1
    assert "the free space on its disk" in texts[0]
    assert [name for name in beside(cache) if "corrupt" in name] == []


# Of the file's size: the journal has no room either, the file could not even be rewritten, or only not grow.
@pytest.mark.parametrize("share", [0.0, 0.05, 0.4, 0.8, 1.0])
def test_on_a_full_disk_pages_are_fetched_and_what_was_recorded_stays(
    face: ModuleType, open_client: OpenClient, opend: Simulator, recorded: Path, share: float
) -> None:
    before = content(recorded)
    assert_answered_on_full_disk(face, opend, recorded, int(share * recorded.stat().st_size))
    # The next one has room again: as reader and as writer.
    assert ask(open_client("offline", recorded), opend, "HK.00700") == "cache"
    assert content(recorded) == before
    client = open_client("online", recorded)
    assert [ask(client, opend, "US.GME") for _ in range(2)] == ["opend", "cache"]
    assert_sound(recorded)


# The last one has room for an empty cache, but for no page.
@pytest.mark.parametrize("limit", [0, 1000, 5000, 8200])
def test_a_file_for_which_there_is_no_room_is_no_damaged_file(
    face: ModuleType, open_client: OpenClient, opend: Simulator, cache: Path, limit: int
) -> None:
    assert_answered_on_full_disk(face, opend, cache, limit)
    client = open_client("online", cache)
    assert [ask(client, opend, "US.GME") for _ in range(2)] == ["opend", "cache"]
    assert_sound(cache)


# A file that goes, or gives its place to another ----------------------------------------------------------------------


def test_a_file_that_was_deleted_is_begun_anew(
    open_client: OpenClient, face: ModuleType, opend: Simulator, recorded: Path
) -> None:
    online, offline = open_client("online", recorded), open_client("offline", recorded)
    assert [ask(client, opend, "HK.00700") for client in (online, offline)] == ["cache", "cache"]
    recorded.unlink()
    with pytest.raises(face.CacheMiss):
        offline.get_page("HK.00700", num=50)
    with told() as texts:
        assert [ask(online, opend, "HK.00700") for _ in range(2)] == ["opend", "cache"]
    assert texts == []
    assert ask(offline, opend, "HK.00700") == "cache"
    assert_sound(recorded)


def test_the_folder_of_a_file_may_be_deleted_too(open_client: OpenClient, opend: Simulator, tmp_path: Path) -> None:
    cache = tmp_path / "folder" / "pages.sqlite3"
    client = open_client("online", cache)
    assert ask(client, opend, "HK.00700") == "opend"
    shutil.rmtree(cache.parent)
    with told() as texts:
        assert [ask(client, opend, "HK.00700") for _ in range(2)] == ["opend", "cache"]
    assert texts == []


def test_a_file_that_took_the_place_of_another_is_used_from_the_next_call_on(
    open_client: OpenClient, face: ModuleType, opend: Simulator, recorded: Path, tmp_path: Path
) -> None:
    online, offline = open_client("online", recorded), open_client("offline", recorded)
    assert [ask(client, opend, "US.AAPL") for client in (online, offline)] == ["cache", "cache"]
    other = tmp_path / "other.sqlite3"
    opend.universe.revise("HK.00700", 2, aggregatedShort=11)
    ask(open_client("online", other), opend, "HK.00700")
    other.replace(recorded)
    opend.requests.clear()
    with told() as texts:
        assert [ask(client, opend, "HK.00700") for client in (online, offline)] == ["cache", "cache"]
        with pytest.raises(face.CacheMiss):
            offline.get_page("US.AAPL", num=50)
        assert [ask(online, opend, "US.AAPL") for _ in range(2)] == ["opend", "cache"]
    assert texts == []
    assert len(opend.requests) == 1
    assert_sound(recorded)


@pytest.mark.parametrize("mode", ["online", "offline"])
def test_pages_that_are_cut_from_the_record_are_of_the_file_that_is_there_now(
    open_client: OpenClient, opend: Simulator, tmp_path: Path, mode: str
) -> None:
    cache, kept = tmp_path / "pages.sqlite3", [tmp_path / "first.sqlite3", tmp_path / "second.sqlite3"]
    bodies = []
    for path in kept:
        assert ask(open_client("refresh", path), opend, "HK.00700") == "opend"
        bodies.append(truth(opend, "HK.00700", num=10))
        opend.universe.revise("HK.00700", 3, aggregatedShort=7)
    client = open_client(mode, cache)
    for turn in range(10):
        shutil.copyfile(kept[turn % 2], tmp_path / "copy")
        (tmp_path / "copy").replace(cache)
        page = client.get_page("HK.00700", num=10)
        assert (page.source, page.body) == ("cache", bodies[turn % 2])


# Who may read what is recorded ----------------------------------------------------------------------------------------


@pytest.mark.needs("permissions")
@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_new_files_and_folders_are_their_owners_only(
    open_client: OpenClient, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, umask: int
) -> None:
    monkeypatch.setenv("OPEND_SI_RATE", "30/30")
    cache, home = tmp_path / "folder" / "pages.sqlite3", tmp_path / "home"
    before = os.umask(umask)
    try:
        open_client("online", cache).get_page("HK.00700", num=50)
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (cache.parent, cache, home, *home.iterdir())}
    assert modes == {"folder": 0o700, "pages.sqlite3": 0o600, "home": 0o700, "budget.slots": 0o600}


@pytest.mark.needs("permissions")
def test_the_journal_is_its_owners_only(recorded: Path) -> None:
    before = os.umask(0)
    try:
        with Process(write_half, recorded) as writer:
            writer.hear()
            journal = recorded.with_name(f"{recorded.name}-journal")
            assert stat.S_IMODE(journal.stat().st_mode) == 0o600
    finally:
        os.umask(before)
