"""What the commands share: the brand they run under, and the options of those that talk to OpenD."""

from __future__ import annotations

import math
import os
import re
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from opend_si.cli import exits
from opend_si.dates import BY_PUBLICATION, BY_RECORD
from opend_si.errors import InvalidArgument
from opend_si.settings import DEFAULT_PORT, WaitCallback, max_age_text
from opend_si.system.files import user_path
from opend_si_schema.calls import CALLS, MARKETS

_Command = TypeVar("_Command", bound=Callable[..., Any])

EPILOG = "Exit codes: " + "; ".join(f"{code} {meaning}" for code, meaning in exits.MEANINGS.items()) + "."


@dataclass(frozen=True)
class Brand:
    """The name that the console runs under, and its face, which loads a client when one is made."""

    command: str
    face: ModuleType

    @property
    def package(self) -> str:
        """The face's name, as users import it."""
        return self.face.__name__

    def client(self, options: Mapping[str, Any], on_wait: WaitCallback | None = None) -> Any:
        """A client by the options of a command."""
        return self.face.Client(**_given(options), on_wait=on_wait)

    def asyncio_client(self, options: Mapping[str, Any], on_wait: WaitCallback | None = None) -> Any:
        """The same for asyncio."""
        return self.face.AsyncClient(**_given(options), on_wait=on_wait)


def _given(options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


class Number(click.FloatRange):
    """A number within bounds. NaN, which click takes, is within none."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(f"{value!r} is not in the range {self._describe_range()}.", param, ctx)
        return number


def read_max_age(_context: click.Context, _option: click.Parameter, value: str | None) -> float | str | None:
    """Seconds, or the words for an age, which the settings read.

    Those that are wrong are refused here, with the option's name.
    """
    if value is None:
        return None
    age = max_age_text("--max-age", value)
    return age if isinstance(age, float) else value


def exclude_others(group: str, context: click.Context, option: click.Parameter, value: Any) -> Any:
    """A callback (its group filled in).

    Of the options of a group one is given. click would take the last, and not say so.
    """
    if value not in (None, False):
        before = context.meta.setdefault(f"{__name__}.{group}", option)
        if before is not option:
            raise InvalidArgument(" and ".join(sorted((before.opts[0], option.opts[0]))) + " exclude each other")
    return value


def _flag(option: str, argument: str, value: str, help_text: str) -> Callable[[_Command], _Command]:
    """A flag that makes an argument of the command a value; the argument's other flags exclude it."""

    def choose(context: click.Context, flag: click.Parameter, is_given: bool) -> None:
        context.params.setdefault(argument, None)
        if exclude_others(argument, context, flag, is_given):
            context.params[argument] = value

    # Of a name of its own: of options that share one, click tells only which came last.
    return click.option(option, is_flag=True, expose_value=False, callback=choose, help=help_text)


def form_options(of_json: str, of_csv: str = "Print CSV.") -> Callable[[_Command], _Command]:
    """`--json` and `--csv`: the argument `form`, None if neither is given."""

    def add(command: _Command) -> _Command:
        return _flag("--json", "form", "json", of_json)(_flag("--csv", "form", "csv", of_csv)(command))

    return add


def given_again(context: click.Context, *others: str) -> list[str]:
    """The words of the command line that was given, without some of the command's arguments."""
    words = context.command_path.split()
    for option in context.command.params:
        name = option.name or ""
        if name in others or context.get_parameter_source(name) is not ParameterSource.COMMANDLINE:
            continue
        if isinstance(option, click.Option):
            words.append(option.opts[0])
        if name in context.params:  # a flag stands for itself
            words.append(str(context.params[name]))
    return words


def as_typed(words: Iterable[str], system: str = os.name) -> str:
    """Words as they are typed into a shell of this system. Windows' shells do not know single quotes."""
    if system != "nt":
        return shlex.join(words)
    return " ".join(word if re.fullmatch(r"[\w.:/\\=-]+", word) else f'"{word}"' for word in words)


def read_codes(file: str) -> list[str]:
    """What `--from` names: one symbol a line; what stands behind # is a comment."""
    try:
        with click.open_file(file if file == "-" else str(user_path("--from", file)), "rb") as stream:
            text = stream.read().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise InvalidArgument(f"--from {file}: line {line} is no UTF-8 text. Save the file as UTF-8.") from None
    except (OSError, RuntimeError) as error:  # RuntimeError: there is no stdin
        told = getattr(error, "strerror", None) or error
        raise InvalidArgument(
            f"--from {file}: {told}. It takes a file with one symbol a line, or - for stdin."
        ) from None
    codes = (line.partition("#")[0].strip() for line in text.splitlines())
    return [code for code in codes if code]


kind_option = click.option(
    "--kind",
    type=click.Choice([call.name for call in CALLS]),
    default=CALLS[0].name,
    show_default=True,
    help="What rows.",
)


# Shells complete its name. Whether it can be read is found out, and said, by who reads it.
FILE: dict[str, Any] = {"type": click.Path(readable=False), "metavar": "FILE"}
cache_option = click.option("--cache", **FILE, help="File of the page cache (OPEND_SI_CACHE).")
from_option = click.option("--from", "file", **FILE, help="File with one symbol a line; - for stdin.")


def named_codes(codes: Sequence[str], file: str | None, *, is_needed: bool = True) -> list[str]:
    """The symbols of the arguments and of `--from`, each once; `UsageError` for none where it `is_needed`."""
    named = list(dict.fromkeys([*codes, *(() if file is None else read_codes(file))]))
    if not named and file is not None:
        raise click.UsageError(f"--from {file}: no symbol is in it")
    if not named and is_needed:
        raise click.UsageError("name symbols, or a file of them with --from")
    return named


max_age_option = click.option(
    "--max-age",
    callback=read_max_age,
    metavar="AGE",
    help="For how long a recorded page is fresh: 0, 90m, 12h, 7d, seconds, publication or never "
    "(OPEND_SI_MAX_AGE, else 12h).",
)


def as_of_option(command: _Command) -> _Command:
    """`--as-of` and `--as-of-by`: the arguments `as_of` and `as_of_by`."""
    moment = click.option("--as-of", metavar="MOMENT", help="As of this moment: by then recorded, or public.")
    by = click.option(
        "--as-of-by",
        type=click.Choice([BY_RECORD, BY_PUBLICATION]),
        default=BY_RECORD,
        show_default=True,
        help="What counts at that moment: what had been recorded, or what the exchange had published by its rule.",
    )
    return moment(by(command))


market_option = click.option("--market", type=click.Choice([market.prefix for market in MARKETS]), help="Which market.")


def cache_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of every command that may be answered from the record."""
    for option in (
        max_age_option,
        cache_option,
        _flag("--no-cache", "mode", "bypass", "Read and record nothing."),
        _flag("--refresh", "mode", "refresh", "Fetch and record, whatever is recorded."),
        _flag("--offline", "mode", "offline", "Answer from what is recorded; open no socket."),
    ):
        command = option(command)
    return command


def opend_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of every command that talks to OpenD."""
    for option in (
        click.option("--timeout", type=float, help="Seconds that a request may take (12)."),
        click.option(
            "--rsa-key",
            **FILE,
            help="RSA private key file that OpenD has, too: the connection is encrypted (OPEND_RSA_KEY).",
        ),
        click.option("--port", type=int, help=f"Port of OpenD (OPEND_PORT, else {DEFAULT_PORT})."),
        click.option("--host", help="Machine that runs OpenD (OPEND_HOST, else 127.0.0.1)."),
    ):
        command = option(command)
    return command
