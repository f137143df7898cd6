"""Several processes that begin to ask at the same moment. The tests use it too."""

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

_ROOT = Path(__file__).parents[2]


def ask_together(
    processes: int, host: str, port: int, code: str, *, threads: int, pages: int, **environ: str
) -> Counter[str]:
    """Ask for pages in several processes at once: where all of them came from."""
    command = ["tests.stress.programs.asker", host, str(port), code, str(threads), str(pages)]
    return _run_together([command] * processes, environ)


def sync_together(processes: int, host: str, port: int, codes: Sequence[str], **environ: str) -> Counter[str]:
    """Sync symbols in several processes at once, each its share of them: what became of them."""
    shares = (codes[number::processes] for number in range(processes))
    return _run_together([["tests.stress.programs.syncer", host, str(port), *share] for share in shares], environ)


def _run_together(commands: Sequence[Sequence[str]], environ: Mapping[str, str]) -> Counter[str]:
    """Run modules with their arguments, which begin when all are ready; gives the sum of what they counted."""
    with ExitStack() as stack:
        asking = []
        for command in commands:
            process = subprocess.Popen(
                [sys.executable, "-m", *command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                cwd=_ROOT,
                env={**os.environ, "PYTHONWARNINGS": "error", **environ},
            )
            asking.append(stack.enter_context(process))
            stack.callback(process.kill)  # where another one failed
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
