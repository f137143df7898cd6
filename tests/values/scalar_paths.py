"""Takes every path with rows that have a column of each scalar type, in a tree whose proto has gained them.

Run by `test_every_scalar_type_is_a_column`, in a process of its own. It holds the paths against the values that plain
protobuf reads from the bytes that OpenD sends.
"""

import asyncio
import csv
import io
import json
import subprocess
import sys
from math import inf, isfinite, nan
from pathlib import Path
from typing import Any

FIELDS = json.loads(sys.argv[1])  # of the proto: type and column
HOME = Path(sys.argv[2])
if sys.argv[3] == "without ptars":
    sys.modules["ptars"] = None  # type: ignore[assignment]

import pandas as pd  # noqa: E402
from google.protobuf.json_format import MessageToDict  # noqa: E402

import futu_si  # noqa: E402
from opend_si.research import arrow  # noqa: E402
from opend_si.research.changes import with_changes  # noqa: E402
from opend_si.simulator import Simulator, Universe  # noqa: E402
from opend_si_schema.calls import SHORT_INTEREST  # noqa: E402
from opend_si_schema.definitions import ADDED  # noqa: E402

TABLE: Any = next(table for table in SHORT_INTEREST.tables if table.market.prefix == "HK")
SYMBOLS = PLAIN, REVISED = "HK.00001", "HK.00005"
SIGNED, UNSIGNED = (0, 1, -1, 2**31 - 1, -(2**31)), (0, 7, 2**31, 2**32 - 1)
LONG, NATURAL = (*SIGNED, 2**53 + 1, 2**63 - 1, -(2**63)), (*UNSIGNED, 2**53 + 1, 2**63 - 1)
VALUES: dict[str, tuple[Any, ...]] = {
    **dict.fromkeys(("int32", "sint32", "sfixed32"), SIGNED),
    **dict.fromkeys(("int64", "sint64", "sfixed64"), LONG),
    **dict.fromkeys(("uint32", "fixed32"), UNSIGNED),
    **dict.fromkeys(("uint64", "fixed64"), NATURAL),
    "double": (0.0, -0.0, 0.1, -inf, inf, nan, 5e-324, 1.7976931348623157e308),
    "float": (0.0, -0.0, 0.1, -inf, inf, nan, 1e-45, 3.4028234663852886e38),
    "bool": (False, True),
    "string": ("", "x", "空头", 'a, "b"\nc', " "),
    "Grade": (3, 0, -5),
}
NAMES = {field: column for field, (_, column) in FIELDS.items()}
GRADE = next(field for field, (kind, _) in FIELDS.items() if kind == "Grade")


def fill(universe: Any, symbol: str) -> None:
    """Give the rows of a symbol all values, and each of them is missing in some."""
    for index, row in enumerate(universe.rows(symbol)):
        some = {
            field: (None, *VALUES[kind])[(index + place) % (len(VALUES[kind]) + 1)]
            for place, (field, (kind, _)) in enumerate(FIELDS.items())
        }
        universe.revise(symbol, index, **some)
        if index % 7 == 3:  # a number that the enum does not have, as a newer OpenD may send it
            row = universe.rows(symbol)[index]
            row.ClearField(GRADE)
            row.MergeFromString(bytes([*_varint(row.DESCRIPTOR.fields_by_name[GRADE].number << 3), 77]))


def _varint(number: int) -> list[int]:
    return [number] if number < 128 else [number & 127 | 128, *_varint(number >> 7)]


def sent(universe: Any, symbol: str) -> dict[str, list[Any]]:
    """What plain protobuf reads of the rows, oldest first."""
    rows = [type(row).FromString(row.SerializeToString()) for row in universe.rows(symbol)[::-1]]
    return {
        name: [getattr(row, field) if row.HasField(field) else None for row in rows] for field, name in NAMES.items()
    }


def in_frame(values: list[Any]) -> list[Any]:
    """The same as a frame has them: a missing float is NaN."""
    is_float = any(isinstance(value, float) for value in values)
    return [nan if is_float and value is None else value for value in values]


def check(what: str, found: dict[str, list[Any]], wanted: dict[str, list[Any]]) -> None:
    for name, values in wanted.items():
        assert repr(found[name]) == repr(values), (what, name, found[name][:20], values[:20])  # NaN and -0.0 too


def columns(frame: Any) -> dict[str, list[Any]]:
    """The values of a frame, with None for what is missing where that is no NaN of a float."""
    return {
        name: [
            None if value is pd.NA or (value != value and frame[name].dtype != "float64") else value
            for value in frame[name].tolist()
        ]
        for name in NAMES.values()
    }


def check_frame(what: str, frame: Any, wanted: dict[str, list[Any]]) -> None:
    check(what, columns(frame), {name: in_frame(values) for name, values in wanted.items()})
    dtypes = {"int": "Int64", "float": "float64", "bool": "boolean", "str": "str"}
    for name, values in wanted.items():
        of = dtypes[type(next(value for value in values if value is not None)).__name__]
        assert str(frame[name].dtype) in (of if None in values else of.lower(), "object" if of == "str" else of)
    assert {*frame} - {column.name for column in TABLE.columns} <= {*ADDED}


def check_pages(client: Any, universe: Any, symbol: str, wanted: dict[str, list[Any]]) -> None:
    walked = [*client.pages(symbol), *client.pages(symbol)]
    pages = walked[: len(walked) // 2]
    records = [record for page in pages for record in page.records][::-1]
    check("records", {name: [getattr(record, name) for record in records] for name in NAMES.values()}, wanted)
    check_frame("page", pages[0].hk[::-1], {name: values[-50:] for name, values in wanted.items()})
    rows = json.loads(pages[0].to_json())[TABLE.list_field]
    assert rows == [MessageToDict(row) for row in universe.rows(symbol)[:50]]
    cut = client.get_page(symbol, num=7)  # of recorded pages, written anew
    assert repr([*cut.records]) == repr(records[::-1][:7])
    assert repr(columns(cut.hk)) == repr({name: values[:7] for name, values in columns(pages[0].hk).items()})


async def check_asyncio(port: int, wanted: dict[str, list[Any]]) -> None:
    from futu_si import AsyncClient

    async with AsyncClient(port=port, cache=HOME / "asyncio.sqlite3") as client:
        check_frame("asyncio history", await client.history(PLAIN), wanted)
        check_frame(
            "asyncio page", (await client.get_page(PLAIN, num=9)).hk[::-1], {n: v[-9:] for n, v in wanted.items()}
        )


def check_export(client: Any, wanted: dict[str, list[Any]]) -> None:
    import pyarrow.parquet as pq

    (parquet,) = client.export(HOME / "parquet")
    check("Parquet", pq.read_table(parquet, partitioning=None).to_pydict(), wanted)
    pd.testing.assert_frame_equal(
        pd.read_parquet(HOME / "parquet")[[*NAMES.values()]], client.panel()[[*NAMES.values()]]
    )
    (file,) = client.export(HOME / "csv", "csv")
    with open(file, encoding="utf-8", newline="") as text:  # noqa: PTH123
        rows = [*csv.DictReader(text)]
    for name, values in wanted.items():
        read: Any = {"int": int, "float": float, "bool": "true".__eq__, "str": str}[
            type(next(value for value in values if value is not None)).__name__
        ]
        found = [None if row[name] == "" else read(row[name]) for row in rows]
        assert repr(found) == repr([None if value == "" else value for value in values]), name


def check_console(cache: Path, wanted: dict[str, list[Any]]) -> None:
    def said(*form: str) -> str:
        command = [sys.executable, "-m", "futu_si", "history", PLAIN, "--offline", "--cache", str(cache), *form]
        return subprocess.run(command, check=True, capture_output=True, encoding="utf-8").stdout

    rows = json.loads(said("--json"))
    for name, values in wanted.items():
        for row, value in zip(rows, values, strict=True):
            if not isinstance(value, float) or isfinite(value):  # JSON has no other number
                assert repr(row[name]) == repr(value), name
    assert len([*csv.DictReader(io.StringIO(said("--csv"), newline=""))]) == len(rows)
    assert " True " in said()


def main() -> None:
    universe = Universe(symbols=SYMBOLS, most_rows=120)
    universe.publish(PLAIN, 1)  # made-up values fit their fields
    for symbol in SYMBOLS:
        fill(universe, symbol)
    with Simulator(universe) as opend:
        cache = HOME / "pages.sqlite3"
        with futu_si.Client(port=opend.port, cache=cache, max_age=0) as client:
            assert client.sync(SYMBOLS).ok
            before = sent(universe, REVISED)
            fields = {
                field: next(v for v in VALUES[kind] if v != before[NAMES[field]][-1])
                for field, (kind, _) in FIELDS.items()
            }
            universe.revise(REVISED, 0, **fields)
            assert client.sync(SYMBOLS).ok
            changes = client.revisions(REVISED)
            assert {*changes["column"]} == {*NAMES.values()}
            after = {name: sent(universe, REVISED)[name][-1] for name in NAMES.values()}
            for name, old, new in zip(changes["column"], changes["before"], changes["after"], strict=True):
                assert (repr(old), repr(new)) == (repr(before[name][-1]), repr(after[name]))
        wanted = {symbol: sent(universe, symbol) for symbol in SYMBOLS}
        asyncio.run(check_asyncio(opend.port, wanted[PLAIN]))

    assert (arrow._handler(SHORT_INTEREST) is None) == (sys.argv[3] == "without ptars")
    both = {name: [*wanted[PLAIN][name], *wanted[REVISED][name]] for name in NAMES.values()}
    with futu_si.Client(mode="offline", cache=cache) as client:
        for symbol in SYMBOLS:
            check_frame("history", client.history(symbol), wanted[symbol])
            check_frame("changes", with_changes(client.history(symbol)), wanted[symbol])
            check_pages(client, universe, symbol, wanted[symbol])
        check_console(cache, wanted[PLAIN])
        check("arrow_table", client.arrow_table().to_pydict(), both)  # one symbol in arrays, one by the walk
        check_frame("panel", client.panel(), both)
        for name, values in both.items():
            if isinstance(values[0], (bool, str)) or isinstance(values[1], (bool, str)):
                try:
                    client.screen(by=name)
                except futu_si.InvalidArgument:
                    continue
                raise AssertionError(name)
            latest = [wanted[symbol][name][-1] for symbol in SYMBOLS]
            order = sorted(latest, key=lambda value: (value is None or value != value, -(value or 0)))
            assert repr(in_frame(columns(client.screen(by=name))[name])) == repr(in_frame(order)), name
        check_export(client, both)


main()
