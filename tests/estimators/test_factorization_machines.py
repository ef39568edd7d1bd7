"""Factorization Machines as estimators: what users of scikit-learn and of recommenders expect."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

import smalgos
from smalgos import FactorizationMachineClassifier, FactorizationMachineRegressor, UserError

USERS, ITEMS = 30, 40
SIZES = [USERS, ITEMS]


def ratings(n=3000, seed=0):
    """Users, items, and whether an item pleased: by planted factors."""
    rng = np.random.default_rng(7)
    U, V = rng.normal(size=(USERS, 3)), rng.normal(size=(ITEMS, 3))
    rng = np.random.default_rng(seed)
    users, items = rng.integers(0, USERS, n), rng.integers(0, ITEMS, n)
    m = (U[users] * V[items]).sum(axis=1)
    return users, items, np.where(rng.random(n) < 1 / (1 + np.exp(-2 * m)), "yes", "no")


@pytest.fixture(scope="module")
def fitted():
    users, items, y = ratings()
    fm = FactorizationMachineClassifier(num_factors=4, fields=SIZES, epochs=20)
    return fm.fit(fm.encode(users, items), y)


def test_it_learns_what_pairs_do(fitted):
    users, items, y = ratings(2000, 1)
    X = fitted.encode(users, items)
    assert fitted.score(X, y) > 0.72
    linear = smalgos.LinearLearnerClassifier(epochs=5).fit(X, y)
    assert linear.score(X, y) < 0.7
    assert fitted.classes_.tolist() == ["no", "yes"]
    assert set(fitted.predict(X)) == {"no", "yes"}
    p, f = fitted.predict_proba(X), fitted.decision_function(X)
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(np.log(p), fitted.predict_log_proba(X), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(np.log(p[:, 1] / p[:, 0]), f, rtol=1e-3, atol=1e-4)


def test_probabilities_are_calibrated():
    """Of rows that are given a probability near p, about p are of the second class."""
    users, items, y = ratings(60_000)
    fm = FactorizationMachineClassifier(num_factors=3, fields=SIZES, epochs=5, factors_wd=0.0)
    fm.fit(fm.encode(users, items), y)
    users, items, y = ratings(40_000, 1)
    p = fm.predict_proba(fm.encode(users, items))[:, 1]
    edges = np.linspace(0, 1, 11)
    place = np.digitize(p, edges[1:-1])
    for i in range(10):
        rows = place == i
        assert rows.sum() > 500
        assert (y[rows] == "yes").mean() == pytest.approx(p[rows].mean(), abs=0.05)


def test_attributes(fitted):
    d = USERS + ITEMS
    assert fitted.coef_.shape == (d,)
    assert fitted.factors_.shape == (d, 4)
    assert isinstance(fitted.intercept_, float)
    assert fitted.n_iter_ == len(fitted.loss_curve_) == 20
    assert fitted.best_epoch_ == 19
    assert fitted.validation_curve_ == []
    assert fitted.field_weights_ is None
    assert fitted.loss_curve_[-1] < fitted.loss_curve_[0]


def test_validation_rows_stop_training_and_choose_the_epoch():
    users, items, y = ratings(600)
    fm = FactorizationMachineClassifier(fields=SIZES, epochs=100, factors_lr=0.5)
    X = fm.encode(users, items)
    fm.fit(X[:400], y[:400], X_val=X[400:], y_val=y[400:])
    assert fm.n_iter_ < 100
    assert fm.best_epoch_ == int(np.argmin(fm.validation_curve_))


@pytest.mark.parametrize("interaction", ["pairwise", "field_aware", "field_weighted"])
def test_scores_of_all_items_are_those_of_rows(interaction):
    users, items, y = ratings(500)
    fm = FactorizationMachineRegressor(
        num_factors=3, fields=SIZES, epochs=3, interaction=interaction, factors_init_sigma=0.5
    )
    X = fm.encode(users, items)
    fm.fit(X, 10 + 3 * (y == "yes"))
    scores = fm.score_items()
    assert scores.shape == (USERS, ITEMS)
    np.testing.assert_allclose(scores[users, items], fm.predict(X), rtol=1e-4, atol=1e-4)
    vectors = fm.user_vectors() @ fm.item_vectors().T
    own = fm.intercept_ + fm.coef_[:USERS, None]
    np.testing.assert_allclose(vectors + own, scores, rtol=1e-4, atol=1e-4)


def test_recommendations(fitted):
    scores = fitted.score_items()
    items, margins = fitted.recommend([3, 5], 4)
    for user, best, said in zip([3, 5], items, margins, strict=True):
        assert best.tolist() == np.argsort(-scores[user], kind="stable")[:4].tolist()
        np.testing.assert_allclose(said, scores[user, best], rtol=1e-5)
    seen = np.zeros((USERS, ITEMS))
    seen[0, 2:] = seen[1, items[0]] = 1
    items, margins = fitted.recommend(n=3, seen=sparse.csr_matrix(seen))
    assert items.shape == (USERS, 3)
    assert set(items[0]) == {0, 1, -1}
    assert np.isneginf(margins[0, 2])
    assert not (set(items[1]) & set(np.flatnonzero(seen[1])))
    assert fitted.recommend([0], 1000)[0].shape == (1, ITEMS)


def test_vectors_in_an_index_of_neighbours(fitted):
    index = smalgos.KNNRegressor(k=5, index_metric="INNER_PRODUCT", sample_size=ITEMS)
    index.fit(fitted.item_vectors(), np.arange(ITEMS))
    _, found = index.kneighbors(fitted.user_vectors()[:6])
    assert found.tolist() == fitted.recommend(range(6), 5)[0].tolist()


def test_columns_of_users_and_items_may_be_told():
    users, items, y = ratings(400)
    X = FactorizationMachineClassifier(fields=SIZES).encode(users, items)
    fm = FactorizationMachineClassifier(num_factors=3, epochs=2).fit(X, y)
    with pytest.raises(UserError, match="which columns are users and which are items"):
        fm.item_vectors()
    told = slice(0, USERS), np.arange(USERS, USERS + ITEMS)
    S = fm.score_items(*told)
    np.testing.assert_allclose(S[users, items], fm.decision_function(X), rtol=1e-4, atol=1e-5)
    with pytest.raises(UserError, match="columns must be from 0 to 69"):
        fm.item_vectors([70])


@pytest.mark.parametrize(
    ("codes", "said"),
    [
        (([0, 30], [0, 0]), "field 0: 30 in row 1 is not from 0 to 29"),
        (([0], [-1]), "field 1: -1 in row 0"),
        (([0.5], [1]), "whole numbers"),
        (([0, 1], [1]), "unlike lengths"),
        (([0],), "1 columns of numbers"),
    ],
)
def test_codes_that_cannot_be(codes, said):
    with pytest.raises(UserError, match=said):
        FactorizationMachineClassifier(fields=SIZES).encode(*codes)


def test_names_of_interactions():
    pd = pytest.importorskip("pandas")
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.choice([-1.0, 1.0], (600, 5)), columns=list("abcde"))
    y = X["b"] * X["e"] - 0.4 * X["a"] * X["c"] + 0.1 * rng.normal(size=600)
    fm = FactorizationMachineRegressor(num_factors=6, epochs=40).fit(X, y)
    assert fm.score(X, y) > 0.9
    (a, b, s), (c, d, t), *_ = fm.top_interactions_(10)
    assert {a, b} == {"b", "e"}
    assert {c, d} == {"a", "c"}
    assert s == pytest.approx(1, abs=0.25)
    assert t == pytest.approx(-0.4, abs=0.2)
    assert len(fm.top_interactions_(10)) == 10
    assert np.array_equal(fm.feature_names_in_, list("abcde"))


def test_partial_fit_goes_on_after_saving(tmp_path):
    users, items, y = ratings(1000)
    fm = FactorizationMachineClassifier(num_factors=3, fields=SIZES, mini_batch_size=50)
    X = fm.encode(users, items)
    fm.partial_fit(X[:500], y[:500])
    fm.save(tmp_path / "m", state=True)
    again = smalgos.load(tmp_path / "m")
    assert isinstance(again, FactorizationMachineClassifier)
    assert again.get_params() == fm.get_params() | {"mini_batch_size": 50} | {
        name: again.get_params()[name] for name in ("bias_lr", "linear_lr", "factors_lr")
    }
    for estimator in (fm, again):
        estimator.partial_fit(X[500:], y[500:])
    assert np.array_equal(fm.factors_, again.factors_)
    assert np.array_equal(fm.predict_proba(X), again.predict_proba(X))
    assert fm.n_iter_ == 2


def test_warm_start_goes_on():
    users, items, y = ratings(500)
    given = {"num_factors": 3, "fields": SIZES, "mini_batch_size": 50, "shuffle": False}
    X = FactorizationMachineClassifier(**given).encode(users, items)
    once = FactorizationMachineClassifier(epochs=4, **given).fit(X, y)
    twice = FactorizationMachineClassifier(epochs=2, warm_start=True, **given).fit(X, y).fit(X, y)
    assert np.array_equal(once.factors_, twice.factors_)


def test_threads_and_dense_rows():
    users, items, y = ratings(5000)
    given = {"num_factors": 5, "fields": SIZES, "epochs": 2}
    X = FactorizationMachineClassifier(**given).encode(users, items)
    one, two = (FactorizationMachineClassifier(n_jobs=n, **given).fit(X, y) for n in (1, 2))
    assert one.factors_.tobytes() == two.factors_.tobytes()
    dense = FactorizationMachineClassifier(**given, factors_wd=0.0, linear_wd=0.0).fit(
        X.toarray(), y
    )
    still = FactorizationMachineClassifier(**given, factors_wd=0.0, linear_wd=0.0).fit(X, y)
    # AdaGrad does not move what has no gradient: dense zeros are as good as none.
    np.testing.assert_allclose(dense.factors_, still.factors_, rtol=1e-3, atol=1e-5)


def test_in_a_pipeline():
    users, items, y = ratings(1500)
    model = make_pipeline(OneHotEncoder(), FactorizationMachineClassifier(num_factors=4))
    model.fit(np.column_stack([users, items]), y)
    assert model.score(np.column_stack([users, items]), y) > 0.75


def test_three_classes_are_too_many():
    with pytest.raises(UserError, match="Only binary classification is supported"):
        FactorizationMachineClassifier().fit(np.eye(6), [0, 1, 2, 0, 1, 2])


def test_fields_as_an_array_and_bad_ones():
    X, y = np.eye(6, dtype=np.float32), [0, 1, 0, 1, 0, 1]
    given = {"interaction": "field_aware", "num_factors": 2, "epochs": 1}
    field = np.array([0, 0, 1, 1, 2, 2])
    fm = FactorizationMachineClassifier(fields=field, **given).fit(X, y)
    assert fm.factors_.shape == (6, 3, 2)
    with pytest.raises(UserError, match="add up to 7"):
        FactorizationMachineClassifier(fields=[3, 4], **given).fit(X, y)
    with pytest.raises(UserError, match="needs fields"):
        FactorizationMachineClassifier(**given).fit(X, y)
