"""Hyperparameters of Factorization Machines, as the original spells them, and what was added."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from smalgos.errors import UserError
from smalgos.learning.parameters import AUTO, Parameters, param

PREDICTORS = ("binary_classifier", "regressor")
OPTIMIZERS = ("adam", "adagrad", "ftrl", "sgd", "momentum", "rmsprop", "adadelta")
INTERACTIONS = ("pairwise", "field_aware", "field_weighted")
METHODS = ("normal", "uniform", "constant")
GROUPS = ("bias", "linear", "factors")  # of parameters, each with rates of its own
# What a method of initialisation needs.
NEEDS = {"normal": "sigma", "uniform": "scale", "constant": "value"}


def _mini_batch_size(p: Any, spec: Any) -> int:
    """1000 rows, fewer where an epoch would have less than 200 updates, but not below 16."""
    rows = spec.rows or 200_000
    return int(max(min(1000, rows // 200), min(16, rows), 1))


# What "auto" stands for: rates of bias, linear weights and factors, which did well on ratings of
# films and on one-hot tables.
RATES = {
    "adam": (0.05, 0.005, 0.002), "rmsprop": (0.05, 0.005, 0.002), "adadelta": (1.0, 1.0, 1.0),
}  # fmt: skip
OTHER_RATES = (0.5, 0.05, 0.05)


def _rate(group: str) -> Any:
    """The rule behind a group's "auto"."""
    return lambda p, spec: RATES.get(p.optimizer, OTHER_RATES)[GROUPS.index(group)]


class FactorizationMachinesParameters(Parameters):
    """Hyperparameters of Factorization Machines."""

    predictor_type: str = param(choices=PREDICTORS, wire=True, doc="task")
    feature_dim: int = param(
        default=AUTO, auto=lambda p, spec: spec.width, wire=lambda spec: spec.width, low=1,
        doc="number of features",
    )  # fmt: skip
    num_factors: int = param(
        library=16, low=1, high=1_000_000, tune=(2, 1000), doc="length of a feature's factor"
    )
    epochs: int = param(
        default=1, library=10, low=1, tune=(1, 1000), doc="passes over the data, at most"
    )
    mini_batch_size: int = param(
        default=1000, library=AUTO, auto=_mini_batch_size, low=1, tune=(100, 10_000),
        doc="rows per update; auto: 1000, fewer where the data are few",
    )  # fmt: skip
    shuffle: bool = param(
        default=False, library=True,
        doc="read the rows in a new order each epoch; the original reads them as they come",
    )  # fmt: skip
    pad_last: bool = param(
        default=True, library=False,
        doc="fill the last batch of an epoch with the first rows, as the original does",
    )  # fmt: skip
    normalize_label: bool = param(
        default=False, library=True,
        doc="let a regressor learn labels of mean 0 and variance 1; the model takes it back",
    )  # fmt: skip
    interaction: str = param(
        default="pairwise", choices=INTERACTIONS,
        doc="inner products of factors (pairwise), of factors for each other's field (field_aware) "
        "or times a learnt weight of the two fields (field_weighted)",
    )  # fmt: skip
    fields: list[Any] | None = param(
        default=None,
        doc="the field of each feature, or the sizes of fields of consecutive features; libffm "
        "tells by itself",
    )  # fmt: skip
    optimizer: str = param(
        default="adam", library="adagrad", choices=OPTIMIZERS, spelled=("_optimizer",),
        doc="update rule",
    )  # fmt: skip

    bias_lr: float = param(
        default=0.1, library=AUTO, auto=_rate("bias"), low=0, tune=(1e-8, 512), scale="log",
        doc="learning rate of the bias; auto: by the optimizer",
    )  # fmt: skip
    linear_lr: float = param(
        default=0.001, library=AUTO, auto=_rate("linear"), low=0, tune=(1e-8, 512), scale="log",
        doc="learning rate of the linear weights; auto: by the optimizer",
    )  # fmt: skip
    factors_lr: float = param(
        default=0.0001, library=AUTO, auto=_rate("factors"), low=0, tune=(1e-8, 512), scale="log",
        doc="learning rate of the factors; auto: by the optimizer",
    )  # fmt: skip
    bias_wd: float = param(
        default=0.01, library=0.0, low=0, tune=(1e-8, 512), scale="log",
        doc="L2 strength of the bias",
    )  # fmt: skip
    linear_wd: float = param(
        default=0.001, library=0.0001, low=0, tune=(1e-8, 512), scale="log",
        doc="L2 strength of the linear weights",
    )  # fmt: skip
    factors_wd: float = param(
        default=0.00001, library=0.0001, low=0, tune=(1e-8, 512), scale="log",
        doc="L2 strength of the factors",
    )  # fmt: skip
    linear_l1: float = param(default=0.0, low=0, doc="L1 strength of the linear weights")
    factors_l1: float = param(default=0.0, low=0, doc="L1 strength of the factors")
    clip_gradient: float | None = param(
        default=None, above=0, doc="largest magnitude of an entry of the gradient"
    )
    eps: float | None = param(
        default=None, low=0, doc="epsilon of the optimizer; None: 1e-8 for adam"
    )
    ftrl_beta: float = param(
        default=1.0, library=0.001, low=0, doc="beta of ftrl: the larger, the smaller first steps"
    )
    rescale_grad: float | None = param(
        default=None, doc="what multiplies gradients, summed over a batch; None: 1 / its rows"
    )
    use_bias: bool = param(default=True, doc="learn a bias")
    use_linear: bool = param(default=True, doc="learn linear weights")

    bias_init_method: str = param(default="normal", choices=METHODS, doc="how the bias starts")
    bias_init_scale: float | None = param(
        default=None, low=0, tune=(1e-8, 512), scale="log", doc="half-width of its uniform start"
    )
    bias_init_sigma: float | None = param(
        default=0.01, library=0.0, low=0, tune=(1e-8, 512), scale="log",
        doc="deviation of its normal start",
    )  # fmt: skip
    bias_init_value: float | None = param(
        default=None, tune=(1e-8, 512), scale="log", doc="its constant start"
    )
    linear_init_method: str = param(
        default="normal", choices=METHODS, doc="how linear weights start"
    )
    linear_init_scale: float | None = param(
        default=None, low=0, tune=(1e-8, 512), scale="log", doc="half-width of their uniform start"
    )
    linear_init_sigma: float | None = param(
        default=0.01, library=0.0, low=0, tune=(1e-8, 512), scale="log",
        doc="deviation of their normal start",
    )  # fmt: skip
    linear_init_value: float | None = param(
        default=None, tune=(1e-8, 512), scale="log", doc="their constant start"
    )
    factors_init_method: str = param(default="normal", choices=METHODS, doc="how factors start")
    factors_init_scale: float | None = param(
        default=None, low=0, tune=(1e-8, 512), scale="log", doc="half-width of their uniform start"
    )
    factors_init_sigma: float | None = param(
        default=0.001, library=0.01, low=0, tune=(1e-8, 512), scale="log",
        doc="deviation of their normal start",
    )  # fmt: skip
    factors_init_value: float | None = param(
        default=None, tune=(1e-8, 512), scale="log", doc="their constant start"
    )

    early_stopping_patience: int = param(
        default=3, low=1, doc="epochs without gain on the validation rows that are allowed"
    )
    early_stopping_tolerance: float = param(
        default=0.001, library=0.0, low=0, doc="least relative gain that counts"
    )
    batch_metrics_publish_interval: int = param(
        default=500, low=1, wire=True, transient=True, doc="batches between their log lines"
    )

    def cross_check(self) -> None:
        """Check that starts are complete, finite, and that interactions have their fields."""
        for group in GROUPS:
            method = getattr(self, f"{group}_init_method")
            needed = f"{group}_init_{NEEDS[method]}"
            value = getattr(self, needed)
            if value is None:
                raise UserError(f"{needed} is required for {group}_init_method={method}: a number")
            if not np.isfinite(value):
                raise UserError(f"{needed}={value}: must be a finite number")
            for name in (f"{group}_lr", f"{group}_wd"):
                if getattr(self, name) != AUTO and not np.isfinite(getattr(self, name)):
                    raise UserError(f"{name}={getattr(self, name)}: must be a finite number")
        if self.rescale_grad is not None and not np.isfinite(self.rescale_grad):
            raise UserError(f"rescale_grad={self.rescale_grad}: must be a finite number")
        if self.fields is not None:
            try:
                whole = [int(f) for f in self.fields]
            except (OverflowError, TypeError, ValueError):
                whole = []
            if not whole or not all(0 <= f < 2**31 for f in whole):
                raise UserError("fields: must be a list of whole numbers from 0 on")
            self.fields = whole

    drop_last = False  # the original learns from all rows

    @property
    def loss(self) -> str:
        """Of the kernels."""
        return "logistic" if self.predictor_type == "binary_classifier" else "squared"


def fields_of(p: Any, spec: Any) -> NDArray[np.int32] | None:
    """The field of each feature, from the hyperparameter or from what was settled of the files.

    Raises
    ------
    UserError
        When they do not fit the features, or are missing where the interaction needs them.
    """
    d, given = spec.width, p.fields
    if given is None:
        given = spec.facts.get("settled", {}).get("fields")
    if given is None:
        if p.interaction != "pairwise":
            raise UserError(
                f"interaction={p.interaction} needs fields: the field of each of the {d} features, "
                "or the sizes of fields of consecutive features that add up to it"
            )
        return None
    numbers = np.asarray(given, np.int64)
    if len(numbers) == d:
        found = numbers
    elif numbers.sum() == d:
        found = np.repeat(np.arange(len(numbers)), numbers)
    else:
        raise UserError(
            f"fields: {len(numbers)} numbers that add up to {numbers.sum()}, where the rows have "
            f"{d} features: give the field of each, or the sizes of all fields"
        )
    if found.max() >= MOST_FIELDS:
        raise UserError(f"fields: field {found.max()} is not below {MOST_FIELDS}")
    return found.astype(np.int32)


MOST_FIELDS = 1 << 16
