"""Losses by the names of the original, and what is said of them.

The formulas are in `smalgos.kernels.cpu.losses`: value and gradient with respect to the raw score,
the link merged in for stability.
"""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Loss:
    """A loss of the original.

    Parameters
    ----------
    name : str
        Value of the hyperparameter ``loss``.
    kernel : str
        Name of its code among the kernels.
    predictor_type : str
    metric : str
        What log lines call its mean.
    constants : dict
        Its constants: the kernels' name -> hyperparameter.
    threshold : float
        Score from which on the answer is 1, before calibration.
    """

    name: str
    kernel: str
    predictor_type: str
    metric: str
    constants: dict[str, str] = field(default_factory=dict)
    threshold: float = 0.5


def _regression(name: str, kernel: str, metric: str = "", **constants: str) -> Loss:
    return Loss(name, kernel, "regressor", metric or f"{name}_objective", constants)


LOSSES = {
    loss.name: loss
    for loss in (
        _regression("squared_loss", "SQUARED", "mse_objective"),
        _regression("absolute_loss", "ABSOLUTE", "absolute_loss_objective"),
        _regression(
            "eps_insensitive_squared_loss", "EPS_SQUARED", insensitivity="loss_insensitivity"
        ),
        _regression(
            "eps_insensitive_absolute_loss", "EPS_ABSOLUTE", insensitivity="loss_insensitivity"
        ),
        _regression("quantile_loss", "QUANTILE", quantile="quantile"),
        _regression("huber_loss", "HUBER", delta="huber_delta"),
        Loss(
            "logistic", "LOGISTIC", "binary_classifier",
            "binary_classification_cross_entropy_objective",
        ),
        Loss(
            "hinge_loss", "HINGE", "binary_classifier", "hinge_loss_objective",
            {"margin": "margin"},
        ),
        Loss(
            "softmax_loss", "SOFTMAX", "multiclass_classifier",
            "multiclass_cross_entropy_objective",
        ),
    )
}  # fmt: skip


def losses_of(predictor_type: str) -> tuple[str, ...]:
    """Names of the losses that fit, the default first."""
    return tuple(n for n, loss in LOSSES.items() if loss.predictor_type == predictor_type)
