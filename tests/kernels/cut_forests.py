"""Forests of random cut trees that several tests ask."""

import json
from functools import cache
from pathlib import Path

import numpy as np

from smalgos.kernels.cpu import random_cut_forest as kernels
from tests.reference import cut_queries as twin

GOLDEN = Path(__file__).parent / "golden" / "cut_queries.json"


def grown(seed, trees=3, capacity=9, width=3, grid=4):
    """A forest over a small grid, so that there are equal points, and rows of which some are held.

    The smaller the grid, the more are equal; 1: all are. Gives the forest, its trees as the twin
    has them, and the rows.
    """
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, capacity + 1, trees)
    sizes[0] = capacity
    points = (rng.integers(0, grid, (sizes.sum(), width)) / 4).astype(np.float32)
    others = rng.integers(-2, grid + 2, (6, width)) / 4
    rows = np.concatenate([points[:4], others]).astype(np.float32)
    forest = kernels.CutTrees.grow(points, sizes, seed)
    return forest, twin.trees_of(forest.plain()), rows


@cache
def golden():
    """Trees of AWS's open library, its answers by name, and the rows that it was asked for.

    `golden/CutQueries.java` wrote them.
    """
    read = json.loads(GOLDEN.read_text())
    left, right = [], []

    def place(tree, i, first):
        if tree[i][0] < 0:
            return i + 1
        left[first + i] = i + 1
        right[first + i] = place(tree, i + 1, first)
        return place(tree, right[first + i], first)

    for tree in read["trees"]:
        first = len(left)
        left += [-1] * len(tree)
        right += [-1] * len(tree)
        assert place(tree, 0, first) == len(tree)
    feature, cut, mass, points = zip(
        *(node for tree in read["trees"] for node in tree), strict=True
    )
    is_leaf = np.array(feature) < 0
    forest = kernels.CutTrees.of(
        {
            "offsets": np.cumsum([0, *map(len, read["trees"])]),
            "feature": np.array(feature, np.int32),
            "cut": np.array(cut, np.float32),
            "left": np.array(left, np.int32),
            "right": np.array(right, np.int32),
            "mass": np.array(mass, np.int32),
            "point": np.where(is_leaf, np.cumsum(is_leaf) - 1, -1).astype(np.int32),
            "points": np.array([point for point in points if point is not None], np.float32),
        }
    )
    names = [name for name in read["queries"][0] if name != "neighbours"]
    said = {name: np.array([row[name] for row in read["queries"]]) for name in names}
    said["neighbours"] = [row["neighbours"] for row in read["queries"]]
    return forest, said, said["x"].astype(np.float32)
