"""What was used lately, bounded, so that a repeated question costs one look-up."""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeVar

from opend_si.locks import ForkLock

_K = TypeVar("_K")
_V = TypeVar("_V")


class Memory(Generic[_K, _V]):
    """The values that were used last. What is kept must not change: threads share it."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: OrderedDict[_K, _V] = OrderedDict()
        self._lock = ForkLock()

    def get(self, key: _K) -> _V | None:
        """The value, None if it is not kept."""
        with self._lock:
            value = self._kept.get(key)
            if value is not None:
                self._kept.move_to_end(key)
            return value

    def keep(self, key: _K, value: _V) -> None:
        """Keep a value, and let go of the one that was not used for longest."""
        with self._lock:
            self._kept[key] = value
            if len(self._kept) > self._most:
                self._kept.popitem(last=False)
