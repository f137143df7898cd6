"""Protos to descriptors: runs protoc (from grpcio-tools) and reads back its FileDescriptorSet.

What lives here: calling the compiler, its errors, and the stripped set that is committed. Meaning lives in `model`.
"""

import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass

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
    for file in files.file:
        for message in file.message_type:
            _make_loadable(message)
    return files


def _make_loadable(message: DescriptorProto) -> None:
    """Put what protoc only warns of, or protobuf's two readers have no common spelling for, so that both load it."""
    names = Counter(field.json_name for field in message.field)
    for field in message.field:
        if names[field.json_name] > 1:  # `self` and `self_`: upb has no two fields of one JSON name
            field.json_name = field.name
        smallest = _SMALLEST.get(field.type)
        if smallest and field.default_value and abs(float(field.default_value)) < smallest:
            field.default_value = (
                "0"  # upb reads no denormal number but in hexadecimal, which pure Python does not read
            )
    for nested in message.nested_type:
        _make_loadable(nested)


# The smallest normal numbers; protoc writes 2**-126 as 1.17549435e-38, which is a little less.
_SMALLEST = {FieldDescriptorProto.TYPE_FLOAT: 1.1754943e-38, FieldDescriptorProto.TYPE_DOUBLE: sys.float_info.min}


def _refuse_other_encodings(paths: Iterable[Path]) -> None:
    for path in paths:
        data = path.read_bytes()
        try:
            data.decode()
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            raise CodegenError(f"{path}:{line}: not UTF-8, as a proto has to be; save it in that encoding") from None


def check_loads(files: FileDescriptorSet, folder: Path) -> None:
    """Refuse what protoc takes and protobuf does not: the packages could not be imported."""
    pool = DescriptorPool()
    for file in files.file:
        try:
            pool.AddSerializedFile(file.SerializeToString())
            for message in file.message_type:
                GetMessageClass(pool.FindMessageTypeByName(f"{file.package}.{message.name}"))
        except Exception as error:  # its two implementations raise different ones
            raise CodegenError(f"{folder / file.name}: protobuf cannot load what protoc makes of it: {error}") from None


def strip(files: FileDescriptorSet) -> bytes:
    """The set without comments and positions, in bytes that are the same for every protoc release."""
    bare = FileDescriptorSet()
    bare.CopyFrom(files)
    for file in bare.file:
        file.ClearField("source_code_info")
    return bare.SerializeToString(deterministic=True)
