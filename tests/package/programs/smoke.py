"""Every feature once, on a simulator, where the package is installed: what `matrix.py` runs in each environment.

    python smoke.py [EXTRA]…

names the extras that are installed. A feature of another extra has to be refused, unless its package is here all the
same, since another package needs it. It ends with one line of JSON: each step, and its error if it failed. Nothing but
the package and the standard library is used.
"""

import asyncio
import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import futu_si
import moomoo_si
from opend_si.gateway.server import Gateway
from opend_si.server.websocket import Bridge
from opend_si.settings import Settings
from opend_si.simulator import Simulator

KEY = Path(__file__).parents[2] / "data/keys/rsa-1024.pem"
# The package without which an extra's features are refused.
NEEDED = {
    "arrow": "pyarrow",
    "plot": "matplotlib",
    "encrypt": "cryptography",
    "gateway": "websockets",
    "mcp": "mcp",
}
# How a WebSocket begins (RFC 6455, 1.2), and a session of the Model Context Protocol.
UPGRADE = (
    "GET / HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "smoke", "version": "1"},
    },
}


def main(extras: list[str]) -> dict[str, str]:
    """Each step, and "" or its error."""
    results: dict[str, str] = {}

    def step(name: str, work: Callable[[], object], extra: str = "") -> None:
        try:
            if extra and extra not in extras and find_spec(NEEDED[extra]) is None:
                with suppress(futu_si.MissingExtra):
                    work()
                    raise AssertionError(f"it works without {extra}")
            else:
                assert work()
            results[name] = ""
        except Exception as error:
            results[name] = f"{type(error).__name__}: {error}"

    with tempfile.TemporaryDirectory() as folder, Simulator() as opend:
        os.environ |= {"OPEND_SI_HOME": folder, "OPEND_SI_RATE": "off", "OPEND_PORT": str(opend.port)}
        client = futu_si.Client(opend.host, opend.port)

        def console(*words: str) -> bool:
            command = [sys.executable, "-m", "moomoo_si", *words]
            return subprocess.run(command, capture_output=True, cwd=folder, timeout=60).returncode == 0

        async def ask() -> bool:
            async with futu_si.AsyncClient(opend.host, opend.port) as client:
                both = await asyncio.gather(client.history("HK.00005"), client.get_page("US.AAPL"))
            return all(len(answer) > 0 for answer in both)

        def encrypted() -> bool:
            with Simulator(rsa_key=KEY) as opend, moomoo_si.Client(opend.host, opend.port, rsa_key=KEY) as other:
                return len(other.get_page("HK.00001")) > 0

        def through(bridge: Bridge | None = None) -> Gateway:
            return Gateway(Settings.resolve(host=opend.host, port=opend.port, mode="online"), port=0, websocket=bridge)

        def gateway() -> bool:
            with through() as front, futu_si.Client(front.host, front.port) as behind:
                return len(behind.get_page("HK.00388")) == 10

        def websocket() -> bool:
            bridge = Bridge()
            with through(bridge), socket.create_connection((bridge.host, bridge.port), timeout=30) as link:
                link.sendall(UPGRADE.format(host=bridge.host, port=bridge.port).encode())
                return link.recv(4096).startswith(b"HTTP/1.1 101 ")

        def mcp() -> bool:
            command = [sys.executable, "-m", "moomoo_si", "mcp"]
            pipe = subprocess.PIPE
            with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, cwd=folder, text=True) as server:
                assert server.stdin is not None
                assert server.stdout is not None
                with suppress(BrokenPipeError):  # it has ended already
                    server.stdin.write(json.dumps(INITIALIZE) + "\n")
                    server.stdin.flush()
                answer = server.stdout.readline()
                _, errors = server.communicate(timeout=60)
            if "opend-short-interest[mcp]" in errors:
                raise futu_si.MissingExtra(errors)
            return "serverInfo" in json.loads(answer)["result"]

        step("futu_si drop-in", lambda: len(futu_si.get_short_interest("HK.00700")[2]) == 10)
        step("moomoo_si drop-in", lambda: len(moomoo_si.get_short_interest("HK.00700")[2]) == 10)
        step("page", lambda: json.loads(client.get_page("US.AAPL").to_json())["usItemList"])
        step("history", lambda: len(client.history("HK.00700")) > 100)
        step("second kind", lambda: len(client.history("HK.00700", kind="daily_short_volume")))
        step("sync", lambda: len(client.sync(["HK.00700", "US.AAPL"]).symbols) == 2)
        step("asyncio", lambda: asyncio.run(ask()))
        step("offline", lambda: len(futu_si.Client(mode="offline").history("HK.00700")))
        step("status", lambda: client.status().is_connected)
        step("console", lambda: console("get", "HK.00700", "--csv"))
        step("demo", lambda: console("demo"))
        step("panel", lambda: len(client.panel(market="HK")), "arrow")
        step("screen", lambda: len(client.screen("HK", by="close_price")), "arrow")
        step("arrow_table", lambda: client.arrow_table(market="HK").num_rows, "arrow")
        step("Parquet", lambda: client.export(Path(folder, "out")), "arrow")
        step("CSV", lambda: client.export(Path(folder, "csv"), format="csv"), "arrow")
        step("URL", lambda: client.export(Path(folder, "url").as_uri()), "arrow")
        step("plot", lambda: client.plot("HK.00700"), "plot")
        step("encrypted", encrypted, "encrypt")
        step("gateway", gateway)
        step("WebSocket", websocket, "gateway")
        step("mcp", mcp, "mcp")
        client.close()
    return results


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1:])))
