"""Series as points: each row together with those before it."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from smalgos.errors import UserError
from smalgos.formats.block import Csr


def shingle(series: Any, width: int) -> NDArray[Any]:
    """Overlapping windows of a series, one for each row that ends one.

    Parameters
    ----------
    series : array-like, shape (n,) or (n, d)
        In the order of time.
    width : int
        Rows of a window.

    Returns
    -------
    ndarray, shape (n - width + 1, width * d)
        Window i holds rows i to i + width - 1, the oldest first. Floats keep their kind, all else
        becomes float64.

    Raises
    ------
    UserError
        When the series is shorter than a window, or no series of numbers.

    Examples
    --------
    >>> from smalgos import shingle
    >>> shingle([1.0, 2.0, 3.0, 4.0], 3)
    array([[1., 2., 3.],
           [2., 3., 4.]])
    """
    try:
        rows = np.asarray(series)
        rows = rows if rows.dtype.kind == "f" else rows.astype(np.float64)
    except (TypeError, ValueError):
        raise UserError("a series must be numbers, one row after another") from None
    if rows.ndim not in (1, 2):
        raise UserError(f"a series of shape {rows.shape}: give (n,) or (n, d)")
    whole = isinstance(width, int | np.integer) and not isinstance(width, bool)
    if not whole or not 1 <= width <= len(rows):
        raise UserError(
            f"width={width!r}: must be a whole number from 1 to the {len(rows)} rows of the series"
        )
    ends = np.arange(int(width) - 1, len(rows))
    return shingled(rows.reshape(len(rows), -1), ends, int(width))


def shingled(features: Any, ends: NDArray[np.integer[Any]], width: int) -> NDArray[Any]:
    """The windows of `width` rows that end with certain rows.

    Parameters
    ----------
    features : ndarray or Csr, shape (n, d)
    ends : ndarray of int, shape (m,)
        From ``width - 1`` on.
    width : int

    Returns
    -------
    ndarray, shape (m, width * d)
    """
    if width == 1:
        sparse = isinstance(features, Csr)
        found: NDArray[Any] = features[ends].toarray() if sparse else features.take(ends, axis=0)
        return found
    dense = features.toarray() if isinstance(features, Csr) else features
    places = ends[:, None] + np.arange(1 - width, 1)
    windows: NDArray[Any] = dense.take(places, axis=0).reshape(len(ends), width * dense.shape[1])
    return windows
