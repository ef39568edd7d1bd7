"""From which score on a row is an anomaly, and how much of one.

Scores of a forest are no normal variable: inliers crowd below 1, anomalies lie above. The threshold
is so many deviations above their discounted mean, where the deviation is the smallest of several
ways to estimate it, and never below an absolute one.
"""

import math

from smalgos.algorithms.thresholded_random_cut_forest.parameters import LOWEST
from smalgos.algorithms.thresholded_random_cut_forest.statistics import Deviation
from smalgos.learning.state import Part

FEW = 10  # scores before which there is no deviation; beyond twice as many, it alone counts
LOW_MEAN = 0.9  # of scores, below which factors shrink in proportion
INITIAL = 1.5  # threshold before there is a deviation
LEAST_FACTOR = 2.0
MOST = 2.0  # that a score counts in the statistics


class Thresholder(Part):
    """Threshold and grade of scores, from those before.

    Parameters
    ----------
    discount : float
        Of scores.
    change_discount : float
        Of their changes.
    z_factor : float
    lowest : float, optional
        No threshold is below it. None: 0.8, less where scores are low.
    score_differencing : float
    transformed, differenced : bool
        What is done to the rows.
    shingled : bool
        Whether consecutive points share rows.
    """

    scores: Deviation
    changes: Deviation
    below: Deviation  # how far scores below the mean are from it
    count: int

    def __init__(
        self,
        discount: float,
        change_discount: float,
        z_factor: float,
        lowest: float | None = None,
        score_differencing: float = 0.5,
        *,
        transformed: bool = False,
        differenced: bool = False,
        shingled: bool = False,
    ) -> None:
        self.scores, self.changes = Deviation(discount), Deviation(change_discount)
        self.below = Deviation(discount / 2)
        self.count = 0
        self.z_factor, self.score_differencing = z_factor, score_differencing
        self.lowest, self.adjusts = (LOWEST, True) if lowest is None else (lowest, False)
        self.transformed, self.connected = transformed, differenced or shingled

    @property
    def ready(self) -> bool:
        """Whether there are enough scores to tell their deviation."""
        enough = self.count >= FEW
        return enough and (self.score_differencing == 0 or self.changes.count >= FEW)

    def update(self, score: float, change: float) -> None:
        """Take in a score, and how much it changed."""
        gap = self.scores.mean - score
        if gap > 0:
            self.below.update(gap)
        self.scores.update(score)
        self.changes.update(change)
        self.count += 1

    def plain(self, score: float) -> tuple[float, float]:
        """(threshold, grade) by mean and deviation alone: 0 at z deviations, 1 at twice as many."""
        if not self.ready or score <= 0:
            return 0.0, 0.0
        mean, deviation, z = self.scores.mean, self.scores.deviation, self.z_factor
        threshold = mean + z * deviation
        if threshold <= 0 or score <= threshold:
            return threshold, 0.0
        if deviation == 0:
            return threshold, float(score > mean + 1e-10)
        return threshold, max(0.0, (min(2 * z, (score - mean) / deviation) - z) / z)

    def judge(self, score: float) -> tuple[float, float]:
        """(threshold, grade) of a score by depth; grades are sixteenths, 1 at most.

        Where a score exceeds the threshold by less than a sixteenth, it is the threshold.
        """
        mean, deviation = self.scores.mean, self.scores.deviation
        z = self.z_factor
        if self.transformed and mean < LOW_MEAN:
            z *= mean / LOW_MEAN
        z = max(z, LEAST_FACTOR)
        scaled = (z - 1) * self._long_term() + deviation
        settled = min(max((self.count - FEW) / FEW, 0.0), 1.0)
        lowest = self.lowest
        if self.adjusts and settled == 1 and mean < LOW_MEAN:
            lowest *= mean / LOW_MEAN
        if not self.ready:
            threshold = max(INITIAL, lowest)
            surprise = min(max(score / self.lowest - 1, 0.0), 1.0) if self.lowest else 1.0
        else:
            threshold = max(lowest, settled * (mean + scaled) + (1 - settled) * INITIAL)
            surprise = min(z, (score - threshold) * z / scaled) / z if scaled > 0 else 2.0
        if score < threshold or threshold <= 0:
            return threshold, 0.0
        grade = min(math.floor(20 * surprise) / 16, 1.0)
        return (threshold, grade) if grade > 0 else (score, 0.0)

    def _long_term(self) -> float:
        """A deviation that neither anomalies of the past nor a skew of the scores inflate."""
        whole, half = self.scores.deviation, math.sqrt(2.0) * self.below.deviation
        if not self.connected:
            return min(half, whole)
        change = self.changes.deviation
        share = self.score_differencing
        return share * min(whole, max(change, half)) + (1 - share) * change

    def check(self) -> None:
        """Raise `UserError` unless scores could have left it so."""
        for part in (self.scores, self.changes, self.below):
            part.check()
