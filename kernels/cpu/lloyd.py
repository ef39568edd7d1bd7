"""Lloyd's iterations, exact, with or without bounds; seeds by k-means++.

Lloyd (1982), Least squares quantization in PCM, IEEE Trans. Inf. Theory 28(2).

**Sums.** Each column is scaled by a power of two and its entries, times the weights, are rounded to
int64: at n rows some 62 - log2(n) bits below the column's largest. Sums of integers are the same in
any order, and taking a row out of one cluster and into another gives the bits of summing anew. So
only rows that changed are added and subtracted, whatever the number of threads, after a resume, and
with bounds as without. Inertia comes from the sums, too, without a look at the rows.

**Bounds.** Hamerly (2010), Making k-means even faster, keeps for each row an upper bound on the
distance to its own centre and a lower one on that to all others, and passes the row over while the
upper one is below. Each step of the centres widens both: the lower one by the longest step of all.
As a few centres often go far when most stand still, those that go far are watched: all rows are
compared with them, and the lower bound yields to the longest step of the others alone. (Two groups
in the sense of Ding et al. (2015), Yinyang K-means, parted anew in each iteration.) How many are
watched is chosen where that saves most, by the bounds of a sample of rows. With a filter in bytes,
bounds that save nothing are let go, and made again when steps are half as long.

**Why the labels are those of plain iterations, ties and rounding included.** A score (see
`nearest_tiles`) is (|x|^2 - D^2) / 2 for a distance D, but for an error of at most
e = margin(d) (|x|^2 + M^2), M^2 the largest |c|^2. Bounds hold for true distances: what is worked
out from scores is widened by 2 e before the root, and each operation that follows by 2^-22 of the
value, four times the rounding of float32. Where lower^2 > upper^2 + 4 e, the true score of the own
centre exceeds all others by more than 2 e, hence its computed one exceeds theirs, and the plain
iteration finds it, no tie possible. Every other row gets the plain computation itself.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from smalgos._jit import kernel
from smalgos.kernels.cpu.nearest import (
    Guesses,
    Points,
    Rows,
    apart_csr,
    distances_of,
    find,
    margin,
    measure,
    square_csr,
)
from smalgos.kernels.cpu.nearest_tiles import (
    STRIP,
    TALL,
    WIDE,
    apart,
    inner,
    pack,
    product,
    score,
)
from smalgos.kernels.cpu.shared import Lent, chunks, run
from smalgos.kernels.cpu.tile import PANEL, scratch
from smalgos.kernels.cpu.vector import load, select, splat, store

__all__ = ["BOUNDS", "Lloyd", "choose", "seed_plus_plus"]

BOUNDS = ("plain", "hamerly")
ROWS = 8192  # of a task,
ENTRIES = 1 << 19  # or so many entries, 2 MB: what is read twice stays in cache
FILTERED = 0.5  # of the time of all scores: what a filter in bytes takes (`find`)
SAMPLE = 2048  # rows whose bounds say how many centres to watch
UP, DOWN = np.float32(1 + 2.0**-22), np.float32(1 - 2.0**-22)


def choose(k: int, d: int, n: int) -> str:
    """Which of `BOUNDS` is fastest as a rule for n rows of d features and k clusters.

    Bounds cost a few instructions a row and spare k d of them, and the reading of the row.
    """
    return "hamerly" if k > 2 and k * d >= 128 and n > k else "plain"


@kernel(fastmath=False)
def _extent(X, weights, squares, largest):
    """Sum of w |x|^2, in float64.

    X, weights   (n, d) float32, (n,) float32 or (0,)                                 in
    squares      (n,) float32, |x|^2                                                  out
    largest      (d,) float32, of |x| in each column                                  in, out
    """
    (n, d), energy = X.shape, 0.0
    for i in range(n):
        for j in range(d):
            largest[j] = max(largest[j], abs(X[i, j]))
        square = product(X, i * d, X, i * d, d)
        squares[i] = square
        energy += np.float64(weights[i]) * square if weights.size else square
    return energy


@kernel(fastmath=False)
def _extent_csr(values, indices, offsets, weights, squares, largest):
    """As `_extent`, for sparse rows, added in the same order."""
    energy, lanes = 0.0, np.empty(PANEL)
    for i in range(len(squares)):
        for e in range(offsets[i], offsets[i + 1]):
            largest[indices[e]] = max(largest[indices[e]], abs(values[e]))
        square = square_csr(values, indices, offsets[i], offsets[i + 1], lanes)
        squares[i] = square
        energy += np.float64(weights[i]) * square if weights.size else square
    return energy


@inner
def _below(low, up, off):
    """Whether a lower bound on other distances rules out that another score is as high."""
    low, up = np.float64(low), np.float64(up)
    return low * low > up * up + 4.0 * off


@inner
def _bound(square, score, off):
    """A distance from a score; off: 2 e for an upper bound, -2 e for a lower one."""
    return np.float32(np.sqrt(max(0.0, square - 2.0 * np.float64(score) + off)))


@inner
def _bind(i, row, squares, most, off, high, second, upper, lower):
    """The bounds of a row, from the scores i."""
    own = np.float64(squares[row])
    e = off * (own + most)
    upper[row] = _bound(own, high[i], 2.0 * e) * UP
    lower[row] = _bound(own, second[i], -2.0 * e) * DOWN


@inner
def _move(X, i, weight, scale, old, new, sums, totals):
    """Take row i out of cluster `old`, unless that is -1, and into `new`."""
    for j in range(X.shape[1]):
        entry = np.int64(np.rint(np.float64(X[i, j]) * (weight * scale[j])))
        sums[new, j] += entry
        if old >= 0:
            sums[old, j] -= entry
    whole = np.int64(np.rint(weight * scale[X.shape[1]]))
    totals[new] += whole
    if old >= 0:
        totals[old] -= whole


@inner
def _watch(tile, names, t, mine, high):
    """Running maxima of the scores by watched centres other than the rows' own.

    tile    (TALL, WIDE, 16) float32                                                  in
    names   (T * TALL,) float32, numbers of the watched centres                       in
    mine    (WIDE, 16) float32, labels of the rows                                    in
    high    (WIDE, 16) float32                                                        in, out
    """
    for j in range(WIDE):
        top, own = load(high, j * PANEL), load(mine, j * PANEL)
        for r in range(TALL):
            new = load(tile, (r * WIDE + j) * PANEL)
            new = select(own == splat(names[t * TALL + r]), splat(-np.inf), new)
            top = select(new > top, new, top)
        store(high, j * PANEL, top)


@kernel(fastmath=False)
def _suspects(
    X, P, squares, most, off, tiles, starts, names, watched, drift, slow,
    labels, upper, lower, numbers,
):  # fmt: skip
    """Widen the bounds by a step of the centres; list the rows that may change.

    X, P             (n, d), (k, d) float32, rows and centres                         in
    squares          (n,) float32, |x|^2                                              in
    most, off        float64, largest |c|^2, `margin`
    tiles, starts    of the watched centres                                           in
    names, watched   (T * TALL,) float32, their numbers; int64, how many
    drift, slow      (k,) float32, float32: how far each centre went at most, and how
                     far those that are not watched                                   in
    labels           (n,) int32                                                       in
    upper, lower     (n,) float32                                                     in, out
    numbers          (n,) int32                                                       out
    Returns how many rows are listed.
    """
    (n, d), suspects = X.shape, 0
    every = np.arange(n).astype(np.int32)
    deep, begin = -(-d // PANEL) * PANEL, np.empty(PANEL, np.int64)
    square, tile = scratch(256), scratch(TALL * STRIP)
    mine, high = scratch(STRIP), scratch(STRIP)
    rows = scratch(WIDE * deep * PANEL).reshape(WIDE, deep, PANEL)
    for i in range(0, n, STRIP):
        count = min(STRIP, n - i)
        if watched:
            pack(X, every, i, count, begin, square, rows, 0)
            for r in range(STRIP):
                mine[r], high[r] = labels[i + min(r, count - 1)], -np.inf
            for t in range(len(tiles)):
                score(tiles, t, watched, starts, rows, 0, tile)
                _watch(tile, names, t, mine, high)
        for r in range(i, i + count):
            own, e = labels[r], off * (np.float64(squares[r]) + most)
            up = (upper[r] + drift[own]) * UP
            low = max(np.float32(0), (lower[r] - slow) * DOWN)
            if watched:
                low = min(low, _bound(np.float64(squares[r]), high[r - i], -2.0 * e) * DOWN)
            if not _below(low, up, e):
                # The row is read only if there is hope: if it would do that its own centre stayed.
                hope = _below(low, upper[r], e)
                if hope:
                    up = np.float32(np.sqrt(apart(X, r * d, P, own * d, d))) * UP
                if not (hope and _below(low, up, e)):
                    numbers[suspects] = r
                    suspects += 1
            upper[r], lower[r] = up, low
    return suspects


@kernel(fastmath=False)
def _relabel(
    X, weights, scale, squares, most, off, numbers, found, high, second, labels, upper, lower,
    sums, totals,
):  # fmt: skip
    """Give the listed rows the centres that were found; their bounds, and the sums.

    numbers          (m,) int32, the rows                                             in
    weights, scale   (n,) float32 or (0,); (d + 1,) float64, of columns and weights   in
    found            (m,) int32                                                       in
    high, second     (m,) float32, the highest scores; (0,): there are no bounds      in
    sums, totals     (k, d), (k,) int64                                               in, out
    Others as in `_suspects`. Returns how many labels changed.
    """
    changed = 0
    for i, row in enumerate(numbers):
        old, new = np.int64(labels[row]), np.int64(found[i])
        if high.size:
            _bind(i, row, squares, most, off, high, second, upper, lower)
        if new != old:
            weight = np.float64(weights[row]) if weights.size else 1.0
            _move(X, row, weight, scale, old, new, sums, totals)
            labels[row] = new
            changed += 1
    return changed


@kernel(fastmath=False)
def _suspects_csr(
    values, indices, offsets, P, norms, squares, most, off, drift, slow,
    labels, upper, lower, numbers,
):  # fmt: skip
    """As `_suspects`, for sparse rows and no watched centres; norms (k,) float64, |c|^2."""
    suspects = 0
    for r in range(len(labels)):
        own, e = labels[r], off * (np.float64(squares[r]) + most)
        up = (upper[r] + drift[own]) * UP
        low = max(np.float32(0), (lower[r] - slow) * DOWN)
        if not _below(low, up, e):
            far = apart_csr(values, indices, offsets[r], offsets[r + 1], P, own, norms[own])
            up = np.float32(np.sqrt(far + 2.0 * e)) * UP  # it is no sum of squares
            if not _below(low, up, e):
                numbers[suspects] = r
                suspects += 1
        upper[r], lower[r] = up, low
    return suspects


@kernel(fastmath=False)
def _relabel_csr(
    values, indices, offsets, weights, scale, squares, most, off, numbers, found, high, second,
    labels, upper, lower, sums, totals,
):  # fmt: skip
    """As `_relabel`, for sparse rows."""
    changed, last = 0, len(scale) - 1
    for i, row in enumerate(numbers):
        old, new = np.int64(labels[row]), np.int64(found[i])
        if high.size:
            _bind(i, row, squares, most, off, high, second, upper, lower)
        if new != old:
            weight = np.float64(weights[row]) if weights.size else 1.0
            whole = np.int64(np.rint(weight * scale[last]))
            totals[new] += whole
            if old >= 0:
                totals[old] -= whole
            for e in range(offsets[row], offsets[row + 1]):
                j = indices[e]
                entry = np.int64(np.rint(np.float64(values[e]) * (weight * scale[j])))
                sums[new, j] += entry
                if old >= 0:
                    sums[old, j] -= entry
            labels[row] = new
            changed += 1
    return changed


def _scale(total: float, largest: NDArray[Any]) -> NDArray[np.float64]:
    """Powers of two by which sums of weights that add up to `total`, times entries, fit int64."""
    with np.errstate(divide="ignore"):
        bits = np.ceil(np.log2(np.asarray(largest, np.float64) * total))
    return np.exp2(np.where(np.isfinite(bits), np.clip(61 - bits, -1000, 1000), 0.0))


class Lloyd:
    """Lloyd's iterations over rows that stay in memory.

    One iteration is `assign` and `update`. The same labels, centres and inertia come out, bit for
    bit, with bounds and without, for any number of threads, and if iterations begin anew from the
    centres of an earlier one.

    Parameters
    ----------
    X : ndarray of float32, shape (n, d), or Csr
        Finite; not copied where it can be used as it is.
    weights : ndarray, shape (n,), optional
        Not negative; made float32.
    centres : ndarray, shape (k, d)
        Where to begin. Made float32.
    bounds : {"auto", "plain", "hamerly"}

    Attributes
    ----------
    centres : ndarray of float32, shape (k, d)
    labels : ndarray of int32, shape (n,)
        As of the last `assign`; -1 before it.
    counts : ndarray of float64, shape (k,)
        Sum of the weights in each cluster: 0 for empty ones.
    inertia : float
        Weighted sum of the squared distances of rows to the centres they were assigned to.

    Raises
    ------
    ValueError
        If shapes do not fit, there are no rows, or squares do not fit float32.
    """

    def __init__(self, X: Any, weights: Any, centres: Any, bounds: str = "auto") -> None:
        self.centres = np.array(centres, np.float32, order="C")
        if self.centres.ndim != 2 or bounds not in ("auto", *BOUNDS):
            raise ValueError(f"centres {self.centres.shape}, bounds {bounds!r} of {BOUNDS}")
        (k, d), self._X = self.centres.shape, X
        self._rows = Rows(X, d)
        n = self._rows.n
        self._weights = np.empty(0, np.float32)
        if weights is not None:
            self._weights = np.array(weights, np.float32, order="C")
        if n == 0 or not k < 1 << 24 or self._weights.shape not in ((0,), (n,)):
            raise ValueError(f"{n} rows, {k} centres, weights {self._weights.shape} do not fit")
        self.bounds = choose(k, d, n) if bounds == "auto" else bounds
        self._squares = np.empty(n, np.float32)
        largest = self._extents(d)
        if not np.isfinite(self._squares).all():
            raise ValueError("rows must be finite, and their squares fit float32")
        total = float(n) if weights is None else float(self._weights.sum(dtype=np.float64))
        whole = np.ones(1) if weights is None else _scale(total, np.ones(1))
        self._scale = np.append(_scale(total, largest), whole)  # of columns, and of weights
        self.labels = np.full(n, -1, np.int32)
        self.inertia = np.inf
        held = n if self.bounds != "plain" else 0
        self._upper, self._lower = np.empty(held, np.float32), np.empty(held, np.float32)
        self._sums, self._totals = np.zeros((k, d), np.int64), np.zeros(k, np.int64)
        self._parts: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []
        self._lent = Lent(self._part)
        self._met: NDArray[np.float32] | None = None  # the centres that labels are for
        self._bounded, self._tried = False, np.inf  # whether bounds hold; steps when made last

    def _extents(self, d: int) -> NDArray[np.float32]:
        def work(part: slice) -> tuple[float, Any]:
            given, largest = self._rows.part(part), np.zeros(d, np.float32)
            of = self._weights[part], self._squares[part], largest
            if isinstance(given, tuple):
                return _extent_csr(*given, *of), largest
            return _extent(given, *of), largest

        parts = run(work, chunks(self._rows.n))
        self._energy = float(sum(energy for energy, _ in parts))
        return np.max([largest for _, largest in parts], axis=0)

    def _part(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        self._parts.append((np.zeros_like(self._sums), np.zeros_like(self._totals)))
        return self._parts[-1]

    @property
    def counts(self) -> NDArray[np.float64]:
        """Sum of the weights in each cluster."""
        return self._totals / self._scale[-1]

    @property
    def empty(self) -> NDArray[np.intp]:
        """Numbers of the clusters without weight."""
        return np.flatnonzero(self._totals == 0)

    def _drift(self) -> NDArray[np.float32]:
        """How far each centre went since bounds were made, at most."""
        assert self._met is not None
        step = self.centres.astype(np.float64) - self._met
        return np.sqrt((step**2).sum(axis=1)).astype(np.float32) * UP

    def _plan(self, full: float = 1.0) -> tuple[np.float32, NDArray[Any]] | None:
        """The longest step of a centre that is not watched, and who is watched.

        None if it is best to compare all rows with all centres, which takes `full` of the time that
        it takes to work out all scores.
        """
        drift, k = self._drift(), len(self.centres)
        order = np.argsort(-drift, kind="stable")
        longest = np.append(drift[order], np.float32(0))
        some = slice(None, None, max(1, len(self._upper) // SAMPLE))
        slack = np.sort(self._lower[some] - self._upper[some])
        watched = np.arange(0, 1 if self._rows.sparse else k + 1, TALL)
        fail = np.searchsorted(slack, longest[watched], side="right") / len(slack)
        reading = 1 / (1 + k / TALL)  # of a row, as part of comparing it with all centres
        cost = watched / k + reading * (watched > 0) + fail * (full + reading / 4)
        best = int(cost.argmin())
        if cost[best] > 0.95 * full:
            return None
        return longest[watched[best]], np.sort(order[: watched[best]])

    def _worth_bounds(self, filtered: bool) -> bool:
        """Whether to make bounds of all rows, which costs little where all scores are worked out.

        With a filter it costs more: not before steps are known, and not again before they are half
        as long.
        """
        if self.bounds == "plain" or not filtered:
            return self.bounds != "plain"
        if self._met is None:
            return False
        usual = float(np.quantile(self._drift(), 0.9))
        worth = usual < self._tried / 2
        if worth:
            self._tried = usual
        return worth

    def assign(self) -> int:
        """Give each row the nearest centre.

        Returns
        -------
        int
            How many labels changed.
        """
        d = self.centres.shape[1]
        points, off = Points(self.centres), margin(d)
        plan, most, filtered = None, points.most, points.coded() is not None
        if self._bounded:
            plan = self._plan(FILTERED if filtered else 1.0)
        bounded = self._bounded = plan is not None or self._worth_bounds(filtered)
        if plan is not None:
            drift, (slow, watched) = self._drift(), plan
            seen = Points(self.centres[watched] if len(watched) else self.centres[:1])
            names = np.full(len(seen.starts), -1, np.float32)
            names[: len(watched)] = watched

        def work(part: slice) -> int:
            given, squares, labels = self._rows.part(part), self._squares[part], self.labels[part]
            bounds = (self._upper[part], self._lower[part]) if bounded else (self._upper,) * 2
            numbers = np.arange(len(labels), dtype=np.int32)
            sparse = isinstance(given, tuple)
            rows = given if sparse else (given,)
            if plan is not None and sparse:
                found = _suspects_csr(
                    *rows, points.values, points.squares, squares, most, off, drift,
                    drift.max(), labels, *bounds, numbers,
                )  # fmt: skip
                numbers = numbers[:found]
            elif plan is not None:
                found = _suspects(
                    *rows, points.values, squares, most, off, seen.tiles, seen.starts, names,
                    len(watched), drift, slow, labels, *bounds, numbers,
                )  # fmt: skip
                numbers = numbers[:found]
            if not len(numbers):
                return 0
            step = _relabel_csr if sparse else _relabel
            guesses = None if self._met is None else Guesses(labels, squares)
            sums = self._lent.get()
            changed: int = step(
                *rows, self._weights[part], self._scale, squares, most, off, numbers,
                *find(given, numbers, points, bounded, guesses), labels, *bounds, *sums,
            )  # fmt: skip
            self._lent.put(sums)
            return changed

        changed = sum(run(work, chunks(self._rows.n, max(512, min(ROWS, ENTRIES // max(1, d))))))
        for sums, totals in self._parts:
            self._sums += sums
            self._totals += totals
            sums[:], totals[:] = 0, 0
        self._met = self.centres.copy()
        centres = self._met.astype(np.float64)
        products = (self._sums / self._scale[:-1] * centres).sum()
        squares = (self.counts * (centres**2).sum(axis=1)).sum()
        self.inertia = max(0.0, float(self._energy - 2 * products + squares))
        return changed

    def update(self) -> float:
        """Move each centre to the weighted mean of its rows; those without rows stay.

        Returns
        -------
        float
            Sum of the squares of their steps.
        """
        full, before = self._totals > 0, self.centres
        means = self._sums[full] / self._scale[:-1] / self.counts[full, None]
        self.centres = before.copy()
        self.centres[full] = means
        return float(((self.centres.astype(np.float64) - before) ** 2).sum())

    def move(self, centres: NDArray[Any]) -> None:
        """Put the centres elsewhere, (k, d): bounds follow. For empty clusters, say."""
        if np.shape(centres) != self.centres.shape:
            raise ValueError(f"centres of shape {np.shape(centres)}, not {self.centres.shape}")
        self.centres = np.array(centres, np.float32, order="C")

    def distances(self) -> NDArray[np.float32]:
        """Squared distance of each row to the centre it was assigned to last, (n,)."""
        out = np.empty(self._rows.n, np.float32)
        centres = Points(self.centres if self._met is None else self._met)

        def work(part: slice) -> None:
            measure(self._rows.part(part), centres, self.labels[part], out[part])

        run(work, chunks(self._rows.n))
        return out


def seed_plus_plus(
    X: Any, weights: Any, k: int, draws: NDArray[np.float64], candidates: int = 1
) -> NDArray[np.int64]:
    """Rows to begin from, each drawn by its squared distance to the nearest one before it.

    Arthur & Vassilvitskii (2007), k-means++: the advantages of careful seeding. With several
    candidates, the one that leaves least inertia is taken.

    Parameters
    ----------
    X : ndarray of float32, shape (n, d), or Csr
    weights : ndarray, shape (n,), optional
    k : int
    draws : ndarray of float64, shape (k, >= candidates)
        Uniform in [0, 1). draws[0, 0] picks the first row, draws[i] the candidates of row i.
    candidates : int

    Returns
    -------
    ndarray of int64, shape (k,)
        Where fewer than k rows differ, the rest is drawn by weight and repeats some.
    """
    n, d = X.shape
    parts = chunks(n)
    w = np.ones(n) if weights is None else np.asarray(weights, np.float64)
    rows, closest = Rows(X, d), np.full(n, np.inf, np.float32)

    def pick(mass: NDArray[Any], u: NDArray[np.float64]) -> NDArray[np.int64]:
        sums = np.cumsum(mass, dtype=np.float64)
        found = np.searchsorted(sums, u * sums[-1], side="right")
        return np.minimum(found, np.flatnonzero(mass)[-1])

    def take(picks: NDArray[np.int64]) -> NDArray[np.float32]:
        return np.concatenate([rows.dense(slice(i, i + 1)) for i in picks])

    chosen: list[int] = []
    mass = w
    for i in range(k):
        picks = pick(mass if mass.any() else w, draws[i, : candidates if i else 1])
        points = Points(take(picks))

        def near(part: slice, points: Points = points) -> Any:
            each = np.empty((part.stop - part.start, points.k), np.float32)
            distances_of(rows, part, points, each)
            np.minimum(each, closest[part, None], out=each)
            return each, (w[part, None] * each).sum(axis=0)

        found = run(near, parts)
        best = int(np.sum([left for _, left in found], axis=0).argmin())
        for part, (each, _) in zip(parts, found, strict=True):
            closest[part] = each[:, best]
        chosen.append(int(picks[best]))
        mass = w * closest
    return np.array(chosen, np.int64)
