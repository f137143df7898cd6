"""What systems do differently with a file of SQLite's: name, library, locks, who may move it, and who may use it.

Who may use what is made beside a record is decided here alone, for every file and folder, whatever the umask:

1. A file is its maker's alone (0600), and so is a folder (0700).
2. Where the owner of the folder opened it for a group, and for nobody else, a file is the group's (0660); a folder is,
   too (2770), where the one above it hands its group on (setgid).
3. A file has its group and its mode before others can see it. What is there already keeps its own.

SQLite gives a journal the mode of its database and the group that its folder hands on. It is removed by whoever comes
next when its writer was killed: so a folder in which users may only remove what is theirs (sticky) is open to no group.
"""

from __future__ import annotations

import errno
import os
import shlex
import sqlite3
import stat
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path, PurePath
from typing import TypeVar
from urllib.parse import quote

from opend_si.errors import CacheError
from opend_si.system.files import new_file

if sys.platform != "win32":
    import grp
    import pwd

# Tables here are STRICT (https://sqlite.org/stricttables.html); Python uses the system's SQLite where there is one.
OLDEST_SQLITE = (3, 37, 0)
# Seconds between two looks whether a folder is free.
_FOLDER_LOOK = 0.01

_T = TypeVar("_T")


def check_sqlite() -> None:
    """Refuse a library that is too old, before any file is made.

    Raises:
        CacheError: It is older than 3.37.

    """
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        raise CacheError(
            f"This Python uses SQLite {sqlite3.sqlite_version}; the page cache and the rate budget need "
            f"{OLDEST_SQLITE[0]}.{OLDEST_SQLITE[1]} or later. Use a Python that brings a newer one, such as "
            "one from uv, conda or python.org."
        )


def sqlite_uri(path: PurePath) -> str:
    """An absolute path as a URI of SQLite's. The server of a Windows share stands in its path, not before it."""
    text = path.as_posix()
    return f"file://{'' if text.startswith('/') else '/'}{quote(os.fsencode(text), safe='/:')}"


def move_database(path: Path, new_path: Path) -> None:
    """Move a file and its journal together, or neither: Windows moves no file that another process has open."""
    journal, new_journal = (place.with_name(f"{place.name}-journal") for place in (path, new_path))
    with suppress(FileNotFoundError):  # left behind, it would be rolled back into the next file
        journal.replace(new_journal)
    try:
        path.replace(new_path)
    except OSError:
        with suppress(FileNotFoundError):
            new_journal.replace(journal)
        raise


def with_folder_locked(folder: Path, act: Callable[[], _T], seconds: float) -> _T:
    """Do something while a folder is held, where the system can; elsewhere an open file cannot be moved anyway."""
    if sys.platform == "win32":
        return act()
    import fcntl

    handle = os.open(folder, os.O_RDONLY)
    try:
        until = time.monotonic() + seconds
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= until:
                    raise
                time.sleep(_FOLDER_LOOK)
        return act()
    finally:
        os.close(handle)


def lacks_locks(folder: Path) -> bool:
    """Whether files in a folder cannot be locked: SQLite takes that for a lock of another process, and waits.

    It is tried on a file of its own, for closing the other one would drop the locks that this process has on it.
    """
    if sys.platform == "win32":
        return False
    import fcntl

    try:
        with tempfile.TemporaryFile(dir=folder) as scratch:
            fcntl.lockf(scratch, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS)
    return False


# Who may use what is made beside a record -----------------------------------------------------------------------------


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, where they are missing."""
    missing = [each for each in (folder, *folder.parents) if not os.path.lexists(each)]
    for each in reversed(missing):
        with suppress(FileExistsError):  # another made it meanwhile
            each.mkdir(mode=0o700)
            if _group(each.parent) is not None and each.stat().st_mode & stat.S_ISGID:
                each.chmod(0o2770)
    folder.mkdir(exist_ok=True)  # an error if that is no folder


def make_file(path: Path) -> None:
    """Make an empty file.

    Raises:
        FileExistsError: Something is there, be it a link that leads nowhere.
        OSError: It cannot be made.

    """
    group = _group(path.parent)
    if sys.platform == "win32" or group is None:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        return
    with new_file(path, may_replace=False) as half:
        half.touch(0o600)
        if half.stat().st_gid != group:  # the folder does not hand it on
            with suppress(OSError):  # the maker is not in it
                os.chown(half, -1, group)
        if half.stat().st_gid == group:
            half.chmod(0o660)


def shared_with(path: Path) -> str | None:
    """The group that a file is shared with; None: it is its owner's alone, or the system knows no groups."""
    path = Path(os.path.realpath(path))
    status, group = path.stat(), _group(path.parent)
    is_shared = status.st_gid == group and status.st_mode & 0o060 == 0o060
    return _group_name(status.st_gid) if is_shared else None


def how_to_share(path: Path) -> str:
    """Whose a file is that this user may not use, and what its owner does to share it.

    Nothing where that is not what is wrong.
    """
    if sys.platform == "win32":
        return ""
    path = Path(os.path.realpath(path))  # SQLite works beside the file, not beside a link to it
    folder = next(each for each in path.parents if _is_there(each))
    there = (path, path.with_name(f"{path.name}-journal"))
    barred = [each for each in there if _is_there(each) and not os.access(each, os.R_OK | os.W_OK)]
    if (not barred and os.access(folder, os.R_OK | os.W_OK | os.X_OK)) or os.statvfs(folder).f_flag & os.ST_RDONLY:
        return ""
    first, status = [*barred, folder][0], folder.stat()
    owner = first.stat().st_uid
    if owner == os.geteuid():
        return ""
    me, group = _user_name(os.geteuid()), _group_name(status.st_gid)
    whose = f" {first} belongs to {_user_name(owner)}."
    if folder != path.parent:  # above it: that is no folder to share
        return f"{whose} Have the folder {path.parent} made where {me} may enter it."
    is_member, is_open = status.st_gid in {os.getegid(), *os.getgroups()}, _group(folder) is not None
    if status.st_mode & stat.S_IWOTH:
        return f"{whose} Users share a folder that is open to one group; {folder} is open to everybody."
    if is_open and not is_member:
        told = f"{whose} It is shared with the group {group}, and {me} is not in it"
        return f"{told}: add it with usermod -aG, or run a container with --group-add."
    steps = "; ".join(_steps(path, barred, group if is_member else None, is_open))
    which = "" if is_member else f" (GROUP: one that {me} is in)"
    return f"{whose} To share it with {me}, its owner runs: {steps}{which}."


def _steps(path: Path, barred: list[Path], group: str | None, is_open: bool) -> Iterator[str]:
    """The commands that open a file and its folder for a group; None: for one that is not known yet."""
    folder = path.parent
    status, name, place = folder.stat(), group or "GROUP", shlex.quote(str(folder))
    files = f"{place}/*.sqlite3*" if path.suffix == ".sqlite3" else shlex.quote(str(path))
    is_barred = bool(barred) or not os.access(folder, os.X_OK)  # what may not be seen may have to be opened, too
    if group is None:
        yield f"chgrp {name} {place}"
    if not is_open or not status.st_mode & stat.S_ISGID:
        yield f"chmod 2770 {place}"
    if is_barred and (group is None or any(each.stat().st_gid != status.st_gid for each in barred)):
        yield f"chgrp {name} {files}"
    if is_barred:
        yield f"chmod 660 {files}"


def _is_there(path: Path) -> bool:
    """Whether this user can see it: `Path.exists` is an error in a folder that may not be entered."""
    try:
        path.stat()
    except OSError:
        return False
    return True


def _group(folder: Path) -> int | None:
    """The group that the owner of a folder opened it for, and nobody else; None: there is none."""
    if sys.platform == "win32":
        return None
    status = folder.stat()
    is_opened = status.st_mode & (stat.S_IRWXG | stat.S_IWOTH | stat.S_ISVTX) == stat.S_IRWXG
    return status.st_gid if is_opened else None


def _user_name(number: int) -> str:
    if sys.platform != "win32":
        with suppress(KeyError):  # as in a container
            return pwd.getpwuid(number).pw_name
    return f"user {number}"


def _group_name(number: int) -> str:
    if sys.platform != "win32":
        with suppress(KeyError):
            return grp.getgrgid(number).gr_name
    return str(number)
