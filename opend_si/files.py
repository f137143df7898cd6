"""Files that are there whole or not at all: written under another name, then put in their place."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO


def put_in_place(path: Path, write: Callable[[IO[bytes]], object], folder: Path | None = None) -> None:
    """Write a file; one that was there before is replaced. `folder`: where it is written first, else beside it.

    Who reads meanwhile finds the old file or the new one. What is left when the process is killed has a hidden name.
    """
    scratch = (folder or path.parent) / f".{path.name}.{os.getpid()}-{os.urandom(4).hex()}"
    try:
        with scratch.open("xb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        scratch.replace(path)
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from None  # not the scratch file's name
    finally:
        with suppress(OSError):
            scratch.unlink(missing_ok=True)
