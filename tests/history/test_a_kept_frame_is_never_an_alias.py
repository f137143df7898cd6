"""A history that is given again is what it would be anew, whatever was done to the frames that were given before."""

import copy
import pickle
import shutil
import sqlite3
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest

from opend_si.errors import CacheMiss
from opend_si.history.kept import MAX_BYTES, Frames, Ground
from opend_si.history.ledger import Ledger
from opend_si.history.symbol import SymbolRecord
from opend_si.simulator import Simulator, Universe
from opend_si.tables import frame_bytes
from tests.processes import ROOT, Run, at

HK, US = "HK.00700", "US.AAPL"
FIELDS = {
    HK: ("timestamp", "timestampStr", "aggregatedShort", "aggregatedShortRatio", "closePrice", "lastClosePrice"),
    US: ("timestamp", "timestampStr", "sharesShort", "shortPercent", "avgDailyShareVolume", "daysToCover"),
}


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "pages.sqlite3"


@pytest.fixture
def opend(start: Callable[..., Simulator]) -> Simulator:
    universe = Universe(most_rows=130)
    universe.revise(US, 3, sharesShort=None)  # a column of pandas' own kind
    return start(universe=universe)


@pytest.fixture
def client(one_face: ModuleType, opend: Simulator, cache: Path) -> Iterator[Any]:
    with one_face.Client(opend.host, opend.port, mode="online", cache=cache) as client:
        yield client


def anew(one_face: ModuleType, cache: Path, *asked: Any, **how: Any) -> pd.DataFrame:
    """What a client gives that has nothing in memory."""
    with one_face.Client(mode="offline", cache=cache) as client:
        frame: pd.DataFrame = client.history(*asked, **how)
    return frame


def rows_of(frame: pd.DataFrame, code: str) -> list[tuple[Any, ...]]:
    """The rows of a frame, as plain values."""
    chosen = frame.iloc[:, : len(FIELDS[code])]
    return [tuple(None if pd.isna(value) else value for value in row) for row in chosen.itertuples(index=False)]


def sent(opend: Simulator, code: str) -> list[tuple[Any, ...]]:
    """What the server has, read from its messages, oldest first."""
    rows = reversed(opend.universe.rows(code) or ())
    return [tuple(getattr(row, name) if row.HasField(name) else None for name in FIELDS[code]) for row in rows]


# What is done to frames ----------------------------------------------------------------------------------------------


def _write(find: Callable[[pd.DataFrame], Any], value: Any = 0) -> Callable[[pd.DataFrame], None]:
    """Writes into what lies under a frame; some of it refuses, and some is made to take it."""

    def write(frame: pd.DataFrame) -> None:
        found = find(frame)
        with suppress(ValueError, AttributeError):
            found.setflags(write=True)
        with suppress(ValueError):
            found[0] = value

    return write


def _set(find: Callable[[pd.DataFrame], Any], name: Any, value: Any) -> Callable[[pd.DataFrame], None]:
    return lambda frame: setattr(find(frame), name, value)


def _item(frame: pd.DataFrame) -> None:
    frame.iloc[0, 2] = 0


def _column(frame: pd.DataFrame) -> None:
    frame["timestamp"] = 0
    frame["more"] = 1
    del frame["known_at"]


def _rows(frame: pd.DataFrame) -> None:
    frame.drop(frame.index[:3], inplace=True)
    frame.sort_index(ascending=False, inplace=True)


def _attrs(frame: pd.DataFrame) -> None:
    frame.attrs["units"].clear()
    frame.attrs["market"] = frame.attrs["more"] = "other"


MOMENT = pd.Timestamp("2001-01-01")
DEEDS: dict[str, Callable[[pd.DataFrame], None]] = {
    "an item": _item,
    "columns": _column,
    "rows": _rows,
    "attrs": _attrs,
    "flags": _set(lambda frame: frame.flags, "allows_duplicate_labels", False),
    "the index's name": _set(lambda frame: frame.index, "name", "other"),
    "the columns' name": _set(lambda frame: frame.columns, "name", "other"),
    "the index": _write(lambda frame: frame.index.values, MOMENT.to_datetime64()),
    "the index's array": _write(lambda frame: frame.index.array, MOMENT),
    "the names": _write(lambda frame: frame.columns.values, "other"),
    "the names' array": _write(lambda frame: frame.columns.array, "other"),
    "the names, as NumPy has them": _write(lambda frame: np.asarray(frame.columns), "other"),
    "all values": _write(lambda frame: frame.to_numpy(copy=False)),
    "numbers": _write(lambda frame: frame.iloc[:, 2].to_numpy(copy=False)),
    "numbers' array": _write(lambda frame: frame.iloc[:, 2].array),
    "fractions": _write(lambda frame: np.asarray(frame.iloc[:, 3])),
    "texts": _write(lambda frame: frame["timestamp_str"].array, "other"),
    "days": _write(lambda frame: frame["published_by"].array, MOMENT),
    "moments": _write(lambda frame: frame["known_at"].array, MOMENT.tz_localize("UTC")),
}


@pytest.mark.filterwarnings("ignore")  # of pandas, about what it is going to forbid
@pytest.mark.parametrize("code", [HK, US])
@pytest.mark.parametrize("deed", DEEDS.values(), ids=DEEDS)
def test_what_is_done_to_a_frame_never_shows_in_the_next(
    one_face: ModuleType, client: Any, cache: Path, code: str, deed: Callable[[pd.DataFrame], None]
) -> None:
    fetched = client.history(code)
    expected = pickle.dumps(anew(one_face, cache, code))
    deed(fetched)
    for _ in range(4):
        frame = client.history(code)
        wanted = pickle.loads(expected)
        pd.testing.assert_frame_equal(frame, wanted)
        assert (frame.index.name, frame.columns.name) == (wanted.index.name, wanted.columns.name)
        assert frame.attrs == wanted.attrs
        assert frame.flags.allows_duplicate_labels
        deed(frame)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("deed", [deed for name, deed in DEEDS.items() if "index" not in name])
def test_nor_does_it_in_the_next_of_a_page(client: Any, deed: Callable[[pd.DataFrame], None]) -> None:
    page = client.get_page(HK)
    expected = pickle.dumps(page.hk.assign(published_by=MOMENT, known_at=MOMENT))
    for _ in range(4):
        frame = page.hk
        pd.testing.assert_frame_equal(frame.assign(published_by=MOMENT, known_at=MOMENT), pickle.loads(expected))
        assert frame.attrs == pickle.loads(expected).attrs
        with suppress(KeyError):  # a page has not all of a history's columns
            deed(frame)


def test_rows_of_a_page_are_numbered_for_each_frame_anew(client: Any) -> None:
    for code in (HK, US):
        page = client.get_page(code)
        frames = [page.hk if code == HK else page.us for _ in range(4)]
        for frame in frames:
            numbers = np.asarray(frame.index)
            assert numbers.tolist() == [*range(len(frame))]
            numbers.setflags(write=True)
            numbers[0] = 9


NAMES = """
import sys
import numpy as np
import pandas as pd
pd.set_option("mode.string_storage", "python")
import futu_si
from opend_si.simulator import Simulator
with Simulator() as opend, futu_si.Client(opend.host, opend.port, mode="bypass") as client:
    given = lambda: [client.history("US.AAPL"), client.get_page("US.AAPL").us, client.get_page("US.AAPL").hk]
    names = [list(frame.columns) for frame in given()]
    for frame in given():
        np.asarray(frame.columns)[0] = "other"
    page = client.get_page("US.AAPL")
    for frame in (page.us, page.us, page.us, page.hk):
        np.asarray(frame.columns)[0] = "other"
    assert [list(frame.columns) for frame in given()] == names, [list(frame.columns) for frame in given()]
    assert [list(page.us.columns), list(page.hk.columns)] == names[1:]
"""


def test_names_are_each_frames_own_where_texts_are_objects_of_python() -> None:
    """As without pyarrow: what NumPy is given of them then can be written to."""
    done = subprocess.run([sys.executable, "-c", NAMES], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_threads_that_change_their_frames_see_nothing_of_each_other(client: Any) -> None:
    expected = client.history(HK).copy(deep=True)

    def ask(number: int) -> bool:
        frame = client.history(HK)
        is_right = bool(frame.equals(expected)) and frame.attrs == expected.attrs
        frame["close_price"].array[:] = number
        frame.attrs["units"]["close_price"] = number
        return is_right

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(ask, range(400)))


# What changes the record ---------------------------------------------------------------------------------------------


def _new_row(opend: Simulator, client: Any, **_: Any) -> None:
    opend.universe.publish(HK)
    client.with_options(max_age=0).history(HK)


def _revision(opend: Simulator, client: Any, **_: Any) -> None:
    opend.universe.revise(HK, 5, closePrice=1.25)
    client.with_options(max_age=0).history(HK)


def _refresh(opend: Simulator, client: Any, **_: Any) -> None:
    opend.universe.revise(HK, 100, closePrice=1.25)
    client.with_options(mode="refresh").history(HK)


def _other_client(opend: Simulator, face: ModuleType, cache: Path, **_: Any) -> None:
    opend.universe.publish(HK, 2)
    with face.Client(opend.host, opend.port, mode="online", cache=cache, max_age=0) as other:
        assert other.sync([HK]).new_rows == 2


def _other_process(opend: Simulator, console: Run, cache: Path, **_: Any) -> None:
    opend.universe.publish(HK)
    run = console("sync", HK, "--refresh", f"--cache={cache}", **at(opend), OPEND_SI_MODE="online")
    assert run.returncode == 0, run.stderr


def _deleted(opend: Simulator, client: Any, **_: Any) -> None:
    opend.universe.revise(HK, 100, closePrice=1.25)
    assert client.delete([HK])


def _imported(opend: Simulator, client: Any, face: ModuleType, cache: Path, **_: Any) -> None:
    opend.universe.publish(HK)
    other = Path(shutil.copy(cache, cache.with_name("other.sqlite3")))
    with face.Client(opend.host, opend.port, mode="online", cache=other, max_age=0) as recorder:
        recorder.history(HK)
    assert client.import_record(other).taken


def _of_another_file(opend: Simulator, face: ModuleType, cache: Path, **_: Any) -> None:
    opend.universe.publish(HK)
    other = cache.with_name("other.sqlite3")
    with face.Client(opend.host, opend.port, mode="online", cache=other) as recorder:
        recorder.history(HK)
    other.replace(cache)


CHANGES = [_new_row, _revision, _refresh, _other_client, _other_process, _deleted, _imported, _of_another_file]


@pytest.mark.parametrize("change", CHANGES, ids=[change.__name__.strip("_") for change in CHANGES])
def test_after_a_change_of_the_record_the_answer_is_new(
    one_face: ModuleType, opend: Simulator, client: Any, console: Run, cache: Path, change: Callable[..., None]
) -> None:
    for _ in range(3):
        assert rows_of(client.history(HK), HK) == sent(opend, HK)
    before = sent(opend, HK)
    change(opend=opend, client=client, face=one_face, console=console, cache=cache)
    assert sent(opend, HK) != before
    for _ in range(3):
        frame = client.history(HK)
        assert rows_of(frame, HK) == sent(opend, HK)
    pd.testing.assert_frame_equal(frame, anew(one_face, cache, HK))
    assert frame.attrs == anew(one_face, cache, HK).attrs


def test_what_is_pruned_changes_no_answer(
    one_face: ModuleType, opend: Simulator, client: Any, console: Run, cache: Path
) -> None:
    for _ in range(3):
        opend.universe.publish(HK)
        frame = client.with_options(max_age=0).history(HK)
    assert console("cache", "prune", "--older-than=0", f"--cache={cache}").returncode == 0
    for _ in range(3):
        pd.testing.assert_frame_equal(client.history(HK), frame)
    assert rows_of(frame, HK) == sent(opend, HK)


def test_offline_what_is_deleted_answers_no_more(one_face: ModuleType, client: Any, cache: Path) -> None:
    client.sync([HK, US])
    with one_face.Client(mode="offline", cache=cache) as offline:
        for _ in range(3):
            assert len(offline.history(HK)) == len(offline.history(US)) == 130
        client.delete([HK])
        with pytest.raises(CacheMiss):
            offline.history(HK)
        assert len(offline.history(US)) == 130


def test_damage_is_seen_behind_a_kept_frame(one_face: ModuleType, client: Any, opend: Simulator, cache: Path) -> None:
    for _ in range(3):
        client.history(HK)
    with closing(sqlite3.connect(cache)) as connection, connection:
        connection.execute(
            "UPDATE body SET bytes = zeroblob(length(bytes)) WHERE id IN (SELECT body FROM page WHERE symbol = ? AND next_key != '')",
            (HK,),
        )
    opend.requests.clear()
    client.with_options(max_age=0).history(HK)
    assert opend.requests
    assert rows_of(client.history(HK), HK) == sent(opend, HK)


def test_what_is_checked_again_says_so(one_face: ModuleType, client: Any, cache: Path) -> None:
    before = client.history(HK).attrs["checked_at"]
    for _ in range(3):
        assert client.history(HK).attrs["checked_at"] == before
    client.with_options(max_age=0).history(HK)
    after = client.history(HK).attrs["checked_at"]
    assert after > before
    assert after == anew(one_face, cache, HK).attrs["checked_at"]


def test_a_page_that_is_too_old_is_asked_for_however_often_it_was_given(client: Any, opend: Simulator) -> None:
    for _ in range(3):
        client.history(HK)
    opend.universe.publish(HK)
    opend.requests.clear()
    assert rows_of(client.with_options(max_age=0).history(HK), HK) == sent(opend, HK)
    assert len(opend.requests) == 1


# What is asked -------------------------------------------------------------------------------------------------------


def test_each_question_has_its_own_answer(client: Any, opend: Simulator) -> None:
    whole = client.history(HK)
    days = whole.index[[20, 90]]
    for _ in range(3):
        pd.testing.assert_frame_equal(client.history(HK), whole)
        pd.testing.assert_frame_equal(client.history(HK, start=days[0]), whole[days[0] :])
        pd.testing.assert_frame_equal(client.history(HK, end=days[1]), whole[: days[1]])
        pd.testing.assert_frame_equal(client.history(HK, start=days[0], end=days[1]), whole[days[0] : days[1]])
        for day in days:
            public = client.history(HK, as_of=day.date(), by="publication")
            assert public.index.tolist() == whole.index[whole.published_by <= day].tolist()
        assert rows_of(client.history(US), US) == sent(opend, US)
        assert len(client.history(US, kind="daily_short_volume")) == 130


def test_moments_and_days_are_those_of_the_record(client: Any, opend: Simulator, cache: Path) -> None:
    """`known_at` is when the row's page was recorded, `date` the day of its timestamp in its market."""
    client.history(US)
    opend.universe.publish(US, 3)
    client.with_options(max_age=0).history(US)
    with closing(sqlite3.connect(cache)) as connection:
        moments = [at for (at,) in connection.execute("SELECT DISTINCT fetched_at FROM page ORDER BY first_seq")]
    for _ in range(3):
        frame = client.history(US)
        known = [round(moment.timestamp() * 1000) for moment in frame.known_at]
        assert known[-3:] == [max(moments)] * 3
        assert set(known[:-3]) <= set(moments)
        assert max(known[:-3]) < max(moments)
        zone = ZoneInfo("America/New_York")
        local = [datetime.fromtimestamp(stamp, UTC).astimezone(zone).date() for stamp in frame.timestamp]
        assert [day.date() for day in frame.index] == local


def test_what_is_kept_is_bounded_by_bytes(client: Any) -> None:
    frame = client.history(HK)
    frames, ground = Frames(), Ground(SymbolRecord({}, Ledger(), None, is_whole=True), (), 1)
    tracemalloc.start()
    try:
        for number in range(5 * MAX_BYTES // (4 * frame_bytes(frame))):
            frames.keep(number, ground, [0] * len(frame), frame)
            assert frames.get(number, ground) is None  # asked for once: most are never asked for again
            frames.keep(number, ground, [0] * len(frame), frame)
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert MAX_BYTES / 3 < taken < 1.1 * MAX_BYTES
    assert frames.get(0, ground) is None
    last = frames.get(number, ground)
    assert last is not None
    pd.testing.assert_frame_equal(last, frame)


def test_a_frame_takes_no_more_memory_than_is_counted(client: Any) -> None:
    for code in (HK, US):
        frame = copy.deepcopy(client.history(code))
        taken = int(frame.memory_usage(deep=True).sum())
        assert taken <= frame_bytes(frame) <= 3 * taken + 8000
