"""Optimizers against their papers' formulas, and what every one of them must do."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smalgos.kernels.cpu import optimizers
from tests.reference import optimizers as reference

NAMES = ["sgd", "momentum", "adam", "adagrad", "rmsprop", "adadelta", "ftrl"]
CODES = {name: getattr(optimizers, name.upper()) for name in NAMES}


def state_of(name, shape):
    return [np.zeros(shape, np.float32) for _ in range(optimizers.slots(CODES[name]))]


def walk(name, w, gradients, rate, decay=0.0, l1=0.0, scale=1.0, **constants):
    """Weights after steps along the given gradients; rate, decay and l1 numbers or columns."""
    opt = optimizers.optimizer(CODES[name], **constants)
    w = np.array(w, np.float32)
    slots = [*state_of(name, w.shape), *[np.empty((0, 0), np.float32)] * 2][:2]
    columns = [np.atleast_1d(np.float32(x)) for x in (rate, decay, l1)]
    for t, g in enumerate(gradients, start=1):
        optimizers.step(opt, t, w, np.float32(g), *slots, scale, *columns)
    return w, slots[: optimizers.slots(CODES[name])]


@settings(deadline=None, max_examples=120)
@given(
    st.sampled_from(NAMES),
    st.integers(0, 99),
    st.integers(1, 5),
    st.integers(1, 35),
    st.sampled_from([np.inf, 0.5]),
    st.booleans(),
)
def test_matches_the_papers(name, seed, rows, columns, clip, common):
    rng = np.random.default_rng(seed)
    w = rng.standard_normal((rows, columns)).astype(np.float32)
    gradients = rng.standard_normal((6, rows, columns)).astype(np.float32)
    width = 1 if common else columns
    rate, decay = rng.uniform(0.01, 0.2, width), rng.choice([0, 0.1], width)
    l1 = rng.choice([0, 0.3], width)
    got, slots = walk(name, w, gradients, rate, decay, l1, 0.5, clip=clip, momentum=0.8)
    c = optimizers.optimizer(CODES[name], clip=clip, momentum=0.8)._asdict()
    want, state = w.astype(float), [s.astype(float) for s in state_of(name, w.shape)]
    rate, decay, l1 = (np.float32(x).astype(float) for x in (rate, decay, l1))
    for t, g in enumerate(gradients.astype(float), start=1):
        want, state = reference.step(name, c, t, want, g, state, 0.5, rate, decay, l1)
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=2e-5)
    for slot, s in zip(slots, state, strict=True):
        np.testing.assert_allclose(slot, s, rtol=1e-4, atol=2e-5)


FUNCTIONS = {
    "bowl": (lambda w: w - np.array([[1.0, -2.0]]), [[1.0, -2.0]]),
    "valley": (lambda w: (w - np.array([[0.5, 3.0]])) * np.array([[1.0, 0.05]]), [[0.5, 3.0]]),
}
RATES = dict(sgd=0.3, momentum=0.05, adam=0.05, adagrad=0.7, rmsprop=0.02, adadelta=2.0, ftrl=2.0)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("function", FUNCTIONS)
def test_finds_the_minimum(name, function):
    gradient, minimum = FUNCTIONS[function]
    opt = optimizers.optimizer(CODES[name])
    w = np.zeros((1, 2), np.float32)
    slots = [*state_of(name, w.shape), *[np.empty((0, 0), np.float32)] * 2][:2]
    columns = np.full(2, RATES[name], np.float32), np.zeros(2, np.float32), np.zeros(2, np.float32)
    for t in range(1, 2001):
        optimizers.step(opt, t, w, np.float32(gradient(w)), *slots, 1.0, *columns)
    np.testing.assert_allclose(w, minimum, atol=0.05)


@pytest.mark.parametrize("name", NAMES)
def test_l1_gives_exact_zeros_and_only_where_it_should(name):
    pull = np.where(np.arange(20) < 10, 3.0, 0.0)  # ten weights are drawn to 3, ten to nothing
    opt = optimizers.optimizer(CODES[name])
    w = np.random.default_rng(0).uniform(-0.1, 0.1, (1, 20)).astype(np.float32)
    slots = [*state_of(name, w.shape), *[np.empty((0, 0), np.float32)] * 2][:2]
    # Adagrad and adadelta make ever shorter steps, the proximal step stays as it is.
    l1 = dict(adagrad=0.005, adadelta=0.0002).get(name, 0.2)
    columns = [np.full(20, x, np.float32) for x in (RATES[name], 0, l1)]
    for t in range(1, 1001):
        optimizers.step(opt, t, w, np.float32(w - pull), *slots, 1.0, *columns)
    assert not w[0, 10:].any()
    assert (w[0, :10] > 1).all()


@pytest.mark.parametrize("name", NAMES)
def test_steps_in_place_and_keeps_columns_apart(name):
    rng = np.random.default_rng(0)
    w, g = rng.standard_normal((7, 20)), rng.standard_normal((3, 7, 20))
    rate, decay, l1 = rng.uniform(0.1, 0.2, (3, 20))
    whole, _ = walk(name, w, g, rate, decay, l1)
    for j in (0, 15, 16, 19):
        part = slice(j, j + 1)
        alone, _ = walk(name, w[:, part], g[:, :, part], rate[part], decay[part], l1[part])
        np.testing.assert_array_equal(alone, whole[:, part])


def test_a_rate_of_zero_moves_nothing():
    for name in NAMES[:-1]:
        w, _ = walk(name, np.ones((2, 3)), np.ones((4, 2, 3)), 0.0, 0.1, 0.1)
        np.testing.assert_array_equal(w, np.ones((2, 3)))


def test_decay_is_added_to_the_gradient_and_not_clipped():
    w, _ = walk("sgd", [[10.0]], [[[5.0]]], 0.1, decay=0.5, clip=1.0)
    np.testing.assert_allclose(w, [[10 - 0.1 * (1 + 0.5 * 10)]])


def test_adam_of_the_first_step_moves_by_the_rate():
    w, _ = walk("adam", np.zeros((1, 3)), [[[4.0, -0.25, 1e-3]]], 0.01)
    np.testing.assert_allclose(w, [[-0.01, 0.01, -0.01]], rtol=1e-3)


def test_nan_stays_nan():
    w, _ = walk("adam", np.zeros((1, 2)), [[[np.nan, 1.0]]], 0.01, clip=1.0)
    np.testing.assert_array_equal(np.isnan(w), [[True, False]])
