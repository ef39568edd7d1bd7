"""An algorithm small enough to test what stands around algorithms: it answers with sums."""

from typing import Any

import numpy as np

from smalgos.errors import NotReady
from smalgos.learning import Algorithm, Model, Parameters, State, Sum, param, require_array


class TinyParameters(Parameters):
    """One hyperparameter of each kind."""

    size: int = param(low=1, high=9, doc="answers per row")
    epochs: int = param(default=2, low=1, doc="passes over the rows")
    feature_dim: int = param(
        default="auto", auto=lambda p, spec: spec.width, wire=lambda spec: spec.width, low=1,
        doc="number of features",
    )  # fmt: skip
    flavour: str = param(
        default="plain", library="sweet", choices=("plain", "sweet"), spelled=("taste",),
        doc="what it tastes of",
    )  # fmt: skip


def dense(block: Any) -> Any:
    """The features as an array."""
    features = block.features
    return features.toarray() if hasattr(features, "toarray") else features


class TinyState(State):
    """The sum of all rows."""

    kernels = "shared"
    total: Sum[Any]

    def begin(self, spec: Any) -> None:
        self.total = np.zeros(spec.width)

    def update(self, block: Any) -> None:
        self.total = self.total + self.k.total(dense(block))

    def end_pass(self) -> dict[str, float]:
        return {"train:mse": float(self.total.sum())}

    def finish(self) -> "TinyModel":
        if not self.seen:
            raise NotReady("no rows yet")
        tried = [{"rate": 0.25, "same": 1, "score": 2.0}, {"rate": 0.5, "same": 1, "score": 1.5}]
        notes = {
            "hyperparameters": self.p.as_dict(),
            "model": 1,
            "setting": {"rate": 0.5},
            "models": tried,
        }
        weights = np.tile((self.total / self.seen)[:, None], self.p.size).astype(np.float32)
        return TinyModel(self.k.device, notes=notes, weights=weights)


class TinyModel(Model):
    """A matrix."""

    algorithm = "tiny"
    kernels = "shared"
    weights: Any  # (d, size)

    @property
    def width(self) -> int:
        return len(self.weights)

    def predict(self, block: Any, **options: Any) -> dict[str, Any]:
        scores = dense(block) @ self.weights
        return {"many": scores, "first": scores[:, 0], "positive": (scores[:, 0] > 0).astype(int)}

    def check(self) -> None:
        require_array("weights", self.weights, (None, None))


class TinyMetrics:
    """Share of rows whose answer is their label."""

    def __init__(self) -> None:
        self.rows = self.right = 0

    def add(self, labels: Any, outputs: Any, weights: Any = None) -> None:
        self.rows += len(labels)
        self.right += int((outputs["positive"] == labels).sum())

    def result(self) -> dict[str, float]:
        return {"accuracy": self.right / self.rows}


ALGORITHM = Algorithm(
    name="tiny",
    label="Tiny",
    parameters=TinyParameters,
    state=TinyState,
    model=TinyModel,
    channels=("train", "[validation]", "[test]"),
    fields=("positive", "first", "many"),
    metrics=lambda model: TinyMetrics(),
    summary="sums",
)
