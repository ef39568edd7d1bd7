"""Sums of outer products of rows, and the directions in which rows vary most.

Dense rows are shifted first: with a shift near their mean the sums stay small, and nothing is lost
when the mean is taken out afterwards. Chunks of `ROWS` rows are tasks whose results are added in
order; inside a chunk the outer products of `AT_ONCE` rows are summed in float32, tile by tile and
only on and above the diagonal, and those sums in float64. The same bits come out for any number of
threads, and however rows are cut into blocks, as long as blocks are whole chunks.
"""

from contextlib import nullcontext
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smalgos._jit import kernel
from smalgos.kernels.cpu.layout import groups, pack
from smalgos.kernels.cpu.scores import check_csr, score_csr, score_dense
from smalgos.kernels.cpu.shared import Lent, blas_single, chunks, readable, run
from smalgos.kernels.cpu.tile import PANEL, aligned, multiply_add, panels
from smalgos.kernels.cpu.vector import load, load_part, splat, store, widen

__all__ = [
    "ROWS",
    "Space",
    "add_moments",
    "add_moments_csr",
    "fix_signs",
    "project",
    "project_csr",
    "top_eigen",
]

ROWS = 4096  # rows of a task
AT_ONCE = 256  # rows whose products are summed in float32: what is read twice stays in cache
HIGH = 12  # rows of a tile (see `tile`)
WAVE = 8  # tasks whose results are held at a time
STRIP = 1 << 21  # float64 numbers of a result, 16 MB: wider matrices are cut into strips of rows
TEETH = 16  # tasks of sparse rows, each with every sixteenth row of the result


@kernel(fastmath=False)
def _moments(X, shift, first, last, rows, right, tile, part):
    """Add the outer products of shifted rows to rows [first, last) of their upper triangle.

    X              (n, d) float32                                                     in
    shift          (D,) float32, D a multiple of 16 above d; shift[d] = -1 makes a
                   column of ones, whose products are the sums; zeros behind it       in
    first, last    int64, first a multiple of 16
    rows           (AT_ONCE, D) float32, scratch                                      out
    right, tile    (D / 16, AT_ONCE + 1, 16), (D / 16, 12, 16) float32, scratch       out
    part           (last - first, D) float64; what is below the diagonal has no
                   meaning                                                            in, out
    """
    (n, d), (at_once, wide), n_panels, high = X.shape, rows.shape, len(right), right.shape[1]
    zero = splat(0.0)
    for a in range(0, n, at_once):
        count = min(at_once, n - a)
        for r in range(count):
            for p in range(first // PANEL, n_panels):
                j = p * PANEL
                at = (a + r) * d + j
                x = load(X, at) if j + PANEL <= d else load_part(X, at, d - j)
                x = x - load(shift, j)
                store(rows, r * wide + j, x)
                store(right, (p * high + r) * PANEL, x)
        for i in range(first, last, HIGH):
            lines, p = min(HIGH, last - i), i // PANEL
            for q in range(p, n_panels):
                for r in range(lines):
                    store(tile, (q * HIGH + r) * PANEL, zero)
            multiply_add(rows, i, np.int64(1), lines, wide, count, right[p:], tile[p:])
            for q in range(p, n_panels):
                for r in range(lines):
                    at = (i - first + r) * wide + q * PANEL
                    more = widen(load(tile, (q * HIGH + r) * PANEL))
                    store(part, at, load(part, at) + more)


@kernel(fastmath=False)
def _sparse_moments(values, indices, offsets, tooth, gram, total):
    """Add the outer products of sparse rows to every TEETH-th row of their upper triangle.

    values, indices   (nnz,) float32, (nnz,) int32; a row may name a column twice     in
    offsets           (n + 1,) int64, from anywhere                                   in
    tooth             int64, the first row of gram to add to
    gram, total       (d, d), (d,) float64                                            in, out
    """
    for r in range(len(offsets) - 1):
        for a in range(offsets[r], offsets[r + 1]):
            i, v = indices[a], np.float64(values[a])
            if i % TEETH == tooth:
                total[i] += v
                for b in range(offsets[r], offsets[r + 1]):
                    if indices[b] >= i:
                        gram[i, indices[b]] += v * values[b]


def _strips(d: int, wide: int) -> list[tuple[int, int]]:
    """Runs of rows of the result; their starts are multiples of 48, of tiles and panels alike."""
    lines = max(1, STRIP // wide // 48) * 48
    return [(first, min(d, first + lines)) for first in range(0, d, lines)]


class Space:
    """Scratch for sums over rows of d features, of as many tasks as run at once.

    Parameters
    ----------
    d : int
    """

    def __init__(self, d: int) -> None:
        n_panels = panels(d + 1)
        wide = n_panels * PANEL
        self.strips = _strips(d, wide)
        lines = max(last - first for first, last in self.strips)
        self.parts = Lent(lambda: aligned(lines, wide, dtype=np.float64))
        self.tasks = Lent(
            lambda: (
                aligned(wide),
                aligned(AT_ONCE, wide),
                aligned(n_panels, AT_ONCE + 1, PANEL),
                aligned(n_panels, HIGH, PANEL),
            )
        )


def _tiled(
    X: NDArray[Any], shift: NDArray[Any], first: int, last: int, space: Space
) -> NDArray[np.float64]:
    """Rows [first, last) of the upper triangle; column d holds the sums of the shifted rows."""
    d = X.shape[1]
    part, scratch = space.parts.get(), space.tasks.get()
    padded, rows, right, tile = scratch
    padded[:d], padded[d] = shift, -1
    part[: last - first] = 0
    _moments(X, padded, first, last, rows, right, tile, part)
    space.tasks.put(scratch)
    return part


def _stable(
    X: NDArray[Any], shift: NDArray[Any], first: int, last: int, space: Space
) -> NDArray[np.float64]:
    """As `_tiled`, in float64 throughout."""
    d, part = X.shape[1], space.parts.get()
    z = X.astype(np.float64) - shift
    left = z if last - first == d else z[:, first:last]  # BLAS knows z' z from others
    part[: last - first, :d], part[: last - first, d] = left.T @ z, left.sum(axis=0)
    return part


def add_moments(
    X: NDArray[np.float32],
    shift: NDArray[np.float32],
    gram: NDArray[np.float64],
    total: NDArray[np.float64],
    stable: bool = False,
    space: Space | None = None,
) -> int:
    """Add sum (x - shift)' (x - shift) to gram and sum (x - shift) to total.

    Parameters
    ----------
    X : ndarray of float32, shape (n, d)
    shift : ndarray of float32, shape (d,)
    gram : ndarray of float64, shape (d, d)
        Only what is on and above the diagonal has a meaning.
    total : ndarray of float64, shape (d,)
    stable : bool
        Products in float64, too, by BLAS on one thread a task: some four times slower.
    space : Space, optional
        Of d features: kept from call to call, it spares time.

    Returns
    -------
    int
        Number of the first row with an entry that is not finite, or -1. If there is one, gram and
        total are of no use.
    """
    X, shift = readable(X, np.float32), readable(shift, np.float32)
    d = X.shape[1]
    if shift.shape != (d,) or gram.shape != (d, d) or total.shape != (d,):
        raise ValueError(f"rows of {d} features: {shift.shape}, {gram.shape}, {total.shape}")
    space = space or Space(d)
    tasks = [(rows, *strip) for rows in chunks(len(X), ROWS) for strip in space.strips]
    products = _stable if stable else _tiled
    with blas_single() if stable else nullcontext():
        for at in range(0, len(tasks), WAVE):
            wave = tasks[at : at + WAVE]
            parts = run(lambda t: products(X[t[0]], shift, *t[1:], space), wave)
            for (rows, first, last), part in zip(wave, parts, strict=True):
                gram[first:last] += part[: last - first, :d]
                sums = part[: last - first, d].copy()
                total[first:last] += sums
                space.parts.put(part)
                if not np.isfinite(sums).all():
                    bad = ~np.isfinite(X[rows]).all(axis=1)
                    if bad.any():
                        return rows.start + int(bad.argmax())
    return -1


def add_moments_csr(
    values: NDArray[np.float32],
    indices: NDArray[np.int32],
    offsets: NDArray[np.int64],
    gram: NDArray[np.float64],
    total: NDArray[np.float64],
) -> int:
    """Add sum x' x to gram and sum x to total, for sparse rows, in float64 and without a shift.

    Parameters
    ----------
    values, indices, offsets : ndarray
        CSR; offsets (n + 1,) may start anywhere. Indices must be below d.
    gram : ndarray of float64, shape (d, d)
        Only what is on and above the diagonal has a meaning.
    total : ndarray of float64, shape (d,)

    Returns
    -------
    int
        Number of the first row with an entry that is not finite, or -1. If there is one, nothing
        is added.
    """
    values, indices = readable(values, np.float32), readable(indices, np.int32)
    offsets = readable(offsets, np.int64)
    check_csr(indices, offsets, len(total))
    bad = ~np.isfinite(values[offsets[0] : offsets[-1]])
    if bad.any():
        return int(np.searchsorted(offsets, offsets[0] + bad.argmax(), side="right")) - 1
    run(lambda tooth: _sparse_moments(values, indices, offsets, tooth, gram, total), range(TEETH))
    return -1


def fix_signs(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """The columns, each with its entry of largest magnitude positive.

    It is the first one of those that are as large but for rounding.
    """
    size = np.abs(vectors)
    first = (size >= size.max(axis=0) * (1 - 1e-6)).argmax(axis=0)
    signs = np.where(vectors[first, np.arange(vectors.shape[1])] < 0, -1.0, 1.0)
    return np.ascontiguousarray(vectors * signs)


def top_eigen(C: NDArray[np.float64], k: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The largest eigenvalues of a symmetric matrix, and their vectors.

    LAPACK on one BLAS thread.

    Parameters
    ----------
    C : ndarray of float64, shape (d, d)
        Only what is on and above the diagonal is read.
    k : int

    Returns
    -------
    values : ndarray, shape (k,)
        Largest first.
    vectors : ndarray, shape (d, k)
        Unit columns with signs as `fix_signs` leaves them.
    """
    from scipy.linalg import eigh

    d = len(C)
    with blas_single():
        values, vectors = eigh(C, lower=False, subset_by_index=(d - k, d - 1))
    return values[::-1].copy(), fix_signs(vectors[:, ::-1])


def _weights(V: NDArray[Any]) -> tuple[Any, Any]:
    """Columns of V as models without bias, and their layout."""
    k = V.shape[1]
    plan = groups(k)
    return pack(np.vstack([V, np.zeros((1, k))]), plan), plan


def project(
    X: NDArray[np.float32], V: NDArray[Any], mean: NDArray[Any] | None = None
) -> NDArray[np.float32]:
    """(x - mean) V for each row.

    Parameters
    ----------
    X : ndarray of float32, shape (n, d)
    V : ndarray, shape (d, k)
    mean : ndarray, shape (d,), optional

    Returns
    -------
    ndarray of float32, shape (n, k)
    """
    W, plan = _weights(V)
    if mean is None:
        return score_dense(X, W, plan)
    return score_dense(X, W, plan, 1, mean, np.ones(len(V), np.float32))


def project_csr(
    values: NDArray[np.float32],
    indices: NDArray[np.int32],
    offsets: NDArray[np.int64],
    V: NDArray[Any],
    mean: NDArray[Any] | None = None,
) -> NDArray[np.float32]:
    """As `project`, for sparse rows."""
    W, plan = _weights(V)
    return score_csr(values, indices, offsets, W, plan, 1, mean)
