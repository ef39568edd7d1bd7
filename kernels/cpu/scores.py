"""Raw scores of linear models: rows standardised, scored and judged.

Weights are panels of sixteen columns, laid out by a plan (see `layout`): ``W[p, j, c]`` is the
weight of feature j in lane c of panel p, ``W[p, d]`` the bias. A score is one chain of fused
multiply-adds over the features, from the bias on: its bits depend on no other row and no other
model.

Sparse rows stay as they are: standardising is folded into the weights.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from smalgos._jit import kernel
from smalgos.kernels.cpu.layout import Group, lanes
from smalgos.kernels.cpu.losses import Loss, gradient_panels
from smalgos.kernels.cpu.shared import chunks, readable, run
from smalgos.kernels.cpu.sparse import gather
from smalgos.kernels.cpu.tile import PANEL, aligned, multiply_add, panels, to_panels
from smalgos.kernels.cpu.vector import (
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

# Rows whose scores and gradients are worked on at once: between the two products they stay in the
# cache nearest to the core. A multiple of 16; no bit depends on it.
AT_ONCE = 128
CACHED = 1 << 16  # float32 numbers of rows that are standardised at once, at most


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


inner = kernel(fastmath=False, inline="always")


class Standard(NamedTuple):
    """How features are standardised, and where rows that are lie.

    shift, scale   (D,) float32, D a multiple of 16, zeros from d on
    rows           (R, D) float32, scratch: R rows are worked on at once
    """

    shift: NDArray[np.float32]
    scale: NDArray[np.float32]
    rows: NDArray[np.float32]


def standard(shift: Any, scale: Any, n: int = AT_ONCE) -> Standard:
    """Scratch of a task that standardises n rows."""
    d = len(shift)
    # An odd number of panels: rows would share places in the cache if they were 4096 bytes apart.
    wide = (panels(d) | 1) * PANEL
    most = min(AT_ONCE, max(PANEL, CACHED // wide // PANEL * PANEL))
    at_once = min(most, -(-n // PANEL) * PANEL)
    given = Standard(aligned(wide), aligned(wide), aligned(at_once, wide))
    given.shift[:d], given.scale[:d] = shift, scale
    return given


@kernel(fastmath=False)
def _first_bad(rows, count):
    """The first of `count` rows that is not finite, or -1."""
    for r in range(count):
        for j in range(rows.shape[1]):
            if not np.isfinite(rows[r, j]):
                return r
    return -1


@kernel(fastmath=False)
def standardise(X, picked, first, count, by):
    """Fill the first rows of `by.rows` with rows of X, standardised.

    X              (n, d) float32                                                   in
    picked         (m,) int64, numbers of rows of X; (0,) stands for all in order   in
    first, count   int64, which of these
    by             Standard                                                         in, out
    Returns the first of the rows that is not finite, counted from `first`, or -1.
    """
    d, wide = X.shape[1], by.rows.shape[1]
    whole = d // PANEL * PANEL
    zero = splat(0.0)
    bad = zero
    for r in range(count):
        row = first + r
        if len(picked) > 0:
            row = picked[row]
        for j in range(0, d, PANEL):
            at = row * d + j
            x = load(X, at) if j < whole else load_part(X, at, d - j)
            x = (x - load(by.shift, j)) * load(by.scale, j)
            store(by.rows, r * wide + j, x)
            bad = bad + select(magnitude(x) < splat(np.inf), zero, splat(1.0))
    if sum_lanes(np.float32(0.0), bad) > 0:
        return _first_bad(by.rows, count)
    return -1


@inner
def set_rows(C, count, b, b_at):
    """Set rows [:count] of each panel of C to a row, at b_at, of the same panel of b."""
    for p in range(C.shape[0]):
        line = load(b, p * b.shape[1] * PANEL + b_at)
        for r in range(count):
            store(C, (p * C.shape[1] + r) * PANEL, line)


@inner
def fold(W, shift, scale, folded):
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
def score_sparse(X, first, count, folded, raw):
    """raw = bias + x W for rows [first, first + count)."""
    width = folded.shape[1]
    set_rows(raw, count, folded, (width - 1) * PANEL)
    for r in range(count):
        start, stop = X.offsets[first + r], X.offsets[first + r + 1]
        for p in range(raw.shape[0]):
            w, c = p * width * PANEL, (p * raw.shape[1] + r) * PANEL
            gather(X.values, X.indices, start, stop, folded, w, raw, c)


@inner
def _hand_out(raw, count, columns, out, row):
    """Rows [:count] of the panels to rows of out; columns (P, 2): first one and how many."""
    for p in range(raw.shape[0]):
        for r in range(count):
            at = (row + r) * out.shape[1] + columns[p, 0]
            store_part(out, at, columns[p, 1], load(raw, (p * raw.shape[1] + r) * PANEL))


@kernel(fastmath=False)
def _score_dense(X, by, scaled, W, columns, raw, out):
    """Raw scores bias + x W, each one chain of fused multiply-adds over the features.

    X              (n, d) float32                                              in
    by             Standard, used if `scaled`                                  in, out
    scaled         bool
    W              (P, d + 1, 16) float32                                      in
    columns        (P, 2) int64, column of the first lane, number of lanes     in
    raw            (P, R, 16) float32, scratch                                 out
    out            (n, models * classes) float32                               out
    """
    n, d = X.shape
    every = np.empty(0, np.int64)
    for a in range(0, n, raw.shape[1]):
        count = min(raw.shape[1], n - a)
        set_rows(raw, count, W, d * PANEL)
        if scaled:
            standardise(X, every, a, count, by)
            multiply_add(by.rows, np.int64(0), by.rows.shape[1], count, np.int64(1), d, W, raw)
        else:
            multiply_add(X, a * d, d, count, np.int64(1), d, W, raw)
        _hand_out(raw, count, columns, out, a)


@kernel(fastmath=False)
def _folded(W, shift, scale, out):
    """`fold` of W (P, d + 1, 16) into out, as W."""
    fold(W, shift, scale, out)


@kernel(fastmath=False)
def _score_csr(X, W, columns, raw, first, out):
    """As `_score_dense`, for the rows of X (Sparse) from `first` on, as many as `out` has."""
    for a in range(0, len(out), raw.shape[1]):
        count = min(raw.shape[1], len(out) - a)
        score_sparse(X, first + a, count, W, raw)
        _hand_out(raw, count, columns, out, a)


def sparse_rows(values: Any, indices: Any, offsets: Any, shift: Any, scale: Any) -> Sparse:
    """Checked sparse rows: a kernel trusts indices and offsets."""
    given = Sparse(
        readable(values, np.float32),
        readable(indices, np.int32),
        readable(offsets, np.int64),
        readable(shift, np.float32),
        readable(scale, np.float32),
    )
    if given.shift.shape != given.scale.shape or given.values.shape != given.indices.shape:
        raise ValueError(
            f"shift {given.shift.shape} and scale {given.scale.shape}, values "
            f"{given.values.shape} and indices {given.indices.shape} do not fit"
        )
    check_csr(given.indices, given.offsets, len(given.shift))
    return given


def check_csr(indices: NDArray[np.int32], offsets: NDArray[np.int64], width: int) -> None:
    """Raise ValueError unless offsets ascend within the entries, and columns are below width."""
    first, last = offsets[0], offsets[-1]
    if first < 0 or last > len(indices) or (offsets[1:] < offsets[:-1]).any():
        raise ValueError(f"offsets must ascend from 0 to {len(indices)} at most")
    used = indices[first:last]
    if len(used) and (used.min() < 0 or used.max() >= width):
        raise ValueError(f"columns {used.min()} to {used.max()} in rows of {width} features")


def _columns(plan: Sequence[Group], classes: int) -> NDArray[np.int64]:
    """The column of the first lane of each panel, and the number of lanes; (P, 2)."""
    return _columns_of(tuple(plan), classes)


@lru_cache(maxsize=16)
def _columns_of(plan: tuple[Group, ...], classes: int) -> NDArray[np.int64]:
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
    X, W, columns = readable(X, np.float32), readable(W, np.float32), _columns(plan, classes)
    d = X.shape[1]
    scaled = shift is not None
    none = np.empty(0, np.float32)
    shift, scale = (none if x is None else np.asarray(x) for x in (shift, scale))
    if W.shape[:2] != (len(columns), d + 1) or not shift.shape == scale.shape == (d * scaled,):
        raise ValueError(f"rows of {d} features: weights are {W.shape}, shift {shift.shape}")
    out = np.empty((len(X), columns[:, 1].sum()), np.float32)

    def work(part: slice) -> None:
        by = standard(shift, scale, part.stop - part.start)
        raw = aligned(len(W), len(by.rows), PANEL)
        _score_dense(X[part], by, scaled, W, columns, raw, out[part])

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
    W, columns = readable(W, np.float32), _columns(plan, classes)
    d = W.shape[1] - 1
    ones = np.ones(d, np.float32)
    given = shift is not None or scale is not None
    shift = np.zeros(d, np.float32) if shift is None else shift
    X = sparse_rows(values, indices, offsets, shift, ones if scale is None else scale)
    if len(W) != len(columns) or X.shift.shape != (d,):
        raise ValueError(f"weights are {W.shape}, shift {X.shift.shape}")
    if given:
        folded = aligned(*W.shape)
        _folded(W, X.shift, X.scale, folded)
        W = folded
    out = np.empty((len(X.offsets) - 1, columns[:, 1].sum()), np.float32)

    def work(part: slice) -> None:
        _score_csr(X, W, columns, aligned(len(W), AT_ONCE, PANEL), part.start, out[part])

    run(work, chunks(len(out)))
    return out


@kernel(fastmath=False)
def _take(raw, out):
    """Rows of scores as panels, zeros in lanes beyond.

    raw   (n, columns) float32             in
    out   (P, >= n, 16) float32            out
    """
    n, columns = raw.shape
    for p in range(out.shape[0]):
        j = p * PANEL
        for r in range(n):
            x = load_part(raw, r * columns + j, columns - j)
            store(out, (p * out.shape[1] + r) * PANEL, x)


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
        Weight of label-1 rows in each model, of each class for softmax; None stands for 1.
    classes : int
    sums : ndarray of float64, shape (models,)
    """
    n, columns = raw.shape
    raw, y = readable(raw, np.float32), readable(y, np.float32)
    weight = np.ones(n, np.float32) if weight is None else readable(weight, np.float32)
    if y.shape != (n,) or weight.shape != (n,) or sums.shape != (columns // classes,):
        raise ValueError(
            f"scores {raw.shape}, labels {y.shape}, weights {weight.shape}, "
            f"sums {sums.shape} do not fit"
        )
    share = np.ones(columns) if positive is None else positive
    at_p = np.ascontiguousarray(to_panels(np.asarray(share)[None])[:, 0])

    def work(part: slice) -> NDArray[np.float64]:
        rows, high = part.stop - part.start, len(at_p)
        scores = aligned(high, -(-rows // PANEL) * PANEL, PANEL)
        _take(raw[part], scores)
        added, slope = np.zeros((high, PANEL)), np.zeros((high, PANEL), np.float32)
        gradient_panels(
            loss, y[part], weight[part], at_p, classes, columns // classes, scores, rows,
            aligned(high * PANEL * PANEL), added, slope,
        )  # fmt: skip
        each: NDArray[np.float64] = added.reshape(-1)[:columns].reshape(-1, classes).sum(axis=1)
        return each

    for part in run(work, chunks(n)):
        sums += part
