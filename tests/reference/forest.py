"""Boosted trees one row and one node at a time, and Shapley values by their definition."""

from itertools import chain, combinations, pairwise
from math import factorial

import numpy as np


def goes_left(trees, i, x):
    """Whether a value goes left at node i."""
    if np.isnan(x):
        return bool(trees.default_left[i])
    words = trees.sets[trees.words[i] : trees.words[i + 1]]
    if len(words):
        inside = 0 <= x < 32 * len(words)
        return not (inside and int(words[int(x) // 32]) >> (int(x) % 32) & 1)
    return bool(x < trees.threshold[i])


def path(trees, t, row):
    """Nodes from the root of tree t to the leaf of a row, counted over all trees."""
    first = int(trees.offsets[t])
    nodes = [first]
    while trees.left[nodes[-1]] >= 0:
        i = nodes[-1]
        left = goes_left(trees, i, row[trees.feature[i]])
        nodes.append(first + int(trees.left[i] if left else trees.right[i]))
    return nodes


def leaves(trees, X, begin, end):
    """(n, end - begin), numbers within the trees."""
    found = [[path(trees, t, row)[-1] - trees.offsets[t] for t in range(begin, end)] for row in X]
    return np.array(found, np.int32).reshape(len(X), end - begin)


def margins(trees, X, base, begin, end, outputs):
    """(n, outputs), added in float32, tree after tree."""
    out = np.empty((len(X), outputs), np.float32)
    out[:] = base
    for row, sums in zip(X, out, strict=True):
        for t in range(begin, end):
            sums[trees.group[t]] += trees.weight[t] * trees.value[path(trees, t, row)[-1]]
    return out


def share(trees, child, parent):
    """Of the parent's cover."""
    total = float(trees.cover[parent])
    return float(trees.cover[child]) / total if total > 0 else 0.0


def expected(trees, t, row, known, i=None):
    """What tree t answers when only some features of the row are known."""
    first = int(trees.offsets[t])
    i = first if i is None else i
    if trees.left[i] < 0:
        return float(trees.weight[t] * trees.value[i])
    left, right = first + int(trees.left[i]), first + int(trees.right[i])
    if trees.feature[i] in known:
        to = left if goes_left(trees, i, row[trees.feature[i]]) else right
        return expected(trees, t, row, known, to)
    return sum(share(trees, c, i) * expected(trees, t, row, known, c) for c in (left, right))


def subsets(features):
    """All subsets of some features."""
    return chain.from_iterable(combinations(features, k) for k in range(len(features) + 1))


def contributions(trees, t, row, width):
    """Shapley values (width,) of one tree: Lundberg & Lee (2017), equation 4."""
    phi = np.zeros(width)
    for j in range(width):
        for known in subsets([k for k in range(width) if k != j]):
            weight = factorial(len(known)) * factorial(width - len(known) - 1) / factorial(width)
            with_j = expected(trees, t, row, {*known, j})
            phi[j] += weight * (with_j - expected(trees, t, row, set(known)))
    return phi


def interactions(trees, t, row, width):
    """SHAP interaction values (width, width): Lundberg et al. (2020), equations 3 to 5."""
    phi = np.zeros((width, width))
    for i in range(width):
        for j in range(i):
            for known in subsets([k for k in range(width) if k not in (i, j)]):
                s = len(known)
                weight = factorial(s) * factorial(width - s - 2) / (2 * factorial(width - 1))
                values = [expected(trees, t, row, {*known, *more}) for more in [(i, j), (i,), (j,)]]
                nothing = expected(trees, t, row, set(known))
                phi[i, j] += weight * (values[0] - values[1] - values[2] + nothing)
            phi[j, i] = phi[i, j]
    np.fill_diagonal(phi, contributions(trees, t, row, width) - phi.sum(axis=1))
    return phi


def steps(trees, t, row, width):
    """What each step of a row's way adds to the expected answer, by feature (width,)."""
    phi, way = np.zeros(width), path(trees, t, row)
    for here, there in pairwise(way):
        gain = expected(trees, t, row, (), there) - expected(trees, t, row, (), here)
        phi[trees.feature[here]] += gain
    return phi
