"""Many linear models trained side by side on the same rows.

Weights lie in panels (see `scores`). What happens in a lane depends on no other lane but those of
the same model, and every sum runs over the rows in order: the bits of a model depend neither on
what is trained beside it, nor on the number of threads, nor on how rows are cut into blocks, as
long as blocks are whole batches.

Sparse rows stay as they are: standardising is folded into the weights before each batch, and into
the gradient after it.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from smalgos._jit import kernel
from smalgos.kernels.cpu.histogram import bin_edges, histogram
from smalgos.kernels.cpu.layout import Group, groups, pack, spread, unpack
from smalgos.kernels.cpu.losses import Loss, gradient_panels, link, loss_value_gradient
from smalgos.kernels.cpu.optimizers import Optimizer, optimizer, slots, step
from smalgos.kernels.cpu.scores import (
    Standard,
    fold,
    judge,
    score_csr,
    score_dense,
    score_sparse,
    set_rows,
    sparse_rows,
    standard,
    standardise,
)
from smalgos.kernels.cpu.shared import readable, run
from smalgos.kernels.cpu.sparse import scatter
from smalgos.kernels.cpu.tile import PANEL, aligned, multiply_add
from smalgos.kernels.cpu.vector import fma, load, splat, store

__all__ = [
    "Group",
    "Loss",
    "Method",
    "Models",
    "Optimizer",
    "bin_edges",
    "groups",
    "histogram",
    "judge",
    "link",
    "loss_value_gradient",
    "optimizer",
    "pack",
    "score_csr",
    "score_dense",
    "slots",
    "spread",
    "start",
    "train_csr",
    "train_dense",
    "unpack",
]


class Models(NamedTuple):
    """What is trained, panels first.

    W                       (P, d + 1, 16) float32
    slots                   (P, S, d + 1, 16) float32, state of the optimizer
    decay, l1, positive     (P, 16) float32
    sums                    (P, 16) float64, to which losses are added
    """

    W: NDArray[np.float32]
    slots: NDArray[np.float32]
    decay: NDArray[np.float32]
    l1: NDArray[np.float32]
    positive: NDArray[np.float32]
    sums: NDArray[np.float64]


class Method(NamedTuple):
    """How all models are trained.

    A bias has `bias_rate` times the rate and `bias_decay` times the decay of its column, and no L1;
    with a `bias_rate` of 0 it stays where it is.
    """

    loss: Loss
    optimizer: Optimizer
    classes: int = 1
    bias_rate: float = 1.0
    bias_decay: float = 0.0


class Space(NamedTuple):
    """Scratch of a task; R rows are worked on at once.

    by             Standard, of R rows

    raw            (P, R, 16) float32
    grad, folded   (P, d + 1, 16) float32; folded only for sparse rows
    slope          (P, 16) float32
    work           (P * 256,) float32
    factors        (3, 16) float32, the last row zeros
    """

    by: Standard
    raw: NDArray[np.float32]
    grad: NDArray[np.float32]
    folded: NDArray[np.float32]
    slope: NDArray[np.float32]
    work: NDArray[np.float32]
    factors: NDArray[np.float32]


inner = kernel(fastmath=False, inline="always")


@inner
def _apply(models, method, t, space, rows, rates, at):
    """One step of the optimizer from the gradients summed over the rows of a batch."""
    W, grad, slope, factors = models.W, space.grad, space.slope, space.factors
    d, scale = W.shape[1] - 1, 1.0 / rows
    for p in range(W.shape[0]):
        w, g, s, rate = W[p], grad[p], models.slots[p], rates[p, at]
        store(factors, 0, load(rate, 0) * splat(method.bias_rate))
        store(factors, PANEL, load(models.decay, p * PANEL) * splat(method.bias_decay))
        a = s[0] if s.shape[0] > 0 else g[:0]
        b = s[1] if s.shape[0] > 1 else g[:0]
        step(
            method.optimizer, t, w[:d], g[:d], a[:d], b[:d], scale,
            rate, models.decay[p], models.l1[p],
        )  # fmt: skip
        step(
            method.optimizer, t, w[d:], slope[p : p + 1], a[d:], b[d:], scale,
            factors[0], factors[1], factors[2],
        )  # fmt: skip


@kernel(fastmath=False)
def _train_dense(X, picked, y, weight, batch, models, rates, t, method, n_models, space):
    """Train the models of one group on consecutive batches of rows.

    X           (N, d) float32                                            in
    picked      (n,) int64, numbers of the rows of X, or (0,): all n = N  in
    y, weight   (n,) float32                                              in
    batch       int64, rows of a batch; the last one may be shorter
    models      Models                                                    in, out
    rates       (P, ceil(n / batch), 16) float32                          in
    t           int64, number of the first step, from 1 on
    method      Method
    n_models    int64, models in the group
    space       Space
    Returns the first row that is not finite once it is standardised, or -1. No step is taken with
    its batch.
    """
    n, d = len(y), X.shape[1]
    W, raw, grad, slope = models.W, space.raw, space.grad, space.slope
    rows_of, stride = space.by.rows, space.by.rows.shape[1]
    at_once = raw.shape[1]
    for first in range(0, n, batch):
        rows = min(batch, n - first)
        grad[:] = 0
        slope[:] = 0
        for a in range(first, first + rows, at_once):
            count = min(at_once, first + rows - a)
            bad = standardise(X, picked, a, count, space.by)
            if bad >= 0:
                return a + bad
            set_rows(raw, count, W, d * PANEL)
            multiply_add(rows_of, np.int64(0), stride, count, np.int64(1), d, W, raw)
            gradient_panels(
                method.loss, y[a:], weight[a:], models.positive, method.classes, n_models,
                raw, count, space.work, models.sums, slope,
            )  # fmt: skip
            multiply_add(rows_of, np.int64(0), np.int64(1), d, stride, count, raw, grad)
        _apply(models, method, t, space, rows, rates, first // batch)
        t += 1
    return -1


@inner
def _unfold(grad, slope, shift, scale):
    """Gradients for standardised features from those for features as they are."""
    d = len(shift)
    for p in range(grad.shape[0]):
        into = load(slope, p * PANEL)
        for j in range(d):
            at = (p * (d + 1) + j) * PANEL
            centred = fma(splat(-shift[j]), into, load(grad, at))
            store(grad, at, splat(scale[j]) * centred)


@kernel(fastmath=False)
def _train_csr(X, y, weight, batch, models, rates, t, method, n_models, space):
    """As `_train_dense`, for sparse rows that are standardised in effect.

    X           Sparse                                                    in
    """
    n, width = len(y), models.W.shape[1]
    raw, grad, slope = space.raw, space.grad, space.slope
    at_once = raw.shape[1]
    for first in range(0, n, batch):
        rows = min(batch, n - first)
        grad[:] = 0
        slope[:] = 0
        fold(models.W, X.shift, X.scale, space.folded)
        for a in range(first, first + rows, at_once):
            count = min(at_once, first + rows - a)
            score_sparse(X, a, count, space.folded, raw)
            gradient_panels(
                method.loss, y[a:], weight[a:], models.positive, method.classes, n_models,
                raw, count, space.work, models.sums, slope,
            )  # fmt: skip
            for r in range(count):
                start, stop = X.offsets[a + r], X.offsets[a + r + 1]
                for p in range(raw.shape[0]):
                    c, w = (p * at_once + r) * PANEL, p * width * PANEL
                    scatter(X.values, X.indices, start, stop, raw, c, grad, w)
        _unfold(grad, slope, X.shift, X.scale)
        _apply(models, method, t, space, rows, rates, first // batch)
        t += 1
    return -1


def start(
    w: NDArray[Any],
    method: Method,
    plan: Sequence[Group],
    *,
    decay: Any = 0.0,
    l1: Any = 0.0,
    positive: Any = 1.0,
) -> Models:
    """Models before their first step.

    Parameters
    ----------
    w : ndarray, shape (d + 1, models * classes)
        First weights, the biases in the last row.
    method : Method
    plan : list of Group
    decay, l1 : float or ndarray, shape (models,)
    positive : float or ndarray, shape (models * classes,)
        Weight of label-1 rows in each model, of each class for softmax.

    Returns
    -------
    Models
    """
    W = pack(w, plan, method.classes)
    count = plan[-1].first + plan[-1].models
    share = np.broadcast_to(positive, (1, count * method.classes))
    return Models(
        W,
        aligned(len(W), slots(method.optimizer.code), *W.shape[1:]),
        spread(np.broadcast_to(decay, count), plan, method.classes),
        spread(np.broadcast_to(l1, count), plan, method.classes),
        np.ascontiguousarray(pack(share, plan, method.classes)[:, 0]),
        np.zeros((len(W), PANEL)),
    )


def _train(
    work: Callable[..., int],
    n: int,
    d: int,
    by: Callable[[], Standard],
    batch: int,
    models: Models,
    rates: NDArray[np.float32],
    plan: Sequence[Group],
) -> int:
    """Call work(models, rates, number of models, scratch) for each group with its panels."""
    count = sum(group.panels for group in plan)
    steps = -(-n // batch)
    if models.W.shape[:2] != (count, d + 1) or rates.shape != (count, steps, PANEL):
        raise ValueError(
            f"{count} panels, {d} features, {steps} steps: weights are {models.W.shape}, "
            f"rates {rates.shape}"
        )

    if not all(x.flags.c_contiguous and x.flags.writeable for x in models):
        raise ValueError("models must be C-ordered and writable")

    tasks, first = [], 0
    for group in plan:
        part, high = slice(first, first + group.panels), group.panels
        standardised = by()
        space = Space(
            standardised,
            aligned(high, len(standardised.rows), PANEL),
            aligned(high, d + 1, PANEL),
            aligned(high, d + 1, PANEL),
            aligned(high, PANEL),
            aligned(high * PANEL * PANEL),
            aligned(3, PANEL),
        )
        tasks.append((Models(*(x[part] for x in models)), rates[part], group.models, space))
        first += high
    return max(run(lambda task: work(*task), tasks))


def train_dense(
    X: NDArray[np.float32],
    picked: NDArray[np.int64] | None,
    shift: NDArray[np.float32],
    scale: NDArray[np.float32],
    y: NDArray[np.float32],
    weight: NDArray[np.float32] | None,
    batch: int,
    models: Models,
    rates: NDArray[np.float32],
    t: int,
    method: Method,
    plan: Sequence[Group],
) -> int:
    """Train all models on consecutive batches of rows, the groups side by side.

    Parameters
    ----------
    X : ndarray of float32, shape (N, d)
    picked : ndarray of int64, shape (n,), optional
        Numbers of the rows of X to learn from. Default: all, in order.
    shift, scale : ndarray of float32, shape (d,)
        The models are trained on (x - shift) * scale.
    y, weight : ndarray of float32, shape (n,)
        Labels, and weights of rows; None stands for weights of 1.
    batch : int
        Rows of a batch; the last one may be shorter. Gradients are divided by its rows.
    models : Models
        Weights, slots and sums change; losses are added to sums, not divided.
    rates : ndarray of float32, shape (P, ceil(n / batch), 16)
        Rate of each step (`spread`).
    t : int
        Number of the first step, from 1 on.
    method : Method
    plan : list of Group

    Returns
    -------
    int
        Number of the first row (of those picked) that is not finite once it is standardised, or
        -1. If there is one, models have learnt from the batches before it.
    """
    X = readable(X, np.float32)
    n = len(X) if picked is None else len(picked)
    y, weight = _labels(y, weight, n)
    rows = np.empty(0, np.int64) if picked is None else readable(picked, np.int64)
    if not X.shape[1:] == shift.shape == scale.shape:
        raise ValueError(f"rows {X.shape}, shift {shift.shape}, scale {scale.shape} do not fit")
    if len(rows) and not 0 <= rows.min() <= rows.max() < len(X):
        raise ValueError(f"rows {rows.min()} to {rows.max()} of {len(X)}")

    def work(share: Models, rates: Any, count: int, space: Space) -> int:
        return _train_dense(X, rows, y, weight, batch, share, rates, t, method, count, space)  # type: ignore[no-any-return]

    by = partial(standard, shift, scale)
    return _train(work, n, X.shape[1], by, batch, models, rates, plan)


def train_csr(
    values: NDArray[np.float32],
    indices: NDArray[np.int32],
    offsets: NDArray[np.int64],
    shift: NDArray[np.float32],
    scale: NDArray[np.float32],
    y: NDArray[np.float32],
    weight: NDArray[np.float32] | None,
    batch: int,
    models: Models,
    rates: NDArray[np.float32],
    t: int,
    method: Method,
    plan: Sequence[Group],
) -> None:
    """As `train_dense`, for sparse rows given as they are.

    Parameters
    ----------
    values, indices, offsets : ndarray
        CSR; offsets (n + 1,) may start anywhere. Indices must be below d.
    shift, scale : ndarray of float32, shape (d,)
        The models are trained on (x - shift) * scale.
    y, weight, batch, models, rates, t, method, plan
        As for `train_dense`.
    """
    X = sparse_rows(values, indices, offsets, shift, scale)
    y, weight = _labels(y, weight, len(offsets) - 1)

    def work(share: Models, rates: Any, count: int, space: Space) -> int:
        return _train_csr(X, y, weight, batch, share, rates, t, method, count, space)  # type: ignore[no-any-return]

    none = np.empty(0, np.float32)  # no rows are standardised
    _train(work, len(y), len(X.shift), partial(standard, none, none), batch, models, rates, plan)


def _labels(y: Any, weight: Any, n: int) -> tuple[Any, Any]:
    y = readable(y, np.float32)
    weight = np.ones(n, np.float32) if weight is None else readable(weight, np.float32)
    if y.shape != (n,) or weight.shape != (n,):
        raise ValueError(f"{n} rows, labels {y.shape}, weights {weight.shape}")
    return y, weight
