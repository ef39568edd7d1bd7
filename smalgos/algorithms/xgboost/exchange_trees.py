"""Trees as XGBoost's model files list them, to and from flat arrays.

https://xgboost.readthedocs.io/en/stable/tutorials/saving_model.html. A tree is an object of arrays
of one entry per node; a leaf keeps its value as its split condition. The categories of a node that
go right are a slice of one list.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smalgos.algorithms.xgboost.trees import LEAF, WORD, Trees

NONE = 2**31 - 1  # the parent of a root
CATEGORIES = 1 << 24  # float32, in which categories come, counts no further
MOST_WORDS = 1 << 26  # of category sets: 256 MB

Ints = NDArray[np.int64]


class _Listed:
    """The arrays of all trees of a file, one behind another."""

    def __init__(self, trees: list[Any]) -> None:
        self.trees = trees
        for i, tree in enumerate(trees):
            if not isinstance(tree, dict):
                raise ValueError(f"tree {i} is no object")
            param = tree.get("tree_param")
            size = param.get("size_leaf_vector", "1") if isinstance(param, dict) else "1"
            if size not in ("0", "1"):
                raise ValueError(
                    f"tree {i} has leaves of several outputs (multi_strategy=multi_output_tree), "
                    "which is not supported: train with one_output_per_tree"
                )
        self.parts, self.sizes = self._read("left_children", "bi")

    def _read(self, key: str, kinds: str) -> tuple[list[NDArray[Any]], Ints]:
        parts = [_numbers(tree.get(key, []), kinds, key) for tree in self.trees]
        return parts, np.array([len(part) for part in parts], np.int64)

    def ints(self, key: str, low: int, high: int, *, optional: bool = False) -> Ints:
        """Integers of all nodes, from low to below high."""
        parts, sizes = self._read(key, "bi")
        if optional and not sizes.any():
            return np.zeros(self.sizes.sum(), np.int64)
        return _within(key, self._whole(key, parts, sizes), low, high)

    def floats(self, key: str) -> NDArray[np.float32]:
        """Numbers of all nodes; what is beyond float32 is infinite."""
        with np.errstate(over="ignore"):
            return self._whole(key, *self._read(key, "bif")).astype(np.float32)

    def _whole(self, key: str, parts: list[NDArray[Any]], sizes: Ints) -> NDArray[Any]:
        if (sizes != self.sizes).any():
            i = int(np.argmax(sizes != self.sizes))
            raise ValueError(
                f"tree {i}: {key} has {sizes[i]} entries and left_children {self.sizes[i]}"
            )
        return np.concatenate(parts)

    def pooled(self, key: str, high: int) -> tuple[Ints, Ints]:
        """(integers from 0, how many each tree has), where trees may have any number of them."""
        parts, sizes = self._read(key, "bi")
        return _within(key, np.concatenate(parts), 0, high), sizes


def _numbers(value: Any, kinds: str, key: str) -> NDArray[Any]:
    """An array of numbers of NumPy's `kinds`, of a list or another array."""
    # Types first: texts of unequal length would make an array of the longest.
    if isinstance(value, list) and set(map(type, value)) <= {bool, int, float}:
        value = np.array(value)
    if not isinstance(value, np.ndarray) or value.ndim != 1:
        raise ValueError(f"{key} is not a list of numbers")
    if not len(value):
        return np.empty(0, np.int8)
    if value.dtype.kind not in kinds and value.dtype != np.uint8:
        raise ValueError(f"{key} holds numbers of another kind, or too large")
    return value


def _within(key: str, values: NDArray[Any], low: int, high: int) -> Ints:
    if len(values) and not (low <= values.min() and values.max() < high):
        raise ValueError(f"{key} holds numbers that are not from {low} to {high - 1}")
    return values.astype(np.int64)


def decode_trees(trees: list[Any], group: Any, weight: Any) -> Trees:
    """The trees that a file lists.

    What pruning left without a use is dropped, and nodes are numbered anew where a child comes
    before its parent.

    Parameters
    ----------
    trees : list of dict
        Values that JSON or UBJSON held.
    group, weight : array-like, shape (trees,)

    Raises
    ------
    ValueError
        They make no trees.
    """
    if not trees:
        return Trees()
    listed = _Listed(trees)
    if not listed.sizes.all():
        raise ValueError(f"tree {int(np.argmin(listed.sizes))} has no nodes")
    offsets = np.concatenate(([0], np.cumsum(listed.sizes)))
    size, start = (np.repeat(a, listed.sizes) for a in (listed.sizes, offsets[:-1]))
    left = listed.ints("left_children", LEAF, NONE)
    right = listed.ints("right_children", LEAF, NONE)
    inner = left != LEAF
    right[~inner] = LEAF
    if (np.maximum(left, right) >= size).any() or (right[inner] == LEAF).any():
        raise ValueError("a node has a child that is not in its tree")
    condition, given = listed.floats("split_conditions"), listed.floats("base_weights")
    feature = listed.ints("split_indices", 0, NONE + 1)
    words, node, category = _categories(listed, offsets, inner)
    numerical = inner & (words == 0)
    arrays: dict[str, Any] = {
        "feature": np.where(inner, feature, 0),
        "threshold": np.where(numerical, condition, 0),
        "default_left": np.where(inner, listed.ints("default_left", 0, 2), 0),
        "value": np.where(inner, given, condition),
        "gain": np.where(inner, listed.floats("loss_changes"), 0),
        "cover": listed.floats("sum_hessian"),
    }
    order, offsets = _order(left, right, start, offsets)
    new = np.full(len(left), -1)  # number of a node within its tree, once it is moved
    new[order] = np.arange(len(order)) - np.repeat(offsets[:-1], np.diff(offsets))
    for name, child in (("left", left), ("right", right)):
        arrays[name] = np.where(inner, new[np.where(inner, start + child, 0)], LEAF)
    arrays = {name: array[order] for name, array in arrays.items()}
    ends = np.concatenate(([0], np.cumsum(words[order])))
    first = np.zeros(len(left), np.int64)
    first[order] = ends[:-1]
    sets = np.zeros(ends[-1], np.uint32)
    kept = new[node] >= 0
    node, category = node[kept], category[kept]
    bit = np.uint32(1) << (category % WORD).astype(np.uint32)
    np.bitwise_or.at(sets, first[node] + category // WORD, bit)
    return Trees(offsets=offsets, group=group, weight=weight, words=ends, sets=sets, **arrays)


def _categories(
    listed: _Listed, offsets: Ints, inner: NDArray[np.bool_]
) -> tuple[Ints, Ints, Ints]:
    """(words of each node's set, and of each category: its node, itself); nodes of all trees."""
    categorical = listed.ints("split_type", 0, 2, optional=True)
    categorical[~inner] = 0
    words = np.zeros(len(inner), np.int64)
    nodes, counts = listed.pooled("categories_nodes", NONE)
    category, lengths = listed.pooled("categories", CATEGORIES)
    segments, more = listed.pooled("categories_segments", len(category) + 1)
    sizes, still_more = listed.pooled("categories_sizes", len(category) + 1)
    tree = np.repeat(np.arange(len(counts)), counts)
    if (counts != more).any() or (counts != still_more).any():
        raise ValueError("the arrays of categories of a tree do not fit each other")
    if (nodes >= listed.sizes[tree]).any():
        raise ValueError("categories_nodes: a node that is not in its tree")
    nodes = nodes + offsets[tree]
    ends = np.cumsum(sizes)
    starts = np.cumsum(lengths)[tree] - lengths[tree] + segments
    if (starts != ends - sizes).any() or sizes.sum() != len(category):
        raise ValueError("categories_segments: sets are not one behind another")
    times = np.bincount(nodes, minlength=len(inner))
    if (times[categorical == 1] != 1).any() or (times[inner] > categorical[inner]).any():
        raise ValueError("categories_nodes: not the nodes that split by a category")
    filled = sizes > 0
    most = np.zeros(len(nodes), np.int64)
    if filled.any():
        most[filled] = np.maximum.reduceat(category, starts[filled])
    words[nodes] = most // WORD + 1
    words[~inner] = 0
    if words.sum() > MOST_WORDS:
        raise ValueError(f"sets of categories of {words.sum()} words: at most {MOST_WORDS} fit")
    return words, np.repeat(nodes, sizes), category


def _order(left: Ints, right: Ints, start: Ints, offsets: Ints) -> tuple[Ints, Ints]:
    """(the nodes that are kept, in their new order; offsets of trees then).

    As they are, if in each tree every node but the first is the child of one node before it.
    """
    inner = left != LEAF
    children = [(start + child)[inner] for child in (left, right)]
    parent = np.flatnonzero(inner)
    times = np.bincount(np.concatenate(children), minlength=len(left))
    times[offsets[:-1]] += 1
    bad = times != 1
    for child in children:
        bad[child[child <= parent]] = True
    if not bad.any():
        return np.arange(len(left)), offsets
    spoilt = np.maximum.reduceat(bad, offsets[:-1])
    kept = [
        first + _reached(left[first:end], right[first:end], i) if odd else np.arange(first, end)
        for i, (first, end, odd) in enumerate(zip(offsets[:-1], offsets[1:], spoilt, strict=True))
    ]
    return np.concatenate(kept), np.concatenate(([0], np.cumsum([len(part) for part in kept])))


def _reached(left: Ints, right: Ints, tree: int) -> Ints:
    """The nodes below the root: in the order of their numbers, or else parents first."""
    lefts, rights = left.tolist(), right.tolist()
    seen, found, waiting, ascending = [False] * len(lefts), [], [0], True
    while waiting:
        node = waiting.pop()
        if seen[node]:
            raise ValueError(f"tree {tree}: node {node} is reached in two ways")
        seen[node] = True
        found.append(node)
        if lefts[node] != LEAF:
            ascending = ascending and min(lefts[node], rights[node]) > node
            waiting += (rights[node], lefts[node])
    return np.array(sorted(found) if ascending else found)


def encode_trees(
    trees: Trees, width: int, spelled: Callable[[NDArray[np.float32]], NDArray[Any]]
) -> list[dict[str, Any]]:
    """As a file lists them.

    Parameters
    ----------
    trees : Trees
    width : int
        Number of features.
    spelled : callable
        What floats become, given those of all trees at once.
    """
    inner = trees.left != LEAF
    sizes, lengths = np.diff(trees.offsets), np.diff(trees.words)
    start = np.repeat(trees.offsets[:-1], sizes)
    parent = np.full(len(inner), NONE, np.int32)
    for child in (trees.left, trees.right):
        parent[(start + child)[inner]] = (np.arange(len(inner)) - start)[inner]
    value = spelled(trees.value)
    of_nodes = {
        "base_weights": value,
        "default_left": trees.default_left,
        "left_children": trees.left,
        "loss_changes": spelled(trees.gain),
        "parents": parent,
        "right_children": trees.right,
        "split_conditions": np.where(inner, spelled(trees.threshold), value),
        "split_indices": trees.feature,
        "split_type": (lengths > 0).astype(np.uint8),
        "sum_hessian": spelled(trees.cover),
    }
    listed = []
    for i in range(len(trees)):
        first, end = int(trees.offsets[i]), int(trees.offsets[i + 1])
        tree: dict[str, Any] = {name: array[first:end] for name, array in of_nodes.items()}
        tree |= _categories_of(trees, first, end)
        tree["id"] = i
        tree["tree_param"] = {
            "num_deleted": "0",
            "num_feature": str(width),
            "num_nodes": str(end - first),
            "size_leaf_vector": "1",
        }
        listed.append(tree)
    return listed


def _categories_of(trees: Trees, first: int, end: int) -> dict[str, NDArray[Any]]:
    """The category sets of the nodes of one tree."""
    words = trees.words[first : end + 1]
    lengths = np.diff(words)
    nodes = np.flatnonzero(lengths)
    sets = trees.sets[words[0] : words[-1]].astype("<u4")
    bits = np.flatnonzero(np.unpackbits(sets.view(np.uint8), bitorder="little"))
    node = np.repeat(np.arange(end - first), lengths)[bits // WORD]
    category = bits - WORD * (words[node] - words[0])
    sizes = np.bincount(node, minlength=end - first)[nodes]
    return {
        "categories": category.astype(np.int32),
        "categories_nodes": nodes.astype(np.int32),
        "categories_segments": np.cumsum(sizes) - sizes,
        "categories_sizes": sizes,
    }
