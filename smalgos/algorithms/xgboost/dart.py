"""Trees that are left out while others are added.

Vinayak and Gilad-Bachrach, "DART: Dropouts meet Multiple Additive Regression Trees", AISTATS 2015.
Weights of trees change from round to round. So that margins do not depend on the way that weights
took, what trees say is added up as integers, multiples of 2^-40: the same after a resume.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

SCALE = 2.0**40


class Dart:
    """What the booster dart adds to a state.

    Parameters
    ----------
    state : BoostedTreesState
    """

    def __init__(self, state: Any) -> None:
        self.state = state
        self.splits: list[Any] = []
        self.sums: dict[str, NDArray[np.int64]] = {}

    def _sides(self) -> list[tuple[str, Any]]:
        sides = [("train", self.state._train), ("validation", self.state._validation)]
        return [(name, rows) for name, rows in sides if rows is not None]

    def ready(self) -> None:
        """Rows are binned: add up what the trees so far say."""
        state = self.state
        state._pack()
        trees, bins = state.trees, state._train.bins
        self.splits = [splits_of(trees, t, bins, state.k) for t in range(len(trees))]
        for name, rows in self._sides():
            self.sums[name] = np.zeros(rows.margin.shape, np.int64)
        for t in range(len(trees)):
            self._add(t, float(trees.weight[t]))
        self._settle()

    def _add(self, t: int, weight: float) -> None:
        """Add what a tree says, so many times."""
        trees, k = self.state.trees, self.state.k
        a, b = trees.offsets[t], trees.offsets[t + 1]
        values = np.rint(trees.value[a:b].astype(np.float64) * (weight * SCALE)).astype(np.int64)
        for name, rows in self._sides():
            leaf = np.empty(rows.n, np.uint32)
            k.walk(rows.binned, self.splits[t], leaf)
            self.sums[name][trees.group[t]] += values[leaf]

    def _settle(self) -> None:
        base = self.state.base.astype(np.float64)[:, None]
        for name, rows in self._sides():
            rows.margin[:] = base + self.sums[name] / SCALE

    def drop(self, round_: int) -> list[int]:
        """Choose the trees that are left out of margins, and leave them out."""
        state = self.state
        p = state.p
        state._pack()
        count = len(state.trees)
        draws = state.k.uniforms(state.spec.seed, "dart", round_, 0, count + 2)[:, 0]
        if not count or draws[0] < p.skip_drop:
            return []
        weights = state.trees.weight.astype(np.float64)
        rates = np.full(count, p.rate_drop)
        if p.sample_type == "weighted":
            rates = np.minimum(p.rate_drop * count * weights / weights.sum(), 1.0)
        dropped = np.flatnonzero(draws[2:] < rates).tolist()
        if p.one_drop and not dropped:
            shares = np.full(count, 1 / count)
            if p.sample_type == "weighted":
                shares = weights / weights.sum()
            dropped = [min(int(np.searchsorted(np.cumsum(shares), draws[1])), count - 1)]
        for t in dropped:
            self._add(t, -float(state.trees.weight[t]))
        self._settle()
        return dropped

    def add(self, added: list[Any], dropped: list[int]) -> None:
        """Take in the trees of a round, and weigh them and those that were left out."""
        state = self.state
        p, k = state.p, len(dropped)
        old, new = 1.0, 1.0
        if k:
            # A forest counts as one tree; see the paper, algorithm 1, with the learning rate in it.
            eta = p.eta / len(added)
            total = 1 + eta if p.normalize_type == "forest" else k + eta
            new = 1 / total
            old = (1 if p.normalize_type == "forest" else k) / total
        first = len(state.trees)
        state._pack()
        weights = state.trees.weight.copy()
        weights[first:] = new
        for t in dropped:
            weights[t] *= np.float32(old)
        state.trees.weight = weights
        self.splits += [tree.splits for tree, _, _ in added]
        for t in [*dropped, *range(first, len(state.trees))]:
            self._add(t, float(weights[t]))
        self._settle()


def with_thresholds(
    cuts: list[NDArray[np.float32]], categories: NDArray[np.int64], trees: Any
) -> list[NDArray[np.float32]]:
    """Cuts that have the thresholds of earlier trees among them, so that bins know their sides."""
    numeric = (trees.left >= 0) & (np.diff(trees.words) == 0)
    made = list(cuts)
    for f in np.unique(trees.feature[numeric]):
        if not categories[f]:
            own = trees.threshold[numeric & (trees.feature == f)]
            made[f] = np.union1d(cuts[f], own)
    return made


def splits_of(trees: Any, t: int, bins: Any, k: Any) -> Any:
    """A tree as bins see it."""
    part = slice(int(trees.offsets[t]), int(trees.offsets[t + 1]))
    child = trees.left[part].astype(np.int64)
    nodes = np.zeros((len(child), 4), np.int64)
    nodes[:, 0] = child
    nodes[:, 3] = trees.default_left[part]
    inner = np.flatnonzero(child >= 0)
    nodes[inner, 1] = trees.feature[part][inner]
    categorical = bool(bins.categorical.any())
    widest = int(bins.bins.max())
    sides = np.ones((len(child), widest + 1) if categorical else (1, 1), np.uint8)
    for node in inner.tolist():
        f = int(nodes[node, 1])
        if bins.categorical[f]:
            a, b = trees.words[part.start + node], trees.words[part.start + node + 1]
            words = np.ascontiguousarray(trees.sets[a:b])
            bits = np.unpackbits(words.view(np.uint8), bitorder="little")[: widest + 1]
            sides[node, : len(bits)] = 1 - bits
        else:
            x = trees.threshold[part][node]
            nodes[node, 2] = np.searchsorted(bins.cuts[f], x)
    return k.Splits(nodes, sides)
