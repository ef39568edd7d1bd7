"""The stream: rows become points, points are scored and learnt."""

import copy
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smalgos.algorithms.random_cut_forest import queries
from smalgos.algorithms.streaming_random_cut_forest.forest import LEAF, Forest
from smalgos.algorithms.streaming_random_cut_forest.model import StreamingRandomCutForestModel
from smalgos.algorithms.streaming_random_cut_forest.shingling import Shingle
from smalgos.errors import NotReady, RowError, UserError
from smalgos.formats.block import Block, Csr
from smalgos.learning import AUTO, Pass, Spec, State

BLOCK_BYTES = 1 << 23  # of the points of a block
LARGEST = float(np.finfo(np.float32).max) / 4  # that the sides of a box may add up to


class StreamingRandomCutForestState(State):
    """Samplers, trees and the last rows."""

    kernels = "random_cut_forest"
    merging = "none"

    forest: Forest
    shingle: Shingle
    sampling: bool  # whether points are learnt, not only scored
    clock: float | None  # the last timestamp

    def begin(self, spec: Spec) -> None:
        """Nothing has come yet."""
        p = self.p
        self.forest = Forest(self.k, p, p.point_width(spec.width))
        size = p.shingle_size if p.internal_shingling else 1
        self.shingle = Shingle(size, p.shingle_lag, spec.width, rotating=p.internal_rotation)
        self.sampling, self.clock = True, None
        self._judged: tuple[Any, float] = (None, 0.0)
        self._row = np.zeros(spec.width, np.float32)
        self.limit = LARGEST / self.forest.width
        # Where a row is a point, and nothing is guessed by the row before, none is kept.
        self.bare = size == 1 and not p.impute_missing

    # -- learning

    def next_pass(self) -> Pass | None:
        """The train channel, once."""
        if self.epoch < self.budget:
            return Pass("train", self.update, self.end_pass, rows=self.block_rows, epoch=True)
        return None

    @property
    def block_rows(self) -> int:
        """Rows of a block; the result does not depend on it."""
        return max(min(BLOCK_BYTES // (4 * self.forest.width), 8192), 16)

    def update(self, block: Block) -> None:
        """Learn rows in their order."""
        self.follow(block, scoring=False)

    def follow(self, block: Block, *, scoring: bool = True) -> NDArray[np.float64]:
        """Learn rows in their order; of each, first tell the score.

        Parameters
        ----------
        block : Block
            ``features``; ``weights`` and ``timestamps`` where there are any.
        scoring : bool
            False: answer zeros, which takes far less time.

        Returns
        -------
        ndarray of float64, shape (n,)
            Scores; 0 before `output_after` points were learnt, or while a shingle fills.

        Raises
        ------
        RowError
            For a row that is not finite, or a timestamp before the last one; nothing of the block
            is learnt then.
        """
        rows, weights = self.checked(block), _weights(block)
        left_out = self._left_out(block) if "timestamps" in block else {}
        scores = np.zeros(len(rows))
        for part in self._runs(rows, left_out):
            self._pass_over(left_out.get(part.start, 0))
            run, guessed = rows[part], None
            if self.p.impute_missing and np.isnan(run[0]).any():
                guessed = np.isnan(run)
                run = self.completed(run[0])[None]
            points, shares = (run, None) if self.bare else self.shingle.extend(run, guessed)
            late = slice(part.stop - len(points), part.stop)
            scores[late] = self._take(
                points, shares, None if weights is None else weights[late], scoring
            )
        if "timestamps" in block and len(rows):
            self.clock = float(block["timestamps"][-1])
        return scores

    def follow_row(self, row: Any) -> float:
        """As `follow`, of one row, with as little around it as there can be."""
        x = self._row
        try:
            fits = len(row) == len(x)
            x[:] = row
        except (TypeError, ValueError):
            fits = False
        if not fits:
            raise UserError(f"a row of shape {np.shape(row)}: give {len(x)} numbers")
        shingle = self.shingle
        if not (self.sampling and shingle.pure and self.k.within(x, self.limit)):
            score = float(self.follow(Block.of(x[None]))[0])
        elif self.bare:
            score = self.forest.follow_row(x)
        else:
            shingle.push(x)
            score = self.forest.follow_row(shingle.point) if shingle.full else 0.0
        self.seen += 1
        return score

    def checked(self, block: Block, *, gaps: bool = False) -> NDArray[np.float32]:
        """The features, dense; a row that cannot be used raises `RowError`.

        With `gaps`, or if it is to be imputed, NaN may be used.
        """
        features = block.features
        rows: NDArray[np.float32] = (
            features.toarray() if isinstance(features, Csr) else np.asarray(features, np.float32)
        )
        if not rows.size or max(float(rows.max()), -float(rows.min())) <= self.limit:
            return rows
        missing = np.isnan(rows)
        good = np.abs(rows) <= self.limit
        if gaps or self.p.impute_missing:
            good |= missing
        if not good.all():
            i, column = (int(number) for number in np.argwhere(~good)[0])
            raise RowError(block.start + i, f"feature {column} is {_said(rows[i, column])}")
        return rows

    def _left_out(self, block: Block) -> dict[int, int]:
        """{row: how many rows are missing before it}, by the timestamps."""
        times = np.asarray(block["timestamps"], np.float64)
        before = np.concatenate([[-np.inf if self.clock is None else self.clock], times[:-1]])
        bad = ~(times > before)
        if bad.any():
            i = int(np.argmax(bad))
            raise RowError(
                block.start + i,
                f"its timestamp {times[i]:.15g} does not come behind {before[i]:.15g}: give rows "
                "in the order of time, and one for each time",
            )
        if self.p.interval is None:
            return {}
        count = np.rint((times - before) / self.p.interval) - 1
        gaps = np.flatnonzero((count > 0) & np.isfinite(before))
        return {int(i): int(min(count[i], self.shingle.span)) for i in gaps}

    def _runs(self, rows: NDArray[np.float32], left_out: dict[int, int]) -> Iterator[slice]:
        """Rows that are taken together: one that lacks values stands alone."""
        lacking: list[int] = []
        if self.p.impute_missing:
            lacking = np.flatnonzero(np.isnan(rows).any(axis=1)).tolist()
        cuts = sorted({0, len(rows), *left_out, *lacking, *(i + 1 for i in lacking)})
        return (slice(a, b) for a, b in pairwise(cuts))

    def _pass_over(self, count: int) -> None:
        """So many rows are missing: impute them, or begin the shingle anew."""
        if count and not self.p.impute_missing:
            self.shingle.clear()
            return
        for _ in range(count):
            row = self.completed(np.full(self.spec.width, np.nan, np.float32))[None]
            points, shares = self.shingle.extend(row, np.ones(row.shape, np.bool_))
            self._take(points, shares, None, scoring=False)

    def _take(
        self, points: NDArray[np.float32], shares: NDArray[np.float64] | None, weights: Any,
        scoring: bool,
    ) -> NDArray[np.float64]:  # fmt: skip
        """Learn points, but those of which too large a share was imputed; the scores of all."""
        learnt = np.full(len(points), self.sampling)
        if shares is not None:
            learnt &= (shares == 0) | (shares < self.p.use_imputed_fraction)
        scores = np.zeros(len(points))
        cuts = [0, *(np.flatnonzero(np.diff(learnt)) + 1).tolist(), len(points)]
        for a, b in pairwise(cuts):
            some = None if weights is None else weights[a:b]
            if a < b and learnt[a]:
                scores[a:b] = self.forest.follow(points[a:b], some, scoring=scoring)
            elif a < b and scoring:
                scores[a:b] = self.forest.scores(points[a:b])
        return scores

    def completed(self, row: NDArray[np.float32]) -> NDArray[np.float32]:
        """The row with what it lacks: as the forest expects it, or as the row before had it."""
        missing, shingle = np.isnan(row), self.shingle
        if not (self.forest.ready and shingle.nearly):
            return np.where(missing, shingle.last[-1], row)
        hidden = np.zeros((1, self.forest.width), np.bool_)
        hidden[0, shingle.next_place] = missing
        point = shingle.next_point(np.where(missing, 0, row))[None]
        filled = self.forest.imputed(point, hidden)[0, shingle.next_place]
        return np.where(missing, filled, row)

    # -- what may change on the way

    def sample(self, sampling: bool) -> None:
        """Learn points from now on, or only score them; rows go on to make shingles."""
        self.sampling, self._made = sampling, (None, None)

    def decay(self, time_decay: float) -> None:
        """Let points grow old at another rate from now on."""
        self.forest.stream.set_decay(time_decay)
        self._made = None, None

    # -- asking

    def points(self, block: Block, *, gaps: bool = False) -> NDArray[np.float32]:
        """The points of a query: rows are points, or each the one that would come next.

        Parameters
        ----------
        block : Block
        gaps : bool
            Leave NaN where it is; else it is imputed if that was asked for, or an error.

        Raises
        ------
        UserError
            For rows of another width, or while there are not rows enough for a shingle.
        """
        rows = self.checked(block, gaps=gaps)
        n, given = rows.shape
        if given == self.forest.width:
            points = rows
        elif given != self.spec.width:
            raise UserError(
                f"rows of {given} features: the stream's have {self.spec.width}, and its points "
                f"{self.forest.width}"
            )
        elif not self.shingle.nearly:
            raise NotReady(f"the shingle of {self.p.shingle_size} rows is not full yet")
        else:
            points = np.repeat(self.shingle.next_point(np.zeros(given))[None], n, axis=0)
            points[:, self.shingle.next_place] = rows
        if gaps or not self.p.impute_missing:
            return points
        hidden = np.isnan(points)
        return self.forest.imputed(points, hidden) if hidden.any() else points

    def answers(self, block: Block) -> bool:
        """Whether there are scores: not before `output_after` points were learnt, and not of rows
        that would only fill a shingle."""
        whole = block.features.shape[1] == self.forest.width
        return self.forest.ready and (whole or self.shingle.nearly)

    def score(self, block: Block, **options: Any) -> NDArray[np.float64]:
        """Scores (n,) of points, or of rows as if they came next; the forest stays as it is.

        0 as long as there are none. Options are those of `queries.scores`.
        """
        if not self.answers(block):
            self.checked(block)
            return np.zeros(len(block))
        points = self.points(block)
        if any(options.values()):
            return queries.scores(self.forest.trees, points, LEAF, **options)
        return self.forest.scores(points)

    def attribution(self, block: Block, **options: Any) -> queries.Attribution:
        """Parts of `score`; options are those of `queries.attribution`."""
        if not self.answers(block):
            self.checked(block)
            return queries.Attribution(*np.zeros((2, len(block), self.forest.width)))
        return queries.attribution(self.forest.trees, self.points(block), LEAF, **options)

    def settled(self) -> Any:
        """The trees.

        Raises
        ------
        NotReady
            Before `output_after` points were learnt.
        """
        if not self.forest.ready:
            raise NotReady(
                f"the forest has learnt {self.forest.learnt} points: it answers after "
                f"output_after={self.p.output_after}"
            )
        return self.forest.trees

    def forecast(self, horizon: int, **options: Any) -> queries.Forecast:
        """The rows that come next, one by one, as the forest imputes them behind those before.

        Parameters
        ----------
        horizon : int
        **options
            Of `queries.impute`.

        Returns
        -------
        Forecast
            Of one series: arrays (1, horizon, width).

        Raises
        ------
        UserError
            Without internal shingles of two rows or more, or before there are answers.
        """
        trees, shingle, seed = self.settled(), copy.deepcopy(self.shingle), self.p.random_state
        if shingle.size == 1:
            raise UserError(
                "points of one row tell nothing of what comes next: take a shingle_size above 1, "
                "with internal_shingling=True or shingles to go on from"
            )
        if not shingle.nearly:
            raise NotReady(f"the shingle of {self.p.shingle_size} rows is not full yet")
        if horizon < 1:
            raise UserError(f"horizon={horizon}: give at least 1")
        told = []
        for step in range(horizon):
            place, point = shingle.next_place, shingle.next_point(np.zeros(self.spec.width))
            hidden = np.zeros(len(point), np.bool_)
            hidden[place] = True
            found = queries.impute(trees, point[None], hidden, seed=seed + step, **options)
            told.append([part[0, place] for part in (found.median, found.lower, found.upper)])
            shingle.extend(found.median[:, place])
        return queries.Forecast(*(np.stack(parts)[None] for parts in zip(*told, strict=True)))

    @property
    def offset(self) -> float:
        """Minus the score above which points are anomalies, by those that the trees hold.

        By the share `contamination` of these points, each counted once, or three standard
        deviations above the mean. Remembered until the forest changes.
        """
        now = self.seen, self.forest.learnt
        if self._judged[0] != now:
            held = np.unique(self.forest.trees.plain()["points"], axis=0)
            scores, share = self.forest.scores(held), self.p.contamination
            if not len(held):
                offset = 0.0
            elif share == AUTO:
                offset = -float(scores.mean() + 3 * scores.std())
            else:
                offset = float(np.percentile(-scores, 100 * share))
            self._judged = now, offset
        return self._judged[1]

    # -- as a state

    def check(self) -> None:
        """Raise `UserError` unless the fields fit."""
        super().check()
        self.forest.check()
        self.shingle.check()
        if type(self.sampling) is not bool:
            raise UserError("sampling is neither true nor false")
        if not (self.clock is None or isinstance(self.clock, float)):
            raise UserError("the clock shows no number")

    def finish(self) -> StreamingRandomCutForestModel:
        """All that says what comes next, copied."""
        if not self.seen:
            raise NotReady("the forest has seen no rows yet")
        return StreamingRandomCutForestModel(
            self.k.device,
            notes={"hyperparameters": self.p.as_dict()},
            input_dim=self.spec.width,
            seen=self.seen,
            sampling=self.sampling,
            clock=self.clock,
            forest=self.forest.snapshot(_copied),
            shingle=self.shingle.snapshot(_copied),
        )


def _said(x: Any) -> str:
    if np.isnan(x):
        return "NaN; fill it, remove the row, or take impute_missing=True"
    return "infinite" if np.isinf(x) else f"{x:g}, too large to be added up in float32: scale it"


def _weights(block: Block) -> NDArray[np.float64] | None:
    if block.weights is None:
        return None
    weights = np.asarray(block.weights, np.float64)
    good = (weights >= 0) & (weights < np.inf)
    if not good.all():
        i = int(np.argmin(good))
        raise RowError(block.start + i, f"weight {weights[i]:g}: must be finite, and 0 or more")
    return weights


def _copied(value: Any) -> Any:
    return value.copy() if isinstance(value, np.ndarray) else value
