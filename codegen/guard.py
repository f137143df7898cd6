"""What the bindings use of the protos, and that nothing of it goes unnoticed when the protos change."""

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from google.protobuf.descriptor_pb2 import FileDescriptorSet

from codegen.binding import ROLES
from codegen.diff import Change, TableUse
from codegen.errors import CodegenError
from codegen.model import read_protos


def tables_in_use(bindings: Sequence[Path], *sets: FileDescriptorSet) -> list[TableUse]:
    """The tables of all bindings. What is wrong with a binding is said when it is read; here it is passed over."""
    uses = []
    for path in bindings:
        values = _load(path)
        package = str(values.get("proto")).removesuffix(".proto")
        for table in _tables(values, "table"):
            use = str(values.get("call")), str(table.get("market"))
            item = next(filter(None, (_item(files, package, table.get("list")) for files in sets)), None)
            if item:
                uses.append(TableUse(*use, item, None))
            beside = frozenset(str(entry.get("field")) for entry in _tables(table, "attrs"))
            uses.append(TableUse(*use, f"{package}.S2C", beside))
    return uses


def _item(files: FileDescriptorSet, package: str, rows: object) -> str | None:
    """The message of a table's rows."""
    return next(
        (
            field.type_name[1:]
            for file in files.file
            if file.package == package
            for message in file.message_type
            if message.name == "S2C"
            for field in message.field
            if field.name == rows and field.type_name
        ),
        None,
    )


def _load(path: Path) -> Mapping[str, Any]:
    return tomllib.loads(path.read_text(encoding="utf-8"))


def _tables(values: Mapping[str, Any], key: str) -> Iterator[Mapping[str, Any]]:
    listed = values.get(key)
    yield from (entry for entry in (listed if isinstance(listed, list) else ()) if isinstance(entry, dict))


def refuse_losses(folder: Path, changes: Sequence[Change]) -> None:
    """Refuse what takes away something that is in use."""
    lost = [change for change in changes if change.takes_away]
    if lost:
        told = "".join(f"\n  {folder / change.file}: {change.owner}: {change.words}" for change in lost)
        raise CodegenError(
            f"what is in use would be taken away or become something else:{told}\n"
            "Nothing was changed. If this is meant, run again with --accept; columns and documentation of what is gone "
            "have to be taken out of codegen/bindings first."
        )


def refuse_leftovers(told: Sequence[str]) -> None:
    """Refuse bindings that name what the protos have lost, once that was accepted."""
    if told:
        raise CodegenError("\n".join([*told, "Nothing was changed. Take these lines out, then run again."]))


def leftovers(bindings: Sequence[Path], before: FileDescriptorSet, after: FileDescriptorSet) -> list[str]:
    """Where the bindings name what the protos have lost."""
    old, new = read_protos(before, {}), read_protos(after, {})
    told: list[str] = []
    for path in bindings:
        values = _load(path)
        package = str(values.get("proto")).removesuffix(".proto")
        for index, table in enumerate(_tables(values, "table")):
            item, reply = _item(before, package, table.get("list")), f"{package}.S2C"
            heir = _item(after, package, table.get("list")) or item  # rows of another name may have the same fields
            named = [("columns", "lists", item, heir, entry.get("field")) for entry in _tables(table, "columns")]
            named += [("attrs", "lists", reply, reply, entry.get("field")) for entry in _tables(table, "attrs")]
            named += [(role, "names", item, heir, table.get(role)) for role in ROLES]
            told += [
                f"{path}: table[{index}] `{key}` {does} {field}: {now}.{field} is gone"
                for key, does, was, now, field in named
                if f"{was}.{field}" in old.documentable and f"{now}.{field}" not in new.documentable
            ]
        documented = values.get("docs")
        told += [
            f"{path}: `docs` speaks of {name}, which is gone"
            for name in (documented if isinstance(documented, dict) else ())
            if name in old.documentable and name not in new.documentable
        ]
    return told
