"""The record in files that other engines read: a hive-partitioned data set, one file a market. Needs the extra `arrow`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal

from opend_si.arrow import need_arrow
from opend_si.dates import When
from opend_si.errors import InvalidArgument, MissingExtra
from opend_si.panel import arrow_table, recorded_markets
from opend_si.settings import Settings
from opend_si_schema.definitions import Call

if TYPE_CHECKING:
    from opend_si.arrow import ArrowTable

Format = Literal["parquet", "csv"]
FORMATS: tuple[Format, ...] = ("parquet", "csv")
# Rows of a row group: readers skip groups by their symbols and dates, and spread them over their workers.
_GROUP_ROWS = 131_072


def check_format(value: object) -> Format:
    """A format; `InvalidArgument` lists them."""
    for name in FORMATS:
        if value == name:
            return name
    raise InvalidArgument(f"format is {value!r}: it takes {' or '.join(FORMATS)}")


def export(
    settings: Settings,
    call: Call,
    to: str | os.PathLike[str],
    kind: object,
    codes: Iterable[str] | None,
    market: str | None,
    as_of: When | None,
) -> list[str]:
    """Write what is recorded into the data set at `to`, each market in its own file; gives the files' paths."""
    need_arrow("export")
    form = check_format(kind)
    if not os.fspath(to):
        raise InvalidArgument("path is empty: it takes a folder or a URL that fsspec knows")
    if codes is None and market is None:
        markets: Sequence[str | None] = recorded_markets(settings, call) or [None]
    else:
        markets = [market]
    return [_write(call, arrow_table(settings, call, codes, one, as_of), to, form) for one in markets]


def _write(call: Call, table: ArrowTable, to: str | os.PathLike[str], kind: Format) -> str:
    """Write one market's table; a file of before is replaced at once."""
    market = table.schema.metadata[b"market"].decode()
    parts = f"market={market}", f"{call.name}.{kind}"
    if isinstance(to, str) and "://" in to:
        return _put(f"{to.rstrip('/')}/{'/'.join(parts)}", lambda file: _encode(table, file, kind))
    return _replace(Path(to, *parts), lambda file: _encode(table, file, kind))


def _encode(table: ArrowTable, file: IO[bytes], kind: Format) -> None:
    if kind == "csv":
        from pyarrow import csv

        csv.write_csv(table, file)
        return
    from pyarrow import parquet

    # zstd: a third smaller than the default, and every engine of the last years reads it.
    parquet.write_table(table, file, row_group_size=_GROUP_ROWS, compression="zstd")


def _replace(path: Path, encode: Callable[[IO[bytes]], None]) -> str:
    """Write beside the file, then put it in its place: who reads meanwhile finds the old one or the new one, whole."""
    beside = path.with_name(f".{path.name}.{os.getpid()}-{os.urandom(4).hex()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with beside.open("xb") as file:
                encode(file)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None  # not the scratch file's name
    return str(path)


def _put(url: str, encode: Callable[[IO[bytes]], None]) -> str:
    """Write to whatever fsspec knows: an object is there when it is complete, as its store commits it."""
    import fsspec

    try:
        files: Any
        files, path = fsspec.core.url_to_fs(url)
        files.makedirs(path.rpartition("/")[0], exist_ok=True)
        with files.transaction, files.open(path, "wb") as file:
            encode(file)
    except ImportError as error:  # each kind of store has its own package
        raise MissingExtra(f"{url} cannot be written: {error}") from None
    except ValueError as error:
        raise InvalidArgument(f"{url} cannot be written: {error}") from None
    return url
