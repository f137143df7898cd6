"""Bytes that are nearly right: nothing but answers and named errors comes of them. `make fuzz` feeds far more."""

import gc
import random
import subprocess
import sys
import tracemalloc
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opend_si.errors import OpenDError, ProtocolError
from opend_si.pages import Content, PageKey
from opend_si.wire.framing import FrameDecoder
from tests.processes import ROOT
from tests.stress.mutate import chunks, mutated, sealed
from tests.stress.targets import TARGETS, Failed, run, samples

# Seconds after which it is taken to hang: a bound, never a measure.
PATIENCE = 60
# How much each target is fed here: about a second.
COUNTS = {
    "frames": 60_000,
    "replies": 15_000,
    "sessions": 30_000,
    "ciphers": 8_000,
    "walks": 20_000,
    "cuts": 30_000,
    "links": 1_000,
}


@pytest.mark.parametrize("name", COUNTS)
def test_nothing_but_answers_and_named_errors(name: str) -> None:
    run(name, 0, COUNTS[name])


def test_questions_to_a_hostile_peer_end() -> None:
    # In a process of its own: what hangs there is killed.
    command = [sys.executable, "-m", "tests.stress.fuzz", "questions", "--count", "2000"]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=PATIENCE)


def test_frames_leave_nothing_behind() -> None:
    run("frames", 0, 1000)
    tracemalloc.start()
    try:
        run("frames", 1000, 10_000)
        gc.collect()  # errors and their tracebacks hold each other
        before, _ = tracemalloc.get_traced_memory()
        run("frames", 20_000, 10_000)
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 64 * 1024


@given(st.binary(max_size=400), st.sampled_from(samples()))
def test_any_body_is_content_or_a_named_error(body: bytes, sample: tuple[PageKey, bytes]) -> None:
    key, _ = sample
    with suppress(ProtocolError, OpenDError):
        Content.read(key, body)


def test_what_is_fed_is_nearly_right() -> None:
    chance = random.Random(1)
    _, body = samples()[1]
    frame = sealed(3249, 1, body)
    assert [whole.body for whole in FrameDecoder().feed(frame)] == [body]
    spoiled = [mutated(frame, chance) for _ in range(200)]
    assert sum(other != frame for other in spoiled) > 190
    assert sum(len(chunks(frame, chance)) > 1 for _ in range(100)) > 20
    assert all(b"".join(chunks(other, chance)) == other for other in spoiled)


def test_a_round_that_fails_tells_how_to_have_it_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(chance: random.Random) -> int:
        raise KeyError("no named error")

    monkeypatch.setitem(TARGETS, "breaks", breaks)
    with pytest.raises(Failed, match=r"python -m tests\.stress\.fuzz breaks --first 3 --count 1"):
        run("breaks", 3, 10)
