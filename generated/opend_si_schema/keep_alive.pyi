# Rendered by codegen from templates/schema/%proto.pyi.j2. Do not edit: change the template, then run "python -m codegen".

from google.protobuf.message import Message

class C2S(Message):
    """Message `KeepAlive.C2S`."""

    # The client's time, Unix seconds.
    time: int
    def __init__(
        self,
        *,
        time: int | None = ...,
    ) -> None: ...

class S2C(Message):
    """Message `KeepAlive.S2C`."""

    # OpenD's time, Unix seconds.
    time: int
    def __init__(
        self,
        *,
        time: int | None = ...,
    ) -> None: ...

class Request(Message):
    """Message `KeepAlive.Request`."""

    c2s: C2S
    def __init__(
        self,
        *,
        c2s: C2S | None = ...,
    ) -> None: ...

class Response(Message):
    """Message `KeepAlive.Response`."""

    # Result, see Common.RetType.
    retType: int
    # Why it was refused.
    retMsg: str
    # For logs.
    errCode: int
    s2c: S2C
    def __init__(
        self,
        *,
        retType: int | None = ...,
        retMsg: str | None = ...,
        errCode: int | None = ...,
        s2c: S2C | None = ...,
    ) -> None: ...
