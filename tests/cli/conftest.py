"""The console asks an OpenD here; what it says of made-up rows is tested in tests/cache."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from opend_si.simulator import Simulator
from tests.cache.processes import OpenD


@pytest.fixture
def start() -> Iterator[Callable[..., Simulator]]:
    """Starts OpenDs (arguments as `Simulator` takes them) that stop with the test."""
    with ExitStack() as stack:
        yield lambda **settings: stack.enter_context(OpenD(**settings))
