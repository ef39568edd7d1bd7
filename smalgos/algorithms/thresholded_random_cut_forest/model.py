"""The detector between two rows of a series."""

from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from smalgos.algorithms.thresholded_random_cut_forest.parameters import (
    ThresholdedRandomCutForestParameters,
)
from smalgos.formats.block import Block
from smalgos.learning.model import Model, as_trained

if TYPE_CHECKING:
    from smalgos.algorithms.thresholded_random_cut_forest.state import (
        ThresholdedRandomCutForestState,
    )


class ThresholdedRandomCutForestModel(Model):
    """All of the state that says what comes next: the series goes on from a model file."""

    algorithm = "thresholded-randomcutforest"
    kernels = "random_cut_forest"

    input_dim: int  # columns of the series
    detector: dict[str, Any] = {}  # noqa: RUF012  fields of the state's part of this name

    @property
    def width(self) -> int:
        """Number of columns of the series."""
        return int(self.input_dim)

    def predict(self, block: Block, **options: Any) -> dict[str, Any]:
        """``score``, ``threshold`` and ``grade``, (n,) each, of each row as if it came next.

        Rows of a request are not taken for a series: nothing is learnt, and each is judged behind
        the rows that the model was trained on.
        """
        from smalgos.algorithms.thresholded_random_cut_forest.state import dense

        detector = self._standing.detector
        found = [detector.judged(x, detector.now) for x in dense(block)]
        return {
            name: np.array([getattr(verdict, name) for verdict in found], np.float64)
            for name in ("score", "threshold", "grade")
        }

    @cached_property
    def _standing(self) -> "ThresholdedRandomCutForestState":
        return self.resumed()

    def resumed(self) -> "ThresholdedRandomCutForestState":
        """A state that goes on from here, with memory of its own.

        Raises
        ------
        UserError
            When the fields are not those of a state.
        """
        from smalgos.algorithms.thresholded_random_cut_forest.state import (
            ThresholdedRandomCutForestState,
        )

        p, spec = as_trained(self, ThresholdedRandomCutForestParameters, self.input_dim)
        own = {f"detector.{name}": value for name, value in self.detector.items()}
        ThresholdedRandomCutForestState.check_size(p, spec, own)
        state = ThresholdedRandomCutForestState(p, spec)
        state.detector.admit(self.detector, np.array)
        return state

    def check(self) -> None:
        """Raise `UserError` unless a series can go on from the fields."""
        assert self._standing is not None


def copied(value: Any) -> Any:
    """An array of its own, and what is no array as it is."""
    return value.copy() if isinstance(value, np.ndarray) else value
