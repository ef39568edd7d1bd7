"""Kernels that walk through the protobuf wire of many `aialgs.data.Record` messages.

The wire (protobuf.dev/programming-guides/encoding) is fields of a varint tag, field number x 8
+ wire type, and a value. A record nests four deep:

    record:  1 features, 2 label: map entries   3 uid, 4 metadata, 5 configuration: strings
    entry:   1 key: string   2 value: one of the tensors
    value:   2 float32, 3 float64, 7 int32 tensor   9 bytes
    tensor:  1 values   2 keys: uint64   3 shape: uint64      packed or one field for each

`walk` goes through all records, checks every length and notes in one row of a table for each
where its numbers are and how many; `check` looks whether they make sense; then arrays of the
right size are made, and `smalgos.formats.wire_reader.fill` decodes the numbers into them.

Numba counts references wherever an array goes into a function that returns from several
places, at many times the cost of a varint: so `walk` is one flat loop, and the functions that it
calls return from one.
"""

import numpy as np

from smalgos._jit import kernel

# What a row of the table notes of a tensor. Bytes are counted from the begin of the record, so
# that records of the same layout have the same row.
KIND = 0  # field number of the tensor in its Value (FLOAT32, ...); 0: there is none
VALUES = 1  # number of values; this, KEYS and WIDTH are field numbers in the tensor, too
KEYS = 2  # number of keys
WIDTH = 3  # product of the shape; -1: no shape, TOO_WIDE: beyond int32
VALUES_AT = 4  # the bytes of the values; SCATTERED: in several pieces, and ...
VALUES_END = 5  # ... this is the number of their bytes
KEYS_AT = 6  # the bytes of the keys, likewise
KEYS_END = 7
BEGIN = 8  # the bytes of the map entry; at 0: there is none under "values"
END = 9
FROM = 10  # its fields count from this byte: before it another tensor of the oneof was set
TENSOR = 11

# A row of the table: the tensor of the features, that of the label, and two strings.
FEATURES, LABEL = 0, TENSOR
UID, UID_END, METADATA, METADATA_END = range(2 * TENSOR, 2 * TENSOR + 4)
ROW = 2 * TENSOR + 4

FLOAT32, FLOAT64, INT32, BYTES = 2, 3, 7, 9
SCATTERED = -1
TOO_WIDE = 1 << 31  # columns are int32
RECORD_LEVEL, ENTRY_LEVEL, VALUE_LEVEL, TENSOR_LEVEL, LEVELS = range(5)
MAX_GROUPS = 100  # groups in groups, as in the protobuf library
MAX_MODEL = 1 << 16  # longer records are not compared with a model: walking costs them little
PATIENCE = 8  # records unlike the model that are met before another model is tried

# Why a record cannot be read; 0 is no fault.
(
    NO_END,
    OVERLONG,
    PAST_END,
    BAD_TAG,
    WIRE_TYPE,
    BAD_GROUP,
    HALF_VALUE,
    NO_FEATURES,
    NO_VALUES,
    BYTES_VALUE,
    KEYS_VALUES,
    NO_SHAPE,
    BAD_SHAPE,
    WIDE_SHAPE,
    WIDTH_CHANGED,
    LABEL_KEYS,
    LABEL_CHANGED,
    BAD_KEY,
) = range(1, 19)

_VALUES = np.frombuffer(b"values", np.uint8)
# Bit f of a level is set if its messages have a field number f.
_KNOWN = np.array([0b11_1110, 0b110, 0b10_1000_1100, 0b1110])


@kernel
def varint(buffer, at, end):  # type: ignore[no-untyped-def]
    """Decode the varint at ``buffer[at]``.

    Returns its 64 bits and the byte after it, or -NO_END or -OVERLONG.
    """
    value, shift, byte = np.int64(0), 0, np.int64(128)
    while byte > 127 and at < end and shift < 70:
        byte = np.int64(buffer[at])
        value |= (byte & 127) << shift
        shift += 7
        at += 1
    if shift == 70 and byte > 1:
        at = -OVERLONG
    elif byte > 127:
        at = -NO_END
    return value, at


@kernel
def _count_varints(buffer, begin, end):  # type: ignore[no-untyped-def]
    """The number of varints in ``buffer[begin:end]``: of bytes without a continuation bit."""
    count, begin = 0, np.uint64(begin)
    for i in range(np.uint64(end) - begin):
        count += buffer[begin + i] < 128
    return count


@kernel
def _is_values(buffer, begin, end):  # type: ignore[no-untyped-def]
    """Whether ``buffer[begin:end]`` says "values"."""
    same, begin = end - begin == len(_VALUES), np.uint64(begin)
    if same:
        for i in range(np.uint64(len(_VALUES))):
            same &= buffer[begin + i] == _VALUES[i]
    return same


@kernel
def copy(source, at, target, to, n):  # type: ignore[no-untyped-def]
    """``target[to : to + n] = source[at : at + n]``, of any two types.

    Unsigned numbers cannot be indices from the end, so that this becomes vector code; and no
    slices are made, as they count references.
    """
    at, to = np.uint64(at), np.uint64(to)
    for i in range(np.uint64(n)):
        target[to + i] = source[at + i]


@kernel
def _make_mask(row, length, mask):  # type: ignore[no-untyped-def]
    """Mark the bits that two records of one layout have in common: all but numbers and strings.

    Of varints the continuation bits are among them, so that their number is.
    """
    for i in range(length):
        keep = 255
        for tensor in (FEATURES, LABEL):
            if row[tensor + VALUES_AT] <= i < row[tensor + VALUES_END]:
                keep = 128 if row[tensor + KIND] == INT32 else 0
            elif row[tensor + KEYS_AT] <= i < row[tensor + KEYS_END]:
                keep = 128
        if row[UID] <= i < row[UID_END] or row[METADATA] <= i < row[METADATA_END]:
            keep = 0
        mask[i] = keep


@kernel
def _differ(buffer, start, model, mask, begin, end):  # type: ignore[no-untyped-def]
    """Whether the records at `start` and at `model` differ in a marked bit of some bytes."""
    bits, start, model = np.uint8(0), np.uint64(start), np.uint64(model)
    for i in range(np.uint64(begin), np.uint64(end)):
        bits = np.uint8(bits | ((buffer[start + i] ^ buffer[model + i]) & mask[i]))
    return bits != 0


@kernel
def walk(buffer, starts, ends, rows, table, spans, spill):  # type: ignore[no-untyped-def]
    """Walk through the fields of records, check their structure and note where numbers are.

    buffer        (n_bytes,) uint8           in
    starts, ends  (n_records,) int64         in, record i is buffer[starts[i]:ends[i]]
    rows          (>= n_records,) int64      out: record i is as the row rows[i] of the table says
    table         (>= n_records, ROW) int64  out
    spans         (n_records, 4) int64       in, scratch: copy the values and keys of record i that
                                             are between spans[i, 0] and spans[i, 1], undecoded, to
                                             spill[spans[i, 2]], ... and spill[spans[i, 3]], ...
                  (0, 4) int64               copy nothing
    spill         (n_spilled,) uint8         out
    Returns the number of records walked without fault, the reason of a fault (0: none) and the
    byte in the buffer of the field that has it, and the number of records with something in
    several pieces.
    """
    done, reason, start, n_scattered = 0, 0, np.int64(0), 0
    limits = np.empty(LEVELS, np.int64)
    groups = np.empty(MAX_GROUPS, np.int64)
    t = np.empty(TENSOR, np.int64)  # what is noted of the tensor of the map entry at hand
    mask = np.empty(MAX_MODEL, np.uint8)
    row, model, model_length, misses, has_mask = -1, 0, -1, 0, False
    zero = gap = gap_end = np.int64(0)
    for i in range(len(starts)):
        origin, at, end = starts[i], starts[i], ends[i]
        length = end - at
        if has_mask and length == model_length:
            differ = _differ(buffer, at, starts[model], mask, zero, gap)
            if not (differ or _differ(buffer, at, starts[model], mask, gap_end, length)):
                rows[i] = rows[model]
                misses = 0
                done += 1
                continue
        row += 1
        rows[i] = row
        for column in range(ROW):
            table[row, column] = 0
        level = depth = to = zero
        limits[0] = end
        wanted = whole = True
        while True:
            if at == end:
                if depth > 0:
                    reason = BAD_GROUP
                    break
                if level == RECORD_LEVEL:
                    break
                if level == ENTRY_LEVEL and wanted:  # the last entry of a key wins
                    for column in range(TENSOR):
                        table[row, to + column] = t[column]
                level -= 1
                end = limits[level]
                continue

            # A tag, then its payload: buffer[begin:at].
            start = at
            tag = np.int64(buffer[at])
            at += 1
            if tag > 127:
                tag, at = varint(buffer, start, end)
                if at < 0:
                    reason = -at
                    break
            field, kind = tag >> 3, tag & 7
            begin = at
            if tag < 8 or tag > 0xFFFFFFFF or kind > 5:
                reason = BAD_TAG
                break
            known = depth == 0 and field < 10 and _KNOWN[level] >> field & 1 == 1
            if kind == 0 or kind == 2:
                if at < end and buffer[at] < 128:
                    number = np.int64(buffer[at])
                    at += 1
                else:
                    number, at = varint(buffer, begin, end)
                    if at < 0:
                        reason = -at
                        break
                if kind == 2:
                    if number < 0 or number > end - at:
                        reason = PAST_END
                        break
                    begin = at
                    at += number
            elif kind == 1 or kind == 5:
                at += 8 if kind == 1 else 4
                if at > end:
                    reason = PAST_END
                    break
            elif kind == 3:
                if known or depth == MAX_GROUPS:
                    reason = WIRE_TYPE if known else BAD_GROUP
                    break
                groups[depth] = field
                depth += 1
            else:
                depth -= 1
                if depth < 0 or groups[depth] != field:
                    reason = BAD_GROUP
                    break
            if not known:
                continue

            if level < TENSOR_LEVEL:
                if kind != 2:
                    reason = WIRE_TYPE
                    break
                if level == RECORD_LEVEL:
                    if field > 2:
                        if field < 5:
                            table[row, UID if field == 3 else METADATA] = begin - origin
                            table[row, UID_END if field == 3 else METADATA_END] = at - origin
                        continue
                    to, wanted = FEATURES if field == 1 else LABEL, False
                elif level == ENTRY_LEVEL and field == 1:
                    wanted = _is_values(buffer, begin, at)
                    continue
                # The last member of a oneof wins: what was noted of another one is forgotten.
                if level == RECORD_LEVEL or (level == VALUE_LEVEL and t[KIND] != field):
                    for column in range(BEGIN):
                        t[column] = 0
                    t[WIDTH] = -1
                    if level == RECORD_LEVEL:
                        t[BEGIN], t[END], t[FROM] = begin - origin, at - origin, 0
                    else:
                        t[KIND], t[FROM] = field, start - origin
                if level == VALUE_LEVEL and field == BYTES:
                    continue
                level += 1
                limits[level] = end = at
                at = begin
                continue

            if field > 1 or t[KIND] == INT32:
                if kind != 2 and kind != 0:
                    reason = WIRE_TYPE
                    break
                count = _count_varints(buffer, begin, at)
                if begin < at and buffer[at - 1] > 127:
                    reason = NO_END
                    break
            else:
                single, log_size = (5, 2) if t[KIND] == FLOAT32 else (1, 3)
                if kind != 2 and kind != single:
                    reason = WIRE_TYPE
                    break
                count = (at - begin) >> log_size
                if count << log_size != at - begin:
                    reason = HALF_VALUE
                    break
            if count > 0 and field < 3:
                column = VALUES_AT if field == VALUES else KEYS_AT
                if t[field] == 0:
                    t[column], t[column + 1] = begin - origin, at - origin
                else:
                    t[column + 1] += at - begin - max(t[column], 0)
                    t[column] = SCATTERED
                    whole = False
                t[field] += count
                if len(spans) > 0 and spans[i, 0] <= begin < spans[i, 1]:
                    copy(buffer, begin, spill, spans[i, field + 1], at - begin)
                    spans[i, field + 1] += at - begin
            elif count > 0:
                t[WIDTH] = abs(t[WIDTH])  # -1: there was no shape yet
                while begin < at and reason == 0:
                    number, after = varint(buffer, begin, at)
                    if after < 0:
                        reason = -after
                    begin = max(begin, after)
                    number = number if 0 <= number < TOO_WIDE else TOO_WIDE
                    t[WIDTH] = min(t[WIDTH] * number, TOO_WIDE)
                if reason != 0:
                    break
        if reason != 0:
            break
        done += 1
        n_scattered += not whole
        misses += 1
        if misses > PATIENCE or not has_mask:
            has_mask = length == model_length and length <= MAX_MODEL and whole
            model, model_length = i, length
            if has_mask:  # two of one length: the next ones may be alike
                misses = 0
                _make_mask(table[row], length, mask)
                gap, gap_end = table[row, VALUES_AT], table[row, VALUES_END]  # not compared
                if table[row, KIND] == INT32:
                    gap_end = gap
    return done, reason, start, n_scattered


@kernel
def check(starts, rows, table, expect, offsets):  # type: ignore[no-untyped-def]
    """Check that the tensors of records make sense, and that all are of one width.

    starts   (n_records,) int64         in, where they begin
    rows     (>= n_records,) int64      in, from `walk`
    table    (>= n_records, ROW) int64  in, out: the width of dense tensors is put in
    expect   (2,) int64                 in, out: features and labels that each record must have;
                                        -1 is set by the first
    offsets  (n_records + 1,) int64     out: where the features of each begin among those of all
    Returns the number of records without fault, the reason of a fault (0: none) and its byte,
    the number of sparse records and that of the values of all features.
    """
    sparse, total = 0, np.int64(0)
    offsets[0] = 0
    checked = -1
    for i in range(len(starts)):
        row = rows[i]
        kind, n_values, n_keys = table[row, KIND], table[row, VALUES], table[row, KEYS]
        total += n_values
        sparse += n_values == 0 or n_keys > 0
        offsets[i + 1] = total
        if row == checked:
            continue
        checked = row
        width, begin = table[row, WIDTH], starts[i] + table[row, BEGIN]
        reason = 0
        if begin == starts[i]:
            reason = NO_FEATURES
        elif kind == BYTES:
            reason = BYTES_VALUE
        elif n_values == 0 and n_keys == 0 and width <= 0:
            reason = NO_VALUES
        elif n_keys == 0 and n_values > 0:
            if width >= 0 and width != n_values:
                reason = BAD_SHAPE
            table[row, WIDTH] = width = n_values
        elif n_keys != n_values:
            reason = KEYS_VALUES
        elif width < 0:
            reason = NO_SHAPE
        if width >= TOO_WIDE:
            reason = WIDE_SHAPE
        if reason == 0 and width != expect[0]:
            if expect[0] < 0:
                expect[0] = width
            else:
                reason = WIDTH_CHANGED
        if reason == 0:
            n_labels, width = table[row, LABEL + VALUES], table[row, LABEL + WIDTH]
            begin = starts[i] + table[row, LABEL + BEGIN]
            if table[row, LABEL + KIND] == BYTES:
                reason = BYTES_VALUE
            elif table[row, LABEL + KEYS] > 0:
                reason = LABEL_KEYS
            elif table[row, LABEL + KIND] != 0 and width >= 0 and width != n_labels:
                reason = BAD_SHAPE
            elif n_labels != expect[1]:
                if expect[1] < 0:
                    expect[1] = n_labels
                else:
                    reason = LABEL_CHANGED
        if reason > 0:
            return i, reason, begin, sparse, total
    return len(starts), 0, np.int64(0), sparse, total
