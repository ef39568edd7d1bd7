"""Parts of the rows for cross-validation."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from smalgos.kernels import load


def parts(
    seed: int, n: int, folds: int, repeats: int = 1, classes: NDArray[np.float32] | None = None
) -> Iterator[NDArray[np.int64]]:
    """The rows of each part, ascending; of each repeat all rows, parted anew.

    Rows are dealt out one by one, those of a class one after another, in an order by chance.

    Parameters
    ----------
    seed : int
    n : int
        Number of rows.
    folds : int
        Parts of a repeat.
    repeats : int
    classes : ndarray of float32, shape (n,), optional
        Each part gets about its share of every class.

    Yields
    ------
    ndarray of int64
        ``folds * repeats`` of them, in each repeat every row once.
    """
    k = load("shared")
    for repeat in range(repeats):
        keys = k.uniforms(seed, "folds", repeat, 0, n)[:, 0]
        order = np.lexsort((keys, np.zeros(n) if classes is None else classes))
        for i in range(folds):
            yield np.sort(order[i::folds])
