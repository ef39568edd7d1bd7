"""A sample of the rows, from which bins are cut, and the cuts themselves."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from smalgos.formats.block import Block, Csr

ROWS = 200_000  # of a sample: ranks are exact to about a quarter of a percent of a bin's width
CELLS = 1 << 25  # numbers of a dense one
AT_ONCE = 16  # features of a task: those of a line of cache


class Sample:
    """The rows with the smallest keys, in the order in which they came.

    A row's key is a random number that belongs to its place: so the sample is the same however the
    rows are cut into blocks, and that of parts together is that of the whole.

    Parameters
    ----------
    k : namespace
        Kernels.
    seed : int
    rows : int or None
        How many there will be, when known.
    width : int
    """

    def __init__(self, k: Any, seed: int, rows: int | None, width: int) -> None:
        self.k, self.seed = k, seed
        self.most = max(min(ROWS, CELLS // max(width, 1)), 1000)
        self.whole = rows is not None and rows <= self.most  # all rows are wanted
        self.kept: list[tuple[NDArray[np.float64], Block]] = []
        self.limit = 1.0  # keys from here on are not among the smallest
        self.held = 0

    def add(self, block: Block) -> None:
        """Take in rows."""
        if self.whole:
            self.kept.append((np.zeros(0), block))
            return
        keys = self.k.uniforms(self.seed, "sample", 0, block.start, len(block))[:, 0]
        wanted = np.flatnonzero(keys < self.limit)
        if len(wanted):
            self.kept.append((keys[wanted], _picked(block, wanted)))
            self.held += len(wanted)
        if self.held > 2 * self.most:
            self._thin()

    def _thin(self) -> None:
        if self.held <= self.most:
            return
        keys = np.concatenate([keys for keys, _ in self.kept])
        self.limit = float(np.partition(keys, self.most)[self.most])
        kept = []
        for keys, block in self.kept:
            wanted = np.flatnonzero(keys < self.limit)
            if len(wanted):
                kept.append((keys[wanted], _picked(block, wanted)))
        self.kept, self.held = kept, sum(len(keys) for keys, _ in kept)

    def weights(self) -> NDArray[np.float32] | None:
        """The weights of the sample, if there are any."""
        parts = [block.weights for _, block in self.kept]
        return None if parts[0] is None else np.concatenate(parts)

    def columns(self, first: int, last: int) -> NDArray[np.float32]:
        """Some features of dense rows, by columns: the rest of the rows is not copied."""
        parts = [block.features[:, first:last].T for _, block in self.kept]
        return np.ascontiguousarray(np.concatenate(parts, axis=1))

    def table(self) -> Any:
        """Sparse rows by columns, as SciPy has them."""
        from scipy.sparse import csr_array

        x = Block.join([block for _, block in self.kept]).features.tight()
        return csr_array((x.values, x.indices, x.offsets), shape=x.shape).tocsc()

    @property
    def sparse(self) -> bool:
        """Whether rows are sparse."""
        return isinstance(self.kept[0][1].features, Csr)


def _picked(block: Block, rows: NDArray[np.intp]) -> Block:
    columns = {"features": block.features[rows]}
    if "weights" in block:
        columns["weights"] = block.weights[rows]
    return Block(columns, block.start)


def cuts(sample: Sample, most: int, categories: NDArray[np.int64]) -> list[NDArray[np.float32]]:
    """Upper ends of the bins of each feature.

    Parameters
    ----------
    sample : Sample
    most : int
        Bins of a feature at most.
    categories : ndarray of int64, shape (d,)
        How many categories a feature has; 0: it has numbers.
    """
    if not sample.whole:
        sample._thin()
    d, weights = len(categories), sample.weights()
    table: Any = sample.table() if sample.sparse else None

    def some(first: int) -> list[NDArray[np.float32]]:
        last = min(first + AT_ONCE, d)
        dense = None if table is not None else sample.columns(first, last)
        found: list[NDArray[np.float32]] = []
        for f in range(first, last):
            if categories[f]:
                found.append(np.arange(1, categories[f] + 1, dtype=np.float32))
            elif dense is not None:
                found.append(sample.k.cuts_of(dense[f - first], weights, most))
            else:
                part = slice(table.indptr[f], table.indptr[f + 1])
                own = None if weights is None else weights[table.indices[part]]
                found.append(sample.k.cuts_of(table.data[part], own, most))
        return found

    return [c for part in sample.k.run(some, range(0, d, AT_ONCE)) for c in part]
