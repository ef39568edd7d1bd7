"""What is told of rows."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Why a score above the threshold is no anomaly.
NONE = "NONE"  # it is one, or the score is below
NOISE = "NOISE"  # all of the point is as near the center as float precision can tell
MULTI_MODE = "MULTI_MODE"  # it is not distant
ANOMALY_IN_SHINGLE = "ANOMALY_IN_SHINGLE"  # an anomaly before it, still in the point, explains it
CONDITIONAL_FORECAST = "CONDITIONAL_FORECAST"  # the sample knows points that go on like this
FORECAST = "FORECAST"  # it is near what was expected
DATA_DRIFT = "DATA_DRIFT"  # it is near what the run of anomalies before it looks like
ALERT_ONCE = "ALERT_ONCE"  # the run was told of before
CORRECTIONS = (
    NONE, NOISE, MULTI_MODE, ANOMALY_IN_SHINGLE, CONDITIONAL_FORECAST, FORECAST, DATA_DRIFT,
    ALERT_ONCE,
)  # fmt: skip

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False, slots=True)
class Anomaly:
    """What is told of one row, be it an anomaly or not.

    Attributes
    ----------
    score : float
        The forest's, never corrected; 0 before `output_after` rows.
    threshold : float
        From which scores are looked at.
    grade : float
        0: no anomaly; up to 1.
    confidence : float
        In what was learnt, 0 to 1: it grows with the rows and falls where values are missing.
    correction_mode : str
        Why a score above the threshold has grade 0; "NONE" otherwise.
    in_high_score_region : bool
        Whether it was looked at: the score is above the threshold, and not by noise.
    start_of_anomaly : bool
        Whether it is an anomaly that does not continue a run of them.
    relative_index : int
        0: this row is the anomaly; -2: the one two rows before, which is only now seen to be one.
    relevant_attribution : ndarray of float64, shape (d,), or None
        What each column of that row gives to the score. The next ones, too, are None where the row
        is no anomaly.
    time_attribution : float
        What the time before it gives, of forest_mode="TIME_AUGMENTED".
    attribution : ndarray of float64, shape (2, coordinates), or None
        What each coordinate of the point gives to the score: by being too high, too low.
    past_values : ndarray of float64, shape (d,), or None
        The values of the row that is the anomaly.
    past_timestamp : int or None
        When that row came.
    expected_values : ndarray of float64, shape (d,), or None
        What it was expected to be: columns that are not to blame are as they were.
    expected_timestamp : int or None
        When it was expected to come, of forest_mode="TIME_AUGMENTED".
    timestamp : int
    current_input : ndarray of float64, shape (d,)
        The row as it was given, NaN where a value was missing.
    missing_values : tuple of int
        Columns that were missing.
    number_of_new_imputes : int
        Rows that were missing before it, of forest_mode="STREAMING_IMPUTE".
    imputed_points : ndarray of float64, shape (rows, d), or None
        Those, and the row itself, as they were filled, if anything was missing.
    point, expected_point : ndarray of float32, shape (coordinates,), or None
        What the forest saw, and what it expected.
    scale, shift : ndarray of float64, shape (columns of the points,), or None
        ``scale * point + shift`` of the point's last columns are the row's values.
    deviations : ndarray of float64, shape (2, columns of the points), or None
        Of values, and of their steps, before the row.
    internal_timestamp : int
        Rows before it, filled ones included.
    total_updates : int
        Points that were learnt before it.
    """

    score: float
    threshold: float
    grade: float
    confidence: float
    correction_mode: str
    in_high_score_region: bool
    start_of_anomaly: bool
    relative_index: int
    relevant_attribution: Floats | None
    time_attribution: float
    attribution: Floats | None
    past_values: Floats | None
    past_timestamp: int | None
    expected_values: Floats | None
    expected_timestamp: int | None
    timestamp: int
    current_input: Floats
    missing_values: tuple[int, ...]
    number_of_new_imputes: int
    imputed_points: Floats | None
    point: NDArray[np.float32] | None
    expected_point: NDArray[np.float32] | None
    scale: Floats | None
    shift: Floats | None
    deviations: Floats | None
    internal_timestamp: int
    total_updates: int


@dataclass(frozen=True, eq=False)
class Anomalies:
    """What is told of consecutive rows.

    Attributes
    ----------
    scores, thresholds, grades, confidences : ndarray of float64, shape (n,)
        As those of `Anomaly`.
    relative_indices : ndarray of int64, shape (n,)
    correction_modes : ndarray of str, shape (n,)
    alarms : list of Anomaly
        The rows that are anomalies, in order.
    """

    scores: Floats
    thresholds: Floats
    grades: Floats
    confidences: Floats
    relative_indices: NDArray[np.int64]
    correction_modes: NDArray[np.str_]
    alarms: list[Anomaly]

    def __len__(self) -> int:
        return len(self.scores)

    @property
    def indices(self) -> NDArray[np.int64]:
        """Numbers of the rows that are anomalies, as many as `alarms`."""
        return np.flatnonzero(self.grades > 0)

    @property
    def labels(self) -> NDArray[np.int64]:
        """(n,): -1 for anomalies, 1 for other rows, as scikit-learn has it."""
        return np.where(self.grades > 0, -1, 1)


class Telling:
    """Collects what is told of rows; of those that are no anomalies, only the numbers."""

    def __init__(self) -> None:
        self._numbers: list[tuple[float, ...]] = []
        self._modes: list[str] = []
        self._alarms: list[Anomaly] = []

    def add(
        self, score: float, threshold: float, grade: float, confidence: float, index: int,
        mode: str,
    ) -> None:  # fmt: skip
        """One more row."""
        self._numbers.append((score, threshold, grade, confidence, index))
        self._modes.append(mode)

    def alarm(self, row: Anomaly) -> None:
        """The last row is an anomaly."""
        self._alarms.append(row)

    def told(self) -> Anomalies:
        """Of all rows."""
        scores, thresholds, grades, confidences, indices = (
            np.array(self._numbers, np.float64).reshape(-1, 5).T.copy()
        )
        modes = np.array(self._modes, f"<U{max(map(len, CORRECTIONS))}")
        return Anomalies(
            scores, thresholds, grades, confidences, indices.astype(np.int64), modes, self._alarms
        )


@dataclass(frozen=True, eq=False)
class Forecast:
    """The rows to come.

    Attributes
    ----------
    values, lower, upper : ndarray of float64, shape (horizon, d)
        Medians over the trees, and quantiles of 0.1 and 0.9.
    timestamps, lower_timestamps, upper_timestamps : ndarray of float64, shape (horizon,)
        When they will come: after the usual time each; of forest_mode="TIME_AUGMENTED", after the
        time that the forest expects.
    """

    values: Floats
    lower: Floats
    upper: Floats
    timestamps: Floats
    lower_timestamps: Floats
    upper_timestamps: Floats
