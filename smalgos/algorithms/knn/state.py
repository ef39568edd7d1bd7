"""K-Nearest Neighbors while it learns: a sample of the rows, then lists and codes of an index."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smalgos.algorithms.knn.model import KNNModel
from smalgos.algorithms.knn.parameters import CODED, PLAIN
from smalgos.algorithms.knn.space import Space, centre_of
from smalgos.errors import NotReady, UserError
from smalgos.formats.block import Block
from smalgos.learning import Pass, Spec, State, require_shaped
from smalgos.learning.reservoir import Reservoir, Sample
from smalgos.learning.rows import check_finite, check_labels, single_labels

COARSE = 10  # iterations of the lists' centroids
FINE = 25  # iterations of the codes
PER_CENTROID = 256  # points that a centroid is learnt from; more change little


class KNNState(State):
    """The sample, and what its index is made of.

    Lists and codes are learnt anew from the whole sample whenever there are more rows, so that
    rows in several portions give the model of all rows at once. A model that is asked for before
    they are learnt searches exactly.
    """

    kernels = "neighbours"

    sample: Reservoir
    indexed: int  # epochs whose rows are in the index
    centroids: NDArray[np.float32] | None  # (lists, size) about the centre
    codebooks: NDArray[np.float32] | None  # (m, codes, size / m)

    def begin(self, spec: Spec) -> None:
        """Settle the space; nothing is allocated before there are rows."""
        self.space = Space.of(self.p, spec.width, spec.seed)
        self.sample = Reservoir(self.p.capacity, self.space.size)
        self.indexed, self.centroids, self.codebooks = 0, None, None
        self.budget = 1
        self._forget()

    def _forget(self) -> None:
        self._rows: Any = None  # what centroids are learnt from
        self._parts: Any = None  # what codes are learnt from
        self._lloyds: list[Any] = []

    def check(self) -> None:
        """Raise `UserError` unless the fields fit."""
        super().check()
        self.sample.check()
        size, m = self.space.size, self.p.faiss_index_pq_m
        if self.centroids is not None:
            require_shaped("centroids", self.centroids, (len(self.centroids), size), np.float32)
        if self.codebooks is not None:
            codes = self.codebooks.shape[1] if self.codebooks.ndim > 1 else 0
            require_shaped("codebooks", self.codebooks, (m, codes, size // (m or 1)), np.float32)
            if self.centroids is None or not 0 < codes <= self.k.CODES:
                raise UserError("codebooks are not of so many codes as a byte tells apart")

    def next_pass(self) -> Pass | None:
        """All rows once, then, where there is one, the index."""
        if self.epoch < self.budget:
            return Pass("train", self.update, epoch=True)
        if self.p.index_type != PLAIN and self.indexed < self.epoch:
            steps = COARSE + (FINE if self.p.index_type == CODED else 0)
            return Pass("index", self.step, self.end_index, channel=None, steps=steps)
        return None

    def update(self, block: Block) -> None:
        """Take rows into the sample."""
        labels = single_labels(block)
        check_finite(block, self.k)
        self.check_labels(block)
        first = self.seen - self.row + block.start  # rows of earlier epochs are counted on
        keys = self.k.uniforms(self.spec.seed, "sample", 0, first, len(block))[:, 0]
        wanted = self.sample.wanted(keys)
        if len(wanted):
            self._forget()
            points = self.space.points(block.features[wanted], self.k)
            if not self.k.all_finite(points):
                raise UserError("the features are beyond float32 when projected: scale them")
            rows = first + wanted.astype(np.int64)
            self.sample.add(Sample(keys[wanted], rows, points, labels[wanted].astype(np.float32)))

    def check_labels(self, block: Block) -> None:
        """Raise `RowError` for the first label that is of no use."""
        labels = block.labels
        if self.p.predictor_type == "classifier":
            with np.errstate(invalid="ignore"):
                good = np.isfinite(labels) & (labels == np.floor(labels))
            check_labels(block, good, "class labels are whole numbers")
        else:
            check_labels(block, np.isfinite(labels), "labels are finite numbers")

    # -- the index

    @property
    def lists(self) -> int:
        """Lists of the index."""
        asked, n = self.p.faiss_index_ivf_nlists, len(self.sample)
        lists = math.isqrt(n) if asked == "auto" else asked
        if lists > n:
            raise UserError(
                f"faiss_index_ivf_nlists={lists}: the sample has only {n} rows; give fewer lists, "
                "more rows or index_type faiss.Flat"
            )
        return max(int(lists), 1)

    def step(self, i: int) -> None:
        """An iteration of the centroids, or of the codes."""
        if self._rows is None:
            points = self.sample.sample().features
            keys = self.k.uniforms(self.spec.seed, "index", 0, 0, len(points))[:, 0]
            some = np.argsort(keys, kind="stable")[: PER_CENTROID * max(self.lists, self.k.CODES)]
            self._rows = points[some] - self.centre(points)
            if not np.isfinite(self.k.square_norms(self._rows)).all():
                raise UserError(
                    "the squares of the features are beyond float32: scale the features, or take "
                    "index_type faiss.Flat"
                )
        if i == 0:
            self.centroids, self.codebooks = self._rows[: self.lists].copy(), None
        if i < COARSE:
            self.coarse()
        else:
            self.fine(first=i == COARSE)

    def coarse(self) -> None:
        """An iteration of Lloyd's on the lists' centroids; of unit length if products count."""
        rows = self._rows[: PER_CENTROID * self.lists]
        if not self._lloyds:
            self._lloyds = [self.k.Lloyd(rows, None, self.centroids)]
        centroids = iterated(self._lloyds[0], rows)
        if self.p.index_metric != "L2":
            length = np.sqrt((centroids.astype(np.float64) ** 2).sum(axis=1, keepdims=True))
            centroids = (centroids / np.where(length > 0, length, 1)).astype(np.float32)
            self._lloyds[0].move(centroids)
        self.centroids = centroids

    def fine(self, first: bool) -> None:
        """An iteration of Lloyd's on the codes of each part of what the centroids leave."""
        m, centroids, books = self.p.faiss_index_pq_m, self.centroids, self.codebooks
        assert centroids is not None
        if self._parts is None:
            rows = self._rows[: PER_CENTROID * self.k.CODES]
            left = rows - centroids[self.k.assign(rows, self.k.Points(centroids))[0]]
            self._parts = [np.ascontiguousarray(part) for part in np.split(left, m, axis=1)]
            if first or books is None:
                books = np.stack([part[: self.k.CODES] for part in self._parts])
            given = zip(self._parts, books, strict=True)
            self._lloyds = [self.k.Lloyd(part, None, book) for part, book in given]
        iterate = zip(self._lloyds, self._parts, strict=True)
        self.codebooks = np.stack([iterated(lloyd, part) for lloyd, part in iterate])

    def end_index(self) -> None:
        """The index is ready."""
        self.indexed = self.epoch
        self._forget()

    def centre(self, points: NDArray[np.float32]) -> NDArray[np.float32]:
        """What is taken off points: squares lose less then; products are as they are."""
        if self.p.index_metric != "L2":
            return np.zeros(self.space.size, np.float32)
        return centre_of(points, self.k)

    # -- the model

    def finish(self) -> KNNModel:
        """The sample, with its index, as a model."""
        kept, p, k = self.sample.sample(), self.p, self.k
        n = len(kept)
        if not n:
            raise NotReady("K-Nearest Neighbors has seen no rows yet")
        if n < p.k:
            raise UserError(
                f"k={p.k}: n_samples = {n} rows were seen in all; give a smaller k or more rows"
            )
        centre = self.centre(kept.features)
        points = kept.features - centre if centre.any() else kept.features
        fields: dict[str, Any] = {"points": points}
        if self.centroids is not None and self.indexed == self.epoch:
            lists, _ = k.assign(points, k.Points(self.centroids))
            order, offsets = k.regrouped(lists, len(self.centroids))
            fields = {"order": order, "offsets": offsets, "centroids": self.centroids}
            if self.codebooks is None:
                fields["points"] = points[order]
            else:
                left = points[order] - self.centroids[lists[order]]
                fields |= {"codes": k.encode(left, self.codebooks), "codebooks": self.codebooks}
        return KNNModel(
            k.device,
            notes={"hyperparameters": p.as_dict()},
            labels=kept.labels,
            rows=kept.rows,
            centre=centre,
            neighbours=p.k,
            nprobe=p.nprobe,
            weights=p.weights,
            predictor_type=p.predictor_type,
            metric=p.index_metric,
            input_dim=self.space.width,
            reduction=self.space.reduction,
            seed=self.space.seed,
            **fields,
        )


def iterated(lloyd: Any, rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Centres after one more iteration; those without rows go to the rows farthest from theirs."""
    lloyd.assign()
    empty = np.flatnonzero(lloyd.counts == 0)
    farthest = np.argsort(-lloyd.distances(), kind="stable")[: len(empty)] if len(empty) else empty
    lloyd.update()
    if len(empty):
        centres = lloyd.centres.copy()
        centres[empty] = rows[farthest]
        lloyd.move(centres)
    return np.array(lloyd.centres, np.float32)
