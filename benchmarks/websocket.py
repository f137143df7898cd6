"""`python -m benchmarks.websocket`: what the WebSocket port costs.

2,000 pages of 50 rows asked for at once over one WebSocket, by a bare client and, where Node and the npm registry are,
by npm's futu-api; the same over TCP. Then a client that does not read a flood of pushes (Linux). The simulator is a
process of its own.
"""

import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from opend_si.pages import PageKey
from opend_si.wire.aio import AsyncioConnection
from opend_si_schema.calls import SHORT_INTEREST
from tests.interop.npm import Package
from tests.interop.servers import Missing
from tests.processes import running
from tests.server.client import Client
from tests.server.flood import cost_of_a_slow_reader

_PAGES, _ROUNDS = 2000, 5
_REQUEST = PageKey.check(SHORT_INTEREST, "HK.00700", None, SHORT_INTEREST.page_size.maximum).request()
# The most that is promised: milliseconds a page, KiB for a slow reader.
_MOST_MS, _MOST_KIB = 1.5, 2048


@contextmanager
def _simulator() -> Iterator[tuple[str, str]]:
    """The addresses of both ports."""
    options = ("--port", "0", "--websocket-port", "0", "--rate", "off")
    with running("futu-si", "simulate", *options) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip(), process.stdout.readline().strip()


def main() -> int:
    """Print the figures; exit code 1 if one is above what is promised."""
    with _simulator() as (address, url):
        host, _, port = address.rpartition(":")
        figures = {
            "TCP, asyncio": _median(lambda: asyncio.run(_over_tcp(host, int(port)))),
            "WebSocket, bare client": _median(lambda: _over_websocket(url)),
        }
        try:
            with tempfile.TemporaryDirectory() as folder:
                package = Package("futu", Path(folder))
                figures[f"WebSocket, npm futu-api ({package.tools})"] = _median(lambda: _over_npm(package, url))
        except Missing as missing:
            print(f"npm futu-api was not run: {missing}")
    for name, milliseconds in figures.items():
        print(f"{_PAGES} pages at once, {name}: {milliseconds / _PAGES:.2f} ms a page")
    is_kept = max(figures.values()) / _PAGES <= _MOST_MS
    if sys.platform == "linux":
        for count, size in ((60_000, 1000), (100, 900_000)):
            cost = cost_of_a_slow_reader(count, size)
            print(f"slow reader under {count} pushes of {size} bytes: +{cost} KiB")
            is_kept = is_kept and (cost < _MOST_KIB or size > 1000)
    return 0 if is_kept else 1


def _median(measure: Callable[[], float]) -> float:
    return statistics.median(measure() for _ in range(_ROUNDS))


async def _over_tcp(host: str, port: int) -> float:
    connection = AsyncioConnection(host, port, 60)
    await connection.greeting()
    begun = time.perf_counter()
    await asyncio.gather(*(connection.request(SHORT_INTEREST.proto_id, _REQUEST) for _ in range(_PAGES)))
    milliseconds = (time.perf_counter() - begun) * 1000
    await connection.close()
    return milliseconds


def _over_websocket(url: str) -> float:
    with Client(url) as client:
        client.log_in()
        begun = time.perf_counter()
        for _ in range(_PAGES):
            client.send(SHORT_INTEREST.proto_id, _REQUEST)
        for _ in range(_PAGES):
            assert len(client.receive().body) > 1000
        return (time.perf_counter() - begun) * 1000


def _over_npm(package: Package, url: str) -> float:
    port = int(url.rpartition(":")[2])
    [[counts, milliseconds]] = package.run(port, ["together", "GetShortInterest", 1, "00700", _PAGES, 50])
    assert counts == [50] * _PAGES
    return float(milliseconds)


if __name__ == "__main__":
    sys.exit(main())
