"""Random Cut Forest as scikit-learn's users know it."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone, is_outlier_detector
from sklearn.datasets import load_digits
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import smalgos
from smalgos import RandomCutForest, shingle
from smalgos.errors import UserError

SMALL = {"num_trees": 50, "num_samples_per_tree": 64}


X = np.random.default_rng(0).standard_normal((1500, 4)).astype(np.float32)
X[:5] += 8


@pytest.fixture(scope="module")
def fitted():
    return RandomCutForest(**SMALL).fit(X)


def test_signs(fitted):
    score = fitted.anomaly_score(X)
    assert np.array_equal(fitted.score_samples(X), -score)
    assert np.array_equal(fitted.decision_function(X), -score - fitted.offset_)
    assert np.array_equal(fitted.predict(X) == -1, score > -fitted.offset_)
    assert (fitted.predict(X[:5]) == -1).all()
    assert is_outlier_detector(fitted)
    assert fitted.offset_ == pytest.approx(-(score.mean() + 3 * score.std()), rel=0.1)


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5])
def test_a_share_of_the_rows(share):
    found = RandomCutForest(contamination=share, **SMALL).fit_predict(X)
    assert (found == -1).sum() == share * 1500


def test_as_good_as_an_isolation_forest():
    images, digits = load_digits(return_X_y=True)
    rows = np.flatnonzero((digits == 0) | (np.arange(len(digits)) % 50 == 0))
    images, strange = images[rows], digits[rows] != 0
    ours, theirs = (
        np.mean([roc_auc_score(strange, -make(seed).score_samples(images)) for seed in range(3)])
        for make in (
            lambda seed: RandomCutForest(random_state=seed).fit(images),
            lambda seed: IsolationForest(random_state=seed).fit(images),
        )
    )
    assert ours > 0.97
    assert ours > theirs - 0.005


def test_partial_fit_is_fit(tmp_path):
    for more in ({}, {"partition": "consecutive"}, {"shingle_size": 3}, {"time_decay": 0.01}):
        whole = RandomCutForest(**SMALL, **more).fit(X)
        parts = RandomCutForest(**SMALL, **more)
        for some in (X[:700], X[700:701], X[701:]):
            parts.partial_fit(some)
        whole.save(tmp_path / "a")
        parts.save(tmp_path / "b")
        assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_loaded_as_saved(fitted, tmp_path):
    fitted.save(tmp_path / "m", state=True)
    again = smalgos.load(tmp_path / "m")
    assert type(again) is RandomCutForest
    assert again.get_params() == fitted.get_params()
    assert again.offset_ == fitted.offset_
    assert np.array_equal(again.anomaly_score(X), fitted.anomaly_score(X))
    more = clone(fitted).fit(np.vstack([X, X + 1]))
    assert np.array_equal(again.partial_fit(X + 1).anomaly_score(X), more.anomaly_score(X))


@pytest.mark.filterwarnings("ignore:X does not have valid feature names")
def test_series(tmp_path):
    import pandas as pd

    table = pd.DataFrame(X, columns=list("abcd"))
    model = RandomCutForest(**SMALL, shingle_size=4).fit(table)
    score = model.anomaly_score(table)
    assert score.shape == (1500,)
    assert (score[:3] == 0).all()
    assert np.array_equal(model.anomaly_score(shingle(X, 4)), score[3:])
    assert (model.predict(table)[:3] == 1).all()
    model.save(tmp_path / "m", state=True)
    again = smalgos.load(tmp_path / "m")
    assert again.n_features_in_ == 4
    assert again.feature_names_in_.tolist() == list("abcd")
    assert np.array_equal(again.partial_fit(table).anomaly_score(table),
                          model.partial_fit(table).anomaly_score(table))  # fmt: skip
    for asked in (model.codisp, lambda rows: model.density(rows).density(),
                  lambda rows: model.attribution(rows).total):  # fmt: skip
        assert asked(table[:9]).shape == (6,)
    rows = X[:9].copy()
    rows[5, 2] = np.nan
    filled = model.impute(rows).median
    assert filled.shape == (6, 16)
    known = ~np.isnan(shingle(rows, 4))
    assert np.array_equal(filled[known], shingle(rows, 4)[known])
    gaps = np.isnan(rows)
    assert np.array_equal(model.impute(X[:9], gaps).median, filled)
    with pytest.raises(UserError, match="missing has shape"):
        model.impute(X[:9], gaps[:3])


def test_what_else_it_can_be_asked(fitted):
    parts = fitted.attribution(X[:20])
    np.testing.assert_allclose(parts.total, fitted.anomaly_score(X[:20]), rtol=1e-9)
    far = np.array([[0, 0, 0, -9]], np.float32)
    assert fitted.attribution(far).low[0].argmax() == 3
    displaced = fitted.codisp(X[:200])
    assert set(np.argsort(displaced)[-5:]) == set(range(5))
    density = fitted.density(np.vstack([X[100:200], far])).density()
    assert density.argmin() == 100
    near = fitted.neighbours(X[10:12], within=2.0)
    assert len(near) == 2
    assert all((one.distances < 2).all() and (np.diff(one.distances) >= 0).all() for one in near)


def test_what_is_missing():
    two = X[5:605] + 8 * (np.arange(600) % 2)[:, None].astype(np.float32)
    model = RandomCutForest(**SMALL).fit(two)
    gappy = two[:4].copy()
    gappy[:2, 1] = np.nan
    filled = model.impute(gappy)
    assert filled.median[0, 1] < 4 < filled.median[1, 1]
    assert (filled.lower <= filled.median).all()
    assert np.array_equal(filled.median[2:], two[2:4])
    assert model.completions(gappy).points.shape == (4, 50, 4)
    assert len(model.typical(gappy)) == 4
    with pytest.raises(UserError, match="feature 1 of row 0 is NaN"):
        model.codisp(gappy)


def test_sparse_rows(fitted):
    thin = np.where(np.abs(X) > 1, X, 0)
    dense = RandomCutForest(**SMALL).fit(thin)
    model = RandomCutForest(**SMALL).fit(sparse.csr_matrix(thin))
    rows = sparse.csr_array(thin[:100])
    assert np.array_equal(model.anomaly_score(rows), dense.anomaly_score(thin[:100]))
    assert np.array_equal(model.attribution(rows).high, dense.attribution(thin[:100]).high)


def test_beside_others():
    pipeline = make_pipeline(StandardScaler(), RandomCutForest(**SMALL))
    assert (pipeline.fit_predict(X)[:5] == -1).all()
    strange = np.r_[np.ones(5), np.zeros(1495)]

    def auc(estimator, rows, labels):
        return roc_auc_score(labels, estimator.anomaly_score(rows))

    rng = np.random.default_rng(1).permutation(1500)
    grid = {"num_samples_per_tree": [16, 64]}
    search = GridSearchCV(RandomCutForest(num_trees=50), grid, scoring=auc, cv=2)
    assert search.fit(X[rng], strange[rng]).best_score_ > 0.9


def test_threads_change_nothing(tmp_path):
    files = set()
    for n_jobs in (1, 2, 5):
        model = RandomCutForest(**SMALL, n_jobs=n_jobs).fit(X)
        model.save(tmp_path / "m")
        files.add((tmp_path / "m").read_bytes() + model.anomaly_score(X).tobytes())
    assert len(files) == 1


def test_what_cannot_be(fitted):
    for given, match in (({"num_trees": 9}, "num_trees=9"), ({"contamination": 0.7}, "0.5"),
                         ({"partition": "x"}, "one of shuffled, consecutive")):  # fmt: skip
        with pytest.raises(UserError, match=match):
            RandomCutForest(**given).fit(X)
    with pytest.raises(UserError, match="n_samples = 1"):
        RandomCutForest().fit(X[:1])
    rows = X.copy()
    rows[7, 2] = np.nan
    with pytest.raises(UserError, match="row 7, counted from 0: feature 2 is NaN"):
        fitted.anomaly_score(rows)
    with pytest.raises(ValueError, match="3 features"):
        fitted.anomaly_score(X[:, :3])
