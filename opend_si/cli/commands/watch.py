"""`watch`: what is new or was revised, from now on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from threading import Timer
from types import FrameType
from typing import Any

import click

from opend_si.cli import exits
from opend_si.cli.options import (
    EPILOG,
    Brand,
    Number,
    cache_option,
    from_option,
    kind_option,
    named_codes,
    opend_options,
)
from opend_si.cli.output import WaitNotice, note, plain
from opend_si.client.watch.places import Unreported
from opend_si.client.watch.watching import Line, Watch
from opend_si.errors import ShortInterestError
from opend_si.settings import Settings

# Seconds that a command has to end after it was told to; and between two looks whether what it started has ended.
_PATIENCE, _LOOK = 10.0, 0.05
_KILL = getattr(signal, "SIGKILL", signal.SIGTERM)


@click.command(epilog=EPILOG, short_help="Wait for publications, and report each new row once.")
@click.argument("codes", nargs=-1)
@from_option
@kind_option
@click.option("--run", "command", metavar="COMMAND", help="Run a shell command for each line, which it gets on stdin.")
@click.option("--once", is_flag=True, help="Look once and end: for cron.")
@click.option(
    "--poll",
    type=Number(0.01, 86400 * 366),
    metavar="SECONDS",
    help="Ask for each symbol so often, whatever the schedule.",
)
@click.option(
    "--state",
    type=click.Path(readable=False, path_type=Path),
    metavar="FILE",
    help="File that keeps what was reported (beside the record).",
)
@cache_option
@opend_options
@click.pass_obj
def watch(
    brand: Brand,
    /,
    codes: tuple[str, ...],
    file: str | None,
    kind: str,
    command: str | None,
    once: bool,
    poll: float | None,
    state: Path | None,
    **settings: Any,
) -> None:
    """Print a line of JSON for each row of CODES that is published or revised from now on.

    It sleeps until the exchange may publish, asks for the fewest requests, and goes on when OpenD was away. After a
    restart it goes on where it was: each row is reported once. Give another watch of the same record a --state.
    """
    wanted = named_codes(codes, file)
    if command is None and sys.stdout is None:
        raise click.ClickException(
            "the output cannot be written: stdout is closed. Name a file, or a command with --run."
        )
    cache = Settings.resolve(cache=settings["cache"]).cache
    ending = _Ending()
    online = brand.client({**settings, "mode": "online", "max_age": 0}, WaitNotice())
    offline = brand.client({"cache": cache, "mode": "offline"}, WaitNotice())
    with online, offline, ending:
        watching = Watch(
            online,
            offline,
            wanted,
            kind,
            state or cache.with_name(f"watch-{kind}.json"),
            partial(_run, command, ending) if command else _print,
            lambda text: note(f"{brand.command}: {text}"),
            poll,
            whole=ending.put_off,
        )
        try:
            watching.look() if once else watching.run()
        except KeyboardInterrupt:
            note("the watch has ended; started again, it goes on where it was")
            raise click.exceptions.Exit(exits.OK if ending.is_asked_for else exits.INTERRUPTED) from None
    error = watching.held_up_by
    if error is not None:
        code = exits.exit_code(error) if isinstance(error, ShortInterestError) else exits.UNFINISHED
        raise click.exceptions.Exit(code)


def _print(line: Line, noted: Callable[[], None]) -> None:
    text = _text(line)
    noted()
    click.echo(text)


def _run(command: str, ending: _Ending, line: Line, noted: Callable[[], None]) -> None:
    running = _Command(command)
    with ending.passed_on(running):
        code = running.finish(f"{_text(line)}\n")
    if running.is_killed:
        note(f"{command} did not end in {_PATIENCE:g} s for {line['symbol']}, and was killed")
    if code or running.is_killed:
        raise Unreported(f"{command} ended with exit code {code} for {line['symbol']}; it is tried again")
    noted()


def _text(line: Line) -> str:
    return json.dumps(_written(line), ensure_ascii=False, allow_nan=False)


def _written(value: Any) -> Any:
    """As JSON has it, which has no infinity."""
    if isinstance(value, dict):
        return {name: _written(each) for name, each in value.items()}
    return plain(value)


class _Command:
    """A shell command at work.

    It has a process group of its own, so that what reaches the watch alone can be passed on to all that it started. At
    a terminal it shares the watch's: it may read what is typed there, and Ctrl-C reaches it by itself.
    """

    def __init__(self, text: str) -> None:
        self.is_killed = False
        self._has_group = os.name == "posix" and not _is_at_terminal()
        self._killing: Timer | None = None
        # S602: it is the user's own command, and gets the line on stdin.
        self._process = subprocess.Popen(  # noqa: S602
            text,
            shell=True,
            stdin=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            process_group=0 if self._has_group else None,
        )

    def finish(self, line: str) -> int:
        """Give it a line and wait for its end; for that of all that it started, if it was told to end."""
        self._process.communicate(line)
        while self._killing is not None and self._killing.is_alive() and self._send(0):
            time.sleep(_LOOK)
        if self._killing is not None:
            self._killing.cancel()
        return self._process.returncode

    def end(self, number: int) -> None:
        """Pass on a signal that asks for an end."""
        if self._has_group or number != signal.SIGINT:
            self._send(number)
        if self._killing is None:
            self._killing = Timer(_PATIENCE, self._kill)
            self._killing.daemon = True
            self._killing.start()

    def _kill(self) -> None:
        self.is_killed = True
        self._send(_KILL)

    def _send(self, number: int) -> bool:
        """Whether there was anybody to take a signal."""
        with suppress(OSError):
            if self._has_group:
                os.killpg(self._process.pid, number)
                return True
            if self._process.returncode is None:
                self._process.send_signal(number)
                return True
        return False


def _is_at_terminal() -> bool:
    """Whether what is typed at a terminal reaches this process."""
    with suppress(OSError), Path("/dev/tty").open("rb", buffering=0) as terminal:
        return os.tcgetpgrp(terminal.fileno()) == os.getpgrp()
    return False


class _Ending:
    """Ctrl-C and SIGTERM end the watch between two lines, never within one: the command of a line is told to end."""

    def __init__(self) -> None:
        self.is_asked_for = False  # by SIGTERM: how a service is ended
        self._is_put_off = False
        self._came: int | None = None
        self._command: _Command | None = None

    def __enter__(self) -> None:
        self._before = {number: signal.signal(number, self._come) for number in (signal.SIGINT, signal.SIGTERM)}

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _come(self, number: int, _frame: FrameType | None) -> None:
        self.is_asked_for = number == signal.SIGTERM
        self._came = number
        if self._command is not None:
            self._command.end(number)
        elif not self._is_put_off:
            raise KeyboardInterrupt

    @contextmanager
    def put_off(self) -> Iterator[None]:
        """Do something whole: what came in between takes effect after it."""
        self._is_put_off = True
        try:
            yield
        finally:
            self._is_put_off = False
            if self._came is not None:
                raise KeyboardInterrupt

    @contextmanager
    def passed_on(self, command: _Command) -> Iterator[None]:
        """While a command is at work it is told what comes, also what came while it was started."""
        self._command = command
        try:
            if self._came is not None:
                command.end(self._came)
            yield
        finally:
            self._command = None
