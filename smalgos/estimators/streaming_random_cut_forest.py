"""Random Cut Forest over streams for scikit-learn."""

from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import OutlierMixin
from sklearn.utils.validation import check_array, check_is_fitted, column_or_1d

from smalgos.algorithms.random_cut_forest import queries
from smalgos.algorithms.streaming_random_cut_forest.forest import LEAF
from smalgos.algorithms.streaming_random_cut_forest.model import StreamingRandomCutForestModel
from smalgos.algorithms.streaming_random_cut_forest.state import StreamingRandomCutForestState
from smalgos.errors import UserError
from smalgos.estimators.base import Estimator
from smalgos.estimators.forest_queries import ForestQueries
from smalgos.formats.block import Block
from smalgos.formats.channel import Arrays, Stream, kinds


class StreamingRandomCutForest(
    ForestQueries, OutlierMixin, Estimator, algorithm="streaming-randomcutforest"  # type: ignore[misc]
):  # fmt: skip
    """Anomaly scores of a stream, by random cut trees that follow it.

    `score_update` scores rows, each before it is learnt; `partial_fit` only learns, `anomaly_score`
    only scores. All three may be mixed, and a saved forest goes on where it was: the forest is the
    same, to the bit, however the stream was cut.

    With `internal_shingling`, rows are those of a series, and points are made of the last
    `shingle_size` of them. Where only scores are asked for, X may hold such points or rows of the
    series; then each is taken for the one that comes next.
    """

    _leaf = LEAF
    state_: StreamingRandomCutForestState

    # -- learning

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None, timestamps: Any = None) -> Self:
        """Forget all, then learn rows in their order.

        Parameters
        ----------
        X : array-like or sparse matrix, shape (n_samples, n_features)
            Taken as float32.
        y : ignored
        sample_weight : array-like, shape (n_samples,), optional
            A row of weight 2 is twice as likely to be in a sample as others; one of weight 0 is
            never.
        timestamps : array-like, shape (n_samples,), optional
            Numbers or datetime64 (then `interval` is in seconds), ascending: they tell where rows
            are missing.

        Returns
        -------
        self

        Raises
        ------
        UserError
            For bad data or hyperparameters; a kind of ValueError.
        """
        block = self._stream_block(X, sample_weight, timestamps, reset=True)
        begun: Any = self._begin(block, {"train": Arrays(block)})
        self.state_ = begun
        return self._train({"train": Arrays(block)})

    def partial_fit(
        self, X: Any, y: Any = None, sample_weight: Any = None, timestamps: Any = None
    ) -> Self:
        """Learn the next rows; parameters as those of `fit`."""
        block = self._next_block(X, sample_weight, timestamps)
        self.state_.again()
        return self._train({"train": Arrays(block)})

    def score_update(
        self, X: Any, sample_weight: Any = None, timestamps: Any = None
    ) -> NDArray[np.float64]:
        """Score the next rows, each before it is learnt.

        `smalgos.plot.AnomalyTimelineDisplay` draws scores over time.

        Parameters
        ----------
        X, sample_weight, timestamps
            As those of `fit`.

        Returns
        -------
        ndarray of float64, shape (n_samples,)
            Below 1 for most rows, at most log2(num_samples_per_tree + 1); 0 before `output_after`
            points were learnt, and while the first shingle fills.
        """
        block, state = self._next_block(X, sample_weight, timestamps), self.state_
        scores = np.zeros(len(block))
        with self._working(state.k):
            for part in block.batches(state.block_rows):
                scores[part.start : part.start + len(part)] = state.follow(part)
                state.seen += len(part)
        return scores

    def score_update_one(self, x: Any) -> float:
        """As `score_update`, of one row (n_features,), in a few microseconds."""
        state = getattr(self, "state_", None)
        return float(self.score_update([x])[0]) if state is None else state.follow_row(x)

    def pause_sampling(self) -> Self:
        """From now on rows are scored, but not learnt."""
        self._check_fitted()
        self.state_.sample(False)
        return self

    def continue_sampling(self) -> Self:
        """From now on rows are learnt again."""
        self._check_fitted()
        self.state_.sample(True)
        return self

    def set_decay(self, time_decay: float) -> Self:
        """Let points grow old at another rate from now on, without forgetting any.

        Parameters
        ----------
        time_decay : float
            The hyperparameter, which later calls of `fit` take, too.
        """
        self._check_fitted()
        decay = self.algorithm.parameters.table["time_decay"].check(time_decay)
        if isinstance(decay, str):
            raise UserError(f"time_decay={decay}: give a number")
        self.state_.decay(decay)
        self.time_decay = time_decay
        return self

    # -- asking

    def anomaly_score(
        self, X: Any, *, ignore_leaf_mass: int = 0, precision: float = 0.0
    ) -> NDArray[np.float64]:
        """Scores (n_samples,) by the forest that stands; the larger, the more abnormal.

        Parameters
        ----------
        X : array-like or sparse matrix
            Shape (n_samples, n_features), of rows as they come, or (n_samples, coordinates), of
            points: whole shingles. A row is scored as if it came next.
        ignore_leaf_mass : int
            Leaves that equal the point do not count up to this mass: the score as if the point had
            never come. 0: all count.
        precision : float
            Above 1 / num_trees: look at trees only until 1 / precision of them find the point
            abnormal; 0.1 is usual.

        Returns
        -------
        ndarray of float64, shape (n_samples,)
            0 before `output_after` points were learnt.
        """
        block = self._asked(X)
        with self._answering():
            return self.state_.score(block, ignore_leaf_mass=ignore_leaf_mass, precision=precision)

    def score_samples(self, X: Any) -> NDArray[np.float64]:
        """The negative of `anomaly_score`."""
        return -self.anomaly_score(X)

    def decision_function(self, X: Any) -> NDArray[np.float64]:
        """`score_samples` less `offset_`: negative for anomalies."""
        return self.score_samples(X) - self.offset_

    def predict(self, X: Any) -> NDArray[np.int64]:
        """-1 for anomalies, 1 for all other rows."""
        return np.where(self.decision_function(X) < 0, -1, 1)

    @property
    def offset_(self) -> float:
        """Where anomalies begin, by the scores of the points that the trees hold now.

        It takes some milliseconds to find out once the forest has changed.
        """
        self._check_fitted()
        with self._answering():
            return self.state_.offset

    def attribution(self, X: Any, *, ignore_leaf_mass: int = 0) -> queries.Attribution:
        """Which coordinates of the points the scores are due to, and in which direction.

        Parameters as those of `anomaly_score`.

        Returns
        -------
        Attribution
            ``high``, what is due to a coordinate being large, and ``low``, (n_samples, coordinates)
            each; their total is the score.
        """
        block = self._asked(X)
        with self._answering():
            return self.state_.attribution(block, ignore_leaf_mass=ignore_leaf_mass)

    def dynamic_score(
        self, X: Any, seen: Any, unseen: Any, damp: Any, *, ignore_leaf_mass: int = 0
    ) -> NDArray[np.float64]:
        """Scores by functions of yours in the place of the expected inverse depth.

        Parameters
        ----------
        X
            As that of `anomaly_score`.
        seen, unseen, damp : callable
            See `smalgos.algorithms.random_cut_forest.queries.dynamic_scores`.
        ignore_leaf_mass : int
        """
        trees, points, _ = self._trees_and_points(X)
        with self._answering():
            return queries.dynamic_scores(
                trees, points, seen, unseen, damp, ignore_leaf_mass=ignore_leaf_mass
            )

    def arrivals(self, X: Any) -> list[NDArray[np.int64]]:
        """When points that the forest holds came, `neighbours` say.

        Parameters
        ----------
        X
            As that of `anomaly_score`; each must equal a point that is held.

        Returns
        -------
        list of ndarray of int64
            For each of X the numbers of the points that equal it, ascending: 0 for the first one
            that was learnt.
        """
        _, points, _ = self._trees_and_points(X)
        return self.state_.forest.stream.arrivals(points)  # type: ignore[no-any-return]

    def forecast(
        self, horizon: int, shingles: Any = None, *, centrality: float = 1.0,
        percentile: float = 0.9,
    ) -> queries.Forecast:  # fmt: skip
        """What comes next: rows imputed one by one, each behind those before.

        Parameters
        ----------
        horizon : int
            Rows.
        shingles : array-like, shape (n, coordinates), optional
            Points to go on from, whose rows stand oldest first, one behind the other; the last
            rows of the stream if it is not given.
        centrality, percentile : float
            See `impute`.

        Returns
        -------
        Forecast
            ``values``, ``lower`` and ``upper``, (n, horizon, features of a row) each; n is 1 for
            the stream itself.
        """
        self._check_fitted()
        state, seed = self.state_, self.state_.p.random_state
        with self._answering():
            if shingles is None:
                return state.forecast(horizon, centrality=centrality, percentile=percentile)
            if self.internal_rotation or self.shingle_lag > 1:
                raise UserError(
                    "with internal_rotation or shingle_lag only the stream is continued"
                )
            return queries.extrapolate(
                state.settled(), shingles, horizon, state.forest.width // self.shingle_size,
                centrality=centrality, seed=seed, percentile=percentile,
            )  # fmt: skip

    @property  # type: ignore[override]
    def model_(self) -> StreamingRandomCutForestModel:
        """The forest as it stands, a copy."""
        model: StreamingRandomCutForestModel = self.state_.model()
        if hasattr(self, "feature_names_in_"):
            model.notes["feature_names"] = [str(n) for n in self.feature_names_in_]
        return model

    @model_.setter
    def model_(self, model: StreamingRandomCutForestModel) -> None:
        self.state_ = model.resumed()

    # -- files

    def save(self, path: str | Path, *, state: bool = False) -> None:
        """Write one safetensors file, from which the stream goes on.

        Parameters
        ----------
        path : str or Path
        state : bool
            Of no use: all of the state is kept in any case.

        Raises
        ------
        UserError, PlatformError
            When the file cannot be written.
        """
        self._check_fitted()
        self.model_.save(path)

    # -- the data

    def _stream_block(self, X: Any, sample_weight: Any, timestamps: Any, *, reset: bool) -> Block:
        """Rows in the order of time, with what is told of them."""
        block = self._block(X, None, sample_weight, reset=reset)
        if timestamps is None:
            return block
        times = column_or_1d(timestamps)
        if times.dtype.kind == "M":
            times = times.astype("datetime64[ns]").astype(np.int64) / 1e9
        times = times.astype(np.float64)
        if len(times) != len(block):
            raise UserError(f"{len(times)} timestamps of {len(block)} rows")
        bad = ~(np.diff(times) > 0) if np.isfinite(times).all() else ~np.isfinite(times[1:])
        if bad.any():
            raise UserError(
                f"timestamps, row {int(np.argmax(bad)) + 1}, counted from 0: each must be a number "
                "above the one before"
            )
        return block.replace(timestamps=times)

    def _next_block(self, X: Any, sample_weight: Any, timestamps: Any) -> Block:
        """The next rows, checked, for a state that is there."""
        fresh = not hasattr(self, "state_")
        block = self._stream_block(X, sample_weight, timestamps, reset=fresh)
        state: Any = self._begin(block, {"train": Arrays(block)}) if fresh else self.state_
        with self._working(state.k):  # before any of them is learnt
            for part in block.batches(state.block_rows):
                state.checked(part)
        state.spec = replace(state.spec, columns=kinds(block))
        self.state_ = state
        return block

    def _asked(self, X: Any) -> Block:
        """Rows of a query: of the stream's width or of its points'."""
        self._check_fitted()
        width = self.state_.forest.width
        if width != self.n_features_in_ and np.shape(X)[1:] == (width,):
            return Block.of(
                check_array(
                    X, accept_sparse="csr", dtype=np.float32, order="C", ensure_all_finite=False
                )
            )
        return self._block(X)

    def _trees_and_points(self, X: Any, missing: Any = None) -> tuple[Any, Any, Any]:
        block = self._asked(X)
        with self._answering():
            return self.state_.settled(), self.state_.points(block, gaps=True), missing

    def _answering(self) -> Any:
        return self._working(self.state_.k)

    def _train(self, channels: dict[str, Stream]) -> Self:
        self._learn(channels)
        return self

    def _check_fitted(self) -> None:
        check_is_fitted(self, "state_")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = bool(self.impute_missing)
        return tags
