"""Many symbols' recorded pages at once, in arrays: what a symbol's rows are is the planner's to say.

For most symbols there is nothing to decide, and that is seen for many at once; every other symbol goes the planner's
way, as `history` does.

A symbol is *plain* where nothing that is recorded of it is void, which was seen to when it was recorded: no page is
unfit for a history, and no value was revised but in what is not needed any more. Then all pages agree, and what is
left to see is whether they join: every page's rows stand together among all rows that are known, right below the row
that the page was walked behind; each row but the oldest has the next one below it by some page's word; the oldest is
the end by some page's word, and no page ends elsewhere; a head begins with the newest row. Then the walk from the
newest head gives every row that is known, once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from opend_si.cache.runs import unpack_runs
from opend_si.cache.versions import BODY, RawVersion, Version, Versions
from opend_si.errors import InvalidArgument
from opend_si.history.statements import BOTTOM
from opend_si.history.symbol import Symbols
from opend_si.history.vintages import first_seen
from opend_si.history.walk import Walk, recorded_walk
from opend_si.pages import PageKey
from opend_si.research.arrow import AT, CODED, SEQ, Block, Entry, arrow_type, block_schema, decode
from opend_si_schema.definitions import Call, Table

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from opend_si.research.arrow import Decoded

    Ints = npt.NDArray[np.int64]
    Flags = npt.NDArray[np.bool_]

# Where a version has its origin.
_ORIGIN = Version._fields.index("origin")


class Pages:
    """Reads recorded pages into blocks."""

    def __init__(self, call: Call, table: Table) -> None:
        self._call, self._table = call, table
        self._symbols = Symbols()

    def block(self, names: Sequence[str], records: Sequence[Versions]) -> Block:
        """The rows of some symbols, in order, out of what is recorded of each."""
        import numpy as np
        import pyarrow as pa

        pages: list[RawVersion] = []
        owners: list[int] = []
        for number, record in enumerate(records):
            # Otherwise not all that is left is trusted, or nobody has judged yet.
            if record.is_whole and not record.seal.floor and record.seal.is_judged:
                pages += record.sound
                owners += [number] * len(record.sound)
        decoded, pages, owners = self._decode(pages, owners)
        found = resolve(len(names), owners, pages, decoded)
        places = pa.array(found.rows)
        columns = {name: values.take(places) for name, values in decoded.columns.items()}
        columns |= {SEQ: pa.array(found.seen_seq), AT: pa.array(found.seen_at)}
        numbers, parts = [found.symbols], [columns]
        counts: list[int | None] = [*np.bincount(found.symbols, minlength=len(names)).tolist()]
        for number in np.flatnonzero(~found.is_plain).tolist():
            walked = self._walk(names[number], records[number])
            counts[number] = None if walked is None else len(walked[SEQ])
            if walked is not None:
                numbers.append(np.full(len(walked[SEQ]), number, dtype=np.int64))
                parts.append(walked)
        if len(parts) > 1:
            order = pa.array(np.argsort(np.concatenate(numbers), kind="stable"))
            columns = {name: pa.concat_arrays([part[name] for part in parts]).take(order) for name in columns}
        entries = [_entry(name, rows, record) for name, rows, record in zip(names, counts, records, strict=True)]
        columns |= {name: columns[name].dictionary_encode() for name in CODED}
        schema = block_schema(self._table)
        return Block(entries, pa.Table.from_arrays([columns[name] for name in schema.names], schema=schema))

    def _walk(self, name: str, record: Versions) -> dict[str, Any] | None:
        """One symbol's rows as the planner finds them, column by column; None if they are not all recorded."""
        import pyarrow as pa

        try:
            key = PageKey.longest(self._call, name)
        except InvalidArgument:  # a damaged name
            return None
        recorded = self._symbols.read(key, record)
        found = recorded_walk(recorded.ledger, BOTTOM) if recorded.odd is None else None
        if not isinstance(found, Walk):
            return None
        rows = found.rows[::-1]
        events = first_seen(recorded.ledger.statements, found.rows)[::-1]
        return {
            column.name: pa.array([row.values[place] for row in rows], type=arrow_type(column))
            for place, column in enumerate(self._table.columns)
        } | {name: pa.array([event[place] for event in events], pa.int64()) for place, name in enumerate((SEQ, AT))}

    def _decode(self, pages: list[RawVersion], owners: list[int]) -> tuple[Decoded, list[RawVersion], list[int]]:
        """The pages decoded, without those of symbols whose replies hold what this decoder does not take."""
        try:
            return decode(self._call, self._table, [page[BODY] for page in pages]), pages, owners
        except ValueError:
            odd = {number for number in set(owners) if not self._is_decodable(pages, owners, number)}
        chosen = [place for place, number in enumerate(owners) if number not in odd]
        pages, owners = [pages[place] for place in chosen], [owners[place] for place in chosen]
        return decode(self._call, self._table, [page[BODY] for page in pages]), pages, owners

    def _is_decodable(self, pages: Sequence[RawVersion], owners: Sequence[int], number: int) -> bool:
        bodies = [page[BODY] for page, owner in zip(pages, owners, strict=True) if owner == number]
        try:
            decode(self._call, self._table, bodies)
        except ValueError:
            return False
        return True


def _entry(name: str, rows: int | None, record: Versions) -> Entry:
    seal = record.seal.digest if record.is_whole and record.sound else b""
    return Entry(name, rows, seal, ", ".join(sorted({page[_ORIGIN] for page in record.sound})))


@dataclass(frozen=True)
class Resolved:
    """What was found.

    Attributes:
        is_plain: For each symbol, whether its rows are here.
        symbols: For each row, the number of its symbol; rows are in the order of symbols, oldest first.
        rows: Where it stands among the decoded rows.
        seen_seq, seen_at: The event that brought its value: its number, and its moment in milliseconds.

    """

    is_plain: Flags
    symbols: Ints
    rows: Ints
    seen_seq: Ints
    seen_at: Ints


def resolve(count: int, owners: Sequence[int], pages: Sequence[RawVersion], decoded: Decoded) -> Resolved:
    """The rows of the plain ones among `count` symbols; `owners` are the numbers of the pages' symbols, ascending."""
    import numpy as np

    found = _Batch(count, owners, pages, decoded)
    found.look_at_rows()
    found.look_at_values()
    found.look_at_places()
    found.look_at_heads()
    is_plain = ~found.is_doubtful
    chosen = is_plain[found.row_symbols]
    return Resolved(
        is_plain,
        found.row_symbols[chosen],
        found.sent[found.groups][chosen],
        *(np.minimum.reduceat(seen, found.groups)[chosen] if chosen.size else seen for seen in found.seen),
    )


class _Batch:
    """Arrays of one entry a page, a row as it was sent, or a different row; and which symbols are doubtful."""

    def __init__(self, count: int, owners: Sequence[int], pages: Sequence[RawVersion], decoded: Decoded) -> None:
        import numpy as np

        self.columns = decoded.columns
        self.symbols = np.array(owners, dtype=np.int64)
        self.counts, self.leads_on = decoded.counts, decoded.leads_on
        self.starts = np.cumsum(self.counts) - self.counts
        self.is_empty = self.counts == 0
        place = Version._fields.index
        self.is_head = np.array([next_key == "" for next_key in map(itemgetter(place("next_key")), pages)], dtype=bool)
        self.after, self.first_seq, self.fetched, superseded, void = (
            np.fromiter(map(itemgetter(place(name)), pages), dtype=np.int64, count=len(pages))
            for name in ("behind", "first_seq", "fetched_at", "superseded_seq", "void_seq")
        )
        self.is_current = superseded == 0
        self.runs = [(number, seen) for number, seen in enumerate(map(itemgetter(place("seen")), pages)) if seen]
        # What nothing is recorded of is not complete.
        self.is_doubtful = np.ones(count, dtype=bool)
        self.is_doubtful[self.symbols] = False
        self.doubt(void != 0)

    def doubt(self, pages: Flags | Ints) -> None:
        self.is_doubtful[self.symbols[pages]] = True

    def _page_of(self, rows: Ints) -> Ints:
        """The pages that sent some rows."""
        import numpy as np

        return np.searchsorted(self.starts + self.counts, rows, "right")

    def look_at_rows(self) -> None:
        """Put all rows in order: by symbol and timestamp, those that came more than once side by side."""
        import numpy as np

        timestamps = self.columns["timestamp"]
        if timestamps.null_count:
            empty = np.flatnonzero(timestamps.is_null().to_numpy(zero_copy_only=False))
            self.doubt(self._page_of(empty))
            timestamps = timestamps.fill_null(0)
        ats = timestamps.to_numpy()
        rises = np.flatnonzero(ats[1:] >= ats[:-1]) + 1
        self.doubt(self._page_of(np.setdiff1d(rises, self.starts)))
        self.doubt(self.is_empty & self.leads_on)

        # Page by page from the oldest, each from its end: that is the order already, unless pages overlap.
        self.first = np.full(len(self.counts), np.iinfo(np.int64).min)
        self.first[~self.is_empty] = ats[self.starts[~self.is_empty]]
        order = np.lexsort((self.first, self.symbols))
        lengths = self.counts[order]
        ends = np.cumsum(lengths)
        sent = np.repeat(self.starts[order] + lengths - 1 + ends - lengths, lengths) - np.arange(len(ats))
        pages, symbols, ordered = np.repeat(order, lengths), np.repeat(self.symbols[order], lengths), ats[sent]
        overlap = (symbols[1:] == symbols[:-1]) & (ordered[1:] <= ordered[:-1])
        if overlap.any():
            is_mixed = np.zeros(len(self.is_doubtful), dtype=bool)
            is_mixed[symbols[1:][overlap]] = True
            mixed = np.flatnonzero(is_mixed[symbols])
            again = mixed[np.lexsort((ordered[mixed], symbols[mixed]))]
            sent[mixed], pages[mixed], ordered[mixed] = sent[again], pages[again], ordered[again]
        is_new = np.ones(len(sent), dtype=bool)
        is_new[1:] = (symbols[1:] != symbols[:-1]) | (ordered[1:] != ordered[:-1])

        self.sent, self.groups = sent, np.flatnonzero(is_new)
        self.group_of = np.cumsum(is_new) - 1
        self.row_symbols, self.row_ats = symbols[self.groups], ordered[self.groups]
        self.seen = [seen[sent] for seen in self._first_seen()]
        # Each symbol's oldest and newest row, and each page's; a page without rows stands below the oldest.
        numbers = np.arange(len(self.is_doubtful))
        self.oldest = np.searchsorted(self.row_symbols, numbers, "left")
        self.newest = np.searchsorted(self.row_symbols, numbers, "right") - 1
        rank = np.empty(len(sent), dtype=np.int64)
        rank[sent] = self.group_of
        self.low = self.oldest[self.symbols]
        self.high = self.low - 1
        filled = ~self.is_empty
        self.high[filled] = rank[self.starts[filled]]
        self.low[filled] = rank[(self.starts + self.counts - 1)[filled]]

    def _first_seen(self) -> tuple[Ints, Ints]:
        """The events that brought the rows as they were sent."""
        import numpy as np

        seqs, ats = np.repeat(self.first_seq, self.counts), np.repeat(self.fetched, self.counts)
        for number, data in self.runs:
            own = int(self.first_seq[number]), int(self.fetched[number])
            lengths, own_seqs, own_ats = zip(*unpack_runs(data, own), strict=True)
            if sum(lengths) == self.counts[number]:
                place = slice(self.starts[number], self.starts[number] + self.counts[number])
                seqs[place], ats[place] = np.repeat(own_seqs, lengths), np.repeat(own_ats, lengths)
        return seqs, ats

    def look_at_values(self) -> None:
        """Rows that came twice have to be equal."""
        import numpy as np

        is_first = np.zeros(len(self.sent), dtype=bool)
        is_first[self.groups] = True
        twice = np.flatnonzero(~is_first)
        if not twice.size:
            return
        firsts, seconds = self.sent[self.groups[self.group_of[twice]]], self.sent[twice]
        for values in self.columns.values():
            differs = _differ(values, firsts, seconds)
            self.is_doubtful[self.row_symbols[self.group_of[twice[differs]]]] = True

    def look_at_places(self) -> None:
        """Pages have to stand without a gap, each where it was walked, down to one end."""
        import numpy as np

        self.doubt(self.high - self.low + 1 != self.counts)
        is_walked = (self.after > 0) & (self.first < self.after)
        above = self.high + 1
        is_known = above <= self.newest[self.symbols]
        is_known[is_known] = self.row_ats[above[is_known]] == self.after[is_known]
        self.doubt(is_walked & ~is_known)

        # Which rows have the next newer one right above them by some page's word.
        steps = np.zeros(len(self.row_ats) + 1, dtype=np.int64)
        filled = ~self.is_empty
        np.add.at(steps, self.low[filled], 1)
        np.add.at(steps, self.high[filled], -1)
        is_joined = np.cumsum(steps)[:-1] > 0
        is_joined[self.high[filled & is_walked & is_known]] = True
        is_joined[self.newest[self.oldest <= self.newest]] = True
        self.is_doubtful[self.row_symbols[~is_joined]] = True

        self.doubt(~self.leads_on & (self.low != self.oldest[self.symbols]))
        has_end = self.oldest > self.newest  # without rows, the head is the end
        has_end[self.symbols[~self.leads_on & (filled | is_walked)]] = True
        self.is_doubtful[~has_end] = True

    def look_at_heads(self) -> None:
        """A head that is current has to begin with the newest row."""
        import numpy as np

        heads = np.flatnonzero(self.is_head & self.is_current)
        newest = heads[self.high[heads] == self.newest[self.symbols[heads]]]
        has_head = np.zeros(len(self.is_doubtful), dtype=bool)
        has_head[self.symbols[newest]] = True
        self.is_doubtful[~has_head] = True


def _differ(values: Any, firsts: Ints, seconds: Ints) -> Flags:
    """Where two rows' values are not the same; a missing value is one of its own, and so is NaN."""
    import pyarrow as pa
    import pyarrow.compute as pc

    first, second = values.take(pa.array(firsts)), values.take(pa.array(seconds))
    differs = pc.fill_null(pc.not_equal(first, second), False)
    if pa.types.is_floating(values.type):
        both = pc.fill_null(pc.and_(pc.is_nan(first), pc.is_nan(second)), False)
        differs = pc.and_not(differs, both)
    flags: Flags = pc.or_(differs, pc.xor(first.is_null(), second.is_null())).to_numpy(zero_copy_only=False)
    return flags
