"""Trees, and how far from all else they say that a row is."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smalgos.algorithms.random_cut_forest.forest import Forest
from smalgos.errors import UserError
from smalgos.formats.block import Block, Csr
from smalgos.learning import Model, require_number
from smalgos.learning.rows import check_finite
from smalgos.learning.series import shingled

ROWS = 16384  # that are made dense, or joined to shingles, at a time
LEAF = "container"  # how a row scores that is in a tree itself


class RandomCutForestModel(Model):
    """A forest, the score that tells anomalies, and what its points are made of."""

    algorithm = "randomcutforest"
    kernels = "random_cut_forest"

    forest: Forest
    threshold: float  # score above which a row is an anomaly
    shingle_size: int  # rows of a series that are a point

    def __init__(self, device: str = "cpu", notes: Any = None, **values: Any) -> None:
        self.forest = Forest(device)
        super().__init__(device, notes, **values)

    def __setstate__(self, kept: dict[str, Any]) -> None:
        self.forest = Forest(kept["device"])
        super().__setstate__(kept)

    @property
    def trees(self) -> Any:
        """The trees as the kernels have them."""
        return self.forest.trees

    @property
    def width(self) -> int:
        """Number of features of a point."""
        return int(self.trees.width)

    @property
    def row_width(self) -> int:
        """Number of features of a row of the series."""
        return self.width // self.shingle_size

    # -- answers

    def predict(self, block: Block, **options: Any) -> dict[str, Any]:
        """``{"score": (n,)}``: below 1 for most rows, at most log2(rows of a tree + 1).

        Parameters
        ----------
        block : Block
            Of points; or of the rows of a series, of which those without a full shingle, the
            first ones, score 0.
        **options
            ``verbose``: ``predicted_label`` (n,) as well, 1 of anomalies, and how much of the score
            is because a feature is too large, ``attribution_high`` (n, width), or too small,
            ``attribution_low``.
        """
        check_finite(block, self.k)
        score = self.scores(block.features)
        if not options.get("verbose"):
            return {"score": score}
        high, low = self.attribution(block.features)
        labels = (score > self.threshold).astype(np.int64)
        return {
            "score": score, "predicted_label": labels, "attribution_high": high,
            "attribution_low": low,
        }  # fmt: skip

    def scores(self, features: Any) -> NDArray[np.float64]:
        """Scores (n,) of points or of the rows of a series."""
        found = [self.trees.scores(points, LEAF) for points in self.points(features)]
        return _behind(features, found)

    def attribution(self, features: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(high, low), (n, width) each: shares of the scores by feature and direction."""
        found = [self.k.attribution(self.trees, points, LEAF) for points in self.points(features)]
        high, low = zip(*found, strict=True) if found else ((), ())
        return _behind(features, high, self.width), _behind(features, low, self.width)

    def points(self, features: Any) -> Iterator[NDArray[np.float32]]:
        """Points of rows, some at a time.

        Raises
        ------
        UserError
            When rows are of another width.
        """
        n, given = features.shape
        if given == self.width:
            for rows in self.k.chunks(n, ROWS) if isinstance(features, Csr) else [slice(0, n)]:
                part = features[rows]
                yield part.toarray() if isinstance(part, Csr) else part
            return
        if given != self.row_width:
            raise UserError(f"rows of {given} features: the model was trained on {self.row_width}")
        before = self.shingle_size - 1
        for ends in self.k.chunks(max(n - before, 0), ROWS):
            part = features[ends.start : ends.stop + before]
            yield shingled(part, np.arange(before, part.shape[0]), self.shingle_size)

    # -- files

    def check(self) -> None:
        """Raise `UserError` unless the fields are what `predict` relies on."""
        self.forest.check()
        require_number("threshold", self.threshold)
        size = self.shingle_size
        if type(size) is not int or size < 1 or self.width % size:
            raise UserError(f"shingle_size={size!r} of points of {self.width} features")


def _behind(features: Any, parts: Any, *shape: int) -> NDArray[np.float64]:
    """The parts, joined, behind zeros for the first rows, which have none."""
    n = features.shape[0]
    missing = n - sum(map(len, parts))
    return np.concatenate([np.zeros((missing, *shape)), *parts])
