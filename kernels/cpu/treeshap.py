"""Contributions of features to the answers of trees: exact, path-dependent SHAP values.

Lundberg et al., "From local explanations to global understanding with explainable AI for trees"
(Nature Machine Intelligence 2020), define the game: a row follows its own way at nodes of known
features, and goes both ways in proportion to cover at the others. Let the path to a leaf of value v
ask for features j = 1..m, let o_j be 1 if the row meets all that the path asks of j, else 0, and
z_j the share of cover that does. The leaf is then worth v * prod(o_j known) * prod(z_j unknown),
and since s! (m - 1 - s)! / m! is the integral of t**s (1 - t)**(m - 1 - s) over [0, 1],

    phi_j = v (o_j - z_j) * integral of prod over i != j of (z_i + (o_i - z_i) t) dt.

The integrand is a polynomial of degree m - 1, so Gauss-Legendre quadrature with m / 2 points is
exact, and all of its terms are positive, so it is stable at any depth. At one point t, a product
over the path grows by one factor at each edge, and the sum of all leaves under an edge is needed
but once: the work is nodes * points, as in Linear TreeSHAP (Yu et al., NeurIPS 2022), which
interpolates instead.

Sixteen rows are taken through all of a tree together; a factor has one of two values in each.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from smalgos._jit import COMPILED, kernel
from smalgos.kernels.cpu.forest_nodes import (
    CATEGORICAL,
    MISSING_RIGHT,
    Levels,
    Nodes,
    bit_of,
    is_right,
    place,
)
from smalgos.kernels.cpu.shared import Lent, chunks, run
from smalgos.kernels.cpu.vector import DOUBLES, LANES, load, select, splat, store, vectors

TASK = 16 * LANES  # rows

if COMPILED:
    from numba import types
    from numba.extending import intrinsic

    from smalgos.kernels.cpu.vector import everywhere

    @intrinsic
    def double(typingctx: Any, x: Any) -> Any:
        """One float64 in all lanes."""

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            return everywhere(builder, args[0])

        return DOUBLES(types.float64), codegen

else:

    def double(x: float) -> Any:
        return np.full(LANES, x)


class Shares(NamedTuple):
    """What explanations need besides `Nodes`; nodes are in the same order.

    share     (N,) float64, of the parent's cover
    mean      (N,) float64, weight * value of the leaves under a node, averaged by cover
    points    (Q,) float64, of the quadrature over [0, 1]
    weights   (Q,) float64
    """

    share: NDArray[np.float64]
    mean: NDArray[np.float64]
    points: NDArray[np.float64]
    weights: NDArray[np.float64]


class Path(NamedTuple):
    """The nodes from below the root (1) to here; entry 0 stands for no edge. L levels.

    node       (L,) uint64
    feature    (L,) int64, of the node above
    earlier    (L,) int64, the last level before that asks for the same feature, or 0
    zero       (L,) float64, share of cover that meets all that is asked of the feature up to here
    gain       (L, Q) float64, one over the factor of a row that meets it
    right      (L, 16) float32, 1 where a row goes right at the node above
    one        (L, 16) float32, 1 where a row meets all that is asked of the feature up to here
    product    (L, Q, 16) float64, of all factors
    below      (L, Q, 16) float64, products times values, of the leaves under the node
    x          (d, 16) float32, the rows
    phi        (d, 16) float64, what is asked for
    pair       (d, d, 16) float64, or (0, 0, 16); of a pair, the larger feature is first
    """

    node: NDArray[np.uint64]
    feature: NDArray[np.int64]
    earlier: NDArray[np.int64]
    zero: NDArray[np.float64]
    gain: NDArray[np.float64]
    right: NDArray[np.float32]
    one: NDArray[np.float32]
    product: NDArray[np.float64]
    below: NDArray[np.float64]
    x: NDArray[np.float32]
    phi: NDArray[np.float64]
    pair: NDArray[np.float64]


def shares(trees: Any, at: Levels) -> Shares:
    """Shares of cover, means and the points of the quadrature.

    Parameters
    ----------
    trees : Trees
    at : Levels
        Their levels.
    """
    order, _ = place(at)
    share = np.ones(len(order))
    mean = (trees.weight[at.tree] * trees.value).astype(np.float64)
    cover = trees.cover.astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        for parents, children in zip(at.inner, at.children, strict=True):
            part = cover[children] / cover[parents, None]
            # Where nothing came by, nothing is known: no way has a share.
            share[children] = np.where(cover[parents, None] > 0, part, 0)
    for parents, children in zip(reversed(at.inner), reversed(at.children), strict=True):
        mean[parents] = (share[children] * mean[children]).sum(axis=1)
    features = len(np.unique(trees.feature[trees.left >= 0]))
    # A path has at most as many features as levels, and as there are.
    points = max(1, -(-min(len(at.inner) - 1, features) // 2))
    x, w = np.polynomial.legendre.leggauss(points)
    return Shares(share[order], mean[order], (x + 1) / 2, w / 2)


def _path(nodes: Nodes, shares: Shares, width: int, pairs: bool) -> Path:
    """Scratch for rows of a width."""
    length, points = int(nodes.depths.max(initial=0)) + 1, len(shares.points)
    lines = np.zeros((2, length), np.int64)
    flags = np.ones((2, length, LANES), np.float32)
    sums = np.ones((2, length, points, LANES))
    return Path(
        np.zeros(length, np.uint64), *lines, np.ones(length), np.ones((length, points)), *flags,
        *sums, np.zeros((width, LANES), np.float32), np.zeros((width, LANES)),
        np.zeros((width * pairs, width * pairs, LANES)),
    )  # fmt: skip


@vectors(DOUBLES)
def pick(v, mask, a, b):
    """a where the mask holds, else b; float64 lanes."""
    return v.select(mask, a, b)


@kernel(fastmath=False)
def _asked_later(a, level, earlier):
    """Whether the path to a level asks for the feature of level a once more."""
    asked = False
    for b in range(a + 1, level + 1):
        asked |= earlier[b] == a
    return asked


@kernel(fastmath=False)
def _part(
    level, value, points, weights, feature, earlier, zero, gain, one, product, work, phi, pair
):
    """Part a leaf's worth among the features of its path and their pairs.

    work   (1, Q, 16) float64, scratch; the others as in Path
    """
    Q, d = len(points), pair.shape[0]
    for a in range(1, level + 1):
        if _asked_later(a, level, earlier):
            continue
        f, met = feature[a], load(one, a * LANES) > splat(0.0)
        total = load(phi, f * LANES)
        for q in range(Q):
            slope = pick(met, double((1 - zero[a]) * gain[a, q]), double(-1 / (1 - points[q])))
            worth = double(weights[q] * value) * load(product, (level * Q + q) * LANES) * slope
            store(work, q * LANES, worth)
            total = total + worth
        store(phi, f * LANES, total)
        for b in range(1, a):
            if _asked_later(b, level, earlier):
                continue
            g, other = feature[b], load(one, b * LANES) > splat(0.0)
            at = (max(f, g) * d + min(f, g)) * LANES
            total = load(pair, at)
            for q in range(Q):
                hot, cold = (1 - zero[b]) * gain[b, q], -1 / (1 - points[q])
                slope = pick(other, double(hot), double(cold))
                total = total + load(work, q * LANES) * slope
            store(pair, at, total)


@kernel(fastmath=False)
def _explore(root, records, floats, sets, shares, path, pairs):
    """Go through all of a tree, adding to `phi` and `pair`.

    root                    int64, not a leaf
    records, floats, sets   of Nodes
    shares, path            Shares, Path
    pairs                   bool
    """
    share, _, points, weights = shares
    node, feature, earlier, zero, gain, right, one, product, below, x, phi, pair = path
    Q, no, yes = len(points), splat(0.0), splat(1.0)
    level = np.int64(1)
    node[0], node[1] = root, records[np.uint64(root), 2]
    while level > 0:
        # Down the edge to node[level].
        i, parent, above = node[level], node[level - 1], level - 1
        word, left = records[parent, 1], np.uint64(records[parent, 2])
        f = np.int64(word >> np.uint32(2))
        side = load(right, level * LANES)
        if i == left:  # the right child comes later and finds the answers
            if (word & np.uint32(CATEGORICAL)) != 0:
                for r in range(LANES):
                    bit = bit_of(x[f, r], records[parent, 0], records[parent, 3])
                    if bit >= 0:
                        right[level, r] = (np.int64(sets[bit >> 5]) >> (bit & 31)) & 1
                    else:
                        right[level, r] = is_right(x[f, r], np.float32(np.nan), word)
                side = load(right, level * LANES)
            else:
                given = load(x, f * LANES)
                side = select(given < splat(floats[parent, 0]), no, yes)
                missing = splat(np.float32(word & np.uint32(MISSING_RIGHT)))
                side = select(given == given, side, missing)
                store(right, level * LANES, side)
        e = above
        while e > 0 and feature[e] != f:
            e -= 1
        z = zero[e] * share[i]
        feature[level], earlier[level], zero[level] = f, e, z
        asked = load(one, e * LANES)
        before = asked > no
        asked = select(side == splat(np.float32(i != left)), asked, no)
        store(one, level * LANES, asked)
        now = asked > no
        child, value = np.uint64(records[i, 2]), 0.0
        if child == i:
            value = np.float64(floats[i, 3])
        for q in range(Q):
            hot = z + (1 - z) * points[q]
            gain[level, q] = 1 / hot
            cold = pick(before, double(z * (1 - points[q]) * gain[e, q]), double(share[i]))
            grown = load(product, (above * Q + q) * LANES) * pick(
                now, double(hot * gain[e, q]), cold
            )
            store(product, (level * Q + q) * LANES, grown)
            store(below, (level * Q + q) * LANES, double(value) * grown)
        if child != i:
            level += 1
            node[level] = child
            continue
        if pairs:
            _part(
                level, value, points, weights, feature, earlier, zero, gain, one, product,
                below, phi, pair,
            )  # fmt: skip
        # Up the edges below which all is done: what is there is the feature's.
        while level > 0:
            if not pairs:
                f, e, above = feature[level], earlier[level], level - 1
                now, before = load(one, level * LANES) > no, load(one, e * LANES) > no
                total = load(phi, f * LANES)
                for q in range(Q):
                    worth = load(below, (level * Q + q) * LANES)
                    up = (above * Q + q) * LANES
                    store(below, up, load(below, up) + worth)
                    cold = double(-1 / (1 - points[q]))
                    slope = pick(now, double((1 - zero[level]) * gain[level, q]), cold)
                    if e > 0:  # where the path asked before, what that gave is taken back
                        slope = slope - pick(before, double((1 - zero[e]) * gain[e, q]), cold)
                    total = total + double(weights[q]) * worth * slope
                store(phi, f * LANES, total)
            if node[level] == np.uint64(records[node[level - 1], 2]):
                node[level] += np.uint64(1)  # from the left child to the right one
                break
            level -= 1


@kernel(fastmath=False)
def _explain(X, out, begin, end, nodes, shares, path, pairs):
    """SHAP values of rows, or of pairs of features.

    X        (n, d) float32                                                          in
    out      (n, outputs, d + 1) float32, or (n, outputs, (d + 1) ** 2) for pairs    in, out
             the last is the bias, to which is added
    nodes    Nodes
    shares   Shares
    path     Path
    pairs    bool
    """
    n, d = X.shape
    records, floats, roots, depths, groups, sets, _ = nodes
    for first in range(0, n, LANES):
        count = min(LANES, n - first)
        for r in range(count):
            for j in range(d):
                path.x[j, r] = X[first + r, j]
        for g in range(out.shape[1]):
            path.phi[:] = 0
            path.pair[:] = 0
            bias = 0.0
            for t in range(begin, end):
                if groups[t] == g:
                    bias += shares.mean[roots[t]]
                    if depths[t] > 0:
                        _explore(roots[t], records, floats, sets, shares, path, pairs)
            for f in range(path.pair.shape[0]):
                for h in range(f):
                    for r in range(count):
                        half = 0.5 * path.pair[f, h, r]  # each of the two gets one
                        path.phi[f, r] -= half
                        path.phi[h, r] -= half
                        out[first + r, g, f * (d + 1) + h] = half
                        out[first + r, g, h * (d + 1) + f] = half
            apart = d + 2 if pairs else 1  # entries of the diagonal
            for r in range(count):
                for f in range(d):
                    out[first + r, g, f * apart] = path.phi[f, r]
                out[first + r, g, d * apart] += bias


@kernel(fastmath=False)
def _steps(X, out, begin, end, nodes, shares, phi):
    """Steps of the mean on the way of each row.

    X        (n, d) float32                                  in
    out      (n, outputs, d + 1) float32, last: the bias     in, out
    nodes    Nodes
    shares   Shares
    phi      (outputs, d + 1) float64                        scratch
    """
    n, d = X.shape
    records, floats, roots, depths, groups, sets, _ = nodes
    mean = shares.mean
    for r in range(n):
        phi[:] = 0
        for t in range(begin, end):
            g, i = groups[t], np.uint64(roots[t])
            phi[g, d] += mean[i]
            for _ in range(depths[t]):
                word = records[i, 1]
                j = np.int64(word >> np.uint32(2))
                if (word & np.uint32(CATEGORICAL)) == 0:
                    right = is_right(X[r, j], floats[i, 0], word)
                else:
                    bit = bit_of(X[r, j], records[i, 0], records[i, 3])
                    right = is_right(X[r, j], np.float32(np.nan), word)
                    if bit >= 0:
                        right = (np.int64(sets[bit >> 5]) >> (bit & 31)) & 1 != 0
                to = np.uint64(records[i, 2]) + np.uint64(right)
                phi[g, j] += mean[to] - mean[i]
                i = to
        for g in range(out.shape[1]):
            for j in range(d):
                out[r, g, j] = phi[g, j]
            out[r, g, d] = out[r, g, d] + phi[g, d]


def _values(
    pairs: bool, X: NDArray[np.float32], base: NDArray[np.float32], begin: int, end: int,
    nodes: Nodes, shares: Shares,
) -> NDArray[np.float32]:  # fmt: skip
    n, width = X.shape
    out = np.zeros((n, base.shape[1], (width + 1) ** (1 + pairs)), np.float32)
    out[..., -1] = base
    scratch = Lent(lambda: _path(nodes, shares, width, pairs))

    def explain(rows: slice) -> None:
        path = scratch.get()
        _explain(X[rows], out[rows], begin, end, nodes, shares, path, pairs)
        scratch.put(path)

    run(explain, chunks(n, TASK))
    return out


def contributions(
    X: NDArray[np.float32], base: NDArray[np.float32], begin: int, end: int,
    nodes: Nodes, shares: Shares,
) -> NDArray[np.float32]:  # fmt: skip
    """SHAP values.

    Parameters
    ----------
    X : ndarray of float32, shape (n, width)
    base : ndarray of float32, shape (n, outputs)
    begin, end : int
        Trees that are explained.
    nodes : Nodes
    shares : Shares

    Returns
    -------
    ndarray of float32, shape (n, outputs, width + 1)
        The bias, which holds the base, is last.
    """
    return _values(False, X, base, begin, end, nodes, shares)


def interactions(
    X: NDArray[np.float32], base: NDArray[np.float32], begin: int, end: int,
    nodes: Nodes, shares: Shares,
) -> NDArray[np.float32]:  # fmt: skip
    """SHAP interaction values, shape (n, outputs, width + 1, width + 1); as `contributions`.

    A pair shares v (o_i - z_i) (o_j - z_j) times the integral over the other features.
    """
    out = _values(True, X, base, begin, end, nodes, shares)
    return out.reshape(*base.shape, X.shape[1] + 1, X.shape[1] + 1)


def steps(
    X: NDArray[np.float32], base: NDArray[np.float32], begin: int, end: int,
    nodes: Nodes, shares: Shares,
) -> NDArray[np.float32]:  # fmt: skip
    """Saabas's approximation; as `contributions`."""
    n, width = X.shape
    out = np.zeros((n, base.shape[1], width + 1), np.float32)
    out[..., width] = base

    def explain(rows: slice) -> None:
        phi = np.empty((base.shape[1], width + 1))
        _steps(X[rows], out[rows], begin, end, nodes, shares, phi)

    run(explain, chunks(n))
    return out
