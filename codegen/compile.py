"""Protos to descriptors: runs protoc (from grpcio-tools) and reads back its FileDescriptorSet.

What lives here: calling the compiler, its errors, and the stripped set that is committed. Meaning lives in `model`.
"""

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from google.protobuf.descriptor_pb2 import FileDescriptorSet

from codegen.errors import CodegenError


def compile_protos(folder: Path, names: Sequence[str]) -> FileDescriptorSet:
    """Compile `names` and all they import, found in `folder`; comments are kept as source info.

    The result is sorted so that a file stands after its imports, and does not depend on the order of `names`.
    """
    for name in names:
        if not (folder / name).is_file():
            raise CodegenError(f"{folder / name}: no such proto; codegen/__main__.py or a binding names it")
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch, "set.binpb")
        run = subprocess.run(
            [
                sys.executable,
                "-m",
                "grpc_tools.protoc",
                f"--proto_path={folder}",
                "--include_imports",
                "--include_source_info",
                f"--descriptor_set_out={out}",
                *sorted(set(names)),
            ],
            capture_output=True,
            encoding="utf-8",
            errors="replace",
        )
        if run.returncode != 0:
            if "No module named" in run.stderr:
                raise CodegenError("protoc is missing: install the dependency group `codegen` (grpcio-tools)")
            told = [line for line in run.stderr.splitlines() if ": warning: Import" not in line]
            raise CodegenError("\n".join(told).strip() or f"protoc failed with exit code {run.returncode}")
        return FileDescriptorSet.FromString(out.read_bytes())


def strip(files: FileDescriptorSet) -> bytes:
    """The set without comments and positions, in bytes that are the same for every protoc release."""
    bare = FileDescriptorSet()
    bare.CopyFrom(files)
    for file in bare.file:
        file.ClearField("source_code_info")
    return bare.SerializeToString(deterministic=True)
