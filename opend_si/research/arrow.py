"""Recorded replies to Arrow, many at once, and blocks of rows to tables. Needs the extra `arrow`.

Where ptars (protobuf to Arrow, in Rust) is installed, it decodes them from their bytes, without an object a row. It
takes the descriptors of our private pool. Where it has no wheel, protobuf and the reader of pages decode them: slower,
with the same result. Tests run on both.

A block has what was recorded of its rows and nothing that is worked out: days, `published_by` and `known_at` follow
from time zones, calendars and clocks, which change while the record does not. They are worked out once for each
different moment, when the table is made.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from opend_si.cache.versions import Clock
from opend_si.dates.calendars import days_of, published_by_days
from opend_si.errors import MissingExtra
from opend_si.pages import END
from opend_si.pages.replies import read_text
from opend_si.tables import DTYPES, default_unit, read_columns
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


# Blocks ---------------------------------------------------------------------------------------------------------------

# What a block has beside the columns of its table: the event that brought a value, its number and its moment in
# milliseconds. No field of a proto can have such a name.
SEQ, AT = ".seq", ".at"
# The column that the days follow from.
_MOMENT = "timestamp"
# What has few different values.
CODED = (_MOMENT, SEQ, AT)
# A moment that is not known, as NumPy and Arrow write it.
_NOT_KNOWN = -(2**63)


class Entry(NamedTuple):
    """What a block has of a symbol.

    Attributes:
        symbol: The symbol.
        rows: How many rows; None if its history is not completely recorded.
        seal: The digest of the seal under which this is so; empty where there is none to hold it against.
        origins: Who sent the rows, in order, with commas between.

    """

    symbol: str
    rows: int | None
    seal: bytes
    origins: str


@dataclass(frozen=True, slots=True)
class Block:
    """The rows of some symbols, in order, oldest first.

    Attributes:
        entries: The symbols.
        rows: A table of `block_schema`, one chunk a column.
        data: The same as a file has it, if it is of one.

    """

    entries: list[Entry]
    rows: ArrowTable
    data: bytes | None = None


@cache
def block_schema(table: Table) -> ArrowSchema:
    """The schema of a block's rows."""
    import pyarrow as pa

    kinds = {column.name: arrow_type(column) for column in table.columns}
    kinds |= dict.fromkeys(CODED, pa.dictionary(pa.int32(), pa.int64()))
    return pa.schema([pa.field(name, kind) for name, kind in kinds.items()])


class Part(NamedTuple):
    """A symbol of a block: its entry, the block's rows, and the one at which it begins."""

    entry: Entry
    rows: ArrowTable
    begin: int


def parts(block: Block) -> list[Part]:
    """A block's symbols, in order."""
    found, begin = [], 0
    for entry in block.entries:
        found.append(Part(entry, block.rows, begin))
        begin += entry.rows or 0
    return found


def join(parts: Sequence[Part], table: Table) -> Block:
    """A block out of symbols of others."""
    import pyarrow as pa

    runs: list[list[Any]] = []  # rows, begin, end
    for entry, rows, begin in parts:
        count = entry.rows or 0
        if runs and runs[-1][0] is rows and runs[-1][2] == begin:
            runs[-1][2] += count
        elif count:
            runs.append([rows, begin, begin + count])
    pieces = [rows.slice(begin, end - begin) for rows, begin, end in runs]
    entries = [entry for entry, _, _ in parts]
    if len(pieces) == 1 and len(pieces[0]) == len(runs[0][0]):
        return Block(entries, runs[0][0])
    whole = pa.concat_tables(pieces) if pieces else block_schema(table).empty_table()
    for name in CODED:  # without the values that only other rows have
        coded = whole[name].cast(pa.int64()).combine_chunks().dictionary_encode()
        whole = whole.set_column(whole.column_names.index(name), block_schema(table).field(name), coded)
    return Block(entries, whole.combine_chunks())


def build_table(
    call: Call, table: Table, blocks: Sequence[Block], clock: Clock, moment: int, *, is_frame: bool
) -> ArrowTable:
    """The table of some blocks, in order, as of a moment at which so much was known of the clock.

    For a DataFrame it has the types that pandas' columns are made from, and what is worked out comes coded.
    """
    import pyarrow as pa

    schema = table_schema(table, call=call)
    origins = {one for block in blocks for entry in block.entries for one in entry.origins.split(", ") if one}
    schema = schema.with_metadata({**schema.metadata, b"origin": ", ".join(sorted(origins)).encode()})
    if is_frame:
        schema = _frame_schema(schema)
    there = [block.rows for block in blocks if len(block.rows)]
    if not there:
        return schema.empty_table()
    rows = pa.concat_tables(there)
    moments = rows[_MOMENT].unify_dictionaries()
    dates = days(moments.chunk(0).dictionary.to_numpy(), table)
    mapped = _coded if is_frame else _mapped
    worked_out: dict[str, Callable[[Any], Any]] = {
        SYMBOL: lambda kind: _symbols(blocks, kind),
        DATE: lambda kind: mapped(moments, dates.cast(kind)),
        PUBLISHED_BY: lambda kind: mapped(moments, public_days(dates, table).cast(kind)),
        KNOWN_AT: lambda kind: mapped(*_known(rows, clock, moment, kind)),
        _MOMENT: lambda kind: mapped(moments, moments.chunk(0).dictionary.cast(kind)),
    }
    columns = [
        worked_out[field.name](field.type) if field.name in worked_out else rows[field.name].cast(field.type)
        for field in schema
    ]
    return (
        pa.table(columns, names=schema.names, metadata=schema.metadata)
        if is_frame
        else pa.table(columns, schema=schema)
    )


def _frame_schema(schema: ArrowSchema) -> ArrowSchema:
    """What the columns of pandas are made from without a detour."""
    import pandas as pd
    import pyarrow as pa

    unit = default_unit()
    kinds = {pa.date32(): pa.timestamp(unit), pa.timestamp("us", "UTC"): pa.timestamp(unit, "UTC")}
    if int(pd.__version__.split(".")[0]) >= 3:  # before, texts are objects
        kinds[pa.string()] = pa.large_string()
    return pa.schema([field.with_type(kinds.get(field.type, field.type)) for field in schema], metadata=schema.metadata)


def _mapped(coded: Any, values: ArrowArray) -> Any:
    """A column of values, by the codes of another whose chunks share their dictionary."""
    import pyarrow as pa

    return pa.chunked_array([values.take(chunk.indices) for chunk in coded.chunks], type=values.type)


def _coded(coded: Any, values: ArrowArray) -> Any:
    """The same, with the values as its dictionary."""
    import pyarrow as pa

    return pa.chunked_array([pa.DictionaryArray.from_arrays(chunk.indices, values) for chunk in coded.chunks])


def _symbols(blocks: Sequence[Block], kind: Any) -> ArrowArray:
    """Each symbol as often as it has rows."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    entries = [entry for entry in chain.from_iterable(block.entries for block in blocks) if entry.rows]
    ends = np.cumsum([entry.rows for entry in entries])
    names = pa.array([entry.symbol for entry in entries], type=kind)
    return pc.run_end_decode(pa.RunEndEncodedArray.from_arrays(pa.array(ends, type=pa.int64()), names))


def _known(rows: ArrowTable, clock: Clock, moment: int, kind: Any) -> tuple[Any, ArrowArray]:
    """When values were first seen: codes, and the moments that they stand for."""
    import pyarrow as pa

    if clock.steps:  # what is known depends on when, and on the order of events
        seqs, ats = (rows[name].cast(pa.int64()).to_numpy() for name in (SEQ, AT))
        coded = pa.chunked_array([pa.array(_known_at(seqs, ats, clock, moment)).dictionary_encode()])
        known = coded.chunk(0).dictionary.to_numpy()
    else:
        coded = rows[AT].unify_dictionaries()
        ats = coded.chunk(0).dictionary.to_numpy()
        known = _known_at(ats, ats, clock, moment)
    return coded, pa.array(known, mask=known == _NOT_KNOWN).view(pa.timestamp("ms", "UTC")).cast(kind)


def _known_at(seqs: Ints, ats: Ints, clock: Clock, moment: int) -> Ints:
    """The moments of events, as far as no later event, nor `moment`, shows that the clock was ahead."""
    import numpy as np

    known = ats.copy()
    known[ats > moment] = _NOT_KNOWN
    if clock.steps:
        steps, least = np.array([step.seq for step in clock.steps]), np.array(clock.least)
        places = np.searchsorted(steps, seqs, "right")
        later = places < len(steps)
        later[later] = least[places[later]] < ats[later]
        known[later] = _NOT_KNOWN
    return known


def days(timestamps: Ints, table: Table) -> ArrowArray:
    """The days of rows in the market's time zone, as date32."""
    import pyarrow as pa

    return pa.array(days_of(timestamps, table.market).astype("int32"), type=pa.int32()).view(pa.date32())


def public_days(dates: ArrowArray, table: Table) -> ArrowArray:
    """`published_by` of rows of these days."""
    import numpy as np
    import pyarrow as pa

    found = published_by_days(table, dates.cast(pa.int32()).to_numpy().astype("datetime64[D]"))
    return pa.array(found.view("int64").astype("int32"), mask=np.isnat(found)).view(pa.date32())
