"""KMeans as an estimator, beside scikit-learn's."""

import pickle

import numpy as np
import pytest
from scipy import sparse
from sklearn import cluster
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import smalgos
from smalgos import KMeans
from smalgos.errors import UserError


@pytest.fixture(scope="module")
def digits():
    return load_digits(return_X_y=True)[0].astype(np.float32)


def inertia(model, X):
    square = ((X[:, None].astype(float) - model.cluster_centers_[None]) ** 2).sum(axis=2)
    return square.min(axis=1).sum()


@pytest.mark.parametrize("solver", ["webscale", "lloyd"])
def test_as_good_as_scikit_learns_best_of_ten(digits, solver):
    peer = cluster.KMeans(10, n_init=10, random_state=0).fit(digits)
    model = KMeans(k=10, solver=solver, local_lloyd_num_trials=10).fit(digits)
    assert model.inertia_ < 1.03 * peer.inertia_
    assert model.inertia_ == pytest.approx(inertia(model, digits), rel=1e-5)


def test_the_iterations_of_scikit_learn(digits):
    start = digits[:10]
    peer = cluster.KMeans(10, init=start, n_init=1, max_iter=8, tol=0).fit(digits)
    model = KMeans(k=10, solver="lloyd", init=start, local_lloyd_max_iter=8, local_lloyd_tol=0)
    model.fit(digits)
    np.testing.assert_allclose(model.cluster_centers_, peer.cluster_centers_, atol=1e-3)
    assert (model.labels_ == peer.labels_).all()
    assert model.inertia_ == pytest.approx(peer.inertia_, rel=1e-5)
    assert model.n_iter_ == peer.n_iter_ == 8


def test_what_scikit_learns_has(digits):
    peer, model = cluster.KMeans(5, n_init=1).fit(digits), KMeans(k=5).fit(digits)
    assert model.cluster_centers_.shape == peer.cluster_centers_.shape
    assert model.labels_.dtype == peer.labels_.dtype
    assert (model.predict(digits) == model.labels_).all()
    assert model.score(digits) == pytest.approx(-model.inertia_)
    peer.cluster_centers_ = model.cluster_centers_
    np.testing.assert_allclose(model.transform(digits), peer.transform(digits), rtol=1e-3)
    assert (clone(model).fit_predict(digits) == model.labels_).all()
    assert np.array_equal(clone(model).fit_transform(digits), model.transform(digits))
    assert model.get_feature_names_out().tolist() == [f"kmeans{i}" for i in range(5)]
    piped = make_pipeline(StandardScaler(), KMeans(k=5)).fit(digits)
    assert set(piped.predict(digits)) == set(range(5))


@pytest.mark.parametrize("solver", ["webscale", "lloyd"])
def test_sparse_rows(digits, solver):
    dense = KMeans(k=6, solver=solver).fit(digits)
    thin = KMeans(k=6, solver=solver).fit(sparse.csr_matrix(digits))
    np.testing.assert_allclose(thin.cluster_centers_, dense.cluster_centers_, atol=0.02)
    assert thin.inertia_ == pytest.approx(dense.inertia_, rel=1e-4)
    np.testing.assert_allclose(
        thin.transform(sparse.csr_matrix(digits)), thin.transform(digits), rtol=1e-3
    )


@pytest.mark.parametrize("rows", [np.asarray, sparse.csr_matrix])
def test_weights_are_repetitions(digits, rows):
    weight = np.random.default_rng(0).integers(0, 4, len(digits))
    twice = np.repeat(np.arange(len(digits)), weight)
    given = {"k": 8, "solver": "lloyd", "init": digits[:8], "local_lloyd_tol": 0.0}
    weighted = KMeans(**given).fit(rows(digits), sample_weight=weight)
    repeated = KMeans(**given).fit(rows(digits[twice]))
    np.testing.assert_allclose(
        weighted.cluster_centers_, repeated.cluster_centers_, rtol=1e-4, atol=1e-4
    )
    assert weighted.inertia_ == pytest.approx(repeated.inertia_, rel=1e-5)
    assert weighted.score(rows(digits), sample_weight=weight) == pytest.approx(-weighted.inertia_)


def test_parts_of_the_rows_one_after_another(digits):
    whole = KMeans(k=8).fit(digits)
    parts = KMeans(k=8)
    for i in range(0, len(digits), 300):
        parts.partial_fit(digits[i : i + 300])
    assert -parts.score(digits) < 1.03 * whole.inertia_
    assert len(parts.labels_) == len(digits) % 300
    assert parts.state_.seen == len(digits)
    with pytest.raises(UserError, match="solver=lloyd needs all rows at once"):
        KMeans(k=8, solver="lloyd").partial_fit(digits)


def test_rows_in_order_are_chosen_from_all_over():
    X = np.repeat(np.eye(12, dtype=np.float32) * 9, 1000, axis=0)
    X += np.random.default_rng(0).normal(size=X.shape).astype(np.float32)
    shuffled, first = KMeans(k=12).fit(X), KMeans(k=12, shuffle=False).fit(X)
    assert shuffled.inertia_ < 1.03 * 12 * len(X)
    assert shuffled.inertia_ <= first.inertia_


def test_fewer_clusters_without_the_rows(digits, tmp_path):
    model = KMeans(k=20).fit(digits)
    small = model.with_k(10)
    assert -small.score(digits) < 1.05 * KMeans(k=10).fit(digits).inertia_
    assert small.get_params()["k"] == 10
    model.save(tmp_path / "m", state=True)
    again = smalgos.load(tmp_path / "m").with_k(10)
    assert np.array_equal(again.cluster_centers_, small.cluster_centers_)
    with pytest.raises(UserError, match="k=201: must be >= 1 and <= 200"):
        model.with_k(201)
    model.save(tmp_path / "m")
    with pytest.raises(UserError, match="not at hand"):
        smalgos.load(tmp_path / "m").with_k(3)


def test_loaded_as_saved(digits, tmp_path):
    model = KMeans(k=7, init_method="kmeans++").fit(digits)
    model.save(tmp_path / "m", state=True)
    again = smalgos.load(tmp_path / "m")
    assert type(again) is KMeans
    assert again.get_params()["init_method"] == "kmeans++"
    assert np.array_equal(again.transform(digits), model.transform(digits))
    again.partial_fit(digits[:400])
    model.partial_fit(digits[:400])
    assert np.array_equal(again.cluster_centers_, model.cluster_centers_)
    carried = pickle.loads(pickle.dumps(model))
    assert np.array_equal(carried.predict(digits), model.predict(digits))


@pytest.mark.parametrize(
    ("init", "said"),
    [
        (np.zeros((3, 5)), r"centres of shape \(3, 5\), where rows have 64"),
        (np.full((3, 64), np.nan), "a centre is NaN"),
        (np.zeros((81, 64)), "there are 81 centres to start from, where 80 are learnt"),
    ],
)
def test_starts_that_cannot_be(digits, init, said):
    with pytest.raises(UserError, match=said):
        KMeans(k=8, init=init).fit(digits)


def test_rows_that_are_asked_are_checked(digits):
    model = KMeans(k=3).fit(digits)
    bad = digits[:3].copy()
    bad[1, 4] = np.inf
    for ask in (model.predict, model.transform, model.score):
        with pytest.raises(UserError, match="row 1, counted from 0: feature 4 is infinite"):
            ask(bad)
        with pytest.raises(ValueError, match="5 features"):
            ask(digits[:, :5])
