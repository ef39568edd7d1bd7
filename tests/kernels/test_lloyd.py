"""Lloyd's iterations: against the book, and bit for bit the same with bounds as without."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smalgos._jit import COMPILED
from smalgos.formats.block import Csr
from smalgos.kernels.cpu import lloyd, nearest
from smalgos.kernels.cpu.lloyd import Lloyd
from smalgos.kernels.cpu.shared import threads
from tests.reference import lloyd as reference

EXAMPLES = 30 if COMPILED else 5


def blobs(seed, n, d, k, spread=1.0, far=0.0):
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((k, d)) * spread
    X = (centres[rng.integers(k, size=n)] + rng.standard_normal((n, d)) + far).astype(np.float32)
    return X, X[rng.permutation(n)[:k]] if k <= n else X[rng.integers(n, size=k)]


def path(X, weights, centres, bounds, steps=6, plan=None):
    """What iterations go through: labels, changes, centres, inertia, counts."""
    run, out = Lloyd(X, weights, centres, bounds), []
    if plan:
        run._plan = lambda full: plan(run)
    for _ in range(steps):
        changed = run.assign()
        run_out = run.labels.copy(), changed, run.inertia, run.counts, run.centres
        out.append((*run_out, run.update()))
    return out


def assert_same(a, b):
    for step_a, step_b in zip(a, b, strict=True):
        for x, y in zip(step_a, step_b, strict=True):
            np.testing.assert_array_equal(x, y)


def watching(seed):
    """A plan that watches centres by chance: any choice must do."""
    rng = np.random.default_rng(seed)

    def plan(run):
        if run._met is None:
            return None
        drift = run._drift()
        seen = rng.random(len(drift)) < rng.random()
        return drift[~seen].max(initial=np.float32(0)), np.flatnonzero(seen)

    return plan


@settings(deadline=None, max_examples=EXAMPLES)
@given(st.integers(0, 999), st.integers(1, 70), st.integers(1, 20), st.integers(1, 20))
def test_an_iteration_matches_the_book(seed, n, d, k):
    X, centres = blobs(seed, n, d, k)
    weights = np.random.default_rng(seed).integers(0, 4, n).astype(np.float32)
    for w in (None, weights):
        run, each = Lloyd(X, w, centres), np.ones(n) if w is None else w
        assert run.assign() == n
        labels, square = nearest.assign(X, nearest.Points(centres))
        np.testing.assert_array_equal(run.labels, labels)
        np.testing.assert_allclose(run.distances(), square)
        np.testing.assert_array_equal(run.counts, np.bincount(labels, each, k))
        np.testing.assert_array_equal(run.empty, np.flatnonzero(run.counts == 0))
        want = reference.inertia(X, each, labels, centres)
        np.testing.assert_allclose(run.inertia, want, rtol=1e-9, atol=1e-9 * n * d)
        moved = run.update()
        means = reference.means(X, each, labels, centres)
        np.testing.assert_allclose(run.centres, means, rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(moved, ((means - centres) ** 2).sum(), rtol=1e-4, atol=1e-9)


def bounds_change_no_bit(seed, n, d, k, kind, weighted):
    X, centres = blobs(seed, n, d, k, 2.0, 1e4 if kind == "far" else 0.0)
    rng = np.random.default_rng(seed)
    if kind == "ties":  # a small lattice: rows midway between centres, equal centres
        X = rng.integers(0, 3, (n, min(d, 3))).astype(np.float32)
        centres = X[rng.integers(n, size=k)]
    weights = rng.integers(0, 3, n) if weighted else None
    plain = path(X, weights, centres, "plain")
    assert_same(path(X, weights, centres, "hamerly"), plain)
    assert_same(path(X, weights, centres, "hamerly", plan=watching(seed)), plain)


problems = given(
    st.integers(0, 9999), st.integers(1, 90), st.integers(1, 20), st.integers(1, 40),
    st.sampled_from(["blobs", "far", "ties"]), st.booleans(),
)  # fmt: skip
test_bounds_change_no_bit = settings(deadline=None, max_examples=EXAMPLES)(
    problems(bounds_change_no_bit)
)
test_bounds_change_no_bit_at_length = pytest.mark.slow(
    settings(deadline=None, max_examples=1000)(problems(bounds_change_no_bit))
)


@settings(deadline=None, max_examples=EXAMPLES)
@given(st.integers(0, 999), st.integers(1, 60), st.integers(1, 60), st.integers(1, 20))
def test_sparse_rows_have_the_bits_of_dense_ones(seed, n, d, k):
    X, _ = blobs(seed, n, d, k, 3.0)
    rng = np.random.default_rng(seed)
    X[rng.random((n, d)) < rng.choice([0.5, 0.95])] = 0
    centres = X[rng.integers(n, size=k)]
    weights = rng.random(n)
    plain = path(X, weights, centres, "plain")
    for bounds in lloyd.BOUNDS:
        assert_same(path(Csr.of(X), weights, centres, bounds), plain)


@pytest.mark.compiled
@pytest.mark.parametrize("spread", [0.5, 2.0])
def test_same_bytes_for_any_number_of_threads_and_from_the_middle(spread):
    X, centres = blobs(0, 3 * lloyd.ROWS + 77, 16, 60, spread)
    with threads(1):
        plain = path(X, None, centres, "plain", 12)
    with threads(3):
        bounded = path(X, None, centres, "hamerly", 12)
    assert_same(bounded, plain)
    assert not np.array_equal(plain[-1][0], plain[0][0])
    later = path(X, None, plain[7][4], "hamerly", 5)
    for a, b in zip(later, plain[7:], strict=True):
        np.testing.assert_array_equal(a[0], b[0])
        assert a[2:3] == b[2:3]
        np.testing.assert_array_equal(a[4], b[4])


@pytest.mark.compiled
def test_bounds_pass_rows_over(monkeypatch):
    X, centres = blobs(0, 20_000, 16, 60, 3.0)
    run, compared, find = Lloyd(X, None, centres, "hamerly"), [], lloyd.find
    monkeypatch.setattr(
        lloyd, "find", lambda *given: compared.append(len(given[1])) or find(*given)
    )
    for _ in range(15):
        run.assign()
        run.update()
    assert sum(compared) < 15 * len(X) / 2
    monkeypatch.undo()


def test_weights_stand_for_repeated_rows():
    X, centres = blobs(3, 50, 4, 5)
    times = np.random.default_rng(0).integers(0, 4, 50)
    weighted = path(X, times, centres, "hamerly")
    repeated = path(np.repeat(X, times, axis=0), None, centres, "hamerly")
    for a, b in zip(weighted, repeated, strict=True):
        np.testing.assert_array_equal(np.repeat(a[0], times), b[0])
        np.testing.assert_allclose(a[2], b[2], rtol=1e-9)
        np.testing.assert_allclose(a[4], b[4], rtol=1e-6)


def test_centres_may_be_moved_in_between():
    X, centres = blobs(5, 60, 3, 6)
    centres[4] = 1e3  # nobody's
    runs = [Lloyd(X, None, centres, bounds) for bounds in lloyd.BOUNDS]
    for run in runs:
        run.assign()
        assert run.empty.tolist() == [4]
        run.update()
        np.testing.assert_array_equal(run.centres[4], centres[4])
        new = run.centres.copy()
        new[4] = X[run.distances().argmax()]
        run.move(new)
        run.assign()
        assert not len(run.empty)
    np.testing.assert_array_equal(runs[0].labels, runs[1].labels)
    assert runs[0].inertia == runs[1].inertia


def test_columns_of_very_different_size_keep_their_digits():
    X, _ = blobs(1, 40, 3, 4)
    X[:, 1] *= np.float32(1e12)
    X[:, 2] *= np.float32(1e-12)
    run = Lloyd(X, None, X[:4])
    run.assign()
    run.update()
    means = reference.means(X, np.ones(40), run.labels, X[:4])
    np.testing.assert_allclose(run.centres, means, rtol=1e-5)


def test_what_does_not_fit_is_refused():
    X = np.ones((5, 3), np.float32)
    with pytest.raises(ValueError, match="points have 4 features"):
        Lloyd(X, None, np.ones((2, 4)))
    with pytest.raises(ValueError, match="do not fit"):
        Lloyd(X, np.ones(4), X[:2])
    with pytest.raises(ValueError, match="do not fit"):
        Lloyd(X[:0], None, X[:2])
    with pytest.raises(ValueError, match="elkan"):
        Lloyd(X, None, X[:2], "elkan")
    with pytest.raises(ValueError, match="of shape"):
        Lloyd(X, None, X[:2]).move(X[:3])
    for value in (np.nan, np.inf, 1e20):
        X[3, 1] = value
        with pytest.raises(ValueError, match="finite"), np.errstate(all="ignore"):
            Lloyd(X, None, np.ones((2, 3)))


def test_choice():
    assert lloyd.choose(1000, 64, 10**6) == "hamerly"
    assert lloyd.choose(2, 3, 10**6) == "plain"
    assert Lloyd(np.ones((9, 2), np.float32), None, np.ones((2, 2))).bounds == "plain"


@pytest.mark.parametrize("candidates", [1, 3])
@pytest.mark.parametrize("weighted", [False, True])
def test_seeds_match_the_book(candidates, weighted):
    for seed in range(8):
        X, _ = blobs(seed, 50, 5, 4, 5.0)
        rng = np.random.default_rng(seed)
        weights = rng.integers(0, 3, 50).astype(float) if weighted else np.ones(50)
        draws = rng.random((6, candidates))
        got = lloyd.seed_plus_plus(X, weights if weighted else None, 6, draws, candidates)
        want = reference.seed_plus_plus(X, weights, 6, draws, candidates)
        np.testing.assert_array_equal(got, want)
        sparse = lloyd.seed_plus_plus(Csr.of(X), weights, 6, draws, candidates)
        np.testing.assert_array_equal(sparse, got)
        assert (weights[got] > 0).all()


def test_seeds_of_fewer_rows_than_asked_for_repeat():
    X = np.repeat(np.eye(3, dtype=np.float32), [5, 1, 4], axis=0)
    draws = np.random.default_rng(0).random((6, 1))
    rows = lloyd.seed_plus_plus(X, None, 6, draws)
    assert len(np.unique(X[rows[:3]], axis=0)) == 3
    assert len(rows) == 6
    edge = lloyd.seed_plus_plus(X, np.r_[np.ones(9), 0], 2, np.full((2, 1), np.nextafter(1, 0)))
    assert (edge < 9).all()
