"""Rows of a reply on their way to records and DataFrames.

A table's rows are read once into columns: one list a column, None where OpenD sent nothing. Records and frames are
made from columns. pandas is imported when the first frame is made, not before.

Which fields can be columns is said in codegen/columns.py, and what a column is in pandas and in Arrow in `DTYPES` here:
every path takes it from there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from math import isnan, nan
from operator import attrgetter
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

from opend_si.errors import ProtocolError
from opend_si_schema.definitions import Call, Column, DType, Table

if TYPE_CHECKING:
    import pandas as pd

Columns: TypeAlias = tuple[Sequence[Any], ...]


class DTypeFacts(NamedTuple):
    """What the values of a dtype are elsewhere."""

    arrow: str  # pyarrow's name of the type
    nullable: str | None  # pandas' dtype of a column in which a value is missing, where it is another


DTYPES: Mapping[DType, DTypeFacts] = {
    "int64": DTypeFacts("int64", "Int64"),
    "float64": DTypeFacts("float64", None),
    "str": DTypeFacts("string", None),
    "bool": DTypeFacts("bool_", "boolean"),
}
_INT64_MAX = 2**63 - 1
# FINRA's days to cover end here: the number says that it is more, not how much.
MOST_DAYS = 999.99


def read_columns(table: Table, items: Sequence[Any]) -> Columns:
    """The columns of a reply's rows. `ProtocolError` for a value that no column can hold."""
    if not items:  # as of the other market
        return tuple([] for _ in table.columns)
    items = list(items)  # one object a row, not one each time a column looks at it
    return tuple(_read_column(column, items) for column in table.columns)


def _read_column(column: Column, items: Sequence[Any]) -> list[Any]:
    field = column.field
    try:
        values = list(map(attrgetter(field), items))
    except ValueError as error:  # text that is not UTF-8
        raise ProtocolError(f"{column.name} cannot be read: {error}") from None
    if column.dtype == "str" and not {str}.issuperset(map(type, values)):
        raise ProtocolError(f"{column.name} cannot be read: it is no UTF-8 text")
    if column.dtype == "int64" and max(values, default=0) > _INT64_MAX:
        raise ProtocolError(f"{column.name} holds {max(values)}, more than a signed 64-bit integer")
    if column.dtype == "float64" and isnan(sum(values)):
        values = [nan if isnan(value) else value for value in values]  # one object, so that rows compare equal
    # What protobuf gives for a field that was not sent (of an enum its first value): such a value is looked at again.
    unsent = items[0].DESCRIPTOR.fields_by_name[field].default_value if items else None
    if unsent in values:
        for index, item in enumerate(items):
            if values[index] == unsent and not item.HasField(field):
                values[index] = None
    return values


def make_records(table: Table, columns: Columns) -> tuple[Any, ...]:
    """One frozen record a row."""
    return tuple(map(table.record, *columns))


def make_frame(table: Table | None, columns: Columns) -> pd.DataFrame:
    """A DataFrame with the table's columns, typed also when it is empty; without columns where a call has no table."""
    if table is None:
        import pandas as pd

        return pd.DataFrame()
    return build_frame(table, columns) if columns[0] else _copy_of_empty(table)


def frame_maker(table: Table, columns: Columns) -> Callable[[], pd.DataFrame]:
    """What gives a frame of the same rows each time. No two of them share data, nor does anything else with one."""
    import pandas as pd

    if (make := _from_blocks()) is None:
        return partial(copy_apart, copy_apart(build_frame(table, columns)))
    blocks, rows = _blocks(table, columns, {}), len(columns[0])

    def made() -> pd.DataFrame:
        own, index = [(values.copy(), places) for values, places in blocks], pd.RangeIndex(rows)
        frame: pd.DataFrame = make(own, index=index, columns=_own_names(table))
        return frame

    return made


def copy_frame(frame: pd.DataFrame) -> pd.DataFrame:
    """A frame that shares nothing its owner could see change. pandas 3 copies when the copy is written to."""
    return frame.copy(deep=not _copies_on_write())


def add_units(frame: pd.DataFrame, units: Mapping[str, str]) -> None:
    """Say in which units the columns are that were appended to a copy, if the frame says that of the others."""
    if isinstance(said := frame.attrs.get("units"), dict):
        frame.attrs["units"] = {**said, **units}


def copy_apart(frame: pd.DataFrame) -> pd.DataFrame:
    """A copy that shares no data with a frame, not even what `frame["x"].array[0] = 1` writes to.

    In a copy, columns of one dtype stand together: copying it again takes a third of the time.
    """
    import pandas as pd

    copied = frame.copy()
    is_range = isinstance(frame.index, pd.RangeIndex)  # whose numbers, once they were asked for, its copies share
    copied.index = pd.RangeIndex(len(frame)) if is_range else frame.index.copy(deep=True)  # pandas copies no index
    if not _are_names_safe():  # nor names
        copied.columns = frame.columns.copy(deep=True)
    return copied


def frame_bytes(frame: pd.DataFrame) -> int:
    """About what a frame takes in memory: its objects, and its values. Each text is counted as one of a day."""
    texts = frame.dtypes.tolist().count(text_dtype())
    return 8000 + len(frame) * (8 * (frame.shape[1] + 1) + 56 * texts)


def build_frame(
    table: Table, columns: Columns, index: pd.Index[Any] | None = None, more: Mapping[str, Any] = MappingProxyType({})
) -> pd.DataFrame:
    """A DataFrame of the table's columns, and of `more` behind them; without an index its rows are numbered."""
    import pandas as pd

    index = pd.RangeIndex(len(columns[0])) if index is None else index
    names = _own_names(table, tuple(more))
    frame: pd.DataFrame
    if (make := _from_blocks()) is not None:
        frame = make(_blocks(table, columns, more), index=index, columns=names)
    else:
        arrays = [_array(column, values) for column, values in zip(table.columns, columns, strict=True)]
        # Numbers for names, until it stands: pandas makes a new index of texts each time, which takes longer than this.
        frame = pd.DataFrame(dict(enumerate((*arrays, *more.values()))), index=index, copy=False)
        frame.columns = names
    return frame


@cache
def _from_blocks() -> Any:
    """What makes a frame of blocks in a third of the time; None in pandas before 3."""
    import pandas as pd

    return getattr(getattr(pd.api, "internals", None), "create_dataframe_from_blocks", None)


def _blocks(table: Table, columns: Columns, more: Mapping[str, Any]) -> list[tuple[Any, Any]]:
    """Columns of one dtype together, as pandas has them, each block with the places of its columns."""
    import numpy as np

    alike: dict[DType, tuple[list[int], list[Sequence[Any]]]] = {}
    blocks: list[tuple[Any, list[int]]] = []
    for place, (column, values) in enumerate(zip(table.columns, columns, strict=True)):
        if column.dtype == "str" or (DTYPES[column.dtype].nullable and None in values):
            blocks.append((_array(column, values), [place]))
        else:
            places, lists = alike.setdefault(column.dtype, ([], []))
            places.append(place)
            lists.append(values)
    for dtype, (places, lists) in alike.items():
        blocks.append((np.array(lists, dtype=dtype), places))
    for place, values in enumerate(more.values(), start=len(columns)):
        blocks.append((values[np.newaxis] if isinstance(values, np.ndarray) else values.array, [place]))
    return [(values, np.array(places)) for values, places in blocks]


def _own_names(table: Table, more: tuple[str, ...] = ()) -> pd.Index[str]:
    """The names of columns, for one frame alone."""
    names = _names(table, more)
    return names.view() if _are_names_safe() else names.copy(deep=True)


@cache
def _names(table: Table, more: tuple[str, ...]) -> pd.Index[str]:
    import pandas as pd

    return pd.Index([*(column.name for column in table.columns), *more])


def _copy_of_empty(table: Table) -> pd.DataFrame:
    """A frame without rows: there are no values to be shared, but names."""
    frame = copy_frame(_empty_frame(table))
    if not _are_names_safe():
        frame.columns = frame.columns.copy(deep=True)
    return frame


@cache
def _empty_frame(table: Table) -> pd.DataFrame:
    # In a copy, columns of one dtype stand together: copying that is faster.
    return build_frame(table, tuple([] for _ in table.columns)).copy()


def describe(call: Call, table: Table) -> dict[str, Any]:
    """What a frame's `attrs` say of its rows: market, kind, source, and the unit of each column that has one.

    All of `attrs` is what JSON has: pandas and pyarrow write it into files.
    """
    said = _description(call, table)
    return {**said, "units": dict(said["units"])}


@cache
def _description(call: Call, table: Table) -> dict[str, Any]:
    columns = (*table.columns, *table.attrs)
    return {
        "market": table.market.prefix,
        "kind": call.name,
        "units": {column.name: column.unit for column in columns if column.unit},
        "source": f"OpenD protocol {call.proto_id}",
    }


@cache
def default_unit() -> Literal["s", "ms", "us", "ns"]:
    """The unit of the dates that the installed pandas makes by itself: frames with other units do not join."""
    import pandas as pd

    return pd.to_datetime(["2026-04-30"]).unit


@cache
def _are_names_safe() -> bool:
    """Whether nobody can write to what names lie in: they do not where they are an array of objects."""
    return _copies_on_write() and getattr(text_dtype(), "storage", None) == "pyarrow"


@cache
def _copies_on_write() -> bool:
    import pandas as pd

    return int(pd.__version__.split(".")[0]) >= 3


def _array(column: Column, values: Sequence[Any]) -> Any:
    """One column's values, in the dtype of a column that lacks some where it does."""
    import numpy as np
    import pandas as pd

    if column.dtype == "str":
        return text_column(values)
    nullable: Any = DTYPES[column.dtype].nullable
    if nullable and None in values:
        return pd.array(values, dtype=nullable)
    return np.array(values, dtype=column.dtype)


def text_column(values: Sequence[str | None]) -> Any:
    """Texts, as the columns of every frame have them; None where one is missing."""
    return _text_maker()(values)


@cache
def _text_maker() -> Callable[[Sequence[str | None]], Any]:
    import pandas as pd

    dtype = text_dtype()
    if _from_blocks() is None or dtype.storage != "pyarrow":
        return partial(pd.array, dtype=dtype)
    import pyarrow as pa

    made: Any = pd.arrays.ArrowStringArray
    # What `pd.array` makes, without its looking at what it was given.
    return lambda values: made(pa.array(values, pa.large_string()), dtype=dtype)


@cache
def text_dtype() -> Any:
    """`str`, which older pandas spells `object`; looked up once, because pandas takes its time to find it by name."""
    import pandas as pd

    return pd.Series([], dtype="str").dtype
