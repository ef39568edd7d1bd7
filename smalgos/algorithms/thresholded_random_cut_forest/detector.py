"""One row after another: fill, transform, score, judge, learn."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smalgos.algorithms.thresholded_random_cut_forest.corrector import Corrector, Verdict
from smalgos.algorithms.thresholded_random_cut_forest.forest import Forest
from smalgos.algorithms.thresholded_random_cut_forest.result import Anomaly, Forecast, Telling
from smalgos.algorithms.thresholded_random_cut_forest.series import Ahead, Series
from smalgos.errors import NotReady, UserError
from smalgos.learning.state import Part

Floats = NDArray[np.float64]
SURE = 20.0  # rows times decay from which on confidence is whole


class Detector(Part):
    """Finds anomalies in a series of rows, and learns each of them.

    Parameters
    ----------
    k : namespace
        Kernels of random cut forests.
    p : ThresholdedRandomCutForestParameters
        Resolved.
    width : int
        Columns of the series.
    """

    forest: Forest
    series: Series
    corrector: Corrector

    def __init__(self, k: Any, p: Any, width: int) -> None:
        self.p = p
        self.series = Series(p, width)
        self.forest = Forest(k, p, p.shingle_size * self.series.columns)
        self.corrector = Corrector(p, self.series.transform, self.series.columns)

    @property
    def now(self) -> int:
        """A timestamp for a row that comes without: one more than the last."""
        s = self.series
        if s.starting:
            return int(s.first_times[s.seen - 1]) + 1 if s.seen else 0
        return int(s.times[-1]) + 1

    def process(self, x: Floats, timestamp: int) -> Anomaly:
        """What is told of row x (d,), NaN where a value is missing; it is learnt.

        Raises
        ------
        UserError
            For values beyond float32, and for times that do not rise where rows are filled in.
        """
        told = self._follow(x, timestamp, None)
        assert told is not None
        return told

    def follow(self, x: Floats, timestamp: int, telling: Telling) -> None:
        """As `process`, for many rows."""
        self._follow(x, timestamp, telling)

    def _follow(self, x: Floats, timestamp: int, telling: Telling | None) -> Anomaly | None:
        s, forest, told = self.series, self.forest, None
        confidence, learnt = self._confidence(), forest.learnt
        a = None if s.starting else s.ahead(x, timestamp, forest)
        if a is None:
            s.hold(x, timestamp, forest)
            v = Verdict()
        else:
            if not math.isfinite(a.blocks[-a.new :].sum()):
                raise UserError("a value is beyond float32: scale the columns")
            v = self.corrector.judge(a, forest)
        if telling is None or v.grade > 0:
            told = self._told_of(x, timestamp, v, a, confidence, learnt)
        if telling is not None:
            telling.add(v.score, v.threshold, v.grade, confidence, v.index, v.correction)
            if told is not None:
                telling.alarm(told)
        if a is not None:
            s.take(a, forest)
            if v.grade > 0:
                self.corrector.last.remember(v, a, self._moved(a))
        return told

    def judged(self, x: Floats, timestamp: int) -> Verdict:
        """What would be found of row x if it came next; nothing is learnt of it."""
        if self.series.starting:
            return Verdict()
        corrector = self.corrector
        before = corrector.snapshot(lambda a: a.copy() if isinstance(a, np.ndarray) else a)
        found = corrector.judge(self.series.ahead(x, timestamp, self.forest), self.forest)
        corrector.restore(before)
        return found

    def _moved(self, a: Ahead) -> Floats:
        """By how much an anomaly moved the center of the transform."""
        s = self.series
        moved = np.zeros(s.columns)
        after = s.transform.frame(s.moments, s.values[-1])
        moved[: s.width] = after.shift - a.frame.shift[: s.width]
        return moved

    def _confidence(self) -> float:
        """How much to trust what was learnt, from the rows so far and those that were missing."""
        n, decay = self.series.seen, self.p.time_decay
        quality, total = self.series.quality.mean, n * decay
        if total >= SURE:
            return min(1.0, quality)
        start = min(n, self.p.output_after)
        if total == 0:  # the limit of no decay
            return quality * (n - start) / n if n else 0.0
        grown = (math.exp(total) - math.exp(decay * start)) / math.expm1(total)
        return max(0.0, quality * grown)

    def _told_of(
        self, x: Floats, timestamp: int, v: Verdict, a: Ahead | None, confidence: float,
        learnt: int,
    ) -> Anomaly:  # fmt: skip
        s, index = self.series, v.index
        blame = past = expected = when = came = None
        if a is not None and v.attribution is not None:
            at = slice((s.shingle - 1 + index) * s.columns, (s.shingle + index) * s.columns)
            blame = v.attribution[:, at].sum(axis=0)
            past = a.values[index - 1].copy()
            came = int(np.append(s.times, np.full(a.new, timestamp))[index - 1])
            if v.expected is not None:
                expected, when = s.values_of(a, v.expected, index)
        missing: tuple[int, ...] = ()
        if a is None or a.missing is not None:
            missing = tuple(np.flatnonzero(np.isnan(x)).tolist())
        made_up = a is not None and (a.new > 1 or bool(missing))
        return Anomaly(
            score=v.score, threshold=v.threshold, grade=v.grade, confidence=confidence,
            correction_mode=v.correction, in_high_score_region=v.high, start_of_anomaly=v.starts,
            relative_index=index,
            relevant_attribution=None if blame is None else blame[: s.width],
            time_attribution=float(blame[-1]) if s.timed and blame is not None else 0.0,
            attribution=v.attribution, past_values=past, past_timestamp=came,
            expected_values=expected, expected_timestamp=when, timestamp=timestamp,
            current_input=x, missing_values=missing,
            number_of_new_imputes=0 if a is None else a.new - 1 + a.skipped,
            imputed_points=a.values[-a.new :].copy() if a is not None and made_up else None,
            point=None if a is None else a.point, expected_point=v.expected,
            scale=None if a is None else a.frame.scale, shift=None if a is None else a.frame.shift,
            deviations=None if a is None else a.noise,
            internal_timestamp=s.seen - 1 if a is None else a.step, total_updates=learnt,
        )  # fmt: skip

    def forecast(self, horizon: int, centrality: float = 1.0, *, correct: bool = True) -> Forecast:
        """The rows to come, by imputation; with `correct`, as if the last anomaly had not been.

        Raises
        ------
        UserError
            When a point is one row alone.
        NotReady
            Before the forest gives scores.
        """
        s, last = self.series, self.corrector.last
        if s.shingle == 1:
            raise UserError("shingle_size=1: what comes next is seen from the rows before it")
        if not self.forest.ready:
            raise NotReady(f"no forecast before {self.p.output_after} rows")
        point, gap = s.blocks.reshape(-1), s.steps - last.step
        if correct and last.step >= 0 and last.expects and gap <= s.shingle:
            frame = s.transform.frame(s.moments, s.values[-1])
            scale = np.append(frame.scale, np.zeros(s.columns - s.width))
            # the anomaly is a row of this point, where `gap` counts from the point behind it
            point = (
                last.expected if gap == 1 else self.corrector.without_last(point, gap - 1, scale)
            )
        found = self.forest.extrapolate(point, s.columns, horizon, centrality)
        values, lower, upper = (part[:, : s.width] for part in found)
        rows = s.transform.forecast(values, lower, upper, s.values[-1], s.moments)
        times = s.times_ahead(list(found))
        return Forecast(*rows, *times)

    def check(self) -> None:
        """Raise `UserError` unless a series could have left it so."""
        for part in (self.forest, self.series, self.corrector):
            part.check()
