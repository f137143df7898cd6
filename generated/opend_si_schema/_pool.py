# Rendered by codegen from templates/schema/_pool.py.j2. Do not edit: change the template, then run "python -m codegen".
"""Message classes from the committed descriptor set, in a pool of their own.

The published clients register files named `Common.proto` and `Qot_Common.proto` in protobuf's default pool, and so do
other libraries; two different files of one name in one pool are an error at import. A private pool shares no names
with anybody, and a descriptor set, unlike `_pb2` modules, is bound to no protoc release.
"""

import pkgutil

from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass


def _load() -> DescriptorPool:
    data = pkgutil.get_data(__package__, "descriptors.binpb")
    assert data is not None, "descriptors.binpb is part of the package"
    pool = DescriptorPool()
    for file in FileDescriptorSet.FromString(data).file:  # a file stands after its imports
        pool.AddSerializedFile(file.SerializeToString())
    return pool


_POOL = _load()


def message_class(full_name: str) -> type[Message]:
    """The class of a message by its full proto name, such as `Qot_Common.Security`."""
    return GetMessageClass(_POOL.FindMessageTypeByName(full_name))
