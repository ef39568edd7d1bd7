"""A forest as it stands between two rows of a stream."""

from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from smalgos.algorithms.streaming_random_cut_forest.parameters import (
    StreamingRandomCutForestParameters,
)
from smalgos.formats.block import Block
from smalgos.learning.model import Model, as_trained

if TYPE_CHECKING:
    from smalgos.algorithms.streaming_random_cut_forest.state import StreamingRandomCutForestState


class StreamingRandomCutForestModel(Model):
    """All of the state that says what comes next: the stream goes on from a model file."""

    algorithm = "streaming-randomcutforest"
    kernels = "random_cut_forest"
    optional = ("clock", "forest")  # without a timestamp; before the first shingle is full

    input_dim: int  # features of a row
    seen: int  # rows
    sampling: bool
    clock: float | None = None
    forest: dict[str, Any] = {}  # noqa: RUF012  fields of the state's parts of these names
    shingle: dict[str, Any] = {}  # noqa: RUF012

    @property
    def width(self) -> int:
        """Number of features of a row of the stream."""
        return int(self.input_dim)

    def predict(self, block: Block, **options: Any) -> dict[str, Any]:
        """``{"score": (n,)}``: of each row as if it came next; the forest stays as it is.

        Parameters
        ----------
        block : Block
            Of rows of the stream; where shingles are made of them, points will do, too.
        **options
            ``verbose``: ``predicted_label`` (n,) as well, 1 of anomalies, and how much of the score
            is because a coordinate of the point is too large, ``attribution_high``, or too small,
            ``attribution_low``, (n, coordinates) each.
        """
        state = self.standing
        score = state.score(block)
        if not options.get("verbose"):
            return {"score": score}
        high, low = state.attribution(block)
        labels = (-score < state.offset).astype(np.int64)
        return {
            "score": score, "predicted_label": labels, "attribution_high": high,
            "attribution_low": low,
        }  # fmt: skip

    @cached_property
    def standing(self) -> "StreamingRandomCutForestState":
        """A state that is only asked."""
        return self.resumed()

    def resumed(self) -> "StreamingRandomCutForestState":
        """A state that goes on from here, with memory of its own.

        Raises
        ------
        UserError
            When the fields are not those of a state.
        """
        from smalgos.algorithms.streaming_random_cut_forest.state import (
            StreamingRandomCutForestState,
        )

        p, spec = as_trained(self, StreamingRandomCutForestParameters, self.input_dim)
        state = StreamingRandomCutForestState(p, spec)
        own = self.snapshot()
        del own["input_dim"]
        place = {name: getattr(state, name) for name in ("passes", "row", "epoch", "budget")}
        return state.admit(place | own, np.array)

    def check(self) -> None:
        """Raise `UserError` unless a stream can go on from the fields."""
        assert self.standing is not None
