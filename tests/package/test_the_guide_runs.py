"""The guide: its examples run as they stand, its notebook gives what it shows, its table of errors is the package's.

`make check` builds the guide, with warnings as errors: there each link has to lead somewhere, and each public name has
to be in the reference.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest

from docs import console
from docs.examples import FOLDER, GUIDE, MOMENT, NOTEBOOK, read_page
from opend_si import errors
from opend_si.cli.app import commands
from opend_si.cli.exits import MEANINGS, exit_code
from tests.processes import ROOT

# What is not run, or not everywhere, and why.
COMMENTED = {
    "index": ["not run: it installs", "not run: it runs until Ctrl-C"],
    "engines": ["needs pyspark"],
    "backtests": ["not run: it needs a file of the regulator"],
    "recipes": [
        "not run: it mails; tests/package/test_recipes_run.py runs it",
        "not run: it takes long",
        "not run: it is a line of a crontab",
        "needs fastapi",
        "not run: pytest runs it, in tests/package/test_recipes_run.py",
        "not run: it is not installed here",
    ],
    "moving": ["not run: futu-api wants an OpenD; tests/package/test_beside_the_published_client.py has one"],
    "console": ["not run: it runs until Ctrl-C", "not run: it is a configuration"],
    "sharing": [
        "not run: it takes several users; tests/cache/users runs it",
        "not run: it takes several users; tests/cache/users runs it",
        "not run: it takes containers; tests/cache/users runs it as their users",
    ],
}


def run(path: Path) -> None:
    """Run the examples of a page, or execute a notebook, in a process that starts a simulator for them."""
    command = [sys.executable, "-m", "docs.examples", str(path)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=120, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.needs("bash")
@pytest.mark.parametrize("page", GUIDE)
def test_examples_of_a_page_run_and_print_what_it_shows(page: str) -> None:
    run(FOLDER / f"{page}.md")


@pytest.mark.parametrize("page", GUIDE)
def test_what_is_not_run_is_known(page: str) -> None:
    blocks = read_page(FOLDER / f"{page}.md")
    assert [block.comment for block in blocks if block.comment] == COMMENTED.get(page, [])
    silent = {block.kind for block in blocks if block.is_run} - {"python", "console", "text"}
    assert {kind for kind in silent if not kind.startswith("{")} <= {"diff"}


def test_pages_that_do_not_run_here_are_followed_by_other_tests() -> None:
    tests = "".join(path.read_text(encoding="utf-8") for path in sorted(ROOT.rglob("tests/**/test_*.py")))
    others = {path.stem for path in FOLDER.glob("*.md")} - set(GUIDE)
    assert [page for page in sorted(others) if f"{page}.md" not in tests] == []


def test_notebook_gives_what_it_shows(tmp_path: Path) -> None:
    again = tmp_path / "research.ipynb"
    shutil.copy(NOTEBOOK, again)
    run(again)
    assert read_outputs(again) == read_outputs(NOTEBOOK)


def test_notebook_shows_pictures_and_tells_where_its_data_come_from() -> None:
    first, *cells = read_cells(NOTEBOOK)
    assert "simulator" in "".join(first["source"])
    outputs = [output for cell in cells for output in cell.get("outputs", ())]
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 2
    assert sum(tells_the_time(cell) for cell in cells) == 1
    assert NOTEBOOK.stat().st_size < 300_000


def read_cells(path: Path) -> list[Any]:
    return list(json.loads(path.read_text(encoding="utf-8"))["cells"])


def read_outputs(path: Path) -> list[Any]:
    """Of each cell of code: its source, and its outputs as texts."""
    return [
        (cell["source"], [output.get("text") or output["data"]["text/plain"] for output in cell["outputs"]])
        for cell in read_cells(path)
        if cell["cell_type"] == "code" and not tells_the_time(cell)
    ]


def tells_the_time(cell: Any) -> bool:
    return MOMENT in cell["metadata"].get("tags", ())


def test_settings_from_the_environment_are_those_that_are_read() -> None:
    text = (FOLDER / "console.md").read_text(encoding="utf-8")
    told = re.findall(r"^\| `(OPEND\w+)` \|", text, re.MULTILINE)
    sources = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "opend_si").rglob("*.py"))
    assert sorted(told) == sorted(set(re.findall(r'"(OPEND_\w+)"', sources)))
    assert set(re.findall(r"OPEND_\w+", cli_help())) <= set(told)


def cli_help() -> str:
    """What the console page shows of all commands."""
    return "\n".join(console.lines())


def test_the_console_page_has_every_command_and_option() -> None:
    shown = cli_help()
    for name, command in commands().items():
        assert f"\n### {name}\n" in f"\n{shown}"
        inner = command.commands.values() if isinstance(command, click.Group) else [command]
        for each in inner:
            for option in each.params:
                if isinstance(option, click.Option):
                    assert re.search(rf"[` ]{re.escape(option.opts[0])}[`, ]", shown), option.opts


def test_errors_and_exit_codes_are_those_of_the_package() -> None:
    text = (FOLDER / "errors.md").read_text(encoding="utf-8")
    kinds = [
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type)
        and issubclass(kind, errors.ShortInterestError)
        and kind is not errors.ShortInterestError
    ]
    told = {name: int(code) for name, code in re.findall(r"^\| `(\w+)` \| (\d+) \|", text, re.MULTILINE)}
    assert told == {kind.__name__: exit_code(kind.__new__(kind)) for kind in kinds}
    others = {int(code) for code in re.findall(r"^\| (\d+) \|", text, re.MULTILINE)}
    assert others | set(told.values()) == set(MEANINGS)
