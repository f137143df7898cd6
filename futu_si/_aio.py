# Rendered by codegen from templates/brand/_aio.py.j2. Do not edit: change the template, then run "python -m codegen".
"""`AsyncClient`: a module of its own, so that who does not use it does not import asyncio."""

import os
from collections.abc import AsyncIterator, Iterable
from typing import TYPE_CHECKING, Literal, overload

from opend_si.client.aio import AsyncioClient
from opend_si.client.doctor import Status
from opend_si.client.sync import Progress, SyncReport
from opend_si.dates import AsOf, PointInTime, Since, When
from opend_si.pages import Page
from opend_si.pages.named import call_of
from opend_si.settings import NOT_GIVEN, KeyFile, MaxAge, ModeName, NotGiven, Settings, WaitCallback
from opend_si.system.files import Files
from opend_si_schema.calls import Kind
from opend_si_schema.records import (
    HkDailyShortVolume,
    HkShortInterest,
    UsDailyShortVolume,
    UsShortInterest,
)

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    from matplotlib.figure import Figure

    from opend_si.history.joining import ImportReport


class AsyncClient(AsyncioClient):
    """The same for asyncio: each answer is awaited, `pages` is an asynchronous iterator. Tasks may share it.

    Requests of one client overlap on one connection. Files are read and written on threads of the event loop, so that
    it is not held up. Cancelling a task leaves the connection and the rate budget right. Use it with `async with`, or
    await `close()`.

    Args:
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
        InvalidArgument: A setting is wrong. Making a client opens nothing, so no other error comes from it.
    """

    def __init__(
        self,
        host: str | None = None,
        port: int | None = None,
        *,
        rsa_key: KeyFile | NotGiven | None = NOT_GIVEN,
        mode: ModeName | None = None,
        cache: str | os.PathLike[str] | None = None,
        max_age: MaxAge | NotGiven = NOT_GIVEN,
        timeout: float | None = None,
        on_wait: WaitCallback | None = None,
    ) -> None:
        super().__init__(
            Settings.resolve(
                host=host,
                port=port,
                rsa_key=rsa_key,
                mode=mode,
                cache=cache,
                max_age=max_age,
                timeout=timeout,
                on_wait=on_wait,
            )
        )

    async def __aenter__(self) -> "AsyncClient":
        return self

    def with_options(
        self, *, mode: ModeName | None = None, timeout: float | None = None, max_age: MaxAge | NotGiven = NOT_GIVEN
    ) -> "AsyncClient":
        """This client with other options, for some calls: `client.with_options(mode="offline").history("US.AAPL")`.

        Connection, files and rate budget are this client's. So nothing has to be closed: `close()` of what is given here,
        and the end of a `with`, close nothing.

        Args:
            mode, timeout, max_age: As for the class. What is not given stays as it is here. `timeout` counts for connecting, too.

        Raises:
            InvalidArgument: An option is wrong, or this client is offline and another mode is asked for: it has no OpenD.
        """
        return self._view(mode, timeout, max_age)

    @overload
    async def get_page(
        self, code: str, next_key: str | None = None, num: int = 10, *, kind: Literal["short_interest"] = ...
    ) -> Page[UsShortInterest | HkShortInterest]: ...
    @overload
    async def get_page(
        self, code: str, next_key: str | None = None, num: int = 10, *, kind: Literal["daily_short_volume"]
    ) -> Page[UsDailyShortVolume | HkDailyShortVolume]: ...
    async def get_page(
        self, code: str, next_key: str | None = None, num: int = 10, *, kind: Kind = "short_interest"
    ) -> Page:
        """One page of a symbol, newest row first.

        A recorded page answers while it is fresh (`max_age`); otherwise the page costs one request of OpenD's
        30 per 30 seconds and is recorded. When the rate budget is used up, the call waits.

        Args:
            code: Symbol of a HK or US equity or fund, such as `HK.00700` or `US.AAPL`.
            next_key: `Page.next` of the page before. None: the first page.
            num: Rows of the page, 1 to 50.
            kind: What rows: `short_interest` or `daily_short_volume`.

        Returns:
            A `Page`: its rows as DataFrames (`us`, `hk`), as frozen dataclasses (`records`) and as JSON (`to_json()`);
            `next` is the cursor of the page after it, None at the end. Rows are sorted by date, newest first.

            The columns of short interest (for other kinds see `get_daily_short_volume`):

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

        Warns:
            ShortInterestWarning: OpenD could not be asked and an expired page answers, or pages cannot be recorded.

        Raises:
            InvalidArgument: An argument is wrong, or the RSA key cannot be used; no request was spent.
            MissingExtra: The connection is to be encrypted, and `cryptography` is not installed.
            ConnectionFailed: No OpenD at the address, or the link broke twice, and no page is recorded.
            RequestTimeout: OpenD did not answer in time, and no page is recorded.
            CacheMiss: Mode offline, and the page is not recorded.
            CacheCorrupt, CacheBusy, CacheVersionMismatch, CacheError: The page cache or the rate budget cannot be used.
            RateLimited: OpenD's limit is used up.
            UnknownSymbol, NotPermitted, Unsupported, OpenDError: OpenD refused for another reason.
            ProtocolError: What answered does not speak OpenD's protocol.

        Source: https://openapi.futunn.com/futu-api-doc/en/quote/get-short-interest.html (protocol 3249).
        """
        return await self._drive(self._ask.page(call_of(kind), code, next_key, num))

    @overload
    def pages(
        self, code: str, *, kind: Literal["short_interest"] = ...
    ) -> AsyncIterator[Page[UsShortInterest | HkShortInterest]]: ...
    @overload
    def pages(
        self, code: str, *, kind: Literal["daily_short_volume"]
    ) -> AsyncIterator[Page[UsDailyShortVolume | HkDailyShortVolume]]: ...
    def pages(self, code: str, *, kind: Kind = "short_interest") -> AsyncIterator[Page]:
        """The pages of a symbol from the newest row to the end, 50 rows each, fetched as they are asked for.

        Recorded pages that still hold are not fetched again.

        Args:
            code: Symbol, as for `get_page`.
            kind: As for `get_page`.

        Raises:
            ProtocolError: A cursor leads in a circle.
            ShortInterestError: As `get_page`: those of arguments at once, all others from the iterator.
        """
        return self._pages(self._ask.pages(call_of(kind), code))

    async def history(
        self,
        code: str,
        start: When | None = None,
        end: When | None = None,
        as_of: When | None = None,
        *,
        by: PointInTime = "record",
        kind: Kind = "short_interest",
    ) -> "pd.DataFrame":
        """The whole history of a symbol, for the fewest requests.

        What is recorded and holds is used: nothing is asked while the newest page is fresh (`max_age`), one request is
        spent after, and more only for rows that are new. Where a fresh page shows that a recorded value was revised, the
        history is walked anew; a revision further down than the newest page shows is found by mode `refresh`.

        Args:
            code: Symbol, as for `get_page`.
            start: First day, included; the walk stops when it is reached. None: as far as OpenD goes.
            end: Last day, included. None: the newest.
            as_of: Answer as of this moment. A day, and a text to the second, means its end. None: now.
            by: What counts at the moment `as_of`. `record`: what had been recorded here by then; nothing is fetched.
                `publication`: the rows that were public by then, by the exchange's rule (`published_by`), with the values that
                are recorded now, also for years before the record began.
            kind: As for `get_page`.

        Days and moments are texts such as `2026-04-30`, dates, datetimes, pandas Timestamps or NumPy's datetime64; what
        has no time zone is the market's. An `as_of` in the future is now, with a warning.

        Returns:
            A DataFrame by `date` (ascending, midnight without a time zone), with the columns that `get_page` lists for
            the market, `published_by` (datetime, midnight without a time zone): the day, in the market's time zone, by whose
            end the row was public by the exchange's rule; and `known_at` (datetime, UTC): when this value was first seen here,
            NaT where the clock of this machine was wrong. `attrs` name symbol, market, kind, source, the columns' units,
            the `origin`: `opend`, `simulator` (the rows are made up), or `gateway`; and `checked_at`, when OpenD last sent
            the newest page as it is: a text such as `2026-05-05T08:00:00.000Z`.

        Warns:
            ShortInterestWarning: OpenD could not be asked and the record answers, pages cannot be recorded, what is recorded
                was sent by a simulator and an OpenD is asked (or the other way round), or most of the history was revised.

        Raises:
            CacheMiss: Mode offline or `as_of`, and not all of it is recorded.
            ConnectionFailed: OpenD cannot be reached, and nothing of it is recorded, or what is was made up by a simulator.
            ProtocolError: Rows are out of order or doubled, a cursor leads in a circle, or rows kept changing.
            ShortInterestError: All others as `get_page`.
        """
        return await self._drive(self._ask.history(call_of(kind), code, start, end, AsOf.read(as_of, by)))

    async def revisions(self, code: str, *, kind: Kind = "short_interest") -> "pd.DataFrame":
        """Which recorded values of a symbol OpenD sent differently later. Nothing is fetched.

        Args:
            code: Symbol, as for `get_page`.
            kind: As for `get_page`.

        Returns:
            A DataFrame with one row a value: `date`, `column`, `before`, `after`, and `seen_at` (datetime, UTC), when the
            new value came, in the order of `seen_at`. Its `attrs` say `symbol`, `market`, `kind` and `origin`.

        Raises:
            InvalidArgument: `code` is no symbol, or the mode is bypass.
            CacheMiss: Nothing of the symbol is recorded.
            CacheCorrupt, CacheBusy, CacheVersionMismatch, CacheError: The page cache cannot be used.
        """
        return await self._run(self._ask.revisions, call_of(kind), code)

    async def changes_since(
        self, moment: Since, codes: Iterable[str] | None = None, *, kind: Kind = "short_interest"
    ) -> "pd.DataFrame":
        """What is new in the record since a moment, and what OpenD sent differently. Nothing is fetched: `sync` first.

        Args:
            moment: From when on. A text such as `2026-04-30 18:00`, a date, a datetime or a pandas Timestamp; or how long
                ago: a timedelta, or a text such as `36h` or `7d`. What has no time zone is this machine's, and a day means
                its beginning, as it is this machine that saw the rows.
            codes: Symbols, as for `get_page`; of both markets if you like. None: all of which something is recorded.
            kind: As for `get_page`.

        Returns:
            A DataFrame with one row for each row that is new and for each value that was revised, sorted by symbol, date
            and moment:

            - `symbol`: such as `HK.00700`.
            - `date` (datetime): the row's date.
            - `what`: `new` or `revised`.
            - `column`: what `before`, `after` and `previous` are values of. Of a new row the column that counts what is short
              stands for the row (`shares_short`, `aggregated_short`).
            - `before`: what OpenD had sent for this row; missing for a new one.
            - `after`: what it sent then.
            - `previous`: the value of the symbol's row before this one, so that `after` less `previous` is the change since
              the last report; missing for the first row.
            - `seen_at` (datetime, UTC): when it was first seen here.
            - `published_by` (datetime): the day by whose end the row was public by the exchange's rule.

            A row that came and was revised since then is there as both. A symbol that was recorded for the first time
            since then has all of its rows here.

        Warns:
            ShortInterestWarning: A symbol whose record cannot be read was left out.

        Raises:
            InvalidArgument: The moment or a symbol is wrong, or the mode is bypass.
            CacheMiss: Nothing is recorded, or nothing of a symbol of `codes`.
            CacheCorrupt, CacheBusy, CacheVersionMismatch, CacheError: The page cache cannot be used.
        """
        return await self._run(self._ask.changes_since, call_of(kind), moment, codes)

    async def sync(
        self, codes: Iterable[str], progress: Progress | bool | None = None, *, kind: Kind = "short_interest"
    ) -> SyncReport:
        """Bring the recorded histories of many symbols up to date, one after the other.

        Every page is recorded as it comes: after an interrupt, or a death, a second sync goes on where the first ended.
        An error of one symbol is in its report and does not stop the rest.

        Args:
            codes: Symbols, as for `get_page`; doubles count once.
            progress: True: a bar on stderr, or below the cell of a notebook. A function: called after each symbol with its
                `SymbolReport`, the number of symbols done, and of all.
            kind: As for `get_page`.

        Returns:
            A `SyncReport`: for each symbol its rows, new rows, revised rows, requests and error; and the sums. Its `changes`
            are the new and revised rows themselves, as `changes_since` gives them.

        Raises:
            InvalidArgument: `codes` are no symbols but something else, or the mode is offline or bypass.
            CacheBusy, CacheVersionMismatch, CacheError: The page cache cannot be written. No request was spent.
        """
        return await self._sync(call_of(kind), codes, progress)

    async def status(self, *, kind: Kind = "short_interest") -> Status:
        """Where the client stands: what is recorded, whether OpenD answers, and what the rate budget has left.

        It connects if need be, except offline, and spends no request of the limit.

        Args:
            kind: As for `get_page`: each has records and a limit of its own.

        Returns:
            A `Status`. Nothing is raised when OpenD is away: the status says why (`error`).

        Raises:
            CacheCorrupt, CacheBusy, CacheVersionMismatch, CacheError: The page cache cannot be read.
        """
        return await self._drive(self._ask.status(call_of(kind)))

    async def recorded(self, *, kind: Kind | None = None) -> "pd.DataFrame":
        """What is recorded of each symbol. Nothing is fetched.

        Args:
            kind: As for `get_page`. None: all kinds.

        Returns:
            A DataFrame with one row for each symbol and kind, sorted by them:

            - `symbol`, `kind`, `market`: such as `HK.00700`, `short_interest`, `HK`.
            - `first`, `last` (datetime): the days of the oldest and the newest row of its history; missing where it has none.
            - `rows` (int64): how many rows its history has: the length of `history`.
            - `complete` (bool): whether that is all that OpenD has. If not, the history ends at `first`, where a gap begins.
            - `asked_at` (datetime, UTC): when OpenD last answered for it.
            - `versions` (int64): how many replies are kept, with those that newer ones superseded.
            - `origin`: `opend`, or `simulator` where the rows are made up.

        Raises:
            InvalidArgument: The kind is unknown, or the mode is bypass.
            CacheMiss: There is no page cache.
            CacheCorrupt, CacheBusy, CacheVersionMismatch, CacheError: The page cache cannot be used.
        """
        return await self._run(self._ask.recorded, kind)

    async def delete(self, codes: Iterable[str], *, kind: Kind | None = None) -> int:
        """Forget what is recorded of some symbols, every version of it. Nothing else is touched.

        Args:
            codes: Symbols, as for `get_page`.
            kind: As for `get_page`. None: all kinds.

        Returns:
            How many records went: one for each symbol and kind.

        Raises:
            InvalidArgument: A code is no symbol, or the mode is bypass.
            CacheMiss: Nothing is recorded of a symbol; then nothing is deleted.
            CacheCorrupt, CacheBusy, CacheVersionMismatch, CacheError: The page cache cannot be used.
        """
        return await self._run(self._ask.delete, codes, kind)

    async def import_record(self, file: str | os.PathLike[str]) -> "ImportReport":
        """Join another record, such as a colleague's, into this one. Nothing that is here is lost, and no old value comes back.

        Versions and the moments at which they came are kept. A symbol that is not recorded here is taken, and so is one of which
        all that is here is there, too. One that both went on with by themselves is joined: its history has every row that either
        had, with the value that was heard last; `known_at` is when the first of the two saw it, `revisions` and `as_of` tell of
        what both heard. A symbol that is damaged, was recorded under a clock that was set back, or was made up by a simulator in
        one of the two alone, is left out, and stays as it is here. A second import changes nothing.

        Args:
            file: Path of a page cache, such as `futu-si cache export` writes one.

        Returns:
            An `ImportReport`: the symbols that were taken, joined, known already, and left out, with the reason for each.

        Raises:
            InvalidArgument: The file is the page cache itself, or the mode is bypass.
            CacheMiss: The file does not exist.
            CacheCorrupt, CacheBusy, CacheVersionMismatch, CacheError: The file, or the page cache, cannot be used.
        """
        return await self._run(self._ask.import_record, file)

    async def verify(self, files: Files) -> "pd.DataFrame":
        """Recorded short interest against the regulators' own files. Nothing is fetched: download the files, and `sync` first.

        Needs the extra `arrow`.

        Args:
            files: Paths of the SFC's weekly CSV (`Short_Position_Reporting_Aggregated_Data_YYYYMMDD.csv`) or of FINRA's short
                interest file (`shrtYYYYMMDD.csv`), as the regulators give them; one, or several of both markets.

        Returns:
            A DataFrame with one row for each value of a recorded symbol on the files' days: `symbol`, `date`, `column`,
            `recorded` and `reported` (float64, NaN where there is none), `result` (`equal`, `different`, `only here`, `only
            there`), `file`. For HK the position, and the close price by the file's HK$ over its shares; 0 and not being listed
            are one. For the US the position, the average volume and the days to cover. `attrs` say what was left out:
            `not_recorded` (lines of symbols that are not recorded), `ambiguous` (recorded symbols that the regulator writes
            alike), `odd` (cells that could not be understood).

        Warns:
            ShortInterestWarning: Symbols that are not completely recorded were left out.

        Raises:
            InvalidArgument: A file is of neither kind, or cannot be read.
            MissingExtra: pyarrow is not installed.
            CacheMiss: Nothing of a file's market is recorded.
            CacheCorrupt, CacheBusy, CacheVersionMismatch, CacheError: The page cache cannot be used.
        """
        return await self._run(self._ask.verify, files)

    async def check(self, market: str | None = None) -> "pd.DataFrame":
        """Recorded short interest against itself: values that do not fit each other. Nothing is fetched: `sync` first.

        Needs the extra `arrow`.

        Args:
            market: `HK` or `US`. None: each of which something is recorded.

        Returns:
            A DataFrame with one row a finding: `symbol`, `date`, `column`, `recorded`, `expected` (float64) and `finding`, a
            text. Looked at are the days to cover against their parts (1.00 where it is less, at most 999.99), the dates against
            the schedule, and the previous close against the row of the day before. A finding is no error: rows are OpenD's.

        Raises:
            ShortInterestError: As `panel`, and it warns as that does.
        """
        return await self._run(self._ask.check, market)

    async def arrow_table(
        self,
        codes: Iterable[str] | None = None,
        market: str | None = None,
        as_of: When | None = None,
        *,
        by: PointInTime = "record",
        kind: Kind = "short_interest",
    ) -> "pa.Table":
        """The recorded histories of many symbols as one Arrow table. Nothing is fetched: `sync` first.

        Needs the extra `arrow`.

        Args:
            codes: Symbols of one market, as for `get_page`. None: all of which something is recorded; those that are not
                completely recorded are left out, with a warning.
            market: `HK` or `US`, whose columns differ. It can be left out where `codes` or what is recorded tell it.
            as_of, by: As for `history`. None: now.
            kind: As for `get_page`.

        Returns:
            A `pyarrow.Table`, sorted by symbol and date, each symbol's rows as `history` gives them: `symbol` (string),
            `date` (date32), the columns that `get_page` lists for the market (int64, double, string; null where
            OpenD left out a value), `published_by` (date32) and `known_at` (timestamp in microseconds, UTC). The schema's metadata name the market
            and the source, each field's `doc` and `unit` say what it is.

        Warns:
            ShortInterestWarning: Symbols were left out.

        Raises:
            InvalidArgument: A symbol or the market is wrong, codes are of two markets, or the mode is bypass.
            MissingExtra: pyarrow is not installed.
            CacheMiss: A symbol of `codes` is not completely recorded, or nothing is.
            CacheCorrupt, CacheBusy, CacheVersionMismatch, CacheError: The page cache cannot be used.
        """
        return await self._run(self._ask.arrow_table, call_of(kind), codes, market, AsOf.read(as_of, by))

    async def panel(
        self,
        codes: Iterable[str] | None = None,
        market: str | None = None,
        as_of: When | None = None,
        *,
        by: PointInTime = "record",
        kind: Kind = "short_interest",
    ) -> "pd.DataFrame":
        """The recorded histories of many symbols as one long DataFrame. Nothing is fetched: `sync` first.

        Needs the extra `arrow`. A panel of all symbols keeps a file of columns beside the page cache, as a sync does, unless
        the mode is offline: the next one is read from it. What it holds is in the page cache, too.

        Args:
            codes, market, as_of, by, kind: As for `arrow_table`.

        Returns:
            A DataFrame, sorted by symbol and date: `symbol` (text), `date` (datetime, midnight without a time zone), the
            columns that `get_page` lists for the market, `published_by` and `known_at` as in `history`. The rows of a symbol
            are those of its `history`. `attrs` name market, kind, source, the columns' units and the `origin`, as there.

        Raises:
            ShortInterestError: As `arrow_table`, and it warns as that does.
        """
        return await self._run(self._ask.panel, call_of(kind), codes, market, AsOf.read(as_of, by))

    async def export(
        self,
        path: str | os.PathLike[str],
        format: Literal["parquet", "csv"] = "parquet",  # noqa: A002
        market: str | None = None,
        *,
        codes: Iterable[str] | None = None,
        as_of: When | None = None,
        by: PointInTime = "record",
        kind: Kind = "short_interest",
    ) -> list[str]:
        """Write recorded histories into files that other engines read. Nothing is fetched: `sync` first.

        The files are a hive-partitioned data set: `path/market=HK/short_interest.parquet`, and so on. Each is there whole or
        not at all; one of before is replaced. Needs the extra `arrow`.

        Args:
            path: A folder, made if need be; or a URL that fsspec knows, such as `s3://bucket/folder`.
            format: `parquet`, with the columns' documentation in the schema's metadata, or `csv`.
            market: `HK` or `US`. None: each of which something is recorded.
            codes, as_of, by, kind: As for `arrow_table`, whose rows and columns the files hold.

        Returns:
            The paths or URLs of the files.

        Raises:
            OSError: A file cannot be written.
            ShortInterestError: As `arrow_table`, and it warns as that does.

        Read the markets one by one, or with a reader that unites columns by name: their columns differ.
        """
        return await self._run(self._ask.export, call_of(kind), path, format, codes, market, AsOf.read(as_of, by))

    async def screen(
        self,
        market: str | None = None,
        by: str = "change_percent",
        top: int = 20,
        as_of: When | None = None,
        *,
        codes: Iterable[str] | None = None,
        ascending: bool = False,
        since: When | None = None,
        as_of_by: PointInTime = "record",
        kind: Kind = "short_interest",
    ) -> "pd.DataFrame":
        """The latest row of each recorded symbol of a market, highest first. Nothing is fetched: `sync` first.

        Rows that are too old to stand beside the others are left out, as those of a security that was delisted.

        Needs the extra `arrow`.

        Args:
            market: `HK` or `US`. It can be left out where only one is recorded.
            by: What to rank by: a column of numbers that `get_page` lists for the market, or what `with_changes` adds: `change`
                or `change_percent`.
            top: How many rows.
            codes, as_of, kind: As for `arrow_table`.
            ascending: True: lowest first.
            since: First day whose rows are ranked, as `start` for `history`. None: the newest day of the schedule whose row was
                public more than a week before the newest row of all. `"2000-01-01"` ranks rows of any age.
            as_of_by: What counts at the moment `as_of`: as `by` for `history`.

        Returns:
            A DataFrame of the columns of `panel` and those that `with_changes` adds; symbols without the value come last. What
            is no measurement is not ranked: infinite numbers, and 999.99 days to cover, which is FINRA's number for all
            that is more.

        Warns:
            ShortInterestWarning: Symbols were left out: how many, why, and some of them by name. For rows that are older than
                a `since` of your own there is no warning.

        Raises:
            ShortInterestError: As `arrow_table`, and it warns as that does.
        """
        return await self._run(
            self._ask.screen,
            call_of(kind),
            codes,
            market,
            by,
            top,
            ascending,
            since,
            AsOf.read(as_of, as_of_by, "as_of_by"),
        )

    async def plot(
        self,
        code: str,
        start: When | None = None,
        end: When | None = None,
        as_of: When | None = None,
        *,
        by: PointInTime = "record",
        kind: Kind = "short_interest",
    ) -> "Figure":
        """A picture of a symbol's history: what is short as an area, close price as a line, below days to cover or a ratio.

        What is missing of the history is fetched, as `history` does. The figure shows itself in a notebook;
        `figure.savefig(path)` writes it. Needs the extra `plot`.

        Args:
            code, start, end, as_of, kind: As for `history`.
            by: As for `history`; with `publication` the rows that were not public yet at the moment `as_of` are drawn hollow,
                and a legend says so. They are those up to that day.

        Returns:
            A `matplotlib.figure.Figure`, of which pyplot knows nothing: there is nothing to close.

        Raises:
            MissingExtra: matplotlib is not installed.
            ShortInterestError: All others as `history`.
        """
        call = call_of(kind)
        source = f"Futu OpenD get_{call.name}"
        return await self._drive(self._ask.plot(call, code, start, end, AsOf.read(as_of, by), source))
