"""Orders of rows: random, yet functions of seed, epoch and window alone."""

# mypy: ignore-errors
# Kernels are typed by what their docstrings say.

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from smalgos._jit import COMPILED, kernel

Order: TypeAlias = tuple[int, int]  # (seed, epoch)

MANY, TOO_MANY = 1 << 16, 1 << 32  # rows from which, and to which, a network orders them
ROUNDS = 6
PIECE = 256  # numbers that are looked at together

# Python's integers do not wrap: hence `& LOW` behind products, which costs nothing when compiled.
half: Any = np.uint32 if COMPILED else int
LOW, FIRST, SECOND = half(0xFFFFFFFF), half(0x9E3779B1), half(0x85EBCA77)
RIGHT = half(15)


def permutation(n: int, order: Order, window: int = 0) -> NDArray[np.int64]:
    """The order of n rows.

    Parameters
    ----------
    n : int
    order : (int, int)
        Seed and epoch.
    window : int
        Rows of several windows are ordered independently.

    Returns
    -------
    ndarray of int64, shape (n,)
    """
    key = np.array([i % 2**64 for i in order], np.uint64)
    counter = np.array([0, window, 0, 0], np.uint64)  # 2**64 draws for each window
    draw = np.random.Philox(key=key, counter=counter).random_raw
    if MANY <= n < TOO_MANY:
        out = np.empty(n + 1, np.int64)
        _order(n, (n - 1).bit_length(), (draw(ROUNDS) >> np.uint64(32)).astype(np.uint32), out)
        return out[:n]
    # All orders are equally likely. Random high bits, the row in the low bits: no two keys are
    # equal, so any way to sort them gives the same order (NumPy's own shuffle may change), and the
    # sorted keys hold the rows.
    low = np.uint64(max(1, n).bit_length())
    keys = draw(n) << low
    keys |= np.arange(n, dtype=np.uint64)
    keys.sort()
    keys &= (np.uint64(1) << low) - np.uint64(1)
    return keys.view(np.int64)


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
