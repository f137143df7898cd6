"""Frames of histories that were given lately, to be given again while nothing that they are made of has changed.

What is kept is nobody's: who asks gets a copy that shares nothing with it.
"""

from __future__ import annotations

import weakref
from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from opend_si.cache.versions import Event
from opend_si.history.memory import Memory
from opend_si.history.symbol import SymbolRecord
from opend_si.tables import copy_apart, frame_bytes

if TYPE_CHECKING:
    import pandas as pd

# What frames may take in memory, in bytes: some hundred histories of weekly rows.
MAX_BYTES = 32_000_000
# Questions of which it is remembered that they were asked once.
MAX_QUESTIONS = 4096


class Ground(NamedTuple):
    """What a history is made of, where nothing has to be asked for.

    Attributes:
        record: What is recorded of the symbol. It never changes: what is recorded after it makes a new one.
        steps: The events at which the clock was set back: they say which moments are known.
        now: The moment of the question, in milliseconds.

    """

    record: SymbolRecord
    steps: tuple[Event, ...]
    now: int


class _Kept(NamedTuple):
    """A frame, and what it is made of; none of its moments is later than `latest`."""

    record: weakref.ref[SymbolRecord]
    steps: tuple[Event, ...]
    latest: int
    frame: pd.DataFrame


class Frames:
    """The frames that were given last, by what was asked for. Threads share it.

    A frame is kept when it is asked for the second time: most are asked for once, and keeping one is a copy.
    """

    def __init__(self) -> None:
        self._kept: Memory[Hashable, _Kept] = Memory(MAX_BYTES)
        self._asked: Memory[Hashable, bool] = Memory(MAX_QUESTIONS)

    def get(self, asked: Hashable, ground: Ground) -> pd.DataFrame | None:
        """A new frame, the caller's to change; None where none was kept that is still right."""
        kept = self._kept.get(asked)
        if kept is None or kept.record() is not ground.record or kept.steps != ground.steps or kept.latest > ground.now:
            return None
        return copy_apart(kept.frame)

    def keep(self, asked: Hashable, ground: Ground, known_at: Sequence[int | None], frame: pd.DataFrame) -> None:
        """Keep a frame that is given now. One with moments that are not known is not kept: they may be known later."""
        if not self._asked.get(asked):
            self._asked.keep(asked, True)
            return
        moments = [moment for moment in known_at if moment is not None]
        if len(moments) == len(known_at):
            kept = _Kept(weakref.ref(ground.record), ground.steps, max(moments, default=0), copy_apart(frame))
            self._kept.keep(asked, kept, frame_bytes(frame))
