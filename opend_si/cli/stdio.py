"""Serving on stdin and stdout, until stdin ends, or Ctrl-C or SIGTERM does.

What waits on stdin is a thread, which nothing can interrupt. So it waits on a socket that we can end; the thread that
waits on stdin itself is left behind.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

import click

from opend_si.cli import exits

_CHUNK = 64 * 1024
# Seconds in which what is under way can end in order: a right is given back, a file closed. Then the process ends.
_GRACE = 2.0


def end_with_sigterm() -> None:
    """Let SIGTERM end the process, as users of such a server end it, while there is nothing to undo yet."""
    signal.signal(signal.SIGTERM, lambda *_: os._exit(exits.OK))


def serve_stdio(serving: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Serve on `sys.stdin`, which is another meanwhile, until that ends."""
    import asyncio

    left_with = exits.OK
    ours, theirs = socket.socketpair()

    def end(code: int) -> None:
        nonlocal left_with
        left_with = max(left_with, code)
        last = threading.Timer(_GRACE, os._exit, (left_with,))
        last.daemon = True
        last.start()
        with suppress(OSError):
            ours.shutdown(socket.SHUT_WR)

    def pass_on() -> None:
        with suppress(OSError):
            while read := os.read(0, _CHUNK):
                ours.sendall(read)
        end(exits.OK)

    async def serve() -> None:
        for number, code in ((signal.SIGINT, exits.INTERRUPTED), (signal.SIGTERM, exits.OK)):
            try:
                asyncio.get_running_loop().add_signal_handler(number, end, code)
            except NotImplementedError:  # on Windows
                signal.signal(number, lambda *_, code=code: end(code))
        await serving()

    before = sys.stdin
    with ours, theirs, theirs.makefile(encoding="utf-8") as sys.stdin:
        try:
            threading.Thread(target=pass_on, name="opend-si-stdin", daemon=True).start()
            asyncio.run(serve())
        except* BrokenPipeError:  # whoever asked does not read any more
            pass
        finally:
            sys.stdin = before
    if left_with != exits.OK:
        raise click.exceptions.Exit(left_with)
