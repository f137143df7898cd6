"""The clock is set ahead and back, between questions and under them, by milliseconds and by days: no answer is wrong
for it.

The programs and their laws are those of `tests.stress.clocks`, whose oracle shares no code with the engine; here
hypothesis chooses, and makes what it finds small. `python -m tests.stress.clocks` runs thousands.
"""

import random
import tempfile
from collections import Counter
from itertools import pairwise
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from opend_si.cache.versions import Clock, Event
from tests.stress.clocks import Program, quiet


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.randoms(use_true_random=False))
def test_every_answer_is_right_whatever_the_clock_does(chance: random.Random) -> None:
    with quiet(), tempfile.TemporaryDirectory() as folder:
        Program(chance, Path(folder), Counter()).run(6)


@given(st.lists(st.integers(0, 30), min_size=1, max_size=30), st.integers(-1, 31))
def test_what_had_been_recorded_at_a_moment_is_what_came_before_the_clock_last_showed_it(
    moments: list[int], moment: int
) -> None:
    """Against the plain words: the last event that was not after the moment, and all before it."""
    events = [Event(seq, at) for seq, at in enumerate(moments, 1)]
    steps = tuple(after for before, after in pairwise(events) if after.at < before.at)
    clock = Clock(events[-1], steps)
    last = max((event.seq for event in events if event.at <= moment), default=0)
    assert [clock.has_been(event, moment) for event in events] == [event.seq <= last for event in events]
    for event in events:
        later = [other.at for other in events if other.seq > event.seq]
        assert clock.was_ahead(event, moment) == (moment < event.at or any(at < event.at for at in later))
