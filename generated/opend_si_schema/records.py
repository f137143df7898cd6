# Rendered by codegen from templates/schema/records.py.j2. Do not edit: change the template, then run "python -m codegen".
"""Row classes: one row of a reply, as plain frozen values. A field is None where OpenD sent none."""

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class UsShortInterest:
    """One settlement date of a US security.

    Attributes:
        timestamp: int64, Unix seconds. Settlement date: midnight in New York.
        timestamp_str: str, YYYY-MM-DD. Settlement date, in New York.
        shares_short: int64, shares. Shares sold short and not yet covered.
        short_percent: float64, percent. Short ratio, the number before the percent sign: 12.34 is 12.34 %.
        avg_daily_share_volume: int64, shares. Average daily share volume.
        days_to_cover: float64, days. Days to cover: shares short over average daily volume.
        close_price: float64, USD. Close price of that day.
        last_close_price: float64, USD. Close price of the trading day before.
    """

    timestamp: int | None = None
    timestamp_str: str | None = None
    shares_short: int | None = None
    short_percent: float | None = None
    avg_daily_share_volume: int | None = None
    days_to_cover: float | None = None
    close_price: float | None = None
    last_close_price: float | None = None


@dataclass(frozen=True, slots=True)
class HkShortInterest:
    """One reporting date of a Hong Kong security.

    Attributes:
        timestamp: int64, Unix seconds. Reporting date: midnight in Hong Kong.
        timestamp_str: str, YYYY-MM-DD. Reporting date, in Hong Kong.
        aggregated_short: int64, shares. Aggregated reportable short positions.
        aggregated_short_ratio: float64, percent. Short positions over shares outstanding, the number before
            the percent sign: 12.34 is 12.34 %.
        close_price: float64, HKD. Close price of that day.
        last_close_price: float64, HKD. Close price of the trading day before.
    """

    timestamp: int | None = None
    timestamp_str: str | None = None
    aggregated_short: int | None = None
    aggregated_short_ratio: float | None = None
    close_price: float | None = None
    last_close_price: float | None = None


@dataclass(frozen=True, slots=True)
class UsDailyShortVolume:
    """One trading day of a US security.

    Attributes:
        timestamp: int64, Unix seconds. Trading day: midnight in New York.
        timestamp_str: str, YYYY-MM-DD. Trading day, in New York.
        total_shares_short: int64, shares. Shares sold short that day.
        nasdaq_shares_short: int64, shares. Of them on Nasdaq.
        nyse_shares_short: int64, shares. Of them on NYSE.
        short_percent: float64, percent. Shares sold short over volume, the number before the percent sign:
            12.34 is 12.34 %.
        volume: int64, shares. Shares traded.
        close_price: float64, USD. Close price of that day.
        last_close_price: float64, USD. Close price of the trading day before.
        daily_trade_avg_ratio: float64, percent. Average daily trade ratio over the 20 trading days before,
            the number before the percent sign.
    """

    timestamp: int | None = None
    timestamp_str: str | None = None
    total_shares_short: int | None = None
    nasdaq_shares_short: int | None = None
    nyse_shares_short: int | None = None
    short_percent: float | None = None
    volume: int | None = None
    close_price: float | None = None
    last_close_price: float | None = None
    daily_trade_avg_ratio: float | None = None


@dataclass(frozen=True, slots=True)
class HkDailyShortVolume:
    """One trading day of a Hong Kong security.

    Attributes:
        timestamp: int64, Unix seconds. Trading day: midnight in Hong Kong.
        timestamp_str: str, YYYY-MM-DD. Trading day, in Hong Kong.
        shares_traded: int64, shares. Shares traded.
        turnover: float64, HKD. Turnover.
        short_sell_shares_traded: int64, shares. Shares sold short that day.
        short_sell_turnover: float64, HKD. Turnover of short sales.
        open_price: float64, HKD. Open price of that day.
        close_price: float64, HKD. Close price of that day.
        last_close_price: float64, HKD. Close price of the trading day before.
        daily_trade_avg_ratio: float64, percent. Average daily trade ratio over the 20 trading days before,
            the number before the percent sign.
    """

    timestamp: int | None = None
    timestamp_str: str | None = None
    shares_traded: int | None = None
    turnover: float | None = None
    short_sell_shares_traded: int | None = None
    short_sell_turnover: float | None = None
    open_price: float | None = None
    close_price: float | None = None
    last_close_price: float | None = None
    daily_trade_avg_ratio: float | None = None


Record: TypeAlias = UsShortInterest | HkShortInterest | UsDailyShortVolume | HkDailyShortVolume
