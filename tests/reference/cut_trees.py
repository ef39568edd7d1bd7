"""Random cut trees, slowly: boxes anew from the points of every subtree, one row at a time.

Guha, Mishra, Roy, Schrijvers, "Robust Random Cut Forest Based Anomaly Detection On Streams", ICML
2016.
"""

from math import log, log2

import numpy as np


def split(plain):
    """Each tree of `CutTrees.plain` as (feature, cut, left, right, mass, points of leaves)."""
    names = ("feature", "cut", "left", "right", "mass", "point")
    bounds = zip(plain["offsets"][:-1], plain["offsets"][1:], strict=True)
    return [tuple(plain[name][a:b] for name in names) for a, b in bounds]


def below(tree, node):
    """Leaves of a subtree."""
    feature, _, left, right, _, _ = tree
    if feature[node] < 0:
        return [node]
    return below(tree, left[node]) + below(tree, right[node])


def box(tree, node, points):
    """Lower and upper sides of the points below."""
    inside = points[tree[5][below(tree, node)]]
    return inside.min(axis=0), inside.max(axis=0)


def path(tree, x):
    """Nodes from the root to the leaf that a row comes to."""
    feature, cut, left, right, _, _ = tree
    nodes = [0]
    while feature[nodes[-1]] >= 0:
        node = nodes[-1]
        nodes.append((left if x[feature[node]] <= cut[node] else right)[node])
    return nodes


def score_of_tree(tree, points, x, leaf):
    """Expected inverse depth, times log2(mass + 1)."""
    *above, last = path(tree, x)
    depth, m, total = len(above), int(tree[4][last]), int(tree[4][0])
    if (points[tree[5][last]] != x).any():
        s = 1 / (depth + 1)
    elif leaf == "library":
        s = (1 - m / (2 * total)) / (depth + log2(m + 1))
    else:
        s = 1 / (depth + log2(m)) if depth + m > 1 else 1 / (depth + log2(m + 1))
    for depth, node in reversed(list(enumerate(above))):
        low, high = (side.astype(np.float64) for side in box(tree, node, points))
        gap = np.maximum(low - x, 0).sum() + np.maximum(x - high, 0).sum()
        p = gap / ((high - low).sum() + gap)
        s = p / (depth + 1) + (1 - p) * s
    return s * log2(total + 1)


def scores(plain, X, leaf):
    """Mean over the trees; those that are empty say 0."""
    trees, points = split(plain), plain["points"]
    return np.array([
        sum(score_of_tree(t, points, x, leaf) for t in trees if len(t[0])) / len(trees) for x in X
    ])  # fmt: skip


def sample(rng, n, capacity, decay, weights=None, fraction=1.0):
    """Numbers of the rows that a tree holds after n, drawn directly: a key for every row."""
    held = []  # (key, row): the logarithm of E / (weight exp(decay row))
    for i in range(n):
        weight = 1.0 if weights is None else weights[i]
        if weight == 0:
            continue
        key = log(rng.exponential()) - log(weight) - decay * i
        filled = len(held) / capacity
        if filled < 1 and (
            filled < fraction or rng.random() < 1 - (filled - fraction) / (1 - fraction)
        ):
            held.append((key, i))
        elif held and key < max(held)[0]:
            held.remove(max(held))
            held.append((key, i))
    return [i for _, i in held]
