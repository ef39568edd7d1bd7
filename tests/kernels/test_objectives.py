"""Gradients of boosted trees against their definitions in float64."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smalgos._jit import kernel
from smalgos.kernels.cpu import objectives, ranking, survival
from smalgos.kernels.cpu.shared import threads
from smalgos.kernels.cpu.vector import FLOATS, load_part, store_part, vectors
from tests.reference import objectives as reference

CONSTANTS = {"pseudo_huber": 1.5, "quantile": 0.3, "poisson": 0.7, "tweedie": 1.3}
OPTIONS = dict(slope=1.5, level=0.3, step=0.7, power=1.3)
NAMES = [
    "squared", "squared_log", "logistic", "pseudo_huber", "absolute", "quantile", "hinge",
    "poisson", "gamma", "tweedie",
]  # fmt: skip
KINKS = ("absolute", "quantile", "hinge")
NOISE = {"normal": survival.NORMAL, "logistic": survival.LOGISTIC, "extreme": survival.EXTREME}
KINDS = {"pairwise": ranking.PAIRWISE, "ndcg": ranking.NDCG, "map": ranking.MAP}


def problem(name, n, seed, spread=2.0):
    """Margins and labels in the objective's range, on a grid so that kinks are met."""
    rng = np.random.default_rng(seed)
    margin = np.round(rng.standard_normal(n) * spread * 8) / 8
    labels = rng.integers(-8, 9, n) / 4
    if name in ("logistic", "hinge"):
        labels = rng.integers(0, 2, n)
    elif name in ("squared_log", "poisson", "gamma", "tweedie"):
        labels = rng.integers(0, 9, n) / 2 + (name == "gamma")
    if name == "squared_log":
        margin = abs(margin) - 0.5
    return margin.astype(np.float32), labels.astype(np.float32)


def pointwise(name, margin, labels, weights=None, positive=1.0):
    g, h = np.empty((2, len(margin)), np.float32)
    code = getattr(objectives, name.upper())
    constant = CONSTANTS.get(name, 0.0)
    objectives.gradients(code, constant, positive, margin, labels, weights, g, h)
    return g, h


@settings(deadline=None, max_examples=80)
@given(st.sampled_from(NAMES), st.integers(0, 99), st.integers(0, 50), st.booleans())
def test_matches_the_definition(name, seed, n, weighted):
    margin, labels = problem(name, n, seed)
    rng = np.random.default_rng(seed)
    weights = rng.choice([0.0, 0.5, 2.0], n).astype(np.float32) if weighted else None
    got = pointwise(name, margin, labels, weights, 3.0)
    w = np.where(labels == 1, 3.0, 1.0) * (1.0 if weights is None else weights)
    want = reference.gradients(name, margin.astype(float), labels.astype(float), **OPTIONS)
    flat = want[1] < 1e-30 if name == "hinge" else np.zeros(n, bool)  # a bound, not weighted
    np.testing.assert_allclose(got[0], want[0] * w, rtol=2e-6, atol=2e-6)
    np.testing.assert_allclose(got[1], np.where(flat, want[1], want[1] * w), rtol=4e-6, atol=1e-10)


@pytest.mark.parametrize("name", NAMES)
def test_twin_is_the_difference_of_its_value(name):
    margin, labels = (x.astype(float) for x in problem(name, 200, 3))
    margin += 0.03  # off the kinks
    step = 1e-5

    def slope(f):
        return (f(margin + step) - f(margin - step)) / (2 * step)

    g, h = reference.gradients(name, margin, labels, **OPTIONS)
    at = slope(lambda m: reference.value(name, m, labels, **OPTIONS))
    np.testing.assert_allclose(g, at, rtol=1e-6, atol=1e-6)
    if name in KINKS:
        return  # a hessian of 1 stands in for one of 0
    curve = slope(lambda m: reference.gradients(name, m, labels, **OPTIONS)[0])
    if name == "poisson":
        curve *= np.exp(OPTIONS["step"])
    if name == "squared_log":
        curve = np.maximum(curve, 1e-6)
    if name == "pseudo_huber":
        np.testing.assert_allclose(h, curve, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(h, curve, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_bits_do_not_depend_on_neighbours_or_threads(name, monkeypatch):
    margin, labels = problem(name, 101, 5)
    want = pointwise(name, margin, labels)
    monkeypatch.setattr(objectives, "ROWS", 16)
    with threads(3):
        for a, b in zip(pointwise(name, margin, labels), want, strict=True):
            np.testing.assert_array_equal(a, b)
    monkeypatch.undo()
    for i in (0, 15, 16, 100):
        alone = pointwise(name, margin[i : i + 1], labels[i : i + 1])
        assert [x[0] for x in alone] == [x[i] for x in want]


@pytest.mark.parametrize("name", NAMES)
def test_finite_far_out_and_nan_stays(name):
    margin = np.array([-1e4, 1e4, -200, 200, -1e30, 1e30, np.nan], np.float32)
    labels = np.ones(7, np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        g, h = pointwise(name, margin, labels)
    assert np.isfinite(g[:4]).all()
    assert np.isfinite(h[:4]).all()
    assert name in KINKS or np.isnan(g[6])


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 99), st.integers(0, 50), st.integers(2, 9), st.booleans())
def test_softmax_matches_the_definition(seed, n, classes, weighted):
    rng = np.random.default_rng(seed)
    margin = (4 * rng.standard_normal((classes, n))).astype(np.float32)
    labels = rng.integers(0, classes, n).astype(np.float32)
    weights = rng.choice([0.0, 0.5, 2.0], n).astype(np.float32) if weighted else None
    g, h = np.empty((2, classes, n), np.float32)
    objectives.softmax_gradients(margin, labels, weights, g, h)
    want = reference.softmax(margin.astype(float), labels)
    for a, b in zip((g, h), want, strict=True):
        scaled = b if weights is None else b * weights
        np.testing.assert_allclose(a, scaled, rtol=2e-5, atol=1e-6)


def test_softmax_twin_is_the_difference_of_its_value():
    rng = np.random.default_rng(0)
    m, y = rng.standard_normal((3, 5)), np.arange(5) % 3
    g, h = reference.softmax(m, y)
    for k in range(3):
        step = 1e-5 * (np.arange(3)[:, None] == k)
        above, below = (reference.softmax_value(m + s, y) for s in (step, -step))
        np.testing.assert_allclose(g[k], (above - below) / 2e-5, atol=1e-8)
        above, below = (reference.softmax(m + s, y)[0][k] for s in (step, -step))
        np.testing.assert_allclose(h[k], 2 * (above - below) / 2e-5, atol=1e-8)


_exp, _log1p = vectors(FLOATS)(objectives.exp), vectors(FLOATS)(objectives.log1p)


@kernel(fastmath=False)
def elementary(code, x, out):
    for i in range(0, len(x), 16):
        v = load_part(x, i, len(x) - i)
        v = _exp(v) if code == 0 else _log1p(v)
        store_part(out, i, len(x) - i, v)


@pytest.mark.parametrize(
    ("code", "x", "exact", "ulps"),
    [
        (0, np.linspace(-87, 88, 20_011), np.exp, 1),
        (1, np.linspace(-1 + 1e-6, 1, 20_011), np.log1p, 4),
        (1, np.geomspace(1, 1e30, 20_011), np.log1p, 2),
        (1, -np.geomspace(1e-30, 0.9, 20_011), np.log1p, 4),
    ],
)
def test_elementary_functions_are_accurate(code, x, exact, ulps):
    x = x.astype(np.float32)
    out = np.empty_like(x)
    elementary(code, x, out)
    want = exact(x.astype(np.float64))
    assert (abs(out - want) / np.spacing(abs(want).astype(np.float32))).max() <= ulps


def test_exponential_is_clipped():
    x = np.array([-1e30, -100, 0, 100, np.inf, np.nan], np.float32)
    want = np.exp(np.clip(x.astype(float), -87, 88))
    np.testing.assert_allclose(objectives.exponential(x), want, rtol=1e-6)


# Ranking ------------------------------------------------------------------------------


def rankings(seed, kind):
    """Groups of several sizes, margins with ties."""
    rng = np.random.default_rng(seed)
    sizes = rng.choice([1, 2, 3, 9, 20, 40], 6)
    groups = np.repeat(np.arange(6), sizes)
    n = len(groups)
    margin = (np.round(rng.standard_normal(n) * 4) / 4).astype(np.float32)
    labels = rng.integers(0, 2 if kind == "map" else 5, n).astype(np.float32)
    return margin, labels, groups


def lambdas(pairs, margin, labels, groups, gain, weights=None, **key):
    g, h = np.empty((2, len(margin)), np.float32)
    known = ranking.queries(labels, groups, gain)
    ranking.lambda_gradients(pairs, margin, labels, weights, known, g, h, **key)
    return g, h


@settings(deadline=None, max_examples=60)
@given(
    st.sampled_from(sorted(KINDS)), st.integers(0, 99), st.sampled_from([1, 3, 32]),
    st.booleans(), st.booleans(), st.booleans(),
)  # fmt: skip
def test_lambdas_match_the_definition(kind, seed, number, by_difference, normalize, weighted):
    margin, labels, groups = rankings(seed, kind)
    gain = 2.0**labels - 1 if kind == "ndcg" else labels
    pairs = ranking.Pairs(KINDS[kind], False, number, by_difference, normalize)
    rng = np.random.default_rng(seed)
    weights = (rng.integers(1, 5, 6) / 2).astype(np.float32)[groups] if weighted else None
    got = lambdas(pairs, margin, labels, groups, gain, weights)
    mean = 1.0 if weights is None else np.mean([weights[groups == q][0] for q in range(6)])
    for q in range(6):
        rows = groups == q
        want = reference.lambdas(
            kind, margin[rows].astype(float), labels[rows].astype(float),
            lambda order: reference.best_pairs(len(order), number), truncation=number,
            by_difference=by_difference, normalize="log" if normalize else 1.0,
        )  # fmt: skip
        w = 1.0 if weights is None else weights[rows][0] / mean
        for a, b in zip(got, want, strict=True):
            np.testing.assert_allclose(a[rows], b * w, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_drawn_pairs_are_on_average_all_pairs(kind):
    """Of very many draws, each row meets each of another label about equally often."""
    margin, labels, _ = rankings(1, kind)
    margin, labels = margin[:12], labels[:12]
    gain = 2.0**labels - 1 if kind == "ndcg" else labels
    number = 400
    pairs = ranking.Pairs(KINDS[kind], True, number)
    got = lambdas(pairs, margin, labels, None, gain)
    want = np.zeros((2, 12))
    for i in range(12):
        others = np.flatnonzero(labels != labels[i])

        def each(order, i=i, others=others):
            place = np.argsort(order)
            return [tuple(sorted((place[i], place[j]))) for j in others]

        want += reference.lambdas(
            kind, margin.astype(float), labels, each, truncation=None, normalize=1 / len(others)
        )
    np.testing.assert_allclose(got, want, rtol=0.2, atol=0.05)


@pytest.mark.parametrize("mean", [False, True])
def test_lambdas_do_not_depend_on_threads_or_tasks(mean, monkeypatch):
    margin, labels, groups = rankings(3, "ndcg")
    gain = 2.0**labels - 1
    pairs = ranking.Pairs(ranking.NDCG, mean, 3)
    key = dict(seed=4, iteration=7)
    want = lambdas(pairs, margin, labels, groups, gain, **key)
    monkeypatch.setattr(ranking, "CHUNK", 8)
    with threads(3):
        got = lambdas(pairs, margin, labels, groups, gain, **key)
    np.testing.assert_array_equal(got, want)
    other = lambdas(pairs, margin, labels, groups, gain, seed=4, iteration=8)
    assert np.array_equal(other, want) != mean


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 99), st.integers(1, 200))
def test_ranked_is_a_stable_sort(seed, n):
    rng = np.random.default_rng(seed)
    score = rng.integers(0, 20, n).astype(np.float32)
    groups = np.sort(rng.integers(0, 4, n))
    known = ranking.queries(score, groups, score)
    want = np.lexsort((-score, groups))
    np.testing.assert_array_equal(ranking.ranked(score, known.starts, known.tasks), want)
    np.testing.assert_array_equal(known.by_label, want)


def test_no_rows():
    nothing = np.empty(0, np.float32)
    for groups in (None, np.empty(0, np.int64)):
        assert lambdas(ranking.Pairs(), nothing, nothing, groups, nothing)[0].shape == (0,)


# Survival ------------------------------------------------------------------------------


def times(n, seed):
    rng = np.random.default_rng(seed)
    margin = rng.standard_normal(n).astype(np.float32)
    lower = np.exp(rng.standard_normal(n)).astype(np.float32)
    kind = rng.integers(0, 4, n)
    upper = np.select([kind == 0, kind == 1], [lower, lower * 2], np.inf).astype(np.float32)
    lower[kind == 3] = 0
    upper[kind == 3] = 1
    return margin, lower, upper


@settings(deadline=None, max_examples=30)
@given(st.sampled_from(sorted(NOISE)), st.integers(0, 99), st.sampled_from([0.7, 1.0, 3.0]))
def test_failure_times_match_the_definition(noise, seed, scale):
    margin, lower, upper = times(20, seed)
    g, h = np.empty((2, 20), np.float32)
    loss = survival.aft_gradients(NOISE[noise], scale, margin, lower, upper, g, h)
    rows = [tuple(map(float, row)) for row in zip(margin, lower, upper, strict=True)]
    value = np.array([reference.aft_value(noise, scale, *row) for row in rows])
    near = np.flatnonzero(value < 13)  # the twin has no digits left where nothing is likely
    want = np.array([reference.aft(noise, scale, *rows[i]) for i in near]).reshape(-1, 2)
    np.testing.assert_allclose(g[near], np.clip(want[:, 0], -15, 15), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(h[near], np.clip(want[:, 1], 1e-16, 15), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(loss[near], value[near], rtol=1e-6)


@pytest.mark.parametrize("noise", sorted(NOISE))
def test_failure_times_twin_is_the_difference_of_its_value(noise):
    for m, lower, upper in zip(*times(30, 1), strict=True):
        f = [float(x) for x in (m, lower, upper)]
        g, h = reference.aft(noise, 1.5, *f)
        e = 1e-5

        def at(step, f=f):
            return reference.aft_value(noise, 1.5, f[0] + step, *f[1:])

        assert g == pytest.approx((at(e) - at(-e)) / (2 * e), rel=1e-4, abs=1e-6)
        slopes = [reference.aft(noise, 1.5, f[0] + step, *f[1:])[0] for step in (e, -e)]
        assert h == pytest.approx((slopes[0] - slopes[1]) / (2 * e), rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("noise", sorted(NOISE))
@pytest.mark.parametrize("scale", [0.1, 1.0, 10.0])
def test_failure_times_far_out_are_bounded(noise, scale):
    m = np.array([-1e30, -1e3, -50, 50, 1e3, 1e30], np.float32)
    one = np.ones(6, np.float32)
    for lower, upper in ((one, one), (one, one * np.inf), (one * 0, one), (one, one * 2)):
        g, h = np.empty((2, 6), np.float32)
        loss = survival.aft_gradients(NOISE[noise], scale, m, lower, upper, g, h)
        assert np.isfinite(loss).all()
        assert (abs(g) <= 15).all()
        assert ((h >= 0.99e-16) & (h <= 15)).all()
        if upper[0] > lower[0] > 0 or upper[0] == lower[0]:
            signs = [-1, -1, -1, 1, 1, 1] if np.isfinite(upper[0]) else [-1] * 6
            assert (g * signs >= 0).all()
