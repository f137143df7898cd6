"""Real processes: the console, run to its end or until a test has seen enough."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from opend_si.simulator import Simulator

ROOT = Path(__file__).parent.parent
COMMANDS = ("futu-si", "moomoo-si")
# What some tests need and not every system has: `@pytest.mark.needs("fork")` skips a test, and says so, elsewhere.
SYSTEM_HAS = {
    # Elsewhere Python cannot start in a locale of ASCII: it finds the package by a file that names its folder.
    "an ASCII path": f"{ROOT}{sys.prefix}".isascii(),
    "fork": hasattr(os, "fork"),
    "signals": hasattr(signal, "SIGALRM"),  # also: an interrupt that reaches one process alone
    "links": os.name == "posix",  # elsewhere not everybody may make them
    "pipes": hasattr(os, "mkfifo"),
    "permissions": hasattr(os, "geteuid"),
    "several users": hasattr(os, "geteuid") and os.geteuid() == 0,  # who may become others
    "limits": find_spec("resource") is not None,
    "terminals": find_spec("termios") is not None,
    "sh": os.name == "posix" and shutil.which("sh") is not None,
    "bash": os.name == "posix" and shutil.which("bash") is not None,
    "proc": Path("/proc/self").is_dir(),
    "full": Path("/dev/full").is_char_device(),  # a device that has no space
}


def compat(name: str) -> Path:
    """The folder of a release that is not the installed one, for `PYTHONPATH`."""
    folder = Path(sys.prefix, "compat", name)
    assert folder.is_dir(), f"{folder} is missing: run make test, which installs it there"
    return folder


def need(*what: str) -> None:
    """Skip the test that runs where this system lacks something."""
    if missing := [each for each in what if not SYSTEM_HAS[each]]:
        pytest.skip(f"this system ({sys.platform}) lacks: {', '.join(missing)}")


# Runs a console with arguments, its environment changed by keywords.
Run = Callable[..., "subprocess.CompletedProcess[str]"]


def at(opend: Simulator) -> dict[str, str]:
    """The environment that leads to a simulator."""
    return {"OPEND_HOST": opend.host, "OPEND_PORT": str(opend.port)}


def run_console(command: str, *arguments: str, **environ: str) -> "subprocess.CompletedProcess[str]":
    """Run an installed console script to its end."""
    script = Path(sys.executable).with_name(command)
    settings = {**os.environ, **environ, "PYTHONWARNINGS": "error"}
    return subprocess.run([script, *arguments], capture_output=True, text=True, timeout=60, env=settings)


@contextmanager
def running(
    command: str,
    *arguments: str,
    sigint: Any = signal.SIG_DFL,
    stderr: Any = subprocess.PIPE,
    session: Any = False,
    **environ: str,
) -> Iterator["subprocess.Popen[str]"]:
    """A console script at work. It is killed with the `with`: a test that failed does not wait for it.

    `sigint`: what it finds SIGINT set to. In the background that is to be ignored, and would be here. `session`: it has
    one of its own, as a service has, and no terminal.
    """
    script = [str(Path(sys.executable).with_name(command)), *arguments]
    # Of a handler a child gets the default; only that it is ignored is passed on.
    before = signal.signal(signal.SIGINT, signal.default_int_handler if sigint == signal.SIG_DFL else sigint)
    try:
        process = subprocess.Popen(
            script,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            env={**os.environ, **environ},
            start_new_session=session,
        )
    finally:
        signal.signal(signal.SIGINT, before)
    with process:
        try:
            yield process
        finally:
            process.kill()


class Terminal:
    """A terminal that a process writes to."""

    def __init__(self) -> None:
        need("terminals")
        import pty

        self._ours, self.theirs = pty.openpty()
        self._sent = b""

    def begun(self) -> None:
        """The process has it: when that ends, there is no more to come."""
        os.close(self.theirs)

    def shown(self, until: str | None = None) -> str:
        """All that it was sent, once that holds a text or, where none is given, once the process has ended."""
        while until is None or until.encode() not in self._sent:
            try:
                self._sent += os.read(self._ours, 1 << 16)
            except OSError:  # how a terminal ends
                break
        return self._sent.decode()

    def type(self, keys: str) -> None:
        """What a person at it types."""
        os.write(self._ours, keys.encode())

    def close(self) -> None:
        os.close(self._ours)


def without(folder: Path, *modules: str) -> dict[str, str]:
    """An environment in which modules are as if they were not installed."""
    blocking = folder / "without"
    blocking.mkdir(exist_ok=True)
    lines = ["import sys", *(f"sys.modules[{name!r}] = None" for name in modules)]
    (blocking / "sitecustomize.py").write_text("\n".join(lines))
    return {"PYTHONPATH": str(blocking)}
