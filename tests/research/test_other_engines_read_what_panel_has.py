"""Exported files: what other engines read out of them is what `panel` has.

Each file is there whole or not at all.
"""

import datetime as dt
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import isnan, nan
from pathlib import Path
from types import ModuleType
from typing import Any

import duckdb
import fsspec
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from fsspec.implementations.memory import MemoryFile, MemoryFileSystem

import futu_si
from opend_si.simulator import Simulator, Universe
from opend_si_schema.calls import SHORT_INTEREST
from tests.processes import need, without

MARKETS = ("HK", "US")
TABLES = {table.market.prefix: table for table in SHORT_INTEREST.tables}
NUMBERS = {
    market: [column.name for column in table.columns if column.dtype != "str"] for market, table in TABLES.items()
}
# More than a float holds exactly.
LARGE = 2**53 + 1
# Of each symbol: more than a page.
ROWS = 60
formats = pytest.mark.parametrize("form", ["parquet", "csv"])


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache with all symbols of the simulator, some of whose values OpenD left out, one NaN, and one large."""
    universe = Universe(most_rows=ROWS)
    universe.revise("HK.00001", 3, aggregatedShort=None, closePrice=None)
    universe.revise("HK.00005", 4, closePrice=nan, timestampStr=None)
    universe.revise("HK.00388", 5, aggregatedShort=LARGE)
    universe.revise("US.AAPL", 0, sharesShort=None, daysToCover=None)
    universe.revise("US.AMD", 1, sharesShort=LARGE, avgDailyShareVolume=0)
    cache = tmp_path_factory.mktemp("record") / "pages.sqlite3"
    with Simulator(universe) as opend, futu_si.Client(opend.host, opend.port, mode="online", cache=cache) as client:
        assert client.sync(universe.symbols).requests > 0
    return cache


@pytest.fixture
def client(face: ModuleType, record: Path) -> Iterator[Any]:
    """A client of each face in turn; there is no OpenD, and no socket."""
    with face.Client(mode="offline", cache=record) as client:
        yield client


@pytest.fixture
def plain(record: Path) -> Iterator[Any]:
    """A client of one face: for what takes its time, or is below the faces."""
    with futu_si.Client(mode="offline", cache=record) as client:
        yield client


def file_of(root: Path, market: str, form: str = "parquet") -> Path:
    return root / f"market={market}" / f"short_interest.{form}"


def all_files(*folders: Path) -> list[Path]:
    """Every file and folder below, hidden ones too."""
    return sorted(path for folder in folders for path in folder.rglob("*"))


# What other engines read ----------------------------------------------------------------------------------------------

# Of each numeric column: how many values it has, and their sum.
Sums = dict[str, tuple[int, Any]]
Read = Callable[[Path, str], tuple[int, Sums]]


def by_pyarrow(root: Path, market: str) -> tuple[int, Sums]:
    """The whole data set at once: columns that a market does not have are null in its rows."""
    schemas = [pq.read_schema(path) for path in root.glob("*/*.parquet")]
    schema = pa.unify_schemas([*schemas, pa.schema({"market": pa.string()})])
    rows = ds.dataset(
        root, schema=schema, partitioning=ds.partitioning(pa.schema({"market": pa.string()}), flavor="hive")
    )
    table = rows.to_table(filter=ds.field("market") == market)
    sums = {}
    for name in NUMBERS[market]:
        column = table[name]
        column = column.filter(pc.is_finite(column)) if pa.types.is_floating(column.type) else column
        sums[name] = (len(column) - column.null_count, pc.sum(column).as_py())
    return table.num_rows, sums


def by_pandas(root: Path, market: str) -> tuple[int, Sums]:
    return of_frame(pd.read_parquet(root / f"market={market}"), market)


def by_polars(root: Path, market: str) -> tuple[int, Sums]:
    lazy = pl.scan_parquet(root / f"market={market}*/*.parquet", hive_partitioning=True)
    frame = lazy.filter(pl.col("market") == market).collect()
    sums: Sums = {}
    for name in NUMBERS[market]:
        column = frame[name].fill_nan(None) if frame[name].dtype.is_float() else frame[name]
        sums[name] = (column.count(), column.sum())
    return len(frame), sums


def ask_duckdb(query: str) -> list[tuple[Any, ...]]:
    found = duckdb.sql(query)
    assert found is not None
    return found.fetchall()


def by_duckdb(root: Path, market: str) -> tuple[int, Sums]:
    """The whole data set at once."""
    asked = ", ".join(f"count({each}), sum({each})" for name in NUMBERS[market] for each in [_number(name, market)])
    (found,) = ask_duckdb(
        f"SELECT count(*), {asked} FROM read_parquet('{root}/*/*.parquet', hive_partitioning = true, union_by_name = true)"
        f" WHERE market = '{market}'"
    )
    return found[0], dict(zip(NUMBERS[market], zip(found[1::2], found[2::2], strict=True), strict=True))


def _number(name: str, market: str) -> str:
    """A column for DuckDB, NaN left out: it would make the sum NaN."""
    is_float = any(column.name == name and column.dtype == "float64" for column in TABLES[market].columns)
    return f"CASE WHEN NOT isnan({name}) THEN {name} END" if is_float else name


def of_frame(frame: Any, market: str) -> tuple[int, Sums]:
    return len(frame), {name: (int(frame[name].count()), frame[name].sum().item()) for name in NUMBERS[market]}


def assert_same(found: tuple[int, Sums], panel: pd.DataFrame) -> None:
    """What an engine counted and summed is what `panel` has: integers to the last digit."""
    rows, wanted = of_frame(panel, panel.attrs["market"])
    assert found[0] == rows > 0
    for name, (count, total) in wanted.items():
        counted, summed = found[1][name]
        assert counted == count, name
        assert summed == (total if isinstance(total, int) else pytest.approx(total, rel=1e-12)), name


@pytest.mark.parametrize("read", [by_pyarrow, by_pandas, by_polars, by_duckdb])
def test_every_engine_reads_what_panel_has(client: Any, read: Read, tmp_path: Path) -> None:
    root = tmp_path / "data"
    assert client.export(root) == [str(file_of(root, market)) for market in MARKETS]
    for market in MARKETS:
        panel = client.panel(market=market)
        assert panel.isna().to_numpy().any()
        assert_same(read(root, market), panel)


def test_dask_reads_it_over_several_processes(plain: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """By a program of its own: the workers import the one that starts them."""
    root = tmp_path / "data"
    monkeypatch.setattr("opend_si.research.export._GROUP_ROWS", 100)  # so that there is something to share out
    plain.export(root)
    program = tmp_path / "program.py"
    program.write_text(f"""
import json
import dask.dataframe as dd
from distributed import Client, LocalCluster

if __name__ == "__main__":
    with (
        LocalCluster(processes=True, n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        found = {{}}
        for market, names in {NUMBERS!r}.items():
            frame = dd.read_parquet({str(root)!r} + "/market=" + market, split_row_groups=True)
            assert frame.npartitions == 6
            futures = client.compute([part for name in names for part in (frame[name].count(), frame[name].sum())])
            parts = iter(client.gather(futures))
            found[market] = len(frame), {{name: (int(next(parts)), next(parts).item()) for name in names}}
            there = client.gather(client.compute(frame.partitions[0]))
            assert dict(frame.dtypes.map(str)) == dict(there.dtypes.map(str))
        workers = set(client.run(__import__("os").getpid).values())
        print(json.dumps([len(workers), found]))
""")
    environ = {**os.environ, "DASK_TEMPORARY_DIRECTORY": str(tmp_path / "dask")}
    done = subprocess.run(
        [sys.executable, program], capture_output=True, text=True, timeout=60, cwd=tmp_path, env=environ
    )
    assert done.returncode == 0, done.stderr
    workers, found = json.loads(done.stdout)
    assert workers == 2
    for market in MARKETS:
        assert_same(found[market], plain.panel(market=market))


def test_pandas_reads_the_very_panel(client: Any, tmp_path: Path) -> None:
    client.export(tmp_path)
    for market in MARKETS:
        panel, frame = client.panel(market=market), pd.read_parquet(file_of(tmp_path, market))
        assert set(map(type, frame["date"])) == {dt.date}  # days are days; pandas has no such type of its own
        for name in ("date", "published_by"):
            frame[name] = frame[name].astype(panel[name].dtype)
        pd.testing.assert_frame_equal(frame, panel)
        assert frame.attrs["market"] == panel.attrs["market"]
        assert frame.dtypes.map(str)[NUMBERS[market][1]] == "Int64"


def test_types_and_values_survive(client: Any, tmp_path: Path) -> None:
    client.export(tmp_path)
    types: dict[str, tuple[Any, Any, str]] = {
        "int64": (pa.int64(), pl.Int64, "BIGINT"),
        "float64": (pa.float64(), pl.Float64, "DOUBLE"),
    }
    types["str"] = (pa.string(), pl.String, "VARCHAR")
    for market in MARKETS:
        path = file_of(tmp_path, market)
        wanted: dict[str, Any] = {column.name: types[column.dtype] for column in TABLES[market].columns}
        wanted["date"] = wanted["published_by"] = (pa.date32(), pl.Date, "DATE")
        wanted["known_at"] = (pa.timestamp("us", "UTC"), pl.Datetime("us", "UTC"), "TIMESTAMP WITH TIME ZONE")
        schema, polars = pq.read_schema(path), pl.read_parquet_schema(path)
        described = {name: kind for name, kind, *_ in ask_duckdb(f"DESCRIBE SELECT * FROM '{path}'")}
        for name, found in wanted.items():
            assert (schema.field(name).type, polars[name], described[name]) == found, name
        assert schema.field("symbol").type == pa.string()
        assert "market" not in schema.names  # the folder says it
        # Value by value, a missing number apart from NaN.
        assert str(pq.read_table(path, partitioning=None).to_pylist()) == str(
            client.arrow_table(market=market).to_pylist()
        )
    prices = pq.read_table(file_of(tmp_path, "HK"), partitioning=None)["close_price"].to_pylist()
    assert (prices.count(None), sum(value is not None and isnan(value) for value in prices)) == (1, 1)


def test_the_schema_says_what_each_column_is(client: Any, tmp_path: Path) -> None:
    client.export(tmp_path)
    for market in MARKETS:
        schema = pq.read_schema(file_of(tmp_path, market))
        told = {key.decode(): value.decode() for key, value in schema.metadata.items()}
        assert (told["title"], told["market"], told["source"]) == ("short interest", market, "OpenD protocol 3249")
        for column in TABLES[market].columns:
            metadata = schema.field(column.name).metadata
            assert metadata[b"doc"].decode() == column.doc
            assert metadata.get(b"unit", b"").decode() == column.unit
        for name in ("symbol", "date", "published_by", "known_at"):
            assert schema.field(name).metadata[b"doc"]


def test_a_symbol_without_rows_makes_a_file_without_rows(client: Any, tmp_path: Path) -> None:
    client.export(tmp_path / "whole")
    client.export(tmp_path / "none", codes=["US.SPHY"])
    path = file_of(tmp_path / "none", "US")
    assert pq.read_table(path, partitioning=None).num_rows == 0
    assert pq.read_schema(path).equals(pq.read_schema(file_of(tmp_path / "whole", "US")))
    assert pl.read_parquet(path).schema == pl.read_parquet(file_of(tmp_path / "whole", "US")).schema
    assert ask_duckdb(f"SELECT count(*) FROM '{path}'") == [(0,)]
    assert pd.read_parquet(path).empty
    client.export(tmp_path / "none in words", "csv", codes=["US.SPHY"])
    assert list(pd.read_csv(file_of(tmp_path / "none in words", "US", "csv"))) == list(client.panel(["US.SPHY"]))


def test_csv_has_the_same_values(client: Any, tmp_path: Path) -> None:
    assert client.export(tmp_path, "csv") == [str(file_of(tmp_path, market, "csv")) for market in MARKETS]
    for market in MARKETS:
        path, panel = file_of(tmp_path, market, "csv"), client.panel(market=market)
        integers = {name: "Int64" for name, dtype in panel.dtypes.items() if str(dtype) == "Int64"}
        frame = pd.read_csv(path, dtype=integers, parse_dates=["date", "published_by", "known_at"])
        same = panel.astype({"symbol": "str"})
        for name in ("date", "published_by", "known_at"):
            frame[name] = frame[name].astype(same[name].dtype)
        pd.testing.assert_frame_equal(frame, same, check_exact=True)
        assert_same(of_polars_csv(path, market), panel)
        found = ask_duckdb(f"SELECT count(*), sum({NUMBERS[market][1]}) FROM '{path}'")
        assert found == [(len(panel), panel[NUMBERS[market][1]].sum())]


def of_polars_csv(path: Path, market: str) -> tuple[int, Sums]:
    frame = pl.read_csv(path).with_columns(pl.selectors.float().fill_nan(None))
    return len(frame), {name: (frame[name].count(), frame[name].sum()) for name in NUMBERS[market]}


# What is exported -----------------------------------------------------------------------------------------------------


def test_codes_and_market_choose_what_is_exported(client: Any, face: ModuleType, tmp_path: Path) -> None:
    chosen: list[tuple[dict[str, Any], list[str]]] = [
        ({"codes": ["HK.00005", "HK.00001"]}, ["HK.00001", "HK.00005"]),
        ({"codes": "US.AAPL"}, ["US.AAPL"]),
        ({"codes": (code for code in ["US.GME"])}, ["US.GME"]),
        ({"codes": ["HK.00700"], "market": "HK"}, ["HK.00700"]),
        ({"market": "US"}, client.panel(market="US")["symbol"].unique().tolist()),
    ]
    for place, (options, names) in enumerate(chosen):
        root, market = tmp_path / str(place), names[0][:2]
        assert client.export(root, **options) == [str(file_of(root, market))]
        assert all_files(root) == [root / f"market={market}", file_of(root, market)]
        assert pd.read_parquet(file_of(root, market))["symbol"].unique().tolist() == names
    for wrong, told in (
        ({"codes": ["HK.00700", "US.AAPL"]}, "HK and US"),
        ({"codes": ["HK.00700"], "market": "US"}, "HK and US"),
        ({"codes": []}, "no market is named"),
        ({"codes": ["AAPL"]}, "AAPL"),
        ({"market": "XX"}, "market is .XX."),
        ({"format": "feather"}, "parquet or csv"),
        ({"format": None}, "parquet or csv"),
        ({"as_of": "soon"}, "as_of"),
    ):
        with pytest.raises(face.InvalidArgument, match=told):
            client.export(tmp_path / "wrong", **wrong)
    for path in ("", None, 5, b"data"):
        with pytest.raises(face.InvalidArgument, match="folder, or a URL"):
            client.export(path)
    with pytest.raises(face.CacheMiss, match=r"HK\.09999"):
        client.export(tmp_path / "wrong", codes=["HK.09999"])
    assert not (tmp_path / "wrong").exists()


def test_markets_can_be_exported_one_after_the_other(plain: Any, tmp_path: Path) -> None:
    plain.export(tmp_path, market="US")
    plain.export(tmp_path, market="HK")
    for market in MARKETS:
        assert_same(by_duckdb(tmp_path, market), plain.panel(market=market))


def test_where_nothing_is_recorded_nothing_is_written(face: ModuleType, tmp_path: Path) -> None:
    root = tmp_path / "data"
    with face.Client(mode="offline", cache=tmp_path / "none.sqlite3") as client:
        with pytest.raises(face.CacheMiss, match="sync"):
            client.export(root)
        with pytest.raises(face.CacheMiss, match="sync"):
            client.export(root, market="US")
    with face.Client(mode="bypass") as client, pytest.raises(face.InvalidArgument, match="bypass"):
        client.export(root)
    assert all_files(tmp_path) == []


def test_as_of_and_what_is_not_complete(face: ModuleType, start: Callable[..., Simulator], tmp_path: Path) -> None:
    opend = start(universe=Universe(most_rows=60))
    with face.Client(opend.host, opend.port, mode="online", max_age=0, cache=tmp_path / "pages.sqlite3") as client:
        client.sync(["HK.00001", "HK.00005"])
        between = dt.datetime.now(dt.UTC)
        opend.universe.publish("HK.00001", 2)
        opend.universe.revise("HK.00005", 3, aggregatedShort=7)
        client.sync(["HK.00001", "HK.00005"])
        opend.requests.clear()
        for as_of, rows in ((None, 122), (between, 120), (str(between), 120)):
            client.export(tmp_path / "data", as_of=as_of)
            frame = pd.read_parquet(tmp_path / "data" / "market=HK")
            assert (len(frame), 7 in set(frame["aggregated_short"])) == (rows, rows == 122)
            assert_same(by_polars(tmp_path / "data", "HK"), client.panel(market="HK", as_of=as_of))
        client.get_page("HK.00388", num=50)
        opend.requests.clear()
        with pytest.warns(face.ShortInterestWarning, match=r"HK\.00388 is not completely recorded") as told:
            client.export(tmp_path / "data")
        assert told[0].filename == __file__
        assert set(pd.read_parquet(tmp_path / "data" / "market=HK")["symbol"]) == {"HK.00001", "HK.00005"}
        with pytest.raises(face.CacheMiss, match=r"HK\.00388"):
            client.export(tmp_path / "data", codes=["HK.00388"])
    assert opend.requests == []


def test_another_export_replaces_the_one_before(client: Any, tmp_path: Path) -> None:
    for form, read in (("parquet", pd.read_parquet), ("csv", pd.read_csv)):
        path = file_of(tmp_path / form, "HK", form)
        before = None
        for codes, rows in ((None, ROWS * 10), (["HK.00700"], ROWS), (None, ROWS * 10)):
            client.export(tmp_path / form, form, "HK", codes=codes)
            inode = path.stat().st_ino
            assert (len(read(path)), inode != before) == (rows, True)  # the old file is not written over
            before = inode
        assert all_files(tmp_path / form) == [path.parent, path]


# Whole or not at all --------------------------------------------------------------------------------------------------

# In a process of its own, for each number of bytes: a process that the system kills when a file grows over it.
DIE = """
import os, resource, signal, sys
import futu_si, opend_si.research.export, pyarrow.csv, pyarrow.parquet
cache, root, form, *limits = sys.argv[1:]
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
for limit in map(int, limits):
    child = os.fork()
    if not child:
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        futu_si.Client(mode="offline", cache=cache).export(root, form, "HK")
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@formats
def test_what_is_not_completely_recorded_replaces_nothing(
    one_face: ModuleType, start: Callable[..., Simulator], tmp_path: Path, form: str
) -> None:
    opend, files = start(universe=Universe(most_rows=ROWS)), tmp_path / "files"
    at = {"host": opend.host, "port": opend.port, "mode": "online"}
    with one_face.Client(**at, cache=tmp_path / "whole.sqlite3") as client:
        client.sync(["HK.00700", "US.AAPL"])
        written = [Path(path) for path in client.export(files, form)]
    before = [path.read_bytes() for path in written]
    with one_face.Client(**at, cache=tmp_path / "pages.sqlite3") as client:
        client.get_page("HK.00700")
        for market in ("HK", None):
            with pytest.raises(one_face.CacheMiss, match=r"HK\.00700 is not completely recorded"):
                client.export(files, form, market)
        for question in (client.panel, client.arrow_table, client.screen):
            with pytest.raises(one_face.CacheMiss, match="sync"):
                question()
        client.sync(["US.AAPL"])
        with pytest.warns(one_face.ShortInterestWarning, match="Of HK nothing was written"):
            assert client.export(files, form) == [str(path) for path in written if "market=US" in str(path)]
    assert written[0].read_bytes() == before[0]


@pytest.mark.needs("fork", "limits")
@formats
def test_a_process_that_dies_in_the_middle_leaves_the_old_file(
    plain: Any, record: Path, form: str, tmp_path: Path
) -> None:
    root = tmp_path / "kept" / "data"
    plain.export(root, form, "HK", codes=["HK.00001"])
    path = file_of(root, "HK", form)
    before = path.read_bytes()
    plain.export(tmp_path / "whole", form, "HK")
    size = file_of(tmp_path / "whole", "HK", form).stat().st_size
    limits = [0, 4, size // 2, size - 1]
    died = subprocess.run(
        [sys.executable, "-c", DIE, str(record), str(root), form, *map(str, limits)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert died.stdout.split() == [str(-signal.SIGXFSZ)] * len(limits), died.stderr
    assert path.read_bytes() == before
    # What the last left is outside of the data set, in a hidden folder: Polars reads every file of a folder. Each
    # removed what the one before had left.
    assert all_files(root) == [path.parent, path]
    scratch, half = (file for file in all_files(tmp_path / "kept") if file not in (root, path.parent, path))
    assert (scratch.name[0], half.parent, half.stat().st_size) == (".", scratch, limits[-1])
    scan = pl.read_parquet if form == "parquet" else pl.read_csv
    for folder in (root, path.parent):
        assert len(scan(folder)) == ROWS
    plain.export(root, form, "HK")
    assert len(scan(path)) == ROWS * 10
    assert all_files(tmp_path / "kept") == [root, path.parent, path]


# A writer that changes between two contents until it is killed.
WRITE = """
import sys
import futu_si
client = futu_si.Client(mode="offline", cache=sys.argv[1])
while True:
    for codes in (["HK.00001"], None):
        client.export(sys.argv[2], market="HK", codes=codes)
        print("written", flush=True)
"""


@pytest.mark.needs("signals")
def test_a_reader_meanwhile_never_meets_half_a_file(plain: Any, record: Path, tmp_path: Path) -> None:
    """Whatever opens a file, and reads it, has the old one or the new one.

    Who lists the folder finds it and no other.
    """
    root = tmp_path / "data"
    plain.export(root, market="HK")
    path = file_of(root, "HK")
    seen = {ROWS: 0, ROWS * 10: 0}
    writer = subprocess.Popen([sys.executable, "-c", WRITE, str(record), str(root)], stdout=subprocess.PIPE, text=True)
    with writer:
        try:
            assert writer.stdout is not None
            assert writer.stdout.readline() == "written\n"
            while min(seen.values()) < 100:
                for read in (pd.read_parquet, pl.read_parquet, pq.read_table):
                    with path.open("rb") as file:
                        rows = len(read(file))
                    assert rows in seen
                    seen[rows] += 1
                assert all_files(root) == [path.parent, path]
        finally:
            writer.kill()
    assert writer.returncode == -signal.SIGKILL
    assert len(pl.read_parquet(root)) in seen


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """No file of this process grows over `size`: a full disk, as far as a program can see."""
    need("limits")
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@formats
@pytest.mark.parametrize("url", ["", "file://"])
def test_a_disk_that_is_full_is_told_and_leaves_nothing(client: Any, form: str, url: str, tmp_path: Path) -> None:
    root, inside = tmp_path / "data", tmp_path / "new" / "folders"
    client.export(root, form, codes=["HK.00001"])
    before = file_of(root, "HK", form).read_bytes()
    there = all_files(tmp_path)
    for size in (0, 2_000):
        for folder in (root, inside):
            target = file_of(folder, "HK", form)
            with largest_file(size), pytest.raises(OSError, match="File too large") as error:
                client.export(f"{url}{folder}", form)
            assert error.value.filename == str(target)
            assert error.value.errno is not None
    assert all_files(tmp_path) == there
    assert file_of(root, "HK", form).read_bytes() == before


@pytest.mark.needs("proc")
def test_a_place_that_cannot_be_written_is_named_and_nothing_is_left(client: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder" / "market=HK" / "short_interest.parquet" / "mine").mkdir(parents=True)
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "market=HK").touch()
    there = all_files(tmp_path)
    for folder in ("file", "file/below", "folder", "half"):
        root = tmp_path / folder
        with pytest.raises(OSError, match=r"directory|exists") as error:
            client.export(root, market="HK")
        assert error.value.filename == str(file_of(root, "HK"))
        assert str(error.value).endswith(f": {str(file_of(root, 'HK'))!r}")
        assert all_files(tmp_path) == there
    with pytest.raises(OSError, match="No such file") as error:
        client.export("/proc/none")
    assert error.value.filename == "/proc/none/market=HK/short_interest.parquet"


@pytest.mark.needs("permissions")
def test_a_folder_that_is_read_only_is_named(client: Any, tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root writes everywhere")
    (tmp_path / "data").mkdir(mode=0o500)
    with pytest.raises(PermissionError) as error:
        client.export(tmp_path / "data", market="HK")
    assert error.value.filename == str(file_of(tmp_path / "data", "HK"))


@pytest.fixture
def other_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder from which no file can be moved into `tmp_path`."""
    memory = Path("/dev/shm")
    if not memory.is_dir() or memory.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is only one disk")
    import tempfile

    with tempfile.TemporaryDirectory(dir=memory) as folder:
        yield Path(folder)


@pytest.mark.parametrize("url", ["", "file://"])
def test_data_sets_may_lie_on_another_disk(plain: Any, other_disk: Path, url: str, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(other_disk / "real")
    (other_disk / "real").mkdir()
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "market=HK").symlink_to(other_disk / "real")
    for folder in ("link", "data"):
        plain.export(f"{url}{tmp_path / folder}", market="HK")
        assert len(pd.read_parquet(file_of(tmp_path / folder, "HK"))) == ROWS * 10
    assert [path.name for path in other_disk.rglob("*") if path.is_file()] == ["short_interest.parquet"] * 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "link"]


# URLs -----------------------------------------------------------------------------------------------------------------


@formats
def test_urls_that_fsspec_knows_are_written(client: Any, face: ModuleType, form: str, tmp_path: Path) -> None:
    read = pd.read_parquet if form == "parquet" else pd.read_csv
    rows = {market: len(client.panel(market=market)) for market in MARKETS}
    memory = fsspec.filesystem("memory")
    try:
        for root in (f"memory://{face.__name__}", f"memory://{face.__name__}/", "memory://", f"file://{tmp_path}/data"):
            for _ in range(2):
                files = client.export(root, form)
                assert [file.rpartition("market=")[2][:2] for file in files] == list(MARKETS)
                for file, market in zip(files, MARKETS, strict=True):
                    assert len(read(file)) == rows[market]
        assert client.export(f"memory://{face.__name__}/", form)[0].startswith(f"memory://{face.__name__}/market=HK/")
        assert len(memory.find("/")) == 4
    finally:
        memory.rm("/", recursive=True)
    assert all_files(tmp_path / "data") == [
        path
        for market in MARKETS
        for path in (tmp_path / "data" / f"market={market}", file_of(tmp_path / "data", market, form))
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data"]


def test_urls_that_cannot_be_written_are_refused_before_anything_is_read(
    face: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with face.Client(mode="offline", cache=tmp_path / "none.sqlite3") as client:
        with pytest.raises(face.InvalidArgument, match=r"path is 'gopher://x': .*gopher"):
            client.export("gopher://x")
        with pytest.raises(face.MissingExtra, match=r"s3://bucket/folder cannot be written: .*s3fs"):
            client.export("s3://bucket/folder")
        monkeypatch.setitem(sys.modules, "fsspec.core", None)
        with pytest.raises(face.MissingExtra, match=r"opend-short-interest\[arrow\]"):
            client.export("memory://x")
    assert all_files(tmp_path) == []


def test_without_fsspec_folders_are_written_all_the_same(plain: Any, record: Path, tmp_path: Path) -> None:
    program = f"import futu_si; futu_si.Client(mode='offline', cache={str(record)!r}).export('data')"
    environ = {**os.environ, **without(tmp_path, "fsspec")}
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60, cwd=tmp_path, env=environ)
    assert_same(by_duckdb(tmp_path / "data", "HK"), plain.panel(market="HK"))


class SmallStore(MemoryFileSystem):  # type: ignore[misc]
    """A store of objects that holds none of more than `room` bytes, and tells so with an error of its own."""

    protocol = "small"
    store: dict[str, Any] = {}  # noqa: RUF012
    pseudo_dirs = [""]  # noqa: RUF012
    room = 0
    error: Exception = OSError()
    meanwhile: Callable[[], object] = staticmethod(lambda: None)

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return str(super()._strip_protocol(path.replace("small://", "memory://")))

    def _open(self, path: str, mode: str = "rb", **options: Any) -> Any:
        if mode != "wb":
            return super()._open(path, mode, **options)
        file = _SmallFile(self, path)
        if not self._intrans:
            file.commit()
        return file


class _SmallFile(MemoryFile):  # type: ignore[misc]
    def write(self, data: Any) -> int:
        SmallStore.meanwhile()
        if self.tell() + len(data) > SmallStore.room:
            raise SmallStore.error
        return int(super().write(data))


@formats
def test_a_store_that_fails_keeps_the_object_of_before(plain: Any, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fsspec.register_implementation("small", SmallStore, clobber=True)
    monkeypatch.setattr(SmallStore, "store", {})
    monkeypatch.setattr(SmallStore, "room", 10**9)
    name = f"/data/market=HK/short_interest.{form}"
    plain.export("small://data", form, codes=["HK.00001"])
    before = SmallStore.store[name].getvalue()
    monkeypatch.setattr(SmallStore, "room", 10_000)
    for error, told in (
        (OSError(28, "No space left"), "No space left"),
        (OSError("the bucket is full"), "the bucket is full"),
        (RuntimeError("no credentials"), "no credentials"),
        (ValueError("odd"), "odd"),
    ):
        monkeypatch.setattr(SmallStore, "error", error)
        with pytest.raises(OSError, match=told) as found:
            plain.export("small://data", form)
        assert found.value.filename == f"small://data/market=HK/short_interest.{form}"
        assert found.value.__cause__ is error
        assert {path: file.getvalue() for path, file in SmallStore.store.items()} == {name: before}


def test_what_others_write_to_the_store_meanwhile_is_theirs(plain: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    fsspec.register_implementation("small", SmallStore, clobber=True)
    monkeypatch.setattr(SmallStore, "store", {})
    monkeypatch.setattr(SmallStore, "error", OSError(28, "No space left"))
    shared = fsspec.filesystem("small")
    there: list[list[str]] = []

    def write_other() -> None:
        monkeypatch.setattr(SmallStore, "meanwhile", staticmethod(lambda: None))
        monkeypatch.setattr(SmallStore, "room", 10)
        with shared.open("/other", "wb") as file:
            file.write(b"theirs")
        there.append(list(SmallStore.store))
        monkeypatch.setattr(SmallStore, "room", 0)

    monkeypatch.setattr(SmallStore, "meanwhile", staticmethod(write_other))
    with pytest.raises(OSError, match="No space left"):
        plain.export("small://data")
    assert there == [["/other"]]  # at once, not when the export's transaction ends
    assert list(SmallStore.store) == ["/other"]


def test_threads_may_export_at_once(plain: Any, tmp_path: Path) -> None:
    roots = [f"memory://threads/{number}" for number in range(2)] + [str(tmp_path / "same")] * 2
    failed: list[BaseException] = []

    def work(root: str) -> None:
        try:
            for _ in range(5):
                plain.export(root, market="US")
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(root,)) for root in roots]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failed == []
    try:
        for root in roots:
            assert len(pd.read_parquet(f"{root}/market=US/short_interest.parquet")) == ROWS * 10
    finally:
        fsspec.filesystem("memory").rm("/threads", recursive=True)
    assert np.array([path.name.startswith(".") for path in all_files(tmp_path)]).sum() == 0
