"""Local search: where centres start, and Lloyd's iterations from there."""

from dataclasses import dataclass
from math import log
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smalgos.formats.block import Csr

# Starts often end in the same clusters, numbered otherwise, at losses that differ by rounding: the
# first of them is taken, be rows dense or sparse.
ALIKE = 1 + 1e-5


@dataclass(frozen=True)
class Solution:
    """Where Lloyd's iterations ended.

    Parameters
    ----------
    centres : ndarray of float32, shape (k, d)
    mass : ndarray of float64, shape (k,)
        Weight of the rows nearest to each.
    curve : ndarray of float64, shape (iterations,)
        The sum of squared distances after each assignment; the last is that of `centres`.
    """

    centres: NDArray[np.float32]
    mass: NDArray[np.float64]
    curve: NDArray[np.float64]

    @property
    def loss(self) -> float:
        """Sum of weighted squared distances."""
        return float(self.curve[-1])


def dense(features: Any) -> NDArray[np.float32]:
    """Rows as an array; for few of them."""
    return features.toarray() if isinstance(features, Csr) else np.asarray(features)


def distinct(features: Any, order: Any, most: int) -> NDArray[np.int64]:
    """The first `most` rows, in that order, that differ from those before."""
    found: list[int] = []
    known: set[bytes] = set()
    for i in order:
        if len(found) == most:
            break
        row = features[i : i + 1]
        if isinstance(row, Csr):
            row = row.tight()
            key = row.indices.tobytes() + row.values.tobytes()
        else:
            key = row.tobytes()
        if key not in known:
            known.add(key)
            found.append(int(i))
    return np.array(found, np.int64)


def by_chance(draws: NDArray[np.float64], weights: Any) -> NDArray[np.int64]:
    """Rows in random order, drawn in proportion to their weights without putting them back.

    After Efraimidis and Spirakis, "Weighted random sampling with a reservoir" (2006): the key of
    a row is exponential with its weight as rate. Rows without weight are left out.
    """
    keys = -np.log1p(-draws)
    if weights is None:
        return np.argsort(keys, kind="stable")
    rows = np.flatnonzero(weights > 0)
    return rows[np.argsort(keys[rows] / weights[rows], kind="stable")]


def seeds(
    k: Any, features: Any, weights: Any, count: int, method: str, key: tuple[int, str, int],
    *, greedy: bool,
) -> NDArray[np.int64]:  # fmt: skip
    """Numbers of rows to start from, all different, less than `count` where there are no more.

    Parameters
    ----------
    k : namespace
        Kernels.
    features : ndarray or Csr, (n, d)
    weights : ndarray of float32, shape (n,), or None
    count : int
    method : {"random", "kmeans++"}
        Arthur and Vassilvitskii, "k-means++: the advantages of careful seeding" (SODA 2007).
    key : (seed, purpose, number)
        Of random numbers.
    greedy : bool
        Of kmeans++: whether each centre is the best of some candidates.
    """
    seed, purpose, number = key
    if not count:
        return np.empty(0, np.int64)
    if method == "random":
        draws = k.uniforms(seed, purpose, number, 0, len(features))[:, 0]
        return distinct(features, by_chance(draws, weights), count)
    tried = 2 + int(log(count)) if greedy else 1  # as Arthur's own implementation has it
    draws = k.uniforms(seed, purpose, number, 0, count, tried)
    rows = k.seed_plus_plus(features, weights, count, draws, tried)
    return distinct(features, rows, count)


def start(k: Any, features: Any, weights: Any, count: int, p: Any, seed: int, trial: int) -> Any:
    """The centres (count, d) that Lloyd's iterations start from; where rows lack, some twice."""
    key = seed, "local", trial
    rows = seeds(k, features, weights, count, p.local_lloyd_init_method, key, greedy=True)
    return dense(features[np.resize(rows, count)])


def refine(k: Any, run: Any, features: Any, weights: Any) -> bool:
    """Move all centres to the means of their rows, and those without rows to ones that are far.

    Returns
    -------
    bool
        Whether any of them moved.
    """
    empty = np.flatnonzero(run.counts == 0)
    far: NDArray[np.int64] = np.empty(0, np.int64)
    if len(empty):
        distances = k.assign(features, k.Points(run.centres))[1]
        distances = distances if weights is None else np.where(weights > 0, distances, 0)
        order = np.argsort(-distances, kind="stable")[: np.count_nonzero(distances)]
        # A row twice would leave one of them without rows again.
        far = distinct(features, order, len(empty))
    moved = bool(run.update() > 0)
    if not len(far):
        return moved
    centres = run.centres.copy()
    centres[empty[: len(far)]] = dense(features[far])
    run.move(centres)
    return True


def over(curve: Any, tol: float) -> bool:
    """Whether the last iteration gained too little to go on."""
    return len(curve) > 1 and curve[-2] - curve[-1] <= tol * curve[-2]


def lloyd(k: Any, features: Any, weights: Any, centres: Any, p: Any) -> Solution:
    """Lloyd's iterations from some centres."""
    run, curve = k.Lloyd(features, weights, centres), []
    for iteration in range(p.local_lloyd_max_iter + 1):
        run.assign()
        curve.append(run.inertia)
        last = iteration == p.local_lloyd_max_iter or over(curve, p.local_lloyd_tol)
        if last or not refine(k, run, features, weights):
            break
    return Solution(np.array(run.centres), np.array(run.counts), np.array(curve))


def best(
    k: Any, points: NDArray[np.float32], mass: NDArray[np.float64], count: int, p: Any, seed: int
) -> tuple[Solution, NDArray[np.float64]]:
    """The best of some runs on weighted points, and the msd of each run.

    Parameters
    ----------
    points, mass : ndarray, shape (m, d), (m,)
        Where there are no more than `count` of them, they are the solution; some twice.
    count : int
        Clusters.
    p : KMeansParameters
    seed : int
    """
    trials = p.local_lloyd_num_trials
    if len(points) <= count:
        where = np.arange(count) % len(points)
        own = np.where(np.arange(count) < len(points), mass[where], 0)
        return Solution(points[where], own, np.zeros(1)), np.zeros(trials)
    weights = (mass / mass.max()).astype(np.float32)

    def trial(i: int) -> Solution:
        return lloyd(k, points, weights, start(k, points, weights, count, p, seed, i), p)

    found = k.run(trial, range(trials))
    msd = np.array([s.loss for s in found]) / weights.sum(dtype=np.float64)
    chosen = found[int(np.argmax(msd <= ALIKE * msd.min()))]
    return Solution(chosen.centres, chosen.mass * mass.max(), chosen.curve), msd
