"""What cannot work is refused when a binding or a proto is taken: with its name, a reason, and nothing written.

Roles that no column can have, rows without the day that histories need, arguments that no page is asked with, fields
that a page which is cut would lack, defaults that would pass for values, names that every message has, names that the
faces and the schema have, numbers that no frame and no budget has, brands that would take the place of other folders.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.codegen.test_all_packages_or_none import (
    BINDING,
    BRANDS,
    LAST_US_FIELD,
    MARKETS,
    PROTO,
    Edit,
    Scratch,
    change,
    wrong,
)
from tests.processes import ROOT


@pytest.fixture
def scratch(tmp_path: Path) -> Scratch:
    return Scratch.make(tmp_path / "repository")


def several(*edits: Edit) -> Edit:
    def edit(scratch: Scratch) -> None:
        for one in edits:
            one(scratch)

    return edit


def whole(path: str, text: str) -> Edit:
    return lambda scratch: scratch.write(path, text)


def without_folder(path: str) -> Edit:
    return lambda scratch: shutil.rmtree(scratch.root / path)


def without_hk_table(scratch: Scratch) -> None:
    scratch.write(BINDING, scratch.read(BINDING).partition('[[table]]\nmarket = "HK"')[0] + _BARE)


_BARE = """[[table]]
market = "HK"
list = "hkItemList"
record = "Bare"
schedule = "weekly"
columns = []

[docs]
"""

DEFAULT = 'default_call = "short_interest"\n'
DAILY = "codegen/bindings/daily_short_volume.toml"

CASES = [
    *(
        wrong(f"two-bindings-of-one-{key}", change(DAILY, old, new), f"two bindings have the {key} {told}")
        for key, old, new, told in (
            ("name", 'name = "daily_short_volume"', 'name = "short_interest"', "short_interest"),
            ("call", 'call = "get_daily_short_volume"', 'call = "get_short_interest"', "get_short_interest"),
            ("proto_id", "proto_id = 3248", "proto_id = 3249", "3249"),
            ("record", 'record = "HkDailyShortVolume"', 'record = "HkShortInterest"', "HkShortInterest"),
        )
    ),
    wrong(
        "keyword-for-a-record", change(DAILY, "HkDailyShortVolume", "class"), "the record 'class' is no name in Python"
    ),
    wrong(
        "role-of-no-field",
        change(BINDING, 'short = "sharesShort"', 'short = "sharesShrot"'),
        *("short_interest.toml: table[0] `short` sharesShrot is no field of", "takes one of", "sharesShort"),
    ),
    wrong(
        "role-of-a-text",
        change(BINDING, 'price = "closePrice"', 'price = "timestampStr"'),
        "short_interest.toml: table[0] `price` timestampStr is str: it takes a column of int64 or float64",
    ),
    wrong(
        "position-in-fractions",
        change(BINDING, 'short = "sharesShort"', 'short = "closePrice"'),
        "short_interest.toml: table[0] `short` closePrice is float64: it takes a column of int64",
    ),
    wrong(
        "other-price-of-no-field",
        change(BINDING, 'other_prices = ["lastClosePrice"]', 'other_prices = ["lastPrice"]'),
        "short_interest.toml: table[0] `other_prices` lastPrice is no field of",
    ),
    wrong(
        "role-of-a-skipped-field",
        several(
            change(BINDING, '  { field = "daysToCover", unit = "days" },\n', ""),
            change(BINDING, 'market = "US"', 'market = "US"\nskip = ["daysToCover"]'),
        ),
        "short_interest.toml: table[0] `ratio` daysToCover is skipped: it takes one of",
    ),
    wrong(
        "rows-without-their-day",
        several(
            change(PROTO, "message C2S", "message Bare { optional int64 endDate = 1; }\n\nmessage C2S"),
            change(PROTO, "repeated HkShortInterestItem", "repeated Bare"),
            without_hk_table,
        ),
        *("short_interest.toml: table[1] ", "Bare has no column `timestamp` of integers", "say their day"),
    ),
    wrong(
        "day-that-is-a-text",
        change(PROTO, "optional int64 timestamp = 1;", "optional string timestamp = 1;"),
        "has no column `timestamp` of integers",
    ),
    wrong(
        "argument-beside-the-security",
        change(PROTO, "message C2S {", "message C2S {\n  required int32 periodType = 9;"),
        *("short_interest.toml: Qot_GetShortInterest.C2S.periodType is required", "a security and nothing else"),
    ),
    wrong(
        "cursor-that-is-required",
        change(PROTO, "optional string nextKey = 2", "required string nextKey = 2"),
        "Qot_GetShortInterest.C2S.nextKey is required",
    ),
    wrong(
        "reply-that-requires-what-no-table-has",
        change(PROTO, "message S2C {", "message S2C {\n  required int32 total = 9;"),
        *("Qot_GetShortInterest.S2C.total is required", "`attrs` of each table"),
    ),
    wrong(
        "skipped-field-that-is-required",
        several(
            change(PROTO, LAST_US_FIELD, f"{LAST_US_FIELD}\n  required int32 note = 9;"),
            change(BINDING, 'market = "US"', 'market = "US"\nskip = ["note"]'),
        ),
        "table[0] `skip` note: Qot_GetShortInterest.UsShortInterestItem.note is required",
    ),
    *(
        wrong(
            f"default-of-{kind}",
            change(PROTO, LAST_US_FIELD, f"{LAST_US_FIELD}\n  optional {kind} extra = 9 [default = {value}];"),
            f"UsShortInterestItem.extra is {kind} and no column: its default is {told}",
        )
        for kind, value, told in (
            *(("double", "1.5", "1.5"), ("float", "inf", "inf"), ("double", "nan", "nan"), ("int32", "-1", "-1")),
            *(("bool", "true", "true"), ("string", '"0"', "0"), ("string", '"x"', "x")),
        )
    ),
    *(
        wrong(
            f"{name}-in-{where}",
            change(PROTO, f"message {where} {{", f"message {where} {{\n  optional int32 {name} = 19;"),
            f"Qot_GetShortInterest.{where}.{name} hides the `{name}` that every message has",
        )
        for name, where in (
            *(("HasField", "UsShortInterestItem"), ("DESCRIPTOR", "HkShortInterestItem"), ("SerializeToString", "C2S")),
            *(("HasField", "S2C"), ("HasField", "Response"), ("SetInParent", "Request")),
        )
    ),
    # Names that are taken.
    *(
        wrong(
            f"call-named-{name}",
            change(DAILY, 'call = "get_daily_short_volume"', f'call = "{name}"'),
            *("futu_si/__init__.py:", f"`{name}`"),
        )
        for name in ("history", "Client")
    ),
    *(
        wrong(f"record-named-{name}", change(DAILY, "HkDailyShortVolume", name), told, f"{name}")
        for name, told in (
            *(("Page", "futu_si/__init__.py:"), ("int", "codegen/bindings: the record ")),
            *(("dataclass", "codegen/bindings: the record "), ("Record", "codegen/bindings: the record ")),
        )
    ),
    *(
        wrong(
            f"call-whose-constant-is-{name.upper()}",
            change(DAILY, 'name = "daily_short_volume"', f'name = "{name}"'),
            f"codegen/bindings: the name '{name}' is taken",
        )
        for name in ("calls", "hk")
    ),
    # Numbers that no frame, no request and no budget has.
    *(
        wrong(f"{key.replace(' ', '')}-{number}", change(BINDING, f"{key} = {was}", f"{key} = {number}"), told)
        for key, was, number, told in (
            *(("proto_id", 3249, 0, "`proto_id` is not in 1.."), ("proto_id", 3249, 2**32, "`proto_id` is not in 1..")),
            *(("requests", 30, 0, "rate `requests` and `seconds`"), ("seconds", 30, -1, "rate `requests` and `seco")),
            ("maximum", 50, 2**31, "page_size `maximum` is more than `num` can be"),
        )
    ),
    # Brands and markets.
    *(
        wrong(
            f"package-{package!r}",
            change(BRANDS, 'package = "futu_si"', f'package = "{package}"'),
            f"brands.toml: brand[0] `package` '{package}' is no name in Python",
        )
        for package in ("", "../out")
    ),
    wrong("one-package-for-two", change(BRANDS, '"futu_si"', '"moomoo_si"'), "two brands have the same package"),
    wrong("one-command-for-two", change(BRANDS, '"futu-si"', '"moomoo-si"'), "two brands have the same command"),
    wrong("one-prefix-for-two", change(MARKETS, 'prefix = "US"', 'prefix = "HK"'), "two markets have the same prefix"),
    wrong("codegen-for-a-package", change(BRANDS, '"futu_si"', '"codegen"'), "/codegen: codegen has rendered nothing"),
    # Entries that are no tables, and nothing at all.
    wrong("number-for-a-column", change(BINDING, "columns = [", "columns = [1,"), "table[0] `columns` has 1: it takes"),
    wrong("number-for-a-brand", whole(BRANDS, f"{DEFAULT}brand = [1]\n"), "brands.toml: `brand` has 1: it takes"),
    wrong(
        "number-for-an-origin",
        whole("codegen/protos/manifest.toml", "proto = [1]\n"),
        "manifest.toml: it holds [[proto]] tables and nothing else",
    ),
    wrong("no-brand", whole(BRANDS, f"{DEFAULT}brand = []\n"), "brands.toml: no `brand`"),
    *(
        wrong(
            f"no-template-of-the-{name}",
            without_folder(f"templates/{name}"),
            f"templates/{name}: no template, so there is nothing to make",
        )
        for name in ("schema", "brand")
    ),
]


@pytest.mark.parametrize(("edit", "said"), CASES)
def test_what_cannot_work_is_one_clear_error_and_changes_nothing(
    scratch: Scratch, capsys: pytest.CaptureFixture[str], edit: Edit, said: Sequence[str]
) -> None:
    edit(scratch)
    before = scratch.outputs()
    assert scratch.run("--accept") == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("codegen: ")
    assert [text for text in said if text not in err] == [], err
    assert scratch.outputs() == before


@pytest.mark.parametrize("folder", ["docs", "opend_si", "tests"])
def test_a_brand_called_like_another_folder_removes_nothing_of_it(
    scratch: Scratch, capsys: pytest.CaptureFixture[str], folder: str
) -> None:
    scratch.write(f"{folder}/__init__.py", "# by hand\n")
    scratch.write(f"{folder}/deeper/by_hand.py", "")
    scratch.change(BRANDS, '"futu_si"', f'"{folder}"')
    before = {path: path.read_bytes() for path in scratch.root.rglob("*") if path.is_file()}
    for options in ((), ("--check",)):
        assert scratch.run(*options) == 1
        err = capsys.readouterr().err
        assert err.startswith(f"codegen: {scratch.root / folder}: codegen has rendered nothing of what is there")
    assert {path: path.read_bytes() for path in scratch.root.rglob("*") if path.is_file()} == before


def test_a_brand_may_get_another_name(scratch: Scratch) -> None:
    scratch.change(BRANDS, '"futu_si"', '"another_si"')
    assert scratch.run() == 0
    assert scratch.read("another_si/_quote.py") == (ROOT / "futu_si/_quote.py").read_text(encoding="utf-8").replace(
        "futu_si", "another_si"
    )
    assert not [path for path in (scratch.root / "futu_si").rglob("*") if path.is_file()]
