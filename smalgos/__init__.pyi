# Written by `python -m smalgos.estimators.stubs`. Do not edit.
from pathlib import Path
from typing import Any

from smalgos.errors import AlgorithmError as AlgorithmError
from smalgos.errors import NotReady as NotReady
from smalgos.errors import PlatformError as PlatformError
from smalgos.errors import UserError as UserError
from smalgos.estimators.linear_learner import LinearLearnerClassifier as _LinearLearnerClassifier
from smalgos.estimators.linear_learner import LinearLearnerRegressor as _LinearLearnerRegressor
from smalgos.estimators.pca import PCA as _PCA

__version__: str
_ESTIMATORS: dict[str, str]

def load(path: str | Path, device: str = "auto") -> Any: ...

class LinearLearnerClassifier(_LinearLearnerClassifier):
    def __init__(
        self,
        *,
        loss: str = "auto",
        epochs: int = 15,
        mini_batch_size: int | str = "auto",
        shuffle: bool = True,
        drop_last: bool = False,
        num_models: int | str = "auto",
        optimizer: str = "auto",
        learning_rate: float | str = "auto",
        wd: float | str = "auto",
        l1: float | str = "auto",
        momentum: float | str = "auto",
        beta_1: float | str = "auto",
        beta_2: float | str = "auto",
        bias_lr_mult: float | str = "auto",
        bias_wd_mult: float | str = "auto",
        use_lr_scheduler: bool = True,
        lr_scheduler_step: int | str = "auto",
        lr_scheduler_factor: float | str = "auto",
        lr_scheduler_minimum_lr: float | str = "auto",
        use_bias: bool = True,
        init_method: str = "uniform",
        init_scale: float = 0.07,
        init_sigma: float = 0.01,
        init_bias: float = 0.0,
        normalize_data: bool | str = True,
        unbias_data: bool | str = "auto",
        normalize_label: bool | str = "auto",
        unbias_label: bool | str = "auto",
        num_point_for_scaler: int = 10000,
        positive_example_weight_mult: float | str = 1.0,
        balance_multiclass_weights: bool = False,
        margin: float = 1.0,
        quantile: float = 0.5,
        loss_insensitivity: float = 0.01,
        huber_delta: float = 1.0,
        early_stopping_patience: int = 3,
        early_stopping_tolerance: float = 0.001,
        binary_classifier_model_selection_criteria: str = "loss_function",
        target_recall: float = 0.8,
        target_precision: float = 0.8,
        f_beta: float = 1.0,
        accuracy_top_k: int = 3,
        num_calibration_samples: int | str = "auto",
        random_state: Any = 0,
        n_jobs: int | None = None,
        device: str = "auto",
        verbose: int = 0,
        class_weight: Any = None,
        warm_start: Any = False,
    ) -> None: ...

class LinearLearnerRegressor(_LinearLearnerRegressor):
    def __init__(
        self,
        *,
        loss: str = "auto",
        epochs: int = 15,
        mini_batch_size: int | str = "auto",
        shuffle: bool = True,
        drop_last: bool = False,
        num_models: int | str = "auto",
        optimizer: str = "auto",
        learning_rate: float | str = "auto",
        wd: float | str = "auto",
        l1: float | str = "auto",
        momentum: float | str = "auto",
        beta_1: float | str = "auto",
        beta_2: float | str = "auto",
        bias_lr_mult: float | str = "auto",
        bias_wd_mult: float | str = "auto",
        use_lr_scheduler: bool = True,
        lr_scheduler_step: int | str = "auto",
        lr_scheduler_factor: float | str = "auto",
        lr_scheduler_minimum_lr: float | str = "auto",
        use_bias: bool = True,
        init_method: str = "uniform",
        init_scale: float = 0.07,
        init_sigma: float = 0.01,
        init_bias: float = 0.0,
        normalize_data: bool | str = True,
        unbias_data: bool | str = "auto",
        normalize_label: bool | str = "auto",
        unbias_label: bool | str = "auto",
        num_point_for_scaler: int = 10000,
        positive_example_weight_mult: float | str = 1.0,
        balance_multiclass_weights: bool = False,
        margin: float = 1.0,
        quantile: float = 0.5,
        loss_insensitivity: float = 0.01,
        huber_delta: float = 1.0,
        early_stopping_patience: int = 3,
        early_stopping_tolerance: float = 0.001,
        binary_classifier_model_selection_criteria: str = "loss_function",
        target_recall: float = 0.8,
        target_precision: float = 0.8,
        f_beta: float = 1.0,
        accuracy_top_k: int = 3,
        num_calibration_samples: int | str = "auto",
        random_state: Any = 0,
        n_jobs: int | None = None,
        device: str = "auto",
        verbose: int = 0,
        warm_start: Any = False,
    ) -> None: ...

class PCA(_PCA):
    def __init__(
        self,
        *,
        num_components: int | str = "auto",
        algorithm_mode: str = "regular",
        extra_components: int = -1,
        subtract_mean: bool = True,
        random_state: Any = 0,
        n_jobs: int | None = None,
        device: str = "auto",
        verbose: int = 0,
    ) -> None: ...
