"""Trees as flat arrays: what training grows, prediction walks and model files hold."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from smalgos.errors import UserError
from smalgos.learning.state import Part

LEAF = -1
WORD = 32  # categories in a word of a category set


class Trees(Part):
    """The trees of a model, their nodes one behind another; a tree's first node is its root.

    A row goes left at a node if its value of `feature` is less than `threshold`, at a categorical
    one unless the category is in the node's set; where the value is missing (NaN), by
    `default_left`. A category that is negative or beyond the set goes left, as in XGBoost.
    """

    offsets: NDArray[np.int64]  # (trees + 1,) the first node of each tree
    group: NDArray[np.int32]  # (trees,) the output that a tree adds to
    weight: NDArray[np.float32]  # (trees,) what it counts; 1 but in dart
    left: NDArray[np.int32]  # (nodes,) child, counted from the tree's root; LEAF: none
    right: NDArray[np.int32]  # (nodes,)
    feature: NDArray[np.int32]  # (nodes,) 0 in leaves
    threshold: NDArray[np.float32]  # (nodes,) 0 in leaves and categorical nodes
    default_left: NDArray[np.uint8]  # (nodes,)
    value: NDArray[np.float32]  # (nodes,) of a leaf; of inner nodes as if leaves, without shrinkage
    gain: NDArray[np.float32]  # (nodes,) what the split gains; 0 in leaves
    cover: NDArray[np.float32]  # (nodes,) sum of hessians
    words: NDArray[np.int64]  # (nodes + 1,) where the category sets begin; empty: numerical
    sets: NDArray[np.uint32]  # (words[-1],) bit c % 32 of word c // 32: category c goes right

    FIELDS: ClassVar[dict[str, Any]] = {
        "offsets": np.int64, "group": np.int32, "weight": np.float32, "left": np.int32,
        "right": np.int32, "feature": np.int32, "threshold": np.float32, "default_left": np.uint8,
        "value": np.float32, "gain": np.float32, "cover": np.float32, "words": np.int64,
        "sets": np.uint32,
    }  # fmt: skip

    def __init__(self, **arrays: Any) -> None:
        """Take the arrays as they are; without any: no trees."""
        for name, dtype in self.FIELDS.items():
            if arrays:
                setattr(self, name, np.ascontiguousarray(arrays[name], dtype))
            else:
                setattr(self, name, np.zeros(int(name in ("offsets", "words")), dtype))

    def __len__(self) -> int:
        return len(self.group)

    def _compare(self, flat: Mapping[str, Any]) -> None:
        """Raise `UserError` unless these are such arrays, of any length.

        Whether they are trees is for `smalgos.algorithms.xgboost.checks.check_trees` to say.
        """
        for name in flat.keys() | self.FIELDS.keys():
            given: Any = flat.get(name)
            known = name in self.FIELDS and hasattr(given, "dtype")
            if not known or given.dtype != self.FIELDS[name] or given.ndim != 1:
                raise UserError(f"trees.{name} is missing or unknown, or not what it must be")

    @property
    def categorical(self) -> bool:
        """Whether any node has a category set."""
        return len(self.sets) > 0

    def upto(self, trees: int) -> "Trees":
        """The first so many trees."""
        nodes = int(self.offsets[trees])
        cut = {"offsets": trees + 1, "group": trees, "weight": trees, "words": nodes + 1}
        cut["sets"] = int(self.words[nodes])
        return Trees(**{name: getattr(self, name)[: cut.get(name, nodes)] for name in self.FIELDS})

    def since(self, trees: int) -> "Trees":
        """All but the first so many trees."""
        nodes = int(self.offsets[trees])
        word = int(self.words[nodes])
        cut = {"group": trees, "weight": trees, "sets": word}
        named = [name for name in self.FIELDS if name not in ("offsets", "words")]
        arrays = {name: getattr(self, name)[cut.get(name, nodes) :].copy() for name in named}
        return Trees(
            offsets=self.offsets[trees:] - nodes, words=self.words[nodes:] - word, **arrays
        )

    @staticmethod
    def join(parts: Sequence["Trees"]) -> "Trees":
        """One behind another."""
        if len(parts) == 1:
            return parts[0]
        joined = {
            name: np.concatenate([getattr(part, name) for part in parts])
            for name in Trees.FIELDS
            if name not in ("offsets", "words")
        }
        for name in ("offsets", "words"):
            ends = np.cumsum([0] + [getattr(part, name)[-1] for part in parts])
            moved = [getattr(part, name)[1:] + end for part, end in zip(parts, ends, strict=False)]
            joined[name] = np.concatenate([[0], *moved])
        return Trees(**joined)

    @staticmethod
    def grown(trees: Sequence[tuple[Any, NDArray[np.float32], int]]) -> "Trees":
        """Trees that were grown (`kernels.cpu.boosting.Tree`), what their leaves say, and for which
        output each is."""
        tree = type(trees[0][0]).together([tree for tree, _, _ in trees])
        values = np.concatenate([values for _, values, _ in trees])
        inner = tree.child >= 0
        words = np.zeros(len(values) + 1, np.int64)
        sets = []
        for node, categories in tree.right_sets.items():
            packed = np.zeros(int(categories.max(initial=0)) // WORD + 1, np.uint32)
            bits = np.uint32(1) << (categories % WORD).astype(np.uint32)
            np.bitwise_or.at(packed, categories // WORD, bits)
            words[node + 1] = len(packed)
            sets.append(packed)
        return Trees(
            offsets=np.cumsum([0] + [len(values) for _, values, _ in trees]),
            group=[output for _, _, output in trees], weight=np.ones(len(trees)),
            left=np.where(inner, tree.child, LEAF), right=np.where(inner, tree.child + 1, LEAF),
            feature=tree.feature, threshold=tree.threshold, default_left=tree.default_left,
            value=np.where(inner, tree.weight, values), gain=tree.gain, cover=tree.h,
            words=np.cumsum(words), sets=np.concatenate(sets) if sets else [],
        )  # fmt: skip
