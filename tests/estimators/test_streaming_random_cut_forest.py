"""StreamingRandomCutForest: all ways of streaming, what it finds, what it can be asked."""

import copy
import gzip
import json
import os
import pickle
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse as sp
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

import smalgos
from smalgos import StreamingRandomCutForest, UserError

pytestmark = pytest.mark.compiled  # some thousand rows each

SMALL = {"num_trees": 10, "num_samples_per_tree": 32, "output_after": 16}


def small(**given):
    return StreamingRandomCutForest(**{**SMALL, **given})


def normal(n=300, d=3, seed=0):
    return np.random.default_rng(seed).standard_normal((n, d)).astype(np.float32)


def sine(n, noise=0.05, seed=0):
    t = np.arange(n)
    rows = np.sin(2 * np.pi * t / 24) + noise * np.random.default_rng(seed).standard_normal(n)
    return rows[:, None].astype(np.float32)


def saved(forest, folder):
    forest.save(folder / "m")
    return (folder / "m").read_bytes()


# -- the same bytes


@pytest.mark.parametrize("given", [{}, {"shingle_size": 4, "internal_shingling": True}])
def test_every_way_of_streaming_makes_the_same_file(given, tmp_path):
    X = normal()
    want = saved(small(**given).fit(X), tmp_path)
    cuts = [0, 1, 50, 170, 300]
    blocks, rows, mixed = small(**given), small(**given), small(**given)
    scores = np.concatenate([blocks.score_update(X[a:b]) for a, b in pairwise(cuts)])
    one_by_one = [rows.score_update_one(x) for x in X]
    assert np.array_equal(scores, one_by_one)
    for a, b in pairwise(cuts):
        mixed.partial_fit(X[a:b])
        mixed.save(tmp_path / "half")
        mixed = smalgos.load(tmp_path / "half")
        assert isinstance(mixed, StreamingRandomCutForest)
    for forest in (blocks, rows, mixed, small(**given, n_jobs=3).fit(X)):
        assert saved(forest, tmp_path) == want
    assert saved(small(**given).fit(normal(seed=5)).fit(X), tmp_path) == want
    assert saved(small(**given).fit(sp.csr_matrix(X)), tmp_path) == want
    assert saved(small(**given, random_state=1).fit(X), tmp_path) != want


def test_it_survives_pickle_and_copy():
    X = normal()
    forest = small().fit(X[:200])
    others = [pickle.loads(pickle.dumps(forest)), copy.deepcopy(forest)]
    want = forest.score_update(X[200:])
    for other in others:
        assert np.array_equal(other.score_update(X[200:]), want)
    assert not hasattr(clone(forest), "state_")


def test_lists_and_other_dtypes_row_by_row():
    X = np.round(normal(), 3)
    want = small().score_update(X)
    forest, frozen = small(), np.asfortranarray(X)
    frozen.flags.writeable = False
    kinds = [lambda i: X[i].tolist(), lambda i: X[i].astype(np.float64), lambda i: frozen[i]]
    assert np.array_equal([forest.score_update_one(kinds[i % 3](i)) for i in range(300)], want)
    for bad in ([1.0], 3.0, [[1, 2, 3]], ["a", "b", "c"], [1, 2, None]):
        with pytest.raises(UserError, match=r"give 3 numbers|NaN"):
            forest.score_update_one(bad)


def test_feature_names(tmp_path):
    pandas = pytest.importorskip("pandas")
    X = pandas.DataFrame(normal(), columns=["a", "b", "c"])
    forest = small().fit(X)
    forest.save(tmp_path / "m")
    loaded = smalgos.load(tmp_path / "m")
    assert list(loaded.feature_names_in_) == ["a", "b", "c"]
    assert np.array_equal(loaded.anomaly_score(X), forest.anomaly_score(X))


def test_rows_that_are_all_alike(tmp_path):
    forest = small()
    scores = forest.score_update(np.full((200, 2), 3.0))
    assert (scores[16:] < 1).all()
    same, other = forest.anomaly_score([[3, 3], [3, 4]])
    assert other > 2 * same
    assert forest.predict([[3, 3], [3, 4]]).tolist() == [1, -1]
    assert forest.attribution([[3, 4]]).high[0].argmax() == 1
    assert len(forest.neighbours([[3, 3]])[0].points) == 1
    forest.save(tmp_path / "m")
    assert smalgos.load(tmp_path / "m").anomaly_score([[3, 4]]) == other
    alone = small(num_samples_per_tree=1, output_after=1)
    assert np.isfinite(alone.score_update(normal(50))).all()


def test_a_timeline():
    pytest.importorskip("matplotlib")
    from smalgos.plot import AnomalyTimelineDisplay

    forest, X = small(), normal(200, 1)
    scores = forest.score_update(X)
    shown = AnomalyTimelineDisplay(scores, series=X, threshold=-forest.offset_).plot()
    assert len(shown.anomalies) == (scores > -forest.offset_).sum()


# -- errors


def test_before_it_was_fitted():
    for ask in (small().anomaly_score, small().predict, small().attribution, small().codisp):
        with pytest.raises(NotFittedError):
            ask(normal())
    with pytest.raises(NotFittedError):
        small().forecast(3)
    with pytest.raises(NotFittedError):
        small().pause_sampling()


def test_another_number_of_features_in_a_stream():
    forest = small().fit(normal())
    for go_on in (forest.partial_fit, forest.score_update, forest.anomaly_score):
        with pytest.raises(ValueError, match="features"):
            go_on(normal(d=4))
    assert forest.score_update(normal(5)).shape == (5,)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_bad_rows_are_named_and_nothing_is_learnt(value, tmp_path):
    forest, X = small().fit(normal()), normal(20_000)
    before = saved(forest, tmp_path)
    X[15_000, 1] = value
    for go_on in (forest.partial_fit, forest.score_update, forest.anomaly_score):
        with pytest.raises(UserError, match=r"row 15000.*feature 1"):
            go_on(X)
        assert saved(forest, tmp_path) == before
    fresh = small()
    with pytest.raises(UserError, match="15000"):
        fresh.score_update(X)
    assert not hasattr(fresh, "state_")


def test_bad_timestamps():
    forest = small(interval=60.0)
    for times in ([0, 1, 1], [0, np.nan, 2], [0, 1]):
        with pytest.raises(UserError, match="timestamps"):
            forest.fit(normal(3), timestamps=times)
    days = np.datetime64("2024-01-01") + np.arange(3)
    forest.fit(normal(3), timestamps=days)
    with pytest.raises(UserError, match="timestamp"):
        forest.partial_fit(normal(3), timestamps=days)


def test_settings_on_the_way(tmp_path):
    forest = small().fit(normal())
    assert forest.set_decay(0.05).time_decay == 0.05
    assert forest.state_.forest.stream.decay == 0.05
    for bad in ("auto", -1, np.nan):
        with pytest.raises(UserError, match="time_decay"):
            forest.set_decay(bad)
    forest.pause_sampling().save(tmp_path / "m")
    paused = smalgos.load(tmp_path / "m")
    assert paused.state_.forest.stream.decay == 0.05
    X = normal(50, seed=1)
    assert np.array_equal(paused.score_update(X), forest.anomaly_score(X))
    assert np.array_equal(
        paused.continue_sampling().score_update(X), forest.continue_sampling().score_update(X)
    )


# -- what it finds


def test_two_clusters_and_a_point_between():
    """The data of the paper's Figure 3, made by its recipe, as AWS's library scores them.

    Its documentation shows scores of 0.66 to 0.91, and 2.83 or 2.76 of the point between.
    """
    between, inside = [], []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        rows = 0.01 * rng.standard_normal((2000, 3))
        rows[:, 0] += 5 * rng.choice([-1, 0, 1], 2000, p=[0.4985, 0.003, 0.4985])
        rows[-1] = 0.0158, 0.0061, 0.0091
        forest = StreamingRandomCutForest(num_trees=100, random_state=seed)
        scores = forest.score_update(rows)
        between.append(scores[-1])
        inside.append(np.median(scores[1000:]))
    assert np.mean(between) == pytest.approx(2.8, abs=0.35)
    assert np.mean(inside) == pytest.approx(0.75, abs=0.08)


@pytest.mark.parametrize("rotating", [False, True])
@pytest.mark.parametrize("lag", [1, 2])
def test_a_broken_rhythm(rotating, lag):
    rows = sine(1500)
    rows[1200:1206] = 2.0
    forest = StreamingRandomCutForest(
        shingle_size=24 // lag, shingle_lag=lag, internal_shingling=True, num_trees=30,
        internal_rotation=rotating,
    )  # fmt: skip
    scores = forest.score_update(rows)
    assert not scores[: 24 - lag + 64].any()
    assert 1200 <= np.argmax(scores) <= 1206 + 24
    assert scores.max() > 1.5 * np.median(scores[200:])


def test_it_follows_a_change():
    rows = np.concatenate([normal(1500, 2), normal(1500, 2, seed=1) + 8])
    forest = StreamingRandomCutForest(num_trees=20, num_samples_per_tree=64, time_decay=0.01)
    scores = forest.score_update(rows)
    assert scores[1500] > 2
    assert np.median(scores[2500:]) < 0.85
    still = forest.anomaly_score(np.zeros((1, 2)))
    assert still > 2  # by now the old place is the unusual one


def test_contamination():
    X = normal(300)
    for share in (0.05, 0.2):
        forest = StreamingRandomCutForest(contamination=share).fit(X)
        assert (forest.predict(X) == -1).mean() == pytest.approx(share, abs=0.01)
    forest = StreamingRandomCutForest().fit(X)
    assert forest.predict([[9, 9, 9], [0, 0, 0]]).tolist() == [-1, 1]
    assert np.array_equal(forest.decision_function(X), -forest.anomaly_score(X) - forest.offset_)


TAXI = Path(os.environ.get("SMALGOS_DATA", "")) / "nab"


@pytest.mark.skipif("SMALGOS_DATA" not in os.environ, reason="real data: set SMALGOS_DATA")
def test_taxi_rides():
    """Four of the five labelled windows of NAB's series hold one of the ten highest peaks that are
    48 rows apart; that of Thanksgiving one of the twenty."""
    name = "realKnownCause/nyc_taxi.csv"
    lines = gzip.decompress((TAXI / f"{name}.gz").read_bytes()).decode().splitlines()[1:]
    times = np.array([line.split(",")[0] for line in lines], "datetime64[s]")
    rides = np.array([[float(line.split(",")[1])] for line in lines])
    windows = json.loads((TAXI / "windows.json").read_text())[name]
    forest = StreamingRandomCutForest(shingle_size=48, internal_shingling=True, num_trees=100)
    left, peaks = forest.score_update(rides), []
    for _ in range(20):
        peaks.append(int(left.argmax()))
        left[max(peaks[-1] - 47, 0) : peaks[-1] + 48] = 0
    ranks = []
    for first, last in np.array(windows, "datetime64[us]"):
        inside = (times[peaks] >= first) & (times[peaks] <= last)
        ranks.append(int(inside.argmax()) if inside.any() else 99)
    assert sum(rank < 10 for rank in ranks) >= 4
    assert max(ranks) < 20


# -- what it can be asked


def test_attribution_adds_up_and_points_the_right_way():
    X = normal(400)
    forest = small().fit(X)
    rows = np.array([[6, 0, 0], [0, -6, 0], *X[:5]], np.float32)
    parts = forest.attribution(rows)
    np.testing.assert_allclose(parts.total, forest.anomaly_score(rows), rtol=1e-9)
    assert parts.high[0].argmax() == 0
    assert parts.low[1].argmax() == 1
    assert not small(output_after=1000).fit(X).attribution(rows).total.any()


def test_answers_of_next_rows_and_of_points():
    forest = StreamingRandomCutForest(shingle_size=12, internal_shingling=True, num_trees=20)
    rows = sine(600)
    forest.fit(rows[:-1])
    point = rows[-12:].reshape(1, -1)
    for ask in (
        forest.anomaly_score, forest.codisp, lambda X: forest.attribution(X).high,
        lambda X: forest.density(X).density(), lambda X: forest.neighbours(X).distances,
        lambda X: forest.impute(X).median,
    ):  # fmt: skip
        assert np.array_equal(ask(rows[-1:]), ask(point))
    want = forest.anomaly_score(point)
    assert np.array_equal(forest.score_update(rows[-1:]), want)
    near = forest.neighbours(point, within=1.0)[0]
    assert len(near.points)
    assert (near.distances < 1).all()
    for found, numbers in zip(near.points, forest.arrivals(near.points), strict=True):
        assert len(numbers)
        assert (rows[numbers[0] : numbers[0] + 12].ravel() == found).all()


def test_scores_other_than_the_usual_one():
    X = normal(400)
    forest = small(num_trees=30).fit(X)
    new, held = np.full((1, 3), 4.0), forest.state_.forest.trees.plain()["points"][:1]
    usual = forest.anomaly_score(held)
    assert forest.anomaly_score(held, ignore_leaf_mass=5) > usual
    quick = forest.anomaly_score(np.vstack([new, X[:50]]), precision=0.1)
    whole = forest.anomaly_score(np.vstack([new, X[:50]]))
    assert quick[0] == pytest.approx(whole[0], rel=0.3)
    assert np.corrcoef(quick, whole)[0, 1] > 0.7
    deep = forest.dynamic_score(
        X[:5], lambda depth, mass: 1 / (depth + 1), lambda depth, mass: 1 / (depth + 1),
        lambda mass, total: 1.0,
    )  # fmt: skip
    assert (deep > 0).all()


def test_imputing_rows_and_points():
    forest = StreamingRandomCutForest(
        shingle_size=24, internal_shingling=True, num_trees=30, impute_missing=True
    )
    rows = sine(1200, noise=0.01)
    forest.fit(rows[:1190])
    filled = forest.impute([[np.nan]])
    assert filled.median[0, -1] == pytest.approx(rows[1190, 0], abs=0.25)
    assert filled.lower[0, -1] <= filled.median[0, -1] <= filled.upper[0, -1]
    point = rows[1100:1124].reshape(1, -1).copy()
    truth = point[0, 5]
    point[0, 5] = np.nan
    assert forest.impute(point).median[0, 5] == pytest.approx(truth, abs=0.25)
    few = forest.typical(point)[0]
    assert few.weights.sum() == pytest.approx(1)
    with_gap = rows[1190:].copy()
    with_gap[3] = np.nan
    scores = forest.score_update(with_gap)
    assert (scores[3:] < 1.5).all()


@pytest.mark.parametrize("rotating", [False, True])
@pytest.mark.parametrize("lag", [1, 3])
def test_forecasts(rotating, lag):
    rows = sine(2000, noise=0.01)
    forest = StreamingRandomCutForest(
        shingle_size=24 // lag, shingle_lag=lag, internal_shingling=True, num_trees=50,
        internal_rotation=rotating,
    ).fit(rows[:1976])  # fmt: skip
    told = forest.forecast(24)
    assert told.values.shape == (1, 24, 1)
    assert np.abs(told.values[0] - rows[1976:]).mean() < 0.25
    assert (told.lower <= told.values).all()
    assert (told.values <= told.upper).all()
    if not rotating and lag == 1:
        shingle = rows[1952:1976].reshape(1, -1)
        again = forest.forecast(24, shingle)
        assert np.array_equal(again.values, told.values)
    else:
        with pytest.raises(UserError, match="only the stream"):
            forest.forecast(3, rows[: 24 // lag].T)


def test_forecasts_that_cannot_be():
    with pytest.raises(UserError, match="shingle_size above 1"):
        small().fit(normal()).forecast(3)
    series = small(shingle_size=3, internal_shingling=True).fit(normal())
    with pytest.raises(UserError, match="horizon=0"):
        series.forecast(0)
    early = small(shingle_size=3, internal_shingling=True).fit(normal(10))
    with pytest.raises(UserError, match="output_after=16"):
        early.forecast(3)


def test_shingles_of_the_callers_making():
    series = sine(800)[:, 0]
    inside = StreamingRandomCutForest(shingle_size=12, internal_shingling=True, num_trees=10)
    outside = StreamingRandomCutForest(shingle_size=12, num_trees=10)
    points = smalgos.shingle(series, 12)
    want = inside.score_update(series[:, None])
    assert np.array_equal(outside.score_update(points), want[11:])
    told = outside.forecast(5, points[-1:])
    assert np.array_equal(told.values, inside.forecast(5).values)
