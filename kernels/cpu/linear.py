"""Many linear models trained side by side on the same rows.

Weights are panels of sixteen columns, laid out by a plan (see `layout`): ``W[p, j, c]`` is the
weight of feature j in lane c of panel p, ``W[p, d]`` the bias. What happens in a lane depends on no
other lane but those of the same model, and every sum runs over the rows in order: the bits of a
model depend neither on what is trained beside it, nor on the number of threads, nor on how rows are
cut into blocks, as long as blocks are whole batches.

Sparse rows stay as they are: standardising is folded into the weights before each batch and into
the gradient after it.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from smalgos._jit import kernel
from smalgos.kernels.cpu.histogram import bin_edges, histogram
from smalgos.kernels.cpu.layout import Group, groups, lanes, pack, spread, unpack
from smalgos.kernels.cpu.losses import Loss, gradient_panels, link, loss_value_gradient
from smalgos.kernels.cpu.optimizers import Optimizer, optimizer, slots, step
from smalgos.kernels.cpu.shared import chunks, readable, run
from smalgos.kernels.cpu.sparse import gather, scatter
from smalgos.kernels.cpu.tile import PANEL, aligned, multiply_add
from smalgos.kernels.cpu.vector import (
    fma,
    load,
    load_part,
    magnitude,
    narrow,
    select,
    splat,
    store,
    store_part,
    sum_lanes,
    widen,
)

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
    "standardise",
    "start",
    "train_csr",
    "train_dense",
    "unpack",
]


# Rows whose scores and gradients are worked on at once: between the two products they stay in the
# cache nearest to the core. A multiple of 16; no bit depends on it.
AT_ONCE = 128


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


class Sparse(NamedTuple):
    """Sparse rows, and how their features are standardised.

    values, indices   (nnz,) float32, (nnz,) int32
    offsets           (n + 1,) int64, from anywhere
    shift, scale      (d,) float32
    """

    values: NDArray[np.float32]
    indices: NDArray[np.int32]
    offsets: NDArray[np.int64]
    shift: NDArray[np.float32]
    scale: NDArray[np.float32]


class Space(NamedTuple):
    """Scratch of a task; R rows are worked on at once.

    raw            (P, R, 16) float32
    grad, folded   (P, d + 1, 16) float32; folded only for sparse rows
    slope          (P, 16) float32
    work           (P * 256,) float32
    factors        (3, 16) float32, the last row zeros
    """

    raw: NDArray[np.float32]
    grad: NDArray[np.float32]
    folded: NDArray[np.float32]
    slope: NDArray[np.float32]
    work: NDArray[np.float32]
    factors: NDArray[np.float32]


inner = kernel(fastmath=False, inline="always")


@kernel(fastmath=False)
def _standardise(X, shift, scale, out):
    """out = (X - shift) * scale; the first row with a result that is not finite, or -1.

    X, out         (n, d) float32        in; out
    shift, scale   (d,) float32          in
    """
    n, d = X.shape
    zero = splat(0.0)
    for i in range(n):
        bad = zero
        for j in range(0, d, PANEL):
            at, count = i * d + j, d - j
            x = (load_part(X, at, count) - load_part(shift, j, count)) * load_part(scale, j, count)
            store_part(out, at, count, x)
            bad = bad + select(magnitude(x) < splat(np.inf), zero, splat(1.0))
        if sum_lanes(np.float32(0.0), bad) > 0:
            return i
    return -1


@inner
def _set_rows(C, count, b, b_at):
    """Set rows [:count] of each panel of C to a row, at b_at, of the same panel of b."""
    for p in range(C.shape[0]):
        line = load(b, p * b.shape[1] * PANEL + b_at)
        for r in range(count):
            store(C, (p * C.shape[1] + r) * PANEL, line)


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
def _train_dense(X, y, weight, batch, models, rates, t, method, n_models, space):
    """Train the models of one group on consecutive batches of rows.

    X           (n, d) float32, standardised                              in
    y, weight   (n,) float32                                              in
    batch       int64, rows of a batch; the last one may be shorter
    models      Models                                                    in, out
    rates       (P, ceil(n / batch), 16) float32                          in
    t           int64, number of the first step, from 1 on
    method      Method
    n_models    int64, models in the group
    space       Space
    """
    n, d = X.shape
    W, raw, grad, slope = models.W, space.raw, space.grad, space.slope
    at_once = raw.shape[1]
    for first in range(0, n, batch):
        rows = min(batch, n - first)
        grad[:] = 0
        slope[:] = 0
        for a in range(first, first + rows, at_once):
            count = min(at_once, first + rows - a)
            _set_rows(raw, count, W, d * PANEL)
            multiply_add(X, a * d, d, count, np.int64(1), d, W, raw)
            gradient_panels(
                method.loss, y[a:], weight[a:], models.positive, method.classes, n_models,
                raw, count, space.work, models.sums, slope,
            )  # fmt: skip
            multiply_add(X, a * d, np.int64(1), d, d, count, raw, grad)
        _apply(models, method, t, space, rows, rates, first // batch)
        t += 1


@inner
def _fold(W, shift, scale, folded):
    """Weights for features as they are: of x in place of (x - shift) * scale."""
    d = len(shift)
    for p in range(W.shape[0]):
        first = p * (d + 1) * PANEL
        moved = widen(splat(0.0))
        for j in range(d):
            w = splat(scale[j]) * load(W, first + j * PANEL)
            store(folded, first + j * PANEL, w)
            moved = moved + widen(splat(shift[j])) * widen(w)
        last = first + d * PANEL
        store(folded, last, narrow(widen(load(W, last)) - moved))


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


@inner
def _score_sparse(X, first, count, folded, raw):
    """raw = bias + x W for rows [first, first + count)."""
    width = folded.shape[1]
    _set_rows(raw, count, folded, (width - 1) * PANEL)
    for r in range(count):
        start, stop = X.offsets[first + r], X.offsets[first + r + 1]
        for p in range(raw.shape[0]):
            w, c = p * width * PANEL, (p * raw.shape[1] + r) * PANEL
            gather(X.values, X.indices, start, stop, folded, w, raw, c)


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
        _fold(models.W, X.shift, X.scale, space.folded)
        for a in range(first, first + rows, at_once):
            count = min(at_once, first + rows - a)
            _score_sparse(X, a, count, space.folded, raw)
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


@inner
def _hand_out(raw, count, columns, out, row):
    """Rows [:count] of the panels to rows of out; columns (P, 2): first one and how many."""
    for p in range(raw.shape[0]):
        for r in range(count):
            at = (row + r) * out.shape[1] + columns[p, 0]
            store_part(out, at, columns[p, 1], load(raw, (p * raw.shape[1] + r) * PANEL))


@kernel(fastmath=False)
def _score_dense(X, shift, scale, W, columns, raw, rows, out):
    """Raw scores bias + x W, each one chain of fused multiply-adds over the features.

    X              (n, d) float32                                              in
    shift, scale   (d,) float32 to standardise x on the way, or (0,)           in
    W              (P, d + 1, 16) float32                                      in
    columns        (P, 2) int64, column of the first lane, number of lanes     in
    raw, rows      (P, R, 16), (R, d) float32, scratch                         out
    out            (n, models * classes) float32                               out
    """
    n, d = X.shape
    for a in range(0, n, raw.shape[1]):
        count = min(raw.shape[1], n - a)
        _set_rows(raw, count, W, d * PANEL)
        if len(shift) > 0:
            _standardise(X[a : a + count], shift, scale, rows)
            multiply_add(rows, np.int64(0), d, count, np.int64(1), d, W, raw)
        else:
            multiply_add(X, a * d, d, count, np.int64(1), d, W, raw)
        _hand_out(raw, count, columns, out, a)


@kernel(fastmath=False)
def _score_csr(X, W, columns, raw, folded, first, out):
    """As `_score_dense`, for the rows of X (Sparse) from `first` on, as many as `out` has."""
    _fold(W, X.shift, X.scale, folded)
    for a in range(0, len(out), raw.shape[1]):
        count = min(raw.shape[1], len(out) - a)
        _score_sparse(X, first + a, count, folded, raw)
        _hand_out(raw, count, columns, out, a)


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


def standardise(
    X: NDArray[Any], shift: NDArray[Any], scale: NDArray[Any], out: NDArray[np.float32]
) -> int:
    """out = (X - shift) * scale.

    Parameters
    ----------
    X : ndarray of float32, shape (n, d)
    shift, scale : ndarray of float32, shape (d,)
    out : ndarray of float32, shape (n, d)
        May be X.

    Returns
    -------
    int
        Number of the first row with a result that is not finite, or -1. If there is one, rows
        from it on are not all written.
    """
    X, shift, scale = (readable(x, np.float32) for x in (X, shift, scale))
    if X.shape != out.shape or not X.shape[1:] == shift.shape == scale.shape:
        raise ValueError(f"shapes {X.shape}, {shift.shape}, {scale.shape}, {out.shape} do not fit")
    parts = chunks(len(X))
    bad = run(lambda rows: _standardise(X[rows], shift, scale, out[rows]), parts)
    return next((part.start + i for part, i in zip(parts, bad, strict=True) if i >= 0), -1)


def _train(
    work: Callable[..., None],
    n: int,
    d: int,
    batch: int,
    models: Models,
    rates: NDArray[np.float32],
    plan: Sequence[Group],
) -> None:
    """Call work(models, rates, number of models, scratch) for each group with its panels."""
    count = sum(group.panels for group in plan)
    steps = -(-n // batch)
    if models.W.shape[:2] != (count, d + 1) or rates.shape != (count, steps, PANEL):
        raise ValueError(
            f"{count} panels, {d} features, {steps} steps: weights are {models.W.shape}, "
            f"rates {rates.shape}"
        )

    def task(given: tuple[int, Group]) -> None:
        first, group = given
        part, high = slice(first, first + group.panels), group.panels
        space = Space(
            aligned(high, AT_ONCE, PANEL),
            aligned(high, d + 1, PANEL),
            aligned(high, d + 1, PANEL),
            aligned(high, PANEL),
            aligned(high * PANEL * PANEL),
            aligned(3, PANEL),
        )
        work(Models(*(x[part] for x in models)), rates[part], group.models, space)

    starts = np.cumsum([0, *(group.panels for group in plan[:-1])]).tolist()
    run(task, list(zip(starts, plan, strict=True)))


def train_dense(
    X: NDArray[np.float32],
    y: NDArray[np.float32],
    weight: NDArray[np.float32] | None,
    batch: int,
    models: Models,
    rates: NDArray[np.float32],
    t: int,
    method: Method,
    plan: Sequence[Group],
) -> None:
    """Train all models on consecutive batches of rows, the groups side by side.

    Parameters
    ----------
    X : ndarray of float32, shape (n, d)
        Standardised features.
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
    """
    y, weight = _labels(y, weight, len(X))
    X = readable(X, np.float32)

    def work(share: Models, rates: Any, count: int, space: Space) -> None:
        _train_dense(X, y, weight, batch, share, rates, t, method, count, space)

    _train(work, *X.shape, batch, models, rates, plan)


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
    X = _sparse(values, indices, offsets, shift, scale)
    y, weight = _labels(y, weight, len(offsets) - 1)

    def work(share: Models, rates: Any, count: int, space: Space) -> None:
        _train_csr(X, y, weight, batch, share, rates, t, method, count, space)

    _train(work, len(y), len(shift), batch, models, rates, plan)


def _labels(y: Any, weight: Any, n: int) -> tuple[Any, Any]:
    y = readable(y, np.float32)
    weight = np.ones(n, np.float32) if weight is None else readable(weight, np.float32)
    if y.shape != (n,) or weight.shape != (n,):
        raise ValueError(f"{n} rows, labels {y.shape}, weights {weight.shape}")
    return y, weight


def _sparse(values: Any, indices: Any, offsets: Any, shift: Any, scale: Any) -> Sparse:
    if len(shift) != len(scale):
        raise ValueError(f"shift has {len(shift)} entries, scale {len(scale)}")
    return Sparse(
        readable(values, np.float32),
        readable(indices, np.int32),
        readable(offsets, np.int64),
        readable(shift, np.float32),
        readable(scale, np.float32),
    )


def _columns(plan: Sequence[Group], classes: int) -> NDArray[np.int64]:
    columns = lanes(plan, classes)
    return np.stack([columns[:, 0], (columns >= 0).sum(axis=1)], axis=1)


def score_dense(
    X: NDArray[np.float32],
    W: NDArray[np.float32],
    plan: Sequence[Group],
    classes: int = 1,
    shift: NDArray[np.float32] | None = None,
    scale: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """Raw scores of rows by all models.

    Parameters
    ----------
    X : ndarray of float32, shape (n, d)
    W : ndarray of float32, shape (P, d + 1, 16)
    plan : list of Group
    classes : int
    shift, scale : ndarray of float32, shape (d,), optional
        If given, (x - shift) * scale is scored.

    Returns
    -------
    ndarray of float32, shape (n, models * classes)
    """
    X, columns = readable(X, np.float32), _columns(plan, classes)
    d = X.shape[1]
    none = np.empty(0, np.float32)
    shift = none if shift is None else readable(shift, np.float32)
    scale = none if scale is None else readable(scale, np.float32)
    if W.shape[:2] != (len(columns), d + 1) or len(shift) not in (0, d) or len(shift) != len(scale):
        raise ValueError(f"rows of {d} features: weights are {W.shape}, shift {shift.shape}")
    out = np.empty((len(X), columns[:, 1].sum()), np.float32)

    def work(part: slice) -> None:
        raw, rows = aligned(len(W), AT_ONCE, PANEL), aligned(AT_ONCE if len(shift) else 0, d)
        _score_dense(X[part], shift, scale, W, columns, raw, rows, out[part])

    run(work, chunks(len(X)))
    return out


def score_csr(
    values: NDArray[np.float32],
    indices: NDArray[np.int32],
    offsets: NDArray[np.int64],
    W: NDArray[np.float32],
    plan: Sequence[Group],
    classes: int = 1,
    shift: NDArray[np.float32] | None = None,
    scale: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """As `score_dense`, for sparse rows."""
    d, columns = W.shape[1] - 1, _columns(plan, classes)
    shift = np.zeros(d, np.float32) if shift is None else shift
    scale = np.ones(d, np.float32) if scale is None else scale
    X = _sparse(values, indices, offsets, shift, scale)
    if len(W) != len(columns) or len(shift) != d:
        raise ValueError(f"weights are {W.shape}, shift has {len(shift)} entries")
    out = np.empty((len(X.offsets) - 1, columns[:, 1].sum()), np.float32)

    def work(part: slice) -> None:
        raw, folded = aligned(len(W), AT_ONCE, PANEL), aligned(len(W), d + 1, PANEL)
        _score_csr(X, W, columns, raw, folded, part.start, out[part])

    run(work, chunks(len(out)))
    return out


def judge(
    loss: Loss,
    y: NDArray[Any],
    raw: NDArray[np.float32],
    weight: NDArray[Any] | None,
    positive: NDArray[Any] | None,
    classes: int,
    sums: NDArray[np.float64],
) -> None:
    """Add the losses of a block of scores to sums.

    The same bits however rows are cut into blocks, as long as blocks are whole `CHUNK`s.

    Parameters
    ----------
    loss : Loss
    y, weight : ndarray, shape (n,)
        Labels, and weights of rows; None stands for weights of 1.
    raw : ndarray of float32, shape (n, models * classes)
    positive : ndarray, shape (models * classes,), optional
        As for `start`; None stands for 1.
    classes : int
    sums : ndarray of float64, shape (models,)
    """

    def work(part: slice) -> NDArray[np.float64]:
        share = None if weight is None else weight[part]
        return loss_value_gradient(loss, y[part], raw[part], share, positive, classes)[0]

    for part in run(work, chunks(len(raw))):
        sums += part
