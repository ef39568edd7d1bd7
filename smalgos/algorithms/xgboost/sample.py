"""A sample of the rows, from which bins are cut, and the cuts themselves."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from smalgos.formats.block import Block, Csr

ROWS = 200_000  # of a sample: ranks are exact to about a quarter of a percent of a bin's width
CELLS = 1 << 25  # numbers of a dense one


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

    def columns(self) -> tuple[Any, NDArray[np.float32] | None]:
        """(the features by columns, the weights or None) of the sample.

        Features are ``f -> values (m,)``; of sparse rows those that are there, and ``f -> rows``.
        """
        if not self.whole:
            self._thin()
        blocks = [block for _, block in self.kept]
        whole = Block.join(blocks)
        weights = whole.weights if "weights" in whole else None
        if isinstance(whole.features, Csr):
            from scipy.sparse import csr_array

            x = whole.features
            base = x.offsets[0]
            table = csr_array(
                (x.values[base:], x.indices[base:], x.offsets - base), shape=x.shape
            ).tocsc()
            return table, weights
        return np.asfortranarray(whole.features), weights


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
    table, weights = sample.columns()
    sparse = not isinstance(table, np.ndarray)

    def one(f: int) -> NDArray[np.float32]:
        if categories[f]:
            return np.arange(1, categories[f] + 1, dtype=np.float32)
        if sparse:
            part = slice(table.indptr[f], table.indptr[f + 1])
            own = None if weights is None else weights[table.indices[part]]
            return sample.k.cuts_of(table.data[part], own, most)  # type: ignore[no-any-return]
        return sample.k.cuts_of(table[:, f], weights, most)  # type: ignore[no-any-return]

    found: list[NDArray[np.float32]] = sample.k.run(one, range(table.shape[1]))
    return found
