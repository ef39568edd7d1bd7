"""A model's bytes do not tell whether an estimator or a container trained it."""

import numpy as np
import pytest

import smalgos
from tests.container.box import RECORDIO, Box, numbers, records

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
    "trees": (
        "BoostedTreesClassifier",
        {"num_round": 4, "subsample": 0.7, "eval_metric": ["error", "auc"]},
        {"objective": "binary:logistic"},
    ),
    "trees of classes": (
        "BoostedTreesClassifier",
        {"num_round": 3},
        {"objective": "multi:softprob", "num_class": "3"},
    ),
}
ALGORITHMS = {"PCA": "pca", "BoostedTreesClassifier": "xgboost"}


def rows(case, n, seed):
    features, score = numbers(n, seed=seed)
    labels = {
        "binary": score > 0,
        "multiclass": np.digitize(score, [-1, 1]),
        "regression": score,
        "pca": score,
        "trees": score > 0,
        "trees of classes": np.digitize(score, [-1, 1]),
    }[case]
    return features, labels.astype(np.float32)


@pytest.mark.parametrize("case", CASES)
def test_estimator_and_container_write_the_same_file(case, tmp_path, monkeypatch, capsys):
    name, given, wire = CASES[case]
    x, y = rows(case, 1000, 0)
    x_val, y_val = rows(case, 300, 1)
    labelled = case != "pca"
    box = Box(tmp_path / "ml", ALGORITHMS.get(name, "linear-learner"))
    spelled = {n: ",".join(v) if isinstance(v, list) else str(v) for n, v in given.items()}
    box.hyperparameters(**spelled, **wire, random_state="3")
    box.channel("train", {"a.pbr": records(x, y)}, RECORDIO)
    if labelled:
        box.channel("validation", {"a.pbr": records(x_val, y_val)}, RECORDIO)
    box.trained(monkeypatch, capsys)

    estimator = getattr(smalgos, name)(**given, random_state=3)
    if labelled:
        estimator.fit(x, y, X_val=x_val, y_val=y_val)
    else:
        estimator.fit(x)
    estimator.save(tmp_path / box.file)
    assert (tmp_path / box.file).read_bytes() == box.model.read_bytes()
