"""A series with anomalies, row by row."""

import contextlib
import csv
import gzip
import json
import os
from pathlib import Path

import numpy as np
import pytest

import smalgos
from smalgos import ThresholdedRandomCutForest, UserError
from smalgos.errors import NotReady

pytestmark = pytest.mark.compiled

SMALL = dict(num_trees=20, num_samples_per_tree=64, shingle_size=4, n_jobs=1)


def sine(n=700, seed=0, spikes=(400, 500, 600)):
    rng = np.random.default_rng(seed)
    x = 50 * np.sin(np.arange(n) * 2 * np.pi / 50) + rng.normal(0, 2, n)
    x[list(spikes)] += 80
    return x.astype(np.float32)[:, None]


def saved(estimator, path, **options):
    estimator.save(path, **options)
    return path.read_bytes()


VARIANTS = [
    {"transform_method": "NORMALIZE"},
    {"transform_method": "DIFFERENCE", "scoring_strategy": "MULTI_MODE_RECALL"},
    {"forest_mode": "TIME_AUGMENTED", "normalize_time": True, "auto_adjust": True},
    {"forest_mode": "STREAMING_IMPUTE", "transform_method": "NORMALIZE_DIFFERENCE"},
    {"scoring_strategy": "DISTANCE", "alert_once_in_drift": True, "stop_normalization": 100},
]


def rows_of(variant, n=260):
    """Rows and times, with gaps and missing values where they are filled."""
    rng = np.random.default_rng(5)
    X = np.hstack([sine(n, 1, (150, 200)), rng.normal(0, 1, (n, 1)).astype(np.float32)])
    times = 60 * np.arange(n) + rng.integers(0, 5, n)
    X[[90, 171, 172], 1] = np.nan
    if variant.get("forest_mode") == "STREAMING_IMPUTE":
        times[180:] += 200
        X[120] = np.nan
    return X, times


@pytest.mark.parametrize("variant", VARIANTS)
def test_same_bytes(variant, tmp_path):
    """Row by row as in blocks, for any number of threads, after saving and loading."""
    X, times = rows_of(variant)
    given = SMALL | variant
    whole = ThresholdedRandomCutForest(**given).fit(X, timestamps=times)
    want = saved(whole, tmp_path / "a")
    threads = ThresholdedRandomCutForest(**given | {"n_jobs": 2}).fit(X, timestamps=times)
    assert saved(threads, tmp_path / "b") == want
    rows = ThresholdedRandomCutForest(**given)
    told = [rows.process(x, int(t)) for x, t in zip(X, times, strict=True)]
    assert saved(rows, tmp_path / "c") == want
    assert [t.score for t in told] == whole.anomalies_.scores.tolist()
    assert [t.grade for t in told] == whole.anomalies_.grades.tolist()
    assert [t.grade for t in told if t.grade] == [t.grade for t in whole.anomalies_.alarms]
    part = ThresholdedRandomCutForest(**given)
    for a, b in ((0, 7), (7, 8), (8, 130), (130, 175), (175, 260)):
        part.partial_fit(X[a:b], timestamps=times[a:b])
        saved(part, tmp_path / "d", state=b % 2 == 0)
        part = smalgos.load(tmp_path / "d")
    assert saved(part, tmp_path / "d") == want


def test_what_is_told():
    X = sine()
    model = ThresholdedRandomCutForest(**SMALL, transform_method="NORMALIZE")
    told = model.detect(X)
    assert told.indices[told.indices > 100].tolist() == [400, 500, 600]
    assert np.array_equal(np.flatnonzero(told.labels == -1), told.indices)
    assert told.scores[: model.state_.p.output_after].tolist() == [0] * 16
    alarm = next(a for a in told.alarms if a.internal_timestamp == 500)
    assert alarm.grade == told.grades[500] == 1.0
    assert alarm.start_of_anomaly
    assert alarm.relative_index == 0
    assert alarm.past_values.tolist() == X[500].tolist()
    assert abs(alarm.expected_values[0] - (X[500, 0] - 80)) < 15
    assert alarm.attribution.shape == (2, 4)
    assert alarm.attribution.sum() == pytest.approx(alarm.score)
    assert alarm.attribution[0, 3] > 0.5 * alarm.score  # by being too high
    assert alarm.relevant_attribution == pytest.approx(alarm.attribution[:, 3].sum())
    np.testing.assert_allclose(alarm.scale * alarm.point[-1:] + alarm.shift, X[500], rtol=1e-4)
    assert 0 < alarm.confidence < told.confidences[-1] <= 1
    assert (told.grades[(told.correction_modes != "NONE")] == 0).all()
    assert (told.scores[told.grades > 0] > told.thresholds[told.grades > 0]).all()
    one = model.process(X[0])
    assert (one.timestamp, one.internal_timestamp, one.relevant_attribution) == (700, 700, None)


def test_predict_goes_on_with_a_copy(tmp_path):
    X = sine()
    model = ThresholdedRandomCutForest(**SMALL, transform_method="NORMALIZE").fit(X[:450])
    before = saved(model, tmp_path / "a")
    labels = model.predict(X[450:])
    assert saved(model, tmp_path / "a") == before
    assert labels.tolist() == model.detect(X[450:]).labels.tolist()
    assert labels[50] == labels[150] == -1
    again = ThresholdedRandomCutForest(**SMALL, transform_method="NORMALIZE")
    assert again.fit_predict(X).tolist()[450:] == labels.tolist()


def test_each_row_alone_as_a_request(tmp_path):
    """A served model judges each row as the next one, and stays as it is."""
    X = sine()
    model = ThresholdedRandomCutForest(**SMALL, transform_method="NORMALIZE").fit(X[:640])
    from smalgos.formats.block import Block

    asked = np.array([X[640], X[640] + 90, X[640]])
    said = model.model_.predict(Block.of(asked))
    assert said["grade"][1] == 1
    assert said["grade"][0] == said["grade"][2] == 0
    assert said["score"][0] == said["score"][2]
    assert model.process(X[640]).score == said["score"][0]


@pytest.mark.parametrize("method", ["NONE", "NORMALIZE", "DIFFERENCE", "NORMALIZE_DIFFERENCE"])
def test_forecast(method):
    """Of a line and of a wave; as the open library's test of its caster, which allows 0.3."""
    given = SMALL | {"num_trees": 40, "shingle_size": 6, "output_after": 32}
    if method != "NONE":
        line = np.arange(128, dtype=np.float32)[:, None]
        model = ThresholdedRandomCutForest(**given, transform_method=method).fit(line)
        said = model.forecast(2)
        np.testing.assert_allclose(
            said.values.ravel(), [128, 129], atol=0.5 if method == "NORMALIZE" else 0.3
        )
    X = sine(n=900, spikes=())
    model = ThresholdedRandomCutForest(**given | {"shingle_size": 12}, transform_method=method).fit(
        X[:890]
    )
    said = model.forecast(10)
    assert said.values.shape == said.lower.shape == said.upper.shape == (10, 1)
    assert (said.lower <= said.upper).all()
    assert said.timestamps.tolist() == pytest.approx(range(890, 900), abs=0.1)
    true = 50 * np.sin(np.arange(890, 900) * 2 * np.pi / 50)
    assert np.abs(said.values.ravel() - true).mean() < (12 if "DIFF" in method else 6)


def test_forecast_without_the_last_anomaly():
    """Behind an anomaly the series goes on as before it (the open library's smallGap)."""
    rng = np.random.default_rng(0)
    X = (0.6 + 0.2 * rng.uniform(-1, 1, (600, 1))).astype(np.float32)
    found = 0
    for gap in range(1, 7):
        model = ThresholdedRandomCutForest(**SMALL, transform_method="NORMALIZE", random_state=gap)
        model.fit(X[:500])
        assert model.process([11.2]).grade > 0
        model.partial_fit(X[500 : 500 + gap])
        assert model.forecast(1).values[0, 0] < 1
        found += model.process([10.0]).grade > 0
    assert found >= 5


def test_times():
    """The time between rows is a column, and may be the anomaly."""
    rng = np.random.default_rng(0)
    X = rng.normal(0, 1, (500, 1)).astype(np.float32)
    times = np.cumsum(rng.integers(95, 106, 500))
    times[400:] += 1500
    model = ThresholdedRandomCutForest(
        **SMALL, forest_mode="TIME_AUGMENTED", normalize_time=True, transform_method="NORMALIZE"
    ).fit(X, timestamps=times)
    alarm = next(a for a in model.anomalies_.alarms if a.timestamp == times[400])
    assert alarm.time_attribution > alarm.relevant_attribution.sum()
    assert abs(alarm.expected_timestamp - (times[399] + 100)) < 20
    assert alarm.expected_values.tolist() == X[400].tolist()
    said = model.forecast(3)
    np.testing.assert_allclose(np.diff(said.timestamps), 100, atol=10)
    assert (said.lower_timestamps <= said.timestamps).all()


@pytest.mark.parametrize("fill", ["ZERO", "FIXED_VALUES", "PREVIOUS", "NEXT", "LINEAR", "RCF"])
def test_rows_that_are_missing(fill):
    """As the open library's testImpute: a constant series, a gap of ten times the usual, a jump."""
    rng = np.random.default_rng(0)
    model = ThresholdedRandomCutForest(
        **SMALL, forest_mode="STREAMING_IMPUTE", imputation_method=fill, fill_values=[0.0],
        use_imputed_fraction=0.76,
    )  # fmt: skip
    n = 230
    model.fit(np.ones((n, 1)), timestamps=113 * np.arange(n) + rng.integers(0, 10, n))
    learnt = model.process([1.0], 113 * n).total_updates
    alarm = model.process([10.0], 113 * n + 1100)
    assert alarm.grade > 0
    assert alarm.number_of_new_imputes == 9
    assert alarm.imputed_points.shape == (10, 1)
    assert alarm.total_updates == learnt + 1
    if fill in ("PREVIOUS", "LINEAR", "RCF"):
        assert alarm.relative_index == 0 or fill == "LINEAR"
    if fill in ("PREVIOUS", "RCF"):
        assert alarm.expected_values.tolist() == [1.0]
    assert model.process([20.0], 113 * n + 1213).grade > 0
    with pytest.raises(UserError, match="later"):
        model.process([1.0], 113 * n + 1213)


def test_missing_values():
    rng = np.random.default_rng(0)
    a = rng.choice([-5.0, 5.0], 500)
    X = np.stack([a, a], 1).astype(np.float32) + rng.normal(0, 0.1, (500, 2)).astype(np.float32)
    model = ThresholdedRandomCutForest(num_trees=30, num_samples_per_tree=128, n_jobs=1).fit(X)
    told = model.process([5.0, np.nan])
    assert told.missing_values == (1,)
    assert np.isnan(told.current_input[1])
    assert abs(told.imputed_points[0, 1] - 5) < 1  # the other column tells which cluster
    same = model.process([5.0, 77.0], missing=[1])
    assert abs(same.imputed_points[0, 1] - 5) < 1
    assert model.process([5.0, 5.0]).confidence < same.confidence
    for values in ([np.nan, np.nan], X[0]):
        assert np.isfinite(model.process(values).score)
    fresh = ThresholdedRandomCutForest(n_jobs=1)
    told = fresh.detect(np.array([[np.nan, 1], [2, np.nan], [np.nan, np.nan]]))
    assert told.scores.tolist() == [0, 0, 0]


def test_a_level_shift():
    """A new level is told, and then becomes normal."""
    rng = np.random.default_rng(1)
    X = rng.normal(0, 1, (900, 1)).astype(np.float32)
    X[500:] += 25
    told = ThresholdedRandomCutForest(**SMALL, auto_adjust=True).detect(X)
    assert told.grades[500] > 0
    assert (told.grades[700:] > 0).sum() <= 2
    once = ThresholdedRandomCutForest(**SMALL, alert_once_in_drift=True).detect(X)
    assert once.grades[500] > 0
    assert (once.grades[501:600] > 0).sum() <= (told.grades[501:600] > 0).sum() + 2


def test_constant_series_with_one_jump():
    """As the open library's TransformTest: nothing before the jump, the jump, little behind it."""
    rng = np.random.default_rng(0)
    for method in ("NONE", "WEIGHTED", "SUBTRACT_MA", "NORMALIZE"):
        behind = 0
        for trial in range(3):
            d, k = int(rng.integers(1, 6)), int(rng.integers(2, 17))
            level = 50 - rng.integers(0, 100, d).astype(np.float32)
            jump = level + rng.choice([-1, 1], d) * (10 - rng.integers(0, 5, d))
            X = np.tile(level, (300, 1))
            X[180] = jump
            told = ThresholdedRandomCutForest(
                num_trees=30, shingle_size=k, output_after=40, transform_method=method,
                alert_once_in_drift=True, random_state=trial, n_jobs=1,
            ).detect(X)  # fmt: skip
            assert (told.grades[:180] == 0).all()
            assert told.grades[180] > 0
            behind += int((told.grades[181:] > 0).sum())
        assert behind < 3


# -- bad input


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda m, X: m.process([1.0, 2.0]), "2 values"),
        (lambda m, X: m.process([np.inf]), "infinite"),
        (lambda m, X: m.process([1.0], 2.5), "integers"),
        (lambda m, X: m.process([1.0], missing=[1]), "missing"),
        (lambda m, X: m.partial_fit(X, timestamps=[1, 2]), "timestamps"),
        (lambda m, X: m.partial_fit(np.where(np.arange(len(X)) == 3, np.inf, X.T).T), "row 3"),
        (lambda m, X: m.partial_fit(X, timestamps=np.full(len(X), 2**60)), "larger unit"),
        (lambda m, X: m.forecast(0), "horizon"),
        (lambda m, X: m.forecast(1, centrality=2), "centrality"),
        (lambda m, X: m.partial_fit(np.ones((3, 2))), "features"),
    ],
)
def test_what_does_not_fit(call, said, tmp_path):
    X = sine(100, spikes=())
    model = ThresholdedRandomCutForest(**SMALL).fit(X)
    before = saved(model, tmp_path / "a")
    with pytest.raises(ValueError, match=said):
        call(model, X)
    assert saved(model, tmp_path / "a") == before


def test_too_early():
    model = ThresholdedRandomCutForest(**SMALL).fit(sine(12, spikes=()))
    with pytest.raises(NotReady):
        model.forecast(1)
    with pytest.raises(UserError, match="shingle_size"):
        ThresholdedRandomCutForest(num_trees=5).fit(sine(100, spikes=())).forecast(1)
    with pytest.raises(ValueError, match="fitted"):
        ThresholdedRandomCutForest().forecast(1)
    with pytest.raises(UserError, match="numbers"):
        ThresholdedRandomCutForest(fill_values=[1.0, 2.0]).fit(sine(20, spikes=()))
    assert ThresholdedRandomCutForest(num_trees=2).fit([[1.0]]).anomalies_.grades.tolist() == [0]


# What reading a file turns into a `UserError` (`Model.from_parts`).
WRONG = (UserError, AttributeError, IndexError, KeyError, OverflowError, TypeError)


def test_files_that_were_changed():
    """Whatever a file holds: an error that says so, or a detector that works."""
    X = sine(120, spikes=())
    model = ThresholdedRandomCutForest(**SMALL, transform_method="NORMALIZE").fit(X).model_
    refused = 0
    for name, value in list(model.detector.items()):
        others = ["x", None, -(2**40), np.zeros(3), np.float64("nan")]
        if isinstance(value, np.ndarray):
            others += [value[:-1], value.astype(np.int8), np.full_like(value, 99)]
            if value.dtype.kind == "f":
                others += [value * np.nan, -value - 1]
        for other in others:
            model.detector = {**model.detector, name: other}
            try:
                state = model.resumed()
            except WRONG:
                refused += 1
                continue
            with contextlib.suppress(UserError):
                state.detector.process(X[0].astype(np.float64), 10**6)
        model.detector = {**model.detector, name: value}
    assert refused > 5 * len(model.detector)
    model.notes["hyperparameters"] |= {"start_normalization": 1 << 20, "output_after": 1 << 20}
    with pytest.raises(UserError, match="first_rows"):
        model.resumed()


# -- quality


def taxi():
    folder = Path(os.environ["SMALGOS_DATA"]) / "nab"
    name = "realKnownCause/nyc_taxi.csv"
    with gzip.open(folder / f"{name}.gz", "rt") as file:
        rows = list(csv.DictReader(file))
    windows = json.loads((folder / "windows.json").read_text())
    windows = next(w for key, w in windows.items() if key.endswith("nyc_taxi.csv"))
    times = [row["timestamp"] for row in rows]
    values = np.array([float(row["value"]) for row in rows], np.float32)
    return values[:, None], [[times.index(t.split(".")[0]) for t in pair] for pair in windows]


@pytest.mark.slow
@pytest.mark.skipif("SMALGOS_DATA" not in os.environ, reason="SMALGOS_DATA is not set")
def test_taxi():
    """Each of the five labelled windows holds an alarm, few of 10 320 rows beside them do."""
    X, windows = taxi()
    told = ThresholdedRandomCutForest(shingle_size=48, transform_method="NORMALIZE").detect(X)
    hits = [any(a <= i <= b for i in told.indices) for a, b in windows]
    outside = [i for i in told.indices if not any(a <= i <= b for a, b in windows)]
    assert all(hits)
    assert len(outside) <= 40
