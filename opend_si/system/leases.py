"""Leases: rights that processes take for a while, in a small file of which one lock makes them take turns.

A lease is of a key, such as a page that is being fetched, and has a holder. It ends when it is given back, or when its
time is over (`opend_si.system.clocks`): who died holds nothing for ever. It may be remembered for a while after that.

The file is a row of places of 64 bytes. The first says whose file it is, what it is called inside (a file that is
deleted or replaced takes its leases with it, and is known by that), and how many places there are; each of the others
is empty or has a lease, and all have a checksum. A place is written in one piece and lies in one block of the disk: who
is killed leaves it as it was or as it shall be. Nothing waits for the disk: all leases that a power cut takes back are
over.

It is opened for each use, and closed: the lock goes with it, wherever an interrupt comes and whoever is killed.
"""

from __future__ import annotations

import errno
import os
import stat
import struct
import sys
import time
from collections.abc import Callable, Sequence
from functools import cache
from io import FileIO
from math import ceil
from pathlib import Path
from typing import NamedTuple, TypeVar
from zlib import crc32

from opend_si.system import forks, ours
from opend_si.system.clocks import Moment
from opend_si.system.locks import has_no_locks, lock, looks, unlock
from opend_si.system.ours import OurFile
from opend_si.system.sharing import make_file, make_folder

# Bytes of a key and of a holder.
NAME_BYTES = 16
# The mark, the version, how many places there are with this one, the name; and the checksum of all that, where every
# version has it.
_HEADER = struct.Struct(f"<4sHxxI{NAME_BYTES}sI")
_CHECKSUM = struct.Struct("<I")
# A lease: for how many milliseconds it is remembered, key, holder, since when and until when by the monotonic clock,
# since when by the wall clock.
_LEASE = struct.Struct(f"<II{NAME_BYTES}s{NAME_BYTES}sddd")
_PLACE = _LEASE.size
_EMPTY = _CHECKSUM.pack(crc32(bytes(_PLACE - _CHECKSUM.size))) + bytes(_PLACE - _CHECKSUM.size)
_VERSION = 1
# As many places has a new file, and one of which nothing is taken any more; one read gives it whole.
_FIRST_PLACES = 32
# Seconds between attempts to open a file.
_PAUSES = 0.01, 0.05, 0.2, 0.5

_T = TypeVar("_T")


# Holders --------------------------------------------------------------------------------------------------------------

# Where its process runs, the process's number, and what tells it from all others of that process.
_HOLDER = struct.Struct("<4sI8s")
_NOWHERE = bytes(4)
# What tells apart where a number means the same process: the start of the machine, and a container. Linux has them.
_START, _CONTAINER = Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/pid")


def new_holder() -> bytes:
    """A holder that nobody has been."""
    return _HOLDER.pack(_where(), os.getpid(), os.urandom(8))


def is_ours(holder: bytes) -> bool:
    """Whether a holder is of this process, and not of the one that it was forked from."""
    return bool(_HOLDER.unpack(holder)[1] == os.getpid())


def has_died(holder: bytes) -> bool:
    """Whether the process of a holder has ended, as far as this one can know.

    It cannot where the other runs on another system or in another container, or where its number is another's by now.
    """
    where, number, _ = _HOLDER.unpack(holder)
    if where == _NOWHERE or where != _where():
        return False
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return True
    except OSError:  # it is another user's, and lives
        pass
    return False


def _where() -> bytes:
    try:
        return crc32(_start(), _CONTAINER.stat().st_ino).to_bytes(4, "little")
    except OSError:
        return _NOWHERE


@cache
def _start() -> bytes:
    return _START.read_bytes()


# Leases ---------------------------------------------------------------------------------------------------------------


class Lease(NamedTuple):
    """A right that is taken; times are those of `Moment.left`. In its last milliseconds it is only `remembered`."""

    remembered: int
    key: bytes
    holder: bytes
    since: float
    until: float
    wall: float


class Board:
    """The leases of a file that this process has locked: those whose time is not over, by their places.

    `has_lost`: leases may have been there that are gone.
    """

    def __init__(self, file: FileIO, mark: bytes, name: bytes, places: int, *, has_lost: bool = False) -> None:
        self.name, self.has_lost = name, has_lost
        self.now = Moment.now()
        self.taken: dict[int, Lease] = {}
        self._file, self._mark, self._places = file, mark, places
        self._may_be_free = 1  # all places before it are taken

    @classmethod
    def begin(cls, file: FileIO, mark: bytes) -> Board:
        """The leases of a file that is empty from now on. What was there is gone."""
        content = _new_content(mark)
        file.truncate(0)
        board = cls(file, mark, _HEADER.unpack_from(content)[3], _FIRST_PLACES, has_lost=True)
        try:
            board._write(0, content)
        except OSError:  # as on a full disk: half of it would be a damaged file
            file.truncate(0)
            raise
        return board

    @classmethod
    def read(cls, file: FileIO, mark: bytes, name: bytes, places: int, data: bytes) -> Board:
        """The leases of a file that begins with this data; `ValueError` says what is damaged."""
        if len(data) < places * _PLACE:
            data += file.read(places * _PLACE - len(data)) or b""
        if len(data) < places * _PLACE:
            raise ValueError("it ends too early")
        board = cls(file, mark, name, places)
        now, taken = board.now, board.taken
        for place in range(1, places):
            held = data[place * _PLACE : (place + 1) * _PLACE]
            if held == _EMPTY:
                continue
            checksum, *lease = _LEASE.unpack(held)
            if checksum != crc32(held[_CHECKSUM.size :]):
                raise ValueError(f"place {place} does not fit its checksum")
            if now.left(*lease[3:]):
                taken[place] = Lease._make(lease)
        if not taken and places > _FIRST_PLACES:
            board._resize(_FIRST_PLACES)
        return board

    def of(self, key: bytes) -> dict[int, Lease]:
        """The leases of a key, by their places."""
        return {place: lease for place, lease in self.taken.items() if lease.key == key}

    def left(self, places: Sequence[int]) -> list[float]:
        """How many seconds of each lease are left, the fewest first."""
        return sorted(self.now.left(*self.taken[place][3:]) for place in places)

    def over(self, lease: Lease) -> float:
        """For how many seconds a lease has been over and is remembered; 0 while it lasts."""
        return max(lease.remembered / 1000 - self.now.left(*lease[3:]), 0.0)

    def lasted(self, lease: Lease) -> float:
        """For how many seconds a lease has been there as it is."""
        return lease.until - lease.since - self.now.left(*lease[3:])

    def put(self, key: bytes, holder: bytes, seconds: float, place: int | None = None, remembered: float = 0.0) -> int:
        """Give a lease from now on, in the place of another or in a free one; says in which.

        It is `remembered` for so many seconds when it is over.
        """
        now, after = self.now, ceil(remembered * 1000)
        lease = Lease(after, key, holder, now.monotonic, now.monotonic + seconds + after / 1000, now.wall)
        if place is None:
            free = (free for free in range(self._may_be_free, self._places) if free not in self.taken)
            place = next(free, None) or self._grown()
            self._may_be_free = place + 1
        data = _LEASE.pack(0, *lease)[_CHECKSUM.size :]
        self._write(place * _PLACE, _CHECKSUM.pack(crc32(data)) + data)
        self.taken[place] = lease
        return place

    def end(self, place: int) -> None:
        """End a lease."""
        self._write(place * _PLACE, _EMPTY)
        del self.taken[place]
        self._may_be_free = min(self._may_be_free, place)

    def _grown(self) -> int:
        """The first of as many new places as there are."""
        first = self._places
        self._resize(2 * first)
        return first

    def _resize(self, places: int) -> None:
        """Let there be so many places, the new ones empty. None that goes is taken."""
        if places > self._places:
            # Where the disk is full there are some more behind the places, or none yet: that is as good as before.
            self._write(self._places * _PLACE, _EMPTY * (places - self._places))
        self._places = places
        self._write(0, _header(self._mark, places, self.name))
        self._file.truncate(places * _PLACE)

    def _write(self, at: int, data: bytes) -> None:
        self._file.seek(at)
        if self._file.write(data) != len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _header(mark: bytes, places: int, name: bytes) -> bytes:
    told = _HEADER.pack(mark, _VERSION, places, name, 0)[: -_CHECKSUM.size]
    return told + _CHECKSUM.pack(crc32(told))


def _new_content(mark: bytes) -> bytes:
    """A file of which nothing is taken, with a name of its own."""
    header = _header(mark, _FIRST_PLACES, os.urandom(NAME_BYTES))
    return header.ljust(_PLACE, b"\0") + _EMPTY * (_FIRST_PLACES - 1)


class Leases:
    """One file of leases. Threads and processes take turns.

    `mark`: 4 bytes with which files of its kind begin. `may_begin_anew`: whether a damaged file may be emptied, told by
    its status; one that may not is an error, for somebody may have leases in it.
    """

    def __init__(
        self, path: Path, file: OurFile, mark: bytes, may_begin_anew: Callable[[os.stat_result], bool]
    ) -> None:
        self.path = path
        self._file, self._mark, self._may_begin_anew = file, mark, may_begin_anew
        # No fork is made while the file is open: the child's copy would hold the lock.
        self._turn = forks.new_lock_for_files()

    def use(self, use: Callable[[Board], _T]) -> _T:
        """Do something with the leases while nobody else can.

        Raises:
            CacheError: The file cannot be used; `CacheBusy`, `CacheCorrupt`, `CacheVersionMismatch` say why.

        """
        for _ in looks(ours.BUSY_SECONDS):
            # Closed between two looks: no fork waits for what another process holds.
            try:
                with self._turn, self._open() as file:
                    lock(file.fileno(), 0)
                    try:
                        return use(self._board(file))
                    finally:
                        unlock(file.fileno())
            except BlockingIOError:
                continue
            except OSError as error:
                if has_no_locks(error):
                    raise self._file.lockless(self.path, waited=False) from error
                raise self._file.unusable(self.path, error.strerror or error) from error
        raise self._file.busy(self.path)

    def _open(self) -> FileIO:
        for pause in _PAUSES:
            try:
                return FileIO(self.path, "r+b")
            except FileNotFoundError:  # once more where it goes at once
                self._create()
            except PermissionError:
                if sys.platform != "win32":
                    raise
                time.sleep(pause)  # a scanner may have it open for a moment
        return FileIO(self.path, "r+b")

    def _create(self) -> None:
        """Make the file, whole from its first moment: one that is found blank has lost what was there."""
        try:
            make_folder(self.path.parent)
            make_file(self.path, _new_content(self._mark))
        except FileExistsError:
            if self.path.is_symlink() and not self.path.exists():
                raise self._file.dangling(self.path) from None
        except OSError as error:
            raise self._file.not_created(self.path, error) from error

    def _board(self, file: FileIO) -> Board:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "a device or a pipe is there, and this takes a file")
        data = file.read(_FIRST_PLACES * _PLACE) or b""
        try:
            if data.startswith(self._mark):
                _, version, places, name, checksum = _HEADER.unpack(data[: _HEADER.size].ljust(_HEADER.size))
                if checksum != crc32(data[: _HEADER.size - _CHECKSUM.size]):
                    raise ValueError("its header does not fit its checksum")
                if version > _VERSION:
                    raise self._file.too_new(self.path, version, _VERSION)
                return Board.read(file, self._mark, name, places, data)
            if status.st_size <= len(data) and not data.strip(b"\0"):  # emptied
                return Board.begin(file, self._mark)
            if self.path.name != self._file.name:
                raise self._file.foreign(self.path)
            raise ValueError("it does not begin as one")
        except ValueError as error:
            if not self._may_begin_anew(status):
                raise self._file.damaged(self.path, error) from None
            return Board.begin(file, self._mark)
