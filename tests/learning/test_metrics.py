"""Metrics against scikit-learn and by brute force; the same bits however rows are cut."""

import math
import warnings
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn import metrics as oracle

from smalgos.errors import RowError
from smalgos.learning.accumulators import ClassCounts, ExactSum, Ranking
from smalgos.learning.metrics import (
    CRITERIA,
    BinaryMetrics,
    MulticlassMetrics,
    RegressionMetrics,
    best_threshold,
    goal,
)

CLASSES = 4


def rows(task, n, rng, *, weighted, ties=True):
    """labels, outputs, weights of n rows, scores with many ties."""
    weights = rng.lognormal(0, 2, n).astype(np.float32) if weighted else None
    if task is RegressionMetrics:
        labels = (rng.standard_normal(n) * 1e3).astype(np.float32)
        return labels, {"score": labels + rng.standard_normal(n).astype(np.float32)}, weights
    if task is BinaryMetrics:
        labels = rng.integers(0, 2, n).astype(np.float32)
        scores = rng.random(n).astype(np.float32) + labels
        if ties:
            scores = np.round(scores * 8) / 8
        return labels, {"score": scores, "predicted_label": (scores > 0.9).astype(int)}, weights
    labels = rng.integers(0, CLASSES, n)
    scores = rng.random((n, CLASSES)) + 0.5 * (labels[:, None] == np.arange(CLASSES))
    if ties:
        scores = np.round(scores * 4 + 1) / 8
    scores = (scores / scores.sum(axis=1, keepdims=True)).astype(np.float32)
    predicted = scores.argmax(axis=1)
    return labels.astype(np.float32), {"score": scores, "predicted_label": predicted}, weights


def make(task):
    return task(CLASSES, 2, 0.5) if task is MulticlassMetrics else task()


def cut(task, data, ends):
    """An accumulator fed with the rows between `ends`."""
    labels, outputs, weights = data
    accumulator = make(task)
    for a, b in zip([0, *ends], [*ends, len(labels)], strict=True):
        accumulator.add(
            labels[a:b],
            {name: v[a:b] for name, v in outputs.items()},
            None if weights is None else weights[a:b],
        )
    return accumulator


def bits(result):
    return {name: value.hex() for name, value in result.items()}


TASKS = [RegressionMetrics, BinaryMetrics, MulticlassMetrics]
cases = pytest.mark.parametrize("task", TASKS)


# Against scikit-learn -----------------------------------------------------------------------------


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_regression_equals_scikit_learn(seed, weighted):
    data = rows(RegressionMetrics, 300, np.random.default_rng(seed), weighted=weighted)
    y, p, w = data[0].astype(np.float64), data[1]["score"].astype(np.float64), data[2]
    got = cut(RegressionMetrics, data, [7, 100]).result()
    assert list(got) == ["mse", "absolute_loss", "rmse"]
    assert got == pytest.approx(
        {
            "mse": oracle.mean_squared_error(y, p, sample_weight=w),
            "absolute_loss": oracle.mean_absolute_error(y, p, sample_weight=w),
            "rmse": oracle.root_mean_squared_error(y, p, sample_weight=w),
        },
        rel=1e-13,
    )


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_binary_equals_scikit_learn(seed, ties, weighted):
    data = rows(BinaryMetrics, 300, np.random.default_rng(seed), weighted=weighted, ties=ties)
    y, (s, p), w = data[0], data[1].values(), data[2]
    accumulator = BinaryMetrics(f_beta=2)
    accumulator.add(*data)
    got = accumulator.result()
    assert list(got) == [
        "binary_classification_accuracy",
        "binary_f_2.000",
        "precision",
        "recall",
        "roc_auc_score",
    ]
    assert list(got.values()) == pytest.approx(
        [
            oracle.accuracy_score(y, p, sample_weight=w),
            oracle.fbeta_score(y, p, beta=2, sample_weight=w),
            oracle.precision_score(y, p, sample_weight=w),
            oracle.recall_score(y, p, sample_weight=w),
            oracle.roc_auc_score(y, s, sample_weight=w),
        ],
        rel=1e-12,
    )


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.filterwarnings("ignore:The y_prob values do not sum to one")
def test_multiclass_equals_scikit_learn(seed, ties, weighted):
    data = rows(MulticlassMetrics, 300, np.random.default_rng(seed), weighted=weighted, ties=ties)
    y, (s, p), w = data[0], data[1].values(), data[2]
    got = cut(MulticlassMetrics, data, [7, 100]).result()
    macro = {"average": "macro", "sample_weight": w}
    order = np.argsort(s, axis=1, kind="stable")[:, ::-1]
    ranks = 1 + (order == y[:, None]).argmax(axis=1)
    want = {
        "multiclass_accuracy": oracle.accuracy_score(y, p, sample_weight=w),
        "multiclass_top_k_accuracy_2": oracle.top_k_accuracy_score(y, s, k=2, sample_weight=w),
        "dcg": np.average(1 / np.log2(1 + ranks), weights=w),
        "macro_recall": oracle.recall_score(y, p, **macro),
        "macro_precision": oracle.precision_score(y, p, **macro),
        "macro_f_0.500": oracle.fbeta_score(y, p, beta=0.5, **macro),
        "multiclass_balanced_accuracy": oracle.balanced_accuracy_score(y, p, sample_weight=w),
        "multiclass_log_loss": oracle.log_loss(y, s.astype(np.float64), sample_weight=w),
    }
    assert list(got) == list(want)
    assert got == pytest.approx(want, rel=1e-12)
    if not ties:
        gain = oracle.ndcg_score(y[:, None] == np.arange(CLASSES), s, sample_weight=w)
        assert got["dcg"] == pytest.approx(gain, rel=1e-12)


@settings(deadline=None, max_examples=100)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=12))
def test_classes_that_are_absent(pairs):
    """Seldom seen, never predicted, predicted but never seen."""
    y, p = np.array(pairs).T
    counts = ClassCounts(5)
    counts.add(y, p)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        want = oracle.precision_recall_fscore_support(y, p, average="macro", beta=2)[:3]
        balanced = oracle.balanced_accuracy_score(y, p)
    got = counts.precision(), counts.recall(), counts.f(2)
    assert [counts.macro(values) for values in got] == pytest.approx(want, abs=1e-15)
    assert counts.balanced_accuracy() == pytest.approx(balanced)


def test_probabilities_of_0_and_1_cost_what_they_cost_in_scikit_learn():
    y, s = np.float32([0, 1, 2]), np.eye(3, dtype=np.float32)[[0, 1, 0]]
    accumulator = MulticlassMetrics(3)
    accumulator.add(y, {"score": s, "predicted_label": s.argmax(axis=1)})
    want = oracle.log_loss(y, s)
    assert accumulator.result()["multiclass_log_loss"] == pytest.approx(want, rel=1e-6)


# What has no value --------------------------------------------------------------------------------


@cases
def test_no_rows_have_no_scores(task):
    assert all(math.isnan(value) for value in make(task).result().values())
    data = rows(task, 5, np.random.default_rng(0), weighted=True)
    accumulator = cut(task, (data[0], data[1], np.zeros(5, np.float32)), [])
    assert all(math.isnan(value) for value in accumulator.result().values())


def binary(labels, predicted, scores=None):
    accumulator = BinaryMetrics()
    scores = np.float32(predicted if scores is None else scores)
    accumulator.add(np.float32(labels), {"score": scores, "predicted_label": np.array(predicted)})
    return accumulator.result()


def test_undefined_binary_scores():
    got = binary([0, 0], [0, 0])
    assert got["binary_classification_accuracy"] == 1
    assert [name for name, value in got.items() if math.isnan(value)] == [
        "binary_f_1.000",
        "precision",
        "recall",
        "roc_auc_score",
    ]
    got = binary([1, 0], [0, 0])
    assert math.isnan(got["precision"])
    assert got["recall"] == got["binary_f_1.000"] == 0
    assert got["roc_auc_score"] == 0.5
    assert math.isnan(binary([1, 0], [1, 0], [np.nan, 0])["roc_auc_score"])
    assert binary([1, 0], [1, 0], [np.inf, -np.inf])["roc_auc_score"] == 1
    assert binary([1, 0], [1, 0], [-0.0, 0.0])["roc_auc_score"] == 0.5


def test_scores_that_are_nan_make_no_hits():
    accumulator = MulticlassMetrics(3, 1)
    scores = np.float32([[np.nan] * 3, [0.9, np.nan, 0.1]])
    accumulator.add(np.float32([0, 0]), {"score": scores, "predicted_label": np.zeros(2, int)})
    got = accumulator.result()
    assert got["multiclass_top_k_accuracy_1"] == 0
    assert got["dcg"] == (1 / 2 + 1 / math.log2(3)) / 2
    assert math.isnan(got["multiclass_log_loss"])


def test_predictions_that_are_not_finite():
    for scores, want in (([np.inf, 0], np.inf), ([np.inf, -np.inf], np.inf), ([np.nan, 0], np.nan)):
        accumulator = RegressionMetrics()
        accumulator.add(np.float32([0, 0]), {"score": np.float32(scores)})
        assert list(accumulator.result().values()) == pytest.approx([want] * 3, nan_ok=True)


@pytest.mark.parametrize("wrong", [2, -1, 0.5, np.nan, np.inf])
def test_a_label_that_is_no_class(wrong):
    accumulator = BinaryMetrics()
    outputs = {"score": np.zeros(3, np.float32), "predicted_label": np.zeros(3, int)}
    accumulator.add(np.float32([0, 1, 0]), outputs)
    with pytest.raises(RowError, match="not a whole number from 0 to 1") as caught:
        accumulator.add(np.float32([0, wrong, wrong]), outputs)
    assert caught.value.row == 4


def test_the_field_of_the_predictions():
    accumulator = RegressionMetrics("predicted_label")
    accumulator.add(np.float32([1, 2]), {"predicted_label": np.float32([[2], [4]])})
    assert accumulator.result() == {"mse": 2.5, "absolute_loss": 1.5, "rmse": math.sqrt(2.5)}


# The same bits ------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=100)
@given(st.data())
def test_cuts_and_merging_change_no_bit(data):
    task = data.draw(st.sampled_from(TASKS))
    n = data.draw(st.integers(1, 200))
    weighted = data.draw(st.booleans())
    block = rows(task, n, np.random.default_rng(data.draw(st.integers(0, 99))), weighted=weighted)
    ends = sorted(data.draw(st.lists(st.integers(0, n), max_size=5)))
    whole = cut(task, block, [])
    assert bits(cut(task, block, ends).result()) == bits(whole.result())

    at = data.draw(st.integers(0, n))
    a, b = (
        cut(task, (y, dict(zip(block[1], o, strict=True)), w), [])
        for y, o, w in (
            (y, o, w if weighted else None)
            for y, o, w in zip(
                np.split(block[0], [at]),
                zip(*(np.split(v, [at]) for v in block[1].values()), strict=True),
                np.split(block[2] if weighted else block[0], [at]),
                strict=True,
            )
        )
    )
    a.merge(b)
    assert a.rows == n
    if weighted:  # the sums of weights by class may round
        assert a.result() == pytest.approx(whole.result(), rel=1e-12, nan_ok=True)
    else:
        assert bits(a.result()) == bits(whole.result())


@cases
@pytest.mark.parametrize("weighted", [False, True])
def test_merging_counts_the_base_once(task, weighted):
    data = rows(task, 60, np.random.default_rng(3), weighted=weighted)
    base = cut(task, tuple(take(v, 0, 20) for v in data), [])
    both = [make(task).restore(copied(base)) for _ in range(2)]
    for part, a in zip(both, (20, 40), strict=True):
        part.add(*(take(v, a, a + 20) for v in data))
    both[0].merge(both[1], base)
    assert both[0].result() == pytest.approx(cut(task, data, []).result(), rel=1e-12)


def take(v, a, b):
    if v is None:
        return None
    return {name: x[a:b] for name, x in v.items()} if isinstance(v, dict) else v[a:b]


def copied(part):
    return {name: np.array(v) if np.ndim(v) else v for name, v in part.snapshot().items()}


@cases
@pytest.mark.parametrize("weighted", [False, True])
def test_snapshots_go_on_where_they_were_taken(task, weighted):
    data = rows(task, 60, np.random.default_rng(4), weighted=weighted)
    half = cut(task, tuple(take(v, 0, 30) for v in data), [10])
    again = cut(task, data, []).restore(copied(half))
    assert bits(again.result()) == bits(half.result())
    for part in (half, again):
        part.add(*(take(v, 30, 60) for v in data))
    assert again.rows == 60
    assert bits(again.result()) == bits(half.result()) == bits(cut(task, data, []).result())
    again.clear()
    assert all(math.isnan(value) for value in again.result().values())


def test_a_worker_without_rows():
    data = rows(BinaryMetrics, 60, np.random.default_rng(4), weighted=True)
    accumulator = BinaryMetrics()
    accumulator.merge(BinaryMetrics())
    accumulator.add(*data)
    accumulator.merge(BinaryMetrics())
    assert bits(accumulator.result()) == bits(cut(BinaryMetrics, data, []).result())


def test_the_caller_may_use_its_arrays_again():
    accumulator = BinaryMetrics()
    labels, scores = np.float32([0, 1]), np.float32([0.25, 0.75])
    accumulator.add(labels, {"score": scores, "predicted_label": labels.astype(int)})
    labels[:], scores[:] = 0, 0
    assert accumulator.result()["roc_auc_score"] == 1


# Parts --------------------------------------------------------------------------------------------


finite = st.floats(allow_nan=False, allow_infinity=False)


def exact(values):
    total = sum(map(Fraction, values), Fraction())
    try:
        return float(total)
    except OverflowError:
        return math.inf if total > 0 else -math.inf


@settings(deadline=None, max_examples=300)
@given(st.lists(finite | st.sampled_from([5e-324, 1.7976931348623157e308, 2.0**-1022, -0.0])))
def test_exact_sum(values):
    total = ExactSum()
    total.add(values)
    assert total.value() == exact(values)


@given(st.lists(st.floats(), max_size=5))
def test_exact_sum_of_what_is_not_finite(values):
    total = ExactSum()
    for value in values:
        total.add(value)
    odd = [v for v in values if not math.isfinite(v)]
    assert total.value() == pytest.approx(sum(odd) if odd else exact(values), rel=0, nan_ok=True)


def test_exact_sum_of_many():
    rng = np.random.default_rng(0)
    values = rng.standard_normal(10_000) * 10.0 ** rng.integers(-20, 20, 10_000)
    total = ExactSum()
    total.add(values.reshape(100, 100))
    assert total.value() == math.fsum(values)
    total.AT_ONCE = 7  # as if more numbers came than are added at once
    total.add(-values)
    assert total.value() == 0


@settings(deadline=None, max_examples=100)
@given(st.data())
def test_auc_by_pairs(data):
    n = data.draw(st.integers(2, 20))
    scores = data.draw(arrays(np.float32, n, elements=st.sampled_from([0, 0.5, 1, np.inf])))
    positive = data.draw(arrays(np.bool_, n))
    weights = data.draw(st.none() | arrays(np.float32, n, elements=st.sampled_from([0.5, 1, 3])))
    assume(0 < positive.sum() < n)
    won = pairs = Fraction(0)
    w = np.ones(n) if weights is None else weights
    for i in np.flatnonzero(positive):
        for j in np.flatnonzero(~positive):
            pair = Fraction(float(w[i])) * Fraction(float(w[j]))
            won += pair * (2 * int(scores[i] > scores[j]) + int(scores[i] == scores[j])) / 2
            pairs += pair
    ranking = Ranking()
    ranking.add(positive, scores, weights)
    assert ranking.auc() == float(won / pairs)


# Goals --------------------------------------------------------------------------------------------


def test_goals():
    for name in (
        "mse",
        "validation:absolute_loss",
        "rmse",
        "train:binary_classification_cross_entropy_objective",
        "huber_loss_objective",
        "multiclass_log_loss",
        "test:msd",
    ):
        assert goal(name) == "min"
    for task in (BinaryMetrics(0.25), MulticlassMetrics(9, 12, 2.5)):
        for name in task.result():
            assert goal(f"test:{name}") == ("min" if name.endswith("loss") else "max")
    with pytest.raises(ValueError, match="validation:colour is not a known metric"):
        goal("validation:colour")


# Thresholds ---------------------------------------------------------------------------------------


def brute(zeros, ones, edges, criterion, default, f_beta, target_precision, target_recall):
    """What `best_threshold` should find: each threshold tried on one row after the other."""
    rows = [
        (e, y)
        for y, n in enumerate((zeros, ones))
        for e, m in zip(edges, n, strict=True)
        for _ in range(m)
    ]
    if not rows:
        return default, 0
    tried = []
    for t in [*edges, np.inf]:
        found = [(y, int(score >= t)) for score, y in rows]
        tp, fn = found.count((1, 1)), found.count((1, 0))
        fp, tn = found.count((0, 1)), found.count((0, 0))
        recall = tp / (tp + fn) if tp else 0
        precision = tp / (tp + fp) if tp else 0
        second = 0
        if criterion == "accuracy":
            value = (tp + tn) / len(rows)
        elif criterion == "f_beta":
            b2 = f_beta**2
            value = (1 + b2) * precision * recall / (b2 * precision + recall) if tp else 0
        elif criterion == "precision_at_target_recall":
            value, second = (precision, recall) if recall >= target_recall else (-1, 0)
        else:
            value, second = (recall, precision) if precision >= target_precision else (-1, 0)
        threshold = t
        if t != default and tp + fp in (0, len(rows)):
            threshold = -np.inf if tp + fp else np.inf
        tried.append((round(value, 12), t == default, round(second, 12), threshold))
    value, at_default, second, _ = max(tried, key=lambda one: one[:3])
    if value < 0:
        return default, 0
    if at_default:
        return default, value
    equal = [t for v, _, other, t in tried if (v, other) == (value, second)]
    return min(equal, key=lambda t: abs(t - default)), value


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_best_threshold_by_brute_force(data):
    bins = data.draw(st.integers(1, 6))
    counts = data.draw(arrays(np.int64, (2, 2, bins), elements=st.integers(0, 3)))
    start = data.draw(st.sampled_from([-np.inf, -2.0, 0.0]))
    edges = np.array([start, *(np.arange(1, bins) / 4)], np.float32)
    options = {
        "default": data.draw(st.sampled_from([0.0, 0.5, 0.3, 1.0])),
        "f_beta": data.draw(st.sampled_from([0.5, 1.0, 2.0])),
        "target_precision": data.draw(st.sampled_from([0.0, 0.5, 0.8, 1.0])),
        "target_recall": data.draw(st.sampled_from([0.0, 0.5, 0.8, 1.0])),
    }
    options["default"] = float(np.float32(options["default"]))
    for criterion in CRITERIA:
        thresholds, scores = best_threshold(counts, edges, criterion, **options)
        assert thresholds.dtype == np.float32
        for model in range(2):
            want = brute(*counts[model], edges, criterion, **options)
            assert (thresholds[model], scores[model]) == pytest.approx(want, rel=1e-9)


EDGES = (np.arange(8) / 8).astype(np.float32)


def threshold(zeros, ones, criterion="accuracy", **options):
    counts = np.array([[zeros, ones]])
    thresholds, scores = best_threshold(counts, EDGES, criterion, default=0.5, **options)
    return thresholds[0], scores[0]


def test_the_default_is_kept_where_it_is_as_good():
    assert threshold([1, 1, 0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 1, 1]) == (0.5, 1)
    # ... even if all rows have one label and are predicted so, or there are none.
    assert threshold([0] * 8, [0, 0, 0, 0, 0, 0, 1, 1]) == (0.5, 1)
    assert threshold([0] * 8, [0] * 8) == (0.5, 0)


def test_the_nearest_is_taken_of_equally_good_ones():
    assert threshold([1, 1, 1, 1, 1, 1, 0, 0], [0, 0, 0, 0, 0, 0, 0, 1]) == (0.75, 1)
    assert threshold([1, 0, 0, 0, 0, 0, 0, 0], [0, 0, 0, 1, 0, 0, 0, 1]) == (0.375, 1)


def test_one_class_for_all_rows_is_infinite():
    assert threshold([0] * 8, [1, 0, 0, 0, 0, 0, 0, 0]) == (-np.inf, 1)
    assert threshold([0, 0, 0, 0, 0, 0, 1, 1], [0] * 8) == (np.inf, 1)


def test_targets():
    zeros, ones = [9, 4, 3, 2, 1, 1, 0, 0], [0, 1, 1, 1, 2, 2, 2, 3]
    got = threshold(zeros, ones, "precision_at_target_recall", target_recall=0.75)
    assert got == (0.5, 9 / 11)
    got = threshold(zeros, ones, "recall_at_target_precision", target_precision=1)
    assert got == (0.75, 5 / 12)
    # Out of reach.
    got = threshold([0] * 7 + [9], [0] * 7 + [1], "recall_at_target_precision")
    assert got == (0.5, 0)


def test_equal_scores_under_a_target():
    # From 0.75 on, the precision is 1: the greatest recall.
    zeros, ones = [0, 0, 0, 0, 0, 1, 0, 0], [0, 0, 0, 0, 0, 0, 1, 1]
    assert threshold(zeros, ones, "precision_at_target_recall", target_recall=0.5) == (0.75, 1)
    # Down from 0.875, the recall is 1: the greatest precision, but for the default.
    zeros, ones = [0, 0, 0, 0, 0, 1, 1, 0], [0, 0, 0, 0, 0, 0, 0, 4]
    assert threshold(zeros, ones, "recall_at_target_precision", target_precision=0.1) == (0.5, 1)
    assert threshold(zeros, ones, "recall_at_target_precision", target_precision=0.7) == (0.875, 1)


def test_an_unknown_criterion():
    with pytest.raises(ValueError, match="none of accuracy, f_beta"):
        threshold([1] * 8, [1] * 8, "loss_function")
