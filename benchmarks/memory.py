"""Trains under a limit of address space: what the cells of the problem memory call."""

import resource
import tempfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import numpy as np

from benchmarks.measure import measured, status
from smalgos import formats
from smalgos.container.job import ChannelConfig, Job, execute
from smalgos.formats import Block

WIDTH = 100
ROW_BYTES = 452  # of such a record, about
HYPERPARAMETERS: dict[str, dict[str, str]] = {
    "linear-learner": {"predictor_type": "binary_classifier", "epochs": "1"},
    "pca": {"feature_dim": str(WIDTH), "num_components": "10", "mini_batch_size": "500"},
    "kmeans": {"feature_dim": str(WIDTH), "k": "10"},
    "knn": {
        "feature_dim": str(WIDTH),
        "k": "5",
        "sample_size": "20000",
        "predictor_type": "classifier",
    },
}


def make(folder: str, allowance: int, times: list[int]) -> dict:
    """Files of so many times the allowance, and one of a few rows."""
    for n in times:
        rows = n * allowance * 1_000_000 // ROW_BYTES
        formats.write(Path(folder) / f"{n}.pbr", blocks(rows))
    formats.write(Path(folder) / "few.pbr", blocks(20_000))
    return {}


def blocks(rows: int) -> Iterator[Block]:
    """Made as they are written."""
    rng = np.random.default_rng(0)
    w = rng.standard_normal(WIDTH, np.float32)
    for a in range(0, rows, 10_000):
        X = rng.standard_normal((min(10_000, rows - a), WIDTH), np.float32)
        yield Block.of(X, (X @ w + rng.standard_normal(len(X)) > 0).astype(np.float32))


def train(folder: str, allowance: int, algorithm: str, times: int) -> dict:
    """One job, as the container runs it."""
    file = Path(folder) / f"{times}.pbr"
    with tempfile.TemporaryDirectory() as models:

        def work(path: Path) -> None:
            execute(
                Job(algorithm, HYPERPARAMETERS[algorithm], {"train": ChannelConfig(path)},
                    Path(models))
            )  # fmt: skip

        def warm() -> None:
            work(Path(folder) / "few.pbr")
            limit = status("VmSize") + allowance * 1_000_000
            resource.setrlimit(resource.RLIMIT_AS, (limit, limit))

        rows = times * allowance * 1_000_000 // ROW_BYTES
        told = measured(lambda: work(file), warm=warm, rows=rows)
    return told | {"version": version("smalgos"), "quality": {"allowance": allowance}}
