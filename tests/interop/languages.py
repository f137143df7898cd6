"""The examples, a language each: what it needs, how it is built and run, and which rows it printed.

`tools` names the versions of what is there, or raises `Missing`. How an example is compiled is said in its Makefile
alone.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import threading
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from google.protobuf import json_format, text_format

from opend_si_schema.qot_get_short_interest import Response
from tests.interop import page
from tests.interop.page import Row, rows_of_reply, rows_of_table
from tests.interop.servers import Missing, Server
from tests.processes import ROOT

EXAMPLES = ROOT / "examples"
SECONDS = 60  # nothing here takes nearly as long


class Language(ABC):
    """An example.

    Attributes:
        shown: What the page shows as its output.

    """

    name: str
    shown: str

    @abstractmethod
    def tools(self) -> str:
        """What it is built and run with; raises `Missing`."""

    def build(self, folder: Path) -> None:  # noqa: B027 (Python needs none)
        """Make what it runs from, in a folder of its own."""

    @abstractmethod
    def run(self, server: Server, folder: Path) -> str:
        """What it prints; raises `Missing` where the server has not what it needs."""

    def as_shown(self, printed: str) -> str:
        """What it printed, in the form that the page shows."""
        return printed

    def rows(self, printed: str) -> list[Row]:
        """The rows that it printed."""
        return rows_of_reply(self.reply(printed))

    def reply(self, printed: str) -> Any:
        """The reply that it printed."""
        raise NotImplementedError


class Python(Language):
    """The page's sample behind the import of a face."""

    shown = page.TABLE

    def __init__(self, brand: str) -> None:
        self.brand = brand
        self.name = f"Python ({brand}_si)"

    def tools(self) -> str:
        return f"Python {sys.version.split()[0]}"

    def run(self, server: Server, folder: Path) -> str:
        # The address in the sample goes before the environment, as any argument: here it has to be another.
        text = (EXAMPLES / f"python/{self.brand}.py").read_text(encoding="utf-8")
        documented = "host='127.0.0.1', port=11111"
        assert documented in text
        sample = folder / "sample.py"
        sample.write_text(text.replace(documented, f"host={server.host!r}, port={server.port}"), encoding="utf-8")
        # pandas leaves columns out where the terminal is narrow.
        return output([sys.executable, sample], server, COLUMNS="120")

    def rows(self, printed: str) -> list[Row]:
        return rows_of_table(printed)


class Cpp(Language):
    """A client on OpenD's frames."""

    name = "C++"
    shown = page.CPP

    def tools(self) -> str:
        versions = needed("g++", "protoc", "pkg-config", "make")
        for header, package in (("google/protobuf/message.h", "libprotobuf-dev"), ("openssl/sha.h", "libssl-dev")):
            if execute(["g++", "-E", "-x", "c++", "-"], stdin=f"#include <{header}>").returncode:
                raise Missing(f"no {header} ({package})")
        return versions

    def build(self, folder: Path) -> None:
        make("cpp", folder)

    def run(self, server: Server, folder: Path) -> str:
        """The first page, of ten rows."""
        printed = self.walk(server, folder, 10)
        second = [found.start() for found in re.finditer("^Send ", printed, re.MULTILINE)][1]
        return printed[:second]

    def walk(self, server: Server, folder: Path, num: int) -> str:
        """All pages of `num` rows."""
        return output([folder / "short_interest", "HK.00700", str(num)], server)

    def reply(self, printed: str) -> Any:
        return text_format.Parse(printed[printed.index("retType:") :], Response())

    def replies(self, printed: str) -> list[Any]:
        """All that it printed on a walk."""
        return list(map(self.reply, re.split("^Send ", printed, flags=re.MULTILINE)[1:]))


class Java(Language):
    """The page's class over a small shim."""

    name = "Java"
    shown = page.JAVA
    jars = Path("/usr/share/java")

    def tools(self) -> str:
        versions = needed("javac", "java", "protoc", "make")
        packages = {
            "protobuf": "libprotobuf",
            "protobuf-util": "libprotobuf",
            "gson": "libgoogle-gson",
            "guava": "libguava",
        }
        for jar, package in packages.items():
            if not (self.jars / f"{jar}.jar").exists():
                raise Missing(f"no {jar}.jar in {self.jars} ({package}-java)")
        return versions

    def build(self, folder: Path) -> None:
        make("java", folder)

    def run(self, server: Server, folder: Path) -> str:
        path = [
            folder / "classes",
            *(self.jars / f"{jar}.jar" for jar in ("protobuf", "protobuf-util", "gson", "guava")),
        ]
        # The class waits for ever when it has printed the reply.
        return output(["java", "-cp", os.pathsep.join(map(str, path)), "QotDemo"], server, last="}")

    def as_shown(self, printed: str) -> str:
        """With the reply as the page shows it: not in JSON."""
        return f"{printed[: printed.index('{')]}{text_format.MessageToString(self.reply(printed))}"

    def reply(self, printed: str) -> Any:
        return json_format.Parse(printed[printed.index("{") :], Response())


class JavaScript(Language):
    """The page's sample on a published npm package, with the preload."""

    shown = page.JAVASCRIPT
    oldest = (20, 6)  # has --import and module.register

    def __init__(self, brand: str) -> None:
        self.brand = brand
        self.name = f"JavaScript ({brand}-api)"

    def tools(self) -> str:
        versions = needed("node", "npm")
        if tuple(map(int, version("node").split(".")[:2])) < self.oldest:
            raise Missing(f"{versions}: Node 20.6 or later is needed")
        return versions

    def build(self, folder: Path) -> None:
        for path in (EXAMPLES / "javascript").iterdir():
            if path.is_file():
                shutil.copy(path, folder)
        done = execute(["npm", "install", "--no-fund", "--no-audit", "--ignore-scripts"], cwd=folder)
        if done.returncode:
            raise Missing(f"npm install failed: {' '.join(done.stderr.split())[:100]}")

    def run(self, server: Server, folder: Path) -> str:
        if not server.websocket:
            raise Missing(server.why_none)
        return output(["node", "--import", "./opend-si.mjs", f"{self.brand}.mjs"], server, cwd=folder)

    def reply(self, printed: str) -> Any:
        text = printed[printed.index("{") : printed.rindex("}") + 1]
        return json_format.ParseDict({"retType": 0, "s2c": json.loads(text)}, Response())


class CSharp(Language):
    """The page's sample, which nothing here can run."""

    name = "C#"
    shown = ""

    def tools(self) -> str:
        raise Missing("there is no example: the page's class needs .NET and the brokers' C# SDK")

    def run(self, server: Server, folder: Path) -> str:
        raise NotImplementedError


CPP = Cpp()
LANGUAGES = (*map(Python, ("futu", "moomoo")), CPP, Java(), *map(JavaScript, ("futu", "moomoo")), CSharp())


def needed(*programs: str) -> str:
    """The versions of programs; raises `Missing`, naming all that are not here."""
    absent = [program for program in programs if shutil.which(program) is None]
    if absent:
        raise Missing(f"no {', no '.join(absent)}")
    return ", ".join(f"{program} {version(program)}" for program in programs if program != "make")


def version(program: str) -> str:
    """What a program says of itself."""
    done = execute([program, "--version"])
    found = re.search(r"\d+(\.\d+)+", done.stdout)
    assert found, f"{program} --version: {done.stdout}{done.stderr}"
    return found[0]


def make(example: str, folder: Path) -> None:
    """Compile an example as its Makefile says."""
    done = execute(["make", "-s", "-C", EXAMPLES / example, f"BUILD={folder}"], seconds=600)
    assert done.returncode == 0, done.stderr


def execute(
    command: Sequence[str | Path], stdin: str = "", cwd: Path | None = None, seconds: float = SECONDS
) -> "subprocess.CompletedProcess[str]":
    """Run a tool to its end."""
    return subprocess.run(command, input=stdin, capture_output=True, text=True, cwd=cwd, timeout=seconds)


def output(
    command: Sequence[str | Path], server: Server, cwd: Path | None = None, last: str | None = None, **environ: str
) -> str:
    """What an example prints: to its end, or up to a line, behind which it would not end by itself."""
    settings = {**os.environ, **server.environ, **environ}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8", env=settings, cwd=cwd
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        guard = threading.Timer(SECONDS, process.kill)
        guard.start()
        printed = ""
        try:
            for line in process.stdout:
                printed += line
                if line.rstrip() == last:
                    return printed
            assert process.wait() == 0, f"{command}: {printed}{process.stderr.read()}"
            assert last is None, f"{command} ended: {printed}{process.stderr.read()}"
            return printed
        finally:
            guard.cancel()
            process.kill()
