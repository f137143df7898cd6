"""Who may use what is made beside a record: decided here alone, for every file and folder, whatever the umask.

1. A file is its maker's alone (0600), and so is a folder (0700).
2. Where the owner of the folder opened it for a group, and for nobody else, a file is the group's (0660); a folder is,
   too (2770), where the one above it hands its group on (setgid).
3. A file has its group and its mode before others can see it. What is there already keeps its own.

SQLite gives a journal the mode of its database and the group that its folder hands on. It is removed by whoever comes
next when its writer was killed: so a folder in which users may only remove what is theirs (sticky) is open to no group.
"""

from __future__ import annotations

import os
import shlex
import stat
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from opend_si.system.files import make_empty, new_file
from opend_si.system.home import BUDGET_FILE, PAGES_FILE

if sys.platform != "win32":
    import grp
    import pwd


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, where they are missing."""
    missing = [each for each in (folder, *folder.parents) if not os.path.lexists(each)]
    for each in reversed(missing):
        with suppress(FileExistsError):  # another made it meanwhile
            each.mkdir(mode=0o700)
            if _group(each.parent) is not None and each.stat().st_mode & stat.S_ISGID:
                each.chmod(0o2770)
    folder.mkdir(exist_ok=True)  # an error if that is no folder


def make_file(path: Path, content: bytes = b"") -> None:
    """Make a file, which has its content when others can see it.

    Raises:
        FileExistsError: Something is there, be it a link that leads nowhere.
        OSError: It cannot be made.

    """
    group = _group(path.parent)
    if not content and group is None:
        make_empty(path)
        return
    with new_file(path, may_replace=False) as half:
        make_empty(half)
        half.write_bytes(content)
        if sys.platform == "win32" or group is None:
            return
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
    try:
        return _how_to_share(path)
    except OSError:  # it is gone meanwhile
        return ""


def _how_to_share(path: Path) -> str:
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
    files = f"{shlex.quote(str(path.with_suffix('')))}.*" if path.suffix else shlex.quote(str(path))
    if path.name in (PAGES_FILE, BUDGET_FILE):
        files = f"{place}/{Path(PAGES_FILE).stem}.* {place}/{BUDGET_FILE}"
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
