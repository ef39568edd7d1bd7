"""Bounding boxes in flat memory, sixteen sides at a time.

A box is `width` lower sides followed by `width` upper ones. A point serves as a box whose upper
sides are its lower ones. Sums over sides are folded in one fixed order, so that a box has the same
sum however it came about, and on any processor.
"""

from typing import Any

import numpy as np

from smalgos._jit import COMPILED, kernel
from smalgos.kernels.cpu.vector import LANES, load_part, magnitude, splat, store_part, vectors

if COMPILED:
    from llvmlite import ir
    from numba.extending import intrinsic

    def halves(builder: Any, value: Any) -> Any:
        """Sum of the first and the second half of a vector."""
        n = value.type.count // 2

        def half(first: int) -> Any:
            kind = ir.VectorType(ir.IntType(32), n)
            lanes = ir.Constant(kind, list(range(first, first + n)))
            return builder.shuffle_vector(value, ir.Constant(value.type, ir.Undefined), lanes)

        return builder.fadd(half(0), half(n))

    @intrinsic
    def fold(typingctx: Any, a: Any) -> Any:
        """Sum of the lanes: halves, quarters, and so on."""

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            value = args[0]
            for _ in range(LANES.bit_length() - 2):
                value = halves(builder, value)
            first, second = (builder.extract_element(value, ir.IntType(32)(i)) for i in range(2))
            return builder.fadd(first, second)

        return a.dtype(a), codegen

else:

    def fold(a: Any) -> Any:
        while len(a) > 1:
            a = a[: len(a) // 2] + a[len(a) // 2 :]
        return a[0]


@vectors()
def lower(v: Any, a: Any, b: Any) -> Any:
    """The lesser of each pair."""
    return v.select(a < b, a, b)


@vectors()
def upper(v: Any, a: Any, b: Any) -> Any:
    """The greater of each pair."""
    return v.select(a > b, a, b)


@vectors()
def gaps(v: Any, x: Any, low: Any, high: Any) -> Any:
    """How far each coordinate lies outside of its sides."""
    below, above = low - x, x - high
    most = v.select(below > above, below, above)
    return v.select(most > v.number(0.0), most, v.number(0.0))


@kernel(fastmath=False)
def gap(space, low, high, rows, x, width):
    """Sum of how far the point at rows[x:] lies outside of a box, over all coordinates."""
    total = splat(np.float32(0))
    for k in range(0, width, LANES):
        rest = width - k
        point = load_part(rows, x + k, rest)
        box = load_part(space, low + k, rest), load_part(space, high + k, rest)
        total = total + gaps(point, box[0], box[1])
    return fold(total)


@kernel(fastmath=False)
def unite(space, box, low, high, other_low, other_high, width):
    """Make a box the hull of two; returns the sum of its sides, and whether it changed."""
    total, change = splat(np.float32(0)), splat(np.float32(0))
    for k in range(0, width, LANES):
        rest = width - k
        lows = lower(load_part(space, low + k, rest), load_part(space, other_low + k, rest))
        highs = upper(load_part(space, high + k, rest), load_part(space, other_high + k, rest))
        was = load_part(space, box + k, rest), load_part(space, box + width + k, rest)
        change = change + (magnitude(was[0] - lows) + magnitude(was[1] - highs))
        store_part(space, box + k, rest, lows)
        store_part(space, box + width + k, rest, highs)
        total = total + (highs - lows)
    return fold(total), fold(change) != np.float32(0)


@kernel(fastmath=False)
def place(space, at, rows, x, width):
    """Write the point at rows[x:] to space[at:], with 0.0 for -0.0."""
    for k in range(0, width, LANES):
        point = load_part(rows, x + k, width - k)
        store_part(space, at + k, width - k, point + splat(np.float32(0)))


@kernel(fastmath=False)
def hull(space, box, rows, origin, chosen, first, last, width):
    """Make a box that of the rows chosen[first:last], which begin at rows[origin:].

    Returns the sum of its sides.
    """
    total = splat(np.float32(0))
    for k in range(0, width, LANES):
        rest = width - k
        lows = load_part(rows, origin + np.int64(chosen[first]) * width + k, rest)
        highs = lows
        for i in range(first + 1, last):
            point = load_part(rows, origin + np.int64(chosen[i]) * width + k, rest)
            lows, highs = lower(lows, point), upper(highs, point)
        store_part(space, box + k, rest, lows)
        store_part(space, box + width + k, rest, highs)
        total = total + (highs - lows)
    return fold(total)
