"""Hyperparameters of PCA."""

from dataclasses import dataclass
from typing import Any

from smalgos.errors import UserError
from smalgos.learning import Parameters, param
from smalgos.learning.parameters import Field


@dataclass(frozen=True)
class Components(Field):
    """A number of components, or the share of the variance that they are to have."""

    def check(self, value: Any) -> Any:
        """As `Field.check`; whole numbers are int."""
        plain = super().check(value)
        if isinstance(plain, str) or plain < 1:
            return plain
        if not plain.is_integer():
            raise UserError(f"{self.name}={value!r}: {self.expected()}")
        return int(plain)

    def expected(self) -> str:
        """What a value must be, in words."""
        return "must be an integer >= 1, a share of the variance between 0 and 1, or auto"


def _components(**given: Any) -> Any:
    return Components(above=0, below=2.0**31, **given)


class PCAParameters(Parameters):
    """Hyperparameters of PCA, as the original spells them."""

    feature_dim: int = param(
        default="auto", auto=lambda p, spec: spec.width, wire=lambda spec: spec.width, low=1,
        doc="number of features",
    )  # fmt: skip
    num_components: float = _components(
        library="auto", auto=lambda p, spec: min(spec.width, 10),
        doc="components that are kept; between 0 and 1: as many as explain more than this share "
        "of the variance; auto: 10, or all when there are fewer",
    )  # fmt: skip
    mini_batch_size: int = param(
        default=500, wire=lambda spec: 500, low=1,
        doc="rows per batch; the result does not depend on it",
    )  # fmt: skip
    algorithm_mode: str = param(
        default="regular", choices=("regular", "randomized", "stable"),
        doc="regular takes products in float32 and sums in float64, stable all in float64; "
        "randomized takes far less time and memory where there are many features, and comes near",
    )  # fmt: skip
    extra_components: int = param(
        default=-1, low=-1, high=2**31,
        doc="directions beyond num_components that randomized works with, at least: the more, the "
        "nearer it comes; -1: as many as num_components, 10 at least; other modes ignore it",
    )  # fmt: skip
    subtract_mean: bool = param(default=True, doc="centre the data")
    whiten: bool = param(
        default=False, doc="scale projections to a variance of 1 along each component"
    )
    force_dense: bool = param(
        default=True, wire=lambda spec: True, doc="ignored: sparse rows stay sparse"
    )
    epochs: int = param(
        default=1, low=1,
        doc="passes over the rows in randomized mode, each one more a step of the power method; "
        "the other modes take one, which gives the exact sums",
    )  # fmt: skip
