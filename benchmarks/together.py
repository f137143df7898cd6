"""Several processes that begin to ask at the same moment. The tests use it too."""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

_ROOT = Path(__file__).parent.parent


def ask_together(
    processes: int, host: str, port: int, code: str, *, threads: int, pages: int, **environ: str
) -> Counter[str]:
    """Run `benchmarks.asker` in several processes at once: where all their pages came from."""
    command = [sys.executable, "-m", "benchmarks.asker", host, str(port), code, str(threads), str(pages)]
    asking = [
        subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=_ROOT,
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
