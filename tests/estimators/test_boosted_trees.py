"""Boosted trees as estimators."""

import copy
import pickle

import joblib
import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.metrics import log_loss, ndcg_score
from sklearn.model_selection import GridSearchCV, cross_val_score, train_test_split

import smalgos
from smalgos import BoostedTreesClassifier, BoostedTreesRanker, BoostedTreesRegressor
from smalgos._jit import kernel
from smalgos.errors import UserError


@pytest.fixture(scope="module", name="cancer")
def binary():
    return load_breast_cancer(return_X_y=True)


@pytest.fixture(scope="module", name="diabetes")
def numbers():
    return load_diabetes(return_X_y=True)


@pytest.fixture(scope="module", name="queries")
def ranking():
    """(X, relevance, qid), 20 rows a query."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((600, 4))
    score = X[:, 0] + X[:, 1] * X[:, 2] + rng.normal(0, 0.3, 600)
    return X, np.digitize(score, [0, 1, 2]), np.repeat(np.arange(30), 20)


def ranked(model, X, y, qid):
    scores = model.predict(X)
    return np.mean([ndcg_score([y[qid == q]], [scores[qid == q]]) for q in np.unique(qid)])


# -- how well it learns


@pytest.mark.compiled
@pytest.mark.parametrize("load", [load_iris, load_breast_cancer])
def test_classes_are_learnt_as_well_as_by_scikit_learn(load):
    X, y = load(return_X_y=True)
    ours = cross_val_score(BoostedTreesClassifier(num_round=50), X, y).mean()
    peer = cross_val_score(HistGradientBoostingClassifier(max_iter=50), X, y).mean()
    assert ours > peer - 0.02


@pytest.mark.compiled
def test_numbers_are_learnt_as_well_as_by_scikit_learn(diabetes):
    given = {"eta": 0.1, "num_round": 60, "max_depth": 3}
    ours = cross_val_score(BoostedTreesRegressor(**given), *diabetes).mean()
    peer = HistGradientBoostingRegressor(learning_rate=0.1, max_iter=60, max_depth=3)
    assert ours > cross_val_score(peer, *diabetes).mean() - 0.02


@pytest.mark.parametrize("objective", ["rank:ndcg", "rank:pairwise", "rank:map"])
def test_queries_are_put_in_order(queries, objective):
    X, y, qid = queries
    y = np.minimum(y, 1) if objective == "rank:map" else y
    half = qid < 20
    model = BoostedTreesRanker(objective=objective, num_round=30, max_depth=3)
    model.fit(X[half], y[half], qid=qid[half])
    found = ranked(model, X[~half], y[~half], qid[~half])
    chance = np.mean([ndcg_score([y[qid == q]], [X[qid == q, 3]]) for q in range(20, 30)])
    assert found > 0.5 * (1 + chance)


# -- labels and predictions


def test_labels_of_any_kind(cancer):
    X, y = cancer
    names = np.array(["benign", "malignant"])[y]
    model = BoostedTreesClassifier(num_round=5).fit(X, names)
    assert list(model.classes_) == ["benign", "malignant"]
    assert (model.predict(X) == names).mean() > 0.97
    p = model.predict_proba(X)
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_array_equal(model.decision_function(X) > 0, model.predict(X) == "malignant")
    np.testing.assert_allclose(p[:, 1], 1 / (1 + np.exp(-model.predict_margin(X))), rtol=1e-5)
    flags = BoostedTreesClassifier(num_round=5).fit(X, y == 1)
    assert flags.predict(X).dtype == bool


@pytest.mark.parametrize("objective", ["auto", "multi:softprob", "multi:softmax"])
def test_several_classes(objective):
    X, y = load_iris(return_X_y=True)
    names = np.array(["a", "b", "c"])[y]
    model = BoostedTreesClassifier(num_round=5, objective=objective).fit(X, names)
    assert (model.predict(X) == names).mean() > 0.95
    margin = model.predict_margin(X)
    assert margin.shape == model.decision_function(X).shape == (150, 3)
    e = np.exp(margin - margin.max(axis=1, keepdims=True))
    np.testing.assert_allclose(
        model.predict_proba(X), e / e.sum(axis=1, keepdims=True), rtol=1e-5, atol=1e-7
    )
    np.testing.assert_array_equal(model.classes_[margin.argmax(axis=1)], model.predict(X))


def test_two_classes_as_several(cancer):
    X, y = cancer
    model = BoostedTreesClassifier(num_round=5, objective="multi:softprob").fit(X, y)
    assert model.predict_proba(X).shape == (len(y), 2)
    assert model.score(X, y) > 0.97


@pytest.mark.parametrize("objective", ["binary:hinge", "binary:logitraw"])
def test_objectives_without_probabilities(cancer, objective):
    X, y = cancer
    model = BoostedTreesClassifier(num_round=10, objective=objective).fit(X, y)
    assert not hasattr(model, "predict_proba")
    assert model.score(X, y) > 0.95
    assert set(np.unique(model.predict(X))) == {0, 1}


@pytest.mark.parametrize(
    "objective",
    ["reg:squarederror", "reg:absoluteerror", "reg:pseudohubererror", "reg:gamma", "reg:tweedie",
     "count:poisson", "reg:squaredlogerror"],
)  # fmt: skip
def test_objectives_of_numbers(diabetes, objective):
    X, y = diabetes
    y = y / 200  # where pseudo-Huber's hessians are not yet tiny
    model = BoostedTreesRegressor(objective=objective, num_round=80, max_depth=3).fit(X, y)
    assert model.score(X, y) > 0.45
    assert model.predict(X).shape == (len(y),)


def test_quantiles(diabetes):
    X, y = diabetes
    model = BoostedTreesRegressor(
        objective="reg:quantileerror", quantile_alpha=[0.1, 0.5, 0.9], num_round=40, max_depth=2,
        min_child_weight=20,
    ).fit(X, y)  # fmt: skip
    said = model.predict(X)
    assert said.shape == (len(y), 3)
    np.testing.assert_allclose((y[:, None] < said).mean(axis=0), [0.1, 0.5, 0.9], atol=0.07)


def test_weights_count(cancer):
    X, y = cancer
    plain = BoostedTreesClassifier(num_round=3).fit(X, y)
    heavy = BoostedTreesClassifier(num_round=3).fit(X, y, sample_weight=1 + 9 * (y == 0))
    assert heavy.predict_proba(X)[:, 0].mean() > plain.predict_proba(X)[:, 0].mean()
    scaled = BoostedTreesClassifier(num_round=3, scale_pos_weight=0.1).fit(X, y)
    assert scaled.predict_proba(X)[:, 0].mean() > plain.predict_proba(X)[:, 0].mean()


# -- tables


@pytest.mark.compiled
def test_kinds_of_tables_give_the_same_model(diabetes):
    X, y = diabetes
    X = X.astype(np.float32)
    want = BoostedTreesRegressor(num_round=5).fit(X, y).predict(X)
    for rows in (X.astype(np.float64), np.asfortranarray(X), X.tolist(), pd.DataFrame(X)):
        model = BoostedTreesRegressor(num_round=5).fit(rows, y)
        np.testing.assert_array_equal(model.predict(rows), want)
    read_only = X.copy()
    read_only.setflags(write=False)
    model = BoostedTreesRegressor(num_round=5).fit(read_only, y)
    np.testing.assert_array_equal(model.predict(read_only), want)


def test_what_sparse_rows_lack_is_missing(diabetes):
    X, y = diabetes
    X = X * (np.random.default_rng(0).random(X.shape) < 0.1)
    thin = BoostedTreesRegressor(num_round=5).fit(sparse.csr_matrix(X), y)
    missing = np.where(X == 0, np.nan, X)
    dense = BoostedTreesRegressor(num_round=5).fit(missing, y)
    np.testing.assert_array_equal(thin.predict(sparse.csc_matrix(X)), dense.predict(missing))
    empty = sparse.csr_matrix((50, 3))
    model = BoostedTreesRegressor(num_round=2).fit(empty, np.arange(50))
    np.testing.assert_allclose(model.predict(empty), 24.5, rtol=1e-6)


def test_names_of_features(cancer):
    X, y = cancer
    frame = pd.DataFrame(X).add_prefix("f")
    model = BoostedTreesClassifier(num_round=3).fit(frame, y)
    assert list(model.feature_names_in_[:2]) == ["f0", "f1"]
    with pytest.raises(ValueError, match="feature names"):
        model.predict(frame.rename(columns={"f0": "g"}))


# -- looking at a model


def test_contributions_sum_to_margins(cancer):
    X, y = cancer
    model = BoostedTreesClassifier(num_round=10).fit(X, y)
    margin = model.predict_margin(X)
    for approximate in (False, True):
        parts = model.contributions(X, approximate=approximate)
        assert parts.shape == (len(X), 31)
        np.testing.assert_allclose(parts.sum(axis=1), margin, atol=1e-4)
    pairs = model.interactions(X[:20])
    np.testing.assert_allclose(pairs.sum(axis=2), model.contributions(X[:20]), atol=1e-4)
    X, y = load_iris(return_X_y=True)
    model = BoostedTreesClassifier(num_round=3).fit(X, y)
    parts = model.contributions(X)
    assert parts.shape == (150, 3, 5)
    np.testing.assert_allclose(parts.sum(axis=2), model.predict_margin(X), atol=1e-4)


def test_importances():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((500, 5))
    y = 3 * X[:, 1] + X[:, 3]
    model = BoostedTreesRegressor(num_round=10, max_depth=3).fit(X, y)
    share = model.feature_importances_
    assert share.sum() == pytest.approx(1)
    assert list(np.argsort(share)[::-1][:2]) == [1, 3]
    inner = model.model_.trees.left >= 0
    counts = np.bincount(model.model_.trees.feature[inner], minlength=5)
    np.testing.assert_array_equal(model.importance("weight"), counts)
    with pytest.raises(UserError, match="importance"):
        model.importance("gini")
    flat = BoostedTreesRegressor(num_round=1).fit(X, np.ones(500))
    np.testing.assert_array_equal(flat.feature_importances_, 0)


@pytest.mark.parametrize("booster", ["gbtree", "dart"])
def test_stages_are_models_of_fewer_rounds(cancer, booster):
    X, y = cancer
    given = {"booster": booster, "max_depth": 3, "random_state": 0}
    model = BoostedTreesClassifier(num_round=4, **given).fit(X, y)
    classes, shares = list(model.staged_predict(X)), list(model.staged_predict_proba(X))
    assert len(classes) == len(shares) == 4
    for i in range(4):
        short = BoostedTreesClassifier(num_round=i + 1, **given).fit(X, y)
        np.testing.assert_allclose(shares[i], short.predict_proba(X), atol=1e-6)
        np.testing.assert_array_equal(classes[i], short.predict(X))
    assert model.apply(X).shape == (len(X), 4)


def test_stages_of_numbers(diabetes):
    X, y = diabetes
    model = BoostedTreesRegressor(num_round=5, objective="count:poisson").fit(X, y)
    stages = list(model.staged_predict(X))
    np.testing.assert_array_equal(stages[-1], model.predict(X))
    errors = [((s - y) ** 2).mean() for s in stages]
    assert (np.diff(errors) < 0).all()


# -- validation, metrics and objectives of the user's own


@pytest.mark.compiled
def test_metrics_after_each_round(cancer):
    X, y = cancer
    A, B, a, b = train_test_split(X, y, random_state=0)
    model = BoostedTreesClassifier(num_round=200, eval_metric=["auc", "logloss"],
                                   early_stopping_rounds=5)  # fmt: skip
    model.fit(A, a, X_val=B, y_val=b)
    history = model.evals_result_["validation"]
    assert set(history) == {"auc", "logloss"}
    assert len(history["auc"]) == model.n_iter_ < 200
    assert model.best_iteration_ == int(np.argmin(history["logloss"]))
    assert log_loss(b, model.predict_proba(B)) == pytest.approx(min(history["logloss"]), rel=1e-4)
    without = BoostedTreesClassifier(num_round=3).fit(A, a)
    assert without.evals_result_ == {}
    assert without.best_iteration_ == 2
    with pytest.raises(UserError, match="without y_val"):
        model.fit(A, a, X_val=B)
    with pytest.raises(UserError, match="no validation rows"):
        model.fit(A, a)
    model.fit(A, a, X_val=B, y_val=b)


@kernel(cache=False)
def huber(margin, labels):
    g, h = np.empty_like(margin), np.empty_like(margin)
    for i in range(len(margin)):
        z = margin[i] - labels[i]
        root = np.sqrt(1 + z * z)
        g[i], h[i] = z / root, 1 / root**3
    return g, h


def squares(margin, labels, weights):
    return (margin - labels) * weights, weights


def test_objectives_of_the_users_own(diabetes):
    X, y = diabetes
    y = (y / 50).astype(np.float32)
    weight = np.random.default_rng(0).random(len(y))
    common = {"num_round": 10, "max_depth": 3, "random_state": 0, "base_score": 0.5}
    own = BoostedTreesRegressor(objective=squares, **common).fit(X, y, weight)
    usual = BoostedTreesRegressor(**common).fit(X, y, weight)
    np.testing.assert_allclose(own.predict(X), usual.predict(X), atol=1e-4)
    own = BoostedTreesRegressor(objective=huber, **common).fit(X, y)
    plain = BoostedTreesRegressor(objective=getattr(huber, "py_func", huber), **common).fit(X, y)
    usual = BoostedTreesRegressor(objective="reg:pseudohubererror", **common).fit(X, y)
    np.testing.assert_allclose(own.predict(X), plain.predict(X), atol=1e-3)
    np.testing.assert_allclose(own.predict(X), usual.predict(X), atol=1e-3)
    assert list(own.staged_predict(X))[-1].shape == (len(y),)


def test_objectives_of_the_users_own_for_classes():
    X, y = load_iris(return_X_y=True)

    def softmax(margin, labels):
        e = np.exp(margin - margin.max(axis=1, keepdims=True))
        p = e / e.sum(axis=1, keepdims=True)
        return p - np.eye(3)[labels.astype(int)], np.maximum(2 * p * (1 - p), 1e-16)

    own = BoostedTreesClassifier(objective=softmax, num_round=5).fit(X, y)
    usual = BoostedTreesClassifier(num_round=5).fit(X, y)
    np.testing.assert_allclose(own.predict_proba(X), usual.predict_proba(X), atol=0.02)

    def logistic(margin, labels):
        p = 1 / (1 + np.exp(-margin))
        return p - labels, p * (1 - p)

    binary = BoostedTreesClassifier(objective=logistic, num_round=5).fit(X, y == 1)
    assert binary.score(X, y == 1) > 0.95
    assert binary.predict_proba(X).shape == (150, 2)


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (lambda m, y: (m - y, -np.ones_like(m)), "hessian is negative"),
        (lambda m, y: (m * np.nan, np.ones_like(m)), "not finite"),
        (lambda m, y: (m[:3], m[:3]), "shape"),
        (lambda m: (m, m), "argument"),
        (lambda m, y: m, "objective"),
    ],
)
def test_bad_objectives_are_named(diabetes, function, said):
    with pytest.raises(UserError, match=said):
        BoostedTreesRegressor(objective=function, num_round=2).fit(*diabetes)


def test_a_metric_of_the_users_own(diabetes):
    X, y = diabetes
    heard = []

    def off(labels, predictions):
        heard.append(predictions.shape)
        return float(np.abs(labels - predictions).max())

    model = BoostedTreesRegressor(eval_metric=off, num_round=4).fit(X, y, X_val=X, y_val=y)
    history = model.evals_result_["validation"]
    assert len(history) == 1
    (values,) = history.values()
    assert len(values) == 4
    assert heard
    assert values[-1] == pytest.approx(float(np.abs(model.predict(X) - y).max()), rel=1e-5)


def test_validation_of_queries(queries):
    X, y, qid = queries
    half = qid < 20
    model = BoostedTreesRanker(num_round=100, early_stopping_rounds=5).fit(
        X[half], y[half], X_val=X[~half], y_val=y[~half], qid=qid[half], qid_val=qid[~half]
    )
    (values,) = model.evals_result_["validation"].values()
    assert model.best_iteration_ == int(np.argmax(values))
    assert model.n_iter_ < 100


# -- going on, files


def test_warm_start_goes_on(diabetes):
    X, y = diabetes
    given = {"max_depth": 3, "random_state": 0, "subsample": 0.7}
    model = BoostedTreesRegressor(num_round=3, warm_start=True, **given).fit(X, y).fit(X, y)
    whole = BoostedTreesRegressor(num_round=6, **given).fit(X, y)
    assert model.n_iter_ == 6
    np.testing.assert_array_equal(model.predict(X), whole.predict(X))
    # On other rows, what was learnt is kept and the rest is learnt from those.
    model.fit(X[:200], y[:200] + 1000)
    assert model.n_iter_ == 9
    assert model.predict(X[:200]).mean() > y[:200].mean() + 500
    for i, stage in enumerate(model.staged_predict(X)):
        if i == 5:
            np.testing.assert_array_equal(stage, whole.predict(X))


@pytest.mark.parametrize("form", ["m.json", "m.ubj", "m.safetensors", "xgboost-model"])
def test_loaded_as_saved(cancer, queries, form, tmp_path):
    X, y = cancer
    names = np.array(["b", "m"])[y]
    frame = pd.DataFrame(X).add_prefix("f")
    for model, rows in (
        (BoostedTreesClassifier(num_round=3, eta=0.2).fit(frame, names), frame),
        (BoostedTreesClassifier(num_round=2).fit(X, (X[:, 0] // 8).astype(int)), X),
        (BoostedTreesRegressor(num_round=3, booster="dart", rate_drop=0.5).fit(X, y), X),
        (BoostedTreesRanker(num_round=3).fit(queries[0], queries[1], qid=queries[2]), queries[0]),
    ):
        model.save(tmp_path / form)
        again = smalgos.load(tmp_path / form)
        assert type(again) is type(model)
        margin = model.predict_margin(rows)
        if form == "m.safetensors":
            np.testing.assert_array_equal(again.predict_margin(rows), margin)
            np.testing.assert_array_equal(again.predict(rows), model.predict(rows))
            assert again.eta == model.model_.notes["hyperparameters"]["eta"]
        else:  # the prediction to start from is written, not the margin
            np.testing.assert_allclose(again.predict_margin(rows), margin, atol=1e-6)


def test_saved_state_goes_on(diabetes, tmp_path):
    X, y = diabetes
    given = {"max_depth": 3, "random_state": 0, "warm_start": True}
    model = BoostedTreesRegressor(num_round=3, **given).fit(X, y)
    model.save(tmp_path / "half", state=True)
    again = smalgos.load(tmp_path / "half")
    again.warm_start = True
    np.testing.assert_array_equal(again.fit(X, y).predict(X), model.fit(X, y).predict(X))
    assert again.n_iter_ == 6


def test_copies(cancer, tmp_path):
    X, y = cancer
    model = BoostedTreesClassifier(num_round=3, max_depth=3).fit(X, y)
    joblib.dump(model, tmp_path / "m")
    for again in (
        joblib.load(tmp_path / "m"), pickle.loads(pickle.dumps(model)), copy.deepcopy(model)
    ):  # fmt: skip
        np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))
        assert again.evals_result_ == model.evals_result_
    assert clone(model).get_params() == model.get_params()


def test_searched(cancer):
    X, y = cancer
    search = GridSearchCV(BoostedTreesClassifier(num_round=5), {"gamma": [0.0, 1e6]}, cv=2)
    assert search.fit(X, y).best_params_ == {"gamma": 0.0}


def test_seeds(cancer):
    X, y = cancer
    given = {"num_round": 3, "subsample": 0.5}
    a, b, c = (
        BoostedTreesClassifier(random_state=seed, **given).fit(X, y).predict_margin(X)
        for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(a, b)
    assert (a != c).any()


def test_callbacks_stop(diabetes):
    X, y = diabetes

    def callback(event, **facts):
        return event == "pass" and facts["state"].epoch == 2

    model = BoostedTreesRegressor(num_round=50).set_callbacks(callback).fit(X, y)
    assert model.n_iter_ == 2


# -- what is refused


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"eta": 2}, "eta=2"),
        ({"num_round": 0}, "num_round=0"),
        ({"max_bin": 1}, "max_bin=1"),
        ({"objective": "reg:none"}, "objective"),
        ({"objective": "count:poisson"}, "label -"),
        ({"eval_metric": "none"}, "none"),
        ({"monotone_constraints": [2]}, "monotone_constraints"),
        ({"interaction_constraints": [[99]]}, "99"),
        ({"booster": "gbforest"}, "booster"),
        ({"device": "gpu"}, "gpu"),
    ],
)
def test_bad_hyperparameters_are_named(diabetes, given, said):
    X, y = diabetes
    with pytest.raises(UserError, match=said):
        BoostedTreesRegressor(**given).fit(X, y - 100)


def test_bad_rows_are_named(diabetes):
    X, y = diabetes
    wrong = X.copy()
    wrong[7, 3] = np.inf
    with pytest.raises(UserError, match=r"row 7.*feature 3 is infinite"):
        BoostedTreesRegressor(num_round=2).fit(wrong, y)
    codes = X.copy()
    codes[:, 2] = np.arange(len(X)) % 5
    model = BoostedTreesRegressor(num_round=2, categorical_features=[2])
    model.fit(codes, y)
    beyond = codes.copy()
    beyond[4, 2] = 77
    with pytest.raises(UserError, match=r"row 4.*feature 2 is 77"):
        model.fit(codes, y, X_val=beyond, y_val=y)
    assert np.isfinite(model.predict(beyond)).all()
    with pytest.raises(ValueError, match="features"):
        model.predict(X[:, :3])


def test_classes_that_do_not_fit(cancer):
    X, _ = cancer
    three = np.arange(len(X)) % 3
    with pytest.raises(UserError, match="3 classes"):
        BoostedTreesClassifier(objective="binary:logistic").fit(X, three)
    with pytest.raises(UserError, match="only one class"):
        BoostedTreesClassifier().fit(X, np.zeros(len(X)))
    with pytest.raises(UserError, match="among the classes"):
        BoostedTreesClassifier(num_round=2).fit(X, three < 2, X_val=X, y_val=three)


def test_rankers_need_queries(queries):
    X, y, qid = queries
    with pytest.raises(UserError, match="qid is missing"):
        BoostedTreesRanker().fit(X, y)
    with pytest.raises(UserError, match="without qid_val"):
        BoostedTreesRanker().fit(X, y, X_val=X, y_val=y, qid=qid)
    with pytest.raises(UserError, match="a whole number for each"):
        BoostedTreesRanker().fit(X, y, qid=qid[:5])
    again = qid.copy()
    again[-1] = 0
    with pytest.raises(UserError, match="query 0 again"):
        BoostedTreesRanker().fit(X, y, qid=again)
    with pytest.raises(UserError, match="label"):
        BoostedTreesRanker().fit(X, y - 5, qid=qid)
