"""Values kept in memory, bounded by what they weigh."""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeVar

from opend_si.system import forks

_K = TypeVar("_K")
_V = TypeVar("_V")


class Memory(Generic[_K, _V]):
    """The values that were used last. What is kept must not change: threads share it."""

    def __init__(self, most: int) -> None:
        self._most, self._weight = most, 0
        self._kept: OrderedDict[_K, tuple[_V, int]] = OrderedDict()
        self._lock = forks.new_lock()

    def get(self, key: _K) -> _V | None:
        """The value, None if it is not kept."""
        with self._lock:
            found = self._kept.get(key)
            if found is None:
                return None
            self._kept.move_to_end(key)
            return found[0]

    def keep(self, key: _K, value: _V, weight: int = 1) -> None:
        """Keep a value, and let go of those that were not used for longest. The newest stays whatever it weighs."""
        with self._lock:
            _, before = self._kept.pop(key, (None, 0))
            self._kept[key] = value, weight
            self._weight += weight - before
            while self._weight > self._most and len(self._kept) > 1:
                _, (_, dropped) = self._kept.popitem(last=False)
                self._weight -= dropped
