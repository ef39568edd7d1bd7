"""A model's bytes do not tell whether an estimator or a container trained it."""

import numpy as np
import pytest

import smalgos
from tests.container.box import Box, numbers, records

# Where the library's defaults are not the original's.
LINEAR = {
    "epochs": 3, "mini_batch_size": 64, "shuffle": False, "drop_last": True,
    "binary_classifier_model_selection_criteria": "accuracy",
}  # fmt: skip
CASES = {
    "binary": (
        "LinearLearnerClassifier",
        LINEAR,
        {"predictor_type": "binary_classifier"},
    ),
    "multiclass": (
        "LinearLearnerClassifier",
        LINEAR,
        {"predictor_type": "multiclass_classifier", "num_classes": "3"},
    ),
    "regression": ("LinearLearnerRegressor", LINEAR, {"predictor_type": "regressor"}),
    "pca": ("PCA", {"num_components": 2}, {}),
}


def rows(case, n, seed):
    features, score = numbers(n, seed=seed)
    labels = {
        "binary": score > 0,
        "multiclass": np.digitize(score, [-1, 1]),
        "regression": score,
        "pca": score,
    }[case]
    return features, labels.astype(np.float32)


@pytest.mark.parametrize("case", CASES)
def test_estimator_and_container_write_the_same_file(case, tmp_path, monkeypatch, capsys):
    name, given, wire = CASES[case]
    x, y = rows(case, 1000, 0)
    x_val, y_val = rows(case, 300, 1)
    linear = case != "pca"
    box = Box(tmp_path / "ml", "linear-learner" if linear else "pca")
    spelled = {n: str(v) for n, v in given.items()}
    box.hyperparameters(**spelled, **wire, random_state="3")
    box.channel("train", {"a.pbr": records(x, y)})
    if linear:
        box.channel("validation", {"a.pbr": records(x_val, y_val)})
    code, out = box.run(monkeypatch, capsys)
    assert code == 0, out

    estimator = getattr(smalgos, name)(**given, random_state=3)
    if linear:
        estimator.fit(x, y, X_val=x_val, y_val=y_val)
    else:
        estimator.fit(x)
    estimator.save(tmp_path / "model.safetensors")
    assert (tmp_path / "model.safetensors").read_bytes() == box.model.read_bytes()
