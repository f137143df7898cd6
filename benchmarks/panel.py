"""`python -m benchmarks.panel [SYMBOLS]`: a universe of 700 rows a symbol as one table, from the record.

Each figure is taken in a process of its own, the median of its rounds: seconds by the clock and of the processors, and
the most memory beyond what the imports need, against the table's own size. A panel is read from recorded pages alone,
as of a record that stands alone; the first time, when the file of columns is written beside it; and again, from that
file, as an Arrow table, too. Against them pandas reads the same table from Parquet.
"""

from __future__ import annotations

import importlib
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from statistics import median
from typing import Any

import futu_si
from benchmarks.contenders import arctic_library, code_of
from benchmarks.harness import OpenD, surroundings
from opend_si.cache.reading import columns_file
from opend_si.cache.store import Store
from opend_si.cache.versions import Versions
from opend_si.research import arrow
from opend_si.simulator import Universe
from opend_si_schema.calls import SHORT_INTEREST
from opend_si_schema.definitions import PUBLISHED_BY, Call, Table

ROWS = 700
# So many different histories; the rest are these with other numbers in every row.
_DIFFERENT = 50
_ROUNDS, _PROCESSES = 5, 5
# Seconds after which there is no further round.
_ENOUGH = 10.0


# What is measured, in this order: the first panel writes the file that the others read, and Parquet needs an export.
_CASES = {
    "pages": "panel from recorded pages",
    "first": "first panel, which writes the columns",
    "panel": "panel again",
    "arrow": "Arrow table again",
    "export": "export to Parquet",
    "parquet": "pandas reads the same from Parquet",
}


def main(symbols: int = 5000) -> int:
    """Print the figures."""
    with surroundings() as environ:
        os.environ.update(environ)
        told = measure(symbols, (*_CASES, "published"))
    rows, table_bytes = told["arrow"]["rows"], told["arrow"]["bytes"]
    print(
        f"{symbols} symbols, {rows:,.0f} rows, {table_bytes / 1e6:.0f} MB as an Arrow table, "
        f"{told['panel']['columns'] / 1e6:.0f} MB of columns beside {told['panel']['record'] / 1e6:.0f} MB of record, "
        f"Python {sys.version.split()[0]}"
    )
    for name, text in _CASES.items():
        found = told[name]
        print(
            f"{text:<38} {found['seconds']:6.2f} s {found['cpu']:6.2f} s of processors "
            f"{rows / found['seconds'] / 1e6:6.2f} M rows/s {found['peak'] / table_bytes:6.2f} x the table at most"
        )
    for name in ("panel", "first"):
        shares = (told[name][of] / told["parquet"][of] for of in ("seconds", "cpu"))
        print(f"{_CASES[name]} against Parquet: {' and '.join(f'{share:.2f}' for share in shares)} of processors")
    shares = (told["published"][of] for of in ("seconds", "cpu"))
    print(
        f"panel again against one without published_by: {' and '.join(f'{share:.3f}' for share in shares)} of processors"
    )
    return 0


def measure(symbols: int, names: Sequence[str]) -> dict[str, dict[str, float]]:
    """The figures of some ways to have the table.

    Seconds by the clock and of the processors, most bytes, rows, and bytes of the table, the file of columns and the
    record. `published` has shares instead of seconds: of a panel against one without `published_by`.
    """
    with tempfile.TemporaryDirectory() as folder:
        cache = Path(folder, "pages.sqlite3")
        make(cache, symbols)
        data = Path(folder, "data")
        told = {name: [_measure(name, cache, data)] for name in names}
        for _ in range(_PROCESSES - 1):  # how memory lies, which differs by process, is a third of what these take
            for name in ("panel", "parquet"):
                if name in told:
                    told[name].append(_measure(name, cache, data))
        return {name: sorted(runs, key=lambda run: run["seconds"])[len(runs) // 2] for name, runs in told.items()}


def make(cache: Path, symbols: int) -> None:
    """Record so many symbols: some are synced, the others are those under other names. No limit is to be kept."""
    different = [code_of(number) for number in range(min(_DIFFERENT, symbols))]
    protocol = SHORT_INTEREST.proto_id
    with tempfile.TemporaryDirectory() as folder:
        synced = Path(folder, "pages.sqlite3")
        with (
            OpenD(Universe(symbols=different, most_rows=ROWS)) as opend,
            futu_si.Client(opend.host, opend.port, cache=synced) as client,
        ):
            if not (report := client.sync(different)).ok:
                raise RuntimeError(report)
        with closing(Store(synced, may_write=False)) as store:
            clock, records = store.clock(), [store.symbol(protocol, name) for name in different]
    with closing(Store(cache)) as store:
        store.database.read(lambda connection: connection.execute("PRAGMA synchronous = OFF"))
        for number in range(symbols):
            record = records[number % _DIFFERENT]
            rows = (
                row._replace(symbol=code_of(number), body=_renumbered(row.body, number)).signed() for row in record.rows
            )
            store.add(Versions(tuple(rows), seal=record.seal), clock=clock)


def _renumbered(body: bytes, number: int) -> bytes:
    """A reply with other numbers: what repeats, Parquet would keep once."""
    reply = SHORT_INTEREST.response.FromString(body)
    for row in reply.s2c.hkItemList:
        row.aggregatedShort += 37 * number
        row.closePrice, row.lastClosePrice = row.closePrice + number / 100, row.lastClosePrice + number / 100
        row.aggregatedShortRatio += number / 1000
    return bytes(reply.SerializeToString())


def _measure(name: str, cache: Path, data: Path) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.panel", "--one", name, str(cache), str(data)]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    names = ("seconds", "cpu", "peak", "rows", "bytes", "columns", "record")
    return dict(zip(names, map(float, told), strict=True))


def _one(name: str, cache: Path, data: Path) -> None:
    """One figure."""
    import pandas as pd
    import pyarrow as pa

    parquet = data / "market=HK" / f"{SHORT_INTEREST.name}.parquet"
    columns = columns_file(cache, SHORT_INTEREST.name, "HK")
    if name == "pages":
        columns.unlink(missing_ok=True)
    with futu_si.Client(cache=cache, mode="online" if name == "first" else "offline") as client:

        def work() -> Any:
            match name:
                case "arrow":
                    return client.arrow_table()
                case "pages" | "first" | "panel":
                    return client.panel()
                case "loop":
                    return pd.concat([client.history(code) for code in codes], keys=codes, names=["symbol"])
                case "parquet":
                    return pd.read_parquet(parquet)
                case "duckdb":
                    return importlib.import_module("duckdb").read_parquet(str(parquet)).df()
                case "arcticdb":
                    return library.read("panel").data
            return client.export(data)

        client.panel([code_of(0)])  # imports are not what is measured
        if name == "published":
            print(*_shares(client), 0, 0, 0, 0, 0)
            return
        with closing(Store(cache, may_write=False)) as store:
            codes = store.symbols(SHORT_INTEREST.proto_id, "HK")
        if name == "arcticdb":
            library = arctic_library(data / "arctic")
            library.write("panel", client.panel())
        before = _peak()
        times: list[float] = []
        processors: list[float] = []
        while len(times) < _ROUNDS and sum(times) < _ENOUGH:
            if name == "first":
                columns.unlink(missing_ok=True)
            begun, begun_cpu = time.perf_counter(), time.process_time()
            result = work()
            times.append(time.perf_counter() - begun)
            processors.append(time.process_time() - begun_cpu)
            if len(times) == 1:
                peak = _peak() - before
            shape = (result.num_rows, result.nbytes) if isinstance(result, pa.Table) else (len(result), 0)
            del result
    sizes = (file.stat().st_size if file.exists() else 0 for file in (columns, cache))
    print(median(times), median(processors), peak, *shape, *sizes)


def _shares(client: futu_si.Client) -> tuple[float, float]:
    """What a panel takes of one without `published_by`, by the clock and of the processors; the two take turns."""
    whole = arrow.table_schema

    def lacking(table: Table, *, call: Call) -> Any:
        found = whole(table, call=call)
        return found.remove(found.get_field_index(PUBLISHED_BY))

    found: dict[Any, list[tuple[float, float]]] = {whole: [], lacking: []}
    for _ in range(3 * _ROUNDS):
        for schema, times in found.items():
            arrow.table_schema = schema
            begun, begun_cpu = time.perf_counter(), time.process_time()
            client.panel()
            times.append((time.perf_counter() - begun, time.process_time() - begun_cpu))
    medians = {schema: [median(each) for each in zip(*times, strict=True)] for schema, times in found.items()}
    return medians[whole][0] / medians[lacking][0], medians[whole][1] / medians[lacking][1]


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        _one(sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4]))
    else:
        sys.exit(main(*map(int, sys.argv[1:])))
