"""What developers run, on any system: `python tasks.py TASK [ARGUMENTS]`; `make TASK ARGS="ARGUMENTS"` is the same.

    help            this text
    demo            the main job on the embedded simulator
    test            the tests; arguments are pytest's
    check           ruff, mypy --strict, rendered code, what the wheel holds, guide
    docs            the guide, in site/html
    interop         the examples in all languages whose tools are here
    matrix          the wheel on every Python that is here, at the lowest and the newest versions of what it needs
    notebook        executes the guide's notebook on the simulator and writes what it shows
    regenerate      what is rendered; `--protos DIR` takes the protos of a folder
    bench           measures, five minutes; `--write` keeps the figures and writes them into the pages
    bench-compare   measures, and compares with the figures that were kept
    fuzz            feeds spoiled bytes; `replies --count 1000000` feeds one target
    clocks          random programs under clocks that jump, against a model; `--programs 3000`
    walks           processes that walk one record while rows are published and revised; `--minutes 30`
    signals         Ctrl-C at any moment; `--count 10000`
    forks           forks under busy threads; `--count 1000`
    limits          OpenD's limit under users that are killed, stopped and forked; `--seconds 300`
    build           the wheel and the sdist, in dist/, and whether an index would take them
    lock            resolves anew what continuous integration installs (.ci/lock.txt)
    clean           removes what the other tasks have set up

Each sets up what it needs in a virtual environment: `.venv`, or the folder that the variable VENV names. With the
variable LOCK it installs the versions of that file, else the newest. It needs Python 3.11 or later, and no compiler.
What was interrupted is done anew by the next task; of two that set up the same folder, the second waits.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

ROOT = Path(__file__).resolve().parent
VENV = Path(os.environ.get("VENV") or ROOT / ".venv").resolve()
PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
THIS = "{}.{}".format(*sys.version_info)
LOCK = os.environ.get("LOCK")
# What the tests run on besides what is installed: each in a folder of its own, in VENV/compat.
PROTOBUFS = ROOT / "tests/protobuf-releases.txt"
# Releases of grpcio-tools, of which the first is used that has a wheel for this Python: there is no compiler.
PROTOCS = ("1.71", "1.75", "1.84")
# Builds a wheel and an sdist, and installs them: `test` and `check` both run it, continuous integration once.
WHEEL = "tests/package/test_the_wheel_is_what_users_get.py"
# A link, a heading or a name that is not there is an error.
SPHINX = ("sphinx", "--quiet", "--fail-on-warning", "--keep-going", "--fresh-env", "docs", "site/html")


def run(*command: object) -> None:
    """Run a command in the repository; what fails ends the task with its exit code."""
    sys.stdout.flush()
    done = subprocess.run([str(word) for word in command], cwd=ROOT)
    if done.returncode:
        sys.exit(done.returncode)


def module(*words: object) -> None:
    """Run a module with the environment's Python."""
    run(PYTHON, "-m", *words)


def pip_words(*words: object) -> list[object]:
    """An installation, as a command."""
    locked = ("--constraint", LOCK) if LOCK else ()
    # What is installed is compiled by all cores, once all of it is there: pip does it with one.
    return [PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile", *locked, *words]


def install(*words: object) -> None:
    """Install into the environment, and compile it, except for what others test themselves with."""
    run(*pip_words(*words))
    # A package may have a file for another Python: that is no error until somebody imports it.
    tests = r"[\\/](tests|compat)[\\/]"
    subprocess.run([PYTHON, "-m", "compileall", "-qq", "-j", "0", "-x", tests, VENV])


def set_up(*parts: str) -> None:
    """Install parts of the environment, each once, and again when what it is made from has changed."""
    refuse_another_folder()
    refuse_another_python()
    state, stamps = made_from(), {part: VENV / f"{part}.stamp" for part in ("python", *parts)}

    def is_there(part: str) -> bool:
        return PYTHON.exists() and stamps[part].exists() and stamps[part].read_text() == state

    if all(map(is_there, stamps)):
        return
    with alone():
        for part, stamp in stamps.items():
            if not is_there(part):
                INSTALLS[part]()
                stamp.write_text(state)


def made_from() -> str:
    """What an environment is made from, as a hash: of the project file, what is installed and how."""
    import tomllib  # the Pythons that are too old to have it are told so

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    parts = [project[part] for part in ("build-system", "project", "dependency-groups")] + [project["tool"]["hatch"]]
    files = [path.read_bytes() for path in (PROTOBUFS, *([ROOT / LOCK] if LOCK else []))]
    return hashlib.sha256(b"".join([repr(parts).encode(), *files])).hexdigest()


def refuse_another_folder() -> None:
    """The variable VENV may name anything by mistake; what is there would be removed with the environment."""
    there = {path.name for path in VENV.iterdir()} if VENV.exists() else set()
    if there and not there & {"pyvenv.cfg", "setup.lock"}:
        sys.exit(f"{VENV} is no virtual environment, so nothing is done there: what does the variable VENV name?")


def refuse_another_python() -> None:
    """An environment that another Python made would run the task with that one."""
    about = VENV / "pyvenv.cfg"
    found = re.search(r"^version(?:_info)? *= *(\d+\.\d+)", about.read_text(), re.MULTILINE) if about.exists() else None
    if found and found[1] != THIS and PYTHON.exists():
        sys.exit(
            f"{VENV} has Python {found[1]}, and this is Python {THIS}: name another folder "
            f"(`make TASK VENV=.venv-{THIS}`), or run the task `clean` first"
        )


@contextmanager
def alone() -> Iterator[None]:
    """While nobody else sets this environment up: another task, in another terminal. Whoever ends lets go."""
    VENV.mkdir(parents=True, exist_ok=True)
    with (VENV / "setup.lock").open("w") as file:
        if not take(file):
            print(f"waiting for another task, which sets up {VENV}", file=sys.stderr, flush=True)
            while not take(file):
                time.sleep(0.1)
        yield


def take(file: TextIO) -> bool:
    """Lock an open file, if nobody else has."""
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def install_python() -> None:
    """The environment itself. What an interrupted task left of one is removed, and one whose Python is gone."""
    unfinished = VENV / "unfinished"
    if unfinished.exists() or not PYTHON.exists():
        remove_environment(but="setup.lock")
        unfinished.touch()
    if not has_pip():
        make_environment()
    run(*pip_words("--upgrade", "pip>=25.1"))
    unfinished.unlink(missing_ok=True)


def has_pip() -> bool:
    return PYTHON.exists() and subprocess.run([PYTHON, "-m", "pip", "--version"], capture_output=True).returncode == 0


def make_environment() -> None:
    try:
        import venv

        venv.create(VENV, with_pip=True, symlinks=os.name != "nt")
    except (ImportError, subprocess.CalledProcessError) as error:
        sys.exit(f"{sys.executable} cannot make {VENV}: {error}. On Debian and Ubuntu: apt install python{THIS}-venv")


def install_compat() -> None:
    """Other releases of protobuf and of protoc."""
    shutil.rmtree(VENV / "compat", ignore_errors=True)
    alone = ("--no-deps", "--only-binary", ":all:", "--target")
    unlocked = [word for word in pip_words() if word not in ("--constraint", LOCK)]

    def install_protobuf(release: str) -> None:
        run(*unlocked, *alone, VENV / f"compat/protobuf-{release}", f"protobuf=={release}.*")

    with ThreadPoolExecutor() as pool:
        list(pool.map(install_protobuf, PROTOBUFS.read_text().split()))
    for release in PROTOCS:
        command = [*unlocked, *alone, VENV / "compat/grpcio-tools", f"grpcio-tools=={release}.*"]
        done = subprocess.run([str(word) for word in command], cwd=ROOT, capture_output=True, text=True)
        if done.returncode == 0:
            return
    sys.exit(f"No wheel of grpcio-tools {', '.join(PROTOCS)} can be had for this Python:\n{done.stderr}")


INSTALLS: dict[str, Callable[[], None]] = {
    "python": install_python,
    "base": lambda: install("--editable", "."),
    "test": lambda: install("--editable", ".[all]", "--group", "test"),
    "lint": lambda: install("--group", "lint"),
    "docs": lambda: install("--group", "docs"),
    "release": lambda: install("--group", "release"),
    "compat": install_compat,
}


def demo(*words: str) -> None:
    set_up("base")
    for face in ("futu_si", "moomoo_si"):
        module(face, "demo", *words)


def test(*words: str) -> None:
    set_up("test", "compat")
    # Many tests wait, so four share two cores; who is idle at the end takes over from the others.
    module("pytest", "-n", "4", "--dist", "worksteal", "-q", *words)


def check(*words: str) -> None:
    set_up("test", "lint", "docs")
    module("ruff", "check", ".")
    module("ruff", "format", "--check", ".")
    module("mypy")
    module("codegen", "--check")
    module("pytest", "-q", WHEEL)
    module(*SPHINX, *words)


def docs(*words: str) -> None:
    set_up("base", "docs")
    module(*SPHINX, *words)
    print("site/html/index.html")


def build(*words: str) -> None:
    set_up("release")
    shutil.rmtree(ROOT / "dist", ignore_errors=True)
    module("build", *words)
    module("twine", "check", "--strict", *(ROOT / "dist").iterdir())


def lock(*words: str) -> None:
    set_up("release")
    module(
        *(
            "uv",
            "pip",
            "compile",
            "--quiet",
            "--universal",
            "--python-version",
            "3.11",
            "--all-extras",
            "--group",
            "dev",
            "--group",
            "release",
        ),
        *("--no-header", "--no-annotate", "--upgrade", "--no-emit-package", "opend-short-interest"),
        *("--output-file", ".ci/lock.txt", "pyproject.toml", *words),
    )


def clean() -> None:
    refuse_another_folder()
    remove_environment()
    for made in (ROOT / "site", ROOT / "dist"):
        shutil.rmtree(made, ignore_errors=True)


def remove_environment(but: str = "") -> None:
    """Remove what is in VENV; `but` stays, for it is in use."""
    for made in sorted(VENV.iterdir()) if VENV.exists() else ():
        if made.is_dir() and not made.is_symlink():
            shutil.rmtree(made)
        elif made.name != but:
            made.unlink()
    if VENV.exists() and not but:
        VENV.rmdir()


def with_module(*command: str, parts: tuple[str, ...] = ("test",)) -> Callable[..., None]:
    """A task that is one module's."""

    def task(*words: str) -> None:
        set_up(*parts)
        module(*command, *words)

    return task


TASKS: dict[str, Callable[..., None]] = {
    "help": lambda: print(__doc__),
    "demo": demo,
    "test": test,
    "check": check,
    "docs": docs,
    "interop": with_module("pytest", "-q", "tests/interop", "-o", "python_files=interop_*.py"),
    "matrix": with_module("tests.package.programs.matrix", parts=("release",)),
    "notebook": with_module("docs.examples", "docs/research.ipynb"),
    "regenerate": with_module("codegen"),
    "bench": with_module("benchmarks"),
    "bench-compare": with_module("benchmarks", "--compare"),
    "fuzz": with_module("tests.stress.fuzz"),
    **{name: with_module(f"tests.stress.{name}") for name in ("clocks", "walks", "signals", "forks", "limits")},
    "build": build,
    "lock": lock,
    "clean": clean,
}


def main() -> None:
    """Run the task that is named."""
    if sys.version_info < (3, 11):
        sys.exit(
            "Python 3.11 or later is needed; name one with `make TASK PYTHON=/path/to/python3.11`, or run it yourself"
        )
    name, *words = sys.argv[1:] or ["help"]
    if name not in TASKS:
        sys.exit(__doc__)
    # The tests start some thousand processes: where nothing compiled is kept, each compiles the package anew.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    TASKS[name](*words)


if __name__ == "__main__":
    main()
