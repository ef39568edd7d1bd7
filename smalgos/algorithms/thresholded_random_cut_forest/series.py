"""The last rows of a series, and what the forest is shown of them.

A row is filled where values are missing, transformed, and joined with those before it to a point.
What a row makes of the series is worked out first (`Series.ahead`), for the forest to score it, and
taken in behind that (`Series.take`).
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smalgos.algorithms.thresholded_random_cut_forest import filling
from smalgos.algorithms.thresholded_random_cut_forest.forest import Forest
from smalgos.algorithms.thresholded_random_cut_forest.parameters import (
    STREAMING_IMPUTE,
    TIME_AUGMENTED,
)
from smalgos.algorithms.thresholded_random_cut_forest.statistics import (
    CHANGE,
    DRIFT,
    ROUGHNESS,
    Deviation,
    Moments,
    Statistics,
)
from smalgos.algorithms.thresholded_random_cut_forest.transforms import CLIP, Frame, Transform
from smalgos.errors import UserError
from smalgos.learning.state import Part

Floats = NDArray[np.float64]
Points = NDArray[np.float32]
MOST_FILLED = 3  # shingles of rows; of a longer gap, the last shingle alone is filled
TIME_FACTOR, TIME_PRECISION = 2.0, 1e-3


@dataclass(eq=False, slots=True)
class Ahead:
    """The series with its next row: the last rows before it, rows filled in, the row itself.

    Attributes
    ----------
    values : ndarray of float64, shape (shingle + new, d)
    blocks : ndarray of float32, shape (shingle + new, columns)
        The same, as the forest sees them.
    filled : ndarray of bool, shape (shingle + new,)
        Rows that were missing, where rows are filled in.
    new : int
        Rows that the next one brings, itself included.
    skipped : int
        Further ones that were missing, but not filled.
    timestamp, step : int
        Of the row; step counts rows.
    point : ndarray of float32, shape (shingle * columns,)
    frame : Frame
        Of the row's columns.
    noise : ndarray of float64, shape (2, columns)
    missing : ndarray of bool, shape (d,), or None
    """

    values: Floats
    blocks: Points
    filled: NDArray[np.bool_]
    new: int
    skipped: int
    timestamp: int
    step: int
    point: Points
    frame: Frame
    noise: Floats
    missing: NDArray[np.bool_] | None


class Series(Part):
    """Rows of d columns, the last `shingle_size` of which make a point.

    Parameters
    ----------
    p : ThresholdedRandomCutForestParameters
        Resolved.
    width : int
        d.
    """

    seen: int  # rows that came
    steps: int  # rows, filled ones included
    values: Floats  # (shingle, d) the last rows
    blocks: Points  # (shingle, columns) as the forest sees them
    filled: NDArray[np.bool_]  # (shingle,) which of them were missing
    times: NDArray[np.int64]  # (shingle,)
    first_rows: Floats  # (start_normalization, d) the first rows, NaN where values are missing
    first_times: NDArray[np.int64]  # (start_normalization,)
    statistics: Statistics  # of the columns
    gaps: Statistics  # of timestamps
    quality: Deviation  # share of what came that was not missing

    def __init__(self, p: Any, width: int) -> None:
        self.p, self.width, self.shingle = p, width, p.shingle_size
        self.timed = p.forest_mode == TIME_AUGMENTED
        self.fills_gaps = p.forest_mode == STREAMING_IMPUTE
        self.columns = width + int(self.timed)
        weights = np.ones(width) if p.weights is None else np.array(p.weights, np.float64)
        self.transform = Transform(p.transform_method, weights)
        self.fill = filling.fixed(p.imputation_method, p.fill_values, width)
        self.seen = self.steps = 0
        self.values = np.zeros((self.shingle, width))
        self.blocks = np.zeros((self.shingle, self.columns), np.float32)
        self.filled = np.ones(self.shingle, np.bool_)
        self.times = np.zeros(self.shingle, np.int64)
        self.first_rows = np.zeros((p.start_normalization, width))
        self.first_times = np.zeros(p.start_normalization, np.int64)
        self.statistics = Statistics(width, p.transform_decay)
        self.gaps = Statistics(1, p.transform_decay)
        self.quality = Deviation(p.transform_decay)

    # -- the first rows

    @property
    def starting(self) -> bool:
        """Whether rows are held back yet."""
        return self.seen < len(self.first_rows)

    def hold(self, x: Floats, timestamp: int, forest: Forest) -> None:
        """Hold a row back; with the last one of these, take in all of them."""
        if self.seen and self.fills_gaps:
            self._check_time(timestamp, int(self.first_times[self.seen - 1]))
        self.first_rows[self.seen], self.first_times[self.seen] = x, timestamp
        self.seen += 1
        if not self.starting:
            self._begin(forest)

    def _begin(self, forest: Forest) -> None:
        missing = np.isnan(self.first_rows)
        X = filling.start(
            self.first_rows, missing, self.first_times, self.p.imputation_method, self.fill
        )
        moments = Statistics.of_start(X, self.p.transform_decay)
        usual = filling.gap_of(self.first_times)
        gaps = np.diff(self.first_times, prepend=self.first_times[:1])
        time_scale = float(gaps[1:].mean()) if len(gaps) > 1 else 0.0
        self.times[:] = self.first_times[0]
        quality = 1.0 - float(missing.mean())
        for x, timestamp, gap in zip(X, self.first_times.tolist(), gaps.tolist(), strict=True):
            count = filling.rows_missing(gap, usual) if self.fills_gaps and self.steps > 1 else 0
            count = min(count, MOST_FILLED * self.shingle)
            before = self.values[-1]
            for row in filling.between("LINEAR", None, before, x, count, count):
                self._push(row, self._block(row, timestamp, moments, time_scale), timestamp, True)
                self._learn(forest)
            block = self._block(x, timestamp, moments, time_scale)
            self.statistics.step(x, before)
            self._push(x, block, timestamp, False)
            if not self.fills_gaps:
                self.quality.update(quality)
            self._learn(forest)
            self.gaps.step(np.array([float(timestamp)]), np.array([float(timestamp - gap)]))

    def _block(self, x: Floats, timestamp: int, m: Moments, mean_gap: float) -> Points:
        """What the forest sees of a row that comes next."""
        block = self.transform.forward(x, self.values[-1] if self.steps else None, m)
        return self._timed(block, timestamp - int(self.times[-1]), mean_gap)

    def _timed(self, block: Points, gap: int, mean_gap: float) -> Points:
        """With the time before it, of forest_mode=TIME_AUGMENTED."""
        if not self.timed:
            return block
        scale, shift = self._time_frame(mean_gap)
        z = (gap - shift) / scale if self.steps else 0.0
        z = min(max(z, -CLIP), CLIP) if self.p.normalize_time else z
        return np.append(block, np.float32(self.p.weight_time * z))

    def _time_frame(self, mean_gap: float) -> tuple[float, float]:
        """(scale, shift) of the time between rows, without its weight."""
        if self.p.normalize_time:
            return TIME_FACTOR * (mean_gap + TIME_PRECISION), mean_gap
        return 1.0, 0.0

    def _push(self, x: Floats, block: Points, timestamp: int, filled: bool) -> None:
        self.values = np.concatenate([self.values[1:], x[None]])
        self.blocks = np.concatenate([self.blocks[1:], block[None]])
        self.times = np.append(self.times[1:], timestamp)
        self.filled = np.append(self.filled[1:], filled)
        self.steps += 1

    def _learn(self, forest: Forest) -> None:
        """Let the forest learn the point of the last rows, if it is one."""
        whole = self.steps >= self.shingle
        if self.fills_gaps:
            count = int(self.filled.sum())
            if self.transform.differenced and count >= self.shingle - 1 > 0:
                return  # one value alone would make all of the point
            share = count / self.shingle
            self.quality.update(1.0 - share)
            whole = whole and share < self.p.use_imputed_fraction
        if whole:
            forest.update(self.blocks.reshape(-1))

    # -- all others

    @property
    def moments(self) -> Moments:
        """The statistics of the rows so far."""
        return self.statistics.moments

    @property
    def mean_gap(self) -> float:
        """The mean time between rows."""
        return float(self.gaps.moments.mean[CHANGE, 0])

    def _check_time(self, timestamp: int, last: int) -> None:
        if timestamp <= last:
            raise UserError(
                f"timestamp {timestamp}: must be later than that of the row before, {last}"
            )

    def rows_missing(self, timestamp: int) -> int:
        """How many rows are missing between the last one and one of that time."""
        if not self.fills_gaps:
            return 0
        deviation = float(self.gaps.moments.deviation[CHANGE, 0])
        usual = filling.usual_gap(self.mean_gap, deviation)
        return filling.rows_missing(timestamp - int(self.times[-1]), usual)

    def ahead(self, x: Floats, timestamp: int, forest: Forest) -> Ahead:
        """What row x (d,), NaN where values are missing, makes of the series."""
        gone = np.isnan(x) if math.isnan(x.sum()) else None
        by_forest = self.p.imputation_method == "RCF" and forest.ready
        known = x if gone is None else np.where(gone, self._stand_in(self.values[-1]), x)
        values, blocks, count, skipped = self.values, self.blocks, 0, 0
        if self.fills_gaps:
            self._check_time(timestamp, int(self.times[-1]))
            count = self.rows_missing(timestamp)
            if count > MOST_FILLED * self.shingle:
                count, skipped = self.shingle, count - self.shingle
        if count:
            values, blocks = self._bridged(known, count, skipped, forest if by_forest else None)
        m, previous = self.moments, values[-1]
        block, frame = self.transform.both(known, previous, m)
        if self.timed:
            block = self._timed(block, timestamp - int(self.times[-1]), self.mean_gap)
            frame = self._timed_frame(frame)
        if gone is not None and by_forest:
            holes = np.append(gone, np.zeros(self.columns - self.width, np.bool_))
            block = self._imputed(np.concatenate([blocks, block[None]]), holes, forest)
            known = np.where(gone, self.transform.inverse(block[: self.width], previous, m), x)
        values = np.concatenate((values, known[None]))
        blocks = np.concatenate((blocks, block[None]))
        filled = self.filled
        if self.fills_gaps:
            new = np.ones(count + 1, np.bool_)
            new[-1] = gone is not None and gone.all()
            filled = np.concatenate((filled, new))
        return Ahead(
            values, blocks, filled, count + 1, skipped, timestamp, self.steps + count + skipped,
            blocks[-self.shingle :].reshape(-1), frame, self._noise(m), gone,
        )  # fmt: skip

    def _bridged(
        self, behind: Floats, count: int, skipped: int, forest: Forest | None
    ) -> tuple[Floats, Points]:
        """The last rows, and those that are filled in before the row `behind`; blocks of both.

        With a forest, it is this that says what they are.
        """
        values, blocks, m = self.values, self.blocks, self.moments
        if forest is not None:
            unknown = np.ones(self.columns, np.bool_)
            for _ in range(count):
                block = self._imputed(np.concatenate([blocks, blocks[-1:]]), unknown, forest)
                row = self.transform.inverse(block, values[-1], m)
                values, blocks = np.vstack([values, row]), np.vstack([blocks, block])
            return values, blocks
        method = "PREVIOUS" if self.p.imputation_method == "RCF" else self.p.imputation_method
        rows = filling.between(method, self.fill, values[-1], behind, count + skipped, count)
        for row in rows:
            block = self.transform.forward(row, values[-1], m)
            values, blocks = np.vstack([values, row]), np.vstack([blocks, block])
        return values, blocks

    def _stand_in(self, previous: Floats) -> Floats:
        """What missing values of a row are, where the forest is not asked."""
        if self.fill is None or self.p.imputation_method in ("PREVIOUS", "RCF"):
            return previous
        return self.fill

    def _imputed(self, blocks: Points, holes: NDArray[np.bool_], forest: Forest) -> Points:
        """The last block, with its holes as the forest expects them."""
        point = blocks[-self.shingle :].reshape(-1)
        missing = np.zeros(len(point), np.bool_)
        missing[-self.columns :] = holes
        return forest.impute(point, missing)[-self.columns :]

    def _timed_frame(self, frame: Frame) -> Frame:
        """With the time before the row, of forest_mode=TIME_AUGMENTED."""
        scale, shift = self._time_frame(self.mean_gap)
        weight = self.p.weight_time
        return Frame(
            np.append(frame.scale, scale / weight if weight else 0.0),
            np.append(frame.shift, shift + float(self.times[-1])),
        )

    def _noise(self, m: Moments) -> Floats:
        noise = m.noise
        if not self.timed:
            return noise
        return np.hstack([noise, np.full((2, 1), abs(self.gaps.moments.mean[ROUGHNESS, 0]))])

    def take(self, a: Ahead, forest: Forest) -> None:
        """Take in what was worked out, and let the forest learn it."""
        previous, last = self.values[-1], int(self.times[-1])
        k = self.shingle
        self.steps += a.skipped
        for i in range(len(a.values) - a.new, len(a.values)):
            self.values, self.blocks = a.values[i + 1 - k : i + 1], a.blocks[i + 1 - k : i + 1]
            if self.fills_gaps:
                self.filled = a.filled[i + 1 - k : i + 1]
            self.steps += 1
            self._learn(forest)
        times = np.concatenate((self.times[a.new :], np.full(min(a.new, k), a.timestamp)))
        self.times = times
        gone = a.missing
        if not self.fills_gaps:
            self.quality.update(1.0 if gone is None else 1.0 - float(gone.mean()))
        stop = self.p.stop_normalization
        if stop is None or self.seen < stop:
            self.statistics.step(a.values[-1], previous, gone)
            self.gaps.step(np.array([a.timestamp], float), np.array([last], float))
        if not (self.fills_gaps and a.filled[-1]):
            self.seen += 1

    # -- back to values

    def values_of(self, a: Ahead, point: Points, index: int) -> tuple[Floats, int | None]:
        """What the row `index` rows before the last (0, -1, ...) is if the forest saw `point`.

        Returns
        -------
        values : ndarray of float64, shape (d,)
            Those that differ from what the forest saw in fact.
        timestamp : int or None
            Of forest_mode=TIME_AUGMENTED.
        """
        at = slice((self.shingle - 1 + index) * self.columns, (self.shingle + index) * self.columns)
        block, seen = point[at], a.point[at]
        row, before = a.values[index - 1], a.values[index - 2]
        values = self.transform.inverse(block[: self.width], before, self.moments)
        values = np.where(block[: self.width] == seen[: self.width], row, values)
        if not self.timed:
            return values, None
        times = np.append(self.times, a.timestamp)
        if block[-1] == seen[-1]:
            return values, int(times[index - 1])
        return values, round(float(times[index - 2]) + self._gap(float(block[-1])))

    def _gap(self, z: float) -> float:
        """The time between rows that the forest sees as z."""
        scale, shift = self._time_frame(self.mean_gap)
        weight = self.p.weight_time
        return scale * z / weight + shift if weight else 0.0

    def times_ahead(self, blocks: list[Floats]) -> list[Floats]:
        """When the next rows come: (steps,) each for forecasts (steps, columns) of the points."""
        last, n = float(self.times[-1]), len(blocks[0])
        if self.timed:
            gaps = [np.array([max(self._gap(z), 0.0) for z in b[:, -1]]) for b in blocks]
        else:
            drift = float(self.gaps.moments.mean[DRIFT, 0])
            bound = 1.3 * abs(float(self.gaps.moments.mean[ROUGHNESS, 0]))
            gaps = [np.full(n, g) for g in (drift, max(drift - bound, 0.0), drift + bound)]
        middle = last + np.cumsum(gaps[0])
        before = np.concatenate([[last], middle[:-1]])
        return [middle, np.minimum(middle, before + gaps[1]), np.maximum(middle, before + gaps[2])]

    def check(self) -> None:
        """Raise `UserError` unless rows could have left it so."""
        for part in (self.statistics, self.gaps, self.quality):
            part.check()
        finite = all(np.isfinite(a).all() for a in (self.values, self.blocks))
        if not finite or np.isinf(self.first_rows).any():
            raise UserError("the last rows of the series are not finite")
        if min(self.seen, self.steps) < 0 or (self.starting and self.steps):
            raise UserError("the numbers of rows of the series do not fit")
        if not self.starting and not (self.gaps.rows and self.statistics.rows):
            raise UserError("the statistics of the series are of no rows")
