"""Timelines of scores: what is drawn, and what is said when it cannot be."""

import numpy as np
import pytest

import smalgos
from smalgos.errors import UserError
from smalgos.plot import AnomalyTimelineDisplay, plot_anomalies

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402


@pytest.fixture(scope="module")
def series():
    x = np.sin(np.arange(600) / 6) + 0.1 * np.random.default_rng(0).standard_normal(600)
    x[300:303] = 4
    return x.astype(np.float32)[:, None]


@pytest.fixture(scope="module")
def fitted(series):
    return smalgos.RandomCutForest(num_trees=50, num_samples_per_tree=64).fit(series)


@pytest.fixture(autouse=True)
def _no_figure_is_left():
    yield
    plt.close("all")


def test_a_forest_and_its_series(fitted, series):
    shown = AnomalyTimelineDisplay.from_estimator(fitted, series, windows=[(295, 305)], color="k")
    assert np.array_equal(shown.line_.get_ydata(), fitted.anomaly_score(series))
    assert shown.line_.get_color() == "k"
    assert set(shown.anomalies_.get_xdata()) >= {300, 301, 302}
    assert np.array_equal(shown.anomalies, np.flatnonzero(fitted.predict(series) < 0))
    assert (shown.threshold_.get_ydata() == -fitted.offset_).all()
    above, below = shown.figure_.axes
    assert (above, below) == (shown.series_ax_, shown.ax_)
    assert np.array_equal(above.lines[0].get_ydata(), series[:, 0])
    for panel in (above, below):
        assert len(panel.patches) == 1
    said = below.get_legend_handles_labels()[1]
    assert said == ["threshold", f"anomalies: {len(shown.anomalies)}", "labelled"]
    shown.figure_.canvas.draw()


def test_scores_of_any_origin(series):
    times = np.datetime64("2014-07-01") + np.arange(600) * np.timedelta64(30, "m")
    scores = np.abs(series[:, 0])
    shown = AnomalyTimelineDisplay(
        scores, times=times, threshold=np.linspace(1, 2, 600), anomalies=scores > 3,
        windows=[("2014-07-07 03:00:00", "2014-07-07 09:00:00")],
    ).plot()  # fmt: skip
    assert shown.series_ax_ is None
    assert shown.anomalies.tolist() == [300, 301, 302]
    assert shown.ax_.get_xlabel() == "time"
    assert len(shown.figure_.axes) == 1
    shown.figure_.canvas.draw()
    plain = AnomalyTimelineDisplay([0.5, 0.7, 3.0], anomalies=[2, 2])
    assert plain.plot().threshold_ is None
    assert plain.anomalies.tolist() == [2]
    assert AnomalyTimelineDisplay([0.5, 0.7]).plot().anomalies_ is None
    wide = AnomalyTimelineDisplay(scores, series=np.hstack([series, series])).plot()
    assert len(wide.series_ax_.lines) == 2


def test_drawn_where_it_is_told(fitted, series):
    _, ax = plt.subplots()
    assert plot_anomalies(fitted, series, ax=ax) is ax
    _, pair = plt.subplots(2)
    assert plot_anomalies(fitted, series, ax=pair) is pair[1]
    assert pair[0].lines


def test_what_cannot_be_drawn(series):
    with pytest.raises(UserError, match="PCA has no anomaly_score"):
        plot_anomalies(smalgos.PCA(), series)
    with pytest.raises(ValueError, match="not fitted"):
        plot_anomalies(smalgos.RandomCutForest(), series)
    for given, match in (
        ({"series": series[1:]}, "series has shape"), ({"times": [1]}, "times has shape"),
        ({"threshold": [1.0, 2.0]}, "threshold has shape"), ({"anomalies": [600]}, "neither 600"),
        ({"anomalies": [0.5]}, "neither 600"), ({"series": np.zeros((600, 1, 1))}, "give \\(n,\\)"),
    ):  # fmt: skip
        with pytest.raises(UserError, match=match):
            AnomalyTimelineDisplay(series[:, 0], **given)
    with pytest.raises(UserError, match="scores of shape"):
        AnomalyTimelineDisplay(series)
    with pytest.raises(UserError, match="3 axes"):
        AnomalyTimelineDisplay(series[:, 0]).plot([None, None, None])
