"""Losses against their definitions, and the properties that every loss must have."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smalgos._jit import kernel
from smalgos.kernels.cpu import losses
from smalgos.kernels.cpu.losses import Loss
from smalgos.kernels.cpu.vector import FLOATS, load_part, splat, store_part, vectors
from tests.reference import losses as reference

CODES = {
    "squared": losses.SQUARED,
    "absolute": losses.ABSOLUTE,
    "eps_squared": losses.EPS_SQUARED,
    "eps_absolute": losses.EPS_ABSOLUTE,
    "quantile": losses.QUANTILE,
    "huber": losses.HUBER,
    "logistic": losses.LOGISTIC,
    "hinge": losses.HINGE,
}
CONSTANTS = dict(insensitivity=0.25, quantile=0.3, delta=0.75, margin=1.5)
NAMES = list(CODES)
BINARY = ("logistic", "hinge")


def loss(name):
    return Loss(CODES[name], **CONSTANTS)


def problem(seed, name, n, models):
    """Labels and scores on a grid of eighths, so that kinks are met exactly."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, n) if name in BINARY else rng.integers(-24, 25, n) / 8
    raw = rng.integers(-32, 33, (n, models)) / 8
    positive = rng.choice([0.5, 1.0, 3.0], models)
    return y.astype(np.float32), raw.astype(np.float32), positive


@settings(deadline=None, max_examples=80)
@given(st.sampled_from(NAMES), st.integers(0, 99), st.integers(0, 40), st.integers(1, 35))
def test_matches_the_definition(name, seed, n, models):
    y, raw, positive = problem(seed, name, n, models)
    weight = np.random.default_rng(seed).choice([0.0, 0.5, 2.0], n).astype(np.float32)
    value, gradient = losses.loss_value_gradient(loss(name), y, raw, weight, positive)
    y64, f64, w64 = y[:, None].astype(float), raw.astype(float), weight[:, None].astype(float)
    c = dict(CONSTANTS, positive=positive)
    want = (w64 * reference.values(name, y64, f64, **c)).sum(axis=0)
    np.testing.assert_allclose(value, want, rtol=1e-6, atol=1e-9)
    want = w64 * reference.gradient(name, y64, f64, **c)
    np.testing.assert_allclose(gradient, want, rtol=1e-6, atol=1e-7)
    assert gradient.dtype == np.float32


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 99), st.integers(0, 40), st.integers(1, 20), st.integers(1, 4))
def test_softmax_matches_the_definition(seed, n, classes, models):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, classes, n).astype(np.float32)
    raw = (4 * rng.standard_normal((n, models * classes))).astype(np.float32)
    positive = rng.choice([0.5, 1.0, 3.0], models * classes)
    weight = rng.choice([0.0, 0.5, 2.0], n).astype(np.float32)
    value, gradient = losses.loss_value_gradient(
        Loss(losses.SOFTMAX), y, raw, weight, positive, classes
    )
    for m in range(models):
        part = slice(m * classes, (m + 1) * classes)
        scores = raw[:, part].astype(float)
        want = (weight * reference.softmax_value(y, scores, positive[part])).sum()
        np.testing.assert_allclose(value[m], want, rtol=1e-6, atol=1e-6)
        want = weight[:, None] * reference.softmax_gradient(y, scores, positive[part])
        np.testing.assert_allclose(gradient[:, part], want, rtol=2e-6, atol=4e-6)


@pytest.mark.parametrize("name", NAMES)
def test_twin_gradient_is_the_difference_of_the_twin_value(name):
    y, raw, positive = problem(3, name, 200, 1)
    y, f, step = y[:, None].astype(float), raw.astype(float) + 0.07, 1e-5  # off the kinks
    c = dict(CONSTANTS, positive=positive)
    above, below = (reference.values(name, y, f + s, **c) for s in (step, -step))
    want = (above - below) / (2 * step)
    np.testing.assert_allclose(reference.gradient(name, y, f, **c), want, atol=1e-6)


def test_softmax_twin_gradient_is_the_difference_of_the_twin_value():
    rng = np.random.default_rng(0)
    y, scores, positive = np.arange(5) % 3, rng.standard_normal((5, 3)), np.array([1.0, 2.0, 0.5])
    got = reference.softmax_gradient(y, scores, positive)
    for c in range(3):
        step = 1e-6 * (np.arange(3) == c)
        above, below = (reference.softmax_value(y, scores + s, positive) for s in (step, -step))
        np.testing.assert_allclose(got[:, c], (above - below) / 2e-6, atol=1e-8)


@pytest.mark.parametrize("name", [*NAMES, "softmax"])
def test_doubled_row_is_weight_two(name):
    classes = 3 if name == "softmax" else 1
    given = Loss(losses.SOFTMAX) if name == "softmax" else loss(name)
    y, raw, positive = problem(1, name, 30, 2 * classes)
    y = np.arange(30) % 3 if name == "softmax" else y
    two = losses.loss_value_gradient(given, y, raw, np.full(30, 2), positive, classes)
    twice = losses.loss_value_gradient(
        given, np.repeat(y, 2), np.repeat(raw, 2, axis=0), None, positive, classes
    )
    np.testing.assert_allclose(two[0], twice[0], rtol=1e-12)
    np.testing.assert_array_equal(two[1], twice[1][::2] * 2)


@pytest.mark.parametrize("name", [n for n in NAMES if n not in BINARY])
def test_perfect_prediction_is_the_minimum(name):
    y = np.linspace(-3, 3, 25).astype(np.float32)
    value, gradient = losses.loss_value_gradient(loss(name), y, y[:, None].copy())
    assert value[0] == 0
    assert not gradient.any()


@pytest.mark.parametrize("name", BINARY)
def test_confident_and_right_costs_nothing_to_speak_of(name):
    y = np.array([0, 1], np.float32)
    value, gradient = losses.loss_value_gradient(loss(name), y, np.array([[-40.0], [40.0]]))
    assert 0 <= value[0] < 1e-15
    assert abs(gradient).max() < 1e-15


@pytest.mark.parametrize("size", [1e3, 1e30])
@pytest.mark.parametrize("name", [*NAMES, "softmax"])
def test_no_overflow_far_out(name, size):
    raw = np.array([[size, -size], [-size, size], [size, 0]], np.float32)
    y = np.array([0, 1, 1], np.float32)
    with np.errstate(all="raise"):
        if name == "softmax":
            value, gradient = losses.loss_value_gradient(Loss(losses.SOFTMAX), y, raw, classes=2)
            np.testing.assert_array_equal(gradient, [[0, 0], [0, 0], [1, -1]])
            np.testing.assert_allclose(value, size, rtol=1e-6)
        else:
            value, gradient = losses.loss_value_gradient(loss(name), y, raw)
    assert np.isfinite(value).all()
    assert np.isfinite(gradient).all()


def test_nan_stays_nan():
    for code in (losses.LOGISTIC, losses.SQUARED):
        value, gradient = losses.loss_value_gradient(
            Loss(code), np.zeros(1), np.array([[np.nan, 1.0]])
        )
        np.testing.assert_array_equal(np.isnan(value), [True, False])
        np.testing.assert_array_equal(np.isnan(gradient[0]), [True, False])


@settings(deadline=None, max_examples=30)
@given(st.sampled_from(NAMES), st.integers(0, 99), st.integers(0, 40))
def test_scores_of_one_model(name, seed, n):
    y, raw, _ = problem(seed, name, n, 1)
    weight = np.random.default_rng(seed).random(n).astype(np.float32)
    values, want = losses.loss_value_gradient(loss(name), y, raw, weight, np.array([3.0]))
    scores = raw[:, 0].copy()
    value = losses.gradient_scores(loss(name), y, weight, 3.0, scores)
    np.testing.assert_allclose(value, values[0], rtol=1e-12)
    np.testing.assert_array_equal(scores, want[:, 0])


@pytest.mark.parametrize("classes", [1, 5])
def test_bits_of_a_model_do_not_depend_on_its_neighbours(classes):
    rng = np.random.default_rng(0)
    code = losses.SOFTMAX if classes > 1 else losses.LOGISTIC
    y, raw = rng.integers(0, max(2, classes), 37), rng.standard_normal((37, 20)) * 5
    value, gradient = losses.loss_value_gradient(Loss(code), y, raw, classes=classes)
    for m in range(20 // classes):
        part = slice(m * classes, (m + 1) * classes)
        alone = losses.loss_value_gradient(Loss(code), y, raw[:, part], classes=classes)
        assert alone[0][0] == value[m]
        np.testing.assert_array_equal(alone[1], gradient[:, part])


def test_sums_go_on_where_they_were():
    """Values and slopes are added row by row: the same bits from one call and from two."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 32).astype(np.float32)
    weight, positive = np.ones(32, np.float32), np.ones((1, 16), np.float32)
    raw = rng.standard_normal((1, 32, 16)).astype(np.float32)
    results = []
    for cuts in ([0, 32], [0, 16, 32]):
        sums, slope = np.zeros((1, 16)), np.zeros((1, 16), np.float32)
        for a, b in pairwise(cuts):
            losses.gradient_panels(
                loss("logistic"), y[a:b], weight[a:b], positive, 1, 16, raw[:, a:b].copy(), b - a,
                np.empty(256, np.float32), sums, slope,
            )  # fmt: skip
        results.append((sums.tobytes(), slope.tobytes()))
    assert results[0] == results[1]


exp_negative = vectors(FLOATS)(losses.exp_negative)
log1p_unit = vectors(FLOATS)(losses.log1p_unit)
log_above_one = vectors(FLOATS)(losses.log_above_one)


@kernel(fastmath=False)
def elementary(code, x, out):
    for i in range(0, len(x), 16):
        v = load_part(x, i, len(x) - i)
        if code == 0:
            store_part(out, i, len(x) - i, exp_negative(v))
        elif code == 1:
            store_part(out, i, len(x) - i, log1p_unit(v))
        else:
            store_part(out, i, len(x) - i, log_above_one(v + splat(1.0)))


@pytest.mark.parametrize(
    ("code", "low", "high", "exact", "ulps"),
    [(0, -87, 0, np.exp, 1), (1, 0, 1, np.log1p, 2), (2, 0, 1e6, np.log1p, 2)],
)
def test_elementary_functions_are_accurate(code, low, high, exact, ulps):
    x = np.linspace(low, high, 20_011).astype(np.float32)
    out = np.empty_like(x)
    elementary(code, x, out)
    given = x.astype(np.float64) if code < 2 else (x + np.float32(1)).astype(np.float64) - 1
    want = exact(given)
    assert (abs(out - want) / np.spacing(want.astype(np.float32)))[1:].max() <= ulps
    assert out[0] == np.float32(want[0]) or code == 0


def test_exp_of_very_negative_is_zero():
    x = np.array([0, -1e-30, -87.5, -1e3, -1e30, -np.inf, np.nan], np.float32)
    out = np.empty_like(x)
    elementary(0, x, out)
    np.testing.assert_array_equal(out, [1, 1, 0, 0, 0, 0, np.nan])


def test_links():
    raw = np.random.default_rng(0).standard_normal((9, 21)).astype(np.float32) * 4
    f = raw.astype(float)
    np.testing.assert_allclose(losses.link(losses.LOGISTIC, raw), 1 / (1 + np.exp(-f)), rtol=1e-6)
    shares = losses.link(losses.SOFTMAX, raw, 21)
    want = np.exp(f) / np.exp(f).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(shares, want, rtol=1e-6)
    by_model = losses.link(losses.SOFTMAX, raw, 7).reshape(9, 3, 7)
    np.testing.assert_allclose(by_model.sum(axis=2), 1, rtol=1e-6)
    same = losses.link(losses.HINGE, raw)
    np.testing.assert_array_equal(same, raw)
    assert same is not raw
    far = losses.link(losses.LOGISTIC, np.array([-1e30, 1e30, 0]))
    np.testing.assert_array_equal(far, [0, 1, 0.5])
