"""Records by the protobuf library, one at a time; and the wire written field by field."""

import struct
from typing import Any, NamedTuple

import numpy as np

from smalgos.formats.protobuf import message_classes

MAGIC = struct.pack("<I", 0xCED7230A)


class Row(NamedTuple):
    features: np.ndarray  # dense, float32
    sparse: bool
    labels: np.ndarray
    uid: bytes
    metadata: bytes


def frames(data: bytes) -> list[bytes]:
    """The payloads of a RecordIO file, split ones joined."""
    payloads, at = [], 0
    while at < len(data):
        parts = []
        while True:
            magic, lrec = struct.unpack_from("<4sI", data, at)
            assert magic == MAGIC
            n = lrec & 0x1FFFFFFF
            parts.append(data[at + 8 : at + 8 + n])
            at += 8 + n + -n % 4
            if lrec >> 29 in (0, 3):
                break
        payloads.append(MAGIC.join(parts))
    return payloads


def split_frame(payload: bytes) -> bytes:
    """One record as the writer of dmlc-core has it: split at every aligned magic word."""
    parts, begin = [], 0
    for at in range(0, len(payload) // 4 * 4, 4):
        if payload[at : at + 4] == MAGIC:
            parts.append(payload[begin:at])
            begin = at + 4
    parts.append(payload[begin:])
    flags = [1] + [2] * (len(parts) - 2) + [3] if len(parts) > 1 else [0]
    out = b""
    for flag, part in zip(flags, parts, strict=True):
        out += MAGIC + struct.pack("<I", flag << 29 | len(part)) + part + bytes(-len(part) % 4)
    return out


def tensor(value: Any) -> tuple[np.ndarray, list[int], list[int]]:
    """Values as float32, keys and shape of a Value message."""
    kind = value.WhichOneof("value")
    if kind is None:
        return np.empty(0, np.float32), [], []
    t = getattr(value, kind)
    dtype = {"float32_tensor": np.float32, "float64_tensor": float, "int32_tensor": int}[kind]
    with np.errstate(over="ignore"):
        values = np.array(list(t.values), dtype).astype(np.float32)
    return values, list(t.keys), list(t.shape)


def row(payload: bytes) -> Row:
    """One record; entries of one column are added."""
    record = message_classes().Record.FromString(payload)
    values, keys, shape = tensor(record.features["values"])
    sparse = bool(keys) or not len(values)
    if sparse:
        features = np.zeros(int(np.prod(shape)), np.float32)
        with np.errstate(over="ignore", invalid="ignore"):
            np.add.at(features, np.array(keys, int), values)
    else:
        features = values
    labels = tensor(record.label["values"])[0] if "values" in record.label else values[:0]
    return Row(features, sparse, labels, record.uid.encode(), record.metadata.encode())


def rows(data: bytes) -> list[Row]:
    """The records of a file."""
    return [row(payload) for payload in frames(data)]


def varint(n: int) -> bytes:
    """The 64 bits of n."""
    n &= (1 << 64) - 1
    out = b""
    while n > 127:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n])


def field(number: int, kind: int, contents: bytes) -> bytes:
    """A field; with a length if the wire type is 2, and an end tag if it is 3."""
    tag = varint(number << 3 | kind)
    if kind == 2:
        return tag + varint(len(contents)) + contents
    return tag + contents + (varint(number << 3 | 4) if kind == 3 else b"")


def message(number: int, contents: bytes) -> bytes:
    """A field with a message, a string or a packed list."""
    return field(number, 2, contents)
