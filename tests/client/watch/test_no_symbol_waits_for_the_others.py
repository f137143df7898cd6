"""Under a limit that is too small for a list, its symbols are asked for in turn, whoever else uses the limit up."""

from __future__ import annotations

import subprocess
from collections import Counter
from itertools import count, groupby
from pathlib import Path
from typing import Any

import pytest

from opend_si.server.refusals import rate_text
from opend_si.simulator import Universe
from opend_si.simulator.server import Refused
from opend_si_schema.definitions import Rate
from tests.cache.processes import OpenD
from tests.client.watch.conftest import read
from tests.processes import at, running

CODES = [f"US.A{number:02}" for number in range(12)]
RATE = Rate(4, 0.2)


class UsedUp(OpenD):
    """An OpenD whose limit others use up again and again: two requests of nine are refused, one after the other."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._number = count()

    def _rows(self, key: Any) -> Any:
        if next(self._number) % 9 > 6:
            raise Refused(rate_text(key.call, RATE))
        return super()._rows(key)


def turns(opend: OpenD) -> Counter[str]:
    """How often each symbol was asked for. One that is refused is asked for a second time at once: that is one turn."""
    asked = [request.symbol for request in list(opend.requests)]
    return Counter(symbol for symbol, _ in groupby(asked))


@pytest.mark.parametrize("kind", [OpenD, UsedUp])
def test_each_symbol_has_its_turn(tmp_path: Path, kind: type[OpenD]) -> None:
    with kind(Universe(symbols=CODES, most_rows=5), rate=RATE) as opend:
        environ = {"OPEND_SI_HOME": str(tmp_path / "kept"), "OPEND_SI_RATE": "4/0.2", **at(opend)}
        command = ("watch", *CODES, "--poll", "0.05")
        with running("futu-si", *command, stderr=subprocess.DEVNULL, **environ) as watching:
            while min(turns(opend)[code] for code in CODES) < 3:
                assert len(opend.requests) < 20 * len(CODES)
                opend.wait_for_requests(len(opend.requests) + 1)
            for code in reversed(CODES):
                opend.universe.publish(code)
            lines = [read(watching) for _ in CODES]
        counts = turns(opend)
    assert sorted(line["symbol"] for line in lines) == CODES
    assert max(counts.values()) - min(counts.values()) <= 1
    assert all(request.accepted for request in opend.requests) == (kind is OpenD)
