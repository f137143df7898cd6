"""A client of this package knows a gateway when it meets one.

Record and budget are the gateway's, and nothing is counted or dated twice. `doctor` and `gateway --status` say what
stands behind it.
"""

import asyncio
import json
import signal
import warnings
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from opend_si.errors import CacheMiss, ShortInterestWarning
from opend_si.settings import Settings
from opend_si.simulator import Simulator
from opend_si.wire.aio import AsyncioConnection
from opend_si.wire.blocking import BlockingConnection
from tests.gateway.conftest import Start
from tests.processes import ROOT, Run, at, running

KEY_FILE = ROOT / "tests/data/keys/rsa-1024.pem"


@pytest.mark.parametrize("key_file", [None, KEY_FILE])
def test_a_gateway_is_known_by_both_connections_and_opend_is_not_taken_for_one(
    start: Callable[..., Simulator], front: Start, key_file: Path | None
) -> None:
    opend = start(rsa_key=key_file)
    gateways = [front(opend, rsa_key=key_file), front(opend, rsa_key=key_file, mode="offline")]
    for server in (opend, *gateways):
        with closing(BlockingConnection(server.host, server.port, 5, key_file)) as connection:
            assert connection.greeting.is_gateway is (server is not opend)

        async def greeting(server: Any = server) -> bool:
            connection = AsyncioConnection(server.host, server.port, 5, key_file)
            try:
                return (await connection.greeting()).is_gateway
            finally:
                await connection.close()

        assert asyncio.run(greeting()) is (server is not opend)


def test_a_client_of_the_same_home_shares_the_gateways_record_and_spends_nothing(
    start: Callable[..., Simulator], front: Start, home: Path, face: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    opend = start(rate=face_rate())
    gateway = front(opend, rate="30/30")
    # Of the same folder: the record is the gateway's, and one claim that both wanted would be waited for.
    monkeypatch.setenv("OPEND_SI_HOME", str(home))
    monkeypatch.delenv("OPEND_SI_RATE")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with face.Client(gateway.host, gateway.port, mode="online") as client:
            history = client.history("HK.00700")
            pages = list(client.pages("US.AAPL"))
            assert len(opend.requests) == gateway.answers.spent
            assert client.status().requests_left is None  # the gateway counts
    spent = len(opend.requests)
    with face.Client(opend.host, opend.port, mode="online") as client:
        assert client.history("HK.00700").equals(history)
        assert sum(map(len, client.pages("US.AAPL"))) == sum(map(len, pages))
        assert len(opend.requests) == spent  # all of it was recorded, by the gateway
        status = client.status()
        assert status.requests_left == 30 - spent


def face_rate() -> Any:
    from opend_si_schema.calls import SHORT_INTEREST

    return SHORT_INTEREST.rate


def values(history: Any) -> Any:
    """The rows, without when they were first seen: who keeps nothing sees each anew."""
    return history.drop(columns="known_at")


def test_a_client_with_a_home_of_its_own_keeps_nothing_and_says_so_once(
    opend: Simulator, front: Start, face: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway = front(opend)
    monkeypatch.delenv("OPEND_SI_RATE")
    with face.Client(gateway.host, gateway.port, mode="online") as client:
        with pytest.warns(ShortInterestWarning, match="is a gateway, which keeps the record"):
            first = values(client.history("HK.00700"))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert values(client.history("HK.00700")).equals(first)
            assert len(client.get_page("HK.00700")) == 10
        budget = Settings.resolve().budget
        assert not budget.exists()
    with face.Client(gateway.host, gateway.port, mode="offline") as client, pytest.raises(CacheMiss):
        client.get_page("HK.00700")
    with face.Client(gateway.host, gateway.port, mode="bypass") as client, warnings.catch_warnings():
        warnings.simplefilter("error")
        assert values(client.history("HK.00700")).equals(first)
    requests = len(opend.requests)

    async def again() -> Any:
        async with face.AsyncClient(gateway.host, gateway.port, mode="bypass") as client:
            return await client.history("HK.00700")

    assert values(asyncio.run(again())).equals(first)
    assert len(opend.requests) == requests


@pytest.mark.parametrize("ask", ["history", "pages", "sync", "page"])
def test_so_it_does_where_it_recorded_the_symbol_from_opend_before(
    opend: Simulator, front: Start, face: ModuleType, monkeypatch: pytest.MonkeyPatch, ask: str
) -> None:
    """What stands in its record is no sign that the gateway's is the same."""
    calls: dict[str, Callable[[Any], object]] = {
        "history": lambda client: client.history("HK.00700"),
        "pages": lambda client: list(client.pages("HK.00700")),
        "sync": lambda client: client.sync(["HK.00700"]),
        "page": lambda client: client.get_page("HK.00700", num=5),
    }
    with face.Client(opend.host, opend.port, mode="online") as client:
        client.sync(["HK.00700"])
    opend.universe.publish("HK.00700", 2)
    gateway = front(opend)
    with face.Client(gateway.host, gateway.port, mode="online", max_age=0) as client:
        with pytest.warns(ShortInterestWarning, match="is a gateway, which keeps the record"):
            calls[ask](client)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            calls[ask](client)


# Console --------------------------------------------------------------------------------------------------------------


def test_the_console_runs_a_gateway_and_shows_its_status(opend: Simulator, console: Run, tmp_path: Path) -> None:
    environ = {"OPEND_SI_HOME": str(tmp_path / "desk"), "OPEND_SI_RATE": "30/30"}
    arguments = ("gateway", "--port", "0", "--opend", f"{opend.host}:{opend.port}")
    with running("futu-si", *arguments, **environ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        address = process.stdout.readline().strip()
        host, _, port = address.partition(":")
        through = {"OPEND_HOST": host, "OPEND_PORT": port}
        got = console("get", "HK.00700", "--csv", "--no-cache", **through)
        assert got.stdout == console("get", "HK.00700", "--csv", "--no-cache", **at(opend)).stdout
        status = console("gateway", "--status", "--port", port)
        assert status.returncode == 0, status.stderr
        assert status.stdout == (
            f"OpenD 10.11 at {opend.host}:{opend.port}: there; clients 0 (0 attached, 0 detached); pages answered 1; "
            "requests spent 1, 29 left\n"
        )
        found = json.loads(console("gateway", "--status", "--port", port, "--json").stdout)
        assert found["address"] == address
        assert (found["pages"], found["requests"], found["requests_left"], found["symbols"]) == (1, 1, 29, 1)
        doctor = console("doctor", **through)
        assert doctor.returncode == 0
        assert f"a gateway answers at {address} (not encrypted)" in doctor.stdout
        assert f"behind it OpenD 10.11 at {opend.host}:{opend.port}: there" in doctor.stdout
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 130
        said = process.stderr.read()
        assert process.stdout.read() == ""
    assert f"OpenD 10.11 answers at {opend.host}:{opend.port}" in said
    assert "trade protocols are refused" in said
    assert "Traceback" not in said


def test_doctor_says_that_opend_is_away_behind_a_gateway(console: Run, nobody: int, tmp_path: Path) -> None:
    environ = {"OPEND_SI_HOME": str(tmp_path / "desk")}
    arguments = ("gateway", "--port", "0", "--opend", f"127.0.0.1:{nobody}")
    with running("moomoo-si", *arguments, **environ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        port = process.stdout.readline().strip().rpartition(":")[2]
        doctor = console("doctor", OPEND_HOST="127.0.0.1", OPEND_PORT=port)
        assert doctor.returncode == 6
        assert "FAIL  behind it OpenD at" in doctor.stdout
        assert "Start OpenD" in doctor.stdout
        assert "OpenD is away" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["--opend", "nowhere"], 2, "--opend is 'nowhere'"),
        (["--opend", "127.0.0.1:11110"], 2, "name another port"),
        (["--opend", "127.0.0.1:0"], 2, "port"),
        (["--rsa-key", "/no/such/file", "--port", "0"], 2, "/no/such/file"),
        (["--max-clients", "0"], 2, "--max-clients"),
        (["--patience", "nan"], 2, "--patience"),
        (["--host", "192.0.2.1"], 1, "cannot listen on 192.0.2.1:11110"),
        (["--status", "--port", "1"], 4, "No OpenD at 127.0.0.1:1"),
    ],
)
def test_what_cannot_be_is_refused(console: Run, arguments: list[str], code: int, text: str) -> None:
    done = console("gateway", *arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert text in done.stderr
    assert "Traceback" not in done.stderr


def test_an_opend_has_no_status_of_a_gateway(opend: Simulator, console: Run) -> None:
    done = console("gateway", "--status", "--port", str(opend.port))
    assert done.returncode == 7
    assert "OpenD itself answers, not a gateway" in done.stderr
    assert [request.call for request in opend.requests] == []


def test_a_gateway_without_the_key_of_an_encrypting_opend_does_not_start(
    start: Callable[..., Simulator], console: Run
) -> None:
    opend = start(rsa_key=KEY_FILE)
    done = console("gateway", "--port", "0", "--opend", f"{opend.host}:{opend.port}")
    assert (done.returncode, done.stdout) == (4, "")
    assert "rsa_private_key" in done.stderr
