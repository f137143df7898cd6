"""The console, given a brand. Data goes to stdout, everything else to stderr.

commands    one file for each group of commands
app         the commands in one, and how errors end
options     the brand, and the options that commands share
log         the log on stderr
output      rows as table, CSV or JSON; notices
tables      a table laid out for a terminal
serving     a port served until it is stopped, and the options of a WebSocket port
exits       exit codes
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any


def run(command: str, client_class: Callable[..., Any]) -> int:
    """Run the console under a brand's command name; gives the exit code."""
    _fill_standard_streams()
    try:
        from opend_si.cli.app import run_app

        return run_app(command, client_class)
    except KeyboardInterrupt:  # while it was loaded
        return 130


def _fill_standard_streams() -> None:
    """Where a standard stream was closed (`2>&-`), open nothing in its place.

    Else a file or a link of ours would be there.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free
