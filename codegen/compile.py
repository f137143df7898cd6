"""Protos to descriptors: runs protoc (from grpcio-tools) and reads back its FileDescriptorSet.

What lives here: calling the compiler, its errors, and the stripped set that is committed. Meaning lives in `model`.
"""

import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.message import DecodeError

from codegen.errors import CodegenError


def compile_protos(folder: Path, names: Sequence[str], lent: Mapping[str, bytes] | None = None) -> FileDescriptorSet:
    """Compile `names` and all they import, found in `folder`; comments are kept as source info.

    `lent` are protos that the folder need not have. No other file is looked for elsewhere.
    The result is sorted so that a file stands after its imports, and does not depend on the order of `names`.
    """
    if not folder.is_dir():
        raise CodegenError(f"{folder}: no such folder of protos")
    lent = lent or {}
    for name in names:
        if name not in lent and not (folder / name).is_file():
            raise CodegenError(f"{folder / name}: no such proto; codegen/__main__.py or a binding names it")
    with tempfile.TemporaryDirectory() as scratch:
        out, beside = Path(scratch, "set.binpb"), Path(scratch, "lent")
        beside.mkdir()
        for name, data in lent.items():
            (beside / name).write_bytes(data)
        run = subprocess.run(
            [
                sys.executable,
                "-P",  # the folder is a foreign one: nothing is imported from it
                "-m",
                "grpc_tools.protoc",
                "--proto_path=.",  # a path that holds a colon would be taken for two
                f"--proto_path={beside}",
                "--include_imports",
                "--include_source_info",
                f"--descriptor_set_out={out}",
                *sorted(set(names)),
            ],
            cwd=folder,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
        )
        if run.returncode != 0:
            if "No module named" in run.stderr:
                raise CodegenError("protoc is missing: install the dependency group `codegen` (grpcio-tools)")
            told = [line for line in run.stderr.splitlines() if ": warning: Import" not in line]
            said = "\n".join(told).strip() or f"protoc failed with exit code {run.returncode}"
            raise CodegenError(f"protoc takes offence at what is in {folder}:\n{said}")
        return _read(out.read_bytes(), folder)


def _read(data: bytes, folder: Path) -> FileDescriptorSet:
    """The set, all of whose texts are texts. protoc passes on comments in any encoding."""
    try:
        files = FileDescriptorSet.FromString(data)
    except (DecodeError, UnicodeDecodeError):  # protobuf in pure Python reads no other text
        _refuse_other_encodings(sorted(folder.glob("*.proto")))
        raise
    _refuse_other_encodings(path for file in files.file if (path := folder / file.name).is_file())
    return files


def _refuse_other_encodings(paths: Iterable[Path]) -> None:
    for path in paths:
        data = path.read_bytes()
        try:
            data.decode()
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            raise CodegenError(f"{path}:{line}: not UTF-8, as a proto has to be; save it in that encoding") from None


def strip(files: FileDescriptorSet) -> bytes:
    """The set without comments and positions, in bytes that are the same for every protoc release."""
    bare = FileDescriptorSet()
    bare.CopyFrom(files)
    for file in bare.file:
        file.ClearField("source_code_info")
    return bare.SerializeToString(deterministic=True)
