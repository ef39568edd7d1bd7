"""Samplers and trees as a part of a state."""

from collections.abc import Callable, Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from smalgos.algorithms.random_cut_forest import queries
from smalgos.algorithms.streaming_random_cut_forest.parameters import (
    StreamingRandomCutForestParameters,
)
from smalgos.errors import UserError
from smalgos.learning import Part
from smalgos.learning.state import Flat

LEAF = "library"  # the term of leaves that equal a row, as AWS's open library has it


class Forest(Part):
    """A kernels' `CutStream`, whose arrays are the fields.

    It is made with the first point: a file that tells of many large trees takes no memory before
    it has shown that it holds them.

    Parameters
    ----------
    k : kernels
    p : StreamingRandomCutForestParameters
        Resolved.
    width : int
        Coordinates of a point.
    """

    def __init__(self, k: Any, p: StreamingRandomCutForestParameters, width: int) -> None:
        self._k, self._p, self.width = k, p, width
        self._stream: Any = None
        self._forget()

    def _forget(self) -> None:
        self._one: Callable[[NDArray[np.float32]], float] = self._first
        self._answers = False  # whether all scores from now on count

    def _first(self, point: NDArray[np.float32]) -> float:
        self._one = self.stream.score_update_row
        return self._one(point)

    @property
    def stream(self) -> Any:
        """Samplers and trees, empty ones if no point has come."""
        if self._stream is None:
            p = self._p
            self._stream = self._k.CutStream(
                p.num_trees, p.num_samples_per_tree, self.width, p.time_decay,
                p.initial_accept_fraction, p.random_state,
            )  # fmt: skip
        return self._stream

    @property
    def trees(self) -> Any:
        """The trees that stand now."""
        return self.stream.trees

    @property
    def learnt(self) -> int:
        """Points that were learnt, whether or not any tree took them."""
        return 0 if self._stream is None else int(self._stream.seen)

    @property
    def ready(self) -> bool:
        """Whether scores differ from 0."""
        return self.learnt >= self._p.output_after

    def follow(
        self, points: NDArray[np.float32], weights: Any = None, *, scoring: bool = True
    ) -> NDArray[np.float64]:
        """Learn points; the score (n,) of each before it, 0 before the forest is ready."""
        if not scoring:
            self.stream.update(points, weights)
            return np.zeros(len(points))
        unready = max(self._p.output_after - self.learnt, 0)
        scores: NDArray[np.float64] = self.stream.score_update(points, weights)
        scores[:unready] = 0
        return scores

    def follow_row(self, point: NDArray[np.float32]) -> float:
        """As `follow`, of one point (width,)."""
        score = self._one(point)
        if self._answers:
            return score
        self._answers = self.ready
        return score if self.learnt > self._p.output_after else 0.0

    def scores(self, points: NDArray[np.float32]) -> NDArray[np.float64]:
        """The score (n,) of each point by the trees that stand, 0 before the forest is ready."""
        if not self.ready:
            return np.zeros(len(points))
        scores: NDArray[np.float64] = self.trees.scores(points, LEAF)
        return scores

    def imputed(
        self, points: NDArray[np.float32], hidden: NDArray[np.bool_]
    ) -> NDArray[np.float32]:
        """The points with what is hidden as the forest expects it; 0 before it is ready."""
        if not self.ready:
            return np.where(hidden, np.float32(0), points)
        return queries.impute(self.trees, points, hidden, seed=self._p.random_state).median

    # -- as a part of a state

    def snapshot(self, to_host: Callable[[Any], Any] = lambda a: a) -> Flat:
        """The stream's arrays and numbers."""
        if self._stream is None:
            return {}
        return {name: to_host(value) for name, value in self._stream.arrays().items()}

    def restore(self, flat: Mapping[str, Any], put: Callable[[Any], Any] = lambda a: a) -> Self:
        """A stream that goes on from a snapshot.

        Raises
        ------
        UserError
            Where the arrays are not those of a stream.
        """
        self._forget()
        kept = {n: put(v) if isinstance(v, np.ndarray) else v for n, v in flat.items()}
        try:
            self._stream = self._k.CutStream.of(kept) if flat else None
        except (ValueError, KeyError, TypeError, AttributeError) as e:
            raise UserError(f"the forest is none: {e}") from None
        return self

    def _compare(self, flat: Mapping[str, Any]) -> None:
        pass  # `restore` looks at all of it

    def check(self) -> None:
        """Raise `UserError` unless the stream is one of the hyperparameters' shape."""
        if self._stream is None:
            return
        trees, p = self._stream.trees, self._p
        found = trees.trees, trees.capacity, trees.width, self._stream.seed
        if found != (p.num_trees, p.num_samples_per_tree, self.width, p.random_state):
            raise UserError("the samples are not those of a forest of these hyperparameters")
        if not 0 <= self._stream.decay <= 1:
            raise UserError(f"decay={self._stream.decay}: must be from 0 to 1")
