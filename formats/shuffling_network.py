"""The network that orders many rows: see `shuffling`."""

# mypy: ignore-errors
# Kernels are typed by what their docstrings say.

from typing import Any

import numpy as np
from numpy.typing import NDArray

from smalgos._jit import COMPILED, kernel

ROUNDS = 6
PIECE = 256  # numbers that are looked at together

# Python's integers do not wrap: hence `& LOW` behind products, which costs nothing when compiled.
half: Any = np.uint32 if COMPILED else int
LOW, FIRST, SECOND = half(0xFFFFFFFF), half(0x9E3779B1), half(0x85EBCA77)
RIGHT = half(15)


def ordered(n: int, keys: NDArray[np.uint32]) -> NDArray[np.int64]:
    """The numbers below n in an order that the keys (6,) choose."""
    out = np.empty(n + 1, np.int64)
    _order(n, (n - 1).bit_length(), keys, out)
    return out[:n]


@kernel(fastmath=False, inline="always")
def _mixed(x, key):
    """A hash of 32 bits: products move low bits up, shifts high bits down."""
    x = half(half(x ^ key) * FIRST & LOW)
    x = half((x ^ x >> RIGHT) * SECOND & LOW)
    return x ^ x >> RIGHT


@kernel(fastmath=False)
def _order(n, bits, keys, out):
    """The numbers below n in the order in which a permutation of those of so many bits has them.

    A Feistel network: each round changes one half of a number by a hash of the other one, which
    can be undone, so no two numbers become the same. It takes a sixth of the time of a sort.
    Luby and Rackoff, SIAM J. Comput. 17 (1988); Black and Rogaway, CT-RSA 2002.

    keys   (6,) uint32
    out    (n + 1,) int64     out
    """
    right = bits // 2
    low, high = half((1 << right) - 1), half((1 << (bits - right)) - 1)
    a, b, m = np.empty(PIECE, np.uint32), np.empty(PIECE, np.uint32), 0
    for first in range(0, 1 << bits, PIECE):
        for i in range(PIECE):  # short loops, so that they become vectors
            a[i], b[i] = half(first + i) >> half(right), half(first + i) & low
        for k in range(0, ROUNDS, 2):
            for i in range(PIECE):
                a[i] ^= _mixed(b[i], keys[k]) & high
            for i in range(PIECE):
                b[i] ^= _mixed(a[i], keys[k + 1]) & low
        for i in range(PIECE):
            x = np.int64(a[i]) << right | np.int64(b[i])
            out[np.uint64(m)] = x  # written over by the next one, if too high
            m += np.int64(x < n)
