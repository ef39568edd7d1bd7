"""The detector as a state of the driver: rows in, one model out."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smalgos.algorithms.thresholded_random_cut_forest.detector import Detector
from smalgos.algorithms.thresholded_random_cut_forest.model import (
    ThresholdedRandomCutForestModel,
    copied,
)
from smalgos.algorithms.thresholded_random_cut_forest.parameters import TIME_AUGMENTED
from smalgos.algorithms.thresholded_random_cut_forest.result import Telling
from smalgos.errors import NotReady, RowError, UserError
from smalgos.formats.block import Block, Csr
from smalgos.learning.state import Spec, State, require_shaped


class ThresholdedRandomCutForestState(State):
    """A detector that learns rows as they come."""

    kernels = "random_cut_forest"
    merging = "none"  # of two series there is no one

    detector: Detector

    def begin(self, spec: Spec) -> None:
        """Nothing has come yet."""
        self.p.check_columns(spec.width)
        self.detector = Detector(self.k, self.p, spec.width)
        self.telling: Telling | None = None  # gets what is told of each row, if there is one

    @classmethod
    def check_size(cls, parameters: Any, spec: Spec, flat: Mapping[str, Any]) -> None:
        """Raise `UserError` unless a snapshot holds as many rows as would be allocated."""
        p, d = parameters.resolved(spec), spec.width
        timed = p.forest_mode == TIME_AUGMENTED
        for name, shape, dtype in (
            ("first_rows", (p.start_normalization, d), np.float64),
            ("values", (p.shingle_size, d), np.float64),
            ("blocks", (p.shingle_size, d + timed), np.float32),
        ):
            require_shaped(name, flat.get(f"detector.series.{name}"), shape, dtype)

    def update(self, block: Block) -> None:
        """Judge and learn rows in their order; their times are the column ``timestamps``, if any.

        Raises
        ------
        RowError
            For a row with an infinite value, of which nothing is learnt, nor of the block.
        """
        rows = dense(block)
        times = block["timestamps"].tolist() if "timestamps" in block else None
        telling = self.telling or Telling()
        for i, x in enumerate(rows):
            try:
                self.detector.follow(x, self.detector.now if times is None else times[i], telling)
            except UserError as e:
                raise RowError(block.start + i, str(e)) from None

    def finish(self) -> ThresholdedRandomCutForestModel:
        """All that says what comes next, copied."""
        if not self.detector.series.seen:
            raise NotReady("no rows were seen yet")
        return ThresholdedRandomCutForestModel(
            self.k.device, notes={"hyperparameters": self.p.as_dict()}, input_dim=self.spec.width,
            detector=self.detector.snapshot(copied),
        )  # fmt: skip

    def check(self) -> None:
        """Raise `UserError` unless the fields fit."""
        super().check()
        self.detector.check()


def dense(block: Block) -> NDArray[np.float64]:
    """The features (n, d), in which NaN is what is missing; `RowError` where one is infinite."""
    X = block.features
    X = np.asarray(X.toarray() if isinstance(X, Csr) else X)
    bad = np.isinf(X)
    if bad.any():
        i, column = np.argwhere(bad)[0].tolist()
        raise RowError(
            block.start + i,
            f"feature {column} is infinite; fill it, or give NaN for what is missing",
        )
    return X.astype(np.float64)
