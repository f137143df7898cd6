"""What a change of the protos means: message by message, for the wire and for users.

What lives here: finding the changes between two descriptor sets, putting them in words, and saying which of them take
away something that is in use. Comments are not compared here; they change documentation and nothing else.

Wire-compatible means: bytes that were written with the one protos can be read with the other, and what both know has
the same value. In use is what a call that is made here has on the wire: all that Request and Response of the session's
and of the bound protos lead to.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
)

from codegen.columns import column_name, no_column
from codegen.model import module_name

_F = FieldDescriptorProto
# Enums whose numbers travel as plain integers, so that no field leads to them, but which the engine or markets.toml
# names.
NAMED_ENUMS = ("Common.RetType", "Common.PacketEncAlgo", "Common.ProgramStatusType", "Qot_Common.QotMarket")
# Types that are read from each other's bytes: https://protobuf.dev/programming-guides/proto2/#updating
_ALIKE = (
    {_F.TYPE_INT32, _F.TYPE_INT64, _F.TYPE_UINT32, _F.TYPE_UINT64, _F.TYPE_BOOL, _F.TYPE_ENUM},
    {_F.TYPE_SINT32, _F.TYPE_SINT64},
    {_F.TYPE_FIXED32, _F.TYPE_SFIXED32},
    {_F.TYPE_FIXED64, _F.TYPE_SFIXED64},
    {_F.TYPE_STRING, _F.TYPE_BYTES},
)


@dataclass(frozen=True)
class TableUse:
    """That a binding makes each field of a message a column, or names some of its fields."""

    call: str
    market: str
    message: str
    fields: frozenset[str] | None  # None: all of them

    @property
    def words(self) -> str:
        return (
            f"of {self.call}'s {self.market} table" if self.fields is None else f"of {self.call}'s {self.market} frame"
        )

    def holds(self, message: str, field: str) -> bool:
        return message == self.message and (self.fields is None or field in self.fields)


@dataclass(frozen=True)
class Change:
    """One change. `takes_away`: something that is in use is no longer there, or is no longer what it was."""

    file: str
    owner: str  # full name of the message or enum
    text: str
    compatible: bool
    takes_away: bool
    effect: str

    @property
    def words(self) -> str:
        return f"{self.text}. {'Wire-compatible' if self.compatible else 'Not wire-compatible'}. {self.effect}"


@dataclass(frozen=True)
class _Side:
    """The messages and enums of a set by full name, map entries among them, and where each is declared."""

    messages: Mapping[str, DescriptorProto]
    enums: Mapping[str, EnumDescriptorProto]
    files: Mapping[str, str]

    @classmethod
    def of(cls, files: FileDescriptorSet) -> "_Side":
        messages: dict[str, DescriptorProto] = {}
        enums: dict[str, EnumDescriptorProto] = {}
        where: dict[str, str] = {}
        for file in files.file:
            found = [*_walk(file.package, file.message_type)]
            messages.update(found)
            enums.update((f"{file.package}.{enum.name}", enum) for enum in file.enum_type)
            for scope, message in found:
                enums.update((f"{scope}.{enum.name}", enum) for enum in message.enum_type)
            where.update(dict.fromkeys((messages.keys() | enums.keys()) - where.keys(), file.name))
        return cls(messages, enums, where)

    def reached(self, roots: Iterable[str]) -> set[str]:
        """Full names of the messages and enums that these messages lead to, they themselves included."""
        reached: set[str] = set()
        left = [root for root in roots if root in self.messages]
        while left:
            name = left.pop()
            if name in reached:
                continue
            reached.add(name)
            if name in self.messages:
                left += [field.type_name[1:] for field in self.messages[name].field if field.type_name]
        return reached

    def is_map(self, name: str) -> bool:
        return name in self.messages and self.messages[name].options.map_entry

    def typed_by(self, enum: str) -> bool:
        """Whether a field has the enum as its type."""
        return any(field.type_name == f".{enum}" for message in self.messages.values() for field in message.field)

    def spelled(self, field: FieldDescriptorProto) -> str:
        """`optional uint64 newThing = 7`."""
        default = f" [default = {field.default_value}]" if field.HasField("default_value") else ""
        label = "" if self.is_map(field.type_name[1:]) else f"{_label(field)} "
        return f"{label}{self.type(field)} {field.name} = {field.number}{default}"

    def type(self, field: FieldDescriptorProto) -> str:
        if self.is_map(field.type_name[1:]):
            key, value = self.messages[field.type_name[1:]].field
            return f"map<{self.type(key)}, {self.type(value)}>"
        return field.type_name[1:] or _F.Type.Name(field.type).removeprefix("TYPE_").lower()


def _walk(scope: str, messages: Iterable[DescriptorProto]) -> Iterator[tuple[str, DescriptorProto]]:
    for message in messages:
        yield f"{scope}.{message.name}", message
        yield from _walk(f"{scope}.{message.name}", message.nested_type)


def _label(field: FieldDescriptorProto) -> str:
    return _F.Label.Name(field.label).removeprefix("LABEL_").lower()


def compare_sets(
    before: FileDescriptorSet, after: FileDescriptorSet, called: Sequence[str], tables: Sequence[TableUse]
) -> list[Change]:
    """Every change, message by message. `called`: the packages whose Request and Response are used."""
    return [*_Comparison(_Side.of(before), _Side.of(after), called, tables).changes()]


def otherwise_different(before: FileDescriptorSet, after: FileDescriptorSet, changes: Sequence[Change]) -> list[str]:
    """Files that differ though nothing above changed in them: in options, imports or the order of declarations."""
    old = {file.name: _bare(file) for file in before.file}
    new = {file.name: _bare(file) for file in after.file}
    differ = {name for name in old.keys() | new.keys() if old.get(name) != new.get(name)}
    return sorted(differ - {change.file for change in changes})


def _bare(file: FileDescriptorProto) -> bytes:
    bare = FileDescriptorProto()
    bare.CopyFrom(file)
    bare.ClearField("source_code_info")
    return bare.SerializeToString(deterministic=True)


class _Comparison:
    def __init__(self, old: _Side, new: _Side, called: Sequence[str], tables: Sequence[TableUse]) -> None:
        self._old, self._new, self._tables = old, new, tables
        roots = [f"{package}.{end}" for package in called for end in ("Request", "Response")]
        self._used = old.reached(roots) | new.reached(roots) | set(NAMED_ENUMS)
        gained = {_shape(new, name): name for name in new.messages if name not in old.files and not new.is_map(name)}
        lost = [
            name for name, was in old.messages.items() if name not in new.files and was.field and not old.is_map(name)
        ]
        self._heirs = {name: gained[_shape(old, name)] for name in lost if _shape(old, name) in gained}

    def changes(self) -> Iterator[Change]:
        old, new = self._old, self._new
        files = {**new.files, **old.files}
        for name in sorted(files, key=lambda name: (files[name], name)):
            if old.is_map(name) or new.is_map(name) or name in self._heirs.values():
                continue
            if name in self._heirs:
                effect = "Its class is called differently; the wire does not know the name."
                yield self._change(name, f"renamed to {self._heirs[name]}", True, True, effect)
            elif name in old.messages and name in new.messages:
                yield from self._fields(name)
            elif name in old.enums and name in new.enums:
                yield from self._values(name)
            else:
                module = module_name(name.split(".")[0])
                if name in old.files:
                    loss = _NEEDED if name in self._used else f"The module `{module}` loses a class."
                    yield self._change(name, f"{_kind(old, name)} removed", False, True, loss)
                if name in new.files and name in self._used:
                    yield self._change(name, f"{_kind(new, name)} added", True, False, f"`{module}` gains a class.")
        yield from self._unused()

    def _unused(self) -> Iterator[Change]:
        """What the files gain that no call here uses, in one line a file: there may be a hundred."""
        old, new = self._old, self._new
        known = {*old.files, *self._heirs.values()}
        gained = [name for name in (*new.messages, *new.enums) if name not in known and not new.is_map(name)]
        unused = sorted((new.files[name], name) for name in gained if name not in self._used)
        for file, entries in groupby(unused, key=lambda entry: entry[0]):
            package = file.removesuffix(".proto")
            names = [name.removeprefix(f"{package}.") for _, name in entries]
            text = f"{counted(len(names), 'message or enum', 'messages and enums')} added ({', '.join(names)})"
            effect = f"The module `{module_name(file)}` gains classes that nothing here uses."
            yield Change(file, package, text, True, False, effect)

    def _change(self, owner: str, text: str, compatible: bool, takes_away: bool, effect: str) -> Change:
        file = self._new.files.get(owner) or self._old.files[owner]
        return Change(file, owner, text, compatible, takes_away and owner in self._used, effect)

    # Fields

    def _fields(self, message: str) -> Iterator[Change]:
        old = {field.name: field for field in self._old.messages[message].field}
        new = {field.name: field for field in self._new.messages[message].field}
        heirs = {field.number: field for field in new.values() if field.name not in old}
        renamed = set()
        for name, was in old.items():
            heir = heirs.get(was.number)
            if name in new:
                if was.number != new[name].number:
                    yield self._renumbered(message, was, new[name])
                yield from self._values_changed(message, was, new[name])
            elif heir is not None and not self._misread(was, heir):
                renamed.add(heir.name)
                yield self._renamed(message, was, heir)
                yield from self._values_changed(message, was, heir)
            else:
                yield self._removed(message, was)
        numbers = {field.number: field for field in old.values()}
        for name, field in new.items():
            if name not in old and name not in renamed:
                yield self._added(message, field, numbers.get(field.number))

    def _renumbered(self, message: str, was: FieldDescriptorProto, now: FieldDescriptorProto) -> Change:
        text = f"{was.name} renumbered from {was.number} to {now.number}"
        effect = self._about(message, was.name, "what is recorded of {} is no longer found", _RECORDED)
        return self._change(message, text, False, True, effect)

    def _values_changed(self, message: str, was: FieldDescriptorProto, now: FieldDescriptorProto) -> Iterator[Change]:
        def change(text: str, compatible: bool, takes_away: bool, effect: str) -> Change:
            return self._change(message, f"{now.name} {text}", compatible, takes_away, effect)

        if not self._same_type(was, now):
            compatible = not self._misread(was, now)
            effect = self._about(message, was.name, "{} gets another type" + ("" if compatible else _MISREAD), _TYPES)
            retyped = f"retyped from {self._old.type(was)} to {self._new.type(now)}"
            yield change(retyped, compatible, True, effect + (_narrower(was, now) if compatible else ""))
        if was.label != now.label:
            needs = now.label == _F.LABEL_REQUIRED
            eased = was.label == _F.LABEL_REQUIRED and now.label == _F.LABEL_OPTIONAL
            effect = _REQUIRED if needs else "It may be missing now." if eased else _TYPES
            yield change(f"changed from {_label(was)} to {_label(now)}", not needs, not eased, effect)
        if was.default_value != now.default_value:
            default = f"the default {now.default_value}" if now.HasField("default_value") else "no default"
            text = f"has {default}, was {was.default_value or 'none'}"
            yield change(text, True, False, "Where none is sent, another value is read.")

    def _misread(self, was: FieldDescriptorProto, now: FieldDescriptorProto) -> bool:
        """Whether bytes that were written for one are something else, or nothing, when read for the other."""
        if self._same_type(was, now):
            return False
        return not any({was.type, now.type} <= alike for alike in _ALIKE)

    def _same_type(self, was: FieldDescriptorProto, now: FieldDescriptorProto) -> bool:
        name = self._old.type(was)
        return self._heirs.get(name, name) == self._new.type(now)

    def _removed(self, message: str, field: FieldDescriptorProto) -> Change:
        required = field.label == _F.LABEL_REQUIRED
        effect = self._about(message, field.name, "{} is gone, though recorded pages keep its bytes", _CLASS_FIELD)
        if required:
            effect += " Whoever still requires it cannot read what is sent without it."
        text = f"{field.name} removed (was {self._old.spelled(field)})"
        return self._change(message, text, not required, True, effect)

    def _renamed(self, message: str, was: FieldDescriptorProto, now: FieldDescriptorProto) -> Change:
        become = f"{{}} becomes `{column_name(now.name)}`"
        text = f"{was.name} renamed to {now.name} (now {self._new.spelled(now)})"
        return self._change(message, text, True, True, self._about(message, was.name, become, _CLASS_FIELD))

    def _added(self, message: str, field: FieldDescriptorProto, before: FieldDescriptorProto | None) -> Change:
        compatible, takes_away, effect = True, False, _CLASS_FIELD
        for table in self._tables:
            if table.message == message and table.fields is None:
                column = f"`{column_name(field.name)}`"
                is_repeated = field.label == _F.LABEL_REPEATED
                reason = no_column(field.type, field.default_value, is_repeated=is_repeated)
                effect = (
                    f"No column {table.words}, and refused unless the table's `skip` names it: {reason}."
                    if reason
                    else f"A new column {column} {table.words}, the last; recorded pages show it if OpenD sent it."
                )
        if field.label == _F.LABEL_REQUIRED:
            compatible, takes_away, effect = False, True, _REQUIRED
        if before is not None:
            compatible, takes_away = False, True
            effect += f" Its number was that of {before.name}: recorded values of that are misread."
        return self._change(message, f"{field.name} added ({self._new.spelled(field)})", compatible, takes_away, effect)

    def _about(self, message: str, field: str, of_column: str, otherwise: str) -> str:
        """What it means for users: of the column that a binding makes of the field, or in general."""
        columns = [table.words for table in self._tables if table.holds(message, field)]
        if columns:
            told = of_column.format(f"the column `{column_name(field)}` {' and '.join(columns)}")
            return f"{told[:1].upper()}{told[1:]}."
        return _NEEDED if message in self._used and otherwise is _CLASS_FIELD else otherwise

    # Enum values

    def _values(self, enum: str) -> Iterator[Change]:
        old = {value.name: value.number for value in self._old.enums[enum].value}
        new = {value.name: value.number for value in self._new.enums[enum].value}
        fresh = {number: name for name, number in new.items() if name not in old}
        typed = self._old.typed_by(enum) or self._new.typed_by(enum)
        renamed = set()
        for name, number in old.items():
            if name in new:
                if new[name] != number:
                    text = f"{name} renumbered from {number} to {new[name]}"
                    yield self._change(enum, text, False, True, "A recorded number means something else now.")
            elif number in fresh:
                renamed.add(fresh[number])
                text = f"{name} = {number} renamed to {fresh[number]}"
                yield self._change(enum, text, True, True, "The member is called differently.")
            else:
                gone = number not in new.values()
                effect = "A field of this type reads it as not sent." if typed and gone else "The member is gone."
                yield self._change(enum, f"{name} = {number} removed", not (typed and gone), True, effect)
        for name, number in new.items():
            if name not in old and name not in renamed:
                other = next((known for known, taken in old.items() if taken == number), None)
                effect = f"Another name of {other}." if other else "A new member."
                yield self._change(enum, f"{name} = {number} added", True, False, effect)


def _shape(side: _Side, message: str) -> tuple[str, frozenset[str]]:
    """What makes a message of another name the same one: its file and its fields."""
    return side.files[message], frozenset(side.spelled(field) for field in side.messages[message].field)


def _kind(side: _Side, name: str) -> str:
    if name in side.messages:
        return f"message of {counted(len(side.messages[name].field), 'field')}"
    return f"enum of {counted(len(side.enums[name].value), 'value')}"


_CLASS_FIELD = "Message class and stub change, nothing else."
_NEEDED = "It travels in the calls that are made here: the engine may need it."
_RECORDED = "What was written under the old number is no longer found."
_TYPES = "What reads it has to take the new type."
_MISREAD = ", and recorded values of it are not read as what they were"
_REQUIRED = "What was recorded without it, or is sent without it, can no longer be read."


def _signed(bits: int) -> range:
    return range(-(2 ** (bits - 1)), 2 ** (bits - 1))


_RANGES = {
    **dict.fromkeys((_F.TYPE_INT32, _F.TYPE_SINT32, _F.TYPE_SFIXED32, _F.TYPE_ENUM), _signed(32)),
    **dict.fromkeys((_F.TYPE_INT64, _F.TYPE_SINT64, _F.TYPE_SFIXED64), _signed(64)),
    **dict.fromkeys((_F.TYPE_UINT32, _F.TYPE_FIXED32), range(2**32)),
    **dict.fromkeys((_F.TYPE_UINT64, _F.TYPE_FIXED64), range(2**64)),
    _F.TYPE_BOOL: range(2),
}


def _narrower(was: FieldDescriptorProto, now: FieldDescriptorProto) -> str:
    """A warning where the new type has not all values of the old."""
    old, new = _RANGES.get(was.type), _RANGES.get(now.type)
    if old is None or new is None:
        return "" if now.type == _F.TYPE_BYTES else " Bytes that are no UTF-8 text cannot be read."
    return "" if old[0] in new and old[-1] in new else " Numbers that it does not have are read as others."


def counted(number: int, one: str, several: str = "") -> str:
    """`1 place`, `2 places`."""
    return f"{number} {one if number == 1 else several or f'{one}s'}"


def in_words(changes: Sequence[Change]) -> str:
    """All changes, file by file and message by message, and how many of which kind there are."""
    lines = []
    for file, in_file in groupby(sorted(changes, key=lambda change: change.file), key=lambda change: change.file):
        lines.append(file)
        for owner, in_owner in groupby(in_file, key=lambda change: change.owner):
            lines.append(f"  {owner}")
            lines += [f"    {change.words}" for change in in_owner]
    broken = sum(not change.compatible for change in changes)
    refused = sum(change.takes_away for change in changes)
    summary = f"{counted(len(changes), 'change')}: {len(changes) - broken} wire-compatible, {broken} not."
    if refused:
        summary += f" {counted(refused, 'change')} of what is in use: regenerating takes --accept."
    return "\n".join([*lines, summary])
