"""Kinds of errors that only this package tells apart; callers see what they derive from."""

import errno
from pathlib import Path

from opend_si.errors import (
    ConnectionFailed,
    InvalidArgument,
    MissingExtra,
    ProtocolError,
    RequestTimeout,
    ShortInterestError,
)
from opend_si.wire.dial import NameNotFound


class NoKey(InvalidArgument):
    """The RSA key cannot be had from its file: no connection can be made."""


class LinkCut(ConnectionFailed):
    """The link broke after a request was sent and before its reply came. Reading calls may be repeated."""


class NotSent(RequestTimeout):
    """The time for a request was over before it could be sent."""


class NotGreeted(RequestTimeout):
    """A connection was made, and InitConnect was not answered in time: nobody is there to be asked."""


class WrongGreeting(ProtocolError):
    """A connection was made, and InitConnect was answered by no OpenD, or by one that encrypts otherwise."""


class TooLate(Exception):
    """A request was not sent, because the moment by which it had to be had passed. It never reaches a caller."""


class AnotherAnswers(TooLate):
    """A request was not sent, because another account answers by now than the one that it was for."""


class Crowded(Exception):
    """A request was not sent, because too many wait already to be sent. Who carries requests out may raise it."""


def was_sent(error: BaseException) -> bool:
    """Whether a request that ended with this error may have reached OpenD."""
    if isinstance(error, (NotSent, TooLate, Crowded)):
        return False
    return isinstance(error, LinkCut) or not nobody_answers(error)


def nobody_answers(error: BaseException | None) -> bool:
    """Whether nobody can be asked: the next request would end with this error, too, as good as certainly."""
    return isinstance(error, (ConnectionFailed, NotGreeted, WrongGreeting, NoKey, MissingExtra))


class BodyMismatch(ProtocolError):
    """A body does not come out as its SHA-1 says: it is damaged, or the two sides do not encrypt alike."""


def connect_failed(where: str, error: Exception) -> ConnectionFailed:
    """The error to raise for one that ended the attempt to connect."""
    if isinstance(error, NameNotFound):
        return ConnectionFailed(
            f"No connection to OpenD at {where}: {error}. Name its address with host (or OPEND_HOST), or raise timeout."
        )
    if isinstance(error, LookupError) or getattr(error, "errno", None) in (errno.EMFILE, errno.ENFILE):
        # Without a descriptor Python cannot even load the codec that names are encoded with.
        return ConnectionFailed(
            f"No connection to OpenD at {where} could be made ({_reason(error)}): this process has too many open files. "
            "Close some."
        )
    if isinstance(error, UnicodeError):
        return ConnectionFailed(f"{where} is no address: host (or OPEND_HOST) names the machine that runs OpenD.")
    return ConnectionFailed(
        f"No OpenD at {where} ({_reason(error)}). Start OpenD and log in, or name its address with host "
        "and port (or OPEND_HOST and OPEND_PORT)."
    )


def garbled(where: str, what: str, error: ProtocolError) -> ProtocolError:
    """The error for a request to which something came that is none of OpenD's protocol; `what` was asked for."""
    asked = f"{what}: " if what else ""
    return ProtocolError(
        f"{asked}OpenD at {where} sent what it should not: {error}. Ask again; if it stays so, see what listens there."
    )


def silent(where: str) -> RequestTimeout:
    """The error for a request that OpenD took and did not answer."""
    return RequestTimeout(
        f"OpenD at {where} took the request and did not answer in time. See whether OpenD hangs, or raise `timeout`."
    )


def cut(where: str, error: Exception | None) -> LinkCut:
    """The error for a request under which the link broke; None: OpenD closed it."""
    told = "closed by OpenD" if error is None else _reason(error)
    return LinkCut(f"The link to OpenD at {where} broke under a request ({told}). See whether OpenD is still running.")


def not_sent(where: str, seconds: float) -> NotSent:
    """The error for a request that was given so many seconds, and for which no time was left to send it."""
    if seconds <= 0:
        return NotSent(f"No time was left to ask OpenD at {where} again. See whether OpenD hangs, or raise `timeout`.")
    return NotSent(
        f"OpenD at {where} was busy with requests of other threads for {seconds:.3g} s. See whether OpenD hangs, or raise "
        "`timeout`."
    )


def half_open(where: str) -> LinkCut:
    """The error for a link that worked before and on which nothing came, not even for KeepAlive."""
    return LinkCut(
        f"The link to OpenD at {where} is dead: nothing came over it, not even an answer to KeepAlive. See the network, "
        "and whether OpenD hangs."
    )


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer"
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    return getattr(error, "strerror", None) or str(error)


def hello_failed(where: str, key_file: Path | None, error: ShortInterestError) -> ShortInterestError:
    """The error to raise for one that ended InitConnect.

    What OpenD does with a client that does not encrypt as it does is nowhere written: it may close the link, say
    nothing, or answer in its own way.
    """
    advice = _unencrypted_advice() if key_file is None else _encrypted_advice(key_file)
    if isinstance(error, LinkCut):
        return ConnectionFailed(f"OpenD at {where} closed the connection during InitConnect. {advice}")
    if isinstance(error, RequestTimeout):
        return NotGreeted(f"OpenD at {where} did not answer InitConnect in time. {advice}")
    if isinstance(error, BodyMismatch):
        told = f"{error}." if key_file is None else f"{error}. {advice}"
        return WrongGreeting(f"OpenD at {where} and this client do not encrypt alike: {told}")
    if isinstance(error, ProtocolError):
        return WrongGreeting(f"{where} does not answer as OpenD does: {error}")
    return error


def _unencrypted_advice() -> str:
    return (
        "If it is set to encrypt (rsa_private_key in its configuration), unencrypted clients are turned away: name the same "
        "key file with rsa_key (or OPEND_RSA_KEY). Otherwise its log says why."
    )


def _encrypted_advice(key_file: Path) -> str:
    return (
        f"This client encrypts with the key in {key_file}: rsa_private_key in OpenD's configuration must name the same key. If "
        "OpenD is not to encrypt, name none here (rsa_key, OPEND_RSA_KEY). Its log says why."
    )


def naming(what: object, error: ProtocolError) -> ProtocolError:
    """The error; one of a reply that does not name what was asked for is told with it."""
    return error if str(what) in str(error) or nobody_answers(error) else ProtocolError(f"{what}: {error}")
