"""Factorization Machines for scikit-learn, and for recommendations."""

from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.base import RegressorMixin

from smalgos.algorithms.factorization_machines import queries
from smalgos.algorithms.factorization_machines.model import FactorizationMachine, probabilities
from smalgos.errors import UserError
from smalgos.estimators.minibatch import (
    MiniBatchClassifier,
    MiniBatchEstimator,
    MiniBatchRegressor,
)
from smalgos.learning.model import Model


class FactorizationMachines(MiniBatchEstimator):
    """What classifier and regressor have in common."""

    model_: FactorizationMachine

    @classmethod
    def shows(cls, model: Model) -> bool:
        """Whether it is of this class's kind."""
        kind = "regressor" if issubclass(cls, RegressorMixin) else "binary_classifier"
        return isinstance(model, FactorizationMachine) and model.predictor_type == kind

    def _settle(self) -> dict[str, Any]:
        kind = "regressor" if isinstance(self, RegressorMixin) else "binary_classifier"
        return {"predictor_type": kind}

    def _given(self) -> dict[str, Any]:
        given = super()._given()
        if isinstance(given["fields"], np.ndarray):
            given["fields"] = given["fields"].tolist()
        return given

    # -- what was learnt

    @property
    def coef_(self) -> NDArray[np.float32]:
        """Linear weights (n_features,)."""
        return self.model_.linear

    @property
    def intercept_(self) -> float:
        """Bias."""
        return float(self.model_.bias[0])

    @property
    def factors_(self) -> NDArray[np.float32]:
        """Factors (n_features, num_factors); field-aware (n_features, fields, num_factors)."""
        return self.model_.factors

    @property
    def field_weights_(self) -> NDArray[np.float32] | None:
        """Weights (fields, fields) of interactions, if they are field-weighted."""
        return self.model_.field_weights

    def top_interactions_(self, n: int = 10) -> list[tuple[Any, Any, float]]:
        """The pairs of features that interact most.

        Parameters
        ----------
        n : int

        Returns
        -------
        list of (feature, feature, strength)
            Features by name, or by column where they have none. The strength is what the pair adds
            to the margin where both features are 1; they come falling in magnitude. Pairs within a
            field are left out where fields are known.

        Notes
        -----
        Exact. Factors whose norms differ spare most of the n_features**2 / 2 products.
        """
        self._check_fitted()
        pairs, strengths = queries.top_interactions(self.model_, _count("n", n))
        names = getattr(self, "feature_names_in_", np.arange(self.n_features_in_))
        named = names[pairs].tolist()
        return [(a, b, s) for (a, b), s in zip(named, strengths.tolist(), strict=True)]

    # -- recommendations

    def encode(self, *codes: Any) -> sparse.csr_matrix:
        """One-hot rows of users and items, and of whatever other fields there are.

        Parameters
        ----------
        *codes : array-like of int, shape (n_samples,)
            One for each entry of `fields`, which must be sizes: numbers from 0 to the size, less 1.

        Returns
        -------
        scipy.sparse.csr_matrix of float32, shape (n_samples, sum of sizes)

        Raises
        ------
        UserError
            For a number out of range, with its row.

        Examples
        --------
        >>> from smalgos import FactorizationMachineClassifier
        >>> fm = FactorizationMachineClassifier(fields=[2, 3])  # two users, three items
        >>> fm.encode([0, 1, 1], [2, 0, 1]).toarray()
        array([[1., 0., 0., 0., 1.],
               [0., 1., 1., 0., 0.],
               [0., 1., 0., 1., 0.]], dtype=float32)
        """
        if self.fields is None or len(self.fields) != len(codes):
            raise UserError(
                f"{len(codes)} columns of numbers: construct with fields, the sizes of as many"
            )
        sizes = [_count("fields", size) for size in self.fields]
        starts = np.concatenate([[0], np.cumsum(sizes)])
        columns = [
            start + _numbers(f"field {f}", given, size)
            for f, (given, size, start) in enumerate(zip(codes, sizes, starts[:-1], strict=True))
        ]
        if len({len(c) for c in columns}) > 1:
            raise UserError(f"columns of unlike lengths: {[len(c) for c in columns]}")
        indices = np.column_stack(columns).astype(np.int32)
        n, m = indices.shape
        values = np.ones(n * m, np.float32)
        offsets = np.arange(0, n * m + 1, m, dtype=np.int64)
        return sparse.csr_matrix((values, indices.reshape(-1), offsets), (n, int(starts[-1])))

    def item_vectors(self, items: Any = None, users: Any = None) -> NDArray[np.float32]:
        """Vectors of items whose inner products with `user_vectors` rank them.

        Parameters
        ----------
        items : int, sequence of int or slice, optional
            A field, or the columns of items. Default: field 1.
        users : optional
            Likewise those of users; it matters only where interactions look at fields. Default:
            field 0.

        Returns
        -------
        ndarray of float32, shape (items, num_factors + 1)
            ``[v, w]``: factors and linear weight.

        Notes
        -----
        ``KNNClassifier(k=10, index_metric="INNER_PRODUCT").fit(fm.item_vectors(), ids)`` is an
        index of items that takes ``fm.user_vectors()`` as queries.
        """
        return queries.item_vectors(self.model_, *self._own_and_other((items, 1), (users, 0)))

    def user_vectors(self, users: Any = None, items: Any = None) -> NDArray[np.float32]:
        """Vectors of users, for `item_vectors`.

        Parameters
        ----------
        users, items
            As those of `item_vectors`.

        Returns
        -------
        ndarray of float32, shape (users, num_factors + 1)
            ``[v, 1]``.
        """
        return queries.user_vectors(self.model_, *self._own_and_other((users, 0), (items, 1)))

    def score_items(self, users: Any = None, items: Any = None) -> NDArray[np.float32]:
        """Margins of every item for some users: their one-hot rows, by one matrix product.

        Parameters
        ----------
        users, items
            As those of `item_vectors`.

        Returns
        -------
        ndarray of float32, shape (users, items)
            A regressor's predictions; of a classifier, as `decision_function` gives them.
        """
        rows, columns = self._sides(users, items)
        with self._working(self.model_.k):
            return queries.scored(self.model_, rows, columns)

    def recommend(
        self, users: Any = None, n: int = 10, *, seen: Any = None, items: Any = None
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The best items for each user.

        Parameters
        ----------
        users : sequence of int, optional
            Numbers of users, which are columns within field 0. Default: all.
        n : int
            Items for each.
        seen : sparse matrix, shape (len(users), items), optional
            What a user has already: entries that are stored are left out.
        items : int, sequence of int or slice, optional
            A field, or the columns of items. Default: field 1.

        Returns
        -------
        items : ndarray of int64, shape (len(users), n)
            Numbers of items within their field (places among the columns given), best first; -1
            where `seen` leaves too few.
        scores : ndarray of float32, shape (len(users), n)
            Their margins, as `score_items` gives them; there, minus infinity.
        """
        rows, columns = self._sides(None, items)
        if users is not None:
            rows = rows[_numbers("users", users, len(rows))]
        n = min(_count("n", n), len(columns))
        if seen is not None:
            shape = len(rows), len(columns)
            if not sparse.issparse(seen) or getattr(seen, "shape", None) != shape:
                raise UserError(f"seen: a sparse matrix of shape {shape} is expected")
            seen = sparse.csr_matrix(cast(Any, seen))
        with self._working(self.model_.k):
            return queries.recommended(self.model_, rows, columns, n, seen)

    def _own_and_other(self, *sides: tuple[Any, int]) -> list[NDArray[np.int64]]:
        """Columns of two sides, of which the other matters only where there are fields."""
        self._check_fitted()
        if self.model_.interaction == "pairwise":
            sides = sides[:1] * 2
        return [queries.columns_of(self.model_, *side) for side in sides]

    def _sides(self, users: Any, items: Any) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        self._check_fitted()
        return queries.columns_of(self.model_, users, 0), queries.columns_of(self.model_, items, 1)


def _count(name: str, n: Any) -> int:
    """A whole number from 1 on."""
    if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 1:
        raise UserError(f"{name}={n!r}: must be a whole number >= 1")
    return int(n)


def _numbers(name: str, given: Any, size: int) -> NDArray[np.int64]:
    """Numbers below size."""
    numbers = np.asarray(given)
    if numbers.ndim != 1 or (numbers.dtype.kind not in "iu" and len(numbers)):
        raise UserError(f"{name}: a sequence of whole numbers is expected")
    bad = (numbers < 0) | (numbers >= size)
    if bad.any():
        row = int(bad.argmax())
        raise UserError(f"{name}: {numbers[row]} in row {row} is not from 0 to {size - 1}")
    return numbers.astype(np.int64)


class FactorizationMachineClassifier(
    MiniBatchClassifier, FactorizationMachines, algorithm="factorization-machines"
):
    """A logistic factorization machine for two classes."""

    def _targets(self, y: Any, *, reset: bool) -> Any:
        codes = super()._targets(y, reset=reset)
        if len(self.classes_) > 2:
            raise UserError(
                "Only binary classification is supported. The type of the target is multiclass: "
                f"y holds {len(self.classes_)} classes"
            )
        return codes

    def _class_count(self, model: Model) -> int:
        return 2

    def decision_function(self, X: Any) -> NDArray[np.float32]:
        """Margins (n_samples,): positive where the second class is predicted."""
        return self._margins(X)

    def predict_proba(self, X: Any) -> NDArray[np.float32]:
        """Probabilities (n_samples, 2) of the classes."""
        margins = self._margins(X)
        return np.column_stack([probabilities(-margins), probabilities(margins)])

    def predict_log_proba(self, X: Any) -> NDArray[np.float32]:
        """Logarithms of `predict_proba`."""
        margins = self._margins(X)
        return -np.column_stack([np.logaddexp(0, margins), np.logaddexp(0, -margins)])

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        return tags


class FactorizationMachineRegressor(
    MiniBatchRegressor, FactorizationMachines, algorithm="factorization-machines"
):
    """A factorization machine for numbers, by squared error."""
