"""An option that several commands have is one: it takes the same, and what is wrong with it is said in the same way."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import click
import pytest

from opend_si.cli.app import commands
from tests.processes import Run

# Options that name files of the user's.
FILES = ("--cache", "--rsa-key", "--from", "--out", "--state", "--symbols", "--csv-file")


def each(found: Mapping[str, click.Command], *names: str) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    for name, command in found.items():
        yield (*names, name), command
        yield from each(getattr(command, "commands", {}), *names, name)


def test_files_are_named_as_files_and_looked_into_by_who_reads_them() -> None:
    found = 0
    for names, command in each(commands()):
        for option in command.params:
            if set(option.opts) & set(FILES):
                found += 1
                assert option.metavar == "FILE", (names, option.opts)
                assert isinstance(option.type, click.Path), (names, option.opts)
                assert not option.type.readable, (names, option.opts)
    assert found > 15


@pytest.mark.parametrize("command", [("watch",), ("sync",), ("screen",)])
def test_a_file_without_a_symbol_is_said_to_have_none(command: tuple[str, ...], tmp_path: Path, console: Run) -> None:
    file = tmp_path / "mine.txt"
    file.write_text("# none yet\n\n")
    done = console(*command, "--from", str(file))
    assert (done.returncode, done.stdout) == (2, "")
    assert f"--from {file}: no symbol is in it" in done.stderr
