"""When the protos change: `python -m codegen --protos DIR`, `diff`, the manifest, and what is refused.

Proven here:

- The protos of both published packages are taken as they are: columns, order, types and documentation stay, all 184 of
  each compile and render, and the stubs tell the truth of all of them.
- The manifest says where each proto comes from, and `--check` holds the files against it; a change by hand is not
  passed off as a distribution's, and no path of the machine gets in.
- `diff` says what would change, for the wire and for users, and writes nothing.
- Nothing that is in use is taken away or retyped unless that is accepted, and then the bindings are to be edited first.
- A field that a proto gains has its value also in pages that were recorded before, if OpenD had sent it.
- Wherever writing fails, the tree is as before.
- The descriptor set depends neither on the release of protoc nor on that of protobuf.
"""

import base64
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import pytest

from codegen.__main__ import SESSION_PROTOS, WEBSOCKET_PROTO
from codegen.origin import BY_HAND, DOCUMENTED, EDITED, LOCAL_FOLDER, MANIFEST, mismatches, read_manifest
from opend_si.simulator import Simulator
from tests.codegen import test_all_packages_or_none as codegen
from tests.codegen.test_all_packages_or_none import BINDING, PROTO, SCHEMA, Scratch, python
from tests.conftest import FACES
from tests.processes import ROOT, compat

DISTRIBUTIONS = {"futu-api": "futu", "moomoo-api": "moomoo"}
PROTOS = ROOT / "codegen/protos"
MANIFEST_PATH = f"codegen/protos/{MANIFEST}"
COMMON = "codegen/protos/Qot_Common.proto"
SHORTS = "Qot_GetShortInterest"
HK_ITEM, US_ITEM = f"{SHORTS}.HkShortInterestItem", f"{SHORTS}.UsShortInterestItem"

A_FIELD = "  optional uint64 aggregatedShort = 5;"
A_COLUMN = '  { field = "aggregatedShort", unit = "shares" },\n'
A_ROLE = 'short = "aggregatedShort"\n'
A_DOC = f'"{HK_ITEM}.aggregatedShort" = "Aggregated reportable short positions."\n'
NEW_FIELD = "  optional uint64 newThing = 7; // What the exchange tells since lately."

Run = Callable[..., int]


def published(name: str) -> Path:
    """The folder of protos that a published package has installed."""
    return Path(str(distribution(name).locate_file(f"{DISTRIBUTIONS[name]}/common/pb")))


@pytest.fixture
def scratch(tmp_path: Path) -> Scratch:
    return Scratch.make(tmp_path / "repository")


class Folder:
    """A folder of protos that are not the repository's, to be spoiled."""

    def __init__(self, path: Path, source: Path = PROTOS) -> None:
        self.path = path
        path.mkdir(parents=True)
        for proto in source.glob("*.proto"):
            shutil.copyfile(proto, path / proto.name)

    def __str__(self) -> str:
        return str(self.path)

    def change(self, name: str, old: str, new: str) -> None:
        proto = self.path / Path(name).name
        text = proto.read_text(encoding="utf-8")
        assert old in text, f"{name} has no {old!r}"
        proto.write_text(text.replace(old, new, 1), encoding="utf-8")


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "elsewhere")


def everything(scratch: Scratch) -> dict[str, tuple[bytes, int]]:
    """All files that codegen may write, the protos too; and nothing may be left behind beside them."""
    assert not list(scratch.root.glob(".codegen-*"))
    protos = {
        path.name: (path.read_bytes(), path.stat().st_mtime_ns)
        for path in (scratch.root / "codegen/protos").iterdir()
        if path.is_file()
    }
    return {**scratch.outputs(), **protos}


def entries(scratch: Scratch) -> dict[str, dict[str, str]]:
    return {entry["file"]: entry for entry in tomllib.loads(scratch.read(MANIFEST_PATH))["proto"]}


# The protos of the published packages


@pytest.fixture(scope="module", params=DISTRIBUTIONS)
def adopted(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Scratch]:
    """A repository that took the protos of a published package."""
    scratch = Scratch.make(tmp_path_factory.mktemp("adopted"), "opend_si")
    assert scratch.run("--protos", str(published(request.param))) == 0
    return request.param, scratch


def test_columns_order_types_and_documentation_stay_with_the_published_protos(adopted: tuple[str, Scratch]) -> None:
    _, scratch = adopted
    here = Scratch(ROOT).contents()
    there = scratch.contents()
    assert here.keys() == there.keys()
    differ = {path for path in here if here[path] != there[path]}
    assert f"{SCHEMA}/descriptors.binpb" in differ  # so that this test compares something
    assert not {path for path in differ if path.startswith(FACES)}
    assert differ.isdisjoint(
        {f"{SCHEMA}/{name}.py" for name in ("calendars", "calls", "records", "definitions", "__init__", "_pool")}
    )


def test_the_protos_that_are_needed_are_copied_and_no_others(adopted: tuple[str, Scratch]) -> None:
    name, scratch = adopted
    copied = {path.name: path.read_bytes() for path in (scratch.root / "codegen/protos").glob("*.proto")}
    assert copied.keys() == {path.name for path in PROTOS.glob("*.proto")}
    assert {*SESSION_PROTOS, "Common.proto", "Qot_Common.proto", f"{SHORTS}.proto"} <= copied.keys()
    assert copied.pop(WEBSOCKET_PROTO) == (PROTOS / WEBSOCKET_PROTO).read_bytes()  # the Python packages have it not
    assert all((published(name) / proto).read_bytes() == data for proto, data in copied.items())
    assert b"allow_alias" in copied["Qot_Common.proto"]


def test_the_manifest_names_the_distribution_and_no_path(adopted: tuple[str, Scratch]) -> None:
    name, scratch = adopted
    told = entries(scratch)
    assert told.pop(WEBSOCKET_PROTO) == entries(Scratch(ROOT))[WEBSOCKET_PROTO]
    assert told == {
        path.name: {
            "file": path.name,
            "origin": name,
            "version": distribution(name).version,
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        }
        for path in (scratch.root / "codegen/protos").glob("*.proto")
        if path.name != WEBSOCKET_PROTO
    }
    text = scratch.read(MANIFEST_PATH)
    assert not any(part in text for part in ("site-packages", str(ROOT), str(Path.home()), sys.prefix))


def test_what_was_taken_once_has_nothing_left_to_do(
    adopted: tuple[str, Scratch], capsys: pytest.CaptureFixture[str]
) -> None:
    name, scratch = adopted
    before = everything(scratch)
    protos = ["--protos", str(published(name))]
    runs = [scratch.run(*options) for options in (["--check"], protos, ["diff", *protos])]
    assert (runs, capsys.readouterr().err) == ([0] * 3, "")
    assert everything(scratch) == before


_WORKS = """
import importlib, json, sys
from pathlib import Path
import opend_si, opend_si_schema
from opend_si.simulator import Simulator
from opend_si_schema import common, qot_common

root = Path(sys.argv[1])
told = {"markets": len(qot_common.QotMarket), "aliases": []}
for module in (common, qot_common):
    for name, made in vars(module).items():
        if isinstance(made, type) and hasattr(made, "__members__"):
            told["aliases"] += [f"{name}.{alias}" for alias, member in made.__members__.items() if member.name != alias]
for name in sys.argv[2:]:
    face = importlib.import_module(name)
    assert all(Path(module.__file__).is_relative_to(root) for module in (face, opend_si, opend_si_schema))
    with Simulator() as opend, face.Client(opend.host, opend.port) as client:
        page = client.get_page("HK.00700")
        told[name] = {"dtypes": list(map(str, page.hk.dtypes)), "json": page.to_json()}
print(json.dumps(told))
"""


def test_the_packages_work_with_the_published_protos(
    adopted: tuple[str, Scratch], tmp_path: Path, opend: Simulator
) -> None:
    _, scratch = adopted
    told = json.loads(
        python(_WORKS, scratch.root, *FACES, path=[scratch.root, scratch.root / "generated"], cwd=tmp_path)
    )
    assert told["markets"] > 10
    assert told["aliases"]
    for name in FACES:
        with import_module(name).Client(opend.host, opend.port) as client:
            page = client.get_page("HK.00700")
        assert told[name]["dtypes"] == list(map(str, page.hk.dtypes))
        assert told[name]["json"] == page.to_json()


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_every_published_proto_is_rendered_in_bounded_time_and_its_stub_says_what_it_holds(
    scratch: Scratch, tmp_path: Path, name: str
) -> None:
    folder = Folder(tmp_path / "all", published(name))
    protos = sorted(path.name for path in folder.path.glob("*.proto"))
    assert len(protos) == 184
    imports = "".join(f'import "{proto}";\n' for proto in protos if proto != f"{SHORTS}.proto")
    (folder.path / "All.proto").write_text(f'syntax = "proto2";\npackage All;\n{imports}', encoding="utf-8")
    folder.change(PROTO, 'import "Qot_Common.proto";', 'import "Qot_Common.proto";\nimport "All.proto";')
    began = time.process_time()
    assert scratch.run("--protos", str(folder)) == 0
    assert time.process_time() - began < 60  # a bound, never a measure: it takes one or two
    generated = scratch.root / "generated"
    checked = python(codegen._TRUTH, generated / "opend_si_schema", path=[generated], cwd=tmp_path).split()
    assert len(set(checked) - {"all", "init_web_socket"}) == 184
    told = entries(scratch)
    assert told.pop(WEBSOCKET_PROTO)["origin"] == DOCUMENTED
    assert {entry["origin"] for entry in told.values()} == {LOCAL_FOLDER}
    assert str(tmp_path) not in scratch.read(MANIFEST_PATH)


# The manifest


def test_the_committed_manifest_is_that_of_the_committed_protos() -> None:
    manifest = read_manifest(PROTOS)
    assert mismatches(PROTOS, manifest) == []
    assert {entry.origin for entry in manifest.values()} == {DOCUMENTED}


def test_check_holds_the_protos_against_the_manifest(scratch: Scratch, capsys: pytest.CaptureFixture[str]) -> None:
    scratch.write(COMMON, scratch.read(COMMON) + "\n")
    scratch.write("codegen/protos/Spare.proto", 'syntax = "proto2";\npackage Spare;\n')
    before = everything(scratch)
    assert scratch.run("--check") == 1
    err = capsys.readouterr().err
    assert "Qot_Common.proto: not the file that manifest.toml describes (written out from the documented" in err
    assert "Spare.proto: not in manifest.toml" in err
    assert everything(scratch) == before


def test_check_misses_a_proto_that_only_the_manifest_has(scratch: Scratch, capsys: pytest.CaptureFixture[str]) -> None:
    gone = '\n[[proto]]\nfile = "Gone.proto"\norigin = "futu-api"\nversion = "1.0"\nsha256 = "00"\n'
    scratch.write(MANIFEST_PATH, scratch.read(MANIFEST_PATH) + gone)
    assert scratch.run("--check") == 1
    assert "Gone.proto: gone, though manifest.toml has it (futu-api 1.0)" in capsys.readouterr().err
    assert scratch.run() == 0
    assert "Gone.proto" not in entries(scratch)


def test_the_manifest_follows_a_change_by_hand_and_says_so(scratch: Scratch) -> None:
    scratch.run("--protos", str(published("futu-api")))
    taken = entries(scratch)
    scratch.write(COMMON, scratch.read(COMMON) + "\n")
    scratch.add_proto("Spare.proto", 'syntax = "proto2";\npackage Spare;\n')
    for _ in range(2):  # a second change says nothing more
        scratch.write(COMMON, scratch.read(COMMON) + "\n")
        assert scratch.run() == 0
    told = entries(scratch)
    assert told["Qot_Common.proto"]["origin"] == f"futu-api{EDITED}"
    assert told["Qot_Common.proto"]["sha256"] != taken["Qot_Common.proto"]["sha256"]
    assert told["Spare.proto"]["origin"] == BY_HAND
    assert told["Common.proto"] == taken["Common.proto"]
    assert scratch.run("--check") == 0


def test_what_is_written_by_people_stays_so_when_people_change_it(scratch: Scratch) -> None:
    scratch.write(COMMON, scratch.read(COMMON) + "\n")
    assert scratch.run() == 0
    assert entries(scratch)["Qot_Common.proto"]["origin"] == DOCUMENTED


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("[oops\n", "manifest.toml: ", id="no-toml"),
        pytest.param("colour = 1\n", "manifest.toml: it holds [[proto]] tables and nothing else", id="something-else"),
        pytest.param("proto = 1\n", "manifest.toml: it holds [[proto]] tables", id="no-tables"),
        pytest.param('[[proto]]\nfile = "A.proto"\n', "manifest.toml: proto[0] `origin` is missing", id="missing-key"),
        pytest.param(
            '[[proto]]\nfile = 1\norigin = ""\nversion = ""\nsha256 = ""\n',
            "manifest.toml: proto[0] `file` is missing or no text",
            id="wrong-type",
        ),
        pytest.param(
            '[[proto]]\nfile = "A.proto"\norigin = ""\nversion = ""\nsha256 = ""\n' * 2,
            "manifest.toml: proto[1] A.proto is there before",
            id="twice",
        ),
    ],
)
def test_a_wrong_manifest_is_one_clear_error_and_changes_nothing(
    scratch: Scratch, capsys: pytest.CaptureFixture[str], text: str, said: str
) -> None:
    scratch.write(MANIFEST_PATH, text)
    scratch.drift()
    before = everything(scratch)
    assert scratch.run() == 1
    out, err = capsys.readouterr()
    assert (out, err[:9]) == ("", "codegen: ")
    assert said in err
    assert everything(scratch) == before


@pytest.fixture
def installed(tmp_path: Path) -> Folder:
    """A folder of protos that a distribution has installed in some other environment."""
    site = tmp_path / "other/site-packages"
    folder = Folder(site / "some/pb")
    info = site / "Some_Pack.age-1.2rc1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: Some_Pack.age\nVersion: 1.2rc1\n", encoding="utf-8")
    lines = []
    for path in folder.path.glob("*.proto"):
        coded = base64.urlsafe_b64encode(hashlib.sha256(path.read_bytes()).digest()).decode().rstrip("=")
        lines.append(f"some/pb/{path.name},sha256={coded},{path.stat().st_size}\n")
    (info / "RECORD").write_text("".join(lines), encoding="utf-8")
    return folder


def test_a_distribution_is_found_in_any_environment(scratch: Scratch, installed: Folder) -> None:
    assert scratch.run("--protos", str(installed)) == 0
    told = entries(scratch)
    assert {(entry["origin"], entry["version"]) for entry in told.values()} == {("some-pack-age", "1.2rc1")}


def test_an_installed_file_that_was_edited_is_not_the_distributions(scratch: Scratch, installed: Folder) -> None:
    installed.change(PROTO, A_FIELD, f"{A_FIELD}\n{NEW_FIELD}")
    assert scratch.run("--protos", str(installed)) == 0
    told = entries(scratch)
    assert told[f"{SHORTS}.proto"]["origin"] == f"some-pack-age{EDITED}"
    assert told["Common.proto"]["origin"] == "some-pack-age"


def test_a_copy_of_what_is_known_keeps_its_origin(scratch: Scratch, folder: Folder) -> None:
    folder.change(PROTO, A_FIELD, f"{A_FIELD}\n{NEW_FIELD}")
    assert scratch.run("--protos", str(folder)) == 0
    told = entries(scratch)
    assert (told[f"{SHORTS}.proto"]["origin"], told[f"{SHORTS}.proto"]["version"]) == (LOCAL_FOLDER, "")
    assert told["Common.proto"]["origin"] == DOCUMENTED


def test_the_repositorys_own_folder_is_no_other(scratch: Scratch) -> None:
    scratch.write(COMMON, scratch.read(COMMON) + "\n")
    assert scratch.run("--protos", str(scratch.root / "templates/../codegen/protos")) == 0
    assert {entry["origin"] for entry in entries(scratch).values()} == {DOCUMENTED}


def test_a_copied_proto_that_is_no_longer_needed_goes_and_one_that_nobody_recorded_stays(
    scratch: Scratch, folder: Folder
) -> None:
    scratch.add_proto("Copied.proto", 'syntax = "proto2";\npackage Copied;\n')
    assert scratch.run() == 0
    scratch.write("codegen/protos/Mine.proto", 'syntax = "proto2";\npackage Mine;\n')
    assert scratch.run("--protos", str(folder)) == 0
    assert not (scratch.root / "codegen/protos/Copied.proto").exists()
    assert (scratch.root / "codegen/protos/Mine.proto").exists()
    assert not (scratch.root / SCHEMA / "copied.py").exists()
    assert entries(scratch).keys() == {path.name for path in (scratch.root / "codegen/protos").glob("*.proto")}


def test_a_proto_may_be_called_like_a_module_of_the_schema(scratch: Scratch, tmp_path: Path) -> None:
    scratch.add_proto("Records.proto", 'syntax = "proto2";\npackage Records;\nmessage Calls {}\n')
    records = scratch.read(f"{SCHEMA}/records.py")
    assert scratch.run() == 0
    assert scratch.read(f"{SCHEMA}/records.py") == records
    generated = scratch.root / "generated"
    checked = python(codegen._TRUTH, generated / "opend_si_schema", path=[generated], cwd=tmp_path)
    assert "records_" in checked.split()


# What would change


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Scratch:
    """A repository with a message, an enum and a proto that nothing uses; no test changes it."""
    scratch = Scratch.make(tmp_path_factory.mktemp("diff") / "repository")
    scratch.write(
        COMMON,
        scratch.read(COMMON)
        + "message Spare {\n  optional int32 size = 1;\n  map<string, int64> counts = 2;\n}\n"
        + "enum Colour {\n  Colour_Red = 0;\n  Colour_Green = 1;\n}\n"
        + "message Painted { optional Colour colour = 1; }\n",
    )
    assert scratch.run() == 0
    return scratch


def case(name: str, proto: str, old: str, new: str, *said: str) -> Any:
    return pytest.param(proto, old, new, said, id=name)


USED = "regenerating takes --accept"
YES, NO = ". Wire-compatible. ", ". Not wire-compatible. "


@pytest.mark.parametrize(
    ("proto", "old", "new", "said"),
    [
        case(
            *("added", PROTO, A_FIELD, f"{A_FIELD}\n{NEW_FIELD}"),
            f"  {HK_ITEM}\n    newThing added (optional uint64 newThing = 7){YES}A new column `new_thing` of "
            "get_short_interest's HK table, the last; recorded pages show it if OpenD sent it.",
            "1 change: 1 wire-compatible, 0 not.\n",
        ),
        case(
            *("added-and-no-column", PROTO, A_FIELD, f"{A_FIELD}\n  optional bytes raw = 7;"),
            f"raw added (optional bytes raw = 7){YES}No column of get_short_interest's HK table, and refused unless "
            "the table's `skip` names it: neither CSV nor JSON can hold bytes.",
            "Taking these protos would be refused: ",
            f"short_interest.toml: table[1] {HK_ITEM}.raw is bytes and no column",
        ),
        case(
            *("added-and-a-default", PROTO, A_FIELD, f"{A_FIELD}\n  optional double more = 7 [default = 1.5];"),
            "refused unless the table's `skip` names it: its default is 1.5",
            "Taking these protos would be refused: ",
            f"{HK_ITEM}.more is double and no column",
        ),
        case(
            *("added-and-hiding", PROTO, A_FIELD, f"{A_FIELD}\n  optional int32 HasField = 7;"),
            "Taking these protos would be refused: ",
            f"{HK_ITEM}.HasField hides the `HasField` that every message has",
        ),
        case(
            *("argument-required", PROTO, "message C2S {", "message C2S { required int32 periodType = 9;"),
            "Taking these protos would be refused: ",
            "C2S.periodType is required",
            USED,
        ),
        case(
            *(
                "added-where-nothing-shows-it",
                COMMON,
                "optional int32 size = 1;",
                "optional int32 size = 1; required bool b = 3;",
            ),
            f"b added (required bool b = 3){NO}What was recorded without it",
        ),
        case(
            *("removed", PROTO, A_FIELD, ""),
            f"aggregatedShort removed (was optional uint64 aggregatedShort = 5){YES}The column `aggregated_short` of "
            "get_short_interest's HK table is gone, though recorded pages keep its bytes.",
            USED,
            f"short_interest.toml: table[1] `columns` lists aggregatedShort: {HK_ITEM}.aggregatedShort is gone",
            f"short_interest.toml: `docs` speaks of {HK_ITEM}.aggregatedShort, which is gone",
        ),
        case(
            *(
                "removed-of-the-session",
                "KeepAlive.proto",
                "  optional string retMsg = 2; // Why it was refused.\n",
                "",
            ),
            f"  KeepAlive.Response\n    retMsg removed (was optional string retMsg = 2){YES}It travels in the calls",
            USED,
        ),
        case(
            *("removed-where-required", PROTO, "  required C2S c2s = 1;", ""),
            f"c2s removed (was required {SHORTS}.C2S c2s = 1){NO}",
            "Whoever still requires it",
            USED,
        ),
        case(
            *("renumbered", PROTO, A_FIELD, A_FIELD.replace("5", "9")),
            f"aggregatedShort renumbered from 5 to 9{NO}What is recorded of the column `aggregated_short` of",
            USED,
        ),
        case(
            *("retyped", PROTO, A_FIELD, A_FIELD.replace("uint64", "string")),
            f"aggregatedShort retyped from uint64 to string{NO}The column `aggregated_short` of",
            "gets another type, and recorded values of it are not read as what they were.",
            USED,
        ),
        case(
            *("retyped-alike", PROTO, A_FIELD, A_FIELD.replace("uint64", "int32")),
            f"aggregatedShort retyped from uint64 to int32{YES}The column `aggregated_short` of get_short_interest's HK "
            "table gets another type. Numbers that it does not have are read as others.",
            USED,
        ),
        case(
            *("widened", COMMON, "optional int32 size = 1;", "optional int64 size = 1;"),
            f"size retyped from int32 to int64{YES}What reads it has to take the new type.\n",
            "0 not.\n",
        ),
        case(
            *("a-map-retyped", COMMON, "map<string, int64>", "map<string, string>"),
            f"counts retyped from map<string, int64> to map<string, string>{NO}",
            "1 change: 0 wire-compatible, 1 not.",
        ),
        case(
            *("renamed", PROTO, A_FIELD, A_FIELD.replace("aggregatedShort", "shortShares")),
            f"aggregatedShort renamed to shortShares (now optional uint64 shortShares = 5){YES}The column "
            "`aggregated_short` of get_short_interest's HK table becomes `short_shares`.",
            "1 change: 1 wire-compatible, 0 not.",
            USED,
        ),
        case(
            *("renamed-and-retyped", PROTO, A_FIELD, "  repeated int64 shortShares = 5;"),
            "aggregatedShort renamed to shortShares",
            f"shortShares retyped from uint64 to int64{YES}",
            f"shortShares changed from optional to repeated{YES}",
            USED,
        ),
        case(
            *("number-of-another", PROTO, A_FIELD, "  optional string note = 5;"),
            f"note added (optional string note = 5){NO}",
            "Its number was that of aggregatedShort: recorded values of that are misread.",
            "aggregatedShort removed",
            USED,
        ),
        case(
            *("label-to-required", PROTO, "optional string nextKey = 2", "required string nextKey = 2"),
            f"nextKey changed from optional to required{NO}What was recorded without it",
            USED,
        ),
        case(
            *("label-to-optional", PROTO, "required int32 retType = 1", "optional int32 retType = 1"),
            f"retType changed from required to optional{YES}It may be missing now.",
            "0 not.\n",
        ),
        case(
            *("default", PROTO, "[default = -400]", "[default = -1]"),
            f"retType has the default -1, was -400{YES}Where none is sent, another value is read.",
        ),
        case(
            *("message-removed", COMMON, "message Painted { optional Colour colour = 1; }\n", ""),
            f"  Qot_Common.Painted\n    message of 1 field removed{NO}The module `qot_common` loses a class.",
            "1 change: 0 wire-compatible, 1 not.\n",
        ),
        case(
            *(
                "messages-added",
                COMMON,
                "message Painted",
                "message One {}\nenum Two { Two_Zero = 0; }\nmessage Painted",
            ),
            f"  Qot_Common\n    2 messages and enums added (One, Two){YES}The module `qot_common` gains classes",
        ),
        case(
            *(
                "enum-value-added",
                COMMON,
                "  QotMarket_Unknown = 0;",
                "  QotMarket_Mars = 99;\n  QotMarket_Unknown = 0;",
            ),
            f"  Qot_Common.QotMarket\n    QotMarket_Mars = 99 added{YES}A new member.",
        ),
        case(
            *(
                "enum-alias-added",
                COMMON,
                "Colour_Green = 1;",
                "Colour_Green = 1; Colour_Verde = 1; option allow_alias = true;",
            ),
            f"Colour_Verde = 1 added{YES}Another name of Colour_Green.",
        ),
        case(
            *("enum-value-removed", COMMON, "  QotMarket_JP_Security = 41; // Japan.\n", ""),
            f"QotMarket_JP_Security = 41 removed{YES}The member is gone.",
            USED,
        ),
        case(
            *("enum-value-removed-of-a-field", COMMON, "  Colour_Green = 1;\n", ""),
            f"Colour_Green = 1 removed{NO}A field of this type reads it as not sent.",
        ),
        case(
            *("enum-value-renumbered", COMMON, "QotMarket_JP_Security = 41", "QotMarket_JP_Security = 42"),
            f"QotMarket_JP_Security renumbered from 41 to 42{NO}A recorded number means something else now.",
            USED,
        ),
        case(
            *("enum-value-renamed", COMMON, "QotMarket_JP_Security = 41", "QotMarket_Japan = 41"),
            f"QotMarket_JP_Security = 41 renamed to QotMarket_Japan{YES}The member is called differently.",
            USED,
        ),
        case(
            *("options", COMMON, "package Qot_Common;", 'package Qot_Common;\noption java_package = "x";'),
            "Options, imports or the order of declarations differ: Qot_Common.proto.",
        ),
        case(
            *("comments", COMMON, "// Japan.", "// 日本"),
            "Comments differ in 1 place, and with them the documentation in modules and stubs. That of the columns stays",
        ),
    ],
)
def test_diff_says_in_words_what_would_change_and_writes_nothing(
    repository: Scratch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    proto: str,
    old: str,
    new: str,
    said: tuple[str, ...],
) -> None:
    folder = Folder(tmp_path / "elsewhere", repository.root / "codegen/protos")
    folder.change(proto, old, new)
    before = everything(repository)
    capsys.readouterr()
    assert repository.run("diff", "--protos", str(folder)) == 1
    out, err = capsys.readouterr()
    assert [text for text in said if text not in out] == [], out
    assert (USED in out) == (USED in said)
    assert err == ""
    assert everything(repository) == before


def mixed(text: bytes) -> bytes:
    """With line ends of both kinds, two by two."""
    lines = text.split(b"\n")
    return b"".join(line + (b"\r\n" if number % 4 < 2 else b"\n") for number, line in enumerate(lines))


def test_line_ends_change_nothing_that_is_rendered(scratch: Scratch) -> None:
    scratch.add_proto("Awkward.proto", "")
    text = (codegen.AWKWARD / "Awkward.proto").read_bytes()
    (scratch.root / "codegen/protos/Awkward.proto").write_bytes(mixed(text))
    assert scratch.run() == 0
    for name in ("awkward.py", "awkward.pyi"):
        assert scratch.read(f"{SCHEMA}/{name}") == (codegen.AWKWARD / f"{name}.golden").read_text(encoding="utf-8")


def test_spaces_and_line_ends_change_nothing(
    repository: Scratch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Folder(tmp_path / "elsewhere", repository.root / "codegen/protos")
    for path in folder.path.iterdir():
        path.write_bytes(b"\xef\xbb\xbf" + mixed(path.read_bytes()).replace(b"optional ", b"optional  "))
    assert repository.run("diff", "--protos", str(folder)) == 0
    assert capsys.readouterr().out == f"codegen: nothing would change with the protos of {folder}\n"


@pytest.mark.parametrize("options", [["diff"], ["diff", "--check"], ["diff", "--protos", ".", "--accept"], ["dif"]])
def test_a_wrong_command_line_is_told_with_exit_code_2(options: list[str], repository: Scratch) -> None:
    with pytest.raises(SystemExit) as stop:
        repository.run(*options)
    assert stop.value.code == 2


# Wrong folders


@pytest.mark.parametrize("command", [[], ["--check"], ["diff"]])
@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        pytest.param(lambda folder: shutil.rmtree(folder.path), ["elsewhere: no such folder"], id="no-folder"),
        pytest.param(
            lambda folder: (folder.path / f"{SHORTS}.proto").unlink(), [f"{SHORTS}.proto: no such proto"], id="no-proto"
        ),
        pytest.param(
            lambda folder: (folder.path / "Common.proto").unlink(),
            ["Common.proto: File not found", "elsewhere"],
            id="no-import",
        ),
        pytest.param(
            lambda folder: folder.change(PROTO, A_FIELD, f"{A_FIELD}\n  optional nothing\n"),
            [f"{SHORTS}.proto:", "elsewhere"],
            id="broken",
        ),
    ],
)
def test_a_wrong_folder_is_one_clear_error_and_changes_nothing(
    scratch: Scratch,
    folder: Folder,
    capsys: pytest.CaptureFixture[str],
    command: list[str],
    spoil: Callable[[Folder], object],
    said: list[str],
) -> None:
    spoil(folder)
    before = everything(scratch)
    assert scratch.run(*command, "--protos", str(folder)) == 1
    out, err = capsys.readouterr()
    assert (out, err[:9]) == ("", "codegen: ")
    assert [text for text in said if text not in err] == []
    assert everything(scratch) == before


def test_nothing_of_the_folder_is_executed(
    scratch: Scratch, folder: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("grpc_tools.py", "sitecustomize.py", "os.py"):
        (folder.path / name).write_text("raise SystemExit('executed')\n", encoding="utf-8")
    assert scratch.run("--protos", str(folder)) == 0


def test_a_folder_may_be_called_anything(scratch: Scratch, tmp_path: Path) -> None:
    folder = Folder(tmp_path / "a: strange,  =name" / "空")
    assert scratch.run("--protos", str(folder)) == 0


# What is in use


LOSSES = [
    pytest.param(PROTO, A_FIELD, "", f"{HK_ITEM}: aggregatedShort removed", id="column-removed"),
    pytest.param(
        *(PROTO, A_FIELD, A_FIELD.replace("uint64", "double")),
        *(f"{HK_ITEM}: aggregatedShort retyped from uint64 to double",),
        id="column-retyped",
    ),
    pytest.param(
        *(PROTO, "optional string nextKey = 3", "optional bytes nextKey = 3"),
        *(f"{SHORTS}.S2C: nextKey retyped from string to bytes",),
        id="paged-shape-retyped",
    ),
    pytest.param(
        *("InitConnect.proto", "required uint64 connID = 3", "required uint64 connID = 33"),
        *("InitConnect.S2C: connID renumbered from 3 to 33",),
        id="session-renumbered",
    ),
    pytest.param(
        *("Common.proto", "  RetType_Invalid = -500; // The request could not be read.\n", ""),
        *("Common.RetType: RetType_Invalid = -500 removed",),
        id="enum-value-removed",
    ),
]


@pytest.mark.parametrize("by_hand", [False, True], ids=["from-a-folder", "by-hand"])
@pytest.mark.parametrize(("proto", "old", "new", "said"), LOSSES)
def test_what_is_in_use_is_not_taken_away_unasked(
    scratch: Scratch,
    folder: Folder,
    capsys: pytest.CaptureFixture[str],
    proto: str,
    old: str,
    new: str,
    said: str,
    by_hand: bool,
) -> None:
    if by_hand:
        scratch.change(f"codegen/protos/{Path(proto).name}", old, new)
    else:
        folder.change(proto, old, new)
    before = everything(scratch)
    place = scratch.root / "codegen/protos" if by_hand else folder.path
    for check in ([], ["--check"]):
        assert scratch.run(*check, *([] if by_hand else ["--protos", str(folder)])) == 1
        out, err = capsys.readouterr()
        assert (out, err[:9]) == ("", "codegen: ")
        assert f"{place / Path(proto).name}: {said}" in err
        assert "--accept" in err
    assert everything(scratch) == before


def test_what_nothing_uses_may_go(scratch: Scratch, folder: Folder) -> None:
    scratch.write(COMMON, scratch.read(COMMON) + "message Spare { optional int32 size = 1; }\n")
    assert scratch.run() == 0
    assert "class Spare(" in scratch.read(f"{SCHEMA}/qot_common.pyi")
    assert scratch.run("--protos", str(folder)) == 0
    assert "class Spare(" not in scratch.read(f"{SCHEMA}/qot_common.pyi")


def test_an_accepted_loss_asks_for_the_binding_to_be_edited_and_then_goes_through(
    scratch: Scratch, folder: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    folder.change(PROTO, A_FIELD, "")
    before = everything(scratch)
    options = ("--protos", str(folder), "--accept")
    assert scratch.run(*options) == 1
    err = capsys.readouterr().err
    assert (
        f"{scratch.root / BINDING}: table[1] `columns` lists aggregatedShort: {HK_ITEM}.aggregatedShort is gone" in err
    )
    assert f"{scratch.root / BINDING}: `docs` speaks of {HK_ITEM}.aggregatedShort, which is gone" in err
    assert f"{scratch.root / BINDING}: table[1] `short` names aggregatedShort: {HK_ITEM}.aggregatedShort is gone" in err
    assert "run again" in err
    assert everything(scratch) == before

    scratch.change(BINDING, A_ROLE, "")
    scratch.change(BINDING, A_COLUMN, "")
    scratch.change(BINDING, A_DOC, "")
    assert scratch.run(*options) == 0
    assert "aggregated_short:" not in scratch.read(f"{SCHEMA}/records.py")
    assert A_FIELD not in scratch.read(PROTO)
    assert scratch.run("--check") == 0


def test_rows_may_be_a_message_of_another_name(
    scratch: Scratch, folder: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):
        folder.change(PROTO, "HkShortInterestItem", "HkItem")
    assert scratch.run("diff", "--protos", str(folder)) == 1
    told = capsys.readouterr().out
    assert f"  {HK_ITEM}\n    renamed to {SHORTS}.HkItem. Wire-compatible." in told
    assert "\n1 change: 1 wire-compatible, 0 not. 1 change of what is in use: regenerating takes --accept." in told
    options = ("--protos", str(folder), "--accept")
    assert scratch.run(*options) == 1
    assert set(re.findall(r"`(\w+)`", capsys.readouterr().err)) == {"docs"}
    scratch.write(BINDING, scratch.read(BINDING).replace("HkShortInterestItem", "HkItem"))
    before = scratch.read(f"{SCHEMA}/records.py"), scratch.read(f"{SCHEMA}/calls.py")
    assert scratch.run(*options) == 0
    assert (scratch.read(f"{SCHEMA}/records.py"), scratch.read(f"{SCHEMA}/calls.py")) == before
    assert "class HkItem(" in scratch.read(f"{SCHEMA}/qot_get_short_interest.pyi")


def test_an_accepted_type_is_the_columns(scratch: Scratch, folder: Folder) -> None:
    folder.change(PROTO, "optional uint64 avgDailyShareVolume", "optional double avgDailyShareVolume")
    assert scratch.run("--protos", str(folder), "--accept") == 0
    assert "    avg_daily_share_volume: float | None = None\n" in scratch.read(f"{SCHEMA}/records.py")


# A field that was sent before it was known


_OPEND = """
import sys
from opend_si.simulator import Simulator
with Simulator() as opend:
    print(opend.port, flush=True)
    sys.stdin.read()
"""

_REPLAY = """
import importlib, json, sys
from pathlib import Path
root, port, cache = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
told = {}
for name in sys.argv[4:]:
    face = importlib.import_module(name)
    assert Path(face.__file__).is_relative_to(root)
    with face.Client("127.0.0.1", port, mode="bypass") as client:
        sent = client.get_page("HK.00001", num=50)
    with face.Client("127.0.0.1", 1, mode="offline", cache=cache) as client:
        page, cut = client.get_page("HK.00001", num=50), client.get_page("HK.00001", num=5)
        history = client.history("HK.00001")
    told[name] = {
        "sent": sent.hk["new_thing"].tolist(),
        "page": page.hk["new_thing"].tolist(),
        "cut": cut.hk["new_thing"].tolist(),
        "records": [record.new_thing for record in page.records],
        "history": history["new_thing"].tolist()[::-1],
        "json": page.to_json() == sent.to_json(),
        "types": [str(page.hk[name].dtype) for name in ("new_thing", "str_", "float_")],
        "last": list(page.hk)[-3:],
        "doc": face.get_short_interest.__doc__,
        "record_doc": face.HkShortInterest.__doc__,
    }
print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def newer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Scratch, int]]:
    """A repository whose proto has gained fields, by `--protos`, and the port of an OpenD that sends them."""
    place = tmp_path_factory.mktemp("newer")
    scratch, folder = Scratch.make(place / "repository", "opend_si"), Folder(place / "protos")
    hostile = 'It says """quoted""" \\\\ {{ jinja }} {% if %} # \\N{BULLET} \\'
    more = f"  optional string str = 8; // {hostile}\n  optional double float = 9; /* */\n"
    folder.change(PROTO, A_FIELD, f"{A_FIELD}\n{NEW_FIELD}\n{more}")
    assert scratch.run("--protos", str(folder)) == 0
    path = os.pathsep.join(map(str, (scratch.root, scratch.root / "generated")))
    with subprocess.Popen(
        [sys.executable, "-c", _OPEND],
        env={**os.environ, "PYTHONPATH": path},
        cwd=scratch.root,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as opend:
        assert opend.stdin
        assert opend.stdout
        yield scratch, int(opend.stdout.readline())
        opend.stdin.close()


def test_a_page_that_was_recorded_before_has_the_value_of_a_field_that_came_later(
    newer: tuple[Scratch, int], tmp_path: Path
) -> None:
    scratch, port = newer
    cache = tmp_path / "pages.sqlite3"
    known = import_module(FACES[0])
    with known.Client("127.0.0.1", port, mode="online", cache=cache) as client:
        before = client.get_page("HK.00001", num=50)
        assert len(client.history("HK.00001")) > 50
    assert "new_thing" not in before.hk

    path = [scratch.root, scratch.root / "generated"]
    told = json.loads(python(_REPLAY, scratch.root, port, cache, *FACES, path=path, cwd=scratch.root))
    for face in FACES:
        found = told[face]
        assert len(found["sent"]) == 50
        assert all(value > 0 for value in found["sent"])
        assert found["page"] == found["records"] == found["history"][:50] == found["sent"]
        assert found["cut"] == found["sent"][:5]
        assert len(found["history"]) > 50
        assert all(value > 0 for value in found["history"])
        assert found["json"]
        assert found["types"][0] == "int64"
        assert found["last"] == ["new_thing", "str_", "float_"]
        for doc in (found["doc"], found["record_doc"]):
            assert "new_thing: int64. What the exchange tells since lately." in doc
            assert 'str_: str. It says """quoted""" \\\\ {{ jinja }} {% if %} # \\N{BULLET} \\' in " ".join(doc.split())

    with known.Client("127.0.0.1", 1, mode="offline", cache=cache) as client:
        assert client.get_page("HK.00001", num=50).hk.equals(before.hk)


# All or nothing, also when writing fails


# Fails the nth step in the file system that is taken below the root, as the system would, until there is none left.
_FAILS = """
import os, sys
from pathlib import Path
from codegen.__main__ import make_plan
from codegen.errors import CodegenError
from codegen.plan import write

root, kind = Path(sys.argv[1]), sys.argv[2]
left = -1

def fail(event, arguments):
    global left
    if left < 0 or event not in ("open", "os.rename", "os.mkdir") or not str(arguments[0]).startswith(str(root)):
        return
    if event == "open" and "w" not in str(arguments[1]) or event == "os.mkdir" and os.path.isdir(arguments[0]):
        return
    left -= 1
    if left < 0:
        raise KeyboardInterrupt if kind == "interrupted" else OSError(28, "No space left on device")

def tree():
    return {
        path.relative_to(root): (path.read_bytes() if path.is_file() else None)
        for path in root.rglob("*") if "__pycache__" not in path.parts
    }

plan, before = make_plan(root, Path(sys.argv[3])), tree()
sys.addaudithook(fail)
failed = 0
while True:
    left = failed
    try:
        write(root, plan)
    except (CodegenError, KeyboardInterrupt) as error:
        left = -1
        assert tree() == before, (failed, error)
        assert kind == "interrupted" or str(error).endswith("No space left on device; nothing was changed"), error
    else:
        break
    failed += 1
left = -1
assert tree() != before
assert not list(root.glob(".codegen-*"))
print(failed)
"""


@pytest.mark.parametrize("kind", ["full", "interrupted"])
def test_wherever_writing_fails_the_tree_is_as_before(
    scratch: Scratch, folder: Folder, tmp_path: Path, kind: str
) -> None:
    scratch.add_proto("Copied.proto", 'syntax = "proto2";\npackage Copied;\n')
    assert scratch.run() == 0
    scratch.drift()
    shutil.rmtree(scratch.root / "moomoo_si")
    folder.change(PROTO, A_FIELD, f"{A_FIELD}\n{NEW_FIELD}")
    failed = int(python(_FAILS, scratch.root, kind, folder, path=[ROOT], cwd=tmp_path))
    assert failed > 60
    assert scratch.run("--check") == 0


_FULL = """
import resource, sys
from pathlib import Path
from codegen.__main__ import make_plan
from codegen.plan import write
plan = make_plan(Path(sys.argv[1]))
largest = max(map(len, plan.values()))
resource.setrlimit(resource.RLIMIT_FSIZE, (largest - 1, largest - 1))  # no file may be as large as the largest
try:
    write(Path(sys.argv[1]), {path: data + b"#" for path, data in plan.items()})
except Exception as error:
    print(type(error).__name__, error)
"""


@pytest.mark.needs("limits")
def test_a_file_that_the_system_does_not_take_changes_nothing(scratch: Scratch, tmp_path: Path) -> None:
    before = everything(scratch)
    said = python(_FULL, scratch.root, path=[ROOT], cwd=tmp_path)
    assert said.startswith("CodegenError ")
    assert said.endswith("; nothing was changed\n")
    assert everything(scratch) == before


@pytest.mark.parametrize("place", ["moomoo_si", f"{SCHEMA}/calls.py", "codegen/protos/Common.proto"])
def test_something_in_the_way_of_a_file_changes_nothing(
    scratch: Scratch, folder: Folder, capsys: pytest.CaptureFixture[str], place: str
) -> None:
    target = scratch.root / place
    if target.is_dir():  # a file where a folder belongs
        shutil.rmtree(target)
        target.write_text("", encoding="utf-8")
    else:  # a folder where a file belongs
        target.unlink()
        target.mkdir()
    folder.change(PROTO, A_FIELD, f"{A_FIELD}\n{NEW_FIELD}")
    before = everything(scratch)
    assert scratch.run("--protos", str(folder)) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"codegen: {place}")
    assert err.endswith("; nothing was changed\n")
    assert everything(scratch) == before


# One set, whatever made it


_SETS = """
import google.protobuf, grpc_tools, hashlib, json, sys
from pathlib import Path
from google.protobuf.internal import api_implementation
from grpc_tools import protoc
from codegen.compile import compile_protos, strip

print(json.dumps([grpc_tools.__file__, google.protobuf.__version__, api_implementation.Type()]))
for folder in map(Path, sys.argv[1:]):
    files = compile_protos(folder, [path.name for path in folder.glob("*.proto")])
    print(len(files.file), hashlib.sha256(strip(files)).hexdigest())
"""

PROTOBUFS = (ROOT / "tests/protobuf-releases.txt").read_text(encoding="utf-8").split()


def sets(tmp_path: Path, *path: Path, implementation: str = "upb") -> tuple[list[str], list[str]]:
    """Who compiled, and what became of the repository's protos and of all that are published."""
    folders = (PROTOS, *map(published, DISTRIBUTIONS))
    env = {"PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": implementation}
    first, *digests = python(_SETS, *folders, path=[*path, ROOT], cwd=tmp_path, **env).splitlines()
    return json.loads(first), digests


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What becomes of the protos with what is installed."""
    return sets(tmp_path_factory.mktemp("here"))[1]


def protoc_version(*path: Path) -> str:
    run = subprocess.run(
        [sys.executable, "-m", "grpc_tools.protoc", "--version"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, path))},
        capture_output=True,
        text=True,
        check=True,
    )
    return run.stdout


def test_the_descriptor_set_does_not_depend_on_the_release_of_protoc(tmp_path: Path, here: list[str]) -> None:
    oldest = compat("grpcio-tools")
    if protoc_version(oldest) == protoc_version():
        assert sys.version_info >= (3, 15), "an older one has a wheel"
        pytest.skip("no older protoc has a wheel for this Python")
    (there, *_), of_the_oldest = sets(tmp_path, oldest)
    assert Path(there).is_relative_to(oldest)
    assert of_the_oldest == here
    assert [line.split()[0] for line in of_the_oldest[1:]] == ["184", "184"]


@pytest.mark.parametrize(("release", "implementation"), [(PROTOBUFS[0], "upb"), (PROTOBUFS[-1], "python")])
def test_the_descriptor_set_does_not_depend_on_protobuf(
    tmp_path: Path, here: list[str], release: str, implementation: str
) -> None:
    (_, version, used), there = sets(tmp_path, compat(f"protobuf-{release}"), implementation=implementation)
    assert version.startswith(f"{release}.")
    assert used == implementation
    assert there == here


def test_names_that_frames_keep_and_fields_that_are_no_column(tmp_path: Path) -> None:
    scratch = Scratch.make(tmp_path / "repository", "opend_si")
    added = ["symbol", "date", "knownAt", "daysBetween", "change", "changePercent"]
    lines = "".join(f"\n  optional int64 {name} = {20 + place};" for place, name in enumerate(added))
    scratch.change(PROTO, codegen.LAST_HK_FIELD, f"{codegen.LAST_HK_FIELD}{lines}\n  repeated int64 parts = 30;")
    assert scratch.run() == 1
    scratch.change("codegen/bindings/short_interest.toml", 'market = "HK"', 'market = "HK"\nskip = ["parts"]')
    assert scratch.run() == 0
    told = python(
        """
from futu_si import Client, with_changes
from opend_si.simulator import Simulator, Universe
with Simulator(Universe(most_rows=60)) as opend, Client(opend.host, opend.port, mode="online") as client:
    client.sync(["HK.00001", "HK.00005"])
    history, panel = client.history("HK.00001"), with_changes(client.panel())
    print([name for name in history if name.endswith("_")], len(panel), panel["change"].isna().sum(), "parts" in history)
""",
        path=[scratch.root, scratch.root / "generated"],
        cwd=scratch.root,
        OPEND_SI_HOME=str(tmp_path),
    )
    names = "['symbol_', 'date_', 'known_at_', 'days_between_', 'change_', 'change_percent_']"
    assert told == f"{names} 120 2 False\n"


def test_the_guide_says_how(tmp_path: Path) -> None:
    """docs/protos.md: its commands are run on the protos of the installed client."""
    page = (ROOT / "docs" / "protos.md").read_text(encoding="utf-8")
    commands = [line.split("#")[0].split() for line in page.splitlines() if line.startswith("python -m codegen")]
    assert [command[3:-1] for command in commands] == [["diff", "--protos"], ["--protos"]]
    scratch = Scratch.make(tmp_path / "repository")
    folder = next(str(path) for path in (Path(sys.prefix) / "lib").glob("python*/site-packages/futu/common/pb"))
    assert all(command[-1].endswith("/".join(Path(folder).parts[-4:])) for command in commands)
    codes = [scratch.run(*command[3:-1], folder) for command in (*commands, *commands)]
    assert codes == [1, 0, 0, 0]  # it tells what would change; takes it; and then there is nothing left to change
