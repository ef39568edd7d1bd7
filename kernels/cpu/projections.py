"""Random projections that keep distances and inner products nearly as they are.

A projection is drawn from a seed and never stored: the same seed and sizes give the same one. Both
are scaled so that the expected square of a projected row's length is that of the row.
"""

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smalgos._jit import kernel
from smalgos.kernels.cpu.layout import groups, pack
from smalgos.kernels.cpu.scores import score_csr, score_dense
from smalgos.kernels.cpu.shared import chunks, readable, run, uniforms
from smalgos.kernels.cpu.tile import PANEL, aligned

__all__ = ["Hadamard", "Signs", "projection"]

ROWS = 1024  # of a task


class Signs:
    """``R x / sqrt(t)``, R a matrix of independent random signs.

    Achlioptas, "Database-friendly random projections", JCSS 66 (2003), theorem 1.1.

    Parameters
    ----------
    d, t : int
        Features before and after.
    seed : int
    """

    def __init__(self, d: int, t: int, seed: int) -> None:
        positive = uniforms(seed, "sign projection", 0, 0, d, t) < 0.5
        scale = np.float32(1 / np.sqrt(t))
        self.plan = groups(t)
        # Scores of t linear models without bias.
        self.W = pack(np.vstack([np.where(positive, scale, -scale), np.zeros((1, t))]), self.plan)

    def __call__(self, X: Any) -> NDArray[np.float32]:
        """Rows (n, d), an array or a `Csr`, as rows (n, t)."""
        if hasattr(X, "indices"):
            return score_csr(X.values, X.indices, X.offsets, self.W, self.plan)
        return score_dense(X, self.W, self.plan)


class Hadamard:
    """``S H D x / sqrt(t)``: random signs D, the Walsh-Hadamard matrix H, t of its rows S.

    Ailon and Chazelle, "The fast Johnson-Lindenstrauss transform", SIAM J. Computing 39 (2009),
    with a sample of coordinates in the place of their sparse P. Rows are padded with zeros to the
    next power of two, d'; H has entries 1 and -1. O(d' log d') a row.

    Parameters
    ----------
    d, t : int
        Features before and after; t at most d'.
    seed : int
    """

    def __init__(self, d: int, t: int, seed: int) -> None:
        self.size = 1 << max(d - 1, 0).bit_length()
        if t > self.size:
            raise ValueError(f"{t} coordinates of {self.size}")
        drawn = uniforms(seed, "hadamard projection", 0, 0, self.size, 2)
        self.signs = np.where(drawn[:d, 0] < 0.5, 1, -1).astype(np.float32)
        self.picked = np.sort(np.argsort(drawn[:, 1], kind="stable")[:t])
        self.scale = np.float32(1 / np.sqrt(t))

    def __call__(self, X: Any) -> NDArray[np.float32]:
        """Rows (n, d), an array or a `Csr`, as rows (n, t)."""
        sparse = hasattr(X, "indices")
        X = X if sparse else readable(X, np.float32)
        out = np.empty((X.shape[0], len(self.picked)), np.float32)

        def work(part: slice) -> None:
            rows = X[part].toarray() if sparse else X[part]
            scratch = aligned(self.size, PANEL)
            _hadamard(rows, self.signs, self.picked, self.scale, scratch, out[part])

        run(work, chunks(len(out), ROWS))
        return out


KINDS = {"sign": Signs, "fjlt": Hadamard}


@lru_cache(maxsize=8)
def projection(kind: str, d: int, t: int, seed: int) -> Any:
    """The projection of that kind ("sign", "fjlt"), drawn once.

    Parameters
    ----------
    kind : str
    d, t : int
        Features before and after.
    seed : int

    Returns
    -------
    callable
        ``(X) -> (n, t)``
    """
    return KINDS[kind](d, t, seed)


@kernel(fastmath=False)
def _hadamard(X, signs, picked, scale, scratch, out):
    """Signs, butterflies, and the picked coordinates, of sixteen rows at a time.

    X         (n, d) float32                                   in
    signs     (d,) float32, 1 or -1                            in
    picked    (t,) int64, ascending, below d'                  in
    scale     float32
    scratch   (d', 16) float32, d' a power of two above d - 1  out
    out       (n, t) float32                                   out
    Twin: tests/reference/projections.py.
    """
    (n, d), size = X.shape, len(scratch)
    for first in range(0, n, PANEL):
        count = min(PANEL, n - first)
        scratch[:] = 0
        for r in range(count):
            for j in range(d):
                scratch[j, r] = X[first + r, j] * signs[j]
        half = 1
        while half < size:
            for start in range(0, size, 2 * half):
                for j in range(start, start + half):
                    for r in range(PANEL):
                        a, b = scratch[j, r], scratch[j + half, r]
                        scratch[j, r], scratch[j + half, r] = a + b, a - b
            half *= 2
        for i in range(len(picked)):
            for r in range(count):
                out[first + r, i] = scratch[picked[i], r] * scale
