"""scikit-learn's own checks, on every estimator."""

import numpy as np
import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

import smalgos

ROWS_ARE_COUNTED = (
    "rows are counted into mini-batches and into the scaler's sample, so that a row of weight 2 is "
    "not two rows; test_weights_in_one_batch holds what does hold"
)
ROWS_ARE_ROUNDED = (
    "gradients are rounded by a number that belongs to the row, so that a row of weight 2 is not "
    "two rows; test_boosted_trees holds what does hold"
)
ROWS_ARE_DRAWN = (
    "centres start among rows that are drawn by random numbers of their own, so that a row of "
    "weight 2 is not two rows; test_weights_are_repetitions in test_kmeans holds what does hold"
)
EXPECTED = {
    "BoostedTreesClassifier": {
        "check_sample_weight_equivalence_on_dense_data": ROWS_ARE_ROUNDED,
        "check_sample_weight_equivalence_on_sparse_data": ROWS_ARE_ROUNDED,
    },
    "BoostedTreesRegressor": {
        "check_sample_weight_equivalence_on_dense_data": ROWS_ARE_ROUNDED,
        "check_sample_weight_equivalence_on_sparse_data": ROWS_ARE_ROUNDED,
    },
    "FactorizationMachineClassifier": {
        "check_sample_weight_equivalence_on_dense_data": ROWS_ARE_COUNTED,
        "check_sample_weight_equivalence_on_sparse_data": ROWS_ARE_COUNTED,
    },
    "FactorizationMachineRegressor": {
        "check_sample_weight_equivalence_on_dense_data": ROWS_ARE_COUNTED,
        "check_sample_weight_equivalence_on_sparse_data": ROWS_ARE_COUNTED,
    },
    "KMeans": {
        "check_sample_weight_equivalence_on_dense_data": ROWS_ARE_DRAWN,
        "check_sample_weight_equivalence_on_sparse_data": ROWS_ARE_DRAWN,
    },
    "LinearLearnerClassifier": {
        "check_sample_weight_equivalence_on_dense_data": ROWS_ARE_COUNTED,
        "check_sample_weight_equivalence_on_sparse_data": ROWS_ARE_COUNTED,
    },
    "LinearLearnerRegressor": {
        "check_sample_weight_equivalence_on_dense_data": ROWS_ARE_COUNTED,
        "check_sample_weight_equivalence_on_sparse_data": ROWS_ARE_COUNTED,
    },
}
# Those that learn from more than X and y, or from texts, have tests of their own.
TAKE_MORE = ("BoostedTreesRanker", "IPInsights", "TextClassifier", "Word2Vec")


@parametrize_with_checks(
    [getattr(smalgos, name)() for name in sorted(smalgos._ESTIMATORS) if name not in TAKE_MORE],
    expected_failed_checks=lambda estimator: EXPECTED.get(type(estimator).__name__, {}),
)
def test_scikit_learn(estimator, check):
    check(estimator)


@pytest.mark.parametrize("name", ["LinearLearnerClassifier", "LinearLearnerRegressor"])
@pytest.mark.parametrize("sparse", [False, True])
def test_weights_in_one_batch(name, sparse):
    """Where all rows share one batch and no scaler is fitted, a row of weight 2 is two rows.

    The mean over a batch divides by its rows, so the weights are made to sum to them.
    """
    from scipy import sparse as sp

    rng = np.random.default_rng(3)
    X = rng.standard_normal((60, 4)).astype(np.float32)
    y = (X @ [1, -1, 2, 0.5] > 0).astype(int)
    weight = rng.integers(1, 4, 60)
    twice = np.repeat(np.arange(60), weight)
    common = dict(
        mini_batch_size=10_000, shuffle=False, normalize_data=False, epochs=40, learning_rate=0.1,
        wd=0.0, lr_scheduler_step=1000, lr_scheduler_minimum_lr=1e-5,
    )  # fmt: skip
    if name == "LinearLearnerRegressor":
        common |= {"normalize_label": False, "unbias_label": False}
    rows = sp.csr_matrix if sparse else np.asarray
    estimator = getattr(smalgos, name)
    weighted = estimator(**common).fit(rows(X), y, weight * (len(y) / weight.sum()))
    repeated = estimator(**common).fit(rows(X[twice]), y[twice])
    np.testing.assert_allclose(
        weighted.coef_.astype(np.float64), repeated.coef_.astype(np.float64), rtol=2e-4, atol=2e-5
    )
    np.testing.assert_allclose(weighted.intercept_, repeated.intercept_, rtol=2e-4, atol=2e-5)
