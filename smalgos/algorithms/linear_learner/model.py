"""The linear model that is kept: coefficients for raw features, a link, a threshold."""

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smalgos.errors import UserError
from smalgos.formats.block import Block, Csr
from smalgos.kernels import load
from smalgos.learning import Model, require_array, require_number
from smalgos.learning.losses import LOSSES
from smalgos.learning.rows import check_finite


class LinearModel(Model):
    """Raw score ``x @ coef + intercept``, response ``link(raw)``."""

    algorithm = "linear-learner"
    kernels = "linear"

    coef: NDArray[np.float32]  # (d, outputs)
    intercept: NDArray[np.float64]  # (outputs,)
    # Dense products are taken about this point, as in training: large means cancel before they
    # are multiplied. It changes no result but by rounding.
    shift: NDArray[np.float32]  # (d,)
    threshold: float  # of the response, from which on the answer is 1
    loss: str
    predictor_type: str

    @property
    def width(self) -> int:
        """Number of features of a row."""
        return len(self.coef)

    def margins(self, features: Any) -> NDArray[np.float32]:
        """Raw scores (n, outputs), before the link."""
        if features.shape[1] != len(self.coef):
            raise UserError(
                f"rows of {features.shape[1]} features: the model was trained on {len(self.coef)}"
            )
        outputs = self.coef.shape[1]
        if isinstance(features, Csr):
            x = features
            W, plan, _ = self._panels
            raw = self.k.score_csr(x.values, x.indices, x.offsets, W, plan, outputs)
        else:
            W, plan, ones = self._panels_about_shift
            raw = self.k.score_dense(features, W, plan, outputs, self.shift, ones)
        return self.k.to_host(raw)  # type: ignore[no-any-return]

    @cached_property
    def _panels(self) -> tuple[Any, Any, Any]:
        return self._packed(np.zeros_like(self.shift))

    @cached_property
    def _panels_about_shift(self) -> tuple[Any, Any, Any]:
        return self._packed(self.shift)

    def _packed(self, shift: NDArray[np.float32]) -> tuple[Any, Any, Any]:
        """(weights in panels, plan, a scale that changes nothing) for features less `shift`."""
        outputs = self.coef.shape[1]
        intercept = self.intercept + shift.astype(np.float64) @ self.coef.astype(np.float64)
        plan = self.k.groups(1, outputs)
        W = self.k.pack(np.concatenate([self.coef, intercept[None]]), plan, outputs)
        return W, plan, np.ones_like(shift)

    def predict(self, block: Block, **options: Any) -> dict[str, Any]:
        """``score`` and, for classifiers, ``predicted_label``."""
        check_finite(block, self.k)
        outputs = self.coef.shape[1]
        code = getattr(load("losses", self.k.device), LOSSES[self.loss].kernel)
        scores = self.k.link(code, self.margins(block.features), outputs)
        if self.predictor_type == "regressor":
            return {"score": scores[:, 0]}
        if self.predictor_type == "binary_classifier":
            label = (scores[:, 0] >= np.float32(self.threshold)).astype(np.int64)
            return {"score": scores[:, 0], "predicted_label": label}
        return {"score": scores, "predicted_label": scores.argmax(axis=1)}

    def check(self) -> None:
        """Raise `UserError` unless shapes, loss and task fit."""
        if self.loss not in LOSSES or LOSSES[self.loss].predictor_type != self.predictor_type:
            raise UserError(f"loss {self.loss!r} does not fit {self.predictor_type!r}")
        require_array("coef", self.coef, (None, None))
        if not self.coef.size:
            raise UserError("it has no outputs, or no features")
        outputs = self.coef.shape[1]
        if (outputs > 1) != (self.predictor_type == "multiclass_classifier"):
            raise UserError(f"{outputs} outputs do not fit {self.predictor_type}")
        require_array("intercept", self.intercept, (outputs,))
        require_array("shift", self.shift, (self.coef.shape[0],))
        if not isinstance(self.threshold, float) or self.threshold != self.threshold:
            require_number("threshold", self.threshold)


def kernel_loss(p: Any) -> Any:
    """The kernels' name for the loss of these hyperparameters."""
    losses = load("losses", "cpu")
    loss = LOSSES[p.loss]
    constants = {field: getattr(p, name) for field, name in loss.constants.items()}
    return losses.Loss(getattr(losses, loss.kernel), **constants)
