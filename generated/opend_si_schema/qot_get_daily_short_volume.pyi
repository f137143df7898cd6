# Rendered by codegen from templates/schema/%proto.pyi.j2. Do not edit: change the template, then run "python -m codegen".
from collections.abc import Iterable

from google.protobuf.internal.containers import RepeatedCompositeFieldContainer
from google.protobuf.message import Message

from opend_si_schema import qot_common

class C2S(Message):
    """Message `Qot_GetDailyShortVolume.C2S`."""

    # Which security.
    security: qot_common.Security
    # Cursor from the previous reply; absent for the first page.
    nextKey: str
    # Rows a page, 1 to 50; absent means 10.
    num: int
    def __init__(
        self,
        *,
        security: qot_common.Security | None = ...,
        nextKey: str | None = ...,
        num: int | None = ...,
    ) -> None: ...

class UsDailyShortVolumeItem(Message):
    """One trading day of a US security."""

    # Trading day: midnight in New York.
    timestamp: int
    # Trading day, in New York.
    timestampStr: str
    # Shares sold short that day.
    totalSharesShort: int
    # Of them on Nasdaq.
    nasdaqSharesShort: int
    # Of them on NYSE.
    nyseSharesShort: int
    # Shares sold short over volume, the number before the percent sign: 12.34 is 12.34 %.
    shortPercent: float
    # Shares traded.
    volume: int
    # Close price of that day.
    closePrice: float
    # Close price of the trading day before.
    lastClosePrice: float
    # Average daily trade ratio over the 20 trading days before, the number before the percent sign.
    dailyTradeAvgRatio: float
    def __init__(
        self,
        *,
        timestamp: int | None = ...,
        timestampStr: str | None = ...,
        totalSharesShort: int | None = ...,
        nasdaqSharesShort: int | None = ...,
        nyseSharesShort: int | None = ...,
        shortPercent: float | None = ...,
        volume: int | None = ...,
        closePrice: float | None = ...,
        lastClosePrice: float | None = ...,
        dailyTradeAvgRatio: float | None = ...,
    ) -> None: ...

class HkDailyShortVolumeItem(Message):
    """One trading day of a Hong Kong security."""

    # Trading day: midnight in Hong Kong.
    timestamp: int
    # Trading day, in Hong Kong.
    timestampStr: str
    # Shares traded.
    sharesTraded: int
    # Turnover.
    turnover: float
    # Shares sold short that day.
    shortSellSharesTraded: int
    # Turnover of short sales.
    shortSellTurnover: float
    # Open price of that day.
    openPrice: float
    # Close price of that day.
    closePrice: float
    # Close price of the trading day before.
    lastClosePrice: float
    # Average daily trade ratio over the 20 trading days before, the number before the percent sign.
    dailyTradeAvgRatio: float
    def __init__(
        self,
        *,
        timestamp: int | None = ...,
        timestampStr: str | None = ...,
        sharesTraded: int | None = ...,
        turnover: float | None = ...,
        shortSellSharesTraded: int | None = ...,
        shortSellTurnover: float | None = ...,
        openPrice: float | None = ...,
        closePrice: float | None = ...,
        lastClosePrice: float | None = ...,
        dailyTradeAvgRatio: float | None = ...,
    ) -> None: ...

class S2C(Message):
    """Message `Qot_GetDailyShortVolume.S2C`."""

    # Filled for a US security.
    usItemList: RepeatedCompositeFieldContainer[UsDailyShortVolumeItem]
    # Filled for a HK security.
    hkItemList: RepeatedCompositeFieldContainer[HkDailyShortVolumeItem]
    # Cursor of the next page; "-1" when there is none.
    nextKey: str
    # Aggregated reportable short positions, the newest.
    aggregatedShort: int
    # The same over shares outstanding, the number before the percent sign.
    aggregatedShortRatio: float
    # Day of the newest data, in Hong Kong.
    newTimeStr: str
    def __init__(
        self,
        *,
        usItemList: Iterable[UsDailyShortVolumeItem] | None = ...,
        hkItemList: Iterable[HkDailyShortVolumeItem] | None = ...,
        nextKey: str | None = ...,
        aggregatedShort: int | None = ...,
        aggregatedShortRatio: float | None = ...,
        newTimeStr: str | None = ...,
    ) -> None: ...

class Request(Message):
    """Message `Qot_GetDailyShortVolume.Request`."""

    c2s: C2S
    def __init__(
        self,
        *,
        c2s: C2S | None = ...,
    ) -> None: ...

class Response(Message):
    """Message `Qot_GetDailyShortVolume.Response`."""

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
