"""Which scores above the threshold are anomalies: each is held against what was to be expected.

The forest's score is one of a point of several rows, and stays high as long as an anomaly is one of
them. So a point is first rid of the last anomaly (`Corrector._without_last`); if it is above the
threshold yet, the row to blame is found by the point's attribution, and what the forest expects in
its place. No anomaly is a row that is near to that (FORECAST), or that scores by what the last
anomaly left alone (ANOMALY_IN_SHINGLE). Runs of anomalies are told once, or taken for a new normal,
if asked to.

Differences from the open library: rows are corrected by the last anomaly's shift of the mean right
behind it, too, and where it was told late, nowhere else than that row; time is not corrected twice
in differenced series.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smalgos.algorithms.thresholded_random_cut_forest import result
from smalgos.algorithms.thresholded_random_cut_forest.forest import Forest
from smalgos.algorithms.thresholded_random_cut_forest.parameters import LOWEST
from smalgos.algorithms.thresholded_random_cut_forest.series import Ahead
from smalgos.algorithms.thresholded_random_cut_forest.statistics import Deviations
from smalgos.algorithms.thresholded_random_cut_forest.thresholds import Thresholder
from smalgos.algorithms.thresholded_random_cut_forest.transforms import Transform
from smalgos.errors import UserError
from smalgos.learning.state import Part

Floats = NDArray[np.float64]
Points = NDArray[np.float32]
DEPTH, DISTANCE = 0, 1  # what a score is made of
PRECISION = 1e-3  # of values, relative to their mean
NEW = 0.3  # of the last anomaly's score: least change of attribution that is news
CLEARLY = 1.2  # times the threshold: what that change must be besides
SHARE = 0.1  # of a row's attribution, from which a column is to blame
NEAR = 1.1  # of the mean distance: what counts as near
SHORT_RUN = 2  # anomalies in a row that are not looked at as drift


@dataclass(slots=True)
class Verdict:
    """What is found of a point."""

    score: float = 0.0
    threshold: float = 0.0
    grade: float = 0.0
    correction: str = result.NONE
    high: bool = False
    starts: bool = False
    index: int = 0
    attribution: Floats | None = None  # (2, coordinates)
    expected: Points | None = None


class Last(Part):
    """The last anomaly, in so far as points behind it must be corrected.

    Parameters
    ----------
    size : int
        Coordinates of a point.
    columns : int
        Those of them that are a row's.
    """

    step: int  # of its row; -1: there was none
    score: float
    index: int
    expects: bool  # whether there was something to be expected
    point: Points
    expected: Points
    shift: Floats  # (columns,) of the transform's center before the row, and what the row added

    def __init__(self, size: int, columns: int) -> None:
        self.step, self.score, self.index, self.expects = -1, 0.0, 0, False
        self.point, self.expected = np.zeros((2, size), np.float32)
        self.shift = np.zeros(columns)

    def remember(self, v: Verdict, a: Ahead, moved: Floats) -> None:
        """Take an anomaly's place."""
        self.step, self.score, self.index = a.step, v.score, v.index
        self.point, self.shift, self.expects = a.point.copy(), moved, v.expected is not None
        self.expected = np.zeros_like(self.point) if v.expected is None else v.expected.copy()


class Corrector(Part):
    """Thresholds, and what is made of the scores above them.

    Parameters
    ----------
    p : ThresholdedRandomCutForestParameters
        Resolved.
    transform : Transform
    columns : int
        Of the points: those of the series, and time if the forest sees it.
    """

    depth: Thresholder
    distance: Thresholder
    last: Last
    runs: Deviations  # (2, columns): of the values of a run of anomalies, of those expected
    run_length: int
    scored: bool  # whether there was a score before
    last_score: float
    last_threshold: float
    last_depth: float  # the scores before, where points share rows
    last_distance: float

    def __init__(self, p: Any, transform: Transform, columns: int) -> None:
        self.p, self.transform, self.columns = p, transform, columns
        self.shingle, self.size = p.shingle_size, p.shingle_size * columns
        self.timed = columns > len(transform.weights)
        lowest = None if p.auto_adjust and p.lower_threshold == "auto" else p.lower_threshold
        self.depth = Thresholder(
            p.time_decay, p.anomaly_rate, p.z_factor, LOWEST if lowest == "auto" else lowest,
            p.score_differencing, transformed=p.transform_method != "NONE",
            differenced=transform.differenced, shingled=self.shingle > 1,
        )  # fmt: skip
        self.distance = Thresholder(p.time_decay, p.time_decay, p.z_factor)
        self.last = Last(self.size, columns)
        self.runs = Deviations(2, columns, p.time_decay)
        self.run_length, self.scored = 0, False
        self.last_score = self.last_threshold = self.last_depth = self.last_distance = 0.0
        self._ignored = {
            (side, by): self._of_columns(getattr(p, f"ignore_near_expected_from_{side}{by}"))
            for side in ("above", "below")
            for by in ("", "_by_ratio")
        }

    def _of_columns(self, given: list[float] | None) -> Floats:
        out = np.zeros(self.columns)
        if given is not None:
            out[: len(given)] = given
        return out

    # -- one point

    def judge(self, a: Ahead, forest: Forest) -> Verdict:
        """Score a point, and say whether its row, or one a little before, is an anomaly."""
        v, strategy = Verdict(), self.p.scoring_strategy
        depth, far = 0.0, None
        if strategy != "DISTANCE":
            depth = forest.score(a.point)
        if strategy != "EXPECTED_INVERSE_DEPTH":
            far = forest.distances(a.point)
        distance = 0.0 if far is None else float(far.sum())
        kind = DISTANCE if strategy == "DISTANCE" else DEPTH
        v.score = distance if kind == DISTANCE else depth
        if v.score == 0:
            return v
        judged = self.distance.plain(distance) if kind == DISTANCE else self.depth.judge(depth)
        v.threshold, v.grade = judged
        threshold = v.threshold
        continues = v.grade > 0 and self._continues(v.score, v.threshold)
        gap = a.step - self.last.step if self.last.step >= 0 else a.step + self.size
        if strategy == "MULTI_MODE" and v.grade > 0:
            least, grade = self.distance.plain(distance)
            if least > 0 and grade == 0:
                v.grade, v.correction = 0.0, result.MULTI_MODE
        elif strategy == "MULTI_MODE_RECALL" and v.grade == 0 and gap >= self.shingle:
            kind = DISTANCE
            threshold, v.grade = self.distance.plain(distance)
        corrected_score = distance if kind == DISTANCE else depth
        if v.grade > 0:
            corrected_score = _Case(self, a, forest, kind, gap, threshold, far).hear(v)
        if continues:
            self._follow_run(v, a, gap)
        self._close(v)
        if v.grade == 0:
            v.index, v.attribution, v.expected = 0, None, None
        self._remember_scores(v, depth, distance, corrected_score if kind == DEPTH else depth)
        return v

    def _continues(self, score: float, threshold: float) -> bool:
        """Whether a score above the threshold is of a run: higher than the last, or not much less.

        What is much less rises with the run's length, so that a run of drift ends.
        """
        if not self.scored:
            return False
        longer = max(0.2, self.run_length / (2.0 * max(10, self.shingle)))
        least = max(threshold, self.last_threshold) * (1 + longer)
        return score > self.last_score or self.last_score - self.last_threshold > score - least

    def _follow_run(self, v: Verdict, a: Ahead, gap: int) -> None:
        """Of a run of anomalies, find out whether it is drift, or was told before."""
        if self.p.auto_adjust:
            now = a.point[-self.columns :].astype(np.float64)
            self.runs.update(0, now)
            expected = None if v.expected is None else v.expected[-self.columns :]
            if expected is not None:
                self.runs.update(1, expected.astype(np.float64))
            if self.run_length > SHORT_RUN and v.grade > 0 and self._usual(now, expected, a):
                v.grade, v.correction = 0.0, result.DATA_DRIFT
        told = self.run_length > 0 and gap < self.shingle
        if self.p.alert_once_in_drift and v.grade > 0 and told:
            v.grade, v.correction = 0.0, result.ALERT_ONCE

    def _usual(self, now: Floats, expected: Points | None, a: Ahead) -> bool:
        """Whether a row is as those of its run, and what is expected in its place, too."""
        (mean, guessed), (spread, spread_guessed) = self.runs.mean, self.runs.deviation
        scale = a.frame.scale
        noise = np.divide(
            self.p.noise_factor * a.noise[1], scale, out=np.zeros(len(scale)), where=scale > 0
        )
        within = np.abs(mean - now) < np.maximum(2 * spread, noise)
        if expected is not None:
            wide = 2 * np.maximum(spread, spread_guessed) + 0.1 * np.abs(mean - guessed)
            within &= np.abs(guessed - expected) < wide
        return bool(within.all())

    def _close(self, v: Verdict) -> None:
        """Count the run."""
        if v.grade > 0:
            v.starts = self.run_length == 0
            self.run_length += 1
        elif v.correction == result.NONE:
            self.run_length = 0
            self.runs.sums[:] = 0.0
        elif self.run_length > 0:  # what is corrected goes on with a run, but begins none
            self.run_length += 1

    def _remember_scores(self, v: Verdict, depth: float, distance: float, corrected: float) -> None:
        if depth > 0:
            self.depth.update(min(depth, 2.0), corrected - self.last_depth)
        if distance > 0:
            self.distance.update(distance, self.last_distance)
        if self.shingle > 1:
            self.last_depth, self.last_distance = depth, distance
        self.scored, self.last_score, self.last_threshold = True, v.score, v.threshold

    # -- behind the last anomaly

    def without_last(self, point: Points, gap: int, scale: Floats) -> Points:
        """A point, `gap` rows behind the last anomaly, as it would be without that."""
        out, columns, last = point.copy(), self.columns, self.last
        if last.step < 0:
            return out
        if last.expects:
            if gap < self.shingle:
                out[: self.size - gap * columns] = last.expected[gap * columns :]
            if gap <= self.shingle and last.index == 0:
                behind = out[self.size - gap * columns :][:columns]
                excess = last.point[-columns:] - last.expected[-columns:]
                if self.transform.differenced:
                    behind += excess  # the step back
                elif self.timed:
                    behind[-1] += excess[-1]  # time is differenced in any case
        if gap < 2 * self.shingle and self.transform.method in ("NORMALIZE", "SUBTRACT_MA"):
            moved = last.shift * math.exp(-gap * self.p.transform_decay)
            moved = np.divide(moved, scale, out=np.zeros(columns), where=scale > 0)
            rows = out[self.size - min(gap, self.shingle) * columns :].reshape(-1, columns)
            rows += moved.astype(np.float32)
        return out

    def check(self) -> None:
        """Raise `UserError` unless scores could have left it so."""
        for part in (self.depth, self.distance, self.runs):
            part.check()
        last = self.last
        numbers = [
            last.score, self.last_score, self.last_threshold, self.last_depth, self.last_distance,
            *last.point, *last.expected, *last.shift,
        ]  # fmt: skip
        if not np.isfinite(numbers).all() or self.run_length < 0:
            raise UserError("what is remembered of the last anomaly is not finite")
        if last.step < -1 or not -self.shingle < last.index <= 0:
            raise UserError("the last anomaly is no row of the series")


class _Case:
    """One point above the threshold.

    Parameters
    ----------
    corrector : Corrector
    a : Ahead
    forest : Forest
    kind : {DEPTH, DISTANCE}
    gap : int
        Rows behind the last anomaly.
    threshold : float
    far : ndarray or None
        Attribution by distance, if it is known.
    """

    def __init__(
        self, corrector: Corrector, a: Ahead, forest: Forest, kind: int, gap: int,
        threshold: float, far: Floats | None,
    ) -> None:  # fmt: skip
        self.c, self.a, self.forest, self.kind, self.gap = corrector, a, forest, kind, gap
        self.threshold, self.far = threshold, far
        self.p, self.columns, self.size = corrector.p, corrector.columns, corrector.size

    def _attribution(self, point: Points) -> Floats:
        ask = self.forest.attribution if self.kind == DEPTH else self.forest.distances
        return ask(point)

    def hear(self, v: Verdict) -> float:
        """Find out whether it is an anomaly; returns the score without what is not expected."""
        point = self.a.point
        corrected = self.c.without_last(point, self.gap, self.a.frame.scale)
        if not self._above_precision(corrected):
            v.grade, v.correction = 0.0, result.NOISE
            return v.score
        v.high = True
        score = v.score
        if np.array_equal(corrected, point):
            known = self.kind == DISTANCE and self.far is not None
            attribution = self.far if known else self._attribution(point)
            assert attribution is not None
        else:
            attribution = self._attribution(corrected)
            score = float(attribution.sum())
            if score > self.threshold:
                ideal = self._expected(attribution, self._blamed(attribution), corrected)
                if ideal is not None:
                    found = self._attribution(ideal)
                    score = float(found.sum())
                    if not self._is_news(attribution, found):
                        v.grade, v.correction = 0.0, result.ANOMALY_IN_SHINGLE
        if v.grade > 0:
            score = self._against_expected(v, attribution, corrected, score)
        if v.grade == 0:
            return v.score
        norm = float(attribution.sum())
        v.attribution = attribution * (v.score / norm) if norm > 0 else attribution
        return score

    def _against_expected(
        self, v: Verdict, attribution: Floats, corrected: Points, score: float
    ) -> float:
        v.index = self._blamed(attribution)
        low, high = self._tolerance(v.index)
        if self.p.auto_adjust and self._known_to_follow(low, high, corrected, v.index):
            v.grade, v.correction = 0.0, result.CONDITIONAL_FORECAST
            return score
        v.expected = self._expected(attribution, v.index, corrected)
        if v.expected is None:
            return score
        if self.gap * self.columns < self.size:
            found = self._attribution(v.expected)
            score = float(found.sum())
            if not self._is_news(attribution, found):
                v.grade, v.correction = 0.0, result.ANOMALY_IN_SHINGLE
        elif self.kind == DEPTH:
            score = self.forest.score(self.a.point)
        else:
            score = float(self._attribution(self.a.point).sum())
        if v.grade > 0 and self._within(low, high, v.expected[None], v.index)[0]:
            v.grade, v.correction = 0.0, result.FORECAST
        return score

    def _block(self, index: int) -> slice:
        """Where in a point the row `index` rows before the last is."""
        end = self.size + index * self.columns
        return slice(end - self.columns, end)

    def _above_precision(self, point: Points) -> bool:
        """Whether any value is farther from its center than precision can tell."""
        scale, shift = self.a.frame
        values = np.abs(point.reshape(-1, self.columns)) * scale
        return bool((values > PRECISION * (1 + np.abs(shift))).any())

    def _blamed(self, attribution: Floats) -> int:
        """The row (0, -1, ...) that gives most to the score, of those behind the last anomaly."""
        rows = attribution.sum(axis=0).reshape(-1, self.columns).sum(axis=1)
        reach = min(self.gap, len(rows))
        return int(np.argmax(rows[len(rows) - reach :])) - reach + 1

    def _expected(self, attribution: Floats, index: int, point: Points) -> Points | None:
        """The point with what is to blame replaced by what the forest expects.

        None where that is too much to know.
        """
        at = self._block(index)
        given = attribution[:, at].sum(axis=0)
        total = float(given.sum())
        blame = np.zeros(self.size, np.bool_)
        if self.columns == 1:
            blame[at] = True
        else:
            ranked = np.sort(given)[::-1]
            if ranked[0] < SHARE * total:
                return None
            count = max(int((ranked >= min(SHARE * total, SHARE)).sum()), 1)
            if count > self.p.number_of_attributors:
                return None
            high = np.flatnonzero(given >= ranked[count - 1]).tolist()
            few = [j for i, j in enumerate(high) if i == 0 or given[j] > SHARE * total][:count]
            blame[at.start + np.array(few)] = True
        if blame.sum() > 0.5 * self.size:
            return None
        return self.forest.impute(point, blame)

    def _is_news(self, attribution: Floats, ideal: Floats) -> bool:
        """Whether more than the last anomaly is to be explained.

        By the change of attribution, from what was expected, of the rows behind that anomaly.
        """
        since = self.gap * self.columns
        if since >= self.size:
            return True
        change = float(np.abs(attribution - ideal)[:, -since:].sum())
        clear = change * self.size / since > CLEARLY * self.threshold
        return change > NEW * self.c.last.score and clear

    def _tolerance(self, index: int) -> tuple[Floats, Floats]:
        """By how much the values of a row may be below, above what was expected."""
        scale, shift = self.a.frame
        rows = self.a.point.reshape(-1, self.columns)[index - 1 :].astype(np.float64)
        steps = rows[:-1] if self.c.transform.differenced else np.diff(rows, axis=0)
        path = np.abs(steps).mean(axis=0) if len(steps) else np.zeros(self.columns)
        precise = np.where(shift != 0, PRECISION * (scale + np.abs(shift)), 0.0) + PRECISION
        gap = np.maximum(scale * path, self.p.noise_factor * self.a.noise[1]) + precise
        value = np.abs(scale * rows[0] + shift)
        low, high = (
            np.maximum.reduce([ignored[""], ignored["_by_ratio"] * value, gap])
            for ignored in (
                {by: self.c._ignored[side, by] for by in ("", "_by_ratio")}
                for side in ("below", "above")
            )
        )
        return low, high

    def _within(self, low: Floats, high: Floats, points: Points, index: int) -> NDArray[np.bool_]:
        """Which of the points (n, coordinates) the row is near to: (n,)."""
        at, scale = self._block(index), self.a.frame.scale
        off = scale * self.a.point[at] - scale * points[:, at]
        return np.asarray(((off >= -low) & (off <= high)).all(axis=1))

    def _known_to_follow(self, low: Floats, high: Floats, corrected: Points, index: int) -> bool:
        """Whether enough points that are near are like this row."""
        points, distances, counts = self.forest.neighbours(corrected)
        if not len(points):
            return False
        near = distances < NEAR * distances.mean()
        near &= self._within(low, high, points, index)
        return bool(counts[near].sum() >= self.p.sampling_support * self.p.num_trees)
