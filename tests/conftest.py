"""Fixtures that every test file shares: both faces, and a real simulator on a real port."""

import gc
import importlib
import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import lru_cache, partial
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any
from zlib import crc32

import pytest
from hypothesis import settings

from opend_si.simulator import Simulator, Universe
from opend_si_schema.definitions import Call

# What stands beside the tests asserts, too: so it holds with PYTHONOPTIMIZE, and shows what it saw.
pytest.register_assert_rewrite(
    *(f"tests.{path.stem}" for path in Path(__file__).parent.iterdir() if path.stem.isalpha())
)

from tests.processes import COMMANDS, Run, need, run_console  # noqa: E402

# How long an example takes depends on what else the machine does. What failed is printed, not kept: the tree may be
# read-only.
settings.register_profile("shared machine", deadline=None, database=None, print_blob=True)
settings.load_profile("shared machine")

FACES = ("futu_si", "moomoo_si")


def pytest_configure(config: pytest.Config) -> None:
    """What all processes of a run share.

    What matplotlib knows of the machine's fonts is kept in one folder, and in no home.
    """
    if "PYTEST_XDIST_WORKER" not in os.environ:
        fonts = TemporaryDirectory()
        config.add_cleanup(fonts.cleanup)
        os.environ["MPLCONFIGDIR"] = fonts.name
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # The tests were begun in the background. What they begin would ignore it, too.
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_finish() -> None:
    """Leave what is imported and collected out of each search for garbage: it stays to the end, and is large."""
    gc.collect()
    gc.freeze()


def pytest_runtest_setup(item: pytest.Item) -> None:
    """What a test says it needs: `SYSTEM_HAS`."""
    for mark in item.iter_markers("needs"):
        need(*mark.args)


def _move_in(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    monkeypatch.setenv("HOME", str(home))
    for variable in ("OPEND_HOST", "OPEND_PORT", "OPEND_RSA_KEY", "OPEND_SI_CACHE", "OPEND_SI_MAX_AGE"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)  # what is buffered may fail when the interpreter ends
    monkeypatch.delenv("PYTHONOPTIMIZE", raising=False)  # programs of tests assert what they see
    monkeypatch.setenv("OPEND_SI_HOME", str(home / "home"))
    # Tests of the wire look at what the simulator sees; those of the cache and the budget say so themselves.
    monkeypatch.setenv("OPEND_SI_MODE", "bypass")
    monkeypatch.setenv("OPEND_SI_RATE", "off")


@pytest.fixture(scope="session", autouse=True)
def _no_home_of_the_machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What fixtures of a wider scope do leaves nothing in the machine's home either."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        _move_in(monkeypatch, tmp_path_factory.mktemp("session"))
        yield


@pytest.fixture(scope="session", autouse=True)
def forget_markets() -> Iterator[Callable[[], None]]:
    """What a market begins with follows from its seed, and is made once for many tests; this has it made anew.

    Each simulator has a list of its own. The rows in it are replaced, never changed.
    """
    make = Universe._history
    made: list[tuple[str, tuple[Any, ...], str]] = []

    @lru_cache(maxsize=200)
    def begin(seed: int, most_rows: int | None, symbol: str, call: Call) -> tuple[Any, ...]:
        rows = tuple(make(Universe(seed, most_rows=most_rows), symbol, call))
        made.append((symbol, rows, digest(rows)))
        return rows

    def digest(rows: tuple[Any, ...]) -> str:
        return sha256(b"".join(row.SerializeToString(deterministic=True) for row in rows)).hexdigest()

    def begun(self: Universe, symbol: str, call: Call) -> list[Any]:
        return list(begin(self._seed, self._most_rows, symbol, call))

    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(Universe, "_history", begun)
        yield begin.cache_clear
    changed = [symbol for symbol, rows, before in made if digest(rows) != before]
    assert not changed, f"a test changed rows of {changed} that others have, too: let the universe revise them"


@pytest.fixture(autouse=True)
def _own_surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A home and an environment of the test's own: nothing of the machine's gets in, nothing is left behind."""
    _move_in(monkeypatch, tmp_path)


@pytest.fixture(params=FACES)
def face(request: pytest.FixtureRequest) -> ModuleType:
    """Each of the two packages in turn."""
    return importlib.import_module(request.param)


def _one_of(names: tuple[str, str], request: pytest.FixtureRequest) -> str:
    return names[crc32(request.node.name.encode()) % 2]


@pytest.fixture
def one_face(request: pytest.FixtureRequest) -> ModuleType:
    """One of the two packages, always the same for a test: for laws of the engine, of which there is one."""
    return importlib.import_module(_one_of(FACES, request))


@pytest.fixture
def start() -> Iterator[Callable[..., Simulator]]:
    """Starts simulators (arguments as `Simulator` takes them) that stop with the test."""
    with ExitStack() as stack:
        yield lambda **settings: stack.enter_context(Simulator(**settings))


@pytest.fixture
def opend(start: Callable[..., Simulator]) -> Simulator:
    """A simulator without a limit."""
    return start()


@pytest.fixture
def nobody() -> Iterator[int]:
    """A port that is taken and refuses connections: nobody listens, and nobody else can begin to."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


@pytest.fixture
def client(face: ModuleType, opend: Simulator) -> Iterator[Any]:
    """A client of `opend`, of each face in turn."""
    with face.Client(opend.host, opend.port, timeout=5) as client:
        yield client


@pytest.fixture
def console(request: pytest.FixtureRequest) -> Run:
    """Runs an installed console script, now of one face, now of the other: they are one program."""
    return partial(run_console, _one_of(COMMANDS, request))
