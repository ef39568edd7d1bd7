"""PCA as an estimator, beside scikit-learn's and a float64 SVD."""

import os
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse
from scipy.linalg import subspace_angles
from sklearn import decomposition
from sklearn.datasets import load_digits

import smalgos
from smalgos import PCA
from smalgos.algorithms.pca import PCAParameters, PCAState, sums
from smalgos.errors import UserError
from smalgos.formats.block import Block
from smalgos.kernels.cpu.shared import blas_single
from smalgos.learning import Spec, files


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    """BLAS threads that wait for each other take longer than one where others work, too."""
    with blas_single():
        yield


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


@pytest.fixture(scope="module")
def wide():
    """Singular values that fall like 1 / j, about means of unequal size."""
    rng = np.random.default_rng(1)
    turn = np.linalg.qr(rng.standard_normal((400, 400)))[0]
    rows = rng.standard_normal((3000, 400)) / np.arange(1, 401) @ turn
    return (rows + rng.uniform(-3, 3, 400)).astype(np.float32)


def exact(X, k):
    """Largest eigenvalues of the covariance matrix, in float64, and the matrix."""
    C = np.cov(X.T.astype(np.float64))
    return np.linalg.eigvalsh(C)[::-1][:k], C


def lost(components, X):
    """Share of the variance that as many exact components retain, and these do not."""
    V = components.astype(np.float64)
    values, C = exact(X, len(V))
    return 1 - np.trace(V @ C @ V.T) / values.sum()


def randomized(num_components, **settings):
    settings = {"num_components": num_components, **settings}
    return PCA(algorithm_mode="randomized", **{"random_state": 0, **settings})


@pytest.mark.compiled
@pytest.mark.parametrize("seed", range(3))
def test_randomized_retains_nearly_all_variance(wide, seed):
    model = randomized(20, random_state=seed).fit(wide)
    assert model.state_.sums.directions.shape == (400, 47)
    assert 0 <= lost(model.components_, wide) < 1e-3
    values, C = exact(wide, 20)
    np.testing.assert_allclose(model.singular_values_[:5] ** 2 / 2999, values[:5], rtol=1e-2)
    assert model.singular_values_.sum() <= np.sqrt(2999 * values).sum()
    np.testing.assert_allclose(model.components_ @ model.components_.T, np.eye(20), atol=1e-5)
    np.testing.assert_allclose(model.model_.trace, 2999 * np.trace(C), rtol=1e-6)
    np.testing.assert_allclose(model.mean_, wide.mean(axis=0), atol=1e-4)


@pytest.mark.compiled
def test_each_epoch_is_a_step_of_the_power_method(wide):
    losses = [lost(randomized(20, epochs=e).fit(wide).components_, wide) for e in (1, 2, 3)]
    assert losses[1] < losses[0] / 5
    assert losses[2] < 1e-5
    model = randomized(20, epochs=3).fit(wide)
    assert model.n_samples_ == 3000
    values, _ = exact(wide, 20)
    np.testing.assert_allclose(model.explained_variance_, values, rtol=1e-3)


@pytest.mark.compiled
def test_first_rows_unlike_the_others_do_no_harm(wide):
    """Where they say nothing, the half of the directions that is random does what it can."""
    sorted_ = wide.copy()
    sorted_[:1000, :200] = sorted_[0, :200]
    assert lost(randomized(20).fit(sorted_).components_, sorted_) < 0.05
    alike = np.concatenate([np.zeros((1000, 400), np.float32), wide])
    assert lost(randomized(20).fit(alike).components_, alike) < 0.05


@pytest.mark.compiled
def test_randomized_takes_sparse_rows(wide):
    X = np.where(np.random.default_rng(0).random(wide.shape) < 0.05, wide, 0)
    dense, thin = randomized(8).fit(X), randomized(8).fit(sparse.csr_matrix(X))
    for model in (dense, thin):
        assert lost(model.components_, X) < 0.15
    np.testing.assert_allclose(thin.model_.trace, dense.model_.trace, rtol=1e-6)
    again = randomized(8, epochs=4).fit(sparse.csr_matrix(X))
    assert lost(again.components_, X) < 0.03


@pytest.mark.parametrize("centred", [True, False])
def test_randomized_where_all_is_summed_is_regular(rows, centred):
    settings = {"num_components": 4, "subtract_mean": centred}
    regular = PCA(**settings).fit(rows)
    small = PCA(**settings, algorithm_mode="randomized", epochs=3).fit(rows)
    np.testing.assert_array_equal(small.components_, regular.components_)


@pytest.mark.compiled
def test_randomized_not_centred(wide):
    model = randomized(3, subtract_mean=False, epochs=2).fit(wide)
    _, s, vt = np.linalg.svd(wide.astype(np.float64), full_matrices=False)
    np.testing.assert_allclose(model.singular_values_, s[:3], rtol=1e-3)
    assert abs(model.components_[0] @ vt[0]) > 1 - 1e-6
    assert not model.mean_.any()


@pytest.mark.compiled
@pytest.mark.slow
@pytest.mark.skipif("SMALGOS_DATA" not in os.environ, reason="real data: set SMALGOS_DATA")
def test_mnist():
    """Within 1 % of what exact components retain."""
    with np.load(Path(os.environ["SMALGOS_DATA"]) / "mnist" / "mnist.npz") as kept:
        X = kept["x_train"][:20_000].reshape(-1, 784).astype(np.float32)
    assert lost(randomized(50).fit(X).components_, X) < 3e-3
    little = {"num_components": 48, "extra_components": 5}  # as a test of the original has it
    assert lost(randomized(**little).fit(X).components_, X) < 0.03
    assert lost(randomized(**little, epochs=2).fit(X).components_, X) < 5e-3


@pytest.mark.compiled
@pytest.mark.parametrize("mode", ["regular", "randomized"])
@pytest.mark.parametrize("whiten", [True, False])
def test_whitening(wide, mode, whiten):
    model = PCA(num_components=8, algorithm_mode=mode, whiten=whiten, random_state=0).fit(wide)
    Z = model.transform(wide)
    spread = Z.std(axis=0, ddof=1)
    want = np.ones(8) if whiten else np.sqrt(model.explained_variance_)
    np.testing.assert_allclose(spread, want, rtol=0.03 if mode == "randomized" else 1e-3)
    back = model.inverse_transform(Z)
    plain = (wide - model.mean_) @ model.components_.T @ model.components_ + model.mean_
    np.testing.assert_allclose(back, plain, atol=1e-4)


def test_whitening_a_component_without_variance():
    X = np.outer(np.arange(10), np.ones(4)).astype(np.float32)
    model = PCA(num_components=2, whiten=True).fit(X)
    model.model_.s = np.array([model.singular_values_[0], 0])
    Z = model.transform(X)
    np.testing.assert_allclose(Z[:, 0].std(ddof=1), 1, rtol=1e-5)
    assert not Z[:, 1].any()
    np.testing.assert_allclose(model.inverse_transform(Z), X, atol=1e-4)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_a_share_of_the_variance(share):
    X, _ = load_digits(return_X_y=True)
    ours, peer = PCA(num_components=share).fit(X), decomposition.PCA(share).fit(X)
    assert ours.n_components_ == peer.n_components_
    assert ours.explained_variance_ratio_.sum() > share
    assert ours.transform(X).shape == peer.transform(X).shape
    assert len(ours.get_feature_names_out()) == peer.n_components_


@pytest.mark.parametrize("bad", [0, -1, 2.5, np.nan, np.inf, "most", True])
def test_components_that_cannot_be_counted(bad):
    with pytest.raises(UserError, match=r"num_components=.*a share of the variance"):
        PCA(num_components=bad).fit(np.eye(3))


@pytest.mark.compiled
def test_a_share_is_not_known_from_a_sketch(wide):
    with pytest.raises(UserError, match="algorithm_mode=regular, or a number of components"):
        randomized(0.9).fit(wide)


@pytest.mark.parametrize("k", [1, 5, 63])
def test_likelihood_as_scikit_learn(k):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((500, 64)) @ rng.standard_normal((64, 64)) + 3
    ours, peer = PCA(num_components=k, algorithm_mode="stable").fit(X), decomposition.PCA(k).fit(X)
    assert ours.noise_variance_ == pytest.approx(peer.noise_variance_, rel=1e-4)
    np.testing.assert_allclose(ours.score_samples(X), peer.score_samples(X), rtol=1e-3)
    assert ours.score(X) == pytest.approx(peer.score(X), rel=1e-4)
    assert ours.score(sparse.csr_matrix(X)) == pytest.approx(peer.score(X), rel=1e-4)
    size = np.abs(peer.get_covariance()).max()
    np.testing.assert_allclose(ours.get_covariance(), peer.get_covariance(), atol=1e-4 * size)
    size = np.abs(peer.get_precision()).max()
    np.testing.assert_allclose(ours.get_precision(), peer.get_precision(), atol=2e-3 * size)


def test_likelihood_of_all_components_and_of_none():
    X = np.random.default_rng(0).standard_normal((60, 3))
    ours, peer = PCA(num_components=3).fit(X), decomposition.PCA(3).fit(X)
    assert ours.noise_variance_ == peer.noise_variance_ == 0
    assert ours.score(X) == pytest.approx(peer.score(X), rel=1e-4)
    with pytest.raises(UserError, match="do not vary in all directions"):
        PCA(num_components=1).fit(np.ones((5, 3))).score(np.ones((2, 3)))


def test_coordinates_of_another_width(rows):
    model = PCA(num_components=4).fit(rows)
    with pytest.raises(UserError, match=r"shape \(2, 3\): the model has 4 components"):
        model.inverse_transform(np.ones((2, 3)))


@pytest.mark.compiled
def test_sketches_go_on_from_a_file(wide, tmp_path):
    parts = randomized(5).partial_fit(wide[:1200])
    parts.save(tmp_path / "m", state=True)
    again = smalgos.load(tmp_path / "m").partial_fit(wide[1200:])
    parts.partial_fit(wide[1200:])
    np.testing.assert_array_equal(again.components_, parts.components_)
    assert again.n_samples_ == 3000
    assert again.get_params()["algorithm_mode"] == "randomized"


@pytest.mark.compiled
@pytest.mark.parametrize("mode", ["regular", "randomized"])
def test_a_state_of_another_size_is_refused(wide, tmp_path, mode):
    """Before there is room made for it."""
    model = PCA(num_components=3, algorithm_mode=mode).fit(wide)
    model.save(tmp_path / "m", state=True)
    arrays, meta = files.read(tmp_path / "m")
    meta["state"]["parameters"]["num_components"] = 12
    name = "state.sums.gram" if mode == "regular" else "state.sums.product"
    arrays[name] = arrays[name][:, :5].copy()
    files.write(tmp_path / "m", arrays, {k: v for k, v in meta.items() if k != "sha256"})
    with pytest.raises(UserError, match=r"is not an array of shape \(400, "):
        smalgos.load(tmp_path / "m")


def test_no_room_for_all_covariances(monkeypatch):
    def full(shape, **options):
        raise MemoryError

    spec = Spec.of(Block.of(np.ones((3, 5_000), np.float32)))
    monkeypatch.setattr(sums, "matrix", full)
    with pytest.raises(UserError, match=r"of 5000 features take 0.2 GB: .*=randomized"):
        PCAState(PCAParameters(num_components=2), spec)


def test_more_components_than_features(rows):
    with pytest.raises(UserError, match="num_components=31: the rows have 30 features"):
        PCA(num_components=31).fit(rows)


def test_fewer_rows_than_components():
    X = np.random.default_rng(0).standard_normal((3, 6))
    model = PCA(num_components=5).fit(X)
    np.testing.assert_allclose(model.components_ @ model.components_.T, np.eye(5), atol=1e-5)
    assert model.singular_values_[2:] == pytest.approx(0, abs=1e-3)
