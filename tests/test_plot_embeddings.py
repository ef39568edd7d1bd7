"""Figures of factorization machines, log-ins and texts: what is drawn, and what is said instead."""

import numpy as np
import pandas as pd
import pytest

import smalgos
from smalgos.errors import NotReady, UserError
from smalgos.plot import (
    InteractionsDisplay,
    LabelScoresDisplay,
    LearningCurveDisplay,
    OffsetDisplay,
    VectorMapDisplay,
    plot_interactions,
    plot_label_scores,
    plot_learning_curve,
    plot_offset,
    plot_vectors,
)

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402

RNG = np.random.default_rng(0)
X = RNG.integers(0, 2, size=(400, 4)).astype(np.float32)
Y = 3 * X[:, 0] * X[:, 1] - 2 * X[:, 2] * X[:, 3] + 0.1 * RNG.normal(size=400)
PAIRS = [(f"user {i % 20}", f"10.{i % 20}.0.{i % 7}") for i in range(400)]
TEXTS = [["good", "fine"] if i % 3 else ["bad", "poor"] for i in range(60)]
LABELS = ["+" if i % 3 else "-" for i in range(60)]


@pytest.fixture(scope="module")
def machine():
    given = {"num_factors": 4, "epochs": 6, "mini_batch_size": 50, "random_state": 0}
    frame = pd.DataFrame(X, columns=["width", "a height", "depth", "age"])
    model = smalgos.FactorizationMachineRegressor(**given)
    return model.fit(frame[:300], Y[:300], X_val=frame[300:], y_val=Y[300:])


@pytest.fixture(scope="module")
def insights():
    given = {"num_entity_vectors": 100, "vector_dim": 8, "epochs": 3, "random_state": 0}
    return smalgos.IPInsights(learning_rate=0.05, **given).fit(PAIRS, X_val=PAIRS[:100])


@pytest.fixture(scope="module")
def classifier():
    given = {"vector_dim": 4, "min_count": 1, "epochs": 9, "random_state": 0}
    return smalgos.TextClassifier(early_stopping=True, min_epochs=2, **given).fit(
        TEXTS, LABELS, X_val=TEXTS, y_val=LABELS
    )


@pytest.fixture(scope="module")
def words():
    sentences = [[f"w{i % 7}", f"w{(i + 1) % 7}", f"word {i % 5}".replace(" ", "")] * 3
                 for i in range(60)]  # fmt: skip
    return smalgos.Word2Vec(vector_dim=8, min_count=1, epochs=2, random_state=0).fit(sentences)


@pytest.fixture(autouse=True)
def _no_figure_is_left():
    yield
    plt.close("all")


def test_learning_curves_by_epoch(machine):
    shown = LearningCurveDisplay.from_estimator(machine)
    np.testing.assert_array_equal(shown.lines_["train"].get_ydata(), machine.loss_curve_)
    np.testing.assert_array_equal(shown.lines_["validation"].get_ydata(), machine.validation_curve_)
    assert (shown.ax_.get_xlabel(), shown.ax_.get_ylabel()) == ("epoch", "squared error")
    assert shown.best_.get_xdata()[0] == machine.best_epoch_
    assert shown.best_.get_label().startswith(f"best epoch {machine.best_epoch_}: ")
    shown.figure_.canvas.draw()


def test_losses_and_what_validation_rows_are_judged_by(insights, classifier):
    for model, judged, values in (
        (insights, "ROC AUC", insights.auc_curve_),
        (classifier, "accuracy", classifier.accuracy_curve_),
    ):
        shown = LearningCurveDisplay.from_estimator(model)
        assert (list(shown.lines_), shown.metric) == (["validation"], judged)
        np.testing.assert_array_equal(shown.curves["validation"], np.array(values, float))
        loss = LearningCurveDisplay.from_estimator(model, metric="cross-entropy")
        np.testing.assert_array_equal(loss.lines_["train"].get_ydata(), model.loss_curve_)
        with pytest.raises(UserError, match=r"metric 'rmse': it was fitted with .*cross-ent"):
            LearningCurveDisplay.from_estimator(model, metric="rmse")
    assert classifier.accuracy_curve_[0] is None
    assert LearningCurveDisplay.from_estimator(classifier).best_ is not None
    assert LearningCurveDisplay.from_estimator(insights).best_ is None


@pytest.mark.parametrize("normalize", [True, False])
def test_linear_learners_losses_are_in_units_of_their_own(normalize):
    model = smalgos.LinearLearnerRegressor(epochs=2, normalize_label=normalize)
    model.fit(X[:300], Y[:300], X_val=X[300:], y_val=Y[300:])
    shown = LearningCurveDisplay.from_estimator(model)
    assert ("train" in shown.lines_) != normalize
    np.testing.assert_array_equal(shown.lines_["validation"].get_ydata(), model.validation_curve_)
    alone = smalgos.LinearLearnerClassifier(epochs=2).fit(X, Y > 0)
    shown = LearningCurveDisplay.from_estimator(alone)
    assert (list(shown.lines_), shown.metric, shown.best_) == (["train"], "cross-entropy", None)


def test_interactions(machine):
    shown = InteractionsDisplay.from_estimator(machine, n=3)
    found = machine.top_interactions_(3)
    assert {found[0][0], found[0][1]} in ({"width", "a height"}, {"depth", "age"})
    assert [bar.get_width() for bar in shown.bars_] == [s for _, _, s in found]
    names = [text.get_text() for text in shown.ax_.get_yticklabels()]
    assert names == [f"{a} × {b}" for a, b, _ in found]  # noqa: RUF001
    assert shown.ax_.get_xlabel() == "added to the prediction"
    shown.figure_.canvas.draw()


@pytest.mark.parametrize(
    ("fields", "names"),
    [(None, {"f0", "f1", "f2", "f3"}), ([0, 1, 1, 1], {"f0", "f1", "f2", "f3"}),
     ([2, 2], {"field 0: 0", "field 0: 1", "field 1: 0", "field 1: 1"})],
)  # fmt: skip
def test_features_without_names(fields, names):
    model = smalgos.FactorizationMachineClassifier(num_factors=2, epochs=1, fields=fields)
    shown = InteractionsDisplay.from_estimator(model.fit(X, Y > 0))
    assert {name for a, b, _ in shown.interactions for name in (a, b)} <= names
    assert shown.ax_.get_xlabel() == "added to the log-odds"


def test_offsets(insights):
    unusual = [(user, f"99.1.{i}.3") for i, (user, _) in enumerate(PAIRS[:100])]
    labels = np.repeat([1, -1], [400, 100])
    shown = OffsetDisplay.from_estimator(insights, PAIRS + unusual, labels)
    called = insights.predict(PAIRS + unusual) < 0
    assert shown.found == called[400:].mean()
    assert shown.false_alarms == called[:400].mean()
    usual, other = insights.score_samples(PAIRS), insights.score_samples(unusual)
    differ = usual[:, None] - other
    assert shown.auc == pytest.approx((differ > 0).mean() + (differ == 0).mean() / 2)
    left, _ = shown.axes_
    assert sum(p.get_height() for c in left.containers for p in c) == pytest.approx(2)
    shown.figure_.canvas.draw()
    alone = OffsetDisplay.from_estimator(insights, iter(PAIRS))
    assert (len(alone.unusual), alone.unusual_name) == (400, "random addresses")
    assert alone.auc > 0.9
    again = OffsetDisplay.from_estimator(insights, PAIRS)
    np.testing.assert_array_equal(alone.unusual, again.unusual)
    assert len(plot_offset(insights, PAIRS, alpha=0.3)) == 2


def test_offsets_of_nothing(insights):
    with pytest.raises(UserError, match="y must hold 1 for usual"):
        OffsetDisplay.from_estimator(insights, PAIRS, np.ones(400))
    with pytest.raises(UserError, match="one of both has none"):
        OffsetDisplay([1.0], [], 0)
    OffsetDisplay([1.0], [1.0], 0).plot().figure_.canvas.draw()


def test_labels(classifier):
    several = [[label, "other"] if i < 5 else label for i, label in enumerate(LABELS)]
    shown = LabelScoresDisplay.from_estimator(classifier, TEXTS, several)
    assert shown.names == ["+", "-", "other"]
    assert shown.given.tolist() == [40, 20, 5]
    assert shown.told.tolist() == [40, 20, 0]
    assert shown.precision.tolist() == shown.recall.tolist() == [1, 1, 0]
    assert [t.get_text() for t in shown.ax_.get_yticklabels()] == ["other (5)", "+ (40)", "- (20)"]
    shown.figure_.canvas.draw()
    few = LabelScoresDisplay.from_estimator(classifier, TEXTS, several, max_labels=1)
    assert len(few.bars_["recall"]) == 1
    assert few.ax_.get_ylabel() == "the 1 worst of 3 labels (rows)"


def test_labels_of_any_classifier():
    model = smalgos.LinearLearnerClassifier(epochs=1).fit(X, Y > 0)
    shown = LabelScoresDisplay.from_estimator(model, X, Y > 0)
    assert shown.names == ["False", "True"]
    told = model.predict(X)
    assert shown.recall[1] == told[Y > 0].mean()
    assert shown.precision[1] == (Y > 0)[told].mean()


def test_wrong_labels(classifier):
    with pytest.raises(UserError, match="60 rows, but 1 labels"):
        plot_label_scores(classifier, TEXTS, ["+"])
    with pytest.raises(UserError, match="max_labels=0"):
        plot_label_scores(classifier, TEXTS, LABELS, max_labels=0)
    with pytest.raises(UserError, match="counts for each of 1 labels"):
        LabelScoresDisplay(["a"], [1, 2], [1], [1])


def test_maps_of_words(words):
    shown = VectorMapDisplay.from_estimator(words, ["w1", "w4"], topn=4)
    assert shown.names[:2] == ["w1", "w4"]
    near = {word for asked in ("w1", "w4") for word, _ in words.most_similar(asked, topn=4)}
    assert set(shown.names) == near | {"w1", "w4"}
    assert {"w1", "w4"} <= shown.labels_.keys()
    assert shown.ax_.get_title() == "words near w1, w4"
    assert len(VectorMapDisplay.from_estimator(words, "w1", topn=4).names) == 5
    with pytest.raises(KeyError, match="'nothing' is unknown"):
        plot_vectors(words, "nothing")
    with pytest.raises(UserError, match=r"with 1 names: a map needs two vectors"):
        plot_vectors(words, "w1", topn=0)


def test_maps_keep_distances_as_far_as_they_can(insights):
    users = [f"user {i}" for i in range(20)]
    shown = VectorMapDisplay.from_estimator(insights, users)
    vectors = insights.entity_vectors(users).astype(float)
    centred = vectors - vectors.mean(axis=0)
    values = np.linalg.eigvalsh(centred.T @ centred)[::-1]
    np.testing.assert_allclose((shown.positions**2).sum(axis=0), values[:2], rtol=1e-4)
    np.testing.assert_allclose(shown.shares, values[:2] / values.sum(), rtol=1e-4)
    addresses = sorted({address for _, address in PAIRS})[:5]
    other = VectorMapDisplay.from_estimator(insights, addresses, of="addresses")
    assert other.ax_.get_title() == "addresses"
    with pytest.raises(UserError, match="of='both': must be entities or addresses"):
        plot_vectors(insights, users, of="both")


@pytest.mark.parametrize("marked", [0, 2])
def test_no_name_lies_on_another(marked):
    at = np.random.default_rng(1).normal(size=(150, 2))
    names = [f"a name {i}" for i in range(len(at))]
    shown = VectorMapDisplay(at, names, marked).plot()
    shown.figure_.canvas.draw()
    boxes = [label.get_window_extent() for label in shown.labels_.values()]
    assert 20 < len(boxes) < 150
    assert set(names[:marked]) <= shown.labels_.keys()
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])
    room = shown.ax_.get_window_extent()
    assert all(box.x0 >= room.x0 - 1 and box.x1 <= room.x1 + 1 for box in boxes)


def test_functions_draw_where_they_are_told(machine, classifier, words):
    for draw in (
        lambda ax: plot_learning_curve(machine, ax=ax),
        lambda ax: plot_interactions(machine, 4, ax),
        lambda ax: plot_label_scores(classifier, TEXTS, LABELS, ax=ax),
        lambda ax: plot_vectors(words, "w1", ax=ax),
    ):
        _, ax = plt.subplots()
        assert draw(ax) is ax
        assert ax.lines or ax.patches or ax.collections


@pytest.mark.parametrize(
    ("draw", "said"),
    [(plot_learning_curve, "PCA has no learning curve"),
     (plot_interactions, "PCA is none of smalgos' factorization machines"),
     (lambda model: plot_offset(model, PAIRS), "PCA is not smalgos' IPInsights"),
     (lambda model: plot_vectors(model, ["a"]), "PCA is not smalgos' Word2Vec or IPInsights"),
     (lambda model: plot_label_scores(model, X, Y), "PCA is no fitted classifier")],
)  # fmt: skip
def test_other_estimators_cannot_be_drawn(draw, said):
    with pytest.raises(UserError, match=said):
        draw(smalgos.PCA(num_components=1))


@pytest.mark.parametrize(
    "draw",
    [lambda: plot_learning_curve(smalgos.FactorizationMachineRegressor()),
     lambda: plot_learning_curve(smalgos.IPInsights()),
     lambda: plot_learning_curve(smalgos.TextClassifier()),
     lambda: plot_interactions(smalgos.FactorizationMachineRegressor()),
     lambda: plot_offset(smalgos.IPInsights(), PAIRS),
     lambda: plot_vectors(smalgos.Word2Vec(), "w1"),
     lambda: plot_label_scores(smalgos.TextClassifier(), TEXTS, LABELS)],
)  # fmt: skip
def test_before_it_is_fitted(draw):
    with pytest.raises((NotReady, UserError, ValueError), match="fitted"):
        draw()
