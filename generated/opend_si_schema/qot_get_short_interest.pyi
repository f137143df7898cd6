# Rendered by codegen from templates/schema/%proto.pyi.j2. Do not edit: change the template, then run "python -m codegen".
from collections.abc import Iterable

from google.protobuf.internal.containers import RepeatedCompositeFieldContainer
from google.protobuf.message import Message

from opend_si_schema import qot_common

class C2S(Message):
    """Message `Qot_GetShortInterest.C2S`."""

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

class UsShortInterestItem(Message):
    """One settlement date of a US security."""

    # Settlement date: midnight in New York.
    timestamp: int
    # Settlement date, in New York.
    timestampStr: str
    # Shares sold short and not yet covered.
    sharesShort: int
    # Short ratio, the number before the percent sign: 12.34 is 12.34 %.
    shortPercent: float
    # Average daily share volume.
    avgDailyShareVolume: int
    # Days to cover: shares short over average daily volume.
    daysToCover: float
    # Close price of that day.
    closePrice: float
    # Close price of the trading day before.
    lastClosePrice: float
    def __init__(
        self,
        *,
        timestamp: int | None = ...,
        timestampStr: str | None = ...,
        sharesShort: int | None = ...,
        shortPercent: float | None = ...,
        avgDailyShareVolume: int | None = ...,
        daysToCover: float | None = ...,
        closePrice: float | None = ...,
        lastClosePrice: float | None = ...,
    ) -> None: ...

class HkShortInterestItem(Message):
    """One reporting date of a Hong Kong security."""

    # Reporting date: midnight in Hong Kong.
    timestamp: int
    # Reporting date, in Hong Kong.
    timestampStr: str
    # Close price of that day.
    closePrice: float
    # Close price of the trading day before.
    lastClosePrice: float
    # Aggregated reportable short positions.
    aggregatedShort: int
    # Short positions over shares outstanding, the number before the percent sign: 12.34 is 12.34 %.
    aggregatedShortRatio: float
    def __init__(
        self,
        *,
        timestamp: int | None = ...,
        timestampStr: str | None = ...,
        closePrice: float | None = ...,
        lastClosePrice: float | None = ...,
        aggregatedShort: int | None = ...,
        aggregatedShortRatio: float | None = ...,
    ) -> None: ...

class S2C(Message):
    """Message `Qot_GetShortInterest.S2C`."""

    # Filled for a US security.
    usItemList: RepeatedCompositeFieldContainer[UsShortInterestItem]
    # Filled for a HK security.
    hkItemList: RepeatedCompositeFieldContainer[HkShortInterestItem]
    # Cursor of the next page; "-1" when there is none.
    nextKey: str
    def __init__(
        self,
        *,
        usItemList: Iterable[UsShortInterestItem] | None = ...,
        hkItemList: Iterable[HkShortInterestItem] | None = ...,
        nextKey: str | None = ...,
    ) -> None: ...

class Request(Message):
    """Message `Qot_GetShortInterest.Request`."""

    c2s: C2S
    def __init__(
        self,
        *,
        c2s: C2S | None = ...,
    ) -> None: ...

class Response(Message):
    """Message `Qot_GetShortInterest.Response`."""

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
