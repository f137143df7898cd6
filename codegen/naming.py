"""Names: from proto spelling to Python spelling."""

import keyword
import re

_BOUNDARY = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


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
    return constant_case(value.removeprefix(f"{enum}_"))


def identifier(name: str) -> str:
    """`name`, with an underscore behind it where Python keeps the word for itself."""
    if name[:1].isdigit():
        name = f"_{name}"
    return f"{name}_" if keyword.iskeyword(name) else name
