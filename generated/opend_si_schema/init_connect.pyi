# Rendered by codegen from templates/schema/%proto.pyi.j2. Do not edit: change the template, then run "python -m codegen".

from google.protobuf.message import Message

class C2S(Message):
    """Message `InitConnect.C2S`."""

    # Version of the interface that the client speaks: major * 100 + minor.
    clientVer: int
    # Name of the client, its own choice.
    clientID: str
    # Whether OpenD may push notices on this connection.
    recvNotify: bool
    # Cipher asked for, see Common.PacketEncAlgo.
    packetEncAlgo: int
    # Body format of pushes: 0 protobuf, 1 JSON.
    pushProtoFmt: int
    # For the broker's statistics.
    programmingLanguage: str
    # For the broker's statistics: 0 when no AI made the call.
    aiType: int
    def __init__(
        self,
        *,
        clientVer: int | None = ...,
        clientID: str | None = ...,
        recvNotify: bool | None = ...,
        packetEncAlgo: int | None = ...,
        pushProtoFmt: int | None = ...,
        programmingLanguage: str | None = ...,
        aiType: int | None = ...,
    ) -> None: ...

class S2C(Message):
    """Message `InitConnect.S2C`."""

    # Version of OpenD: major * 100 + minor.
    serverVer: int
    # Account that OpenD is logged in with.
    loginUserID: int
    # Number of this connection.
    connID: int
    # Key of the bodies after InitConnect, 16 characters.
    connAESKey: str
    # Seconds between two KeepAlive requests.
    keepAliveInterval: int
    # Initialisation vector for AES_CBC, 16 characters.
    aesCBCiv: str
    # Which brand and region the account belongs to.
    userAttribution: int
    def __init__(
        self,
        *,
        serverVer: int | None = ...,
        loginUserID: int | None = ...,
        connID: int | None = ...,
        connAESKey: str | None = ...,
        keepAliveInterval: int | None = ...,
        aesCBCiv: str | None = ...,
        userAttribution: int | None = ...,
    ) -> None: ...

class Request(Message):
    """Message `InitConnect.Request`."""

    c2s: C2S
    def __init__(
        self,
        *,
        c2s: C2S | None = ...,
    ) -> None: ...

class Response(Message):
    """Message `InitConnect.Response`."""

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
