"""PCA as an estimator, beside scikit-learn's and a float64 SVD."""

import numpy as np
import pytest
from scipy import sparse
from scipy.linalg import subspace_angles
from sklearn import decomposition
from sklearn.datasets import load_digits

import smalgos
from smalgos import PCA
from smalgos.errors import UserError


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    basis = rng.standard_normal((30, 30)) * np.geomspace(1, 1e-3, 30)[:, None]
    return (rng.standard_normal((5000, 30)) @ basis + 100 * rng.standard_normal(30)).astype(
        np.float32
    )


@pytest.mark.parametrize(
    ("mode", "angle", "error"), [("regular", 1e-3, 1e-4), ("stable", 1e-6, 1e-6)]
)
def test_angles_to_a_float64_svd(rows, mode, angle, error):
    """Components with a singular value of at least a thousandth of the largest.

    Products in float32 leave an error of 1e-7 of the largest eigenvalue on all of them.
    """
    model = PCA(num_components=20, algorithm_mode=mode).fit(rows)
    centred = rows.astype(np.float64) - rows.astype(np.float64).mean(axis=0)
    _, s, vt = np.linalg.svd(centred, full_matrices=False)
    kept = s[:20] >= 1e-3 * s[0]
    assert kept.sum() > 10
    assert model.singular_values_[kept] == pytest.approx(s[:20][kept], rel=error)
    components = model.components_.astype(np.float64)
    for i in np.flatnonzero(kept):
        assert subspace_angles(components[i : i + 1].T, vt[i : i + 1].T)[0] < angle


@pytest.mark.parametrize("k", [1, 5, 64])
def test_as_scikit_learn(k):
    X, _ = load_digits(return_X_y=True)
    ours, peer = PCA(num_components=k).fit(X), decomposition.PCA(k).fit(X)
    for name in ("explained_variance_", "explained_variance_ratio_"):
        np.testing.assert_allclose(getattr(ours, name), getattr(peer, name), rtol=1e-4, atol=1e-9)
    np.testing.assert_allclose(ours.mean_, peer.mean_, rtol=1e-5, atol=1e-6)
    a, b = ours.transform(X), peer.transform(X)
    good = peer.singular_values_ > 1e-2 * peer.singular_values_[0]
    np.testing.assert_allclose(np.abs(a[:, good]), np.abs(b[:, good]), atol=0.02)
    back = ours.inverse_transform(a)
    np.testing.assert_allclose(back, peer.inverse_transform(b), atol=0.01)


def test_signs_are_fixed(rows):
    for model in (PCA(num_components=5).fit(rows), PCA(num_components=5).fit(-rows)):
        components = model.components_
        largest = np.abs(components).argmax(axis=1)
        assert (components[np.arange(5), largest] > 0).all()


def test_not_centred(rows):
    model = PCA(num_components=3, subtract_mean=False).fit(rows)
    _, s, _ = np.linalg.svd(rows.astype(np.float64), full_matrices=False)
    assert model.singular_values_ == pytest.approx(s[:3], rel=1e-5)
    assert not model.mean_.any()


def test_sparse_rows_are_centred_without_being_filled():
    rng = np.random.default_rng(0)
    X = (rng.standard_normal((800, 40)) * (rng.random((800, 40)) < 0.1)).astype(np.float32)
    dense = PCA(num_components=5).fit(X)
    thin = PCA(num_components=5).fit(sparse.csr_matrix(X))
    np.testing.assert_allclose(thin.singular_values_, dense.singular_values_, rtol=1e-5)
    np.testing.assert_allclose(thin.transform(sparse.csr_matrix(X)), dense.transform(X), atol=2e-3)


def test_partial_fit_is_fit(rows):
    whole = PCA(num_components=4).fit(rows)
    parts = PCA(num_components=4)
    for i in range(0, 5000, 700):
        parts.partial_fit(rows[i : i + 700])
    assert parts.n_samples_ == 5000
    np.testing.assert_allclose(parts.singular_values_, whole.singular_values_, rtol=1e-5)


def test_loaded_as_saved(rows, tmp_path):
    model = PCA(num_components=4).fit(rows)
    model.save(tmp_path / "m")
    again = smalgos.load(tmp_path / "m")
    assert type(again) is PCA
    assert np.array_equal(again.transform(rows), model.transform(rows))
    assert again.get_params()["num_components"] == 4


def test_more_components_than_features(rows):
    with pytest.raises(UserError, match="num_components=31: the rows have 30 features"):
        PCA(num_components=31).fit(rows)


def test_fewer_rows_than_components():
    X = np.random.default_rng(0).standard_normal((3, 6))
    model = PCA(num_components=5).fit(X)
    np.testing.assert_allclose(model.components_ @ model.components_.T, np.eye(5), atol=1e-5)
    assert model.singular_values_[2:] == pytest.approx(0, abs=1e-3)
