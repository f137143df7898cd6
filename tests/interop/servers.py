"""The servers that the examples are run against.

Each is started by its console and found by the addresses that it prints.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.processes import run_console, running

# The page's JavaScript samples hold it.
KEY = "7522027ccf5a06b1"


class Missing(Exception):
    """What is not here; its text completes "not run: "."""


@dataclass(frozen=True)
class Server:
    """Where OpenD's protocol is spoken.

    Attributes:
        websocket: `ws://host:port`, or nothing.
        why_none: If there is no WebSocket port, why.

    """

    host: str
    port: int
    websocket: str = ""
    why_none: str = ""

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"

    @property
    def environ(self) -> dict[str, str]:
        """What leads the examples to it."""
        return {"OPEND_HOST": self.host, "OPEND_PORT": str(self.port), "OPEND_WEBSOCKET": self.websocket}

    @classmethod
    def at(cls, address: str, websocket: str, why_none: str) -> "Server":
        host, _, port = address.strip().rpartition(":")
        return cls(host, int(port), websocket.strip(), why_none)


@contextmanager
def simulator(folder: Path) -> Iterator[Server]:
    """A simulator without a limit; with a WebSocket port where it has one to give."""
    with _started(folder, "simulate", "--port", "0", "--rate", "off") as server:
        yield server


@contextmanager
def attached(folder: Path) -> Iterator[Server]:
    """A gateway in front of a simulator."""
    _need_gateway()
    with simulator(folder) as opend, _started(folder, "gateway", "--port", "0", "--opend", opend.address) as server:
        yield server


@contextmanager
def offline(folder: Path) -> Iterator[Server]:
    """A gateway on its record alone, which a simulator that is gone has filled."""
    _need_gateway()
    with simulator(folder) as opend:
        sync = run_console(
            "futu-si", "sync", "HK.00700", "--host", opend.host, "--port", str(opend.port), **_home(folder)
        )
        assert sync.returncode == 0, sync.stderr
    with _started(folder, "gateway", "--port", "0", "--offline") as server:
        yield server


SERVERS: dict[str, Callable[[Path], AbstractContextManager[Server]]] = {
    "simulator": simulator,
    "gateway": attached,
    "gateway offline": offline,
}


def _need_gateway() -> None:
    if run_console("futu-si", "gateway", "--help").returncode:
        raise Missing("futu-si has no gateway")


def _home(folder: Path) -> dict[str, str]:
    """Records in a folder of its own."""
    return {"OPEND_SI_HOME": str(folder), "OPEND_SI_MODE": "online"}


@contextmanager
def _started(folder: Path, *command: str) -> Iterator[Server]:
    has_websocket = "--websocket-port" in run_console("futu-si", command[0], "--help").stdout
    key = folder / f"{command[0]}.key"
    key.write_text(KEY, encoding="utf-8")
    more = ["--websocket-port", "0", "--websocket-key-file", str(key)] if has_websocket else []
    with (
        (folder / f"{command[0]}.log").open("w+", encoding="utf-8") as log,
        running("futu-si", *command, *more, stderr=log, **_home(folder)) as process,
    ):
        assert process.stdout is not None
        address, websocket = process.stdout.readline(), process.stdout.readline() if has_websocket else ""
        assert address, Path(log.name).read_text(encoding="utf-8")
        yield Server.at(address, websocket, f"futu-si {command[0]} has no --websocket-port")
