"""The booster gblinear: linear functions, a round of coordinate descent after another."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from smalgos.algorithms.xgboost.model import BoostedTreesModel
from smalgos.algorithms.xgboost.state import BoostedTreesState
from smalgos.errors import RowError, UserError
from smalgos.formats.block import Block, Csr
from smalgos.kernels import load
from smalgos.learning.state import Pass, Spec


class Columns:
    """The rows of a channel by columns, and what belongs to them."""

    def __init__(self) -> None:
        self.blocks: list[Block] = []
        self.margin = np.empty((0, 0), np.float32)
        self.labels: Any = None
        self.weights: Any = None
        self.groups: Any = None
        self.matrix: Any = None

    def done(self, outputs: int) -> None:
        """All rows were added."""
        from scipy.sparse import csr_array, vstack

        parts = []
        for block in self.blocks:
            x = block.features
            if isinstance(x, Csr):
                x = x.tight()
                part = csr_array((np.nan_to_num(x.values), x.indices, x.offsets), shape=x.shape)
            else:
                part = csr_array(np.nan_to_num(x))
            parts.append(part)
        table = vstack(parts, format="csc", dtype=np.float32)
        table.sum_duplicates()
        offsets = table.indptr.astype(np.int64)
        self.matrix = (table.data, table.indices.astype(np.int32), offsets)
        for name in ("labels", "weights", "groups"):
            if name in self.blocks[0]:
                setattr(self, name, np.concatenate([block[name] for block in self.blocks]))
        self.blocks = []
        self.margin = np.empty((outputs, table.shape[0]), np.float32)


class LinearBoosterState(BoostedTreesState):
    """Weights of linear functions; what is missing counts 0."""

    linear: NDArray[np.float32] | None  # (outputs, d + 1), the bias last

    def begin(self, spec: Spec) -> None:
        """Allocate weights."""
        super().begin(spec)
        self.linear = np.zeros((self.outputs, spec.width + 1), np.float32)
        earlier = spec.side.get("model")
        if earlier is not None:
            self.linear = np.ascontiguousarray(earlier.linear.T)
        self._columns: dict[str, Columns] = {}

    def next_pass(self) -> Pass | None:
        """Collect the rows, then rounds."""
        for channel in ("train", "validation"):
            if channel in ("train", *self.spec.channels) and channel not in self._columns:
                collect = Collect(self, channel)
                return Pass(
                    f"collect {channel}", collect.update, collect.end, channel=channel, hold=True
                )
        if self.epoch < self.budget and not self.over:
            return Pass("round", self.round, self.end_round, channel=None, steps=1, epoch=True)
        return None

    def _sides(self) -> list[Columns]:
        return list(self._columns.values())

    def side(self, split: str) -> Any:
        """The rows of a channel."""
        return self._columns[split]

    def round(self, step: int) -> None:
        """One turn of coordinate descent."""
        p, k, rows = self.p, load("descent", self.spec.device), self._columns["train"]
        assert self.linear is not None
        self.learnt.gradients(
            rows.margin, rows.labels, rows.weights, rows.groups, self._g, self._h, self.epoch,
            self.spec.seed,
        )  # fmt: skip
        total = float(len(rows.labels)) if rows.weights is None else float(rows.weights.sum())
        # Penalties are per unit of weight, as XGBoost has them.
        k.descend(
            rows.matrix, self._g, self._h, p.eta, p.reg_lambda * total, p.reg_alpha * total,
            p.lambda_bias * total, self.linear,
        )  # fmt: skip
        for side in self._sides():
            self._say(side)

    def _say(self, side: Columns) -> None:
        """Margins by the weights alone, so that they do not depend on the way to them."""
        assert self.base is not None
        assert self.linear is not None
        side.margin[:] = self.base[:, None]
        load("descent", self.spec.device).product(side.matrix, self.linear, side.margin)

    def again(self, epochs: int = 1) -> None:
        """So many rounds more, on other rows."""
        super().again(epochs)
        self._columns = {}

    def _model(self, trees: Any, base: Any) -> BoostedTreesModel:
        assert self.linear is not None
        return BoostedTreesModel(
            self.k.device, notes={"hyperparameters": self.p.as_dict()}, trees=trees, base=base,
            linear=np.ascontiguousarray(self.linear.T), columns=self.spec.width,
            objective=self.objective.name, booster="gblinear",
        )  # fmt: skip


class Collect:
    """The rows of one channel."""

    def __init__(self, state: LinearBoosterState, channel: str) -> None:
        self.state, self.channel, self.columns = state, channel, Columns()

    def update(self, block: Block) -> None:
        """Take in rows."""
        self.state.objective.check(block.labels, block.weights, None, block.start)
        values = block.features.values if isinstance(block.features, Csr) else block.features
        if np.isinf(values).any():
            raise _infinite(block)
        self.columns.blocks.append(block)

    def end(self) -> None:
        """All rows were taken in."""
        state, columns = self.state, self.columns
        columns.done(state.outputs)
        state.objective.check(columns.labels, columns.weights, columns.groups)
        if self.channel == "train":
            state.settle_base(columns)
            state._g, state._h = np.empty_like(columns.margin), np.empty_like(columns.margin)
        state._columns[self.channel] = columns
        state._say(columns)


def _infinite(block: Block) -> UserError:
    x = block.features
    if isinstance(x, Csr):
        entry = int(np.argmax(np.isinf(x.values)))
        row, f = int(np.searchsorted(x.offsets, entry, side="right")) - 1, int(x.indices[entry])
    else:
        row, f = (int(v) for v in np.argwhere(np.isinf(x))[0])
    return RowError(block.start + row, f"feature {f} is infinite: mend it, or leave it out")
