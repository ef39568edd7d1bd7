"""XGBoost's reader of libsvm."""

from importlib.metadata import version
from pathlib import Path

import xgboost

from benchmarks.measure import measured


def read_libsvm(path: str) -> dict:
    """To its own matrix."""
    work = lambda: xgboost.DMatrix(f"{path}?format=libsvm", silent=True)  # noqa: E731
    told = measured(work, warm=work, at_least=0.5, bytes=Path(path).stat().st_size)
    return told | {"version": version("xgboost")}
