"""The record in files that other engines read: a hive-partitioned data set, one file a market.

Needs the extra `arrow`.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal, TypeAlias

from opend_si.errors import CacheMiss, InvalidArgument, MissingExtra, warn
from opend_si.errors.texts import RUNS_IN_SPREADSHEETS, csv_text
from opend_si.research.arrow import nullable_dtypes
from opend_si.research.panel import Choice, arrow_table, recorded_markets
from opend_si.system.files import put_in_place, user_path
from opend_si_schema.definitions import MARKET, Call

if TYPE_CHECKING:
    from opend_si.research.arrow import ArrowTable

Format = Literal["parquet", "csv"]
FORMATS: tuple[Format, ...] = ("parquet", "csv")
# Rows of a row group: readers skip groups by their symbols and dates, and spread them over their workers.
_GROUP_ROWS = 131_072

# Writes a table's bytes; it may be asked to more than once.
_Encode: TypeAlias = Callable[[IO[bytes]], None]
# Writes a file of the data set, by its path in there; gives its whole path or URL.
_Put: TypeAlias = Callable[[str, _Encode], str]


def check_format(value: object) -> Format:
    """A format; `InvalidArgument` lists them."""
    for name in FORMATS:
        if value == name:
            return name
    raise InvalidArgument(f"format is {value!r}: it takes {' or '.join(FORMATS)}")


def export(choice: Choice, to: str | os.PathLike[str], kind: object) -> list[str]:
    """Write what is recorded into the data set at `to`, each market in its own file; gives the files' paths."""
    form, put = check_format(kind), _open_data_set(to)  # before anything is read
    if choice.codes is None and choice.market is None:
        markets: Sequence[str | None] = recorded_markets(choice.record, choice.call) or [None]
    else:
        markets = [choice.market]
    written: list[str] = []
    for one in markets:
        try:
            table = arrow_table(choice._replace(market=one))
        except CacheMiss as error:
            if len(markets) == 1 or (one == markets[-1] and not written):
                raise
            warn(f"{error} Of {one} nothing was written.")
        else:
            written.append(_write(choice.call, table, put, form))
    return written


def _write(call: Call, table: ArrowTable, put: _Put, kind: Format) -> str:
    """Write one market's table; a file of before is replaced at once."""
    market = table.schema.metadata[b"market"].decode()
    return put(f"{MARKET}={market}/{call.name}.{kind}", lambda file: _encode(table, file, kind))


def _encode(table: ArrowTable, file: IO[bytes], kind: Format) -> None:
    if kind == "csv":
        from pyarrow import csv

        csv.write_csv(_harmless(table), file)
        return
    from pyarrow import parquet

    # zstd: a third smaller than the default, and every engine of the last years reads it.
    parquet.write_table(_tell_pandas(table), file, row_group_size=_GROUP_ROWS, compression="zstd")


def _harmless(table: ArrowTable) -> ArrowTable:
    """The table with no text that a spreadsheet would run.

    Such a text is there, if at all, because a server made it up.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    for place, field in enumerate(table.schema):
        if (
            pa.types.is_string(field.type)
            and pc.any(pc.match_substring_regex(table[place], RUNS_IN_SPREADSHEETS)).as_py()
        ):
            texts = [None if text is None else csv_text(text) for text in table[place].to_pylist()]
            table = table.set_column(place, field, pa.array(texts, type=field.type))
    return table


def _tell_pandas(table: ArrowTable) -> ArrowTable:
    """The table with pandas' own note of its types: integers with missing values are read as `Int64`, by Dask too.

    Without it they become floats and lose digits, and Dask expects integers where floats come. Truth values become
    objects.
    """
    import pandas as pd

    nullable = nullable_dtypes()
    columns = [
        {
            "name": field.name,
            "field_name": field.name,
            "pandas_type": str(field.type),
            "numpy_type": nullable[field.type],
            "metadata": None,
        }
        for field in table.schema
        if field.type in nullable and table[field.name].null_count
    ]
    told = {
        "index_columns": [],
        "column_indexes": [],
        "columns": columns,
        "attributes": {MARKET: table.schema.metadata[b"market"].decode()},  # as `panel` has it
        "pandas_version": pd.__version__,
    }
    return table.replace_schema_metadata({**table.schema.metadata, b"pandas": json.dumps(told).encode()})


# Where to -------------------------------------------------------------------------------------------------------------


def _open_data_set(to: str | os.PathLike[str]) -> _Put:
    """What writes a file of the data set at `to`; `InvalidArgument` or `MissingExtra` if there is nothing that can."""
    if not isinstance(to, str) or "://" not in to:
        folder = user_path("path", to, "a folder, or a URL that fsspec knows")
        return lambda name, encode: _replace(folder, folder / name, encode)
    try:
        from fsspec.core import url_to_fs
        from fsspec.implementations.local import LocalFileSystem
    except ImportError:
        raise MissingExtra(f"{to} needs fsspec: pip install 'opend-short-interest[arrow]'") from None
    try:
        # An instance of our own: fsspec's transactions are the instance's, and the shared one may be in use elsewhere.
        files, root = url_to_fs(to, skip_instance_cache=True)
    except ImportError as error:  # each kind of store has its own package
        raise MissingExtra(f"{to} cannot be written: {error}") from None
    except ValueError as error:
        raise InvalidArgument(f"path is {to!r}: {error}") from None
    except Exception as error:
        raise _told(error, to) from error
    if isinstance(files, LocalFileSystem):  # whose transactions copy from another disk: half a file can be seen
        return lambda name, encode: _replace(Path(root), Path(root, name), encode)
    given = to if to.endswith("/") else f"{to}/"
    return lambda name, encode: _store(files, f"{root}/{name}", f"{given}{name}", encode)


def _replace(folder: Path, path: Path, encode: _Encode) -> str:
    """Write elsewhere, then put it in its place: who reads meanwhile finds the old file or the new one, whole.

    Elsewhere is beside the data set where that can be, for there are engines that take every file in a folder (Polars);
    what is left when the process is killed has a hidden name.
    """
    others = [one.name for form in FORMATS for one in path.parent.glob(f"[!._]*.{form}") if one.name != path.name]
    if others:
        raise InvalidArgument(
            f"{path.parent} holds {', '.join(sorted(others))}: a reader of the folder would mix it with {path.name}. Export "
            "each kind and format to a folder of its own."
        )
    beside = Path(os.path.realpath(folder)).parent
    made: list[Path] = []
    try:
        made += [parent for parent in path.parents if not parent.exists()]
        path.parent.mkdir(parents=True, exist_ok=True)
        put_in_place(path, encode, beside)
    except BaseException as error:
        for parent in made:
            with suppress(OSError):  # it is not empty
                parent.rmdir()
        if isinstance(error, OSError):
            raise _told(error, str(path)) from None  # not the scratch file's name
        raise
    return str(path)


def _store(files: Any, path: str, url: str, encode: _Encode) -> str:
    """Write to whatever fsspec knows: an object is there when it is complete, as its store commits it."""
    try:
        files.makedirs(path.rpartition("/")[0], exist_ok=True)
        with files.transaction, files.open(path, "wb") as file:
            encode(file)
    except Exception as error:
        raise _told(error, url) from error
    return url


def _told(error: Exception, target: str) -> OSError:
    """The error of a store, of which each kind has its own, as the one that files have."""
    if isinstance(error, OSError) and error.errno is not None:
        return OSError(error.errno, error.strerror, target)
    return OSError(errno.EIO, str(error) or type(error).__name__, target)
