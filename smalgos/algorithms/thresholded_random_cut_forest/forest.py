"""The forest behind the scores: what it is asked, one point at a time."""

import numpy as np
from numpy.typing import NDArray

from smalgos.algorithms.random_cut_forest import queries
from smalgos.algorithms.streaming_random_cut_forest.forest import LEAF
from smalgos.algorithms.streaming_random_cut_forest.forest import Forest as Stream

Floats = NDArray[np.float64]
Points = NDArray[np.float32]


class Forest(Stream):
    """A streaming forest; before `output_after` rows, all scores are 0."""

    @property
    def ready(self) -> bool:
        """Whether scores differ from 0.

        As in the open library, rows that fill the first point count: the high scores of the first
        few points keep thresholds up until there are better ones.
        """
        before_first = int(self._p.shingle_size) - 1
        return self.learnt > 0 and self.learnt + before_first >= self._p.output_after

    def update(self, point: Points) -> None:
        """Learn a point."""
        self.follow_row(point)  # which scores it, too: that takes less time than a block of one

    def score(self, point: Points) -> float:
        """Its score by depth."""
        return float(self.trees.score(point, LEAF)) if self.ready else 0.0

    def attribution(self, point: Points) -> Floats:
        """What each coordinate gives to that: (2, coordinates), by being too high, too low."""
        if not self.ready:
            return np.zeros((2, self.width))
        high, low = queries.attribution(self.trees, point[None], LEAF)
        return np.stack([high[0], low[0]])

    def distances(self, point: Points) -> Floats:
        """How far the coordinates are from other points: (2, coordinates), above, below them."""
        if not self.ready:
            return np.zeros((2, self.width))
        high, low = queries.density(self.trees, point[None]).distances
        return np.stack([high[0], low[0]])

    def impute(self, point: Points, missing: NDArray[np.bool_]) -> Points:
        """The point with the missing coordinates as they are expected."""
        filled: Points = queries.impute(self.trees, point[None], missing).median[0]
        return filled

    def neighbours(self, point: Points) -> tuple[Points, Floats, NDArray[np.int64]]:
        """The points that trees find for it: points (n, coordinates), distances, counts (n,)."""
        return queries.neighbours(self.trees, point[None])[0]

    def extrapolate(
        self, point: Points, columns: int, horizon: int, centrality: float
    ) -> tuple[Floats, Floats, Floats]:
        """The next rows (horizon, columns) behind a point of rows, and their limits."""
        seed = int(self._p.random_state)
        found = queries.extrapolate(
            self.trees, point[None], horizon, columns, centrality=centrality, seed=seed
        )
        parts = found.values[0], found.lower[0], found.upper[0]
        values, lower, upper = (part.astype(np.float64) for part in parts)
        return values, lower, upper
