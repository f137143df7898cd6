# Rendered by codegen from templates/schema/calls.py.j2. Do not edit: change the template, then run "python -m codegen".
"""The calls that are bound, and the markets they take."""

from typing import Literal, TypeAlias

from opend_si_schema import qot_get_daily_short_volume, qot_get_short_interest, records
from opend_si_schema.definitions import Call, Column, Market, PageSize, Rate, Table

HK = Market(
    prefix="HK",
    number=1,
    timezone="Asia/Hong_Kong",
    title="Hong Kong",
    currency="HKD",
    example="HK.00700",
)
US = Market(
    prefix="US",
    number=11,
    timezone="America/New_York",
    title="United States",
    currency="USD",
    example="US.AAPL",
)

MARKETS = (
    HK,
    US,
)

SHORT_INTEREST = Call(
    name="short_interest",
    title="short interest",
    proto_id=3249,
    since=1006,
    refusal_name="获取空头持仓",
    request=qot_get_short_interest.Request,
    response=qot_get_short_interest.Response,
    page_size=PageSize(minimum=1, default=10, maximum=50),
    rate=Rate(requests=30, seconds=30.0),
    tables=(
        Table(
            market=US,
            list_field="usItemList",
            record=records.UsShortInterest,
            schedule="semimonthly",
            columns=(
                Column(
                    name="timestamp",
                    field="timestamp",
                    dtype="int64",
                    unit="Unix seconds",
                    doc="Settlement date: midnight in New York.",
                ),
                Column(
                    name="timestamp_str",
                    field="timestampStr",
                    dtype="str",
                    unit="YYYY-MM-DD",
                    doc="Settlement date, in New York.",
                ),
                Column(
                    name="shares_short",
                    field="sharesShort",
                    dtype="int64",
                    unit="shares",
                    doc="Shares sold short and not yet covered.",
                ),
                Column(
                    name="short_percent",
                    field="shortPercent",
                    dtype="float64",
                    unit="percent",
                    doc="Short ratio, the number before the percent sign: 12.34 is 12.34 %.",
                ),
                Column(
                    name="avg_daily_share_volume",
                    field="avgDailyShareVolume",
                    dtype="int64",
                    unit="shares",
                    doc="Average daily share volume.",
                ),
                Column(
                    name="days_to_cover",
                    field="daysToCover",
                    dtype="float64",
                    unit="days",
                    doc="Days to cover: shares short over average daily volume.",
                ),
                Column(
                    name="close_price",
                    field="closePrice",
                    dtype="float64",
                    unit="USD",
                    doc="Close price of that day.",
                ),
                Column(
                    name="last_close_price",
                    field="lastClosePrice",
                    dtype="float64",
                    unit="USD",
                    doc="Close price of the trading day before.",
                ),
            ),
            attrs=(),
        ),
        Table(
            market=HK,
            list_field="hkItemList",
            record=records.HkShortInterest,
            schedule="weekly",
            columns=(
                Column(
                    name="timestamp",
                    field="timestamp",
                    dtype="int64",
                    unit="Unix seconds",
                    doc="Reporting date: midnight in Hong Kong.",
                ),
                Column(
                    name="timestamp_str",
                    field="timestampStr",
                    dtype="str",
                    unit="YYYY-MM-DD",
                    doc="Reporting date, in Hong Kong.",
                ),
                Column(
                    name="aggregated_short",
                    field="aggregatedShort",
                    dtype="int64",
                    unit="shares",
                    doc="Aggregated reportable short positions.",
                ),
                Column(
                    name="aggregated_short_ratio",
                    field="aggregatedShortRatio",
                    dtype="float64",
                    unit="percent",
                    doc="Short positions over shares outstanding, the number before the percent sign: 12.34 is 12.34 %.",
                ),
                Column(
                    name="close_price",
                    field="closePrice",
                    dtype="float64",
                    unit="HKD",
                    doc="Close price of that day.",
                ),
                Column(
                    name="last_close_price",
                    field="lastClosePrice",
                    dtype="float64",
                    unit="HKD",
                    doc="Close price of the trading day before.",
                ),
            ),
            attrs=(),
        ),
    ),
)
DAILY_SHORT_VOLUME = Call(
    name="daily_short_volume",
    title="daily short volume",
    proto_id=3248,
    since=1006,
    refusal_name="获取每日卖空",
    request=qot_get_daily_short_volume.Request,
    response=qot_get_daily_short_volume.Response,
    page_size=PageSize(minimum=1, default=10, maximum=50),
    rate=Rate(requests=30, seconds=30.0),
    tables=(
        Table(
            market=US,
            list_field="usItemList",
            record=records.UsDailyShortVolume,
            schedule="daily",
            columns=(
                Column(
                    name="timestamp",
                    field="timestamp",
                    dtype="int64",
                    unit="Unix seconds",
                    doc="Trading day: midnight in New York.",
                ),
                Column(
                    name="timestamp_str",
                    field="timestampStr",
                    dtype="str",
                    unit="YYYY-MM-DD",
                    doc="Trading day, in New York.",
                ),
                Column(
                    name="total_shares_short",
                    field="totalSharesShort",
                    dtype="int64",
                    unit="shares",
                    doc="Shares sold short that day.",
                ),
                Column(
                    name="nasdaq_shares_short",
                    field="nasdaqSharesShort",
                    dtype="int64",
                    unit="shares",
                    doc="Of them on Nasdaq.",
                ),
                Column(
                    name="nyse_shares_short",
                    field="nyseSharesShort",
                    dtype="int64",
                    unit="shares",
                    doc="Of them on NYSE.",
                ),
                Column(
                    name="short_percent",
                    field="shortPercent",
                    dtype="float64",
                    unit="percent",
                    doc="Shares sold short over volume, the number before the percent sign: 12.34 is 12.34 %.",
                ),
                Column(
                    name="volume",
                    field="volume",
                    dtype="int64",
                    unit="shares",
                    doc="Shares traded.",
                ),
                Column(
                    name="close_price",
                    field="closePrice",
                    dtype="float64",
                    unit="USD",
                    doc="Close price of that day.",
                ),
                Column(
                    name="last_close_price",
                    field="lastClosePrice",
                    dtype="float64",
                    unit="USD",
                    doc="Close price of the trading day before.",
                ),
                Column(
                    name="daily_trade_avg_ratio",
                    field="dailyTradeAvgRatio",
                    dtype="float64",
                    unit="percent",
                    doc="Average daily trade ratio over the 20 trading days before, the number before the percent sign.",
                ),
            ),
            attrs=(),
        ),
        Table(
            market=HK,
            list_field="hkItemList",
            record=records.HkDailyShortVolume,
            schedule="daily",
            columns=(
                Column(
                    name="timestamp",
                    field="timestamp",
                    dtype="int64",
                    unit="Unix seconds",
                    doc="Trading day: midnight in Hong Kong.",
                ),
                Column(
                    name="timestamp_str",
                    field="timestampStr",
                    dtype="str",
                    unit="YYYY-MM-DD",
                    doc="Trading day, in Hong Kong.",
                ),
                Column(
                    name="shares_traded",
                    field="sharesTraded",
                    dtype="int64",
                    unit="shares",
                    doc="Shares traded.",
                ),
                Column(
                    name="turnover",
                    field="turnover",
                    dtype="float64",
                    unit="HKD",
                    doc="Turnover.",
                ),
                Column(
                    name="short_sell_shares_traded",
                    field="shortSellSharesTraded",
                    dtype="int64",
                    unit="shares",
                    doc="Shares sold short that day.",
                ),
                Column(
                    name="short_sell_turnover",
                    field="shortSellTurnover",
                    dtype="float64",
                    unit="HKD",
                    doc="Turnover of short sales.",
                ),
                Column(
                    name="open_price",
                    field="openPrice",
                    dtype="float64",
                    unit="HKD",
                    doc="Open price of that day.",
                ),
                Column(
                    name="close_price",
                    field="closePrice",
                    dtype="float64",
                    unit="HKD",
                    doc="Close price of that day.",
                ),
                Column(
                    name="last_close_price",
                    field="lastClosePrice",
                    dtype="float64",
                    unit="HKD",
                    doc="Close price of the trading day before.",
                ),
                Column(
                    name="daily_trade_avg_ratio",
                    field="dailyTradeAvgRatio",
                    dtype="float64",
                    unit="percent",
                    doc="Average daily trade ratio over the 20 trading days before, the number before the percent sign.",
                ),
            ),
            attrs=(
                Column(
                    name="aggregated_short",
                    field="aggregatedShort",
                    dtype="int64",
                    unit="shares",
                    doc="Aggregated reportable short positions, the newest.",
                ),
                Column(
                    name="aggregated_short_ratio",
                    field="aggregatedShortRatio",
                    dtype="float64",
                    unit="percent",
                    doc="The same over shares outstanding, the number before the percent sign.",
                ),
                Column(
                    name="new_time_str",
                    field="newTimeStr",
                    dtype="str",
                    unit="YYYY-MM-DD",
                    doc="Day of the newest data, in Hong Kong.",
                ),
            ),
        ),
    ),
)

# What users call a kind of data by; the first is the one they mean when they name none.
Kind: TypeAlias = Literal[
    "short_interest",
    "daily_short_volume",
]
CALLS = (
    SHORT_INTEREST,
    DAILY_SHORT_VOLUME,
)
