"""IPInsights as an estimator."""

import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone

import smalgos
from benchmarks.logins import logins, pairs
from smalgos import IPInsights
from smalgos.errors import UserError
from smalgos.estimators.ip_insights import best_offset

GIVEN = {
    "num_entity_vectors": 300, "vector_dim": 32, "mini_batch_size": 500, "epochs": 3,
    "random_negative_sampling_rate": 5, "learning_rate": 0.01,
}  # fmt: skip


@pytest.fixture(scope="module")
def tutorial():
    """(log-ins of the first seven days, the later ones) of the tutorial's generator."""
    found = logins(150, seed=1)
    return pairs(found, slice(0, found.train)), pairs(found, slice(found.train, None))


@pytest.fixture(scope="module")
def model(tutorial):
    return IPInsights(**GIVEN).fit(tutorial[0], X_val=tutorial[1])


def random_pairs(known, n, seed=0):
    rng = np.random.default_rng(seed)
    return [
        (known[i][0], ".".join(map(str, rng.integers(256, size=4))))
        for i in rng.integers(len(known), size=n)
    ]


def test_the_tutorial(model, tutorial):
    usual = tutorial[1]
    unusual = random_pairs(usual, len(usual))
    assert model.auc_curve_[-1] > 0.98
    called = model.predict(unusual) < 0
    assert called.mean() > 0.98
    wrong = (model.predict(usual) < 0).sum()
    assert called.sum() / (called.sum() + wrong) > 0.93
    assert model.loss_curve_[-1] < model.loss_curve_[0] < np.log(2)


def test_all_kinds_of_pairs_are_the_same(model, tutorial):
    rows = tutorial[1][:50]
    want = model.score_samples(rows)
    frame = pd.DataFrame(rows, columns=["user", "address"])
    for given in (tuple(rows), np.array(rows), np.array(rows, object), frame, map(list, rows),
                  [(u.encode(), a.encode()) for u, a in rows]):  # fmt: skip
        np.testing.assert_array_equal(model.score_samples(given), want)
    numbers = [(int(u.removeprefix("user_")), a) for u, a in rows]
    texts = [(str(u), a) for u, a in numbers]
    np.testing.assert_array_equal(model.score_samples(numbers), model.score_samples(texts))


def test_vectors(model, tutorial):
    rows = tutorial[1][:20]
    e = model.entity_vectors([u for u, _ in rows])
    f = model.ip_vectors([a for _, a in rows])
    assert e.shape == f.shape == (20, 32)
    np.testing.assert_allclose((e * f).sum(axis=1), model.score_samples(rows), atol=1e-4)
    assert model.knows(["user_3", "nobody at all"]).tolist() == [True, False]


def test_as_outlier_detectors_are(model, tutorial):
    rows = tutorial[1][:200]
    scores = model.score_samples(rows)
    np.testing.assert_array_equal(model.decision_function(rows), scores)
    np.testing.assert_array_equal(model.predict(rows), np.where(scores >= 0, 1, -1))
    fitted = clone(model).set_params(epochs=1)
    assert set(fitted.fit_predict(tutorial[0][:500])) <= {-1, 1}


def test_offsets(model, tutorial):
    usual = tutorial[1][:1000]
    X, y = usual + random_pairs(usual, 500), np.repeat([1, -1], [1000, 500])
    scores = model.score_samples(X)

    def counts(offset):
        called = scores < offset
        return (called & (y < 0)).sum(), (called & (y > 0)).sum()

    tried = np.append(np.unique(scores), np.inf)
    values = {
        "f1": lambda right, wrong: 2 * right / (right + wrong + 500),
        "accuracy": lambda right, wrong: right - wrong,
        "false_alarms": lambda right, wrong: right if wrong <= 20 else -1,
    }
    for criterion, value in values.items():
        found = clone(model)
        found.model_ = pickle.loads(pickle.dumps(model.model_))
        found.choose_offset(X, y, criterion=criterion, most_false_alarms=0.02)
        best = max(value(*counts(t)) for t in tried)
        assert value(*counts(found.offset_)) == best, criterion
        np.testing.assert_array_equal(found.predict(X), np.where(scores >= found.offset_, 1, -1))


@pytest.mark.parametrize("criterion", ["f1", "accuracy", "false_alarms"])
def test_offsets_of_scores_that_are_equal(criterion):
    scores, unusual = np.float32([1, 1, 2, 2]), np.array([True, True, False, False])
    assert 1 < best_offset(scores, unusual, criterion, 0.0) <= 2
    assert best_offset(np.ones(4, np.float32), ~unusual, "false_alarms", 0.1) <= 1


@pytest.mark.parametrize(
    ("y", "more", "said"),
    [
        ([1, 1], {}, "y must hold 1 for usual"),
        ([1], {}, "y must hold 1 for usual"),
        ([1, 0], {}, "y must hold 1 for usual"),
        ([1, -1], {"criterion": "best"}, "criterion='best': must be one of f1, accuracy"),
        ([1, -1], {"most_false_alarms": 5}, "most_false_alarms=5: must be a share"),
    ],
)
def test_bad_labels(model, y, more, said):
    with pytest.raises(UserError, match=said):
        model.choose_offset([("a", "192.0.2.1"), ("b", "192.0.2.2")], y, **more)


def test_saved_and_loaded(model, tutorial, tmp_path):
    rows = tutorial[1][:500]
    model.save(tmp_path / "m", state=True)
    again = smalgos.load(tmp_path / "m")
    assert isinstance(again, IPInsights)
    assert again.get_params()["vector_dim"] == 32
    np.testing.assert_array_equal(again.score_samples(rows), model.score_samples(rows))
    other = pickle.loads(pickle.dumps(model))
    for fitted in (again, other):
        fitted.partial_fit(rows)
    np.testing.assert_array_equal(again.score_samples(rows), other.score_samples(rows))
    assert again.score_samples(rows).mean() > model.score_samples(rows).mean()


def test_more_of_the_same():
    found = logins(30)
    rows = pairs(found, slice(0, 3000))
    given = GIVEN | {"shuffle": False}
    once = IPInsights(**given).fit(rows)
    warm = IPInsights(**given | {"epochs": 1, "warm_start": True})
    parts = IPInsights(**given)
    for _ in range(3):
        warm.fit(rows)
        parts.partial_fit(rows)
    for other in (warm, parts):
        np.testing.assert_array_equal(other.score_samples(rows), once.score_samples(rows))
    assert len(warm.loss_curve_) == 3


@pytest.mark.parametrize(
    ("X", "said"),
    [
        ([], "X has no rows"),
        ([("a",)], "row 0, counted from 0: .* is no pair"),
        (["ab"], "is no pair"),
        (None, "X=None: give pairs"),
        (np.zeros((3, 3)), r"shape \(3, 3\): give pairs"),
        (pd.DataFrame({"a": ["b"]}), "X has 1 columns"),
        ([("a", "192.0.2.1"), (None, "192.0.2.1")], "row 1, counted from 0: None where a text"),
        ([("a", "192.0.2.1"), ("a", "192.0.2.300")], r"row 1, .*'192\.0\.2\.300' is no address"),
    ],
)
def test_bad_pairs(model, X, said):
    with pytest.raises(UserError, match=said):
        model.predict(X)


def test_bad_rows_of_fit_are_named():
    with pytest.raises(UserError, match=r"row 1 .*'here' is no address"):
        IPInsights(**GIVEN).fit([("a", "192.0.2.1"), ("a", "here")])
