"""Whether OpenD is there and fit for a call: each step of the way, and what to do where it ends."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from opend_si.errors import InvalidArgument, MissingExtra, ShortInterestError
from opend_si.replies import read_reply, read_text
from opend_si.settings import Settings
from opend_si.wire.blocking import BlockingConnection
from opend_si.wire.session import GET_GLOBAL_STATE, version_text
from opend_si_schema import common, get_global_state
from opend_si_schema.definitions import Call


@dataclass(frozen=True)
class Finding:
    """One step: what was found; for a step that failed, what to do, and the error if one told it."""

    ok: bool
    text: str
    advice: str = ""
    error: ShortInterestError | None = None


def examine(settings: Settings, call: Call) -> Iterator[Finding]:
    """The steps in order, up to the first that fails for good. Spends no request of the call's own limit."""
    connection = BlockingConnection(settings.host, settings.port, settings.timeout, settings.rsa_key)
    try:
        try:
            greeting = connection.greeting
            state = _global_state(connection)
            encryption = connection.encryption
        except (InvalidArgument, MissingExtra) as error:
            yield Finding(False, "the connection cannot be encrypted", str(error), error)
            return
        except ShortInterestError as error:
            yield Finding(False, f"OpenD at {settings.address} does not answer", str(error), error)
            return
        how = f"encrypted: {encryption}" if encryption else "not encrypted"
        yield Finding(True, f"OpenD answers at {settings.address} ({how})")
        yield _version(greeting.version, call)
        yield _login(state)
    finally:
        connection.close()


def _global_state(connection: BlockingConnection) -> get_global_state.S2C:
    request = get_global_state.Request()
    request.c2s.userID = 0
    body = connection.request(GET_GLOBAL_STATE, request.SerializeToString())
    state: get_global_state.S2C = read_reply(get_global_state.Response, body, "GetGlobalState", "its state")
    return state


def _version(version: int, call: Call) -> Finding:
    text = f"version {version_text(version)}; {call.title} (protocol {call.proto_id}) needs {version_text(call.since)}"
    advice = f"Update OpenD to {version_text(call.since)} or later: this one does not know the call."
    return Finding(version >= call.since, text, "" if version >= call.since else advice)


def _login(state: get_global_state.S2C) -> Finding:
    if state.qotLogined:
        return Finding(True, "logged in to the quote servers")
    kind = state.programStatus.type
    status = common.ProgramStatusType(kind).name if kind in list(common.ProgramStatusType) else str(kind)
    said = read_text(state.programStatus, "strExtDesc")
    told = f" ({said})" if said else ""
    return Finding(
        False,
        f"not logged in to the quote servers: program status {status}{told}",
        "Log in in OpenD's window or its configuration, and answer what it asks for (verification code, agreement).",
    )
