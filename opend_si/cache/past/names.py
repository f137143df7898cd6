"""How versions are named where others are made from them."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

from opend_si.cache.versions import Version

# Which version of which page.
Name = tuple[str, int, int]
Page = tuple[str, int]
# What damage does to one who reads a block.
FAULTS = ValueError, KeyError, TypeError, IndexError, zlib.error


class Unreadable(Exception):
    """A block is not what was written, or what it is made from is not there."""


def name_of(version: Version) -> Name:
    """Which of a symbol's versions it is."""
    return version.next_key, version.num, version.version


def page_of(version: Version) -> Page:
    """Of which page it is a version."""
    return version.next_key, version.num


def read_name(told: Sequence[Any]) -> Name:
    """A name as JSON has it."""
    return str(told[0]), int(told[1]), int(told[2])


def steps(numbers: Sequence[int]) -> list[int]:
    """What each number adds to the one before."""
    return [number - last for last, number in zip((0, *numbers), numbers, strict=False)]


def sums(steps: Sequence[int]) -> list[int]:
    """The numbers of steps."""
    return list(accumulate(steps))
