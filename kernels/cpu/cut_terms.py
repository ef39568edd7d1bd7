"""What a tree's score is made of."""

from typing import Any

import numpy as np

from smalgos._jit import kernel
from smalgos.kernels.cpu.cut_boxes import gap
from smalgos.kernels.cpu.vector import vectors

LEAF = ("container", "library")
CONTAINER, LIBRARY = range(2)
MOST = 1e30  # of a sum of sides or gaps: what is formed of it must not leave float32


@kernel(fastmath=False)
def scale_of(mass):
    """What the inverse depth in a tree of a mass is multiplied by."""
    return np.log2(np.float64(mass) + 1.0)


@kernel(fastmath=False)
def held(m, mass, depth, term):
    """Score of a row that equals a leaf of mass m."""
    m, mass = np.float64(m), np.float64(mass)
    if term == CONTAINER:
        return 1.0 / (depth + np.log2(m)) if depth + m > 1.0 else 1.0 / np.log2(m + 1.0)
    return (1.0 - m / (2.0 * mass)) / (depth + np.log2(m + 1.0))


@kernel(fastmath=False)
def score_of_one(space, mass, root, inner, rows, x, width, term):
    """Score in a tree that is one leaf."""
    at = (inner + np.int64(root)) * width
    if gap(space, at, at, rows, x, width) > np.float32(0):
        return 1.0
    return held(mass[root], mass[root], 0.0, term)


@vectors()
def inverse(v: Any, depth: Any) -> Any:
    """Score of a row at a leaf that is another: 1 / (depth + 1)."""
    one = v.number(1.0)
    return one / (depth + one)


@vectors()
def raised(v: Any, score: Any, depth: Any, gap: Any, sides: Any) -> Any:
    """Score with the box above: p / depth + (1 - p) * score, where p = gap / (sides + gap)."""
    most = v.number(MOST)
    gap, sides = v.select(gap < most, gap, most), v.select(sides < most, sides, most)
    return (gap + depth * sides * score) / (depth * (sides + gap))


@vectors()
def one_less(v: Any, depth: Any) -> Any:
    """depth - 1"""
    return depth - v.number(1.0)
