"""What asks a watch for an end reaches the command that it runs, and the line counts as reported if that went well.

A service manager sends its signal to the watch alone; Ctrl-C at a terminal reaches all that run there. What a command
started has ended when nobody holds its stderr any more, which is the watch's.
"""

from __future__ import annotations

import json
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from opend_si.simulator import Simulator, Universe
from tests.processes import Run, Terminal, at, running

pytestmark = pytest.mark.needs("signals", "sh")

CODE = "US.AAPL"
ONCE = ("watch", CODE, "--once", "--poll", "0.01")
# Gives a terminal to a program, as a login does.
LOGIN = "import fcntl, os, sys, termios; os.setsid(); fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
# How a watch ends that was asked to.
CODES = {signal.SIGTERM: 0, signal.SIGINT: 130}


class Desk:
    """A watch whose symbol has a new row, and a folder for what its command notes."""

    def __init__(self, opend: Simulator, console: Run, folder: Path) -> None:
        self.folder, self._console = folder, console
        self.environ = {"OPEND_SI_HOME": str(folder / "kept"), **at(opend)}
        assert self.look() == []
        opend.universe.publish(CODE)
        self.row = str((opend.universe.rows(CODE) or ())[0].timestampStr)

    def look(self) -> list[str]:
        """The days of what is reported now."""
        done = self._console(*ONCE, **self.environ)
        assert (done.returncode, done.stderr) == (0, "")
        return [json.loads(line)["date"] for line in done.stdout.splitlines()]

    def command(self, text: str) -> str:
        """A command that says that it has begun."""
        return f"cd {shlex.quote(str(self.folder))}; cat > line; {text}"

    def wait_for(self, name: str, process: subprocess.Popen[str]) -> None:
        while not (self.folder / name).exists():
            assert process.poll() is None
            time.sleep(0.01)


@pytest.fixture
def desk(start: Callable[..., Simulator], console: Run, tmp_path: Path) -> Desk:
    return Desk(start(universe=Universe(symbols=[CODE], most_rows=5)), console, tmp_path)


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    """The exit code and the notes of a watch, once it and all that it started have ended."""
    _, notes = process.communicate(timeout=30)
    return process.returncode, notes


@pytest.mark.parametrize(("sent", "once"), list(zip(CODES, (True, False), strict=True)))
def test_a_command_that_hangs_is_told_and_its_line_comes_again(desk: Desk, sent: signal.Signals, once: bool) -> None:
    command = desk.command("touch begun; sleep 60 | sleep 60; touch ended")
    words = ONCE if once else tuple(word for word in ONCE if word != "--once")
    with running("futu-si", *words, "--run", command, session=True, **desk.environ) as process:
        desk.wait_for("begun", process)
        process.send_signal(sent)
        code, notes = ended(process)
    assert code == CODES[sent]
    assert "goes on where it was" in notes
    assert not (desk.folder / "ended").exists()
    assert desk.look() == [desk.row]
    assert desk.look() == []


@pytest.mark.parametrize(("sent", "code", "again"), list(zip(CODES, (0, 3), (False, True), strict=True)))
def test_a_command_may_finish_first_and_says_whether_the_line_is_reported(
    desk: Desk, sent: signal.Signals, code: int, again: bool
) -> None:
    command = desk.command(
        f"trap 'sleep 0.3; touch finished; exit {code}' TERM INT; touch begun; while :; do sleep 0.05; done"
    )
    with running("moomoo-si", *ONCE, "--run", command, session=True, **desk.environ) as process:
        desk.wait_for("begun", process)
        process.send_signal(sent)
        assert ended(process)[0] == CODES[sent]
    assert (desk.folder / "finished").exists()
    assert desk.look() == [desk.row] * again


def test_the_rest_of_a_pipeline_is_waited_for(desk: Desk) -> None:
    """The shell ends at once; what it started has something to finish."""
    slow = "sh -c \"trap 'sleep 0.5; touch finished; exit' TERM; touch begun; while :; do sleep 0.05; done\""
    with running("futu-si", *ONCE, "--run", desk.command(f"{slow}; true"), session=True, **desk.environ) as process:
        desk.wait_for("begun", process)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
        assert (desk.folder / "finished").exists()
    assert desk.look() == [desk.row]


def test_a_command_that_does_not_mind_is_killed(desk: Desk) -> None:
    command = desk.command("trap '' TERM INT; touch begun; sleep 60; sleep 60")
    with running("futu-si", *ONCE, "--run", command, session=True, **desk.environ) as process:
        desk.wait_for("begun", process)
        process.send_signal(signal.SIGTERM)
        code, notes = ended(process)
    assert code == 0
    assert "did not end in 10 s" in notes
    assert "was killed" in notes
    assert desk.look() == [desk.row]


@contextmanager
def at_terminal(terminal: Terminal, *arguments: str, **environ: str) -> Iterator[subprocess.Popen[str]]:
    """A console script in the foreground of a terminal."""
    import os

    script = str(Path(sys.executable).with_name("futu-si"))
    words: list[Any] = [sys.executable, "-c", LOGIN, script, *arguments]
    with subprocess.Popen(
        words,
        stdin=terminal.theirs,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environ},
    ) as process:
        terminal.begun()
        try:
            yield process
        finally:
            process.kill()


def test_ctrl_c_at_a_terminal_reaches_the_command_by_itself_and_once(desk: Desk) -> None:
    command = desk.command(
        "trap 'echo int >> signals' INT; touch begun; while [ ! -e signals ]; do sleep 0.05; done; sleep 0.5; exit 3"
    )
    with closing(Terminal()) as terminal, at_terminal(terminal, *ONCE, "--run", command, **desk.environ) as process:
        desk.wait_for("begun", process)
        terminal.type("\x03")
        code, notes = ended(process)
    assert (desk.folder / "signals").read_text() == "int\n"
    assert code == 130
    assert "goes on where it was" in notes
    assert desk.look() == [desk.row]


def test_a_command_may_read_what_is_typed_at_the_terminal(desk: Desk) -> None:
    command = desk.command("touch begun; read answer < /dev/tty; echo $answer > answer")
    with closing(Terminal()) as terminal, at_terminal(terminal, *ONCE, "--run", command, **desk.environ) as process:
        desk.wait_for("begun", process)
        terminal.type("yes\n")
        assert ended(process) == (0, "")
    assert (desk.folder / "answer").read_text() == "yes\n"
    assert desk.look() == []


def test_sigterm_alone_reaches_the_command_at_a_terminal(desk: Desk) -> None:
    command = desk.command("trap 'exit 3' TERM; touch begun; while :; do sleep 0.05; done")
    with closing(Terminal()) as terminal, at_terminal(terminal, *ONCE, "--run", command, **desk.environ) as process:
        desk.wait_for("begun", process)
        process.send_signal(signal.SIGTERM)
        assert ended(process)[0] == 0
    assert desk.look() == [desk.row]
