"""Bytes as a filter: what comes out is what comes out without it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smalgos._jit import COMPILED
from smalgos.kernels.cpu import nearest, nearest_bytes
from smalgos.kernels.cpu.lloyd import Lloyd
from smalgos.kernels.cpu.nearest import Guesses, Points
from smalgos.kernels.cpu.nearest_bytes import GROUP, Coded, _has_dot_products
from smalgos.kernels.cpu.nearest_tiles import STRIP, TALL, WIDE
from smalgos.kernels.cpu.nearest_top import top
from smalgos.kernels.cpu.tile import PANEL

pytestmark = pytest.mark.skipif(
    COMPILED and not _has_dot_products(), reason="a processor without AVX-512 VNNI"
)
sizes = st.tuples(
    st.integers(0, 99), st.integers(1, 80), st.sampled_from([24, 31, 64, 90]), st.integers(64, 200)
)


def problem(seed, n, d, k, far=0.0):
    """Clusters, with points that are equal, and rows that are points."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((10, d)) * rng.choice([0.0, 0.5, 3.0])
    X, P = (
        (centres[rng.integers(10, size=m)] + rng.standard_normal((m, d)) + far).astype(np.float32)
        for m in (n, k)
    )
    P[rng.integers(k, size=k // 8)] = P[0]
    X[rng.integers(n, size=n // 4)] = P[rng.integers(k)]
    return X, P


def both_ways(monkeypatch, answer):
    """An answer with the filter, and without."""
    monkeypatch.setattr(nearest, "AVAILABLE", True)
    monkeypatch.setattr(nearest, "MANY", 1)
    filtered = answer()
    monkeypatch.setattr(nearest, "AVAILABLE", False)
    return filtered, answer()


def assert_same(pair):
    for a, b in zip(*pair, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.compiled
@settings(deadline=None, max_examples=25)
@given(sizes, st.sampled_from([0.0, 100.0]), st.sampled_from(["l2", "ip"]))
def test_answers_are_those_without_it(size, far, metric):
    X, P = problem(*size, far)
    with pytest.MonkeyPatch.context() as patch:
        assert_same(both_ways(patch, lambda: top(X, Points(P), min(7, len(P)), metric)))


def found(X, P, guesses=None, two=False):
    """The nearest points, from guesses by chance if there are none."""
    rng = np.random.default_rng(0)
    numbers = rng.integers(len(X), size=len(X)).astype(np.int32)
    if guesses is None:
        guesses = rng.integers(len(P), size=len(X)).astype(np.int32)
    known = Guesses(guesses, nearest.square_norms(X))
    return nearest.find(X, numbers, Points(P), two, known)


@pytest.mark.compiled
@settings(deadline=None, max_examples=25)
@given(sizes, st.booleans(), st.sampled_from([0.0, 100.0]))
def test_labels_are_those_without_it(size, know, far):
    X, P = problem(*size, far)
    labels = nearest.assign(X, Points(P))[0] if know else None
    with pytest.MonkeyPatch.context() as patch:
        assert_same(both_ways(patch, lambda: found(X, P, labels)))


@pytest.mark.compiled
@settings(deadline=None, max_examples=25)
@given(sizes)
def test_scores_of_others_are_not_above_what_is_said(size):
    X, P = problem(*size)
    with pytest.MonkeyPatch.context() as patch:
        filtered, plain = both_ways(patch, lambda: found(X, P, two=True))
    off = nearest.margin(X.shape[1]) * ((X**2).sum(axis=1).max() + (P**2).sum(axis=1).max())
    np.testing.assert_array_equal(filtered[0], plain[0])
    np.testing.assert_allclose(filtered[1], plain[1], rtol=0, atol=off)
    assert (filtered[2] >= plain[2] - off).all()


@pytest.mark.parametrize("k", [1, 12, 13, 24] if COMPILED else [7])
def test_few_points(k, monkeypatch):
    X, P = problem(k, 40 if COMPILED else 6, 24, 64)
    assert_same(both_ways(monkeypatch, lambda: found(X, P[:k])))
    assert_same(both_ways(monkeypatch, lambda: top(X, Points(P[:k]), k)))


@pytest.mark.compiled
def test_where_it_leaves_too_many_it_gives_up(monkeypatch):
    rng = np.random.default_rng(0)
    X, P = (rng.standard_normal((n, 32)).astype(np.float32) for n in (2_000, 5_000))
    X[3] = P[7] = 1e6  # all others are the same byte
    calls = []
    real = nearest.find_floats
    monkeypatch.setattr(nearest, "find_floats", lambda *of: calls.append(len(of[1])) or real(*of))
    assert_same(both_ways(monkeypatch, lambda: found(X, P[:500])))
    assert 0 < calls[0] < len(X)
    assert_same(both_ways(monkeypatch, lambda: top(X, Points(P), 5)))


@pytest.mark.compiled
@pytest.mark.parametrize("value", [0.0, 1e-30, 1e-38, 1e14])
def test_sizes_at_the_edge_of_float32(value, monkeypatch):
    X, P = (problem(1, 40, 24, 70)[i] * np.float32(value) for i in (0, 1))
    assert_same(both_ways(monkeypatch, lambda: found(X, P)))
    assert_same(both_ways(monkeypatch, lambda: top(X, Points(P), 3)))


@pytest.mark.compiled
def test_lloyd_takes_the_same_path(monkeypatch):
    X, P = problem(4, 80, 24, 70)

    def path(bounds):
        run = Lloyd(X, None, P, bounds)
        for _ in range(4):
            run.assign()
            run.update()
        return run.labels, run.centres, np.float64(run.inertia)

    for bounds in ("plain", "hamerly"):
        assert_same(both_ways(monkeypatch, lambda bounds=bounds: path(bounds)))


def test_points_beyond_its_reach_are_scored_in_full():
    for value in (1e-20, 1e16):
        assert Points(np.full((1_000, 32), value, np.float32)).coded() is None
    assert Points(np.ones((9_000, 8), np.float32)).coded() is None
    assert Points(np.ones((8, 32), np.float32)).coded() is None


@pytest.mark.parametrize("by_product", [False, True])
def test_scores_are_as_near_as_they_are_said_to_be(by_product):
    X, P = problem(5, STRIP, 50, 100, 2.0)
    coded = Coded(P, by_product)
    tiles, sums, _, norms, errors, mean, shift, span, step = coded.of
    deep = len(shift) // GROUP
    rows, squares, lefts = np.empty(STRIP * deep, np.int32), np.empty(STRIP), np.empty(STRIP)
    X[4] *= 3  # an unusual row
    numbers = np.arange(STRIP, dtype=np.int32)
    a, off, long = _usual(X, numbers, shift, span)
    _pack(X, numbers, shift, a, rows, squares, lefts)
    worth = float(step) * float(a)
    begin = np.empty(len(sums), np.int32)
    _begin(coded.of, worth, off, long, begin)
    found = np.empty((len(tiles), TALL, WIDE, PANEL), np.int32)
    peak = np.empty((len(tiles), WIDE, PANEL), np.int32)
    for t in range(len(tiles)):
        _tile(tiles, t, begin, deep, rows, found[t], peak[t])
    np.testing.assert_array_equal(peak, found.max(axis=1))
    scores = found.reshape(-1, STRIP)[: len(P)].T * worth
    x, p = X - shift[:50].astype(float), P - mean[:50].astype(float)
    want = x @ p.T - (0 if by_product else (p**2).sum(axis=1) / 2)
    of = 50, worth, off, long, norms.max(), errors.max()
    doubts = np.array([_doubt(squares[r], lefts[r], *of) for r in range(STRIP)]) * worth
    assert (want <= scores + doubts[:, None]).all()
    above = (scores - want).max(axis=1)
    assert (above < 3 * (off * norms.max() + long * errors.max())).all()  # no wall
    assert doubts[4] > 2 * np.median(doubts)


if COMPILED:
    from smalgos._jit import kernel
else:

    def kernel(function, **_):
        return function


@kernel
def _usual(X, numbers, shift, span):
    return nearest_bytes.usual(X, numbers, shift, span)


@kernel
def _pack(X, numbers, shift, a, rows, squares, errors):
    words = np.empty((PANEL, len(shift) // GROUP), np.int32)
    nearest_bytes.pack_bytes(X, numbers, 0, len(X), shift, a, words, rows, 0, squares, errors)


@kernel
def _begin(coded, worth, off, long, begin):
    nearest_bytes.begin_at(coded, 0, len(begin), worth, off, long, begin)


@kernel
def _doubt(squares, errors, d, worth, off, long, norm, error):
    return nearest_bytes.doubt(squares, errors, d, worth, off, long, norm, error)


@kernel
def _tile(tiles, t, begin, deep, rows, found, peak):
    nearest_bytes.tile(
        tiles, t * deep * TALL, begin, t * TALL, deep, rows, 0, deep * PANEL, found, 0, peak
    )
