"""smalgos: the built-in algorithms of Amazon SageMaker as an open numerical library.

Estimators load when first asked for, so that importing the package is cheap.
"""

import importlib
from pathlib import Path
from typing import Any

from smalgos.errors import AlgorithmError, NotReady, PlatformError, UserError

# Estimator -> its module in smalgos.estimators.
_ESTIMATORS = {
    "BoostedTreesClassifier": "boosted_trees",
    "BoostedTreesRanker": "boosted_trees",
    "BoostedTreesRegressor": "boosted_trees",
    "FactorizationMachineClassifier": "factorization_machines",
    "FactorizationMachineRegressor": "factorization_machines",
    "IPInsights": "ip_insights",
    "KMeans": "kmeans",
    "KNNClassifier": "knn",
    "KNNRegressor": "knn",
    "LinearLearnerClassifier": "linear_learner",
    "LinearLearnerRegressor": "linear_learner",
    "PCA": "pca",
    "RandomCutForest": "random_cut_forest",
    "StreamingRandomCutForest": "streaming_random_cut_forest",
    "TextClassifier": "text_classifier",
    "ThresholdedRandomCutForest": "thresholded_random_cut_forest",
    "Word2Vec": "word2vec",
}

__all__ = [
    "PCA",
    "AlgorithmError",
    "BoostedTreesClassifier",
    "BoostedTreesRanker",
    "BoostedTreesRegressor",
    "FactorizationMachineClassifier",
    "FactorizationMachineRegressor",
    "IPInsights",
    "KMeans",
    "KNNClassifier",
    "KNNRegressor",
    "LinearLearnerClassifier",
    "LinearLearnerRegressor",
    "NotReady",
    "PlatformError",
    "RandomCutForest",
    "StreamingRandomCutForest",
    "TextClassifier",
    "ThresholdedRandomCutForest",
    "UserError",
    "Word2Vec",
    "__version__",
    "load",
    "shingle",
]


def load(path: str | Path, device: str = "auto") -> Any:
    """The estimator of a model file.

    Parameters
    ----------
    path : str or Path
        What `save`, `smalgos train` or the container wrote; a folder that holds
        ``model.safetensors`` will do.
    device : {"auto", "cpu", "gpu"}

    Returns
    -------
    estimator
        Fitted; ready for `partial_fit`, too, where the file was saved with its state.

    Raises
    ------
    UserError
        When the file is damaged or no model. Nothing in it is ever executed.
    """
    from smalgos.estimators.base import load_estimator

    return load_estimator(path, device)


def __getattr__(name: str) -> Any:
    if name in _ESTIMATORS:
        module = importlib.import_module(f"smalgos.estimators.{_ESTIMATORS[name]}")
        return getattr(module, name)
    if name == "shingle":
        from smalgos.learning.series import shingle

        return shingle
    if name == "__version__":
        from importlib.metadata import version

        return version("smalgos")
    if name in ("formats", "kernels"):
        return importlib.import_module(f"smalgos.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
