"""Values to bins: cuts from a sample of the rows, and the bin of every value.

Bin b of a feature holds the values from cut b - 1 on that are less than cut b, so that a split
behind bin b is ``x < cuts[b]``. The last cut is beyond all values. Missing values have a bin of
their own behind the others.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from smalgos._jit import kernel
from smalgos.kernels.cpu.packed import count_up_to
from smalgos.kernels.cpu.shared import chunks, readable, run

LAST = np.finfo(np.float32).max  # the last cut, a number that XGBoost's files can hold
FINE = 16  # cuts that are compared at a time
ROWS = 8192  # of a task
AT_ONCE = 256  # rows that stay in cache while all of their columns are taken in turn


def cuts_of(
    values: NDArray[np.float32], weights: NDArray[np.float32] | None, most: int
) -> NDArray[np.float32]:
    """Upper ends of the bins of a feature.

    All distinct values get a bin where they are few enough, else bins hold about equal weights.
    A cut is halfway between two values that occur, so that it does not depend on which of equal
    values a row has.

    Parameters
    ----------
    values : ndarray of float32, shape (n,)
        NaN: missing.
    weights : ndarray of float32, shape (n,), or None
    most : int
        Bins at most.

    Returns
    -------
    ndarray of float32, shape (bins,)
        Ascending; the last one is greater than all finite values. One bin, if there are none.
    """
    present = ~np.isnan(values)
    if not present.all():
        values = values[present]
        weights = None if weights is None else weights[present]
    if not len(values):
        return np.array([LAST], np.float32)
    if weights is not None and not weights.any():
        weights = None
    if weights is None:
        ordered, total = np.sort(values), None
    else:
        order = np.argsort(values, kind="stable")
        ordered, total = values[order], np.cumsum(weights[order], dtype=np.float64)
    # Where each distinct value begins.
    first = np.append(0, np.flatnonzero(ordered[1:] != ordered[:-1]) + 1)
    chosen = np.arange(1, len(first))
    if len(first) > most:
        parts = np.arange(1, most)
        if total is None:
            at = parts * len(ordered) // most
        else:
            at = np.searchsorted(total, parts * (total[-1] / most), side="right")
        # A quantile's value begins a bin. One that is several quantiles is alone in it: what comes
        # next to, say, many zeros can be told from them.
        found = np.searchsorted(first, at, side="right") - 1
        chosen = np.union1d(found, found[1:][found[1:] == found[:-1]] + 1)
        chosen = chosen[(chosen > 0) & (chosen < len(first))]
    first = first[chosen]
    below, above = ordered[first - 1], ordered[first]
    with np.errstate(over="ignore", invalid="ignore"):
        cuts = below + (above - below) * np.float32(0.5)
    # Between neighbours in float32, or around infinities, there is no other middle.
    cuts = np.where((cuts > below) & (cuts <= above), cuts, above)
    return np.append(cuts, LAST)


class Bins:
    """Cuts of all features.

    Parameters
    ----------
    cuts : list of ndarray of float32
        Of each feature; of a categorical one its length says how many categories there are.
    categorical : ndarray of bool, shape (d,)
    """

    def __init__(self, cuts: list[NDArray[np.float32]], categorical: NDArray[np.bool_]) -> None:
        self.cuts, self.categorical = cuts, categorical
        self.bins = np.array([len(c) for c in cuts], np.int64)
        self.edges = np.concatenate(cuts)
        self.ends = np.cumsum(self.bins) - self.bins  # where those of a feature begin
        self.dtype = np.uint8 if self.bins.max(initial=0) < 256 else np.uint16
        numeric = np.flatnonzero(~categorical)
        widest = -(-int(self.bins[numeric].max(initial=1)) // (FINE * FINE)) * FINE
        self._fine = np.full((len(cuts), widest * FINE), np.inf, np.float32)
        for f in numeric:
            self._fine[f, : len(cuts[f]) - 1] = cuts[f][:-1]
        self._coarse = np.ascontiguousarray(self._fine[:, FINE - 1 :: FINE])

    @property
    def width(self) -> int:
        """Number of features."""
        return len(self.cuts)

    def dense(self, X: NDArray[np.float32], first: int, columns: Any) -> int:
        """Bin rows into their places.

        Parameters
        ----------
        X : ndarray of float32, shape (m, d)
        first : int
            Place of the first row.
        columns : ndarray, shape (d, n)
            See `growth.Data`.

        Returns
        -------
        int
            The first row with an infinite value or a category that is none, or -1.
        """
        X = readable(X, np.float32)
        counts = np.where(self.categorical, self.bins, 0)

        def work(part: slice) -> int:
            at = first + part.start
            return int(_bin_rows(X[part], self._coarse, self._fine, self.bins, counts, at, columns))

        parts = chunks(len(X), ROWS)
        for part, bad in zip(parts, run(work, parts), strict=True):
            if bad >= 0:
                return part.start + bad
        return -1

    def sparse(
        self, X: Any, firsts: NDArray[np.int64]
    ) -> tuple[NDArray[np.int32], NDArray[Any], NDArray[np.int64], int]:
        """The bins of sparse rows.

        Parameters
        ----------
        X : Csr
        firsts : ndarray of int64, shape (d,)
            Where features begin in a histogram.

        Returns
        -------
        cells : ndarray of int32, shape (entries,)
            Their places in a histogram; entries that are NaN are left out.
        numbers : ndarray, shape (entries,)
            The bins.
        lengths : ndarray of int64, shape (m,)
            Entries of each row.
        bad : int
            The first row with an infinite value or a category that is none, or -1.
        """
        counts = np.where(self.categorical, self.bins, 0)
        cells, lengths = np.empty(len(X.values), np.int32), np.empty(len(X), np.int64)
        numbers = np.empty(len(X.values), self.dtype)
        entries, bad = _bin_entries(
            X.values, X.indices, X.offsets, self._coarse, self._fine, firsts, self.bins, counts,
            cells, numbers, lengths,
        )  # fmt: skip
        return cells[:entries], numbers[:entries], lengths, int(bad)


@kernel
def _bin(x, f, coarse, fine, missing, categories):
    """The bin of a value that is not missing; -1: infinite, or a category that is none."""
    if categories:
        k = np.int64(x) if 0 <= x < categories else np.int64(-1)
        return k if k == x else np.int64(-1)
    if abs(x) > LAST:
        return np.int64(-1)
    wide = coarse.shape[1]
    k = np.int64(0)
    for j in range(0, wide, FINE):
        k += count_up_to(coarse, f * wide + j, x)
    if k == wide:
        return missing - 1
    return min(FINE * k + count_up_to(fine, (f * wide + k) * FINE, x), missing - 1)


@kernel
def _bin_entries(
    values, indices, offsets, coarse, fine, firsts, bins, categories, cells, numbers, lengths
):  # fmt: skip
    """Bin the entries of sparse rows; (how many were kept, the first bad row or -1).

    values, indices, offsets   (nnz,) float32, (nnz,) int32, (m + 1,) int64           in
    firsts                     (d,) int64, where features begin in a histogram        in
    cells, numbers, lengths    see `Bins.sparse`                                      out
    """
    kept, bad = np.int64(0), np.int64(-1)
    for i in range(len(lengths)):
        before = kept
        for at in range(offsets[i], offsets[i + 1]):
            x, f = values[at], np.int64(indices[at])
            if x != x:
                continue
            k = _bin(x, f, coarse, fine, bins[f], categories[f])
            if k < 0:
                bad = i if bad < 0 else bad
                k = np.int64(0)
            cells[kept], numbers[kept] = firsts[f] + k, k
            kept += 1
        lengths[i] = kept - before
    return kept, bad


@kernel
def _bin_rows(X, coarse, fine, bins, categories, first, columns):
    """Bin rows; the first with an infinite value or a category that is none, or -1.

    X              (m, d) float32                                                     in
    coarse, fine   (d, w), (d, 16 w) float32, ascending cuts, inf behind them; every
                   sixteenth one in coarse                                            in
    bins           (d,) int64                                                         in
    categories     (d,) int64, how many categories a feature has; 0: it has cuts      in
    first          int64, place of the first row
    columns        see `growth.Data`                                                  out
    """
    m, wide = len(X), coarse.shape[1]
    bad = np.int64(-1)
    nothing = (1 << (8 * columns.itemsize)) - 1
    for top in range(0, m, AT_ONCE):
        end = min(top + AT_ONCE, m)
        for f in range(X.shape[1]):
            column, last, counted = columns[f], bins[f] - 1, categories[f]
            for i in range(top, end):
                x = X[i, f]
                if x != x:
                    column[first + i] = nothing
                    continue
                # No function for this: numba counts references to its arrays for each value.
                if counted:
                    k = np.int64(x) if 0 <= x < counted else np.int64(-1)
                    fits = k >= 0 and k == x
                else:
                    k = np.int64(0)
                    for j in range(0, wide, FINE):
                        k += count_up_to(coarse, f * wide + j, x)
                    # Beyond all cuts: read the last ones again.
                    j = min(k, wide - 1)
                    k = min(FINE * k + count_up_to(fine, (f * wide + j) * FINE, x), last)
                    fits = abs(x) <= LAST
                if not fits:
                    bad = i if bad < 0 or i < bad else bad
                    k = np.int64(0)
                column[first + i] = k
    return bad
