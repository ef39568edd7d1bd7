"""The messages of the package aialgs.data as classes of the protobuf library.

The readers and writers of arrays do without it; importing this module imports it.
"""

import functools
from typing import Any, NamedTuple

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from smalgos.formats import wire


class Messages(NamedTuple):
    """The message classes of the package aialgs.data, in the protobuf library."""

    Record: Any
    Value: Any
    Bytes: Any
    Float32Tensor: Any
    Float64Tensor: Any
    Int32Tensor: Any


@functools.cache
def message_classes() -> Messages:
    """Classes of the protobuf library for single messages.

    Made from a description of the schema at run time, in a pool of their own: they do not collide
    with the classes of the original SDK.

    Examples
    --------
    >>> record = message_classes().Record()
    >>> record.features["values"].float32_tensor.values.extend([1.0, 2.5])
    >>> record.ByteSize()
    26
    """
    Field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(
        name="aialgs/data/record.proto", package="aialgs.data", syntax="proto2"
    )

    def add(message: Any, number: int, name: str, kind: str, *, repeated: bool = False) -> Any:
        field = message.field.add(name=name, number=number)
        field.label = Field.LABEL_REPEATED if repeated else Field.LABEL_OPTIONAL
        if kind.startswith("."):
            field.type, field.type_name = Field.TYPE_MESSAGE, ".aialgs.data" + kind
        else:
            field.type = Field.Type.Value(f"TYPE_{kind.upper()}")
        return field

    for kind in ("float", "double", "int32"):
        name = {"float": "Float32Tensor", "double": "Float64Tensor", "int32": "Int32Tensor"}[kind]
        tensor = file.message_type.add(name=name)
        for number, (field, of) in enumerate(
            (("values", kind), ("keys", "uint64"), ("shape", "uint64")), start=1
        ):
            add(tensor, number, field, of, repeated=True).options.packed = True
    some = file.message_type.add(name="Bytes")
    add(some, 1, "value", "bytes", repeated=True)
    add(some, 2, "content_type", "string")
    value = file.message_type.add(name="Value")
    value.oneof_decl.add(name="value")
    for number, field, of in (
        (wire.FLOAT32, "float32_tensor", ".Float32Tensor"),
        (wire.FLOAT64, "float64_tensor", ".Float64Tensor"),
        (wire.INT32, "int32_tensor", ".Int32Tensor"),
        (wire.BYTES, "bytes", ".Bytes"),
    ):
        add(value, number, field, of).oneof_index = 0
    record = file.message_type.add(name="Record")
    for number, field, entry in ((1, "features", "FeaturesEntry"), (2, "label", "LabelEntry")):
        pair = record.nested_type.add(name=entry)
        pair.options.map_entry = True
        add(pair, 1, "key", "string")
        add(pair, 2, "value", ".Value")
        add(record, number, field, f".Record.{entry}", repeated=True)
    for number, field in ((3, "uid"), (4, "metadata"), (5, "configuration")):
        add(record, number, field, "string")

    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return Messages(
        *(
            message_factory.GetMessageClass(pool.FindMessageTypeByName(f"aialgs.data.{name}"))
            for name in Messages._fields
        )
    )
