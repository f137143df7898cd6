"""The faces work beside whatever else uses protobuf: the published clients, imported before, between or after them;
foreign files named `Common.proto` and the like; each supported release of protobuf, in C and in pure Python. They leave
the default pool to others.

Each surrounding is a process of its own. What it makes of the simulator's pages is what this process makes of them.
"""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from opend_si.simulator import Simulator
from tests.conftest import FACES
from tests.processes import ROOT, compat

# Seconds until a process counts as stuck.
LIMIT = 60
PUBLISHED = ("futu", "moomoo")
IMPLEMENTATIONS = ("upb", "python")
RELEASES = (ROOT / "tests/protobuf-releases.txt").read_text(encoding="utf-8").split()


def describe_pages(port: int) -> list[Any]:
    """What each face makes of a page with gaps, a full one and an empty one. Runs here and in other processes."""
    import importlib

    described = []
    for name in ("futu_si", "moomoo_si"):
        with importlib.import_module(name).Client("127.0.0.1", port) as client:
            for code in ("HK.00700", "US.AAPL", "US.SPHY"):
                page = client.get_page(code, num=50)
                frames = [[frame.to_csv(), str(frame.dtypes), frame.attrs] for frame in (page.us, page.hk)]
                for *_, attrs in frames:
                    del attrs["checked_at"]  # it was asked for now
                described.append([page.symbol, page.next, repr(page.records), page.to_json(), frames])
    return described


def describe_schema() -> dict[str, Any]:
    """Every proto file of the schema, by name. Runs here and in other processes."""
    from google.protobuf.descriptor_pb2 import FileDescriptorProto
    from google.protobuf.json_format import MessageToDict

    from opend_si_schema import get_global_state, init_connect, keep_alive, qot_get_short_interest

    modules: tuple[Any, ...] = (get_global_state, init_connect, keep_alive, qot_get_short_interest)
    files = [module.Response.DESCRIPTOR.file for module in modules]
    described = {}
    while files:
        file = files.pop()
        files += file.dependencies
        proto = FileDescriptorProto()
        file.CopyToProto(proto)
        described[file.name] = MessageToDict(proto)
    return described


BEGIN = f"""
from __future__ import annotations
import importlib, json, os, sys
from typing import Any
from google import protobuf
from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.internal import api_implementation

out, sys.stdout = sys.stdout, sys.stderr  # the published clients log on stdout
port, *arguments = sys.argv[1:]

{inspect.getsource(describe_pages)}
{inspect.getsource(describe_schema)}"""
DESCRIBE = "print(json.dumps([describe_pages(int(port)), describe_schema()]), file=out, flush=True)"
# The published clients' threads would keep the process.
END = "sys.stderr.flush(); os._exit(0)"


def describe_here(opend: Simulator) -> list[Any]:
    return [describe_pages(opend.port), describe_schema()]


def describe_elsewhere(
    opend: Simulator, *arguments: str, before: str = "", after: str = "", options: tuple[str, ...] = ()
) -> Any:
    """The same from a process of its own, in which `before` runs first and `after` afterwards."""
    script = "\n".join([BEGIN, before, DESCRIBE, after, END])
    command = [sys.executable, *options, "-c", script, str(opend.port), *arguments]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=LIMIT, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def opend(start: Callable[..., Simulator]) -> Simulator:
    """A simulator with a row of HK.00700 that has gaps and one that has zeros."""
    opend = start()
    opend.universe.revise("HK.00700", 3, aggregatedShort=None, closePrice=None)
    opend.universe.revise("HK.00700", 4, aggregatedShort=0, closePrice=0.0)
    return opend


@pytest.fixture(autouse=True)
def _in_an_empty_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


# Six orders of four, in which each three of them come in every order.
ORDERS = [
    [(*FACES, *PUBLISHED)[place] for place in order]
    for order in ((0, 1, 2, 3), (0, 3, 2, 1), (1, 3, 0, 2), (2, 1, 0, 3), (2, 3, 0, 1), (3, 1, 2, 0))
]


@pytest.mark.parametrize("order", ORDERS, ids="-".join)
def test_published_clients_and_faces_share_a_process_in_any_order(opend: Simulator, order: list[str]) -> None:
    imports = "modules = [importlib.import_module(name) for name in arguments]"
    fetch_with_all = """
for module in modules:
    context = module.OpenQuoteContext(host="127.0.0.1", port=int(port))
    assert context.get_short_interest("HK.00700", num=7)[0] == 0, module
    context.close()
"""
    assert describe_elsewhere(opend, *order, before=imports, after=fetch_with_all) == describe_here(opend)
    assert [seen.accepted for seen in opend.requests if seen.num == 7] == [True] * 4


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_foreign_files_of_the_same_names_are_no_hindrance(
    opend: Simulator, monkeypatch: pytest.MonkeyPatch, implementation: str
) -> None:
    monkeypatch.setenv("PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION", implementation)
    register = """
for name in arguments:
    foreign = descriptor_pb2.FileDescriptorProto(name=name, package=name.removesuffix(".proto"))
    for message in ("Request", "Response", "PacketID", "Security"):
        foreign.message_type.add(name=message).field.add(name="foreign", number=1, type=9, label=1)
    descriptor_pool.Default().AddSerializedFile(foreign.SerializeToString())
"""
    unharmed = """
for name in arguments:
    messages = descriptor_pool.Default().FindFileByName(name).message_types_by_name
    assert [field.name for field in messages["Response"].fields] == ["foreign"], name
"""
    there = describe_elsewhere(opend, *describe_schema(), before=register, after=unharmed, options=("-W", "error"))
    assert there == describe_here(opend)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_the_default_pool_is_left_to_others(
    opend: Simulator, monkeypatch: pytest.MonkeyPatch, implementation: str
) -> None:
    monkeypatch.setenv("PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION", implementation)
    look = """
for name in arguments:
    try:
        descriptor_pool.Default().FindFileByName(name)
    except KeyError:
        continue
    sys.exit(name)
"""
    assert describe_elsewhere(opend, *describe_schema(), after=look) == describe_here(opend)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("release", RELEASES)
def test_every_supported_protobuf_gives_the_same_schema_and_pages(
    opend: Simulator, monkeypatch: pytest.MonkeyPatch, release: str, implementation: str
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(compat(f"protobuf-{release}")))
    monkeypatch.setenv("PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION", implementation)
    right_one = """
release, implementation = arguments
assert protobuf.__version__.startswith(f"{release}."), protobuf.__version__
assert api_implementation.Type() == implementation, api_implementation.Type()
"""
    there = describe_elsewhere(opend, release, implementation, before=right_one, options=("-W", "error"))
    assert there == describe_here(opend)
