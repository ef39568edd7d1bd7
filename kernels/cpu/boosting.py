"""Boosting's rows and trees: bins of all rows, and growing trees on them."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from smalgos._jit import kernel
from smalgos.errors import UserError
from smalgos.kernels.cpu import shared, splits
from smalgos.kernels.cpu.bins import Bins, cuts_of
from smalgos.kernels.cpu.bundles import Layout, lay_out
from smalgos.kernels.cpu.crew import Crew
from smalgos.kernels.cpu.growth import (
    BIN,
    BY,
    CHILD,
    FEATURE,
    GAIN,
    NODES,
    ROWS,
    SUM,
    Data,
    Work,
    grow,
    say,
    say_exactly,
)
from smalgos.kernels.cpu.packed import (
    EIGHT,
    TOGETHER,
    add_leaves,
    add_roots,
    extent_of,
    pack_rows,
    sample_rows,
    sum_leaves,
)
from smalgos.kernels.cpu.packed import (
    MOST as MOST_GRADIENT,
)
from smalgos.kernels.cpu.shared import chunks, run

__all__ = [
    "EIGHT", "Binned", "Bins", "Grower", "Shape", "Splits", "Tree", "add_margins", "cuts_of",
    "sampled", "walk",
]  # fmt: skip

CHUNK = 1 << 16  # rows of a task of simple loops
SMALL = 1 << 18  # bins: fewer are not worth a second thread
MOST_HESSIAN = 65000
BATCH = 64  # nodes of a step
ROOM = 1 << 22  # cells of the histograms that a member sums up in a step: 32 MB
POOL = 1 << 25  # cells of the histograms that are kept: 256 MB


class Binned:
    """Rows as bins, by columns, and when they are learnt from by rows, too.

    Parameters
    ----------
    bins : Bins
    rows : int
    sparse : bool
        Whether rows are sparse, and stay so.
    """

    def __init__(self, bins: Bins, rows: int, *, sparse: bool = False) -> None:
        self.bins, self.n, self.sparse = bins, rows, sparse
        self.filled = 0
        self.columns = np.empty((bins.width, 0 if sparse else rows), bins.dtype)
        self._laid: tuple[Layout, Any] | None = None
        self._parts: list[Any] = []
        self.cells, self.offsets = np.empty(0, np.int32), np.empty(0, np.int64)
        self.column_rows, self.column_bins = np.empty(0, np.int32), np.empty(0, bins.dtype)
        self.column_offsets = np.empty(0, np.int64)
        if sparse:  # what they lack is missing
            self._laid = Layout(bins.bins, [], bins.bins), np.empty(0, bins.dtype)

    def by_rows(self) -> tuple[Layout, NDArray[Any]]:
        """How features lie in a histogram, and the rows as places in it; sparse ones: none."""
        if self._laid is None:
            self._laid = lay_out(self.columns, self.bins.bins)
        return self._laid

    def add(self, X: Any) -> int:
        """Take in rows (m, d), dense or sparse; the first that `Bins` refuses, or -1."""
        first, m = self.filled, len(X)
        self.filled += m
        if not self.sparse:
            return self.bins.dense(X, first, self.columns)
        cells, numbers, lengths, bad = self.bins.sparse(X, self.by_rows()[0].firsts)
        self._parts.append((cells, numbers, lengths))
        return bad

    def done(self) -> None:
        """All rows were added."""
        if not self.sparse:
            return
        from scipy.sparse import csr_array

        cells, numbers, lengths = (np.concatenate(p) for p in zip(*self._parts, strict=True))
        self._parts = []
        self.offsets = np.concatenate(([0], np.cumsum(lengths, dtype=np.int64)))
        # Kernels take rows without cells for dense ones: where no value is there, one nobody reads.
        self.cells = cells if len(cells) else np.zeros(1, np.int32)
        layout = self.by_rows()[0]
        places = np.searchsorted(layout.firsts[layout.order], cells, side="right") - 1
        table = csr_array(
            (numbers, layout.order[places].astype(np.int32), self.offsets),
            shape=(self.n, self.bins.width),
        ).tocsc()
        self.column_bins, self.column_rows = table.data, table.indices.astype(np.int32)
        self.column_offsets = table.indptr.astype(np.int64)


class Shape(NamedTuple):
    """How trees may look.

    Parameters
    ----------
    depth, leaves : int
        0: any.
    lossguide : bool
    min_child_weight, reg_lambda, reg_alpha, max_delta_step, gamma : float
    max_cat_to_onehot : int
    bynode : float
        Share of a level's features for each node.
    monotone : ndarray of int64, shape (d,)
    constraints : ndarray of int64, shape (d,)
        Bit s is set if interaction constraint s has the feature; all bits where there are none.
    """

    depth: int
    leaves: int
    lossguide: bool
    min_child_weight: float
    reg_lambda: float
    reg_alpha: float
    max_delta_step: float
    gamma: float
    max_cat_to_onehot: int
    bynode: float
    monotone: NDArray[np.int64]
    constraints: NDArray[np.int64]


class Tree:
    """A grown tree, its nodes in the order in which they were made.

    Kept as the kernel left it: what is asked for is worked out then, since a round of boosting
    needs little of it at once.

    Parameters
    ----------
    bins : Bins
    nodes, reals, sides : ndarray
        See `growth.Work`.
    scales : (float, float)
        Of packed gradients and hessians.
    weight : ndarray of float64, shape (nodes,)
        What nodes say as leaves, without shrinkage.
    """

    def __init__(
        self, bins: Bins, nodes: NDArray[np.int64], reals: NDArray[np.float64],
        sides: NDArray[np.uint8], scales: tuple[Any, Any], weight: NDArray[np.float64],
    ) -> None:  # fmt: skip
        self.bins, self.nodes, self.reals, self.sides = bins, nodes, reals, sides
        self.scales, self.weight = scales, weight

    def __len__(self) -> int:
        return len(self.nodes)

    @staticmethod
    def together(trees: "Sequence[Tree]") -> "Tree":
        """The nodes of several trees on the same bins, as if they were one's."""
        sizes = [len(tree) for tree in trees]
        scales = np.repeat([tree.scales for tree in trees], sizes, axis=0)
        sides = trees[0].sides
        if sides.shape[1] > 1:
            sides = np.concatenate([tree.sides for tree in trees])
        return Tree(
            trees[0].bins, np.concatenate([tree.nodes for tree in trees]),
            np.concatenate([tree.reals for tree in trees]), sides, (scales[:, 0], scales[:, 1]),
            np.concatenate([tree.weight for tree in trees]),
        )  # fmt: skip

    @property
    def child(self) -> NDArray[np.int64]:
        """The left child of each node, the right one behind it; -1: a leaf."""
        return self.nodes[:, CHILD]

    @property
    def inner(self) -> NDArray[np.intp]:
        """Nodes that are no leaves."""
        return np.flatnonzero(self.child >= 0)

    @property
    def feature(self) -> NDArray[np.int64]:
        """What nodes are split by; 0 in leaves."""
        feature = np.zeros(len(self), np.int64)
        feature[self.inner] = self.nodes[self.inner, FEATURE]
        return feature

    @property
    def threshold(self) -> NDArray[np.float32]:
        """What is less goes left; 0 in leaves and nodes that are split by categories."""
        feature = self.feature
        numeric = (self.child >= 0) & ~self.bins.categorical[feature]
        at = self.bins.ends[feature] + self.nodes[:, BIN]
        return np.where(numeric, self.bins.edges[np.where(numeric, at, 0)], np.float32(0))

    @property
    def default_left(self) -> NDArray[np.uint8]:
        """Whether missing values go left."""
        return ((self.nodes[:, BY] > 0) & (self.child >= 0)).astype(np.uint8)

    @property
    def gain(self) -> NDArray[np.float64]:
        """Gains of the splits."""
        return np.where(self.child >= 0, self.reals[:, GAIN], 0.0)

    @property
    def g(self) -> NDArray[np.float64]:
        """Sums of gradients."""
        return (self.nodes[:, SUM] >> 32) * self.scales[0]

    @property
    def h(self) -> NDArray[np.float64]:
        """Sums of hessians."""
        return (self.nodes[:, SUM] & 0xFFFFFFFF) * self.scales[1]

    @property
    def right_sets(self) -> dict[int, NDArray[np.int64]]:
        """Categories that go right, of the nodes that are split by them."""
        sets = {}
        if self.sides.shape[1] > 1:
            for node in self.inner.tolist():
                f = self.nodes[node, FEATURE]
                if self.bins.categorical[f]:
                    sets[node] = np.flatnonzero(self.sides[node, : self.bins.bins[f]] == 0)
        return sets

    @property
    def splits(self) -> "Splits":
        """The splits as bins see them."""
        nodes = np.ascontiguousarray(self.nodes[:, [CHILD, FEATURE, BIN, BY]])
        return Splits(nodes, self.sides)


class Root(NamedTuple):
    """Gradients of a tree to come, packed, and the histogram of all rows."""

    pairs: NDArray[np.int32]  # (n,)
    scale_g: float
    scale_h: float
    histogram: NDArray[np.int64]  # (cells,), or (0,): not known


class Splits(NamedTuple):
    """The splits of a tree as its bins see them, to walk other binned rows."""

    nodes: NDArray[np.int64]  # (nodes, 4): left child, feature, bin, missing's side
    sides: NDArray[np.uint8]  # (nodes, bins + 1) or (1, 1)


class Grower:
    """Grows trees on binned rows.

    Parameters
    ----------
    binned : Binned
    shape : Shape
    """

    def __init__(self, binned: Binned, shape: Shape) -> None:
        self.binned, self.shape = binned, shape
        bins, n, d = binned.bins, binned.n, binned.bins.width
        layout, rows = binned.by_rows()
        self.cells, self.blocks = layout.cells, len(layout.blocks) - 1
        self.data = Data(
            rows, binned.columns, binned.cells, binned.offsets, binned.column_rows,
            binned.column_bins, binned.column_offsets, bins.bins, layout.firsts, layout.usual,
            layout.groups, layout.order, layout.blocks, layout.block_cells,
            bins.categorical.astype(np.uint8), shape.monotone, shape.constraints,
        )  # fmt: skip
        most = 2 * n - 1
        if shape.depth:
            most = min(most, 2 ** min(shape.depth + 1, 40) - 1)
        if shape.leaves:
            most = min(most, 2 * shape.leaves - 1)
        self.room = max(most, 3)
        self.masked = shape.bynode < 1 or bool((shape.constraints != -1).any())
        self.plain = not (shape.reg_alpha or shape.max_delta_step or shape.monotone.any())
        self.settings = np.zeros(splits.SETTINGS)
        for place, value in (
            (splits.LAMBDA, shape.reg_lambda), (splits.ALPHA, shape.reg_alpha),
            (splits.MIN_CHILD, shape.min_child_weight), (splits.MAX_STEP, shape.max_delta_step),
            (splits.ONE_HOT, shape.max_cat_to_onehot), (splits.MAX_LEAVES, shape.leaves),
            (splits.MAX_DEPTH, shape.depth), (splits.GAMMA, shape.gamma),
            (splits.LOSSGUIDE, shape.lossguide),
        ):  # fmt: skip
            self.settings[place] = value
        self._crew: Crew | None = None
        self._work: Work | None = None
        self._pairs = np.empty((0, n), np.int32)
        self.all = np.ones((1, d), np.uint8)

    def _ready(self) -> tuple[Crew, Work]:
        """Threads as many as asked for, and room for them."""
        binned, bins = self.binned, self.binned.bins
        stored = max(len(self.data.cells), len(self.data.rows))
        members = 1 if stored < SMALL else shared.jobs()
        if self._crew is not None and self._work is not None and self._crew.asked == members:
            return self._crew, self._work
        self.close()
        n, d, cells = binned.n, bins.width, self.cells
        parents = max((self.room + 1) // 4, 1)  # that may be open at a time
        batch = int(max(min(BATCH, ROOM // cells, parents), 1))
        if self.shape.lossguide:
            batch = 2
        pool = int(max(min(parents * 2, POOL // cells), 2 * batch + 2))
        room = max(self.room, 4)
        widest, blocks = int(bins.bins.max()), self.blocks
        tasks = n // ROWS + batch + 8
        categorical = bool(bins.categorical.any())
        self._crew = Crew(members)
        members = self._crew.members
        self._work = Work(
            nodes=np.empty((room, 13), np.int64),
            reals=np.empty((room, 3)),
            counts=np.zeros(8, np.int64),
            leaf=np.empty(n, np.uint16 if room < 1 << 16 else np.uint32),
            pairs=np.empty(0, np.int32),
            index=np.empty(n, np.int32),
            left=np.empty(n + 16, np.int32),
            right=np.empty(n + 16, np.int32),
            table=np.zeros((max(tasks, pool, 2 * batch), 13), np.int64),
            pool=np.empty((pool, cells), np.int64),
            private=np.empty((members, 2 * batch if members > 1 else 0, cells), np.int64),
            touched=np.zeros((members, 2 * batch), np.int64),
            best=np.empty((2 * batch, 2, blocks)),
            chosen=np.empty((2 * batch, 2, blocks, 4), np.int64),
            dense=np.empty((batch, n) if binned.sparse else (0, 0), bins.dtype),
            sides=np.ones((room, widest + 1) if categorical else (1, 1), np.uint8),
            level=self.all,
            masks=np.empty((2 * batch if self.masked else 0, 2, d), np.uint8),
            scratch=np.zeros((members, 2, max(widest + 8, d)), np.int64),
            gain=np.empty((members, widest + 8)),
        )
        self.batch = batch
        return self._crew, self._work

    def roots(
        self, gradients: Sequence[tuple[Any, Any]], keys: Sequence[int], *, steps: int = 0
    ) -> list[Root]:
        """Make ready to grow several trees; rows are read once for all of their roots.

        Parameters
        ----------
        gradients : list of (ndarray of float32, ndarray of float32), shapes (n,)
            Gradients and hessians of `EIGHT` trees at most; both 0: the row does not count.
        keys : list of int
            What chance depends on.
        steps : int
            How many gradients are told apart; 0: as many as there is room for.

        Returns
        -------
        list of Root
            Good until the next call.
        """
        n, data = self.binned.n, self.data
        together = len(keys) > 1 and not self.binned.sparse
        pairs = self._pairs
        if len(pairs) < len(keys):
            pairs = self._pairs = np.zeros((EIGHT if together else len(keys), n), np.int32)
        scales = [
            self._pack(g, h, key, own, steps)
            for (g, h), key, own in zip(gradients, keys, pairs, strict=False)
        ]
        histograms: Any = np.empty((len(keys), 0), np.int64)
        if together:

            def add(part: slice) -> NDArray[np.int64]:
                histogram = np.zeros(self.cells * EIGHT, np.int64)
                scratch = np.empty(TOGETHER * EIGHT, np.int32)
                add_roots(data.rows, data.groups, pairs, part.start, part.stop, scratch, histogram)
                return histogram

            # A histogram for each thread: sums of integers do not depend on how many there are.
            parts = run(add, chunks(n, -(-n // shared.jobs())))
            histograms = np.ascontiguousarray(sum(parts).reshape(-1, EIGHT).T)  # type: ignore
        return [Root(pairs[i], *scales[i], histograms[i]) for i in range(len(keys))]

    def grow(self, root: Root, key: int, *, levels: NDArray[np.uint8] | None = None) -> Tree:
        """Grow a tree; which leaf each row came to is in `leaf` then.

        Parameters
        ----------
        root : Root
        key : int
            What chance depends on.
        levels : ndarray of uint8, shape (levels, d), optional
            Features that the nodes of a level may be split by, over and over.

        Returns
        -------
        Tree
        """
        crew, work = self._ready()
        work = work._replace(pairs=root.pairs)
        settings = self.settings
        settings[splits.SCALE_G], settings[splits.SCALE_H] = 1 / root.scale_g, 1 / root.scale_h
        if levels is not None:
            work = work._replace(level=levels)
            if not len(work.masks):
                rows = 2 * self.batch
                work = work._replace(masks=np.empty((rows, 2, levels.shape[1]), np.uint8))
        with np.errstate(all="ignore"):  # as compiled code does
            crew.run(
                grow, self.data, work, settings, float(self.shape.bynode),
                np.uint64(key & 0xFFFFFFFFFFFFFFFF), self.plain, root.histogram,
            )  # fmt: skip
        count = int(work.counts[NODES])
        nodes, reals = work.nodes[:count].copy(), work.reals[:count].copy()
        sides = work.sides[:count].copy()  # or the one of trees without categories
        weight = np.empty(count)
        say(nodes, reals, settings, weight)
        scales = settings[splits.SCALE_G], settings[splits.SCALE_H]
        return Tree(self.binned.bins, nodes, reals, sides, scales, weight)

    def _pack(self, g: Any, h: Any, key: int, pairs: Any, steps: int) -> tuple[float, float]:
        """Round the pairs to integers; by what they were multiplied."""
        parts, n = chunks(len(g), CHUNK), len(g)
        found = np.array(run(lambda part: extent_of(g[part], h[part]), parts))
        most_g, most_h = found[:, :2].max(axis=0).tolist()
        sum_g, sum_h = found[:, 3:].sum(axis=0).tolist()
        if not np.isfinite(found).all():
            raise UserError(
                "gradients are not finite numbers any more: give a smaller eta, or max_delta_step"
            )
        if found[:, 2].min() < 0:
            raise UserError("a hessian is negative: the objective must give what is at least 0")
        wanted_g, wanted_h = (steps // 2, steps) if steps else (MOST_GRADIENT, MOST_HESSIAN)
        # Rounding adds at most one a row; sums must fit into 31 and 32 bits.
        scale_g = min(wanted_g / most_g, (2**31 - 1 - n) / sum_g) if most_g > 0 else 1.0
        scale_h = min(wanted_h / most_h, (2**32 - 1 - n) / sum_h) if most_h > 0 else 1.0
        if not steps:  # so that whole numbers stay exact: min_child_weight often is one
            scale_h = 2.0 ** (math.frexp(scale_h)[1] - 1)
        scale_g, scale_h = (np.float32(min(s, 2.0**120)) for s in (scale_g, scale_h))
        scale_g = np.nextafter(scale_g, np.float32(0))
        short = np.array(key & 0xFFFFFFFF, np.uint32).astype(np.int32)[()]

        def pack(part: slice) -> None:
            pack_rows(g[part], h[part], scale_g, scale_h, np.int32(part.start), short, pairs[part])

        run(pack, parts)
        return float(scale_g), float(scale_h)

    @property
    def leaf(self) -> NDArray[Any]:
        """(n,) the leaf of each row in the tree that was grown last."""
        return self._ready()[1].leaf

    def refit(self, tree: Tree, g: Any, h: Any) -> Tree:
        """The tree with leaves that say what the gradients do before they are rounded."""
        leaf = self.leaf

        def add(part: slice) -> NDArray[np.float64]:
            sums = np.zeros((len(tree), 2))
            sum_leaves(g[part], h[part], leaf[part], sums)
            return sums

        sums: Any = sum(run(add, chunks(len(g), CHUNK)))
        exact = np.empty(len(tree))
        say_exactly(sums, tree.reals, self.settings, exact)
        weight = np.where(tree.child < 0, exact, tree.weight)
        return Tree(tree.bins, tree.nodes, tree.reals, tree.sides, tree.scales, weight)

    def close(self) -> None:
        """Let threads and memory go."""
        if self._crew is not None:
            self._crew.close()
        self._crew = self._work = None

    def __del__(self) -> None:
        if getattr(self, "_crew", None) is not None:
            self.close()


def add_margins(leaf: Any, values: NDArray[np.float32], margin: NDArray[np.float32]) -> None:
    """Add to each row's margin what its leaf says."""
    run(lambda part: add_leaves(leaf[part], values, margin[part]), chunks(len(leaf), CHUNK))


def sampled(
    g: NDArray[np.float32], h: NDArray[np.float32], share: float, key: int, reg_lambda: float | None
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Gradients and hessians of a sample of the rows, zeros in the place of the others.

    Parameters
    ----------
    g, h : ndarray of float32, shape (n,)
    share : float
        Of the rows.
    key : int
    reg_lambda : float or None
        None: all rows have the same chance. Else it is in proportion to ``sqrt(g^2 + lambda h^2)``,
        and rows count for what they stand for (Ou, "Out-of-core GPU gradient boosting", 2020,
        section 2.4).
    """
    some_g, some_h = np.empty_like(g), np.empty_like(h)
    own = reg_lambda is not None
    if reg_lambda is None:
        chance = np.array([share], np.float32)
    else:
        size = np.sqrt(g.astype(np.float64) ** 2 + reg_lambda * h.astype(np.float64) ** 2)
        ordered = np.sort(size)
        # Of the k largest, certain ones, and the rest in proportion: the least k that fits.
        rest = np.cumsum(ordered)[::-1] - ordered[::-1]
        left = share * len(g) - np.arange(1, len(g) + 1)
        certain = int(np.count_nonzero((left > 0) & (ordered[::-1] * left >= rest)))
        below = ordered[: len(g) - certain].sum()
        scale = (share * len(g) - certain) / below if below > 0 else 1.0
        chance = np.minimum(size * scale, 1.0).astype(np.float32)
    short = np.array((key ^ 0x5BD1E995) & 0xFFFFFFFF, np.uint32).astype(np.int32)[()]

    def sample(part: slice) -> None:
        share = chance[part] if own else chance
        start = np.int32(part.start)
        sample_rows(g[part], h[part], share, own, start, short, some_g[part], some_h[part])

    run(sample, chunks(len(g), CHUNK))
    return some_g, some_h


def walk(binned: Binned, tree: Splits, leaf: NDArray[Any]) -> None:
    """The leaf of each row of a binned set.

    Parameters
    ----------
    binned : Binned
    tree : Splits
        Of a tree grown on rows of the same bins.
    leaf : ndarray of uint32, shape (n,)
        Written to.
    """
    bins = binned.bins
    firsts = binned.by_rows()[0].firsts if binned.sparse else bins.ends
    categories = bins.categorical.astype(np.uint8)

    def work(part: slice) -> None:
        _walk(
            binned.columns, binned.cells, binned.offsets, firsts, bins.bins, tree.nodes, tree.sides,
            categories, part.start, leaf[part],
        )  # fmt: skip

    run(work, chunks(binned.n, CHUNK))


@kernel
def _walk(columns, cells, offsets, firsts, bins, nodes, sides, categories, first, leaf):
    """The leaf of each binned row.

    columns, cells, offsets, firsts, bins   see `growth.Data`                         in
    nodes, sides                            see `Splits`                              in
    categories                              (d,) uint8                                in
    first                                   int64, the first row
    leaf                                    (m,) uint32                               out
    """
    nothing = (1 << (8 * columns.itemsize)) - 1
    for i in range(len(leaf)):
        row, node = first + i, 0
        while nodes[node, 0] >= 0:
            f = nodes[node, 1]
            k = nothing
            if len(cells):
                start = firsts[f]
                for at in range(offsets[row], offsets[row + 1]):
                    if start <= cells[at] < start + bins[f]:
                        k = np.int64(cells[at]) - start
            else:
                k = np.int64(columns[f, row])
            if k == nothing:
                left = nodes[node, 3]
            elif categories[f]:
                left = np.int64(sides[node, k])
            else:
                left = np.int64(k <= nodes[node, 2])
            node = nodes[node, 0] + 1 - left
        leaf[i] = node
