"""Orders of rows: random, yet functions of seed, epoch and window alone."""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Order: TypeAlias = tuple[int, int]  # (seed, epoch)

MANY, TOO_MANY = 1 << 16, 1 << 32  # rows from which, and to which, a network orders them


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
        from smalgos.formats.shuffling_network import ROUNDS, ordered

        return ordered(n, (draw(ROUNDS) >> np.uint64(32)).astype(np.uint32))
    # All orders are equally likely. Random high bits, the row in the low bits: no two keys are
    # equal, so any way to sort them gives the same order (NumPy's own shuffle may change), and the
    # sorted keys hold the rows.
    low = np.uint64(max(1, n).bit_length())
    keys = draw(n) << low
    keys |= np.arange(n, dtype=np.uint64)
    keys.sort()
    keys &= (np.uint64(1) << low) - np.uint64(1)
    return keys.view(np.int64)
