"""The centres that are kept, and how they are judged."""

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smalgos.errors import UserError
from smalgos.formats.block import Block, Csr
from smalgos.learning import Model, require_array, require_number
from smalgos.learning.accumulators import ExactSum, Weights
from smalgos.learning.metrics import Metrics, Outputs
from smalgos.learning.rows import check_finite


class KMeansModel(Model):
    """k centres."""

    algorithm = "kmeans"
    kernels = "kmeans"

    centres: NDArray[np.float32]  # (k, d)
    mass: NDArray[np.float64]  # (k,) weight of the rows learnt from that are nearest to each
    # Dense rows are compared about this point, as in training, where they are far from the origin
    # but near each other: squares of the distance would cancel. Zeros where that is no danger.
    shift: NDArray[np.float32]  # (d,)
    msd: float  # mean squared distance: over the rows of solver=lloyd, else over the K centres

    @property
    def width(self) -> int:
        """Number of features of a row."""
        return int(self.centres.shape[1])

    @cached_property
    def _points(self) -> Any:
        return self.k.Points(self.centres)

    @cached_property
    def _points_about_shift(self) -> Any:
        return self.k.Points(self.centres - self.shift) if self.shift.any() else None

    def _compared(self, features: Any) -> tuple[Any, Any]:
        """(rows, points), both about the shift where that matters."""
        if features.shape[1] != self.width:
            raise UserError(
                f"rows of {features.shape[1]} features: the model was trained on {self.width}"
            )
        if isinstance(features, Csr) or self._points_about_shift is None:
            return features, self._points
        return features - self.shift, self._points_about_shift

    def assign(self, features: Any) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """The nearest centre of each row (n,), and the squared distance to it (n,)."""
        labels, distances = self.k.assign(*self._compared(features))
        return self.k.to_host(labels, distances)  # type: ignore[no-any-return]

    def distances(self, features: Any) -> NDArray[np.float32]:
        """Distances, not squared, to all centres (n, k)."""
        found = self.k.distances(*self._compared(features))
        return self.k.to_host(np.sqrt(found, out=found))  # type: ignore[no-any-return]

    def predict(self, block: Block, **options: Any) -> dict[str, Any]:
        """``closest_cluster`` (n,) and ``distance_to_cluster`` (n,), not squared."""
        check_finite(block, self.k)
        labels, distances = self.assign(block.features)
        return {
            "closest_cluster": labels.astype(np.float32),
            "distance_to_cluster": np.sqrt(distances),
        }

    def check(self) -> None:
        """Raise `UserError` unless the shapes fit."""
        require_array("centres", self.centres, (None, None))
        if not self.centres.size or self.centres.dtype != np.float32:
            raise UserError("centres: none, or not of float32")
        k, d = self.centres.shape
        require_array("mass", self.mass, (k,))
        if self.mass.min() < 0:
            raise UserError("mass is negative")
        require_array("shift", self.shift, (d,))
        if self.shift.dtype != np.float32:
            raise UserError("shift is not of float32")
        require_number("msd", self.msd)


class KMeansMetrics(Metrics):
    """Mean and sum of squared distances to the nearest centres.

    Parameters
    ----------
    model : KMeansModel
    """

    squares: ExactSum
    mass: ExactSum

    def __init__(self, model: KMeansModel) -> None:
        asked = model.notes.get("hyperparameters", {}).get("eval_metrics", ("msd",))
        self.asked = [name for name in ("msd", "ssd") if name in asked]
        super().__init__()

    def clear(self) -> None:
        """Forget all rows."""
        self.rows, self.squares, self.mass = 0, ExactSum(), ExactSum()

    def add(self, labels: Any, outputs: Outputs, weights: Weights = None) -> None:
        """Add rows; they need no labels."""
        self._add(labels, outputs, weights)
        self.rows += len(outputs["distance_to_cluster"])

    def _add(self, labels: Any, outputs: Outputs, weights: Weights) -> None:
        squares = outputs["distance_to_cluster"].astype(np.float64) ** 2
        self.squares.add(squares if weights is None else squares * weights)
        self.mass.add(len(squares) if weights is None else weights)

    def result(self) -> dict[str, float]:
        """{metric: value} of those that were asked for."""
        ssd, mass = self.squares.value(), self.mass.value()
        found = {"msd": ssd / mass if mass else np.nan, "ssd": ssd}
        return {name: found[name] for name in self.asked}
