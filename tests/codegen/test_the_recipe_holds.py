"""docs/binding.md, followed to the letter: files are written, commands and code are run as they stand there."""

import re
import shlex
from pathlib import Path

import pytest

from codegen.binding import SCHEDULES, read_call, read_markets
from codegen.compile import compile_protos
from codegen.errors import CodegenError
from codegen.model import Protos, read_protos
from tests.codegen.test_all_packages_or_none import Scratch, python
from tests.codegen.test_changed_protos_are_taken_or_refused import published
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


def test_a_picture_of_what_is_not_short_is_refused_before_a_request(followed: Scratch, tmp_path: Path) -> None:
    told = """
from futu_si import Client, InvalidArgument, with_changes
from opend_si.simulator import Simulator
with Simulator() as opend, Client(opend.host, opend.port) as client:
    for ask in (
        lambda: client.plot("HK.00700", kind="borrow_fee"),
        lambda: client.screen(kind="borrow_fee"),
    ):
        assert opend.requests == []
        try:
            ask()
        except InvalidArgument as error:
            assert "borrow fee of HK cannot be drawn" in str(error) or "shares_available, fee_rate" in str(error), error
        else:
            raise AssertionError
        client.sync(["HK.00700"], kind="borrow_fee")
        opend.requests.clear()
    try:
        with_changes(client.history("HK.00700", kind="borrow_fee"))
    except InvalidArgument as error:
        assert "of a kind that counts what is short" in str(error)
    else:
        raise AssertionError
"""
    home = {"OPEND_SI_HOME": str(tmp_path), "OPEND_SI_MODE": "online"}
    python(told, path=[followed.root, followed.root / "generated"], cwd=followed.root, **home)


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


# Which published calls fit

_SIBLING = """
name = "sibling"
call = "get_sibling"
title = "sibling"
proto = "{package}.proto"
proto_id = 9002
since = "10.6"
page = "quote/sibling.html"
refusal_name = "sibling"
page_size = {{ minimum = 1, default = 10, maximum = 50 }}
rate = {{ requests = 30, seconds = 30 }}
docs = {{}}

[[table]]
market = "HK"
list = "{list}"
record = "Sibling"
schedule = "daily"
columns = []
"""


@pytest.fixture(scope="module")
def published_protos() -> Protos:
    folder = published("futu-api")
    return read_protos(compile_protos(folder, [path.name for path in folder.glob("*.proto")]), {})


def paged(protos: Protos) -> dict[str, str]:
    """The published calls that ask page by page for one security, and a list of their replies."""
    asked = {"security": "Qot_Common.Security", "nextKey": "string", "num": "int32"}
    found = {}
    for file in protos.files:
        c2s, s2c = (protos.messages.get(f"{file.package}.{name}") for name in ("C2S", "S2C"))
        if c2s and s2c and s2c.field("nextKey"):
            fields = {field.name: field.proto_type for field in c2s.fields if not field.repeated}
            if asked.items() <= fields.items():
                found[file.package] = next(field.name for field in s2c.fields if field.repeated and field.is_message)
    return found


def test_the_published_calls_that_do_not_fit_are_those_that_codegen_refuses(
    published_protos: Protos, tmp_path: Path
) -> None:
    markets = read_markets(ROOT / "codegen/markets.toml", published_protos)
    refused: dict[str, str] = {}
    for package, rows in paged(published_protos).items():
        binding = tmp_path / f"{package}.toml"
        binding.write_text(_SIBLING.format(package=package, list=rows), encoding="utf-8")
        try:
            read_call(binding, published_protos, markets)
        except CodegenError as error:
            refused[package.removeprefix("Qot_Get")] = str(error)
    told = RECIPE.partition("## Which published calls fit")[2]
    reason = re.compile("has no column `timestamp` of integers|is .* and no column|is required")
    assert all(map(reason.search, refused.values())), refused
    assert {*refused} == {*re.findall(r"^\| ([A-Z]\w+) \|", told, re.MULTILINE)}
    assert f"Of the {len(published_protos.files)} protos" in told
    assert (len(refused), len(paged(published_protos))) == (11, 13)


def test_the_recipe_names_every_kind_of_publication() -> None:
    assert all(f"`{schedule}`" in RECIPE for schedule in SCHEDULES)
