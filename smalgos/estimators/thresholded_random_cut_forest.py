"""Thresholded Random Cut Forest for scikit-learn."""

from dataclasses import replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from smalgos.algorithms.thresholded_random_cut_forest.model import ThresholdedRandomCutForestModel
from smalgos.algorithms.thresholded_random_cut_forest.result import (
    Anomalies,
    Anomaly,
    Forecast,
    Telling,
)
from smalgos.algorithms.thresholded_random_cut_forest.state import (
    ThresholdedRandomCutForestState,
    dense,
)
from smalgos.errors import UserError
from smalgos.estimators.base import Estimator
from smalgos.formats.block import Block
from smalgos.formats.channel import kinds
from smalgos.learning.model import Model
from smalgos.learning.rows import host


class ThresholdedRandomCutForest(Estimator, algorithm="thresholded-randomcutforest"):
    """Anomalies in a series, row by row: each with a grade, what is to blame, what was expected.

    Rows are a series: they are judged, and learnt, in the order in which they come, by `process`
    one by one, by `detect` and `partial_fit` many at a time, to the same bytes. NaN is a value that
    is missing; `imputation_method` fills it. Values nearer than 0.001 to what was expected are
    never anomalies: scale columns of tiny units.

    Attributes
    ----------
    anomalies_ : Anomalies
        What was told of the rows of the last `fit`, `partial_fit` or `detect`.
    """

    state_: ThresholdedRandomCutForestState
    anomalies_: Anomalies

    # -- learning

    def fit(self, X: Any, y: Any = None, *, timestamps: Any = None) -> Self:
        """Forget what was learnt, and follow a series from its first row.

        Parameters
        ----------
        X : array-like or sparse matrix, shape (n_samples, n_features)
            Taken as float32; NaN is missing.
        y : ignored
        timestamps : array-like of integers, shape (n_samples,), optional
            When the rows came, in any unit; 0, 1, 2, ... if not given. They must rise where
            forest_mode="STREAMING_IMPUTE".

        Returns
        -------
        self

        Raises
        ------
        UserError
            For bad data or hyperparameters; a kind of ValueError.
        """
        block = self._finite_block(X, reset=True)
        self.state_ = self._new_state(block)
        return self._follow(block, timestamps)

    def partial_fit(self, X: Any, y: Any = None, *, timestamps: Any = None) -> Self:
        """Follow the series on; parameters as those of `fit`, times go on from the last one."""
        fresh = not hasattr(self, "state_")
        block = self._finite_block(X, reset=fresh)
        if fresh:
            self.state_ = self._new_state(block)
        self.state_.again()
        return self._follow(block, timestamps)

    def detect(self, X: Any, timestamps: Any = None) -> Anomalies:
        """Follow the series on, and tell of each row; parameters as those of `partial_fit`."""
        return self.partial_fit(X, timestamps=timestamps).anomalies_

    def process(self, row: Any, timestamp: int | None = None, missing: Any = None) -> Anomaly:
        """Judge and learn one row.

        Parameters
        ----------
        row : array-like, shape (n_features,)
            Or one number, of a series of one column.
        timestamp : int, optional
            One more than the last if not given.
        missing : array-like of int, optional
            Columns whose values are missing, whatever the row holds there; as NaN.

        Returns
        -------
        Anomaly

        Raises
        ------
        UserError
            For a row of another length or with infinite values, a column that there is not, or a
            time that is no integer, or not later than the last where
            forest_mode="STREAMING_IMPUTE".
        """
        x = np.array(row, np.float32).reshape(-1).astype(np.float64)
        if missing is not None:
            x[self._columns(missing, len(x))] = np.nan
        if not hasattr(self, "state_"):
            self.n_features_in_ = len(x)
            self.state_ = self._new_state(Block.of(x[None].astype(np.float32)))
        if len(x) != self.n_features_in_:
            raise UserError(f"a row of {len(x)} values: the series has {self.n_features_in_}")
        if np.isinf(x).any():
            raise UserError(
                f"feature {int(np.argmax(np.isinf(x)))} is infinite; give NaN for what is missing"
            )
        detector = self.state_.detector
        when = detector.now if timestamp is None else int(_times([timestamp], 1)[0])
        with self.state_.k.threads(self.n_jobs):
            told = detector.process(x, when)
        self.state_.seen += 1
        return told

    def fit_predict(self, X: Any, y: Any = None, *, timestamps: Any = None) -> NDArray[np.int64]:
        """`fit`, and the labels of the rows: (n_samples,), -1 for anomalies, 1 for others."""
        return self.fit(X, timestamps=timestamps).anomalies_.labels

    def predict(self, X: Any, timestamps: Any = None) -> NDArray[np.int64]:
        """Labels of the rows to come: (n_samples,), -1 for anomalies, 1 for others.

        They are judged in their order, behind those that were learnt, by a copy that learns them:
        the estimator stays as it is.
        """
        self._check_fitted()
        block = self._finite_block(X)
        other = type(self)(**self.get_params())
        other.n_features_in_, other.state_ = self.n_features_in_, self.model_.resumed()
        return other._follow(block, timestamps).anomalies_.labels

    def _new_state(self, block: Block) -> ThresholdedRandomCutForestState:
        state = self._begin(block, {"train": None})  # type: ignore[dict-item]
        assert isinstance(state, ThresholdedRandomCutForestState)
        return state

    def _follow(self, block: Block, timestamps: Any) -> Self:
        """Let the driver pass rows to the state, and keep what is told of them."""
        state, n = self.state_, len(block)
        if timestamps is None:
            times = np.arange(state.detector.now, state.detector.now + n, dtype=np.int64)
        else:
            times = _times(timestamps, n)
        block = block.replace(timestamps=times)
        state.spec = replace(state.spec, columns=kinds(block))
        state.telling = telling = Telling()
        try:
            self._train(self._channels(block))
        finally:
            state.telling = None
        self.anomalies_ = telling.told()
        return self

    def _finite_block(self, *given: Any, reset: bool = False, name: str = "X") -> Block:
        block = self._block(*given, reset=reset)
        with self._working(host()):
            dense(block)
        return block

    @staticmethod
    def _columns(missing: Any, width: int) -> NDArray[np.int64]:
        columns = np.asarray(missing).reshape(-1)
        if not columns.size:
            return np.zeros(0, np.int64)
        if columns.dtype.kind not in "iu" or columns.min() < 0 or columns.max() >= width:
            raise UserError(f"missing={missing}: must be numbers of columns, 0 to {width - 1}")
        return columns.astype(np.int64)

    # -- asking

    def forecast(
        self, horizon: int = 1, *, centrality: float = 1.0, correct: bool = True
    ) -> Forecast:
        """The rows to come, as the forest imputes them one by one.

        Parameters
        ----------
        horizon : int
            How many.
        centrality : float
            1: of each tree the most usual row; 0: a random one of those that may follow, which
            widens the limits.
        correct : bool
            Whether to leave the last anomaly out, where it is still among the last rows.

        Returns
        -------
        Forecast

        Raises
        ------
        UserError
            For shingle_size=1, and before the forest gives scores.
        """
        self._check_fitted()
        if type(horizon) is not int or horizon < 1:
            raise UserError(f"horizon={horizon!r}: must be an integer >= 1")
        if not 0 <= centrality <= 1:
            raise UserError(f"centrality={centrality!r}: must be a number >= 0 and <= 1")
        with self.state_.k.threads(self.n_jobs):
            return self.state_.detector.forecast(horizon, centrality, correct=correct)

    # -- the model is made when it is asked for, not with each row

    @property
    def model_(self) -> ThresholdedRandomCutForestModel:
        """The detector as it stands, which may be saved."""
        if not hasattr(self, "state_"):
            raise AttributeError(f"this {type(self).__name__} has learnt nothing yet")
        model: ThresholdedRandomCutForestModel = self.state_.model()
        if hasattr(self, "feature_names_in_"):
            model.notes["feature_names"] = [str(name) for name in self.feature_names_in_]
        return model

    @model_.setter
    def model_(self, model: Model) -> None:
        pass  # it was made of the state

    def _check_fitted(self) -> None:
        if not hasattr(self, "state_"):
            super()._check_fitted()

    def _restore(self, model: Model) -> None:
        assert isinstance(model, ThresholdedRandomCutForestModel)
        super()._restore(model)
        self.state_ = model.resumed()

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags


def _times(given: Any, n: int) -> NDArray[np.int64]:
    """Timestamps (n,), checked."""
    times = np.asarray(given)
    whole = times.dtype.kind in "iu" or (
        times.dtype.kind == "f" and (times == np.floor(times)).all()
    )
    if times.dtype.kind == "M":
        times, whole = times.astype("datetime64[s]").astype(np.int64), True
    if times.shape != (n,) or not whole:
        raise UserError(f"timestamps: must be {n} integers, one for each row")
    if len(times) and np.abs(times.astype(np.float64)).max() >= 2.0**53:
        raise UserError("timestamps: must be less than 2**53; take a larger unit")
    return times.astype(np.int64)
