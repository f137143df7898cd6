"""Many symbols' recorded pages at once, in arrays: the rows of those of which the planner has nothing to decide.

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

from opend_si.cache.versions import RawVersion, Version
from opend_si.history.statements import unpack_runs

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from opend_si.research.arrow import Decoded

    Ints = npt.NDArray[np.int64]
    Flags = npt.NDArray[np.bool_]


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
            lengths, own_seqs, own_ats = zip(*unpack_runs(data), strict=True)
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
