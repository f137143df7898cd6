"""Names: from proto spelling to Python spelling."""

import keyword
import re
from collections.abc import Collection, Iterable, Iterator
from itertools import chain, count

_BOUNDARY = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
# Types that rendered code names everywhere: an attribute called so would hide the type from those after it.
TYPE_NAMES = frozenset({"bool", "bytes", "float", "int", "str"})


def snake_case(name: str) -> str:
    """`timestampStr` -> `timestamp_str`, `Qot_GetShortInterest` -> `qot_get_short_interest`."""
    return identifier(_words(name).lower())


def constant_case(name: str) -> str:
    """`short_interest` -> `SHORT_INTEREST`."""
    return identifier(_words(name).upper())


def _words(name: str) -> str:
    return re.sub(r"_+", "_", _BOUNDARY.sub("_", name))


def enum_member(enum: str, value: str) -> str:
    """`RetType_Succeed` of `RetType` -> `SUCCEED`: the prefix repeats the enum's name."""
    # No underscore at the end: an enum keeps names with one at either end for itself.
    return constant_case(value.removeprefix(f"{enum}_").rstrip("_") or value.rstrip("_") or "_")


def enum_members(enum: str, values: Iterable[str]) -> list[str]:
    """The members of all values of an enum; a name that an earlier value has is lengthened by its prefix."""
    members: list[str] = []
    for value in values:
        short = enum_member(enum, value)
        longer = constant_case(value.rstrip("_") or "_")
        members.append(first_free(chain((short, longer), numbered(short)), members))
    return members


def numbered(name: str) -> Iterator[str]:
    """`name_2`, `name_3` and so on."""
    return (f"{name}_{number}" for number in count(2))


def first_free(candidates: Iterable[str], taken: Collection[str]) -> str:
    """The first name that nothing has."""
    return next(name for name in candidates if name not in taken)


def identifier(name: str) -> str:
    """`name`, with an underscore behind it where Python keeps the word for itself, or names a type so."""
    if name[:1].isdigit():
        name = f"_{name}"
    return f"{name}_" if keyword.iskeyword(name) or name in TYPE_NAMES else name
