"""Files that users name: how a path is read, and how an output is written. Every path and every output goes this way.

1. A path may begin with `~` and may be relative.
2. An output is there whole or not at all: it is written beside its place, then put there. Readers find the old file or
   the new one.
3. What stands there keeps what it is. A link is followed, a file keeps its mode, and what is no file (a device, a pipe,
   /dev/stdout) is written to.
4. What a killed process left half-written is removed by the next output to the same folder.
5. An error names the output, never the file that was written beside it.
"""

from __future__ import annotations

import errno
import io
import math
import os
import re
import shutil
import stat
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, TypeAlias

from opend_si.errors import InvalidArgument
from opend_si.system.locks import lock

# What users may pass where one file or several are taken.
Files: TypeAlias = str | os.PathLike[str] | Iterable[str | os.PathLike[str]]

# Half-written outputs stand in folders of this name.
_SCRATCH = ".opend-si-"
_SCRATCH_NAME = re.compile(re.escape(_SCRATCH) + r"[0-9a-f]{8}")
# How a system names what a process has open: /dev/stdout is a link to such a name.
_OPENED = re.compile(rf"/(?:dev|proc/(?:self|thread-self|{os.getpid()}))/fd/(\d+)")
# How a folder answers in which nothing can be begun, or from which nothing can be moved to its place.
_ELSEWHERE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.EXDEV)


def user_path(name: str, value: object, takes: str = "a path") -> Path:
    """The path that a user wrote, its `~` read; `InvalidArgument` names the argument or option, and what it takes."""
    if not isinstance(value, (str, os.PathLike)) or not str(value).strip() or "\0" in str(value):
        raise InvalidArgument(f"{name} is {value!r}: it takes {takes}")
    try:
        path = Path(value).expanduser()
        os.fsencode(path)
    except (RuntimeError, TypeError, ValueError) as error:
        raise InvalidArgument(f"{name} is {value!r}: it takes {takes} ({error})") from None
    return path


def user_file(name: str, value: object) -> Path:
    """The path of a file, the same from every folder: a program that changes its folder keeps its files."""
    try:
        path = user_path(name, value).absolute()
    except OSError as error:  # the current folder may be gone
        raise InvalidArgument(f"{name} is {value!r}: it takes a path ({error})") from None
    if not path.name:
        raise InvalidArgument(f"{name} is {value!r}: it takes a path, and this is the root of all")
    return path


def put_in_place(path: Path, write: Callable[[IO[bytes]], object], folder: Path | None = None) -> None:
    """Write an output. `write` gets a file that is open; it may be called more than once.

    `folder`: where it is written first, if that is of the same file system; else beside its place.
    """
    with _naming(path):
        if _is_no_file(path):
            content = io.BytesIO()  # a pipe cannot be told where it stands, as some writers ask
            write(content)
            with _opened(path) as stream:
                stream.write(content.getbuffer())
            return
        if folder is not None and _is_on(folder, Path(os.path.realpath(path)).parent):
            try:
                _write_new(path, write, folder)
                return
            except OSError as error:
                if error.errno not in _ELSEWHERE:
                    raise
        _write_new(path, write)


def _write_new(path: Path, write: Callable[[IO[bytes]], object], folder: Path | None = None) -> None:
    with new_file(path, folder=folder) as half, half.open("xb") as file:
        write(file)


@contextmanager
def new_file(path: Path, *, may_replace: bool = True, folder: Path | None = None) -> Iterator[Path]:
    """A place to write a file to. It becomes `path` when the `with` ends without an error.

    Raises:
        FileExistsError: Something is there, and it may not be replaced.
        OSError: The file cannot be written, or what is there is no file.

    """
    with _naming(path):
        if not may_replace and os.path.lexists(path):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
        if _is_no_file(path):
            raise OSError(errno.EINVAL, "a device or a pipe is there, and this takes a file")
        target = Path(os.path.realpath(path))
        with _scratch(folder or target.parent) as scratch:
            half = scratch / "half"  # no reader of the folder takes it for a file of its kind
            yield half
            with half.open("rb+") as file:
                os.fsync(file.fileno())
            if may_replace:
                _take_over(half, target)
                half.replace(target)
            else:
                _put_first(half, target)


def make_empty(path: Path) -> None:
    """Make an empty file, where nothing is. Opened and closed at once, in C: no interrupt leaves it open."""
    deque(map(os.close, map(os.open, (path,), (os.O_CREAT | os.O_EXCL | os.O_RDWR,), (0o600,))), maxlen=0)


@contextmanager
def open_folder(folder: Path, flags: int = 0) -> Iterator[int]:
    """A folder, open. It is opened and noted at once, in C: whenever an interrupt comes, it is closed."""
    handles = list[int]()
    closing = map(os.close, handles)
    try:
        handles.extend(map(os.open, (folder,), (os.O_RDONLY | flags,)))
        yield handles[0]
    finally:
        next(closing, None)


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Errors that name the output."""
    try:
        yield
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from None


def _is_no_file(path: Path) -> bool:
    if _descriptor(path) is not None:
        return True
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    return not stat.S_ISREG(mode)


def _opened(path: Path) -> IO[bytes]:
    """What is no file, open to write to.

    Of what this process has open already: as it is, at the place it has reached.
    """
    number = _descriptor(path)
    return path.open("wb") if number is None else os.fdopen(os.dup(number), "wb")


def _descriptor(path: Path) -> int | None:
    """The number that a name such as /dev/stdout stands for, links followed one by one.

    Systems look right through it.
    """
    path = path.absolute()
    for _ in range(40):  # as many links as systems follow
        if found := _OPENED.fullmatch(os.path.normpath(path)):
            return int(found[1])
        try:
            path = path.parent / path.readlink()
        except OSError:
            return None
    return None


def _take_over(half: Path, target: Path) -> None:
    """The mode and, where that is allowed, the owner of the file that is replaced."""
    try:
        before = target.stat()
    except FileNotFoundError:
        return
    if sys.platform != "win32":
        with suppress(OSError):
            os.chown(half, before.st_uid, before.st_gid)
    half.chmod(stat.S_IMODE(before.st_mode))


def _put_first(half: Path, target: Path) -> None:
    """Give a file its name, unless another took it meanwhile."""
    try:
        os.link(half, target)
    except FileExistsError:
        raise
    except OSError:  # a file system without links: the name is taken first, with an empty file
        make_empty(target)
        try:
            half.replace(target)
        except BaseException:
            with suppress(OSError):
                target.unlink()
            raise


# Half-written outputs -------------------------------------------------------------------------------------------------


@contextmanager
def _scratch(folder: Path) -> Iterator[Path]:
    """A folder that goes with the `with`, or with the next one if this process is killed."""
    for left in _left(folder):
        shutil.rmtree(left, ignore_errors=True)
    with ExitStack() as stack:
        while True:
            scratch = folder / f"{_SCRATCH}{os.urandom(4).hex()}"
            scratch.mkdir(mode=0o700)
            stack.callback(shutil.rmtree, scratch, ignore_errors=True)
            with suppress(FileNotFoundError):
                stack.enter_context(_held(scratch))
            if scratch.exists():  # nobody took it for one that was left, before it was held
                break
        yield scratch


def _left(folder: Path) -> Iterator[Path]:
    """The folders that nobody writes to any more."""
    try:
        names = [entry.name for entry in os.scandir(folder) if _SCRATCH_NAME.fullmatch(entry.name)]
    except OSError:
        return
    for name in names:
        with suppress(OSError), _held(folder / name, may_wait=False):
            yield folder / name


@contextmanager
def _held(scratch: Path, *, may_wait: bool = True) -> Iterator[None]:
    """Hold a folder: its process is alive. `OSError` if another does, and this one may not wait."""
    if sys.platform == "win32":  # an open file cannot be removed there
        mark = scratch / ".held"
        if not may_wait:
            mark.unlink()
        with mark.open("xb"):
            yield
        mark.unlink()
        return
    with open_folder(scratch, os.O_DIRECTORY | os.O_NOFOLLOW) as handle:
        if not may_wait and os.fstat(handle).st_uid != os.geteuid():
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))
        try:
            lock(handle, math.inf if may_wait else 0)
        except OSError:
            if not may_wait:
                raise  # held, or a file system without locks: nothing tells that it was left
        yield


def _is_on(folder: Path, other: Path) -> bool:
    try:
        return folder.stat().st_dev == other.stat().st_dev and os.access(folder, os.W_OK | os.X_OK)
    except OSError:
        return False
