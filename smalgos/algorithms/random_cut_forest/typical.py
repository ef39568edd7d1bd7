"""A few points that stand for many: weighted points merged to clusters that are apart.

After the summariser of AWS's open library random-cut-forest-by-aws: each point starts as a
centre; the lightest joins its nearest, or the two that overlap most join, until no more than are
wanted are left and none overlap. Points belong to all centres that are hardly farther than the
nearest; a centre is the median of what belongs to it.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

HARDLY = 1.25  # times the distance to the nearest centre, within which a point belongs to another
OVERLAP = 0.8  # share of the distance of two centres that their radii make up
REASSIGN = 2  # times as many centres as are wanted: from there on all points are assigned anew
ALMOST = 1.2  # times as many, too: from there on what is merged says how far apart is too near


@dataclass(frozen=True)
class Typical:
    """Points that stand for others, the weightiest first.

    Parameters
    ----------
    points : ndarray of float32, shape (m, d)
    weights : ndarray of float64, shape (m,)
        Shares of what they stand for; they add up to one.
    radii : ndarray of float64, shape (m,)
        Mean distance to it.
    """

    points: NDArray[np.float32]
    weights: NDArray[np.float64]
    radii: NDArray[np.float64]


def grouped(
    points: NDArray[np.float32], distances: NDArray[np.float64]
) -> tuple[NDArray[np.float32], NDArray[np.float64], NDArray[np.float64]]:
    """Points that differ, ascending by distance; their distances and how often they occur."""
    rows = np.column_stack([distances, points])
    different, counts = np.unique(rows, axis=0, return_counts=True)
    return different[:, 1:].astype(np.float32), different[:, 0], counts.astype(np.float64)


def near(distances: NDArray[np.float64], weights: NDArray[np.float64], centrality: float) -> int:
    """How many points, ascending by distance, are near enough to say something.

    Those up to half of the weight; with a smaller centrality more, up to all.
    """
    if centrality == 0:
        return len(distances)
    others = weights[distances > 0].sum()
    limit, running = centrality * distances[0] + 1e-6, np.cumsum(weights[1:])
    for share in (3, 2):
        reached = np.flatnonzero(running >= others / share)
        if len(reached) and others > 0:
            limit = centrality * distances[1 + reached[0]]
    limit += (1 - centrality) * distances[-1]
    return max(1, int(np.searchsorted(distances, limit, side="right")))


def representatives(
    points: NDArray[np.float32], weights: NDArray[np.float64], most: int
) -> Typical:
    """At most so many points that stand for weighted ones.

    Parameters
    ----------
    points : ndarray of float32, shape (n, d)
    weights : ndarray of float64, shape (n,)
    most : int
    """
    clusters = _Clusters(points.astype(np.float64), weights)
    apart = widest = 0.0
    going = len(clusters.centres) > most
    while going:
        count = len(clusters.centres)
        first, second, distance, overlap = clusters.next_pair(apart)
        going = count > most or distance == 0 or overlap > OVERLAP
        if not going or count == 1:
            break
        clusters.merge(first, second, distance)
        if count <= REASSIGN * most + 1:
            clusters.assign()
        if count < ALMOST * most + 1:
            widest = max(widest, distance)
            if count > most >= len(clusters.centres):
                apart = widest
    order = np.argsort(-clusters.weights, kind="stable")
    return Typical(
        clusters.centres[order].astype(np.float32),
        clusters.weights[order] / weights.sum(),
        clusters.radii[order],
    )


class _Clusters:
    """Centres (m, d), their weights (m,) and mean distances (m,) to what belongs to them."""

    def __init__(self, points: NDArray[np.float64], weights: NDArray[np.float64]) -> None:
        self.points, self.given = points, weights
        self.centres, self.weights, self.radii = points.copy(), weights.copy(), 0 * weights
        self._sort()

    def _sort(self) -> None:
        order = np.argsort(self.weights, kind="stable")
        order = order[self.weights[order] > 0]
        self.centres, self.weights, self.radii = (
            part[order] for part in (self.centres, self.weights, self.radii)
        )

    def next_pair(self, apart: float) -> tuple[int, int, float, float]:
        """Two centres to join: the one, the other, their distance and how much they overlap."""
        between = lengths(self.centres, self.centres)
        upper = np.triu(np.ones(between.shape, np.bool_), 1)
        nearest = 1 + int(np.argmin(between[0, 1:])) if len(between) > 1 else 0
        reach = self.radii[:, None] + self.radii + apart
        with np.errstate(divide="ignore", invalid="ignore"):
            overlap = np.where(upper, np.where(between > 0, reach / between, np.inf), -1.0)
        one, other = np.unravel_index(int(np.argmax(overlap)), overlap.shape)
        pair = (int(one), int(other)) if overlap[one, other] > OVERLAP else (0, nearest)
        return *pair, float(between[pair]), float(overlap[pair])

    def merge(self, first: int, second: int, distance: float) -> None:
        """Let the second absorb the first, nearer to the heavier of the two."""
        light, heavy = self.weights[first], self.weights[second]
        share = 1 / (1 + np.exp(-2 * (heavy - light) / (heavy + light)))
        spread = self.radii[second] * heavy + (heavy * (1 - share) + light * share) * distance
        self.centres[second] = share * self.centres[second] + (1 - share) * self.centres[first]
        self.weights[second] = heavy + light
        self.radii[second] = spread / (heavy + light)
        kept = np.arange(len(self.weights)) != first
        self.centres, self.weights, self.radii = (
            part[kept] for part in (self.centres, self.weights, self.radii)
        )
        self._sort()

    def assign(self) -> None:
        """Assign all points anew, and move the centres to their medians."""
        far = lengths(self.points, self.centres)
        least = far.min(axis=1, keepdims=True)
        first = np.arange(far.shape[1]) == far.argmin(axis=1)[:, None]
        with np.errstate(divide="ignore", invalid="ignore"):
            shares = np.where(least > 0, np.where(far <= HARDLY * least, least / far, 0), first)
        shares *= (self.given / shares.sum(axis=1))[:, None]
        self.weights = shares.sum(axis=0)
        for i in np.flatnonzero(self.weights > 0):
            self.centres[i] = _median(self.points, shares[:, i])
        spread = (shares * lengths(self.points, self.centres)).sum(axis=0)
        self.radii = spread / np.where(self.weights > 0, self.weights, 1)
        self._sort()


def lengths(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Euclidean distances of all pairs, (len(a), len(b))."""
    return np.asarray(np.sqrt(((a[:, None] - b) ** 2).sum(axis=2)))


def _median(points: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Coordinate by coordinate the first value up to which lies half of the weight."""
    order = np.argsort(points, axis=0, kind="stable")
    running = np.cumsum(weights[order], axis=0)
    at = np.argmax(running >= 0.5 * running[-1] * (1 - 1e-12), axis=0)
    return np.asarray(np.take_along_axis(points, order, 0)[at, np.arange(points.shape[1])])
