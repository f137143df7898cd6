"""The commands."""

from __future__ import annotations

import io
import os
import sys
import warnings
from contextlib import suppress
from importlib import import_module
from types import ModuleType
from typing import TextIO

import click

from opend_si import __version__
from opend_si.cli import exits
from opend_si.cli.log import listen_as_told, verbose
from opend_si.cli.options import EPILOG, Brand
from opend_si.cli.output import note, note_doctor
from opend_si.errors import ShortInterestError, ShortInterestWarning


def run_app(command: str, face: ModuleType) -> int:
    """Run the console; errors of the package become one line on stderr and an exit code."""
    warnings.simplefilter("always", ShortInterestWarning)
    warnings.showwarning = lambda message, *_args, **_more: note(f"{command}: {message}")
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")  # as on stderr: a terminal may lack OpenD's Chinese
    try:
        listen_as_told()
        left_with = main.main(prog_name=command, obj=Brand(command, face), standalone_mode=False)
        if sys.stdout is not None:
            sys.stdout.flush()  # a disk that is full is told now, not by the interpreter at its end
        return left_with if isinstance(left_with, int) else exits.OK
    except click.UsageError as error:
        asked = error.ctx.command_path if error.ctx else command
        told = error.format_message()
        note(f"{asked}: {told}{'' if told.endswith('.') else '.'} See `{asked} --help`.")
        return error.exit_code
    except click.ClickException as error:
        note(f"{command}: {error.format_message()}")
        return error.exit_code
    except ShortInterestError as error:
        note(f"{command}: {error}")
        code = exits.exit_code(error)
        if code == exits.UNREACHABLE:
            note_doctor(command)
        return code
    except (KeyboardInterrupt, click.Abort):
        return exits.INTERRUPTED
    except OSError as error:  # files have their own errors: this is the output's
        if not isinstance(error, BrokenPipeError):
            # Without a name it is no file's: only the folder we are in can be missing, only the output cannot be
            # written.
            nameless = "the current folder" if isinstance(error, FileNotFoundError) else "the output cannot be written"
            what = f"cannot write {error.filename}" if error.filename else nameless
            note(f"{command}: {what}: {error.strerror or error}")
        _abandon(sys.stdout)
        return exits.UNFINISHED
    finally:
        try:
            if sys.stderr is not None:
                sys.stderr.flush()
        except (OSError, ValueError):  # notes that cannot be written change no exit code
            _abandon(sys.stderr)


def _abandon(stream: TextIO) -> None:
    """What could not be written is not tried again when the interpreter ends."""
    with suppress(OSError, ValueError, AttributeError):  # or there is no such stream
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


# The file of each command in `opend_si/cli/commands`.
_FILES = {
    "get": "pages",
    "history": "pages",
    "revisions": "pages",
    "sync": "sync",
    "changes": "news",
    "watch": "watch",
    "mcp": "mcp",
    "plot": "research",
    "screen": "research",
    "export": "research",
    "verify": "verify",
    "check": "verify",
    "cache": "cache",
    "doctor": "opend",
    "gateway": "gateway",
    "simulate": "opend",
    "demo": "opend",
}


class _Commands(click.Group):
    """The commands. Each is imported when it is asked for: to import all of them takes a tenth of the time of `get`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return sorted(_FILES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        if cmd_name in _FILES and cmd_name not in self.commands:
            file = import_module(f".commands.{_FILES[cmd_name]}", __package__)
            self.add_command(verbose(getattr(file, cmd_name)))
        return self.commands.get(cmd_name)


@click.group(
    cls=_Commands, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(__version__)
def main() -> None:
    """Short interest from OpenD. Data goes to stdout, everything else to stderr."""


verbose(main)


def commands() -> dict[str, click.Command]:
    """All commands, by their names."""
    context = click.Context(main)
    found = ((name, main.get_command(context, name)) for name in _FILES)
    return {name: command for name, command in found if command is not None}
