"""Models to serve."""

import numpy as np
import pytest

from smalgos.algorithms.linear_learner.model import LinearModel
from smalgos.algorithms.pca import PCAModel
from smalgos.serving.app import application
from smalgos.serving.settings import Settings

D = 4


def linear(outputs=1, predictor_type="binary_classifier", loss="logistic"):
    """A linear model of D features."""
    rng = np.random.default_rng(outputs)
    return LinearModel(
        coef=rng.normal(size=(D, outputs)).astype(np.float32),
        intercept=np.linspace(-0.5, 0.5, outputs),
        shift=np.ones(D, np.float32),
        threshold=0.5,
        loss=loss,
        predictor_type=predictor_type,
    )


def components():
    """A PCA model of D features."""
    rng = np.random.default_rng(0)
    v = np.linalg.qr(rng.normal(size=(D, 2)))[0].astype(np.float32)
    mean = np.arange(D, dtype=np.float32)
    return PCAModel(v=v, s=np.array([2.0, 1.0]), mean=mean, trace=6.0, n=10)


MODELS = {
    "binary": linear,
    "multiclass": lambda: linear(3, "multiclass_classifier", "softmax_loss"),
    "regressor": lambda: linear(1, "regressor", "squared_loss"),
    "pca": components,
}


@pytest.fixture(scope="session")
def models():
    """One of each kind."""
    made = {name: make() for name, make in MODELS.items()}
    for model in made.values():
        model.check()
    return made


@pytest.fixture(scope="session")
def app(models):
    """A server of the binary classifier."""
    return application(models["binary"], Settings(None))


@pytest.fixture(scope="session")
def folder(models, tmp_path_factory):
    """A folder of saved models."""
    root = tmp_path_factory.mktemp("models")
    for name, model in models.items():
        (root / name).mkdir()
        model.save(root / name / "model.safetensors")
    return root
