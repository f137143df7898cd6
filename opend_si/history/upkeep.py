"""Looking after a record: whether it is sound, a smaller one to hand on, and what of it is to go.

It is read symbol by symbol (`opend_si.cache.reading`): each is seen as of one moment, and two may be seen as of
different ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from datetime import datetime
from pathlib import Path

from opend_si.cache.reading import drop_columns, forget, opened, place_of, symbols
from opend_si.cache.store import Store
from opend_si.dates import milliseconds
from opend_si.errors import CacheError, CacheMiss, InvalidArgument, ShortInterestError
from opend_si.pages import Content, PageKey
from opend_si.system.files import new_file


def verify(path: Path) -> Iterator[str]:
    """Every fault of a page cache, in words: SQLite's own check, each checksum, each reply, and what is missing.

    Each symbol is checked as of one moment. SQLite's own check comes first and sees the whole file as of one; writers
    wait for it, which is the time that it takes to read the file once.
    """
    with opened(path) as store:
        check = store.database.read(lambda connection: connection.execute("PRAGMA integrity_check(20)").fetchall())
        yield from (f"SQLite: {fault}" for (fault,) in check if fault != "ok")
        missing, damaged = [], False
        for found in symbols(store):
            damaged = damaged or bool(found.damaged)
            yield from (f"{where}: does not match its checksum" for where in found.damaged)
            faults = [f"{found.symbol}: {found.lost} blocks of its past are lost"] if found.lost else []
            yield from faults
            for row in (*found.record.rows, *(version for version, _ in found.past)):
                try:
                    Content.read(PageKey.of_identity(row.identity), row.body)
                except ShortInterestError as error:
                    yield f"{place_of(row.symbol, row.next_key, row.num, row.version)}: {error}"
            if not found.record.is_whole:
                missing.append(found.symbol)
        if not damaged:  # a damaged row is missing where it belongs, and was named
            yield from (f"{symbol}: something of what was recorded is missing" for symbol in missing)


def export(path: Path, target: Path, names: Sequence[str] = (), *, may_replace: bool = False) -> int:
    """Write the pages of some symbols (none given: of all), every version, to a new page cache; gives how many.

    The file appears whole or not at all; each symbol in it is as of one moment. Damaged pages are left out. It is made
    to be handed on: others of the machine may read it, as far as the umask lets them.

    Raises:
        InvalidArgument: `target` exists and is not to be replaced, or is the page cache itself.
        CacheMiss: a symbol has no pages, or nothing has.
        ShortInterestError: `target` cannot be written.

    """
    wanted = set(names)
    written, missing = 0, set(wanted)
    with opened(path) as store, _cache_to_hand_on(path, target, may_replace) as half:
        with closing(Store(half)) as copy:
            # The disk is waited for once, when the file is whole.
            with _naming(target):
                copy.database.read(lambda connection: connection.execute("PRAGMA synchronous = OFF"))
            for found in symbols(store, wanted):
                if found.record.rows:
                    with _naming(target):
                        past = store.blocks(found.protocol, found.symbol)
                        copy.add(found.record, of_past=past, clock=store.clock())
                    written += len(found.record.rows) + len(found.past)
                    missing.discard(found.symbol)
        if missing or not written:
            whose = f"{', '.join(sorted(missing))}: nothing" if missing else "Nothing"
            raise CacheMiss(f"{whose} is recorded in {path}. Ask for it in mode online first.")
    return written


def prune(path: Path, before: datetime) -> int:
    """Delete the versions that left the present before a moment; gives how many.

    What is in the present stays: what answers of now need, with as few versions as hold all rows. So histories of now
    and of any moment since are what they were, and when each value was first seen; what was revised before is not
    listed any more.
    """
    until = milliseconds(before)
    with opened(path, may_write=True) as store:
        deleted = store.prune(lambda left, clock: clock.has_been(left, until))
    if deleted:
        drop_columns(path)  # they are of seals that are no more
    return deleted


def delete(path: Path, names: Sequence[str], protocols: set[int]) -> int:
    """Forget some symbols: all versions of their pages, in one transaction each; gives how many records went.

    Raises:
        CacheMiss: Nothing of a symbol is recorded; nothing was deleted then.
        CacheError: The page cache cannot be used.

    """
    with opened(path, may_write=True) as store:
        there = [(protocol, name) for name in names for protocol in sorted(protocols) if _has(store, protocol, name)]
        missing = sorted(set(names) - {name for _, name in there})
        if missing:
            raise CacheMiss(f"{', '.join(missing)}: nothing is recorded in {path}. Nothing was deleted.")
        for protocol, name in there:
            forget(store, protocol, name)
    drop_columns(path)  # which have their rows
    return len(there)


def _has(store: Store, protocol: int, symbol: str) -> bool:
    found = store.symbol(protocol, symbol)
    return bool(found.sound or found.damaged or found.seal.seq)


# A smaller one to hand on ---------------------------------------------------------------------------------------------


@contextmanager
def _naming(target: Path) -> Iterator[None]:
    """Errors that name the target, not the file that it is not yet: that one is gone when they are read."""
    try:
        yield
    except CacheError as error:
        raise _cannot_write(target, error.__cause__ or error) from error


@contextmanager
def _cache_to_hand_on(path: Path, target: Path, may_replace: bool) -> Iterator[Path]:
    with suppress(OSError):  # nothing is there
        if target.samefile(path):
            raise InvalidArgument(f"{target} is the page cache itself: name another file")
    try:
        with new_file(target, may_replace=may_replace) as half:
            half.touch()  # with the mode of a user's file: a page cache's own is its owner's alone
            yield half
    except FileExistsError:
        raise InvalidArgument(f"{target} exists already: name a new file, or have it replaced with --force") from None
    except OSError as error:
        raise _cannot_write(target, error) from None


def _cannot_write(target: Path, error: BaseException) -> ShortInterestError:
    told = error.strerror if isinstance(error, OSError) and error.strerror else error
    return ShortInterestError(
        f"{target} cannot be written ({told}). See its folder, its permissions and the free space on its disk."
    )
