"""A record whose tables are read from a file of columns, and what they would be without it."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

import futu_si
from opend_si.simulator import Simulator, Universe

# So many that the file is worth writing.
CODES = [f"HK.{number:05d}" for number in range(40)]
ROWS = 700
MARK = b"opend-si columns"


def beside(cache: Path, kind: str = "short_interest", market: str = "HK") -> Path:
    return cache.with_name(f"{cache.name}-{kind}-{market}.columns")


def client(cache: Path, mode: str = "offline", **settings: Any) -> futu_si.Client:
    return futu_si.Client(cache=cache, mode=mode, **settings)  # type: ignore[arg-type]


def to_bytes(table: Any) -> bytes:
    """All of a table: values, missing ones, types and metadata; not in which pieces it came."""
    stream = pa.BufferOutputStream()
    whole = table.combine_chunks()
    with pa.ipc.new_stream(stream, whole.schema) as writer:
        writer.write_table(whole)
    return bytes(stream.getvalue())


def answers(cache: Path, mode: str = "offline", **ask: Any) -> tuple[bytes, pd.DataFrame]:
    with client(cache, mode) as asked:
        return to_bytes(asked.arrow_table(**ask)), asked.panel(**ask)


def without_file(cache: Path, folder: Path, **ask: Any) -> tuple[bytes, pd.DataFrame]:
    """The answers of the same record alone."""
    folder.mkdir(exist_ok=True)
    alone = folder / "alone.sqlite3"
    shutil.copy(cache, alone)
    told = answers(alone, **ask)
    assert [path.name for path in folder.iterdir()] == [alone.name]
    return told


def assert_same(one: tuple[bytes, pd.DataFrame], other: tuple[bytes, pd.DataFrame]) -> None:
    assert one[0] == other[0]
    pd.testing.assert_frame_equal(one[1], other[1], check_exact=True)
    assert one[1].attrs == other[1].attrs


def is_read(cache: Path, folder: Path) -> bool:
    """Whether a table of the record is read without its replies: there are none left in this copy."""
    folder.mkdir(exist_ok=True)
    copy = folder / "gone.sqlite3"
    shutil.copy(cache, copy)
    if beside(cache).is_file():
        shutil.copy(beside(cache), beside(copy))
    with closing(sqlite3.connect(copy)) as connection, connection:
        connection.execute("UPDATE body SET bytes = x'00'")
    with client(copy) as asked:
        try:
            return len(asked.panel(market="HK")) > 0
        except futu_si.CacheMiss:
            return False


def record(cache: Path) -> None:
    """A record of many symbols, as a sync leaves it."""
    with (
        Simulator(Universe(symbols=CODES, most_rows=ROWS)) as opend,
        client(cache, "online", host=opend.host, port=opend.port) as asked,
    ):
        assert asked.sync(CODES).ok
