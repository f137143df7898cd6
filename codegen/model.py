"""What the templates read: descriptors as frozen dataclasses that answer every question a template asks.

What lives here: proto files, messages, enums, fields, their Python names, types and documentation. What a proto
cannot say (calls, tables, markets, brands) lives in `binding`.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
)

from codegen.columns import MESSAGE_NAMES, SCALARS
from codegen.errors import CodegenError
from codegen.naming import TYPE_NAMES, enum_members, first_free, identifier, numbered, snake_case

_F = FieldDescriptorProto
# What the rendered modules import and name themselves, see templates/schema: no class of a proto may hide it.
_IMPORTED = frozenset(
    {
        *("IntEnum", "Iterable", "Mapping", "Message", "MessageMap", "ScalarMap", "message_class", "opend_si_schema"),
        *("RepeatedCompositeFieldContainer", "RepeatedScalarFieldContainer"),
    }
)
_OWN_MODULES = frozenset({"calendars", "calls", "definitions", "records"})


@dataclass(frozen=True)
class Field:
    """One field of a message."""

    name: str
    full_name: str
    number: int
    type: FieldDescriptorProto.Type.ValueType
    type_name: str
    repeated: bool
    doc: str
    required: bool = False
    default: str = ""
    class_name: str = ""  # of its messages, in the module of their proto
    entry: tuple[Field, Field] | None = None  # key and value, if the field is a map

    @property
    def python_name(self) -> str:
        return snake_case(self.name)

    @property
    def is_message(self) -> bool:
        return self.type in (_F.TYPE_MESSAGE, _F.TYPE_GROUP)

    @property
    def proto_type(self) -> str:
        """The type as a proto spells it: `uint64`, `Qot_Common.Security`."""
        return self.type_name or _F.Type.Name(self.type).removeprefix("TYPE_").lower()

    @property
    def javascript_type(self) -> str:
        """The type as protobuf.js takes it; of an enum its numbers, which is what the wire has."""
        return "int32" if self.type == _F.TYPE_ENUM else self.proto_type

    @property
    def scalar_type(self) -> str:
        """The Python type of one value; `""` for a message."""
        return SCALARS.get(self.type, "")


@dataclass(frozen=True)
class Message:
    """One message. A nested one stands beside its parent, its name joined to the parent's: `Outer_Inner`."""

    name: str
    full_name: str
    doc: str
    fields: tuple[Field, ...]
    hiding: frozenset[str] = frozenset()  # fields that are called like a type which the stub names in this class

    @property
    def attributes(self) -> tuple[Field, ...]:
        """The fields that a stub can name.

        `from` and its like need getattr. `str: str` would hide the type, and `Clear` a method of every message.
        """
        unnamed = self.hiding | MESSAGE_NAMES
        return tuple(field for field in self.fields if not keyword.iskeyword(field.name) and field.name not in unnamed)

    @property
    def receiver(self) -> str:
        """What a method calls the object: `self`, unless a field is called so."""
        return first_free(chain(("self", "self_"), numbered("self")), {field.name for field in self.fields})

    def field(self, name: str) -> Field | None:
        return next((field for field in self.fields if field.name == name), None)


@dataclass(frozen=True)
class EnumValue:
    """One value of an enum; values may share a number."""

    name: str
    python_name: str
    number: int
    doc: str


@dataclass(frozen=True)
class Enum:
    """One enum."""

    name: str
    full_name: str
    doc: str
    values: tuple[EnumValue, ...]


@dataclass(frozen=True)
class ProtoFile:
    """One .proto file; it becomes one module of message classes."""

    name: str
    package: str
    doc: str
    imports: tuple[str, ...]
    messages: tuple[Message, ...]
    enums: tuple[Enum, ...]

    @property
    def module(self) -> str:
        return module_name(self.name)

    @property
    def imported_modules(self) -> list[str]:
        """Modules whose messages this file's stubs name."""
        named = [field.entry[1] if field.entry else field for message in self.messages for field in message.fields]
        used = {field.type_name.split(".")[0] for field in named if field.is_message}
        return sorted(module_name(package) for package in used - {self.package})

    def attribute(self, field: Field) -> str:
        """The type of the attribute, as a stub of this file spells it."""
        if field.entry:
            key, value = field.entry
            return f"{'Message' if value.is_message else 'Scalar'}Map[{self._value(key)}, {self._value(value)}]"
        if not field.repeated:
            return self._value(field)
        kind = "Composite" if field.is_message else "Scalar"
        return f"Repeated{kind}FieldContainer[{self._value(field)}]"

    def argument(self, field: Field) -> str:
        """The type of the constructor's argument, as a stub of this file spells it."""
        if field.entry:
            key, value = field.entry
            return f"Mapping[{self._value(key)}, {self._value(value)}]"
        return f"Iterable[{self._value(field)}]" if field.repeated else self._value(field)

    def _value(self, field: Field) -> str:
        if not field.is_message:
            return field.scalar_type
        package = field.type_name.partition(".")[0]
        return field.class_name if package == self.package else f"{module_name(package)}.{field.class_name}"

    def hiding(self, message: Message) -> frozenset[str]:
        """Fields of a message that are called like a type which its stub names."""
        spelled = {word for field in message.fields for word in re.findall(r"\w+", self.argument(field))}
        spelled |= {word for field in message.fields for word in re.findall(r"\w+", self.attribute(field))}
        return frozenset(spelled & {field.name for field in message.fields})


def module_name(proto: str) -> str:
    """`Qot_Common.proto` -> `qot_common`; `Records.proto` -> `records_`, for the schema has a `records` of its own."""
    name = snake_case(proto.removesuffix(".proto"))
    return f"{name}_" if name in _OWN_MODULES else name


@dataclass(frozen=True)
class Protos:
    """All compiled files, a file after its imports."""

    files: tuple[ProtoFile, ...]

    @cached_property
    def messages(self) -> Mapping[str, Message]:
        """Every message by full name."""
        return {message.full_name: message for file in self.files for message in file.messages}

    @cached_property
    def docs(self) -> Mapping[str, str]:
        """All documentation by full proto name."""
        enums = [enum for file in self.files for enum in file.enums]
        return {
            **{file.package: file.doc for file in self.files},
            **{message.full_name: message.doc for message in self.messages.values()},
            **{field.full_name: field.doc for message in self.messages.values() for field in message.fields},
            **{enum.full_name: enum.doc for enum in enums},
            **{f"{enum.full_name}.{value.name}": value.doc for enum in enums for value in enum.values},
        }

    @property
    def documentable(self) -> Set[str]:
        """Full names of all that a binding may document."""
        return self.docs.keys()

    def file(self, name: str) -> ProtoFile | None:
        return next((file for file in self.files if file.name == name), None)


def read_protos(files: FileDescriptorSet, docs: Mapping[str, str]) -> Protos:
    """Turn descriptors into the model; `docs` (by full proto name) goes before the proto's own comments."""
    modules: dict[str, str] = {}
    for file in files.file:
        other = modules.setdefault(module_name(file.name), file.name)
        if other != file.name:
            raise CodegenError(f"{file.name}: it and {other} would both become the module {module_name(file.name)}")
    names: dict[str, str] = {}
    for file in files.file:
        names.update(_class_names(file, modules))
    return Protos(tuple(_Reader(file, docs, names).read() for file in files.file))


def _class_names(file: FileDescriptorProto, modules: Collection[str]) -> dict[str, str]:
    """The Python names of a file's messages and enums by full name. What is nested less deep chooses first."""
    taken = set(_IMPORTED | TYPE_NAMES).union(modules)
    names = {}
    for path in sorted(_paths("", file.message_type, file.enum_type), key=lambda path: path.count(".")):
        joined = identifier(path.replace(".", "_"))
        name = first_free(chain((joined, f"{joined}_"), numbered(joined)), taken)
        taken.add(name)
        names[f"{file.package}.{path}"] = name
    return names


def _paths(scope: str, messages: Iterable[DescriptorProto], enums: Iterable[EnumDescriptorProto]) -> Iterator[str]:
    """`Outer`, `Outer.Inner`, `Outer.Kind` of all that becomes a class."""
    for message in messages:
        if not message.options.map_entry:
            yield f"{scope}{message.name}"
            yield from _paths(f"{scope}{message.name}.", message.nested_type, message.enum_type)
    yield from (f"{scope}{enum.name}" for enum in enums)


class _Reader:
    """Reads one file, joining each comment to what it describes."""

    # Numbers of the fields in descriptor.proto that a comment's path is made of.
    _FILE_MESSAGE, _FILE_ENUM, _FILE_SYNTAX = 4, 5, 12
    _MESSAGE_FIELD, _MESSAGE_NESTED, _MESSAGE_ENUM = 2, 3, 4
    _ENUM_VALUE = 2

    def __init__(self, file: FileDescriptorProto, docs: Mapping[str, str], names: Mapping[str, str]) -> None:
        self._file = file
        self._docs = docs
        self._names = names
        self._messages: list[Message] = []
        self._enums: list[Enum] = []
        self._comments = {
            tuple(place.path): (place.leading_comments or place.trailing_comments).strip()
            for place in file.source_code_info.location
        }

    def read(self) -> ProtoFile:
        file = self._file
        if file.package != file.name.removesuffix(".proto"):
            raise CodegenError(f"{file.name}: its package is {file.package!r}; a package is named like its file")
        if not file.package.isidentifier():
            raise CodegenError(f"{file.name}: {file.package} is no name for a module; take letters, digits and _")
        if file.syntax not in ("", "proto2"):
            raise CodegenError(
                f"{file.name}: it is written in {file.syntax}; only proto2 tells a value that was not sent from 0"
            )
        for index, message in enumerate(file.message_type):
            self._add_message(message, "", (self._FILE_MESSAGE, index))
        for index, enum in enumerate(file.enum_type):
            self._add_enum(enum, "", (self._FILE_ENUM, index))
        read = ProtoFile(
            name=file.name,
            package=file.package,
            doc=self._doc(file.package, (self._FILE_SYNTAX,)) or f"Messages of {file.name}.",
            imports=tuple(file.dependency),
            messages=tuple(self._messages),
            enums=tuple(self._enums),
        )
        return replace(read, messages=tuple(replace(message, hiding=read.hiding(message)) for message in read.messages))

    def _doc(self, full_name: str, path: tuple[int, ...]) -> str:
        return self._docs.get(full_name) or self._comments.get(path, "")

    def _add_message(self, message: DescriptorProto, scope: str, path: tuple[int, ...]) -> None:
        full_name = f"{self._file.package}.{scope}{message.name}"
        self._messages.append(
            Message(
                name=self._names[full_name],
                full_name=full_name,
                doc=self._doc(full_name, path) or f"Message `{full_name}`.",
                fields=tuple(
                    self._field(field, full_name, (*path, self._MESSAGE_FIELD, index), message)
                    for index, field in enumerate(message.field)
                ),
            )
        )
        for index, nested in enumerate(message.nested_type):
            if nested.options.map_entry:  # how a map is written on the wire; Python never sees it
                continue
            self._add_message(nested, f"{scope}{message.name}.", (*path, self._MESSAGE_NESTED, index))
        for index, enum in enumerate(message.enum_type):
            self._add_enum(enum, f"{scope}{message.name}.", (*path, self._MESSAGE_ENUM, index))

    def _field(self, field: FieldDescriptorProto, scope: str, path: tuple[int, ...], parent: DescriptorProto) -> Field:
        full_name = f"{scope}.{field.name}"
        entry = next(
            (
                nested
                for nested in parent.nested_type
                if nested.options.map_entry and field.type_name == f".{scope}.{nested.name}"
            ),
            None,
        )
        return Field(
            name=field.name,
            full_name=full_name,
            number=field.number,
            type=field.type,
            type_name=field.type_name.removeprefix("."),
            repeated=field.label == _F.LABEL_REPEATED,
            doc=self._doc(full_name, path),
            required=field.label == _F.LABEL_REQUIRED,
            default=field.default_value,
            class_name=self._names.get(field.type_name.removeprefix("."), ""),
            entry=(self._field(entry.field[0], scope, (), entry), self._field(entry.field[1], scope, (), entry))
            if entry
            else None,
        )

    def _add_enum(self, enum: EnumDescriptorProto, scope: str, path: tuple[int, ...]) -> None:
        full_name = f"{self._file.package}.{scope}{enum.name}"
        members = enum_members(enum.name, [value.name for value in enum.value])
        self._enums.append(
            Enum(
                name=self._names[full_name],
                full_name=full_name,
                doc=self._doc(full_name, path) or f"Enum `{full_name}`.",
                values=tuple(
                    EnumValue(
                        name=value.name,
                        python_name=members[index],
                        number=value.number,
                        doc=self._doc(f"{full_name}.{value.name}", (*path, self._ENUM_VALUE, index)),
                    )
                    for index, value in enumerate(enum.value)
                ),
            )
        )
