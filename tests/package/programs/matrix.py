"""The wheel on every Python that is here, at the lowest and at the newest versions of what it needs.

    python -m tests.package.programs.matrix [--python VERSION]… [--extra NAME]… [--tests FILES]

Each cell is an environment of its own: a Python, base or one extra or all, the lowest versions that `pyproject.toml`
allows or the newest. `smoke.py` runs there, every feature once. With `--tests` pytest runs these files besides, where
all extras are. Nothing is compiled: a cell whose wheels cannot be had says so and why, and so does a Python that is not
here. A cell that fails is exit code 1; one that cannot be had is not.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable
from itertools import chain, product
from pathlib import Path

ROOT = Path(__file__).parents[3]
NAME = "opend-short-interest"
PYTHONS = ("3.11", "3.12", "3.13", "3.14", "3.15")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = ("base", *PROJECT["optional-dependencies"])
RESOLUTIONS = ("lowest-direct", "highest")
SMOKE = Path(__file__).with_name("smoke.py")
SECONDS = 1800


class Absent(Exception):
    """What the cell needs cannot be had."""


def run(*command: object, **environ: str) -> "subprocess.CompletedProcess[str]":
    words, settings = [str(word) for word in command], {**os.environ, **environ}
    return subprocess.run(
        words, capture_output=True, encoding="utf-8", errors="replace", timeout=SECONDS, cwd=ROOT, env=settings
    )


def uv(*words: object, **environ: str) -> str:
    """Run uv; `Absent` with its reason if it cannot."""
    done = run(sys.executable, "-m", "uv", *words, **environ)
    if done.returncode:
        lines = [line.strip(" ╰─▶×├│") for line in done.stderr.splitlines() if line.strip(" │")]
        raise Absent(" ".join(lines)[:300] or f"uv ended with {done.returncode}")
    return done.stdout


def find(version: str) -> str:
    """A Python that is installed here; what pyenv puts on the path starts only the one that the variable names."""
    words = ("python", "find", "--no-python-downloads", "--no-project", "--system", version)
    return uv(*words, PYENV_VERSION=version).strip()


def make(folder: Path, python: str, wheel: Path, extra: str, resolution: str) -> Path:
    """The environment of a cell; gives its Python."""
    uv("venv", "--quiet", "--python", python, folder)
    there = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    # Of a wheel's needs none is direct: the project's own file is resolved.
    needed = folder / "needed.txt"
    wanted = () if extra == "base" else ("--extra", extra)
    compile_words = (
        "pip",
        "compile",
        "--quiet",
        "--python",
        there,
        "--only-binary",
        ":all:",
        "--resolution",
        resolution,
    )
    uv(*compile_words, *wanted, "--no-emit-package", NAME, "--output-file", needed, "pyproject.toml")
    uv("pip", "install", "--quiet", "--python", there, "--only-binary", ":all:", "--requirements", needed, wheel)
    return there


def versions(folder: Path) -> str:
    """What a cell has of what the project names."""
    needs = [*PROJECT["dependencies"], *chain.from_iterable(PROJECT["optional-dependencies"].values())]
    names = {re.split(r"[\[>=]", need)[0] for need in needs}
    lines = re.findall(r"^([\w-]+)==(\S+)", (folder / "needed.txt").read_text(encoding="utf-8"), re.MULTILINE)
    return ", ".join(f"{name} {version}" for name, version in lines if name in names)


def smoke(python: Path, extra: str) -> tuple[int, list[str]]:
    """How many steps passed, and what failed."""
    extras = {"base": (), "all": EXTRAS}.get(extra, (extra,))
    done = run(python, SMOKE, *extras)
    if done.returncode:
        return 0, [done.stderr.strip().splitlines()[-1]]
    results = json.loads(done.stdout.splitlines()[-1])
    return sum(not error for error in results.values()), [
        f"{step}: {error}" for step, error in results.items() if error
    ]


def run_tests(python: Path, folder: Path, files: Iterable[str]) -> str:
    """The closing line of pytest, at the versions that the environment has, with the newest test tools."""
    install = ("pip", "install", "--quiet", "--python", python)
    uv(*install, "--group", "test", "--constraint", folder / "needed.txt")
    uv("pip", "install", "--quiet", "--python", python, "--no-deps", "--editable", ".")
    done = run(python, "-m", "pytest", "-n", "2", "-q", "-p", "no:cacheprovider", *files)
    lines = done.stdout.strip().splitlines() or [done.stderr.strip()]
    return f"{lines[-1]}" + "".join(f"\n    {line}" for line in lines if line.startswith(("FAILED", "ERROR")))


def cell(folder: Path, python: str, wheel: Path, extra: str, resolution: str, files: Iterable[str]) -> tuple[str, bool]:
    """What became of a cell, and whether it is well."""
    try:
        there = make(folder, python, wheel, extra, resolution)
        passed, errors = smoke(there, extra)
        told = f"{passed} passed, {len(errors)} failed ({versions(folder)})" + "".join(
            f"\n    {error}" for error in errors
        )
        if errors or extra != "all" or not files:
            return told, not errors
        closing = run_tests(there, folder, files)
        first = closing.splitlines()[0]
        return f"{told}; tests: {closing}", "passed" in first and "failed" not in first and "error" not in first
    except Absent as reason:
        return f"not to be had: {reason}", True


def main() -> None:
    """Run the cells that are asked for, and print a line for each."""
    parser = argparse.ArgumentParser(prog="matrix")
    parser.add_argument(
        "--python", action="append", help="a version, such as 3.13; all that are supported if none is named"
    )
    parser.add_argument("--extra", action="append", choices=EXTRAS)
    parser.add_argument("--resolution", action="append", choices=RESOLUTIONS)
    parser.add_argument(
        "--tests", nargs="+", default=(), help="files or folders that pytest runs in the cells of all extras"
    )
    asked = parser.parse_args()
    failed = False
    with tempfile.TemporaryDirectory() as scratch:
        uv("build", "--quiet", "--wheel", "--out-dir", scratch)
        (wheel,) = Path(scratch).glob("*.whl")
        print(f"{'python':<8} {'extra':<8} {'versions':<14} result", flush=True)
        for version in asked.python or PYTHONS:
            try:
                python = find(version)
            except Absent as reason:
                print(f"{version:<8} not to be had: {reason}", flush=True)
                continue
            for extra, resolution in product(asked.extra or EXTRAS, asked.resolution or RESOLUTIONS):
                folder = Path(scratch, f"{version}-{extra}-{resolution}")
                told, is_well = cell(folder, python, wheel, extra, resolution, asked.tests)
                failed |= not is_well
                print(f"{version:<8} {extra:<8} {resolution:<14} {told}", flush=True)
                shutil.rmtree(folder, ignore_errors=True)
    sys.exit(failed)


if __name__ == "__main__":
    main()
