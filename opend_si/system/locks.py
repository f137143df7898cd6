"""A lock on an open file or folder, of the system's own. It goes when the file is closed: a killed process has none."""

from __future__ import annotations

import errno
import os
import sys
import time
from collections.abc import Iterator

from opend_si.system.clocks import monotonic

# Seconds between two looks whether a lock is free; they double up to the last.
_FIRST_LOOK, _LAST_LOOK = 2e-4, 1e-2
# How a file system answers that has no locks.
_NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)

if sys.platform == "win32":
    import msvcrt

    # Far behind the end of what is locked: nobody else who reads it is kept from that.
    _FAR = 1 << 30

    def _is_had(handle: int) -> bool:
        """Whether the lock was free, and is ours now."""
        os.lseek(handle, _FAR, os.SEEK_SET)
        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EDEADLK):
                return False
            raise
        finally:
            os.lseek(handle, 0, os.SEEK_SET)
        return True

    def unlock(handle: int) -> None:
        """Give the lock back."""
        os.lseek(handle, _FAR, os.SEEK_SET)
        msvcrt.locking(handle, msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def _is_had(handle: int) -> bool:
        """Whether the lock was free, and is ours now."""
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def unlock(handle: int) -> None:
        """Give the lock back, and not only where the last copy of what is open is closed."""
        fcntl.flock(handle, fcntl.LOCK_UN)


def looks(seconds: float) -> Iterator[None]:
    """One look now, and others for so many seconds, each after a pause."""
    until, pause = monotonic() + seconds, _FIRST_LOOK
    yield
    while monotonic() < until:
        time.sleep(pause)
        yield
        pause = min(2 * pause, _LAST_LOOK)


def lock(handle: int, seconds: float) -> None:
    """Lock what is open, until it is closed.

    Raises:
        BlockingIOError: Others had it for so many seconds.
        OSError: It cannot be locked (`has_no_locks`).

    """
    for _ in looks(seconds):
        if _is_had(handle):
            return
    raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))


def has_no_locks(error: OSError) -> bool:
    """Whether a file could not be locked because its file system has no locks."""
    return error.errno in _NO_LOCKS
