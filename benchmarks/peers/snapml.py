"""snapml (IBM)."""

from importlib.metadata import version

from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from snapml import LogisticRegression

from benchmarks.data import classes_of_two, of
from benchmarks.measure import measured, threads
from benchmarks.quality import log_loss


def fit(folder: str, scaled: bool = True, **settings: float) -> dict:
    """LogisticRegression, on scaled features; scaling is part of the time."""
    X, y, X_val, y_val = of(folder, "X", "y", "X_val", "y_val")
    small = classes_of_two(4_000, X.shape[1])
    settings = {"n_jobs": threads(), "fit_intercept": True, "random_state": 0, **settings}

    def make():
        return make_pipeline(*[StandardScaler()][:scaled], LogisticRegression(**settings))

    told = measured(lambda: make().fit(X, y), warm=lambda: make().fit(*small))
    loss = log_loss(y_val, told["value"].predict_proba(X_val)[:, 1])
    return told | {"version": version("snapml"), "quality": {"log loss": loss}}
