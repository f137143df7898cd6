"""The published clients through a gateway get what they get from OpenD itself: pages to the end, passed calls, pushes,
plain, encrypted and in JSON; and when OpenD dies and comes back they are served from the record, and get pushes again.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from threading import Timer
from typing import Any

import pytest

from opend_si.gateway import policy
from opend_si.simulator import Simulator
from opend_si.wire.framing import JSON, PROTOBUF
from tests.gateway import published
from tests.gateway.conftest import Start
from tests.processes import ROOT, compat

pytestmark = pytest.mark.filterwarnings("ignore:.* is answered from the record")

BRANDS = ("futu", "moomoo")
KEY_FILE = ROOT / "tests/data/keys/rsa-1024.pem"
# Seconds until a process counts as stuck.
LIMIT = 60
QUOTE, SUB, TRADING_DAYS = 3005, 3001, 3219


class Published:
    """A published client in a process of its own."""

    def __init__(self, process: "subprocess.Popen[str]", log: Path) -> None:
        self._process, self._log = process, log

    def __call__(self, job: str, **named: Any) -> Any:
        """Do a job, a method of `published.Client`."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        timer = Timer(LIMIT, self._process.kill)
        timer.start()
        try:
            with suppress(BrokenPipeError):
                print(json.dumps([job, named]), file=self._process.stdin, flush=True)
            answer = self._process.stdout.readline()
        finally:
            timer.cancel()
        assert answer, f"the published client has ended:\n{self._log.read_text()[-3000:]}"
        return json.loads(answer)


@contextmanager
def process(brand: str, home: Path, protobuf: str = "") -> Iterator[Published]:
    home.mkdir(exist_ok=True)
    log = home / f"{brand}.log"
    environ = {**os.environ, "HOME": str(home)}
    if protobuf:
        environ["PYTHONPATH"] = str(compat(f"protobuf-{protobuf}"))
    with (
        log.open("w") as stderr,
        subprocess.Popen(
            [sys.executable, published.__file__, brand],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            env=environ,
        ) as running,
    ):
        try:
            yield Published(running, log)
        finally:
            running.kill()


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Callable[..., Published]]:
    """Starts published clients, which end with the test; on a release of protobuf if one is named."""
    with ExitStack() as stack:
        yield lambda brand, protobuf="": stack.enter_context(process(brand, tmp_path / "home", protobuf))


def teach(opend: Simulator, made: dict[str, str]) -> None:
    """Have the simulator answer what it does not know itself."""
    for proto_id in (SUB, TRADING_DAYS):
        body = bytes.fromhex(made[str(proto_id)])
        opend.others[proto_id] = partial(_given, body)


def _given(body: bytes, _: bytes) -> bytes:
    return body


# What the published clients read JSON with asks for a label of fields, which protobuf 7 does not have.
READS_JSON = "6.33"


@pytest.mark.parametrize("brand", BRANDS)
@pytest.mark.parametrize("how", ["plain", "encrypted", "json", "encrypted json"])
def test_all_is_as_with_opend_itself(
    start: Callable[..., Simulator], front: Start, client: Callable[..., Published], brand: str, how: str
) -> None:
    key_file = KEY_FILE if "encrypted" in how else None
    is_json = "json" in how
    opend = start(rsa_key=key_file)
    gateway = front(opend, rsa_key=key_file)
    ask = client(brand, READS_JSON if is_json else "")
    named = {"rsa_key": str(key_file or ""), "is_json": is_json}
    teach(opend, ask("make", price=470.5, is_json=is_json))
    answers = []
    for server in (opend, gateway):
        ask("open", host=server.host, port=server.port, **named)
        state = ask("state")
        assert state[0] == 0
        walks = [ask("walk", code=code, num=num) for code in ("HK.00700", "US.AAPL") for num in (50, 10)]
        refused = [ask("page", code="HK.99999"), ask("page", code="HK.00700", next_key="abc")]
        assert ask("trading_days") == [0, published.DAYS]
        assert ask("subscribe")[0] == 0
        quote = bytes.fromhex(ask("make", price=470.5, is_json=is_json)[str(QUOTE)])
        opend.push(QUOTE, quote, JSON if is_json else PROTOBUF)
        assert ask("pushed", count=1) == [470.5]
        ask("close")
        answers.append((walks, refused))
    assert answers[0] == answers[1]


@pytest.mark.parametrize("brand", BRANDS)
def test_a_trade_context_is_told_why(
    opend: Simulator, front: Start, client: Callable[..., Published], brand: str
) -> None:
    gateway = front(opend)
    ret, text = client(brand)("trade", host=gateway.host, port=gateway.port)
    assert ret == -1
    assert policy.NO_TRADE in text


@pytest.mark.parametrize("brand", BRANDS)
def test_opend_may_die_and_come_back(front: Start, client: Callable[..., Published], brand: str) -> None:
    ask = client(brand)
    made = ask("make", price=1.5)
    with Simulator() as opend:
        teach(opend, made)
        gateway = front(opend)
        ask("open", host=gateway.host, port=gateway.port)
        assert ask("subscribe")[0] == 0
        walked = ask("walk", code="HK.00700", num=50)
        requests = len(opend.requests)
    again, seconds = ask("walk_patiently", code="HK.00700", num=50)
    assert again == walked
    assert seconds < published.PATIENCE
    with Simulator(port=opend.port) as back:
        teach(back, made)
        subscribed = 0

        def count(body: bytes) -> bytes:
            nonlocal subscribed
            subscribed += 1
            back.push(QUOTE, bytes.fromhex(made[str(QUOTE)]))
            return bytes.fromhex(made[str(SUB)])

        # The client subscribes anew by itself, once its detached link has ended and it is attached.
        back.others[SUB] = count
        assert ask("pushed", count=1) == [1.5]
        assert subscribed
        assert ask("walk", code="HK.00700", num=50) == walked
    assert requests == len(walked)
