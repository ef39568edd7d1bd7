"""A short run through the whole package, without any test library: for odd environments."""

import sys
import tempfile
from pathlib import Path

import numpy as np

import smalgos
from smalgos import formats
from smalgos.container.job import ChannelConfig, Job, execute
from smalgos.formats import Block


def main() -> int:
    """0 when everything works."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((2000, 7)).astype(np.float32)
    y = (X @ rng.standard_normal(7) + 0.1 * rng.standard_normal(2000) > 0).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        for name in ("train.csv", "train.pbr"):
            formats.write(base / name, Block.of(X, y))
            again = formats.read(base / name)
            assert np.array_equal(again.features, X), name
            assert np.array_equal(again.labels, y), name
        outcome = execute(
            Job(
                algorithm="linear-learner",
                hyperparameters={"predictor_type": "binary_classifier", "mini_batch_size": "100"},
                channels={"train": ChannelConfig(base / "train.pbr")},
                model_dir=base / "model",
            )
        )
        assert outcome.why == "done"
        model = smalgos.load(base / "model")
        assert (model.predict(X) == y).mean() > 0.95
    regression = smalgos.LinearLearnerRegressor().fit(X, X @ np.arange(7.0))
    assert regression.score(X, X @ np.arange(7.0)) > 0.99
    assert smalgos.PCA(num_components=3).fit_transform(X).shape == (2000, 3)
    wide = rng.standard_normal((1000, 32)).astype(np.float32)
    near = smalgos.KNNRegressor(k=1).fit(wide, np.arange(1000))
    assert (near.predict(wide) == np.arange(1000)).all()
    far = smalgos.RandomCutForest().fit(X).anomaly_score(np.vstack([X[:1], X[:1] + 9]))
    assert far[1] > 2 * far[0]
    sys.stdout.write(f"smalgos {smalgos.__version__} works\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
