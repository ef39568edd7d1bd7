"""The kernel that decodes the numbers of many `aialgs.data.Record` messages.

What a table notes of a record, and who writes it, is in `smalgos.formats.wire`.
"""

import numpy as np

from smalgos._jit import kernel
from smalgos.formats.wire import (
    BAD_KEY,
    FLOAT32,
    FLOAT64,
    KEYS,
    KEYS_AT,
    KEYS_END,
    KIND,
    SCATTERED,
    VALUES,
    VALUES_AT,
    VALUES_END,
    WIDTH,
    copy,
    varint,
)

WIDE = 64  # float64 values converted at a time


@kernel
def _read_short_keys(buffer, at, end, count, width, keys, to):  # type: ignore[no-untyped-def]
    """Decode keys if all take one byte or all take two, by vector code; return whether that was so.

    It was not if one is `width` or above.
    """
    size, at, to = end - at, np.uint64(at), np.uint64(to)
    wrong, top, one = np.uint8(0), np.int32(0), np.uint64(1)
    if size == count:
        for k in range(np.uint64(count)):
            key = np.int32(buffer[at + k])
            keys[to + k] = key
            top = max(top, key)
    elif size == 2 * count:
        for k in range(np.uint64(count)):
            low, high = buffer[at + k + k], buffer[at + k + k + one]
            key = np.int32(low & 127) | np.int32(high) << 7
            wrong = np.uint8(wrong | (low ^ 128) | high)
            keys[to + k] = key
            top = max(top, key)
    else:
        wrong = np.uint8(128)
    return wrong < 128 and top < width


@kernel
def fill(buffer, starts, rows, table, tensor, offsets, values, raw, keys):  # type: ignore[no-untyped-def]
    """Decode one tensor of each record, but for those in several pieces.

    buffer   (n_bytes,) uint8           in
    starts   (n_records,) int64         in, where records begin
    rows     (>= n_records,) int64      in, from `walk`
    table    (>= n_records, ROW) int64  in, from `walk` and `check`
    tensor   FEATURES or LABEL
    offsets  (>= n_records,) int64      in, where the values of each go
    values   (total,) float32           out
    raw      (4 * total,) uint8         the memory of `values`
    keys     (total,) int32             out, columns of the values: counts up in dense records
             (0,) int32                 not asked for
    Returns the number of records done, the reason of a fault (0: none) and its byte.
    """
    done, reason, where, zero = 0, 0, np.int64(0), np.int64(0)
    wide = np.empty(WIDE, np.float64)
    wide_raw = wide.view(np.uint8)
    for i in range(len(starts)):
        row = rows[i]
        values_at, keys_at = table[row, tensor + VALUES_AT], table[row, tensor + KEYS_AT]
        if values_at == SCATTERED or keys_at == SCATTERED:
            done += 1
            continue
        kind, to, count = table[row, tensor + KIND], offsets[i], table[row, tensor + VALUES]
        at, end = starts[i] + values_at, starts[i] + table[row, tensor + VALUES_END]
        if kind == FLOAT32:  # as bytes: numbers may begin at any byte of the buffer
            copy(buffer, at, raw, 4 * to, 4 * count)
        elif kind == FLOAT64:
            for k in range(0, count, WIDE):
                n = min(WIDE, count - k)
                copy(buffer, at + 8 * k, wide_raw, zero, 8 * n)
                copy(wide, zero, values, to + k, n)
        else:
            for k in range(count):
                number, after = np.int64(buffer[at]), at + 1
                if number > 127:
                    number, after = varint(buffer, at, end)
                    if after < 0:
                        reason, where = -after, at
                        break
                # protobuf takes the low 32 bits, in two's complement
                values[to + k] = ((number & 0xFFFFFFFF) ^ 0x80000000) - 0x80000000
                at = after
        if len(keys) > 0:
            if table[row, tensor + KEYS] == 0:
                for k in range(count):
                    keys[to + k] = k
            else:
                at, end = starts[i] + keys_at, starts[i] + table[row, tensor + KEYS_END]
                width = table[row, tensor + WIDTH]
                hard = False
                for k in range(count):
                    # Most keys are in order: behind the short ones all others are of one length.
                    rest = count - k
                    if not hard and (end - at == rest or end - at == 2 * rest):
                        hard = not _read_short_keys(buffer, at, end, rest, width, keys, to + k)
                        if not hard:
                            break
                    number, after = np.int64(buffer[at]), at + 1
                    if number > 127:  # some byte behind it is not, as `walk` saw
                        number, after = number & 127 | np.int64(buffer[after]) << 7, at + 2
                        if number > 0x3FFF:
                            number, after = varint(buffer, at, end)
                    if after < 0 or number < 0 or number >= width:
                        reason, where = (-after if after < 0 else BAD_KEY), at
                        break
                    keys[to + k] = number
                    at = after
        if reason != 0:
            break
        done += 1
    return done, reason, where
