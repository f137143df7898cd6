"""Files of earlier releases: one of each released schema replays, and is recorded into."""

import shutil
import sqlite3
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd
import pytest

import futu_si
from opend_si.cache.runs import unpack_runs
from opend_si.cache.store import Store
from opend_si.history import overview
from opend_si.simulator import Simulator, Universe
from tests.cache.processes import OpenD, ask, assert_sound, beside
from tests.processes import ROOT

SAMPLE, SAMPLE_2, PACKED_2, SAMPLE_3, PACKED_3 = (
    ROOT / "tests/data/cache" / f"pages-v{name}.sqlite3" for name in ("1", "2", "2-packed", "3", "3-packed")
)
# Rows, cursor, first and last date, and digest of each page that is recorded in it.
SAMPLE_PAGES = [
    (10, "10", "2026-04-30", "2026-02-27", "a76930b6b3c932cc"),
    (50, "50", "2026-04-30", "2025-05-23", "fc10b67348e276d1"),
    (50, "1713153600", "2026-04-30", "2024-04-15", "5c08d1249f4eb346"),
    (50, "1647316800", "2024-03-29", "2022-03-15", "3b5051dfe02f9b0b"),
]
SAMPLE_2_PAGES = [
    (10, "10", "2026-04-30", "2026-02-27", "a76930b6b3c932cc"),
    (50, "50", "2026-04-30", "2025-05-23", "2afafea53d2a60c2"),
    (50, "1713153600", "2026-04-30", "2024-04-15", "8111e7033d153433"),
    (50, "1647316800", "2024-03-29", "2022-03-15", "ae67e0a808ab106b"),
]
SAMPLE_3_PAGES = [
    (10, "10", "2026-04-30", "2026-02-27", "a76930b6b3c932cc"),
    (50, "50", "2026-04-30", "2025-05-23", "0092f803870b64c1"),
    (50, "1713153600", "2026-04-30", "2024-04-15", "8111e7033d153433"),
    (50, "1647316800", "2024-03-28", "2022-03-15", "331417eac558e532"),
]
# What the release that made it gave of each version of the symbol in it, and how many versions that are.
PACKED_2_TOLD = "a7c73d6ffec77e510d0d9a6e62d865b8965a216bc6c99c76a631aee2eb52bc52", 42
PACKED_3_TOLD = "009b0dcd8b4ce5f040884b8003b291bf18a7a7162eaa290b907e4ed4bd97d87c", 80
SAMPLE_CLOSES = [467.8, 493.4, 510.5]


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "pages.sqlite3"


def make_sample(path: Path) -> None:
    """Make what the files in tests/data/cache are; each once, with the release whose schema it is."""
    with (
        Simulator(cursor="offset") as opend,
        futu_si.Client(opend.host, opend.port, mode="refresh", cache=path) as client,
    ):
        for _ in range(2):
            for num in (50, 10):
                client.get_page("HK.00700", num=num)
            opend.universe.revise("HK.00700", 3, aggregatedShort=7)
    with Simulator() as opend, futu_si.Client(opend.host, opend.port, mode="refresh", cache=path) as client:
        first = client.get_page("US.AAPL", num=50)
        client.get_page("US.AAPL", first.next, num=50)


def assert_is_the_sample(client: Any, expected: Any = SAMPLE_PAGES) -> None:
    """The values that were recorded are written down here: no code of today takes part in what is expected."""
    aapl = client.get_page("US.AAPL", num=50)
    pages = [
        client.get_page("HK.00700"),
        client.get_page("HK.00700", num=50),
        aapl,
        client.get_page("US.AAPL", aapl.next, num=50),
    ]
    assert all(page.source == "cache" for page in pages)
    summary = [
        (
            *(len(page), page.next, page.records[0].timestamp_str, page.records[-1].timestamp_str),
            sha256(page.body).hexdigest()[:16],
        )
        for page in pages
    ]
    assert summary == expected
    tencent = pages[0].hk
    assert tencent["aggregated_short"].to_list()[3] == 7  # the second version, not the first
    assert tencent["close_price"].to_list()[:3] == SAMPLE_CLOSES
    closes = [78.96, 96.36, 115.38] if expected is SAMPLE_PAGES else [58.62, 51.05, 47.3]
    assert aapl.us["close_price"].to_list()[:3] == closes


def test_a_file_of_schema_1_replays(face: ModuleType, cache: Path) -> None:
    """The file was made by `make_sample` with the release that introduced the schema, and is never made again."""
    shutil.copyfile(SAMPLE, cache)
    with face.Client(mode="offline", cache=cache) as client:
        assert_is_the_sample(client)
    assert cache.read_bytes() == SAMPLE.read_bytes()
    assert_sound(cache)
    assert overview.info(cache).versions == 6


def test_a_file_of_schema_1_replays_in_place_and_is_left_as_it_is(face: ModuleType) -> None:
    before, status = SAMPLE.read_bytes(), SAMPLE.stat()
    with face.Client(mode="offline", cache=SAMPLE) as client:
        assert_is_the_sample(client)
    assert SAMPLE.read_bytes() == before
    assert SAMPLE.stat().st_mtime_ns == status.st_mtime_ns
    assert beside(SAMPLE) == []


def test_a_file_of_schema_1_is_recorded_into(face: ModuleType, cache: Path) -> None:
    shutil.copyfile(SAMPLE, cache)
    # Who sent what such a file holds was not written down: it is taken for OpenD's.
    with OpenD() as opend, face.Client(opend.host, opend.port, mode="refresh", cache=cache) as client:
        assert [ask(client, opend, code) for code in ("HK.00700", "US.GME")] == ["opend", "opend"]
    assert_sound(cache)
    with closing(Store(cache)) as store:
        present, past, _ = store.symbol_and_past(3249, "HK.00700")
    rows = [*present.rows, *(version for version, _ in past)]
    assert sorted(row.version for row in rows if (row.next_key, row.num) == ("", 50)) == [1, 2, 3]
    assert [row.is_void for row in sorted(rows, key=lambda row: row.first_seq)] == [True] * 4 + [False]


@pytest.mark.parametrize(("sample", "pages"), [(SAMPLE_2, SAMPLE_2_PAGES), (SAMPLE_3, SAMPLE_3_PAGES)], ids=["2", "3"])
def test_a_file_of_schema_2_or_3_replays_and_keeps_its_past(
    face: ModuleType, cache: Path, sample: Path, pages: Any
) -> None:
    shutil.copyfile(sample, cache)
    with face.Client(mode="offline", cache=cache) as client:
        assert_is_the_sample(client, pages)
        assert client.revisions("HK.00700")["after"].tolist() == [7]
    assert cache.read_bytes() == sample.read_bytes()
    assert_sound(cache)
    assert overview.info(cache).versions == 6


def told_of_versions(path: Path) -> tuple[str, list[Any]]:
    """All that is known of each version of a symbol, and when each of its rows was first seen."""
    with closing(Store(path, may_write=False)) as store:
        present, past, _ = store.symbol_and_past(3249, "HK.00700")
    assert present.is_whole
    told = sorted(
        (
            *(row.next_key, row.num, row.version, row.first_seq, row.fetched_at, row.superseded_seq, row.void_seq),
            unpack_runs(row.seen, (row.first_seq, row.fetched_at)),
            sha256(row.body).hexdigest(),
        )
        for row in (*present.rows, *(version for version, _ in past))
    )
    return sha256(repr(told).encode()).hexdigest(), told


@pytest.mark.parametrize(
    ("sample", "rows", "told"), [(PACKED_2, 30, PACKED_2_TOLD), (PACKED_3, 60, PACKED_3_TOLD)], ids=["2", "3"]
)
def test_a_past_that_was_packed_otherwise_is_given_back_to_the_byte_and_grows(
    face: ModuleType, cache: Path, sample: Path, rows: int, told: tuple[str, int]
) -> None:
    """Recorded every week for forty weeks by the release that first packed the past by pages, and by a later one."""
    shutil.copyfile(sample, cache)
    digest, before = told_of_versions(cache)
    assert (digest, len(before)) == told
    universe = Universe(symbols=["HK.00700"], most_rows=rows)
    universe.publish("HK.00700", 40)
    with (
        Simulator(universe) as opend,
        face.Client(opend.host, opend.port, mode="refresh", cache=cache) as client,
    ):
        for _ in range(4):
            universe.publish("HK.00700")
            assert client.sync(["HK.00700"]).ok
    kept = {(*one[:3], one[-1]): one[-2] for one in told_of_versions(cache)[1]}
    assert {(*one[:3], one[-1]): one[-2] for one in before}.items() <= kept.items()
    assert len(kept) > len(before) + 2
    assert_sound(cache)
    assert overview.info(cache) == overview.info(cache, check=True)


def test_a_migrated_file_answers_and_looks_back_as_before(face: ModuleType, opend: Simulator, cache: Path) -> None:
    shutil.copyfile(SAMPLE, cache)
    with face.Client(mode="offline", cache=cache) as client:
        before = client.revisions("HK.00700")
        page = client.get_page("US.AAPL", num=50)
    with face.Client(opend.host, opend.port, mode="online", cache=cache, max_age=None) as client:
        assert client.get_page("US.AAPL", num=50).source == "cache"
        client.get_page("US.GME")  # something is recorded
    with face.Client(mode="offline", cache=cache) as client:
        assert client.get_page("US.AAPL", num=50).fetched_at == page.fetched_at
        pd.testing.assert_frame_equal(client.revisions("HK.00700"), before)
        assert before[["before", "after"]].to_numpy().tolist() != []
    assert_sound(cache)


def test_a_file_made_today_has_the_tables_of_the_sample(cache: Path) -> None:
    """If this fails the schema has changed: add a migration, and a sample file of the new version beside the old."""

    def schema(path: Path) -> tuple[list[Any], list[Any]]:
        with closing(sqlite3.connect(path)) as connection:
            marks = [connection.execute(f"PRAGMA {name}").fetchone() for name in ("application_id", "user_version")]
            return marks, connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_schema").fetchall()

    copy = cache.with_name("sample.sqlite3")
    shutil.copyfile(SAMPLE_3, copy)
    make_sample(cache)
    assert schema(cache) == schema(copy)
