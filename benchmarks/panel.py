"""`python -m benchmarks.panel [SYMBOLS]`: a universe of 700 rows a symbol as one table, from the record.

Each figure is taken in a process of its own, the median of its rounds: rows a second from recorded pages to an Arrow
table, the same as a pandas panel, against pandas reading the same table from Parquet, and the most memory that it took
beyond what the imports need, against the table's own size.
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
from benchmarks.contenders import code_of
from benchmarks.harness import surroundings
from opend_si.cache.store import Store
from opend_si.cache.versions import Versions
from opend_si.simulator import Simulator, Universe
from opend_si_schema.calls import SHORT_INTEREST

ROWS = 700
# So many different histories; the rest are these with other numbers in every row.
_DIFFERENT = 50
_ROUNDS = 5
# Seconds after which there is no further round.
_ENOUGH = 10.0


def main(symbols: int = 5000) -> int:
    """Print the figures."""
    with surroundings() as environ:
        os.environ.update(environ)
        told = measure(symbols, ("arrow", "export", "panel", "parquet"))
    rows, table_bytes = told["arrow"]["rows"], told["arrow"]["bytes"]
    print(
        f"{symbols} symbols, {rows:,.0f} rows, {table_bytes / 1e6:.0f} MB as an Arrow table, Python {sys.version.split()[0]}"
    )
    for name, text in (
        ("arrow", "recorded pages to an Arrow table"),
        ("panel", "recorded pages to a pandas panel"),
        ("parquet", "pandas reads the same from Parquet"),
    ):
        found = told[name]
        print(
            f"{text:<36} {found['seconds']:6.2f} s {rows / found['seconds'] / 1e6:6.2f} M rows/s "
            f"{found['peak'] / table_bytes:6.2f} x the table at most"
        )
    print(f"panel against Parquet: {told['panel']['seconds'] / told['parquet']['seconds']:.2f}")
    return 0


def measure(symbols: int, names: Sequence[str]) -> dict[str, dict[str, float]]:
    """The figures of some ways to have the table: seconds, most bytes, rows, and bytes of the table."""
    with tempfile.TemporaryDirectory() as folder:
        cache = Path(folder, "pages.sqlite3")
        make(cache, symbols)
        return {name: _measure(name, cache, Path(folder, "data")) for name in names}


def make(cache: Path, symbols: int) -> None:
    """Record so many symbols: some are synced, the others are those under other names. No limit is to be kept."""
    different = [code_of(number) for number in range(min(_DIFFERENT, symbols))]
    protocol = SHORT_INTEREST.proto_id
    with tempfile.TemporaryDirectory() as folder:
        synced = Path(folder, "pages.sqlite3")
        with (
            Simulator(Universe(symbols=different, most_rows=ROWS)) as opend,
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
    return dict(zip(("seconds", "peak", "rows", "bytes"), map(float, told), strict=True))


def _one(name: str, cache: Path, data: Path) -> None:
    """One figure: seconds, bytes at most, rows and bytes of the table."""
    import pandas as pd
    import pyarrow as pa

    parquet = data / "market=HK" / f"{SHORT_INTEREST.name}.parquet"
    with futu_si.Client(cache=cache, mode="offline") as client:

        def work() -> Any:
            match name:
                case "arrow":
                    return client.arrow_table()
                case "panel":
                    return client.panel()
                case "loop":
                    return pd.concat([client.history(code) for code in codes], keys=codes, names=["symbol"])
                case "parquet":
                    return pd.read_parquet(parquet)
                case "duckdb":
                    return importlib.import_module("duckdb").read_parquet(str(parquet)).df()
            return client.export(data)

        client.panel([code_of(0)])  # imports are not what is measured
        with closing(Store(cache, may_write=False)) as store:
            codes = store.symbols(SHORT_INTEREST.proto_id, "HK")
        before = _peak()
        times: list[float] = []
        while len(times) < _ROUNDS and sum(times) < _ENOUGH:
            begun = time.perf_counter()
            result = work()
            times.append(time.perf_counter() - begun)
            if len(times) == 1:
                peak = _peak() - before
            shape = (result.num_rows, result.nbytes) if isinstance(result, pa.Table) else (len(result), 0)
            del result
    print(median(times), peak, *shape)


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        _one(sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4]))
    else:
        sys.exit(main(*map(int, sys.argv[1:])))
