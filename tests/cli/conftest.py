"""The console asks an OpenD here. Of made-up rows it says more: tests/cache/test_made_up_rows_never_pass_for_others.py."""

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
