"""Hyperparameters of the thresholded Random Cut Forest."""

import math
from typing import Any

from smalgos.errors import UserError
from smalgos.learning import AUTO, Parameters, param

STANDARD, TIME_AUGMENTED, STREAMING_IMPUTE = "STANDARD", "TIME_AUGMENTED", "STREAMING_IMPUTE"
TRANSFORMS = (
    "NONE", "WEIGHTED", "SUBTRACT_MA", "NORMALIZE", "DIFFERENCE", "NORMALIZE_DIFFERENCE",
)  # fmt: skip
FILLS = ("ZERO", "FIXED_VALUES", "PREVIOUS", "NEXT", "LINEAR", "RCF")
STRATEGIES = ("EXPECTED_INVERSE_DEPTH", "DISTANCE", "MULTI_MODE", "MULTI_MODE_RECALL")
START = 10  # rows that are held back until there are statistics to normalise by
LOWEST = 0.8  # score below which nothing is an anomaly
IGNORED = tuple(
    f"ignore_near_expected_from_{side}{by}"
    for side in ("above", "below")
    for by in ("", "_by_ratio")
)


def _start(p: Any, spec: Any) -> int:
    return START if p.output_after == AUTO else min(START, int(p.output_after))


def _output_after(p: Any, spec: Any) -> int:
    start: int = p.start_normalization - p.shingle_size + 1
    return max(1, int(p.num_samples_per_tree) // 4, start)


def _near(side: str, how: str) -> Any:
    return param(
        default=None,
        doc=f"for each column, how far {side} what was expected {how} a value may be that is no "
        "anomaly",
    )


class ThresholdedRandomCutForestParameters(Parameters):
    """Hyperparameters of the thresholded Random Cut Forest, as AWS's open library has them."""

    feature_dim: int = param(
        default=AUTO, auto=lambda p, spec: spec.width, wire=lambda spec: spec.width, low=1,
        doc="number of columns of the series",
    )  # fmt: skip
    num_trees: int = param(
        default=50, low=1, tune=(10, 200),
        doc="trees of the forest: the more, the less noise is in the scores",
    )  # fmt: skip
    num_samples_per_tree: int = param(
        default=256, low=1, high=1 << 20, tune=(32, 2048), scale="log",
        doc="points that each tree holds; its inverse is about the share of anomalies to expect",
    )  # fmt: skip
    shingle_size: int = param(
        default=1, low=1, tune=(1, 64),
        doc="consecutive rows that make a point, so that the forest sees the shape of the series",
    )  # fmt: skip
    time_decay: float = param(
        default=AUTO, auto=lambda p, spec: 0.1 / p.num_samples_per_tree, low=0, below=1,
        tune=(1e-6, 1e-2), scale="log",
        doc="how fast old points leave the samples: those of age t weigh exp(-time_decay t); "
        "auto: 0.1 / num_samples_per_tree",
    )  # fmt: skip
    initial_accept_fraction: float = param(
        default=1.0, above=0, high=1,
        doc="share of its sample that a tree takes whole from the first points",
    )  # fmt: skip
    start_normalization: int = param(
        default=AUTO, auto=_start, low=1, high=1 << 20,
        doc="rows that are held back until there are statistics to normalise them by; "
        f"auto: {START}, or output_after if that is less",
    )  # fmt: skip
    stop_normalization: int | None = param(
        default=None, low=1, doc="rows after which the statistics stay as they are; None: never"
    )
    output_after: int = param(
        default=AUTO, auto=_output_after, low=1,
        doc="rows before scores differ from 0; auto: a quarter of num_samples_per_tree, or more if "
        "start_normalization asks for it",
    )  # fmt: skip
    forest_mode: str = param(
        default=STANDARD, choices=(STANDARD, TIME_AUGMENTED, STREAMING_IMPUTE),
        doc="what timestamps are for: nothing; the time between rows is a column of the points; "
        "rows that are missing between others are filled in",
    )  # fmt: skip
    transform_method: str = param(
        default="NONE", choices=TRANSFORMS, tune=TRANSFORMS,
        doc="what is done to the columns before the forest sees them",
    )  # fmt: skip
    transform_decay: float = param(
        default=AUTO, auto=lambda p, spec: 1.0 / max(p.num_samples_per_tree, 2), low=0, below=1,
        doc="discount of the statistics that the transform is made of; auto: "
        "1 / num_samples_per_tree",
    )  # fmt: skip
    weights: list[float] | None = param(
        default=None, doc="what the columns count, one number each; not for transform_method=NONE"
    )
    weight_time: float = param(
        default=1.0, low=0, doc="what the time between rows counts, of forest_mode=TIME_AUGMENTED"
    )
    normalize_time: bool = param(
        default=False, doc="normalise the time between rows, of forest_mode=TIME_AUGMENTED"
    )
    imputation_method: str = param(
        default="RCF", choices=FILLS,
        doc="how missing values are filled: by 0, by fill_values, by the value before or behind "
        "them, on the line between these, or by what the forest expects",
    )  # fmt: skip
    fill_values: list[float] | None = param(
        default=None, doc="values for missing ones, one for each column"
    )
    use_imputed_fraction: float = param(
        default=0.5, above=0, high=1,
        doc="points of which this share of the rows or more was missing are not learnt, of "
        "forest_mode=STREAMING_IMPUTE",
    )  # fmt: skip
    scoring_strategy: str = param(
        default="EXPECTED_INVERSE_DEPTH", choices=STRATEGIES,
        doc="what is judged: depth in the trees, distance to the points, anomalies by both, or "
        "anomalies by depth and clear ones by distance",
    )  # fmt: skip
    anomaly_rate: float = param(
        default=0.01, low=0, below=1, doc="discount of the statistics of changes of the score"
    )
    z_factor: float = param(
        default=3.0, above=0, tune=(2.0, 5.0),
        doc="standard deviations above the mean from which a score is an anomaly's; 2 at least",
    )  # fmt: skip
    lower_threshold: float = param(
        default=AUTO, auto=AUTO, low=0,
        doc=f"score below which nothing is an anomaly; auto: {LOWEST}, and with auto_adjust less "
        "where scores are low",
    )  # fmt: skip
    score_differencing: float = param(
        default=0.5, low=0, high=1,
        doc="share of the deviation of scores, as against that of their changes, in the threshold",
    )  # fmt: skip
    noise_factor: float = param(
        default=1.0, low=0,
        doc="deviations of the series' steps by which a value may miss what was expected",
    )  # fmt: skip
    number_of_attributors: int = param(
        default=5, low=1, doc="columns that may be to blame, beyond which none is expected anew"
    )
    auto_adjust: bool = param(
        default=False,
        doc="adjust to drift: no anomaly is what the sample knows to follow, or what a run of "
        "anomalies has become used to",
    )  # fmt: skip
    alert_once_in_drift: bool = param(
        default=False, spelled=("alert_once",), doc="of a run of anomalies, tell the first alone"
    )
    sampling_support: float = param(
        default=0.1, low=0, below=0.2,
        doc="share of the trees that must know a value for auto_adjust to take it for normal",
    )  # fmt: skip
    ignore_near_expected_from_above: list[float] | None = _near("above", "in its unit")
    ignore_near_expected_from_below: list[float] | None = _near("below", "in its unit")
    ignore_near_expected_from_above_by_ratio: list[float] | None = _near("above", "as its share")
    ignore_near_expected_from_below_by_ratio: list[float] | None = _near("below", "as its share")

    def cross_check(self) -> None:
        """Check rules between hyperparameters; raise `UserError`."""
        if self.forest_mode == STREAMING_IMPUTE and self.shingle_size == 1:
            raise UserError(
                "forest_mode=STREAMING_IMPUTE: what is missing is seen from the rows around it; "
                "take a shingle_size > 1"
            )
        if self.imputation_method == "FIXED_VALUES" and self.fill_values is None:
            raise UserError("imputation_method=FIXED_VALUES: give fill_values")
        if self.transform_method == "NONE" and any(w != 1 for w in self.weights or ()):
            raise UserError("weights: transform_method=NONE takes none; take WEIGHTED")
        start: Any = self.start_normalization
        after: Any = self.output_after
        stop = self.stop_normalization
        if start != AUTO and stop is not None and stop < start:
            raise UserError(f"stop_normalization={stop}: must be >= start_normalization={start}")
        if AUTO not in (start, after) and after + self.shingle_size - 1 < start:
            raise UserError(
                f"start_normalization={start}: the first score would come before; take an "
                f"output_after >= {start - self.shingle_size + 1}"
            )

    def check_columns(self, width: int) -> None:
        """Raise `UserError` unless lists have an entry for each of so many columns."""
        for name in ("weights", "fill_values", *IGNORED):
            given = getattr(self, name)
            if given is None:
                continue
            numbers = all(isinstance(v, int | float) and math.isfinite(v) for v in given)
            if len(given) != width or not numbers or (name != "fill_values" and min(given) < 0):
                sign = "" if name == "fill_values" else ", none negative"
                raise UserError(
                    f"{name}={given}: must be a list of {width} numbers, one for each column{sign}"
                )
