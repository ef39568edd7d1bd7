"""Linear Learner as an estimator."""

import copy

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_iris
from sklearn.linear_model import LogisticRegression, QuantileRegressor, Ridge
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import smalgos
from smalgos import LinearLearnerClassifier, LinearLearnerRegressor
from smalgos.errors import UserError


@pytest.fixture(scope="module")
def cancer():
    return load_breast_cancer(return_X_y=True)


@pytest.mark.parametrize("load", [load_iris, load_breast_cancer, load_digits])
def test_small_sets_are_learnt_as_well_as_by_scikit_learn(load):
    X, y = load(return_X_y=True)
    ours = cross_val_score(LinearLearnerClassifier(), X, y).mean()
    peer = cross_val_score(make_pipeline(StandardScaler(), LogisticRegression()), X, y).mean()
    assert ours > peer - 0.02


def test_the_optimum_is_reached(cancer):
    """Log loss within half a percent of the optimum of the same penalised problem."""
    X, y = cancer
    model = LinearLearnerClassifier(
        wd=0.01, learning_rate=0.1, lr_scheduler_step=10, epochs=300, early_stopping_patience=300,
        bias_lr_mult=1,
    ).fit(X, y)  # fmt: skip
    Z = StandardScaler().fit_transform(X)
    # wd / 2 |w|^2 + mean loss = (1 / (n C)) |w|^2 / 2 + mean loss
    best = LogisticRegression(C=1 / (0.01 * len(y)), tol=1e-9, max_iter=1000).fit(Z, y)

    def objective(p, w):
        return log_loss(y, p) + 0.005 * (w**2).sum()

    w = model.coef_[0].astype(np.float64) * X.std(axis=0)
    ours = objective(model.predict_proba(X), w)
    assert ours < objective(best.predict_proba(Z), best.coef_) * 1.005


def test_regression_reaches_ridge():
    X, y = load_diabetes(return_X_y=True)
    ours = LinearLearnerRegressor(epochs=60).fit(X, y).score(X, y)
    assert ours > Ridge(alpha=1e-3).fit(X, y).score(X, y) - 0.005


@pytest.mark.parametrize("q", [0.1, 0.5, 0.9])
def test_quantiles(q):
    """quantile 0.9 predicts above nine labels of ten."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((2000, 3))
    y = X @ [1, 2, 3] + rng.standard_normal(2000) * 2
    model = LinearLearnerRegressor(
        loss="quantile_loss", quantile=q, epochs=60, early_stopping_patience=60
    ).fit(X, y)
    assert (model.predict(X) >= y).mean() == pytest.approx(q, abs=0.02)
    peer = QuantileRegressor(quantile=q, alpha=0).fit(X, y)

    def pinball(e):
        return np.maximum(q * e, (q - 1) * e).mean()

    assert pinball(y - model.predict(X)) < pinball(y - peer.predict(X)) * 1.02


def test_labels_of_any_kind(cancer):
    X, y = cancer
    names = np.array(["benign", "malignant"])[y]
    model = LinearLearnerClassifier(epochs=3).fit(X, names)
    assert list(model.classes_) == ["benign", "malignant"]
    assert (model.predict(X) == names).mean() > 0.95
    assert model.predict_proba(X).sum(axis=1) == pytest.approx(1)
    assert np.array_equal(model.decision_function(X) > 0, model.predict(X) == "malignant")
    with pytest.raises(UserError, match=r"label 'unknown' is not among the classes \['benign'"):
        model.partial_fit(X[:5], ["unknown"] * 5)
    with pytest.raises(UserError, match=r"only one class, 1\.0: "):
        model.fit(X[:5], np.ones(5))


def test_what_is_misspelt_is_found():
    with pytest.raises(TypeError, match="argument 'lerning_rate'; did you mean learning_rate"):
        LinearLearnerClassifier(lerning_rate=1)
    with pytest.raises(TypeError, match=r"argument 'xyz'$"):
        LinearLearnerClassifier(xyz=1)


def test_rows_that_are_bad_are_named_by_their_table(cancer):
    X, y = cancer
    bad = np.where(np.arange(len(X))[:, None] == 3, np.nan, X)
    with pytest.raises(UserError, match="X_val, row 3, counted from 0: feature 0 is NaN"):
        LinearLearnerClassifier(epochs=1).fit(X, y, X_val=bad, y_val=y)


def test_verbose_may_be_true(cancer, capsys):
    X, y = cancer
    LinearLearnerClassifier(epochs=1, verbose=True).fit(X, y)
    assert "epoch 1/1, train cross_entropy" in capsys.readouterr().err


def test_kinds_of_tables_give_the_same_bytes(cancer, tmp_path):
    X, y = cancer
    X = X.astype(np.float32)
    files = set()
    for rows in (X, X.astype(np.float64), np.asfortranarray(X), X.tolist()):
        LinearLearnerClassifier(epochs=2).fit(rows, y).save(tmp_path / "m")
        files.add((tmp_path / "m").read_bytes())
    assert len(files) == 1
    named = LinearLearnerClassifier(epochs=2).fit(pd.DataFrame(X).add_prefix("f"), y)
    assert list(named.feature_names_in_[:2]) == ["f0", "f1"]
    other = LinearLearnerClassifier(epochs=2).fit(
        pl.DataFrame(X, schema=[f"f{i}" for i in range(30)]), y
    )
    assert np.array_equal(named.coef_, other.coef_)


def test_sparse_rows(cancer):
    X, y = cancer
    X = X * (np.random.default_rng(0).random(X.shape) < 0.2)
    dense = LinearLearnerClassifier(epochs=4).fit(X, y)
    thin = LinearLearnerClassifier(epochs=4).fit(sparse.csr_matrix(X), y)
    assert thin.coef_ == pytest.approx(dense.coef_, rel=0.02, abs=2e-4)
    assert np.array_equal(thin.predict(sparse.csc_matrix(X)), thin.predict(X))


def test_validation_chooses(cancer):
    X, y = cancer
    A, B, a, b = train_test_split(X, y, random_state=0)
    model = LinearLearnerClassifier().fit(A, a, X_val=B, y_val=b)
    losses = [m["score"] for m in model.models_]
    assert len(losses) == 32
    assert model.best_model_ == int(np.argmin(losses))
    assert log_loss(b, model.predict_proba(B)) == pytest.approx(min(losses), rel=1e-4)
    with pytest.raises(UserError, match="without y_val"):
        model.fit(A, a, X_val=B)


@pytest.mark.parametrize(
    "criterion",
    ["accuracy", "f_beta", "precision_at_target_recall", "recall_at_target_precision"],
)
@pytest.mark.parametrize("validated", [True, False])
@pytest.mark.parametrize("loss", ["logistic", "hinge_loss"])
def test_the_threshold_serves_the_criterion(criterion, validated, loss):
    from sklearn.metrics import accuracy_score, f1_score, precision_score, recall_score

    rng = np.random.default_rng(1)
    X = rng.standard_normal((3000, 4))
    y = (X @ [1, 1, 0, 0] + rng.standard_normal(3000) > 1.5).astype(int)
    more = {"X_val": X, "y_val": y} if validated else {}
    model = LinearLearnerClassifier(
        binary_classifier_model_selection_criteria=criterion, epochs=4, loss=loss,
        target_recall=0.7, target_precision=0.6,
    ).fit(X, y, **more)  # fmt: skip
    plain = LinearLearnerClassifier(epochs=4, loss=loss).fit(X, y, **more)
    label, default = model.predict(X), plain.predict(X)
    score = model.models_[model.best_model_]["score"]
    if not validated:  # the training loss selects the model, the criterion only its threshold
        assert score == min(m["score"] for m in model.models_) == min(model.loss_curve_)
    if criterion == "accuracy":
        assert accuracy_score(y, label) >= accuracy_score(y, default) - 1e-9
        assert not validated or score == pytest.approx(accuracy_score(y, label))
    elif criterion == "f_beta":
        assert f1_score(y, label) > f1_score(y, default)
    elif criterion == "precision_at_target_recall":
        assert recall_score(y, label) >= 0.7
        assert not validated or score == pytest.approx(precision_score(y, label))
    else:
        assert precision_score(y, label) >= 0.6
    assert np.array_equal(model.decision_function(X) >= 0, label == 1)


def test_partial_fit_learns_from_a_stream():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((4000, 5))
    y = np.where(X @ [1, 2, 0, 0, -1] > 0, "yes", "no")
    model = LinearLearnerClassifier(mini_batch_size=50)
    for i in range(0, 4000, 500):
        model.partial_fit(X[i : i + 500], y[i : i + 500], classes=["no", "yes"])
    assert model.score(X, y) > 0.97
    assert model.n_iter_ == 8
    with pytest.raises(UserError, match="differ"):
        model.partial_fit(X, y, classes=["a", "b"])


def test_saved_state_goes_on(tmp_path):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((1000, 5))
    y = X @ np.arange(5.0)
    model = LinearLearnerRegressor(mini_batch_size=50).partial_fit(X[:500], y[:500])
    model.save(tmp_path / "half", state=True)
    model.partial_fit(X[500:], y[500:])
    again = smalgos.load(tmp_path / "half")
    again.partial_fit(X[500:], y[500:])
    assert np.array_equal(again.coef_, model.coef_)
    pickled = tmp_path / "p"
    joblib.dump(model, pickled)
    assert np.array_equal(joblib.load(pickled).predict(X), model.predict(X))
    assert np.array_equal(copy.deepcopy(model).predict(X), model.predict(X))


def test_warm_start_goes_on():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((1000, 5))
    y = X @ np.arange(5.0)
    model = LinearLearnerRegressor(epochs=1, warm_start=True, learning_rate=0.005, wd=0.0)
    errors = [((model.fit(X, y).predict(X) - y) ** 2).mean() for _ in range(6)]
    assert errors[-1] < 0.5 * errors[0]
    assert model.n_iter_ == 6


def test_loaded_as_saved(cancer, tmp_path):
    X, y = cancer
    names = np.array(["b", "m"])[y]
    model = LinearLearnerClassifier(epochs=2, wd=0.01).fit(pd.DataFrame(X).add_prefix("f"), names)
    model.save(tmp_path / "m.safetensors")
    again = smalgos.load(tmp_path / "m.safetensors")
    assert type(again) is LinearLearnerClassifier
    assert again.wd == 0.01
    assert list(again.classes_) == ["b", "m"]
    frame = pd.DataFrame(X).add_prefix("f")
    assert np.array_equal(again.predict(frame), model.predict(frame))
    assert again.models_ == model.models_


def test_class_weight(cancer):
    X, y = cancer
    X, y = X[(y == 1) | (np.arange(len(y)) % 8 == 0)], y[(y == 1) | (np.arange(len(y)) % 8 == 0)]
    plain = LinearLearnerClassifier(epochs=4, wd=1.0).fit(X, y)
    even = LinearLearnerClassifier(epochs=4, wd=1.0, class_weight="balanced").fit(X, y)
    assert even.predict_proba(X)[:, 0].mean() > plain.predict_proba(X)[:, 0].mean()


def test_searched_and_cloned(cancer):
    X, y = cancer
    search = GridSearchCV(LinearLearnerClassifier(epochs=2), {"wd": [1e-4, 10.0]}, cv=2).fit(X, y)
    assert search.best_params_ == {"wd": 1e-4}
    assert clone(search.best_estimator_).get_params() == search.best_estimator_.get_params()


def test_callbacks_hear_and_stop(cancer):
    X, y = cancer
    heard = []

    def callback(event, **facts):
        heard.append(event)
        return event == "pass" and facts["state"].epoch == 2

    model = LinearLearnerClassifier(early_stopping_patience=50).set_callbacks(callback).fit(X, y)
    assert model.n_iter_ == 2
    assert heard[0] == "begin"
    assert heard[-1] == "stop"


def test_a_progress_bar_when_asked_for(cancer, capsys):
    X, y = cancer
    LinearLearnerClassifier(epochs=2, verbose=1).fit(X, y)
    assert "LinearLearnerClassifier" in capsys.readouterr().err
    LinearLearnerClassifier(epochs=2).fit(X, y)
    told = capsys.readouterr()
    assert told.err == told.out == ""


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"wd": -1}, "wd=-1: must be a number >= 0, or auto"),
        ({"loss": "squared_loss"}, "binary_classifier: that takes logistic, hinge_loss"),
        ({"epochs": 0}, "epochs=0"),
        ({"device": "gpu"}, "gpu"),
        ({"num_models": 2.5}, "num_models=2.5: must be an integer"),
    ],
)
def test_bad_hyperparameters_are_named(cancer, given, said):
    with pytest.raises(UserError) as caught:
        LinearLearnerClassifier(**given).fit(*cancer)
    assert said in str(caught.value)


def test_hinge_has_no_probabilities(cancer):
    model = LinearLearnerClassifier(loss="hinge_loss", epochs=3).fit(*cancer)
    assert not hasattr(model, "predict_proba")
    assert model.score(*cancer) > 0.95


def test_large_means_do_not_hurt():
    """Timestamps beside small numbers: sums and products are taken about the mean."""
    rng = np.random.default_rng(0)
    base = rng.standard_normal((2000, 2))
    X = np.column_stack([1.6e9 + 1e5 * base[:, 0], base[:, 1]])
    y = base[:, 0].astype(np.float32) + base[:, 1]
    model = LinearLearnerRegressor(epochs=30).fit(X, y)
    assert model.score(X, y) > 0.999


def test_l1_gives_exact_zeros():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((2000, 20))
    y = X[:, 0] - X[:, 1]
    model = LinearLearnerRegressor(l1=0.1, learning_rate=0.01, wd=0.0, epochs=30).fit(X, y)
    assert np.count_nonzero(model.coef_) == 2
