"""Kinds of data: how users name the calls that are bound."""

from __future__ import annotations

from opend_si.errors import InvalidArgument
from opend_si_schema.calls import CALLS
from opend_si_schema.definitions import Call


def call_of(kind: object) -> Call:
    """The call that gives a kind of data; `InvalidArgument` lists them."""
    for call in CALLS:
        if call.name == kind:
            return call
    raise InvalidArgument(f"kind is {kind!r}: it takes {' or '.join(call.name for call in CALLS)}")
