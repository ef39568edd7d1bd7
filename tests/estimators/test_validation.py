"""Validation rows that one call has and the next one has not."""

import inspect

import numpy as np
import pytest

import smalgos

FM = {"num_factors": 4, "mini_batch_size": 50, "epochs": 2}
LINEAR = {"mini_batch_size": 50, "epochs": 2}
RANKED = LINEAR | {"binary_classifier_model_selection_criteria": "f1", "num_models": 4}
WORDS = {"vector_dim": 8, "min_count": 1, "epochs": 2}

RNG = np.random.default_rng(0)
X = RNG.normal(size=(300, 5)).astype(np.float32)
Y = X[:, 0] + 0.3 * RNG.normal(size=300)
PAIRS = [(f"user {i % 20}", f"10.0.{i % 20}.{i % 7}") for i in range(300)]
TEXTS = [["good", "fine"] if i % 2 else ["bad", "poor"] for i in range(300)]

RUNS = [
    (smalgos.FactorizationMachineClassifier, FM, X, Y > 0),
    (smalgos.FactorizationMachineRegressor, FM, X, Y),
    (smalgos.IPInsights, {"num_entity_vectors": 100, "vector_dim": 8, "epochs": 2}, PAIRS, None),
    (smalgos.LinearLearnerClassifier, LINEAR, X, Y > 0),
    (smalgos.LinearLearnerClassifier, RANKED, X, Y > 0),
    (smalgos.LinearLearnerRegressor, LINEAR, X, Y),
    (smalgos.TextClassifier, WORDS | {"patience": 9, "min_epochs": 1}, TEXTS, X[:, 0] > 0),
]
every_run = pytest.mark.parametrize(("cls", "given", "rows", "labels"), RUNS)


def made(cls, given):
    return cls(random_state=0, **given)


def fitted(cls, given, rows, labels, *callbacks):
    """Two hundred rows learnt from, a hundred looked at."""
    if cls is smalgos.TextClassifier:
        given = given | {"early_stopping": True}
    model = made(cls, given).set_callbacks(*callbacks)
    told = {} if labels is None else {"y": labels[:200], "y_val": labels[200:]}
    return model.fit(rows[:200], X_val=rows[200:], **told).set_callbacks()


def more(model, rows, labels):
    return model.partial_fit(rows[100:], *([] if labels is None else [labels[100:]]))


def arrays(model):
    return {n: a for n, a in vars(model.model_).items() if isinstance(a, np.ndarray)}


def test_no_estimator_is_left_out():
    found = {name for name in smalgos._ESTIMATORS if takes_both(getattr(smalgos, name))}
    assert found == {cls.__name__ for cls, *_ in RUNS}


def takes_both(cls):
    return hasattr(cls, "partial_fit") and "X_val" in inspect.signature(cls.fit).parameters


@every_run
def test_partial_fit_goes_on_from_the_last_epoch(cls, given, rows, labels, tmp_path):
    model = fitted(cls, given, rows, labels)
    first = [] if labels is None else [labels[:200]]
    want = arrays(more(made(cls, given).fit(rows[:200], *first), rows, labels))
    assert want
    for _ in range(2):
        more(model, rows, labels)
        for name, array in arrays(model).items():
            if cls is not smalgos.TextClassifier:  # which went back to its best epoch
                np.testing.assert_array_equal(array, want[name], err_msg=name)
        model = fitted(cls, given, rows, labels)
        model.save(tmp_path / "model", state=True)
        model = smalgos.load(tmp_path / "model")
    more(model, rows, labels).save(tmp_path / "model", state=True)
    more(smalgos.load(tmp_path / "model"), rows, labels)


@every_run
@pytest.mark.parametrize("name", ["train", "validate", "calibrate"])
def test_partial_fit_goes_on_after_a_stop(cls, given, rows, labels, name):
    def stop(event, **facts):
        return event == "batch" and facts["p"].name == name

    model = fitted(cls, given, rows, labels, stop)
    seen = model.state_.seen
    assert more(model, rows, labels).state_.seen == seen + 200
