"""Chaos: faults without end, drawn by weight from a seed, for a simulator's `faults`.

    simulator.faults = Chaos(seed=1)

`drawn` counts them, and `told` has the bodies of the latest replies that were made to say something else: who checks
answers finds there what a client was told, where it is not what the simulator knows.
"""

from __future__ import annotations

import random
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from opend_si.simulator import faults
from opend_si.simulator.faults import Fault

Weights = Mapping[Callable[[], Fault], float]


def sound() -> Fault:
    """None at all."""
    return Fault()


def refusal() -> Fault:
    """OpenD's back end is in trouble."""
    return faults.refuse("NN_ProtoRet_SvrFailed")


# A client that waits for what does not come waits for its whole timeout, so those are rare.
WEIGHTS: Weights = {
    sound: 50,
    **dict.fromkeys((faults.cut, faults.cut_inside), 2),
    **dict.fromkeys((faults.silence, faults.truncated, faults.unknown_serial, faults.short_by_one), 0.5),
    **dict.fromkeys((faults.late, faults.dribble, faults.twice, faults.stranger_before), 3),
    **dict.fromkeys((faults.push_before, faults.push_around), 3),
    **dict.fromkeys((faults.wrong_checksum, faults.wrong_magic, faults.garbage, faults.json_body), 2),
    **dict.fromkeys((faults.announce, faults.begun_anew, faults.another_protocol), 2),
    **dict.fromkeys((faults.undecodable, faults.broken_text, faults.no_content), 2),
    **dict.fromkeys((refusal, faults.no_next_key, faults.leads_back, faults.no_rows), 1),
    **dict.fromkeys((faults.rows_out_of_order, faults.row_doubled, faults.row_without_time), 1),
}
# Replies whose bodies are kept in `told`: more than overlap at any time.
_TOLD = 256


class Chaos(deque[Fault]):
    """A queue of faults that is never used up. What is put into it comes first.

    Args:
        seed: Which faults, in which order.
        weights: How often each is drawn.

    Attributes:
        drawn: How often each was drawn, by its name.
        told: Bodies of the latest replies that were altered.

    """

    def __init__(self, seed: int, weights: Weights = WEIGHTS) -> None:
        super().__init__()
        self._chance = random.Random(seed)
        self._kinds, self._weights = list(weights), list(weights.values())
        self.drawn: Counter[str] = Counter()
        self.told: deque[bytes] = deque(maxlen=_TOLD)

    def __bool__(self) -> bool:
        return True

    def popleft(self) -> Fault:
        """The next fault."""
        if len(self):
            return super().popleft()
        [kind] = self._chance.choices(self._kinds, self._weights)
        self.drawn[kind.__name__] += 1
        return self._noted(kind())

    @property
    def spoiled(self) -> int:
        """How many replies were not left alone."""
        return self.drawn.total() - self.drawn[sound.__name__]

    def _noted(self, fault: Fault) -> Fault:
        def alter(reply: Any) -> None:
            before = reply.SerializeToString()
            fault.alter(reply)
            if (after := reply.SerializeToString()) != before:
                self.told.append(after)

        return replace(fault, alter=alter)
