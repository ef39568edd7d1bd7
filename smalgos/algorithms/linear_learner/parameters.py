"""Hyperparameters of Linear Learner, as the original spells them, and its grid of models."""

import itertools
import math
from typing import Any

from smalgos.errors import UserError
from smalgos.learning.losses import LOSSES, losses_of
from smalgos.learning.parameters import AUTO, Parameters, param

PREDICTORS = ("binary_classifier", "multiclass_classifier", "regressor")
OPTIMIZERS = ("adam", "sgd", "momentum", "rmsprop", "adagrad", "adadelta", "ftrl")
CRITERIA = (
    "accuracy", "f_beta", "precision_at_target_recall", "recall_at_target_precision",
    "loss_function", "f1", "cross_entropy_loss",
)  # fmt: skip
SAME_CRITERION = {"f1": "f_beta", "cross_entropy_loss": "loss_function"}

MOST_MODELS = 32

# What "auto" tries side by side, as decoded from the original's logs: the bits of a model's index
# choose, lowest first, the schedule's step, its minimum, the learning rate and (two bits) wd.
AXES: dict[str, tuple[Any, ...]] = {
    "wd": (1e-4, 0.01, 1.0, 100.0),
    "learning_rate": (0.005, 0.1),
    "lr_scheduler_minimum_lr": (1e-5, 1e-4),
    "lr_scheduler_step": (10, 100),
}


def _mini_batch_size(p: Any, spec: Any) -> int:
    """250 rows, fewer where an epoch would have less than 300 updates, but not below 16.

    Many small steps reach the optimum in fewer epochs than the original's 1000 rows a step; a
    batch of less than 16 costs as much as one of 16.
    """
    rows = spec.rows or 75_000
    return int(max(min(250, rows // 300), min(16, rows), 1))


def _number_of_models(p: Any, spec: Any) -> int:
    """As many as have different settings; one when somebody else tunes."""
    return 1 if spec.facts.get("tuning") else len(grid(p, 1.0))


class LinearLearnerParameters(Parameters):
    """Hyperparameters of Linear Learner."""

    predictor_type: str = param(choices=PREDICTORS, wire=True, doc="task")
    num_classes: int = param(
        default=1, low=1, high=1_000_000, wire=True, doc="classes of a multiclass_classifier"
    )
    feature_dim: int = param(
        default=AUTO, auto=lambda p, spec: spec.width, wire=lambda spec: spec.width, low=1,
        doc="number of features",
    )  # fmt: skip
    loss: str = param(
        default=AUTO, auto=lambda p, spec: losses_of(p.predictor_type)[0], choices=tuple(LOSSES),
        doc="loss; auto: logistic, softmax_loss or squared_loss, by the task",
    )  # fmt: skip
    epochs: int = param(default=15, low=1, doc="passes over the data, at most")
    mini_batch_size: int = param(
        default=1000, library=AUTO, auto=_mini_batch_size, low=1, tune=(100, 5000),
        doc="rows per update; auto: 250, fewer where the data are few",
    )  # fmt: skip
    shuffle: bool = param(
        default=False, library=True,
        doc="read the rows in a new order each epoch; the original reads them as they come",
    )  # fmt: skip
    drop_last: bool = param(
        default=True, library=False,
        doc="leave out the rows of an epoch that do not fill a batch, as the original does",
    )  # fmt: skip
    num_models: int = param(
        default=AUTO, auto=_number_of_models, low=1, high=10_000,
        doc="models trained side by side; auto: one per combination of what is left auto, 32 at "
        "most, 1 under tuning",
    )  # fmt: skip
    optimizer: str = param(
        default=AUTO, auto="adam", choices=OPTIMIZERS, doc="update rule; auto: adam"
    )
    learning_rate: float = param(
        default=AUTO, auto=AUTO, above=0, tune=(1e-5, 1.0), scale="log",
        doc="step size; auto: 0.005 and 0.1 side by side",
    )  # fmt: skip
    wd: float = param(
        default=AUTO, auto=AUTO, low=0, tune=(1e-7, 1.0), scale="log",
        doc="L2 strength, wd / 2 times the squared weights of the scaled features; auto: 0.0001, "
        "0.01, 1 and 100 side by side",
    )  # fmt: skip
    l1: float = param(
        default=AUTO, auto=0.0, low=0, tune=(1e-7, 1.0), scale="log", doc="L1 strength; auto: 0"
    )
    momentum: float = param(
        default=AUTO, auto=lambda p, spec: 0.9 if p.optimizer == "momentum" else 0.0, low=0,
        below=1, doc="of sgd and momentum; auto: 0, for momentum 0.9",
    )  # fmt: skip
    beta_1: float = param(default=AUTO, auto=0.9, low=0, below=1, doc="of adam; auto: 0.9")
    beta_2: float = param(default=AUTO, auto=0.999, low=0, below=1, doc="of adam; auto: 0.999")
    bias_lr_mult: float = param(
        default=AUTO, auto=10.0, above=0, doc="learning rate of the bias, as a multiple; auto: 10"
    )
    bias_wd_mult: float = param(
        default=AUTO, auto=0.0, low=0, doc="L2 strength of the bias, as a multiple; auto: 0"
    )
    use_lr_scheduler: bool = param(default=True, doc="let the learning rate decay")
    lr_scheduler_step: int = param(
        default=AUTO, auto=AUTO, low=1, doc="updates between decays; auto: 10 and 100 side by side"
    )
    lr_scheduler_factor: float = param(
        default=AUTO, auto=0.99, above=0, below=1, doc="decay of the learning rate; auto: 0.99"
    )
    lr_scheduler_minimum_lr: float = param(
        default=AUTO, auto=AUTO, above=0,
        doc="least learning rate; auto: 0.00001 and 0.0001 side by side",
    )  # fmt: skip
    use_bias: bool = param(default=True, tune=(True, False), doc="learn an intercept")
    init_method: str = param(
        default="uniform", choices=("uniform", "normal"), doc="how weights start"
    )
    init_scale: float = param(default=0.07, above=0, doc="half-width of the uniform start")
    init_sigma: float = param(default=0.01, above=0, doc="deviation of the normal start")
    init_bias: float = param(default=0.0, doc="where the bias starts")
    normalize_data: bool = param(
        default=True, auto=True, doc="scale the features to unit variance; auto: yes"
    )
    unbias_data: bool = param(
        default=AUTO, auto=lambda p, spec: p.use_bias,
        doc="centre the features; auto: when there is a bias",
    )  # fmt: skip
    normalize_label: bool = param(
        default=AUTO, auto=lambda p, spec: p.predictor_type == "regressor",
        doc="scale the label to unit variance; auto: for regression",
    )  # fmt: skip
    unbias_label: bool = param(
        default=AUTO, auto=lambda p, spec: p.predictor_type == "regressor" and p.use_bias,
        doc="centre the label; auto: for regression with a bias",
    )  # fmt: skip
    num_point_for_scaler: int = param(
        default=10_000, low=1, doc="rows that mean and deviation are taken from"
    )
    positive_example_weight_mult: float | str = param(
        default=1.0, words=("balanced",), auto=AUTO, above=0, tune=(1e-5, 1e5), scale="log",
        doc="weight of label 1; balanced: negatives / positives; auto: 1, balanced and its root "
        "side by side",
    )  # fmt: skip
    balance_multiclass_weights: bool = param(
        default=False, doc="weigh classes by the inverse of their frequency"
    )
    margin: float = param(default=1.0, low=0, doc="margin of hinge_loss")
    quantile: float = param(default=0.5, above=0, below=1, doc="quantile of quantile_loss")
    loss_insensitivity: float = param(
        default=0.01, low=0, doc="width of the eps_insensitive losses"
    )
    huber_delta: float = param(default=1.0, low=0, doc="where huber_loss turns linear")
    early_stopping_patience: int = param(
        default=3, low=1, doc="epochs without gain that are allowed"
    )
    early_stopping_tolerance: float = param(
        default=0.001, above=0, doc="least relative gain that counts"
    )
    binary_classifier_model_selection_criteria: str = param(
        default="accuracy", library="loss_function", choices=CRITERIA,
        doc="what selects model and threshold of a binary_classifier; without validation rows the "
        "least training loss selects the model; the estimators' loss_function leaves the "
        "threshold at 0.5, so that predict agrees with predict_proba",
    )  # fmt: skip
    target_recall: float = param(default=0.8, above=0, below=1, doc="of precision_at_target_recall")
    target_precision: float = param(
        default=0.8, above=0, below=1, doc="of recall_at_target_precision"
    )
    f_beta: float = param(default=1.0, above=0, doc="beta of the F score")
    accuracy_top_k: int = param(
        default=3, low=1, high=1_000_000, doc="k of the reported top-k accuracy"
    )
    num_calibration_samples: int = param(
        default=AUTO, auto=10_000_000, low=1, doc="rows that the threshold is chosen on, at most"
    )

    def cross_check(self) -> None:
        """Check that loss, classes and optimizer fit."""
        fitting = losses_of(self.predictor_type)
        if self.loss not in (AUTO, *fitting):
            raise UserError(
                f"loss={self.loss} does not fit predictor_type={self.predictor_type}: "
                f"that takes {', '.join(fitting)}"
            )
        if self.predictor_type == "multiclass_classifier" and self.num_classes < 2:
            raise UserError(
                "num_classes is required for predictor_type=multiclass_classifier, 3 or more"
            )
        if self.huber_delta == 0 and self.loss == "huber_loss":
            raise UserError("huber_delta=0: huber_loss needs a number > 0")

    @property
    def criterion(self) -> str:
        """What selects a binary classifier, under one name."""
        given: str = self.binary_classifier_model_selection_criteria
        return SAME_CRITERION.get(given, given)

    @property
    def selects_by_score(self) -> bool:
        """Whether models are selected by what a threshold on their scores achieves."""
        return self.predictor_type == "binary_classifier" and self.criterion != "loss_function"

    @property
    def classes(self) -> int:
        """Outputs of one model."""
        multiclass = self.predictor_type == "multiclass_classifier"
        return self.num_classes if multiclass else 1


def grid(p: Any, balanced: float) -> list[dict[str, Any]]:
    """The settings that a run tries: the product of what is left "auto", 32 at most.

    Parameters
    ----------
    p : LinearLearnerParameters
    balanced : float
        Negatives per positive in the data.
    """
    used = dict(AXES)
    if not p.use_lr_scheduler:  # these would make no difference
        used["lr_scheduler_minimum_lr"], used["lr_scheduler_step"] = (1e-5,), (10,)
    choices = {name: values if getattr(p, name) == AUTO else (getattr(p, name),)
               for name, values in used.items()}  # fmt: skip
    weight = p.positive_example_weight_mult
    weights = {AUTO: (1.0, math.sqrt(balanced), balanced), "balanced": (balanced,)}
    choices["positive_example_weight_mult"] = (
        weights[weight] if isinstance(weight, str) else (weight,)
    )
    product = itertools.product(*choices.values())
    return [dict(zip(choices, values, strict=True)) for values in product][:MOST_MODELS]
