"""Settings: an argument goes before the environment, the environment before the default. Reading them does no I/O."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import Enum, StrEnum
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias, TypeVar

from opend_si.dates import read_span
from opend_si.errors import InvalidArgument
from opend_si.errors.texts import address_text
from opend_si.system.files import user_file
from opend_si.system.home import BUDGET_FILE, PAGES_FILE, default_home
from opend_si_schema.definitions import Rate

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 11111
# Seconds; the published client waits 12 s for a reply.
DEFAULT_TIMEOUT = 12.0
# Seconds; rows come weekly or twice a month, values can be revised at any time.
DEFAULT_MAX_AGE = 12 * 3600.0
# A thousand years: whoever means for ever says None.
_LONGEST_AGE = 3.2e10
# How an RSA private key begins in base64; the shortest has some 300 characters.
_DER, _LONG = "MII", 200
# Seconds below which a timeout can only be a mistake, such as one in other units: nothing is answered in so short a
# time.
MIN_TIMEOUT = 0.001
# Longest time in seconds that a request, and so the right to fetch a page, may last.
MAX_TIMEOUT = 3600.0
# The most that a limit to keep can be. Who takes a slot reads all those of a window: of more, for so long that all wait
# for the file, and a window of more is as good as for ever.
MAX_REQUESTS, MAX_WINDOW = 10_000, 24 * 3600.0


class Mode(StrEnum):
    """How the page cache is used.

    online: a fresh recorded page answers; otherwise the page is fetched and recorded.
    refresh: the page is fetched and recorded.
    offline: a recorded page answers, whatever its age; no socket is opened.
    bypass: the page is fetched; nothing is read from or written to the cache.
    """

    ONLINE = "online"
    REFRESH = "refresh"
    OFFLINE = "offline"
    BYPASS = "bypass"

    @classmethod
    def parse(cls, name: str, value: object) -> Mode:
        """Read a mode; `InvalidArgument` lists them."""
        try:
            return cls(value)  # type: ignore[arg-type]
        except ValueError:
            raise InvalidArgument(f"{name} is {value!r}: it takes {', '.join(cls)}") from None


class NotGiven(Enum):
    """The default of a setting for which None means something."""

    NOT_GIVEN = "not given"

    def __repr__(self) -> str:
        """As signatures in a notebook show it."""
        return self.name


NOT_GIVEN: Final = NotGiven.NOT_GIVEN
ModeName: TypeAlias = Literal["online", "refresh", "offline", "bypass"]
MaxAge: TypeAlias = float | timedelta | str | None
# Fresh until the market's publication rule says that a new row can exist.
PUBLICATION: Final = "publication"
# For ever, as a text: what None is in Python.
NEVER: Final = "never"
KeyFile: TypeAlias = str | os.PathLike[str]

# A name or an address, and an address of IPv6 as it stands in front of a port.
_HOST, _IN_BRACKETS = re.compile(r"[^\s\0/\[\]]+"), re.compile(r"\[(.+)\]")

_Age: TypeAlias = float | Literal["publication"]
_T = TypeVar("_T")


class Wait(float):
    """Seconds for which the rate budget makes a call wait, and whether OpenD refused: then others use its limit."""

    is_refused: bool

    def __new__(cls, seconds: float, is_refused: bool = False) -> Wait:
        wait = super().__new__(cls, seconds)
        wait.is_refused = is_refused
        return wait

    @property
    def why(self) -> str:
        return (
            "OpenD refused: programs that do not share this rate budget use its limit, too"
            if self.is_refused
            else "the rate budget"
        )


WaitCallback: TypeAlias = Callable[[Wait], object]


@dataclass(frozen=True, slots=True)
class Settings:
    """How a client reaches OpenD, and what it makes of what is recorded.

    Attributes:
        host: Where OpenD listens (`OPEND_HOST`).
        port: The port it listens on (`OPEND_PORT`).
        rsa_key: File of the RSA private key that OpenD has, too (`OPEND_RSA_KEY`); None: the link is not encrypted.
        timeout: Seconds that a request may take.
        mode: How the page cache is used (`OPEND_SI_MODE`).
        cache: The page cache's file (`OPEND_SI_CACHE`, else in the folder `OPEND_SI_HOME`).
        budget: The rate budget's file, always in the folder `OPEND_SI_HOME`: all caches share it.
        max_age: Seconds for which a recorded page is fresh (`OPEND_SI_MAX_AGE`); None for ever; `publication`: until
            the market's publication rule says that a new row can exist.
        rate: The limit to keep (`OPEND_SI_RATE`); None for none, NOT_GIVEN for each call's own.
        on_wait: Called with the seconds that are left while the rate budget makes a call wait.

    """

    host: str
    port: int
    rsa_key: Path | None
    timeout: float
    mode: Mode
    cache: Path
    budget: Path
    max_age: float | Literal["publication"] | None
    rate: Rate | NotGiven | None
    on_wait: WaitCallback | None

    @property
    def address(self) -> str:
        return address_text(self.host, self.port)

    @classmethod
    def resolve(
        cls,
        *,
        host: str | None = None,
        port: int | None = None,
        rsa_key: KeyFile | NotGiven | None = NOT_GIVEN,
        timeout: float | None = None,
        mode: str | None = None,
        cache: str | os.PathLike[str] | None = None,
        max_age: MaxAge | NotGiven = NOT_GIVEN,
        on_wait: WaitCallback | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> Settings:
        """Settings from arguments (None: not given), the environment and the defaults."""
        env = os.environ if environ is None else environ
        chosen = _pick(env, "mode", mode, "OPEND_SI_MODE", Mode.parse, lambda: Mode.ONLINE)
        # What a mode does not use is not looked up for it: a variable that is wrong, or meant for something else, is no
        # error.
        of_opend = env if chosen is not Mode.OFFLINE else {}
        of_age = env if chosen is Mode.ONLINE else {}
        address = _address(of_opend) if host is None and port is None else None
        file = _pick(env, "cache", cache, "OPEND_SI_CACHE", user_file, lambda: None)
        if file is not None and chosen is Mode.OFFLINE:
            home = file.parent
        else:
            home = _pick(env, "home", None, "OPEND_SI_HOME", user_file, default_home)
        return cls(
            host=address[0] if address else _pick(of_opend, "host", host, "OPEND_HOST", _host, lambda: DEFAULT_HOST),
            port=address[1] if address else _pick(of_opend, "port", port, "OPEND_PORT", _port, lambda: DEFAULT_PORT),
            rsa_key=_pick_rsa_key(of_opend, rsa_key),
            timeout=DEFAULT_TIMEOUT if timeout is None else _timeout("timeout", timeout),
            mode=chosen,
            cache=file or home / PAGES_FILE,
            budget=home / BUDGET_FILE,
            max_age=_pick_max_age(of_age, max_age),
            rate=_pick(of_opend, "rate", None, "OPEND_SI_RATE", parse_rate, lambda: NOT_GIVEN),
            on_wait=_callback("on_wait", on_wait),
        )

    def with_options(self, mode: str | None, timeout: float | None, max_age: MaxAge | NotGiven) -> Settings:
        """The same with some of the options that hold for a question; what is not given stays as it is."""
        return replace(
            self,
            mode=self.mode if mode is None else Mode.parse("mode", mode),
            timeout=self.timeout if timeout is None else _timeout("timeout", timeout),
            max_age=self.max_age if isinstance(max_age, NotGiven) else _pick_max_age({}, max_age),
        )


def encrypting(is_encrypt: bool | None, rsa_key: KeyFile | NotGiven | None) -> KeyFile | NotGiven | None:
    """The `rsa_key` that the published clients' argument `is_encrypt` makes of the one given."""
    if is_encrypt is None:
        return rsa_key
    if is_encrypt is False:
        return None
    if is_encrypt is not True:
        raise InvalidArgument(
            f"is_encrypt is {is_encrypt!r}: it takes True, False, or None to encrypt if a key is named"
        )
    if (key := _pick_rsa_key(os.environ, rsa_key)) is None:
        raise InvalidArgument(
            "is_encrypt is True and no RSA key is named: rsa_key (or OPEND_RSA_KEY) takes the path of the private key file that "
            "OpenD has (rsa_private_key in its configuration)"
        )
    return key


def parse_rate(name: str, text: object) -> Rate | None:
    """Read `30/30` (requests/seconds); None for `off`."""
    if text == "off":
        return None
    requests, slash, seconds = str(text).partition("/")
    try:
        rate = Rate(int(requests), float(seconds))
    except ValueError:
        rate = Rate(0, 0)
    if not slash or not 1 <= rate.requests <= MAX_REQUESTS or not 0 < rate.seconds <= MAX_WINDOW:
        raise InvalidArgument(
            f"{name} is {text!r}: it takes requests/seconds such as 30/30, at most {MAX_REQUESTS:,} requests and "
            f"{MAX_WINDOW:,.0f} seconds (a day), or off"
        )
    return rate


def _pick(
    env: Mapping[str, str],
    name: str,
    given: object,
    variable: str,
    check: Callable[[str, Any], _T],
    default: Callable[[], _T],
) -> _T:
    if given is not None:
        return check(name, given)
    text = env.get(variable, "").strip()
    return check(variable, text) if text else default()


def _pick_max_age(env: Mapping[str, str], given: MaxAge | NotGiven) -> _Age | None:
    """None is a value of its own here: pages never expire."""
    if given is None:
        return None
    if given is not NOT_GIVEN:
        return _max_age("max_age", given)
    return _pick(env, "max_age", None, "OPEND_SI_MAX_AGE", max_age_text, lambda: DEFAULT_MAX_AGE)


def _pick_rsa_key(env: Mapping[str, str], given: KeyFile | NotGiven | None) -> Path | None:
    """None is a value of its own here: not encrypted, whatever the environment says."""
    if given is None:
        return None
    given = None if given is NOT_GIVEN else given
    return _pick(env, "rsa_key", given, "OPEND_RSA_KEY", _key_file, lambda: None)


def _host(name: str, value: object) -> str:
    text = value.strip() if isinstance(value, str) else ""
    if found := _IN_BRACKETS.fullmatch(text):
        text = found[1]
    if text.count(":") == 1 or not _HOST.fullmatch(text):  # an address of IPv6 has more
        apart = "; the port is named apart, with port (or OPEND_PORT)" if ":" in text else ""
        raise InvalidArgument(
            f"{name} is {value!r}: it takes the name or address of the machine that runs OpenD{apart}"
        )
    return text


def _port(name: str, value: object) -> int:
    if name == "OPEND_PORT" and isinstance(value, str):
        if (address := _read_link(value)) is not None:
            return address[1]
        value = int(value) if value.isascii() and value.isdigit() else value
    port = int(value) if isinstance(value, Integral) and not isinstance(value, bool) else 0  # NumPy's numbers, too
    if not 1 <= port <= 65535:
        is_link = isinstance(value, str) and "://" in value
        why = (
            ". Container platforms set it for a service called opend: set it to the port, or turn enableServiceLinks off"
            if is_link
            else f"; OpenD's default is {DEFAULT_PORT}"
        )
        raise InvalidArgument(f"{name} is {value!r}: it takes a port from 1 to 65535{why}")
    return port


def _address(env: Mapping[str, str]) -> tuple[str, int] | None:
    """The address that a container platform puts into OPEND_PORT for a service called opend.

    OPEND_HOST goes before it.
    """
    return None if env.get("OPEND_HOST", "").strip() else _read_link(env.get("OPEND_PORT", "").strip())


def _read_link(text: str) -> tuple[str, int] | None:
    """Host and port of `tcp://10.43.161.118:11111`; None for anything else."""
    from urllib.parse import urlsplit

    if not text.startswith("tcp://"):
        return None
    try:
        parts = urlsplit(text)
        return (parts.hostname, parts.port) if parts.hostname and parts.port else None
    except ValueError:  # no port, or no address
        return None


def _key_file(name: str, value: object) -> Path:
    # A key in the place of its path is told without showing it.
    if not isinstance(value, (str, os.PathLike)):
        raise InvalidArgument(f"{name} is of type {type(value).__name__}: it takes the path of an RSA private key file")
    text = os.fspath(value)
    if not isinstance(text, str) or "-----" in text or "\n" in text or (text.startswith(_DER) and len(text) > _LONG):
        raise InvalidArgument(f"{name} looks like a key itself: it takes the path of the file that holds it")
    return user_file(name, value)


def _timeout(name: str, value: object) -> float:
    seconds = _number(value)
    if not MIN_TIMEOUT <= seconds <= MAX_TIMEOUT:
        raise InvalidArgument(f"{name} is {value!r}: it takes seconds, from {MIN_TIMEOUT:g} to {MAX_TIMEOUT:g}")
    return seconds


def _max_age(name: str, value: object) -> _Age | None:
    word = value.strip().lower() if isinstance(value, str) else None
    if word in (PUBLICATION, NEVER):
        return PUBLICATION if word == PUBLICATION else None
    span = value if isinstance(value, timedelta) else read_span(value)
    seconds = _number(value) if span is None else span.total_seconds()
    if not 0 <= seconds <= _LONGEST_AGE:
        raise InvalidArgument(
            f"{name} is {value!r}: it takes seconds, 0 or more, a text such as 90m, 12h or 7d, {PUBLICATION}, or {NEVER} for "
            "pages that never expire"
        )
    return seconds


def _number(value: object) -> float:
    """A number as it is, NaN for anything else."""
    try:
        return float(value) if isinstance(value, Real) and not isinstance(value, bool) else math.nan
    except OverflowError:
        return math.inf
    except TypeError:  # NumPy's timedelta64 is a Real that has no float
        return math.nan


def max_age_text(name: str, text: str) -> _Age | None:
    """What a variable or an option says: they have texts only, so that a number is one of seconds."""
    try:
        return _max_age(name, float(text))
    except ValueError:
        return _max_age(name, text)


def _callback(name: str, value: object) -> WaitCallback | None:
    if value is not None and not callable(value):
        raise InvalidArgument(f"{name} is {value!r}: it takes a function of the seconds that are left to wait")
    return value
