"""What a fork means for the rest of the package. This is the only fork rule; every room uses it.

A forked child has one thread, the one that forked. Three things need care:

- A lock that another thread held at the fork is never given back in the child. `new_lock` makes locks that are free
  there.
- Sockets and SQLite's connections belong to the parent. `leave_in_child` registers what has to let go of them.
- SQLite's own notes of its locks are copied, and nobody undoes them. `new_lock_for_files` makes locks that no thread
  holds while a fork is made: the fork waits for them.

All of it is done before `os.fork` returns, so that no thread of the child can come between. Everything is registered
weakly: what is no longer used is forgotten.

Interrupts: a lock is taken and given back by `with` alone, on the lock itself. Its `__enter__` and `__exit__` are C,
and Python handles signals between two of its own instructions, never inside them: either the lock is held and the
`with` has noted it, or neither. An `__enter__` in Python, or `acquire()` before `try`, has a gap in which Ctrl-C leaves
the lock held for ever.
"""

from __future__ import annotations

import operator
import os
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from itertools import repeat
from typing import Any, Protocol

# A fork waits for at most so many seconds until no thread uses a file.
_FORK_SECONDS = 10


class Inherited(Protocol):
    """What has something of the parent's in a child."""

    def leave_parent(self) -> object:
        """Forget in the child what is the parent's, without touching the parent. It may be called twice."""


_LOCKS: set[weakref.ref[Any]] = set()
_LOCKS_FOR_FILES: set[weakref.ref[Any]] = set()
_INHERITED: set[weakref.ref[Inherited]] = set()
# What a child has of its parent's and must neither use nor close.
_LEFT_ALONE: list[object] = []


def new_lock() -> threading.Lock:
    """A lock for `with` that a forked child finds free."""
    lock = threading.Lock()
    _LOCKS.add(weakref.ref(lock, _LOCKS.discard))
    return lock


def new_lock_for_files() -> threading.RLock:
    """A lock for `with` that is held while a file is in use; a thread may take it again. No fork is made meanwhile."""
    lock = threading.RLock()
    _LOCKS.add(weakref.ref(lock, _LOCKS.discard))
    _LOCKS_FOR_FILES.add(weakref.ref(lock, _LOCKS_FOR_FILES.discard))
    return lock


def leave_in_child(thing: Inherited) -> None:
    """Call `leave_parent` of a thing in every child, before anything else uses the thing there."""
    _INHERITED.add(weakref.ref(thing, _INHERITED.discard))


def leave_alone(thing: object) -> None:
    """Keep a thing of the parent's, so that it is not closed when nothing else refers to it."""
    _LEFT_ALONE.append(thing)


def _on_each(locks: set[weakref.ref[Any]], act: Callable[[Any], object], which: Any = None) -> Callable[[], object]:
    """Acts on each lock (or only on those of `which`) at every call, without one instruction of Python's in between.

    An interrupt during a fork is raised in the first hook that is Python code, and is lost there with the rest of the
    hook. A hook that gives locks back may not end in its middle: so it is a chain of iterators that are all C.
    """
    known: Iterator[Any] = map(tuple, repeat(locks))  # at each step what is known by then
    living = map(partial(filter, None), map(partial(map, operator.call), known))
    chosen = map(partial(filter, which), living)
    return map(partial(deque, maxlen=0), map(partial(map, act), chosen)).__next__


def _leave_parents() -> None:
    while True:
        try:
            for known in tuple(_INHERITED):
                if (thing := known()) is not None:
                    thing.leave_parent()
            return
        except KeyboardInterrupt:
            continue  # a hook cannot pass it on; half of this would leave the child with the parent's links


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_on_each(_LOCKS_FOR_FILES, operator.methodcaller("acquire", True, _FORK_SECONDS)),
        # Those that were not had within the time are another thread's.
        after_in_parent=_on_each(
            _LOCKS_FOR_FILES, operator.methodcaller("release"), which=operator.methodcaller("_is_owned")
        ),
    )
    os.register_at_fork(after_in_child=_on_each(_LOCKS, operator.methodcaller("_at_fork_reinit")))
    os.register_at_fork(after_in_child=_leave_parents)
