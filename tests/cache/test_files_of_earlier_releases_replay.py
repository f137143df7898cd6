"""Files of earlier releases: one of each released schema replays, and is recorded into."""

import shutil
import sqlite3
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import futu_si
from opend_si.cache import upkeep
from opend_si.simulator import Simulator
from tests.cache.processes import ask, assert_sound, beside, content
from tests.processes import ROOT

SAMPLE = ROOT / "tests/data/cache" / "pages-v1.sqlite3"
# Rows, cursor, first and last date, and digest of each page that is recorded in it.
SAMPLE_PAGES = [
    (10, "10", "2026-04-30", "2026-02-27", "a76930b6b3c932cc"),
    (50, "50", "2026-04-30", "2025-05-23", "fc10b67348e276d1"),
    (50, "1713153600", "2026-04-30", "2024-04-15", "5c08d1249f4eb346"),
    (50, "1647316800", "2024-03-29", "2022-03-15", "3b5051dfe02f9b0b"),
]
SAMPLE_CLOSES = [467.8, 493.4, 510.5]


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "pages.sqlite3"


def make_sample(path: Path) -> None:
    """Make what tests/data/cache/pages-v1.sqlite3 is; run once, with the release whose schema it is."""
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


def assert_is_the_sample(client: Any) -> None:
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
    assert summary == SAMPLE_PAGES
    tencent = pages[0].hk
    assert tencent["aggregated_short"].to_list()[3] == 7  # the second version, not the first
    assert tencent["close_price"].to_list()[:3] == SAMPLE_CLOSES
    assert aapl.us["close_price"].to_list()[:3] == [78.96, 96.36, 115.38]


def test_a_file_of_schema_1_replays(face: ModuleType, cache: Path) -> None:
    """The file was made by `make_sample` with the release that introduced the schema, and is never made again."""
    shutil.copyfile(SAMPLE, cache)
    with face.Client(mode="offline", cache=cache) as client:
        assert_is_the_sample(client)
    assert cache.read_bytes() == SAMPLE.read_bytes()
    assert_sound(cache)
    assert upkeep.info(cache).versions == 6


def test_a_file_of_schema_1_replays_in_place_and_is_left_as_it_is(face: ModuleType) -> None:
    before, status = SAMPLE.read_bytes(), SAMPLE.stat()
    with face.Client(mode="offline", cache=SAMPLE) as client:
        assert_is_the_sample(client)
    assert SAMPLE.read_bytes() == before
    assert SAMPLE.stat().st_mtime_ns == status.st_mtime_ns
    assert beside(SAMPLE) == []


def test_a_file_of_schema_1_is_recorded_into(face: ModuleType, opend: Simulator, cache: Path) -> None:
    shutil.copyfile(SAMPLE, cache)
    with face.Client(opend.host, opend.port, mode="refresh", cache=cache) as client:
        assert [ask(client, opend, code) for code in ("HK.00700", "US.GME")] == ["opend", "opend"]
    assert [row[5] for row in content(cache) if row[2:5] == ("HK.00700", "", 50)] == [1, 2, 3]
    assert_sound(cache)


def test_a_file_made_today_has_the_tables_of_the_sample(cache: Path) -> None:
    """If this fails the schema has changed: add a migration, and a sample file of the new version beside the old."""

    def schema(path: Path) -> tuple[list[Any], list[Any]]:
        with closing(sqlite3.connect(path)) as connection:
            marks = [connection.execute(f"PRAGMA {name}").fetchone() for name in ("application_id", "user_version")]
            return marks, connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_schema").fetchall()

    copy = cache.with_name("sample.sqlite3")
    shutil.copyfile(SAMPLE, copy)
    make_sample(cache)
    assert schema(cache) == schema(copy)
