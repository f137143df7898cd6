# Rendered by codegen from templates/brand/_quote.py.j2. Do not edit: change the template, then run "python -m codegen".
"""The surface that the broker documents: `OpenQuoteContext` and the functions that answer `(ret, us_df, hk_df)`."""

import os
from types import TracebackType
from typing import TYPE_CHECKING

from futu_si._client import DEFAULT, Client
from opend_si.client.dropin import Answer, answer
from opend_si.settings import NOT_GIVEN, KeyFile, MaxAge, ModeName, NotGiven, WaitCallback, encrypting
from opend_si_schema.calls import (
    DAILY_SHORT_VOLUME,
    SHORT_INTEREST,
)


class OpenQuoteContext:
    """The broker's quote context, as far as the bound calls need it.

    Unlike the published client's it does not wait for OpenD when it is made, prints nothing and keeps no thread: an
    OpenD that is away is an error text from the first call.

    Args:
        is_encrypt: As the broker documents it. True: encrypted with the key that `rsa_key` or `OPEND_RSA_KEY` names (there is
            no `SysConfig` here); False: not encrypted, even if they name one; None: encrypted if they name one.
        host: Machine that runs OpenD. Not given: `OPEND_HOST`, else 127.0.0.1.
        port: Port that OpenD listens on, 1 to 65535. Not given: `OPEND_PORT`, else 11111.
        rsa_key: Path of the RSA private key file that OpenD has, too (`rsa_private_key` in its configuration); the connection
            is then encrypted, and a client without the key is turned away. PEM, PKCS#1 or PKCS#8, of any size, without a
            passphrase; read whenever the connection is opened. Needs the extra `encrypt`. None: not encrypted. Not given:
            `OPEND_RSA_KEY`, else not encrypted.
        mode: How the page cache is used. `online`: a fresh recorded page answers, otherwise it is fetched and recorded;
            `refresh`: fetched and recorded; `offline`: a recorded page answers whatever its age, no socket is opened;
            `bypass`: fetched, nothing is read or recorded. Not given: `OPEND_SI_MODE`, else `online`.
        cache: File of the page cache. Not given: `OPEND_SI_CACHE`, else `pages.sqlite3` in the folder `OPEND_SI_HOME`,
            else in the user's data folder.
        max_age: How long a recorded page is fresh: seconds, a `timedelta`, or a text such as `90m`, `12h` or `7d`; 0: it is
            always asked for again; None or `"never"`: for ever; `"publication"`: until the market's publication rule says
            that a new row can exist, a week at most. Not given: `OPEND_SI_MAX_AGE` (the same texts), else 12 hours.
        timeout: Seconds that one request may take, waiting for the rate budget not counted. Not given: 12.
        on_wait: Called with the seconds that are left, about four times a second, while the rate budget makes a call
            wait. They are a float; its `why` is a text, and `is_refused` says whether OpenD refused, since others use its
            limit. Not given: the first wait of more than three seconds is a warning. Each such wait is logged at INFO.

    Raises:
        InvalidArgument: A setting is wrong.
    """

    def __init__(
        self,
        host: str | None = None,
        port: int | None = None,
        is_encrypt: bool | None = None,
        *,
        rsa_key: KeyFile | NotGiven | None = NOT_GIVEN,
        mode: ModeName | None = None,
        cache: str | os.PathLike[str] | None = None,
        max_age: MaxAge | NotGiven = NOT_GIVEN,
        timeout: float | None = None,
        on_wait: WaitCallback | None = None,
    ) -> None:
        self._client = Client(
            host,
            port,
            rsa_key=encrypting(is_encrypt, rsa_key),
            mode=mode,
            cache=cache,
            max_age=max_age,
            timeout=timeout,
            on_wait=on_wait,
        )

    if not TYPE_CHECKING:  # a type checker says by itself what is not here

        def __getattr__(self, name: str) -> None:
            published = f"{__name__.partition('_si')[0]}.OpenQuoteContext"
            raise AttributeError(
                f"{name} is not here: the OpenQuoteContext of futu_si has get_short_interest and get_daily_short_volume. "
                f"Quotes and subscriptions stay with the published client's: make a {published}(host, port) beside it.",
                name=name,
                obj=self,
            )

    def __enter__(self) -> "OpenQuoteContext":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def get_short_interest(
        self,
        code: str | None = None,
        next_key: str | None = None,
        num: int | None = None,
        *,
        stock_code: str | None = None,
    ) -> Answer:
        """One page of short interest, as the module-level `get_short_interest` gives it, from this context's OpenD."""
        return answer(self._client, SHORT_INTEREST, code, stock_code, next_key, num)

    def get_daily_short_volume(
        self,
        code: str | None = None,
        next_key: str | None = None,
        num: int | None = None,
        *,
        stock_code: str | None = None,
    ) -> Answer:
        """One page of daily short volume, as the module-level `get_daily_short_volume` gives it, from this context's OpenD."""
        return answer(self._client, DAILY_SHORT_VOLUME, code, stock_code, next_key, num)


def get_short_interest(
    code: str | None = None,
    next_key: str | None = None,
    num: int | None = None,
    *,
    stock_code: str | None = None,
) -> Answer:
    """One page of short interest, newest row first, as the broker documents the call.

    A recorded page answers while it is fresh. Otherwise it asks the OpenD that `configure` names (else `OPEND_HOST` and
    `OPEND_PORT`, else 127.0.0.1:11111) over a connection that is opened at first use and shared by all threads, and
    records what came. `configure` also sets how the record is used.

    Args:
        code: Symbol of a HK or US equity or fund, such as `HK.00700` or `US.AAPL`.
        next_key: `attrs["next_key"]` of the frames of the page before. None or `""`: the first page.
        num: Rows of the page, 1 to 50. None: 10.
        stock_code: Another name for `code`; the moomoo page uses it.

    Returns:
        `(RET_OK, us_df, hk_df)`: two DataFrames, of which the one of the other market is empty. Rows are sorted by
        date, newest first. Both have `attrs["next_key"]`: the cursor of the page after this one, `"-1"` at the end. Their
        `attrs` also say what the rows are: `symbol`, `market`, `kind`, `units`, `source` (`opend` or `cache`), `checked_at`.

        `(RET_ERROR, text, None)` when the page did not come: an argument is wrong (no request was spent), OpenD cannot
        be reached or refused. The text says what to do. Nothing is raised for any of these.

        US columns:

        - timestamp: int64, Unix seconds. Settlement date: midnight in New York.
        - timestamp_str: str, YYYY-MM-DD. Settlement date, in New York.
        - shares_short: int64, shares. Shares sold short and not yet covered.
        - short_percent: float64, percent. Short ratio, the number before the percent sign: 12.34 is 12.34 %.
        - avg_daily_share_volume: int64, shares. Average daily share volume.
        - days_to_cover: float64, days. Days to cover: shares short over average daily volume.
        - close_price: float64, USD. Close price of that day.
        - last_close_price: float64, USD. Close price of the trading day before.

        HK columns:

        - timestamp: int64, Unix seconds. Reporting date: midnight in Hong Kong.
        - timestamp_str: str, YYYY-MM-DD. Reporting date, in Hong Kong.
        - aggregated_short: int64, shares. Aggregated reportable short positions.
        - aggregated_short_ratio: float64, percent. Short positions over shares outstanding, the number before
          the percent sign: 12.34 is 12.34 %.
        - close_price: float64, HKD. Close price of that day.
        - last_close_price: float64, HKD. Close price of the trading day before.

        An integer column in which OpenD left out a value is `Int64`; a missing float is NaN.

    Source: https://openapi.futunn.com/futu-api-doc/en/quote/get-short-interest.html (protocol 3249).
    """
    return answer(DEFAULT.get(), SHORT_INTEREST, code, stock_code, next_key, num)


def get_daily_short_volume(
    code: str | None = None,
    next_key: str | None = None,
    num: int | None = None,
    *,
    stock_code: str | None = None,
) -> Answer:
    """One page of daily short volume, newest row first, as the broker documents the call.

    A recorded page answers while it is fresh. Otherwise it asks the OpenD that `configure` names (else `OPEND_HOST` and
    `OPEND_PORT`, else 127.0.0.1:11111) over a connection that is opened at first use and shared by all threads, and
    records what came. `configure` also sets how the record is used.

    Args:
        code: Symbol of a HK or US equity or fund, such as `HK.00700` or `US.AAPL`.
        next_key: `attrs["next_key"]` of the frames of the page before. None or `""`: the first page.
        num: Rows of the page, 1 to 50. None: 10.
        stock_code: Another name for `code`; the moomoo page uses it.

    Returns:
        `(RET_OK, us_df, hk_df)`: two DataFrames, of which the one of the other market is empty. Rows are sorted by
        date, newest first. Both have `attrs["next_key"]`: the cursor of the page after this one, `"-1"` at the end. Their
        `attrs` also say what the rows are: `symbol`, `market`, `kind`, `units`, `source` (`opend` or `cache`), `checked_at`.

        `(RET_ERROR, text, None)` when the page did not come: an argument is wrong (no request was spent), OpenD cannot
        be reached or refused. The text says what to do. Nothing is raised for any of these.

        US columns:

        - timestamp: int64, Unix seconds. Trading day: midnight in New York.
        - timestamp_str: str, YYYY-MM-DD. Trading day, in New York.
        - total_shares_short: int64, shares. Shares sold short that day.
        - nasdaq_shares_short: int64, shares. Of them on Nasdaq.
        - nyse_shares_short: int64, shares. Of them on NYSE.
        - short_percent: float64, percent. Shares sold short over volume, the number before the percent sign:
          12.34 is 12.34 %.
        - volume: int64, shares. Shares traded.
        - close_price: float64, USD. Close price of that day.
        - last_close_price: float64, USD. Close price of the trading day before.
        - daily_trade_avg_ratio: float64, percent. Average daily trade ratio over the 20 trading days before,
          the number before the percent sign.

        HK columns:

        - timestamp: int64, Unix seconds. Trading day: midnight in Hong Kong.
        - timestamp_str: str, YYYY-MM-DD. Trading day, in Hong Kong.
        - shares_traded: int64, shares. Shares traded.
        - turnover: float64, HKD. Turnover.
        - short_sell_shares_traded: int64, shares. Shares sold short that day.
        - short_sell_turnover: float64, HKD. Turnover of short sales.
        - open_price: float64, HKD. Open price of that day.
        - close_price: float64, HKD. Close price of that day.
        - last_close_price: float64, HKD. Close price of the trading day before.
        - daily_trade_avg_ratio: float64, percent. Average daily trade ratio over the 20 trading days before,
          the number before the percent sign.

        Of the reply itself, in the HK frame's `attrs`, None where OpenD sent none:

        - aggregated_short: int64, shares. Aggregated reportable short positions, the newest.
        - aggregated_short_ratio: float64, percent. The same over shares outstanding, the number before the
          percent sign.
        - new_time_str: str, YYYY-MM-DD. Day of the newest data, in Hong Kong.

        An integer column in which OpenD left out a value is `Int64`; a missing float is NaN.

    Source: https://openapi.futunn.com/futu-api-doc/en/quote/get-daily-short-volume.html (protocol 3248).
    """
    return answer(DEFAULT.get(), DAILY_SHORT_VOLUME, code, stock_code, next_key, num)
