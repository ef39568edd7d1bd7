"""What random cut trees are asked, slowly: trees of objects, boxes anew from the points below.

Guha, Mishra, Roy, Schrijvers, "Robust Random Cut Forest Based Anomaly Detection On Streams", ICML
2016, and the queries of AWS's open library random-cut-forest-by-aws.
"""

from itertools import groupby, pairwise
from math import log2

import numpy as np


class Node:
    """A leaf (`point`, held `mass` times), or a cut with two children."""

    def __init__(self, point=None, mass=1, feature=-1, cut=0.0, left=None, right=None):
        self.point, self.feature, self.cut, self.left, self.right = point, feature, cut, left, right
        self.mass = mass if left is None else left.mass + right.mass

    @property
    def is_leaf(self):
        return self.left is None

    def points(self):
        """All points below, each once, as float64."""
        if self.is_leaf:
            return [np.asarray(self.point, np.float64)]
        return self.left.points() + self.right.points()

    def leaves(self):
        return [self] if self.is_leaf else self.left.leaves() + self.right.leaves()

    def box(self):
        points = np.array(self.points())
        return points.min(axis=0), points.max(axis=0)


def trees_of(plain):
    """The trees of `CutTrees.plain()`."""

    def node(start, i):
        i = start + i
        if plain["feature"][i] < 0:
            return Node(plain["points"][plain["point"][i]], int(plain["mass"][i]))
        below = (node(start, int(plain[side][i])) for side in ("left", "right"))
        grown = Node(None, 0, int(plain["feature"][i]), plain["cut"][i], *below)
        assert grown.mass == plain["mass"][i]
        return grown

    offsets = plain["offsets"]
    return [node(a, 0) if b > a else None for a, b in pairwise(offsets)]


def path(tree, x):
    """Nodes from the root to the leaf that a row's cuts lead to, and the sibling of each but the
    root."""
    nodes, siblings = [tree], [None]
    while not nodes[-1].is_leaf:
        node = nodes[-1]
        left = x[node.feature] <= node.cut
        nodes.append(node.left if left else node.right)
        siblings.append(node.right if left else node.left)
    return nodes, siblings


def gaps(low, high, x):
    """By how much the sides of a box grow upwards and downwards when x is added, and the sum of
    the sides then."""
    up, down = np.maximum(x - high, 0), np.maximum(low - x, 0)
    return up, down, (high - low).sum() + up.sum() + down.sum()


class Terms:
    """What depths are worth: leaf is "container" or "library", or functions of the caller."""

    def __init__(self, leaf="library", seen=None, unseen=None, damp=None):
        self.normal = seen is None
        self.leaf = leaf
        self._seen, self._unseen, self._damp = seen, unseen, damp

    def unseen(self, depth, mass):
        return 1 / (depth + 1) if self.normal else self._unseen(depth, mass)

    def seen(self, depth, mass, tree_mass):
        if not self.normal:
            return self._damp(mass, tree_mass) * self._seen(depth, mass)
        if self.leaf == "library":
            return (1 - mass / (2 * tree_mass)) / (depth + log2(mass + 1))
        return 1 / (depth + log2(mass)) if depth or mass > 1 else 1 / (depth + log2(mass + 1))

    def scale(self, tree_mass):
        return log2(tree_mass + 1) if self.normal else 1.0


def steps(tree, x, shadow):
    """From the leaf's parent to the root: node, its depth, gaps up and down, sides, side lengths.

    With a shadow the box of a node is that of all below it but the leaf.
    """
    nodes, siblings = path(tree, x)
    for depth in reversed(range(len(nodes) - 1)):
        if shadow:
            points = np.concatenate([s.points() for s in siblings[depth + 1 :]])
            low, high = points.min(axis=0), points.max(axis=0)
        else:
            low, high = nodes[depth].box()
        yield nodes[depth], depth, *gaps(low, high, x), high - low


def tree_score(tree, x, terms, ignore=0):
    """Score of one tree, and what it was before it was scaled."""
    x = np.asarray(x, np.float64)
    nodes, _ = path(tree, x)
    leaf, depth = nodes[-1], len(nodes) - 1
    same = np.array_equal(np.asarray(leaf.point, np.float64), x)
    if same and leaf.mass > ignore:
        return terms.scale(tree.mass) * terms.seen(depth, leaf.mass, tree.mass)
    score = terms.unseen(depth, leaf.mass)
    for node, depth, up, down, total, _ in steps(tree, x, ignore > 0):
        p = (up.sum() + down.sum()) / total
        if p == 0 and ignore == 0:
            break
        score = p * terms.unseen(depth, node.mass) + (1 - p) * score
    return terms.scale(tree.mass) * score


def scores(trees, X, terms, ignore=0):
    return np.array([np.mean([tree_score(tree, x, terms, ignore) for tree in trees]) for x in X])


def approximate(trees, x, terms, precision=0.1, high=True, ignore=0):
    """Mean over trees, in order, until enough of them are witnesses that more change little."""
    enough = len(trees) if precision < 1 / len(trees) else int(1 / precision)
    values, witnesses = [], 0
    for tree in trees:
        values.append(tree_score(tree, x, terms, ignore))
        if len(values) >= min(5, len(trees)):
            sd = np.std(values, ddof=1) if len(values) > 1 else 0.0
            away = (values[-1] - np.mean(values)) * (1 if high else -1)
            witnesses += away + 1e-6 > 0.5 * sd
        if witnesses >= enough:
            break
    return np.mean(values), len(values)


def tree_attribution(tree, x, terms, ignore=0):
    """The score's parts above and below each coordinate: (high, low)."""
    x = np.asarray(x, np.float64)
    nodes, _ = path(tree, x)
    leaf, depth, d = nodes[-1], len(nodes) - 1, len(x)
    point = np.asarray(leaf.point, np.float64)
    up, down, total = gaps(point, point, x)
    same = total == 0
    shadow = same or ignore > 0
    if same or (ignore > 0 and leaf.mass <= ignore):
        high, low = np.full(d, 0.5 / d), np.full(d, 0.5 / d)  # of which sums are one
    else:
        high, low = up / total, down / total
    value = terms.unseen(depth, leaf.mass)
    if same and leaf.mass > ignore:
        value = terms.seen(depth, leaf.mass, tree.mass)
    high, low = high * value, low * value
    for node, depth, up, down, total, _ in steps(tree, x, shadow):
        p = (up.sum() + down.sum()) / total
        if p == 0:
            break
        high = up / total * terms.unseen(depth, node.mass) + (1 - p) * high
        low = down / total * terms.unseen(depth, node.mass) + (1 - p) * low
    score, whole = tree_score(tree, x, terms, ignore), high.sum() + low.sum()
    factor = score / whole if whole else 0.0
    return high * factor, low * factor


def attribution(trees, X, terms, ignore=0):
    every = np.array([[tree_attribution(t, x, terms, ignore) for t in trees] for x in X])
    mean = every.reshape(len(X), len(trees), 2, -1).mean(axis=1)
    return mean[:, 0], mean[:, 1]


def tree_density(tree, x):
    """measure, mass, distance: each (high, low) by coordinate."""
    x = np.asarray(x, np.float64)
    nodes, _ = path(tree, x)
    leaf, d = nodes[-1], len(x)
    point = np.asarray(leaf.point, np.float64)
    up, down, total = gaps(point, point, x)
    same = total == 0
    own = 1.0 + leaf.mass * same
    if same:
        share = np.full((2, d), 0.5 / d)
        measure, mass, distance = share * own, share, np.zeros((2, d))
    else:
        share = np.array([up, down]) / total
        measure, mass, distance = share * (leaf.mass + own), share, share * [up, down]
    for node, _, up, down, total, sides in steps(tree, x, same):
        p = (up.sum() + down.sum()) / total
        if p == 0:
            break
        share = np.array([up, down]) / total
        measure = share * (node.mass + own) + (1 - p) * measure
        mass = share + (1 - p) * mass
        distance = share * (np.array([up, down]) + sides) + (1 - p) * distance
    return np.array([measure, mass, distance])


def densities(trees, X):
    every = np.array([[tree_density(tree, x) for tree in trees] for x in X])
    return tuple(every.reshape(len(X), len(trees), 3, 2, -1).mean(axis=1).transpose(1, 0, 2, 3))


def density(measure, mass, distance, tree_mass, q=0.001, manifold=None):
    """Points in a unit of volume, of one row."""
    manifold = measure.shape[1] if manifold is None else manifold
    points, volume = measure.sum() / tree_mass, 0.0
    for p, far in zip(mass.sum(axis=0), distance.sum(axis=0), strict=True):
        volume += p * (far / p) ** manifold if p > 0 else 0.0
    return points / (q * points + volume) if points > 0 else 0.0


def depths(tree, depth=0):
    """Depth and mass of all leaves, by their points."""
    if tree.is_leaf:
        return {tuple(tree.point): (depth, tree.mass)}
    return depths(tree.left, depth + 1) | depths(tree.right, depth + 1)


def without(tree, points):
    """The tree after the deletion of leaves: their parents make room for their siblings."""
    if tree.is_leaf:
        return None if tuple(tree.point) in points else tree
    left, right = without(tree.left, points), without(tree.right, points)
    if left is None or right is None:
        return left or right
    return Node(None, 0, tree.feature, tree.cut, left, right)


def displacement(tree, x):
    """Collusive displacement of a point that a tree holds.

    The largest change of model complexity (sum of depths of all other points) for each of the
    points of a subtree with x that go.
    """
    nodes, _ = path(tree, x)
    assert tuple(nodes[-1].point) == tuple(x)
    before, most = depths(tree), 0.0
    for node in nodes[1:]:
        gone = {tuple(leaf.point) for leaf in node.leaves()}
        after = depths(without(tree, gone))
        change = sum(mass * (before[point][0] - depth) for point, (depth, mass) in after.items())
        most = max(most, change / node.mass)
    return most


def placed(tree, x):
    """All trees that inserting x may give, with their chances: cuts of each box with x."""
    x = np.asarray(x, np.float64)
    low, high = tree.box()
    up, down, total = gaps(low, high, x)
    if total == 0:  # held already
        yield Node(tree.point, tree.mass + 1), 1.0
        return
    left = float(down.sum() / total)
    for q in range(len(x)):
        # Where in the gap the cut falls does not matter to the shape of the tree.
        if down[q] > 0:
            yield Node(None, 0, q, (x[q] + low[q]) / 2, Node(x), tree), down[q] / total
        if up[q] > 0:
            yield Node(None, 0, q, (x[q] + high[q]) / 2, tree, Node(x)), up[q] / total
    left = 1 - float((up.sum() + down.sum()) / total)
    if left > 0 and not tree.is_leaf:
        goes_left = x[tree.feature] <= tree.cut
        for child, chance in placed(tree.left if goes_left else tree.right, x):
            pair = (child, tree.right) if goes_left else (tree.left, child)
            yield Node(None, 0, tree.feature, tree.cut, *pair), left * chance


def codisplacement(tree, x):
    """Of a point that is held: as it is held; of another: the mean over where it would be."""
    x = np.asarray(x, np.float64)
    nodes, _ = path(tree, x)
    if np.array_equal(np.asarray(nodes[-1].point, np.float64), x):
        return displacement(tree, x)
    return sum(chance * displacement(grown, x) for grown, chance in placed(tree, x))


def all_trees(points, masses, x):
    """Every random cut tree of a few distinct points, with its chance.

    Where in a gap between coordinates a cut falls does not matter, but for the side on which x is.
    """
    points = np.asarray(points, np.float64)
    if len(points) == 1:
        yield Node(points[0], masses[0]), 1.0
        return
    sides = points.max(axis=0) - points.min(axis=0)
    for q in range(points.shape[1]):
        inside = min(max(x[q], points[:, q].min()), points[:, q].max())
        edges = np.unique([*points[:, q], inside])
        for a, b in pairwise(edges):
            below, share = points[:, q] <= a, (b - a) / sides.sum()
            for left, chance in all_trees(points[below], masses[below], x):
                for right, other in all_trees(points[~below], masses[~below], x):
                    yield Node(None, 0, q, (a + b) / 2, left, right), share * chance * other


def neighbours(trees, x, within):
    """Points of the leaves that a row comes to: (distance, point, how often), nearest first."""
    found = []
    for tree in trees:
        point = path(tree, x)[0][-1].point
        distance = np.sqrt(((np.asarray(x, np.float64) - point) ** 2).sum())
        if distance < within:
            found.append((distance, tuple(point)))
    return [(*key, len(list(group))) for key, group in groupby(sorted(found))]


class Guess:
    """A completed row of one tree."""

    def __init__(self, point, distance, rank, chance):
        self.point, self.distance, self.rank, self.chance = point, distance, rank, chance

    def worth(self, centrality):
        return (1 - centrality) * self.chance + centrality * self.rank


def impute(tree, x, missing, centrality=1.0, chances=None, depth=0):
    """The best leaf's values for what is missing; `chances` gives a leaf's number in [0, 1)."""
    if tree.is_leaf:
        point = np.where(missing, tree.point, x).astype(np.float64)
        distance = np.abs(np.where(missing, 0.0, np.asarray(x, np.float64) - tree.point)).sum()
        rank = 1 / (depth + 1)
        if distance == 0:
            rank = 1 / (depth + log2(tree.mass + 1)) if depth else 0.0
        return Guess(point, distance, rank, chances(tree) if chances else 0.0)
    inner = [tree.left, tree.right]
    if not missing[tree.feature]:
        inner = inner[:1] if x[tree.feature] <= tree.cut else inner[1:]
    guesses = [impute(child, x, missing, centrality, chances, depth + 1) for child in inner]
    best = min(guesses, key=lambda guess: guess.worth(centrality))
    up, down, total = gaps(*tree.box(), best.point)
    p = (up.sum() + down.sum()) / total
    best.rank += p * (1 / (depth + 1) - best.rank)  # in just this order, since ranks may tie
    return best


def chances(key, x, missing):
    """The random number of each leaf, from a tree's key, what is known of the row, the point."""
    mask = (1 << 64) - 1

    def mixed(z, value):
        z = (z ^ int(np.float32(value).view(np.uint32))) * 0xBF58476D1CE4E5B9 & mask
        return z ^ (z >> 29)

    row = 0
    for value, gone in zip(x, missing, strict=True):
        row = mixed(row, np.nan if gone else value)

    def chance(leaf):
        z = row ^ int(key)
        for value in leaf.point:
            z = mixed(z, value)
        z = (z + 0x9E3779B97F4A7C15) & mask  # splitmix64
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & mask
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB & mask
        return (((z ^ (z >> 31)) >> 12) + 0.5) * 2.0**-52

    return chance
