"""docs/binding.md, followed to the letter: files are written, commands and code are run as they stand there."""

import re
import shlex
from pathlib import Path

import pytest

from codegen.binding import SCHEDULES
from tests.codegen.test_all_packages_or_none import Scratch, python
from tests.processes import ROOT

RECIPE = (ROOT / "docs" / "binding.md").read_text(encoding="utf-8")
# "`path`:", then the file as a block.
FILES = re.findall(r"^`([^`\n]+)`:\n\n```\w+\n(.*?)^```$", RECIPE, re.MULTILINE | re.DOTALL)
COMMANDS = re.findall(r"^\$ (.+)$", RECIPE, re.MULTILINE)
PROGRAM = "\n".join(re.findall(r"^```python\n(.*?)^```$", RECIPE, re.MULTILINE | re.DOTALL))
ENGINE = ("opend_si", "templates")


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> Scratch:
    """A copy of the repository in which the recipe was followed."""
    scratch = Scratch.make(tmp_path_factory.mktemp("recipe"), "opend_si")
    for path, text in FILES:
        assert not (scratch.root / path).exists(), "a recipe adds, it does not change"
        scratch.write(path, text)
    for command in COMMANDS:
        words = shlex.split(command)
        assert words[:3] == ["python", "-m", "codegen"]
        assert scratch.run(*words[3:]) == 0
    return scratch


def test_the_recipe_has_its_parts() -> None:
    assert [path for path, _ in FILES] == ["codegen/protos/Qot_GetBorrowFee.proto", "codegen/bindings/borrow_fee.toml"]
    assert COMMANDS == ["python -m codegen"]
    assert "get_borrow_fee" in PROGRAM


def test_what_the_recipe_says_works(followed: Scratch, tmp_path: Path) -> None:
    home = {"OPEND_SI_HOME": str(tmp_path), "OPEND_SI_MODE": "online"}
    python(PROGRAM, path=[followed.root, followed.root / "generated"], cwd=followed.root, **home)


def test_it_takes_no_new_engine_code(followed: Scratch) -> None:
    for name in ENGINE:
        for path in (ROOT / name).rglob("*.*"):
            if path.is_file() and "__pycache__" not in path.parts:
                assert (followed.root / path.relative_to(ROOT)).read_bytes() == path.read_bytes()


def test_a_market_without_a_table_is_refused_before_a_request(followed: Scratch, tmp_path: Path) -> None:
    told = """
from moomoo_si import Client, InvalidArgument, OpenDError, get_borrow_fee
from opend_si.simulator import Simulator
with Simulator() as opend, Client(opend.host, opend.port) as client:
    for ask in (client.get_page, client.history):
        try:
            ask("US.AAPL", kind="borrow_fee")
        except InvalidArgument as error:
            assert "HK" in str(error)
        else:
            raise AssertionError
    assert client.sync(["US.AAPL"], kind="borrow_fee").failed
    assert opend.requests == []
ret, text, nothing = get_borrow_fee("US.AAPL")
assert (ret, nothing) == (-1, None) and "HK" in text
"""
    home = {"OPEND_SI_HOME": str(tmp_path), "OPEND_SI_MODE": "online"}
    python(told, path=[followed.root, followed.root / "generated"], cwd=followed.root, **home)


def test_the_recipe_names_every_kind_of_publication() -> None:
    assert all(f"`{schedule}`" in RECIPE for schedule in SCHEDULES)
