"""Figures of principal components: what is drawn, and what is said when it cannot be."""

import numpy as np
import pytest
from sklearn.datasets import load_digits

import smalgos
from smalgos.errors import UserError
from smalgos.plot import (
    ComponentsDisplay,
    ExplainedVarianceDisplay,
    plot_components,
    plot_explained_variance,
)

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402


@pytest.fixture(scope="module")
def pca():
    X, _ = load_digits(return_X_y=True)
    return smalgos.PCA(num_components=7).fit(X)


@pytest.fixture(autouse=True)
def _no_figure_is_left():
    yield
    plt.close("all")


def test_scree(pca):
    shown = ExplainedVarianceDisplay.from_estimator(pca)
    ratio = pca.explained_variance_ratio_
    assert [bar.get_height() for bar in shown.bars_] == ratio.tolist()
    np.testing.assert_allclose(shown.line_.get_ydata(), np.cumsum(ratio))
    assert shown.line_.get_xdata().tolist() == list(range(1, 8))
    assert shown.ax_.get_ylim()[1] > 1
    legend = [text.get_text() for text in shown.ax_.get_legend().get_texts()]
    assert f"all up to it: {ratio.sum():.1%} in the end" in legend
    shown.figure_.canvas.draw()


def test_scree_where_it_is_told(pca):
    _, ax = plt.subplots()
    assert plot_explained_variance(pca, ax, color="black") is ax
    assert ax.patches[0].get_facecolor() == (0, 0, 0, 1)
    for wrong in ([], [[0.5]]):
        with pytest.raises(UserError, match="a share for each component"):
            ExplainedVarianceDisplay(wrong)


def test_components_are_images(pca):
    shown = ComponentsDisplay.from_estimator(pca)
    assert len(shown.axes_) == len(shown.images_) == 7
    for i, image in enumerate(shown.images_):
        np.testing.assert_allclose(image.get_array(), pca.components_[i].reshape(8, 8))
        low, high = image.get_clim()
        assert -low == high == np.abs(pca.components_[i]).max()
    share = pca.explained_variance_ratio_[0]
    assert shown.axes_[0].get_title() == f"1: {share:.1%}"
    assert len(shown.figure_.axes) == 9  # in three rows of three
    shown.figure_.canvas.draw()


def test_images_of_any_shape(pca):
    assert len(plot_components(pca, (4, 16), max_components=2, cmap="gray")) == 2
    shown = ComponentsDisplay(np.ones((1, 12)), (2, 2, 3)).plot()
    np.testing.assert_array_equal(shown.images_[0].get_array(), np.full((2, 2), 3))
    assert shown.axes_[0].get_title() == "1"
    ComponentsDisplay(np.zeros((1, 4)), (2, 2)).plot().figure_.canvas.draw()
    for shape in ((8, 9), (64,)):
        with pytest.raises(UserError, match="of images of 64 features"):
            plot_components(pca, shape)
    with pytest.raises(UserError, match="max_components=0: give a number from 1 on"):
        plot_components(pca, max_components=0)


@pytest.mark.parametrize("draw", [plot_components, plot_explained_variance])
def test_only_a_fitted_pca_can_be_drawn(draw):
    with pytest.raises(UserError, match="BoostedTreesRegressor is not smalgos' PCA"):
        draw(smalgos.BoostedTreesRegressor())
    with pytest.raises(ValueError, match="not fitted"):
        draw(smalgos.PCA())
