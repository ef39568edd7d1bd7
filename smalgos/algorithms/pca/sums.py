"""What is summed over the rows: all of their scatter matrix, or its product with some directions.

Rows are taken about a shift; with z = x - shift, and c the centre less the shift, the scatter about
the centre is ``sum z z' - t c' - c t' + n c c'`` for t = sum z.
"""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smalgos.errors import UserError
from smalgos.formats.block import Csr
from smalgos.kernels import load
from smalgos.learning import Part, Sum

Floats = NDArray[np.float64]
AT_ONCE = 256  # rows of a matrix of d x d that are worked on at once


@dataclass(frozen=True)
class Solution:
    """Largest eigenvalues (k,) of a scatter matrix, vectors (d, k), and the sum of all d values."""

    values: Floats
    vectors: Floats
    trace: float


def matrix(d: int) -> Floats:
    """Zeros (d, d)."""
    return np.zeros((d, d))


class Sums(Part):
    """Sums over rows of d features."""

    count: Sum[int]  # rows
    total: Sum[Floats]  # (d,) sum of z

    def __init__(self, d: int) -> None:
        self.count, self.total = 0, np.zeros(d)

    @abstractmethod
    def add(self, x: Any, shift: NDArray[np.float32]) -> int:
        """Add rows; the number of the first one that is not finite, or -1."""

    @abstractmethod
    def solve(self, c: Floats, k: float) -> Solution:
        """The first k components about the centre c, or those with a share k of the variance."""


class Exact(Sums):
    """All of sum z z'.

    Raises
    ------
    UserError
        When there is no room for it.
    """

    gram: Sum[Floats]  # (d, d), right on and above the diagonal

    def __init__(self, d: int, device: str, stable: bool) -> None:
        super().__init__(d)
        self.k, self.stable = load("moments", device), stable
        try:
            self.gram = matrix(d)
        except MemoryError:
            raise UserError(
                f"the covariances of {d} features take {8e-9 * d * d:.3g} GB: take "
                "algorithm_mode=randomized"
            ) from None
        self.space = self.k.Space(d)

    def add(self, x: Any, shift: NDArray[np.float32]) -> int:
        """As `Sums.add`."""
        self.count += len(x)
        if isinstance(x, Csr):
            bad = self.k.add_moments_csr(x.values, x.indices, x.offsets, self.gram, self.total)
        else:
            bad = self.k.add_moments(x, shift, self.gram, self.total, self.stable, self.space)
        return int(bad)

    def solve(self, c: Floats, k: float) -> Solution:
        """As `Sums.solve`."""
        scatter, t = self.gram.copy(), self.total
        for a in range(0, len(t), AT_ONCE):
            rows = slice(a, a + AT_ONCE)
            scatter[rows] -= np.outer(t[rows] - self.count * c[rows], c) + np.outer(c[rows], t)
        _require_finite(scatter)
        trace = max(float(np.trace(scatter)), 0.0)
        values, vectors = self.k.top_eigen(scatter, int(k) if k >= 1 else len(t))
        if k < 1:
            shares = np.cumsum(np.maximum(values, 0)) / (trace or 1)
            kept = min(int(np.searchsorted(shares, k, side="right")) + 1, len(t))
            values, vectors = values[:kept], vectors[:, :kept]
        return Solution(values, vectors, trace)


class Sketch(Sums):
    """The product of sum z z' with m directions."""

    directions: NDArray[np.float32]  # (d, m)
    product: Sum[Floats]  # (d, m)
    squares: Sum[Floats]  # (1,) sum of all z^2

    def __init__(self, d: int, m: int, device: str, seed: int) -> None:
        super().__init__(d)
        self.k, self.seed = load("sketch", device), seed
        self.directions = np.zeros((d, m), np.float32)
        self.product, self.squares = np.zeros((d, m)), np.zeros(1)
        self._packed: Any = None

    @staticmethod
    def columns(d: int, wanted: int, device: str) -> int | None:
        """How many directions are worked with; None where all of the matrix takes less time."""
        m = int(load("sketch", device).columns_of(wanted))
        return m if 4 * m < d else None

    def aim(self, x: Any, shift: NDArray[np.float32], centred: bool) -> None:
        """Choose directions by a look at the first rows.

        One half are the principal components of these rows, which those of all rows are likely to
        be near; the others are random, for what the first rows do not show.
        """
        d, m = self.directions.shape
        signs = self.k.random_directions(self.seed, d, m)
        look = Sketch(d, m, self.k.device, self.seed)
        look.directions = signs.astype(np.float32)
        known = np.empty((d, 0))
        if look.add(x, shift) < 0 and np.isfinite(look.product).all():
            c = look.total / look.count if centred else -shift.astype(np.float64)
            found = look.solve(c, m // 2)
            known = found.vectors[:, found.values > 1e-6 * found.values[0]]
        self.turn(np.hstack([known, signs[:, known.shape[1] :]]))

    def turn(self, directions: Floats) -> None:
        """Begin anew, with the span of other directions."""
        self.directions = self.k.orthonormal(directions).astype(np.float32)
        self.count, self.squares = 0, np.zeros(1)
        self.total, self.product = np.zeros_like(self.total), np.zeros_like(self.product)

    def add(self, x: Any, shift: NDArray[np.float32]) -> int:
        """As `Sums.add`."""
        if self._packed is None or self._packed[0] is not self.directions:
            self._packed = self.directions, self.k.Directions(self.directions)
        sums = self._packed[1], self.product, self.total, self.squares
        self.count += len(x)
        if isinstance(x, Csr):
            return int(self.k.add_sketch_csr(x.values, x.indices, x.offsets, *sums))
        return int(self.k.add_sketch(x, shift, *sums))

    def solve(self, c: Floats, k: float) -> Solution:
        """As `Sums.solve`, for whole numbers."""
        n, t = self.count, self.total
        with self.k.blas_single():
            along = np.stack([c, t]) @ self.directions.astype(np.float64)
            product = self.product - np.column_stack([t - n * c, c]) @ along
        _require_finite(product)
        trace = max(float(self.squares[0] - 2 * (t @ c) + n * (c @ c)), 0.0)
        values, vectors = self.k.nystrom(product, self.directions, int(k))
        return Solution(values, vectors, trace)


def _require_finite(sums: Floats) -> None:
    if not np.isfinite(sums).all():
        raise UserError(
            "the squares of the features are beyond float32: scale the features, or take "
            "algorithm_mode=stable"
        )
