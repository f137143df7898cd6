# Rendered by codegen from templates/schema/%proto.pyi.j2. Do not edit: change the template, then run "python -m codegen".

from google.protobuf.message import Message

class C2S(Message):
    """Message `InitWebSocket.C2S`."""

    # Machine of the OpenD to connect to.
    IP: str
    # Port of the OpenD to connect to.
    Port: int
    # OpenD's RSA private key, the text of its file.
    RSAPrivateKey: str
    # MD5 of the port's key, 32 hexadecimal digits; empty without a key.
    websocketKey: str
    # Name of the client, its own choice.
    clientID: str
    # For the broker's statistics.
    programmingLanguage: str
    def __init__(
        self,
        *,
        IP: str | None = ...,
        Port: int | None = ...,
        RSAPrivateKey: str | None = ...,
        websocketKey: str | None = ...,
        clientID: str | None = ...,
        programmingLanguage: str | None = ...,
    ) -> None: ...

class S2C(Message):
    """Message `InitWebSocket.S2C`."""

    # OpenD's time, Unix seconds.
    serverTime: int
    # Number of this connection.
    connID: int
    def __init__(
        self,
        *,
        serverTime: int | None = ...,
        connID: int | None = ...,
    ) -> None: ...

class Request(Message):
    """Message `InitWebSocket.Request`."""

    c2s: C2S
    def __init__(
        self,
        *,
        c2s: C2S | None = ...,
    ) -> None: ...

class Response(Message):
    """Message `InitWebSocket.Response`."""

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
