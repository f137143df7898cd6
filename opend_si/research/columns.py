"""A file of columns beside the record, from which panels of many symbols are read faster than from its pages.

It is derived, and never a second truth:

1. A symbol's rows are taken from it only where they were read from pages under the seal that the symbol has now, and
   that seal fits what is recorded. What it does not hold is read from pages. So an old file, another record's, and one
   that is being written anew change no answer.
2. All of it is covered by checksums, which are verified as it is read. What is damaged is not there.
3. It holds what was recorded and nothing that is worked out: not the days, `published_by` and `known_at`, which follow
   from calendars and the record's clock.
4. It can be deleted at any time. It appears whole or not at all, with the mode of the record's file.
5. A panel or an export of all symbols writes it, and a sync, where much is not in it. Mode offline never does, nor does
   anybody in a folder or beside a record that may not be written to.
6. What begins with another mark, and what is no plain file, is somebody else's, and is left as it is.

tests/research/columns/test_columns_are_never_a_second_truth.py holds these laws.

The file, one a kind and market: the mark; blocks, each an Arrow IPC stream; an index in JSON; its length and its
checksum; the mark. Blocks are squeezed with lz4: zstd makes them a third smaller, and takes twice as long to undo it.
"""

from __future__ import annotations

import errno
import json
import os
import struct
import zlib
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from stat import S_IMODE, S_ISREG, S_IWUSR
from types import TracebackType
from typing import IO, TYPE_CHECKING, NamedTuple, Self

from opend_si import __version__
from opend_si.cache.reading import COLUMNS_MARK, columns_file, is_columns, seals, standing
from opend_si.cache.store import Store
from opend_si.cache.versions import as_of
from opend_si.errors import ShortInterestError
from opend_si.research.arrow import Block, Entry, Part, block_schema, join, need_arrow, parts
from opend_si.research.batch import Pages
from opend_si.system.files import new_file
from opend_si_schema.definitions import Call, Table

if TYPE_CHECKING:
    from opend_si.research.arrow import ArrowTable

# A file of another layout has another number.
_FORMAT = 1
# What stands before the mark at the end: the length of the index, and its checksum.
_END = struct.Struct(">QI")
# Symbols that are read and decoded at once: those of so many pages, enough to keep the arrays long, and few in memory.
_PAGES = 3500
# Symbols of a block: those of so many pages, some 65,000 rows, of which a column fits into a processor's cache.
_BLOCK_PAGES = 1300
# So many pages that a file lacks, and such a share of all, are worth writing it: fewer are read about as fast.
_WORTH_PAGES, _WORTH_SHARE = 500, 0.1
# A block is read where such a share of its rows is wanted; for less, pages are read.
_READ_SHARE = 0.1


def blocks(store: Store, call: Call, table: Table, names: Sequence[str], *, may_write: bool) -> Iterator[Block]:
    """The rows of some symbols, in order. On the way the file is written, where it may be and is worth that."""
    with _File(store.path, call, table, may_write=may_write) as file:
        reader = _Reader(store, call, table, names, file)
        if reader.is_worth_writing() and {*store.symbols(call.proto_id, table.market.prefix)} <= {*names}:
            yield from file.written(reader.blocks())
        else:
            yield from reader.blocks()


def blocks_as_of(store: Store, call: Call, table: Table, names: Sequence[str], moment: int) -> Iterator[Block]:
    """The rows that were recorded when the clock showed a moment: that is read from pages alone."""
    pages = Pages(call, table)
    counts = {name: stood.pages for name, stood in standing(store, call.proto_id, names).items()}
    for group in _grouped(names, counts, _PAGES):
        found = [store.symbol_and_past(call.proto_id, name) for name in group]
        yield pages.block(group, [as_of(versions, past, clock, moment) for versions, past, clock in found])


def refresh(record: Path, call: Call) -> None:
    """Write the files of a call's markets where much is not in them. Faults are ignored: panels read pages then."""
    with suppress(ShortInterestError, OSError, ImportError), closing(Store(record, may_write=False)) as store:
        for table in call.tables:
            with _File(record, call, table, may_write=True) as file:
                # The seals alone: where little is new nothing else is read, nor is pyarrow imported.
                known = seals(store, call.proto_id, table.market.prefix)
                stale = sum(not file.holds(name, seal) for name, seal in known.items())
                if stale and stale >= _WORTH_SHARE * len(known) and file.may_write():
                    names = store.symbols(call.proto_id, table.market.prefix)
                    reader = _Reader(store, call, table, names, file)
                    if reader.is_worth_writing():
                        need_arrow("sync")
                        deque(file.written(reader.blocks()), maxlen=0)


def _grouped(names: Sequence[str], counts: Mapping[str, int], most: int) -> Iterator[list[str]]:
    """The names in order, in groups of about so many pages."""
    group: list[str] = []
    pages = 0
    for name in names:
        group.append(name)
        pages += counts.get(name, 0)
        if pages >= most:
            yield group
            group, pages = [], 0
    if group:
        yield group


class _Reader:
    """Some symbols' rows, from the file and from pages."""

    def __init__(self, store: Store, call: Call, table: Table, names: Sequence[str], file: _File) -> None:
        self._store, self._call, self._table = store, call, table
        self._names, self._file, self._pages = names, file, Pages(call, table)
        stands = standing(store, call.proto_id, names)
        self._counts = {name: stood.pages for name, stood in stands.items()}
        held = {name: file.held[name] for name, stood in stands.items() if file.holds(name, stood.seal)}
        self._stale = sum(stood.pages for name, stood in stands.items() if stood.seal and name not in held)
        wanted: Counter[int] = Counter()
        for place in held.values():
            wanted[place.block] += place.entry.rows or 0
        is_read = {number for number, rows in wanted.items() if rows >= _READ_SHARE * file.blocks[number].rows}
        self._held = {name: place for name, place in held.items() if place.block in is_read}

    def is_worth_writing(self) -> bool:
        """Whether much of the symbols is not in the file, and it may be written."""
        is_much = self._stale >= max(_WORTH_PAGES, _WORTH_SHARE * sum(self._counts.values()))
        return is_much and self._file.may_write()

    def blocks(self) -> Iterator[Block]:
        """The rows, in order. What is not in the file is read from the pages of many symbols at once."""
        waiting: list[list[str]] = []
        missing: list[str] = []
        pages = 0
        for group in (*_grouped(self._names, self._counts, _BLOCK_PAGES), []):
            lacking = [name for name in group if name not in self._held]
            pages += sum(self._counts.get(name, 1) for name in lacking)
            waiting.append(group)
            missing += lacking
            if pages >= _PAGES or not group:
                found = self._from_pages(missing)
                yield from (self._block(one, found) for one in waiting if one)
                waiting, missing, pages = [], [], 0

    def _from_pages(self, names: Sequence[str]) -> dict[str, Part]:
        if not names:
            return {}
        block = self._pages.block(names, self._store.records(self._call.proto_id, names))
        return {part.entry.symbol: part for part in parts(block)}

    def _block(self, group: Sequence[str], found: Mapping[str, Part]) -> Block:
        """The rows of a group, from the file and from what was found in pages."""
        there = {name: found[name] for name in group if name in found}
        numbers = set()
        for name in group:
            place = self._held.get(name)
            rows = None if place is None else self._file.rows(place.block)
            if place is not None and rows is not None:
                there[name] = Part(place.entry, rows, place.begin)
                numbers.add(place.block)
        there |= self._from_pages([name for name in group if name not in there])  # the file is damaged
        block = join([there[name] for name in group], self._table)
        return self._file.as_there(numbers.pop(), block) if len(numbers) == 1 else block


# The file -------------------------------------------------------------------------------------------------------------


class _Held(NamedTuple):
    """Where a symbol is in the file: its entry, the number of its block, and the row at which it begins there."""

    entry: Entry
    block: int
    begin: int


class _Place(NamedTuple):
    """A block of the file: where it begins, its bytes, their checksum, and its entries."""

    at: int
    bytes: int
    checksum: int
    entries: list[Entry]

    @property
    def rows(self) -> int:
        return sum(entry.rows or 0 for entry in self.entries)


class _File:
    """The file. If it is not there, is not whole, has another form or is somebody else's, it holds nothing."""

    def __init__(self, record: Path, call: Call, table: Table, *, may_write: bool) -> None:
        self._record, self._may_write, self._table = record, may_write, table
        self._path = columns_file(record, call.name, table.market.prefix)
        # What it was written by, and for: nothing else is read from it.
        columns = [[column.name, column.dtype] for column in table.columns]
        self._form = [_FORMAT, __version__, call.name, table.market.prefix, columns]
        self._read: tuple[int, ArrowTable | None, bytes] = -1, None, b""  # the block that was read last
        self._is_damaged = False
        self.blocks: list[_Place] = []
        self.held: dict[str, _Held] = {}
        self._open: IO[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            self._open = _opened(self._path)
            if self._open is not None:
                self.blocks = _read_index(self._open, self._form)
        except (OSError, ValueError, LookupError, TypeError):
            self._is_damaged = True
        for number, place in enumerate(self.blocks):
            begin = 0
            for entry in place.entries:
                self.held[entry.symbol] = _Held(entry, number, begin)
                begin += entry.rows or 0
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        if self._is_damaged and self.may_write():
            with suppress(OSError):
                self._path.unlink(missing_ok=True)  # the next one writes it anew

    def close(self) -> None:
        if self._open is not None:
            self._open.close()

    def may_write(self) -> bool:
        """Whether it may be written: where the record may be written, too, and nothing else stands in its place."""
        if not self._may_write:
            return False
        try:
            # An administrator may write anywhere; what its owner may not write to is not meant to be written to.
            is_meant = all(file.stat().st_mode & S_IWUSR for file in (self._record, self._path.parent))
        except OSError:
            return False
        may = os.access(self._record, os.W_OK) and os.access(self._path.parent, os.W_OK | os.X_OK)
        return is_meant and may and (not os.path.lexists(self._path) or is_columns(self._path))

    def holds(self, name: str, seal: bytes) -> bool:
        """Whether a symbol is there as it is recorded under a seal."""
        place = self.held.get(name)
        return place is not None and place.entry.seal == seal

    def rows(self, number: int) -> ArrowTable | None:
        """The rows of a block; None if it is damaged."""
        if self._read[0] != number:
            place, data = self.blocks[number], b""
            rows = None
            with suppress(OSError):
                assert self._open is not None
                self._open.seek(place.at)
                data = self._open.read(place.bytes)
            if len(data) == place.bytes and zlib.crc32(data) == place.checksum:
                rows = _decoded(data, self._table)
            self._is_damaged = self._is_damaged or rows is None
            self._read = number, rows, data
        return self._read[1]

    def as_there(self, number: int, block: Block) -> Block:
        """A block with its bytes, if it is this one of the file."""
        if block.entries == self.blocks[number].entries and block.rows is self.rows(number):
            return Block(block.entries, block.rows, self._read[2])
        return block

    def written(self, blocks: Iterator[Block]) -> Iterator[Block]:
        """The blocks; on the way they are written in the place of the file. It is there when all have passed."""
        places: list[_Place] = []
        with _Output(self._path, self._record, before=self.close) as output:
            output.write(COLUMNS_MARK)
            at = len(COLUMNS_MARK)
            for block in blocks:
                kept = _sealed(block, self._table)
                data = kept.data or _encoded(kept.rows)
                places.append(_Place(at, len(data), zlib.crc32(data), kept.entries))
                output.write(data)
                at += len(data)
                yield block
            index = _index(places, self._form)
            output.write(index + _END.pack(len(index), zlib.crc32(index)) + COLUMNS_MARK)
            self._is_damaged = False


class _Output:
    """A new file beside the record, with the record's mode. If it cannot be written, what is there stays."""

    def __init__(self, path: Path, record: Path, before: Callable[[], None]) -> None:
        """`before` is called before the file takes its place: Windows replaces no file that is open."""
        self._path, self._record, self._before = path, record, before
        self._stack = ExitStack()
        self._file: IO[bytes] | None = None

    def __enter__(self) -> Self:
        with suppress(OSError):
            half = self._stack.enter_context(new_file(self._path))
            self._file = self._stack.enter_context(half.open("xb"))
        return self

    def write(self, data: bytes) -> None:
        try:
            if self._file is not None:
                self._file.write(data)
        except OSError:
            self._file = None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError), self._stack:
            if self._file is None or error is not None:
                raise OSError(errno.ECANCELED, os.strerror(errno.ECANCELED))  # what is half written goes
            self._adopt_mode(Path(self._file.name))
            self._before()

    def _adopt_mode(self, half: Path) -> None:
        """Give it the record's mode, and the file that it replaces, too: it would take the mode of that."""
        mode = S_IMODE(self._record.stat().st_mode)
        for file in (half, self._path):
            with suppress(OSError):  # it is not there, or another's
                file.chmod(mode)


def _opened(path: Path) -> IO[bytes] | None:
    """A file open to read; None where there is none that one may read. A pipe's other end is not waited for."""
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        handle = os.open(path, flags)
    except OSError:
        return None
    if not S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        return None
    return os.fdopen(handle, "rb")


def _index(places: Sequence[_Place], form: object) -> bytes:
    """What a file holds, and where."""
    told = [
        {
            "at": place.at,
            "bytes": place.bytes,
            "checksum": place.checksum,
            "symbols": [entry.symbol for entry in place.entries],
            "rows": [entry.rows for entry in place.entries],
            "seals": [entry.seal.hex() for entry in place.entries],
            "origins": [entry.origins for entry in place.entries],
        }
        for place in places
    ]
    return json.dumps({"form": form, "blocks": told}, separators=(",", ":")).encode()


def _read_index(file: IO[bytes], form: object) -> list[_Place]:
    """The blocks of a file; none if it is of another form, or somebody else's. Where it is damaged, an error."""
    head = file.read(len(COLUMNS_MARK))
    if not COLUMNS_MARK.startswith(head):
        return []
    end = file.seek(0, os.SEEK_END) - _END.size - len(COLUMNS_MARK)
    if end < len(COLUMNS_MARK):
        raise ValueError("it is cut off")
    file.seek(end)
    length, checksum = _END.unpack(file.read(_END.size))
    if file.read() != COLUMNS_MARK or length > end - len(COLUMNS_MARK):
        raise ValueError("it is cut off")
    file.seek(end - length)
    data = file.read(length)
    if zlib.crc32(data) != checksum:
        raise ValueError("its index is damaged")
    index = json.loads(data)
    if index["form"] != form:
        return []
    return [
        _Place(
            told["at"],
            told["bytes"],
            told["checksum"],
            [
                Entry(symbol, rows, bytes.fromhex(seal), origins)
                for symbol, rows, seal, origins in zip(
                    told["symbols"], told["rows"], told["seals"], told["origins"], strict=True
                )
            ],
        )
        for told in index["blocks"]
    ]


def _sealed(block: Block, table: Table) -> Block:
    """A block without the symbols that no seal stands for."""
    if all(entry.seal for entry in block.entries):
        return block
    return join([part for part in parts(block) if part.entry.seal], table)


def _encoded(rows: ArrowTable) -> bytes:
    """A block's rows as the file has them. Texts are of few kinds: days."""
    import pyarrow as pa

    for place, field in enumerate(rows.schema):
        if pa.types.is_string(field.type):
            rows = rows.set_column(place, field.name, rows[field.name].dictionary_encode())
    stream = pa.BufferOutputStream()
    squeezed = pa.ipc.IpcWriteOptions(compression="lz4" if pa.Codec.is_available("lz4") else None)
    with pa.ipc.new_stream(stream, rows.schema, options=squeezed) as writer:
        writer.write_table(rows)
    return bytes(stream.getvalue())


def _decoded(data: bytes, table: Table) -> ArrowTable | None:
    """A block's rows; None if they are not what is expected."""
    import pyarrow as pa

    schema = block_schema(table)
    try:
        rows = pa.ipc.open_stream(pa.py_buffer(data)).read_all()
        columns = [
            rows[field.name].cast(field.type) if pa.types.is_string(field.type) else rows[field.name]
            for field in schema
        ]
        return pa.Table.from_arrays(columns, schema=schema)
    except (pa.ArrowException, KeyError, TypeError, ValueError):
        return None
