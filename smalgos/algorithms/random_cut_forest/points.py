"""Rows as points of a forest."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from smalgos.errors import UserError
from smalgos.formats.block import Csr
from smalgos.kernels import load


def kernels() -> Any:
    """The kernels of random cut forests."""
    return load("random_cut_forest")


def points_of(trees: Any, X: Any) -> NDArray[np.float32]:
    """Rows as the points of a forest.

    Raises
    ------
    UserError
        When rows are of another width, or a value is NaN or infinite.
    """
    points = _dense(trees, X)
    _check_known(points, np.zeros(points.shape, np.bool_))
    return points


def gaps_of(
    trees: Any, X: Any, missing: Any = None
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Rows and where they have gaps: where NaN is, if it is not said.

    Raises
    ------
    UserError
        When rows are of another width, or a value is infinite, or NaN where none is missing.
    """
    points = _dense(trees, X)
    if missing is None:
        gaps = np.isnan(points)
    else:
        try:
            gaps = np.array(np.broadcast_to(np.asarray(missing, np.bool_), points.shape))
        except ValueError:
            raise UserError(
                f"missing has shape {np.shape(missing)}: give one truth value for each of the "
                f"{points.shape[1]} features, or for each value of the {len(points)} rows"
            ) from None
    _check_known(points, gaps)
    return points, gaps


def _dense(trees: Any, X: Any) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):  # what is too great for float32 is infinite, and said below
        points = np.asarray(X.toarray() if isinstance(X, Csr) else X, np.float32)
    if points.ndim != 2:
        raise UserError(f"the rows have {points.ndim} axes: give an array (rows, {trees.width})")
    if points.shape[1] != trees.width:
        raise UserError(
            f"rows of {points.shape[1]} features: the points of the forest have {trees.width}"
        )
    return points


def _check_known(points: NDArray[np.float32], gaps: NDArray[np.bool_]) -> None:
    good = np.isfinite(points) | gaps
    if not good.all():
        row, column = np.argwhere(~good)[0]
        what = "NaN" if np.isnan(points[row, column]) else "infinite"
        raise UserError(
            f"feature {column} of row {row} is {what}; fill or remove it, or mark it as missing "
            "where missing values are imputed"
        )


def holding(trees: Any) -> NDArray[np.bool_]:
    """The trees that hold points."""
    there: NDArray[np.bool_] = trees.roots >= 0
    if not there.any():
        raise UserError("the forest holds no points yet: fit it first")
    return there
