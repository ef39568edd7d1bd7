"""The single pass: K centres that follow a stream, and how they become k."""

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smalgos.algorithms.kmeans import local
from smalgos.algorithms.kmeans.model import KMeansModel
from smalgos.algorithms.kmeans.state import TOO_LARGE, KMeansState, about, shift_of
from smalgos.errors import NotReady, UserError
from smalgos.formats.block import Block
from smalgos.learning import Pass, Spec, Sum

BLOCK_BYTES = 1 << 22  # of features in a block, which holds whole mini-batches
WINDOW = 10  # mini-batches that the original tells a short term msd of
POINTS = 512  # of the curve that is kept


class StreamState(KMeansState):
    """Running means of the rows nearest to each of K centres."""

    merging = "statistical"

    filled: int  # centres in use; the rest waits for rows that are far from these
    sums: NDArray[np.float64]  # (K, d) of the rows nearest to each, as they were decayed
    mass: NDArray[np.float64]  # (K,) their weight
    batches: Sum[int]
    loss: Sum[NDArray[np.float64]]  # (2,) sum of squared distances as rows came, weight of these
    window: NDArray[np.float64]  # (2,) the same since the last point of the curve
    curve: NDArray[np.float64]  # (points, 2) mini-batches so far, msd since the point before
    shrunk: int  # whether what follows is up to date
    found: NDArray[np.float32]  # (k, d) about the shift
    found_mass: NDArray[np.float64]  # (k,)
    attempts: NDArray[np.float64]  # (trials,) msd over the K centres
    iterations: int  # of the best trial

    @staticmethod
    def count(p: Any) -> int:
        """K."""
        return int(p.k * p.extra_center_factor)

    def begin(self, spec: Spec) -> None:
        """Allocate centres and sums."""
        super().begin(spec)
        self.sums, self.mass = np.zeros(self.centres.shape), np.zeros(len(self.centres))
        self.filled = self.batches = 0
        self.loss, self.window, self.curve = np.zeros(2), np.zeros(2), np.zeros((0, 2))
        self.shrunk = self.iterations = 0
        self.found = np.zeros((self.p.k, spec.width), np.float32)
        self.found_mass = np.zeros(self.p.k)
        self.attempts = np.zeros(self.p.local_lloyd_num_trials)
        self.told: list[tuple[int, float, float]] = []  # for log lines: batch, short, long term msd
        self.times = dict.fromkeys(("assignment", "update", "shrinking"), 0.0)  # seconds

    def check(self) -> None:
        """Raise `UserError` unless the numbers fit."""
        super().check()
        if not 0 <= self.filled <= len(self.centres):
            raise UserError(f"filled={self.filled} of {len(self.centres)} centres")
        if min(self.mass.min(), self.found_mass.min()) < 0:
            raise UserError("mass is negative")

    # -- passes

    def next_pass(self) -> Pass | None:
        """A look at some rows for initial centres, the stream, then the way from K to k."""
        if self.passes == 0:
            rows = max(self.p.mini_batch_size, len(self.centres))
            return Pass(
                "seed", self.take_seeds, rows=rows, limit=rows, look=True, shuffle=self.p.shuffle,
                prepare=self.ready,
            )  # fmt: skip
        if self.epoch < self.budget:
            batch = self.p.mini_batch_size
            rows = max(BLOCK_BYTES // (4 * max(self.spec.width, 1)), batch)
            return Pass(
                "train", self.update, self.end_epoch, prepare=self.ready_about_shift, rows=rows,
                batch=batch, epoch=True,
            )  # fmt: skip
        if not self.shrunk:
            return Pass("shrink", self.shrink, self.end_shrink, channel=None, steps=1)
        return None

    def ready_about_shift(self, block: Block) -> Block:
        """The same, about the shift."""
        block = self.ready(block)
        return block.replace(features=about(block.features, self.shift))

    def take_seeds(self, block: Block) -> None:
        """Choose the initial centres."""
        p, w = self.p, block.weights
        self.check_rows(len(block), w)
        self.shift = shift_of(block.features)
        x, first = about(block.features, self.shift), 0
        if self.given is not None:
            centres, mass = self.given
            first = len(centres)
            self.centres[:first] = centres - self.shift
            self.mass[:first] = mass
            self.sums[:first] = self.centres[:first] * mass[:, None].astype(np.float64)
        more, key = len(self.centres) - first, (self.spec.seed, "centres", 0)
        rows = local.seeds(self.k, x, w, more, p.init_method, key, greedy=False)
        self.filled = first + len(rows)
        self.centres[first : self.filled] = local.dense(x[rows])

    def update(self, block: Block) -> None:
        """Move centres, one mini-batch after another."""
        for batch in block.batches(self.p.mini_batch_size):
            self.follow(batch)
            self.batches += 1
            if self.batches % WINDOW == 0:
                self.add_point()

    def follow(self, batch: Block) -> None:
        """Add a mini-batch to the sums of the centres its rows are nearest to."""
        x, w, k = batch.features, batch.weights, self.k
        began = time.perf_counter()
        labels, distances = k.assign(x, k.Points(self.centres[: self.filled]))
        assigned = time.perf_counter()
        self.decay(len(batch))
        k.add_rows(x, w, labels, self.sums, self.mass, self.centres)
        squares = distances.astype(np.float64) if w is None else distances * w.astype(np.float64)
        weight = len(batch) if w is None else w.sum(dtype=np.float64)
        more = np.array([squares.sum(), weight])
        self.loss, self.window = self.loss + more, self.window + more
        if self.filled < len(self.centres):
            self.fill(batch, labels, distances)
        self.times["assignment"] += assigned - began
        self.times["update"] += time.perf_counter() - assigned

    def decay(self, rows: int) -> None:
        """Make the rows before these count less."""
        if self.p.half_life_time_size:
            share = 0.5 ** (rows / self.p.half_life_time_size)
            self.sums *= share
            self.mass *= share

    def fill(self, batch: Block, labels: Any, distances: Any) -> None:
        """Let rows that are far from their centres be centres, while there are too few.

        They are drawn as kmeans++ draws, in proportion to their squared distances.
        """
        free, first = len(self.centres) - self.filled, self.filled
        w = distances if batch.weights is None else distances * batch.weights
        draws = self.k.uniforms(self.spec.seed, "fill", self.epoch, batch.start, len(batch))[:, 0]
        for row in local.distinct(batch.features, local.by_chance(draws, w), free):
            old, new = labels[row], self.filled
            weight = 1.0 if batch.weights is None else float(batch.weights[row])
            if self.mass[old] <= 1.001 * weight:  # it is all, or nearly all, that its centre has
                continue
            x = local.dense(batch.features[row : row + 1])[0].astype(np.float64)
            self.sums[old] -= weight * x
            self.mass[old] -= weight
            self.sums[new], self.mass[new] = weight * x, weight
            self.filled += 1
        self.place(np.unique(np.append(labels, np.arange(first, self.filled))))

    def place(self, which: NDArray[np.int64]) -> None:
        """Put centres where their sums say."""
        which = which[self.mass[which] > 0]
        self.centres[which] = self.sums[which] / self.mass[which, None]

    def add_point(self) -> None:
        """A point of the curve; every second one goes when there are too many."""
        loss, weight = self.window
        short, total = loss / max(weight, 1e-300), self.loss[0] / max(self.loss[1], 1e-300)
        self.told.append((self.batches, float(short), float(total)))
        self.curve = np.concatenate([self.curve, [[self.batches, short]]])
        if len(self.curve) > POINTS:
            self.curve = self.curve[1::2]
        self.window = np.zeros(2)

    def end_epoch(self) -> None:
        """Look whether all went well."""
        if not np.isfinite(self.loss).all() or not np.isfinite(self.sums).all():
            raise UserError(TOO_LARGE)
        if self.window[1] > 0 and self.batches % WINDOW:
            self.add_point()
            self.told.pop()

    def again(self, epochs: int = 1) -> None:
        """More rows come."""
        super().again(epochs)
        self.shrunk = 0

    # -- from K to k

    def shrink(self, step: int) -> None:
        """Cluster the centres themselves."""
        began = time.perf_counter()
        solution, self.attempts = self.shrunk_to(self.p.k)
        self.found, self.found_mass = solution.centres, solution.mass
        self.iterations = len(solution.curve)
        self.times["shrinking"] += time.perf_counter() - began

    def end_shrink(self) -> None:
        """What was found is up to date."""
        self.shrunk = 1

    def shrunk_to(self, count: int) -> tuple[local.Solution, NDArray[np.float64]]:
        """The best `count` centres of the K, by their mass, and the msd of all trials."""
        used, seed = self.mass > 0, self.spec.seed
        centres = self.centres[used]
        if not np.isfinite(self.k.square_norms(centres)).all():
            raise UserError(TOO_LARGE)
        return local.best(self.k, centres, self.mass[used], count, self.p, seed)

    def finish(self) -> KMeansModel:
        """The k centres."""
        if not self.mass.any():
            raise NotReady("K-Means has seen no rows yet")
        if not self.shrunk:  # an end came before
            return self.finish_with(self.p.k)
        return self.model_of(
            self.found, self.found_mass, self.iterations, self.attempts, self.curve
        )

    def finish_with(self, count: int) -> KMeansModel:
        """A model of so many clusters, at most K, without another look at the rows."""
        found, attempts = self.shrunk_to(count)
        return self.model_of(found.centres, found.mass, len(found.curve), attempts, self.curve)

    # -- several workers

    def merge(self, other: Any, base: Any) -> None:
        """Add what both learnt; what they started from fades as if all rows had come in turn."""
        life = self.p.half_life_time_size

        def faded(part: Any) -> float:
            return float(0.5 ** ((part.seen - base.seen) / life)) if life else 1.0

        mine, theirs = faded(self), faded(other)
        for name in ("sums", "mass"):
            a, b, c = (getattr(part, name) for part in (self, other, base))
            setattr(self, name, (a - mine * c) + (b - theirs * c) + mine * theirs * c)
        self.mass = np.maximum(self.mass, 0)
        self.filled = max(self.filled, other.filled)
        self.place(np.arange(len(self.mass)))
        self.shrunk = 0
        super().merge(other, base)
