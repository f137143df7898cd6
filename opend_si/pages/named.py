"""What is asked for, as it is named: a kind of data by its name or its protocol, symbols by one text or by several."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from opend_si.errors import InvalidArgument
from opend_si.symbols import Symbol
from opend_si_schema.calls import CALLS
from opend_si_schema.definitions import Call

# Every call, by its protocol.
BY_PROTOCOL: Final = {call.proto_id: call for call in CALLS}


def call_of(kind: object) -> Call:
    """The call that gives a kind of data; `InvalidArgument` lists them."""
    for call in CALLS:
        if call.name == kind:
            return call
    raise InvalidArgument(f"kind is {kind!r}: it takes {' or '.join(call.name for call in CALLS)}")


def call_of_protocol(protocol: int, whose: str) -> Call:
    """The call of a protocol of which something is recorded; `InvalidArgument` for one that is not bound."""
    if (call := BY_PROTOCOL.get(protocol)) is None:
        raise InvalidArgument(f"{whose}: protocol {protocol} is not bound in this release")
    return call


def listed(codes: object) -> list[object]:
    """Symbols as a user passed them: one text, or several. What each of them is, is not checked."""
    if isinstance(codes, str):
        return [codes]
    if not isinstance(codes, Iterable):
        raise InvalidArgument(f"codes is {codes!r}: it takes symbols, each a text such as HK.00700")
    return list(codes)


def names_of(codes: object) -> list[str]:
    """The symbols that a user passed, each once; `InvalidArgument` for what is none."""
    return list(dict.fromkeys(str(Symbol.parse(code)) for code in listed(codes)))
