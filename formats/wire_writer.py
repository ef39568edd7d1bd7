"""Kernels that write the wire of many `aialgs.data.Record` messages from arrays.

Every kernel here is called twice with the same arguments, but for `out`. With an empty one it
counts: the bytes of record i are added to ``at[i]``. With the bytes of all records it writes
those of record i from ``at[i]``, which moves on behind them.
"""

import numpy as np

from smalgos._jit import kernel


@kernel
def _put_varint(out, at, number):  # type: ignore[no-untyped-def]
    """Write the 64 bits of `number` as a varint; return where it ends."""
    while number < 0 or number > 127:
        out[at] = number & 127 | 128
        at += 1
        number = number >> 7 & 0x01FFFFFFFFFFFFFF  # zeros from the left
    out[at] = number
    return at + 1


@kernel
def _varint_size(number):  # type: ignore[no-untyped-def]
    """Bytes of a varint."""
    size = 1 if number >= 0 else 10
    while number > 127:
        number >>= 7
        size += 1
    return size


@kernel
def _copy(source, begin, end, out, at):  # type: ignore[no-untyped-def]
    """``out[at:] = source[begin:end]``; return where it ends. Unsigned indices make it vector
    code."""
    begin, to = np.uint64(begin), np.uint64(at)
    n = np.uint64(end) - begin
    for i in range(n):
        out[to + i] = source[begin + i]
    return at + np.int64(n)


@kernel
def _size(n_bytes):  # type: ignore[no-untyped-def]
    """Bytes of a field with a tag of one byte and `n_bytes` of contents, and its length."""
    return 1 + _varint_size(n_bytes) + n_bytes


@kernel
def put_varints(numbers, offsets, out, at):  # type: ignore[no-untyped-def]
    """Write rows of numbers, one varint behind the other.

    numbers  (total,) int64       in
    offsets  (n_rows + 1,) int64  in, row i is numbers[offsets[i]:offsets[i + 1]]
    out      (n_bytes,) uint8     out
    at       (n_rows,) int64      in, out
    """
    for i in range(len(at)):
        to = at[i]
        for k in range(offsets[i], offsets[i + 1]):
            if len(out) > 0:
                to = _put_varint(out, to, numbers[k])
            else:
                to += _varint_size(numbers[k])
        at[i] = to


@kernel
def put_strings(tag, text, offsets, out, at):  # type: ignore[no-untyped-def]
    """Write a string field of each record, none for an empty string.

    tag      int64
    text     (total,) uint8          in
    offsets  (n_records + 1,) int64  in, that of record i is text[offsets[i]:offsets[i + 1]]
    out      (n_bytes,) uint8        out
    at       (n_records,) int64      in, out
    """
    for i in range(len(at)):
        begin, end, to = offsets[i], offsets[i + 1], at[i]
        if begin < end and len(out) > 0:
            out[to] = tag
            to = _copy(text, begin, end, out, _put_varint(out, to + 1, end - begin))
        elif begin < end:
            to += _size(end - begin)
        at[i] = to


@kernel
def put_tensors(tag, name, kind, values, values_at, keys, keys_at, shape, out, at):  # type: ignore[no-untyped-def]
    """Write a map entry with a tensor of each record, all lists packed, empty lists left out.

    tag        int64                   of the map: 0x0A features, 0x12 label
    name       (n_name,) uint8         in, the key of the entry
    kind       int64                   field number of the tensor in its Value
    values     (n_bytes,) uint8        in, the encoded values
    values_at  (n_records + 1,) int64  in, of record i: values[values_at[i]:values_at[i + 1]]
    keys       (n_bytes,) uint8        in, the encoded keys
    keys_at    (n_records + 1,) int64  in, as values_at; (0,): no keys
    shape      (n_bytes,) uint8        in, the encoded shape, the same in all records
    out        (n_bytes,) uint8        out
    at         (n_records,) int64      in, out
    """
    n_name = len(name)
    for i in range(len(at)):
        to = at[i]
        n_values, n_keys, n_shape = values_at[i + 1] - values_at[i], np.int64(0), len(shape)
        if len(keys_at) > 0:
            n_keys = keys_at[i + 1] - keys_at[i]
        n_tensor = np.int64(0)
        for n in (n_values, n_keys, n_shape):
            if n > 0:
                n_tensor += _size(n)
        n_value = _size(n_tensor)
        n_entry = _size(n_name) + _size(n_value)
        if len(out) == 0:
            at[i] = to + _size(n_entry)
            continue
        out[to] = tag
        to = _put_varint(out, to + 1, n_entry)
        out[to] = 0x0A
        to = _copy(name, 0, n_name, out, _put_varint(out, to + 1, n_name))
        out[to] = 0x12
        to = _put_varint(out, to + 1, n_value)
        out[to] = kind << 3 | 2
        to = _put_varint(out, to + 1, n_tensor)
        if n_values > 0:
            out[to] = 0x0A
            to = _put_varint(out, to + 1, n_values)
            to = _copy(values, values_at[i], values_at[i + 1], out, to)
        if n_keys > 0:
            out[to] = 0x12
            to = _put_varint(out, to + 1, n_keys)
            to = _copy(keys, keys_at[i], keys_at[i + 1], out, to)
        if n_shape > 0:
            out[to] = 0x1A
            to = _put_varint(out, to + 1, n_shape)
            to = _copy(shape, 0, n_shape, out, to)
        at[i] = to


@kernel
def put_frames(sizes, out, at):  # type: ignore[no-untyped-def]
    """Write the RecordIO header and the padding of each record; called once, to write.

    sizes  (n_records,) int64  in, bytes of the payloads
    out    (n_bytes,) uint8    out
    at     (n_records,) int64  in, where frames begin; out, where payloads do
    """
    for i in range(len(at)):
        to, size = at[i], sizes[i]
        out[to], out[to + 1], out[to + 2], out[to + 3] = 0x0A, 0x23, 0xD7, 0xCE
        for k in range(4):
            out[to + 4 + k] = size >> 8 * k & 255
        at[i] = to + 8
        for k in range(-size & 3):
            out[to + 8 + size + k] = 0
