# Rendered by codegen from templates/schema/%proto.pyi.j2. Do not edit: change the template, then run "python -m codegen".

from google.protobuf.message import Message

from opend_si_schema import common

class C2S(Message):
    """Message `GetGlobalState.C2S`."""

    # No longer used: 0.
    userID: int
    def __init__(
        self,
        *,
        userID: int | None = ...,
    ) -> None: ...

class S2C(Message):
    """Market states are numbers of Qot_Common.QotMarketState."""

    # Hong Kong main board.
    marketHK: int
    # Nasdaq.
    marketUS: int
    # Shanghai.
    marketSH: int
    # Shenzhen.
    marketSZ: int
    # Hong Kong futures.
    marketHKFuture: int
    # Logged in to the quote servers.
    qotLogined: bool
    # Logged in to the trade servers.
    trdLogined: bool
    # Version of OpenD: major * 100 + minor.
    serverVer: int
    # Build of OpenD.
    serverBuildNo: int
    # The broker's time, Unix seconds.
    time: int
    # OpenD's time, Unix seconds.
    localTime: float
    # State of the program.
    programStatus: common.ProgramStatus
    # Quote server in use.
    qotSvrIpAddr: str
    # Trade server in use.
    trdSvrIpAddr: str
    # United States futures.
    marketUSFuture: int
    # Number of this connection.
    connID: int
    # Singapore futures.
    marketSGFuture: int
    # Japan futures.
    marketJPFuture: int
    # Singapore.
    marketSG: int
    # Malaysia.
    marketMY: int
    # Japan.
    marketJP: int
    def __init__(
        self,
        *,
        marketHK: int | None = ...,
        marketUS: int | None = ...,
        marketSH: int | None = ...,
        marketSZ: int | None = ...,
        marketHKFuture: int | None = ...,
        qotLogined: bool | None = ...,
        trdLogined: bool | None = ...,
        serverVer: int | None = ...,
        serverBuildNo: int | None = ...,
        time: int | None = ...,
        localTime: float | None = ...,
        programStatus: common.ProgramStatus | None = ...,
        qotSvrIpAddr: str | None = ...,
        trdSvrIpAddr: str | None = ...,
        marketUSFuture: int | None = ...,
        connID: int | None = ...,
        marketSGFuture: int | None = ...,
        marketJPFuture: int | None = ...,
        marketSG: int | None = ...,
        marketMY: int | None = ...,
        marketJP: int | None = ...,
    ) -> None: ...

class Request(Message):
    """Message `GetGlobalState.Request`."""

    c2s: C2S
    def __init__(
        self,
        *,
        c2s: C2S | None = ...,
    ) -> None: ...

class Response(Message):
    """Message `GetGlobalState.Response`."""

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
