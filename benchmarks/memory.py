"""`python -m benchmarks.memory`: resident memory of a process that syncs 10,000 symbols, every 1,000 of them.

Each symbol has 60 rows, two pages; the simulator runs in a process of its own.
"""

import asyncio
import multiprocessing
import sys
import tempfile
from multiprocessing.connection import Connection
from pathlib import Path

import futu_si
from opend_si.simulator import Simulator, Universe

_SYMBOLS = 10_000
_ROWS = 60
_EVERY = 1000


def _serve(channel: Connection, symbols: list[str]) -> None:
    simulator = Simulator(Universe(symbols=symbols, most_rows=_ROWS))
    asyncio.run(simulator.serve(lambda: channel.send((simulator.host, simulator.port))))


def resident() -> int:
    """Resident memory of this process in KiB (Linux)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise RuntimeError("this system does not tell")


def main() -> int:
    """Print the memory as the sync goes on."""
    symbols = [f"HK.{number:05d}" for number in range(1, _SYMBOLS + 1)]
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    server = multiprocessing.get_context("spawn").Process(target=_serve, args=(theirs, symbols), daemon=True)
    server.start()
    host, port = ours.recv()

    def progress(report: futu_si.SymbolReport, done: int, _total: int) -> None:
        if report.error is not None:
            raise report.error
        if done % _EVERY == 0:
            print(f"{done:>6} symbols: {resident() / 1024:7.1f} MiB", flush=True)

    with tempfile.TemporaryDirectory() as folder:
        cache = Path(folder, "pages.sqlite3")
        with futu_si.Client(host, port, mode="online", cache=cache) as client:
            report = client.sync(symbols, progress)
        print(f"{report}; page cache {cache.stat().st_size / 2**20:.1f} MiB")
    server.terminate()
    return 0


if __name__ == "__main__":
    import os

    os.environ["OPEND_SI_RATE"] = "off"
    sys.exit(main())
