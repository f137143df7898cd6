"""Rows of a reply on their way to records and DataFrames.

A table's rows are read once into columns: one list a column, None where OpenD sent nothing. Records and frames are
made from columns. pandas is imported when the first frame is made, not before.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import TYPE_CHECKING, Any, TypeAlias

from opend_si.errors import ProtocolError
from opend_si_schema.definitions import Column, Table

if TYPE_CHECKING:
    import pandas as pd

Columns: TypeAlias = tuple[list[Any], ...]

# What protobuf gives for a field that was not sent; a value that equals it has to be looked at again.
_UNSENT: dict[str, Any] = {"int64": 0, "float64": 0.0, "str": ""}
_INT64_MAX = 2**63 - 1


def read_columns(table: Table, items: Sequence[Any]) -> Columns:
    """The columns of a reply's rows. `ProtocolError` for a value that no column can hold."""
    return tuple(_read_column(column, items) for column in table.columns)


def _read_column(column: Column, items: Sequence[Any]) -> list[Any]:
    field = column.field
    try:
        values = list(map(attrgetter(field), items))
    except ValueError as error:  # text that is not UTF-8
        raise ProtocolError(f"{column.name} cannot be read: {error}") from None
    if _UNSENT[column.dtype] in values:
        for index, item in enumerate(items):
            if not values[index] and not item.HasField(field):
                values[index] = None
    if column.dtype == "int64" and any(value is not None and value > _INT64_MAX for value in values):
        raise ProtocolError(f"{column.name} holds {max(filter(None, values))}, more than a signed 64-bit integer")
    return values


def make_records(table: Table, columns: Columns) -> tuple[Any, ...]:
    """One frozen record a row."""
    return tuple(map(table.record, *columns))


def make_frame(table: Table, columns: Columns) -> pd.DataFrame:
    """A DataFrame with the table's columns, typed also when it is empty."""
    import pandas as pd

    data = {column.name: _series(column, values) for column, values in zip(table.columns, columns, strict=True)}
    return pd.DataFrame(data, copy=False)


def _series(column: Column, values: list[Any]) -> Any:
    """One column's array: int64, float64 or str; Int64 where an integer is missing."""
    import numpy as np
    import pandas as pd

    if column.dtype == "str":
        return pd.array(values, dtype="str")
    if column.dtype == "int64" and None in values:
        return pd.array(values, dtype="Int64")
    return np.array(values, dtype=column.dtype)
