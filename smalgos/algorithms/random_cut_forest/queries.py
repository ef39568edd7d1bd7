"""What a forest can be asked beside the score; batch and streaming models share it.

A forest is a `CutTrees` of the kernels. Rows are points of the forest: with shingles, whole ones.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from smalgos.algorithms.random_cut_forest.imputation import (
    Completions,
    Forecast,
    Imputation,
    completions,
    extrapolate,
    impute,
    typical,
)
from smalgos.algorithms.random_cut_forest.points import holding, kernels, points_of
from smalgos.errors import UserError

__all__ = [
    "Attribution",
    "Completions",
    "Density",
    "Forecast",
    "Imputation",
    "Neighbourhood",
    "Neighbours",
    "attribution",
    "codisplacements",
    "completions",
    "density",
    "dynamic_attribution",
    "dynamic_scores",
    "extrapolate",
    "impute",
    "neighbours",
    "scores",
    "typical",
]

TEMPERED = 0.001  # keeps the density of points that lie on each other finite

Function = Callable[[Any, Any], Any]


# -- scores and their parts


class Attribution(NamedTuple):
    """An amount of each row in parts, by feature and direction.

    high   (n, d) float64, because a feature is great
    low    (n, d) float64, because it is small
    """

    high: NDArray[np.float64]
    low: NDArray[np.float64]

    @property
    def by_feature(self) -> NDArray[np.float64]:
        """Both directions together, (n, d)."""
        return self.high + self.low

    @property
    def total(self) -> NDArray[np.float64]:
        """The amount, (n,)."""
        return np.asarray(self.by_feature.sum(axis=1))


def attribution(trees: Any, X: Any, leaf: str, ignore_leaf_mass: int = 0) -> Attribution:
    """Parts of the score.

    Parameters
    ----------
    trees : CutTrees
    X : array or Csr, shape (n, d)
    leaf : {"container", "library"}
        See `CutTrees.scores`.
    ignore_leaf_mass : int
        See `scores`.

    Returns
    -------
    Attribution
        Adds up to the score.
    """
    k, points = kernels(), points_of(trees, X)
    if ignore_leaf_mass:
        parts = k.worth_attribution(trees, points, k.worth_of(leaf, _mass(ignore_leaf_mass)))
        return Attribution(parts[:, 0], parts[:, 1])
    return Attribution(*k.attribution(trees, points, leaf))


def scores(
    trees: Any, X: Any, leaf: str, *, ignore_leaf_mass: int = 0, precision: float = 0.0
) -> NDArray[np.float64]:
    """Scores, other than those of `CutTrees.scores`.

    Parameters
    ----------
    trees : CutTrees
    X : array or Csr, shape (n, d)
    leaf : {"container", "library"}
        See `CutTrees.scores`.
    ignore_leaf_mass : int
        A leaf that equals the row, of a mass up to this, does not count as equal, and boxes are
        those without the leaf that a row comes to: the score as if the row had never been in the
        forest. 0: no leaf is ignored.
    precision : float
        If above the inverse of the number of trees, trees are looked at in order only until
        1 / precision of them score the row clearly above the mean of those up to them. 0.1 is
        usual.

    Returns
    -------
    ndarray of float64, shape (n,)
    """
    k, points = kernels(), points_of(trees, X)
    worth = k.worth_of(leaf, _mass(ignore_leaf_mass))
    found: NDArray[np.float64] = k.worth_scores(trees, points, worth, _precision(precision))[0]
    return found


def dynamic_scores(
    trees: Any, X: Any, seen: Function, unseen: Function, damp: Function,
    *, ignore_leaf_mass: int = 0, precision: float = 0.0, high: bool = True,
) -> NDArray[np.float64]:  # fmt: skip
    """Scores by functions of the caller, mean over the trees, not scaled.

    Parameters
    ----------
    trees : CutTrees
    X : array or Csr, shape (n, d)
    seen : callable
        Of (depth, mass), arrays of float64: worth of a leaf that equals the row.
    unseen : callable
        Of (depth, mass): worth of cutting the row off above a node of that mass.
    damp : callable
        Of (mass of the leaf, mass of the tree): factor of `seen`.
    ignore_leaf_mass, precision : int, float
        See `scores`.
    high : bool
        Whether it is high scores that must not be missed when fewer trees are looked at.

    Returns
    -------
    ndarray of float64, shape (n,)
    """
    k, points = kernels(), points_of(trees, X)
    worth = k.worth_by(trees, seen, unseen, damp, _mass(ignore_leaf_mass))
    found = k.worth_scores(trees, points, worth, _precision(precision), high)
    return np.asarray(found[0], np.float64)


def dynamic_attribution(
    trees: Any, X: Any, seen: Function, unseen: Function, damp: Function,
    *, ignore_leaf_mass: int = 0,
) -> Attribution:  # fmt: skip
    """Parts of `dynamic_scores`."""
    k, points = kernels(), points_of(trees, X)
    worth = k.worth_by(trees, seen, unseen, damp, _mass(ignore_leaf_mass))
    parts = k.worth_attribution(trees, points, worth)
    return Attribution(parts[:, 0], parts[:, 1])


def _mass(given: int) -> int:
    if given < 0:
        raise UserError(f"ignore_leaf_mass={given}: give 0, or the largest mass that is ignored")
    return int(given)


def _precision(given: float) -> float:
    if not 0 <= given <= 1:
        raise UserError(f"precision={given}: give a number from 0 (all trees) to 1")
    return float(given)


def codisplacements(trees: Any, X: Any) -> NDArray[np.float64]:
    """Collusive displacement (Guha et al. 2016), mean over the trees.

    By how much the sum of the depths of all points falls for each point of a group that goes, at
    most, over the groups (subtrees) with the row. Of a row that is in a tree it is that of its
    leaf; of another, the mean over all places where inserting it might put it.

    Parameters
    ----------
    trees : CutTrees
    X : array or Csr, shape (n, d)

    Returns
    -------
    ndarray of float64, shape (n,)
    """
    found: NDArray[np.float64] = kernels().codisplacements(trees, points_of(trees, X))
    return found


# -- density and neighbours


@dataclass(frozen=True)
class Density:
    """What density near rows is worked out from, means over the trees.

    Parameters
    ----------
    measure : ndarray of float64, shape (n, 2, d)
        Points beyond a cut that isolates the row; high, low.
    mass : ndarray of float64, shape (n, 2, d)
        Probability of such cuts.
    distance : ndarray of float64, shape (n, 2, d)
        How far the points reach there, times the probability.
    sample_size : float
        Points of a tree.
    """

    measure: NDArray[np.float64]
    mass: NDArray[np.float64]
    distance: NDArray[np.float64]
    sample_size: float

    def density(
        self, tempered: float = TEMPERED, manifold: int | None = None
    ) -> NDArray[np.float64]:
        """Share of the points in a unit of volume near each row, (n,).

        Parameters
        ----------
        tempered : float
            Its inverse is the largest density.
        manifold : int, optional
            Dimensions that the data really fill; all if it is not given.
        """
        power = self.mass.shape[2] if manifold is None else manifold
        points = self.measure.sum(axis=(1, 2)) / self.sample_size
        mass, distance = self.mass.sum(axis=1), self.distance.sum(axis=1)
        far = np.divide(distance, mass, out=np.zeros_like(mass), where=mass > 0)
        with np.errstate(over="ignore"):  # an infinite volume holds nothing
            volume = tempered * points + (mass * far**power).sum(axis=1)
        share: NDArray[np.float64] = np.zeros_like(points)
        np.divide(points, volume, out=share, where=points > 0)
        return share

    def directional(self, tempered: float = TEMPERED, manifold: int | None = None) -> Attribution:
        """The density in parts: in which direction the points are."""
        whole = self.measure.sum(axis=(1, 2))
        factor = np.zeros_like(whole)
        np.divide(self.density(tempered, manifold), whole, out=factor, where=whole > 0)
        parts = self.measure * factor[:, None, None]
        return Attribution(parts[:, 0], parts[:, 1])

    @property
    def distances(self) -> Attribution:
        """How far the points are from each row, in parts: the total is a score of its own."""
        return Attribution(self.distance[:, 0], self.distance[:, 1])


def density(trees: Any, X: Any) -> Density:
    """How many points are near rows.

    Parameters
    ----------
    trees : CutTrees
    X : array or Csr, shape (n, d)

    Raises
    ------
    UserError
        When the forest is empty.
    """
    points, there = points_of(trees, X), holding(trees)
    measure, mass, distance = kernels().densities(trees, points)
    return Density(measure, mass, distance, float(trees.mass[trees.roots[there]].mean()))


class Neighbourhood(NamedTuple):
    """Points near one row, the nearest first.

    points      (m, d) float32
    distances   (m,) float64, Euclidean
    counts      (m,) int64, trees that answered with the point
    """

    points: NDArray[np.float32]
    distances: NDArray[np.float64]
    counts: NDArray[np.int64]


@dataclass(frozen=True)
class Neighbours:
    """Points near rows: `[row]`, and iteration, give a `Neighbourhood`.

    Parameters
    ----------
    offsets : ndarray of int64, shape (n + 1,)
        Where in the other arrays each row's begin.
    points, distances, counts : ndarray
        Those of `Neighbourhood`, of all rows.
    """

    offsets: NDArray[np.int64]
    points: NDArray[np.float32]
    distances: NDArray[np.float64]
    counts: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, row: int) -> Neighbourhood:
        row = range(len(self))[row]
        part = slice(self.offsets[row], self.offsets[row + 1])
        return Neighbourhood(self.points[part], self.distances[part], self.counts[part])

    def __iter__(self) -> Iterator[Neighbourhood]:
        return (self[row] for row in range(len(self)))


def neighbours(trees: Any, X: Any, within: float = np.inf) -> Neighbours:
    """Points of the leaves that rows come to, equal ones together.

    Parameters
    ----------
    trees : CutTrees
    X : array or Csr, shape (n, d)
    within : float
        Only points whose Euclidean distance is smaller.
    """
    if not within > 0:
        raise UserError(f"within={within}: give a distance above 0")
    return Neighbours(*kernels().neighbours(trees, points_of(trees, X), within))
