"""Figures of clusters: what is drawn, and what is said when it cannot be."""

import numpy as np
import pytest

import smalgos
from smalgos.errors import UserError
from smalgos.plot import ElbowDisplay, InertiaCurveDisplay, plot_elbow, plot_inertia_curve

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    return (np.eye(4)[rng.integers(0, 4, 2000)] * 12 + rng.normal(size=(2000, 4))).astype("f4")


@pytest.fixture(scope="module")
def fitted(rows):
    return smalgos.KMeans(k=4, mini_batch_size=50).fit(rows)


@pytest.fixture(autouse=True)
def _no_figure_is_left():
    yield
    plt.close("all")


def test_the_elbow_of_four_clusters(rows, fitted):
    exact = ElbowDisplay.from_estimator(smalgos.KMeans(k=4, solver="lloyd"), rows)
    shown = ElbowDisplay.from_estimator(fitted)
    for display in (shown, exact):
        assert display.elbow == 4
        assert display.k.tolist() == list(range(1, 9))
        assert display.line_.get_ydata().tolist() == display.msd.tolist()
        assert display.ax_.get_legend_handles_labels()[1][0].startswith("k = 4: ")
        display.figure_.canvas.draw()
    np.testing.assert_allclose(shown.msd, exact.msd, rtol=0.2)
    assert ElbowDisplay.from_estimator(fitted, k=[2, 40]).elbow is None


def test_the_loss_on_the_way(rows, fitted):
    shown = InertiaCurveDisplay.from_estimator(fitted, color="black")
    assert shown.line_.get_xdata().tolist() == [10, 20, 30, 40]
    assert shown.line_.get_color() == "black"
    assert shown.ax_.get_xlabel() == "mini-batch"
    exact = smalgos.KMeans(k=4, solver="lloyd", local_lloyd_tol=0.0).fit(rows)
    shown = InertiaCurveDisplay.from_estimator(exact)
    values = shown.line_.get_ydata()
    assert len(values) == exact.n_iter_ + 1
    assert (np.diff(values) <= 1e-5 * values[0]).all()
    assert values[-1] == pytest.approx(exact.inertia_ / len(rows), rel=1e-5)


@pytest.mark.parametrize("draw", [plot_elbow, plot_inertia_curve])
def test_functions_draw_where_they_are_told(fitted, draw):
    _, ax = plt.subplots()
    assert draw(fitted, ax=ax) is ax
    assert ax.lines


def test_what_cannot_be_drawn(rows, fitted, tmp_path):
    for display in (ElbowDisplay, InertiaCurveDisplay):
        with pytest.raises(UserError, match="PCA is not smalgos' KMeans"):
            display.from_estimator(smalgos.PCA())
        with pytest.raises(ValueError, match="not fitted"):
            display.from_estimator(smalgos.KMeans())
    with pytest.raises(UserError, match="not at hand"):
        ElbowDisplay.from_estimator(smalgos.KMeans(k=4, solver="lloyd").fit(rows))
    with pytest.raises(UserError, match="which must ascend"):
        ElbowDisplay([2, 1], [1.0, 2.0])
    with pytest.raises(UserError, match="a curve of shape"):
        InertiaCurveDisplay([1, 2])
