"""Recorded replies to Arrow: many at once. Needs the extra `arrow`.

Where ptars (protobuf to Arrow, in Rust) is installed, it decodes them from their bytes, without an object a row. It
takes the descriptors of our private pool. Where it has no wheel, protobuf and the reader of pages decode them: slower,
with the same result. Tests run on both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, TypeAlias

from opend_si.dates.calendars import published_by_days
from opend_si.errors import MissingExtra
from opend_si.pages import END
from opend_si.pages.replies import read_text
from opend_si.tables import DTYPES, read_columns
from opend_si_schema.definitions import DATE, KNOWN_AT, PUBLISHED_BY, SYMBOL, Call, Column, Table

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Ints: TypeAlias = npt.NDArray[np.int64]
    Flags: TypeAlias = npt.NDArray[np.bool_]
    # pyarrow's classes come without types.
    ArrowArray: TypeAlias = Any
    ArrowTable: TypeAlias = Any
    ArrowSchema: TypeAlias = Any


def need_arrow(what: str) -> None:
    """`MissingExtra` if the extra is not installed. `what` needs it."""
    try:
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
    handler = _handler(call)
    return _decode_plainly(call, table, bodies) if handler is None else _decode_at_once(handler, call, table, bodies)


def _decode_plainly(call: Call, table: Table, bodies: Sequence[bytes]) -> Decoded:
    import numpy as np
    import pyarrow as pa

    replies = [call.response.FromString(body).s2c for body in bodies]
    lists = [getattr(reply, table.list_field) for reply in replies]
    columns = read_columns(table, [row for rows in lists for row in rows])
    return Decoded(
        np.array([len(rows) for rows in lists], dtype=np.int64),
        np.array([read_text(reply, "nextKey") not in ("", END) for reply in replies], dtype=bool),
        {
            column.name: pa.array(values, type=arrow_type(column))
            for column, values in zip(table.columns, columns, strict=True)
        },
    )


def _decode_at_once(handler: Any, call: Call, table: Table, bodies: Sequence[bytes]) -> Decoded:
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    # Joined by hand: pyarrow puts them together one by one, in memory that it moves as it grows.
    ends = pa.array(np.cumsum([0, *map(len, bodies)]), type=pa.int32())
    replies = pa.Array.from_buffers(pa.binary(), len(bodies), [None, ends.buffers()[1], pa.py_buffer(b"".join(bodies))])
    data = handler.array_to_record_batch(replies).column("s2c")
    lists = data.field(table.list_field)
    offsets = lists.offsets.to_numpy()
    rows = lists.values
    if offsets.size and (offsets[0], offsets[-1]) != (0, len(rows)):
        rows = rows.slice(offsets[0], offsets[-1] - offsets[0])
    s2c = call.response.DESCRIPTOR.fields_by_name["s2c"].message_type
    item = s2c.fields_by_name[table.list_field].message_type
    columns = {}
    for column in table.columns:
        values = rows.field(column.field)
        if rows.offset:
            values = values.slice(rows.offset, len(rows))
        enum = item.fields_by_name[column.field].enum_type
        if enum:  # protobuf takes a number that the proto does not have for one that was not sent
            known = pc.is_in(values, pa.array(enum.values_by_number, type=values.type))
            values = pc.if_else(known, values, None)
        kind = arrow_type(column)
        # Values that no signed column can hold are refused before they are recorded.
        columns[column.name] = values.view(kind) if pa.types.is_uint64(values.type) else values.cast(kind)
    cursors = data.field("nextKey")
    leads_on = pc.and_(pc.is_valid(cursors), pc.invert(pc.is_in(cursors, pa.array(["", END]))))
    return Decoded(np.diff(offsets).astype(np.int64), leads_on.to_numpy(zero_copy_only=False), columns)


@cache
def _handler(call: Call) -> Any:
    """What decodes replies to a call at once; None without ptars."""
    try:
        import ptars
    except ImportError:
        return None
    return ptars.HandlerPool([call.response.DESCRIPTOR.file]).get_for_message(call.response.DESCRIPTOR)


def table_schema(table: Table, *, call: Call) -> ArrowSchema:
    """The schema of many symbols' rows, with what each column is in its metadata."""
    import pyarrow as pa

    def field(name: str, kind: Any, doc: str, unit: str = "", *, nullable: bool = False) -> Any:
        return pa.field(name, kind, nullable=nullable, metadata={"doc": doc, **({"unit": unit} if unit else {})})

    market = table.market
    return pa.schema(
        [
            field(SYMBOL, pa.string(), f"Symbol, such as {market.example}."),
            field(DATE, pa.date32(), f"The day of the row, in {market.timezone}."),
            *(
                field(column.name, arrow_type(column), column.doc, column.unit, nullable=True)
                for column in table.columns
            ),
            field(
                PUBLISHED_BY,
                pa.date32(),
                f"The day in {market.timezone} by whose end the row was public, by the exchange's rule.",
                nullable=True,  # at the end of the calendar
            ),
            field(KNOWN_AT, pa.timestamp("us", "UTC"), "When this value was first seen here.", nullable=True),
        ],
        metadata={
            "title": call.title,
            "market": market.prefix,
            "source": f"OpenD protocol {call.proto_id}",
        },
    )


def arrow_type(column: Column) -> Any:
    """The Arrow type of a column."""
    import pyarrow as pa

    return getattr(pa, DTYPES[column.dtype].arrow)()


def nullable_dtypes() -> dict[Any, str]:
    """By Arrow type: what pandas' column is where a value is missing, if pandas takes another type by itself."""
    import pyarrow as pa

    return {getattr(pa, facts.arrow)(): facts.nullable for facts in DTYPES.values() if facts.nullable}


def days(timestamps: Ints, table: Table) -> ArrowArray:
    """The days of rows in the market's time zone, as date32."""
    import pandas as pd
    import pyarrow as pa

    # Thousands of symbols share their few hundred dates.
    codes, different = pd.factorize(timestamps)
    moments = pd.DatetimeIndex(different.astype("datetime64[s]"), tz="UTC").tz_convert(table.market.timezone)
    there = moments.tz_localize(None).to_numpy().astype("datetime64[D]").astype("int32")
    return pa.array(there[codes], type=pa.int32()).view(pa.date32())


def public_days(dates: ArrowArray, table: Table) -> ArrowArray:
    """`published_by` of rows of these days."""
    import numpy as np
    import pyarrow as pa

    found = published_by_days(table, dates.cast(pa.int32()).to_numpy().astype("datetime64[D]"))
    return pa.array(found.view("int64").astype("int32"), mask=np.isnat(found)).view(pa.date32())
