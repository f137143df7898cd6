"""The recorded histories of many symbols as one table: Arrow's, or a DataFrame. Nothing is fetched.

Needs the extra `arrow`. The rows come from a file of columns beside the record, where that has them, and from the
recorded pages (`columns`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import closing
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from opend_si.cache.store import Store
from opend_si.dates import AsOf, now
from opend_si.errors import CacheMiss, InvalidArgument, warn
from opend_si.errors.texts import some
from opend_si.pages import PageKey
from opend_si.pages.named import listed
from opend_si.research import columns
from opend_si.research.arrow import build_table, nullable_dtypes
from opend_si.tables import describe
from opend_si_schema.definitions import MARKET, PUBLISHED_BY, Call, Table

if TYPE_CHECKING:
    import pandas as pd

    from opend_si.research.arrow import ArrowTable


class Choice(NamedTuple):
    """Which rows of a record a table is made of.

    Attributes:
        record: The record's file.
        may_write: Whether the file of columns beside it may be written on the way.
        call: What rows.
        codes: The symbols; None: all that are recorded.
        market: Their market; None: that of the codes, or the only one that is recorded.
        as_of: The moment to look back from.

    """

    record: Path
    may_write: bool
    call: Call
    codes: Iterable[str] | None = None
    market: str | None = None
    as_of: AsOf = AsOf()


def arrow_table(choice: Choice) -> ArrowTable:
    """All rows of the symbols, by symbol and date."""
    return _table(choice, is_frame=False)


def panel(choice: Choice) -> pd.DataFrame:
    """The same as a DataFrame; its `attrs` say what it is."""
    frame = _to_frame(_table(choice, is_frame=True))
    frame.attrs.update(describe(choice.call, choice.call.table_of(frame.attrs[MARKET])))
    return frame


def _table(choice: Choice, *, is_frame: bool) -> ArrowTable:
    """The table; for a DataFrame with the types that pandas' columns are made from."""
    call = choice.call
    with closing(Store(choice.record, may_write=False)) as store:
        table, names = choose(store, choice)
        looking_back, public = choice.as_of.recorded(table.market), choice.as_of.public(table.market)
        clock, moment = store.clock(), now()
        if looking_back is None:
            blocks = [*columns.blocks(store, call, table, names, may_write=choice.may_write)]
        else:
            clock, moment = clock.up_to(looking_back), looking_back
            blocks = [*columns.blocks_as_of(store, call, table, names, moment)]
        incomplete = [entry.symbol for block in blocks for entry in block.entries if entry.rows is None]
        if incomplete:  # of nothing no table is made: an export would replace a full one by it
            needed = choice.codes is not None or len(incomplete) == len(names)
            _tell_incomplete(store, call, incomplete, is_needed=needed)
    found = build_table(call, table, blocks, clock, moment, is_frame=is_frame)
    return found if public is None else _published(found, public)


def _published(table: ArrowTable, day: date) -> ArrowTable:
    """The rows that were public at the end of a day."""
    import pyarrow as pa
    import pyarrow.compute as pc

    days = table[PUBLISHED_BY]
    days = days.cast(days.type.value_type) if pa.types.is_dictionary(days.type) else days
    return table.filter(pc.less_equal(days, pa.scalar(day, pa.date32()).cast(days.type)))


def _to_frame(table: ArrowTable) -> pd.DataFrame:
    """A table as a DataFrame, with the column types of `history`. Its values are its own: they may be written to."""
    import pandas as pd

    columns = {name: _to_array(column) for name, column in zip(table.column_names, table.columns, strict=True)}
    frame = pd.DataFrame(columns, copy=False)
    frame.attrs[MARKET] = table.schema.metadata[b"market"].decode()
    frame.attrs["origin"] = table.schema.metadata[b"origin"].decode()
    return frame


def _to_array(column: Any) -> Any:
    """A column's values for pandas."""
    import numpy as np
    import pandas as pd
    import pyarrow as pa

    kind = column.type
    if pa.types.is_dictionary(kind) and column.num_chunks:
        values = column.chunk(0).dictionary.to_numpy(zero_copy_only=False)
        found, begin = _room(len(column), values.dtype), 0
        for chunk in column.chunks:
            end = begin + len(chunk)
            np.take(values, chunk.indices.to_numpy(), out=found[begin:end], mode="clip")  # "raise" takes a copy
            begin = end
        return found if getattr(kind.value_type, "tz", None) is None else pd.DatetimeIndex(found, tz="UTC")
    if pa.types.is_dictionary(kind):
        column = column.cast(kind.value_type)
    if column.num_chunks and not column.null_count and (pa.types.is_int64(kind) or pa.types.is_float64(kind)):
        chunks = [chunk.to_numpy() for chunk in column.chunks]
        return np.concatenate(chunks, out=_room(len(column), chunks[0].dtype))
    dtypes = nullable_dtypes() if column.null_count else {}
    # Out of a table: by itself a column without chunks does not become one of texts.
    return pa.table([column], names=[""]).to_pandas(types_mapper=lambda found: _dtype(dtypes.get(found)))[""]


def _room(length: int, dtype: Any) -> Any:
    """An array to be filled, in memory of Arrow, which is used again; NumPy asks the system for it each time."""
    import numpy as np
    import pyarrow as pa

    dtype = np.dtype(dtype)
    return np.frombuffer(pa.allocate_buffer(length * dtype.itemsize), dtype=dtype) if length else np.empty(0, dtype)


def _dtype(name: str | None) -> Any:
    import pandas as pd

    return None if name is None else pd.api.types.pandas_dtype(name)


def recorded_markets(record: Path, call: Call) -> list[str]:
    """The markets of which something is recorded."""
    with closing(Store(record, may_write=False)) as store:
        markets = [table.market.prefix for table in call.tables]
        return sorted(market for market in markets if store.symbols(call.proto_id, market))


# Which symbols --------------------------------------------------------------------------------------------------------


def choose(store: Store, choice: Choice) -> tuple[Table, list[str]]:
    """The table, and the symbols in order."""
    call, codes, market = choice.call, choice.codes, choice.market
    tables = sorted(call.tables, key=lambda table: table.market.prefix)
    known = {table.market.prefix: table for table in tables}
    if market is not None and not (isinstance(market, str) and market in known):
        raise InvalidArgument(f"market is {market!r}: it takes {' or '.join(known)}")
    if codes is None:
        recorded = {prefix: store.symbols(call.proto_id, prefix) for prefix in ([market] if market else known)}
        there = [prefix for prefix, names in recorded.items() if names]
        if not there:
            raise CacheMiss(
                f"No {call.title}{f' of {market}' if market else ''} is recorded in {store.path}. Record some with sync first."
            )
        if len(there) > 1:
            raise InvalidArgument(f"name one market: {' and '.join(there)} are recorded, and their columns differ")
        return known[there[0]], recorded[there[0]]
    symbols = [PageKey.check(call, code).symbol for code in listed(codes)]
    markets = {symbol.market.prefix for symbol in symbols}
    said = " and ".join(sorted(markets))
    if market is not None and not markets <= {market}:
        both = " and ".join(sorted({*markets, market}))
        raise InvalidArgument(
            f"codes are of {said}, and market is {market!r}: a table is of one market, for the columns of {both} differ"
        )
    if len(markets) > 1:
        raise InvalidArgument(f"codes are of {said}: a table is of one market, for their columns differ")
    markets = markets or ({market} if market else set())
    if not markets:
        raise InvalidArgument("codes is empty and no market is named: a table is of one market")
    return known[markets.pop()], sorted({str(symbol) for symbol in symbols})


def _tell_incomplete(store: Store, call: Call, names: Sequence[str], *, is_needed: bool) -> None:
    text = f"{call.title} of {some(names)} is not completely recorded in {store.path}"
    if is_needed:
        raise CacheMiss(f"{text}. Bring it up to date with sync.")
    warn(f"{text}, and left out. Bring it up to date with sync.")
