"""What else a machine can be asked: its strongest pairs of features, vectors of users and items."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from smalgos.algorithms.factorization_machines.model import FactorizationMachine
from smalgos.errors import UserError
from smalgos.kernels import load

ROWS, COLUMNS = 256, 16_384  # of pairs that are looked at together
USERS = 512  # whose scores for all items are worked out together

Floats = NDArray[np.float32]


# Pairs of features --------------------------------------------------------------------------------


class Best:
    """The n pairs of the greatest magnitude so far."""

    def __init__(self, n: int) -> None:
        self.n = n
        self.rows = np.empty((0, 2), np.int64)
        self.values = np.empty(0, np.float32)

    @property
    def least(self) -> float:
        """What a pair must exceed to be among them."""
        return float(np.abs(self.values[-1])) if len(self.values) == self.n else 0.0

    def offer(self, a: NDArray[np.int64], b: NDArray[np.int64], values: Floats) -> None:
        """Take pairs of features."""
        pairs = np.sort(np.column_stack([a, b]), axis=1)
        rows = np.concatenate([self.rows, pairs])
        values = np.concatenate([self.values, values])
        order = np.lexsort((rows[:, 1], rows[:, 0], -np.abs(values)))[: self.n]
        self.rows, self.values = rows[order], values[order]


def top_interactions(
    model: FactorizationMachine, n: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The pairs of features that interact most.

    Exact: products of norms bound inner products, so that most pairs are never looked at.

    Parameters
    ----------
    model : FactorizationMachine
    n : int

    Returns
    -------
    pairs : ndarray of int64, shape (m, 2)
        Columns, the smaller first; m is n, or less where there are not so many pairs. Pairs of
        one field, which one-hot rows never have together, are left out.
    strengths : ndarray of float32, shape (m,)
        What the pair adds to the margin where both features are 1; falling in magnitude.
    """
    best, field, factors = Best(n), model.field_of, model.factors
    if model.interaction != "field_aware":
        columns = np.arange(model.width)
        _search(best, model, columns, columns, factors, factors)
        return best.rows, best.values
    assert field is not None
    members = [np.flatnonzero(field == f) for f in range(factors.shape[1])]
    for f, own in enumerate(members):
        for g in range(f + 1, len(members)):
            _search(best, model, own, members[g], factors[own, g], factors[members[g], f])
    return best.rows, best.values


def _search(
    best: Best,
    model: FactorizationMachine,
    left: NDArray[np.int64],
    right: NDArray[np.int64],
    A: Floats,
    B: Floats,
) -> None:
    """Offer the pairs of features of left and right, whose vectors are rows of A and B."""
    if not (len(left) and len(right)):
        return
    field, weights = model.field_of, model.field_weights
    most = 1.0 if weights is None else float(np.abs(weights).max())
    norms_a, norms_b = (np.linalg.norm(m.astype(np.float64), axis=1) * 1.0001 for m in (A, B))
    order_a, order_b = np.argsort(-norms_a, kind="stable"), np.argsort(-norms_b, kind="stable")
    falling = norms_b[order_b]
    for start in range(0, len(order_a), ROWS):
        rows = order_a[start : start + ROWS]
        bound = most * norms_a[rows[0]]
        if bound * falling[0] <= best.least:
            return
        for first in range(0, len(order_b), COLUMNS):
            if bound * falling[first] <= best.least:
                break
            columns = order_b[first : first + COLUMNS]
            values = A[rows] @ B[columns].T
            a, b = left[rows][:, None], right[columns][None]
            apart = a < b if left is right else a != b
            if field is not None:
                apart = apart & (field[a] != field[b])
                if weights is not None:
                    values = values * weights[field[a], field[b]]
            chosen = np.flatnonzero((np.abs(values) > best.least) & apart)
            if len(chosen) > best.n:
                size = np.abs(values.reshape(-1)[chosen])
                cut = np.partition(size, len(size) - best.n)[len(size) - best.n]
                chosen = chosen[size >= cut]
            i, j = np.divmod(chosen, len(columns))
            best.offer(left[rows[i]], right[columns[j]], values.reshape(-1)[chosen])


# Users and items ----------------------------------------------------------------------------------


def columns_of(model: FactorizationMachine, which: Any, default: int) -> NDArray[np.int64]:
    """The columns of users, or of items.

    Parameters
    ----------
    which : int, sequence of int or slice, optional
        A field's number, or columns; None: the field `default`.

    Raises
    ------
    UserError
        When there is no such field or column.
    """
    if isinstance(which, slice):
        found = np.arange(model.width)[which]
    elif which is None or np.ndim(which) == 0:
        number = default if which is None else int(which)
        if model.field_of is None:
            raise UserError(
                "which columns are users and which are items is not known: say so, or fit with "
                "fields=[number of users, number of items]"
            )
        found = np.flatnonzero(model.field_of == number)
        if not len(found):
            raise UserError(f"there is no field {number}: fields are {_known(model.field_of)}")
    else:
        found = np.asarray(which, np.int64)
        if len(found) and (found.min() < 0 or found.max() >= model.width):
            raise UserError(f"columns must be from 0 to {model.width - 1}")
    if not len(found):
        raise UserError("there are no such columns")
    return found.astype(np.int64)


def _known(field: NDArray[np.int32]) -> str:
    numbers = [str(f) for f in np.unique(field)]
    return ", ".join(numbers if len(numbers) < 9 else [*numbers[:8], "..."])


def _field(model: FactorizationMachine, columns: NDArray[np.int64]) -> int:
    """The one field that columns are of."""
    assert model.field_of is not None
    found = np.unique(model.field_of[columns])
    if len(found) > 1:
        raise UserError(
            f"{model.interaction} interactions: the columns are of several fields, {_known(found)}"
        )
    return int(found[0])


def item_vectors(
    model: FactorizationMachine, items: NDArray[np.int64], users: NDArray[np.int64]
) -> Floats:
    """A vector (items, num_factors + 1) for each: ``[v, w]``.

    Its inner product with a user's, ``[v, 1]``, is the margin of a one-hot row of the two, less
    bias and weight of the user, which are the same for all items.
    """
    v = _vectors(model, items, users)
    return np.ascontiguousarray(np.column_stack([v, model.linear[items]]), np.float32)


def user_vectors(
    model: FactorizationMachine, users: NDArray[np.int64], items: NDArray[np.int64]
) -> Floats:
    """A vector (users, num_factors + 1) for each: ``[v, 1]``, with the weight of their fields."""
    v = _vectors(model, users, items)
    if model.field_weights is not None:
        v = v * model.field_weights[_field(model, users), _field(model, items)]
    ones = np.ones(len(users), np.float32)
    return np.ascontiguousarray(np.column_stack([v, ones]), np.float32)


def _vectors(
    model: FactorizationMachine, own: NDArray[np.int64], others: NDArray[np.int64]
) -> Floats:
    """Factors of columns for those of the other side."""
    if model.interaction == "field_aware":
        found: Floats = model.factors[own, _field(model, others)]
        return found
    return model.factors[own]


def scored(
    model: FactorizationMachine, users: NDArray[np.int64], items: NDArray[np.int64]
) -> Floats:
    """Margins (users, items) of the one-hot rows of each user with each item."""
    out = np.empty((len(users), len(items)), np.float32)
    U, V = user_vectors(model, users, items), item_vectors(model, items, users)
    own = model.bias + model.linear[users]

    def fill(part: slice) -> None:
        np.matmul(U[part], V.T, out=out[part])
        out[part] += own[part, None]

    _by_users(model, len(users), fill)
    return out


def recommended(
    model: FactorizationMachine,
    users: NDArray[np.int64],
    items: NDArray[np.int64],
    n: int,
    seen: Any = None,
) -> tuple[NDArray[np.int64], Floats]:
    """The n best items for each user.

    Parameters
    ----------
    users, items : ndarray of int64
        Columns.
    n : int
        No more than there are items.
    seen : scipy.sparse.csr_array, shape (users, items), optional
        What is stored is left out.

    Returns
    -------
    best : ndarray of int64, shape (users, n)
        Places in `items`, best first; -1 where there are not so many.
    margins : ndarray of float32, shape (users, n)
        Minus infinity where there are not so many.
    """
    best = np.empty((len(users), n), np.int64)
    margins = np.empty((len(users), n), np.float32)
    U, V = user_vectors(model, users, items), item_vectors(model, items, users)
    own = model.bias + model.linear[users]

    def fill(part: slice) -> None:
        scores = U[part] @ V.T + own[part, None]
        if seen is not None:
            scores[seen[part].nonzero()] = -np.inf
        top = np.sort(np.argpartition(-scores, n - 1, axis=1)[:, :n], axis=1)
        values = np.take_along_axis(scores, top, axis=1)
        order = np.argsort(-values, axis=1, kind="stable")
        best[part] = np.take_along_axis(top, order, axis=1)
        margins[part] = np.take_along_axis(values, order, axis=1)

    _by_users(model, len(users), fill)
    best[np.isneginf(margins)] = -1
    return best, margins


def _by_users(model: FactorizationMachine, n: int, fill: Any) -> None:
    shared = load("shared", "cpu")
    with shared.blas_single():
        shared.run(fill, shared.chunks(n, USERS))
