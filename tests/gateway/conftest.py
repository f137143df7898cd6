"""Gateways on real ports in front of whatever a test names, and OpenDs that a test holds in its hand."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, Protocol

import pytest

from opend_si.gateway.server import Gateway
from opend_si.settings import Settings
from opend_si.simulator import Universe
from tests.cache.processes import OpenD
from tests.gateway.raw import HeldOpenD

Start = Callable[..., Gateway]


class Address(Protocol):
    """Where an OpenD is, or was."""

    host: str
    port: int


@pytest.fixture
def opend() -> Iterator[OpenD]:
    """An OpenD: what a simulator made up is not given where nobody can be asked."""
    with OpenD() as opend:
        yield opend


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """The folder of the gateways' files."""
    return tmp_path / "gateway"


@pytest.fixture
def front(home: Path) -> Iterator[Start]:
    """Starts gateways in front of an OpenD; `log` is what each reported."""
    with ExitStack() as stack:

        def start(
            opend: Address, *, rate: str = "off", rsa_key: Path | None = None, mode: str = "online", **named: Any
        ) -> Gateway:
            settings = Settings.resolve(
                host=opend.host,
                port=opend.port,
                rsa_key=rsa_key,
                mode=mode,
                max_age=named.pop("max_age", 3600),
                environ={"OPEND_SI_HOME": str(home), "OPEND_SI_RATE": rate},
            )
            log: list[str] = []
            gateway = Gateway(settings, port=named.pop("port", 0), log=log.append, **named)
            gateway.lines = log  # type: ignore[attr-defined]
            return stack.enter_context(gateway)

        yield start


@pytest.fixture
def held() -> Iterator[HeldOpenD]:
    """An OpenD whose links are the test's."""
    with closing(HeldOpenD(Universe(symbols=("HK.00700",), most_rows=120))) as opend:
        yield opend
