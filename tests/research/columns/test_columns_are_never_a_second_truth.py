"""The file of columns beside the record changes no answer, whatever becomes of it.

What a table holds is equal to the byte with and without the file. The values are held against the recorded replies,
too, which Polars puts together here: nothing of the engine that reads them has a part in it.
"""

import json
import random
import shutil
import sqlite3
import struct
import subprocess
import sys
import warnings
import zlib
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import polars as pl
import pytest

from opend_si.simulator import Simulator, Universe
from opend_si_schema.calls import DAILY_SHORT_VOLUME, SHORT_INTEREST
from tests.research.columns import (
    CODES,
    MARK,
    ROWS,
    answers,
    assert_same,
    beside,
    client,
    is_read,
    to_bytes,
    without_file,
)

# What stands before the mark at its end: the length of the index, and its checksum.
END = struct.Struct(">QI")


@pytest.fixture
def every_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is worth writing for a page, and has small blocks."""
    monkeypatch.setattr("opend_si.research.columns._WORTH_PAGES", 1)
    monkeypatch.setattr("opend_si.research.columns._WORTH_SHARE", 0)
    monkeypatch.setattr("opend_si.research.columns._BLOCK_PAGES", 5)


# What it holds --------------------------------------------------------------------------------------------------------


def test_a_sync_writes_it_and_tables_are_read_from_it(cache: Path, tmp_path: Path) -> None:
    assert beside(cache).read_bytes()[: len(MARK)] == MARK
    assert is_read(cache, tmp_path / "gone")
    assert_same(answers(cache), without_file(cache, tmp_path / "plain"))


def test_its_values_are_those_of_the_replies(cache: Path) -> None:
    rows: dict[tuple[str, int], dict[str, Any]] = {}
    with closing(sqlite3.connect(cache)) as connection:
        for symbol, body in connection.execute(
            "SELECT symbol, bytes FROM page JOIN body ON id = body ORDER BY first_seq"
        ):
            for item in SHORT_INTEREST.response.FromString(body).s2c.hkItemList:
                rows[symbol, item.timestamp] = {
                    "symbol": symbol,
                    "timestamp": item.timestamp,
                    "timestamp_str": item.timestampStr,
                    "aggregated_short": item.aggregatedShort,
                    "aggregated_short_ratio": item.aggregatedShortRatio,
                    "close_price": item.closePrice,
                    "last_close_price": item.lastClosePrice,
                }
    expected = pl.DataFrame(list(rows.values())).sort("symbol", "timestamp")
    with client(cache) as asked:
        found = pl.DataFrame(pl.from_arrow(asked.arrow_table()))
    assert found.select(expected.columns).equals(expected)
    midnights = pl.from_epoch(found["timestamp"]).dt.convert_time_zone("Asia/Hong_Kong").dt.date()
    assert found["date"].equals(midnights.alias("date"))
    assert len(found) == len(CODES) * ROWS


def test_a_table_of_all_writes_it_where_it_may(cache: Path, tmp_path: Path) -> None:
    expected = without_file(cache, tmp_path / "plain")
    whole = beside(cache).read_bytes()
    for mode in ("offline", "online", "refresh"):
        beside(cache).unlink()
        assert_same(answers(cache, mode), expected)
        assert beside(cache).exists() == (mode != "offline")
        if mode == "offline":
            beside(cache).touch()
    assert beside(cache).read_bytes() == whole
    beside(cache).unlink()
    with client(cache, "online") as asked:
        asked.panel(CODES[1:])  # one is not asked for
        assert not beside(cache).exists()
        asked.export(tmp_path / "data")
        assert beside(cache).read_bytes() == whole
        assert asked.screen(top=3).equals(client(cache).screen(top=3))


def test_any_choice_of_symbols_is_the_same(cache: Path, tmp_path: Path) -> None:
    pick = random.Random(1)
    for count in (0, 1, 2, 20, 39, 40):
        codes = pick.sample(CODES, count)
        ask: dict[str, Any] = {"codes": codes, "market": "HK"}
        assert_same(answers(cache, **ask), without_file(cache, tmp_path / "plain", **ask))


def test_a_small_record_has_none_and_a_sync_does_not_import_for_it(opend: Simulator, tmp_path: Path) -> None:
    cache = tmp_path / "pages.sqlite3"
    program = f"""
import sys, futu_si
with futu_si.Client({opend.host!r}, {opend.port}, mode="online", cache={str(cache)!r}) as client:
    assert client.sync(["HK.00700", "HK.00001"]).requests
    assert not {{"pyarrow", "pandas"}} & {{*sys.modules}}
    assert len(client.panel(market="HK")) > 0
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
    assert not beside(cache).exists()


def test_every_kind_and_market_has_its_own(one_face: ModuleType, tmp_path: Path, every_page: None) -> None:
    cache = tmp_path / "pages.sqlite3"
    with (
        Simulator(Universe(most_rows=120)) as opend,
        one_face.Client(opend.host, opend.port, mode="online", cache=cache) as asked,
    ):
        for kind in ("short_interest", "daily_short_volume"):
            asked.sync(["HK.00700", "HK.02840", "US.AAPL", "US.GME"], kind=kind)
    kinds = [(call.name, table.market.prefix) for call in (SHORT_INTEREST, DAILY_SHORT_VOLUME) for table in call.tables]
    files = sorted(beside(cache, *each) for each in kinds)
    assert sorted(tmp_path.glob("*.columns")) == files
    told = [answers(cache, market=market, kind=kind) for kind, market in kinds]
    for (kind, market), one in zip(kinds, told, strict=True):
        assert_same(one, without_file(cache, tmp_path / "plain", market=market, kind=kind))
    # Each in the place of the next: what is of another kind or market is not read.
    contents = [file.read_bytes() for file in files]
    for file, content in zip(files, contents[1:] + contents[:1], strict=True):
        file.write_bytes(content)
    for (kind, market), one in zip(kinds, told, strict=True):
        assert_same(one, answers(cache, market=market, kind=kind))


def test_whatever_happens_to_a_record_its_tables_are_those_of_its_pages(tmp_path: Path, every_page: None) -> None:
    pick = random.Random(7)
    cache = tmp_path / "pages.sqlite3"
    codes = [f"HK.{number:05d}" for number in range(9)]
    old: list[bytes] = []
    with (
        Simulator(Universe(symbols=codes, most_rows=120)) as opend,
        client(cache, "online", host=opend.host, port=opend.port, max_age=0) as asked,
    ):
        asked.sync(codes[:5])
        between = [datetime.now(UTC)]
        for _ in range(60):
            code = pick.choice(codes)
            match pick.randrange(8):
                case 0:
                    opend.universe.publish(code, pick.randint(1, 60))
                case 1:
                    opend.universe.revise(code, pick.randrange(60), closePrice=pick.choice((None, float("nan"), 1.5)))
                case 2 | 3:
                    asked.sync(pick.sample(codes, pick.randint(1, 9)))
                case 4:
                    asked.get_page(code, num=pick.choice((10, 50)))
                case 5:
                    asked.delete([pick.choice(asked.recorded()["symbol"].tolist())])
                    asked.sync(codes[:1])
                case 6 if old:
                    beside(cache).write_bytes(pick.choice(old))
                case _:
                    between.append(datetime.now(UTC))
            if beside(cache).exists():
                old.append(beside(cache).read_bytes())
            plain, told = heard(lambda: without_file(cache, tmp_path / "plain", market="HK"))
            found, also = heard(lambda: answers(cache, pick.choice(("offline", "online")), market="HK"))
            assert_same(found, plain)
            assert [text.replace(str(cache), "") for text in also] == [
                text.replace(str(tmp_path / "plain" / "alone.sqlite3"), "") for text in told
            ]


def heard(ask: Callable[[], Any]) -> tuple[Any, list[str]]:
    """An answer, and what was warned of."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        return ask(), [str(one.message) for one in told]


# What becomes of it ---------------------------------------------------------------------------------------------------


def reindexed(content: bytes, change: Callable[[dict[str, Any]], object]) -> bytes:
    """A file with another index, whole by its checksums."""
    end = len(content) - len(MARK) - END.size
    length, _ = END.unpack(content[end : end + END.size])
    index = json.loads(content[end - length : end])
    change(index)
    data = json.dumps(index).encode()
    return content[: end - length] + data + END.pack(len(data), zlib.crc32(data)) + MARK


def test_damage_of_any_byte_is_seen(cache: Path, tmp_path: Path) -> None:
    expected = without_file(cache, tmp_path / "plain")
    content = beside(cache).read_bytes()
    pick = random.Random(3)
    places = [*range(0, len(MARK), 5), *(len(content) - 1 - back for back in range(0, 60, 4))]
    places += [pick.randrange(len(content)) for _ in range(60)]
    for place in places:
        changed = bytearray(content)
        changed[place] ^= 1 << pick.randrange(8)
        beside(cache).write_bytes(changed)
        with client(cache) as asked:
            assert to_bytes_of(asked) == expected[0], place
    for length in (*range(0, 40, 3), *(pick.randrange(len(content)) for _ in range(20)), len(content) - 1):
        beside(cache).write_bytes(content[:length])
        with client(cache) as asked:
            assert to_bytes_of(asked) == expected[0], length
    beside(cache).write_bytes(content + b"more")
    assert_same(answers(cache), expected)


def to_bytes_of(asked: Any) -> bytes:
    return to_bytes(asked.arrow_table())


def test_what_is_damaged_is_written_anew(cache: Path, tmp_path: Path) -> None:
    whole = beside(cache).read_bytes()
    for place in (len(MARK) + 1000, len(whole) - 40, len(whole) // 2):
        damaged = bytearray(whole)
        damaged[place] ^= 1
        beside(cache).write_bytes(damaged)
        answers(cache, "online")
        answers(cache, "online")
        assert beside(cache).read_bytes() == whole
    beside(cache).write_bytes(whole[:100])
    answers(cache, "online")
    assert beside(cache).read_bytes() == whole


def test_another_form_is_not_read_and_is_replaced(cache: Path, tmp_path: Path) -> None:
    """Of another release, or with other columns; what it says is made wrong, to see that it is not read."""
    expected = without_file(cache, tmp_path / "plain")
    whole = beside(cache).read_bytes()

    def other(place: int, value: Any) -> Callable[[dict[str, Any]], object]:
        def change(index: dict[str, Any]) -> None:
            index["form"][place] = value
            for block in index["blocks"]:
                block["rows"][:2] = [ROWS - 1, ROWS + 1]

        return change

    for place, value in ((0, 0), (0, 2), (0, "1"), (1, "99.0"), (2, "daily_short_volume"), (3, "US"), (4, [])):
        beside(cache).write_bytes(reindexed(whole, other(place, value)))
        assert_same(answers(cache), expected)
        assert_same(answers(cache, "online"), expected)
        assert beside(cache).read_bytes() == whole
    for change in (dict.clear, lambda index: index.pop("blocks"), lambda index: index["blocks"][0].pop("rows")):
        beside(cache).write_bytes(reindexed(whole, change))
        assert_same(answers(cache), expected)


def test_an_old_file_brings_nothing_back(tmp_path: Path, every_page: None) -> None:
    cache = tmp_path / "pages.sqlite3"
    codes = CODES[:6]
    with (
        Simulator(Universe(symbols=codes, most_rows=120)) as opend,
        client(cache, "online", host=opend.host, port=opend.port, max_age=0) as asked,
    ):
        asked.sync(codes)
        contents, records = [beside(cache).read_bytes()], [cache.read_bytes()]
        for number in range(4):
            opend.universe.revise(codes[0], number, closePrice=number + 0.5)
            opend.universe.revise(codes[1], 60 + number, aggregatedShort=None)
            opend.universe.publish(codes[2], 30)
            asked.sync(codes[: 3 + number])
            contents.append(beside(cache).read_bytes())
            records.append(cache.read_bytes())
    assert len({*contents}) == len(contents)
    for content in contents:
        for record_of in records:
            beside(cache).write_bytes(content)
            cache.write_bytes(record_of)
            assert_same(answers(cache), without_file(cache, tmp_path / "plain"))


def test_another_records_file_is_not_read(cache: Path, tmp_path: Path) -> None:
    """Of a record with the same symbols and days, and other values."""
    other = tmp_path / "other" / "pages.sqlite3"
    other.parent.mkdir()
    with (
        Simulator(Universe(seed=5, symbols=CODES, most_rows=ROWS)) as opend,
        client(other, "online", host=opend.host, port=opend.port) as asked,
    ):
        asked.sync(CODES)
    expected = without_file(cache, tmp_path / "plain")
    assert answers(other)[0] != expected[0]
    shutil.copy(beside(other), beside(cache))
    assert_same(answers(cache), expected)
    assert not is_read(cache, tmp_path / "gone")
    assert_same(answers(cache, "online"), expected)
    assert is_read(cache, tmp_path / "gone")


def test_what_a_clock_shows_later_is_not_in_it(cache: Path, tmp_path: Path) -> None:
    """A later event shows that the clock was ahead: then it is not known when the values were first seen."""
    before = answers(cache)
    assert before[1]["known_at"].notna().all()
    with closing(sqlite3.connect(cache)) as connection, connection:
        ((half,),) = connection.execute("SELECT max(seq) / 2 FROM sequence")
        connection.execute("INSERT INTO step (seq, at) VALUES (?, 1000)", (half,))
    after = answers(cache)
    assert_same(after, without_file(cache, tmp_path / "plain"))
    assert 0 < after[1]["known_at"].isna().sum() < len(after[1])
    assert is_read(cache, tmp_path / "gone")


def test_points_in_time_are_the_same(cache: Path, tmp_path: Path) -> None:
    middle = datetime.fromtimestamp(recorded_between(cache) / 1000, UTC)
    last_codes = CODES[:10]
    for ask in (
        {"as_of": "2024-03-15", "by": "publication"},
        {"as_of": datetime.now(UTC)},
        {"as_of": middle, "codes": last_codes},
    ):
        assert_same(answers(cache, **ask), without_file(cache, tmp_path / "plain", **ask))


def recorded_between(cache: Path) -> int:
    """A moment when the first symbols were recorded, and others were not."""
    with closing(sqlite3.connect(cache)) as connection:
        ((at,),) = connection.execute("SELECT min(fetched_at) FROM page WHERE symbol = ?", (CODES[10],))
        return int(at)


def test_a_lost_reply_is_missed_with_the_file_as_without(cache: Path, tmp_path: Path) -> None:
    with closing(sqlite3.connect(cache)) as connection, connection:
        connection.execute("DELETE FROM page WHERE symbol = ? AND next_key != ''", (CODES[3],))
    plain, told = heard(lambda: without_file(cache, tmp_path / "plain"))
    found, also = heard(lambda: answers(cache))
    assert_same(found, plain)
    assert CODES[3] not in found[1]["symbol"].unique()
    assert all(CODES[3] in text for text in told + also)
