"""The scatter of rows times a few directions: what its largest components are found from.

For rows z about a shift, ``Y = sum z (z' W)`` with a narrow W (d x m) takes O(d m) memory and one
reading of the rows. When W has seen enough of the space, ``Y (W' Y)^-1 Y'`` is near the best
approximation of rank m of the scatter matrix (Nystrom; Tropp, Yurtsever, Udell and Cevher,
"Fixed-Rank Approximation of a Positive-Semidefinite Matrix from Streaming Data", NIPS 2017). It is
a step of the power method, too: with the vectors found as W, another reading comes much nearer
(Halko, Martinsson and Tropp, SIAM Review 53, 2011, section 4.5).

Chunks of `ROWS` dense rows are tasks whose results are added in order; the panels of W are the
tasks of sparse rows. The same bits come out for any number of threads, and however rows are cut
into blocks, as long as blocks of dense rows are whole chunks.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from smalgos._jit import kernel
from smalgos.kernels.cpu.moments import fix_signs
from smalgos.kernels.cpu.scores import check_csr, set_rows
from smalgos.kernels.cpu.shared import Lent, blas_single, chunks, readable, run, uniforms
from smalgos.kernels.cpu.tile import PANEL, aligned, multiply_add, panels
from smalgos.kernels.cpu.vector import (
    fma,
    load,
    load_part,
    splat,
    store,
    sum_lanes,
    widen,
)

__all__ = [
    "Directions",
    "add_sketch",
    "add_sketch_csr",
    "columns_of",
    "nystrom",
    "orthonormal",
    "random_directions",
]

ROWS = 2048  # rows of a task
AT_ONCE = 256  # rows whose products are summed in float32
SLICE = 512  # features that are worked on at once: rows, W and Y of them fit in cache
WAVE = 8  # tasks whose results are held at a time

inner = kernel(fastmath=False, inline="always")


def columns_of(m: int) -> int:
    """The least number of directions from m on that leaves a lane of the last panel free."""
    return panels(m + 1) * PANEL - 1


@inner
def _take(X, shift, a, count, first, length, rows):
    """Fill rows [:count] with features [first, first + length) of rows [a, a + count), shifted.

    Returns the sum of their squares.
    """
    d, stride = X.shape[1], rows.shape[1]
    total = 0.0
    for r in range(count):
        squares = splat(0.0)
        for j in range(0, length, PANEL):
            at = (a + r) * d + first + j
            whole = first + j + PANEL <= d
            x = load(X, at) if whole else load_part(X, at, d - first - j)
            x = x - load(shift, first + j)
            store(rows, r * stride + j, x)
            squares = fma(x, x, squares)
        total += sum_lanes(np.float32(0.0), squares)
    return total


@kernel(fastmath=False)
def _sketch(X, shift, W, start, rows, middle, tile, part):
    """part += z (z' W) summed over shifted rows z; returns the sum of the squares of all z.

    X        (n, d) float32                                                       in
    shift    (S * L,) float32, zeros from d on                                    in
    W        (S, P, L, 16) float32, slices of L features of panels                in
    start    (P, 1, 16) float32, what z' W starts from: a one in a lane where W
             is zero leaves the sum of z in this lane of the result                in
    rows     (AT_ONCE, > L) float32, scratch                                      out
    middle   (P, AT_ONCE, 16) float32, scratch                                    out
    tile     (P, L, 16) float32, scratch                                          out
    part     (S, P, L, 16) float64                                                in, out
    """
    n_slices, n_panels, length = W.shape[:3]
    at_once, stride = rows.shape
    zero, one, none = splat(0.0), np.int64(1), np.int64(0)
    total = 0.0
    for a in range(0, len(X), at_once):
        count = min(at_once, len(X) - a)
        set_rows(middle, count, start, 0)
        for s in range(n_slices):
            total += _take(X, shift, a, count, s * length, length, rows)
            multiply_add(rows, none, stride, count, one, length, W[s], middle)
        for s in range(n_slices - 1, -1, -1):  # the last slice is still there
            if s < n_slices - 1:
                _take(X, shift, a, count, s * length, length, rows)
            for i in range(n_panels * length):
                store(tile, i * PANEL, zero)
            multiply_add(rows, none, one, length, stride, count, middle, tile)
            base = s * n_panels * length
            for i in range(n_panels * length):
                at = (base + i) * PANEL
                store(part, at, load(part, at) + widen(load(tile, i * PANEL)))
    return total


@kernel(fastmath=False)
def _sketch_csr(values, indices, offsets, W, start, out):
    """out += x (x' W) summed over sparse rows x, for one panel.

    values, indices   (nnz,) float32, (nnz,) int32; a row may name a column twice   in
    offsets           (n + 1,) int64, from anywhere                                 in
    W, start          (d, 16), (1, 16) float32; start as in `_sketch`               in
    out               (d, 16) float64                                               in, out
    """
    for r in range(len(offsets) - 1):
        middle = load(start, 0)
        for i in range(offsets[r], offsets[r + 1]):
            middle = fma(splat(values[i]), load(W, PANEL * indices[i]), middle)
        for i in range(offsets[r], offsets[r + 1]):
            at = PANEL * indices[i]
            store(out, at, load(out, at) + widen(splat(values[i])) * widen(middle))


@kernel(fastmath=False)
def _squares_csr(values, indices, offsets, row, squares):
    """Add the squares of all features of sparse rows.

    values, indices, offsets   as those of `_sketch_csr`                    in
    row                        (d,) float64, zeros before and after         in, out
    squares                    (1,) float64                                 in, out
    """
    for r in range(len(offsets) - 1):
        for i in range(offsets[r], offsets[r + 1]):
            row[indices[i]] += values[i]
        for i in range(offsets[r], offsets[r + 1]):
            squares[0] += values[i] * row[indices[i]]
        for i in range(offsets[r], offsets[r + 1]):
            row[indices[i]] = 0.0


class Directions:
    """Directions as kernels take them, and scratch for as many tasks as run at once.

    Parameters
    ----------
    W : ndarray of float32, shape (d, m)
        m is one below a multiple of 16; see `columns_of`.
    """

    def __init__(self, W: NDArray[Any]) -> None:
        self.d, self.m = W.shape
        if self.m != columns_of(self.m):
            raise ValueError(f"{self.m} directions: take {columns_of(self.m)}")
        high = panels(self.m + 1)
        self.length = min(SLICE, panels(self.d) * PANEL)
        self.slices = -(-self.d // self.length)
        shape = self.slices, high, self.length, PANEL
        padded = np.zeros((self.slices * self.length, high * PANEL), np.float32)
        padded[: self.d, : self.m] = W
        self.W = aligned(*shape)
        self.W[:] = padded.reshape(self.slices, self.length, high, PANEL).transpose(0, 2, 1, 3)
        self.start = aligned(high, 1, PANEL)
        self.start[-1, 0, -1] = 1
        # An odd number of panels: rows would share places in the cache if they were 2048 bytes
        # apart.
        wide = (self.length // PANEL | 1) * PANEL
        self.parts = Lent(lambda: aligned(*shape, dtype=np.float64))
        self.tasks = Lent(
            lambda: (
                aligned(AT_ONCE, wide),
                aligned(high, AT_ONCE, PANEL),
                aligned(high, self.length, PANEL),
            )
        )

    def natural(self, part: NDArray[np.float64]) -> NDArray[np.float64]:
        """The matrix (d, m + 1) that a part holds: the products, and the sum of the rows."""
        wide = part.transpose(0, 2, 1, 3).reshape(self.slices * self.length, self.m + 1)
        return wide[: self.d]

    def part_of(
        self, product: NDArray[np.float64], total: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """The inverse of `natural`."""
        wide = np.zeros((self.slices * self.length, self.m + 1))
        wide[: self.d, : self.m], wide[: self.d, self.m] = product, total
        shape = self.slices, self.length, -1, PANEL
        return np.ascontiguousarray(wide.reshape(shape).transpose(0, 2, 1, 3))


def add_sketch(
    X: NDArray[np.float32],
    shift: NDArray[np.float32],
    directions: Directions,
    product: NDArray[np.float64],
    total: NDArray[np.float64],
    squares: NDArray[np.float64],
) -> int:
    """Add sum z (z' W), sum z and the squares of all z, for the shifted rows z = x - shift.

    Parameters
    ----------
    X : ndarray of float32, shape (n, d)
    shift : ndarray of float32, shape (d,)
    directions : Directions
        Of W (d, m).
    product : ndarray of float64, shape (d, m)
    total : ndarray of float64, shape (d,)
    squares : ndarray of float64, shape (1,)

    Returns
    -------
    int
        Number of the first row with an entry that is not finite, or -1. If there is one, the sums
        are of no use.
    """
    X = readable(X, np.float32)
    d = directions.d
    if X.shape[1:] != (d,) or shift.shape != (d,) or product.shape != (d, directions.m):
        raise ValueError(f"{d} features: {X.shape}, shift {shift.shape}, product {product.shape}")
    padded = np.zeros(directions.slices * directions.length, np.float32)
    padded[:d] = shift

    def work(rows: slice) -> tuple[NDArray[np.float64], float]:
        part, scratch = directions.parts.get(), directions.tasks.get()
        part[:] = 0
        more = _sketch(X[rows], padded, directions.W, directions.start, *scratch, part)
        directions.tasks.put(scratch)
        return part, more

    sums = directions.part_of(product, total)
    tasks, bad = chunks(len(X), ROWS), -1
    for at in range(0, len(tasks), WAVE):
        wave = tasks[at : at + WAVE]
        for rows, (part, more) in zip(wave, run(work, wave), strict=True):
            sums += part
            squares += more
            if bad < 0 and not np.isfinite(part[:, -1, :, -1]).all():
                wrong = ~np.isfinite(X[rows]).all(axis=1)
                bad = rows.start + int(wrong.argmax()) if wrong.any() else bad
            directions.parts.put(part)
        if bad >= 0:
            return bad
    natural = directions.natural(sums)
    product[:], total[:] = natural[:, :-1], natural[:, -1]
    return bad


def add_sketch_csr(
    values: NDArray[np.float32],
    indices: NDArray[np.int32],
    offsets: NDArray[np.int64],
    directions: Directions,
    product: NDArray[np.float64],
    total: NDArray[np.float64],
    squares: NDArray[np.float64],
) -> int:
    """As `add_sketch`, for sparse rows and without a shift.

    Parameters
    ----------
    values, indices, offsets : ndarray
        CSR; offsets (n + 1,) may start anywhere.

    Raises
    ------
    ValueError
        When a column is not below d.
    """
    values, indices = readable(values, np.float32), readable(indices, np.int32)
    offsets = readable(offsets, np.int64)
    check_csr(indices, offsets, directions.d)
    bad = ~np.isfinite(values[offsets[0] : offsets[-1]])
    if bad.any():
        return int(np.searchsorted(offsets, offsets[0] + bad.argmax(), side="right")) - 1

    def work(p: int) -> None:
        if p < 0:
            _squares_csr(values, indices, offsets, np.zeros(directions.d), squares)
            return
        W = np.ascontiguousarray(directions.W[:, p]).reshape(-1, PANEL)
        mine = slice(p * PANEL, min((p + 1) * PANEL, directions.m))
        lanes, last = mine.stop - mine.start, mine.stop == directions.m
        out = np.zeros((len(W), PANEL))
        out[: directions.d, :lanes] = product[:, mine]
        if last:  # with a lane for the sum of the rows
            out[: directions.d, -1] = total
        _sketch_csr(values, indices, offsets, W, directions.start[p], out)
        product[:, mine] = out[: directions.d, :lanes]
        if last:
            total[:] = out[: directions.d, -1]

    run(work, range(-1, len(directions.start)))
    return -1


def random_directions(seed: int, d: int, m: int) -> NDArray[np.float64]:
    """Entries of 1 and -1 over the root of d, the same for a seed everywhere; shape (d, m)."""
    numbers = uniforms(seed, "sketch", 0, 0, d, panels(m))
    bits = (numbers * (1 << PANEL)).astype(np.int64)[:, :, None] >> np.arange(PANEL) & 1
    return (2.0 * bits.reshape(d, -1)[:, :m] - 1) / np.sqrt(d)


def orthonormal(W: NDArray[np.float64]) -> NDArray[np.float64]:
    """Orthonormal columns that span those of W, and others in the place of dependent ones.

    By Cholesky's factor of W' W, perhaps twice (Yamamoto, Nakatsukasa, Yanagisawa and Fukaya, ETNA
    44, 2015), several times faster than Householder's reflections, which take what is left.
    """
    from scipy.linalg import LinAlgError, cholesky, qr, solve_triangular

    one = np.eye(W.shape[1])
    with blas_single():
        Q = W / np.maximum(np.linalg.norm(W, axis=0), np.finfo(np.float64).tiny)
        try:
            for _ in range(3):
                square = Q.T @ Q
                if np.abs(square - one).max() < 1e-9:
                    return Q
                R = cholesky(square)
                if R.diagonal().min() < 1e-5:
                    raise LinAlgError
                Q = Q @ solve_triangular(R, one)
        except LinAlgError:
            pass
        return np.ascontiguousarray(qr(W, mode="economic", check_finite=False)[0])


def nystrom(
    Y: NDArray[np.float64], W: NDArray[Any], k: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The largest eigenvalues of a scatter matrix C, and their vectors, from Y = C W.

    They are those of ``Y (W' Y)^-1 Y'``, never above those of C but for rounding. As in algorithm
    3 of Tropp and others (2017), C + v I with a small v is taken in the place of C, and v from
    what comes of it.

    Parameters
    ----------
    Y, W : ndarray, shape (d, m)
    k : int
        At most m.

    Returns
    -------
    values : ndarray, shape (k,)
        Largest first, none negative.
    vectors : ndarray, shape (d, k)
        Unit columns with signs as those of `top_eigen`.
    """
    from scipy.linalg import eigh

    W = W.astype(np.float64)
    size = np.linalg.norm(Y)
    if size == 0:
        return np.zeros(k), fix_signs(orthonormal(W[:, :k]))
    tiny = size * float(np.finfo(np.float32).eps)  # the error that rounding leaves in Y
    with blas_single():
        Y = Y + tiny * W
        core = W.T @ Y
        inner_values, turn = eigh((core + core.T) / 2)
        factor = Y @ (turn / np.sqrt(np.maximum(inner_values, tiny * 1e-3)))
        values, turn = eigh(factor.T @ factor)
        vectors = factor @ turn[:, : -k - 1 : -1]
    return np.maximum(values[: -k - 1 : -1] - tiny, 0), fix_signs(orthonormal(vectors))
