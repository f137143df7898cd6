"""The console, given a brand. Data goes to stdout, everything else to stderr.

commands    one file for each group of commands
app         the commands in one, and how errors end
options     the brand, and the options that commands share
log         the log on stderr
output      rows as table, CSV or JSON; notices
tables      a table laid out for a terminal
serving     a port served until it is stopped, and the options of a WebSocket port
stdio       serving on stdin and stdout
exits       exit codes
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False  # nothing is loaded here that takes time: what follows is guarded, and this is not

if TYPE_CHECKING:
    from types import FrameType, ModuleType

_INTERRUPTED = 130


def run(command: str, face: ModuleType) -> int:
    """Run the console under a brand's command name; gives the exit code, with which the process is to end.

    Ctrl-C ends it whenever it comes, with its exit code and without a traceback.
    """
    try:
        sys.unraisablehook = _unraisable
        _fill_standard_streams()
        from opend_si.cli.app import run_app

        code = run_app(command, face)
        _leave_at_once()
    except (KeyboardInterrupt, Exception) as error:
        if not _is_interrupt(error):
            raise
        _leave_at_once()
        return _INTERRUPTED
    return code


def _is_interrupt(error: BaseException | None) -> bool:
    """Whether it is an interrupt, or was one: that of a class in the making becomes another error."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None


def _unraisable(unraisable: sys.UnraisableHookArgs) -> None:
    """An interrupt in a destructor or a callback, as imports make them, would be printed and lost.

    That nobody reads any more is no news to whoever went away.
    """
    if issubclass(unraisable.exc_type, KeyboardInterrupt):
        os._exit(_INTERRUPTED)
    if not issubclass(unraisable.exc_type, BrokenPipeError):
        sys.__unraisablehook__(unraisable)


def _leave_at_once() -> None:
    """From now on Ctrl-C has nothing to undo: the interpreter is ending, and would print a traceback."""
    import signal

    def leave(_number: int, _frame: FrameType | None) -> None:
        os._exit(_INTERRUPTED)

    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else it is ignored, as in the background
        signal.signal(signal.SIGINT, leave)


def _fill_standard_streams() -> None:
    """Where a standard stream was closed (`2>&-`), open nothing in its place.

    Else a file or a link of ours would be there.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free
