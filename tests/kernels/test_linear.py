"""Many linear models against one after another, and the promises about their bits."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smalgos._jit import COMPILED
from smalgos.kernels.cpu import linear, losses, optimizers
from smalgos.kernels.cpu.scores import AT_ONCE
from smalgos.kernels.cpu.shared import CHUNK, threads
from tests.reference import linear as reference
from tests.reference import losses as twin

CONSTANTS = dict(insensitivity=0.25, quantile=0.3, delta=0.75, margin=1.5)
LOSSES = ["logistic", "hinge", "softmax", "squared", "absolute", "eps_squared", "eps_absolute"]
LOSSES += ["quantile", "huber"]
CODES = {name: getattr(losses, name.upper()) for name in LOSSES}
STEPS = {n: getattr(optimizers, n.upper()) for n in ("sgd", "momentum", "adam", "rmsprop", "ftrl")}


def problem(seed, loss, n, d, models, classes):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d)).astype(np.float32)
    if loss in ("logistic", "hinge"):
        y = rng.integers(0, 2, n)
    else:
        y = rng.integers(0, classes, n) if classes > 1 else rng.standard_normal(n)
    weight = rng.choice([0.5, 1.0, 2.0], n).astype(np.float32)
    w = 0.1 * rng.standard_normal((d + 1, models * classes))
    return X, y.astype(np.float32), weight, w.astype(np.float32)


def method_of(loss, optimizer="adam", classes=1, bias_rate=10.0, bias_decay=0.5):
    return linear.Method(
        losses.Loss(CODES[loss], **CONSTANTS),
        linear.optimizer(STEPS[optimizer]),
        classes,
        bias_rate,
        bias_decay,
    )


def plain(X):
    """What leaves rows as they are: no choice of rows, shift, scale."""
    return None, np.zeros(X.shape[1], np.float32), np.ones(X.shape[1], np.float32)


def train(X, y, weight, batch, w, method, rates, blocks=None, csr=None, **start):
    """Weights (d + 1, columns), sums (models,) after training; blocks are ends of blocks."""
    models = w.shape[1] // method.classes
    plan = linear.groups(models, method.classes)
    given = linear.start(w, method, plan, **start)
    t = 1
    for a, b in zip([0, *(blocks or [])], [*(blocks or []), len(y)], strict=True):
        steps = -(-(b - a) // batch)
        rate = linear.spread(rates[t - 1 : t - 1 + steps], plan, method.classes)
        share = weight if weight is None else weight[a:b]
        if csr is None:
            rest = y[a:b], share, batch, given, rate, t, method, plan
            assert linear.train_dense(X[a:b], *plain(X), *rest) == -1
        else:
            values, indices, offsets, shift, scale = csr
            rows = values, indices, offsets[a : b + 1], shift, scale
            linear.train_csr(*rows, y[a:b], share, batch, given, rate, t, method, plan)
        t += steps
    sums = linear.unpack(given.sums[:, None], plan, method.classes)[0]
    return linear.unpack(given.W, plan, method.classes), sums.reshape(models, -1).sum(axis=1)


def sparse(seed, n, d):
    """CSR rows with empty ones, entries from offsets[0] on, and the same rows dense."""
    rng = np.random.default_rng(seed)
    dense = np.where(rng.random((n, d)) < 0.3, rng.standard_normal((n, d)), 0).astype(np.float32)
    row, column = np.nonzero(dense)
    offsets = 2 + np.concatenate([[0], np.cumsum(np.bincount(row, minlength=n))])
    values = np.concatenate([[99, 99], dense[row, column]]).astype(np.float32)
    indices = np.concatenate([[0, 0], column]).astype(np.int32)
    shift, scale = rng.standard_normal(d), rng.uniform(0.5, 2, d)
    csr = values, indices, offsets, shift.astype(np.float32), scale.astype(np.float32)
    return csr, (dense - csr[3]) * csr[4]


# The same examples in each run: next to a kink float32 may take the other side of it.
@settings(deadline=None, max_examples=80, derandomize=True)
@given(
    st.sampled_from(LOSSES),
    st.sampled_from(sorted(STEPS)),
    st.integers(0, 99),
    st.integers(1, 40),
    st.integers(1, 6),
    st.integers(1, 20),
    st.integers(1, 12),
    st.booleans(),
)
def test_matches_models_trained_one_by_one(loss, optimizer, seed, n, d, models, batch, as_csr):
    classes = 3 if loss == "softmax" else 1
    models = min(models, 6) if classes > 1 else models
    X, y, weight, w = problem(seed, loss, n, d, models, classes)
    csr = None
    if as_csr:
        csr, X = sparse(seed, n, d)
    rng = np.random.default_rng(seed)
    rates = rng.uniform(0.01, 0.05, (-(-n // batch), models))
    decay, l1 = rng.choice([0, 0.1], models), rng.choice([0, 0.05], models)
    positive = rng.choice([0.5, 1, 2], (models, classes))
    method = method_of(loss, optimizer, classes)
    start = dict(decay=decay, l1=l1, positive=positive.reshape(-1))
    got, sums = train(X, y, weight, batch, w, method, rates, csr=csr, **start)
    for m in range(models):
        part = slice(m * classes, (m + 1) * classes)
        want, total = reference.train(
            X.astype(float), y.astype(float), weight.astype(float), batch, w[:, part], rates[:, m],
            loss=loss, constants=CONSTANTS, optimizer=optimizer,
            settings=method.optimizer._asdict(), decay=decay[m], l1=l1[m],
            positive=positive[m], bias_rate=10.0, bias_decay=0.5,
        )  # fmt: skip
        np.testing.assert_allclose(got[:, part], want, rtol=2e-3, atol=2e-3)
        np.testing.assert_allclose(sums[m], total, rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize(("loss", "classes"), [("logistic", 1), ("squared", 1), ("softmax", 10)])
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("as_csr", [False, True])
def test_bits_of_a_model_depend_on_nothing_else(loss, classes, optimizer, as_csr):
    """Not on the models beside it, on the number of threads, or on how rows are cut."""
    batch = 100 if COMPILED else 10
    n, d, models = 7 * batch, 13, 9
    X, y, weight, w = problem(0, loss, n, d, models, classes)
    csr = None
    if as_csr:
        csr, X = sparse(0, n, d)
    rng = np.random.default_rng(0)
    rates, decay = rng.uniform(0.01, 0.1, (7, models)), rng.uniform(0, 0.1, models)
    method = method_of(loss, optimizer, classes)

    def go(n_jobs, blocks, first, last):
        part = slice(first * classes, last * classes)
        with threads(n_jobs):
            return train(
                X, y, weight, batch, w[:, part], method, rates[:, first:last], blocks, csr,
                decay=decay[first:last],
            )  # fmt: skip

    weights, sums = go(1, None, 0, models)
    for n_jobs, blocks in ((3, None), (2, [batch, 4 * batch]), (1, [3 * batch, 6 * batch])):
        again = go(n_jobs, blocks, 0, models)
        np.testing.assert_array_equal(again[0], weights)
        np.testing.assert_array_equal(again[1], sums)
    for first, last in ((0, 1), (3, 4), (2, 7), (8, 9)):
        alone = go(1, None, first, last)
        part = slice(first * classes, last * classes)
        np.testing.assert_array_equal(alone[0], weights[:, part])
        np.testing.assert_array_equal(alone[1], sums[first:last])


def test_a_batch_may_be_larger_than_what_is_worked_on_at_once():
    n = 3 * AT_ONCE + 7
    X, y, _, w = problem(0, "logistic", n, 4, 2, 1)
    rates = np.full((1, 2), 0.1)
    method = method_of("logistic", "sgd", bias_rate=1.0, bias_decay=0.0)
    got, sums = train(X, y, None, n, w, method, rates)
    x = np.hstack([X, np.ones((n, 1))]).astype(float)
    f = x @ w
    want = w - 0.1 * x.T @ (1 / (1 + np.exp(-f)) - y[:, None]) / n
    np.testing.assert_allclose(got, want, atol=1e-6)
    np.testing.assert_allclose(sums, twin.values("logistic", y[:, None], f).sum(axis=0), rtol=1e-6)


def test_bias_stays_at_rate_zero():
    X, y, _, w = problem(0, "squared", 50, 3, 5, 1)
    method = method_of("squared", bias_rate=0.0)
    got, _ = train(X, y, None, 10, w, method, np.full((5, 5), 0.1))
    np.testing.assert_array_equal(got[-1], w[-1])
    assert (got[:-1] != w[:-1]).all()


def test_lanes_of_no_model_stay_zero():
    for models, classes in ((5, 1), (3, 3)):
        method = method_of("softmax" if classes > 1 else "logistic", classes=classes)
        X, y, _, w = problem(0, "logistic", 40, 3, models, classes)
        plan = linear.groups(models, classes)
        given = linear.start(w, method, plan, decay=0.1)
        rates = linear.spread(np.full((4, models), 0.1), plan, classes)
        linear.train_dense(X, *plain(X), y, None, 10, given, rates, 1, method, plan)
        assert not given.W.reshape(4, -1)[:, models * classes :].any()
        assert not given.sums.reshape(-1)[models * classes :].any()


@pytest.mark.parametrize("shape", [(1, 1), (5, 1), (32, 1), (33, 1), (32, 3), (7, 10), (3, 40)])
def test_layout(shape):
    models, classes = shape
    plan = linear.groups(models, classes)
    assert [g.first for g in plan] == np.cumsum([0, *(g.models for g in plan[:-1])]).tolist()
    assert sum(g.models for g in plan) == models
    assert all(g.models * classes <= 16 * g.panels < g.models * classes + 16 for g in plan)
    w = np.arange(3 * models * classes, dtype=np.float32).reshape(3, -1)
    packed = linear.pack(w, plan, classes)
    assert packed.shape == (sum(g.panels for g in plan), 3, 16)
    np.testing.assert_array_equal(linear.unpack(packed, plan, classes), w)
    each = linear.spread(np.arange(models), plan, classes)
    lanes = linear.unpack(each[:, None], plan, classes)[0]
    np.testing.assert_array_equal(lanes, np.repeat(np.arange(models), classes))
    rows = linear.spread(np.arange(2 * models).reshape(2, models), plan, classes)
    np.testing.assert_array_equal(rows[:, 0], each)
    np.testing.assert_array_equal(rows[:, 1], each + models)


def test_layout_wastes_little_and_keeps_threads_busy():
    assert [(g.models, g.panels) for g in linear.groups(32)] == [(16, 1), (16, 1)]
    assert [(g.models, g.panels) for g in linear.groups(32, 10)] == [(8, 5)] * 4
    assert [(g.models, g.panels) for g in linear.groups(1, 7)] == [(1, 1)]


@settings(deadline=None, max_examples=30)
@given(
    st.integers(0, 99), st.integers(0, 300), st.integers(1, 9), st.integers(1, 20),
    st.sampled_from([1, 3]), st.booleans(),
)  # fmt: skip
def test_scores(seed, n, d, models, classes, scaled):
    csr, standard = sparse(seed, n, d)
    values, indices, offsets, shift, scale = csr
    dense = (standard / scale + shift).astype(np.float32)
    w = np.random.default_rng(seed).standard_normal((d + 1, models * classes)).astype(np.float32)
    plan = linear.groups(models, classes)
    W = linear.pack(w, plan, classes)
    by = (shift, scale) if scaled else ()
    x = standard if scaled else dense
    want = x.astype(float) @ w[:-1] + w[-1]
    got = linear.score_dense(dense, W, plan, classes, *by)
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)
    got = linear.score_csr(values, indices, offsets, W, plan, classes, *by)
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)


@pytest.mark.skipif(not COMPILED, reason="several chunks of rows take long without the JIT")
def test_bits_of_scores_depend_on_nothing_else():
    n, d = CHUNK + 100, 7
    csr, _ = sparse(0, n, d)
    rng = np.random.default_rng(0)
    X, w = rng.standard_normal((n, d)).astype(np.float32), rng.standard_normal((d + 1, 20))
    values, indices, offsets, shift, scale = csr
    plan = linear.groups(20)
    W = linear.pack(w, plan)
    with threads(1):
        dense = linear.score_dense(X, W, plan, 1, shift, scale)
        csr = linear.score_csr(values, indices, offsets, W, plan, 1, shift, scale)
    alone = linear.groups(1)
    with threads(3):
        for rows in (slice(0, 1), slice(5, 300), slice(100, n)):
            part = linear.score_dense(X[rows], W, plan, 1, shift, scale)
            np.testing.assert_array_equal(part, dense[rows])
            cut = offsets[rows.start : rows.stop + 1]
            part = linear.score_csr(values, indices, cut, W, plan, 1, shift, scale)
            np.testing.assert_array_equal(part, csr[rows])
        one = linear.pack(w[:, 17:18], alone)
        part = linear.score_dense(X, one, alone, 1, shift, scale)
        np.testing.assert_array_equal(part[:, 0], dense[:, 17])


@pytest.mark.parametrize("d", [1, 7, 16, 40, 300])
def test_rows_are_picked_and_standardised(d):
    n = 2 * AT_ONCE + 9 if COMPILED else 30
    X, y, _, w = problem(0, "squared", n, d, 3, 1)
    rng = np.random.default_rng(0)
    shift, scale = rng.standard_normal((2, d)).astype(np.float32)
    picked = rng.integers(0, n, n)
    frozen = X.copy()
    frozen.flags.writeable = False
    method, plan = method_of("squared"), linear.groups(3)
    rates = linear.spread(np.full((1, 3), 0.01), plan)

    def go(X, *how):
        given = linear.start(w, method, plan)
        bad = linear.train_dense(X, *how, y, None, n, given, rates, 1, method, plan)
        return bad, given.W.tobytes()

    standard = (X - shift) * scale
    want = go(standard[picked], *plain(X))
    assert want[0] == -1
    assert go(frozen, picked, shift, scale) == want
    assert go(frozen[picked], None, shift, scale) == want


@pytest.mark.parametrize("d", [1, 16, 20])
def test_rows_that_are_not_finite_are_found(d):
    n = 2 * AT_ONCE + 9 if COMPILED else 30
    X, y, _, w = problem(0, "squared", n, d, 3, 1)
    method, plan = method_of("squared"), linear.groups(3)
    rates = linear.spread(np.full((-(-n // 10), 3), 0.01), plan)
    _, zeros, ones = plain(X)
    for row, value in ((n - 1, np.nan), (25, np.inf), (7, -np.inf), (0, 3e38)):
        X[row, d - 1] = value
        given = linear.start(w, method, plan)
        rest = y, None, 10, given, rates, 1, method, plan
        with np.errstate(all="ignore"):
            assert linear.train_dense(X, None, zeros, 10 * ones, *rest) == row
        assert np.isfinite(given.W).all()
        back = np.arange(n)[::-1].copy()
        with np.errstate(all="ignore"):
            assert linear.train_dense(X, back, zeros, 10 * ones, *rest) == 0


@pytest.mark.skipif(not COMPILED, reason="several chunks of rows take long without the JIT")
@pytest.mark.parametrize(("loss", "classes"), [("logistic", 1), ("softmax", 3)])
def test_judge_gives_what_training_counts(loss, classes):
    n = 2 * CHUNK + 11
    rng = np.random.default_rng(0)
    raw = rng.standard_normal((n, 6)).astype(np.float32)
    y = rng.integers(0, 2 if classes == 1 else classes, n).astype(np.float32)
    weight, positive = rng.random(n).astype(np.float32), rng.uniform(0.5, 2, 6)
    given = losses.Loss(CODES[loss])
    sums = np.full(6 // classes, 5.0)
    with threads(1):
        linear.judge(given, y, raw, weight, positive, classes, sums)
    want, _ = losses.loss_value_gradient(given, y, raw, weight, positive, classes)
    np.testing.assert_allclose(sums, 5 + want, rtol=1e-10)
    cut = np.full(6 // classes, 5.0)
    with threads(3):
        for rows in (slice(0, CHUNK), slice(CHUNK, n)):
            linear.judge(given, y[rows], raw[rows], weight[rows], positive, classes, cut)
    np.testing.assert_array_equal(cut, sums)


def test_wrong_shapes_are_refused():
    X, y, weight, w = problem(0, "logistic", 20, 3, 2, 1)
    method, plan = method_of("logistic"), linear.groups(2)
    given = linear.start(w, method, plan)
    rates = linear.spread(np.full((2, 2), 0.1), plan)
    with pytest.raises(ValueError, match="labels"):
        linear.train_dense(X, *plain(X), y[1:], None, 10, given, rates, 1, method, plan)
    with pytest.raises(ValueError, match="weights"):
        linear.train_dense(X, *plain(X), y, weight[1:], 10, given, rates, 1, method, plan)
    with pytest.raises(ValueError, match="4 features"):
        linear.train_dense(
            np.ones((20, 4)), *plain(np.ones((20, 4))), y, None, 10, given, rates, 1, method, plan
        )
    with pytest.raises(ValueError, match="4 steps"):
        linear.train_dense(X, *plain(X), y, None, 5, given, rates, 1, method, plan)
    with pytest.raises(ValueError, match="rows 0 to 20 of 20"):
        linear.train_dense(X, np.array([0, 20] * 10), *plain(X)[1:], y, None, 10, given, rates, 1,
                           method, plan)  # fmt: skip
    with pytest.raises(ValueError, match="shift"):
        linear.train_dense(X, None, *plain(y[None])[1:], y, None, 10, given, rates, 1, method, plan)
    frozen = given._replace(sums=np.broadcast_to(0.0, given.sums.shape))
    with pytest.raises(ValueError, match="writable"):
        linear.train_dense(X, *plain(X), y, None, 10, frozen, rates, 1, method, plan)
    with pytest.raises(ValueError, match="2 features"):
        linear.score_dense(X[:, :2], given.W, plan)


@pytest.mark.parametrize("bad", [-1, 3, 2**31 - 1])
def test_sparse_rows_outside_are_refused(bad):
    plan = linear.groups(2)
    W = linear.pack(np.ones((4, 2)), plan)
    values, indices, offsets = np.ones(2), np.array([0, bad]), np.array([0, 1, 2])
    with pytest.raises(ValueError, match="rows of 3 features"):
        linear.score_csr(values, indices, offsets, W, plan)
    for wrong in ([0, 1, 3], [-1, 1, 2], [0, 2, 1]):
        with pytest.raises(ValueError, match="ascend"):
            linear.score_csr(values, np.zeros(2), np.array(wrong), W, plan)
    assert linear.score_csr(values, indices, offsets[:2], W, plan).tolist() == [[2, 2]]
