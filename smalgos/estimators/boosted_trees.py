"""Boosted trees for scikit-learn."""

from collections.abc import Iterator
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import RegressorMixin
from sklearn.utils.metaestimators import available_if

from smalgos.algorithms.xgboost.model import BoostedTreesModel
from smalgos.errors import UserError
from smalgos.estimators.base import Classifier, Estimator
from smalgos.formats.block import Block
from smalgos.formats.channel import Arrays, Stream
from smalgos.learning.model import Model
from smalgos.learning.parameters import AUTO

WARM_START = """
warm_start : bool, default=False
    Let `fit` go on from where the last one ended, with `num_round` rounds more."""


class BoostedTrees(Estimator):
    """What classifier, regressor and ranker have in common."""

    model_: BoostedTreesModel
    extra = {"warm_start": False}  # noqa: RUF012
    extra_doc = WARM_START

    def fit(
        self, X: Any, y: Any, sample_weight: Any = None, X_val: Any = None, y_val: Any = None
    ) -> Self:
        """Learn from rows.

        Parameters
        ----------
        X : array-like or sparse matrix, shape (n_samples, n_features)
            Taken as float32. NaN is missing, and so is what a sparse matrix does not store.
        y : array-like, shape (n_samples,)
        sample_weight : array-like, shape (n_samples,), optional
        X_val, y_val : array-like, optional
            Rows that metrics are taken of after each round; with `early_stopping_rounds` they stop
            training.

        Returns
        -------
        self

        Raises
        ------
        UserError
            For bad data or hyperparameters; a kind of ValueError.
        """
        return self._fit(X, y, sample_weight, X_val, y_val)

    def _finite_block(self, *given: Any, reset: bool = False, name: str = "X") -> Block:
        return self._block(*given, reset=reset)  # what is missing is no fault

    def _facts(self) -> dict[str, Any]:
        own = {"objective": self.objective, "metric": self.eval_metric}
        return {"watch_train": False} | {n: f for n, f in own.items() if callable(f)}

    def _given(self) -> dict[str, Any]:
        given = super()._given()
        for name in ("objective", "eval_metric"):
            if callable(given[name]):
                given[name] = AUTO
        return given

    def _chosen(self, otherwise: str) -> str:
        """The objective that was asked for, or the usual one."""
        asked = self.objective
        return otherwise if callable(asked) or asked == AUTO else str(asked)

    def _more_rounds(self) -> int:
        return int(self.num_round)

    def predict_margin(self, X: Any) -> NDArray[np.float32]:
        """Sums of leaves, (n_samples,), or (n_samples, outputs) where there are several."""
        return _flat(self._apply(self.model_of().predict_margin, X))

    def apply(self, X: Any) -> NDArray[np.int32]:
        """The leaf that each row reaches in each tree, (n_samples, n_trees)."""
        leaves: NDArray[np.int32] = self._apply(self.model_of().predict_leaf, X)
        return leaves

    def contributions(self, X: Any, *, approximate: bool = False) -> NDArray[np.float32]:
        """SHAP values of the features, the bias last; they sum to `predict_margin`.

        Parameters
        ----------
        X : array-like or sparse matrix, shape (n_samples, n_features)
        approximate : bool
            Saabas' values instead, which are faster.

        Returns
        -------
        ndarray of float32, shape (n_samples, n_features + 1)
            Of several outputs (n_samples, outputs, n_features + 1).
        """

        def explain(rows: Any) -> NDArray[np.float32]:
            return self.model_.contributions(rows, approximate=approximate)

        self._check_fitted()
        return _flat(self._apply(explain, X))

    def interactions(self, X: Any) -> NDArray[np.float32]:
        """SHAP interaction values; rows of the matrices sum to `contributions`.

        Returns
        -------
        ndarray of float32, shape (n_samples, n_features + 1, n_features + 1)
            Of several outputs with that axis behind the first.
        """
        return _flat(self._apply(self.model_of().interactions, X))

    def model_of(self) -> BoostedTreesModel:
        """The model, once there is one."""
        self._check_fitted()
        return self.model_

    def _apply(self, function: Any, X: Any) -> Any:
        block = self._block(X)
        with self._working(self.model_.k):
            return function(block.features)

    def _staged(self, X: Any) -> Iterator[NDArray[np.float32]]:
        model, block = self.model_of(), self._block(X)
        with self._working(model.k):
            for margin in model.staged(block.features):
                yield model.transform(margin)

    def importance(self, kind: str = "gain") -> NDArray[np.float64]:
        """Importance of each feature.

        Parameters
        ----------
        kind : {"gain", "weight", "cover", "total_gain", "total_cover"}
            Mean gain of its splits, their number, mean sum of hessians, or sums in place of means.

        Returns
        -------
        ndarray of float64, shape (n_features,)
        """
        return self.model_of().importance(kind)

    @property
    def feature_importances_(self) -> NDArray[np.float32]:
        """Mean gains of the features' splits, as shares of 1."""
        gain = self.importance("gain")
        return (gain / max(float(gain.sum()), 1e-300)).astype(np.float32)

    @property
    def evals_result_(self) -> dict[str, dict[str, list[float]]]:
        """{"validation": {metric: value after each round}}; empty without validation rows."""
        result: dict[str, dict[str, list[float]]] = {}
        for name, values in self.model_of().notes.get("evals", {}).items():
            split, _, metric = name.partition(":")
            result.setdefault(split, {})[metric] = list(values)
        return result

    @property
    def best_iteration_(self) -> int:
        """The round behind which predictions end, counted from 0."""
        model = self.model_of()
        return model.best_iteration if model.best_iteration >= 0 else model.rounds - 1

    @property
    def n_iter_(self) -> int:
        """Rounds that were run."""
        return self.model_of().rounds

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags


class BoostedTreesClassifier(Classifier, BoostedTrees, algorithm="xgboost"):
    """Boosted trees that tell classes apart."""

    def _settle(self) -> dict[str, Any]:
        n = len(self.classes_)
        objective = self._chosen("binary:logistic" if n == 2 else "multi:softprob")
        several = objective.startswith("multi:")
        if n > 2 and not several and not callable(self.objective):
            raise UserError(f"objective={objective}: y has {n} classes, not two")
        return {"objective": objective, "num_class": n if several else 0}

    @classmethod
    def shows(cls, model: Model) -> bool:
        """Whether it is a classifier's."""
        return isinstance(model, BoostedTreesModel) and model.objective.startswith(
            ("binary:", "multi:")
        )

    def _class_count(self, model: Model) -> int:
        assert isinstance(model, BoostedTreesModel)
        return max(model.outputs, 2)

    def _has_probabilities(self) -> bool:
        asked = self.model_.objective if hasattr(self, "model_") else self.objective
        return asked in (AUTO, "binary:logistic", "multi:softprob", "multi:softmax")

    @available_if(_has_probabilities)  # type: ignore[untyped-decorator]
    def predict_proba(self, X: Any) -> NDArray[np.float32]:
        """Probabilities of the classes, (n_samples, n_classes)."""
        margin = self._apply(self.model_of().predict_margin, X)
        return self._probabilities(margin)

    def _probabilities(self, margin: NDArray[np.float32]) -> NDArray[np.float32]:
        if margin.shape[1] == 1:
            p = self.model_.transform(margin)
            return np.stack([1 - p, p], axis=1)
        shifted = np.exp(margin - margin.max(axis=1, keepdims=True))
        shares: NDArray[np.float32] = shifted / shifted.sum(axis=1, keepdims=True)
        return shares

    def decision_function(self, X: Any) -> NDArray[np.float32]:
        """Margins: positive where the second of two classes is predicted."""
        return self.predict_margin(X)

    def predict(self, X: Any) -> Any:
        """The predicted class of each row."""
        margin = self._apply(self.model_of().predict_margin, X)
        return self.classes_[self._codes(margin)]

    def _codes(self, margin: NDArray[np.float32]) -> NDArray[np.int64]:
        several = margin.shape[1] > 1
        return margin.argmax(axis=1) if several else (margin[:, 0] > 0).astype(np.int64)

    def staged_predict(self, X: Any) -> Iterator[Any]:
        """The predicted classes after each round."""
        model, block = self.model_of(), self._block(X)
        for margin in model.staged(block.features):
            yield self.classes_[self._codes(margin)]

    @available_if(_has_probabilities)  # type: ignore[untyped-decorator]
    def staged_predict_proba(self, X: Any) -> Iterator[NDArray[np.float32]]:
        """Probabilities after each round."""
        model, block = self.model_of(), self._block(X)
        for margin in model.staged(block.features):
            yield self._probabilities(margin)


class BoostedTreesRegressor(RegressorMixin, BoostedTrees, algorithm="xgboost"):  # type: ignore[misc]
    """Boosted trees that predict numbers."""

    def _settle(self) -> dict[str, Any]:
        return {"objective": self._chosen("reg:squarederror"), "num_class": 0}

    def _targets(self, y: Any, *, reset: bool) -> Any:
        return np.asarray(y, np.float32)

    @classmethod
    def shows(cls, model: Model) -> bool:
        """Whether it is a regressor's."""
        return isinstance(model, BoostedTreesModel) and model.objective.startswith(
            ("reg:", "count:", "survival:")
        )

    def predict(self, X: Any) -> NDArray[np.float32]:
        """The predicted values, (n_samples,); of several quantiles (n_samples, quantiles)."""
        score: NDArray[np.float32] = self._predict(X)["score"]
        return score

    def staged_predict(self, X: Any) -> Iterator[NDArray[np.float32]]:
        """The predicted values after each round."""
        yield from self._staged(X)


class BoostedTreesRanker(BoostedTrees, algorithm="xgboost"):
    """Boosted trees that put the rows of a query in order."""

    def fit(
        self, X: Any, y: Any, sample_weight: Any = None, X_val: Any = None, y_val: Any = None,
        *, qid: Any = None, qid_val: Any = None,
    ) -> Self:  # fmt: skip
        """Learn from rows.

        Parameters
        ----------
        X : array-like or sparse matrix, shape (n_samples, n_features)
        y : array-like, shape (n_samples,)
            How relevant a row is, from 0.
        sample_weight : array-like, shape (n_samples,), optional
            That of a query's first row counts for the query.
        X_val, y_val : array-like, optional
        qid, qid_val : array-like of int, shape (n_samples,)
            The query of each row; rows of a query stand together.

        Returns
        -------
        self

        Raises
        ------
        UserError
            Without `qid`, or when a query comes twice.
        """
        if qid is None:
            raise UserError("qid is missing: say which query each row belongs to")
        if X_val is not None and qid_val is None:
            raise UserError("X_val is given without qid_val")
        self._queries = {"train": qid, "validation": qid_val}
        try:
            return self._fit(X, y, sample_weight, X_val, y_val)
        finally:
            del self._queries

    def _channels(self, block: Block, X_val: Any = None, y_val: Any = None) -> dict[str, Stream]:
        channels = super()._channels(block, X_val, y_val)
        for name in channels:
            rows = channels[name].peek() if name != "train" else block
            assert rows is not None
            channels[name] = Arrays(_with_queries(rows, self._queries[name]))
        return channels

    def _begin(self, block: Block, channels: dict[str, Stream]) -> Any:
        return super()._begin(_with_queries(block, self._queries["train"]), channels)

    def _settle(self) -> dict[str, Any]:
        return {"objective": self._chosen("rank:ndcg"), "num_class": 0}

    def _targets(self, y: Any, *, reset: bool) -> Any:
        return np.asarray(y, np.float32)

    @classmethod
    def shows(cls, model: Model) -> bool:
        """Whether it is a ranker's."""
        return isinstance(model, BoostedTreesModel) and model.objective.startswith("rank:")

    def predict(self, X: Any) -> NDArray[np.float32]:
        """Scores (n_samples,), the greatest first in its query."""
        score: NDArray[np.float32] = self._predict(X)["score"]
        return score


def _with_queries(block: Block, qid: Any) -> Block:
    queries = np.asarray(qid)
    if queries.shape != (len(block),) or queries.dtype.kind not in "iu":
        raise UserError(
            f"qid of shape {queries.shape} and dtype {queries.dtype} for {len(block)} rows: give a "
            "whole number for each"
        )
    return block.replace(groups=queries.astype(np.int64))


def _flat(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Without the axis of outputs if there is one output."""
    flat: NDArray[np.float32] = values[:, 0] if values.shape[1] == 1 else values
    return flat
