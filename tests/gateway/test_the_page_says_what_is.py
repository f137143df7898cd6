"""docs/gateway.md: its options are the command's, its keys the status', its units of systemd and containers start."""

import configparser
import re
import shlex
from pathlib import Path

import click
import pytest
from markdown_it import MarkdownIt

from opend_si.cli.app import commands
from opend_si.gateway import DEFAULT_MOST_CLIENTS, DEFAULT_PATIENCE, DEFAULT_PORT
from opend_si.gateway.policy import TRADE
from opend_si.simulator import Simulator
from tests.gateway.conftest import Start
from tests.processes import ROOT, Run

PAGE = ROOT / "docs/gateway.md"
TEXT = PAGE.read_text(encoding="utf-8")
BLOCKS = [(token.info, token.content) for token in MarkdownIt().parse(TEXT) if token.type == "fence"]


command = commands()["gateway"]  # as the console has it, with the options that all commands have


def options() -> set[str]:
    return {max(option.opts, key=len) for option in command.params if isinstance(option, click.Option)}


def parse(words: list[str]) -> None:
    """Whether the command takes these words; `click.UsageError` if it does not."""
    assert words[:2] == ["futu-si", "gateway"]
    command.make_context("gateway", words[2:])


def test_options_are_those_of_the_command() -> None:
    rows = re.findall(r"^\| (`--[^|]+) \|", TEXT, re.MULTILINE)
    assert {option for row in rows for option in re.findall(r"--[\w-]+", row)} - {"--json"} == options() - {"--json"}
    for default in (DEFAULT_PORT, DEFAULT_MOST_CLIENTS, f"{DEFAULT_PATIENCE:g}"):
        assert f"| {default}" in TEXT
    assert f"({TRADE[0]} to {TRADE[-1]})" in TEXT


def test_keys_are_those_of_the_status(opend: Simulator, front: Start, console: Run) -> None:
    gateway = front(opend)
    found = console("gateway", "--status", "--json", "--port", str(gateway.port))
    keys = re.findall(r'^  "(\w+)":', found.stdout, re.MULTILINE)
    table = TEXT.partition("| key in `--status --json`")[2].partition("\n\n")[0]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == keys


@pytest.mark.parametrize("kind", ["sh", "ini", "text"])
def test_commands_of_the_page_are_taken(kind: str) -> None:
    lines = [line for info, content in BLOCKS if info == kind for line in content.splitlines()]
    commands = [shlex.split(line) for line in lines if line.startswith("futu-si gateway")]
    if kind == "ini":
        [(_, unit)] = [block for block in BLOCKS if block[0] == "ini"]
        parser = configparser.RawConfigParser(strict=True)
        parser.optionxform = str  # type: ignore[assignment, method-assign]
        parser.read_string(unit)
        first, *rest = shlex.split(parser["Service"]["ExecStart"])
        commands.append([Path(first).name, *rest])
        assert parser["Service"]["SuccessExitStatus"] == "130"
    if kind == "text":
        [image] = [content for _, content in BLOCKS if content.startswith("FROM")]
        words = [
            word
            for line in re.findall(r"^(?:ENTRYPOINT|CMD) \[(.*)\]$", image, re.MULTILINE)
            for word in line.split(", ")
        ]
        commands.append([word.strip('"') for word in words])
    assert commands
    for words in commands:
        parse(words)
