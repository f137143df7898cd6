"""Where a client stands, and whether OpenD is there and fit for a call.

Each step of the way, and what to do where it ends.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from opend_si.cache.store import Store
from opend_si.client.fetcher import origin_of
from opend_si.errors import CacheError, InvalidArgument, MissingExtra, ProtocolError, ShortInterestError
from opend_si.pages import GATEWAY, OPEND, SIMULATOR
from opend_si.pages.replies import read_reply, read_text
from opend_si.settings import Settings
from opend_si.system.sharing import how_to_share, shared_with
from opend_si.wire.blocking import BlockingConnection
from opend_si.wire.session import GATEWAY_STATUS, GET_GLOBAL_STATE, version_text
from opend_si_schema import common, get_global_state
from opend_si_schema.definitions import Call


@dataclass(frozen=True)
class Status:
    """Where a client stands.

    Attributes:
        address: `host:port` of the OpenD that it asks.
        mode: How the page cache is used.
        cache: The page cache's file; None in mode bypass.
        symbols: Of how many symbols something is recorded.
        is_connected: Whether OpenD answers. Offline it is not asked.
        requests_left: How many requests the rate budget has left now; None where that is not known
            (offline, or OpenD does not answer) or not limited.
        wait: Seconds until the next request may be sent, 0.0 while there are some left; None as `requests_left`.
        error: Why OpenD could not be asked; None if it could, and offline.

    """

    address: str
    mode: str
    cache: Path | None
    symbols: int
    is_connected: bool = False
    requests_left: int | None = None
    wait: float | None = None
    error: ShortInterestError | None = None


# Who answers, by the origin of what they send.
_WHO = {OPEND: "OpenD", GATEWAY: "a gateway", SIMULATOR: "a simulator, whose rows are made up,"}


@dataclass(frozen=True)
class Finding:
    """One step: what was found; for a step that failed, what to do, and the error if one told it."""

    ok: bool
    text: str
    advice: str = ""
    error: ShortInterestError | None = None


def recorded_symbols(cache: Path | None, call: Call) -> int:
    """Of how many symbols something is recorded."""
    if cache is None:
        return 0
    with closing(Store(cache, may_write=False)) as store:
        return sum(store.count_symbols(call.proto_id, table.market.prefix) for table in call.tables)


def examine(settings: Settings, call: Call) -> Iterator[Finding]:
    """The steps in order, up to the first that fails for good. Spends no request of the call's own limit."""
    connection = BlockingConnection(settings.host, settings.port, settings.timeout, settings.rsa_key)
    try:
        try:
            greeting = connection.greeting
            state = _global_state(connection)
            encryption = connection.encryption
            behind = _status(connection) if greeting.is_gateway else None
        except (InvalidArgument, MissingExtra) as error:
            yield Finding(False, "the connection cannot be encrypted", str(error), error)
            return
        except ShortInterestError as error:
            yield Finding(False, f"OpenD at {settings.address} does not answer", str(error), error)
            return
        how = f"encrypted: {encryption}" if encryption else "not encrypted"
        who = _WHO[origin_of(greeting.account)]
        yield Finding(True, f"{who} answers at {settings.address} ({how})")
        if behind is not None:
            yield _gateway(behind)
            if not behind["is_connected"]:
                return  # what else it says of OpenD is made up
        yield _version(greeting.version, call)
        yield _login(state)
        if not greeting.is_gateway:  # which keeps record and budget itself
            yield from _files(settings)
    finally:
        connection.close()


def gateway_status(settings: Settings) -> Mapping[str, Any]:
    """The status of a gateway of this machine, by the names in the guide.

    Raises:
        ShortInterestError: nothing answers there, it is no gateway, or one of another machine.

    """
    connection = BlockingConnection(settings.host, settings.port, settings.timeout, settings.rsa_key)
    try:
        if not connection.greeting.is_gateway:
            raise ProtocolError(
                f"At {settings.address} OpenD itself answers, not a gateway: name the gateway's address."
            )
        status = _status(connection)
    finally:
        connection.close()
    if status is None:
        raise ProtocolError(
            f"The gateway at {settings.address} gives its status on its own machine alone: ask it there."
        )
    return status


def status_line(status: Mapping[str, Any]) -> str:
    """A gateway's status for people."""
    version = f" {status['opend_version']}" if status["opend_version"] else ""
    behind = "offline" if status["mode"] == "offline" else "there" if status["is_connected"] else "away"
    left = "" if status["requests_left"] is None else f", {status['requests_left']} left"
    return (
        f"OpenD{version} at {status['opend']}: {behind}; clients {status['clients']} ({status['attached']} attached, "
        f"{status['detached']} detached); pages answered {status['pages']:,}; requests spent {status['requests']:,}{left}"
    )


def _status(connection: BlockingConnection) -> Mapping[str, Any] | None:
    """A gateway's status; None if it does not give it to this machine."""
    try:
        status = json.loads(connection.request(GATEWAY_STATUS, b""))
    except ValueError:
        return None  # a refusal, which is no JSON
    return status if isinstance(status, dict) else None


def _gateway(status: Mapping[str, Any]) -> Finding:
    is_fit = bool(status["is_connected"]) or status["mode"] == "offline"
    advice = (
        "" if is_fit else f"Start OpenD at {status['opend']} and log in; until then recorded pages alone are answered."
    )
    return Finding(is_fit, f"behind it {status_line(status)}", advice)


def _global_state(connection: BlockingConnection) -> get_global_state.S2C:
    request = get_global_state.Request()
    request.c2s.userID = 0
    body = connection.request(GET_GLOBAL_STATE, request.SerializeToString())
    state: get_global_state.S2C = read_reply(get_global_state.Response, body, "GetGlobalState", "its state")
    return state


def _files(settings: Settings) -> Iterator[Finding]:
    """Record and budget, where other users have to do with them, or where they cannot be."""
    for what, path in (("record", settings.cache), ("rate budget", settings.budget)):
        if advice := how_to_share(path).strip():
            yield Finding(False, f"the {what} {path} is not for this user to write", advice, CacheError(advice))
            continue
        try:
            path.stat()
        except FileNotFoundError:  # it is made when it is needed
            continue
        except OSError as error:
            advice = "See its folder and permissions, or name another folder with OPEND_SI_HOME."
            yield Finding(False, f"the {what} {path} cannot be used ({error.strerror})", advice, CacheError(advice))
            continue
        if group := shared_with(path):
            yield Finding(True, f"the {what} {path} is shared with the group {group}")


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
