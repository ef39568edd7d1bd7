"""Gaps of rows, filled in by a forest; and forecasts, whose gaps are what is to come."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smalgos.algorithms.random_cut_forest.points import gaps_of, holding, kernels, points_of
from smalgos.algorithms.random_cut_forest.typical import (
    Typical,
    grouped,
    near,
    representatives,
)
from smalgos.errors import UserError

ENTRIES = 1 << 22  # of completed rows that are held at a time
PERCENTILE = 0.9  # of the upper end of what was imputed; the lower end mirrors it
REPRESENTATIVES, PER_FEATURE = 5, 2  # at most, of what is typical


@dataclass(frozen=True)
class Completions:
    """Rows as each tree completes them.

    Parameters
    ----------
    points : ndarray of float32, shape (n, T, d)
    distances : ndarray of float64, shape (n, T)
        Of what was known of the row to the point that lent the rest: sum of absolute differences.
    ranks : ndarray of float64, shape (n, T)
        Expected inverse depth of the completed row: how unusual it is.
    """

    points: NDArray[np.float32]
    distances: NDArray[np.float64]
    ranks: NDArray[np.float64]


@dataclass(frozen=True)
class Imputation:
    """Completed rows, from what all trees say.

    Parameters
    ----------
    median : ndarray of float32, shape (n, d)
        Rows with their gaps filled by medians over the trees, feature by feature.
    mean, deviation : ndarray of float32, shape (n, d)
    lower, upper : ndarray of float32, shape (n, d)
        Quantiles.
    """

    median: NDArray[np.float32]
    mean: NDArray[np.float32]
    deviation: NDArray[np.float32]
    lower: NDArray[np.float32]
    upper: NDArray[np.float32]


def completions(
    trees: Any, X: Any, missing: Any = None, *, centrality: float = 1.0, seed: int = 0
) -> Completions:
    """Rows as each tree completes them; see `impute`."""
    points, gaps = gaps_of(trees, X, missing)
    found, distances, ranks = _leaves(trees, points, gaps, centrality, seed)
    filled = np.where(gaps[:, None], trees.points[found], points[:, None])
    return Completions(filled, distances, ranks)


def impute(
    trees: Any, X: Any, missing: Any = None,
    *, centrality: float = 1.0, seed: int = 0, percentile: float = PERCENTILE,
) -> Imputation:  # fmt: skip
    """Fill the gaps of rows.

    Parameters
    ----------
    trees : CutTrees
    X : array, shape (n, d)
    missing : array of bool, shape (n, d) or (d,), optional
        Where values are missing; where they are NaN if not given.
    centrality : float
        1: each tree completes a row to the most usual one; 0: to a random one that its cuts allow.
    seed : int
        Of what is random.
    percentile : float
        Of `upper`, above 0.5; `lower` is that of the rest.

    Raises
    ------
    UserError
        When the forest is empty, a known value is not finite, or a parameter out of range.
    """
    if not 0.5 < percentile < 1:
        raise UserError(f"percentile={percentile}: give a number above 0.5 and below 1")
    points, gaps = gaps_of(trees, X, missing)
    median, mean, lower, upper = (points.copy() for _ in range(4))
    deviation = np.zeros_like(points)
    answers = median, mean, deviation, lower, upper
    gappy, columns = np.flatnonzero(gaps.any(axis=1)), np.flatnonzero(gaps.any(axis=0))
    size = max(1, ENTRIES // max(1, trees.trees * len(columns)))
    for part in kernels().chunks(len(gappy), size):
        rows = gappy[part]
        found, _, _ = _leaves(trees, points[rows], gaps[rows], centrality, seed)
        values = trees.points[found[..., None], columns]  # (rows, trees, columns)
        there = np.ix_(rows, columns)
        for answer, said in zip(answers, _summary(values, percentile), strict=True):
            answer[there] = np.where(gaps[there], said, answer[there])
    return Imputation(*answers)


def _leaves(
    trees: Any, points: NDArray[np.float32], gaps: NDArray[np.bool_], centrality: float, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Of all trees that hold points: points that lend values, distances, ranks."""
    if not 0 <= centrality <= 1:
        raise UserError(f"centrality={centrality}: give a number from 0 to 1")
    there = holding(trees)
    found, distances, ranks = kernels().impute(trees, points, gaps, centrality, seed)
    return found[:, there], distances[:, there], ranks[:, there]


def _summary(values: NDArray[np.float32], percentile: float) -> Iterator[NDArray[np.float32]]:
    """Median, mean, deviation, lower and upper quantile over axis 1."""
    count, wide = values.shape[1], values.astype(np.float64)
    ordered, mean = np.sort(values, axis=1), wide.mean(axis=1)

    def quantile(share: float) -> NDArray[np.float32]:
        # The first value up to which lies that share of them.
        return np.asarray(ordered[:, max(0, ceil(count * share - 1e-9) - 1)])

    yield quantile(0.5)
    yield mean.astype(np.float32)
    yield wide.std(axis=1).astype(np.float32)
    yield quantile(1 - percentile)
    yield quantile(percentile)


def typical(
    trees: Any, X: Any, missing: Any = None, *, centrality: float = 1.0, seed: int = 0
) -> list[Typical]:
    """A few ways to fill the gaps of each row, where one would not do.

    Rows as the trees complete them, less those that lent their values from far away, are put
    together to as many representatives as are apart from each other, at most five.

    Parameters
    ----------
    trees, X, missing, centrality, seed
        See `impute`. With a smaller centrality, those from farther away count, too.
    """
    given = completions(trees, X, missing, centrality=centrality, seed=seed)
    most = min(REPRESENTATIVES, PER_FEATURE * trees.width)
    found = []
    for points, distances in zip(given.points, given.distances, strict=True):
        points, distances, weights = grouped(points, distances)
        kept = near(distances, weights, centrality)
        found.append(representatives(points[:kept], weights[:kept], most))
    return found


@dataclass(frozen=True)
class Forecast:
    """What comes after shingles.

    Parameters
    ----------
    values, lower, upper : ndarray of float32, shape (n, horizon, block)
        Medians and quantiles.
    """

    values: NDArray[np.float32]
    lower: NDArray[np.float32]
    upper: NDArray[np.float32]


def extrapolate(
    trees: Any, shingles: Any, horizon: int, block: int = 1,
    *, cyclic: bool = False, position: int = 0, centrality: float = 1.0, seed: int = 0,
    percentile: float = PERCENTILE,
) -> Forecast:  # fmt: skip
    """Continue series: impute the next block of each shingle, take its median for true, go on.

    Parameters
    ----------
    trees : CutTrees
    shingles : array, shape (n, d)
        Each the last d / block rows of a series.
    horizon : int
        How many rows to foretell.
    block : int
        Features of a row of the series.
    cyclic : bool
        Whether a new row of the series takes the place of the oldest one in the shingle, and the
        others stay; else the others move to make room at the end. Of cyclic shingles the forest
        knows two kinds that fit: those that hold the new row, and those that hold the oldest one
        still. It can tell what comes next only where rows a shingle apart are alike.
    position : int
        Which of the rows of a cyclic shingle is the next to be replaced.
    centrality, seed, percentile : float, int, float
        See `impute`.

    Raises
    ------
    UserError
        When there is nothing but the block in a shingle, or a parameter is out of range.
    """
    points = points_of(trees, shingles).copy()
    d = trees.width
    if not 0 < block < d or d % block:
        raise UserError(
            f"block={block}: shingles of {d} values need at least two blocks, and no rest"
        )
    if horizon < 1:
        raise UserError(f"horizon={horizon}: give at least 1")
    length = d // block
    if cyclic and not 0 <= position < length:
        raise UserError(f"position={position}: the shingle has the rows 0 to {length - 1}")
    said = []
    for step in range(horizon):
        at = (position + step) % length if cyclic else length - 1
        if not cyclic:
            points[:, :-block] = points[:, block:].copy()
        next_ones = slice(at * block, (at + 1) * block)
        missing = np.zeros(d, np.bool_)
        missing[next_ones] = True
        found = impute(
            trees, points, missing, centrality=centrality, seed=seed + step, percentile=percentile
        )
        points[:, next_ones] = found.median[:, next_ones]
        said.append([part[:, next_ones] for part in (found.median, found.lower, found.upper)])
    return Forecast(*(np.stack(parts, axis=1) for parts in zip(*said, strict=True)))
