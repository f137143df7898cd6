"""What a column may be, and what it is called.

`binding` and `diff` ask here. The engine gets dtypes and reserved names in the rendered `definitions`.
"""

from collections.abc import Mapping

from google.protobuf.descriptor_pb2 import FieldDescriptorProto
from google.protobuf.message import Message

from codegen.naming import snake_case

_F = FieldDescriptorProto
# The Python type of one value by the type in the proto.
SCALARS: Mapping[int, str] = {
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
# The dtype of a column by the Python type of its values. Every type of SCALARS is here, or in _NO_COLUMN with a reason.
DTYPES = {"int": "int64", "float": "float64", "str": "str", "bool": "bool"}
_NO_COLUMN = {"bytes": "neither CSV nor JSON can hold bytes", "": "a column holds one number or text a row"}
# Columns that the engine puts beside those of a call: histories, panels, `with_changes`, and the folders of a data set.
# The engine takes these names from `definitions`, and no column of a call is called so.
ADDED = ("symbol", "date", "known_at", "published_by", "market", "days_between", "change", "change_percent")
# What messages are and do themselves; a field of such a name would hide it, or be hidden by it.
MESSAGE_NAMES = frozenset(name for name in {*dir(Message), "Extensions"} if not name.startswith("_"))


def column_name(field: str) -> str:
    """`timestampStr` -> `timestamp_str`; an underscore follows a name that the engine gives to a column of its own."""
    name = snake_case(field)
    return f"{name}_" if name in ADDED else name


def no_column(kind: int, default: str, *, is_repeated: bool) -> str:
    """Why a field of this type and default cannot be a column; `""` if it can be one."""
    python_type = SCALARS.get(kind, "")
    if is_repeated or python_type not in DTYPES:
        return _NO_COLUMN["" if is_repeated else python_type]
    if default and (kind == _F.TYPE_STRING or default not in _NO_DEFAULTS):
        return f"its default is {default}: a row without the field would show it as if OpenD had sent it"
    return ""


# How a proto spells the value that a field has where none is sent and no default is given.
_NO_DEFAULTS = ("0", "-0", "false")
