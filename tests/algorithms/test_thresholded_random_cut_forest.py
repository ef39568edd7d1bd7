"""What is around the forest: statistics, transforms, filling, thresholds, correction.

Golden numbers are those of AWS's open library random-cut-forest-by-aws 4.x on the same rows.
"""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smalgos.algorithms.thresholded_random_cut_forest import filling, result
from smalgos.algorithms.thresholded_random_cut_forest.corrector import Corrector
from smalgos.algorithms.thresholded_random_cut_forest.parameters import (
    TRANSFORMS,
    ThresholdedRandomCutForestParameters,
)
from smalgos.algorithms.thresholded_random_cut_forest.result import Telling
from smalgos.algorithms.thresholded_random_cut_forest.series import Ahead, Series
from smalgos.algorithms.thresholded_random_cut_forest.statistics import (
    Deviation,
    Deviations,
    Moments,
    Statistics,
)
from smalgos.algorithms.thresholded_random_cut_forest.thresholds import Thresholder
from smalgos.algorithms.thresholded_random_cut_forest.transforms import Frame, Transform
from smalgos.errors import UserError
from smalgos.learning import Spec
from tests.reference import discounted as slow

GOLDEN = json.loads(
    (Path(__file__).parent / "golden/thresholded_random_cut_forest.json").read_text()
)


def settled(width=1, **given):
    """Hyperparameters, resolved for rows of so many columns."""
    p = ThresholdedRandomCutForestParameters(**given)
    return p.resolved(Spec({"features": ("dense", "float32", width)}))


class Nothing:
    """A forest that knows nothing, and counts what it is given."""

    ready, points = False, 0

    def update(self, point):
        self.points += 1


# -- statistics


@given(st.lists(st.floats(-1e3, 1e3), max_size=30), st.floats(0, 0.9))
def test_deviation(numbers, discount):
    got = Deviation(discount)
    for x in numbers:
        got.update(x)
    assert got.count == len(numbers)
    assert got.mean == pytest.approx(slow.mean(numbers, discount), rel=1e-9, abs=1e-9)
    assert got.deviation == pytest.approx(slow.deviation(numbers, discount), rel=1e-6, abs=1e-4)
    got.check()
    got.reset()
    assert got.mean == got.deviation == got.count == 0


def test_deviations_of_rows():
    rng = np.random.default_rng(0)
    X, got = rng.standard_normal((20, 3)), Deviations(2, 3, 0.1)
    for x in X:
        got.update(1, x)
    assert got.mean[0].tolist() == got.deviation[0].tolist() == [0, 0, 0]
    np.testing.assert_allclose(got.mean[1], [slow.mean(x, 0.1) for x in X.T])
    np.testing.assert_allclose(got.deviation[1], [slow.deviation(x, 0.1) for x in X.T])


def test_statistics_go_on_from_a_snapshot():
    rng = np.random.default_rng(1)
    X, one = rng.standard_normal((12, 2)), Statistics(2, 0.05)
    for i, x in enumerate(X[:8]):
        one.step(x, X[i - 1])
    two = Statistics(2, 0.05).admit(
        {k: np.copy(v) if np.ndim(v) else v for k, v in one.snapshot().items()}
    )
    assert np.array_equal(one.moments.mean, two.moments.mean)
    assert np.array_equal(one.moments.deviation, two.moments.deviation)
    for part in (one, two):
        part.step(X[8], X[7])
    assert np.array_equal(one.moments.mean, two.moments.mean)


# -- transforms


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(TRANSFORMS), st.integers(1, 3), st.integers(0, 2**32))
def test_inverse(method, d, seed):
    rng = np.random.default_rng(seed)
    m = Moments(rng.normal(0, 5, (5, d)), np.abs(rng.normal(0, 5, (2, d))))
    weights = np.ones(d) if method == "NONE" else rng.uniform(0.1, 3, d)
    t, x, previous = Transform(method, weights), rng.normal(0, 20, d), rng.normal(0, 20, d)
    z = t.forward(x, previous, m)
    assert z.dtype == np.float32
    np.testing.assert_allclose(t.inverse(z, previous, m), x, rtol=1e-5, atol=1e-4)
    frame = t.frame(m, previous)
    np.testing.assert_allclose(frame.scale * z + frame.shift, x, rtol=1e-5, atol=1e-4)
    assert (t.forward(1e9 * np.ones(d), previous, m) <= 100 * weights * 1.001).all() == (
        method.startswith("NORMALIZE")
    )
    first = t.forward(x, None, m)
    if method == "DIFFERENCE":
        assert first.tolist() == [0] * d


@pytest.mark.parametrize("method", TRANSFORMS)
def test_forecasts_are_what_would_come(method):
    """Without drift, points of the rows to come are turned back into these."""
    rng = np.random.default_rng(3)
    rows, d = rng.normal(0, 5, (6, 2)), 2
    mean = np.array([[1.0, 2.0], [0.3, -0.1], [2.0, 1.0], [0.0, 0.0], [1.0, 1.0]])
    m = Moments(mean, np.array([[2.0, 1.0], [1.5, 0.5]]))
    t = Transform(method, np.array([1.0, 1.0]) if method == "NONE" else np.array([0.5, 2.0]))
    z = np.array([t.forward(rows[i], rows[i - 1], m) for i in range(1, 6)], np.float64)
    at, low, high = t.forecast(z, z - 1, z + 1, rows[0], m)
    np.testing.assert_allclose(at, rows[1:], rtol=1e-5, atol=1e-5)
    scale = t.frame(m, rows[0]).scale
    np.testing.assert_allclose(high - low, np.tile(2 * scale, (5, 1)), rtol=1e-9)
    assert at.shape == (5, d)


def test_drift_of_forecasts():
    m = Moments(np.array([[5.0], [0.5], [0.0], [0.25], [0.0]]), np.zeros((2, 1)))
    flat = np.zeros((3, 1))
    at, low, high = Transform("SUBTRACT_MA", np.ones(1)).forecast(flat, flat, flat, np.ones(1), m)
    assert at.ravel().tolist() == low.ravel().tolist() == high.ravel().tolist() == [5, 5.25, 5.5]


def test_a_weight_of_zero():
    t = Transform("NORMALIZE", np.array([1.0, 0.0]))
    m = Moments(np.ones((5, 2)), np.ones((2, 2)))
    z = t.forward(np.array([3.0, 7.0]), np.zeros(2), m)
    assert z[1] == 0
    assert t.inverse(z, np.zeros(2), m).tolist() == [3, 1]  # the mean is all that is known


# -- filling


def test_between():
    before, behind, fill = np.array([0.0, 4.0]), np.array([3.0, 1.0]), np.array([9.0, 9.0])
    rows = {
        m: filling.between(m, fill, before, behind, 2, 2).tolist()
        for m in ("LINEAR", "PREVIOUS", "NEXT", "ZERO")
    }
    assert rows["LINEAR"] == [[1, 3], [2, 2]]
    assert rows["PREVIOUS"] == [[0, 4]] * 2
    assert rows["NEXT"] == [[3, 1]] * 2
    assert rows["ZERO"] == [[9, 9]] * 2  # what `fixed` made of it
    late = filling.between("LINEAR", None, before, behind, 2, 1)
    assert late.tolist() == [[2, 2]]
    assert filling.fixed("ZERO", [1.0], 2).tolist() == [0, 0]
    assert filling.fixed("RCF", None, 2) is None


def test_start():
    nan = np.nan
    X = np.array([[nan, 1.0, nan], [2.0, nan, nan], [nan, nan, nan], [5.0, 4.0, nan]])
    times = np.array([0, 10, 20, 40])
    gone = np.isnan(X)
    got = filling.start(X, gone, times, "RCF", None)
    assert got.tolist() == [[2, 1, 0], [2, 1.75, 0], [3, 2.5, 0], [5, 4, 0]]
    got = filling.start(X, gone, times, "RCF", np.array([7.0, 7.0, 7.0]))
    assert got[:, 2].tolist() == [7, 7, 7, 7]
    assert filling.start(X, gone, times, "ZERO", np.zeros(3))[:, 0].tolist() == [0, 2, 0, 5]


@pytest.mark.parametrize(
    ("gap", "rows"), [(1, 0), (10, 0), (14.9, 0), (15.1, 1), (21, 1), (26, 2), (100, 9)]
)
def test_rows_missing(gap, rows):
    assert filling.rows_missing(gap, 10.0) == rows


def test_usual_gap():
    assert filling.usual_gap(10.0, 2.0) == pytest.approx(10 - 4 / 20)
    assert filling.usual_gap(10.0, 6.0) == 10.0
    assert filling.rows_missing(5.0, 0.0) == 0


# -- against the open library's numbers


def golden_rows():
    t = np.arange(120)
    X = np.stack([50 * np.sin(t * 2 * np.pi / 24) + (t * 37 % 11), 0.3 * t + (t * 29 % 7)], 1)
    X[90] += 60
    return X.astype(np.float32).astype(np.float64), (60 * t + (t * 13 % 9)).tolist()


def points(X, times, forest=None, **given):
    """{row: what the forest sees}"""
    s, forest = Series(settled(2, shingle_size=3, output_after=20, **given), 2), forest or Nothing()
    out = {}
    for i, (x, timestamp) in enumerate(zip(X, times, strict=True)):
        if s.starting:
            s.hold(x, timestamp, forest)
            continue
        out[i] = s.ahead(x, timestamp, forest)
        s.take(out[i], forest)
    s.check()
    return out


@pytest.mark.parametrize("method", TRANSFORMS)
@pytest.mark.parametrize("mode", ["STANDARD", "STREAMING_IMPUTE"])
def test_transforms_as_in_the_open_library(method, mode):
    got = points(*golden_rows(), transform_method=method, forest_mode=mode)
    for row, want in GOLDEN[method]["rows"].items():
        a = got[int(row)]
        np.testing.assert_allclose(a.point, want["point"], rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(a.frame.scale, want["scale"], rtol=1e-9)
        np.testing.assert_allclose(a.frame.shift, want["shift"], rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(a.noise.ravel(), want["dev"], rtol=1e-9)


def test_time_as_in_the_open_library():
    X, times = golden_rows()
    got = points(
        X, times, transform_method="NORMALIZE", forest_mode="TIME_AUGMENTED", normalize_time=True
    )
    for row, want in GOLDEN["TIME_AUGMENTED"]["rows"].items():
        np.testing.assert_allclose(got[int(row)].point, want["point"], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("fill", ["PREVIOUS", "NEXT", "LINEAR", "ZERO", "FIXED_VALUES"])
def test_filling_as_in_the_open_library(fill):
    X, times = golden_rows()
    X[50, 1] = X[80] = np.nan
    times = [t + 240 * (i >= 70) for i, t in enumerate(times)]
    values = {"fill_values": [5.0, 5.0]} if fill == "FIXED_VALUES" else {}
    got = points(X, times, forest_mode="STREAMING_IMPUTE", imputation_method=fill, **values)
    for row, want in GOLDEN[f"STREAMING_IMPUTE {fill}"]["rows"].items():
        if fill == "LINEAR" and row == "71":
            continue  # filled rows differ with their number
        np.testing.assert_allclose(got[int(row)].point, want["point"], rtol=1e-6, atol=1e-6)
    assert got[70].new == 5
    assert got[70].filled.tolist() == [False] * 3 + [True] * 4 + [False]
    assert got[80].filled.tolist()[-2:] == [False, True]


@pytest.mark.parametrize("method", TRANSFORMS)
def test_thresholds_as_in_the_open_library(method):
    t = Transform(method, np.ones(1))
    got = Thresholder(
        0.1 / 256, 0.01, 3.0, 0.8, transformed=method != "NONE", differenced=t.differenced,
        shingled=True,
    )  # fmt: skip
    last = 0.0
    for score, threshold, grade in GOLDEN[method]["scores"]:
        assert got.judge(score)[0] == pytest.approx(threshold, rel=1e-12)
        assert grade < 0 or got.judge(score)[1] == grade
        got.update(min(score, 2.0), score - last)
        last = score
        if grade != 0:  # from here on, what was corrected counts
            break


# -- thresholds


def followed(scores, **given):
    t = Thresholder(0.0, 0.0, 3.0, 0.8, **given)
    for score in scores:
        t.update(score, score)
    return t


def test_before_there_is_a_deviation():
    t = followed([0.5] * 9)
    assert not t.ready
    assert t.judge(1.49) == (1.5, 0.0)
    assert t.judge(1.6) == (1.5, 1.0)  # 1.6 is twice the lowest threshold
    assert t.plain(9.0) == (0.0, 0.0)


def test_between_initial_threshold_and_deviation():
    for count, share in ((10, 0.0), (14, 0.4), (20, 1.0), (90, 1.0)):
        t = followed([1.0] * count)
        assert t.judge(0.9)[0] == pytest.approx(share * 1.0 + (1 - share) * 1.5)


def test_grades_are_steps():
    rng = np.random.default_rng(0)
    t = followed(1 + 0.1 * rng.standard_normal(500))
    threshold = t.judge(1.0)[0]
    grades = [t.judge(threshold + x)[1] for x in np.linspace(0, 1, 200)]
    assert grades == sorted(grades)
    assert grades[0] == 0
    assert grades[-1] == 1
    assert all(16 * g == round(16 * g) for g in grades)
    assert t.judge(threshold + 1e-6) == (threshold + 1e-6, 0.0)


def test_transforms_lower_the_factor():
    scores = 0.6 + 0.01 * np.random.default_rng(1).standard_normal(200)
    given = [followed(scores, transformed=t).judge(0.5)[0] for t in (False, True)]
    assert given == [0.8, 0.8]
    higher = 0.85 + 0.05 * np.random.default_rng(1).standard_normal(200)
    plain, transformed = (followed(higher, transformed=t).judge(0.5)[0] for t in (False, True))
    assert transformed < plain


def test_automatic_lowest_threshold():
    scores = np.full(100, 0.45)
    t = Thresholder(0.0, 0.0, 3.0)
    for score in scores:
        t.update(score, 0.0)
    assert t.judge(0.3)[0] == pytest.approx(0.45 + 0.0)
    t = Thresholder(0.0, 0.0, 3.0, 0.7)
    for score in scores:
        t.update(score, 0.0)
    assert t.judge(0.3)[0] == 0.7


def test_plain_grades():
    t = followed(np.tile([1.0, 3.0], 50))  # mean 2, deviation 1
    assert t.plain(5.0) == (pytest.approx(5.0), 0.0)
    assert t.plain(6.5)[1] == pytest.approx(0.5)
    assert t.plain(99.0)[1] == 1.0
    assert followed([1.0] * 30).plain(2.0) == (1.0, 1.0)


# -- correction


class Expecting:
    """A forest that expects one value everywhere, and scores what is off it."""

    ready, learnt = True, 99

    def __init__(self, size, base=0.5, near=None):
        self.size, self.base, self.near = size, base, near
        self.points = 0

    def attribution(self, point):
        off = np.minimum(np.abs(point), 5) / 5  # what is farther does not score more
        return np.stack([off * (point > 0), off * (point <= 0)]) + self.base / (2 * self.size)

    distances = attribution

    def score(self, point):
        return float(self.attribution(point).sum())

    def impute(self, point, missing):
        return np.where(missing, np.float32(0), point)

    def neighbours(self, point):
        points = np.zeros((1, self.size), np.float32) if self.near is None else self.near
        return points, np.ones(len(points)), np.full(len(points), 50)

    def update(self, point):
        self.points += 1


class Stream:
    """Points of a series of one column, judged one after another."""

    def __init__(self, k=4, near=None, **given):
        self.p = settled(1, shingle_size=k, **given)
        self.k = k
        self.corrector = Corrector(self.p, Transform(self.p.transform_method, np.ones(1)), 1)
        self.forest = Expecting(k, near=near)
        self.last, self.step = np.zeros(k, np.float32), 100
        self.noise = np.full((2, 1), 0.1)
        for i in range(40):  # scores of what is usual
            self.corrector.depth.update(0.5 + 0.02 * (i % 3), 0.02)
            self.corrector.distance.update(0.5 + 0.02 * (i % 3), 0.5)

    def see(self, x):
        self.last = np.append(self.last[1:], np.float32(x))
        rows = np.append(self.last, 0).astype(np.float64)[:, None]
        a = Ahead(
            rows, rows.astype(np.float32), np.zeros(self.k + 1, np.bool_), 1, 0, self.step,
            self.step, self.last.copy(), Frame(np.ones(1), np.zeros(1)), self.noise, None,
        )  # fmt: skip
        v = self.corrector.judge(a, self.forest)
        if v.grade > 0:
            self.corrector.last.remember(v, a, np.zeros(1))
        self.step += 1
        self.corrector.check()
        return v


def test_an_anomaly_is_told_once():
    s = Stream()
    assert s.see(0.05).grade == 0
    v = s.see(4.0)
    assert v.grade > 0
    assert v.starts
    assert v.high
    assert v.index == 0
    assert v.expected.tolist() == [0, 0, np.float32(0.05), 0]
    assert v.attribution.sum() == pytest.approx(v.score)
    for _ in range(3):  # it is in the shingle yet
        v = s.see(0.05)
        assert v.score > v.threshold
        assert (v.grade, v.correction, v.expected) == (0, result.ANOMALY_IN_SHINGLE, None)
    assert s.see(0.05).threshold > s.see(0.05).score


def test_another_anomaly_is_news():
    s = Stream()
    assert s.see(4.0).grade > 0
    v = s.see(-5.0)
    assert v.grade > 0
    assert not v.starts  # it continues the run


def test_a_late_anomaly():
    """What is to blame may be a row before the last."""
    s = Stream()
    s.corrector.depth.lowest = 9.0
    assert s.see(4.0).grade == 0
    s.corrector.depth.lowest = 0.8
    v = s.see(0.05)
    assert v.grade > 0
    assert v.index == -1
    assert v.expected.tolist() == [0, 0, 0, np.float32(0.05)]


def test_noise_is_below_precision():
    s = Stream(k=2)
    s.forest.base = 2.0
    v = s.see(0.0005)
    assert (v.grade, v.correction, v.high) == (0, result.NOISE, False)


def test_what_was_expected_is_no_anomaly():
    s = Stream(ignore_near_expected_from_above=[4.5])
    v = s.see(4.0)
    assert (v.grade, v.correction, v.high) == (0, result.FORECAST, True)
    assert v.expected is None
    assert Stream(ignore_near_expected_from_above=[4.5]).see(-4.0).grade > 0
    assert Stream(ignore_near_expected_from_below=[4.5]).see(-4.0).grade == 0
    assert Stream(ignore_near_expected_from_above=[3.5]).see(4.0).grade > 0
    assert Stream(ignore_near_expected_from_above_by_ratio=[1.1]).see(4.0).grade == 0
    assert Stream(noise_factor=50.0).see(4.0).grade == 0


def test_what_the_sample_knows_is_no_anomaly():
    near = np.full((1, 4), 4.0, np.float32)
    v = Stream(auto_adjust=True, near=near).see(4.0)
    assert (v.grade, v.correction) == (0, result.CONDITIONAL_FORECAST)
    assert Stream(near=near).see(4.0).grade > 0
    assert Stream(auto_adjust=True).see(4.0).grade > 0


def test_two_modes():
    s = Stream(scoring_strategy="MULTI_MODE")
    s.forest.distances = lambda point: np.full((2, 4), 0.06)
    v = s.see(4.0)
    assert (v.grade, v.correction) == (0, result.MULTI_MODE)
    s = Stream(scoring_strategy="MULTI_MODE_RECALL")
    s.corrector.depth.lowest = 9.0
    assert s.see(4.0).grade > 0  # by distance alone
    assert Stream(scoring_strategy="DISTANCE").see(4.0).grade > 0


def test_a_run_is_told_once_if_asked():
    for once, told in ((False, True), (True, False)):
        s = Stream(k=2, alert_once_in_drift=once)
        grades = [s.see(x).grade > 0 for x in (4.0, -4.5, 4.0, -4.5)]
        assert grades[0]
        assert grades[1] == told
    assert result.ALERT_ONCE in result.CORRECTIONS


def test_drift_is_taken_for_normal():
    """A run of anomalies that are all alike."""
    s = Stream(k=1, auto_adjust=True)
    s.forest.impute = lambda point, missing: point * 0
    said = [s.see(4.0 + 0.01 * (i % 2)) for i in range(8)]
    modes = [v.correction for v in said]
    assert said[0].grade > 0
    assert result.DATA_DRIFT in modes
    assert modes.index(result.DATA_DRIFT) > 2


def test_without_the_last_anomaly():
    p = settled(2, shingle_size=3, transform_method="NORMALIZE", transform_decay=0.1)
    c = Corrector(p, Transform("NORMALIZE", np.ones(2)), 2)
    point = np.arange(6, dtype=np.float32)
    assert np.array_equal(c.without_last(point, 1, np.ones(2)), point)
    c.last.step, c.last.expects = 5, True
    c.last.point, c.last.expected = np.full(6, 9, np.float32), np.arange(10, 16, dtype=np.float32)
    assert c.without_last(point, 1, np.ones(2)).tolist() == [12, 13, 14, 15, 4, 5]
    assert c.without_last(point, 2, np.ones(2)).tolist() == [14, 15, 2, 3, 4, 5]
    assert c.without_last(point, 3, np.ones(2)).tolist() == [0, 1, 2, 3, 4, 5]
    c.last.shift[:] = [1, 0]  # the anomaly moved the mean
    got = c.without_last(point, 2, np.array([2.0, 1.0])) - [14, 15, 2, 3, 4, 5]
    np.testing.assert_allclose(got, np.array([0, 0, 1, 0, 1, 0]) * np.exp(-0.2) / 2, atol=1e-6)
    assert c.without_last(point, 6, np.ones(2)).tolist() == point.tolist()
    c = Corrector(p, Transform("DIFFERENCE", np.ones(2)), 2)
    c.last.step, c.last.expects = 5, True
    c.last.point = np.array([0, 0, 0, 0, 7, 8], np.float32)
    c.last.expected = np.zeros(6, np.float32)
    assert c.without_last(point, 1, np.ones(2)).tolist() == [0, 0, 0, 0, 4 + 7, 5 + 8]
    assert c.without_last(point, 3, np.ones(2)).tolist() == [7, 9, 2, 3, 4, 5]


# -- hyperparameters and results


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"forest_mode": "STREAMING_IMPUTE"}, "shingle_size"),
        ({"imputation_method": "FIXED_VALUES"}, "fill_values"),
        ({"weights": [2.0]}, "WEIGHTED"),
        ({"start_normalization": 20, "stop_normalization": 10}, "stop_normalization"),
        ({"start_normalization": 100, "output_after": 20}, "output_after"),
        ({"transform_method": "SQUARE"}, "must be one of"),
        ({"use_imputed_fraction": 0.0}, "> 0"),
        ({"sampling_support": 0.3}, "< 0.2"),
    ],
)
def test_hyperparameters_that_do_not_fit(given, said):
    with pytest.raises(UserError, match=said):
        settled(1, **given)


@pytest.mark.parametrize(
    "given",
    [
        {"weights": [1.0], "transform_method": "WEIGHTED"},
        {"weights": [1.0, -1.0], "transform_method": "WEIGHTED"},
        {"fill_values": [1.0]},
        {"fill_values": [1.0, float("nan")]},
        {"ignore_near_expected_from_above": [1.0, "x"]},
        {"ignore_near_expected_from_below_by_ratio": [-1.0, 1.0]},
    ],
)
def test_lists_have_an_entry_for_each_column(given):
    p = settled(2, **given)
    with pytest.raises(UserError, match="2 numbers"):
        p.check_columns(2)


def test_defaults():
    p = settled(3)
    assert (p.time_decay, p.output_after, p.start_normalization) == (0.1 / 256, 64, 10)
    assert settled(1, output_after=5).start_normalization == 5
    assert settled(1, start_normalization=200, shingle_size=8).output_after == 193
    assert settled(1).transform_decay == 1 / 256


def test_nothing_told():
    got = Telling().told()
    assert len(got) == 0
    assert got.indices.tolist() == got.labels.tolist() == got.alarms == []
