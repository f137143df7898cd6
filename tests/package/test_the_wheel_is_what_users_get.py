"""What users install: the wheel, built once and used as they use it; the sdist; and what pyproject.toml says of both.

Proven here:

- The wheel holds the four packages, every file of theirs and nothing else: no generator, no templates, no tests.
- Unpacked away from the repository it works with nothing but its dependencies: both faces, the console, the simulator.
- The sdist gives the same wheel, byte for byte.
- Each dependency says what it is for, and the changelog begins with the version that is built.
"""

import configparser
import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pytest

import opend_si
from tests.conftest import FACES
from tests.processes import ROOT

PACKAGES = {name: ROOT / name for name in (*FACES, "opend_si")} | {
    "opend_si_schema": ROOT / "generated/opend_si_schema"
}


def build(project: Path, out: Path) -> tuple[Path, Path]:
    """The wheel and the sdist of a project."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-t", "sdist", "-d", str(out)]
    run = subprocess.run(command, cwd=project, capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
    (wheel,), (sdist,) = out.glob("*.whl"), out.glob("*.tar.gz")
    return wheel, sdist


@dataclass(frozen=True)
class Wheel:
    """A wheel and what it holds."""

    name: str
    files: dict[str, bytes]

    @classmethod
    def read(cls, path: Path) -> "Wheel":
        with zipfile.ZipFile(path) as archive:
            return cls(path.name, {name: archive.read(name) for name in archive.namelist()})

    @property
    def info(self) -> str:
        """The folder of the wheel's own description."""
        (folder,) = {PurePosixPath(name).parts[0] for name in self.files if ".dist-info/" in name}
        return folder

    def told(self, name: str) -> str:
        return self.files[f"{self.info}/{name}"].decode()


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return build(ROOT, tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="session")
def wheel(built: tuple[Path, Path]) -> Wheel:
    return Wheel.read(built[0])


@pytest.fixture(scope="session")
def unpacked(wheel: Wheel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel as an installer lays it out."""
    folder = tmp_path_factory.mktemp("unpacked")
    for name, data in wheel.files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


@pytest.fixture(scope="session")
def sdist(built: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sdist, unpacked."""
    folder = tmp_path_factory.mktemp("sdist")
    with tarfile.open(built[1]) as archive:
        safely = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}  # 3.11.4 brought it
        archive.extractall(folder, **safely)  # type: ignore[arg-type]
    (project,) = folder.iterdir()
    return project


def installed(unpacked: Path, cwd: Path, code: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run `code` where the unpacked wheel and its dependencies are installed, and this repository is not.

    Without `site` (-S) no .pth is read, so an editable install leads nowhere; the dependencies' folder is named.
    """
    dependencies = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    return subprocess.run(
        [sys.executable, "-S", "-P", "-W", "error", "-c", code, *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(unpacked), *sorted(dependencies)])},
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=60,
    )


# The wheel


def test_the_wheel_has_four_top_levels(wheel: Wheel) -> None:
    assert {PurePosixPath(name).parts[0] for name in wheel.files} == {*PACKAGES, wheel.info}


@pytest.mark.parametrize("package", PACKAGES)
def test_the_wheel_holds_every_file_of_a_package_and_no_other(wheel: Wheel, package: str) -> None:
    folder = PACKAGES[package]
    in_tree = {
        f"{package}/{path.relative_to(folder).as_posix()}": path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert {name: data for name, data in wheel.files.items() if name.startswith(f"{package}/")} == in_tree


def test_the_wheel_holds_what_is_no_module(wheel: Wheel) -> None:
    assert "opend_si_schema/descriptors.binpb" in wheel.files
    assert "opend_si_schema/qot_get_short_interest.pyi" in wheel.files
    assert "opend_si/simulator/sample_hk_00700.json" in wheel.files


@pytest.mark.parametrize("package", PACKAGES)
def test_each_package_says_that_it_is_typed(wheel: Wheel, package: str) -> None:
    """Without the mark, type checkers take what comes from a package for Any: `futu_si.Page` comes from `opend_si`."""
    assert f"{package}/py.typed" in wheel.files


def test_the_wheel_holds_nothing_of_the_build_step_or_the_tests(wheel: Wheel) -> None:
    parts = {part for name in wheel.files for part in PurePosixPath(name).parts[:-1]}
    assert parts.isdisjoint({"codegen", "templates", "generated", "tests", "benchmarks", "docs", "__pycache__"})
    assert {PurePosixPath(name).suffix for name in wheel.files}.isdisjoint({".j2", ".proto", ".toml", ".pyc"})


def test_the_wheel_runs_on_any_python_3_and_carries_its_licence(wheel: Wheel) -> None:
    assert wheel.name.endswith("-py3-none-any.whl")
    assert wheel.told("licenses/LICENSE") == (ROOT / "LICENSE").read_text(encoding="utf-8")
    metadata = wheel.told("METADATA")
    assert f"\nVersion: {opend_si.__version__}\n" in metadata
    assert "\nLicense-Expression: Apache-2.0\n" in metadata


def test_each_face_has_its_console_command(wheel: Wheel) -> None:
    points = configparser.ConfigParser()
    points.read_string(wheel.told("entry_points.txt"))
    assert {section: dict(points[section]) for section in points.sections()} == {
        "console_scripts": {"futu-si": "futu_si.__main__:main", "moomoo-si": "moomoo_si.__main__:main"}
    }


# The wheel in use

_FETCH = """
import importlib, importlib.util, sys
from pathlib import Path

unpacked, faces = Path(sys.argv[1]).resolve(), sys.argv[2:]
for name in ("codegen", "generated", "templates"):
    assert importlib.util.find_spec(name) is None, name

from opend_si.simulator import Simulator

with Simulator() as opend:
    for name in faces:
        face = importlib.import_module(name)
        face.configure(host=opend.host, port=opend.port)
        ret, us, hk = face.get_short_interest("HK.00700")
        assert ret == face.RET_OK, us
        print(name, len(us), len(hk), hk["timestamp_str"].iloc[0])

ours = [module for name, module in sys.modules.items() if name.split(".")[0] in (*faces, "opend_si", "opend_si_schema")]
assert len(ours) > 10
for module in ours:
    assert Path(module.__file__).resolve().is_relative_to(unpacked), module
"""


def test_the_unpacked_wheel_fetches_a_page_with_both_faces(unpacked: Path, tmp_path: Path) -> None:
    run = installed(unpacked, tmp_path, _FETCH, str(unpacked), *FACES)
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines() == [f"{face} 0 10 2026-04-30" for face in FACES]


@pytest.mark.parametrize("face", FACES)
def test_the_unpacked_wheels_console_tells_its_version(unpacked: Path, tmp_path: Path, face: str) -> None:
    code = f"from {face}.__main__ import main; main()"
    run = installed(unpacked, tmp_path, code, "--version")
    assert run.returncode == 0, run.stderr
    assert opend_si.__version__ in run.stdout


# The sdist


def test_the_sdist_gives_the_same_wheel(sdist: Path, wheel: Wheel, tmp_path: Path) -> None:
    assert Wheel.read(build(sdist, tmp_path)[0]) == wheel


def test_the_sdist_holds_what_the_packages_are_made_of(sdist: Path) -> None:
    for name in ("codegen/protos", "codegen/bindings", "templates", "tests", "Makefile", "LICENSE", "README.md"):
        assert (sdist / name).exists(), name
    hidden = {path.name for path in sdist.iterdir() if path.name.startswith(".")}
    assert hidden == {".gitignore"}


# The project file and the changelog


def test_each_dependency_says_what_it_is_for() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    project = tomllib.loads(text)["project"]
    lines = text[text.index("\ndependencies = [\n") :].split("\n]\n")[0].splitlines()[2:]
    reasons = dict(re.findall(r'^  "([^"]+)", +# (\S.*)$', "\n".join(lines), re.MULTILINE))
    assert list(reasons) == project["dependencies"]


def test_the_changelog_begins_with_this_version() -> None:
    headings = re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert headings[0] == opend_si.__version__
    assert len(set(headings)) == len(headings)
