"""A WebSocket client that does not read costs the bridge less than 2 MiB, others nothing, and itself not one push."""

import sys

import pytest

from tests.server.flood import cost_of_a_slow_reader


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_under_a_flood_of_pushes() -> None:
    assert cost_of_a_slow_reader(count=30_000, size=1000) < 2048
