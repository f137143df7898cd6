# Rendered by codegen from templates/schema/definitions.py.j2. Do not edit: change the template, then run "python -m codegen".
"""The classes that `calls` is made of: what a call, its tables and its columns are."""

from dataclasses import dataclass
from typing import Any, Literal

DType = Literal["int64", "float64", "str", "bool"]
Schedule = Literal["daily", "weekly", "semimonthly"]

# Columns that histories, panels, `with_changes` and data sets have besides those of a call, which have other names.
SYMBOL = "symbol"
DATE = "date"
KNOWN_AT = "known_at"
PUBLISHED_BY = "published_by"
MARKET = "market"
DAYS_BETWEEN = "days_between"
CHANGE = "change"
CHANGE_PERCENT = "change_percent"
ADDED = (SYMBOL, DATE, KNOWN_AT, PUBLISHED_BY, MARKET, DAYS_BETWEEN, CHANGE, CHANGE_PERCENT)


@dataclass(frozen=True, slots=True, eq=False)  # one object each: compared and hashed by identity
class Market:
    """A market whose securities can be asked for.

    Attributes:
        prefix: How users write it: the `HK` of `HK.00700`.
        number: How OpenD numbers it (`Qot_Common.QotMarket`).
        timezone: IANA name of the time zone whose midnight stamps the rows.
        title: English name.
        currency: ISO 4217 code of its prices.
        example: A symbol.
    """

    prefix: str
    number: int
    timezone: str
    title: str
    currency: str
    example: str


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table.

    Attributes:
        name: Name in records and DataFrames.
        field: Name in the proto.
        dtype: pandas dtype when every row has a value.
        unit: Unit, or `""`.
        doc: One or two sentences.
    """

    name: str
    field: str
    dtype: DType
    unit: str
    doc: str

    @property
    def is_moment(self) -> bool:
        """Whether it says when something was."""
        return self.unit == "Unix seconds"

    @property
    def is_measure(self) -> bool:
        """Whether it has numbers to compare."""
        return self.dtype in ("int64", "float64") and not self.is_moment


@dataclass(frozen=True, slots=True, eq=False)  # one object each: compared and hashed by identity
class Table:
    """The rows that a reply carries for one market.

    Attributes:
        market: The market.
        list_field: Field of the reply that holds the rows.
        record: Class of one row, its fields in the order of `columns`.
        schedule: How often a row is published.
        columns: Columns in the order of the published client.
        attrs: Values of a reply beside its rows, which go into the frame's `attrs`.
        short: Name of the column that counts what is short; `""` if there is none, as for the next two.
        price: Name of the column with the price of the row's day.
        ratio: Name of the column that measures what is short: a percentage, or days to cover.
        other_prices: Names of columns with prices of other moments.
    """

    market: Market
    list_field: str
    record: type[Any]
    schedule: Schedule
    columns: tuple[Column, ...]
    attrs: tuple[Column, ...]
    short: str
    price: str
    ratio: str
    other_prices: tuple[str, ...]

    def column(self, name: str) -> Column:
        """The column of a name."""
        return next(column for column in self.columns if column.name == name)


@dataclass(frozen=True, slots=True)
class PageSize:
    """How many rows a page may have."""

    minimum: int
    default: int
    maximum: int


@dataclass(frozen=True, slots=True)
class Rate:
    """How many requests OpenD takes within how many seconds."""

    requests: int
    seconds: float


@dataclass(frozen=True, slots=True, eq=False)  # one object each: compared and hashed by identity
class Call:
    """One paged call of OpenD.

    Attributes:
        name: Name of the data, such as `short_interest`.
        title: The same in words.
        proto_id: Protocol id.
        since: First OpenD version that knows it: major * 100 + minor.
        refusal_name: How OpenD names the call when it refuses.
        request: Class of the request: `c2s` has `security`, `nextKey`, `num`.
        response: Class of the reply: `retType`, `retMsg`, `errCode`, `s2c` with `nextKey`.
        page_size: Bounds of `num`.
        rate: OpenD's limit for this call.
        tables: One a market.
    """

    name: str
    title: str
    proto_id: int
    since: int
    refusal_name: str
    request: type[Any]
    response: type[Any]
    page_size: PageSize
    rate: Rate
    tables: tuple[Table, ...]

    def table_of(self, market: str) -> Table:
        """The table of a market, by its prefix."""
        return next(table for table in self.tables if table.market.prefix == market)
