"""K-Means: what its states do with a stream, with odd rows, and in halves."""

import copy

import numpy as np
import pytest

from smalgos.algorithms import load_model
from smalgos.algorithms.kmeans import KMeansParameters, KMeansState, local
from smalgos.algorithms.kmeans.lloyd import LloydState
from smalgos.algorithms.kmeans.model import KMeansModel
from smalgos.errors import UserError
from smalgos.formats.block import Block, Csr
from smalgos.formats.channel import Arrays
from smalgos.kernels import load
from smalgos.learning import Spec
from smalgos.learning.train import Checkpoint, end_pass, run_pass, train
from tests.reference import kmeans as reference

K = load("kmeans")


def clusters(n=3000, k=6, d=4, seed=0, spread=0.5):
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(1).normal(size=(k, d)) * 6
    return (centres[rng.integers(0, k, n)] + spread * rng.normal(size=(n, d))).astype(np.float32)


def fresh(X, weights=None, side=None, facts=None, **given):
    block = Block.of(X, weights=weights)
    spec = Spec.of(block, rows=len(block), side=side or {}, facts=facts or {})
    return KMeansState(KMeansParameters(**{"k": 6, **given}), spec)


def learnt(X, weights=None, side=None, facts=None, **given):
    state = fresh(X, weights, side, facts, **given)
    train(state, {"train": Arrays(Block.of(X, weights=weights))})
    return state


def ssd(model, X):
    return float(reference.nearest(X, model.centres)[1].sum())


# The stream ---------------------------------------------------------------------------------------


def test_the_guides_numbers():
    """Weights 100, 150, 450 and 25, 40, 5 new rows: shares 25/125, 40/190, 5/455."""
    weights, new = np.array([100.0, 150, 450]), np.array([25, 40, 5])
    old, means = np.array([[0.0], [100], [200]]), np.array([[1.0], [101], [201]])
    sums, mass, centres = old * weights[:, None], weights.copy(), old.astype(np.float32)
    labels = np.repeat([0, 1, 2], new).astype(np.int32)
    K.add_rows(means[labels].astype(np.float32), None, labels, sums, mass, centres)
    share = np.array([25 / 125, 40 / 190, 5 / 455])
    np.testing.assert_allclose(centres[:, 0], old[:, 0] + share, rtol=1e-6)
    assert mass.tolist() == [125, 190, 455]


@pytest.mark.parametrize("half_life", [0, 500])
def test_the_stream_follows_the_originals_rule(half_life):
    X = clusters(2000)
    state = learnt(X, k=3, extra_center_factor=4, mini_batch_size=200, random_state=1,
                   half_life_time_size=half_life)  # fmt: skip
    begun = fresh(X, k=3, extra_center_factor=4, mini_batch_size=200, random_state=1)
    p = begun.next_pass()
    run_pass(begun, p, {"train": Arrays(Block.of(X))})
    centres, mass = begun.centres.astype(np.float64), np.zeros(12)
    assert len({c.tobytes() for c in begun.centres}) == 12
    for a in range(0, 2000, 200):
        reference.follow(
            X[a : a + 200], centres, mass, 0.5 ** (200 / half_life) if half_life else 1
        )
    np.testing.assert_allclose(state.mass, mass, rtol=1e-9)
    np.testing.assert_allclose(state.centres, centres, rtol=1e-4, atol=1e-4)


def test_a_stream_that_moves_is_followed_by_those_who_forget():
    there, here = clusters(5000, seed=2), clusters(5000, seed=3) + 1.5
    X = np.concatenate([there, here])
    near = {}
    for half_life in (0, 500):
        model = learnt(X, half_life_time_size=half_life, mini_batch_size=500).model()
        near[half_life] = ssd(model, here)
    assert near[500] < 0.8 * near[0]


def test_the_loss_on_the_way_is_told():
    X = clusters(5200)
    state = learnt(X, mini_batch_size=100)
    assert [batch for batch, _, _ in state.told] == [10, 20, 30, 40, 50]
    assert state.curve[:, 0].tolist() == [10, 20, 30, 40, 50, 52]
    assert state.told[0][1] == state.told[0][2]
    total = (state.curve[:, 1] * [1000, 1000, 1000, 1000, 1000, 200]).sum()
    assert total == pytest.approx(state.loss[0])
    assert state.model().notes["curve"] == state.curve.tolist()


def test_the_curve_stays_short(monkeypatch):
    from smalgos.algorithms.kmeans import stream

    monkeypatch.setattr(stream, "POINTS", 8)
    state = learnt(clusters(4000), mini_batch_size=20)
    assert len(state.curve) <= 8
    assert state.curve[-1, 0] == 200


def test_train_msd_is_the_loss_over_the_many_centres():
    state = learnt(clusters(), mini_batch_size=300)
    model = state.model()
    used = state.mass > 0
    square = reference.nearest(state.centres[used], model.centres)[1]
    assert model.msd == pytest.approx((state.mass[used] * square).sum() / 3000, rel=1e-4)
    assert model.msd == min(model.notes["attempts"])
    assert len(model.notes["attempts"]) == 10
    assert model.mass.sum() == pytest.approx(3000)


def test_fewer_clusters_without_another_look():
    state = learnt(clusters(), k=8)
    small = state.finish_with(6)
    assert small.centres.shape == (6, 4)
    assert ssd(small, clusters()) < 1.03 * 3000 * 4 * 0.25
    assert small.notes["hyperparameters"]["k"] == 6


# Odd rows -----------------------------------------------------------------------------------------


def test_rows_that_come_late_get_centres_of_their_own():
    """The first rows are all the same: the centres without rows take over some that are far."""
    X = np.concatenate([np.zeros((1000, 4), np.float32), clusters(3000)])
    model = learnt(X, k=7, mini_batch_size=500).model()
    assert (model.mass > 0).all()
    assert ssd(model, X) < 1.1 * 3000 * 4 * 0.25


@pytest.mark.parametrize("solver", ["webscale", "lloyd"])
def test_fewer_different_rows_than_clusters(solver):
    X = np.repeat(np.eye(3, dtype=np.float32), 20, axis=0)
    state = learnt(X, k=5, solver=solver)
    with pytest.warns(UserWarning, match="k=5: 2 clusters are empty: no more than 3 rows"):
        model = state.model()
    assert sorted(model.mass.tolist()) == [0, 0, 20, 20, 20]
    assert ssd(model, X) == 0
    assert {tuple(c) for c in model.centres.tolist()} == {tuple(row) for row in np.eye(3).tolist()}


@pytest.mark.parametrize("solver", ["webscale", "lloyd"])
def test_as_many_rows_as_clusters(solver):
    X = clusters(6)
    model = learnt(X, k=6, solver=solver).model()
    assert sorted(map(tuple, model.centres.tolist())) == sorted(map(tuple, X.tolist()))


@pytest.mark.parametrize("solver", ["webscale", "lloyd"])
def test_what_cannot_be_learnt_from(solver):
    X = clusters(20)
    with pytest.raises(UserError, match="k=21: n_samples=20 rows are fewer than clusters"):
        learnt(X, k=21, solver=solver)
    with pytest.raises(UserError, match="all weights are 0"):
        learnt(X, np.zeros(20, np.float32), solver=solver)
    with pytest.raises(UserError, match="beyond float32: scale"), np.errstate(over="ignore"):
        learnt(clusters(500) * np.float32(1e25), solver=solver)
    X[7, 2] = np.nan
    with pytest.raises(UserError, match=r"row 7 .*feature 2 is NaN"):
        learnt(X, solver=solver)


@pytest.mark.parametrize("solver", ["webscale", "lloyd"])
def test_rows_without_weight_are_as_if_they_were_not_there(solver):
    X = clusters(600)
    odd = np.concatenate([X, np.full((50, 4), 1e4, np.float32)])
    weights = np.concatenate([np.full(600, 2), np.zeros(50)]).astype(np.float32)
    model = learnt(odd, weights, solver=solver).model()
    assert np.abs(model.centres).max() < 100
    assert model.mass.sum() == pytest.approx(1200)


@pytest.mark.parametrize("solver", ["webscale", "lloyd"])
def test_far_from_the_origin(solver):
    """Squares of 1e5 would leave nothing of distances of 1 in float32."""
    X = clusters(2000, spread=1.0)
    far = X.astype(np.float64) + 1e5
    model = learnt(far.astype(np.float32), solver=solver).model()
    assert model.shift.all()
    want = ssd(learnt(X, solver=solver).model(), X)
    assert ssd(model, far.astype(np.float32)) == pytest.approx(want, rel=0.02)
    block = Block.of(far.astype(np.float32))
    told = model.predict(block)["distance_to_cluster"]
    assert (told.astype(float) ** 2).sum() == pytest.approx(want, rel=0.02)
    assert not learnt(X, solver=solver).model().shift.any()


def test_seeds_are_different_rows_by_weight():
    X = np.repeat(np.arange(20, dtype=np.float32), 5)[:, None]
    weights = (X[:, 0] > 9).astype(np.float32)
    for method in ("random", "kmeans++"):
        for rows in (X, Csr.of(X)):
            found = local.seeds(K, rows, weights, 15, method, (0, "x", 0), greedy=False)
            assert sorted(X[found, 0].tolist()) == list(range(10, 20))
        apart = local.seeds(K, X, None, 8, method, (1, "x", 0), greedy=True)
        assert len(set(X[apart, 0].tolist())) == 8


def test_centres_without_rows_move_to_rows_that_are_far():
    X = clusters(200)
    start = np.concatenate([X[:4], np.full((2, 4), 1e3, np.float32)])
    found = local.lloyd(K, X, None, start, KMeansParameters(k=6))
    assert (found.mass > 0).all()
    assert (np.diff(found.curve) <= 1e-3 * found.curve[0]).all()


# Lloyd's iterations -------------------------------------------------------------------------------


def test_iterations_as_the_reference():
    X = clusters(500)
    weights = np.random.default_rng(0).integers(1, 4, 500).astype(np.float32)
    start = X[:6]
    for iterations in (1, 3):
        state = learnt(X, weights, facts={"init": start}, solver="lloyd", local_lloyd_tol=0.0,
                       local_lloyd_max_iter=iterations)  # fmt: skip
        centres, labels, loss = reference.lloyd(X, weights, start, iterations)
        model = state.model()
        np.testing.assert_allclose(model.centres, centres, rtol=1e-4, atol=1e-4)
        assert (state.labelled[0] == labels).all()
        assert model.msd == pytest.approx(loss / weights.sum(), rel=1e-5)
        assert len(state.best_history) == iterations + 1


def test_the_best_of_several_starts_is_kept():
    X = clusters(400, k=12)
    state = learnt(X, k=12, solver="lloyd", local_lloyd_num_trials=6,
                   local_lloyd_init_method="random")  # fmt: skip
    model = state.model()
    assert model.msd == state.attempts.min() < state.attempts.max()
    assert ssd(model, X) == pytest.approx(400 * model.msd, rel=1e-5)


def test_stopped_in_the_middle_it_has_a_model():
    X = clusters(400)
    state = fresh(X, solver="lloyd", local_lloyd_init_method="random", local_lloyd_tol=0.0)
    stops = iter([False, False, False, True])
    assert train(state, {"train": Arrays(Block.of(X))}, stop=lambda: next(stops)) == "stopped"
    assert state.trial == 0
    assert state.model().msd > 0
    with pytest.raises(UserError, match="needs all rows at once"):
        state.again()


# Earlier models, several workers, files -----------------------------------------------------------


def test_an_earlier_model_counts_by_its_rows():
    X = clusters(3000)
    earlier = learnt(X).model()
    model = learnt(X[:60] + 0.1, side={"model": earlier}).model()
    assert model.mass.sum() == pytest.approx(3060)
    moved = reference.nearest(model.centres, earlier.centres)[1]
    assert moved.max() < 0.05**2
    wide = KMeansModel(centres=np.zeros((1, 9), np.float32), mass=np.ones(1),
                       shift=np.zeros(9, np.float32), msd=0.0)  # fmt: skip
    with pytest.raises(UserError, match="takes 9 features, the rows have 4"):
        learnt(X, side={"model": wide})
    with pytest.raises(UserError, match="there are 6 centres to start from"):
        learnt(X, k=3, side={"model": earlier}, solver="lloyd")
    with pytest.raises(UserError, match="there are 6 centres to start from, where 4 are learnt"):
        learnt(X, k=2, extra_center_factor=2, side={"model": earlier})


@pytest.mark.parametrize("half_life", [0, 2000])
def test_two_halves(half_life):
    X = clusters(6000, k=12, spread=2.0)
    given = {"k": 12, "mini_batch_size": 500, "half_life_time_size": half_life}
    whole = learnt(X, **given)
    base = fresh(X, **given)
    p = base.next_pass()
    run_pass(base, p, {"train": Arrays(Block.of(X))})
    end_pass(base, p)
    parts = []
    for rows in (X[:3000], X[3000:]):
        part = copy.deepcopy(base)
        run_pass(part, part.next_pass(), {"train": Arrays(Block.of(rows))})
        parts.append(part)
    a, b = parts
    want = a.mass.sum() + b.mass.sum()
    a.merge(b, base)
    end_pass(a, a.next_pass())
    assert a.mass.sum() == pytest.approx(want)
    assert a.seen == 6000
    assert ssd(a.model(), X) < 1.03 * ssd(whole.model(), X)


def test_a_snapshot_that_does_not_fit_is_refused(tmp_path):
    X = clusters(300)
    state = learnt(X)
    flat = state.snapshot()
    spec = Spec.of(Block.of(X))
    with pytest.raises(UserError, match="centres is not an array of shape"):
        KMeansState.check_size(KMeansParameters(k=10**6), spec, flat)
    KMeansState.check_size(KMeansParameters(k=6), spec, flat)
    again = fresh(X)
    for name, value in {"filled": 10**6, "mass": -np.ones(60)}.items():
        with pytest.raises(UserError):
            again.admit(flat | {name: value})
    path = tmp_path / "c"
    Checkpoint(path).offer(state, force=True)
    assert Checkpoint(path).resume(fresh(X))


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("centres", np.zeros((0, 4), np.float32), "centres: none"),
        ("centres", np.zeros((6, 4)), "not of float32"),
        ("mass", np.zeros(5), "mass has shape"),
        ("mass", -np.ones(6), "mass is negative"),
        ("shift", np.zeros(3, np.float32), "shift has shape"),
        ("shift", np.full(4, np.nan, np.float32), "not finite"),
        ("msd", np.inf, "msd is not a finite number"),
    ],
)
def test_a_model_that_does_not_fit_together(field, value, said, tmp_path):
    model = learnt(clusters(300)).model()
    setattr(model, field, value)
    model.save(tmp_path / "m")
    with pytest.raises(UserError, match=said):
        load_model(tmp_path / "m")


def test_the_solver_chooses_the_state():
    assert type(fresh(clusters(20), solver="lloyd")) is LloydState
    assert fresh(clusters(20)).merging == "statistical"
    assert fresh(clusters(20), solver="lloyd").merging == "none"
