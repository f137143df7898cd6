"""The log on stderr: `OPEND_SI_LOG` and `--verbose`. What is heard is the tree `opend_si` of `logging`."""

from __future__ import annotations

import logging
import os
from typing import Any

import click

from opend_si.errors import InvalidArgument

VARIABLE = "OPEND_SI_LOG"
_LEVELS = ("debug", "info", "warning", "error")
_FORM = "%(asctime)s %(name)s: %(message)s"


def listen_as_told() -> None:
    """Log what the variable names. `InvalidArgument` says what it takes."""
    level = os.environ.get(VARIABLE, "").strip().lower()
    if not level:
        return
    if level not in _LEVELS:
        raise InvalidArgument(f"{VARIABLE} is {level!r}: it takes {', '.join(_LEVELS)}")
    _listen(level)


def verbose(command: click.Command) -> click.Command:
    """The same command with the option `--verbose`."""
    option = click.Option(
        ["-v", "--verbose"],
        is_flag=True,
        expose_value=False,
        callback=_when_given,
        help=f"Log each request to OpenD on stderr ({VARIABLE}=debug).",
    )
    command.params.append(option)
    if isinstance(command, click.Group):
        for inner in command.commands.values():
            verbose(inner)
    return command


def _when_given(_context: click.Context, _option: click.Parameter, is_given: Any) -> None:
    if is_given:
        _listen("debug")


def _listen(level: str) -> None:
    logger = logging.getLogger("opend_si")
    logger.setLevel(level.upper())
    if not any(isinstance(handler, logging.StreamHandler) for handler in logger.handlers):
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter(_FORM))
        logger.addHandler(handler)
