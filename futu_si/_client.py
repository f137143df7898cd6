# Rendered by codegen from templates/brand/_client.py.j2. Do not edit: change the template, then run "python -m codegen".
"""`Client`, and the one behind the module-level functions."""

from opend_si.client import BlockingClient, Default
from opend_si.pages import Page
from opend_si.settings import Settings
from opend_si_schema.calls import SHORT_INTEREST


class Client(BlockingClient):
    """A client of one OpenD that reports errors as exceptions. Threads may share it.

    It connects when the first page is asked for, reconnects when OpenD has dropped the link, and keeps no thread:
    a script that forgets `close()` ends all the same. Use it with `with`, or call `close()`.

    Args:
        host: Machine that runs OpenD. Not given: `OPEND_HOST`, else 127.0.0.1.
        port: Port that OpenD listens on, 1 to 65535. Not given: `OPEND_PORT`, else 11111.
        timeout: Seconds that one request may take. Not given: 12.

    Raises:
        InvalidArgument: A setting is wrong. Nothing is sent when a client is made, so no other error comes from it.
    """

    def __init__(self, host: str | None = None, port: int | None = None, *, timeout: float | None = None) -> None:
        super().__init__(Settings.resolve(host=host, port=port, timeout=timeout))

    def __enter__(self) -> "Client":
        return self

    def get_page(self, code: str, next_key: str | None = None, num: int = 10) -> Page:
        """One page of short interest, newest row first. Costs one request of OpenD's 30 per 30 seconds.

        Args:
            code: Symbol of a HK or US equity or fund, such as `HK.00700` or `US.AAPL`.
            next_key: `Page.next` of the page before. None: the first page.
            num: Rows of the page, 1 to 50.

        Returns:
            A `Page`: its rows as DataFrames (`us`, `hk`), as frozen dataclasses (`records`) and as JSON (`to_json()`);
            `next` is the cursor of the page after it, None at the end. Rows are sorted by date, newest first.

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

        Raises:
            InvalidArgument: An argument is wrong; no request was spent.
            ConnectionFailed: No OpenD at the address, or the link broke twice.
            RequestTimeout: OpenD did not answer in time.
            RateLimited: OpenD's limit is used up.
            UnknownSymbol, NotPermitted, Unsupported, OpenDError: OpenD refused for another reason.
            ProtocolError: What answered does not speak OpenD's protocol.

        Source: https://openapi.futunn.com/futu-api-doc/en/quote/get-short-interest.html (protocol 3249).
        """
        return self._page(SHORT_INTEREST, code, next_key, num)


DEFAULT = Default(Client)


def configure(*, host: str | None = None, port: int | None = None, timeout: float | None = None) -> None:
    """Set how the module-level functions reach OpenD, from the next call on; what is not given stays as it was.

    Args:
        host: Machine that runs OpenD.
        port: Port that OpenD listens on, 1 to 65535.
        timeout: Seconds that one request may take.

    Raises:
        InvalidArgument: A setting is wrong; the settings stay as they were.
    """
    DEFAULT.configure(host=host, port=port, timeout=timeout)
