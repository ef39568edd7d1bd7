"""What is done to the columns of a series before the forest sees them, and undone behind it.

A value x becomes ``weight * (x - center) / scale``, float32; of differenced transforms, its step
from the row before does. Center and scale come from the statistics of the rows before.

====================== ============================= ========================= =======
transform              center                        scale                     clipped
====================== ============================= ========================= =======
NONE, WEIGHTED         0                             1                         no
SUBTRACT_MA            mean                          1                         no
NORMALIZE              mean                          smoothed deviation + 1    at 100
DIFFERENCE             row before                    1                         no
NORMALIZE_DIFFERENCE   row before + mean step        deviation of steps + 1    at 100
====================== ============================= ========================= =======
"""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from smalgos.algorithms.thresholded_random_cut_forest.statistics import (
    CHANGE,
    DRIFT,
    SPREAD,
    VALUE,
    Moments,
)

Floats = NDArray[np.float64]
CLIP = 100.0


class Frame(NamedTuple):
    """``scale * point + shift`` are the values that the forest sees as `point`."""

    scale: Floats  # (d,); 0 where the weight is 0
    shift: Floats  # (d,)


@dataclass(frozen=True)
class Transform:
    """One of the methods, with the weights of the columns (d,)."""

    method: str
    weights: Floats

    @property
    def differenced(self) -> bool:
        """Whether it is steps that the forest sees."""
        return self.method in ("DIFFERENCE", "NORMALIZE_DIFFERENCE")

    def _center(self, m: Moments) -> Floats:
        center: Floats = np.zeros(len(self.weights))
        if self.method in ("SUBTRACT_MA", "NORMALIZE"):
            center = m.mean[VALUE]
        elif self.method == "NORMALIZE_DIFFERENCE":
            center = m.mean[CHANGE]
        return center

    def _scale(self, m: Moments) -> Floats:
        scale: Floats = np.ones(len(self.weights))
        if self.method == "NORMALIZE":
            scale = np.abs(m.mean[SPREAD]) + 1.0
        elif self.method == "NORMALIZE_DIFFERENCE":
            scale = m.deviation[CHANGE] + 1.0
        return scale

    def frame(self, m: Moments, previous: Floats) -> Frame:
        """How to go back from points to values, of the row behind `previous`."""
        return self._frame(self._center(m), self._scale(m), previous)

    @cached_property
    def _per_weight(self) -> Floats:
        w, out = self.weights, np.zeros(len(self.weights))
        return np.divide(1.0, w, out=out, where=w > 0)

    def _frame(self, center: Floats, scale: Floats, previous: Floats) -> Frame:
        return Frame(scale * self._per_weight, center + previous if self.differenced else center)

    def forward(self, x: Floats, previous: Floats | None, m: Moments) -> NDArray[np.float32]:
        """What the forest sees of row x (d,); `previous` is None for the first row."""
        return self._point(x, previous, self._center(m), self._scale(m))

    def _point(
        self, x: Floats, previous: Floats | None, center: Floats, scale: Floats
    ) -> NDArray[np.float32]:
        if self.differenced:
            x = x - previous if previous is not None else np.zeros(len(x))
        z = (x - center) / scale
        if self.method.startswith("NORMALIZE"):
            np.minimum(np.maximum(z, -CLIP, out=z), CLIP, out=z)
        z *= self.weights
        return z.astype(np.float32)

    def both(self, x: Floats, previous: Floats, m: Moments) -> tuple[NDArray[np.float32], Frame]:
        """`forward` and `frame` of a row, in less time."""
        center, scale = self._center(m), self._scale(m)
        return self._point(x, previous, center, scale), self._frame(center, scale, previous)

    def inverse(self, z: NDArray[np.float32], previous: Floats, m: Moments) -> Floats:
        """The row that the forest sees as z (d,), clipping apart."""
        scale, shift = self.frame(m, previous)
        return scale * z + shift

    def forecast(
        self, values: Floats, lower: Floats, upper: Floats, previous: Floats, m: Moments
    ) -> tuple[Floats, Floats, Floats]:
        """Forecasts (steps, d) of points, and their limits, as values.

        Steps are added up from the row `previous`; other values follow the mean drift, which
        points of the past do not know.
        """
        scale, center = self.frame(m, np.zeros(len(self.weights)))
        if self.differenced:
            at = previous + np.cumsum(scale * values + center, axis=0)
            before = np.vstack([previous, at[:-1]])
            low, high = (before + scale * z + center for z in (lower, upper))
            return at, low, high
        drift = np.arange(len(values))[:, None] * m.mean[DRIFT]
        at, low, high = (scale * z + center + drift for z in (values, lower, upper))
        return at, low, high
