"""The machine that is kept: a bias, a weight and factors for each feature, a link."""

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smalgos.algorithms.factorization_machines.parameters import INTERACTIONS, PREDICTORS
from smalgos.errors import UserError
from smalgos.formats.block import Block
from smalgos.learning import Model, require_array
from smalgos.learning.rows import check_finite


class FactorizationMachine(Model):
    """Margin ``bias + x @ linear + sum over i < j of x_i x_j <v_i, v_j>``; see the package."""

    algorithm = "factorization-machines"
    kernels = "factorization_machine"
    optional = ("field_of", "field_weights")

    bias: NDArray[np.float32]  # (1,)
    linear: NDArray[np.float32]  # (d,)
    factors: NDArray[np.float32]  # (d, num_factors), field-aware (d, fields, num_factors)
    field_of: NDArray[np.int32] | None  # (d,) the field of each feature
    field_weights: NDArray[np.float32] | None  # (fields, fields), symmetric
    interaction: str
    predictor_type: str

    @property
    def width(self) -> int:
        """Number of features of a row."""
        return len(self.linear)

    @property
    def arrays(self) -> dict[str, NDArray[np.float32]]:
        """Its parameters by name."""
        found = {"bias": self.bias, "linear": self.linear, "factors": self.factors}
        return (
            found if self.field_weights is None else found | {"field_weights": self.field_weights}
        )

    def margins(self, features: Any) -> NDArray[np.float32]:
        """Margins (n,), before the link."""
        if features.shape[1] != self.width:
            raise UserError(
                f"rows of {features.shape[1]} features: the model was trained on {self.width}"
            )
        found: NDArray[np.float32] = self._scorer(features)
        return found

    @cached_property
    def _scorer(self) -> Any:
        fields, interaction = self.field_of, self.interaction
        return lambda rows: self.k.margins(
            rows, self.arrays, interaction=interaction, fields=fields
        )

    def predict(self, block: Block, **options: Any) -> dict[str, Any]:
        """``score`` and, for classifiers, ``predicted_label``."""
        check_finite(block, self.k)
        margins = self.margins(block.features)
        if self.predictor_type == "regressor":
            return {"score": margins}
        score = probabilities(margins)
        return {"score": score, "predicted_label": (score >= 0.5).astype(np.int64)}

    def check(self) -> None:
        """Raise `UserError` unless shapes, fields and task fit."""
        if self.predictor_type not in PREDICTORS or self.interaction not in INTERACTIONS:
            raise UserError(f"a {self.predictor_type!r} of {self.interaction!r} interactions")
        require_array("bias", self.bias, (1,))
        require_array("linear", self.linear, (None,))
        d = len(self.linear)
        count = 0
        if self.field_of is not None:
            require_array("field_of", self.field_of, (d,), "i")
            if self.field_of.dtype != np.int32 or self.field_of.min(initial=0) < 0:
                raise UserError("a field is below 0, or not an int32")
            count = int(self.field_of.max(initial=-1)) + 1
        elif self.interaction != "pairwise":
            raise UserError(f"{self.interaction} interactions without fields")
        if self.interaction == "field_aware":
            require_array("factors", self.factors, (d, count, None))
        else:
            require_array("factors", self.factors, (d, None))
        if (self.field_weights is not None) != (self.interaction == "field_weighted"):
            raise UserError(f"{self.interaction} interactions do not fit its weights of fields")
        if self.field_weights is not None:
            require_array("field_weights", self.field_weights, (count, count))
            if not np.array_equal(self.field_weights, self.field_weights.T):
                raise UserError("field_weights are not symmetric")
        for name, array in self.arrays.items():
            if array.dtype != np.float32:
                raise UserError(f"{name} is not an array of float32")
        if not self.factors.size:
            raise UserError("it has no factors")


def probabilities(margins: NDArray[np.float32]) -> NDArray[np.float32]:
    """The logistic function, without overflow."""
    small = np.exp(-np.abs(margins))
    p: NDArray[np.float32] = np.where(margins >= 0, 1, small) / (1 + small)
    return p.astype(np.float32)
