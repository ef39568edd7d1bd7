"""xLearn's factorization machines: AdaGrad row by row, lock-free."""

import os
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measure import threads
from benchmarks.peers.modern_fm import sparse
from benchmarks.quality import log_loss


def written(folder: str, which: str) -> str:
    """The rows as libsvm text, which it reads from files alone."""
    path = Path(folder) / f"rows{which}.svm"
    if not path.exists():
        from smalgos import formats

        X, y = sparse(folder, which)
        formats.write(path, formats.Block.of(X, y), content_type="text/libsvm")
    return str(path)


def fit(folder: str, epochs: int, **given: Any) -> dict[str, Any]:
    """Seconds of `epochs` epochs: what so many more take than one does, so without reading."""
    import xlearn

    os.environ.setdefault("USER", "benchmarks")  # it names its log by it, or dies
    train, held = written(folder, ""), written(folder, "_held")
    model, answers = (str(Path(folder) / f"xlearn.{name}") for name in ("model", "answers"))
    given = {"task": "binary", "opt": "adagrad", "lambda": 0.0, "nthread": threads()} | given

    def run(n: int) -> tuple[float, Any]:
        fm = xlearn.create_fm()
        fm.setTrain(train)
        fm.setQuiet()
        fm.disableNorm()
        began = time.perf_counter()
        fm.fit(given | {"epoch": n}, model)
        return time.perf_counter() - began, fm

    more = max(epochs, 4)
    first, _ = run(1)  # which also leaves a binary copy of the text
    short = run(1)[0]
    per_epoch = (run(1 + more)[0] - short) / more
    fm = run(epochs)[1]
    fm.setTest(held)
    fm.setSigmoid()
    fm.predict(model, answers)
    p = np.loadtxt(answers, dtype=np.float64)
    loss = log_loss(sparse(folder, "_held")[1], p)
    rows = len(sparse(folder)[1])
    return {
        "version": version("xlearn"), "seconds": epochs * per_epoch, "cpu": None,
        "warmup": first, "peak_mb": None, "rate": rows / per_epoch / 1e6, "unit": "M rows/s",
        "quality": {"log loss": loss},
    }  # fmt: skip
