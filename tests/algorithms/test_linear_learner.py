"""Linear Learner's own rules: the grid, the scaler, the passes, the optimum, a twin in NumPy."""

import numpy as np
import pytest

from smalgos.algorithms import algorithm
from smalgos.algorithms.linear_learner.parameters import LinearLearnerParameters, grid
from smalgos.algorithms.linear_learner.state import LinearLearnerState
from smalgos.errors import UserError
from smalgos.formats.block import Block, Csr
from smalgos.formats.channel import Arrays
from smalgos.learning import Spec
from smalgos.learning.train import train

WIRE = {"predictor_type": "binary_classifier", "mini_batch_size": "50"}


def rows(n=445, d=6, seed=0, kind="binary_classifier", classes=3):
    rng = np.random.default_rng(seed)
    X = (rng.standard_normal((n, d)) * np.geomspace(0.1, 50, d) + np.arange(d)).astype(np.float32)
    f = (X - X.mean(axis=0)) / X.std(axis=0) @ rng.standard_normal(d) + rng.standard_normal(n)
    y = {"regressor": 7 + 3 * f, "binary_classifier": f > 0.3}.get(kind)
    if y is None:
        y = np.digitize(f, np.quantile(f, np.linspace(0, 1, classes + 1)[1:-1]))
    return Block.of(X, np.asarray(y, np.float32))


def learn(given, block=None, validation=None, side=None, facts=None, rows_known=None):
    block = rows(kind=given["predictor_type"]) if block is None else block
    channels = {"train": Arrays(block)}
    if validation is not None:
        channels["validation"] = Arrays(validation)
    a = algorithm("linear-learner")
    spec = Spec.of(
        block, rows=rows_known, channels=frozenset(channels), side=side or {}, facts=facts or {}
    )
    state = a.state(a.parameters.parse(given), spec)
    heard = []
    train(state, channels, report=lambda event, **facts: heard.append((event, facts)) and None)
    return state, heard


def test_the_grid_is_the_originals():
    """Bits of the index: schedule step, least rate, rate, then two bits of wd."""
    settings = grid(LinearLearnerParameters.parse(WIRE), 1.0)
    assert len(settings) == 32
    for index, setting in enumerate(settings):
        assert setting == {
            "lr_scheduler_step": (10, 100)[index & 1],
            "lr_scheduler_minimum_lr": (1e-5, 1e-4)[index >> 1 & 1],
            "learning_rate": (0.005, 0.1)[index >> 2 & 1],
            "wd": (1e-4, 0.01, 1.0, 100.0)[index >> 3],
            "positive_example_weight_mult": 1.0,
        }


@pytest.mark.parametrize(
    ("given", "models"),
    [
        ({}, 32),
        ({"wd": "0.1"}, 8),
        ({"learning_rate": "0.1", "wd": "0"}, 4),
        ({"use_lr_scheduler": "false"}, 8),
        ({"positive_example_weight_mult": "auto", "wd": "0", "learning_rate": "0.1"}, 12),
        ({"num_models": "5"}, 5),
    ],
)
def test_how_many_models(given, models):
    state, _ = learn({**WIRE, "epochs": "1", **given})
    assert state.p.num_models == models
    assert len(state.model().notes["models"]) == models


def test_one_model_under_tuning():
    state, _ = learn({**WIRE, "epochs": "1"}, facts={"tuning": True})
    assert state.p.num_models == 1


@pytest.mark.parametrize("kind", ["binary_classifier", "regressor", "multiclass_classifier"])
@pytest.mark.parametrize("sparse", [False, True])
def test_a_model_of_the_grid_is_the_model_trained_alone(kind, sparse):
    given = {"predictor_type": kind, "num_classes": "3", "mini_batch_size": "50", "epochs": "2"}
    block = rows(kind=kind)
    if sparse:
        block = block.replace(features=Csr.of(block.features))
    many, _ = learn(given, block)
    settings = grid(many.p, 1.0)
    for index in (0, 5, 13, 22, 31):
        alone, _ = learn(given | {n: str(v) for n, v in settings[index].items()}, block)
        assert alone.p.num_models == 1
        ours = many.unpacked(many.weights["w"])[:, index]
        assert np.array_equal(ours, alone.unpacked(alone.weights["w"])[:, 0]), index
        assert np.array_equal(many.loss_curve[:, index], alone.loss_curve[:, 0])


def test_models_of_one_setting_differ_by_their_start():
    fixed = {name: str(v) for name, v in grid(LinearLearnerParameters.parse(WIRE), 1.0)[0].items()}
    state, _ = learn({**WIRE, **fixed, "num_models": "3", "epochs": "1"})
    w = state.unpacked(state.weights["w"])
    assert not np.array_equal(w[:, 0], w[:, 1])
    alone, _ = learn({**WIRE, **fixed, "epochs": "1"})
    assert np.array_equal(w[:, 0], alone.unpacked(alone.weights["w"])[:, 0])


def test_passes_over_the_data():
    """One look for the scaler, then one pass per epoch, however many models there are."""
    opened = []

    class Counted(Arrays):
        def open(self, order=None, *, limited=False, rows=None):
            opened.append(limited)
            return super().open(order, limited=limited, rows=rows)

    for models in ("1", "32"):
        opened.clear()
        block = rows()
        a = algorithm("linear-learner")
        given = {**WIRE, "epochs": "4", "num_models": models, "early_stopping_patience": "99"}
        parameters = a.parameters.parse(
            given | {"binary_classifier_model_selection_criteria": "loss_function"}
        )
        state = a.state(parameters, Spec.of(block))
        train(state, {"train": Counted(block)})
        assert opened == [True] + [False] * 4


def test_the_scaler_takes_whole_batches_of_the_first_rows():
    block = rows()
    state, heard = learn({**WIRE, "epochs": "1", "mini_batch_size": "100"}, block)
    assert state.scaler.mean == pytest.approx(block.features[:400].mean(axis=0), rel=1e-5)
    assert state.scaler.std == pytest.approx(block.features[:400].std(axis=0), rel=1e-5)
    assert [f["rows"] for e, f in heard if e == "pass"][:2] == [400, 400]
    state, _ = learn({**WIRE, "epochs": "1", "num_point_for_scaler": "120"}, block)
    assert state.scaler.mean == pytest.approx(block.features[:100].mean(axis=0), rel=1e-5)


def test_constant_features_are_left_alone():
    block = rows()
    block.features[:, 2] = 1234567.0
    state, _ = learn({**WIRE, "epochs": "1"}, block)
    assert state.scaler.std[2] == 1
    assert np.isfinite(state.model().coef).all()


@pytest.mark.parametrize(
    ("given", "mean", "std"),
    [
        ({"normalize_data": "false"}, False, False),
        ({"unbias_data": "false"}, False, True),
        ({"use_bias": "false"}, False, True),
        ({"normalize_data": "auto"}, True, True),
    ],
)
def test_what_the_scaler_may_do(given, mean, std):
    state, _ = learn({**WIRE, "epochs": "1", **given})
    assert (state.scaler.mean != 0).any() == mean
    assert (state.scaler.std != 1).any() == std
    if given.get("use_bias") == "false":
        assert state.model().intercept == pytest.approx(0, abs=1e-6)


def adam(X, y, batch, epochs, lr, wd, every, least, start, *, bias_mult=10.0):
    """Plain NumPy in float64: logistic loss, the original's order of operations."""
    n, d = X.shape
    w, b = start[:d].astype(float), float(start[d])
    m, v, t, losses = np.zeros(d + 1), np.zeros(d + 1), 0, []
    for _ in range(epochs):
        total = 0.0
        for i in range(0, n - n % batch, batch):
            x, label = X[i : i + batch], y[i : i + batch]
            f = x @ w + b
            total += np.sum(np.logaddexp(0, f) - label * f)
            g = (1 / (1 + np.exp(-f)) - label) / batch
            grad = np.append(x.T @ g + wd * w, g.sum())
            t += 1
            rate = max(lr * 0.99 ** ((t - 1) // every), least)
            m, v = 0.9 * m + 0.1 * grad, 0.999 * v + 0.001 * grad**2
            move = np.sqrt(1 - 0.999**t) / (1 - 0.9**t) * m / (np.sqrt(v) + 1e-8)
            w, b = w - rate * move[:d], b - rate * bias_mult * move[d]
        losses.append(total / (n - n % batch))
    return w, b, losses


@pytest.mark.parametrize("sparse", [False, True])
def test_training_follows_its_twin(sparse):
    block = rows()
    X = block.features.astype(np.float64)
    mean, std = X[:400].mean(axis=0), X[:400].std(axis=0)
    Z = (X - mean) / std
    given = {**WIRE, "epochs": "3", "mini_batch_size": "100"}
    used = block.replace(features=Csr.of(block.features)) if sparse else block
    state, _ = learn(given, used)
    fresh = algorithm("linear-learner").state(LinearLearnerParameters.parse(given), Spec.of(used))
    start = fresh.unpacked(fresh.weights["w"])[:, 0, 0]
    for index, setting in enumerate(grid(state.p, 1.0)):
        w, b, losses = adam(
            Z, block.labels, 100, 3, setting["learning_rate"], setting["wd"],
            setting["lr_scheduler_step"], setting["lr_scheduler_minimum_lr"], start,
        )  # fmt: skip
        assert state.loss_curve[:, index] == pytest.approx(losses, rel=2e-4), index
        assert state.unpacked(state.weights["w"])[:, index, 0] == pytest.approx(
            np.append(w, b), rel=2e-3, abs=2e-4
        )


def test_the_model_takes_raw_rows_and_answers_in_the_labels_units():
    block = rows(kind="regressor")
    state, _ = learn(
        {"predictor_type": "regressor", "mini_batch_size": "50", "epochs": "3"}, block, block
    )
    model = state.model()
    raw = block.features.astype(float) @ model.coef + model.intercept
    assert model.predict(block)["score"] == pytest.approx(raw[:, 0], rel=1e-4, abs=1e-4)
    mse = np.mean((raw[:, 0] - block.labels) ** 2)
    assert min(m["score"] for m in model.notes["models"]) == pytest.approx(mse, rel=1e-3)


def test_balanced_weights():
    block = rows(n=1000)
    share = block.labels.mean()
    state, _ = learn({**WIRE, "epochs": "1", "positive_example_weight_mult": "balanced"}, block)
    assert state.positive()[0, 0] == pytest.approx((1 - share) / share, rel=0.01)
    kind = "multiclass_classifier"
    block = rows(n=900, kind=kind)
    given = {"predictor_type": kind, "num_classes": "4", "mini_batch_size": "50", "epochs": "1",
             "balance_multiclass_weights": "true"}  # fmt: skip
    state, _ = learn(given, block)
    assert state.positive()[0] == pytest.approx([3, 3, 3, 1e6], rel=0.01)


def test_going_on_from_an_earlier_model():
    block = rows(kind="regressor")
    given = {"predictor_type": "regressor", "mini_batch_size": "50", "epochs": "4"}
    first, _ = learn(given, block)
    again, _ = learn(given | {"epochs": "1"}, block, side={"model": first.model()})
    cold, _ = learn(given | {"epochs": "1"}, block)
    assert np.nanmin(again.loss_curve) < 0.7 * np.nanmin(cold.loss_curve)
    with pytest.raises(UserError, match="6 features and 1 outputs"):
        learn(WIRE, rows(), side={"model": object()})


@pytest.mark.parametrize(
    "name", ["adam", "sgd", "momentum", "rmsprop", "adagrad", "adadelta", "ftrl"]
)
def test_every_optimizer_learns(name):
    block = rows(n=2000)
    state, _ = learn({**WIRE, "epochs": "6", "optimizer": name}, block)
    answers = state.model().predict(block)
    assert (answers["predicted_label"] == block.labels).mean() > 0.85


@pytest.mark.parametrize("name", ["uniform", "normal"])
def test_where_weights_start(name):
    given = {**WIRE, "init_method": name, "init_bias": "0.5", "init_sigma": "0.02"}
    block = rows(n=60, d=5000)
    state = LinearLearnerState(LinearLearnerParameters.parse(given), Spec.of(block))
    w = state.unpacked(state.weights["w"])[:, 0, 0]
    assert w[-1] == 0.5
    if name == "uniform":
        assert np.abs(w[:-1]).max() == pytest.approx(0.07, rel=0.01)
    else:
        assert w[:-1].std() == pytest.approx(0.02, rel=0.05)


@pytest.mark.parametrize(
    ("kind", "label", "said"),
    [
        ("binary_classifier", 2, "label 2: binary_classifier takes 0 or 1"),
        ("binary_classifier", np.nan, "label nan"),
        ("regressor", np.inf, "label inf: must be a finite number"),
        ("multiclass_classifier", 3, "whole number below num_classes=3"),
        ("multiclass_classifier", 0.5, "label 0.5"),
    ],
)
def test_bad_labels_are_named(kind, label, said):
    block = rows(kind=kind)
    block.labels[321] = label
    given = {"predictor_type": kind, "num_classes": "3", "mini_batch_size": "50"}
    with pytest.raises(UserError, match="row 321") as caught:
        learn(given, block)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"predictor_type": "multiclass_classifier"}, "num_classes is required"),
        ({"predictor_type": "regressor", "loss": "logistic"}, "does not fit"),
        ({"predictor_type": "binary_classifier", "feature_dim": "7"}, "feature_dim=7"),
        ({"predictor_type": "classifier"}, "one of binary_classifier"),
        ({}, "predictor_type is required"),
    ],
)
def test_bad_hyperparameters_are_named(given, said):
    with pytest.raises(UserError) as caught:
        learn({"mini_batch_size": "50", **given}, rows()) if given else (
            LinearLearnerParameters.parse({})
        )
    assert said in str(caught.value)


def test_too_few_rows_for_a_batch():
    given = {**WIRE, "mini_batch_size": "1000", "epochs": "2"}
    with pytest.raises(UserError, match="has 30 rows, which do not fill one batch"):
        learn(given, rows(n=30))
    state, _ = learn(given | {"drop_last": "false"}, rows(n=30))
    assert state.step == 2


def test_divergence_is_said():
    given = {"predictor_type": "regressor", "mini_batch_size": "10", "optimizer": "sgd",
             "learning_rate": "1e6", "num_models": "1", "wd": "1", "lr_scheduler_step": "1000",
             "lr_scheduler_minimum_lr": "1e6"}  # fmt: skip
    with pytest.raises(UserError, match="diverged in epoch 0"):
        learn(given)
