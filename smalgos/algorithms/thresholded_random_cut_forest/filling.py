"""How missing values, and missing rows, are filled."""

import numpy as np
from numpy.typing import NDArray

from smalgos.algorithms.thresholded_random_cut_forest.statistics import Deviation

Floats = NDArray[np.float64]
LATE = 1.5  # usual gaps behind a row, from which rows between are missing


def fixed(method: str, values: list[float] | None, width: int) -> Floats | None:
    """Values (width,) that stand for missing ones whatever is around them, or None."""
    if method == "ZERO":
        return np.zeros(width)
    return None if values is None else np.array(values, np.float64)


def between(
    method: str, fill: Floats | None, before: Floats, behind: Floats, count: int, last: int
) -> Floats:
    """Rows that are missing between two: of so many, the `last` ones (last, d).

    What the forest expects is another's task.

    Parameters
    ----------
    method : {"ZERO", "FIXED_VALUES", "PREVIOUS", "NEXT", "LINEAR"}
    fill : ndarray, shape (d,), optional
        For the first two.
    before, behind : ndarray, shape (d,)
    count, last : int
    """
    if method == "LINEAR":
        share = np.arange(count - last + 1, count + 1)[:, None] / (count + 1)
        return before + share * (behind - before)
    row = {"PREVIOUS": before, "NEXT": behind}.get(method, fill)
    return np.tile(np.asarray(row), (last, 1))


def start(
    X: Floats, missing: NDArray[np.bool_], timestamps: NDArray[np.int64], method: str,
    fill: Floats | None,
) -> Floats:  # fmt: skip
    """The first rows (n, d) of a series, filled.

    There is no past yet: what is not fixed lies on the line between its neighbours in time, or is
    as the nearest one. Columns without any value take that of `fill`, or 0.
    """
    X = X.copy()
    for j in range(X.shape[1]):
        gone, known = missing[:, j], ~missing[:, j]
        if method in ("ZERO", "FIXED_VALUES") or not known.any():
            X[gone, j] = 0.0 if fill is None else fill[j]
        elif gone.any():
            when = (timestamps - timestamps[0]).astype(np.float64)
            X[gone, j] = np.interp(when[gone], when[known], X[known, j])
    return X


def usual_gap(mean: float, deviation: float) -> float:
    """The usual time between rows, from their mean and deviation, a little below the mean."""
    if 0 < deviation < mean / 2:
        return mean - deviation * deviation / (2 * mean)
    return mean


def rows_missing(gap: float, usual: float) -> int:
    """How many rows are missing in a gap; the open library rounds up, and so fills one too many."""
    if usual <= 0 or gap < LATE * usual:
        return 0
    return round(gap / usual) - 1


def gap_of(timestamps: NDArray[np.int64]) -> float:
    """The usual time between rows that came at these times."""
    gaps = Deviation(0.0)
    for gap in np.diff(timestamps):
        gaps.update(float(gap))
    return usual_gap(gaps.mean, gaps.deviation)
