"""Decimal text to float32, for the kernels of the text formats.

What a number means is settled once for all of them: the text is rounded to the nearest float64
and that to the nearest float32, ties to even, which is what ``np.float32(float(text))`` gives.
The kernels reach it without Python's parser: up to 16 digits by exact float64 arithmetic, more by
a 128-bit product (Eisel-Lemire). Only when more than 19 digits straddle two float32 numbers do
they leave the decision to the caller.

The kernels read eight bytes at a time, so that a text needs `MARGIN` bytes of slack on each side.
"""

# mypy: ignore-errors
# Kernels are typed by what their docstrings say.

import ctypes
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smalgos._bits import MASK, inner, load64, trailing_zeros, word
from smalgos._jit import COMPILED

MARGIN = 64  # bytes that must be readable before and behind any text a kernel is given

BYTE = word(0xFF)
ASCII_ZEROS = word(0x3030303030303030)
HIGH_BITS = word(0x8080808080808080)
_LOW_BITS = word(0x7F7F7F7F7F7F7F7F)
_ABOVE_NINE = word(0x7676767676767676)
_LOWER_CASE = word(0x2020202020202020)
_NAN = word(int.from_bytes(b"nan", "little"))
_INF = word(int.from_bytes(b"inf", "little"))
_INFINITY = word(int.from_bytes(b"infinity", "little"))

UNKNOWN = 0  # not a number that the kernels know: Python decides
NUMBER = 1

# A word has at most 19 decimal digits, so w * 10**q rounds to zero below this power of ten ...
LEAST_POWER = -65
# ... and to infinity above this one (float32 reaches from 1.4e-45 to 3.4e38).
GREATEST_POWER = 38
_ROUNDS_TO_INF = 2.0**128 - 2.0**103  # halfway from the greatest float32 to what would follow


def _powers_of_five() -> NDArray[np.uint64]:
    """5**q for q from `LEAST_POWER` to `GREATEST_POWER`, each to 128 bits.

    Returns
    -------
    ndarray of uint64, shape (104, 2)
        High and low word of 5**q, scaled by a power of two so that the highest bit is set.
        Rounded down, but up for -27 <= q < 0, where the product must not fall short of a value
        that lies just halfway between two float64 (Lemire, 2021, section 5).
    """
    table = []
    for q in range(LEAST_POWER, GREATEST_POWER + 1):
        power = 5 ** abs(q)
        if q >= 0:  # 5**38 has 89 bits
            scaled = power << (128 - power.bit_length())
        else:
            scaled = (1 << (power.bit_length() + 127)) // power + (q >= -27)
        table.append((scaled >> 64, scaled & 0xFFFFFFFFFFFFFFFF))
    return np.array(table, np.uint64)


_TENS = np.array([10**k for k in range(9)], np.uint64)
_FIVES = _powers_of_five()

if COMPILED:
    from llvmlite import ir
    from numba import types
    from numba.extending import intrinsic

    _I64 = ir.IntType(64)

    @intrinsic
    def marks64(_context: Any, at: Any, one: Any, other: Any) -> Any:
        """Which of the 64 bytes from address `at` on equal `one` or `other`; the first lowest."""
        lanes = ir.VectorType(ir.IntType(8), 64)

        def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            loaded = builder.load(builder.inttoptr(arguments[0], lanes.as_pointer()), align=1)
            found = None
            for byte in arguments[1:]:
                lane = builder.insert_element(ir.Constant(lanes, ir.Undefined), byte, _I64(0))
                zeros = ir.Constant(ir.VectorType(ir.IntType(32), 64), None)
                every = builder.shuffle_vector(lane, ir.Constant(lanes, ir.Undefined), zeros)
                equal = builder.icmp_unsigned("==", loaded, every)
                found = equal if found is None else builder.or_(found, equal)
            return builder.bitcast(found, _I64)

        return types.uint64(types.int64, types.uint8, types.uint8), code

    @intrinsic
    def product128(_context: Any, a: Any, b: Any) -> Any:
        """High and low word of a * b."""
        pair = types.UniTuple(types.uint64, 2)

        def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            wide = ir.IntType(128)
            x, y = (builder.zext(a, wide) for a in arguments)
            product = builder.mul(x, y)
            high = builder.trunc(builder.lshr(product, ir.Constant(wide, 64)), _I64)
            low = builder.trunc(product, _I64)
            return context.make_tuple(builder, signature.return_type, (high, low))

        return pair(types.uint64, types.uint64), code

    @intrinsic
    def leading_zeros(_context: Any, a: Any) -> Any:
        """Number of zero bits above the highest set bit; `a` is not zero."""

        def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return builder.ctlz(arguments[0], ir.Constant(ir.IntType(1), 1))

        return types.int64(types.uint64), code

    @intrinsic
    def float_of_bits(_context: Any, a: Any) -> Any:
        """The float64 with these bits."""

        def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return builder.bitcast(arguments[0], ir.DoubleType())

        return types.float64(types.uint64), code

else:

    def marks64(at: int, one: int, other: int) -> int:
        """Which of the 64 bytes from address `at` on equal `one` or `other`; the first lowest."""
        text = np.frombuffer(ctypes.string_at(int(at), 64), np.uint8)
        found = (text == one) | (text == other)
        return int.from_bytes(np.packbits(found, bitorder="little").tobytes(), "little")

    def product128(a: int, b: int) -> tuple[int, int]:
        """High and low word of a * b."""
        return a * b >> 64, a * b & MASK

    def leading_zeros(a: int) -> int:
        """Number of zero bits above the highest set bit; `a` is not zero."""
        return 64 - a.bit_length()

    def float_of_bits(a: int) -> Any:
        """The float64 with these bits."""
        return np.uint64(a).view(np.float64)


@inner
def no_digits(eight):
    """The highest bit of each of the eight bytes that is no decimal digit."""
    values = eight ^ ASCII_ZEROS  # 0 to 9 for digits, and adding 0x76 carries nothing from them
    return (((values & _LOW_BITS) + _ABOVE_NINE) | values) & HIGH_BITS


@inner
def eight_digits(eight):
    """The number that eight digits spell, the first one in the lowest byte.

    Neighbours are combined at once, to pairs, then fours, then eight: Lemire (2021), section 3.
    """
    pairs = (eight - ASCII_ZEROS) & MASK
    pairs = (pairs * word(10) + (pairs >> word(8))) & MASK
    every_other = word(0x000000FF000000FF)
    upper = (pairs & every_other) * word(0x000F424000000064)  # 100 + (1000000 << 32)
    lower = ((pairs >> word(16)) & every_other) * word(0x0000271000000001)  # 1 + (10000 << 32)
    return ((upper + lower) & MASK) >> word(32)


@inner
def nearest(w, q):
    """The float64 nearest to w * 10**q, ties to even.

    w      word, 1 <= w < 10**19 + 1
    q      int, LEAST_POWER <= q <= GREATEST_POWER: the result is never subnormal

    Eisel-Lemire: D. Lemire, Number parsing at a gigabyte per second, SPE 51(8), 2021, algorithm 1;
    that its product never leaves a doubt: N. Mushtak and D. Lemire, Fast number parsing without
    fallback, SPE 53(7), 2023.
    """
    shift = leading_zeros(w)
    w = (w << word(shift)) & MASK
    high, low = product128(w, word(_FIVES[q - LEAST_POWER, 0]))
    if high & word(0x1FF) == word(0x1FF):  # the low half of the power may carry into what we keep
        more, _ = product128(w, word(_FIVES[q - LEAST_POWER, 1]))
        low = (low + more) & MASK
        if low < more:
            high += word(1)
    top = high >> word(63)
    drop = top + word(9)
    mantissa = high >> drop  # 54 bits: 53 and one to round by
    # Halfway between two float64: then 5**q is a small factor of w, or divides it.
    one_odd = mantissa & word(3) == word(1)
    if one_odd and low <= word(1) and -4 <= q <= 23 and (mantissa << drop) & MASK == high:
        mantissa -= word(1)
    mantissa = (mantissa + (mantissa & word(1))) >> word(1)
    # floor(log2(10**q)) = 217706 * q >> 16 for all q here; 1023 + 63 biases it. A mantissa that
    # rounding carried to 2**53 adds one more to the exponent by itself.
    exponent = word(((217706 * q) >> 16) + 1086 - shift) + top
    return float_of_bits(((exponent - word(1)) << word(52)) + mantissa)


@inner
def scaled(w, q):
    """A float64 that rounds to the float32 that w * 10**q means; w and q as for `nearest`, or any.

    w  word, 0 <= w < 10**19 + 1
    q  int
    """
    if w == word(0) or q < LEAST_POWER:
        return 0.0
    if q > GREATEST_POWER:
        return np.inf
    value = nearest(w, q)
    return value if value < _ROUNDS_TO_INF else np.inf


@inner
def _digits(at, w, room):
    """Append digits to `w`, up to `room` of them not counting leading zeros, and skip the others.

    Returns the address of the first byte that is no digit, w, the room left, how many were skipped.
    """
    skipped = 0
    while True:
        eight = load64(at)
        others = no_digits(eight)
        count = trailing_zeros(others) >> 3 if others != word(0) else 8
        take = count if count < room else room
        if take > 0:
            # Right-aligned, and filled with zeros from the left (below, in the word).
            few = (eight << word(64 - 8 * take)) & MASK
            few |= ASCII_ZEROS & ~(MASK << word(64 - 8 * take))
            if w == word(0):
                values = few ^ ASCII_ZEROS
                room -= 8 - (trailing_zeros(values) >> 3) if values != word(0) else 0
            else:
                room -= take
            w = w * word(_TENS[take]) + eight_digits(few)
        skipped += count - take
        at += count
        if count < 8:
            return at, w, room, skipped


@inner
def number(begin, end):
    """The number spelt from address `begin` to `end`: any decimal, or nan, inf, infinity.

    The byte at `end` must be one that no number has, and there must be `MARGIN` bytes around.
    Returns float32 and `NUMBER`, or `UNKNOWN`: no number (Python's float would refuse it, or take
    it for its underscores, white space or foreign digits), or more than 19 digits that leave open
    which float32 is nearest. Twin: ``np.float32(float(text))``.
    """
    at = begin
    sign = load64(at) & BYTE
    negative = sign == word(45)
    if negative or sign == word(43):
        at += 1

    first = at
    at, w, room, q = _digits(at, word(0), np.int64(19))
    digits = at - first
    truncated = q > 0
    if load64(at) & BYTE == word(46):
        fraction = at + 1
        at, w, room, skipped = _digits(fraction, w, room)
        digits += at - fraction
        q -= at - fraction - skipped
        truncated = truncated or skipped > 0
    if digits == 0:
        return _word_number(first, end, negative)
    if (load64(at) | _LOWER_CASE) & BYTE == word(101):
        at += 1
        sign = load64(at) & BYTE
        if sign == word(45) or sign == word(43):
            at += 1
        first = at
        # What exceeds the room is too large for any text of sane length to make up for.
        at, power, _, skipped = _digits(at, word(0), np.int64(12))
        if at == first:
            return np.float32(0), UNKNOWN
        power = np.int64(power) if skipped == 0 else np.int64(1) << 40
        q += -power if sign == word(45) else power
    if at != end:
        return np.float32(0), UNKNOWN

    value = scaled(w, q)
    if truncated and np.float32(value) != np.float32(scaled(w + word(1), q)):
        return np.float32(0), UNKNOWN
    return np.float32(-value if negative else value), NUMBER


@inner
def _word_number(at, end, negative):
    """nan, inf or infinity in any case, as `number`."""
    length = end - at
    value = np.nan
    status = UNKNOWN
    if 3 <= length <= 8:
        letters = (load64(at) | _LOWER_CASE) & (MASK >> word(64 - 8 * length))
        if letters == _NAN:
            status = NUMBER
        elif letters in (_INF, _INFINITY):
            value = np.inf
            status = NUMBER
    return np.float32(-value if negative else value), status
