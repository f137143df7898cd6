"""Real processes: the console, and several that start their work at the same moment."""

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from opend_si.simulator import Simulator

ROOT = Path(__file__).parent.parent
COMMANDS = ("futu-si", "moomoo-si")
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


def ask_together(
    processes: int, host: str, port: int, code: str, *, threads: int, pages: int, **environ: str
) -> Counter[str]:
    """Run `tests.workers.ask` in several processes at once: where all their pages came from."""
    command = [sys.executable, "-m", "tests.workers.ask", host, str(port), code, str(threads), str(pages)]
    asking = [
        subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONWARNINGS": "error", **environ},
        )
        for _ in range(processes)
    ]
    for process in asking:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in asking:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    total: Counter[str] = Counter()
    for process in asking:
        told, _ = process.communicate(timeout=240)
        assert process.returncode == 0
        total += Counter(json.loads(told))
    return total
