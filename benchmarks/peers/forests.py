"""Streams through random cut forests: smalgos, rcf3, krcf and the open Java core.

Each row is scored, then taken in, on one thread, by forests that are full before the clock starts.
rcf3 and krcf take one row a call; Java's loop is inside of its process.
"""

import os
import statistics
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measure import measured

TREES, SAMPLES = 40, 256
FIRST = 4_000  # rows that fill forests
PASSES = 5  # of Java, which compiles during the first ones
HERE = Path(__file__).parent


def make(folder: str, rows: int, width: int) -> dict[str, Any]:
    """Normal rows."""
    X = np.random.default_rng(0).standard_normal((FIRST + rows, width), np.float32)
    np.save(Path(folder) / f"stream{width}.npy", X)
    return {}


def followed(
    folder: str, width: int, follow: Callable[[np.ndarray], float], library: str, times: float = 1
) -> dict[str, Any]:
    """What a cell answers; `follow` takes rows and says the mean of their scores."""
    from importlib.metadata import version

    X = np.load(Path(folder) / f"stream{width}.npy")
    first, rows = X[:FIRST], X[FIRST : FIRST + round(times * (len(X) - FIRST))]
    told = measured(lambda: follow(rows), warm=lambda: follow(first), at_least=1.0, rows=len(rows))
    quality = {"mean score": told.pop("value")}
    if times != 1:
        told |= {"seconds": told["seconds"] / times, "cpu": told["cpu"] / times}
    return told | {"version": version(library), "quality": quality}


def blocks(folder: str, width: int) -> dict[str, Any]:
    """StreamingRandomCutForest.score_update."""
    forest = _ours(width)
    return followed(folder, width, lambda X: float(forest.score_update(X).mean()), "smalgos")


def rows(folder: str, width: int) -> dict[str, Any]:
    """StreamingRandomCutForest.score_update_one."""
    forest = _ours(width)

    def follow(X: np.ndarray) -> float:
        return statistics.fmean(forest.score_update_one(x) for x in X)

    return followed(folder, width, follow, "smalgos")


def _ours(width: int) -> Any:
    from smalgos import StreamingRandomCutForest

    forest = StreamingRandomCutForest(
        num_trees=TREES, num_samples_per_tree=SAMPLES, n_jobs=1, random_state=0
    )
    return forest.fit(np.zeros((1, width), np.float32))


def rcf3(folder: str, width: int) -> dict[str, Any]:
    """update_and_score; of a part of the rows, scaled."""
    import rcf3 as library

    forest = library.Forest(
        input_dim=width, num_trees=TREES, capacity=SAMPLES, time_decay=0.1 / SAMPLES,
        internal_shingling=False, initial_accept_fraction=1.0, seed=1,
    )  # fmt: skip

    def follow(X: np.ndarray) -> float:
        return statistics.fmean(forest.update_and_score(x) for x in X.tolist())

    return followed(folder, width, follow, "rcf3", 0.2)


def krcf(folder: str, width: int) -> dict[str, Any]:
    """score, then update; of a part of the rows, scaled."""
    import krcf as library

    forest = library.RandomCutForest({
        "dimensions": width, "shingle_size": 1, "num_trees": TREES, "sample_size": SAMPLES,
        "output_after": 1, "random_seed": 1, "parallel_execution_enabled": False,
        "lam": 0.1 / SAMPLES, "internal_shingling": False, "initial_accept_fraction": 1.0,
    })  # fmt: skip

    def one(x: list[float]) -> float:
        score: float = forest.score(x)
        forest.update(x)
        return score

    def follow(X: np.ndarray) -> float:
        return statistics.fmean(one(x) for x in X.tolist())

    return followed(folder, width, follow, "krcf", 0.2)


def java(folder: str, width: int) -> dict[str, Any]:
    """The Java core, from the classes that SMALGOS_ORACLE_RCF names."""
    X = np.load(Path(folder) / f"stream{width}.npy")[FIRST:]
    file = Path(folder) / f"stream{width}.bin"
    X.astype("<f4").tofile(file)
    began = time.perf_counter()
    said = subprocess.run(
        ["java", "-cp", os.environ["SMALGOS_ORACLE_RCF"], str(HERE / "ScoreUpdate.java"), str(file),
         str(width), str(TREES), str(SAMPLES), str(PASSES)],
        check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    took = time.perf_counter() - began
    passes = [[float(x) for x in line.split()] for line in said.splitlines()]
    seconds, mean = min(passes[1:])
    return {
        "seconds": seconds, "cpu": seconds, "warmup": took - seconds, "peak_mb": 0.0,
        "rate": len(X) / seconds / 1e6, "unit": "M rows/s", "version": "4.x",
        "quality": {"mean score": mean},
    }  # fmt: skip
