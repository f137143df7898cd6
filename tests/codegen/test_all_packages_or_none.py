"""The build step: protos, bindings and templates become the packages, all of them or none.

Proven here:

- The committed tree is what the inputs give, on any machine: hash seed, working folder, locale and the order of the
  protos change no byte. What differs, is missing or is orphaned is named by `--check` and repaired without it.
- An input that is wrong is one error that names the file and the key; nothing is written then.
- A field that a proto gains arrives in the record, the frame, the stub and both faces' documentation by regenerating.
- What protos may hold and Python trips over (tests/data/awkward) is rendered as the goldens say, works, and its stubs
  tell the truth. Any text can be a docstring or a comment.
- The faces differ in the brand's words and in nothing else.

All of it runs the real protoc and the real ruff, on copies of the repository that the tests may spoil.
"""

import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from hypothesis import example, given, settings
from hypothesis import strategies as st

from codegen.__main__ import SESSION_PROTOS, WEBSOCKET_PROTO, main, make_plan
from codegen.compile import compile_protos, strip
from codegen.naming import constant_case, enum_member, enum_members, snake_case
from codegen.plan import Plan, compare, report
from codegen.render import WIDTH, comment, docstring
from tests.conftest import FACES
from tests.processes import ROOT, SYSTEM_HAS

OUTPUTS = ("generated", "examples", *FACES)
INPUTS = ("codegen", "templates")
NOT_COPIED = shutil.ignore_patterns("__pycache__", ".*_cache", "node_modules", "build")
AWKWARD = ROOT / "tests/data/awkward"

PROTO = "codegen/protos/Qot_GetShortInterest.proto"
BINDING = "codegen/bindings/short_interest.toml"
BRANDS = "codegen/brands.toml"
MARKETS = "codegen/markets.toml"
HOLIDAYS = "codegen/calendars/HK.toml"
INIT = "templates/brand/__init__.py.j2"
COLUMNS = "templates/brand/_columns.j2"
SCHEMA = "generated/opend_si_schema"

LAST_HK_FIELD = "  optional double aggregatedShortRatio = 6;"
LAST_US_FIELD = "  optional double lastClosePrice = 8;"
A_COLUMN = '  { field = "sharesShort", unit = "shares" },'


@dataclass(frozen=True)
class Scratch:
    """A copy of the repository's inputs and outputs that a test may spoil."""

    root: Path

    @classmethod
    def make(cls, root: Path, *more: str) -> "Scratch":
        for name in (*INPUTS, *OUTPUTS, *more):
            shutil.copytree(ROOT / name, root / name, ignore=NOT_COPIED)
        return cls(root)

    def read(self, path: str) -> str:
        return (self.root / path).read_text(encoding="utf-8")

    def write(self, path: str, text: str) -> None:
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(text, encoding="utf-8")

    def change(self, path: str, old: str, new: str) -> None:
        text = self.read(path)
        assert old in text, f"{path} has no {old!r}"
        self.write(path, text.replace(old, new, 1))

    def remove(self, path: str) -> None:
        (self.root / path).unlink()

    def add_proto(self, name: str, text: str) -> None:
        """Put a proto beside the others; a bound one imports it, so it is rendered with them."""
        self.write(f"codegen/protos/{name}", text)
        self.change(PROTO, 'import "Qot_Common.proto";', f'import "Qot_Common.proto";\nimport "{name}";')

    def run(self, *options: str) -> int:
        return main([*options, "--root", str(self.root)])

    def outputs(self) -> dict[str, tuple[bytes, int]]:
        """Bytes and time of change of every output file."""
        return {
            path.relative_to(self.root).as_posix(): (path.read_bytes(), path.stat().st_mtime_ns)
            for name in OUTPUTS
            for path in sorted((self.root / name).rglob("*"))
            if path.is_file() and "__pycache__" not in path.parts and not self.is_example_by_hand(path)
        }

    def is_example_by_hand(self, path: Path) -> bool:
        """Among the examples, what is rendered stands beside what is not."""
        return path.is_relative_to(self.root / "examples") and b"Rendered by codegen" not in path.read_bytes()

    def contents(self) -> dict[str, bytes]:
        return {path: data for path, (data, _) in self.outputs().items()}

    def drift(self) -> None:
        """Change a file, the binary one too, remove one, and add files where none belong."""
        self.change(f"{SCHEMA}/calls.py", "proto_id=3249", "proto_id=9999")
        (self.root / SCHEMA / "descriptors.binpb").write_bytes(b"\xff\xfe")
        self.change("examples/cpp/calls.h", "protocol = 3249", "protocol = 9999")
        self.remove("futu_si/_quote.py")
        self.remove("examples/javascript/calls.mjs")
        self.write("moomoo_si/by_hand.py", "")
        self.write("generated/deeper/.hidden", "")
        self.write("examples/by_hand.txt", "This is no drift.")
        self.write("examples/java/Old.java", self.read("examples/java/com/futu/openapi/FTSPI_Qot.java"))


Edit = Callable[[Scratch], object]


@pytest.fixture
def scratch(tmp_path: Path) -> Scratch:
    return Scratch.make(tmp_path / "repository")


def python(code: str, *arguments: object, path: Sequence[Path], cwd: Path, **environ: str) -> str:
    """What `code` prints, run in a process of its own that finds the modules of `path` before any others."""
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, path)), "PYTHONIOENCODING": "utf-8", **environ},
        cwd=cwd,
        capture_output=True,
        encoding="utf-8",
        timeout=60,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


# The committed tree


@pytest.fixture(scope="module")
def plan() -> Plan:
    return make_plan(ROOT)


def test_the_committed_tree_is_what_the_inputs_give(plan: Plan) -> None:
    drift = compare(ROOT, plan)
    assert not drift, report(ROOT, plan, drift)


_DIGESTS = """
import hashlib, json, sys
from pathlib import Path
from codegen.__main__ import make_plan
plan = make_plan(Path(sys.argv[1]))
print(json.dumps({str(path): hashlib.sha256(data).hexdigest() for path, data in plan.items()}))
"""


@pytest.mark.parametrize(
    "environ",
    [
        pytest.param({"PYTHONHASHSEED": "1"}, id="a-hash-seed"),
        pytest.param({"PYTHONHASHSEED": "2"}, id="another-hash-seed"),
        pytest.param(
            {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
            id="a-locale-of-ASCII",
            marks=pytest.mark.needs("an ASCII path"),
        ),
    ],
)
def test_neither_hash_seed_nor_folder_nor_locale_changes_a_byte(
    tmp_path: Path, plan: Plan, environ: dict[str, str]
) -> None:
    elsewhere = json.loads(python(_DIGESTS, ROOT, path=[ROOT], cwd=tmp_path, **environ))
    here = {str(path): hashlib.sha256(data).hexdigest() for path, data in plan.items()}
    assert elsewhere == here


def test_the_descriptor_set_does_not_depend_on_the_order_of_the_protos() -> None:
    names = [*SESSION_PROTOS, WEBSOCKET_PROTO, "Qot_GetShortInterest.proto", "Qot_GetDailyShortVolume.proto"]
    orders = (names, names[::-1], names[2:] + names[:2], [*names, names[0]])
    sets = {strip(compile_protos(ROOT / "codegen/protos", order)) for order in orders}
    assert sets == {(ROOT / SCHEMA / "descriptors.binpb").read_bytes()}


def test_the_descriptor_set_holds_no_comments_and_each_file_after_its_imports() -> None:
    files = FileDescriptorSet.FromString((ROOT / SCHEMA / "descriptors.binpb").read_bytes()).file
    assert not any(file.HasField("source_code_info") for file in files)
    seen: set[str] = set()
    for file in files:
        assert seen.issuperset(file.dependency)
        seen.add(file.name)
    assert "Qot_GetShortInterest.proto" in seen


# The drift guard


def test_check_names_all_drift_and_writes_nothing(scratch: Scratch, capsys: pytest.CaptureFixture[str]) -> None:
    scratch.drift()
    before = scratch.outputs()
    assert scratch.run("--check") == 1
    out, err = capsys.readouterr()
    named = set(re.findall(r"^(differs|missing|orphaned): (\S+)", err, re.MULTILINE))
    assert named == {
        ("differs", f"{SCHEMA}/calls.py"),
        ("differs", f"{SCHEMA}/descriptors.binpb"),
        ("differs", "examples/cpp/calls.h"),
        ("missing", "futu_si/_quote.py"),
        ("missing", "examples/javascript/calls.mjs"),
        ("orphaned", "moomoo_si/by_hand.py"),
        ("orphaned", "generated/deeper/.hidden"),
        ("orphaned", "examples/java/Old.java"),
    }
    assert "-    proto_id=9999," in err
    assert "+    proto_id=3249," in err
    assert "python -m codegen" in err
    assert out == ""
    assert scratch.outputs() == before


def test_writing_repairs_all_drift_says_so_and_has_nothing_left_to_do(
    scratch: Scratch, capsys: pytest.CaptureFixture[str]
) -> None:
    rendered = scratch.contents()
    scratch.drift()
    assert scratch.run() == 0
    out, err = capsys.readouterr()
    assert set(out.splitlines()[:-1]) == {
        f"wrote {SCHEMA}/calls.py",
        f"wrote {SCHEMA}/descriptors.binpb",
        "wrote examples/cpp/calls.h",
        "wrote futu_si/_quote.py",
        "wrote examples/javascript/calls.mjs",
        "removed moomoo_si/by_hand.py",
        "removed generated/deeper/.hidden",
        "removed examples/java/Old.java",
    }
    assert err == ""
    assert scratch.contents() == rendered
    assert scratch.read("examples/by_hand.txt")

    before = scratch.outputs()
    assert scratch.run() == 0
    assert scratch.run("--check") == 0
    every = f"codegen: {len(rendered)} files are as rendered\n"
    assert capsys.readouterr() == (every * 2, "")
    assert scratch.outputs() == before


def test_bytecode_is_no_drift(scratch: Scratch) -> None:
    bytecode = f"{SCHEMA}/__pycache__/calls.cpython-311.pyc"
    scratch.write(bytecode, "")
    assert scratch.run("--check") == 0
    assert scratch.run() == 0
    assert (scratch.root / bytecode).is_file()


def test_what_editors_and_systems_leave_beside_the_inputs_is_no_input(scratch: Scratch) -> None:
    for path in (
        *("templates/brand/._quote.py.j2.swp", "templates/brand/.DS_Store", "templates/brand/__init__.py.j2~"),
        *("templates/schema/._calls.py.j2", "templates/brand/__pycache__/x.pyc", "templates/brand/.idea/x.py.j2"),
        *("codegen/bindings/._short_interest.toml", "codegen/calendars/._HK.toml", "codegen/protos/._Common.proto"),
    ):
        scratch.write(path, "\x00 neither TOML nor Jinja {{")
    if SYSTEM_HAS["links"]:  # as an editor locks what it edits
        (scratch.root / "codegen/bindings/.#short_interest.toml").symlink_to("somebody@somewhere.1:2")
    before, manifest = scratch.outputs(), scratch.read("codegen/protos/manifest.toml")
    assert scratch.run("--check") == 0
    assert scratch.run() == 0
    assert (scratch.outputs(), scratch.read("codegen/protos/manifest.toml")) == (before, manifest)
    assert (scratch.root / "codegen/protos/._Common.proto").is_file()


def test_the_temporary_folder_may_stand_where_everything_is_ignored(scratch: Scratch, tmp_path: Path) -> None:
    """Such as below a home folder that is a repository of a few files."""
    (tmp_path / "home/tmp").mkdir(parents=True)
    (tmp_path / "home/.git").mkdir()
    (tmp_path / "home/.gitignore").write_text("*\n", encoding="utf-8")
    run = ["-P", "-m", "codegen", "--check", "--root", str(scratch.root)]
    environ = {"TMPDIR": str(tmp_path / "home/tmp"), "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, *run], env={**os.environ, **environ}, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


# All or nothing


def change(path: str, old: str, new: str) -> Edit:
    return lambda scratch: scratch.change(path, old, new)


def remove(path: str) -> Edit:
    return lambda scratch: scratch.remove(path)


def before_all(path: str, text: str) -> Edit:
    return lambda scratch: scratch.write(path, text + scratch.read(path))


def after_all(path: str, text: str) -> Edit:
    return lambda scratch: scratch.write(path, scratch.read(path) + text)


def wrong(name: str, edit: Edit, *said: str) -> Any:
    """A case: what is wrong, and what the error says of it."""
    return pytest.param(edit, said, id=name)


PROTOS_WRONG = [  # the compiler's own words, with file and line
    wrong(
        "syntax",
        before_all(PROTO, "\n\noops;\n"),
        "Qot_GetShortInterest.proto:3:1: Expected top-level statement",
    ),
    wrong(
        "unknown-import",
        change(PROTO, 'import "Qot_Common.proto"', 'import "Nowhere.proto"'),
        *("Nowhere.proto: File not found", "Qot_GetShortInterest.proto:", 'Import "Nowhere.proto" was not found'),
    ),
    wrong(
        "unknown-type",
        change(PROTO, "optional S2C s2c", "optional S3C s2c"),
        *("Qot_GetShortInterest.proto:", '"S3C" is not defined'),
    ),
    wrong("missing", remove(PROTO), "Qot_GetShortInterest.proto: no such proto"),
    wrong(
        "not-UTF-8",
        lambda scratch: (scratch.root / PROTO).write_bytes(
            (scratch.root / PROTO).read_bytes() + "\n// 空头持仓\nmessage More {}\n".encode("gbk")
        ),
        *("Qot_GetShortInterest.proto:", "not UTF-8"),
    ),
    wrong(
        "proto3",
        lambda scratch: scratch.add_proto("New.proto", 'syntax = "proto3";\npackage New;\n'),
        *("New.proto: ", "proto3"),
    ),
    wrong(
        "two-protos-of-one-module",
        lambda scratch: scratch.add_proto("QotCommon.proto", 'syntax = "proto2";\npackage QotCommon;\n'),
        *("QotCommon.proto", "Qot_Common.proto", "module qot_common"),
    ),
    wrong(
        "name-that-no-module-can-have",
        lambda scratch: scratch.add_proto("Two.Parts.proto", 'syntax = "proto2";\npackage Two.Parts;\n'),
        *("Two.Parts.proto: ", "module"),
    ),
    wrong(
        "package-of-another-name",
        change(PROTO, "package Qot_GetShortInterest", "package Qot_GetLongInterest"),
        "Qot_GetShortInterest.proto: its package is 'Qot_GetLongInterest'",
    ),
    wrong(
        "module-that-the-schema-has-of-its-own",
        lambda scratch: scratch.add_proto("_pool.proto", 'syntax = "proto2";\npackage _pool;\n'),
        *("_pool.proto: ", "module `_pool` of its own"),
    ),
    wrong("missing-session", remove("codegen/protos/KeepAlive.proto"), "KeepAlive.proto: no such proto"),
    wrong("missing-websocket", remove("codegen/protos/InitWebSocket.proto"), "InitWebSocket.proto: no such proto"),
]

BINDINGS_WRONG = [
    wrong("no-toml", before_all(BINDING, "\n[oops\n"), "short_interest.toml: ", "line 2"),
    wrong("unknown-key", before_all(BINDING, "colour = 1\n"), "short_interest.toml: `colour`", "proto_id"),
    wrong(
        "unknown-key-of-a-part",
        change(BINDING, "[page_size]", "[page_size]\ncolour = 1"),
        *("short_interest.toml: page_size `colour`", "maximum"),
    ),
    wrong(
        "unknown-key-of-a-table",
        change(BINDING, 'market = "HK"', 'market = "HK"\ncolour = 1'),
        *("short_interest.toml: table[1] `colour`", "schedule"),
    ),
    wrong(
        "unknown-key-of-a-column",
        change(BINDING, A_COLUMN, A_COLUMN.replace("unit", "colour = 1, unit")),
        *("short_interest.toml: table[0] columns[2] `colour`", "unit"),
    ),
    wrong("missing-key", change(BINDING, "proto_id = 3249", ""), "short_interest.toml: `proto_id` is missing"),
    wrong("wrong-type", change(BINDING, "3249", '"3249"'), "short_interest.toml: `proto_id` is '3249'", "int"),
    wrong("no-release", change(BINDING, '"10.6"', '"ten"'), "short_interest.toml: `since`"),
    wrong(
        "misspelt-column",
        change(BINDING, 'field = "sharesShort"', 'field = "sharesShrot"'),
        *("short_interest.toml: table[0] columns[2] ", "UsShortInterestItem has no field `sharesShrot`"),
    ),
    wrong(
        "column-that-the-proto-lost",
        change(PROTO, LAST_HK_FIELD, ""),
        *("short_interest.toml: ", "HkShortInterestItem.aggregatedShortRatio"),
    ),
    wrong(
        "documentation-of-nothing",
        after_all(BINDING, '"Qot_GetShortInterest.Nothing" = "Nothing."\n'),
        "short_interest.toml: `docs` speaks of Qot_GetShortInterest.Nothing",
    ),
    wrong(
        "request-without-nextKey",
        change(PROTO, "string nextKey = 2", "string cursor = 2"),
        "short_interest.toml: Qot_GetShortInterest.C2S needs a field `nextKey`",
    ),
    wrong(
        "reply-without-nextKey",
        change(PROTO, "string nextKey = 3", "string cursor = 3"),
        "short_interest.toml: Qot_GetShortInterest.S2C needs a field `nextKey`",
    ),
    wrong(
        "reply-without-rows",
        change(BINDING, '"hkItemList"', '"hkItems"'),
        *("short_interest.toml: table[1] `list` hkItems", "Qot_GetShortInterest.S2C"),
    ),
    wrong(
        "unknown-market",
        change(BINDING, '"HK"', '"SG"'),
        *("short_interest.toml: table[1] `market` SG", "markets.toml"),
    ),
    wrong(
        "unknown-schedule",
        change(BINDING, '"weekly"', '"yearly"'),
        *("short_interest.toml: table[1] `schedule`", "daily, weekly, semimonthly"),
    ),
    wrong(
        "repeated-column",
        change(PROTO, "optional uint64 aggregatedShort =", "repeated uint64 aggregatedShort ="),
        *("short_interest.toml: table[1] ", "HkShortInterestItem.aggregatedShort is repeated uint64"),
    ),
    wrong(
        "column-of-messages",
        change(PROTO, "optional uint64 aggregatedShort =", "optional C2S aggregatedShort ="),
        *("short_interest.toml: table[1] ", "HkShortInterestItem.aggregatedShort is Qot_GetShortInterest.C2S"),
    ),
    wrong(
        "column-listed-twice",
        change(BINDING, A_COLUMN, f"{A_COLUMN}\n{A_COLUMN}"),
        *("short_interest.toml: table[0] columns[3] ", "sharesShort"),
    ),
    wrong(
        "two-columns-of-one-name",
        change(PROTO, LAST_HK_FIELD, f"{LAST_HK_FIELD}\n  optional double aggregated_short_ratio = 7;"),
        *("short_interest.toml: ", "HkShortInterestItem", "aggregated_short_ratio"),
    ),
    wrong(
        "documentation-that-is-no-text",
        after_all(BINDING, '"Qot_GetShortInterest.S2C" = 3\n'),
        *("short_interest.toml: ", "Qot_GetShortInterest.S2C"),
    ),
    wrong(
        "not-UTF-8",
        lambda scratch: (scratch.root / BINDING).write_bytes(b"# \xff\n"),
        "short_interest.toml: ",
    ),
    wrong(
        "no-binding",
        remove(BINDING),
        "codegen/bindings",
    ),
]

SETTINGS_WRONG = [
    wrong(
        "unknown-market-number",
        change(MARKETS, "QotMarket_HK_Security", "QotMarket_XX"),
        "markets.toml: market[0] `value` QotMarket_XX",
    ),
    wrong("no-brands", remove(BRANDS), "brands.toml: no such file"),
    wrong("brand-without-a-name", change(BRANDS, 'name = "Futu"', ""), "brands.toml: brand[0] `name` is missing"),
    wrong("unknown-key-of-a-brand", after_all(BRANDS, "colour = 1\n"), "brands.toml: brand[1] `colour`", "package"),
    wrong(
        "unknown-key-beside-brands",
        before_all(BRANDS, "colour = 1\n"),
        "brands.toml: `colour`",
    ),
    wrong(
        "unknown-key-beside-markets",
        before_all(MARKETS, "colour = 1\n"),
        "markets.toml: `colour`",
    ),
]

HOLIDAYS_WRONG = [
    wrong("market-without-a-name", change(HOLIDAYS, 'market = "HK"', ""), "HK.toml: `market` is missing"),
    wrong("market-of-another-file", change(HOLIDAYS, 'market = "HK"', 'market = "US"'), "HK.toml: `market` US"),
    wrong("year-left-out", change(HOLIDAYS, "year = 2013", "year = 2011"), "HK.toml: year[1] `days` has 2013-01-01"),
    wrong(
        "years-with-a-gap",
        change(
            HOLIDAYS,
            "[[year]]\nyear = 2012",
            '[[year]]\nyear = 2010\nsource = ""\ndays = [2010-01-01]\n\n[[year]]\nyear = 2012',
        ),
        *("HK.toml: ", "gap"),
    ),
    wrong("no-weekday", change(HOLIDAYS, "2012-12-26", "2012-12-29"), "HK.toml: year[0] `days` has 2012-12-29"),
    wrong("text-for-a-day", change(HOLIDAYS, "2012-12-26", '"2012-12-26"'), "HK.toml: year[0] `days` has 2012-12-26"),
    wrong("moment-for-a-day", change(HOLIDAYS, "2012-12-26", "2012-12-26T00:00:00"), "HK.toml: year[0] `days` has "),
    wrong("day-twice", change(HOLIDAYS, "2012-12-26", "2012-12-25"), "HK.toml: year[0] `days` do not ascend"),
    wrong(
        "year-without-a-source", change(HOLIDAYS, "source = ", "# source = "), "HK.toml: year[0] `source` is missing"
    ),
    wrong(
        "unknown-key-of-a-year", change(HOLIDAYS, "year = 2012", "year = 2012\ncolour = 1"), "HK.toml: year[0] `colour`"
    ),
]

TEMPLATES_WRONG = [
    wrong("undefined-variable", change(INIT, "{{ brand.name }}", "{{ brand.nmae }}"), INIT, "'nmae'"),
    wrong("no-jinja", change(INIT, "{{ brand.name }}", "{{ brand.name "), f"{INIT}, line "),
    wrong("missing-partial", remove(COLUMNS), "templates/brand/", "_columns.j2"),
    wrong(
        "no-python",
        change(INIT, "__all__ = [", "__all__ == = ["),
        *("futu_si/__init__.py:", "invalid-syntax"),
    ),
    wrong(
        "undefined-variable-of-a-partial",
        change(COLUMNS, "{{ table.market }}", "{{ table.markt }}"),
        *("_columns.j2", "'markt'"),
    ),
    wrong(
        "no-jinja-in-a-partial",
        change(COLUMNS, "{% endfor %}", "{% endfro %}"),
        *("_columns.j2, line ", "'endfro'"),
    ),
    wrong(
        "filter-without-its-argument",
        change(COLUMNS, "docstring(2, room=12)", "docstring"),
        *("_columns.j2", "docstring"),
    ),
]


@pytest.mark.parametrize(
    ("edit", "said"), [*PROTOS_WRONG, *BINDINGS_WRONG, *SETTINGS_WRONG, *HOLIDAYS_WRONG, *TEMPLATES_WRONG]
)
def test_a_wrong_input_is_one_clear_error_and_changes_nothing(
    scratch: Scratch, capsys: pytest.CaptureFixture[str], edit: Edit, said: Sequence[str]
) -> None:
    edit(scratch)
    scratch.drift()  # so that a write would change, make and remove files
    before = scratch.outputs()
    assert scratch.run() == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("codegen: ")
    assert [text for text in said if text not in err] == []
    assert scratch.outputs() == before


@pytest.mark.needs("an ASCII path")
@pytest.mark.parametrize(
    "proto",
    [
        pytest.param("Nowhere.proto", id="ASCII"),
        pytest.param(
            "空.proto",
            id="other-letters",
        ),
    ],
)
def test_an_error_is_told_without_a_traceback_in_any_locale(scratch: Scratch, proto: str) -> None:
    scratch.change(PROTO, 'import "Qot_Common.proto"', f'import "{proto}"')
    run = subprocess.run(
        [sys.executable, "-m", "codegen", "--root", str(scratch.root)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
        cwd=scratch.root.parent,
        capture_output=True,
        timeout=60,
    )
    assert run.returncode == 1
    assert run.stderr.startswith(b"codegen: ")
    assert b"File not found" in run.stderr
    assert b"Traceback" not in run.stderr


@pytest.mark.parametrize("closing", ["", ">&-", "2>&-", ">&- 2>&-", "| true"])
@pytest.mark.parametrize("options", [["--check"], ["diff", "--protos"], ["--check", "--root", "/nowhere/空"]])
def test_what_is_said_fits_any_code_page_and_any_stream(
    scratch: Scratch, options: list[str], closing: str, tmp_path: Path
) -> None:
    folder = tmp_path / "协议"
    shutil.copytree(ROOT / "codegen/protos", folder)
    given = [*options, str(folder)] if options[-1] == "--protos" else options
    root = () if "--root" in options else ("--root", str(scratch.root))
    command = shlex.join([sys.executable, "-m", "codegen", *given, *root])
    run = subprocess.run(
        ["bash", "-o", "pipefail", "-c", f"{command} {closing}"],
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "cp1252"},
        cwd=tmp_path,
        capture_output=True,
        timeout=60,
    )
    is_wrong = "--root" in options
    assert run.returncode in (is_wrong, 1 if "|" in closing else is_wrong), run.stderr
    assert b"Traceback" not in run.stderr + run.stdout
    assert b"Exception ignored" not in run.stderr
    assert (b"codegen: " in run.stderr) == (is_wrong and "2>" not in closing)
    assert (b"codegen: " in run.stdout) == (not is_wrong and closing in ("", "2>&-"))


# A proto that changes

_LOOK = """
import dataclasses, importlib, json, sys
from pathlib import Path
import opend_si, opend_si_schema
from opend_si.simulator import Simulator
from opend_si_schema import qot_get_short_interest, records

root = Path(sys.argv[1])
told = {
    "hk_record": [field.name for field in dataclasses.fields(records.HkShortInterest)],
    "us_record": [field.name for field in dataclasses.fields(records.UsShortInterest)],
    "record_doc": records.HkShortInterest.__doc__,
    "stub": Path(qot_get_short_interest.__file__).with_suffix(".pyi").read_text(encoding="utf-8"),
    "javascript": (root / "examples/javascript/calls.mjs").read_text(encoding="utf-8"),
}
for name in sys.argv[2:]:
    face = importlib.import_module(name)
    for module in (face, opend_si, opend_si_schema):
        assert Path(module.__file__).is_relative_to(root), module.__file__
    with Simulator() as opend, face.Client(opend.host, opend.port) as client:
        frames = {
            "sent": client.get_page("HK.00001").hk,
            "not sent": client.get_page("HK.00700").hk,
            "empty": client.get_page("US.AAPL").hk,
            "us": client.get_page("US.AAPL").us,
        }
        record = client.get_page("HK.00001").records[0]
    told[name] = {
        "columns": {kind: {column: str(frame[column].dtype) for column in frame} for kind, frame in frames.items()},
        "values": [int(frames["sent"]["new_thing"].iloc[0]), record.new_thing],
        "call_doc": face.get_short_interest.__doc__,
        "method_doc": face.Client.get_page.__doc__,
    }
print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def changed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the packages tell after the protos have gained fields: one as any other, and two that are awkward."""
    scratch = Scratch.make(tmp_path_factory.mktemp("changed"), "opend_si")
    scratch.change(
        PROTO,
        LAST_HK_FIELD,
        f"{LAST_HK_FIELD}\n  optional uint64 newThing = 7; // What the exchange tells since lately.",
    )
    new_us_fields = '  optional int32 later = 10;\n  optional double class = 9; // The "class" \\ of it.'
    scratch.change(PROTO, LAST_US_FIELD, f"{LAST_US_FIELD}\n{new_us_fields}")
    assert scratch.run() == 0
    found: dict[str, Any] = json.loads(
        python(_LOOK, scratch.root, *FACES, path=[scratch.root, scratch.root / "generated"], cwd=scratch.root)
    )
    return found


def test_a_new_field_is_the_last_of_its_record(changed: dict[str, Any]) -> None:
    assert changed["hk_record"][-2:] == ["last_close_price", "new_thing"]
    assert "new_thing: int64. What the exchange tells since lately." in changed["record_doc"]


def test_a_new_field_is_in_the_stub(changed: dict[str, Any]) -> None:
    assert "    # What the exchange tells since lately.\n    newThing: int\n" in changed["stub"]
    assert "        newThing: int | None = ...,\n" in changed["stub"]


def test_a_new_field_is_among_those_that_the_javascript_example_gives(changed: dict[str, Any]) -> None:
    assert '        newThing: { id: 7, type: "uint64" },\n' in changed["javascript"]


@pytest.mark.parametrize("face", FACES)
def test_a_new_field_is_the_last_typed_column(changed: dict[str, Any], face: str) -> None:
    columns = changed[face]["columns"]
    assert {kind: list(columns[kind].items())[-1] for kind in ("sent", "not sent", "empty")} == {
        "sent": ("new_thing", "int64"),
        "not sent": ("new_thing", "Int64"),
        "empty": ("new_thing", "int64"),
    }
    in_frame, in_record = changed[face]["values"]
    assert in_frame == in_record > 0


@pytest.mark.parametrize("face", FACES)
@pytest.mark.parametrize("doc", ["call_doc", "method_doc"])
def test_a_new_field_is_documented(changed: dict[str, Any], face: str, doc: str) -> None:
    assert "- new_thing: int64. What the exchange tells since lately.\n" in changed[face][doc]


@pytest.mark.parametrize("face", FACES)
def test_new_fields_stand_in_the_order_of_their_numbers_and_none_of_them_is_a_keyword(
    changed: dict[str, Any], face: str
) -> None:
    assert changed["us_record"][-3:] == ["last_close_price", "class_", "later"]
    assert list(changed[face]["columns"]["us"].items())[-2:] == [("class_", "float64"), ("later", "int64")]
    assert '- class_: float64. The "class" \\ of it.\n' in changed[face]["call_doc"]


# What Python trips over


@pytest.fixture(scope="module")
def awkward(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source root that the awkward proto was rendered into."""
    scratch = Scratch.make(tmp_path_factory.mktemp("awkward"))
    scratch.add_proto("Awkward.proto", (AWKWARD / "Awkward.proto").read_text(encoding="utf-8"))
    assert scratch.run() == 0
    return scratch.root / "generated"


@pytest.mark.parametrize("name", ["awkward.py", "awkward.pyi"])
def test_awkward_protos_are_rendered_as_the_goldens_say(awkward: Path, name: str) -> None:
    rendered, golden = awkward / "opend_si_schema" / name, AWKWARD / f"{name}.golden"
    assert rendered.read_text(encoding="utf-8") == golden.read_text(encoding="utf-8"), (
        f"if this is meant: cp {rendered} {golden}"
    )


_ROUND_TRIP = """
from opend_si_schema import awkward as a

def again(message):
    return type(message).FromString(message.SerializeToString())

reserved = again(a.Reserved(**{"from": "x", "class": 2, "None": True}, match="m"))
assert (getattr(reserved, "from"), getattr(reserved, "class"), getattr(reserved, "None"), reserved.match) == ("x", 2, True, "m")

assert a.Aliased.INITIAL is a.Aliased.FIRST
assert {name: int(value) for name, value in a.Aliased.__members__.items()} == {
    "UNKNOWN": -1, "FIRST": 0, "INITIAL": 0, "NO_PREFIX": 1, "_2ND_HALF": 2, "ALIASED_NO_PREFIX": 1, "ALIASED": 3, "_BOTH": 4,
    "NONE": 5,
}

inner = a.Outer_Inner(kind=a.Outer_Inner_Kind.LARGE, innermost=a.Outer_Inner_Innermost(depth=3))
outer = again(a.Outer(inner=inner, inners=[inner, a.Outer_Inner()], kinds=[1, a.Outer_Inner_Kind.SMALL]))
assert outer.inner == outer.inners[0] == inner
assert outer.inners[1].kind == a.Outer_Inner_Kind.SMALL
assert list(outer.kinds) == [1, 0]
assert outer.kind == a.Outer_Kind.OUTER == 7
assert outer.inner.innermost.depth == 3

types = again(a.Types(
    raw=b"\\x00\\xff", unsigned=2**64 - 1, single=0.5, flag=True, zigzag=-1, texts=["a", ""], packed=[0.1, -2.0],
    by_name="x", by_number=2, snake_alreadyCamel="y",
))
assert (types.raw, types.unsigned, types.single, types.flag, types.zigzag) == (b"\\x00\\xff", 2**64 - 1, 0.5, True, -1)
assert (list(types.texts), list(types.packed)) == (["a", ""], [0.1, -2.0])
assert (types.WhichOneof("choice"), types.by_name, types.by_number) == ("by_number", "", 2)
assert types.snake_alreadyCamel == "y"

mapped = again(a.Mapped(counts={"x": 2**40}, inners={-1: inner}))
assert (dict(mapped.counts), dict(mapped.inners)) == ({"x": 2**40}, {-1: inner})

shelf = again(a.Shelf(book=a.Shelf_Book_(other=a.Shelf_Book())))
assert (type(shelf.book), type(shelf.book.other)) == (a.Shelf_Book_, a.Shelf_Book)
assert type(again(a.Message_(message=a.Message_())).message) is a.Message_
assert a.IntEnum_.ZERO == 0
hiding = again(a.Hiding(str="s", int=True, number=3, Bare=a.Bare(text="t"), float=True))
assert (hiding.str, hiding.int, hiding.number, hiding.Bare.text, hiding.float) == ("s", True, 3, "t", True)
assert again(a.Grouped(result=a.Grouped_Result(size=3))).result.size == 3

assert again(a.Bare(text="t")).text == "t"
assert again(a.Comments(both="t")).both == "t"
"""


@pytest.mark.parametrize("implementation", ["upb", "python"])
def test_awkward_messages_keep_their_values_on_the_wire(awkward: Path, tmp_path: Path, implementation: str) -> None:
    python(_ROUND_TRIP, path=[awkward], cwd=tmp_path, PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION=implementation)


# For each class of each stub: its attributes are the message's fields (but those that no dot reaches), the constructor
# takes them all, and a value is of the type that the stub says.
_TRUTH = """
import ast, enum, importlib, keyword, sys
from pathlib import Path
from google.protobuf.message import Message

LISTED = {"int": 1, "float": 1.5, "str": "x", "bytes": b"x", "bool": True}

def named(module, name):
    first, _, rest = name.partition(".")
    return getattr(importlib.import_module(f"opend_si_schema.{first}"), rest) if rest else getattr(module, name)

def check_value(module, field, value, said):
    if hasattr(value, "keys"):
        assert said.startswith(("ScalarMap[", "MessageMap[")), (field.full_name, said)
    elif hasattr(value, "append"):
        kind, _, item = said.removesuffix("]").partition("[")
        if field.message_type:
            assert kind == "RepeatedCompositeFieldContainer", (field.full_name, said)
            assert named(module, item).DESCRIPTOR.full_name == field.message_type.full_name, (field.full_name, said)
            value.add()
        else:
            assert kind == "RepeatedScalarFieldContainer", (field.full_name, said)
            value.append(LISTED[item])
            assert type(value[0]).__name__ == item, (field.full_name, said)
    elif field.message_type:
        assert named(module, said).DESCRIPTOR.full_name == field.message_type.full_name, (field.full_name, said)
    else:
        assert type(value).__name__ == said, (field.full_name, said)

def hides(module, name):
    return name in LISTED or isinstance(getattr(module, name, None), type) or hasattr(Message, name)

def check_message(module, made, node):
    said = {part.target.id: ast.unparse(part.annotation) for part in node.body if isinstance(part, ast.AnnAssign)}
    fields = {field.name: field for field in made.DESCRIPTOR.fields if not keyword.iskeyword(field.name)}
    fields = {name: field for name, field in fields.items() if name in said or not hides(module, name)}
    assert list(said) == list(fields), node.name
    assert not any(name in told.split("[", 1)[-1] for name in said for told in said.values() if hides(module, name))
    (init,) = [part for part in node.body if isinstance(part, ast.FunctionDef)]
    assert [argument.arg for argument in init.args.kwonlyargs] == list(fields), node.name
    assert made(**dict.fromkeys(fields)) == made()
    for name, field in fields.items():
        check_value(module, field, getattr(made(), name), said[name])

def check_enum(made, node):
    said = {part.targets[0].id: ast.literal_eval(part.value) for part in node.body if isinstance(part, ast.Assign)}
    assert said == dict(made.__members__), node.name

for stub in sorted(Path(sys.argv[1]).glob("*.pyi")):
    module = importlib.import_module(f"opend_si_schema.{stub.stem}")
    for node in ast.parse(stub.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef):
            made = getattr(module, node.name)
            check_enum(made, node) if issubclass(made, enum.Enum) else check_message(module, made, node)
    print(stub.stem)
"""


def test_stubs_say_what_messages_hold(awkward: Path, tmp_path: Path) -> None:
    checked = python(_TRUTH, awkward / "opend_si_schema", path=[awkward], cwd=tmp_path).split()
    assert {"awkward", "common", "qot_get_short_interest"} <= set(checked)


@pytest.mark.parametrize(
    "messages",
    [
        pytest.param(
            "message Table { map<string, int64> counts = 1; map<int32, Part> parts = 2; }\n"
            "message Part { optional int32 size = 1; }",
            id="map",
        ),
        pytest.param(
            "message Empty {}",
            id="no-fields",
        ),
        pytest.param(
            "message Words { optional string from = 1; }",
            id="nothing-but-keywords",
        ),
        pytest.param(
            "message Selfish { optional string self = 1; }",
            id="field-called-self",
        ),
        pytest.param(
            "message Selfish { optional int32 self = 1; optional int32 self_ = 2; optional int32 self_2 = 3; }",
            id="fields-called-self-and-alike",
        ),
        pytest.param(
            "message Hiding { optional bool Clear = 1; optional int32 DESCRIPTOR = 2; optional string CopyFrom = 3; }",
            id="fields-called-like-methods",
        ),
        pytest.param(
            "message None { optional int32 size = 1; }\nmessage User { optional None none = 1; }",
            id="message-called-by-a-keyword",
        ),
        pytest.param(
            '// Ends with """\nmessage Quoted { optional int32 size = 1; }',
            id="three-quotes-last",
        ),
    ],
)
def test_any_message_is_rendered_and_its_stub_says_what_it_holds(
    scratch: Scratch, tmp_path: Path, messages: str
) -> None:
    scratch.add_proto("Odd.proto", f'syntax = "proto2";\npackage Odd;\n\n{messages}\n')
    assert scratch.run() == 0
    generated = scratch.root / "generated"
    assert "odd" in python(_TRUTH, generated / "opend_si_schema", path=[generated], cwd=tmp_path).split()


_DEFAULTS = """
from math import inf
from opend_si_schema.odd import Least
least = Least()
assert (least.f, least.d, least.i, least.m) == (0.0, 0.0, inf, -inf), least
assert abs(least.x - 2.0**-126) < 1e-45
assert least.n != least.n and not least.HasField("f")
assert Least.FromString(Least(f=1e-45, d=5e-324).SerializeToString()).d == 5e-324
"""


def test_defaults_at_the_edge_load_in_both_readers_of_protobuf(scratch: Scratch, tmp_path: Path) -> None:
    numbers = {"f": ("float", "1e-45"), "d": ("double", "-5e-324"), "i": ("float", "inf"), "n": ("double", "nan")}
    numbers |= {"m": ("double", "-inf"), "x": ("float", "1.17549435e-38")}
    fields = "".join(
        f"optional {kind} {name} = {place} [default = {value}];"
        for place, (name, (kind, value)) in enumerate(numbers.items(), 1)
    )
    scratch.add_proto("Odd.proto", f'syntax = "proto2";\npackage Odd;\nmessage Least {{ {fields} }}\n')
    assert scratch.run() == 0
    assert scratch.run("--check") == 0
    for reader in ("upb", "python"):
        environ = {"PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": reader}
        python(_DEFAULTS, path=[scratch.root / "generated"], cwd=tmp_path, **environ)


def test_a_binding_may_document_an_enum_and_its_values(scratch: Scratch) -> None:
    after_all(BINDING, '"Qot_Common.QotMarket" = "Which market, says the binding."\n')(scratch)
    after_all(BINDING, '"Qot_Common.QotMarket.QotMarket_HK_Security" = "Hong Kong, says the binding."\n')(scratch)
    assert scratch.run() == 0
    rendered = scratch.read(f"{SCHEMA}/qot_common.py")
    assert '"""Which market, says the binding."""' in rendered
    assert "# Hong Kong, says the binding." in rendered


# Names


@pytest.mark.parametrize(
    ("name", "python_name"),
    [
        ("timestamp", "timestamp"),
        ("timestampStr", "timestamp_str"),
        ("avgDailyShareVolume", "avg_daily_share_volume"),
        ("Qot_GetShortInterest", "qot_get_short_interest"),
        ("snake_alreadyCamel", "snake_already_camel"),
        ("already_snake", "already_snake"),
        # Words in capitals stay whole
        ("loginUserID", "login_user_id"),
        ("connAESKey", "conn_aes_key"),
        ("marketHKFuture", "market_hk_future"),
        ("HKStock", "hk_stock"),
        ("US", "us"),
        ("aB", "a_b"),
        # Digits belong to the word before them
        ("s2c", "s2c"),
        ("num2Days", "num2_days"),
        ("x264Codec", "x264_codec"),
        # No name begins with a digit
        ("52WeekHigh", "_52_week_high"),
        # Underscores do not pile up
        ("a__b", "a_b"),
        # Names of types that records are annotated with
        ("str", "str_"),
        ("Float", "float_"),
        ("intValue", "int_value"),
        # Python's words, in the case that Python keeps
        ("from", "from_"),
        ("class", "class_"),
        ("Class", "class_"),
        ("None", "none"),
        ("match", "match"),
    ],
)
def test_snake_case_divides_words_and_keeps_clear_of_keywords(name: str, python_name: str) -> None:
    assert snake_case(name) == python_name


@pytest.mark.parametrize(
    ("enum", "value", "member"),
    [
        ("RetType", "RetType_Succeed", "SUCCEED"),
        ("RetType", "RetType_TimeOut", "TIME_OUT"),
        ("KLType", "KLType_1Min", "_1_MIN"),
        ("Market", "NoPrefix", "NO_PREFIX"),
        ("Market", "MarketMaker", "MARKET_MAKER"),
        ("Market", "Market_None", "NONE"),
        # An enum keeps names with an underscore at both ends for itself
        ("Market", "_Market_", "_MARKET"),
        # Nothing is left behind the prefix, or nothing at all
        ("Market", "Market_", "MARKET"),
        ("Market", "__", "_"),
        pytest.param(
            "Operator",
            "Operator_And",
            "AND",
        ),
    ],
)
def test_enum_members_are_constants_without_the_enums_name(enum: str, value: str, member: str) -> None:
    assert enum_member(enum, value) == member


def test_enum_members_of_one_name_are_told_apart() -> None:
    values = ["US", "Market_US", "Market_us", "Market_U_S", "Market_HK"]
    assert enum_members("Market", values) == ["US", "MARKET_US", "US_2", "U_S", "HK"]


def test_constants_are_snake_case_in_capitals() -> None:
    assert constant_case("short_interest") == "SHORT_INTEREST"
    assert constant_case("shortInterest") == "SHORT_INTEREST"


# Any text

# Whatever there is, and often what a docstring or a comment could trip over.
TEXTS = st.text() | st.text(st.sampled_from("\"'\\#{}%ab \t\n\r\f\v\0\x1c\x85\u2028\u2029\u3000N汉"))
WORDS = st.lists(st.text('ab"\\', min_size=1, max_size=150), max_size=40).map(" ".join)
INDENTS = st.sampled_from([0, 4, 8])


def readable(text: str) -> list[str]:
    """The words of a text: what is left when space and what cannot be printed count for nothing."""
    return "".join(char if char.isprintable() else " " for char in text).split()


def nested(body: str, depth: int) -> str:
    """`body` within as many classes as its indent asks for."""
    return "".join(f"{' ' * (4 * level)}class Level{level}:\n" for level in range(depth)) + body


def executed(source: str, depth: int) -> Mapping[str, Any]:
    """The names of the innermost class of `source`, after running it."""
    names: dict[str, Any] = {}
    exec(compile(source, "rendered", "exec", dont_inherit=True), names)
    for level in range(depth):
        names = dict(vars(names[f"Level{level}"]))
    return names


def too_long(source: str, width: int) -> list[str]:
    """Lines that are longer than `width`, and could have been broken."""
    return [
        line for line in source.split("\n") if len(line) > width and len(line.strip().removeprefix("# ").split()) > 1
    ]


@settings(deadline=None, max_examples=300)
@given(text=TEXTS | WORDS, indent=INDENTS, room=st.sampled_from([0, 12]))
@example(text='Ends with """', indent=4, room=0)
@example(text='Ends with """"', indent=4, room=0)
@example(text='Ends with \\"', indent=4, room=0)
@example(text='Ends with "\\', indent=4, room=0)
@example(text='"', indent=0, room=0)
def test_any_text_can_be_a_docstring(text: str, indent: int, room: int) -> None:
    source = nested(f'{" " * indent}"""{docstring(text, indent, room)}"""\n', indent // 4)
    doc = executed(source, indent // 4)["__doc__"]
    assert readable(doc) == readable(text)
    assert too_long(source, WIDTH - room) == []


@settings(deadline=None)
@given(text=TEXTS | WORDS, indent=INDENTS)
def test_any_text_can_be_a_comment(text: str, indent: int) -> None:
    source = nested(f"{' ' * indent}{comment(text, indent)}x = 1\n", indent // 4)
    assert executed(source, indent // 4)["x"] == 1
    *comments, code = source.split("\n")[indent // 4 : -1]
    assert code.strip() == "x = 1"
    assert all(line.startswith(f"{' ' * indent}# ") for line in comments)
    assert [word for line in comments for word in line.strip().removeprefix("#").split()] == readable(text)
    assert too_long(source, WIDTH) == []


# The faces


def test_the_faces_differ_in_the_brands_words_only() -> None:
    one, other = tomllib.loads((ROOT / BRANDS).read_text(encoding="utf-8"))["brand"]
    assert [one["package"], other["package"]] == list(FACES)

    def translated(text: str) -> str:
        for key in ("documentation", "package", "command", "name"):
            text = text.replace(one[key], other[key])
        return text

    def files(package: str) -> dict[str, str]:
        return {
            path.relative_to(ROOT / package).as_posix(): path.read_text(encoding="utf-8")
            for path in sorted((ROOT / package).rglob("*"))
            if path.is_file() and "__pycache__" not in path.parts
        }

    assert {name: translated(text) for name, text in files(one["package"]).items()} == files(other["package"])
