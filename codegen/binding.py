"""What a proto cannot say: calls with their tables, markets, their holidays, brands.

They stand in bindings/*.toml, markets.toml, calendars/*.toml and brands.toml.

Reading checks: a key that is missing, unknown or of the wrong type, or a name that the protos do not have, is a
`CodegenError` with the file and the key.
"""

import keyword
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import date
from pathlib import Path

from codegen.columns import DTYPES, MESSAGE_NAMES, column_name, no_column
from codegen.errors import CodegenError
from codegen.files import Toml, visible
from codegen.model import Field, Message, Protos, module_name
from codegen.naming import TYPE_NAMES, constant_case

# What a column can be to research, and the dtypes that serve: changes of a position are counted in whole shares.
ROLES = {"short": ("int64",), "price": ("int64", "float64"), "ratio": ("int64", "float64")}
# What the rendered `records` calls something else.
_NO_RECORDS = TYPE_NAMES | {"Record", "TypeAlias", "dataclass"}
_LARGEST_INT32, _LARGEST_UINT32 = 2**31 - 1, 2**32 - 1
SCHEDULES = ("daily", "weekly", "semimonthly")


@dataclass(frozen=True)
class Brand:
    """One face."""

    package: str
    name: str
    command: str
    documentation: str


@dataclass(frozen=True)
class Market:
    """One market that users can name."""

    prefix: str
    value: str
    number: int
    timezone: str
    title: str
    currency: str
    example: str


@dataclass(frozen=True)
class Year:
    """The regular holidays of a year: the weekdays on which the exchange is closed by plan."""

    number: int
    source: str
    days: tuple[date, ...]


@dataclass(frozen=True)
class Calendar:
    """The years of one market whose holidays are known."""

    market: str
    years: tuple[Year, ...]


@dataclass(frozen=True)
class Column:
    """One column of a table: a field of its record."""

    field: str
    name: str
    python_type: str
    dtype: str
    unit: str
    doc: str

    @property
    def described(self) -> str:
        """`int64, shares. Shares sold short.`"""
        return ", ".join(filter(None, (self.dtype, self.unit))) + (f". {self.doc}" if self.doc else ".")


@dataclass(frozen=True)
class Table:
    """The rows of one market in a reply: a record class and a DataFrame."""

    market: str
    list_field: str
    record: str
    schedule: str
    doc: str
    columns: tuple[Column, ...]
    attrs: tuple[Column, ...]  # of the reply itself, beside its rows
    roles: Mapping[str, str]  # names of columns by what they are to research; `""` where there is none
    other_prices: tuple[str, ...]


@dataclass(frozen=True)
class Call:
    """One paged call of OpenD."""

    name: str
    call: str
    title: str
    package: str  # of its proto
    module: str
    proto_id: int
    since: str
    since_number: int
    page: str
    refusal_name: str
    page_minimum: int
    page_default: int
    page_maximum: int
    rate_requests: int
    rate_seconds: int
    messages: tuple[Message, ...]  # of its proto
    tables: tuple[Table, ...]

    @property
    def constant(self) -> str:
        return constant_case(self.name)

    @property
    def method(self) -> str:
        """What the broker's SDKs call it: `GetShortInterest`; in Java with a small first letter."""
        return self.package.removeprefix("Qot_")

    @property
    def java_method(self) -> str:
        return self.method[0].lower() + self.method[1:]

    @property
    def java_class(self) -> str:
        """The class that protoc puts the messages of its proto into: `QotGetShortInterest`."""
        return self.package.replace("_", "")


def read_brands(path: Path) -> tuple[Brand, ...]:
    brands = []
    toml = Toml.load(path)
    toml.get("default_call", str)
    for entry in toml.tables("brand"):
        brands.append(Brand(**{field.name: entry.get(field.name, str) for field in fields(Brand)}))
        entry.done()
        if not _is_name(brands[-1].package):
            raise entry.error(f"`package` {brands[-1].package!r} is no name in Python")
    toml.done()
    if not brands:
        raise toml.error("no `brand`, so there is no package to make")
    _tell_apart(toml, "brand", brands, "package", "command")
    return tuple(brands)


def read_calls(folder: Path, brands: Path, protos: Protos, markets: Sequence[Market]) -> tuple[Call, ...]:
    """Every binding, the default call first: the one that is meant where a user names no kind."""
    toml = Toml.load(brands)
    default = toml.get("default_call", str)
    calls = [read_call(path, protos, markets) for path in visible(folder, "*.toml")]
    if default not in [call.name for call in calls]:
        raise toml.error(f"`default_call` {default} is not bound in {folder}")
    no_calls = {"CALLS", "MARKETS", *(market.prefix for market in markets)}
    named: list[tuple[str, object]] = [("record", table.record) for call in calls for table in call.tables]
    named += [(key, getattr(call, key)) for key in ("name", "call", "proto_id") for call in calls]
    for key, value in named:
        if named.count((key, value)) > 1:
            raise CodegenError(f"{folder}: two bindings have the {key} {value}")
        if isinstance(value, str) and not _is_name(value):
            raise CodegenError(f"{folder}: the {key} {value!r} is no name in Python")
        if (key == "record" and value in _NO_RECORDS) or (key == "name" and constant_case(str(value)) in no_calls):
            raise CodegenError(f"{folder}: the {key} {value!r} is taken: the schema needs it for something else")
    return tuple(sorted(calls, key=lambda call: (call.name != default, call.name)))


def read_markets(path: Path, protos: Protos) -> tuple[Market, ...]:
    numbers = {
        value.name: value.number
        for file in protos.files
        for enum in file.enums
        if enum.full_name == "Qot_Common.QotMarket"
        for value in enum.values
    }
    markets = []
    toml = Toml.load(path)
    for entry in toml.tables("market"):
        value = entry.get("value", str)
        if value not in numbers:
            raise entry.error(f"`value` {value} is not in Qot_Common.QotMarket")
        named = {name: entry.get(name, str) for name in ("prefix", "timezone", "title", "currency", "example")}
        entry.done()
        markets.append(Market(value=value, number=numbers[value], **named))
    toml.done()
    _tell_apart(toml, "market", markets, "prefix", "value")
    return tuple(markets)


def read_calendars(folder: Path, markets: Sequence[Market]) -> tuple[Calendar, ...]:
    """The holidays of all markets that have a table."""
    return tuple(_read_calendar(path, markets) for path in visible(folder, "*.toml"))


def _read_calendar(path: Path, markets: Sequence[Market]) -> Calendar:
    toml = Toml.load(path)
    market = toml.get("market", str)
    if market != path.stem or market not in [known.prefix for known in markets]:
        raise toml.error(f"`market` {market} is not the file's name, or is not in markets.toml")
    years = [_year(entry) for entry in toml.tables("year")]
    toml.done()
    numbers = [year.number for year in years]
    if not numbers or numbers != list(range(numbers[0], numbers[0] + len(numbers))):
        raise toml.error("the `year` tables do not follow one another without a gap")
    return Calendar(market, tuple(years))


def _year(toml: Toml) -> Year:
    number, source, days = toml.get("year", int), toml.get("source", str), toml.get("days", list)
    toml.done()
    for day in days:
        if type(day) is not date or day.year != number or day.weekday() > 4:
            raise toml.error(f"`days` has {day}, which is no weekday of {number}")
    if not days or days != sorted(set(days)):
        raise toml.error("`days` do not ascend")
    return Year(number, source, tuple(days))


def read_docs(paths: Sequence[Path]) -> dict[str, str]:
    """English documentation by full proto name, of all bindings together."""
    docs: dict[str, str] = {}
    for path in paths:
        docs.update(Toml.load(path).strings("docs"))
    return docs


def proto_of(path: Path) -> str:
    """The proto file that a binding binds."""
    return Toml.load(path).get("proto", str)


def read_call(path: Path, protos: Protos, markets: Sequence[Market]) -> Call:
    """Read one binding and hold it against the protos."""
    toml = Toml.load(path)
    size, rate = toml.table("page_size"), toml.table("rate")
    file = protos.file(toml.get("proto", str))
    assert file is not None, "the binding's proto was compiled"
    reply = _check_paged_shape(toml, protos, file.package)
    for name in toml.strings("docs"):
        _check_documented(toml, protos, name)
    call = Call(
        name=toml.get("name", str),
        call=toml.get("call", str),
        title=toml.get("title", str),
        package=file.package,
        module=module_name(file.name),
        proto_id=toml.get("proto_id", int),
        since=toml.get("since", str),
        since_number=_version_number(toml),
        page=toml.get("page", str),
        refusal_name=toml.get("refusal_name", str),
        page_minimum=size.get("minimum", int),
        page_default=size.get("default", int),
        page_maximum=size.get("maximum", int),
        rate_requests=rate.get("requests", int),
        rate_seconds=rate.get("seconds", int),
        messages=file.messages,
        tables=tuple(_table(entry, protos, reply, markets) for entry in toml.tables("table")),
    )
    for part in (size, rate, toml):
        part.done()
    for field in reply.fields:
        beside = [table for table in call.tables if field.name in [column.field for column in table.attrs]]
        if field.required and field.name != "nextKey" and len(beside) < len(call.tables):
            raise toml.error(
                f"{field.full_name} is required: name it in the `attrs` of each table, or no page can be cut"
            )
    if not 1 <= call.page_minimum <= call.page_default <= call.page_maximum:
        raise size.error("`minimum`, `default`, `maximum` do not ascend from 1")
    if call.page_maximum > _LARGEST_INT32:
        raise size.error(f"`maximum` is more than `num` can be, {_LARGEST_INT32}")
    if not 1 <= call.proto_id <= _LARGEST_UINT32:
        raise toml.error(f"`proto_id` is not in 1..{_LARGEST_UINT32}, as frames have it")
    if min(call.rate_requests, call.rate_seconds) < 1:
        raise rate.error("`requests` and `seconds` are 1 or more: nothing could ever be asked")
    _tell_apart(toml, "table", call.tables, "market", "list_field", "record")
    return call


def _tell_apart(toml: Toml, kind: str, entries: Sequence[object], *keys: str) -> None:
    """Refuse two entries of a file that have the same value where each has its own."""
    for key in keys:
        values = [getattr(entry, key) for entry in entries]
        for value in values:
            if values.count(value) > 1:
                raise toml.error(f"two {kind}s have the same {key}, {value}")


def _is_name(text: str) -> bool:
    """Whether a module, a class or a function can be called so."""
    return text.isidentifier() and not keyword.iskeyword(text)


def _version_number(toml: Toml) -> int:
    """`10.6` -> 1006, as OpenD numbers itself."""
    major, _, minor = toml.get("since", str).partition(".")
    if not (major.isdigit() and minor.isdigit()):
        raise toml.error("`since` is the first OpenD release, such as 10.6")
    return int(major) * 100 + int(minor)


def _check_paged_shape(toml: Toml, protos: Protos, package: str) -> Message:
    """A paged call has Request.c2s{security, nextKey, num} and Response{retType, retMsg, errCode, s2c{nextKey}}."""
    shape = {
        "C2S": {"security": "Qot_Common.Security", "nextKey": "string", "num": "int32"},
        "S2C": {"nextKey": "string"},
        "Request": {"c2s": f"{package}.C2S"},
        "Response": {"retType": "int32", "retMsg": "string", "errCode": "int32", "s2c": f"{package}.S2C"},
    }
    for name, wanted in shape.items():
        message = protos.messages.get(f"{package}.{name}")
        if message is None:
            raise toml.error(f"{package} has no message {name}: a paged call needs it")
        for field_name, proto_type in wanted.items():
            field = message.field(field_name)
            if field is None or field.repeated or field.proto_type != proto_type:
                raise toml.error(f"{message.full_name} needs a field `{field_name}` of type {proto_type}")
        _check_names(toml, message)
    # What the engine always sends; a page cut from the record has what the table's `attrs` name.
    for name, sent in (("Request", ("c2s",)), ("C2S", ("security", "num"))):
        for field in protos.messages[f"{package}.{name}"].fields:
            if field.required and field.name not in sent:
                raise toml.error(
                    f"{field.full_name} is required: a paged call is asked with a security and nothing else"
                )
    return protos.messages[f"{package}.S2C"]


def _check_names(toml: Toml, message: Message) -> None:
    """No field may hide what every message has: the engine asks messages whether a field was sent, and more."""
    for field in message.fields:
        if field.name in MESSAGE_NAMES:
            raise toml.error(
                f"{field.full_name} hides the `{field.name}` that every message has, which the engine needs"
            )


def _check_documented(toml: Toml, protos: Protos, name: str) -> None:
    if name not in protos.documentable:
        raise toml.error(f"`docs` speaks of {name}, which no proto has")


def _table(toml: Toml, protos: Protos, reply: Message, markets: Sequence[Market]) -> Table:
    prefix, list_name = toml.get("market", str), toml.get("list", str)
    market = next((market for market in markets if market.prefix == prefix), None)
    if market is None:
        raise toml.error(f"`market` {prefix} is not in markets.toml")
    rows = reply.field(list_name)
    if rows is None or not rows.repeated or not rows.is_message:
        raise toml.error(f"`list` {list_name} is no repeated message of {reply.full_name}")
    item = protos.messages[rows.type_name]
    _check_names(toml, item)
    listed = _units(toml.tables("columns"), item, market)
    beside = _units(toml.tables("attrs") if toml.has("attrs") else [], reply, market)
    skipped = toml.get("skip", list) if toml.has("skip") else []
    for name in skipped:
        field = item.field(name)
        if field is None or name in listed:
            raise toml.error(f"`skip` {name} is no field of {item.full_name} that no column takes")
        if field.required:
            raise toml.error(f"`skip` {name}: {field.full_name} is required, and a page that is cut would lack it")
    schedule = toml.get("schedule", str)
    if schedule not in SCHEDULES:
        raise toml.error(f"`schedule` is one of {', '.join(SCHEDULES)}")
    columns = tuple(
        _column(toml, field, listed.get(field.name, ""))
        for field in _ordered(item.fields, list(listed))
        if field.name not in skipped
    )
    _check_rows(toml, item, columns)
    table = Table(
        market=prefix,
        list_field=list_name,
        record=toml.get("record", str),
        schedule=schedule,
        doc=item.doc,
        columns=columns,
        attrs=tuple(
            _column(toml, field, beside[field.name]) for field in _ordered(reply.fields, list(beside))[: len(beside)]
        ),
        roles={role: _role(toml, role, toml.get(role, str), item, columns) if toml.has(role) else "" for role in ROLES},
        other_prices=tuple(
            _role(toml, "other_prices", name, item, columns)
            for name in (toml.get("other_prices", list) if toml.has("other_prices") else ())
        ),
    )
    toml.done()
    return table


def _role(toml: Toml, role: str, field: str, item: Message, columns: Sequence[Column]) -> str:
    """The name of the column that has a role."""
    column = next((column for column in columns if column.field == field), None)
    if column is None:
        what = "is skipped" if item.field(field) else f"is no field of {item.full_name}"
        raise toml.error(f"`{role}` {field} {what}: it takes one of {', '.join(column.field for column in columns)}")
    dtypes = ROLES.get(role, ROLES["price"])
    if column.dtype not in dtypes:
        raise toml.error(f"`{role}` {field} is {column.dtype}: it takes a column of {' or '.join(dtypes)}")
    return column.name


def _check_rows(toml: Toml, item: Message, columns: Sequence[Column]) -> None:
    """Histories need the day of each row, and no two columns share a name."""
    if not any((column.field, column.dtype) == ("timestamp", "int64") for column in columns):
        raise toml.error(
            f"{item.full_name} has no column `timestamp` of integers: histories are made of rows that say their day, "
            "as midnight in Unix seconds"
        )
    names = [column.name for column in columns]
    for name in names:
        if names.count(name) > 1:
            raise toml.error(f"{item.full_name} has two fields that become `{name}`")


def _units(entries: Sequence[Toml], message: Message, market: Market) -> dict[str, str]:
    """The units of the fields that a list names, in its order."""
    units: dict[str, str] = {}
    for entry in entries:
        name, unit = entry.get("field", str), entry.get("unit", str)
        entry.done()
        if message.field(name) is None:
            raise entry.error(f"{message.full_name} has no field `{name}`")
        if name in units:
            raise entry.error(f"`{name}` is listed before")
        units[name] = market.currency if unit == "currency" else unit
    return units


def _ordered(fields: Sequence[Field], listed: Sequence[str]) -> list[Field]:
    """The listed fields in their order, then those that the proto has gained since, in the order of their numbers."""
    order = {name: place for place, name in enumerate(listed)}
    return sorted(fields, key=lambda field: (order.get(field.name, len(order)), field.number))


def _column(toml: Toml, field: Field, unit: str) -> Column:
    reason = no_column(field.type, field.default, is_repeated=field.repeated)
    if reason:
        kind = f"repeated {field.proto_type}" if field.repeated else field.proto_type
        raise toml.error(
            f'{field.full_name} is {kind} and no column: {reason}. Leave it out with `skip = ["{field.name}"]`'
        )
    return Column(
        field=field.name,
        name=column_name(field.name),
        python_type=field.scalar_type,
        dtype=DTYPES[field.scalar_type],
        unit=unit,
        doc=field.doc,
    )
