"""What the project says of itself holds: in its metadata, its workflows, its citation and on an index.

- An index shows the README alone: each link there leads somewhere, and it renders.
- Each system and Python of the classifiers is run by a workflow, and the other way round.
- Workflows run the tasks that developers run, with actions that are pinned by hash.
- The backend that builds is pinned, and the tests build with the same.
- The version is one number, wherever it stands.
"""

import re
import tomllib
from importlib.util import find_spec
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

import opend_si
import tasks
from tests.package.programs.matrix import PYTHONS
from tests.package.test_the_wheel_is_what_users_get import Wheel, built, wheel
from tests.processes import ROOT

__all__ = ["built", "wheel"]  # fixtures: the wheel is built once

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
CLASSIFIERS = PROJECT["project"]["classifiers"]
SYSTEMS = {
    "Operating System :: MacOS": "macos-latest",
    "Operating System :: Microsoft :: Windows": "windows-latest",
    "Operating System :: POSIX :: Linux": "ubuntu-latest",
}


@pytest.fixture
def workflows() -> dict[str, str]:
    folder = ROOT / ".github/workflows"
    if not folder.is_dir():
        pytest.skip("an unpacked sdist has no workflows")
    return {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*.yml")}


def description(wheel: Wheel) -> str:
    return wheel.told("METADATA").partition("\n\n")[2]


def test_links_lead_somewhere_where_the_readme_stands_alone(wheel: Wheel) -> None:
    text = description(wheel)
    assert text.startswith("# opend-short-interest\n")
    inline = [token for token in MarkdownIt("commonmark").parse(text) for token in token.children or []]
    links = [str(token.attrs["href"]) for token in inline if token.type == "link_open"]
    assert [link for link in links if not link.startswith("https://")] == []
    assert "the guide](" not in text
    assert "the guide" in text


def test_an_index_renders_the_readme(wheel: Wheel) -> None:
    if not find_spec("readme_renderer"):
        pytest.skip("readme_renderer is not installed; `make build` asks it, too")
    from readme_renderer import markdown

    assert (markdown.render(description(wheel)) or "").count("<h2") > 5


def test_readme_and_guide_link_to_files_that_are_there() -> None:
    for page in (ROOT / "README.md", ROOT / "SECURITY.md"):
        for link in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8")):
            assert link.startswith("https://") or (ROOT / link).exists(), f"{page.name}: {link}"


def test_each_claim_of_a_system_is_run(workflows: dict[str, str]) -> None:
    claimed = {name for name in CLASSIFIERS if name.startswith("Operating System ::")}
    assert claimed == set(SYSTEMS)
    (listed,) = re.findall(r"system: \[(.*)\]", workflows["checks.yml"])
    assert set(listed.split(", ")) == set(SYSTEMS.values())


def test_each_claim_of_a_python_is_run(workflows: dict[str, str]) -> None:
    claimed = {name.rpartition(" ")[2] for name in CLASSIFIERS if re.search(r":: 3\.\d+$", name)}
    tests = workflows["checks.yml"].partition("\n  checks:\n")[0].partition("\n  # ruff")[0]
    assert claimed == set(re.findall(r'"(3\.\d+)"', tests)) == set(PYTHONS)
    assert PROJECT["project"]["requires-python"] == f">={min(claimed)}"
    assert f"Python {min(claimed)} to {max(claimed)}" in (ROOT / "docs/versions.md").read_text(encoding="utf-8")


def test_workflows_run_tasks_with_pinned_actions(workflows: dict[str, str]) -> None:
    for name, text in workflows.items():
        used = re.findall(r"uses: (\S+)(.*)", text)
        assert used, name
        for action, comment in used:
            assert re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", action), f"{name}: {action}"
            assert re.fullmatch(r" # v\d+\.\d+\.\d+", comment), f"{name}: {action} says no version"
        assert set(re.findall(r"tasks\.py ([\w-]+)", text)) <= set(tasks.TASKS), name
    assert {name for name, text in workflows.items() if "tasks.py" in text} == set(workflows)


def test_make_has_every_task_and_no_other() -> None:
    (listed,) = re.findall(r"^TASKS = (.*)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert listed.split() == list(tasks.TASKS)
    assert tasks.__doc__ is not None
    assert re.findall(r"^    ([\w-]+)  +\S", tasks.__doc__, re.MULTILINE) == list(tasks.TASKS)


def test_pages_name_tasks_that_are_there() -> None:
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), ROOT / ".ci/run"]
    named = {
        (page.name, task)
        for page in pages
        if page.is_file()  # an unpacked sdist has no .ci
        for task in re.findall(
            r"(?:^|`)(?:make|python tasks\.py) ([\w-]+)", page.read_text(encoding="utf-8"), re.MULTILINE
        )
    }
    assert ("CONTRIBUTING.md", "help") in named
    assert {(page, task) for page, task in named if task not in tasks.TASKS} == set()


def test_the_backend_is_pinned_and_the_one_that_is_tested() -> None:
    requires = PROJECT["build-system"]["requires"]
    assert all(re.fullmatch(r"[\w-]+==[\d.]+", requirement) for requirement in requires)
    assert set(requires) <= {each for each in PROJECT["dependency-groups"]["test"] if isinstance(each, str)}


def test_what_continuous_integration_installs_is_locked() -> None:
    lock = ROOT / ".ci/lock.txt"
    if not lock.is_file():
        pytest.skip("an unpacked sdist has no lock")
    lines = lock.read_text(encoding="utf-8").splitlines()
    locked = {re.split(r"[=\s]", line)[0] for line in lines}
    assert all(re.match(r"[\w.-]+==[\w.!+]+( ; .+)?$", line) for line in lines)
    extras = PROJECT["project"]["optional-dependencies"]
    needed = [*PROJECT["project"]["dependencies"], *(line for name in extras if name != "all" for line in extras[name])]
    needed += [line for group in PROJECT["dependency-groups"].values() for line in group if isinstance(line, str)]
    assert {re.split(r"[\[<>=;\s]", line)[0] for line in needed} <= locked, "run: python tasks.py lock"


def test_the_version_is_one_number() -> None:
    (cited,) = re.findall(r"^version: (.+)$", (ROOT / "CITATION.cff").read_text(encoding="utf-8"), re.MULTILINE)
    assert cited == opend_si.__version__


def test_the_oldest_python_and_sqlite_are_said_as_they_are() -> None:
    from opend_si.cache.files import OLDEST_SQLITE

    said = (ROOT / "docs/versions.md").read_text(encoding="utf-8")
    assert f"SQLite {OLDEST_SQLITE[0]}.{OLDEST_SQLITE[1]} or later" in said


def test_pages_for_developers_are_in_the_guide() -> None:
    index = Path(ROOT / "docs/index.md").read_text(encoding="utf-8")
    assert "\nversions\n" in index
