"""The house: which room may import which, and that there are few arrows and no circle.

The table is the map in `opend_si/__init__.py`; an arrow that is not in it fails.
"""

import ast
import re
from collections.abc import Container, Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import opend_si
from tests.processes import ROOT

ENGINE = ROOT / "opend_si"
FACES = ("futu_si", "moomoo_si")
# As many files as a newcomer can hold in mind; tests/test_house.py itself is one of few at the root of the tests.
MOST_FILES = 14
# Arrows between the rooms and values of the engine: each is something to know before a room can be read.
MOST_ARROWS = 65
ROOM = re.compile(r"^    (\w+) +> ?([\w, ]*?)(?:  .*)?$", re.MULTILINE)
VALUE = re.compile(r"^    (\w+)  +(?!>)\S", re.MULTILINE)


def tables() -> tuple[dict[str, list[str]], list[str]]:
    """What each room may import, and the values from the top down, both as the map says."""
    assert opend_si.__doc__ is not None
    upper, lower = opend_si.__doc__.split("The values at the root.")
    rooms = {name: [other.strip() for other in may.split(",") if other.strip()] for name, may in ROOM.findall(upper)}
    return rooms, VALUE.findall(lower)


def place(path: Path) -> str:
    """The room of a file, or the value that it is."""
    inside = path.relative_to(ENGINE)
    return inside.parts[0] if len(inside.parts) > 1 else inside.stem


def imports(path: Path) -> Iterator[str]:
    """The dotted names that a file imports, and those that stand in its strings."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.Import(names=names):
                yield from (name.name for name in names)
            case ast.ImportFrom(module=str(module), names=names):
                yield from (f"{module}.{name.name}" for name in names)
            case ast.Constant(value=str(text)) if re.fullmatch(r"(opend_si|futu_si|moomoo_si)(\.\w+)*", text):
                yield text


def arrows() -> set[tuple[str, str]]:
    """Every arrow between rooms and values."""
    found = set()
    for path in ENGINE.rglob("*.py"):
        for name in imports(path):
            package, _, rest = name.partition(".")
            other = rest.partition(".")[0]
            if package == "opend_si" and other and not other.startswith("__") and other != place(path):
                found.add((place(path), other))
    return found


def test_every_arrow_is_in_the_map() -> None:
    rooms, values = tables()
    allowed = {(room, other) for room, others in rooms.items() for other in (*others, *values)}
    allowed |= {(value, below) for number, value in enumerate(values) for below in values[number + 1 :]}
    assert sorted(arrows() - allowed) == []


def test_every_permission_of_the_map_is_used() -> None:
    rooms, _ = tables()
    assert sorted({(room, other) for room, others in rooms.items() for other in others} - arrows()) == []


def test_the_map_shows_every_room_and_value_and_no_other() -> None:
    rooms, values = tables()
    assert sorted((*rooms, *values)) == sorted({place(path) for path in ENGINE.rglob("*.py")} - {"__init__"})


def test_arrows_are_few() -> None:
    assert len(arrows()) <= MOST_ARROWS, sorted(arrows())


def test_the_cache_knows_no_meaning() -> None:
    assert {other for room, other in arrows() if room == "cache"} <= {"dates", "errors", "system"}


def test_arrows_run_one_way() -> None:
    below: dict[str, set[str]] = {}
    for one, other in arrows():
        below.setdefault(one, set()).add(other)
    TopologicalSorter(below).prepare()  # CycleError names a circle


@pytest.mark.parametrize("top", ["opend_si", "codegen", "benchmarks", "tests"])
def test_no_file_needs_itself(top: str) -> None:
    """Not by way of others, at whatever moment they are imported."""
    files = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for path in (ROOT / top).rglob("*.py")
    }
    below: dict[str, set[str]] = {}
    for name, path in files.items():
        below[name] = {found for each in imports(path) if (found := file_of(each, files)) not in (None, name, top)}
    assert sum(map(len, below.values())) > len(below) / 2
    TopologicalSorter(below).prepare()


def file_of(name: str, files: Container[str]) -> str | None:
    """The file that a dotted name is in."""
    while name and name not in files:
        name = name.rpartition(".")[0]
    return name or None


def test_the_engine_knows_no_face() -> None:
    named = {
        (str(path.relative_to(ROOT)), name)
        for path in ENGINE.rglob("*.py")
        for name in imports(path)
        if name.partition(".")[0] in FACES and path.parent.name != "errors"  # a warning skips the faces' frames
    }
    assert named == set()


def test_docs_show_the_map_and_name_tests_that_are_there() -> None:
    text = (ROOT / "docs/inside.md").read_text(encoding="utf-8")
    assert opend_si.__doc__ is not None
    table = [line[4:] for line in opend_si.__doc__.splitlines() if re.match(r" {4}\w+ +>", line)]
    assert "\n".join(table) in text
    named = re.findall(r"tests/[\w/]+\.py", text)
    assert [name for name in named if not (ROOT / name).is_file()] == []
    assert len(named) > len(table)


@pytest.mark.parametrize("top", ["opend_si", "codegen", "benchmarks", "tests"])
def test_no_folder_has_more_files_than_one_can_hold_in_mind(top: str) -> None:
    folders = {path.parent for path in (ROOT / top).rglob("*.py")}
    crowded = {str(folder.relative_to(ROOT)): len([*folder.glob("*.py")]) for folder in folders}
    assert {name: count for name, count in crowded.items() if count > MOST_FILES} == {}
