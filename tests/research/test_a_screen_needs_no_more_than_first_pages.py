"""A screen that is read from first pages alone has the rows that whole histories end with, and never a wrong or an old
one, whatever was recorded and whatever became of the file.

The truth is read from the simulator's own messages.
"""

import random
import shutil
import sqlite3
import warnings
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd
import pytest

from opend_si.errors import CacheError
from opend_si.simulator import Simulator, Universe
from tests.cache.processes import changed
from tests.stress import damage

PLAIN, GREW, REVISED, OLD_REVISED, AGAIN, SHORT, EMPTY = (f"HK.{number:05}" for number in range(1, 8))
# Of these more than the first page has to be read, or nothing helps.
SHORT_HEAD, VOID, GAP = "HK.00011", "HK.00012", "HK.00013"
# The newest row of each symbol at the time of the earlier state.
LATEST_BEFORE: dict[str, dict[str, Any] | None] = {}
WHOLE = [PLAIN, GREW, REVISED, OLD_REVISED, AGAIN, SHORT, EMPTY, SHORT_HEAD, VOID]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Universe, Path, bytes]:
    """A record of many pasts; and the file as it was before the last of them."""
    import futu_si

    universe = Universe(symbols=[*WHOLE, GAP], most_rows=120)
    for symbol, count in ((SHORT, 1), (EMPTY, 0)):
        rows = universe.rows(symbol)
        assert isinstance(rows, list)
        del rows[count:]
    cache = tmp_path_factory.mktemp("recorded") / "pages.sqlite3"
    with Simulator(universe) as opend, futu_si.Client(opend.host, opend.port, mode="online", cache=cache) as client:
        assert client.sync(WHOLE).ok
        client.get_page(GAP, num=50)
        anew = client.with_options(max_age=0)
        for _ in range(3):
            universe.publish(GREW, 2)
            assert anew.sync([GREW]).new_rows == 2
        universe.publish(SHORT_HEAD)
        anew.sync([SHORT_HEAD])
        earlier = cache.read_bytes()
        LATEST_BEFORE.update((symbol, latest(universe, symbol)) for symbol in (*WHOLE, GAP))
        universe.revise(REVISED, 0, aggregatedShort=7, closePrice=None)
        universe.revise(REVISED, 1, aggregatedShort=None)
        universe.revise(OLD_REVISED, 100, aggregatedShort=7)
        universe.publish(VOID, 30)
        assert anew.sync([REVISED, OLD_REVISED, VOID]).ok
        universe.revise(VOID, 20, aggregatedShort=7)
        assert anew.sync([VOID]).ok
        client.with_options(mode="refresh").history(OLD_REVISED)
        client.with_options(mode="refresh").history(AGAIN)
        universe.publish(SHORT_HEAD)
        anew.get_page(SHORT_HEAD, num=1)
        anew.sync([SHORT_HEAD])
        client.with_options(mode="refresh").get_page(SHORT_HEAD, num=1)
    return universe, cache, earlier


def latest(universe: Universe, symbol: str) -> dict[str, Any] | None:
    """The newest row that the server has, and what changed."""
    rows = universe.rows(symbol) or ()
    if not rows:
        return None
    counts = [row.aggregatedShort if row.HasField("aggregatedShort") else None for row in rows[:2]]
    change = None if len(counts) < 2 or None in counts else counts[0] - counts[1]  # type: ignore[operator]
    price = rows[0].closePrice if rows[0].HasField("closePrice") else None
    return {
        "date": rows[0].timestampStr,
        "timestamp": rows[0].timestamp,
        "aggregated_short": counts[0],
        "close_price": price,
        "change": change,
    }


def told(row: Any) -> dict[str, Any]:
    """A row of a frame, as `latest` has it."""
    names = ("date", "timestamp", "aggregated_short", "close_price", "change")
    values = {name: None if pd.isna(row[name]) else row[name] for name in names}
    return {**values, "date": f"{row['date']:%Y-%m-%d}"}


def screened(client: Any, codes: list[str] | None = None) -> tuple[dict[str, dict[str, Any]], str]:
    """What a screen has of each symbol, and what it warned of."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        frame = client.screen("HK", by="close_price", top=1000, since="2000-01-01", codes=codes)
    return {row["symbol"]: told(row) for _, row in frame.iterrows()}, " ".join(str(one.message) for one in said)


@pytest.mark.parametrize("symbol", WHOLE)
def test_each_has_the_row_that_its_history_ends_with(
    one_face: ModuleType, recorded: tuple[Universe, Path, bytes], symbol: str
) -> None:
    universe, cache, _ = recorded
    with one_face.Client(mode="offline", cache=cache) as client:
        found, said = screened(client, [symbol])
        wanted = latest(universe, symbol)
        assert found == ({} if wanted is None else {symbol: wanted})
        assert said == ""
        if found:
            frame, history = client.screen(codes=[symbol], by="close_price"), client.history(symbol)
            whole = client.panel([symbol])
            for name in ("published_by", "known_at", *history.columns):
                assert frame[name].tolist() == [history[name].iloc[-1]] == [whole[name].iloc[-1]] or pd.isna(
                    frame[name].iloc[0]
                )
            units = frame.attrs.pop("units")
            assert units == {
                **whole.attrs.pop("units"),
                "days_between": "days",
                "change": "shares",
                "change_percent": "percent",
            }
            assert frame.attrs == whole.attrs


def test_all_together_are_what_each_is_and_what_has_a_gap_is_named(
    one_face: ModuleType, recorded: tuple[Universe, Path, bytes]
) -> None:
    universe, cache, _ = recorded
    wanted = {symbol: row for symbol in WHOLE if (row := latest(universe, symbol)) is not None}
    with one_face.Client(mode="offline", cache=cache) as client:
        found, said = screened(client)
        assert found == wanted
        assert GAP in said
        whole = [symbol for symbol in WHOLE if symbol not in (SHORT_HEAD, VOID)]
        assert screened(client, whole) == ({name: row for name, row in wanted.items() if name in whole}, "")
        assert screened(client, iter(whole))[0].keys() == {*whole} - {EMPTY}  # type: ignore[arg-type]
        with pytest.raises(one_face.CacheMiss, match=GAP):
            client.screen(codes=[PLAIN, GAP])


# Damage --------------------------------------------------------------------------------------------------------------

FIRST = "next_key = '' AND superseded_seq = 0"
PAGE_CHANGES = (
    *("symbol = 'HK.00099'", "symbol = 'HK.00003'", "next_key = '1'", "num = 10", "origin = 'x'"),
    *("first_seq = 1", "first_seq = first_seq + 1000", "fetched_at = 0", "checked_seq = checked_seq + 1"),
    *("superseded_seq = 0", "superseded_seq = 1", "void_seq = 1", "void_seq = 0", "seen = x'010101'", "sent = 1"),
    *("checksum = zeroblob(16)", "checksum = x''", "bytes = x''", "bytes = substr(bytes, 1, 100)"),
    "body = (SELECT body FROM page WHERE symbol = 'HK.00001' AND next_key = '')",
    "(body, checksum) = (SELECT body, checksum FROM page WHERE symbol = 'HK.00001' AND next_key = '')",
)
SEAL_CHANGES = (
    *("seq = seq + 1", "floor = 1", "is_judged = 0", "past = x''", "summary = ''", "digest = zeroblob(16)"),
    *("summary = replace(summary, 'true', 'false')", "summary = replace(summary, '\"newest\":1', '\"newest\":2')"),
    "summary = (SELECT summary FROM seal WHERE symbol = 'HK.00001')",
    "(summary, digest) = (SELECT summary, digest FROM seal WHERE symbol = 'HK.00001')",
)
DAMAGE = (
    *(changed(change, f"symbol = ?1 AND {FIRST}") for change in PAGE_CHANGES),
    *(changed(change, "symbol = ?1 AND next_key != ''") for change in PAGE_CHANGES[-6:]),
    f"DELETE FROM page WHERE symbol = ?1 AND {FIRST}",
    *("DELETE FROM page WHERE symbol = ?1 AND next_key != ''", "DELETE FROM page WHERE symbol = ?1"),
    *("DELETE FROM seal WHERE symbol = ?1", "DELETE FROM past WHERE symbol = ?1", "DELETE FROM sequence"),
    *(f"UPDATE seal SET {change} WHERE symbol = ?1" for change in SEAL_CHANGES),
)


@pytest.mark.parametrize("how", DAMAGE)
@pytest.mark.parametrize("symbol", [GREW, REVISED])
def test_of_a_damaged_symbol_no_wrong_row_comes(
    one_face: ModuleType, recorded: tuple[Universe, Path, bytes], tmp_path: Path, how: str, symbol: str
) -> None:
    universe, cache, _ = recorded
    copy = Path(shutil.copy(cache, tmp_path / "copy.sqlite3"))
    with closing(sqlite3.connect(copy, isolation_level=None)) as connection:
        try:
            connection.execute(how, (symbol,) if "?1" in how else ())
        except sqlite3.IntegrityError:  # it is the key of another page
            return
    with one_face.Client(mode="offline", cache=copy) as client:
        assert_right_or_named(client, universe, symbol)


def assert_right_or_named(client: Any, universe: Universe, symbol: str) -> None:
    """Each row is the one that was recorded last; what is left out is named.

    Pages under a damaged name may have become another symbol's, too; a symbol without pages is not missed.
    """
    try:
        found, said = screened(client)
    except CacheError:
        return
    assert all(row == latest(universe, name) for name, row in found.items())
    there = {*client.recorded()["symbol"]} if "HK.00099" not in said else {*WHOLE}
    missing = {name for name in WHOLE if latest(universe, name) is not None} - found.keys()
    assert missing <= {symbol, "HK.00003"}
    assert not (missing & there) or "not completely recorded" in said


def test_a_symbol_that_has_lost_an_older_page_is_left_out_by_name(
    one_face: ModuleType, recorded: tuple[Universe, Path, bytes], tmp_path: Path
) -> None:
    copy = Path(shutil.copy(recorded[1], tmp_path / "copy.sqlite3"))
    with closing(sqlite3.connect(copy, isolation_level=None)) as connection:
        connection.execute("DELETE FROM page WHERE symbol = ? AND next_key != ''", (PLAIN,))
    with one_face.Client(mode="offline", cache=copy) as client:
        found, said = screened(client)
        assert PLAIN not in found
        assert PLAIN in said
        with pytest.raises(one_face.CacheMiss, match=PLAIN):
            client.screen(codes=[PLAIN])


def test_a_first_page_and_a_seal_of_before_bring_nothing_old_back(
    one_face: ModuleType, recorded: tuple[Universe, Path, bytes], tmp_path: Path
) -> None:
    """As when a disk loses the last writes of some blocks, and not of those of the other pages."""
    universe, cache, earlier = recorded
    copy, before = Path(shutil.copy(cache, tmp_path / "copy.sqlite3")), tmp_path / "before.sqlite3"
    before.write_bytes(earlier)
    with closing(sqlite3.connect(copy, isolation_level=None)) as connection:
        connection.execute("ATTACH ? AS before", (str(before),))
        names = [name for _, name, *_ in connection.execute("PRAGMA table_info(page)").fetchall() if name != "body"]
        of_symbol = f"WHERE symbol = '{VOID}'"
        connection.execute(f"DELETE FROM page {of_symbol} AND next_key = ''")
        columns = ", ".join(names)
        connection.execute("INSERT INTO body SELECT id + 1000, bytes FROM before.body")
        connection.execute(
            f"INSERT INTO page ({columns}, body) SELECT {columns}, body + 1000 FROM before.page {of_symbol} AND next_key = ''"
        )
        connection.execute(f"REPLACE INTO seal SELECT * FROM before.seal {of_symbol}")
    with one_face.Client(mode="offline", cache=copy) as client:
        found, said = screened(client)
    assert VOID not in found
    assert VOID in said
    assert found[PLAIN] == latest(universe, PLAIN)


@pytest.mark.parametrize("part", range(4))
def test_of_a_copy_that_is_damaged_at_random_no_wrong_row_comes(
    one_face: ModuleType, recorded: tuple[Universe, Path, bytes], tmp_path: Path, part: int
) -> None:
    """Some of its blocks may be those of an earlier state."""
    universe, cache, earlier = recorded
    before = tmp_path / "before.sqlite3"
    before.write_bytes(earlier)
    recording = damage.Recording(cache.read_bytes(), earlier, {})
    rows = 0
    for seed in range(part, 160, 4):
        chance = random.Random(seed)
        data = bytearray(damage.damage(recording, chance) if seed % 2 else recording.data)
        if seed % 2 == 0:
            for _ in range(chance.choice((1, 2, 5, 20))):
                damage._bring_back(data, earlier, chance)
        copy = tmp_path / f"{seed}.sqlite3"
        copy.write_bytes(data)
        with one_face.Client(mode="offline", cache=copy) as client:
            try:
                found, _ = screened(client)
            except CacheError:
                continue
        rows += len(found)
        for symbol, row in found.items():
            # Where all that stands there of a symbol is of the earlier state, nobody can know that there was more.
            is_earlier = everything(copy, symbol) == everything(before, symbol) != everything(cache, symbol)
            expected = LATEST_BEFORE[symbol] if is_earlier else latest(universe, symbol)
            assert row == expected, (seed, symbol)
    assert rows > 10


def everything(file: Path, symbol: str) -> list[Any] | None:
    """What a file has of a symbol: its pages with their bytes, and its seal; None where SQLite cannot read it."""
    pages = (
        "SELECT page.*, bytes FROM page LEFT JOIN body ON id = body WHERE symbol = ? ORDER BY next_key, num, version"
    )
    try:
        with closing(sqlite3.connect(file)) as connection:
            seal = connection.execute("SELECT * FROM seal WHERE symbol = ?", (symbol,)).fetchall()
            return [*connection.execute(pages, (symbol,)).fetchall(), *seal]
    except sqlite3.DatabaseError:
        return None


def test_made_up_rows_are_named(one_face: ModuleType, recorded: tuple[Universe, Path, bytes]) -> None:
    with one_face.Client(mode="offline", cache=recorded[1]) as client:
        for codes in ([PLAIN], [VOID], [PLAIN, VOID]):
            assert client.screen(codes=codes, since="2000-01-01").attrs["origin"] == "simulator"


def test_what_is_recorded_meanwhile_is_screened(
    one_face: ModuleType, start: Callable[..., Simulator], tmp_path: Path
) -> None:
    opend = start(universe=Universe(symbols=[PLAIN, GREW], most_rows=60))
    with one_face.Client(opend.host, opend.port, mode="online", cache=tmp_path / "pages.sqlite3", max_age=0) as client:
        for _ in range(3):
            assert client.sync([PLAIN, GREW]).ok
            found, said = screened(client)
            assert found == {symbol: latest(opend.universe, symbol) for symbol in (PLAIN, GREW)}
            assert said == ""
            opend.universe.publish(PLAIN)
            opend.universe.revise(GREW, 0, aggregatedShort=11)
        client.delete([PLAIN])
        assert screened(client)[0].keys() == {GREW}
