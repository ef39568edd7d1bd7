"""Eval metrics of boosted trees against XGBoost's and scikit-learn's."""

import math

import numpy as np
import pytest
import xgboost
from sklearn import metrics as oracle

from smalgos.algorithms.xgboost.metrics import KINDS, metric
from smalgos.algorithms.xgboost.objectives import Custom, objective
from smalgos.errors import UserError
from smalgos.kernels.cpu.shared import threads

N = 120
OUTPUTS = {"multi:softprob": 4, "multi:softmax": 4}


def problem(name, seed=0):
    """Margins (K, n), labels, weights, groups; scores with ties."""
    rng = np.random.default_rng(seed)
    kind, _, rest = name.partition(":")
    groups = None
    if kind == "multi":
        labels = rng.integers(0, 4, N)
    elif kind == "binary" or rest == "map":
        labels = rng.integers(0, 2, N)
    elif rest == "cox":
        labels = rng.integers(1, 20, N) * rng.choice([-1, 1], N)
    elif kind == "rank":
        labels = rng.integers(0, 5, N)
    else:
        labels = rng.random(N) * 3 + 0.1
    if kind == "rank":
        groups = np.repeat(np.arange(10), N // 10)
        labels[groups == 3] = 0
    margin = np.round(rng.standard_normal((OUTPUTS.get(name, 1), N)) * 4) / 4
    if name.startswith("reg:sq"):
        margin = abs(margin) + 0.5
    weights = rng.choice([0.5, 1.0, 2.0], N).astype(np.float32)
    if groups is not None:
        weights = weights[groups]
    return margin.astype(np.float32), labels.astype(np.float32), weights, groups


def made(name, **options):
    return objective(name, outputs=OUTPUTS.get(name, 1), **options)


def xgboost_says(name, options, metric_name, margin, labels, weights, groups):
    data = xgboost.DMatrix(np.zeros((len(labels), 1), np.float32))
    data.set_base_margin(margin[0] if len(margin) == 1 else margin.T.copy())
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
    given = dict(objective=name, eval_metric=metric_name, eta=0, max_depth=1, nthread=1, **options)
    if name in OUTPUTS:
        given["num_class"] = OUTPUTS[name]
    said = {}
    with xgboost.config_context(verbosity=0):
        xgboost.train(given, data, 1, evals=[(data, "")], evals_result=said, verbose_eval=False)
    return said[""][metric_name][0]


CASES = [
    *[("reg:squarederror", {}, m) for m in (
        "rmse", "mae", "mape", "rmsle", "mphe", "poisson-nloglik", "gamma-nloglik",
        "gamma-deviance", "tweedie-nloglik@1.2",
    )],
    ("reg:pseudohubererror", {"huber_slope": 0.5}, "mphe"), ("reg:absoluteerror", {}, "mae"),
    ("reg:quantileerror", {"quantile_alpha": 0.2}, "quantile"),
    *[("count:poisson", {}, m) for m in ("poisson-nloglik", "rmse")],
    *[("reg:gamma", {}, m) for m in ("gamma-nloglik", "gamma-deviance", "rmsle")],
    ("reg:tweedie", {}, "tweedie-nloglik@1.7"),
    *[("binary:logistic", {}, m) for m in (
        "logloss", "error", "error@0.3", "auc", "aucpr", "rmse", "ndcg@5", "map@7", "pre@9",
    )],
    *[("binary:logitraw", {}, m) for m in ("auc", "aucpr", "rmse")],
    ("binary:hinge", {}, "error"),
    *[("multi:softprob", {}, m) for m in ("mlogloss", "merror", "auc", "aucpr")],
    ("multi:softmax", {}, "mlogloss"),
    *[("rank:ndcg", {}, m) for m in ("ndcg", "ndcg@3", "ndcg@3-", "ndcg-", "ndcg@50")],
    ("rank:ndcg", {"ndcg_exp_gain": 0}, "ndcg@3"),
    *[("rank:map", {}, m) for m in (
        "map", "map@3", "map@3-", "map@50", "pre@3", "pre", "ndcg@4", "aucpr",
    )],
    ("survival:cox", {}, "cox-nloglik"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "options", "metric_name", "weighted"),
    [(*case, True) for case in CASES] + [(*case, False) for case in CASES[::3]],
)
def test_equals_that_of_xgboost(name, options, metric_name, weighted):
    margin, labels, weights, groups = problem(name)
    weights = weights if weighted else None
    if weighted and groups is None and metric_name[:3] in ("ndc", "map", "pre"):
        return  # one query has no weight
    if weighted and metric_name.startswith("ndcg"):
        weights[groups == 3] = 1  # XGBoost counts a query without relevant rows once, whatever
    if name.startswith("multi") and metric_name.startswith("auc"):
        margin += np.random.default_rng(1).random(margin.shape, np.float32)  # break ties
    got = metric(metric_name, made(name, **options))
    assert got.name == metric_name
    want = xgboost_says(name, options, metric_name, margin, labels, weights, groups)
    assert got(margin, labels, weights, groups) == pytest.approx(want, rel=1e-5, abs=1e-7)


@pytest.mark.parametrize("noise", ["normal", "logistic", "extreme"])
@pytest.mark.parametrize("name", ["aft-nloglik", "interval-regression-accuracy"])
def test_survival_equals_that_of_xgboost(name, noise):
    margin, labels, weights, _ = problem("reg:gamma")
    upper = np.where(np.arange(N) % 3, labels * 2, np.inf).astype(np.float32)
    labels = np.stack([labels, upper], axis=1)
    labels[::5, 1] = labels[::5, 0]
    options = dict(aft_loss_distribution=noise, aft_loss_distribution_scale=1.5)
    got = metric(name, made("survival:aft", **options))(margin, labels, weights)
    want = xgboost_says("survival:aft", options, name, margin, labels, weights, None)
    assert got == pytest.approx(want, rel=1e-5)


def test_several_quantiles():
    margin = np.round(np.random.default_rng(1).standard_normal((3, N)) * 4) / 4
    margin = margin.astype(np.float32)
    _, labels, weights, _ = problem("reg:quantileerror")
    options = {"quantile_alpha": [0.1, 0.5, 0.9]}
    got = metric("quantile", made("reg:quantileerror", **options))(margin, labels, weights)
    given = ("reg:quantileerror", options, "quantile", margin, labels, weights, None)
    assert got == pytest.approx(xgboost_says(*given), rel=1e-6)


def test_logitraw_is_judged_by_its_probabilities():
    margin, labels, weights, _ = problem("binary:logistic")
    for name in ("logloss", "error", "accuracy"):
        values = [
            metric(name, made(o))(margin, labels, weights)
            for o in ("binary:logistic", "binary:logitraw")
        ]
        assert values[0] == values[1]


def test_log_loss_far_out_is_the_margin():
    labels = np.float32([0, 1, 1, 0])
    margin = np.float32([[50, -50, 50, -50]])
    assert metric("logloss", made("binary:logistic"))(margin, labels) == 25
    assert metric("mlogloss", made("multi:softprob"))(
        np.float32([[50], [0], [0], [0]]), np.float32([1])
    ) == pytest.approx(50)


@pytest.mark.parametrize("seed", range(3))
def test_auc_of_queries_is_the_mean_of_theirs(seed):
    margin, labels, weights, groups = problem("rank:map", seed)
    each = [
        oracle.roc_auc_score(labels[groups == q], margin[0, groups == q])
        for q in range(10)
        if len(set(labels[groups == q])) == 2
    ]
    got = metric("auc", made("rank:map"))(margin, labels, weights, groups)
    assert got == pytest.approx(np.mean(each))


def test_auc_of_grades_counts_pairs():
    margin, labels, _, _ = problem("rank:ndcg")
    better = labels[:, None] > labels
    right = (margin[0][:, None] > margin[0]) + 0.5 * (margin[0][:, None] == margin[0])
    got = metric("auc", made("rank:ndcg"))(margin, labels)
    assert got == pytest.approx(right[better].mean())


OWN = {
    "accuracy": oracle.accuracy_score,
    "balanced_accuracy": oracle.balanced_accuracy_score,
    "f1": lambda y, p: oracle.f1_score(y, p, average="macro"),
    "f1_macro": lambda y, p: oracle.f1_score(y, p, average="macro"),
    "precision_macro": lambda y, p: oracle.precision_score(y, p, average="macro"),
    "precision_micro": lambda y, p: oracle.precision_score(y, p, average="micro"),
    "recall_macro": lambda y, p: oracle.recall_score(y, p, average="macro"),
    "recall_micro": lambda y, p: oracle.recall_score(y, p, average="micro"),
    "f1_binary": oracle.f1_score,
    "precision": oracle.precision_score,
    "recall": oracle.recall_score,
}


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("rows", [N, 4])
@pytest.mark.parametrize("name", OWN)
@pytest.mark.parametrize(
    "of", ["binary:logistic", "binary:logitraw", "binary:hinge", "multi:softmax", "multi:softprob"]
)
def test_the_containers_own_are_those_of_scikit_learn(name, rows, of):
    if name in ("f1_binary", "precision", "recall") and of.startswith("multi"):
        return
    margin, labels, weights, _ = problem(of)
    margin, labels, weights = margin[:, :rows].copy(), labels[:rows], weights[:rows]
    predicted = margin.argmax(axis=0) if len(margin) > 1 else margin[0] > 0
    want = OWN[name](labels.astype(int), predicted.astype(int))
    assert metric(name, made(of))(margin, labels, weights) == pytest.approx(want)


def test_mse_and_r2_are_those_of_scikit_learn():
    margin, labels, weights, _ = problem("reg:squarederror")
    for name, want in (("mse", oracle.mean_squared_error), ("r2", oracle.r2_score)):
        got = metric(name, made("reg:squarederror"))(margin, labels, weights)
        assert got == pytest.approx(want(labels, margin[0]))
    same = np.ones(3, np.float32)
    r2 = metric("r2", made("reg:squarederror"))
    assert r2(same[None], same) == 1
    assert r2(2 * same[None], same) == 0


@pytest.mark.parametrize("name", ["auc", "aucpr"])
def test_one_class_has_no_area(name):
    margin, _, _, groups = problem("rank:map")
    for of, given in (("binary:logistic", None), ("rank:map", groups), ("rank:map", None)):
        zeros = np.zeros(N, np.float32)
        assert math.isnan(metric(name, made(of))(margin, zeros, None, given))


def test_no_rows_have_no_value():
    nothing = np.empty((1, 0), np.float32)
    for name in ("rmse", "ndcg", "auc"):
        of = "rank:ndcg" if name != "rmse" else "reg:squarederror"
        assert math.isnan(metric(name, made(of))(nothing, nothing[0]))


@pytest.mark.parametrize("name", ["logloss", "error", "auc", "rmse", "accuracy", "ndcg@3"])
def test_bits_do_not_depend_on_threads(name):
    rng = np.random.default_rng(0)
    margin = rng.standard_normal((1, 100_000)).astype(np.float32)
    labels = rng.integers(0, 2, 100_000).astype(np.float32)
    groups = np.arange(100_000) // 50
    values = []
    for jobs in (1, 3):
        with threads(jobs):
            values.append(metric(name, made("binary:logistic"))(margin, labels, None, groups))
    assert values[0] == values[1]


@pytest.mark.parametrize(
    ("name", "of", "said"),
    [
        ("rmes", "reg:squarederror", "did you mean rmse"),
        ("zzzz", "reg:squarederror", "give one of"),
        ("rmse-", "reg:squarederror", "none of this name"),
        ("auc", "reg:squarederror", "objectives binary:"),
        ("auc", "survival:cox", "objectives binary:"),
        ("aft-nloglik", "reg:squarederror", "survival:aft"),
        ("rmse", "survival:aft", "one output"),
        ("rmse", "multi:softmax", "one output"),
        ("merror", "binary:logistic", "multi:"),
        ("f1_binary", "multi:softmax", "binary:"),
        ("logloss", "reg:squarederror", "binary:logistic"),
        ("logloss", "binary:hinge", "binary:logistic"),
        ("quantile", "reg:squarederror", "reg:quantileerror"),
        ("error@1.5", "binary:logistic", "from 0 to 1"),
        ("error@nan", "binary:logistic", "from 0 to 1"),
        ("error@", "binary:logistic", "from 0 to 1"),
        ("rmse@1", "reg:squarederror", "nothing behind @"),
        ("ndcg@0", "rank:ndcg", "number of rows"),
        ("ndcg@2.5", "rank:ndcg", "number of rows"),
        ("tweedie-nloglik", "reg:squarederror", "between 1 and 2"),
        ("tweedie-nloglik@2", "reg:tweedie", "between 1 and 2"),
    ],
)
def test_names_that_do_not_fit(name, of, said):
    with pytest.raises(UserError, match=said):
        metric(name, made(of))


def test_grades_have_no_average_precision():
    margin, labels, _, groups = problem("rank:ndcg")
    for name in ("map", "pre@3", "aucpr"):
        with pytest.raises(UserError, match="labels must be 0 and 1"):
            metric(name, made("rank:ndcg"))(margin, labels, None, groups)


def test_default_metrics_and_goals():
    for name in (
        "reg:squarederror", "reg:gamma", "reg:tweedie", "binary:hinge", "count:poisson",
        "multi:softmax", "rank:ndcg", "rank:map", "survival:cox", "survival:aft",
    ):  # fmt: skip
        mine = made(name)
        assert metric(mine.metric, mine).name == mine.metric
        assert metric(mine.metric, mine).maximize == name.startswith("rank")
    assert metric("tweedie-nloglik", made("reg:tweedie")).name == "tweedie-nloglik@1.5"
    assert {n for n, kind in KINDS.items() if kind.maximize} >= {"auc", "map", "r2", "accuracy"}


def test_custom_objectives_have_metrics_of_margins():
    margin, labels, weights, _ = problem("binary:logistic")
    mine = Custom(lambda m, y: (m, m))
    assert metric("rmse", mine)(margin, labels, weights) > 0
    got = metric("auc", mine)(margin, labels, weights)
    assert got == pytest.approx(oracle.roc_auc_score(labels, margin[0], sample_weight=weights))
