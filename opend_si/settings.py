"""Settings: an argument goes before the environment, the environment before the default. Reading them does no I/O."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from opend_si.errors import InvalidArgument
from opend_si_schema.definitions import Rate

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 11111
# Seconds; the published client waits 12 s for a reply.
DEFAULT_TIMEOUT = 12.0

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Settings:
    """How a client reaches OpenD.

    Attributes:
        host: Where OpenD listens (`OPEND_HOST`).
        port: The port it listens on (`OPEND_PORT`).
        timeout: Seconds that a request may take.

    """

    host: str = DEFAULT_HOST
    port: int = DEFAULT_PORT
    timeout: float = DEFAULT_TIMEOUT

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"

    @classmethod
    def resolve(
        cls,
        *,
        host: str | None = None,
        port: int | None = None,
        timeout: float | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> Settings:
        """Settings from arguments (None: not given), the environment and the defaults."""
        env = os.environ if environ is None else environ
        return cls(
            host=_pick(env, "host", host, "OPEND_HOST", _host, DEFAULT_HOST),
            port=_pick(env, "port", port, "OPEND_PORT", _port, DEFAULT_PORT),
            timeout=DEFAULT_TIMEOUT if timeout is None else _timeout("timeout", timeout),
        )


def parse_rate(name: str, text: object) -> Rate | None:
    """Read `30/30` (requests/seconds); None for `off`."""
    if text == "off":
        return None
    requests, slash, seconds = str(text).partition("/")
    try:
        rate = Rate(int(requests), float(seconds))
    except ValueError:
        rate = Rate(0, 0)
    if not slash or rate.requests < 1 or not 0 < rate.seconds < math.inf:
        raise InvalidArgument(f"{name} is {text!r}: it takes requests/seconds such as 30/30, or off")
    return rate


def _pick(
    env: Mapping[str, str], name: str, given: object, variable: str, check: Callable[[str, Any], _T], default: _T
) -> _T:
    if given is not None:
        return check(name, given)
    text = env.get(variable, "").strip()
    return check(variable, text) if text else default


def _host(name: str, value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise InvalidArgument(f"{name} is {value!r}: it takes the name or address of the machine that runs OpenD")
    return value.strip()


def _port(name: str, value: object) -> int:
    port = int(value) if isinstance(value, str) and value.isascii() and value.isdigit() else value  # the environment's
    if not isinstance(port, int) or isinstance(port, bool) or not 1 <= port <= 65535:
        raise InvalidArgument(
            f"{name} is {value!r}: it takes a port from 1 to 65535; OpenD's default is {DEFAULT_PORT}"
        )
    return port


def _timeout(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < math.inf:
        raise InvalidArgument(f"{name} is {value!r}: it takes seconds, more than 0")
    return float(value)
