"""K-Nearest Neighbors as scikit-learn's users know it."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.model_selection import cross_val_score
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor

import smalgos
from smalgos import KNNClassifier, KNNRegressor
from smalgos.container.job import ChannelConfig, Job, execute
from smalgos.errors import UserError
from smalgos.formats import Block, write

X, Y = load_digits(return_X_y=True)
X = X.astype(np.float32)
ASKED = X[1200:]


@pytest.fixture(scope="module")
def words():
    return np.array([f"digit {y}" for y in Y])


@pytest.fixture(scope="module")
def fitted(words):
    return KNNClassifier(k=7).fit(X[:1200], words[:1200])


@pytest.mark.parametrize("weights", ["uniform", "distance"])
def test_as_scikit_learn(weights, words):
    ours = KNNClassifier(k=7, weights=weights).fit(X[:1200], words[:1200])
    # Squares of whole numbers: scikit-learn sees the same ties, but may take others of them.
    theirs = KNeighborsClassifier(7, weights=weights, algorithm="brute")
    theirs.fit(X[:1200].astype(np.float64), words[:1200])
    far, _ = ours.kneighbors(ASKED)
    np.testing.assert_allclose(far, theirs.kneighbors(ASKED.astype(np.float64))[0], rtol=1e-6)
    clear = far[:, 6] < ours.kneighbors(ASKED, 8)[0][:, 7]
    np.testing.assert_allclose(
        ours.predict_proba(ASKED)[clear],
        theirs.predict_proba(ASKED.astype(np.float64))[clear],
        atol=1e-6,
    )
    assert (ours.predict(ASKED) == theirs.predict(ASKED.astype(np.float64)))[clear].all()
    assert clear.mean() > 0.8
    assert ours.score(ASKED, words[1200:]) > 0.95


def test_regression():
    ours = KNNRegressor(k=3, weights="distance").fit(X[:1200], Y[:1200])
    theirs = KNeighborsRegressor(3, weights="distance").fit(X[:1200], Y[:1200])
    assert ours.score(ASKED, Y[1200:]) == pytest.approx(theirs.score(ASKED, Y[1200:]), abs=0.01)
    assert np.array_equal(ours.predict(X[:50]), Y[:50])  # at no distance


def test_neighbours_of_the_rows_themselves(fitted):
    theirs = KNeighborsClassifier(7, algorithm="brute").fit(X[:1200], Y[:1200])
    for lists in (fitted, KNNClassifier(k=7, index_type="faiss.IVFFlat", nprobe=99)):
        if lists is not fitted:
            lists.fit(X[:1200], Y[:1200])
        far, near = lists.kneighbors()
        np.testing.assert_allclose(far, theirs.kneighbors()[0], rtol=1e-5)
        assert not (near == np.arange(1200)[:, None]).any()
    copies = KNNRegressor(k=2).fit(np.ones((9, 2)), np.arange(9))
    assert not (copies.kneighbors(n_neighbors=3)[1] == np.arange(9)[:, None]).any()
    with pytest.raises(UserError, match="n_samples_fit = 9"):
        copies.kneighbors(n_neighbors=9)
    with pytest.raises(UserError, match="codes, not its rows"):
        KNNRegressor(index_type="faiss.IVFPQ", faiss_index_pq_m=2).fit(X, Y).kneighbors()


def test_graphs(fitted):
    graph = fitted.kneighbors_graph(ASKED[:5], 3)
    assert graph.shape == (5, 1200)
    assert graph.sum() == 15
    far, near = fitted.kneighbors(ASKED[:5], 3)
    lengths = fitted.kneighbors_graph(ASKED[:5], 3, mode="distance").toarray()
    np.testing.assert_allclose(np.take_along_axis(lengths, near, 1), far)
    assert np.array_equal(fitted.kneighbors(ASKED[:5], 3, return_distance=False), near)
    with pytest.raises(UserError, match="mode='x'"):
        fitted.kneighbors_graph(mode="x")


def test_metrics_of_products():
    theirs = KNeighborsClassifier(5, metric="cosine", algorithm="brute").fit(X[:1200], Y[:1200])
    ours = KNNClassifier(index_metric="COSINE").fit(X[:1200], Y[:1200])
    np.testing.assert_allclose(ours.kneighbors(ASKED)[0], theirs.kneighbors(ASKED)[0], atol=1e-6)
    inner = KNNClassifier(index_metric="INNER_PRODUCT").fit(X[:1200], Y[:1200])
    want = np.sort(-(ASKED.astype(np.float64) @ X[:1200].T), axis=1)[:, :5]
    np.testing.assert_allclose(inner.kneighbors(ASKED)[0], want, rtol=1e-6)


@pytest.mark.parametrize("extra", [{}, {"index_type": "faiss.IVFFlat"}, {"sample_size": 400}])
def test_partial_fit_is_fit(extra):
    whole = KNNClassifier(**extra).fit(X[:1200], Y[:1200])
    parts = KNNClassifier(**extra)
    for i in range(0, 1200, 500):
        parts.partial_fit(X[i : min(i + 500, 1200)], Y[i : min(i + 500, 1200)], np.arange(10))
    for a, b in zip(parts.kneighbors(ASKED), whole.kneighbors(ASKED), strict=True):
        assert np.array_equal(a, b)
    assert np.array_equal(parts.sample_indices_, whole.sample_indices_)
    with pytest.raises(UserError, match="differ from those of the first call"):
        parts.partial_fit(X, Y, np.arange(11))


def test_settings_of_asking_may_change(fitted, tmp_path):
    model = clone(fitted).fit(X[:1200], Y[:1200])
    model.set_params(k=1)
    assert (model.predict(X[:1200]) == Y[:1200]).all()
    model.save(tmp_path / "m")
    assert smalgos.load(tmp_path / "m").get_params()["k"] == 1
    with pytest.raises(UserError, match="Expected n_neighbors <= n_samples_fit"):
        model.set_params(k=1201).predict(X)
    with pytest.raises(UserError, match="k=0"):
        model.set_params(k=0).predict(X)


def test_loaded_as_saved(fitted, words, tmp_path):
    fitted.save(tmp_path / "m", state=True)
    again = smalgos.load(tmp_path / "m")
    assert type(again) is KNNClassifier
    assert (again.predict(ASKED) == fitted.predict(ASKED)).all()
    again.partial_fit(X[1200:], words[1200:])
    assert again.n_samples_fit_ == len(X)
    assert (again.set_params(k=1).predict(X) == words).all()


def test_a_containers_labels_are_kept(tmp_path):
    labels = (Y * 2 - 5).astype(np.float32)
    write(tmp_path / "train.pbr", Block.of(X, labels))
    given = {"k": "3", "sample_size": "5000", "predictor_type": "classifier"}
    channels = {"train": ChannelConfig(tmp_path / "train.pbr")}
    execute(Job("knn", given, channels, tmp_path / "model"))
    model = smalgos.load(tmp_path / "model")
    assert model.classes_.tolist() == np.unique(labels).tolist()
    assert (model.set_params(k=1).predict(X) == labels).all()
    assert model.predict_proba(X[:4]).shape == (4, 10)


def test_sparse_rows(fitted):
    rows = sparse.csr_matrix(ASKED)
    np.testing.assert_array_equal(fitted.predict(rows), fitted.predict(ASKED))
    thin = KNNClassifier(k=7).fit(sparse.csr_matrix(X[:1200]), Y[:1200])
    np.testing.assert_array_equal(thin.kneighbors(rows)[1], fitted.kneighbors(ASKED)[1])


def test_in_a_search():
    scores = cross_val_score(KNNClassifier(), X[:600], Y[:600], cv=3)
    assert scores.mean() > 0.85


def test_classes_that_the_sample_misses():
    y = np.zeros(500, int)
    y[:2] = 1
    model = KNNClassifier(k=1, sample_size=20).fit(X[:500], y)
    assert model.predict_proba(X[:5]).tolist() == [[1.0, 0.0]] * 5
    assert model.classes_.tolist() == [0, 1]


@pytest.mark.parametrize("index_type", ["faiss.IVFFlat", "faiss.IVFPQ"])
def test_features_whose_squares_are_too_large(index_type):
    model = KNNRegressor(k=1, index_type=index_type, faiss_index_pq_m=1)
    with pytest.raises(UserError, match="scale the features"):
        model.fit(np.full((300, 2), 1e25) * np.arange(1, 301)[:, None], np.arange(300))
