"""The best candidates of each query, while they are being found.

They are kept as heaps, (q, k) values and ids, the worst one first: the root at [i, 0] is what a
better one replaces. Better is the smaller value, of equal ones the smaller id; so what a heap holds
in the end does not depend on the order in which candidates came.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from smalgos._jit import COMPILED, kernel
from smalgos.kernels.cpu.vector import LANES, MASK

NOBODY = np.int64(2**62)  # id of a place that no candidate has taken yet

inner = kernel(fastmath=False, inline="always")

if COMPILED:
    from llvmlite import ir
    from numba import types
    from numba.extending import intrinsic

    @intrinsic
    def bits(typingctx: Any, mask: Any) -> Any:
        """An int64 whose bit i is lane i of a comparison's result."""

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            packed = builder.bitcast(args[0], ir.IntType(LANES))
            return builder.zext(packed, ir.IntType(64))

        return types.int64(MASK), codegen

    @intrinsic
    def lowest(typingctx: Any, given: Any) -> Any:
        """Number of the lowest bit that is set; there must be one."""

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            return builder.cttz(args[0], ir.Constant(ir.IntType(1), 1))

        return types.int64(types.int64), codegen

else:

    def bits(mask: Any) -> int:
        return sum(1 << i for i in range(LANES) if mask[i])

    def lowest(given: int) -> int:
        return (given & -given).bit_length() - 1


@inner
def better(value, number, other, other_number):
    """Whether a candidate is better than another one."""
    return value < other or (value == other and number < other_number)


@kernel(fastmath=False)
def replace_worst(values, ids, i, value, number):
    """Put a candidate in the place of the worst one of query i, which it must be better than.

    values   (q, k) float32     in, out
    ids      (q, k) int64       in, out
    """
    k = values.shape[1]
    at = 0
    while True:
        child = 2 * at + 1
        if child >= k:
            break
        right = child + 1
        if right < k and better(values[i, child], ids[i, child], values[i, right], ids[i, right]):
            child = right
        if better(values[i, child], ids[i, child], value, number):
            break
        values[i, at], ids[i, at] = values[i, child], ids[i, child]
        at = child
    values[i, at], ids[i, at] = value, number


def empty_heaps(q: int, k: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Values and ids without candidates."""
    return np.full((q, k), np.inf, np.float32), np.full((q, k), NOBODY)


def ordered(
    values: NDArray[np.float32], ids: NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Values and ids of heaps, the best ones first."""
    order = np.lexsort((ids, values), axis=1)
    return np.take_along_axis(values, order, axis=1), np.take_along_axis(ids, order, axis=1)
