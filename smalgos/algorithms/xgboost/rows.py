"""Rows that are held while boosting: their bins, labels and margins."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from smalgos.errors import RowError, UserError
from smalgos.formats.block import Block, Csr

DENSE = 0.2  # share of entries from which sparse rows are held as dense ones


class Rows:
    """The rows of a channel, as boosting holds them: about 25 bytes a row beside the bins.

    Parameters
    ----------
    k : namespace
        Kernels.
    bins : Bins
    n : int
    outputs : int
    sparse : bool
        Whether their bins are held sparsely.
    """

    def __init__(self, k: Any, bins: Any, n: int, outputs: int, *, sparse: bool) -> None:
        self.k, self.bins, self.n = k, bins, n
        self.binned = k.Binned(bins, n, sparse=sparse)
        self.margin = np.empty((outputs, n), np.float32)
        self.labels: Any = None
        self.weights: Any = None
        self.groups: Any = None

    def add(self, block: Block) -> slice:
        """Take in rows; where they are."""
        features = block.features
        if isinstance(features, Csr) and not self.binned.sparse:
            features = features.toarray(missing=True)
        place = slice(self.binned.filled, self.binned.filled + len(block))
        bad = self.binned.add(features)
        if bad >= 0:
            raise RowError(block.start + bad, self._fault(block.features[bad : bad + 1]))
        for name in ("labels", "weights", "groups"):
            if name in block:
                column = block[name]
                if getattr(self, name) is None:
                    setattr(self, name, np.empty((self.n, *column.shape[1:]), column.dtype))
                getattr(self, name)[place] = column
        return place

    def _fault(self, row: Any) -> str:
        values = row.toarray(missing=True)[0] if isinstance(row, Csr) else row[0]
        if np.isinf(values).any():
            return (
                f"feature {int(np.argmax(np.isinf(values)))} is infinite: mend it, or leave it out"
            )
        for f in np.flatnonzero(self.bins.categorical).tolist():
            x, most = values[f], int(self.bins.bins[f])
            if not np.isnan(x) and not (0 <= x < most and x % 1 == 0):
                return (
                    f"feature {f} is {x:g}: a category must be a whole number from 0 to "
                    f"{most - 1}, the greatest one of the training rows"
                )
        raise AssertionError("a row was refused that nothing is wrong with")

    def done(self) -> None:
        """All rows were added."""
        self.binned.done()


def constraint_bits(groups: Any, width: int) -> NDArray[np.int64]:
    """For each feature the interaction constraints that it is in, one bit each; all where none is.

    Parameters
    ----------
    groups : list of list of int, or None
    width : int

    Raises
    ------
    UserError
    """
    bits = np.full(width, -1, np.int64)
    if not groups:
        return bits
    if len(groups) > 62:
        raise UserError(f"interaction_constraints: {len(groups)} groups, and 62 can be used")
    bits[:] = 0
    for i, group in enumerate(groups):
        for f in group:
            if not 0 <= f < width:
                raise UserError(
                    f"interaction_constraints: feature {f} is not from 0 to {width - 1}"
                )
            bits[f] |= 1 << i
    return bits


def signs(given: Any, width: int) -> NDArray[np.int64]:
    """monotone_constraints (width,); what is not given is 0.

    Raises
    ------
    UserError
    """
    out = np.zeros(width, np.int64)
    if not given:
        return out
    if len(given) > width:
        raise UserError(f"monotone_constraints: {len(given)} for {width} features")
    out[: len(given)] = given
    return out
