"""The scaler: means and deviations of the first rows, and the frequencies of their classes."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from smalgos.errors import UserError
from smalgos.formats.block import Csr
from smalgos.learning import Part, Sum, require_shaped

ABSENT_CLASS_WEIGHT = 1e6  # of a class that the scaler's rows lack, as the original's logs show


class Scaler(Part):
    """Takes in rows, then tells how to scale all of them.

    Sums are taken about the first row, so that a constant feature has deviation 0 exactly.

    Parameters
    ----------
    d : int
        Number of features.
    classes : int
        Number of classes counted, two at least.
    """

    origin: NDArray[np.float64] | None  # (d + 1,) the first row: features, label
    sums: Sum[NDArray[np.float64]]  # (d + 1,)
    squares: Sum[NDArray[np.float64]]  # (d + 1,)
    class_counts: Sum[NDArray[np.int64]]  # (classes,)
    rows: Sum[int]
    mean: NDArray[np.float32]  # (d,)
    std: NDArray[np.float32]  # (d,)
    label_mean: float
    label_std: float

    def __init__(self, d: int, classes: int) -> None:
        self.origin, self.sums, self.squares = None, np.zeros(d + 1), np.zeros(d + 1)
        self.class_counts, self.rows = np.zeros(max(classes, 2), np.int64), 0
        self.mean, self.std = np.zeros(d, np.float32), np.ones(d, np.float32)
        self.label_mean, self.label_std = 0.0, 1.0

    @property
    def scale(self) -> NDArray[np.float32]:
        """(d,) what centred features are multiplied by."""
        return (1 / self.std).astype(np.float32)

    def add(self, features: Any, labels: Any, *, classified: bool) -> None:
        """Take in rows; with `classified`, count their labels too."""
        d = len(self.mean)
        if self.origin is None:
            first = np.zeros(d) if isinstance(features, Csr) else features[0]
            self.origin = np.append(first, labels[0]).astype(np.float64)
        y = labels.astype(np.float64) - self.origin[d]
        if isinstance(features, Csr):
            rows = features.tight()
            v = rows.values.astype(np.float64)
            self.sums[:d] += np.bincount(rows.indices, v, d)
            self.squares[:d] += np.bincount(rows.indices, v * v, d)
        else:
            x = features.astype(np.float64) - self.origin[:d]
            self.sums[:d] += x.sum(axis=0)
            self.squares[:d] += (x * x).sum(axis=0)
        self.sums[d] += y.sum()
        self.squares[d] += (y * y).sum()
        if classified:
            counts = np.bincount(labels.astype(np.int64), minlength=len(self.class_counts))
            self.class_counts += counts
        self.rows += len(labels)

    def settle(self, p: Any) -> None:
        """Means and (population) deviations, as far as the hyperparameters ask for them."""
        assert self.origin is not None
        d, shifted = len(self.mean), self.sums / self.rows
        mean = self.origin + shifted
        std = np.sqrt(np.maximum(self.squares / self.rows - shifted * shifted, 0))
        std[std == 0] = 1.0
        if p.normalize_data:
            self.std = std[:d].astype(np.float32)
        if p.normalize_data and p.unbias_data:
            self.mean = mean[:d].astype(np.float32)
        if p.predictor_type == "regressor":
            self.label_mean = float(mean[d]) if p.unbias_label else 0.0
            self.label_std = float(std[d]) if p.normalize_label else 1.0

    @property
    def balanced(self) -> float:
        """Negatives per positive."""
        negatives, positives = self.class_counts[:2]
        return float(negatives / max(positives, 1)) if negatives else 1.0

    @property
    def balanced_weights(self) -> NDArray[np.float64]:
        """Weights of the classes: the inverse of their frequency."""
        counts = self.class_counts.astype(np.float64)
        share = np.where(counts > 0, counts, 1) / counts.sum()
        return np.where(counts > 0, 1 / share, ABSENT_CLASS_WEIGHT)

    def check(self) -> None:
        """Raise `UserError` unless the fields fit."""
        if min(self.rows, *self.class_counts.tolist()) < 0:
            raise UserError("counts of the scaler's rows are negative")
        if not ((self.std > 0).all() and self.label_std > 0):
            raise UserError("the deviations of the features are not all above 0")
        if self.origin is not None:
            require_shaped("scaler.origin", self.origin, self.sums.shape, np.float64)
