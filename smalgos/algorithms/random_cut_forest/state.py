"""Random Cut Forest while it learns: a sample of the rows; the trees are grown at the end."""

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smalgos.algorithms.random_cut_forest.forest import Forest, require_ranges
from smalgos.algorithms.random_cut_forest.model import LEAF, RandomCutForestModel
from smalgos.algorithms.random_cut_forest.parameters import CONSECUTIVE
from smalgos.algorithms.random_cut_forest.scores import three_sigma
from smalgos.errors import NotReady, UserError
from smalgos.formats.block import Block, Csr
from smalgos.learning import Pass, Spec, State
from smalgos.learning.reservoir import Reservoir, Sample
from smalgos.learning.rows import check_finite
from smalgos.learning.series import shingled

ROWS = 16384  # of a block: there is little to do for each
JUDGED = 1024  # rows whose scores say what mean and deviation are
RANKED = 1 << 16  # rows whose scores say where a share of them begins


class RandomCutForestState(State):
    """The sample, and the last rows, which begin the next shingles."""

    kernels = "random_cut_forest"

    sample: Reservoir
    tail: NDArray[np.float32]  # (shingle_size - 1 at most, d)

    def begin(self, spec: Spec) -> None:
        """Look whether there is memory enough; nothing is allocated before there are rows."""
        needed, there = memory(self.p, spec)[1], physical_memory()
        if needed > there:
            raise UserError(
                f"num_trees={self.p.num_trees}, num_samples_per_tree={self.p.num_samples_per_tree}:"
                f" a forest of so many rows of {spec.width * self.p.shingle_size} features takes "
                f"about {needed} bytes, and this machine has {there}: ask for fewer"
            )
        self.sample = Reservoir(self.p.capacity, spec.width * self.p.shingle_size)
        self.tail = np.empty((0, spec.width), np.float32)

    def check(self) -> None:
        """Raise `UserError` unless the fields fit."""
        super().check()
        self.sample.check()
        if len(self.tail) >= self.p.shingle_size or not np.isfinite(self.tail).all():
            raise UserError(f"the last rows are not fewer than shingle_size={self.p.shingle_size}")

    def next_pass(self) -> Pass | None:
        """All rows once."""
        if self.epoch < self.budget:
            return Pass("train", self.update, epoch=True, rows=ROWS)
        return None

    def update(self, block: Block) -> None:
        """Take rows into the sample."""
        check_finite(block, self.k)
        first = self.seen - self.row + block.start  # rows of earlier epochs are counted on
        keys = self.keys(first, len(block))
        features, before = self.with_tail(block.features)
        wanted = self.sample.wanted(keys)
        wanted = wanted[wanted + before + 1 >= self.p.shingle_size]  # whose shingle is full
        if len(wanted):
            points = shingled(features, wanted + before, self.p.shingle_size)
            rows, labels = first + wanted.astype(np.int64), np.zeros(len(wanted), np.float32)
            self.sample.add(Sample(keys[wanted], rows, points, labels))

    def keys(self, first: int, n: int) -> NDArray[np.float64]:
        """What the rows with the smallest ones are kept by: n of them, from row `first` on.

        Without decay a random number; with it the logarithm of an exponential time whose rate grows
        with the row's number (Efraimidis and Spirakis, Inf. Process. Lett. 97, 2006), so that old
        keys need no update.
        """
        # Of the four numbers that belong to a counter, each is one row's.
        counter, beyond = divmod(first, 4)
        fours = self.k.uniforms(self.spec.seed, "sample", 0, counter, (beyond + n + 3) // 4, 4)
        draws: NDArray[np.float64] = fours.reshape(-1)[beyond : beyond + n]
        if not self.p.time_decay:
            return draws
        ages = self.p.time_decay * np.arange(first, first + n, dtype=np.float64)
        aged: NDArray[np.float64] = np.log(-np.log1p(-np.maximum(draws, 2.0**-54))) - ages
        return aged

    def with_tail(self, features: Any) -> tuple[Any, int]:
        """The rows behind the last ones of before, and how many those are; keeps the last anew."""
        size = self.p.shingle_size
        if size == 1:
            return features, 0
        rows = features.toarray() if isinstance(features, Csr) else features
        before = len(self.tail)
        rows = np.concatenate([self.tail, rows])
        self.tail = rows[max(len(rows) - size + 1, 0) :].copy()
        return rows, before

    # -- the forest

    def finish(self) -> RandomCutForestModel:
        """Grow the trees."""
        kept, p, k = self.sample.sample(), self.p, self.k
        n, count = len(kept), int(p.num_trees)
        if not n:
            raise NotReady("Random Cut Forest has seen no rows yet")
        least = count if p.partition == CONSECUTIVE else 2
        if n < least:
            points = "rows" if p.shingle_size == 1 else f"shingles of {p.shingle_size} rows"
            raise UserError(
                f"n_samples = {n} {points} were seen in all: partition={p.partition} of "
                f"{count} trees needs at least {least}"
            )
        require_ranges(kept.features)
        if p.partition == CONSECUTIVE:
            size = n // count
            dealt = np.arange(count * size)
        else:
            size = min(int(p.num_samples_per_tree), n)
            dealt = self.deal(n, count, size)
        sizes = np.full(count, size, np.int64)
        trees = k.CutTrees.grow(kept.features[dealt], sizes, self.spec.seed)
        return RandomCutForestModel(
            k.device,
            notes={"hyperparameters": p.as_dict()},
            forest=Forest(k.device, trees),
            threshold=self.threshold(kept, trees),
            shingle_size=p.shingle_size,
        )

    def deal(self, n: int, trees: int, size: int) -> NDArray[np.int64]:
        """Rows of the trees, one tree after another: in no tree twice, and in few, if any, more
        than in others."""
        at_once = n // size  # trees for which the rows last
        rounds = -(-trees // at_once)
        decks = [
            np.argsort(self.k.uniforms(self.spec.seed, "deal", i, 0, n)[:, 0])
            for i in range(rounds)
        ]
        return np.concatenate([deck[: at_once * size] for deck in decks])[: trees * size]

    def threshold(self, kept: Sample, trees: Any) -> float:
        """The score above which a row is an anomaly, by scores of rows of the sample."""
        share = self.p.share
        most = JUDGED if share is None else RANKED
        rows = kept.features
        if len(rows) > most:
            rows = rows[np.sort(np.argpartition(kept.keys, most - 1)[:most])]
        scores = trees.scores(rows, LEAF)
        if share is None:
            return three_sigma(scores)
        return -float(np.percentile(-scores, 100 * share))


def memory(p: Any, spec: Spec) -> tuple[int, int]:
    """(bytes of the sample, bytes of the forest), by the original's formulas."""
    rows = p.capacity if spec.rows is None else min(p.capacity, spec.rows)
    sample = int(rows) * spec.width * int(p.shingle_size) * 16
    return sample, sample * 5 // 2


def physical_memory() -> int:
    """Bytes of memory that the machine has."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):  # not on every platform
        return 1 << 62
