"""Objectives of boosted trees against XGBoost itself, and what only we promise."""

import json

import numpy as np
import pytest
import xgboost

from smalgos._jit import kernel
from smalgos.algorithms.xgboost.objectives import (
    OBJECTIVES,
    Custom,
    objective,
    refit_leaves,
)
from smalgos.algorithms.xgboost.quantiles import quantile
from smalgos.errors import RowError, UserError

N = 30
LABELS = {
    "binary:logistic": "binary", "binary:logitraw": "binary", "binary:hinge": "binary",
    "reg:logistic": "share", "count:poisson": "count", "reg:tweedie": "count",
    "reg:gamma": "positive", "reg:squaredlogerror": "positive", "survival:aft": "positive",
    "survival:cox": "times", "multi:softmax": "classes", "multi:softprob": "classes",
    "rank:ndcg": "grades", "rank:pairwise": "grades", "rank:map": "binary",
}  # fmt: skip
FLOAT = dict(rtol=2e-5, atol=2e-6)


@pytest.fixture(autouse=True, scope="module")
def _quiet():
    with xgboost.config_context(verbosity=0):
        yield


def problem(name, seed=0, n=N):
    """Labels, weights and groups."""
    rng = np.random.default_rng(seed)
    kind = LABELS.get(name, "any")
    labels = {
        "binary": rng.integers(0, 2, n),
        "share": rng.integers(0, 5, n) / 4,
        "count": rng.integers(0, 5, n),
        "positive": rng.integers(1, 9, n) / 4,
        "times": (rng.permutation(n) + 1) * rng.choice([-1, 1], n),
        "classes": rng.integers(0, 4, n),
        "grades": rng.integers(0, 5, n),
        "any": rng.integers(-8, 9, n) / 4,
    }[kind].astype(np.float32)
    groups = np.repeat(np.arange(5), n // 5) if name.startswith("rank") else None
    weights = rng.choice([0.5, 1.0, 2.0], n).astype(np.float32)
    if groups is not None:
        weights = weights[groups * (n // 5)]
    return labels, weights, groups


def matrix(labels, weights=None, groups=None, margin=None):
    data = xgboost.DMatrix(np.arange(len(labels), dtype=np.float32)[:, None])
    if labels.ndim == 2:
        data.set_float_info("label_lower_bound", labels[:, 0])
        data.set_float_info("label_upper_bound", labels[:, 1])
    else:
        data.set_label(labels)
    if groups is not None:
        data.set_info(qid=groups)
        weights = None if weights is None else weights[np.unique(groups, return_index=True)[1]]
    if weights is not None:
        data.set_weight(weights)
    if margin is not None:
        data.set_base_margin(margin)
    return data


def parameters(name, options):
    outputs = {"num_class": 4} if name.startswith("multi") else {"quantile_alpha": 0.5}
    return {"objective": name, "verbosity": 0, "nthread": 1, **outputs, **options}


def made(name, **options):
    return objective(name, outputs=4 if name.startswith("multi") else 1, **options)


@pytest.fixture(scope="module")
def leaves():
    """A booster of one tree with a leaf for each row, and the leaf of each row."""
    data = xgboost.DMatrix(
        np.arange(N, dtype=np.float32)[:, None], np.random.default_rng(0).permutation(N)
    )
    given = dict(tree_method="exact", max_depth=60, min_child_weight=0, reg_lambda=0, base_score=0)
    booster = xgboost.train(given, data, 1)
    leaf = booster.predict(data, pred_leaf=True).astype(int)
    assert len(set(leaf)) == N
    return booster, leaf


def oracle_gradients(leaves, name, options, data):
    """XGBoost's g and h: it is made to look again at leaves that hold a row each."""
    booster, leaf = leaves
    given = parameters(name, options) | dict(
        process_type="update", updater="refresh", refresh_leaf=1, reg_lambda=0,
        min_child_weight=0, eta=1, base_score=0.5, disable_default_eval_metric=1,
    )  # fmt: skip
    again = xgboost.train(given, data, 1, xgb_model=booster)
    tree = json.loads(again.save_raw("json"))["learner"]["gradient_booster"]["model"]["trees"][0]
    h = np.array(tree["sum_hessian"], np.float32)[leaf]
    return -np.array(tree["base_weights"], np.float64)[leaf] * h, h


def our_gradients(made, margin, labels, weights, groups, **key):
    g, h = np.empty((2, made.outputs, len(labels)), np.float32)
    made.gradients(margin, labels, weights, groups, g, h, **key)
    return g, h


CASES = [
    ("reg:squarederror", {}), ("reg:linear", {}), ("reg:squarederror", {"scale_pos_weight": 3}),
    ("reg:squaredlogerror", {"scale_pos_weight": 3}), ("reg:logistic", {}),
    ("reg:pseudohubererror", {}),
    ("reg:pseudohubererror", {"huber_slope": 0.5, "scale_pos_weight": 3}),
    ("reg:absoluteerror", {"scale_pos_weight": 3}),
    ("reg:quantileerror", {"quantile_alpha": 0.3, "scale_pos_weight": 3}),
    ("binary:logistic", {"scale_pos_weight": 3}), ("binary:logitraw", {"scale_pos_weight": 3}),
    ("binary:hinge", {"scale_pos_weight": 3}), ("count:poisson", {"max_delta_step": 0.3}),
    ("count:poisson", {"scale_pos_weight": 3, "max_delta_step": 0}),
    ("reg:gamma", {"scale_pos_weight": 3}), ("reg:tweedie", {"scale_pos_weight": 3}),
    ("reg:tweedie", {"tweedie_variance_power": 1.2}), ("survival:cox", {}),
    ("rank:ndcg", {}), ("rank:ndcg", {"lambdarank_num_pair_per_sample": 2}),
    ("rank:ndcg", {"ndcg_exp_gain": 0}), ("rank:ndcg", {"lambdarank_normalization": 0}),
    ("rank:ndcg", {"lambdarank_score_normalization": 0}), ("rank:pairwise", {}),
    ("rank:map", {}), ("rank:map", {"lambdarank_score_normalization": 0}),
    ("survival:aft", {}),
    ("survival:aft", {"aft_loss_distribution": "logistic", "aft_loss_distribution_scale": 2}),
    ("survival:aft", {"aft_loss_distribution": "extreme"}),
]  # fmt: skip


def bounded(labels):
    """Times, bounds on either side, and on both."""
    upper = np.where(np.arange(len(labels)) % 3 == 1, np.inf, labels)
    upper = np.where(np.arange(len(labels)) % 3 == 2, 2 * labels, upper)
    lower = np.where(np.arange(len(labels)) % 6 == 2, 0, labels)
    return np.stack([lower, upper], axis=1).astype(np.float32)


@pytest.mark.parametrize(("name", "options"), CASES)
def test_gradients_are_those_of_xgboost(leaves, name, options):
    labels, weights, groups = problem(name)
    labels = bounded(labels) if name == "survival:aft" else labels
    margin = np.random.default_rng(1).standard_normal((1, N)).astype(np.float32)
    if name == "reg:squaredlogerror":
        margin = abs(margin)
    mine = made(name, **options)
    mine.check(labels, weights, groups)
    got = our_gradients(mine, margin, labels, weights, groups)
    want = oracle_gradients(leaves, name, options, matrix(labels, weights, groups, margin[0]))
    if options.get("max_delta_step"):  # leaves are clipped: they do not tell g
        got, want = got[1:], want[1:]
    for a, b in zip(got, want, strict=True):
        np.testing.assert_allclose(a[0], b, **FLOAT)


@pytest.mark.parametrize("number", [1, 3])
@pytest.mark.parametrize("normalize", [0, 1])
@pytest.mark.parametrize("name", ["rank:ndcg", "rank:map", "rank:pairwise"])
def test_gradients_of_drawn_pairs(leaves, name, number, normalize):
    """In groups of two, there is but one row to draw."""
    options = dict(
        lambdarank_pair_method="mean", lambdarank_num_pair_per_sample=number,
        lambdarank_normalization=normalize,
    )  # fmt: skip
    labels, groups = np.tile(np.float32([0, 1]), N // 2), np.repeat(np.arange(N // 2), 2)
    margin = np.random.default_rng(1).standard_normal((1, N)).astype(np.float32)
    got = our_gradients(made(name, **options), margin, labels, None, groups)
    want = oracle_gradients(leaves, name, options, matrix(labels, None, groups, margin[0]))
    for a, b in zip(got, want, strict=True):
        np.testing.assert_allclose(a[0], b, **FLOAT)


@pytest.mark.parametrize("weighted", [False, True])
def test_gradients_of_classes(weighted):
    """The first split of softmax has its sums in the root, one tree for each class."""
    labels, weights, _ = problem("multi:softprob")
    weights = weights if weighted else None
    margin = np.random.default_rng(1).standard_normal((4, N)).astype(np.float32)
    g, h = our_gradients(made("multi:softprob"), margin, labels, weights, None)
    given = parameters("multi:softprob", {}) | dict(max_depth=1, reg_lambda=0, eta=1)
    booster = xgboost.train(given, matrix(labels, weights, None, margin.T.copy()), 1)
    trees = json.loads(booster.save_raw("json"))["learner"]["gradient_booster"]["model"]["trees"]
    for k, tree in enumerate(trees):
        assert tree["sum_hessian"][0] == pytest.approx(h[k].sum(), rel=1e-5)
        assert tree["base_weights"][0] == pytest.approx(-g[k].sum() / h[k].sum(), rel=1e-4)


def test_cox_counts_all_that_end_at_the_same_time():
    labels = np.float32([1, -1, 1, 2, -2])
    margin = np.zeros((1, 5), np.float32)
    g, _ = our_gradients(made("survival:cox"), margin, labels, None, None)
    first, second = 2 / 5, 2 / 5 + 1 / 2
    np.testing.assert_allclose(g[0], [first - 1, first, first - 1, second - 1, second], rtol=1e-6)


@pytest.mark.parametrize("name", OBJECTIVES)
@pytest.mark.parametrize(("weighted", "positive"), [(True, 1), (False, 3)])
def test_starts_where_xgboost_starts(name, weighted, positive):
    labels, weights, groups = problem(name)
    weights = weights if weighted else None
    options = {"scale_pos_weight": positive}
    if name == "reg:quantileerror":
        options["quantile_alpha"] = [0.2, 0.5, 0.95]
    mine = made(name, **options)
    base = mine.estimate(labels, weights, groups)
    assert base.shape == (mine.outputs,)
    given = parameters(name, options) | {"max_depth": 1, "eta": 0}
    twice = np.stack([labels, labels], axis=1) if name == "survival:aft" else labels
    data = matrix(twice, weights, groups)
    booster = xgboost.train(given, data, 1)
    config = json.loads(booster.save_config())["learner"]
    want = json.loads(config["learner_model_param"]["base_score"])
    np.testing.assert_allclose(base, want, rtol=1e-5, atol=1e-6)
    margin = booster.predict(data, output_margin=True)[0]
    np.testing.assert_allclose(mine.to_margin(base), np.atleast_1d(margin), rtol=1e-5, atol=1e-6)
    assert mine.metric == config["metrics"][0]["name"]


@pytest.mark.parametrize("name", OBJECTIVES)
def test_predictions_are_those_of_xgboost(name):
    labels, _, groups = problem(name)
    mine = made(name)
    shape = (N, mine.outputs)
    margin = (4 * np.random.default_rng(2).standard_normal(shape)).astype(np.float32)
    twice = np.stack([labels, labels], axis=1) if name == "survival:aft" else labels
    data = matrix(twice, None, groups, margin if mine.outputs > 1 else margin[:, 0])
    booster = xgboost.train(parameters(name, {}) | {"eta": 0, "max_depth": 1}, data, 1)
    got = mine.transform(margin)
    np.testing.assert_allclose(got, booster.predict(data), rtol=1e-6)
    assert got.dtype == np.float32
    assert not np.shares_memory(got, margin)


def test_predictions_of_several_quantiles():
    mine = objective("reg:quantileerror", quantile_alpha="0.1, 0.9")
    assert mine.outputs == 2
    assert mine.adaptive == (0.1, 0.9)
    np.testing.assert_array_equal(mine.transform(np.float32([[1, 2]])), [[1, 2]])


@pytest.mark.parametrize(("name", "value"), [("binary:logistic", 0), ("binary:logistic", 1)])
def test_labels_all_the_same(name, value):
    mine = made(name)
    labels = np.full(5, value, np.float32)
    assert abs(mine.to_margin(mine.estimate(labels))) == pytest.approx(13.8, abs=0.1)


def test_counts_all_zero():
    mine = made("count:poisson")
    assert np.isfinite(mine.to_margin(mine.estimate(np.zeros(5, np.float32))))


@pytest.mark.parametrize(
    ("name", "base"),
    [("binary:logistic", 1.5), ("reg:logistic", -0.1), ("count:poisson", 0), ("reg:gamma", -1),
     ("survival:cox", 0), ("reg:squarederror", np.nan), ("reg:squarederror", [1, 2])],
)  # fmt: skip
def test_base_score_out_of_range(name, base):
    with pytest.raises(UserError, match="base_score"):
        made(name).to_margin(base)


def test_base_score_for_all_outputs():
    np.testing.assert_array_equal(made("multi:softmax").to_margin(0.5), np.full(4, 0.5))


BAD = [
    ("reg:squarederror", np.nan), ("reg:absoluteerror", np.inf), ("reg:squaredlogerror", -1),
    ("binary:logistic", 1.5), ("reg:logistic", -0.5), ("binary:hinge", 0.5), ("count:poisson", -1),
    ("reg:tweedie", -1), ("reg:gamma", 0), ("multi:softmax", 4), ("multi:softprob", 0.5),
    ("multi:softmax", -1), ("rank:map", 2), ("rank:ndcg", 32), ("rank:ndcg", 0.5),
    ("rank:ndcg", -1), ("survival:aft", np.nan), ("survival:aft", -1), ("survival:aft", 0),
    ("survival:cox", np.nan),
]  # fmt: skip


@pytest.mark.parametrize(("name", "label"), BAD)
def test_labels_out_of_range(name, label):
    labels, weights, groups = problem(name)
    mine = made(name)
    mine.check(labels, weights, groups)
    labels[7] = label
    with pytest.raises(RowError, match="row 107") as error:
        mine.check(labels, weights, groups, start=100)
    assert error.value.row == 107


def test_bounds_out_of_order():
    labels = np.ones((3, 2), np.float32)
    labels[1, 1] = 0.5
    with pytest.raises(RowError, match="row 1: upper bound"):
        made("survival:aft").check(labels)
    with pytest.raises(UserError, match="shape"):
        made("survival:aft").check(np.ones((3, 3), np.float32))
    with pytest.raises(UserError, match="shape"):
        made("reg:squarederror").check(labels)


def test_weights_and_groups_are_checked():
    mine, labels = made("rank:ndcg"), np.zeros(4, np.float32)
    for weights in ([1, 1, -1, 1], [1, 1, np.nan, 1]):
        with pytest.raises(RowError, match="row 2: weight"):
            mine.check(labels, np.float32(weights))
    with pytest.raises(RowError, match="row 13: query 5 again"):
        mine.check(labels, None, np.array([5, 5, 7, 5]), 10)
    for arrays in ((np.ones(3, np.float32),), (None, np.arange(3))):
        with pytest.raises(UserError, match="give one per row"):
            mine.check(labels, *arrays)
    with pytest.raises(UserError, match="weights of all rows are 0"):
        mine.estimate(labels, labels)


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("binary:logistik", {}, "did you mean binary:logistic"),
        ("zzz", {}, "give one of"),
        ("reg:quantileerror", {"quantile_alpha": "0.5,1"}, "quantile_alpha"),
        ("reg:quantileerror", {"quantile_alpha": "x"}, "quantile_alpha"),
        ("reg:quantileerror", {"quantile_alpha": []}, "quantile_alpha"),
        ("reg:tweedie", {"tweedie_variance_power": 2}, "tweedie_variance_power"),
        ("count:poisson", {"max_delta_step": -1}, "max_delta_step"),
        ("reg:pseudohubererror", {"huber_slope": 0}, "huber_slope"),
        ("binary:logistic", {"scale_pos_weight": 0}, "scale_pos_weight"),
        ("survival:aft", {"aft_loss_distribution": "x"}, "aft_loss_distribution"),
        ("survival:aft", {"aft_loss_distribution_scale": 0}, "aft_loss_distribution_scale"),
        ("rank:ndcg", {"lambdarank_pair_method": "x"}, "lambdarank_pair_method"),
        ("rank:ndcg", {"lambdarank_num_pair_per_sample": 0}, "lambdarank_num_pair_per_sample"),
        ("multi:softmax", {}, "num_class"),
    ],
)  # fmt: skip
def test_hyperparameters_out_of_range(name, options, said):
    with pytest.raises(UserError, match=said):
        objective(name, **options)


# Quantiles ----------------------------------------------------------------------------


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(
    ("name", "level"), [("reg:absoluteerror", 0.5), ("reg:quantileerror", 0.85)]
)
def test_leaves_are_refitted_as_in_xgboost(name, level, weighted):
    rng = np.random.default_rng(0)
    n = 200
    X, y = rng.standard_normal((n, 3)).astype(np.float32), rng.standard_normal(n)
    weights = rng.choice([0.5, 1, 2], n).astype(np.float32) if weighted else None
    data = xgboost.DMatrix(X, y, weight=weights)
    given = dict(objective=name, max_depth=3, eta=1, base_score=0.25, nthread=1)
    if name == "reg:quantileerror":
        given["quantile_alpha"] = level
    booster = xgboost.train(given, data, 1)
    leaf = np.unique(booster.predict(data, pred_leaf=True), return_inverse=True)[1]
    residuals = (y - 0.25).astype(np.float32)
    values = refit_leaves(leaf.astype(np.int32), leaf.max() + 1, residuals, weights, level)
    want = booster.predict(data, output_margin=True) - 0.25
    np.testing.assert_allclose(values[leaf], want, rtol=1e-5, atol=1e-6)


def test_rows_left_out_and_leaves_without_rows():
    leaf, residuals = np.int32([2, -1, 0, 2]), np.float32([1, 9, 5, 3])
    values = refit_leaves(leaf, 4, residuals, None, 0.5)
    np.testing.assert_array_equal(values, [5, np.nan, 2, np.nan])


@pytest.mark.parametrize("n", [1, 2, 7, 50])
def test_quantile_is_that_of_hyndman_and_fan(n):
    values = np.random.default_rng(n).standard_normal(n).astype(np.float32)
    for level in (0.01, 0.25, 0.5, 0.9, 0.99):
        want = np.quantile(values.astype(float), level, method="weibull")
        assert quantile(values, level) == pytest.approx(want, rel=1e-6)


# Objectives of the user ----------------------------------------------------------------------


def squared(margin, labels):
    return margin - labels, np.ones_like(margin)


def squared_weighted(margin, labels, weights):
    return (margin - labels) * weights, weights


COMPILED = {f: kernel(f, cache=False) for f in (squared, squared_weighted)}


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("function", [squared, squared_weighted])
@pytest.mark.parametrize("weighted", [False, True])
def test_custom_squared_error_is_squared_error(function, compiled, weighted):
    labels, weights, _ = problem("reg:squarederror")
    weights = weights if weighted else None
    margin = np.random.default_rng(1).standard_normal((1, N)).astype(np.float32)
    before = margin.copy()
    mine = Custom(COMPILED[function] if compiled else function)
    mine.check(labels, weights)
    got = our_gradients(mine, margin, labels, weights, None)
    want = our_gradients(made("reg:squarederror"), margin, labels, weights, None)
    np.testing.assert_array_equal(got, want)
    np.testing.assert_array_equal(margin, before)
    np.testing.assert_array_equal(mine.transform(margin.T), margin[0])
    assert mine.estimate(labels) == 0.5


def test_custom_softmax_of_several_outputs():
    labels, _, _ = problem("multi:softprob")
    margin = np.random.default_rng(1).standard_normal((4, N)).astype(np.float32)

    def softmax(m, y):
        p = np.exp(m) / np.exp(m).sum(axis=1, keepdims=True)
        return p - np.eye(4)[y.astype(int)], 2 * p * (1 - p)

    got = our_gradients(Custom(softmax, 4), margin, labels, None, None)
    want = our_gradients(made("multi:softprob"), margin, labels, None, None)
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-6)


def test_custom_that_fails():
    labels, margin = np.zeros(3, np.float32), np.zeros((1, 3), np.float32)
    for function, said in (
        (lambda m, y: (m[1:], m), "gradients of shape"),
        (lambda m, y: (m, m + np.inf), "hessians not finite"),
        (lambda m, y: m, "custom"),
    ):
        with pytest.raises(UserError, match=said):
            our_gradients(Custom(function), margin, labels, None, None)
    with pytest.raises(UserError, match="takes 1 arguments"):
        Custom(lambda m: m)
