"""What the templates read: descriptors as frozen dataclasses that answer every question a template asks.

What lives here: proto files, messages, enums, fields, their Python names, types and documentation. What a proto
cannot say (calls, tables, markets, brands) lives in `binding`.
"""

from __future__ import annotations

import keyword
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
)

from codegen.errors import CodegenError
from codegen.naming import enum_member, identifier, snake_case

_F = FieldDescriptorProto
_SCALARS = {
    **dict.fromkeys(
        (
            *(_F.TYPE_INT32, _F.TYPE_INT64, _F.TYPE_UINT32, _F.TYPE_UINT64, _F.TYPE_SINT32, _F.TYPE_SINT64),
            *(_F.TYPE_FIXED32, _F.TYPE_FIXED64, _F.TYPE_SFIXED32, _F.TYPE_SFIXED64, _F.TYPE_ENUM),
        ),
        "int",
    ),
    **dict.fromkeys((_F.TYPE_DOUBLE, _F.TYPE_FLOAT), "float"),
    _F.TYPE_STRING: "str",
    _F.TYPE_BOOL: "bool",
    _F.TYPE_BYTES: "bytes",
}


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
    def scalar_type(self) -> str:
        """The Python type of one value; `""` for a message."""
        return _SCALARS.get(self.type, "")


@dataclass(frozen=True)
class Message:
    """One message. A nested one stands beside its parent, its name joined to the parent's: `Outer_Inner`."""

    name: str
    full_name: str
    doc: str
    fields: tuple[Field, ...]

    @property
    def attributes(self) -> tuple[Field, ...]:
        """The fields that Python can reach with a dot; `from` and its like need getattr."""
        return tuple(field for field in self.fields if not keyword.iskeyword(field.name))

    @property
    def receiver(self) -> str:
        """What a method calls the object: `self`, unless a field is called so."""
        return "self_" if self.field("self") else "self"

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
        used = {field.type_name for field in named if field.is_message}
        return sorted({snake_case(name.split(".")[0]) for name in used} - {snake_case(self.package)})

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
        package, _, rest = field.type_name.partition(".")
        name = identifier(rest.replace(".", "_"))
        return name if package == self.package else f"{snake_case(package)}.{name}"


def module_name(proto: str) -> str:
    """`Qot_Common.proto` -> `qot_common`."""
    return snake_case(proto.removesuffix(".proto"))


@dataclass(frozen=True)
class Protos:
    """All compiled files, a file after its imports."""

    files: tuple[ProtoFile, ...]

    @cached_property
    def messages(self) -> Mapping[str, Message]:
        """Every message by full name."""
        return {message.full_name: message for file in self.files for message in file.messages}

    @cached_property
    def documentable(self) -> frozenset[str]:
        """Full names of all that a binding may document."""
        enums = [enum for file in self.files for enum in file.enums]
        return frozenset(
            [file.package for file in self.files]
            + list(self.messages)
            + [field.full_name for message in self.messages.values() for field in message.fields]
            + [enum.full_name for enum in enums]
            + [f"{enum.full_name}.{value.name}" for enum in enums for value in enum.values]
        )

    def file(self, name: str) -> ProtoFile | None:
        return next((file for file in self.files if file.name == name), None)


def read_protos(files: FileDescriptorSet, docs: Mapping[str, str]) -> Protos:
    """Turn descriptors into the model; `docs` (by full proto name) goes before the proto's own comments."""
    return Protos(tuple(_Reader(file, docs).read() for file in files.file))


class _Reader:
    """Reads one file, joining each comment to what it describes."""

    # Numbers of the fields in descriptor.proto that a comment's path is made of.
    _FILE_MESSAGE, _FILE_ENUM, _FILE_SYNTAX = 4, 5, 12
    _MESSAGE_FIELD, _MESSAGE_NESTED, _MESSAGE_ENUM = 2, 3, 4
    _ENUM_VALUE = 2

    def __init__(self, file: FileDescriptorProto, docs: Mapping[str, str]) -> None:
        self._file = file
        self._docs = docs
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
        for index, message in enumerate(file.message_type):
            self._add_message(message, "", (self._FILE_MESSAGE, index))
        for index, enum in enumerate(file.enum_type):
            self._add_enum(enum, "", (self._FILE_ENUM, index))
        return ProtoFile(
            name=file.name,
            package=file.package,
            doc=self._doc(file.package, (self._FILE_SYNTAX,)) or f"Messages of {file.name}.",
            imports=tuple(file.dependency),
            messages=tuple(self._messages),
            enums=tuple(self._enums),
        )

    def _doc(self, full_name: str, path: tuple[int, ...]) -> str:
        return self._docs.get(full_name) or self._comments.get(path, "")

    def _add_message(self, message: DescriptorProto, scope: str, path: tuple[int, ...]) -> None:
        full_name = f"{self._file.package}.{scope}{message.name}"
        self._messages.append(
            Message(
                name=identifier(f"{scope}{message.name}".replace(".", "_")),
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
            entry=(self._field(entry.field[0], scope, (), entry), self._field(entry.field[1], scope, (), entry))
            if entry
            else None,
        )

    def _add_enum(self, enum: EnumDescriptorProto, scope: str, path: tuple[int, ...]) -> None:
        full_name = f"{self._file.package}.{scope}{enum.name}"
        self._enums.append(
            Enum(
                name=identifier(f"{scope}{enum.name}".replace(".", "_")),
                full_name=full_name,
                doc=self._doc(full_name, path) or f"Enum `{full_name}`.",
                values=tuple(
                    EnumValue(
                        name=value.name,
                        python_name=enum_member(enum.name, value.name),
                        number=value.number,
                        doc=self._doc(f"{full_name}.{value.name}", (*path, self._ENUM_VALUE, index)),
                    )
                    for index, value in enumerate(enum.value)
                ),
            )
        )
