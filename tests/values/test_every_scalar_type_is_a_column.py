"""Every scalar type of proto2 is a column on every path, with the values of plain protobuf; or codegen refuses it.

The paths: pages, records, JSON, pages cut from the record, histories, changes, revisions, panels (one symbol in arrays,
one by the walk), Arrow tables, screens, Parquet and CSV, the console, blocking and asyncio, with ptars and without, on
both of protobuf's readers.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import FieldDescriptorProto

from opend_si_schema.definitions import ADDED
from tests.codegen.test_all_packages_or_none import LAST_HK_FIELD, PROTO, Scratch
from tests.codegen.test_changed_protos_are_taken_or_refused import Folder
from tests.processes import ROOT

SCALARS = [
    name.removeprefix("TYPE_").lower()
    for name in FieldDescriptorProto.DESCRIPTOR.enum_types_by_name["Type"].values_by_name
    if name not in ("TYPE_MESSAGE", "TYPE_GROUP", "TYPE_BYTES", "TYPE_ENUM")
]
GRADE = (
    "enum Grade { Grade_Middle = 3; Grade_None = 0; Grade_Low = -5; }"  # the first is what is read where none is sent
)
# Fields by name: type, and column.
FIELDS = {f"of{kind.capitalize()}": (kind, f"of_{kind.lower()}") for kind in (*SCALARS, "Grade")}
# Fields that are called like what histories, panels, changes and data sets add.
RESERVED = {
    "symbol": "symbol_",
    "date": "date_",
    "knownAt": "known_at_",
    "publishedBy": "published_by_",
    "market": "market_",
    "daysBetween": "days_between_",
    "change": "change_",
    "change_percent": "change_percent_",
}
FIELDS |= {field: ("int32", column) for field, column in RESERVED.items()}
PATHS = ROOT / "tests/values/scalar_paths.py"


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Scratch:
    """A repository that took a proto with a field of each type."""
    scratch = Scratch.make(tmp_path_factory.mktemp("scalars"), "opend_si")
    folder = Folder(tmp_path_factory.mktemp("protos") / "elsewhere")
    added = "\n".join(
        f"  optional {kind} {field} = {number};" for number, (field, (kind, _)) in enumerate(FIELDS.items(), 101)
    )
    folder.change(PROTO, LAST_HK_FIELD, f"{LAST_HK_FIELD}\n{added}")
    folder.change(PROTO, "message C2S", f"{GRADE}\n\nmessage C2S")
    assert scratch.run("--protos", str(folder)) == 0
    return scratch


@pytest.mark.parametrize(
    ("reader", "decoder"), [("upb", "with ptars"), ("upb", "without ptars"), ("python", "without ptars")]
)
def test_every_path_has_the_values_that_were_sent(tree: Scratch, tmp_path: Path, reader: str, decoder: str) -> None:
    assert len(SCALARS) == 14
    assert {*RESERVED.values()} == {f"{name}_" for name in ADDED}
    run = subprocess.run(
        [sys.executable, "-P", "-W", "error", str(PATHS), json.dumps(FIELDS), str(tmp_path), decoder],
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join((str(tree.root), str(tree.root / "generated"))),
            "PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": reader,
            "OPEND_SI_HOME": str(tmp_path / "home"),
            "OPEND_SI_MODE": "online",
        },
        cwd=tree.root,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.returncode == 0, run.stderr[-3000:]


def test_bytes_are_refused_by_name_with_a_reason(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scratch, folder = Scratch.make(tmp_path / "repository"), Folder(tmp_path / "elsewhere")
    folder.change(PROTO, LAST_HK_FIELD, f"{LAST_HK_FIELD}\n  optional bytes raw = 7;")
    before = scratch.outputs()
    assert scratch.run("--protos", str(folder)) == 1
    told = capsys.readouterr().err
    assert "HkShortInterestItem.raw is bytes" in told
    assert "neither CSV nor JSON can hold bytes" in told
    assert 'skip = ["raw"]' in told
    assert scratch.outputs() == before
