"""The space that rows are compared in: projected, padded, of unit length for cosines."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smalgos.algorithms.knn.parameters import CODED
from smalgos.errors import UserError


@dataclass(frozen=True)
class Space:
    """How a row of features becomes a point.

    Parameters
    ----------
    width : int
        Features of a row.
    size : int
        Coordinates of a point: the features, or fewer when they are projected, and zeros.
    reduction : {"", "sign", "fjlt"}
        The projection; empty: none.
    seed : int
        What the projection is drawn from.
    unit : bool
        Whether points have length 1; a row of zeros stays one.
    """

    width: int
    size: int
    reduction: str
    seed: int
    unit: bool

    @staticmethod
    def of(p: Any, width: int, seed: int) -> "Space":
        """The space that hyperparameters ask for.

        Raises
        ------
        UserError
            When they do not fit rows of that width.
        """
        kind, target = p.dimension_reduction_type or "", p.dimension_reduction_target
        if kind and target >= width:
            raise UserError(
                f"dimension_reduction_target={target}: must be below the {width} features of a row"
            )
        size = target if kind else width
        if p.index_type == CODED:
            m = p.faiss_index_pq_m
            if m > size:
                raise UserError(f"faiss_index_pq_m={m}: rows have {size} features to be coded")
            size = -(-size // m) * m
        if kind == "fjlt" and size > 1 << (width - 1).bit_length():
            raise UserError(
                f"dimension_reduction_target={target}: raised to {size}, a multiple of "
                f"faiss_index_pq_m, it is more than fjlt has; give a smaller one"
            )
        return Space(width, size, kind, seed, p.index_metric == "COSINE")

    def points(self, features: Any, k: Any) -> NDArray[np.float32]:
        """Points (n, size) of rows (n, width), an array or a `Csr`; k are the kernels."""
        if self.reduction:
            project = k.projection(self.reduction, self.width, self.size, self.seed)
            found: NDArray[np.float32] = project(features)
        else:
            found = features.toarray() if hasattr(features, "indices") else features
            found = np.pad(found, ((0, 0), (0, self.size - self.width)))
        if self.unit:
            length = np.sqrt((found.astype(np.float64) ** 2).sum(axis=1, keepdims=True))
            found = (found / np.where(length > 0, length, 1)).astype(np.float32)
        return found


def centre_of(points: NDArray[np.float32], k: Any) -> NDArray[np.float32]:
    """A point near the middle, from which squares of distances lose least to rounding.

    Zero in coordinates whose mean is not far from it. Elsewhere a multiple of a power of two near
    their deviation: whole numbers stay whole when it is taken off.
    """
    n = len(points)
    mean = k.total(points) / n
    parts = k.run(lambda rows: ((points[rows] - mean) ** 2).sum(axis=0), k.chunks(n))
    deviation = np.sqrt(np.sum(parts, axis=0) / n)
    step = 2.0 ** np.floor(np.log2(np.where(deviation > 0, deviation, 1)))
    near = np.where(deviation > 0, np.round(mean / step) * step, mean)
    return np.where(np.abs(mean) > 2 * deviation, near, 0).astype(np.float32)
