"""Boosting on rows that are not binned: each channel is collected once, then rounds follow."""

from typing import Any, ClassVar

import numpy as np

from smalgos.algorithms.xgboost.state import BoostedTreesState
from smalgos.formats.block import Block
from smalgos.learning.state import Pass, Spec


class Collected:
    """The rows of a channel; a subclass says what of their features is kept, and their margins.

    Parameters
    ----------
    state : CollectingState
    channel : str
    """

    margin: Any  # (outputs, n) float32

    def __init__(self, state: Any, channel: str) -> None:
        self.state, self.channel = state, channel
        self._rest: list[Block] = []
        self.labels: Any = None
        self.weights: Any = None
        self.groups: Any = None

    def take(self, block: Block) -> None:
        """Keep what is needed of the features of some rows."""
        raise NotImplementedError

    def settle(self) -> None:
        """All rows were taken: set their margins."""
        raise NotImplementedError

    def update(self, block: Block) -> None:
        """Take in rows."""
        self.state.objective.check(block.labels, block.weights, None, block.start)
        self.take(block)
        rest = {name: c for name, c in block.columns.items() if name != "features"}
        self._rest.append(Block(rest, block.start))

    def end(self) -> None:
        """All rows were taken in."""
        state, rest = self.state, Block.join(self._rest)
        self._rest = []
        for name in ("labels", "weights", "groups"):
            if name in rest:
                setattr(self, name, rest[name])
        state.objective.check(self.labels, self.weights, self.groups)
        self.settle()
        if self.channel == "train":
            state._g, state._h = np.empty_like(self.margin), np.empty_like(self.margin)
        state.sides[self.channel] = self


class CollectingState(BoostedTreesState):
    """Base of the states whose rows are `Collected`."""

    collector: ClassVar[type[Collected]]

    def begin(self, spec: Spec) -> None:
        """Hold no rows yet."""
        super().begin(spec)
        self.sides: dict[str, Any] = {}

    def next_pass(self) -> Pass | None:
        """Collect the rows, then rounds."""
        for name in ("train", "validation"):
            if name in ("train", *self.spec.channels) and name not in self.sides:
                rows = self.collector(self, name)
                return Pass(f"collect {name}", rows.update, rows.end, channel=name, hold=True)
        return self.next_round()

    def side(self, split: str) -> Any:
        """The rows of a channel."""
        return self.sides[split]
