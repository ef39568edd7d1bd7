"""Points in inverted lists: each in that of its nearest centroid; a query reads a few lists.

Lists are packed in panels of sixteen points (see `tile`), so that the queries that read a list go
through it together, tile by tile. What a query finds depends on the query and the lists alone, not
on the queries beside it.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from smalgos._jit import kernel
from smalgos.kernels.cpu.candidates import better, bits, empty_heaps, lowest, ordered, replace_worst
from smalgos.kernels.cpu.nearest import Points
from smalgos.kernels.cpu.nearest_tiles import apart, product
from smalgos.kernels.cpu.nearest_top import top
from smalgos.kernels.cpu.shared import chunks, readable, run
from smalgos.kernels.cpu.tile import PANEL, aligned, multiply_add
from smalgos.kernels.cpu.vector import load, splat, store

__all__ = ["Lists", "Probes", "measure", "nearest_lists", "search_lists"]

QUERIES = 512  # of a task: the more, the more of them share a list
TOGETHER = 24  # queries that go through a list at once, two tall tiles
SLAB = 8  # panels whose products are held at once


class Probes(NamedTuple):
    """Which lists some queries read, list after list.

    lists    (l,) int64, ascending
    starts   (l + 1,) int64: list j is read by queries[starts[j] : starts[j + 1]]
    queries  (m,) int64, ascending within a list
    """

    lists: NDArray[np.int64]
    starts: NDArray[np.int64]
    queries: NDArray[np.int64]


class Lists:
    """Points by list, packed; immutable.

    Parameters
    ----------
    points : ndarray of float32, shape (n, d)
        List after list.
    offsets : ndarray of int64, shape (lists + 1,)
        List j has the points ``offsets[j] : offsets[j + 1]``.
    ids : ndarray of int64, shape (n,)
        What a point is called; of equally near ones the smaller id is nearer.
    metric : {"l2", "ip"}
    """

    def __init__(
        self,
        points: NDArray[np.float32],
        offsets: NDArray[np.int64],
        ids: NDArray[np.int64],
        metric: str = "l2",
    ) -> None:
        self.points, self.offsets, self.metric = readable(points, np.float32), offsets, metric
        self.ids = readable(ids, np.int64)
        self.first, self.places = panels_of(offsets)
        total, d = len(self.places), self.points.shape[1]
        self.panels = aligned(total, d, PANEL)
        self.half = np.full((total, PANEL), np.inf, np.float32)  # lanes that hold no point
        run(
            lambda part: _pack(
                self.points, self.places[part], metric == "l2", self.panels[part], self.half[part]
            ),
            chunks(total),
        )


def panels_of(offsets: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where lists lie that begin with a panel each.

    Parameters
    ----------
    offsets : ndarray of int64, shape (lists + 1,)

    Returns
    -------
    first : ndarray of int64, shape (lists + 1,)
        Panel that each list begins with.
    places : ndarray of int64, shape (panels, 16)
        Number of the point in each lane, -1 where there is none.
    """
    sizes = np.diff(offsets)
    first = np.concatenate(([0], np.cumsum(-(-sizes // PANEL)))).astype(np.int64)
    places = np.full((int(first[-1]), PANEL), -1, np.int64)
    numbers = np.arange(offsets[-1])
    lists = np.repeat(np.arange(len(sizes)), sizes)
    places.reshape(-1)[first[lists] * PANEL + numbers - offsets[lists]] = numbers
    return first, places


@kernel(fastmath=False)
def _pack(points, places, squares, panels, half):
    """Fill panels.

    points    (n, d) float32                                         in
    places    (P, 16) int64, -1 in lanes that hold no point          in
    squares   bool, whether half is half a square, else zero
    panels    (P, d, 16) float32, half (P, 16) float32               out
    """
    d = points.shape[1]
    for p in range(len(places)):
        for lane in range(PANEL):
            i = places[p, lane]
            if i < 0:
                continue
            total = 0.0
            for c in range(d):
                x = points[i, c]
                panels[p, c, lane] = x
                total += np.float64(x) * x
            half[p, lane] = 0.5 * total if squares else 0.0


def nearest_lists(
    X: NDArray[np.float32],
    centroids: Points,
    sizes: NDArray[np.int64],
    nprobe: int,
    least: int,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """The `nprobe` nearest lists of each row, and more until they hold `least` points together.

    Parameters
    ----------
    X : ndarray of float32, shape (n, d)
    centroids : Points
    sizes : ndarray of int64, shape (lists,)
    nprobe, least : int

    Returns
    -------
    rows, lists : ndarray of int64, shape (m,)
        Pairs of a row and a list that it reads.
    squares : ndarray of float32, shape (m,)
        Squared distances from row to centroid.
    """
    nprobe = min(nprobe, centroids.k)
    found, squares = top(X, centroids, nprobe)
    short = np.flatnonzero(sizes[found].sum(axis=1) < least)
    enough = np.ones(len(X), bool)
    enough[short] = False
    rows = np.repeat(np.flatnonzero(enough), nprobe)
    pairs = [(rows, found[enough].reshape(-1), squares[enough].reshape(-1))]
    for part in chunks(len(short), QUERIES):
        rows = short[part]
        found, squares = top(X[rows], centroids, centroids.k)
        held = sizes[found]
        before = np.cumsum(held, axis=1) - held
        i, j = np.nonzero((before < least) | (np.arange(centroids.k) < nprobe))
        pairs.append((rows[i], found[i, j], squares[i, j]))
    together = [np.concatenate(column) for column in zip(*pairs, strict=True)]
    return together[0], together[1].astype(np.int64), together[2]


def by_list(rows: NDArray[np.int64], lists: NDArray[np.int64]) -> tuple[Probes, NDArray[np.intp]]:
    """Pairs of row and list, list after list, and the order that makes them so."""
    order = np.lexsort((rows, lists))
    found, starts = np.unique(lists[order], return_index=True)
    starts = np.append(starts, len(order)).astype(np.int64)
    return Probes(found.astype(np.int64), starts, rows[order].astype(np.int64)), order


@kernel(fastmath=False)
def _search(X, probes, panels, half, places, ids, first, rows, tile, values, found):
    """Go through the lists and keep each query's best candidates.

    X        (q, d) float32                                                  in
    probes   Probes                                                          in
    panels, half, places, first   as in Lists                                in
    ids      (n,) int64                                                      in
    rows     (TOGETHER, d) float32, tile (SLAB, TOGETHER, 16), scratch       out
    values, found   (q, k) float32, int64: heaps (see candidates); value is
             half the point's square less the product                        in, out
    """
    d, together, slab = X.shape[1], rows.shape[0], tile.shape[0]
    zero = splat(0.0)
    for read in range(len(probes.lists)):
        start, stop = first[probes.lists[read]], first[probes.lists[read] + 1]
        last = probes.starts[read + 1]
        for a in range(probes.starts[read], last, together):
            count = min(together, last - a)
            for r in range(count):
                for c in range(d):
                    rows[r, c] = X[probes.queries[a + r], c]
            for p in range(start, stop, slab):
                here = min(slab, stop - p)
                for j in range(here):
                    for r in range(count):
                        store(tile, (j * together + r) * PANEL, zero)
                multiply_add(
                    rows, np.int64(0), d, count, np.int64(1), d, panels[p : p + here], tile[:here]
                )
                for r in range(count):
                    i = probes.queries[a + r]
                    bound = values[i, 0]
                    for j in range(here):
                        v = load(half, (p + j) * PANEL) - load(tile, (j * together + r) * PANEL)
                        left = bits(splat(bound) < v) ^ 65535
                        while left != 0:
                            lane = lowest(left)
                            left &= left - 1
                            at = places[p + j, lane]
                            value = half[p + j, lane] - tile[j, r, lane]
                            if at >= 0 and better(value, ids[at], bound, found[i, 0]):
                                replace_worst(values, found, i, value, ids[at])
                                bound = values[i, 0]


def search_lists(
    X: NDArray[np.float32],
    lists: Lists,
    centroids: Points,
    k: int,
    nprobe: int,
) -> NDArray[np.int64]:
    """Ids of the best k points of the nearest lists of each row.

    Parameters
    ----------
    X : ndarray of float32, shape (n, d)
    lists : Lists
        With k points at least.
    centroids : Points
    k, nprobe : int

    Returns
    -------
    ndarray of int64, shape (n, k)
        The best first.
    """
    X = readable(X, np.float32)
    d, sizes = X.shape[1], np.diff(lists.offsets)
    out = np.empty((len(X), k), np.int64)

    def work(part: slice) -> None:
        Q = X[part]
        rows, read, _ = nearest_lists(Q, centroids, sizes, nprobe, k)
        probes, _ = by_list(rows, read)
        values, found = empty_heaps(len(Q), k)
        _search(
            Q, probes, lists.panels, lists.half, lists.places, lists.ids, lists.first,
            aligned(TOGETHER, d), aligned(SLAB, TOGETHER, PANEL), values, found,
        )  # fmt: skip
        out[part] = ordered(values, found)[1]

    run(work, chunks(len(X), QUERIES))
    return out


@kernel(fastmath=False)
def _measure(X, points, at, squares, out):
    """Squared differences, or products, of rows and points, with the bits of `nearest.top`.

    X        (q, d) float32; points (n, d) float32      in
    at       (q, k) int64, numbers of points            in
    squares  bool
    out      (q, k) float32                             out
    """
    (q, d), k = X.shape, at.shape[1]
    for i in range(q):
        for j in range(k):
            if squares:
                out[i, j] = apart(X, i * d, points, at[i, j] * d, d)
            else:
                out[i, j] = product(X, i * d, points, at[i, j] * d, d)


def measure(
    X: NDArray[np.float32], points: NDArray[np.float32], at: NDArray[np.int64], metric: str = "l2"
) -> NDArray[np.float32]:
    """How far rows are from some points each: squared distances, or products.

    Parameters
    ----------
    X : ndarray of float32, shape (n, d)
    points : ndarray of float32, shape (m, d)
    at : ndarray of int64, shape (n, k)
        Numbers of points.
    metric : {"l2", "ip"}

    Returns
    -------
    ndarray of float32, shape (n, k)
    """
    X, points, at = readable(X, np.float32), readable(points, np.float32), readable(at, np.int64)
    out = np.empty(at.shape, np.float32)
    run(lambda rows: _measure(X[rows], points, at[rows], metric == "l2", out[rows]), chunks(len(X)))
    return out


def regrouped(labels: Any, lists: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(order, offsets): rows list after list, ascending within each."""
    order = np.argsort(labels, kind="stable")
    offsets = np.concatenate(([0], np.cumsum(np.bincount(labels, minlength=lists))))
    return order.astype(np.int64), offsets.astype(np.int64)
