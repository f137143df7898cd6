"""Several real processes that start their work at the same moment."""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parent.parent


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
