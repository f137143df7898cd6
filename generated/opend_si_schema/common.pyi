# Rendered by codegen from templates/schema/%proto.pyi.j2. Do not edit: change the template, then run "python -m codegen".
from enum import IntEnum

from google.protobuf.message import Message

class RetType(IntEnum):
    """How OpenD judged a request. Business refusals are `Failed` with a text."""

    # The reply carries data.
    SUCCEED = 0
    # Refused; retMsg says why.
    FAILED = -1
    # OpenD's back end did not answer in time.
    TIME_OUT = -100
    # OpenD lost its back end.
    DIS_CONNECT = -200
    # Not known whether the request took effect.
    UNKNOWN = -400
    # The request could not be read.
    INVALID = -500

class PacketEncAlgo(IntEnum):
    """Cipher of the bodies after InitConnect."""

    # AES-128 ECB with the broker's own length mark; OpenD's default.
    FTAES_ECB = 0
    # Not encrypted.
    NONE = -1
    # AES-128 ECB.
    AES_ECB = 1
    # AES-128 CBC.
    AES_CBC = 2

class ProgramStatusType(IntEnum):
    """Where OpenD stands between its start and being ready."""

    # Not told.
    NONE = 0
    # Configuration read, server up.
    LOADED = 1
    # Logging in.
    LOGING = 2
    # Waiting for a picture verification code.
    NEED_PIC_VERIFY_CODE = 3
    # Waiting for a phone verification code.
    NEED_PHONE_VERIFY_CODE = 4
    # Login failed; the description says why.
    LOGIN_FAILED = 5
    # This OpenD is too old to log in.
    FORCE_UPDATE = 6
    # Fetching data needed before it can serve.
    NESSARY_DATA_PREPARING = 7
    # Data needed before it can serve is missing.
    NESSARY_DATA_MISSING = 8
    # A disclaimer has to be agreed to first.
    UN_AGREE_DISCLAIMER = 9
    # Serving.
    READY = 10
    # Logged out by the broker; the description says why.
    FORCE_LOGOUT = 11
    # The disclaimer could not be fetched.
    DISCLAIMER_PULL_FAILED = 12

class ProgramStatus(Message):
    """State of the OpenD program."""

    # Current state.
    type: int
    # Further description.
    strExtDesc: str
    def __init__(
        self,
        *,
        type: int | None = ...,
        strExtDesc: str | None = ...,
    ) -> None: ...
