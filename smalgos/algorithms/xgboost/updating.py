"""process_type=update: look again at the trees of an earlier model, with other rows or penalties.

The updater refresh sums up the gradients of the rows at each node, and sets covers, gains and, with
refresh_leaf, what leaves say; prune takes splits away, from the leaves up, that gain less than
gamma. Trees are gone through in the order of rounds, one round at a time.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from smalgos.algorithms.xgboost.collecting import Collected, CollectingState
from smalgos.algorithms.xgboost.trees import LEAF, Trees
from smalgos.errors import UserError
from smalgos.formats.block import Block
from smalgos.learning.state import Spec

UPDATERS = ("refresh", "prune")


class Came(Collected):
    """The rows of a channel: the leaves of all trees that they come to."""

    def __init__(self, state: Any, channel: str) -> None:
        super().__init__(state, channel)
        self._found: list[tuple[Any, Any]] = []
        self._now = state._model(state.trees.upto(state.epoch * state.step), state.base)

    def take(self, block: Block) -> None:
        """See where rows come to, and what the trees that were looked at say of them."""
        state = self.state
        leaves = state.earlier.predict_leaf(block.features, (0, len(state.trees) // state.step))
        self._found.append((leaves, self._now.predict_margin(block.features)))

    def settle(self) -> None:
        """Put leaves and margins together."""
        leaves, margins = zip(*self._found, strict=True)
        self._found = []
        self.leaves = np.asfortranarray(np.concatenate(leaves))
        self.margin = np.ascontiguousarray(np.concatenate(margins).T)
        if self.channel == "train":
            self.state.rows = len(self.labels)


class UpdatingState(CollectingState):
    """Trees of an earlier model, those of the rounds so far looked at again."""

    collector = Came

    def begin(self, spec: Spec) -> None:
        """Take over the trees."""
        super().begin(spec)
        self.updaters = [name.strip() for name in (self.p.updater or "refresh").split(",")]
        for name in self.updaters:
            if name not in UPDATERS:
                raise UserError(f"updater={name}: to update, it must be refresh or prune")
        self.earlier: Any = spec.side.get("model")
        if self.earlier is None:
            raise UserError("process_type=update needs an earlier model: give one to go on from")
        self.budget = min(self.budget, len(self.trees) // self.step)

    @property
    def step(self) -> int:
        """Trees of a round."""
        return int(self.outputs * self.p.num_parallel_tree)

    def round(self, step: int) -> None:
        """Look at the trees of a round again."""
        rows, first = self.sides["train"], self.epoch * self.step
        self.differentiate(rows)
        before, behind = self.trees.upto(first), self.trees.since(first + self.step)
        renewed = []
        for t in range(first, first + self.step):
            tree = self.trees.upto(t + 1).since(t)
            output = int(tree.group[0])
            if "refresh" in self.updaters:
                self._refresh(tree, rows.leaves[:, t], self._g[output], self._h[output])
            heirs = np.arange(len(tree.left))
            if "prune" in self.updaters:
                tree, heirs = pruned(tree, self.p.gamma, self.p.eta / self.p.num_parallel_tree)
            renewed.append(tree)
            for came in self.sides.values():
                came.margin[output] += tree.value[heirs[came.leaves[:, t]]]
        self.trees = Trees.join([before, *renewed, behind])

    def _refresh(self, tree: Trees, leaf: Any, g: Any, h: Any) -> None:
        """Covers, gains and, with refresh_leaf, values from the rows' gradients."""
        p, left, right = self.p, tree.left, tree.right
        sums = np.stack([np.bincount(leaf, v, len(left)) for v in (g, h)])
        inner = np.flatnonzero(left != LEAF)
        for node in inner[::-1].tolist():  # children come behind their parents
            sums[:, node] = sums[:, left[node]] + sums[:, right[node]]
        pulled = np.sign(sums[0]) * np.maximum(np.abs(sums[0]) - p.reg_alpha, 0)
        with np.errstate(divide="ignore", invalid="ignore"):
            weight = np.where(sums[1] > 0, -pulled / (sums[1] + p.reg_lambda), 0.0)
        if p.max_delta_step:
            weight = np.clip(weight, -p.max_delta_step, p.max_delta_step)
        penalty = (sums[1] + p.reg_lambda) * weight**2 + 2 * p.reg_alpha * np.abs(weight)
        score = -(2 * sums[0] * weight + penalty)
        tree.gain[inner] = score[left[inner]] + score[right[inner]] - score[inner]
        tree.cover[:] = sums[1]
        if p.refresh_leaf:
            shrunk = weight * (p.eta / p.num_parallel_tree)
            tree.value[:] = np.where(left == LEAF, shrunk, weight)

    def _pack(self) -> None:
        """Trees are where they belong."""

    def again(self, epochs: int = 1) -> None:
        """There is no more to do."""
        raise UserError("process_type=update: all trees were looked at")


def pruned(tree: Trees, gamma: float, eta: float) -> tuple[Trees, NDArray[np.int64]]:
    """A tree without splits that gain less than gamma, and which node each one's rows end at.

    From the leaves up: a split whose children are both leaves becomes one, shrunk by eta.
    """
    left, right = tree.left.copy(), tree.right.copy()
    n = len(left)
    for node in range(n - 1, -1, -1):
        a, b = left[node], right[node]
        if a != LEAF and left[a] == LEAF and left[b] == LEAF and tree.gain[node] < gamma:
            left[node] = right[node] = LEAF
    kept = np.zeros(n, np.bool_)
    kept[0] = True
    heirs = np.arange(n)
    for node in range(n):
        if tree.left[node] == LEAF:
            continue
        for child in (tree.left[node], tree.right[node]):
            kept[child] = kept[node] and left[node] != LEAF
            if not kept[child]:
                heirs[child] = heirs[node]
    number = np.cumsum(kept) - 1
    inner = kept & (left != LEAF)
    sizes = np.where(inner, np.diff(tree.words), 0)
    entries = np.repeat(inner, np.diff(tree.words))
    fields = {
        name: getattr(tree, name)[kept]
        for name in ("feature", "threshold", "default_left", "value", "gain", "cover")
    }
    fields["value"][(kept & ~inner & (tree.left != LEAF))[kept]] *= np.float32(eta)
    leaf = ~inner[kept]
    for name in ("feature", "threshold", "default_left", "gain"):
        fields[name][leaf] = 0
    made = Trees(
        offsets=[0, int(kept.sum())], group=tree.group, weight=tree.weight,
        left=np.where(inner, number[left], LEAF)[kept],
        right=np.where(inner, number[right], LEAF)[kept],
        words=np.concatenate(([0], np.cumsum(sizes[kept]))), sets=tree.sets[entries], **fields,
    )  # fmt: skip
    return made, number[heirs]
