"""Thresholded Random Cut Forest: anomalies in a series, each with a grade and an explanation.

A streaming random cut forest (Guha, Mishra, Roy, Schrijvers, "Robust random cut forest based
anomaly detection on streams", ICML 2016) scores points of consecutive rows; what goes before and
comes behind is that of AWS's open library random-cut-forest-by-aws (Apache-2.0):

- `series.py` fills what is missing (`filling.py`) and brings columns to a scale of their own
  (`transforms.py`, by the discounted `statistics.py`);
- `thresholds.py` says from which score on a point is looked at, and gives it a grade;
- `corrector.py` asks the forest what it expected in the place of the row that is to blame, and
  cancels alarms of what is near to that, or follows from an anomaly before it;
- `detector.py` does so for one row after another, and forecasts the next ones.

A value nearer than 0.001 to what was expected is never an anomaly: scale columns of tiny units.

It is no algorithm of the original's images, but one of its own open library; jobs and requests know
it by the name thresholded-randomcutforest.
"""

from smalgos.algorithms.thresholded_random_cut_forest.model import ThresholdedRandomCutForestModel
from smalgos.algorithms.thresholded_random_cut_forest.parameters import (
    ThresholdedRandomCutForestParameters,
)
from smalgos.algorithms.thresholded_random_cut_forest.state import ThresholdedRandomCutForestState
from smalgos.learning.model import Algorithm

ALGORITHM = Algorithm(
    name="thresholded-randomcutforest",
    label="ThresholdedRandomCutForest",
    parameters=ThresholdedRandomCutForestParameters,
    state=ThresholdedRandomCutForestState,
    model=ThresholdedRandomCutForestModel,
    channels=("train",),
    envelope="scores",
    fields=("score", "threshold", "grade"),
    summary="anomalies in a series as it comes, graded and explained",
)
