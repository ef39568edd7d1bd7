"""Figures of boosted trees: what is drawn, and what is said when it cannot be."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

import smalgos
from smalgos.errors import NotReady, UserError
from smalgos.plot import (
    ImportanceDisplay,
    LearningCurveDisplay,
    plot_importance,
    plot_learning_curve,
    plot_tree,
)

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402

NAMES = ["width", 'a "quoted" name', "unused", "height"]


@pytest.fixture(scope="module")
def trees():
    """Two features that matter, one that matters less, one that cannot be split by."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 4)).astype(np.float32)
    X[:, 2] = 1
    y = np.sin(3 * X[:, 0]) + X[:, 1] + 0.1 * X[:, 3] + 0.3 * rng.normal(size=400)
    X = pd.DataFrame(X, columns=NAMES)
    estimator = smalgos.BoostedTreesRegressor(
        num_round=60, eta=0.5, early_stopping_rounds=5, eval_metric=["rmse", "mae"]
    )
    return estimator.fit(X[:300], y[:300], X_val=X[300:], y_val=y[300:])


@pytest.fixture(autouse=True)
def _no_figure_is_left():
    yield
    plt.close("all")


def texts(axes):
    return [text.get_text() for text in axes.get_yticklabels()]


def test_bars_are_the_importances_from_the_greatest_on(trees):
    for kind, unit in (("gain", "mean gain"), ("weight", "number of splits")):
        shown = ImportanceDisplay.from_estimator(trees, kind=kind)
        values = trees.importance(kind)
        order = np.argsort(-values)[:3]  # no bar for what no tree splits by
        assert texts(shown.ax_) == [NAMES[i] for i in order]
        assert [bar.get_width() for bar in shown.bars_] == values[order].tolist()
        assert unit in shown.ax_.get_xlabel()
        assert shown.ax_.get_title() == "3 of 4 features"
        top, bottom = shown.bars_[0], shown.bars_[-1]
        at = shown.ax_.transData.transform
        assert at((0, top.get_y()))[1] > at((0, bottom.get_y()))[1]
        shown.figure_.canvas.draw()


def test_only_so_many_bars(trees):
    shown = ImportanceDisplay.from_estimator(trees, max_features=2)
    assert len(shown.bars_) == 2
    assert len(ImportanceDisplay.from_estimator(trees, max_features=None).bars_) == 3
    with pytest.raises(UserError, match="max_features=0: give a number from 1 on"):
        ImportanceDisplay.from_estimator(trees, max_features=0)
    with pytest.raises(UserError, match=r"shape \(2,\) for 1 names"):
        ImportanceDisplay([1, 2], ["a"])


@pytest.mark.parametrize("draw", [plot_importance, plot_learning_curve])
def test_functions_draw_where_they_are_told(trees, draw):
    _, ax = plt.subplots()
    assert draw(trees, ax=ax) is ax
    assert ax.patches or ax.lines
    assert draw(trees) is not ax


def test_looks_may_be_chosen(trees):
    (bar, *_) = ImportanceDisplay.from_estimator(trees, color="black").bars_
    assert bar.get_facecolor() == (0, 0, 0, 1)
    shown = LearningCurveDisplay.from_estimator(trees, color="black", label="mine")
    line = shown.lines_["validation"]
    assert (line.get_color(), line.get_label()) == ("black", "mine")


def test_numbers_of_bars_are_short():
    shown = ImportanceDisplay([123456.7, 12.34567, 0.000123456, 1.5e9], list("abcd")).plot()
    assert [t.get_text() for t in shown.ax_.texts] == ["1.5e+09", "123457", "12.3", "0.000123"]
    shown.figure_.canvas.draw()
    inside = shown.figure_.bbox
    for text in shown.ax_.texts:  # none is cut off
        assert inside.x1 >= text.get_window_extent().x1


def test_a_model_of_a_leaf_has_no_bars():
    shown = ImportanceDisplay(np.zeros(3), list("abc")).plot()
    assert len(shown.bars_) == 0
    assert shown.ax_.get_title() == "0 of 3 features"
    shown.figure_.canvas.draw()


def test_learning_curves(trees):
    shown = LearningCurveDisplay.from_estimator(trees)
    values = trees.evals_result_["validation"]["mae"]  # the last one that was asked for
    (line,) = shown.lines_.values()
    assert line.get_xdata().tolist() == list(range(len(values)))
    assert line.get_ydata().tolist() == values
    assert shown.ax_.get_ylabel() == "mae"
    assert len(values) > trees.best_iteration_ + 1
    assert shown.best_.get_xdata()[0] == trees.best_iteration_
    assert shown.best_.get_ydata()[0] == min(values)
    legend = [text.get_text() for text in shown.ax_.get_legend().get_texts()]
    assert legend == ["validation", f"best iteration {trees.best_iteration_}: {min(values):.5g}"]
    other = LearningCurveDisplay.from_estimator(trees, metric="rmse")
    assert other.ax_.get_ylabel() == "rmse"
    shown.figure_.canvas.draw()


def test_curves_of_any_splits():
    curves = {"train": [3.0, 2.0], "validation": [3.5, 3.0], "other": [4.0, 3.5]}
    shown = LearningCurveDisplay(curves, "rmse").plot()
    assert shown.best_ is None
    looks = {(line.get_color(), line.get_linestyle()) for line in shown.lines_.values()}
    assert len(looks) == 3
    one = LearningCurveDisplay({"validation": [1.0]}, "rmse", 0).plot()
    assert one.lines_["validation"].get_marker() == "o"
    one.figure_.canvas.draw()


def test_what_was_not_measured_cannot_be_drawn(trees):
    with pytest.raises(UserError, match="metric 'auc': it was fitted with mae, rmse"):
        LearningCurveDisplay.from_estimator(trees, metric="auc")
    alone = smalgos.BoostedTreesRegressor(num_round=2).fit(np.eye(4), np.arange(4))
    with pytest.raises(UserError, match="fit with X_val and y_val"):
        plot_learning_curve(alone)


def test_a_tree_as_text_and_as_a_graph(trees):
    drawn = plot_tree(trees, 1)
    assert str(drawn) == drawn.text
    first = drawn.text.splitlines()[0]
    assert first.startswith("0:[")
    assert any(f"[{name}<" in first for name in NAMES)
    assert "gain=" in first
    assert "gain=" not in plot_tree(trees, 1, stats=False).text
    leaves = drawn.text.count("leaf=")
    assert drawn.source.count("leaf=") == leaves
    assert drawn.source.count(" -> ") == 2 * (leaves - 1)
    assert 'a \\"quoted\\" name<' in drawn.source
    assert drawn.source.startswith("digraph {")
    assert drawn.source.endswith("}")
    n = len(trees.model_.trees)
    for wrong in (-1, n):
        with pytest.raises(UserError, match=f"tree={wrong}: the model has {n}, counted from 0"):
            plot_tree(trees, wrong)


@pytest.mark.parametrize("draw", [plot_importance, plot_learning_curve, plot_tree])
def test_only_fitted_boosted_trees_can_be_drawn(draw):
    with pytest.raises(UserError, match=r"PCA .*none of smalgos' boosted"):
        draw(smalgos.PCA(num_components=1))
    with pytest.raises((NotReady, ValueError), match="not fitted"):
        draw(smalgos.BoostedTreesRegressor())


def test_features_without_names_are_numbered():
    estimator = smalgos.BoostedTreesRegressor(num_round=1, min_child_weight=0)
    estimator.fit(np.arange(8.0).reshape(4, 2), np.arange(4.0))
    assert texts(plot_importance(estimator)) == ["f0"]
    assert plot_tree(estimator).text.startswith("0:[f0<")


def test_without_matplotlib_it_says_what_to_install():
    code = (
        "import sys; sys.modules['matplotlib'] = None\n"
        "from smalgos.plot import ImportanceDisplay\n"
        "ImportanceDisplay([1.0], ['a']).plot()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "UserError: " in done.stderr
    assert "run pip install 'smalgos[plot]'" in done.stderr
