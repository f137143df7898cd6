"""Recorded replies to Arrow: many at once, from their bytes, without an object a row. Needs the extra `arrow`.

The decoding is that of ptars (protobuf to Arrow, in Rust), which takes the descriptors of our private pool; tests hold it
against the plain decoder of `pages`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, TypeAlias

from opend_si.errors import MissingExtra
from opend_si.pages import END
from opend_si_schema.definitions import Call, Column, Table

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Ints: TypeAlias = npt.NDArray[np.int64]
    Flags: TypeAlias = npt.NDArray[np.bool_]
    # pyarrow's classes come without types.
    ArrowArray: TypeAlias = Any
    ArrowTable: TypeAlias = Any
    ArrowSchema: TypeAlias = Any

_TYPES = {"int64": "int64", "float64": "float64", "str": "string"}


def need_arrow(what: str) -> None:
    """`MissingExtra` if the extra is not installed. `what` needs it."""
    try:
        import ptars  # noqa: F401
        import pyarrow  # noqa: F401
    except ImportError as error:
        raise MissingExtra(f"{what} needs {error.name}: pip install 'opend-short-interest[arrow]'") from None


@dataclass(frozen=True)
class Decoded:
    """The rows of some replies for one market, one behind the other, in the order they were sent.

    Attributes:
        counts: Rows of each reply.
        leads_on: Whether a reply has a cursor of a next page.
        columns: One Arrow array a column of the table.

    """

    counts: Ints
    leads_on: Flags
    columns: dict[str, ArrowArray]


def decode(call: Call, table: Table, bodies: Sequence[bytes]) -> Decoded:
    """Decode replies that have been read before: bytes that are none are not expected here."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    # Joined by hand: pyarrow puts them together one by one, in memory that it moves as it grows.
    ends = pa.array(np.cumsum([0, *map(len, bodies)]), type=pa.int32())
    replies = pa.Array.from_buffers(pa.binary(), len(bodies), [None, ends.buffers()[1], pa.py_buffer(b"".join(bodies))])
    data = _handler(call).array_to_record_batch(replies).column("s2c")
    lists = data.field(table.list_field)
    offsets = lists.offsets.to_numpy()
    rows = lists.values
    if offsets.size and (offsets[0], offsets[-1]) != (0, len(rows)):
        rows = rows.slice(offsets[0], offsets[-1] - offsets[0])
    columns = {}
    for column in table.columns:
        values = rows.field(column.field)
        if rows.offset:
            values = values.slice(rows.offset, len(rows))
        # Values that no signed column can hold are refused before they are recorded.
        columns[column.name] = values.view(pa.int64()) if column.dtype == "int64" else values
    cursors = data.field("nextKey")
    leads_on = pc.and_(pc.is_valid(cursors), pc.invert(pc.is_in(cursors, pa.array(["", END]))))
    return Decoded(np.diff(offsets).astype(np.int64), leads_on.to_numpy(zero_copy_only=False), columns)


@cache
def _handler(call: Call) -> Any:
    import ptars

    return ptars.HandlerPool([call.response.DESCRIPTOR.file]).get_for_message(call.response.DESCRIPTOR)


def table_schema(table: Table, *, call: Call) -> ArrowSchema:
    """The schema of many symbols' rows, with what each column is in its metadata."""
    import pyarrow as pa

    def field(name: str, kind: Any, doc: str, unit: str = "", *, nullable: bool = False) -> Any:
        return pa.field(name, kind, nullable=nullable, metadata={"doc": doc, **({"unit": unit} if unit else {})})

    market = table.market
    return pa.schema(
        [
            field("symbol", pa.dictionary(pa.int32(), pa.string()), f"Symbol, such as {market.example}."),
            field("date", pa.date32(), f"The day of the row, in {market.timezone}."),
            *(field(column.name, _kind(column), column.doc, column.unit, nullable=True) for column in table.columns),
            field("known_at", pa.timestamp("ms", "UTC"), "When this value was first seen here.", nullable=True),
        ],
        metadata={
            "title": call.title,
            "market": market.prefix,
            "source": f"OpenD protocol {call.proto_id}",
        },
    )


def _kind(column: Column) -> Any:
    import pyarrow as pa

    return getattr(pa, _TYPES[column.dtype])()


def days(timestamps: Ints, table: Table) -> ArrowArray:
    """The days of rows in the market's time zone, as date32."""
    import pandas as pd
    import pyarrow as pa

    # Thousands of symbols share their few hundred dates.
    codes, different = pd.factorize(timestamps)
    moments = pd.DatetimeIndex(different.astype("datetime64[s]"), tz="UTC").tz_convert(table.market.timezone)
    there = moments.tz_localize(None).to_numpy().astype("datetime64[D]").astype("int32")
    return pa.array(there[codes], type=pa.int32()).view(pa.date32())
