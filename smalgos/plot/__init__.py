"""Figures of fitted estimators, and trees as text; needs ``pip install 'smalgos[plot]'``.

Displays are like those of scikit-learn: ``from_estimator`` takes from an estimator what is shown
and draws it, ``plot`` draws it once more, perhaps into axes of yours; ``ax_`` and ``figure_`` are
where it was drawn last. matplotlib is imported when something is drawn.
"""

from smalgos.plot.anomalies import AnomalyTimelineDisplay, plot_anomalies
from smalgos.plot.clusters import (
    ElbowDisplay,
    InertiaCurveDisplay,
    plot_elbow,
    plot_inertia_curve,
)
from smalgos.plot.components import (
    ComponentsDisplay,
    ExplainedVarianceDisplay,
    plot_components,
    plot_explained_variance,
)
from smalgos.plot.curves import LearningCurveDisplay, plot_learning_curve
from smalgos.plot.importance import ImportanceDisplay, plot_importance
from smalgos.plot.interactions import InteractionsDisplay, plot_interactions
from smalgos.plot.labels import LabelScoresDisplay, plot_label_scores
from smalgos.plot.logins import OffsetDisplay, plot_offset
from smalgos.plot.trees import TreePlot, plot_tree
from smalgos.plot.vectors import VectorMapDisplay, plot_vectors

__all__ = [
    "AnomalyTimelineDisplay",
    "ComponentsDisplay",
    "ElbowDisplay",
    "ExplainedVarianceDisplay",
    "ImportanceDisplay",
    "InertiaCurveDisplay",
    "InteractionsDisplay",
    "LabelScoresDisplay",
    "LearningCurveDisplay",
    "OffsetDisplay",
    "TreePlot",
    "VectorMapDisplay",
    "plot_anomalies",
    "plot_components",
    "plot_elbow",
    "plot_explained_variance",
    "plot_importance",
    "plot_inertia_curve",
    "plot_interactions",
    "plot_label_scores",
    "plot_learning_curve",
    "plot_offset",
    "plot_tree",
    "plot_vectors",
]
