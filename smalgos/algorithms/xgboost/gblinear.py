"""The booster gblinear: linear functions, a round of coordinate descent after another."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from smalgos.algorithms.xgboost.collecting import Collected, CollectingState
from smalgos.algorithms.xgboost.model import BoostedTreesModel
from smalgos.errors import RowError, UserError
from smalgos.formats.block import Block, Csr
from smalgos.kernels import load
from smalgos.learning.state import Spec


class Columns(Collected):
    """The rows of a channel by columns; what is missing counts 0."""

    def __init__(self, state: Any, channel: str) -> None:
        super().__init__(state, channel)
        self._parts: list[Any] = []
        self.matrix: Any = None

    def take(self, block: Block) -> None:
        """Keep the features."""
        from scipy.sparse import csr_array

        x = block.features
        if np.isinf(x.values if isinstance(x, Csr) else x).any():
            raise _infinite(block)
        if isinstance(x, Csr):
            x = x.tight()
            part = csr_array((np.nan_to_num(x.values), x.indices, x.offsets), shape=x.shape)
        else:
            part = csr_array(np.nan_to_num(x))
        self._parts.append(part)

    def settle(self) -> None:
        """Turn rows into columns, and say what the weights so far do."""
        from scipy.sparse import vstack

        table = vstack(self._parts, format="csc", dtype=np.float32)
        self._parts = []
        table.sum_duplicates()
        offsets = table.indptr.astype(np.int64)
        self.matrix = (table.data, table.indices.astype(np.int32), offsets)
        self.margin = np.empty((self.state.outputs, table.shape[0]), np.float32)
        if self.channel == "train":
            self.state.settle_base(self)
        self.state.say(self)


class LinearBoosterState(CollectingState):
    """Weights of linear functions; what is missing counts 0."""

    collector = Columns

    linear: NDArray[np.float32] | None  # (outputs, d + 1), the bias last

    def begin(self, spec: Spec) -> None:
        """Allocate weights."""
        super().begin(spec)
        self.linear = np.zeros((self.outputs, spec.width + 1), np.float32)
        earlier = spec.side.get("model")
        if earlier is not None:
            self.linear = np.ascontiguousarray(earlier.linear.T)

    def round(self, step: int) -> None:
        """One turn of coordinate descent."""
        p, k, rows = self.p, load("descent", self.spec.device), self.sides["train"]
        assert self.linear is not None
        self.differentiate(rows)
        total = float(len(rows.labels)) if rows.weights is None else float(rows.weights.sum())
        # Penalties are per unit of weight, as XGBoost has them.
        k.descend(
            rows.matrix, self._g, self._h, p.eta, p.reg_lambda * total, p.reg_alpha * total,
            p.lambda_bias * total, self.linear,
        )  # fmt: skip
        for side in self.sides.values():
            self.say(side)

    def say(self, side: Columns) -> None:
        """Margins by the weights alone, so that they do not depend on the way to them."""
        assert self.base is not None
        assert self.linear is not None
        side.margin[:] = self.base[:, None]
        load("descent", self.spec.device).product(side.matrix, self.linear, side.margin)

    def again(self, epochs: int = 1) -> None:
        """So many rounds more, on other rows."""
        super().again(epochs)
        self.sides = {}

    def _model(self, trees: Any, base: Any) -> BoostedTreesModel:
        assert self.linear is not None
        return BoostedTreesModel(
            self.k.device, notes={"hyperparameters": self.p.as_dict()}, trees=trees, base=base,
            linear=np.ascontiguousarray(self.linear.T), columns=self.spec.width,
            objective=self.objective.name, booster="gblinear",
        )  # fmt: skip


def _infinite(block: Block) -> UserError:
    x = block.features
    if isinstance(x, Csr):
        entry = int(np.argmax(np.isinf(x.values)))
        row, f = int(np.searchsorted(x.offsets, entry, side="right")) - 1, int(x.indices[entry])
    else:
        row, f = (int(v) for v in np.argwhere(np.isinf(x))[0])
    return RowError(block.start + row, f"feature {f} is infinite: mend it, or leave it out")
