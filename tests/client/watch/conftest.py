"""Watches of one record, on a clock of the test's own; and OpenDs: what a simulator made up is a subject of its own."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from opend_si.client.watch import schedule
from opend_si.client.watch.watching import Line, Watch
from opend_si.simulator import Simulator
from opend_si.simulator.server import Refused
from tests.cache.processes import OpenD
from tests.processes import running


@pytest.fixture
def start() -> Iterator[Callable[..., Simulator]]:
    """Starts OpenDs (arguments as `Simulator` takes them) that stop with the test."""
    with ExitStack() as stack:
        yield lambda **settings: stack.enter_context(OpenD(**settings))


class Jumping(schedule.Clock):
    """A clock that is somewhere at once. Things happen on the way."""

    def __init__(self, start: datetime) -> None:
        self.at = start
        self.events: list[tuple[datetime, Callable[[], object]]] = []

    def now(self) -> datetime:
        return self.at

    def sleep_until(self, moment: datetime) -> None:
        assert moment > self.at, "a watch that does not sleep"
        for event in sorted(self.events, key=lambda event: event[0]):
            if self.at < event[0] <= moment:
                event[1]()
        self.at = moment


@pytest.fixture
def record(tmp_path: Path) -> dict[str, Any]:
    return {"cache": tmp_path / "pages.sqlite3", "timeout": 5}


@pytest.fixture
def make(one_face: ModuleType, record: dict[str, Any], tmp_path: Path) -> Iterator[Callable[..., Watch]]:
    """Makes watches of one record and one state; their lines and notes are added to lists."""
    clients: list[Any] = []

    def made(
        opend: Simulator, codes: list[str], lines: list[Line], notes: list[str] | None = None, **more: Any
    ) -> Watch:
        online = one_face.Client(port=opend.port, mode="online", max_age=0, **record)
        offline = one_face.Client(mode="offline", cache=record["cache"])
        clients.extend((online, offline))
        note = (notes if notes is not None else list[str]()).append

        def report(line: Line, noted: Callable[[], None]) -> None:
            noted()
            lines.append(line)

        more = {"report": report, "kind": "short_interest", **more}
        return Watch(online, offline, codes, state=tmp_path / "watch.json", note=note, **more)

    yield made
    for client in clients:
        client.close()


def named(lines: list[Line]) -> list[tuple[str, str, str]]:
    return [(line["symbol"], f"{line['date']:%Y-%m-%d}", line["what"]) for line in lines]


def read(process: subprocess.Popen[str]) -> dict[str, Any]:
    assert process.stdout is not None
    line: dict[str, Any] = json.loads(process.stdout.readline())
    return line


class NotLoggedIn(OpenD):
    """An OpenD that refuses for a reason that passes."""

    is_refusing = True

    def _rows(self, key: Any) -> Any:
        if self.is_refusing:
            raise Refused("not logged in yet")
        return super()._rows(key)


@contextmanager
def gateway(opend: Simulator, home: Path, *arguments: str) -> Iterator[dict[str, str]]:
    """A gateway in front of an OpenD, with the record of a folder; gives the environment that leads to it."""
    command = ("gateway", "--port", "0", "--opend", f"{opend.host}:{opend.port}", "--max-age", "0", *arguments)
    environ = {"OPEND_SI_HOME": str(home), "OPEND_SI_RATE": "off"}
    with running("futu-si", *command, **environ, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        host, _, port = process.stdout.readline().strip().partition(":")
        yield {"OPEND_HOST": host, "OPEND_PORT": port}
