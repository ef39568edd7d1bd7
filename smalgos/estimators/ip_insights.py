"""IP Insights for scikit-learn's users."""

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import OutlierMixin

from smalgos.algorithms.ip_insights.model import IPInsightsModel
from smalgos.errors import UserError
from smalgos.estimators.base import Estimator
from smalgos.formats.block import Block, Ragged

CRITERIA = ("f1", "accuracy", "false_alarms")


class IPInsights(OutlierMixin, Estimator, algorithm="ipinsights"):  # type: ignore[misc]
    """How usual it is that an entity uses an IP address, learnt from pairs that were seen.

    X is pairs (entity, address) wherever it stands: a list of tuples, an array of two columns, a
    data frame. Entities are names of any kind, taken as text; addresses are texts, IPv4 or IPv6.

    Attributes
    ----------
    offset_ : float
        Score below which `predict` calls a pair unusual; 0 until `choose_offset` finds a better.
    """

    extra = {"warm_start": False}  # noqa: RUF012
    extra_doc = """
warm_start : bool, default=False
    Whether `fit` goes on from the last one, for as many epochs more."""

    model_: IPInsightsModel

    def fit(self, X: Any, y: Any = None, *, X_val: Any = None) -> Self:
        """Learn from pairs that were seen.

        Parameters
        ----------
        X : pairs, (n_samples, 2)
            Pairs seen more often count more often.
        y : ignored
        X_val : pairs, optional
            Of which `auc_curve_` tells how well they are told from random ones after each epoch.

        Returns
        -------
        self

        Raises
        ------
        UserError
            For bad hyperparameters, and for an address that is none; a kind of ValueError.
        """
        return self._fit(X, None, None, X_val)

    def partial_fit(self, X: Any, y: Any = None) -> Self:
        """Learn from more pairs, in one pass over them; y is ignored."""
        return self._partial_fit(X)

    def score_samples(self, X: Any) -> NDArray[np.float32]:
        """Scores (n_samples,): the lower, the less usual.

        A score is the log-odds that the pair was seen and not made up, at the share of made-up
        pairs in training. That of an entity never seen means nothing (see `knows`).
        """
        scores: NDArray[np.float32] = self._predict(X)["dot_product"]
        return scores

    def decision_function(self, X: Any) -> NDArray[np.float32]:
        """Scores above `offset_`, (n_samples,): negative ones are of unusual pairs."""
        return self.score_samples(X) - np.float32(self.offset_)

    def predict(self, X: Any) -> NDArray[np.int64]:
        """1 for usual pairs, -1 for unusual ones, (n_samples,)."""
        return np.where(self.decision_function(X) >= 0, 1, -1)

    def entity_vectors(self, entities: Any) -> NDArray[np.float32]:
        """Vectors (n, vector_dim) of a sequence of entities."""
        self._check_fitted()
        return self.model_.entity_vectors(texts(entities))

    def ip_vectors(self, addresses: Any) -> NDArray[np.float32]:
        """Vectors (n, vector_dim) of a sequence of addresses.

        The score of a pair is the inner product of its two vectors.
        """
        self._check_fitted()
        with self._working(self.model_.k):
            return self.model_.ip_vectors(texts(addresses))

    def knows(self, entities: Any) -> NDArray[np.bool_]:
        """Whether entities were seen in training, (n,).

        No is certain; of those that were not seen, one in sixteen or so is taken for another one,
        if the table has two rows for each that was.
        """
        self._check_fitted()
        return self.model_.knows(texts(entities))

    def choose_offset(
        self, X: Any, y: Any, *, criterion: str = "f1", most_false_alarms: float = 0.01
    ) -> Self:
        """Choose `offset_` by pairs of which it is known what they are.

        Parameters
        ----------
        X : pairs, (n_samples, 2)
            Of entities that were seen in training.
        y : array-like, shape (n_samples,)
            1 for usual pairs, -1 for unusual ones, as `predict` gives them.
        criterion : {"f1", "accuracy", "false_alarms"}
            The greatest F1 score of the unusual ones; the greatest share of pairs that are called
            rightly; or the most unusual ones that are found while no larger share of the usual
            pairs than `most_false_alarms` is called unusual. Of equal offsets, the lowest.
        most_false_alarms : float
            From 0 to 1.

        Returns
        -------
        self

        Raises
        ------
        UserError
            Unless y holds 1 and -1, both, the criterion is one of the three, and the share is one.
        """
        labels = np.asarray(y)
        scores = self.score_samples(X)
        if labels.shape != scores.shape or set(np.unique(labels).tolist()) != {-1, 1}:
            raise UserError("y must hold 1 for usual and -1 for unusual pairs, one for each of X")
        if criterion not in CRITERIA:
            raise UserError(f"criterion={criterion!r}: must be one of {', '.join(CRITERIA)}")
        if not 0 <= most_false_alarms <= 1:
            raise UserError(f"most_false_alarms={most_false_alarms!r}: must be a share, 0 to 1")
        self.model_.offset = best_offset(scores, labels < 0, criterion, most_false_alarms)
        return self

    @property
    def offset_(self) -> float:
        """Score below which `predict` calls a pair unusual."""
        return float(self.model_.offset)

    @property
    def n_iter_(self) -> int:
        """Epochs that were run."""
        return int(self.model_.notes.get("epochs", 0))

    @property
    def loss_curve_(self) -> list[float]:
        """Mean cross-entropy of each epoch, of true and made-up pairs before they were learnt."""
        return list(self.model_.notes.get("loss_curve", ()))

    @property
    def auc_curve_(self) -> list[float]:
        """ROC AUC of the validation pairs against random ones, after each epoch."""
        return list(self.model_.notes.get("auc_curve", ()))

    # -- rows are texts

    def _block(
        self, X: Any, y: Any = None, sample_weight: Any = None, *, reset: bool = False
    ) -> Block:
        entities, addresses = columns(X)
        if reset:
            self.n_features_in_ = 2
            if hasattr(X, "columns"):
                self.feature_names_in_ = np.array([str(c) for c in X.columns], dtype=object)
        return Block({"entity": texts(entities), "ip": texts(addresses)})

    def _finite_block(self, *given: Any, reset: bool = False, name: str = "X") -> Block:
        return self._block(*given, reset=reset)

    def _restore(self, model: Any) -> None:
        self.model_ = model
        self.n_features_in_ = 2

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = False
        tags.input_tags.string = True
        return tags


def columns(X: Any) -> tuple[Any, Any]:
    """The two columns of pairs.

    Raises
    ------
    UserError
        Where there are none, or not two.
    """
    if hasattr(X, "columns") and hasattr(X, "shape"):  # a data frame, whose columns may differ
        if X.shape[1] != 2:
            raise UserError(f"X has {X.shape[1]} columns: give two, entity and address")
        pair = [X[name] for name in X.columns]
    elif isinstance(X, np.ndarray):
        if X.ndim != 2 or X.shape[1] != 2:
            raise UserError(f"X has shape {X.shape}: give pairs (n, 2) of entity and address")
        pair = [X[:, 0], X[:, 1]]
    elif not hasattr(X, "__iter__"):
        raise UserError(f"X={X!r}: give pairs (n, 2) of entity and address")
    else:
        rows = list(X)
        if not set(map(type, rows)) <= {tuple, list} or not set(map(len, rows)) <= {2}:
            for i, row in enumerate(rows):
                if isinstance(row, str | bytes) or not hasattr(row, "__len__") or len(row) != 2:
                    found = f"{row!r} is no pair (entity, address)"
                    raise UserError(f"X, row {i}, counted from 0: {found}")
        pair = [[row[0] for row in rows], [row[1] for row in rows]]
    if not len(pair[0]):
        raise UserError("X has no rows: there is nothing to learn from or to score")
    return pair[0], pair[1]


def texts(values: Any) -> Ragged:
    """Values as texts in UTF-8; what is no text is taken as Python writes it.

    Raises
    ------
    UserError
        For a single text in the place of several, and for a missing value.
    """
    if isinstance(values, str | bytes):
        raise UserError(f"{values!r} is one text: give a sequence of them")
    plain = values.tolist() if hasattr(values, "tolist") else list(values)
    try:
        whole = "".join(plain)
    except TypeError:
        whole = ""
    if whole and whole.isascii():  # all at once, in half of the time
        together, lengths = whole.encode(), map(len, plain)
    else:
        encoded = [_bytes(value, i) for i, value in enumerate(plain)]
        together, lengths = b"".join(encoded), map(len, encoded)
    ends = np.zeros(len(plain) + 1, np.int64)
    np.cumsum(np.fromiter(lengths, np.int64, len(plain)), out=ends[1:])
    return Ragged(np.frombuffer(together, np.uint8), ends)


def _bytes(value: Any, row: int) -> bytes:
    """A value as text."""
    if isinstance(value, str):
        return value.encode()
    if value is None or value != value:
        raise UserError(f"X, row {row}, counted from 0: {value!r} where a text should be")
    return value if isinstance(value, bytes) else str(value).encode()


def best_offset(
    scores: NDArray[Any], unusual: NDArray[np.bool_], criterion: str, most_false_alarms: float
) -> float:
    """Score below which rows are best called unusual; see `IPInsights.choose_offset`."""
    order = np.argsort(scores, kind="stable")
    ordered, found = scores[order].astype(np.float64), np.cumsum(unusual[order])
    called = np.arange(1, len(scores) + 1)
    total = found[-1]
    # An offset between two scores that differ; below the first one, nothing is called unusual.
    ends = np.append(np.flatnonzero(np.diff(ordered)), len(ordered) - 1)
    above = np.append(ordered[ends[:-1] + 1], np.nextafter(ordered[-1], np.inf))
    offsets = np.append(ordered[0], (ordered[ends] + above) / 2)
    right, called = np.append(0, found[ends]), np.append(0, called[ends])
    wrong = called - right
    if criterion == "f1":
        values = 2 * right / (called + total)
    elif criterion == "accuracy":
        values = right - wrong
    else:
        allowed = wrong <= most_false_alarms * (len(scores) - total)
        values = np.where(allowed, right, -1)
    return float(offsets[np.argmax(values)])
