"""What `recorded` and `cache list` say of a symbol is what its history answers, and what the file holds."""

import csv
import io
import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest

from opend_si.errors import CacheMiss, InvalidArgument, ShortInterestWarning
from opend_si.history import overview, upkeep
from opend_si.history.upkeep import prune
from opend_si.simulator import Simulator, Universe
from tests.processes import Run

SAMPLE = Path(__file__).parent.parent / "data" / "cache" / "pages-v3.sqlite3"
WHOLE = ["HK.00001", "HK.00700", "US.AAPL", "US.GME"]


@pytest.fixture
def face(one_face: ModuleType) -> ModuleType:
    return one_face


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "pages.sqlite3"


def record(face: ModuleType, opend: Simulator, universe: Universe, cache: Path) -> None:
    """Whole histories of both kinds, one that grew and was revised, one of which only the beginning is there."""
    with face.Client(opend.host, opend.port, mode="online", cache=cache, max_age=0) as client:
        assert client.sync(WHOLE).ok
        assert client.sync(["US.AAPL"], kind="daily_short_volume").ok
        for place in range(3):
            universe.publish("US.AAPL", 4)
            if place == 1:
                universe.revise("US.AAPL", 9, sharesShort=1)
            assert client.sync(["US.AAPL"]).ok
        client.get_page("US.TSLA", num=7)


@pytest.fixture
def held(face: ModuleType, start: Callable[..., Simulator], cache: Path) -> pd.DataFrame:
    universe = Universe(most_rows=130)
    record(face, start(universe=universe), universe, cache)
    with face.Client(mode="offline", cache=cache) as client:
        frame: pd.DataFrame = client.recorded()
    return frame


def test_the_counts_are_those_of_the_histories(face: ModuleType, held: pd.DataFrame, cache: Path) -> None:
    assert list(zip(held.symbol, held.kind, strict=True)) == [
        ("HK.00001", "short_interest"),
        ("HK.00700", "short_interest"),
        ("US.AAPL", "daily_short_volume"),
        ("US.AAPL", "short_interest"),
        ("US.GME", "short_interest"),
        ("US.TSLA", "short_interest"),
    ]
    with face.Client(mode="offline", cache=cache) as client:
        for one in held.itertuples():
            start = None if one.complete else one.first
            history = client.history(one.symbol, start=start, kind=one.kind)
            assert (len(history), history.index[0], history.index[-1]) == (one.rows, one.first, one.last)
            if not one.complete:
                with pytest.raises(CacheMiss):
                    client.history(one.symbol, kind=one.kind)
        assert held.complete.tolist() == [True] * 5 + [False]
        assert client.recorded(kind="daily_short_volume").symbol.tolist() == ["US.AAPL"]
    assert set(held.market) == {"HK", "US"}


def test_versions_and_moments_are_those_of_the_file(held: pd.DataFrame, cache: Path) -> None:
    with closing(sqlite3.connect(cache)) as connection:
        for one in held.itertuples():
            kind = str(one.kind)
            protocol = {"short_interest": 3249, "daily_short_volume": 3248}[kind]
            place = protocol, one.symbol
            where = "WHERE protocol = ? AND symbol = ?"
            (present, asked), (left,) = (
                connection.execute(f"SELECT {what} {where}", place).fetchone()
                for what in ("count(*), max(checked_at) FROM page", "coalesce(sum(entries), 0) FROM past")
            )
            assert one.versions == present + left
            assert one.asked_at == pd.Timestamp(asked, unit="ms", tz="UTC")


def test_sums_from_seals_are_those_of_every_page(
    face: ModuleType, held: pd.DataFrame, cache: Path, tmp_path: Path
) -> None:
    exported, imported = tmp_path / "exported.sqlite3", tmp_path / "imported.sqlite3"
    assert upkeep.export(cache, exported) == held.versions.sum()
    with face.Client(mode="online", cache=imported) as client:
        assert len(client.import_record(exported).taken) == len(held)
    pruned = Path(shutil.copy(cache, tmp_path / "pruned.sqlite3"))
    assert prune(pruned, datetime.now(UTC) + timedelta(days=1))
    sample = Path(shutil.copy(SAMPLE, tmp_path / "sample.sqlite3"))
    for file in (cache, exported, imported, pruned, sample):
        told = overview.info(file)
        assert told == overview.info(file, check=True)
        with closing(sqlite3.connect(file)) as connection:
            bodies = connection.execute("SELECT symbol, bytes FROM page JOIN body ON id = body").fetchall()
            (past,) = connection.execute("SELECT coalesce(sum(entries), 0) FROM past").fetchone()
        assert told.symbols == len({symbol for symbol, _ in bodies})
        assert told.versions == len(bodies) + past
        if not past:
            assert told.body_bytes == sum(len(body) for _, body in bodies)
    assert overview.info(pruned).versions < held.versions.sum()


def test_rows_in_all_are_those_of_the_histories(face: ModuleType, opend: Simulator, cache: Path) -> None:
    with face.Client(opend.host, opend.port, mode="online", cache=cache, max_age=0) as client:
        for _ in range(3):
            assert client.sync(WHOLE).ok
            assert overview.info(cache).rows == sum(len(client.history(code)) for code in WHOLE)
            assert client.recorded().rows.tolist() == [len(client.history(code)) for code in WHOLE]
            opend.universe.publish("HK.00700")
            opend.universe.revise("US.GME", 3, sharesShort=5)
        client.delete(WHOLE[:1])
        rows = [len(client.history(code)) for code in WHOLE[1:]]
        assert overview.info(cache).rows == sum(rows)
        assert client.recorded().rows.tolist() == rows


@pytest.mark.parametrize(
    "what",
    [
        "DELETE FROM page WHERE symbol = 'HK.00700' AND next_key != ''",
        "UPDATE page SET checksum = zeroblob(16) WHERE symbol = 'HK.00700'",
        "UPDATE seal SET summary = '' WHERE symbol = 'HK.00700'",
        "UPDATE seal SET summary = replace(summary, '130', '131') WHERE symbol = 'HK.00700'",
        "DELETE FROM seal WHERE symbol = 'HK.00700'",
        "UPDATE past SET body = x'00'",
        "DELETE FROM past",
    ],
)
def test_where_a_seal_does_not_fit_its_replies_are_counted(held: pd.DataFrame, cache: Path, what: str) -> None:
    del held
    with closing(sqlite3.connect(cache)) as connection, connection:
        assert connection.execute(what).rowcount
    assert overview.info(cache) == overview.info(cache, check=True)


def test_damage_below_a_checksum_is_what_verify_finds(console: Run, held: pd.DataFrame, cache: Path) -> None:
    before = overview.info(cache)
    with closing(sqlite3.connect(cache)) as connection, connection:
        connection.execute(
            "UPDATE body SET bytes = zeroblob(length(bytes)) WHERE id IN (SELECT body FROM page WHERE symbol = 'HK.00700')"
        )
    assert overview.info(cache) == before
    assert console("cache", "verify", OPEND_SI_CACHE=str(cache)).returncode == 3
    told = json.loads(console("cache", "info", "--check", "--json", OPEND_SI_CACHE=str(cache)).stdout)
    assert told["versions"] == before.versions == held.versions.sum()
    assert told["symbols"] == before.symbols - 1
    assert told["rows"] < before.rows


def test_a_history_that_its_newest_page_is_not_fit_for_is_not_complete(
    face: ModuleType, start: Callable[..., Simulator], cache: Path
) -> None:
    opend = start(universe=Universe(most_rows=30))
    with face.Client(opend.host, opend.port, mode="online", cache=cache, max_age=0) as client:
        client.sync(WHOLE)
        newest = (opend.universe.rows("HK.00700") or ())[0]
        opend.universe.revise("HK.00700", 1, timestamp=newest.timestamp, timestampStr=newest.timestampStr)
        client.get_page("HK.00700", num=50)  # two rows of one day
    with face.Client(mode="offline", cache=cache) as client:
        with pytest.raises(face.ProtocolError, match="doubled"):
            client.history("HK.00700")
        assert client.recorded().set_index("symbol").complete.to_dict() == {code: code != "HK.00700" for code in WHOLE}


def test_what_is_lost_is_not_counted_as_there(face: ModuleType, held: pd.DataFrame, cache: Path) -> None:
    del held
    with closing(sqlite3.connect(cache)) as connection, connection:
        connection.execute("DELETE FROM page WHERE symbol = 'US.GME' AND next_key != ''")
    with face.Client(mode="offline", cache=cache) as client:
        frame = client.recorded().set_index("symbol")
    assert not frame.complete["US.GME"]
    assert frame.complete["HK.00700"]


def test_no_record_is_an_error_and_an_empty_one_is_none(face: ModuleType, tmp_path: Path) -> None:
    with face.Client(mode="offline", cache=tmp_path / "none.sqlite3") as client, pytest.raises(CacheMiss, match="none"):
        client.recorded()
    with face.Client(mode="bypass") as client, pytest.raises(InvalidArgument, match="bypass"):
        client.recorded()
    with face.Client(mode="offline") as client, pytest.raises(InvalidArgument, match="kind"):
        client.recorded(kind="weekly")


def test_the_console_prints_the_same(console: Run, held: pd.DataFrame, cache: Path) -> None:
    asked = {"OPEND_SI_CACHE": str(cache)}
    told = json.loads(console("cache", "list", "--json", **asked).stdout)
    cells = list(csv.DictReader(io.StringIO(console("cache", "list", "--csv", **asked).stdout)))
    for one, as_json, as_csv in zip(held.itertuples(), told, cells, strict=True):
        days = [str(day)[:10] for day in (one.first, one.last)]
        assert [as_json[name] for name in ("symbol", "kind", "first", "last")] == [one.symbol, one.kind, *days]
        assert [as_json[name] for name in ("rows", "complete", "versions")] == [one.rows, one.complete, one.versions]
        assert [as_csv[name] for name in ("symbol", "rows", "first", "asked_at")] == [
            one.symbol,
            str(one.rows),
            days[0],
            as_json["asked_at"],
        ]
    table = console("cache", "list", **asked).stdout
    assert f"down to {held.iloc[-1]['first']:%Y-%m-%d}" in table.splitlines()[-1]


def test_sums_and_steps_are_there_for_programs(console: Run, held: pd.DataFrame, cache: Path) -> None:
    told = json.loads(console("cache", "info", "--json", OPEND_SI_CACHE=str(cache)).stdout)
    assert (told["path"], told["symbols"]) == (str(cache), held.symbol.nunique())
    assert (told["versions"], told["rows"]) == (held.versions.sum(), held.rows.sum())
    assert told["oldest"] <= told["newest"]
    assert told["newest"].endswith("Z")
    with Simulator() as opend:
        port = str(opend.port)
        doctor = console("doctor", "--json", "--port", port)
    assert doctor.returncode == 0
    assert all(step["ok"] for step in json.loads(doctor.stdout))
    gone = console("doctor", "--json", "--port", port)
    assert [step["ok"] for step in json.loads(gone.stdout)] == [False]
    assert gone.returncode == console("doctor", "--port", port).returncode != 0


@pytest.mark.parametrize("how", ["a part is the neighbour's", "all is the neighbour's", "shorter", "empty", "longer"])
def test_a_seal_fits_no_other_checksums(
    face: ModuleType, start: Callable[..., Simulator], cache: Path, how: str
) -> None:
    """Also where they are the same bytes in all."""
    opend = start(universe=Universe(most_rows=130))
    with face.Client(opend.host, opend.port, mode="online", cache=cache) as client:
        client.sync(["US.AAPL", "US.GME"])
    with closing(sqlite3.connect(cache)) as connection, connection:
        where = "FROM page WHERE symbol = 'US.AAPL' ORDER BY next_key"
        (key, one), (other_key, other) = connection.execute(f"SELECT next_key, checksum {where} LIMIT 2").fetchall()
        changed = {
            "a part is the neighbour's": (one[:8], one[8:] + other),
            "all is the neighbour's": (b"", one + other),
            "shorter": (one[:-1], other),
            "empty": (b"", other),
            "longer": (one, other + b","),
        }[how]
        for place, checksum in zip((key, other_key), changed, strict=True):
            connection.execute(
                "UPDATE page SET checksum = ? WHERE symbol = 'US.AAPL' AND next_key = ?", (checksum, place)
            )
    with face.Client(mode="offline", cache=cache) as client:
        held = client.recorded().set_index("symbol")
        assert held.complete.to_dict() == {"US.AAPL": False, "US.GME": True}
        assert held.rows["US.GME"] == 130
        for ask in (client.panel, client.screen):
            with pytest.warns(ShortInterestWarning, match="US.AAPL"):
                assert ask(market="US").symbol.unique().tolist() == ["US.GME"]
    assert overview.info(cache).symbols == 2
