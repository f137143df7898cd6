"""The commands and options of the console as Markdown, read from the commands: what is new there is new here."""

from collections.abc import Iterator
from inspect import cleandoc

import click

from opend_si.cli.app import commands, main


def lines(name: str = "futu-si") -> Iterator[str]:
    """A heading, the help and a table of options for each command."""
    context = click.Context(main, info_name=name)
    for command in commands().values():
        yield from _command(command, click.Context(command, parent=context, info_name=command.name))


def _command(command: click.Command, context: click.Context) -> Iterator[str]:
    yield f"### {context.command_path.partition(' ')[2]}"
    yield ""
    usage = command.get_usage(context).removeprefix("Usage: ")
    yield from ("```text", " ".join(usage.split()), "```", "")
    yield from cleandoc(command.help or "").split("\n")
    yield ""
    options = [option.get_help_record(context) for option in command.params if isinstance(option, click.Option)]
    if options:
        yield from ("| option | |", "|---|---|")
        yield from (f"| `{_cell(names)}` | {_cell(' '.join(text.split()))} |" for names, text in filter(None, options))
        yield ""
    if isinstance(command, click.Group):
        for inner in command.commands.values():
            yield from _command(inner, click.Context(inner, parent=context, info_name=inner.name))


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
